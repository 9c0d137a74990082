//! `touchline bench shm`: one ticket at a time through shared memory and through TCP, in turns on the same node.

use super::node::{NodeOptions, start};
use super::{extend, tell};
use crate::replay::Folder;
use anyhow::{Context, bail, ensure};
use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value as Json, json};
use std::hint::spin_loop;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use touchline_client::{Client, Event, Session};
use touchline_load::tally::histogram;
use touchline_load::{Feed, Machine, Mix, Quotes, feed, report};
use touchline_protocol::{FixtureId, Role, SubmitTicket, Subscribe};
use touchline_runtime::shm::Channel;

/// How long the node may be silent.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest sleep, so that a node that has ended is noticed.
const NAP: Duration = Duration::from_millis(100);

/// Options of `shm`.
#[derive(clap::Args)]
pub(crate) struct Shm {
    /// Rounds; in each of them both ways have a turn. One more at the start is not measured.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Tickets in a turn.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    tickets: u32,
    /// Microseconds that a client looks for its answer before it sleeps, on either way.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=1_000_000))]
    spin_us: u64,
    #[command(flatten)]
    node: NodeOptions,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) fn run(args: &Shm) -> anyhow::Result<()> {
    let machine = Machine::watch();
    let folder = Folder::new(None)?;
    let shared = Shared::new()?;
    let node = args.node.with("shared_memory", &format!("[{:?}]", shared.file()));
    let appliance = start(&folder, &node, 2)?;
    let figures = measure(args, appliance.address, &shared.file());
    let mut figures = figures.map_err(|error| appliance.explain(error))?;
    appliance.stop()?;
    extend(&mut figures, machine.facts());
    tell("one connection, one ticket in flight, durable", &figures, args.json)
}

/// Opens what is bet on and lets both ways have their turns.
fn measure(args: &Shm, address: SocketAddr, file: &Path) -> anyhow::Result<Json> {
    let mut mix = Mix::new(1, 1000);
    let plan = feed::Plan { fixtures: 50, rate: 0.0, match_s: 120.0, seed: 1, retention: None };
    let feed = Feed::open(address, plan, mix.accounts())?;
    let quotes = quotes(address, feed.first_fixture(), feed.markets())?;
    let mut ways = (near(file)?, far(address)?);
    let spin = Duration::from_micros(args.spin_us);
    ways.0.greet()?;
    ways.1.greet()?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // It keeps its promise to be heard, on which the prices rest.
        scope.spawn(|| feed.run(&stop));
        let measured = (0..=args.rounds).try_for_each(|round| {
            let mut ticket = || mix.ticket(unix_ms(), &quotes).context("nothing is on sale");
            ways.0.turn(args.tickets, spin, round > 0, &mut ticket)?;
            ways.1.turn(args.tickets, spin, round > 0, &mut ticket)
        });
        stop.store(true, Ordering::Relaxed);
        measured
    })?;
    Ok(json!({
        "policy": "durable",
        "connections": 1,
        "in_flight": 1,
        "rounds": args.rounds,
        "tickets_per_round": args.tickets,
        "spin_us": args.spin_us,
        "shards": args.node.shards,
        "node": args.node.lines,
        "shared_memory": ways.0.figures(),
        "tcp": ways.1.figures(),
    }))
}

/// A file of its own, in memory where the system has a place for that; removed at the end.
struct Shared(PathBuf);

