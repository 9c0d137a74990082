//! What the journal says about a run, read with none of the core's code.

use crate::inspect::visit;
use crate::live::tally::Tally;
use std::collections::BTreeMap;
use std::path::Path;
use touchline_auditor::Auditor;
use touchline_auditor::market::Market;
use touchline_feeds::Timeline;
use touchline_protocol::*;

/// The findings.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    /// Frames in the journal.
    pub frames: u64,
    /// Markets that were settled and stayed so.
    pub settled_markets: u64,
    /// Markets that were opened and are not settled.
    pub unsettled_markets: u64,
    /// Selections whose logged result differs from what the match's recorded result says.
    pub settlement_mismatches: u64,
    /// Profit of the house, recomputed from the bets.
    pub profit_minor: i64,
    /// Invariants that do not hold.
    pub breaches: Vec<String>,
    /// Answers to clients that the journal does not hold, or holds otherwise.
    pub answers_lost: u64,
    /// Decisions in the journal that no client got an answer to.
    pub answers_unheard: u64,
}

/// Reads the journal of a run.
pub(crate) fn prove(journal: &Path, timelines: &[Timeline], tally: &Tally) -> anyhow::Result<Proof> {
    let mut auditor = Auditor::new();
    let mut settled: BTreeMap<(FixtureId, MarketKey), BTreeMap<u8, Payoff>> = BTreeMap::new();
    let mut decisions = 0;
    let found = visit(journal, &mut |frame| {
        match frame.body().map_err(|error| error.to_string())? {
            Body::Settled(m) => {
                for result in m.results.iter() {
                    let market = settled.entry((m.fixture, result.market)).or_default();
                    market.insert(result.selection, result.payoff);
                }
            }
            Body::Unsettled(m) => {
                m.markets.iter().for_each(|entry| {
                    settled.remove(&(m.fixture, entry.market));
                });
            }
            _ => {}
        }
        auditor.frame(frame).map_err(|error| error.to_string())?;
        // Only their number: rulings are compared with the clients' answers at the end.
        decisions += auditor.take_rulings().len() as u64;
        Ok(())
    })?;
    let report = auditor.report();
    let mut proof = Proof {
        frames: found.frames,
        profit_minor: report.profit_minor,
        breaches: report.breaches.clone(),
        ..Proof::default()
    };
    for timeline in timelines {
        for market in &timeline.markets {
            match settled.get(&(timeline.fixture, *market)) {
                Some(results) => {
                    proof.settled_markets += 1;
                    proof.settlement_mismatches += mismatches(timeline, *market, results);
                }
                None => proof.unsettled_markets += 1,
            }
        }
    }
    for decision in tally.answers.values() {
        let ruling = auditor.decision(decision.brand, decision.ticket);
        let same = ruling.is_some_and(|r| {
            (r.code, r.odds, r.stake, r.returned_minor, r.decided)
                == (decision.code, decision.odds, decision.stake, decision.returned_minor.0, decision.decided)
        });
        proof.answers_lost += u64::from(!same);
    }
    proof.answers_unheard = decisions.saturating_sub(tally.answers.len() as u64);
    Ok(proof)
}

/// Selections of a market that were not settled as the recorded result says.
fn mismatches(timeline: &Timeline, key: MarketKey, results: &BTreeMap<u8, Payoff>) -> u64 {
    let Some(market) = Market::new(timeline.sport, key, 0) else { return 1 };
    let [home, away] = timeline.result.map(i64::from);
    let wrong = (0..market.odds.len())
        .filter(|selection| results.get(&(*selection as u8)) != Some(&market.payoff(*selection, home, away)));
    wrong.count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_generator::{Random, football};

    #[test]
    fn a_wrong_or_missing_result_is_found() {
        let mut timeline = football::timeline(&mut Random::new(5), FixtureId(1));
        timeline.result = [2, 1];
        let market = MarketKey::new(1, 0);
        let right = BTreeMap::from([(0, Payoff::Won), (1, Payoff::Lost), (2, Payoff::Lost)]);
        assert_eq!(mismatches(&timeline, market, &right), 0);
        let mut wrong = right.clone();
        wrong.insert(1, Payoff::Won);
        assert_eq!(mismatches(&timeline, market, &wrong), 1);
        assert_eq!(mismatches(&timeline, market, &BTreeMap::from([(0, Payoff::Won)])), 2);
    }
}
