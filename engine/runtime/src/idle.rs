//! Idling: what a thread without work does next, as a state machine that is told the time.

use serde::Deserialize;

/// How long an adaptive thread spins before it sleeps: about the time in which an answer over the network or from the
/// disk comes, and what a wake-up costs.
pub const SPIN_NS: u64 = 50_000;
/// The same while an answer is on its way, which is worth waiting for a little longer than a wake-up takes.
pub const SPIN_EXPECTING_NS: u64 = 200_000;
/// How often an adaptive thread offers its core to others meanwhile.
pub const YIELD_NS: u64 = 5_000;

/// How threads idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Spins for [`SPIN_NS`], yielding now and then, and then sleeps on its bell. The only right one where a core is
    /// shared with anything else.
    #[default]
    Adaptive,
    /// Spins for ever. For threads that each have a core of their own.
    Busy,
}

/// What to do before looking for work again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `std::hint::spin_loop`.
    Spin,
    /// `std::thread::yield_now`.
    Yield,
    /// Sleep on the bell.
    Sleep,
}

/// The idling of one thread.
#[derive(Clone, Debug)]
pub struct Idle {
    policy: Policy,
    spell: Option<Spell>,
}

/// A time without work.
#[derive(Clone, Copy, Debug)]
struct Spell {
    began_ns: u64,
    yielded_ns: u64,
}

impl Idle {
    /// At work.
    pub fn new(policy: Policy) -> Self {
        Idle { policy, spell: None }
    }

    /// There was work: the next spell without begins anew.
    #[inline]
    pub fn worked(&mut self) {
        self.spell = None;
    }

    /// There was no work at `now_ns`, on any clock that does not run backwards; `expecting` where an answer is on its way,
    /// say from the disk. After a sleep the spell goes on, so a
    /// wake-up without work leads straight back to sleep.
    #[inline]
    pub fn idle(&mut self, now_ns: u64, expecting: bool) -> Action {
        if self.policy == Policy::Busy {
            return Action::Spin;
        }
        let spell = self.spell.get_or_insert(Spell { began_ns: now_ns, yielded_ns: now_ns });
        let spin_ns = if expecting { SPIN_EXPECTING_NS } else { SPIN_NS };
        if now_ns - spell.began_ns >= spin_ns {
            Action::Sleep
        } else if now_ns - spell.yielded_ns >= YIELD_NS {
            spell.yielded_ns = now_ns;
            Action::Yield
        } else {
            Action::Spin
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adaptive_spins_and_yields_and_then_sleeps_until_there_was_work() {
        let mut idle = Idle::new(Policy::Adaptive);
        let spell = |idle: &mut Idle, start: u64| -> Vec<Action> {
            (0..=SPIN_NS).step_by(1000).map(|ns| idle.idle(start + ns, false)).collect()
        };
        let actions = spell(&mut idle, 7);
        let count = |wanted: Action| actions.iter().filter(|action| **action == wanted).count() as u64;
        assert_eq!(count(Action::Yield), SPIN_NS / YIELD_NS - 1);
        assert_eq!(count(Action::Sleep), 1);
        assert_eq!(actions.first(), Some(&Action::Spin));
        assert_eq!(actions.last(), Some(&Action::Sleep));
        assert_eq!(idle.idle(1_000_000, false), Action::Sleep);
        idle.worked();
        assert_eq!(spell(&mut idle, 2_000_000), actions);
    }

    #[test]
    fn adaptive_waits_a_little_longer_for_an_answer() {
        let mut idle = Idle::new(Policy::Adaptive);
        assert_ne!(idle.idle(0, true), Action::Sleep);
        assert_ne!(idle.idle(SPIN_NS, true), Action::Sleep);
        assert_eq!(idle.idle(SPIN_EXPECTING_NS, true), Action::Sleep);
        assert_eq!(idle.idle(SPIN_EXPECTING_NS, false), Action::Sleep);
    }

    #[test]
    fn busy_spins_for_ever() {
        let mut idle = Idle::new(Policy::Busy);
        assert!((0..10 * SPIN_NS).step_by(1000).all(|ns| idle.idle(ns, false) == Action::Spin));
    }
}
