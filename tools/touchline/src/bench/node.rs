//! The node that a benchmark measures: a child process with a journal of its own.

use crate::live::{Appliance, Setup};
use crate::replay::Folder;
use anyhow::Context;
use std::net::{Ipv4Addr, SocketAddr};

/// The node that is measured.
#[derive(clap::Args, Clone)]
pub(crate) struct NodeOptions {
    /// A line for `[node]` of its configuration, e.g. `--node segment_mib=256`; may be repeated.
    #[arg(long = "node", value_name = "KEY=VALUE")]
    pub lines: Vec<String>,
    /// Threads that apply frames.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub shards: u16,
}

/// Limits that such a load does not reach: what is measured is a decision, not its refusal.
const RULES: &str = r#"
[cluster.rules]
max_stake = "1000000"
max_payout = "100000000"
max_odds = "10000"
customer_limit = "10000000000"
pre_match = { selection = "10000000000", market = "10000000000", fixture = "10000000000" }
live = { selection = "10000000000", market = "10000000000", fixture = "10000000000" }
"#;

impl NodeOptions {
    /// The same with another line, unless it was given already.
    pub(crate) fn with(&self, key: &str, value: &str) -> Self {
        let mut node = self.clone();
        if !self.says(key) {
            node.lines.push(format!("{key} = {value}"));
        }
        node
    }

    fn says(&self, key: &str) -> bool {
        self.lines.iter().any(|line| line.split('=').next().is_some_and(|named| named.trim() == key))
    }
}

/// Starts a node on an empty journal with room for so many connections and those that open what is bet on.
pub(crate) fn start(folder: &Folder, node: &NodeOptions, connections: u32) -> anyhow::Result<Appliance> {
    let config = folder.journal.with_extension("toml");
    let mut text = format!("{RULES}\n[node]\n");
    let node = node.with("connections_max", &(u64::from(connections) + 16).to_string());
    node.lines.iter().for_each(|line| text += &format!("{line}\n"));
    std::fs::write(&config, text).with_context(|| format!("writing {}", config.display()))?;
    Appliance::start(Setup {
        config: Some(config),
        journal: folder.journal.clone(),
        log: folder.log(),
        shards: node.shards,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    })
}
