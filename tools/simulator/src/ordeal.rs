//! What lasts long: a link cut for ten seconds, or a standby that stands still for two, under load and from full strength.

use crate::world::World;
use touchline_lockstep::{Replica, Role};
use touchline_protocol::Seq;

const MS: u64 = 1_000_000;
/// The longest that nothing may be acknowledged meanwhile: what a take-over may take.
const GAP_NS: u64 = 150 * MS;
/// Steps in which the cluster should be at full strength once nothing else fails.
const WAIT_STEPS: u64 = 40_000;

/// The ordeal of a run.
#[derive(Default)]
pub(crate) struct Ordeal {
    /// Whether it began.
    begun: bool,
    /// A machine that hears nobody, whose clients look for the other one.
    isolated: Option<usize>,
    /// The last frame committed, and when that was seen.
    last: (Seq, u64),
}

impl World {
    /// In some seeds, after its other faults, a run has an ordeal.
    pub(crate) fn endure(&mut self) -> Result<(), String> {
        if self.seed % 50 != 16 || self.cluster.is_none() {
            return Ok(());
        }
        self.ordeal = Some(Ordeal::default());
        self.drill = None;
        self.heal();
        self.calm_disks();
        for _ in 0..WAIT_STEPS {
            self.step()?;
            if self.twin.is_none() && self.spoilt().is_none() && self.full_strength().is_some() {
                let until_ns = self.begin_ordeal();
                while self.now.mono_ns < until_ns {
                    self.step()?;
                    self.watch_ordeal()?;
                }
                break;
            }
        }
        self.ordeal = None;
        Ok(())
    }

    /// When it ends.
    fn begin_ordeal(&mut self) -> u64 {
        let now_ns = self.now.mono_ns;
        let (kind, place) = (self.random.below(5), self.random.below(2) as usize);
        let standby = |replica: &Replica| replica.role() == Role::Standby;
        let standby = self.members.iter().position(|m| m.replica.as_ref().is_some_and(standby));
        let until_ns = now_ns + if kind == 4 { 2000 } else { 10_000 } * MS;
        let both = |a, b| vec![(a, b), (b, a)];
        let links = match kind {
            0 => both(0, 1),
            1 => vec![(place, 1 - place)],
            2 => both(place, 2),
            3 => [both(place, 1 - place), both(place, 2)].concat(),
            _ => Vec::new(),
        };
        for (from, to) in &links {
            self.shared().net.cut(*from, *to, now_ns, until_ns);
        }
        if let (true, Some(standby)) = (links.is_empty(), standby) {
            self.members[standby].paused_until_ns = until_ns;
        }
        let last = (self.shared().committed(), now_ns);
        self.ordeal = Some(Ordeal { begun: true, isolated: (kind == 3).then_some(place), last });
        self.out.ordeals += 1;
        self.note(|| format!("ordeal: links {links:?} cut, or machine {standby:?} stands still"));
        until_ns
    }

    /// Somebody is always acknowledged soon.
    fn watch_ordeal(&mut self) -> Result<(), String> {
        let (now_ns, committed, leader) = (self.now.mono_ns, self.shared().committed(), self.leader());
        let Some(ordeal) = &mut self.ordeal else { return Ok(()) };
        if committed > ordeal.last.0 {
            ordeal.last = (committed, now_ns);
        }
        let gap_ns = now_ns - ordeal.last.1;
        self.out.ordeal_gap_us = self.out.ordeal_gap_us.max(gap_ns / 1000);
        // Clients do not stay with a node that tells them nothing while another one leads.
        let isolated = ordeal.isolated.filter(|place| leader.is_some_and(|leader| leader != *place));
        if let Some(place) = isolated {
            self.disconnect_all(place);
        }
        if gap_ns > GAP_NS {
            return Err(format!("one lasting fault, and nothing was acknowledged for {} ms", gap_ns / MS));
        }
        Ok(())
    }

    /// Whether matches go slowly, so as not to be over before the ordeal is.
    pub(crate) fn endures(&self) -> bool {
        self.ordeal.as_ref().is_some_and(|ordeal| ordeal.begun)
    }
}
