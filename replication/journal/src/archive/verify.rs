//! Checking an archive from its first segment to its last.

use super::copy::{generations, pieces, read_signature};
use super::signature::{BEGIN, Signature, Signer};
use super::{ArchiveError, Key, Misfit};
use crate::file::{SIGNATURE, failed, segment_path};
use blake3::Hash;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

/// An archive that holds together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Its first segment.
    pub first: u64,
    /// Its last one; whether later ones were taken away, only the journal knows.
    pub last: u64,
    /// Bytes of segments.
    pub bytes: u64,
    /// Whether it is signed with the key; without one no forgery is found.
    pub keyed: bool,
    /// The last signature, which stands for the whole archive.
    pub signature: [u8; 32],
}

/// Checks that every segment from the first to the last is there and is what was signed in its place. The error names
/// the first that is not.
pub fn verify_archive(folder: &Path, key: Option<&Key>) -> Result<Verified, ArchiveError> {
    let segments: BTreeSet<u64> = generations(folder, ".tlj")?.into_iter().collect();
    let signed: BTreeSet<u64> = generations(folder, SIGNATURE)?.into_iter().collect();
    let all = || segments.union(&signed);
    let (Some(first), Some(last)) = (all().next().copied(), all().last().copied()) else {
        return Err(ArchiveError::Empty(folder.to_owned()));
    };
    let (mut chain, mut bytes) = (BEGIN, 0);
    for generation in first..=last {
        let misfit = |why| ArchiveError::Misfit { generation, why };
        if !segments.contains(&generation) {
            return Err(misfit(Misfit::Missing));
        }
        if !signed.contains(&generation) {
            return Err(misfit(Misfit::Unsigned));
        }
        let signature = read_signature(folder, generation)?.ok_or(misfit(Misfit::Malformed))?;
        if generation == first && signature.previous != BEGIN {
            return Err(ArchiveError::Misfit { generation: generation - 1, why: Misfit::Missing });
        }
        check(folder, key, &signature, chain)?.map_or(Ok(()), |why| Err(misfit(why)))?;
        chain = signature.hash;
        bytes += signature.bytes;
    }
    Ok(Verified { first, last, bytes, keyed: key.is_some(), signature: *chain.as_bytes() })
}

/// What is wrong with a segment and its signature, if anything.
fn check(
    folder: &Path,
    key: Option<&Key>,
    signature: &Signature,
    chain: Hash,
) -> Result<Option<Misfit>, ArchiveError> {
    match (signature.keyed, key) {
        (true, None) => return Ok(Some(Misfit::NeedsKey)),
        (false, Some(_)) => return Ok(Some(Misfit::Keyless)),
        _ => {}
    }
    if signature.previous != chain {
        return Ok(Some(Misfit::OutOfChain));
    }
    let path = segment_path(folder, signature.generation);
    let hashed = File::open(&path).and_then(|file| {
        let mut signer = Signer::new(key, signature.generation, file.metadata()?.len(), chain);
        pieces(&file, &mut |piece| {
            signer.add(piece);
            Ok(())
        })?;
        Ok(signer.sign())
    });
    let found = hashed.map_err(|error| failed("reading", &path, error))?;
    Ok((found != *signature).then_some(Misfit::Altered))
}
