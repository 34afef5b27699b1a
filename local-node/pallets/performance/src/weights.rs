//! What the calls and hooks of `pallet_performance` cost.
//!
//! Written by `make bench-chain`, not by hand: medians of the times that the compiled runtime took
//! on one core of an AMD EPYC, 10 values of each component and 20 runs of each; reads and writes
//! of storage at ParityDB's prices; sizes of the proofs that were recorded.

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
    /// `settle_served`.
    fn settle_served() -> Weight;
    /// `settle_unanswered`.
    fn settle_unanswered() -> Weight;
    /// `settle_absent`.
    fn settle_absent() -> Weight;
    /// `on_initialize`; `s`: 0 to 4.
    fn on_initialize(s: u32) -> Weight;
    /// `on_finalize`.
    fn on_finalize() -> Weight;
    /// `look`.
    fn look() -> Weight;
    /// `start`.
    fn start() -> Weight;
    /// `open_commits`.
    fn open_commits() -> Weight;
    /// `end_commits`.
    fn end_commits() -> Weight;
    /// `open_reports`.
    fn open_reports() -> Weight;
    /// `prune`.
    fn prune() -> Weight;
}

/// The weights on a runtime, at its prices of reads and writes.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
    fn set_timing() -> Weight {
        Weight::from_parts(5_869_000, 0)
            .saturating_add(T::DbWeight::get().reads(1))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn anchor_flip(n: u32) -> Weight {
        Weight::from_parts(78_270_470, 620)
            .saturating_add(Weight::from_parts(47_152_229, 64).saturating_mul(n.into()))
            .saturating_add(T::DbWeight::get().reads(6))
            .saturating_add(T::DbWeight::get().writes(4))
    }

    fn anchor_flip_late() -> Weight {
        Weight::from_parts(34_411_000, 3_807)
            .saturating_add(T::DbWeight::get().reads(2))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn commit_flip() -> Weight {
        Weight::from_parts(32_969_000, 3_743)
            .saturating_add(T::DbWeight::get().reads(3))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn submit_report(p: u32) -> Weight {
        Weight::from_parts(510_431_643, 4_305)
            .saturating_add(Weight::from_parts(1_296_842, 0).saturating_mul(p.into()))
            .saturating_add(T::DbWeight::get().reads(6))
            .saturating_add(T::DbWeight::get().writes(7))
    }

    fn submit_failure() -> Weight {
        Weight::from_parts(529_435_000, 8_311)
            .saturating_add(T::DbWeight::get().reads(40))
            .saturating_add(T::DbWeight::get().writes(8))
    }

    fn answer_demand(b: u32) -> Weight {
        Weight::from_parts(347_192_376, 7_411)
            .saturating_add(Weight::from_parts(3_244, 0).saturating_mul(b.into()))
            .saturating_add(T::DbWeight::get().reads(39))
            .saturating_add(T::DbWeight::get().writes(8))
    }

    fn report_fraud() -> Weight {
        Weight::from_parts(295_067_000, 6_266)
            .saturating_add(T::DbWeight::get().reads(14))
            .saturating_add(T::DbWeight::get().writes(13))
    }

    fn report_false_receipt() -> Weight {
        Weight::from_parts(214_057_000, 810)
            .saturating_add(T::DbWeight::get().reads(11))
            .saturating_add(T::DbWeight::get().writes(11))
    }

    fn settle_served() -> Weight {
        Weight::from_parts(6_326_739_000, 38_469)
            .saturating_add(T::DbWeight::get().reads(178))
            .saturating_add(T::DbWeight::get().writes(81))
    }

    fn settle_unanswered() -> Weight {
        Weight::from_parts(8_758_523_000, 39_141)
            .saturating_add(T::DbWeight::get().reads(207))
            .saturating_add(T::DbWeight::get().writes(143))
    }

    fn settle_absent() -> Weight {
        Weight::from_parts(13_742_992_000, 21_500)
            .saturating_add(T::DbWeight::get().reads(243))
            .saturating_add(T::DbWeight::get().writes(112))
    }

    fn on_initialize(s: u32) -> Weight {
        Weight::from_parts(1_871_840, 0)
            .saturating_add(Weight::from_parts(1_587_850, 0).saturating_mul(s.into()))
            .saturating_add(T::DbWeight::get().reads(2))
            .saturating_add(T::DbWeight::get().writes(1))
            .saturating_add(T::DbWeight::get().writes(u64::from(s) * 1))
    }

    fn on_finalize() -> Weight {
        Weight::from_parts(1_912_000, 0)
            .saturating_add(T::DbWeight::get().reads(1))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn look() -> Weight {
        Weight::from_parts(20_731_000, 650).saturating_add(T::DbWeight::get().reads(1))
    }

    fn start() -> Weight {
        Weight::from_parts(644_756_000, 9_243)
            .saturating_add(T::DbWeight::get().reads(124))
            .saturating_add(T::DbWeight::get().writes(42))
    }

    fn open_commits() -> Weight {
        Weight::from_parts(79_818_000, 2_720)
            .saturating_add(T::DbWeight::get().reads(12))
            .saturating_add(T::DbWeight::get().writes(4))
    }

    fn end_commits() -> Weight {
        Weight::from_parts(95_201_000, 3_828)
            .saturating_add(T::DbWeight::get().reads(18))
            .saturating_add(T::DbWeight::get().writes(5))
    }

    fn open_reports() -> Weight {
        Weight::from_parts(57_505_000, 2_749)
            .saturating_add(T::DbWeight::get().reads(8))
            .saturating_add(T::DbWeight::get().writes(4))
    }

    fn prune() -> Weight {
        Weight::from_parts(480_082_000, 9_967)
            .saturating_add(T::DbWeight::get().reads(104))
            .saturating_add(T::DbWeight::get().writes(135))
    }
}

// For tests.
impl WeightInfo for () {
    fn set_timing() -> Weight {
        Weight::from_parts(5_869_000, 0)
            .saturating_add(ParityDbWeight::get().reads(1))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn anchor_flip(n: u32) -> Weight {
        Weight::from_parts(78_270_470, 620)
            .saturating_add(Weight::from_parts(47_152_229, 64).saturating_mul(n.into()))
            .saturating_add(ParityDbWeight::get().reads(6))
            .saturating_add(ParityDbWeight::get().writes(4))
    }

    fn anchor_flip_late() -> Weight {
        Weight::from_parts(34_411_000, 3_807)
            .saturating_add(ParityDbWeight::get().reads(2))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn commit_flip() -> Weight {
        Weight::from_parts(32_969_000, 3_743)
            .saturating_add(ParityDbWeight::get().reads(3))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn submit_report(p: u32) -> Weight {
        Weight::from_parts(510_431_643, 4_305)
            .saturating_add(Weight::from_parts(1_296_842, 0).saturating_mul(p.into()))
            .saturating_add(ParityDbWeight::get().reads(6))
            .saturating_add(ParityDbWeight::get().writes(7))
    }

    fn submit_failure() -> Weight {
        Weight::from_parts(529_435_000, 8_311)
            .saturating_add(ParityDbWeight::get().reads(40))
            .saturating_add(ParityDbWeight::get().writes(8))
    }

    fn answer_demand(b: u32) -> Weight {
        Weight::from_parts(347_192_376, 7_411)
            .saturating_add(Weight::from_parts(3_244, 0).saturating_mul(b.into()))
            .saturating_add(ParityDbWeight::get().reads(39))
            .saturating_add(ParityDbWeight::get().writes(8))
    }

    fn report_fraud() -> Weight {
        Weight::from_parts(295_067_000, 6_266)
            .saturating_add(ParityDbWeight::get().reads(14))
            .saturating_add(ParityDbWeight::get().writes(13))
    }

    fn report_false_receipt() -> Weight {
        Weight::from_parts(214_057_000, 810)
            .saturating_add(ParityDbWeight::get().reads(11))
            .saturating_add(ParityDbWeight::get().writes(11))
    }

    fn settle_served() -> Weight {
        Weight::from_parts(6_326_739_000, 38_469)
            .saturating_add(ParityDbWeight::get().reads(178))
            .saturating_add(ParityDbWeight::get().writes(81))
    }

    fn settle_unanswered() -> Weight {
        Weight::from_parts(8_758_523_000, 39_141)
            .saturating_add(ParityDbWeight::get().reads(207))
            .saturating_add(ParityDbWeight::get().writes(143))
    }

    fn settle_absent() -> Weight {
        Weight::from_parts(13_742_992_000, 21_500)
            .saturating_add(ParityDbWeight::get().reads(243))
            .saturating_add(ParityDbWeight::get().writes(112))
    }

    fn on_initialize(s: u32) -> Weight {
        Weight::from_parts(1_871_840, 0)
            .saturating_add(Weight::from_parts(1_587_850, 0).saturating_mul(s.into()))
            .saturating_add(ParityDbWeight::get().reads(2))
            .saturating_add(ParityDbWeight::get().writes(1))
            .saturating_add(ParityDbWeight::get().writes(u64::from(s) * 1))
    }

    fn on_finalize() -> Weight {
        Weight::from_parts(1_912_000, 0)
            .saturating_add(ParityDbWeight::get().reads(1))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn look() -> Weight {
        Weight::from_parts(20_731_000, 650).saturating_add(ParityDbWeight::get().reads(1))
    }

    fn start() -> Weight {
        Weight::from_parts(644_756_000, 9_243)
            .saturating_add(ParityDbWeight::get().reads(124))
            .saturating_add(ParityDbWeight::get().writes(42))
    }

    fn open_commits() -> Weight {
        Weight::from_parts(79_818_000, 2_720)
            .saturating_add(ParityDbWeight::get().reads(12))
            .saturating_add(ParityDbWeight::get().writes(4))
    }

    fn end_commits() -> Weight {
        Weight::from_parts(95_201_000, 3_828)
            .saturating_add(ParityDbWeight::get().reads(18))
            .saturating_add(ParityDbWeight::get().writes(5))
    }

    fn open_reports() -> Weight {
        Weight::from_parts(57_505_000, 2_749)
            .saturating_add(ParityDbWeight::get().reads(8))
            .saturating_add(ParityDbWeight::get().writes(4))
    }

    fn prune() -> Weight {
        Weight::from_parts(480_082_000, 9_967)
            .saturating_add(ParityDbWeight::get().reads(104))
            .saturating_add(ParityDbWeight::get().writes(135))
    }
}
