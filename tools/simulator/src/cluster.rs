//! Primary, standby and witness: what the network brings, and what the replicas want done.

mod judges;

use crate::Options;
use crate::afar::{Afar, SITE};
use crate::member::Member;
use crate::net::{Net, place as party};
use crate::node::Node;
use crate::third::Third;
use crate::world::World;
use std::collections::BTreeMap;
use touchline_core::snapshot::Snapshot;
use touchline_core::{Engine, Now};
use touchline_journal::Storage;
use touchline_lockstep::log::frames;
use touchline_lockstep::message::Say;
use touchline_lockstep::register::Boot;
use touchline_lockstep::replica::{Start, Why};
use touchline_lockstep::{Action, Log, NodeId, Point, Register, Replica, Role, Settings};
use touchline_protocol::*;

const MS: u64 = 1_000_000;
/// The witness's place among the parties.
const WITNESS: usize = 2;
/// How far logical time may run ahead: as far as two clocks together, of which one runs a day ahead.
const AHEAD_NS: i64 = 2_000_000_000;

/// What the members of a cluster share, and what a judge remembers of them.
pub(crate) struct Cluster {
    pub(crate) id: touchline_lockstep::Cluster,
    pub(crate) settings: Settings,
    pub(crate) net: Net,
    pub(crate) third: Third,
    pub(crate) afar: Afar,
    third_ticked_ns: u64,
    pub(crate) blank_since_ns: u64,
    /// How often an operator told the witness the configuration.
    pub(crate) helped: u64,
    /// Every configuration that the witness ever made.
    pub(crate) registers: BTreeMap<Epoch, Register>,
    /// What the witness answered: its incarnation, the boot that asked, the nonce; the epoch that was made.
    verdicts: BTreeMap<(Boot, Boot, u64), Option<Epoch>>,
    /// Who led each epoch.
    leaders: BTreeMap<Epoch, (usize, Boot, Seq)>,
    /// The one payload of each sequence in each epoch.
    payloads: BTreeMap<(Epoch, Seq), ChainHash>,
    /// The last frame ever committed, and the hash of the log up to it.
    committed: (Seq, ChainHash),
    /// The same, up to the end of each epoch.
    committed_by: BTreeMap<Epoch, (Seq, ChainHash)>,
    /// Every committed frame, of which the nodes forget the front.
    pub(crate) archive: Vec<Vec<u8>>,
    /// How far logical time ever ran ahead of the true one.
    ahead_ns_max: i64,
    /// Up to where the journal of each boot was said to hold the log.
    said: BTreeMap<Boot, Seq>,
    /// The machine whose state in memory was spoilt, until its process ends.
    pub(crate) spoilt: Option<usize>,
}

impl Cluster {
    pub(crate) fn new(options: &Options, id: u64) -> Self {
        let settings = Settings {
            durability: options.durability,
            // Short, so that a run sees many joins; long ones differ in nothing else.
            hold_down_ns: (20 * MS, 200 * MS),
            lone_ns: 300 * MS,
            message_bytes: 4 * 1024,
            join_lag_max: 200,
            fingerprint_every: 64,
            mutation: options.lockstep,
            ..Settings::default()
        };
        Cluster {
            id: touchline_lockstep::Cluster(id),
            settings,
            net: Net::default(),
            third: Third::default(),
            afar: Afar::default(),
            third_ticked_ns: 0,
            blank_since_ns: 0,
            helped: 0,
            registers: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            leaders: BTreeMap::new(),
            payloads: BTreeMap::new(),
            committed: (Seq(0), ChainHash(0)),
            committed_by: BTreeMap::new(),
            said: BTreeMap::new(),
            ahead_ns_max: 0,
            archive: Vec::new(),
            spoilt: None,
        }
    }

    /// The newest configuration; `None` where nobody can know it now.
    pub(crate) fn newest(&self) -> Option<Register> {
        let now = *self.third.witness.as_ref()?.register()?;
        let known = self.registers.last_key_value().map(|(_, register)| *register);
        known.into_iter().chain([now]).max_by_key(|register| register.epoch)
    }

    /// The last frame ever committed, as the judge saw it.
    pub(crate) fn committed(&self) -> Seq {
        self.committed.0
    }

    /// The last frame ever committed, with the hash of the log up to it.
    pub(crate) fn committed_link(&self) -> (Seq, ChainHash) {
        self.committed
    }

