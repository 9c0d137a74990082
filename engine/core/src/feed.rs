//! What feeds report: freshness of a source, incidents, reference prices, publications.

use crate::delta::{Change, Context, Delta};
use crate::fixture::{Fixture, Model, reason_of, status_of};
use crate::market::{Life, Market, bit};
use crate::operate::{done, refused, warn};
use crate::partition::Partition;
use crate::quote;
use touchline_protocol::*;

/// Reasons that a source's silence gives.
const STALE: u32 = 1 << Reason::FeedStale as u8 | 1 << Reason::Failover as u8;
/// Reasons that `CLEAR` lifts.
const POSSIBLE: u32 = 1 << Reason::PossibleGoal as u8
    | 1 << Reason::PossibleRedCard as u8
    | 1 << Reason::PossiblePenalty as u8
    | 1 << Reason::VideoReview as u8;

/// A source promises to be heard again.
pub(crate) fn source_fresh(p: &Partition, ctx: &Context, m: &SourceFresh) -> Delta {
    let mut delta = Delta::default();
    let within = m.is_within(ctx.at, p.rules().configure.source_horizon_ms);
    let counts = within && p.alive_until(m.source).is_none_or(|held| m.alive_until > held);
    if counts {
        delta.change(Change::Source(m.source, Some(m.alive_until)));
        if ctx.at <= m.alive_until {
            let returned = fixtures_of(p, m.source).filter(|(_, fixture)| fixture.suspended & STALE != 0);
            for (id, fixture) in returned {
                let mut after = fixture.clone();
                after.suspended &= !STALE;
                delta.change(Change::Suspended(id, after.suspended));
                let marks =
                    open_markets(p, id, fixture).map(|(key, _)| (key, Code::MaterialChange)).collect();
                reprice(p, ctx, id, &after, marks, &mut delta);
                delta.shown_fixtures.push(id);
            }
        }
    }
    // One answer is enough for a frame that every partition applies.
    if p.id == PartitionId(0) {
        let code = if within { Code::Accepted } else { Code::FieldRange };
        done(&mut delta, ctx, Kind::SourceFresh, code, counts);
    }
    delta
}

/// A source's promise ran out.
pub(crate) fn source_expired(p: &Partition, _ctx: &Context, m: &SourceExpired) -> Delta {
    let mut delta = Delta::default();
    if p.alive_until(m.source) == Some(m.alive_until) {
        delta.change(Change::Source(m.source, None));
        suspend_fixtures_of(p, m.source, Reason::FeedStale, &mut delta);
    }
    delta
}

/// An epoch opens: where nobody listened for a while, fixtures whose source is not fresh now wait for it.
pub(crate) fn new_epoch(p: &Partition, ctx: &Context, m: &NewEpoch) -> Delta {
    let mut delta = Delta::default();
    if matches!(m.cause, EpochCause::Solo | EpochCause::Dual | EpochCause::Handoff) {
        return delta;
    }
    for source in p.by_source.keys().filter(|source| !p.is_fresh(**source, ctx.at)) {
        suspend_fixtures_of(p, *source, Reason::Failover, &mut delta);
    }
    delta
}

fn suspend_fixtures_of(p: &Partition, source: SourceId, reason: Reason, delta: &mut Delta) {
    let open = fixtures_of(p, source).filter(|(_, fixture)| fixture.is_open());
    for (id, fixture) in open.filter(|(_, fixture)| fixture.suspended & bit(reason) == 0) {
        delta.change(Change::Suspended(id, fixture.suspended | bit(reason)));
        delta.shown_fixtures.push(id);
    }
}

fn fixtures_of(p: &Partition, source: SourceId) -> impl Iterator<Item = (FixtureId, &Fixture)> {
    let ids = p.by_source.get(&source).into_iter().flatten();
    ids.filter_map(|id| p.fixtures.get(id).map(|fixture| (*id, fixture)))
}

/// Open markets of a fixture, in the order they were opened.
fn open_markets<'p>(
    p: &'p Partition,
    id: FixtureId,
    fixture: &'p Fixture,
) -> impl Iterator<Item = (MarketKey, &'p Market)> {
    let markets =
        fixture.markets.iter().filter_map(move |key| p.markets.get(&(id, *key)).map(|market| (*key, market)));
    markets.filter(|(_, market)| market.life == Life::Open)
}

