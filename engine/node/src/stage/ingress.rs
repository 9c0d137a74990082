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
        body if kind.class() == Class::Command && may(role, kind) => match checked(role, frame, &body) {
            Ok(()) => Ok(Inbound::Command {
                frame: frame.bytes().to_vec(),
                kind,
                role,
                request: frame.envelope().request,
                ticket,
            }),
            Err((code, note)) => Err(refused(number, code, ticket, &note)),
        },
        _ => {
            let note = format!("{} is not for the role {}", kind.name(), role.name());
            Err(refused(number, Code::UnknownKind, ticket, &note))
        }
    }
}

/// Checks what a decoded command says, and that it says no more than this program reads.
fn checked(role: Role, frame: &FrameRef<'_>, body: &Body) -> Result<(), (Code, String)> {
    if says_more(frame, body) {
        let note = format!(
            "{} carries bytes that this node does not know, of a later version; it logs only what it reads",
            body.kind().name()
        );
        return Err((Code::Malformed, note));
    }
    body.check_range().map_err(|error| (Code::FieldRange, error.to_string()))?;
    match body {
        // A customer's limits are raised by who answers for the risk, not by who takes the bets.
        Body::OpenAccount(m) if role == Role::Intake && m.factor_permille > 1000 => {
            let note = "factor_permille must be at most 1000 from an intake; only an operator raises limits";
            Err((Code::FieldRange, note.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Whether a block or an entry is longer than this program knows. A decoder skips the rest, as a journal of a later
/// version needs; but a node that logged it would log bytes that nobody checked.
fn says_more(frame: &FrameRef<'_>, body: &Body) -> bool {
    let known = body.kind().block_bytes();
    if frame.block_bytes() > known {
        return true;
    }
    // Without tails there is nothing else; with them, what is read is written again to be measured.
    let mut again = Vec::new();
    if frame.body_bytes().len() > known {
        body.put(&mut again);
    }
    frame.body_bytes().len() > again.len().max(known)
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

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_protocol::frame::encode;

    fn framed(body: impl Into<Body>) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(&Envelope::session(0, Epoch(0), 3), &body.into(), &mut bytes);
        bytes
    }

    /// A frame with another block length and body, its checksum right.
    fn with_body(frame: &[u8], block: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = frame[..HEADER_BYTES].to_vec();
        bytes.extend_from_slice(body);
        let length = bytes.len() as u32;
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        bytes[14..16].copy_from_slice(&block.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The code with which a connection of a role is told off for a frame; `None` where it is taken.
    fn code(role: Role, frame: &[u8]) -> Option<Code> {
        let mut ingress = Ingress::new();
        let mut out = Vec::new();
        let hello = Hello { role, version: PROTOCOL_VERSION, epoch: Epoch(0), name: Text::cut("test") };
        ingress.receive(&framed(hello), &mut out).unwrap();
        ingress.receive(frame, &mut out).unwrap();
        match out.pop() {
            Some(Inbound::Command { .. }) => None,
            Some(Inbound::Refuse(3, why)) => Some(why.code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bytes_that_this_version_does_not_know_are_not_logged() {
        let book = framed(SetBook {
            brand: BrandId(1),
            open: true,
            operator: OperatorId(1),
            note: Text::cut("why"),
        });
        let known = Kind::SetBook.block_bytes();
        assert_eq!(code(Role::Operator, &book), None);
        let (block, tails) = book[HEADER_BYTES..].split_at(known);
        let longer = [block, &[7; 4096], tails].concat();
        let forged = with_body(&book, (known + 4096) as u16, &longer);
        assert_eq!(code(Role::Operator, &forged), Some(Code::Malformed));

        let account = framed(OpenAccount {
            brand: BrandId(1),
            customer: CustomerId(1),
            currency: Currency(*b"EUR"),
            factor_permille: 1000,
        });
        assert_eq!(code(Role::Intake, &account), None);
        let longer = [&account[HEADER_BYTES..], &[0]].concat();
        let block = Kind::OpenAccount.block_bytes() as u16 + 1;
        assert_eq!(code(Role::Intake, &with_body(&account, block, &longer)), Some(Code::Malformed));

        // An entry of a list that is longer than known: its own length says so, seven bytes become nine.
        let spec = MarketSpec { market: MarketKey::new(1, 0), selections: 0 };
        let markets = framed(OpenMarkets { fixture: FixtureId(1), markets: List(vec![spec]) });
        assert_eq!(code(Role::Feed, &markets), None);
        let known = Kind::OpenMarkets.block_bytes();
        let mut body = markets[HEADER_BYTES..].to_vec();
        body[known] += 2;
        body.extend([1, 2]);
        assert_eq!(code(Role::Feed, &with_body(&markets, known as u16, &body)), Some(Code::Malformed));
    }

    #[test]
    fn only_an_operator_raises_a_customers_limits() {
        let account = |factor_permille| {
            framed(OpenAccount {
                brand: BrandId(1),
                customer: CustomerId(1),
                currency: Currency(*b"EUR"),
                factor_permille,
            })
        };
        assert_eq!(code(Role::Intake, &account(1000)), None);
        assert_eq!(code(Role::Intake, &account(0)), None);
        assert_eq!(code(Role::Intake, &account(1001)), Some(Code::FieldRange));
        assert_eq!(code(Role::Operator, &account(1001)), None);
    }
}
