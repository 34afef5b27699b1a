//! Attestors and hosters: their keys, endpoints and bonds (challenge.md §2.1).
//!
//! An account registers for a role with a key that it proves to hold, an endpoint and a bond. A
//! registration, a drain and its end take effect `MinAge` blocks later, so that nobody joins or
//! leaves the pool in view of the randomness of the next draw. Attestors that can be drawn form a
//! dense list. Replaced keys stay reserved, and bonds held, for `UnbondingBlocks`.
//!
//! An attestor whose fraud was proven loses its bond, or what is still held of it after it left, and
//! is drawn no more from that moment on; `undrain` asks for the full bond before it is again. A
//! proof is judged in the block that brings it and is taken only while the bond is held, so nothing
//! is ever pending when a bond becomes free.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

#[cfg(feature = "runtime-benchmarks")]
pub mod benchmarking;
mod endpoint;
mod impls;
pub mod traits;
pub mod types;
pub mod weights;

#[cfg(test)]
mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use traits::{AttestorPool, HosterRegistry, KeyRegistry};
pub use types::{Change, Endpoint, Ip, KeyUse, Provider, Role, Task, Unbonding};
pub use weights::WeightInfo;

use datdot_primitives::{PublicKey, Signature};
use frame::{
    prelude::*,
    token::fungible::{self, MutateHold as _},
};

/// Money, in the runtime's currency.
pub type BalanceOf<T> =
    <<T as Config>::Currency as fungible::Inspect<<T as frame_system::Config>::AccountId>>::Balance;
/// Money that was taken out of a bond.
pub type CreditOf<T> =
    fungible::Credit<<T as frame_system::Config>::AccountId, <T as Config>::Currency>;
/// A provider with the runtime's types.
pub type ProviderOf<T> = Provider<BalanceOf<T>, BlockNumberFor<T>>;
/// A task with the runtime's types.
pub type TaskOf<T> = Task<<T as frame_system::Config>::AccountId>;

/// How many blocks later than it should a task may be put, when its own block's list is full.
pub const MAX_POSTPONEMENT: u32 = 32;

/// Attestors and hosters: their keys, endpoints and bonds (challenge.md §2.1).
#[frame::pallet]
pub mod pallet {
    use super::*;

    /// What the pallet needs from the runtime.
    #[pallet::config]
    pub trait Config:
        frame_system::Config<AccountId: Into<[u8; 32]>, Hash: Into<[u8; 32]>>
    {
        /// The currency that bonds are held in.
        type Currency: fungible::MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason>
            + fungible::BalancedHold<Self::AccountId>;

        /// The runtime's reasons of holds.
        type RuntimeHoldReason: From<HoldReason>;

        /// What an attestor puts up.
        #[pallet::constant]
        type AttestorBond: Get<BalanceOf<Self>>;

        /// What a hoster puts up.
        #[pallet::constant]
        type HosterBond: Get<BalanceOf<Self>>;

        /// The greatest capacity of an attestor.
        #[pallet::constant]
        type MaxCapacity: Get<u32>;

        /// How long after a provider's last challenge its bond stays held, and how long a key that
        /// was replaced stays reserved.
        #[pallet::constant]
        type UnbondingBlocks: Get<BlockNumberFor<Self>>;

        /// After how many blocks a registration, a drain or its end takes effect; at least 1.
        type MinAge: Get<BlockNumberFor<Self>>;

        /// The most tasks that one block does.
        #[pallet::constant]
        type MaxTasksPerBlock: Get<u32>;

        /// What calls cost.
        type WeightInfo: WeightInfo;
    }

    /// The layout of what is stored: that of the first runtime that had the pallet.
    pub(crate) const STORAGE_VERSION: StorageVersion = StorageVersion::new(0);

