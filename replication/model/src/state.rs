//! What the model remembers: two data nodes, the witness register, what is in flight, what clients were told.

use crate::few::Few;
use crate::log::{Epoch, Log, Seq};
use std::fmt;

/// One of the two data nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// The primary of the first epoch.
    #[default]
    A,
    /// Its standby.
    B,
}

impl Id {
    /// Both nodes.
    pub const BOTH: [Id; 2] = [Id::A, Id::B];

    /// The peer.
    pub fn peer(self) -> Id {
        match self {
            Id::A => Id::B,
            Id::B => Id::A,
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Id::A => "A",
            Id::B => "B",
        })
    }
}

/// A `boot_id`: one life of a node, drawn afresh at every start. Here they are counted from 1, which keeps the state
/// small; only whether two are equal is ever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(std::num::NonZeroU8);

impl Boot {
    /// The life of both nodes at genesis.
    pub const FIRST: Boot = Boot(std::num::NonZeroU8::MIN);

    /// The life after a restart.
    pub fn next(self) -> Boot {
        Boot(self.0.checked_add(1).expect("crashes are bounded far below 255"))
    }
}

impl Default for Boot {
    fn default() -> Self {
        Boot::FIRST
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(to)
    }
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Its process does not run; its durable log waits on the disk.
    Down,
    /// It runs but is in nobody's in-sync set as far as it knows: after a start, or demoted.
    Idle,
    /// It follows a primary in SOLO in order to be taken in.
    Learner,
    /// It is in sync and follows.
    Standby,
    /// It asked to be promoted and acknowledges nothing more.
    Sealed,
    /// It sequences.
    Primary,
    /// It asked to hand over and sequences nothing more; what it has sequenced may still be acknowledged.
    HandingOver,
}

/// One content of the witness register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Configuration {
    /// Rises by one with every accepted CAS.
    pub epoch: Epoch,
    /// Who may sequence.
    pub primary: Id,
    /// The boot with which each node is in sync, if it is.
    pub in_sync: [Option<Boot>; 2],
}

impl Configuration {
    /// Whether both nodes are in sync; else the mode is SOLO.
    pub fn is_dual(&self) -> bool {
        self.in_sync.iter().all(Option::is_some)
    }

    /// The boot with which a node is in sync.
    pub fn boot(&self, node: Id) -> Option<Boot> {
        self.in_sync[node as usize]
    }
}

impl fmt::Display for Configuration {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.is_dual() { "DUAL" } else { "SOLO" };
        write!(to, "epoch {} {mode}, primary {}, in sync", self.epoch, self.primary)?;
        for node in Id::BOTH {
            if let Some(boot) = self.boot(node) {
                write!(to, " {node}/boot {boot}")?;
            }
        }
        Ok(())
    }
}

/// What a CAS asks of the witness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// The proposer becomes primary, alone.
    #[default]
    Promote,
    /// The standby leaves the in-sync set.
    Solo,
    /// The peer with this boot enters it.
    Dual(Boot),
    /// The roles swap.
    Handoff,
    /// The node of a SOLO epoch comes back with a new boot.
    Recover,
    /// Both nodes of a DUAL epoch lost their boots; the proposer holds the longer log.
    Cold,
}

impl fmt::Display for Change {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Promote => to.write_str("PROMOTE"),
            Change::Solo => to.write_str("SOLO"),
            Change::Dual(boot) => write!(to, "DUAL(boot {boot})"),
            Change::Handoff => to.write_str("HANDOFF"),
            Change::Recover => to.write_str("RECOVER"),
            Change::Cold => to.write_str("COLD"),
        }
    }
}

/// Names a request once and for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Who asks.
    pub node: Id,
    /// In which of its lives.
    pub boot: Boot,
    /// Counts its requests of that life.
    pub nonce: u8,
}

/// A CAS on its way to the witness, where it may arrive at any time, or never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// Its name.
    pub id: RequestId,
    /// The epoch it takes the register to be in.
    pub expected: Epoch,
    /// What it asks.
    pub change: Change,
}

impl fmt::Display for Request {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestId { node, boot, nonce } = self.id;
        write!(to, "{} expecting epoch {} ({node}/boot {boot}, nonce {nonce})", self.change, self.expected)
    }
}

/// Whom a primary sends frames to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Receiver {
    /// The standby of the epoch.
    #[default]
    Standby,
    /// The peer that joins with this boot.
    Joining(Boot),
}

/// The longest log sent in an epoch: streams repair their own gaps, so whoever hears of it can have all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream {
    /// The sender's epoch.
    pub epoch: Epoch,
    /// For whom.
    pub to: Receiver,
    /// Everything up to its last frame.
    pub log: Log,
}

/// The most that a follower acknowledged in one epoch and boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ack {
    /// The epoch it follows.
    pub epoch: Epoch,
    /// Who.
    pub from: Id,
    /// In which of its lives.
    pub boot: Boot,
    /// It holds exactly these frames; on the wire that is a sequence and the chain hash there.
    pub log: Log,
}

