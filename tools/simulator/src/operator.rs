//! What people do: they put disks back, look at damaged logs, and tell a blank witness whose log is the cluster's.

use crate::media::Media;
use crate::member::Member;
use crate::node::Node;
use crate::world::World;
use touchline_lockstep::register::Boot;
use touchline_lockstep::{Durability, Log, NodeId, Point, Register, Replica, Role};
use touchline_protocol::*;

const MS: u64 = 1_000_000;

impl World {
    /// A witness that stays blank, since no running node knows the configuration any more: an operator stops both
    /// nodes, looks which log is the cluster's, and says so.
    pub(crate) fn help_witness(&mut self) {
        // A primary that counts on a peer that does not follow, by its configuration or since it asked for that one,
        // acknowledges nothing.
        let follows = |place: usize| {
            let role = self.members[place].replica.as_ref().map(Replica::role);
            matches!(role, Some(Role::Standby | Role::Sealed))
        };
        let serves = |(place, member): (usize, &Member)| {
            member.replica.as_ref().is_none_or(|replica| {
                let leads = matches!(replica.role(), Role::Primary | Role::Handing);
                leads && (replica.is_alone() || follows(1 - place))
            })
        };
        let served = self.members.iter().enumerate().any(serves);
        let Some(cluster) = &mut self.cluster else { return };
        let blank = cluster.third.witness.as_ref().is_some_and(|witness| witness.register().is_none());
        let ends = self.members.iter().map(|m| m.replica.as_ref().map(|r| r.end()).unwrap_or_default());
        let ends: Vec<Point> = ends.collect();
        if !blank || served {
            cluster.blank_since_ns = self.now.mono_ns;
            return;
        }
        let begins = cluster.registers.is_empty();
        if self.now.mono_ns - cluster.blank_since_ns < 200 * MS && !begins {
            return;
        }
        if self.members.iter().any(|member| member.media.right.is_some()) {
            return self.put_disks_back();
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

    /// Looks after a machine that waits for somebody: with a log that was cut or is damaged, or with a disk that is not
    /// the one the cluster counts on.
    pub(crate) fn help_member(&mut self, place: usize) {
        let now_ns = self.now.mono_ns;
        let all = self.cluster.as_ref().map(|cluster| cluster.committed_link()).unwrap_or_default();
        let committed = all.0;
        let (calm, mono_ns) = (self.calm, self.node_now(place).mono_ns);
        let durable = self.options.durability == Durability::Durable;
        let [member, other] = self.both(place);
        let other_has_all = other.promised.0 >= committed && other.node.is_some() && !other.media.is_hurt();
        let Some(replica) = &mut member.replica else { return };
        match replica.role() {
            Role::Primary | Role::Standby => {
                // Only what is written behind the front makes a damaged journal whole again.
                if member.node.as_ref().is_none_or(|node| node.durable().0 <= member.media.front) {
                    return;
                }
                return member.media = Media { image: member.media.image.take(), ..Media::default() };
            }
            Role::Idle => {}
            _ => return,
        }
        // Somebody looks within a fraction of a second; in a run that is long.
        if now_ns < member.booted_ns + 250 * MS {
            return;
        }
        // The other one's journal is lost, and this node, which has everything, waits for it: by the register that one leads
        // alone, or both were in sync and the policy lets neither lead without the other's log.
        let waits_for_other = replica
            .register()
            .is_some_and(|r| if r.is_dual() { !durable } else { r.primary == NodeId(1 - place as u8) });
        let node_has_all = member.node.as_ref().is_some_and(|node| has_all(node, all));
        if waits_for_other && node_has_all && is_lost(other) && !member.media.is_hurt() {
            let end = replica.end().seq;
            if replica.force(mono_ns, Seq(end.0 + 1), end) {
                self.note(|| format!("operator: machine {place} leads, for the other one's journal is lost"));
            }
            return;
        }
        let owner = replica.register().is_some_and(|r| !r.is_dual() && r.primary == NodeId(place as u8));
        // A disk that by now holds as much as the one that belongs there is left where it is.
        let holds = member.node.as_ref().map(|node| node.durable().0).unwrap_or_default();
        let lacks = member.media.right.as_ref().is_some_and(|right| holds < right.promised.0);
        if lacks && (owner || !other_has_all || calm) {
            return self.put_disks_back();
        }
        // A journal that lost something gets nobody's word, or its node would lead with what is left of it; unless what is left
        // is everything.
        if replica.needs_word() && (!member.media.is_hurt() || node_has_all) {
            replica.give_word();
            self.out.words += 1;
            self.note(|| format!("operator: machine {place} may go on with the log that it has"));
        }
    }

    /// One machine is down, and somebody has no patience: the other one is forced to lead, which has everything. Should the
    /// first one be back and lead by the time that the witness hears of it, it must be refused.
    pub(crate) fn force(&mut self, place: usize) {
        let now = self.node_now(place);
        let all = self.cluster.as_ref().map(|cluster| cluster.committed_link()).unwrap_or_default();
        let [member, other] = self.both(place);
        let (Some(replica), Some(node)) = (&mut member.replica, &member.node) else { return };
        let whole = has_all(node, all) && !member.media.is_hurt() && !replica.needs_word();
        if !whole || other.node.is_some() || other.media.right.is_some() {
            return;
        }
        let end = replica.end().seq;
        if replica.force(now.mono_ns, Seq(end.0 + 1), end) {
            self.note(|| format!("operator: machine {place} is forced to lead"));
        }
    }

    fn both(&mut self, place: usize) -> [&mut Member; 2] {
        let (first, second) = self.members.split_at_mut(1);
        if place == 0 { [&mut first[0], &mut second[0]] } else { [&mut second[0], &mut first[0]] }
    }

    /// Disks that were swapped are put back where they belong.
    fn put_disks_back(&mut self) {
        for place in 0..self.members.len() {
            if let Some(right) = self.members[place].media.right.take() {
                self.go_down(place);
                let member = &mut self.members[place];
                member.disk.replace(right.disk);
                member.promised = right.promised;
                self.note(|| format!("operator: machine {place} has its own disk again"));
            }
        }
    }
}

/// Whether a machine's journal lost something, and its node can neither go on with the rest nor wait for more.
fn is_lost(member: &Member) -> bool {
    let stuck =
        |(replica, node): (&Replica, &Node)| replica.needs_word() || replica.is_stranded(node.history());
    member.media.hurt && member.replica.as_ref().zip(member.node.as_ref()).is_some_and(stuck)
}

/// Whether a node's journal holds everything that was committed: a log as long may hold other frames in its place.
fn has_all(node: &Node, (seq, chain): (Seq, ChainHash)) -> bool {
    let held = node.history().point(seq).is_some_and(|point| point.chain == chain);
    node.durable().0 >= seq && (held || seq == Seq(0))
}
