//! SIGTERM in the middle of a load: every ticket is answered or was never recorded, the state is kept, the exit code is 0, and
//! asking again after the next start gives the same answers.

mod served;

use rustix::process::{Pid, Signal, kill_process};
use served::{Price, bet, spawn};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc;
use std::time::Duration;
use touchline_client::{Client, Event};
use touchline_journal::{FileStorage, read};
use touchline_protocol::*;

/// Asks it to stop and waits; what it said last.
fn stop(mut child: Child) -> String {
    kill_process(Pid::from_raw(child.id() as i32).unwrap(), Signal::TERM).unwrap();
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    said
}

/// A price that nobody gave, on a match that nobody knows: every ticket is rejected, for one reason or another.
const NO_PRICE: Price = (2000, Seq(0));

/// The tickets in a journal.
fn recorded(journal: &Path) -> BTreeSet<TicketId> {
    let storage = FileStorage::open_read_only(journal).unwrap();
    let mut tickets = BTreeSet::new();
    let found = read(&storage, None, &mut |frame| {
        if let Ok(Body::SubmitTicket(m)) = frame.body() {
            tickets.insert(m.ticket);
        }
        Ok(())
    });
    assert!(found.unwrap().frames > 0);
    tickets
}

#[test]
fn a_node_that_is_asked_to_stop_under_load_answers_what_is_inside_and_forgets_nothing() {
    let folder: PathBuf =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sigterm-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let journal = folder.join("journal");
    let (child, address) = spawn(&journal, "127.0.0.1:0");
    let (say, hear) = mpsc::sync_channel(1);
    let loader = std::thread::spawn(move || {
        let mut client = Client::connect(address, Role::Intake, "load", Duration::from_secs(1)).unwrap();
        let (mut sent, mut decided) = (BTreeMap::new(), BTreeMap::new());
        let mut random = 0;
        // Until the node is gone for as long as the client has patience.
        while let Ok(events) = client.poll(Duration::from_millis(1)) {
            for event in events {
                if let Event::Decision(m) = event {
                    assert_eq!(decided.insert(m.ticket, m.code), None, "one answer a ticket");
                }
            }
            if decided.len() >= 500 {
                let _ = say.try_send(());
            }
            if client.session().unanswered() < 64 {
                for _ in 0..16 {
                    random += 1;
                    let ticket = bet(random, NO_PRICE);
                    sent.insert(ticket.ticket, ticket.clone());
                    client.session().send(ticket);
                }
            }
        }
        (sent, decided)
    });
    hear.recv_timeout(Duration::from_secs(60)).expect("the node answers");
    let said = stop(child);
    assert!(said.contains("\"event\":\"stopped\""), "{said}");
    let (sent, decided) = loader.join().unwrap();
    assert!(decided.len() >= 500 && sent.len() > decided.len(), "it was asked in the middle of a load");
    let kept = std::fs::read_dir(&journal).unwrap();
    let kept =
        kept.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "tls"));
    assert_eq!(kept.count(), 1, "the state is kept");
    let recorded = recorded(&journal);
    assert!(recorded.iter().all(|id| decided.contains_key(id)), "what is in the journal was answered");
    assert!(decided.keys().all(|id| recorded.contains(id)), "what was answered is in the journal");

    let (child, address) = spawn(&journal, "127.0.0.1:0");
    let mut client = Client::connect(address, Role::Intake, "again", Duration::from_secs(20)).unwrap();
    for (id, code) in &decided {
        assert_eq!(client.submit(sent[id].clone()).unwrap().code, *code, "{id:?}");
    }
    stop(child);
    let _ = std::fs::remove_dir_all(&folder);
}
