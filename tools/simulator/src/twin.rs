//! A cloned disk: a copy of a machine's disk is started as a second process of the same node, while the first one lives.
//!
//! Like a drill from full strength, and nothing else fails but what the drill itself does. The second process may never
//! make a configuration, nor may anybody on its word that both nodes started again.

use crate::Fault;
use crate::disk::Disk;
use crate::net::place as party;
use crate::node::Node;
use crate::world::World;
use touchline_lockstep::register::{Boot, Change};
use touchline_lockstep::replica::Start;
use touchline_lockstep::{Action, Message, NodeId, Replica};

const MS: u64 = 1_000_000;
/// How long the clients rest before the copy is made of a cluster that rests: it then holds everything.
const REST_NS: u64 = 60 * MS;
/// Longer than a node waits for its peer before it asks to lead alone.
const LIFE_NS: u64 = 450 * MS;

/// The second process, once it runs.
pub(crate) struct Twin {
    /// The machine whose disk was copied.
    pub(crate) place: usize,
    boot: Boot,
    begins_ns: u64,
    ticked_ns: u64,
    /// Whether it hears the witness only; then nothing else happens and the clients rest.
    deaf: bool,
    process: Option<(Node, Replica)>,
}

impl Twin {
    /// What may not be, of a change that the witness just made.
    pub(crate) fn check(&self, boot: Boot, change: Change) -> Result<(), String> {
        if boot == self.boot || matches!(change, Change::Cold(_)) {
            return Err(format!("{change:?} was done with a second process of machine {}", self.place));
        }
        Ok(())
    }
}

impl World {
    /// Whether the clients rest.
    pub(crate) fn rests(&self) -> bool {
        self.twin.as_ref().is_some_and(|twin| twin.deaf)
    }

    /// In some seeds a disk is cloned, once or twice, as soon as the cluster is at full strength.
    pub(crate) fn clone_by_chance(&mut self, place: usize) {
        let clones = self.seed % 11 == 4 && self.options.faults.contains(&Fault::Media);
        let due = clones && self.out.clones < 2 && !self.is_quarantined() && self.random.chance(0.01);
        if due && self.full_strength().is_some() {
            self.heal();
            self.calm_disks();
            self.clone_disk(place);
        }
    }

    /// A machine's disk is copied. The second process hears the witness only, or it hears its peer start again.
    fn clone_disk(&mut self, place: usize) {
        let now_ns = self.now.mono_ns;
        let deaf = self.random.chance(0.5) || !self.may_crash(1 - place);
        self.boots += 1;
        let begins_ns = if deaf { now_ns + REST_NS } else { now_ns };
        let boot = Boot(self.boots);
        self.twin = Some(Twin { place, boot, begins_ns, ticked_ns: 0, deaf, process: None });
        if !deaf {
            self.members[1 - place].down_until_ns = now_ns + self.random.below(20) * MS;
            self.crash(1 - place, "killed");
        }
        self.out.clones += 1;
        self.note(|| format!("machine {place}: its disk is cloned, the clone is boot {boot:?}, deaf {deaf}"));
    }

    /// The second process starts, runs, and ends.
    pub(crate) fn tick_twin(&mut self) -> Result<(), String> {
        let (now, Some(cluster)) = (self.now, &self.cluster) else { return Ok(()) };
        let (id, settings) = (cluster.id, cluster.settings);
        let Some(twin) = &mut self.twin else { return Ok(()) };
        if now.mono_ns < twin.begins_ns.max(twin.ticked_ns + MS) {
            return Ok(());
        }
        if now.mono_ns > twin.begins_ns + LIFE_NS {
            self.twin = None;
            self.note(|| "the clone is stopped".into());
            return Ok(());
        }
        twin.ticked_ns = now.mono_ns;
        let mono_ns = now.mono_ns - twin.begins_ns;
        if twin.process.is_none() {
            let disk = Disk::default();
            disk.replace(self.members[twin.place].disk.get().clone());
            let (node, _, damaged) = Node::load(disk, &self.config, None)?;
            let node_id = NodeId(twin.place as u8);
            let start = Start { node: node_id, boot: twin.boot, needs_word: false, damaged };
            let replica = Replica::new(id, start, settings, node.history(), mono_ns);
            twin.process = Some((node, replica));
        }
        if let Some((node, replica)) = &mut twin.process {
            replica.tick(mono_ns, now.utc_ns, node.history());
        }
        self.act_for_twin()
    }

    /// What reaches a machine may reach the copy of it, too.
    pub(crate) fn tell_twin(&mut self, to: usize, message: &Message) -> Result<(), String> {
        let now_ns = self.now.mono_ns;
        let Some(twin) = self.twin.as_mut().filter(|twin| twin.place == to) else { return Ok(()) };
        let Some((node, replica)) = &mut twin.process else { return Ok(()) };
        if !twin.deaf || message.from == touchline_lockstep::message::Party::Witness {
            replica.receive(now_ns - twin.begins_ns, message.clone(), node.history());
        }
        self.act_for_twin()
    }

    fn act_for_twin(&mut self) -> Result<(), String> {
        let now_ns = self.now.mono_ns;
        let (Some(twin), Some(cluster)) = (&mut self.twin, &mut self.cluster) else { return Ok(()) };
        let Some((node, replica)) = &mut twin.process else { return Ok(()) };
        for action in replica.take_actions() {
            match action {
                Action::Append(bytes) => {
                    node.append(bytes);
                    node.write(usize::MAX)?;
                    replica.durable(node.durable().0, node.history());
                }
                // Nobody goes on with the clone's disk once the cluster wants it otherwise.
                Action::Truncate(_) | Action::Install(..) | Action::Restart(_) => {
                    self.twin = None;
                    return Ok(());
                }
                Action::Lead(..) => return Err("a second process of a node leads".into()),
                _ => {}
            }
        }
        for (to, message) in replica.take_messages() {
            cluster.net.send(now_ns, &mut self.random, twin.place, party(to), message);
        }
        Ok(())
    }
}
