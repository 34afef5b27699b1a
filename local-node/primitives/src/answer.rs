//! What a hoster answers to a demand for a chunk (challenge.md §4, §5).

use crate::{
    head::{Feed, Head},
    multiproof::{self, MultiproofError},
    receipt::MAX_ENTRIES,
    report::MAX_NODES,
    tree::{leaf_hash, Node},
    Hash, Signature,
};
use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// The largest chunk that a hoster may vouch for, and that an answer can carry (challenge.md §2.1).
pub const MAX_DEMANDED_CHUNK: u32 = 128 * 1024;

/// What `answer_demand` takes.
// Answers are decoded one at a time and never kept, so a box would save nothing.
#[allow(clippy::large_enum_variant)]
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Answer {
    /// The chunk itself, under a head of the vouched fork.
    #[codec(index = 0)]
    Chunk {
        /// Its bytes.
        bytes: BoundedVec<u8, ConstU32<MAX_DEMANDED_CHUNK>>,
        /// Length of the head, at least the vouched one.
        length: u64,
        /// The author's bare signature over that head.
        head_signature: Signature,
        /// Sizes of the multiproof: that of the chunk.
        sizes: BoundedVec<u32, ConstU32<MAX_ENTRIES>>,
        /// The rest of the multiproof.
        nodes: BoundedVec<Node, ConstU32<MAX_NODES>>,
    },
    /// The author has rewritten the feed: a head of a higher fork.
    #[codec(index = 1)]
    Rewritten {
        /// The fork.
        fork: u64,
        /// Length of the head.
        length: u64,
        /// Hash over its roots.
        tree_hash: Hash,
        /// The author's bare signature over it.
        head_signature: Signature,
    },
}

/// What was demanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Demanded {
    /// The feed.
    pub feed: Feed,
    /// The vouched fork.
    pub fork: u64,
    /// The vouched length, L*.
    pub length: u64,
    /// The chunk.
    pub chunk: u64,
}

/// Why an answer is refused; in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum AnswerError {
    /// The head is shorter than what was vouched for.
    TooShort,
    /// The size in the proof is not that of the bytes.
    WrongSize,
    /// The multiproof cannot be computed.
    Multiproof(MultiproofError),
    /// The fork is not above the vouched one.
    ForkNotHigher,
    /// The author did not sign the head that the answer leads to.
    WrongHeadSignature,
}

/// Checks an answer; the author's head that it leads to. Costs a signature, the hash of the chunk,
/// and 64 hashes at most.
///
/// `verified_before`: whether exactly this head of the feed was verified before, which spares its
/// signature.
pub fn check(
    answer: &Answer,
    demanded: &Demanded,
    verified_before: impl FnOnce(&Head) -> bool,
) -> Result<Head, AnswerError> {
    let (head, signature) = match answer {
        Answer::Chunk {
            bytes,
            length,
            head_signature,
            sizes,
            nodes,
        } => {
            if *length < demanded.length {
                return Err(AnswerError::TooShort);
            }
            if sizes[..] != [bytes.len() as u32] {
                return Err(AnswerError::WrongSize);
            }
            let leaves = [(demanded.chunk, leaf_hash(bytes))];
            let tree_hash = multiproof::tree_hash_of(*length, &leaves, sizes, nodes)
                .map_err(AnswerError::Multiproof)?;
            let head = Head {
                fork: demanded.fork,
                length: *length,
                tree_hash,
            };
            (head, head_signature)
        }
        Answer::Rewritten {
            fork,
            length,
            tree_hash,
            head_signature,
        } => {
            if *fork <= demanded.fork {
                return Err(AnswerError::ForkNotHigher);
            }
            let head = Head {
                fork: *fork,
                length: *length,
                tree_hash: *tree_hash,
            };
            (head, head_signature)
        }
    };
    if !verified_before(&head) && !demanded.feed.verify_head(&head, signature) {
        return Err(AnswerError::WrongHeadSignature);
    }
    Ok(head)
}
