//! A node that leads: it publishes, counts acknowledgements, takes its peer in, goes on alone, hands over.

use super::{Action, Replica, Role, Why};
use crate::clocks::Whose;
use crate::lease::Turn;
use crate::log::{self, Log, Point};
use crate::message::Say;
use crate::register::{Boot, Change, Register};
use crate::settings::Mutation;
use touchline_protocol::{EpochCause, Seq};

impl Replica {
    /// What the follower says.
    pub(super) fn lead_on(&mut self, now_ns: u64, boot: Boot, say: Say, log: &dyn Log) {
        let Some(publisher) = &mut self.publisher else { return };
        if publisher.peer.is_none_or(|peer| peer.boot != boot) {
            return;
        }
        match say {
            Say::Ack { epoch, received, durable, echo_ns, fingerprint } if epoch == publisher.epoch => {
                // A chain hash that is not this log's is an acknowledgement of something else.
                if received.seq != Seq(0) && log.point(received.seq) != Some(received) {
                    return;
                }
                publisher.acknowledged(now_ns, received.seq, durable, &self.settings);
                self.lease.acknowledged(echo_ns);
                if let Some((seq, value)) = fingerprint {
                    self.compare(seq, value);
                }
            }
            Say::Missing { epoch, from } if epoch == publisher.epoch => {
                // What lies before the base is here no more: whoever lacks it starts again and takes the state.
                if from <= log.base().seq {
                    return;
                }
                let mut next = from;
                for _ in 0..self.settings.catch_up_bytes / self.settings.message_bytes {
                    let publisher = self.publisher.as_ref().expect("still there");
                    let Some(say) = publisher.frames(next, log, &self.settings) else { break };
                    if let Say::Frames { bytes, .. } = &say {
                        next.0 += log::frames(bytes).count() as u64;
                    }
                    self.send_peer(say);
                }
            }
            _ => {}
        }
    }

    /// The peer greets: it is not in sync, whatever the register still says.
    pub(super) fn greeted(&mut self, now_ns: u64, boot: Boot) {
        let ends = self.greeting.as_ref().map(|greeting| greeting.log.last().copied().unwrap_or_default());
        let Some(publisher) = &mut self.publisher else { return };
        match &mut publisher.peer {
            // It has not heard that it was taken in, and its log ends elsewhere by now: the join begins anew.
            Some(peer)
                if peer.boot == boot
                    && !publisher.dual
                    && !peer.answered
                    && ends.is_some_and(|end| end.seq != peer.received) =>
            {
                publisher.drop_peer();
            }
            Some(peer) if peer.boot == boot && !publisher.dual => peer.heard_ns = now_ns,
            // The one in sync was started again, unless this greeting is an old one.
            Some(peer)
                if peer.boot != boot
                    && publisher.dual
                    && now_ns.saturating_sub(peer.heard_ns) > 2 * self.settings.heartbeat_ns =>
            {
                self.go_solo(now_ns);
            }
            _ => {}
        }
    }

    /// New frames go out at once.
    pub(super) fn publish(&mut self, first: Seq, log: &dyn Log) {
        let mut next = first;
        while let Some(publisher) = self.publisher.as_ref().filter(|p| next <= p.end.seq) {
            let Some(say) = publisher.frames(next, log, &self.settings) else { return };
            if let Say::Frames { bytes, .. } = &say {
                next.0 += log::frames(bytes).count() as u64;
            }
            self.send_peer(say);
        }
    }

