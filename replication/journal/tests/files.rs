//! Real files: the lock, strangers, both ways of writing, segments made ahead and used again.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use touchline_journal::layout::BLOCK;
use touchline_journal::storage::Storage;
use touchline_journal::{FileError, FileStorage, aligned};
use zerocopy::IntoBytes;

const SEGMENT: u64 = 1 << 20;

fn folder(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

#[test]
fn a_second_node_is_told_who_holds_the_journal() {
    let path = folder("lock");
    let first = FileStorage::open(&path).unwrap();
    let second = FileStorage::open(&path).unwrap_err();
    let told = second.to_string();
    assert!(matches!(second, FileError::InUse { .. }));
    assert!(told.contains(&std::process::id().to_string()) && told.contains("in use"), "{told}");
    assert!(FileStorage::open_read_only(&path).is_ok(), "a reader needs no lock");
    drop(first);
    assert!(FileStorage::open(&path).is_ok());
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn segments_are_files_of_zeros_that_keep_what_is_written() {
    let path = folder("segments");
    let mut storage = FileStorage::open(&path).unwrap();
    storage.create(1, 2 << 20).unwrap();
    storage.write(1, 4096, b"frames").unwrap();
    drop(storage);
    let storage = FileStorage::open(&path).unwrap();
    assert_eq!(storage.list().unwrap(), [1]);
    assert_eq!(storage.size(1).unwrap(), 2 << 20);
    let mut bytes = [0; 8];
    storage.read(1, 4095, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0frames\0");
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn strangers_and_files_in_the_way_are_named() {
    let path = folder("stranger");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("notes.txt"), "hello").unwrap();
    assert!(matches!(FileStorage::open(&path), Err(FileError::Stranger { .. })));
    let in_the_way = path.join("notes.txt");
    let told = FileStorage::open(&in_the_way).unwrap_err().to_string();
    assert!(told.contains("notes.txt"), "{told}");
    std::fs::remove_dir_all(&path).unwrap();
}

/// Both ways of writing, on a disk and in memory; what one wrote the other goes on with.
#[test]
fn direct_and_buffered_writes_are_the_same_bytes_on_any_file_system() {
    let memory = Path::new("/dev/shm");
    let in_memory = memory.is_dir().then(|| memory.join(format!("touchline-ways-{}", std::process::id())));
    for path in std::iter::once(folder("ways")).chain(in_memory) {
        let _ = std::fs::remove_dir_all(&path);
        let mut group = aligned::zeros(3 * BLOCK);
        for (number, way) in
            [FileStorage::open, FileStorage::open_buffered].into_iter().cycle().take(4).enumerate()
        {
            let mut storage = way(&path).unwrap();
            if number == 0 {
                storage.create(1, SEGMENT).unwrap();
            }
            group.as_mut_bytes().fill(number as u8 + 1);
            storage.write(1, number as u64 * BLOCK, group.as_bytes()).unwrap();
            let mut found = vec![0; 4 * BLOCK as usize];
            storage.read(1, number as u64 * BLOCK, &mut found).unwrap();
            assert!(found[..group.as_bytes().len()] == *group.as_bytes());
            assert!(found[group.as_bytes().len()..].iter().all(|byte| *byte == 0));
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn a_write_that_fails_is_an_error_and_reaches_no_other_segment() {
    let path = folder("outside");
    let mut storage = FileStorage::open(&path).unwrap();
    storage.create(1, SEGMENT).unwrap();
    let group = aligned::zeros(BLOCK);
    let error = storage.write(2, 0, group.as_bytes()).unwrap_err();
    assert!(
        !FileStorage::is_full(&error) && error.to_string().contains("segment-0000000000000002"),
        "{error}"
    );
    std::fs::remove_dir_all(&path).unwrap();
}

/// The names of segments' files, and of those that wait for use.
fn names(path: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.filter(|name| name != "LOCK").collect();
    names.sort_unstable();
    names
}

#[test]
fn a_segment_made_ahead_appears_whole_and_is_waited_for_where_it_is_needed() {
    let path = folder("ahead");
    let mut storage = FileStorage::open(&path).unwrap();
    while !storage.prepare(1, SEGMENT).unwrap() {
        assert!(storage.list().unwrap().is_empty());
        std::thread::yield_now();
    }
    assert_eq!(storage.list().unwrap(), [1]);
    let _ = storage.prepare(2, SEGMENT).unwrap();
    storage.create(2, SEGMENT).unwrap();
    assert_eq!(storage.list().unwrap(), [1, 2]);
    // Nobody comes back for this one: it ends with the storage.
    let _ = storage.prepare(3, 64 * SEGMENT).unwrap();
    drop(storage);
    let storage = FileStorage::open(&path).unwrap();
    assert!(storage.list().unwrap().len() >= 2);
    std::fs::remove_dir_all(&path).unwrap();
}

#[test]
fn what_is_removed_is_zeroed_and_used_again_unless_somebody_reads_it() {
    let path = folder("recycled");
    let mut storage = FileStorage::open(&path).unwrap();
    let mut group = aligned::zeros(SEGMENT);
    group.as_mut_bytes().fill(7);
    let inode = |generation: u64| {
        std::fs::metadata(path.join(format!("segment-{generation:016x}.tlj"))).unwrap().ino()
    };
    for generation in 1..=3 {
        storage.create(generation, SEGMENT).unwrap();
        storage.write(generation, 0, group.as_bytes()).unwrap();
    }
    let reader = FileStorage::open_read_only(&path).unwrap();
    let (read, again) = (inode(1), inode(2));
    let mut found = vec![0; SEGMENT as usize];
    reader.read(1, 0, &mut found).unwrap();
    storage.remove(1).unwrap();
    storage.create(4, SEGMENT).unwrap();
    assert_ne!(inode(4), read, "a reader keeps what it reads");
    found.fill(0);
    reader.read(1, 0, &mut found).unwrap();
    assert!(found.iter().all(|byte| *byte == 7));
    drop(reader);
    storage.remove(2).unwrap();
    storage.create(5, SEGMENT).unwrap();
    assert_eq!(inode(5), again);
    storage.read(5, 0, &mut found).unwrap();
    assert!(found.iter().all(|byte| *byte == 0));
    assert!(
        FileStorage::open_read_only(&path).unwrap().list().unwrap() == [3, 4, 5],
        "readers may look again"
    );
    std::fs::remove_dir_all(&path).unwrap();
}

/// A journal has more segments than a process may have descriptors.
#[test]
fn however_many_segments_there_are_few_are_open() {
    let path = folder("many");
    let mut storage = FileStorage::open(&path).unwrap();
    let block = aligned::zeros(4096);
    let open = || {
        let descriptors = std::fs::read_dir("/proc/self/fd").unwrap();
        let targets = descriptors.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
        targets.filter(|target| target.starts_with(&path)).count()
    };
    for generation in 1..=40 {
        storage.create(generation, 64 * 1024).unwrap();
        storage.write(generation, 0, block.as_bytes()).unwrap();
        assert!(open() <= 4, "{} are open", open());
    }
    let reader = FileStorage::open_read_only(&path).unwrap();
    for generation in 1..=40 {
        for storage in [&reader, &storage] {
            storage.read(generation, 0, &mut [0; 512]).unwrap();
        }
        assert!(open() <= 5, "{} are open", open());
    }
    drop((reader, storage));
    std::fs::remove_dir_all(&path).unwrap();
}

/// Every state of the folder that a crash in the middle of using a file again can leave.
#[test]
fn a_crash_while_a_segment_is_used_again_leaves_one_name_or_none() {
    let path = folder("torn");
    for left in
        ["retired-0000000000000001.part", "segment-0000000000000003.part", "snapshot-0000000000000009.part"]
    {
        let _ = std::fs::remove_dir_all(&path);
        let mut storage = FileStorage::open(&path).unwrap();
        storage.create(2, SEGMENT).unwrap();
        drop(storage);
        // Its old bytes, half zeroed.
        let mut bytes = vec![7; SEGMENT as usize];
        bytes[..100_000].fill(0);
        std::fs::write(path.join(left), bytes).unwrap();
        let reader = FileStorage::open_read_only(&path).unwrap();
        assert_eq!(reader.list().unwrap(), [2]);
        assert!(reader.snapshots().unwrap().is_empty());
        let mut storage = FileStorage::open(&path).unwrap();
        assert_eq!(storage.list().unwrap(), [2]);
        storage.create(3, SEGMENT).unwrap();
        let mut found = vec![1; SEGMENT as usize];
        storage.read(3, 0, &mut found).unwrap();
        assert!(found.iter().all(|byte| *byte == 0), "{left}");
        assert_eq!(names(&path), ["segment-0000000000000002.tlj", "segment-0000000000000003.tlj"]);
    }
    std::fs::remove_dir_all(&path).unwrap();
}
