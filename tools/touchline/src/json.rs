//! Readable values of the protocol as JSON, and JSON lines on stdout.

use anyhow::Context;
use serde_json::{Map, Value as Json};
use std::io::Write;
use touchline_protocol::wire::Value;

/// A readable value as JSON; fields keep the order of the wire.
pub(crate) fn json(value: &Value) -> Json {
    match value {
        Value::Uint(n) => (*n).into(),
        Value::Int(n) => (*n).into(),
        Value::Bool(b) => (*b).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(entries) => entries.iter().map(json).collect(),
        Value::Record(fields) => {
            fields.iter().map(|(name, value)| ((*name).to_owned(), json(value))).collect::<Map<_, _>>().into()
        }
    }
}

/// Prints one value as one line. A reader that went away ends the command with an error, not a panic.
pub(crate) fn print_line(out: &mut impl Write, value: &Json) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from).context("writing to stdout")?;
    out.write_all(b"\n").context("writing to stdout")
}
