//! The schedule of attempts and their rosters: the figures of the design, and what holds for all.

use datdot_primitives::{
    attempts::{
        bit, index_of, mask, place_of, select, Attempt, Durations, Expelled, Flipping,
        MAX_ATTEMPTS, MAX_DELTA_MS,
    },
    coinflip::{topic, FALLBACK_ATTEMPT},
    prng::Prng,
    Hash, PublicKey,
};
use proptest::{collection, prelude::*};
use std::num::NonZeroU64;

const T0: u64 = 1_800_000_000_000;

const PRODUCTION: Durations = Durations {
    block_ms: 6_000,
    join_ms: 60_000,
    delta_ms: 3_000,
    finality_ms: 12_000,
    flip_ms: 480_000,
};

const DEVELOPMENT: Durations = Durations {
    block_ms: 500,
    join_ms: 1_500,
    delta_ms: 200,
    finality_ms: 0,
    flip_ms: 5_000,
};

fn keys(count: u8) -> Vec<PublicKey> {
    (1..=count).map(|number| [number; 32]).collect()
}

fn flipping(durations: Durations, members: u8) -> Flipping {
    Flipping {
        genesis: [1; 32],
        challenge: 7,
        start_block: [2; 32],
        t0: T0,
        durations,
        min_active: u32::from(members).div_ceil(3) * 2,
        roster: keys(members),
        expulsions: Vec::new(),
    }
}

/// All attempts that exist.
fn all(flipping: &Flipping) -> Vec<Attempt> {
    (0..MAX_ATTEMPTS)
        .map_while(|number| flipping.attempt(number))
        .collect()
}

fn times(attempt: &Attempt) -> [u64; 5] {
    [
        attempt.start_ms - T0,
        attempt.commit_ms - T0,
        attempt.echo_ms - T0,
        attempt.reveal_ms - T0,
        attempt.end_ms - T0,
    ]
}

#[test]
fn the_development_values_have_room_for_one_attempt() {
    let flipping = flipping(DEVELOPMENT, 5);
    let attempts = all(&flipping);
    assert_eq!(attempts.len(), 1);
    assert_eq!(times(&attempts[0]), [0, 1_900, 2_700, 3_500, 3_900]);
    assert_eq!(attempts[0].members, 0b11111);
    assert_eq!(attempts[0].topic, topic(&[1; 32], 7, &[2; 32], 0, &keys(5)));
}

#[test]
fn the_production_values_have_room_for_three() {
    let flipping = flipping(PRODUCTION, 10);
    let attempts = all(&flipping);
    assert_eq!(attempts.len(), 3);
    // J = 60 s, Δ = 3 s.
    assert_eq!(times(&attempts[0]), [0, 66_000, 78_000, 90_000, 96_000]);
    // J = 20 s, Δ = 6 s, after 4 blocks and finality.
    let draw = |attempt: &Attempt| {
        Prng::new(attempt.topic, "retry").below(NonZeroU64::new(attempt.delta_ms).unwrap())
    };
    let second = 96_000 + 24_000 + 12_000 + draw(&attempts[0]);
    assert_eq!(
        times(&attempts[1]),
        [0, 32_000, 56_000, 80_000, 92_000].map(|time| second + time)
    );
    // J = 20 s, Δ = 12 s.
    let third = second + 92_000 + 36_000 + draw(&attempts[1]);
    assert_eq!(
        times(&attempts[2]),
        [0, 44_000, 92_000, 140_000, 164_000].map(|time| third + time)
    );
    for (number, attempt) in attempts.iter().enumerate() {
        let of = topic(&[1; 32], 7, &[2; 32], number as u32, &keys(10));
        assert_eq!((attempt.number, attempt.topic), (number as u32, of));
    }
}

#[test]
fn an_attempt_must_end_two_blocks_before_the_flip_does() {
    let ends = |flip_ms| {
        let durations = Durations {
            flip_ms,
            ..DEVELOPMENT
        };
        all(&flipping(durations, 5)).len()
    };
    assert_eq!((ends(4_899), ends(4_900)), (0, 1));
    let second = flipping(
        Durations {
            flip_ms: 60_000,
            ..DEVELOPMENT
        },
        5,
    )
    .attempt(1)
    .unwrap();
    let enough = second.end_ms + 1_000 - T0;
    assert_eq!((ends(enough - 1), ends(enough)), (1, 2));
}

