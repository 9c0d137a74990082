//! What goes wrong: crashes, torn writes, full and broken disks, clocks, broken connections, restarts.

use crate::disk::Disk;
use crate::member::Member;
use crate::node::Node;
use crate::world::World;
use crate::{Durability, Fault, Mutation};
use touchline_journal::Tail;
use touchline_protocol::*;

impl World {
    /// One fault of a machine, by chance. Most do nothing most of the time.
    pub(crate) fn fault(&mut self, place: usize) -> Result<(), String> {
        let dice = self.random.below(100);
        let kind = match dice {
            0..25 | 60..75 => Fault::Clients,
            25..45 => Fault::Disks,
            45..55 => Fault::Crashes,
            55..60 => Fault::Clocks,
            _ => return Ok(()),
        };
        if !self.may(kind) {
            return Ok(());
        }
        match dice {
            0..25 => self.break_connection(),
            25..45 => self.disk_fault(place),
            45..50 => self.crash_if_any_left(place),
            50..53 => return self.attest(place),
            53..55 => return self.stop(place),
            55..60 => self.set_clock(place),
            60..65 => return self.intrude(place),
            65..75 => self.offer_again(place),
            _ => {}
        }
        Ok(())
    }

    /// The machine starts, on another number of shards.
    pub(crate) fn start(&mut self, place: usize) -> Result<(), String> {
        self.boots += 1;
        let boot = self.boots;
        let member = &mut self.members[place];
        member.boot = boot;
        member.booted_ns = self.now.mono_ns;
        let fell_in_write = member.disk.went_down();
        member.disk.restart();
        if self.options.mutation == Some(Mutation::EmptyStart) && boot > 1 {
            member.disk = Disk::default();
        }
        // A disk that is hurt holds less; that its peer has the rest is the other judges' matter.
        let hurt = member.media.is_hurt();
        if !hurt {
            member.check_promise()?;
        }
        member.drift_ppm = self.random.below(401) as i64 - 200;
        self.config.node.shards = [1, 2, 4][self.random.below(3) as usize];
        self.arm(place);
        let now = self.node_now(place);
        let disk = self.members[place].disk.clone();
        let started = match self.options.cluster {
            false => Node::start(disk, &self.config, now, boot, self.options.mutation)
                .map(|(node, recovered)| (node, recovered, false)),
            true => Node::load(disk, &self.config, self.options.mutation),
        };
        let (node, recovered, damaged) = match started {
            Ok(started) => started,
            // It went down again while it recovered: the next start finds what that left.
            Err(_) if self.members[place].disk.went_down() => {
                self.out.crashes_in_recovery += 1;
                self.note(|| format!("machine {place}: crashed in recovery"));
                return Ok(());
            }
            Err(why) if self.members[place].disk.get().broken => {
                self.out.device_errors += 1;
                self.crash(place, &why);
                return Ok(());
            }
            Err(why) => return Err(format!("the node does not start: {why}")),
        };
        let torn = matches!(recovered.tail, Tail::Torn(_));
        self.out.torn_writes += u64::from(torn);
        if torn && !fell_in_write && !hurt {
            return Err("a torn end was found, though no write was interrupted since the last start".into());
        }
        let (shards, end) = (node.shards(), if torn { ", torn end cut" } else { "" });
        let last = recovered.position.seq;
        self.note(|| format!("machine {place}: start {boot} on {shards} shards: {last} frames{end}"));
        if self.options.cluster {
            if damaged && !hurt {
                return Err(format!(
                    "machine {place}: its journal is damaged, and nothing happened to its disk"
                ));
            }
            let member = &mut self.members[place];
            if hurt && member.promised.0 > last {
                member.promised = node.durable();
            }
            self.out.damaged += u64::from(damaged);
            member.media.front = if damaged { last } else { Seq(0) };
            let durable = node.durable().0;
            member.node = Some(node);
            self.shared().said(boot, durable);
            self.join_cluster(place, torn, damaged);
            return Ok(());
        }
        if let Some(lost) = self.answers.values().find(|decision| decision.decided > last) {
            return Err(format!(
                "ticket {} was answered at frame {}, but the journal ends at {last}",
                lost.ticket, lost.decided
            ));
        }
        self.ledger.note_start(node.opened());
        self.members[place].node = Some(node);
        Ok(())
    }

