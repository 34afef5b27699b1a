//! Every call, error and event, and what a challenge does to a hosting.

use crate::{
    mock::{Hosting, *},
    *,
};
use frame::{
    testing_prelude::*,
    token::fungible::{Balanced, Inspect, InspectHold},
    traits::Imbalance,
};
use pallet_providers::Role;

type PalletError = Error<Test>;

fn signed(account: AccountId) -> RuntimeOrigin {
    RuntimeOrigin::signed(account)
}

fn held(reason: HoldReason, account: &AccountId) -> Balance {
    Balances::balance_on_hold(&reason.into(), account)
}

fn escrow_of_sponsor() -> Balance {
    held(HoldReason::Escrow, &SPONSOR)
}

#[test]
fn a_compat_feed_is_its_own_signer() {
    on_chain(|| {
        let key = public(60);
        assert_ok!(Hosting::publish_feed(signed(STRANGER), key, None));
        System::assert_last_event(
            Event::<Test>::FeedPublished {
                feed: key,
                signer: key,
            }
            .into(),
        );
        assert_eq!(Feeds::<Test>::get(key), Feed::new(key, None).ok());
        assert_noop!(
            Hosting::publish_feed(signed(STRANGER), key, None),
            PalletError::AlreadyPublished
        );
    });
}

#[test]
fn a_manifest_names_the_signer_and_hashes_to_the_key() {
    on_chain(|| {
        let signer = public(60);
        let (key, manifest) = manifest(&signer);
        let publish = |key, manifest| Hosting::publish_feed(signed(STRANGER), key, Some(manifest));
        for at in 0..6 {
            let mut other = manifest;
            other[at] ^= 2;
            assert_noop!(publish(key, other), PalletError::UnsupportedManifest);
        }
        let mut other = manifest;
        other[10] ^= 1;
        assert_noop!(publish(key, other), PalletError::WrongFeedKey);
        assert_noop!(publish(signer, manifest), PalletError::WrongFeedKey);
        assert_ok!(publish(key, manifest));
        System::assert_last_event(Event::<Test>::FeedPublished { feed: key, signer }.into());
    });
}

#[test]
fn nobody_can_keep_a_feed_from_its_author_by_publishing_its_key_as_a_signer_s() {
    use datdot_primitives::{head, keys};
    on_chain(|| {
        // The hash of a manifest is a good key now and then.
        let signer = public(60);
        let (key, manifest) = (0..)
            .map(|namespace| head::single_signer_manifest(&[namespace; 32], &signer))
            .map(|manifest| (head::manifest_key(&manifest), manifest))
            .find(|(key, _)| keys::check_public_key(key).is_ok())
            .unwrap();
        let publish = |manifest| Hosting::publish_feed(signed(STRANGER), key, manifest);
        assert_ok!(publish(None));
        assert_ok!(publish(Some(manifest)));
        assert_eq!(Feeds::<Test>::get(key).unwrap().signer, signer);
        for again in [None, Some(manifest)] {
            assert_noop!(publish(again), PalletError::AlreadyPublished);
        }
    });
}

#[test]
fn a_signer_must_be_a_good_key_that_is_no_provider_s() {
    on_chain(|| {
        let publish = |signer| {
            let (key, manifest) = manifest(&signer);
            Hosting::publish_feed(signed(STRANGER), key, Some(manifest))
        };
        assert_noop!(publish([0; 32]), PalletError::InvalidSigner);
        assert_noop!(
            Hosting::publish_feed(signed(STRANGER), [0; 32], None),
            PalletError::InvalidSigner
        );
        assert_noop!(publish(public(1)), PalletError::SignerTaken);
        assert_noop!(publish(public(2)), PalletError::SignerTaken);
        assert_noop!(
            Hosting::publish_feed(RuntimeOrigin::none(), public(3), None),
            DispatchError::BadOrigin
        );
    });
}

#[test]
fn an_offer_holds_its_escrow() {
    on_chain(|| {
        let id = open();
        System::assert_last_event(
            Event::<Test>::HostingOpened {
                id,
                feed: feed(),
                sponsor: SPONSOR,
                hoster: HOSTER,
                escrow: 5_000,
            }
            .into(),
        );
        assert_eq!(escrow_of_sponsor(), 5_000);
        assert!(heard().is_empty());
        assert_eq!(Hosting::get(id), None);
        assert_eq!(open(), id + 1);
    });
}

