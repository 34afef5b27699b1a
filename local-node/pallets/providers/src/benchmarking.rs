//! Benchmarks of this pallet's calls and hook, each in its worst case; and the keys, accounts and
//! providers that the benchmarks of the pallets above need too.

use crate::{pallet::Providers, types::Task, *};
use codec::Encode;
use datdot_primitives::registration;
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use frame::{
    benchmarking::prelude::*,
    hashing::blake2_256,
    token::fungible::{Balanced, Inspect},
};

/// A key made of what it is for.
pub fn key(purpose: impl Encode) -> SigningKey {
    SigningKey::from(blake2_256(&("key", purpose).encode()))
}

/// The public half of a key.
pub fn public(key: &SigningKey) -> PublicKey {
    VerificationKeyBytes::from(key).into()
}

/// The key that a provider registers with in these benchmarks.
pub fn provider_key(role: Role, index: u32) -> SigningKey {
    key((role, index))
}

/// An account with money for all that a benchmark makes it pay.
pub fn rich<T: Config>(name: &'static str, index: u32) -> T::AccountId {
    let who: T::AccountId = account(name, index, 0);
    let bonds = T::AttestorBond::get().saturating_add(T::HosterBond::get());
    let amount = bonds
        .saturating_add(T::Currency::minimum_balance())
        .saturating_mul(1_000_000u32.into());
    let nothing_left = T::Currency::resolve(&who, T::Currency::issue(amount)).is_ok();
    assert!(nothing_left, "the account takes money");
    who
}

/// The account that registers as this provider.
pub fn provider_account<T: Config>(role: Role, index: u32) -> T::AccountId {
    match role {
        Role::Attestor => account("attestor", index, 0),
        Role::Hoster => account("hoster", index, 0),
    }
}

/// Where all providers listen.
pub fn endpoint() -> Endpoint {
    Endpoint {
        ip: Ip::V6([
            0x2a, 0, 0x14, 0x50, 0x40, 1, 8, 1, 0, 0, 0, 0, 0, 0, 0x20, 0xe,
        ]),
        port: 7_000,
    }
}

/// The proof that an account holds a key.
pub fn proof<T: Config>(role: Role, key: &SigningKey, who: &T::AccountId) -> Signature {
    let genesis = System::<T>::block_hash(BlockNumberFor::<T>::zero());
    let message = registration::message(&genesis.into(), role, &who.clone().into());
    key.sign(&message).into()
}

/// Registers a provider with as much capacity as there can be; its account.
pub fn register<T: Config>(role: Role, index: u32) -> T::AccountId {
    let name = match role {
        Role::Attestor => "attestor",
        Role::Hoster => "hoster",
    };
    let who = rich::<T>(name, index);
    register_account::<T>(role, index, &who);
    who
}

/// Registers this account as a provider.
pub fn register_account<T: Config>(role: Role, index: u32, who: &T::AccountId) {
    let key = provider_key(role, index);
    let proof = proof::<T>(role, &key, who);
    let origin = RawOrigin::Signed(who.clone()).into();
    let registered = match role {
        Role::Attestor => Pallet::<T>::register_attestor(
            origin,
            public(&key),
            endpoint(),
            T::MaxCapacity::get(),
            proof,
        ),
        Role::Hoster => Pallet::<T>::register_hoster(origin, public(&key), endpoint(), proof),
    };
    registered.expect("a good provider registers");
}

/// Goes on to the block in which all that was asked for takes effect.
pub fn activate<T: Config>() {
    // What has no room in its block waits for one of the next.
    let first = System::<T>::block_number().saturating_add(T::MinAge::get().max(One::one()));
    for later in 0..4u32 {
        let block = first.saturating_add(later.into());
        System::<T>::set_block_number(block);
        Pallet::<T>::on_initialize(block);
    }
}

/// Fills the lists of tasks from so many blocks later on, all but the last in which a task may be
/// put.
pub fn fill_tasks<T: Config>(later: BlockNumberFor<T>) {
    let mut block = System::<T>::block_number().saturating_add(later);
    for _ in 0..MAX_POSTPONEMENT {
        let mut tasks = Tasks::<T>::get(block);
        while tasks.try_push(Task::FreeKey([7; 32])).is_ok() {}
        Tasks::<T>::insert(block, tasks);
        block.saturating_inc();
    }
}

/// Active attestors, so many: the account of the first, which is not the last in the list of
/// eligible ones if there are others.
fn attestors<T: Config>(count: u32) -> T::AccountId {
    for index in 0..count {
        register::<T>(Role::Attestor, index);
    }
    activate::<T>();
    provider_account::<T>(Role::Attestor, 0)
}

/// The blocks that a change of activity waits.
fn min_age<T: Config>() -> BlockNumberFor<T> {
    T::MinAge::get().max(One::one())
}

#[benchmarks]
mod benches {
    use super::*;

