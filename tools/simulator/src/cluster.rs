//! Primary, standby and witness: what the network brings, what the replicas want done, and what must hold at
//! every moment.

use crate::Options;
use crate::member::Member;
use crate::net::{Net, place as party};
use crate::node::Node;
use crate::third::Third;
use crate::world::World;
use std::collections::BTreeMap;
use touchline_core::Engine;
use touchline_lockstep::log::frames;
use touchline_lockstep::message::Say;
use touchline_lockstep::register::Boot;
use touchline_lockstep::replica::{Start, Why};
use touchline_lockstep::{Action, Durability, Log, NodeId, Point, Register, Replica, Role, Settings};
use touchline_protocol::*;

const MS: u64 = 1_000_000;
/// The witness's place among the parties.
const WITNESS: usize = 2;

/// What the members of a cluster share, and what a judge remembers of them.
pub(crate) struct Cluster {
    pub(crate) id: touchline_lockstep::Cluster,
    pub(crate) settings: Settings,
    pub(crate) net: Net,
    pub(crate) third: Third,
    third_ticked_ns: u64,
    blank_since_ns: u64,
    /// How often an operator told the witness the configuration.
    helped: u64,
    /// Every configuration that the witness ever made.
    registers: BTreeMap<Epoch, Register>,
    /// Who led each epoch.
    leaders: BTreeMap<Epoch, (usize, Boot)>,
    /// The one payload of each sequence in each epoch.
    payloads: BTreeMap<(Epoch, Seq), ChainHash>,
    /// The last frame ever committed, and the hash of the log up to it.
    committed: (Seq, ChainHash),
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
            third_ticked_ns: 0,
            blank_since_ns: 0,
            helped: 0,
            registers: BTreeMap::new(),
            leaders: BTreeMap::new(),
            payloads: BTreeMap::new(),
            committed: (Seq(0), ChainHash(0)),
            spoilt: None,
        }
    }

    /// The last frame ever committed, as the judge saw it.
    pub(crate) fn committed(&self) -> Seq {
        self.committed.0
    }
}

impl World {
    fn shared(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("only a cluster's run comes here")
    }

    /// One step of a cluster: messages that are due, ticks that are due, and something by chance.
    pub(crate) fn step_cluster(&mut self) -> Result<(), String> {
        self.out.events += 1;
        self.pass(200_000);
        self.deliver()?;
        self.tick_witness();
        self.help_witness();
        for place in 0..self.members.len() {
            self.tick_member(place)?;
        }
        let place = self.random.below(2) as usize;
        match self.random.below(1000) {
            0..600 => self.stage_of(place)?,
            600..900 => self.exchange()?,
            900..940 if !self.calm => self.bet(),
            940..980 => self.report(),
            980..990 if !self.calm => self.desk(),
            // One fault at a time where a state is odd: of two nodes only the other one has the right one.
            990..994 if !self.calm && self.spoilt().is_none() => self.fault(place)?,
            994..1000 if !self.calm && self.spoilt().is_none() => self.fault_of_cluster(place),
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
            if to == WITNESS {
                let third = &mut self.shared().third;
                if third.paused_until_ns > now.mono_ns {
                    continue;
                }
                let Some(witness) = &mut third.witness else { continue };
                if witness.receive(now.mono_ns, &message).is_err() {
                    third.kill(now.mono_ns + 50 * MS);
                    self.out.witness_crashes += 1;
                    self.note(|| "witness: crash in a write".into());
                    continue;
                }
                self.watch_witness();
                continue;
            }
            let member = &mut self.members[to];
            if !member.runs(now) {
                continue;
            }
            let mono_ns = member.now(now).mono_ns;
            if let (Some(replica), Some(node)) = (&mut member.replica, &member.node) {
                replica.receive(mono_ns, message, node.history());
            }
            self.act(to)?;
        }
        Ok(())
    }

    /// The witness says what it has to say; every configuration it made is remembered.
    fn watch_witness(&mut self) {
        let now_ns = self.now.mono_ns;
        let Some(cluster) = &mut self.cluster else { return };
        let Some(witness) = &mut cluster.third.witness else { return };
        let messages = witness.take_messages();
        let made = witness.register().copied();
        for (to, message) in messages {
            cluster.net.send(now_ns, &mut self.random, WITNESS, party(to), message);
        }
        let Some(register) = made else { return };
        if cluster.registers.insert(register.epoch, register).is_none() {
            let name = if register.is_dual() { "DUAL" } else { "SOLO" };
            self.note(|| format!("witness: epoch {} {name}, {} leads", register.epoch, register.primary));
        }
    }

