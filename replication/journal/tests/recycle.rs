//! Segments made ahead beside the writing, out of those that snapshots made superfluous, with a crash anywhere.

use proptest::prelude::*;
use touchline_journal::simulated::{SimError, SimStorage};
use touchline_journal::storage::Storage;
use touchline_journal::{Base, RecoverError, Recovered, Tail, Writer, recover};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const CLUSTER: u64 = 5;
/// Room for two dozen groups of one block.
const SEGMENT: u64 = 24 * 4096;

/// A log of so many frames, and the place of each.
fn log(count: u64) -> Vec<(Vec<u8>, Base)> {
    let mut chain = ChainHash(0);
    let frame = |seq| {
        let at = At(seq as i64 * 1000);
        let envelope =
            Envelope { seq: Seq(seq), at, previous: chain, ..Envelope::session(CLUSTER, Epoch(1), 0) };
        let mut bytes = Vec::new();
        encode(&envelope, &SourceFresh { source: SourceId(1), alive_until: at }.into(), &mut bytes);
        chain = FrameRef::parse(&bytes).unwrap().chain();
        (bytes, Base { epoch: Epoch(1), seq: Seq(seq), at, chain })
    };
    (1..=count).map(frame).collect()
}

fn disk(set: impl FnOnce(&mut SimStorage)) -> SimStorage {
    let mut disk = SimStorage::new();
    set(&mut disk);
    disk
}

/// Opens a journal behind the newest snapshot on its disk, as a node does.
fn open(
    storage: SimStorage,
    log: &[(Vec<u8>, Base)],
) -> Result<(Writer<SimStorage>, Recovered), RecoverError<SimError>> {
    let newest = storage.snapshots().unwrap().last().copied();
    let base = newest.map(|seq| log[seq as usize - 1].1);
    recover(storage, CLUSTER, SEGMENT, base.as_ref(), &mut |frame| {
        assert_eq!(frame.bytes(), log[frame.seq().0 as usize - 1].0, "what was written is read");
        Ok(())
    })
}

/// What a node does to its journal.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Appends a group of so many frames.
    Append(u64),
    /// Takes a snapshot so many frames before the end and forgets what it makes superfluous.
    Snapshot(u64),
    /// Takes back so many frames, as before following another's log.
    Cut(u64),
    /// Has nothing to write.
    Idle,
    /// Stops and starts again.
    Restart,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        12 => (1..6u64).prop_map(Act::Append),
        3 => (0..20u64).prop_map(Act::Snapshot),
        1 => (0..4u64).prop_map(Act::Cut),
        2 => Just(Act::Idle),
        1 => Just(Act::Restart),
    ];
    prop::collection::vec(act, 40..250)
}

/// A journal's life until its machine crashes, if it does; the disk, the last frame that was acknowledged, and the last
/// that was written or being written.
fn live(storage: SimStorage, log: &[(Vec<u8>, Base)], acts: &[Act]) -> (SimStorage, u64, u64) {
    let (mut writer, _) = match open(storage.clone(), log) {
        Ok(opened) => opened,
        // The machine may crash while the journal is opened.
        Err(_) => return (storage, 0, 0),
    };
    let (mut durable, mut written) = (0, 0);
    for act in acts {
        let end = writer.position().seq.0;
        let done = match *act {
            Act::Append(count) => {
                let to = (end + count).min(log.len() as u64);
                let frames: Vec<&[u8]> =
                    log[end as usize..to as usize].iter().map(|(bytes, _)| bytes.as_slice()).collect();
                written = written.max(to);
                writer.append_slices(&frames, Seq(end)).map(|_| durable = to)
            }
            Act::Snapshot(before) if end > before => {
                let kept = writer.keep_snapshot(Seq(end - before), b"a state").map(|_| ());
                kept.and_then(|()| writer.prune(2)).map(|_| ())
            }
            Act::Cut(frames) => {
                let newest = writer.storage().snapshots().unwrap().last().copied().unwrap_or(0);
                let to = end.saturating_sub(frames).max(newest);
                let chain = to.checked_sub(1).map_or(ChainHash(0), |place| log[place as usize].1.chain);
                durable = durable.min(to);
                writer.cut(Seq(to), chain)
            }
            Act::Idle => {
                writer.look_for_room();
                Ok(())
            }
            Act::Restart => {
                let disk = writer.into_storage();
                let (opened, found) = match open(disk.clone(), log) {
                    Ok(opened) => opened,
                    Err(RecoverError::Storage(_)) => return (disk, durable, written),
                    Err(other) => panic!("{other}"),
                };
                assert_eq!(found.tail, Tail::Clean, "a stop tears nothing");
                writer = opened;
                Ok(())
            }
            Act::Snapshot(_) => Ok(()),
        };
        if done.is_err() {
            break;
        }
    }
    (writer.into_storage(), durable, written)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn recycled_and_half_made_segments_never_cost_or_feign_a_frame(
        acts in acts(),
        patience in 0..12u64,
        crash_in in prop::option::of(0..120u64),
        surviving_sectors in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
    ) {
        let log = log(700);
        let disk = disk(|disk| {
            (disk.patience, disk.crash_in) = (patience, crash_in);
            (disk.surviving_sectors, disk.recycles) = (surviving_sectors, true);
        });
        let (disk, durable, written) = live(disk, &log, &acts);
        let crashed = disk.went_down();
        let (mut writer, found) = open(disk.after_restart(), &log).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let end = found.position.seq.0;
        prop_assert!(end >= durable && end <= written, "{} of {}..={}", end, durable, written);
        prop_assert!(crashed || found.tail == Tail::Clean, "a stop tears nothing: {:?}", found.tail);
        // The journal goes on through several more segments, and all of it is found again.
        for (bytes, _) in &log[end as usize..] {
            writer.append(bytes, Seq(0)).unwrap();
        }
        let (_, found) = open(writer.into_storage(), &log).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!((found.position.seq, found.tail), (Seq(700), Tail::Clean));
    }
}