    /// The last epoch in which anything was committed.
    pub(crate) fn committed_in(&self) -> Option<Epoch> {
        self.committed_by.last_key_value().map(|(epoch, _)| *epoch)
    }

    /// The journal of a boot said that it holds everything up to here.
    pub(crate) fn said(&mut self, boot: u128, seq: Seq) {
        self.said.insert(Boot(boot), seq);
    }
}

impl World {
    /// Whether nothing else may fail: where a state is odd only the other node has the right one, and a drill is of one
    /// fault.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.spoilt().is_some() || self.drill.is_some() || self.twin.is_some() || self.ordeal.is_some()
    }

    pub(crate) fn shared(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("only a cluster's run comes here")
    }

    /// One step of a cluster: messages that are due, ticks that are due, and something by chance.
    pub(crate) fn step_cluster(&mut self) -> Result<(), String> {
        self.out.events += 1;
        self.pass(200_000);
        self.deliver()?;
        self.tick_witness();
        self.help_witness();
        self.watch_drill()?;
        self.tick_site()?;
        for place in 0..self.members.len() {
            self.tick_member(place)?;
        }
        self.tick_twin()?;
        let place = self.random.below(2) as usize;
        self.clone_by_chance(place);
        match self.random.below(1000) {
            0..600 => self.stage_of(place)?,
            600..890 => self.exchange()?,
            890..990 if self.rests() => {}
            890..940 if self.goes_on_betting() => self.bet(),
            940..975 => self.report(),
            975..980 if self.goes_on_betting() => self.desk_friendly(),
            980..990 if !self.calm => self.desk(),
            990..994 if !self.calm && !self.is_quarantined() => self.fault(place)?,
            994..1000 if !self.calm && !self.is_quarantined() => self.fault_of_cluster(place),
            _ => {}
        }
        Ok(())
    }

    fn stage_of(&mut self, place: usize) -> Result<(), String> {
        if self.members[place].runs(self.now) { self.stage(place) } else { Ok(()) }
    }

    fn deliver(&mut self) -> Result<(), String> {
        let now = self.now;
        while let Some((to, message)) = self.shared().net.next(now.mono_ns) {
            if to == SITE {
                self.deliver_to_site(message)?;
                continue;
            }
            if to == WITNESS {
                let third = &mut self.shared().third;
                if third.paused_until_ns > now.mono_ns {
                    continue;
                }
                let Some(witness) = &mut third.witness else { continue };
                let before = witness.register().map(|register| register.epoch);
                if witness.receive(now.mono_ns, &message).is_err() {
                    third.kill(now.mono_ns + 50 * MS);
                    self.out.witness_crashes += 1;
                    self.note(|| "witness: crash in a write".into());
                    continue;
                }
                let after = witness.register().map(|register| register.epoch);
                if let Say::Petition { change, .. } = message.say
                    && after > before
                {
                    self.twin.as_ref().map_or(Ok(()), |twin| twin.check(message.boot, change))?;
                    self.check_change(message.boot, change)?;
                }
                if let Say::Petition { expected, change, .. } = message.say
                    && before.is_some()
                    && after > before
                    && Some(expected) != before
                {
                    return Err(format!(
                        "{change:?} was asked for in epoch {expected} and done in {before:?}"
                    ));
                }
                self.watch_witness()?;
                continue;
            }
            self.tell_twin(to, &message)?;
            let member = &mut self.members[to];
            if !member.runs(now) {
                continue;
            }
            let mono_ns = member.now(now).mono_ns;
            match message.say {
                Say::Status { to, .. } if to.0 != member.boot => {}
                Say::Status { echo_ns, .. } | Say::Ack { echo_ns, .. } => {
                    member.echoed_ns = member.echoed_ns.max(echo_ns);
                }
                _ => {}
            }
            if let (Some(replica), Some(node)) = (&mut member.replica, &member.node) {
                replica.receive(mono_ns, message, node.history());
            }
            self.act(to)?;
        }
        Ok(())
    }

    /// The witness says what it has to say; every configuration it made is remembered.
    fn watch_witness(&mut self) -> Result<(), String> {
        let now_ns = self.now.mono_ns;
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let Some(witness) = &mut cluster.third.witness else { return Ok(()) };
        let messages = witness.take_messages();
        let made = witness.register().copied();
        for (to, message) in messages {
            if let Say::Verdict { to, nonce, made } = message.say {
                let epoch = made.map(|register| register.epoch);
                let first = *cluster.verdicts.entry((message.boot, to, nonce)).or_insert(epoch);
                if first != epoch {
                    return Err(format!(
                        "petition {nonce} of {to:?} was answered {first:?}, later {epoch:?}"
                    ));
                }
            }
            cluster.net.send(now_ns, &mut self.random, WITNESS, party(to), message);
        }
        let Some(register) = made else { return Ok(()) };
        if cluster.registers.insert(register.epoch, register).is_none() {
            let name = if register.is_dual() { "DUAL" } else { "SOLO" };
            self.note(|| format!("witness: epoch {} {name}, {} leads", register.epoch, register.primary));
        }
        Ok(())
    }

    fn tick_witness(&mut self) {
        let (now_ns, utc_ns) = (self.now.mono_ns, self.now.utc_ns);
        let Some(cluster) = &mut self.cluster else { return };
        let third = &mut cluster.third;
        if third.lose_at_ns.take_if(|at| *at <= now_ns).is_some() {
            third.kill(now_ns + MS);
            third.lose();
            self.out.witness_losses += 1;
            self.note(|| "witness: its machine is lost".into());
            return;
        }
        if third.paused_until_ns > now_ns || now_ns < cluster.third_ticked_ns + MS {
            return;
        }
        cluster.third_ticked_ns = now_ns;
        match &mut third.witness {
            Some(witness) => witness.tick(now_ns, utc_ns),
            None if third.down_until_ns <= now_ns => {
                let incarnation = Boot(u128::from(self.random.bits()) << 1 | 1);
                third.start(cluster.id, incarnation, cluster.settings, now_ns);
                self.note(|| "witness: start".into());
            }
            None => {}
        }
    }

    fn tick_member(&mut self, place: usize) -> Result<(), String> {
        let now = self.now;
        let member = &mut self.members[place];
        if member.node.is_none() {
            return if member.down_until_ns <= now.mono_ns { self.start(place) } else { Ok(()) };
        }
        if !member.runs(now) || now.mono_ns < member.ticked_ns + MS {
            return Ok(());
        }
        if member.kill_at_ns.take_if(|at| *at <= now.mono_ns).is_some()
            && !self.calm
            && self.drill.is_none()
            && self.twin.is_none()
            && self.ordeal.is_none()
        {
            // Somebody or something starts it again, sooner or later.
            let longest_ms = if self.random.chance(0.5) { 10 } else { 250 };
            self.members[place].down_until_ns = now.mono_ns + self.random.below(longest_ms) * MS;
            self.crash_if_any_left(place);
            return Ok(());
        }
        let member = &mut self.members[place];
        member.ticked_ns = now.mono_ns;
        let own = member.now(now);
        if let (Some(replica), Some(node)) = (&mut member.replica, &mut member.node) {
            replica.tick(own.mono_ns, own.utc_ns, node.history());
            if !node.leads() {
                node.commit(replica.committed());
            }
        }
        self.act(place)?;
        self.check_lease(place)?;
        self.help_member(place);
        Ok(())
    }

    /// A node that has recovered its journal becomes a member.
    pub(crate) fn join_cluster(&mut self, place: usize, torn: bool, damaged: bool) {
        let Some(cluster) = &self.cluster else { return };
        let member = &mut self.members[place];
        let Some(node) = &member.node else { return };
        // What subscribers would have seen before it waits at the gate.
        self.ledger.note_start(node.last());
        let mono_ns = member.now(self.now).mono_ns;
        let start = Start { node: NodeId(place as u8), boot: Boot(member.boot), needs_word: torn, damaged };
        member.replica = Some(Replica::new(cluster.id, start, cluster.settings, node.history(), mono_ns));
        member.held = false;
        member.echoed_ns = mono_ns;
        let every = cluster.settings.fingerprint_every;
        if let Some(node) = &mut member.node {
            node.fingerprint_every(every);
        }
    }

    /// A member's shards applied frames: fingerprints that are whole are compared.
    pub(crate) fn applied(&mut self, place: usize) -> Result<(), String> {
        let mono_ns = self.node_now(place).mono_ns;
        let member = &mut self.members[place];
        let (Some(replica), Some(node)) = (&mut member.replica, &mut member.node) else { return Ok(()) };
        for (seq, value) in node.take_fingerprints() {
            self.out.fingerprints += 1;
            replica.fingerprint(seq, value);
        }
        if node.is_spoilt() {
            replica.spoilt(mono_ns);
            if self.spoilt() != Some(place) {
                return Err(format!("machine {place}: its state is broken, though nothing was spoilt"));
            }
        }
        self.act(place)
    }

    /// The sequencer of a member wrote frames.
    pub(crate) fn sequenced(&mut self, place: usize) {
        let now = self.now;
        let Some(cluster) = &mut self.cluster else { return };
        let member = &mut self.members[place];
        let mono_ns = member.now(now).mono_ns;
        let (Some(replica), Some(node)) = (&mut member.replica, &member.node) else { return };
        let history = node.history();
        let known = replica_end(replica);
        if history.end().seq == known {
            return;
        }
        cluster.ahead_ns_max = cluster.ahead_ns_max.max(node.at().0 - now.utc_ns);
        for seq in known.0 + 1..=history.end().seq.0 {
            let point = history.point(Seq(seq)).expect("just written");
            cluster.payloads.entry((point.epoch, point.seq)).or_insert(point.chain);
        }
        replica.appended(mono_ns, Seq(known.0 + 1), history);
    }

    /// A member's journal holds everything up to here.
    pub(crate) fn written(&mut self, place: usize, seq: Seq) -> Result<(), String> {
        let member = &mut self.members[place];
        let (Some(replica), Some(node)) = (&mut member.replica, &member.node) else { return Ok(()) };
        replica.durable(seq, node.history());
        self.act(place)
    }

    /// Does what a member's replica wants done, and sends what it says.
    fn act(&mut self, place: usize) -> Result<(), String> {
        loop {
            let Some(replica) = &mut self.members[place].replica else { return Ok(()) };
            let (actions, messages) = (replica.take_actions(), replica.take_messages());
            if actions.is_empty() && messages.is_empty() {
                return Ok(());
            }
            for (to, message) in messages {
                self.out.repairs += u64::from(matches!(message.say, Say::Missing { .. }));
                if let Say::Petition { change, .. } = message.say {
                    self.strike(place, change);
                }
                if matches!(message.say, Say::Fetch { .. }) {
                    self.strike_fetch(place);
                }
                let now_ns = self.now.mono_ns;
                let Some(cluster) = &mut self.cluster else { return Ok(()) };
                cluster.net.send(now_ns, &mut self.random, place, party(to), message);
            }
            for action in actions {
                self.do_for(place, action)?;
                if self.members[place].node.is_none() {
                    return Ok(());
                }
            }
        }
    }

    fn do_for(&mut self, place: usize, action: Action) -> Result<(), String> {
        let now = self.node_now(place);
        let boot = self.members[place].boot;
        let Some(node) = &mut self.members[place].node else { return Ok(()) };
        match action {
            Action::Append(bytes) => {
                node.append(bytes);
                self.check_payloads(place)?;
            }
            Action::Truncate(point) => return self.cut(place, point.seq, point.chain),
            Action::Install(point, state) => return self.install(place, point, &state),
            Action::Keep(seq) => return self.keep(place, seq),
            Action::Lead(register, cause) => {
                let new_epoch = NewEpoch { cause, node: place as u64, boot };
                let config = self.config.clone();
                let Member { node, replica, echoed_ns, .. } = &mut self.members[place];
                *echoed_ns = now.mono_ns;
                let (node, replica) =
                    (node.as_mut().expect("just there"), replica.as_ref().expect("asked for it"));
                let now = Now { utc_ns: replica.agreed_utc_ns(now.mono_ns, now.utc_ns), ..now };
                node.lead(now, &register, new_epoch, &config)?;
                self.count_lead(cause);
                self.note(|| format!("machine {place}: leads epoch {} ({})", register.epoch, cause.name()));
                self.sequenced(place);
                self.check_leader(place, &register)?;
            }
            Action::GoOn(register, cause) => {
                let new_epoch = NewEpoch { cause, node: place as u64, boot };
                node.open_epoch(now, register.epoch, new_epoch);
                self.out.solos += u64::from(cause == EpochCause::Solo);
                self.out.joins += u64::from(cause == EpochCause::Dual);
                self.note(|| {
                    format!("machine {place}: goes on in epoch {} ({})", register.epoch, cause.name())
                });
                self.sequenced(place);
                self.check_leader(place, &register)?;
            }
            Action::Pause => node.pause(true),
            Action::Resume => node.pause(false),
            Action::Follow(register) => {
                node.follow();
                self.disconnect_all(place);
                self.note(|| format!("machine {place}: follows in epoch {}", register.epoch));
            }
            Action::Commit(seq) => {
                if node.leads() {
                    self.check_commit(place, seq)?;
                }
                let node = self.members[place].node.as_mut().expect("just there");
                node.commit(seq);
            }
            Action::Hold => {
                self.members[place].held = true;
                self.out.holds += 1;
            }
            Action::Release => self.members[place].held = false,
            Action::Diverged(seq) => return self.diverged(place, seq),
            Action::Restart(why) => {
                self.out.demotions += 1;
                let wrong = matches!(why, Why::Broken(_));
                self.note(|| format!("machine {place}: starts again: {why:?}"));
                self.go_down(place);
                if wrong {
                    return Err(format!("machine {place}: a frame of the primary does not continue its log"));
                }
            }
        }
        Ok(())
    }

    fn count_lead(&mut self, cause: EpochCause) {
        match cause {
            EpochCause::Promote => self.out.promotions += 1,
            EpochCause::Handoff => self.out.handoffs += 1,
            EpochCause::Recover => self.out.recoveries += 1,
            EpochCause::Cold => self.out.colds += 1,
            EpochCause::Force => self.out.forces += 1,
            _ => {}
        }
    }

    pub(crate) fn disconnect_all(&mut self, place: usize) {
        for person in &mut self.people {
            if person.connection.is_some_and(|(machine, _)| machine == place) {
                person.disconnect(None);
            }
        }
    }

    /// The journal is cut and the state rebuilt from what is left; the boot stays.
    fn cut(&mut self, place: usize, to: Seq, chain: ChainHash) -> Result<(), String> {
        self.out.cuts += 1;
        self.note(|| format!("machine {place}: cuts its log behind frame {to}"));
        let member = &mut self.members[place];
        let Some(node) = member.node.take() else { return Ok(()) };
        let result = node.cut(member.disk.clone(), to, chain);
        if member.promised.0 > to {
            member.promised = (to, chain);
        }
        self.load_again(place, to, result, "a cut")
    }

    /// The log ends before the peer's begins: the peer's state takes its place.
    fn install(&mut self, place: usize, at: Point, state: &[u8]) -> Result<(), String> {
        self.out.installs += 1;
        self.note(|| format!("machine {place}: takes the state after frame {}", at.seq));
        let member = &mut self.members[place];
        let Some(node) = member.node.take() else { return Ok(()) };
        if let Some(before) = node.before_another(at).filter(|before| before.seq < member.promised.0) {
            member.promised = (before.seq, before.chain);
        }
        let result = node.install(at, state);
        if result.is_ok() {
            // What it held beyond the state, or instead of it, is given up.
            member.promised = (at.seq, at.chain);
        }
        self.load_again(place, at.seq, result, "taking a state")
    }

    /// The state after a frame may be kept.
    fn keep(&mut self, place: usize, seq: Seq) -> Result<(), String> {
        let member = &mut self.members[place];
        let alone = member.replica.as_ref().is_some_and(Replica::is_alone);
        let Some(node) = &mut member.node else { return Ok(()) };
        match node.keep(seq, alone) {
            Ok(kept) => self.out.snapshots += u64::from(kept),
            Err(_) if member.disk.went_down() => {
                self.out.crashes_in_writes += 1;
                self.crash(place, "in a disk operation");
            }
            Err(why) => self.crash(place, &why),
        }
        Ok(())
    }

    /// The node is built anew from what its disk holds now; the boot stays.
    fn load_again(
        &mut self,
        place: usize,
        to: Seq,
        result: Result<(), String>,
        what: &str,
    ) -> Result<(), String> {
        let every = self.shared().settings.fingerprint_every;
        let boot = self.members[place].boot;
        self.shared().said(boot, to);
        let member = &mut self.members[place];
        if let Err(why) = result {
            let why = if member.disk.went_down() { format!("in {what}") } else { why };
            self.crash(place, &why);
            return Ok(());
        }
        match Node::load(member.disk.clone(), &self.config, self.options.mutation) {
            Ok((node, ..)) => {
                if let Some(replica) = &mut member.replica {
                    replica.truncated(node.history());
                }
                self.ledger.note_start(node.last());
                let mut node = node;
                node.fingerprint_every(every);
                member.node = Some(node);
                Ok(())
            }
            Err(_) if member.disk.went_down() => {
                self.crash(place, &format!("in {what}"));
                Ok(())
            }
            Err(why) => Err(format!("the journal cannot be read after {what}: {why}")),
        }
    }

    /// Replays the log independently and tells the replica who is odd.
    fn diverged(&mut self, place: usize, seq: Seq) -> Result<(), String> {
        self.out.divergences += 1;
        let Some(odd) = self.spoilt() else {
            return Err(format!(
                "machine {place}: states differ after frame {seq}, though nothing was spoilt"
            ));
        };
        // From the last agreed state on the log goes through another core: its state is the right one, whatever is in the memory of both.
        let mut states = Vec::new();
        for member in &self.members {
            let Some(node) = &member.node else { continue };
            let mut bytes = Vec::new();
            let base = node.history().base().seq;
            node.history().read(Seq(base.0 + 1), usize::MAX, &mut bytes);
            let mut engine = match base {
                Seq(0) => Engine::new(self.config.cluster.id, self.config.cluster.partitions, 1),
                Seq(seq) => {
                    let state = member.disk.read_snapshot(seq).map_err(|error| error.to_string())?;
                    Snapshot::read(&state).and_then(|s| s.engine(1)).map_err(|error| error.to_string())?
                }
            };
            let mut effects = Vec::new();
            for frame in frames(&bytes).take_while(|frame| frame.seq() <= seq) {
                engine.replay(&frame, &frame.body().map_err(|error| error.to_string())?, &mut effects);
            }
            states.push(engine.shards[0].fingerprint());
        }
        if states.iter().any(|state| *state != states[0]) {
            return Err(format!("equal logs up to frame {seq} are different states: {states:032x?}"));
        }
        let mono_ns = self.node_now(place).mono_ns;
        let Some(replica) = &mut self.members[place].replica else { return Ok(()) };
        let own = replica.own_fingerprint(seq);
        let is_odd = own.is_some_and(|own| own != states[0]);
        if is_odd != (odd == place) {
            return Err(format!("machine {odd} is odd after frame {seq}, but the replay accuses the other"));
        }
        replica.verdict(mono_ns, is_odd);
        self.note(|| format!("machine {place}: states differ after frame {seq}; machine {odd} is odd"));
        Ok(())
    }

    /// Whether a cluster is back at full strength, and its standby has everything.
    pub(crate) fn is_whole(&self) -> bool {
        let Some(cluster) = &self.cluster else { return true };
        if !cluster.site_is_level() {
            return false;
        }
        let role = |role| {
            move |member: &&Member| member.replica.as_ref().is_some_and(|replica| replica.role() == role)
        };
        let primary = self.members.iter().find(role(Role::Primary));
        let standby = self.members.iter().find(role(Role::Standby));
        let (Some(primary), Some(standby)) = (primary, standby) else { return false };
        let (Some(leads), Some(follows)) = (&primary.node, &standby.node) else { return false };
        let committed = primary.replica.as_ref().map(Replica::committed);
        follows.is_quiet() && follows.last() == leads.last() && committed == Some(leads.last())
    }

    /// What the members are, for a report of a failure.
    pub(crate) fn state(&self) -> String {
        let members = self.members.iter().map(|member| {
            let replica = member.replica.as_ref();
            format!(
                "{:?} {:?} last {:?} quiet {:?}",
                replica.map(Replica::role),
                replica.and_then(Replica::register).map(|r| (r.epoch, r.primary, r.in_sync)),
                member.node.as_ref().map(Node::last),
                member.node.as_ref().map(Node::is_quiet),
            )
        });
        let witness = self.cluster.as_ref().and_then(|c| c.third.witness.as_ref()?.register().copied());
        let site = self.cluster.as_ref().map(|c| (c.afar.end().seq, c.committed()));
        format!("{:?}; site and committed {site:?}; witness {witness:?}", members.collect::<Vec<_>>())
    }
}

/// The end of the log as the replica knows it.
fn replica_end(replica: &Replica) -> Seq {
    replica.end().seq
}
