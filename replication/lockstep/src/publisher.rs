//! The leading side of the log: what the follower has, what is committed, and when the follower is too late.

use crate::log::{Log, Point};
use crate::message::Say;
use crate::register::Boot;
use crate::settings::{Durability, Mutation, Settings};
use std::collections::BTreeMap;
use touchline_protocol::{Epoch, Seq};

/// Fingerprints kept until the follower's arrives.
const FINGERPRINTS: usize = 64;

/// What is known of the follower.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Its boot; acknowledgements of another count for nothing.
    pub boot: Boot,
    /// Last frame in its memory.
    pub received: Seq,
    /// Last frame in its journal.
    pub durable: Seq,
    /// When it was last heard.
    pub heard_ns: u64,
    /// Whether it has acknowledged anything: a peer that only greeted may not have heard that it was taken in,
    /// and may not be in sync before it has.
    pub answered: bool,
    /// A frame that waits for it, and since when.
    waiting: Option<(Seq, u64)>,
}

/// A primary's side of the log.
#[derive(Debug)]
pub struct Publisher {
    /// The configuration that it leads.
    pub epoch: Epoch,
    /// The end of the log.
    pub end: Point,
    /// Last frame in the own journal.
    pub durable: Seq,
    /// Everything up to here is committed. Never moves back.
    pub committed: Seq,
    /// The follower, in sync or joining.
    pub peer: Option<Peer>,
    /// Whether the follower's acknowledgements are required.
    pub gated: bool,
    /// Whether the register says DUAL.
    pub dual: bool,
    /// Whether the set is about to narrow: what is only in memory counts for nothing.
    pub flushing: bool,
    /// The log's end when it was taken over: whatever lies before may have been acknowledged, known here or not.
    inherited: Seq,
    /// The frame that opens the epoch: nothing is committed in an epoch before this frame is, so that whoever
    /// has acknowledged anything in an epoch has that epoch in its log.
    opening: Option<Seq>,
    /// The last frame after which the follower's fingerprint was the own one.
    agreed: Seq,
    beaten_ns: Option<u64>,
    fingerprints: BTreeMap<Seq, u128>,
}

impl Publisher {
    /// A primary that takes over a log.
    pub fn new(epoch: Epoch, end: Point, durable: Seq, committed: Seq) -> Self {
        Publisher {
            epoch,
            end,
            durable,
            committed,
            peer: None,
            gated: false,
            dual: false,
            flushing: false,
            inherited: end.seq,
            opening: None,
            agreed: Seq(0),
            beaten_ns: None,
            fingerprints: BTreeMap::new(),
        }
    }

    /// From now on it leads this configuration; the next frame opens it.
    pub fn enter(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.flushing = false;
        self.opening = None;
    }

    /// The log has grown, from a frame on.
    pub fn appended(&mut self, now_ns: u64, first: Seq, end: Point) {
        self.opening.get_or_insert(first);
        self.end = end;
        if let Some(peer) = &mut self.peer {
            peer.waiting.get_or_insert((end.seq, now_ns));
        }
    }

    /// A follower begins, in sync or joining, at a point of this log.
    pub fn begin(&mut self, now_ns: u64, boot: Boot, at: Seq) {
        let waiting = (at < self.end.seq).then_some((self.end.seq, now_ns));
        self.peer =
            Some(Peer { boot, received: at, durable: at, heard_ns: now_ns, answered: false, waiting });
    }

    /// There is no follower any more.
    pub fn drop_peer(&mut self) {
        self.peer = None;
        self.gated = false;
        self.dual = false;
        self.fingerprints.clear();
    }

    /// The own loop stood still: the follower is not to blame for what waited meanwhile.
    pub fn pardon(&mut self, now_ns: u64) {
        let Some(peer) = &mut self.peer else { return };
        peer.heard_ns = now_ns;
        peer.waiting = peer.waiting.map(|(seq, _)| (seq, now_ns));
    }

    /// An acknowledgement of this epoch and the follower's boot, whose chain hash was found in this log.
    pub fn acknowledged(&mut self, now_ns: u64, received: Seq, durable: Seq, settings: &Settings) {
        let end = self.end.seq;
        let Some(peer) = &mut self.peer else { return };
        peer.heard_ns = now_ns;
        peer.answered = true;
        peer.received = peer.received.max(received);
        peer.durable = peer.durable.max(durable.min(received));
        let counts = counting(peer, settings);
        if peer.waiting.is_some_and(|(seq, _)| seq <= counts) {
            peer.waiting = (counts < end).then_some((end, now_ns));
        }
    }

