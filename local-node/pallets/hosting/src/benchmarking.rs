//! Benchmarks of this pallet's calls, each in its worst case with what listens to it; and the
//! feeds and hostings that the benchmarks of the pallet above need too.

use crate::*;
use datdot_primitives::{head, Hash};
use frame::{benchmarking::prelude::*, token::fungible::Inspect};
use pallet_providers::{
    benchmarking::{activate, key, public, register, rich},
    Role,
};

/// The number of chunks that all hostings of these benchmarks are about.
pub const LENGTH: u64 = 4_096;

/// The feed's key and manifest.
pub fn feed() -> (Hash, Manifest) {
    let manifest = head::single_signer_manifest(&[9; 32], &public(&key("author")));
    (head::manifest_key(&manifest), manifest)
}

/// Terms that pay everybody enough to keep an account.
pub fn terms<T: Config>() -> Terms<BalanceOf<T>> {
    let reward = T::Currency::minimum_balance()
        .saturating_mul(2u32.into())
        .max(T::MinAttestorReward::get())
        .max(One::one());
    Terms {
        hoster_reward: reward,
        attestor_reward: reward,
        length: LENGTH,
        sla: Some(Sla {
            latency_p50_us: Some(u32::MAX),
            throughput: Some(1),
        }),
    }
}

/// What the largest challenges cost, ten of them.
pub fn escrow<T: Config>() -> BalanceOf<T> {
    let attestors = datdot_primitives::draws::MAX_ATTESTORS;
    let challenge = terms::<T>().whole_challenge(attestors);
    challenge
        .expect("the rewards are small")
        .saturating_mul(10u32.into())
}

/// Publishes the feed and registers the hoster; sponsor and hoster.
pub fn parties<T: Config + pallet_providers::Config>() -> (T::AccountId, T::AccountId) {
    let sponsor = rich::<T>("sponsor", 0);
    let hoster = register::<T>(Role::Hoster, 0);
    activate::<T>();
    let (feed, manifest) = feed();
    let origin = RawOrigin::Signed(sponsor.clone()).into();
    Pallet::<T>::publish_feed(origin, feed, Some(manifest)).expect("the feed can be published");
    (sponsor, hoster)
}

/// The sponsor's offer to the hoster.
pub fn open<T: Config>(sponsor: &T::AccountId, hoster: &T::AccountId) -> HostingId {
    let id = NextHostingId::<T>::get();
    let origin = RawOrigin::Signed(sponsor.clone()).into();
    let (feed, _) = feed();
    Pallet::<T>::open_hosting(origin, feed, hoster.clone(), escrow::<T>(), terms::<T>())
        .expect("a sponsor with money opens a hosting");
    id
}

/// A hosting that the hoster has accepted.
pub fn accept<T: Config>(sponsor: &T::AccountId, hoster: &T::AccountId) -> HostingId {
    let id = open::<T>(sponsor, hoster);
    let origin = RawOrigin::Signed(hoster.clone()).into();
    Pallet::<T>::accept_hosting(origin, id, 0, LENGTH).expect("an active hoster accepts");
    id
}

#[benchmarks(where T: pallet_providers::Config)]
mod benches {
    use super::*;

    #[benchmark]
    fn publish_feed() -> Result<(), BenchmarkError> {
        let who = rich::<T>("publisher", 0);
        let (feed, manifest) = feed();

        #[extrinsic_call]
        _(RawOrigin::Signed(who), feed, Some(manifest));

        assert!(Feeds::<T>::contains_key(feed));
        Ok(())
    }

    #[benchmark]
    fn open_hosting() -> Result<(), BenchmarkError> {
        let (sponsor, hoster) = parties::<T>();
        let (feed, _) = feed();

        #[extrinsic_call]
        _(
            RawOrigin::Signed(sponsor),
            feed,
            hoster,
            escrow::<T>(),
            terms::<T>(),
        );

        assert!(HostingsById::<T>::contains_key(0));
        Ok(())
    }

    #[benchmark]
    fn accept_hosting() -> Result<(), BenchmarkError> {
        let (sponsor, hoster) = parties::<T>();
        let id = open::<T>(&sponsor, &hoster);

        #[extrinsic_call]
        _(RawOrigin::Signed(hoster), id, 0, LENGTH);

        let hosting = HostingsById::<T>::get(id).ok_or("it is open")?;
        assert!(hosting.vouched.is_some());
        Ok(())
    }

    #[benchmark]
    fn vouch() -> Result<(), BenchmarkError> {
        let (sponsor, hoster) = parties::<T>();
        let id = accept::<T>(&sponsor, &hoster);

        #[extrinsic_call]
        _(RawOrigin::Signed(hoster), id, 1, LENGTH);

        let hosting = HostingsById::<T>::get(id).ok_or("it is open")?;
        assert_eq!(hosting.vouched.map(|vouched| vouched.fork), Some(1));
        Ok(())
    }

    /// A hosting that waits for a challenge, with a part of the escrow to be burnt.
    #[benchmark]
    fn close_hosting() -> Result<(), BenchmarkError> {
        let (sponsor, hoster) = parties::<T>();
        let id = accept::<T>(&sponsor, &hoster);
        <Pallet<T> as Hostings>::forfeit(id, terms::<T>().hoster_reward);

        #[extrinsic_call]
        _(RawOrigin::Signed(hoster), id);

        assert!(!HostingsById::<T>::contains_key(id));
        Ok(())
    }

    /// By somebody else than the sponsor, to a hosting that waits for a challenge.
    #[benchmark]
    fn top_up() -> Result<(), BenchmarkError> {
        let (sponsor, hoster) = parties::<T>();
        let id = accept::<T>(&sponsor, &hoster);
        let giver = rich::<T>("giver", 0);
        let before = escrow::<T>();

        #[extrinsic_call]
        _(RawOrigin::Signed(giver), id, before);

        let hosting = HostingsById::<T>::get(id).ok_or("it is open")?;
        assert!(hosting.escrow > before);
        Ok(())
    }

    impl_benchmark_test_suite!(Pallet, crate::mock::new_test_ext(), crate::mock::Test);
}