#[test]
fn bad_offers_are_refused() {
    on_chain(|| {
        let offer = |feed, hoster, escrow, terms| {
            Hosting::open_hosting(signed(SPONSOR), feed, hoster, escrow, terms)
        };
        assert_noop!(offer([7; 32], HOSTER, 1, terms()), PalletError::UnknownFeed);
        assert_noop!(offer(feed(), STRANGER, 1, terms()), PalletError::NotAHoster);
        assert_noop!(offer(feed(), ATTESTOR, 1, terms()), PalletError::NotAHoster);
        assert_noop!(
            offer(feed(), HOSTER, ENDOWMENT, terms()),
            TokenError::FundsUnavailable
        );
        for length in [0, MAX_LENGTH + 1] {
            let terms = Terms { length, ..terms() };
            assert_noop!(offer(feed(), HOSTER, 1, terms), PalletError::InvalidLength);
        }
        for (latency_p50_us, throughput) in [
            (None, None),
            (Some(0), None),
            (None, Some(0)),
            (Some(1), Some(0)),
            (Some(0), Some(1)),
        ] {
            let sla = Some(Sla {
                latency_p50_us,
                throughput,
            });
            assert_noop!(
                offer(feed(), HOSTER, 1, Terms { sla, ..terms() }),
                PalletError::InvalidSla
            );
        }
        // Attestors are drawn for it, and everybody keeps it.
        let poor = Terms {
            attestor_reward: MIN_REWARD - 1,
            ..terms()
        };
        assert_noop!(
            offer(feed(), HOSTER, MIN_ESCROW, poor),
            PalletError::RewardTooSmall
        );
        assert_noop!(
            offer(feed(), HOSTER, MIN_ESCROW - 1, terms()),
            PalletError::EscrowTooSmall
        );
        let least = Terms {
            attestor_reward: MIN_REWARD,
            ..terms()
        };
        assert_ok!(offer(feed(), HOSTER, MIN_ESCROW, least));
    });
}

#[test]
fn the_hoster_accepts_with_a_bond_and_a_vouched_length() {
    on_chain(|| {
        let id = open();
        let accept = |who, id, length| Hosting::accept_hosting(signed(who), id, 3, length);
        assert_noop!(accept(HOSTER, id + 1, 10), PalletError::UnknownHosting);
        assert_noop!(accept(SPONSOR, id, 10), PalletError::NotTheHoster);
        assert_noop!(accept(HOSTER, id, 9), PalletError::InvalidLength);
        assert_noop!(
            accept(HOSTER, id, MAX_LENGTH + 1),
            PalletError::InvalidLength
        );
        assert_ok!(accept(HOSTER, id, 10));
        System::assert_last_event(
            Event::<Test>::HostingAccepted {
                id,
                fork: 3,
                length: 10,
            }
            .into(),
        );
        assert_eq!(held(HoldReason::HostingBond, &HOSTER), HOSTING_BOND);
        assert_eq!(heard(), [Heard::Ready(id)]);
        assert_noop!(accept(HOSTER, id, 10), PalletError::AlreadyAccepted);
        assert_eq!(
            Hosting::get(id),
            Some(HostingInfo {
                feed: Feed::new(feed(), None).unwrap(),
                sponsor: SPONSOR,
                hoster: HOSTER,
                noise_key: public(1),
                terms: terms(),
                fork: 3,
                length: 10,
            })
        );
        assert_noop!(
            Providers::deregister(signed(HOSTER), Role::Hoster),
            pallet_providers::Error::<Test>::Engaged
        );
    });
}

#[test]
fn a_drained_hoster_accepts_nothing() {
    on_chain(|| {
        let id = open();
        assert_ok!(Providers::drain(signed(HOSTER), Role::Hoster));
        System::set_block_number(3);
        Providers::on_initialize(3);
        assert_noop!(
            Hosting::accept_hosting(signed(HOSTER), id, 0, 10),
            PalletError::NotAHoster
        );
        assert_noop!(
            Hosting::open_hosting(signed(SPONSOR), feed(), HOSTER, 1, terms()),
            PalletError::NotAHoster
        );
    });
}

