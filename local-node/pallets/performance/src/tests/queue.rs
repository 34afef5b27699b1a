//! When challenges start, and with whom.

use datdot_primitives::draws::{draw_roster, roster_seed};
use frame::{deps::frame_support::weights::WeightMeter, testing_prelude::*, traits::Hooks};

use crate::{
    mock::*,
    types::{NextLooks, Stage},
    Agenda, Challenges, Event, Flips, NextId, NextLook, Pallet, Queue, Reports, Running,
    Settlements, StartHashes, Started, Tallies, Timing, Waiting, WeightInfo,
};

#[test]
fn a_hosting_starts_one_block_after_it_became_ready() {
    with_chain(|| {
        prepare(5);
        let hosting = open_hosting(COST);
        assert_eq!(waits_since(hosting), Some(System::block_number()));
        assert_eq!(NextId::<Test>::get(), 0);
        next_block();
        let challenge = Challenges::<Test>::get(0).unwrap();
        assert_eq!(Running::<Test>::get(hosting), Some(0));
        assert_eq!(Waiting::<Test>::get(hosting), None);
        assert_eq!(challenge.block, System::block_number());
        assert_eq!(challenge.t0, Timestamp::get());
        assert_eq!(challenge.hoster, account(HOSTER));
        assert_eq!(challenge.sponsor, account(SPONSOR));
        assert_eq!(challenge.noise_key, public(&noise_key()));
        assert_eq!(challenge.feed, feed());
        assert_eq!(challenge.terms, terms());
        assert_eq!((challenge.fork, challenge.length), (0, VOUCHED));
        assert_eq!(challenge.timing, Timing::development());
        assert_eq!(challenge.stage, Stage::Flip);
        assert_eq!(
            events(),
            [Event::ChallengeStarted {
                id: 0,
                hosting,
                hoster: account(HOSTER),
                roster: challenge.roster.clone(),
                block: challenge.block,
                end_ms: challenge.t0 + 15_000,
                randomness: challenge.randomness,
            }]
        );
    });
}

#[test]
fn the_start_hash_is_stored_one_block_later() {
    with_chain(|| {
        let id = start();
        assert_eq!(StartHashes::<Test>::get(id), None);
        assert_eq!(Started::<Test>::get().into_inner(), [id]);
        let block = System::block_number();
        next_block();
        assert_eq!(
            StartHashes::<Test>::get(id),
            Some(System::block_hash(block).0)
        );
        assert!(Started::<Test>::get().is_empty());
    });
}

#[test]
fn the_roster_is_the_draw_of_the_design() {
    with_chain(|| {
        prepare(12);
        let eligible: Vec<_> = (0..12)
            .map(|place| pallet_providers::Eligible::<Test>::get(place).unwrap())
            .collect();
        open_hosting(COST);
        next_block();
        let challenge = Challenges::<Test>::get(0).unwrap();
        let drawn = draw_roster(roster_seed(&challenge.randomness, 0), 12, 5, |_| false).unwrap();
        let mut expected: Vec<_> = drawn
            .into_iter()
            .map(|place| eligible[place as usize].clone())
            .collect();
        let mut accounts: Vec<_> = challenge
            .roster
            .iter()
            .map(|member| member.account.clone())
            .collect();
        expected.sort();
        accounts.sort();
        assert_eq!(accounts, expected);
        for (index, member) in challenge.roster.iter().enumerate() {
            assert_eq!(member.session_key, public(&session_key(number(0, index))));
        }
    });
}

