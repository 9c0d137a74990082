//! Configuration: one file in two halves, parsed once into valid values.
//!
//! `[cluster]` enters the log at the first start and never changes what `apply` decides by being edited: later
//! differences are reported, and take effect only when an operator logs them. `[node]` is local.

pub mod replication;

use replication::ReplicationConfig;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use touchline_protocol::*;
use touchline_runtime::idle::Policy;

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("reading {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The text is no configuration; the message names line and key.
    #[error("{path}: {error}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What and where.
        #[source]
        error: Box<toml::de::Error>,
    },
    /// A value cannot be.
    #[error("{path}: {key} = {value}: {must}")]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What it holds.
        value: String,
        /// What it must be.
        must: String,
    },
}

/// A whole configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What enters the log.
    #[serde(default)]
    pub cluster: Cluster,
    /// What is this node's own.
    #[serde(default)]
    pub node: NodeConfig,
    /// Which party of a cluster this process is; none where a node stands alone.
    pub replication: Option<ReplicationConfig>,
}

/// The half that enters the log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cluster {
    /// The cluster's number, in every frame.
    pub id: u64,
    /// Number of partitions.
    pub partitions: u16,
    /// Key of the fingerprints and of the tags of archived records.
    pub fingerprint_key: u64,
    /// How long decisions are remembered.
    pub result_window_hours: u64,
    /// How far ahead a ticket id may be issued.
    pub future_skew_ms: u32,
    /// How long a fixture that is over stays in memory; 0 keeps everything.
    pub retention_hours: u64,
    /// Room, per partition.
    pub capacity: Capacity,
    /// Rules for bets.
    pub rules: RulesConfig,
    /// The brands.
    pub brands: Vec<BrandConfig>,
    /// Material changes.
    pub material: Vec<MaterialConfig>,
}

/// Room of each partition.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capacity {
    /// Tickets waiting for another partition.
    pub pending: u32,
    /// Decisions remembered.
    pub results: u32,
    /// Accounts.
    pub accounts: u32,
    /// Fixtures.
    pub fixtures: u32,
    /// Markets of a fixture.
    pub markets_per_fixture: u32,
}

/// Rules for bets; amounts in units of currency with at most two decimals.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RulesConfig {
    /// Smallest stake.
    pub min_stake: Decimal,
    /// Largest stake.
    pub max_stake: Decimal,
    /// Largest payout.
    pub max_payout: Decimal,
    /// Highest odds.
    pub max_odds: Decimal,
    /// Margin on football, percent.
    pub football_margin_percent: Decimal,
    /// Margin on tennis, percent.
    pub tennis_margin_percent: Decimal,
    /// Open liability of a customer.
    pub customer_limit: Decimal,
    /// Longest promise of a source, seconds: how far ahead of now its `alive_until` may lie.
    pub source_horizon_seconds: u32,
    /// Limits before the start.
    pub pre_match: LimitsConfig,
    /// Limits in play.
    pub live: LimitsConfig,
}

/// Limits on the worst loss.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Of a selection.
    pub selection: Decimal,
    /// Of a market.
    pub market: Decimal,
    /// Of a fixture.
    pub fixture: Decimal,
}

/// A brand.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrandConfig {
    /// Its number.
    pub id: u16,
    /// ISO 4217 currency.
    pub currency: String,
}

/// A cell of the table of material changes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaterialConfig {
    /// FOOTBALL, TENNIS or OTHER.
    pub sport: String,
    /// The event's name.
    pub event: String,
    /// Market number, 0 for all.
    #[serde(default)]
    pub market: u16,
}

