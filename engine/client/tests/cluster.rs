//! A cluster's client against a naive cluster, while connections break, leaders change and bytes come late: every
//! request gets exactly one answer, and it is the cluster's.

use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use touchline_client::session::sent_again;
use touchline_client::{Cluster, ClusterEvent, Outcome};
use touchline_protocol::frame::encode;
use touchline_protocol::*;

const NODES: usize = 3;

/// What may happen, with small numbers that are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A ticket of one of a few ids, so that some come twice.
    Ticket(u64),
    /// A command that must not go twice by itself.
    Limit(u64),
    Connect(usize),
    Break(usize),
    /// The client's bytes reach a node, which answers what it may.
    ToNode(usize),
    /// So many frames of a node reach the client, the last one cut in the middle.
    ToClient(usize, usize),
    /// A node leads from here on; nobody hears of it yet.
    Elect(usize),
    /// A node tells who leads, as far as it knows: all do but one that is cut off.
    Announce(usize),
    /// The last frames of a node come once more.
    Duplicate(usize),
    /// A false answer of an epoch below the highest that the client has heard of.
    OldEpoch(usize, u64),
    /// The leader is too busy for what comes next.
    Busy,
    Time(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 0..NODES;
    prop_oneof![
        4 => (0..12_u64).prop_map(Step::Ticket),
        2 => (0..1000_u64).prop_map(Step::Limit),
        3 => node().prop_map(Step::Connect),
        1 => node().prop_map(Step::Break),
        6 => node().prop_map(Step::ToNode),
        6 => (node(), 1..4_usize).prop_map(|(n, frames)| Step::ToClient(n, frames)),
        1 => node().prop_map(Step::Elect),
        3 => node().prop_map(Step::Announce),
        1 => node().prop_map(Step::Duplicate),
        1 => (node(), 1..30_u64).prop_map(|(n, request)| Step::OldEpoch(n, request)),
        1 => Just(Step::Busy),
        1 => (1..60_u64).prop_map(Step::Time),
    ]
}

fn ticket(random: u64) -> SubmitTicket {
    let Body::SubmitTicket(m) = Body::sample(Kind::SubmitTicket, 0) else { panic!("a sample of its kind") };
    SubmitTicket { ticket: TicketId(random.into()), ..m }
}

/// The cluster as a user believes it to be: one log that decides each ticket once, however often it is asked.
#[derive(Default)]
struct Naive {
    epoch: u64,
    leader: Option<usize>,
    decisions: BTreeMap<TicketId, Decision>,
    /// How often each limit ran.
    limits: BTreeMap<u64, u32>,
    busy: bool,
    nodes: [Remote; NODES],
}

#[derive(Default)]
struct Remote {
    up: bool,
    /// The epoch that it knows of.
    epoch: u64,
    splitter: Splitter,
    /// Frames on their way to the client.
    out: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

impl Naive {
    fn say(&mut self, node: usize, request: u64, body: impl Into<Body>) {
        let remote = &mut self.nodes[node];
        let mut bytes = Vec::new();
        encode(&Envelope::session(1, Epoch(remote.epoch), request), &body.into(), &mut bytes);
        remote.out.push_back(bytes.clone());
        remote.sent.push(bytes);
    }

    fn announce(&mut self, node: usize) {
        self.nodes[node].epoch = self.epoch;
        let leads = self.leader == Some(node);
        self.say(node, 0, Leader { epoch: Epoch(self.epoch), leads, address: Text::default() });
    }

    fn hear(&mut self, node: usize, bytes: &[u8]) {
        self.nodes[node].splitter.push(bytes);
        let mut bodies = Vec::new();
        while let Some(frame) = self.nodes[node].splitter.next_frame().unwrap() {
            bodies.push((frame.envelope().request, frame.body().unwrap()));
        }
        for (request, body) in bodies {
            self.answer(node, request, body);
        }
    }

