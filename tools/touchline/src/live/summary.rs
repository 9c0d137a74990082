//! The end of a run: one object for programs, the same for people, and whether it was a success.

use crate::json::{print_line, say};
use crate::live::appliance::Stopped;
use crate::live::proof::Proof;
use crate::live::tally::Tally;
use anyhow::ensure;
use serde_json::{Map, Value as Json, json};
use std::collections::BTreeMap;
use std::io::stdout;
use touchline_protocol::Code;

/// Everything known at the end.
pub(crate) struct Summary<'r> {
    /// Matches played.
    pub matches: usize,
    /// What clients were told.
    pub tally: &'r Tally,
    /// What the journal says.
    pub proof: &'r Proof,
    /// What the node attested.
    pub stopped: &'r Stopped,
    /// Facts of this kind of run alone.
    pub more: Map<String, Json>,
}

impl Summary<'_> {
    /// Prints it, and fails where something is wrong.
    pub(crate) fn finish(&self, as_json: bool) -> anyhow::Result<()> {
        if as_json {
            print_line(&mut stdout(), &self.json())?;
        } else {
            self.print()?;
        }
        let proof = self.proof;
        ensure!(proof.breaches.is_empty(), "the audit found {:?}", proof.breaches);
        ensure!(
            proof.settlement_mismatches == 0,
            "{} results differ from the recorded ones",
            proof.settlement_mismatches
        );
        ensure!(proof.unsettled_markets == 0, "{} markets were not settled", proof.unsettled_markets);
        ensure!(
            proof.profit_minor == self.stopped.profit_minor,
            "the node's profit {} differs from the recomputed {}",
            self.stopped.profit_minor,
            proof.profit_minor
        );
        ensure!(
            proof.answers_lost == 0,
            "{} answers are not in the journal as they were given",
            proof.answers_lost
        );
        ensure!(
            self.tally.changed_answers.is_empty(),
            "answers changed when asked again: {:?}",
            self.tally.changed_answers
        );
        ensure!(self.tally.waiting.is_empty(), "{} tickets were never answered", self.tally.waiting.len());
        ensure!(proof.answers_unheard == 0, "{} decisions reached nobody", proof.answers_unheard);
        Ok(())
    }

    fn json(&self) -> Json {
        let (tally, proof) = (self.tally, self.proof);
        let rejected: BTreeMap<Code, u64> = tally
            .decisions
            .iter()
            .filter(|(code, _)| **code != Code::Accepted)
            .map(|(c, n)| (*c, *n))
            .collect();
        let mut summary = json!({
            "matches": self.matches,
            "tickets": tally.accepted() + tally.rejected(),
            "accepted": tally.accepted(),
            "rejected": by_code(&rejected),
            "refused": by_code(&tally.refused),
            "unanswered": tally.waiting.len(),
            "odds_updates": tally.odds_updates,
            "settled_markets": proof.settled_markets,
            "unsettled_markets": proof.unsettled_markets,
            "settlement_mismatches": proof.settlement_mismatches,
            "house_profit_minor": self.stopped.profit_minor,
            "recomputed_profit_minor": proof.profit_minor,
            "fingerprint": self.stopped.fingerprint,
            "latency_us": {"decision": {"p50": quantile(tally, 0.5), "p99": quantile(tally, 0.99),
                                        "max": tally.latency_us.max()}},
            "frames": proof.frames,
            "asked_again": tally.asked_again,
            "changed_answers": tally.changed_answers.len(),
            "answers_lost": proof.answers_lost,
            "answers_unheard": proof.answers_unheard,
        });
        if let Json::Object(fields) = &mut summary {
            fields.extend(self.more.clone());
        }
        summary
    }

    fn print(&self) -> anyhow::Result<()> {
        let (tally, proof) = (self.tally, self.proof);
        let tickets = tally.accepted() + tally.rejected();
        say!("\n{} matches, {} frames in the journal", self.matches, proof.frames);
        say!("tickets      {tickets}: {} accepted, {} rejected", tally.accepted(), tally.rejected());
        let rejected = tally.decisions.iter().filter(|(code, _)| **code != Code::Accepted);
        for (code, count) in rejected {
            say!("             {count:>8} {code}");
        }
        for (code, count) in &tally.refused {
            say!(
                "refused      {count:>8} {code}: {}",
                tally.refusal_notes.get(code).map_or("", String::as_str)
            );
        }
        say!("unanswered   {}", tally.waiting.len());
        say!("odds updates {}", tally.odds_updates);
        say!(
            "markets      {} settled, {} not, {} results unlike the recorded",
            proof.settled_markets,
            proof.unsettled_markets,
            proof.settlement_mismatches
        );
        say!(
            "profit       {} by the node, {} recomputed from its journal (minor units)",
            self.stopped.profit_minor,
            proof.profit_minor
        );
        say!(
            "decision     p50 {} µs, p99 {} µs, from sending to the answer, durable before it is sent",
            quantile(tally, 0.5),
            quantile(tally, 0.99)
        );
        if tally.asked_again > 0 {
            say!("asked again  {} answers, {} changed", tally.asked_again, tally.changed_answers.len());
        }
        say!("fingerprint  {}", self.stopped.fingerprint);
        for (name, value) in &self.more {
            say!("{:<12} {value}", name.replace('_', " "));
        }
        Ok(())
    }
}

fn by_code(counts: &BTreeMap<Code, u64>) -> Json {
    counts
        .iter()
        .map(|(code, count)| (code.name().to_owned(), Json::from(*count)))
        .collect::<Map<_, _>>()
        .into()
}

fn quantile(tally: &Tally, quantile: f64) -> u64 {
    tally.latency_us.value_at_quantile(quantile)
}
