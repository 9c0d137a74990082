//! `touchline configure`: an edited file's rules become logged commands.

use crate::json::say;
use anyhow::{anyhow, ensure};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use touchline_client::Client;
use touchline_node::Config;
use touchline_protocol::{Code, OperatorId, Role};

/// Options of `configure`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Configuration file whose `[cluster.rules]`, brands, material changes and retention are sent.
    #[arg(long)]
    config: PathBuf,
    /// The node; without it the file's own address.
    #[arg(long)]
    node: Option<SocketAddr>,
    /// Who changes the rules, for the audit.
    #[arg(long)]
    operator: u32,
}

/// Sends the rules.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let config = Config::load(&args.config)?;
    let wrong = |(key, value, must)| anyhow!("{key} = {value}: {must}");
    let (mut rules, mut retention) = (config.configure().map_err(wrong)?, config.retention().map_err(wrong)?);
    (rules.operator, retention.operator) = (OperatorId(args.operator), OperatorId(args.operator));
    let address = args.node.unwrap_or(config.node.listen);
    let mut client = Client::connect(address, Role::Operator, "configure", Duration::from_secs(10))?;
    let done = [client.command(rules)?, client.command(retention)?];
    for done in &done {
        ensure!(done.code == Code::Accepted, "the node answered {}", done.code);
    }
    let [_, last] = &done;
    let changed = done.iter().any(|done| done.changed);
    say!("in force from frame {}{}", last.applied, if changed { "" } else { ": nothing changed" });
    Ok(())
}
