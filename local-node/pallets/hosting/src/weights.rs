//! What the calls and hooks of `pallet_hosting` cost.
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
    /// `publish_feed`.
    fn publish_feed() -> Weight;
    /// `open_hosting`.
    fn open_hosting() -> Weight;
    /// `accept_hosting`.
    fn accept_hosting() -> Weight;
    /// `vouch`.
    fn vouch() -> Weight;
    /// `close_hosting`.
    fn close_hosting() -> Weight;
    /// `top_up`.
    fn top_up() -> Weight;
}

/// The weights on a runtime, at its prices of reads and writes.
pub struct SubstrateWeight<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for SubstrateWeight<T> {
    fn publish_feed() -> Weight {
        Weight::from_parts(155_050_000, 0)
            .saturating_add(T::DbWeight::get().reads(2))
            .saturating_add(T::DbWeight::get().writes(1))
    }

    fn open_hosting() -> Weight {
        Weight::from_parts(65_297_000, 429)
            .saturating_add(T::DbWeight::get().reads(5))
            .saturating_add(T::DbWeight::get().writes(4))
    }

    fn accept_hosting() -> Weight {
        Weight::from_parts(90_885_000, 783)
            .saturating_add(T::DbWeight::get().reads(11))
            .saturating_add(T::DbWeight::get().writes(7))
    }

    fn vouch() -> Weight {
        Weight::from_parts(43_434_000, 796)
            .saturating_add(T::DbWeight::get().reads(9))
            .saturating_add(T::DbWeight::get().writes(4))
    }

    fn close_hosting() -> Weight {
        Weight::from_parts(135_282_000, 1_042)
            .saturating_add(T::DbWeight::get().reads(8))
            .saturating_add(T::DbWeight::get().writes(11))
    }

    fn top_up() -> Weight {
        Weight::from_parts(61_651_000, 733)
            .saturating_add(T::DbWeight::get().reads(5))
            .saturating_add(T::DbWeight::get().writes(4))
    }
}

// For tests.
impl WeightInfo for () {
    fn publish_feed() -> Weight {
        Weight::from_parts(155_050_000, 0)
            .saturating_add(ParityDbWeight::get().reads(2))
            .saturating_add(ParityDbWeight::get().writes(1))
    }

    fn open_hosting() -> Weight {
        Weight::from_parts(65_297_000, 429)
            .saturating_add(ParityDbWeight::get().reads(5))
            .saturating_add(ParityDbWeight::get().writes(4))
    }

    fn accept_hosting() -> Weight {
        Weight::from_parts(90_885_000, 783)
            .saturating_add(ParityDbWeight::get().reads(11))
            .saturating_add(ParityDbWeight::get().writes(7))
    }

    fn vouch() -> Weight {
        Weight::from_parts(43_434_000, 796)
            .saturating_add(ParityDbWeight::get().reads(9))
            .saturating_add(ParityDbWeight::get().writes(4))
    }

    fn close_hosting() -> Weight {
        Weight::from_parts(135_282_000, 1_042)
            .saturating_add(ParityDbWeight::get().reads(8))
            .saturating_add(ParityDbWeight::get().writes(11))
    }

    fn top_up() -> Weight {
        Weight::from_parts(61_651_000, 733)
            .saturating_add(ParityDbWeight::get().reads(5))
            .saturating_add(ParityDbWeight::get().writes(4))
    }
}
