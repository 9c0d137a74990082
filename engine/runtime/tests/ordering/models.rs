//! The models: small programs whose every execution is tried.

use super::asleep::Asleep;
use super::log_ring;
use super::sync::Arc;
use loom::sync::Notify;
use loom::thread;

/// Batches of two through a ring of 64 bytes: three records fill it but for 16 bytes that have to be skipped, so the
/// writer laps a reader that releases late.
pub fn records() {
    let (mut writer, mut readers) = log_ring::new(64, 1);
    let mut reader = readers.remove(0);
    let sender = thread::spawn(move || {
        for number in 0..4u8 {
            while writer.push(&[number; 9]).is_err() {
                thread::yield_now();
            }
            if number % 2 == 1 {
                writer.publish();
            }
        }
    });
    for number in 0..4u8 {
        loop {
            if let Some(record) = reader.next() {
                assert_eq!(record, [number; 9]);
                break;
            }
            reader.release();
            thread::yield_now();
        }
    }
    sender.join().unwrap();
    assert!(reader.next().is_none());
    assert!(reader.ended());
}

/// A full ring becomes free when its only reader is dropped.
pub fn reader_dropped() {
    let (mut writer, mut readers) = log_ring::new(64, 1);
    let mut reader = readers.remove(0);
    for number in 0..2u8 {
        writer.push(&[number; 24]).unwrap();
        writer.publish();
    }
    let leaver = thread::spawn(move || {
        assert_eq!(reader.next(), Some(&[0; 24][..]));
        drop(reader);
    });
    while writer.push(&[2; 24]).is_err() {
        thread::yield_now();
    }
    leaver.join().unwrap();
    assert_eq!(writer.behind_bytes(0), 0);
}

/// A reader reads what was published to the end, and sees that there is no more.
pub fn writer_dropped() {
    let (mut writer, mut readers) = log_ring::new(64, 1);
    let mut reader = readers.remove(0);
    let sender = thread::spawn(move || {
        writer.push(&[1; 3]).unwrap();
        writer.publish();
        writer.push(&[2; 3]).unwrap();
    });
    let mut seen = 0;
    while !reader.ended() {
        match reader.next() {
            Some(record) => {
                assert_eq!(record, [1; 3]);
                seen += 1;
            }
            None => thread::yield_now(),
        }
    }
    assert_eq!(seen, 1);
    sender.join().unwrap();
}

/// Two workers leave one record each in rings of their own; the sleeper sleeps whenever it sees none.
pub fn wake_up() {
    let asleep = Arc::new(Asleep::new());
    let event = Arc::new(Notify::new());
    let (mut readers, workers): (Vec<_>, Vec<_>) = (0..2)
        .map(|_| {
            let (mut writer, mut readers) = log_ring::new(64, 1);
            let (asleep, event) = (asleep.clone(), event.clone());
            let worker = thread::spawn(move || {
                writer.push(&[7]).unwrap();
                writer.publish();
                if asleep.take() {
                    event.notify();
                }
            });
            (readers.remove(0), worker)
        })
        .unzip();
    let mut seen = 0;
    while seen < 2 {
        let before = seen;
        readers.iter_mut().for_each(|reader| seen += usize::from(reader.next().is_some()));
        if seen == before && asleep.announce(|| readers.iter().any(|reader| reader.has_next())) {
            event.wait();
            asleep.lower();
        }
    }
    for worker in workers {
        worker.join().unwrap();
    }
}
