//! How fast datagrams leave: a bucket that fills with the bytes allowed by time passed.

/// A pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes in a second; at least 1000.
    pub bytes_per_s: u64,
    /// Bytes that may leave at once after a rest.
    pub burst_bytes: u64,
}

/// The bucket.
#[derive(Debug)]
pub(crate) struct Bucket {
    pace: Pace,
    /// Thousand-millionths of a byte, so that no remainder is lost; below zero while urgent datagrams are paid off.
    level: i128,
    at_ns: u64,
}

const NANO: i128 = 1_000_000_000;

impl Bucket {
    pub(crate) fn new(pace: Pace, now_ns: u64) -> Self {
        Bucket { pace, level: i128::from(pace.burst_bytes) * NANO, at_ns: now_ns }
    }

    /// Whether anything may leave now.
    pub(crate) fn is_open(&mut self, now_ns: u64) -> bool {
        let passed_ns = now_ns.saturating_sub(self.at_ns);
        self.at_ns = self.at_ns.max(now_ns);
        let filled = self.level + i128::from(passed_ns) * i128::from(self.pace.bytes_per_s);
        self.level = filled.min(i128::from(self.pace.burst_bytes) * NANO);
        self.level > 0
    }

    /// So much leaves, whether there is enough or not: the next one waits for it.
    pub(crate) fn pay(&mut self, bytes: usize) {
        self.level -= bytes as i128 * NANO;
    }

    /// How long it stays shut, nanoseconds.
    pub(crate) fn shut_for_ns(&self) -> u64 {
        let lacks = (1 - self.level).max(0);
        (lacks as u128).div_ceil(u128::from(self.pace.bytes_per_s)) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is asked for and when, no more leaves than the pace allows, and it opens when it said.
        #[test]
        fn no_more_leaves_than_is_allowed(
            bytes_per_s in 1000u64..10_000_000,
            steps in proptest::collection::vec((0u64..3_000_000, 1usize..1500), 1..200),
        ) {
            let burst_bytes = 5000;
            let mut bucket = Bucket::new(Pace { bytes_per_s, burst_bytes }, 0);
            let (mut now_ns, mut left) = (0, 0u64);
            for (passed_ns, bytes) in steps {
                now_ns += passed_ns;
                if !bucket.is_open(now_ns) {
                    now_ns += bucket.shut_for_ns();
                    prop_assert!(bucket.is_open(now_ns));
                }
                bucket.pay(bytes);
                left += bytes as u64;
                let allowed = burst_bytes + now_ns * bytes_per_s / 1_000_000_000 + 1500;
                prop_assert!(left <= allowed, "{left} of {allowed}");
            }
        }
    }
}
