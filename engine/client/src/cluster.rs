//! The client's side of a cluster without sockets: one book of requests, several connections, one node that leads.
//!
//! Every node is greeted, but commands go only to the one that leads. What it leaves unanswered goes to the next one
//! under the same request number and ticket id. What comes from an epoch below the highest heard of is dropped.

use crate::link::Link;
use crate::session::sent_again;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use touchline_protocol::*;

/// Decisions remembered to notice a second one that differs; about 4 MiB.
const REMEMBERED_MAX: usize = 16_384;
/// How long after NOT_PRIMARY or a void answer a node is asked again where no other has said that it leads, milliseconds.
const RETRY_MS: u64 = 20;

/// What became of a request; each gets exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The final answer to a ticket.
    Decided(Decision),
    /// Any other command was applied.
    Done(Done),
    /// Refused for good: trying again would not help.
    Refused(Refused),
    /// The connection or the leader was lost before the answer to a command that is not [`sent_again`]: it may or may
    /// not have run, or waited behind one of which that is so. Whoever sent it decides what it is now.
    Unknown(Body),
}

/// What a cluster told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterEvent {
    /// A request got its one answer.
    Answered(u64, Outcome),
    /// A request was refused for now; it goes again by itself, and later ones do not wait for it.
    Postponed(u64, Refused),
    /// Who leads now, by its place among the addresses; nobody known where `None`. Requests wait meanwhile.
    Leader {
        /// The highest epoch heard of.
        epoch: Epoch,
        /// The node.
        node: Option<usize>,
    },
    /// The leader holds every market, or goes on: tickets get no answer while it does.
    Hold {
        /// The epoch.
        epoch: Epoch,
        /// Whether it holds.
        held: bool,
    },
    /// A ticket was answered a second time and differently: the cluster broke its word. The first answer stands, and
    /// is the one handed out.
    Differs(Box<Differs>),
    /// A node refused the greeting or a subscription.
    Rejected(usize, Refused),
    /// A price, status or event from the leader, with the partition and sequence of its cause.
    Told(PartitionId, Seq, Body),
}

/// Two answers to one ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// The one that was handed out.
    pub first: Decision,
    /// The one that came later.
    pub second: Decision,
    /// The node that the later one came from.
    pub node: usize,
}

/// Everything that no change of connections or leaders must forget.
pub struct Cluster {
    nodes: Vec<Node>,
    epoch: Epoch,
    leader: Option<usize>,
    wants: Option<Subscribe>,
    next_request: u64,
    requests: BTreeMap<u64, Request>,
    /// Refused requests that go again: instant in milliseconds and request.
    later: BTreeSet<(u64, u64)>,
    answered: Memory,
}

struct Node {
    link: Link,
    up: bool,
    /// Requests that go out with its next bytes.
    unsent: Vec<u64>,
}

struct Request {
    body: Body,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not with any node: it never left, or is known not to have run.
    Here,
    /// With a node; `left` where its bytes were given out.
    At { node: usize, left: bool },
}

impl Cluster {
    /// A client of so many nodes; the name is for their logs. A single node counts as the one that leads, until it
    /// says otherwise: one outside a cluster does not say.
    pub fn new(nodes: usize, role: Role, name: &str) -> Self {
        let node = || Node { link: Link::new(role, name), up: false, unsent: Vec::new() };
        Cluster {
            nodes: std::iter::repeat_with(node).take(nodes).collect(),
            epoch: Epoch(0),
            leader: None,
            wants: None,
            next_request: 1,
            requests: BTreeMap::new(),
            later: BTreeSet::new(),
            answered: Memory::default(),
        }
    }

    /// A connection to a node was made: greets it.
    pub fn connected(&mut self, node: usize, events: &mut Vec<ClusterEvent>) {
        self.broken(node, events);
        self.nodes[node].up = true;
        self.nodes[node].link.connected();
    }

    /// The connection to a node broke: what it left unanswered waits for the next that leads.
    pub fn broken(&mut self, node: usize, events: &mut Vec<ClusterEvent>) {
        self.nodes[node].up = false;
        self.nodes[node].unsent.clear();
        if self.leader == Some(node) {
            self.lose(events);
        }
        self.reclaim(|at| at == node, events);
    }

    /// Sends a command as soon as a node leads and remembers it until it is answered; its request number.
    pub fn send(&mut self, body: impl Into<Body>) -> u64 {
        let request = self.next_request;
        self.next_request += 1;
        self.requests.insert(request, Request { body: body.into(), place: Place::Here });
        self.give(request);
        request
    }

