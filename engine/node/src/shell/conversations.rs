//! Stages 1 and 6 without sockets: what every connection says, what it is to be told, and the gate between them.
//!
//! One thread owns all of it, so an answer passes from the gate to its connection without a lock.

use crate::shell::clock::Clock;
use crate::shell::links::Arrived;
use crate::shell::measures::NetMeasures;
use crate::shell::standing::Standing;
use crate::stage::admission::{Admission, Closed};
use crate::stage::egress::{Board, Outbound, Overrun};
use crate::stage::gate::Gate;
use crate::stage::ingress::{HangUp, Inbound, Ingress, PROTOCOL_VERSION, refused};
use crate::stage::shedding::Shedding;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use touchline_core::sequencer::Refusal;
use touchline_core::{Audience, Effect, Input};
use touchline_protocol::*;

/// What the connections of one start share.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    pub(crate) cluster: u64,
    /// The epoch in which a node that stands alone leads; `None` for a node of a cluster, whose role changes.
    pub(crate) alone: Option<Epoch>,
    pub(crate) partitions: u16,
    pub(crate) connections_max: usize,
    pub(crate) outbound_bytes_max: usize,
    /// How long a connection may take to say Hello.
    pub(crate) hello_ns: u64,
}

/// All conversations.
pub(crate) struct Conversations {
    pub(crate) terms: Terms,
    pub(crate) gate: Gate,
    pub(crate) admission: Arc<Admission>,
    pub(crate) shedding: Shedding,
    pub(crate) measures: NetMeasures,
    pub(crate) to_sequencer: rtrb::Producer<Arrived>,
    standing: Standing,
    open: BTreeMap<u64, Conversation>,
    next: u64,
    board: Board,
    /// Those that want streams.
    subscribers: BTreeSet<u64>,
    /// Those with something to be written.
    dirty: BTreeSet<u64>,
    /// Those with commands that found no place yet, in turn.
    held: VecDeque<u64>,
    /// Those that have not said Hello, oldest first, and until when they may.
    silent: VecDeque<(u64, u64)>,
    /// Connections with tickets inside.
    senders: usize,
    /// Nothing more is taken in.
    pub(crate) draining: bool,
    passing: Vec<Effect>,
    inbound: Vec<Inbound>,
    bytes: Vec<u8>,
}

/// One connection.
struct Conversation {
    ingress: Ingress,
    outbound: Outbound,
    /// What found no place yet, in order; nothing is read meanwhile.
    held: VecDeque<Inbound>,
    greeted: bool,
    /// It is being ended.
    ends: bool,
    /// It sends no more.
    finished: bool,
    /// Tickets inside.
    inside: usize,
    /// Other commands inside.
    others: usize,
    /// A ticket whose stay is measured, and when it arrived.
    measured: Option<(u64, u64)>,
}

impl Conversation {
    /// Whether everything that it sent is answered, and the answers are on their way.
    fn owes_nothing(&self) -> bool {
        self.inside == 0 && self.others == 0 && self.held.is_empty() && self.outbound.is_empty()
    }
}

/// What is to be done with a connection's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Read from it, or do not.
    Read(bool),
    /// End it once what waits is written.
    End,
    /// End it now.
    Drop,
}

impl Conversations {
    pub(crate) fn new(
        terms: Terms,
        gate: Gate,
        admission: Arc<Admission>,
        shedding: Shedding,
        measures: NetMeasures,
        to_sequencer: rtrb::Producer<Arrived>,
    ) -> Self {
        let standing = terms.alone.map_or_else(Standing::unknown, Standing::leading);
        Conversations {
            standing,
            terms,
            gate,
            admission,
            shedding,
            measures,
            to_sequencer,
            open: BTreeMap::new(),
            next: 0,
            board: Board::default(),
            subscribers: BTreeSet::new(),
            dirty: BTreeSet::new(),
            held: VecDeque::new(),
            silent: VecDeque::new(),
            senders: 0,
            draining: false,
            passing: Vec::new(),
            inbound: Vec::new(),
            bytes: Vec::new(),
        }
    }

