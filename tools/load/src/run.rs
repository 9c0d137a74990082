//! The generator: one thread, all connections, tickets at their times.

use crate::dialect::{Dialect, Said};
use crate::error::LoadError;
use crate::line::Line;
use crate::mix::Mix;
use crate::quotes::Quotes;
use crate::tally::Tally;
use rustix::event::{Timespec, epoll};
use rustix::time::{ClockId, clock_gettime};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a connection may take to be made, to greet back, and prices to come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Tickets sent at once before answers are taken, so that catching up does not stop the taking.
const BURST: usize = 256;
/// Events taken at once.
const EVENTS: usize = 256;

/// When tickets are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many in a second over all connections, whatever the answers do.
    Open {
        /// Tickets in a second.
        rate: f64,
        /// Tickets without an answer at which sending waits; their latency counts from the schedule all the same.
        in_flight_max: usize,
    },
    /// On each connection a ticket for each answer.
    Closed {
        /// Tickets on their way on each connection.
        in_flight: usize,
    },
}

/// What is to be driven.
pub struct Job<D> {
    /// The server.
    pub address: SocketAddr,
    /// Connections that send tickets.
    pub senders: Vec<D>,
    /// Connections that only listen.
    pub listeners: Vec<D>,
    /// When tickets are sent.
    pub pace: Pace,
    /// Before the measured part.
    pub warm_up: Duration,
    /// The measured part.
    pub length: Duration,
    /// How long answers may still come after it.
    pub drain: Duration,
    /// Markets with prices before the first ticket is sent.
    pub markets_min: usize,
}

/// Drives a load to its end; the prices at that moment.
///
/// # Errors
/// Where connections cannot be made, all of them break, or nothing comes on sale. Single lost connections, and answers
/// that are missing or wrong, are counted in the tally.
pub fn run<D: Dialect>(job: Job<D>, mix: &mut Mix, quotes: &mut Quotes) -> Result<Tally, LoadError> {
    let (pace, drain) = (job.pace, job.drain);
    let window_ns = (nanos(job.warm_up), nanos(job.warm_up + job.length));
    // Without it the kernel wakes a sleeper up to 50 µs late, in favour of fewer interrupts.
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
    let mut generator = Generator::connect(job, window_ns)?;
    generator.wait_for_sale(quotes)?;
    generator.begin();
    let processor = processor_time();
    generator.drive(pace, window_ns.1, mix, quotes)?;
    generator.drain(window_ns.1 + nanos(drain), quotes)?;
    let mut tally = generator.tally;
    tally.processor_ns = nanos(processor_time() - processor);
    Ok(tally)
}

struct Generator<D> {
    epoll: rustix::fd::OwnedFd,
    /// Senders first; `None` where one was lost.
    lines: Vec<Option<Line<D>>>,
    senders: usize,
    markets_min: usize,
    /// Lines that have something to write.
    dirty: Vec<usize>,
    /// Whether a line waits for its socket to take more.
    blocked: Vec<bool>,
    /// Whether an answer is followed by a ticket.
    closed_loop: bool,
    /// Senders that are to send a ticket for an answer.
    owed: Vec<usize>,
    events: Vec<epoll::Event>,
    tally: Tally,
    begun: Instant,
    begun_ms: u64,
    in_flight: usize,
}

