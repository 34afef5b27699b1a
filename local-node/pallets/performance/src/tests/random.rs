//! Whole challenges with everything that can happen in any order: after each block all invariants
//! hold, and no money was lost or made but what events tell.

use core::num::NonZeroU64;
use datdot_primitives::prng::Prng;
use frame::{deps::frame_support::storage::with_storage_layer, testing_prelude::*};
use pallet_providers::Role;

use crate::{
    mock::*,
    types::{AnswerKind, Balance, Challenge, Stage, Verdict},
    Challenges, Event, Fallbacks, Flips, Settlements, Timing,
};

/// What the runs have seen, so that none of it is left out unnoticed.
#[derive(Default, Debug)]
struct Seen {
    anchored: u32,
    retried: u32,
    fell_back: u32,
    void: u32,
    settled: u32,
    expelled: u32,
    absent: u32,
    unbonding: u32,
    shown: u32,
    rewritten: u32,
    unanswered: u32,
}

/// A source of choices.
struct Dice(Prng);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        NonZeroU64::new(bound).map_or(0, |bound| self.0.below(bound))
    }

    fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }
}

/// A call, undone if it fails, as in a block.
fn attempt_call<Info, Refusal>(call: impl FnOnce() -> Result<Info, Refusal>) {
    let _ = with_storage_layer(|| call().map_err(|_| DispatchError::Other("refused")));
}

/// Whether the member at this place is active.
fn flip_has(id: u64, place: usize) -> bool {
    Flips::<Test>::get(id).is_some_and(|flip| flip.active & (1 << place) != 0)
}

/// What may happen in one block to one challenge.
fn act(id: u64, challenge: &Challenge<AccountId>, dice: &mut Dice) {
    let place = dice.below(5) as usize;
    if dice.one_in(25) {
        let proof = if dice.one_in(3) {
            bad_reveal(id, place)
        } else {
            equivocation(id, 0, place)
        };
        attempt_call(|| report_fraud(STRANGER, proof));
    }
    match challenge.stage {
        Stage::Flip if dice.one_in(40) => {
            let flipping = Performance::flipping(id, challenge);
            let flipping = flipping.unwrap_or_else(|_| panic!("the start hash is known"));
            let number = dice.below(3) as u32;
            if flipping.attempt(number).is_some() {
                attempt_call(|| anchor_attempt(id, number, place));
            }
        }
        Stage::Commit { .. } => {
            for place in 0..5 {
                if dice.below(10) < 4 {
                    attempt_call(|| commit(id, place));
                }
            }
        }
        Stage::Report { .. } if dice.one_in(2) => {
            let report = match dice.below(4) {
                0 if flip_has(id, place) => draft(id, place).seal(id, place),
                1 if flip_has(id, place) => failed(id, place, Some(drawn(id, place))),
                _ => failed(id, place, None),
            };
            attempt_call(|| submit(id, place, report));
            if dice.one_in(4) && flip_has(id, place) {
                let answered = match dice.below(5) {
                    0 => rewritten_answer(1 + dice.below(3)),
                    _ => chunk_answer(drawn(id, place)),
                };
                attempt_call(|| answer(id, place, answered));
            }
            if dice.one_in(8) {
                attempt_call(|| Performance::close_challenge(origin(STRANGER), id));
            }
        }
        _ => {}
    }
}

/// What attestors do with their bonds.
fn manage(dice: &mut Dice, seen: &mut Seen) {
    let who = 1 + dice.below(9) as u8;
    let role = Role::Attestor;
    match dice.below(12) {
        0..=3 => attempt_call(|| Providers::undrain(origin(who), role)),
        4 => attempt_call(|| Providers::drain(origin(who), role)),
        5 => attempt_call(|| Providers::deregister(origin(who), role)),
        6 => attempt_call(|| Providers::withdraw_bond(origin(who), role)),
        _ => {}
    }
    seen.unbonding += pallet_providers::Unbondings::<Test>::iter().count() as u32;
}

