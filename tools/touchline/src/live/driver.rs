//! Matches and bettors against a node, on a clock of match time.

use crate::live::appliance::Appliance;
use crate::live::tally::Tally;
use anyhow::{Context, bail, ensure};
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use touchline_client::{Client, Event};
use touchline_feeds::Timeline;
use touchline_generator::{Bettors, PriceBoard, Random};
use touchline_protocol::*;

/// The one source of these runs.
const SOURCE: SourceId = SourceId(1);
/// How long a source's promise holds; it is renewed five times as often.
const ALIVE: Duration = Duration::from_secs(10);
/// How long a node may be silent before a run is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// From a match's last report to its settlement, milliseconds of match time.
const SETTLE_AFTER_MS: u64 = 60_000;
/// Requests without an answer at which a sender waits.
const FEED_WINDOW: usize = 256;
const TICKET_WINDOW: usize = 1024;
/// Answered tickets that are kept to be asked for again.
const REMEMBERED: usize = 4096;

/// How fast match time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Speed {
    /// As many match seconds in a second.
    Times(f64),
    /// As fast as the node takes it.
    Max,
}

/// What is to be played.
pub(crate) struct Plan {
    /// The matches; all begin together.
    pub timelines: Vec<Timeline>,
    /// Bets in a second of match time, over all matches together.
    pub bets_per_second: f64,
    /// Speed of the match clock.
    pub speed: Speed,
    /// Seed of bettors and chance.
    pub seed: u64,
    /// Customers.
    pub customers: u64,
}

/// A run.
pub(crate) struct Driver {
    plan: Plan,
    feed: Client,
    intake: Client,
    bettors: Bettors,
    chance: Random,
    /// What bettors and screens see.
    pub board: PriceBoard,
    /// What was answered.
    pub tally: Tally,
    /// When which match's which report is due: milliseconds, match, report (behind the last: the settlement).
    due: VecDeque<(u64, usize, usize)>,
    remembered: VecDeque<SubmitTicket>,
    owed_bets: f64,
    renewed: Option<Instant>,
    begun: Instant,
}

impl Driver {
    /// Connects to a node, opens accounts and matches.
    pub(crate) fn open(plan: Plan, appliance: &Appliance) -> anyhow::Result<Self> {
        let feed = Client::connect(appliance.address, Role::Feed, "feed", PATIENCE)?;
        let intake = connect_intake(appliance)?;
        let mut bettors = Bettors::new(plan.seed, BrandId(1), Currency(*b"EUR"), plan.customers);
        let accounts = bettors.accounts();
        let chance = Random::new(plan.seed ^ 0x5EED);
        let mut driver = Driver {
            due: due(&plan.timelines),
            plan,
            feed,
            intake,
            bettors,
            chance,
            board: PriceBoard::default(),
            tally: Tally::new(),
            remembered: VecDeque::new(),
            owed_bets: 0.0,
            renewed: None,
            begun: Instant::now(),
        };
        driver.renew()?;
        driver.open_accounts(accounts, appliance)?;
        let start_at = at(now()?);
        for place in 0..driver.plan.timelines.len() {
            for command in driver.plan.timelines[place].opening_commands(SOURCE, start_at) {
                driver.feed.session().send(command);
            }
            driver.pump(None)?;
        }
        driver.drain()?;
        driver.begun = Instant::now();
        Ok(driver)
    }

    fn open_accounts(&mut self, accounts: Vec<Body>, appliance: &Appliance) -> anyhow::Result<()> {
        let mut desk = Client::connect(appliance.address, Role::Operator, "desk", PATIENCE)?;
        for account in accounts {
            desk.session().send(account);
            while desk.session().unanswered() > FEED_WINDOW {
                desk.poll(Duration::from_millis(100))?;
            }
        }
        let begun = Instant::now();
        while desk.session().unanswered() > 0 {
            desk.poll(Duration::from_millis(100))?;
            ensure!(begun.elapsed() < PATIENCE, "the node does not answer the opening of accounts");
        }
        Ok(())
    }

    /// Seconds of match time until everything is settled.
    pub(crate) fn length_s(&self) -> u64 {
        self.due.back().map_or(0, |(ms, ..)| ms.div_ceil(1000))
    }

    /// The matches.
    pub(crate) fn timelines(&self) -> &[Timeline] {
        &self.plan.timelines
    }

    /// Plays one second of match time: reports due, bets, answers.
    pub(crate) fn second(&mut self, second: u64) -> anyhow::Result<()> {
        self.renew_if_due()?;
        while let Some((_, place, report)) = self.due.pop_front_if(|(ms, ..)| *ms <= second * 1000) {
            let timeline = &self.plan.timelines[place];
            match timeline.incident(SOURCE, report) {
                Some(incident) => self.feed.session().send(incident),
                None => self.feed.session().send(timeline.settlement()),
            };
            if self.feed.session().unanswered() > FEED_WINDOW {
                self.pump(None)?;
            }
        }
        self.owed_bets += self.plan.bets_per_second;
        while self.owed_bets >= 1.0 {
            self.owed_bets -= 1.0;
            if let Some(ticket) = self.bettors.bet(millis(now()?), &self.board) {
                self.tally.sent(&ticket);
                self.intake.session().send(ticket);
            }
            if self.intake.session().unanswered() > TICKET_WINDOW {
                self.pump(None)?;
            }
        }
        let until = match self.plan.speed {
            Speed::Max => None,
            Speed::Times(times) => Some(self.begun + Duration::from_secs_f64(second as f64 / times)),
        };
        self.pump(until)
    }

