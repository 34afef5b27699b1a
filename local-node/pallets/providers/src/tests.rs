//! Every call, error and event.

use crate::{
    mock::{Providers, *},
    pallet::Providers as Registered,
    types::Task,
    *,
};
use frame::{
    deps::sp_runtime::TryRuntimeError, testing_prelude::*, token::fungible::InspectHold,
    traits::Imbalance,
};

type PalletError = Error<Test>;

fn signed(account: AccountId) -> RuntimeOrigin {
    RuntimeOrigin::signed(account)
}

fn bond(role: Role, account: &AccountId) -> Balance {
    let reason = match role {
        Role::Attestor => HoldReason::AttestorBond,
        Role::Hoster => HoldReason::HosterBond,
    };
    Balances::balance_on_hold(&reason.into(), account)
}

#[test]
fn an_attestor_registers_and_is_drawn_min_age_later() {
    on_chain(false, || {
        assert_ok!(register_attestor(ALICE, 1, 2));
        let effective = 1 + MIN_AGE;
        System::assert_last_event(
            Event::<Test>::Registered {
                account: ALICE,
                role: Role::Attestor,
                key: public(1),
                endpoint: endpoint(1),
                effective,
            }
            .into(),
        );
        assert_eq!(bond(Role::Attestor, &ALICE), ATTESTOR_BOND);
        assert_eq!(Providers::session_key(&ALICE), Some(public(1)));

        run_to(effective - 1);
        assert!(pool().is_empty());
        run_to(effective);
        assert_eq!(pool(), [ALICE]);
        assert_eq!(Providers::changed_at(), effective);
        System::assert_last_event(
            Event::<Test>::ActivityChanged {
                account: ALICE,
                role: Role::Attestor,
                active: true,
            }
            .into(),
        );
    });
}

#[test]
fn a_hoster_registers_and_takes_hostings_min_age_later() {
    on_chain(false, || {
        assert_ok!(register_hoster(ALICE, 1));
        assert_eq!(bond(Role::Hoster, &ALICE), HOSTER_BOND);
        assert_eq!(Providers::noise_key(&ALICE), Some(public(1)));
        assert!(!Providers::is_active(&ALICE));
        run_to(1 + MIN_AGE);
        assert!(Providers::is_active(&ALICE));
        assert!(pool().is_empty());
    });
}

#[test]
fn one_account_may_have_both_roles_but_not_one_key_for_both() {
    on_chain(false, || {
        assert_ok!(register_attestor(ALICE, 1, 1));
        assert_noop!(register_hoster(ALICE, 1), PalletError::KeyTaken);
        assert_ok!(register_hoster(ALICE, 2));
        assert_eq!(bond(Role::Attestor, &ALICE), ATTESTOR_BOND);
        assert_eq!(bond(Role::Hoster, &ALICE), HOSTER_BOND);
    });
}

#[test]
fn registration_is_refused_twice_without_money_and_with_another_s_key() {
    on_chain(false, || {
        assert_ok!(register_attestor(ALICE, 1, 1));
        assert_noop!(
            register_attestor(ALICE, 2, 1),
            PalletError::AlreadyRegistered
        );
        assert_noop!(register_attestor(BOB, 1, 1), PalletError::KeyTaken);
        assert!(Providers::is_taken(&public(1)));
        assert!(!Providers::is_taken(&public(2)));
        assert_noop!(register_attestor(POOR, 3, 1), TokenError::FundsUnavailable);
        assert_noop!(register_attestor(BOB, 2, 0), PalletError::InvalidCapacity);
        assert_noop!(
            register_attestor(BOB, 2, MAX_CAPACITY + 1),
            PalletError::InvalidCapacity
        );
        let unsigned =
            Providers::register_hoster(RuntimeOrigin::none(), public(1), endpoint(1), [0; 64]);
        assert_eq!(unsigned, Err(DispatchError::BadOrigin));
    });
}

