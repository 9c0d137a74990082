//! What goes wrong in a cluster: links, pauses, the witness, the moment in which a change is asked for.

use crate::Fault;
use crate::member::Member;
use crate::world::World;
use touchline_lockstep::register::Change;
use touchline_lockstep::{Register, Replica, Role};
use touchline_protocol::*;

const MS: u64 = 1_000_000;
/// The witness's place among the parties.
const WITNESS: usize = 2;

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
                self.members[place].paused_until_ns = until;
                if slot == 0 {
                    // A paused virtual machine may see no gap in its clock.
                    self.members[place].booted_ns += until - now_ns;
                }
                self.out.pauses += 1;
                format!("machine {place}: paused until {}", until / 1000)
            }
            34..42 => {
                self.members[place].slow_until_ns = until;
                format!("machine {place}: its disk stands still until {}", until / 1000)
            }
            42..50 => {
                self.members[place].down_until_ns = until;
                self.crash_if_any_left(place);
                return;
            }
            50..53 => {
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

    /// The moment in which a node asks the witness for something is the worst one for anything to fail: some links are
    /// cut from about now on, a disk may stand still, a process may be paused or die a little later.
    pub(crate) fn strike(&mut self, place: usize, change: Change) {
        // Seldom asked for, and worth it.
        let often = matches!(change, Change::Promote | Change::Force { .. } | Change::Cold(_));
        let chance = if often {
            0.5
        } else if change == Change::Solo {
            0.4
        } else {
            0.08
        };
        let struck = self.random.chance(chance);
        if self.calm || self.is_quarantined() || !struck || !self.may(Fault::Strikes) {
            return;
        }
        let now_ns = self.now.mono_ns;
        match change {
            Change::Promote if self.random.chance(0.7) => return self.strike_takeover(place),
            Change::Force { .. } => return self.strike_force(place),
            Change::Solo if self.random.chance(0.5) => return self.strike_solo(place),
            Change::Cold(_) => {
                // What the peer once answered comes again.
                let within_ns = 50_000 + self.random.below(2 * MS);
                if self.random.chance(0.5) {
                    // And who is to lead dies before anything more is written.
                    let dies_ns = now_ns + MS + self.random.below(8 * MS);
                    let member = &mut self.members[place];
                    member.slow_until_ns = dies_ns;
                    member.kill_at_ns = Some(dies_ns);
                    self.note(|| {
                        format!("while machine {place} asks for COLD: killed at {}", dies_ns / 1000)
                    });
                }
                self.out.strikes += u64::from(self.shared().net.echo_fetched(now_ns + within_ns, place));
                return;
            }
            _ => {}
        }
        let longest = [30, 100, 400][self.random.below(3) as usize] * MS;
        let mut struck = Vec::new();
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
            if self.random.chance(0.4) {
                let begin_ns = now_ns + self.random.below(8) * MS;
                let end_ns = begin_ns + self.random.below(longest);
                self.shared().net.cut(from, to, begin_ns, end_ns);
                struck.push(format!("{from} → {to} {}..{}", begin_ns / 1000, end_ns / 1000));
            }
        }
        for place in 0..2 {
            let (until, dice) = (now_ns + self.random.below(longest), self.random.below(8));
            let member = &mut self.members[place];
            match dice {
                0 => member.paused_until_ns = until,
                1 | 2 => member.slow_until_ns = until,
                3 | 4 => member.kill_at_ns = Some(until),
                _ => continue,
            }
            let what = ["paused until", "its disk stands still until", "", "killed at", ""][dice as usize];
            struck.push(format!("machine {place} {what} {}", until / 1000));
        }
        self.out.strikes += 1;
        self.note(|| format!("while a change is asked for: {}", struck.join(", ")));
    }

    /// A node is asked for its log, and when the question arrives it is another process, whose journal is damaged.
    pub(crate) fn strike_fetch(&mut self, place: usize) {
        if self.calm || self.is_quarantined() || !self.random.chance(0.3) || !self.may(Fault::Media) {
            return;
        }
        if !self.members.iter().any(|member| member.media.is_hurt()) && !self.in_memory() {
            self.members[1 - place].down_until_ns = 0;
            self.rot(1 - place);
            self.out.strikes += 1;
        }
    }

    /// A standby asks to lead, and the primary's frames reach it again while the witness hears only the standby; its answer
    /// is late, and soon after it came the standby dies, with whatever it did not write.
    fn strike_takeover(&mut self, place: usize) {
        let now_ns = self.now.mono_ns;
        let answer_ns = now_ns + (5 + self.random.below(60)) * MS;
        let dies_ns = answer_ns + self.random.below(20) * MS;
        let net = &mut self.shared().net;
        net.heal_between(0, 1);
        net.cut(1 - place, WITNESS, now_ns, answer_ns);
        net.cut(WITNESS, 1 - place, now_ns, answer_ns + 100 * MS);
        net.cut(WITNESS, place, now_ns, answer_ns);
        self.members[1 - place].paused_until_ns = 0;
        let member = &mut self.members[place];
        member.slow_until_ns = dies_ns;
        member.kill_at_ns = Some(dies_ns);
        self.out.strikes += 1;
        self.note(|| {
            format!(
                "while machine {place} asks to lead: it hears the primary again, no answer until {}, killed at {}",
                answer_ns / 1000,
                dies_ns / 1000
            )
        });
    }

    /// An operator forces a node to lead, and the request travels for long, while the other node comes back, leads on, and
    /// dies again: when the request arrives it is of another time.
    fn strike_force(&mut self, place: usize) {
        let now_ns = self.now.mono_ns;
        let dies_ns = now_ns + (60 + self.random.below(60)) * MS;
        let other = 1 - place;
        let net = &mut self.shared().net;
        net.hold_next(place, WITNESS, dies_ns + 45 * MS - now_ns);
        for (from, to) in [(place, WITNESS), (WITNESS, place), (other, place)] {
            net.cut(from, to, now_ns + 1, dies_ns + 100 * MS);
        }
        self.members[other].down_until_ns = now_ns;
        self.members[other].kill_at_ns = Some(dies_ns);
        self.out.strikes += 1;
        self.note(|| {
            format!("while machine {place} is forced: machine {other} is back, killed at {}", dies_ns / 1000)
        });
    }

    /// A primary asks to go on alone, and as soon as it may, it dies; the witness's file is lost, and the standby, which heard
    /// nothing of it all, is the only one left who knows a configuration.
    fn strike_solo(&mut self, place: usize) {
        let now_ns = self.now.mono_ns;
        let lost_ns = now_ns + MS + self.random.below(2 * MS);
        let dies_ns = now_ns + MS + self.random.below(3 * MS);
        let other = 1 - place;
        let cluster = self.shared();
        for (from, to) in [(place, other), (other, place), (WITNESS, other), (other, WITNESS)] {
            cluster.net.cut(from, to, now_ns, dies_ns.max(lost_ns));
        }
        cluster.third.lose_at_ns = Some(lost_ns);
        let member = &mut self.members[place];
        member.slow_until_ns = dies_ns;
        member.kill_at_ns = Some(dies_ns);
        self.out.strikes += 1;
        self.note(|| {
            format!(
                "while machine {place} asks to go on alone: killed at {}, the witness's file lost at {}",
                dies_ns / 1000,
                lost_ns / 1000
            )
        });
    }

    /// Every fault ends.
    pub(crate) fn heal(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.net.heal();
        cluster.third.arm(None, 0);
        cluster.third.paused_until_ns = 0;
        cluster.third.down_until_ns = 0;
        cluster.third.lose_at_ns = None;
        for member in &mut self.members {
            member.paused_until_ns = 0;
            member.slow_until_ns = 0;
            member.down_until_ns = 0;
            member.clock_error_ns = 0;
            member.stopped_utc_ns = None;
            member.kill_at_ns = None;
        }
    }
}
