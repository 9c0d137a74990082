//! The clock: timestamps cheap enough to take at every stage, from the processor's own counter.
//!
//! `quanta` reads the counter and knows its pace; where the processor's is not steady it asks the kernel instead. The
//! figures are for measuring and idling: what is logged takes its time from the sequencer's clock.

use std::sync::LazyLock;

static CLOCK: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

/// Learns the counter's pace, up to 200 ms long. Otherwise the first to ask for the time waits for it.
pub fn start() {
    LazyLock::force(&CLOCK);
}

/// A moment, as the counter showed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticks(u64);

impl Ticks {
    /// This moment.
    #[inline]
    pub fn now() -> Self {
        Ticks(CLOCK.raw())
    }

    /// Nanoseconds from a moment long past, the same for this whole process.
    #[inline]
    pub fn ns(self) -> u64 {
        ns_between(Ticks(0), self)
    }
}

/// Nanoseconds from `start` to `end`; 0 where `end` is not later, as two cores may tell it.
#[inline]
pub fn ns_between(start: Ticks, end: Ticks) -> u64 {
    CLOCK.delta_as_nanos(start.0, end.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_and_never_runs_backwards_in_a_difference() {
        start();
        let before = Ticks::now();
        let after = std::iter::repeat_with(Ticks::now).find(|now| ns_between(before, *now) >= 1000).unwrap();
        assert!(after > before && after.ns() >= before.ns() + 999);
        assert_eq!(ns_between(after, before), 0);
    }
}
