//! A thread that runs stages: it steps each in turn, and sleeps when none has anything to do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use touchline_runtime::bell::Sleeper;
use touchline_runtime::clock::Ticks;
use touchline_runtime::cores::{self, ThreadPlan};
use touchline_runtime::idle::{Action, Idle, Policy};

/// A stage on a thread. Stages know each other only through the queues between them, so it does not matter which of them
/// share a thread. None waits inside of a step: one that cannot hand on what it has takes nothing new.
pub(crate) trait Stage {
    /// Does what there is to do now, a bounded amount of it; whether it did anything.
    fn step(&mut self) -> bool;

    /// Whether an answer is on its way to it, from the disk say.
    fn expects(&self) -> bool {
        false
    }

    /// The longest that it may sleep though nobody wakes it.
    fn patience(&self) -> Duration;

    /// Sleeps where it waits for more than the thread's bell, at most so long; whether it did.
    fn sleep(&mut self, _longest: Duration) -> bool {
        false
    }
}

/// Makes a stage in the thread that will run it.
pub(crate) type Build = Box<dyn FnOnce(&Sleeper) -> std::io::Result<Box<dyn Stage>> + Send>;

/// What a thread is started with.
pub(crate) struct Worker {
    /// The stages, in the order in which data passes them.
    pub(crate) stages: Vec<Build>,
    /// Where others wake it.
    pub(crate) sleeper: Sleeper,
    /// Its place in the plan.
    pub(crate) thread: ThreadPlan,
    /// What it does when there is nothing to do, where it does not block.
    pub(crate) policy: Policy,
    /// Set when it is to end.
    pub(crate) stop: Arc<AtomicBool>,
    /// Told why it ended by itself.
    pub(crate) failed: crossbeam_channel::Sender<String>,
}

impl Worker {
    /// Starts it.
    pub(crate) fn start(self) -> JoinHandle<()> {
        let thread = std::thread::Builder::new().name(self.thread.name.clone());
        thread.spawn(move || self.run()).expect("the system can start a thread")
    }

    fn run(self) {
        let Worker { thread, stages, mut sleeper, policy, stop, failed } = self;
        let ThreadPlan { name, core, .. } = &thread;
        if let Some(core) = *core
            && !cores::pin(core)
        {
            tracing::warn!(thread = name, core, "cannot be pinned; it runs wherever the system puts it");
        }
        let built: std::io::Result<Vec<_>> = stages.into_iter().map(|build| build(&sleeper)).collect();
        let mut stages = match built {
            Ok(stages) => stages,
            Err(error) => {
                let _ = failed.try_send(format!("starting the thread {name} failed: {error}"));
                return;
            }
        };
        // A defect in a stage ends the node: the other stages would wait for it for ever.
        let idle = thread.spins().then(|| Idle::new(policy));
        let turn = || turn(&mut stages, &mut sleeper, idle, &stop);
        if catch_unwind(AssertUnwindSafe(turn)).is_err() {
            let _ = failed.try_send(format!("the thread {name} has panicked"));
        }
    }
}

fn turn(stages: &mut [Box<dyn Stage>], sleeper: &mut Sleeper, mut idle: Option<Idle>, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        if round(stages) {
            if let Some(idle) = &mut idle {
                idle.worked();
            }
            continue;
        }
        // A thread whose work blocks, as the disk does, never spins.
        let expecting = stages.iter().any(|stage| stage.expects());
        match idle.as_mut().map_or(Action::Sleep, |idle| idle.idle(Ticks::now().ns(), expecting)) {
            Action::Spin => std::hint::spin_loop(),
            Action::Yield => std::thread::yield_now(),
            Action::Sleep => sleep(stages, sleeper, stop),
        }
    }
}

/// Sleeps until the bell rings or a stage's patience ends.
fn sleep(stages: &mut [Box<dyn Stage>], sleeper: &mut Sleeper, stop: &AtomicBool) {
    let longest = stages.iter().map(|stage| stage.patience()).min().unwrap_or(Duration::ZERO);
    // Whoever handed something over before the announcement may not have rung: one more look.
    if sleeper.announce(|| round(stages) || stop.load(Ordering::Acquire)) {
        if !stages.iter_mut().any(|stage| stage.sleep(longest)) {
            sleeper.rest(Some(longest));
        }
        sleeper.awake();
    }
}

/// Steps every stage; whether any did something.
fn round(stages: &mut [Box<dyn Stage>]) -> bool {
    let mut worked = false;
    for stage in stages {
        worked |= stage.step();
    }
    worked
}
