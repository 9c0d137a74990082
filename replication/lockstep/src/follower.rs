//! The following side of the log: takes frames in order, asks for gaps, acknowledges.

use crate::gap::Ahead;
use crate::log::{Point, frames};
use crate::message::Say;
use crate::settings::{Durability, Mutation, Settings};
use touchline_protocol::{Epoch, Seq};

/// Frames that do not continue the log: it is not the log of the primary that sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub Seq);

/// A follower of a primary.
#[derive(Debug)]
pub struct Follower {
    /// The configuration in which it follows.
    pub epoch: Epoch,
    /// Last frame in memory.
    pub received: Point,
    /// Last frame in its journal.
    pub durable: Seq,
    /// What the primary says is committed.
    pub committed: Seq,
    /// When the primary was last heard.
    pub heard_ns: u64,
    /// When the primary took this node in, by its clock.
    pub joined_ns: u64,
    ahead: Ahead,
    echo_ns: u64,
    fingerprint: Option<(Seq, u128)>,
    /// Something to acknowledge.
    owes: bool,
    acked_ns: u64,
}

impl Follower {
    /// A follower whose log ends at a point that the primary's log has too.
    pub fn new(now_ns: u64, epoch: Epoch, end: Point) -> Self {
        Follower {
            epoch,
            received: end,
            durable: end.seq,
            committed: Seq(0),
            heard_ns: now_ns,
            joined_ns: 0,
            ahead: Ahead::default(),
            echo_ns: 0,
            fingerprint: None,
            owes: true,
            acked_ns: 0,
        }
    }

    /// A heartbeat of the primary.
    pub fn heartbeat(&mut self, now_ns: u64, sent_ns: u64, end: Seq, committed: Seq) {
        self.heard_ns = now_ns;
        self.echo_ns = self.echo_ns.max(sent_ns);
        self.committed = self.committed.max(committed);
        self.ahead.note(end);
        self.owes = true;
    }

    /// Frames from the primary; what continues the log is appended to `out`.
    pub fn frames(
        &mut self,
        now_ns: u64,
        first: Seq,
        bytes: Vec<u8>,
        committed: Seq,
        settings: &Settings,
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        self.heard_ns = now_ns;
        self.committed = self.committed.max(committed);
        let before = self.received.seq;
        if first.0 > before.0 + 1 {
            self.ahead.note(first);
            self.ahead.keep(first, bytes, settings.ahead_max);
            return Ok(());
        }
        self.take(&bytes, settings, out)?;
        while let Some(kept) = self.ahead.next(Seq(self.received.seq.0 + 1)) {
            self.take(&kept, settings, out)?;
        }
        if self.received.seq > before {
            self.ahead.progressed();
            self.owes = true;
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], settings: &Settings, out: &mut Vec<u8>) -> Result<(), Broken> {
        for frame in frames(bytes) {
            let envelope = frame.envelope();
            if envelope.seq <= self.received.seq {
                continue;
            }
            let follows =
                envelope.previous == self.received.chain || settings.mutation == Some(Mutation::IgnoreChain);
            if envelope.seq.0 != self.received.seq.0 + 1 || !follows {
                return Err(Broken(envelope.seq));
            }
            self.received = Point::of(&frame);
            out.extend_from_slice(frame.bytes());
        }
        Ok(())
    }

    /// The journal holds everything up to here.
    pub fn durable(&mut self, seq: Seq) {
        self.durable = self.durable.max(seq);
        self.owes = true;
    }

    /// A fingerprint of the own state, for the next acknowledgement.
    pub fn fingerprint(&mut self, seq: Seq, value: u128) {
        self.fingerprint = Some((seq, value));
    }

    /// Whether everything in memory is in the journal too.
    pub fn is_flushed(&self) -> bool {
        self.durable >= self.received.seq
    }

    /// What is to be said now: an acknowledgement where there is news or a heartbeat's time has passed, and a
    /// request for what is missing.
    pub fn say(&mut self, now_ns: u64, settings: &Settings, out: &mut Vec<Say>) {
        if self.ahead.ask(now_ns, self.received.seq, settings.retry_ns) {
            out.push(Say::Missing { epoch: self.epoch, from: Seq(self.received.seq.0 + 1) });
        }
        let late = now_ns.saturating_sub(self.acked_ns) >= settings.heartbeat_ns;
        if !self.owes && !late {
            return;
        }
        self.owes = false;
        self.acked_ns = now_ns;
        let from_memory = settings.mutation == Some(Mutation::AcknowledgeFromMemory)
            && settings.durability == Durability::Durable;
        out.push(Say::Ack {
            epoch: self.epoch,
            received: self.received,
            durable: if from_memory { self.received.seq } else { self.durable },
            echo_ns: std::mem::take(&mut self.echo_ns),
            fingerprint: self.fingerprint.take(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_protocol::frame::encode;
    use touchline_protocol::{At, ChainHash, Envelope, SourceFresh, SourceId};

    fn frame(seq: u64, previous: ChainHash) -> Vec<u8> {
        let envelope = Envelope { seq: Seq(seq), previous, ..Envelope::session(1, Epoch(1), 0) };
        let mut bytes = Vec::new();
        encode(&envelope, &SourceFresh { source: SourceId(1), alive_until: At(0) }.into(), &mut bytes);
        bytes
    }

    /// What a follower makes of a first frame and a second one that is linked to another first one.
    fn follow_a_stranger(mutation: Option<Mutation>) -> (Result<(), Broken>, Seq) {
        let settings = Settings { mutation, ..Settings::default() };
        let mut follower = Follower::new(0, Epoch(1), Point::default());
        let mut out = Vec::new();
        follower.frames(0, Seq(1), frame(1, ChainHash(0)), Seq(0), &settings, &mut out).unwrap();
        let taken = follower.frames(0, Seq(2), frame(2, ChainHash(7)), Seq(0), &settings, &mut out);
        (taken, follower.received.seq)
    }

    #[test]
    fn a_frame_that_is_linked_to_another_log_is_not_taken() {
        assert_eq!(follow_a_stranger(None), (Err(Broken(Seq(2))), Seq(1)));
        // No run of a cluster brings such a frame, since there is one payload per epoch and sequence: the rule is a second
        // line, and this is what notices that it is broken.
        assert_eq!(follow_a_stranger(Some(Mutation::IgnoreChain)), (Ok(()), Seq(2)));
    }
}
