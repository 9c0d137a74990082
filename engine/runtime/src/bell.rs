//! The bell: wakes a sleeping thread, at the price of a fence and a load while it is awake.
//!
//! Under the flag of `asleep` lies an eventfd. A wake-up may be spurious (a ring that came late finds the next
//! sleep); it is never lost.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::asleep::Asleep;

/// A bell and the one thread's half that sleeps on it. Fails where descriptors run out.
pub fn new() -> io::Result<(Bell, Sleeper)> {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let shared = Arc::new(Shared { asleep: Asleep::new(), event });
    Ok((Bell(shared.clone()), Sleeper(shared)))
}

struct Shared {
    asleep: Asleep,
    event: OwnedFd,
}

/// The half of those who bring work.
#[derive(Clone)]
pub struct Bell(Arc<Shared>);

impl Bell {
    /// Wakes the sleeper if it sleeps. To be called after the work can be seen, once a batch.
    pub fn ring(&self) {
        if self.0.asleep.take() {
            // It fails only where the counter is at its end, and then the sleeper is awake already.
            let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
        }
    }
}

/// The half of the thread that sleeps.
pub struct Sleeper(Arc<Shared>);

impl Sleeper {
    /// Blocks until the bell rings or `timeout` passes (`None`: for ever), unless `has_work` says that there is work
    /// already. It may return early: look for work, then sleep again.
    pub fn sleep(&mut self, timeout: Option<Duration>, has_work: impl FnOnce() -> bool) {
        if self.announce(has_work) {
            self.rest(timeout);
            self.awake();
        }
    }

    /// Blocks between [`announce`](Self::announce) and [`awake`](Self::awake) until the bell rings or `timeout` passes.
    pub fn rest(&mut self, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        // A signal or an error is an early return.
        let _ = poll(&mut [PollFd::new(&self.0.event, PollFlags::IN)], timeout.as_ref());
    }

    /// For a loop that blocks elsewhere (say on an io_uring that polls this descriptor): whether it may block now.
    /// Where it may, [`awake`](Self::awake) must follow once it no longer blocks.
    pub fn announce(&mut self, has_work: impl FnOnce() -> bool) -> bool {
        self.0.asleep.announce(has_work)
    }

    /// Takes the announcement back and empties the descriptor, so that it is not readable any more. Never blocks.
    pub fn awake(&mut self) {
        self.0.asleep.lower();
        // Empty already where the sleep ended by itself.
        let _ = rustix::io::read(&self.0.event, &mut [0; 8]);
    }
}

/// Readable when the bell has rung.
impl AsFd for Sleeper {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn readable(sleeper: &Sleeper) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(sleeper, PollFlags::IN)], Some(&now)) == Ok(1)
    }

    #[test]
    fn a_bell_is_silent_while_nobody_sleeps() {
        let (bell, mut sleeper) = new().unwrap();
        bell.ring();
        assert!(!readable(&sleeper));
        assert!(sleeper.announce(|| false));
        bell.ring();
        bell.clone().ring();
        assert!(readable(&sleeper));
        sleeper.awake();
        assert!(!readable(&sleeper));
        bell.ring();
        assert!(!readable(&sleeper));
    }

    #[test]
    fn work_that_came_before_the_announcement_keeps_awake() {
        let (bell, mut sleeper) = new().unwrap();
        sleeper.sleep(None, || true);
        bell.ring();
        assert!(!readable(&sleeper));
    }

    #[test]
    fn a_sleeper_returns_by_itself_when_its_time_is_over() {
        let (_bell, mut sleeper) = new().unwrap();
        sleeper.sleep(Some(Duration::from_micros(1)), || false);
    }

    #[test]
    fn a_thread_is_woken_as_often_as_there_is_work() {
        let (bell, mut sleeper) = new().unwrap();
        let work = Arc::new(AtomicBool::new(false));
        let left = work.clone();
        let thread = std::thread::spawn(move || {
            for _ in 0..1000 {
                while !left.swap(false, Ordering::Acquire) {
                    sleeper.sleep(None, || left.load(Ordering::Acquire));
                }
            }
        });
        for _ in 0..1000 {
            while work.swap(true, Ordering::Release) {
                std::thread::yield_now();
            }
            bell.ring();
        }
        thread.join().unwrap();
    }
}
