//! Reading a journal back: every check of every frame, and what to do about a damaged end.
//!
//! A damaged group is a *tail* only if no later group follows it, in its segment or a later one; anything else
//! is damage in the middle, and nothing is changed. A node that is alone cannot tell a torn last group from a
//! rotted one, so recovery reports exactly what it cut.

use crate::aligned;
use crate::base::{self, Base};
use crate::layout::{BLOCK, GROUP_HEADER, GroupHeader, GroupStart, SegmentHeader, SegmentStart};
use crate::storage::Storage;
use crate::window::Window;
use crate::writer::{Position, Writer};
use std::fmt;
use touchline_protocol::frame::{FrameError, MAGIC};
use touchline_protocol::{At, ChainHash, Epoch, FrameRef, Seq};
use zerocopy::IntoBytes;

/// Why a journal cannot be used as it is.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError<E: std::error::Error + 'static> {
    /// The disk refused.
    #[error("reading the journal failed: {0}")]
    Storage(#[source] E),
    /// A group in the middle is damaged.
    #[error(
        "segment {generation}, offset {offset}: {why}, but valid groups follow in segment {later_generation} at {later_offset}: \
         this is damage in the middle, not a torn end; restore the journal from a copy, nothing was changed"
    )]
    Damage {
        /// Segment.
        generation: u64,
        /// Offset of the damage.
        offset: u64,
        /// What is wrong.
        why: String,
        /// Segment of the valid group behind it.
        later_generation: u64,
        /// Its offset.
        later_offset: u64,
    },
    /// Bytes with a good checksum that contradict each other.
    #[error(
        "segment {generation}, offset {offset}: {why}; this journal was not written by one node in one go, restore it from a copy"
    )]
    Contradiction {
        /// Segment.
        generation: u64,
        /// Offset.
        offset: u64,
        /// What contradicts.
        why: String,
    },
    /// The journal belongs to another cluster.
    #[error(
        "the journal belongs to cluster {found}, this node to {wanted}; check cluster.id and the journal folder"
    )]
    Cluster {
        /// In the journal.
        found: u64,
        /// In the configuration.
        wanted: u64,
    },
    /// The front of the log is gone, and what stands for it is not there.
    #[error(
        "the log begins with frame {first}; what came before it only a snapshot stands for, and {}",
        .base.map_or("none was given".to_owned(), |base| format!("the one given ends at frame {base}"))
    )]
    Front {
        /// The first frame that is there.
        first: Seq,
        /// The frame of the snapshot, where there was one.
        base: Option<Seq>,
    },
    /// Another version of the program wrote it.
    #[error(
        "segment {generation}: the {what} has version {found}, this program reads version {known}: {}, nothing was changed",
        if found > known { "use the version of the program that wrote it, or a later one" } else { "it takes an earlier version of the program" }
    )]
    Version {
        /// Segment.
        generation: u64,
        /// What has a version.
        what: &'static str,
        /// Its version.
        found: u8,
        /// The version that this program writes and reads.
        known: u8,
    },
    /// Whoever reads the frames refused one.
    #[error("frame {seq}: {why}")]
    Visitor {
        /// The frame.
        seq: Seq,
        /// Why.
        why: String,
    },
}

/// A damaged end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Segment.
    pub generation: u64,
    /// Offset from which on nothing is used.
    pub offset: u64,
    /// Bytes from there to the last one that is not zero.
    pub bytes: u64,
    /// Frames that could still be read in it, none of which was ever acknowledged unless the disk rotted.
    pub readable: Vec<Seq>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cut { generation, offset, bytes, .. } = self;
        write!(f, "segment {generation}, offset {offset}: {bytes} bytes of an unfinished write cut off")
    }
}

/// How a journal ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With a whole group.
    Clean,
    /// With a damaged one.
    Torn(Cut),
}

/// What a journal holds.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// Where it ends.
    pub position: Position,
    /// Whether a spare segment stands ready.
    pub spare: bool,
    /// Frames read.
    pub frames: u64,
    /// Segments with frames.
    pub segments: u64,
    /// Epoch of the last frame.
    pub epoch: Epoch,
    /// Logical time of the last frame.
    pub at: At,
    /// How it ends.
    pub tail: Tail,
}

