//! Fraud proofs: what each does, who may bring it, until when, and what is none.

use datdot_primitives::evidence::{evidence_id, Body, EnvelopeBytes, FraudKind, Proof};
use frame::{
    deps::frame_support::weights::WeightMeter, testing_prelude::*, token::fungible::Inspect,
};
use pallet_providers::{AttestorPool, Role};

use crate::{
    mock::*,
    types::{Balance, Expulsion, Fraud, Stage, Verdict},
    Challenges, Error, Event, Expulsions, Flips, Frauds, Running, Settlements, Timing,
};

/// An envelope of the first attempt by the member at this place.
fn sealed(id: u64, place: usize, body: Body) -> EnvelopeBytes {
    envelope(
        &topic(id),
        place as u16,
        &body,
        &session_key(number(id, place)),
    )
}

fn two(id: u64, a: EnvelopeBytes, b: EnvelopeBytes) -> Proof {
    Proof::Equivocation {
        id,
        attempt: 0,
        a,
        b,
    }
}

fn opened(id: u64, commit: EnvelopeBytes, reveal: EnvelopeBytes) -> Proof {
    Proof::BadReveal {
        id,
        attempt: 0,
        commit,
        reveal,
    }
}

/// A commit of the honest run of the mock, and what opens it.
fn honest(id: u64, place: usize) -> (Body, Body) {
    let (openings, _) = anchor(id);
    let opening = openings[place];
    let key = public(&session_key(number(id, place)));
    let y = datdot_primitives::coinflip::commitment_y(&topic(id), &key, &opening.salt, &opening.x);
    let commit = Body::Commit { y, z: opening.z };
    let reveal = Body::Reveal {
        salt: opening.salt,
        x: opening.x,
    };
    (commit, reveal)
}

/// A challenge in phase Flip whose start hash is known.
fn flipping() -> u64 {
    let id = start();
    next_block();
    id
}

fn refused(proof: Proof, error: Error<Test>) {
    assert_noop!(report_fraud(STRANGER, proof.clone()), error);
    let refusal = report_fraud(STRANGER, proof).unwrap_err();
    assert_eq!(refusal.post_info.pays_fee, Pays::Yes);
}

fn provider(id: u64, place: usize) -> pallet_providers::Provider<Balance, u32> {
    pallet_providers::Providers::<Test>::get(Role::Attestor, member(id, place)).unwrap()
}

fn frauds(id: u64) -> Vec<Fraud<AccountId>> {
    Frauds::<Test>::iter_prefix_values(id).collect()
}

#[test]
fn each_kind_of_fraud_is_proven() {
    let commit = |fill: u8| Body::Commit {
        y: [fill; 32],
        z: [7; 32],
    };
    let other_z = Body::Commit {
        y: [1; 32],
        z: [8; 32],
    };
    let reveal = |fill: u8| Body::Reveal {
        salt: [7; 32],
        x: [fill; 32],
    };
    let pairs = [
        (commit(1), commit(2)),
        (commit(1), other_z),
        (Body::Echo([1; 32]), Body::Echo([2; 32])),
        (Body::Echo([0; 32]), Body::Echo([2; 32])),
        (reveal(1), reveal(2)),
    ];
    for (a, b) in pairs {
        for (a, b) in [(a, b), (b, a)] {
            with_chain(|| {
                let id = flipping();
                let proof = two(id, sealed(id, 2, a), sealed(id, 2, b));
                assert_ok!(report_fraud(STRANGER, proof));
                assert_eq!(frauds(id)[0].proof, FraudKind::Equivocation);
                assert_eq!(frauds(id)[0].offender, member(id, 2));
            });
        }
    }
    with_chain(|| {
        let id = flipping();
        let (commit, reveal) = honest(id, 1);
        let Body::Reveal { salt, x } = reveal else {
            panic!("it is a reveal")
        };
        let other = Body::Reveal { salt: x, x: salt };
        let proof = opened(id, sealed(id, 1, commit), sealed(id, 1, other));
        assert_ok!(report_fraud(STRANGER, proof));
        assert_eq!(frauds(id)[0].proof, FraudKind::BadReveal);
    });
}

