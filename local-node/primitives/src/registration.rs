//! Proof that a provider holds the key it registers (challenge.md §2.1).

use crate::{
    hash::{concat, performance},
    keys::{self, KeyError},
    AccountBytes, Hash, PublicKey, Signature,
};
use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// What a provider offers. The number is part of what is signed.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum Role {
    /// Audits hosters; its key is the session key.
    #[codec(index = 0)]
    Attestor = 0,
    /// Serves feeds; its key is the Noise key.
    #[codec(index = 1)]
    Hoster = 1,
}

/// Why a proof is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum RegistrationError {
    /// The key is refused.
    Key(KeyError),
    /// The signature is not the key's for this chain, role and account.
    WrongProof,
}

/// What the key signs: `TAG(register) ‖ genesis ‖ role u8 ‖ account`.
pub fn message(genesis: &Hash, role: Role, account: &AccountBytes) -> Vec<u8> {
    concat(&[&performance::REGISTER, genesis, &[role as u8], account])
}

/// Checks the key, then its proof.
pub fn check(
    genesis: &Hash,
    role: Role,
    account: &AccountBytes,
    key: &PublicKey,
    proof: &Signature,
) -> Result<(), RegistrationError> {
    keys::check_public_key(key).map_err(RegistrationError::Key)?;
    if !keys::verify(key, &message(genesis, role, account), proof) {
        return Err(RegistrationError::WrongProof);
    }
    Ok(())
}
