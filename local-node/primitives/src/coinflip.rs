//! Topic, commitments and result of the coinflip (coinflip.md §1, §5, §6).

use crate::{
    hash::{coinflip as tags, concat, hash},
    keys, Hash, PublicKey, Signature,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Attempt number of the fallback on chain (coinflip.md §5).
pub const FALLBACK_ATTEMPT: u32 = 1 << 31;

/// The topic of one attempt among `roster`, session keys ascending as bytes (coinflip.md §1).
pub fn topic(
    genesis: &Hash,
    challenge: u64,
    start_block: &Hash,
    attempt: u32,
    roster: &[PublicKey],
) -> Hash {
    hash(&[
        &tags::TOPIC,
        genesis,
        &challenge.to_le_bytes(),
        start_block,
        &attempt.to_le_bytes(),
        &(roster.len() as u32).to_le_bytes(),
        roster.as_flattened(),
    ])
}

/// Commitment y to salt and x (coinflip.md §1).
pub fn commitment_y(topic: &Hash, key: &PublicKey, salt: &Hash, x: &Hash) -> Hash {
    hash(&[&tags::Y, topic, key, salt, x])
}

/// Commitment z to w and the audit key (coinflip.md §1).
pub fn commitment_z(topic: &Hash, key: &PublicKey, w: &Hash, audit_key: &PublicKey) -> Hash {
    hash(&[&tags::Z, topic, key, w, audit_key])
}

/// Root over the commitments (y, z) of all members, in roster order (coinflip.md §1).
pub fn root(topic: &Hash, commitments: &[(Hash, Hash)]) -> Hash {
    let mut bytes = Vec::with_capacity(commitments.len() * 64);
    for (y, z) in commitments {
        bytes.extend_from_slice(y);
        bytes.extend_from_slice(z);
    }
    hash(&[
        &tags::ROOT,
        topic,
        &(commitments.len() as u32).to_le_bytes(),
        &bytes,
    ])
}

/// magic(), hash_concat, the only one that the chain takes: R from all x, in roster order
/// (coinflip.md §6).
pub fn result(topic: &Hash, root: &Hash, numbers: &[Hash]) -> Hash {
    hash(&[&tags::MAGIC, topic, root, numbers.as_flattened()])
}

/// What `key` signs for its commit (coinflip.md §1).
pub fn commit_payload(topic: &Hash, key: &PublicKey, y: &Hash, z: &Hash) -> Vec<u8> {
    concat(&[&tags::COMMIT, topic, key, y, z])
}

/// What `key` signs for its echo of `root`; all zero: it gives up (coinflip.md §1).
pub fn echo_payload(topic: &Hash, key: &PublicKey, root: &Hash) -> Vec<u8> {
    concat(&[&tags::ECHO, topic, key, root])
}

/// What `key` signs for its reveal (coinflip.md §1).
pub fn reveal_payload(topic: &Hash, key: &PublicKey, salt: &Hash, x: &Hash) -> Vec<u8> {
    concat(&[&tags::REVEAL, topic, key, salt, x])
}

/// What an anchor says of one member (challenge.md §2.2).
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
pub struct Opening {
    /// Its commitment z, not opened.
    pub z: Hash,
    /// The salt of its y.
    pub salt: Hash,
    /// Its number.
    pub x: Hash,
}

/// What a flip fixes, whether it was anchored or fell back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Anchored {
    /// The root over all commitments.
    pub root: Hash,
    /// R.
    pub result: Hash,
}

/// Why an anchor is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum AnchorError {
    /// The number of openings is not the roster's.
    OpeningCount,
    /// The number of echoes is not the roster's.
    EchoCount,
    /// The echo of the member with this place in the roster does not cover the root.
    WrongEcho(u16),
}

/// Verifies an anchor: rebuilds every y, the root, checks each member's echo over it, and computes
/// R (challenge.md §2.2, `anchor_flip`). All in roster order. Costs one signature and one hash a
/// member.
pub fn verify_anchor(
    topic: &Hash,
    roster: &[PublicKey],
    openings: &[Opening],
    echoes: &[Signature],
) -> Result<Anchored, AnchorError> {
    if openings.len() != roster.len() {
        return Err(AnchorError::OpeningCount);
    }
    if echoes.len() != roster.len() {
        return Err(AnchorError::EchoCount);
    }
    let commitments: Vec<_> = roster
        .iter()
        .zip(openings)
        .map(|(key, opening)| {
            (
                commitment_y(topic, key, &opening.salt, &opening.x),
                opening.z,
            )
        })
        .collect();
    let root = root(topic, &commitments);
    for (place, (key, echo)) in roster.iter().zip(echoes).enumerate() {
        if !keys::verify(key, &echo_payload(topic, key, &root), echo) {
            return Err(AnchorError::WrongEcho(place as u16));
        }
    }
    let numbers: Vec<Hash> = openings.iter().map(|opening| opening.x).collect();
    Ok(Anchored {
        root,
        result: result(topic, &root, &numbers),
    })
}

/// Root and R of the fallback: the root over the z of the active, in roster order, mixed with the
/// chain's randomness (coinflip.md §5).
pub fn fallback(topic: &Hash, commitments: &[Hash], randomness: &Hash) -> Anchored {
    let count = (commitments.len() as u32).to_le_bytes();
    let root = hash(&[&tags::ROOT, topic, &count, commitments.as_flattened()]);
    Anchored {
        root,
        result: hash(&[&tags::MIX, topic, &root, randomness]),
    }
}
