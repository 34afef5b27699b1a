//! The weights that calls turn out to have had, and those that hooks reckon with.

use frame::{deps::frame_support::weights::WeightMeter, prelude::Hooks, testing_prelude::*};

use crate::{mock::*, Config, NextId, Pallet, Started, WeightInfo};

type W = <Test as Config>::WeightInfo;

fn charged(result: DispatchResultWithPostInfo) -> Weight {
    let info = result.expect("it is taken");
    info.actual_weight.expect("it is told")
}

/// The most that a settlement with the five attestors of these tests costs.
fn settlement() -> Weight {
    Pallet::<Test>::settlement_weight(5)
}

#[test]
fn a_report_costs_by_its_leaves_and_nodes_and_the_last_one_the_settlement_too() {
    with_chain(|| {
        let id = reporting();
        let parts = |draft: &Draft| (draft.sizes.len() + draft.nodes.len()) as u32;
        for index in 0..3 {
            let draft = draft(id, index);
            let weight = W::submit_report(parts(&draft));
            assert_eq!(charged(submit(id, index, draft.seal(id, index))), weight);
        }
        let weight = W::submit_failure();
        assert_eq!(charged(submit(id, 3, failed(id, 3, None))), weight);
        let last = draft(id, 4);
        let weight = W::submit_report(parts(&last)) + settlement();
        assert_eq!(charged(submit(id, 4, last.seal(id, 4))), weight);
    });
}

#[test]
fn an_answer_costs_by_its_bytes_and_the_last_one_the_settlement_too() {
    with_chain(|| {
        let id = reporting();
        submit_demand(id, 0);
        submit_demand(id, 1);
        for index in 2..5 {
            submit_served(id, index);
        }
        for (index, settles) in [(0, Weight::zero()), (1, settlement())] {
            let chunk = chunk_answer(drawn(id, index));
            let weight = W::answer_demand(chunk.encoded_size() as u32) + settles;
            assert_eq!(charged(answer(id, index, chunk)), weight);
        }
    });
}

#[test]
fn each_kind_of_proof_has_its_weight() {
    with_chain(|| {
        let id = anchored();
        let proof = equivocation(id, 0, 0);
        assert_eq!(charged(report_fraud(STRANGER, proof)), W::report_fraud());
        let receipt = super::false_receipts::receipt([9; 32], Timestamp::get());
        let proof = super::false_receipts::against(&receipt, 4);
        let weight = W::report_false_receipt();
        assert_eq!(charged(report_fraud(STRANGER, proof)), weight);
    });
}

#[test]
fn a_settlement_and_a_piece_of_work_are_reckoned_at_their_most() {
    let settlements = [
        W::settle_served(5),
        W::settle_unanswered(5),
        W::settle_absent(5),
    ];
    assert!(settlements
        .iter()
        .all(|weight| weight.all_lte(settlement())));
    let work = [
        W::open_commits(),
        W::end_commits(),
        W::open_reports(),
        W::prune(5),
        settlement(),
    ];
    assert!(work
        .iter()
        .all(|weight| weight.all_lte(Pallet::<Test>::work_weight(5))));
}

#[test]
fn a_block_without_room_for_a_look_does_not_look() {
    with_chain(|| {
        prepare(5);
        open_hosting(COST);
        let look = Pallet::<Test>::look_weight();
        assert!(W::look().all_lte(look));
        let mut meter = WeightMeter::with_limit(look - Weight::from_parts(1, 0));
        Pallet::<Test>::start_waiting(&mut meter);
        assert!(meter.consumed().is_zero());
        assert_eq!(NextId::<Test>::get(), 0);
    });
}

#[test]
fn a_block_is_charged_for_each_challenge_that_started_in_the_one_before() {
    with_chain(|| {
        prepare(12);
        for _ in 0..2 {
            open_hosting(COST);
        }
        blocks(1);
        assert_eq!(Started::<Test>::get().len(), 2);
        for started in [2, 0] {
            assert_eq!(
                Performance::on_initialize(System::block_number()),
                W::on_initialize(started) + W::on_finalize()
            );
        }
    });
}

#[test]
#[should_panic(expected = "no challenge would ever start")]
fn a_runtime_must_let_challenges_start() {
    MaxStarts::set(0);
    Performance::integrity_test();
}

#[test]
#[should_panic(expected = "a deposit would not cover the fee")]
fn a_runtime_must_take_a_deposit_that_covers_the_fee() {
    Deposit::set(DEMAND_FEE - 1);
    Performance::integrity_test();
}

#[test]
#[should_panic(expected = "a started challenge is due up to eight times")]
fn a_runtime_must_work_off_what_it_starts() {
    MaxDue::set(8 * MaxStarts::get() - 1);
    Performance::integrity_test();
}

#[test]
fn a_runtime_with_just_enough_of_each_is_taken() {
    Deposit::set(DEMAND_FEE);
    MaxDue::set(8 * MaxStarts::get());
    Performance::integrity_test();
}
