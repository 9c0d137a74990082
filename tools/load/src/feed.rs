//! Matches beside a load: opened, played at a steady rate of updates, suspended by a desk, settled and replaced.

use crate::error::LoadError;
use crate::tally::histogram;
use hdrhistogram::Histogram;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use touchline_client::{Client, ClientError, Event as Told};
use touchline_feeds::Timeline;
use touchline_generator::{Random, football};
use touchline_protocol::*;

/// The source of these matches; no other tool uses it.
const SOURCE: SourceId = SourceId(7001);
/// How long a promise of the source holds; it is renewed five times as often.
const ALIVE: Duration = Duration::from_secs(10);
/// How long a node may be silent.
const PATIENCE: Duration = Duration::from_secs(30);
/// Commands without an answer while matches and accounts are opened.
const WINDOW: usize = 256;
/// Updates sent before answers are taken.
const BURST: u64 = 64;
/// One in so many updates is followed by a suspension that an operator sets, and lifts as many updates later.
const SUSPENDED: u64 = 200;
/// How often the feed looks for answers, and how exactly it therefore knows their latency.
const LOOK: Duration = Duration::from_millis(1);

/// What a feed plays.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Matches side by side.
    pub fixtures: u64,
    /// Updates in a second over all matches; with 0 none of them begins.
    pub rate: f64,
    /// How long a match takes, seconds.
    pub match_s: f64,
    /// Seed of the matches.
    pub seed: u64,
    /// How long the node is told to keep what is over; `None` leaves it as it is.
    pub retention: Option<Duration>,
}

/// What a feed was answered.
#[derive(Clone, Debug)]
pub struct FeedTally {
    /// Updates sent.
    pub updates: u64,
    /// Suspensions and releases sent.
    pub suspensions: u64,
    /// Matches that were settled.
    pub settled: u64,
    /// Commands that changed nothing, by code.
    pub rejected: BTreeMap<Code, u64>,
    /// Commands refused.
    pub refused: BTreeMap<Code, u64>,
    /// Commands without an answer.
    pub unanswered: u64,
    /// From the scheduled time of an update to its answer, nanoseconds.
    pub update_ns: Histogram<u64>,
    /// The same of suspensions.
    pub suspension_ns: Histogram<u64>,
    /// From the scheduled time of an update to its sending: how late the feed itself is, nanoseconds.
    pub late_ns: Histogram<u64>,
}

/// A feed and a desk with their matches.
pub struct Feed {
    plan: Plan,
    feed: Client,
    desk: Client,
    random: Random,
    first: FixtureId,
    opened: u64,
    matches: Vec<Playing>,
    renewed: Option<Instant>,
    /// Fixtures that the desk has suspended, and the update at which it lets go.
    suspended: VecDeque<(u64, FixtureId)>,
    waiting: [BTreeMap<u64, Instant>; 2],
    tally: FeedTally,
}