    /// What the follower has, as the policy counts it.
    pub fn follower_has(&self, settings: &Settings) -> Seq {
        self.peer.as_ref().map_or(Seq(0), |peer| counting(peer, settings))
    }

    /// For how long a frame has waited for the follower.
    pub fn waits_ns(&self, now_ns: u64) -> u64 {
        let since = self.peer.as_ref().and_then(|peer| peer.waiting);
        since.map_or(0, |(_, since_ns)| now_ns.saturating_sub(since_ns))
    }

    /// Moves the watermark: the least of what each journal or memory that the policy asks for has.
    pub fn commit(&mut self, settings: &Settings) -> Option<Seq> {
        let gated = self.gated && settings.mutation != Some(Mutation::IgnoreStandby);
        let own = match settings.durability {
            // While the register says SOLO, a crash leaves nothing but this journal.
            Durability::Memory if gated && self.dual && !self.flushing => self.end.seq,
            _ => self.durable,
        };
        let covered = if gated { own.min(self.follower_has(settings)) } else { own };
        let opened = self.opening.is_some_and(|opening| covered >= opening)
            || settings.mutation == Some(Mutation::CommitBeforeOpening);
        (opened && covered > self.committed).then(|| {
            self.committed = covered;
            covered
        })
    }

    /// Everything up to here may have been acknowledged: what this process committed, and whatever it inherited, for
    /// a process that has just started does not know what the one before it committed.
    pub fn answered(&self) -> Seq {
        self.committed.max(self.inherited)
    }

    /// The frame that opens the epoch in the log, once it is there.
    pub fn opening(&self) -> Option<Seq> {
        self.opening
    }

    /// Whether everything that may have been acknowledged is in the own journal.
    pub fn is_flushed(&self) -> bool {
        self.durable >= self.answered()
    }

    /// A heartbeat, where one is due.
    pub fn heartbeat(&mut self, now_ns: u64, settings: &Settings) -> Option<Say> {
        let due = self.beaten_ns.is_none_or(|at| now_ns.saturating_sub(at) >= settings.heartbeat_ns);
        due.then(|| {
            self.beaten_ns = Some(now_ns);
            let (epoch, end, committed) = (self.epoch, self.end.seq, self.committed);
            let follower = self.peer.as_ref().map(|peer| peer.boot);
            let agreed = if self.agreed <= committed { self.agreed } else { Seq(0) };
            Say::Heartbeat { epoch, sent_ns: now_ns, end, committed, follower, agreed }
        })
    }

    /// Frames from a sequence on, in one message.
    pub fn frames(&self, from: Seq, log: &dyn Log, settings: &Settings) -> Option<Say> {
        let mut bytes = Vec::new();
        log.read(from, settings.message_bytes, &mut bytes);
        let to = if self.dual { None } else { Some(self.peer.as_ref()?.boot) };
        (!bytes.is_empty()).then_some(Say::Frames {
            epoch: self.epoch,
            to,
            first: from,
            bytes,
            committed: self.committed,
        })
    }

    /// The own fingerprint after a frame.
    pub fn fingerprint(&mut self, seq: Seq, value: u128) {
        self.fingerprints.insert(seq, value);
        while self.fingerprints.len() > FINGERPRINTS {
            self.fingerprints.pop_first();
        }
    }

    /// The own fingerprint after a frame, where it is still remembered.
    pub fn own(&self, seq: Seq) -> Option<u128> {
        self.fingerprints.get(&seq).copied()
    }

    /// Whether the follower's fingerprint agrees; `None` where the own one is not known.
    pub fn agrees(&mut self, seq: Seq, value: u128) -> Option<bool> {
        let agrees = self.fingerprints.get(&seq).map(|own| *own == value);
        if agrees == Some(true) {
            self.agreed = self.agreed.max(seq);
        }
        agrees
    }

    /// The last frame after which both states were the same, and that is committed.
    pub fn agreed(&self) -> Option<Seq> {
        (self.agreed > Seq(0) && self.agreed <= self.committed).then_some(self.agreed)
    }
}

fn counting(peer: &Peer, settings: &Settings) -> Seq {
    match settings.durability {
        Durability::Durable => peer.durable,
        Durability::Hybrid | Durability::Memory => peer.received,
    }
}
