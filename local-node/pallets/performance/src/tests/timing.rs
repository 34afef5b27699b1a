//! `set_timing`, the presets, and the room counter.

use frame::{
    deps::frame_support::dispatch::DispatchClass, prelude::Weight, testing_prelude::*,
    traits::Hooks,
};

use crate::{mock::*, timing::TimingFault, CurrentTiming, Error, Event, Pallet, Rooms, Timing};
use datdot_primitives::draws::Schedule;

#[test]
fn the_presets_can_work() {
    assert_eq!(Timing::production().check(), Ok(()));
    assert_eq!(Timing::development().check(), Ok(()));
    assert_eq!(Timing::default(), Timing::production());
}

#[test]
pub(super) fn root_sets_the_timing_of_challenges_to_come() {
    with_chain(|| {
        let timing = Timing {
            grace_blocks: 20,
            ..Timing::development()
        };
        assert_noop!(Performance::set_timing(origin(1), timing), BadOrigin);
        assert_ok!(Performance::set_timing(RuntimeOrigin::root(), timing));
        assert_eq!(CurrentTiming::<Test>::get(), timing);
        assert_eq!(events(), [Event::TimingSet { timing }]);
    });
}

#[test]
fn the_timing_of_a_running_challenge_stays() {
    with_chain(|| {
        let id = start();
        let timing = Timing {
            window_ms: 20_000,
            ..Timing::development()
        };
        assert_ok!(Performance::set_timing(RuntimeOrigin::root(), timing));
        let challenge = crate::Challenges::<Test>::get(id).unwrap();
        assert_eq!(challenge.timing, Timing::development());
    });
}

/// Values that cannot work beside the development timing, and why.
pub(super) fn bad_timings() -> Vec<(Timing, Error<Test>)> {
    let good = Timing::development();
    vec![
        (
            Timing {
                delta_ms: 0,
                ..good
            },
            Error::TimingOutOfRange,
        ),
        (
            Timing {
                grace_blocks: 0,
                ..good
            },
            Error::TimingOutOfRange,
        ),
        (
            Timing {
                pool_factor: 0,
                ..good
            },
            Error::TimingOutOfRange,
        ),
        (
            Timing {
                window_ms: 1 << 41,
                ..good
            },
            Error::TimingOutOfRange,
        ),
        (
            Timing {
                min_age: u32::MAX,
                ..good
            },
            Error::TimingOutOfRange,
        ),
        (Timing { min_age: 0, ..good }, Error::TimingOutOfRange),
        (
            Timing {
                block_ms: 501,
                ..good
            },
            Error::TimingBlockTime,
        ),
        (
            Timing {
                flip_ms: 4_899,
                ..good
            },
            Error::TimingFlip,
        ),
        (
            Timing {
                tail_ms: 999,
                ..good
            },
            Error::TimingTail,
        ),
        (
            Timing {
                window_ms: 12_999,
                ..good
            },
            Error::TimingWindow,
        ),
        // Here the number of blocks for commits is longer than their time.
        (
            Timing {
                commit_blocks: 6,
                window_ms: 13_999,
                ..good
            },
            Error::TimingWindow,
        ),
        (
            Timing {
                attestors: 33,
                ..good
            },
            Error::TimingRoster,
        ),
        (
            Timing {
                attestors: 0,
                min_active: 0,
                ..good
            },
            Error::TimingRoster,
        ),
        (
            Timing {
                min_active: 6,
                ..good
            },
            Error::TimingRoster,
        ),
        (
            Timing {
                min_active: 0,
                ..good
            },
            Error::TimingRoster,
        ),
        (
            Timing {
                chunks: 101,
                ..good
            },
            Error::TimingChunks,
        ),
        (
            Timing {
                chunks: 0,
                proved: 0,
                ..good
            },
            Error::TimingChunks,
        ),
        (
            Timing {
                proved: 101,
                ..good
            },
            Error::TimingChunks,
        ),
        (Timing { proved: 0, ..good }, Error::TimingChunks),
        (
            Timing {
                schedule: Schedule::Slots { num: 2, den: 3 },
                ..good
            },
            Error::TimingSchedule,
        ),
        (
            Timing {
                schedule: Schedule::Slots { num: 0, den: 0 },
                ..good
            },
            Error::TimingSchedule,
        ),
    ]
}