#[test]
fn vouching_goes_forwards_only() {
    on_chain(|| {
        let offered = open();
        let vouch = |who, id, fork, length| Hosting::vouch(signed(who), id, fork, length);
        assert_noop!(vouch(HOSTER, offered, 0, 20), PalletError::NotAccepted);
        let id = accepted();
        assert_noop!(vouch(HOSTER, id + 1, 0, 30), PalletError::UnknownHosting);
        assert_noop!(vouch(SPONSOR, id, 0, 30), PalletError::NotTheHoster);
        assert_noop!(vouch(HOSTER, id, 0, 20), PalletError::NoProgress);
        assert_noop!(vouch(HOSTER, id, 1, 9), PalletError::InvalidLength);
        assert_ok!(vouch(HOSTER, id, 0, 30));
        System::assert_last_event(
            Event::<Test>::Vouched {
                id,
                fork: 0,
                length: 30,
            }
            .into(),
        );
        assert_eq!(heard(), [Heard::Ready(id)]);
        assert_ok!(vouch(HOSTER, id, 1, 10));
        assert_noop!(vouch(HOSTER, id, 0, 40), PalletError::NoProgress);
        let info = Hosting::get(id).unwrap();
        assert_eq!((info.fork, info.length), (1, 10));
    });
}

#[test]
fn anybody_tops_up() {
    on_chain(|| {
        let id = open();
        let top_up = |who, id, amount| Hosting::top_up(signed(who), id, amount);
        assert_noop!(top_up(STRANGER, id + 1, 1), PalletError::UnknownHosting);
        assert_noop!(
            top_up(STRANGER, id, ENDOWMENT + 1),
            TokenError::FundsUnavailable
        );
        assert_ok!(top_up(STRANGER, id, 7));
        System::assert_last_event(
            Event::<Test>::ToppedUp {
                id,
                by: STRANGER,
                amount: 7,
            }
            .into(),
        );
        assert!(heard().is_empty());
        assert_ok!(Hosting::accept_hosting(signed(HOSTER), id, 0, 10));
        heard();
        assert_ok!(top_up(SPONSOR, id, 3));
        assert_eq!(heard(), [Heard::Funded(id)]);
        assert_eq!(escrow_of_sponsor(), 5_010);
        assert_eq!(Balances::free_balance(&STRANGER), ENDOWMENT - 7);
        assert_eq!(hosting(id).escrow, 5_010);
    });
}

#[test]
fn an_offer_is_withdrawn_or_declined_at_once() {
    for party in [SPONSOR, HOSTER] {
        on_chain(|| {
            let id = open();
            assert_noop!(
                Hosting::close_hosting(signed(STRANGER), id),
                PalletError::NotAParty
            );
            assert_ok!(Hosting::close_hosting(signed(party), id));
            System::assert_last_event(
                Event::<Test>::HostingClosed {
                    id,
                    returned: 5_000,
                    burnt: 0,
                }
                .into(),
            );
            assert_eq!(escrow_of_sponsor(), 0);
            assert_eq!(heard(), [Heard::Closed(id)]);
            assert_noop!(
                Hosting::close_hosting(signed(SPONSOR), id),
                PalletError::UnknownHosting
            );
        });
    }
}

#[test]
fn a_hosting_without_challenge_ends_at_once() {
    on_chain(|| {
        let id = accepted();
        assert_ok!(Hosting::close_hosting(signed(HOSTER), id));
        assert_eq!(Balances::free_balance(&SPONSOR), ENDOWMENT);
        assert_eq!(held(HoldReason::HostingBond, &HOSTER), 0);
        assert_eq!(Hosting::get(id), None);
        assert_ok!(Providers::deregister(signed(HOSTER), Role::Hoster));
    });
}

#[test]
fn a_challenged_hosting_ends_with_the_challenge() {
    on_chain(|| {
        let id = accepted();
        assert_ok!(Hosting::start_challenge(id));
        assert_noop!(Hosting::start_challenge(id), PalletError::Challenged);
        assert_ok!(Hosting::close_hosting(signed(SPONSOR), id));
        System::assert_last_event(Event::<Test>::HostingClosing { id }.into());
        assert!(heard().is_empty());
        assert_eq!(Hosting::get(id), None);
        assert_noop!(
            Hosting::close_hosting(signed(HOSTER), id),
            PalletError::Closing
        );
        assert_noop!(
            Hosting::vouch(signed(HOSTER), id, 0, 30),
            PalletError::Closing
        );
        assert_noop!(
            Hosting::top_up(signed(SPONSOR), id, 1),
            PalletError::Closing
        );
        assert_noop!(Hosting::start_challenge(id), PalletError::Closing);

        assert_ok!(Hosting::pay(id, &ATTESTOR, 100));
        assert!(!Hosting::end_challenge(id, Ended::Passed));
        System::assert_last_event(
            Event::<Test>::HostingClosed {
                id,
                returned: 4_900,
                burnt: 0,
            }
            .into(),
        );
        assert_eq!(escrow_of_sponsor(), 0);
        assert!(!Hosting::end_challenge(id, Ended::Passed));
    });
}

