//! The feed lease: how long a primary's prices may be shown as live.
//!
//! It runs from the sending of the last heartbeat that either peer acknowledged. It bounds the age of a price
//! where the own clock advances; no accepted bet depends on it.

/// The lease of a primary in DUAL.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    /// When the last acknowledged heartbeat was sent.
    sent_ns: u64,
    held: bool,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Prices count as suspended from now on.
    Held,
    /// They are live again.
    Released,
}

impl Lease {
    /// A lease that begins now.
    pub fn new(now_ns: u64) -> Self {
        Lease { sent_ns: now_ns, held: false }
    }

    /// A peer acknowledged a heartbeat that was sent then.
    pub fn acknowledged(&mut self, sent_ns: u64) {
        self.sent_ns = self.sent_ns.max(sent_ns);
    }

    /// The own loop stood still until now: only a heartbeat sent from now on counts.
    pub fn stalled(&mut self, now_ns: u64, lease_ns: u64) {
        self.sent_ns = self.sent_ns.min(now_ns.saturating_sub(lease_ns + 1));
    }

    /// Whether prices are held.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Looks at the clock. Where a lease is not needed, as in SOLO, it never runs out.
    pub fn tick(&mut self, now_ns: u64, lease_ns: u64, needed: bool) -> Option<Turn> {
        let held = needed && now_ns.saturating_sub(self.sent_ns) > lease_ns;
        let turn = match (self.held, held) {
            (false, true) => Some(Turn::Held),
            (true, false) => Some(Turn::Released),
            _ => None,
        };
        self.held = held;
        turn
    }
}
