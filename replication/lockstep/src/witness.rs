//! The witness: the register, who may change it, and who was heard when.

use crate::log::Point;
use crate::message::{Message, Party, Say};
use crate::register::{Asked, Boot, Change, Cluster, NodeId, Register};
use crate::settings::{Durability, Mutation, Settings};
use crate::store::RegisterStore;
use std::collections::BTreeMap;
use touchline_protocol::{Epoch, Seq};

/// Boots whose last answer is remembered. A witness that has seen more answers no further ones until it starts
/// again: a forgotten answer could be given differently.
pub const BOOTS_MAX: usize = 4096;

/// A register that its nodes gave back goes on in the witness's own stretch of so many epochs, or in the next one where it is
/// there already: more than a witness ever made that neither node has heard of.
pub const SEED_GAP: u64 = 100;

/// The third party.
pub struct Witness<S: RegisterStore> {
    cluster: Cluster,
    incarnation: Boot,
    order: u64,
    settings: Settings,
    store: S,
    /// `None` is blank: it refuses everything until it is seeded.
    register: Option<Register>,
    /// The epoch in the store: it stays there when this witness goes blank.
    stored: Option<Epoch>,
    /// Of each boot that asked: its last nonce and the answer.
    answered: BTreeMap<(NodeId, Boot), (u64, Option<Register>)>,
    /// When each boot was last heard.
    heard: BTreeMap<(NodeId, Boot), u64>,
    /// The boot last heard of each node.
    latest: [Option<Boot>; 2],
    /// When the primary was last heard as such.
    primary_heard_ns: Option<u64>,
    /// Before this no promotion: what was sent while this witness was not there may still be on its way.
    quiet_until_ns: u64,
    /// What each node would seed a blank witness with.
    seeds: [Option<Seed>; 2],
    last_ns: u64,
    utc_ns: i64,
    out: Vec<(Party, Message)>,
}

/// What a node reports to a blank witness.
#[derive(Clone, Copy)]
struct Seed {
    register: Option<Register>,
    end: Point,
}

impl<S: RegisterStore> Witness<S> {
    /// Starts from its store. `order` is greater than that of every witness before it, whatever became of those: tens of seconds
    /// since an instant are. Where it is not, two that are lost one after the other may make one epoch twice.
    pub fn start(
        cluster: Cluster,
        (incarnation, order): (Boot, u64),
        settings: Settings,
        mut store: S,
        now_ns: u64,
    ) -> Result<Self, S::Error> {
        let register = store.load()?;
        Ok(Witness {
            cluster,
            incarnation,
            order,
            settings,
            store,
            register,
            stored: register.map(|register| register.epoch),
            answered: BTreeMap::new(),
            heard: BTreeMap::new(),
            latest: [None; 2],
            primary_heard_ns: None,
            quiet_until_ns: now_ns + settings.witness_ns,
            seeds: [None; 2],
            last_ns: now_ns,
            utc_ns: 0,
            out: Vec::new(),
        })
    }

    /// The configuration in force; `None` while blank.
    pub fn register(&self) -> Option<&Register> {
        self.register.as_ref()
    }

    /// Messages to be sent.
    pub fn take_messages(&mut self) -> Vec<(Party, Message)> {
        std::mem::take(&mut self.out)
    }

    /// Time passes. To be called at least every heartbeat: a longer gap is a stall of this process.
    pub fn tick(&mut self, now_ns: u64, utc_ns: i64) {
        self.utc_ns = utc_ns;
        self.notice_stall(now_ns);
    }