#[test]
fn a_proof_is_bound_to_key_role_account_and_chain() {
    on_chain(false, || {
        let attempt =
            |proof| Providers::register_attestor(signed(ALICE), public(1), endpoint(1), 1, proof);
        assert_noop!(
            attempt(proof(2, Role::Attestor, &ALICE)),
            PalletError::InvalidProof
        );
        assert_noop!(
            attempt(proof(1, Role::Hoster, &ALICE)),
            PalletError::InvalidProof
        );
        assert_noop!(
            attempt(proof(1, Role::Attestor, &BOB)),
            PalletError::InvalidProof
        );
        let here = proof(1, Role::Attestor, &ALICE);
        frame_system::BlockHash::<Test>::insert(0, H256::repeat_byte(7));
        assert_noop!(attempt(here), PalletError::InvalidProof);
        assert_ok!(attempt(proof(1, Role::Attestor, &ALICE)));
    });
}

#[test]
fn bad_keys_are_refused() {
    on_chain(false, || {
        let identity = {
            let mut key = [0; 32];
            key[0] = 1;
            key
        };
        // p + 1: the identity again, not canonical.
        let not_canonical = {
            let mut key = [0xff; 32];
            key[0] = 0xee;
            key[31] = 0x7f;
            key
        };
        let not_on_curve = {
            let mut key = [0; 32];
            key[0] = 2;
            key
        };
        for key in [identity, not_canonical, not_on_curve] {
            assert_noop!(
                Providers::register_attestor(signed(ALICE), key, endpoint(1), 1, [0; 64]),
                PalletError::InvalidKey
            );
        }
    });
}

#[test]
fn endpoints_must_be_of_one_public_machine() {
    let v4 = |ip| Endpoint {
        ip: Ip::V4(ip),
        port: 80,
    };
    let v6 = |text: &str| Endpoint {
        ip: Ip::V6(text.parse::<std::net::Ipv6Addr>().unwrap().octets()),
        port: 80,
    };
    let invalid = [
        Endpoint {
            ip: Ip::V4([9, 9, 9, 9]),
            port: 0,
        },
        v4([0, 0, 0, 0]),
        v4([224, 0, 0, 1]),
        v4([255, 255, 255, 255]),
        v6("::"),
        v6("ff02::1"),
        v6("::ffff:0.0.0.0"),
        v6("::ffff:239.1.1.1"),
    ];
    let private = [
        v4([127, 0, 0, 1]),
        v4([10, 1, 2, 3]),
        v4([172, 16, 0, 1]),
        v4([172, 31, 255, 255]),
        v4([192, 168, 1, 1]),
        v4([169, 254, 1, 1]),
        v4([100, 64, 0, 1]),
        v4([192, 0, 2, 1]),
        v4([198, 18, 0, 1]),
        v4([198, 51, 100, 1]),
        v4([203, 0, 113, 1]),
        v6("::1"),
        v6("fe80::1"),
        v6("fc00::1"),
        v6("fd12:3456::1"),
        v6("2001:db8::1"),
        v6("2001::1"),
        v6("2002:7f00:1::1"),
        v6("64:ff9b::7f00:1"),
        v6("::ffff:127.0.0.1"),
        v6("::ffff:192.168.1.1"),
    ];
    let public = [
        v4([9, 9, 9, 9]),
        v4([172, 32, 0, 1]),
        v4([100, 128, 0, 1]),
        v4([192, 0, 1, 1]),
        v6("2620:fe::fe"),
        v6("::ffff:9.9.9.9"),
    ];
    for allowed in [false, true] {
        on_chain(allowed, || {
            assert_ok!(register_hoster(ALICE, 1));
            let set = |endpoint| Providers::set_endpoint(signed(ALICE), Role::Hoster, endpoint);
            for endpoint in invalid {
                assert_noop!(set(endpoint), PalletError::InvalidEndpoint);
            }
            for endpoint in private {
                if allowed {
                    assert_ok!(set(endpoint));
                } else {
                    assert_noop!(set(endpoint), PalletError::PrivateEndpoint);
                }
            }
            for endpoint in public {
                assert_ok!(set(endpoint));
                assert_eq!(provider(Role::Hoster, &ALICE).endpoint, endpoint);
                System::assert_last_event(
                    Event::<Test>::EndpointSet {
                        account: ALICE,
                        role: Role::Hoster,
                        endpoint,
                    }
                    .into(),
                );
            }
            let elsewhere = Providers::set_endpoint(signed(ALICE), Role::Attestor, public[0]);
            assert_eq!(elsewhere, Err(PalletError::NotRegistered.into()));
        });
    }
}