    #[benchmark]
    fn register_attestor() -> Result<(), BenchmarkError> {
        let who = rich::<T>("attestor", 0);
        let key = provider_key(Role::Attestor, 0);
        let proof = proof::<T>(Role::Attestor, &key, &who);
        fill_tasks::<T>(min_age::<T>());

        #[extrinsic_call]
        _(
            RawOrigin::Signed(who.clone()),
            public(&key),
            endpoint(),
            T::MaxCapacity::get(),
            proof,
        );

        assert!(Providers::<T>::contains_key(Role::Attestor, &who));
        Ok(())
    }

    #[benchmark]
    fn register_hoster() -> Result<(), BenchmarkError> {
        let who = rich::<T>("hoster", 0);
        let key = provider_key(Role::Hoster, 0);
        let proof = proof::<T>(Role::Hoster, &key, &who);
        fill_tasks::<T>(min_age::<T>());

        #[extrinsic_call]
        _(
            RawOrigin::Signed(who.clone()),
            public(&key),
            endpoint(),
            proof,
        );

        assert!(Providers::<T>::contains_key(Role::Hoster, &who));
        Ok(())
    }

    #[benchmark]
    fn set_endpoint() -> Result<(), BenchmarkError> {
        let who = attestors::<T>(1);
        let mut endpoint = endpoint();
        endpoint.port = 1;

        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), Role::Attestor, endpoint);

        let provider = Providers::<T>::get(Role::Attestor, &who).ok_or("it is registered")?;
        assert_eq!(provider.endpoint, endpoint);
        Ok(())
    }

    /// An attestor that is engaged lowers its capacity so far that it can be drawn no more.
    #[benchmark]
    fn set_capacity() -> Result<(), BenchmarkError> {
        let who = attestors::<T>(2);
        <Pallet<T> as AttestorPool>::enter(&who)?;

        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), 1);

        assert!(!EligiblePosition::<T>::contains_key(&who));
        Ok(())
    }

    #[benchmark]
    fn set_session_key() -> Result<(), BenchmarkError> {
        let who = attestors::<T>(1);
        let key = key("another");
        let proof = proof::<T>(Role::Attestor, &key, &who);
        fill_tasks::<T>(T::UnbondingBlocks::get());

        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), public(&key), proof);

        assert!(Keys::<T>::contains_key(public(&key)));
        Ok(())
    }

    #[benchmark]
    fn drain() -> Result<(), BenchmarkError> {
        let who = attestors::<T>(1);
        fill_tasks::<T>(min_age::<T>());

        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), Role::Attestor);

        let provider = Providers::<T>::get(Role::Attestor, &who).ok_or("it is registered")?;
        assert!(!provider.wants_work());
        Ok(())
    }

    /// An attestor whose bond is to be made whole.
    #[benchmark]
    fn undrain() -> Result<(), BenchmarkError> {
        let who = attestors::<T>(1);
        drop(<Pallet<T> as AttestorPool>::expel(
            &who,
            T::AttestorBond::get(),
        ));
        fill_tasks::<T>(min_age::<T>());

        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), Role::Attestor);

        let provider = Providers::<T>::get(Role::Attestor, &who).ok_or("it is registered")?;
        assert!(provider.wants_work());
        Ok(())
    }

    /// An attestor in the middle of the list of eligible ones.
    #[benchmark]
    fn deregister() -> Result<(), BenchmarkError> {
        let who = attestors::<T>(2);
        fill_tasks::<T>(T::UnbondingBlocks::get());

        #[extrinsic_call]
        _(RawOrigin::Signed(who.clone()), Role::Attestor);

        assert!(!Providers::<T>::contains_key(Role::Attestor, &who));
        Ok(())
    }

    #[benchmark]
    fn withdraw_bond() -> Result<(), BenchmarkError> {
        let who = attestors::<T>(1);
        let origin = RawOrigin::Signed(who.clone());
        Pallet::<T>::deregister(origin.clone().into(), Role::Attestor)?;
        let free_at = System::<T>::block_number().saturating_add(T::UnbondingBlocks::get());
        System::<T>::set_block_number(free_at);

        #[extrinsic_call]
        _(origin, Role::Attestor);

        assert!(!Unbondings::<T>::contains_key(Role::Attestor, &who));
        Ok(())
    }

    /// Registrations of `t` attestors take effect.
    #[benchmark]
    fn on_initialize(t: Linear<0, { T::MaxTasksPerBlock::get() }>) -> Result<(), BenchmarkError> {
        for index in 0..t {
            register::<T>(Role::Attestor, index);
        }
        let due = System::<T>::block_number().saturating_add(min_age::<T>());
        System::<T>::set_block_number(due);

        #[block]
        {
            Pallet::<T>::on_initialize(due);
        }

        assert_eq!(EligibleCount::<T>::get(), t);
        Ok(())
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(false), crate::mock::Test);
}
