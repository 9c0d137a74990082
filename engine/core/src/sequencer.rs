//! The sequencer: gives every input its place, its logical time and its link in the hash chain.
//!
//! Inputs wait in six queues by rank. Each step takes from them in turn, a bounded number from all but the
//! first, so that the higher rank passes first and none starves. What makes the house safer has the first rank;
//! but whatever one connection sends beside tickets stays in the order in which it was sent.

use crate::partition::Partition;
use crate::retention::Timers;
use crate::snapshot::Place;
use std::collections::{BTreeMap, VecDeque};
use touchline_protocol::frame::{encode, restamp};
use touchline_protocol::*;

/// What a clock says: read by the shell, never here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic nanoseconds since any fixed instant of this process.
    pub mono_ns: u64,
    /// UTC, nanoseconds since the Unix epoch.
    pub utc_ns: i64,
}

/// An input for the log.
#[derive(Clone, Debug)]
pub enum Input {
    /// A command from a connection: a checked frame as it arrived.
    Client {
        /// The connection.
        origin: u64,
        /// Who is at its other end.
        role: Role,
        /// The frame's bytes.
        frame: Vec<u8>,
    },
    /// A message between partitions.
    Internal(Body),
    /// A command of the node itself.
    Node(Body),
}

/// Frames that follow each other in the log.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The frames, back to back.
    pub bytes: Vec<u8>,
    /// Number of frames.
    pub count: usize,
    /// Sequence of the last frame.
    pub last: Seq,
}

impl Batch {
    /// The frames one by one.
    pub fn frames(&self) -> impl Iterator<Item = FrameRef<'_>> {
        self.frames_from(0)
    }

    /// The frames from a position in the bytes on, where one begins or all end.
    pub(crate) fn frames_from(&self, position: usize) -> impl Iterator<Item = FrameRef<'_>> {
        let mut rest = &self.bytes[position..];
        std::iter::from_fn(move || {
            let frame = (!rest.is_empty()).then(|| FrameRef::known(rest).expect("the sequencer wrote it"))?;
            rest = &rest[frame.bytes().len()..];
            Some(frame)
        })
    }
}

/// A refusal for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The connection.
    pub origin: u64,
    /// Its number for the request.
    pub request: u64,
    /// What to tell it.
    pub refused: Refused,
}

/// Rank of an input; lower passes first.
const RANKS: usize = 6;
/// Inputs taken from each rank in one round: suspensions and timers, internal, feed, operators, tickets, work. Of the
/// first all: admission bounds how many there can be, and what a connection sent behind one must not pass it.
const SHARE: [usize; RANKS] = [usize::MAX, 256, 64, 32, 64, WORKS_PER_STEP];
/// Rank of tickets.
const TICKETS: usize = 4;
/// Rank of work that is under way: everything else passes it.
const WORK: usize = 5;
/// Pieces of work in one step, however little else waits: a ticket that comes now is behind no more than these, about
/// 40 µs each.
const WORKS_PER_STEP: usize = 4;
/// Fixtures whose archiving begins in one step: each sends a message round all partitions.
const ARCHIVES_PER_STEP: usize = 8;
/// A step of the clock beyond this is worth an alarm, nanoseconds.
const STEP_NS: i64 = 1_000_000_000;
/// Fastest slew towards UTC: 500 parts per million.
const SLEW_PER: i64 = 2_000;

/// The sequencer.
pub struct Sequencer {
    cluster: u64,
    epoch: Epoch,
    last: Seq,
    chain: ChainHash,
    at: At,
    mono_ns: Option<u64>,
    partitions: u16,
    future_skew_ms: u64,
    queues: [VecDeque<Input>; RANKS],
    /// Of each connection that has any: how many commands beside tickets wait behind the first rank, and in which.
    in_order: BTreeMap<u64, InOrder>,
    /// Promises of sources that have not been seen to expire.
    promises: BTreeMap<SourceId, At>,
    source_horizon_ms: u32,
    /// Fixtures that closed, until their retention ends.
    retirements: Timers,
    /// Next number of each (from, to) pair; `to` is the partition count for `ALL`.
    hops: Vec<u64>,
    clock_step_ns: i64,
    /// How far UTC was off when a step was last told: while it is slewed away nothing new is told.
    told_error_ns: i64,
}