#[test]
fn registration_checks_the_endpoint() {
    on_chain(false, || {
        let local = Endpoint {
            ip: Ip::V4([127, 0, 0, 1]),
            port: 1,
        };
        let proof = proof(1, Role::Hoster, &ALICE);
        assert_noop!(
            Providers::register_hoster(signed(ALICE), public(1), local, proof),
            PalletError::PrivateEndpoint
        );
    });
}

#[test]
fn capacity_bounds_the_open_challenges() {
    on_chain(false, || {
        assert_ok!(register_attestor(ALICE, 1, 1));
        run_to(1 + MIN_AGE);
        assert_ok!(Providers::enter(&ALICE));
        assert!(pool().is_empty());

        assert_ok!(Providers::set_capacity(signed(ALICE), 2));
        System::assert_last_event(
            Event::<Test>::CapacitySet {
                account: ALICE,
                capacity: 2,
            }
            .into(),
        );
        assert_eq!(pool(), [ALICE]);
        assert_ok!(Providers::enter(&ALICE));
        assert!(pool().is_empty());

        Providers::leave(&ALICE, false);
        assert_eq!(pool(), [ALICE]);
        assert_ok!(Providers::set_capacity(signed(ALICE), 1));
        assert!(pool().is_empty());

        assert_noop!(
            Providers::set_capacity(signed(ALICE), 0),
            PalletError::InvalidCapacity
        );
        assert_noop!(
            Providers::set_capacity(signed(BOB), 1),
            PalletError::NotRegistered
        );
        assert_noop!(Providers::enter(&BOB), PalletError::NotRegistered);
        // Of an account that is no attestor, nothing is known.
        Providers::leave(&BOB, true);
        assert!(!Registered::<Test>::contains_key(Role::Attestor, BOB));
    });
}

#[test]
fn the_list_stays_dense_when_one_leaves() {
    on_chain(false, || {
        for (number, account) in [(1, ALICE), (2, BOB), (3, CAROL)] {
            assert_ok!(register_attestor(account, number, 1));
        }
        run_to(1 + MIN_AGE);
        assert_eq!(pool(), [ALICE, BOB, CAROL]);
        assert_ok!(Providers::enter(&ALICE));
        assert_eq!(pool(), [CAROL, BOB]);
        Providers::leave(&ALICE, false);
        assert_eq!(pool(), [CAROL, BOB, ALICE]);
        assert_ok!(Providers::enter(&ALICE));
        assert_eq!(pool(), [CAROL, BOB]);
        assert_eq!(Providers::eligible_at(2), None);
    });
}

#[test]
fn a_replaced_session_key_stays_reserved() {
    on_chain(false, || {
        assert_ok!(register_attestor(ALICE, 1, 1));
        let set = |number, proof| Providers::set_session_key(signed(ALICE), public(number), proof);
        assert_noop!(
            set(1, proof(1, Role::Attestor, &ALICE)),
            PalletError::KeyTaken
        );
        assert_noop!(
            set(2, proof(2, Role::Hoster, &ALICE)),
            PalletError::InvalidProof
        );
        assert_noop!(
            Providers::set_session_key(signed(ALICE), [0; 32], [0; 64]),
            PalletError::InvalidKey
        );
        assert_noop!(
            Providers::set_session_key(signed(BOB), public(2), proof(2, Role::Attestor, &BOB)),
            PalletError::NotRegistered
        );

        assert_ok!(set(2, proof(2, Role::Attestor, &ALICE)));
        System::assert_last_event(
            Event::<Test>::SessionKeySet {
                account: ALICE,
                key: public(2),
            }
            .into(),
        );
        assert_eq!(Providers::session_key(&ALICE), Some(public(2)));
        assert_eq!(
            Keys::<Test>::get(public(1)),
            Some(KeyUse::Reserved { account: ALICE })
        );
        assert_noop!(register_attestor(BOB, 1, 1), PalletError::KeyTaken);
        run_to(UNBONDING);
        assert_noop!(register_attestor(BOB, 1, 1), PalletError::KeyTaken);
        run_to(1 + UNBONDING);
        assert_ok!(register_attestor(BOB, 1, 1));
    });
}

