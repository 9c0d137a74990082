//! Checks of a command that need no state: what a type cannot express. A command that fails them is refused
//! with `FIELD_RANGE` and never sequenced.

use crate::body::Body;
use crate::codes::{LimitScope, OddsPolicy, Sport};
use crate::commands::{Configure, Genesis, Price, SetLimit, SubmitTicket};
use crate::ids::PARTITIONS_MAX;
use crate::units::Odds;

/// A field out of range: its name and the range it must be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeError {
    /// The field.
    pub field: &'static str,
    /// What it must be.
    pub must: &'static str,
}

impl std::fmt::Display for RangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} must be {}", self.field, self.must)
    }
}

impl std::error::Error for RangeError {}

/// Fails with the field's name unless the condition holds.
fn need(holds: bool, field: &'static str, must: &'static str) -> Result<(), RangeError> {
    if holds { Ok(()) } else { Err(RangeError { field, must }) }
}

/// Whether these are odds in thousandths, or 0 for none.
fn price(milli: u32) -> bool {
    milli == 0 || (Odds::MIN_MILLI..=Odds::MAX_MILLI).contains(&milli)
}

/// Longest retention: 400 days.
const RETENTION_MAX_MS: u64 = 34_560_000_000;

const PRICE: &str = "0 or 1001 to 10000000 thousandths";
const AMOUNT: &str = "0 to 1000000000000000 minor units";

/// Whether this is an amount that sums of many stay exact with.
fn amount(minor: i64) -> bool {
    (0..=1_000_000_000_000_000).contains(&minor)
}

impl Body {
    /// Checks every field of a command that a type cannot.
    pub fn check_range(&self) -> Result<(), RangeError> {
        match self {
            Body::Genesis(m) => genesis(m),
            Body::Configure(m) => configure(m),
            Body::SubmitTicket(m) => ticket(m),
            Body::SetLimit(m) => limit(m),
            Body::OpenAccount(m) => {
                need(m.factor_permille <= 1_000_000, "factor_permille", "at most 1000000")
            }
            Body::OpenFixture(m) => {
                need(m.fixture.0 != 0, "fixture", "not 0")?;
                need(m.margin_ppm <= 500_000, "margin_ppm", "at most 500000")?;
                let sets: &[u8] = if m.sport == Sport::Tennis { &[3, 5] } else { &[0] };
                need(sets.contains(&m.best_of), "best_of", "3 or 5 for tennis, 0 for other sports")
            }
            Body::OpenMarkets(m) => m.markets.iter().try_for_each(|spec| {
                need(spec.market.kind != 0, "markets.kind", "not 0")?;
                need(
                    spec.selections == 0 || (2..=40).contains(&spec.selections),
                    "markets.selections",
                    "0 or 2 to 40",
                )
            }),
            Body::SetReference(m) => {
                for (milli, field) in [
                    (m.home_milli, "home_milli"),
                    (m.draw_milli, "draw_milli"),
                    (m.away_milli, "away_milli"),
                    (m.over_milli, "over_milli"),
                    (m.under_milli, "under_milli"),
                ] {
                    need(price(milli), field, PRICE)?;
                }
                Ok(())
            }
            Body::SetIntensities(m) => {
                let fits = |nano: u64| (1..=20_000_000_000).contains(&nano);
                need(fits(m.home_nano), "home_nano", "1 to 20000000000")?;
                need(fits(m.away_nano), "away_nano", "1 to 20000000000")
            }
            Body::SetPrices(m) => m.prices.iter().try_for_each(|entry| {
                let quotes = entry.odds().map_or(*entry == Price::NONE, Odds::is_sound);
                need(quotes, "prices", "none, or 1001 to 10000000 thousandths and equal to the fraction")
            }),
            Body::Incident(m) => need(m.source_seq != 0, "source_seq", "at least 1"),
            // Source 0 stands for "no source": it promises nothing, so nothing of it can run out.
            Body::SourceFresh(m) => need(m.source.0 != 0, "source", "not 0"),
            Body::SetRetention(m) => {
                need(m.retention_ms <= RETENTION_MAX_MS, "retention_ms", "at most 34560000000 (400 days)")
            }
            Body::Reopen(m) => {
                let hash = m.bet.customer.hash(m.bet.brand);
                need(m.bet.ticket.customer_hash() == hash, "bet", "of the customer that its ticket is of")?;
                need(m.bet.fixture == m.record.fixture, "record", "the bet's fixture")
            }
            _ => Ok(()),
        }
    }
}

fn genesis(m: &Genesis) -> Result<(), RangeError> {
    need((1..=PARTITIONS_MAX).contains(&m.partitions), "partitions", "1 to 64")?;
    need(m.result_window_ms >= 86_400_000, "result_window_ms", "at least 86400000 (24 hours)")?;
    need(m.result_window_ms <= 2_678_400_000, "result_window_ms", "at most 2678400000 (31 days)")?;
    need((1..=256).contains(&m.markets_max), "markets_max", "1 to 256")?;
    for (count, field) in [
        (m.pending_max, "pending_max"),
        (m.results_max, "results_max"),
        (m.accounts_max, "accounts_max"),
        (m.fixtures_max, "fixtures_max"),
    ] {
        need(count != 0, field, "at least 1")?;
    }
    Ok(())
}

