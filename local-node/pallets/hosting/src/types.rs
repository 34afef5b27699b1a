//! The words of this pallet.

use datdot_primitives::{
    head::{Feed, MANIFEST_BYTES},
    Hash, PublicKey,
};
use frame::prelude::*;

/// Number of a hosting, counted from 0.
pub type HostingId = u64;

/// The greatest length of a feed: no index of its tree exceeds what the wire protocol can carry
/// (2⁵³ − 1, hypercore.md §1).
pub const MAX_LENGTH: u64 = 1 << 52;

/// The bytes of the only manifest that is accepted: version 1, one ed25519 signer, quorum 1
/// (`01 00 00 01 01 00 ‖ namespace ‖ signer`, hypercore.md §6).
pub type Manifest = [u8; MANIFEST_BYTES as usize];

/// Bounds for the medians of a challenge; a hoster that breaks one of them is not paid for it
/// (challenge.md §6). A median that no report has a figure for breaks no bound.
#[derive(
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
)]
pub struct Sla {
    /// The largest median of the attestors' median latencies, in microseconds.
    pub latency_p50_us: Option<u32>,
    /// The smallest median throughput, in bytes per second.
    pub throughput: Option<u64>,
}

impl Sla {
    /// Whether it has a bound, and each of its bounds can be kept and can be broken.
    pub const fn is_valid(&self) -> bool {
        !matches!(self.latency_p50_us, Some(0))
            && !matches!(self.throughput, Some(0))
            && (self.latency_p50_us.is_some() || self.throughput.is_some())
    }

    /// Whether these medians break it.
    pub fn is_broken_by(&self, latency_p50_us: Option<u64>, throughput: Option<u64>) -> bool {
        let too_late = self
            .latency_p50_us
            .zip(latency_p50_us)
            .is_some_and(|(most, median)| median > u64::from(most));
        let too_slow = self
            .throughput
            .zip(throughput)
            .is_some_and(|(least, median)| median < least);
        too_late || too_slow
    }
}

/// What sponsor and hoster agree on.
#[derive(
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
)]
pub struct Terms<Balance> {
    /// What the hoster gets for a passed challenge, at most.
    pub hoster_reward: Balance,
    /// What each attestor gets for a report, at most.
    pub attestor_reward: Balance,
    /// The number of chunks that the hoster must vouch for, at least.
    pub length: u64,
    /// Bounds for the hoster's performance.
    pub sla: Option<Sla>,
}

impl<Balance: AtLeast32BitUnsigned + Copy> Terms<Balance> {
    /// The most that one challenge with so many attestors can cost.
    pub fn whole_challenge(&self, attestors: u32) -> Option<Balance> {
        self.attestor_reward
            .checked_mul(&attestors.into())?
            .checked_add(&self.hoster_reward)
    }
}

/// What a hoster vouches for: it has and will keep all chunks below `length` of that fork, none of
/// them above the size that an answer on chain can carry.
#[derive(Encode, Decode, MaxEncodedLen, TypeInfo, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vouched {
    /// The feed's fork.
    pub fork: u64,
    /// Number of chunks.
    pub length: u64,
}

/// A sponsor's offer, or what became of it. Ended hostings are not kept.
#[derive(Encode, Decode, MaxEncodedLen, TypeInfo, Clone, PartialEq, Eq, Debug)]
pub struct Hosting<AccountId, Balance> {
    /// Key of the feed.
    pub feed: Hash,
    /// Who pays; the escrow is held in this account.
    pub sponsor: AccountId,
    /// Who serves; the bond is held in this account.
    pub hoster: AccountId,
    /// The agreement.
    pub terms: Terms<Balance>,
    /// Held for challenges to come and for the one that runs.
    pub escrow: Balance,
    /// Held beside the escrow, burnt when the hosting ends.
    pub forfeited: Balance,
    /// Held from the hoster; zero before it accepted.
    pub bond: Balance,
    /// `None`: offered, not accepted.
    pub vouched: Option<Vouched>,
    /// A challenge runs.
    pub challenged: bool,
    /// Sponsor or hoster asked to close it; it ends with the running challenge.
    pub closing: bool,
    /// Failed challenges since the last one that passed.
    pub streak: u32,
    /// The author has rewritten the feed: it has no challenge until the hoster vouches for this fork
    /// or a higher one.
    pub resting: Option<u64>,
}

/// What a challenge needs to know about its hosting, as of now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostingInfo<AccountId, Balance> {
    /// The feed: its key, its signer and what the signer signs.
    pub feed: Feed,
    /// Who pays.
    pub sponsor: AccountId,
    /// Who serves.
    pub hoster: AccountId,
    /// The hoster's present Noise key.
    pub noise_key: PublicKey,
    /// The agreement.
    pub terms: Terms<Balance>,
    /// The vouched fork.
    pub fork: u64,
    /// The vouched length L*.
    pub length: u64,
}