    /// Asks for streams, of every node that comes to lead.
    pub fn subscribe(&mut self, wants: Subscribe) {
        if let Some(leader) = self.leader {
            self.nodes[leader].link.write(0, &wants.clone().into());
        }
        self.wants = Some(wants);
    }

    /// Requests without an answer.
    pub fn unanswered(&self) -> usize {
        self.requests.len()
    }

    /// The node that leads, where one is known.
    pub fn leader(&self) -> Option<usize> {
        self.leader
    }

    /// The highest epoch heard of.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Sends again what was refused for a while and is due.
    pub fn tick(&mut self, now_ms: u64) {
        while let Some((due, request)) = self.later.first().copied().filter(|(due, _)| *due <= now_ms) {
            self.later.remove(&(due, request));
            self.give(request);
        }
    }

    /// Bytes to be written to a node; they count as sent. Requests become bytes only here: until then they can be taken
    /// back.
    pub fn take_output(&mut self, node: usize) -> Vec<u8> {
        let Node { link, unsent, .. } = &mut self.nodes[node];
        for request in unsent.drain(..) {
            let Some(held) = self.requests.get_mut(&request) else { continue };
            if held.place == (Place::At { node, left: false }) {
                held.place = Place::At { node, left: true };
                link.write(request, &held.body);
            }
        }
        link.take_output()
    }

    /// Takes bytes from a node. After an error the connection is of no more use: close it and call
    /// [`Cluster::broken`].
    pub fn receive(
        &mut self,
        now_ms: u64,
        node: usize,
        bytes: &[u8],
        events: &mut Vec<ClusterEvent>,
    ) -> Result<(), String> {
        self.nodes[node].link.push(bytes);
        while let Some((envelope, body)) = self.nodes[node].link.next_frame()? {
            self.take(now_ms, node, &envelope, body, events);
        }
        Ok(())
    }

    fn take(
        &mut self,
        now_ms: u64,
        node: usize,
        envelope: &Envelope,
        body: Body,
        events: &mut Vec<ClusterEvent>,
    ) {
        let request = envelope.request;
        let known = match &body {
            // Whoever is turned away hears it, also from a node that knows of no epoch.
            Body::Refused(m) if request == 0 => return events.push(ClusterEvent::Rejected(node, m.clone())),
            Body::Leader(m) => m.epoch,
            _ => envelope.epoch,
        };
        self.heard(node, known.max(envelope.epoch), events);
        if known < self.epoch {
            return self.answer_is_void(now_ms, node, request, events);
        }
        match body {
            Body::Welcome(_) if self.nodes.len() == 1 => self.lead(node, events),
            Body::Welcome(_) | Body::Pong(_) => {}
            Body::Leader(m) if m.leads => self.lead(node, events),
            Body::Leader(_) if self.leader == Some(node) => self.lose(events),
            Body::Leader(_) => {}
            Body::Decision(m) if request != 0 => self.decided(node, request, m, events),
            Body::Done(m) => {
                let asked = |body: &Body| !matches!(body, Body::SubmitTicket(_));
                self.answered(request, asked, Outcome::Done(m), events);
            }
            Body::Refused(m) => self.refused(now_ms, node, request, m, events),
            _ if self.leader != Some(node) => {}
            Body::Hold(m) => events.push(ClusterEvent::Hold { epoch: m.epoch, held: m.held }),
            told => events.push(ClusterEvent::Told(envelope.partition, envelope.seq, told)),
        }
    }

    /// A node knows of a higher epoch: whoever led before does so no longer, unless it says so itself.
    fn heard(&mut self, node: usize, epoch: Epoch, events: &mut Vec<ClusterEvent>) {
        if epoch <= self.epoch {
            return;
        }
        self.epoch = epoch;
        for each in &mut self.nodes {
            each.link.heard(epoch);
        }
        if self.leader != Some(node) {
            self.lose(events);
        }
    }

    fn lose(&mut self, events: &mut Vec<ClusterEvent>) {
        if self.leader.take().is_some() {
            events.push(ClusterEvent::Leader { epoch: self.epoch, node: None });
        }
    }

    /// A node leads: everything unanswered goes to it.
    fn lead(&mut self, node: usize, events: &mut Vec<ClusterEvent>) {
        if self.leader == Some(node) {
            return;
        }
        self.reclaim(|_| true, events);
        self.later.clear();
        self.leader = Some(node);
        events.push(ClusterEvent::Leader { epoch: self.epoch, node: Some(node) });
        if let Some(wants) = self.wants.clone() {
            self.nodes[node].link.write(0, &wants.into());
        }
        for request in self.requests.keys().copied().collect::<Vec<_>>() {
            self.give(request);
        }
    }

