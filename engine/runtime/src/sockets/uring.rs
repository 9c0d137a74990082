//! The driver over `io_uring`: one ring, multishot accepts and receives, at most one send per connection.
//!
//! The kernel reads and writes memory of this process long after a call has returned. What keeps that sound: a send
//! reads only the flying part of an outbox, which is neither moved nor changed until its completion is seen; receives
//! write only to the ring's buffers; a connection is removed only when none of its operations is under way; and when the
//! driver is dropped it first sees all of them end, or gives their memory to nobody.

use super::buffers::GROUP;
use super::connections::Connections;
use super::{Handler, Limits, Wait};
use crate::ring::{Ring, Sizes};
use io_uring::types::{CancelBuilder, Fd};
use io_uring::{cqueue, opcode};
use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SendFlags, SocketFlags};
use std::io;
use std::mem::ManuallyDrop;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Entries for requests; more are submitted in several goes.
const SUBMISSIONS: u32 = 1024;
/// Entries for completions; more are kept by the kernel.
const COMPLETIONS: u32 = 8192;
/// Completions handed out before the answers are written.
const BATCH: usize = 32;
/// How long the kernel may take to let go of everything when the driver is dropped.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What a completion belongs to: an operation, and a connection's place or a listener's index.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
enum Op {
    Accept = 1,
    Receive,
    Send,
    StopReceive,
    Wake,
    Other,
}

impl Op {
    fn tag(self, index: u32) -> u64 {
        (self as u64) << 32 | u64::from(index)
    }

    fn parse(tag: u64) -> (Op, u32) {
        let op = match tag >> 32 {
            1 => Op::Accept,
            2 => Op::Receive,
            3 => Op::Send,
            4 => Op::StopReceive,
            5 => Op::Wake,
            _ => Op::Other,
        };
        (op, tag as u32)
    }
}

/// Asks the system for a ring of this thread.
pub(super) fn ring(limits: &Limits) -> io::Result<Ring> {
    let (submissions, completions) = (SUBMISSIONS, COMPLETIONS);
    Ring::new(&Sizes { submissions, completions, buffers: (limits.receive_buffers, limits.buffer_bytes) })
}

struct Listener {
    /// None once accepting has ended.
    socket: Option<TcpListener>,
    is_armed: bool,
}

/// Connections served through a ring.
pub(super) struct Uring {
    ring: Ring,
    listeners: Vec<Listener>,
    retry_at: Option<Instant>,
    accept_retry: Duration,
    wake: Option<OwnedFd>,
    wake_is_armed: bool,
    batch: Vec<(u64, i32, u32)>,
    pub(super) connections: Connections,
}

impl Uring {
    pub(super) fn new(
        ring: Ring,
        listeners: Vec<TcpListener>,
        limits: &Limits,
        wake: Option<OwnedFd>,
    ) -> io::Result<Self> {
        for listener in &listeners {
            // The ring waits by itself, and only on what blocks.
            listener.set_nonblocking(false)?;
        }
        let listeners =
            listeners.into_iter().map(|socket| Listener { socket: Some(socket), is_armed: false });
        Ok(Uring {
            ring,
            listeners: listeners.collect(),
            retry_at: None,
            accept_retry: limits.accept_retry,
            wake,
            wake_is_armed: false,
            batch: Vec::with_capacity(BATCH),
            connections: Connections::new(limits),
        })
    }

    pub(super) fn step(&mut self, wait: Wait, handler: &mut Handler<'_>) -> io::Result<usize> {
        self.connections.events = 0;
        self.arm();
        self.look_after_touched(handler);
        let idle = self.ring.uring.completion().is_empty();
        let wait = if idle && self.connections.events == 0 { wait } else { Wait::Poll };
        self.ring.enter(self.connections.timeout(wait, self.retry_at))?;
        self.fetch();
        for index in 0..self.batch.len() {
            let (tag, result, flags) = self.batch[index];
            self.complete(tag, result, flags, handler);
        }
        self.connections.end_lingerers();
        self.arm();
        self.look_after_touched(handler);
        self.ring.enter(Some(Duration::ZERO))?;
        Ok(self.connections.events)
    }

