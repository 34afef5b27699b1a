//! Demands: who may make one, what each answer brings whom, until when, and what is no answer.

use datdot_primitives::{answer::Answer, head::Head};
use frame::{testing_prelude::*, token::fungible::InspectHold};
use pallet_hosting::HostingsById;

use crate::{
    mock::*,
    types::{
        AnswerKind, Balance, Deadline, DemandState, Payment, PaymentKind, Settlement, Stage,
        Verdict,
    },
    Challenges, Demands, Error, Event, HoldReason, Reports, Rooms, Running, Settlements, Waiting,
};

fn settlement(id: u64) -> Settlement<AccountId> {
    Settlements::<Test>::get(id).expect("it is settled")
}

fn deposit(id: u64, place: usize) -> Balance {
    Balances::balance_on_hold(&HoldReason::Demand.into(), &member(id, place))
}

fn free(id: u64, place: usize) -> Balance {
    balance(number(id, place))
}

fn state(id: u64, place: usize) -> DemandState {
    Demands::<Test>::get(id, member(id, place))
        .expect("it is there")
        .state
}

fn refused(id: u64, place: usize, with: Answer, error: Error<Test>) {
    assert_noop!(answer(id, place, with), error);
}

fn hosting() -> pallet_hosting::HostingOf<Test> {
    HostingsById::<Test>::get(0).expect("it goes on")
}

fn unanswered(id: u64, place: usize) {
    let error = Error::<Test>::UnknownDemand;
    refused(id, place, chunk_answer(drawn(id, place)), error);
}

#[test]
fn a_demand_holds_a_deposit_and_says_until_when() {
    with_chain(|| {
        let id = reporting();
        let before = free(id, 0);
        submit_demand(id, 0);
        assert_eq!((free(id, 0), deposit(id, 0)), (before - 70, 70));
        let due = Deadline {
            rooms: Rooms::<Test>::get() + 12,
            block: System::block_number() + 48,
        };
        let chunk = drawn(id, 0);
        let attestor = member(id, 0);
        let demanded = Event::Demanded {
            id,
            attestor: attestor.clone(),
            chunk,
            due,
        };
        assert_eq!(events().last(), Some(&demanded));
        let demand = Demands::<Test>::get(id, attestor).unwrap();
        assert_eq!((demand.chunk, demand.due, demand.deposit), (chunk, due, 70));
        assert_eq!(
            (demand.block, demand.state),
            (System::block_number(), DemandState::Open)
        );
        let Stage::Report { answers, .. } = Challenges::<Test>::get(id).unwrap().stage else {
            panic!("reports are taken");
        };
        assert_eq!(answers, Some(due));
        // A report is one, with its demand or without.
        assert_noop!(
            submit(id, 0, failed(id, 0, Some(chunk))),
            Error::<Test>::AlreadyReported
        );
    });
}

#[test]
fn who_cannot_pay_the_deposit_cannot_demand() {
    with_chain(|| {
        let id = reporting();
        let rest = free(id, 0) - 75;
        let origin = RuntimeOrigin::signed(member(id, 0));
        assert_ok!(Balances::transfer_allow_death(
            origin,
            account(STRANGER),
            rest
        ));
        assert_noop!(
            submit(id, 0, failed(id, 0, Some(drawn(id, 0)))),
            TokenError::FundsUnavailable
        );
        submit_failed(id, 0);
    });
}

#[test]
fn a_chunk_that_is_shown_costs_the_demander_a_fee_and_its_pay() {
    with_chain(|| {
        let id = reporting();
        let before = (free(id, 0), balance(HOSTER));
        submit_demand(id, 0);
        let info = answer(id, 0, chunk_answer(drawn(id, 0))).expect("it is shown");
        assert_eq!(info.pays_fee, Pays::No);
        assert_eq!((free(id, 0), deposit(id, 0)), (before.0 - 30, 0));
        assert_eq!(balance(HOSTER), before.1 + 30);
        let shown = DemandState::Answered {
            answer: AnswerKind::Chunk,
            block: System::block_number(),
            extrinsic: 0,
            fee: 30,
        };
        assert_eq!(state(id, 0), shown);
        let told = Event::DemandAnswered {
            id,
            attestor: member(id, 0),
            answer: AnswerKind::Chunk,
            fee: 30,
        };
        assert_eq!(events().last(), Some(&told));
        refused(id, 0, chunk_answer(drawn(id, 0)), Error::AlreadyAnswered);
        // Most of the others were not served either; its report counts, unpaid.
        for place in 1..4 {
            submit_failed(id, place);
        }
        submit_served(id, 4);
        let settled = settlement(id);
        assert_eq!((settled.outcome, settled.failed), (Verdict::Failed, 4));
        let paid: Vec<_> = settled.paid.iter().map(|paid| paid.amount).collect();
        assert_eq!(paid, [50, 50, 50, 101]);
        assert_eq!(settled.paid[0].account, member(id, 1));
        assert_eq!((settled.slashed, hosting().bond), (0, 1_000));
        refused(id, 0, chunk_answer(drawn(id, 0)), Error::AlreadyAnswered);
    });
}

