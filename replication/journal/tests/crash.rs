//! The journal against a disk that crashes at every operation, keeps any sectors of the write in flight, and rots.

use std::cell::RefCell;
use std::rc::Rc;
use touchline_journal::layout::{BLOCK, GroupHeader, GroupStart};
use touchline_journal::simulated::{SECTOR, SimError, SimStorage};
use touchline_journal::storage::Storage;
use touchline_journal::writer::RETRY_GROUPS;
use touchline_journal::{RecoverError, Recovered, Tail, WriteError, Writer, recover, salvage};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const SEGMENT: u64 = 2 << 20;
const CLUSTER: u64 = 5;

/// A log of frames of very different sizes; only order and bytes matter here.
struct Log {
    frames: Vec<Vec<u8>>,
}

impl Log {
    fn new(count: u64) -> Self {
        let mut frames = Vec::new();
        let mut previous = ChainHash::default();
        for seq in 1..=count {
            let size = (seq * 7919 % 200) as usize;
            let markets = vec![MarketSpec { market: MarketKey::new(1, 0), selections: 0 }; size];
            let body = Body::from(OpenMarkets { fixture: FixtureId(seq), markets: List(markets) });
            let envelope = Envelope {
                seq: Seq(seq),
                at: At(seq as i64),
                partition: PartitionId(0),
                previous,
                ..Envelope::session(CLUSTER, Epoch(1), 0)
            };
            let mut frame = Vec::new();
            encode(&envelope, &body, &mut frame);
            previous = FrameRef::parse(&frame).unwrap().chain();
            frames.push(frame);
        }
        Log { frames }
    }

    /// Appends groups of `group` frames from a sequence on, until the disk fails; what was acknowledged.
    fn append(&self, writer: &mut Writer<SimStorage>, from: u64, group: usize) -> (Seq, Option<SimError>) {
        let mut durable = Seq(from);
        for frames in self.frames[from as usize..].chunks(group) {
            match writer.append(&frames.concat(), durable) {
                Ok(seq) => durable = seq,
                Err(WriteError::Storage(error)) => return (durable, Some(error)),
                Err(other) => panic!("{other}"),
            }
        }
        (durable, None)
    }

    /// Opens what is on a disk and checks that it is a prefix of this log.
    fn open(&self, storage: SimStorage) -> Result<(Writer<SimStorage>, u64, Tail), RecoverError<SimError>> {
        let mut count = 0;
        let (writer, recovered) = recover(storage, CLUSTER, SEGMENT, None, &mut |frame| {
            assert_eq!(frame.bytes(), self.frames[count], "frame {count} is the one that was written");
            count += 1;
            Ok(())
        })?;
        Ok((writer, count as u64, recovered.tail))
    }

    /// Appends the frames between two sequences, in groups.
    fn append_to(&self, writer: &mut Writer<SimStorage>, from: u64, to: u64, group: usize) -> u64 {
        for frames in self.frames[from as usize..to as usize].chunks(group) {
            writer.append(&frames.concat(), Seq(0)).unwrap();
        }
        to
    }

    /// The sound front of what is on a disk, checked to be a prefix of this log; `None` where the disk is whole.
    fn salvage(
        &self,
        storage: SimStorage,
    ) -> Option<(Writer<SimStorage>, Recovered, RecoverError<SimError>)> {
        let mut count = 0;
        salvage(storage, CLUSTER, SEGMENT, None, &mut |frame| {
            assert_eq!(frame.bytes(), self.frames[count], "frame {count} is the one that was written");
            count += 1;
            Ok(())
        })
        .map(|(writer, found, damage)| damage.map(|damage| (writer, found, damage)))
        .unwrap()
    }

    fn written(&self, group: usize) -> SimStorage {
        let (mut writer, ..) = self.open(SimStorage::new()).unwrap();
        assert_eq!(self.append(&mut writer, 0, group).1, None);
        writer.into_storage()
    }
}

