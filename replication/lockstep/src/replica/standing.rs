//! A node that follows: it takes the primary's frames, acknowledges them, and takes over when the primary falls
//! silent.

use super::{Action, Replica, Role, Why};
use crate::follower::{Broken, Follower};
use crate::message::Say;
use crate::register::{Boot, Change, Register};
use crate::settings::Mutation;
use touchline_protocol::Seq;

impl Replica {
    /// What the primary of the own epoch says; anything else is of another time.
    pub(super) fn follow(&mut self, now_ns: u64, boot: Boot, say: Say) {
        let Some(register) = self.register else { return };
        let from_primary = register.is_led_by(self.me.peer(), boot);
        let Some(follower) = self.follower.as_mut().filter(|_| from_primary) else { return };
        match say {
            Say::Heartbeat { epoch, sent_ns, end, committed, follower: counted, agreed }
                if epoch == follower.epoch =>
            {
                follower.heartbeat(now_ns, sent_ns, end, committed);
                if agreed > Seq(0) && agreed <= follower.received.seq {
                    self.keep(agreed);
                }
                let Some(follower) = &mut self.follower else { return };
                // The primary has given the join up: what this node holds may be more than will ever be committed.
                let given_up = counted != Some(self.boot) && sent_ns > follower.joined_ns;
                if self.role == Role::Learner && given_up {
                    self.restart(Why::Demoted);
                }
            }
            Say::Frames { epoch, to, first, bytes, committed } if epoch == follower.epoch => {
                let meant = match self.role {
                    Role::Learner => to == Some(self.boot),
                    _ => to.is_none(),
                };
                if !meant {
                    return;
                }
                let mut out = Vec::new();
                let taken = follower.frames(now_ns, first, bytes, committed, &self.settings, &mut out);
                self.end = follower.received;
                if !out.is_empty() {
                    self.actions.push(Action::Append(out));
                }
                if let Err(Broken(seq)) = taken {
                    self.restart(Why::Broken(seq));
                }
            }
            _ => {}
        }
    }

    pub(super) fn tick_standing(&mut self, now_ns: u64) {
        let Some(follower) = &mut self.follower else { return };
        let sealed = self.role == Role::Sealed && self.settings.mutation != Some(Mutation::SkipSeal);
        let mut said = Vec::new();
        if !sealed {
            follower.say(now_ns, &self.settings, &mut said);
        }
        said.into_iter().for_each(|say| self.send_peer(say));
        match self.role {
            Role::Standby => self.suspect(now_ns),
            Role::Sealed => self.ask_to_lead(now_ns),
            _ => self.give_up(now_ns),
        }
    }

    /// The primary is silent for longer than the own stalls explain, and the witness is there to ask.
    fn suspect(&mut self, now_ns: u64) {
        let Some(follower) = &self.follower else { return };
        let silent = now_ns.saturating_sub(follower.heard_ns) > self.stalls.suspect_ns(&self.settings);
        let answerable = self.petitioner.heard_within(now_ns, 4 * self.settings.heartbeat_ns);
        if !silent || !answerable || now_ns < self.ask_after_ns {
            return;
        }
        if self.settings.durability.is_weaker() {
            self.role = Role::Sealed;
            self.handing_ns = now_ns;
        }
        self.ask_to_lead(now_ns);
    }

    /// Under a weaker policy: sealed first, then flushed, then asked.
    fn ask_to_lead(&mut self, now_ns: u64) {
        let Some(follower) = &self.follower else { return };
        let flushed = follower.is_flushed() || self.settings.mutation == Some(Mutation::SkipFlush);
        if !self.settings.durability.is_weaker() || flushed {
            self.cause = touchline_protocol::EpochCause::Promote;
            self.ask(now_ns, Change::Promote);
        }
        let impatient = self.settings.mutation == Some(Mutation::UnsealOnTimeout);
        if impatient
            && self.role == Role::Sealed
            && now_ns.saturating_sub(self.handing_ns) > self.settings.retry_ns
        {
            self.role = Role::Standby;
        }
    }

    /// A learner whose primary is silent has nothing to lose: it starts again. The broken rule asks to lead.
    fn give_up(&mut self, now_ns: u64) {
        let Some(follower) = &self.follower else { return };
        let silent = now_ns.saturating_sub(follower.heard_ns);
        if self.settings.mutation == Some(Mutation::PromoteOutOfSync) && silent > self.settings.suspect_ns {
            self.role = Role::Standby;
            return;
        }
        if silent > self.settings.lone_ns {
            self.restart(Why::Demoted);
        }
    }

    /// In sync, in this configuration.
    pub(super) fn stand_by(&mut self, now_ns: u64, register: Register) {
        let (end, durable) = (self.end, self.durable.seq);
        let follower = self.follower.get_or_insert_with(|| {
            let mut follower = Follower::new(now_ns, register.epoch, end);
            follower.durable = durable;
            follower
        });
        follower.epoch = register.epoch;
        follower.heard_ns = now_ns;
        self.role = Role::Standby;
    }

    /// The role was handed over, and this node follows the log that it led.
    pub(super) fn handed_over(&mut self, now_ns: u64, register: Register) {
        // Handed over because its state is odd: it is not fit to follow either.
        if self.odd == Some(self.me) {
            return self.restart(Why::Odd);
        }
        let committed = self.committed();
        self.publisher = None;
        self.follower = None;
        self.stand_by(now_ns, register);
        if let Some(follower) = &mut self.follower {
            follower.committed = committed;
        }
        self.actions.push(Action::Follow(register));
    }
}
