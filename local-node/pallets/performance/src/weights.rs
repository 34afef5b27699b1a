//! What the calls and hooks of `pallet_performance` cost.
//!
//! Written by `make bench-chain`, not by hand: medians of the times that the compiled runtime took
//! on one core of an AMD EPYC, 10 values of each component and 20 runs of each, five times as many
//! where there is none; reads and writes of storage at ParityDB's prices; sizes of the proofs that
//! were recorded.

// The generated expressions name what is nothing, too.
#![allow(clippy::identity_op)]

use frame::weights_prelude::*;

/// The weights of the calls and hooks.
pub trait WeightInfo {
    /// `set_timing`.
    fn set_timing() -> Weight;
    /// `anchor_flip`; `n`: 1 to 32.
    fn anchor_flip(n: u32) -> Weight;
    /// `anchor_flip_late`.
    fn anchor_flip_late() -> Weight;
    /// `commit_flip`.
    fn commit_flip() -> Weight;
    /// `submit_report`; `p`: 128 to 4196.
    fn submit_report(p: u32) -> Weight;
    /// `submit_failure`.
    fn submit_failure() -> Weight;
    /// `answer_demand`; `b`: 0 to 131072.
    fn answer_demand(b: u32) -> Weight;
    /// `report_fraud`.
    fn report_fraud() -> Weight;
    /// `report_false_receipt`.
    fn report_false_receipt() -> Weight;
    /// `settle_served`; `n`: 2 to 32.
    fn settle_served(n: u32) -> Weight;
    /// `settle_unanswered`; `n`: 1 to 32.
    fn settle_unanswered(n: u32) -> Weight;
    /// `settle_absent`; `n`: 1 to 32.
    fn settle_absent(n: u32) -> Weight;
    /// `on_initialize`; `s`: 0 to 4.
    fn on_initialize(s: u32) -> Weight;
    /// `on_finalize`.
    fn on_finalize() -> Weight;
    /// `on_poll`.
    fn on_poll() -> Weight;
    /// `look`.
    fn look() -> Weight;
    /// `start`; `n`: 1 to 32.
    fn start(n: u32) -> Weight;
    /// `open_commits`.
    fn open_commits() -> Weight;
    /// `end_commits`.
    fn end_commits() -> Weight;
    /// `open_reports`.
    fn open_reports() -> Weight;
    /// `prune`; `n`: 1 to 32.
    fn prune(n: u32) -> Weight;
}

