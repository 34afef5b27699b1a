//! Anchoring: the first attempt, later ones, and what is refused.

use frame::testing_prelude::*;

use crate::{
    mock::*,
    types::{Expulsion, Stage, Verdict},
    Challenges, Error, Event, Expulsions, Flips, Settlements, StartHashes, Timing,
};
use datdot_primitives::{
    coinflip::{commitment_y, result, root},
    draws::Schedule,
};

/// Anchors honestly, as the member at this place.
fn anchor_as(id: u64, index: usize) -> DispatchResultWithPostInfo {
    let (openings, echoes) = anchor(id);
    Performance::anchor_flip(
        RuntimeOrigin::signed(member(id, index)),
        id,
        0,
        openings,
        echoes,
    )
}

#[test]
fn an_anchored_flip_begins_the_audits() {
    with_chain(|| {
        let id = start();
        next_block();
        let (openings, echoes) = anchor(id);
        let info = Performance::anchor_flip(
            RuntimeOrigin::signed(member(id, 3)),
            id,
            0,
            openings.clone(),
            echoes,
        )
        .unwrap();
        assert_eq!(info.pays_fee, Pays::No);

        let topic = topic(id);
        let pairs: Vec<_> = openings
            .iter()
            .enumerate()
            .map(|(index, opening)| {
                let key = public(&session_key(number(id, index)));
                (
                    commitment_y(&topic, &key, &opening.salt, &opening.x),
                    opening.z,
                )
            })
            .collect();
        let numbers: Vec<_> = openings.iter().map(|opening| opening.x).collect();
        let root = root(&topic, &pairs);
        let randomness = result(&topic, &root, &numbers);
        let flip = Flips::<Test>::get(id).unwrap();
        assert_eq!(
            (flip.topic, flip.root, flip.randomness),
            (topic, root, randomness)
        );
        assert_eq!(
            flip.commitments.into_inner(),
            pairs.iter().map(|pair| pair.1).collect::<Vec<_>>()
        );
        assert_eq!((flip.attempt, flip.by, flip.late), (0, Some(3), 0));
        assert_eq!(flip.block, System::block_number());
        assert_eq!(Challenges::<Test>::get(id).unwrap().stage, Stage::Audit);
        let by = member(id, 3);
        assert_eq!(
            events(),
            [Event::FlipAnchored {
                id,
                attempt: 0,
                topic,
                root,
                randomness,
                by
            }]
        );
    });
}

#[test]
pub(super) fn a_late_anchor_is_free_once() {
    with_chain(|| {
        let id = anchored();
        let root = Flips::<Test>::get(id).unwrap().root;
        for index in 1..5 {
            let info = anchor_as(id, index).unwrap();
            assert_eq!(info.pays_fee, Pays::No);
            assert_eq!(
                events().last(),
                Some(&Event::FlipAnchoredLate {
                    id,
                    by: member(id, index)
                })
            );
        }
        for index in 0..5 {
            let refused = anchor_as(id, index).unwrap_err();
            assert_eq!(refused.error, Error::<Test>::AlreadyAnchored.into());
            assert_eq!(refused.post_info.pays_fee, Pays::Yes);
        }
        assert_eq!(Flips::<Test>::get(id).unwrap().root, root);
    });
}