    fn tick_witness(&mut self) {
        let now_ns = self.now.mono_ns;
        let Some(cluster) = &mut self.cluster else { return };
        let third = &mut cluster.third;
        if third.paused_until_ns > now_ns || now_ns < cluster.third_ticked_ns + MS {
            return;
        }
        cluster.third_ticked_ns = now_ns;
        match &mut third.witness {
            Some(witness) => witness.tick(now_ns),
            None if third.down_until_ns <= now_ns => {
                let incarnation = Boot(u128::from(self.random.bits()) << 1 | 1);
                third.start(cluster.id, incarnation, cluster.settings, now_ns);
                self.note(|| "witness: start".into());
            }
            None => {}
        }
    }

    /// A witness that stays blank, since no running node knows the configuration any more: an operator stops both
    /// nodes, looks which log is the cluster's, and says so.
    fn help_witness(&mut self) {
        let lost = |member: &Member| {
            member.replica.as_ref().is_some_and(|r| !matches!(r.role(), Role::Primary | Role::Handing))
        };
        let Some(cluster) = &mut self.cluster else { return };
        let blank = cluster.third.witness.as_ref().is_some_and(|witness| witness.register().is_none());
        let ends = self.members.iter().map(|m| m.replica.as_ref().map(|r| r.end()).unwrap_or_default());
        let ends: Vec<Point> = ends.collect();
        if !blank || !self.members.iter().all(lost) {
            cluster.blank_since_ns = self.now.mono_ns;
            return;
        }
        let begins = cluster.registers.is_empty();
        if self.now.mono_ns - cluster.blank_since_ns < 200 * MS && !begins {
            return;
        }
        let longer = usize::from(ends[1].is_beyond(&ends[0]));
        // Far beyond every epoch that an old message might still tell of.
        let epoch = Epoch(cluster.helped * 1_000_000 + ends[longer].epoch.0 + 1);
        cluster.helped += 1;
        let register = Register { epoch, ..Register::first(NodeId(longer as u8), Boot(1)) };
        cluster.blank_since_ns = self.now.mono_ns;
        let installed = cluster.third.witness.as_mut().is_some_and(|w| w.install(register) == Ok(true));
        if !installed {
            return cluster.third.kill(self.now.mono_ns);
        }
        self.go_down(0);
        self.go_down(1);
        self.out.witness_seeds += 1;
        self.note(|| format!("operator: machine {longer} has the cluster's log, epoch {epoch}"));
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
        member.ticked_ns = now.mono_ns;
        let own = member.now(now);
        if let (Some(replica), Some(node)) = (&mut member.replica, &mut member.node) {
            replica.tick(own.mono_ns, own.utc_ns, node.history());
            if !node.leads() {
                node.commit(replica.committed());
            }
        }
        self.act(place)
    }

    /// A node that has recovered its journal becomes a member.
    pub(crate) fn join_cluster(&mut self, place: usize, _torn: bool) {
        let Some(cluster) = &self.cluster else { return };
        let member = &mut self.members[place];
        let Some(node) = &member.node else { return };
        // What subscribers would have seen before it waits at the gate.
        self.ledger.note_start(node.last());
        let mono_ns = member.now(self.now).mono_ns;
        let start = Start { node: NodeId(place as u8), boot: Boot(member.boot), needs_word: false };
        member.replica = Some(Replica::new(cluster.id, start, cluster.settings, node.history(), mono_ns));
        member.held = false;
        let every = cluster.settings.fingerprint_every;
        if let Some(node) = &mut member.node {
            node.fingerprint_every(every);
        }
    }

    /// A member's shards applied frames: fingerprints that are whole are compared.
    pub(crate) fn applied(&mut self, place: usize) -> Result<(), String> {
        let member = &mut self.members[place];
        let (Some(replica), Some(node)) = (&mut member.replica, &mut member.node) else { return Ok(()) };
        for (seq, value) in node.take_fingerprints() {
            self.out.fingerprints += 1;
            replica.fingerprint(seq, value);
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
            Action::Lead(register, cause) => {
                let new_epoch = NewEpoch { cause, node: place as u64, boot };
                let config = self.config.clone();
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
            _ => {}
        }
    }

    fn disconnect_all(&mut self, place: usize) {
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
        let every = self.shared().settings.fingerprint_every;
        let member = &mut self.members[place];
        let Some(node) = member.node.take() else { return Ok(()) };
        let result = node.cut(to, chain);
        if member.promised.0 > to {
            member.promised = (to, chain);
        }
        if let Err(why) = result {
            let why = if member.disk.went_down() { "in a cut".to_owned() } else { why };
            self.crash(place, &why);
            return Ok(());
        }
        match Node::load(member.disk.clone(), &self.config, self.options.mutation) {
            Ok((node, _)) => {
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
                self.crash(place, "in a cut");
                Ok(())
            }
            Err(why) => Err(format!("the cut journal cannot be read: {why}")),
        }
    }

    /// Invariant 2: one payload per epoch and sequence, wherever it stands.
    fn check_payloads(&mut self, place: usize) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let Some(node) = &self.members[place].node else { return Ok(()) };
        let point = node.history().end();
        match cluster.payloads.get(&(point.epoch, point.seq)) {
            Some(chain) if *chain == point.chain => Ok(()),
            found => Err(format!(
                "machine {place}: frame {} of epoch {} is not the one that was sequenced: {found:?}",
                point.seq, point.epoch
            )),
        }
    }