    /// Exchanges with the node until the windows have room and an instant has come.
    fn pump(&mut self, until: Option<Instant>) -> anyhow::Result<()> {
        let begun = Instant::now();
        loop {
            let told = self.exchange(Duration::ZERO)?;
            let room = self.feed.session().unanswered() <= FEED_WINDOW
                && self.intake.session().unanswered() <= TICKET_WINDOW;
            let waits = until.is_some_and(|until| Instant::now() < until);
            if room && !waits {
                return Ok(());
            }
            if told == 0 {
                self.exchange(Duration::from_millis(1))?;
            }
            self.renew_if_due()?;
            if !room && begun.elapsed() > PATIENCE {
                bail!("the node has answered too little for {PATIENCE:?}");
            }
        }
    }

    /// Waits until nothing is unanswered.
    pub(crate) fn drain(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while self.feed.session().unanswered() + self.intake.session().unanswered() > 0 {
            self.exchange(Duration::from_millis(1))?;
            self.renew_if_due()?;
            if begun.elapsed() > PATIENCE {
                break;
            }
        }
        Ok(())
    }

    /// Takes what both connections have, waiting for the intake's; how many events came.
    fn exchange(&mut self, wait: Duration) -> anyhow::Result<usize> {
        let mut events = self.feed.poll(Duration::ZERO)?;
        events.extend(self.intake.poll(wait)?);
        let count = events.len();
        for event in events {
            match event {
                // Model parameters and settlements, of which in such a run nobody else sends any. The intake sends
                // nothing but tickets, which go again by themselves.
                Event::Unknown(_, body) => {
                    self.feed.session().send(body);
                }
                Event::Decision(decision) => self.decided(decision),
                Event::Refused(_, m) => self.tally.refused(&m, true),
                Event::Postponed(_, m) => self.tally.refused(&m, false),
                Event::Told(_, _, told) => {
                    self.tally.odds_updates += u64::from(matches!(told, Body::MarketOdds(_)));
                    self.board.note(&told);
                }
                Event::Welcome(_) | Event::Done(..) => {}
            }
        }
        Ok(count)
    }

    fn decided(&mut self, decision: Decision) {
        if let Some(waiting) = self.tally.waiting.get(&(decision.brand, decision.ticket)) {
            self.remembered.push_back(waiting.ticket.clone());
            if self.remembered.len() > REMEMBERED {
                self.remembered.pop_front();
            }
        }
        self.tally.decided(decision);
    }

    /// A client of the intake restarts: it forgets its connection and sends again what had no answer.
    pub(crate) fn restart_intake(&mut self, appliance: &Appliance) -> anyhow::Result<()> {
        self.intake = connect_intake(appliance)?;
        let mut unanswered: Vec<_> = self.tally.waiting.values().map(|waiting| &waiting.ticket).collect();
        unanswered.sort_by_key(|ticket| (ticket.brand, ticket.ticket));
        for ticket in unanswered {
            self.intake.session().send(ticket.clone());
        }
        Ok(())
    }

    /// Asks again for answers that were given before.
    pub(crate) fn ask_again(&mut self, count: usize) {
        for _ in 0..count.min(self.remembered.len()) {
            let place = self.chance.below(self.remembered.len() as u64) as usize;
            self.tally.asked_again += 1;
            self.intake.session().send(self.remembered[place].clone());
        }
    }

    /// Sends tickets without waiting for anything, so that a crash finds the node at work.
    pub(crate) fn burst(&mut self, count: usize) -> anyhow::Result<()> {
        for _ in 0..count {
            if let Some(ticket) = self.bettors.bet(millis(now()?), &self.board) {
                self.tally.sent(&ticket);
                self.intake.session().send(ticket);
            }
        }
        self.exchange(Duration::ZERO).map(|_| ())
    }

    /// Tickets in flight.
    pub(crate) fn in_flight(&self) -> usize {
        self.tally.waiting.len()
    }

    fn renew_if_due(&mut self) -> anyhow::Result<()> {
        if self.renewed.is_none_or(|renewed| renewed.elapsed() > ALIVE / 5) {
            self.renew()?;
        }
        Ok(())
    }

    /// The source promises to be heard again.
    pub(crate) fn renew(&mut self) -> anyhow::Result<()> {
        self.renewed = Some(Instant::now());
        self.feed.session().send(SourceFresh { source: SOURCE, alive_until: at(now()? + ALIVE) });
        Ok(())
    }
}

fn connect_intake(appliance: &Appliance) -> anyhow::Result<Client> {
    let mut intake = Client::connect(appliance.address, Role::Intake, "intake", PATIENCE)?;
    intake.session().subscribe(Subscribe { odds: true, events: false, fixture: FixtureId(0) });
    Ok(intake)
}

/// Every report and settlement of all matches, in the order of their times.
fn due(timelines: &[Timeline]) -> VecDeque<(u64, usize, usize)> {
    let mut due: Vec<(u64, usize, usize)> = Vec::new();
    for (place, timeline) in timelines.iter().enumerate() {
        due.extend(timeline.reports.iter().enumerate().map(|(n, report)| (report.at_ms, place, n)));
        due.push((timeline.end_ms() + SETTLE_AFTER_MS, place, timeline.reports.len()));
    }
    due.sort_unstable();
    due.into()
}

/// Time since 1970.
fn now() -> anyhow::Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).context("the system's clock is before 1970")
}

fn at(since: Duration) -> At {
    At(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn millis(since: Duration) -> u64 {
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
