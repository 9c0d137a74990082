//! A bet-intake service that can be killed at any moment and started again without doubling a bet.
//!
//! `intake OUTBOX ADDRESS…` reads bets from stdin, a JSON object a line, and writes a JSON line for each answer:
//!
//! ```text
//! {"ref":"web-1","customer":11,"fixture":7,"market":1,"line":0,"selection":0,"odds":2350,"version":42,"stake":1000}
//! {"ref":"web-1","ticket":"0199…","code":"ACCEPTED","odds":2350,"stake":1000,"returned_minor":2350}
//! ```
//!
//! `ref` is the caller's own name for the bet. A bet whose answer the caller has not seen it sends again under the same
//! `ref`: it is the same bet. How nothing is doubled:
//!
//! 1. A bet gets its ticket id once, and bet and id are in the outbox and on disk before a byte goes to a node.
//! 2. After a start, every bet of the outbox without an answer is sent again under its id; nodes decide an id once.
//! 3. An answer is noted in the outbox before it is told. If the note is lost, asking again gives the same answer.
//!
//! The outbox grows: move it away when no bet in it is open and its callers no longer ask, at the earliest when the
//! result window (24 hours) of its last bet is over, and start with a new one.

use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use touchline_client::{ClusterClient, ClusterEvent, Outcome, new_ticket_id};
use touchline_protocol::*;

const BRAND: BrandId = BrandId(1);
/// Bets that share one write to the disk.
const BATCH_MAX: usize = 256;
/// Bets without an answer, beyond which no more are read.
const OPEN_MAX: usize = 4096;

type Failure = Box<dyn Error>;

#[allow(dead_code, reason = "a test runs it otherwise")]
fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let outbox = arguments.next().ok_or("usage: intake OUTBOX ADDRESS…")?;
    let addresses = arguments.map(|address| address.parse()).collect::<Result<Vec<_>, _>>()?;
    run(outbox.as_ref(), &addresses)
}

/// Serves until stdin ends and every bet is answered.
pub(crate) fn run(outbox: &Path, addresses: &[SocketAddr]) -> Result<(), Failure> {
    let mut intake = Intake {
        outbox: Outbox::open(outbox)?,
        client: ClusterClient::begin(addresses, Role::Intake, "intake", Duration::from_secs(30)),
        asked: BTreeMap::new(),
    };
    intake.send_again()?;
    let lines = read_lines();
    let mut ended = false;
    while !ended || !intake.asked.is_empty() {
        let mut batch = Vec::new();
        while batch.len() < BATCH_MAX && intake.asked.len() + batch.len() < OPEN_MAX {
            match lines.try_recv() {
                Ok(line) => batch.push(line),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    ended = true;
                    break;
                }
            }
        }
        intake.take(&batch)?;
        intake.answer(Duration::from_millis(1))?;
    }
    Ok(())
}

