//! Hostings that end, providers that leave and money that runs out in the middle of a challenge.

use frame::{
    deps::frame_support::traits::fungible::{Inspect, InspectHold},
    testing_prelude::*,
};
use pallet_hosting::HostingsById;
use pallet_providers::Role;

use crate::{
    mock::*,
    types::{Balance, PaymentKind, Stage, Verdict},
    Challenges, Running, Settlements, Timing, Waiting,
};

fn escrow(hosting: u64) -> Balance {
    HostingsById::<Test>::get(hosting).unwrap().escrow
}

/// All that an account has, held or not.
fn fortune(number: u8) -> Balance {
    <Balances as Inspect<AccountId>>::total_balance(&account(number))
}

/// Everybody reports that it was served.
fn all_served(id: u64) {
    for index in 0..5 {
        submit_served(id, index);
    }
}

/// From a challenge whose coinflip is anchored to the first block of its phase Report.
fn until_reports(id: u64) {
    until(Challenges::<Test>::get(id).unwrap().end_ms());
}

/// Anchors the challenge that runs for the hosting, in the block after its start, and everybody
/// reports that it was served.
fn next_passes(hosting: u64) -> u64 {
    blocks(1);
    let id = Running::<Test>::get(hosting).unwrap();
    blocks(1);
    assert_ok!(anchor_attempt(id, 0, 0));
    until_reports(id);
    all_served(id);
    id
}

#[test]
fn an_escrow_that_runs_out_ends_the_challenges_until_it_is_topped_up() {
    with_chain(|| {
        prepare(5);
        // Two challenges, and one unit too few for a third.
        let hosting = open_hosting(3 * COST - 1);
        next_passes(hosting);
        let id = next_passes(hosting);
        assert_eq!(
            Settlements::<Test>::get(id).unwrap().outcome,
            Verdict::Passed
        );
        assert_eq!(escrow(hosting), COST - 1);
        blocks(3);
        assert!(!Running::<Test>::contains_key(hosting) && !Waiting::<Test>::contains_key(hosting));
        assert_ok!(Hosting::top_up(origin(STRANGER), hosting, 1));
        next_passes(hosting);
        assert_eq!(escrow(hosting), 0);
    });
}

#[test]
fn a_hosting_that_is_closed_in_any_phase_ends_with_its_challenge_and_everybody_is_paid() {
    /// Whether it is asked to close in this phase.
    fn play(phase: usize, by: u8) {
        with_chain(|| {
            let before = [fortune(SPONSOR), fortune(HOSTER), fortune(1)];
            let id = start();
            let close = |at| {
                if at == phase {
                    assert_ok!(Hosting::close_hosting(origin(by), 0));
                    assert!(HostingsById::<Test>::get(0).unwrap().closing);
                    for party in [SPONSOR, HOSTER] {
                        assert_noop!(
                            Hosting::close_hosting(origin(party), 0),
                            pallet_hosting::Error::<Test>::Closing
                        );
                    }
                    assert_noop!(
                        Hosting::top_up(origin(SPONSOR), 0, 1),
                        pallet_hosting::Error::<Test>::Closing
                    );
                    assert_noop!(
                        Hosting::vouch(origin(HOSTER), 0, 0, VOUCHED + 1),
                        pallet_hosting::Error::<Test>::Closing
                    );
                }
            };
            close(0);
            until_commits(id);
            assert!(matches!(
                Challenges::<Test>::get(id).unwrap().stage,
                Stage::Commit { .. }
            ));
            close(1);
            commit_all(id, 0..5);
            until_commits_end();
            assert_eq!(Challenges::<Test>::get(id).unwrap().stage, Stage::Audit);
            close(2);
            until_reports(id);
            for index in 0..4 {
                submit_served(id, index);
            }
            close(3);
            submit_served(id, 4);
            assert_eq!(
                Settlements::<Test>::get(id).unwrap().outcome,
                Verdict::Passed
            );
            assert_eq!(HostingsById::<Test>::get(0), None);
            assert!(!Waiting::<Test>::contains_key(0));
            assert_eq!(
                [fortune(SPONSOR), fortune(HOSTER), fortune(1)],
                [
                    before[0] - COST,
                    before[1] + HOSTER_REWARD,
                    before[2] + ATTESTOR_REWARD
                ]
            );
            let held = |who| {
                let reason = pallet_hosting::HoldReason::HostingBond.into();
                Balances::balance_on_hold(&reason, &account(who))
            };
            assert_eq!(held(HOSTER), 0);
        });
    }
    for phase in 0..4 {
        play(phase, SPONSOR);
        play(phase, HOSTER);
    }
}