impl Feed {
    /// Opens accounts and matches and waits until the node has them.
    pub fn open(
        address: SocketAddr,
        plan: Plan,
        accounts: impl Iterator<Item = OpenAccount>,
    ) -> Result<Self, LoadError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut feed = Feed {
            plan,
            feed: Client::connect(address, Role::Feed, "load: feed", PATIENCE)?,
            desk: Client::connect(address, Role::Operator, "load: desk", PATIENCE)?,
            random: Random::new(plan.seed),
            // No earlier run has these, and there is room for 65,536 of them before a later one could.
            first: FixtureId((since.as_millis() as u64) << 16),
            opened: 0,
            matches: Vec::new(),
            renewed: None,
            suspended: VecDeque::new(),
            waiting: [BTreeMap::new(), BTreeMap::new()],
            tally: FeedTally {
                updates: 0,
                suspensions: 0,
                settled: 0,
                rejected: BTreeMap::new(),
                refused: BTreeMap::new(),
                unanswered: 0,
                update_ns: histogram(),
                suspension_ns: histogram(),
                late_ns: histogram(),
            },
        };
        feed.renew();
        if let Some(retention) = plan.retention {
            let note = Text::cut("for a load");
            let retention_ms = retention.as_millis() as u64;
            feed.desk.command(SetRetention { retention_ms, operator: OperatorId(1), note })?;
        }
        let mut intake = Client::connect(address, Role::Intake, "load: accounts", PATIENCE)?;
        for account in accounts {
            intake.session().send(account);
            settle_down(&mut intake, WINDOW)?;
        }
        settle_down(&mut intake, 0)?;
        for n in 0..plan.fixtures {
            let timeline = feed.open_match();
            // They do not all end at once.
            let begun = if plan.rate > 0.0 { n as f64 / plan.fixtures as f64 } else { 0.0 };
            feed.matches.push(Playing::at(timeline, begun));
            settle_down(&mut feed.feed, WINDOW)?;
            feed.renew();
        }
        settle_down(&mut feed.feed, 0)?;
        Ok(feed)
    }

    /// The first of its fixtures; all others have higher numbers.
    pub fn first_fixture(&self) -> FixtureId {
        self.first
    }

    /// Markets that have prices once everything is open.
    pub fn markets(&self) -> usize {
        self.matches.iter().map(|playing| playing.timeline.markets.len()).sum()
    }

    fn open_match(&mut self) -> Timeline {
        let timeline = football::timeline(&mut self.random, FixtureId(self.first.0 + self.opened));
        self.opened += 1;
        for command in timeline.opening_commands(SOURCE, At(now_ns())) {
            self.feed.session().send(command);
        }
        timeline
    }

    /// Plays until told to stop, then waits for what is unanswered.
    pub fn run(mut self, stop: &AtomicBool) -> Result<FeedTally, LoadError> {
        let begun = Instant::now();
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            self.renew();
            let wait = self.send_due(begun, &mut sent);
            self.exchange()?;
            std::thread::sleep(wait);
        }
        let stopping = Instant::now();
        while self.waiting.iter().any(|waiting| !waiting.is_empty()) && stopping.elapsed() < ALIVE {
            self.exchange()?;
            std::thread::sleep(LOOK);
        }
        self.tally.unanswered = self.waiting.iter().map(|waiting| waiting.len() as u64).sum();
        Ok(self.tally)
    }

    /// Sends what is due, but not too much before answers are taken again; how long to wait for the next.
    fn send_due(&mut self, begun: Instant, sent: &mut u64) -> Duration {
        if self.plan.rate == 0.0 {
            return LOOK;
        }
        for _ in 0..BURST {
            let due = begun + Duration::from_secs_f64(*sent as f64 / self.plan.rate);
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                return wait.min(LOOK);
            }
            self.update(*sent, due);
            *sent += 1;
        }
        Duration::ZERO
    }

    /// One update of the match whose turn it is, and what the desk does beside it.
    fn update(&mut self, number: u64, due: Instant) {
        self.tally.late_ns.saturating_record(due.elapsed().as_nanos().max(1) as u64);
        let place = (number % self.plan.fixtures) as usize;
        let share = self.plan.fixtures as f64 / (self.plan.rate * self.plan.match_s);
        let playing = &mut self.matches[place];
        let fixture = playing.timeline.fixture;
        let request = match playing.step(share) {
            Some(incident) => self.feed.session().send(incident),
            None => {
                let settlement = playing.timeline.settlement();
                let request = self.feed.session().send(settlement);
                self.tally.settled += 1;
                self.matches[place] = Playing::at(self.open_match(), 0.0);
                request
            }
        };
        self.waiting[0].insert(request, due);
        self.tally.updates += 1;
        if number % SUSPENDED == SUSPENDED - 1 {
            self.suspend(fixture, true, due);
            self.suspended.push_back((number + SUSPENDED, fixture));
        }
        while let Some((_, fixture)) = self.suspended.pop_front_if(|(until, _)| *until <= number) {
            self.suspend(fixture, false, due);
        }
    }

    fn suspend(&mut self, fixture: FixtureId, on: bool, due: Instant) {
        let request = self.desk.session().send(Suspend {
            fixture,
            market: MarketKey::WHOLE_FIXTURE,
            reason: Reason::Operator,
            on,
            operator: OperatorId(1),
            note: Text::cut("load"),
        });
        self.waiting[1].insert(request, due);
        self.tally.suspensions += 1;
    }

    fn exchange(&mut self) -> Result<(), LoadError> {
        let told = [self.feed.poll(Duration::ZERO)?, self.desk.poll(Duration::ZERO)?];
        for (who, events) in told.into_iter().enumerate() {
            for event in events {
                self.heard(who, event);
            }
        }
        Ok(())
    }

    fn heard(&mut self, who: usize, event: Told) {
        match event {
            Told::Done(request, done) => {
                let Some(due) = self.waiting[who].remove(&request) else { return };
                let histogram =
                    if who == 0 { &mut self.tally.update_ns } else { &mut self.tally.suspension_ns };
                histogram.saturating_record(due.elapsed().as_nanos() as u64);
                if done.code != Code::Accepted {
                    *self.tally.rejected.entry(done.code).or_default() += 1;
                }
            }
            Told::Refused(request, why) => {
                self.waiting[who].remove(&request);
                *self.tally.refused.entry(why.code).or_default() += 1;
            }
            Told::Postponed(_, why) => *self.tally.refused.entry(why.code).or_default() += 1,
            _ => {}
        }
    }

    /// Promises to be heard again, when it is time to.
    fn renew(&mut self) {
        if self.renewed.is_none_or(|at| at.elapsed() > ALIVE / 5) {
            let alive_until = At(now_ns() + ALIVE.as_nanos() as i64);
            self.feed.session().send(SourceFresh { source: SOURCE, alive_until });
            self.renewed = Some(Instant::now());
        }
    }
}

