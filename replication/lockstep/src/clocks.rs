//! What the clocks of the cluster say together: one that runs off moves nobody's time.
//!
//! Where an epoch opens, logical time jumps to UTC and never comes back. A clock that is a day ahead would make every
//! ticket id too old for ever, so a node goes by the middle one of the clocks that it knows.

/// Clocks of peer and witness, as they were last heard.
#[derive(Clone, Copy, Debug, Default)]
pub struct Clocks {
    /// How far each party's UTC was ahead of the own monotonic clock, nanoseconds.
    ahead_ns: [Option<i64>; 2],
}

/// Whose clock it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The other data node's.
    Peer,
    /// The witness's.
    Witness,
}

impl Clocks {
    /// A party said what its UTC is, nanoseconds since 1970; one that has just started may not know yet, and says 0.
    pub fn heard(&mut self, now_ns: u64, whose: Whose, utc_ns: i64) {
        if utc_ns == 0 {
            return;
        }
        self.ahead_ns[whose as usize] = Some(utc_ns.saturating_sub_unsigned(now_ns));
    }

    /// What a party's clock says now, where it was ever heard.
    pub fn of(&self, now_ns: u64, whose: Whose) -> Option<i64> {
        self.ahead_ns[whose as usize].map(|ahead| ahead.saturating_add_unsigned(now_ns))
    }

    /// The UTC to go by: the middle one of three clocks, the earlier one of two, the own where no other is known. Time
    /// that lags is made up for at the next take-over; time that ran ahead never.
    pub fn agreed(&self, now_ns: u64, own_utc_ns: i64) -> i64 {
        let [peer, witness] = [Whose::Peer, Whose::Witness].map(|whose| self.of(now_ns, whose));
        match (peer, witness) {
            (Some(peer), Some(witness)) => own_utc_ns.clamp(peer.min(witness), peer.max(witness)),
            (Some(other), None) | (None, Some(other)) => own_utc_ns.min(other),
            (None, None) => own_utc_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_NS: i64 = 86_400_000_000_000;

    #[test]
    fn who_does_not_know_the_time_yet_says_nothing() {
        let mut clocks = Clocks::default();
        clocks.heard(10, Whose::Witness, 0);
        assert_eq!(clocks.agreed(15, DAY_NS), DAY_NS);
        clocks.heard(20, Whose::Witness, DAY_NS + 20);
        clocks.heard(30, Whose::Witness, 0);
        assert_eq!(clocks.of(40, Whose::Witness), Some(DAY_NS + 40));
    }

    #[test]
    fn one_clock_that_runs_off_moves_nobody() {
        let mut clocks = Clocks::default();
        assert_eq!(clocks.agreed(0, DAY_NS), DAY_NS);
        clocks.heard(10, Whose::Witness, 1000);
        assert_eq!(clocks.agreed(15, DAY_NS), 1005, "of two the earlier");
        assert_eq!(clocks.agreed(15, 3), 3);
        clocks.heard(20, Whose::Peer, 1012);
        for (own, peer, witness) in [(DAY_NS, 1012, 1010), (1011, DAY_NS, 1010), (1011, 1012, DAY_NS)] {
            clocks.heard(20, Whose::Peer, peer);
            clocks.heard(20, Whose::Witness, witness);
            assert!((1010..=1012).contains(&clocks.agreed(20, own)), "of three the middle one");
        }
        clocks.heard(0, Whose::Peer, i64::MAX);
        clocks.heard(u64::MAX, Whose::Witness, i64::MIN);
        clocks.agreed(u64::MAX, i64::MAX);
    }
}