impl<D: Dialect> Generator<D> {
    fn connect(job: Job<D>, window_ns: (u64, u64)) -> Result<Self, LoadError> {
        let system = |what| move |error: rustix::io::Errno| LoadError::System { what, error: error.into() };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(system("waiting on sockets"))?;
        let (address, senders) = (job.address, job.senders.len());
        let mut lines = Vec::new();
        for (number, dialect) in job.senders.into_iter().chain(job.listeners).enumerate() {
            let failed = |error| LoadError::Connect { address, number, error };
            let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
            let line = Line::new(stream, dialect).map_err(failed)?;
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, line.stream(), data, epoll::EventFlags::IN)
                .map_err(system("waiting on a socket"))?;
            lines.push(Some(line));
        }
        let mut generator = Generator {
            epoll,
            senders,
            markets_min: job.markets_min,
            dirty: (0..lines.len()).collect(),
            blocked: vec![false; lines.len()],
            lines,
            closed_loop: false,
            owed: Vec::new(),
            events: Vec::with_capacity(EVENTS),
            tally: Tally::new(window_ns),
            begun: Instant::now(),
            begun_ms: 0,
            in_flight: 0,
        };
        generator.flush()?;
        Ok(generator)
    }

    /// Waits until every connection was greeted and enough is on sale.
    fn wait_for_sale(&mut self, quotes: &mut Quotes) -> Result<(), LoadError> {
        let begun = Instant::now();
        loop {
            let unready = self.lines.iter().flatten().filter(|line| !line.is_ready()).count();
            if unready == 0 && quotes.markets() >= self.markets_min {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let seconds = PATIENCE.as_secs();
                let waits = self.lines.iter().position(|line| line.as_ref().is_some_and(|l| !l.is_ready()));
                return Err(match waits {
                    Some(number) => {
                        let line = self.lines[number].as_ref();
                        let address = line.and_then(|line| line.stream().peer_addr().ok());
                        let address = address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
                        LoadError::Silent { address, number, seconds }
                    }
                    None => LoadError::NothingOnSale(seconds),
                });
            }
            self.exchange(Duration::from_millis(10), quotes)?;
        }
    }

    /// The clock of the run starts.
    fn begin(&mut self) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.begun_ms = u64::try_from(since.as_millis()).unwrap_or(0);
        self.begun = Instant::now();
        self.tally.told = 0;
    }

    fn now_ns(&self) -> u64 {
        nanos(self.begun.elapsed())
    }

    /// Sends until an instant.
    fn drive(
        &mut self,
        pace: Pace,
        until_ns: u64,
        mix: &mut Mix,
        quotes: &mut Quotes,
    ) -> Result<(), LoadError> {
        if let Pace::Closed { in_flight } = pace {
            self.closed_loop = true;
            self.owed = (0..in_flight).flat_map(|_| 0..self.senders).collect();
        }
        let mut scheduled = 0;
        loop {
            let now_ns = self.now_ns();
            if now_ns >= until_ns {
                self.closed_loop = false;
                return Ok(());
            }
            let wait_ns = match pace {
                Pace::Open { rate, in_flight_max } => {
                    self.send_due(&mut scheduled, rate, in_flight_max, mix, quotes)
                }
                Pace::Closed { .. } => self.send_owed(mix, quotes),
            };
            let wait_ns = wait_ns.min(until_ns - now_ns);
            self.exchange(Duration::from_nanos(wait_ns), quotes)?;
        }
    }

    /// Sends what is due by the schedule; how long to wait for the next, nanoseconds.
    fn send_due(
        &mut self,
        scheduled: &mut u64,
        rate: f64,
        most: usize,
        mix: &mut Mix,
        quotes: &Quotes,
    ) -> u64 {
        for _ in 0..BURST {
            let due_ns = (*scheduled as f64 * 1e9 / rate) as u64;
            let now_ns = self.now_ns();
            if due_ns > now_ns {
                return due_ns - now_ns;
            }
            if self.in_flight >= most {
                // An answer ends the wait.
                return 1_000_000;
            }
            let line = (*scheduled % self.senders as u64) as usize;
            *scheduled += 1;
            self.send(line, due_ns, now_ns, mix, quotes);
        }
        0
    }

    /// Sends a ticket for each answer; how long to wait, nanoseconds.
    fn send_owed(&mut self, mix: &mut Mix, quotes: &Quotes) -> u64 {
        let now_ns = self.now_ns();
        let mut owed = std::mem::take(&mut self.owed);
        owed.retain(|line| !self.send(*line, now_ns, now_ns, mix, quotes));
        let wait_ns = if owed.is_empty() { 10_000_000 } else { 1_000_000 };
        self.owed = owed;
        wait_ns
    }

    /// Sends one ticket, or one again; whether there was one. On a lost line it goes to nobody, and counts as sent.
    fn send(&mut self, place: usize, due_ns: u64, now_ns: u64, mix: &mut Mix, quotes: &Quotes) -> bool {
        let Some(line) = &mut self.lines[place] else { return true };
        let again = line.take_again();
        let fresh = match again {
            Some(_) => None,
            None => mix.ticket(self.begun_ms + now_ns / 1_000_000, quotes),
        };
        match (&again, &fresh) {
            (Some((ticket, content)), _) => line.push(due_ns, ticket, Some(*content)),
            (None, Some(ticket)) => line.push(due_ns, ticket, None),
            (None, None) => {
                self.tally.nothing_on_sale += 1;
                return false;
            }
        }
        self.dirty.push(place);
        self.in_flight += 1;
        self.tally.sent(due_ns, now_ns, again.is_some());
        true
    }

    /// Takes what still comes.
    fn drain(&mut self, until_ns: u64, quotes: &mut Quotes) -> Result<(), LoadError> {
        while self.in_flight > 0 && self.now_ns() < until_ns {
            self.exchange(Duration::from_millis(10), quotes)?;
        }
        let left = self.lines.iter().flatten().map(Line::unanswered).sum::<usize>();
        self.tally.unanswered += left as u64;
        let now_ns = self.now_ns();
        self.tally.close_seconds(now_ns);
        Ok(())
    }

    /// Writes what is to be written and takes what arrives, waiting at most so long for it.
    fn exchange(&mut self, wait: Duration, quotes: &mut Quotes) -> Result<(), LoadError> {
        self.flush()?;
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        self.events.clear();
        let waited =
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&timeout));
        match waited {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(LoadError::System { what: "waiting on sockets", error: error.into() });
            }
        }
        for place in 0..self.events.len() {
            let epoll::Event { flags, data } = self.events[place];
            let line = data.u64() as usize;
            if flags.contains(epoll::EventFlags::OUT) {
                self.dirty.push(line);
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.receive(line, quotes)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, place: usize, quotes: &mut Quotes) -> Result<(), LoadError> {
        let Some(line) = &mut self.lines[place] else { return Ok(()) };
        let begun = self.begun;
        let mut told = 0;
        let mut listen = |said| match said {
            Said::Told(body) => {
                quotes.note(&body);
                told += 1;
            }
            Said::Counted => told += 1,
            _ => {}
        };
        let answered = line.receive(|| nanos(begun.elapsed()), &mut self.tally, &mut listen);
        self.tally.told += told;
        match answered {
            Ok(count) => {
                self.in_flight -= count;
                if self.closed_loop {
                    self.owed.extend(std::iter::repeat_n(place, count));
                }
                Ok(())
            }
            Err(why) => self.lose(place, why),
        }
    }

    fn flush(&mut self) -> Result<(), LoadError> {
        while let Some(place) = self.dirty.pop() {
            let Some(line) = &mut self.lines[place] else { continue };
            match line.flush() {
                Ok(left) if left == self.blocked[place] => {}
                Ok(left) => {
                    self.blocked[place] = left;
                    let out = if left { epoll::EventFlags::OUT } else { epoll::EventFlags::empty() };
                    let data = epoll::EventData::new_u64(place as u64);
                    epoll::modify(&self.epoll, line.stream(), data, epoll::EventFlags::IN | out).map_err(
                        |error| LoadError::System { what: "waiting on a socket", error: error.into() },
                    )?;
                }
                Err(why) => self.lose(place, why)?,
            }
        }
        Ok(())
    }

    /// A connection ended: what it was asked stays unanswered.
    fn lose(&mut self, place: usize, why: String) -> Result<(), LoadError> {
        if let Some(line) = self.lines[place].take() {
            self.in_flight -= line.unanswered();
            self.tally.unanswered += line.unanswered() as u64;
        }
        self.tally.lost += 1;
        if self.lines[..self.senders].iter().all(Option::is_none) {
            return Err(LoadError::Lost(why));
        }
        self.tally.lost_why = why;
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Processor time of this thread so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
