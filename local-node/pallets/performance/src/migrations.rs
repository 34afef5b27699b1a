//! From older layouts of what is stored to this one.
//!
//! | storage version | runtimes | records |
//! | --- | --- | --- |
//! | 0 | `spec_version` 2 | the types of [`v0`]; the queue is ordered by block |
//! | 0 | `spec_version` 3 | as they are now; the queue is ordered by block |
//! | 1 | from `spec_version` 4 on | as they are now; sponsors take turns |
//!
//! Records of hosters begin with the first settlement under storage version 1. All of it is done in
//! the block of the upgrade, so its time grows with the number of challenges and hostings.

use crate::{
    types::{
        Absence, Balance, BlockNumber, ChallengeId, Deadline, HistoryEntry, Member, Payments,
        PerMember, ServedRecord, Verdict, MAX_HISTORY,
    },
    Challenges, Config, History, Pallet, Queue, Reports, Settlements,
};
use alloc::vec::Vec;
use core::marker::PhantomData;
use frame::{
    deps::frame_support::{migrations::VersionedMigration, traits::UncheckedOnRuntimeUpgrade},
    prelude::*,
};
use pallet_hosting::{HostingId, Hostings};

/// The first runtime whose records are as they are now, but for the queue.
const SPEC_VERSION: u32 = 3;

/// From storage version 0 to 1; after that of the hostings.
pub type ToV1<T> =
    VersionedMigration<0, 1, UncheckedToV1<T>, Pallet<T>, <T as frame_system::Config>::DbWeight>;

/// What was stored in storage version 0.
// The macro of the alias makes a struct without documentation.
#[allow(missing_docs)]
pub mod v0 {
    use super::*;
    use crate::timing::Timing;
    use codec::{Decode, Encode};
    use datdot_primitives::{
        head::Feed,
        report::{PeerMetrics, Reason, MAX_PEERS},
        Hash, PublicKey,
    };
    use frame::{
        deps::{frame_support::storage_alias, sp_core::ConstU32},
        prelude::{BoundedVec, Debug},
    };
    use pallet_hosting::Terms;

    /// The hostings that waited, and since when; under every `spec_version`.
    #[storage_alias]
    pub type Waiting<T: Config> = StorageMap<Pallet<T>, Twox64Concat, HostingId, BlockNumber>;

    /// A stage before there were demands.
    #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
    pub enum Stage {
        /// The coinflip runs.
        Flip,
        /// Commits are taken.
        Commit {
            /// Since when.
            since: BlockNumber,
            /// The timestamp of that block.
            opened_ms: u64,
        },
        /// Attestors audit.
        Audit,
        /// Reports are taken.
        Report {
            /// Since when.
            since: BlockNumber,
            /// Until when.
            deadline: Deadline,
        },
        /// Settled.
        Closed {
            /// In this block.
            at: BlockNumber,
            /// With this outcome.
            outcome: Verdict,
        },
    }

    /// A challenge before there were demands.
    #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
    pub struct Challenge<AccountId> {
        /// Which hosting is audited.
        pub hosting: HostingId,
        /// Who hosts.
        pub hoster: AccountId,
        /// Who pays.
        pub sponsor: AccountId,
        /// The hoster's Noise key.
        pub noise_key: PublicKey,
        /// The feed.
        pub feed: Feed,
        /// What was agreed on.
        pub terms: Terms<Balance>,
        /// The vouched fork.
        pub fork: u64,
        /// The vouched length.
        pub length: u64,
        /// S.
        pub block: BlockNumber,
        /// T0.
        pub t0: u64,
        /// What holds for it.
        pub timing: Timing,
        /// With which the roster was drawn.
        pub randomness: Hash,
        /// Who audits.
        pub roster: PerMember<Member<AccountId>>,
        /// Where it is in its life.
        pub stage: Stage,
    }

    /// What was reported, without a demand.
    #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
    #[allow(clippy::large_enum_variant)]
    pub enum ReportedOutcome {
        /// The hoster served.
        Served(ServedRecord),
        /// It did not.
        Failed {
            /// Why.
            reason: Reason,
        },
    }

