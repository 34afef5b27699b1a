//! What the calls and hooks cost: conservative constants, until they are benchmarked.

use frame::weights_prelude::*;

/// The weights of this pallet.
pub trait WeightInfo {
    /// `set_timing`.
    fn set_timing() -> Weight;
    /// `anchor_flip` with a roster of `members`.
    fn anchor_flip(members: u32) -> Weight;
    /// `anchor_flip` after another member's.
    fn anchor_flip_late() -> Weight;
    /// `commit_flip`.
    fn commit_flip() -> Weight;
    /// `report_fraud`, of an attempt with a full roster.
    fn report_fraud() -> Weight;
    /// `submit_report` that does not settle the challenge, of `bytes`.
    fn submit_report(bytes: u32) -> Weight;
    /// `answer_demand` that does not settle the challenge, of `bytes`.
    fn answer_demand(bytes: u32) -> Weight;
    /// The settlement of a challenge with a full roster, each member of which demanded something.
    fn settle() -> Weight;
    /// `on_initialize` after `started` challenges, and `on_finalize`.
    fn on_initialize(started: u32) -> Weight;
    /// One look at an agenda or at the queue of hostings.
    fn look() -> Weight;
    /// Opening the reports of a challenge.
    fn open_reports() -> Weight;
    /// Drawing and starting a challenge with a full roster.
    fn start() -> Weight;
    /// Removing a challenge with a full roster.
    fn prune() -> Weight;
}

/// Microseconds of computing.
const fn micros(micros: u64) -> Weight {
    Weight::from_parts(micros * 1_000_000, 0)
}

/// The constants, with the runtime's cost of storage.
pub struct Conservative<T>(PhantomData<T>);

impl<T: frame_system::Config> WeightInfo for Conservative<T> {
    fn set_timing() -> Weight {
        micros(20).saturating_add(T::DbWeight::get().reads_writes(1, 1))
    }

    fn anchor_flip(members: u32) -> Weight {
        // The attempts before it: a topic and a draw each.
        micros(300 + 120 * u64::from(members)).saturating_add(T::DbWeight::get().reads_writes(8, 5))
    }

    fn anchor_flip_late() -> Weight {
        micros(50).saturating_add(T::DbWeight::get().reads_writes(3, 1))
    }

    fn commit_flip() -> Weight {
        micros(60).saturating_add(T::DbWeight::get().reads_writes(5, 1))
    }

    fn report_fraud() -> Weight {
        // Two signatures; bond, pool and both accounts.
        micros(700).saturating_add(T::DbWeight::get().reads_writes(20, 16))
    }

    fn submit_report(bytes: u32) -> Weight {
        // With a demand: the deposit, and the demands of the others.
        micros(2_600 + u64::from(bytes) / 50)
            .saturating_add(T::DbWeight::get().reads_writes(12 + 32, 12))
    }

    fn answer_demand(bytes: u32) -> Weight {
        // A signature, 64 hashes, the chunk's; and the demands of the others.
        micros(700 + u64::from(bytes) / 100)
            .saturating_add(T::DbWeight::get().reads_writes(14 + 32, 12))
    }

    fn settle() -> Weight {
        // Per member: a report and a demand read, two payments, a slash, the engagement ended.
        micros(5_000).saturating_add(T::DbWeight::get().reads_writes(24 + 10 * 32, 20 + 10 * 32))
    }

    fn on_initialize(started: u32) -> Weight {
        micros(20).saturating_add(T::DbWeight::get().reads_writes(4, 2 + u64::from(started)))
    }

    fn look() -> Weight {
        micros(20).saturating_add(T::DbWeight::get().reads(4))
    }

    fn open_reports() -> Weight {
        micros(50).saturating_add(T::DbWeight::get().reads_writes(2, 4))
    }

    fn start() -> Weight {
        // Per member: its place, account and key read, the engagement begun.
        micros(1_500).saturating_add(T::DbWeight::get().reads_writes(20 + 6 * 34, 10 + 4 * 32))
    }

    fn prune() -> Weight {
        // Per member a report and a demand; and one lot of frauds.
        micros(800).saturating_add(T::DbWeight::get().reads_writes(77 + 64, 77 + 64))
    }
}

impl WeightInfo for () {
    fn set_timing() -> Weight {
        micros(20)
    }
    fn anchor_flip(members: u32) -> Weight {
        micros(120 * u64::from(members))
    }
    fn anchor_flip_late() -> Weight {
        micros(50)
    }
    fn commit_flip() -> Weight {
        micros(60)
    }
    fn report_fraud() -> Weight {
        micros(700)
    }
    fn submit_report(_: u32) -> Weight {
        micros(2_500)
    }
    fn answer_demand(_: u32) -> Weight {
        micros(700)
    }
    fn settle() -> Weight {
        micros(2_500)
    }
    fn on_initialize(_: u32) -> Weight {
        micros(20)
    }
    fn look() -> Weight {
        micros(20)
    }
    fn open_reports() -> Weight {
        micros(50)
    }
    fn start() -> Weight {
        micros(1_500)
    }
    fn prune() -> Weight {
        micros(500)
    }
}