impl Sequencer {
    /// A sequencer of an empty log.
    pub fn new(cluster: u64) -> Self {
        Sequencer {
            cluster,
            epoch: Epoch(0),
            last: Seq(0),
            chain: ChainHash(0),
            at: At(0),
            mono_ns: None,
            partitions: 1,
            future_skew_ms: 0,
            queues: Default::default(),
            in_order: BTreeMap::new(),
            promises: BTreeMap::new(),
            source_horizon_ms: 0,
            retirements: Timers::default(),
            hops: Vec::new(),
            clock_step_ns: 0,
            told_error_ns: 0,
        }
    }

    /// The sequencer of a log that ends at a frame: what it needs beyond that is in the partitions, which took every
    /// frame that it did.
    pub(crate) fn resume(cluster: u64, last: &Place, partitions: &[&Partition]) -> Self {
        let mut sequencer = Sequencer::new(cluster);
        (sequencer.last, sequencer.epoch) = (last.seq, last.epoch);
        (sequencer.at, sequencer.chain) = (last.at, last.chain);
        let Some(rules) = partitions.first().map(|partition| partition.rules()) else { return sequencer };
        let count = rules.genesis.partitions;
        sequencer.partitions = count;
        sequencer.future_skew_ms = rules.genesis.future_skew_ms.into();
        sequencer.source_horizon_ms = rules.configure.source_horizon_ms;
        sequencer.promises = partitions[0].promises().collect();
        sequencer.retirements.retain(partitions[0].retention_ms());
        for (fixture, since) in partitions.iter().flat_map(|partition| partition.begun()) {
            sequencer.retirements.begin(fixture, since);
        }
        sequencer.hops = vec![1; usize::from(count) * (usize::from(count) + 1)];
        for (to, from) in partitions.iter().flat_map(|to| (0..count).map(move |from| (to, PartitionId(from))))
        {
            let [plain, to_all] = to.next_from(from);
            let (own, all) =
                (sequencer.hop_place(from, to.id()), sequencer.hop_place(from, PartitionId::ALL));
            sequencer.hops[own] = plain;
            sequencer.hops[all] = to_all;
        }
        sequencer
    }

    /// Follows a frame of the log, written by this process or read back from the journal.
    pub fn follow(&mut self, frame: &FrameRef<'_>, body: &Body) {
        let envelope = frame.envelope();
        assert_eq!(envelope.seq.0, self.last.0 + 1, "the log has no gaps");
        self.last = envelope.seq;
        self.epoch = envelope.epoch;
        self.at = envelope.at;
        self.chain = frame.chain();
        match body {
            Body::Genesis(m) => {
                self.partitions = m.partitions;
                self.future_skew_ms = m.future_skew_ms.into();
                self.hops = vec![1; usize::from(m.partitions) * (usize::from(m.partitions) + 1)];
            }
            Body::Configure(m) => self.source_horizon_ms = m.source_horizon_ms,
            Body::SourceFresh(m) if m.is_within(self.at, self.source_horizon_ms) => {
                let promise = self.promises.entry(m.source).or_insert(m.alive_until);
                *promise = (*promise).max(m.alive_until);
            }
            Body::SourceExpired(m) if self.promises.get(&m.source) == Some(&m.alive_until) => {
                self.promises.remove(&m.source);
            }
            Body::SetRetention(m) => self.retirements.retain(m.retention_ms),
            Body::Closed(m) => self.retirements.begin(m.fixture, m.since),
            Body::Archive(m) => self.retirements.end(m.fixture, m.since),
            _ => {}
        }
        if let Some(hop) = body.hop() {
            let place = self.hop_place(hop.from, envelope.partition);
            self.hops[place] = hop.number + 1;
        }
    }

    /// Last sequence.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// The cluster whose log this is.
    pub fn cluster(&self) -> u64 {
        self.cluster
    }

    /// The epoch in force.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Logical time of the last frame.
    pub fn at(&self) -> At {
        self.at
    }

    /// Chain hash of the last frame.
    pub fn chain(&self) -> ChainHash {
        self.chain
    }

    /// Forgets inputs that wait: this process no longer sequences. Clients ask again, partitions offer again.
    pub fn forget_waiting(&mut self) {
        self.queues.iter_mut().for_each(VecDeque::clear);
        self.in_order.clear();
    }

    /// Inputs that wait.
    pub fn waiting(&self) -> usize {
        self.queues.iter().map(VecDeque::len).sum()
    }