/// The half that is local.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// This node's number in epochs.
    pub id: u64,
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Files in shared memory through which one client each on this machine talks to the node.
    pub shared_memory: Vec<PathBuf>,
    /// A second listener, with TLS.
    pub tls: Option<TlsConfig>,
    /// Folder of the journal.
    pub journal: PathBuf,
    /// Where the admin socket is; beside the journal's folder where nothing is said.
    pub admin: Option<PathBuf>,
    /// Size of a segment.
    pub segment_mib: u64,
    /// Folder to which full segments of the journal are copied, with signatures.
    pub archive: Option<PathBuf>,
    /// File with the key of these signatures.
    pub archive_key: Option<PathBuf>,
    /// Frames from snapshot to snapshot; 0 keeps none.
    pub snapshot_every_frames: u64,
    /// Threads that apply frames.
    pub shards: usize,
    /// Threads that apply the journal at a start; 0 is one a core.
    pub replay_threads: usize,
    /// Connections at once.
    pub connections_max: usize,
    /// Tickets inside the node at once.
    pub tickets_in_flight_max: usize,
    /// Other commands inside the node at once.
    pub commands_in_flight_max: usize,
    /// Answers and events that may wait for a connection.
    pub outbound_kib_max: usize,
    /// How long a connection may take to say Hello, milliseconds.
    pub hello_timeout_ms: u64,
    /// How long tickets may stay inside before fewer are let in, milliseconds.
    pub ticket_stay_target_ms: u64,
    /// Size of the ring from which journal and shards read frames, a power of two, MiB.
    pub log_ring_mib: u64,
    /// What a thread does that has nothing to do.
    pub idle: Policy,
    /// How sockets are served.
    pub sockets: SocketsConfig,
    /// How far the clock may be ahead of the journal's last frame at a start, hours.
    pub clock_jump_max_h: u32,
    /// That bound does not hold. Of one start and from its command line, never from a file: a file would say it of
    /// every start.
    #[serde(skip)]
    pub trust_clock: bool,
}

/// A listener with TLS 1.3.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// PEM file with the certificate, and intermediate ones behind it.
    pub certificate: PathBuf,
    /// PEM file with its key.
    pub key: PathBuf,
    /// PEM file of the authorities of which a client must show a certificate; without it every client is let in.
    pub client_authority: Option<PathBuf>,
}

/// How sockets are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SocketsConfig {
    /// With io_uring where the system allows it, else with epoll.
    #[default]
    Best,
    /// With io_uring, or not at all.
    IoUring,
    /// With epoll.
    Epoll,
}

impl Default for Cluster {
    fn default() -> Self {
        let material =
            |sport: &str, event: &str| MaterialConfig { sport: sport.into(), event: event.into(), market: 0 };
        Cluster {
            id: 1,
            partitions: 64,
            fingerprint_key: 0x544F_5543_484C_494E,
            result_window_hours: 24,
            future_skew_ms: 60_000,
            retention_hours: 168,
            capacity: Capacity::default(),
            rules: RulesConfig::default(),
            brands: vec![BrandConfig { id: 1, currency: "EUR".into() }],
            material: vec![
                material("FOOTBALL", "GOAL"),
                material("FOOTBALL", "GOAL_CANCELLED"),
                material("FOOTBALL", "RED_CARD"),
                material("TENNIS", "POINT"),
            ],
        }
    }
}

impl Default for Capacity {
    fn default() -> Self {
        Capacity {
            pending: 4096,
            results: 1_000_000,
            accounts: 100_000,
            fixtures: 1000,
            markets_per_fixture: 200,
        }
    }
}

impl Default for RulesConfig {
    fn default() -> Self {
        let limits = |selection, market, fixture| LimitsConfig {
            selection: Decimal::from(selection),
            market: Decimal::from(market),
            fixture: Decimal::from(fixture),
        };
        RulesConfig {
            min_stake: Decimal::new(10, 2),
            max_stake: Decimal::from(5_000),
            max_payout: Decimal::from(100_000),
            max_odds: Decimal::from(1_000),
            football_margin_percent: Decimal::from(5),
            tennis_margin_percent: Decimal::from(5),
            customer_limit: Decimal::from(20_000),
            source_horizon_seconds: 300,
            pre_match: limits(50_000, 60_000, 100_000),
            live: limits(30_000, 40_000, 60_000),
        }
    }
}