    pub(super) fn tick_leading(&mut self, now_ns: u64, log: &dyn Log) {
        let settings = self.settings;
        let Some(publisher) = &mut self.publisher else { return };
        let beat = publisher.heartbeat(now_ns, &settings);
        let (dual, gated) = (publisher.dual, publisher.gated);
        if let Some(say) = beat {
            self.send_peer(say);
        }
        // Once the peer's acknowledgements are required, the register may say DUAL before this node hears of it, and the
        // peer may be promoted.
        let needed = gated && settings.mutation != Some(Mutation::IgnoreLease);
        match self.lease.tick(now_ns, settings.lease_ns, needed) {
            Some(Turn::Held) => self.actions.push(Action::Hold),
            Some(Turn::Released) => self.release(),
            None => {}
        }
        self.watch_journal(now_ns);
        match (self.role, dual) {
            (Role::Handing, _) => self.hand_over(now_ns, log),
            (_, true) if self.odd == Some(self.me.peer()) => self.go_solo(now_ns),
            (_, true) => self.watch_standby(now_ns),
            (_, false) => self.take_in(now_ns, log),
        }
    }

    /// The own journal stands still while the standby's may not: the role is handed over.
    fn watch_journal(&mut self, now_ns: u64) {
        let Some(publisher) = &self.publisher else { return };
        if publisher.durable > self.journal.0 || publisher.durable >= publisher.end.seq {
            self.journal = (publisher.durable, now_ns);
        }
        if now_ns.saturating_sub(self.journal.1) > self.settings.journal_stall_ns && self.switchover(now_ns) {
            self.journal.1 = now_ns;
        }
    }

    /// A frame waits too long for the standby, or the standby is silent.
    fn watch_standby(&mut self, now_ns: u64) {
        let Some(publisher) = &self.publisher else { return };
        let silent = publisher.peer.map_or(0, |peer| now_ns.saturating_sub(peer.heard_ns));
        let limit = self.stalls.progress_ns(&self.settings);
        if publisher.waits_ns(now_ns) > limit || silent > limit {
            self.go_solo(now_ns);
        }
    }

    /// The set narrows first, then what is required. What was acknowledged from memory is written out before.
    fn go_solo(&mut self, now_ns: u64) {
        let Some(publisher) = &mut self.publisher else { return };
        publisher.flushing = true;
        let flushed = publisher.is_flushed() || self.settings.mutation == Some(Mutation::SkipFlush);
        if self.role != Role::Primary || !flushed {
            return;
        }
        if self.settings.mutation == Some(Mutation::AcknowledgeBeforeSolo) {
            publisher.gated = false;
        }
        self.ask(now_ns, Change::Solo);
    }

    /// Alone: a peer that greets is taken in, step by step.
    fn take_in(&mut self, now_ns: u64, log: &dyn Log) {
        let settings = self.settings;
        let Some(publisher) = &mut self.publisher else { return };
        let Some(peer) = publisher.peer else { return self.begin_join(now_ns, log) };
        let asked = self.petitioner.outstanding() == Some(Change::Dual(peer.boot));
        let silent = now_ns.saturating_sub(peer.heard_ns) > settings.progress_range_ns.1;
        let hasty = settings.mutation == Some(Mutation::AbortDuringDual);
        if silent && (!asked || hasty) {
            if asked {
                self.petitioner.forget();
            }
            return self.end_join(now_ns);
        }
        self.offer_join_again(now_ns, log);
        let Some(publisher) = &mut self.publisher else { return };
        let answered = peer.answered || settings.mutation == Some(Mutation::TakeInUnanswered);
        let lag = publisher.end.seq.0 - peer.received.0.min(publisher.end.seq.0);
        let late = settings.mutation == Some(Mutation::GateAfterDual);
        if answered && lag <= settings.join_lag_max && !publisher.gated && !late {
            publisher.gated = true;
        }
        let short = settings.mutation == Some(Mutation::TakeInShort);
        let owed = if short { publisher.committed } else { publisher.answered() };
        let ready = publisher.gated && publisher.follower_has(&settings) >= owed;
        // Where it starts no other disk has it: one that is empty holds the start of every log.
        let begun = publisher.opening();
        if answered && (ready || (late && lag <= settings.join_lag_max)) && !asked {
            let start = self.held_by_both(log);
            if short || begun.is_some_and(|begun| start.seq >= begun) {
                self.ask_from(now_ns, start, Change::Dual(peer.boot));
            }
        }
    }

