//! The flip on the chain: when it opens and ends, who may commit, what R is, and when it is Void.

use datdot_primitives::{
    coinflip::{topic as coinflip_topic, FALLBACK_ATTEMPT},
    draws::Schedule,
    hash::{coinflip as tags, hash},
    Hash,
};
use frame::{testing_prelude::*, token::fungible::Inspect};

use crate::{
    mock::*,
    types::{
        Absence, Balance, Fallback, FallbackCommit, Flip, HistoryEntry, Medians, Settlement, Stage,
        Verdict,
    },
    Agenda, Challenges, CommitEnds, Error, Event, Fallbacks, Flips, History, Pallet, Running,
    Settlements, StartHashes, Timing, Waiting,
};

fn stage(id: u64) -> Stage {
    Challenges::<Test>::get(id).expect("it is there").stage
}

fn fallback(id: u64) -> Fallback {
    Fallbacks::<Test>::get(id).expect("it is there")
}

fn flip(id: u64) -> Flip {
    Flips::<Test>::get(id).expect("it is there")
}

fn settlement(id: u64) -> Settlement<AccountId> {
    Settlements::<Test>::get(id).expect("it is settled")
}

fn fee(id: u64, place: usize) -> Absence<AccountId> {
    Absence {
        account: member(id, place),
        fee: ABSENCE_FEE,
    }
}

/// What each attestor of the mock has, held or free.
fn fortunes() -> Vec<Balance> {
    (1..=5)
        .map(|who| Balances::total_balance(&account(who)))
        .collect()
}

/// Commits, without a change but a refusal.
fn refused(id: u64, place: usize, error: Error<Test>) {
    assert_noop!(commit(id, place), error);
}

#[test]
fn what_is_not_anchored_in_time_is_committed_to_on_the_chain() {
    with_chain(|| {
        let id = start();
        let challenge = Challenges::<Test>::get(id).unwrap();
        next_block();
        let (openings, echoes) = anchor(id);
        next_block_at(challenge.flip_end_ms() - 1);
        assert_eq!(stage(id), Stage::Flip);
        next_block_at(challenge.flip_end_ms());
        let since = System::block_number();
        let opened_ms = Timestamp::get();
        assert_eq!(stage(id), Stage::Commit { since, opened_ms });
        let keys: Vec<_> = challenge
            .roster
            .iter()
            .map(|member| member.session_key)
            .collect();
        let genesis = System::block_hash(0).0;
        let start_hash = StartHashes::<Test>::get(id).unwrap();
        let topic = coinflip_topic(&genesis, id, &start_hash, 1 << 31, &keys);
        let opened = fallback(id);
        assert_eq!((opened.topic, opened.roster), (topic, 0b11111));
        assert!(opened.commits.is_empty());
        assert_eq!(
            events(),
            [Event::CommitOpened {
                id,
                topic,
                roster: 0b11111,
                since
            }]
        );
        assert_eq!(Running::<Test>::get(challenge.hosting), Some(id));
        check_invariants();

        // Nothing is anchored any more, and nothing reported or closed yet.
        let by = RuntimeOrigin::signed(member(id, 0));
        assert_noop!(
            Performance::anchor_flip(by, id, 0, openings, echoes),
            Error::<Test>::FlipOver
        );
        assert_noop!(
            submit(id, 0, failed(id, 0, None)),
            Error::<Test>::ReportsNotOpen
        );
        assert_noop!(
            Performance::close_challenge(origin(STRANGER), id),
            Error::<Test>::NotClosable
        );
        assert!(!Pallet::<Test>::is_closable(id));
        let open = Pallet::<Test>::open_challenges(&member(id, 3));
        assert_eq!(
            (open[0].id, open[0].index, open[0].stage),
            (id, Some(3), Stage::Commit { since, opened_ms })
        );
    });
}

#[test]
fn row_24_a_censored_anchor_leads_to_the_fallback_and_may_not_come_after_it() {
    with_chain(|| {
        let id = start();
        next_block();
        let (openings, echoes) = anchor(id);
        until_commits(id);
        commit_all(id, 0..4);
        until_commits_end();
        let before = flip(id);
        for by in 0..5 {
            assert_noop!(
                Performance::anchor_flip(
                    RuntimeOrigin::signed(member(id, by)),
                    id,
                    0,
                    openings.clone(),
                    echoes.clone()
                ),
                Error::<Test>::FlipOver
            );
        }
        assert_eq!(flip(id), before);
    });
}