impl Default for NodeConfig {
    fn default() -> Self {
        NodeConfig {
            id: 1,
            listen: SocketAddr::from(([127, 0, 0, 1], 7400)),
            shared_memory: Vec::new(),
            tls: None,
            journal: PathBuf::from("journal"),
            admin: None,
            segment_mib: 64,
            archive: None,
            archive_key: None,
            snapshot_every_frames: 1_000_000,
            shards: 1,
            replay_threads: 0,
            connections_max: 1024,
            tickets_in_flight_max: 16_384,
            commands_in_flight_max: 1024,
            outbound_kib_max: 4096,
            hello_timeout_ms: 10_000,
            ticket_stay_target_ms: 20,
            log_ring_mib: 16,
            idle: Policy::Adaptive,
            sockets: SocketsConfig::Best,
            clock_jump_max_h: 24,
            trust_clock: false,
        }
    }
}

impl Config {
    /// The defaults.
    pub fn standard() -> Self {
        Config { cluster: Cluster::default(), node: NodeConfig::default(), replication: None }
    }

    /// Reads a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Read { path: path.to_owned(), error })?;
        Self::parse(&text, path)
    }

    /// Parses and checks a text; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let config: Config = toml::from_str(text)
            .map_err(|error| ConfigError::Parse { path: path.to_owned(), error: Box::new(error) })?;
        let wrong = |(key, value, must): (&'static str, String, String)| ConfigError::Value {
            path: path.to_owned(),
            key,
            value,
            must,
        };
        config.genesis().map_err(wrong)?;
        config.configure().map_err(wrong)?;
        config.retention().map_err(wrong)?;
        config.node.check().map_err(wrong)?;
        config.replication.iter().try_for_each(|section| section.check(&config.node)).map_err(wrong)?;
        Ok(config)
    }

    /// The genesis frame of a new log.
    pub fn genesis(&self) -> Result<Genesis, Wrong> {
        let c = &self.cluster;
        if c.id == 0 {
            return Err(("cluster.id", "0".into(), "must be at least 1; 0 is no cluster".into()));
        }
        let genesis = Genesis {
            mode: ClusterMode::Standalone,
            logic_version: touchline_core::rules::LOGIC_VERSION,
            partitions: c.partitions,
            fingerprint_key: c.fingerprint_key,
            result_window_ms: c.result_window_hours.saturating_mul(3_600_000),
            future_skew_ms: c.future_skew_ms,
            pending_max: c.capacity.pending,
            results_max: c.capacity.results,
            accounts_max: c.capacity.accounts,
            fixtures_max: c.capacity.fixtures,
            markets_max: c.capacity.markets_per_fixture,
        };
        in_range(genesis.clone().into(), "cluster")?;
        Ok(genesis)
    }

    /// The retention that a new log begins with.
    pub fn retention(&self) -> Result<SetRetention, Wrong> {
        let retention_ms = self.cluster.retention_hours.saturating_mul(3_600_000);
        let retention =
            SetRetention { retention_ms, operator: OperatorId(0), note: Text::cut("configuration") };
        in_range(retention.clone().into(), "cluster.retention_hours")?;
        Ok(retention)
    }

    /// The first configuration frame of a new log.
    pub fn configure(&self) -> Result<Configure, Wrong> {
        let r = &self.cluster.rules;
        let brands = self.cluster.brands.iter().map(|brand| {
            let currency = Currency::parse(&brand.currency);
            let must = || {
                (
                    "cluster.brands.currency",
                    brand.currency.clone(),
                    "must be three capital letters".to_owned(),
                )
            };
            Ok(BrandRule { brand: BrandId(brand.id), currency: currency.ok_or_else(must)? })
        });
        let material = self.cluster.material.iter().map(|rule| {
            let unknown = |key, value: &String| (key, value.clone(), "is not a known name".to_owned());
            Ok(MaterialRule {
                sport: Sport::from_name(&rule.sport)
                    .ok_or_else(|| unknown("cluster.material.sport", &rule.sport))?,
                event: Event::from_name(&rule.event)
                    .ok_or_else(|| unknown("cluster.material.event", &rule.event))?,
                market: rule.market,
            })
        });
        let configure = Configure {
            operator: OperatorId(0),
            min_stake_minor: scaled(r.min_stake, 100, "cluster.rules.min_stake")?,
            max_stake_minor: scaled(r.max_stake, 100, "cluster.rules.max_stake")?,
            max_payout_minor: scaled(r.max_payout, 100, "cluster.rules.max_payout")?,
            max_odds_milli: small(r.max_odds, 1000, "cluster.rules.max_odds")?,
            football_margin_ppm: small(
                r.football_margin_percent,
                10_000,
                "cluster.rules.football_margin_percent",
            )?,
            tennis_margin_ppm: small(r.tennis_margin_percent, 10_000, "cluster.rules.tennis_margin_percent")?,
            customer_limit_minor: scaled(r.customer_limit, 100, "cluster.rules.customer_limit")?,
            selection_limit_pre_minor: scaled(
                r.pre_match.selection,
                100,
                "cluster.rules.pre_match.selection",
            )?,
            selection_limit_live_minor: scaled(r.live.selection, 100, "cluster.rules.live.selection")?,
            market_limit_pre_minor: scaled(r.pre_match.market, 100, "cluster.rules.pre_match.market")?,
            market_limit_live_minor: scaled(r.live.market, 100, "cluster.rules.live.market")?,
            fixture_limit_pre_minor: scaled(r.pre_match.fixture, 100, "cluster.rules.pre_match.fixture")?,
            fixture_limit_live_minor: scaled(r.live.fixture, 100, "cluster.rules.live.fixture")?,
            source_horizon_ms: r.source_horizon_seconds.saturating_mul(1000),
            brands: List(brands.collect::<Result<_, Wrong>>()?),
            material: List(material.collect::<Result<_, Wrong>>()?),
        };
        if configure.brands.len() > 64 || configure.material.len() > 64 {
            return Err((
                "cluster.brands",
                "too many".into(),
                "at most 64 brands and 64 material rules".into(),
            ));
        }
        one_book(&configure.brands)?;
        in_range(configure.clone().into(), "cluster.rules")?;
        Ok(configure)
    }
}

