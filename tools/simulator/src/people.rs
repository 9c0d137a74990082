//! Who is connected: bet intakes, a feed, an operator and a subscriber of events, with the wires between them
//! and the node.

use crate::node::Node;
use std::collections::BTreeMap;
use touchline_client::{Event, Session};
use touchline_generator::Random;
use touchline_protocol::*;

/// A client and its connection.
pub(crate) struct Person {
    pub(crate) role: Role,
    pub(crate) session: Session,
    /// The connection, while there is one: to which machine, and its number there.
    pub(crate) connection: Option<(usize, u64)>,
    /// Bytes on their way to the node, and to the client.
    to_node: Vec<u8>,
    to_client: Vec<u8>,
    /// Tickets without an answer, kept by the client's own store for its restarts.
    pub(crate) unanswered: BTreeMap<TicketId, SubmitTicket>,
}

impl Person {
    /// A client that is not connected yet.
    pub(crate) fn new(role: Role) -> Self {
        Person {
            role,
            session: session(role),
            connection: None,
            to_node: Vec::new(),
            to_client: Vec::new(),
            unanswered: BTreeMap::new(),
        }
    }

    /// Sends a ticket and remembers it.
    pub(crate) fn submit(&mut self, ticket: SubmitTicket) {
        self.unanswered.insert(ticket.ticket, ticket.clone());
        self.session.send(ticket);
    }

    /// Connects to a node. What may or may not have run is sent again: feed and desk are the only ones to set what they
    /// set, so nobody can have decided otherwise since. How many commands that were.
    pub(crate) fn connect(&mut self, place: usize, node: &mut Node) -> u64 {
        self.connection = Some((place, node.accept()));
        let mut again = 0;
        for event in self.session.connected() {
            let Event::Unknown(_, body) = event else { continue };
            self.session.send(body);
            again += 1;
        }
        again
    }

    /// The connection is gone, and with it what was on the wires.
    pub(crate) fn disconnect(&mut self, node: Option<&mut Node>) {
        if let (Some((_, id)), Some(node)) = (self.connection, node) {
            node.close(id);
        }
        self.connection = None;
        self.to_node.clear();
        self.to_client.clear();
    }

    /// The client restarts: a new session sends what its store holds unanswered. Commands other than tickets
    /// are the caller's to repeat.
    pub(crate) fn restart(&mut self, node: Option<&mut Node>, new_ids: Option<&mut Random>) {
        self.disconnect(node);
        self.session = session(self.role);
        let mut unanswered = std::mem::take(&mut self.unanswered);
        if let Some(random) = new_ids {
            let renamed = unanswered.into_values().map(|ticket| {
                let id =
                    TicketId::new(ticket.ticket.issued_ms(), ticket.brand, ticket.customer, random.bits());
                (id, SubmitTicket { ticket: id, ..ticket })
            });
            unanswered = renamed.collect();
        }
        for ticket in unanswered.values() {
            self.session.send(ticket.clone());
        }
        self.unanswered = unanswered;
    }

    /// Moves some bytes in both directions, at most `most` towards the client; what the client was told.
    pub(crate) fn exchange(
        &mut self,
        node: &mut Node,
        random: &mut Random,
        now_ms: u64,
        most: u64,
    ) -> Result<Vec<Event>, String> {
        let mut events = Vec::new();
        let Some((_, id)) = self.connection else { return Ok(events) };
        self.session.tick(now_ms);
        self.to_node.extend(self.session.take_output());
        // A connection whose commands wait for a place is not read.
        if node.holds(id) {
            node.admit(id);
        } else {
            let some = part(random, &mut self.to_node);
            node.receive(id, &some)?;
        }
        self.to_client.extend(node.take(id, 1 + random.below(most) as usize));
        let some = part(random, &mut self.to_client);
        self.session.receive(now_ms, &some, &mut events)?;
        Ok(events)
    }

    /// Whether nothing is on the wires and nothing is unanswered.
    pub(crate) fn is_quiet(&self) -> bool {
        self.session.unanswered() == 0 && self.to_node.is_empty() && self.to_client.is_empty()
    }
}

fn session(role: Role) -> Session {
    let mut session = Session::new(role, role.name());
    if matches!(role, Role::Intake | Role::Observer) {
        let (odds, events) = (role == Role::Intake, role == Role::Observer);
        session.subscribe(Subscribe { odds, events, fixture: FixtureId(0) });
    }
    session
}

/// Takes a random part off the front: all of it half of the time.
fn part(random: &mut Random, bytes: &mut Vec<u8>) -> Vec<u8> {
    let count = if random.chance(0.5) { bytes.len() } else { random.below(bytes.len() as u64 + 1) as usize };
    bytes.drain(..count).collect()
}