/// Place of the last byte that is not zero: what follows the log in a segment is mostly zeros, so blocks are judged whole.
fn last_set(bytes: &[u8]) -> Option<usize> {
    let is_set = |block: &[u8]| block.iter().fold(0, |all, byte| all | byte) != 0;
    let block = bytes.chunks(BLOCK as usize).rposition(is_set)? * BLOCK as usize;
    let last = bytes[block..].iter().take(BLOCK as usize).rposition(|byte| *byte != 0)?;
    Some(block + last)
}

/// What is told of every frame; its error ends the reading.
pub type Visit<'a> = &'a mut dyn FnMut(FrameRef<'_>) -> Result<(), String>;

/// Reads a journal, hands every frame to `visit` and changes nothing. `base` is the snapshot that stands for what is
/// missing at its front: frames up to it are handed over where they are still there.
pub fn read<S: Storage>(
    storage: &S,
    base: Option<&Base>,
    visit: Visit<'_>,
) -> Result<Recovered, RecoverError<S::Error>> {
    let (mut found, end) = scan(storage, base, visit)?;
    found.reach(base);
    end.map(|()| found)
}

/// Reads a journal up to its end, or up to what stops it.
fn scan<S: Storage>(
    storage: &S,
    base: Option<&Base>,
    visit: Visit<'_>,
) -> Result<(Recovered, Step<S>), RecoverError<S::Error>> {
    let generations = storage.list().map_err(RecoverError::Storage)?;
    let Outline { last_valid, skip, gone } = outline(storage, base, &generations)?;
    if let Some(first) = gone {
        return Ok((empty(), Err(RecoverError::Front { first, base: base.map(|base| base.seq) })));
    }
    let mut scan = Scan {
        storage,
        visit,
        base,
        window: Window::default(),
        found: empty(),
        torn: None,
        last_valid: Seq(0),
        kept: None,
    };
    for (generation, last_valid) in generations.into_iter().zip(last_valid).skip(skip) {
        scan.last_valid = last_valid;
        let end = scan.segment(generation);
        if end.is_err() {
            return Ok((scan.found, end));
        }
    }
    Ok((scan.found, Ok(())))
}

/// What the headers of the segments say together.
struct Outline {
    /// Of each segment the last sequence that no later segment takes back: a log is cut by a segment that begins before the
    /// one before it ends.
    last_valid: Vec<Seq>,
    /// How many segments at the front hold nothing that is needed behind the base.
    skip: usize,
    /// The first frame that is there, where it does not follow the base, or nothing.
    gone: Option<Seq>,
}

fn outline<S: Storage>(
    storage: &S,
    base: Option<&Base>,
    generations: &[u64],
) -> Result<Outline, RecoverError<S::Error>> {
    let mut limits = vec![Seq(u64::MAX); generations.len()];
    let (mut least, mut starts) = (u64::MAX, vec![None; generations.len()]);
    for (place, generation) in generations.iter().enumerate().rev() {
        limits[place] = Seq(least);
        if let Some(start) = base::start_of(storage, *generation).map_err(RecoverError::Storage)? {
            least = least.min(start.first_seq.saturating_sub(1));
            starts[place] = Some(start.first_seq);
        }
    }
    let skip = base.map_or(0, |base| base::first_needed(&starts, base.seq));
    let front = starts.first().copied().flatten().map(|_| Seq(least + 1));
    let gone = front.filter(|first| first.0 > base.map_or(0, |base| base.seq.0) + 1);
    Ok(Outline { last_valid: limits, skip, gone })
}

/// Recovers the journal of a node that is alone: reads it, cuts a damaged end, and gives a writer behind it.
pub fn recover<S: Storage>(
    storage: S,
    cluster: u64,
    segment_bytes: u64,
    base: Option<&Base>,
    visit: Visit<'_>,
) -> Result<(Writer<S>, Recovered), RecoverError<S::Error>> {
    match salvage(storage, cluster, segment_bytes, base, visit)? {
        (writer, recovered, None) => Ok((writer, recovered)),
        (.., Some(damage)) => Err(damage),
    }
}

/// As [`recover`], for a node whose peer has what this journal may lack: where it is damaged in the middle, the writer
/// stands behind its sound front, and what is wrong is told. Nothing is changed then; but the first append takes
/// everything back that stands behind the front, so nothing may be appended before the peer's log was seen.
#[expect(clippy::type_complexity, reason = "three things that belong together only here")]
pub fn salvage<S: Storage>(
    mut storage: S,
    cluster: u64,
    segment_bytes: u64,
    base: Option<&Base>,
    visit: Visit<'_>,
) -> Result<(Writer<S>, Recovered, Option<RecoverError<S::Error>>), RecoverError<S::Error>> {
    let (mut recovered, end) = scan(&storage, base, visit)?;
    let damage = match end {
        Ok(()) => None,
        Err(damage @ (RecoverError::Damage { .. } | RecoverError::Contradiction { .. })) => Some(damage),
        Err(gone @ RecoverError::Front { .. }) => Some(gone),
        Err(error) => return Err(error),
    };
    if recovered.frames > 0 && recovered.position.cluster != cluster {
        return Err(RecoverError::Cluster { found: recovered.position.cluster, wanted: cluster });
    }
    recovered.position.cluster = cluster;
    if recovered.reach(base) || damage.is_some() {
        // A spare segment is still the next one, so that there is never one without header in the middle.
        recovered.spare &= damage.is_none();
        behind_all(&storage, segment_bytes, &mut recovered).map_err(RecoverError::Storage)?;
        fit_spare(&mut storage, segment_bytes, &recovered).map_err(RecoverError::Storage)?;
    } else {
        if let Tail::Torn(cut) = &recovered.tail {
            // Zeroed durably before anything is appended, so that no later reader takes the rest for a group.
            let zeros = aligned::zeros(cut.bytes);
            let size = storage.size(cut.generation).map_err(RecoverError::Storage)?;
            let zeros = zeros.as_bytes();
            let length = (size - cut.offset).min(zeros.len() as u64) as usize;
            storage.write(cut.generation, cut.offset, &zeros[..length]).map_err(RecoverError::Storage)?;
        }
        fit(&mut storage, segment_bytes, &mut recovered).map_err(RecoverError::Storage)?;
    }
    let writer = Writer::new(storage, segment_bytes, recovered.position, recovered.spare);
    Ok((writer, recovered, damage))
}

/// The next segment comes behind all that are there, and its groups behind all that may be in them.
fn behind_all<S: Storage>(
    storage: &S,
    segment_bytes: u64,
    recovered: &mut Recovered,
) -> Result<(), S::Error> {
    let at = &mut recovered.position;
    for generation in storage.list()? {
        let size = storage.size(generation)?;
        let mut block = vec![0; BLOCK.min(size) as usize];
        storage.read(generation, 0, &mut block)?;
        let first = SegmentHeader::parse(&block).map_or(at.group, |start| start.first_group);
        at.group = at.group.max(first).saturating_add(size / BLOCK);
        at.generation = generation;
    }
    at.generation -= u64::from(recovered.spare);
    at.offset = segment_bytes;
    Ok(())
}

/// Where segments of another size were configured before: one that is too small takes nothing more, and a spare
/// is made anew.
fn fit<S: Storage>(storage: &mut S, segment_bytes: u64, recovered: &mut Recovered) -> Result<(), S::Error> {
    let at = &mut recovered.position;
    if at.generation > 0 && storage.size(at.generation)? < segment_bytes {
        at.offset = segment_bytes;
    }
    fit_spare(storage, segment_bytes, recovered)
}

fn fit_spare<S: Storage>(storage: &mut S, segment_bytes: u64, recovered: &Recovered) -> Result<(), S::Error> {
    let at = &recovered.position;
    if recovered.spare && storage.size(at.generation + 1)? != segment_bytes {
        storage.create(at.generation + 1, segment_bytes)?;
    }
    Ok(())
}

impl Recovered {
    /// A log that ends before the base ends at it: the snapshot has what the segments lack. Whether that is so.
    fn reach(&mut self, base: Option<&Base>) -> bool {
        let Some(base) = base.filter(|base| base.seq > self.position.seq) else { return false };
        self.position.seq = base.seq;
        self.position.chain = base.chain;
        (self.epoch, self.at) = (base.epoch, base.at);
        self.tail = Tail::Clean;
        true
    }
}

fn empty() -> Recovered {
    Recovered {
        position: Position::default(),
        spare: false,
        frames: 0,
        segments: 0,
        epoch: Epoch(0),
        at: At(0),
        tail: Tail::Clean,
    }
}

struct Scan<'a, S: Storage> {
    storage: &'a S,
    visit: &'a mut dyn FnMut(FrameRef<'_>) -> Result<(), String>,
    base: Option<&'a Base>,
    window: Window,
    found: Recovered,
    /// The damage met first; everything after it must be free of valid groups.
    torn: Option<(u64, u64, String)>,
    /// The last sequence of the present segment that no later segment takes back.
    last_valid: Seq,
    /// Where the log stood at that sequence, while frames behind it are read over.
    kept: Option<Kept>,
}

