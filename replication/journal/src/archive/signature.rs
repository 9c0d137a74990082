//! The signature of one segment: what it covers, and the file that it stands in.

use super::Key;
use blake3::{Hash, Hasher};
use std::fmt;

/// Separates these hashes from every other use of the function.
const CONTEXT: &str = "touchline archive segment 1";
const FIRST_LINE: &str = "touchline archive 1";

/// Before the first segment.
pub(super) const BEGIN: Hash = Hash::from_bytes([0; 32]);

/// What a signature file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    pub(super) generation: u64,
    pub(super) bytes: u64,
    pub(super) keyed: bool,
    /// The signature of the segment before it.
    pub(super) previous: Hash,
    pub(super) hash: Hash,
}

/// Signs a segment whose bytes come piece by piece.
pub(super) struct Signer {
    hasher: Hasher,
    unsigned: Signature,
}

impl Signer {
    pub(super) fn new(key: Option<&Key>, generation: u64, bytes: u64, previous: Hash) -> Self {
        let mut hasher = match key {
            Some(Key(key)) => Hasher::new_keyed(key),
            None => Hasher::new_derive_key(CONTEXT),
        };
        hasher.update(CONTEXT.as_bytes());
        hasher.update(&generation.to_le_bytes());
        hasher.update(&bytes.to_le_bytes());
        hasher.update(previous.as_bytes());
        let unsigned = Signature { generation, bytes, keyed: key.is_some(), previous, hash: BEGIN };
        Signer { hasher, unsigned }
    }

    pub(super) fn add(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
    }

    pub(super) fn sign(self) -> Signature {
        Signature { hash: self.hasher.finalize(), ..self.unsigned }
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Signature { generation, bytes, keyed, previous, hash } = self;
        writeln!(f, "{FIRST_LINE}\ngeneration {generation}\nbytes {bytes}\nkeyed {keyed}")?;
        writeln!(f, "previous {previous}\nsignature {hash}")
    }
}

impl Signature {
    /// Reads what [`Display`](fmt::Display) wrote; `None` where it is anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == FIRST_LINE).then_some(())?;
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let signature = Signature {
            generation: field("generation")?.parse().ok()?,
            bytes: field("bytes")?.parse().ok()?,
            keyed: field("keyed")?.parse().ok()?,
            previous: Hash::from_hex(field("previous")?).ok()?,
            hash: Hash::from_hex(field("signature")?).ok()?,
        };
        lines.next().is_none().then_some(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_file_is_read_as_it_was_written_and_nothing_else_is() {
        for key in [None, Some(Key([7; 32]))] {
            let mut signer = Signer::new(key.as_ref(), 3, 5, BEGIN);
            signer.add(b"bytes");
            let signature = signer.sign();
            let text = signature.to_string();
            assert_eq!(Signature::parse(&text), Some(signature));
            for cut in 0..text.len() - 1 {
                assert_eq!(Signature::parse(&text[..cut]), None, "{cut}");
            }
            assert_eq!(Signature::parse(&(text + "more\n")), None);
        }
    }
}