#[test]
fn commits_are_kept_in_roster_order_free_of_charge() {
    with_chain(|| {
        let id = committing();
        for place in [3, 0, 4, 1] {
            let topic = fallback(id).topic;
            let info = commit(id, place).unwrap();
            assert_eq!(info.pays_fee, Pays::No);
            assert_eq!(
                events().last(),
                Some(&Event::FlipCommitted {
                    id,
                    by: member(id, place),
                    z: z(id, place, &topic)
                })
            );
            check_invariants();
        }
        let of = fallback(id);
        let expected: Vec<_> = [0, 1, 3, 4]
            .map(|place| FallbackCommit {
                place: place as u8,
                z: z(id, place, &of.topic),
            })
            .into();
        assert_eq!(of.commits.to_vec(), expected);
        assert_eq!(of.committed(), 0b11011);
    });
}

#[test]
fn commits_are_refused_from_others_and_twice() {
    with_chain(|| {
        let id = committing();
        let by = |who| Performance::commit_flip(who, id, [1; 32]);
        assert_noop!(by(RuntimeOrigin::root()), BadOrigin);
        assert_noop!(by(RuntimeOrigin::none()), BadOrigin);
        for who in [STRANGER, HOSTER, SPONSOR] {
            assert_noop!(by(origin(who)), Error::<Test>::NotInRoster);
        }
        let first = RuntimeOrigin::signed(member(id, 0));
        assert_noop!(
            Performance::commit_flip(first.clone(), id + 1, [1; 32]),
            Error::<Test>::UnknownChallenge
        );
        assert_ok!(by(first.clone()));
        // Another commitment does not replace the first one.
        assert_noop!(
            Performance::commit_flip(first, id, [2; 32]),
            Error::<Test>::AlreadyCommitted
        );
        let refusal = commit(id, 0).unwrap_err();
        assert_eq!(refusal.post_info.pays_fee, Pays::Yes);
        assert_eq!(fallback(id).commits[0].z, [1; 32]);
    });
}

#[test]
fn commits_are_taken_from_the_first_block_after_f_opened_to_the_last_before_c() {
    with_chain(|| {
        let id = start();
        next_block();
        refused(id, 0, Error::CommitsNotOpen);
        let end = Challenges::<Test>::get(id).unwrap().flip_end_ms();
        next_block_at(end - 1);
        refused(id, 0, Error::CommitsNotOpen);
        // The timestamp of a block is set before `on_poll` has run.
        Timestamp::set_timestamp(end);
        refused(id, 0, Error::CommitsNotOpen);
        next_block_at(end + 499);
        // F.
        assert_ok!(commit(id, 0));
        blocks(3);
        assert_ok!(commit(id, 1));
        assert_ok!(commit(id, 2));
        assert_ok!(commit(id, 3));
        next_block();
        // C.
        refused(id, 4, Error::CommitsOver);
        assert_eq!(stage(id), Stage::Audit);
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        refused(id, 4, Error::CommitsOver);
        (0..4).for_each(|place| submit_served(id, place));
        assert!(!Challenges::<Test>::get(id).unwrap().is_open());
        refused(id, 4, Error::CommitsOver);
    });
}

#[test]
fn commits_are_refused_from_c_on_when_the_agenda_lags() {
    with_chain(|| {
        let id = committing();
        assert_ok!(commit(id, 0));
        blocks(3);
        assert_ok!(commit(id, 1));
        let Stage::Commit { since, opened_ms } = stage(id) else {
            panic!("it is in phase Commit")
        };
        // `on_poll` had no room: neither is the phase another, nor is the end noted.
        System::set_block_number(since + 4);
        Timestamp::set_timestamp(opened_ms + 2_000);
        assert_eq!(CommitEnds::<Test>::get(id), None);
        refused(id, 2, Error::CommitsOver);
        System::set_block_number(since + 3);
        assert_ok!(commit(id, 2));
    });
}

#[test]
fn what_was_anchored_takes_no_commits() {
    with_chain(|| {
        let id = anchored();
        refused(id, 0, Error::CommitsOver);
        until_commits(id);
        refused(id, 0, Error::CommitsOver);
        assert_eq!(Fallbacks::<Test>::get(id), None);
    });
}