#[test]
fn drain_and_undrain_take_effect_min_age_later() {
    on_chain(false, || {
        let role = Role::Attestor;
        assert_ok!(register_attestor(ALICE, 1, 1));
        assert_noop!(
            Providers::undrain(signed(ALICE), role),
            PalletError::NotDrained
        );
        assert_noop!(
            Providers::drain(signed(BOB), role),
            PalletError::NotRegistered
        );
        run_to(10);

        assert_ok!(Providers::drain(signed(ALICE), role));
        let effective = 10 + MIN_AGE;
        System::assert_last_event(
            Event::<Test>::Draining {
                account: ALICE,
                role,
                effective,
            }
            .into(),
        );
        assert_noop!(
            Providers::drain(signed(ALICE), role),
            PalletError::AlreadyDrained
        );
        run_to(effective - 1);
        assert_eq!(pool(), [ALICE]);
        run_to(effective);
        assert!(pool().is_empty());
        assert_noop!(
            Providers::drain(signed(ALICE), role),
            PalletError::AlreadyDrained
        );

        assert_ok!(Providers::undrain(signed(ALICE), role));
        let effective = effective + MIN_AGE;
        System::assert_last_event(
            Event::<Test>::Undraining {
                account: ALICE,
                role,
                effective,
            }
            .into(),
        );
        run_to(effective - 1);
        assert!(pool().is_empty());
        run_to(effective);
        assert_eq!(pool(), [ALICE]);
    });
}

#[test]
fn a_change_of_mind_replaces_the_waiting_change() {
    on_chain(false, || {
        let role = Role::Hoster;
        assert_ok!(register_hoster(ALICE, 1));
        run_to(10);
        assert_ok!(Providers::drain(signed(ALICE), role));
        run_to(11);
        assert_ok!(Providers::undrain(signed(ALICE), role));
        for block in 12..20 {
            run_to(block);
            assert!(Providers::is_active(&ALICE));
        }
        assert_eq!(provider(role, &ALICE).change, None);
    });
}

#[test]
fn a_change_of_mind_does_not_take_effect_in_the_block_of_the_change_that_it_replaced() {
    on_chain(false, || {
        let role = Role::Attestor;
        assert_ok!(register_attestor(ALICE, 1, 1));
        run_to(2);
        assert_ok!(Providers::drain(signed(ALICE), role));
        run_to(3);
        assert_ok!(Providers::undrain(signed(ALICE), role));
        run_to(3 + MIN_AGE - 1);
        assert!(pool().is_empty());
        run_to(3 + MIN_AGE);
        assert_eq!(pool(), [ALICE]);
    });
}

#[test]
fn a_full_block_postpones_changes_and_many_are_refused() {
    on_chain(false, || {
        assert_ok!(register_attestor(ALICE, 1, 1));
        assert_ok!(register_hoster(ALICE, 2));
        run_to(10);
        let due = 10 + MIN_AGE;
        let filler = || {
            let tasks = vec![Task::FreeKey(public(99)); MAX_TASKS as usize];
            BoundedVec::truncate_from(tasks)
        };
        Tasks::<Test>::insert(due, filler());
        assert_ok!(Providers::drain(signed(ALICE), Role::Attestor));
        assert_eq!(
            provider(Role::Attestor, &ALICE).change,
            Some(Change {
                active: false,
                due: due + 1
            })
        );
        for block in due + 1..=due + MAX_POSTPONEMENT {
            if Tasks::<Test>::decode_len(block).unwrap_or(0) == 0 {
                Tasks::<Test>::insert(block, filler());
            } else {
                Tasks::<Test>::mutate(block, |tasks| {
                    while tasks.try_push(Task::FreeKey(public(99))).is_ok() {}
                });
            }
        }
        assert_noop!(
            Providers::drain(signed(ALICE), Role::Hoster),
            PalletError::TooManyTasks
        );
        run_to(due + 1);
        assert!(pool().is_empty());
    });
}