    fn answer(&mut self, node: usize, request: u64, body: Body) {
        let kind = body.kind() as u16;
        let leads = self.leader == Some(node);
        if leads {
            self.nodes[node].epoch = self.epoch;
        }
        let refused = |code, retry_ms| Refused {
            of: kind,
            code,
            retry_ms,
            brand: BrandId(0),
            ticket: TicketId(0),
            note: Text::default(),
        };
        match body {
            Body::Hello(_) => {
                let welcome =
                    Welcome { version: 1, partitions: 1, committed: Seq(0), frame_bytes_max: 65_536 };
                self.say(node, 0, welcome);
                self.announce(node);
            }
            _ if !leads => self.say(node, request, refused(Code::NotPrimary, 0)),
            _ if std::mem::take(&mut self.busy) => self.say(node, request, refused(Code::Overloaded, 5)),
            Body::SubmitTicket(m) => {
                let number = self.decisions.len() as u64 + 1;
                let decision = self.decisions.entry(m.ticket).or_insert_with(|| decision(&m, number)).clone();
                self.say(node, request, decision);
            }
            Body::SetLimit(_) => {
                *self.limits.entry(request).or_default() += 1;
                self.say(
                    node,
                    request,
                    Done { of: kind, code: Code::Accepted, changed: true, applied: Seq(1) },
                );
            }
            other => panic!("the client sent {other:?}"),
        }
    }
}

fn decision(m: &SubmitTicket, number: u64) -> Decision {
    let Body::Decision(sample) = Body::sample(Kind::Decision, 0) else { panic!("a sample of its kind") };
    Decision { brand: m.brand, ticket: m.ticket, decided: Seq(number), ..sample }
}

/// Client and cluster, and what the caller sent and was told.
struct World {
    client: Cluster,
    naive: Naive,
    now_ms: u64,
    sent: BTreeMap<u64, Body>,
    answers: BTreeMap<u64, Outcome>,
}

impl World {
    fn new() -> Self {
        let naive = Naive { epoch: 1, ..Naive::default() };
        let client = Cluster::new(NODES, Role::Operator, "property");
        World { client, naive, now_ms: 0, sent: BTreeMap::new(), answers: BTreeMap::new() }
    }

    fn told(&mut self, events: Vec<ClusterEvent>) {
        for event in events {
            match event {
                ClusterEvent::Answered(request, outcome) => {
                    let second = self.answers.insert(request, outcome);
                    assert_eq!(second, None, "request {request} was answered twice");
                }
                ClusterEvent::Differs(differs) => panic!("the cluster kept its word: {differs:?}"),
                _ => {}
            }
        }
    }

    fn take(&mut self, step: Step) {
        let mut events = Vec::new();
        match step {
            Step::Ticket(random) => {
                let body: Body = ticket(random).into();
                self.sent.insert(self.client.send(body.clone()), body);
            }
            Step::Limit(number) => {
                let Body::SetLimit(m) = Body::sample(Kind::SetLimit, 0) else { panic!("a sample") };
                let body: Body = SetLimit { fixture: FixtureId(number), ..m }.into();
                self.sent.insert(self.client.send(body.clone()), body);
            }
            Step::Connect(node) => {
                if !self.naive.nodes[node].up {
                    let epoch = self.naive.nodes[node].epoch;
                    self.naive.nodes[node] = Remote { up: true, epoch, ..Remote::default() };
                    self.client.connected(node, &mut events);
                }
            }
            Step::Break(node) => {
                if std::mem::take(&mut self.naive.nodes[node].up) {
                    self.client.broken(node, &mut events);
                }
            }
            Step::ToNode(node) => {
                let bytes = self.client.take_output(node);
                if self.naive.nodes[node].up {
                    self.naive.hear(node, &bytes);
                }
            }
            Step::ToClient(node, frames) => {
                for _ in 0..frames {
                    let remote = &mut self.naive.nodes[node];
                    let Some(bytes) = remote.out.pop_front().filter(|_| remote.up) else { break };
                    let (front, back) = bytes.split_at(bytes.len() / 2);
                    self.client.receive(self.now_ms, node, front, &mut events).unwrap();
                    self.client.receive(self.now_ms, node, back, &mut events).unwrap();
                }
            }
            Step::Elect(node) => {
                self.naive.epoch += 1;
                self.naive.leader = Some(node);
            }
            Step::Announce(node) if self.naive.nodes[node].up => self.naive.announce(node),
            Step::Announce(_) => {}
            Step::Duplicate(node) => {
                let remote = &mut self.naive.nodes[node];
                remote.out.extend(remote.sent.iter().rev().take(3).rev().cloned());
            }
            Step::OldEpoch(node, request) => self.lie(node, request, &mut events),
            Step::Busy => self.naive.busy = true,
            Step::Time(ms) => {
                self.now_ms += ms;
                self.client.tick(self.now_ms);
            }
        }
        self.told(events);
    }

