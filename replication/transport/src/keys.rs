//! The cluster's secrets, and the key that each boot of each party seals with.
//!
//! ```text
//! cluster's secret, of a generation ──HKDF-SHA256──→ key of (cluster, sender, boot, phase) ──AES-256-GCM──→ datagram
//! ```
//!
//! A boot is drawn at random at every start, so no two processes ever seal with one key, and a sender's key is used in
//! one direction only: the receiver's own datagrams are under another. The nonce is the datagram's counter, which rises
//! with every datagram whatever its content. A phase is 2²² counters long, within what AES-GCM may seal under one key
//! (RFC 9001, appendix B, at up to 9 KiB a datagram); the next phase has the next key, without a word being said.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use std::fmt;
use thiserror::Error;
use touchline_lockstep::Cluster;
use touchline_lockstep::message::Party;

use crate::datagram::{HEADER_BYTES, Header};
use crate::drops::Reason;
use crate::wire::place;

/// Bytes of a secret.
pub const SECRET_BYTES: usize = 32;
/// Secrets held at a time: one in use, one that is coming or going, and one more in case both are.
pub const SECRETS_MAX: usize = 3;
/// Counters to a phase, as a power of two.
const PHASE_BITS: u32 = 22;

/// A secret of the cluster.
#[derive(Clone)]
pub struct Secret {
    /// Its number; every rotation brings the next.
    pub generation: u16,
    /// 32 random bytes.
    pub bytes: [u8; SECRET_BYTES],
}

/// It never shows its bytes.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret of generation {}", self.generation)
    }
}

/// Why secrets make no ring of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyringError {
    /// None, or too many.
    #[error("a keyring holds 1 to {SECRETS_MAX} secrets")]
    Count,
    /// Two of one generation.
    #[error("two secrets are of generation {0}")]
    Twice(u16),
    /// The one to seal with is not among them.
    #[error("generation {0} is to be used, and is not among the secrets")]
    Absent(u16),
}

/// Secrets that are accepted, one of which is used.
#[derive(Clone, Debug)]
pub struct Keyring {
    secrets: Vec<(u16, Prk)>,
    used: u16,
}

impl Keyring {
    /// Accepts what any of these has sealed, and seals with the one of generation `used`.
    ///
    /// # Errors
    ///
    /// Secrets that do not fit together.
    pub fn new(secrets: &[Secret], used: u16) -> Result<Keyring, KeyringError> {
        if secrets.is_empty() || secrets.len() > SECRETS_MAX {
            return Err(KeyringError::Count);
        }
        let salt = Salt::new(HKDF_SHA256, b"touchline datagrams 1");
        let mut keyring = Keyring { secrets: Vec::new(), used };
        for secret in secrets {
            if keyring.secret(secret.generation).is_some() {
                return Err(KeyringError::Twice(secret.generation));
            }
            keyring.secrets.push((secret.generation, salt.extract(&secret.bytes)));
        }
        keyring.secret(used).ok_or(KeyringError::Absent(used))?;
        Ok(keyring)
    }

    /// The generation that is used.
    pub fn used(&self) -> u16 {
        self.used
    }

    fn secret(&self, generation: u16) -> Option<&Prk> {
        self.secrets.iter().find(|(held, _)| *held == generation).map(|(_, secret)| secret)
    }

    fn key(&self, id: KeyId, cluster: Cluster, from: Party, boot: u128) -> Option<LessSafeKey> {
        let secret = self.secret(id.generation)?;
        let (cluster, boot, phase) = (cluster.0.to_le_bytes(), boot.to_le_bytes(), id.phase.to_le_bytes());
        let from = [place(from)];
        let info: [&[u8]; 4] = [&cluster, &from, &boot, &phase];
        let okm = secret.expand(&info, &AES_256_GCM).ok()?;
        Some(LessSafeKey::new(UnboundKey::from(okm)))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyId {
    generation: u16,
    phase: u64,
}

/// The keys of one boot of one party; the two used last are at hand, for datagrams of two phases or generations overtake
/// each other.
#[derive(Debug)]
pub(crate) struct BootKeys {
    cluster: Cluster,
    from: Party,
    boot: u128,
    at_hand: [Option<(KeyId, LessSafeKey)>; 2],
}

impl BootKeys {
    pub(crate) fn new(cluster: Cluster, from: Party, boot: u128) -> Self {
        BootKeys { cluster, from, boot, at_hand: [None, None] }
    }

    /// Whose boot this is.
    pub(crate) fn boot(&self) -> u128 {
        self.boot
    }

    /// Forgets every key: the ring has changed.
    pub(crate) fn forget(&mut self) {
        self.at_hand = [None, None];
    }

    /// Seals everything behind the header that `datagram` begins with, and appends the tag. True where this key is
    /// another one than the last.
    pub(crate) fn seal(&mut self, keyring: &Keyring, header: &Header, datagram: &mut Vec<u8>) -> bool {
        let id = KeyId { generation: header.generation, phase: header.counter >> PHASE_BITS };
        let is_other = !matches!(&self.at_hand[0], Some((held, _)) if *held == id);
        if is_other {
            self.at_hand[0] = keyring.key(id, self.cluster, self.from, self.boot).map(|key| (id, key));
        }
        let (_, key) = self.at_hand[0].as_ref().expect("the generation that is used is held");
        let (clear, items) = datagram.split_at_mut(HEADER_BYTES);
        let tag = key
            .seal_in_place_separate_tag(nonce(header.counter), Aad::from(&*clear), items)
            .expect("a datagram is far below the limit");
        datagram.extend_from_slice(tag.as_ref());
        is_other
    }

    /// Opens what stands behind a datagram's header, in place.
    pub(crate) fn open<'a>(
        &mut self,
        keyring: &Keyring,
        header: &Header,
        clear: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], Reason> {
        let id = KeyId { generation: header.generation, phase: header.counter >> PHASE_BITS };
        let found = self.at_hand.iter().position(|held| matches!(held, Some((held, _)) if *held == id));
        let mut fresh = None;
        let key = match found {
            Some(place) => &self.at_hand[place].as_ref().expect("just found").1,
            None => {
                let key = keyring.key(id, self.cluster, self.from, self.boot).ok_or(Reason::Key)?;
                &fresh.insert((id, key)).1
            }
        };
        let opened =
            key.open_in_place(nonce(header.counter), Aad::from(clear), sealed).map_err(|_| Reason::Forged)?;
        // Kept only now: what nobody sealed must not drive out the keys that are in use.
        if fresh.is_some() {
            self.at_hand.swap(0, 1);
            self.at_hand[0] = fresh;
        }
        Ok(opened)
    }
}

fn nonce(counter: u64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&counter.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}