#[test]
fn the_second_absence_in_a_row_drains() {
    on_chain(false, || {
        assert_ok!(register_attestor(ALICE, 1, 2));
        run_to(10);
        let close = |absent| {
            assert_ok!(Providers::enter(&ALICE));
            Providers::leave(&ALICE, absent);
        };
        close(true);
        close(false);
        close(true);
        assert_eq!(provider(Role::Attestor, &ALICE).absences, 1);
        assert_eq!(provider(Role::Attestor, &ALICE).change, None);
        close(true);
        let effective = 10 + MIN_AGE;
        System::assert_last_event(
            Event::<Test>::Draining {
                account: ALICE,
                role: Role::Attestor,
                effective,
            }
            .into(),
        );
        assert_eq!(pool(), [ALICE]);
        run_to(effective);
        assert!(pool().is_empty());
        assert_ok!(Providers::undrain(signed(ALICE), Role::Attestor));
        assert_eq!(provider(Role::Attestor, &ALICE).absences, 0);
    });
}

#[test]
fn an_absent_attestor_leaves_at_once_when_no_block_has_room() {
    on_chain(false, || {
        assert_ok!(register_attestor(ALICE, 1, 2));
        run_to(10);
        for block in 10..=10 + MIN_AGE + MAX_POSTPONEMENT {
            let tasks = vec![Task::FreeKey(public(99)); MAX_TASKS as usize];
            Tasks::<Test>::insert(block, BoundedVec::truncate_from(tasks));
        }
        for _ in 0..2 {
            assert_ok!(Providers::enter(&ALICE));
            Providers::leave(&ALICE, true);
        }
        assert!(pool().is_empty());
        System::assert_last_event(
            Event::<Test>::Draining {
                account: ALICE,
                role: Role::Attestor,
                effective: 10,
            }
            .into(),
        );
    });
}

#[test]
fn a_slash_takes_what_is_there_and_undrain_fills_up() {
    on_chain(false, || {
        let role = Role::Attestor;
        let issuance = Balances::total_issuance();
        assert_ok!(register_attestor(ALICE, 1, 1));
        run_to(10);
        drop(Providers::slash(&ALICE, 30));
        System::assert_has_event(
            Event::<Test>::BondSlashed {
                account: ALICE,
                role,
                amount: 30,
            }
            .into(),
        );
        assert_eq!(bond(role, &ALICE), ATTESTOR_BOND - 30);
        assert_eq!(Balances::total_issuance(), issuance - 30);

        let credit = Providers::slash(&ALICE, ATTESTOR_BOND);
        assert_eq!(credit.peek(), ATTESTOR_BOND - 30);
        drop(credit);
        assert_eq!(bond(role, &ALICE), 0);
        assert!(Providers::slash(&ALICE, 1).peek().is_zero());
        assert!(Providers::slash(&BOB, 1).peek().is_zero());

        assert_ok!(Providers::drain(signed(ALICE), role));
        assert_ok!(Providers::undrain(signed(ALICE), role));
        assert_eq!(bond(role, &ALICE), ATTESTOR_BOND);
        assert_eq!(
            Balances::free_balance(&ALICE),
            ENDOWMENT - 2 * ATTESTOR_BOND
        );
    });
}

/// What `expel` does beside the credit that it returns.
fn deactivated(account: &AccountId) -> RuntimeEvent {
    Event::<Test>::Deactivated {
        account: account.clone(),
        role: Role::Attestor,
    }
    .into()
}

#[test]
fn who_is_expelled_loses_the_bond_and_its_place_in_the_pool_at_once() {
    on_chain(false, || {
        let role = Role::Attestor;
        let issuance = Balances::total_issuance();
        for (number, account) in [(1, ALICE), (2, BOB)] {
            assert_ok!(register_attestor(account, number, 2));
        }
        run_to(10);
        assert_ok!(Providers::enter(&ALICE));
        assert_eq!(pool(), [ALICE, BOB]);
        let credit = Providers::expel(&ALICE, ATTESTOR_BOND);
        assert_eq!(credit.peek(), ATTESTOR_BOND);
        drop(credit);
        assert_eq!(Balances::total_issuance(), issuance - ATTESTOR_BOND);
        assert_eq!(bond(role, &ALICE), 0);
        assert_eq!(provider(role, &ALICE).bond, 0);
        assert_eq!(pool(), [BOB]);
        assert_eq!(Providers::changed_at(), 10);
        System::assert_has_event(deactivated(&ALICE));
        System::assert_has_event(
            Event::<Test>::BondSlashed {
                account: ALICE,
                role,
                amount: ATTESTOR_BOND,
            }
            .into(),
        );
        // It is still in the challenge that it was in, and no way leads back but a full bond.
        assert_eq!(provider(role, &ALICE).engagements, 1);
        Providers::leave(&ALICE, false);
        assert_ok!(Providers::set_capacity(signed(ALICE), 8));
        assert_noop!(
            Providers::drain(signed(ALICE), role),
            PalletError::AlreadyDrained
        );
        run_to(10 + 2 * MIN_AGE);
        assert_eq!(pool(), [BOB]);

        assert_ok!(Providers::undrain(signed(ALICE), role));
        assert_eq!(bond(role, &ALICE), ATTESTOR_BOND);
        run_to(10 + 3 * MIN_AGE);
        assert_eq!(pool(), [BOB, ALICE]);
    });
}