    /// Decides in which of the coming disk operations the machine crashes, and what survives of it.
    fn arm(&mut self, place: usize) {
        let may_crash = !self.calm && self.out.crashes < self.options.crashes;
        // The first operations of a life are those of its recovery.
        let soon = if self.random.chance(0.2) { 2 } else { 40 };
        let crash_in = self.random.below(soon);
        let crashes = may_crash
            && self.drill.is_none()
            && self.twin.is_none()
            && self.ordeal.is_none()
            && self.may(Fault::Disks)
            && !self.in_memory()
            && self.random.chance(if self.options.cluster { 0.2 } else { 0.9 });
        let mut disk = self.members[place].disk.get();
        disk.crash_in = crashes.then_some(crash_in);
        disk.surviving_sectors = self.random.bits();
    }

    /// A connection ends, or a whole intake restarts.
    fn break_connection(&mut self) {
        let place = self.random.below(self.people.len() as u64) as usize;
        let person = &mut self.people[place];
        let node = person.connection.and_then(|(machine, _)| self.members[machine].node.as_mut());
        if person.role == Role::Intake && self.random.chance(0.4) {
            let new_ids = self.options.mutation == Some(Mutation::NewIdsOnRetry);
            person.restart(node, new_ids.then_some(&mut self.random));
            self.out.client_restarts += 1;
            self.note(|| format!("client {place} restarted"));
        } else if person.connection.is_some() {
            person.disconnect(node);
            self.out.disconnects += 1;
            self.note(|| format!("client {place} disconnected"));
        }
    }

    /// The disk has no room for a new segment for a while, or the device fails.
    fn disk_fault(&mut self, place: usize) {
        // A node that finds no room in the end stops, and with it goes what only memories held.
        let memory = self.in_memory();
        let mut disk = self.members[place].disk.get();
        let what = if disk.room.is_some() {
            if self.random.chance(0.2) {
                disk.room = None;
            }
            return;
        } else if self.random.chance(0.3) && !memory {
            disk.room = Some(0);
            self.out.full_disks += 1;
            "disk full"
        } else if self.random.chance(0.05)
            && self.out.crashes < self.options.crashes
            && self.may_lose(place)
            && !self.in_memory()
        {
            disk.broken = true;
            "disk broken"
        } else {
            return;
        };
        drop(disk);
        self.note(|| format!("machine {place}: {what}"));
    }

    /// The node logs what its state is.
    fn attest(&mut self, place: usize) -> Result<(), String> {
        let now = self.node_now(place);
        let Some(node) = self.members[place].node.as_mut().filter(|node| node.sequences()) else {
            return Ok(());
        };
        node.attest(now)?;
        self.sequenced(place);
        self.note(|| format!("machine {place}: attested"));
        Ok(())
    }

    /// The node stops in good order: it attests its state, writes it, and lets everything pass.
    fn stop(&mut self, place: usize) -> Result<(), String> {
        self.attest(place)?;
        while self.members[place].node.as_ref().is_some_and(Node::owes_the_journal) {
            self.members[place].slow_until_ns = 0;
            self.write(place, usize::MAX)?;
        }
        if self.members[place].node.is_none() {
            return Ok(());
        }
        self.release(place)?;
        self.go_down(place);
        self.out.stops += 1;
        self.note(|| format!("machine {place}: stopped"));
        Ok(())
    }

    /// Somebody sets the node's clock. Seldom by so much that the node takes note.
    pub(crate) fn set_clock(&mut self, place: usize) {
        let most_ms = if self.random.chance(0.2) { 1500 } else { 100 };
        let mut error_ms = self.random.below(2 * most_ms + 1) as i64 - most_ms as i64;
        let dice = self.random.below(100);
        // Of three clocks one may be wrong by much.
        let others_are_right = || {
            let right = |member: &Member| {
                member.stopped_utc_ns.is_none() && member.clock_error_ns.abs() < 2_000_000_000
            };
            self.members.iter().enumerate().all(|(other, member)| other == place || right(member))
        };
        // A log that has no time yet takes it from its first primary, which may have nobody to compare with: that such a
        // clock is right is the operator's word at the first start (hybrid seed 4852).
        let has_time = self.cluster.as_ref().is_some_and(|cluster| cluster.committed() > Seq(0));
        if has_time && dice < 10 && others_are_right() {
            let stopped_utc_ns = self.node_now(place).utc_ns;
            self.members[place].stopped_utc_ns = (dice < 7).then_some(stopped_utc_ns);
            error_ms = if dice < 7 { 0 } else { (error_ms % 2) * 86_400_000 };
        }
        self.members[place].clock_error_ns = error_ms * 1_000_000;
        self.out.clock_steps += 1;
        self.note(|| format!("machine {place}: its clock is {error_ms} ms ahead"));
    }

