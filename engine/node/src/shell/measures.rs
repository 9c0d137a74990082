//! What a running node measures of itself: how long each stage takes, what it decided, what it refused.
//!
//! Written by the stages as they go, each by one thread, and read by anybody at any time.

use std::sync::Arc;
use touchline_protocol::Code;
use touchline_runtime::stages::{Counter, Histogram};

/// Everything that is measured.
#[derive(Clone)]
pub struct Measures {
    /// From a command's arrival to its place in the log.
    pub queue: Arc<Histogram>,
    /// Of each shard: from the stamp of a batch's first frame until it is applied.
    pub apply: Vec<Arc<Histogram>>,
    /// The journal.
    pub journal: JournalMeasures,
    /// Gate and connections.
    pub net: NetMeasures,
}

/// What the journal measures.
#[derive(Clone)]
pub struct JournalMeasures {
    /// Writing a group.
    pub write: Arc<Histogram>,
    /// From the stamp of a group's first frame until it is durable.
    pub durable: Arc<Histogram>,
    /// Groups written.
    pub groups: Arc<Counter>,
    /// Frames written.
    pub frames: Arc<Counter>,
}

/// What gate and connections measure.
#[derive(Clone)]
pub struct NetMeasures {
    /// From "durable" until the gate lets pass what waited for it.
    pub gate: Arc<Histogram>,
    /// From a ticket's arrival until its answer passes the gate, of one ticket a connection at a time.
    pub decision: Arc<Histogram>,
    /// Decisions, by the number of their code.
    decisions: Arc<[Counter]>,
    /// Tickets refused for want of a place.
    pub shed: Arc<Counter>,
    /// Connections ended because their bytes were no frames.
    pub garbage: Arc<Counter>,
}

impl Measures {
    /// Nothing measured yet.
    pub(crate) fn new(shards: usize) -> Self {
        let histogram = || Arc::new(Histogram::new());
        let counter = || Arc::new(Counter::new());
        Measures {
            queue: histogram(),
            apply: (0..shards).map(|_| histogram()).collect(),
            journal: JournalMeasures {
                write: histogram(),
                durable: histogram(),
                groups: counter(),
                frames: counter(),
            },
            net: NetMeasures {
                gate: histogram(),
                decision: histogram(),
                decisions: Code::ALL.iter().map(|_| Counter::new()).collect(),
                shed: counter(),
                garbage: counter(),
            },
        }
    }
}

impl NetMeasures {
    /// A ticket was decided.
    pub(crate) fn decided(&self, code: Code) {
        let place = Code::ALL.iter().position(|known| *known == code);
        self.decisions[place.expect("every code is listed")].add(1);
    }

    /// Decisions by code, those that came.
    pub fn decisions(&self) -> impl Iterator<Item = (Code, u64)> {
        let counted = Code::ALL.iter().zip(self.decisions.iter()).map(|(code, counter)| (*code, counter.get()));
        counted.filter(|(_, count)| *count > 0)
    }
}
