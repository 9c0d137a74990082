//! Applies a recorded log on all the cores that there are: whoever reads it checks and decodes, a thread for each shard
//! applies.
//!
//! Partitions meet in frames alone, so each shard goes through the log at its own pace; what comes out is the same as on
//! one thread. A log of one batch is applied where it is read: starting threads would take longer.

use crossbeam_channel::{Sender, bounded};
use std::sync::Arc;
use std::thread::JoinHandle;
use touchline_core::{Effect, Engine, Sequencer, Shard};
use touchline_protocol::{Body, FrameRef};

/// Bytes of frames that go to the threads at once.
const BATCH_BYTES: usize = 1 << 18;
/// Batches that may wait for a thread.
const BATCHES_WAITING: usize = 8;

/// Checked frames back to back, and what their bodies say.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    bodies: Vec<Body>,
}

impl Frames {
    fn each(&self, mut visit: impl FnMut(&FrameRef<'_>, &Body)) {
        let mut rest = self.bytes.as_slice();
        for body in &self.bodies {
            let frame = FrameRef::known(rest).expect("it was parsed before it was put here");
            rest = &rest[frame.bytes().len()..];
            visit(&frame, body);
        }
    }
}

/// A core that follows a recorded log.
pub(crate) struct Replay {
    sequencer: Sequencer,
    /// Shards until there are threads.
    shards: Vec<Shard>,
    threads: Vec<(Sender<Arc<Frames>>, JoinHandle<Shard>)>,
    batch: Frames,
}

impl Replay {
    /// Goes on from a state.
    pub(crate) fn of(engine: Engine) -> Self {
        let Engine { sequencer, shards, .. } = engine;
        Replay { sequencer, shards, threads: Vec::new(), batch: Frames::default() }
    }

    /// Follows the next frame. A frame that a shard cannot follow panics here or at the end, as it would anywhere.
    pub(crate) fn push(&mut self, frame: &FrameRef<'_>, body: Body) {
        self.sequencer.follow(frame, &body);
        self.batch.bytes.extend_from_slice(frame.bytes());
        self.batch.bodies.push(body);
        if self.batch.bytes.len() >= BATCH_BYTES {
            self.pass_on();
        }
    }

    fn pass_on(&mut self) {
        if self.threads.is_empty() {
            self.threads = std::mem::take(&mut self.shards).into_iter().map(start).collect();
        }
        let batch = Arc::new(std::mem::take(&mut self.batch));
        for (to, _) in &self.threads {
            // A thread that is gone panicked; its panic goes on when it is joined.
            let _ = to.send(Arc::clone(&batch));
        }
    }

    /// The state behind the last frame.
    pub(crate) fn finish(mut self) -> Engine {
        if self.threads.is_empty() {
            let mut effects = Vec::new();
            self.shards.iter_mut().for_each(|shard| apply(shard, &self.batch, &mut effects));
        } else {
            self.pass_on();
            let join = |(to, thread): (Sender<_>, JoinHandle<Shard>)| {
                drop(to);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            self.shards = self.threads.into_iter().map(join).collect();
        }
        Engine { sequencer: self.sequencer, shards: self.shards, refusals: Vec::new() }
    }
}

fn start(mut shard: Shard) -> (Sender<Arc<Frames>>, JoinHandle<Shard>) {
    let (to, from) = bounded::<Arc<Frames>>(BATCHES_WAITING);
    let work = move || {
        let mut effects = Vec::new();
        from.iter().for_each(|batch| apply(&mut shard, &batch, &mut effects));
        shard
    };
    (to, std::thread::spawn(work))
}

/// Applies what concerns a shard; nobody hears the effects.
fn apply(shard: &mut Shard, frames: &Frames, effects: &mut Vec<Effect>) {
    frames.each(|frame, body| {
        if shard.may_concern(frame) {
            shard.apply(frame, body, effects);
            effects.clear();
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_core::{Batch, Input, Now};
    use touchline_protocol::{EpochCause, NewEpoch, Seq};

    /// A log of some batches, and the core that wrote it.
    fn written() -> (Engine, Batch) {
        let config = crate::Config::standard();
        let now = |ms: i64| Now {
            mono_ns: ms as u64 * 1_000_000,
            utc_ns: 1_800_000_000_000_000_000 + ms * 1_000_000,
        };
        let mut engine = Engine::new(config.cluster.id, 64, 1);
        let (mut log, mut effects) = (Batch::default(), Vec::new());
        let epoch = NewEpoch { cause: EpochCause::Start, node: 1, boot: 1 };
        engine.begin(now(0), config.genesis().unwrap(), epoch, &mut log, &mut effects);
        let configure = config.configure().unwrap();
        for ms in 1.. {
            if log.bytes.len() > 3 * BATCH_BYTES {
                break;
            }
            let body: Body = if ms % 8 == 1 {
                configure.clone().into()
            } else {
                touchline_protocol::OpenAccount {
                    brand: configure.brands[0].brand,
                    customer: touchline_protocol::CustomerId(ms as u64),
                    currency: configure.brands[0].currency,
                    factor_permille: 1000,
                }
                .into()
            };
            engine.input(now(ms), Input::Node(body), &mut log, &mut effects);
        }
        (engine, log)
    }

    #[test]
    fn threads_lead_to_the_state_that_one_core_after_the_other_leads_to() {
        let (mut engine, log) = written();
        let due = (engine.sequencer.last(), engine.sequencer.chain(), engine.fingerprint());
        for (shards, upto) in [(1, u64::MAX), (3, u64::MAX), (3, 5)] {
            let mut naive = Engine::new(engine.sequencer.cluster(), 64, 1);
            let mut replay = Replay::of(Engine::new(engine.sequencer.cluster(), 64, shards));
            for frame in log.frames().filter(|frame| frame.seq() <= Seq(upto)) {
                let body = frame.body().unwrap();
                naive.replay(&frame, &body, &mut Vec::new());
                replay.push(&frame, body);
            }
            let mut found = replay.finish();
            assert_eq!(found.fingerprint(), naive.fingerprint());
            assert_eq!(found.sequencer.chain(), naive.sequencer.chain());
            if upto == u64::MAX {
                assert_eq!((found.sequencer.last(), found.sequencer.chain(), found.fingerprint()), due);
            }
        }
    }
}
