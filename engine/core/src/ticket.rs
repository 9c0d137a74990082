//! A ticket from submission to decision: the checks of the home partition and of the fixture's owner.
//!
//! The order of the checks is the order of the codes' numbers (`RULES.md`). Where home and owner are one
//! partition the same functions run inline, so placement never changes a decision.

use crate::account::Account;
use crate::delta::{Change, Context, Delta};
use crate::effect::Audience;
use crate::exposure::{Position, smallest, worst_state};
use crate::fixture::Fixture;
use crate::limits::{in_force, passes};
use crate::market::{Life, Market, Results};
use crate::partition::Partition;
use crate::results::{ASKERS_MAX, Bet, Hold, Pending, Resolved, TicketKey, liability};
use touchline_protocol::wire::Message;
use touchline_protocol::*;
use xxhash_rust::xxh3::xxh3_64;

/// What the owner must check of a ticket.
struct Request {
    fixture: FixtureId,
    market: MarketKey,
    selection: u8,
    odds: Odds,
    stake: Stake,
    policy: OddsPolicy,
    tolerance_permille: u16,
    price_version: Seq,
    home_code: Code,
}

/// A ticket arrives at its home partition.
pub(crate) fn submit(p: &Partition, ctx: &Context, m: &SubmitTicket) -> Delta {
    let mut delta = Delta::default();
    let key = (m.brand, m.ticket);
    let asker = (ctx.origin, ctx.request);
    let content = content_hash(m);
    let oldest_ms = ctx.at_ms().saturating_sub(p.rules().genesis.result_window_ms);
    delta.change(Change::Expire(oldest_ms));

    if m.ticket.issued_ms() < oldest_ms {
        answer(&mut delta, asker, unstored(ctx, m, Code::Expired));
        return delta;
    }
    if let Some(known) = p.results.get(&key) {
        answer(&mut delta, asker, again(ctx, m, known, content));
        return delta;
    }
    if let Some(waiting) = p.pending.get(&key) {
        if waiting.content != content {
            answer(&mut delta, asker, unstored(ctx, m, Code::DuplicateConflict));
        } else if waiting.askers.len() < ASKERS_MAX && !waiting.askers.contains(&asker) {
            delta.change(Change::Ask(key, asker));
        } else {
            delta.effects.push((Audience::Asker { origin: asker.0, request: asker.1 }, overloaded(m).into()));
        }
        return delta;
    }
    let genesis = &p.rules().genesis;
    if p.results.len() + p.pending.len() >= genesis.results_max as usize
        || p.pending.len() >= genesis.pending_max as usize
    {
        delta.effects.push((Audience::Asker { origin: asker.0, request: asker.1 }, overloaded(m).into()));
        return delta;
    }
    let account = match bettor(p, m) {
        Ok(account) => account,
        Err(code) => {
            reject(&mut delta, ctx, m, code, Seq(0), content, vec![asker]);
            return delta;
        }
    };

    let within = |odds| within_customer_limit(p, account, odds, m.stake, 0);
    let home_code = within(m.odds).err().unwrap_or(Code::Accepted);
    let partitions = genesis.partitions;
    let owner = m.fixture.partition(partitions);
    if owner == p.id {
        let checked = check(p, ctx, &request(m, home_code));
        match checked.and_then(|(odds, position)| Ok((within(odds)?, position))) {
            Ok((odds, position)) => {
                delta.change(Change::Position(m.fixture, m.market, m.selection, position, 1));
                accept(&mut delta, ctx, m, odds, ctx.seq, content, vec![asker], 0);
            }
            Err(code) => reject(&mut delta, ctx, m, code, ctx.seq, content, vec![asker]),
        }
    } else {
        // Net winnings at the odds asked for are held while the owner checks, unless it will be rejected anyway.
        let held = if home_code == Code::Accepted { liability(m.odds, m.stake) } else { 0 };
        delta.change(Change::Liability((m.brand, m.customer), held));
        let pending = Pending { ticket: m.clone(), content, held_minor: held, askers: vec![asker] };
        delta.change(Change::Pend(key, Box::new(pending)));
        delta.send(owner, reserve_message(m, home_code));
    }
    delta
}

