//! Which datagrams of a boot have been heard: a bit for each of the newest, and none of the rest is heard any more.

/// Counters that are told apart behind the newest; two networks may differ by so many datagrams.
pub const WINDOW: u64 = 4096;
const WORDS: usize = (WINDOW / 64) as usize;

/// What a counter is to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// New.
    Not,
    /// Heard before.
    Before,
    /// Too old to tell.
    Unknown,
}

/// The newest counter, and the ones just before it.
#[derive(Clone, Debug)]
pub struct Window {
    /// Everything below counts as too old.
    floor: u64,
    /// The newest counter, plus one.
    end: u64,
    /// Bit `counter % WINDOW`, of the counters from `end - WINDOW` to `end`.
    bits: [u64; WORDS],
}

impl Window {
    /// A window to which everything before `floor` is too old.
    pub fn from(floor: u64) -> Window {
        Window { floor, end: floor, bits: [0; WORDS] }
    }

    /// Whether a counter has been marked.
    pub fn heard(&self, counter: u64) -> Heard {
        if counter < self.floor || self.end.saturating_sub(counter) > WINDOW {
            Heard::Unknown
        } else if counter < self.end && self.bits[word(counter)] & bit(counter) != 0 {
            Heard::Before
        } else {
            Heard::Not
        }
    }

    /// Marks a counter that has not been heard and is authentic; others do nothing.
    pub fn mark(&mut self, counter: u64) {
        if self.heard(counter) != Heard::Not {
            return;
        }
        if counter >= self.end {
            // The places of the counters skipped belonged to others one window earlier.
            let skipped = (counter - self.end).min(WINDOW - 1);
            (0..=skipped).for_each(|back| self.bits[word(counter - back)] &= !bit(counter - back));
            self.end = counter.saturating_add(1);
        }
        self.bits[word(counter)] |= bit(counter);
    }
}

fn word(counter: u64) -> usize {
    (counter % WINDOW / 64) as usize
}

fn bit(counter: u64) -> u64 {
    1 << (counter % 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The naive twin: it forgets nothing.
    struct Twin {
        floor: u64,
        marked: BTreeSet<u64>,
    }

    impl Twin {
        fn heard(&self, counter: u64) -> Heard {
            let newest = self.marked.last().copied().unwrap_or(0);
            let too_old = !self.marked.is_empty() && counter + WINDOW <= newest;
            match () {
                () if counter < self.floor || too_old => Heard::Unknown,
                () if self.marked.contains(&counter) => Heard::Before,
                () => Heard::Not,
            }
        }
    }

    proptest! {
        #[test]
        fn a_window_says_what_a_set_says(
            floor in 0u64..10_000,
            steps in proptest::collection::vec((0u64..12_000, any::<bool>()), 1..300),
        ) {
            let mut window = Window::from(floor);
            let mut twin = Twin { floor, marked: BTreeSet::new() };
            let mut at = floor;
            for (step, far) in steps {
                at = if far { at + step } else { (at + step % 40).saturating_sub(20) };
                prop_assert_eq!(window.heard(at), twin.heard(at), "{}", at);
                if twin.heard(at) == Heard::Not {
                    twin.marked.insert(at);
                }
                window.mark(at);
            }
        }
    }

    #[test]
    fn the_last_counter_ends_a_window() {
        let mut window = Window::from(0);
        window.mark(u64::MAX - 1);
        assert_eq!(window.heard(u64::MAX - 1), Heard::Before);
        assert_eq!(window.heard(0), Heard::Unknown);
    }
}