    /// Where this node stands in its cluster, from now on.
    pub(crate) fn stand(&mut self, standing: Standing, wishes: &mut Vec<(u64, Wish)>) {
        let before = std::mem::replace(&mut self.standing, standing);
        let Standing { epoch, led, held, .. } = self.standing;
        if before.led != led {
            // What was inside gets its answer from whoever leads now, once it is asked for again.
            self.admission.forget();
        }
        let origins: Vec<u64> = self.open.keys().copied().collect();
        for origin in origins {
            let conversation = self.open.get_mut(&origin).expect("it is open");
            conversation.outbound.speak_in(epoch);
            if before.led.is_none() && led.is_some() {
                conversation.outbound.refresh(&self.board);
                self.dirty.insert(origin);
            }
            if !conversation.greeted {
                continue;
            }
            if (before.epoch, before.led, &before.address) != (epoch, led, &self.standing.address) {
                self.reply(origin, 0, &self.leader().into());
            }
            if before.held != held {
                self.reply(origin, 0, &Hold { epoch, held }.into());
            }
        }
        if before.led.is_some() && led.is_none() {
            self.held.clear();
            for (origin, conversation) in &mut self.open {
                conversation.held.clear();
                conversation.ends = true;
                wishes.push((*origin, Wish::End));
            }
        }
    }

    fn leader(&self) -> Leader {
        let Standing { epoch, led, address, .. } = &self.standing;
        Leader { epoch: *epoch, leads: led.is_some(), address: Text::cut(address) }
    }

    /// The connection that an origin in the log names, where it is one of those since this node leads.
    fn own(&self, origin: u64) -> Option<u64> {
        self.standing.led.filter(|led| origin >> 32 == led.0).map(|_| origin & u64::from(u32::MAX))
    }

    /// A connection was made; its number among those of this start.
    pub(crate) fn open(&mut self, now_ns: u64) -> u64 {
        let Terms { cluster, outbound_bytes_max, .. } = self.terms;
        let epoch = self.standing.epoch;
        let origin = self.next;
        self.next += 1;
        let conversation = Conversation {
            ingress: Ingress::new(),
            outbound: Outbound::new(cluster, epoch, outbound_bytes_max),
            held: VecDeque::new(),
            greeted: false,
            ends: false,
            finished: false,
            inside: 0,
            others: 0,
            measured: None,
        };
        self.open.insert(origin, conversation);
        self.silent.push_back((now_ns + self.terms.hello_ns, origin));
        origin
    }

    /// What one hears that is not served, since there are as many connections as there may be.
    pub(crate) fn farewell(&self) -> Vec<u8> {
        let Terms { cluster, connections_max, .. } = self.terms;
        let epoch = self.standing.epoch;
        let note = format!("this node serves at most {connections_max} connections; try again later");
        let mut bytes = Vec::new();
        let body = refused(0, Code::Overloaded, None, &note).into();
        frame::encode(&Envelope::session(cluster, epoch, 0), &body, &mut bytes);
        bytes
    }

    /// Nothing more is taken in: the node stops.
    pub(crate) fn drain(&mut self) {
        self.draining = true;
        for origin in std::mem::take(&mut self.held) {
            if let Some(conversation) = self.open.get_mut(&origin) {
                conversation.held.clear();
            }
        }
    }

    /// A connection sends no more. It is ended once everything that it sent is answered.
    pub(crate) fn finish(&mut self, origin: u64) {
        if let Some(conversation) = self.open.get_mut(&origin) {
            conversation.finished = true;
            self.dirty.insert(origin);
        }
    }

    /// A connection has ended.
    pub(crate) fn close(&mut self, origin: u64) {
        let Some(gone) = self.open.remove(&origin) else { return };
        self.senders -= usize::from(gone.inside > 0);
        self.subscribers.remove(&origin);
        self.dirty.remove(&origin);
        self.held.retain(|held| *held != origin);
    }

