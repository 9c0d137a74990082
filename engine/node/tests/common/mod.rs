//! A node on a folder of its own, and who talks to it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::Duration;
use touchline_client::{Client, Event, new_ticket_id};
use touchline_node::{Config, Node};
use touchline_protocol::*;

pub(crate) const BRAND: BrandId = BrandId(1);
pub(crate) const FIXTURE: FixtureId = FixtureId(7);
pub(crate) const CUSTOMER: CustomerId = CustomerId(11);

/// A folder of its own for each test, removed at the end.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("serve-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn config(folder: &Folder, shards: usize) -> Config {
    let mut config = Config::standard();
    config.node.listen = ([127, 0, 0, 1], 0).into();
    config.node.journal.clone_from(&folder.0);
    config.node.segment_mib = 2;
    config.node.shards = shards;
    config
}

pub(crate) fn start(config: &Config, boot: u128) -> Node {
    Node::start(config, boot).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn client(node: &Node, role: Role) -> Client {
    Client::connect(node.address(), role, "test", Duration::from_secs(20)).unwrap()
}

pub(crate) fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A fixture with a 1x2 market and a customer.
pub(crate) fn set_up(node: &Node) {
    let mut operator = client(node, Role::Operator);
    let far = At(i64::try_from(now_ms()).unwrap() * 1_000_000 + 299_000_000_000);
    let fresh = SourceFresh { source: SourceId(1), alive_until: far };
    let done = operator.command(fresh).unwrap();
    assert_eq!(done.code, Code::Accepted);
    let fixture = OpenFixture {
        fixture: FIXTURE,
        sport: Sport::Football,
        competition: CompetitionId(1),
        tier: 1,
        source: SourceId(1),
        start_at: far,
        margin_ppm: 0,
        best_of: 0,
        home: Text::cut("Home"),
        away: Text::cut("Away"),
    };
    assert!(operator.command(fixture).unwrap().changed);
    let markets = List(vec![MarketSpec { market: MarketKey::new(1, 0), selections: 0 }]);
    assert!(operator.command(OpenMarkets { fixture: FIXTURE, markets }).unwrap().changed);
    let intensities = SetIntensities { fixture: FIXTURE, home_nano: 1_500_000_000, away_nano: 1_100_000_000 };
    assert!(operator.command(intensities).unwrap().changed);
    let account =
        OpenAccount { brand: BRAND, customer: CUSTOMER, currency: Currency(*b"EUR"), factor_permille: 1000 };
    assert!(operator.command(account).unwrap().changed);
}

/// Subscribes and waits for the price of home.
pub(crate) fn price(client: &mut Client) -> (u32, Seq) {
    client.session().subscribe(Subscribe { odds: true, events: false, fixture: FixtureId(0) });
    loop {
        for event in client.poll(Duration::from_millis(100)).unwrap() {
            if let Event::Told(_, _, Body::MarketOdds(m)) = event
                && m.status == MarketStatus::Active
            {
                return (m.prices[0].milli, m.version);
            }
        }
    }
}

pub(crate) fn ticket((milli, version): (u32, Seq)) -> SubmitTicket {
    SubmitTicket {
        brand: BRAND,
        ticket: new_ticket_id(now_ms(), BRAND, CUSTOMER).unwrap(),
        customer: CUSTOMER,
        currency: Currency(*b"EUR"),
        channel: 1,
        fixture: FIXTURE,
        market: MarketKey::new(1, 0),
        selection: 0,
        odds: Odds::decimal(milli),
        stake: Stake(1000),
        policy: OddsPolicy::Exact,
        tolerance_permille: 0,
        price_version: version,
    }
}

/// Sends bytes on a fresh connection and reads everything until the node closes it.
pub(crate) fn told(node: &Node, bytes: &[u8]) -> Vec<Body> {
    let mut stream = TcpStream::connect(node.address()).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let mut splitter = Splitter::new();
    splitter.push(&answer);
    std::iter::from_fn(|| splitter.next_frame().unwrap().map(|frame| frame.body().unwrap())).collect()
}

pub(crate) fn frame(body: impl Into<Body>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(&Envelope::session(0, Epoch(0), 3), &body.into(), &mut bytes);
    bytes
}
