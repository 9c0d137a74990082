//! Why datagrams and messages are dropped, and how often.

/// A reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Shorter than a header and a tag.
    Short,
    /// Not one of this program's, or of another version.
    Version,
    /// A sender or receiver that no cluster has.
    Unknown,
    /// Of another cluster.
    Foreign,
    /// This party's own: multicast heard by its sender, or sent back by somebody.
    Own,
    /// For another party.
    Elsewhere,
    /// Sealed with a key that is not held, not yet or no more.
    Key,
    /// Not what the sender sealed.
    Forged,
    /// Heard already, within the window: usually the copy on the other network.
    Repeated,
    /// Older than the window reaches, or than the sender's answer: nobody can tell whether it was heard.
    Old,
    /// Of a boot that has not answered yet, or never will.
    Stranger,
    /// Of a party whose configuration of the cluster differs.
    Disagrees,
    /// Well sealed, and yet no items or no message.
    Malformed,
    /// A message that says it is from somebody else than its sender or from another cluster.
    Impostor,
    /// A message of which parts did not come.
    Incomplete,
    /// A message beyond the limits of what may wait here to be sent.
    Queue,
    /// Datagrams that the sockets had no room for.
    Socket,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 17] = [
        Reason::Short,
        Reason::Version,
        Reason::Unknown,
        Reason::Foreign,
        Reason::Own,
        Reason::Elsewhere,
        Reason::Key,
        Reason::Forged,
        Reason::Repeated,
        Reason::Old,
        Reason::Stranger,
        Reason::Disagrees,
        Reason::Malformed,
        Reason::Impostor,
        Reason::Incomplete,
        Reason::Queue,
        Reason::Socket,
    ];

    /// Its name on a board of counters.
    pub fn name(self) -> &'static str {
        match self {
            Reason::Short => "short",
            Reason::Version => "version",
            Reason::Unknown => "unknown",
            Reason::Foreign => "foreign",
            Reason::Own => "own",
            Reason::Elsewhere => "elsewhere",
            Reason::Key => "key",
            Reason::Forged => "forged",
            Reason::Repeated => "repeated",
            Reason::Old => "old",
            Reason::Stranger => "stranger",
            Reason::Disagrees => "disagrees",
            Reason::Malformed => "malformed",
            Reason::Impostor => "impostor",
            Reason::Incomplete => "incomplete",
            Reason::Queue => "queue",
            Reason::Socket => "socket",
        }
    }
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams sealed; each is sent once on every network.
    pub datagrams_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Messages in them.
    pub messages_out: u64,
    /// Datagrams that arrived, dropped ones included.
    pub datagrams_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Messages handed out.
    pub messages_in: u64,
    /// Boots of peers that were found to live.
    pub greeted: u64,
    /// Changes of the key that this party seals with.
    pub rotations: u64,
    dropped: [u64; Reason::ALL.len()],
}

impl Counters {
    /// How often something was dropped for a reason.
    pub fn dropped(&self, reason: Reason) -> u64 {
        self.dropped[reason as usize]
    }

    pub(crate) fn drop(&mut self, reason: Reason) {
        self.dropped[reason as usize] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place_of_its_own() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
