//! What the calls and hooks of `pallet_providers` cost.
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
    /// `register_attestor`.
    fn register_attestor() -> Weight;
    /// `register_hoster`.
    fn register_hoster() -> Weight;
    /// `set_endpoint`.
    fn set_endpoint() -> Weight;
    /// `set_capacity`.
    fn set_capacity() -> Weight;
    /// `set_session_key`.
    fn set_session_key() -> Weight;
    /// `drain`.
    fn drain() -> Weight;
    /// `undrain`.
    fn undrain() -> Weight;
    /// `deregister`.
    fn deregister() -> Weight;
    /// `withdraw_bond`.
    fn withdraw_bond() -> Weight;
    /// `on_initialize`; `t`: 0 to 64.
    fn on_initialize(t: u32) -> Weight;
}

/// The weights on a runtime, at its prices of reads and writes.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
    fn register_attestor() -> Weight {
        Weight::from_parts(356_590_000, 3_662)
            .saturating_add(T::DbWeight::get().reads(39))
            .saturating_add(T::DbWeight::get().writes(5))
    }

    fn register_hoster() -> Weight {
        Weight::from_parts(381_827_000, 3_662)
            .saturating_add(T::DbWeight::get().reads(39))
            .saturating_add(T::DbWeight::get().writes(5))
    }

    fn set_endpoint() -> Weight {
        Weight::from_parts(14_622_000, 329)
            .saturating_add(T::DbWeight::get().reads(2))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn set_capacity() -> Weight {
        Weight::from_parts(27_080_000, 488)
            .saturating_add(T::DbWeight::get().reads(4))
            .saturating_add(T::DbWeight::get().writes(7))
    }

    fn set_session_key() -> Weight {
        Weight::from_parts(306_145_000, 4_044)
            .saturating_add(T::DbWeight::get().reads(37))
            .saturating_add(T::DbWeight::get().writes(4))
    }

    fn drain() -> Weight {
        Weight::from_parts(104_616_000, 3_962)
            .saturating_add(T::DbWeight::get().reads(36))
            .saturating_add(T::DbWeight::get().writes(2))
    }

    fn undrain() -> Weight {
        Weight::from_parts(150_944_000, 3_907)
            .saturating_add(T::DbWeight::get().reads(38))
            .saturating_add(T::DbWeight::get().writes(4))
    }

    fn deregister() -> Weight {
        Weight::from_parts(130_714_000, 4_136)
            .saturating_add(T::DbWeight::get().reads(37))
            .saturating_add(T::DbWeight::get().writes(10))
    }

    fn withdraw_bond() -> Weight {
        Weight::from_parts(50_405_000, 295)
            .saturating_add(T::DbWeight::get().reads(3))
            .saturating_add(T::DbWeight::get().writes(3))
    }

    fn on_initialize(t: u32) -> Weight {
        Weight::from_parts(1_743_000, 57)
            .saturating_add(Weight::from_parts(14_991_267, 181).saturating_mul(t.into()))
            .saturating_add(T::DbWeight::get().reads(2))
            .saturating_add(T::DbWeight::get().reads(u64::from(t) * 2))
            .saturating_add(T::DbWeight::get().writes(2))
            .saturating_add(T::DbWeight::get().writes(u64::from(t) * 3))
    }
}

// For tests.
impl WeightInfo for () {
    fn register_attestor() -> Weight {
        Weight::from_parts(356_590_000, 3_662)
            .saturating_add(ParityDbWeight::get().reads(39))
            .saturating_add(ParityDbWeight::get().writes(5))
    }

    fn register_hoster() -> Weight {
        Weight::from_parts(381_827_000, 3_662)
            .saturating_add(ParityDbWeight::get().reads(39))
            .saturating_add(ParityDbWeight::get().writes(5))
    }

    fn set_endpoint() -> Weight {
        Weight::from_parts(14_622_000, 329)
            .saturating_add(ParityDbWeight::get().reads(2))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn set_capacity() -> Weight {
        Weight::from_parts(27_080_000, 488)
            .saturating_add(ParityDbWeight::get().reads(4))
            .saturating_add(ParityDbWeight::get().writes(7))
    }

    fn set_session_key() -> Weight {
        Weight::from_parts(306_145_000, 4_044)
            .saturating_add(ParityDbWeight::get().reads(37))
            .saturating_add(ParityDbWeight::get().writes(4))
    }

    fn drain() -> Weight {
        Weight::from_parts(104_616_000, 3_962)
            .saturating_add(ParityDbWeight::get().reads(36))
            .saturating_add(ParityDbWeight::get().writes(2))
    }

    fn undrain() -> Weight {
        Weight::from_parts(150_944_000, 3_907)
            .saturating_add(ParityDbWeight::get().reads(38))
            .saturating_add(ParityDbWeight::get().writes(4))
    }

    fn deregister() -> Weight {
        Weight::from_parts(130_714_000, 4_136)
            .saturating_add(ParityDbWeight::get().reads(37))
            .saturating_add(ParityDbWeight::get().writes(10))
    }

    fn withdraw_bond() -> Weight {
        Weight::from_parts(50_405_000, 295)
            .saturating_add(ParityDbWeight::get().reads(3))
            .saturating_add(ParityDbWeight::get().writes(3))
    }

    fn on_initialize(t: u32) -> Weight {
        Weight::from_parts(1_743_000, 57)
            .saturating_add(Weight::from_parts(14_991_267, 181).saturating_mul(t.into()))
            .saturating_add(ParityDbWeight::get().reads(2))
            .saturating_add(ParityDbWeight::get().reads(u64::from(t) * 2))
            .saturating_add(ParityDbWeight::get().writes(2))
            .saturating_add(ParityDbWeight::get().writes(u64::from(t) * 3))
    }
}
