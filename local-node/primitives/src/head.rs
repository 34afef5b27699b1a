//! Heads of feeds, who signs them, and over which bytes (hypercore.md §6).

use crate::{
    hash::{concat, hash},
    keys::{self, KeyError},
    Hash, PublicKey, Signature,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Namespace of a tree's signature (hypercore.md §1).
pub const NS_TREE: Hash = [
    0x9f, 0xac, 0x70, 0xb5, 0x0c, 0xa1, 0x4e, 0xfc, 0x4e, 0x91, 0xc8, 0x33, 0xb2, 0x04, 0xe7, 0x5b,
    0x8b, 0x5a, 0xad, 0x8b, 0x58, 0x81, 0xbf, 0xc0, 0xad, 0xb5, 0xef, 0x38, 0xa3, 0x27, 0x5b, 0x9c,
];

/// Namespace of a manifest's hash (hypercore.md §1).
pub const NS_MANIFEST: Hash = [
    0xe6, 0x4b, 0x71, 0x08, 0xea, 0xcc, 0xe4, 0x7c, 0xfc, 0x61, 0xac, 0x85, 0x05, 0x68, 0xf5, 0x5f,
    0x8b, 0x15, 0xb8, 0x2e, 0xc5, 0xed, 0x78, 0xc4, 0xec, 0x59, 0x7b, 0x03, 0x6e, 0x2a, 0x14, 0x98,
];

/// Bytes of the only manifest that the chain takes (challenge.md §2.1).
pub const MANIFEST_BYTES: u32 = 70;

/// Start of that manifest: version 1, no flags, hash 0, quorum 1, one signer, ed25519.
const MANIFEST_PREFIX: [u8; 6] = [1, 0, 0, 1, 1, 0];

/// A head: the state of a feed that its author signed.
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
pub struct Head {
    /// Number of the fork.
    pub fork: u64,
    /// Number of chunks.
    pub length: u64,
    /// Hash over the roots.
    pub tree_hash: Hash,
}

/// How the key of a feed names its signer (hypercore.md §6).
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
pub enum FeedKind {
    /// The key is the hash of a version 1 manifest with one signer.
    Manifest,
    /// The key is the signer's.
    Compat,
}

/// A feed whose heads the chain can verify.
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
pub struct Feed {
    /// Key of the feed.
    pub key: Hash,
    /// Who signs its heads.
    pub signer: PublicKey,
    /// How the key names the signer.
    pub kind: FeedKind,
}

/// Why a feed is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum FeedError {
    /// The manifest is not of the one form that the chain takes.
    UnsupportedManifest,
    /// The key is not the manifest's hash.
    WrongKey,
    /// The signer's key is refused.
    Signer(KeyError),
}

impl Feed {
    /// The feed with this key (challenge.md §2.1): with a manifest, exactly `01 00 00 01 01 00 ‖
    /// namespace ‖ signer` and hashing to the key; without one, the key is its own signer. The
    /// signer's key must pass [`keys::check_public_key`].
    pub fn new(key: Hash, manifest: Option<&[u8]>) -> Result<Self, FeedError> {
        let feed = match manifest {
            None => Self {
                key,
                signer: key,
                kind: FeedKind::Compat,
            },
            Some(manifest) => {
                let manifest: &[u8; MANIFEST_BYTES as usize] = manifest
                    .try_into()
                    .map_err(|_| FeedError::UnsupportedManifest)?;
                if !manifest.starts_with(&MANIFEST_PREFIX) {
                    return Err(FeedError::UnsupportedManifest);
                }
                if manifest_key(manifest) != key {
                    return Err(FeedError::WrongKey);
                }
                let mut signer = PublicKey::default();
                signer.copy_from_slice(&manifest[MANIFEST_BYTES as usize - 32..]);
                Self {
                    key,
                    signer,
                    kind: FeedKind::Manifest,
                }
            }
        };
        keys::check_public_key(&feed.signer).map_err(FeedError::Signer)?;
        Ok(feed)
    }

    /// What the author signs for `head` (hypercore.md §6).
    pub fn signable(&self, head: &Head) -> Vec<u8> {
        let key: &[u8] = match self.kind {
            FeedKind::Manifest => &self.key,
            FeedKind::Compat => &[],
        };
        concat(&[
            &NS_TREE,
            key,
            &head.tree_hash,
            &head.length.to_le_bytes(),
            &head.fork.to_le_bytes(),
        ])
    }

    /// Whether `signature`, the bare one out of the multisignature, is the author's over `head`.
    pub fn verify_head(&self, head: &Head, signature: &Signature) -> bool {
        keys::verify(&self.signer, &self.signable(head), signature)
    }
}

/// The key of the feed with this manifest: `H(NS_MANIFEST ‖ manifest)` (hypercore.md §6).
pub fn manifest_key(manifest: &[u8]) -> Hash {
    hash(&[&NS_MANIFEST, manifest])
}

/// The version 1 manifest of one signer (hypercore.md §6).
pub fn single_signer_manifest(
    namespace: &Hash,
    signer: &PublicKey,
) -> [u8; MANIFEST_BYTES as usize] {
    let mut manifest = [0; MANIFEST_BYTES as usize];
    manifest[..6].copy_from_slice(&MANIFEST_PREFIX);
    manifest[6..38].copy_from_slice(namespace);
    manifest[38..].copy_from_slice(signer);
    manifest
}
