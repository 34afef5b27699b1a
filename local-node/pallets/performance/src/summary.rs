//! How a hoster did in its last challenges, in one record for each hoster.
//!
//! # The formula
//! Of the hoster's last 32 settled challenges, of all its hostings and without the Void ones, the
//! newest has the weight w₀ = 2³², each earlier one wᵢ₊₁ = wᵢ − ⌊wᵢ / 16⌋: half of it after eleven
//! challenges, an eighth at the end. `passed_permille` is the weight of those that passed, in
//! thousandths of the weight of all, rounded down. `latency_p50_us` and `throughput` are weighted
//! medians, over those challenges whose medians have the figure: the least figure that, with all
//! smaller ones, has at least half of their weight.
//!
//! Nothing is carried on from one settlement to the next but the figures themselves, so no rounding
//! adds up; and a challenge with a hostile majority moves a median no further than to its neighbour,
//! as long as such challenges have less than half of the weight.

use alloc::vec::Vec;
use frame::prelude::*;

use crate::{
    types::{
        BlockNumber, FoundHoster, HosterEntry, HosterPage, HosterRecord, HosterSummary, Rank,
        Verdict, MAX_HISTORY,
    },
    Config, HosterRecords, Pallet, Ranking,
};
use pallet_hosting::Sla;
use pallet_providers::HosterRegistry;

/// The most hosters that one question looks at.
pub const MAX_LOOKED_AT: u32 = 256;

/// The weight of the newest challenge.
const NEWEST: u64 = 1 << 32;
/// Each earlier one has less by one part in so many.
const DECAY: u64 = 16;
/// Who passed no more than so many thousandths meets no SLA.
const HALF: u16 = 500;

/// The weights of the last challenges, the newest first.
pub const WEIGHTS: [u64; MAX_HISTORY as usize] = weights();

const fn weights() -> [u64; MAX_HISTORY as usize] {
    let mut weights = [NEWEST; MAX_HISTORY as usize];
    let mut age = 1;
    while age < weights.len() {
        weights[age] = weights[age - 1] - weights[age - 1] / DECAY;
        age += 1;
    }
    weights
}

/// The least of some figures that, with all smaller ones, has at least half of the weight.
pub fn weighted_median<Figure: Ord + Copy>(mut figures: Vec<(Figure, u64)>) -> Option<Figure> {
    figures.sort_unstable();
    let whole: u64 = figures.iter().map(|(_, weight)| weight).sum();
    let mut below = 0;
    figures.into_iter().find_map(|(figure, weight)| {
        below += weight;
        (below * 2 >= whole).then_some(figure)
    })
}

/// What a hoster's last challenges come to: the newest last, after so many of each outcome before.
fn summarize(
    recent: &[HosterEntry],
    before: Option<&HosterSummary>,
    updated: BlockNumber,
) -> HosterSummary {
    let ever = |verdict, count: fn(&HosterSummary) -> u64| {
        let newest = recent.last().is_some_and(|entry| entry.outcome == verdict);
        before.map_or(0, count).saturating_add(newest.into())
    };
    let weighted = || recent.iter().rev().zip(WEIGHTS);
    let latencies: Vec<_> = weighted()
        .filter_map(|(entry, weight)| Some((entry.latency_p50_us?, weight)))
        .collect();
    let throughputs: Vec<_> = weighted()
        .filter_map(|(entry, weight)| Some((entry.throughput?, weight)))
        .collect();
    let whole: u64 = weighted().map(|(_, weight)| weight).sum();
    let passed: u64 = weighted()
        .filter(|(entry, _)| entry.outcome == Verdict::Passed)
        .map(|(_, weight)| weight)
        .sum();
    HosterSummary {
        passed: ever(Verdict::Passed, |before| before.passed),
        failed: ever(Verdict::Failed, |before| before.failed),
        inconclusive: ever(Verdict::Inconclusive, |before| before.inconclusive),
        // At most 32 · 2³² · 1000.
        passed_permille: (passed * 1_000).checked_div(whole).unwrap_or_default() as u16,
        latency_challenges: latencies.len() as u32,
        throughput_challenges: throughputs.len() as u32,
        latency_p50_us: weighted_median(latencies),
        throughput: weighted_median(throughputs),
        updated,
    }
}