    /// Invariants 1, 2 and 7: one primary per epoch, and its log holds everything that was ever committed.
    fn check_leader(&mut self, place: usize, register: &Register) -> Result<(), String> {
        let boot = Boot(self.members[place].boot);
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let first = *cluster.leaders.entry(register.epoch).or_insert((place, boot));
        if first != (place, boot) {
            return Err(format!("epoch {} is led by {first:?} and by machine {place}", register.epoch));
        }
        let (seq, chain) = cluster.committed;
        let Some(node) = &self.members[place].node else { return Ok(()) };
        match node.history().point(seq) {
            Some(point) if point.chain == chain => Ok(()),
            _ => Err(format!(
                "machine {place} leads epoch {}, but its log lacks frame {seq}, which was committed",
                register.epoch
            )),
        }
    }

    /// Invariants 1 and 6: what is committed is where the policy says, and nobody commits alone unless the
    /// register says so.
    fn check_commit(&mut self, place: usize, seq: Seq) -> Result<(), String> {
        let member = &self.members[place];
        let (Some(replica), Some(node)) = (&member.replica, &member.node) else { return Ok(()) };
        let epoch = replica.register().map(|register| register.epoch).unwrap_or_default();
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let Some(register) = cluster.registers.get(&epoch) else {
            return Err(format!("machine {place} commits in epoch {epoch}, which the witness never made"));
        };
        let holds = |member: &Member| member.promised.0 >= seq;
        let own = holds(member) || (cluster.settings.durability == Durability::Memory && register.is_dual());
        let both = cluster.settings.durability != Durability::Durable || self.members.iter().all(holds);
        if !own || (register.is_dual() && !both) {
            return Err(format!("frame {seq} is committed in epoch {epoch}, but the journals hold less"));
        }
        let point = node.history().point(seq).ok_or("a commit beyond the log")?;
        if seq > cluster.committed.0 {
            cluster.committed = (seq, point.chain);
        } else if seq == cluster.committed.0 && point.chain != cluster.committed.1 {
            return Err(format!("frame {seq} is committed twice, with different logs before it"));
        }
        Ok(())
    }

