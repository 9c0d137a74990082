//! A journal whose front a snapshot stands for: pruned, begun anew behind it, and recovered after a crash anywhere.

use touchline_journal::simulated::{SimError, SimStorage};
use touchline_journal::storage::Storage;
use touchline_journal::{Base, RecoverError, Recovered, Writer, read, recover, salvage};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const CLUSTER: u64 = 5;
const SEGMENT: u64 = 2 << 20;

/// A log of so many frames, and the place of each.
fn log(count: u64) -> Vec<(Vec<u8>, Base)> {
    let mut chain = ChainHash(0);
    let frame = |seq| {
        let at = At(seq as i64 * 1000);
        let envelope = Envelope {
            seq: Seq(seq),
            at,
            epoch: Epoch(1 + seq / 20),
            previous: chain,
            ..Envelope::session(CLUSTER, Epoch(1), 0)
        };
        let mut bytes = Vec::new();
        let fresh = SourceFresh { source: SourceId(1), alive_until: at };
        encode(&envelope, &fresh.into(), &mut bytes);
        chain = FrameRef::parse(&bytes).unwrap().chain();
        (bytes, Base { epoch: envelope.epoch, seq: Seq(seq), at, chain })
    };
    (1..=count).map(frame).collect()
}

fn none(_: FrameRef<'_>) -> Result<(), String> {
    Ok(())
}

type Opened = (Writer<SimStorage>, Recovered, Vec<u64>);

/// Opens a journal and tells which frames were read.
fn open(storage: SimStorage, base: Option<&Base>) -> Result<Opened, RecoverError<SimError>> {
    let mut seen = Vec::new();
    let (writer, found) = recover(storage, CLUSTER, SEGMENT, base, &mut |frame| {
        seen.push(frame.seq().0);
        Ok(())
    })?;
    Ok((writer, found, seen))
}

fn append(writer: &mut Writer<SimStorage>, log: &[(Vec<u8>, Base)], from: u64, to: u64) {
    for frames in log[from as usize..to as usize].chunks(3) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        writer.append(&bytes, Seq(0)).unwrap();
    }
}

/// A journal of so many frames with a cut now and then, so that it has several segments.
fn written(log: &[(Vec<u8>, Base)], to: u64) -> SimStorage {
    let (mut writer, ..) = open(SimStorage::new(), None).unwrap();
    let mut at = 0;
    while at < to {
        let next = (at + 12).min(to);
        append(&mut writer, log, at, next);
        at = next;
        if at < to {
            at -= 2;
            writer.cut(Seq(at), log[at as usize - 1].1.chain).unwrap();
        }
    }
    writer.into_storage()
}

#[test]
fn what_a_snapshot_makes_superfluous_is_forgotten_and_the_rest_goes_on() {
    let log = log(80);
    let mut removed = 0;
    for snapshot in [5, 20, 33, 59, 60] {
        let (mut writer, ..) = open(written(&log, 60), None).unwrap();
        let base = log[snapshot - 1].1;
        assert!(writer.keep_snapshot(base.seq, b"a state").unwrap());
        removed += writer.prune(1).unwrap();
        let storage = writer.into_storage();
        let front = open(storage.clone(), None).err().is_some();
        let (mut writer, found, seen) = open(storage, Some(&base)).unwrap();
        assert_eq!((found.position.seq, found.position.chain), (Seq(60), log[59].1.chain));
        assert!(seen[0] <= base.seq.0 + 1 && seen.is_sorted() && seen.last() == Some(&60));
        assert_eq!(front, seen[0] > 1, "without the snapshot a log that lost its front is refused");
        append(&mut writer, &log, 60, 80);
        let (_, found, _) = open(writer.into_storage(), Some(&base)).unwrap();
        assert_eq!(found.position.seq, Seq(80));
        let other = Base { chain: ChainHash(1), ..base };
        assert!(matches!(
            read(&written(&log, 60), Some(&other), &mut none),
            Err(RecoverError::Contradiction { .. })
        ));
    }
    assert!(removed > 5, "{removed}");
}

