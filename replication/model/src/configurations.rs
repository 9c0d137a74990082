//! The searches of the protocol as it should be.

use crate::model::{Bounds, Model, Policy};

/// A name and a model in which no state may break an invariant.
pub const CORRECT: [(&str, Model); 8] = [
    ("hybrid-switchover", Model::correct(Policy::Hybrid, Bounds::new(2, 0, 2, 1, 1))),
    ("hybrid-crash-join", Model::correct(Policy::Hybrid, Bounds::new(2, 1, 2, 1, 0))),
    ("hybrid-two-crashes", Model::correct(Policy::Hybrid, Bounds::new(2, 2, 1, 0, 0))),
    ("durable-crash-join", Model::correct(Policy::Durable, Bounds::new(1, 1, 2, 1, 0))),
    ("durable-two-frames", Model::correct(Policy::Durable, Bounds::new(2, 1, 1, 1, 0))),
    ("durable-two-crashes", Model::correct(Policy::Durable, Bounds::new(1, 2, 1, 0, 0))),
    ("durable-switchover", Model::correct(Policy::Durable, Bounds::new(1, 1, 1, 1, 1))),
    ("durable-lone-promote", LONE_PROMOTE),
];

/// Under `durable` a rebooted node may promote alone, because what it acked is on its disk.
const LONE_PROMOTE: Model =
    Model { policy: Policy::Durable, lone_promote: true, bounds: Bounds::new(1, 2, 1, 0, 0), mutation: None };
