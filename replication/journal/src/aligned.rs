//! Memory as the disk wants it for direct writes: whole blocks at addresses that are multiples of a block.

use crate::layout::BLOCK;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One block of memory, aligned to its size.
#[derive(Clone, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
#[repr(C, align(4096))]
pub struct Block(pub [u8; BLOCK as usize]);

impl Block {
    /// A block of zeros.
    pub const ZERO: Block = Block([0; BLOCK as usize]);
}

const _: () = assert!(align_of::<Block>() == BLOCK as usize && size_of::<Block>() == BLOCK as usize);

/// Aligned zeros, rounded up to whole blocks.
pub fn zeros(bytes: u64) -> Vec<Block> {
    vec![Block::ZERO; bytes.div_ceil(BLOCK) as usize]
}

/// Whether a direct write of these bytes to this offset is one that every disk takes.
pub fn is_aligned(offset: u64, bytes: &[u8]) -> bool {
    offset.is_multiple_of(BLOCK)
        && (bytes.len() as u64).is_multiple_of(BLOCK)
        && bytes.as_ptr().addr().is_multiple_of(BLOCK as usize)
}
