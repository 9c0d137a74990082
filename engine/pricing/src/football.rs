//! Football: two Poisson processes of goals whose rates follow half, stoppage time and red cards.
//!
//! Goals of each side are independent Poisson with an expectation for the whole match. The share that remains
//! at a moment follows the clock alone: the length of a period is never known in advance, so beyond its usual
//! length the share decays but stays above zero until the feed ends the period. The constants are fitted on
//! recorded matches of five leagues; the half split and the red-card factors are those of the reference scoring.

use crate::markets::Market;
use libm::{exp, pow};
use std::fmt;

/// Share of goals in the first half.
const FIRST_HALF_SHARE: f64 = 0.428_032_345_013_477_1;
/// Usual length of the halves with stoppage time, seconds.
const HALF_SECONDS: [f64; 2] = [47.0 * 60.0, 49.0 * 60.0];
/// Near its usual end a half's remaining share decays by e in this many seconds instead of reaching zero.
const STOPPAGE_SECONDS: f64 = 60.0;
/// Factor on a side's rate for each player fewer than the opponent, and for each player more.
const RED_OWN: f64 = 0.528_398_912_916_281_7;
const RED_OPPONENT: f64 = 1.553_944_760_567_744_5;

/// Goals of one side that a distribution tells apart; the last holds the whole tail.
const TERMS: usize = 24;
/// The highest score of a side that a state may have.
pub const SCORE_MAX: u32 = 31;

/// Expected goals of each side over the whole match.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intensities {
    home: f64,
    away: f64,
}

impl Intensities {
    /// Lowest and highest expectation.
    pub const RANGE: std::ops::RangeInclusive<f64> = 0.01..=12.0;

    /// Checks both expectations.
    pub fn new(home: f64, away: f64) -> Result<Self, StateError> {
        match [home, away].into_iter().find(|goals| !Self::RANGE.contains(goals)) {
            Some(goals) => Err(StateError::Intensity(goals)),
            None => Ok(Intensities { home, away }),
        }
    }

    /// Of the home side.
    pub fn home(&self) -> f64 {
        self.home
    }

    /// Of the away side.
    pub fn away(&self) -> f64 {
        self.away
    }
}

/// The clock as a feed tells it: time since the period began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clock {
    /// Before the start.
    NotStarted,
    /// In the first half.
    FirstHalf {
        /// Since it began.
        seconds: f64,
    },
    /// Between the halves.
    HalfTime,
    /// In the second half.
    SecondHalf {
        /// Since it began.
        seconds: f64,
    },
    /// Over.
    Ended,
}

/// Score, clock and red cards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FootballState {
    score: [u32; 2],
    clock: Clock,
    reds: [u32; 2],
}

/// A state or parameter that no match can have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StateError {
    /// Expected goals out of range.
    Intensity(f64),
    /// More goals than a side can score.
    Score(u32),
    /// Seconds of a half below 0 or above two hours.
    Seconds(f64),
    /// More red cards than a side may get before the match is abandoned.
    Reds(u32),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StateError::Intensity(goals) => write!(f, "expected goals {goals} are outside 0.01 to 12"),
            StateError::Score(goals) => write!(f, "a score of {goals} is above {SCORE_MAX}"),
            StateError::Seconds(seconds) => write!(f, "{seconds} seconds of a half are outside 0 to 7200"),
            StateError::Reds(reds) => write!(f, "{reds} red cards of a side are more than 4"),
        }
    }
}

impl std::error::Error for StateError {}

impl FootballState {
    /// Checks a state.
    pub fn new(score: [u32; 2], clock: Clock, reds: [u32; 2]) -> Result<Self, StateError> {
        if let Some(goals) = score.into_iter().find(|goals| *goals > SCORE_MAX) {
            return Err(StateError::Score(goals));
        }
        if let Some(reds) = reds.into_iter().find(|reds| *reds > 4) {
            return Err(StateError::Reds(reds));
        }
        if let Clock::FirstHalf { seconds } | Clock::SecondHalf { seconds } = clock
            && !(0.0..=7200.0).contains(&seconds)
        {
            return Err(StateError::Seconds(seconds));
        }
        Ok(FootballState { score, clock, reds })
    }

    /// The state before the start.
    pub fn kick_off() -> Self {
        FootballState { score: [0; 2], clock: Clock::NotStarted, reds: [0; 2] }
    }
}

/// Share of a match's goals still to come, from 1 down to 0.
pub fn remaining_share(clock: Clock) -> f64 {
    let second = 1.0 - FIRST_HALF_SHARE;
    match clock {
        Clock::NotStarted => 1.0,
        Clock::FirstHalf { seconds } => {
            FIRST_HALF_SHARE * remaining_of_half(seconds, HALF_SECONDS[0]) + second
        }
        Clock::HalfTime => second,
        Clock::SecondHalf { seconds } => second * remaining_of_half(seconds, HALF_SECONDS[1]),
        Clock::Ended => 0.0,
    }
}

/// Linear until one stoppage constant before the usual end, then an exponential with the same value and slope.
fn remaining_of_half(seconds: f64, usual: f64) -> f64 {
    let left = (usual - seconds) / usual;
    let knee = STOPPAGE_SECONDS / usual;
    if left >= knee { left } else { knee * exp((left - knee) / knee) }
}

/// Expected goals of each side from now on.
pub fn remaining_goals(intensities: &Intensities, state: &FootballState) -> [f64; 2] {
    let share = remaining_share(state.clock);
    let [home, away] = state.reds.map(i64::from);
    let factor = |own: i64, opponent: i64| match own - opponent {
        0 => 1.0,
        fewer @ 1.. => pow(RED_OWN, fewer as f64),
        more => pow(RED_OPPONENT, -more as f64),
    };
    [intensities.home * share * factor(home, away), intensities.away * share * factor(away, home)]
}

