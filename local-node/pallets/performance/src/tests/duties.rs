//! What an account has to do next, and until when.

use frame::testing_prelude::*;

use crate::{
    mock::*,
    types::{Deadline, Duty, Stage, Task, Until},
    Challenges, Pallet, Rooms,
};

fn duties(of: &AccountId) -> Vec<(Task<AccountId>, Until)> {
    Pallet::<Test>::duties(of)
        .into_iter()
        .map(|Duty { task, until, .. }| (task, until))
        .collect()
}

fn hosters() -> Vec<(Task<AccountId>, Until)> {
    duties(&account(HOSTER))
}

fn deadline(id: u64) -> Deadline {
    match Challenges::<Test>::get(id).unwrap().stage {
        Stage::Report { deadline, .. } => deadline,
        stage => panic!("{stage:?}"),
    }
}

#[test]
fn attestors_flip_audit_and_report_and_the_hoster_serves() {
    with_chain(|| {
        let id = start();
        let challenge = Challenges::<Test>::get(id).unwrap();
        let flip = (Task::Flip, Until::Timestamp(challenge.flip_end_ms()));
        let serve = (Task::Serve, Until::Timestamp(challenge.end_ms()));
        for index in 0..5 {
            assert_eq!(duties(&member(id, index)), core::slice::from_ref(&flip));
        }
        assert_eq!(hosters(), core::slice::from_ref(&serve));
        assert_eq!(duties(&account(STRANGER)), []);
        blocks(1);
        assert_ok!(anchor_attempt(id, 0, 0));
        let last = challenge.end_ms() - challenge.timing.tail_ms;
        assert_eq!(
            duties(&member(id, 1)),
            [(Task::Audit, Until::Timestamp(last))]
        );
        assert_eq!(hosters(), [serve]);
        until(challenge.end_ms());
        let report = (Task::Report, Until::Deadline(deadline(id)));
        assert_eq!(duties(&member(id, 1)), core::slice::from_ref(&report));
        assert_eq!(hosters(), []);
        submit_served(id, 1);
        assert_eq!(duties(&member(id, 1)), []);
        assert_eq!(duties(&member(id, 2)), [report]);
        let over = deadline(id).rooms;
        while Rooms::<Test>::get() < over && Challenges::<Test>::get(id).unwrap().is_open() {
            next_block();
        }
        assert_eq!(duties(&member(id, 2)), []);
    });
}

#[test]
fn who_is_expelled_does_not_flip() {
    with_chain(|| {
        let id = start();
        blocks(1);
        expel(id, 2);
        assert_eq!(duties(&member(id, 2)), []);
        assert!(matches!(duties(&member(id, 3))[..], [(Task::Flip, _)]));
    });
}

#[test]
fn the_members_of_a_fallback_commit() {
    with_chain(|| {
        let id = committing();
        let Stage::Commit { since, opened_ms } = Challenges::<Test>::get(id).unwrap().stage else {
            panic!("commits are taken");
        };
        let timing = Challenges::<Test>::get(id).unwrap().timing;
        let until = Until::Both {
            timestamp_ms: opened_ms + timing.commit_ms,
            block: since + timing.commit_blocks,
        };
        assert_eq!(duties(&member(id, 0)), [(Task::Commit, until)]);
        assert_ok!(commit(id, 0));
        assert_eq!(duties(&member(id, 0)), []);
        commit_all(id, 1..4);
        assert_eq!(duties(&member(id, 4)), [(Task::Commit, until)]);
        until_commits_end();
        // Who committed is active, who did not is not.
        assert!(matches!(duties(&member(id, 0))[..], [(Task::Audit, _)]));
        assert_eq!(duties(&member(id, 4)), []);
    });
}

#[test]
fn the_hoster_answers_what_is_demanded() {
    with_chain(|| {
        let id = reporting();
        submit_demand(id, 0);
        submit_demand(id, 3);
        let due = crate::Demands::<Test>::get(id, member(id, 0)).unwrap().due;
        let answer = |index| {
            let task = Task::Answer {
                attestor: member(id, index),
                chunk: drawn(id, index),
            };
            (task, Until::Deadline(due))
        };
        assert_eq!(hosters(), [answer(0), answer(3)]);
        assert_ok!(super::super::mock::answer(
            id,
            0,
            chunk_answer(drawn(id, 0))
        ));
        assert_eq!(hosters(), [answer(3)]);
        while !due.has_passed(Rooms::<Test>::get(), System::block_number()) {
            assert_eq!(hosters(), [answer(3)]);
            next_block();
        }
        assert_eq!(hosters(), []);
    });
}
