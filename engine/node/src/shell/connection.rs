//! Connections: a listening thread, and for each connection one thread that reads and one that writes.

use crate::shell::pipeline::{Entrance, ToGate, ToSequencer};
use crate::stage::admission::Closed;
use crate::stage::egress::Outbound;
use crate::stage::ingress::{HangUp, Inbound, Ingress, PROTOCOL_VERSION, refused};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use touchline_core::{Effect, Input};
use touchline_protocol::*;

/// Bytes handed to a socket at once.
const WRITE_BYTES: usize = 64 * 1024;
/// How long a sender of commands other than tickets waits between looks for a place.
const PLACE_WAIT: Duration = Duration::from_micros(200);
/// How long connections may take at the end to read what still waits for them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The connection takes nothing more: it is closed, or the node stops.
struct Ended;

/// What a connection is to be sent, and its writer's bell.
pub(crate) struct Mailbox {
    outbound: Mutex<Outbound>,
    bell: Condvar,
    closed: AtomicBool,
    stream: TcpStream,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Outbound> {
        self.outbound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is to be sent.
    pub(crate) fn with(&self, change: impl FnOnce(&mut Outbound)) {
        change(&mut self.lock());
        self.bell.notify_one();
    }

    /// Offers an effect for a general audience.
    pub(crate) fn offer(&self, effect: &Effect) {
        let mut outbound = self.lock();
        if !outbound.takes(effect) {
            return;
        }
        let overrun = outbound.offer(effect).is_err();
        drop(outbound);
        self.after(overrun);
    }

    /// Queues an answer.
    pub(crate) fn send(&self, seq: Seq, partition: PartitionId, request: u64, body: &Body) {
        let overrun = self.lock().send(seq, partition, request, body).is_err();
        self.after(overrun);
    }

    fn after(&self, overrun: bool) {
        if overrun && !self.closed.load(Ordering::Relaxed) {
            tracing::warn!(peer = ?self.stream.peer_addr().ok(), "closed: it does not read what it is sent");
            self.close();
        }
        self.bell.notify_one();
    }

    /// Ends the connection at once.
    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        let _ = self.stream.shutdown(Shutdown::Both);
        self.bell.notify_one();
    }
}

/// The open connections.
pub(crate) struct Connections {
    open: RwLock<BTreeMap<u64, Arc<Mailbox>>>,
    committed: AtomicU64,
}

impl Connections {
    pub(crate) fn new() -> Self {
        Connections { open: RwLock::new(BTreeMap::new()), committed: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, id: u64) -> Option<Arc<Mailbox>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Mailbox>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn set_committed(&self, seq: Seq) {
        self.committed.store(seq.0, Ordering::Relaxed);
    }

    /// The last committed sequence.
    pub(crate) fn committed(&self) -> Seq {
        Seq(self.committed.load(Ordering::Relaxed))
    }

    fn count(&self) -> usize {
        self.open.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn insert(&self, id: u64, mailbox: Arc<Mailbox>) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(id, mailbox);
    }

    fn remove(&self, id: u64) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }
}

/// What every connection of this start shares.
pub(crate) struct Listening {
    pub(crate) cluster: u64,
    pub(crate) epoch: Epoch,
    pub(crate) partitions: u16,
    pub(crate) connections_max: usize,
    pub(crate) outbound_bytes_max: usize,
    pub(crate) stop: Arc<AtomicBool>,
}

/// Accepts connections until told to stop; then closes the reading side of all and waits for their readers.
pub(crate) fn listen(listener: TcpListener, shared: Listening, entrance: Entrance) -> JoinHandle<()> {
    let work = move || {
        let shared = Arc::new(shared);
        let mut readers: Vec<JoinHandle<()>> = Vec::new();
        let mut next = shared.epoch.0 << 32;
        for stream in listener.incoming() {
            if shared.stop.load(Ordering::Relaxed) {
                break;
            }
            readers.retain(|reader| !reader.is_finished());
            let stream = match stream {
                Ok(stream) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: those that are open go on.
                    tracing::warn!(%error, "a connection could not be accepted");
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
            };
            next += 1;
            readers.extend(open(next, stream, &shared, &entrance));
        }
        for mailbox in entrance.connections.all() {
            let _ = mailbox.stream.shutdown(Shutdown::Read);
        }
        for reader in readers {
            let _ = reader.join();
        }
    };
    std::thread::Builder::new().name("listen".into()).spawn(work).expect("the system can start a thread")
}

fn open(id: u64, stream: TcpStream, shared: &Arc<Listening>, entrance: &Entrance) -> Option<JoinHandle<()>> {
    if entrance.connections.count() >= shared.connections_max {
        refuse_connection(stream, shared);
        return None;
    }
    let _ = stream.set_nodelay(true);
    let (reading, writing) = (stream.try_clone().ok()?, stream.try_clone().ok()?);
    let outbound = Outbound::new(shared.cluster, shared.epoch, shared.outbound_bytes_max);
    let mailbox = Arc::new(Mailbox {
        outbound: Mutex::new(outbound),
        bell: Condvar::new(),
        closed: AtomicBool::new(false),
        stream,
    });
    entrance.connections.insert(id, Arc::clone(&mailbox));
    let connection = Connection {
        id,
        mailbox: Arc::clone(&mailbox),
        entrance: entrance.clone(),
        shared: Arc::clone(shared),
    };
    let writer =
        std::thread::Builder::new().name(format!("out-{id}")).spawn(move || write(&mailbox, writing)).ok()?;
    let reader = std::thread::Builder::new().name(format!("in-{id}"));
    reader.spawn(move || connection.read(reading, writer)).ok()
}