    /// Bytes that a connection sent.
    pub(crate) fn receive(&mut self, origin: u64, bytes: &[u8], now_ns: u64, wishes: &mut Vec<(u64, Wish)>) {
        let Some(conversation) = self.open.get_mut(&origin).filter(|c| !c.ends) else { return };
        if self.draining {
            return;
        }
        let mut inbound = std::mem::take(&mut self.inbound);
        let end = conversation.ingress.receive(bytes, &mut inbound);
        for message in inbound.drain(..) {
            let conversation = self.open.get_mut(&origin).expect("it is open");
            if conversation.held.is_empty() {
                self.handle(origin, message, now_ns, wishes);
            } else {
                conversation.held.push_back(message);
            }
        }
        self.inbound = inbound;
        if let Err(HangUp(why)) = end {
            tracing::info!(connection = origin, why = why.note.as_str(), "closed: not a frame");
            self.measures.garbage.add(1);
            self.reply(origin, 0, &why.into());
            self.open.get_mut(&origin).expect("it is open").ends = true;
            wishes.push((origin, Wish::End));
        }
    }

    /// Tries again what found no place, and ends connections that never said Hello.
    pub(crate) fn tend(&mut self, now_ns: u64, wishes: &mut Vec<(u64, Wish)>) {
        self.admit(now_ns, wishes);
        while let Some((until_ns, origin)) = self.silent.front().copied()
            && (until_ns <= now_ns || self.open.get(&origin).is_none_or(|c| c.greeted))
        {
            self.silent.pop_front();
            if self.open.get(&origin).is_some_and(|c| !c.greeted) {
                let why = refused(0, Code::Malformed, None, "say Hello sooner after connecting");
                self.reply(origin, 0, &why.into());
                wishes.push((origin, Wish::End));
            }
        }
        let inside = self.admission.inside().0;
        if let Some(bound) = self.shedding.step(now_ns, inside) {
            self.admission.set_tickets_max(bound);
        }
        self.measures.connections.set(self.open.len() as u64);
        self.measures.tickets_inside.set(inside as u64);
        self.measures.tickets_max.set(self.shedding.bound() as u64);
    }

    /// Lets in what waits for a place, one command of each connection in turn.
    fn admit(&mut self, now_ns: u64, wishes: &mut Vec<(u64, Wish)>) {
        while let Some(origin) = self.held.pop_front() {
            let Some(conversation) = self.open.get_mut(&origin) else { continue };
            let Some(message) = conversation.held.pop_front() else { continue };
            let takes_place = matches!(message, Inbound::Command { ticket: None, .. });
            if takes_place && (self.to_sequencer.is_full() || self.admission.other().is_err()) {
                conversation.held.push_front(message);
                self.held.push_front(origin);
                return;
            }
            let more = !conversation.held.is_empty();
            match message {
                Inbound::Command { role, frame, ticket: None, .. } => {
                    conversation.others += 1;
                    self.enter(origin, role, frame, now_ns);
                }
                message => self.handle(origin, message, now_ns, wishes),
            }
            if more {
                self.held.push_back(origin);
            } else {
                wishes.push((origin, Wish::Read(true)));
            }
        }
    }

    fn handle(&mut self, origin: u64, message: Inbound, now_ns: u64, wishes: &mut Vec<(u64, Wish)>) {
        match message {
            Inbound::Hello(hello) => {
                tracing::debug!(
                    connection = origin,
                    role = hello.role.name(),
                    name = hello.name.as_str(),
                    "hello"
                );
                self.open.get_mut(&origin).expect("it is open").greeted = true;
                let welcome = Welcome {
                    version: PROTOCOL_VERSION,
                    partitions: self.terms.partitions,
                    committed: self.gate.committed(),
                    frame_bytes_max: MAX_FRAME_BYTES as u32,
                };
                self.reply(origin, 0, &welcome.into());
                if self.terms.alone.is_none() {
                    self.reply(origin, 0, &self.leader().into());
                    if let Standing { epoch, held: true, .. } = self.standing {
                        self.reply(origin, 0, &Hold { epoch, held: true }.into());
                    }
                }
            }
            Inbound::Ping(number) => {
                let pong = Pong { number, committed: self.gate.committed() };
                self.reply(origin, 0, &pong.into());
            }
            Inbound::Subscribe(wants) => {
                let conversation = self.open.get_mut(&origin).expect("it is open");
                conversation.outbound.subscribe(wants, &self.board);
                self.subscribers.insert(origin);
                self.dirty.insert(origin);
            }
            Inbound::Refuse(request, why) => self.reply(origin, request, &why.into()),
            Inbound::Command { kind, request, ticket, .. } if self.standing.led.is_none() => {
                let why = refused(kind as u16, Code::NotPrimary, ticket, "ask the node that leads");
                self.reply(origin, request, &why.into());
            }
            Inbound::Command { frame, kind, role, request, ticket: Some(ticket) } => {
                self.ticket(origin, (role, frame), kind, request, ticket, now_ns);
            }
            Inbound::Command { .. } => self.command(origin, message, now_ns, wishes),
        }
    }

