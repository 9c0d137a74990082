//! The driver over `io_uring`: a multishot receive on each input, and slots that sends are made from.
//!
//! The kernel reads and writes memory of this process long after a call has returned. What keeps that sound: receives
//! write only to the ring's buffers; a send reads its slot, which is neither moved nor changed until as many completions have
//! been seen as sends were made from it; and when the driver is dropped it first sees all operations end, or gives their
//! memory to nobody.

use super::{Event, Handler, Limits};
use crate::ring::{Ring, Sizes};
use crate::sockets::Wait;
use crate::sockets::buffers::GROUP;
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode};
use rustix::event::PollFlags;
use rustix::net::SendFlags;
use std::io;
use std::mem::ManuallyDrop;
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Entries for requests; more are submitted in several goes.
const SUBMISSIONS: u32 = 512;
/// Entries for completions; more are kept by the kernel.
const COMPLETIONS: u32 = 4096;
/// Completions handed out in a step.
const BATCH: usize = 256;
/// How long the kernel may take to let go of everything when the driver is dropped.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// The half of a tag that says which operation it is; the other one is an index.
const OPERATION: u64 = !0xffff_ffff;
const RECEIVE: u64 = 1 << 32;
const SEND: u64 = 2 << 32;
const WAKE: u64 = 3 << 32;
const OTHER: u64 = 4 << 32;

/// Asks the system for a ring of this thread.
pub(super) fn ring(limits: &Limits) -> io::Result<Ring> {
    let (submissions, completions) = (SUBMISSIONS, COMPLETIONS);
    Ring::new(&Sizes { submissions, completions, buffers: (limits.receives, limits.datagram_bytes) })
}

/// A datagram on its way out.
struct Slot {
    bytes: Box<[u8]>,
    /// Sends from it that have not completed.
    busy: u16,
}

/// Sockets served through a ring.
pub(super) struct Uring {
    ring: Ring,
    inputs: Vec<UdpSocket>,
    outputs: Vec<UdpSocket>,
    armed: Vec<bool>,
    wake: Option<OwnedFd>,
    wake_is_armed: bool,
    slots: ManuallyDrop<Vec<Slot>>,
    free: Vec<u16>,
    batch: Vec<(u64, i32, u32)>,
    /// Completions that were fetched while no handler was there.
    later: Vec<(u64, i32, u32)>,
}

impl Uring {
    pub(super) fn new(
        ring: Ring,
        inputs: Vec<UdpSocket>,
        outputs: Vec<UdpSocket>,
        limits: &Limits,
        wake: Option<OwnedFd>,
    ) -> io::Result<Self> {
        // The ring waits by itself, and only on what blocks. A send must not wait: the system's queue is full then, and
        // the datagram is lost.
        inputs.iter().try_for_each(|socket| socket.set_nonblocking(false))?;
        outputs.iter().try_for_each(|socket| socket.set_nonblocking(true))?;
        let slot = || Slot { bytes: vec![0; limits.datagram_bytes].into_boxed_slice(), busy: 0 };
        Ok(Uring {
            ring,
            armed: vec![false; inputs.len()],
            inputs,
            outputs,
            wake,
            wake_is_armed: false,
            slots: ManuallyDrop::new((0..limits.sends).map(|_| slot()).collect()),
            free: (0..limits.sends).rev().collect(),
            batch: Vec::with_capacity(BATCH),
            later: Vec::new(),
        })
    }

    pub(super) fn send(&mut self, outputs: &[usize], datagram: &[u8]) -> bool {
        if self.free.is_empty() {
            // Most have long been sent.
            let _ = self.ring.enter(Some(Duration::ZERO));
            self.reap_sends();
        }
        let Some(index) = self.free.pop() else { return false };
        let slot = &mut self.slots[usize::from(index)];
        let Some(bytes) = slot.bytes.get_mut(..datagram.len()) else {
            self.free.push(index);
            return false;
        };
        bytes.copy_from_slice(datagram);
        let (start, length) = (bytes.as_ptr(), bytes.len() as u32);
        for output in outputs {
            let fd = Fd(self.outputs[*output].as_raw_fd());
            // The slot stays as it is until this completes: it is not among the free ones before `busy` is 0 again.
            let entry = opcode::Send::new(fd, start, length)
                .flags(SendFlags::NOSIGNAL.bits() as i32)
                .build()
                .user_data(SEND | u64::from(index));
            if self.ring.push(&entry) {
                self.slots[usize::from(index)].busy += 1;
            }
        }
        if self.slots[usize::from(index)].busy == 0 {
            self.free.push(index);
            return false;
        }
        true
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.ring.enter(Some(Duration::ZERO))
    }