/// The owner checks a ticket of another partition and holds its liability.
pub(crate) fn reserve(p: &Partition, ctx: &Context, m: &Reserve) -> Delta {
    let mut delta = Delta::default();
    let asked = Request {
        fixture: m.fixture,
        market: m.market,
        selection: m.selection,
        odds: m.odds,
        stake: m.stake,
        policy: m.policy,
        tolerance_permille: m.tolerance_permille,
        price_version: m.price_version,
        home_code: m.home_code,
    };
    let checked = check(p, ctx, &asked);
    if let Ok((odds, position)) = checked {
        let hold =
            Hold { fixture: m.fixture, market: m.market, selection: m.selection, odds, stake: m.stake };
        delta.change(Change::Position(m.fixture, m.market, m.selection, position, 1));
        delta.change(Change::Hold((m.brand, m.ticket), hold));
    }
    delta.send(m.hop.from, reserved_message(m, checked.map(|(odds, _)| odds), ctx.seq));
    delta
}

/// The owner's answer decides a waiting ticket.
pub(crate) fn reserved(p: &Partition, ctx: &Context, m: &Reserved) -> Delta {
    let mut delta = Delta::default();
    let key = (m.brand, m.ticket);
    let Some(waiting) = p.pending.get(&key) else { return delta };
    let ticket = &waiting.ticket;
    let owner = m.hop.from;
    let askers = waiting.askers.clone();
    let decided = if m.code == Code::Accepted {
        bettor(p, ticket)
            .and_then(|account| within_customer_limit(p, account, m.odds, ticket.stake, waiting.held_minor))
            .map_err(|code| (code, true))
    } else {
        Err((m.code, false))
    };
    match decided {
        Ok(odds) => {
            delta.send(
                owner,
                Confirm { hop: no_hop(), brand: m.brand, ticket: m.ticket, fixture: ticket.fixture },
            );
            accept(&mut delta, ctx, ticket, odds, m.checked_at, waiting.content, askers, waiting.held_minor);
        }
        Err((code, held)) => {
            if held {
                delta.send(
                    owner,
                    Rollback { hop: no_hop(), brand: m.brand, ticket: m.ticket, fixture: ticket.fixture },
                );
            }
            delta.change(Change::Liability((ticket.brand, ticket.customer), -waiting.held_minor));
            reject(&mut delta, ctx, ticket, code, m.checked_at, waiting.content, askers);
        }
    }
    delta
}

/// The held liability is a bet's: it stays at stake, the hold goes.
pub(crate) fn confirm(m: &Confirm) -> Delta {
    let mut delta = Delta::default();
    delta.change(Change::Release((m.brand, m.ticket)));
    delta
}

/// The held liability is released.
pub(crate) fn rollback(p: &Partition, m: &Rollback) -> Delta {
    let mut delta = Delta::default();
    let key = (m.brand, m.ticket);
    if let Some(hold) = p.holds.get(&key) {
        let position = Position::of(hold.odds, hold.stake);
        delta.change(Change::Position(hold.fixture, hold.market, hold.selection, position, -1));
        delta.change(Change::Release(key));
    }
    delta
}