    /// The instant of the next timer, to know how long a shell may sleep.
    pub fn next_timer(&self) -> Option<At> {
        let promise = self.promises.values().min().copied();
        promise.into_iter().chain(self.retirements.next()).min()
    }

    /// The last step of the clock beyond a second, nanoseconds, if one was seen since this was last called.
    pub fn take_clock_step(&mut self) -> Option<i64> {
        (self.clock_step_ns != 0).then(|| std::mem::take(&mut self.clock_step_ns))
    }

    /// Queues an input by its rank.
    pub fn offer(&mut self, input: Input) {
        let rank = match &input {
            Input::Node(_) => 0,
            Input::Internal(Body::Work(_)) => WORK,
            Input::Internal(_) => 1,
            Input::Client { origin, role, frame } => match rank_of(*role, frame) {
                Rank::Ticket => TICKETS,
                Rank::Safeguard => self.rank_in_order(*origin, 0),
                Rank::Plain(rank) => self.rank_in_order(*origin, rank),
            },
        };
        self.queues[rank].push_back(input);
    }

    /// The queue for a command beside tickets: its own rank, or the one where earlier ones of its connection still
    /// wait. A suspension before the opening that it is about would be lost, and one before an earlier release undone.
    fn rank_in_order(&mut self, origin: u64, rank: usize) -> usize {
        if let Some(waits) = self.in_order.get_mut(&origin) {
            waits.count += 1;
            return waits.rank;
        }
        if rank > 0 {
            self.in_order.insert(origin, InOrder { count: 1, rank });
        }
        rank
    }

    /// A command beside tickets has left a queue behind the first.
    fn left_in_order(&mut self, origin: u64) {
        let waits = self.in_order.get_mut(&origin).expect("it was counted when it came");
        waits.count -= 1;
        if waits.count == 0 {
            self.in_order.remove(&origin);
        }
    }

    /// Frames from now on are of this epoch.
    pub fn enter(&mut self, epoch: Epoch) {
        assert!(epoch >= self.epoch, "epochs only rise");
        self.epoch = epoch;
    }

    /// Opens an epoch. At a start and a take-over this process's clock comes into force: `at` jumps to UTC where
    /// that is later, and never back.
    pub fn open_epoch(&mut self, now: Now, epoch: Epoch, new_epoch: NewEpoch, out: &mut Batch) {
        self.enter(epoch);
        if matches!(new_epoch.cause, EpochCause::Solo | EpochCause::Dual) {
            self.advance(now);
        } else {
            self.at = At(self.at.0.max(now.utc_ns));
            self.mono_ns = Some(now.mono_ns);
        }
        self.append(now, Stamp::Body(&new_epoch.into()), 0, 0, out);
    }

    /// Writes frames for what waits, at most about `frames_max` of them.
    pub fn step(&mut self, now: Now, frames_max: usize, out: &mut Batch, refusals: &mut Vec<Refusal>) {
        self.advance(now);
        self.fire_timers(now, out);
        let mut shares = SHARE;
        while out.count < frames_max
            && (0..RANKS).any(|rank| shares[rank] > 0 && !self.queues[rank].is_empty())
        {
            for (rank, share) in shares.into_iter().enumerate() {
                for _ in 0..share {
                    let Some(input) = self.queues[rank].pop_front() else { break };
                    self.place(now, input, rank, out, refusals);
                }
            }
            shares[WORK] = 0;
        }
    }

    /// Writes a command of the node at once: before what waits, and before any timer that is due by now.
    pub fn write_next(&mut self, now: Now, body: &Body, out: &mut Batch) {
        self.advance(now);
        self.append(now, Stamp::Body(body), 0, 0, out);
    }

    /// Moves logical time: the monotonic delta, slewed towards UTC by at most 500 ppm of it.
    fn advance(&mut self, now: Now) {
        let before = self.mono_ns.replace(now.mono_ns);
        // Before the first epoch there is no time yet that could be wrong.
        let Some(before) = before.filter(|_| self.epoch != Epoch(0)) else { return };
        let delta = i64::try_from(now.mono_ns.saturating_sub(before)).unwrap_or(i64::MAX);
        let plain = self.at.0.saturating_add(delta);
        let error = now.utc_ns.saturating_sub(plain);
        if (error - self.told_error_ns).abs() > STEP_NS {
            self.clock_step_ns = error - self.told_error_ns;
            self.told_error_ns = error;
        }
        let most = delta / SLEW_PER;
        self.at = At(plain.saturating_add(error.clamp(-most, most)));
    }