#[test]
fn an_anchor_is_checked() {
    with_chain(|| {
        let id = start();
        let first = RuntimeOrigin::signed(member(id, 0));
        assert_noop!(
            Performance::anchor_flip(first.clone(), id, 0, Default::default(), Default::default()),
            Error::<Test>::StartHashUnknown
        );
        next_block();
        let (openings, echoes) = anchor(id);
        let refused = |id, attempt, openings: &Openings, echoes: &Echoes, error: Error<Test>| {
            assert_noop!(
                Performance::anchor_flip(
                    first.clone(),
                    id,
                    attempt,
                    openings.clone(),
                    echoes.clone()
                ),
                error
            );
        };
        refused(id + 1, 0, &openings, &echoes, Error::UnknownChallenge);
        refused(id, 1, &openings, &echoes, Error::AttemptUnavailable);
        refused(id, 1 << 31, &openings, &echoes, Error::AttemptUnavailable);
        assert_noop!(
            Performance::anchor_flip(origin(STRANGER), id, 0, openings.clone(), echoes.clone()),
            Error::<Test>::NotInRoster
        );
        assert_noop!(
            Performance::anchor_flip(
                RuntimeOrigin::root(),
                id,
                0,
                openings.clone(),
                echoes.clone()
            ),
            BadOrigin
        );

        let mut fewer = openings.clone();
        fewer.pop();
        refused(id, 0, &fewer, &echoes, Error::OpeningCount);
        let mut fewer = echoes.clone();
        fewer.pop();
        refused(id, 0, &openings, &fewer, Error::EchoCount);
        for index in 0..5 {
            let mut other = openings.clone();
            other[index].z[0] ^= 1;
            refused(id, 0, &other, &echoes, Error::WrongEcho);
            let mut other = openings.clone();
            other[index].salt[31] ^= 1;
            refused(id, 0, &other, &echoes, Error::WrongEcho);
            let mut other = openings.clone();
            other[index].x[5] ^= 128;
            refused(id, 0, &other, &echoes, Error::WrongEcho);
            let mut other = echoes.clone();
            other[index][7] ^= 1;
            refused(id, 0, &openings, &other, Error::WrongEcho);
        }
        let mut swapped = echoes.clone();
        (swapped[0], swapped[1]) = (echoes[1], echoes[0]);
        refused(id, 0, &openings, &swapped, Error::WrongEcho);
        assert_ok!(Performance::anchor_flip(
            first.clone(),
            id,
            0,
            openings,
            echoes
        ));
    });
}

#[test]
fn the_last_block_for_an_anchor_is_before_the_end_of_the_flip() {
    with_chain(|| {
        let id = start();
        let end = Challenges::<Test>::get(id).unwrap().flip_end_ms();
        next_block_at(end - 1);
        assert_ok!(anchor_as(id, 0));
    });
}

#[test]
fn an_anchor_comes_too_late_when_the_agenda_lags() {
    with_chain(|| {
        let id = start();
        next_block();
        let end = Challenges::<Test>::get(id).unwrap().flip_end_ms();
        // The timestamp of a block is set before `on_poll` has run.
        Timestamp::set_timestamp(end);
        assert_noop!(anchor_as(id, 0), Error::<Test>::FlipOver);
    });
}

/// A challenge with time for three attempts, in the block after its start.
fn started() -> u64 {
    let id = start();
    next_block();
    id
}

/// Goes to a block with this timestamp.
fn at(ms: u64) {
    next_block_at(ms);
}

/// The last timestamp whose expulsions count for an attempt.
fn settled(id: u64, number: u32) -> u64 {
    let timing = Challenges::<Test>::get(id).unwrap().timing;
    attempt(id, number).start_ms - 2 * timing.block_ms - timing.finality_ms
}

#[test]
fn a_later_attempt_can_be_anchored() {
    with_timing(retrying(), || {
        for number in [1, 2] {
            let id = if number == 1 { started() } else { 1 };
            if number == 2 {
                // The next challenge of the same hosting.
                until(Challenges::<Test>::get(0).unwrap().end_ms());
                (0..5).for_each(|place| submit_failed(0, place));
                blocks(2);
            }
            at(attempt(id, number).start_ms);
            assert_ok!(anchor_attempt(id, number, 4));
            let flip = Flips::<Test>::get(id).unwrap();
            let timing = Challenges::<Test>::get(id).unwrap().timing;
            let t0 = Challenges::<Test>::get(id).unwrap().t0;
            assert_eq!(flip.topic, topic_of(id, number, 0b11111));
            assert_eq!(
                (flip.attempt, flip.active, flip.by, flip.chain_randomness),
                (number, 0b11111, Some(4), None)
            );
            assert_eq!(flip.moments_from, t0 + timing.flip_ms + 1_000);
        }
    });
}

#[test]
fn attempts_that_do_not_exist_are_not_anchored() {
    with_timing(retrying(), || {
        let id = started();
        let (openings, echoes) = anchor(id);
        at(Challenges::<Test>::get(id).unwrap().flip_end_ms() - 1);
        // There is time for the attempts 0, 1 and 2.
        for number in [3, 7, 8, 1 << 31, u32::MAX] {
            assert_noop!(
                Performance::anchor_flip(
                    RuntimeOrigin::signed(member(id, 0)),
                    id,
                    number,
                    openings.clone(),
                    echoes.clone()
                ),
                Error::<Test>::AttemptUnavailable
            );
        }
        assert_ok!(anchor_attempt(id, 2, 0));
    });
}

