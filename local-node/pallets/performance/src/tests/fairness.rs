//! Sponsors take turns, and nobody holds the queue up.

use codec::Encode;
use frame::{
    deps::frame_support::weights::WeightMeter,
    testing_prelude::*,
    traits::{OnFinalize, OnInitialize, OnPoll},
};

use crate::{
    mock::*, types::ChallengeId, Challenges, NextId, Queue, Running, Timing, Turn, Turns, Waiting,
};

/// The sponsors of the challenges from this one on, in the order in which they started.
fn sponsors_from(first: ChallengeId) -> Vec<u8> {
    (first..NextId::<Test>::get())
        .map(|id| AsRef::<[u8; 32]>::as_ref(&Challenges::<Test>::get(id).unwrap().sponsor)[0])
        .collect()
}

/// The hoster, and all attestors with room for a dozen challenges and more.
fn prepare_for_many() {
    prepare(0);
    for number in 1..=ATTESTORS {
        register_attestor(number, 8);
    }
    blocks(1);
}

#[test]
fn a_sponsor_with_many_hostings_does_not_keep_another_waiting() {
    with_chain(|| {
        prepare_for_many();
        for _ in 0..200 {
            open_hosting(COST);
        }
        // The first two start, so that there are turns in the past as well.
        blocks(1);
        let before = NextId::<Test>::get();
        assert_eq!(before, 2);
        let second = open_hosting_for(STRANGER, COST);
        let third = open_hosting_for(1, COST);
        blocks(3);
        // At most two of the first sponsor's, and one of each other's.
        let started = sponsors_from(before);
        let place = |sponsor| started.iter().position(|one| *one == sponsor);
        assert!(
            place(STRANGER).is_some_and(|place| place <= 3),
            "{started:?}"
        );
        assert!(place(1).is_some_and(|place| place <= 3), "{started:?}");
        assert!(Running::<Test>::contains_key(second) && Running::<Test>::contains_key(third));
    });
}

#[test]
fn sponsors_take_turns() {
    with_chain(|| {
        prepare_for_many();
        for sponsor in [SPONSOR, STRANGER, 1] {
            for _ in 0..4 {
                open_hosting_for(sponsor, COST);
            }
        }
        blocks(6);
        let started = sponsors_from(0);
        assert_eq!(started.len(), 12);
        for turn in started.chunks(3) {
            assert_eq!(turn, [SPONSOR, STRANGER, 1]);
        }
        assert_eq!(Turn::<Test>::get(), 4);
        assert_eq!(Turns::<Test>::iter().count(), 0);
    });
}

#[test]
fn who_leaves_the_queue_and_comes_back_gets_no_more_turns() {
    with_chain(|| {
        prepare(4);
        let hostings: Vec<_> = (0..3).map(|_| open_hosting(COST)).collect();
        let turns = || -> Vec<_> {
            let turn = |id| Waiting::<Test>::get(id).map(|wait| wait.turn);
            hostings.iter().map(|id| turn(*id)).collect()
        };
        assert_eq!(turns(), [Some(1), Some(2), Some(3)]);
        assert_ok!(Hosting::close_hosting(origin(SPONSOR), hostings[1]));
        assert_eq!(turns(), [Some(1), None, Some(3)]);
        // Not the place in between.
        let another = open_hosting(COST);
        assert_eq!(Waiting::<Test>::get(another).unwrap().turn, 4);
        assert_eq!(Turns::<Test>::get(account(SPONSOR)).unwrap().waiting, 3);
        for id in [hostings[0], hostings[2], another] {
            assert_ok!(Hosting::close_hosting(origin(SPONSOR), id));
        }
        assert_eq!(Turns::<Test>::iter().count(), 0);
        assert_eq!(Queue::<Test>::iter().count(), 0);
    });
}