#[test]
fn commits_end_when_both_time_and_blocks_are_over() {
    // Fast blocks: the time decides.
    with_chain(|| {
        let id = committing();
        let opened = Timestamp::get();
        commit_all(id, 0..4);
        for _ in 0..9 {
            next_block_at(Timestamp::get() + 200);
            assert!(matches!(stage(id), Stage::Commit { .. }));
        }
        next_block_at(opened + 1_999);
        assert_ok!(commit(id, 4));
        assert_eq!(CommitEnds::<Test>::get(id), None);
        next_block_at(opened + 2_000);
        assert_eq!(stage(id), Stage::Audit);
        assert_eq!(flip(id).active, 0b11111);
    });
    // Slow blocks: their number does.
    with_chain(|| {
        let id = committing();
        let since = System::block_number();
        commit_all(id, 0..4);
        for passed in 1..4 {
            next_block_at(Timestamp::get() + 1_000);
            let end = CommitEnds::<Test>::get(id);
            assert_eq!(end.map(|end| (end.due, end.reached)), {
                (passed >= 2).then_some((since + 4, None))
            });
            check_invariants();
        }
        assert_ok!(commit(id, 4));
        next_block_at(Timestamp::get() + 1_000);
        assert_eq!(stage(id), Stage::Audit);
        assert_eq!(CommitEnds::<Test>::get(id), None);
        assert_eq!(flip(id).active, 0b11111);
    });
}

#[test]
fn r_mixes_the_commitments_with_the_chains_randomness() {
    with_chain(|| {
        let id = committing();
        for place in [4, 1, 0, 3] {
            assert_ok!(commit(id, place));
        }
        until_commits_end();
        let topic = fallback(id).topic;
        let zs: Vec<Hash> = [0, 1, 3, 4].map(|place| z(id, place, &topic)).into();
        let root = hash(&[&tags::ROOT, &topic, &[4, 0, 0, 0], zs.as_flattened()]);
        let chain_randomness = {
            use frame::traits::Randomness;
            TestRandomness::random(b"datdot/fallback").0
        };
        let randomness = hash(&[&tags::MIX, &topic, &root, &chain_randomness]);
        assert_eq!(
            flip(id),
            Flip {
                attempt: FALLBACK_ATTEMPT,
                topic,
                root,
                randomness,
                active: 0b11011,
                commitments: zs.try_into().unwrap(),
                moments_from: Timestamp::get() + 1_000,
                block: System::block_number(),
                by: None,
                chain_randomness: Some(chain_randomness),
                late: 0,
            }
        );
        assert_eq!(
            events(),
            [Event::FlipFellBack {
                id,
                active: 0b11011,
                topic,
                root,
                chain_randomness,
                randomness,
            }]
        );
        assert_eq!(stage(id), Stage::Audit);
        assert_eq!(Agenda::<Test>::iter_keys().count(), 1);
    });
}

#[test]
fn randomness_that_could_be_known_before_c_is_not_used() {
    with_chain(|| {
        let id = committing();
        commit_all(id, 0..4);
        blocks(3);
        let c = System::block_number() + 1;
        KnownSince::set(Some(c - 1));
        for waited in 0..5 {
            next_block();
            assert_eq!(Flips::<Test>::get(id), None);
            let end = CommitEnds::<Test>::get(id).unwrap();
            assert_eq!((end.reached, end.due), (Some(c), c + waited + 1));
            // Commits are over all the same.
            refused(id, 4, Error::CommitsOver);
            check_invariants();
        }
        KnownSince::set(Some(c));
        next_block();
        KnownSince::set(None);
        assert_eq!(CommitEnds::<Test>::get(id), None);
        assert_eq!(flip(id).block, c + 5);
        assert_eq!(flip(id).moments_from, Timestamp::get() + 1_000);
    });
}

#[test]
fn without_fresh_randomness_it_is_void_in_the_end_and_nobody_pays() {
    with_chain(|| {
        let id = committing();
        let before = fortunes();
        commit_all(id, 0..4);
        KnownSince::set(Some(0));
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        KnownSince::set(None);
        assert_eq!(settlement(id).outcome, Verdict::Void);
        assert!(settlement(id).absent.is_empty());
        assert_eq!(fortunes(), before);
    });
}

