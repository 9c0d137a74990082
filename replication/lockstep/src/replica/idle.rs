//! A node that is not in sync: it greets its peer, waits to be taken in, or goes on alone where that is safe.

use super::{Action, AfterCut, Greeting, Replica, Role};
use crate::follower::Follower;
use crate::log::{self, Log, Point, frames};
use crate::message::{Party, Say};
use crate::publisher::Publisher;
use crate::register::{Boot, Change, Register};
use crate::settings::{Durability, Mutation};
use crate::transfer::Transfer;
use touchline_protocol::{Epoch, EpochCause, Seq};

/// Epochs told in a greeting: logs that part before that are cut back further than need be.
const EPOCHS_TOLD: usize = 32;

impl Replica {
    pub(super) fn tick_idle(&mut self, now_ns: u64, log: &dyn Log) {
        self.doubt(log);
        self.greet(now_ns, log);
        self.ask_for_part(now_ns);
        let Some(register) = self.register.filter(|_| self.cutting.is_none() && !self.damaged) else {
            return;
        };
        if self.settings.mutation == Some(Mutation::IgnoreBoot) && self.resume_in_sync(now_ns, &register) {
            return;
        }
        if register.site.is_some() {
            return;
        }
        if !register.is_dual() && register.primary == self.me {
            if !self.needs_word && self.holds(&register, log) {
                self.cause = EpochCause::Recover;
                self.ask(now_ns, Change::Recover);
            }
            return;
        }
        if !register.is_dual() {
            return;
        }
        let lately = 3 * self.settings.retry_ns;
        let greeting = self.greeting.clone().filter(|g| now_ns.saturating_sub(g.heard_ns) < lately);
        match greeting {
            Some(greeting) if !register.has(self.me.peer(), greeting.boot) && greeting.whole => {
                self.cold(now_ns, &greeting, log);
            }
            // A peer whose journal is damaged cannot say what it held: it is as good as not there.
            Some(greeting) if !greeting.whole => self.lone(now_ns, true, &register, log),
            _ => self.lone(now_ns, false, &register, log),
        }
    }

    /// By the register this node was in sync when the epoch began, so that its journal held the epoch's start. Where it
    /// does not, this is another disk or an older image of it, or a bit rotted at its end, and what it lacks may have been
    /// acknowledged.
    fn doubt(&mut self, log: &dyn Log) {
        let counts = |register: &Register| register.is_dual() || register.primary == self.me;
        let Some(register) = self.register.filter(counts) else { return };
        let rule = if register.is_dual() { Mutation::TrustAnyDisk } else { Mutation::RecoverUnchecked };
        if !log.holds(register.start) && !self.agreed && self.settings.mutation != Some(rule) {
            self.damaged = true;
        }
    }

    /// Tells the peer what the log holds; what is not yet in the journal does not count.
    fn greet(&mut self, now_ns: u64, log: &dyn Log) {
        let due = self.said_ns.is_none_or(|at| now_ns.saturating_sub(at) >= self.settings.retry_ns);
        if !due || self.durable != self.end {
            return;
        }
        self.said_ns = Some(now_ns);
        let mut ends = log.epochs();
        ends.drain(..ends.len().saturating_sub(EPOCHS_TOLD));
        self.send_peer(Say::Greeting { log: ends, whole: !self.damaged });
    }

    /// Whether the log holds what the configuration's primary acknowledged: the frame of the epoch's start
    /// itself, and everything reported durable.
    fn holds(&self, register: &Register, log: &dyn Log) -> bool {
        let whole = self.reaches(register, log) && self.durable == self.end;
        whole || self.settings.mutation == Some(Mutation::RecoverUnchecked)
    }

    /// The same, journal or not.
    pub(super) fn reaches(&self, register: &Register, log: &dyn Log) -> bool {
        log.holds(register.start) && self.end.seq >= register.durable
    }

    /// Both were in sync, and both started again: the longer log is the cluster's, and both hold it before its
    /// node leads.
    fn cold(&mut self, now_ns: u64, greeting: &Greeting, log: &dyn Log) {
        let theirs = greeting.log.last().copied().unwrap_or_default();
        let shorter_wins = self.settings.mutation == Some(Mutation::ColdShorterWins);
        if theirs == self.end {
            let durable =
                self.durable == self.end || self.settings.mutation == Some(Mutation::ColdFromMemory);
            if self.me < self.me.peer() && durable {
                self.cause = EpochCause::Cold;
                self.ask(now_ns, Change::Cold(greeting.boot));
            }
        } else if theirs.is_beyond(&self.end) != shorter_wins {
            self.ask_for_log(now_ns, greeting.boot, log);
        }
    }