/// Key, value, and what it must be.
pub type Wrong = (&'static str, String, String);

/// The range check of the brands, with the ones that do not fit together by name.
fn one_book(brands: &[BrandRule]) -> Result<(), Wrong> {
    let wrong = |value: String, must: String| Err(("cluster.brands", value, must));
    for (place, brand) in brands.iter().enumerate() {
        let first = &brands[0];
        if brands[..place].iter().any(|other| other.brand == brand.brand) {
            return wrong(format!("id {}", brand.brand), "must be there once only".into());
        }
        if brand.currency != first.currency {
            let must = format!(
                "must be in {} as brand {} is: brands share one book, and there are no exchange rates",
                first.currency, first.brand
            );
            return wrong(format!("id {}, currency {}", brand.brand, brand.currency), must);
        }
    }
    Ok(())
}

fn in_range(body: Body, key: &'static str) -> Result<(), Wrong> {
    body.check_range().map_err(|error| (key, error.field.to_owned(), format!("must be {}", error.must)))
}

/// A decimal times a scale, which must come out whole.
fn scaled(value: Decimal, scale: i64, key: &'static str) -> Result<i64, Wrong> {
    let product = value.checked_mul(Decimal::from(scale)).filter(|product| product.is_integer());
    let must = || (key, value.to_string(), format!("must be a whole number of 1/{scale} and not astronomic"));
    product.and_then(|product| product.to_i64()).ok_or_else(must)
}

fn small(value: Decimal, scale: i64, key: &'static str) -> Result<u32, Wrong> {
    let whole = scaled(value, scale, key)?;
    u32::try_from(whole).map_err(|_| (key, value.to_string(), "must not be negative or astronomic".into()))
}

impl NodeConfig {
    /// The admin socket: as configured, or `NAME.admin` beside the journal's folder `NAME`.
    pub fn admin_path(&self) -> PathBuf {
        self.admin.clone().unwrap_or_else(|| {
            let mut name = self.journal.clone().into_os_string();
            name.push(".admin");
            name.into()
        })
    }

    fn check(&self) -> Result<(), Wrong> {
        let within = |key, value: u64, from: u64, to: u64| {
            let must = || (key, value.to_string(), format!("must be {from} to {to}"));
            (from..=to).contains(&value).then_some(()).ok_or_else(must)
        };
        within("node.segment_mib", self.segment_mib, 2, 4096)?;
        within("node.shards", self.shards as u64, 1, 64)?;
        within("node.replay_threads", self.replay_threads as u64, 0, 64)?;
        within("node.connections_max", self.connections_max as u64, 1, 100_000)?;
        within("node.tickets_in_flight_max", self.tickets_in_flight_max as u64, 1, 10_000_000)?;
        within("node.commands_in_flight_max", self.commands_in_flight_max as u64, 1, 1_000_000)?;
        within("node.outbound_kib_max", self.outbound_kib_max as u64, 64, 1 << 22)?;
        within("node.hello_timeout_ms", self.hello_timeout_ms, 1, 600_000)?;
        within("node.ticket_stay_target_ms", self.ticket_stay_target_ms, 1, 60_000)?;
        within("node.log_ring_mib", self.log_ring_mib, 1, 4096)?;
        if !self.log_ring_mib.is_power_of_two() {
            return Err((
                "node.log_ring_mib",
                self.log_ring_mib.to_string(),
                "must be a power of two".into(),
            ));
        }
        within("node.clock_jump_max_h", self.clock_jump_max_h.into(), 1, 87_600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("appliance.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_a_configuration() {
        let config = parse("").unwrap();
        assert_eq!(config.configure().unwrap().min_stake_minor, 10);
    }

    #[test]
    fn the_shipped_file_says_the_defaults() {
        let shipped = parse(include_str!("../../../config/appliance.toml")).unwrap();
        assert_eq!(format!("{shipped:?}"), format!("{:?}", Config::standard()));
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = parse("[node]\nlissten = \"127.0.0.1:1\"\n").unwrap_err();
        assert!(unknown.contains("lissten") && unknown.contains("line 2"), "{unknown}");
        let window = parse("[cluster]\nresult_window_hours = 3\n").unwrap_err();
        assert!(window.contains("result_window_ms") && window.contains("24 hours"), "{window}");
        let stake = parse("[cluster.rules]\nmin_stake = \"0.001\"\n").unwrap_err();
        assert!(stake.contains("min_stake") && stake.contains("0.001"), "{stake}");
        let shards = parse("[node]\nshards = 0\n").unwrap_err();
        assert!(shards.contains("node.shards") && shards.contains("1 to 64"), "{shards}");
        let ring = parse("[node]\nlog_ring_mib = 3\n").unwrap_err();
        assert!(ring.contains("node.log_ring_mib = 3") && ring.contains("power of two"), "{ring}");
        let idle = parse("[node]\nidle = \"lazy\"\n").unwrap_err();
        assert!(idle.contains("lazy") && idle.contains("adaptive"), "{idle}");
        let nobody = parse("[cluster]\nid = 0\n").unwrap_err();
        assert!(nobody.contains("cluster.id = 0") && nobody.contains("at least 1"), "{nobody}");
        let horizon = parse("[cluster.rules]\nsource_horizon_seconds = 0\n").unwrap_err();
        assert!(horizon.contains("source_horizon_ms") && horizon.contains("24 hours"), "{horizon}");
        let brand = parse("[[cluster.brands]]\nid = 1\ncurrency = \"euro\"\n").unwrap_err();
        assert!(brand.contains("currency") && brand.contains("euro"), "{brand}");
        let brands = |second: &str| {
            parse(&format!("[[cluster.brands]]\nid = 1\ncurrency = \"EUR\"\n[[cluster.brands]]\n{second}\n"))
        };
        assert!(brands("id = 2\ncurrency = \"EUR\"").is_ok());
        let mixed = brands("id = 2\ncurrency = \"GBP\"").unwrap_err();
        assert!(mixed.contains("id 2, currency GBP") && mixed.contains("in EUR as brand 1"), "{mixed}");
        let twice = brands("id = 1\ncurrency = \"EUR\"").unwrap_err();
        assert!(twice.contains("cluster.brands = id 1") && twice.contains("once"), "{twice}");
        let jump = parse("[node]\nclock_jump_max_h = 0\n").unwrap_err();
        assert!(jump.contains("node.clock_jump_max_h") && jump.contains("1 to"), "{jump}");
    }
}
