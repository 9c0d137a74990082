//! A data node's part: which role it has, and how one follows from another.

mod idle;
mod leading;
mod standing;

use crate::clocks::{Clocks, Whose};
use crate::follower::Follower;
use crate::lease::Lease;
use crate::log::{Log, Point, frames};
use crate::message::{Message, Party, Say};
use crate::petition::{Outcome, Petitioner};
use crate::publisher::Publisher;
use crate::register::{Boot, Change, Cluster, NodeId, Register};
use crate::settings::{Mutation, Settings};
use crate::suspicion::Stalls;
use crate::transfer::Transfer;
use touchline_protocol::{EpochCause, Seq};

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Started, and not in sync.
    Idle,
    /// Catches up with a primary that has taken it in.
    Learner,
    /// In sync.
    Standby,
    /// In sync, asks to be promoted, and acknowledges nothing meanwhile.
    Sealed,
    /// Sequences.
    Primary,
    /// Still primary, asks to hand over, and sequences nothing meanwhile.
    Handing,
    /// Out of the set: the process must end and start again.
    Gone,
}

/// Why a node must start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The configuration in force does not have it.
    Demoted,
    /// The primary's frames do not continue its log.
    Broken(Seq),
    /// Its state differs from its peer's, and an independent replay agrees with the peer.
    Odd,
}

/// What the node around must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Write these frames to the journal and apply them.
    Append(Vec<u8>),
    /// Cut the log durably behind this point, rebuild the state, and say [`Replica::truncated`].
    Truncate(Point),
    /// Replace log and state by this state at this point, durably, and say [`Replica::truncated`].
    Install(Point, Vec<u8>),
    /// The state after this frame is committed and agreed: a snapshot of it may be used.
    Keep(Seq),
    /// Open this epoch in the log and sequence from now on.
    Lead(Register, EpochCause),
    /// Go on sequencing in this epoch, opened in the log.
    GoOn(Register, EpochCause),
    /// Sequence nothing until [`Action::Resume`], [`Action::Follow`] or a restart.
    Pause,
    /// Sequence again.
    Resume,
    /// The role was handed over: follow, and forward what clients still send.
    Follow(Register),
    /// Everything up to here is committed: its effects may leave where this node leads.
    Commit(Seq),
    /// Tell clients that every market counts as suspended.
    Hold,
    /// Tell them that prices are live again.
    Release,
    /// States differ after this frame: prices are held, nothing is acknowledged; replay the log independently and say
    /// [`Replica::verdict`].
    Diverged(Seq),
    /// End, and start again with a new boot.
    Restart(Why),
}

/// A taker that asked for no part for so many repetitions does not take any more.
const GIVING_RETRIES: u64 = 4;

/// What the peer last said of its log while it was not in sync.
#[derive(Clone, Debug)]
struct Greeting {
    boot: Boot,
    log: Vec<Point>,
    whole: bool,
    heard_ns: u64,
}

/// What is to happen once the log is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterCut {
    /// Follow the primary.
    Follow,
    /// Fetch the peer's frames.
    Fetch,
}

/// What a node that is not in sync takes from its peer.
#[derive(Debug, Default)]
struct Taking {
    /// The state that is on its way.
    transfer: Option<Transfer>,
    /// The boot that was asked for its log last.
    asked: Option<Boot>,
}

/// The log that a node starts with.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The node.
    pub node: NodeId,
    /// Its boot, drawn afresh.
    pub boot: Boot,
    /// Whether recovery cut frames that it could not tell from acknowledged ones: before this node goes on alone,
    /// an operator has to agree.
    pub needs_word: bool,
    /// Whether its journal is damaged in the middle and only its sound front was read: it may only be taken in.
    pub damaged: bool,
}

