//! Lines on stdout, for people and programs, that a reader may stop reading.

use anyhow::Context;
use serde_json::Value as Json;
use std::io::Write;

/// Prints a line; a reader that went away (`| head`) ends the output silently, any other failure is an error.
macro_rules! say {
    ($($part:tt)*) => { $crate::json::write_out(format_args!("{}\n", format_args!($($part)*)))? };
}
pub(crate) use say;

/// Writes to stdout; see [`say`].
pub(crate) fn write_out(text: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    match std::io::stdout().write_fmt(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("writing to stdout")
        }
        _ => Ok(()),
    }
}

/// Prints one value as one line. A reader that went away ends the command with an error, not a panic.
pub(crate) fn print_line(out: &mut impl Write, value: &Json) -> anyhow::Result<()> {
    let written = serde_json::to_writer(&mut *out, value).map_err(std::io::Error::from);
    written.and_then(|()| out.write_all(b"\n")).context("writing to stdout")
}
