//! Proof of several chunks of one feed at once (challenge.md §4).

use crate::{
    tree::{self, Node, Root, Run, TreeError},
    Hash,
};
use alloc::vec::Vec;
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Why a multiproof is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum MultiproofError {
    /// The indices do not ascend strictly.
    NotAscending,
    /// An index is not below the length.
    OutOfRange,
    /// The number of sizes is not the number of leaves.
    SizeCount,
    /// There are fewer nodes than the tree needs.
    TooFewNodes,
    /// There are more nodes than the tree needs.
    TooManyNodes,
    /// The tree cannot be computed.
    Tree(TreeError),
}

impl From<TreeError> for MultiproofError {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

/// The tree hash that follows from `leaves` (index and leaf hash, strictly ascending by index),
/// their `sizes` in the same order, and the `nodes` of the rest of a feed of `length` chunks
/// (challenge.md §4).
///
/// Everything is used up, in this order. The work is bounded by 64 hashes a leaf and one a root. It
/// proves the leaf hashes, not single sizes: sizes of siblings can be traded against each other.
pub fn tree_hash_of(
    length: u64,
    leaves: &[(u64, Hash)],
    sizes: &[u32],
    nodes: &[Node],
) -> Result<Hash, MultiproofError> {
    if sizes.len() != leaves.len() {
        return Err(MultiproofError::SizeCount);
    }
    if leaves.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err(MultiproofError::NotAscending);
    }
    if leaves.last().is_some_and(|(index, _)| *index >= length) {
        return Err(MultiproofError::OutOfRange);
    }
    let mut proof = Proof {
        leaves,
        sizes,
        nodes,
    };
    let roots = tree::runs(length)?
        .into_iter()
        .map(|run| {
            Ok(Root {
                index: run.root_index(),
                node: proof.fold(run)?,
            })
        })
        .collect::<Result<Vec<_>, MultiproofError>>()?;
    if !proof.nodes.is_empty() {
        return Err(MultiproofError::TooManyNodes);
    }
    Ok(tree::tree_hash(&roots))
}

/// The part of a proof that is not used up yet.
struct Proof<'a> {
    leaves: &'a [(u64, Hash)],
    sizes: &'a [u32],
    nodes: &'a [Node],
}

impl Proof<'_> {
    /// The node over `run`: given if none of the leaves is below it, computed otherwise. Recurses
    /// once a level, so at most 63 deep.
    fn fold(&mut self, run: Run) -> Result<Node, MultiproofError> {
        let Some(&(index, hash)) = self.leaves.first().filter(|leaf| leaf.0 < run.end()) else {
            let (node, rest) = self
                .nodes
                .split_first()
                .ok_or(MultiproofError::TooFewNodes)?;
            self.nodes = rest;
            return Ok(*node);
        };
        let Some((left, right)) = run.halves() else {
            debug_assert_eq!(index, run.start);
            let (size, rest) = self.sizes.split_first().ok_or(MultiproofError::SizeCount)?;
            self.sizes = rest;
            self.leaves = &self.leaves[1..];
            return Ok(Node {
                hash,
                size: u64::from(*size),
            });
        };
        let left = self.fold(left)?;
        let right = self.fold(right)?;
        Ok(tree::parent(&left, &right)?)
    }
}