    fn ask_for_log(&mut self, now_ns: u64, to: Boot, log: &dyn Log) {
        if now_ns >= self.ask_after_ns {
            self.ask_after_ns = now_ns + self.settings.retry_ns;
            self.taking.asked = Some(to);
            self.send_peer(Say::Fetch { to, log: log.epochs() });
        }
    }

    /// The peer's log is behind: it gets what it lacks. A damaged log gives nothing: it says nothing of what is missing
    /// behind its sound front, and the peer would cut its own log there.
    pub(super) fn fetch(&mut self, boot: Boot, ends: &[Point], log: &dyn Log) {
        if self.damaged && self.settings.mutation != Some(Mutation::GiveDamagedLog) {
            return;
        }
        let common = log::common(log, ends);
        if common.seq < log.base().seq {
            return self.send_state(Party::Node(self.me.peer()), boot, log);
        }
        let mut bytes = Vec::new();
        log.read(Seq(common.seq.0 + 1), self.settings.message_bytes, &mut bytes);
        let (asked, end) = (ends.last().copied().unwrap_or_default(), self.end);
        self.send_peer(Say::Fetched { to: boot, asked, common, bytes, end });
    }

    /// What the peer has beyond the common point; what this log has there was never acknowledged.
    pub(super) fn fetched(&mut self, asked: Point, common: Point, bytes: &[u8], log: &dyn Log) {
        let late = asked != self.end && self.settings.mutation != Some(Mutation::TakeOldAnswers);
        if self.cutting.is_some() || late {
            return;
        }
        if self.end != common {
            if common.seq < self.end.seq {
                self.cut(common, AfterCut::Fetch, log);
            }
            return;
        }
        let mut taken = Vec::new();
        for frame in frames(bytes) {
            let envelope = frame.envelope();
            if envelope.seq.0 != self.end.seq.0 + 1 || envelope.previous != self.end.chain {
                break;
            }
            self.end = Point::of(&frame);
            taken.extend_from_slice(frame.bytes());
        }
        if !taken.is_empty() {
            self.ask_after_ns = 0;
            self.actions.push(Action::Append(taken));
        }
    }

    /// The peer was in sync and is not heard, or its journal is damaged: under `durable` this log holds everything that was acknowledged.
    fn lone(&mut self, now_ns: u64, damaged: bool, register: &Register, log: &dyn Log) {
        let since = self.peer_heard_ns.unwrap_or(self.started_ns).max(self.started_ns);
        let silent = damaged || now_ns.saturating_sub(since) >= self.settings.lone_ns;
        let durable = self.settings.durability == Durability::Durable;
        if silent && durable && !self.needs_word && self.holds(register, log) {
            self.cause = EpochCause::Promote;
            self.ask(now_ns, Change::Promote);
        }
    }

    /// The primary takes this node in.
    pub(super) fn join(
        &mut self,
        now_ns: u64,
        boot: Boot,
        epoch: Epoch,
        (common, sent_ns): (Point, u64),
        log: &dyn Log,
    ) {
        let leads = self.register.is_some_and(|r| r.epoch == epoch && r.is_led_by(self.me.peer(), boot));
        if !leads || self.cutting.is_some() {
            return;
        }
        if common == self.end {
            self.role = Role::Learner;
            // What this log lacked it will have before it is in sync.
            (self.damaged, self.needs_word) = (false, false);
            let mut follower = Follower::new(now_ns, epoch, self.end);
            follower.durable = self.durable.seq;
            follower.joined_ns = sent_ns;
            self.follower = Some(follower);
        } else if common.seq < self.end.seq && log.holds(common) {
            self.cut(common, AfterCut::Follow, log);
        }
    }

    /// The peer's log begins behind the end of this one. Its state is taken from whom the register names as the primary, or,
    /// where both started again, from whom this node asked for its log.
    pub(super) fn take(&mut self, now_ns: u64, boot: Boot, epoch: Epoch, (at, length): (Point, u64)) {
        let leads = self.register.is_some_and(|r| r.epoch == epoch && r.is_led_by(self.me.peer(), boot));
        let asked = self.taking.asked == Some(boot);
        let runs =
            self.taking.transfer.as_ref().is_some_and(|transfer| transfer.at == at && transfer.from == boot);
        let fits = length > 0 && length <= self.settings.state_bytes_max && at.is_beyond(&self.end);
        if (leads || asked) && fits && !runs && self.cutting.is_none() {
            let window = self.settings.catch_up_bytes;
            self.taking.transfer = Some(Transfer::new(boot, at, length as usize, window));
            self.ask_for_part(now_ns);
        }
    }

    fn ask_for_part(&mut self, now_ns: u64) {
        let Some(transfer) = &mut self.taking.transfer else { return };
        if let Some(offset) = transfer.ask(now_ns, self.settings.retry_ns) {
            let (to, at) = (transfer.from, transfer.at);
            self.send_peer(Say::Want { to, at, offset });
        }
    }