#[test]
fn there_are_at_most_eight_with_a_delay_of_at_most_30_seconds() {
    let long = Durations {
        flip_ms: 1 << 40,
        ..PRODUCTION
    };
    let flipping = flipping(long, 10);
    let attempts = all(&flipping);
    assert_eq!(attempts.len(), 8);
    for number in [8, 9, 31, 32, FALLBACK_ATTEMPT, u32::MAX] {
        assert_eq!(flipping.attempt(number), None);
    }
    let deltas: Vec<_> = attempts.iter().map(|attempt| attempt.delta_ms).collect();
    assert_eq!(
        deltas,
        [3_000, 6_000, 12_000, 24_000, 30_000, 30_000, 30_000, 30_000]
    );
}

#[test]
fn an_expulsion_counts_up_to_two_blocks_and_finality_before_the_start() {
    let whole = flipping(PRODUCTION, 10);
    let start = whole.attempt(1).unwrap().start_ms;
    let settled = start - 2 * 6_000 - 12_000;
    for (timestamp_ms, left_out) in [(T0, true), (settled, true), (settled + 1, false)] {
        let mut with = whole.clone();
        with.expulsions.push(Expelled {
            place: 3,
            timestamp_ms,
        });
        // It does not move the first attempt, nor when the second begins.
        assert_eq!(with.attempt(0), whole.attempt(0));
        let second = with.attempt(1).unwrap();
        assert_eq!(second.start_ms, start);
        let members = if left_out { 0b11_1111_0111 } else { mask(10) };
        assert_eq!(second.members, members);
        assert_eq!(second.topic, whole.topic(1, members));
        // Without it at latest in the third.
        assert_eq!(with.attempt(2).unwrap().members, 0b11_1111_0111);
    }
    assert!(!whole.is_settled(&whole.attempt(1).unwrap(), settled));
    assert!(whole.is_settled(&whole.attempt(1).unwrap(), settled + 1));
    assert!(whole.is_settled(&whole.attempt(0).unwrap(), 0));
}

#[test]
fn fewer_than_min_active_end_it() {
    let mut flipping = flipping(PRODUCTION, 10);
    flipping.min_active = 7;
    for place in 0..3 {
        flipping.expulsions.push(Expelled {
            place,
            timestamp_ms: T0,
        });
    }
    assert_eq!(flipping.attempt(1).unwrap().members.count_ones(), 7);
    let third = flipping.attempt(2).unwrap();
    flipping.expulsions.push(Expelled {
        place: 3,
        timestamp_ms: third.start_ms - 24_000,
    });
    assert!(flipping.attempt(1).is_some());
    assert_eq!(flipping.attempt(2), None);
}

#[test]
fn min_active_is_no_matter_of_the_first() {
    let mut flipping = flipping(PRODUCTION, 10);
    flipping.min_active = 11;
    assert!(flipping.attempt(0).is_some());
    assert_eq!(flipping.attempt(1), None);
}

#[test]
fn nothing_is_drawn_without_a_delay() {
    let durations = Durations {
        delta_ms: 0,
        ..DEVELOPMENT
    };
    let second = flipping(durations, 5).attempt(1).unwrap();
    assert_eq!(second.start_ms, T0 + 1_500 + 4 * 500);
}

#[test]
fn a_roster_of_none_or_too_many_has_no_attempt() {
    for (count, exists) in [(0, false), (1, true), (32, true), (33, false)] {
        let mut flipping = flipping(DEVELOPMENT, count);
        flipping.min_active = 1;
        assert_eq!(flipping.attempt(0).is_some(), exists);
    }
    assert_eq!(
        flipping(DEVELOPMENT, 32).attempt(0).unwrap().members,
        u32::MAX
    );
}

#[test]
fn places_and_indices() {
    assert_eq!(
        (mask(0), mask(5), mask(32), mask(99)),
        (0, 31, u32::MAX, u32::MAX)
    );
    assert_eq!((bit(0), bit(31), bit(32)), (1, 1 << 31, 0));
    assert_eq!(select(&[10, 11, 12, 13], 0b1010), [11, 13]);
    assert_eq!(place_of(0b1010, 1), Some(3));
    assert_eq!(place_of(0b1010, 2), None);
    assert_eq!(index_of(0b1010, 3), Some(1));
    assert_eq!(index_of(0b1010, 2), None);
    assert_eq!(index_of(u32::MAX, 40), None);
}