/// A data node.
#[derive(Debug)]
pub struct Replica {
    cluster: Cluster,
    me: NodeId,
    boot: Boot,
    settings: Settings,
    role: Role,
    register: Option<Register>,
    petitioner: Petitioner,
    stalls: Stalls,
    lease: Lease,
    /// The own UTC, nanoseconds, and those of the others.
    utc_ns: i64,
    clocks: Clocks,
    follower: Option<Follower>,
    publisher: Option<Publisher>,
    end: Point,
    /// Last frame in its journal.
    durable: Point,
    needs_word: bool,
    damaged: bool,
    /// Whether an operator agreed to the log that it has.
    agreed: bool,
    cutting: Option<(Point, AfterCut)>,
    taking: Taking,
    greeting: Option<Greeting>,
    peer_heard_ns: Option<u64>,
    started_ns: u64,
    reported_ns: Option<u64>,
    said_ns: Option<u64>,
    /// Why the next leadership begins.
    cause: EpochCause,
    /// Not before this is something refused asked again.
    ask_after_ns: u64,
    rejoin_after_ns: u64,
    hold_down_ns: u64,
    /// When a handoff was begun.
    handing_ns: u64,
    /// The follower's fingerprint that the own one is not known for yet.
    unmatched: Option<(Seq, u128)>,
    /// States differ after this frame: nothing is acknowledged until whose state is odd is known, and that node
    /// is out of the set.
    diverged: Option<Seq>,
    /// Whose state is odd, once an independent replay has told.
    odd: Option<NodeId>,
    /// The last frame after which the state was agreed and may be kept.
    kept: Seq,
    /// When a part of the own state was last given, where that is not long ago.
    gave_ns: Option<u64>,
    /// The last progress of the own journal: up to where it held, and when that was seen.
    journal: (Seq, u64),
    out: Vec<(Party, Message)>,
    actions: Vec<Action>,
}

