//! Real files: the lock, strangers, a folder that cannot be written.

use std::path::PathBuf;
use touchline_journal::storage::Storage;
use touchline_journal::{FileError, FileStorage};

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
