//! What a server knows of its connections, without doing their input and output: the drivers ask it what to do next.

use super::outbox::{Outbox, Spares};
use super::{ConnectionId, Counters, Event, Handler, Limits, Linger, Wait, Why};
use rustix::io::Errno;
use rustix::net::Shutdown;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Bits of an id that say where the connection is; the rest is a number that grows with every use of that place.
const SLOT_BITS: u32 = 24;
/// The most places of a server; one bit is left to the drivers.
pub(super) const SLOTS_MAX: usize = 1 << (SLOT_BITS - 1);

/// Why bytes were not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The connection is closed or closing.
    #[error("the connection is closed")]
    Gone,
    /// They would wait beyond `send_bytes_max`; none of them was taken.
    #[error("too many bytes wait on this connection already")]
    Full,
}

/// The open connections, as a handler sees them. What it asks for happens at the end of the step.
pub struct Connections {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Places where something was asked for or came about.
    touched: Vec<u32>,
    deadlines: BinaryHeap<Reverse<(Instant, ConnectionId)>>,
    spares: Spares,
    limits: Limits,
    served: usize,
    surplus: usize,
    pub(super) accepting: bool,
    pub(super) counters: Counters,
    /// Events handed out.
    pub(super) events: usize,
}

struct Slot {
    uses: u64,
    connection: Option<Connection>,
}

/// One connection and what its driver is doing with it.
pub(super) struct Connection {
    id: ConnectionId,
    pub(super) fd: OwnedFd,
    phase: Phase,
    why: Why,
    surplus: bool,
    paused: bool,
    /// The peer sends no more.
    finished: bool,
    finish_told: bool,
    touched: bool,
    /// Received after a pause was asked for and before the driver had stopped receiving.
    held: VecDeque<Box<[u8]>>,
    outbox: Outbox,
    /// The driver waits for input.
    pub(super) receiving: bool,
    /// The driver was told to stop waiting for input, and has not yet.
    pub(super) stopping: bool,
    /// The driver is writing, or waits until it can.
    pub(super) sending: bool,
}

/// Memory of a silent connection, its place included.
pub(super) const CONNECTION_BYTES: usize = size_of::<Slot>();

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Writing what waits.
    Flushing,
    /// All is written and the peer knows that no more comes; it has not closed its side.
    Draining,
    /// The driver lets go of it.
    Ending,
}

impl Connections {
    pub(super) fn new(limits: &Limits) -> Self {
        Connections {
            // Address space only: a place costs memory from its first use on, and growth never copies the others.
            slots: Vec::with_capacity(limits.connections_max + limits.farewells_max),
            free: Vec::new(),
            touched: Vec::new(),
            deadlines: BinaryHeap::new(),
            spares: Spares::default(),
            limits: limits.clone(),
            served: 0,
            surplus: 0,
            accepting: true,
            counters: Counters::default(),
            events: 0,
        }
    }

    /// Connections being served, those hearing a farewell not counted.
    pub fn count(&self) -> usize {
        self.served
    }

    /// Totals since the start.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Queues bytes behind those that wait; one write takes everything that gathered meanwhile.
    ///
    /// # Errors
    ///
    /// [`SendError`]; then none of them is sent.
    pub fn send(&mut self, id: ConnectionId, data: &[u8]) -> Result<(), SendError> {
        let Some(connection) = find(&mut self.slots, id).filter(|found| found.phase == Phase::Open) else {
            return Err(SendError::Gone);
        };
        if connection.outbox.waiting() + data.len() > self.limits.send_bytes_max {
            return Err(SendError::Full);
        }
        connection.outbox.push(data, &mut self.spares);
        self.touch(id);
        Ok(())
    }

    /// Bytes that the system has not yet taken from this connection; 0 for one that is gone. It shrinks as the peer
    /// reads, so that a caller can tell the slow from the stuck.
    pub fn pending(&self, id: ConnectionId) -> usize {
        self.peek(id).map_or(0, |connection| connection.outbox.waiting())
    }

    /// Bytes that [`Connections::send`] would take; 0 for a connection that is closed or closing.
    pub fn room(&self, id: ConnectionId) -> usize {
        let open = self.peek(id).filter(|connection| connection.phase == Phase::Open);
        open.map_or(0, |connection| self.limits.send_bytes_max.saturating_sub(connection.outbox.waiting()))
    }

    /// Whether bytes are still taken for this connection.
    pub fn is_open(&self, id: ConnectionId) -> bool {
        self.peek(id).is_some_and(|connection| connection.phase == Phase::Open)
    }

    /// Ends a connection; nothing of it is handed out from now on but its [`Event::Closed`]. A second call may shorten
    /// what the first allowed.
    pub fn close(&mut self, id: ConnectionId, linger: Linger) {
        let Some(connection) = find(&mut self.slots, id) else { return };
        match linger {
            Linger::Not => connection.end(Why::Cut),
            Linger::For(time) => {
                if connection.phase == Phase::Open {
                    connection.phase = Phase::Flushing;
                }
                self.deadlines.push(Reverse((Instant::now() + time, id)));
            }
        }
        self.touch(id);
    }