/// What a record comes to, all of whose challenges it still has; for what must hold of it.
pub(crate) fn of_record(record: &HosterRecord) -> HosterSummary {
    HosterSummary {
        passed: record.summary.passed,
        failed: record.summary.failed,
        inconclusive: record.summary.inconclusive,
        ..summarize(&record.recent, None, record.summary.updated)
    }
}

impl HosterSummary {
    /// Whether a hoster that did so meets an SLA: more than half of its challenges passed, by
    /// weight, and each figure that has a bound is known and within it.
    pub fn meets(&self, sla: &Sla) -> bool {
        self.passed_permille > HALF
            && sla
                .latency_p50_us
                .is_none_or(|most| self.latency_p50_us.is_some_and(|latency| latency <= most))
            && sla
                .throughput
                .is_none_or(|least| self.throughput.is_some_and(|figure| figure >= least))
    }
}

impl<AccountId> Rank<AccountId> {
    /// The place of a hoster with this latency; of one whose latency nobody measured behind all.
    pub fn new(latency_p50_us: Option<u32>, hoster: AccountId) -> Self {
        Self {
            latency_p50_us: latency_p50_us.unwrap_or(u32::MAX).to_be_bytes(),
            hoster,
        }
    }
}

impl<T: Config> Pallet<T> {
    /// Adds a settled challenge to the record of its hoster; a Void one says nothing about it.
    pub(crate) fn note_performance(hoster: &T::AccountId, entry: HosterEntry) {
        if entry.outcome == Verdict::Void {
            return;
        }
        let before = HosterRecords::<T>::get(hoster);
        let mut recent = before
            .as_ref()
            .map(|record| record.recent.clone())
            .unwrap_or_default();
        if recent.is_full() {
            recent.remove(0);
        }
        recent
            .try_push(entry)
            .defensive_proof("room was made")
            .unwrap_or_default();
        let before = before.map(|record| record.summary);
        let summary = summarize(&recent, before.as_ref(), Self::block());
        let rank = Rank::new(summary.latency_p50_us, hoster.clone());
        let old = before.map(|before| Rank::new(before.latency_p50_us, hoster.clone()));
        if old.as_ref() != Some(&rank) {
            if let Some(old) = old {
                Ranking::<T>::remove(old);
            }
            Ranking::<T>::insert(rank, ());
        }
        HosterRecords::<T>::insert(hoster, HosterRecord { summary, recent });
    }

    /// How a hoster did; `None` before its first settled challenge.
    pub fn hoster_summary(hoster: &T::AccountId) -> Option<HosterSummary> {
        HosterRecords::<T>::get(hoster).map(|record| record.summary)
    }

    /// Hosters that take hostings and meet an SLA, by latency, behind a place of the ranking: at
    /// most `limit` of them, and those among the next [`MAX_LOOKED_AT`] of the ranking.
    pub fn find_hosters(
        sla: &Sla,
        after: Option<Rank<T::AccountId>>,
        limit: u32,
    ) -> HosterPage<T::AccountId> {
        let mut places = match after {
            None => Ranking::<T>::iter_keys(),
            Some(place) => Ranking::<T>::iter_keys_from(Ranking::<T>::hashed_key_for(place)),
        };
        let limit = limit.min(MAX_LOOKED_AT) as usize;
        let mut hosters = Vec::new();
        let mut last = None;
        for _ in 0..MAX_LOOKED_AT {
            if hosters.len() >= limit {
                return HosterPage {
                    hosters,
                    next: last,
                };
            }
            let Some(place) = places.next() else {
                return HosterPage {
                    hosters,
                    next: None,
                };
            };
            let too_slow = sla
                .latency_p50_us
                .is_some_and(|most| u32::from_be_bytes(place.latency_p50_us) > most);
            if too_slow {
                return HosterPage {
                    hosters,
                    next: None,
                };
            }
            let hoster = place.hoster.clone();
            last = Some(place);
            if !T::Hosters::is_active(&hoster) {
                continue;
            }
            if let Some(summary) = Self::hoster_summary(&hoster).filter(|one| one.meets(sla)) {
                hosters.push(FoundHoster { hoster, summary });
            }
        }
        HosterPage {
            hosters,
            next: last,
        }
    }
}
