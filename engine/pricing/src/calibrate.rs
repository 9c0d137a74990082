//! From quoted prices to model parameters, with the residual of every price.

use crate::football::{FootballGrid, Intensities, StateError};
use crate::margin::{MarginError, remove_multiplicative, remove_shin};
use crate::markets::{Market, MarketError, Payoff};
use crate::tennis::{Rules, Tennis, TennisError};
use libm::{exp, log};
use std::fmt;

/// Prices of a football match: home, draw, away; and over, under at a line in quarter goals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FootballInput {
    /// Home, draw, away.
    pub winner: [f64; 3],
    /// Line in quarters and the odds of over and under. Without it the total is drawn to a prior of 2.7 goals.
    pub total: Option<(i32, [f64; 2])>,
}

/// Parameters that fit the prices best.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FootballFit {
    /// The parameters.
    pub intensities: Intensities,
    /// Fitted minus quoted probability of home, draw, away and (0 without a total) over among over and under.
    pub residuals: [f64; 4],
}

/// Why prices give no parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CalibrationError {
    /// The prices are not those of a market.
    Margin(MarginError),
    /// The line is none.
    Line(MarketError),
    /// The best fit is outside the model's range.
    State(StateError),
    /// The tennis model refuses its parameters.
    Tennis(TennisError),
    /// The best fit misses a price by more than [`RESIDUAL_MAX`]: the prices contradict each other, or the model
    /// cannot have been meant by them.
    Contradiction(f64),
}

impl fmt::Display for CalibrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CalibrationError::Margin(error) => error.fmt(f),
            CalibrationError::Line(error) => error.fmt(f),
            CalibrationError::State(error) => error.fmt(f),
            CalibrationError::Tennis(error) => error.fmt(f),
            CalibrationError::Contradiction(residual) => {
                write!(f, "the prices contradict each other: the best fit misses one by {residual:.3}")
            }
        }
    }
}

impl std::error::Error for CalibrationError {}

/// The most that the best fit may miss a quoted probability by. Prices from a worse fit are offered well beyond
/// any usual margin to whoever knows the quoted ones. Of 699 recorded matches with odds half are missed by less
/// than 0.018, 16 by more than this, the worst by 0.050; of prices that contradict each other all by far more.
pub const RESIDUAL_MAX: f64 = 0.04;
const PRIOR_GOALS: f64 = 2.7;
const PRIOR_WEIGHT: f64 = 0.02;
const ITERATIONS_MAX: usize = 40;

/// Fits expected goals by damped Gauss–Newton on the logarithms, so they stay positive. The margin of the
/// three-way market is removed after Shin, that of the two-way market in proportion.
pub fn football(input: &FootballInput) -> Result<FootballFit, CalibrationError> {
    let winner = remove_shin(input.winner).map_err(CalibrationError::Margin)?;
    let total = match input.total {
        None => None,
        Some((line, odds)) => {
            let market = Market::from_key(18, line).map_err(CalibrationError::Line)?;
            Some((market, remove_multiplicative(odds).map_err(CalibrationError::Margin)?[0]))
        }
    };
    let residuals = |x: [f64; 2]| residuals(winner, total, x);
    let mut x = [log(1.4), log(1.1)];
    let mut best = residuals(x);
    let mut damping = 1e-6;
    for _ in 0..ITERATIONS_MAX {
        let step = gauss_newton(&residuals, x, &best, damping);
        let next = [x[0] + step[0].clamp(-1.0, 1.0), x[1] + step[1].clamp(-1.0, 1.0)];
        let tried = residuals(next);
        if norm(&tried) < norm(&best) {
            (x, best) = (next, tried);
            damping = (damping * 0.1).max(1e-12);
        } else if step.iter().all(|change| change.abs() < 1e-12) || damping > 1e6 {
            break;
        } else {
            damping *= 100.0;
        }
    }
    let mut priced = best;
    if total.is_none() {
        priced[3] = 0.0;
    }
    let worst = priced.iter().fold(0.0, |worst: f64, residual| worst.max(residual.abs()));
    if worst > RESIDUAL_MAX {
        return Err(CalibrationError::Contradiction(worst));
    }
    let intensities = Intensities::new(exp(x[0]), exp(x[1])).map_err(CalibrationError::State)?;
    Ok(FootballFit { intensities, residuals: priced })
}

