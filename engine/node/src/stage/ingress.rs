//! Ingress of one connection: bytes in, checked commands out.
//!
//! A frame whose bytes are sound but whose content is not is refused, and the connection goes on. Bytes that
//! are no frame end it: nothing tells where the next frame would start.

use touchline_protocol::body::Class;
use touchline_protocol::*;

/// What a connection sent.
#[derive(Debug)]
pub enum Inbound {
    /// A greeting; the connection has a role now.
    Hello(Hello),
    /// A command that may be sequenced.
    Command {
        /// The frame as it arrived.
        frame: Vec<u8>,
        /// Its kind.
        kind: Kind,
        /// The sender's role.
        role: Role,
        /// The sender's number for it.
        request: u64,
        /// Brand and id of a ticket, to refuse it by name.
        ticket: Option<(BrandId, TicketId)>,
    },
    /// Streams that it wants.
    Subscribe(Subscribe),
    /// Asks for a sign of life.
    Ping(u64),
    /// To be refused.
    Refuse(u64, Refused),
}

/// The connection must end; the text tells the peer why.
#[derive(Debug, PartialEq, Eq)]
pub struct HangUp(pub Refused);

/// Protocol version that this node speaks.
pub const PROTOCOL_VERSION: u16 = 1;

/// The receiving side of a connection.
#[derive(Default)]
pub struct Ingress {
    splitter: Splitter,
    role: Option<Role>,
}

impl Ingress {
    /// A fresh connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes and appends what they say.
    pub fn receive(&mut self, bytes: &[u8], out: &mut Vec<Inbound>) -> Result<(), HangUp> {
        self.splitter.push(bytes);
        loop {
            let frame = match self.splitter.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(error) => return Err(HangUp(refused(0, Code::Malformed, None, &error.to_string()))),
            };
            match read(self.role, &frame) {
                Ok(Inbound::Hello(hello)) if hello.version > PROTOCOL_VERSION => {
                    let note = format!("protocol version {} is newer than {PROTOCOL_VERSION}", hello.version);
                    return Err(HangUp(refused(frame.kind(), Code::Malformed, None, &note)));
                }
                Ok(Inbound::Hello(hello)) => {
                    self.role = Some(hello.role);
                    out.push(Inbound::Hello(hello));
                }
                Ok(inbound) => out.push(inbound),
                Err(refusal) => out.push(Inbound::Refuse(frame.envelope().request, refusal)),
            }
        }
    }

    /// Bytes of a frame that has not wholly arrived.
    pub fn pending(&self) -> usize {
        self.splitter.pending()
    }
}

/// Checks a frame against the connection's role.
fn read(role: Option<Role>, frame: &FrameRef<'_>) -> Result<Inbound, Refused> {
    let number = frame.kind();
    let body = frame.body().map_err(|error| {
        let code = match error {
            DecodeError::UnknownKind(_) => Code::UnknownKind,
            DecodeError::Field { fault: Fault::Range(_), .. } => Code::FieldRange,
            DecodeError::Version(_) | DecodeError::Field { .. } => Code::Malformed,
        };
        refused(number, code, None, &error.to_string())
    })?;
    let kind = body.kind();
    let ticket = match &body {
        Body::SubmitTicket(m) => Some((m.brand, m.ticket)),
        _ => None,
    };
    if let Body::Hello(hello) = body {
        return Ok(Inbound::Hello(hello));
    }
    let Some(role) = role else {
        return Err(refused(
            number,
            Code::UnknownKind,
            ticket,
            "say Hello first, with the role of this connection",
        ));
    };
    match body {
        Body::Subscribe(m) => Ok(Inbound::Subscribe(m)),
        Body::Ping(m) => Ok(Inbound::Ping(m.number)),
        body if kind.class() == Class::Command && may(role, kind) => match body.check_range() {
            Ok(()) => Ok(Inbound::Command {
                frame: frame.bytes().to_vec(),
                kind,
                role,
                request: frame.envelope().request,
                ticket,
            }),
            Err(error) => Err(refused(number, Code::FieldRange, ticket, &error.to_string())),
        },
        _ => {
            let note = format!("{} is not for the role {}", kind.name(), role.name());
            Err(refused(number, Code::UnknownKind, ticket, &note))
        }
    }
}

/// Which commands a role may send.
fn may(role: Role, kind: Kind) -> bool {
    match role {
        Role::Observer => false,
        Role::Intake => matches!(kind, Kind::SubmitTicket | Kind::OpenAccount),
        Role::Feed => matches!(
            kind,
            Kind::OpenFixture
                | Kind::OpenMarkets
                | Kind::SetReference
                | Kind::SetIntensities
                | Kind::Incident
                | Kind::SourceFresh
                | Kind::SettleFixture
                | Kind::SettleMarket
        ),
        Role::Operator => !matches!(kind, Kind::SubmitTicket | Kind::Incident),
    }
}

/// A refusal of a message.
pub fn refused(of: u16, code: Code, ticket: Option<(BrandId, TicketId)>, note: &str) -> Refused {
    let (brand, ticket) = ticket.unwrap_or((BrandId(0), TicketId(0)));
    let retry_ms = if matches!(code, Code::Overloaded | Code::DiskFull) { 50 } else { 0 };
    Refused { of, code, retry_ms, brand, ticket, note: Text::cut(note) }
}
