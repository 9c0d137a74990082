//! A byte stream each way between two processes of one machine, in a file that both map.
//!
//! One side serves the path, one side at a time attaches to it. Each direction is a ring with one writer and one
//! reader; each side keeps its own cursor in private memory and only publishes it, so that the file's contents are
//! never trusted: of the peer's cursors it takes what lies within what can be, and of the data it takes copies.
//!
//! Who lives is told by locks on files, which the system drops with the process that held them: `PATH` itself is
//! locked by the server (a new one replaces the file, so that an old client sees that its server is gone),
//! `PATH.client` by the client, `PATH.lock` by the server against a second server.
//!
//! **Limit of the distrust:** whoever may write to the file may also shorten it, and touching what was cut off ends a
//! process. The file is made for its owner alone; services of other owners come over TCP.

mod mapping;

use mapping::Mapping;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::thread::futex;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

const MAGIC: u64 = u64::from_le_bytes(*b"TLSHMEM\0");
const VERSION: u32 = 1;
/// Bytes of a ring: a power of two within this range.
const CAPACITIES: std::ops::RangeInclusive<usize> = 4096..=1 << 30;

// The header: every word that one side writes often has a pair of cache lines of its own.
const AT_MAGIC: usize = 0;
const AT_VERSION: usize = 8;
const AT_CAPACITY: usize = 12;
/// Counts the clients that were given up, from 1; written by the server.
const AT_GENERATION: usize = 16;
/// The generation that a client came into; written by the client.
const AT_CLAIMED: usize = 128;
/// Written and read cursors, to the server and to the client.
const AT_CURSORS: [[usize; 2]; 2] = [[256, 384], [512, 640]];
/// Bells of the server and of the client: a counter, and behind it whether its owner sleeps.
const AT_BELLS: [usize; 2] = [768, 896];
const HEADER: usize = 4096;
const _: () = assert!(AT_BELLS[1] + 128 <= HEADER);

/// Why there is no stream, or no more of it.
#[derive(Debug, thiserror::Error)]
pub enum ShmError {
    /// A file could not be opened, made or mapped.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The capacity is not a power of two from 4 KiB to 1 GiB.
    #[error("{0} bytes is not a power of two from 4096 to 1073741824")]
    Capacity(usize),
    /// Another process serves this path.
    #[error("{0}: another process serves it already")]
    AlreadyServed(PathBuf),
    /// The file is not one of these, or of another version.
    #[error("{path}: {why}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Nobody serves this path; the server is to be started first.
    #[error("{0}: nobody serves it")]
    NotServed(PathBuf),
    /// Another client is attached, or the server has not yet noticed that it left. Trying again may help.
    #[error("{0}: another client is attached")]
    Busy(PathBuf),
    /// The other process is gone, or has given this client up. A server goes on with [`Channel::renew`], a client
    /// attaches again.
    #[error("the other process is gone")]
    Gone,
    /// The peer wrote a cursor that cannot be. The stream is lost; as for [`ShmError::Gone`].
    #[error("the other process wrote an impossible cursor")]
    Corrupt,
}

/// What is known of the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// No client has come since the start or the last [`Channel::renew`].
    Absent,
    /// It lives.
    Present,
    /// It was there, and is no more. What it wrote before can still be read.
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Server = 0,
    Client = 1,
}

/// One side of the pair of streams. It may move between threads; it is used by one at a time.
pub struct Channel {
    mapping: Mapping,
    capacity: usize,
    side: Side,
    generation: u64,
    /// Cursors count bytes since the generation began and never wrap: a ring at 10 GB/s takes 58 years.
    written: u64,
    read: u64,
    /// The peer's cursors as last seen; they may not go back.
    peer_written: u64,
    peer_read: u64,
    /// Locked by the server as long as it lives.
    data: File,
    /// Locked by the client as long as it lives.
    client: File,
    /// Held for its lock.
    _serving: Option<File>,
}

impl Channel {
    /// Serves a path with rings of `capacity` bytes each way, replacing what an earlier server left there.
    ///
    /// # Errors
    ///
    /// [`ShmError`]: capacity, files, or another server.
    pub fn serve(path: &Path, capacity: usize) -> Result<Channel, ShmError> {
        if !capacity.is_power_of_two() || !CAPACITIES.contains(&capacity) {
            return Err(ShmError::Capacity(capacity));
        }
        let serving = open(&beside(path, "lock"), false)?;
        if !lock(&serving) {
            return Err(ShmError::AlreadyServed(path.into()));
        }
        let fresh = beside(path, "new");
        let data = open(&fresh, true)?;
        let file = |error| ShmError::File { path: path.into(), error };
        data.set_len((HEADER + 2 * capacity) as u64).map_err(file)?;
        let mapping = Mapping::new(&data, HEADER + 2 * capacity).map_err(file)?;
        mapping.half(AT_VERSION).store(VERSION, Ordering::Relaxed);
        mapping.half(AT_CAPACITY).store(capacity as u32, Ordering::Relaxed);
        mapping.word(AT_GENERATION).store(1, Ordering::Relaxed);
        mapping.word(AT_MAGIC).store(MAGIC, Ordering::Release);
        lock(&data); // nobody knows the file yet
        let client = open(&beside(path, "client"), false)?;
        std::fs::rename(&fresh, path).map_err(file)?;
        Ok(Channel::new(mapping, capacity, Side::Server, 1, [data, client], Some(serving)))
    }

