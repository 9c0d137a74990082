//! Where a node stands in its cluster: what its connections are told of it, and what its operator is.

use touchline_lockstep::{Point, Register, Role};
use touchline_protocol::{Epoch, Seq};

/// What the connections of a node have to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// The newest epoch that it knows; what it sends is of it.
    pub(crate) epoch: Epoch,
    /// The epoch in which it began to lead, while it does; its connections are numbered in it.
    pub(crate) led: Option<Epoch>,
    /// Where the node that leads serves clients, where that is another one and known.
    pub(crate) address: String,
    /// Whether every market counts as suspended.
    pub(crate) held: bool,
}

impl Standing {
    /// Of a node that leads since an epoch, or always did since it stands alone.
    pub(crate) fn leading(epoch: Epoch) -> Self {
        Standing { epoch, led: Some(epoch), address: String::new(), held: false }
    }

    /// Of a node of a cluster that knows nothing yet.
    pub(crate) fn unknown() -> Self {
        Standing { epoch: Epoch(0), led: None, address: String::new(), held: false }
    }
}

/// What an operator may want to know of a node of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Status {
    /// What it is.
    pub role: Role,
    /// Its number among the data nodes.
    pub place: u8,
    /// Its boot.
    pub boot: u128,
    /// The newest configuration that it knows.
    pub register: Option<Register>,
    /// Everything up to here is committed, as far as it knows.
    pub committed: Seq,
    /// The last frame in its journal.
    pub durable: Seq,
    /// The last frame of its log.
    pub end: Point,
    /// Whether it sequences.
    pub leads: bool,
    /// Whether clients are told that every market counts as suspended.
    pub held: bool,
    /// Whether it waits for an operator's word, since its journal was cut or is damaged.
    pub needs_word: bool,
    /// Whether only an operator's force brings the cluster back.
    pub stranded: bool,
}

impl Status {
    /// Of a node that has just started.
    pub(crate) fn new(place: u8, boot: u128, end: Point) -> Self {
        Status {
            role: Role::Idle,
            place,
            boot,
            register: None,
            committed: Seq(0),
            durable: end.seq,
            end,
            leads: false,
            held: false,
            needs_word: false,
            stranded: false,
        }
    }

    /// Whether both nodes acknowledge every frame; `None` while it knows no configuration.
    pub fn is_dual(&self) -> Option<bool> {
        self.register.as_ref().map(Register::is_dual)
    }

    /// The role in a word.
    pub fn role_name(&self) -> &'static str {
        match self.role {
            Role::Idle => "IDLE",
            Role::Learner => "LEARNER",
            Role::Standby => "STANDBY",
            Role::Sealed => "SEALED",
            Role::Primary => "PRIMARY",
            Role::Handing => "HANDING",
            Role::Gone => "GONE",
        }
    }
}
