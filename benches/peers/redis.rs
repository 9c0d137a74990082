//! Redis with the decision as one Lua script: its servers, its data and its protocol.

use crate::contender::{Contender, Durability, stored};
use crate::server::{Folder, Server, free_address, output, program, wait_for};
use anyhow::{Context, ensure};
use std::collections::VecDeque;
use std::fmt::Write;
use std::net::SocketAddr;
use std::process::Command;
use touchline_load::Quotes;
use touchline_load::dialect::{Answer, Dialect, Said};
use touchline_protocol::SubmitTicket;

const SCRIPT: &str = include_str!("decision.lua");
/// A limit that the load does not reach, minor units.
const NO_LIMIT: u64 = 1_000_000_000_000;

/// Redis, alone or with a replica.
pub(crate) struct Redis {
    primary: Server,
    _replica: Option<Server>,
    script: String,
    waits: bool,
}

impl Redis {
    /// Starts it and loads what is bet on.
    pub(crate) fn start(
        folder: &Folder,
        durability: Durability,
        quotes: &Quotes,
        customers: u64,
    ) -> anyhow::Result<Self> {
        let server = program("redis-server", "redis-server")?;
        let waits = durability == Durability::Standby;
        let begin = |name: &str, fsync: &str, of: Option<SocketAddr>| {
            let (address, dir) = (free_address()?, folder.sub(name)?);
            let mut command = Command::new(&server);
            command.args(["--bind", "127.0.0.1", "--port", &address.port().to_string()]);
            command.args(["--save", "", "--appendonly", "yes", "--appendfsync", fsync, "--dir"]).arg(&dir);
            if let Some(of) = of {
                command.args(["--replicaof", "127.0.0.1", &of.port().to_string()]);
            }
            Server::start(command, address, &dir.join("log"))
        };
        let (primary, replica) = if waits {
            let primary = begin("redis-primary", "everysec", None)?;
            let replica = begin("redis-replica", "everysec", Some(primary.address))?;
            (primary, Some(replica))
        } else {
            (begin("redis", "always", None)?, None)
        };
        if let Some(replica) = &replica {
            wait_for("the replica's link", || {
                Ok(cli(replica.address, &["info", "replication"], &[])?.contains("master_link_status:up"))
            })?;
        }
        let said = cli(primary.address, &["--pipe"], data(quotes, customers).as_bytes())?;
        ensure!(said.contains("errors: 0"), "loading Redis: {said}");
        let script = cli(primary.address, &["-x", "script", "load"], SCRIPT.as_bytes())?.trim().to_owned();
        ensure!(script.len() == 40, "Redis does not take the script: {script}");
        Ok(Redis { primary, _replica: replica, script, waits })
    }
}

impl Contender for Redis {
    type Dialect = Resp;

    fn address(&self) -> SocketAddr {
        self.primary.address
    }

    fn dialect(&self) -> Resp {
        Resp { script: self.script.clone(), waits: self.waits, held: VecDeque::new(), released: 0 }
    }
}

fn cli(address: SocketAddr, args: &[&str], input: &[u8]) -> anyhow::Result<String> {
    let mut command = Command::new(program("redis-cli", "redis-tools")?);
    command.args(["-p", &address.port().to_string()]).args(args);
    output(command, input).context("talking to Redis")
}

/// Commands that fill it, as Redis reads them from a pipe.
fn data(quotes: &Quotes, customers: u64) -> String {
    let mut out = String::new();
    for customer in 1..=customers {
        let _ = write!(out, "HSET c:{customer} limit {NO_LIMIT} open 0\r\n");
    }
    for sale in quotes.sale() {
        for quote in &sale.quotes {
            let (key, active) = (market_key(sale.fixture.0, quote.market), u8::from(quote.active));
            let _ = write!(out, "HSET {key} active {active} void_before 0 limit {NO_LIMIT}");
            for (selection, odds) in quote.odds.iter().enumerate() {
                let _ = write!(out, " p{selection} {odds}");
            }
            out.push_str("\r\n");
        }
    }
    out
}