    /// Hands out no more input of this connection until [`Connections::resume`]. What has arrived is kept, in order;
    /// the rest stays with the peer.
    pub fn pause(&mut self, id: ConnectionId) {
        self.set_paused(id, true);
    }

    /// Hands out its input again.
    pub fn resume(&mut self, id: ConnectionId) {
        self.set_paused(id, false);
    }

    fn set_paused(&mut self, id: ConnectionId, paused: bool) {
        if let Some(connection) = find(&mut self.slots, id) {
            connection.paused = paused;
            self.touch(id);
        }
    }

    /// Closes the listeners, for good.
    pub fn stop_accepting(&mut self) {
        self.accepting = false;
    }

    fn peek(&self, id: ConnectionId) -> Option<&Connection> {
        let slot = self.slots.get(slot_of(id) as usize)?;
        slot.connection.as_ref().filter(|connection| connection.id == id)
    }

    fn touch(&mut self, id: ConnectionId) {
        if let Some(connection) = find(&mut self.slots, id)
            && !std::mem::replace(&mut connection.touched, true)
        {
            self.touched.push(slot_of(id));
        }
    }
}

fn slot_of(id: ConnectionId) -> u32 {
    (id.0 & ((1 << SLOT_BITS) - 1)) as u32
}

fn find(slots: &mut [Slot], id: ConnectionId) -> Option<&mut Connection> {
    slots.get_mut(slot_of(id) as usize)?.connection.as_mut().filter(|connection| connection.id == id)
}

/// For the drivers.
impl Connections {
    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize)?.connection.as_mut()
    }

    /// The next place to look after.
    pub(super) fn next_touched(&mut self) -> Option<u32> {
        while let Some(slot) = self.touched.pop() {
            if let Some(connection) = self.get(slot) {
                connection.touched = false;
                return Some(slot);
            }
        }
        None
    }

    /// Looks after this place once more.
    pub(super) fn touch_slot(&mut self, slot: u32) {
        if let Some(id) = self.get(slot).map(|connection| connection.id) {
            self.touch(id);
        }
    }

    /// The shorter of what the caller allows and what the deadlines want; none waits without end.
    pub(super) fn timeout(&self, wait: Wait, retry_at: Option<Instant>) -> Option<Duration> {
        let allowed = match wait {
            Wait::Poll => return Some(Duration::ZERO),
            Wait::AtMost(time) => Some(time),
            Wait::Block => None,
        };
        let first = self.deadlines.peek().map(|Reverse((at, _))| *at);
        let Some(next) = first.into_iter().chain(retry_at).min() else { return allowed };
        let until = next.saturating_duration_since(Instant::now());
        Some(allowed.map_or(until, |allowed| allowed.min(until)))
    }

    /// Ends those whose time to linger has passed.
    pub(super) fn end_lingerers(&mut self) {
        let Some(Reverse((first, _))) = self.deadlines.peek() else { return };
        let now = Instant::now();
        if *first > now {
            return;
        }
        while let Some(Reverse((at, id))) = self.deadlines.peek().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop();
            if let Some(connection) = find(&mut self.slots, id) {
                connection.end(Why::Cut);
                self.touch(id);
            }
        }
    }

    /// Takes in a new connection, or closes it where even farewells are too many.
    pub(super) fn accepted(&mut self, fd: OwnedFd, listener: usize, handler: &mut Handler<'_>) {
        self.counters.accepted += 1;
        let surplus = self.served >= self.limits.connections_max;
        self.counters.surplus += u64::from(surplus);
        if surplus && self.surplus >= self.limits.farewells_max {
            self.counters.unheard += 1;
            return;
        }
        *if surplus { &mut self.surplus } else { &mut self.served } += 1;
        let peer = rustix::net::getpeername(&fd).ok().flatten();
        let peer = peer.and_then(|address| SocketAddr::try_from(address).ok());
        let id = self.insert(fd, surplus);
        self.touch(id);
        self.hand_out(handler, Event::Opened { id, peer, listener, surplus });
        if surplus {
            self.close(id, Linger::For(self.limits.farewell_time));
        }
    }

    fn insert(&mut self, fd: OwnedFd, surplus: bool) -> ConnectionId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { uses: 0, connection: None });
            (self.slots.len() - 1) as u32
        });
        let place = &mut self.slots[slot as usize];
        place.uses += 1;
        let id = ConnectionId(place.uses << SLOT_BITS | u64::from(slot));
        place.connection = Some(Connection {
            id,
            fd,
            phase: Phase::Open,
            why: Why::Asked,
            surplus,
            paused: surplus,
            finished: false,
            finish_told: false,
            touched: false,
            held: VecDeque::new(),
            outbox: Outbox::default(),
            receiving: false,
            stopping: false,
            sending: false,
        });
        id
    }

    fn hand_out(&mut self, handler: &mut Handler<'_>, event: Event<'_>) {
        self.events += 1;
        handler(self, event);
    }

    pub(super) fn woken(&mut self, handler: &mut Handler<'_>) {
        self.hand_out(handler, Event::Woken);
    }

    /// Input arrived.
    pub(super) fn received(&mut self, slot: u32, data: &[u8], handler: &mut Handler<'_>) {
        self.counters.bytes_in += data.len() as u64;
        let Some(connection) = self.get(slot) else { return };
        if connection.phase != Phase::Open {
            return;
        }
        if connection.paused || !connection.held.is_empty() {
            connection.held.push_back(data.into());
            return;
        }
        let id = connection.id;
        self.hand_out(handler, Event::Bytes { id, data });
    }

    /// The peer sends no more.
    pub(super) fn finished(&mut self, slot: u32) {
        if let Some(connection) = self.get(slot) {
            connection.finished = true;
            self.touch_slot(slot);
        }
    }

    /// The peer reset the connection, or the network failed.
    pub(super) fn failed(&mut self, slot: u32, error: Errno) {
        if let Some(connection) = self.get(slot) {
            connection.end(Why::Failed(std::io::Error::from(error).kind()));
            self.touch_slot(slot);
        }
    }

    /// The system took bytes.
    pub(super) fn sent(&mut self, slot: u32, count: usize) {
        self.counters.bytes_out += count as u64;
        let place = self.slots.get_mut(slot as usize).and_then(|place| place.connection.as_mut());
        if let Some(connection) = place {
            connection.outbox.took(count, &mut self.spares);
        }
    }

    /// Hands out what was held, and the end of input after it.
    pub(super) fn release_held(&mut self, slot: u32, handler: &mut Handler<'_>) {
        while let Some(connection) = self.get(slot) {
            if connection.paused || connection.phase != Phase::Open {
                return;
            }
            let id = connection.id;
            if let Some(data) = connection.held.pop_front() {
                self.hand_out(handler, Event::Bytes { id, data: &data });
            } else if connection.finished && !std::mem::replace(&mut connection.finish_told, true) {
                self.hand_out(handler, Event::Finished { id });
            } else {
                return;
            }
        }
    }

    /// Closes what no driver works on any more.
    pub(super) fn remove(&mut self, slot: u32, handler: &mut Handler<'_>) {
        let Some(connection) = self.slots.get_mut(slot as usize).and_then(|place| place.connection.take())
        else {
            return;
        };
        self.free.push(slot);
        *if connection.surplus { &mut self.surplus } else { &mut self.served } -= 1;
        let (id, why) = (connection.id, connection.why);
        // The descriptor goes before the event, so that the handler's view is never ahead of the system's.
        drop(connection);
        self.hand_out(handler, Event::Closed { id, why });
    }

    /// Whether a driver works on any of them.
    pub(super) fn any_busy(&self) -> bool {
        self.slots.iter().filter_map(|slot| slot.connection.as_ref()).any(Connection::is_busy)
    }

    /// Ends all of them.
    pub(super) fn end_all(&mut self) {
        for connection in self.slots.iter_mut().filter_map(|slot| slot.connection.as_mut()) {
            connection.end(Why::Cut);
        }
    }
}

