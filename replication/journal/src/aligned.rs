//! Memory as the disk wants it for direct writes: whole blocks at addresses that are multiples of a block.
//!
//! A block never stands on the stack, only in memory from [`zeros`]: rustc 1.95 (LLVM 22) loses the prologue of an
//! optimised function that has a variable aligned to a page and returns early, and the stack is wrong from then on.

use crate::layout::BLOCK;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

/// One block of memory, aligned to its size.
#[derive(Debug, FromBytes, IntoBytes, Immutable, KnownLayout, PartialEq, Eq)]
#[repr(C, align(4096))]
pub struct Block(pub [u8; BLOCK as usize]);

const _: () = assert!(align_of::<Block>() == BLOCK as usize && size_of::<Block>() == BLOCK as usize);

/// Aligned zeros, rounded up to whole blocks.
pub fn zeros(bytes: u64) -> Vec<Block> {
    Block::new_vec_zeroed(bytes.div_ceil(BLOCK) as usize).expect("the system has memory")
}

/// The bytes of some blocks.
pub fn bytes(blocks: &[Block]) -> &[u8] {
    blocks.as_bytes()
}

/// Whether a direct write of these bytes to this offset is one that every disk takes.
pub fn is_aligned(offset: u64, bytes: &[u8]) -> bool {
    offset.is_multiple_of(BLOCK)
        && (bytes.len() as u64).is_multiple_of(BLOCK)
        && bytes.as_ptr().addr().is_multiple_of(BLOCK as usize)
}
