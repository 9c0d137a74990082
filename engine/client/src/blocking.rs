//! A session over a blocking TCP socket that reconnects by itself.

use crate::session::{Event, Session};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use touchline_protocol::*;

/// Why a client gave up.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The node could not be reached for so long.
    #[error("no connection to {address} within {patience:?}: {error}; is the node running?")]
    Unreachable {
        /// The node.
        address: SocketAddr,
        /// How long it was tried.
        patience: Duration,
        /// The last failure.
        error: std::io::Error,
    },
    /// An answer did not come in time; the request stays unanswered and is sent again on the next connection.
    #[error("no answer from {address} within {patience:?}")]
    Late {
        /// The node.
        address: SocketAddr,
        /// How long it was waited for.
        patience: Duration,
    },
    /// A message was refused for good.
    #[error("{} refused with {}: {}", .0.of, .0.code, .0.note.as_str())]
    Refused(Box<Refused>),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for a ticket id")]
    Random,
}

/// A connection to a node that outlives its sockets.
pub struct Client {
    address: SocketAddr,
    session: Session,
    stream: Option<TcpStream>,
    patience: Duration,
    start: Instant,
    reconnects: u64,
}

impl Client {
    /// Connects; `patience` bounds every wait for the node.
    pub fn connect(
        address: SocketAddr,
        role: Role,
        name: &str,
        patience: Duration,
    ) -> Result<Self, ClientError> {
        let session = Session::new(role, name);
        let mut client =
            Client { address, session, stream: None, patience, start: Instant::now(), reconnects: 0 };
        client.ensure()?;
        Ok(client)
    }

    /// The session, to send without waiting.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Connections made after the first.
    pub fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Sends what is to be sent and waits up to `wait` for something to arrive (zero: takes what is there); its
    /// events.
    pub fn poll(&mut self, wait: Duration) -> Result<Vec<Event>, ClientError> {
        self.ensure()?;
        let mut events = Vec::new();
        if let Err(_lost) = self.exchange(wait, &mut events) {
            // Everything unanswered goes again on the next connection.
            self.stream = None;
        }
        Ok(events)
    }

    /// Sends a command and waits for its answer; other events that arrive meanwhile are dropped.
    pub fn command(&mut self, body: impl Into<Body>) -> Result<Done, ClientError> {
        let wanted = self.session.send(body);
        self.wait_for(|event| match event {
            Event::Done(request, done) if request == wanted => Some(Ok(done)),
            Event::Refused(request, why) if request == wanted => {
                Some(Err(ClientError::Refused(Box::new(why))))
            }
            _ => None,
        })
    }

    /// Submits a ticket and waits for its final answer; other events that arrive meanwhile are dropped.
    pub fn submit(&mut self, ticket: SubmitTicket) -> Result<Decision, ClientError> {
        let key = (ticket.brand, ticket.ticket);
        let wanted = self.session.send(ticket);
        self.wait_for(|event| match event {
            Event::Decision(m) if (m.brand, m.ticket) == key => Some(Ok(m)),
            Event::Refused(request, why) if request == wanted => {
                Some(Err(ClientError::Refused(Box::new(why))))
            }
            _ => None,
        })
    }

    fn wait_for<T>(
        &mut self,
        pick: impl Fn(Event) -> Option<Result<T, ClientError>>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + self.patience;
        while Instant::now() < deadline {
            if let Some(found) = self.poll(Duration::from_millis(50))?.into_iter().find_map(&pick) {
                return found;
            }
        }
        Err(ClientError::Late { address: self.address, patience: self.patience })
    }

    fn now_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    /// Makes a connection where there is none, trying again for as long as patience lasts.
    fn ensure(&mut self) -> Result<(), ClientError> {
        if self.stream.is_some() {
            return Ok(());
        }
        let begun = Instant::now();
        loop {
            match TcpStream::connect_timeout(&self.address, Duration::from_secs(1)) {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    self.reconnects += u64::from(self.session_began());
                    self.session.connected();
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(error) if begun.elapsed() >= self.patience => {
                    return Err(ClientError::Unreachable {
                        address: self.address,
                        patience: self.patience,
                        error,
                    });
                }
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Whether a connection was made before.
    fn session_began(&self) -> bool {
        self.reconnects > 0 || self.session.unanswered() > 0
    }

    fn exchange(&mut self, wait: Duration, events: &mut Vec<Event>) -> std::io::Result<()> {
        let now_ms = self.now_ms();
        let stream = self.stream.as_mut().expect("ensured");
        self.session.tick(now_ms);
        let out = self.session.take_output();
        if !out.is_empty() {
            stream.write_all(&out)?;
        }
        let mut buffer = [0; 64 * 1024];
        let read = if wait.is_zero() {
            // Only around the read: a write must wait for room rather than end in the middle of a frame.
            stream.set_nonblocking(true)?;
            let read = stream.read(&mut buffer);
            stream.set_nonblocking(false)?;
            read
        } else {
            stream.set_read_timeout(Some(wait))?;
            stream.read(&mut buffer)
        };
        match read {
            Ok(0) => Err(ErrorKind::ConnectionAborted.into()),
            Ok(count) => {
                self.session.receive(now_ms, &buffer[..count], events).map_err(std::io::Error::other)
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
