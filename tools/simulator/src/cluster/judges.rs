//! What may never be so in a cluster, looked at as things happen: payloads, leaders, commits, leases, changes of the set.

use super::{AHEAD_NS, replica_end};
use crate::member::Member;
use crate::world::World;
use touchline_lockstep::register::{Boot, Change};
use touchline_lockstep::{Durability, Log, NodeId, Register, Role};
use touchline_protocol::*;

impl World {
    /// Invariant 8: no price is shown as live when no peer acknowledged a heartbeat for longer than the lease.
    pub(super) fn check_lease(&self, place: usize) -> Result<(), String> {
        let (Some(cluster), member) = (&self.cluster, &self.members[place]) else { return Ok(()) };
        let Some(replica) = &member.replica else { return Ok(()) };
        let leads = matches!(replica.role(), Role::Primary | Role::Handing);
        let age_ns = member.now(self.now).mono_ns.saturating_sub(member.echoed_ns);
        // By the register itself, whether this node knows of it or not: from then on its peer may be promoted.
        let newest = cluster.registers.last_key_value().map(|(_, register)| register);
        let boot = Boot(member.boot);
        let needed = leads && newest.is_some_and(|r| r.is_dual() && r.has(NodeId(place as u8), boot));
        if needed && !member.held && age_ns > cluster.settings.lease_ns {
            return Err(format!(
                "machine {place} shows prices as live {} µs after the last echo",
                age_ns / 1000
            ));
        }
        Ok(())
    }

    /// Whether everybody has what a change that was just made takes for granted.
    pub(super) fn check_change(&self, asker: Boot, change: Change) -> Result<(), String> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let committed = cluster.committed();
        let is = |boot: Boot| move |member: &&Member| Boot(member.boot) == boot && member.replica.is_some();
        let member = |boot| self.members.iter().find(is(boot));
        let end = |member: &Member| member.replica.as_ref().map_or(Seq(0), replica_end);
        let said = |boot: &Boot| cluster.said.get(boot).copied().unwrap_or_default();
        let lacks = match change {
            // It acknowledges alone from now on, and nobody else may have what it acknowledged before.
            Change::Solo => said(&asker) < committed,
            // The peer's log is no longer compared with.
            Change::Cold(_) => member(asker).is_some_and(|winner| {
                winner.node.as_ref().is_some_and(|node| node.durable().0 < end(winner))
            }),
            // It may be promoted from now on.
            Change::Dual(peer) => member(peer).is_some_and(|peer| end(peer) < committed),
            _ => false,
        };
        if lacks {
            Err(format!("{change:?} was done, and somebody lacks what it takes for granted"))
        } else {
            Ok(())
        }
    }

    /// Invariant 2: one payload per epoch and sequence, wherever it stands.
    pub(super) fn check_payloads(&mut self, place: usize) -> Result<(), String> {
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
    pub(super) fn check_leader(&mut self, place: usize, register: &Register) -> Result<(), String> {
        let boot = Boot(self.members[place].boot);
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let Some(node) = &self.members[place].node else { return Ok(()) };
        let first = *cluster.leaders.entry(register.epoch).or_insert((place, boot, node.last()));
        if (first.0, first.1) != (place, boot) {
            return Err(format!("epoch {} is led by {first:?} and by machine {place}", register.epoch));
        }
        // A primary that hears late of an epoch is in the way of nobody, whatever came after it.
        let before = cluster.committed_by.range(..register.epoch).map(|(_, last)| *last);
        let (seq, chain) = before.max_by_key(|(seq, _)| *seq).unwrap_or((Seq(0), ChainHash(0)));
        match node.history().point(seq) {
            Some(point) if point.chain == chain || seq == Seq(0) => Ok(()),
            _ => Err(format!(
                "machine {place} leads epoch {}, but its log lacks frame {seq}, which was committed",
                register.epoch
            )),
        }
    }

    /// Invariants 1 and 6: what is committed is where the policy says, and nobody commits alone unless the
    /// register says so.
    pub(super) fn check_commit(&mut self, place: usize, seq: Seq) -> Result<(), String> {
        let member = &self.members[place];
        let (Some(replica), Some(node)) = (&member.replica, &member.node) else { return Ok(()) };
        let epoch = replica.register().map(|register| register.epoch).unwrap_or_default();
        let Some(cluster) = &mut self.cluster else { return Ok(()) };
        let Some(register) = cluster.registers.get(&epoch) else {
            return Err(format!("machine {place} commits in epoch {epoch}, which the witness never made"));
        };
        // What became of a journal since it said so is another matter.
        let holds = |boot: &Boot| cluster.said.get(boot).is_some_and(|said| *said >= seq);
        let own = holds(&Boot(member.boot))
            || (cluster.settings.durability == Durability::Memory && register.is_dual());
        let both = cluster.settings.durability != Durability::Durable
            || register.in_sync.iter().flatten().all(holds);
        if !own || !both {
            return Err(format!("frame {seq} is committed in epoch {epoch}, but the journals hold less"));
        }
        let point = node.history().point(seq).ok_or("a commit beyond the log")?;
        let later = cluster.leaders.range(epoch..).skip(1).find(|(_, (.., end))| *end < seq);
        if let Some((later, _)) = later {
            return Err(format!(
                "frame {seq} is committed in epoch {epoch}, but epoch {later} began without it"
            ));
        }
        cluster.committed_by.insert(epoch, (seq, point.chain));
        for next in cluster.archive.len() as u64 + 1..=seq.0 {
            let mut frame = Vec::new();
            node.history().read(Seq(next), 0, &mut frame);
            cluster.archive.push(frame);
        }
        if seq > cluster.committed.0 {
            cluster.committed = (seq, point.chain);
        } else if seq == cluster.committed.0 && point.chain != cluster.committed.1 {
            return Err(format!("frame {seq} is committed twice, with different logs before it"));
        }
        Ok(())
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
        if cluster.ahead_ns_max > AHEAD_NS {
            let ms = cluster.ahead_ns_max / 1_000_000;
            return Err(format!("logical time ran {ms} ms ahead of the true one"));
        }
        self.out.messages_lost = cluster.net.lost;
        Ok(())
    }
}
