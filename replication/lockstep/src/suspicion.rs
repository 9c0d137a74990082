//! When silence means that something is wrong: never sooner than the own loop's stalls could explain.

use crate::settings::Settings;
use std::collections::VecDeque;

/// Stalls remembered, and for how long.
const STALLS: usize = 16;
const WINDOW_NS: u64 = 60_000_000_000;
/// Gaps below this are the ordinary pace of a loop.
const PACE_NS: u64 = 2_000_000;

/// Gaps of the own loop.
#[derive(Debug, Default)]
pub struct Stalls {
    last_ns: Option<u64>,
    recent: VecDeque<(u64, u64)>,
}

impl Stalls {
    /// The loop comes round; the gap since it last did, where that is a stall.
    pub fn tick(&mut self, now_ns: u64, settings: &Settings) -> Option<u64> {
        let gap = now_ns.saturating_sub(self.last_ns.replace(now_ns).unwrap_or(now_ns));
        while self.recent.front().is_some_and(|(at, _)| now_ns.saturating_sub(*at) > WINDOW_NS) {
            self.recent.pop_front();
        }
        if gap > PACE_NS {
            if self.recent.len() == STALLS {
                self.recent.pop_front();
            }
            self.recent.push_back((now_ns, gap));
        }
        (gap > settings.stall_ns).then_some(gap)
    }

    fn worst_ns(&self) -> Option<u64> {
        self.recent.iter().map(|(_, gap)| *gap).max()
    }

    /// Silence of the primary after which its standby asks to be promoted: twice the worst recent stall, clamped.
    pub fn suspect_ns(&self, settings: &Settings) -> u64 {
        let (least, most) = settings.suspect_range_ns;
        self.worst_ns().map_or(settings.suspect_ns, |worst| (2 * worst).clamp(least, most))
    }

    /// How long a frame may wait for the standby before the primary asks to go on alone.
    pub fn progress_ns(&self, settings: &Settings) -> u64 {
        let (least, most) = settings.progress_range_ns;
        (2 * self.worst_ns().unwrap_or(settings.suspect_ns / 2)).clamp(least, most)
    }
}
