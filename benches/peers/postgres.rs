//! PostgreSQL with the decision as one function: its servers, its data and its protocol.

use crate::contender::{Contender, Durability, stored};
use crate::server::{Folder, Server, User, free_address, output, program, wait_for};
use anyhow::Context;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use touchline_load::Quotes;
use touchline_load::dialect::{Answer, Dialect, Said};
use touchline_protocol::SubmitTicket;

const SCHEMA: &str = include_str!("decision.sql");
const CALL: &str = "SELECT decide($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11)";
/// A limit that the load does not reach, minor units.
const NO_LIMIT: u64 = 1_000_000_000_000;
const PACKAGE: &str = "postgresql";

/// PostgreSQL, alone or with a streaming replica.
pub(crate) struct Postgres {
    primary: Server,
    _replica: Option<Server>,
}

impl Postgres {
    /// Starts it and loads what is bet on.
    pub(crate) fn start(
        folder: &Folder,
        durability: Durability,
        quotes: &Quotes,
        customers: u64,
    ) -> anyhow::Result<Self> {
        let user = User::named("postgres")?;
        let with_replica = durability == Durability::Standby;
        let home = folder.sub(if with_replica { "postgres-primary" } else { "postgres" })?;
        user.own(&home)?;
        let data_folder = home.join("data");
        let mut initdb = user.command(&program("initdb", PACKAGE)?);
        initdb.args(["-A", "trust", "-U", "touchline", "-E", "UTF8", "--locale=C", "-D"]).arg(&data_folder);
        output(initdb, &[])?;
        let primary = serve(&user, &home, &data_folder)?;
        sql(primary.address, SCHEMA)?;
        sql(primary.address, &data(quotes, customers))?;
        if !with_replica {
            return Ok(Postgres { primary, _replica: None });
        }
        let copy = home.join("replica");
        let mut backup = user.command(&program("pg_basebackup", PACKAGE)?);
        backup.args(["-h", "127.0.0.1", "-p", &primary.address.port().to_string(), "-U", "touchline"]);
        backup.args(["-c", "fast", "-R", "-D"]).arg(&copy);
        output(backup, &[])?;
        let replica = serve(&user, &home, &copy)?;
        sql(primary.address, "ALTER SYSTEM SET synchronous_standby_names = '*'")?;
        sql(primary.address, "ALTER SYSTEM SET synchronous_commit = 'remote_apply'")?;
        sql(primary.address, "SELECT pg_reload_conf()")?;
        wait_for("the replica's synchronous link", || {
            Ok(sql(primary.address, "SELECT sync_state FROM pg_stat_replication")?.contains("sync"))
        })?;
        Ok(Postgres { primary, _replica: Some(replica) })
    }
}

impl Contender for Postgres {
    type Dialect = Wire;

    fn address(&self) -> SocketAddr {
        self.primary.address
    }

    fn dialect(&self) -> Wire {
        Wire { ready: false, syncs: 0, row: None }
    }
}

fn serve(user: &User, home: &Path, data_folder: &Path) -> anyhow::Result<Server> {
    let address = free_address()?;
    let mut command = user.command(&program("postgres", PACKAGE)?);
    command.arg("-D").arg(data_folder).arg("-k").arg(home);
    command.args(["-p", &address.port().to_string(), "-h", "127.0.0.1"]);
    for setting in [
        "synchronous_commit=on",
        "shared_buffers=256MB",
        "max_connections=300",
        "wal_level=replica",
        "max_wal_size=4GB",
        "checkpoint_timeout=30min",
    ] {
        command.args(["-c", setting]);
    }
    let log = data_folder.with_extension("log");
    let server = Server::start(command, address, &log)?;
    // The port is open before queries are taken.
    wait_for("PostgreSQL's start", || Ok(sql(address, "SELECT 1").is_ok()))?;
    Ok(server)
}

fn sql(address: SocketAddr, text: &str) -> anyhow::Result<String> {
    let mut command = std::process::Command::new(program("psql", "postgresql-client")?);
    command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]);
    command.args(["-p", &address.port().to_string(), "-U", "touchline", "-d", "postgres"]);
    output(command, text.as_bytes()).context("talking to PostgreSQL")
}

fn data(quotes: &Quotes, customers: u64) -> String {
    let mut out =
        format!("INSERT INTO account SELECT n, {NO_LIMIT}, 0 FROM generate_series(1, {customers}) AS n;\n");
    out.push_str("COPY selection FROM STDIN;\n");
    for sale in quotes.sale() {
        for quote in &sale.quotes {
            for (selection, odds) in quote.odds.iter().enumerate() {
                let (fixture, market, active) = (sale.fixture.0, quote.market, quote.active);
                let _ = writeln!(
                    out,
                    "{fixture}\t{}\t{}\t{selection}\t{active}\t0\t{odds}\t{NO_LIMIT}\t0",
                    market.kind, market.line
                );
            }
        }
    }
    out.push_str("\\.\nANALYZE;\n");
    out
}

