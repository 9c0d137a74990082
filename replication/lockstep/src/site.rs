//! The disaster recovery site: it follows the committed log from afar, counts for nothing, and leads when somebody says so.
//!
//! It asks for what it lacks, so a node keeps nothing about it and never waits for it. It is given committed frames
//! alone, so its log is always a front of the cluster's and never has to be cut. What is committed and has not arrived
//! here is what would be lost with both nodes: the lag is the recovery point.

use crate::gap::Ahead;
use crate::log::{Log, Point, frames};
use crate::message::{Message, Party, Say};
use crate::petition::{Outcome, Petitioner};
use crate::register::{Boot, Change, Cluster, NodeId, Register};
use crate::settings::Settings;
use crate::transfer::Transfer;
use touchline_protocol::Seq;

/// What the process around must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SiteAction {
    /// Write these frames to the journal; nothing is applied that anybody is told of.
    Append(Vec<u8>),
    /// Replace log and state by this state at this point, durably, and say [`Site::installed`].
    Install(Point, Vec<u8>),
    /// Open this epoch in the log and sequence from now on.
    Lead(Register),
    /// What the nodes send does not continue this log: frames were lost by force, or this is another log. A person has
    /// to look, and to begin this site anew.
    Broken(Seq),
}

/// How far the site is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// Committed frames that it lacks, as far as it knows.
    pub frames: u64,
    /// For how long it has not had everything that it knew of, or heard nothing at all, nanoseconds.
    pub behind_ns: u64,
}

/// The site.
#[derive(Debug)]
pub struct Site {
    cluster: Cluster,
    boot: Boot,
    settings: Settings,
    register: Option<Register>,
    petitioner: Petitioner,
    end: Point,
    /// The newest frame known to be committed.
    known: Seq,
    /// When it last had everything that it knew of.
    level_ns: u64,
    ahead: Ahead,
    transfer: Option<(NodeId, Transfer)>,
    /// When it last asked, or something came, and how much came since it asked.
    asked_ns: Option<u64>,
    came_bytes: usize,
    reported_ns: Option<u64>,
    leads: bool,
    broken: bool,
    out: Vec<(Party, Message)>,
    actions: Vec<SiteAction>,
}

impl Site {
    /// A site that has just read its log.
    pub fn new(cluster: Cluster, boot: Boot, settings: Settings, log: &dyn Log, now_ns: u64) -> Self {
        Site {
            cluster,
            boot,
            settings,
            register: None,
            petitioner: Petitioner::default(),
            end: log.end(),
            known: log.end().seq,
            level_ns: now_ns,
            ahead: Ahead::default(),
            transfer: None,
            asked_ns: None,
            came_bytes: 0,
            reported_ns: None,
            leads: false,
            broken: false,
            out: Vec::new(),
            actions: Vec::new(),
        }
    }

    /// Whether it leads.
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// The end of its log.
    pub fn end(&self) -> Point {
        self.end
    }

    /// How far it is behind.
    pub fn lag(&self, now_ns: u64) -> Lag {
        Lag {
            frames: self.known.0.saturating_sub(self.end.seq.0),
            behind_ns: now_ns.saturating_sub(self.level_ns),
        }
    }

    /// Messages to be sent.
    pub fn take_messages(&mut self) -> Vec<(Party, Message)> {
        std::mem::take(&mut self.out)
    }

    /// What to do.
    pub fn take_actions(&mut self) -> Vec<SiteAction> {
        std::mem::take(&mut self.actions)
    }

    /// Takes a message.
    pub fn receive(&mut self, now_ns: u64, message: Message) {
        if message.cluster != self.cluster {
            return;
        }
        match message.from {
            Party::Witness => self.receive_witness(now_ns, &message),
            Party::Node(node) if !self.leads && !self.broken => self.receive_node(now_ns, node, message),
            Party::Node(_) => {}
        }
    }

    fn receive_witness(&mut self, now_ns: u64, message: &Message) {
        let mut outcome = None;
        if let Say::Status { to, echo_ns } = message.say
            && to == self.boot
        {
            outcome = self.petitioner.hear(
                now_ns,
                message.boot,
                echo_ns,
                message.register.as_ref(),
                self.settings.mutation,
            );
        }
        if !self.petitioner.trusts(message.boot) {
            return;
        }
        match message.say {
            Say::Verdict { to, nonce, made } if to == self.boot => {
                outcome = self.petitioner.verdict(nonce, made);
            }
            _ => {}
        }
        if let Some(Outcome::Made(register)) = outcome {
            self.learn(register);
        }
        if let Some(register) = message.register {
            self.learn(register);
        }
    }

    fn learn(&mut self, register: Register) {
        if self.register.is_some_and(|known| known.epoch >= register.epoch) {
            return;
        }
        self.register = Some(register);
        self.petitioner.outdated(register.epoch);
        if register.is_led_by(NodeId::SITE, self.boot) && !self.leads {
            self.leads = true;
            self.actions.push(SiteAction::Lead(register));
        }
    }