impl Connection {
    /// Lets go of the connection. Shutting it down makes every operation on it end soon.
    fn end(&mut self, why: Why) {
        if self.phase == Phase::Ending {
            return;
        }
        self.phase = Phase::Ending;
        self.why = why;
        if why == Why::Cut {
            // A reset when it is closed: the system's copy of what a slow peer never reads is freed at once.
            let _ = rustix::net::sockopt::set_socket_linger(&self.fd, Some(Duration::ZERO));
        }
        let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
    }

    /// Moves on with closing where that can be done.
    pub(super) fn progress(&mut self) {
        if self.phase == Phase::Flushing && self.outbox.waiting() == 0 && !self.sending {
            self.phase = Phase::Draining;
            let _ = rustix::net::shutdown(&self.fd, Shutdown::Write);
        }
        if self.phase == Phase::Draining && self.finished {
            self.end(Why::Asked);
        }
    }

    /// Whether the driver is to wait for input.
    pub(super) fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Open => !self.paused && !self.finished && self.held.is_empty(),
            Phase::Flushing | Phase::Draining => !self.finished,
            Phase::Ending => false,
        }
    }

    /// What to write next, and where to; empty where nothing is to be written.
    pub(super) fn next_write(&mut self) -> (&OwnedFd, &[u8]) {
        match self.phase {
            Phase::Open | Phase::Flushing => (&self.fd, self.outbox.next()),
            Phase::Draining | Phase::Ending => (&self.fd, &[]),
        }
    }

    /// Whether it only waits for its driver to let go.
    pub(super) fn is_ending(&self) -> bool {
        self.phase == Phase::Ending
    }

    /// Whether its driver works on it.
    pub(super) fn is_busy(&self) -> bool {
        self.receiving || self.stopping || self.sending
    }
}