#[test]
pub(super) fn an_offender_loses_its_bond_and_is_drawn_no_more() {
    with_chain(|| {
        let id = flipping();
        let offender = member(id, 3);
        let reporters = balance(STRANGER);
        let free = Balances::free_balance(&offender);
        let issued = Balances::total_issuance();
        assert_eq!(Providers::eligible_count(), 5);
        let info = report_fraud(STRANGER, equivocation(id, 0, 3)).unwrap();
        assert_eq!(info.pays_fee, Pays::No);

        // The bond is gone: half to the reporter, half burnt.
        assert_eq!(bond(id, 3), 0);
        assert_eq!(Balances::free_balance(&offender), free);
        assert_eq!(Balances::total_balance(&offender), free);
        assert_eq!(balance(STRANGER), reporters + 500);
        assert_eq!(issued - Balances::total_issuance(), 500);
        let record = Fraud {
            offender: offender.clone(),
            proof: FraudKind::Equivocation,
            reporter: account(STRANGER),
            block: System::block_number(),
            slashed: 1_000,
            reward: 500,
        };
        let key = public(&session_key(number(id, 3)));
        let evidence = evidence_id(&key, &topic(id), FraudKind::Equivocation);
        assert_eq!(Frauds::<Test>::get(id, evidence), Some(record));
        assert_eq!(
            Expulsions::<Test>::get(id).to_vec(),
            [Expulsion {
                place: 3,
                timestamp_ms: Timestamp::get(),
                block: System::block_number()
            }]
        );
        assert_eq!(
            events(),
            [Event::Expelled {
                id,
                attestor: offender.clone(),
                kind: FraudKind::Equivocation,
                attempt: 0,
                reporter: account(STRANGER),
                slashed: 1_000,
                reward: 500,
                timestamp_ms: Timestamp::get(),
            }]
        );
        assert!(!provider(id, 3).active);
        assert_eq!(Providers::eligible_count(), 4);
        assert_eq!(provider(id, 3).engagements, 1);
        check_invariants();

        // With the sixth attestor there are enough for the next challenge, without it.
        register_attestor(6, 4);
        anchor_attempt(id, 0, 0).unwrap();
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        (0..5).for_each(|place| submit_failed(id, place));
        blocks(2);
        let next = Running::<Test>::get(0).unwrap();
        assert!((0..5).all(|place| member(next, place) != offender));
    });
}

#[test]
fn anybody_may_report_even_the_offender() {
    with_chain(|| {
        let id = flipping();
        for (place, by) in [
            (0, HOSTER),
            (1, SPONSOR),
            (2, number(id, 4)),
            (3, number(id, 3)),
        ] {
            let before = balance(by);
            assert_ok!(report_fraud(by, equivocation(id, 0, place)));
            assert_eq!(balance(by), before + 500);
        }
        assert_eq!(Expulsions::<Test>::get(id).len(), 4);
        assert_noop!(
            Performance::report_fraud(
                RuntimeOrigin::root(),
                alloc::boxed::Box::new(equivocation(id, 0, 4))
            ),
            BadOrigin
        );
        assert_noop!(
            Performance::report_fraud(
                RuntimeOrigin::none(),
                alloc::boxed::Box::new(equivocation(id, 0, 4))
            ),
            BadOrigin
        );
    });
}

#[test]
fn a_reward_too_small_for_a_new_account_is_burnt() {
    with_chain(|| {
        let id = flipping();
        // All but 15 of the bond goes otherwise; half of that is below the existential deposit.
        drop(Providers::slash(&member(id, 0), 985));
        BurntBeside::set(985);
        let newcomer = 77;
        assert_ok!(report_fraud(newcomer, equivocation(id, 0, 0)));
        assert_eq!(balance(newcomer), 0);
        assert_eq!((frauds(id)[0].slashed, frauds(id)[0].reward), (15, 0));
        // Half of an odd slash is rounded down.
        drop(Providers::slash(&member(id, 1), 985));
        BurntBeside::set(2 * 985);
        let before = balance(STRANGER);
        assert_ok!(report_fraud(STRANGER, equivocation(id, 0, 1)));
        assert_eq!(balance(STRANGER), before + 7);
        // Enough for a new account.
        assert_ok!(report_fraud(newcomer, equivocation(id, 0, 2)));
        assert_eq!(balance(newcomer), 500);
    });
    BurntBeside::set(0);
}

#[test]
fn row_24_the_same_evidence_counts_once() {
    with_chain(|| {
        let id = flipping();
        let proof = equivocation(id, 0, 1);
        assert_ok!(report_fraud(STRANGER, proof.clone()));
        refused(proof.clone(), Error::FraudKnown);
        assert_noop!(report_fraud(HOSTER, proof), Error::<Test>::FraudKnown);
        // Other envelopes, but the same member, topic and kind.
        let others = two(
            id,
            sealed(id, 1, Body::Echo([8; 32])),
            sealed(id, 1, Body::Echo([9; 32])),
        );
        refused(others, Error::FraudKnown);
        next_block();
        refused(equivocation(id, 0, 1), Error::FraudKnown);
        assert_eq!(Expulsions::<Test>::get(id).len(), 1);
    });
}

