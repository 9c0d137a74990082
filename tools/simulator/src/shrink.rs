//! From a failing run to a smaller one: faults are left out as long as it still fails.
//!
//! Leaving a fault out changes everything after it, so what remains need not be the same failure: any failure will do,
//! since every one is wrong. This is delta debugging (Zeller, Hildebrandt 2002) over the numbers of the faults.

use crate::{Failure, Options, run};
use std::collections::BTreeSet;

/// Runs at most.
const RUNS: usize = 400;

/// The failure with as few faults as could be found, and their numbers. `tell` hears of every run: how many faults are
/// left, and how many runs were made.
pub fn shrink(
    failure: Box<Failure>,
    options: &Options,
    tell: &mut dyn FnMut(usize, usize),
) -> (Box<Failure>, BTreeSet<u64>) {
    let mut best = failure;
    let mut runs = 0;
    let mut chunk = best.faults.len().div_ceil(2);
    while chunk > 0 && runs < RUNS {
        let mut from = 0;
        let mut smaller = false;
        while from < best.faults.len() && runs < RUNS {
            let left_out = |place: &usize| (from..from + chunk).contains(place);
            let faults = best.faults.iter().enumerate().filter(|(place, _)| !left_out(place));
            let only: BTreeSet<u64> = faults.map(|(_, number)| *number).collect();
            runs += 1;
            match run(best.seed, &Options { only: Some(only), ..options.clone() }) {
                Err(failure) if failure.faults.len() < best.faults.len() => {
                    best = failure;
                    smaller = true;
                }
                _ => from += chunk,
            }
            tell(best.faults.len(), runs);
        }
        chunk = if chunk == 1 && !smaller { 0 } else { chunk.div_ceil(2).min(best.faults.len()) };
    }
    let faults = best.faults.iter().copied().collect();
    (best, faults)
}