#[test]
fn a_challenge_needs_an_accepted_hosting() {
    on_chain(|| {
        let id = open();
        assert_noop!(Hosting::start_challenge(id), PalletError::NotAccepted);
        assert_noop!(
            Hosting::start_challenge(id + 1),
            PalletError::UnknownHosting
        );
    });
}

#[test]
fn the_escrow_covers_a_whole_challenge_or_not() {
    on_chain(|| {
        let id = accepted();
        assert!(Hosting::is_ready(id, 40));
        assert!(!Hosting::is_ready(id, 41));
        assert!(!Hosting::is_ready(id + 1, 0));
        let boundless = Terms {
            attestor_reward: Balance::MAX,
            ..terms()
        };
        assert_eq!(boundless.whole_challenge(2), None);
        assert_eq!(boundless.whole_challenge(1), None);
        assert_eq!(terms().whole_challenge(5), Some(1_500));
    });
}

#[test]
fn payments_come_out_of_the_escrow() {
    on_chain(|| {
        let id = accepted();
        assert_ok!(Hosting::start_challenge(id));
        let attestor = Balances::free_balance(&ATTESTOR);
        assert_ok!(Hosting::pay(id, &ATTESTOR, 100));
        assert_eq!(Balances::free_balance(&ATTESTOR), attestor + 100);
        assert_ok!(Hosting::pay(id, &SPONSOR, 200));
        assert_eq!(escrow_of_sponsor(), 4_700);
        assert_eq!(Balances::free_balance(&SPONSOR), ENDOWMENT - 5_000 + 200);
        assert_noop!(
            Hosting::pay(id, &HOSTER, 4_701),
            PalletError::EscrowTooSmall
        );
        assert_noop!(
            Hosting::pay(id + 1, &HOSTER, 1),
            PalletError::UnknownHosting
        );
        assert!(Hosting::end_challenge(id, Ended::Passed));
        assert_eq!(hosting(id).escrow, 4_700);
        assert!(!hosting(id).challenged);
    });
}

#[test]
fn what_is_forfeited_is_burnt_in_the_end() {
    on_chain(|| {
        let issuance = Balances::total_issuance();
        let id = accepted();
        Hosting::forfeit(id, 400);
        assert_eq!(hosting(id).forfeited, 400);
        assert_eq!(escrow_of_sponsor(), 5_000);
        assert_eq!(Balances::total_issuance(), issuance);
        Hosting::do_try_state().unwrap();
        assert_noop!(
            Hosting::pay(id, &HOSTER, 4_601),
            PalletError::EscrowTooSmall
        );
        assert_ok!(Hosting::close_hosting(signed(SPONSOR), id));
        System::assert_last_event(
            Event::<Test>::HostingClosed {
                id,
                returned: 4_600,
                burnt: 400,
            }
            .into(),
        );
        assert_eq!(Balances::total_issuance(), issuance - 400);

        let id = open();
        Hosting::forfeit(id, 6_000);
        assert_eq!((hosting(id).escrow, hosting(id).forfeited), (0, 5_000));
    });
}

#[test]
fn a_deposit_adds_to_the_escrow() {
    on_chain(|| {
        let issuance = Balances::total_issuance();
        let id = accepted();
        Hosting::deposit(id, Balances::issue(50));
        assert_eq!(hosting(id).escrow, 5_050);
        assert_eq!(escrow_of_sponsor(), 5_050);
        assert_eq!(Balances::total_issuance(), issuance + 50);
        Hosting::deposit(id + 1, Balances::issue(50));
        assert_eq!(Balances::total_issuance(), issuance + 50);
    });
}

#[test]
fn what_must_hold_is_noticed_when_it_does_not() {
    let broken = |damage: fn(&mut HostingOf<Test>)| {
        on_chain(|| {
            let id = accepted();
            let result = hypothetically!({
                HostingsById::<Test>::mutate_extant(id, damage);
                Hosting::do_try_state()
            });
            assert!(result.is_err());
        });
    };
    broken(|hosting| hosting.escrow += 1);
    broken(|hosting| hosting.forfeited += 1);
    broken(|hosting| hosting.bond += 1);
    broken(|hosting| hosting.sponsor = STRANGER);
    broken(|hosting| hosting.hoster = STRANGER);
    broken(|hosting| hosting.feed = [7; 32]);
    broken(|hosting| hosting.closing = true);
    broken(|hosting| {
        hosting.vouched = None;
        hosting.challenged = true;
    });
    on_chain(|| {
        accepted();
        let result = hypothetically!({
            NextHostingId::<Test>::put(0);
            Hosting::do_try_state()
        });
        assert!(result.is_err());
    });
}

