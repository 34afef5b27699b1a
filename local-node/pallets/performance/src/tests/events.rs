//! Each event of the three pallets happens: there is none in the metadata that no test brings about.

use frame::{testing_prelude::*, traits::PalletInfoAccess};
use pallet_providers::Role;
use scale_info::{TypeDef, TypeInfo};

use super::{demands, fallback, false_receipts, flip, fraud, queue, settlement, timing};
use crate::{mock::*, Event};

/// What is left out of the other tests.
fn settings() {
    with_chain(|| {
        prepare(1);
        let key = session_key(9);
        let role = datdot_primitives::registration::Role::Attestor;
        let genesis = System::block_hash(0).0;
        let message = datdot_primitives::registration::message(&genesis, role, account(1).as_ref());
        let proof = sign(&key, &message);
        assert_ok!(Providers::set_session_key(origin(1), public(&key), proof));
        assert_ok!(Providers::set_capacity(origin(1), 2));
        assert_ok!(Providers::set_endpoint(
            origin(1),
            Role::Attestor,
            endpoint(2)
        ));
        open_hosting(COST);
        assert_ok!(Hosting::top_up(origin(STRANGER), 0, 1));
    });
}

/// The events of a pallet that no test has brought about.
fn missing<Events: TypeInfo + 'static>(pallet: usize) -> Vec<String> {
    let happened = Happened::get();
    let TypeDef::Variant(kind) = Events::type_info().type_def else {
        panic!("it is no enumeration");
    };
    let never = kind
        .variants
        .iter()
        .filter(|variant| !happened.contains(&[pallet as u8, variant.index]));
    never.map(|variant| variant.name.to_string()).collect()
}

#[test]
fn every_event_happens() {
    let tests: &[fn()] = &[
        settings,
        flip::a_late_anchor_is_free_once,
        fallback::after_a_fallback_the_active_report_and_settle,
        settlement::a_payment_that_fails_is_told_and_leaves_the_money_where_it_is,
        settlement::three_failed_challenges_in_a_row_end_the_hosting_and_leave_the_bond_alone,
        settlement::the_second_absence_in_a_row_drains,
        demands::a_bond_that_does_not_cover_it_again_ends_the_hosting,
        demands::a_rewritten_feed_makes_it_inconclusive_at_best_and_the_hosting_rests,
        fraud::an_offender_loses_its_bond_and_is_drawn_no_more,
        false_receipts::a_false_receipt_costs_the_hoster_its_bond,
        false_receipts::who_has_left_is_slashed_as_long_as_its_bond_is_held,
        timing::root_sets_the_timing_of_challenges_to_come,
        queue::what_is_closed_is_pruned_after_the_unbonding_time,
    ];
    Happened::take();
    for test in tests {
        test();
    }
    let never = [
        missing::<pallet_providers::Event<Test>>(Providers::index()),
        missing::<pallet_hosting::Event<Test>>(Hosting::index()),
        missing::<Event<Test>>(Performance::index()),
    ];
    assert_eq!(never.concat(), [""; 0]);
}
