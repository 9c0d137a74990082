//! Witness and two nodes as processes on the loopback device: frames stand in both journals before they are answered, a
//! killed primary loses nothing, and the lead goes over and back when asked.

mod served;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use served::{Price, bet, open_book};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use touchline_client::{Client, Event};
use touchline_journal::{FileStorage, Storage, read};
use touchline_protocol::*;

const TOUCHLINE: &str = env!("CARGO_BIN_EXE_touchline");
/// How long anything may take on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

struct Cluster {
    path: PathBuf,
    clients: [SocketAddr; 2],
    witness: Child,
    nodes: [Option<Child>; 2],
}

impl Cluster {
    /// Keys and configuration of a cluster that begins with node 0, all parties running.
    fn begin(name: &str) -> Cluster {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("c-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let keys = Command::new(TOUCHLINE).args(["keys", "new", "--dir"]).arg(path.join("keys")).output();
        assert!(keys.unwrap().status.success());
        let sockets = [(); 3].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let udp = sockets.map(|socket| socket.local_addr().unwrap());
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let clients = listeners.map(|listener| listener.local_addr().unwrap());
        let parties = ["node0", "node1", "witness"];
        for (own, party) in parties.iter().enumerate() {
            let peers: Vec<String> = (0..3)
                .filter(|other| *other != own)
                .map(|other| format!("{{ party = \"{}\", address = \"{}\" }}", parties[other], udp[other]))
                .collect();
            let node = clients.get(own).map(|listen| {
                format!(
                    "[node]\nlisten = \"{listen}\"\njournal = \"{0}/{party}\"\nadmin = \"{0}/{party}.sock\"\nsegment_mib = 4\nsnapshot_every_frames = 8192\n",
                    path.display()
                )
            });
            let text = format!(
                "{}[replication]\nparty = \"{party}\"\nkeys = \"{1}/keys/cluster.key\"\nregister = \"{1}/register\"\n\
                 clients = {{ node0 = \"{2}\", node1 = \"{3}\" }}\n\
                 [[replication.networks]]\nlisten = \"{4}\"\npeers = [{5}]\n",
                node.unwrap_or_default(),
                path.display(),
                clients[0],
                clients[1],
                udp[own],
                peers.join(", ")
            );
            std::fs::write(path.join(format!("{party}.toml")), text).unwrap();
        }
        let start = |party: &str, more: &[&str]| start(&path, party, more);
        let witness = start("witness", &["--begin", "0"]);
        let nodes = [Some(start("node0", &[])), Some(start("node1", &[]))];
        Cluster { path, clients, witness, nodes }
    }

    fn start(&mut self, node: usize) {
        self.nodes[node] = Some(start(&self.path, &format!("node{node}"), &[]));
    }

    /// Ends a node with a signal; its exit code.
    fn end(&mut self, node: usize, signal: Signal) -> Option<i32> {
        self.signal(node, signal);
        self.nodes[node].take().unwrap().wait().unwrap().code()
    }

    fn signal(&self, node: usize, signal: Signal) {
        self.signal_child(self.nodes[node].as_ref().unwrap(), signal);
    }

    fn signal_child(&self, child: &Child, signal: Signal) {
        kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
    }

    /// What a node has said since the test began.
    fn said(&self, node: usize) -> String {
        std::fs::read_to_string(self.path.join(format!("node{node}.log"))).unwrap()
    }

    fn ask(&self, what: &str, node: usize) -> Result<Json, String> {
        let admin = self.path.join(format!("node{node}.sock"));
        let asked = Command::new(TOUCHLINE).args([what, "--json", "--admin"]).arg(admin).output().unwrap();
        if !asked.status.success() {
            return Err(String::from_utf8(asked.stderr).unwrap());
        }
        Ok(serde_json::from_slice(&asked.stdout).unwrap())
    }

    /// Waits until a node has a role, under a protection; its status.
    #[track_caller]
    fn await_role(&self, node: usize, role: &str, protection: &str) -> Json {
        let mut last = Err(String::new());
        within(|| {
            last = self.ask("status", node);
            let status = last.as_ref().ok()?;
            (status["role"] == role && status["protection"] == protection).then(|| status.clone())
        })
        .unwrap_or_else(|| panic!("node{node} is no {role} under {protection}: {last:?}"))
    }

    /// Waits until one node leads and the other is its standby in sync; which one leads. On a machine that does much else the
    /// roles may have changed by themselves.
    #[track_caller]
    fn await_whole(&self) -> usize {
        let role = |node: usize| self.ask("status", node).map_or(Json::Null, |status| status["role"].clone());
        let whole = within(|| {
            let roles = [role(0), role(1)];
            let primary = roles.iter().position(|role| role == "PRIMARY")?;
            (roles[1 - primary] == "STANDBY").then_some(primary)
        });
        whole.unwrap_or_else(|| panic!("never whole: {:?}", [0, 1].map(|node| self.ask("status", node))))
    }

    /// Asks whoever leads to hand over until another one leads than before, or asked in vain; which one.
    #[track_caller]
    fn hand_over(&self) -> usize {
        let before = self.await_whole();
        within(|| {
            let _ = self.ask("switchover", before);
            std::thread::sleep(LOOK);
            let status = self.ask("status", 1 - before).ok()?;
            (status["role"] == "PRIMARY").then_some(1 - before)
        })
        .expect("the lead goes over")
    }

    /// Sends tickets to whoever leads, and what has no answer again, until so many are answered.
    fn decide(&self, tickets: &[SubmitTicket], most: usize) -> BTreeMap<TicketId, Decision> {
        let mut decided = BTreeMap::new();
        within(|| {
            let leads = |node: &usize| self.ask("status", *node).is_ok_and(|status| status["leads"] == true);
            let node = (0..2).find(leads)?;
            let patience = Duration::from_secs(1);
            let mut client = Client::connect(self.clients[node], Role::Intake, "test", patience).ok()?;
            for group in tickets.chunks(200) {
                decide_group(&mut client, group, most, &mut decided)?;
            }
            Some(())
        })
        .unwrap_or_else(|| panic!("only {} of {most} tickets were answered", decided.len()));
        decided
    }

    /// The frames in a node's journal; `None` where it was read in the middle of a write, which looks like damage.
    fn journal(&self, node: usize) -> Option<Vec<Vec<u8>>> {
        let storage = FileStorage::open_read_only(&self.path.join(format!("node{node}"))).unwrap();
        let mut frames = Vec::new();
        let found = read(&storage, None, &mut |frame| {
            frames.push(frame.bytes().to_vec());
            Ok(())
        });
        found.ok().map(|_| frames)
    }

    /// Waits until both journals hold the same frames, at least so many.
    #[track_caller]
    fn await_same(&self, least: usize) -> Vec<Vec<u8>> {
        let same = within(|| {
            let [own, other] = [0, 1].map(|node| self.journal(node));
            own.filter(|own| other.as_ref() == Some(own) && own.len() >= least)
        });
        same.expect("both journals come to hold the same frames")
    }

    /// Snapshots beside a node's journal.
    fn snapshots(&self, node: usize) -> usize {
        let storage = FileStorage::open_read_only(&self.path.join(format!("node{node}"))).unwrap();
        storage.snapshots().unwrap().len()
    }

    /// A node's disk is lost.
    fn lose(&self, node: usize) {
        std::fs::remove_dir_all(self.path.join(format!("node{node}"))).unwrap();
    }

    fn connect(&self, node: usize) -> Client {
        self.connect_as(Role::Intake, node)
    }

    fn connect_as(&self, role: Role, node: usize) -> Client {
        Client::connect(self.clients[node], role, "test", PATIENCE).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten().chain([&mut self.witness]) {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for party in ["witness", "node0", "node1"] {
                let said = std::fs::read_to_string(self.path.join(format!("{party}.log")));
                eprintln!("--- {party}\n{}", said.unwrap_or_default());
            }
        } else {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Starts a party; what it says goes to a file beside its configuration.
fn start(path: &Path, party: &str, more: &[&str]) -> Child {
    let log = path.join(format!("{party}.log"));
    let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    let command = if party == "witness" { "witness" } else { "node" };
    let mut started = Command::new(TOUCHLINE);
    started.args([command, "--json", "--config"]).arg(path.join(format!("{party}.toml"))).args(more);
    started.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// Looks until something is there, as long as patience lasts.
fn within<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        match look() {
            None if begun.elapsed() < PATIENCE => std::thread::sleep(LOOK),
            found => return found,
        }
    }
}

/// Sends those that have no answer yet, and hears answers until there are `most`, or one for each; `None` where the node
/// does not lead any more.
fn decide_group(
    client: &mut Client,
    tickets: &[SubmitTicket],
    most: usize,
    decided: &mut BTreeMap<TicketId, Decision>,
) -> Option<()> {
    let open = tickets.iter().filter(|ticket| !decided.contains_key(&ticket.ticket));
    let mut waiting = open.map(|ticket| client.session().send(ticket.clone())).count();
    let begun = Instant::now();
    while waiting > 0 && decided.len() < most {
        let events = client.poll(Duration::from_millis(1)).ok().filter(|_| begun.elapsed() < PATIENCE)?;
        for event in events {
            match event {
                Event::Decision(m) => {
                    assert!(decided.insert(m.ticket, m).is_none(), "one answer a ticket");
                    waiting -= 1;
                }
                Event::Refused(_, m) if m.code == Code::NotPrimary => return None,
                _ => {}
            }
        }
    }
    Some(())
}

/// Waits until a node says that it leads, or that it does not.
#[track_caller]
fn await_leader(client: &mut Client, leads: bool) -> Leader {
    let told = within(|| {
        client.poll(LOOK).unwrap().into_iter().find_map(|event| match event {
            Event::Told(_, _, Body::Leader(m)) if m.leads == leads => Some(m),
            _ => None,
        })
    });
    told.expect("it says who leads")
}

/// What a decision says, wherever and whenever it is heard.
fn gist(decision: &Decision) -> (Code, Seq, At) {
    (decision.code, decision.decided, decision.decided_at)
}

/// A price that nobody gave: its tickets are rejected, for one reason or another.
const NO_PRICE: Price = (2000, Seq(0));

fn tickets(count: u64, price: Price) -> Vec<SubmitTicket> {
    (1..=count).map(|random| bet(random, price)).collect()
}

/// How many of these were accepted.
fn accepted<'d>(decided: impl IntoIterator<Item = &'d Decision>) -> usize {
    decided.into_iter().filter(|decision| decision.code == Code::Accepted).count()
}

/// How many tickets a log holds, each counted once.
fn recorded(frames: &[Vec<u8>]) -> usize {
    let bodies = frames.iter().map(|bytes| FrameRef::parse(bytes).unwrap().body().unwrap());
    let ids = bodies.filter_map(|body| match body {
        Body::SubmitTicket(m) => Some(m.ticket),
        _ => None,
    });
    ids.collect::<BTreeSet<_>>().len()
}

#[track_caller]
fn assert_same(some: &BTreeMap<TicketId, Decision>, all: &BTreeMap<TicketId, Decision>) {
    for (ticket, decision) in some {
        assert_eq!(gist(decision), gist(&all[ticket]), "{ticket:?}");
    }
}

#[test]
fn what_is_answered_is_in_both_journals_and_the_standby_refuses() {
    let cluster = Cluster::begin("both");
    cluster.await_whole();
    let tickets = tickets(50, NO_PRICE);
    assert_eq!(cluster.decide(&tickets, 50).len(), 50);
    assert_eq!(recorded(&cluster.await_same(50)), 50);

    let primary = cluster.await_whole();
    let mut standby = cluster.connect(1 - primary);
    let told = await_leader(&mut standby, false);
    assert_eq!(told.address.as_str(), cluster.clients[primary].to_string());
    let refused = standby.submit(bet(99, NO_PRICE)).unwrap_err().to_string();
    assert!(refused.contains("NOT_PRIMARY"), "{refused}");
}

#[test]
fn nothing_is_answered_that_stands_in_one_journal_alone() {
    let cluster = Cluster::begin("alone");
    let primary = cluster.await_whole();
    let mut client = cluster.connect(primary);
    assert_eq!(cluster.decide(&tickets(5, NO_PRICE), 5).len(), 5);
    // Nobody is left that could let the primary go on alone.
    cluster.signal_child(&cluster.witness, Signal::STOP);
    cluster.signal(1 - primary, Signal::STOP);
    let asked = bet(9, NO_PRICE);
    client.session().send(asked.clone());
    let decided = |client: &mut Client| {
        let events = client.poll(LOOK).unwrap();
        events.into_iter().any(|event| matches!(event, Event::Decision(m) if m.ticket == asked.ticket))
    };
    let journal = within(|| {
        assert!(!decided(&mut client), "answered from one journal");
        cluster.journal(primary).filter(|frames| recorded(frames) == 6)
    });
    journal.expect("the primary's own journal has it");
    for _ in 0..10 {
        assert!(!decided(&mut client), "answered from one journal");
    }
    cluster.signal(1 - primary, Signal::CONT);
    cluster.signal_child(&cluster.witness, Signal::CONT);
    assert_eq!(cluster.decide(&[asked], 1).len(), 1);
}

#[test]
fn a_killed_primary_loses_nothing_and_comes_back_as_standby() {
    let mut cluster = Cluster::begin("kill");
    let primary = cluster.await_whole();
    let tickets = tickets(400, open_book(&mut cluster.connect_as(Role::Operator, primary)));
    let mut survivor = cluster.connect(1 - primary);
    let epoch = await_leader(&mut survivor, false).epoch;
    let before = cluster.decide(&tickets, 150);
    assert_eq!(cluster.end(primary, Signal::KILL), None);
    // The connection that waited at the standby hears of it.
    assert!(await_leader(&mut survivor, true).epoch > epoch);
    let after = cluster.decide(&tickets, 400);
    assert!(before.len() >= 150 && after.len() == 400);
    assert!(accepted(before.values()) > 0);
    let new = after.iter().filter(|(ticket, _)| !before.contains_key(*ticket)).map(|(_, decision)| decision);
    assert!(accepted(new) > 0, "the match stays open: its source has promised to live longer");
    assert_same(&before, &after);
    assert_eq!(cluster.ask("status", 1 - primary).unwrap()["protection"], "SOLO");

    cluster.start(primary);
    cluster.await_whole();
    assert_eq!(recorded(&cluster.await_same(400)), 400);
    assert_same(&after, &cluster.decide(&tickets, 400));
}

#[test]
fn a_primary_that_stood_still_starts_again_without_what_only_it_had_and_joins() {
    let cluster = Cluster::begin("still");
    let tickets = tickets(200, NO_PRICE);
    let primary = cluster.await_whole();
    let before = cluster.decide(&tickets, 50);
    cluster.signal(primary, Signal::STOP);
    cluster.await_role(1 - primary, "PRIMARY", "SOLO");
    cluster.signal(primary, Signal::CONT);
    let after = cluster.decide(&tickets, 200);
    cluster.await_whole();
    assert!(cluster.said(primary).contains("\"event\":\"again\""), "{}", cluster.said(primary));
    assert_same(&before, &after);
    assert_eq!(recorded(&cluster.await_same(200)), 200);
}

#[test]
fn a_node_that_lost_its_disk_takes_the_state_of_its_peer() {
    let mut cluster = Cluster::begin("lost");
    let tickets = tickets(30_000, NO_PRICE);
    cluster.await_whole();
    let decided = cluster.decide(&tickets, tickets.len());
    let primary = cluster.await_whole();
    // The log in memory begins behind the first of two snapshots.
    within(|| (cluster.snapshots(primary) == 2).then_some(())).expect("snapshots are kept");
    cluster.end(1 - primary, Signal::KILL);
    cluster.await_role(primary, "PRIMARY", "SOLO");
    cluster.lose(1 - primary);
    cluster.start(1 - primary);
    cluster.await_whole();
    let said = cluster.said(1 - primary);
    assert!(said.contains("it takes the state of its peer"), "{said}");
    cluster.hand_over();
    assert_same(&cluster.decide(&tickets[..100], 100), &decided);
}

#[test]
fn the_lead_goes_over_and_back_when_asked_and_when_a_primary_is_stopped() {
    let mut cluster = Cluster::begin("over");
    let standby = 1 - cluster.await_whole();
    let refused = cluster.ask("switchover", standby).unwrap_err();
    assert!(refused.contains("only a node that leads"), "{refused}");
    let tickets = tickets(60, open_book(&mut cluster.connect_as(Role::Operator, 1 - standby)));
    let decided = cluster.decide(&tickets[..20], 20);
    assert!(accepted(decided.values()) > 0);
    for _ in 0..2 {
        cluster.hand_over();
        assert_same(&decided, &cluster.decide(&tickets[..40], 40));
    }
    let primary = cluster.await_whole();
    assert_eq!(cluster.end(primary, Signal::TERM), Some(0));
    cluster.await_role(1 - primary, "PRIMARY", "SOLO");
    assert_same(&decided, &cluster.decide(&tickets, 60));
    cluster.start(primary);
    cluster.await_whole();
    assert_eq!(recorded(&cluster.await_same(60)), 60);
}

#[test]
fn a_primary_that_nobody_acknowledges_any_more_still_stops() {
    let mut cluster = Cluster::begin("abandoned");
    let primary = cluster.await_whole();
    // The witness first: without it nobody is let go on alone.
    cluster.witness.kill().unwrap();
    cluster.witness.wait().unwrap();
    cluster.end(1 - primary, Signal::KILL);
    assert_eq!(cluster.end(primary, Signal::TERM), Some(1));
    assert!(cluster.said(primary).contains("nobody took the lead over"));
}
