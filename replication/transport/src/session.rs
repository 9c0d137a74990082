//! One party's side of the transport without I/O: messages in, sealed datagrams out, and back.
//!
//! **Who is heard.** A datagram is handed out only if it was sealed under a key of the cluster, by the boot of its sender
//! that is known to live, and for the first time. A boot becomes known by answering a challenge that was drawn for it:
//! from then on everything that boot sealed before the answer counts as old. So whatever somebody recorded (of this boot,
//! of an earlier one, before the receiver itself was started) opens nothing. Messages that arrive before the answer are
//! dropped; the protocol above repeats them.
//!
//! **Never:** it knows no socket and no clock, and it repeats nothing: what is lost is asked for by the protocol above.

use ring::rand::{SecureRandom, SystemRandom};
use thiserror::Error;
use touchline_lockstep::message::Party;
use touchline_lockstep::{Cluster, Message};

use crate::assembly::{Assembly, Part};
use crate::datagram::{FRAGMENT_BYTES, HEADER_BYTES, Header, ITEM_BYTES, Kind, TAG_BYTES, To, take_item};
use crate::drops::{Counters, Reason};
use crate::keys::{BootKeys, Keyring};
use crate::outgoing::{Outgoing, Urgency};
use crate::pace::{Bucket, Pace};
use crate::window::{Heard, Window};
use crate::wire::{decode, encode_split, place};

/// Least and most bytes of a datagram.
pub const MTU_RANGE: (usize, usize) = (576, 8900);
/// Before a silent boot is challenged again.
const CHALLENGE_RETRY_NS: u64 = 2_000_000;
/// Bytes of a challenge.
const CHALLENGE_BYTES: usize = 16;

/// What a session needs to know. Monotonic nanoseconds throughout.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This party.
    pub me: Party,
    /// The cluster; datagrams of others are dropped.
    pub cluster: Cluster,
    /// A hash of everything that the parties must have configured alike; who differs is not heard.
    pub agreement: u128,
    /// Bytes of a datagram, seal included: what the path carries unfragmented, less 28 for IPv4 or 48 for IPv6.
    pub mtu: usize,
    /// How fast datagrams leave.
    pub pace: Pace,
    /// Bytes that may wait for the pace, of each urgency.
    pub queue_bytes_max: usize,
    /// The largest message; each sender may have sixteen of them half arrived here.
    pub message_bytes_max: usize,
}

impl Settings {
    /// For a party of a cluster: 1400 bytes a datagram, a gigabyte a second, messages of up to 256 KiB, 8 MiB waiting.
    pub fn new(me: Party, cluster: Cluster, agreement: u128) -> Settings {
        Settings {
            me,
            cluster,
            agreement,
            mtu: 1400,
            pace: Pace { bytes_per_s: 1_000_000_000, burst_bytes: 256 * 1024 },
            queue_bytes_max: 8 << 20,
            message_bytes_max: 256 * 1024,
        }
    }

    /// Bytes that a message may have to leave in one datagram. A protocol whose messages of frames and parts are no
    /// longer than this less some 300 bytes loses no more than it must.
    pub fn whole_bytes_max(&self) -> usize {
        self.items_bytes_max() - ITEM_BYTES
    }

    fn items_bytes_max(&self) -> usize {
        self.mtu - HEADER_BYTES - TAG_BYTES
    }

    fn check(&self) -> Result<(), SettingsError> {
        if !(MTU_RANGE.0..=MTU_RANGE.1).contains(&self.mtu) {
            return Err(SettingsError::Mtu(self.mtu));
        }
        if self.pace.bytes_per_s < 1000 || self.pace.burst_bytes < self.mtu as u64 {
            return Err(SettingsError::Pace);
        }
        if self.message_bytes_max < MESSAGE_BYTES_MIN || self.queue_bytes_max < self.message_bytes_max {
            return Err(SettingsError::Messages);
        }
        Ok(())
    }
}

/// The largest frame and what may stand around it.
const MESSAGE_BYTES_MIN: usize = touchline_protocol::frame::MAX_FRAME_BYTES + 4096;