#[test]
fn a_hosting_that_is_closed_while_a_demand_is_open_still_answers_for_it() {
    with_chain(|| {
        let id = reporting();
        submit_demand(id, 0);
        for index in 1..5 {
            submit_served(id, index);
        }
        assert_ok!(Hosting::close_hosting(origin(HOSTER), 0));
        assert!(Challenges::<Test>::get(id).unwrap().is_open());
        let hoster = fortune(HOSTER);
        while Challenges::<Test>::get(id).unwrap().is_open() {
            next_block();
        }
        let settled = Settlements::<Test>::get(id).unwrap();
        assert_eq!(
            (settled.outcome, settled.slashed),
            (Verdict::Failed, WITHHOLDING_SLASH)
        );
        assert_eq!(fortune(HOSTER), hoster - WITHHOLDING_SLASH);
        assert_eq!(HostingsById::<Test>::get(0), None);
    });
}

#[test]
fn a_hoster_that_drains_goes_on_with_its_hostings_and_leaves_when_they_end() {
    with_chain(|| {
        let id = anchored();
        assert_ok!(Providers::drain(origin(HOSTER), Role::Hoster));
        assert_noop!(
            Providers::deregister(origin(HOSTER), Role::Hoster),
            pallet_providers::Error::<Test>::Engaged
        );
        until_reports(id);
        all_served(id);
        // The hosting is as it was agreed on: its next challenge comes.
        blocks(1);
        assert!(Running::<Test>::contains_key(0));
        assert_ok!(Hosting::close_hosting(origin(HOSTER), 0));
        assert_noop!(
            Providers::deregister(origin(HOSTER), Role::Hoster),
            pallet_providers::Error::<Test>::Engaged
        );
        while Running::<Test>::contains_key(0) {
            next_block_at(Timestamp::get() + 5_000);
        }
        let left = System::block_number();
        assert_ok!(Providers::deregister(origin(HOSTER), Role::Hoster));
        let unbonding = pallet_providers::Unbondings::<Test>::get(Role::Hoster, account(HOSTER));
        assert_eq!(unbonding.unwrap().free_at, left + UNBONDING);
        // Its record stays.
        let summary = Performance::hoster_summary(&account(HOSTER)).unwrap();
        assert_eq!(summary.passed, 1);
    });
}

#[test]
fn an_attestor_that_drains_finishes_its_challenge_is_paid_and_leaves() {
    with_chain(|| {
        let id = anchored();
        let leaver = number(id, 2);
        let before = fortune(leaver);
        assert_ok!(Providers::drain(origin(leaver), Role::Attestor));
        blocks(1);
        assert_noop!(
            Providers::deregister(origin(leaver), Role::Attestor),
            pallet_providers::Error::<Test>::Engaged
        );
        until_reports(id);
        all_served(id);
        assert_eq!(fortune(leaver), before + ATTESTOR_REWARD);
        // Four are left: no other challenge.
        blocks(2);
        assert!(!Running::<Test>::contains_key(0));
        let closed = System::block_number() - 2;
        assert_ok!(Providers::deregister(origin(leaver), Role::Attestor));
        while System::block_number() < closed + UNBONDING - 1 {
            next_block();
        }
        assert_noop!(
            Providers::withdraw_bond(origin(leaver), Role::Attestor),
            pallet_providers::Error::<Test>::BondNotFree
        );
        next_block();
        assert_ok!(Providers::withdraw_bond(origin(leaver), Role::Attestor));
        assert_eq!(balance(leaver), fortune(leaver));
    });
}

