//! Recorded football matches: two CSV files, one row a match and one row an event.
//!
//! `wyscout_matches.csv` gives sides, result, lengths of the halves and quoted odds; `wyscout_events.csv` goals,
//! cards and corners with the second of their half. Columns are found by their names; more may stand beside.

mod matches;
mod play;
mod table;

pub use matches::{Basis, Recorded, decode};
pub use play::{Prior, TICK_MS, timeline};
pub use table::CsvError;