fn flippings() -> impl Strategy<Value = Flipping> {
    let durations = (
        1u64..20_000,
        0u64..100_000,
        1u64..40_000,
        0u64..50_000,
        1u64..3_000_000,
    );
    let expulsions = collection::vec((0u8..40, 0u64..3_000_000), 0..12);
    (durations, any::<Hash>(), 1u8..=32, 1u32..=32, expulsions).prop_map(
        |(durations, start_block, members, min_active, expulsions)| {
            let (block_ms, join_ms, delta_ms, finality_ms, flip_ms) = durations;
            Flipping {
                durations: Durations {
                    block_ms,
                    join_ms,
                    delta_ms,
                    finality_ms,
                    flip_ms,
                },
                start_block,
                min_active: min_active.min(members.into()),
                expulsions: expulsions
                    .into_iter()
                    .map(|(place, after)| Expelled {
                        place,
                        timestamp_ms: T0 + after,
                    })
                    .collect(),
                ..flipping(DEVELOPMENT, members)
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn attempts_follow_each_other_and_end_in_time(flipping in flippings()) {
        let attempts = all(&flipping);
        let Durations { block_ms, finality_ms, flip_ms, .. } = flipping.durations;
        for attempt in &attempts {
            prop_assert!(attempt.end_ms + 2 * block_ms <= T0 + flip_ms);
            prop_assert!(attempt.delta_ms <= MAX_DELTA_MS);
            let steps = [attempt.commit_ms, attempt.echo_ms, attempt.reveal_ms, attempt.end_ms];
            prop_assert!(steps.is_sorted() && attempt.start_ms < attempt.commit_ms);
            prop_assert_eq!(attempt.topic, flipping.topic(attempt.number, attempt.members));
            prop_assert_eq!(attempt.members & !mask(flipping.roster.len()), 0);
            prop_assert!(
                attempt.number == 0 || attempt.members.count_ones() >= flipping.min_active
            );
        }
        for pair in attempts.windows(2) {
            let pause = pair[1].start_ms - pair[0].end_ms - 4 * block_ms - finality_ms;
            prop_assert!(pause < pair[0].delta_ms);
            prop_assert_eq!(pair[1].members & !pair[0].members, 0);
            prop_assert_ne!(pair[0].topic, pair[1].topic);
        }
    }

    #[test]
    fn there_are_no_gaps(flipping in flippings()) {
        let exist: Vec<bool> = (0..=MAX_ATTEMPTS)
            .map(|number| flipping.attempt(number).is_some())
            .collect();
        prop_assert!(exist.is_sorted_by(|before, after| before >= after));
        prop_assert!(!exist[MAX_ATTEMPTS as usize]);
    }

    #[test]
    fn what_comes_later_never_changes_a_settled_attempt(
        flipping in flippings(), place in 0u8..32, after in 0u64..3_000_000,
    ) {
        let now = T0 + after;
        let mut past = flipping.clone();
        past.expulsions.retain(|expelled| expelled.timestamp_ms < now);
        let mut later = past.clone();
        later.expulsions.push(Expelled { place, timestamp_ms: now });
        for attempt in all(&past) {
            if past.is_settled(&attempt, now) {
                prop_assert_eq!(later.attempt(attempt.number), Some(attempt));
            }
        }
    }

    #[test]
    fn any_numbers_are_answered_without_panic(
        durations: [u64; 5], t0: u64, min_active: u32, count in 0u8..40, number: u32,
        expulsions in collection::vec((any::<u8>(), any::<u64>()), 0..40),
    ) {
        let [block_ms, join_ms, delta_ms, finality_ms, flip_ms] = durations;
        let flipping = Flipping {
            t0,
            durations: Durations { block_ms, join_ms, delta_ms, finality_ms, flip_ms },
            min_active,
            expulsions: expulsions
                .into_iter()
                .map(|(place, timestamp_ms)| Expelled { place, timestamp_ms })
                .collect(),
            ..flipping(DEVELOPMENT, count)
        };
        for number in [number, number % 10] {
            let attempt = flipping.attempt(number);
            prop_assert!(attempt.is_none_or(|attempt| attempt.number == number));
        }
    }

    #[test]
    fn places_and_indices_are_each_others_inverse(members: u32) {
        for place in 0..32 {
            match index_of(members, place) {
                Some(index) => prop_assert_eq!(place_of(members, index), Some(place)),
                None => prop_assert_eq!(members & bit(place), 0),
            }
        }
        prop_assert_eq!(place_of(members, members.count_ones() as usize), None);
    }
}
