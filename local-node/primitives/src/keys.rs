//! ed25519 keys: which ones are taken, and the verification of signatures.

use crate::{PublicKey, Signature};
use codec::{Decode, Encode};
use curve25519_dalek::edwards::CompressedEdwardsY;
use scale_info::TypeInfo;
use sp_core::ed25519;

/// Why a public key is refused (challenge.md §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum KeyError {
    /// The bytes are no point of the curve.
    NotOnCurve,
    /// Another, canonical encoding of the same point exists.
    NotCanonical,
    /// The point is one of the eight of small order, the identity included.
    SmallOrder,
    /// The point has a part of small order beside one of prime order.
    MixedOrder,
}

/// Refuses each public key that is not canonical and of prime order (challenge.md §2.1). The keys
/// taken are those of libsodium's `crypto_core_ed25519_is_valid_point` (coinflip.md §1).
pub fn check_public_key(key: &PublicKey) -> Result<(), KeyError> {
    let compressed = CompressedEdwardsY(*key);
    let point = compressed.decompress().ok_or(KeyError::NotOnCurve)?;
    if point.compress() != compressed {
        return Err(KeyError::NotCanonical);
    }
    if point.is_small_order() {
        return Err(KeyError::SmallOrder);
    }
    if !point.is_torsion_free() {
        return Err(KeyError::MixedOrder);
    }
    Ok(())
}

/// Whether `signature` by `key` covers `message`: the host's ed25519 verification (ZIP-215). It
/// takes all that the stricter libsodium takes off chain (coinflip.md §1), and is sound only for a
/// key that passed [`check_public_key`].
pub fn verify(key: &PublicKey, message: &[u8], signature: &Signature) -> bool {
    sp_io::crypto::ed25519_verify(
        &ed25519::Signature::from_raw(*signature),
        message,
        &ed25519::Public::from_raw(*key),
    )
}