fn market_key(fixture: u64, market: touchline_protocol::MarketKey) -> String {
    format!("m:{fixture}:{}:{}", market.kind, market.line)
}

/// Redis's protocol: answers in order; where a replica is waited for, one `WAIT` ends a batch and releases its answers.
pub(crate) struct Resp {
    script: String,
    waits: bool,
    held: VecDeque<Answer>,
    released: usize,
}

impl Dialect for Resp {
    fn greeting(&self) -> Vec<u8> {
        b"*1\r\n$4\r\nPING\r\n".to_vec()
    }

    fn ticket(&mut self, _request: u64, m: &SubmitTicket, out: &mut Vec<u8>) {
        let arguments = [
            "EVALSHA".into(),
            self.script.clone(),
            "3".into(),
            format!("t:{}:{}", m.brand.0, m.ticket),
            market_key(m.fixture.0, m.market),
            format!("c:{}", m.customer.0),
            m.selection.to_string(),
            m.odds.milli.to_string(),
            m.stake.0.to_string(),
            (m.policy as u8).to_string(),
            m.tolerance_permille.to_string(),
            m.price_version.0.to_string(),
        ];
        out.extend_from_slice(format!("*{}\r\n", arguments.len()).as_bytes());
        for argument in arguments {
            out.extend_from_slice(format!("${}\r\n{argument}\r\n", argument.len()).as_bytes());
        }
    }

    fn end_batch(&mut self, out: &mut Vec<u8>) {
        if self.waits {
            out.extend_from_slice(b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n");
        }
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Option<(usize, Said)>, String> {
        if self.released > 0 {
            self.released -= 1;
            return Ok(self.held.pop_front().map(|answer| (0, Said::Answer(answer))));
        }
        let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let line = std::str::from_utf8(&bytes[1..end]).map_err(|error| error.to_string())?;
        match bytes[0] {
            b'+' => Ok(Some((end + 2, Said::Ready))),
            b':' if line == "0" => Err("no replica has it".into()),
            b':' => {
                self.released = self.held.len();
                Ok(Some((end + 2, Said::Nothing)))
            }
            b'$' => {
                let length: usize = line.parse().map_err(|_| format!("Redis says ${line}"))?;
                let (from, to) = (end + 2, end + 2 + length);
                let Some(text) = bytes.get(..to + 2).map(|all| &all[from..to]) else { return Ok(None) };
                let answer = stored(text)?;
                if self.waits {
                    self.held.push_back(answer);
                    return Ok(Some((to + 2, Said::Nothing)));
                }
                Ok(Some((to + 2, Said::Answer(answer))))
            }
            _ => Err(format!("Redis says {line}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resp(waits: bool) -> Resp {
        Resp { script: "0".repeat(40), waits, held: VecDeque::new(), released: 0 }
    }

    #[test]
    fn answers_come_in_order_and_not_in_halves() {
        let bytes = b"$13\r\n65:2000:5:0:7\r\n";
        assert_eq!(resp(false).read(&bytes[..9]), Ok(None));
        let Ok(Some((length, Said::Answer(answer)))) = resp(false).read(bytes) else { panic!("no answer") };
        assert_eq!((length, answer.request, answer.code as u16), (bytes.len(), None, 65));
        assert!(resp(false).read(b"-ERR no such script\r\n").unwrap_err().contains("no such script"));
    }

    #[test]
    fn with_a_replica_an_answer_counts_once_it_is_there() {
        let mut resp = resp(true);
        let mut bytes: &[u8] = b"$7\r\n0:1:2:3\r\n$7\r\n0:1:2:4\r\n:1\r\n";
        let mut said = Vec::new();
        while let Some((length, what)) = resp.read(bytes).unwrap_or(None) {
            bytes = &bytes[length..];
            said.push(matches!(what, Said::Answer(_)));
        }
        assert_eq!(said, [false, false, false, true, true]);
        assert!(resp.read(b":0\r\n").is_err());
    }
}
