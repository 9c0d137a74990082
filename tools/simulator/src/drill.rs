//! One clean fault from full strength, and how long until something is acknowledged again.

use crate::world::World;
use touchline_lockstep::{Register, Replica, Role};
use touchline_protocol::Epoch;

const MS: u64 = 1_000_000;
/// What a take-over may take: invariant 10.
const GOAL_NS: u64 = 150 * MS;

/// A drill that runs.
pub(crate) struct Drill {
    begun_ns: u64,
    /// The configuration when it began: something must be committed in a later one.
    epoch: Epoch,
    /// For the witness: the configuration that must stay.
    stays: Option<Epoch>,
}

impl World {
    /// Whether both nodes are in sync and agree on it.
    pub(crate) fn is_dual(&self) -> bool {
        let in_sync = |replica: &Replica| matches!(replica.role(), Role::Primary | Role::Standby);
        let dual = |replica: &Replica| in_sync(replica) && replica.register().is_some_and(Register::is_dual);
        let roles = |role| self.members.iter().any(|m| m.replica.as_ref().is_some_and(|r| r.role() == role));
        let all = self.members.iter().all(|m| m.runs(self.now) && m.replica.as_ref().is_some_and(dual));
        all && roles(Role::Primary) && roles(Role::Standby)
    }

    /// The configuration, where the nodes are at full strength and all know so.
    pub(crate) fn full_strength(&self) -> Option<Register> {
        let register =
            self.cluster.as_ref().and_then(|cluster| cluster.third.witness.as_ref()?.register().copied());
        let known = register.is_some_and(|register| {
            register.is_dual()
                && self
                    .members
                    .iter()
                    .all(|m| m.replica.as_ref().and_then(Replica::register) == Some(&register))
        });
        register.filter(|_| self.is_dual() && known)
    }

    /// From full strength one thing fails and nothing else.
    pub(crate) fn drill(&mut self, place: usize) {
        let now_ns = self.now.mono_ns;
        // One that stands still is a fault of its own.
        let rested = self.members.iter().all(|member| member.paused_until_ns <= now_ns);
        let Some(register) = self.full_strength().filter(|_| rested && self.may_crash(place)) else { return };
        let kind = self.random.below(5);
        self.heal();
        self.calm_disks();
        let until = now_ns + 400 * MS;
        let what = match kind {
            0 | 1 => {
                self.members[place].down_until_ns = until;
                self.crash(place, "killed");
                "is killed"
            }
            2 => {
                self.members[place].paused_until_ns = until;
                "stands still"
            }
            3 => {
                let net = &mut self.shared().net;
                for other in (0..3).filter(|other| *other != place) {
                    net.cut(place, other, now_ns, until);
                    net.cut(other, place, now_ns, until);
                }
                "is isolated"
            }
            _ => {
                self.shared().third.kill(until);
                "has no witness"
            }
        };
        let epoch = register.epoch;
        self.drill = Some(Drill { begun_ns: now_ns, epoch, stays: (kind == 4).then_some(epoch) });
        self.out.drills += 1;
        self.note(|| format!("drill: machine {place} {what}"));
    }

    /// Invariant 10: from DUAL, with any one failed, something is acknowledged again within the goal; without the witness
    /// everything goes on as it was.
    pub(crate) fn watch_drill(&mut self) -> Result<(), String> {
        let Some(drill) = &self.drill else { return Ok(()) };
        let taken_ns = self.now.mono_ns - drill.begun_ns;
        let committed = self.cluster.as_ref().and_then(|cluster| cluster.committed_in());
        if let Some(epoch) = drill.stays {
            let known = |replica: &Replica| replica.register().map(|register| register.epoch);
            if self.members.iter().any(|m| m.replica.as_ref().and_then(known) != Some(epoch)) {
                return Err("the witness was gone, and the nodes did not go on as they were".into());
            }
            if taken_ns > GOAL_NS {
                self.drill = None;
            }
            return Ok(());
        }
        if committed > Some(drill.epoch) {
            self.drill = None;
            self.out.drill_us += taken_ns / 1000;
            self.out.drill_us_most = self.out.drill_us_most.max(taken_ns / 1000);
            self.note(|| format!("drill: acknowledged again after {} µs", taken_ns / 1000));
        } else if taken_ns > GOAL_NS {
            return Err(format!("one fault in DUAL, and nothing was acknowledged for {} ms", taken_ns / MS));
        }
        Ok(())
    }
}
