//! Shedding: how many tickets may be inside, judged by how long they stay.
//!
//! Beyond capacity a queue grows until its bound is hit, and then everybody waits behind the whole of it. So the
//! shortest stay within each interval is watched: where even that is above the target, a queue stands that does
//! not drain, and the bound is lowered until it does; where tickets were refused though the stay was short, or it is far below the target, it is
//! raised again. (The idea of the shortest stay is CoDel's: Nichols and Jacobson, "Controlling Queue Delay", 2012.)

/// Bound on the tickets inside.
#[derive(Debug)]
pub struct Shedding {
    target_ns: u64,
    max: usize,
    bound: usize,
    interval_ends_ns: u64,
    shortest_ns: Option<u64>,
    refused: bool,
}

/// How long an interval is, nanoseconds.
const INTERVAL_NS: u64 = 10_000_000;
/// So many tickets may always be inside: enough for full groups of the journal.
const LEAST: usize = 256;

impl Shedding {
    /// At most `max` inside, fewer while the shortest stay is above `target_ns`.
    pub fn new(max: usize, target_ns: u64) -> Self {
        Shedding { target_ns, max, bound: max, interval_ends_ns: 0, shortest_ns: None, refused: false }
    }

    /// How many may be inside.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// A ticket was inside so long.
    pub fn left(&mut self, stay_ns: u64) {
        self.shortest_ns = Some(self.shortest_ns.map_or(stay_ns, |shortest| shortest.min(stay_ns)));
    }

    /// A ticket found no place.
    pub fn refused(&mut self) {
        self.refused = true;
    }

    /// The bound from now on, where an interval has ended and it changed.
    pub fn step(&mut self, now_ns: u64, inside: usize) -> Option<usize> {
        if now_ns < self.interval_ends_ns {
            return None;
        }
        self.interval_ends_ns = now_ns + INTERVAL_NS;
        let shortest_ns = self.shortest_ns.take()?;
        let refused = std::mem::take(&mut self.refused);
        let before = self.bound;
        if shortest_ns > self.target_ns {
            // In proportion to how far above, at most to half: what is inside is what makes them wait.
            let fits = inside as u64 * self.target_ns / shortest_ns;
            self.bound = (fits as usize).clamp(self.bound / 2, self.bound);
        } else if refused || shortest_ns.saturating_mul(4) <= self.target_ns {
            // After a stall it comes back by itself, before the next burst needs it.
            self.bound += (self.bound / 16).max(1);
        }
        self.bound = self.bound.clamp(LEAST.min(self.max), self.max);
        (self.bound != before).then_some(self.bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that serves so many tickets an interval, offered more than it can: how long they stay at the end.
    fn offered(served: usize, offers: usize, target_ns: u64, max: usize) -> (u64, usize, usize) {
        let mut shedding = Shedding::new(max, target_ns);
        let (mut bound, mut inside, mut done) = (max, 0, 0);
        for interval in 1..=400 {
            let taken = offers.min(bound.saturating_sub(inside));
            inside += taken;
            if taken < offers {
                shedding.refused();
            }
            let stay_ns = inside as u64 * INTERVAL_NS / served as u64;
            let leaves = served.min(inside);
            inside -= leaves;
            done += leaves;
            if leaves > 0 {
                shedding.left(stay_ns);
            }
            bound = shedding.step(interval * INTERVAL_NS, inside + leaves).unwrap_or(bound);
        }
        ((inside + served.min(offers)) as u64 * INTERVAL_NS / served as u64, done, bound)
    }

    #[test]
    fn beyond_capacity_tickets_stay_about_as_long_as_they_should_and_capacity_is_used() {
        for (served, factor) in [(100, 2), (1000, 3), (2000, 10)] {
            let target_ns = 2 * INTERVAL_NS;
            let (stay_ns, done, bound) = offered(served, served * factor, target_ns, 16_384);
            assert!(stay_ns <= 3 * target_ns / 2, "{stay_ns}");
            assert!(done >= served * 400 * 9 / 10, "{done} of {}", served * 400);
            assert!(bound < 16_384);
        }
    }

    #[test]
    fn below_capacity_nobody_is_refused() {
        let (_, done, bound) = offered(1000, 900, 2 * INTERVAL_NS, 16_384);
        assert_eq!((done, bound), (900 * 400, 16_384));
    }

    #[test]
    fn the_bound_comes_back() {
        let mut shedding = Shedding::new(1000, 5);
        for interval in 1..=20 {
            shedding.left(1000);
            shedding.step(interval * INTERVAL_NS, 1000);
        }
        assert_eq!(shedding.bound, LEAST);
        for interval in 21..=100 {
            shedding.left(1);
            shedding.step(interval * INTERVAL_NS, LEAST);
        }
        assert_eq!(shedding.bound, 1000);
    }
}
