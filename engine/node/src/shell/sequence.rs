//! Stage 2: takes what waits, lets the sequencer order it, and puts the frames into the log ring.

use crate::shell::clock::Clock;
use crate::shell::links::{Arrived, AtBarrier, Attested, Offered, Order, Part, Unattested};
use crate::shell::measures::SequenceMeasures;
use crate::shell::replicate::Replicate;
use crate::shell::worker::Stage;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::time::Duration;
use touchline_core::sequencer::Refusal;
use touchline_core::{Batch, Input, Sequencer};
use touchline_protocol::*;
use touchline_runtime::bell::Bell;
use touchline_runtime::log_ring::Writer;
use touchline_runtime::sockets::Wait;

/// Frames of one step: they become visible to the readers together.
const FRAMES_PER_STEP: usize = 256;
/// Bytes of frames that a shard may be behind before nothing more is sequenced: some hundreds of tickets, a millisecond or
/// two. What is in the log nothing overtakes; what waits before it a suspension does.
const AHEAD_BYTES: u64 = 64 << 10;
/// Commands taken from the queue in one step.
const INPUTS_PER_STEP: usize = 1024;
/// How often it looks for due timers while nothing else happens.
const LOOK_NS: u64 = 1_000_000;
/// How long it waits for a shard to catch up, for room in the ring, or at a barrier, before it looks again.
const RETRY: Duration = Duration::from_micros(200);

/// The sequencer and its queues.
pub(crate) struct Sequence {
    pub(crate) sequencer: Sequencer,
    /// The epoch in which a node that stands alone leads.
    pub(crate) alone: Option<Epoch>,
    /// The cluster, where this node does not stand alone.
    pub(crate) replicate: Option<Replicate>,
    pub(crate) failed: Sender<String>,
    /// Commands of connections.
    pub(crate) inputs: rtrb::Consumer<Arrived>,
    /// Messages of the shards, a queue each.
    pub(crate) offers: Vec<rtrb::Consumer<Offered>>,
    pub(crate) orders: Receiver<Order>,
    pub(crate) log: Writer,
    /// The threads that read the log.
    pub(crate) readers: Vec<Bell>,
    /// Barriers for the shards.
    pub(crate) shards: Vec<Sender<AtBarrier>>,
    pub(crate) refusals: Sender<Vec<Refusal>>,
    pub(crate) net: Bell,
    pub(crate) clock: Clock,
    pub(crate) measures: SequenceMeasures,
    pub(crate) rest: Rest,
    pub(crate) barrier: Option<Barrier>,
    pub(crate) looked_ns: u64,
}

/// Frames that are still to be put into the ring.
#[derive(Default)]
pub(crate) struct Rest {
    pub(crate) batch: Batch,
    /// Bytes of them that are in it.
    pub(crate) written: usize,
}

/// A state that is being attested: nothing is sequenced until every shard has said what its part of it is.
pub(crate) struct Barrier {
    end: bool,
    reply: Sender<Result<Attested, Unattested>>,
    /// Whether the shards were asked for fingerprints, and not only whether anything still moves.
    attest: bool,
    parts: Receiver<Part>,
    found: Vec<Part>,
}

impl Stage for Sequence {
    fn step(&mut self) -> bool {
        let heard = self.replicate();
        if !self.hand_on() {
            return heard;
        }
        if let Some(barrier) = self.barrier.take() {
            return self.at_barrier(barrier) || heard;
        }
        if let Ok(order) = self.orders.try_recv() {
            self.obey(order);
            return true;
        }
        let now_ns = self.clock.now().mono_ns;
        let taken = self.take(now_ns);
        let sequences = self.replicate.as_ref().is_none_or(Replicate::sequences);
        let due = self.sequencer.waiting() > 0 || now_ns >= self.looked_ns + LOOK_NS;
        if !sequences || !(taken || due) {
            return heard || taken;
        }
        self.looked_ns = now_ns;
        if self.is_ahead() {
            return taken || heard;
        }
        self.sequence() || taken || heard
    }

    fn sleep(&mut self, longest: Duration) -> bool {
        let Some(replicate) = &mut self.replicate else { return false };
        if let Err(error) = replicate.hear(Wait::AtMost(longest)) {
            let _ = self.failed.try_send(format!("the network of the cluster failed: {error}"));
        }
        true
    }

    fn patience(&self) -> Duration {
        if self.rest.batch.count > 0 || self.barrier.is_some() || self.sequencer.waiting() > 0 {
            return RETRY;
        }
        if let Some(replicate) = &self.replicate {
            return replicate.patience();
        }
        let idle = Duration::from_millis(100);
        let Some(timer) = self.sequencer.next_timer() else { return idle };
        let left_ns = timer.0.saturating_sub(self.clock.now().utc_ns).max(1_000_000);
        idle.min(Duration::from_nanos(left_ns as u64))
    }
}

impl Sequence {
    /// Whether some shard has more than enough to do.
    fn is_ahead(&self) -> bool {
        (0..self.shards.len()).any(|shard| self.log.behind_bytes(shard) > AHEAD_BYTES)
    }

    /// The epoch in which this node began to lead, while it does.
    fn led(&self) -> Option<Epoch> {
        self.replicate.as_ref().map_or(self.alone, Replicate::led)
    }

    /// Does what the cluster wants; whether there was anything.
    fn replicate(&mut self) -> bool {
        let Some(replicate) = &mut self.replicate else { return false };
        match replicate.step(&self.clock, &mut self.sequencer, &mut self.rest.batch) {
            Ok(worked) => worked,
            Err(error) => {
                let _ = self.failed.try_send(format!("the network of the cluster failed: {error}"));
                false
            }
        }
    }

