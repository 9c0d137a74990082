//! `touchline top`: what a running node does at this moment, stage by stage.

use crate::json::{print_line, write_out};
use crate::screen::{draw_node, painted};
use anyhow::{Context, bail};
use serde_json::{Value, json};
use std::fmt::Write;
use std::io::{BufRead, BufReader, IsTerminal, Write as _, stdout};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use touchline_node::Config;

/// Which node is asked.
#[derive(clap::Args)]
pub(crate) struct Whom {
    /// The node's admin socket.
    #[arg(long, conflicts_with = "config")]
    admin: Option<PathBuf>,
    /// The node's configuration file, which says where its admin socket is.
    #[arg(long)]
    config: Option<PathBuf>,
}

impl Whom {
    /// Connects to it.
    pub(crate) fn connect(&self) -> anyhow::Result<Asked> {
        let path = match (&self.admin, &self.config) {
            (Some(path), _) => path.clone(),
            (None, Some(file)) => Config::load(file)?.node.admin_path(),
            (None, None) => Config::standard().node.admin_path(),
        };
        Asked::connect(&path)
    }
}

/// Options of `top`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Seconds from look to look.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    interval: f64,
    /// Looks before it ends; without it, for ever.
    #[arg(long)]
    looks: Option<u64>,
    /// One JSON object a look.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
    (0.1..=3600.0).contains(&value).then_some(value).ok_or_else(|| "must be 0.1 to 3600 seconds".into())
}

/// Shows a node until it ends, or for so many looks.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut node = args.whom.connect()?;
    let repaint = stdout().is_terminal() && !args.json && args.looks != Some(1);
    // The first answer tells of the time since the node's start.
    let mut before = (Instant::now(), node.ask("measures")?);
    for look in 0..args.looks.unwrap_or(u64::MAX) {
        let due = before.0 + Duration::from_secs_f64(args.interval);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let status = node.ask("status")?;
        let now = (Instant::now(), node.ask("measures")?);
        let rates = rates(&before, &now);
        if args.json {
            print_line(&mut stdout(), &json!({ "status": status, "measures": now.1, "per_second": rates }))?;
        } else {
            let mut page = String::new();
            if !repaint && look > 0 {
                page.push('\n');
            }
            // Writing to a string cannot fail.
            let _ = draw(&status, &now.1, &rates, &mut page);
            write_out(format_args!("{}", painted(&page, repaint)))?;
        }
        before = now;
    }
    Ok(())
}

/// A conversation with an admin socket.
pub(crate) struct Asked {
    reader: BufReader<UnixStream>,
}

impl Asked {
    /// Connects.
    pub(crate) fn connect(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| {
            format!("asking the node at {}; is it running, and is this its admin socket?", path.display())
        })?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Asked { reader: BufReader::new(stream) })
    }

    /// Asks one question.
    pub(crate) fn ask(&mut self, what: &str) -> anyhow::Result<Value> {
        let question = format!("{}\n", json!({ "ask": what }));
        self.reader.get_mut().write_all(question.as_bytes()).context("the node has ended")?;
        let mut line = String::new();
        if self.reader.read_line(&mut line).context("waiting for the node")? == 0 {
            bail!("the node has ended");
        }
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("the node said {line:?}"))?;
        match answer["error"].as_str() {
            None => Ok(answer),
            Some(error) => bail!("the node refused: {error}"),
        }
    }
}

/// Counters and frames in a second between two looks.
fn rates(before: &(Instant, Value), now: &(Instant, Value)) -> Value {
    let seconds = (now.0 - before.0).as_secs_f64();
    let grown = |then: &Value, now: &Value| {
        (now.as_u64().unwrap_or(0).saturating_sub(then.as_u64().unwrap_or(0))) as f64 / seconds
    };
    let counters = now.1["counters"].as_object().into_iter().flatten();
    let mut rates: serde_json::Map<String, Value> = counters
        .map(|(name, count)| (name.clone(), json!(grown(&before.1["counters"][name], count))))
        .filter(|(_, rate)| rate.as_f64() != Some(0.0))
        .collect();
    rates.insert("committed".into(), json!(grown(&before.1["committed"], &now.1["committed"])));
    rates.into()
}

fn draw(status: &Value, measures: &Value, rates: &Value, page: &mut String) -> std::fmt::Result {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    writeln!(
        page,
        "node {} at {}, epoch {}, committed frame {}, up {} s",
        text(&status["role"]),
        text(&status["address"]),
        status["epoch"],
        status["committed"],
        status["uptime_s"]
    )?;
    draw_node(measures, page)?;
    writeln!(page, "\nper second")?;
    for (name, rate) in rates.as_object().into_iter().flatten() {
        writeln!(page, "  {name:<24} {:>12.1}", rate.as_f64().unwrap_or(0.0))?;
    }
    Ok(())
}