    /// What was kept of a report.
    #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
    pub struct ReportRecord {
        /// The block that took it.
        pub block: BlockNumber,
        /// Its extrinsic's place.
        pub extrinsic: u32,
        /// Of its encoding.
        pub bytes: u32,
        /// The opened secret.
        pub w: Hash,
        /// The client's key.
        pub audit_key: PublicKey,
        /// The audit moment.
        pub moment_ms: u64,
        /// Whether throughput was measured.
        pub windowed: bool,
        /// What was reported.
        pub outcome: ReportedOutcome,
        /// What was measured of fellow attestors.
        pub peers: BoundedVec<PeerMetrics, ConstU32<MAX_PEERS>>,
    }

    /// A median without quartiles.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
    pub struct Median {
        /// The median.
        pub value: u64,
        /// Of how many reports.
        pub reports: u32,
    }

    /// Medians when all throughputs were taken alike.
    #[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Encode, Decode)]
    pub struct Medians {
        /// Until TCP stood.
        pub connect_us: Option<Median>,
        /// Noise handshake.
        pub handshake_us: Option<Median>,
        /// To the first chunk.
        pub first_chunk_us: Option<Median>,
        /// Median latency.
        pub latency_p50_us: Option<Median>,
        /// 90th percentile.
        pub latency_p90_us: Option<Median>,
        /// 99th percentile.
        pub latency_p99_us: Option<Median>,
        /// Greatest latency.
        pub latency_max_us: Option<Median>,
        /// Bytes per second.
        pub throughput: Option<Median>,
        /// Chunks that came too late.
        pub timeouts: Option<Median>,
        /// Median latency of the observed session.
        pub observed_latency_p50_us: Option<Median>,
        /// Bytes per second of the observed session.
        pub observed_throughput: Option<Median>,
    }

    /// A settled challenge in the history of its hosting.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
    pub struct HistoryEntry {
        /// Which challenge.
        pub challenge: ChallengeId,
        /// How it ended.
        pub outcome: Verdict,
        /// Its medians.
        pub medians: Medians,
    }

    /// The history of a hosting.
    pub type Entries = BoundedVec<HistoryEntry, ConstU32<MAX_HISTORY>>;

    /// A settlement before there were demands.
    #[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
    pub struct Settlement<AccountId> {
        /// The outcome.
        pub outcome: Verdict,
        /// X'.
        pub active: u32,
        /// How many were served.
        pub served: u32,
        /// How many were not.
        pub failed: u32,
        /// The medians of their figures.
        pub medians: Medians,
        /// Who was paid.
        pub paid: Payments<AccountId>,
        /// Who was absent.
        pub absent: PerMember<Absence<AccountId>>,
        /// What of the absence fees was burnt.
        pub burnt: Balance,
        /// What of them went to the escrow.
        pub to_escrow: Balance,
        /// What the hoster did not earn.
        pub forfeited: Balance,
    }

    impl From<Stage> for crate::types::Stage {
        fn from(old: Stage) -> Self {
            match old {
                Stage::Flip => Self::Flip,
                Stage::Commit { since, opened_ms } => Self::Commit { since, opened_ms },
                Stage::Audit => Self::Audit,
                Stage::Report { since, deadline } => Self::Report {
                    since,
                    deadline,
                    answers: None,
                },
                Stage::Closed { at, outcome } => Self::Closed { at, outcome },
            }
        }
    }

    impl<AccountId> From<Challenge<AccountId>> for crate::types::Challenge<AccountId> {
        fn from(old: Challenge<AccountId>) -> Self {
            Self {
                hosting: old.hosting,
                hoster: old.hoster,
                sponsor: old.sponsor,
                noise_key: old.noise_key,
                feed: old.feed,
                terms: old.terms,
                fork: old.fork,
                length: old.length,
                block: old.block,
                t0: old.t0,
                timing: old.timing,
                randomness: old.randomness,
                roster: old.roster,
                stage: old.stage.into(),
            }
        }
    }

    impl From<ReportRecord> for crate::types::ReportRecord {
        fn from(old: ReportRecord) -> Self {
            Self {
                block: old.block,
                extrinsic: old.extrinsic,
                bytes: old.bytes,
                w: old.w,
                audit_key: old.audit_key,
                moment_ms: old.moment_ms,
                windowed: old.windowed,
                outcome: match old.outcome {
                    ReportedOutcome::Served(served) => {
                        crate::types::ReportedOutcome::Served(served)
                    }
                    ReportedOutcome::Failed { reason } => crate::types::ReportedOutcome::Failed {
                        reason,
                        demand: None,
                    },
                },
                peers: old.peers,
            }
        }
    }

