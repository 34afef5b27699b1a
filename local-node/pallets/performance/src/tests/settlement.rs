//! The four outcomes, who is paid, absence, closing.

use frame::{
    deps::frame_support::dispatch::GetDispatchInfo,
    testing_prelude::*,
    token::{fungible::MutateHold, tokens::Precision},
};

use crate::{
    medians::median,
    mock::*,
    types::{Absence, Balance, Payment, PaymentKind, Settlement, Stage, Verdict},
    Call, Challenges, Error, Event, History, Pallet, Running, Settlements, Timing, Waiting,
};

/// Lets the members report: `s` served, `f` failed, `-` absent; then, if somebody is absent, goes
/// to the first block after D.
fn report(id: u64, reports: &str) {
    for (index, kind) in reports.chars().enumerate() {
        match kind {
            's' => submit_served(id, index),
            'f' => submit_failed(id, index),
            _ => {}
        }
    }
    if reports.contains('-') {
        blocks(12);
    }
}

fn settlement(id: u64) -> Settlement<AccountId> {
    Settlements::<Test>::get(id).expect("it is settled")
}

fn payment(who: AccountId, kind: PaymentKind, amount: Balance) -> Payment<AccountId> {
    Payment {
        account: who,
        kind,
        amount,
    }
}

fn for_reports(id: u64, amounts: [Balance; 5]) -> Vec<Payment<AccountId>> {
    let payments = amounts
        .into_iter()
        .enumerate()
        .filter(|(_, amount)| *amount > 0);
    payments
        .map(|(index, amount)| payment(member(id, index), PaymentKind::Report, amount))
        .collect()
}

fn escrow() -> Balance {
    pallet_hosting::HostingsById::<Test>::get(0)
        .expect("it goes on")
        .escrow
}

#[test]
fn the_last_report_settles_a_challenge_that_passed() {
    with_chain(|| {
        let id = reporting();
        let before: Vec<_> = (1..=5).map(balance).collect();
        let hosters = balance(HOSTER);
        report(id, "ssss");
        assert_eq!(Settlements::<Test>::get(id), None);
        assert_eq!(escrow(), 10 * COST);
        let info = submit(id, 4, draft(id, 4).seal(id, 4)).unwrap();
        assert_eq!(info.pays_fee, Pays::No);

        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Passed);
        assert_eq!((settled.active, settled.served, settled.failed), (5, 5, 0));
        let mut paid = vec![payment(
            account(HOSTER),
            PaymentKind::Hosting,
            HOSTER_REWARD,
        )];
        paid.extend(for_reports(id, [ATTESTOR_REWARD; 5]));
        assert_eq!(settled.paid.clone().into_inner(), paid);
        assert!(settled.absent.is_empty());
        assert_eq!(
            (settled.burnt, settled.to_escrow, settled.forfeited),
            (0, 0, 0)
        );
        let after: Vec<_> = (1..=5).map(balance).collect();
        assert!(before
            .iter()
            .zip(&after)
            .all(|(old, new)| old + ATTESTOR_REWARD == *new));
        assert_eq!(balance(HOSTER), hosters + HOSTER_REWARD);
        assert_eq!(escrow(), 9 * COST);
        let at = System::block_number();
        let closed = Stage::Closed {
            at,
            outcome: Verdict::Passed,
        };
        assert_eq!(Challenges::<Test>::get(id).unwrap().stage, closed);
        assert_eq!(
            events().last(),
            Some(&Event::ChallengeClosed {
                id,
                outcome: Verdict::Passed,
                medians: settled.medians,
                paid: settled.paid,
                absent: settled.absent,
            })
        );
        // The next one.
        assert_eq!(waits_since(0), Some(at));
        next_block();
        assert_eq!(Running::<Test>::get(0), Some(id + 1));
        assert_noop!(
            Performance::close_challenge(origin(STRANGER), id),
            Error::<Test>::AlreadyClosed
        );
    });
}

