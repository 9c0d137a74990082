//! The flag by which a thread that wants to sleep and the threads with work for it never miss each other.
//!
//! The sleeper raises the flag and then looks for work once more; the worker leaves work and then looks at the flag.
//! A full fence between the two steps of each side makes it impossible that both look and neither sees.

use super::sync::{AtomicBool, Ordering, fence};

/// Raised while its one sleeper sleeps or is about to.
pub(crate) struct Asleep(AtomicBool);

impl Asleep {
    pub(crate) fn new() -> Self {
        Asleep(AtomicBool::new(false))
    }

    /// The sleeper's first step: whether it may sleep. Otherwise there is work and the flag is down.
    pub(crate) fn announce(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let may_sleep = !has_work();
        if !may_sleep {
            self.lower();
        }
        may_sleep
    }

    /// The sleeper's last step, once awake.
    pub(crate) fn lower(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// The worker's step after it has left work: whether it is the one who must wake the sleeper.
    pub(crate) fn take(&self) -> bool {
        fence(Ordering::SeqCst);
        // The load alone answers while nobody sleeps; of several who see the flag, one wakes.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}