/// Lines of stdin, read by a thread, since nothing else could wait for them and for nodes.
fn read_lines() -> Receiver<String> {
    let (send, lines) = sync_channel(BATCH_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

struct Intake {
    outbox: Outbox,
    client: ClusterClient,
    /// Which bet each open request is about.
    asked: BTreeMap<u64, String>,
}

impl Intake {
    /// Sends what had no answer when the service ended last.
    fn send_again(&mut self) -> Result<(), Failure> {
        let open = self.outbox.bets.iter().filter(|(_, kept)| kept.answer.is_none());
        let open = open.map(|(name, kept)| (name.clone(), kept.bet.clone(), kept.ticket));
        for (name, bet, ticket) in open.collect::<Vec<_>>() {
            self.asked.insert(self.client.cluster().send(submit(&bet, ticket)?), name);
        }
        Ok(())
    }

    /// Takes bets: those that are new to disk first, then to the node; of the others what is known.
    fn take(&mut self, lines: &[String]) -> Result<(), Failure> {
        let mut new = Vec::new();
        for line in lines {
            match self.sort(line) {
                Ok(Some(named)) => new.push(named),
                Ok(None) => {}
                Err(error) => tell(&json!({ "error": error.to_string(), "line": line }))?,
            }
        }
        self.outbox.sync()?;
        for (name, submit) in new {
            self.asked.insert(self.client.cluster().send(submit), name);
        }
        Ok(())
    }

    /// A new bet is written to the outbox and given back; an old one is answered where its answer is there.
    fn sort(&mut self, line: &str) -> Result<Option<(String, SubmitTicket)>, Failure> {
        let bet: Json = serde_json::from_str(line)?;
        let name = bet["ref"].as_str().ok_or("ref must be a text")?.to_owned();
        if let Some(kept) = self.outbox.bets.get(&name) {
            if kept.bet != bet {
                return Err(format!("ref {name} was used before for another bet").into());
            }
            if let Some(answer) = &kept.answer {
                tell(answer)?;
            }
            return Ok(None);
        }
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64;
        let ticket = new_ticket_id(now_ms, BRAND, CustomerId(number(&bet, "customer")?))?;
        let submit = submit(&bet, ticket)?;
        self.outbox.append(&json!({ "bet": bet, "ticket": ticket.to_string() }))?;
        Ok(Some((name, submit)))
    }

    /// Notes and tells what was answered.
    fn answer(&mut self, wait: Duration) -> Result<(), Failure> {
        let mut answers = Vec::new();
        for event in self.client.poll(wait) {
            match event {
                ClusterEvent::Answered(request, outcome) => {
                    let name = self.asked.remove(&request).ok_or("an answer to no request")?;
                    let ticket = self.outbox.bets[&name].ticket.to_string();
                    answers.push(match outcome {
                        Outcome::Decided(m) => json!({
                            "ref": name, "ticket": ticket, "code": m.code.name(), "odds": m.odds.milli,
                            "stake": m.stake.0, "returned_minor": m.returned_minor.0,
                        }),
                        Outcome::Refused(m) => json!({
                            "ref": name, "ticket": ticket, "refused": m.code.name(), "note": m.note.as_str(),
                        }),
                        Outcome::Done(_) | Outcome::Unknown(_) => return Err("no answer to a ticket".into()),
                    });
                }
                ClusterEvent::Differs(differs) => eprintln!("intake: two answers to one ticket: {differs:?}"),
                ClusterEvent::Rejected(_, why) => eprintln!("intake: {}", why.note.as_str()),
                _ => {}
            }
        }
        for answer in &answers {
            self.outbox.append(&json!({ "answer": answer }))?;
        }
        answers.iter().try_for_each(tell)
    }
}

/// A bet in the outbox.
struct Kept {
    bet: Json,
    ticket: TicketId,
    answer: Option<Json>,
}

/// Bets with their ticket ids, and answers: a file that is only appended to, and what it says.
struct Outbox {
    file: File,
    bets: BTreeMap<String, Kept>,
    unsynced: bool,
}

impl Outbox {
    /// Opens or makes it. A last line that is not whole was never acted upon, and is cut off.
    fn open(path: &Path) -> Result<Self, Failure> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        file.sync_all()?;
        // The name of a new file is in its folder, which has a disk of its own to reach.
        if let Some(folder) = path.canonicalize()?.parent() {
            File::open(folder)?.sync_all()?;
        }
        let mut outbox = Outbox { file, bets: BTreeMap::new(), unsynced: false };
        for line in std::str::from_utf8(&text[..whole])?.lines() {
            outbox.note(&serde_json::from_str(line)?)?;
        }
        Ok(outbox)
    }

    fn append(&mut self, entry: &Json) -> Result<(), Failure> {
        self.file.write_all(format!("{entry}\n").as_bytes())?;
        self.unsynced |= entry["answer"].is_null();
        self.note(entry)
    }

    /// Waits for the disk where there are new bets. Answers need not wait: nodes give them again.
    fn sync(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.unsynced) {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn note(&mut self, entry: &Json) -> Result<(), Failure> {
        let name =
            |of: &Json| of["ref"].as_str().map(str::to_owned).ok_or("the outbox holds a line without a ref");
        if let answer @ Json::Object(_) = &entry["answer"] {
            let kept = self.bets.get_mut(&name(answer)?).ok_or("the outbox answers what it does not hold")?;
            kept.answer = Some(answer.clone());
            return Ok(());
        }
        let ticket =
            entry["ticket"].as_str().and_then(TicketId::parse).ok_or("the outbox holds no ticket id")?;
        let bet = entry["bet"].clone();
        self.bets.insert(name(&bet)?, Kept { bet, ticket, answer: None });
        Ok(())
    }
}

/// The message for a bet.
fn submit(bet: &Json, ticket: TicketId) -> Result<SubmitTicket, Failure> {
    let milli = u32::try_from(number(bet, "odds")?)?;
    let stake = i64::try_from(number(bet, "stake")?)?;
    if !(1001..=Odds::MAX_MILLI).contains(&milli) || !(1..=Stake::MAX).contains(&stake) {
        return Err("odds are in thousandths, from 1001, and the stake in cents, from 1".into());
    }
    let line = bet["line"].as_i64().map_or(Ok(0), i32::try_from)?;
    Ok(SubmitTicket {
        brand: BRAND,
        ticket,
        customer: CustomerId(number(bet, "customer")?),
        currency: Currency(*b"EUR"),
        channel: 1,
        fixture: FixtureId(number(bet, "fixture")?),
        market: MarketKey::new(u16::try_from(number(bet, "market")?)?, line),
        selection: u8::try_from(number(bet, "selection")?)?,
        odds: Odds::decimal(milli),
        stake: Stake(stake),
        policy: OddsPolicy::Any,
        tolerance_permille: 0,
        price_version: Seq(number(bet, "version")?),
    })
}

fn number(bet: &Json, key: &str) -> Result<u64, Failure> {
    bet[key].as_u64().ok_or_else(|| format!("{key} must be a number").into())
}

fn tell(answer: &Json) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}
