//! What goes wrong: crashes, torn writes, full and broken disks, clocks, broken connections, restarts.

use crate::Mutation;
use crate::disk::Disk;
use crate::node::Node;
use crate::world::World;
use touchline_journal::Tail;
use touchline_protocol::*;

impl World {
    /// One fault, by chance. Most do nothing most of the time.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..25 => self.break_connection(),
            25..45 => self.disk_fault(),
            45..50 => self.crash_if_any_left(),
            50..53 => return self.attest(),
            53..55 => return self.stop(),
            55..60 => self.set_clock(),
            60..65 => return self.intrude(),
            65..75 => self.offer_again(),
            _ => {}
        }
        Ok(())
    }

    /// The machine starts, on another number of shards.
    pub(crate) fn start(&mut self) -> Result<(), String> {
        self.boot += 1;
        self.booted_ns = self.now.mono_ns;
        let fell_in_write = self.disk.went_down();
        self.disk.restart();
        if self.options.mutation == Some(Mutation::EmptyStart) && self.boot > 1 {
            self.disk = Disk::default();
        }
        self.ledger.check_prefix(&self.disk)?;
        self.config.node.shards = [1, 2, 4][self.random.below(3) as usize];
        self.arm();
        let now = self.node_now();
        let started = Node::start(self.disk.clone(), &self.config, now, self.boot, self.options.mutation);
        let (node, recovered) = match started {
            Ok(started) => started,
            // It went down again while it recovered: the next start finds what that left.
            Err(_) if self.disk.went_down() => {
                self.out.crashes_in_recovery += 1;
                self.note(|| "crashed in recovery".into());
                return Ok(());
            }
            Err(why) => return Err(format!("the node does not start: {why}")),
        };
        let torn = matches!(recovered.tail, Tail::Torn(_));
        self.out.torn_writes += u64::from(torn);
        if torn && !fell_in_write {
            return Err("a torn end was found, though no write was interrupted since the last start".into());
        }
        let (boot, shards, end) = (self.boot, node.shards(), if torn { ", torn end cut" } else { "" });
        self.note(|| format!("start {boot} on {shards} shards: {} frames{end}", recovered.frames));
        let last = recovered.position.seq;
        if let Some(lost) = self.answers.values().find(|decision| decision.decided > last) {
            return Err(format!(
                "ticket {} was answered at frame {}, but the journal ends at {last}",
                lost.ticket, lost.decided
            ));
        }
        self.ledger.note_start(node.opened());
        self.node = Some(node);
        Ok(())
    }

    /// Decides in which of the coming disk operations the machine crashes, and what survives of it.
    fn arm(&mut self) {
        let may_crash = !self.calm && self.out.crashes < self.options.crashes;
        // The first operations of a life are those of its recovery.
        let soon = if self.random.chance(0.2) { 2 } else { 40 };
        let crash_in = self.random.below(soon);
        let crashes = may_crash && self.random.chance(0.9);
        let mut disk = self.disk.get();
        disk.crash_in = crashes.then_some(crash_in);
        disk.surviving_sectors = self.random.bits();
    }

    /// A connection ends, or a whole intake restarts.
    fn break_connection(&mut self) {
        let place = self.random.below(self.people.len() as u64) as usize;
        let person = &mut self.people[place];
        if person.role == Role::Intake && self.random.chance(0.4) {
            let new_ids = self.options.mutation == Some(Mutation::NewIdsOnRetry);
            person.restart(self.node.as_mut(), new_ids.then_some(&mut self.random));
            self.out.client_restarts += 1;
            self.note(|| format!("client {place} restarted"));
        } else if person.connection.is_some() {
            person.disconnect(self.node.as_mut());
            self.out.disconnects += 1;
            self.note(|| format!("client {place} disconnected"));
        }
    }

    /// The disk has no room for a new segment for a while, or the device fails.
    fn disk_fault(&mut self) {
        let mut disk = self.disk.get();
        let what = if disk.room.is_some() {
            if self.random.chance(0.2) {
                disk.room = None;
            }
            return;
        } else if self.random.chance(0.3) {
            disk.room = Some(0);
            self.out.full_disks += 1;
            "disk full"
        } else if self.random.chance(0.05) && self.out.crashes < self.options.crashes {
            disk.broken = true;
            "disk broken"
        } else {
            return;
        };
        drop(disk);
        self.note(|| what.into());
    }

    /// The node logs what its state is.
    fn attest(&mut self) -> Result<(), String> {
        let now = self.node_now();
        let Some(node) = &mut self.node else { return Ok(()) };
        node.attest(now)?;
        self.note(|| "attested".into());
        Ok(())
    }

    /// The node stops in good order: it attests its state, writes it, and lets everything pass.
    fn stop(&mut self) -> Result<(), String> {
        self.attest()?;
        while self.node.as_ref().is_some_and(Node::owes_the_journal) {
            self.write(usize::MAX)?;
        }
        if self.node.is_none() {
            return Ok(());
        }
        self.release()?;
        self.go_down();
        self.out.stops += 1;
        self.note(|| "stopped".into());
        Ok(())
    }

    /// Somebody sets the node's clock. Seldom by so much that the node takes note.
    fn set_clock(&mut self) {
        let most_ms = if self.random.chance(0.2) { 1500 } else { 100 };
        let error_ms = self.random.below(2 * most_ms + 1) as i64 - most_ms as i64;
        self.clock_error_ns = error_ms * 1_000_000;
        self.out.clock_steps += 1;
        self.note(|| format!("the node's clock is {error_ms} ms ahead"));
    }

    /// A shard repeats its messages.
    fn offer_again(&mut self) {
        let Some(node) = &mut self.node else { return };
        let index = self.random.below(node.shards() as u64) as usize;
        node.offer_again(index);
        self.out.offers_repeated += 1;
    }

    /// A connection sends a frame with a flipped bit: it is told off or ended, and nothing else happens.
    fn intrude(&mut self) -> Result<(), String> {
        let Some(node) = &mut self.node else { return Ok(()) };
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

    fn crash_if_any_left(&mut self) {
        if self.out.crashes < self.options.crashes {
            self.crash("killed");
        }
    }

    /// Everything in memory is gone.
    pub(crate) fn crash(&mut self, why: &str) {
        self.go_down();
        self.out.crashes += 1;
        self.note(|| format!("crash: {why}"));
    }

    fn go_down(&mut self) {
        self.node = None;
        self.people.iter_mut().for_each(|person| person.disconnect(None));
        // A node that finds no room or a broken device stops; it starts again when somebody has helped.
        let mut disk = self.disk.get();
        disk.room = None;
        disk.broken = false;
    }
}