    /// Attaches to a path that is served.
    ///
    /// # Errors
    ///
    /// [`ShmError`]: files, a foreign one, nobody serves it, or another client is attached.
    pub fn attach(path: &Path) -> Result<Channel, ShmError> {
        let file = |error| ShmError::File { path: path.into(), error };
        let foreign = |why| Err(ShmError::Foreign { path: path.into(), why });
        let data = OpenOptions::new().read(true).write(true).open(path).map_err(file)?;
        if lock(&data) {
            return Err(ShmError::NotServed(path.into()));
        }
        let length = usize::try_from(data.metadata().map_err(file)?.len()).unwrap_or(0);
        if length < HEADER {
            return foreign("it is too short to be a pair of rings");
        }
        let mapping = Mapping::new(&data, length).map_err(file)?;
        if mapping.word(AT_MAGIC).load(Ordering::Acquire) != MAGIC {
            return foreign("it is not a pair of rings");
        }
        if mapping.half(AT_VERSION).load(Ordering::Relaxed) != VERSION {
            return foreign("it is of another version of this program");
        }
        // Read once: what is checked is what is used.
        let capacity = mapping.half(AT_CAPACITY).load(Ordering::Relaxed) as usize;
        let is_possible = capacity.is_power_of_two() && CAPACITIES.contains(&capacity);
        if !is_possible || length != HEADER + 2 * capacity {
            return foreign("its length does not fit its capacity");
        }
        let client = open(&beside(path, "client"), false)?;
        if !lock(&client) {
            return Err(ShmError::Busy(path.into()));
        }
        let generation = mapping.word(AT_GENERATION).load(Ordering::Acquire);
        let channel = Channel::new(mapping, capacity, Side::Client, generation, [data, client], None);
        if channel.mapping.word(AT_CLAIMED).load(Ordering::Acquire) == generation {
            // The client before this one left, and the server has yet to notice: dropping the channel rings its bell.
            return Err(ShmError::Busy(path.into()));
        }
        channel.mapping.word(AT_CLAIMED).store(generation, Ordering::Release);
        channel.ring_bell();
        Ok(channel)
    }

    fn new(
        mapping: Mapping,
        capacity: usize,
        side: Side,
        generation: u64,
        [data, client]: [File; 2],
        serving: Option<File>,
    ) -> Channel {
        Channel {
            mapping,
            capacity,
            side,
            generation,
            written: 0,
            read: 0,
            peer_written: 0,
            peer_read: 0,
            data,
            client,
            _serving: serving,
        }
    }

    /// Appends what the peer has written to `into`, at most a ring's capacity, and returns how much that was.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`], [`ShmError::Gone`].
    pub fn read(&mut self, into: &mut Vec<u8>) -> Result<usize, ShmError> {
        if !self.is_attached()? {
            return Ok(0);
        }
        let count = self.readable()?;
        if count == 0 {
            return Ok(0);
        }
        let (first, rest) = self.parts(self.read, count);
        let start = self.data_start(self.incoming());
        self.mapping.copy_out(start + first.start, first.len(), into);
        self.mapping.copy_out(start, rest, into);
        self.read += count as u64;
        // The copy is complete before the writer may write over what was copied.
        self.cursor(self.incoming(), 1).store(self.read, Ordering::Release);
        self.ring_bell();
        Ok(count)
    }

    /// Writes as much of `data` as there is room for, and returns how much that was; 0 too where no peer is attached.
    ///
    /// # Errors
    ///
    /// [`ShmError::Corrupt`], [`ShmError::Gone`].
    pub fn write(&mut self, data: &[u8]) -> Result<usize, ShmError> {
        if !self.is_attached()? {
            return Ok(0);
        }
        let count = self.room()?.min(data.len());
        if count == 0 {
            return Ok(0);
        }
        let (first, rest) = self.parts(self.written, count);
        let start = self.data_start(self.outgoing());
        let split = first.len();
        self.mapping.copy_in(start + first.start, &data[..split]);
        self.mapping.copy_in(start, &data[split..split + rest]);
        self.written += count as u64;
        // The data is there before the reader is told.
        self.cursor(self.outgoing(), 0).store(self.written, Ordering::Release);
        self.ring_bell();
        Ok(count)
    }

    /// Looks whether the other process lives: a system call or two, so for quiet moments. A server notices only here
    /// that its client is gone.
    pub fn peer(&self) -> Peer {
        let is_gone = match self.side {
            Side::Server if !self.is_claimed() => return Peer::Absent,
            Side::Server => is_free(&self.client),
            Side::Client => is_free(&self.data) || self.is_given_up(),
        };
        if is_gone { Peer::Gone } else { Peer::Present }
    }

