//! What each call costs.
//!
//! Constants with a wide margin, by the number of storage items and keys a call touches; to be
//! replaced by benchmarks.

use frame::prelude::Weight;

/// The weights of this pallet's calls. Those with a listener contain what it may cost.
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

/// One read and write of storage, with the hashing around it: 0.15 ms.
const ITEM: u64 = 150_000_000;
/// The check of a key: 0.4 ms.
const KEY: u64 = 400_000_000;
/// What a listener does: 0.6 ms.
const LISTENER: u64 = 4 * ITEM;

impl WeightInfo for () {
    fn publish_feed() -> Weight {
        Weight::from_parts(KEY + 3 * ITEM, 0)
    }

    fn open_hosting() -> Weight {
        Weight::from_parts(7 * ITEM, 0)
    }

    fn accept_hosting() -> Weight {
        Weight::from_parts(6 * ITEM + LISTENER, 0)
    }

    fn vouch() -> Weight {
        Weight::from_parts(2 * ITEM + LISTENER, 0)
    }

    fn close_hosting() -> Weight {
        Weight::from_parts(7 * ITEM + LISTENER, 0)
    }

    fn top_up() -> Weight {
        Weight::from_parts(4 * ITEM + LISTENER, 0)
    }
}
