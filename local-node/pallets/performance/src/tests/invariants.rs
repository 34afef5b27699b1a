//! What must hold of the queue and of settlements is noticed when it does not; of the rest, where
//! that is tested.

use frame::testing_prelude::*;

use crate::{
    mock::*,
    types::{Absence, QueuePlace, SponsorTurns, Verdict, MAX_PAYMENTS},
    Queue, Settlements, Timing, Turns, Waiting,
};

/// Whether a damage to the state that this leads to is noticed as this problem.
fn damage(lead: fn() -> u64, damage: fn(u64), problem: &'static str) {
    new_test_ext(Timing::development()).execute_with(|| {
        let id = lead();
        assert_ok!(Performance::do_try_state());
        damage(id);
        assert_eq!(Performance::do_try_state(), Err(problem.into()));
    });
}

/// A hosting that waits for a fifth attestor.
fn waiting() -> u64 {
    prepare(4);
    open_hosting(COST)
}

#[test]
fn a_queue_that_is_not_what_waits() {
    damage(
        waiting,
        |hosting| {
            let wait = Waiting::<Test>::get(hosting).unwrap();
            Queue::<Test>::remove(QueuePlace::new(wait.turn, wait.since, hosting));
        },
        "the queue is not what waits",
    );
    damage(
        waiting,
        |_| {
            let turns = SponsorTurns {
                last: 1,
                waiting: 1,
            };
            Turns::<Test>::insert(account(STRANGER), turns);
        },
        "turns of a sponsor without hostings that wait",
    );
    let problem = "a sponsor's turns are not those of its hostings";
    damage(
        waiting,
        |_| Turns::<Test>::mutate_extant(account(SPONSOR), |turns| turns.waiting += 1),
        problem,
    );
    damage(
        waiting,
        |_| Turns::<Test>::mutate_extant(account(SPONSOR), |turns| turns.last -= 1),
        problem,
    );
}

/// A challenge that passed: four were served, one was absent.
fn settled() -> u64 {
    let id = reporting();
    for index in 0..4 {
        submit_served(id, index);
    }
    blocks(12);
    assert_ok!(Performance::close_challenge(origin(STRANGER), id));
    id
}

#[test]
fn a_settlement_that_divides_more_or_less_than_there_was() {
    damage(
        settled,
        Settlements::<Test>::remove,
        "a closed challenge is not settled",
    );
    type Change = fn(&mut crate::types::Settlement<AccountId>);
    let changes: [(fn(u64), &'static str); 9] = [
        (
            |id| spoil(id, |it| it.outcome = Verdict::Failed),
            "a settlement has another outcome",
        ),
        (
            |id| spoil(id, |it| it.burnt += 1),
            "absence fees were lost or made",
        ),
        (
            |id| spoil(id, |it| it.to_escrow -= 1),
            "absence fees were lost or made",
        ),
        (
            |id| spoil(id, |it| it.slashed = 1),
            "withholding cost or brought something else than the demands say",
        ),
        (
            |id| spoil(id, |it| it.forfeited += 1),
            "the hoster got more than its reward",
        ),
        (
            |id| spoil(id, |it| it.active = 3),
            "the attestors got more than their rewards",
        ),
        (
            |id| spoil(id, |it| it.active = 4),
            "the active of a settlement are not those of its flip",
        ),
        (
            |id| spoil(id, |it| it.served = 3),
            "a settlement has other reports than the tally",
        ),
        (
            // The first who was paid for a report in the place of the absent one.
            |id| {
                spoil(id, |it| {
                    it.absent[0] = Absence {
                        account: it.paid[1].account.clone(),
                        ..it.absent[0]
                    }
                })
            },
            "somebody was neither absent nor reported, or both",
        ),
    ];
    fn spoil(id: u64, change: Change) {
        Settlements::<Test>::mutate_extant(id, change);
    }
    for (change, problem) in changes {
        damage(settled, change, problem);
    }
}

#[test]
fn a_settlement_has_room_for_each_attestor_twice_the_hoster_and_the_closer() {
    assert_eq!(MAX_PAYMENTS, 66);
}
