//! The node's clock: the one place that reads it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use touchline_core::Now;

/// A clock whose monotonic part starts at its creation.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// Starts the clock.
    pub fn start() -> Self {
        Clock { start: Instant::now() }
    }

    /// Nanoseconds since an instant of UTC; 0 where that is not yet over.
    pub fn since_utc(&self, utc_ns: i64) -> u64 {
        u64::try_from(self.now().utc_ns.saturating_sub(utc_ns)).unwrap_or(0)
    }

    /// Reads it.
    pub fn now(&self) -> Now {
        let utc = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Now {
            mono_ns: u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX),
            utc_ns: i64::try_from(utc).unwrap_or(i64::MAX),
        }
    }
}