    /// Takes the next completions out of the ring.
    fn fetch(&mut self) {
        self.batch.clear();
        let completions = self.ring.uring.completion().take(BATCH);
        self.batch.extend(completions.map(|found| (found.user_data(), found.result(), found.flags())));
    }

    fn complete(&mut self, tag: u64, result: i32, flags: u32, handler: &mut Handler<'_>) {
        let (op, index) = Op::parse(tag);
        let outcome = usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result));
        let goes_on = cqueue::more(flags);
        match op {
            Op::Accept => self.accepted(index, result, goes_on, handler),
            Op::Receive => self.received(index, outcome, flags, handler),
            Op::Send => {
                if let Some(connection) = self.connections.get(index) {
                    connection.sending = false;
                }
                match outcome {
                    Ok(count) => self.connections.sent(index, count),
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Err(error) => self.connections.failed(index, error),
                }
                self.connections.touch_slot(index);
            }
            Op::StopReceive => {
                if let Some(connection) = self.connections.get(index) {
                    connection.stopping = false;
                }
                self.connections.touch_slot(index);
            }
            Op::Wake => {
                self.wake_is_armed = goes_on;
                if let Err(error) = outcome {
                    // Not to be asked again and again; what can be wrong with it does not pass.
                    tracing::error!(%error, "the wake descriptor cannot be watched: nobody can wake this thread");
                    self.wake = None;
                    return;
                }
                if let Some(wake) = &self.wake {
                    let _ = rustix::io::read(wake, &mut [0; 8]);
                }
                self.connections.woken(handler);
            }
            Op::Other => {}
        }
    }

    fn accepted(&mut self, index: u32, result: i32, goes_on: bool, handler: &mut Handler<'_>) {
        let Some(listener) = self.listeners.get_mut(index as usize) else { return };
        listener.is_armed = goes_on;
        if result >= 0 {
            // SAFETY: the kernel has just opened this descriptor for us; nobody else knows it.
            let fd = unsafe { OwnedFd::from_raw_fd(result) };
            if self.connections.accepting {
                self.connections.accepted(fd, index as usize, handler);
            }
            return;
        }
        match Errno::from_raw_os_error(-result) {
            Errno::CONNABORTED | Errno::INTR | Errno::AGAIN | Errno::CANCELED => {}
            _ => {
                // Out of descriptors, most likely: asking again at once would only keep a core busy.
                self.connections.counters.accept_rests += 1;
                self.retry_at = Some(Instant::now() + self.accept_retry);
            }
        }
    }

    fn received(&mut self, slot: u32, outcome: Result<usize, Errno>, flags: u32, handler: &mut Handler<'_>) {
        if let Some(connection) = self.connections.get(slot) {
            connection.receiving = cqueue::more(flags);
        }
        let buffer = cqueue::buffer_select(flags);
        match outcome {
            Ok(0) => self.connections.finished(slot),
            Ok(length) => {
                if let Some(data) = buffer.and_then(|buffer| self.ring.buffers.get(buffer, length)) {
                    self.connections.received(slot, data, handler);
                }
            }
            Err(Errno::NOBUFS) => self.connections.counters.buffers_short += 1,
            Err(Errno::CANCELED | Errno::INTR | Errno::AGAIN) => {}
            Err(error) => self.connections.failed(slot, error),
        }
        if let Some(buffer) = buffer {
            self.ring.buffers.give_back(buffer);
        }
        if !cqueue::more(flags) {
            self.connections.touch_slot(slot);
        }
    }

    /// Brings the requests that belong to no connection into the kernel, or ends them.
    fn arm(&mut self) {
        if let Some(wake) = &self.wake
            && !self.wake_is_armed
        {
            let poll =
                opcode::PollAdd::new(Fd(wake.as_raw_fd()), u32::from(PollFlags::IN.bits())).multi(true);
            self.wake_is_armed = self.ring.push(&poll.build().user_data(Op::Wake.tag(0)));
        }
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
        }
        let accepting = self.connections.accepting;
        if !accepting {
            self.retry_at = None;
        }
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            let Some(socket) = &listener.socket else { continue };
            let tag = Op::Accept.tag(index as u32);
            if !accepting {
                if listener.is_armed {
                    let cancel = opcode::AsyncCancel::new(tag).build().user_data(Op::Other.tag(0));
                    if !self.ring.push(&cancel) {
                        continue;
                    }
                }
                listener.socket = None;
            } else if !listener.is_armed && self.retry_at.is_none() {
                let accept = opcode::AcceptMulti::new(Fd(socket.as_raw_fd()))
                    .flags(SocketFlags::CLOEXEC.bits() as i32)
                    .build();
                listener.is_armed = self.ring.push(&accept.user_data(tag));
            }
        }
    }

    fn look_after_touched(&mut self, handler: &mut Handler<'_>) {
        while let Some(slot) = self.connections.next_touched() {
            if !self.look_after(slot, handler) {
                self.connections.touch_slot(slot);
                return;
            }
        }
    }

    /// Does what a connection needs next; false where the kernel takes no requests at the moment.
    fn look_after(&mut self, slot: u32, handler: &mut Handler<'_>) -> bool {
        self.connections.release_held(slot, handler);
        let Some(connection) = self.connections.get(slot) else { return true };
        connection.progress();
        if connection.is_ending() {
            if !connection.is_busy() {
                self.connections.remove(slot, handler);
            }
            return true;
        }
        let fd = Fd(connection.fd.as_raw_fd());
        if !connection.sending {
            // The bytes stay in place until the completion has reset `sending`: see the top of this file.
            let (_, output) = connection.next_write();
            if !output.is_empty() {
                let length = output.len().min(u32::MAX as usize) as u32;
                let send =
                    opcode::Send::new(fd, output.as_ptr(), length).flags(SendFlags::NOSIGNAL.bits() as i32);
                if !self.ring.push(&send.build().user_data(Op::Send.tag(slot))) {
                    return false;
                }
                connection.sending = true;
            }
        }
        let wants_input = connection.wants_input();
        if wants_input && !connection.receiving {
            let receive = opcode::RecvMulti::new(fd, GROUP).build().user_data(Op::Receive.tag(slot));
            connection.receiving = self.ring.push(&receive);
            return connection.receiving;
        }
        if !wants_input && connection.receiving && !connection.stopping {
            let cancel = opcode::AsyncCancel::new(Op::Receive.tag(slot)).build();
            connection.stopping = self.ring.push(&cancel.user_data(Op::StopReceive.tag(slot)));
            return connection.stopping;
        }
        true
    }

    /// Sees all operations on connections end; false where the kernel does not let go of them in time.
    fn come_to_rest(&mut self) -> bool {
        self.connections.end_all();
        let everything = CancelBuilder::any();
        let entry = opcode::AsyncCancel2::new(everything).build().user_data(Op::Other.tag(0));
        self.ring.push(&entry);
        let begun = Instant::now();
        while self.connections.any_busy() {
            if begun.elapsed() > LAST_WAIT || self.ring.enter(Some(Duration::from_millis(20))).is_err() {
                return false;
            }
            self.fetch();
            for index in 0..self.batch.len() {
                let (tag, result, flags) = self.batch[index];
                self.complete(tag, result, flags, &mut |_, _| {});
            }
        }
        true
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.come_to_rest() {
            // SAFETY: dropped here only, and never used again. No receive is under way that could write to them.
            unsafe { ManuallyDrop::drop(&mut self.ring.buffers) };
        } else {
            tracing::error!("the kernel does not end its operations: their memory is given up");
            let limits = Limits { connections_max: 0, farewells_max: 0, ..Limits::default() };
            let given_up = std::mem::replace(&mut self.connections, Connections::new(&limits));
            let _ = ManuallyDrop::new(given_up);
        }
    }
}
