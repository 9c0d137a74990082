//! The client's side of the protocol without a socket: bytes and instants in, bytes and events out.

use crate::link::Link;
use std::collections::{BTreeMap, VecDeque};
use touchline_protocol::*;

/// What a node told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node greeted back.
    Welcome(Welcome),
    /// The final answer to a ticket.
    Decision(Decision),
    /// A command was applied.
    Done(u64, Done),
    /// A message was refused for good: trying again would not help.
    Refused(u64, Refused),
    /// A message was refused for now; the session sends it again by itself.
    Postponed(u64, Refused),
    /// The connection broke before the answer to a command that is not [`sent_again`]: it may or may not have run, or
    /// waited behind one of which that is so. The session has forgotten it; whoever sent it decides what it is now.
    Unknown(u64, Body),
    /// A price, status or event that was subscribed to, with the partition and sequence of its cause.
    Told(PartitionId, Seq, Body),
}

/// Whether a command whose answer was lost goes again by itself on the next connection. Only what changes no later
/// decision of somebody else may, since others may have acted between its two arrivals:
///
/// * a ticket, an account, a fixture, markets: whoever names the same one again changes nothing;
/// * an incident: what is not above the source's last number is a repeat;
/// * a sign of life: the later promise holds, and an earlier one was true as well;
/// * a suspension, a closed book: too safe at worst;
/// * a bet brought back: its record is used up by the first time.
///
/// A release would undo a suspension that another desk has set since; limits, prices, rules, results and a customer's
/// status would overwrite newer ones; a settlement would repeat what was rolled back.
pub fn sent_again(body: &Body) -> bool {
    match body {
        Body::SubmitTicket(_)
        | Body::OpenAccount(_)
        | Body::OpenFixture(_)
        | Body::OpenMarkets(_)
        | Body::Incident(_)
        | Body::SourceFresh(_)
        | Body::Reopen(_) => true,
        Body::Suspend(m) => m.on,
        Body::SetBook(m) => !m.open,
        _ => false,
    }
}

/// Everything that one connection after another must not forget.
pub struct Session {
    link: Link,
    next_request: u64,
    unanswered: BTreeMap<u64, Body>,
    /// The last request whose bytes were given out: what has a higher number has surely not run.
    given_out: u64,
    /// When to send a refused request again: instant in milliseconds and request.
    later: VecDeque<(u64, u64)>,
}

impl Session {
    /// A session of a role; the name is for the node's logs.
    pub fn new(role: Role, name: &str) -> Self {
        Session {
            link: Link::new(role, name),
            next_request: 1,
            unanswered: BTreeMap::new(),
            given_out: 0,
            later: VecDeque::new(),
        }
    }

    /// A connection was made: greets, subscribes again, and sends unanswered requests again, in order. Those that are
    /// not [`sent_again`] are given back as [`Event::Unknown`], in order; but one that never left goes out now, unless
    /// one before it is given back, on which it may rest.
    #[must_use = "a command of which nobody knows whether it ran is its sender's matter"]
    pub fn connected(&mut self) -> Vec<Event> {
        self.later.clear();
        self.link.connected();
        let mut unknown = Vec::new();
        for (request, body) in std::mem::take(&mut self.unanswered) {
            let never_left = request > self.given_out && unknown.is_empty();
            if never_left || sent_again(&body) {
                self.link.write(request, &body);
                self.unanswered.insert(request, body);
            } else {
                unknown.push(Event::Unknown(request, body));
            }
        }
        unknown
    }

    /// Asks for streams, now and after every reconnect.
    pub fn subscribe(&mut self, wants: Subscribe) {
        self.link.subscribe(wants);
    }

    /// Sends a command and remembers it until it is answered; its request number.
    pub fn send(&mut self, body: impl Into<Body>) -> u64 {
        let body = body.into();
        let request = self.next_request;
        self.next_request += 1;
        self.link.write(request, &body);
        self.unanswered.insert(request, body);
        request
    }

    /// Requests without an answer.
    pub fn unanswered(&self) -> usize {
        self.unanswered.len()
    }

    /// Sends again what was refused for a while and is due.
    pub fn tick(&mut self, now_ms: u64) {
        while let Some((_, request)) = self.later.front().copied().filter(|(due, _)| *due <= now_ms) {
            self.later.pop_front();
            if let Some(body) = self.unanswered.get(&request).cloned() {
                self.link.write(request, &body);
            }
        }
    }