/// A defect was caught in `decide`: answer INTERNAL where somebody waits and suspend the fixture.
pub(crate) fn defect(p: &Partition, ctx: &Context, body: &Body) -> Delta {
    let mut delta = Delta::default();
    let fixture = match body {
        Body::SubmitTicket(m) => {
            let (key, asker, content) = ((m.brand, m.ticket), (ctx.origin, ctx.request), content_hash(m));
            // Whoever asks gets an answer each time: the stored one, or that the ticket still waits for its own.
            if let Some(known) = p.results.get(&key) {
                answer(&mut delta, asker, again(ctx, m, known, content));
            } else if p.pending.contains(&key) {
                let to = Audience::Asker { origin: asker.0, request: asker.1 };
                delta.effects.push((to, overloaded(m).into()));
            } else {
                reject(&mut delta, ctx, m, Code::Internal, Seq(0), content, vec![asker]);
            }
            Some(m.fixture)
        }
        Body::Reserve(m) => {
            delta.send(m.hop.from, reserved_message(m, Err(Code::Internal), ctx.seq));
            Some(m.fixture)
        }
        Body::Reserved(m) => p.pending.get(&(m.brand, m.ticket)).map(|waiting| {
            let ticket = &waiting.ticket;
            if m.code == Code::Accepted {
                let back =
                    Rollback { hop: no_hop(), brand: m.brand, ticket: m.ticket, fixture: ticket.fixture };
                delta.send(m.hop.from, back);
            }
            delta.change(Change::Liability((ticket.brand, ticket.customer), -waiting.held_minor));
            reject(
                &mut delta,
                ctx,
                ticket,
                Code::Internal,
                m.checked_at,
                waiting.content,
                waiting.askers.clone(),
            );
            ticket.fixture
        }),
        Body::Retire(m) => {
            crate::archive::pass_over(p, m, &mut delta);
            Some(m.fixture)
        }
        Body::Settled(_) | Body::Unsettled(_) => Some(crate::chores::put_off(ctx, body, &mut delta)),
        Body::Work(m) => crate::chores::pass_over(p, m, &mut delta),
        Body::Incident(m) => Some(m.fixture),
        Body::Publish(m) => Some(m.fixture),
        _ => None,
    };
    let answers = body.route(p.rules().genesis.partitions) != PartitionId::ALL || p.id == PartitionId(0);
    if answers && body.kind().class() == body::Class::Command && body.kind() != Kind::SubmitTicket {
        crate::operate::done(&mut delta, ctx, body.kind(), Code::Internal, false);
    }
    let known = fixture.and_then(|id| p.fixtures.get(&id).map(|fixture| (id, fixture)));
    if let Some((id, fixture)) = known {
        delta.change(Change::Suspended(id, fixture.suspended | crate::market::bit(Reason::Internal)));
        delta.shown_fixtures.push(id);
    }
    let note = format!("a defect was caught in {} at sequence {}", body.kind().name(), ctx.seq);
    let fixture = fixture.unwrap_or(FixtureId(0));
    delta.event(Alarm { event: 0, severity: Severity::Critical, fixture, note: Text::cut(&note) });
    delta
}

/// The customer's account, or why they may not bet at all: book, account, currency.
fn bettor<'p>(p: &'p Partition, m: &SubmitTicket) -> Result<&'p Account, Code> {
    if !p.book_open(m.brand) {
        return Err(Code::BettingClosed);
    }
    let account = p.accounts.get(&(m.brand, m.customer)).ok_or(Code::AccountNotFound)?;
    let currency = p.rules().currency(m.brand) != Some(m.currency);
    account.blocked().or(currency.then_some(Code::CurrencyUnsupported)).map_or(Ok(account), Err)
}

/// The odds, or CUSTOMER_LIMIT where open liability with a bet at them exceeds the customer's limit; `held` is what
/// the ticket holds already.
fn within_customer_limit(
    p: &Partition,
    account: &Account,
    odds: Odds,
    stake: Stake,
    held: i64,
) -> Result<Odds, Code> {
    let open = account.open_liability_minor - held + liability(odds, stake);
    let limit = account.limit(p.rules().configure.customer_limit_minor);
    if open > limit.0 { Err(Code::CustomerLimit) } else { Ok(odds) }
}

/// The owner's checks: the odds to be struck and what they stake, or the earliest failing code.
fn check(p: &Partition, ctx: &Context, r: &Request) -> Result<(Odds, Position), Code> {
    let (fixture, market) = open_market(p, r)?;
    if market.decided(fixture.score(), fixture.is_final()) {
        return Err(Code::PastCutoff);
    }
    if !p.is_fresh(fixture.opened.source, ctx.at) {
        return Err(Code::FeedStale);
    }
    // The price in force must be as new as the one that the bettor saw: what a ticket claims is not enough.
    if r.price_version < market.mark || market.version < market.mark {
        return Err(market.mark_code);
    }
    let odds = struck(r, &market.odds[usize::from(r.selection)])?;
    stake_bounds(p, r, odds)?;
    if r.home_code != Code::Accepted {
        return Err(r.home_code);
    }
    let position = Position::of(odds, r.stake);
    liability_limits(p, r, fixture, market, &position)?;
    Ok((odds, position))
}

fn open_market<'p>(p: &'p Partition, r: &Request) -> Result<(&'p Fixture, &'p Market), Code> {
    let fixture = p.fixtures.get(&r.fixture).ok_or(Code::FixtureNotFound)?;
    if !fixture.is_open() {
        return Err(Code::FixtureClosed);
    }
    let market = p.markets.get(&(r.fixture, r.market)).ok_or(Code::MarketNotFound)?;
    if fixture.suspended != 0 || market.suspended != 0 {
        return Err(Code::MarketSuspended);
    }
    if market.life != Life::Open || !market.has_prices() {
        return Err(Code::MarketNotOpen);
    }
    match market.odds.get(usize::from(r.selection)).and_then(Price::odds) {
        None => Err(Code::SelectionInactive),
        Some(_) => Ok((fixture, market)),
    }
}

