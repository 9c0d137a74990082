//! The script language: one JSON command a line, straight to the deterministic core; each effect as one JSON line.
//!
//! `SCRIPT.md` beside this crate is its manual, `schema.json` its schema. A script has its own clock, which only
//! moves when the script says so, so the same script always prints the same lines.
//!
//! **Never:** a line that is not understood is skipped; an unknown kind or field is an error with its line number.

pub mod language;
mod parse;
pub mod run;
pub mod show;
pub mod units;

pub use run::{Options, ScriptError, run};

/// The JSON schema of a line.
pub fn schema() -> String {
    let schema = schemars::schema_for!(language::Line);
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is JSON");
    text.push('\n');
    text
}