#[test]
fn another_fraud_of_the_same_member_takes_what_is_left() {
    with_timing(retrying(), || {
        let id = flipping();
        expel(id, 1);
        let first = Expulsions::<Test>::get(id);
        next_block();
        assert_ok!(report_fraud(STRANGER, bad_reveal(id, 1)));
        assert_eq!(
            events(),
            [Event::Expelled {
                id,
                attestor: member(id, 1),
                kind: FraudKind::BadReveal,
                attempt: 0,
                reporter: account(STRANGER),
                slashed: 0,
                reward: 0,
                timestamp_ms: Timestamp::get(),
            }]
        );
        assert_eq!(frauds(id).len(), 2);
        // It was expelled by the first.
        assert_eq!(Expulsions::<Test>::get(id), first);
    });
    // With a bond that was filled up again, it pays again.
    with_chain(|| {
        let id = flipping();
        expel(id, 1);
        let by = RuntimeOrigin::signed(member(id, 1));
        assert_ok!(Providers::undrain(by, Role::Attestor));
        assert_eq!(bond(id, 1), 1_000);
        assert_ok!(report_fraud(STRANGER, bad_reveal(id, 1)));
        assert_eq!(bond(id, 1), 0);
        // The way back is cut off again.
        blocks(2);
        assert!(!provider(id, 1).active);
    });
}

#[test]
fn row_13_what_proves_nothing_is_refused() {
    with_timing(retrying(), || {
        let id = flipping();
        let echo = |place, fill: u8| sealed(id, place, Body::Echo([fill; 32]));
        // The same body twice, with the same or another signature of it.
        refused(
            two(id, echo(0, 1), echo(0, 1)),
            Error::ProofNotContradictory,
        );
        let mut altered = echo(0, 1);
        altered[70] ^= 1;
        refused(
            two(id, echo(0, 1), altered.clone()),
            Error::ProofNotContradictory,
        );
        // Another body with a signature that is not its own.
        altered[40] ^= 1;
        refused(two(id, echo(0, 1), altered.clone()), Error::ProofSignature);
        refused(two(id, altered, echo(0, 1)), Error::ProofSignature);
        // Two members' envelopes, and one's under the other's index.
        refused(two(id, echo(0, 1), echo(1, 2)), Error::ProofMembers);
        let mut permuted = echo(1, 2);
        permuted[33] = 0;
        refused(two(id, echo(0, 1), permuted), Error::ProofSignature);
        // Somebody beyond the roster.
        let mut beyond = (echo(0, 1), echo(0, 2));
        (beyond.0[33], beyond.1[33]) = (5, 5);
        refused(two(id, beyond.0, beyond.1), Error::ProofMember);
        // A stranger's signatures.
        let topic = topic(id);
        let by_stranger = |fill: u8| envelope(&topic, 0, &Body::Echo([fill; 32]), &session_key(12));
        refused(
            two(id, by_stranger(1), by_stranger(2)),
            Error::ProofSignature,
        );
        // Different kinds do not contradict each other.
        let (commit, reveal) = honest(id, 0);
        let (commit, reveal) = (sealed(id, 0, commit), sealed(id, 0, reveal));
        refused(two(id, commit.clone(), echo(0, 1)), Error::ProofKinds);
        refused(two(id, commit.clone(), reveal.clone()), Error::ProofKinds);
        refused(
            opened(id, reveal.clone(), commit.clone()),
            Error::ProofKinds,
        );
        refused(
            opened(id, commit.clone(), commit.clone()),
            Error::ProofKinds,
        );
        refused(opened(id, echo(0, 1), reveal.clone()), Error::ProofKinds);
        // A reveal that opens the commit; another member's reveal.
        refused(
            opened(id, commit.clone(), reveal.clone()),
            Error::ProofNotContradictory,
        );
        let others = sealed(id, 1, honest(id, 1).1);
        refused(opened(id, commit.clone(), others), Error::ProofMembers);
        // A forged bad reveal in an honest name.
        let forged = envelope(
            &topic,
            0,
            &Body::Reveal {
                salt: [1; 32],
                x: [2; 32],
            },
            &session_key(12),
        );
        refused(opened(id, commit.clone(), forged), Error::ProofSignature);
        assert!(frauds(id).is_empty() && Expulsions::<Test>::get(id).is_empty());
    });
}

