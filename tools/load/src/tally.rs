//! What a load was answered: counts by code, latencies, and how both went over time.

use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use touchline_protocol::Code;

/// An hour in nanoseconds: what waits longer is recorded as this.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// A histogram of nanoseconds from 1 to an hour in three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are in order")
}

/// A second of the measured time.
#[derive(Clone, Debug)]
pub struct Second {
    /// Decisions that came.
    pub decisions: u64,
    /// Refusals that came.
    pub refusals: u64,
    /// 99th percentile of the latencies of what came, nanoseconds.
    pub latency_ns_p99: u64,
}

/// Counts of a whole run; latencies of its measured part.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Where the measured part begins and ends, nanoseconds since the start.
    window_ns: (u64, u64),
    /// Tickets sent, those sent again included.
    pub sent: u64,
    /// Tickets sent a second time.
    pub again: u64,
    /// Decisions by code.
    pub decisions: BTreeMap<Code, u64>,
    /// Refusals by code.
    pub refused: BTreeMap<Code, u64>,
    /// Answers to no open request: given twice, or never asked for.
    pub unasked: u64,
    /// Answers that name another ticket than the request's.
    pub mismatched: u64,
    /// Second answers that differ from the first.
    pub differing: u64,
    /// Tickets without an answer at the end.
    pub unanswered: u64,
    /// Connections that ended before the run.
    pub lost: u64,
    /// Why the last of them did.
    pub lost_why: String,
    /// Prices and statuses told to subscribers.
    pub told: u64,
    /// Times at which a ticket was due but nothing was on sale.
    pub nothing_on_sale: u64,
    /// Decisions that came in the measured part.
    pub measured: u64,
    /// From the scheduled time to the decision, nanoseconds.
    pub latency_ns: Histogram<u64>,
    /// From the scheduled time to the refusal, nanoseconds.
    pub refusal_ns: Histogram<u64>,
    /// From the scheduled time to the sending: how late the generator itself is, nanoseconds.
    pub late_ns: Histogram<u64>,
    /// The measured part, second by second.
    pub seconds: Vec<Second>,
    current: Histogram<u64>,
    current_refusals: u64,
    /// Processor time of the generator's thread, nanoseconds.
    pub processor_ns: u64,
}

impl Tally {
    /// Nothing yet. The measured part begins and ends at these nanoseconds since the start.
    pub fn new(window_ns: (u64, u64)) -> Self {
        Tally {
            window_ns,
            sent: 0,
            again: 0,
            decisions: BTreeMap::new(),
            refused: BTreeMap::new(),
            unasked: 0,
            mismatched: 0,
            differing: 0,
            unanswered: 0,
            lost: 0,
            lost_why: String::new(),
            told: 0,
            nothing_on_sale: 0,
            measured: 0,
            latency_ns: histogram(),
            refusal_ns: histogram(),
            late_ns: histogram(),
            seconds: Vec::new(),
            current: histogram(),
            current_refusals: 0,
            processor_ns: 0,
        }
    }

    /// A ticket goes out.
    pub(crate) fn sent(&mut self, due_ns: u64, now_ns: u64, again: bool) {
        self.sent += 1;
        self.again += u64::from(again);
        if self.is_measured(due_ns) {
            self.late_ns.saturating_record(now_ns.saturating_sub(due_ns).max(1));
        }
    }

    /// An answer came. What was due in the measured part counts for the latencies, what came in it for the rate.
    pub(crate) fn answered(&mut self, due_ns: u64, now_ns: u64, code: Code, refused: bool) {
        let latency_ns = now_ns.saturating_sub(due_ns).max(1);
        let counts = if refused { &mut self.refused } else { &mut self.decisions };
        *counts.entry(code).or_default() += 1;
        if self.is_measured(due_ns) {
            let latencies = if refused { &mut self.refusal_ns } else { &mut self.latency_ns };
            latencies.saturating_record(latency_ns);
        }
        if !self.is_measured(now_ns) {
            return;
        }
        self.close_seconds(now_ns);
        if refused {
            self.current_refusals += 1;
        } else {
            self.measured += 1;
            self.current.saturating_record(latency_ns);
        }
    }

    /// Closes the seconds that are over at an instant.
    pub(crate) fn close_seconds(&mut self, now_ns: u64) {
        let (from, to) = self.window_ns;
        let over = now_ns.min(to).saturating_sub(from) / 1_000_000_000;
        while (self.seconds.len() as u64) < over {
            self.seconds.push(Second {
                decisions: self.current.len(),
                refusals: std::mem::take(&mut self.current_refusals),
                latency_ns_p99: self.current.value_at_quantile(0.99),
            });
            self.current.reset();
        }
    }

    fn is_measured(&self, at_ns: u64) -> bool {
        (self.window_ns.0..self.window_ns.1).contains(&at_ns)
    }

    /// Length of the measured part, seconds.
    pub fn measured_s(&self) -> f64 {
        (self.window_ns.1 - self.window_ns.0) as f64 * 1e-9
    }

    /// Decisions in a second of the measured part.
    pub fn decisions_per_second(&self) -> f64 {
        self.measured as f64 / self.measured_s()
    }

    /// Decisions of the whole run.
    pub fn decided(&self) -> u64 {
        self.decisions.values().sum()
    }

    /// Refusals of the whole run.
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// What is wrong with the answers themselves; `None` where every ticket was answered once, and the same each time.
    pub fn wrong(&self) -> Option<String> {
        let counts = [
            (self.unanswered, "tickets were never answered"),
            (self.unasked, "answers came to no open request"),
            (self.mismatched, "answers named another ticket"),
            (self.differing, "answers differed when asked again"),
            (self.lost, "connections were lost"),
        ];
        let found = counts.iter().filter(|(count, _)| *count > 0);
        let told: Vec<String> = found.map(|(count, what)| format!("{count} {what}")).collect();
        let why = if self.lost > 0 { format!(" (the last: {})", self.lost_why) } else { String::new() };
        (!told.is_empty()).then(|| told.join(", ") + &why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warm_up_counts_as_answered_but_is_not_measured() {
        let second = 1_000_000_000;
        let mut tally = Tally::new((second, 3 * second));
        tally.answered(second / 2, second - 1, Code::Accepted, false);
        // Due before, answered within: counts for the rate alone.
        tally.answered(second / 2, second, Code::Accepted, false);
        tally.answered(second, second + 5000, Code::OddsChanged, false);
        tally.answered(second, 2 * second + 1, Code::Overloaded, true);
        // Due within, answered after: counts for the latency alone.
        tally.answered(2 * second, 3 * second, Code::Accepted, false);
        tally.close_seconds(4 * second);
        assert_eq!((tally.decided(), tally.refusals()), (4, 1));
        assert_eq!((tally.measured, tally.decisions_per_second()), (2, 1.0));
        assert_eq!((tally.latency_ns.len(), tally.refusal_ns.len(), tally.seconds.len()), (2, 1, 2));
        assert_eq!((tally.seconds[0].decisions, tally.seconds[1].refusals), (2, 1));
        assert_eq!(tally.wrong(), None);
    }
}