#[test]
fn nobody_can_hold_a_hosting_up_by_topping_it_up() {
    with_chain(|| {
        prepare(4);
        let hosting = open_hosting(COST);
        let wait = Waiting::<Test>::get(hosting);
        for _ in 0..3 {
            blocks(1);
            assert_ok!(Hosting::top_up(origin(STRANGER), hosting, 1));
            assert_eq!(Waiting::<Test>::get(hosting), wait);
        }
    });
}

#[test]
fn a_hoster_that_vouches_again_and_again_holds_nobody_up_and_keeps_its_turn() {
    with_chain(|| {
        prepare_for_many();
        let restless = open_hosting_for(STRANGER, COST);
        let others: Vec<_> = (0..8).map(|_| open_hosting(COST)).collect();
        let first = Waiting::<Test>::get(restless).unwrap();
        for step in 1..=6 {
            // Randomness that is two blocks old is not for what was vouched for since.
            KnownSince::set(Some(System::block_number() - 1));
            blocks(1);
            assert_ok!(Hosting::vouch(origin(HOSTER), restless, 0, VOUCHED + step));
            assert_eq!(Running::<Test>::get(restless), None);
        }
        assert!(others.into_iter().all(Running::<Test>::contains_key));
        let wait = Waiting::<Test>::get(restless).unwrap();
        assert_eq!(wait.turn, Turn::<Test>::get() + 1);
        assert!(wait.since > first.since);
        // It goes before those that come now.
        let later: Vec<_> = (0..2).map(|_| open_hosting(COST)).collect();
        KnownSince::set(None);
        blocks(1);
        assert!(Running::<Test>::contains_key(restless));
        assert!(!Running::<Test>::contains_key(later[1]));
    });
}

#[test]
fn turns_in_which_nobody_can_be_drawn_are_passed_over() {
    with_chain(|| {
        prepare_for_many();
        // Ready in each of ten blocks, in turns of its own.
        let mut fresh = Vec::new();
        KnownSince::set(Some(0));
        for _ in 0..10 {
            fresh.push(open_hosting_for(STRANGER, COST));
            blocks(1);
        }
        let old = open_hosting(COST);
        let ready = System::block_number();
        let moved: Vec<_> = (1..)
            .zip(&fresh)
            .map(|(step, id)| Hosting::vouch(origin(HOSTER), *id, 0, VOUCHED + step))
            .collect();
        assert!(moved.into_iter().all(|result| result.is_ok()));
        blocks(1);
        for id in &fresh {
            assert_ok!(Hosting::vouch(origin(HOSTER), *id, 0, 2 * VOUCHED));
        }
        KnownSince::set(Some(ready + 1));
        blocks(1);
        assert!(Running::<Test>::contains_key(old));
        assert!(!fresh.into_iter().any(Running::<Test>::contains_key));
        KnownSince::set(None);
    });
}

/// What a block costs in which nothing can start though so many hostings wait: what the hooks say,
/// and the bytes of the state that they read, with the trie's nodes.
fn idle_block(hostings: u32) -> (Weight, usize) {
    let mut chain = new_test_ext(Timing::development());
    chain.execute_with(|| {
        // One attestor too few.
        prepare(4);
        for _ in 0..hostings {
            open_hosting(COST);
        }
        blocks(1);
        assert_eq!(Waiting::<Test>::iter().count(), hostings as usize);
    });
    chain.commit_all().unwrap();
    let (weight, proof) = chain.execute_and_prove(|| {
        let number = System::block_number();
        <Performance as OnFinalize<_>>::on_finalize(number);
        let begin = <Performance as OnInitialize<_>>::on_initialize(number);
        let mut meter = WeightMeter::new();
        <Performance as OnPoll<_>>::on_poll(number, &mut meter);
        begin.saturating_add(meter.consumed())
    });
    (weight, proof.encoded_size())
}

#[test]
fn an_idle_block_costs_no_more_when_many_hostings_wait() {
    let (weight, bytes) = idle_block(10);
    let (weight_of_many, bytes_of_many) = idle_block(600);
    assert_eq!(weight, weight_of_many);
    // Nothing is read of what waits.
    assert_eq!(bytes, bytes_of_many);
}