    /// The last frame that is in the journals of both.
    fn held_by_both(&self, log: &dyn Log) -> Point {
        let theirs = self.publisher.as_ref().and_then(|publisher| publisher.peer).map(|peer| peer.durable);
        let both = theirs.map_or(self.durable.seq, |theirs| theirs.min(self.durable.seq));
        log.point(both).unwrap_or_default()
    }

    fn begin_join(&mut self, now_ns: u64, log: &dyn Log) {
        let lately = 3 * self.settings.retry_ns;
        let Some(greeting) = self.greeting.clone() else { return };
        let fresh = now_ns.saturating_sub(greeting.heard_ns) < lately;
        if !fresh || now_ns < self.rejoin_after_ns || self.clocks_differ(now_ns) {
            return;
        }
        let common = log::common(log, &greeting.log);
        if common.seq < log.base().seq {
            return self.offer_state(now_ns, greeting.boot, log);
        }
        let asked = greeting.log.last().copied().unwrap_or_default();
        let ends_there = asked == common;
        let Some(publisher) = &mut self.publisher else { return };
        let epoch = publisher.epoch;
        // A log that has to be cut first is offered the join again once it greets with what is left.
        if ends_there {
            publisher.begin(now_ns, greeting.boot, common.seq);
        }
        let due = self.said_ns.is_none_or(|at| now_ns.saturating_sub(at) >= self.settings.retry_ns);
        if ends_there || due {
            self.said_ns = Some(now_ns);
            self.send_peer(Say::Join { to: greeting.boot, epoch, asked, common, sent_ns: now_ns });
        }
    }

    /// The peer still greets: it has not heard that it was taken in.
    fn offer_join_again(&mut self, now_ns: u64, log: &dyn Log) {
        let Some((publisher, peer)) = self.publisher.as_ref().and_then(|p| Some((p, p.peer?))) else {
            return;
        };
        let greets = self.greeting.as_ref().is_some_and(|greeting| {
            greeting.boot == peer.boot && greeting.heard_ns + self.settings.retry_ns > now_ns
        });
        let due = self.said_ns.is_none_or(|at| now_ns.saturating_sub(at) >= self.settings.retry_ns);
        let (epoch, common) = (publisher.epoch, log.point(peer.received));
        if let (true, true, Some(common)) = (greets, due, common) {
            self.said_ns = Some(now_ns);
            self.send_peer(Say::Join { to: peer.boot, epoch, asked: common, common, sent_ns: now_ns });
        }
    }

    fn clocks_differ(&self, now_ns: u64) -> bool {
        let theirs = self.clocks.of(now_ns, Whose::Peer);
        theirs.is_none_or(|theirs| self.utc_ns.abs_diff(theirs) > self.settings.clock_offset_max_ns)
    }

    /// The join is given up; only with no change outstanding, since the register may say DUAL by now.
    pub(super) fn end_join(&mut self, now_ns: u64) {
        let Some(publisher) = self.publisher.as_mut().filter(|publisher| !publisher.dual) else { return };
        publisher.drop_peer();
        self.greeting = None;
        self.hold_down(now_ns);
    }

    fn hold_down(&mut self, now_ns: u64) {
        self.rejoin_after_ns = now_ns + self.hold_down_ns;
        self.hold_down_ns = (2 * self.hold_down_ns).min(self.settings.hold_down_ns.1);
    }

    /// Still primary, in the next configuration: alone, or with its peer.
    pub(super) fn go_on(&mut self, now_ns: u64, register: Register) {
        // The role stays where it is not to stay: the petition that would have handed it over is void.
        if self.odd == Some(self.me) {
            return self.restart(Why::Odd);
        }
        let Some(publisher) = &mut self.publisher else { return };
        publisher.enter(register.epoch);
        let resumes = self.role == Role::Handing;
        self.role = Role::Primary;
        let cause = match register.in_sync[self.me.peer().place()] {
            Some(boot) => {
                if publisher.peer.is_none_or(|peer| peer.boot != boot) {
                    publisher.begin(now_ns, boot, Seq(0));
                }
                publisher.dual = true;
                publisher.gated = true;
                EpochCause::Dual
            }
            None => {
                publisher.drop_peer();
                self.greeting = None;
                self.hold_down(now_ns);
                EpochCause::Solo
            }
        };
        self.unmatched = None;
        if cause == EpochCause::Solo && self.diverged.take().is_some() {
            // Who was odd is out of the set; where that was not known yet, it no longer matters.
            self.odd = None;
            self.release();
        }
        if resumes {
            self.actions.push(Action::Resume);
        }
        self.actions.push(Action::GoOn(register, cause));
    }

