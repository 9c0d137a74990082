//! The machine of the witness: its process, its two slots, and what can happen to them.

use std::cell::RefCell;
use std::rc::Rc;
use touchline_lockstep::register::Boot;
use touchline_lockstep::{Cluster, Settings, Slots, TwoSlots, Witness};

/// Two slots that a crash can hit between or in a write.
#[derive(Clone, Default)]
pub(crate) struct SimSlots(Rc<RefCell<Kept>>);

#[derive(Default)]
struct Kept {
    slots: [Vec<u8>; 2],
    /// Writes until the machine goes down in one.
    crash_in: Option<u64>,
    /// How many bytes of that write are kept.
    torn_at: usize,
    down: bool,
}

impl Slots for SimSlots {
    type Error = &'static str;

    fn read(&self, slot: usize) -> Result<Vec<u8>, Self::Error> {
        Ok(self.0.borrow().slots[slot].clone())
    }

    fn write(&mut self, slot: usize, bytes: &[u8]) -> Result<(), Self::Error> {
        let mut kept = self.0.borrow_mut();
        let crashes = kept.crash_in == Some(0);
        kept.crash_in = kept.crash_in.map(|left| left.saturating_sub(1));
        if kept.down || crashes {
            let torn_at = kept.torn_at.min(bytes.len());
            let old = std::mem::take(&mut kept.slots[slot]);
            let mut torn = bytes[..torn_at].to_vec();
            torn.extend(old.get(torn_at..).unwrap_or_default());
            kept.slots[slot] = torn;
            kept.down = true;
            return Err("the witness's machine crashed");
        }
        kept.slots[slot] = bytes.to_vec();
        Ok(())
    }
}

/// The third party.
#[derive(Default)]
pub(crate) struct Third {
    slots: SimSlots,
    pub(crate) witness: Option<Witness<TwoSlots<SimSlots>>>,
    /// True time until which its process does not run.
    pub(crate) paused_until_ns: u64,
    pub(crate) down_until_ns: u64,
    /// How often a witness was started.
    starts: u64,
    /// True time at which its machine is lost, file and all.
    pub(crate) lose_at_ns: Option<u64>,
}

impl Third {
    /// Starts the process.
    pub(crate) fn start(&mut self, cluster: Cluster, incarnation: Boot, settings: Settings, now_ns: u64) {
        let mut kept = self.slots.0.borrow_mut();
        kept.down = false;
        kept.crash_in = kept.crash_in.filter(|left| *left > 0);
        drop(kept);
        let store = TwoSlots::new(self.slots.clone(), settings.mutation);
        self.starts += 1;
        self.witness = Witness::start(cluster, (incarnation, self.starts), settings, store, now_ns).ok();
    }

    /// The process is gone.
    pub(crate) fn kill(&mut self, down_until_ns: u64) {
        self.witness = None;
        self.down_until_ns = down_until_ns;
    }

    /// The machine will go down in one of the next writes.
    pub(crate) fn arm(&mut self, crash_in: Option<u64>, torn_at: usize) {
        let mut kept = self.slots.0.borrow_mut();
        kept.crash_in = crash_in;
        kept.torn_at = torn_at;
    }

    /// One slot rots while the process is down.
    pub(crate) fn rot(&mut self, slot: usize, byte: usize) {
        let mut kept = self.slots.0.borrow_mut();
        if let Some(byte) = kept.slots[slot].get_mut(byte) {
            *byte ^= 1;
        }
    }

    /// The file is lost.
    pub(crate) fn lose(&mut self) {
        self.slots.0.borrow_mut().slots = Default::default();
    }
}