#[test]
fn older_snapshots_are_forgotten_but_never_the_last_ones() {
    let log = log(60);
    let (mut writer, ..) = open(written(&log, 60), None).unwrap();
    for (place, seq) in [10, 30, 50].into_iter().enumerate() {
        writer.keep_snapshot(Seq(seq), b"a state").unwrap();
        let before = writer.prune(2).unwrap();
        assert_eq!(before > 0, place > 0, "with one snapshot alone the whole log stays");
    }
    let storage = writer.into_storage();
    assert_eq!(storage.snapshots(), Ok(vec![30, 50]));
    for base in [30, 50] {
        let (_, found, _) = open(storage.clone(), Some(&log[base - 1].1)).unwrap();
        assert_eq!(found.position.seq, Seq(60));
    }
}

#[test]
fn a_log_begins_anew_behind_a_snapshot_whenever_the_machine_crashes() {
    let log = log(80);
    let base = log[59].1;
    let (mut before, mut after) = (0, 0);
    for crash_in in 0..6 {
        for surviving_sectors in [0, u64::MAX, 0x55] {
            // A log of 25 frames whose node is given the state after frame 60.
            let (mut writer, ..) = open(written(&log, 25), None).unwrap();
            writer.keep_snapshot(base.seq, b"a state").unwrap();
            let mut storage = writer.into_storage();
            storage.crash_in = Some(crash_in);
            storage.surviving_sectors = surviving_sectors;
            let storage = match open(storage.clone(), Some(&base)) {
                Ok((mut writer, ..)) => {
                    assert_eq!(
                        writer.position().seq,
                        base.seq,
                        "a log that ends before the snapshot ends at it"
                    );
                    let bytes: Vec<u8> = log[60..63].iter().flat_map(|(bytes, _)| bytes.clone()).collect();
                    match writer.append(&bytes, Seq(0)) {
                        Ok(_) => after += 1,
                        Err(_) => before += 1,
                    }
                    writer.into_storage()
                }
                Err(_) => storage,
            };
            let (mut writer, found, seen) = open(storage.after_restart(), Some(&base)).unwrap();
            assert!(matches!(found.position.seq, Seq(60..=63)), "{:?}", found.position);
            let from = found.position.seq.0;
            assert!(from == 60 || !seen.contains(&25), "what lies before the hole is not the log's");
            append(&mut writer, &log, from, 80);
            let (_, found, seen) = open(writer.into_storage(), Some(&base)).unwrap();
            assert_eq!((found.position.seq, found.position.chain), (Seq(80), log[79].1.chain));
            assert_eq!((seen[0], seen.len()), (61, 20));
        }
    }
    assert!(before > 3 && after > 3, "{before} {after}");
}

/// A state was taken over, the segments before it were forgotten, and the machine crashed while the first segment
/// behind it got its header: that torn header is then all that the journal's folder holds.
#[test]
fn a_torn_header_may_be_all_that_is_left_behind_a_snapshot() {
    let log = log(80);
    let base = log[59].1;
    for (snapshot, torn) in [(true, false), (true, true), (false, false), (false, true)] {
        let (mut writer, ..) = open(written(&log, 25), None).unwrap();
        writer.keep_snapshot(base.seq, b"a state").unwrap();
        let mut storage = writer.into_storage();
        let next = storage.list().unwrap().last().unwrap() + 1;
        storage.list().unwrap().into_iter().for_each(|generation| storage.remove(generation).unwrap());
        storage.create(next, SEGMENT).unwrap();
        if torn {
            storage.write(next, 512, &[7; 512]).unwrap();
        }
        if !snapshot {
            let refused = open(storage, None);
            assert!(
                matches!(refused, Err(RecoverError::Contradiction { .. })),
                "without it the front is missing"
            );
            continue;
        }
        let (mut writer, found, seen) = open(storage, Some(&base)).unwrap();
        assert_eq!((found.position.seq, seen.len()), (base.seq, 0));
        append(&mut writer, &log, 60, 80);
        let (_, found, seen) = open(writer.into_storage(), Some(&base)).unwrap();
        assert_eq!((found.position.seq, seen.len()), (Seq(80), 20));
    }
}

