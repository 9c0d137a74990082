//! A node as a process that a test may kill, a book to bet on, and what the journal says of the bets.
#![allow(dead_code, reason = "each test file uses its part")]

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use touchline_auditor::Auditor;
use touchline_client::{Client, Event};
use touchline_journal::{FileStorage, read};
use touchline_protocol::*;

pub(crate) const BRAND: BrandId = BrandId(1);
pub(crate) const CUSTOMER: CustomerId = CustomerId(11);
pub(crate) const FIXTURE: FixtureId = FixtureId(7);

/// A price in thousandths, and its version.
pub(crate) type Price = (u32, Seq);

/// A node that keeps its journal and its port from start to start.
pub(crate) struct Served {
    pub(crate) folder: PathBuf,
    pub(crate) address: SocketAddr,
    node: Child,
}

impl Served {
    pub(crate) fn start(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let (node, address) = spawn(&folder.join("journal"), "127.0.0.1:0");
        Served { folder, address, node }
    }

    /// Suspends it; what is sent from here on is not answered.
    pub(crate) fn suspend(&self) {
        let process = Pid::from_raw(self.node.id() as i32).unwrap();
        kill_process(process, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(process), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
    }

    /// Kills it without a warning and starts it again where it was.
    pub(crate) fn kill_and_restart(&mut self) {
        self.node.kill().unwrap();
        self.node.wait().unwrap();
        (self.node, _) = spawn(&self.folder.join("journal"), &self.address.to_string());
    }

    pub(crate) fn client(&self, role: Role) -> Client {
        Client::connect(self.address, role, "test", Duration::from_secs(20)).unwrap()
    }

    /// As [`open_book`].
    pub(crate) fn open_book(&self) -> Price {
        open_book(&mut self.client(Role::Operator))
    }

    /// Every decision, recomputed from the journal without the node's code, and how often each ticket was decided.
    pub(crate) fn audit(&self) -> (Auditor, Vec<TicketId>) {
        let storage = FileStorage::open_read_only(&self.folder.join("journal")).unwrap();
        let (mut auditor, mut decided) = (Auditor::new(), Vec::new());
        let found = read(&storage, None, &mut |frame| {
            auditor.frame(frame).map_err(|error| error.to_string())?;
            decided.extend(auditor.take_rulings().into_iter().map(|ruling| ruling.ticket));
            Ok(())
        });
        assert!(found.unwrap().frames > 0);
        assert!(auditor.report().breaches.is_empty(), "{:?}", auditor.report().breaches);
        (auditor, decided)
    }

    /// Asks it to stop and waits; the journal stays.
    pub(crate) fn stop(&mut self) {
        kill_process(Pid::from_raw(self.node.id() as i32).unwrap(), Signal::TERM).unwrap();
        assert!(self.node.wait().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.node.kill();
        let _ = self.node.wait();
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

/// Starts a node on a journal; where it serves.
pub(crate) fn spawn(journal: &Path, listen: &str) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_touchline"))
        .args(["node", "--json", "--listen", listen, "--journal"])
        .arg(journal)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut ready).unwrap();
    let ready: Json = serde_json::from_str(&ready).unwrap_or_else(|_| panic!("the node starts: {ready:?}"));
    (child, ready["address"].as_str().unwrap().parse().unwrap())
}

pub(crate) fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// Opens a match, its main market and a customer's account; the price of home.
pub(crate) fn open_book(desk: &mut Client) -> Price {
    let far = At(i64::try_from(now_ms()).unwrap() * 1_000_000 + 299_000_000_000);
    desk.command(SourceFresh { source: SourceId(1), alive_until: far }).unwrap();
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
    desk.command(fixture).unwrap();
    let markets = List(vec![MarketSpec { market: MarketKey::new(1, 0), selections: 0 }]);
    desk.command(OpenMarkets { fixture: FIXTURE, markets }).unwrap();
    let intensities = SetIntensities { fixture: FIXTURE, home_nano: 1_500_000_000, away_nano: 1_100_000_000 };
    desk.command(intensities).unwrap();
    let (brand, customer, currency) = (BRAND, CUSTOMER, Currency(*b"EUR"));
    desk.command(OpenAccount { brand, customer, currency, factor_permille: 1000 }).unwrap();
    desk.session().subscribe(Subscribe { odds: true, events: false, fixture: FixtureId(0) });
    loop {
        for event in desk.poll(Duration::from_millis(100)).unwrap() {
            if let Event::Told(_, _, Body::MarketOdds(m)) = event
                && m.status == MarketStatus::Active
            {
                return (m.prices[0].milli, m.version);
            }
        }
    }
}

/// A bet on home at a price; those with an odd number are below the least stake, so that there are answers of more than
/// one kind.
pub(crate) fn bet(random: u64, (milli, version): Price) -> SubmitTicket {
    SubmitTicket {
        brand: BRAND,
        ticket: TicketId::new(now_ms(), BRAND, CUSTOMER, random),
        customer: CUSTOMER,
        currency: Currency(*b"EUR"),
        channel: 1,
        fixture: FIXTURE,
        market: MarketKey::new(1, 0),
        selection: 0,
        odds: Odds::decimal(milli),
        stake: Stake(if random.is_multiple_of(2) { 100 } else { 1 }),
        policy: OddsPolicy::Any,
        tolerance_permille: 0,
        price_version: version,
    }
}