/// The weights on a runtime, at its prices of reads and writes.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
    fn set_timing() -> Weight {
        Weight::from_parts(5_658_000, 0)
            .saturating_add(T::DbWeight::get().reads(1))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn anchor_flip(n: u32) -> Weight {
        Weight::from_parts(1_426_596, 665)
            .saturating_add(Weight::from_parts(63_204_264, 64).saturating_mul(n.into()))
            .saturating_add(T::DbWeight::get().reads(7))
            .saturating_add(T::DbWeight::get().writes(4))
    }

    fn anchor_flip_late() -> Weight {
        Weight::from_parts(33_309_000, 3_840)
            .saturating_add(T::DbWeight::get().reads(2))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn commit_flip() -> Weight {
        Weight::from_parts(33_289_000, 3_776)
            .saturating_add(T::DbWeight::get().reads(3))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn submit_report(p: u32) -> Weight {
        Weight::from_parts(520_183_000, 4_350)
            .saturating_add(Weight::from_parts(1_658_299, 0).saturating_mul(p.into()))
            .saturating_add(T::DbWeight::get().reads(7))
            .saturating_add(T::DbWeight::get().writes(8))
    }

    fn submit_failure() -> Weight {
        Weight::from_parts(532_271_000, 8_356)
            .saturating_add(T::DbWeight::get().reads(41))
            .saturating_add(T::DbWeight::get().writes(8))
    }

    fn answer_demand(b: u32) -> Weight {
        Weight::from_parts(435_317_026, 7_456)
            .saturating_add(Weight::from_parts(1_743, 0).saturating_mul(b.into()))
            .saturating_add(T::DbWeight::get().reads(40))
            .saturating_add(T::DbWeight::get().writes(8))
    }

    fn report_fraud() -> Weight {
        Weight::from_parts(294_027_000, 6_299)
            .saturating_add(T::DbWeight::get().reads(14))
            .saturating_add(T::DbWeight::get().writes(13))
    }

    fn report_false_receipt() -> Weight {
        Weight::from_parts(229_241_000, 810)
            .saturating_add(T::DbWeight::get().reads(11))
            .saturating_add(T::DbWeight::get().writes(11))
    }

    fn settle_served(n: u32) -> Weight {
        Weight::from_parts(312_565_000, 1_376)
            .saturating_add(Weight::from_parts(149_875_493, 1_105).saturating_mul(n.into()))
            .saturating_add(T::DbWeight::get().reads(19))
            .saturating_add(T::DbWeight::get().reads(u64::from(n) * 5))
            .saturating_add(T::DbWeight::get().writes(18))
            .saturating_add(T::DbWeight::get().writes(u64::from(n) * 2))
    }

    fn settle_unanswered(n: u32) -> Weight {
        Weight::from_parts(1_364_909_111, 1_593)
            .saturating_add(Weight::from_parts(316_261_512, 1_113).saturating_mul(n.into()))
            .saturating_add(T::DbWeight::get().reads(17))
            .saturating_add(T::DbWeight::get().reads(u64::from(n) * 6))
            .saturating_add(T::DbWeight::get().writes(16))
            .saturating_add(T::DbWeight::get().writes(u64::from(n) * 4))
    }

    fn settle_absent(n: u32) -> Weight {
        Weight::from_parts(68_747_641, 7_347)
            .saturating_add(Weight::from_parts(410_177_639, 443).saturating_mul(n.into()))
            .saturating_add(T::DbWeight::get().reads(52))
            .saturating_add(T::DbWeight::get().reads(u64::from(n) * 6))
            .saturating_add(T::DbWeight::get().writes(17))
            .saturating_add(T::DbWeight::get().writes(u64::from(n) * 3))
    }

    fn on_initialize(s: u32) -> Weight {
        Weight::from_parts(1_813_620, 0)
            .saturating_add(Weight::from_parts(1_636_450, 0).saturating_mul(s.into()))
            .saturating_add(T::DbWeight::get().reads(2))
            .saturating_add(T::DbWeight::get().writes(1))
            .saturating_add(T::DbWeight::get().writes(u64::from(s) * 1))
    }

    fn on_finalize() -> Weight {
        Weight::from_parts(1_743_000, 0)
            .saturating_add(T::DbWeight::get().reads(1))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn on_poll() -> Weight {
        Weight::from_parts(36_544_000, 466).saturating_add(T::DbWeight::get().reads(14))
    }

    fn look() -> Weight {
        Weight::from_parts(20_240_000, 650)
            .saturating_add(T::DbWeight::get().reads(2))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn start(n: u32) -> Weight {
        Weight::from_parts(133_901_114, 1_279)
            .saturating_add(Weight::from_parts(16_605_937, 249).saturating_mul(n.into()))
            .saturating_add(T::DbWeight::get().reads(28))
            .saturating_add(T::DbWeight::get().reads(u64::from(n) * 3))
            .saturating_add(T::DbWeight::get().writes(11))
            .saturating_add(T::DbWeight::get().writes(u64::from(n) * 1))
    }

    fn open_commits() -> Weight {
        Weight::from_parts(82_703_000, 2_765)
            .saturating_add(T::DbWeight::get().reads(10))
            .saturating_add(T::DbWeight::get().writes(5))
    }

    fn end_commits() -> Weight {
        Weight::from_parts(86_418_000, 3_873)
            .saturating_add(T::DbWeight::get().reads(16))
            .saturating_add(T::DbWeight::get().writes(6))
    }

    fn open_reports() -> Weight {
        Weight::from_parts(58_216_000, 2_794)
            .saturating_add(T::DbWeight::get().reads(6))
            .saturating_add(T::DbWeight::get().writes(5))
    }

    fn prune(n: u32) -> Weight {
        Weight::from_parts(337_830_532, 5_789)
            .saturating_add(Weight::from_parts(3_783_216, 39).saturating_mul(n.into()))
            .saturating_add(T::DbWeight::get().reads(81))
            .saturating_add(T::DbWeight::get().writes(76))
            .saturating_add(T::DbWeight::get().writes(u64::from(n) * 2))
    }
}

// For tests.
impl WeightInfo for () {
    fn set_timing() -> Weight {
        Weight::from_parts(5_658_000, 0)
            .saturating_add(ParityDbWeight::get().reads(1))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn anchor_flip(n: u32) -> Weight {
        Weight::from_parts(1_426_596, 665)
            .saturating_add(Weight::from_parts(63_204_264, 64).saturating_mul(n.into()))
            .saturating_add(ParityDbWeight::get().reads(7))
            .saturating_add(ParityDbWeight::get().writes(4))
    }

    fn anchor_flip_late() -> Weight {
        Weight::from_parts(33_309_000, 3_840)
            .saturating_add(ParityDbWeight::get().reads(2))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn commit_flip() -> Weight {
        Weight::from_parts(33_289_000, 3_776)
            .saturating_add(ParityDbWeight::get().reads(3))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn submit_report(p: u32) -> Weight {
        Weight::from_parts(520_183_000, 4_350)
            .saturating_add(Weight::from_parts(1_658_299, 0).saturating_mul(p.into()))
            .saturating_add(ParityDbWeight::get().reads(7))
            .saturating_add(ParityDbWeight::get().writes(8))
    }

    fn submit_failure() -> Weight {
        Weight::from_parts(532_271_000, 8_356)
            .saturating_add(ParityDbWeight::get().reads(41))
            .saturating_add(ParityDbWeight::get().writes(8))
    }

    fn answer_demand(b: u32) -> Weight {
        Weight::from_parts(435_317_026, 7_456)
            .saturating_add(Weight::from_parts(1_743, 0).saturating_mul(b.into()))
            .saturating_add(ParityDbWeight::get().reads(40))
            .saturating_add(ParityDbWeight::get().writes(8))
    }

    fn report_fraud() -> Weight {
        Weight::from_parts(294_027_000, 6_299)
            .saturating_add(ParityDbWeight::get().reads(14))
            .saturating_add(ParityDbWeight::get().writes(13))
    }

    fn report_false_receipt() -> Weight {
        Weight::from_parts(229_241_000, 810)
            .saturating_add(ParityDbWeight::get().reads(11))
            .saturating_add(ParityDbWeight::get().writes(11))
    }

    fn settle_served(n: u32) -> Weight {
        Weight::from_parts(312_565_000, 1_376)
            .saturating_add(Weight::from_parts(149_875_493, 1_105).saturating_mul(n.into()))
            .saturating_add(ParityDbWeight::get().reads(19))
            .saturating_add(ParityDbWeight::get().reads(u64::from(n) * 5))
            .saturating_add(ParityDbWeight::get().writes(18))
            .saturating_add(ParityDbWeight::get().writes(u64::from(n) * 2))
    }

    fn settle_unanswered(n: u32) -> Weight {
        Weight::from_parts(1_364_909_111, 1_593)
            .saturating_add(Weight::from_parts(316_261_512, 1_113).saturating_mul(n.into()))
            .saturating_add(ParityDbWeight::get().reads(17))
            .saturating_add(ParityDbWeight::get().reads(u64::from(n) * 6))
            .saturating_add(ParityDbWeight::get().writes(16))
            .saturating_add(ParityDbWeight::get().writes(u64::from(n) * 4))
    }

    fn settle_absent(n: u32) -> Weight {
        Weight::from_parts(68_747_641, 7_347)
            .saturating_add(Weight::from_parts(410_177_639, 443).saturating_mul(n.into()))
            .saturating_add(ParityDbWeight::get().reads(52))
            .saturating_add(ParityDbWeight::get().reads(u64::from(n) * 6))
            .saturating_add(ParityDbWeight::get().writes(17))
            .saturating_add(ParityDbWeight::get().writes(u64::from(n) * 3))
    }

    fn on_initialize(s: u32) -> Weight {
        Weight::from_parts(1_813_620, 0)
            .saturating_add(Weight::from_parts(1_636_450, 0).saturating_mul(s.into()))
            .saturating_add(ParityDbWeight::get().reads(2))
            .saturating_add(ParityDbWeight::get().writes(1))
            .saturating_add(ParityDbWeight::get().writes(u64::from(s) * 1))
    }

    fn on_finalize() -> Weight {
        Weight::from_parts(1_743_000, 0)
            .saturating_add(ParityDbWeight::get().reads(1))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn on_poll() -> Weight {
        Weight::from_parts(36_544_000, 466).saturating_add(ParityDbWeight::get().reads(14))
    }

    fn look() -> Weight {
        Weight::from_parts(20_240_000, 650)
            .saturating_add(ParityDbWeight::get().reads(2))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn start(n: u32) -> Weight {
        Weight::from_parts(133_901_114, 1_279)
            .saturating_add(Weight::from_parts(16_605_937, 249).saturating_mul(n.into()))
            .saturating_add(ParityDbWeight::get().reads(28))
            .saturating_add(ParityDbWeight::get().reads(u64::from(n) * 3))
            .saturating_add(ParityDbWeight::get().writes(11))
            .saturating_add(ParityDbWeight::get().writes(u64::from(n) * 1))
    }

    fn open_commits() -> Weight {
        Weight::from_parts(82_703_000, 2_765)
            .saturating_add(ParityDbWeight::get().reads(10))
            .saturating_add(ParityDbWeight::get().writes(5))
    }

    fn end_commits() -> Weight {
        Weight::from_parts(86_418_000, 3_873)
            .saturating_add(ParityDbWeight::get().reads(16))
            .saturating_add(ParityDbWeight::get().writes(6))
    }

    fn open_reports() -> Weight {
        Weight::from_parts(58_216_000, 2_794)
            .saturating_add(ParityDbWeight::get().reads(6))
            .saturating_add(ParityDbWeight::get().writes(5))
    }

    fn prune(n: u32) -> Weight {
        Weight::from_parts(337_830_532, 5_789)
            .saturating_add(Weight::from_parts(3_783_216, 39).saturating_mul(n.into()))
            .saturating_add(ParityDbWeight::get().reads(81))
            .saturating_add(ParityDbWeight::get().writes(76))
            .saturating_add(ParityDbWeight::get().writes(u64::from(n) * 2))
    }
}
