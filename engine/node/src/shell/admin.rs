//! The admin socket: lines of JSON on a Unix socket of this machine, one question a line, one answer a line.
//!
//! | question | answer |
//! |---|---|
//! | `{"ask":"status"}` | what this node is: role, epoch, address, last committed frame, seconds since its start |
//! | `{"ask":"switchover"}` | whether this node begins to hand the lead over to its peer |
//! | `{"ask":"agree"}` | whether this node waited for an operator's word to the log that it has, which is hereby given |
//! | `{"ask":"measures"}` | figures of each stage since this connection last asked, counters, gauges |
//!
//! Only who may read the socket's file may ask.

use crate::shell::links::Durable;
use crate::shell::pipeline::Asker;
use crate::shell::standing::Status;
use serde_json::{Map, Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use touchline_runtime::stages::{Board, Snapshot};

/// The longest line that is read.
const LINE_BYTES: usize = 4096;
/// How long a connection may be silent before it is closed.
const SILENCE: Duration = Duration::from_secs(60);
/// Connections at once.
const CONNECTIONS_MAX: usize = 16;

/// What there is to tell.
pub(crate) struct Told {
    pub(crate) epoch: u64,
    pub(crate) address: std::net::SocketAddr,
    pub(crate) committed: Arc<Durable>,
    /// Of a node of a cluster: what it is, and who is asked to change that.
    pub(crate) member: Option<(Arc<Mutex<Status>>, Asker)>,
    pub(crate) board: Arc<Board>,
    pub(crate) since: Instant,
}

/// A listening admin socket.
pub(crate) struct Admin {
    path: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Listens at a path; what an earlier process left there is replaced.
    pub(crate) fn listen(path: &Path, told: Told) -> std::io::Result<Self> {
        // The journal's lock has shown that no other process is this node.
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, told) = (Arc::clone(&stop), Arc::new(told));
        let open = Arc::new(());
        let work = move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                // Each conversation holds one more reference for as long as it lasts.
                if Arc::strong_count(&open) > CONNECTIONS_MAX {
                    continue;
                }
                let (told, open) = (Arc::clone(&told), Arc::clone(&open));
                let thread = std::thread::Builder::new().name("admin-talk".into());
                let _ = thread.spawn(move || {
                    let _open = open;
                    // A peer that is gone hears nothing.
                    let _ = talk(&stream, &told);
                });
            }
        };
        let thread = std::thread::Builder::new().name("admin".into()).spawn(work)?;
        Ok(Admin { path: path.to_owned(), stop, thread: Some(thread) })
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the listener; where that fails it is gone already.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

fn talk(stream: &UnixStream, told: &Told) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut reader = BufReader::new(stream);
    let mut before = Vec::new();
    loop {
        let mut line = Vec::new();
        let read = std::io::Read::take(&mut reader, LINE_BYTES as u64).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        let answer = answer(&line, told, &mut before);
        // The rest of a line that is too long is thrown away: closing with it unread would reset the answer away.
        while line.last() != Some(&b'\n') && !line.is_empty() {
            line.clear();
            std::io::Read::take(&mut reader, LINE_BYTES as u64).read_until(b'\n', &mut line)?;
        }
        let mut stream = stream;
        stream.write_all(format!("{answer}\n").as_bytes())?;
    }
}

fn answer(line: &[u8], told: &Told, before: &mut Vec<Snapshot>) -> Value {
    let asked: Result<Value, _> = serde_json::from_slice(line);
    match asked.as_ref().map(|asked| asked["ask"].as_str()) {
        Ok(Some("status")) => status(told),
        Ok(Some("measures")) => measures(told, before),
        Ok(Some("switchover")) => match &told.member {
            None => json!({ "error": "this node stands alone" }),
            Some((_, asker)) if asker.switchover() => json!({ "begun": true }),
            Some(_) => {
                json!({ "error": "only a node that leads with a standby in sync (DUAL) hands over; ask its status" })
            }
        },
        Ok(Some("agree")) => match &told.member {
            None => json!({ "error": "this node stands alone" }),
            Some((_, asker)) => json!({ "needed": asker.give_word() }),
        },
        Ok(_) => json!({ "error": "ask is none of status, measures, switchover, agree" }),
        Err(error) => {
            json!({ "error": format!("not a question: {error}; ask one line of at most {LINE_BYTES} bytes such as {{\"ask\":\"status\"}}") })
        }
    }
}

fn status(told: &Told) -> Value {
    let alone = json!({
        "role": "ALONE",
        "epoch": told.epoch,
        "address": told.address,
        "committed": told.committed.seq().0,
        "uptime_s": told.since.elapsed().as_secs(),
    });
    let Some((status, _)) = &told.member else { return alone };
    let status = *status.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut value, committed) = (alone, status.committed.0);
    let protection = status.is_dual().map(|dual| if dual { "DUAL" } else { "SOLO" });
    value["role"] = status.role_name().into();
    value["epoch"] = status.register.map_or(0, |register| register.epoch.0).into();
    value["committed"] = committed.into();
    let more = json!({
        "node": status.place,
        "boot": format!("{:032x}", status.boot),
        "protection": protection,
        "primary": status.register.map(|register| register.primary.0),
        "leads": status.leads,
        "held": status.held,
        "durable": status.durable.0,
        "end": status.end.seq.0,
        // A node that neither leads nor follows does not know what is committed.
        "lag": (committed > 0).then(|| status.end.seq.0.saturating_sub(committed)),
        "needs_word": status.needs_word,
        "stranded": status.stranded,
    });
    if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
        value.extend(more);
    }
    value
}

/// Figures in microseconds of what was recorded since the connection last asked.
fn measures(told: &Told, before: &mut Vec<Snapshot>) -> Value {
    let mut stages = Map::new();
    let mut now = Vec::new();
    for (place, (name, snapshot)) in told.board.stages().enumerate() {
        let fresh = before.get(place).map_or_else(|| snapshot.clone(), |earlier| snapshot.since(earlier));
        let histogram = fresh.histogram();
        let us = |ns: u64| ns as f64 / 1000.0;
        let figures = json!({
            "count": fresh.count(),
            "total": snapshot.count(),
            "p50_us": us(histogram.value_at_quantile(0.5)),
            "p99_us": us(histogram.value_at_quantile(0.99)),
            "max_us": us(histogram.max()),
            "mean_us": us(fresh.mean_ns()),
        });
        stages.insert(name.to_owned(), figures);
        now.push(snapshot);
    }
    *before = now;
    let counters: Map<String, Value> =
        told.board.counters().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let gauges: Map<String, Value> =
        told.board.gauges().map(|(name, value)| (name.to_owned(), value.into())).collect();
    json!({
        "uptime_ns": told.since.elapsed().as_nanos() as u64,
        "committed": told.committed.seq().0,
        "stages": stages,
        "counters": counters,
        "gauges": gauges,
    })
}
