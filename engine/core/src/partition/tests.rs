//! A partition that meets flipped bits, other states, old verdicts and defects.

use super::*;
use touchline_protocol::frame::encode;
use touchline_protocol::{Envelope, Epoch};

fn apply(p: &mut Partition, seq: u64, body: Body) -> Vec<Effect> {
    let mut bytes = Vec::new();
    let tag = body.route(1);
    let envelope = Envelope { seq: Seq(seq), partition: tag, ..Envelope::session(1, Epoch(1), 3) };
    encode(&envelope, &body, &mut bytes);
    let mut out = Vec::new();
    p.apply(&FrameRef::parse(&bytes).unwrap(), &body, &mut out);
    out
}

fn one_partition() -> Partition {
    let mut p = Partition::new(PartitionId(0));
    let genesis = touchline_protocol::Genesis {
        mode: touchline_protocol::ClusterMode::Standalone,
        logic_version: 1,
        partitions: 1,
        fingerprint_key: 5,
        result_window_ms: 86_400_000,
        future_skew_ms: 0,
        pending_max: 10,
        results_max: 10,
        accounts_max: 10,
        fixtures_max: 10,
        markets_max: 10,
    };
    apply(&mut p, 1, genesis.into());
    let currency = touchline_protocol::Currency(*b"EUR");
    let brand = touchline_protocol::BrandRule { brand: BrandId(1), currency };
    let mut configure = operate::nothing_configured();
    configure.brands.0.push(brand);
    apply(&mut p, 2, configure.into());
    let customer = CustomerId(8);
    let open =
        touchline_protocol::OpenAccount { brand: BrandId(1), customer, currency, factor_permille: 1000 };
    apply(&mut p, 3, open.into());
    p
}

#[test]
fn one_flipped_bit_of_live_state_is_detected() {
    let mut p = one_partition();
    let honest = p.full_fingerprint().unwrap();
    let key = (BrandId(1), CustomerId(8));
    p.accounts.corrupt(&key, |account| account.open_liability_minor ^= 1 << 40);
    assert_eq!(p.full_fingerprint(), Err(1));
    p.accounts.corrupt(&key, |account| account.open_liability_minor ^= 1 << 40);
    assert_eq!(p.full_fingerprint(), Ok(honest));
    p.spine.corrupt(&SPINE, |spine| spine.profit_minor += 1);
    assert_eq!(p.full_fingerprint(), Err(1));
}

#[test]
fn an_attestation_that_disagrees_marks_the_partition() {
    let mut p = one_partition();
    let fingerprint = p.full_fingerprint().unwrap();
    let attest = |covers, fingerprint| {
        let entry = touchline_protocol::PartitionFingerprint { partition: PartitionId(0), fingerprint };
        Body::from(Attest { covers: Seq(covers), fingerprints: touchline_protocol::List(vec![entry]) })
    };
    assert!(apply(&mut p, 4, attest(3, fingerprint)).is_empty());
    assert!(!p.diverged());
    assert_eq!(apply(&mut p, 5, attest(4, fingerprint ^ 1)).len(), 1);
    assert!(p.diverged());
}

#[test]
fn an_older_verdict_of_the_model_never_undoes_a_newer_one() {
    use touchline_protocol::*;
    let mut p = one_partition();
    let fixture = FixtureId(7);
    let open = OpenFixture {
        fixture,
        sport: Sport::Tennis,
        competition: CompetitionId(1),
        tier: 1,
        source: SourceId(0),
        start_at: At(0),
        margin_ppm: 0,
        best_of: 3,
        home: Text::cut("A"),
        away: Text::cut("B"),
    };
    apply(&mut p, 4, open.into());
    apply(&mut p, 5, SetIntensities { fixture, home_nano: 600_000_000, away_nano: 600_000_000 }.into());
    let board = |sets| Scoreboard { period: Period::First, score: [sets, 0], ..Scoreboard::default() };
    // Three sets won of two is no state that the model can price; none is.
    let incident = |source_seq: u64, sets: u16| {
        let (source, event, side) = (SourceId(0), Event::Point, Side::Home);
        Body::from(Incident { fixture, source, source_seq, event, side, board: board(sets) })
    };
    for held in [0, 3] {
        let base = p.fixtures.get(&fixture).unwrap().source_seq;
        let seq = 10 * (base + 1);
        apply(&mut p, seq, incident(base + 1, held));
        let land = |p: &mut Partition, from: u64| {
            p.offers().into_iter().zip(from..).for_each(|(body, seq)| drop(apply(p, seq, body)));
        };
        land(&mut p, seq + 1);
        // There and back twice, before any verdict of it comes into force.
        for (step, sets) in [3 - held, held, 3 - held, held].into_iter().enumerate() {
            let step = step as u64;
            apply(&mut p, seq + 3 + step, incident(base + 2 + step, sets));
        }
        land(&mut p, seq + 7);
        let reasons = p.fixtures.get(&fixture).unwrap().suspended;
        assert_eq!(reasons & crate::market::bit(Reason::PriceSanity) != 0, held == 3, "{held} sets");
    }
}

