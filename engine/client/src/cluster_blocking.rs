//! A cluster's session over TCP: one thread an address connects and reads, the caller's thread does all the rest.

use crate::blocking::{ClientError, dial};
use crate::cluster::{Cluster, ClusterEvent, Outcome};
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};
use touchline_protocol::*;

/// The pause before the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long a write may wait for room before the connection counts as broken.
const WRITE_TIMEOUT: Duration = Duration::from_millis(250);
/// Reads that may wait for the caller's thread; readers block beyond, 4 MiB at most.
const READS_MAX: usize = 64;
/// Bytes taken by one read.
const READ_BYTES: usize = 64 * 1024;

/// What the readers tell the caller's thread.
pub(crate) enum Heard {
    Up(usize, TcpStream),
    Bytes(usize, Vec<u8>),
    Down(usize),
    /// Somebody else has work for the caller's thread.
    Woken,
}

/// A client of a cluster that holds a connection to each of its nodes open and outlives all of them.
pub struct ClusterClient {
    cluster: Cluster,
    addresses: Vec<SocketAddr>,
    streams: Vec<Option<TcpStream>>,
    heard: Receiver<Heard>,
    wake: SyncSender<Heard>,
    stopped: Arc<AtomicBool>,
    /// Events that were not handed out yet.
    events: VecDeque<ClusterEvent>,
    woken: bool,
    patience: Duration,
    start: Instant,
}

impl ClusterClient {
    /// Connects to every address and waits until one of them leads; `patience` bounds this and every later wait for an
    /// answer. Nodes that cannot be reached are tried again for as long as the client lives.
    pub fn connect(
        addresses: &[SocketAddr],
        role: Role,
        name: &str,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        let mut client = Self::begin(addresses, role, name, patience);
        let deadline = Instant::now() + patience;
        while client.cluster.leader().is_none() {
            if !client.step(deadline) {
                return Err(client.no_leader());
            }
        }
        Ok(client)
    }

    /// As [`ClusterClient::connect`], but waits for nobody: what is sent meanwhile goes out when a node leads.
    pub fn begin(addresses: &[SocketAddr], role: Role, name: &str, patience: Duration) -> Self {
        let (wake, heard) = sync_channel(READS_MAX);
        let stopped = Arc::new(AtomicBool::new(false));
        for (node, address) in addresses.iter().copied().enumerate() {
            let (wake, stopped) = (wake.clone(), stopped.clone());
            thread::spawn(move || keep_connected(node, address, &wake, &stopped));
        }
        ClusterClient {
            cluster: Cluster::new(addresses.len(), role, name),
            addresses: addresses.to_vec(),
            streams: addresses.iter().map(|_| None).collect(),
            heard,
            wake,
            stopped,
            events: VecDeque::new(),
            woken: false,
            patience,
            start: Instant::now(),
        }
    }

    /// The session, to send without waiting.
    pub fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    /// Sends what is to be sent and waits up to `wait` for something to happen (zero: takes what is there); its events.
    /// A lost node is no error here: requests wait until a node leads.
    pub fn poll(&mut self, wait: Duration) -> Vec<ClusterEvent> {
        let deadline = Instant::now() + wait;
        self.woken = false;
        while self.step(deadline) && self.events.is_empty() && !self.woken {}
        self.events.drain(..).collect()
    }

    /// Sends a command and waits for its answer; other events that arrive meanwhile stay for the next
    /// [`ClusterClient::poll`].
    pub fn command(&mut self, body: impl Into<Body>) -> Result<Done, ClientError> {
        match self.ask(body.into())? {
            Outcome::Done(done) => Ok(done),
            other => Err(self.not_wanted(other)),
        }
    }

    /// Submits a ticket and waits for its final answer; other events that arrive meanwhile stay for the next
    /// [`ClusterClient::poll`].
    pub fn submit(&mut self, ticket: SubmitTicket) -> Result<Decision, ClientError> {
        match self.ask(ticket.into())? {
            Outcome::Decided(decision) => Ok(decision),
            other => Err(self.not_wanted(other)),
        }
    }

    /// What wakes a thread in [`ClusterClient::poll`].
    pub(crate) fn wake(&self) -> SyncSender<Heard> {
        self.wake.clone()
    }