    /// Begins anew for the next client; what the last one wrote and was not read is lost. For the server; a client
    /// attaches again instead.
    ///
    /// # Panics
    ///
    /// On a client.
    pub fn renew(&mut self) {
        assert!(self.side == Side::Server, "a client cannot renew a channel");
        [self.written, self.read, self.peer_written, self.peer_read] = [0; 4];
        for cursor in AT_CURSORS.as_flattened() {
            self.mapping.word(*cursor).store(0, Ordering::Relaxed);
        }
        self.generation += 1;
        self.mapping.word(AT_GENERATION).store(self.generation, Ordering::Release);
        self.ring_bell();
    }

    /// Sleeps until there is something to read, or to write to where `for_room` is set, or the peer comes or goes, or
    /// the time has passed. It may return early for no reason, and does not notice a crash.
    ///
    /// # Errors
    ///
    /// As [`Channel::read`].
    pub fn wait(&mut self, for_room: bool, time: Duration) -> Result<(), ShmError> {
        let bell = AT_BELLS[self.side as usize];
        let seen = self.mapping.half(bell).load(Ordering::Acquire);
        self.mapping.half(bell + 4).store(1, Ordering::Relaxed);
        // Pairs with the fence in `ring_bell`: either this side sees the bytes, or the other sees it asleep.
        fence(Ordering::SeqCst);
        let is_attached = self.is_attached()?;
        let something = is_attached && (self.readable()? > 0 || (for_room && self.room()? > 0));
        if !something {
            let time = rustix::event::Timespec {
                tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: time.subsec_nanos().into(),
            };
            // Rung meanwhile, interrupted or timed out: the caller looks for itself.
            let _ = futex::wait(self.mapping.half(bell), futex::Flags::empty(), seen, Some(&time));
        }
        self.mapping.half(bell + 4).store(0, Ordering::Relaxed);
        Ok(())
    }

    fn ring_bell(&self) {
        let bell = AT_BELLS[1 - self.side as usize];
        fence(Ordering::SeqCst);
        if self.mapping.half(bell + 4).load(Ordering::Relaxed) != 0 {
            self.mapping.half(bell).fetch_add(1, Ordering::Release);
            let _ = futex::wake(self.mapping.half(bell), futex::Flags::empty(), 1);
        }
    }

    /// Bytes that can be read now, judged by the peer's cursor.
    fn readable(&mut self) -> Result<usize, ShmError> {
        let written = self.cursor(self.incoming(), 0).load(Ordering::Acquire);
        if written < self.peer_written || written - self.read > self.capacity as u64 {
            return Err(ShmError::Corrupt);
        }
        self.peer_written = written;
        Ok((written - self.read) as usize)
    }

    /// Bytes that can be written now, judged by the peer's cursor.
    fn room(&mut self) -> Result<usize, ShmError> {
        let read = self.cursor(self.outgoing(), 1).load(Ordering::Acquire);
        if read < self.peer_read || read > self.written {
            return Err(ShmError::Corrupt);
        }
        self.peer_read = read;
        // At most a capacity behind, for this side never wrote further.
        Ok(self.capacity - (self.written - read) as usize)
    }

    fn is_attached(&self) -> Result<bool, ShmError> {
        match self.side {
            Side::Server => Ok(self.is_claimed()),
            Side::Client if self.is_given_up() => Err(ShmError::Gone),
            Side::Client => Ok(true),
        }
    }

    fn is_claimed(&self) -> bool {
        self.mapping.word(AT_CLAIMED).load(Ordering::Acquire) == self.generation
    }

    fn is_given_up(&self) -> bool {
        self.mapping.word(AT_GENERATION).load(Ordering::Acquire) != self.generation
    }

    /// The ring that this side reads.
    fn incoming(&self) -> usize {
        self.side as usize
    }

    /// The ring that this side writes.
    fn outgoing(&self) -> usize {
        1 - self.side as usize
    }

    fn cursor(&self, ring: usize, which: usize) -> &AtomicU64 {
        self.mapping.word(AT_CURSORS[ring][which])
    }

    fn data_start(&self, ring: usize) -> usize {
        HEADER + ring * self.capacity
    }

    /// Where `count` bytes from a cursor on lie in a ring: up to its end, and how many from its start.
    fn parts(&self, cursor: u64, count: usize) -> (std::ops::Range<usize>, usize) {
        let from = cursor as usize & (self.capacity - 1);
        let to = (from + count).min(self.capacity);
        (from..to, count - (to - from))
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // The lock goes first, so that whoever is woken finds this side gone.
        let file = if self.side == Side::Server { &self.data } else { &self.client };
        let _ = flock(file, FlockOperation::Unlock);
        self.ring_bell();
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn open(path: &Path, fresh: bool) -> Result<File, ShmError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(fresh).mode(0o600);
    options.open(path).map_err(|error| ShmError::File { path: path.into(), error })
}

/// Takes a lock for as long as the file is open; false where another holds it.
fn lock(file: &File) -> bool {
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::INTR) => {}
            outcome => return outcome.is_ok(),
        }
    }
}

/// Whether nobody holds the lock.
fn is_free(file: &File) -> bool {
    let is_free = lock(file);
    if is_free {
        let _ = flock(file, FlockOperation::Unlock);
    }
    is_free
}