/// An end of the log that later segments go on from.
struct Kept {
    seq: Seq,
    chain: ChainHash,
    epoch: Epoch,
    at: At,
}

type Step<S> = Result<(), RecoverError<<S as Storage>::Error>>;

impl<S: Storage> Scan<'_, S> {
    fn segment(&mut self, generation: u64) -> Step<S> {
        let size = self.storage.size(generation).map_err(RecoverError::Storage)?;
        let first = self.bytes(generation, 0, BLOCK.min(size) as usize)?;
        if let Some(found) = SegmentHeader::other_version(&first) {
            let (what, known) = ("segment", SegmentHeader::VERSION);
            return Err(RecoverError::Version { generation, what, found, known });
        }
        let Some(start) = SegmentHeader::parse(&first) else {
            return self.headless(generation, size, &first);
        };
        if let Some(torn) = self.torn.clone() {
            return self.damage(torn, (generation, 0));
        }
        if self.found.spare {
            return self.contradicts(generation, 0, "it follows a segment without header".into());
        }
        if self.found.position.generation == 0 {
            self.begin(&start);
        }
        self.check_start(generation, size, &start)?;
        self.found.segments += 1;
        self.found.position.cluster = start.cluster;
        self.found.position.generation = generation;
        self.found.position.group = start.first_group - 1;
        self.found.position.offset = BLOCK;
        if start.first_seq > self.last_valid.0.saturating_add(1) {
            // All of it was taken back, and with it whatever it might say.
            self.found.position.offset = size;
            return Ok(());
        }
        while self.found.position.offset < size && self.found.position.seq < self.last_valid {
            if !self.group(generation, size)? {
                break;
            }
        }
        if self.found.position.seq < self.last_valid {
            self.after_last_group(generation, size)?;
        } else {
            // The rest was taken back, or is the unused end of a full segment.
            self.found.position.offset = size;
        }
        if let Some(kept) = self.kept.take() {
            self.found.position.seq = kept.seq;
            self.found.position.chain = kept.chain;
            self.found.epoch = kept.epoch;
            self.found.at = kept.at;
        }
        Ok(())
    }

    /// The first segment that there is begins the log, or follows what a snapshot stands for.
    fn begin(&mut self, start: &SegmentStart) {
        let before = start.first_seq.saturating_sub(1);
        if before > 0 && self.base.is_some_and(|base| before <= base.seq.0) {
            self.found.position.seq = Seq(before);
            self.found.position.chain = ChainHash(start.previous);
        }
    }

    /// A segment without header: the spare one, or one whose header was being written.
    fn headless(&mut self, generation: u64, size: u64, head: &[u8]) -> Step<S> {
        if self.found.position.seq >= self.last_valid {
            // All of it was taken back.
            self.found.position.generation = generation;
            self.found.position.offset = size;
            return Ok(());
        }
        if size < 2 * BLOCK || !size.is_multiple_of(BLOCK) {
            // Segments appear whole, under their name only once they are allocated: this one was cut short since.
            let why =
                format!("it has {size} bytes and no header, which no segment ever has: it was truncated");
            return self.contradicts(generation, 0, why);
        }
        // It may begin before the frames that are known so far, where a cut took those back: any sequence counts.
        if let Some(later) = self.any_group(generation, 0, size, Seq(0))? {
            let torn = self.torn.clone().unwrap_or((generation, 0, "the segment's header is damaged".into()));
            return self.damage(torn, (generation, later));
        }
        // The first one left behind a snapshot follows segments that are no longer needed.
        let first = self.found.position.generation == 0 && self.base.is_some();
        if !first && generation != self.found.position.generation + 1 {
            return self.contradicts(generation, 0, "a segment before it is missing".into());
        }
        if head.iter().any(|byte| *byte != 0) && self.torn.is_none() {
            // Overwritten whole when the segment is taken into use; nothing in it was ever acknowledged.
            self.torn = Some((generation, 0, "the header was being written".into()));
            self.found.tail = Tail::Torn(Cut { generation, offset: 0, bytes: BLOCK, readable: Vec::new() });
        }
        self.found.spare = true;
        Ok(())
    }

    fn check_start(&self, generation: u64, size: u64, start: &SegmentStart) -> Step<S> {
        let at = &self.found.position;
        // Of segments without header that were taken back nothing is known but that they are there.
        let (first, unknown) = (at.generation == 0, self.found.segments == 0);
        let why = if start.generation != generation {
            format!("its header says generation {}: the file was renamed or copied", start.generation)
        } else if start.bytes != size {
            format!("its header says {} bytes, the file has {size}", start.bytes)
        } else if (!unknown && start.cluster != at.cluster) || (!first && generation != at.generation + 1) {
            format!("it does not follow segment {} of cluster {}", at.generation, at.cluster)
        } else if start.first_seq > self.last_valid.0.saturating_add(1) {
            return Ok(());
        } else if start.first_seq != at.seq.0 + 1
            || start.previous != at.chain.0
            || self.base.is_some_and(|base| base.seq == at.seq && base.chain != at.chain)
            || start.first_group < at.group + 1
        {
            format!("it starts with sequence {} where {} is next", start.first_seq, at.seq.0 + 1)
        } else {
            return Ok(());
        };
        self.contradicts(generation, 0, why)
    }

    /// Reads the group at the present offset. `false` where there is none.
    fn group(&mut self, generation: u64, size: u64) -> Result<bool, RecoverError<S::Error>> {
        let mut window = std::mem::take(&mut self.window);
        let mut found = self.group_in(&mut window, generation, size);
        if matches!(found, Ok(false)) && window.may_be_stale(self.found.position.offset) {
            // A node may be writing: what was read with the groups before it may be complete by now.
            window.forget();
            found = self.group_in(&mut window, generation, size);
        }
        self.window = window;
        found
    }

    fn group_in(
        &mut self,
        window: &mut Window,
        generation: u64,
        size: u64,
    ) -> Result<bool, RecoverError<S::Error>> {
        let (offset, segment) = (self.found.position.offset, (generation, size));
        if offset + GROUP_HEADER as u64 > size {
            return Ok(false);
        }
        let head =
            window.get(self.storage, segment, offset, GROUP_HEADER as u64).map_err(RecoverError::Storage)?;
        let Some(length) = GroupHeader::length(head).filter(|length| offset + length <= size) else {
            return Ok(false);
        };
        let bytes = window.get(self.storage, segment, offset, length).map_err(RecoverError::Storage)?;
        let Some((start, payload)) = GroupHeader::parse(bytes) else { return Ok(false) };
        if start.generation != generation || start.cluster != self.found.position.cluster {
            return Ok(false);
        }
        self.check_group(generation, offset, &start)?;
        self.frames(generation, offset, payload)?;
        self.found.position.group += 1;
        self.found.position.offset += length;
        Ok(true)
    }

    fn check_group(&self, generation: u64, offset: u64, start: &GroupStart) -> Step<S> {
        let at = &self.found.position;
        if start.number != at.group + 1 || start.first_seq != at.seq.0 + 1 {
            let why = format!(
                "group {} with sequence {} where {} and {} are next",
                start.number,
                start.first_seq,
                at.group + 1,
                at.seq.0 + 1
            );
            return self.contradicts(generation, offset, why);
        }
        Ok(())
    }

    fn frames(&mut self, generation: u64, offset: u64, payload: &[u8]) -> Step<S> {
        let mut rest = payload;
        while !rest.is_empty() {
            let frame = match FrameRef::parse(rest) {
                Ok(frame) => frame,
                Err(FrameError::Version(found)) => {
                    let (what, known) = ("header of a frame", MAGIC[3]);
                    return Err(RecoverError::Version { generation, what, found, known });
                }
                Err(error) => {
                    return self.contradicts(
                        generation,
                        offset,
                        format!("a frame in a sound group: {error}"),
                    );
                }
            };
            let e = frame.envelope();
            let at = &self.found;
            let follows = e.seq.0 == at.position.seq.0 + 1
                && e.previous == at.position.chain
                && e.epoch >= at.epoch
                && e.at >= at.at;
            if !follows {
                let why = format!(
                    "frame {} does not follow {} in sequence, chain, epoch and time",
                    e.seq, at.position.seq
                );
                return self.contradicts(generation, offset, why);
            }
            if self.base.is_some_and(|base| base.seq == e.seq && base.chain != frame.chain()) {
                let why = format!("frame {} is not the one that the snapshot is the state after", e.seq);
                return self.contradicts(generation, offset, why);
            }
            if e.seq > self.last_valid {
                self.keep();
            } else {
                (self.visit)(frame).map_err(|why| RecoverError::Visitor { seq: e.seq, why })?;
                self.found.frames += 1;
            }
            self.found.epoch = e.epoch;
            self.found.at = e.at;
            self.found.position.seq = e.seq;
            self.found.position.chain = frame.chain();
            rest = &rest[frame.bytes().len()..];
        }
        Ok(())
    }

    /// Remembers where the valid part ends, before the first frame behind it.
    fn keep(&mut self) {
        let (at, found) = (&self.found.position, &self.found);
        self.kept.get_or_insert(Kept { seq: at.seq, chain: at.chain, epoch: found.epoch, at: found.at });
    }

    /// Behind the last good group of a segment there must be zeros, or a torn group and nothing valid after it.
    fn after_last_group(&mut self, generation: u64, size: u64) -> Step<S> {
        let offset = self.found.position.offset;
        let rest = self.bytes(generation, offset, (size - offset) as usize)?;
        let Some(last) = last_set(&rest) else { return Ok(()) };
        let torn = (generation, offset, "the group's checksum does not match".to_owned());
        if let Some(later) = self.any_group(generation, offset, size, self.found.position.seq)? {
            return self.damage(torn, (generation, later));
        }
        let cut = Cut { generation, offset, bytes: last as u64 + 1, readable: readable(&rest) };
        self.found.tail = Tail::Torn(cut);
        self.torn = Some(torn);
        Ok(())
    }

    /// The offset of any group from an offset on that this journal's writer can have put there behind what was
    /// read: of this cluster and generation, with a higher number, frames that begin above a sequence, and every
    /// checksum right. A frame may carry whatever bytes a client chose, and a torn group shows them at any offset:
    /// what merely looks like a header there is no reason to call the torn end damage.
    fn any_group(
        &self,
        generation: u64,
        from: u64,
        size: u64,
        above: Seq,
    ) -> Result<Option<u64>, RecoverError<S::Error>> {
        for offset in (from..size).step_by(BLOCK as usize) {
            let head = self.bytes(generation, offset, GROUP_HEADER)?;
            let Some(length) = GroupHeader::length(&head).filter(|length| offset + length <= size) else {
                continue;
            };
            let bytes = self.bytes(generation, offset, length as usize)?;
            let Some((start, payload)) = GroupHeader::parse(&bytes) else { continue };
            let at = &self.found.position;
            // Before the first header was read, the journal's cluster is not known yet.
            let ours = self.found.segments == 0 || start.cluster == at.cluster;
            let later = start.number > at.group && start.first_seq > above.0;
            if start.generation == generation && ours && later && holds_frames(&start, payload) {
                return Ok(Some(offset));
            }
        }
        Ok(None)
    }

    fn bytes(&self, generation: u64, offset: u64, length: usize) -> Result<Vec<u8>, RecoverError<S::Error>> {
        let mut bytes = vec![0; length];
        self.storage.read(generation, offset, &mut bytes).map_err(RecoverError::Storage)?;
        Ok(bytes)
    }

    fn damage(&self, (generation, offset, why): (u64, u64, String), later: (u64, u64)) -> Step<S> {
        let (later_generation, later_offset) = later;
        Err(RecoverError::Damage { generation, offset, why, later_generation, later_offset })
    }

    fn contradicts(&self, generation: u64, offset: u64, why: String) -> Step<S> {
        Err(RecoverError::Contradiction { generation, offset, why })
    }
}

/// Whether a payload is what a group's header says: whole frames of its cluster, one after the other, at least one.
fn holds_frames(start: &GroupStart, payload: &[u8]) -> bool {
    let (mut frames, mut rest) = (0, payload);
    while let Ok(frame) = FrameRef::parse(rest) {
        let envelope = frame.envelope();
        if envelope.cluster != start.cluster || Some(envelope.seq.0) != start.first_seq.checked_add(frames) {
            return false;
        }
        frames += 1;
        rest = &rest[frame.bytes().len()..];
    }
    rest.is_empty() && frames > 0 && frames == u64::from(start.frames)
}

/// Sequences of frames that can still be read one after the other behind a damaged group's header.
fn readable(bytes: &[u8]) -> Vec<Seq> {
    let mut seqs = Vec::new();
    let mut rest = bytes.get(GROUP_HEADER..).unwrap_or_default();
    while let Ok(frame) = FrameRef::parse(rest) {
        seqs.push(frame.seq());
        rest = &rest[frame.bytes().len()..];
    }
    seqs
}

/// The chain hash before the first frame.
pub const FIRST_CHAIN: ChainHash = ChainHash(0);
