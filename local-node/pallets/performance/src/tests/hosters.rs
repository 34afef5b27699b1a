//! What is kept of each hoster's performance, and who is found by it.

use frame::testing_prelude::*;
use pallet_hosting::Sla;
use pallet_providers::Role;

use crate::{
    mock::*,
    summary::{weighted_median, MAX_LOOKED_AT, WEIGHTS},
    types::{HosterEntry, HosterPage, HosterSummary, Rank, Verdict},
    HosterRecords, Pallet, Ranking, Settlements,
};

fn note(hoster: u8, outcome: Verdict, latency_p50_us: Option<u32>, throughput: Option<u64>) {
    let entry = HosterEntry {
        challenge: 7,
        outcome,
        latency_p50_us,
        throughput,
    };
    Pallet::<Test>::note_performance(&account(hoster), entry);
}

fn summary(hoster: u8) -> HosterSummary {
    Pallet::<Test>::hoster_summary(&account(hoster)).unwrap()
}

#[test]
fn weights_fall_by_a_sixteenth() {
    assert_eq!(WEIGHTS.len(), 32);
    assert_eq!(WEIGHTS[0], 1 << 32);
    for pair in WEIGHTS.windows(2) {
        assert_eq!(pair[1], pair[0] - pair[0] / 16);
    }
    // Half after eleven, an eighth at the end.
    assert!((0.49..0.5).contains(&(WEIGHTS[11] as f64 / WEIGHTS[0] as f64)));
    assert!((0.13..0.14).contains(&(WEIGHTS[31] as f64 / WEIGHTS[0] as f64)));
}

#[test]
fn a_weighted_median_is_the_median_of_each_figure_written_as_often_as_its_weight() {
    assert_eq!(weighted_median::<u32>(Vec::new()), None);
    let mut dice = 1u64;
    for count in 1..40u64 {
        let figures: Vec<(u64, u64)> = (0..count)
            .map(|_| {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (dice >> 58, (dice >> 50) % 7 + 1)
            })
            .collect();
        let mut written: Vec<u64> = figures
            .iter()
            .flat_map(|(figure, weight)| vec![*figure; *weight as usize])
            .collect();
        written.sort_unstable();
        let middle = written[written.len().div_ceil(2) - 1];
        assert_eq!(weighted_median(figures), Some(middle));
    }
}

#[test]
fn a_settlement_adds_to_the_record_of_the_hoster() {
    with_chain(|| {
        let id = reporting();
        assert_eq!(HosterRecords::<Test>::get(account(HOSTER)), None);
        for index in 0..5 {
            submit_served(id, index);
        }
        let medians = Settlements::<Test>::get(id).unwrap().medians;
        let (latency, throughput) = (medians.latency_p50_us.unwrap(), medians.throughput.unwrap());
        let record = HosterRecords::<Test>::get(account(HOSTER)).unwrap();
        let entry = HosterEntry {
            challenge: id,
            outcome: Verdict::Passed,
            latency_p50_us: Some(latency.value as u32),
            throughput: Some(throughput.value),
        };
        assert_eq!(record.recent.into_inner(), [entry]);
        assert_eq!(
            record.summary,
            HosterSummary {
                passed: 1,
                failed: 0,
                inconclusive: 0,
                passed_permille: 1_000,
                latency_p50_us: entry.latency_p50_us,
                throughput: entry.throughput,
                latency_challenges: 1,
                throughput_challenges: 1,
                updated: System::block_number(),
            }
        );
        let rank = Rank::new(entry.latency_p50_us, account(HOSTER));
        assert_eq!(Ranking::<Test>::iter_keys().collect::<Vec<_>>(), [rank]);
    });
}

#[test]
fn a_void_challenge_says_nothing_about_the_hoster() {
    with_chain(|| {
        let id = start();
        while crate::Challenges::<Test>::get(id).unwrap().is_open() {
            next_block_at(Timestamp::get() + 5_000);
        }
        assert_eq!(Settlements::<Test>::get(id).unwrap().outcome, Verdict::Void);
        assert_eq!(HosterRecords::<Test>::iter().count(), 0);
    });
}