    pub(super) fn step(&mut self, wait: Wait, handler: &mut Handler<'_>) -> io::Result<usize> {
        self.arm();
        let mut events = 0;
        let begun = Instant::now();
        loop {
            let timeout = match wait {
                _ if !self.later.is_empty() || !self.ring.uring.completion().is_empty() => {
                    Some(Duration::ZERO)
                }
                Wait::Poll => Some(Duration::ZERO),
                Wait::AtMost(time) => Some(time.saturating_sub(begun.elapsed())),
                Wait::Block => None,
            };
            self.ring.enter(timeout)?;
            self.fetch();
            let fetched = self.batch.len();
            for index in 0..fetched {
                let (tag, result, flags) = self.batch[index];
                events += usize::from(self.complete(tag, result, flags, handler));
            }
            // Ends of sends alone are nothing to return for.
            if events > 0 || fetched == 0 {
                break;
            }
        }
        self.arm();
        self.flush()?;
        Ok(events)
    }

    /// Takes the next completions out of the ring.
    fn fetch(&mut self) {
        self.batch.clear();
        self.batch.append(&mut self.later);
        let completions = self.ring.uring.completion().take(BATCH);
        self.batch.extend(completions.map(|found| (found.user_data(), found.result(), found.flags())));
    }

    /// Frees the slots that have been sent; what else has happened waits for the next step.
    fn reap_sends(&mut self) {
        self.fetch();
        for index in 0..self.batch.len() {
            let (tag, result, flags) = self.batch[index];
            if tag & OPERATION == SEND {
                self.complete(tag, result, flags, &mut |_| {});
            } else {
                self.later.push((tag, result, flags));
            }
        }
    }

    /// Whether it was an event for the handler.
    fn complete(&mut self, tag: u64, result: i32, flags: u32, handler: &mut Handler<'_>) -> bool {
        let index = tag as u32 as usize;
        match tag & OPERATION {
            RECEIVE => {
                self.armed[index] = cqueue::more(flags);
                let Some(buffer) = cqueue::buffer_select(flags) else { return false };
                let data =
                    usize::try_from(result).ok().and_then(|length| self.ring.buffers.get(buffer, length));
                let is_event = data.is_some();
                if let Some(data) = data {
                    handler(Event::Datagram { input: index, data });
                }
                self.ring.buffers.give_back(buffer);
                is_event
            }
            SEND => {
                let slot = &mut self.slots[index];
                slot.busy -= 1;
                if slot.busy == 0 {
                    self.free.push(index as u16);
                }
                false
            }
            WAKE => {
                self.wake_is_armed = cqueue::more(flags);
                if let Some(wake) = &self.wake {
                    let _ = rustix::io::read(wake, &mut [0; 8]);
                }
                handler(Event::Woken);
                true
            }
            _ => false,
        }
    }

    /// Begins what is not under way: receives, and the watch on the wake descriptor.
    fn arm(&mut self) {
        for (index, socket) in self.inputs.iter().enumerate() {
            if !self.armed[index] {
                let receive = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build();
                self.armed[index] = self.ring.push(&receive.user_data(RECEIVE | index as u64));
            }
        }
        if let Some(wake) = &self.wake
            && !self.wake_is_armed
        {
            let watch = opcode::PollAdd::new(Fd(wake.as_raw_fd()), u32::from(PollFlags::IN.bits()));
            self.wake_is_armed = self.ring.push(&watch.multi(true).build().user_data(WAKE));
        }
    }

    fn is_busy(&self) -> bool {
        self.free.len() < self.slots.len() || self.wake_is_armed || self.armed.contains(&true)
    }

    /// Sees all operations end; false where the kernel does not let go of them in time.
    fn come_to_rest(&mut self) -> bool {
        let everything = opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(OTHER);
        self.ring.push(&everything);
        let begun = Instant::now();
        while self.is_busy() {
            if begun.elapsed() > LAST_WAIT || self.ring.enter(Some(Duration::from_millis(20))).is_err() {
                return false;
            }
            self.fetch();
            for index in 0..self.batch.len() {
                let (tag, result, flags) = self.batch[index];
                self.complete(tag, result, flags, &mut |_| {});
            }
        }
        true
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.come_to_rest() {
            // SAFETY: dropped here only, and never used again. No receive is under way that could write to the buffers,
            // and no send that could read the slots.
            unsafe {
                ManuallyDrop::drop(&mut self.ring.buffers);
                ManuallyDrop::drop(&mut self.slots);
            }
        } else {
            tracing::error!("the kernel does not end its operations: their memory is given up");
        }
    }
}