#[test]
fn undrain_asks_for_what_is_missing_of_the_bond() {
    on_chain(false, || {
        let role = Role::Attestor;
        assert_ok!(register_attestor(ALICE, 1, 1));
        run_to(10);
        drop(Providers::expel(&ALICE, ATTESTOR_BOND));
        let rest = ENDOWMENT - 2 * ATTESTOR_BOND + 1;
        assert_ok!(Balances::transfer_allow_death(signed(ALICE), BOB, rest));
        assert_noop!(
            Providers::undrain(signed(ALICE), role),
            frame::deps::sp_runtime::TokenError::FundsUnavailable
        );
        // The existential deposit beside the bond is enough.
        assert_ok!(Balances::transfer_allow_death(signed(BOB), ALICE, 2));
        assert_ok!(Providers::undrain(signed(ALICE), role));
        assert_eq!(bond(role, &ALICE), ATTESTOR_BOND);
    });
}

#[test]
fn a_change_that_waits_is_dropped_by_an_expulsion() {
    on_chain(false, || {
        let role = Role::Attestor;
        // A registration that is not effective yet.
        assert_ok!(register_attestor(ALICE, 1, 1));
        drop(Providers::expel(&ALICE, 1));
        System::assert_has_event(deactivated(&ALICE));
        assert_eq!(provider(role, &ALICE).change, None);
        run_to(1 + MIN_AGE);
        assert!(pool().is_empty());
        // The end of a drain.
        assert_ok!(Providers::undrain(signed(ALICE), role));
        run_to(1 + 2 * MIN_AGE);
        assert_eq!(pool(), [ALICE]);
        // A drain, which need not be waited for any more.
        assert_ok!(Providers::drain(signed(ALICE), role));
        drop(Providers::expel(&ALICE, 1));
        assert!(pool().is_empty());
        assert_eq!(provider(role, &ALICE).change, None);
        System::reset_events();
        run_to(1 + 4 * MIN_AGE);
        assert!(System::events().is_empty());
    });
}

#[test]
fn an_expulsion_takes_what_is_there_of_bond_and_unbonding() {
    on_chain(false, || {
        let role = Role::Attestor;
        assert_ok!(register_attestor(ALICE, 1, 1));
        run_to(10);
        assert_eq!(Providers::expel(&ALICE, 30).peek(), 30);
        // A second one: nothing changes but the bond.
        System::reset_events();
        assert_eq!(Providers::expel(&ALICE, ATTESTOR_BOND).peek(), 70);
        assert!(System::events()
            .iter()
            .all(|record| record.event != deactivated(&ALICE)));
        System::reset_events();
        assert!(Providers::expel(&ALICE, 1).peek().is_zero());
        assert!(System::events().is_empty());

        assert_ok!(Providers::undrain(signed(ALICE), role));
        assert_ok!(Providers::deregister(signed(ALICE), role));
        System::reset_events();
        assert_eq!(Providers::expel(&ALICE, 40).peek(), 40);
        System::assert_has_event(
            Event::<Test>::BondSlashed {
                account: ALICE,
                role,
                amount: 40,
            }
            .into(),
        );
        let left = |amount| Unbonding {
            amount,
            free_at: 1 + UNBONDING,
        };
        assert_eq!(Unbondings::<Test>::get(role, ALICE), Some(left(60)));
        assert_eq!(bond(role, &ALICE), 60);
        assert_eq!(Providers::expel(&ALICE, ATTESTOR_BOND).peek(), 60);
        assert_eq!(Unbondings::<Test>::get(role, ALICE), Some(left(0)));
        assert!(Providers::expel(&ALICE, ATTESTOR_BOND).peek().is_zero());

        // What is left, nothing, is taken back; only then it may come again.
        assert_noop!(
            register_attestor(ALICE, 2, 1),
            PalletError::BondNotWithdrawn
        );
        run_to(1 + UNBONDING);
        let free = Balances::free_balance(&ALICE);
        assert_ok!(Providers::withdraw_bond(signed(ALICE), role));
        assert_eq!(Balances::free_balance(&ALICE), free);
        assert_ok!(register_attestor(ALICE, 2, 1));
    });
}