#[test]
fn a_part_of_the_reward_is_forfeited_when_some_were_not_served() {
    with_chain(|| {
        let id = reporting();
        report(id, "sffss");
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Passed);
        // ⌊1003 · 3 / 5⌋
        let mut paid = vec![payment(account(HOSTER), PaymentKind::Hosting, 601)];
        paid.extend(for_reports(id, [101, 0, 0, 101, 101]));
        assert_eq!(settled.paid.into_inner(), paid);
        assert_eq!(settled.forfeited, 402);
        let hosting = pallet_hosting::HostingsById::<Test>::get(0).unwrap();
        assert_eq!(hosting.forfeited, 402);
        assert_eq!(hosting.escrow, 10 * COST - 601 - 303 - 402);
    });
}

#[test]
fn what_is_forfeited_is_burnt_when_the_hosting_ends() {
    with_chain(|| {
        let id = reporting();
        assert_ok!(Hosting::close_hosting(origin(SPONSOR), 0));
        let issued = Balances::total_issuance();
        report(id, "sssff");
        assert_eq!(settlement(id).forfeited, 402);
        assert_eq!(issued - Balances::total_issuance(), 402);
        BurntBeside::set(402);
        // The hosting ended with its challenge: no other one, and its history is gone.
        assert_eq!(Waiting::<Test>::get(0), None);
        assert!(History::<Test>::get(0).is_empty());
        assert_eq!(pallet_hosting::HostingsById::<Test>::get(0), None);
        blocks(3);
        assert_eq!(Running::<Test>::get(0), None);
    });
    BurntBeside::set(0);
}

#[test]
fn a_majority_of_failures_pays_the_hoster_nothing_and_reporters_of_failure_half() {
    with_chain(|| {
        let id = reporting();
        report(id, "fsfsf");
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Failed);
        assert_eq!(
            settled.paid.clone().into_inner(),
            for_reports(id, [50, 101, 50, 101, 50])
        );
        assert_eq!(settled.forfeited, 0);
        assert_eq!(escrow(), 10 * COST - 3 * 50 - 2 * 101);
    });
}

#[test]
fn a_settlement_costs_what_it_does_with_so_many_attestors() {
    with_chain(|| {
        let id = reporting();
        report(id, "ssss-");
        let done = Performance::close_challenge(origin(STRANGER), id).unwrap();
        let weight = Performance::settlement_weight(5);
        assert_eq!(done.actual_weight, Some(weight));
        assert_eq!(done.pays_fee, Pays::Yes);
        let asked = Call::<Test>::close_challenge { id }
            .get_dispatch_info()
            .call_weight;
        assert_eq!(asked, Performance::settlement_weight(32));
        assert!(weight.all_lt(asked));
    });
}

#[test]
fn without_a_majority_it_is_inconclusive() {
    with_chain(|| {
        let id = reporting();
        report(id, "ssff-");
        assert_ok!(Performance::close_challenge(origin(STRANGER), id));
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Inconclusive);
        let mut paid = for_reports(id, [101, 101, 0, 0, 0]);
        paid.push(payment(account(STRANGER), PaymentKind::Closing, 10));
        assert_eq!(settled.paid.into_inner(), paid);
        assert_eq!(settled.forfeited, 0);
    });
}

#[test]
fn half_of_an_even_roster_is_no_majority() {
    let timing = Timing {
        attestors: 4,
        ..Timing::development()
    };
    for (reports, outcome) in [
        ("ssff", Verdict::Inconclusive),
        ("sssf", Verdict::Passed),
        ("sfff", Verdict::Failed),
    ] {
        with_timing(timing, || {
            let id = reporting();
            report(id, reports);
            assert_eq!(settlement(id).outcome, outcome);
        });
    }
}

#[test]
fn the_absent_pay_and_the_closer_gets_a_tenth() {
    with_chain(|| {
        let id = reporting();
        report(id, "ss-s-");
        let closers = balance(STRANGER);
        let bonds = |index| {
            pallet_providers::Providers::<Test>::get(
                pallet_providers::Role::Attestor,
                member(id, index),
            )
            .unwrap()
            .bond
        };
        assert_ok!(Performance::close_challenge(origin(STRANGER), id));
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Passed);
        let absent = |index| Absence {
            account: member(id, index),
            fee: ABSENCE_FEE,
        };
        assert_eq!(settled.absent.into_inner(), [absent(2), absent(4)]);
        assert_eq!((settled.burnt, settled.to_escrow), (100, 80));
        assert_eq!(balance(STRANGER), closers + 20);
        assert_eq!((bonds(1), bonds(2)), (1_000, 900));
        // Three of five: ⌊1003 · 3 / 5⌋ paid, the rest set aside.
        assert_eq!(escrow(), 10 * COST - HOSTER_REWARD - 303 + 80);
    });
}

