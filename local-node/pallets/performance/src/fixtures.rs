//! The off-chain side of a challenge that tests and benchmarks share: keys, secrets, envelopes,
//! anchors, receipts.

use alloc::{vec, vec::Vec};
use codec::Encode;
use datdot_primitives::{
    coinflip::{
        commit_payload, commitment_y, echo_payload, reveal_payload, root as coinflip_root, Opening,
    },
    draws::MAX_ATTESTORS,
    evidence::{Body, EnvelopeBytes},
    receipt::signable as receipt_signable,
    Hash, PublicKey, Signature,
};
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use frame::{deps::sp_core::ConstU32, hashing::blake2_256, prelude::BoundedVec};

/// The openings of an anchor, in roster order.
pub type Openings = BoundedVec<Opening, ConstU32<MAX_ATTESTORS>>;
/// The echoes of an anchor, in roster order.
pub type Echoes = BoundedVec<Signature, ConstU32<MAX_ATTESTORS>>;

/// A key made of what it is for.
pub fn key(purpose: impl Encode) -> SigningKey {
    SigningKey::from(blake2_256(&("key", purpose).encode()))
}

/// The public half of a key.
pub fn public(key: &SigningKey) -> PublicKey {
    VerificationKeyBytes::from(key).into()
}

/// The signature of a key.
pub fn sign(key: &SigningKey, message: &[u8]) -> Signature {
    key.sign(message).into()
}

/// A secret made of what it is for.
pub fn secret(purpose: impl Encode) -> Hash {
    blake2_256(&("secret", purpose).encode())
}

/// The anchor of an honest run among these members, each with its session key and opening.
pub fn anchor_of(topic: &Hash, members: &[(SigningKey, Opening)]) -> (Openings, Echoes) {
    let commitments: Vec<(Hash, Hash)> = members
        .iter()
        .map(|(key, opening)| {
            let y = commitment_y(topic, &public(key), &opening.salt, &opening.x);
            (y, opening.z)
        })
        .collect();
    let root = coinflip_root(topic, &commitments);
    let echoes: Vec<Signature> = members
        .iter()
        .map(|(key, _)| sign(key, &echo_payload(topic, &public(key), &root)))
        .collect();
    let openings: Vec<Opening> = members.iter().map(|(_, opening)| *opening).collect();
    (
        openings.try_into().expect("it fits"),
        echoes.try_into().expect("it fits"),
    )
}

/// The bytes of an envelope that this key signed.
pub fn envelope(topic: &Hash, index: u16, body: &Body, by: &SigningKey) -> EnvelopeBytes {
    let key = public(by);
    let (kind, parts, payload) = match body {
        Body::Commit { y, z } => (1, vec![*y, *z], commit_payload(topic, &key, y, z)),
        Body::Echo(root) => (2, vec![*root], echo_payload(topic, &key, root)),
        Body::Reveal { salt, x } => (3, vec![*salt, *x], reveal_payload(topic, &key, salt, x)),
    };
    let mut bytes = vec![kind];
    bytes.extend_from_slice(topic);
    bytes.extend_from_slice(&index.to_le_bytes());
    bytes.extend_from_slice(parts.as_flattened());
    bytes.extend_from_slice(&sign(by, &payload));
    bytes.try_into().expect("it fits")
}

/// A receipt's bytes with the signature of this key.
pub fn signed_receipt(body: Vec<u8>, hoster: &SigningKey) -> Vec<u8> {
    let signature = sign(hoster, &receipt_signable(&body));
    let mut bytes = body;
    bytes.extend_from_slice(&signature);
    bytes
}