    /// Logs timers that are due. A promise leaves when its expiry is logged, or a later one replaces it.
    fn fire_timers(&mut self, now: Now, out: &mut Batch) {
        let due: Vec<(SourceId, At)> = self
            .promises
            .iter()
            .filter(|(_, until)| **until < self.at)
            .map(|(source, until)| (*source, *until))
            .collect();
        for (source, alive_until) in due {
            self.append(now, Stamp::Body(&SourceExpired { source, alive_until }.into()), 0, 0, out);
        }
        for _ in 0..ARCHIVES_PER_STEP {
            let Some((fixture, since)) = self.retirements.due(self.at) else { break };
            self.append(now, Stamp::Body(&Archive { fixture, since }.into()), 0, 0, out);
        }
    }

    fn place(&mut self, now: Now, input: Input, rank: usize, out: &mut Batch, refusals: &mut Vec<Refusal>) {
        match input {
            Input::Node(body) => self.append(now, Stamp::Body(&body), 0, 0, out),
            // Asked for twice, the second does nothing.
            Input::Internal(body @ Body::Work(_)) => self.append(now, Stamp::Body(&body), 0, 0, out),
            Input::Internal(body) => {
                let hop = body.hop().expect("only messages between partitions are internal");
                let place = self.hop_place(hop.from, body.route(self.partitions));
                if self.hops[place] == hop.number {
                    self.append(now, Stamp::Body(&body), 0, 0, out);
                }
            }
            Input::Client { origin, frame, .. } => {
                let frame = FrameRef::known(&frame).expect("ingress checked it");
                let request = frame.envelope().request;
                let body = frame.body().expect("ingress checked it");
                if rank > 0 && body.kind() != Kind::SubmitTicket {
                    self.left_in_order(origin);
                }
                match self.refuse(&body) {
                    None => self.append(now, Stamp::Frame(&frame, &body), origin, request, out),
                    Some(note) => {
                        refusals.push(Refusal { origin, request, refused: out_of_range(&body, note) });
                    }
                }
            }
        }
    }

    /// Checks against the present time and sequence, before a ticket or a hand price takes a place in the log.
    fn refuse(&self, body: &Body) -> Option<String> {
        let ahead = |field: &str, seq: Seq| {
            (seq > self.last).then(|| format!("{field}: {seq} lies ahead of the log's end {}", self.last))
        };
        let m = match body {
            Body::SubmitTicket(m) => m,
            Body::SetPrices(m) => return ahead("basis", m.basis),
            _ => return None,
        };
        let at_ms = u64::try_from(self.at.0 / 1_000_000).unwrap_or(0);
        if m.ticket.issued_ms() > at_ms + self.future_skew_ms {
            let ahead = m.ticket.issued_ms() - at_ms;
            return Some(format!(
                "ticket: its issue time is {ahead} ms ahead of this node's; check the sender's clock"
            ));
        }
        ahead("price_version", m.price_version)
    }

    fn append(&mut self, now: Now, stamp: Stamp<'_>, origin: u64, request: u64, out: &mut Batch) {
        let body = stamp.body();
        let envelope = Envelope {
            cluster: self.cluster,
            epoch: self.epoch,
            seq: Seq(self.last.0 + 1),
            at: self.at,
            wall: At(now.utc_ns),
            partition: body.route(self.partitions),
            previous: self.chain,
            origin,
            request,
        };
        let start = out.bytes.len();
        match &stamp {
            Stamp::Body(body) => encode(&envelope, body, &mut out.bytes),
            Stamp::Frame(frame, _) => restamp(&envelope, frame, &mut out.bytes),
        }
        let frame = FrameRef::known(&out.bytes[start..]).expect("just written");
        self.follow(&frame, body);
        out.count += 1;
        out.last = self.last;
    }

    fn hop_place(&self, from: PartitionId, to: PartitionId) -> usize {
        let partitions = usize::from(self.partitions);
        let to = if to == PartitionId::ALL { partitions } else { usize::from(to.0) };
        usize::from(from.0) * (partitions + 1) + to
    }
}

/// What a frame is written from.
enum Stamp<'a> {
    Body(&'a Body),
    Frame(&'a FrameRef<'a>, &'a Body),
}

impl Stamp<'_> {
    fn body(&self) -> &Body {
        match self {
            Stamp::Body(body) | Stamp::Frame(_, body) => body,
        }
    }
}