#[test]
fn values_that_cannot_work_are_refused() {
    let good = Timing::development();
    with_chain(|| {
        for (timing, error) in bad_timings() {
            assert_noop!(
                Performance::set_timing(RuntimeOrigin::root(), timing),
                error
            );
        }
        // The values next to those refused.
        for timing in [
            Timing {
                flip_ms: 4_900,
                ..good
            },
            Timing {
                tail_ms: 1_000,
                ..good
            },
            Timing {
                window_ms: 13_000,
                ..good
            },
            Timing {
                commit_blocks: 6,
                window_ms: 14_000,
                ..good
            },
            Timing {
                attestors: 32,
                ..good
            },
            Timing {
                schedule: Schedule::Slots { num: 1, den: 2 },
                ..good
            },
        ] {
            assert_ok!(Performance::set_timing(RuntimeOrigin::root(), timing));
        }
    });
}

#[test]
#[should_panic(expected = "the timing at genesis cannot work: Roster")]
fn a_genesis_that_cannot_work_is_refused() {
    new_test_ext(Timing {
        attestors: 0,
        ..Timing::development()
    });
}

#[test]
fn faults_are_told_apart() {
    let timing = Timing {
        schedule: Schedule::Slots { num: 1, den: 1 },
        ..Timing::development()
    };
    assert_eq!(timing.check(), Err(TimingFault::Schedule));
}

#[test]
fn the_timing_is_read_from_json_in_camel_case() {
    let schedule = Schedule::Slots { num: 1, den: 5 };
    let timing = Timing {
        schedule,
        ..Timing::development()
    };
    let json = serde_json::to_value(timing).unwrap();
    assert_eq!(json["blockMs"], 500);
    assert_eq!(json["schedule"]["slots"]["den"], 5);
    assert_eq!(
        serde_json::from_value::<Timing>(json.clone()).unwrap(),
        timing
    );
    let mut misspelt = json;
    misspelt["blockMS"] = 500.into();
    assert!(serde_json::from_value::<Timing>(misspelt).is_err());
}

#[test]
fn only_blocks_with_room_are_counted() {
    with_chain(|| {
        let limits: frame_system::limits::BlockWeights =
            <Test as frame_system::Config>::BlockWeights::get();
        let most = limits.get(DispatchClass::Normal).max_total.unwrap();
        let rooms = |weight: Weight, length: u32| {
            Rooms::<Test>::kill();
            System::set_block_consumed_resources(weight, length as usize);
            Pallet::<Test>::on_finalize(1);
            Rooms::<Test>::get()
        };
        let lengths: frame_system::limits::BlockLength =
            <Test as frame_system::Config>::BlockLength::get();
        let length = *lengths.max.get(DispatchClass::Normal);
        let nine_tenths = |amount: u64| (u128::from(amount) * 9 / 10) as u64;
        let (time, size) = (nine_tenths(most.ref_time()), nine_tenths(most.proof_size()));
        assert_eq!(rooms(Weight::zero(), 0), 1);
        assert_eq!(rooms(Weight::from_parts(time - 1, 0), 0), 1);
        assert_eq!(rooms(Weight::from_parts(time, 0), 0), 0);
        // Nine tenths of this are no whole number: the one below it is less.
        assert_eq!(most.proof_size() % 10, 1);
        assert_eq!(rooms(Weight::from_parts(0, size), 0), 1);
        assert_eq!(rooms(Weight::from_parts(0, size + 1), 0), 0);
        let length = nine_tenths(length.into()) as u32;
        assert_eq!(rooms(Weight::zero(), length - 1), 1);
        assert_eq!(rooms(Weight::zero(), length), 0);
    });
}
