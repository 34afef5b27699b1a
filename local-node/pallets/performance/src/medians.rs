//! What the figures of many attestors say together (challenge.md §6).
//!
//! A median of n figures, of which f are lies, lies between two honest ones as long as
//! f < n / 2: no lie moves it beyond what some honest attestor saw. More exactly, of the honest
//! figures in ascending order it is one of those from place ⌈n/2⌉ − f to place ⌈n/2⌉.

use alloc::vec::Vec;
use datdot_primitives::report::{Metrics, PeerMetrics};

use crate::types::{Median, Medians};

/// What one report says.
pub struct Sample<'a> {
    /// The reporter's place in the start roster.
    pub place: u8,
    /// The figures of its session; `None` if it was not served.
    pub metrics: Option<&'a Metrics>,
    /// The figures of its fellow attestors.
    pub peers: &'a [PeerMetrics],
}

/// The medians over the reports that have the figure.
pub fn medians(samples: &[Sample]) -> Medians {
    let of = |figure: &dyn Fn(&Metrics) -> Option<u64>| {
        let figures = samples.iter().filter_map(|sample| figure(sample.metrics?));
        median(figures.collect())
    };
    let latency = |metrics: &Metrics| metrics.latency_us;
    let observed = |metrics: &Metrics| metrics.observed;
    let (bounds, exact): (Vec<_>, Vec<_>) = samples
        .iter()
        .filter_map(|sample| Some((sample.place, sample.metrics?.throughput?)))
        .partition(|(place, throughput)| {
            link(samples, *place).is_some_and(|link| link < *throughput)
        });
    let values = |figures: Vec<(u8, u64)>| figures.into_iter().map(|(_, value)| value).collect();
    Medians {
        connect_us: of(&|metrics| Some(metrics.connect_us.into())),
        handshake_us: of(&|metrics| Some(metrics.handshake_us.into())),
        first_chunk_us: of(&|metrics| Some(metrics.first_chunk_us.into())),
        latency_p50_us: of(&|metrics| Some(latency(metrics)?.p50.into())),
        latency_p90_us: of(&|metrics| Some(latency(metrics)?.p90.into())),
        latency_p99_us: of(&|metrics| Some(latency(metrics)?.p99.into())),
        latency_max_us: of(&|metrics| Some(latency(metrics)?.max.into())),
        throughput: median(values(exact)),
        throughput_at_least: median(values(bounds)),
        timeouts: of(&|metrics| Some(metrics.timeouts.into())),
        observed_latency_p50_us: of(&|metrics| Some(observed(metrics)?.latency_p50_us.into())),
        observed_throughput: of(&|metrics| Some(observed(metrics)?.throughput)),
    }
}

/// How fast the link of the attestor at this place is, bytes per second: the median of what its
/// fellows measured, `None` if none of them did. What it says itself does not count.
pub fn link(samples: &[Sample], place: u8) -> Option<u64> {
    let measured = samples
        .iter()
        .filter(|sample| sample.place != place)
        .flat_map(|sample| sample.peers)
        .filter(|peer| peer.index == place && peer.throughput > 0)
        .map(|peer| peer.throughput);
    median(measured.collect()).map(|median| median.value)
}

/// The nearest-rank median and quartiles of some figures, which it sorts.
pub fn median(mut figures: Vec<u64>) -> Option<Median> {
    figures.sort_unstable();
    let count = figures.len();
    let quarter = |quarters: usize| {
        let rank = (count * quarters).div_ceil(4);
        figures.get(rank.checked_sub(1)?).copied()
    };
    Some(Median {
        value: quarter(2)?,
        reports: count as u32,
        low: quarter(1)?,
        high: quarter(3)?,
    })
}
