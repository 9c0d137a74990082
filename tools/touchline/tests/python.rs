//! The Python client against golden frames, a real node that is killed, and a cluster whose leader dies.

mod served;

use serde_json::Value as Json;
use served::{BRAND, CUSTOMER, FIXTURE, Served};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

fn in_tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Python with the client's folder on its path.
fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", in_tree("tools/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[track_caller]
fn spawn(mut command: Command) -> Child {
    command.spawn().unwrap_or_else(|error| {
        panic!(
            "python3 does not start ({error}); Debian's package is python3, and the client needs 3.8 or later"
        )
    })
}

/// `bets.py`, and the JSON lines that it prints.
struct Bets {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    answers: BTreeMap<String, Json>,
}

impl Bets {
    fn start(addresses: &[SocketAddr], price: (u32, Seq), count: u64) -> Self {
        let addresses = addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        let numbers = [FIXTURE.0, CUSTOMER.0, price.0.into(), price.1.0, count].map(|n| n.to_string());
        let mut command = python();
        command.arg(in_tree("tools/touchline/tests/bets.py")).arg(addresses).args(numbers);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(command);
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Bets { child, lines, answers: BTreeMap::new() }
    }

    /// Takes lines until one of which this holds; `None` at their end.
    fn until(&mut self, wanted: impl Fn(&Json) -> bool) -> Option<Json> {
        loop {
            let line: Json = serde_json::from_str(&self.lines.next()?.unwrap()).unwrap();
            if let Some(ticket) = line["ticket"].as_str() {
                let second = self.answers.insert(ticket.to_owned(), line.clone());
                assert_eq!(second, None, "one answer a ticket");
            }
            if wanted(&line) {
                return Some(line);
            }
        }
    }

    fn next_phase(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn end(&mut self) {
        assert_eq!(self.until(|_| false), None);
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
fn a_killed_node_answers_every_ticket_of_the_python_client_once_and_as_its_journal_says() {
    let mut served = Served::start("python");
    let price = served.open_book();
    let mut bets = Bets::start(&[served.address], price, 2000);
    // In the middle of a load, wherever that finds it.
    for _ in 0..500 {
        bets.until(|line| line["ticket"].is_string()).expect("answers");
    }
    served.kill_and_restart();
    bets.until(|line| line["waiting"] == true).expect("every ticket is answered");
    assert_eq!(bets.answers.len(), 2000);
    // And with fifty tickets that it surely has not answered.
    served.suspend();
    bets.next_phase();
    let left = bets.until(|line| line["left"].is_u64()).expect("they leave");
    assert_eq!(left["left"], 50);
    served.kill_and_restart();
    bets.end();
    assert_eq!(bets.answers.len(), 2050);
    served.stop();
    let (auditor, decided) = served.audit();
    assert_eq!(decided.len(), 2050, "each is decided once");
    for (id, answer) in &bets.answers {
        let ruling = auditor.decision(BRAND, TicketId::parse(id).unwrap()).expect("it is in the journal");
        assert_eq!(answer["code"], ruling.code.name());
        assert_eq!(answer["odds"], ruling.odds.milli);
        assert_eq!(answer["stake"], ruling.stake.0);
        assert_eq!(answer["returned_minor"], ruling.returned_minor);
        assert_eq!(answer["decided"], ruling.decided.0);
    }
    assert!(bets.answers.values().any(|answer| answer["code"] == "ACCEPTED"));
}

/// Reads every golden frame, prints what it read, and writes it back.
const GOLDEN: &str = "
import pathlib, sys
from touchline_client import NOTHING, customer_hash, decode, encode
assert customer_hash(1, 1) == 53101
for path in sorted(pathlib.Path(sys.argv[1]).glob('*.bin')):
    data = path.read_bytes()
    header, name, values, length = decode(data)
    assert (length, f\"{header['templateId']:03}-{name}.bin\") == (len(data), path.name), path
    # Their texts stand before their lists: SBE has only their block.
    if name not in ('Reopen', 'Recall', 'FixtureArchived'):
        kept = {field: header[field] for field in (*NOTHING, 'partition')}
        assert encode(name, values, **kept) == data, path
    print(name)
";

#[test]
fn every_golden_frame_is_read_and_written_alike() {
    let mut command = python();
    command.args(["-c", GOLDEN]).arg(in_tree("engine/protocol/golden"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(command).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), Kind::ALL.len());
}

fn say(stream: &mut TcpStream, epoch: u64, request: u64, body: impl Into<Body>) {
    let mut bytes = Vec::new();
    encode(&Envelope::session(1, Epoch(epoch), request), &body.into(), &mut bytes);
    stream.write_all(&bytes).unwrap();
}

fn leader(stream: &mut TcpStream, epoch: u64, leads: bool) {
    say(stream, epoch, 0, Leader { epoch: Epoch(epoch), leads, address: Text::default() });
}

/// The next ticket that comes, and its request number.
fn ticket(stream: &mut TcpStream, splitter: &mut Splitter) -> (u64, SubmitTicket) {
    let mut buffer = [0; 4096];
    loop {
        while let Some(frame) = splitter.next_frame().unwrap() {
            if let Body::SubmitTicket(m) = frame.body().unwrap() {
                return (frame.envelope().request, m);
            }
        }
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "the client hung up");
        splitter.push(&buffer[..count]);
    }
}

#[test]
fn the_python_client_follows_the_leader_with_what_is_unanswered() {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (first, second) = (listen(), listen());
    let addresses = [first.local_addr().unwrap(), second.local_addr().unwrap()];
    let mut bets = Bets::start(&addresses, (2000, Seq(1)), 1);
    let (mut standby, _) = second.accept().unwrap();
    leader(&mut standby, 1, false);
    let (mut primary, _) = first.accept().unwrap();
    leader(&mut primary, 1, true);
    let lost = ticket(&mut primary, &mut Splitter::new());
    leader(&mut standby, 2, true);
    assert_eq!(ticket(&mut standby, &mut Splitter::new()), lost, "the same under the same number");
    let Body::Decision(sample) = Body::sample(Kind::Decision, 0) else { panic!("a sample of its kind") };
    let decision = Decision { brand: lost.1.brand, ticket: lost.1.ticket, ..sample };
    // What the old leader says now counts for nothing.
    say(&mut primary, 1, lost.0, Decision { code: Code::Internal, decided: Seq(1), ..decision.clone() });
    say(&mut standby, 2, lost.0, decision.clone());
    say(&mut standby, 2, lost.0, decision.clone());
    bets.until(|line| line["waiting"] == true).expect("it is answered");
    let answer = bets.answers.values().next().unwrap();
    assert_eq!(answer["code"], decision.code.name());
    assert_eq!(answer["decided"], decision.decided.0);
    drop(bets.child.stdin.take());
    bets.end();
}
