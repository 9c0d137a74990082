//! What goes wrong in a cluster at any time: links, pauses, the witness.

use crate::Fault;
use crate::member::Member;
use crate::world::World;
use touchline_lockstep::{Register, Replica, Role};
use touchline_protocol::*;

const MS: u64 = 1_000_000;

impl World {
    /// The machine whose state was spoilt.
    pub(crate) fn spoilt(&self) -> Option<usize> {
        self.cluster.as_ref().and_then(|cluster| cluster.spoilt)
    }

    /// A bit flips in the state of one of two nodes that are in sync; until that is found, nothing else fails.
    pub(crate) fn spoil(&mut self, place: usize) {
        let role = |member: &Member| member.replica.as_ref().map(Replica::role);
        let in_sync = |member: &Member| matches!(role(member), Some(Role::Primary | Role::Standby));
        let dual = |member: &Member| {
            member.replica.as_ref().and_then(Replica::register).is_some_and(Register::is_dual)
        };
        if !self.members.iter().all(|member| in_sync(member) && dual(member)) {
            return;
        }
        self.heal();
        self.calm_disks();
        let (partition, bit) = (self.random.below(64) as u16, self.random.below(40) as u32);
        let node = self.members[place].node.as_mut();
        if !node.is_some_and(|node| node.spoil(PartitionId(partition), bit)) {
            return;
        }
        self.shared().spoilt = Some(place);
        self.out.spoilt += 1;
        self.note(|| format!("machine {place}: a bit flips in the state of partition {partition}"));
    }

    /// Faults that only a cluster has.
    pub(crate) fn fault_of_cluster(&mut self, place: usize) {
        let now_ns = self.now.mono_ns;
        let soon = [5, 30, 80, 300][self.random.below(4) as usize] * MS;
        let until = now_ns + self.random.below(soon);
        let dice = self.random.below(100);
        let slot = self.random.below(2) as usize;
        let byte = self.random.below(100) as usize;
        let kind = match dice {
            0..24 => Fault::Links,
            24..34 => Fault::Pauses,
            34..42 => Fault::Disks,
            42..53 => Fault::Crashes,
            53..64 => Fault::Witness,
            64..71 => Fault::Handoffs,
            71..74 => Fault::State,
            74..86 => Fault::Media,
            86..96 => Fault::Drills,
            _ => Fault::Operators,
        };
        if !self.may(kind) {
            return;
        }
        let Some(cluster) = &mut self.cluster else { return };
        let what = match dice {
            0..12 => {
                let (from, to) = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)][byte % 6];
                cluster.net.cut(from, to, now_ns, until);
                if slot == 0 {
                    cluster.net.cut(to, from, now_ns, until);
                }
                self.out.partitions += 1;
                format!("link {from} → {to} cut until {}", until / 1000)
            }
            12..16 => {
                for other in (0..3).filter(|other| *other != place) {
                    cluster.net.cut(place, other, now_ns, until);
                    cluster.net.cut(other, place, now_ns, until);
                }
                self.out.partitions += 1;
                format!("machine {place} isolated until {}", until / 1000)
            }
            16..20 => {
                cluster.net.lose([10, 50, 300][byte % 3], until);
                "messages are lost".into()
            }
            20..24 => {
                cluster.net.slow_down([5, 40][slot] * MS, until);
                "messages are slow".into()
            }
            24..34 => {
                let member = &mut self.members[place];
                member.wake(now_ns);
                member.paused_until_ns = until;
                // A paused virtual machine may see no gap in its clock.
                member.sleeps = slot == 0;
                if member.sleeps {
                    member.booted_ns += until - now_ns;
                }
                self.out.pauses += 1;
                format!("machine {place}: paused until {}", until / 1000)
            }
            34..42 => {
                self.members[place].slow_until_ns = until;
                format!("machine {place}: its disk stands still until {}", until / 1000)
            }
            42..49 => {
                self.members[place].down_until_ns = until;
                self.crash_if_any_left(place);
                return;
            }
            49..53 if slot == 0 => {
                // The standby's disk stands still just before: what it received is in its memory only.
                let standby = |member: &Member| {
                    member.replica.as_ref().is_some_and(|replica| replica.role() == Role::Standby)
                };
                let behind = self.members.iter().position(standby).unwrap_or(place);
                let off_ns = now_ns + (5 + self.random.below(15)) * MS;
                self.members[behind].slow_until_ns = off_ns + MS;
                for member in &mut self.members {
                    member.kill_at_ns = Some(off_ns);
                }
                format!(
                    "both lose power at {}, machine {behind} with a disk that stands still",
                    off_ns / 1000
                )
            }
            49..53 => {
                for place in 0..2 {
                    self.members[place].down_until_ns = now_ns + self.random.below(soon);
                    self.crash_if_any_left(place);
                }
                // When power comes back, not every machine has the disk that it had.
                if self.random.chance(0.4) && self.may(Fault::Media) {
                    self.swap_for_empty(place);
                }
                return;
            }
            53..58 => {
                cluster.third.kill(until);
                self.out.witness_crashes += 1;
                "witness: killed".into()
            }
            58..60 => {
                cluster.third.arm(Some(slot as u64), byte);
                "witness: will crash in a write".into()
            }
            60..61 => {
                cluster.third.kill(until);
                cluster.third.rot(slot, byte);
                self.out.witness_losses += 1;
                format!("witness: slot {slot} rots")
            }
            61..63 => {
                cluster.third.paused_until_ns = until;
                "witness: paused".into()
            }
            63..64 if slot == 0 => {
                cluster.third.kill(until);
                cluster.third.lose();
                self.out.witness_losses += 1;
                "witness: its file is lost".into()
            }
            64..71 => {
                let mono_ns = self.members[place].now(self.now).mono_ns;
                let asked = self.members[place].replica.as_mut().is_some_and(|r| r.switchover(mono_ns));
                if !asked {
                    return;
                }
                format!("machine {place}: is to hand over")
            }
            71..74 => return self.spoil(place),
            74..86 => return self.media_fault(place),
            86..96 => return self.drill(place),
            _ => return self.force(place),
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
        cluster.third.lose_at_ns = None;
        let now_ns = self.now.mono_ns;
        for member in &mut self.members {
            member.wake(now_ns);
            member.slow_until_ns = 0;
            member.down_until_ns = 0;
            member.clock_error_ns = 0;
            member.stopped_utc_ns = None;
            member.kill_at_ns = None;
        }
    }
}