/// A journal that lives in the room it has: with every snapshot what it gives up becomes what it needs next.
fn in_three_segments(keeps_old_bytes: bool) -> SimStorage {
    let log = log(600);
    let disk = disk(|disk| {
        (disk.room, disk.recycles, disk.keeps_old_bytes) = (Some(3), true, keeps_old_bytes);
    });
    let (mut writer, _) = open(disk, &log).unwrap();
    for (bytes, at) in &log {
        writer.append(bytes, Seq(0)).unwrap();
        if at.seq.0.is_multiple_of(8) {
            writer.keep_snapshot(at.seq, b"a state").unwrap();
            writer.prune(1).unwrap();
        }
        assert!(!writer.spare_failed(), "frame {}", at.seq);
    }
    writer.into_storage()
}

#[test]
fn a_full_disk_is_lived_on_with_what_is_given_up() {
    let mut disk = in_three_segments(false);
    assert!(*disk.list().unwrap().last().unwrap() > 20, "hundreds of frames went through three segments");
    disk.room = None;
    let (_, found) = open(disk, &log(600)).unwrap();
    assert_eq!((found.position.seq, found.tail), (Seq(600), Tail::Clean));
}

/// Why raw material is zeroed: its old groups are not taken for new ones, but the end behind the last group would look torn.
#[test]
fn old_bytes_in_a_new_segment_pass_for_nothing_but_feign_a_torn_end() {
    let (_, found) = open(in_three_segments(true), &log(600)).unwrap();
    assert_eq!(found.position.seq, Seq(600));
    assert!(matches!(found.tail, Tail::Torn(_)));
}

#[test]
fn a_segment_that_is_being_made_is_waited_for_only_by_the_group_that_needs_it() {
    let log = log(100);
    let disk = disk(|disk| disk.patience = 1_000);
    let (mut writer, _) = open(disk, &log).unwrap();
    for (bytes, _) in &log {
        writer.append(bytes, Seq(0)).unwrap();
        assert!(!writer.spare_failed());
    }
    assert!(writer.storage().list().unwrap().len() > 3);
}

#[test]
fn a_full_disk_stays_full_until_the_segment_is_there() {
    let log = log(200);
    let disk = disk(|disk| (disk.patience, disk.room) = (3, Some(1)));
    let (mut writer, _) = open(disk, &log).unwrap();
    let mut frames = log.iter();
    while !writer.spare_failed() {
        writer.append(&frames.next().unwrap().0, Seq(0)).unwrap();
    }
    // Suspensions and settlements go on into the room of the open segment.
    let mut disk = writer.into_storage();
    disk.room = Some(0);
    let (mut writer, found) = open(disk, &log).unwrap();
    writer.append(&log[found.position.seq.0 as usize].0, Seq(0)).unwrap();
    for _ in 0..3 {
        writer.look_for_room();
    }
    assert!(writer.spare_failed());
    let end = writer.position().seq.0 as usize;
    writer.append(&log[end].0, Seq(0)).unwrap();
    // With room again tickets are taken when the segment is there, not when it is begun.
    writer.storage_mut().room = None;
    for _ in 0..3 {
        writer.look_for_room();
        assert!(writer.spare_failed());
    }
    writer.look_for_room();
    assert!(!writer.spare_failed());
}