#[test]
fn row_13_evidence_of_another_topic_is_refused() {
    with_timing(retrying(), || {
        let id = flipping();
        let key = session_key(number(id, 0));
        let in_topic = |topic, fill: u8| envelope(&topic, 0, &Body::Echo([fill; 32]), &key);
        let here = topic(id);
        let there = topic_of(id, 1, 0b11111);
        // One act in each of two attempts is none of both.
        refused(
            two(id, in_topic(here, 1), in_topic(there, 2)),
            Error::ProofTopic,
        );
        refused(
            two(id, in_topic(there, 1), in_topic(here, 2)),
            Error::ProofTopic,
        );
        // What was signed in another attempt, challenge or chain.
        refused(
            two(id, in_topic(there, 1), in_topic(there, 2)),
            Error::ProofTopic,
        );
        let elsewhere = [4; 32];
        refused(
            two(id, in_topic(elsewhere, 1), in_topic(elsewhere, 2)),
            Error::ProofTopic,
        );
        // An envelope whose topic was replaced does not have its member's signature.
        let mut moved = in_topic(there, 2);
        moved[1..33].copy_from_slice(&here);
        refused(two(id, in_topic(here, 1), moved), Error::ProofSignature);

        next_block_at(attempt(id, 1).start_ms);
        let named = |number| match two(id, in_topic(there, 1), in_topic(there, 2)) {
            Proof::Equivocation { a, b, .. } => Proof::Equivocation {
                id,
                attempt: number,
                a,
                b,
            },
            other => other,
        };
        refused(named(0), Error::ProofTopic);
        for number in [3, 8, 1 << 31, u32::MAX] {
            refused(named(number), Error::AttemptUnavailable);
        }
        assert_ok!(report_fraud(STRANGER, named(1)));
    });
}

#[test]
fn row_13_who_was_left_out_of_an_attempt_cannot_be_blamed_in_it() {
    with_timing(retrying(), || {
        let id = flipping();
        expel(id, 1);
        next_block_at(attempt(id, 1).start_ms);
        let topic = attempt(id, 1).topic;
        let signed = |index, by, fill: u8| {
            let key = session_key(number(id, by));
            envelope(&topic, index, &Body::Echo([fill; 32]), &key)
        };
        let proof = |index, by| Proof::Equivocation {
            id,
            attempt: 1,
            a: signed(index, by, 1),
            b: signed(index, by, 2),
        };
        // Indices are those of the attempt's roster, in which it has none.
        refused(proof(1, 1), Error::ProofSignature);
        refused(proof(4, 1), Error::ProofMember);
        refused(proof(2, 2), Error::ProofSignature);
        assert_ok!(report_fraud(STRANGER, proof(1, 2)));
        assert_eq!(
            Expulsions::<Test>::get(id)
                .iter()
                .map(|each| each.place)
                .collect::<Vec<_>>(),
            [1, 2]
        );
        assert_ok!(report_fraud(STRANGER, proof(3, 4)));
    });
}

#[test]
fn envelopes_of_a_wrong_length_or_kind_are_refused() {
    with_chain(|| {
        let id = flipping();
        let good = sealed(id, 0, Body::Echo([1; 32]));
        let bad = |change: &dyn Fn(&mut Vec<u8>)| -> EnvelopeBytes {
            let mut bytes = good.to_vec();
            change(&mut bytes);
            bytes.try_into().unwrap()
        };
        let changes: [&dyn Fn(&mut Vec<u8>); 8] = [
            &|bytes| bytes.clear(),
            &|bytes| bytes.truncate(1),
            &|bytes| {
                bytes.pop();
            },
            &|bytes| bytes.push(0),
            &|bytes| bytes[0] = 0,
            &|bytes| bytes[0] = 1,
            &|bytes| bytes[0] = 16,
            &|bytes| bytes[0] = 255,
        ];
        for change in changes {
            refused(two(id, bad(change), good.clone()), Error::ProofMalformed);
            refused(two(id, good.clone(), bad(change)), Error::ProofMalformed);
            refused(opened(id, bad(change), good.clone()), Error::ProofMalformed);
        }
    });
}

