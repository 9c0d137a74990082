//! Medians of the rounds, the ratios that were aimed at, and both in writing.

use crate::contender::Concurrency;
use anyhow::Context;
use serde_json::{Map, Value as Json, json};
use std::path::Path;
use touchline_load::Tally;

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) decisions_per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    accepted_percent: f64,
}

impl Round {
    pub(crate) fn of(tally: &Tally) -> Self {
        let micros = |quantile| tally.latency_ns.value_at_quantile(quantile) as f64 / 1000.0;
        let accepted = tally.decisions.get(&touchline_protocol::Code::Accepted).copied().unwrap_or(0);
        Round {
            decisions_per_second: tally.decisions_per_second(),
            p50_us: micros(0.5),
            p99_us: micros(0.99),
            accepted_percent: 100.0 * accepted as f64 / tally.decided().max(1) as f64,
        }
    }
}

/// A contender's rounds.
pub(crate) struct Standing {
    pub(crate) name: &'static str,
    pub(crate) best: Concurrency,
    pub(crate) alone: Vec<Round>,
    pub(crate) crowded: Vec<Round>,
}

/// The median of one figure; of an even number the lower one of the middle two.
fn median(rounds: &[Round], figure: impl Fn(&Round) -> f64) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len().saturating_sub(1) / 2;
    figures.get(middle).map_or(0.0, |figure| (figure * 10.0).round() / 10.0)
}

impl Standing {
    /// No rounds yet.
    pub(crate) fn of(name: &'static str, best: Concurrency) -> Self {
        Standing { name, best, alone: Vec::new(), crowded: Vec::new() }
    }

    fn json(&self) -> Json {
        json!({
            "one_in_flight": {
                "p50_us": median(&self.alone, |round| round.p50_us),
                "p99_us": median(&self.alone, |round| round.p99_us),
                "decisions_per_second": median(&self.alone, |round| round.decisions_per_second),
            },
            "best": {
                "connections": self.best.connections,
                "in_flight": self.best.in_flight,
                "decisions_per_second": median(&self.crowded, |round| round.decisions_per_second),
                "p50_us": median(&self.crowded, |round| round.p50_us),
                "p99_us": median(&self.crowded, |round| round.p99_us),
            },
            "accepted_percent": median(&self.crowded, |round| round.accepted_percent),
        })
    }
}

/// Ours against theirs: how many times lower the latency and how many times higher the throughput is.
fn ratios(standings: &[Standing]) -> Map<String, Json> {
    let Some((ours, others)) = standings.split_first() else { return Map::new() };
    let times = |ratio: f64| (ratio * 100.0).round() / 100.0;
    let p50 = |standing: &Standing| median(&standing.alone, |round| round.p50_us);
    let rate = |standing: &Standing| median(&standing.crowded, |round| round.decisions_per_second);
    let compared = others.iter().map(|other| {
        let ratio = json!({
            "p50_times_lower": times(p50(other) / p50(ours)),
            "throughput_times_higher": times(rate(ours) / rate(other)),
        });
        (other.name.to_owned(), ratio)
    });
    compared.collect()
}

/// What the ratios are to reach; those with a standby hold for our node with one attached, which this run has not.
const GOALS: &str = "p50 at least 2 times lower than redis, appendfsync always; with the standby attached: p50 lower than \
redis, everysec + WAIT 1, and throughput at least 10 times that and 50 times postgres, remote_apply";

/// Prints the standings, and writes them down where that is asked for.
pub(crate) fn tell(
    standings: &[Standing],
    machine: &Json,
    as_json: bool,
    results: Option<&Path>,
) -> anyhow::Result<()> {
    let contenders: Map<String, Json> =
        standings.iter().map(|standing| (standing.name.to_owned(), standing.json())).collect();
    let whole = json!({
        "contenders": contenders,
        "ratios": ratios(standings),
        "goals": GOALS,
        "rounds": standings.first().map_or(0, |standing| standing.alone.len()),
        "machine": machine,
    });
    let written = markdown(standings, machine);
    if as_json {
        println!("{whole}");
    } else {
        print!("{written}");
    }
    if let Some(path) = results {
        std::fs::write(path, written).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn markdown(standings: &[Standing], machine: &Json) -> String {
    let text = |key: &str| machine[key].as_str().unwrap_or("unknown").to_owned();
    let rounds = standings.first().map_or(0, |standing| standing.alone.len());
    let mut out = format!(
        "# The appliance beside its peers\n\n{}; load average {}, steal {} %; commit {}. Medians of {rounds} interleaved \
         rounds, the same generator and mix for all, on loopback.\n\n| contender | one in flight: p50 / p99 µs | best: \
         decisions/s | at connections × in flight | p50 / p99 µs there | accepted |\n|---|---:|---:|---:|---:|---:|\n",
        text("machine"),
        text("load_average"),
        machine["steal_percent"],
        text("commit"),
    );
    for standing in standings {
        let (alone, crowded) = (&standing.alone, &standing.crowded);
        out += &format!(
            "| {} | {:.0} / {:.0} | {:.0} | {} × {} | {:.0} / {:.0} | {:.1} % |\n",
            standing.name,
            median(alone, |round| round.p50_us),
            median(alone, |round| round.p99_us),
            median(crowded, |round| round.decisions_per_second),
            standing.best.connections,
            standing.best.in_flight,
            median(crowded, |round| round.p50_us),
            median(crowded, |round| round.p99_us),
            median(crowded, |round| round.accepted_percent),
        );
    }
    out += "\n| against | p50, times lower | throughput, times higher |\n|---|---:|---:|\n";
    for (name, ratio) in ratios(standings) {
        out += &format!("| {name} | {} | {} |\n", ratio["p50_times_lower"], ratio["throughput_times_higher"]);
    }
    out + &format!("\nGoals: {GOALS}.\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(rate: f64) -> Round {
        Round { decisions_per_second: rate, p50_us: 1e6 / rate, p99_us: 2e6 / rate, accepted_percent: 97.0 }
    }

    #[test]
    fn ratios_come_from_medians() {
        let best = Concurrency { connections: 1, in_flight: 1 };
        let standing = |name, rates: [f64; 3]| {
            let rounds = rates.map(round).to_vec();
            Standing { name, best, alone: rounds.clone(), crowded: rounds }
        };
        let standings = [standing("ours", [1.0, 4000.0, 2000.0]), standing("theirs", [1000.0, 500.0, 9e9])];
        let ratio = &ratios(&standings)["theirs"];
        assert_eq!(
            (&ratio["p50_times_lower"], &ratio["throughput_times_higher"]),
            (&json!(2.0), &json!(2.0))
        );
        let written = markdown(&standings, &json!({"machine": "m", "load_average": "1"}));
        assert!(written.contains("| ours | 500 / 1000 | 2000 |") && written.contains("Goals"), "{written}");
        assert_eq!(median(&[], |round| round.p50_us), 0.0);
    }
}