/// One data node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// What it does.
    pub role: Role,
    /// Its present life.
    pub boot: Boot,
    /// The highest epoch it knows; 0 after a start, until it hears of one.
    pub epoch: Epoch,
    /// Every frame it holds.
    pub log: Log,
    /// Up to here its log survives a crash.
    pub durable: Seq,
    /// As a primary: the peer's acks are required.
    pub gate: bool,
    /// It takes the configuration to be DUAL.
    pub dual: bool,
    /// As a primary: the boot whose acks count, of the standby or of a joining peer.
    pub peer_boot: Option<Boot>,
    /// As a primary: what that boot acknowledged.
    pub peer_acked: Seq,
    /// As a primary: clients were told of every frame up to here.
    pub committed: Seq,
    /// The last nonce it used in this life.
    pub nonce: u8,
    /// What it asked of the witness and has no answer to.
    pub pending: Option<Change>,
}

impl Node {
    /// Whether its whole log would survive a crash.
    pub fn is_flushed(&self) -> bool {
        self.durable == self.log.end()
    }

    /// Drops everything that only a primary knows.
    pub fn stop_leading(&mut self) {
        self.gate = false;
        self.peer_boot = None;
        self.peer_acked = 0;
        self.committed = 0;
    }

    /// Takes over a sender's log: the durable part ends where the two first differ, since the rest is cut durably.
    pub fn take_log(&mut self, log: Log) {
        self.durable = self.durable.min(self.log.agrees_up_to(log));
        self.log = log;
    }
}

/// How often what is bounded has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    /// Crashes of nodes, and losses of a register slot.
    pub crashes: u8,
    /// Requests made because a peer seemed gone.
    pub suspicions: u8,
    /// Joins begun.
    pub joins: u8,
    /// Planned switchovers begun.
    pub handoffs: u8,
}

/// Epochs in one run, including the first.
pub const EPOCHS_MAX: usize = 8;
const REQUESTS_MAX: usize = 12;
const REJECTIONS_MAX: usize = 14;
const STREAMS_MAX: usize = 12;

/// The whole world at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// A and B.
    pub nodes: [Node; 2],
    /// Every content of the register so far, the present one last: a node may learn of an old one late.
    pub register: Few<Configuration, EPOCHS_MAX>,
    /// Requests the witness has not processed.
    pub requests: Few<Request, REQUESTS_MAX>,
    /// Requests it rejected; the stored answer can be read at any time.
    pub rejections: Few<RequestId, REJECTIONS_MAX>,
    /// Frames that were sent.
    pub streams: Few<Stream, STREAMS_MAX>,
    /// Acks that were sent.
    pub acks: Few<Ack, STREAMS_MAX>,
    /// Every bet of which a client was told, at its sequence.
    pub acknowledged: Log,
    /// A client was told of two different bets at one sequence.
    pub contradicted: bool,
    /// What is used up of the bounds.
    pub spent: Spent,
}

impl State {
    /// Genesis: epoch 1 is DUAL, A is primary, nothing was logged.
    pub fn genesis() -> State {
        let node = |role, peer_boot| Node {
            role,
            boot: Boot::FIRST,
            epoch: 1,
            log: Log::default(),
            durable: 0,
            gate: role == Role::Primary,
            dual: true,
            peer_boot,
            peer_acked: 0,
            committed: 0,
            nonce: 0,
            pending: None,
        };
        let mut register = Few::default();
        register.push(Configuration { epoch: 1, primary: Id::A, in_sync: [Some(Boot::FIRST); 2] });
        State {
            nodes: [node(Role::Primary, Some(Boot::FIRST)), node(Role::Standby, None)],
            register,
            requests: Few::default(),
            rejections: Few::default(),
            streams: Few::default(),
            acks: Few::default(),
            acknowledged: Log::default(),
            contradicted: false,
            spent: Spent::default(),
        }
    }

    /// One node.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// One node, to change it.
    pub fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    /// What the register says now.
    pub fn present(&self) -> Configuration {
        *self.register.last().expect("the register holds at least genesis")
    }

    /// Puts a node's log on the wire. Once sent, a frame may arrive at any later time, whatever its sender does.
    pub fn send(&mut self, from: Id, to: Receiver) {
        let Node { epoch, log, .. } = *self.node(from);
        let sent = self.streams.iter().find(|stream| stream.epoch == epoch && stream.to == to);
        if sent.is_none_or(|stream| log.end() > stream.log.end()) {
            let same = |stream: &Stream| stream.epoch == epoch && stream.to == to;
            self.streams.replace(same, Stream { epoch, to, log });
        }
    }

    /// Puts a CAS on the wire.
    pub fn propose(&mut self, from: Id, change: Change, expected: Epoch) -> Request {
        let node = self.node_mut(from);
        node.nonce += 1;
        node.pending = Some(change);
        let request =
            Request { id: RequestId { node: from, boot: node.boot, nonce: node.nonce }, expected, change };
        self.requests.insert(request);
        request
    }
}
