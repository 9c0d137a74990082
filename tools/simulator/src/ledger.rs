//! What left the node so far. Every later journal must still cause exactly that.

use crate::disk::Disk;
use std::collections::{BTreeMap, BTreeSet};
use touchline_core::Effect;
use touchline_journal::read;
use touchline_protocol::*;

/// What left, by the frame that caused it.
#[derive(Default)]
pub(crate) struct Ledger {
    left: BTreeMap<Seq, Vec<Effect>>,
    /// Last frames of what each start wrote: there it also shows everything that subscribers see.
    starts: BTreeSet<Seq>,
    /// The last frame that the node called durable, and the hash of the log up to it.
    durable: (Seq, ChainHash),
}

impl Ledger {
    /// Effects left while everything up to `durable` had been written.
    pub(crate) fn note(&mut self, effects: Vec<Effect>, durable: (Seq, ChainHash)) -> Result<(), String> {
        if durable.0 > self.durable.0 {
            self.durable = durable;
        }
        for effect in effects {
            if effect.seq > durable.0 {
                return Err(format!(
                    "an effect of frame {} left while the journal was durable up to {}: {effect:?}",
                    effect.seq, durable.0
                ));
            }
            self.left.entry(effect.seq).or_default().push(effect);
        }
        Ok(())
    }

    /// A start wrote frames up to here.
    pub(crate) fn note_start(&mut self, seq: Seq) {
        self.starts.insert(seq);
    }

    /// Whether a start showed everything at this frame.
    pub(crate) fn is_start(&self, seq: Seq) -> bool {
        self.starts.contains(&seq)
    }

    /// Whatever a crash left of the journal, it begins with everything that was durable: the chain hash of one
    /// frame stands for all before it.
    pub(crate) fn check_prefix(&self, disk: &Disk) -> Result<(), String> {
        let (seq, chain) = self.durable;
        let mut found = None;
        let journal = read(disk, &mut |frame| {
            if frame.seq() == seq {
                found = Some(frame.chain());
            }
            Ok(())
        });
        let last = journal.map_err(|error| error.to_string())?.position.seq;
        match found {
            Some(found) if found == chain => Ok(()),
            None if seq == Seq(0) => Ok(()),
            None => Err(format!("frame {seq} was durable, but the journal ends at {last}")),
            Some(_) => Err(format!("up to frame {seq} the journal is not the one that was durable")),
        }
    }

    /// Checks what left of a frame against what the log's replay causes there; how many effects that were.
    pub(crate) fn check(&mut self, seq: Seq, mut caused: Vec<Effect>) -> Result<u64, String> {
        let left = self.left.remove(&seq).unwrap_or_default();
        let count = left.len() as u64;
        for effect in left {
            let place = caused.iter().position(|other| *other == effect);
            let place = place.ok_or_else(|| {
                format!("an effect left that frame {seq} does not cause: {effect:?}; it causes {caused:?}")
            })?;
            caused.swap_remove(place);
        }
        Ok(count)
    }

    /// What left of frames that the log does not have.
    pub(crate) fn check_rest(&self) -> Result<(), String> {
        self.left.values().flatten().next().map_or(Ok(()), |effect| {
            Err(format!("an effect left of a frame that the journal does not have: {effect:?}"))
        })
    }
}
