//! Drives the fuzz targets with random bytes: PROPTEST_CASES says how many for each.

use datdot_fuzz::{
    chain,
    model::{Seen, COUNTED},
    TARGETS,
};
use proptest::{collection, prelude::*};

/// The number of cases, unless PROPTEST_CASES says another.
fn cases(usual: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: asked.map_or(usual, |count| count.parse().expect("a number of cases")),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(24))]

    /// Honest and dishonest accounts in any order, beside the model.
    #[test]
    fn calls(data in collection::vec(any::<u8>(), 0..1_500)) {
        chain::calls(&data);
    }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn rules_hold(data in collection::vec(any::<u8>(), 0..400)) {
        for (name, target) in TARGETS {
            if name != "calls" {
                target(&data);
            }
        }
    }

    /// One change alone, so that it meets the checks one by one.
    #[test]
    fn one_change_is_noticed(place: u16, bits: u8) {
        let [low, high] = place.to_le_bytes();
        for (name, target) in TARGETS {
            if name != "calls" {
                target(&[low, high, bits]);
            }
        }
    }
}

/// The random sequences are worth something: within few of them all of this happens.
#[test]
fn sequences_reach_everything() {
    let mut sum = Seen::default();
    for data in chain::sequences().take(60) {
        for (what, count) in chain::run(&data) {
            *sum.entry(what).or_default() += count;
        }
        if COUNTED.iter().all(|what| sum.contains_key(what)) {
            return;
        }
    }
    panic!("after 60 sequences: {sum:?}");
}
