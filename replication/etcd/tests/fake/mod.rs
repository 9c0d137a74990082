//! One key of an etcd that fails where it is told to: what a real one does too rarely to be tested.

use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// What happens to one request.
pub(crate) enum Fate {
    /// The connection ends before anything is done.
    Lost,
    /// It is done, and the connection ends without an answer.
    DoneUnanswered,
    /// It is done, then another process does something, and the connection ends without an answer.
    DoneThen(fn(&mut Kv)),
    /// It is under way, unanswered, until everything late arrives.
    Late,
    /// Another process does something before it.
    After(fn(&mut Kv)),
    /// Not done; this status and this text.
    Says(u16, &'static str),
    /// Not done, and nothing is said while the client waits.
    Silence,
}

/// The key.
#[derive(Clone, Debug)]
pub(crate) struct Kv {
    pub(crate) revision: u64,
    pub(crate) created: u64,
    pub(crate) version: u64,
    /// In base64, as it came.
    pub(crate) value: String,
}

impl Default for Kv {
    /// An empty etcd is at revision 1.
    fn default() -> Self {
        Kv { revision: 1, created: 0, version: 0, value: String::new() }
    }
}

impl Kv {
    /// Any process writes it.
    pub(crate) fn put(&mut self, value: &str) {
        self.revision += 1;
        self.version += 1;
        if self.version == 1 {
            self.created = self.revision;
        }
        value.clone_into(&mut self.value);
    }

    fn transact(&mut self, body: &Value) -> Value {
        let number = |value: &Value| value.as_str().unwrap().parse::<u64>().unwrap();
        let holds = |compare: &Value| match compare["target"].as_str().unwrap() {
            "VERSION" => number(&compare["version"]) == self.version,
            "CREATE" => number(&compare["create_revision"]) == self.created,
            "VALUE" => compare["value"] == self.value,
            other => panic!("compares {other}"),
        };
        if body["compare"].as_array().unwrap().iter().all(holds) {
            self.put(body["success"][0]["request_put"]["value"].as_str().unwrap());
            return self.answer(true, &json!({ "response_put": {} }));
        }
        let kvs = match self.version {
            0 => json!([]),
            version => json!([{
                "create_revision": self.created.to_string(), "version": version.to_string(), "value": self.value,
            }]),
        };
        self.answer(false, &json!({ "response_range": { "kvs": kvs } }))
    }

    fn answer(&self, succeeded: bool, response: &Value) -> Value {
        let header = json!({ "cluster_id": "77", "revision": self.revision.to_string() });
        json!({ "header": header, "succeeded": succeeded, "responses": [response] })
    }
}

#[derive(Default)]
struct State {
    kv: Kv,
    fates: VecDeque<Fate>,
    late: Vec<Value>,
    requests: usize,
    ended: bool,
}

/// The server; it ends with this value.
pub(crate) struct Fake {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    pub(crate) fn start() -> Fake {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || {
            // Connections that nobody answers are held open until the end.
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                if shared.lock().unwrap().ended {
                    return;
                }
                silent.extend(serve(stream.unwrap(), &mut shared.lock().unwrap()));
            }
        });
        Fake { address, state, thread: Some(thread) }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to the next requests; those after them are answered as etcd would.
    pub(crate) fn next(&self, fates: impl IntoIterator<Item = Fate>) {
        self.state().fates = fates.into_iter().collect();
    }

    pub(crate) fn kv(&self) -> Kv {
        self.state().kv.clone()
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Kv)) {
        change(&mut self.state().kv);
    }

    /// Everything late arrives.
    pub(crate) fn arrive(&self) {
        let mut state = self.state();
        for late in std::mem::take(&mut state.late) {
            state.kv.transact(&late);
        }
    }

    pub(crate) fn requests(&self) -> usize {
        self.state().requests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.state().ended = true;
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// One request on one connection, which is returned where it is to stay open.
fn serve(stream: TcpStream, state: &mut State) -> Option<TcpStream> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let body = read(&stream)?;
    state.requests += 1;
    let answer = match state.fates.pop_front() {
        Some(Fate::Lost) => return None,
        Some(Fate::Silence) => return Some(stream),
        Some(Fate::DoneUnanswered) => {
            state.kv.transact(&body);
            return None;
        }
        Some(Fate::DoneThen(change)) => {
            state.kv.transact(&body);
            change(&mut state.kv);
            return None;
        }
        Some(Fate::Late) => {
            state.late.push(body);
            return None;
        }
        Some(Fate::Says(status, text)) => return say(&stream, status, text),
        Some(Fate::After(change)) => {
            change(&mut state.kv);
            state.kv.transact(&body)
        }
        None => state.kv.transact(&body),
    };
    say(&stream, 200, &answer.to_string())
}

fn read(stream: &TcpStream) -> Option<Value> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn say(mut stream: &TcpStream, status: u16, text: &str) -> Option<TcpStream> {
    let length = text.len();
    let _ = write!(stream, "HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n\r\n{text}");
    None
}
