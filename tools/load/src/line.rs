//! One non-blocking connection: bytes not yet sent, requests not yet answered, and what is asked a second time.

use crate::dialect::{Answer, Dialect, Said};
use crate::tally::Tally;
use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use touchline_protocol::{SubmitTicket, TicketId};

/// One in so many tickets is sent a second time after its answer, as by a client that lost it.
const AGAIN: u64 = 200;
/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// A request on its way.
struct Slot {
    due_ns: u64,
    ticket: TicketId,
    /// What the answer must be, where it was given before.
    expected: Option<u64>,
    /// Kept, to be sent again.
    kept: Option<Box<SubmitTicket>>,
    answered: bool,
}

/// A connection.
pub(crate) struct Line<D> {
    stream: TcpStream,
    dialect: D,
    ready: bool,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    written: usize,
    /// Whether tickets were added since the last writing.
    fresh: bool,
    /// Number of the first of `slots`.
    first: u64,
    slots: VecDeque<Slot>,
    unanswered: usize,
    again: Vec<(Box<SubmitTicket>, u64)>,
}

impl<D: Dialect> Line<D> {
    /// A connection that has yet to greet.
    pub(crate) fn new(stream: TcpStream, dialect: D) -> std::io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let outbox = dialect.greeting();
        Ok(Line {
            stream,
            dialect,
            ready: false,
            inbox: Vec::new(),
            outbox,
            written: 0,
            fresh: false,
            first: 1,
            slots: VecDeque::new(),
            unanswered: 0,
            again: Vec::new(),
        })
    }

    /// Its socket.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether the greeting was answered.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    /// Requests without an answer.
    pub(crate) fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// A ticket that was answered, to be sent again, and what its answer must be.
    pub(crate) fn take_again(&mut self) -> Option<(Box<SubmitTicket>, u64)> {
        self.again.pop()
    }

    /// Appends a ticket to what is to be sent.
    pub(crate) fn push(&mut self, due_ns: u64, ticket: &SubmitTicket, expected: Option<u64>) {
        let request = self.first + self.slots.len() as u64;
        self.dialect.ticket(request, ticket, &mut self.outbox);
        let keep = expected.is_none() && request.is_multiple_of(AGAIN);
        let kept = keep.then(|| Box::new(ticket.clone()));
        self.slots.push_back(Slot { due_ns, ticket: ticket.ticket, expected, kept, answered: false });
        self.unanswered += 1;
        self.fresh = true;
    }

    /// Writes what the socket takes; whether bytes are left.
    pub(crate) fn flush(&mut self) -> Result<bool, String> {
        if std::mem::take(&mut self.fresh) {
            self.dialect.end_batch(&mut self.outbox);
        }
        while self.written < self.outbox.len() {
            match self.stream.write(&self.outbox[self.written..]) {
                Ok(0) => return Err("the server takes no more".into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        self.outbox.clear();
        self.written = 0;
        Ok(false)
    }

    /// Takes what has arrived, once; `now` is asked after the read. How many tickets were answered.
    pub(crate) fn receive(
        &mut self,
        now: impl FnOnce() -> u64,
        tally: &mut Tally,
        told: &mut impl FnMut(Said),
    ) -> Result<usize, String> {
        let kept = self.inbox.len();
        self.inbox.resize(kept + READ_BYTES, 0);
        let read = self.stream.read(&mut self.inbox[kept..]);
        self.inbox.truncate(kept + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Err("the server hung up".into()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(0);
            }
            Err(error) => return Err(error.to_string()),
        }
        let (now_ns, before) = (now(), self.unanswered);
        let mut from = 0;
        while let Some((length, said)) = self.dialect.read(&self.inbox[from..])? {
            from += length;
            match said {
                Said::Ready => self.ready = true,
                Said::Answer(answer) => self.answered(now_ns, &answer, tally),
                said => told(said),
            }
        }
        self.inbox.drain(..from);
        Ok(before - self.unanswered)
    }

    fn answered(&mut self, now_ns: u64, answer: &Answer, tally: &mut Tally) {
        let request = answer.request.unwrap_or(self.first);
        let place = request.checked_sub(self.first).and_then(|place| usize::try_from(place).ok());
        let open = |slot: &&mut Slot| !slot.answered;
        let Some(slot) = place.and_then(|place| self.slots.get_mut(place)).filter(open) else {
            tally.unasked += 1;
            return;
        };
        slot.answered = true;
        self.unanswered -= 1;
        tally.mismatched += u64::from(answer.ticket.is_some_and(|ticket| ticket != slot.ticket));
        // A refusal says nothing about earlier attempts, so only decisions must repeat themselves.
        if let Some(expected) = slot.expected.filter(|_| !answer.refused) {
            tally.differing += u64::from(expected != answer.content);
        }
        if let Some(ticket) = slot.kept.take().filter(|_| !answer.refused) {
            self.again.push((ticket, answer.content));
        }
        tally.answered(slot.due_ns, now_ns, answer.code, answer.refused);
        while self.slots.pop_front_if(|slot| slot.answered).is_some() {
            self.first += 1;
        }
    }
}