    /// Replays the log independently and tells the replica who is odd.
    fn diverged(&mut self, place: usize, seq: Seq) -> Result<(), String> {
        self.out.divergences += 1;
        let Some(odd) = self.spoilt() else {
            return Err(format!(
                "machine {place}: states differ after frame {seq}, though nothing was spoilt"
            ));
        };
        // The log through another core: its state is the right one, whatever is in the memory of both.
        let mut states = Vec::new();
        for member in &self.members {
            let Some(node) = &member.node else { continue };
            let mut bytes = Vec::new();
            node.history().read(Seq(1), usize::MAX, &mut bytes);
            let mut engine = Engine::new(self.config.cluster.id, self.config.cluster.partitions, 1);
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

    /// The machine whose state was spoilt.
    pub(crate) fn spoilt(&self) -> Option<usize> {
        self.cluster.as_ref().and_then(|cluster| cluster.spoilt)
    }

    /// A bit flips in the state of one of two nodes that are in sync; until that is found, nothing else fails.
    fn spoil(&mut self, place: usize) {
        let role = |member: &Member| member.replica.as_ref().map(Replica::role);
        let in_sync = |member: &Member| matches!(role(member), Some(Role::Primary | Role::Standby));
        let dual = |member: &Member| {
            member.replica.as_ref().and_then(Replica::register).is_some_and(Register::is_dual)
        };
        // Late in a run nothing may follow that would show it.
        let late = self.out.events > self.options.steps * 3 / 4;
        if late || !self.members.iter().all(|member| in_sync(member) && dual(member)) {
            return;
        }
        self.heal();
        for member in &mut self.members {
            let mut disk = member.disk.get();
            (disk.crash_in, disk.room, disk.broken) = (None, None, false);
        }
        let (partition, bit) = (self.random.below(64) as u16, self.random.below(40) as u32);
        if let Some(node) = &mut self.members[place].node {
            node.spoil(PartitionId(partition), bit);
        }
        self.shared().spoilt = Some(place);
        self.out.spoilt += 1;
        self.note(|| format!("machine {place}: a bit flips in the state of partition {partition}"));
    }

    /// Faults that only a cluster has.
    fn fault_of_cluster(&mut self, place: usize) {
        let now_ns = self.now.mono_ns;
        let soon = [5, 30, 80, 300][self.random.below(4) as usize] * MS;
        let until = now_ns + self.random.below(soon);
        let dice = self.random.below(100);
        let slot = self.random.below(2) as usize;
        let byte = self.random.below(100) as usize;
        let Some(cluster) = &mut self.cluster else { return };
        let what = match dice {
            0..20 => {
                let (from, to) = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)][byte % 6];
                cluster.net.cut(from, to, until);
                if slot == 0 {
                    cluster.net.cut(to, from, until);
                }
                self.out.partitions += 1;
                format!("link {from} → {to} cut until {}", until / 1000)
            }
            20..26 => {
                for other in (0..3).filter(|other| *other != place) {
                    cluster.net.cut(place, other, until);
                    cluster.net.cut(other, place, until);
                }
                self.out.partitions += 1;
                format!("machine {place} isolated until {}", until / 1000)
            }
            26..32 => {
                cluster.net.lose([10, 50, 300][byte % 3], until);
                "messages are lost".into()
            }
            32..36 => {
                cluster.net.slow_down([5, 40][slot] * MS, until);
                "messages are slow".into()
            }
            36..50 => {
                self.members[place].paused_until_ns = until;
                if slot == 0 {
                    // A paused virtual machine may see no gap in its clock.
                    self.members[place].booted_ns += until - now_ns;
                }
                self.out.pauses += 1;
                format!("machine {place}: paused until {}", until / 1000)
            }
            50..60 => {
                self.members[place].slow_until_ns = until;
                format!("machine {place}: its disk stands still until {}", until / 1000)
            }
            60..68 => {
                self.members[place].down_until_ns = until;
                self.crash_if_any_left(place);
                return;
            }
            68..72 => {
                for place in 0..2 {
                    self.members[place].down_until_ns = now_ns + self.random.below(soon);
                    self.crash_if_any_left(place);
                }
                return;
            }
            72..77 => {
                cluster.third.kill(until);
                self.out.witness_crashes += 1;
                "witness: killed".into()
            }
            77..79 => {
                cluster.third.arm(Some(slot as u64), byte);
                "witness: will crash in a write".into()
            }
            79..80 => {
                cluster.third.kill(until);
                cluster.third.rot(slot, byte);
                self.out.witness_losses += 1;
                format!("witness: slot {slot} rots")
            }
            80..82 => {
                cluster.third.paused_until_ns = until;
                "witness: paused".into()
            }
            82..83 if slot == 0 => {
                cluster.third.kill(until);
                cluster.third.lose();
                self.out.witness_losses += 1;
                "witness: its file is lost".into()
            }
            83..93 => {
                let mono_ns = self.members[place].now(self.now).mono_ns;
                let asked = self.members[place].replica.as_mut().is_some_and(|r| r.switchover(mono_ns));
                if !asked {
                    return;
                }
                format!("machine {place}: is to hand over")
            }
            93..95 => return self.spoil(place),
            _ => return,
        };
        self.note(|| what);
    }

    /// Every fault ends.
    pub(crate) fn heal(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.net.heal();
        cluster.third.arm(None, 0);
        cluster.third.paused_until_ns = 0;
        cluster.third.down_until_ns = 0;
        for member in &mut self.members {
            member.paused_until_ns = 0;
            member.slow_until_ns = 0;
            member.down_until_ns = 0;
            member.clock_error_ns = 0;
        }
    }

    /// Whether a cluster is back at full strength, and its standby has everything.
    pub(crate) fn is_whole(&self) -> bool {
        if self.cluster.is_none() {
            return true;
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

    /// Invariant 5: the same log is the same state.
    pub(crate) fn compare_standby(&mut self, leader: usize) -> Result<(), String> {
        if self.cluster.is_none() {
            return Ok(());
        }
        let mut states = Vec::new();
        for member in &mut self.members {
            let node = member.node.as_mut().ok_or("a node is down at the end")?;
            states.push((node.fingerprint()?, node.history().end()));
        }
        if states[0] != states[1] {
            return Err(format!("machine {leader} leads; the states are {states:?}"));
        }
        let Some(cluster) = &self.cluster else { return Ok(()) };
        self.out.messages_lost = cluster.net.lost;
        Ok(())
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
        format!("{:?}; witness {witness:?}", members.collect::<Vec<_>>())
    }
}

/// The end of the log as the replica knows it.
fn replica_end(replica: &Replica) -> Seq {
    replica.end().seq
}
