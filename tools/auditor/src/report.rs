//! What an audit found.

use std::collections::BTreeMap;
use touchline_protocol::{BrandId, Code, Odds, Seq, Stake, TicketId};

/// A ticket's final answer, as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// The brand.
    pub brand: BrandId,
    /// The ticket.
    pub ticket: TicketId,
    /// Accepted, or why not.
    pub code: Code,
    /// Odds struck, or asked for.
    pub odds: Odds,
    /// The stake.
    pub stake: Stake,
    /// What it returns when won; 0 where it is rejected.
    pub returned_minor: i64,
    /// Sequence of the decision.
    pub decided: Seq,
}

/// Totals of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Frames read.
    pub frames: u64,
    /// Tickets with a stored decision.
    pub tickets: u64,
    /// Of these accepted.
    pub accepted: u64,
    /// Rejections by code.
    pub rejected: BTreeMap<Code, u64>,
    /// Tickets that still wait.
    pub pending: u64,
    /// Messages that partitions are not done with: settlements and leaves under way.
    pub chores: u64,
    /// Bets not settled.
    pub open_bets: u64,
    /// Bets settled.
    pub settled_bets: u64,
    /// Profit of the house over settled bets, minor units.
    pub profit_minor: i64,
    /// Stakes of accepted bets, minor units.
    pub staked_minor: i64,
    /// Invariants that do not hold; empty in a good log.
    pub breaches: Vec<String>,
}
