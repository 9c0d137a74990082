//! A ring of `io_uring` with its receive buffers, as the drivers of sockets and of datagrams stand on it.

use crate::sockets::buffers::Buffers;
use io_uring::IoUring;
use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use rustix::io::Errno;
use std::io;
use std::mem::ManuallyDrop;
use std::time::Duration;

/// How large a ring is.
pub(crate) struct Sizes {
    /// Entries for requests; more are submitted in several goes.
    pub(crate) submissions: u32,
    /// Entries for completions; more are kept by the kernel.
    pub(crate) completions: u32,
    /// Receive buffers, a power of two, and their length in bytes.
    pub(crate) buffers: (u16, usize),
}

/// A ring and its buffers. Whoever owns it drops the buffers once the last receive has ended, or never.
pub(crate) struct Ring {
    pub(crate) uring: IoUring,
    pub(crate) buffers: ManuallyDrop<Buffers>,
}

impl Ring {
    /// Asks the system for a ring of this thread.
    pub(crate) fn new(sizes: &Sizes) -> io::Result<Ring> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(sizes.completions)
            .build(sizes.submissions)?;
        let (count, bytes) = sizes.buffers;
        // SAFETY: nothing drops them by itself; the `drop` of either driver does when the last receive has ended.
        let buffers = unsafe { Buffers::lend(&uring, count, bytes)? };
        Ok(Ring { uring, buffers: ManuallyDrop::new(buffers) })
    }

    /// Queues a request; false where the kernel takes none at the moment.
    pub(crate) fn push(&mut self, entry: &Entry) -> bool {
        for _ in 0..2 {
            // SAFETY: the only requests that name memory are the sends of both drivers: `Uring::look_after` of the
            // sockets, `Uring::send` of the datagrams.
            if unsafe { self.uring.submission().push(entry) }.is_ok() {
                return true;
            }
            let _ = self.uring.submit();
        }
        false
    }

    /// Submits what is queued, and waits for a completion where a time is given that is not zero; none waits without
    /// end.
    pub(crate) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let entered = match timeout {
            Some(Duration::ZERO) => {
                let submission = self.uring.submission();
                if submission.is_empty() && !submission.taskrun() && !submission.cq_overflow() {
                    return Ok(());
                }
                drop(submission);
                self.uring.submit()
            }
            Some(timeout) => {
                let time = Timespec::from(timeout);
                self.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
            None => self.uring.submit_and_wait(1),
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match Errno::from_io_error(&error) {
                // The time has passed, a signal came, or the kernel wants its completions fetched first.
                Some(Errno::TIME | Errno::INTR | Errno::BUSY | Errno::AGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }
}