    /// A ticket that finds no place is refused at once.
    fn ticket(
        &mut self,
        origin: u64,
        (role, frame): (Role, Vec<u8>),
        kind: Kind,
        request: u64,
        ticket: (BrandId, TicketId),
        now_ns: u64,
    ) {
        let conversation = self.open.get_mut(&origin).expect("it is open");
        let place = if self.to_sequencer.is_full() {
            Err(Closed::Overloaded)
        } else {
            self.admission.ticket(conversation.inside, self.senders)
        };
        let (code, note) = match place {
            Ok(()) => {
                self.senders += usize::from(conversation.inside == 0);
                conversation.inside += 1;
                conversation.measured.get_or_insert((request, now_ns));
                self.enter(origin, role, frame, now_ns);
                return;
            }
            Err(Closed::Overloaded) => {
                self.shedding.refused();
                (Code::Overloaded, "too many tickets are inside; send it again later")
            }
            Err(Closed::DiskFull) => {
                (Code::DiskFull, "the journal cannot grow; tell the operator of this node")
            }
        };
        self.measures.shed.add(1);
        self.reply(origin, request, &refused(kind as u16, code, Some(ticket), note).into());
    }

    /// Any other command waits for a place, and behind those that wait already; its connection is not read meanwhile.
    fn command(&mut self, origin: u64, message: Inbound, now_ns: u64, wishes: &mut Vec<(u64, Wish)>) {
        let conversation = self.open.get_mut(&origin).expect("it is open");
        let free = self.held.is_empty() && !self.to_sequencer.is_full();
        match message {
            Inbound::Command { role, frame, .. } if free && self.admission.other().is_ok() => {
                conversation.others += 1;
                self.enter(origin, role, frame, now_ns);
            }
            message => {
                conversation.held.push_back(message);
                self.held.push_back(origin);
                wishes.push((origin, Wish::Read(false)));
            }
        }
    }

    fn enter(&mut self, origin: u64, role: Role, frame: Vec<u8>, at_ns: u64) {
        let led = self.standing.led.expect("others refuse commands");
        let input = Input::Client { origin: led.0 << 32 | origin, role, frame };
        let sent = self.to_sequencer.push(Arrived { input, at_ns });
        assert!(sent.is_ok(), "whoever calls has seen room, and nobody else fills it");
    }

    /// Effects of a shard wait at the gate.
    pub(crate) fn hold(&mut self, shard: usize, effects: Vec<Effect>) {
        self.gate.hold(shard, effects);
    }

    /// Everything up to a frame is committed: what waited for it passes. Whether anything did.
    pub(crate) fn commit(&mut self, seq: Seq, clock: &Clock) -> bool {
        self.gate.commit(seq);
        let mut passing = std::mem::take(&mut self.passing);
        self.gate.step(&mut passing);
        let any = !passing.is_empty();
        if any {
            let now_ns = clock.now().mono_ns;
            passing.drain(..).for_each(|effect| self.pass(effect, now_ns));
        }
        self.passing = passing;
        any
    }

    fn pass(&mut self, effect: Effect, now_ns: u64) {
        match effect.to {
            Audience::Asker { origin, request } => {
                let Some(origin) = self.own(origin) else { return };
                if let Body::Decision(decision) = &effect.body {
                    self.measures.decided(decision.code);
                }
                let of_ticket = matches!(effect.body, Body::Decision(_)) || is_ticket_refusal(&effect.body);
                self.leave(origin, of_ticket, request, now_ns);
                self.answer(origin, request, effect.seq, effect.partition, &effect.body);
            }
            Audience::Odds | Audience::Events => {
                self.board.note(&effect);
                if self.standing.led.is_none() {
                    return;
                }
                for origin in &self.subscribers {
                    let Some(conversation) = self.open.get_mut(origin) else { continue };
                    let outbound = &mut conversation.outbound;
                    if outbound.takes(&effect) {
                        // Too many that wait are found when it is written.
                        let _ = outbound.offer(&effect);
                        self.dirty.insert(*origin);
                    }
                }
            }
        }
    }