/// A match that is being played, faster or slower than it was.
struct Playing {
    timeline: Timeline,
    /// The next report.
    next: usize,
    source_seq: u64,
    /// Match time, milliseconds.
    at_ms: f64,
}

impl Playing {
    /// A match of which this share is over.
    fn at(timeline: Timeline, share: f64) -> Self {
        let at_ms = share * timeline.end_ms() as f64;
        let next = timeline.reports.partition_point(|report| (report.at_ms as f64) < at_ms);
        Playing { timeline, next, source_seq: 0, at_ms }
    }

    /// The update after another share of the match: its next report where that is due, else the clock. `None` after the
    /// last report.
    fn step(&mut self, share: f64) -> Option<Incident> {
        self.at_ms += share * self.timeline.end_ms() as f64;
        self.source_seq += 1;
        let report = *self.timeline.reports.get(self.next)?;
        let (event, side, board) = if report.at_ms as f64 <= self.at_ms || self.next == 0 {
            self.next += 1;
            (report.event, report.side, report.board)
        } else {
            let last = self.timeline.reports[self.next - 1];
            let mut board = last.board;
            if matches!(board.period, Period::First | Period::Second) {
                board.clock_ms += (self.at_ms as u64).saturating_sub(last.at_ms) as u32;
            }
            (Event::Clock, Side::None, board)
        };
        let (fixture, source, source_seq) = (self.timeline.fixture, SOURCE, self.source_seq);
        Some(Incident { fixture, source, source_seq, event, side, board })
    }
}

/// Waits until at most so many requests are unanswered.
fn settle_down(client: &mut Client, most: usize) -> Result<(), ClientError> {
    while client.session().unanswered() > most {
        for event in client.poll(PATIENCE)? {
            if let Told::Refused(_, why) = event {
                return Err(ClientError::Refused(Box::new(why)));
            }
        }
    }
    Ok(())
}

fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_told_whole_at_any_pace() {
        for (seed, steps) in [(1, 50.0), (2, 5000.0), (3, 100_000.0)] {
            let timeline = football::timeline(&mut Random::new(seed), FixtureId(1));
            let (reports, result) = (timeline.reports.len(), timeline.result);
            let mut playing = Playing::at(timeline, 0.0);
            let told: Vec<_> = std::iter::from_fn(|| playing.step(1.0 / steps)).collect();
            assert!(told.len() >= reports && told.len() as f64 <= steps + reports as f64);
            assert!(told.windows(2).all(|pair| pair[0].source_seq + 1 == pair[1].source_seq));
            let last = told.last().unwrap();
            assert_eq!((last.event, last.board.score), (Event::MatchEnd, result));
        }
    }

    #[test]
    fn a_match_half_over_goes_on_from_there() {
        let timeline = football::timeline(&mut Random::new(4), FixtureId(1));
        let half = timeline.end_ms() / 2;
        let mut playing = Playing::at(timeline, 0.5);
        let first = playing.step(0.01).unwrap();
        assert!(first.board.period != Period::NotStarted);
        assert!(playing.timeline.reports[playing.next].at_ms >= half);
    }
}
