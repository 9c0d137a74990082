//! Archives: whole after a stop anywhere, and every kind of tampering named.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use touchline_journal::archive::{Archive, ArchiveError, Archiver, Key, Misfit, verify_archive};
use touchline_journal::storage::Storage;
use touchline_journal::{FileStorage, recover};

const SEGMENT: u64 = 1 << 20;

fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// A journal's folder with segments 1 to 5, each of bytes of its own; only the archive looks at them here.
fn journal(at: &Path) -> PathBuf {
    let path = at.join("journal");
    let mut storage = FileStorage::open(&path).unwrap();
    for generation in 1..=5 {
        storage.create(generation, SEGMENT).unwrap();
        storage.write(generation, 4096, &generation.to_le_bytes()).unwrap();
    }
    path
}

fn key(at: &Path, digit: &str) -> Key {
    use std::os::unix::fs::PermissionsExt;
    let path = at.join(format!("key-{digit}"));
    std::fs::write(&path, digit.repeat(64) + "\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(Key::load(&path).unwrap_err().to_string().contains("chmod 600"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    Key::load(&path).unwrap()
}

fn archived(journal: &Path, to: &Path, key: Option<Key>, below: u64) {
    let mut archive = Archive::open(journal, to, key).unwrap();
    while archive.add(below, &AtomicBool::new(false)).unwrap() {}
    assert_eq!(archive.next(), below);
}

fn file(archive: &Path, generation: u64, end: &str) -> PathBuf {
    archive.join(format!("segment-{generation:016x}.{end}"))
}

#[track_caller]
fn misfit(archive: &Path, key: Option<&Key>, generation: u64, why: Misfit) {
    match verify_archive(archive, key) {
        Err(ArchiveError::Misfit { generation: found, why: told }) => {
            assert_eq!((found, told), (generation, why));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_archive_goes_on_after_a_stop_and_holds_together() {
    let at = folder("archive-whole");
    let journal = journal(&at);
    for (name, key) in [("plain", None), ("keyed", Some(key(&at, "a")))] {
        let archive = at.join(name);
        assert!(matches!(verify_archive(&at, key.as_ref()), Err(ArchiveError::Empty(_))));
        archived(&journal, &archive, key.clone(), 3);
        // Died while the next one was copied, and while another one was signed.
        std::fs::write(file(&archive, 3, "part"), b"half").unwrap();
        std::fs::write(file(&archive, 3, "tlj"), b"unsigned").unwrap();
        archived(&journal, &archive, key.clone(), 5);
        let found = verify_archive(&archive, key.as_ref()).unwrap();
        assert_eq!((found.first, found.last, found.bytes), (1, 4, 4 * SEGMENT));
        assert_eq!(found.keyed, key.is_some());
        assert!(FileStorage::open_read_only(&archive).unwrap().list().unwrap() == [1, 2, 3, 4]);
    }
    std::fs::remove_dir_all(&at).unwrap();
}

#[test]
fn what_is_missing_exchanged_or_altered_is_named() {
    let at = folder("archive-tampered");
    let (journal, archive) = (journal(&at), at.join("archive"));
    let (key, other) = (key(&at, "a"), key(&at, "b"));
    archived(&journal, &archive, Some(key.clone()), 5);
    let restore = |generation: u64, end: &str, with: &dyn Fn(&Path)| {
        let path = file(&archive, generation, end);
        let kept = std::fs::read(&path).unwrap();
        with(&path);
        move || std::fs::write(&path, kept).unwrap()
    };
    let remove = |path: &Path| std::fs::remove_file(path).unwrap();
    let copy_of = |generation: u64, end: &'static str| {
        let bytes = std::fs::read(file(&archive, generation, end)).unwrap();
        move |path: &Path| std::fs::write(path, &bytes).unwrap()
    };
    for generation in [1, 2, 4] {
        let back = restore(generation, "tlj", &remove);
        misfit(&archive, Some(&key), generation, Misfit::Missing);
        back();
        let back = restore(generation, "sig", &remove);
        misfit(&archive, Some(&key), generation, Misfit::Unsigned);
        back();
        let back = restore(generation, "tlj", &|path| {
            let mut bytes = std::fs::read(path).unwrap();
            bytes[70_000] ^= 1;
            std::fs::write(path, bytes).unwrap();
        });
        misfit(&archive, Some(&key), generation, Misfit::Altered);
        back();
        let back = restore(generation, "tlj", &copy_of(3, "tlj"));
        misfit(&archive, Some(&key), generation, Misfit::Altered);
        back();
        let back = restore(generation, "sig", &copy_of(3, "sig"));
        misfit(&archive, Some(&key), generation, Misfit::Malformed);
        back();
    }
    // The front taken away with its signature, and one in the middle.
    for generation in [1, 3] {
        let (segment, signature) = (restore(generation, "tlj", &remove), restore(generation, "sig", &remove));
        misfit(&archive, Some(&key), generation, Misfit::Missing);
        segment();
        signature();
    }
    // A segment of an archive that another key signed, and keys that are not this archive's.
    let foreign = at.join("foreign");
    archived(&journal, &foreign, Some(other.clone()), 5);
    let from = std::fs::read(file(&foreign, 3, "sig")).unwrap();
    let back = restore(3, "sig", &|path| std::fs::write(path, &from).unwrap());
    misfit(&archive, Some(&key), 3, Misfit::OutOfChain);
    back();
    misfit(&archive, Some(&other), 1, Misfit::Altered);
    misfit(&archive, None, 1, Misfit::NeedsKey);
    let plain = at.join("plain");
    archived(&journal, &plain, None, 5);
    misfit(&plain, Some(&key), 1, Misfit::Keyless);
    assert!(verify_archive(&archive, Some(&key)).is_ok(), "all was put back");
    std::fs::remove_dir_all(&at).unwrap();
}

#[test]
fn a_journal_that_lost_what_the_archive_needs_next_is_told() {
    let at = folder("archive-gap");
    let (journal, archive) = (journal(&at), at.join("archive"));
    archived(&journal, &archive, None, 2);
    let mut storage = FileStorage::open(&journal).unwrap();
    storage.remove(2).unwrap();
    let gap = Archive::open(&journal, &archive, None).unwrap().add(5, &AtomicBool::new(false));
    assert!(matches!(gap, Err(ArchiveError::Gap { last: 1, first: 3, .. })), "{gap:?}");
    std::fs::remove_dir_all(&at).unwrap();
}

/// The thread is told as the journal's thread tells it; nothing is pruned before it is archived.
#[test]
fn segments_are_archived_beside_the_writing_and_pruned_only_then() {
    let at = folder("archive-thread");
    let (path, archive) = (at.join("journal"), at.join("archive"));
    let bytes = 24 * 4096;
    let storage = FileStorage::open(&path).unwrap();
    let (mut writer, _) = recover(storage, 5, bytes, None, &mut |_| Ok(())).unwrap();
    let archiver = Archiver::start(&path, &archive, None).unwrap();
    let (mut chain, mut pruned) = (touchline_protocol::ChainHash(0), 0);
    for seq in 1..=300 {
        use touchline_protocol::*;
        let envelope = Envelope { seq: Seq(seq), previous: chain, ..Envelope::session(5, Epoch(1), 0) };
        let mut frame = Vec::new();
        let fresh = SourceFresh { source: SourceId(1), alive_until: At(0) };
        frame::encode(&envelope, &fresh.into(), &mut frame);
        chain = FrameRef::parse(&frame).unwrap().chain();
        writer.append(&frame, Seq(seq - 1)).unwrap();
        archiver.writing(writer.position().generation);
        if seq % 40 == 0 {
            writer.keep_snapshot(Seq(seq), b"a state").unwrap();
            let below = archiver.archived_below();
            pruned += writer.prune_below(1, below).unwrap();
            assert!(writer.storage().list().unwrap()[0] >= below.min(writer.position().generation));
        }
    }
    let writing = writer.position().generation;
    assert!(writing > 10);
    while archiver.archived_below() < writing {
        assert_eq!(archiver.trouble(), None);
        archiver.writing(writing);
        std::thread::yield_now();
    }
    pruned += writer.prune_below(1, archiver.archived_below()).unwrap();
    drop(archiver);
    assert!(pruned > 5, "{pruned}");
    let found = verify_archive(&archive, None).unwrap();
    assert_eq!((found.first, found.last), (1, writing - 1));
    std::fs::remove_dir_all(&at).unwrap();
}