    /// The sequencer did not take a command.
    pub(crate) fn refuse(&mut self, refusal: Refusal, now_ns: u64) {
        let Some(origin) = self.own(refusal.origin) else { return };
        let body = Body::from(refusal.refused);
        self.leave(origin, is_ticket_refusal(&body), refusal.request, now_ns);
        self.reply(origin, refusal.request, &body);
    }

    /// A command's place is free again.
    fn leave(&mut self, origin: u64, was_ticket: bool, request: u64, now_ns: u64) {
        self.admission.leave(was_ticket);
        let Some(conversation) = self.open.get_mut(&origin) else { return };
        if !was_ticket {
            conversation.others = conversation.others.saturating_sub(1);
            return;
        }
        if conversation.inside > 0 {
            conversation.inside -= 1;
            self.senders -= usize::from(conversation.inside == 0);
        }
        if let Some((_, at_ns)) = conversation.measured.take_if(|(measured, _)| *measured == request) {
            let stay_ns = now_ns.saturating_sub(at_ns);
            self.measures.decision.record(stay_ns);
            self.shedding.left(stay_ns);
        }
    }

    fn reply(&mut self, origin: u64, request: u64, body: &Body) {
        self.answer(origin, request, Seq(0), PartitionId::NONE, body);
    }

    fn answer(&mut self, origin: u64, request: u64, seq: Seq, partition: PartitionId, body: &Body) {
        if let Some(conversation) = self.open.get_mut(&origin) {
            // As with streams: too many that wait are found when it is written.
            let _: Result<(), Overrun> = conversation.outbound.send(seq, partition, request, body);
            self.dirty.insert(origin);
        }
    }

    /// Gives what is to be written to whoever writes. `write` says how many bytes of a connection are still on their
    /// way, and takes more of them.
    pub(crate) fn flush(&mut self, wire: &mut impl Wire, wishes: &mut Vec<(u64, Wish)>) -> bool {
        let mut worked = false;
        let Conversations { open, terms, bytes, .. } = self;
        self.dirty.retain(|origin| {
            let Some(conversation) = open.get_mut(origin) else { return false };
            let outbound = &mut conversation.outbound;
            let pending = wire.pending(*origin);
            if pending + outbound.firm_bytes() > terms.outbound_bytes_max {
                if !conversation.ends {
                    tracing::warn!(connection = *origin, "closed: it does not read what it is sent");
                    conversation.ends = true;
                }
                wishes.push((*origin, Wish::Drop));
                return false;
            }
            if pending < WRITE_BYTES && !outbound.is_empty() {
                bytes.clear();
                outbound.take(WRITE_BYTES, bytes);
                wire.write(*origin, bytes);
                worked = true;
            }
            if conversation.finished && conversation.owes_nothing() && !conversation.ends {
                conversation.ends = true;
                wishes.push((*origin, Wish::End));
            }
            !conversation.outbound.is_empty()
        });
        worked
    }

    /// Whether anything waits at the gate, or to be written.
    pub(crate) fn is_quiet(&self) -> bool {
        self.gate.waiting() == 0 && self.dirty.is_empty()
    }
}

/// Bytes on their way to a connection before prices wait for it, and are conflated.
const WRITE_BYTES: usize = 64 * 1024;

/// Who writes to connections.
pub(crate) trait Wire {
    /// Bytes on their way to a connection.
    fn pending(&mut self, origin: u64) -> usize;
    /// Sends bytes.
    fn write(&mut self, origin: u64, bytes: &[u8]);
}

fn is_ticket_refusal(body: &Body) -> bool {
    matches!(body, Body::Refused(m) if m.of == Kind::SubmitTicket as u16)
}
