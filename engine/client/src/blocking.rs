//! A session over a blocking TCP socket that reconnects by itself.

use crate::cluster_blocking::ClusterClient;
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
    /// An answer did not come in time; the request stays unanswered, and an answer that comes later is an event.
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
    /// The connection broke before the answer to a command that is not sent again by itself.
    #[error(
        "the connection to {address} broke before {} was answered: it may or may not have taken effect; look at what is in \
         force there and send it again where it is still wanted",
        .body.kind().name()
    )]
    Unknown {
        /// The node.
        address: SocketAddr,
        /// The command.
        body: Box<Body>,
    },
    /// No node of a cluster led for so long.
    #[error("none of {addresses} led within {patience:?}; are the nodes running, and are these all of them?")]
    NoLeader {
        /// The nodes.
        addresses: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// The node that led was lost before the answer to a command that is not sent again by itself.
    #[error(
        "the node that led was lost before {} was answered: it may or may not have taken effect; look at what is in force \
         there and send it again where it is still wanted",
        .body.kind().name()
    )]
    Lost {
        /// The command.
        body: Box<Body>,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for a ticket id")]
    Random,
}

/// A connection to a node that outlives its sockets.
pub struct Client {
    address: SocketAddr,
    session: Session,
    stream: Option<TcpStream>,
    /// Events of the last reconnect that were not handed out yet.
    unknown: Vec<Event>,
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
        let mut client = Client {
            address,
            session,
            stream: None,
            unknown: Vec::new(),
            patience,
            start: Instant::now(),
            reconnects: 0,
        };
        client.ensure()?;
        Ok(client)
    }

    /// Connects to the nodes of a cluster; see [`ClusterClient::connect`].
    pub fn connect_cluster(
        addresses: &[SocketAddr],
        role: Role,
        name: &str,
        patience: Duration,
    ) -> Result<ClusterClient, ClientError> {
        ClusterClient::connect(addresses, role, name, patience)
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
        let mut events = std::mem::take(&mut self.unknown);
        if let Err(_lost) = self.exchange(wait, &mut events) {
            // What is unanswered goes again on the next connection, or is told to be unknown.
            self.stream = None;
        }
        Ok(events)
    }

    /// Sends a command and waits for its answer; other events that arrive meanwhile are dropped. Where the connection
    /// breaks meanwhile, a command that is not [`sent_again`](crate::session::sent_again) fails with
    /// [`ClientError::Unknown`]: a caller that is the only one to set such a thing may send it again.
    pub fn command(&mut self, body: impl Into<Body>) -> Result<Done, ClientError> {
        let wanted = self.session.send(body);
        let address = self.address;
        self.wait_for(|event| match event {
            Event::Done(request, done) if request == wanted => Some(Ok(done)),
            Event::Unknown(request, body) if request == wanted => {
                Some(Err(ClientError::Unknown { address, body: Box::new(body) }))
            }
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
            match dial(self.address) {
                Ok(stream) => {
                    let _ = stream.set_nodelay(true);
                    self.reconnects += u64::from(self.session_began());
                    self.unknown.extend(self.session.connected());
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

/// One attempt to connect. A kernel may give the connection the very port that it asks for where nobody listens on it: such
/// a connection hears only itself, and keeps the node from its port.
pub(crate) fn dial(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    if stream.local_addr()? == stream.peer_addr()? {
        return Err(ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener};

    /// Takes frames of a connection until one of a kind has come; the kinds that came.
    fn until(stream: &mut TcpStream, kind: Kind) -> (Vec<u16>, u64) {
        let (mut splitter, mut kinds) = (Splitter::new(), Vec::new());
        let mut buffer = [0; 4096];
        loop {
            while let Some(frame) = splitter.next_frame().unwrap() {
                kinds.push(frame.kind());
                if frame.kind() == kind as u16 {
                    return (kinds, frame.envelope().request);
                }
            }
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the client hung up after {kinds:?}");
            splitter.push(&buffer[..count]);
        }
    }

    fn done(stream: &mut TcpStream, request: u64, kind: Kind) {
        let done = Done { of: kind as u16, code: Code::Accepted, changed: true, applied: Seq(7) };
        let mut bytes = Vec::new();
        frame::encode(&Envelope::session(1, Epoch(1), request), &done.into(), &mut bytes);
        stream.write_all(&bytes).unwrap();
    }

    #[test]
    fn a_command_whose_answer_was_lost_is_told_and_not_sent_again() {
        let node = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = node.local_addr().unwrap();
        let served = std::thread::spawn(move || {
            let (mut first, _) = node.accept().unwrap();
            until(&mut first, Kind::SetLimit);
            drop(first);
            let (mut second, _) = node.accept().unwrap();
            let (kinds, request) = until(&mut second, Kind::OpenAccount);
            drop(second);
            // An account goes again, with the number that it had.
            let (mut third, _) = node.accept().unwrap();
            assert_eq!(until(&mut third, Kind::OpenAccount).1, request);
            done(&mut third, request, Kind::OpenAccount);
            kinds
        });
        let mut client = Client::connect(address, Role::Operator, "test", Duration::from_secs(20)).unwrap();
        let limit = Body::sample(Kind::SetLimit, 1);
        let told = client.command(limit.clone()).unwrap_err();
        assert!(matches!(&told, ClientError::Unknown { body, .. } if **body == limit), "{told}");
        assert!(told.to_string().contains("SetLimit was answered"), "{told}");
        let account = client.command(Body::sample(Kind::OpenAccount, 0)).unwrap();
        assert_eq!(account.applied, Seq(7));
        assert_eq!(served.join().unwrap(), [Kind::Hello as u16, Kind::OpenAccount as u16]);
    }
}
