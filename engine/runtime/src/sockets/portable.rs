//! The driver over epoll, for systems that forbid `io_uring`: the same behaviour with a system call per message.

use super::connections::Connections;
use super::{Handler, Limits, Wait};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags};
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// What is ready, handed out before the answers are written.
const BATCH: usize = 256;
/// Connections taken from one listener in a step.
const ACCEPTS: usize = 64;
/// Tags of listeners are their index above this bit, which no place of a connection has.
const LISTENER: u32 = 1 << 31;
const WAKE: u32 = u32::MAX;

/// Connections served with epoll.
pub(super) struct Portable {
    epoll: OwnedFd,
    listeners: Vec<TcpListener>,
    retry_at: Option<Instant>,
    accept_retry: Duration,
    wake: Option<OwnedFd>,
    ready: Vec<epoll::Event>,
    /// What epoll watches for, by place; none where it does not know the connection.
    watched: Vec<Option<epoll::EventFlags>>,
    buffer: Vec<u8>,
    pub(super) connections: Connections,
}

impl Portable {
    pub(super) fn new(
        listeners: Vec<TcpListener>,
        limits: &Limits,
        wake: Option<OwnedFd>,
    ) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        if let Some(wake) = &wake {
            epoll::add(&epoll, wake, tag(WAKE), epoll::EventFlags::IN)?;
        }
        for listener in &listeners {
            listener.set_nonblocking(true)?;
        }
        let portable = Portable {
            epoll,
            listeners,
            retry_at: None,
            accept_retry: limits.accept_retry,
            wake,
            ready: Vec::with_capacity(BATCH),
            watched: Vec::new(),
            buffer: vec![0; limits.buffer_bytes],
            connections: Connections::new(limits),
        };
        portable.watch_listeners()?;
        Ok(portable)
    }

    fn watch_listeners(&self) -> io::Result<()> {
        for (index, listener) in self.listeners.iter().enumerate() {
            epoll::add(&self.epoll, listener, tag(LISTENER | index as u32), epoll::EventFlags::IN)?;
        }
        Ok(())
    }

    /// Looks at no listener until the time to rest is over.
    fn rest(&mut self) {
        self.connections.counters.accept_rests += 1;
        self.retry_at = Some(Instant::now() + self.accept_retry);
        for listener in &self.listeners {
            let _ = epoll::delete(&self.epoll, listener);
        }
    }

    pub(super) fn step(&mut self, wait: Wait, handler: &mut Handler<'_>) -> io::Result<usize> {
        self.connections.events = 0;
        self.look_after_touched(handler);
        let wait = if self.connections.events == 0 { wait } else { Wait::Poll };
        let timeout = self.connections.timeout(wait, self.retry_at);
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: time.subsec_nanos().into(),
        });
        self.ready.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for index in 0..self.ready.len() {
            let epoll::Event { flags, data } = self.ready[index];
            match data.u64() as u32 {
                WAKE => {
                    if let Some(wake) = &self.wake {
                        let _ = rustix::io::read(wake, &mut [0; 8]);
                    }
                    self.connections.woken(handler);
                }
                listener if listener & LISTENER != 0 => self.accept(listener & !LISTENER, handler),
                slot => self.is_ready(slot, flags, handler),
            }
        }
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
            self.watch_listeners()?;
        }
        if !self.connections.accepting {
            self.listeners.clear();
            self.retry_at = None;
        }
        self.connections.end_lingerers();
        self.look_after_touched(handler);
        Ok(self.connections.events)
    }

    fn accept(&mut self, index: u32, handler: &mut Handler<'_>) {
        for _ in 0..ACCEPTS {
            let Some(listener) = self.listeners.get(index as usize) else { return };
            if !self.connections.accepting || self.retry_at.is_some() {
                return;
            }
            match rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => self.connections.accepted(fd, index as usize, handler),
                Err(Errno::AGAIN) => return,
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(_) => return self.rest(),
            }
        }
    }

    fn is_ready(&mut self, slot: u32, flags: epoll::EventFlags, handler: &mut Handler<'_>) {
        let Some(connection) = self.connections.get(slot) else { return };
        let is_broken = flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP);
        if flags.contains(epoll::EventFlags::OUT) || is_broken {
            connection.sending = false;
        }
        if connection.wants_input() {
            if flags.contains(epoll::EventFlags::IN) || is_broken {
                match rustix::net::recv(&connection.fd, &mut self.buffer[..], RecvFlags::empty()) {
                    Ok((0, _)) => self.connections.finished(slot),
                    Ok((length, _)) => self.connections.received(slot, &self.buffer[..length], handler),
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(error) => self.connections.failed(slot, error),
                }
            }
        } else if is_broken {
            // Told again and again whether asked for or not, so it is not left for the next write to find out.
            let error = rustix::net::sockopt::socket_error(&connection.fd).and_then(|error| error);
            self.connections.failed(slot, error.err().unwrap_or(Errno::PIPE));
        }
        self.connections.touch_slot(slot);
    }

    fn look_after_touched(&mut self, handler: &mut Handler<'_>) {
        while let Some(slot) = self.connections.next_touched() {
            self.look_after(slot, handler);
        }
    }

    /// Does what a connection needs next.
    fn look_after(&mut self, slot: u32, handler: &mut Handler<'_>) {
        self.connections.release_held(slot, handler);
        if let Err(error) = self.write(slot) {
            self.connections.failed(slot, error);
        }
        let Some(connection) = self.connections.get(slot) else { return };
        connection.progress();
        if connection.is_ending() {
            if let Some(watched) = self.watched.get_mut(slot as usize) {
                *watched = None; // closing a descriptor takes it out of the epoll
            }
            self.connections.remove(slot, handler);
        } else if let Err(error) = self.watch(slot) {
            self.connections.failed(slot, error);
        }
    }

    /// Writes what waits, as far as the system takes it.
    fn write(&mut self, slot: u32) -> Result<(), Errno> {
        while let Some(connection) = self.connections.get(slot).filter(|connection| !connection.sending) {
            let (fd, output) = connection.next_write();
            if output.is_empty() {
                break;
            }
            match rustix::net::send(fd, output, SendFlags::NOSIGNAL) {
                Ok(count) => self.connections.sent(slot, count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => connection.sending = true,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tells epoll what the connection waits for, where that has changed.
    fn watch(&mut self, slot: u32) -> Result<(), Errno> {
        let Some(connection) = self.connections.get(slot) else { return Ok(()) };
        let mut wants = epoll::EventFlags::empty();
        wants.set(epoll::EventFlags::IN, connection.wants_input());
        wants.set(epoll::EventFlags::OUT, connection.sending);
        if self.watched.len() <= slot as usize {
            self.watched.resize(slot as usize + 1, None);
        }
        let watched = &mut self.watched[slot as usize];
        match *watched {
            None => epoll::add(&self.epoll, &connection.fd, tag(slot), wants)?,
            Some(before) if before != wants => {
                epoll::modify(&self.epoll, &connection.fd, tag(slot), wants)?;
            }
            Some(_) => {}
        }
        *watched = Some(wants);
        Ok(())
    }
}

fn tag(tag: u32) -> epoll::EventData {
    epoll::EventData::new_u64(u64::from(tag))
}