#[test]
fn one_shown_chunk_leaves_a_challenge_passed() {
    with_chain(|| {
        let id = reporting();
        submit_demand(id, 0);
        for place in 1..5 {
            submit_served(id, place);
        }
        // All have reported, and the demand is open.
        assert_eq!(Settlements::<Test>::get(id), None);
        let info = answer(id, 0, chunk_answer(drawn(id, 0))).expect("it is shown");
        assert!(info.actual_weight.is_some());
        let settled = settlement(id);
        assert_eq!((settled.outcome, settled.served), (Verdict::Passed, 4));
        assert_eq!(settled.paid[0].kind, PaymentKind::Hosting);
        assert_eq!(settled.paid[0].amount, HOSTER_REWARD * 4 / 5);
    });
}

#[test]
fn an_unanswered_demand_fails_the_challenge_whatever_the_others_say() {
    with_chain(|| {
        let id = reporting();
        let before = free(id, 2);
        submit_demand(id, 2);
        for place in [0, 1, 3, 4] {
            submit_served(id, place);
        }
        blocks(11);
        assert!(!Performance::is_closable(id));
        assert_noop!(
            Performance::close_challenge(origin(STRANGER), id),
            Error::<Test>::NotClosable
        );
        blocks(1);
        refused(id, 2, chunk_answer(drawn(id, 2)), Error::AnswerTooLate);
        assert!(Performance::is_closable(id));
        let issued = Balances::total_issuance();
        assert_ok!(Performance::close_challenge(origin(STRANGER), id));
        let settled = settlement(id);
        assert_eq!((settled.outcome, settled.served), (Verdict::Failed, 4));
        // Half of 401, rounded down; the rest is burnt.
        assert_eq!(settled.slashed, 401);
        let withheld = Payment {
            account: member(id, 2),
            kind: PaymentKind::Withholding,
            amount: 200,
        };
        assert_eq!(settled.paid[0], withheld);
        let paid: Vec<_> = settled.paid.iter().map(|paid| paid.amount).collect();
        // In roster order: each who was served, and half for the failure that was right.
        assert_eq!(paid, [200, 101, 101, 50, 101, 101]);
        assert_eq!(Balances::total_issuance(), issued - 201);
        assert_eq!((free(id, 2), deposit(id, 2)), (before + 200 + 50, 0));
        let lost = DemandState::Unanswered {
            slashed: 401,
            reward: 200,
        };
        assert_eq!(state(id, 2), lost);
        assert!(events().contains(&Event::DemandUnanswered {
            id,
            attestor: member(id, 2),
            slashed: 401,
            reward: 200,
        }));
        assert_eq!((hosting().bond, hosting().streak), (599, 1));
        refused(id, 2, chunk_answer(drawn(id, 2)), Error::AnswerTooLate);
        // The next one.
        assert!(Waiting::<Test>::contains_key(0));
    });
}

#[test]
pub(super) fn a_bond_that_does_not_cover_it_again_ends_the_hosting() {
    with_chain(|| {
        let id = reporting();
        for place in 0..4 {
            submit_demand(id, place);
        }
        submit_served(id, 4);
        let hosters = balance(HOSTER);
        blocks(12);
        // Nobody closes it; on_poll does, a tenth of the grace later.
        assert_eq!(Settlements::<Test>::get(id), None);
        blocks(1);
        let settled = settlement(id);
        assert_eq!(settled.slashed, 1_000);
        let withheld: Vec<_> = settled
            .paid
            .iter()
            .filter(|paid| paid.kind == PaymentKind::Withholding)
            .map(|paid| paid.amount)
            .collect();
        // 401 twice, then what is left; nothing for the fourth.
        assert_eq!(withheld, [200, 200, 99]);
        assert_eq!(HostingsById::<Test>::get(0), None);
        assert_eq!(balance(HOSTER), hosters);
        blocks(2);
        assert_eq!(Running::<Test>::get(0), None);
    });
}