#[test]
fn an_offer_may_have_an_sla() {
    on_chain(|| {
        for (latency_p50_us, throughput) in
            [(Some(1), None), (None, Some(1)), (Some(9), Some(u64::MAX))]
        {
            let sla = Some(Sla {
                latency_p50_us,
                throughput,
            });
            let id = NextHostingId::<Test>::get();
            let terms = Terms { sla, ..terms() };
            assert_ok!(Hosting::open_hosting(
                signed(SPONSOR),
                feed(),
                HOSTER,
                MIN_ESCROW,
                terms
            ));
            assert_eq!(hosting(id).terms.sla, sla);
        }
    });
}

#[test]
fn an_sla_is_broken_by_a_median_beyond_its_bound() {
    let sla = Sla {
        latency_p50_us: Some(100),
        throughput: Some(7),
    };
    for (latency, throughput, broken) in [
        (None, None, false),
        (Some(100), Some(7), false),
        (Some(101), Some(7), true),
        (Some(100), Some(6), true),
        (Some(101), None, true),
        (None, Some(6), true),
        (None, Some(u64::MAX), false),
        (Some(0), None, false),
    ] {
        assert_eq!(sla.is_broken_by(latency, throughput), broken);
    }
    let without = Sla {
        latency_p50_us: None,
        throughput: Some(7),
    };
    assert!(!without.is_broken_by(Some(u64::MAX), Some(7)));
    let without = Sla {
        latency_p50_us: Some(100),
        throughput: None,
    };
    assert!(!without.is_broken_by(Some(100), Some(0)));
}

/// Plays challenges that end like this; whether the hosting goes on after each.
fn play(id: HostingId, challenges: &[Ended]) -> Vec<bool> {
    challenges
        .iter()
        .map(|ended| {
            assert_ok!(Hosting::start_challenge(id));
            Hosting::end_challenge(id, *ended)
        })
        .collect()
}

#[test]
fn three_failures_without_a_pass_between_them_end_a_hosting() {
    use Ended::{Failed, Passed, Undecided};
    on_chain(|| {
        let id = accepted();
        assert_eq!(play(id, &[Failed, Failed]), [true, true]);
        assert_eq!(hosting(id).streak, 2);
        assert_eq!(play(id, &[Undecided]), [true]);
        assert_eq!(hosting(id).streak, 2);
        assert_eq!(play(id, &[Passed, Failed, Failed]), [true; 3]);
        assert_eq!(play(id, &[Failed]), [false]);
        // The bond goes back whole, and so does what is left of the escrow.
        assert!(!HostingsById::<Test>::contains_key(id));
        assert_eq!(held(HoldReason::HostingBond, &HOSTER), 0);
        assert_eq!(Balances::total_balance(&HOSTER), ENDOWMENT);
        assert_eq!(escrow_of_sponsor(), 0);
        System::assert_has_event(Event::<Test>::HostingFailed { id, streak: 3 }.into());
        System::assert_last_event(
            Event::<Test>::HostingClosed {
                id,
                returned: 5_000,
                burnt: 0,
            }
            .into(),
        );
    });
}

#[test]
fn a_withheld_chunk_costs_a_part_of_the_bond_until_the_hosting_ends() {
    on_chain(|| {
        let id = accepted();
        assert_ok!(Hosting::start_challenge(id));
        let issued = Balances::total_issuance();
        let credit = Hosting::slash_bond(id, 200);
        assert_eq!(credit.peek(), 200);
        System::assert_last_event(Event::<Test>::HostingBondSlashed { id, amount: 200 }.into());
        drop(credit);
        assert_eq!(Balances::total_issuance(), issued - 200);
        assert_eq!(hosting(id).bond, HOSTING_BOND - 200);
        assert_eq!(held(HoldReason::HostingBond, &HOSTER), HOSTING_BOND - 200);
        assert!(!hosting(id).closing);
        // 100 are left, which would not cover another 200.
        drop(Hosting::slash_bond(id, 200));
        System::assert_has_event(Event::<Test>::HostingClosing { id }.into());
        assert!(hosting(id).closing);
        // More than is left.
        assert_eq!(Hosting::slash_bond(id, 200).peek(), 100);
        assert!(Hosting::slash_bond(id, 200).peek().is_zero());
        assert_eq!(hosting(id).bond, 0);
        assert!(!Hosting::end_challenge(id, Ended::Failed));
        assert!(Hosting::slash_bond(id, 200).peek().is_zero());
    });
}