#[test]
fn an_expulsion_touches_neither_strangers_nor_the_other_role() {
    on_chain(false, || {
        assert_ok!(register_hoster(ALICE, 1));
        run_to(10);
        System::reset_events();
        assert!(Providers::expel(&ALICE, HOSTER_BOND).peek().is_zero());
        assert!(Providers::expel(&CAROL, HOSTER_BOND).peek().is_zero());
        assert!(System::events().is_empty());
        assert_eq!(bond(Role::Hoster, &ALICE), HOSTER_BOND);
        assert!(Providers::is_active(&ALICE));
        assert!(!Registered::<Test>::contains_key(Role::Attestor, CAROL));
        assert!(!Unbondings::<Test>::contains_key(Role::Attestor, CAROL));
    });
}

#[test]
fn who_leaves_gets_the_bond_back_later() {
    on_chain(false, || {
        let role = Role::Attestor;
        assert_noop!(
            Providers::deregister(signed(ALICE), role),
            PalletError::NotRegistered
        );
        assert_noop!(
            Providers::withdraw_bond(signed(ALICE), role),
            PalletError::NoBond
        );
        assert_ok!(register_attestor(ALICE, 1, 1));
        run_to(10);
        assert_ok!(Providers::enter(&ALICE));
        assert_noop!(
            Providers::deregister(signed(ALICE), role),
            PalletError::Engaged
        );
        run_to(12);
        Providers::leave(&ALICE, false);
        run_to(15);
        assert_ok!(Providers::deregister(signed(ALICE), role));
        let free_at = 12 + UNBONDING;
        System::assert_last_event(
            Event::<Test>::Deregistered {
                account: ALICE,
                role,
                free_at,
            }
            .into(),
        );
        assert!(pool().is_empty());
        assert_eq!(Providers::session_key(&ALICE), None);
        assert_eq!(bond(role, &ALICE), ATTESTOR_BOND);
        assert_noop!(
            register_attestor(ALICE, 2, 1),
            PalletError::BondNotWithdrawn
        );

        run_to(free_at - 1);
        assert_noop!(
            Providers::withdraw_bond(signed(ALICE), role),
            PalletError::BondNotFree
        );
        run_to(free_at);
        assert_ok!(Providers::withdraw_bond(signed(ALICE), role));
        System::assert_last_event(
            Event::<Test>::BondWithdrawn {
                account: ALICE,
                role,
                amount: ATTESTOR_BOND,
            }
            .into(),
        );
        assert_eq!(bond(role, &ALICE), 0);
        assert_ok!(register_attestor(ALICE, 2, 1));
    });
}

#[test]
fn a_hoster_with_a_hosting_cannot_leave() {
    on_chain(false, || {
        let role = Role::Hoster;
        assert_noop!(Providers::engage(&ALICE), PalletError::NotRegistered);
        assert_ok!(register_hoster(ALICE, 1));
        assert_ok!(Providers::engage(&ALICE));
        assert_noop!(
            Providers::deregister(signed(ALICE), role),
            PalletError::Engaged
        );
        run_to(5);
        Providers::disengage(&ALICE);
        assert_ok!(Providers::deregister(signed(ALICE), role));
        assert_eq!(
            Unbondings::<Test>::get(role, ALICE),
            Some(Unbonding {
                amount: HOSTER_BOND,
                free_at: 5 + UNBONDING
            })
        );
    });
}

#[test]
fn who_left_and_came_back_keeps_out_of_the_old_change() {
    on_chain(false, || {
        let role = Role::Hoster;
        assert_ok!(register_hoster(ALICE, 1));
        run_to(2);
        assert_ok!(Providers::deregister(signed(ALICE), role));
        run_to(1 + MIN_AGE);
        assert!(!Providers::is_active(&ALICE));
    });
}