/// Settings that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// Of the datagrams' size.
    #[error("mtu {0} is not within 576 to 8900")]
    Mtu(usize),
    /// Of the pace.
    #[error("pace must be at least 1000 bytes a second, and its burst at least a datagram")]
    Pace,
    /// Of messages and queues.
    #[error("message_bytes_max must be at least {MESSAGE_BYTES_MIN}, and queue_bytes_max no less than it")]
    Messages,
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// What is known of another party.
struct Peer {
    /// What its living boot has to return. Used once.
    challenge: [u8; CHALLENGE_BYTES],
    challenged_ns: Option<u64>,
    heard: Option<Living>,
    /// The last boot that was not known: its key is at hand while it answers.
    stranger: Option<BootKeys>,
}

/// A boot that has answered.
struct Living {
    keys: BootKeys,
    window: Window,
    assembly: Assembly,
}

/// One party's side.
pub struct Session {
    settings: Settings,
    keyring: Keyring,
    random: SystemRandom,
    own: BootKeys,
    counter: u64,
    outgoing: Outgoing,
    bucket: Bucket,
    datagram: Vec<u8>,
    scratch: Vec<u8>,
    /// By place; the witness comes last.
    peers: [Peer; 4],
    counters: Counters,
}

impl Session {
    /// A side that has heard nobody yet, in a boot of its own.
    ///
    /// # Errors
    ///
    /// Settings out of their ranges, and a system without random numbers.
    pub fn new(settings: Settings, keyring: Keyring, now_ns: u64) -> Result<Session, SettingsError> {
        settings.check()?;
        let random = SystemRandom::new();
        let boot = u128::from_le_bytes(draw(&random).ok_or(SettingsError::Random)?);
        let mut peers = Vec::new();
        for _ in 0..4 {
            let challenge = draw(&random).ok_or(SettingsError::Random)?;
            peers.push(Peer { challenge, challenged_ns: None, heard: None, stranger: None });
        }
        Ok(Session {
            own: BootKeys::new(settings.cluster, settings.me, boot),
            counter: 0,
            outgoing: Outgoing::new(settings.queue_bytes_max),
            bucket: Bucket::new(settings.pace, now_ns),
            datagram: Vec::with_capacity(settings.mtu),
            scratch: Vec::with_capacity(settings.mtu),
            peers: peers.try_into().ok().expect("four"),
            counters: Counters::default(),
            settings,
            keyring,
            random,
        })
    }

    /// Totals since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Its limits.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Counts what the sockets could not take.
    pub(crate) fn socket_full(&mut self) {
        self.counters.drop(Reason::Socket);
    }

    /// From now on these secrets are accepted, and this one used. Whoever has been heard stays known.
    pub fn rotate(&mut self, keyring: Keyring) {
        self.keyring = keyring;
        self.own.forget();
        for peer in &mut self.peers {
            let known = peer.heard.iter_mut().map(|heard| &mut heard.keys);
            known.chain(&mut peer.stranger).for_each(BootKeys::forget);
        }
    }

    /// Takes a message to be sent. It is dropped, and counted, where too much waits already.
    pub fn send(&mut self, to: To, message: &Message) {
        let urgency = Urgency::of(&message.say);
        let Session { outgoing, counters, settings, .. } = self;
        let spare = std::cell::RefCell::new(outgoing);
        encode_split(
            message,
            settings.whole_bytes_max(),
            || spare.borrow_mut().spare(),
            |bytes| {
                counters.messages_out += 1;
                if bytes.len() > settings.message_bytes_max || !spare.borrow_mut().push(urgency, to, bytes) {
                    counters.drop(Reason::Queue);
                }
            },
        );
    }

    /// The next datagram that may leave now, sealed, and whom it is for.
    pub fn transmit(&mut self, now_ns: u64) -> Option<(To, &[u8])> {
        let open = self.bucket.is_open(now_ns);
        let to = self.outgoing.next(open)?;
        let header = Header {
            from: self.settings.me,
            to,
            generation: self.keyring.used(),
            cluster: self.settings.cluster,
            boot: self.own.boot(),
            counter: self.counter,
        };
        self.counter += 1;
        self.datagram.clear();
        self.datagram.extend_from_slice(&header.bytes());
        self.outgoing.fill(to, open, self.settings.mtu - TAG_BYTES, &mut self.datagram);
        if self.own.seal(&self.keyring, &header, &mut self.datagram) && header.counter > 0 {
            self.counters.rotations += 1;
        }
        self.bucket.pay(self.datagram.len());
        self.counters.datagrams_out += 1;
        self.counters.bytes_out += self.datagram.len() as u64;
        Some((to, &self.datagram))
    }