fn configure(m: &Configure) -> Result<(), RangeError> {
    need(m.min_stake_minor >= 1, "min_stake_minor", "at least 1")?;
    need(m.max_stake_minor >= m.min_stake_minor, "max_stake_minor", "at least min_stake_minor")?;
    for (minor, field) in [
        (m.max_stake_minor, "max_stake_minor"),
        (m.max_payout_minor, "max_payout_minor"),
        (m.customer_limit_minor, "customer_limit_minor"),
        (m.selection_limit_pre_minor, "selection_limit_pre_minor"),
        (m.selection_limit_live_minor, "selection_limit_live_minor"),
        (m.market_limit_pre_minor, "market_limit_pre_minor"),
        (m.market_limit_live_minor, "market_limit_live_minor"),
        (m.fixture_limit_pre_minor, "fixture_limit_pre_minor"),
        (m.fixture_limit_live_minor, "fixture_limit_live_minor"),
    ] {
        need(amount(minor), field, AMOUNT)?;
    }
    need(
        (Odds::MIN_MILLI..=Odds::MAX_MILLI).contains(&m.max_odds_milli),
        "max_odds_milli",
        "1001 to 10000000",
    )?;
    need((1..=86_400_000).contains(&m.source_horizon_ms), "source_horizon_ms", "1 to 86400000 (24 hours)")?;
    need(m.football_margin_ppm <= 500_000, "football_margin_ppm", "at most 500000")?;
    need(m.tennis_margin_ppm <= 500_000, "tennis_margin_ppm", "at most 500000")?;
    brands(m)
}

/// Brands share every limit but a customer's own, and their exposures are summed in minor units: without exchange
/// rates that has a meaning in one currency only.
fn brands(m: &Configure) -> Result<(), RangeError> {
    let Some(first) = m.brands.first() else { return Ok(()) };
    for (place, brand) in m.brands.iter().enumerate() {
        let before = &m.brands[..place];
        need(before.iter().all(|other| other.brand != brand.brand), "brands", "each named once")?;
        need(
            brand.currency == first.currency,
            "brands",
            "all of one currency: they share one book, and there are no exchange rates",
        )?;
    }
    Ok(())
}

fn ticket(m: &SubmitTicket) -> Result<(), RangeError> {
    need(
        m.ticket.customer_hash() == m.customer.hash(m.brand),
        "ticket",
        "an id that carries its customer's hash",
    )?;
    need(m.tolerance_permille <= 1000, "tolerance_permille", "at most 1000")?;
    let tolerant = m.policy == OddsPolicy::Tolerance;
    need(tolerant || m.tolerance_permille == 0, "tolerance_permille", "0 unless the policy is TOLERANCE")
}

fn limit(m: &SetLimit) -> Result<(), RangeError> {
    need(
        m.value_minor == -1 || amount(m.value_minor),
        "value_minor",
        "-1 or 0 to 1000000000000000 minor units",
    )?;
    match m.scope {
        LimitScope::Customer => need(m.fixture.0 == 0, "fixture", "0 for a customer's limit"),
        LimitScope::Fixture => {
            need(m.fixture.0 != 0, "fixture", "set")?;
            need(m.market.kind == 0, "market", "kind 0 for a fixture's limit")
        }
        LimitScope::Market => need(m.fixture.0 != 0, "fixture", "set"),
        LimitScope::Selection => {
            need(m.fixture.0 != 0, "fixture", "set")?;
            let places_it = m.selection == SetLimit::EVERY_SELECTION || m.market.kind != 0;
            need(places_it, "selection", "255 (every one) unless a market is set")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{BrandRule, Currency};
    use crate::ids::{BrandId, OperatorId};
    use crate::wire::List;

    #[test]
    fn the_brands_of_a_book_are_different_and_of_one_currency() {
        let with = |rules: &[(u16, &[u8; 3])]| {
            let rule = |(id, currency): &(u16, &[u8; 3])| BrandRule {
                brand: BrandId(*id),
                currency: Currency(**currency),
            };
            let sound = Configure {
                operator: OperatorId(1),
                min_stake_minor: 1,
                max_stake_minor: 1,
                max_payout_minor: 1,
                max_odds_milli: 2000,
                football_margin_ppm: 0,
                tennis_margin_ppm: 0,
                customer_limit_minor: 0,
                selection_limit_pre_minor: 0,
                selection_limit_live_minor: 0,
                market_limit_pre_minor: 0,
                market_limit_live_minor: 0,
                fixture_limit_pre_minor: 0,
                fixture_limit_live_minor: 0,
                source_horizon_ms: 1,
                brands: List(rules.iter().map(rule).collect()),
                material: List::default(),
            };
            Body::from(sound).check_range().map_err(|error| error.to_string())
        };
        assert_eq!(with(&[]), Ok(()));
        assert_eq!(with(&[(1, b"EUR"), (2, b"EUR")]), Ok(()));
        let mixed = with(&[(1, b"EUR"), (2, b"GBP")]).unwrap_err();
        assert!(mixed.contains("one currency"), "{mixed}");
        let twice = with(&[(1, b"EUR"), (2, b"EUR"), (1, b"EUR")]).unwrap_err();
        assert!(twice.contains("named once"), "{twice}");
    }
}
