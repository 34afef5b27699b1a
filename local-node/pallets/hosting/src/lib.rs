//! Feeds, their hostings and the money that sponsors put up for them (challenge.md §2.1).
//!
//! Anybody publishes a feed: its key and, with a manifest, its signer. A sponsor offers a hoster to
//! pay for hosting it and holds an escrow; the hoster accepts, holds a bond, and vouches for a fork
//! and a length. From then on challenges pay hoster and attestors out of the escrow. Either side
//! closes the hosting, at the latest when the running challenge ends; what is left goes back to the
//! sponsor, what was forfeited is burnt. `MaxStreak` failed challenges without one that passed
//! between them end it too; the bond goes back whole.
//!
//! The escrow is held in the sponsor's account, whoever paid it in. For each account, the hostings
//! say exactly what is held.
//!
//! A hoster that withholds what a challenge demanded loses a part of the hosting's bond. A hosting
//! whose author has rewritten the feed rests until the hoster vouches for the new fork.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "runtime-benchmarks")]
pub mod benchmarking;
mod impls;
pub mod migrations;
pub mod traits;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use traits::{Ended, Hostings, OnHosting};
pub use types::{Hosting, HostingId, HostingInfo, Manifest, Sla, Terms, Vouched, MAX_LENGTH};
pub use weights::WeightInfo;

use datdot_primitives::{
    head::{Feed, FeedError, FeedKind},
    Hash,
};
use frame::{
    prelude::*,
    token::{
        fungible::{self, MutateHold as _},
        tokens::{Fortitude, Precision, Preservation},
    },
};
use pallet_providers::{HosterRegistry, KeyRegistry};

/// Money, in the runtime's currency.
pub type BalanceOf<T> =
    <<T as Config>::Currency as fungible::Inspect<<T as frame_system::Config>::AccountId>>::Balance;
/// Money on its way.
pub type CreditOf<T> =
    fungible::Credit<<T as frame_system::Config>::AccountId, <T as Config>::Currency>;
/// A hosting with the runtime's types.
pub type HostingOf<T> = Hosting<<T as frame_system::Config>::AccountId, BalanceOf<T>>;

/// Feeds, their hostings and the money that sponsors put up for them (challenge.md §2.1).
#[frame::pallet]
pub mod pallet {
    use super::*;

    /// What the pallet needs from the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config {
        /// The currency of escrows and bonds.
        type Currency: fungible::MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason>
            + fungible::Balanced<Self::AccountId>
            + fungible::BalancedHold<Self::AccountId>;

        /// The runtime's reasons of holds.
        type RuntimeHoldReason: From<HoldReason>;

        /// The registered hosters.
        type Hosters: HosterRegistry<AccountId = Self::AccountId>;

        /// The keys that belong to providers.
        type ProviderKeys: KeyRegistry;

        /// What a hoster puts up for each hosting that it accepts.
        #[pallet::constant]
        type HostingBond: Get<BalanceOf<Self>>;

        /// What an offer holds at least, so that offers which nobody pays for do not fill the chain.
        #[pallet::constant]
        type MinEscrow: Get<BalanceOf<Self>>;

        /// What an attestor gets for a report at least: it is drawn whether it wants to or not.
        #[pallet::constant]
        type MinAttestorReward: Get<BalanceOf<Self>>;

        /// So many failed challenges, with none that passed between them, end a hosting: at least
        /// one.
        #[pallet::constant]
        type MaxStreak: Get<u32>;

        /// Who wants to hear of hostings.
        type OnHosting: OnHosting;