    fn obey(&mut self, order: Order) {
        let now_ns = self.clock.now().mono_ns;
        match order {
            // Only who leads may log it; where the asker hears nothing more it asks in vain.
            Order::Attest { reply, .. } if self.led().is_none() => _ = reply.send(Err(Unattested::Follows)),
            // Before the end everything that is inside is to be answered; otherwise any state can be attested.
            Order::Attest { end, reply } => self.begin_barrier(end, !end, reply),
            Order::Switchover { reply } => {
                let begins = self.replicate.as_mut().is_some_and(|replicate| replicate.switchover(now_ns));
                let _ = reply.send(begins);
            }
            Order::GiveWord { reply } => {
                let _ = reply.send(self.replicate.as_mut().is_some_and(Replicate::give_word));
            }
        }
    }

    /// Takes what waits in the queues; whether there was anything. What was meant for an earlier lead, or comes while this
    /// node does not lead, is forgotten: it comes again.
    fn take(&mut self, now_ns: u64) -> bool {
        let led = self.led();
        let mut taken = 0;
        while taken < INPUTS_PER_STEP
            && let Ok(arrived) = self.inputs.pop()
        {
            self.measures.queue.record(now_ns.saturating_sub(arrived.at_ns));
            if matches!(arrived.input, Input::Client { origin, .. } if Some(Epoch(origin >> 32)) == led) {
                self.sequencer.offer(arrived.input);
            }
            taken += 1;
        }
        for queue in &mut self.offers {
            while let Ok(Offered { led: offered, bodies }) = queue.pop() {
                taken += bodies.len();
                if Some(offered) == led {
                    bodies.into_iter().for_each(|body| self.sequencer.offer(Input::Internal(body)));
                }
            }
        }
        taken > 0
    }

    /// Writes frames for what waits; whether there were any.
    fn sequence(&mut self) -> bool {
        let mut refusals = Vec::new();
        let now = self.clock.now();
        self.sequencer.step(now, FRAMES_PER_STEP, &mut self.rest.batch, &mut refusals);
        self.wrote();
        if let Some(step_ns) = self.sequencer.take_clock_step() {
            tracing::warn!(
                step_ms = step_ns / 1_000_000,
                "UTC stepped; logical time slews towards it at 500 ppm"
            );
        }
        let worked = self.rest.batch.count > 0 || !refusals.is_empty();
        if !refusals.is_empty() {
            let _ = self.refusals.send(refusals);
            self.net.ring();
        }
        self.hand_on();
        worked
    }

    /// The batch was empty, and holds new frames now.
    fn wrote(&mut self) {
        if let Some(replicate) = &mut self.replicate {
            replicate.wrote(self.clock.now().mono_ns, &self.rest.batch.bytes);
        }
    }

    /// Puts frames into the ring; whether none is left.
    fn hand_on(&mut self) -> bool {
        let Rest { batch, written } = &mut self.rest;
        if batch.count == 0 {
            return true;
        }
        let before = *written;
        while *written < batch.bytes.len() {
            let rest = &batch.bytes[*written..];
            let length = frame::frame_length(rest).expect("the sequencer wrote it");
            if self.log.push(&rest[..length]).is_err() {
                break;
            }
            *written += length;
        }
        if *written > before {
            self.log.publish();
            self.readers.iter().for_each(Bell::ring);
        }
        let all = *written == batch.bytes.len();
        if all {
            (batch.count, *written) = (0, 0);
            batch.bytes.clear();
        }
        all
    }

    fn begin_barrier(&mut self, end: bool, attest: bool, reply: Sender<Result<Attested, Unattested>>) {
        let (to, parts) = bounded(self.shards.len());
        let behind = self.sequencer.last();
        for shard in &self.shards {
            let _ = shard.send(AtBarrier { behind, attest, reply: to.clone() });
        }
        self.readers.iter().for_each(Bell::ring);
        self.barrier = Some(Barrier { end, attest, reply, parts, found: Vec::new() });
    }

    /// Goes on once every shard has spoken.
    fn at_barrier(&mut self, mut barrier: Barrier) -> bool {
        barrier.found.extend(barrier.parts.try_iter());
        if barrier.found.len() < self.shards.len() {
            self.barrier = Some(barrier);
            return false;
        }
        let Barrier { end, attest, reply, found, .. } = barrier;
        let now_ns = self.clock.now().mono_ns;
        if end && (self.take(now_ns) || self.sequencer.waiting() > 0) {
            // What still moved is sequenced first, and the shards are asked again.
            self.sequence();
            self.begin_barrier(end, false, reply);
        } else if attest {
            let _ = reply.send(self.attest(found));
        } else {
            self.begin_barrier(end, true, reply);
        }
        true
    }

    /// Logs what the state is behind the last frame.
    fn attest(&mut self, parts: Vec<Part>) -> Result<Attested, Unattested> {
        if self.led().is_none() {
            return Err(Unattested::Follows);
        }
        let seq = self.sequencer.last();
        let mut whole = Attest { covers: seq, fingerprints: List::default() };
        let mut profit_minor = 0;
        for part in parts {
            profit_minor += part.profit_minor;
            whole
                .fingerprints
                .0
                .extend(part.attest.expect("asked for").map_err(Unattested::Odd)?.fingerprints.0);
        }
        whole.fingerprints.0.sort_by_key(|entry| entry.partition);
        let fingerprint = touchline_core::engine::combine(&whole);
        self.sequencer.write_next(self.clock.now(), &whole.into(), &mut self.rest.batch);
        let logged = self.sequencer.last();
        self.wrote();
        self.hand_on();
        Ok(Attested { seq, logged, fingerprint, profit_minor })
    }
}
