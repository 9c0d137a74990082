//! Recorded and live matches as one form: a [`Timeline`] of reports, each with its whole scoreboard.
//!
//! A decoder turns a source's bytes into timelines; a runner sends a timeline's commands when they are due.
//!
//! **Never:** a decoder opens a file or a socket, reads a clock, or tells the engine anything before the match
//! did: lengths of periods and results are in the timeline, not in the commands sent before their time.

pub mod timeline;
pub mod wyscout;

pub use timeline::{Opening, Report, Timeline};
