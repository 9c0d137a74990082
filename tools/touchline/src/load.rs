//! `touchline load`: matches, bettors and subscribers on a running node, at a rate that does not wait for answers.

use crate::json::{print_line, say};
use anyhow::{Context, anyhow, ensure};
use serde_json::{Value as Json, json};
use std::io::stdout;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use touchline_load::dialect::Use;
use touchline_load::feed::{FeedTally, Plan};
use touchline_load::{Feed, Job, Mix, Pace, Quotes, Tally, Touchline, percentiles, plot, report};

/// Options of `load`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address of the node.
    #[arg(long)]
    address: SocketAddr,
    #[command(flatten)]
    load: Load,
    /// File for the latencies, in HdrHistogram's text format of percentiles, in microseconds.
    #[arg(long)]
    hdr: Option<PathBuf>,
    /// File for a drawing (SVG): latency by percentile, throughput and latency over time.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// What the load is, for every command that makes one.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Load {
    /// Connections that send tickets.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub connections: u32,
    /// Tickets in a second over all connections, sent at their times whatever the answers do. Without it each connection
    /// sends a ticket for each answer.
    #[arg(long, value_parser = rate)]
    pub rate: Option<f64>,
    /// Without --rate: tickets on their way on each connection.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub in_flight: u32,
    /// With --rate: tickets on their way in all at which sending waits; what waits is late by the schedule all the same.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub in_flight_max: u32,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Seconds before them that are not.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub warm_up: u64,
    /// Feed updates in a second; with 0 no match begins.
    #[arg(long, default_value_t = 0.0, value_parser = none_or_rate)]
    pub feed_rate: f64,
    /// Seconds that a match takes.
    #[arg(long, default_value_t = 120.0, value_parser = seconds)]
    pub match_seconds: f64,
    /// Matches side by side.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub fixtures: u32,
    /// Customers.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub customers: u32,
    /// Connections that take all prices.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub subscribers: u32,
    /// Seed of matches, bettors and chance.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Tells the node to keep what is over for so many seconds only; it stays with that.
    #[arg(long)]
    pub retention_seconds: Option<u64>,
}

/// What came of a load.
pub(crate) struct Outcome {
    /// The tickets.
    pub tally: Tally,
    /// The feed.
    pub feed: FeedTally,
}

/// A load whose accounts and matches are open.
pub(crate) struct Opened<'l> {
    load: &'l Load,
    address: SocketAddr,
    mix: Mix,
    feed: Feed,
}

impl Opened<'_> {
    /// Puts the load on the node and takes it off again.
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        let Opened { load, address, mut mix, feed } = self;
        let mut quotes = Quotes::new(feed.first_fixture());
        let job = load.job(address, feed.markets());
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let feed = scope.spawn(|| feed.run(&stop));
            let tally = touchline_load::run(job, &mut mix, &mut quotes);
            stop.store(true, Ordering::Relaxed);
            let feed = feed.join().map_err(|_| anyhow!("the feed panicked"))?;
            // Where the node is gone both fail; what befell the tickets says more.
            let tally = tally?;
            Ok(Outcome { tally, feed: feed? })
        })
    }
}

/// Runs a load on a node that runs already.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let outcome = args.load.put_on(args.address)?;
    if let Some(path) = &args.hdr {
        let text = percentiles::text(&outcome.tally.latency_ns);
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.plot {
        let drawing = plot::svg(&args.load.title(), &outcome.tally);
        std::fs::write(path, drawing).with_context(|| format!("writing {}", path.display()))?;
    }
    if args.json {
        print_line(&mut stdout(), &args.load.json(&outcome))?;
    } else {
        outcome.print()?;
    }
    outcome.check()
}

impl Load {
    /// As many decisions as go through: to fill a journal.
    pub(crate) fn filling() -> Self {
        Load {
            connections: 4,
            rate: None,
            in_flight: 256,
            in_flight_max: 1_000_000,
            seconds: 2,
            warm_up: 0,
            feed_rate: 0.0,
            match_seconds: 120.0,
            fixtures: 200,
            customers: 10_000,
            subscribers: 1,
            seed: 1,
            retention_seconds: None,
        }
    }

    /// Opens accounts and matches, puts the load on a node and takes it off again.
    pub(crate) fn put_on(&self, address: SocketAddr) -> anyhow::Result<Outcome> {
        self.open(address)?.run()
    }

