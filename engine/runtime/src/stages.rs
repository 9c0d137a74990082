//! Measurement inside: histograms, counters and gauges that are always on, written by one thread each and read by any.
//!
//! A histogram has 32 buckets for each power of two, so a value is known to 3 %, up to [`NS_MAX`]; it occupies 8 KiB.
//! Nothing waits for anything: a reader may see a value in one sum and not yet in another.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hdrhistogram::Histogram;

use crate::own_line::OwnLine;

/// Largest value told from larger ones, ns: 68.7 s.
pub const NS_MAX: u64 = (1 << EXPONENTS) - 1;

const EXPONENTS: u32 = 36;
const FINE_BITS: u32 = 5;
const FINE: usize = 1 << FINE_BITS;
const BUCKETS: usize = FINE * (EXPONENTS - FINE_BITS + 1) as usize;

/// Everything that is measured on a node, by name, in the order of its making. Made once, then only read.
#[derive(Default)]
pub struct Board {
    stages: Vec<(String, Arc<Cells>)>,
    counters: Vec<(String, Arc<OwnLine<AtomicU64>>)>,
    gauges: Vec<(String, Arc<OwnLine<AtomicU64>>)>,
}

impl Board {
    /// A new histogram, and the one hand that records.
    pub fn stage(&mut self, name: &str) -> Recorder {
        let cells = Arc::new(Cells {
            counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(),
            totals: OwnLine([const { AtomicU64::new(0) }; 2]),
        });
        self.stages.push((name.to_owned(), cells.clone()));
        Recorder(cells)
    }

    /// A new number that only grows, and the one hand that adds.
    pub fn counter(&mut self, name: &str) -> Counter {
        let cell = Arc::new(OwnLine(AtomicU64::new(0)));
        self.counters.push((name.to_owned(), cell.clone()));
        Counter(cell)
    }

    /// A new number that goes up and down, and the one hand that sets it.
    pub fn gauge(&mut self, name: &str) -> Gauge {
        let cell = Arc::new(OwnLine(AtomicU64::new(0)));
        self.gauges.push((name.to_owned(), cell.clone()));
        Gauge(cell)
    }

    /// Every histogram at this moment.
    pub fn stages(&self) -> impl Iterator<Item = (&str, Snapshot)> {
        self.stages.iter().map(|(name, cells)| (name.as_str(), cells.snapshot()))
    }

    /// Every counter at this moment.
    pub fn counters(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counters.iter().map(|(name, cell)| (name.as_str(), cell.0.load(Relaxed)))
    }

    /// Every gauge at this moment.
    pub fn gauges(&self) -> impl Iterator<Item = (&str, u64)> {
        self.gauges.iter().map(|(name, cell)| (name.as_str(), cell.0.load(Relaxed)))
    }
}

/// Records into one histogram.
pub struct Recorder(Arc<Cells>);

impl Recorder {
    /// One duration; what is above [`NS_MAX`] counts into the last bucket.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        let [sum, max] = &self.0.totals.0;
        grow(&self.0.counts[bucket(ns)], 1);
        grow(sum, ns);
        if ns > max.load(Relaxed) {
            max.store(ns, Relaxed);
        }
    }
}

/// Adds to one counter.
pub struct Counter(Arc<OwnLine<AtomicU64>>);

impl Counter {
    /// Adds `more`.
    #[inline]
    pub fn add(&mut self, more: u64) {
        grow(&self.0.0, more);
    }
}

/// Sets one gauge.
pub struct Gauge(Arc<OwnLine<AtomicU64>>);

impl Gauge {
    /// From now on it is `value`.
    #[inline]
    pub fn set(&mut self, value: u64) {
        self.0.0.store(value, Relaxed);
    }
}

/// What was recorded up to a moment, or between two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    counts: Vec<u64>,
    /// Sum of all durations, ns.
    pub sum_ns: u64,
    /// Longest duration since the start, ns, exact.
    pub max_ns: u64,
}

impl Snapshot {
    /// How many durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Mean of all durations, ns; 0 where there are none.
    pub fn mean_ns(&self) -> u64 {
        self.sum_ns.checked_div(self.count()).unwrap_or(0)
    }

    /// The durations since an earlier snapshot of the same histogram; `max_ns` stays that since the start.
    pub fn since(&self, earlier: &Snapshot) -> Snapshot {
        let less = |(now, then): (&u64, &u64)| now.saturating_sub(*then);
        Snapshot {
            counts: self.counts.iter().zip(&earlier.counts).map(less).collect(),
            sum_ns: self.sum_ns.saturating_sub(earlier.sum_ns),
            max_ns: self.max_ns,
        }
    }