#[test]
pub(super) fn a_rewritten_feed_makes_it_inconclusive_at_best_and_the_hosting_rests() {
    with_chain(|| {
        let id = reporting();
        let before = (free(id, 0), balance(HOSTER));
        submit_demand(id, 0);
        for place in 1..5 {
            submit_served(id, place);
        }
        assert_ok!(answer(id, 0, rewritten_answer(2)));
        assert_eq!((free(id, 0), deposit(id, 0)), (before.0, 0));
        assert_eq!(balance(HOSTER), before.1);
        let settled = settlement(id);
        assert_eq!(
            (settled.outcome, settled.served),
            (Verdict::Inconclusive, 4)
        );
        assert!(settled
            .paid
            .iter()
            .all(|paid| paid.amount == ATTESTOR_REWARD));
        assert_eq!((settled.forfeited, settled.slashed), (0, 0));
        assert_eq!((hosting().resting, hosting().streak), (Some(2), 0));
        assert!(!Waiting::<Test>::contains_key(0));
        // More money does not wake it, a vouch for a lower fork neither.
        assert_ok!(Hosting::top_up(origin(SPONSOR), 0, 1));
        assert_ok!(Hosting::vouch(origin(HOSTER), 0, 1, VOUCHED));
        blocks(3);
        assert_eq!(
            (Running::<Test>::get(0), Waiting::<Test>::get(0)),
            (None, None)
        );
        assert_ok!(Hosting::vouch(origin(HOSTER), 0, 2, VOUCHED));
        blocks(2);
        assert_eq!(Running::<Test>::get(0), Some(id + 1));
        assert_eq!(Challenges::<Test>::get(id + 1).unwrap().fork, 2);
    });
}

#[test]
fn a_rewritten_feed_does_not_save_who_failed_most() {
    with_chain(|| {
        let id = reporting();
        submit_demand(id, 0);
        assert_ok!(answer(id, 0, rewritten_answer(1)));
        for place in 1..4 {
            submit_failed(id, place);
        }
        submit_served(id, 4);
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Failed);
        let paid: Vec<_> = settled.paid.iter().map(|paid| paid.amount).collect();
        assert_eq!(paid, [50, 50, 50, 50, 101]);
    });
}

#[test]
fn a_hoster_that_has_followed_already_need_not_rest() {
    with_chain(|| {
        let id = reporting();
        assert_ok!(Hosting::vouch(origin(HOSTER), 0, 2, VOUCHED));
        submit_demand(id, 0);
        assert_ok!(answer(id, 0, rewritten_answer(2)));
        assert_eq!(hosting().resting, None);
    });
}

#[test]
fn one_unanswered_outweighs_all_answers() {
    with_chain(|| {
        let id = reporting();
        for place in 0..3 {
            submit_demand(id, place);
        }
        for place in 3..5 {
            submit_served(id, place);
        }
        assert_ok!(answer(id, 0, chunk_answer(drawn(id, 0))));
        assert_ok!(answer(id, 1, rewritten_answer(1)));
        blocks(13);
        let settled = settlement(id);
        assert_eq!((settled.outcome, settled.slashed), (Verdict::Failed, 401));
        // The demand of who was shown its chunk is not paid, the other two half.
        let reports: Vec<_> = settled
            .paid
            .iter()
            .filter(|paid| paid.kind == PaymentKind::Report)
            .map(|paid| paid.amount)
            .collect();
        assert_eq!(reports, [50, 50, 101, 101]);
    });
}

