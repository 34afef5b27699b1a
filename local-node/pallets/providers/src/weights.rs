//! What each call costs.
//!
//! Constants with a wide margin, by the number of storage items and signatures a call touches; to
//! be replaced by benchmarks.

use frame::prelude::Weight;

/// The weights of this pallet's calls and hooks.
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
    /// The start of a block in which so many tasks are due.
    fn on_initialize(tasks: u32) -> Weight;
}

/// One read and write of storage, with the hashing around it: 0.15 ms.
const ITEM: u64 = 150_000_000;
/// A check of a key and of a signature: 0.8 ms.
const PROOF: u64 = 800_000_000;

impl WeightInfo for () {
    fn register_attestor() -> Weight {
        Weight::from_parts(PROOF + 6 * ITEM, 0)
    }

    fn register_hoster() -> Weight {
        Weight::from_parts(PROOF + 6 * ITEM, 0)
    }

    fn set_endpoint() -> Weight {
        Weight::from_parts(5 * ITEM, 0)
    }

    fn set_capacity() -> Weight {
        Weight::from_parts(5 * ITEM, 0)
    }

    fn set_session_key() -> Weight {
        Weight::from_parts(PROOF + 6 * ITEM, 0)
    }

    fn drain() -> Weight {
        Weight::from_parts(5 * ITEM, 0)
    }

    fn undrain() -> Weight {
        Weight::from_parts(5 * ITEM, 0)
    }

    fn deregister() -> Weight {
        Weight::from_parts(9 * ITEM, 0)
    }

    fn withdraw_bond() -> Weight {
        Weight::from_parts(4 * ITEM, 0)
    }

    fn on_initialize(tasks: u32) -> Weight {
        Weight::from_parts(ITEM + u64::from(tasks) * 6 * ITEM, 0)
    }
}