fn refuse_connection(mut stream: TcpStream, shared: &Listening) {
    let note = format!("this node serves at most {} connections; try again later", shared.connections_max);
    let body = refused(0, Code::Overloaded, None, &note).into();
    let mut bytes = Vec::new();
    frame::encode(&Envelope::session(shared.cluster, shared.epoch, 0), &body, &mut bytes);
    let _ = stream.write_all(&bytes);
}

struct Connection {
    id: u64,
    mailbox: Arc<Mailbox>,
    entrance: Entrance,
    shared: Arc<Listening>,
}

impl Connection {
    fn read(self, mut stream: TcpStream, writer: JoinHandle<()>) {
        let mut ingress = Ingress::new();
        let mut buffer = vec![0; WRITE_BYTES];
        let mut inbound = Vec::new();
        loop {
            let count = match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            let end = ingress.receive(&buffer[..count], &mut inbound);
            if inbound.drain(..).try_for_each(|message| self.handle(message)).is_err() {
                break;
            }
            if let Err(HangUp(why)) = end {
                tracing::info!(connection = self.id, why = why.note.as_str(), "closed: not a frame");
                self.reply(0, &why.into());
                break;
            }
        }
        self.leave(writer);
    }

    /// One message. Where the connection has ended, what it sent and nobody took counts as never arrived.
    fn handle(&self, inbound: Inbound) -> Result<(), Ended> {
        // A closed reading side still gives what has arrived, and a sender that goes on would be read for ever.
        if self.has_ended() {
            return Err(Ended);
        }
        match inbound {
            Inbound::Hello(hello) => {
                tracing::debug!(
                    connection = self.id,
                    role = hello.role.name(),
                    name = hello.name.as_str(),
                    "hello"
                );
                let welcome = Welcome {
                    version: PROTOCOL_VERSION,
                    partitions: self.shared.partitions,
                    committed: self.entrance.connections.committed(),
                    frame_bytes_max: MAX_FRAME_BYTES as u32,
                };
                self.reply(0, &welcome.into());
            }
            Inbound::Ping(number) => {
                let pong = Pong { number, committed: self.entrance.connections.committed() };
                self.reply(0, &pong.into());
            }
            Inbound::Subscribe(wants) => {
                let _ = self.entrance.gate.send(ToGate::Subscribe(self.id, wants));
            }
            Inbound::Refuse(request, why) => self.reply(request, &why.into()),
            Inbound::Command { frame, kind, role, request, ticket } => {
                return self.command((role, frame), kind, request, ticket);
            }
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed) || self.mailbox.closed.load(Ordering::Relaxed)
    }

    /// Takes a place for a command and sends it on. A ticket that finds none is refused at once; the sender of
    /// anything else waits, which holds its socket back; not beyond the connection's end, since then the answer that
    /// would give back a place may never come.
    fn command(
        &self,
        (role, frame): (Role, Vec<u8>),
        kind: Kind,
        request: u64,
        ticket: Option<(BrandId, TicketId)>,
    ) -> Result<(), Ended> {
        if ticket.is_some() {
            if let Err(closed) = self.entrance.admission.ticket() {
                let (code, note) = match closed {
                    Closed::Overloaded => {
                        (Code::Overloaded, "too many tickets are inside; send it again later")
                    }
                    Closed::DiskFull => {
                        (Code::DiskFull, "the journal cannot grow; tell the operator of this node")
                    }
                };
                self.reply(request, &refused(kind as u16, code, ticket, note).into());
                return Ok(());
            }
        } else {
            while self.entrance.admission.other().is_err() {
                if self.has_ended() {
                    return Err(Ended);
                }
                std::thread::sleep(PLACE_WAIT);
            }
        }
        let input = Input::Client { origin: self.id, role, frame };
        self.entrance.sequencer.send(ToSequencer::Input(input)).map_err(|_| Ended)
    }

    fn reply(&self, request: u64, body: &Body) {
        self.mailbox.send(Seq(0), PartitionId::NONE, request, body);
    }

    /// The peer is gone, or wants no more; what waits for it is still written where it reads.
    fn leave(self, writer: JoinHandle<()>) {
        if self.shared.stop.load(Ordering::Relaxed) {
            // Answers to what is inside still come; the node closes the mailbox when the last has passed.
            let _ = writer.join();
        } else {
            self.mailbox.closed.store(true, Ordering::Relaxed);
            self.mailbox.bell.notify_one();
            let _ = self.mailbox.stream.set_write_timeout(Some(Duration::from_secs(1)));
            let _ = writer.join();
        }
        self.entrance.connections.remove(self.id);
        let _ = self.mailbox.stream.shutdown(Shutdown::Both);
    }
}

/// Writes what waits, until the mailbox is closed and empty or the socket fails.
fn write(mailbox: &Mailbox, mut stream: TcpStream) {
    let mut bytes = Vec::new();
    loop {
        let mut outbound = mailbox.lock();
        while outbound.is_empty() {
            if mailbox.closed.load(Ordering::Relaxed) {
                return;
            }
            let waited = mailbox.bell.wait_timeout(outbound, Duration::from_millis(200));
            outbound = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        bytes.clear();
        outbound.take(WRITE_BYTES, &mut bytes);
        drop(outbound);
        if stream.write_all(&bytes).is_err() {
            mailbox.close();
            return;
        }
    }
}

/// Ends every connection once what waits for it is written, and those that do not read it soon.
pub(crate) fn close_all(connections: &Connections) {
    for mailbox in connections.all() {
        mailbox.closed.store(true, Ordering::Relaxed);
        mailbox.bell.notify_one();
    }
    let begun = Instant::now();
    while connections.count() > 0 && begun.elapsed() < LAST_WORDS {
        std::thread::sleep(Duration::from_millis(1));
    }
    connections.all().iter().for_each(|mailbox| mailbox.close());
}