    /// A part of the state; once it is whole it takes the place of log and state, unless a petition speaks of that log.
    pub(super) fn part(&mut self, now_ns: u64, boot: Boot, at: Point, (offset, bytes): (u64, Vec<u8>)) {
        let Some(transfer) = self.taking.transfer.as_mut().filter(|t| t.from == boot && t.at == at) else {
            return;
        };
        match transfer.part(now_ns, offset, bytes) {
            None => self.ask_for_part(now_ns),
            Some(state) => {
                self.taking = super::Taking::default();
                if self.petitioner.outstanding().is_none() && self.cutting.is_none() {
                    self.cutting = Some((at, AfterCut::Follow));
                    self.actions.push(Action::Install(at, state));
                }
            }
        }
    }

    /// Tells the peer to take the own state, as often as it greets.
    pub(super) fn offer_state(&mut self, now_ns: u64, to: Boot, log: &dyn Log) {
        let due = self.said_ns.is_none_or(|at| now_ns.saturating_sub(at) >= self.settings.retry_ns);
        if due {
            self.said_ns = Some(now_ns);
            self.send_state(Party::Node(self.me.peer()), to, log);
        }
    }

    pub(super) fn send_state(&mut self, party: Party, to: Boot, log: &dyn Log) {
        let (Some((at, bytes)), Some(register)) = (log.state(), self.register) else { return };
        self.send(party, Say::Take { to, epoch: register.epoch, at, length: bytes.len() as u64 });
    }

    /// What is asked for of the own state, in parts, unless it moved on meanwhile: then its newer one is told of.
    pub(super) fn give(
        &mut self,
        now_ns: u64,
        party: Party,
        to: Boot,
        (at, offset): (Point, u64),
        log: &dyn Log,
    ) {
        let Some((newest, bytes)) = log.state() else { return };
        if self.damaged {
            return;
        }
        if newest != at {
            return self.send_state(party, to, log);
        }
        self.gave_ns = Some(now_ns);
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let window = &rest[..rest.len().min(self.settings.catch_up_bytes)];
        let mut offset = offset;
        for part in window.chunks(self.settings.message_bytes) {
            self.send(party, Say::Part { to, at, offset, bytes: part.to_vec() });
            offset += part.len() as u64;
        }
    }

    /// A log that a petition speaks of stays as it is until that is answered: it may be the cluster's by then.
    fn cut(&mut self, to: Point, then: AfterCut, log: &dyn Log) {
        // Of what lies before the base there are no frames here: then everything comes anew.
        let to = if to.seq < log.base().seq { Point::default() } else { to };
        let asked = self.petitioner.outstanding().is_some();
        if asked && self.settings.mutation != Some(Mutation::TakeOldAnswers) {
            return;
        }
        self.cutting = Some((to, then));
        self.actions.push(Action::Truncate(to));
    }

    /// The log is cut durably and the state rebuilt.
    pub fn truncated(&mut self, log: &dyn Log) {
        let Some((to, then)) = self.cutting.take() else { return };
        self.end = log.end();
        self.durable = self.end;
        assert_eq!(self.end, to, "the log is cut where it was to be cut");
        // A join is offered again, a fetch asked for again, from where the log now ends.
        if then == AfterCut::Fetch {
            self.ask_after_ns = 0;
        }
        self.said_ns = None;
    }

    /// This node leads: it took over, came back, or was handed the role.
    pub(super) fn lead(&mut self, now_ns: u64, register: Register) {
        let committed = self.committed();
        let mut publisher = Publisher::new(register.epoch, self.end, self.durable.seq, committed);
        let cause = match (register.in_sync[self.me.peer().place()], self.role) {
            (Some(boot), _) => {
                publisher.begin(now_ns, boot, committed);
                publisher.dual = true;
                publisher.gated = true;
                EpochCause::Handoff
            }
            (None, Role::Idle) if self.end.seq == Seq(0) => EpochCause::Start,
            (None, Role::Idle) => self.cause,
            (None, _) => EpochCause::Promote,
        };
        self.role = Role::Primary;
        self.follower = None;
        self.publisher = Some(publisher);
        self.lease = crate::lease::Lease::new(now_ns);
        self.rejoin_after_ns = now_ns;
        self.journal = (self.durable.seq, now_ns);
        self.actions.push(Action::Lead(register, cause));
    }

    /// The broken rule: a rebooted standby takes itself for the one that is in sync.
    fn resume_in_sync(&mut self, now_ns: u64, register: &Register) -> bool {
        let Some(boot) = register.in_sync[self.me.place()].filter(|_| register.is_dual()) else {
            return false;
        };
        if register.primary == self.me {
            return false;
        }
        self.boot = boot;
        self.stand_by(now_ns, *register);
        true
    }
}