#[test]
fn hoster_and_sponsor_are_not_drawn() {
    with_chain(|| {
        // Both are attestors too.
        prepare(5);
        register_attestor(HOSTER, 4);
        register_attestor(SPONSOR, 4);
        blocks(1);
        let hosting = open_hosting(5 * COST);
        next_block();
        let id = Running::<Test>::get(hosting).unwrap();
        let mut numbers: Vec<_> = (0..5).map(|index| number(id, index)).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn without_hoster_and_sponsor_there_may_be_too_few() {
    with_chain(|| {
        prepare(4);
        register_attestor(HOSTER, 4);
        blocks(1);
        let hosting = open_hosting(5 * COST);
        blocks(2);
        assert_eq!(Running::<Test>::get(hosting), None);
        // It waits, at the end of the queue, until there are enough.
        assert_eq!(waits_since(hosting), Some(System::block_number()));
        register_attestor(5, 4);
        blocks(2);
        assert!(Running::<Test>::contains_key(hosting));
    });
}

#[test]
fn a_challenge_needs_a_pool_of_the_factor() {
    with_timing(
        Timing {
            pool_factor: 2,
            ..Timing::development()
        },
        || {
            prepare(9);
            let hosting = open_hosting(COST);
            blocks(3);
            assert_eq!(Running::<Test>::get(hosting), None);
            register_attestor(10, 1);
            // Registered in this block, of age in the next, drawn in the one after.
            blocks(1);
            assert_eq!(Running::<Test>::get(hosting), None);
            blocks(1);
            assert!(Running::<Test>::contains_key(hosting));
        },
    );
}

#[test]
fn a_challenge_needs_an_escrow_that_covers_it() {
    with_chain(|| {
        prepare(5);
        let hosting = open_hosting(COST - 1);
        assert_eq!(Waiting::<Test>::get(hosting), None);
        blocks(2);
        assert_eq!(Running::<Test>::get(hosting), None);
        assert_ok!(Hosting::top_up(origin(STRANGER), hosting, 1));
        assert!(Waiting::<Test>::contains_key(hosting));
        next_block();
        assert!(Running::<Test>::contains_key(hosting));
    });
}

#[test]
fn an_escrow_that_no_longer_covers_a_larger_roster_leaves_the_queue() {
    with_chain(|| {
        prepare(6);
        let hosting = open_hosting(COST);
        let timing = Timing {
            attestors: 6,
            ..Timing::development()
        };
        assert_ok!(Performance::set_timing(RuntimeOrigin::root(), timing));
        next_block();
        assert_eq!(Running::<Test>::get(hosting), None);
        assert_eq!(Waiting::<Test>::get(hosting), None);
    });
}

#[test]
fn randomness_that_could_be_known_before_is_not_used() {
    with_chain(|| {
        prepare(5);
        let hosting = open_hosting(COST);
        let ready = System::block_number();
        KnownSince::set(Some(ready));
        blocks(3);
        assert_eq!(Running::<Test>::get(hosting), None);
        KnownSince::set(Some(ready + 1));
        next_block();
        assert!(Running::<Test>::contains_key(hosting));
        KnownSince::set(None);
    });
}

#[test]
fn a_change_of_the_pool_asks_for_new_randomness() {
    with_chain(|| {
        prepare(5);
        let hosting = open_hosting(COST);
        KnownSince::set(Some(System::block_number() + 1));
        // Takes the sixth attestor in, at the start of the next block.
        register_attestor(6, 1);
        blocks(2);
        assert_eq!(Running::<Test>::get(hosting), None);
        KnownSince::set(None);
        next_block();
        assert!(Running::<Test>::contains_key(hosting));
    });
}

#[test]
fn a_vouch_puts_a_hosting_behind() {
    with_chain(|| {
        prepare(5);
        let hosting = open_hosting(COST);
        KnownSince::set(Some(0));
        blocks(2);
        assert_ok!(Hosting::vouch(origin(HOSTER), hosting, 0, VOUCHED + 1));
        assert_eq!(waits_since(hosting), Some(System::block_number()));
        KnownSince::set(None);
        next_block();
        let id = Running::<Test>::get(hosting).unwrap();
        assert_eq!(Challenges::<Test>::get(id).unwrap().length, VOUCHED + 1);
    });
}

#[test]
fn a_closed_hosting_leaves_the_queue() {
    with_chain(|| {
        prepare(4);
        let hosting = open_hosting(COST);
        blocks(1);
        assert!(Waiting::<Test>::contains_key(hosting));
        assert_ok!(Hosting::close_hosting(origin(SPONSOR), hosting));
        assert!(!Waiting::<Test>::contains_key(hosting));
        assert_eq!(Queue::<Test>::iter_keys().count(), 0);
    });
}

#[test]
fn a_bounded_number_starts_in_a_block_the_others_later_in_order() {
    with_chain(|| {
        prepare(12);
        let hostings: Vec<_> = (0..5).map(|_| open_hosting(COST)).collect();
        let running =
            || -> Vec<bool> { hostings.iter().map(Running::<Test>::contains_key).collect() };
        next_block();
        assert_eq!(running(), [true, true, false, false, false]);
        next_block();
        assert_eq!(running(), [true, true, true, true, false]);
        next_block();
        assert_eq!(running(), [true; 5]);
    });
}

#[test]
fn nothing_starts_without_weight() {
    with_chain(|| {
        prepare(5);
        open_hosting(COST);
        let mut meter = WeightMeter::with_limit(Weight::zero());
        Pallet::<Test>::start_waiting(&mut meter);
        Pallet::<Test>::work_off_agenda(&mut meter);
        assert_eq!(NextId::<Test>::get(), 0);
        assert!(meter.consumed().is_zero());
    });
}

#[test]
fn a_block_looks_no_earlier_than_something_can_be_due() {
    with_chain(|| {
        prepare(5);
        blocks(1);
        let mut looks = NextLooks {
            time: u64::MAX,
            rooms: u64::MAX,
            block: u64::MAX,
            queue_is_empty: true,
        };
        assert_eq!(NextLook::<Test>::get(), looks);
        let hosting = open_hosting(COST);
        looks.queue_is_empty = false;
        assert_eq!(NextLook::<Test>::get(), looks);
        next_block();
        let challenge = Challenges::<Test>::get(Running::<Test>::get(hosting).unwrap()).unwrap();
        looks.time = challenge.flip_end_ms();
        looks.queue_is_empty = true;
        assert_eq!(NextLook::<Test>::get(), looks);

        // Until then a block costs no more than if there were none.
        let mut meter = WeightMeter::new();
        Performance::on_poll(System::block_number(), &mut meter);
        assert_eq!(meter.consumed(), <() as WeightInfo>::on_poll());
        // Without the weight for that nothing is looked at.
        next_block_at(challenge.flip_end_ms() - 1);
        assert_eq!(NextLook::<Test>::get(), looks);
        Timestamp::set_timestamp(challenge.flip_end_ms());
        Performance::on_poll(
            System::block_number(),
            &mut WeightMeter::with_limit(Weight::from_parts(1, 0)),
        );
        assert_eq!(NextLook::<Test>::get(), looks);
        Performance::on_poll(System::block_number(), &mut WeightMeter::new());
        assert!(NextLook::<Test>::get().time > challenge.flip_end_ms());
    });
}

#[test]
fn what_must_hold_of_looks_is_noticed_when_it_does_not() {
    with_chain(|| {
        prepare(5);
        open_hosting(COST);
        open_hosting(COST);
        open_hosting(COST);
        next_block();
        let looks = NextLook::<Test>::get();
        NextLook::<Test>::put(NextLooks {
            time: looks.time + 1,
            ..looks
        });
        let found = Performance::do_try_state().unwrap_err();
        assert_eq!(found, "nobody looks when something is due".into());
        NextLook::<Test>::put(NextLooks {
            queue_is_empty: true,
            ..looks
        });
        let found = Performance::do_try_state().unwrap_err();
        assert_eq!(found, "nobody looks at the queue".into());
        NextLook::<Test>::put(looks);
    });
}

#[test]
fn an_attestor_at_its_capacity_is_not_drawn() {
    with_chain(|| {
        prepare(0);
        for number in 1..=5 {
            register_attestor(number, 1);
        }
        blocks(1);
        open_hosting(COST);
        let second = open_hosting(COST);
        blocks(3);
        assert_eq!(Running::<Test>::get(second), None);
        for number in 6..=10 {
            register_attestor(number, 1);
        }
        blocks(2);
        let id = Running::<Test>::get(second).unwrap();
        assert!((0..5).all(|index| number(id, index) > 5));
    });
}

#[test]
fn a_bounded_number_is_worked_off_in_a_block() {
    with_chain(|| {
        prepare(0);
        for number in 1..=12 {
            register_attestor(number, 8);
        }
        blocks(1);
        for _ in 0..17 {
            open_hosting(COST);
        }
        blocks(9);
        assert_eq!(NextId::<Test>::get(), 17);
        let flipping = |id| Challenges::<Test>::get(id).unwrap().stage == Stage::Flip;
        next_block_at(Timestamp::get() + 5_000);
        // The latest is left for the next block.
        assert!((0..16).all(|id| !flipping(id)) && flipping(16));
        next_block();
        assert!(!flipping(16));
    });
}

#[test]
pub(super) fn what_is_closed_is_pruned_after_the_unbonding_time() {
    with_chain(|| {
        let id = reporting();
        for index in 0..5 {
            submit_served(id, index);
        }
        let closed = System::block_number();
        assert_ok!(Hosting::close_hosting(origin(SPONSOR), 0));
        while System::block_number() < closed + UNBONDING - 1 {
            next_block();
        }
        assert!(Challenges::<Test>::contains_key(id));
        next_block();
        assert!(!Challenges::<Test>::contains_key(id));
        assert!(!StartHashes::<Test>::contains_key(id));
        assert!(!Flips::<Test>::contains_key(id));
        assert!(!Tallies::<Test>::contains_key(id));
        assert!(!Settlements::<Test>::contains_key(id));
        assert_eq!(Reports::<Test>::iter_prefix(id).count(), 0);
        assert_eq!(Agenda::<Test>::iter_keys().count(), 0);
        assert_eq!(events(), [Event::ChallengePruned { id }]);
    });
}

#[test]
fn the_open_challenges_of_an_account_are_found() {
    with_chain(|| {
        let id = reporting();
        submit_served(id, 2);
        let of = |number: u8| Pallet::<Test>::open_challenges(&account(number));
        assert_eq!(of(STRANGER), []);
        assert_eq!((of(HOSTER)[0].id, of(HOSTER)[0].index), (id, None));
        let reporter = of(number(id, 2));
        assert_eq!((reporter[0].index, reporter[0].reported), (Some(2), true));
        assert!(matches!(reporter[0].stage, Stage::Report { .. }));
        assert!(!of(number(id, 1))[0].reported);
    });
}