/// Something happened in a match.
pub(crate) fn incident(p: &Partition, ctx: &Context, m: &Incident) -> Delta {
    let mut delta = Delta::default();
    let Some(fixture) = p.fixtures.get(&m.fixture) else {
        done(&mut delta, ctx, Kind::Incident, Code::FixtureNotFound, false);
        return delta;
    };
    if m.source != fixture.opened.source {
        let (found, due) = (m.source.0, fixture.opened.source.0);
        let why = format!("it comes from source {found}, the fixture's is {due}");
        refused(&mut delta, ctx, Kind::Incident, m.fixture, &why);
        return delta;
    }
    if m.source_seq <= fixture.source_seq {
        if m.board != fixture.board {
            let (told, last) = (m.source_seq, fixture.source_seq);
            let why = format!("report {told} came after {last} and tells another scoreboard: not applied");
            warn(&mut delta, m.fixture, &why);
        }
        done(&mut delta, ctx, Kind::Incident, Code::Accepted, false);
        return delta;
    }
    let before = &fixture.board;
    if m.board.period == Period::NotStarted && before.period != Period::NotStarted {
        refused(&mut delta, ctx, Kind::Incident, m.fixture, "the match has begun");
        return delta;
    }
    let rolled_back = bit(Reason::RollbackEvent);
    let others = fixture.suspended & !rolled_back;
    let mut after = fixture.clone();
    after.board = m.board;
    after.suspended = match reason_of(m.event) {
        Some(reason) => others | bit(reason),
        None if m.event == Event::Clear => others & !POSSIBLE,
        None => others,
    };
    if !fixture.is_settled() {
        after.status = status_of(&m.board);
    }
    delta.change(Change::Board(m.fixture, m.board, m.source_seq));
    if after.status != fixture.status {
        delta.change(Change::Status(m.fixture, after.status));
    }
    if after.suspended != fixture.suspended {
        delta.change(Change::Suspended(m.fixture, after.suspended));
    }
    // What was priced before a rollback, or in a later period than this one, was priced for another match.
    let resumes = fixture.suspended & rolled_back != 0 || m.board.period < before.period;
    let sport = fixture.opened.sport;
    let marks = open_markets(p, m.fixture, fixture)
        .filter_map(|(key, _)| {
            let by_table = p.rules().material(sport, m.event, before, &m.board, key.kind);
            Some((key, by_table.or(resumes.then_some(Code::MaterialChange))?))
        })
        .collect();
    reprice(p, ctx, m.fixture, &after, marks, &mut delta);
    delta.shown_fixtures.push(m.fixture);
    done(&mut delta, ctx, Kind::Incident, Code::Accepted, true);
    delta
}

/// Prices that a model is to be fitted to.
pub(crate) fn set_reference(p: &Partition, ctx: &Context, m: &SetReference) -> Delta {
    set_model(p, ctx, m.fixture, Kind::SetReference, |fixture| quote::calibrate(fixture, m))
}

/// Parameters of a model, set directly.
pub(crate) fn set_intensities(p: &Partition, ctx: &Context, m: &SetIntensities) -> Delta {
    let values = [m.home_nano, m.away_nano].map(|nano| nano as f64 * 1e-9);
    set_model(p, ctx, m.fixture, Kind::SetIntensities, |fixture| quote::given(fixture, values))
}

fn set_model(
    p: &Partition,
    ctx: &Context,
    id: FixtureId,
    kind: Kind,
    model: impl FnOnce(&Fixture) -> Result<Model, String>,
) -> Delta {
    let mut delta = Delta::default();
    let Some(fixture) = p.fixtures.get(&id) else {
        done(&mut delta, ctx, kind, Code::FixtureNotFound, false);
        return delta;
    };
    match model(fixture) {
        Ok(model) => {
            let after = Fixture { model, model_refused: false, ..fixture.clone() };
            delta.change(Change::Model(id, model));
            delta.change(Change::ModelRefused(id, false));
            reprice(p, ctx, id, &after, Vec::new(), &mut delta);
            done(&mut delta, ctx, kind, Code::Accepted, true);
        }
        Err(why) => {
            delta.change(Change::Input(id));
            delta.change(Change::ModelRefused(id, true));
            judge(p, ctx, id, fixture, false, &mut delta);
            refused(&mut delta, ctx, kind, id, &why);
        }
    }
    delta
}

