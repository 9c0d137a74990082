//! The memory orderings of the lock-free files under loom, which tries interleavings and stale loads.
//!
//! The files are compiled a second time here, beside a `sync` of loom's types, so the ordinary test command runs this
//! without a build of its own. Twice, in fact: as `declared`, where every model must hold, and as `relaxed`, where each
//! ordering is weakened and the same models must fail: a model that cannot fail proves nothing.
//!
//! loom and not shuttle, because shuttle executes everything as sequentially consistent.

// The copies are meant, and the models leave some of what they offer unused.
#![allow(clippy::duplicate_mod, dead_code, unreachable_pub)]

mod declared;
mod loomed;
mod relaxed;

use loom::model::Builder;

/// Every execution in which at most two switches between threads are forced.
fn explore(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

#[test]
fn records_arrive_whole_and_in_order() {
    explore(declared::models::records);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn records_need_their_orderings() {
    explore(relaxed::models::records);
}

#[test]
fn a_dropped_reader_holds_nobody_back() {
    explore(declared::models::reader_dropped);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn a_reader_that_leaves_needs_its_ordering() {
    explore(relaxed::models::reader_dropped);
}

#[test]
fn the_end_comes_after_the_last_record() {
    explore(declared::models::writer_dropped);
}

#[test]
#[should_panic]
fn the_end_needs_its_ordering() {
    explore(relaxed::models::writer_dropped);
}

#[test]
fn no_wake_up_is_lost() {
    explore(declared::models::wake_up);
}

#[test]
#[should_panic(expected = "deadlock")]
fn wake_ups_need_their_fences() {
    explore(relaxed::models::wake_up);
}