/// Distributions of one state, computed once; every market is priced from them.
#[derive(Clone, Debug)]
pub struct FootballGrid {
    score: [u32; 2],
    goals: [[f64; TERMS]; 2],
    /// Of the goal difference from now on, offset by `TERMS − 1`.
    difference: [f64; 2 * TERMS - 1],
    /// Of the goals of both sides from now on.
    total: [f64; 2 * TERMS - 1],
}

impl FootballGrid {
    /// Computes the distributions of a state.
    pub fn new(intensities: &Intensities, state: &FootballState) -> Self {
        let [home, away] = remaining_goals(intensities, state);
        Self::of(state.score, home, away)
    }

    /// The distributions for a score and expected goals from now on.
    pub fn of(score: [u32; 2], home: f64, away: f64) -> Self {
        let goals = [poisson(home), poisson(away)];
        let mut difference = [0.0; 2 * TERMS - 1];
        let mut total = [0.0; 2 * TERMS - 1];
        for (h, ph) in goals[0].iter().enumerate() {
            for (a, pa) in goals[1].iter().enumerate() {
                let p = ph * pa;
                difference[TERMS - 1 + h - a] += p;
                total[h + a] += p;
            }
        }
        FootballGrid { score, goals, difference, total }
    }

    /// Probability of each class of a market; classes beyond the market's are 0. Markets that are not by score
    /// get zeros.
    pub fn class_probabilities(&self, market: Market) -> [f64; Market::MAX_SELECTIONS] {
        let mut classes = [0.0; Market::MAX_SELECTIONS];
        let [home, away] = self.score;
        match market {
            Market::Winner3 | Market::AsianHandicap { .. } => {
                // A score with the wanted difference stands for all of them: these markets see nothing else.
                for (index, p) in self.difference.iter().enumerate() {
                    let gain = index as i64 - (TERMS as i64 - 1) + i64::from(home) - i64::from(away);
                    let (h, a) = if gain >= 0 { (gain, 0) } else { (0, -gain) };
                    classes[market.class_of(h as u32, a as u32)] += p;
                }
            }
            Market::Total { .. } => {
                for (more, p) in self.total.iter().enumerate() {
                    classes[market.class_of(home + away + more as u32, 0)] += p;
                }
            }
            Market::BothToScore => {
                let none = |side: usize| if self.score[side] > 0 { 0.0 } else { self.goals[side][0] };
                let yes = (1.0 - none(0)) * (1.0 - none(1));
                classes[0] = yes;
                classes[1] = 1.0 - yes;
            }
            Market::CorrectScore => self.correct_scores(&mut classes),
            Market::TennisWinner => {}
        }
        classes
    }

    fn correct_scores(&self, classes: &mut [f64; Market::MAX_SELECTIONS]) {
        let [home, away] = self.score;
        let other = Market::CorrectScore.class_of(u32::MAX, u32::MAX);
        let mut named = 0.0;
        for h in home..6 {
            for a in away..6 {
                let p = self.goals[0][(h - home) as usize] * self.goals[1][(a - away) as usize];
                classes[Market::CorrectScore.class_of(h, a)] = p;
                named += p;
            }
        }
        classes[other] = (1.0 - named).max(0.0);
    }
}

/// Poisson probabilities of 0 to `TERMS` − 2 goals, the rest of the mass in the last place.
fn poisson(mean: f64) -> [f64; TERMS] {
    let mut terms = [0.0; TERMS];
    let mut term = exp(-mean);
    let mut sum = 0.0;
    for (k, place) in terms[..TERMS - 1].iter_mut().enumerate() {
        *place = term;
        sum += term;
        term *= mean / (k + 1) as f64;
    }
    terms[TERMS - 1] = (1.0 - sum).max(0.0);
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_falls_and_never_reaches_zero_in_play() {
        let mut before = 1.0;
        for clock in (0..7200)
            .map(|s| Clock::FirstHalf { seconds: f64::from(s) })
            .chain([Clock::HalfTime])
            .chain((0..7200).map(|s| Clock::SecondHalf { seconds: f64::from(s) }))
        {
            let share = remaining_share(clock);
            assert!(share > 0.0 && share <= before + 1e-15, "{clock:?}: {share} after {before}");
            before = share;
        }
        assert_eq!(remaining_share(Clock::Ended), 0.0);
    }

    #[test]
    fn impossible_states_are_refused() {
        assert!(FootballState::new([300, 0], Clock::HalfTime, [0; 2]).is_err());
        assert!(FootballState::new([0; 2], Clock::FirstHalf { seconds: f64::NAN }, [0; 2]).is_err());
        assert!(FootballState::new([0; 2], Clock::HalfTime, [5, 0]).is_err());
        assert!(Intensities::new(f64::NAN, 1.0).is_err() && Intensities::new(1.0, 50.0).is_err());
    }

    #[test]
    fn a_player_fewer_scores_less_and_concedes_more() {
        let intensities = Intensities::new(1.5, 1.2).unwrap();
        let even =
            remaining_goals(&intensities, &FootballState::new([0; 2], Clock::HalfTime, [1, 1]).unwrap());
        let short =
            remaining_goals(&intensities, &FootballState::new([0; 2], Clock::HalfTime, [1, 0]).unwrap());
        assert!(short[0] < even[0] && short[1] > even[1]);
    }
}
