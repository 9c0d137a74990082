//! The appliance as a contender: a node as a child process of this program, its accounts and matches.

use crate::contender::Contender;
use crate::server::Folder;
use anyhow::{Context, anyhow};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use touchline_load::dialect::Use;
use touchline_load::feed::Plan;
use touchline_load::{Feed, Mix, Quotes, Touchline};
use touchline_node::{Config, Node};

/// Limits that the load does not reach.
const RULES: &str = r#"
[cluster.rules]
max_stake = "1000000"
max_payout = "100000000"
max_odds = "10000"
customer_limit = "10000000000"
pre_match = { selection = "10000000000", market = "10000000000", fixture = "10000000000" }
live = { selection = "10000000000", market = "10000000000", fixture = "10000000000" }
[node]
listen = "127.0.0.1:0"
"#;

/// A node with matches on sale.
pub(crate) struct Appliance {
    child: Child,
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    feed: Option<JoinHandle<()>>,
}

impl Appliance {
    /// Starts a node and opens accounts and matches.
    pub(crate) fn start(folder: &Folder, mix: &Mix, fixtures: u64) -> anyhow::Result<(Self, Quotes)> {
        let home = folder.sub("touchline")?;
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .arg("--node")
            .arg(home.join("journal"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting a node")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("the node has no output")?;
        BufReader::new(stdout).read_line(&mut line).context("reading from the node")?;
        let address = line.trim().parse().with_context(|| format!("the node said {line:?}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut appliance = Appliance { child, address, stop: Arc::clone(&stop), feed: None };
        let plan = Plan { fixtures, rate: 0.0, match_s: 1.0, seed: 1, retention: None };
        let feed = Feed::open(address, plan, mix.accounts())?;
        let quotes = Quotes::new(feed.first_fixture());
        // It keeps the source's promise for as long as the node is measured.
        appliance.feed = Some(std::thread::spawn(move || {
            if let Err(error) = feed.run(&stop) {
                eprintln!("the feed ended: {error}");
            }
        }));
        Ok((appliance, quotes))
    }
}

impl Contender for Appliance {
    type Dialect = Touchline;

    fn address(&self) -> SocketAddr {
        self.address
    }

    fn dialect(&self) -> Touchline {
        Touchline::new(Use::Bets)
    }

    fn listeners(&self) -> Vec<Touchline> {
        vec![Touchline::new(Use::Notes)]
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(feed) = self.feed.take() {
            let _ = feed.join();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's side: a node that says its address and stops when its input ends.
pub(crate) fn serve(journal: &Path) -> anyhow::Result<()> {
    let mut config = Config::parse(RULES, Path::new("built in"))?;
    config.node.journal = journal.to_owned();
    let node = Node::start(&config, u128::from(std::process::id()))?;
    println!("{}", node.address());
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    node.stop().map(|_| ()).map_err(|why| anyhow!("stopping: {why}"))
}
