//! What waits to be sent: three queues, of which the more urgent goes first, and the datagram that is filled from them.

use std::collections::VecDeque;
use touchline_lockstep::Say;

use crate::datagram::{FRAGMENT_BYTES, ITEM_BYTES, Kind, To, put_item};

/// Least bytes of a part: a remainder too small for it is left empty.
const PART_BYTES_MIN: usize = 64;
/// Vectors kept for reuse.
const SPARE_MAX: usize = 64;

/// What may overtake what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Urgency {
    /// Signs of life, acknowledgements, and all that a take-over waits for. It does not wait for the pace.
    Control,
    /// The live stream, and repairs of it.
    Live,
    /// Logs and states for whoever is not in sync.
    Bulk,
}

impl Urgency {
    pub(crate) fn of(say: &Say) -> Urgency {
        match say {
            Say::Frames { to: None, .. } => Urgency::Live,
            Say::Frames { .. } | Say::Fetched { .. } | Say::Part { .. } => Urgency::Bulk,
            _ => Urgency::Control,
        }
    }
}

struct Waiting {
    to: To,
    kind: Kind,
    bytes: Vec<u8>,
    /// Bytes of it that have left, in parts of a message of this number.
    left: usize,
    number: u64,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

/// The queues.
pub(crate) struct Outgoing {
    queues: [Queue; 3],
    queue_bytes_max: usize,
    /// Messages that had to be cut so far.
    cut: u64,
    spare: Vec<Vec<u8>>,
}

impl Outgoing {
    pub(crate) fn new(queue_bytes_max: usize) -> Self {
        Outgoing { queues: Default::default(), queue_bytes_max, cut: 0, spare: Vec::new() }
    }

    /// An empty vector, one that was used before where there is one.
    pub(crate) fn spare(&mut self) -> Vec<u8> {
        self.spare.pop().unwrap_or_default()
    }

    /// A message is to be sent; false where its queue is full.
    pub(crate) fn push(&mut self, urgency: Urgency, to: To, bytes: Vec<u8>) -> bool {
        self.put(urgency, Waiting { to, kind: Kind::Whole, bytes, left: 0, number: 0 })
    }

    /// The session's own word. There are only ever a few of them.
    pub(crate) fn push_control(&mut self, to: To, kind: Kind, content: &[u8]) {
        let mut bytes = self.spare();
        bytes.extend_from_slice(content);
        self.put(Urgency::Control, Waiting { to, kind, bytes, left: 0, number: 0 });
    }

    fn put(&mut self, urgency: Urgency, waiting: Waiting) -> bool {
        let queue = &mut self.queues[urgency as usize];
        if queue.bytes + waiting.bytes.len() > self.queue_bytes_max {
            return false;
        }
        queue.bytes += waiting.bytes.len();
        queue.waiting.push_back(waiting);
        true
    }

    /// Whether anything waits.
    pub(crate) fn waits(&self) -> bool {
        self.queues.iter().any(|queue| !queue.waiting.is_empty())
    }

    /// Whom the next datagram is for; where the pace is not `open`, only what does not wait for it.
    pub(crate) fn next(&self, open: bool) -> Option<To> {
        let mut eligible = self.queues.iter().take(eligible(open));
        eligible.find_map(|queue| queue.waiting.front()).map(|waiting| waiting.to)
    }

    /// Fills a datagram for a receiver, up to `end` bytes, from the heads of the queues.
    pub(crate) fn fill(&mut self, to: To, open: bool, end: usize, datagram: &mut Vec<u8>) {
        let begin = datagram.len();
        for queue in self.queues.iter_mut().take(eligible(open)) {
            while let Some(head) = queue.waiting.front_mut().filter(|head| head.to == to) {
                let room = end - datagram.len();
                let rest = head.bytes.len() - head.left;
                if head.left == 0 && ITEM_BYTES + rest <= room {
                    put_item(head.kind, &[&head.bytes], datagram);
                    head.left += rest;
                } else if head.left == 0 && datagram.len() > begin && ITEM_BYTES + rest <= end - begin {
                    // It fits the next datagram whole: a lost one should not take two messages with it.
                    return;
                } else {
                    let room = room.saturating_sub(ITEM_BYTES + FRAGMENT_BYTES);
                    if room < rest.min(PART_BYTES_MIN) {
                        return;
                    }
                    if head.left == 0 {
                        self.cut += 1;
                        head.number = self.cut;
                    }
                    let part = &head.bytes[head.left..head.left + rest.min(room)];
                    let [offset, total] =
                        [head.left, head.bytes.len()].map(|size| (size as u32).to_le_bytes());
                    put_item(Kind::Fragment, &[&head.number.to_le_bytes(), &offset, &total, part], datagram);
                    head.left += part.len();
                }
                if head.left == head.bytes.len()
                    && let Some(mut done) = queue.waiting.pop_front()
                {
                    queue.bytes -= done.bytes.len();
                    if self.spare.len() < SPARE_MAX {
                        done.bytes.clear();
                        self.spare.push(done.bytes);
                    }
                }
            }
        }
    }
}

/// Queues that may send.
fn eligible(open: bool) -> usize {
    if open { 3 } else { 1 }
}
