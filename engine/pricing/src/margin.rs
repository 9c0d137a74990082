//! Taking the margin out of quoted odds and putting it into fair ones.

use crate::markets::Payoff;
use libm::sqrt;
use std::fmt;

/// Odds below this many thousandths are not quoted.
pub const ODDS_MILLI_MIN: u32 = 1_001;
/// Odds above this many thousandths are cut to it.
pub const ODDS_MILLI_MAX: u32 = 1_000_000;
/// A selection less likely than this to win has no price: a ten-thousandth.
pub const PROBABILITY_FLOOR: f64 = 1e-4;

/// Odds that no probabilities belong to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MarginError {
    /// Odds are not a finite number above 1.
    Odds(f64),
    /// The inverse odds sum to less than 0.9 or more than 1.5: not one book of one market.
    Booksum(f64),
}

impl fmt::Display for MarginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MarginError::Odds(odds) => write!(f, "odds {odds} are not above 1"),
            MarginError::Booksum(sum) => {
                write!(
                    f,
                    "the inverse odds sum to {sum:.3}, outside 0.9 to 1.5: these are not the prices of one market"
                )
            }
        }
    }
}

impl std::error::Error for MarginError {}

fn inverse<const N: usize>(odds: [f64; N]) -> Result<([f64; N], f64), MarginError> {
    for quoted in odds {
        if !(quoted.is_finite() && quoted > 1.0) {
            return Err(MarginError::Odds(quoted));
        }
    }
    let inverse = odds.map(|quoted| 1.0 / quoted);
    let sum = inverse.iter().sum();
    if (0.9..=1.5).contains(&sum) { Ok((inverse, sum)) } else { Err(MarginError::Booksum(sum)) }
}

/// Probabilities in proportion to the inverse odds.
pub fn remove_multiplicative<const N: usize>(odds: [f64; N]) -> Result<[f64; N], MarginError> {
    let (inverse, sum) = inverse(odds)?;
    Ok(inverse.map(|quoted| quoted / sum))
}

/// Probabilities after Shin's model of insider trading (H. S. Shin, Economic Journal 1993): with z the share of
/// insiders and π the inverse odds, p = (√(z² + 4(1 − z)π²/Σπ) − z) / (2(1 − z)), z such that Σp = 1. Newton from
/// z = 0, safeguarded by bisection. A book without margin is normalised instead.
pub fn remove_shin<const N: usize>(odds: [f64; N]) -> Result<[f64; N], MarginError> {
    let (inverse, sum) = inverse(odds)?;
    if sum <= 1.0 {
        return remove_multiplicative(odds);
    }
    let at = |z: f64| inverse.map(|q| (sqrt(z * z + 4.0 * (1.0 - z) * q * q / sum) - z) / (2.0 * (1.0 - z)));
    let (mut low, mut high) = (0.0, 0.9);
    // Σp falls from √Σπ > 1 as z grows; 60 halvings leave less than 1e-15 of z.
    for _ in 0..60 {
        let z = 0.5 * (low + high);
        let excess: f64 = at(z).iter().sum::<f64>() - 1.0;
        if excess > 0.0 { low = z } else { high = z }
    }
    Ok(at(0.5 * (low + high)))
}

/// Probability mass of each payoff of a selection.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PayoffMass(pub [f64; 5]);

impl PayoffMass {
    /// Adds probability to a payoff.
    pub fn add(&mut self, payoff: Payoff, probability: f64) {
        self.0[payoff as usize] += probability;
    }

    /// Fair odds: those at which the expected return of a unit stake is a unit. With w, hw, p, hl the masses of
    /// win, half win, push and half loss: o·w + (o + 1)/2·hw + p + hl/2 = 1. `None` below the floor.
    pub fn fair_odds(&self) -> Option<f64> {
        let [win, half_win, push, half_loss, _] = self.0;
        let paid_at_odds = win + 0.5 * half_win;
        let returned = 0.5 * half_win + push + 0.5 * half_loss;
        (paid_at_odds >= PROBABILITY_FLOOR).then(|| (1.0 - returned) / paid_at_odds)
    }
}

/// Odds in thousandths with a margin in millionths put in proportionally: the fair odds divided by 1 + margin,
/// rounded **down**, so that rounding never gives margin away. 0 is no price: too unlikely, or too likely to be
/// quoted above 1.
pub fn quote(mass: &PayoffMass, margin_ppm: u32) -> u32 {
    let Some(fair) = mass.fair_odds() else { return 0 };
    let milli = fair * 1000.0 / (1.0 + f64::from(margin_ppm) * 1e-6);
    if milli < f64::from(ODDS_MILLI_MIN) {
        return 0;
    }
    // The cast rounds down; the value is at most the maximum.
    milli.min(f64::from(ODDS_MILLI_MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_shin_example() {
        let p = remove_shin([4.2, 3.7, 1.95]).unwrap();
        for (found, known) in p.iter().zip([0.23157195890888918, 0.26357449628316393, 0.5048535448079469]) {
            assert!((found - known).abs() < 1e-12, "{found} {known}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        assert_eq!(remove_shin([1.0, 3.0, 3.0]), Err(MarginError::Odds(1.0)));
        assert!(remove_shin([f64::NAN, 3.0, 3.0]).is_err());
        assert!(matches!(remove_multiplicative([10.0, 10.0]), Err(MarginError::Booksum(_))));
    }

    #[test]
    fn rounding_keeps_the_margin() {
        for thousandth in 1..1000 {
            let p = f64::from(thousandth) / 1000.0;
            let mass = |win: f64| PayoffMass([win, 0.0, 0.0, 0.0, 1.0 - win]);
            let odds = [quote(&mass(p), 50_000), quote(&mass(1.0 - p), 50_000)];
            if odds.iter().all(|milli| *milli > 0 && *milli < ODDS_MILLI_MAX) {
                let booksum: f64 = odds.iter().map(|milli| 1000.0 / f64::from(*milli)).sum();
                assert!(booksum >= 1.05 - 1e-12, "{p}: {booksum}");
            }
        }
    }

    #[test]
    fn a_push_returns_the_stake() {
        // Win 50 %, push 25 %, loss 25 %: fair odds are 1.5.
        assert_eq!(quote(&PayoffMass([0.5, 0.0, 0.25, 0.0, 0.25]), 0), 1500);
    }
}
