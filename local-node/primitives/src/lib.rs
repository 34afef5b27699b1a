//! The rules of a performance challenge that need no storage: what is hashed, signed, drawn and
//! checked, byte for byte as the Python cores do it. One module for each concept; every function
//! takes what it needs and touches nothing else.
//!
//! Everything from a peer is hostile: it is bounded before anything is allocated for it, and
//! refused with an error that names the rule.
//!
//! The sections in the documentation are those of the design: challenge.md, coinflip.md,
//! hypercore.md.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

pub mod answer;
pub mod api;
pub mod attempts;
pub mod coinflip;
pub mod draws;
pub mod evidence;
pub mod false_receipt;
pub mod hash;
pub mod head;
pub mod keys;
pub mod multiproof;
pub mod prng;
pub mod receipt;
pub mod registration;
pub mod report;
pub mod tree;

/// A BLAKE2b-256 digest, or 32 bytes treated alike.
pub type Hash = [u8; 32];
/// An ed25519 public key.
pub type PublicKey = [u8; 32];
/// An ed25519 signature.
pub type Signature = [u8; 64];
/// The bytes of an account id.
pub type AccountBytes = [u8; 32];