#[test]
fn whatever_survives_a_crash_nothing_acknowledged_is_lost() {
    let log = Log::new(60);
    // The first and the last sectors, holes, one in the middle, nothing, everything.
    let patterns = [0, 1, 2, 0b1010, 0xFF00, 1 << 7, !1, !0, 0x5555_5555_5555_5555];
    let mut torn = 0;
    for group in [1, 7] {
        let operations = 60 / group as u64 + 4;
        for crash in 0..operations {
            for surviving in patterns {
                let mut disk = SimStorage::new();
                disk.crash_in = Some(crash);
                disk.surviving_sectors = surviving;
                let (mut writer, ..) = log.open(disk).unwrap();
                let (acknowledged, _) = log.append(&mut writer, 0, group);
                let disk = writer.into_storage().after_restart();
                let (mut writer, found, tail) = log.open(disk).unwrap_or_else(|error| panic!("{error}"));
                assert!(found >= acknowledged.0, "{found} frames of {acknowledged} acknowledged");
                assert!(found <= acknowledged.0 + group as u64);
                torn += usize::from(tail != Tail::Clean);
                // The journal goes on behind the cut, and a second look finds it whole.
                assert_eq!(log.append(&mut writer, found, group).1, None);
                let (_, all, tail) = log.open(writer.into_storage()).unwrap();
                assert_eq!((all, tail), (60, Tail::Clean));
            }
        }
    }
    assert!(torn > 100, "the crashes really tore groups: {torn}");
}

#[test]
fn segments_follow_each_other() {
    let log = Log::new(4000);
    let disk = log.written(100);
    assert!(disk.list().unwrap().len() > 2, "the log needs several segments");
    let (_, count, tail) = log.open(disk).unwrap();
    assert_eq!((count, tail), (4000, Tail::Clean));
}