#[test]
fn a_whole_challenge_with_slots_has_one_moment_in_each() {
    let schedule = datdot_primitives::draws::Schedule::Slots { num: 1, den: 4 };
    let timing = Timing {
        schedule,
        ..Timing::development()
    };
    with_timing(timing, || {
        let id = reporting();
        let challenge = Challenges::<Test>::get(id).unwrap();
        let from = crate::Flips::<Test>::get(id).unwrap().moments_from;
        let window = challenge.timing.window(challenge.t0, from);
        let slot = window.width / 5;
        all_served(id);
        assert_eq!(
            Settlements::<Test>::get(id).unwrap().outcome,
            Verdict::Passed
        );
        let mut slots: Vec<u64> = challenge
            .roster
            .iter()
            .map(|member| {
                let record = crate::Reports::<Test>::get(id, &member.account).unwrap();
                let since = record.moment_ms - from;
                // A quarter of a slot to either side of its middle.
                let within = since % slot;
                assert!(
                    within.abs_diff(slot / 2) <= slot / 4 + 5,
                    "{within} of {slot}"
                );
                since / slot
            })
            .collect();
        slots.sort_unstable();
        assert_eq!(slots, [0, 1, 2, 3, 4]);
    });
}

#[test]
fn a_closer_whose_part_is_below_the_existential_deposit_gets_it_all_the_same() {
    with_chain(|| {
        let id = reporting();
        for index in 0..4 {
            submit_served(id, index);
        }
        let Stage::Report { deadline, .. } = Challenges::<Test>::get(id).unwrap().stage else {
            panic!("reports are taken");
        };
        while !deadline.has_passed(crate::Rooms::<Test>::get(), System::block_number()) {
            next_block();
        }
        // An account that is gone; the existential deposit and the closer's part are ten each.
        let nobody = AccountId::new([77; 32]);
        let closer = RuntimeOrigin::signed(nobody.clone());
        assert_ok!(Performance::close_challenge(closer, id));
        let paid: Vec<_> = Settlements::<Test>::get(id)
            .unwrap()
            .paid
            .into_iter()
            .filter(|payment| payment.kind == PaymentKind::Closing)
            .map(|payment| (payment.account, payment.amount))
            .collect();
        assert_eq!(paid, [(nobody.clone(), ABSENCE_FEE / 10)]);
        assert_eq!(Balances::free_balance(&nobody), ABSENCE_FEE / 10);
    });
}

#[test]
fn a_challenge_without_a_reward_for_the_hoster_pays_the_attestors() {
    with_chain(|| {
        prepare(5);
        let terms = pallet_hosting::Terms {
            hoster_reward: 0,
            ..terms()
        };
        assert_ok!(Hosting::open_hosting(
            origin(SPONSOR),
            feed().key,
            account(HOSTER),
            5 * ATTESTOR_REWARD,
            terms
        ));
        assert_ok!(Hosting::accept_hosting(origin(HOSTER), 0, 0, VOUCHED));
        let id = next_passes(0);
        let settled = Settlements::<Test>::get(id).unwrap();
        assert!(settled
            .paid
            .iter()
            .all(|payment| payment.kind == PaymentKind::Report));
        assert_eq!((settled.paid.len(), escrow(0)), (5, 0));
    });
}

#[test]
fn a_sponsor_may_hold_all_but_its_existential_deposit_and_gets_it_back() {
    with_chain(|| {
        prepare(5);
        let all = balance(SPONSOR);
        let offer = |escrow| {
            Hosting::open_hosting(
                origin(SPONSOR),
                feed().key,
                account(HOSTER),
                escrow,
                terms(),
            )
        };
        assert_noop!(
            offer(all + 1),
            frame::deps::sp_runtime::TokenError::FundsUnavailable
        );
        assert_ok!(offer(all - 10));
        assert_ok!(Hosting::accept_hosting(origin(HOSTER), 0, 0, VOUCHED));
        next_passes(0);
        assert_ok!(Hosting::close_hosting(origin(SPONSOR), 0));
        assert_eq!(balance(SPONSOR), all - COST);
    });
}
