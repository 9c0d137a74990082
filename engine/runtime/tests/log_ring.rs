//! The log ring against a naive twin, at its limits, and between real threads.
//!
//! `cargo +nightly miri test -p touchline-runtime --test log_ring -- --skip twin` looks for undefined behaviour.

use proptest::prelude::*;
use std::collections::VecDeque;
use touchline_runtime::log_ring::{self, BYTES_MIN, Full, Reader, Writer};

/// The slow and obvious ring: a queue of records a reader, and the same count of bytes.
struct Twin {
    readers: Vec<Option<VecDeque<Vec<u8>>>>,
    unpublished: Vec<Vec<u8>>,
}

impl Twin {
    fn publish(&mut self) -> bool {
        let new = !self.unpublished.is_empty();
        for record in self.unpublished.drain(..) {
            self.readers.iter_mut().flatten().for_each(|queue| queue.push_back(record.clone()));
        }
        new
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// Length in thirds of a percent of the longest record, so that every ring meets its limits.
    Push(usize),
    Publish,
    Next(usize),
    Release(usize),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..=300usize).prop_map(Step::Push),
        4 => Just(Step::Publish),
        12 => (0..3usize).prop_map(Step::Next),
        6 => (0..3usize).prop_map(Step::Release),
        1 => (0..30usize).prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #[test]
    fn it_hands_out_what_the_twin_hands_out(power in 6..10u32, steps in steps()) {
        let (mut writer, readers) = log_ring::new(1 << power, 3);
        let mut readers: Vec<Option<Reader>> = readers.into_iter().map(Some).collect();
        let mut twin = Twin { readers: vec![Some(VecDeque::new()); 3], unpublished: Vec::new() };
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(size) => {
                    let record = vec![number as u8; writer.record_max() * size / 300];
                    let room = writer.room();
                    let pushed = writer.push(&record).is_ok();
                    prop_assert_eq!(pushed, room.is_some_and(|room| record.len() <= room));
                    if pushed {
                        twin.unpublished.push(record);
                    }
                }
                Step::Publish => prop_assert_eq!(writer.publish(), twin.publish()),
                Step::Next(index) => {
                    if let (Some(reader), Some(queue)) = (&mut readers[index], &mut twin.readers[index]) {
                        prop_assert_eq!(reader.has_next(), !queue.is_empty());
                        prop_assert_eq!(reader.next().map(<[u8]>::to_vec), queue.pop_front());
                    }
                }
                Step::Release(index) => {
                    readers[index].iter_mut().for_each(Reader::release);
                }
                Step::Drop(index) => {
                    if index < 3 {
                        readers[index] = None;
                        twin.readers[index] = None;
                    }
                }
            }
            for (index, reader) in readers.iter().enumerate() {
                let unread: usize = twin.readers[index].iter().flatten().map(|record| 8 + record.len()).sum();
                let behind = writer.behind_bytes(index);
                let is_right = if reader.is_some() { behind >= unread as u64 } else { behind == 0 };
                prop_assert!(is_right, "{} bytes behind with {} unread", behind, unread);
            }
        }
        drop(writer);
        for (reader, queue) in readers.iter_mut().flatten().zip(twin.readers.iter_mut().flatten()) {
            while let Some(record) = reader.next() {
                prop_assert_eq!(Some(record.to_vec()), queue.pop_front());
            }
            prop_assert!(queue.is_empty());
            prop_assert!(reader.ended());
        }
    }
}

fn small() -> (Writer, Reader) {
    let (writer, mut readers) = log_ring::new(BYTES_MIN, 1);
    (writer, readers.remove(0))
}

#[test]
fn nothing_is_seen_before_it_is_published() {
    let (mut writer, mut reader) = small();
    writer.claim(3).unwrap().copy_from_slice(b"abc");
    assert_eq!(reader.next(), None);
    assert!(writer.publish());
    assert!(!writer.publish());
    assert_eq!(reader.next(), Some(&b"abc"[..]));
    assert_eq!(reader.next(), None);
}

#[test]
fn room_comes_back_with_the_release_and_not_with_the_reading() {
    let (mut writer, mut reader) = small();
    assert_eq!(writer.room(), Some(24));
    writer.push(&[1; 24]).unwrap();
    writer.push(&[2; 24]).unwrap();
    writer.publish();
    assert_eq!(writer.room(), None);
    assert!(reader.next().is_some());
    assert_eq!(writer.push(&[3]), Err(Full));
    assert_eq!(writer.behind_bytes(0), 64);
    reader.release();
    assert_eq!(writer.behind_bytes(0), 32);
    writer.push(&[3]).unwrap();
}

#[test]
fn the_longest_record_fits_at_every_place_of_an_empty_ring() {
    let (mut writer, mut reader) = small();
    for lap in 0..64u8 {
        for len in [usize::from(lap) % 8, writer.record_max()] {
            writer.push(&vec![lap; len]).unwrap();
            writer.publish();
            assert_eq!(reader.next(), Some(&vec![lap; len][..]));
            reader.release();
        }
    }
}

#[test]
#[should_panic(expected = "a record of 25 bytes in a ring of 64")]
fn a_record_that_could_never_fit_is_a_defect() {
    let _ = small().0.push(&[0; 25]);
}

#[test]
fn a_ring_without_readers_is_never_full() {
    let (mut writer, readers) = log_ring::new(BYTES_MIN, 2);
    drop(readers);
    for _ in 0..10 {
        writer.push(&[0; 24]).unwrap();
    }
    assert_eq!((writer.behind_bytes(0), writer.behind_bytes(1)), (0, 0));
}

#[test]
fn threads_read_what_was_written() {
    let laps: u32 = if cfg!(miri) { 10 } else { 5000 };
    let (mut writer, readers) = log_ring::new(256, 3);
    let record = |number: u32| vec![number as u8; number as usize % 121];
    std::thread::scope(|scope| {
        for (batch, mut reader) in (1..).zip(readers) {
            scope.spawn(move || {
                let mut seen = 0;
                while !reader.ended() {
                    let Some(bytes) = reader.next() else {
                        reader.release();
                        std::thread::yield_now();
                        continue;
                    };
                    assert_eq!(bytes, record(seen));
                    seen += 1;
                    if seen % batch == 0 {
                        reader.release();
                    }
                }
                assert_eq!(seen, laps);
            });
        }
        scope.spawn(move || {
            for number in 0..laps {
                while writer.push(&record(number)).is_err() {
                    writer.publish();
                    std::thread::yield_now();
                }
                if number % 3 == 0 {
                    writer.publish();
                }
            }
            writer.publish();
        });
    });
}
