//! The driver over `poll`, for systems that forbid `io_uring`: a system call per datagram.

use super::{Event, Handler, Limits};
use crate::sockets::Wait;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// Datagrams taken from one socket in a step.
const TURN: usize = 64;

pub(super) struct Portable {
    inputs: Vec<UdpSocket>,
    outputs: Vec<UdpSocket>,
    wake: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// What is to be sent: bytes one after the other, and for each output where they end.
    bytes: Vec<u8>,
    queued: Vec<(usize, usize, usize)>,
    sends: usize,
}

impl Portable {
    pub(super) fn new(
        inputs: Vec<UdpSocket>,
        outputs: Vec<UdpSocket>,
        limits: &Limits,
        wake: Option<OwnedFd>,
    ) -> io::Result<Self> {
        inputs.iter().chain(&outputs).try_for_each(|socket| socket.set_nonblocking(true))?;
        Ok(Portable {
            inputs,
            outputs,
            wake,
            buffer: vec![0; limits.datagram_bytes],
            bytes: Vec::new(),
            queued: Vec::new(),
            sends: usize::from(limits.sends),
        })
    }

    pub(super) fn send(&mut self, outputs: &[usize], datagram: &[u8]) -> bool {
        if self.queued.len() + outputs.len() > self.sends {
            return false;
        }
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(datagram);
        self.queued.extend(outputs.iter().map(|output| (*output, begin, self.bytes.len())));
        true
    }

    pub(super) fn flush(&mut self) {
        for (output, begin, end) in self.queued.drain(..) {
            // An error tells of a receiver that was not there for an earlier datagram: the next one may be heard.
            for _ in 0..2 {
                let datagram = &self.bytes[begin..end];
                match rustix::net::send(&self.outputs[output], datagram, SendFlags::NOSIGNAL) {
                    Err(Errno::CONNREFUSED | Errno::INTR) => {}
                    _ => break,
                }
            }
        }
        self.bytes.clear();
    }

    pub(super) fn step(&mut self, wait: Wait, handler: &mut Handler<'_>) -> io::Result<usize> {
        self.flush();
        if wait != Wait::Poll {
            self.wait(wait)?;
        }
        let mut events = 0;
        if let Some(wake) = &self.wake
            && rustix::io::read(wake, &mut [0; 8]).is_ok()
        {
            events += 1;
            handler(Event::Woken);
        }
        for (input, socket) in self.inputs.iter().enumerate() {
            for _ in 0..TURN {
                match rustix::net::recv(socket, &mut self.buffer[..], RecvFlags::empty()) {
                    Ok((length, _)) => {
                        events += 1;
                        handler(Event::Datagram { input, data: &self.buffer[..length] });
                    }
                    Err(Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
        Ok(events)
    }

    fn wait(&self, wait: Wait) -> io::Result<()> {
        let timeout = match wait {
            Wait::Poll => Some(Duration::ZERO),
            Wait::AtMost(time) => Some(time),
            Wait::Block => None,
        };
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        let mut watched: Vec<PollFd<'_>> =
            self.inputs.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        watched.extend(self.wake.iter().map(|wake| PollFd::new(wake, PollFlags::IN)));
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