    /// A planned change of roles, or one because the own journal stalls: nothing is sequenced until it is decided.
    pub fn switchover(&mut self, now_ns: u64) -> bool {
        let dual = self.publisher.as_ref().is_some_and(|publisher| publisher.dual);
        if self.role != Role::Primary || !dual || self.petitioner.outstanding().is_some() {
            return false;
        }
        self.role = Role::Handing;
        self.handing_ns = now_ns;
        self.actions.push(Action::Pause);
        true
    }

    fn hand_over(&mut self, now_ns: u64, log: &dyn Log) {
        let Some(publisher) = &self.publisher else { return };
        if self.petitioner.outstanding().is_some() {
            return;
        }
        if publisher.follower_has(&self.settings) >= publisher.end.seq {
            let start = self.held_by_both(log);
            self.ask_from(now_ns, start, Change::Handoff);
        } else if now_ns.saturating_sub(self.handing_ns) > self.settings.progress_range_ns.1 {
            self.resume();
        }
    }

    /// The role stays here. A node whose state is odd ends instead: its peer, or its own journal, has the right one.
    pub(super) fn resume(&mut self) {
        if self.odd == Some(self.me) {
            return self.restart(Why::Odd);
        }
        self.role = Role::Primary;
        self.actions.push(Action::Resume);
    }

    /// The follower's fingerprint against the own one.
    pub(super) fn compare(&mut self, seq: Seq, value: u128) {
        let Some(publisher) = &mut self.publisher else { return };
        match publisher.agrees(seq, value) {
            Some(false) if self.settings.mutation != Some(Mutation::IgnoreFingerprint) => {
                if self.diverged.is_none() {
                    self.diverged = Some(seq);
                    self.actions.extend([Action::Hold, Action::Diverged(seq)]);
                }
            }
            Some(_) => {}
            None => self.unmatched = Some((seq, value)),
        }
    }

    /// Prices are live again, unless they are held for another reason.
    fn release(&mut self) {
        if !self.lease.is_held() && self.diverged.is_none() {
            self.actions.push(Action::Release);
        }
    }

    /// Something in the own state changed that no frame changed: whatever the peer's is, this one is odd. Fingerprints show it
    /// only once a frame touches what changed, so nobody waits for that.
    pub fn spoilt(&mut self, now_ns: u64) {
        if self.role == Role::Gone || self.odd == Some(self.me) {
            return;
        }
        if self.publisher.is_none() {
            return self.restart(Why::Odd);
        }
        if self.diverged.is_none() {
            self.diverged = Some(self.end.seq);
            self.actions.push(Action::Hold);
        }
        self.verdict(now_ns, true);
    }

    /// What an independent replay of the log found: whether this node's state is the odd one.
    pub fn verdict(&mut self, now_ns: u64, odd: bool) {
        if self.diverged.is_none() {
            return;
        }
        self.odd = Some(if odd { self.me } else { self.me.peer() });
        let dual = self.publisher.as_ref().is_some_and(|publisher| publisher.dual);
        match (odd, dual) {
            // The peer's state is right: it leads on, where it can be handed the role.
            (true, _) if !self.switchover(now_ns) => self.restart(Why::Odd),
            (true, _) => {}
            (false, true) => self.go_solo(now_ns),
            (false, false) => {
                self.end_join(now_ns);
                self.diverged = None;
                self.odd = None;
                self.release();
            }
        }
        self.advance();
    }
}