/// The odds policy: the odds that the bet takes, or ODDS_CHANGED. Taken are always the published ones, whatever
/// fraction a ticket names.
fn struck(r: &Request, current: &Price) -> Result<Odds, Code> {
    let published = current.odds().ok_or(Code::SelectionInactive)?;
    let change = published.compared_with(r.odds);
    let takes = match r.policy {
        OddsPolicy::Exact => change.is_eq(),
        OddsPolicy::Higher => change.is_ge(),
        OddsPolicy::Any => true,
        OddsPolicy::Tolerance => {
            let least = u64::from(r.odds.milli) * u64::from(1000 - r.tolerance_permille);
            u64::from(published.milli) * 1000 >= least
        }
    };
    if takes { Ok(published) } else { Err(Code::OddsChanged) }
}

fn stake_bounds(p: &Partition, r: &Request, odds: Odds) -> Result<(), Code> {
    let c = &p.rules().configure;
    if r.stake.0 < c.min_stake_minor {
        Err(Code::BelowMinStake)
    } else if r.stake.0 > c.max_stake_minor {
        Err(Code::AboveMaxStake)
    } else if odds.returned_won(r.stake).0 > c.max_payout_minor {
        Err(Code::AboveMaxPayout)
    } else if odds.milli > c.max_odds_milli {
        Err(Code::OddsTooHigh)
    } else {
        Ok(())
    }
}

fn liability_limits(
    p: &Partition,
    r: &Request,
    fixture: &Fixture,
    market: &Market,
    position: &Position,
) -> Result<(), Code> {
    let selection = usize::from(r.selection);
    let limit =
        |scope| in_force(&p.limits, p.rules(), fixture.stage(), scope, r.fixture, r.market, r.selection);
    let score = fixture.score();

    let before = market.positions[selection].loss_if_won();
    if !passes(limit(LimitScope::Selection), || before, before + position.loss_if_won()) {
        return Err(Code::SelectionLimit);
    }
    let is_final = fixture.is_final();
    let before = || market.worst_loss(score, is_final, None);
    let after = market.worst_loss(score, is_final, Some((selection, position)));
    if !passes(limit(LimitScope::Market), before, after) {
        return Err(Code::MarketLimit);
    }
    let fixture_before = || p.worst_loss(r.fixture, fixture).0;
    let fixture_after = match &market.results {
        Results::Score(_, map) => {
            let others = p
                .open_without_states(r.fixture, fixture)
                .map(|market| market.worst_loss(score, is_final, None));
            let others: i64 = others.sum();
            // With a bet no state at all is below this: where that is within the limit, none need be looked at.
            let least = fixture.least_state + smallest(&position.house_results());
            if others - least <= limit(LimitScope::Fixture) {
                return Ok(());
            }
            others - map.worst_with(selection, position, &fixture.states, score, is_final).0
        }
        Results::Sets(_) | Results::Named => fixture_before() - before() + after,
    };
    if !passes(limit(LimitScope::Fixture), fixture_before, fixture_after) {
        return Err(Code::FixtureLimit);
    }
    Ok(())
}

impl Partition {
    /// The worst loss of a fixture over the results still possible, and whether it is a bound: score states
    /// and every other open market are summed as if their worst could come together.
    pub fn worst_loss(&self, id: FixtureId, fixture: &Fixture) -> (i64, bool) {
        let (score, is_final) = (fixture.score(), fixture.is_final());
        let mut worst = -worst_state(&fixture.states, score, is_final).0;
        let mut parts = usize::from(fixture.markets.iter().any(|key| {
            let market = self.markets.get(&(id, *key));
            market.is_some_and(|market| {
                market.life == Life::Open && matches!(market.results, Results::Score(..))
            })
        }));
        for market in self.open_without_states(id, fixture) {
            parts += 1;
            worst += market.worst_loss(score, is_final, None);
        }
        (worst, parts > 1)
    }

    /// Open markets of a fixture whose bets are not on its score states.
    fn open_without_states<'p>(
        &'p self,
        id: FixtureId,
        fixture: &'p Fixture,
    ) -> impl Iterator<Item = &'p Market> {
        let markets = fixture.without_states.iter().filter_map(move |key| self.markets.get(&(id, *key)));
        markets.filter(|market| market.life == Life::Open)
    }
}