    fn receive_node(&mut self, now_ns: u64, node: NodeId, message: Message) {
        if let Some(register) = message.register {
            self.learn(register);
        }
        match message.say {
            Say::Frames { to, first, bytes, committed, .. } if to == Some(self.boot) => {
                self.frames(now_ns, first, bytes, committed);
            }
            Say::Take { to, at, length, .. } if to == self.boot && at.seq > self.end.seq => {
                let fits = length > 0 && length <= self.settings.state_bytes_max;
                let runs = self
                    .transfer
                    .as_ref()
                    .is_some_and(|(_, transfer)| transfer.at == at && transfer.from == message.boot);
                if fits && !runs {
                    let window = self.settings.catch_up_bytes;
                    self.transfer = Some((node, Transfer::new(message.boot, at, length as usize, window)));
                }
            }
            Say::Part { to, at, offset, bytes } if to == self.boot => {
                let transfer = self.transfer.as_mut().filter(|(_, t)| t.at == at && t.from == message.boot);
                if let Some(state) = transfer.and_then(|(_, transfer)| transfer.part(now_ns, offset, bytes)) {
                    self.transfer = None;
                    self.actions.push(SiteAction::Install(at, state));
                }
            }
            _ => {}
        }
    }

    fn frames(&mut self, now_ns: u64, first: Seq, bytes: Vec<u8>, committed: Seq) {
        self.known = self.known.max(committed);
        if first.0 > self.end.seq.0 + 1 {
            return self.ahead.keep(first, bytes, self.settings.ahead_max);
        }
        let mut out = Vec::new();
        let mut next = Some(bytes);
        while let Some(bytes) = next {
            for frame in frames(&bytes) {
                let envelope = frame.envelope();
                if envelope.seq <= self.end.seq {
                    continue;
                }
                if envelope.seq.0 != self.end.seq.0 + 1 || envelope.previous != self.end.chain {
                    self.broken = true;
                    self.actions.push(SiteAction::Broken(envelope.seq));
                    return;
                }
                self.end = Point::of(&frame);
                out.extend_from_slice(frame.bytes());
            }
            next = self.ahead.next(Seq(self.end.seq.0 + 1));
        }
        if !out.is_empty() {
            self.asked_ns = Some(now_ns);
            self.came_bytes += out.len();
            self.actions.push(SiteAction::Append(out));
        }
        self.transfer.take_if(|(_, transfer)| transfer.at.seq <= self.end.seq);
        if self.end.seq >= self.known {
            self.level_ns = now_ns;
        }
    }

    /// The state that it was given is on the disk.
    pub fn installed(&mut self, log: &dyn Log) {
        self.end = log.end();
        self.known = self.known.max(self.end.seq);
    }

    /// Time passes; to be called every millisecond or so.
    pub fn tick(&mut self, now_ns: u64, utc_ns: i64) {
        let due = |at: Option<u64>, every_ns| at.is_none_or(|at| now_ns.saturating_sub(at) >= every_ns);
        if due(self.reported_ns, self.settings.heartbeat_ns) {
            self.reported_ns = Some(now_ns);
            let (incarnation, end) = (self.petitioner.incarnation(), self.end);
            let say = Say::Report { sent_ns: now_ns, incarnation, leads: self.leads, durable: Seq(0), end };
            self.send(utc_ns, Party::Witness, say);
        }
        if let Some(say) = self.petitioner.repeat(now_ns, self.settings.retry_ns) {
            self.send(utc_ns, Party::Witness, say);
        }
        if self.leads || self.broken {
            return;
        }
        if let Some((node, transfer)) = &mut self.transfer
            && let Some(offset) = transfer.ask(now_ns, self.settings.retry_ns)
        {
            let (party, to, at) = (Party::Node(*node), transfer.from, transfer.at);
            self.send(utc_ns, party, Say::Want { to, at, offset });
        }
        // Asked for at every heartbeat; while there is more, at once when what an answer may hold has come, and after a
        // while without any.
        let wait_ns =
            if self.end.seq < self.known { self.settings.retry_ns } else { self.settings.heartbeat_ns };
        let all = self.came_bytes + self.settings.message_bytes > self.settings.catch_up_bytes;
        if all || due(self.asked_ns, wait_ns) {
            (self.asked_ns, self.came_bytes) = (Some(now_ns), 0);
            let end = self.end;
            NodeId::ALL.into_iter().for_each(|node| self.send(utc_ns, Party::Node(node), Say::Tail { end }));
        }
    }

    /// A person's word, with both nodes lost or stopped: this site leads, and says which frames may be lost, up to the last
    /// one that was known to exist. Whether it was asked for; the witness refuses it while it hears a primary.
    pub fn promote(&mut self, now_ns: u64, utc_ns: i64, known: Seq) -> bool {
        let Some(register) = self.register.filter(|_| !self.leads) else {
            return false;
        };
        let change = Change::Relocate { from: Seq(self.end.seq.0 + 1), to: known.max(self.known) };
        let Some(say) = self.petitioner.ask(now_ns, register.epoch, self.end, change) else { return false };
        // What is on its way cannot come whole any more.
        self.transfer = None;
        self.send(utc_ns, Party::Witness, say);
        true
    }

    fn send(&mut self, utc_ns: i64, to: Party, say: Say) {
        let (cluster, boot, register) = (self.cluster, self.boot, self.register);
        self.out
            .push((to, Message { cluster, from: Party::Node(NodeId::SITE), boot, register, utc_ns, say }));
    }
}