#[test]
fn an_attempt_is_anchored_only_once_its_roster_is_settled() {
    with_timing(retrying(), || {
        let id = started();
        at(settled(id, 1));
        assert_noop!(anchor_attempt(id, 1, 0), Error::<Test>::AttemptUnavailable);
        assert_noop!(
            report_fraud(STRANGER, equivocation(id, 1, 0)),
            Error::<Test>::AttemptUnavailable
        );
        at(settled(id, 1) + 1);
        assert_ok!(report_fraud(STRANGER, equivocation(id, 1, 0)));
        assert_ok!(anchor_attempt(id, 1, 0));
    });
}

#[test]
fn an_expelled_member_is_left_out_of_the_next_attempt_and_everything_counts_the_others() {
    let timing = Timing {
        schedule: Schedule::Slots { num: 1, den: 5 },
        ..retrying()
    };
    with_timing(timing, || {
        let id = started();
        expel(id, 1);
        let by_rule = topic_of(id, 1, 0b11101);
        at(attempt(id, 1).start_ms);
        // All five sign as if nothing had happened: another roster.
        let (openings, echoes) = anchor_among(id, &topic_of(id, 1, 0b11111), 0b11111);
        let anchor = |by, openings, echoes| {
            let by = RuntimeOrigin::signed(member(id, by));
            Performance::anchor_flip(by, id, 1, openings, echoes)
        };
        assert_noop!(anchor(0, openings, echoes), Error::<Test>::OpeningCount);
        // Four of them, but not those of the rule.
        let (openings, echoes) = anchor_among(id, &topic_of(id, 1, 0b11011), 0b11011);
        assert_noop!(anchor(0, openings, echoes), Error::<Test>::WrongEcho);

        let (openings, echoes) = anchor_among(id, &by_rule, 0b11101);
        // What counts is what is in it: the expelled member may bring it too.
        assert_ok!(anchor(1, openings.clone(), echoes));
        let flip = Flips::<Test>::get(id).unwrap();
        assert_eq!(
            (flip.attempt, flip.topic, flip.active, flip.by),
            (1, by_rule, 0b11101, Some(1))
        );
        let zs: Vec<_> = openings.iter().map(|opening| opening.z).collect();
        assert_eq!(flip.commitments.to_vec(), zs);

        until(Challenges::<Test>::get(id).unwrap().end_ms());
        assert_noop!(submit(id, 1, failed(id, 1, None)), Error::<Test>::NotActive);
        // Places among the active decide the slots, so each report's moment depends on them.
        for place in [0, 2, 4] {
            submit_served(id, place);
        }
        assert_eq!(Settlements::<Test>::get(id), None);
        submit_failed(id, 3);
        let settled = Settlements::<Test>::get(id).unwrap();
        assert_eq!(
            (
                settled.outcome,
                settled.active,
                settled.served,
                settled.failed
            ),
            (Verdict::Passed, 4, 3, 1)
        );
        assert!(settled.absent.is_empty());
        // ⌊1003 · 3 / 4⌋
        assert_eq!(settled.paid[0].amount, 752);
        assert_eq!(settled.forfeited, 251);
        assert_eq!(settled.paid.len(), 4);
    });
}

#[test]
fn who_is_active_and_does_not_report_is_absent_and_nobody_else() {
    with_timing(retrying(), || {
        let id = started();
        expel(id, 4);
        at(attempt(id, 1).start_ms);
        assert_ok!(anchor_attempt(id, 1, 0));
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        for place in [0, 1, 2] {
            submit_served(id, place);
        }
        blocks(12);
        assert_ok!(Performance::close_challenge(origin(STRANGER), id));
        let settled = Settlements::<Test>::get(id).unwrap();
        let absent: Vec<_> = settled.absent.iter().map(|each| &each.account).collect();
        assert_eq!(absent, [&member(id, 3)]);
        assert_eq!(settled.active, 4);
    });
}

#[test]
fn too_few_members_left_make_no_attempt() {
    with_timing(retrying(), || {
        let id = started();
        expel(id, 0);
        expel(id, 1);
        let (openings, echoes) = anchor_among(id, &topic_of(id, 1, 0b11100), 0b11100);
        at(Timestamp::get() + 10_000);
        let by = RuntimeOrigin::signed(member(id, 2));
        assert_noop!(
            Performance::anchor_flip(by, id, 1, openings, echoes),
            Error::<Test>::AttemptUnavailable
        );
        // The first attempt had all of them, and still counts.
        assert_ok!(anchor_attempt(id, 0, 2));
        assert_eq!(Flips::<Test>::get(id).unwrap().active, 0b11111);
    });
}

