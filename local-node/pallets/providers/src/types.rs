//! The words of this pallet.

use datdot_primitives::PublicKey;
use frame::prelude::*;

pub use datdot_primitives::registration::Role;

/// An IP address, in network byte order.
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
pub enum Ip {
    /// IPv4.
    V4([u8; 4]),
    /// IPv6.
    V6([u8; 16]),
}

/// Where a provider listens. No host names: they leak look-ups and allow aiming at inner networks.
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
pub struct Endpoint {
    /// The address.
    pub ip: Ip,
    /// The TCP port, not 0.
    pub port: u16,
}

/// A change of activity that was asked for and waits for its block.
#[derive(Encode, Decode, MaxEncodedLen, TypeInfo, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change<BlockNumber> {
    /// What [`Provider::active`] becomes.
    pub active: bool,
    /// When.
    pub due: BlockNumber,
}

/// A registered attestor or hoster.
#[derive(Encode, Decode, MaxEncodedLen, TypeInfo, Clone, PartialEq, Eq, Debug)]
pub struct Provider<Balance, BlockNumber> {
    /// Session key of an attestor, Noise key of a hoster.
    pub key: PublicKey,
    /// Where it listens.
    pub endpoint: Endpoint,
    /// What is held for this role: the role's bond less what fees and slashes have taken.
    pub bond: Balance,
    /// Attestor: the most open challenges that it wants to be in. Hoster: 0, without meaning.
    pub capacity: u32,
    /// Attestor: open challenges that it is in. Hoster: hostings that it accepted and that have
    /// not ended.
    pub engagements: u32,
    /// Attestor: absences in a row. Hoster: 0.
    pub absences: u32,
    /// The block in which its last challenge closed or hosting ended; that of the registration
    /// before.
    pub last_closed: BlockNumber,
    /// Attestor: may be drawn. Hoster: may accept hostings. False until the registration takes
    /// effect, and from when a drain takes effect.
    pub active: bool,
    /// The change that waits, if any.
    pub change: Option<Change<BlockNumber>>,
}

impl<Balance, BlockNumber> Provider<Balance, BlockNumber> {
    /// Whether it is active, or will be once the waiting change is made.
    pub fn wants_work(&self) -> bool {
        self.change
            .as_ref()
            .map_or(self.active, |change| change.active)
    }
}

/// The bond of a provider that deregistered.
#[derive(Encode, Decode, MaxEncodedLen, TypeInfo, Clone, PartialEq, Eq, Debug)]
pub struct Unbonding<Balance, BlockNumber> {
    /// Still held.
    pub amount: Balance,
    /// The first block in which it can be taken back.
    pub free_at: BlockNumber,
}

/// Whose a key is.
#[derive(Encode, Decode, MaxEncodedLen, TypeInfo, Clone, PartialEq, Eq, Debug)]
pub enum KeyUse<AccountId> {
    /// A provider's present key.
    Held {
        /// The provider.
        account: AccountId,
        /// As what.
        role: Role,
    },
    /// Replaced or given up by this account, and nobody's until `UnbondingBlocks` have passed.
    Reserved {
        /// The former owner.
        account: AccountId,
    },
}

/// Work that waits for a block.
#[derive(Encode, Decode, MaxEncodedLen, TypeInfo, Clone, PartialEq, Eq, Debug)]
pub enum Task<AccountId> {
    /// Make the provider's waiting change, if that is due.
    Change {
        /// The provider.
        account: AccountId,
        /// In which role.
        role: Role,
    },
    /// Free a reserved key.
    FreeKey(
        /// The key.
        PublicKey,
    ),
}