/// Applies marks and sends what the model now says to be published: prices that differ from those last sent,
/// and every market whose last prices were computed before its mark.
pub(crate) fn reprice(
    p: &Partition,
    ctx: &Context,
    id: FixtureId,
    after: &Fixture,
    marks: Vec<(MarketKey, Code)>,
    delta: &mut Delta,
) {
    delta.change(Change::Input(id));
    for (key, code) in &marks {
        delta.change(Change::Mark(id, *key, *code));
    }
    let quotes = quote::Quoter::new(after, p.rules());
    let sane = match &quotes {
        Ok(None) if !after.model_refused => None,
        Ok(_) => Some(!after.model_refused),
        Err(_) => Some(false),
    };
    let is_news = sane.is_some_and(|sane| judge(p, ctx, id, after, sane, delta));
    if let Err(why) = &quotes
        && is_news
    {
        warn(delta, id, &format!("no prices: {why}"));
    }
    let Ok(Some(quotes)) = quotes else { return };
    let marked = |key: MarketKey| marks.iter().any(|(marked, _)| *marked == key);
    let mut fresh = Vec::new();
    for (key, market) in open_markets(p, id, after).filter(|(_, market)| !market.by_hand) {
        let Some(odds) = quotes.quote(market) else { continue };
        if odds != market.offered || marked(key) || market.offered_basis < market.mark {
            fresh.push((key, odds));
        }
    }
    offer(p.id, id, ctx.seq, fresh, delta);
}

/// Sends prices to be published.
pub(crate) fn offer(
    owner: PartitionId,
    fixture: FixtureId,
    basis: Seq,
    fresh: Vec<(MarketKey, Vec<u32>)>,
    delta: &mut Delta,
) {
    if fresh.is_empty() {
        return;
    }
    let mut markets = List::default();
    let mut prices = List::default();
    for (market, odds) in fresh {
        markets.0.push(PublishedMarket { market, selections: odds.len() as u8 });
        prices.0.extend(odds.iter().map(|milli| Price::decimal(*milli)));
        delta.change(Change::Offered(fixture, market, odds));
    }
    delta.send(owner, Publish { hop: crate::ticket::no_hop(), fixture, basis, markets, prices });
}

/// Sends the model's verdict on a fixture where it differs from what is in force; whether it does.
fn judge(
    p: &Partition,
    ctx: &Context,
    id: FixtureId,
    fixture: &Fixture,
    sane: bool,
    delta: &mut Delta,
) -> bool {
    let suspended = fixture.suspended & bit(Reason::PriceSanity) != 0;
    if suspended == sane {
        delta.send(p.id, PriceVerdict { hop: crate::ticket::no_hop(), fixture: id, sane, basis: ctx.seq });
    }
    suspended == sane
}

/// The model's verdict comes into force, unless the model has had something newer to judge since: what that led
/// to was compared with the state in force and sent where it differs, so an older word would undo it.
pub(crate) fn verdict(p: &Partition, m: &PriceVerdict) -> Delta {
    let mut delta = Delta::default();
    let newest = p.fixtures.get(&m.fixture).filter(|fixture| fixture.input <= m.basis);
    let Some(fixture) = newest else { return delta };
    let others = fixture.suspended & !bit(Reason::PriceSanity);
    let reasons = if m.sane { others } else { others | bit(Reason::PriceSanity) };
    delta.change(Change::Suspended(m.fixture, reasons));
    delta.shown_fixtures.push(m.fixture);
    delta
}

/// Published prices come into force.
pub(crate) fn publish(p: &Partition, _ctx: &Context, m: &Publish) -> Delta {
    let mut delta = Delta::default();
    let mut prices = m.prices.iter().cloned();
    for entry in m.markets.iter() {
        let odds: Vec<Price> = prices.by_ref().take(entry.selections.into()).collect();
        let Some(market) = p.markets.get(&(m.fixture, entry.market)) else { continue };
        let counts = market.life == Life::Open
            && !market.by_hand
            && market.mark <= m.basis
            && odds.len() == market.selections();
        if counts {
            delta.change(Change::Odds(m.fixture, entry.market, odds));
            delta.shown_markets.push((m.fixture, entry.market));
        }
    }
    delta
}