/// PostgreSQL's protocol: the function prepared once, one transaction a ticket, many on their way.
pub(crate) struct Wire {
    ready: bool,
    syncs: u32,
    row: Option<Answer>,
}

impl Dialect for Wire {
    fn greeting(&self) -> Vec<u8> {
        let parameters = b"user\0touchline\0database\0postgres\0\0";
        let mut out = Vec::new();
        out.extend_from_slice(&(8 + parameters.len() as u32).to_be_bytes());
        out.extend_from_slice(&(3_u32 << 16).to_be_bytes());
        out.extend_from_slice(parameters);
        message(b'P', &[b"decide\0", CALL.as_bytes(), b"\0\0\0"], &mut out);
        message(b'S', &[], &mut out);
        out
    }

    fn ticket(&mut self, _request: u64, m: &SubmitTicket, out: &mut Vec<u8>) {
        let arguments = [
            m.ticket.to_string(),
            m.customer.0.to_string(),
            m.fixture.0.to_string(),
            m.market.kind.to_string(),
            m.market.line.to_string(),
            m.selection.to_string(),
            m.odds.milli.to_string(),
            m.stake.0.to_string(),
            (m.policy as u8).to_string(),
            m.tolerance_permille.to_string(),
            m.price_version.0.to_string(),
        ];
        // The unnamed portal of the statement, every argument and the result as text.
        let mut bind = b"\0decide\0\0\0".to_vec();
        bind.extend_from_slice(&(arguments.len() as u16).to_be_bytes());
        for argument in arguments {
            bind.extend_from_slice(&(argument.len() as u32).to_be_bytes());
            bind.extend_from_slice(argument.as_bytes());
        }
        bind.extend_from_slice(&0_u16.to_be_bytes());
        message(b'B', &[&bind], out);
        message(b'E', &[b"\0", &0_u32.to_be_bytes()], out);
        message(b'S', &[], out);
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Option<(usize, Said)>, String> {
        let Some(head) = bytes.get(..5) else { return Ok(None) };
        let length = 1 + u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some(body) = bytes.get(5..length) else { return Ok(None) };
        let said = match head[0] {
            // One column: its number (u16) and its length (u32) before it.
            b'D' => {
                self.row = Some(stored(body.get(6..).unwrap_or_default())?);
                Said::Nothing
            }
            b'E' => {
                return Err(format!("PostgreSQL says {}", String::from_utf8_lossy(body).replace('\0', " ")));
            }
            // Only now the transaction is over: the row came before its commit.
            b'Z' => match self.row.take() {
                Some(answer) => Said::Answer(answer),
                None => self.greeted(),
            },
            _ => Said::Nothing,
        };
        Ok(Some((length, said)))
    }
}

impl Wire {
    /// The first sign of readiness follows the start, the second the preparation.
    fn greeted(&mut self) -> Said {
        self.syncs += 1;
        self.ready = self.syncs >= 2;
        if self.ready { Said::Ready } else { Said::Nothing }
    }
}

fn message(kind: u8, parts: &[&[u8]], out: &mut Vec<u8>) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.push(kind);
    out.extend_from_slice(&(4 + length as u32).to_be_bytes());
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_after_its_commit() {
        let text = b"65:2000:5:0:7";
        let mut bytes = Vec::new();
        message(b'2', &[], &mut bytes);
        message(b'D', &[&1_u16.to_be_bytes(), &(text.len() as u32).to_be_bytes(), text], &mut bytes);
        message(b'C', &[b"SELECT 1\0"], &mut bytes);
        let before_commit = bytes.len();
        message(b'Z', &[b"I"], &mut bytes);
        let mut wire = Wire { ready: true, syncs: 2, row: None };
        let (mut from, mut answers) = (0, Vec::new());
        while let Some((length, said)) = wire.read(&bytes[from..]).unwrap() {
            if let Said::Answer(answer) = said {
                answers.push((from, answer.code as u16));
            }
            from += length;
        }
        assert_eq!((answers, from), (vec![(before_commit, 65)], bytes.len()));
    }

    #[test]
    fn an_error_is_told_in_its_own_words() {
        let mut bytes = Vec::new();
        message(b'E', &[b"SERROR\0Mno such function\0\0"], &mut bytes);
        let mut wire = Wire { ready: true, syncs: 2, row: None };
        assert!(wire.read(&bytes).unwrap_err().contains("no such function"));
    }
}
