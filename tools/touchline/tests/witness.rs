//! `touchline witness` as a process: it begins a cluster once, answers who holds the keys, keeps its register over a kill, and
//! says what is wrong.

#[path = "../../../replication/etcd/tests/server/mod.rs"]
mod server;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use touchline_lockstep::message::Party;
use touchline_lockstep::{Boot, Cluster, Message, NodeId, Point, Register, Say};
use touchline_protocol::Seq;
use touchline_runtime::sockets::{Driver, Wait};
use touchline_transport::networks::Network;
use touchline_transport::session::Settings;
use touchline_transport::{Transport, keyfile};

const TOUCHLINE: &str = env!("CARGO_BIN_EXE_touchline");
const NODE: Party = Party::Node(NodeId(0));

/// Keys, configuration and register of a cluster on the loopback device.
struct Folder {
    path: PathBuf,
    witness: SocketAddr,
    node: SocketAddr,
}

impl Folder {
    fn new(name: &str) -> Folder {
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("witness-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let made =
            Command::new(TOUCHLINE).args(["keys", "new", "--dir"]).arg(path.join("keys")).output().unwrap();
        assert!(made.status.success());
        let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let [witness, node] = sockets.map(|socket| socket.local_addr().unwrap());
        let folder = Folder { path, witness, node };
        folder.configure("witness", "keys");
        folder
    }

    fn configure(&self, party: &str, keys: &str) {
        self.configure_with(party, keys, "");
    }

    /// With more lines of its section.
    fn configure_with(&self, party: &str, keys: &str, more: &str) {
        let Folder { path, witness, node } = self;
        let text = format!(
            "[replication]\nparty = \"{party}\"\nkeys = \"{0}/{keys}/cluster.key\"\nregister = \"{0}/register\"\n{more}\
             [[replication.networks]]\nlisten = \"{witness}\"\npeers = [{{ party = \"node0\", address = \"{node}\" }}]\n",
            path.display()
        );
        std::fs::write(path.join("witness.toml"), text).unwrap();
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(TOUCHLINE);
        command.args(["witness", "--json", "--config"]).arg(self.path.join("witness.toml")).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, more: &[&str]) -> (Child, Json) {
        let mut child = self.command(more).spawn().unwrap();
        let ready = line(&mut child);
        assert_eq!(ready["event"], "ready");
        (child, ready)
    }

    #[track_caller]
    fn refused(&self, more: &[&str]) -> String {
        let Output { status, stderr, .. } = self.command(more).output().unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{said}");
        said
    }

    /// A transport as the data node of place 0 has one.
    fn speaker(&self, agreement: u128) -> Transport {
        let keys = std::fs::read_to_string(self.path.join("keys/cluster.key")).unwrap();
        let network =
            Network { listen: self.node, multicast: None, peers: vec![(Party::Witness, self.witness)] };
        let config = touchline_transport::Config {
            settings: Settings::new(NODE, Cluster(1), agreement),
            keyring: keyfile::parse(&keys).unwrap().keyring().unwrap(),
            networks: vec![network],
            driver: Driver::Portable,
        };
        Transport::new(config, None).unwrap()
    }

    /// What the cluster's configuration hashes to.
    fn agreement(&self) -> u128 {
        touchline_node::Config::load(&self.path.join("witness.toml")).unwrap().agreement().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn line(child: &mut Child) -> Json {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|_| {
        let mut why = String::new();
        child.stderr.as_mut().unwrap().read_to_string(&mut why).unwrap();
        panic!("{line:?} {why:?}")
    })
}

fn end(child: &mut Child, signal: Signal) -> Option<i32> {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), signal).unwrap();
    child.wait().unwrap().code()
}

fn report() -> Message {
    let say =
        Say::Report { sent_ns: 7, incarnation: None, leads: false, durable: Seq(0), end: Point::default() };
    Message { cluster: Cluster(1), from: NODE, boot: Boot(9), register: None, utc_ns: 1, say }
}

/// The configuration that a witness answers a report with, asked again until it does or `times` questions passed.
fn asked(transport: &mut Transport, times: usize) -> Option<Option<Register>> {
    let mut heard = None;
    for _ in 0..times {
        transport.send(Party::Witness, &report());
        transport
            .step(Wait::AtMost(Duration::from_millis(5)), &mut |_, message| {
                if let Say::Status { to: Boot(9), echo_ns: 7 } = message.say {
                    heard = Some(message.register);
                }
            })
            .unwrap();
        if heard.is_some() {
            break;
        }
    }
    heard
}