#[test]
fn nobody_reports_and_all_are_absent() {
    with_chain(|| {
        let id = reporting();
        report(id, "-----");
        assert_ok!(Performance::close_challenge(origin(1), id));
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Inconclusive);
        assert_eq!(settled.absent.len(), 5);
        assert_eq!((settled.burnt, settled.to_escrow), (250, 200));
        assert_eq!(
            settled.paid.into_inner(),
            [payment(account(1), PaymentKind::Closing, 50)]
        );
        assert_eq!(escrow(), 10 * COST + 200);
        assert_eq!(settled.medians, Default::default());
    });
}

#[test]
fn a_challenge_is_closed_by_nobody_a_tenth_of_the_grace_later() {
    with_chain(|| {
        let id = reporting();
        report(id, "ssss-");
        // Twelve blocks with room are over; on_poll waits for one more.
        assert!(Pallet::<Test>::is_closable(id));
        assert_eq!(Settlements::<Test>::get(id), None);
        next_block();
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Passed);
        assert_eq!((settled.burnt, settled.to_escrow), (60, 40));
        assert!(settled
            .paid
            .iter()
            .all(|each| each.kind != PaymentKind::Closing));
    });
}

#[test]
fn a_congested_challenge_is_closed_by_nobody_too() {
    with_chain(|| {
        let id = reporting();
        for _ in 0..48 {
            System::set_block_consumed_resources(Weight::MAX, 0);
            next_block();
        }
        assert!(Pallet::<Test>::is_closable(id));
        assert_eq!(Settlements::<Test>::get(id), None);
        System::set_block_consumed_resources(Weight::MAX, 0);
        next_block();
        assert_eq!(settlement(id).absent.len(), 5);
    });
}

#[test]
fn a_challenge_cannot_be_closed_before() {
    with_chain(|| {
        let not_closable = |id| {
            assert_noop!(
                Performance::close_challenge(origin(STRANGER), id),
                Error::<Test>::NotClosable
            );
            assert!(!Pallet::<Test>::is_closable(id));
        };
        let id = start();
        not_closable(id);
        next_block();
        let (openings, echoes) = anchor(id);
        let who = RuntimeOrigin::signed(member(id, 0));
        assert_ok!(Performance::anchor_flip(who, id, 0, openings, echoes));
        not_closable(id);
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        blocks(11);
        not_closable(id);
        assert_noop!(
            Performance::close_challenge(origin(STRANGER), id + 1),
            Error::<Test>::UnknownChallenge
        );
        assert_noop!(
            Performance::close_challenge(RuntimeOrigin::root(), id),
            BadOrigin
        );
        blocks(1);
        assert_ok!(Performance::close_challenge(origin(STRANGER), id));
    });
}

#[test]
pub(super) fn the_second_absence_in_a_row_drains() {
    with_chain(|| {
        let id = reporting();
        let absentee = member(id, 4);
        let active = || {
            pallet_providers::Providers::<Test>::get(pallet_providers::Role::Attestor, &absentee)
                .unwrap()
                .active
        };
        report(id, "ssss-");
        assert_ok!(Performance::close_challenge(origin(STRANGER), id));
        assert!(active());
        blocks(2);
        let id = Running::<Test>::get(0).unwrap();
        let (openings, echoes) = anchor(id);
        let who = RuntimeOrigin::signed(member(id, 0));
        assert_ok!(Performance::anchor_flip(who, id, 0, openings, echoes));
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        report(id, "ssss-");
        assert_eq!(member(id, 4), absentee);
        assert_ok!(Performance::close_challenge(origin(STRANGER), id));
        // The drain takes effect with the next block; then four attestors are left.
        blocks(1);
        assert!(!active());
        blocks(2);
        assert_eq!(Running::<Test>::get(0), None);
        assert!(Waiting::<Test>::contains_key(0));
    });
}

