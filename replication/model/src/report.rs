//! What one search found, as a row of a table or as JSON.

mod object;
pub(crate) mod table;

pub(crate) use object::json;

use touchline_model::{Ending, Model, Outcome};

/// One search with its name and the time it took.
pub(crate) struct Report {
    pub(crate) name: &'static str,
    pub(crate) model: Model,
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
}

impl Report {
    /// A broken rule must show, and the whole protocol must not be violated.
    pub(crate) fn is_expected(&self) -> bool {
        matches!(self.outcome.ending, Ending::Violated { .. }) == self.model.mutation.is_some()
    }
}
