//! The commit gate: no effect leaves before the frame that caused it is committed.

use std::collections::VecDeque;
use touchline_core::Effect;
use touchline_protocol::Seq;

/// Effects that wait for their frames, one queue a shard: each shard applies in order.
pub struct Gate {
    waiting: Vec<VecDeque<Effect>>,
    committed: Seq,
}

impl Gate {
    /// A gate for effects of a number of shards; everything up to `committed` may pass.
    pub fn new(shards: usize, committed: Seq) -> Self {
        Gate { waiting: vec![VecDeque::new(); shards], committed }
    }

    /// Takes effects of a shard, in the order it caused them.
    pub fn hold(&mut self, shard: usize, effects: impl IntoIterator<Item = Effect>) {
        self.waiting[shard].extend(effects);
    }

    /// Everything up to a sequence is committed. It never moves back.
    pub fn commit(&mut self, seq: Seq) {
        self.committed = self.committed.max(seq);
    }

    /// The last committed sequence.
    pub fn committed(&self) -> Seq {
        self.committed
    }

    /// Lets pass what may.
    pub fn step(&mut self, out: &mut Vec<Effect>) {
        for queue in &mut self.waiting {
            while queue.front().is_some_and(|effect| effect.seq <= self.committed) {
                out.extend(queue.pop_front());
            }
        }
    }

    /// Effects that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }
}