#[test]
pub(super) fn a_payment_that_fails_is_told_and_leaves_the_money_where_it_is() {
    with_chain(|| {
        let id = reporting();
        // Nothing but a fault can take the escrow while a challenge runs.
        pallet_hosting::HostingsById::<Test>::mutate_extant(0, |hosting| {
            let taken = hosting.escrow - ATTESTOR_REWARD;
            hosting.escrow = ATTESTOR_REWARD;
            let reason = pallet_hosting::HoldReason::Escrow.into();
            assert_ok!(Balances::release(
                &reason,
                &hosting.sponsor,
                taken,
                Precision::Exact
            ));
        });
        report(id, "sssss");
        let settled = settlement(id);
        assert_eq!(settled.outcome, Verdict::Passed);
        assert_eq!(
            settled.paid.into_inner(),
            for_reports(id, [ATTESTOR_REWARD, 0, 0, 0, 0])
        );
        let failed: Vec<_> = events()
            .into_iter()
            .filter_map(|event| match event {
                Event::PaymentFailed {
                    hosting: 0,
                    to,
                    amount,
                    ..
                } => Some((to, amount)),
                _ => None,
            })
            .collect();
        let mut expected = vec![(account(HOSTER), HOSTER_REWARD)];
        expected.extend((1..5).map(|index| (member(id, index), ATTESTOR_REWARD)));
        assert_eq!(failed, expected);
        // Without an escrow no other challenge is queued.
        assert!(!Waiting::<Test>::contains_key(0));
    });
}

#[test]
fn medians_are_of_those_who_have_the_figure() {
    with_chain(|| {
        let id = reporting();
        report(id, "ssssf");
        let medians = settlement(id).medians;
        let of = |figures: &[u64]| median(figures.to_vec());
        // Bases of the figures are 1000, 2000, 3000, 4000; of four the second is the median.
        assert_eq!(medians.connect_us, of(&[1_000, 2_000, 3_000, 4_000]));
        assert_eq!(medians.handshake_us, of(&[1_001, 2_001, 3_001, 4_001]));
        assert_eq!(medians.timeouts, of(&[0; 4]));
        assert_eq!(medians.observed_throughput, None);
        let windowed =
            |kind| (0..4).filter(move |index| opened(id, *index).habit().windowed == kind);
        let base = |index: usize| 1_000 * (index as u64 + 1);
        let figures: Vec<u64> = windowed(true).map(|index| base(index) + 7).collect();
        assert_eq!(medians.throughput, of(&figures));
        let figures: Vec<u64> = windowed(false).map(|index| base(index) + 3).collect();
        assert_eq!(medians.latency_p50_us, of(&figures));
        let figures: Vec<u64> = windowed(false).map(|index| base(index) + 6).collect();
        assert_eq!(medians.latency_max_us, of(&figures));
        let entry = History::<Test>::get(0)[0];
        assert_eq!(
            (entry.challenge, entry.outcome, entry.medians),
            (id, Verdict::Passed, medians)
        );
    });
}

#[test]
fn the_last_32_challenges_are_remembered() {
    with_chain(|| {
        start();
        // Void, one after the other.
        while History::<Test>::get(0)
            .last()
            .is_none_or(|entry| entry.challenge < 33)
        {
            next_block_at(Timestamp::get() + 5_000);
        }
        let history = History::<Test>::get(0);
        assert_eq!(history.len(), 32);
        assert_eq!(history[0].challenge, 2);
    });
}

/// A challenge in phase Report of a hosting with this SLA.
fn reporting_with(sla: pallet_hosting::Sla) -> u64 {
    prepare(5);
    let feed = feed().key;
    let terms = pallet_hosting::Terms {
        sla: Some(sla),
        ..terms()
    };
    let hoster = account(HOSTER);
    assert_ok!(Hosting::open_hosting(
        origin(SPONSOR),
        feed,
        hoster,
        10 * COST,
        terms
    ));
    assert_ok!(Hosting::accept_hosting(origin(HOSTER), 0, 0, VOUCHED));
    blocks(2);
    let id = Running::<Test>::get(0).expect("the challenge started");
    assert_ok!(anchor_attempt(id, 0, 0));
    until(Challenges::<Test>::get(id).expect("it is there").end_ms());
    id
}