    /// An answer that no log holds, in an epoch that is over.
    fn lie(&mut self, node: usize, request: u64, events: &mut Vec<ClusterEvent>) {
        let (Some(Body::SubmitTicket(m)), 2..) = (self.sent.get(&request), self.client.epoch().0) else {
            return;
        };
        let remote = &mut self.naive.nodes[node];
        if remote.up {
            let mut bytes = Vec::new();
            let epoch = Epoch(self.client.epoch().0 - 1);
            encode(&Envelope::session(1, epoch, request), &decision(m, u64::MAX).into(), &mut bytes);
            self.client.receive(self.now_ms, node, &bytes, events).unwrap();
        }
    }

    /// The cluster settles: one node leads, all are connected, and all bytes arrive.
    fn settle(&mut self) {
        self.naive.busy = false;
        self.take(Step::Elect(0));
        for node in 0..NODES {
            self.take(Step::Connect(node));
            self.take(Step::Announce(node));
        }
        for _ in 0..20 {
            for node in 0..NODES {
                self.take(Step::ToNode(node));
                self.take(Step::ToClient(node, usize::MAX));
            }
            self.take(Step::Time(100));
        }
    }

    fn check(&self) {
        assert_eq!(self.client.unanswered(), 0);
        assert!(self.answers.keys().eq(self.sent.keys()), "every request is answered");
        for (request, outcome) in &self.answers {
            match (&self.sent[request], outcome) {
                (Body::SubmitTicket(m), Outcome::Decided(found)) => {
                    assert_eq!(found, &self.naive.decisions[&m.ticket]);
                }
                (Body::SetLimit(_), Outcome::Done(_)) => assert_eq!(self.naive.limits[request], 1),
                (body, Outcome::Unknown(told)) => {
                    assert!(!sent_again(body) && body == told);
                    assert!(self.naive.limits.get(request).copied().unwrap_or(0) <= 1, "it went twice");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]
    #[test]
    fn every_request_gets_exactly_one_answer_and_it_is_the_clusters(
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.take(step));
        world.settle();
        world.check();
    }
}

/// A cluster of two with its first node leading in epoch 1, both connected.
fn led() -> World {
    let mut world = World::new();
    world.naive.leader = Some(0);
    for node in 0..NODES {
        for step in [Step::Connect(node), Step::ToNode(node), Step::ToClient(node, 9)] {
            world.take(step);
        }
    }
    assert_eq!(world.client.leader(), Some(0));
    world
}

fn answer(world: &mut World, node: usize, request: u64, body: impl Into<Body>) -> Vec<ClusterEvent> {
    let (mut bytes, mut events) = (Vec::new(), Vec::new());
    encode(&Envelope::session(1, world.client.epoch(), request), &body.into(), &mut bytes);
    world.client.receive(0, node, &bytes, &mut events).unwrap();
    events
}

#[test]
fn a_second_answer_that_differs_is_an_event_of_its_own_and_the_first_one_stands() {
    let mut world = led();
    let requests = [world.client.send(ticket(1)), world.client.send(ticket(1))];
    let (first, second) = (decision(&ticket(1), 1), decision(&ticket(1), 2));
    let told = answer(&mut world, 0, requests[0], first.clone());
    assert_eq!(told, [ClusterEvent::Answered(requests[0], Outcome::Decided(first.clone()))]);
    assert_eq!(answer(&mut world, 0, requests[0], first.clone()), [], "the same once more is nothing new");
    let told = answer(&mut world, 0, requests[1], second.clone());
    let [ClusterEvent::Differs(differs), ClusterEvent::Answered(request, outcome)] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!((&differs.first, &differs.second, differs.node), (&first, &second, 0));
    assert_eq!((*request, outcome), (requests[1], &Outcome::Decided(first)));
}

#[test]
fn hold_and_events_are_told_by_the_leader_alone() {
    let mut world = led();
    let hold = Hold { epoch: Epoch(1), held: true };
    assert_eq!(answer(&mut world, 1, 0, hold.clone()), []);
    let told = answer(&mut world, 0, 0, hold);
    assert_eq!(told, [ClusterEvent::Hold { epoch: Epoch(1), held: true }]);
}

#[test]
fn a_node_outside_a_cluster_leads_as_soon_as_it_greets() {
    let mut client = Cluster::new(1, Role::Intake, "test");
    let request = client.send(ticket(1));
    let mut events = Vec::new();
    client.connected(0, &mut events);
    let greeting = client.take_output(0).len();
    let welcome = Welcome { version: 1, partitions: 1, committed: Seq(0), frame_bytes_max: 65_536 };
    let mut bytes = Vec::new();
    encode(&Envelope::session(1, Epoch(3), 0), &welcome.into(), &mut bytes);
    client.receive(0, 0, &bytes, &mut events).unwrap();
    assert_eq!(events, [ClusterEvent::Leader { epoch: Epoch(3), node: Some(0) }]);
    assert!(greeting > 0 && client.take_output(0).len() > greeting, "the ticket goes behind the greeting");
    // It comes back with a new epoch, and the same request goes again.
    events.clear();
    client.broken(0, &mut events);
    client.connected(0, &mut events);
    client.receive(0, 0, &bytes, &mut events).unwrap();
    let mut splitter = Splitter::new();
    splitter.push(&client.take_output(0));
    assert_eq!(splitter.next_frame().unwrap().unwrap().kind(), Kind::Hello as u16);
    assert_eq!(splitter.next_frame().unwrap().unwrap().envelope().request, request);
}

/// Leads with epoch 1; sends a limit that leaves, and behind it a ticket and a limit that do not.
fn with_three_open() -> (World, [u64; 3]) {
    let mut world = led();
    let limit = |n| Body::sample(Kind::SetLimit, n);
    let first = world.client.send(limit(1));
    world.client.take_output(0);
    let (ticket, second) = (world.client.send(ticket(1)), world.client.send(limit(2)));
    (world, [first, ticket, second])
}

#[test]
fn at_a_break_it_is_told_at_once_what_is_unknown_and_what_may_rest_on_it() {
    let (mut world, [first, _, second]) = with_three_open();
    let mut told = Vec::new();
    world.client.broken(0, &mut told);
    let unknown =
        |request, n| ClusterEvent::Answered(request, Outcome::Unknown(Body::sample(Kind::SetLimit, n)));
    let nobody = ClusterEvent::Leader { epoch: Epoch(1), node: None };
    assert_eq!(told, [nobody, unknown(first, 1), unknown(second, 2)]);
    assert_eq!(world.client.unanswered(), 1, "the ticket waits for the next that leads");
}

#[test]
fn whoever_led_does_so_no_longer_once_it_says_so_or_another_knows_a_higher_epoch() {
    let leader = |epoch, leads| Leader { epoch: Epoch(epoch), leads, address: Text::default() };
    for (node, epoch) in [(0, 1), (1, 2)] {
        let mut world = led();
        let told = answer(&mut world, node, 0, leader(epoch, false));
        assert_eq!(told, [ClusterEvent::Leader { epoch: Epoch(epoch), node: None }]);
        world.client.send(ticket(1));
        assert_eq!(world.client.take_output(0), [], "nothing goes to whoever does not lead");
    }
    // The one that leads may go on into a new epoch, without anybody noticing.
    let (mut world, [first, ..]) = with_three_open();
    assert_eq!(answer(&mut world, 0, 0, leader(2, true)), []);
    let done = Done { of: Kind::SetLimit as u16, code: Code::Accepted, changed: true, applied: Seq(1) };
    let told = answer(&mut world, 0, first, done.clone());
    assert_eq!(told, [ClusterEvent::Answered(first, Outcome::Done(done))]);
}