#[test]
fn the_last_32_count_and_the_newest_most() {
    with_chain(|| {
        for number in 0..40 {
            // The last ten failed.
            let outcome = if number < 30 {
                Verdict::Passed
            } else {
                Verdict::Failed
            };
            note(1, outcome, Some(number), None);
        }
        let record = HosterRecords::<Test>::get(account(1)).unwrap();
        let latencies: Vec<u32> = record
            .recent
            .iter()
            .filter_map(|entry| entry.latency_p50_us)
            .collect();
        assert_eq!(latencies, (8..40).collect::<Vec<_>>());
        let summary = record.summary;
        assert_eq!((summary.passed, summary.failed), (30, 10));
        let whole: u64 = WEIGHTS.iter().sum();
        let failed: u64 = WEIGHTS[..10].iter().sum();
        assert_eq!(
            u64::from(summary.passed_permille),
            (whole - failed) * 1_000 / whole
        );
        // By number 25 % failed, by weight more than half.
        assert!(summary.passed_permille < 500);
        // The plain median of 8 … 39 is 23.
        assert_eq!(summary.latency_p50_us, Some(31));
        assert_eq!(
            (summary.throughput, summary.throughput_challenges),
            (None, 0)
        );
        assert_eq!(summary.latency_challenges, 32);
    });
}

#[test]
fn one_challenge_of_liars_moves_a_figure_only_to_its_neighbour() {
    with_chain(|| {
        for number in 0..32 {
            note(
                1,
                Verdict::Passed,
                Some(40_000 + number),
                Some(1_000 + u64::from(number)),
            );
        }
        let honest = summary(1);
        note(1, Verdict::Passed, Some(u32::MAX), Some(u64::MAX));
        let latency = |summary: HosterSummary| summary.latency_p50_us.unwrap();
        assert!(latency(summary(1)) - latency(honest) <= 1);
        assert!(summary(1).throughput.unwrap() - honest.throughput.unwrap() <= 1);
        note(1, Verdict::Passed, Some(0), Some(0));
        assert!(latency(summary(1)).abs_diff(latency(honest)) <= 1);
    });
}

#[test]
fn nothing_is_lost_by_rounding_however_many_challenges_there_are() {
    with_chain(|| {
        for _ in 0..1_000 {
            note(1, Verdict::Passed, Some(33_333), Some(77_777));
        }
        let summary = summary(1);
        assert_eq!(summary.passed_permille, 1_000);
        assert_eq!(
            (summary.latency_p50_us, summary.throughput),
            (Some(33_333), Some(77_777))
        );
        assert_eq!(summary.passed, 1_000);
    });
}

fn sla(latency_p50_us: Option<u32>, throughput: Option<u64>) -> Sla {
    Sla {
        latency_p50_us,
        throughput,
    }
}

fn numbers(page: &HosterPage<AccountId>) -> Vec<u8> {
    page.hosters
        .iter()
        .map(|found| AsRef::<[u8; 32]>::as_ref(&found.hoster)[0])
        .collect()
}

/// Twelve hosters: number n has a latency of 100 · (13 − n) and a throughput of n; the last two were
/// never measured in one of both.
fn twelve_hosters() {
    for number in 1..=12u8 {
        register_hoster_as(number, &key(("noise", number)));
        let latency = (number != 11).then_some(100 * (13 - u32::from(number)));
        let throughput = (number != 12).then_some(number.into());
        note(number, Verdict::Passed, latency, throughput);
    }
    blocks(1);
}

