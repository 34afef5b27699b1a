//! The Merkle tree of a feed (hypercore.md §5), in flat-tree numbering: chunk i is node 2i.

use crate::{hash::hash, Hash};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// The longest feed whose nodes all have a number below 2^64.
pub const MAX_LENGTH: u64 = (1 << 63) - 1;

/// A node without its number, as proofs carry it (challenge.md §4).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Node {
    /// Leaf or parent hash.
    pub hash: Hash,
    /// Bytes of all chunks below.
    pub size: u64,
}

/// A root of the tree: its number and its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Root {
    /// Number in flat-tree order.
    pub index: u64,
    /// Hash and size.
    pub node: Node,
}

/// Why a tree cannot be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum TreeError {
    /// The feed is longer than [`MAX_LENGTH`].
    TooLong,
    /// The sizes of two siblings add up to more than fits u64.
    SizeOverflow,
}

/// A run of chunks under one full root: a power of two of them (hypercore.md §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// First chunk.
    pub start: u64,
    /// Number of chunks, a power of two.
    pub count: u64,
}

impl Run {
    /// Number of the root over this run.
    pub fn root_index(&self) -> u64 {
        self.start * 2 + (self.count - 1)
    }

    /// The two halves, or `None` for a single chunk.
    pub fn halves(&self) -> Option<(Run, Run)> {
        let count = self.count / 2;
        (count > 0).then_some((
            Run {
                start: self.start,
                count,
            },
            Run {
                start: self.start + count,
                count,
            },
        ))
    }

    /// The first chunk after this run.
    pub fn end(&self) -> u64 {
        self.start + self.count
    }
}

/// The runs under the full roots of a feed of `length` chunks, left to right (hypercore.md §5.1).
pub fn runs(length: u64) -> Result<Vec<Run>, TreeError> {
    if length > MAX_LENGTH {
        return Err(TreeError::TooLong);
    }
    let mut runs = Vec::with_capacity(length.count_ones() as usize);
    let mut start = 0;
    for bit in (0..=63).rev() {
        let count = 1u64 << bit;
        if length & count != 0 {
            runs.push(Run { start, count });
            start += count;
        }
    }
    Ok(runs)
}

/// The numbers of the full roots of a feed of `length` chunks, left to right (hypercore.md §5.1).
pub fn full_roots(length: u64) -> Result<Vec<u64>, TreeError> {
    Ok(runs(length)?.iter().map(Run::root_index).collect())
}

/// Hash of a chunk: `H(00 ‖ u64 byte length ‖ data)` (hypercore.md §5).
pub fn leaf_hash(data: &[u8]) -> Hash {
    hash(&[&[0], &(data.len() as u64).to_le_bytes(), data])
}

/// The node over two siblings: `H(01 ‖ u64 size ‖ left hash ‖ right hash)`, size the sum of theirs
/// (hypercore.md §5).
pub fn parent(left: &Node, right: &Node) -> Result<Node, TreeError> {
    let size = left
        .size
        .checked_add(right.size)
        .ok_or(TreeError::SizeOverflow)?;
    Ok(Node {
        hash: hash(&[&[1], &size.to_le_bytes(), &left.hash, &right.hash]),
        size,
    })
}

/// Hash over the roots, left to right: `H(02 ‖ (hash ‖ u64 number ‖ u64 size) …)` (hypercore.md §5).
pub fn tree_hash(roots: &[Root]) -> Hash {
    let mut bytes = Vec::with_capacity(1 + roots.len() * 48);
    bytes.push(2);
    for root in roots {
        bytes.extend_from_slice(&root.node.hash);
        bytes.extend_from_slice(&root.index.to_le_bytes());
        bytes.extend_from_slice(&root.node.size.to_le_bytes());
    }
    hash(&[&bytes])
}