#[test]
fn other_proofs_are_refused() {
    with_chain(|| {
        let id = start();
        let early = |attempt| Proof::Equivocation {
            id,
            attempt,
            a: EnvelopeBytes::default(),
            b: EnvelopeBytes::default(),
        };
        refused(early(0), Error::StartHashUnknown);
        next_block();
        refused(early(0), Error::ProofMalformed);
        refused(early(1), Error::AttemptUnavailable);
        let mut unknown = equivocation(id, 0, 0);
        if let Proof::Equivocation { id, .. } = &mut unknown {
            *id += 1;
        }
        refused(unknown, Error::UnknownChallenge);
    });
}

#[test]
fn an_expelled_reporter_counts_and_is_not_paid() {
    with_chain(|| {
        let id = reporting();
        submit_served(id, 0);
        expel(id, 0);
        expel(id, 1);
        submit_served(id, 1);
        submit_served(id, 2);
        submit_failed(id, 3);
        expel(id, 3);
        submit_failed(id, 4);
        let settled = Settlements::<Test>::get(id).unwrap();
        assert_eq!(
            (
                settled.outcome,
                settled.active,
                settled.served,
                settled.failed
            ),
            (Verdict::Passed, 5, 3, 2)
        );
        let paid: Vec<_> = settled
            .paid
            .iter()
            .map(|each| (each.account.clone(), each.amount))
            .collect();
        // ⌊1003 · 3 / 5⌋ for three of five, and one honest attestor.
        assert_eq!(
            paid,
            [(account(HOSTER), 601), (member(id, 2), ATTESTOR_REWARD)]
        );
        let hosting = pallet_hosting::HostingsById::<Test>::get(0).unwrap();
        assert_eq!(hosting.escrow, 10 * COST - HOSTER_REWARD - ATTESTOR_REWARD);
        assert!(settled.absent.is_empty());
    });
}

#[test]
fn an_expelled_absentee_has_no_fee_left() {
    with_chain(|| {
        let id = reporting();
        expel(id, 4);
        (0..4).for_each(|place| submit_served(id, place));
        blocks(12);
        assert_ok!(Performance::close_challenge(origin(STRANGER), id));
        let settled = Settlements::<Test>::get(id).unwrap();
        assert_eq!(settled.absent.len(), 1);
        assert_eq!((settled.absent[0].fee, settled.burnt), (0, 0));
    });
}

#[test]
fn evidence_is_taken_in_every_phase() {
    with_chain(|| {
        let id = committing();
        expel(id, 0);
        commit_all(id, 0..4);
        until_commits_end();
        assert_eq!(Challenges::<Test>::get(id).unwrap().stage, Stage::Audit);
        expel(id, 1);
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        expel(id, 2);
        (0..4).for_each(|place| submit_served(id, place));
        let paid = Settlements::<Test>::get(id);
        next_block();
        // What was settled stays so.
        expel(id, 3);
        assert_eq!(Settlements::<Test>::get(id), paid);
        assert_eq!(Expulsions::<Test>::get(id).len(), 4);
        assert_eq!(bond(id, 3), 0);
    });
}

/// A closed challenge of a hosting that has ended; the block in which it closed.
fn closed() -> (u64, u32) {
    let id = reporting();
    assert_ok!(Hosting::close_hosting(origin(SPONSOR), 0));
    (0..5).for_each(|place| submit_failed(id, place));
    (id, System::block_number())
}

#[test]
fn who_has_left_is_slashed_as_long_as_its_bond_is_held() {
    with_chain(|| {
        let (id, at) = closed();
        // Of the evidence about two members, nobody heard until the last block.
        let late = [equivocation(id, 0, 0), bad_reveal(id, 1)];
        let offenders = [member(id, 0), member(id, 1)];
        for offender in &offenders {
            let by = RuntimeOrigin::signed(offender.clone());
            assert_ok!(Providers::deregister(by, Role::Attestor));
        }
        while System::block_number() < at + UNBONDING - 1 {
            next_block();
        }
        let by = RuntimeOrigin::signed(offenders[0].clone());
        assert_noop!(
            Providers::withdraw_bond(by.clone(), Role::Attestor),
            pallet_providers::Error::<Test>::BondNotFree
        );
        let before = Balances::total_balance(&offenders[0]);
        let [first, second] = late;
        assert_ok!(report_fraud(STRANGER, first.clone()));
        assert_eq!(Balances::total_balance(&offenders[0]), before - 1_000);
        assert_eq!(frauds(id)[0].slashed, 1_000);
        check_invariants();
        BurntBeside::set(500);

        // In the next block the bonds are free, and the challenge is gone.
        next_block();
        refused(first, Error::UnknownChallenge);
        refused(second, Error::UnknownChallenge);
        assert_ok!(Providers::withdraw_bond(by, Role::Attestor));
        assert_eq!(Balances::total_balance(&offenders[0]), before - 1_000);
    });
    BurntBeside::set(0);
}