    /// For quantiles, and for merging with others: each duration as the middle of its bucket.
    pub fn histogram(&self) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(1, NS_MAX, 3).expect("within what it allows");
        for (index, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let middle = lowest(index).midpoint(lowest(index + 1) - 1);
            histogram.record_n(middle, *count).expect("within its bounds");
        }
        histogram
    }
}

/// Shared by a recorder and the board.
struct Cells {
    counts: Box<[AtomicU64]>,
    /// Sum and maximum.
    totals: OwnLine<[AtomicU64; 2]>,
}

impl Cells {
    fn snapshot(&self) -> Snapshot {
        let [sum, max] = &self.totals.0;
        Snapshot {
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum_ns: sum.load(Relaxed),
            max_ns: max.load(Relaxed),
        }
    }
}

/// The only writer needs no locked instruction; sums wrap after five centuries.
#[inline]
fn grow(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
}

/// The bucket of a duration: its leading bit and the next five.
#[inline]
fn bucket(ns: u64) -> usize {
    let ns = ns.min(NS_MAX);
    let shift = (64 - FINE_BITS - 1).saturating_sub(ns.leading_zeros());
    shift as usize * FINE + (ns >> shift) as usize
}

/// Smallest duration of a bucket, ns.
fn lowest(bucket: usize) -> u64 {
    let shift = (bucket / FINE).saturating_sub(1);
    ((bucket - shift * FINE) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_duration_lies_in_its_bucket_and_is_known_to_three_percent(bits in 0..EXPONENTS, ns in any::<u64>()) {
            let ns = ns & ((2 << bits) - 1);
            let index = bucket(ns);
            prop_assert!(index < BUCKETS);
            prop_assert!((lowest(index)..lowest(index + 1)).contains(&ns));
            prop_assert!((lowest(index + 1) - lowest(index)) * FINE as u64 <= lowest(index).max(FINE as u64));
        }

        #[test]
        fn quantiles_are_those_of_the_sorted_durations(durations in prop::collection::vec(0..1_000_000u64, 1..200)) {
            let mut board = Board::default();
            let mut recorder = board.stage("any");
            durations.iter().for_each(|ns| recorder.record(*ns));
            let (_, snapshot) = board.stages().next().unwrap();
            let mut sorted = durations;
            sorted.sort_unstable();
            prop_assert_eq!(snapshot.count(), sorted.len() as u64);
            prop_assert_eq!(snapshot.sum_ns, sorted.iter().sum::<u64>());
            prop_assert_eq!(snapshot.max_ns, sorted[sorted.len() - 1]);
            let histogram = snapshot.histogram();
            for quantile in [0.01, 0.5, 0.9, 1.0] {
                let rank = ((quantile * sorted.len() as f64).ceil() as usize).max(1);
                let (told, exact) = (histogram.value_at_quantile(quantile), sorted[rank - 1]);
                prop_assert!(told.abs_diff(exact) <= 1 + exact / 50, "{} for {}", told, exact);
            }
        }
    }

    #[test]
    fn buckets_cover_everything_once() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(NS_MAX), BUCKETS - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
        assert_eq!(lowest(BUCKETS), NS_MAX + 1);
        assert!((0..BUCKETS).all(|index| bucket(lowest(index)) == index));
    }

    #[test]
    fn a_difference_holds_what_came_between() {
        let mut board = Board::default();
        let mut recorder = board.stage("apply");
        recorder.record(10);
        let (_, before) = board.stages().next().unwrap();
        recorder.record(20);
        recorder.record(30);
        let (name, after) = board.stages().next().unwrap();
        let between = after.since(&before);
        assert_eq!((name, between.count(), between.mean_ns()), ("apply", 2, 25));
        assert_eq!(between.since(&between).mean_ns(), 0);
    }

    #[test]
    fn counters_and_gauges_are_read_by_name() {
        let mut board = Board::default();
        let (mut frames, mut behind) = (board.counter("frames"), board.gauge("behind_bytes"));
        frames.add(2);
        frames.add(3);
        behind.set(9);
        behind.set(4);
        assert_eq!(board.counters().collect::<Vec<_>>(), [("frames", 5)]);
        assert_eq!(board.gauges().collect::<Vec<_>>(), [("behind_bytes", 4)]);
    }
}