#[test]
fn a_defect_while_a_fixture_is_leaving_keeps_it() {
    use touchline_protocol::*;
    let mut p = one_partition();
    let (fixture, operator) = (FixtureId(7), OperatorId(1));
    let mut seq = 4;
    let mut send = |p: &mut Partition, body: Body| {
        let out = apply(p, seq, body);
        seq += 1;
        for body in p.offers() {
            apply(p, seq, body);
            seq += 1;
        }
        out
    };
    let Body::OpenFixture(sample) = Body::sample(Kind::OpenFixture, 0) else { panic!("of its kind") };
    let open = OpenFixture { fixture, sport: Sport::Other, start_at: At(0), best_of: 0, ..sample };
    send(&mut p, open.into());
    send(&mut p, SetRetention { retention_ms: 1, operator, note: Text::default() }.into());
    let certainty = Certainty::Confirmed;
    send(&mut p, SettleFixture { fixture, home: 0, away: 0, certainty, operator }.into());
    let since = p.begun().next().expect("its retention began").1;
    p.closings.put(fixture, Closing { since, leaving: true });
    poison::set(Some(|body| body.kind() == Kind::Retire));
    let hop = Hop { from: PartitionId(0), number: p.next_from(PartitionId(0))[0] };
    let retire = Retire { hop, fixture, to: PartitionId(0) };
    p.spine_mut().outbox.push_back(retire.clone().into());
    let out = apply(&mut p, 90, retire.into());
    assert!(out.iter().any(|effect| matches!(effect.body, Body::Alarm(_))));
    assert!(p.fixtures.contains(&fixture) && !p.closings.contains(&fixture));
}

#[test]
fn a_ticket_that_met_a_defect_has_one_answer() {
    use touchline_protocol::*;
    let mut p = one_partition();
    poison::set(Some(|body| body.kind() == Kind::SubmitTicket));
    let Body::SubmitTicket(sample) = Body::sample(Kind::SubmitTicket, 0) else { panic!("of its kind") };
    let answer = |out: &[Effect]| {
        out.iter().find_map(|effect| match &effect.body {
            Body::Decision(m) if matches!(effect.to, Audience::Asker { .. }) => Some(m.clone()),
            _ => None,
        })
    };
    let first = answer(&apply(&mut p, 4, sample.clone().into())).expect("an answer");
    assert_eq!(first.code, Code::Internal);
    assert_eq!(answer(&apply(&mut p, 5, sample.clone().into())), Some(first));
    let other = SubmitTicket { stake: Stake(sample.stake.0 + 1), ..sample };
    let conflict = answer(&apply(&mut p, 6, other.into())).expect("an answer");
    assert_eq!(conflict.code, Code::DuplicateConflict);
}

#[test]
fn a_defect_is_answered_and_changes_nothing_else() {
    let mut p = one_partition();
    let before = p.accounts.len();
    poison::set(Some(|body| body.kind() == touchline_protocol::Kind::OpenAccount));
    let currency = touchline_protocol::Currency(*b"EUR");
    let open = touchline_protocol::OpenAccount {
        brand: BrandId(1),
        customer: CustomerId(9),
        currency,
        factor_permille: 1,
    };
    let out = apply(&mut p, 4, open.into());
    let internal = |effect: &Effect| matches!(&effect.body, Body::Done(done) if done.code == touchline_protocol::Code::Internal);
    assert!(out.iter().any(internal));
    assert!(out.iter().any(|effect| matches!(effect.body, Body::Alarm(_))));
    assert_eq!(p.accounts.len(), before);
}