#[test]
fn evidence_is_too_old_even_when_pruning_lags() {
    with_chain(|| {
        let (id, at) = closed();
        let proof = equivocation(id, 0, 0);
        while System::block_number() < at + UNBONDING - 1 {
            next_block();
        }
        // `on_poll` of the next block had no room.
        System::set_block_number(at + UNBONDING);
        refused(proof.clone(), Error::ProofTooOld);
        System::set_block_number(at + UNBONDING - 1);
        assert_ok!(report_fraud(STRANGER, proof));
    });
}

#[test]
fn frauds_are_pruned_a_bounded_number_at_a_time() {
    let mut ext = new_test_ext(Timing::development());
    let (id, at) = ext.execute_with(|| {
        let (id, at) = closed();
        expel(id, 2);
        let fraud = frauds(id)[0].clone();
        // More than could ever be proven at once.
        for number in 0..139u8 {
            Frauds::<Test>::insert(id, [number; 32], fraud.clone());
        }
        while System::block_number() < at + UNBONDING - 1 {
            next_block();
        }
        (id, at)
    });
    ext.commit_all().unwrap();
    ext.execute_with(|| {
        System::set_block_number(at + UNBONDING);
        // Room for a look at each clock and for one piece of work.
        let share = Performance::look_weight() * 3 + Performance::work_weight(5);
        let poll = || {
            let mut meter = WeightMeter::with_limit(share);
            Performance::work_off_agenda(&mut meter);
        };
        poll();
        assert_eq!(frauds(id).len(), 140 - 64);
        assert!(Challenges::<Test>::contains_key(id) && Flips::<Test>::contains_key(id));
        Performance::do_try_state().unwrap();
    });
    ext.commit_all().unwrap();
    ext.execute_with(|| {
        // Within one block the rest is worked off as far as its share goes.
        Performance::work_off_agenda(&mut WeightMeter::new());
        assert!(!Challenges::<Test>::contains_key(id));
        assert!(frauds(id).is_empty() && Expulsions::<Test>::get(id).is_empty());
        Performance::do_try_state().unwrap();
    });
}

#[test]
fn what_must_hold_of_frauds_is_noticed_when_it_does_not() {
    let damage = |damage: fn(u64), problem: &'static str| {
        new_test_ext(Timing::development()).execute_with(|| {
            let id = anchored();
            expel(id, 0);
            expel(id, 1);
            Performance::do_try_state().unwrap();
            damage(id);
            let found = Performance::do_try_state().unwrap_err();
            assert_eq!(found, problem.into());
        });
    };
    damage(
        |id| Expulsions::<Test>::mutate(id, |them| them[1].place = 0),
        "a member was expelled twice",
    );
    damage(
        |id| Expulsions::<Test>::mutate(id, |them| them[0].timestamp_ms += 1),
        "expulsions are not in order of time",
    );
    damage(
        |id| {
            Expulsions::<Test>::mutate(id, |them| them.pop());
        },
        "the expelled are not the offenders",
    );
    damage(
        |id| {
            let (evidence, mut fraud) = Frauds::<Test>::iter_prefix(id).next().unwrap();
            fraud.reward += 1;
            Frauds::<Test>::insert(id, evidence, fraud);
        },
        "a reporter got more than half of a slash",
    );
    damage(
        |id| {
            let (evidence, mut fraud) = Frauds::<Test>::iter_prefix(id).next().unwrap();
            fraud.offender = account(STRANGER);
            Frauds::<Test>::insert(id, evidence, fraud);
        },
        "an offender is not in the roster",
    );
    damage(
        |id| Flips::<Test>::mutate_extant(id, |flip| flip.moments_from += 1),
        "the moments after an anchor begin at another time",
    );
    damage(
        |id| Flips::<Test>::mutate_extant(id, |flip| flip.topic = [1; 32]),
        "an anchored flip is not that of its attempt",
    );
    damage(
        |id| Flips::<Test>::mutate_extant(id, |flip| flip.by = Some(5)),
        "a flip was not anchored by a member",
    );
    damage(
        |id| Flips::<Test>::mutate_extant(id, |flip| flip.late = 1 << 5),
        "somebody in a flip is not in the roster",
    );
}