#[test]
fn an_answer_is_due_past_the_end_of_reports() {
    with_chain(|| {
        let id = reporting();
        for place in 0..3 {
            submit_served(id, place);
        }
        blocks(11);
        submit_demand(id, 3);
        blocks(1);
        // D has passed, and member 4 is absent; the demand holds the challenge open.
        assert_noop!(
            submit(id, 4, failed(id, 4, None)),
            Error::<Test>::ReportsOver
        );
        assert!(!Performance::is_closable(id));
        blocks(10);
        assert!(!Performance::is_closable(id));
        assert_ok!(answer(id, 3, chunk_answer(drawn(id, 3))));
        // Not all have reported: it is closed by somebody.
        assert_eq!(Settlements::<Test>::get(id), None);
        assert_ok!(Performance::close_challenge(origin(STRANGER), id));
        let settled = settlement(id);
        assert_eq!(
            (settled.outcome, settled.absent.len()),
            (Verdict::Passed, 1)
        );
    });
}

#[test]
fn a_congested_chain_gives_four_times_as_long() {
    with_chain(|| {
        let id = reporting();
        let congested = |count| {
            for _ in 0..count {
                System::set_block_consumed_resources(Weight::MAX, 0);
                next_block();
            }
        };
        submit_demand(id, 0);
        congested(47);
        assert_ok!(answer(id, 0, chunk_answer(drawn(id, 0))));
    });
    with_chain(|| {
        let id = reporting();
        submit_demand(id, 0);
        for _ in 0..48 {
            System::set_block_consumed_resources(Weight::MAX, 0);
            next_block();
        }
        refused(id, 0, chunk_answer(drawn(id, 0)), Error::AnswerTooLate);
        assert!(Performance::is_closable(id));
    });
}

#[test]
fn who_may_answer_what() {
    with_chain(|| {
        let id = reporting();
        unanswered(id, 0);
        submit_demand(id, 0);
        unanswered(id, 1);
        let chunk = drawn(id, 0);
        let boxed = || alloc::boxed::Box::new(chunk_answer(chunk));
        let attestor = member(id, 0);
        assert_noop!(
            Performance::answer_demand(origin(STRANGER), id, attestor.clone(), boxed()),
            Error::<Test>::NotTheHoster
        );
        assert_noop!(
            Performance::answer_demand(origin(HOSTER), id + 1, attestor.clone(), boxed()),
            Error::<Test>::UnknownChallenge
        );
        assert_noop!(
            Performance::answer_demand(RuntimeOrigin::none(), id, attestor, boxed()),
            BadOrigin
        );
        let refusal = answer(id, 0, rewritten_answer(0)).expect_err("it is refused");
        assert_eq!(refusal.post_info.pays_fee, Pays::Yes);
    });
}

#[test]
fn what_is_no_answer() {
    with_chain(|| {
        let id = reporting();
        submit_demand(id, 0);
        let demanded = drawn(id, 0);
        let with = |change: &dyn Fn(&mut Answer)| {
            let mut answer = chunk_answer(demanded);
            change(&mut answer);
            answer
        };
        // Another chunk, whole and proven.
        let other = (demanded + 1) % VOUCHED;
        refused(id, 0, chunk_answer(other), Error::HeadSignature);
        let spoilt = with(&|answer| {
            if let Answer::Chunk { bytes, .. } = answer {
                bytes[0] ^= 1;
            }
        });
        refused(id, 0, spoilt, Error::HeadSignature);
        let short = with(&|answer| {
            if let Answer::Chunk { bytes, .. } = answer {
                bytes.pop();
            }
        });
        refused(id, 0, short, Error::ProofSizes);
        let no_sizes = with(&|answer| {
            if let Answer::Chunk { sizes, .. } = answer {
                *sizes = BoundedVec::default();
            }
        });
        refused(id, 0, no_sizes, Error::ProofSizes);
        let no_nodes = with(&|answer| {
            if let Answer::Chunk { nodes, .. } = answer {
                nodes.pop();
            }
        });
        refused(id, 0, no_nodes, Error::ProofNodes);
        let unsigned = with(&|answer| {
            if let Answer::Chunk { head_signature, .. } = answer {
                head_signature[0] ^= 1;
            }
        });
        refused(id, 0, unsigned, Error::HeadSignature);
        // The author's signature for a head below what was vouched for.
        let below = with(&|answer| {
            if let Answer::Chunk { length, .. } = answer {
                *length = VOUCHED - 1;
            }
        });
        refused(id, 0, below, Error::AnswerLength);
        // No higher fork, or not the author's.
        refused(id, 0, rewritten_answer(0), Error::AnswerFork);
        let mut forged = rewritten_answer(1);
        if let Answer::Rewritten { length, .. } = &mut forged {
            *length += 1;
        }
        refused(id, 0, forged, Error::HeadSignature);
        assert_ok!(answer(id, 0, chunk_answer(demanded)));
    });
}

