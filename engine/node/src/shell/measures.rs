//! What a running node measures of itself: how long each stage takes, what it decided, what it refused.
//!
//! Written by the stages as they go, each by one thread, and read by anybody at any time from the board.
//!
//! | stage | from … to |
//! |---|---|
//! | `queue` | a command's arrival … its place in the log |
//! | `apply-N` | the stamp of a step's first frame … applied by shard N |
//! | `write` | one group of the journal, the disk's part |
//! | `durable` | the stamp of a group's first frame … durable |
//! | `gate` | durable … what waited for it may leave |
//! | `decision` | a ticket's arrival … its answer may leave; of one ticket a connection at a time |

use touchline_protocol::Code;
use touchline_runtime::stages::{Board, Counter, Gauge, Recorder};

/// What the sequencer measures.
pub(crate) struct SequenceMeasures {
    pub(crate) queue: Recorder,
}

/// What a shard measures.
pub(crate) struct ApplyMeasures {
    pub(crate) apply: Recorder,
}

/// What the journal measures.
pub(crate) struct JournalMeasures {
    pub(crate) write: Recorder,
    pub(crate) durable: Recorder,
    pub(crate) groups: Counter,
    pub(crate) frames: Counter,
}

/// What gate and connections measure.
pub(crate) struct NetMeasures {
    pub(crate) gate: Recorder,
    pub(crate) decision: Recorder,
    /// Decisions, a counter a code.
    decided: Vec<Counter>,
    /// Tickets refused for want of a place.
    pub(crate) shed: Counter,
    /// Connections ended because their bytes were no frames.
    pub(crate) garbage: Counter,
    pub(crate) connections: Gauge,
    pub(crate) tickets_inside: Gauge,
    pub(crate) tickets_max: Gauge,
}

/// What the twin measures.
pub(crate) struct TwinMeasures {
    /// The last frame that it replayed.
    pub(crate) replayed: Gauge,
    pub(crate) snapshots: Counter,
    pub(crate) marks: Counter,
}

/// Everything that is measured, a part for each stage that measures it.
pub(crate) struct Measures {
    pub(crate) sequence: SequenceMeasures,
    pub(crate) apply: Vec<ApplyMeasures>,
    pub(crate) journal: JournalMeasures,
    pub(crate) net: NetMeasures,
    pub(crate) twin: TwinMeasures,
}

impl Measures {
    /// Nothing measured yet, and the board that shows it.
    pub(crate) fn new(shards: usize) -> (Self, Board) {
        let mut board = Board::default();
        let measures = Measures {
            sequence: SequenceMeasures { queue: board.stage("queue") },
            apply: (0..shards)
                .map(|index| ApplyMeasures { apply: board.stage(&format!("apply-{index}")) })
                .collect(),
            journal: JournalMeasures {
                write: board.stage("write"),
                durable: board.stage("durable"),
                groups: board.counter("groups"),
                frames: board.counter("frames"),
            },
            net: NetMeasures {
                gate: board.stage("gate"),
                decision: board.stage("decision"),
                decided: Code::ALL.iter().map(|code| board.counter(code.name())).collect(),
                shed: board.counter("shed"),
                garbage: board.counter("garbage"),
                connections: board.gauge("connections"),
                tickets_inside: board.gauge("tickets_inside"),
                tickets_max: board.gauge("tickets_max"),
            },
            twin: TwinMeasures {
                replayed: board.gauge("replayed"),
                snapshots: board.counter("snapshots"),
                marks: board.counter("marks"),
            },
        };
        (measures, board)
    }
}

impl NetMeasures {
    /// A ticket was decided.
    pub(crate) fn decided(&mut self, code: Code) {
        let place = Code::ALL.iter().position(|known| *known == code);
        self.decided[place.expect("every code is listed")].add(1);
    }
}
