//! The protocol within its bounds loses nothing, and each rule that is left out does.

use touchline_model::rules::successors;
use touchline_model::safety::check;
use touchline_model::{Bounds, CORRECT, Ending, Model, Mutation, Outcome, State, Step, Violation, search};

/// States after which a search without an end stops. Two such searches at once stay below a gigabyte.
const CAP: usize = 3_000_000;

/// Searches one of the correct configurations and demands that nothing is violated.
fn correct(name: &str) -> Outcome {
    let (_, model) = CORRECT.into_iter().find(|(known, _)| *known == name).expect("a known configuration");
    no_violation(&model)
}

fn no_violation(model: &Model) -> Outcome {
    let outcome = search(model, CAP);
    if let Ending::Violated { violation, trace } = &outcome.ending {
        panic!("{violation}\n{}", readable(trace));
    }
    outcome
}

/// Demands that every state within the bounds was visited; their number changes only when a rule does.
fn exhausted(outcome: &Outcome, states: usize) {
    assert!(matches!(outcome.ending, Ending::Exhausted), "{:?}", outcome.ending);
    assert_eq!(outcome.states, states);
}

/// A search that finds nothing shows little if no bet was ever acknowledged or nobody was ever promoted.
fn reaches(outcome: &Outcome, acknowledged: u8, epochs: usize) {
    assert_eq!((outcome.acknowledged_max, outcome.epochs_max), (acknowledged, epochs));
}

/// Demands a violation, goes the way of its trace again, and demands that it ends in that violation and nowhere before.
fn loses(model: &Model) -> Violation {
    let outcome = search(model, CAP);
    let Ending::Violated { violation, trace } = outcome.ending else {
        panic!("no violation in {} states: the model no longer notices this", outcome.states);
    };
    let (mut state, mut next) = (State::genesis(), Vec::new());
    for step in &trace {
        assert_eq!(check(&state), None, "broken before its end:\n{}", readable(&trace));
        successors(model, &state, &mut next);
        (_, state) = *next.iter().find(|(possible, _)| possible == step).expect("a possible step");
    }
    assert_eq!(check(&state), Some(violation), "the trace leads elsewhere:\n{}", readable(&trace));
    violation
}

fn readable(trace: &[Step]) -> String {
    trace.iter().map(|step| format!("  {step}\n")).collect()
}

fn loses_a_bet(mutation: Mutation) {
    let violation = loses(&mutation.model());
    assert!(matches!(violation, Violation::LostBet { .. }), "{violation}");
}

#[test]
fn hybrid_with_a_switchover_is_safe() {
    let outcome = correct("hybrid-switchover");
    exhausted(&outcome, 673_933);
    reaches(&outcome, 2, 5);
}

#[test]
fn hybrid_with_a_crash_and_a_join_is_safe_as_far_as_searched() {
    reaches(&correct("hybrid-crash-join"), 2, 5);
}

#[test]
fn hybrid_with_two_crashes_is_safe_as_far_as_searched() {
    reaches(&correct("hybrid-two-crashes"), 2, 4);
}

#[test]
fn durable_with_a_crash_and_a_join_is_safe() {
    let outcome = correct("durable-crash-join");
    exhausted(&outcome, 2_263_855);
    reaches(&outcome, 1, 5);
}

#[test]
fn durable_with_two_frames_is_safe() {
    let outcome = correct("durable-two-frames");
    exhausted(&outcome, 1_571_162);
    reaches(&outcome, 2, 4);
}

#[test]
fn durable_with_two_crashes_is_safe() {
    let outcome = correct("durable-two-crashes");
    exhausted(&outcome, 1_952_613);
    reaches(&outcome, 1, 4);
}

#[test]
fn durable_with_a_crash_and_a_switchover_is_safe() {
    let outcome = correct("durable-switchover");
    exhausted(&outcome, 674_381);
    reaches(&outcome, 1, 5);
}

#[test]
fn a_rebooted_node_may_promote_alone_under_durable() {
    let outcome = correct("durable-lone-promote");
    exhausted(&outcome, 1_973_511);
    reaches(&outcome, 1, 4);
}

#[test]
fn a_rebooted_node_must_not_promote_alone_under_hybrid() {
    loses_a_bet(Mutation::LonePromoteFromMemory);
}

#[test]
fn without_the_seal_a_bet_is_lost() {
    loses_a_bet(Mutation::SkipSeal);
}

#[test]
fn unsealing_on_a_timeout_loses_a_bet() {
    loses_a_bet(Mutation::UnsealOnTimeout);
}

#[test]
fn the_seal_guards_against_a_crash_and_nothing_else() {
    for (mutation, states) in [(Mutation::SkipSeal, 158_586), (Mutation::UnsealOnTimeout, 214_190)] {
        let model = Model { bounds: Bounds::new(2, 0, 2, 1, 0), ..mutation.model() };
        exhausted(&no_violation(&model), states);
    }
}

#[test]
fn gating_after_dual_instead_of_before_loses_a_bet() {
    loses_a_bet(Mutation::GateAfterDual);
}

#[test]
fn acknowledging_before_the_answer_to_solo_loses_a_bet() {
    loses_a_bet(Mutation::AcknowledgeBeforeSolo);
}

#[test]
fn without_boot_ids_a_bet_is_lost() {
    loses_a_bet(Mutation::IgnoreBoot);
}

#[test]
fn without_boot_ids_and_chain_hashes_a_bet_is_lost_even_under_durable() {
    loses_a_bet(Mutation::IgnoreBootAndChain);
}

#[test]
fn under_durable_the_chain_hash_stands_in_for_boot_ids() {
    let model = Model { mutation: Some(Mutation::IgnoreBoot), ..Mutation::IgnoreBootAndChain.model() };
    exhausted(&no_violation(&model), 2_930_044);
}

#[test]
fn without_the_flush_before_narrowing_a_bet_is_lost() {
    loses_a_bet(Mutation::SkipFlush);
}

#[test]
fn promoting_a_node_that_is_not_in_sync_loses_a_bet() {
    loses_a_bet(Mutation::PromoteOutOfSync);
}

#[test]
fn acknowledging_from_two_memories_loses_a_bet_when_both_lose_power() {
    loses_a_bet(Mutation::AcknowledgeFromMemories);
}

#[test]
fn a_witness_that_does_not_compare_epochs_loses_a_bet() {
    loses_a_bet(Mutation::SkipEpochCompare);
}

#[test]
fn aborting_a_join_during_its_cas_loses_a_bet() {
    loses_a_bet(Mutation::AbortDuringDual);
}

#[test]
fn processing_a_rejected_request_again_loses_a_bet() {
    loses_a_bet(Mutation::RepeatRequests);
}

#[test]
fn a_register_that_forgets_its_newest_slot_gives_an_epoch_twice() {
    assert_eq!(loses(&Mutation::ForgetNewestSlot.model()), Violation::TwoPrimaries);
}