/// The hoster follows a rewritten feed now and then, or opens another hosting in place of one that
/// ended.
fn follow(dice: &mut Dice) {
    let hostings: Vec<_> = pallet_hosting::HostingsById::<Test>::iter().collect();
    if hostings.len() < 2 && dice.one_in(10) {
        attempt_call(|| {
            let (feed, hoster) = (feed().key, account(HOSTER));
            let id = pallet_hosting::NextHostingId::<Test>::get();
            Hosting::open_hosting(origin(SPONSOR), feed, hoster, 30 * COST, terms())?;
            Hosting::accept_hosting(origin(HOSTER), id, 0, VOUCHED)
        });
    }
    for (id, hosting) in hostings {
        if let Some(fork) = hosting.resting.filter(|_| dice.one_in(10)) {
            attempt_call(|| Hosting::vouch(origin(HOSTER), id, fork, VOUCHED));
        }
    }
}

/// What this block's events say was burnt.
fn told_as_burnt(seen: &mut Seen) -> Balance {
    let mut burnt = 0;
    for event in events() {
        match event {
            Event::Expelled {
                slashed, reward, ..
            } => {
                seen.expelled += 1;
                burnt += slashed - reward;
            }
            Event::ChallengeClosed { id, outcome, .. } => {
                let settlement = Settlements::<Test>::get(id).expect("it has just closed");
                burnt += burnt_by(&settlement);
                seen.absent += settlement.absent.len() as u32;
                if outcome == Verdict::Void {
                    seen.void += 1;
                } else {
                    seen.settled += 1;
                }
            }
            Event::FlipAnchored { attempt, .. } => {
                seen.anchored += 1;
                seen.retried += u32::from(attempt > 0);
            }
            Event::FlipFellBack { .. } => seen.fell_back += 1,
            Event::DemandAnswered { answer, .. } => match answer {
                AnswerKind::Chunk => seen.shown += 1,
                AnswerKind::Rewritten { .. } => seen.rewritten += 1,
            },
            Event::DemandUnanswered { .. } => seen.unanswered += 1,
            _ => {}
        }
    }
    burnt
}

fn run(number: u64, seen: &mut Seen) {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let mut dice = Dice(Prng::new(seed, "test"));
    let timing = match number % 2 {
        0 => Timing::development(),
        _ => retrying(),
    };
    new_test_ext(timing).execute_with(|| {
        prepare(9);
        open_hosting(100 * COST);
        open_hosting(100 * COST);
        let mut issued = Balances::total_issuance();
        for _ in 0..150 {
            // Now and then the chain stands still, or its randomness is old.
            let pause = match dice.below(30) {
                0 => 5_000,
                _ => 250 + dice.below(500),
            };
            match dice.below(20) {
                0 => KnownSince::set(Some(System::block_number())),
                1..=3 => KnownSince::set(None),
                _ => {}
            }
            next_block_at(Timestamp::get() + pause);
            let challenges: Vec<_> = Challenges::<Test>::iter().collect();
            for (id, challenge) in challenges {
                let known = crate::StartHashes::<Test>::contains_key(id);
                if known && (challenge.is_open() || dice.one_in(4)) {
                    act(id, &challenge, &mut dice);
                }
            }
            manage(&mut dice, seen);
            follow(&mut dice);
            issued -= told_as_burnt(seen);
            assert_eq!(Balances::total_issuance(), issued, "in run {number}");
        }
        KnownSince::set(None);
        assert!(Fallbacks::<Test>::iter_keys().all(Challenges::<Test>::contains_key));
    });
}

#[test]
fn whatever_happens_the_invariants_hold_and_money_is_conserved() {
    let mut seen = Seen::default();
    for number in 0..8 {
        run(number, &mut seen);
    }
    let counts = [
        seen.anchored,
        seen.retried,
        seen.fell_back,
        seen.void,
        seen.settled,
        seen.expelled,
        seen.absent,
        seen.unbonding,
        seen.shown,
        seen.rewritten,
        seen.unanswered,
    ];
    assert!(counts.iter().all(|count| *count > 0), "{seen:?}");
}
