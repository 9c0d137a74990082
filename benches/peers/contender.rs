//! What every contender has: an address, a dialect, and the load that all get alike.

use std::net::SocketAddr;
use std::time::Duration;
use touchline_load::dialect::{Answer, Dialect};
use touchline_load::{Job, Mix, Pace, Quotes, Tally};
use touchline_protocol::Code;
use touchline_protocol::wire::Field;

/// What is safe when an answer leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It is on the disk of one server.
    Disk,
    /// A second server has it as well.
    Standby,
}

/// How many tickets are on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Concurrency {
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
}

/// A running server with what is bet on loaded.
pub(crate) trait Contender {
    /// Its protocol.
    type Dialect: Dialect;
    /// Where it listens.
    fn address(&self) -> SocketAddr;
    /// A connection that sends tickets.
    fn dialect(&self) -> Self::Dialect;
    /// Connections that listen.
    fn listeners(&self) -> Vec<Self::Dialect> {
        Vec::new()
    }
}

/// One measurement: a closed loop for so long.
pub(crate) fn measure<C: Contender>(
    contender: &C,
    at: Concurrency,
    length: Duration,
    mix: &mut Mix,
    quotes: &mut Quotes,
) -> anyhow::Result<Tally> {
    let job = Job {
        address: contender.address(),
        senders: (0..at.connections).map(|_| contender.dialect()).collect(),
        listeners: contender.listeners(),
        pace: Pace::Closed { in_flight: at.in_flight },
        warm_up: length / 4,
        length,
        drain: Duration::from_secs(30),
        markets_min: 0,
    };
    let tally = touchline_load::run(job, mix, quotes)?;
    anyhow::ensure!(tally.wrong().is_none(), "{}", tally.wrong().unwrap_or_default());
    Ok(tally)
}

/// Reads a stored result, `code:odds:stake:returned:number`.
pub(crate) fn stored(text: &[u8]) -> Result<Answer, String> {
    let told = String::from_utf8_lossy(text);
    let code = told.split(':').next().and_then(|code| code.parse::<u16>().ok());
    let code = code.and_then(|code| Code::get(&code.to_le_bytes()).ok());
    let code = code.ok_or_else(|| format!("{told:?} is no result"))?;
    // FNV-1a: enough to see that two answers to one ticket differ.
    let content = text.iter().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01B3)
    });
    Ok(Answer { request: None, ticket: None, code, refused: false, content })
}