    /// Opens accounts and matches.
    pub(crate) fn open(&self, address: SocketAddr) -> anyhow::Result<Opened<'_>> {
        let mix = Mix::new(self.seed, self.customers.into());
        let plan = Plan {
            fixtures: self.fixtures.into(),
            rate: self.feed_rate,
            match_s: self.match_seconds,
            seed: self.seed,
            retention: self.retention_seconds.map(Duration::from_secs),
        };
        let feed = Feed::open(address, plan, mix.accounts())?;
        Ok(Opened { load: self, address, mix, feed })
    }

    fn job(&self, address: SocketAddr, markets: usize) -> Job<Touchline> {
        let counts = (1..self.subscribers).map(|_| Touchline::new(Use::Counts));
        Job {
            address,
            senders: (0..self.connections).map(|_| Touchline::new(Use::Bets)).collect(),
            listeners: std::iter::once(Touchline::new(Use::Notes)).chain(counts).collect(),
            pace: match self.rate {
                Some(rate) => Pace::Open { rate, in_flight_max: self.in_flight_max as usize },
                None => Pace::Closed { in_flight: self.in_flight as usize },
            },
            warm_up: Duration::from_secs(self.warm_up),
            length: Duration::from_secs(self.seconds),
            drain: Duration::from_secs(10),
            // In a match that has run for a while some markets are decided.
            markets_min: if self.feed_rate > 0.0 { markets / 2 } else { markets },
        }
    }

    /// The load in a few words.
    pub(crate) fn title(&self) -> String {
        let pace = match self.rate {
            Some(rate) => format!("{rate} tickets/s"),
            None => format!("{} in flight each", self.in_flight),
        };
        format!(
            "{} connections, {pace}, {} feed updates/s, {} s",
            self.connections, self.feed_rate, self.seconds
        )
    }

    /// Everything for programs.
    pub(crate) fn json(&self, outcome: &Outcome) -> Json {
        let mut object = report::tickets(&outcome.tally);
        let load = json!({
            "connections": self.connections,
            "in_flight": self.rate.is_none().then_some(self.in_flight),
            "rate": self.rate,
            "feed_rate": self.feed_rate,
            "feed": report::feed(&outcome.feed),
        });
        if let (Json::Object(object), Json::Object(load)) = (&mut object, load) {
            object.extend(load);
        }
        object
    }
}

impl Outcome {
    /// Fails where an answer is missing or wrong.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let wrong = self.tally.wrong();
        ensure!(wrong.is_none(), "{}", wrong.unwrap_or_default());
        ensure!(
            self.feed.unanswered == 0,
            "{} commands of the feed were never answered",
            self.feed.unanswered
        );
        Ok(())
    }

    fn print(&self) -> anyhow::Result<()> {
        let (tally, feed) = (&self.tally, &self.feed);
        say!("decisions    {:.1} a second over {:.0} s", tally.decisions_per_second(), tally.measured_s());
        say!("latency µs   {}", report::latency_us(&tally.latency_ns));
        say!("sent late µs {}", report::latency_us(&tally.late_ns));
        say!("sent         {}, {} of them again", tally.sent, tally.again);
        say!("decided      {}: {}", tally.decided(), report::by_code(&tally.decisions));
        say!("refused      {}: {}", tally.refusals(), report::by_code(&tally.refused));
        if tally.refusals() > 0 {
            say!("refusals µs  {}", report::latency_us(&tally.refusal_ns));
        }
        say!("unanswered   {}", tally.unanswered);
        say!("odds updates {}", tally.told);
        say!(
            "feed         {} updates, {} suspensions, {} matches settled",
            feed.updates,
            feed.suspensions,
            feed.settled
        );
        if feed.updates > 0 {
            say!("updates µs   {}", report::latency_us(&feed.update_ns));
            say!("suspended µs {}", report::latency_us(&feed.suspension_ns));
        }
        Ok(())
    }
}

/// Parses a rate of tickets.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.1..=10_000_000.0).contains(rate));
    rate.ok_or_else(|| "must be 0.1 to 10000000 in a second".into())
}

/// Parses a rate of updates.
pub(crate) fn none_or_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.0..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| "must be 0 to 1000000 in a second".into())
}

/// Parses the length of a match.
pub(crate) fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (1.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "must be 1 to 86400 seconds".into())
}