#[test]
fn a_hosting_goes_on_as_long_as_its_bond_covers_what_withholding_costs() {
    on_chain(|| {
        let id = accepted();
        assert_ok!(Hosting::start_challenge(id));
        drop(Hosting::slash_bond(id, HOSTING_BOND / 2));
        assert_eq!(hosting(id).bond, HOSTING_BOND / 2);
        assert!(Hosting::end_challenge(id, Ended::Failed));
    });
}

#[test]
#[should_panic(expected = "no hosting could have a challenge")]
fn a_runtime_must_allow_one_failure() {
    MaxStreak::set(0);
    Hosting::integrity_test();
}

#[test]
fn a_rewritten_feed_rests_until_the_hoster_follows() {
    on_chain(|| {
        let id = accepted();
        let vouch = |fork| Hosting::vouch(signed(HOSTER), id, fork, 20);
        assert!(Hosting::is_ready(id, 1));
        Hosting::rest(id, 3);
        System::assert_last_event(Event::<Test>::HostingResting { id, fork: 3 }.into());
        assert_eq!((Hosting::get(id), Hosting::is_ready(id, 1)), (None, false));
        // A lower one changes nothing, nor the same, a higher one does.
        System::reset_events();
        Hosting::rest(id, 2);
        Hosting::rest(id, 3);
        assert_eq!(hosting(id).resting, Some(3));
        assert!(System::events().is_empty());
        Hosting::rest(id, 4);
        assert_ok!(vouch(3));
        assert_eq!(hosting(id).resting, Some(4));
        assert_ok!(vouch(5));
        assert_eq!(hosting(id).resting, None);
        assert!(Hosting::is_ready(id, 1));
        // It has followed already.
        Hosting::rest(id, 5);
        assert_eq!(hosting(id).resting, None);
        // The very fork that it rests for is enough.
        Hosting::rest(id, 6);
        assert_ok!(vouch(6));
        assert_eq!(hosting(id).resting, None);
    });
}

#[test]
fn a_hosting_of_spec_version_2_is_translated() {
    use codec::Encode;
    use frame::deps::{
        frame_support::{
            storage::unhashed,
            traits::{GetStorageVersion, OnRuntimeUpgrade, StorageVersion},
            weights::constants::RocksDbWeight,
        },
        frame_system::{LastRuntimeUpgrade, LastRuntimeUpgradeInfo},
    };
    on_chain(|| {
        let id = accepted();
        let offer = open();
        let before: Vec<_> = HostingsById::<Test>::iter().collect();
        for (id, hosting) in &before {
            // Streak and rest, which came later, are the last five bytes: 0, and none.
            let mut bytes = hosting.encode();
            assert_eq!(bytes.split_off(bytes.len() - 5), [0; 5]);
            unhashed::put_raw(&HostingsById::<Test>::hashed_key_for(id), &bytes);
        }
        let upgrade_from = |spec_version: u32| {
            LastRuntimeUpgrade::<Test>::put(LastRuntimeUpgradeInfo {
                spec_version: spec_version.into(),
                spec_name: "datdot".into(),
            });
            crate::migrations::ToV1::<Test>::on_runtime_upgrade()
        };
        StorageVersion::new(0).put::<Hosting>();
        assert_eq!(HostingsById::<Test>::get(id), None);
        // Both versions and each hosting are read; each hosting and the new version are written.
        let weight = upgrade_from(2);
        assert_eq!(weight, RocksDbWeight::get().reads_writes(2 + 2, 2 + 1));
        assert_eq!(HostingsById::<Test>::iter().collect::<Vec<_>>(), before);
        assert_eq!(Hosting::on_chain_storage_version(), 1);
        assert!(HostingsById::<Test>::contains_key(offer));
        Hosting::do_try_state().unwrap();
        // Once only; and records of spec_version 3 are as they are now.
        upgrade_from(2);
        StorageVersion::new(0).put::<Hosting>();
        upgrade_from(3);
        assert_eq!(HostingsById::<Test>::iter().collect::<Vec<_>>(), before);
        assert_eq!(Hosting::on_chain_storage_version(), 1);
    });
}