    /// How long the pace still holds back what waits, nanoseconds; `None` where nothing waits.
    pub fn held_ns(&self) -> Option<u64> {
        self.outgoing.waits().then(|| self.bucket.shut_for_ns())
    }

    /// Takes a datagram, and hands out the messages that it completes.
    pub fn receive(&mut self, now_ns: u64, datagram: &[u8], out: &mut dyn FnMut(Party, Message)) {
        self.counters.datagrams_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        if let Err(reason) = self.take(now_ns, datagram, out) {
            self.counters.drop(reason);
        }
    }

    fn take(
        &mut self,
        now_ns: u64,
        datagram: &[u8],
        out: &mut dyn FnMut(Party, Message),
    ) -> Result<(), Reason> {
        let (header, sealed) = Header::parse(datagram)?;
        let me = self.settings.me;
        if header.cluster != self.settings.cluster {
            return Err(Reason::Foreign);
        }
        if header.from == me {
            return Err(Reason::Own);
        }
        if header.to != To::One(me) && header.to != To::Everyone {
            return Err(Reason::Elsewhere);
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        scratch.extend_from_slice(sealed);
        let clear = &datagram[..HEADER_BYTES];
        let place = peer_place(header.from);
        let known = self.peers[place].heard.as_ref().is_some_and(|heard| heard.keys.boot() == header.boot);
        let taken = if known {
            self.take_known(place, &header, clear, &mut scratch, out)
        } else {
            self.take_stranger(now_ns, place, &header, clear, &mut scratch)
        };
        self.scratch = scratch;
        taken
    }

    /// A datagram of a boot that has answered.
    fn take_known(
        &mut self,
        place: usize,
        header: &Header,
        clear: &[u8],
        sealed: &mut [u8],
        out: &mut dyn FnMut(Party, Message),
    ) -> Result<(), Reason> {
        let heard = self.peers[place].heard.as_mut().expect("known");
        // Before it is opened: on two networks every second datagram ends here, and a forged counter harms its forger.
        match heard.window.heard(header.counter) {
            Heard::Not => {}
            Heard::Before => return Err(Reason::Repeated),
            Heard::Unknown => return Err(Reason::Old),
        }
        let mut items = heard.keys.open(&self.keyring, header, clear, sealed)?;
        heard.window.mark(header.counter);
        while let Some((kind, content)) = take_item(&mut items)? {
            match kind {
                Kind::Whole => self.hand_out(header.from, content, out)?,
                Kind::Fragment => self.take_fragment(place, header.from, content, out)?,
                Kind::Challenge => self.answer(header.from, content)?,
                // It answered twice.
                Kind::Answer => {}
            }
        }
        Ok(())
    }

    /// A datagram of a boot that has not answered: nothing in it counts but a challenge, and its answer.
    fn take_stranger(
        &mut self,
        now_ns: u64,
        place: usize,
        header: &Header,
        clear: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), Reason> {
        let peer = &mut self.peers[place];
        let mut keys = match peer.stranger.take() {
            Some(keys) if keys.boot() == header.boot => keys,
            _ => BootKeys::new(header.cluster, header.from, header.boot),
        };
        let mut items = keys.open(&self.keyring, header, clear, sealed)?;
        let mut answered = None;
        let mut strange = false;
        while let Some((kind, content)) = take_item(&mut items)? {
            match kind {
                Kind::Whole | Kind::Fragment => strange = true,
                Kind::Challenge => self.answer(header.from, content)?,
                Kind::Answer => answered = Some(Answer::parse(content)?),
            }
        }
        let peer = &mut self.peers[place];
        let fits =
            answered.filter(|answer| answer.to == self.own.boot() && answer.challenge == peer.challenge);
        if let Some(answer) = fits {
            if answer.agreement != self.settings.agreement {
                return Err(Reason::Disagrees);
            }
            // What was sealed before the answer may have been recorded before this boot began.
            let window = Window::from(header.counter + 1);
            peer.heard = Some(Living { keys, window, assembly: Assembly::default() });
            // A failing draw leaves a challenge that was answered; then nobody else is believed.
            if let Some(challenge) = draw(&self.random) {
                peer.challenge = challenge;
            }
            peer.challenged_ns = None;
            self.counters.greeted += 1;
            return Ok(());
        }
        peer.stranger = Some(keys);
        let due = peer.challenged_ns.is_none_or(|at_ns| now_ns.saturating_sub(at_ns) >= CHALLENGE_RETRY_NS);
        if due {
            peer.challenged_ns = Some(now_ns);
            let challenge = Challenge { challenge: peer.challenge, by: self.own.boot() };
            self.outgoing.push_control(To::One(header.from), Kind::Challenge, &challenge.bytes());
        }
        if strange { Err(Reason::Stranger) } else { Ok(()) }
    }

    /// Tells a challenger that this boot lives.
    fn answer(&mut self, to: Party, content: &[u8]) -> Result<(), Reason> {
        let Challenge { challenge, by } = Challenge::parse(content)?;
        let answer = Answer { challenge, to: by, agreement: self.settings.agreement };
        self.outgoing.push_control(To::One(to), Kind::Answer, &answer.bytes());
        Ok(())
    }

    fn take_fragment(
        &mut self,
        place: usize,
        from: Party,
        content: &[u8],
        out: &mut dyn FnMut(Party, Message),
    ) -> Result<(), Reason> {
        let (number, rest) = content.split_first_chunk().ok_or(Reason::Malformed)?;
        let (offset, rest) = rest.split_first_chunk().ok_or(Reason::Malformed)?;
        let (total, part) = rest.split_first_chunk().ok_or(Reason::Malformed)?;
        const { assert!(FRAGMENT_BYTES == 8 + 4 + 4) };
        let (offset, total) = (u32::from_le_bytes(*offset) as usize, u32::from_le_bytes(*total) as usize);
        let Some(heard) = &mut self.peers[place].heard else { return Ok(()) };
        let limit = self.settings.message_bytes_max;
        match heard.assembly.take(u64::from_le_bytes(*number), offset, total, limit, part) {
            Part::Kept => Ok(()),
            Part::Displaced => Err(Reason::Incomplete),
            Part::Whole(bytes) => self.hand_out(from, &bytes, out),
            Part::Wrong => Err(Reason::Malformed),
        }
    }

    fn hand_out(
        &mut self,
        from: Party,
        bytes: &[u8],
        out: &mut dyn FnMut(Party, Message),
    ) -> Result<(), Reason> {
        let message = decode(bytes).map_err(|_| Reason::Malformed)?;
        if message.from != from || message.cluster != self.settings.cluster {
            return Err(Reason::Impostor);
        }
        self.counters.messages_in += 1;
        out(from, message);
        Ok(())
    }
}

/// Asks whether the receiver's boot lives.
struct Challenge {
    challenge: [u8; CHALLENGE_BYTES],
    /// The boot that asks.
    by: u128,
}

impl Challenge {
    fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(&self.challenge);
        bytes[16..].copy_from_slice(&self.by.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Challenge, Reason> {
        let (challenge, by) = bytes.split_first_chunk().ok_or(Reason::Malformed)?;
        let by = by.try_into().map_err(|_| Reason::Malformed)?;
        Ok(Challenge { challenge: *challenge, by: u128::from_le_bytes(by) })
    }
}

/// Says that it does.
#[derive(Clone, Copy)]
struct Answer {
    challenge: [u8; CHALLENGE_BYTES],
    /// The boot that asked.
    to: u128,
    agreement: u128,
}

impl Answer {
    fn bytes(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(&self.challenge);
        bytes[16..32].copy_from_slice(&self.to.to_le_bytes());
        bytes[32..].copy_from_slice(&self.agreement.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Answer, Reason> {
        let (challenge, rest) = bytes.split_first_chunk().ok_or(Reason::Malformed)?;
        let (to, agreement) = rest.split_first_chunk().ok_or(Reason::Malformed)?;
        let agreement = agreement.try_into().map_err(|_| Reason::Malformed)?;
        Ok(Answer {
            challenge: *challenge,
            to: u128::from_le_bytes(*to),
            agreement: u128::from_le_bytes(agreement),
        })
    }
}

fn draw(random: &SystemRandom) -> Option<[u8; CHALLENGE_BYTES]> {
    let mut bytes = [0; CHALLENGE_BYTES];
    random.fill(&mut bytes).ok().map(|()| bytes)
}

/// The witness's place, 255, comes behind both nodes and the site.
fn peer_place(party: Party) -> usize {
    usize::from(place(party)).min(3)
}
