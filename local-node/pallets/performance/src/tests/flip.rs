//! Anchoring, and what happens without.

use frame::{testing_prelude::*, token::fungible::Inspect};

use crate::{
    mock::*,
    types::{Medians, Stage, Verdict},
    Challenges, Error, Event, Flips, History, Running, Settlements, Timing, Waiting,
};
use datdot_primitives::coinflip::{commitment_y, result, root};

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
fn a_late_anchor_is_free_once() {
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
    with_timing(Timing::development(), || {
        let id = start();
        next_block();
        let end = Challenges::<Test>::get(id).unwrap().flip_end_ms();
        // The timestamp of a block is set before `on_poll` has run.
        Timestamp::set_timestamp(end);
        assert_noop!(anchor_as(id, 0), Error::<Test>::FlipOver);
    });
}