fn damage_alice(damage: impl FnOnce(&mut ProviderOf<Test>)) {
    Registered::<Test>::mutate(Role::Attestor, ALICE, |alice| {
        damage(alice.as_mut().unwrap())
    });
}

#[test]
fn what_must_hold_is_noticed_when_it_does_not() {
    let broken = |damage: fn()| {
        on_chain(false, || {
            assert_ok!(register_attestor(ALICE, 1, 1));
            assert_ok!(register_attestor(BOB, 2, 1));
            run_to(10);
            let result: Result<(), TryRuntimeError> = hypothetically!({
                damage();
                Providers::do_try_state()
            });
            assert!(result.is_err());
        });
    };
    broken(|| damage_alice(|alice| alice.bond -= 1));
    broken(|| {
        let unbonding = Unbonding {
            amount: 0,
            free_at: 20,
        };
        Unbondings::<Test>::insert(Role::Attestor, ALICE, unbonding)
    });
    broken(|| {
        let unbonding = Unbonding {
            amount: ATTESTOR_BOND + 1,
            free_at: 20,
        };
        Unbondings::<Test>::insert(Role::Attestor, CAROL, unbonding)
    });
    broken(|| Keys::<Test>::remove(public(1)));
    broken(|| {
        Keys::<Test>::insert(
            public(3),
            KeyUse::Held {
                account: ALICE,
                role: Role::Attestor,
            },
        )
    });
    broken(|| Keys::<Test>::insert(public(3), KeyUse::Reserved { account: ALICE }));
    broken(|| EligibleCount::<Test>::put(1));
    broken(|| Eligible::<Test>::remove(0));
    broken(|| EligiblePosition::<Test>::insert(ALICE, 1));
    broken(|| damage_alice(|alice| alice.active = false));
    broken(|| {
        damage_alice(|alice| {
            alice.change = Some(Change {
                active: false,
                due: 11,
            })
        })
    });
}

#[test]
#[should_panic(expected = "MaxTasksPerBlock must not be 0")]
fn a_runtime_must_have_room_for_changes() {
    TasksPerBlock::set(0);
    Providers::integrity_test();
}

#[test]
#[should_panic(expected = "MaxCapacity must not be 0")]
fn a_runtime_must_let_attestors_take_part() {
    LargestCapacity::set(0);
    Providers::integrity_test();
}

#[test]
fn a_convicted_hoster_loses_its_bond_and_takes_no_hostings() {
    on_chain(false, || {
        let role = Role::Hoster;
        assert_ok!(register_hoster(ALICE, 1));
        assert_ok!(register_attestor(BOB, 2, 1));
        run_to(10);
        assert_eq!(Providers::owner(&public(1)), Some(ALICE));
        // An attestor's key is no hoster's, and this one nobody's.
        assert_eq!(Providers::owner(&public(2)), None);
        assert_eq!(Providers::owner(&public(3)), None);
        assert_eq!(<Providers as HosterRegistry>::bond(&ALICE), HOSTER_BOND);
        assert_eq!(<Providers as HosterRegistry>::bond(&BOB), 0);
        assert!(Providers::is_active(&ALICE));
        assert_eq!(Providers::convict(&ALICE, 30).peek(), 30);
        assert!(!Providers::is_active(&ALICE));
        System::assert_has_event(
            Event::<Test>::Deactivated {
                account: ALICE,
                role,
            }
            .into(),
        );
        assert_eq!(bond(role, &ALICE), HOSTER_BOND - 30);
        assert_ok!(Providers::undrain(signed(ALICE), role));
        assert_eq!(bond(role, &ALICE), HOSTER_BOND);
        // Who has left pays as long as the bond is held; its key is reserved as long.
        assert_ok!(Providers::deregister(signed(ALICE), role));
        assert_eq!(Providers::owner(&public(1)), Some(ALICE));
        assert_eq!(<Providers as HosterRegistry>::bond(&ALICE), HOSTER_BOND);
        assert_eq!(
            Providers::convict(&ALICE, HOSTER_BOND + 1).peek(),
            HOSTER_BOND
        );
        assert_eq!(<Providers as HosterRegistry>::bond(&ALICE), 0);
        assert!(Providers::convict(&BOB, 1).peek().is_zero());
    });
}
