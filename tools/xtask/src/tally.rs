//! Counts of passed and failed tests, read from what nextest, the standard harness and doc tests print.

/// How many tests ended how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed, flaky ones included.
    pub(crate) passed: u64,
    /// Tests that failed, timed out, or could not be run.
    pub(crate) failed: u64,
    /// Tests that were not asked to run.
    pub(crate) skipped: u64,
}

impl Tally {
    /// What one run of a test program, of which `lines` is the whole output, says of itself.
    ///
    /// nextest closes with one summary, and only that counts: the output of a failed test, which it repeats,
    /// holds the standard harness's own line about that test. Otherwise the lines of all programs are summed.
    pub(crate) fn of(lines: &[String]) -> Self {
        match lines.iter().rev().find(|line| is_nextest_summary(line)) {
            Some(line) => summary(line).unwrap_or_default(),
            None => lines.iter().filter_map(|line| summary(line)).fold(Self::default(), Self::plus),
        }
    }

    /// Both tallies together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }
}

/// True for the line in which nextest sums up a whole run.
pub(crate) fn is_nextest_summary(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("Summary [") && (line.contains(" tests run: ") || line.contains(" test run: "))
}

/// nextest: `Summary [ 0.1s] 3 tests run: 2 passed, 1 failed, 4 skipped`;
/// the standard harness: `test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; ...`.
fn summary(line: &str) -> Option<Tally> {
    let counts = if is_nextest_summary(line) {
        line.split_once(" run: ")?.1
    } else {
        line.trim_start().strip_prefix("test result: ")?.split_once(". ")?.1
    };
    let mut tally = Tally::default();
    for part in counts.split([',', ';']) {
        let mut words = part.split_whitespace();
        let Some(count) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
        match words.next() {
            Some("passed") => tally.passed += count,
            Some("failed" | "timed" | "exec") => tally.failed += count,
            Some("skipped" | "ignored") => tally.skipped += count,
            _ => {}
        }
    }
    Some(tally)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Tally {
        Tally::of(&lines.iter().map(|&line| line.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn nextest_lines_are_read() {
        let line =
            "     Summary [   0.021s] 8 tests run: 5 passed (1 slow), 2 failed, 1 timed out, 4 skipped";
        assert_eq!(of(&[line]), Tally { passed: 5, failed: 3, skipped: 4 });
        assert_eq!(of(&["Summary [ 0.001s] 1 test run: 1 passed, 0 skipped"]).passed, 1);
    }

    #[test]
    fn a_run_cut_short_still_counts() {
        let line = "Summary [ 0.1s] 2/9 tests run: 1 passed, 1 failed, 0 skipped";
        assert_eq!(of(&[line]), Tally { passed: 1, failed: 1, skipped: 0 });
    }

    #[test]
    fn harness_lines_of_several_programs_are_summed() {
        let lines = [
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.01s",
            "running 3 tests",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ];
        assert_eq!(of(&lines), Tally { passed: 4, failed: 1, skipped: 1 });
    }

    #[test]
    fn what_a_failed_test_printed_under_nextest_is_not_counted_again() {
        let lines = [
            "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 9 filtered out",
            "     Summary [ 0.2s] 3 tests run: 2 passed, 1 failed, 0 skipped",
            "        FAIL [ 0.1s] (1/3) a::b",
        ];
        assert_eq!(of(&lines), Tally { passed: 2, failed: 1, skipped: 0 });
    }

    #[test]
    fn talk_about_passing_is_not_counted() {
        assert_eq!(of(&["12 passed, 3 failed", "test passed ... ok"]), Tally::default());
    }
}
