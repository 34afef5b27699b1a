//! What the calls and hooks cost: conservative constants, until they are benchmarked.

use frame::weights_prelude::*;

/// The weights of this pallet.
pub trait WeightInfo {
    /// `set_timing`.
    fn set_timing() -> Weight;
    /// `anchor_flip` with a roster of `n`.
    fn anchor_flip(n: u32) -> Weight;
    /// `anchor_flip` after another member's.
    fn anchor_flip_late() -> Weight;
    /// `commit_flip`.
    fn commit_flip() -> Weight;
    /// `submit_report` of who was served that does not settle the challenge, with `p` leaves and
    /// nodes.
    fn submit_report(p: u32) -> Weight;
    /// `submit_report` of who was not served that does not settle the challenge.
    fn submit_failure() -> Weight;
    /// `answer_demand` that does not settle the challenge, of `b` bytes.
    fn answer_demand(b: u32) -> Weight;
    /// `report_fraud`, of an attempt with a full roster.
    fn report_fraud() -> Weight;
    /// `report_fraud`, of a receipt.
    fn report_false_receipt() -> Weight;
    /// The settlement of a challenge with a full roster, all of whom were served.
    fn settle_served() -> Weight;
    /// The same, all of whom demand what is withheld.
    fn settle_unanswered() -> Weight;
    /// The same, all of whom are absent.
    fn settle_absent() -> Weight;
    /// `on_initialize` after `s` challenges started.
    fn on_initialize(s: u32) -> Weight;
    /// `on_finalize`.
    fn on_finalize() -> Weight;
    /// One look at an agenda or at the queue of hostings.
    fn look() -> Weight;
    /// Drawing and starting a challenge with a full roster.
    fn start() -> Weight;
    /// The beginning of a fallback.
    fn open_commits() -> Weight;
    /// The end of a fallback.
    fn end_commits() -> Weight;
    /// Opening the reports of a challenge.
    fn open_reports() -> Weight;
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

    fn anchor_flip(n: u32) -> Weight {
        // The attempts before it: a topic and a draw each.
        micros(300 + 120 * u64::from(n)).saturating_add(T::DbWeight::get().reads_writes(8, 5))
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

    fn report_false_receipt() -> Weight {
        Self::report_fraud()
    }

    fn submit_report(p: u32) -> Weight {
        micros(2_600 + u64::from(p)).saturating_add(T::DbWeight::get().reads_writes(12, 12))
    }

    fn submit_failure() -> Weight {
        // The deposit, and the demands of the others.
        micros(1_000).saturating_add(T::DbWeight::get().reads_writes(12 + 32, 12))
    }

    fn answer_demand(b: u32) -> Weight {
        // A signature, 64 hashes, the chunk's; and the demands of the others.
        micros(700 + u64::from(b) / 100)
            .saturating_add(T::DbWeight::get().reads_writes(14 + 32, 12))
    }

    fn settle_served() -> Weight {
        // Per member: a report and a demand read, two payments, a slash, the engagement ended.
        micros(5_000).saturating_add(T::DbWeight::get().reads_writes(24 + 10 * 32, 20 + 10 * 32))
    }

    fn settle_unanswered() -> Weight {
        Self::settle_served()
    }

    fn settle_absent() -> Weight {
        Self::settle_served()
    }

    fn on_initialize(s: u32) -> Weight {
        micros(20).saturating_add(T::DbWeight::get().reads_writes(2, 1 + u64::from(s)))
    }

    fn on_finalize() -> Weight {
        micros(20).saturating_add(T::DbWeight::get().reads_writes(2, 1))
    }

    fn open_commits() -> Weight {
        micros(100).saturating_add(T::DbWeight::get().reads_writes(6, 6))
    }

    fn end_commits() -> Weight {
        micros(200).saturating_add(T::DbWeight::get().reads_writes(8, 8))
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
    fn anchor_flip(n: u32) -> Weight {
        micros(120 * u64::from(n))
    }
    fn anchor_flip_late() -> Weight {
        micros(50)
    }
    fn commit_flip() -> Weight {
        micros(60)
    }
    fn submit_report(_: u32) -> Weight {
        micros(2_500)
    }
    fn submit_failure() -> Weight {
        micros(1_000)
    }
    fn answer_demand(_: u32) -> Weight {
        micros(700)
    }
    fn report_fraud() -> Weight {
        micros(700)
    }
    fn report_false_receipt() -> Weight {
        micros(700)
    }
    fn settle_served() -> Weight {
        micros(2_500)
    }
    fn settle_unanswered() -> Weight {
        micros(2_500)
    }
    fn settle_absent() -> Weight {
        micros(2_500)
    }
    fn on_initialize(_: u32) -> Weight {
        micros(20)
    }
    fn on_finalize() -> Weight {
        micros(20)
    }
    fn look() -> Weight {
        micros(20)
    }
    fn start() -> Weight {
        micros(1_500)
    }
    fn open_commits() -> Weight {
        micros(100)
    }
    fn end_commits() -> Weight {
        micros(200)
    }
    fn open_reports() -> Weight {
        micros(50)
    }
    fn prune() -> Weight {
        micros(500)
    }
}
