//! How a server is spoken to on one connection: here the appliance's own protocol; peers bring theirs.

use touchline_protocol::*;
use xxhash_rust::xxh3::xxh3_64;

/// One connection's side of a protocol, without a socket.
pub trait Dialect {
    /// What the connection says first.
    fn greeting(&self) -> Vec<u8>;

    /// Appends a ticket; `request` is dense on this connection, from 1.
    fn ticket(&mut self, request: u64, ticket: &SubmitTicket, out: &mut Vec<u8>);

    /// Appends what ends a batch of tickets that go out together.
    fn end_batch(&mut self, _out: &mut Vec<u8>) {}

    /// Reads the message at the front of `bytes`: its length and what it says, `None` where more bytes are needed. It is
    /// asked until it says `None`, so what was held back may follow with the length 0. An error ends the connection.
    fn read(&mut self, bytes: &[u8]) -> Result<Option<(usize, Said)>, String>;
}

/// What a server said.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// The greeting was answered; tickets may follow.
    Ready,
    /// The answer to a ticket.
    Answer(Answer),
    /// A price or status.
    Told(Box<Body>),
    /// A price or status that this connection only counts.
    Counted,
    /// Nothing of interest.
    Nothing,
}

/// The answer to a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whose answer; `None` where the protocol answers in order.
    pub request: Option<u64>,
    /// The ticket that it names; `None` where the protocol does not.
    pub ticket: Option<TicketId>,
    /// Accepted, or why not.
    pub code: Code,
    /// Whether nothing was recorded, rather than a decision stored.
    pub refused: bool,
    /// Hash of the answer's bytes: of one ticket it must always be the same.
    pub content: u64,
}

/// What a connection to the appliance is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Sends tickets.
    Bets,
    /// Takes prices and passes them on.
    Notes,
    /// Takes prices and counts them.
    Counts,
}

/// The appliance's protocol.
#[derive(Clone, Debug)]
pub struct Touchline {
    of: Use,
}

impl Touchline {
    /// A connection.
    pub fn new(of: Use) -> Self {
        Touchline { of }
    }
}

impl Dialect for Touchline {
    fn greeting(&self) -> Vec<u8> {
        let role = if self.of == Use::Bets { Role::Intake } else { Role::Observer };
        let hello = Hello { role, version: 1, epoch: Epoch(0), name: Text::cut("load") };
        let mut bytes = Vec::new();
        frame::encode(&session(0), &hello.into(), &mut bytes);
        if self.of != Use::Bets {
            let all = Subscribe { odds: true, events: false, fixture: FixtureId(0) };
            frame::encode(&session(0), &all.into(), &mut bytes);
        }
        bytes
    }

    fn ticket(&mut self, request: u64, ticket: &SubmitTicket, out: &mut Vec<u8>) {
        frame::encode(&session(request), &Body::from(ticket.clone()), out);
    }

    fn read(&mut self, bytes: &[u8]) -> Result<Option<(usize, Said)>, String> {
        let frame = match FrameRef::parse(bytes) {
            Ok(frame) => frame,
            Err(FrameError::Incomplete(_)) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let is_price = [Kind::MarketOdds as u16, Kind::FixtureState as u16].contains(&frame.kind());
        let said = if is_price && self.of == Use::Counts { Said::Counted } else { said(&frame)? };
        Ok(Some((frame.bytes().len(), said)))
    }
}

/// Clients name no cluster and no epoch: the node that they reach knows both.
fn session(request: u64) -> Envelope {
    Envelope::session(0, Epoch(0), request)
}

fn said(frame: &FrameRef<'_>) -> Result<Said, String> {
    let answer = |code, ticket, refused| {
        Said::Answer(Answer {
            request: Some(frame.envelope().request),
            ticket: Some(ticket),
            code,
            refused,
            content: xxh3_64(frame.body_bytes()),
        })
    };
    Ok(match frame.body().map_err(|error| error.to_string())? {
        Body::Decision(m) => answer(m.code, m.ticket, false),
        Body::Refused(m) if m.of == Kind::SubmitTicket as u16 => answer(m.code, m.ticket, true),
        Body::Refused(m) => return Err(format!("the node refused: {} {}", m.code, m.note.as_str())),
        Body::Welcome(_) => Said::Ready,
        told @ (Body::MarketOdds(_) | Body::FixtureState(_)) => Said::Told(Box::new(told)),
        _ => Said::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(request: u64, body: Body) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame::encode(&session(request), &body, &mut bytes);
        bytes
    }

    #[test]
    fn a_decision_is_an_answer_and_half_of_one_is_none() {
        let body = Body::sample(Kind::Decision, 3);
        let Body::Decision(decision) = body.clone() else { unreachable!() };
        let bytes = framed(9, body);
        let mut dialect = Touchline::new(Use::Bets);
        assert_eq!(dialect.read(&bytes[..bytes.len() - 1]), Ok(None));
        let Ok(Some((length, Said::Answer(answer)))) = dialect.read(&bytes) else { panic!("no answer") };
        assert_eq!((length, answer.request, answer.refused), (bytes.len(), Some(9), false));
        assert_eq!((answer.ticket, answer.code), (Some(decision.ticket), decision.code));
    }

    #[test]
    fn garbage_ends_the_connection() {
        assert!(Touchline::new(Use::Bets).read(b"HTTP/1.1 400").is_err());
    }
}
