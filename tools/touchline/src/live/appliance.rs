//! A node as a child process: started, killed without warning, stopped cleanly.

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// How a node is started.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Configuration file, where the defaults will not do.
    pub config: Option<PathBuf>,
    /// Folder of its journal.
    pub journal: PathBuf,
    /// File for its log.
    pub log: PathBuf,
    /// Threads that apply frames.
    pub shards: u16,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
}

/// A running node.
pub(crate) struct Appliance {
    setup: Setup,
    child: Child,
    lines: BufReader<ChildStdout>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Frames that it replayed at its start.
    pub frames_replayed: u64,
    /// From the start of the process to its readiness.
    pub took: Duration,
}

/// What a node attested when it stopped.
#[derive(Clone, Debug)]
pub(crate) struct Stopped {
    /// Hash of the whole state.
    pub fingerprint: String,
    /// Profit of the house, minor units.
    pub profit_minor: i64,
}

impl Appliance {
    /// Starts a node and waits until it serves.
    pub(crate) fn start(setup: Setup) -> anyhow::Result<Self> {
        let begun = Instant::now();
        let program = std::env::current_exe().context("finding this program")?;
        let log = File::options().create(true).append(true).open(&setup.log);
        let log = log.with_context(|| format!("opening {}", setup.log.display()))?;
        let config = setup.config.iter().flat_map(|path| [OsStr::new("--config"), path.as_os_str()]);
        let mut child = Command::new(program)
            .arg("node")
            .args(config)
            .args(["--json", "--stop-with-stdin", "--shards", &setup.shards.to_string()])
            .args(["--listen", &setup.listen.to_string()])
            .arg("--journal")
            .arg(&setup.journal)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("starting a node")?;
        let mut lines = BufReader::new(child.stdout.take().context("the node has no output")?);
        let ready = match next_line(&mut lines, "ready") {
            Ok(ready) => ready,
            Err(error) => {
                let _ = child.wait();
                return Err(error.context(told(&setup)));
            }
        };
        let address = ready["address"].as_str().and_then(|text| text.parse().ok());
        Ok(Appliance {
            setup,
            child,
            lines,
            address: address.ok_or_else(|| anyhow!("the node told no address: {ready}"))?,
            frames_replayed: ready["frames"].as_u64().unwrap_or(0),
            took: begun.elapsed(),
        })
    }

    /// Number of its process.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Kills it without warning (SIGKILL).
    pub(crate) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill().context("killing the node")?;
        self.child.wait().context("waiting for the killed node")?;
        Ok(())
    }

    /// Starts it again on the same journal and address after [`Self::kill`].
    pub(crate) fn restart(&mut self, shards: u16) -> anyhow::Result<()> {
        let setup = Setup { listen: self.address, shards, ..self.setup.clone() };
        *self = Appliance::start(setup)?;
        Ok(())
    }

    /// An error of a run, with what the node said last where it said anything.
    pub(crate) fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        if std::fs::metadata(&self.setup.log).is_ok_and(|log| log.len() > 0) {
            return error.context(told(&self.setup));
        }
        error
    }

    /// Stops it cleanly and takes its last word.
    pub(crate) fn stop(mut self) -> anyhow::Result<Stopped> {
        let pid = Pid::from_raw(self.child.id() as i32).context("the node has no process id")?;
        kill_process(pid, Signal::TERM).context("asking the node to stop")?;
        let stopped = next_line(&mut self.lines, "stopped").with_context(|| told(&self.setup))?;
        self.child.wait().context("waiting for the node to end")?;
        let fingerprint = stopped["fingerprint"].as_str().map(str::to_owned);
        let profit_minor = stopped["profit_minor"].as_i64();
        match fingerprint.zip(profit_minor) {
            Some((fingerprint, profit_minor)) => Ok(Stopped { fingerprint, profit_minor }),
            None => bail!("the node's last word is incomplete: {stopped}"),
        }
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        // A node that was stopped or killed is gone already; its number is not used again before it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn next_line(lines: &mut impl BufRead, event: &str) -> anyhow::Result<Json> {
    let mut line = String::new();
    if lines.read_line(&mut line).context("reading from the node")? == 0 {
        bail!("the node ended before it was {event}");
    }
    let told: Json = serde_json::from_str(&line).with_context(|| format!("the node said {line:?}"))?;
    if told["event"] == event { Ok(told) } else { bail!("the node said {line:?} where {event} was due") }
}

/// The end of the node's own log: what it said itself.
fn told(setup: &Setup) -> String {
    let log = std::fs::read_to_string(&setup.log).unwrap_or_default();
    let end: Vec<&str> = log.lines().rev().take(3).collect();
    let end: Vec<&str> = end.into_iter().rev().collect();
    format!("the node (log {}) said: {}", setup.log.display(), end.join(" | "))
}
