//! `touchline script`: JSON commands straight to the core.

use crate::json::write_out;
use anyhow::Context;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, stdin, stdout};
use std::path::PathBuf;
use touchline_script::Options;

/// Options of `script`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File with one JSON command a line; `-` reads stdin.
    #[arg(required_unless_present = "schema")]
    file: Option<PathBuf>,
    /// Shards that host the partitions; the output does not depend on it.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
    /// Print the JSON schema of a line instead.
    #[arg(long)]
    schema: bool,
}

/// Runs a script.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Some(path) = args.file.as_ref().filter(|_| !args.schema) else {
        return write_out(format_args!("{}", touchline_script::schema()));
    };
    let input: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(stdin())
    } else {
        Box::new(File::open(path).with_context(|| format!("opening {}", path.display()))?)
    };
    let mut out = BufWriter::new(stdout().lock());
    let options = Options { shards: args.shards.into() };
    touchline_script::run(BufReader::new(input), &mut out, options)
        .with_context(|| path.display().to_string())
}
