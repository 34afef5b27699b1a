//! `H` and the domain tags.
//!
//! `H` is BLAKE2b with a 32-byte digest and no key, salt or personalisation (coinflip.md §1). A tag
//! is an ASCII name, zero-padded to 32 bytes; it stands in front of everything that is hashed or
//! signed, so that bytes made for one purpose never fit another.

use crate::Hash;
use alloc::vec::Vec;

/// `H` over the concatenation of `parts` (coinflip.md §1), by the host's function where there is one.
pub fn hash(parts: &[&[u8]]) -> Hash {
    sp_io::hashing::blake2_256(&concat(parts))
}

/// The concatenation of `parts`, as it is hashed or signed.
pub(crate) fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A domain tag: `name`, zero-padded to 32 bytes. Evaluated at compile time; a longer name does not
/// compile.
const fn tag(name: &[u8]) -> Hash {
    assert!(name.len() <= 32, "a tag has 32 bytes");
    let mut padded = [0u8; 32];
    let mut i = 0;
    while i < name.len() {
        padded[i] = name[i];
        i += 1;
    }
    padded
}

/// The tags `datdot.performance.v1.*` (challenge.md).
pub mod performance {
    use super::{tag, Hash};

    /// Proof of possession at registration (challenge.md §2.1).
    pub const REGISTER: Hash = tag(b"datdot.performance.v1.register");
    /// The hoster's receipt (challenge.md §3.4).
    pub const RECEIPT: Hash = tag(b"datdot.performance.v1.receipt");
    /// The audit key's binding of a report (challenge.md §4).
    pub const REPORT: Hash = tag(b"datdot.performance.v1.report");
}

/// The tags `datdot.coinflip.v1.*` (coinflip.md §1, §5, §6).
pub mod coinflip {
    use super::{tag, Hash};

    /// The topic of one attempt (coinflip.md §1).
    pub const TOPIC: Hash = tag(b"datdot.coinflip.v1.topic");
    /// The commitment to salt and x (coinflip.md §1).
    pub const Y: Hash = tag(b"datdot.coinflip.v1.y");
    /// The commitment to w and the audit key (coinflip.md §1).
    pub const Z: Hash = tag(b"datdot.coinflip.v1.z");
    /// The vector of all commitments (coinflip.md §1).
    pub const ROOT: Hash = tag(b"datdot.coinflip.v1.root");
    /// A signed commit (coinflip.md §1).
    pub const COMMIT: Hash = tag(b"datdot.coinflip.v1.commit");
    /// A signed echo (coinflip.md §1).
    pub const ECHO: Hash = tag(b"datdot.coinflip.v1.echo");
    /// A signed reveal (coinflip.md §1).
    pub const REVEAL: Hash = tag(b"datdot.coinflip.v1.reveal");
    /// The result of an anchored flip (coinflip.md §6).
    pub const MAGIC: Hash = tag(b"datdot.coinflip.v1.magic");
    /// The result of the fallback (coinflip.md §5).
    pub const MIX: Hash = tag(b"datdot.coinflip.v1.mix");
    /// The blocks of the generator (coinflip.md §6).
    pub const PRNG: Hash = tag(b"datdot.coinflip.v1.prng");
    /// The audit moment (coinflip.md §6).
    pub const JOIN: Hash = tag(b"datdot.coinflip.v1.join");
    /// The drawn chunks and the session's habit (coinflip.md §6).
    pub const CHUNKS: Hash = tag(b"datdot.coinflip.v1.chunks");
    /// The draw of a roster (coinflip.md §6).
    pub const DRAW: Hash = tag(b"datdot.coinflip.v1.draw");
}