#[test]
fn a_head_that_was_verified_needs_no_signature() {
    with_chain(|| {
        let id = reporting();
        submit_served(id, 1);
        submit_demand(id, 0);
        let mut unsigned = chunk_answer(drawn(id, 0));
        if let Answer::Chunk { head_signature, .. } = &mut unsigned {
            *head_signature = [0; 64];
        }
        assert_ok!(answer(id, 0, unsigned));
        let heads = crate::VerifiedHeads::<Test>::get(0).into_inner();
        assert_eq!(heads, [head(LENGTH)]);
        // A rewritten one is remembered as well.
        submit_demand(id, 2);
        assert_ok!(answer(id, 2, rewritten_answer(1)));
        let rewritten = Head {
            fork: 1,
            length: 3,
            tree_hash: [8; 32],
        };
        let heads = crate::VerifiedHeads::<Test>::get(0).into_inner();
        assert_eq!(heads, [head(LENGTH), rewritten]);
    });
}

#[test]
fn who_is_expelled_gets_its_deposit_back_and_its_part_of_the_slash() {
    with_chain(|| {
        let id = reporting();
        let before = free(id, 0);
        submit_demand(id, 0);
        expel(id, 0);
        for place in 1..5 {
            submit_served(id, place);
        }
        blocks(13);
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Failed);
        assert_eq!(free(id, 0), before + 200);
        let mut kinds = settled.paid.iter().map(|paid| paid.kind);
        assert_eq!(kinds.next(), Some(PaymentKind::Withholding));
        assert!(kinds.all(|kind| kind == PaymentKind::Report));
    });
}

#[test]
fn who_is_expelled_and_was_shown_its_chunk_is_not_paid_either() {
    with_chain(|| {
        let id = reporting();
        submit_demand(id, 0);
        assert_ok!(answer(id, 0, chunk_answer(drawn(id, 0))));
        expel(id, 0);
        for place in 1..5 {
            submit_failed(id, place);
        }
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Failed);
        let paid: Vec<_> = settled.paid.iter().map(|paid| &paid.account).collect();
        assert_eq!(paid, [1, 2, 3, 4].map(|place| member(id, place)).each_ref());
    });
}

#[test]
fn demands_are_pruned_with_their_challenge() {
    with_chain(|| {
        let id = reporting();
        assert_ok!(Hosting::close_hosting(origin(SPONSOR), 0));
        submit_demand(id, 0);
        for place in 1..5 {
            submit_failed(id, place);
        }
        assert_ok!(answer(id, 0, chunk_answer(drawn(id, 0))));
        settlement(id);
        blocks(UNBONDING);
        assert!(!Challenges::<Test>::contains_key(id));
        assert_eq!(Demands::<Test>::iter().count(), 0);
        assert_eq!(Reports::<Test>::iter().count(), 0);
    });
}

#[test]
fn what_must_hold_is_noticed_when_it_does_not() {
    new_test_ext(crate::Timing::development()).execute_with(|| {
        let id = reporting();
        submit_demand(id, 0);
        let who = member(id, 0);
        let demand = Demands::<Test>::get(id, &who).unwrap();
        let notice = |changed: crate::types::Demand, told: &'static str| {
            Demands::<Test>::insert(id, &who, changed);
            assert_eq!(Performance::do_try_state(), Err(told.into()));
            Demands::<Test>::insert(id, &who, demand);
            assert_ok!(Performance::do_try_state());
        };
        let mut changed = demand;
        changed.chunk += 1;
        notice(changed, "the demands are not those of the reports");
        let mut changed = demand;
        changed.due.rooms += 1;
        notice(
            changed,
            "answers are awaited of no open demand, or not of one",
        );
        let mut changed = demand;
        changed.deposit += 1;
        notice(changed, "held for demands is not what the ledger says");
        Demands::<Test>::remove(id, &who);
        let told = "the demands are not those of the reports";
        assert_eq!(Performance::do_try_state(), Err(told.into()));
    });
}