impl Shared {
    fn new() -> anyhow::Result<Self> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = place.join(format!("touchline-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Ok(Shared(folder))
    }

    fn file(&self) -> PathBuf {
        self.0.join("intake")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The prices of everything that was opened.
fn quotes(address: SocketAddr, first: FixtureId, markets: usize) -> anyhow::Result<Quotes> {
    let mut quotes = Quotes::new(first);
    let mut client = Client::connect(address, Role::Observer, "bench: prices", PATIENCE)?;
    client.session().subscribe(Subscribe { odds: true, events: false, fixture: FixtureId(0) });
    let begun = Instant::now();
    let open = |quotes: &Quotes| {
        quotes.markets() == markets
            && quotes.sale().iter().all(|sale| sale.open && sale.quotes.iter().all(|quote| quote.active))
    };
    while !open(&quotes) {
        ensure!(begun.elapsed() < PATIENCE, "{} of {markets} markets have prices", quotes.markets());
        for event in client.poll(Duration::from_millis(100))? {
            if let Event::Told(_, _, body) = event {
                quotes.note(&body);
            }
        }
    }
    Ok(quotes)
}

/// Bytes to a node and back; neither waits.
trait Stream {
    /// Writes what there is room for; how much that was.
    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<usize>;
    /// Appends what has come.
    fn read(&mut self, into: &mut Vec<u8>) -> anyhow::Result<()>;
    /// Sleeps until something comes, or for a while.
    fn sleep(&mut self) -> anyhow::Result<()>;
}

impl Stream for Channel {
    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<usize> {
        Ok(Channel::write(self, bytes)?)
    }

    fn read(&mut self, into: &mut Vec<u8>) -> anyhow::Result<()> {
        Channel::read(self, into)?;
        Ok(())
    }

    fn sleep(&mut self) -> anyhow::Result<()> {
        Ok(self.wait(false, NAP)?)
    }
}

impl Stream for TcpStream {
    fn write(&mut self, bytes: &[u8]) -> anyhow::Result<usize> {
        match Write::write(self, bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => Ok(written?),
        }
    }

    fn read(&mut self, into: &mut Vec<u8>) -> anyhow::Result<()> {
        let mut bytes = [0; 4096];
        match Read::read(self, &mut bytes) {
            Ok(0) => bail!("the node closed the connection"),
            Ok(count) => into.extend(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn sleep(&mut self) -> anyhow::Result<()> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: NAP.subsec_nanos().into() };
        match poll(&mut [PollFd::new(self, PollFlags::IN)], Some(&timeout)) {
            Err(error) if error != rustix::io::Errno::INTR => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// A client through shared memory.
fn near(file: &Path) -> anyhow::Result<Way<Channel>> {
    let begun = Instant::now();
    loop {
        match Channel::attach(file) {
            Ok(channel) => return Ok(Way::new(channel, "bench: shared memory")),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A client over the loopback.
fn far(address: SocketAddr) -> anyhow::Result<Way<TcpStream>> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(true)?;
    Ok(Way::new(stream, "bench: tcp"))
}

/// A client that asks and waits for the answer, whatever carries both.
struct Way<S> {
    stream: S,
    session: Session,
    inbox: Vec<u8>,
    events: Vec<Event>,
    latency_ns: Histogram<u64>,
}

impl<S: Stream> Way<S> {
    fn new(stream: S, name: &str) -> Self {
        let session = Session::new(Role::Intake, name);
        Way { stream, session, inbox: Vec::new(), events: Vec::new(), latency_ns: histogram() }
    }

    fn greet(&mut self) -> anyhow::Result<()> {
        // Nothing was asked before, so nothing comes back.
        let _ = self.session.connected();
        self.until(Duration::ZERO, |event| matches!(event, Event::Welcome(_)))
    }

    /// So many tickets, one after the other.
    fn turn(
        &mut self,
        tickets: u32,
        spin: Duration,
        measured: bool,
        ticket: &mut impl FnMut() -> anyhow::Result<SubmitTicket>,
    ) -> anyhow::Result<()> {
        for _ in 0..tickets {
            let ticket = ticket()?;
            let id = ticket.ticket;
            let asked = Instant::now();
            self.session.send(ticket);
            self.until(spin, |event| matches!(event, Event::Decision(m) if m.ticket == id))?;
            if measured {
                self.latency_ns.saturating_record(asked.elapsed().as_nanos() as u64);
            }
        }
        Ok(())
    }

    /// Writes what is to be written and takes what comes until the wanted event is among it.
    fn until(&mut self, spin: Duration, wanted: impl Fn(&Event) -> bool) -> anyhow::Result<()> {
        let begun = Instant::now();
        let out = self.session.take_output();
        let mut written = 0;
        loop {
            written += self.stream.write(&out[written..])?;
            self.inbox.clear();
            self.stream.read(&mut self.inbox)?;
            if !self.inbox.is_empty() {
                self.events.clear();
                self.session.receive(0, &self.inbox, &mut self.events).map_err(anyhow::Error::msg)?;
                for event in &self.events {
                    if let Event::Refused(_, why) | Event::Postponed(_, why) = event {
                        bail!("the node refused: {} {}", why.code, why.note.as_str());
                    }
                    if wanted(event) {
                        return Ok(());
                    }
                }
            } else if begun.elapsed() < spin {
                spin_loop();
            } else {
                ensure!(begun.elapsed() < PATIENCE, "no answer within {PATIENCE:?}");
                self.stream.sleep()?;
            }
        }
    }

    fn figures(&self) -> Json {
        json!({ "decisions": self.latency_ns.len(), "latency_us": report::latency_us(&self.latency_ns) })
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
