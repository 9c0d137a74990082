//! Stage 3: a shard applies the frames of its partitions, in place in the log ring.

use crate::shell::clock::Clock;
use crate::shell::links::{AtBarrier, Mark, Offered, Part};
use crate::shell::measures::ApplyMeasures;
use crate::shell::twin::MARK_EVERY;
use crate::shell::worker::Stage;
use crossbeam_channel::{Receiver, Sender};
use std::time::Duration;
use touchline_core::{Effect, Partition, Shard};
use touchline_protocol::*;
use touchline_runtime::bell::Bell;
use touchline_runtime::log_ring::Reader;

/// Frames of one step: their effects go on together.
const FRAMES_PER_STEP: usize = 256;

/// A shard and its queues.
pub(crate) struct Apply {
    pub(crate) shard: Shard,
    pub(crate) log: Reader,
    /// The last frame that its state has taken in; a start has applied its own first frames already.
    pub(crate) applied: Seq,
    pub(crate) barriers: Receiver<AtBarrier>,
    /// A barrier that lies ahead.
    pub(crate) barrier: Option<AtBarrier>,
    /// Effects of the last step that are still to be handed on, and where to.
    pub(crate) effects: Vec<Effect>,
    pub(crate) to_net: rtrb::Producer<Vec<Effect>>,
    /// Who compares the state with another one: the twin, the cluster, where there is one.
    pub(crate) marks: Vec<Sender<Mark>>,
    /// Messages for other partitions.
    pub(crate) offers: Vec<Body>,
    pub(crate) to_sequencer: rtrb::Producer<Offered>,
    /// The epoch in whose lead they are offered.
    pub(crate) led: Epoch,
    /// This node leads since an epoch: everything that the log does not have yet is offered again.
    pub(crate) leads: Receiver<Epoch>,
    pub(crate) net: Bell,
    pub(crate) sequencer: Bell,
    pub(crate) clock: Clock,
    pub(crate) measures: ApplyMeasures,
}

impl Stage for Apply {
    fn step(&mut self) -> bool {
        self.hand_on();
        if !self.effects.is_empty() {
            return false;
        }
        self.offer_again();
        // What is readable now was published after any barrier that lies before it: so the barrier is seen first.
        let readable = self.log.has_next();
        if self.barrier.is_none() {
            self.barrier = self.barriers.try_recv().ok();
        }
        if !readable {
            return self.pass_barrier();
        }
        let worked = self.apply();
        self.pass_barrier() || worked
    }

    fn patience(&self) -> Duration {
        if self.effects.is_empty() && self.offers.is_empty() {
            Duration::from_millis(100)
        } else {
            Duration::from_micros(200)
        }
    }
}

impl Apply {
    fn apply(&mut self) -> bool {
        let mut wall_ns = None;
        for _ in 0..FRAMES_PER_STEP {
            if self.barrier.as_ref().is_some_and(|barrier| barrier.behind <= self.applied) {
                break;
            }
            let Some(record) = self.log.next() else { break };
            let frame = FrameRef::parse(record).expect("the sequencer wrote it");
            if frame.seq() <= self.applied {
                continue;
            }
            self.applied = frame.seq();
            wall_ns.get_or_insert(frame.envelope().wall.0);
            if self.shard.may_concern(&frame) {
                let body = frame.body().expect("the sequencer wrote it");
                self.shard.apply(&frame, &body, &mut self.effects);
            }
            if self.applied.0.is_multiple_of(MARK_EVERY) {
                // Whoever compares it or not: what changed is hashed while there is little of it.
                let part = self.shard.fingerprint();
                for marks in &self.marks {
                    let _ = marks.send(Mark { seq: self.applied, part });
                }
            }
        }
        self.log.release();
        let Some(wall_ns) = wall_ns else { return false };
        self.measures.apply.record(self.clock.since_utc(wall_ns));
        self.offers.extend(self.shard.offers());
        self.hand_on();
        true
    }

    fn offer_again(&mut self) {
        let Some(led) = self.leads.try_iter().last() else { return };
        self.led = led;
        self.shard.offer_again();
        self.offers = self.shard.offers();
        self.hand_on();
    }

    /// Hands on what it has. A full queue to the network holds the shard back; a full one to the sequencer does not,
    /// since the sequencer may be waiting for this shard to make room in the log.
    fn hand_on(&mut self) {
        if !self.effects.is_empty() && !self.to_net.is_full() {
            let _ = self.to_net.push(std::mem::take(&mut self.effects));
            self.net.ring();
        }
        if !self.offers.is_empty() && !self.to_sequencer.is_full() {
            let bodies = std::mem::take(&mut self.offers);
            let _ = self.to_sequencer.push(Offered { led: self.led, bodies });
            self.sequencer.ring();
        }
    }

    /// Says what its part is, where it stands at a barrier and nothing of before it is still with it.
    fn pass_barrier(&mut self) -> bool {
        let there = |barrier: &mut AtBarrier| barrier.behind <= self.applied;
        if !self.effects.is_empty() || !self.offers.is_empty() {
            return false;
        }
        let Some(AtBarrier { attest, reply, .. }) = self.barrier.take_if(there) else { return false };
        let attest = attest.then(|| touchline_core::engine::attest(Seq(0), std::iter::once(&mut self.shard)));
        let profit_minor = self.shard.partitions().iter().map(Partition::profit_minor).sum();
        let _ = reply.send(Part { profit_minor, attest });
        self.sequencer.ring();
        true
    }
}