#[test]
fn a_broken_sla_pays_the_hoster_nothing_and_saves_the_sponsor_nothing() {
    // The figures of the mock grow with the place in the roster, all of them.
    let kept = pallet_hosting::Sla {
        latency_p50_us: Some(5_003),
        throughput: Some(1_007),
    };
    let too_late = pallet_hosting::Sla {
        latency_p50_us: Some(1),
        throughput: None,
    };
    let too_slow = pallet_hosting::Sla {
        latency_p50_us: None,
        throughput: Some(1_000_000),
    };
    for (sla, keeps) in [(kept, true), (too_late, false), (too_slow, false)] {
        with_chain(|| {
            let id = reporting_with(sla);
            let habits: Vec<bool> = (0..5).map(|at| opened(id, at).habit().windowed).collect();
            assert!(habits.contains(&true) && habits.contains(&false));
            let hosters = balance(HOSTER);
            report(id, "ssssf");
            let settled = settlement(id);
            assert_eq!(settled.outcome, Verdict::Passed);
            let earned = if keeps { HOSTER_REWARD * 4 / 5 } else { 0 };
            assert_eq!(balance(HOSTER), hosters + earned);
            assert_eq!(settled.forfeited, HOSTER_REWARD - earned);
            let attestors = for_reports(id, [101, 101, 101, 101, 0]);
            assert!(settled.paid.ends_with(&attestors));
            assert_eq!(settled.paid.len(), 4 + usize::from(keeps));
            assert_eq!(escrow(), 10 * COST - HOSTER_REWARD - 4 * 101);
            let forfeited = pallet_hosting::HostingsById::<Test>::get(0)
                .unwrap()
                .forfeited;
            assert_eq!(forfeited, HOSTER_REWARD - earned);
        });
    }
}

#[test]
fn no_figure_breaks_no_sla() {
    // Whose sessions are windowed follows from the start block: until the fewer are.
    let mut passed = 0;
    for pause in 0..6 {
        with_chain(|| {
            blocks(pause);
            let id = reporting_with(pallet_hosting::Sla {
                latency_p50_us: None,
                throughput: Some(u64::MAX),
            });
            let windowed = |place: &usize| opened(id, *place).habit().windowed;
            let served = (0..5).filter(|place| !windowed(place)).count() as Balance;
            if served < 3 {
                return;
            }
            for place in 0..5 {
                if windowed(&place) {
                    submit_failed(id, place);
                } else {
                    submit_served(id, place);
                }
            }
            let settled = settlement(id);
            assert_eq!(settled.medians.throughput, None);
            assert_eq!(settled.outcome, Verdict::Passed);
            assert_eq!(
                settled.forfeited,
                HOSTER_REWARD - HOSTER_REWARD * served / 5
            );
            passed += 1;
        });
    }
    assert!(passed > 0);
}

#[test]
pub(super) fn three_failed_challenges_in_a_row_end_the_hosting_and_leave_the_bond_alone() {
    with_chain(|| {
        let mut id = reporting();
        for round in 0..3 {
            report(id, "ffffs");
            assert_eq!(settlement(id).outcome, Verdict::Failed);
            if round == 2 {
                break;
            }
            let streak = pallet_hosting::HostingsById::<Test>::get(0).unwrap().streak;
            assert_eq!(streak, round + 1);
            blocks(2);
            id = Running::<Test>::get(0).expect("the next one started");
            assert_ok!(anchor_attempt(id, 0, 0));
            until(Challenges::<Test>::get(id).unwrap().end_ms());
        }
        assert_eq!(pallet_hosting::HostingsById::<Test>::get(0), None);
        assert_eq!(balance(HOSTER), ENDOWMENT - 1_000);
        assert!(History::<Test>::get(0).is_empty());
        blocks(3);
        assert_eq!(Running::<Test>::get(0), None);
        assert!(!Waiting::<Test>::contains_key(0));
    });
}
