//! The example intake service against a real node: killed in the middle of a load, with the node or without it, it
//! answers every bet, and the journal has each bet once.

#[path = "../../../engine/client/examples/intake.rs"]
mod intake;
mod served;

use serde_json::{Value as Json, json};
use served::{BRAND, CUSTOMER, FIXTURE, Served};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;
use touchline_protocol::{Seq, TicketId};

const OUTBOX: &str = "TOUCHLINE_TEST_OUTBOX";
const ADDRESS: &str = "TOUCHLINE_TEST_ADDRESS";

/// Not a test of its own: the process that the tests below start and kill. The example is compiled into this program, so
/// that the two are never of different builds.
#[test]
fn service() {
    if let (Some(outbox), Ok(address)) = (std::env::var_os(OUTBOX), std::env::var(ADDRESS)) {
        intake::run(outbox.as_ref(), &[address.parse().unwrap()]).unwrap();
    }
}

struct Service {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    writer: Option<JoinHandle<()>>,
}

impl Service {
    /// Starts it and feeds it bets until it has them all or is dead.
    fn start(served: &Served, bets: &[Json]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "service", "--nocapture"])
            .env(OUTBOX, served.folder.join("outbox"))
            .env(ADDRESS, served.address.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, bets) = (child.stdin.take().unwrap(), bets.to_vec());
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let writer = Some(std::thread::spawn(move || write(stdin, &bets)));
        Service { child, lines, writer }
    }

    /// Takes up to so many answers; how many there were.
    fn answers(&mut self, most: usize, answers: &mut Answers) -> usize {
        let mut count = 0;
        while count < most {
            let Some(Ok(line)) = self.lines.next() else { break };
            // The frame around tests says something too.
            let Some(at) = line.find('{') else { continue };
            // What a killed process wrote last need not be whole.
            let Ok(answer) = serde_json::from_str::<Json>(&line[at..]) else { continue };
            assert!(answer["code"].is_string(), "{answer}");
            let name = answer["ref"].as_str().unwrap().to_owned();
            let first = answers.entry(name).or_insert_with(|| answer.clone());
            assert_eq!(*first, answer, "an answer given again is the same");
            count += 1;
        }
        count
    }

    fn kill(mut self, answers: &mut Answers) {
        self.child.kill().unwrap();
        self.answers(usize::MAX, answers);
        self.child.wait().unwrap();
        self.writer.take().unwrap().join().unwrap();
    }

    /// Waits until it has answered everything and ends.
    fn end(mut self, answers: &mut Answers) {
        self.answers(usize::MAX, answers);
        assert!(self.child.wait().unwrap().success());
        self.writer.take().unwrap().join().unwrap();
    }
}

type Answers = BTreeMap<String, Json>;

fn write(mut stdin: ChildStdin, bets: &[Json]) {
    for bet in bets {
        if writeln!(stdin, "{bet}").is_err() {
            return;
        }
    }
}

fn bets(count: usize, (odds, version): (u32, Seq)) -> Vec<Json> {
    let bet = |n: usize| {
        json!({
            "ref": format!("web-{n}"), "customer": CUSTOMER.0, "fixture": FIXTURE.0, "market": 1, "selection": 0,
            "odds": odds, "version": version.0, "stake": 100 + n,
        })
    };
    (0..count).map(bet).collect()
}

/// Every bet was answered, decided once, and as the journal says.
fn check(served: &mut Served, bets: &[Json], answers: &Answers) {
    assert_eq!(answers.len(), bets.len());
    served.stop();
    let (auditor, decided) = served.audit();
    assert_eq!(decided.len(), bets.len(), "no bet was doubled");
    let tickets: BTreeSet<_> = answers.values().map(|answer| answer["ticket"].as_str().unwrap()).collect();
    assert_eq!(tickets.len(), bets.len());
    for bet in bets {
        let answer = &answers[bet["ref"].as_str().unwrap()];
        let id = TicketId::parse(answer["ticket"].as_str().unwrap()).unwrap();
        let ruling = auditor.decision(BRAND, id).expect("it is in the journal");
        assert_eq!((&answer["code"], &bet["stake"]), (&ruling.code.name().into(), &ruling.stake.0.into()));
    }
    assert!(answers.values().any(|answer| answer["code"] == "ACCEPTED"));
}

#[test]
fn a_service_killed_again_and_again_doubles_no_bet() {
    let mut served = Served::start("intake");
    // More than the service and its pipe can tell in all the rounds before the last.
    let bets = bets(6000, served.open_book());
    let mut answers = Answers::new();
    // What had no answer the caller sends again, as it would after a kill.
    let unanswered = |answers: &Answers| {
        let open = bets.iter().filter(|bet| !answers.contains_key(bet["ref"].as_str().unwrap()));
        open.cloned().collect::<Vec<_>>()
    };
    for round in 0..4 {
        let mut service = Service::start(&served, &unanswered(&answers));
        assert_eq!(service.answers(300, &mut answers), 300);
        if round % 2 == 1 {
            served.kill_and_restart();
        }
        service.kill(&mut answers);
    }
    Service::start(&served, &unanswered(&answers)).end(&mut answers);
    check(&mut served, &bets, &answers);
}

#[test]
fn bets_whose_bytes_reached_nobody_are_sent_after_the_start() {
    let mut served = Served::start("outbox");
    let bets = bets(200, served.open_book());
    let mut answers = Answers::new();
    served.suspend();
    let service = Service::start(&served, &bets);
    let outbox = served.folder.join("outbox");
    let kept = || std::fs::read_to_string(&outbox).unwrap_or_default().lines().count();
    while kept() < bets.len() {
        std::thread::yield_now();
    }
    service.kill(&mut answers);
    assert!(answers.is_empty(), "nobody could have answered");
    served.kill_and_restart();
    // Nobody asks again: the outbox alone knows the bets. Its last line was cut short by the kill.
    let mut file = std::fs::OpenOptions::new().append(true).open(&outbox).unwrap();
    file.write_all(b"{\"bet\":{\"ref\":\"torn").unwrap();
    Service::start(&served, &[]).end(&mut answers);
    check(&mut served, &bets, &answers);
}
