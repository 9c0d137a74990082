//! What goes wrong at the worst moment: while a change of the register is asked for.

use crate::Fault;
use crate::world::World;
use touchline_lockstep::Role;
use touchline_lockstep::register::Change;

const MS: u64 = 1_000_000;
/// The witness's place among the parties.
const WITNESS: usize = 2;

impl World {
    /// The moment in which a node asks the witness for something is the worst one for anything to fail: some links are
    /// cut from about now on, a disk may stand still, a process may be paused or die a little later.
    pub(crate) fn strike(&mut self, place: usize, change: Change) {
        let chance = match change {
            // Seldom asked for, and worth it.
            Change::Promote | Change::Force { .. } => 0.5,
            Change::Cold(_) => 0.7,
            // The frames that the standby lacks may be acknowledged as soon as this is accepted.
            Change::Solo if self.standby_lacks(place) => 0.8,
            Change::Solo => 0.4,
            Change::Dual(_) => 0.12,
            _ => 0.08,
        };
        let struck = self.random.chance(chance);
        if self.calm || self.is_quarantined() || !struck || !self.may(Fault::Strikes) {
            return;
        }
        let now_ns = self.now.mono_ns;
        match change {
            Change::Promote if self.random.chance(0.7) => return self.strike_takeover(place),
            Change::Force { .. } => return self.strike_force(place),
            Change::Solo if self.standby_lacks(place) || self.random.chance(0.4) => {
                return self.strike_solo(place);
            }
            Change::Dual(_) if self.random.chance(0.6) => return self.strike_join(place),
            Change::Cold(_) => {
                // What the peer once answered comes again.
                let within_ns = 50_000 + self.random.below(2 * MS);
                if self.random.chance(0.7) {
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
                0 => {
                    member.wake(now_ns);
                    member.paused_until_ns = until;
                }
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
        self.members[1 - place].wake(now_ns);
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

    /// Whether the standby lacks frames that the primary's journal holds: the primary may acknowledge them once it is alone.
    fn standby_lacks(&self, place: usize) -> bool {
        let standby = self.members[1 - place].replica.as_ref().filter(|r| r.role() == Role::Standby);
        let node = self.members[place].node.as_ref();
        standby.zip(node).is_some_and(|(standby, node)| standby.end().seq < node.durable().0)
    }

    /// A primary asks to go on alone, and soon after it may, it dies, with or without having written anything; the witness's
    /// file is lost, and the standby, which heard nothing of it all, is the only one left who knows a configuration.
    fn strike_solo(&mut self, place: usize) {
        let now_ns = self.now.mono_ns;
        let writes = self.random.chance(0.2);
        let lost_ns = now_ns + MS + self.random.below(2 * MS);
        let dies_ns = now_ns + if writes { 4 * MS } else { MS } + self.random.below(4 * MS);
        let other = 1 - place;
        let cluster = self.shared();
        for (from, to) in [(place, other), (other, place), (WITNESS, other), (other, WITNESS)] {
            cluster.net.cut(from, to, now_ns, dies_ns.max(lost_ns));
        }
        cluster.third.lose_at_ns = Some(lost_ns);
        self.members[other].kill_at_ns = None;
        let member = &mut self.members[place];
        if !writes {
            member.slow_until_ns = dies_ns;
        }
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

    /// A primary asks for its peer to be taken in; the witness does so and tells the peer, and its file is lost before the
    /// primary hears of it. Soon after that one has heard the blank witness, it hears nobody any more, or it dies.
    fn strike_join(&mut self, place: usize) {
        let now_ns = self.now.mono_ns;
        let lost_ns = now_ns + (6 + self.random.below(5)) * MS;
        let alone_ns = lost_ns + 6 * MS;
        let until_ns = alone_ns + (30 + self.random.below(100)) * MS;
        let other = 1 - place;
        let cluster = self.shared();
        cluster.net.cut(WITNESS, place, now_ns, lost_ns);
        cluster.net.cut(other, place, now_ns, until_ns);
        cluster.net.cut(place, WITNESS, alone_ns, until_ns);
        cluster.net.cut(WITNESS, place, alone_ns, until_ns);
        cluster.third.lose_at_ns = Some(lost_ns);
        let dies_ns = self.random.chance(0.3).then_some(alone_ns + 2 * MS);
        self.members[place].kill_at_ns = dies_ns;
        self.members[other].kill_at_ns = None;
        self.out.strikes += 1;
        self.note(|| {
            format!(
                "while machine {place} asks for its peer: the witness's file lost at {}, it hears nobody {}..{}",
                lost_ns / 1000,
                alone_ns / 1000,
                until_ns / 1000
            )
        });
    }
}