#[test]
fn hosters_that_meet_an_sla_are_found_the_fastest_first() {
    with_chain(|| {
        twelve_hosters();
        let find = |sla| numbers(&Pallet::<Test>::find_hosters(&sla, None, 100));
        assert_eq!(
            find(sla(None, None)),
            [12, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 11]
        );
        assert_eq!(find(sla(Some(300), None)), [12, 10]);
        assert_eq!(find(sla(Some(299), None)), [12]);
        assert!(find(sla(Some(99), None)).is_empty());
        assert_eq!(find(sla(None, Some(9))), [10, 9, 11]);
        assert_eq!(find(sla(Some(500), Some(9))), [10, 9]);
        assert!(find(sla(Some(u32::MAX), Some(11))).is_empty());
        // Who failed as much as it passed, or takes no hostings, is not found.
        note(10, Verdict::Failed, Some(300), Some(10));
        assert_ok!(Providers::drain(origin(12), Role::Hoster));
        blocks(1);
        assert_eq!(find(sla(Some(400), None)), [9]);
    });
}

#[test]
fn an_sla_is_met_from_more_than_half_on_and_up_to_its_bounds() {
    with_chain(|| {
        note(1, Verdict::Passed, Some(5), Some(7));
        let meets = |passed_permille, latency_p50_us, throughput| {
            let summary = HosterSummary {
                passed_permille,
                ..summary(1)
            };
            summary.meets(&sla(latency_p50_us, throughput))
        };
        assert!(meets(501, None, None) && !meets(500, None, None));
        assert!(meets(501, Some(5), None) && !meets(501, Some(4), None));
        assert!(meets(501, None, Some(7)) && !meets(501, None, Some(8)));
        assert!(!meets(501, Some(4), Some(7)) && !meets(501, Some(5), Some(8)));
    });
}

#[test]
fn hosters_are_found_in_pages() {
    with_chain(|| {
        twelve_hosters();
        let any = sla(None, Some(1));
        let mut after = None;
        let mut found = Vec::new();
        for expected in [5, 5, 1] {
            let page = Pallet::<Test>::find_hosters(&any, after, 5);
            assert_eq!(page.hosters.len(), expected);
            found.extend(numbers(&page));
            after = page.next;
        }
        assert_eq!(found, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 11]);
        assert_eq!(after, None);
        // A place of which nobody is left is as good a place to go on from.
        let gone = Rank::new(Some(750), account(200));
        let page = Pallet::<Test>::find_hosters(&any, Some(gone), 2);
        assert_eq!(numbers(&page), [5, 4]);
        assert!(Pallet::<Test>::find_hosters(&any, None, 0)
            .hosters
            .is_empty());
    });
}

#[test]
fn a_page_looks_at_a_bounded_number_of_hosters() {
    with_chain(|| {
        register_hoster();
        blocks(1);
        // None of them takes hostings but the last.
        for number in 0..MAX_LOOKED_AT {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            let entry = HosterEntry {
                challenge: 0,
                outcome: Verdict::Passed,
                latency_p50_us: Some(1),
                throughput: None,
            };
            Pallet::<Test>::note_performance(&AccountId::new(bytes), entry);
        }
        note(HOSTER, Verdict::Passed, Some(2), None);
        let page = Pallet::<Test>::find_hosters(&sla(Some(9), None), None, u32::MAX);
        assert!(page.hosters.is_empty());
        let page = Pallet::<Test>::find_hosters(&sla(Some(9), None), page.next, u32::MAX);
        assert_eq!((numbers(&page), page.next), (vec![HOSTER], None));
    });
}

#[test]
fn what_must_hold_of_hosters_is_noticed_when_it_does_not() {
    with_chain(|| {
        note(1, Verdict::Passed, Some(5), None);
        let noticed = |damage: fn()| {
            let _ = frame::deps::frame_support::storage::with_storage_layer(|| {
                damage();
                assert!(Performance::do_try_state().is_err());
                Err::<(), _>(DispatchError::Other("undone"))
            });
            assert_ok!(Performance::do_try_state());
        };
        noticed(|| Ranking::<Test>::remove(Rank::new(Some(5), account(1))));
        noticed(|| Ranking::<Test>::insert(Rank::new(Some(6), account(1)), ()));
        noticed(|| {
            HosterRecords::<Test>::mutate_extant(account(1), |record| record.summary.passed = 2)
        });
        noticed(|| {
            HosterRecords::<Test>::mutate_extant(account(1), |record| {
                record.summary.passed_permille = 999
            })
        });
    });
}
