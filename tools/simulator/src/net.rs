//! The network between nodes and witness: it delays, loses, repeats and reorders, and links are cut one way or
//! both.

use std::collections::BTreeMap;
use touchline_generator::Random;
use touchline_lockstep::message::{Party, Say};
use touchline_lockstep::{Message, NodeId};

/// The place of a party.
pub(crate) fn place(party: Party) -> usize {
    match party {
        Party::Node(NodeId::SITE) => crate::afar::SITE,
        Party::Node(node) => node.place(),
        Party::Witness => 2,
    }
}

/// A link that carries nothing in one direction, from one instant to another.
struct Cut {
    link: (usize, usize),
    begin_ns: u64,
    end_ns: u64,
}

/// Messages on their way.
#[derive(Default)]
pub(crate) struct Net {
    flying: BTreeMap<(u64, u64), (usize, Message)>,
    sent: u64,
    /// Links that carry nothing for a while.
    cuts: Vec<Cut>,
    /// Until when messages are lost, and how many of a thousand.
    lossy: (u64, u64),
    /// Until when messages take long, and how long at most.
    slow: (u64, u64),
    /// The next message of a link takes so much longer.
    held: Option<((usize, usize), u64)>,
    /// The last answer to a fetch that each node was sent.
    fetched: [Option<Message>; 2],
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
        self.cuts.retain(|cut| cut.end_ns > now_ns);
        if lossy || self.cuts.iter().any(|cut| cut.link == (from, to) && cut.begin_ns <= now_ns) {
            self.lost += 1;
            return;
        }
        if let (Say::Fetched { .. }, Some(last)) = (&message.say, self.fetched.get_mut(to)) {
            *last = Some(message.clone());
        }
        // What is asked of the witness, and what a log is cut by, comes again when nobody expects it any more.
        let (twice, later_ns) = match message.say {
            Say::Petition { .. } => (0.2, 250_000_000),
            Say::Fetched { .. } | Say::Join { .. } => (0.1, 60_000_000),
            _ => (0.02, 0),
        };
        let twice = random.chance(twice).then(|| message.clone());
        let held = self.held.take_if(|(link, _)| *link == (from, to)).map_or(0, |(_, for_ns)| for_ns);
        for (copy, message) in std::iter::once(message).chain(twice).enumerate() {
            let most_ns = if self.slow.0 > now_ns { self.slow.1 } else { 300_000 };
            // One message in a hundred is late by far: it arrives behind what was sent after it.
            let late = random.chance(0.01) || (copy > 0 && later_ns > 0);
            let late_ns = if late { random.below(later_ns.max(20_000_000)) } else { 0 };
            // The site is far away.
            let far_ns =
                if from.max(to) == crate::afar::SITE { 8_000_000 + random.below(8_000_000) } else { 0 };
            let due = now_ns + 20_000 + random.below(most_ns) + late_ns + far_ns + held;
            self.sent += 1;
            self.flying.insert((due, self.sent), (to, message));
        }
    }

    /// The next message that is due.
    pub(crate) fn next(&mut self, now_ns: u64) -> Option<(usize, Message)> {
        let first = self.flying.first_entry().filter(|entry| entry.key().0 <= now_ns)?;
        Some(first.remove())
    }

    /// Cuts a link in one direction from one instant to another.
    pub(crate) fn cut(&mut self, from: usize, to: usize, begin_ns: u64, end_ns: u64) {
        self.cuts.push(Cut { link: (from, to), begin_ns, end_ns });
    }

    /// A link carries everything again, in both directions.
    pub(crate) fn heal_between(&mut self, a: usize, b: usize) {
        self.cuts.retain(|cut| cut.link != (a, b) && cut.link != (b, a));
    }

    /// The last answer to a fetch arrives at a node once more; whether there was one.
    pub(crate) fn echo_fetched(&mut self, due_ns: u64, to: usize) -> bool {
        let Some(message) = self.fetched[to].take() else { return false };
        self.sent += 1;
        self.flying.insert((due_ns, self.sent), (to, message));
        true
    }

    /// The next message of a link takes so much longer.
    pub(crate) fn hold_next(&mut self, from: usize, to: usize, for_ns: u64) {
        self.held = Some(((from, to), for_ns));
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
        self.cuts.clear();
        self.lossy = (0, 0);
        self.slow = (0, 0);
    }
}