    impl From<Median> for crate::types::Median {
        /// How far the samples lay apart was not kept: both quartiles are the median.
        fn from(old: Median) -> Self {
            Self {
                value: old.value,
                reports: old.reports,
                low: old.value,
                high: old.value,
            }
        }
    }

    impl From<Medians> for crate::types::Medians {
        fn from(old: Medians) -> Self {
            let new = |median: Option<Median>| median.map(Into::into);
            Self {
                connect_us: new(old.connect_us),
                handshake_us: new(old.handshake_us),
                first_chunk_us: new(old.first_chunk_us),
                latency_p50_us: new(old.latency_p50_us),
                latency_p90_us: new(old.latency_p90_us),
                latency_p99_us: new(old.latency_p99_us),
                latency_max_us: new(old.latency_max_us),
                throughput: new(old.throughput),
                throughput_at_least: None,
                timeouts: new(old.timeouts),
                observed_latency_p50_us: new(old.observed_latency_p50_us),
                observed_throughput: new(old.observed_throughput),
            }
        }
    }

    impl From<HistoryEntry> for crate::types::HistoryEntry {
        fn from(old: HistoryEntry) -> Self {
            Self {
                challenge: old.challenge,
                outcome: old.outcome,
                medians: old.medians.into(),
            }
        }
    }

    impl<AccountId> From<Settlement<AccountId>> for crate::types::Settlement<AccountId> {
        fn from(old: Settlement<AccountId>) -> Self {
            Self {
                outcome: old.outcome,
                active: old.active,
                served: old.served,
                failed: old.failed,
                medians: old.medians.into(),
                paid: old.paid,
                absent: old.absent,
                burnt: old.burnt,
                to_escrow: old.to_escrow,
                forfeited: old.forfeited,
                slashed: 0,
            }
        }
    }
}

/// The work of [`ToV1`], whatever the storage version is.
pub struct UncheckedToV1<T>(PhantomData<T>);

impl<T: Config> UncheckedOnRuntimeUpgrade for UncheckedToV1<T> {
    fn on_runtime_upgrade() -> Weight {
        let mut changed = 0;
        if frame_system::Pallet::<T>::last_runtime_upgrade_spec_version() < SPEC_VERSION {
            changed = Self::translate();
        }
        changed += Self::queue_anew();
        T::DbWeight::get().reads_writes(1 + changed, changed)
    }
}

impl<T: Config> UncheckedToV1<T> {
    /// The records of `spec_version` 2 become today's; how many.
    fn translate() -> u64 {
        let mut changed = 0;
        Challenges::<T>::translate::<v0::Challenge<T::AccountId>, _>(|_, old| {
            changed += 1;
            Some(old.into())
        });
        Reports::<T>::translate::<v0::ReportRecord, _>(|_, _, old| {
            changed += 1;
            Some(old.into())
        });
        Settlements::<T>::translate::<v0::Settlement<T::AccountId>, _>(|_, old| {
            changed += 1;
            Some(old.into())
        });
        History::<T>::translate::<v0::Entries, _>(|_, old| {
            changed += 1;
            let entries: Vec<HistoryEntry> = old.into_iter().map(Into::into).collect();
            Some(BoundedVec::truncate_from(entries))
        });
        changed
    }

    /// Those who wait get turns, in the order in which they waited; how many records changed.
    fn queue_anew() -> u64 {
        let mut waiting: Vec<(BlockNumber, HostingId)> = v0::Waiting::<T>::drain()
            .map(|(hosting, since)| (since, hosting))
            .collect();
        waiting.sort_unstable();
        let removed = Queue::<T>::clear(u32::MAX, None).unique;
        for (since, hosting) in &waiting {
            if let Some(info) = T::Hostings::get(*hosting) {
                Pallet::<T>::wait(*hosting, info.sponsor, *since, None);
            }
        }
        // For each of them: its place, the turns of its sponsor, and itself.
        u64::from(removed).saturating_add(4 * waiting.len() as u64)
    }
}