#[test]
fn a_witness_begins_a_cluster_once_and_keeps_its_register_over_a_kill() {
    let folder = Folder::new("once");
    let (mut child, ready) = folder.start(&[]);
    assert!(ready["register"].is_null(), "blank: {ready}");
    assert!(folder.refused(&[]).contains("another running witness"));
    assert_eq!(end(&mut child, Signal::TERM), Some(0));

    let (mut child, ready) = folder.start(&["--begin", "1"]);
    assert_eq!((&ready["register"]["primary"], &ready["register"]["mode"]), (&1.into(), &"SOLO".into()));
    let mut node = folder.speaker(folder.agreement());
    let register = asked(&mut node, 10_000).expect("it answers").expect("it has begun");
    assert_eq!(register.primary, NodeId(1));
    assert_eq!(end(&mut child, Signal::KILL), None);

    let refused = folder.refused(&["--begin", "0"]);
    assert!(refused.contains("a cluster begins once"), "{refused}");
    let (mut child, ready) = folder.start(&[]);
    assert_eq!(ready["register"]["epoch"], register.epoch.0);
    // The same sockets of the same node hear the new process, too.
    assert_eq!(asked(&mut node, 10_000), Some(Some(register)));
    assert_eq!(end(&mut child, Signal::TERM), Some(0));
}

#[test]
fn a_register_in_etcd_outlives_the_machine_of_the_witness() {
    let Some(etcd) = server::Etcd::start("witness") else { return };
    let folder = Folder::new("etcd");
    let line = format!("etcd = [\"{}\"]\n", etcd.endpoint());
    folder.configure_with("witness", "keys", &line);
    // Until etcd answers the witness ends and says why: whoever supervises it starts it again.
    let ready_or_why = |more: &[&str]| {
        let mut child = folder.command(more).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        match serde_json::from_str::<Json>(&line) {
            Ok(ready) => Ok((child, ready)),
            Err(_) => Err(String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()),
        }
    };
    let (mut child, ready) = (0..60)
        .find_map(|_| match ready_or_why(&["--begin", "1"]) {
            Ok(found) => Some(found),
            Err(why) => {
                assert!(why.contains("replication.etcd"), "{why}");
                None
            }
        })
        .expect("etcd comes up within minutes");
    assert_eq!(ready["register"]["primary"], 1);
    assert_eq!(end(&mut child, Signal::KILL), None);

    // Another machine: nothing of the folder is left.
    assert!(!folder.path.join("register").exists());
    let (mut child, ready) = folder.start(&[]);
    assert_eq!(ready["register"]["primary"], 1);
    assert!(asked(&mut folder.speaker(folder.agreement()), 10_000).flatten().is_some());
    assert_eq!(end(&mut child, Signal::TERM), Some(0));
    assert!(folder.refused(&["--begin", "0"]).contains("a cluster begins once"));

    folder.configure_with("witness", "keys", "etcd = [\"10.0.0.1:2379\"]\n");
    assert!(folder.refused(&[]).contains("replication.etcd = 10.0.0.1:2379: must be http://host:port"));
}

#[test]
fn a_witness_that_cannot_serve_begins_nothing() {
    let folder = Folder::new("port");
    let taken = UdpSocket::bind(folder.witness).unwrap();
    let refused = folder.refused(&["--begin", "0"]);
    assert!(refused.contains(&folder.witness.to_string()) && refused.contains("in use"), "{refused}");
    drop(taken);
    let (mut child, ready) = folder.start(&["--begin", "0"]);
    assert_eq!(ready["register"]["primary"], 0);
    assert_eq!(end(&mut child, Signal::TERM), Some(0));
}

#[test]
fn who_is_configured_otherwise_is_not_heard() {
    let folder = Folder::new("otherwise");
    let (mut child, _) = folder.start(&[]);
    let mut node = folder.speaker(folder.agreement() ^ 1);
    assert_eq!(asked(&mut node, 50), None);
    drop(node);
    assert_eq!(asked(&mut folder.speaker(folder.agreement()), 10_000), Some(None), "it lives and is blank");
    assert_eq!(end(&mut child, Signal::TERM), Some(0));
}

#[test]
fn what_is_wrong_is_said_with_its_key() {
    let folder = Folder::new("wrong");
    folder.configure("witness", "nowhere");
    let refused = folder.refused(&[]);
    assert!(refused.contains("replication.keys") && refused.contains("touchline keys new"), "{refused}");
    folder.configure("node1", "keys");
    let refused = folder.refused(&[]);
    assert!(refused.contains("replication.party"), "{refused}");
    folder.configure("witness", "keys");
    let as_node =
        Command::new(TOUCHLINE).args(["node", "--config"]).arg(folder.path.join("witness.toml")).output();
    let said = String::from_utf8(as_node.unwrap().stderr).unwrap();
    assert!(said.contains("replication.party") && said.contains("data node"), "{said}");
}