    fn notice_stall(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.last_ns) > self.settings.stall_ns {
            self.quiet_until_ns = now_ns + self.settings.witness_ns;
        }
        self.last_ns = self.last_ns.max(now_ns);
    }

    /// Takes a message. An error is the storage's: the process must end.
    pub fn receive(&mut self, now_ns: u64, message: &Message) -> Result<(), S::Error> {
        let Party::Node(node) = message.from else { return Ok(()) };
        if message.cluster != self.cluster {
            return Ok(());
        }
        self.notice_stall(now_ns);
        let (boot, known) = (message.boot, message.register);
        // A register that others know to be outdated was restored from somewhere: it may promote nobody.
        let own = self.register.map(|register| register.epoch);
        if let (Some(own), Some(known)) = (own, known.map(|register| register.epoch))
            && known > own
            && self.settings.mutation != Some(Mutation::ForgetNewestSlot)
        {
            self.go_blank();
        }
        match message.say {
            Say::Report { sent_ns, incarnation, leads, durable, end } => {
                self.hear(now_ns, node, boot, leads, durable);
                if incarnation == Some(self.incarnation) && node != NodeId::SITE {
                    self.seed(node, Seed { register: known, end })?;
                }
                self.send(node, Say::Status { to: boot, echo_ns: sent_ns });
            }
            Say::Petition { incarnation, nonce, expected, at, change } if incarnation == self.incarnation => {
                let quiet = self.quiet_until_ns > now_ns;
                let primary_heard = quiet || self.primary_is_heard(now_ns, node);
                let asked = Asked {
                    node,
                    boot,
                    expected,
                    at,
                    primary_heard,
                    heard: self.latest,
                    twin_heard: quiet || self.twin_is_heard(now_ns, node, boot),
                    peer_lives: quiet || self.peer_is_heard(now_ns, node),
                    lone_promote: self.settings.durability == Durability::Durable,
                };
                self.petition(&asked, nonce, change)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// An operator's word to a blank witness, with both nodes stopped: how a cluster begins, and what to do when
    /// nobody knows the configuration any more. `false` where it, or the store by now, is not blank.
    pub fn install(&mut self, register: Register) -> Result<bool, S::Error> {
        if self.register.is_some() {
            return Ok(false);
        }
        self.keep(register)
    }

    /// Blank, and another incarnation: what was answered so far is void.
    fn go_blank(&mut self) {
        self.register = None;
        self.become_another();
    }

    fn become_another(&mut self) {
        self.seeds = [None; 2];
        self.answered.clear();
        self.incarnation = Boot(self.incarnation.0.wrapping_add(1));
    }

    fn hear(&mut self, now_ns: u64, node: NodeId, boot: Boot, leads: bool, durable: Seq) {
        if self.heard.len() < BOOTS_MAX || self.heard.contains_key(&(node, boot)) {
            self.heard.insert((node, boot), now_ns);
        }
        if let Some(latest) = self.latest.get_mut(node.place()) {
            *latest = Some(boot);
        }
        let Some(register) = &mut self.register else { return };
        if leads && register.is_led_by(node, boot) {
            self.primary_heard_ns = Some(now_ns);
            // Kept in memory, and written with the next change: an older value only asks for less.
            register.durable = register.durable.max(durable);
        }
    }

    fn primary_is_heard(&self, now_ns: u64, asking: NodeId) -> bool {
        let lately = |heard_ns: u64| now_ns.saturating_sub(heard_ns) < self.settings.witness_ns;
        let other_leads = self.register.is_some_and(|register| register.primary != asking);
        other_leads && self.primary_heard_ns.is_some_and(lately)
    }

    /// Whether the boot in which the peer of a node is in sync was heard lately.
    fn peer_is_heard(&self, now_ns: u64, node: NodeId) -> bool {
        let other = |other: &NodeId| *other != node && *other != NodeId::SITE;
        self.heard.iter().any(|((node, boot), heard_ns)| {
            other(node)
                && self.register.is_some_and(|register| register.has(*node, *boot))
                && now_ns.saturating_sub(*heard_ns) < self.settings.witness_ns
        })
    }

    fn twin_is_heard(&self, now_ns: u64, node: NodeId, boot: Boot) -> bool {
        self.heard.iter().any(|((other, other_boot), heard_ns)| {
            *other == node
                && *other_boot != boot
                && now_ns.saturating_sub(*heard_ns) < self.settings.witness_ns
        })
    }

    /// Each petition is processed once, and its answer given again to every repetition.
    fn petition(&mut self, asked: &Asked, nonce: u64, change: Change) -> Result<(), S::Error> {
        let key = (asked.node, asked.boot);
        let last = self.answered.get(&key).copied();
        let repeats = self.settings.mutation == Some(Mutation::RepeatRequests);
        let mut outrun = false;
        let made = match last {
            Some((last, _)) if nonce < last => return Ok(()),
            Some((last, made)) if nonce == last && !(repeats && made.is_none()) => made,
            None if self.answered.len() >= BOOTS_MAX => return Ok(()),
            _ => {
                let wanted = self
                    .register
                    .and_then(|register| register.changed(asked, change, self.settings.mutation));
                if let Some(register) = wanted {
                    outrun = !self.swap(register)?;
                    self.primary_heard_ns = None;
                }
                let made = wanted.filter(|_| !outrun);
                self.answered.insert(key, (nonce, made));
                made
            }
        };
        self.send(asked.node, Say::Verdict { to: asked.boot, nonce, made });
        if outrun {
            self.begin_again();
        }
        Ok(())
    }

    /// What a swap leads to: the register is what was swapped in, or what another witness left there.
    fn swap(&mut self, register: Register) -> Result<bool, S::Error> {
        let done = self.store.swap(self.stored, &register)?;
        self.register = if done { Some(register) } else { self.store.load()? };
        self.stored = self.register.map(|register| register.epoch);
        Ok(done)
    }

    /// A swap that answers no petition.
    fn keep(&mut self, register: Register) -> Result<bool, S::Error> {
        let done = self.swap(register)?;
        if !done {
            self.begin_again();
        }
        Ok(done)
    }

    /// Another witness worked on the same register. Nodes that heard it hold whatever they asked this one for
    /// void, so this one goes on as a witness that has just started: another incarnation, and quiet for a while.
    fn begin_again(&mut self) {
        self.become_another();
        self.quiet_until_ns = self.last_ns + self.settings.witness_ns;
    }

    /// A blank witness takes the newest of what both nodes know, unless a log holds a later epoch: a node that
    /// led it and started again has forgotten what it knew. What an earlier incarnation accepted and neither node
    /// nor log knows, nobody has acted on, and nobody will: nodes drop answers of other incarnations.
    fn seed(&mut self, node: NodeId, seed: Seed) -> Result<(), S::Error> {
        if self.register.is_some() {
            return Ok(());
        }
        self.seeds[node.place()] = Some(seed);
        let [Some(first), Some(second)] = self.seeds else { return Ok(()) };
        let newest = first.register.into_iter().chain(second.register).max_by_key(|register| register.epoch);
        match newest {
            Some(register)
                if first.register.is_some()
                    && second.register.is_some()
                    && (register.epoch >= first.end.epoch.max(second.end.epoch)
                        || self.settings.mutation == Some(Mutation::SeedAgainstLogs)) =>
            {
                // What it forgot may have been acted on by a process that is gone: its epoch is no other's.
                let same = self.settings.mutation == Some(Mutation::SeedSameEpoch);
                let stretch = SEED_GAP * self.order.max(register.epoch.0 / SEED_GAP + 1);
                let epoch = if same { register.epoch } else { Epoch(stretch) };
                self.keep(Register { epoch, ..register }).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    fn send(&mut self, node: NodeId, say: Say) {
        let message = Message {
            cluster: self.cluster,
            from: Party::Witness,
            boot: self.incarnation,
            register: self.register,
            utc_ns: self.utc_ns,
            say,
        };
        self.out.push((Party::Node(node), message));
    }
}
