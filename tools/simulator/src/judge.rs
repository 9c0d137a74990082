//! What must hold at the end: the journal, read by the naive auditor and by the core on other numbers of
//! shards, says what the clients were told, what left the node and what the live node holds.

use crate::answers::Answers;
use crate::disk::Disk;
use crate::ledger::Ledger;
use crate::node::Node;
use crate::outcome::Outcome;
use crate::poison;
use crate::streams::{Streams, event_number};
use std::collections::BTreeMap;
use touchline_auditor::Auditor;
use touchline_core::poison::Poison;
use touchline_core::{Audience, Effect, Engine};
use touchline_journal::read;
use touchline_node::recovery::newest_snapshot;
use touchline_protocol::*;

/// What the clients were told.
pub(crate) struct Told<'a> {
    /// The first answers of tickets.
    pub(crate) answers: &'a BTreeMap<TicketId, Decision>,
    pub(crate) streams: &'a Streams,
}

/// Reads the journal and compares; counts what it holds.
pub(crate) fn journal(
    disk: &Disk,
    archive: Option<&[Vec<u8>]>,
    poison: Option<Poison>,
    told: &Told<'_>,
    ledger: &mut Ledger,
    node: &mut Node,
    out: &mut Outcome,
) -> Result<(), String> {
    let mut auditor = Auditor::with_defects(poison);
    let mut replay = Replay::default();
    let mut judge = |frame: FrameRef<'_>| {
        let body = frame.body().map_err(|error| error.to_string())?;
        count(&frame, &body, out);
        let caused = replay.frame(&frame, &body, ledger.is_start(frame.seq()))?;
        out.poisoned += u64::from(poison::check(poison, &frame, &body, &caused)?);
        out.effects += ledger.check(frame.seq(), &caused)?;
        auditor.frame(frame).map_err(|error| error.to_string())
    };
    out.frames = match archive {
        None => read(disk, None, &mut judge).map_err(|error| error.to_string())?.frames,
        Some(archive) => {
            for bytes in archive {
                judge(FrameRef::parse(bytes).map_err(|error| error.to_string())?)?;
            }
            let base = newest_snapshot(disk, 1).map_err(|error| error.to_string())?.map(|(base, _)| base);
            let journal = read(disk, base.as_ref(), &mut |_| Ok(())).map_err(|error| error.to_string())?;
            let last = archive.last().and_then(|bytes| FrameRef::parse(bytes).ok());
            if last.map(|frame| (frame.seq(), frame.chain()))
                != Some((journal.position.seq, journal.position.chain))
            {
                return Err("the primary's journal does not end with what was committed".into());
            }
            archive.len() as u64
        }
    };
    ledger.check_rest()?;
    replay.answers.check_conflicts()?;
    told.streams.check(&replay.events)?;
    decisions(&mut auditor, told.answers)?;
    let report = auditor.report();
    if let Some(breach) = report.breaches.first() {
        return Err(format!("the audit found {} breaches, the first: {breach}", report.breaches.len()));
    }
    if report.pending > 0 {
        return Err(format!("{} tickets still wait for another partition", report.pending));
    }
    if report.chores > 0 {
        return Err(format!("nothing moves, but {} settlements or leaves are under way", report.chores));
    }
    if node.inside() != (0, 0) {
        return Err(format!("nothing moves, but tickets and commands hold places: {:?}", node.inside()));
    }
    let (fingerprint, profit) = node.fingerprint()?;
    if profit != report.profit_minor {
        return Err(format!("the node's profit is {profit}, the audit's {}", report.profit_minor));
    }
    replay.compare(fingerprint)
}

fn count(frame: &FrameRef<'_>, body: &Body, out: &mut Outcome) {
    match body {
        Body::Reserve(_) => out.reservations += 1,
        Body::Settled(_) => out.settlements += 1,
        Body::Unsettled(_) => out.rollbacks += 1,
        Body::SourceExpired(_) => out.lapses += 1,
        Body::Archive(_) => out.archives += 1,
        Body::Retire(_) => out.retirements += 1,
        Body::Recall(_) => out.recalls += 1,
        Body::Work(_) => out.works += 1,
        // One that does not cover the frame before it is void.
        Body::Attest(m) if m.covers.0 + 1 == frame.seq().0 => out.attestations += 1,
        _ => {}
    }
}