/// What a client's command waits as.
enum Rank {
    /// A bet: its decision rests on what is in force when it comes, whatever its connection sent before.
    Ticket,
    /// Makes the house safer: overtakes everything of other connections.
    Safeguard,
    /// Anything else, in its role's rank.
    Plain(usize),
}

/// Commands of one connection, tickets apart, that wait behind the first rank: all in one queue.
struct InOrder {
    count: usize,
    rank: usize,
}

/// What a client's command waits as.
fn rank_of(role: Role, frame: &[u8]) -> Rank {
    let Ok(frame) = FrameRef::known(frame) else { return Rank::Plain(TICKETS) };
    match Kind::from_number(frame.kind()) {
        Some(Kind::SubmitTicket) => Rank::Ticket,
        Some(Kind::SourceFresh) => Rank::Safeguard,
        Some(Kind::Suspend | Kind::SetBook) => match frame.body() {
            Ok(Body::Suspend(Suspend { on: true, .. }) | Body::SetBook(SetBook { open: false, .. })) => {
                Rank::Safeguard
            }
            _ => Rank::Plain(plain_rank(role)),
        },
        _ => Rank::Plain(plain_rank(role)),
    }
}

/// Rank of whatever is no safeguard.
fn plain_rank(role: Role) -> usize {
    match role {
        Role::Feed => 2,
        Role::Operator => 3,
        Role::Intake | Role::Observer => TICKETS,
    }
}

