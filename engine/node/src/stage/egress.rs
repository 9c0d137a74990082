//! Egress: what each connection is still to be sent.
//!
//! Answers and events are all delivered, in order; a connection that does not take them is ended once too many
//! wait. Prices and statuses are conflated: of each market only the latest waits, so a slow reader sees fewer
//! of them but never an old one, and costs a bounded amount of memory.

use std::collections::{BTreeMap, VecDeque};
use touchline_core::{Audience, Effect};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

/// Room for answers that a connection keeps while nothing waits, so that a burst costs memory only while it lasts.
const KEPT_BYTES: usize = 16 * 1024;

/// What a price or status is of: a market, or the fixture itself.
type Subject = (FixtureId, Option<MarketKey>);

fn subject(body: &Body) -> Option<Subject> {
    match body {
        Body::MarketOdds(m) => Some((m.fixture, Some(m.market))),
        Body::FixtureState(m) => Some((m.fixture, None)),
        _ => None,
    }
}

/// The latest price and status of everything, for subscribers that come later.
#[derive(Default)]
pub struct Board {
    latest: BTreeMap<Subject, Effect>,
}

impl Board {
    /// Remembers a price or status.
    pub fn note(&mut self, effect: &Effect) {
        if let Some(subject) = subject(&effect.body) {
            self.latest.insert(subject, effect.clone());
        }
    }

    /// Everything that a new subscriber should see.
    pub fn all(&self) -> impl Iterator<Item = &Effect> {
        self.latest.values()
    }
}

/// What one connection is to be sent.
pub struct Outbound {
    cluster: u64,
    epoch: Epoch,
    wants: Option<Subscribe>,
    /// Encoded answers and events, all to be delivered, back to back.
    firm: Vec<u8>,
    firm_bytes_max: usize,
    /// Subjects in the order of their first change since they were last sent.
    order: VecDeque<Subject>,
    latest: BTreeMap<Subject, Effect>,
    conflated: u64,
}

/// The connection does not take what it is sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Overrun;

impl Outbound {
    /// Nothing to send yet; at most so many bytes of answers and events may wait.
    pub fn new(cluster: u64, epoch: Epoch, firm_bytes_max: usize) -> Self {
        Outbound {
            cluster,
            epoch,
            wants: None,
            firm: Vec::new(),
            firm_bytes_max,
            order: VecDeque::new(),
            latest: BTreeMap::new(),
            conflated: 0,
        }
    }

    /// Sets the streams it wants; prices and statuses start with all that are known.
    pub fn subscribe(&mut self, wants: Subscribe, board: &Board) {
        self.order.clear();
        self.latest.clear();
        self.wants = Some(wants);
        for effect in board.all() {
            self.offer_odds(effect);
        }
    }

