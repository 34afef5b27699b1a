//! How the other pallets use this one.

use datdot_primitives::PublicKey;
use frame::prelude::*;

/// The attestors that can be drawn for a challenge, and what a challenge does to them.
pub trait AttestorPool {
    /// An account.
    type AccountId;
    /// The number of a block.
    type BlockNumber;
    /// An amount of money.
    type Balance;
    /// Money that was taken out of a bond: whoever holds it gives it to somebody or burns it by
    /// dropping it.
    type Credit;

    /// How many attestors are eligible: registered, effective, not drained, below their capacity.
    fn eligible_count() -> u32;

    /// The account at a position of the dense list of eligible attestors, `None` from
    /// [`Self::eligible_count`] on. The order changes whenever the list changes: read all that a
    /// draw needs before the first [`Self::enter`].
    fn eligible_at(position: u32) -> Option<Self::AccountId>;

    /// The block in which the list of eligible attestors changed last.
    fn changed_at() -> Self::BlockNumber;

    /// The attestor's present session key.
    fn session_key(attestor: &Self::AccountId) -> Option<PublicKey>;

    /// The attestor takes part in one more open challenge. Fails for who is not an attestor.
    fn enter(attestor: &Self::AccountId) -> DispatchResult;

    /// One of its challenges closed. `absent` counts absences in a row, of which the second drains
    /// the attestor; presence ends the row.
    fn leave(attestor: &Self::AccountId, absent: bool);

    /// Take up to `amount` out of the attestor's bond, less when less is there.
    fn slash(attestor: &Self::AccountId, amount: Self::Balance) -> Self::Credit;

    /// A fraud of the attestor was proven: take up to `amount` out of its bond, or out of what is
    /// still held of the bond of one that left, and let it be drawn no more from now on. It may come
    /// back, with a full bond.
    fn expel(attestor: &Self::AccountId, amount: Self::Balance) -> Self::Credit;
}

/// The registered hosters, and what a hosting does to them.
pub trait HosterRegistry {
    /// An account.
    type AccountId;
    /// An amount of money.
    type Balance;
    /// Money that was taken out of a bond: whoever holds it gives it to somebody or burns it by
    /// dropping it.
    type Credit;

    /// The hoster's Noise key.
    fn noise_key(hoster: &Self::AccountId) -> Option<PublicKey>;

    /// Whether the hoster takes new hostings: registered, effective and not drained.
    fn is_active(hoster: &Self::AccountId) -> bool;

    /// The hoster accepted one more hosting; as long as it has one, it cannot deregister.
    fn engage(hoster: &Self::AccountId) -> DispatchResult;

    /// One of its hostings ended.
    fn disengage(hoster: &Self::AccountId);

    /// Whose Noise key it is; of a hoster that left as long as the key is reserved for it.
    fn owner(noise_key: &PublicKey) -> Option<Self::AccountId>;

    /// What is held of the hoster's bond, or of the bond of one that left.
    fn bond(hoster: &Self::AccountId) -> Self::Balance;

    /// A fraud of the hoster was proven: take up to `amount` out of its bond, or out of what is
    /// still held of the bond of one that left, and let it take no new hostings from now on. It may
    /// come back, with a full bond.
    fn convict(hoster: &Self::AccountId, amount: Self::Balance) -> Self::Credit;
}

/// Keys that belong to providers, for who must not accept one of them in another place.
pub trait KeyRegistry {
    /// Whether the key is a provider's, or was and is still reserved.
    fn is_taken(key: &PublicKey) -> bool;
}
