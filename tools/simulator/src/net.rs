//! The network between nodes and witness: it delays, loses, repeats and reorders, and links are cut one way or
//! both.

use std::collections::BTreeMap;
use touchline_generator::Random;
use touchline_lockstep::Message;
use touchline_lockstep::message::Party;

/// Parties: both nodes and the witness.
pub(crate) const PARTIES: usize = 3;

/// The place of a party.
pub(crate) fn place(party: Party) -> usize {
    match party {
        Party::Node(node) => node.place(),
        Party::Witness => 2,
    }
}

/// Messages on their way.
#[derive(Default)]
pub(crate) struct Net {
    flying: BTreeMap<(u64, u64), (usize, Message)>,
    sent: u64,
    /// Until when each link carries nothing: from, to.
    cut_ns: [[u64; PARTIES]; PARTIES],
    /// Until when messages are lost, and how many of a thousand.
    lossy: (u64, u64),
    /// Until when messages take long, and how long at most.
    slow: (u64, u64),
    /// Messages that never arrived.
    pub(crate) lost: u64,
}

impl Net {
    /// Sends a message at an instant.
    pub(crate) fn send(
        &mut self,
        now_ns: u64,
        random: &mut Random,
        from: usize,
        to: usize,
        message: Message,
    ) {
        let lossy = self.lossy.0 > now_ns && random.below(1000) < self.lossy.1;
        if self.cut_ns[from][to] > now_ns || lossy {
            self.lost += 1;
            return;
        }
        let twice = random.chance(0.02).then(|| message.clone());
        for message in std::iter::once(message).chain(twice) {
            let most_ns = if self.slow.0 > now_ns { self.slow.1 } else { 300_000 };
            // One message in a hundred is late by far: it arrives behind what was sent after it.
            let late_ns = if random.chance(0.01) { random.below(20_000_000) } else { 0 };
            let due = now_ns + 20_000 + random.below(most_ns) + late_ns;
            self.sent += 1;
            self.flying.insert((due, self.sent), (to, message));
        }
    }

    /// The next message that is due.
    pub(crate) fn next(&mut self, now_ns: u64) -> Option<(usize, Message)> {
        let first = self.flying.first_entry().filter(|entry| entry.key().0 <= now_ns)?;
        Some(first.remove())
    }

    /// Cuts a link in one direction until an instant.
    pub(crate) fn cut(&mut self, from: usize, to: usize, until_ns: u64) {
        self.cut_ns[from][to] = until_ns;
    }

    /// Loses so many messages of a thousand until an instant.
    pub(crate) fn lose(&mut self, permille: u64, until_ns: u64) {
        self.lossy = (until_ns, permille);
    }

    /// Takes up to so long for each message until an instant.
    pub(crate) fn slow_down(&mut self, most_ns: u64, until_ns: u64) {
        self.slow = (until_ns, most_ns);
    }

    /// Everything works again.
    pub(crate) fn heal(&mut self) {
        self.cut_ns = [[0; PARTIES]; PARTIES];
        self.lossy = (0, 0);
        self.slow = (0, 0);
    }
}