    /// Puts a request on its way to the node that leads, where there is one.
    fn give(&mut self, request: u64) {
        let (Some(leader), Some(held)) = (self.leader, self.requests.get_mut(&request)) else { return };
        held.place = Place::At { node: leader, left: false };
        self.nodes[leader].unsent.push(request);
    }

    /// Takes back what is with these nodes. What may have run and is not [`sent_again`] is told to be unknown, and so is
    /// what stood behind it, on which it may rest.
    fn reclaim(&mut self, from: impl Fn(usize) -> bool, events: &mut Vec<ClusterEvent>) {
        let mut unknown = false;
        for (request, mut held) in std::mem::take(&mut self.requests) {
            let left = match held.place {
                Place::At { node, left } if from(node) => {
                    held.place = Place::Here;
                    left
                }
                _ => false,
            };
            if (left || unknown) && !sent_again(&held.body) {
                unknown = true;
                events.push(ClusterEvent::Answered(request, Outcome::Unknown(held.body)));
            } else {
                self.requests.insert(request, held);
            }
        }
    }

    fn is_with(&self, node: usize, request: u64) -> bool {
        let place = self.requests.get(&request).map(|held| held.place);
        matches!(place, Some(Place::At { node: at, .. }) if at == node)
    }

    /// An answer of an old epoch does not count. Where the request is with its sender still, no other will come: it goes
    /// again, or is told to be unknown.
    fn answer_is_void(&mut self, now_ms: u64, node: usize, request: u64, events: &mut Vec<ClusterEvent>) {
        if !self.is_with(node, request) {
            return;
        }
        if sent_again(&self.requests[&request].body) {
            self.later.insert((now_ms + RETRY_MS, request));
        } else if let Some(held) = self.requests.remove(&request) {
            events.push(ClusterEvent::Answered(request, Outcome::Unknown(held.body)));
        }
    }

    fn decided(&mut self, node: usize, request: u64, m: Decision, events: &mut Vec<ClusterEvent>) {
        let key = (m.brand, m.ticket);
        let stands = match self.answered.first(&m) {
            Some(first) => {
                if *first != m {
                    let differs = Differs { first: first.clone(), second: m, node };
                    events.push(ClusterEvent::Differs(Box::new(differs)));
                }
                first.clone()
            }
            None => m,
        };
        let asked = |body: &Body| matches!(body, Body::SubmitTicket(of) if (of.brand, of.ticket) == key);
        if self.answered(request, asked, Outcome::Decided(stands.clone()), events) {
            self.answered.keep(stands);
        }
    }

    /// Hands out the answer to a request that is still open and of which `asked` holds; whether it did.
    fn answered(
        &mut self,
        request: u64,
        asked: impl Fn(&Body) -> bool,
        outcome: Outcome,
        events: &mut Vec<ClusterEvent>,
    ) -> bool {
        let open = self.requests.get(&request).is_some_and(|held| asked(&held.body));
        if open {
            self.requests.remove(&request);
            events.push(ClusterEvent::Answered(request, outcome));
        }
        open
    }

    fn refused(
        &mut self,
        now_ms: u64,
        node: usize,
        request: u64,
        m: Refused,
        events: &mut Vec<ClusterEvent>,
    ) {
        // A refusal says nothing about a copy that went elsewhere since.
        if !self.is_with(node, request) {
            return;
        }
        let wait_ms = match m.code {
            Code::Overloaded | Code::DiskFull => u64::from(m.retry_ms.max(1)),
            Code::NotPrimary => u64::from(m.retry_ms).max(RETRY_MS),
            _ => {
                self.answered(request, |_| true, Outcome::Refused(m), events);
                return;
            }
        };
        self.requests.get_mut(&request).expect("it is with the node").place = Place::Here;
        self.later.insert((now_ms + wait_ms, request));
        events.push(ClusterEvent::Postponed(request, m));
    }
}

/// The last decisions handed out.
#[derive(Default)]
struct Memory {
    by_ticket: BTreeMap<(BrandId, TicketId), Decision>,
    order: VecDeque<(BrandId, TicketId)>,
}

impl Memory {
    /// What was handed out for this ticket before. That an id was used for other content is no answer to the ticket
    /// that had it first.
    fn first(&self, m: &Decision) -> Option<&Decision> {
        self.by_ticket.get(&(m.brand, m.ticket)).filter(|_| m.code != Code::DuplicateConflict)
    }

    fn keep(&mut self, m: Decision) {
        let key = (m.brand, m.ticket);
        if m.code == Code::DuplicateConflict || self.by_ticket.insert(key, m).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > REMEMBERED_MAX {
            let oldest = self.order.pop_front().expect("it is not empty");
            self.by_ticket.remove(&oldest);
        }
    }
}