    /// What is sent from now on is of an epoch.
    pub fn speak_in(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Offers every price and status that is known once more.
    pub fn refresh(&mut self, board: &Board) {
        board.all().for_each(|effect| self.offer_odds(effect));
    }

    /// Whether an effect for a general audience is for this connection.
    pub fn takes(&self, effect: &Effect) -> bool {
        let Some(wants) = &self.wants else { return false };
        match effect.to {
            Audience::Odds => {
                let fixture = subject(&effect.body).map(|(fixture, _)| fixture);
                wants.odds && (wants.fixture == FixtureId(0) || Some(wants.fixture) == fixture)
            }
            Audience::Events => wants.events,
            Audience::Asker { .. } => false,
        }
    }

    /// Offers an effect for a general audience.
    pub fn offer(&mut self, effect: &Effect) -> Result<(), Overrun> {
        if !self.takes(effect) {
            return Ok(());
        }
        if effect.to == Audience::Odds {
            self.offer_odds(effect);
            return Ok(());
        }
        self.send(effect.seq, effect.partition, 0, &effect.body)
    }

    fn offer_odds(&mut self, effect: &Effect) {
        let Some(subject) = subject(&effect.body).filter(|_| self.takes(effect)) else { return };
        if self.latest.insert(subject, effect.clone()).is_some() {
            self.conflated += 1;
        } else {
            self.order.push_back(subject);
        }
    }

    /// Queues an answer or session message.
    pub fn send(
        &mut self,
        seq: Seq,
        partition: PartitionId,
        request: u64,
        body: &Body,
    ) -> Result<(), Overrun> {
        let envelope = self.envelope(seq, partition, request);
        encode(&envelope, body, &mut self.firm);
        if self.firm.len() > self.firm_bytes_max { Err(Overrun) } else { Ok(()) }
    }

    /// Takes what is to be written: all answers and events, then prices as long as it is below about `most` bytes.
    pub fn take(&mut self, most: usize, out: &mut Vec<u8>) {
        out.append(&mut self.firm);
        if self.firm.capacity() > KEPT_BYTES {
            self.firm = Vec::new();
        }
        while out.len() < most {
            let Some(subject) = self.order.pop_front() else { break };
            let effect = self.latest.remove(&subject).expect("every subject in order has a latest");
            encode(&self.envelope(effect.seq, effect.partition, 0), &effect.body, out);
        }
    }

    /// Bytes of answers and events that wait.
    pub fn firm_bytes(&self) -> usize {
        self.firm.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.firm.is_empty() && self.order.is_empty()
    }

    /// Prices and statuses that a later one replaced before they were sent.
    pub fn conflated(&self) -> u64 {
        self.conflated
    }

    fn envelope(&self, seq: Seq, partition: PartitionId, request: u64) -> Envelope {
        Envelope { seq, partition, ..Envelope::session(self.cluster, self.epoch, request) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odds(version: u64, market: u16) -> Effect {
        let body = MarketOdds {
            fixture: FixtureId(1),
            market: MarketKey::new(market, 0),
            status: MarketStatus::Active,
            version: Seq(version),
            prices: List(vec![Price::decimal(2000)]),
        };
        Effect { seq: Seq(version), partition: PartitionId(0), to: Audience::Odds, body: body.into() }
    }

    fn bodies(bytes: &[u8]) -> Vec<Body> {
        let mut splitter = Splitter::new();
        splitter.push(bytes);
        std::iter::from_fn(|| splitter.next_frame().unwrap().map(|frame| frame.body().unwrap())).collect()
    }

    fn subscribe() -> Subscribe {
        Subscribe { odds: true, events: false, fixture: FixtureId(0) }
    }

    #[test]
    fn a_slow_reader_gets_the_latest_price_of_each_market_once() {
        let mut outbound = Outbound::new(1, Epoch(1), 1 << 20);
        outbound.subscribe(subscribe(), &Board::default());
        for version in 1..=1000 {
            outbound.offer(&odds(version, 1)).unwrap();
            outbound.offer(&odds(version, 29)).unwrap();
        }
        let mut bytes = Vec::new();
        outbound.take(usize::MAX, &mut bytes);
        let versions: Vec<_> = bodies(&bytes)
            .into_iter()
            .map(|body| match body {
                Body::MarketOdds(m) => (m.market.kind, m.version),
                other => panic!("unexpected {other:?}"),
            })
            .collect();
        assert_eq!(versions, [(1, Seq(1000)), (29, Seq(1000))]);
        assert_eq!(outbound.conflated(), 1998);
        assert!(outbound.is_empty());
    }

    #[test]
    fn a_late_subscriber_sees_what_is_known() {
        let mut board = Board::default();
        board.note(&odds(7, 1));
        board.note(&odds(9, 1));
        let mut outbound = Outbound::new(1, Epoch(1), 1 << 20);
        outbound.subscribe(subscribe(), &board);
        let mut bytes = Vec::new();
        outbound.take(usize::MAX, &mut bytes);
        assert!(matches!(bodies(&bytes).as_slice(), [Body::MarketOdds(m)] if m.version == Seq(9)));
    }

    #[test]
    fn a_reader_that_takes_no_answers_is_given_up() {
        let mut outbound = Outbound::new(1, Epoch(1), 1000);
        let pong = Body::from(Pong { number: 1, committed: Seq(0) });
        let sent =
            (0..100).take_while(|_| outbound.send(Seq(0), PartitionId::NONE, 0, &pong).is_ok()).count();
        assert!((1..100).contains(&sent));
    }
}
