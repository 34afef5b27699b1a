//! From older layouts of what is stored to this one.
//!
//! | storage version | runtimes | records |
//! | --- | --- | --- |
//! | 0 | `spec_version` 2 | [`HostingV0`], without streak and rest |
//! | 0 | `spec_version` 3 | as they are now |
//! | 1 | from `spec_version` 4 on | [`Hosting`] |
//!
//! All of it is done in the block of the upgrade, so its time grows with the number of hostings.

use crate::{types::*, Config, HostingOf, HostingsById, Pallet};
use codec::{Decode, Encode};
use core::marker::PhantomData;
use datdot_primitives::Hash;
use frame::{
    deps::frame_support::{migrations::VersionedMigration, traits::UncheckedOnRuntimeUpgrade},
    prelude::*,
};

/// The first runtime whose records are as they are now.
const SPEC_VERSION: u32 = 3;

/// From storage version 0 to 1.
pub type ToV1<T> =
    VersionedMigration<0, 1, UncheckedToV1<T>, Pallet<T>, <T as frame_system::Config>::DbWeight>;

/// A hosting in storage version 0 before `spec_version` 3.
#[derive(Encode, Decode, Clone, PartialEq, Eq, Debug)]
pub struct HostingV0<AccountId, Balance> {
    /// Key of the feed.
    pub feed: Hash,
    /// Who pays.
    pub sponsor: AccountId,
    /// Who serves.
    pub hoster: AccountId,
    /// The agreement.
    pub terms: Terms<Balance>,
    /// Held for challenges.
    pub escrow: Balance,
    /// Held beside the escrow.
    pub forfeited: Balance,
    /// Held from the hoster.
    pub bond: Balance,
    /// What the hoster vouched for.
    pub vouched: Option<Vouched>,
    /// A challenge runs.
    pub challenged: bool,
    /// It ends with the running challenge.
    pub closing: bool,
}

/// The work of [`ToV1`], whatever the storage version is.
pub struct UncheckedToV1<T>(PhantomData<T>);

impl<T: Config> UncheckedOnRuntimeUpgrade for UncheckedToV1<T> {
    fn on_runtime_upgrade() -> Weight {
        if frame_system::Pallet::<T>::last_runtime_upgrade_spec_version() >= SPEC_VERSION {
            return T::DbWeight::get().reads(1);
        }
        let mut changed = 0;
        HostingsById::<T>::translate::<HostingV0<_, _>, _>(|_, old| {
            changed += 1;
            Some(HostingOf::<T> {
                feed: old.feed,
                sponsor: old.sponsor,
                hoster: old.hoster,
                terms: old.terms,
                escrow: old.escrow,
                forfeited: old.forfeited,
                bond: old.bond,
                vouched: old.vouched,
                challenged: old.challenged,
                closing: old.closing,
                streak: 0,
                resting: None,
            })
        });
        T::DbWeight::get().reads_writes(1 + changed, changed)
    }
}