fn residuals(winner: [f64; 3], total: Option<(Market, f64)>, x: [f64; 2]) -> [f64; 4] {
    // Beyond these bounds the distributions lose their meaning; the fit is refused afterwards.
    let [home, away] = x.map(|log_goals| exp(log_goals.clamp(-6.0, 3.0)));
    let grid = FootballGrid::of([0; 2], home, away);
    let result = grid.class_probabilities(Market::Winner3);
    let last = match total {
        Some((market, over)) => over_share(&grid, market) - over,
        None => PRIOR_WEIGHT * (home + away - PRIOR_GOALS),
    };
    [result[0] - winner[0], result[1] - winner[1], result[2] - winner[2], last]
}

/// Probability of over among what over and under pay: the inverse of its fair odds.
fn over_share(grid: &FootballGrid, market: Market) -> f64 {
    let classes = grid.class_probabilities(market);
    let mut mass = crate::margin::PayoffMass::default();
    for (class, probability) in classes[..market.classes()].iter().enumerate() {
        mass.add(market.payoff(0, class), *probability);
    }
    let [win, half_win, push, half_loss, _] = mass.0;
    let returned = 0.5 * half_win + push + 0.5 * half_loss;
    debug_assert!(Payoff::Push as usize == 2);
    (win + 0.5 * half_win) / (1.0 - returned).max(1e-12)
}

fn gauss_newton(f: &impl Fn([f64; 2]) -> [f64; 4], x: [f64; 2], at: &[f64; 4], damping: f64) -> [f64; 2] {
    let h = 1e-6;
    let column = |i: usize| {
        let (mut up, mut down) = (x, x);
        up[i] += h;
        down[i] -= h;
        let (up, down) = (f(up), f(down));
        std::array::from_fn::<f64, 4, _>(|k| (up[k] - down[k]) / (2.0 * h))
    };
    let (a, b) = (column(0), column(1));
    let dot = |p: &[f64; 4], q: &[f64; 4]| p[0] * q[0] + p[1] * q[1] + p[2] * q[2] + p[3] * q[3];
    let (aa, ab, bb) = (dot(&a, &a) * (1.0 + damping), dot(&a, &b), dot(&b, &b) * (1.0 + damping));
    let (ra, rb) = (dot(&a, at), dot(&b, at));
    let det = aa * bb - ab * ab;
    if det.abs() < 1e-300 {
        return [0.0; 2];
    }
    [-(bb * ra - ab * rb) / det, -(aa * rb - ab * ra) / det]
}

fn norm(r: &[f64; 4]) -> f64 {
    r.iter().map(|value| value * value).sum()
}

/// Average of both players' probabilities of a point on serve, summed: 1.28 (0.64 each).
pub const SERVE_SUM: f64 = 1.28;

/// Serve probabilities from the odds of both players, their sum held at [`SERVE_SUM`], by bisection.
pub fn tennis(odds: [f64; 2], rules: Rules) -> Result<[f64; 2], CalibrationError> {
    let [wanted, _] = remove_multiplicative(odds).map_err(CalibrationError::Margin)?;
    let (mut low, mut high) = (0.30, 0.98);
    for _ in 0..60 {
        let serve = 0.5 * (low + high);
        let model = Tennis::new(serve, SERVE_SUM - serve, rules).map_err(CalibrationError::Tennis)?;
        if model.match_winner_from_start() < wanted { low = serve } else { high = serve }
    }
    let serve = 0.5 * (low + high);
    Ok([serve, SERVE_SUM - serve])
}