impl Replica {
    /// A node that has just recovered its log.
    pub fn new(cluster: Cluster, start: Start, settings: Settings, log: &dyn Log, now_ns: u64) -> Self {
        let end = log.end();
        Replica {
            cluster,
            me: start.node,
            boot: start.boot,
            settings,
            role: Role::Idle,
            register: None,
            petitioner: Petitioner::default(),
            stalls: Stalls::default(),
            lease: Lease::new(now_ns),
            utc_ns: 0,
            clocks: Clocks::default(),
            follower: None,
            publisher: None,
            end,
            durable: end,
            needs_word: start.needs_word,
            damaged: start.damaged,
            agreed: false,
            cutting: None,
            taking: Taking::default(),
            greeting: None,
            peer_heard_ns: None,
            started_ns: now_ns,
            reported_ns: None,
            said_ns: None,
            cause: EpochCause::Recover,
            ask_after_ns: 0,
            rejoin_after_ns: 0,
            hold_down_ns: settings.hold_down_ns.0,
            handing_ns: 0,
            unmatched: None,
            diverged: None,
            odd: None,
            kept: Seq(0),
            gave_ns: None,
            journal: (Seq(0), now_ns),
            out: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// What it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The newest configuration it knows.
    pub fn register(&self) -> Option<&Register> {
        self.register.as_ref()
    }

    /// Its boot.
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// The end of its log.
    pub fn end(&self) -> Point {
        self.end
    }

    /// Everything up to here is committed, as far as it knows.
    pub fn committed(&self) -> Seq {
        let led = self.publisher.as_ref().map(|publisher| publisher.committed);
        led.or(self.follower.as_ref().map(|follower| follower.committed)).unwrap_or_default()
    }

    /// Whether it leads and may acknowledge without its peer.
    pub fn is_alone(&self) -> bool {
        self.publisher.as_ref().is_some_and(|publisher| !publisher.gated)
    }

    /// The UTC in which an epoch is to be opened: the own, as far as the other clocks bear it out.
    pub fn agreed_utc_ns(&self, now_ns: u64, own_utc_ns: i64) -> i64 {
        match self.settings.mutation {
            Some(Mutation::TrustOwnClock) => own_utc_ns,
            _ => self.clocks.agreed(now_ns, own_utc_ns),
        }
    }

    /// Messages to be sent.
    pub fn take_messages(&mut self) -> Vec<(Party, Message)> {
        std::mem::take(&mut self.out)
    }

    /// What to do.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Takes a message.
    pub fn receive(&mut self, now_ns: u64, message: Message, log: &dyn Log) {
        if message.cluster != self.cluster || self.role == Role::Gone {
            return;
        }
        match message.from {
            Party::Witness => self.receive_witness(now_ns, &message),
            Party::Node(node) if node == self.me.peer() => self.receive_peer(now_ns, message, log),
            Party::Node(NodeId::SITE) => self.serve_site(now_ns, message, log),
            Party::Node(_) => {}
        }
        self.advance();
    }

    fn receive_witness(&mut self, now_ns: u64, message: &Message) {
        let mut outcome = None;
        // An answer to an earlier boot speaks of another clock.
        if matches!(message.say, Say::Status { to, .. } if to != self.boot) {
            return;
        }
        if let Say::Status { echo_ns, .. } = message.say {
            outcome = self.petitioner.hear(
                now_ns,
                message.boot,
                echo_ns,
                message.register.as_ref(),
                self.settings.mutation,
            );
        }
        if !self.petitioner.trusts(message.boot) {
            return;
        }
        self.clocks.heard(now_ns, Whose::Witness, message.utc_ns);
        match message.say {
            Say::Status { echo_ns, .. } => self.lease.acknowledged(echo_ns),
            Say::Verdict { to, nonce, made } if to == self.boot => {
                outcome = self.petitioner.verdict(nonce, made);
            }
            _ => {}
        }
        // First what became of the petition: adopting its result would forget that it was asked for.
        match outcome {
            Some(Outcome::Made(register)) => self.learn(now_ns, register),
            Some(Outcome::Refused(change)) => self.refused(now_ns, change),
            None => {}
        }
        if let Some(register) = message.register {
            self.learn(now_ns, register);
        }
    }

    fn receive_peer(&mut self, now_ns: u64, message: Message, log: &dyn Log) {
        self.peer_heard_ns = Some(now_ns);
        self.clocks.heard(now_ns, Whose::Peer, message.utc_ns);
        if let Some(register) = message.register {
            self.learn(now_ns, register);
        }
        let boot = message.boot;
        match (self.role, message.say) {
            (_, Say::Greeting { log: ends, whole }) => {
                self.greeting = Some(Greeting { boot, log: ends, whole, heard_ns: now_ns });
                self.greeted(now_ns, boot);
            }
            (Role::Idle, Say::Join { to, epoch, asked, common, sent_ns })
                if to == self.boot && asked == self.end =>
            {
                self.join(now_ns, boot, epoch, (common, sent_ns), log);
            }
            (Role::Idle, Say::Fetch { to, log: ends })
                if to == self.boot || self.settings.mutation == Some(Mutation::GiveDamagedLog) =>
            {
                self.fetch(boot, &ends, log);
            }
            (Role::Idle, Say::Fetched { to, asked, common, bytes, .. }) if to == self.boot => {
                self.fetched(asked, common, &bytes, log);
            }
            (Role::Idle, Say::Take { to, epoch, at, length }) if to == self.boot => {
                self.take(now_ns, boot, epoch, (at, length));
            }
            (Role::Idle, Say::Part { to, at, offset, bytes }) if to == self.boot => {
                self.part(now_ns, boot, at, (offset, bytes));
            }
            (Role::Idle | Role::Primary | Role::Handing, Say::Want { to, at, offset }) if to == self.boot => {
                self.give(now_ns, Party::Node(self.me.peer()), boot, (at, offset), log);
            }
            (Role::Learner | Role::Standby | Role::Sealed, say) => self.follow(now_ns, boot, say),
            (Role::Primary | Role::Handing, say) => self.lead_on(now_ns, boot, say, log),
            _ => {}
        }
    }

    /// The disaster recovery site asks: the standby answers, or a primary that has none. Committed frames only.
    fn serve_site(&mut self, now_ns: u64, message: Message, log: &dyn Log) {
        let alone = self.publisher.as_ref().is_some_and(|publisher| !publisher.dual);
        let Some(register) = self.register.filter(|_| alone || self.role == Role::Standby) else { return };
        let (site, boot, committed) = (Party::Node(NodeId::SITE), message.boot, self.committed());
        match message.say {
            Say::Tail { end } if end.seq < log.base().seq => self.send_state(site, boot, log),
            Say::Tail { end } => {
                let mut first = Seq(end.seq.0 + 1);
                for _ in 0..self.settings.catch_up_bytes / self.settings.message_bytes {
                    let mut bytes = Vec::new();
                    log.read(first, self.settings.message_bytes, &mut bytes);
                    let whole = frames(&bytes).take_while(|frame| frame.seq() <= committed);
                    let (count, length) = whole
                        .fold((0, 0), |(count, length), frame| (count + 1, length + frame.bytes().len()));
                    bytes.truncate(length);
                    // Where there is nothing it still hears how far all is committed.
                    let (epoch, to) = (register.epoch, Some(boot));
                    self.send(site, Say::Frames { epoch, to, first, bytes, committed });
                    first.0 += count;
                    if first > committed || count == 0 {
                        return;
                    }
                }
            }
            Say::Want { to, at, offset } if to == self.boot => {
                self.give(now_ns, site, boot, (at, offset), log);
            }
            _ => {}
        }
    }

    /// A newer configuration than the own one is taken at once, whoever tells of it.
    fn learn(&mut self, now_ns: u64, register: Register) {
        if self.register.is_some_and(|known| known.epoch >= register.epoch) || self.role == Role::Gone {
            return;
        }
        let mine = register.has(self.me, self.boot);
        let leads = mine && register.primary == self.me;
        let deaf = self.settings.mutation == Some(Mutation::IgnoreHigherEpoch);
        if deaf && matches!(self.role, Role::Primary | Role::Handing) && !mine {
            return;
        }
        self.register = Some(register);
        self.petitioner.outdated(register.epoch);
        match self.role {
            Role::Primary | Role::Handing if leads => self.go_on(now_ns, register),
            Role::Handing if mine => self.handed_over(now_ns, register),
            Role::Standby | Role::Sealed | Role::Idle if leads => self.lead(now_ns, register),
            Role::Standby | Role::Sealed | Role::Learner if mine => self.stand_by(now_ns, register),
            Role::Idle => {}
            _ if self.settings.mutation == Some(Mutation::StayAfterDemotion) => self.stay(),
            _ => self.restart(Why::Demoted),
        }
    }

    /// The broken rule: a node that left the set greets its peer again with the memory it has.
    fn stay(&mut self) {
        self.role = Role::Idle;
        self.follower = None;
        self.publisher = None;
        self.cutting = None;
        self.actions.push(Action::Pause);
    }

    fn refused(&mut self, now_ns: u64, change: Change) {
        self.ask_after_ns = now_ns + self.settings.retry_ns;
        match change {
            Change::Promote if self.role == Role::Sealed => self.role = Role::Standby,
            Change::Handoff if self.role == Role::Handing => self.resume(),
            Change::Dual(_) => self.end_join(now_ns),
            _ => {}
        }
    }

    /// Time passes; to be called every millisecond or so.
    pub fn tick(&mut self, now_ns: u64, utc_ns: i64, log: &dyn Log) {
        if self.role == Role::Gone {
            return;
        }
        self.utc_ns = utc_ns;
        if self.stalls.tick(now_ns, &self.settings).is_some() {
            self.stalled(now_ns);
        }
        self.gave_ns.take_if(|at| now_ns.saturating_sub(*at) > GIVING_RETRIES * self.settings.retry_ns);
        self.report(now_ns);
        if let Some(say) = self.petitioner.repeat(now_ns, self.settings.retry_ns) {
            self.send(Party::Witness, say);
        }
        match self.role {
            Role::Idle => self.tick_idle(now_ns, log),
            Role::Learner | Role::Standby | Role::Sealed => self.tick_standing(now_ns),
            Role::Primary | Role::Handing => self.tick_leading(now_ns, log),
            Role::Gone => {}
        }
        self.advance();
    }

    /// The own loop stood still: what peers sent meanwhile has yet to be read, so nobody is suspected for it.
    fn stalled(&mut self, now_ns: u64) {
        self.lease.stalled(now_ns, self.settings.lease_ns);
        if let Some(follower) = &mut self.follower {
            follower.heard_ns = now_ns;
        }
        self.journal.1 = now_ns;
        if let Some(publisher) = &mut self.publisher {
            publisher.pardon(now_ns);
        }
    }

    fn report(&mut self, now_ns: u64) {
        let due = self.reported_ns.is_none_or(|at| now_ns.saturating_sub(at) >= self.settings.heartbeat_ns);
        if due {
            self.reported_ns = Some(now_ns);
            let say = Say::Report {
                sent_ns: now_ns,
                incarnation: self.petitioner.incarnation(),
                leads: self.publisher.is_some(),
                durable: self.publisher.as_ref().map_or(Seq(0), |publisher| publisher.committed),
                end: self.end,
            };
            self.send(Party::Witness, say);
        }
    }

    /// The sequencer wrote frames; the log has them.
    pub fn appended(&mut self, now_ns: u64, first: Seq, log: &dyn Log) {
        self.end = log.end();
        let Some(publisher) = &mut self.publisher else { return };
        publisher.appended(now_ns, first, self.end);
        self.publish(first, log);
        self.advance();
    }

    /// The journal holds everything up to here.
    pub fn durable(&mut self, seq: Seq, log: &dyn Log) {
        if let Some(point) = log.point(seq).filter(|point| point.seq > self.durable.seq) {
            self.durable = point;
        }
        if let Some(follower) = &mut self.follower {
            follower.durable(seq);
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.durable = publisher.durable.max(seq);
        }
        self.advance();
    }

    /// A fingerprint of the own state after a frame.
    pub fn fingerprint(&mut self, seq: Seq, value: u128) {
        if let Some(follower) = &mut self.follower {
            follower.fingerprint(seq, value);
        }
        if let Some(publisher) = &mut self.publisher {
            publisher.fingerprint(seq, value);
        }
        if let Some((seq, value)) = self.unmatched.take() {
            self.compare(seq, value);
        }
    }

    /// The own fingerprint after a frame, where it leads and still remembers it.
    pub fn own_fingerprint(&self, seq: Seq) -> Option<u128> {
        self.publisher.as_ref().and_then(|publisher| publisher.own(seq))
    }

    /// The operator agrees that this node goes on although its log was cut or is damaged.
    pub fn give_word(&mut self) {
        self.needs_word = false;
        self.damaged = false;
        self.agreed = true;
    }

    /// An operator's last resort, with the other node stopped: this node goes on with the log that it has, although frames
    /// from `from` up to `to`, the last one known to have existed, may be lost with the other's. Whether it was asked for;
    /// the witness refuses it while it hears another primary, or once the configuration moved on.
    pub fn force(&mut self, now_ns: u64, from: Seq, to: Seq) -> bool {
        if self.role != Role::Idle || self.cutting.is_some() || self.durable != self.end {
            return false;
        }
        let asked = self.ask(now_ns, Change::Force { from, to });
        if asked {
            self.give_word();
            self.cause = EpochCause::Force;
        }
        asked
    }

    /// Whether it waits for that.
    pub fn needs_word(&self) -> bool {
        self.role == Role::Idle && (self.needs_word || self.damaged)
    }

    /// Whether nothing but [`Replica::force`] brings this cluster back: it is to go on alone, and its log lacks what the
    /// register says that it held. No word changes that, nor does waiting; whoever has the longer log is to be forced.
    pub fn is_stranded(&self, log: &dyn Log) -> bool {
        let alone = self.register.filter(|register| !register.is_dual() && register.primary == self.me);
        self.role == Role::Idle && alone.is_some_and(|register| !self.reaches(&register, log))
    }

    /// The connections to the peer were reset: its process was killed.
    pub fn link_reset(&mut self) {
        if let Some(follower) = self.follower.as_mut().filter(|_| self.role == Role::Standby) {
            follower.heard_ns = 0;
        }
    }

    /// Moves the watermark where it may.
    fn advance(&mut self) {
        if self.diverged.is_some() || self.role == Role::Gone {
            return;
        }
        let Some(publisher) = &mut self.publisher else { return };
        if let Some(seq) = publisher.commit(&self.settings) {
            self.actions.push(Action::Commit(seq));
        }
        // Alone nobody else has a state to compare; with a peer both must have the same.
        let agreed = if publisher.peer.is_none() { Some(publisher.committed) } else { publisher.agreed() };
        if let Some(seq) = agreed {
            self.keep(seq);
        }
    }

    /// A snapshot of the state after this frame may be used; where there is no peer, of any up to it.
    ///
    /// A state that is being taken stays the newest until it was taken: one that takes longer than snapshots are apart
    /// would never arrive.
    fn keep(&mut self, seq: Seq) {
        if seq > self.kept && self.gave_ns.is_none() {
            self.kept = seq;
            self.actions.push(Action::Keep(seq));
        }
    }

    fn restart(&mut self, why: Why) {
        self.role = Role::Gone;
        self.actions.push(Action::Restart(why));
    }

    fn send(&mut self, to: Party, say: Say) {
        let from = Party::Node(self.me);
        let (cluster, boot, register, utc_ns) = (self.cluster, self.boot, self.register, self.utc_ns);
        self.out.push((to, Message { cluster, from, boot, register, utc_ns, say }));
    }

    fn send_peer(&mut self, say: Say) {
        self.send(Party::Node(self.me.peer()), say);
    }

    /// Asks the witness, where nothing is asked for and nothing was refused just now.
    fn ask(&mut self, now_ns: u64, change: Change) -> bool {
        self.ask_from(now_ns, self.durable, change)
    }

    /// As [`Replica::ask`], of an epoch that is to start at a point in the journal of everyone who is in sync then.
    fn ask_from(&mut self, now_ns: u64, start: Point, change: Change) -> bool {
        let Some(register) = self.register else { return false };
        if now_ns < self.ask_after_ns {
            return false;
        }
        let Some(say) = self.petitioner.ask(now_ns, register.epoch, start, change) else {
            return false;
        };
        self.send(Party::Witness, say);
        true
    }
}