#[test]
fn a_member_that_is_expelled_after_an_anchor_stays_active() {
    with_chain(|| {
        let id = anchored();
        let flip = Flips::<Test>::get(id);
        expel(id, 2);
        assert_eq!(Flips::<Test>::get(id), flip);
        assert_eq!(Challenges::<Test>::get(id).unwrap().stage, Stage::Audit);
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        submit_served(id, 2);
    });
}

#[test]
fn row_12_anchors_with_anything_invented_are_refused() {
    with_timing(retrying(), || {
        let id = started();
        at(attempt(id, 1).start_ms);
        let run = |number| anchor_among(id, &topic_of(id, number, 0b11111), 0b11111);
        let refused = |number, (openings, echoes): (Openings, Echoes), error: Error<Test>| {
            let by = RuntimeOrigin::signed(member(id, 0));
            assert_noop!(
                Performance::anchor_flip(by, id, number, openings, echoes),
                error
            );
        };
        // Another attempt, challenge or roster's run.
        refused(0, run(1), Error::WrongEcho);
        refused(1, run(0), Error::WrongEcho);
        refused(1, run(2), Error::WrongEcho);
        refused(0, anchor_among(id, &[9; 32], 0b11111), Error::WrongEcho);
        // Invented openings, with which the root is another.
        let (mut openings, echoes) = run(1);
        openings[2].x = [1; 32];
        refused(1, (openings, echoes), Error::WrongEcho);
        // A missing echo: left out, empty, another member's, or one that gives up.
        let (openings, mut echoes) = run(1);
        echoes.pop();
        refused(1, (openings.clone(), echoes), Error::EchoCount);
        let key = session_key(number(id, 3));
        let topic = topic_of(id, 1, 0b11111);
        let gives_up = datdot_primitives::coinflip::echo_payload(&topic, &public(&key), &[0; 32]);
        for echo in [[0; 64], run(1).1[2], sign(&key, &gives_up), run(0).1[3]] {
            let mut echoes = run(1).1;
            echoes[3] = echo;
            refused(1, (openings.clone(), echoes), Error::WrongEcho);
        }
        // A member's opening twice, or two in the wrong order.
        let (mut openings, echoes) = run(1);
        openings.as_mut().swap(0, 1);
        refused(1, (openings, echoes), Error::WrongEcho);
        let (mut openings, mut echoes) = run(1);
        assert_ok!(openings.try_push(openings[4]));
        refused(1, (openings.clone(), echoes.clone()), Error::OpeningCount);
        assert_ok!(echoes.try_push(echoes[4]));
        refused(1, (openings, echoes), Error::OpeningCount);
        assert_ok!(anchor_attempt(id, 1, 0));
    });
}

#[test]
fn row_24_an_expulsion_near_the_start_of_an_attempt_is_judged_by_its_timestamp() {
    for (late, members) in [(0, 0b11110), (1, 0b11111)] {
        with_timing(retrying(), || {
            let id = started();
            let settled = settled(id, 1);
            at(settled + late);
            expel(id, 0);
            assert_eq!(
                Expulsions::<Test>::get(id).into_inner(),
                [Expulsion {
                    place: 0,
                    timestamp_ms: settled + late,
                    block: System::block_number(),
                }]
            );
            at(attempt(id, 1).start_ms);
            let topic = topic_of(id, 1, members);
            let (openings, echoes) = anchor_among(id, &topic, members);
            let by = RuntimeOrigin::signed(member(id, 4));
            assert_ok!(Performance::anchor_flip(by, id, 1, openings, echoes));
            assert_eq!(Flips::<Test>::get(id).unwrap().active, members);
        });
    }
}

#[test]
fn row_24_after_a_reorganised_start_block_only_the_new_topic_is_anchored() {
    with_chain(|| {
        let id = started();
        let hash = StartHashes::<Test>::get(id).unwrap();
        let (openings, echoes) = anchor(id);
        StartHashes::<Test>::insert(id, [3; 32]);
        let by = RuntimeOrigin::signed(member(id, 0));
        assert_noop!(
            Performance::anchor_flip(by, id, 0, openings, echoes),
            Error::<Test>::WrongEcho
        );
        assert_ok!(anchor_attempt(id, 0, 0));
        let other = Flips::<Test>::get(id).unwrap().topic;
        StartHashes::<Test>::insert(id, hash);
        assert_ne!(topic(id), other);
        StartHashes::<Test>::insert(id, [3; 32]);
    });
}