#[test]
fn damage_in_the_middle_is_refused_and_at_the_end_cut_and_reported() {
    let log = Log::new(40);
    let disk = log.written(4);
    let used = disk.segment(1).unwrap().iter().rposition(|byte| *byte != 0).unwrap();
    let starts: Vec<usize> =
        (4096..used).step_by(4096).filter(|at| disk.segment(1).unwrap()[*at..].starts_with(b"TLG")).collect();
    assert_eq!(starts.len(), 10);
    for (index, start) in starts.iter().enumerate() {
        for offset in [0, 5, 20, 70, 300] {
            let mut rotten = disk.clone();
            rotten.flip(1, start + offset, 3);
            match log.open(rotten) {
                Err(RecoverError::Damage { generation: 1, offset, .. }) => {
                    assert_eq!(offset, *start as u64);
                    assert!(index < 9);
                }
                Ok((_, 36, Tail::Torn(cut))) => {
                    assert_eq!((index, cut.offset), (9, *start as u64));
                }
                Ok((_, count, tail)) => panic!("group {index}: {count} frames, {tail:?}"),
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_segment_of_another_place_is_refused() {
    let log = Log::new(4000);
    let disk = log.written(100);
    let mut swapped = disk.clone();
    swapped.plant(1, disk.segment(2).unwrap().to_vec());
    assert!(matches!(log.open(swapped), Err(RecoverError::Contradiction { .. })));
    let other = recover(disk, 6, SEGMENT, None, &mut |_| Ok(()));
    assert!(matches!(other, Err(RecoverError::Cluster { found: 5, wanted: 6 })));
}

#[test]
fn a_segment_cut_short_is_never_taken_for_the_spare() {
    let log = Log::new(40);
    let disk = log.written(4);
    let next = disk.list().unwrap().last().unwrap() + 1;
    let with = |generation: u64, bytes: Vec<u8>| {
        let mut disk = disk.clone();
        disk.plant(generation, bytes);
        log.open(disk)
    };
    for size in [0, 1, 511, 4096, 4097, 10_000] {
        let refused = with(next, vec![0; size]);
        assert!(
            matches!(refused, Err(RecoverError::Contradiction { generation, .. }) if generation == next),
            "{size}"
        );
        assert!(with(next - 1, vec![0; size]).is_err(), "a used segment emptied to {size} bytes");
    }
    assert!(with(next, vec![0; SEGMENT as usize]).is_ok(), "a whole one is the spare");
}

#[test]
fn segments_of_another_size_stay_readable_and_are_not_outgrown() {
    let log = Log::new(400);
    for (before, after) in [(24 * 4096, 48 * 4096), (48 * 4096, 24 * 4096)] {
        let none = &mut |_: FrameRef<'_>| Ok(());
        let (mut writer, _) = recover(SimStorage::new(), CLUSTER, before, None, none).unwrap();
        for part in log.frames[..150].chunks(5) {
            writer.append(&part.concat(), Seq(0)).unwrap();
        }
        writer.allocate_ahead();
        let (mut writer, _) = recover(writer.into_storage(), CLUSTER, after, None, none).unwrap();
        for part in log.frames[150..].chunks(5) {
            writer.append(&part.concat(), Seq(0)).unwrap();
        }
        let (_, recovered) = recover(writer.into_storage(), CLUSTER, before, None, none).unwrap();
        assert_eq!((recovered.frames, recovered.tail), (400, Tail::Clean));
    }
}

#[test]
fn a_full_disk_is_noticed_before_it_hurts_and_a_failed_write_is_final() {
    let log = Log::new(4000);
    let mut disk = SimStorage::new();
    disk.room = Some(1);
    let (mut writer, ..) = log.open(disk).unwrap();
    let (durable, error) = log.append(&mut writer, 0, 50);
    assert!(writer.spare_failed() && durable > Seq(50));
    assert_eq!(error, Some(SimError::Full), "in the end the open segment is full too");
    assert!(matches!(writer.append(&log.frames[durable.0 as usize], durable), Err(WriteError::Poisoned)));
    let mut disk = writer.into_storage();
    disk.room = None;
    let (_, found, _) = log.open(disk).unwrap();
    assert_eq!(found, durable.0);
}

#[test]
fn frames_out_of_order_are_not_written() {
    let log = Log::new(3);
    let (mut writer, ..) = log.open(SimStorage::new()).unwrap();
    assert!(matches!(writer.append(&log.frames[1], Seq(0)), Err(WriteError::Order { .. })));
}

#[test]
fn random_bytes_are_no_journal_and_no_panic() {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for case in 0..200 {
        let mut bytes = Log::new(20).written(3).segment(1).unwrap().to_vec();
        for _ in 0..(case % 40) + 1 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (state >> 33) as usize % (20 * SECTOR * 8);
            bytes[at] ^= (state >> 20) as u8;
        }
        let mut disk = SimStorage::new();
        disk.plant(1, bytes);
        let _ = recover(disk, CLUSTER, SEGMENT, None, &mut |_| Ok(()));
    }
}

/// Where the log stands after a frame.
fn chain_at(log: &Log, seq: u64) -> ChainHash {
    seq.checked_sub(1)
        .map_or(ChainHash(0), |place| FrameRef::parse(&log.frames[place as usize]).unwrap().chain())
}

#[test]
fn a_cut_log_goes_on_from_the_cut_whatever_was_cut_before() {
    let log = Log::new(60);
    for (first, second, third) in [(40, 20, 50), (20, 40, 10), (59, 58, 57), (0, 0, 30), (30, 30, 0)] {
        let (mut writer, ..) = log.open(log.written(7)).unwrap();
        let mut end = 60;
        for to in [first, second, third] {
            let to = to.min(end);
            writer.cut(Seq(to), chain_at(&log, to)).unwrap();
            // Some frames of what was cut come back; any journal in between can be opened again.
            let grown = (to + 9).min(60);
            assert_eq!(log.append(&mut writer, to, 7).1, None);
            let (opened, count, tail) = log.open(writer.into_storage()).unwrap();
            assert_eq!((count, tail), (60, Tail::Clean));
            writer = opened;
            writer.cut(Seq(grown), chain_at(&log, grown)).unwrap();
            end = grown;
            let (opened, count, _) = log.open(writer.into_storage()).unwrap();
            assert_eq!(count, grown);
            writer = opened;
        }
    }
}

#[test]
fn a_crash_in_a_cut_leaves_the_log_whole_or_cut() {
    let log = Log::new(30);
    let (mut whole, mut cut) = (0, 0);
    for crash in 0..2 {
        for surviving in [0, !0, 1, 2] {
            let mut storage = log.written(7);
            storage.crash_in = Some(crash);
            storage.surviving_sectors = surviving;
            let (mut writer, ..) = log.open(storage).unwrap();
            let _ = writer.cut(Seq(12), chain_at(&log, 12));
            let (_, count, _) = log.open(writer.into_storage().after_restart()).unwrap();
            assert!(count == 30 || count == 12, "{count}");
            whole += usize::from(count == 30);
            cut += usize::from(count == 12);
        }
    }
    assert!(whole > 0 && cut > 0);
}

#[test]
fn damage_in_the_middle_leaves_its_sound_front_and_the_rest_comes_back_from_elsewhere() {
    let (mut repaired, mut shortest) = (0, u64::MAX);
    for (frames, group, blocks) in [(60, 7, (0..60).collect()), (2500, 100, vec![0, 1, 9, 400, 511])] {
        let log = Log::new(frames);
        let whole = log.written(group);
        let places =
            whole.list().unwrap().into_iter().flat_map(|g| blocks.iter().map(move |block| (g, *block)));
        for (generation, block) in places {
            let mut disk = whole.clone();
            disk.flip(generation, (block * BLOCK) as usize + 9, 3);
            let before = disk.clone();
            let Some((mut writer, found, _)) = log.salvage(disk) else { continue };
            assert!(found.frames < frames);
            shortest = shortest.min(found.frames);
            // What was there is left alone; what is missing is appended, with a stop in between.
            assert_eq!(writer.position().seq, Seq(found.frames));
            let end = (found.frames + 9).min(frames);
            assert_eq!(log.append_to(&mut writer, found.frames, end, group), end);
            let disk = writer.into_storage();
            assert!(before.list().unwrap().iter().all(|g| disk.segment(*g) == before.segment(*g)));
            let (mut writer, count, tail) = log.open(disk).unwrap();
            assert_eq!((count, tail), (end, Tail::Clean));
            assert_eq!(log.append(&mut writer, end, group).1, None);
            let (_, count, tail) = log.open(writer.into_storage()).unwrap();
            assert_eq!((count, tail), (frames, Tail::Clean));
            repaired += 1;
        }
    }
    assert!(repaired > 8 && shortest == 0, "{repaired} {shortest}");
}

#[test]
fn a_write_that_lands_elsewhere_is_found_and_its_sound_front_kept() {
    let log = Log::new(60);
    let mut found = 0;
    for misdirected in 1..8 {
        for blocks in [1, 2, 3, 100] {
            let (mut writer, ..) = log.open(SimStorage::new()).unwrap();
            assert_eq!(log.append_to(&mut writer, 0, 5 * misdirected, 5), 5 * misdirected);
            let mut disk = writer.into_storage();
            disk.misdirect = Some(8 * blocks);
            let (mut writer, ..) = log.open(disk).unwrap();
            log.append_to(&mut writer, 5 * misdirected, 60, 5);
            let disk = writer.into_storage();
            let Some((mut writer, sound, _)) = log.salvage(disk.clone()) else {
                // It hit a place that nobody had written yet, and the end looks torn.
                assert!(log.open(disk).unwrap().1 < 60);
                continue;
            };
            assert_eq!(log.append(&mut writer, sound.frames, 7).1, None);
            let (_, count, tail) = log.open(writer.into_storage()).unwrap();
            assert_eq!((count, tail), (60, Tail::Clean));
            found += 1;
        }
    }
    assert!(found > 5, "{found}");
}

/// Bytes of a group as a client might write them into a frame of its own.
fn forged(number: u64, first_seq: u64, cluster: u64, payload: &[u8], frames: u32) -> Vec<u8> {
    let start = GroupStart { cluster, generation: 1, number, committed: 0, first_seq, frames };
    let mut group = Vec::new();
    GroupHeader::group(&start, payload, &mut group);
    group
}

#[test]
fn what_looks_like_a_group_inside_a_torn_one_is_no_group() {
    let log = Log::new(12);
    let mut disk = log.written(4);
    let segment = disk.segment(1).unwrap().to_vec();
    let used = segment.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    let starts = (1..=used / BLOCK).map(|block| (block * BLOCK) as usize);
    let starts: Vec<usize> = starts.filter(|at| segment[*at..].starts_with(b"TLG")).collect();
    let (last, frame) = (*starts.last().unwrap(), &log.frames[11]);
    let inside = last + BLOCK as usize;
    // Groups of the log: 1, 2 and the torn 3, whose first frame is 9.
    for (forgery, what) in [
        (forged(999, 999, CLUSTER, &[], 0), "an empty group"),
        (forged(999, 999, CLUSTER, b"no frame", 1), "a group without frames"),
        (forged(999, 999, CLUSTER, frame, 1), "frames of another sequence"),
        (forged(999, 12, CLUSTER, frame, 2), "fewer frames than it says"),
        (forged(999, 12, 6, frame, 1), "another cluster"),
        (forged(2, 12, CLUSTER, frame, 1), "a number that was before"),
        (forged(2, 5, CLUSTER, &log.frames[4], 1), "an old group again"),
        (forged(999, 8, CLUSTER, &log.frames[7], 1), "a sequence that was before"),
    ] {
        let mut bytes = segment.clone();
        bytes[last..last + BLOCK as usize].fill(0);
        bytes[inside..inside + forgery.len()].copy_from_slice(&forgery);
        disk.plant(1, bytes);
        match log.open(disk.clone()) {
            Ok((_, 8, Tail::Torn(cut))) => assert_eq!(cut.offset, last as u64, "{what}"),
            Ok((_, count, tail)) => panic!("{what}: {count} frames, {tail:?}"),
            Err(error) => panic!("{what}: {error}"),
        }
    }
    // What the writer would have put there still counts.
    let mut bytes = segment.clone();
    bytes[last..last + BLOCK as usize].fill(0);
    let group = forged(4, 12, CLUSTER, frame, 1);
    bytes[inside..inside + group.len()].copy_from_slice(&group);
    disk.plant(1, bytes);
    assert!(matches!(log.open(disk), Err(RecoverError::Damage { .. })));
}

#[test]
fn a_lost_header_behind_a_cut_is_damage_though_its_frames_begin_before_the_known_end() {
    let log = Log::new(60);
    let (mut writer, ..) = log.open(log.written(7)).unwrap();
    writer.cut(Seq(20), chain_at(&log, 20)).unwrap();
    assert_eq!(log.append_to(&mut writer, 20, 40, 5), 40);
    let mut disk = writer.into_storage();
    assert_eq!(disk.list().unwrap(), [1, 2]);
    disk.flip(2, 20, 1);
    assert!(matches!(log.open(disk), Err(RecoverError::Damage { generation: 2, .. })));
}

/// A disk that stays in reach of whoever watches the writer, and counts how often it is asked for a segment.
#[derive(Clone, Default)]
struct Watched(Rc<RefCell<(SimStorage, u32)>>);

impl Storage for Watched {
    type Error = SimError;

    fn list(&self) -> Result<Vec<u64>, SimError> {
        self.0.borrow().0.list()
    }

    fn create(&mut self, generation: u64, bytes: u64) -> Result<(), SimError> {
        self.0.borrow_mut().1 += 1;
        self.0.borrow_mut().0.create(generation, bytes)
    }

    fn size(&self, generation: u64) -> Result<u64, SimError> {
        self.0.borrow().0.size(generation)
    }

    fn read(&self, generation: u64, offset: u64, buffer: &mut [u8]) -> Result<(), SimError> {
        self.0.borrow().0.read(generation, offset, buffer)
    }

    fn write(&mut self, generation: u64, offset: u64, bytes: &[u8]) -> Result<(), SimError> {
        self.0.borrow_mut().0.write(generation, offset, bytes)
    }

    fn remove(&mut self, generation: u64) -> Result<(), SimError> {
        self.0.borrow_mut().0.remove(generation)
    }

    fn snapshots(&self) -> Result<Vec<u64>, SimError> {
        self.0.borrow().0.snapshots()
    }

    fn read_snapshot(&self, seq: u64) -> Result<Vec<u8>, SimError> {
        self.0.borrow().0.read_snapshot(seq)
    }

    fn write_snapshot(&mut self, seq: u64, bytes: &[u8]) -> Result<(), SimError> {
        self.0.borrow_mut().0.write_snapshot(seq, bytes)
    }

    fn remove_snapshot(&mut self, seq: u64) -> Result<(), SimError> {
        self.0.borrow_mut().0.remove_snapshot(seq)
    }

    fn is_full(error: &SimError) -> bool {
        SimStorage::is_full(error)
    }
}

#[test]
fn a_full_disk_is_asked_for_room_seldom_and_room_is_found_again() {
    let disk = Watched::default();
    let asked = || disk.0.borrow().1;
    let set_room = |room| disk.0.borrow_mut().0.room = room;
    // Half a segment takes several times the groups between two attempts.
    let segment_bytes = 8 * RETRY_GROUPS * BLOCK;
    let log = Log::new(8 * RETRY_GROUPS);
    let (mut writer, _) = recover(disk.clone(), CLUSTER, segment_bytes, None, &mut |_| Ok(())).unwrap();
    let mut frames = log.frames.iter();
    let mut append = |writer: &mut Writer<Watched>, groups: u64| {
        for _ in 0..groups {
            writer.append(frames.next().unwrap(), Seq(0)).unwrap();
        }
    };
    set_room(Some(1));
    append(&mut writer, 1);
    assert_eq!(asked(), 1, "the first segment");
    while !writer.spare_failed() {
        append(&mut writer, 1);
    }
    assert_eq!(asked(), 2, "behind its half the next one, which fails");
    append(&mut writer, RETRY_GROUPS - 1);
    assert_eq!(asked(), 2, "groups pass without another attempt");
    append(&mut writer, 1);
    assert!(asked() == 3 && writer.spare_failed());
    // A journal that has nothing to write looks by itself.
    writer.look_for_room();
    assert!(asked() == 4 && writer.spare_failed());
    set_room(None);
    append(&mut writer, RETRY_GROUPS);
    assert!(asked() == 5 && !writer.spare_failed(), "there is room again");
    writer.look_for_room();
    append(&mut writer, RETRY_GROUPS);
    assert_eq!(asked(), 5, "nobody looks for what is there");
}

#[test]
fn an_open_segment_that_fills_up_finds_room_that_was_made_meanwhile() {
    let disk = Watched::default();
    let log = Log::new(2000);
    let (mut writer, _) = recover(disk.clone(), CLUSTER, SEGMENT, None, &mut |_| Ok(())).unwrap();
    disk.0.borrow_mut().0.room = Some(1);
    let mut frames = log.frames.iter();
    while !writer.spare_failed() {
        writer.append(frames.next().unwrap(), Seq(0)).unwrap();
    }
    disk.0.borrow_mut().0.room = None;
    while writer.position().generation == 1 {
        writer.append(frames.next().unwrap(), Seq(0)).unwrap();
    }
    assert!(!writer.spare_failed(), "tickets are taken again with the new segment");
}
