//! The configuration register: who is primary, who is in sync, and the only ways in which that may change.

use crate::log::Point;
use crate::settings::Mutation;
use std::fmt;
use touchline_protocol::{Epoch, Seq};

/// A data node of the cluster, by its place: 0 or 1. Its persistent identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u8);

impl NodeId {
    /// The disaster recovery site. Never in sync with anybody.
    pub const SITE: NodeId = NodeId(2);

    /// Both data nodes.
    pub const ALL: [NodeId; 2] = [NodeId(0), NodeId(1)];

    /// The other data node.
    pub fn peer(self) -> NodeId {
        NodeId(1 - self.0)
    }

    /// Its place in an array of both.
    pub fn place(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// One run of a process, drawn afresh at every start; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Boot(pub u128);

/// The cluster that a message belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cluster(pub u64);

/// What the witness remembers: the configuration in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Register {
    /// Rises by one with every change.
    pub epoch: Epoch,
    /// Who sequences.
    pub primary: NodeId,
    /// The boot in which each node is in sync; `None` where it is not.
    pub in_sync: [Option<Boot>; 2],
    /// The boot in which the disaster recovery site leads; then neither node is in sync.
    pub site: Option<Boot>,
    /// A frame in the journal of this epoch's primary: the last one there when it asked.
    pub start: Point,
    /// The last sequence that its primary reported durable.
    pub durable: Seq,
    /// How often an operator forced a change that may have lost frames, and the last range: from, to.
    pub forced: Forced,
}

/// What was forced, shown for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forced {
    /// How often.
    pub times: u32,
    /// The first sequence that may be lost, of the last time.
    pub from: Seq,
    /// The last one known to have existed.
    pub to: Seq,
}

/// A change that a node asks for. Each names the epoch it expects, and is accepted in no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The standby takes over.
    Promote,
    /// The primary goes on without its standby.
    Solo,
    /// The primary takes its peer in, in this boot.
    Dual(Boot),
    /// The primary hands over; both stay in sync.
    Handoff,
    /// The lone primary is back in a new boot.
    Recover,
    /// Both are back in new boots, the peer in this one; the log of the one that asks is the cluster's.
    Cold(Boot),
    /// A person's word: the disaster recovery site leads, and neither node does.
    Relocate {
        /// The first sequence that may be lost.
        from: Seq,
        /// The last one known to have existed.
        to: Seq,
    },
    /// An operator's word: this node goes on although frames may be lost.
    Force {
        /// The first sequence that may be lost.
        from: Seq,
        /// The last one known to have existed.
        to: Seq,
    },
}

/// Who asks for a change, and what the witness knows of the nodes.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The node.
    pub node: NodeId,
    /// Its boot.
    pub boot: Boot,
    /// The epoch it expects.
    pub expected: Epoch,
    /// The last frame in its journal.
    pub at: Point,
    /// Whether the primary was heard so lately that it is no time to replace it.
    pub primary_heard: bool,
    /// Boots last heard of both nodes since this witness started.
    pub heard: [Option<Boot>; 2],
    /// Whether another boot of the node that asks was heard lately, or may have been.
    pub twin_heard: bool,
    /// Whether the boot in which its peer is in sync was, or may have been.
    pub peer_lives: bool,
    /// Whether a rebooted node of a DUAL epoch may be promoted alone.
    pub lone_promote: bool,
}

impl Register {
    /// The configuration of a new cluster: the first node begins alone.
    pub fn first(primary: NodeId, boot: Boot) -> Register {
        let mut in_sync = [None; 2];
        in_sync[primary.place()] = Some(boot);
        Register {
            epoch: Epoch(1),
            primary,
            in_sync,
            site: None,
            start: Point::default(),
            durable: Seq(0),
            forced: Forced::default(),
        }
    }

    /// Whether both nodes are in sync.
    pub fn is_dual(&self) -> bool {
        self.in_sync.iter().all(Option::is_some)
    }

    /// Whether a node is in sync in this boot.
    pub fn has(&self, node: NodeId, boot: Boot) -> bool {
        let held = if node == NodeId::SITE { self.site } else { self.in_sync[node.place()] };
        held == Some(boot)
    }