    /// Bytes to be written; they count as sent.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.given_out = self.next_request - 1;
        self.link.take_output()
    }

    /// Takes bytes from the node. An error ends the connection, not the session.
    pub fn receive(&mut self, now_ms: u64, bytes: &[u8], events: &mut Vec<Event>) -> Result<(), String> {
        self.link.push(bytes);
        while let Some((envelope, body)) = self.link.next_frame()? {
            self.take(now_ms, &envelope, body, events);
        }
        Ok(())
    }

    fn take(&mut self, now_ms: u64, envelope: &Envelope, body: Body, events: &mut Vec<Event>) {
        match body {
            Body::Welcome(m) => events.push(Event::Welcome(m)),
            // Decisions also come as events to whoever subscribed; only an answer carries a request number.
            Body::Decision(m) if envelope.request != 0 => {
                let asked = |body: &Body| matches!(body, Body::SubmitTicket(of) if (of.brand, of.ticket) == (m.brand, m.ticket));
                if self.unanswered.get(&envelope.request).is_some_and(asked) {
                    self.unanswered.remove(&envelope.request);
                    events.push(Event::Decision(m));
                }
            }
            Body::Done(m) => {
                if self.unanswered.remove(&envelope.request).is_some() {
                    events.push(Event::Done(envelope.request, m));
                }
            }
            Body::Refused(m)
                if matches!(m.code, Code::Overloaded | Code::DiskFull) && envelope.request != 0 =>
            {
                self.later.push_back((now_ms + u64::from(m.retry_ms.max(1)), envelope.request));
                events.push(Event::Postponed(envelope.request, m));
            }
            Body::Refused(m) => {
                let open = self.unanswered.remove(&envelope.request).is_some();
                if open || envelope.request == 0 {
                    events.push(Event::Refused(envelope.request, m));
                }
            }
            Body::Pong(_) => {}
            told => events.push(Event::Told(envelope.partition, envelope.seq, told)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use touchline_protocol::frame::encode;

    fn ticket(random: u64) -> SubmitTicket {
        let (brand, customer) = (BrandId(1), CustomerId(2));
        SubmitTicket {
            brand,
            ticket: TicketId::new(1, brand, customer, random),
            customer,
            currency: Currency(*b"EUR"),
            channel: 0,
            fixture: FixtureId(1),
            market: MarketKey::new(1, 0),
            selection: 0,
            odds: Odds::decimal(2000),
            stake: Stake(100),
            policy: OddsPolicy::Exact,
            tolerance_permille: 0,
            price_version: Seq(1),
        }
    }

    fn sent(session: &mut Session) -> Vec<Body> {
        let mut splitter = Splitter::new();
        splitter.push(&session.take_output());
        std::iter::from_fn(|| splitter.next_frame().unwrap().map(|frame| frame.body().unwrap())).collect()
    }

    fn answer(session: &mut Session, request: u64, body: impl Into<Body>) -> Vec<Event> {
        let mut bytes = Vec::new();
        encode(&Envelope::session(1, Epoch(1), request), &body.into(), &mut bytes);
        let mut events = Vec::new();
        session.receive(0, &bytes, &mut events).unwrap();
        events
    }

    fn decision(m: &SubmitTicket) -> Decision {
        Decision {
            event: 1,
            brand: m.brand,
            ticket: m.ticket,
            code: Code::Accepted,
            odds: m.odds,
            stake: m.stake,
            returned_minor: Money(200),
            decided: Seq(9),
            checked_at: Seq(9),
            decided_at: At(9),
        }
    }

    #[test]
    fn what_is_unanswered_is_sent_again_with_the_same_id_and_answered_once() {
        let mut session = Session::new(Role::Intake, "test");
        assert!(session.connected().is_empty());
        let (first, second) = (ticket(1), ticket(2));
        let requests = [session.send(first.clone()), session.send(second.clone())];
        sent(&mut session);
        assert_eq!(answer(&mut session, requests[0], decision(&first)).len(), 1);
        assert!(session.connected().is_empty());
        let again = sent(&mut session);
        assert!(matches!(again.as_slice(), [Body::Hello(_), Body::SubmitTicket(m)] if *m == second));
        assert_eq!(answer(&mut session, requests[1], decision(&second)).len(), 1);
        assert_eq!(
            answer(&mut session, requests[1], decision(&second)).len(),
            0,
            "a second answer is dropped"
        );
        assert_eq!(session.unanswered(), 0);
    }

    #[test]
    fn the_same_ticket_sent_twice_is_answered_twice() {
        let mut session = Session::new(Role::Intake, "test");
        assert!(session.connected().is_empty());
        let requests = [session.send(ticket(1)), session.send(ticket(1))];
        for request in requests {
            assert_eq!(answer(&mut session, request, decision(&ticket(1))).len(), 1);
        }
        assert_eq!(session.unanswered(), 0);
    }

    #[test]
    fn an_overloaded_node_is_asked_again_later_and_a_wrong_ticket_is_given_up() {
        let mut session = Session::new(Role::Intake, "test");
        assert!(session.connected().is_empty());
        let request = session.send(ticket(1));
        sent(&mut session);
        let refused = |code, retry_ms| Refused {
            of: Kind::SubmitTicket as u16,
            code,
            retry_ms,
            brand: BrandId(1),
            ticket: ticket(1).ticket,
            note: Text::default(),
        };
        let told = answer(&mut session, request, refused(Code::Overloaded, 50));
        assert!(matches!(told.as_slice(), [Event::Postponed(..)]));
        session.tick(49);
        assert!(sent(&mut session).is_empty());
        session.tick(50);
        assert_eq!(sent(&mut session).len(), 1);
        assert_eq!(answer(&mut session, request, refused(Code::FieldRange, 0)).len(), 1);
        assert_eq!(session.unanswered(), 0);
    }

    /// Of every command one, beside those whose answer depends on what they say.
    fn commands() -> Vec<(Body, bool)> {
        let suspend = |on| Suspend {
            fixture: FixtureId(1),
            market: MarketKey::WHOLE_FIXTURE,
            reason: Reason::Operator,
            on,
            operator: OperatorId(1),
            note: Text::default(),
        };
        let set_book =
            |open| SetBook { brand: BrandId(1), open, operator: OperatorId(1), note: Text::default() };
        let by_kind =
            Kind::ALL.iter().filter(|kind| kind.class() == body::Class::Command).filter_map(|kind| {
                let again = match kind {
                    Kind::Suspend | Kind::SetBook => return None,
                    Kind::SubmitTicket
                    | Kind::OpenAccount
                    | Kind::OpenFixture
                    | Kind::OpenMarkets
                    | Kind::Incident
                    | Kind::SourceFresh
                    | Kind::Reopen => true,
                    _ => false,
                };
                Some((Body::sample(*kind, 1), again))
            });
        let by_content = [
            (suspend(true).into(), true),
            (suspend(false).into(), false),
            (set_book(false).into(), true),
            (set_book(true).into(), false),
        ];
        by_kind.chain(by_content).collect()
    }

    #[test]
    fn after_a_break_only_what_undoes_nobodys_decision_goes_again_by_itself() {
        for (body, again) in commands() {
            let mut session = Session::new(Role::Operator, "test");
            assert!(session.connected().is_empty());
            let request = session.send(body.clone());
            sent(&mut session);
            let unknown = session.connected();
            let resent = sent(&mut session).into_iter().skip(1).collect::<Vec<_>>();
            if again {
                assert_eq!((unknown, resent), (vec![], vec![body]));
            } else {
                assert_eq!((unknown, resent), (vec![Event::Unknown(request, body)], vec![]));
                assert_eq!(session.unanswered(), 0, "it is its sender's now");
                assert!(session.connected().is_empty(), "and told once");
            }
        }
    }

    #[test]
    fn what_never_left_goes_out_unless_it_may_rest_on_what_is_unknown() {
        let limit = |n| Body::sample(Kind::SetLimit, n);
        let mut session = Session::new(Role::Operator, "test");
        // Before the first connection, and again while there is none.
        let first = session.send(limit(1));
        assert!(session.connected().is_empty());
        assert_eq!(sent(&mut session).len(), 2);
        answer(&mut session, first, done());
        let second = session.send(limit(2));
        assert!(session.connected().is_empty());
        assert_eq!(sent(&mut session).into_iter().nth(1), Some(limit(2)));
        // The second has left now; the third has not, but was meant to come after it.
        let third = session.send(limit(3));
        let unknown = [Event::Unknown(second, limit(2)), Event::Unknown(third, limit(3))];
        assert_eq!(session.connected(), unknown);
        assert_eq!(sent(&mut session).len(), 1);
    }

    fn done() -> Done {
        Done { of: Kind::SetLimit as u16, code: Code::Accepted, changed: true, applied: Seq(9) }
    }
}
