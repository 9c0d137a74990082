//! What left the node so far. Every later journal must still cause exactly that.

use std::collections::{BTreeMap, BTreeSet};
use touchline_core::Effect;
use touchline_protocol::*;

/// What left, by the frame that caused it.
#[derive(Default)]
pub(crate) struct Ledger {
    /// And by the boot it left from: after a take-over what the old primary sent may leave again.
    left: BTreeMap<Seq, BTreeMap<u128, Vec<Effect>>>,
    /// Last frames of what each start wrote: there it also shows everything that subscribers see.
    starts: BTreeSet<Seq>,
}

impl Ledger {
    /// Effects left while everything up to `committed` was.
    pub(crate) fn note(&mut self, boot: u128, effects: Vec<Effect>, committed: Seq) -> Result<(), String> {
        for effect in effects {
            if effect.seq > committed {
                return Err(format!(
                    "an effect of frame {} left while the log was committed up to {committed}: {effect:?}",
                    effect.seq
                ));
            }
            self.left.entry(effect.seq).or_default().entry(boot).or_default().push(effect);
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

    /// Checks what left of a frame against what the log's replay causes there; how many effects that were.
    pub(crate) fn check(&mut self, seq: Seq, caused: &[Effect]) -> Result<u64, String> {
        let mut count = 0;
        for left in self.left.remove(&seq).unwrap_or_default().into_values() {
            count += left.len() as u64;
            let mut caused = caused.to_vec();
            for effect in left {
                let place = caused.iter().position(|other| *other == effect);
                let place = place.ok_or_else(|| {
                    format!(
                        "an effect left that frame {seq} does not cause: {effect:?}; it causes {caused:?}"
                    )
                })?;
                caused.swap_remove(place);
            }
        }
        Ok(count)
    }

    /// What left of frames that the log does not have.
    pub(crate) fn check_rest(&self) -> Result<(), String> {
        self.left.values().flat_map(BTreeMap::values).flatten().next().map_or(Ok(()), |effect| {
            Err(format!("an effect left of a frame that the journal does not have: {effect:?}"))
        })
    }
}