    /// Whether a node leads in this boot.
    pub fn is_led_by(&self, node: NodeId, boot: Boot) -> bool {
        self.primary == node && self.has(node, boot)
    }

    /// The next configuration, or `None` where the change is refused. Reads nothing but its arguments: this is
    /// the whole rule of the register.
    pub fn changed(&self, asked: &Asked, change: Change, mutation: Option<Mutation>) -> Option<Register> {
        if asked.expected != self.epoch && mutation != Some(Mutation::SkipEpochCompare) {
            return None;
        }
        if asked.node == NodeId::SITE {
            return self.relocated(asked, change);
        }
        let (node, peer) = (asked.node, asked.node.peer());
        let member = self.has(node, asked.boot);
        let leads = self.is_led_by(node, asked.boot);
        let other_boot = self.in_sync[node.place()].is_some() && !member;
        // The boot that is in sync may be alive beside a copy of its disk, and acknowledge.
        let trusts_twins = mutation == Some(Mutation::TrustTwins);
        let (twin, peer_lives) = (asked.twin_heard && !trusts_twins, asked.peer_lives && !trusts_twins);
        let mut next = Register { epoch: Epoch(self.epoch.0 + 1), start: asked.at, ..*self };
        let alone = || {
            let mut in_sync = [None; 2];
            in_sync[node.place()] = Some(asked.boot);
            in_sync
        };
        let allowed = match change {
            Change::Promote => {
                next.primary = node;
                next.in_sync = alone();
                let standby = member && self.primary == peer;
                let lone =
                    asked.lone_promote && self.is_dual() && other_boot && self.is_in(asked.at) && !twin;
                let out_of_sync = mutation == Some(Mutation::PromoteOutOfSync) && self.primary == peer;
                (standby || lone || out_of_sync) && !asked.primary_heard
            }
            Change::Solo => {
                next.in_sync = alone();
                leads && self.is_dual()
            }
            Change::Dual(boot) => {
                next.in_sync[peer.place()] = Some(boot);
                leads && !self.is_dual()
            }
            Change::Handoff => {
                next.primary = peer;
                leads && self.is_dual()
            }
            Change::Recover => {
                next.in_sync = alone();
                let lone = self.primary == node && !self.is_dual() && !member;
                let held = self.is_in(asked.at) || mutation == Some(Mutation::RecoverUnchecked);
                lone && !twin && held
            }
            Change::Cold(boot) => {
                next.primary = node;
                next.in_sync = alone();
                let peer_rebooted = asked.heard[peer.place()] == Some(boot) && !self.has(peer, boot);
                self.is_dual() && other_boot && peer_rebooted && !twin && !peer_lives
            }
            Change::Relocate { .. } => false,
            // The way back from the site, too.
            Change::Force { from, to } => {
                next.site = None;
                next.primary = node;
                next.in_sync = alone();
                next.forced = Forced { times: self.forced.times.saturating_add(1), from, to };
                !asked.primary_heard && !twin
            }
        };
        let here = self.site.is_none() || matches!(change, Change::Force { .. });
        (allowed && here).then_some(next)
    }

    /// What the disaster recovery site may ask for: to lead, while nobody is heard to.
    fn relocated(&self, asked: &Asked, change: Change) -> Option<Register> {
        let Change::Relocate { from, to } = change else { return None };
        let forced = Forced { times: self.forced.times.saturating_add(1), from, to };
        (!asked.primary_heard && !asked.twin_heard).then_some(Register {
            epoch: Epoch(self.epoch.0 + 1),
            primary: NodeId::SITE,
            in_sync: [None; 2],
            site: Some(asked.boot),
            start: asked.at,
            durable: self.durable,
            forced,
        })
    }

    /// Whether a log that ends there may hold everything this configuration's primary acknowledged: it reaches
    /// the epoch's start and the last sequence reported durable. That it holds the very frame of the start is
    /// checked by the node that asks, which alone has the log.
    fn is_in(&self, end: Point) -> bool {
        end.seq >= self.start.seq && end.seq >= self.durable
    }
}