#[test]
fn who_was_expelled_before_f_cannot_commit_who_is_afterwards_can() {
    with_chain(|| {
        let id = start();
        next_block();
        let end = Challenges::<Test>::get(id).unwrap().flip_end_ms();
        next_block_at(end - 1);
        expel(id, 2);
        next_block_at(end);
        let opened = fallback(id);
        assert_eq!(opened.roster, 0b11011);
        assert_eq!(opened.topic, topic_of(id, FALLBACK_ATTEMPT, 0b11011));
        refused(id, 2, Error::NotInFallback);
        expel(id, 0);
        // The roster is frozen.
        assert_eq!(fallback(id), opened);
        for place in [0, 1, 3, 4] {
            assert_ok!(commit(id, place));
        }
        until_commits_end();
        assert_eq!(flip(id).active, 0b11011);
    });
}

#[test]
fn too_few_commits_are_void_and_who_did_not_commit_pays() {
    with_chain(|| {
        let id = committing();
        for place in [1, 2, 4] {
            assert_ok!(commit(id, place));
        }
        let hosting = Challenges::<Test>::get(id).unwrap().hosting;
        let escrow = || {
            pallet_hosting::HostingsById::<Test>::get(hosting)
                .unwrap()
                .escrow
        };
        assert_eq!(escrow(), 10 * COST);
        until_commits_end();
        let absent: PerFive = vec![fee(id, 0), fee(id, 3)].try_into().unwrap();
        assert_eq!(
            events(),
            [Event::ChallengeClosed {
                id,
                outcome: Verdict::Void,
                medians: Medians::default(),
                paid: Default::default(),
                absent: absent.clone(),
            }]
        );
        // Nobody closed it, so six tenths of the fees are burnt.
        assert_eq!(
            settlement(id),
            Settlement {
                outcome: Verdict::Void,
                active: 0,
                served: 0,
                failed: 0,
                medians: Medians::default(),
                paid: Default::default(),
                absent,
                burnt: 120,
                to_escrow: 80,
                forfeited: 0,
                slashed: 0,
            }
        );
        assert_eq!(escrow(), 10 * COST + 80);
        let bonds: Vec<_> = (0..5).map(|place| bond(id, place)).collect();
        assert_eq!(bonds, [900, 1_000, 1_000, 900, 1_000]);
        assert_eq!(
            stage(id),
            Stage::Closed {
                at: System::block_number(),
                outcome: Verdict::Void
            }
        );
        assert_eq!(Flips::<Test>::get(id), None);
        assert_eq!(
            History::<Test>::get(hosting).to_vec(),
            [HistoryEntry {
                challenge: id,
                outcome: Verdict::Void,
                medians: Medians::default()
            }]
        );
        // The next challenge of the hosting is queued, and starts in the next block.
        assert!(Waiting::<Test>::contains_key(hosting));
        next_block();
        assert_eq!(Running::<Test>::get(hosting), Some(id + 1));
    });
}

type PerFive = BoundedVec<Absence<AccountId>, ConstU32<32>>;

#[test]
fn exactly_min_active_commits_are_enough() {
    with_chain(|| {
        let id = fallen_back(&[0, 1, 2, 3]);
        assert_eq!(stage(id), Stage::Audit);
    });
    with_timing(
        Timing {
            min_active: 5,
            ..Timing::development()
        },
        || {
            let id = fallen_back(&[0, 1, 2, 3]);
            assert_eq!(settlement(id).absent.to_vec(), [fee(id, 4)]);
        },
    );
}

#[test]
fn nobody_commits_and_all_pay_and_the_second_time_are_drained() {
    with_chain(|| {
        let id = fallen_back(&[]);
        assert_eq!(settlement(id).absent.len(), 5);
        assert_eq!((settlement(id).burnt, settlement(id).to_escrow), (300, 200));
        blocks(2);
        let id = Running::<Test>::get(0).unwrap();
        until_commits(id);
        until_commits_end();
        assert_eq!(settlement(id).absent.len(), 5);
        blocks(2);
        use pallet_providers::AttestorPool;
        assert_eq!(Providers::eligible_count(), 0);
    });
}