    /// The pallet itself.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// Why a provider's money is held.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// An attestor's bond.
        AttestorBond,
        /// A hoster's bond.
        HosterBond,
    }

    /// The registered providers.
    #[pallet::storage]
    pub type Providers<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        Role,
        Blake2_128Concat,
        T::AccountId,
        ProviderOf<T>,
        OptionQuery,
    >;

    /// Bonds of providers that deregistered and have not taken them back.
    #[pallet::storage]
    pub type Unbondings<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        Role,
        Blake2_128Concat,
        T::AccountId,
        Unbonding<BalanceOf<T>, BlockNumberFor<T>>,
        OptionQuery,
    >;

    /// Whose each key is, present and reserved ones.
    #[pallet::storage]
    pub type Keys<T: Config> =
        StorageMap<_, Blake2_128Concat, PublicKey, KeyUse<T::AccountId>, OptionQuery>;

    /// The attestors that can be drawn, at the positions 0 … [`EligibleCount`] − 1.
    #[pallet::storage]
    pub type Eligible<T: Config> = StorageMap<_, Twox64Concat, u32, T::AccountId, OptionQuery>;

    /// Length of the list of eligible attestors.
    #[pallet::storage]
    pub type EligibleCount<T: Config> = StorageValue<_, u32, ValueQuery>;

    /// The position of each eligible attestor.
    #[pallet::storage]
    pub type EligiblePosition<T: Config> =
        StorageMap<_, Blake2_128Concat, T::AccountId, u32, OptionQuery>;

    /// The block in which the list of eligible attestors changed last.
    #[pallet::storage]
    pub type EligibleChangedAt<T: Config> = StorageValue<_, BlockNumberFor<T>, ValueQuery>;

    /// What is to be done at the start of each block.
    #[pallet::storage]
    pub type Tasks<T: Config> = StorageMap<
        _,
        Twox64Concat,
        BlockNumberFor<T>,
        BoundedVec<TaskOf<T>, T::MaxTasksPerBlock>,
        ValueQuery,
    >;

    /// Whether endpoints in private networks are taken; fixed at genesis, for development.
    #[pallet::storage]
    pub type AllowPrivateEndpoints<T: Config> = StorageValue<_, bool, ValueQuery>;

    /// The state of a new chain.
    #[pallet::genesis_config]
    #[derive(DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// Take endpoints in private networks.
        pub allow_private_endpoints: bool,
        #[serde(skip)]
        #[doc(hidden)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            AllowPrivateEndpoints::<T>::put(self.allow_private_endpoints);
        }
    }

    /// What happened to providers.
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// An account registered; it takes work from the block `effective` on.
        Registered {
            /// The provider.
            account: T::AccountId,
            /// As what.
            role: Role,
            /// Its session or Noise key.
            key: PublicKey,
            /// Where it listens.
            endpoint: Endpoint,
            /// The block.
            effective: BlockNumberFor<T>,
        },
        /// A provider listens elsewhere.
        EndpointSet {
            /// The provider.
            account: T::AccountId,
            /// As what.
            role: Role,
            /// Where.
            endpoint: Endpoint,
        },
        /// An attestor takes another number of challenges at a time.
        CapacitySet {
            /// The attestor.
            account: T::AccountId,
            /// How many.
            capacity: u32,
        },
        /// An attestor has another session key; the old one stays reserved.
        SessionKeySet {
            /// The attestor.
            account: T::AccountId,
            /// The new key.
            key: PublicKey,
        },
        /// A provider takes no more work from the block `effective` on.
        Draining {
            /// The provider.
            account: T::AccountId,
            /// As what.
            role: Role,
            /// The block.
            effective: BlockNumberFor<T>,
        },
        /// A drained provider takes work again from the block `effective` on.
        Undraining {
            /// The provider.
            account: T::AccountId,
            /// As what.
            role: Role,
            /// The block.
            effective: BlockNumberFor<T>,
        },
        /// A registration, a drain or its end took effect.
        ActivityChanged {
            /// The provider.
            account: T::AccountId,
            /// As what.
            role: Role,
            /// Whether it takes work now.
            active: bool,
        },
        /// A provider left; its bond is free from the block `free_at` on.
        Deregistered {
            /// The former provider.
            account: T::AccountId,
            /// As what.
            role: Role,
            /// The block.
            free_at: BlockNumberFor<T>,
        },
        /// A former provider took its bond back.
        BondWithdrawn {
            /// The former provider.
            account: T::AccountId,
            /// As what.
            role: Role,
            /// How much.
            amount: BalanceOf<T>,
        },
        /// Money was taken out of a bond.
        BondSlashed {
            /// The provider.
            account: T::AccountId,
            /// As what.
            role: Role,
            /// How much.
            amount: BalanceOf<T>,
        },
        /// A provider takes no work from now on, and a change that waited is dropped: its fraud was
        /// proven.
        Deactivated {
            /// The provider.
            account: T::AccountId,
            /// As what.
            role: Role,
        },
    }

    /// Why a call is refused.
    #[pallet::error]
    pub enum Error<T> {
        /// The account is registered for this role.
        AlreadyRegistered,
        /// The account is not registered for this role.
        NotRegistered,
        /// The account's last bond for this role has to be withdrawn first.
        BondNotWithdrawn,
        /// The key is no canonical encoding of a point of prime order.
        InvalidKey,
        /// The key is, or was until lately, a provider's.
        KeyTaken,
        /// The proof is no signature by the key over this chain, role and account.
        InvalidProof,
        /// The endpoint has port 0, or its address is not that of one machine.
        InvalidEndpoint,
        /// The endpoint lies in a private network.
        PrivateEndpoint,
        /// The capacity is 0 or above `MaxCapacity`.
        InvalidCapacity,
        /// The provider is drained, or is about to be.
        AlreadyDrained,
        /// The provider is not drained, nor about to be.
        NotDrained,
        /// The attestor is in an open challenge, or the hoster has a hosting.
        Engaged,
        /// There is no bond to withdraw.
        NoBond,
        /// The bond is not free yet.
        BondNotFree,
        /// Too many changes wait for the next blocks; try again later.
        TooManyTasks,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(now: BlockNumberFor<T>) -> Weight {
            let tasks = Tasks::<T>::take(now);
            let count = tasks.len() as u32;
            for task in tasks {
                Self::run(task, now);
            }
            T::WeightInfo::on_initialize(count)
        }

        fn integrity_test() {
            assert!(
                T::MaxTasksPerBlock::get() > 0,
                "MaxTasksPerBlock must not be 0"
            );
            assert!(T::MaxCapacity::get() > 0, "MaxCapacity must not be 0");
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), frame::try_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Become an attestor: holds `AttestorBond`. It may be drawn from `MinAge` blocks later on,
        /// for at most `capacity` challenges at a time. `proof` is the session key's signature over
        /// `TAG(register) ‖ genesis ‖ 0 ‖ account`.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::register_attestor())]
        pub fn register_attestor(
            origin: OriginFor<T>,
            session_key: PublicKey,
            endpoint: Endpoint,
            capacity: u32,
            proof: Signature,
        ) -> DispatchResult {
            let account = ensure_signed(origin)?;
            Self::check_capacity(capacity)?;
            Self::register(
                account,
                Role::Attestor,
                session_key,
                endpoint,
                capacity,
                proof,
            )
        }

        /// Become a hoster: holds `HosterBond`. It may accept hostings from `MinAge` blocks later
        /// on. `proof` is the Noise key's signature over `TAG(register) ‖ genesis ‖ 1 ‖ account`.
        #[pallet::call_index(1)]
        #[pallet::weight(T::WeightInfo::register_hoster())]
        pub fn register_hoster(
            origin: OriginFor<T>,
            noise_key: PublicKey,
            endpoint: Endpoint,
            proof: Signature,
        ) -> DispatchResult {
            let account = ensure_signed(origin)?;
            Self::register(account, Role::Hoster, noise_key, endpoint, 0, proof)
        }

        /// Listen elsewhere, at once.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::set_endpoint())]
        pub fn set_endpoint(
            origin: OriginFor<T>,
            role: Role,
            endpoint: Endpoint,
        ) -> DispatchResult {
            let account = ensure_signed(origin)?;
            Self::check_endpoint(&endpoint)?;
            Self::mutate(role, &account, |provider| {
                provider.endpoint = endpoint;
                Ok(())
            })?;
            Self::deposit_event(Event::EndpointSet {
                account,
                role,
                endpoint,
            });
            Ok(())
        }

        /// Take part in at most `capacity` challenges at a time, at once; those that are open go
        /// on.
        #[pallet::call_index(3)]
        #[pallet::weight(T::WeightInfo::set_capacity())]
        pub fn set_capacity(origin: OriginFor<T>, capacity: u32) -> DispatchResult {
            let account = ensure_signed(origin)?;
            Self::check_capacity(capacity)?;
            Self::mutate(Role::Attestor, &account, |provider| {
                provider.capacity = capacity;
                Ok(())
            })?;
            Self::deposit_event(Event::CapacitySet { account, capacity });
            Ok(())
        }

        /// Use another session key in challenges to come; those that are open go on with the old
        /// one, which stays reserved for `UnbondingBlocks`.
        #[pallet::call_index(4)]
        #[pallet::weight(T::WeightInfo::set_session_key())]
        pub fn set_session_key(
            origin: OriginFor<T>,
            key: PublicKey,
            proof: Signature,
        ) -> DispatchResult {
            let account = ensure_signed(origin)?;
            Self::mutate(Role::Attestor, &account, |provider| {
                Self::claim_key(&account, Role::Attestor, key, &proof)?;
                Self::reserve_key(&account, provider.key)?;
                provider.key = key;
                Ok(())
            })?;
            Self::deposit_event(Event::SessionKeySet { account, key });
            Ok(())
        }

        /// Take no more work, from `MinAge` blocks later on: an attestor is drawn no more, a hoster
        /// accepts no more hostings. What is open goes on.
        #[pallet::call_index(5)]
        #[pallet::weight(T::WeightInfo::drain())]
        pub fn drain(origin: OriginFor<T>, role: Role) -> DispatchResult {
            let account = ensure_signed(origin)?;
            let effective = Self::mutate(role, &account, |provider| {
                ensure!(provider.wants_work(), Error::<T>::AlreadyDrained);
                Self::schedule_change(&account, role, provider, false)
            })?;
            Self::deposit_event(Event::Draining {
                account,
                role,
                effective,
            });
            Ok(())
        }

        /// Take work again, from `MinAge` blocks later on. Holds what fees and slashes have taken of
        /// the bond, and fails if the account has not that much.
        #[pallet::call_index(6)]
        #[pallet::weight(T::WeightInfo::undrain())]
        pub fn undrain(origin: OriginFor<T>, role: Role) -> DispatchResult {
            let account = ensure_signed(origin)?;
            let effective = Self::mutate(role, &account, |provider| {
                ensure!(!provider.wants_work(), Error::<T>::NotDrained);
                let missing = Self::bond(role).saturating_sub(provider.bond);
                T::Currency::hold(&Self::hold_reason(role).into(), &account, missing)?;
                provider.bond.saturating_accrue(missing);
                provider.absences = 0;
                Self::schedule_change(&account, role, provider, true)
            })?;
            Self::deposit_event(Event::Undraining {
                account,
                role,
                effective,
            });
            Ok(())
        }

        /// Leave, at once; refused while the attestor is in an open challenge or the hoster has a
        /// hosting. The bond is free `UnbondingBlocks` after the last of them ended.
        #[pallet::call_index(7)]
        #[pallet::weight(T::WeightInfo::deregister())]
        pub fn deregister(origin: OriginFor<T>, role: Role) -> DispatchResult {
            let account = ensure_signed(origin)?;
            let provider = Providers::<T>::get(role, &account).ok_or(Error::<T>::NotRegistered)?;
            ensure!(provider.engagements == 0, Error::<T>::Engaged);
            Self::reserve_key(&account, provider.key)?;
            Self::leave_pool(&account, role);
            Providers::<T>::remove(role, &account);
            let free_at = provider
                .last_closed
                .saturating_add(T::UnbondingBlocks::get());
            Unbondings::<T>::insert(
                role,
                &account,
                Unbonding {
                    amount: provider.bond,
                    free_at,
                },
            );
            Self::deposit_event(Event::Deregistered {
                account,
                role,
                free_at,
            });
            Ok(())
        }

        /// Take the bond of a given up role back, once it is free.
        #[pallet::call_index(8)]
        #[pallet::weight(T::WeightInfo::withdraw_bond())]
        pub fn withdraw_bond(origin: OriginFor<T>, role: Role) -> DispatchResult {
            let account = ensure_signed(origin)?;
            let Unbonding { amount, free_at } =
                Unbondings::<T>::take(role, &account).ok_or(Error::<T>::NoBond)?;
            let now = frame_system::Pallet::<T>::block_number();
            ensure!(now >= free_at, Error::<T>::BondNotFree);
            T::Currency::release(
                &Self::hold_reason(role).into(),
                &account,
                amount,
                tokens::Precision::Exact,
            )?;
            Self::deposit_event(Event::BondWithdrawn {
                account,
                role,
                amount,
            });
            Ok(())
        }
    }
}