fn out_of_range(body: &Body, note: String) -> Refused {
    let (brand, ticket) = match body {
        Body::SubmitTicket(m) => (m.brand, m.ticket),
        _ => (BrandId(0), TicketId(0)),
    };
    Refused {
        of: body.kind() as u16,
        code: Code::FieldRange,
        retry_ms: 0,
        brand,
        ticket,
        note: Text::cut(&note),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(origin: u64, role: Role, body: impl Into<Body>) -> Input {
        let mut frame = Vec::new();
        encode(&Envelope::session(0, Epoch(0), 1), &body.into(), &mut frame);
        Input::Client { origin, role, frame }
    }

    fn suspend(on: bool) -> Suspend {
        let (fixture, market) = (FixtureId(1), MarketKey::WHOLE_FIXTURE);
        let (reason, operator, note) = (Reason::Operator, OperatorId(1), Text::default());
        Suspend { fixture, market, reason, on, operator, note }
    }

    fn set_book(open: bool) -> SetBook {
        SetBook { brand: BrandId(1), open, operator: OperatorId(1), note: Text::default() }
    }

    fn fresh() -> SourceFresh {
        SourceFresh { source: SourceId(1), alive_until: At(1 << 40) }
    }

    /// What a step writes, in order.
    fn written(sequencer: &mut Sequencer) -> Vec<Body> {
        let (mut batch, mut refusals) = (Batch::default(), Vec::new());
        sequencer.step(Now { mono_ns: 1, utc_ns: 1 }, usize::MAX, &mut batch, &mut refusals);
        assert!(sequencer.in_order.is_empty(), "nothing waits, so nothing is counted");
        batch.frames().map(|frame| frame.body().unwrap()).collect()
    }

    fn kinds(bodies: &[Body]) -> Vec<Kind> {
        bodies.iter().map(Body::kind).collect()
    }

    #[test]
    fn what_makes_the_house_safer_overtakes_other_connections() {
        let mut sequencer = Sequencer::new(1);
        let (fixture, market) = (FixtureId(1), MarketKey::new(1, 0));
        sequencer.offer(client(4, Role::Intake, Body::sample(Kind::OpenAccount, 0)));
        sequencer.offer(client(1, Role::Operator, OpenMarkets { fixture, markets: List::default() }));
        let (operator, prices) = (OperatorId(1), List::default());
        let by_hand = SetPrices { fixture, market, operator, basis: Seq(0), prices };
        sequencer.offer(client(1, Role::Operator, by_hand));
        sequencer.offer(client(1, Role::Operator, suspend(false)));
        sequencer.offer(client(3, Role::Feed, SetIntensities { fixture, home_nano: 1, away_nano: 1 }));
        sequencer.offer(client(2, Role::Operator, suspend(true)));
        sequencer.offer(client(5, Role::Feed, fresh()));
        let written = written(&mut sequencer);
        assert!(matches!(written[0], Body::Suspend(Suspend { on: true, .. })), "{written:?}");
        let due = [
            Kind::Suspend,
            Kind::SourceFresh,
            Kind::SetIntensities,
            Kind::OpenMarkets,
            Kind::SetPrices,
            Kind::Suspend,
            Kind::OpenAccount,
        ];
        assert_eq!(kinds(&written), due);
    }

    #[test]
    fn work_waits_behind_everything_else_and_a_step_writes_only_some() {
        let mut sequencer = Sequencer::new(1);
        let work = |piece: u64| Input::Internal(Work { to: PartitionId(0), chore: Seq(1), piece }.into());
        (0..10).for_each(|piece| sequencer.offer(work(piece)));
        let ticket = || client(1, Role::Intake, Body::sample(Kind::OpenAccount, 0));
        (0..100).for_each(|_| sequencer.offer(ticket()));
        let (mut batch, mut refusals) = (Batch::default(), Vec::new());
        let now = Now { mono_ns: 1, utc_ns: 1 };
        sequencer.step(now, usize::MAX, &mut batch, &mut refusals);
        let kinds: Vec<u16> = batch.frames().map(|frame| frame.kind()).collect();
        let (client, work) = (Kind::OpenAccount as u16, Kind::Work as u16);
        let tickets = SHARE[TICKETS];
        let due = [vec![client; tickets], vec![work; WORKS_PER_STEP], vec![client; 100 - tickets]].concat();
        assert_eq!(kinds, due);
        // Whoever steps until nothing waits comes to an end.
        let mut steps = 0;
        while sequencer.waiting() > 0 {
            let mut batch = Batch::default();
            sequencer.step(now, 1, &mut batch, &mut refusals);
            assert!(batch.count > 0 && batch.count <= WORKS_PER_STEP);
            steps += 1;
        }
        assert_eq!(steps, 2);
    }

    #[test]
    fn a_suspension_waits_for_the_opening_that_its_connection_sent_before() {
        let open = || client(1, Role::Operator, Body::sample(Kind::OpenFixture, 0));
        let configure = || client(1, Role::Operator, Body::sample(Kind::Configure, 0));
        for (first, guard) in [
            (open(), Body::from(suspend(true))),
            (configure(), set_book(false).into()),
            (configure(), suspend(true).into()),
        ] {
            for origin in [1, 2] {
                let mut sequencer = Sequencer::new(1);
                sequencer.offer(first.clone());
                sequencer.offer(client(origin, Role::Operator, guard.clone()));
                let written = kinds(&written(&mut sequencer));
                let place = written.iter().position(|kind| *kind == guard.kind());
                assert_eq!(place, Some(usize::from(origin == 1)), "connection {origin}: {written:?}");
            }
        }
    }

    #[test]
    fn a_sign_of_life_waits_for_the_incidents_before_it() {
        let mut sequencer = Sequencer::new(1);
        sequencer.offer(client(1, Role::Feed, Body::sample(Kind::Incident, 0)));
        sequencer.offer(client(1, Role::Feed, fresh()));
        assert_eq!(kinds(&written(&mut sequencer)), [Kind::Incident, Kind::SourceFresh]);
        // What it waited for is gone: the next one overtakes others again.
        sequencer.offer(client(2, Role::Feed, Body::sample(Kind::Incident, 0)));
        sequencer.offer(client(1, Role::Feed, fresh()));
        assert_eq!(kinds(&written(&mut sequencer)), [Kind::SourceFresh, Kind::Incident]);
    }

    #[test]
    fn the_last_word_of_a_connection_on_a_suspension_or_book_stays_the_last() {
        for origin in [1, 2] {
            let mut sequencer = Sequencer::new(1);
            sequencer.offer(client(1, Role::Operator, suspend(false)));
            sequencer.offer(client(origin, Role::Operator, suspend(true)));
            let on = |body: &Body| matches!(body, Body::Suspend(Suspend { on: true, .. }));
            let order: Vec<bool> = written(&mut sequencer).iter().map(on).collect();
            assert_eq!(order, if origin == 1 { [false, true] } else { [true, false] }, "connection {origin}");
        }
    }

    #[test]
    fn whatever_a_connection_sends_beside_tickets_stays_in_its_order() {
        // A generator of fixed numbers; any would do.
        let mut state = 7u64;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let mut sequencer = Sequencer::new(1);
        let (mut batch, mut refusals) = (Batch::default(), Vec::new());
        let (mut sent, mut number) = (BTreeMap::<u64, Vec<u64>>::new(), 0);
        for _ in 0..60 {
            // Bursts beyond every share, of connections whose role changes now and then.
            for _ in 0..random(700) {
                let origin = random(4);
                let role = if random(20) == 0 { Role::Feed } else { Role::Operator };
                let body: Body = match random(5) {
                    0 | 1 => suspend(true).into(),
                    2 => suspend(false).into(),
                    3 => fresh().into(),
                    _ => Body::sample(Kind::SetLimit, 0),
                };
                number += 1;
                let mut frame = Vec::new();
                encode(&Envelope::session(0, Epoch(0), number), &body, &mut frame);
                sequencer.offer(Input::Client { origin, role, frame });
                sent.entry(origin).or_default().push(number);
            }
            let now = Now { mono_ns: 1, utc_ns: 1 };
            sequencer.step(now, random(400) as usize, &mut batch, &mut refusals);
        }
        sequencer.step(Now { mono_ns: 1, utc_ns: 1 }, usize::MAX, &mut batch, &mut refusals);
        let mut written = BTreeMap::<u64, Vec<u64>>::new();
        for frame in batch.frames() {
            let envelope = frame.envelope();
            written.entry(envelope.origin).or_default().push(envelope.request);
        }
        assert_eq!(written, sent);
    }

    #[test]
    fn a_node_that_forgets_what_waits_starts_to_count_anew() {
        let mut sequencer = Sequencer::new(1);
        sequencer.offer(client(1, Role::Operator, suspend(false)));
        sequencer.forget_waiting();
        sequencer.offer(client(2, Role::Operator, suspend(false)));
        sequencer.offer(client(1, Role::Operator, suspend(true)));
        let on = |body: &Body| matches!(body, Body::Suspend(Suspend { on: true, .. }));
        assert!(on(&written(&mut sequencer)[0]));
    }

    #[test]
    fn a_log_that_begins_has_no_time_that_could_step() {
        let mut sequencer = Sequencer::new(1);
        let now = |ms: u64| Now { mono_ns: ms * 1_000_000, utc_ns: 1 << 60 };
        let (mut batch, mut refusals) = (Batch::default(), Vec::new());
        sequencer.step(now(1), 1, &mut batch, &mut refusals);
        sequencer.step(now(2), 1, &mut batch, &mut refusals);
        assert_eq!(sequencer.take_clock_step(), None);
        let epoch = NewEpoch { cause: EpochCause::Start, node: 1, boot: 1 };
        sequencer.open_epoch(now(3), Epoch(1), epoch, &mut batch);
        sequencer.step(now(4), 1, &mut batch, &mut refusals);
        assert_eq!(sequencer.take_clock_step(), None);
        sequencer.step(Now { utc_ns: 1 << 61, ..now(5) }, 1, &mut batch, &mut refusals);
        assert!(sequencer.take_clock_step().is_some());
        sequencer.step(Now { utc_ns: 1 << 61, ..now(6) }, 1, &mut batch, &mut refusals);
        assert_eq!(sequencer.take_clock_step(), None, "one step is told once");
    }

    #[test]
    fn what_is_written_next_stands_before_a_timer_that_is_due() {
        let mut sequencer = Sequencer::new(1);
        let now = |ms: u64| Now { mono_ns: ms * 1_000_000, utc_ns: (1 << 60) + (ms * 1_000_000) as i64 };
        let (mut batch, mut refusals) = (Batch::default(), Vec::new());
        let epoch = NewEpoch { cause: EpochCause::Start, node: 1, boot: 1 };
        sequencer.open_epoch(now(0), Epoch(1), epoch, &mut batch);
        sequencer.source_horizon_ms = 10;
        let alive_until = At(now(10).utc_ns);
        sequencer.offer(Input::Node(SourceFresh { source: SourceId(1), alive_until }.into()));
        sequencer.step(now(1), 9, &mut batch, &mut refusals);
        let attest = Attest { covers: sequencer.last(), fingerprints: List::default() };
        sequencer.write_next(now(20), &attest.into(), &mut batch);
        sequencer.step(now(21), 9, &mut batch, &mut refusals);
        let kinds: Vec<u16> = batch.frames().map(|frame| frame.kind()).collect();
        let due = [Kind::NewEpoch, Kind::SourceFresh, Kind::Attest, Kind::SourceExpired];
        assert_eq!(kinds, due.map(|kind| kind as u16));
    }
}