#[test]
fn presence_in_a_void_challenge_ends_a_row_of_absences() {
    with_chain(|| {
        let absences = |id, place| {
            let role = pallet_providers::Role::Attestor;
            pallet_providers::Providers::<Test>::get(role, member(id, place))
                .unwrap()
                .absences
        };
        let id = fallen_back(&[0, 1, 2]);
        assert_eq!((absences(id, 2), absences(id, 3)), (0, 1));
        blocks(2);
        let id = Running::<Test>::get(0).unwrap();
        until_commits(id);
        for place in [2, 3, 4] {
            assert_ok!(commit(id, place));
        }
        until_commits_end();
        assert_eq!(
            (absences(id, 2), absences(id, 3), absences(id, 0)),
            (0, 0, 1)
        );
    });
}

#[test]
fn row_25_expulsions_below_min_active_before_f_are_void_and_nobody_pays() {
    with_chain(|| {
        let id = start();
        next_block();
        expel(id, 0);
        expel(id, 3);
        let before = fortunes();
        until_commits(id);
        assert_eq!(
            events(),
            [Event::ChallengeClosed {
                id,
                outcome: Verdict::Void,
                medians: Medians::default(),
                paid: Default::default(),
                absent: Default::default(),
            }]
        );
        assert_eq!(fortunes(), before);
        assert_eq!(Fallbacks::<Test>::get(id), None);
        refused(id, 1, Error::CommitsOver);
    });
    // One more is enough.
    with_chain(|| {
        let id = start();
        next_block();
        expel(id, 3);
        until_commits(id);
        assert_eq!(fallback(id).roster, 0b10111);
        commit_all(id, 0..3);
        until_commits_end();
        // Of four, three committed: Void, and only the fourth pays.
        assert_eq!(settlement(id).outcome, Verdict::Void);
        assert_eq!(settlement(id).absent.to_vec(), [fee(id, 4)]);
    });
}

#[test]
fn who_is_expelled_while_commits_are_taken_has_nothing_left_to_pay_with() {
    with_chain(|| {
        let id = committing();
        expel(id, 1);
        until_commits_end();
        let absent = settlement(id).absent;
        assert_eq!(absent.len(), 5);
        assert_eq!((absent[1].fee, absent[2].fee), (0, ABSENCE_FEE));
        assert_eq!(settlement(id).burnt, 240);
    });
}

#[test]
fn a_slow_chain_leaves_no_time_for_audits_and_nobody_pays() {
    // W = T0 + 15,000 − 3,000 − (C + 1,000)
    for (c, outcome) in [(10_500, None), (10_501, Some(Verdict::Void))] {
        with_chain(|| {
            let id = committing();
            let before = fortunes();
            let t0 = Challenges::<Test>::get(id).unwrap().t0;
            commit_all(id, 0..4);
            blocks(3);
            next_block_at(t0 + c);
            assert_eq!(Settlements::<Test>::get(id).map(|it| it.outcome), outcome);
            assert_eq!(Flips::<Test>::contains_key(id), outcome.is_none());
            assert_eq!(fortunes(), before);
        });
    }
    // Not even who did not commit.
    with_chain(|| {
        let id = committing();
        blocks(3);
        next_block_at(Timestamp::get() + 60_000);
        assert_eq!(settlement(id).outcome, Verdict::Void);
        assert!(settlement(id).absent.is_empty());
    });
}

#[test]
pub(super) fn after_a_fallback_the_active_report_and_settle() {
    let timing = Timing {
        schedule: Schedule::Slots { num: 1, den: 2 },
        ..Timing::development()
    };
    with_timing(timing, || {
        let id = fallen_back(&[0, 1, 3, 4]);
        let challenge = Challenges::<Test>::get(id).unwrap();
        let fixed = flip(id).moments_from;
        assert_ne!(fixed, challenge.timing.moments_from(challenge.t0));
        until(challenge.end_ms());
        assert_noop!(submit(id, 2, failed(id, 2, None)), Error::<Test>::NotActive);
        for place in [0, 1, 3] {
            submit_served(id, place);
            let moment = crate::Reports::<Test>::get(id, member(id, place))
                .unwrap()
                .moment_ms;
            assert!((fixed..challenge.end_ms() - 3_000).contains(&moment));
        }
        assert_eq!(Settlements::<Test>::get(id), None);
        // The last active one settles it; who did not commit was never there.
        submit_failed(id, 4);
        let settled = settlement(id);
        assert_eq!(
            (
                settled.outcome,
                settled.active,
                settled.served,
                settled.failed
            ),
            (Verdict::Passed, 4, 3, 1)
        );
        assert_eq!(settled.absent.to_vec(), [fee(id, 2)]);
        assert_eq!(settled.paid[0].amount, HOSTER_REWARD * 3 / 4);
        assert_eq!((settled.burnt, settled.to_escrow), (60, 40));
    });
}