#[test]
fn a_running_writer_begins_anew_behind_a_snapshot() {
    let log = log(80);
    let base = log[59].1;
    let (mut writer, ..) = open(written(&log, 25), None).unwrap();
    writer.keep_snapshot(base.seq, b"a state").unwrap();
    writer.restart_behind(&base).unwrap();
    append(&mut writer, &log, 60, 80);
    assert!(writer.prune(1).unwrap() > 0);
    let (_, found, seen) = open(writer.into_storage(), Some(&base)).unwrap();
    assert_eq!((found.position.seq, seen.len()), (Seq(80), 20));
}

/// A state that reaches beyond the log is taken over while a spare segment stands ready, and the machine crashes while the
/// first segment behind it begins.
#[test]
fn a_spare_segment_is_the_next_one_behind_a_snapshot() {
    let log = log(80);
    let base = log[59].1;
    for crash_in in 0..4 {
        for surviving_sectors in [0, 1, 2, 0x55, u64::MAX] {
            let (mut writer, ..) = open(written(&log, 25), None).unwrap();
            writer.keep_snapshot(base.seq, b"a state").unwrap();
            let mut storage = writer.into_storage();
            let spare = storage.list().unwrap().last().unwrap() + 1;
            storage.create(spare, SEGMENT).unwrap();
            storage.crash_in = Some(crash_in);
            storage.surviving_sectors = surviving_sectors;
            let (mut writer, ..) = open(storage, Some(&base)).unwrap();
            let bytes: Vec<u8> = log[60..63].iter().flat_map(|(bytes, _)| bytes.clone()).collect();
            let _ = writer.append(&bytes, Seq(0));
            let storage = writer.into_storage().after_restart();
            let (mut writer, found, _) = open(storage, Some(&base)).unwrap();
            append(&mut writer, &log, found.position.seq.0, 80);
            let storage = writer.into_storage();
            assert_eq!(storage.list().unwrap().last(), Some(&spare), "it was used");
            let (_, found, seen) = open(storage, Some(&base)).unwrap();
            assert_eq!((found.position.seq, seen.len()), (Seq(80), 20));
        }
    }
}

/// A log of another branch, longer than the state that is given to its node.
#[test]
fn a_longer_log_that_does_not_lead_to_the_snapshot_is_given_up() {
    let log = log(80);
    let other: Vec<_> = written(&log, 60).list().unwrap();
    let base = log[29].1;
    let branch = Base { chain: ChainHash(77), ..base };
    let (mut writer, ..) = open(written(&log, 60), None).unwrap();
    writer.keep_snapshot(base.seq, b"a state").unwrap();
    writer.restart_behind(&branch).unwrap();
    assert_eq!(writer.position().seq, base.seq);
    let (_, found, seen) = open(writer.into_storage(), Some(&branch)).unwrap();
    assert_eq!((found.position.seq, found.position.chain, seen.len()), (base.seq, branch.chain, 0));
    assert_eq!(found.position.generation, other.last().unwrap() + 1);
}

#[test]
fn damage_before_the_snapshot_costs_nothing_and_damage_behind_it_is_told() {
    let log = log(60);
    let base = log[29].1;
    let (mut harmless, mut told) = (0, 0);
    let storage = written(&log, 60);
    for generation in storage.list().unwrap() {
        for block in 0..4 {
            let mut disk = storage.clone();
            disk.flip(generation, block * 4096 + 9, 3);
            let mut last = 0;
            let (writer, found, damage) = salvage(disk, CLUSTER, SEGMENT, Some(&base), &mut |frame| {
                last = frame.seq().0;
                Ok(())
            })
            .unwrap();
            assert!(found.position.seq >= base.seq, "the snapshot has what the journal lacks");
            assert!(writer.position().seq == found.position.seq && last <= 60);
            match damage {
                None => harmless += 1,
                Some(_) => told += 1,
            }
        }
    }
    assert!(harmless > 0 && told > 0, "{harmless} {told}");
}