/// The log through the core again, on 1, 2 and 4 shards at once.
#[derive(Default)]
struct Replay {
    engines: Vec<Engine>,
    answers: Answers,
    /// The partitions' event streams.
    events: BTreeMap<(PartitionId, u64), Body>,
    next_event: BTreeMap<PartitionId, u64>,
}

impl Replay {
    /// Follows a frame; what it causes, and at a start everything that subscribers see.
    fn frame(&mut self, frame: &FrameRef<'_>, body: &Body, start: bool) -> Result<Vec<Effect>, String> {
        if let Body::Genesis(m) = body {
            self.engines = [1, 2, 4].map(|n| Engine::new(frame.envelope().cluster, m.partitions, n)).into();
        }
        self.answers.frame(&frame.envelope(), body);
        let mut caused: Option<Vec<Effect>> = None;
        for engine in &mut self.engines {
            let mut effects = Vec::new();
            engine.replay(frame, body, &mut effects);
            // Stable: each partition's own order stays.
            effects.sort_by_key(|effect| effect.partition);
            let first = caused.get_or_insert_with(|| effects.clone());
            if *first != effects {
                let shards = engine.shards.len();
                return Err(format!("frame {}: {shards} shards cause other effects", frame.seq()));
            }
        }
        let mut caused = caused.unwrap_or_default();
        for effect in &caused {
            self.answers.effect(effect)?;
            self.event(effect)?;
        }
        if let (true, Some(engine)) = (start, self.engines.first()) {
            let partitions = engine.shards.iter().flat_map(touchline_core::Shard::partitions);
            caused.extend(partitions.flat_map(|partition| partition.showcase(frame.seq())));
        }
        Ok(caused)
    }

    /// Each partition numbers its events from 1 without a gap.
    fn event(&mut self, effect: &Effect) -> Result<(), String> {
        let Some(number) = event_number(&effect.body).filter(|_| effect.to == Audience::Events) else {
            return Ok(());
        };
        let next = self.next_event.entry(effect.partition).or_insert(1);
        if number != *next {
            return Err(format!(
                "frame {}: event {number} of partition {} where {next} is next",
                effect.seq, effect.partition.0
            ));
        }
        *next += 1;
        self.events.insert((effect.partition, number), effect.body.clone());
        Ok(())
    }

    fn compare(&mut self, live: u128) -> Result<(), String> {
        for engine in &mut self.engines {
            let replayed =
                engine.fingerprint().map_err(|odd| format!("{odd} entities differ from their hash"))?;
            if replayed != live {
                let shards = engine.shards.len();
                return Err(format!("replayed on {shards} shards: {replayed:032x}, live {live:032x}"));
            }
        }
        Ok(())
    }
}

/// Every answer is the journal's, and the journal decided nothing that nobody was told.
fn decisions(auditor: &mut Auditor, told: &BTreeMap<TicketId, Decision>) -> Result<(), String> {
    let rulings = auditor.take_rulings();
    for ruling in &rulings {
        let Some(answer) = told.get(&ruling.ticket) else {
            return Err(format!("{} was decided ({}) and nobody was told", ruling.ticket, ruling.code));
        };
        let told = (answer.code, answer.odds, answer.stake, answer.returned_minor.0, answer.decided);
        let due = (ruling.code, ruling.odds, ruling.stake, ruling.returned_minor, ruling.decided);
        if told != due {
            return Err(format!("{}: told {told:?}, by the journal {due:?}", ruling.ticket));
        }
    }
    if rulings.len() != told.len() {
        return Err(format!("{} answers, but {} decisions in the journal", told.len(), rulings.len()));
    }
    Ok(())
}