#[test]
fn half_of_the_active_is_no_majority_after_a_fallback() {
    with_chain(|| {
        let id = fallen_back(&[0, 1, 2, 3]);
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        submit_served(id, 0);
        submit_served(id, 1);
        blocks(12);
        assert_ok!(Performance::close_challenge(origin(STRANGER), id));
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Inconclusive);
        // Two that did not report, and one that did not commit.
        let absent = [fee(id, 2), fee(id, 3), fee(id, 4)];
        assert_eq!(settled.absent.to_vec(), absent);
        assert_eq!(settled.paid.last().unwrap().amount, 30);
    });
}

#[test]
fn moments_before_r_are_refused_after_a_fallback() {
    with_chain(|| {
        let id = fallen_back(&[0, 1, 2, 3]);
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        let mut early = draft(id, 0);
        early.receipt.opened = flip(id).moments_from - 2_001;
        assert_noop!(
            submit(id, 0, early.seal(id, 0)),
            Error::<Test>::ReceiptOpened
        );
        submit_served(id, 0);
    });
}

#[test]
fn the_fallback_is_pruned_with_its_challenge() {
    with_chain(|| {
        let id = fallen_back(&[0, 1, 2]);
        let closed = System::block_number();
        assert_ok!(Hosting::close_hosting(origin(SPONSOR), 0));
        while System::block_number() < closed + UNBONDING - 1 {
            next_block();
        }
        assert!(Fallbacks::<Test>::contains_key(id));
        BurntBeside::set(settlement(id).burnt);
        next_block();
        assert!(!Fallbacks::<Test>::contains_key(id));
        assert!(!Challenges::<Test>::contains_key(id));
    });
    BurntBeside::set(0);
}

#[test]
fn what_must_hold_of_a_fallback_is_noticed_when_it_does_not() {
    let damage = |damage: fn(u64), problem: &'static str| {
        new_test_ext(Timing::development()).execute_with(|| {
            let id = fallen_back(&[0, 1, 2, 3]);
            Performance::do_try_state().unwrap();
            damage(id);
            let found = Performance::do_try_state().unwrap_err();
            assert_eq!(found, problem.into());
        });
    };
    damage(
        Fallbacks::<Test>::remove,
        "a flip that nobody anchored has no fallback",
    );
    damage(
        |id| Fallbacks::<Test>::mutate_extant(id, |of| of.roster = 0b111),
        "a fallback's topic is not its roster's",
    );
    damage(
        |id| Fallbacks::<Test>::mutate_extant(id, |of| of.commits.as_mut().swap(0, 1)),
        "commits do not ascend",
    );
    damage(
        |id| Fallbacks::<Test>::mutate_extant(id, |of| of.commits[3].place = 7),
        "somebody committed who is not in the fallback",
    );
    damage(
        |id| Flips::<Test>::mutate_extant(id, |of| of.active = 0b11110),
        "a flip is not that of its fallback",
    );
    damage(
        |id| Flips::<Test>::mutate_extant(id, |of| of.active = 0b111),
        "too few are active",
    );
    damage(
        |id| Flips::<Test>::mutate_extant(id, |of| of.randomness = [1; 32]),
        "R of a fallback does not follow from it",
    );
    damage(
        |id| Flips::<Test>::mutate_extant(id, |of| of.chain_randomness = None),
        "a fallback without the chain's randomness",
    );
    damage(
        |id| Flips::<Test>::mutate_extant(id, |of| of.by = Some(0)),
        "a fallback of what was anchored",
    );
    damage(
        |id| {
            CommitEnds::<Test>::insert(
                id,
                crate::types::CommitEnd {
                    due: 1,
                    reached: None,
                },
            )
        },
        "the end of commits is awaited in another phase",
    );
    damage(
        |id| Fallbacks::<Test>::insert(id + 1, Fallbacks::<Test>::get(id).unwrap()),
        "something is left of a challenge that was removed",
    );
}