    /// A shard repeats its messages.
    fn offer_again(&mut self, place: usize) {
        let Some(node) = self.members[place].node.as_mut().filter(|node| node.leads()) else { return };
        let index = self.random.below(node.shards() as u64) as usize;
        node.offer_again(index);
        self.out.offers_repeated += 1;
    }

    /// A connection sends a frame with a flipped bit: it is told off or ended, and nothing else happens.
    fn intrude(&mut self, machine: usize) -> Result<(), String> {
        let Some(node) = self.members[machine].node.as_mut().filter(|node| node.leads()) else {
            return Ok(());
        };
        let mut bytes = Vec::new();
        let hello = Hello { role: Role::Operator, version: 1, epoch: Epoch(0), name: Text::cut("nobody") };
        frame::encode(&Envelope::session(0, Epoch(0), 0), &hello.into(), &mut bytes);
        let place = self.random.below(bytes.len() as u64) as usize;
        bytes[place] ^= 1 << self.random.below(8);
        let id = node.accept();
        let taken = node.receive(id, &bytes);
        let heard = !node.take(id, usize::MAX).is_empty();
        node.close(id);
        self.out.hostile += 1;
        if taken.is_ok() && heard {
            return Err(format!("a frame with a flipped bit in byte {place} was answered"));
        }
        Ok(())
    }

    pub(crate) fn crash_if_any_left(&mut self, place: usize) {
        if self.may_crash(place) {
            self.crash(place, "killed");
        }
    }

    /// Whether the machine may go down now.
    pub(crate) fn may_crash(&self, place: usize) -> bool {
        self.out.crashes < self.options.crashes && self.may_lose(place)
    }

    /// Whether frames that are only in memories may be acknowledged.
    pub(crate) fn in_memory(&self) -> bool {
        self.options.cluster && self.options.durability == Durability::Memory
    }

    /// Whether this machine's memory may be lost now: under `memory` only while the other one runs and its journal
    /// holds everything that was ever acknowledged, since that policy does not promise to survive both.
    fn may_lose(&self, place: usize) -> bool {
        let Some(cluster) = self.cluster.as_ref().filter(|_| self.in_memory()) else { return true };
        let committed = cluster.committed();
        let safe = |member: &Member| member.node.as_ref().is_some_and(|node| node.durable().0 >= committed);
        self.members.iter().enumerate().any(|(other, member)| other != place && safe(member))
    }

    /// Everything in memory is gone.
    pub(crate) fn crash(&mut self, place: usize, why: &str) {
        self.go_down(place);
        self.out.crashes += 1;
        self.note(|| format!("machine {place}: crash: {why}"));
    }

    pub(crate) fn go_down(&mut self, place: usize) {
        if let Some(cluster) = self.cluster.as_mut().filter(|cluster| cluster.spoilt == Some(place)) {
            cluster.spoilt = None;
        }
        self.twin.take_if(|twin| twin.place == place);
        let member = &mut self.members[place];
        member.node = None;
        member.replica = None;
        member.paused_until_ns = 0;
        member.kill_at_ns = None;
        let here = |person: &&mut crate::people::Person| {
            person.connection.is_none_or(|(machine, _)| machine == place)
        };
        self.people.iter_mut().filter(here).for_each(|person| person.disconnect(None));
        // A node that finds no room or a broken device stops; it starts again when somebody has helped.
        let mut disk = member.disk.get();
        disk.room = None;
        disk.broken = false;
        disk.misdirect = None;
    }

    /// No disk fails any more.
    pub(crate) fn calm_disks(&mut self) {
        for member in &mut self.members {
            let mut disk = member.disk.get();
            (disk.crash_in, disk.room, disk.broken, disk.misdirect) = (None, None, false, None);
        }
    }
}