    fn ask(&mut self, body: Body) -> Result<Outcome, ClientError> {
        let wanted = self.cluster.send(body);
        let deadline = Instant::now() + self.patience;
        let mut looked_at = self.events.len();
        loop {
            while looked_at < self.events.len() {
                if matches!(&self.events[looked_at], ClusterEvent::Answered(request, _) if *request == wanted)
                    && let Some(ClusterEvent::Answered(_, outcome)) = self.events.remove(looked_at)
                {
                    return Ok(outcome);
                }
                looked_at += 1;
            }
            if !self.step(deadline) {
                return Err(match self.cluster.leader() {
                    Some(leader) => {
                        ClientError::Late { address: self.addresses[leader], patience: self.patience }
                    }
                    None => self.no_leader(),
                });
            }
        }
    }

    fn not_wanted(&self, outcome: Outcome) -> ClientError {
        match outcome {
            Outcome::Refused(why) => ClientError::Refused(Box::new(why)),
            Outcome::Unknown(body) => ClientError::Lost { body: Box::new(body) },
            Outcome::Done(_) | Outcome::Decided(_) => unreachable!("tickets are decided, commands done"),
        }
    }

    fn no_leader(&self) -> ClientError {
        let addresses = self.addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ");
        ClientError::NoLeader { addresses, patience: self.patience }
    }

    /// Writes what there is, and takes what was heard, waiting for it until the deadline at most; whether there was time
    /// left.
    fn step(&mut self, deadline: Instant) -> bool {
        // Short enough for what is due later; nothing else needs the time.
        const LONGEST: Duration = Duration::from_millis(5);
        self.write();
        let left = deadline.saturating_duration_since(Instant::now());
        match self.heard.recv_timeout(left.min(LONGEST)) {
            Ok(first) => {
                self.take(first);
                while let Ok(next) = self.heard.try_recv() {
                    self.take(next);
                }
                self.write();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => unreachable!("the client holds a sender itself"),
        }
        !left.is_zero()
    }

    fn write(&mut self) {
        let now_ms = self.now_ms();
        self.cluster.tick(now_ms);
        for node in 0..self.streams.len() {
            let Some(stream) = &mut self.streams[node] else { continue };
            let out = self.cluster.take_output(node);
            if !out.is_empty() && stream.write_all(&out).is_err() {
                self.broken(node);
            }
        }
    }

    fn take(&mut self, heard: Heard) {
        let mut events = Vec::new();
        match heard {
            Heard::Up(node, stream) => {
                self.streams[node] = Some(stream);
                self.cluster.connected(node, &mut events);
            }
            // Bytes of a connection that was given up may still be on their way here.
            Heard::Bytes(node, bytes) if self.streams[node].is_some() => {
                let now_ms = self.now_ms();
                if self.cluster.receive(now_ms, node, &bytes, &mut events).is_err() {
                    self.broken(node);
                }
            }
            Heard::Down(node) => self.broken(node),
            Heard::Bytes(..) => {}
            Heard::Woken => self.woken = true,
        }
        self.events.extend(events);
    }

    fn broken(&mut self, node: usize) {
        if let Some(stream) = self.streams[node].take() {
            // The reader notices, tells so, and connects anew.
            let _ = stream.shutdown(Shutdown::Both);
            let mut events = Vec::new();
            self.cluster.broken(node, &mut events);
            self.events.extend(events);
        }
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
}

impl Drop for ClusterClient {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        for stream in self.streams.iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Connects again and again and tells what is read, until the client is gone.
fn keep_connected(node: usize, address: SocketAddr, tell: &SyncSender<Heard>, stopped: &AtomicBool) {
    while !stopped.load(Ordering::Relaxed) {
        if let Ok(stream) = dial(address)
            && read_until_broken(node, stream, tell).is_err()
        {
            return;
        }
        thread::sleep(RETRY_PAUSE);
    }
}

/// The client is gone.
struct Gone;

fn read_until_broken(node: usize, mut stream: TcpStream, tell: &SyncSender<Heard>) -> Result<(), Gone> {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let Ok(writer) = stream.try_clone() else { return Ok(()) };
    tell.send(Heard::Up(node, writer)).map_err(|_| Gone)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => tell.send(Heard::Bytes(node, buffer[..count].to_vec())).map_err(|_| Gone)?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    tell.send(Heard::Down(node)).map_err(|_| Gone)
}