#[allow(clippy::too_many_arguments)]
fn accept(
    delta: &mut Delta,
    ctx: &Context,
    m: &SubmitTicket,
    odds: Odds,
    checked_at: Seq,
    content: u64,
    askers: Vec<(u64, u64)>,
    held: i64,
) {
    delta.change(Change::Liability((m.brand, m.customer), liability(odds, m.stake) - held));
    let bet = Bet {
        customer: m.customer,
        fixture: m.fixture,
        market: m.market,
        selection: m.selection,
        odds,
        stake: m.stake,
        settled: None,
    };
    let key = (m.brand, m.ticket);
    delta.change(Change::Bet(key, bet));
    let decision = Decision {
        odds,
        returned_minor: odds.returned_won(m.stake),
        checked_at,
        ..unstored(ctx, m, Code::Accepted)
    };
    delta.change(Change::Decide(key, Box::new(decision), content, askers));
}

fn reject(
    delta: &mut Delta,
    ctx: &Context,
    m: &SubmitTicket,
    code: Code,
    checked_at: Seq,
    content: u64,
    askers: Vec<(u64, u64)>,
) {
    let decision = Decision { checked_at, ..unstored(ctx, m, code) };
    delta.change(Change::Decide((m.brand, m.ticket), Box::new(decision), content, askers));
}

/// What somebody hears who asks for what is decided.
fn again(ctx: &Context, m: &SubmitTicket, known: &Resolved, content: u64) -> Decision {
    if known.content == content { known.decision.clone() } else { unstored(ctx, m, Code::DuplicateConflict) }
}

/// An answer at this frame; stored only if the caller does so.
fn unstored(ctx: &Context, m: &SubmitTicket, code: Code) -> Decision {
    Decision {
        event: 0,
        brand: m.brand,
        ticket: m.ticket,
        code,
        odds: m.odds,
        stake: m.stake,
        returned_minor: Money(0),
        decided: ctx.seq,
        checked_at: Seq(0),
        decided_at: ctx.at,
    }
}

fn answer(delta: &mut Delta, (origin, request): (u64, u64), decision: Decision) {
    delta.effects.push((Audience::Asker { origin, request }, decision.into()));
}

fn overloaded(m: &SubmitTicket) -> Refused {
    Refused {
        of: Kind::SubmitTicket as u16,
        code: Code::Overloaded,
        retry_ms: 100,
        brand: m.brand,
        ticket: m.ticket,
        note: Text::cut("too many tickets are waiting or remembered in this partition; send it again later"),
    }
}

fn request(m: &SubmitTicket, home_code: Code) -> Request {
    Request {
        fixture: m.fixture,
        market: m.market,
        selection: m.selection,
        odds: m.odds,
        stake: m.stake,
        policy: m.policy,
        tolerance_permille: m.tolerance_permille,
        price_version: m.price_version,
        home_code,
    }
}

fn reserve_message(m: &SubmitTicket, home_code: Code) -> Reserve {
    Reserve {
        hop: no_hop(),
        brand: m.brand,
        ticket: m.ticket,
        fixture: m.fixture,
        market: m.market,
        selection: m.selection,
        odds: m.odds,
        stake: m.stake,
        policy: m.policy,
        tolerance_permille: m.tolerance_permille,
        price_version: m.price_version,
        home_code,
    }
}

fn reserved_message(m: &Reserve, checked: Result<Odds, Code>, seq: Seq) -> Reserved {
    Reserved {
        hop: no_hop(),
        brand: m.brand,
        ticket: m.ticket,
        code: checked.err().unwrap_or(Code::Accepted),
        odds: checked.unwrap_or(m.odds),
        checked_at: seq,
    }
}

/// Filled in when the message enters the outbox.
pub(crate) fn no_hop() -> Hop {
    Hop { from: PartitionId(0), number: 0 }
}

/// XXH3-64 over every field of the ticket.
fn content_hash(m: &SubmitTicket) -> u64 {
    let mut bytes = Vec::with_capacity(128);
    m.put_body(&mut bytes);
    xxh3_64(&bytes)
}

/// A ticket's key, for callers that look one up.
pub fn key_of(m: &SubmitTicket) -> TicketKey {
    (m.brand, m.ticket)
}
