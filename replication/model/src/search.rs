//! Breadth-first search through all states, shortest counter-example first.

use crate::model::Model;
use crate::rules::{Successors, successors};
use crate::safety::{Violation, check};
use crate::state::State;
use crate::step::Step;
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use xxhash_rust::xxh3::xxh3_64;

/// What a search found.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Different states reached, the first one included; a violating one is not counted.
    pub states: usize,
    /// Steps from genesis to the farthest state of which all successors were seen.
    pub depth: usize,
    /// Most bets of which clients were told in one state.
    pub acknowledged_max: u8,
    /// Most epochs the register went through in one state.
    pub epochs_max: usize,
    /// How it ended.
    pub ending: Ending,
}

/// How a search ended.
#[derive(Clone, Debug)]
pub enum Ending {
    /// Every state within the bounds was reached and none breaks an invariant.
    Exhausted,
    /// None of the states reached breaks an invariant; those still to be expanded are counted.
    Capped {
        /// States whose successors were not looked at.
        frontier: usize,
    },
    /// A state breaks an invariant.
    Violated {
        /// The invariant.
        violation: Violation,
        /// A shortest way there from genesis.
        trace: Vec<Step>,
    },
}

impl Ending {
    /// One word for a table.
    pub fn word(&self) -> &'static str {
        match self {
            Ending::Exhausted => "exhausted",
            Ending::Capped { .. } => "capped",
            Ending::Violated { .. } => "violated",
        }
    }
}

/// Searches from genesis until a state breaks an invariant, nothing is left, or more than `cap` states were seen.
///
/// A state costs 10 to 21 bytes in the visited set (its 64-bit hash; the set doubles as it grows), 8 for the way
/// back, and its full size only while it waits to be expanded. A collision of hashes could hide a state, never invent
/// one; the chance of any among n states is below n²/2⁶⁵: one in a million at five million states, one in ten
/// thousand at fifty million.
pub fn search(model: &Model, cap: usize) -> Outcome {
    let mut search = Search::new(*model);
    let (mut acknowledged_max, mut epochs_max, mut depth) = (0, 0, 0);
    let mut next = Successors::new();
    let mut ending = Ending::Exhausted;
    while let Some((state, steps)) = search.frontier.pop_front() {
        acknowledged_max = acknowledged_max.max(state.acknowledged.end());
        epochs_max = epochs_max.max(state.register.len());
        depth = usize::from(steps);
        successors(model, &state, &mut next);
        if let Some(violation) = search.expand(&next, steps) {
            ending = Ending::Violated { violation, trace: search.trace() };
            break;
        }
        if search.visited.len() > cap {
            ending = Ending::Capped { frontier: search.frontier.len() };
            break;
        }
    }
    Outcome { states: search.visited.len(), depth, acknowledged_max, epochs_max, ending }
}

struct Search {
    model: Model,
    visited: HashSet<u64, BuildHasherDefault<AsIs>>,
    /// States are numbered as they are found and expanded in that order, so the number of a popped state is how many
    /// were popped before it.
    expanded: u32,
    frontier: VecDeque<(State, u16)>,
    links: Vec<Link>,
    bytes: Bytes,
}

/// How a state was reached: from which one, and as which of its successors. The steps themselves are found again by
/// going the way once more.
struct Link {
    parent: u32,
    choice: u16,
}

impl Search {
    fn new(model: Model) -> Search {
        let mut search = Search {
            model,
            visited: HashSet::default(),
            expanded: 0,
            frontier: VecDeque::new(),
            links: vec![Link { parent: 0, choice: 0 }],
            bytes: Bytes::default(),
        };
        let genesis = State::genesis();
        search.visited.insert(search.bytes.hash(&genesis));
        search.frontier.push_back((genesis, 0));
        search
    }

    /// Takes in what follows the state that was popped last; the link of a violating state is the last one.
    fn expand(&mut self, next: &Successors, steps: u16) -> Option<Violation> {
        for (choice, (_, state)) in next.iter().enumerate() {
            let hash = self.bytes.hash(state);
            if self.visited.contains(&hash) {
                continue;
            }
            let choice = u16::try_from(choice).expect("few things may happen at once");
            self.links.push(Link { parent: self.expanded, choice });
            if let Some(violation) = check(state) {
                return Some(violation);
            }
            self.visited.insert(hash);
            self.frontier.push_back((*state, steps + 1));
        }
        self.expanded = self.expanded.checked_add(1).expect("memory ends before numbers do");
        None
    }

    /// The steps from genesis to the state of the last link.
    fn trace(&self) -> Vec<Step> {
        let mut choices = Vec::new();
        let mut at = self.links.len() - 1;
        while at != 0 {
            choices.push(usize::from(self.links[at].choice));
            at = self.links[at].parent as usize;
        }
        let (mut state, mut next) = (State::genesis(), Successors::new());
        let take = |choice: usize| {
            successors(&self.model, &state, &mut next);
            let (step, after) = next[choice];
            state = after;
            step
        };
        choices.into_iter().rev().map(take).collect()
    }
}

/// Gathers what a state feeds to a hasher, so that one call hashes it whole.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn hash(&mut self, state: &State) -> u64 {
        self.0.clear();
        state.hash(self);
        self.finish()
    }
}

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn write_u8(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// The index of an enum's variant: one byte holds all of those here.
    fn write_isize(&mut self, variant: isize) {
        debug_assert!((0..256).contains(&variant), "the enums here are small");
        self.0.push(variant as u8);
    }

    fn finish(&self) -> u64 {
        xxh3_64(&self.0)
    }
}

/// Hands a hash on as it is.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes are stored");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
