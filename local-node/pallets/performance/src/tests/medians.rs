//! Medians, quartiles, links, and how far liars move them.

use datdot_primitives::report::{Metrics, PeerMetrics};

use crate::{
    medians::{link, median, medians, Sample},
    mock::metrics,
    types::Median,
};

#[test]
fn medians_and_quartiles_are_nearest_rank() {
    assert_eq!(median(vec![]), None);
    for (figures, value, low, high) in [
        (vec![5], 5, 5, 5),
        (vec![9, 5], 5, 5, 9),
        (vec![9, 5, 7], 7, 5, 9),
        (vec![9, 5, 7, 8], 7, 5, 8),
        (vec![4, 3, 2, 1, 5, 6, 7, 8], 4, 2, 6),
        (vec![0, u64::MAX], 0, 0, u64::MAX),
    ] {
        let reports = figures.len() as u32;
        assert_eq!(
            median(figures),
            Some(Median {
                value,
                reports,
                low,
                high
            })
        );
    }
}

#[test]
fn liars_below_one_half_move_a_median_only_among_the_honest() {
    for all in 1_u64..=13 {
        let middle = all.div_ceil(2);
        for liars in 0..all.div_ceil(2) {
            let honest: Vec<u64> = (1..=all - liars).map(|place| 100 * place).collect();
            let place = |number: u64| honest[number as usize - 1];
            // Lies that all pull one way move it farthest; the others lie between.
            for low in 0..=liars {
                let mut figures = honest.clone();
                figures.extend((0..liars).map(|lie| if lie < low { 0 } else { u64::MAX }));
                let value = median(figures).expect("there are figures").value;
                assert!((place(middle - liars)..=place(middle)).contains(&value));
                if low == liars {
                    assert_eq!(value, place(middle - liars));
                }
                if low == 0 {
                    assert_eq!(value, place(middle));
                }
            }
        }
    }
}

#[test]
fn half_of_the_reports_can_move_a_median_anywhere() {
    // The negative control: two lies of four.
    let figures = vec![100, 200, 0, 0];
    assert_eq!(median(figures).map(|median| median.value), Some(0));
}

fn peer(index: u8, throughput: u64) -> PeerMetrics {
    PeerMetrics {
        index,
        rtt_p50_us: 1,
        throughput,
    }
}

#[test]
fn a_link_is_what_the_fellows_measured() {
    let own = [peer(0, 1), peer(1, 50)];
    let zero = [peer(0, 0)];
    let fast = [peer(0, 40)];
    let slow = [peer(0, 20), peer(1, 7)];
    let sample = |place, peers| Sample {
        place,
        metrics: None,
        peers,
    };
    let none: &[PeerMetrics] = &[];
    assert_eq!(link(&[], 0), None);
    assert_eq!(link(&[sample(0, &own), sample(1, none)], 0), None);
    // Zero: not measured. What it says of itself does not count.
    let samples = [
        sample(0, &own),
        sample(1, &zero),
        sample(2, &fast),
        sample(3, &slow),
        sample(4, &zero),
    ];
    assert_eq!(link(&samples, 0), Some(20));
    assert_eq!(link(&samples, 1), Some(7));
    assert_eq!(link(&samples, 2), None);
}

#[test]
fn a_throughput_above_its_attestors_link_is_a_lower_bound() {
    let served: Vec<Metrics> = [10_000, 20_000, 30_000]
        .map(|base| metrics(true, base))
        .into();
    // The links: 10,006 (slower than the reported 10,007), 20,007 (as fast), none measured.
    let peers = [peer(0, 10_006), peer(1, 20_007)];
    let samples: Vec<Sample> = (0..)
        .zip(&served)
        .map(|(place, metrics)| Sample {
            place,
            metrics: Some(metrics),
            peers: if place == 2 { &peers } else { &[] },
        })
        .collect();
    let medians = medians(&samples);
    assert_eq!(medians.throughput, median(vec![20_007, 30_007]));
    assert_eq!(medians.throughput_at_least, median(vec![10_007]));
    assert_eq!(medians.latency_p50_us, None);
    assert_eq!(medians.connect_us, median(vec![10_000, 20_000, 30_000]));
}
