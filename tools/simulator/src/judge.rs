//! What must hold at the end: the journal, read by the naive auditor and by the core on other numbers of
//! shards, says what the clients were told and what the live node holds.

use crate::disk::Disk;
use crate::node::Node;
use std::collections::BTreeMap;
use touchline_auditor::Auditor;
use touchline_core::Engine;
use touchline_journal::read;
use touchline_protocol::*;

/// Facts for the report.
pub(crate) struct Verdict {
    /// Frames in the journal.
    pub(crate) frames: u64,
    /// Tickets that crossed partitions.
    pub(crate) reservations: u64,
}

/// Reads the journal and compares.
pub(crate) fn journal(
    disk: &Disk,
    answers: &BTreeMap<TicketId, Decision>,
    node: &mut Node,
) -> Result<Verdict, String> {
    let mut auditor = Auditor::new();
    let mut engines: Vec<Engine> = Vec::new();
    let mut effects = Vec::new();
    let mut reservations = 0;
    let found = read(disk, &mut |frame| {
        let body = frame.body().map_err(|error| error.to_string())?;
        if let Body::Genesis(m) = &body {
            engines = [1, 2, 4].map(|n| Engine::new(frame.envelope().cluster, m.partitions, n)).into();
        }
        reservations += u64::from(matches!(body, Body::Reserve(_)));
        engines.iter_mut().for_each(|engine| engine.replay(&frame, &body, &mut effects));
        effects.clear();
        auditor.frame(frame).map_err(|error| error.to_string())
    })
    .map_err(|error| error.to_string())?;
    decisions(&mut auditor, answers)?;
    let report = auditor.report();
    if let Some(breach) = report.breaches.first() {
        return Err(format!("the audit found {} breaches, the first: {breach}", report.breaches.len()));
    }
    let (fingerprint, profit) = node.attest()?;
    if profit != report.profit_minor {
        return Err(format!("the node's profit is {profit}, the audit's {}", report.profit_minor));
    }
    for engine in &mut engines {
        let replayed =
            engine.fingerprint().map_err(|odd| format!("{odd} entities differ from their hash"))?;
        if replayed != fingerprint {
            let shards = engine.shards.len();
            return Err(format!("replayed on {shards} shards: {replayed:032x}, live {fingerprint:032x}"));
        }
    }
    Ok(Verdict { frames: found.frames, reservations })
}

/// Every answer is the journal's, and the journal decided nothing that nobody was told.
fn decisions(auditor: &mut Auditor, answers: &BTreeMap<TicketId, Decision>) -> Result<(), String> {
    let rulings = auditor.take_rulings();
    let mut heard = 0;
    for ruling in &rulings {
        let Some(answer) = answers.get(&ruling.ticket) else {
            return Err(format!("{} was decided ({}) and nobody was told", ruling.ticket, ruling.code));
        };
        heard += 1;
        let told = (answer.code, answer.odds, answer.stake, answer.returned_minor.0, answer.decided);
        let due = (ruling.code, ruling.odds, ruling.stake, ruling.returned_minor, ruling.decided);
        if told != due {
            return Err(format!("{}: told {told:?}, by the journal {due:?}", ruling.ticket));
        }
    }
    if heard != answers.len() {
        return Err(format!("{} answers, but {heard} decisions in the journal", answers.len()));
    }
    Ok(())
}