        /// What calls cost.
        type WeightInfo: WeightInfo;
    }

    /// The layout of what is stored; [`crate::migrations`] leads to it from older ones.
    pub(crate) const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The pallet itself.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// Why money is held for hostings.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// From a sponsor, for challenges.
        Escrow,
        /// From a hoster, for a hosting that it accepted.
        HostingBond,
    }

    /// The published feeds, by their keys.
    #[pallet::storage]
    pub type Feeds<T: Config> = StorageMap<_, Blake2_128Concat, Hash, Feed, OptionQuery>;

    /// Offers and accepted hostings; those that ended are removed.
    #[pallet::storage]
    #[pallet::storage_prefix = "Hostings"]
    pub type HostingsById<T: Config> =
        StorageMap<_, Twox64Concat, HostingId, HostingOf<T>, OptionQuery>;

    /// The number of the next hosting.
    #[pallet::storage]
    pub type NextHostingId<T: Config> = StorageValue<_, HostingId, ValueQuery>;

    /// What happened to feeds and hostings.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// A feed can be hosted.
        FeedPublished {
            /// Its key.
            feed: Hash,
            /// Who signs its heads.
            signer: datdot_primitives::PublicKey,
        },
        /// A sponsor offers a hoster to pay for a feed.
        HostingOpened {
            /// Its number.
            id: HostingId,
            /// The feed.
            feed: Hash,
            /// Who pays.
            sponsor: T::AccountId,
            /// Who is to serve.
            hoster: T::AccountId,
            /// What is held.
            escrow: BalanceOf<T>,
        },
        /// The hoster accepted.
        HostingAccepted {
            /// Its number.
            id: HostingId,
            /// The vouched fork.
            fork: u64,
            /// The vouched length.
            length: u64,
        },
        /// The hoster vouches for more, from the next challenge on.
        Vouched {
            /// Number of the hosting.
            id: HostingId,
            /// The vouched fork.
            fork: u64,
            /// The vouched length.
            length: u64,
        },
        /// Somebody added to the escrow.
        ToppedUp {
            /// Number of the hosting.
            id: HostingId,
            /// Who.
            by: T::AccountId,
            /// How much.
            amount: BalanceOf<T>,
        },
        /// The hoster withheld what a challenge demanded, and lost a part of the hosting's bond.
        HostingBondSlashed {
            /// Number of the hosting.
            id: HostingId,
            /// How much.
            amount: BalanceOf<T>,
        },
        /// The author has rewritten the feed: no challenge starts until the hoster vouches for this
        /// fork or a higher one.
        HostingResting {
            /// Number of the hosting.
            id: HostingId,
            /// The fork.
            fork: u64,
        },
        /// The hosting ends with the running challenge.
        HostingClosing {
            /// Its number.
            id: HostingId,
        },
        /// The hoster failed so many challenges that the hosting ends.
        HostingFailed {
            /// Its number.
            id: HostingId,
            /// How many, without one that passed between them.
            streak: u32,
        },
        /// The hosting ended.
        HostingClosed {
            /// Its number.
            id: HostingId,
            /// What went back to the sponsor.
            returned: BalanceOf<T>,
            /// What was burnt.
            burnt: BalanceOf<T>,
        },
    }

    /// Why a call is refused.
    #[pallet::error]
    pub enum Error<T> {
        /// The feed is published.
        AlreadyPublished,
        /// The manifest is not of version 1 with one signer.
        UnsupportedManifest,
        /// The manifest's hash is not the key.
        WrongFeedKey,
        /// The signer's key is no canonical encoding of a point of prime order.
        InvalidSigner,
        /// The signer's key is, or was until lately, a provider's.
        SignerTaken,
        /// No such feed was published.
        UnknownFeed,
        /// The account is no hoster that takes hostings.
        NotAHoster,
        /// The terms have an SLA without a bound, or with one of 0, which nobody could keep or break.
        InvalidSla,
        /// The attestors' reward is below `MinAttestorReward`.
        RewardTooSmall,
        /// No such hosting, or it ended.
        UnknownHosting,
        /// The hosting is another hoster's.
        NotTheHoster,
        /// The account is neither the sponsor nor the hoster.
        NotAParty,
        /// The hosting was accepted before.
        AlreadyAccepted,
        /// The hosting is not accepted yet.
        NotAccepted,
        /// The hosting was asked to close.
        Closing,
        /// The length is 0, above `MAX_LENGTH`, or below that of the terms.
        InvalidLength,
        /// Neither a greater length of the same fork nor a greater fork.
        NoProgress,
        /// A challenge of the hosting runs.
        Challenged,
        /// The escrow holds less, or less than `MinEscrow`.
        EscrowTooSmall,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn integrity_test() {
            assert!(T::MaxStreak::get() > 0, "no hosting could have a challenge");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), frame::deps::sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Make a feed known. Without a manifest, its key is its own signer's (compat); a manifest
        /// takes the place of that.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::publish_feed())]
        pub fn publish_feed(
            origin: OriginFor<T>,
            key: Hash,
            manifest: Option<Manifest>,
        ) -> DispatchResult {
            ensure_signed(origin)?;
            // Anybody may have published the hash of a manifest as if it were a signer's key, when it
            // happens to be one; the manifest proves that it is not.
            let is_proof = |feed: Feed| feed.kind == FeedKind::Compat && manifest.is_some();
            ensure!(
                Feeds::<T>::get(key).is_none_or(is_proof),
                Error::<T>::AlreadyPublished
            );
            let feed = Feed::new(key, manifest.as_ref().map(|bytes| bytes.as_slice())).map_err(
                |error| match error {
                    FeedError::UnsupportedManifest => Error::<T>::UnsupportedManifest,
                    FeedError::WrongKey => Error::<T>::WrongFeedKey,
                    FeedError::Signer(_) => Error::<T>::InvalidSigner,
                },
            )?;
            ensure!(
                !T::ProviderKeys::is_taken(&feed.signer),
                Error::<T>::SignerTaken
            );
            Feeds::<T>::insert(key, feed);
            Self::deposit_event(Event::FeedPublished {
                feed: key,
                signer: feed.signer,
            });
            Ok(())
        }

        /// Offer a hoster to pay for hosting a feed; holds the escrow.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::open_hosting())]
        pub fn open_hosting(
            origin: OriginFor<T>,
            feed: Hash,
            hoster: T::AccountId,
            escrow: BalanceOf<T>,
            terms: Terms<BalanceOf<T>>,
        ) -> DispatchResult {
            let sponsor = ensure_signed(origin)?;
            ensure!(Feeds::<T>::contains_key(feed), Error::<T>::UnknownFeed);
            ensure!(T::Hosters::is_active(&hoster), Error::<T>::NotAHoster);
            ensure!(
                (1..=MAX_LENGTH).contains(&terms.length),
                Error::<T>::InvalidLength
            );
            ensure!(
                terms.sla.is_none_or(|sla| sla.is_valid()),
                Error::<T>::InvalidSla
            );
            ensure!(
                terms.attestor_reward >= T::MinAttestorReward::get(),
                Error::<T>::RewardTooSmall
            );
            ensure!(escrow >= T::MinEscrow::get(), Error::<T>::EscrowTooSmall);
            T::Currency::hold(&HoldReason::Escrow.into(), &sponsor, escrow)?;
            let id = NextHostingId::<T>::mutate(|next| {
                let id = *next;
                next.saturating_inc();
                id
            });
            let hosting = Hosting {
                feed,
                sponsor: sponsor.clone(),
                hoster: hoster.clone(),
                terms,
                escrow,
                forfeited: Zero::zero(),
                bond: Zero::zero(),
                vouched: None,
                challenged: false,
                closing: false,
                streak: 0,
                resting: None,
            };
            HostingsById::<T>::insert(id, hosting);
            Self::deposit_event(Event::HostingOpened {
                id,
                feed,
                sponsor,
                hoster,
                escrow,
            });
            Ok(())
        }

        /// The hoster accepts: holds `HostingBond`, and vouches that it has and will keep all
        /// chunks below `length` of that fork, none of them above the size that an answer on chain
        /// can carry (128 KiB).
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::accept_hosting())]
        pub fn accept_hosting(
            origin: OriginFor<T>,
            id: HostingId,
            fork: u64,
            length: u64,
        ) -> DispatchResult {
            let hoster = ensure_signed(origin)?;
            Self::mutate(id, |hosting| {
                ensure!(hosting.hoster == hoster, Error::<T>::NotTheHoster);
                ensure!(hosting.vouched.is_none(), Error::<T>::AlreadyAccepted);
                ensure!(T::Hosters::is_active(&hoster), Error::<T>::NotAHoster);
                Self::check_length(hosting, length)?;
                let bond = T::HostingBond::get();
                T::Currency::hold(&HoldReason::HostingBond.into(), &hoster, bond)?;
                T::Hosters::engage(&hoster)?;
                hosting.bond = bond;
                hosting.vouched = Some(Vouched { fork, length });
                Ok(())
            })?;
            Self::deposit_event(Event::HostingAccepted { id, fork, length });
            T::OnHosting::on_ready(id);
            Ok(())
        }

        /// The hoster vouches for a greater length, or for a higher fork, from the next challenge
        /// on. A hosting that rests goes on with the fork that it rests for.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::vouch())]
        pub fn vouch(
            origin: OriginFor<T>,
            id: HostingId,
            fork: u64,
            length: u64,
        ) -> DispatchResult {
            let hoster = ensure_signed(origin)?;
            Self::mutate(id, |hosting| {
                ensure!(hosting.hoster == hoster, Error::<T>::NotTheHoster);
                let vouched = hosting.vouched.ok_or(Error::<T>::NotAccepted)?;
                ensure!(!hosting.closing, Error::<T>::Closing);
                Self::check_length(hosting, length)?;
                let progress =
                    fork > vouched.fork || (fork == vouched.fork && length > vouched.length);
                ensure!(progress, Error::<T>::NoProgress);
                hosting.vouched = Some(Vouched { fork, length });
                hosting.resting = hosting.resting.filter(|resting| fork < *resting);
                Ok(())
            })?;
            Self::deposit_event(Event::Vouched { id, fork, length });
            T::OnHosting::on_ready(id);
            Ok(())
        }

        /// Sponsor or hoster ends the hosting, or declines or withdraws the offer: at once, or when
        /// the running challenge ends. What is left of the escrow goes back to the sponsor, the
        /// bond to the hoster.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::close_hosting())]
        pub fn close_hosting(origin: OriginFor<T>, id: HostingId) -> DispatchResult {
            let party = ensure_signed(origin)?;
            let hosting = HostingsById::<T>::get(id).ok_or(Error::<T>::UnknownHosting)?;
            ensure!(
                party == hosting.sponsor || party == hosting.hoster,
                Error::<T>::NotAParty
            );
            ensure!(!hosting.closing, Error::<T>::Closing);
            if hosting.challenged {
                Self::mutate(id, |hosting| {
                    hosting.closing = true;
                    Ok(())
                })?;
                Self::deposit_event(Event::HostingClosing { id });
                return Ok(());
            }
            Self::end(id, hosting)?;
            T::OnHosting::on_closed(id);
            Ok(())
        }

        /// Add to the escrow. What is not spent goes to the sponsor in the end.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::top_up())]
        pub fn top_up(origin: OriginFor<T>, id: HostingId, amount: BalanceOf<T>) -> DispatchResult {
            let by = ensure_signed(origin)?;
            let accepted = Self::mutate(id, |hosting| {
                ensure!(!hosting.closing, Error::<T>::Closing);
                let reason = HoldReason::Escrow.into();
                if by == hosting.sponsor {
                    T::Currency::hold(&reason, &by, amount)?;
                } else {
                    T::Currency::transfer_and_hold(
                        &reason,
                        &by,
                        &hosting.sponsor,
                        amount,
                        Precision::Exact,
                        Preservation::Preserve,
                        Fortitude::Polite,
                    )?;
                }
                hosting.escrow.saturating_accrue(amount);
                Ok(hosting.vouched.is_some())
            })?;
            Self::deposit_event(Event::ToppedUp { id, by, amount });
            if accepted {
                T::OnHosting::on_funded(id);
            }
            Ok(())
        }
    }
}
