//! Priors of competitions for recorded matches without odds, from a file.

use anyhow::{Context, anyhow};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use touchline_feeds::wyscout::Prior;

/// The shipped file.
const SHIPPED: &str = include_str!("../../../config/feeds/wyscout.toml");

/// A prior for every competition.
#[derive(Debug)]
pub(crate) struct Priors {
    default: Prior,
    competitions: BTreeMap<String, Prior>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default: Entry,
    #[serde(default)]
    competitions: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    home_goals: Decimal,
    away_goals: Decimal,
    margin_percent: Decimal,
}

impl Priors {
    /// Those of a file, or those shipped.
    pub(crate) fn load(path: Option<&Path>) -> anyhow::Result<Self> {
        match path {
            None => parse(SHIPPED).context("the shipped priors"),
            Some(path) => std::fs::read_to_string(path)
                .map_err(anyhow::Error::from)
                .and_then(|text| parse(&text))
                .with_context(|| format!("reading priors from {}", path.display())),
        }
    }

    /// That of a competition.
    pub(crate) fn of(&self, competition: &str) -> Prior {
        self.competitions.get(competition).copied().unwrap_or(self.default)
    }
}

fn parse(text: &str) -> anyhow::Result<Priors> {
    let file: File = toml::from_str(text)?;
    let named = |(name, entry): (String, Entry)| Ok((name.clone(), prior(&entry, &name)?));
    Ok(Priors {
        default: prior(&file.default, "default")?,
        competitions: file.competitions.into_iter().map(named).collect::<anyhow::Result<_>>()?,
    })
}

fn prior(entry: &Entry, name: &str) -> anyhow::Result<Prior> {
    let goals = |goals: Decimal, key: &str| {
        let nano = goals.checked_mul(Decimal::from(1_000_000_000)).and_then(|nano| nano.to_u64());
        let nano = nano.filter(|nano| (10_000_000..=12_000_000_000).contains(nano));
        nano.ok_or_else(|| anyhow!("{name}.{key} = {goals}: must be 0.01 to 12"))
    };
    let ppm = entry.margin_percent.checked_mul(Decimal::from(10_000)).and_then(|ppm| ppm.to_u32());
    let margin_ppm = ppm
        .filter(|ppm| *ppm <= 500_000)
        .ok_or_else(|| anyhow!("{name}.margin_percent = {}: must be 0 to 50", entry.margin_percent))?;
    Ok(Prior {
        goals_nano: [goals(entry.home_goals, "home_goals")?, goals(entry.away_goals, "away_goals")?],
        margin_ppm,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_file_is_sound_and_mistakes_are_named() {
        let priors = Priors::load(None).unwrap();
        assert_eq!(priors.of("World_Cup").margin_ppm, 120_000);
        assert_eq!(priors.of("Nowhere").goals_nano[0], 1_450_000_000);
        let unknown = parse("[default]\nhome_goals = \"1\"\naway = \"1\"\n").unwrap_err();
        assert!(format!("{unknown:#}").contains("away"));
        let many = parse("[default]\nhome_goals = \"13\"\naway_goals = \"1\"\nmargin_percent = \"5\"\n");
        assert!(many.unwrap_err().to_string().contains("default.home_goals = 13"));
    }
}
