//! Runs a script: each line becomes a command at the script's own time.

use crate::language::{Line, What};
use crate::parse;
use crate::show;
use crate::units::Name;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use touchline_core::{Batch, Effect, Engine, Input, Now};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

/// When a script begins: 2026-01-01 00:00 UTC.
const START_NS: i64 = 1_767_225_600_000_000_000;
/// When it ends at the latest: 100 years of 365 days later, well before nanoseconds leave their type.
const END_NS: i64 = START_NS + 100 * 365 * 86_400 * 1_000_000_000;
/// Who acts in a script.
const OPERATOR: OperatorId = OperatorId(1);

/// How to run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Number of shards; it never shows.
    pub shards: usize,
}

/// Why a script ended early.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// A line is wrong.
    #[error("line {line}: {why}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// The script cannot be read or the effects not written.
    #[error("line {line}: {error}")]
    Io {
        /// Where it was.
        line: u64,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

/// Runs a script; every effect is written as one JSON line.
pub fn run(input: impl BufRead, out: &mut impl Write, options: Options) -> Result<(), ScriptError> {
    let mut script = Script::new(options.shards);
    for (line, text) in (1..).zip(input.lines()) {
        let text = text.map_err(|error| ScriptError::Io { line, error })?;
        if text.trim().is_empty() || text.trim_start().starts_with('#') {
            continue;
        }
        let lines = parse::line(&text).and_then(|parsed| script.line(line, parsed));
        let lines = lines.map_err(|why| ScriptError::Line { line, why })?;
        let written = lines.iter().try_for_each(|json| writeln!(out, "{json}"));
        written.map_err(|error| ScriptError::Io { line, error })?;
    }
    out.flush().map_err(|error| ScriptError::Io { line: 0, error })
}

struct Script {
    engine: Engine,
    now: Now,
    log: Batch,
    effects: Vec<Effect>,
    tickets: BTreeMap<String, SubmitTicket>,
    /// The last record told of each archived bet and fixture.
    archived: (BTreeMap<(BrandId, TicketId), BetArchived>, BTreeMap<FixtureId, FixtureArchived>),
    boots: u128,
}

impl Script {
    fn new(shards: usize) -> Self {
        let now = Now { mono_ns: 0, utc_ns: START_NS };
        let mut script = Script {
            engine: Engine::new(1, 64, shards),
            now,
            log: Batch::default(),
            effects: Vec::new(),
            tickets: BTreeMap::new(),
            archived: Default::default(),
            boots: 1,
        };
        let Script { engine, log, effects, .. } = &mut script;
        engine.begin(now, genesis(), epoch(1), log, effects);
        let standard: Line = serde_json::from_value(json!({"do": "configure"})).expect("all have defaults");
        let configure = script.command(0, standard).expect("the defaults are in range");
        configure.into_iter().for_each(|body| script.offer(body));
        script.effects.clear();
        script
    }

    /// Runs a line; what it prints.
    fn line(&mut self, line: u64, parsed: Line) -> Result<Vec<Json>, String> {
        if let Line::Show { .. } = parsed {
            let mut shown = self.show(&parsed)?;
            shown["line"] = line.into();
            return Ok(vec![shown]);
        }
        match self.command(line, parsed)? {
            Some(body) => {
                body.check_range().map_err(|error| error.to_string())?;
                self.offer(body);
            }
            None => self.engine.run(self.now, &mut self.log, &mut self.effects),
        }
        self.log = Batch::default();
        let at_ms = self.now.mono_ns / 1_000_000;
        let refusals = self.engine.refusals.drain(..).map(|refusal| {
            let body = Body::from(refusal.refused);
            json!({"line": line, "at_ms": at_ms, "seq": 0, "to": "asker", "kind": "Refused", "body": show::value(&body.show())})
        });
        let mut lines: Vec<Json> = refusals.collect();
        // Partitions answer one frame in the order of their shards; by their numbers the order says nothing of that.
        self.effects.sort_by_key(|effect| (effect.seq, effect.partition));
        for effect in &self.effects {
            match &effect.body {
                Body::BetArchived(m) => drop(self.archived.0.insert((m.bet.brand, m.bet.ticket), m.clone())),
                Body::FixtureArchived(m) => drop(self.archived.1.insert(m.record.fixture, m.clone())),
                _ => {}
            }
        }
        lines.extend(self.effects.drain(..).map(|effect| show::effect(line, at_ms, &effect)));
        Ok(lines)
    }

    fn offer(&mut self, body: Body) {
        let mut frame = Vec::new();
        encode(&Envelope::session(1, Epoch(1), 1), &body, &mut frame);
        let input = Input::Client { origin: 1, role: Role::Operator, frame };
        self.engine.input(self.now, input, &mut self.log, &mut self.effects);
    }

    fn at(&self, ms: u64) -> At {
        let ns = i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        At(self.now.utc_ns.saturating_add(ns))
    }

    /// The command of a line; `None` where it only moves time.
    fn command(&mut self, number: u64, line: Line) -> Result<Option<Body>, String> {
        let note = Text::cut("script");
        let body: Body = match line {
            Line::Configure {
                min_stake,
                max_stake,
                max_payout,
                max_odds,
                football_margin_percent,
                tennis_margin_percent,
                customer_limit,
                pre_match,
                live,
                source_horizon_ms,
                brands,
                material,
            } => {
                if brands.len() > 64 || material.len() > 64 {
                    return Err("at most 64 brands and 64 material rules".into());
                }
                let brand =
                    |b: &crate::language::Brand| BrandRule { brand: BrandId(b.id), currency: b.currency.0 };
                let rule = |m: &crate::language::Material| MaterialRule {
                    sport: m.sport.0,
                    event: m.event.0,
                    market: m.market,
                };
                Configure {
                    operator: OPERATOR,
                    min_stake_minor: min_stake.0,
                    max_stake_minor: max_stake.0,
                    max_payout_minor: max_payout.0,
                    max_odds_milli: max_odds.0.milli,
                    football_margin_ppm: football_margin_percent.0,
                    tennis_margin_ppm: tennis_margin_percent.0,
                    customer_limit_minor: customer_limit.0,
                    selection_limit_pre_minor: pre_match[0].0,
                    selection_limit_live_minor: live[0].0,
                    market_limit_pre_minor: pre_match[1].0,
                    market_limit_live_minor: live[1].0,
                    fixture_limit_pre_minor: pre_match[2].0,
                    fixture_limit_live_minor: live[2].0,
                    source_horizon_ms,
                    brands: List(brands.iter().map(brand).collect()),
                    material: List(material.iter().map(rule).collect()),
                }
                .into()
            }
            Line::Advance { ms } => {
                let left_ms = (END_NS - self.now.utc_ns) as u64 / 1_000_000;
                if ms > left_ms {
                    return Err(format!("ms: at most {left_ms} here; a script lasts at most 100 years"));
                }
                self.now.mono_ns += ms * 1_000_000;
                self.now.utc_ns += (ms * 1_000_000) as i64;
                return Ok(None);
            }
            Line::Restart {} => {
                self.boots += 1;
                let Script { engine, now, log, effects, boots, .. } = self;
                engine.open_epoch(*now, epoch(*boots), log, effects);
                return Ok(None);
            }
            Line::SourceFresh { source, for_ms } => {
                SourceFresh { source: SourceId(source), alive_until: self.at(for_ms) }.into()
            }
            Line::OpenAccount { customer, brand, currency, factor_permille } => OpenAccount {
                brand: BrandId(brand),
                customer: CustomerId(customer),
                currency: currency.0,
                factor_permille,
            }
            .into(),
            Line::SetAccountStatus { customer, brand, status } => SetAccountStatus {
                brand: BrandId(brand),
                customer: CustomerId(customer),
                status: status.0,
                operator: OPERATOR,
                note,
            }
            .into(),
            Line::SetBook { brand, open } => {
                SetBook { brand: BrandId(brand), open, operator: OPERATOR, note }.into()
            }
            Line::OpenFixture {
                fixture,
                sport,
                home,
                away,
                source,
                starts_in_ms,
                margin_percent,
                best_of,
            } => OpenFixture {
                fixture: FixtureId(fixture),
                sport: sport.0,
                competition: CompetitionId(0),
                tier: 1,
                source: SourceId(source),
                start_at: self.at(starts_in_ms),
                margin_ppm: margin_percent.0,
                best_of,
                home: Text::cut(&home),
                away: Text::cut(&away),
            }
            .into(),
            Line::OpenMarkets { fixture, markets } => {
                if markets.len() > 256 {
                    return Err("markets: at most 256".into());
                }
                let spec = |m: &crate::language::MarketSpec| MarketSpec {
                    market: MarketKey::new(m.market, m.line.0),
                    selections: m.selections,
                };
                OpenMarkets { fixture: FixtureId(fixture), markets: List(markets.iter().map(spec).collect()) }
                    .into()
            }
            Line::SetReference { fixture, home, draw, away, total_line, over, under } => {
                let milli = |odds: Option<crate::units::Odds>| odds.map_or(0, |odds| odds.0.milli);
                SetReference {
                    fixture: FixtureId(fixture),
                    home_milli: home.0.milli,
                    draw_milli: milli(draw),
                    away_milli: away.0.milli,
                    total_line: total_line.map_or(0, |line| line.0),
                    over_milli: milli(over),
                    under_milli: milli(under),
                }
                .into()
            }
            Line::SetIntensities { fixture, home, away } => {
                SetIntensities { fixture: FixtureId(fixture), home_nano: home.0, away_nano: away.0 }.into()
            }
            Line::Incident {
                fixture,
                event,
                side,
                period,
                clock_ms,
                score,
                reds,
                games,
                points,
                server,
                source,
                source_seq,
            } => {
                let (period, server) = (period.0, server.0);
                Incident {
                    fixture: FixtureId(fixture),
                    source: SourceId(source),
                    source_seq: source_seq.unwrap_or(number),
                    event: event.0,
                    side: side.0,
                    board: Scoreboard { period, clock_ms, score, reds, games, points, server },
                }
                .into()
            }
            Line::Suspend { fixture, market, line, reason } => suspend(fixture, market, line, reason, true),
            Line::Release { fixture, market, line, reason } => suspend(fixture, market, line, reason, false),
            Line::SetLimit { scope, stage, brand, customer, fixture, market, line, selection, value } => {
                SetLimit {
                    scope: scope.0,
                    stage: stage.0,
                    brand: BrandId(brand),
                    customer: CustomerId(customer),
                    fixture: FixtureId(fixture),
                    market: MarketKey::new(market, line.0),
                    selection,
                    value_minor: value.map_or(-1, |value| value.0),
                    operator: OPERATOR,
                    note,
                }
                .into()
            }
            Line::SetPrices { fixture, market, line, prices, basis } => {
                if prices.len() > 40 {
                    return Err("prices: at most 40".into());
                }
                let price =
                    |odds: &Option<crate::units::Odds>| odds.map_or(Price::NONE, |odds| odds.0.into());
                SetPrices {
                    fixture: FixtureId(fixture),
                    market: MarketKey::new(market, line.0),
                    operator: OPERATOR,
                    basis: basis.map_or(self.engine.sequencer.last(), Seq),
                    prices: List(prices.iter().map(price).collect()),
                }
                .into()
            }
            Line::SettleFixture { fixture, score: [home, away], certainty } => SettleFixture {
                fixture: FixtureId(fixture),
                home,
                away,
                certainty: certainty.0,
                operator: OPERATOR,
            }
            .into(),
            Line::SettleMarket { fixture, market, line, selection, certainty } => SettleMarket {
                fixture: FixtureId(fixture),
                market: MarketKey::new(market, line.0),
                selection,
                certainty: certainty.0,
                operator: OPERATOR,
            }
            .into(),
            Line::VoidMarket { fixture, market, line } => {
                let (fixture, market) = (FixtureId(fixture), MarketKey::new(market, line.0));
                VoidMarket { fixture, market, operator: OPERATOR, note }.into()
            }
            Line::RollbackSettlement { fixture, market, line } => {
                let (fixture, market) = (FixtureId(fixture), MarketKey::new(market, line.0));
                RollbackSettlement { fixture, market, operator: OPERATOR, note }.into()
            }
            Line::SetRetention { ms } => SetRetention { retention_ms: ms, operator: OPERATOR, note }.into(),
            Line::Reopen { name, stake } => {
                let mut reopen = self.reopening(&name)?;
                reopen.bet.stake = stake.map_or(Ok(reopen.bet.stake), |stake| self::stake(stake.0))?;
                reopen.into()
            }
            ticket @ Line::Ticket { .. } => self.ticket(number, ticket)?.into(),
            Line::Resubmit { name, stake } => {
                let mut ticket = self.named(&name)?.clone();
                ticket.stake = stake.map_or(Ok(ticket.stake), |stake| self::stake(stake.0))?;
                ticket.into()
            }
            Line::Show { .. } => return Err("show is no command".into()),
        };
        Ok(Some(body))
    }

    fn ticket(&mut self, number: u64, line: Line) -> Result<SubmitTicket, String> {
        let Line::Ticket {
            name,
            id,
            customer,
            brand,
            currency,
            fixture,
            market,
            line,
            selection,
            odds,
            stake,
            policy,
            tolerance_permille,
            price_version,
        } = line
        else {
            return Err("not a ticket".into());
        };
        let (brand, customer, fixture) = (BrandId(brand), CustomerId(customer), FixtureId(fixture));
        let market = MarketKey::new(market, line.0);
        let (in_force, version) = self.in_force(fixture, market, selection);
        let odds = odds.map(|odds| odds.0).or(in_force);
        let now_ms = (self.now.utc_ns / 1_000_000) as u64;
        let ticket = SubmitTicket {
            brand,
            ticket: id.map_or_else(|| TicketId::new(now_ms, brand, customer, number), |id| id.0),
            customer,
            currency: currency.0,
            channel: 0,
            fixture,
            market,
            selection,
            odds: odds.ok_or("the selection has no price; give the odds that the bettor saw")?,
            stake: self::stake(stake.0)?,
            policy: policy.0,
            tolerance_permille,
            price_version: price_version.map_or(version, Seq),
        };
        if let Some(name) = name {
            if self.tickets.contains_key(&name) {
                return Err(format!("the name {name:?} is taken by an earlier ticket"));
            }
            self.tickets.insert(name, ticket.clone());
        }
        Ok(ticket)
    }

    fn reopening(&self, name: &str) -> Result<Reopen, String> {
        let ticket = self.named(name)?;
        let bet = self.archived.0.get(&(ticket.brand, ticket.ticket));
        let bet = bet.ok_or_else(|| format!("the bet of {name:?} was never archived"))?.clone();
        let fixture = self.archived.1.get(&bet.bet.fixture);
        let fixture = fixture.ok_or_else(|| format!("the fixture of {name:?} was never archived"))?.clone();
        Ok(Reopen {
            bet: bet.bet,
            record: fixture.record,
            operator: OPERATOR,
            home: fixture.home,
            away: fixture.away,
            markets: fixture.markets,
            note: Text::cut("script"),
        })
    }

    fn named(&self, name: &str) -> Result<&SubmitTicket, String> {
        self.tickets.get(name).ok_or_else(|| format!("no earlier ticket has the name {name:?}"))
    }

    /// Odds and version in force.
    fn in_force(&self, fixture: FixtureId, market: MarketKey, selection: u8) -> (Option<Odds>, Seq) {
        let exposure = self.engine.partition(fixture.partition(64)).and_then(|owner| owner.exposure(fixture));
        let found = exposure.and_then(|e| e.markets.into_iter().find(|m| m.market == market));
        let Some(found) = found else { return (None, Seq(0)) };
        let milli = found.selections.get(usize::from(selection)).map_or(0, |s| s.odds_milli);
        ((milli != 0).then_some(Odds::decimal(milli)), found.version)
    }

    fn show(&mut self, line: &Line) -> Result<Json, String> {
        let Line::Show { what, fixture, market, line, name, brand, customer } = line else {
            return Err("not a query".into());
        };
        let id = FixtureId(*fixture);
        let exposure = self.engine.partition(id.partition(64)).and_then(|owner| owner.exposure(id));
        let unknown = || format!("there is no fixture {fixture}");
        Ok(match what {
            What::Exposure => {
                json!({"show": "exposure", "fixture": fixture, "exposure": show::exposure(&exposure.ok_or_else(unknown)?)})
            }
            What::Fixture => {
                let owner = self.engine.partition(id.partition(64));
                let state = owner.and_then(|owner| owner.fixture_state(id)).ok_or_else(unknown)?;
                let suspended = show::reasons(state.suspended);
                let mut state = show::value(&Body::from(state).show());
                state["suspended"] = suspended.into();
                json!({"show": "fixture", "fixture": fixture, "state": state})
            }
            What::Price => {
                let key = MarketKey::new(*market, line.0);
                let markets = exposure.ok_or_else(unknown)?.markets;
                let found = markets.into_iter().find(|found| found.market == key);
                let found = found.ok_or_else(|| format!("fixture {fixture} has no market {key}"))?;
                let prices: Vec<u32> = found.selections.iter().map(|s| s.odds_milli).collect();
                json!({"show": "price", "fixture": fixture, "market": market, "line_quarters": line.0,
                       "status": found.status.name(), "suspended": show::reasons(found.suspended),
                       "version": found.version.0, "prices_milli": prices})
            }
            What::Ticket => {
                let name = name.as_deref().ok_or("name the ticket")?;
                let ticket = self.named(name)?;
                let home = self.engine.partition(ticket.ticket.home(64)).ok_or("no such partition")?;
                let decision = home.decision(ticket.brand, ticket.ticket);
                let result = home.bet_result(ticket.brand, ticket.ticket).map(|r| r.map(Payoff::name));
                json!({"show": "ticket", "name": name, "ticket": ticket.ticket.to_string(),
                       "decision": decision.map(|d| show::value(&Body::from(d.clone()).show())),
                       "bet": result.map(|result| json!({"settled": result}))})
            }
            What::Account => {
                let (brand_id, customer_id) = (BrandId(*brand), CustomerId(*customer));
                let home = self.engine.partition(customer_id.partition(brand_id, 64));
                let found = home.and_then(|home| home.account_of(brand_id, customer_id));
                let (account, limit) =
                    found.ok_or_else(|| format!("brand {brand} has no customer {customer}"))?;
                json!({"show": "account", "brand": brand, "customer": customer, "status": account.status.name(),
                       "factor_permille": account.factor_permille, "limit_minor": limit,
                       "open_liability_minor": account.open_liability_minor})
            }
            What::Profit => json!({"show": "profit", "profit_minor": self.engine.profit_minor()}),
            What::Fingerprint => {
                let odd = |odd| format!("{odd} entities differ from their own hash");
                let fingerprint = self.engine.fingerprint().map_err(odd)?;
                json!({"show": "fingerprint", "fingerprint": format!("{fingerprint:032x}")})
            }
        })
    }
}

fn suspend(
    fixture: u64,
    market: u16,
    line: crate::units::Line,
    Name(reason): Name<Reason>,
    on: bool,
) -> Body {
    Suspend {
        fixture: FixtureId(fixture),
        market: MarketKey::new(market, line.0),
        reason,
        on,
        operator: OPERATOR,
        note: Text::cut("script"),
    }
    .into()
}

fn stake(minor: i64) -> Result<Stake, String> {
    let fits = (1..=Stake::MAX).contains(&minor);
    fits.then_some(Stake(minor)).ok_or_else(|| "stake: must be \"0.01\" to \"1000000000\"".into())
}

fn genesis() -> Genesis {
    Genesis {
        mode: ClusterMode::Standalone,
        logic_version: touchline_core::rules::LOGIC_VERSION,
        partitions: 64,
        fingerprint_key: 1,
        result_window_ms: 86_400_000,
        future_skew_ms: 60_000,
        pending_max: 1000,
        results_max: 100_000,
        accounts_max: 10_000,
        fixtures_max: 1000,
        markets_max: 256,
    }
}

fn epoch(boot: u128) -> NewEpoch {
    NewEpoch { cause: EpochCause::Start, node: 1, boot }
}
