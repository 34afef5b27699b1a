//! Performance challenges: who audits a hosting, when, with which shared randomness, what they
//! reported, and what everybody gets for it (challenge.md §2.2, §3.1, §4, §6).
//!
//! # The life of a challenge
//! 1. **Queue.** A hosting waits until its escrow covers a challenge and enough attestors are
//!    eligible. It is drawn in the first block whose randomness could be known only after the last
//!    of the events that made it ready.
//! 2. **Start** in `on_poll` of block S, when the timestamp is known: the roster is drawn and
//!    everything that the challenge depends on is copied. The hash of S is known, and
//!    stored, one block later.
//! 3. **Flip** until T0 + `flip_ms`: the attestors agree on R off chain, in one of several
//!    attempts, and one of them anchors it ([`Pallet::anchor_flip`]).
//! 4. **Commit**, only if nothing was anchored: from F, the first block at T0 + `flip_ms`, those
//!    who were not expelled before commit on chain ([`Pallet::commit_flip`]), until C, at least
//!    `commit_ms` and `commit_blocks` later. R follows from the commitments and the first
//!    randomness of the chain that nobody could know before C.
//! 5. **Audit** until T0 + `window_ms`: nothing happens on chain.
//! 6. **Report** for `grace_blocks` blocks with room: each active attestor reports once
//!    ([`Pallet::submit_report`]).
//! 7. **Settlement** with the last report, or by [`Pallet::close_challenge`], or by `on_poll` for
//!    nobody; the next challenge of the hosting is queued.
//! 8. **Pruning** `UnbondingBlocks` after that.
//!
//! Active are the members of the anchored attempt's roster, or those who committed to the
//! fallback. Evidence that an attestor signed a contradiction in an attempt is taken from anybody
//! until the challenge is pruned ([`Pallet::report_fraud`]): the offender loses its bond, is drawn
//! no more, is left out of the attempts that begin late enough for all to know it and of a later
//! fallback, and is paid nothing. What it reported counts all the same, and whoever is active stays
//! so.
//!
//! A hoster is convicted by a receipt, to whomever it gave it, and a multiproof of another leaf under
//! the receipt's own tree hash. It loses its bond and takes no new hostings until `undrain` makes the
//! bond whole; the hostings that it has go on.
//!
//! # Void
//! A challenge without R is Void and pays nobody. It is so when fewer than `min_active` members are
//! left at F, when the chain was so slow that after C no time is left for audits, or when fewer
//! than `min_active` committed. Only in the last case somebody is to blame: who could have
//! committed and did not is absent, and pays the fee for it.
//!
//! # When things are done
//! Phases change in the first block whose timestamp has come, in `on_poll`, which runs after the
//! timestamp inherent. What is due waits in an agenda, ordered; a fixed number of entries is worked
//! off per block, the rest later in the same order. What a call refuses because of a phase's end it
//! refuses by the block's own timestamp and number, wherever the agenda is.
//!
//! # Demands
//! A report of a failure may demand one of its drawn chunks on chain, for a deposit. The hoster
//! answers within `demand_blocks` blocks with room ([`Pallet::answer_demand`]): with the chunk, which
//! the demander pays a fee for, or with the author's signature on a higher fork, with which the
//! challenge is at best Inconclusive and the hosting rests until the hoster vouches for that fork.
//! An unanswered demand fails the challenge, whatever the others say, and costs a part of the
//! hosting's bond, half of it to the demander. No challenge is settled while a demand can be
//! answered.

#![cfg_attr(not(feature = "std"), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod api;
#[cfg(feature = "runtime-benchmarks")]
mod benchmarking;
mod demands;
mod fallback;
#[cfg(any(test, feature = "mock", feature = "runtime-benchmarks"))]
pub mod fixtures;
mod flip;
mod fraud;
pub mod medians;
pub mod migrations;
mod queue;
pub mod randomness;
mod report;
mod settlement;
mod start;
pub mod summary;
pub mod timing;
mod try_state;
pub mod types;
pub mod weights;

// For the fuzz targets too (`local-node/fuzz`).
#[cfg(any(test, feature = "mock"))]
#[allow(missing_docs)]
pub mod mock;
#[cfg(test)]
mod tests;

pub use pallet::*;
pub use timing::{Timing, TimingFault};
pub use types::*;
pub use weights::WeightInfo;

use frame::traits::fungible;

/// Money out of circulation until somebody gets it; dropped, it is burnt.
pub type CreditOf<T> = fungible::Credit<
    <T as frame::prelude::frame_system::Config>::AccountId,
    <T as Config>::Currency,
>;

/// Performance challenges: who audits a hosting, with which shared randomness, what they reported,
/// and what everybody gets for it (challenge.md §2.2).
#[frame::pallet]
pub mod pallet {
    use super::*;
    use crate::types::Member;
    use alloc::boxed::Box;
    use datdot_primitives::{
        answer::Answer,
        coinflip::Opening,
        draws::MAX_ATTESTORS,
        evidence::{FraudKind, Proof},
        head::Head,
        report::Report,
        Hash, Signature,
    };
    use frame::{
        deps::{frame_support::weights::WeightMeter, sp_core::ConstU32},
        prelude::*,
        traits::{Randomness, Time},
    };
    use pallet_hosting::{HostingId, Hostings};
    use pallet_providers::{AttestorPool, HosterRegistry};

    /// The layout of what is stored; [`crate::migrations`] leads to it from older ones.
    pub(crate) const STORAGE_VERSION: StorageVersion = StorageVersion::new(1);

    /// The pallet itself.
    #[pallet::pallet]
    #[pallet::storage_version(STORAGE_VERSION)]
    pub struct Pallet<T>(_);

    /// What the pallet needs of the runtime.
    #[pallet::config]
    pub trait Config: frame_system::Config<AccountId: AsRef<[u8; 32]>> {
        /// The money.
        type Currency: fungible::Balanced<Self::AccountId, Balance = Balance>
            + fungible::MutateHold<Self::AccountId, Reason = Self::RuntimeHoldReason>;
        /// The runtime's reasons of holds.
        type RuntimeHoldReason: From<HoldReason>;
        /// The block's timestamp, in milliseconds since 1970.
        type Time: Time<Moment = u64>;
        /// A value for the draws, and the first block in which anybody can have known it. It must
        /// be renewed within 10 blocks.
        type Randomness: Randomness<Hash, BlockNumberFor<Self>>;
        /// The attestors.
        type Attestors: AttestorPool<
            AccountId = Self::AccountId,
            BlockNumber = BlockNumberFor<Self>,
            Balance = Balance,
            Credit = CreditOf<Self>,
        >;
        /// The hosters.
        type Hosters: HosterRegistry<
            AccountId = Self::AccountId,
            Balance = Balance,
            Credit = CreditOf<Self>,
        >;
        /// The hostings.
        type Hostings: Hostings<
            AccountId = Self::AccountId,
            Balance = Balance,
            Credit = CreditOf<Self>,
        >;
        /// What an attestor pays for not reporting, or not committing to a fallback.
        #[pallet::constant]
        type AbsenceFee: Get<Balance>;
        /// What a proven fraud costs an attestor, as far as its bond has it: at least twice what it
        /// can gain.
        #[pallet::constant]
        type FraudSlash: Get<Balance>;
        /// What a false receipt costs a hoster, as far as its bond has it: at least twice what it
        /// can gain.
        #[pallet::constant]
        type ReceiptSlash: Get<Balance>;
        /// What is held from an attestor for a demand: at least `DemandFee`.
        #[pallet::constant]
        type DemandDeposit: Get<Balance>;
        /// What of that a hoster gets for showing the chunk: at least the fee of the largest answer.
        #[pallet::constant]
        type DemandFee: Get<Balance>;
        /// What an unanswered demand costs the hoster, as far as the hosting's bond has it.
        #[pallet::constant]
        type WithholdingSlash: Get<Balance>;
        /// How long a closed challenge is kept, and how long false receipts can be brought.
        #[pallet::constant]
        type UnbondingBlocks: Get<BlockNumber>;
        /// The most challenges that start in one block.
        #[pallet::constant]
        type MaxStarts: Get<u32>;
        /// The most phase changes, closings and prunings in one block: at least eight times
        /// `MaxStarts`, so that what was started is worked off.
        #[pallet::constant]
        type MaxDue: Get<u32>;
        /// What calls and hooks cost.
        type WeightInfo: WeightInfo;
    }

    /// Why money is held in challenges.
    #[pallet::composite_enum]
    pub enum HoldReason {
        /// From an attestor, while a demand of it is open.
        Demand,
    }

    /// The durations and counts of challenges to come.
    #[pallet::storage]
    #[pallet::storage_prefix = "Timing"]
    pub type CurrentTiming<T> = StorageValue<_, Timing, ValueQuery>;

    /// The id of the next challenge.
    #[pallet::storage]
    pub type NextId<T> = StorageValue<_, ChallengeId, ValueQuery>;

    /// The challenges, open ones and those closed less than `UnbondingBlocks` ago.
    #[pallet::storage]
    pub type Challenges<T: Config> =
        StorageMap<_, Twox64Concat, ChallengeId, Challenge<T::AccountId>>;

    /// The hash of each challenge's start block, from the block after it on.
    #[pallet::storage]
    pub type StartHashes<T> = StorageMap<_, Twox64Concat, ChallengeId, Hash>;

    /// The challenges that started in this block: their start hash is stored in the next.
    #[pallet::storage]
    pub type Started<T: Config> =
        StorageValue<_, BoundedVec<ChallengeId, T::MaxStarts>, ValueQuery>;

    /// The coinflips that gave R, anchored and fallen back.
    #[pallet::storage]
    pub type Flips<T> = StorageMap<_, Twox64Concat, ChallengeId, Flip>;

    /// The fallbacks of what nobody anchored, from F on.
    #[pallet::storage]
    pub type Fallbacks<T> = StorageMap<_, Twox64Concat, ChallengeId, Fallback>;

    /// Of challenges in phase Commit whose `commit_ms` are over: what they still wait for.
    #[pallet::storage]
    pub type CommitEnds<T> = StorageMap<_, Twox64Concat, ChallengeId, CommitEnd>;

    /// Who was expelled from each challenge, in order of time.
    #[pallet::storage]
    pub type Expulsions<T> =
        StorageMap<_, Twox64Concat, ChallengeId, PerMember<Expulsion>, ValueQuery>;

    /// The proven frauds, by challenge and the id of the evidence.
    #[pallet::storage]
    pub type Frauds<T: Config> =
        StorageDoubleMap<_, Twox64Concat, ChallengeId, Identity, Hash, Fraud<T::AccountId>>;

    /// The false receipts of hosters that were proven, by the id of the evidence.
    #[pallet::storage]
    pub type FalseReceipts<T: Config> = StorageMap<_, Identity, Hash, Fraud<T::AccountId>>;

    /// From when on nobody can bring each of them again.
    #[pallet::storage]
    pub type ReceiptsToForget<T> = StorageMap<_, Identity, Forgetting, ()>;

    /// Who has reported.
    #[pallet::storage]
    pub type Tallies<T> = StorageMap<_, Twox64Concat, ChallengeId, Tally, ValueQuery>;

    /// The accepted reports, by challenge and attestor.
    #[pallet::storage]
    pub type Reports<T: Config> = StorageDoubleMap<
        _,
        Twox64Concat,
        ChallengeId,
        Blake2_128Concat,
        T::AccountId,
        ReportRecord,
    >;

    /// The demands, by challenge and attestor.
    #[pallet::storage]
    pub type Demands<T: Config> =
        StorageDoubleMap<_, Twox64Concat, ChallengeId, Blake2_128Concat, T::AccountId, Demand>;

    /// How the closed challenges were settled.
    #[pallet::storage]
    pub type Settlements<T: Config> =
        StorageMap<_, Twox64Concat, ChallengeId, Settlement<T::AccountId>>;

    /// The open challenge of each hosting that has one.
    #[pallet::storage]
    pub type Running<T> = StorageMap<_, Twox64Concat, HostingId, ChallengeId>;

    /// The hostings that wait for a challenge.
    #[pallet::storage]
    pub type Waiting<T: Config> = StorageMap<_, Twox64Concat, HostingId, Wait<T::AccountId>>;

    /// The hostings that wait, in the order in which they are drawn: by turn, then by block, then by
    /// id.
    #[pallet::storage]
    pub type Queue<T> = StorageMap<_, Identity, QueuePlace, ()>;

    /// The turn in which the last challenge started: each sponsor has at most one in a turn.
    #[pallet::storage]
    pub type Turn<T> = StorageValue<_, u64, ValueQuery>;

    /// The turns of the sponsors whose hostings wait.
    #[pallet::storage]
    pub type Turns<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, SponsorTurns>;

    /// What is due when: challenges by a clock.
    #[pallet::storage]
    pub type Agenda<T> = StorageDoubleMap<_, Identity, Clock, Identity, Place, ()>;

    /// The looks at the agenda and the queue that are not needed yet.
    #[pallet::storage]
    pub type NextLook<T> = StorageValue<_, NextLooks, ValueQuery>;

    /// Blocks with room since genesis: under 90 % of the weight and length for normal transactions
    /// used.
    #[pallet::storage]
    pub type Rooms<T> = StorageValue<_, u64, ValueQuery>;

    /// The medians of each hosting's last challenges, oldest first.
    #[pallet::storage]
    pub type History<T> = StorageMap<
        _,
        Twox64Concat,
        HostingId,
        BoundedVec<HistoryEntry, ConstU32<MAX_HISTORY>>,
        ValueQuery,
    >;

    /// How each hoster did in its challenges, from its first settlement on.
    #[pallet::storage]
    pub type HosterRecords<T: Config> = StorageMap<_, Blake2_128Concat, T::AccountId, HosterRecord>;

    /// The hosters that have a record, the fastest first, those whose latency nobody measured last.
    #[pallet::storage]
    pub type Ranking<T: Config> = StorageMap<_, Identity, Rank<T::AccountId>, ()>;

    /// The last heads of each hosting's feed whose signature was verified, oldest first.
    #[pallet::storage]
    pub type VerifiedHeads<T> =
        StorageMap<_, Twox64Concat, HostingId, BoundedVec<Head, ConstU32<MAX_HEADS>>, ValueQuery>;

    /// The durations and counts at genesis.
    #[pallet::genesis_config]
    #[derive(frame::prelude::DefaultNoBound)]
    pub struct GenesisConfig<T: Config> {
        /// The timing; production values by default.
        pub timing: Timing,
        /// Nothing.
        #[serde(skip)]
        pub _config: core::marker::PhantomData<T>,
    }

    #[pallet::genesis_build]
    impl<T: Config> BuildGenesisConfig for GenesisConfig<T> {
        fn build(&self) {
            if let Err(fault) = self.timing.check() {
                panic!("the timing at genesis cannot work: {fault:?}");
            }
            CurrentTiming::<T>::put(self.timing);
        }
    }

    /// What happened.
    // Events are deposited one at a time and never kept, so a box would save nothing.
    #[allow(clippy::large_enum_variant)]
    #[pallet::event]
    #[pallet::generate_deposit(pub(super) fn deposit_event)]
    pub enum Event<T: Config> {
        /// Root set the durations and counts of challenges to come.
        TimingSet {
            /// The new ones.
            timing: Timing,
        },
        /// A challenge started: its coinflip begins.
        ChallengeStarted {
            /// Its id.
            id: ChallengeId,
            /// Which hosting is audited.
            hosting: HostingId,
            /// Who hosts.
            hoster: T::AccountId,
            /// Who audits, ascending by session key.
            roster: PerMember<Member<T::AccountId>>,
            /// S: the block in which it started, this one.
            block: BlockNumber,
            /// END: from this timestamp on, reports are taken.
            end_ms: u64,
            /// The chain's randomness with which the roster was drawn.
            randomness: Hash,
        },
        /// A coinflip was anchored: the audits begin.
        FlipAnchored {
            /// Of which challenge.
            id: ChallengeId,
            /// Which attempt.
            attempt: u32,
            /// The anchored attempt's topic.
            topic: Hash,
            /// What all echoes signed.
            root: Hash,
            /// R: the shared randomness.
            randomness: Hash,
            /// Who anchored it.
            by: T::AccountId,
        },
        /// A member came with an anchor after another; nothing changed.
        FlipAnchoredLate {
            /// To which challenge.
            id: ChallengeId,
            /// Who.
            by: T::AccountId,
        },
        /// Nothing was anchored: commits to the fallback are taken from now on.
        CommitOpened {
            /// Of which challenge.
            id: ChallengeId,
            /// The fallback's topic.
            topic: Hash,
            /// Who may commit: bit i for place i of the start roster.
            roster: u32,
            /// F: this block.
            since: BlockNumber,
        },
        /// A member committed to the fallback.
        FlipCommitted {
            /// Of which challenge.
            id: ChallengeId,
            /// Who.
            by: T::AccountId,
            /// Its commitment.
            z: Hash,
        },
        /// The fallback gave the shared randomness: the audits begin.
        FlipFellBack {
            /// Of which challenge.
            id: ChallengeId,
            /// Who committed: bit i for place i of the start roster.
            active: u32,
            /// The fallback's topic.
            topic: Hash,
            /// The root over their commitments.
            root: Hash,
            /// The chain's randomness that was mixed in.
            chain_randomness: Hash,
            /// R: the shared randomness.
            randomness: Hash,
        },
        /// A fraud of an attestor was proven: it is expelled, if it was not already.
        Expelled {
            /// In which challenge.
            id: ChallengeId,
            /// Who.
            attestor: T::AccountId,
            /// What it did.
            kind: FraudKind,
            /// In which attempt.
            attempt: u32,
            /// Who proved it.
            reporter: T::AccountId,
            /// What it cost the attestor.
            slashed: Balance,
            /// What of that the reporter got; the rest was burnt.
            reward: Balance,
            /// This block's timestamp.
            timestamp_ms: u64,
        },
        /// A receipt of a hoster was proven to be false: the hoster takes no new hostings.
        ReceiptProvenFalse {
            /// Whose.
            hoster: T::AccountId,
            /// For which feed.
            feed: Hash,
            /// From which session.
            session: Hash,
            /// The evidence's id.
            evidence: Hash,
            /// Who proved it.
            reporter: T::AccountId,
            /// What it cost the hoster.
            slashed: Balance,
            /// What of that the reporter got; the rest was burnt.
            reward: Balance,
        },
        /// Reports are taken from now on.
        ReportsOpened {
            /// Of which challenge.
            id: ChallengeId,
            /// Until when.
            deadline: Deadline,
        },
        /// A report was accepted.
        Reported {
            /// On which challenge.
            id: ChallengeId,
            /// By whom.
            attestor: T::AccountId,
            /// What was reported.
            outcome: ReportedOutcome,
        },
        /// An attestor that was not served demands a chunk on chain.
        Demanded {
            /// In which challenge.
            id: ChallengeId,
            /// Who.
            attestor: T::AccountId,
            /// Which chunk.
            chunk: u64,
            /// Until when the hoster may answer.
            due: Deadline,
        },
        /// The hoster answered a demand.
        DemandAnswered {
            /// In which challenge.
            id: ChallengeId,
            /// Whose demand.
            attestor: T::AccountId,
            /// With what.
            answer: AnswerKind,
            /// What the attestor paid for it.
            fee: Balance,
        },
        /// The hoster did not answer a demand in time: the challenge failed.
        DemandUnanswered {
            /// In which challenge.
            id: ChallengeId,
            /// Whose demand.
            attestor: T::AccountId,
            /// What that cost the hoster.
            slashed: Balance,
            /// What of that the attestor got; the rest was burnt.
            reward: Balance,
        },
        /// A challenge was settled.
        ChallengeClosed {
            /// Which.
            id: ChallengeId,
            /// How it ended.
            outcome: Verdict,
            /// The medians over the Served reports.
            medians: Medians,
            /// Who was paid.
            paid: Payments<T::AccountId>,
            /// Who did not report, or not commit to the fallback, and paid for that.
            absent: PerMember<Absence<T::AccountId>>,
        },
        /// A payment out of an escrow failed; the money stays there.
        PaymentFailed {
            /// Of which hosting.
            hosting: HostingId,
            /// Who was to get it.
            to: T::AccountId,
            /// How much.
            amount: Balance,
            /// Why.
            error: DispatchError,
        },
        /// A closed challenge was removed from storage.
        ChallengePruned {
            /// Which.
            id: ChallengeId,
        },
    }

    /// Why a call was refused.
    #[pallet::error]
    #[derive(PartialEq, Eq)]
    pub enum Error<T> {
        /// A duration or a number of blocks is zero where it must not be, or beyond all reason.
        TimingOutOfRange,
        /// The block time is fixed at genesis.
        TimingBlockTime,
        /// `flip_ms` has no room for one attempt of the coinflip and its anchoring.
        TimingFlip,
        /// `tail_ms` is shorter than the time-out of a chunk.
        TimingTail,
        /// No room is left for audits after a fallback flip.
        TimingWindow,
        /// The roster is empty or above 32, or `min_active` is zero or above it.
        TimingRoster,
        /// The chunks are none or above 100, or `proved` is zero or above them.
        TimingChunks,
        /// The jitter of the slots is wider than a slot.
        TimingSchedule,

        /// There is no challenge with this id, or none any more.
        UnknownChallenge,
        /// The sender is not in the challenge's roster.
        NotInRoster,

        /// There is no such attempt: too many, no time, or too few members left for it; or not yet,
        /// as its roster may still change.
        AttemptUnavailable,
        /// The hash of the start block is known only in the next block.
        StartHashUnknown,
        /// The time for anchoring is over.
        FlipOver,
        /// The coinflip is anchored, and the sender has used its one free late anchor.
        AlreadyAnchored,
        /// The number of openings is not that of the roster.
        OpeningCount,
        /// The number of echoes is not that of the roster.
        EchoCount,
        /// An echo is not its member's signature over the root that follows from the openings.
        WrongEcho,

        /// Commits to the fallback are not taken yet.
        CommitsNotOpen,
        /// The time for commits to the fallback is over, or there is no fallback.
        CommitsOver,
        /// The sender was expelled before the fallback began.
        NotInFallback,
        /// The sender has committed.
        AlreadyCommitted,

        /// The time for evidence about the challenge, or for the receipt, is over.
        ProofTooOld,
        /// An envelope is not of a signed kind, or not as long as its kind asks for.
        ProofMalformed,
        /// The envelopes are not of one kind, or not a commit and a reveal.
        ProofKinds,
        /// An envelope is of another topic than the attempt's.
        ProofTopic,
        /// The envelopes are of two members.
        ProofMembers,
        /// The envelopes' member is not in the attempt's roster.
        ProofMember,
        /// The envelopes say the same, or the reveal opens the commit, or the receipt has the proven
        /// leaf.
        ProofNotContradictory,
        /// An envelope is not signed by its member.
        ProofSignature,
        /// This fraud was reported before.
        FraudKnown,
        /// The receipt's key is no hoster's.
        UnknownHoster,
        /// Nothing is left of the hoster's bond.
        NothingToSlash,

        /// Reports are not taken yet.
        ReportsNotOpen,
        /// The time for reports is over.
        ReportsOver,
        /// The sender has reported.
        AlreadyReported,
        /// The sender is in the roster, but not active: neither in that of the anchored attempt, nor
        /// among those who committed to the fallback.
        NotActive,
        /// w and audit key are not those that the sender committed to.
        WrongSecrets,
        /// The binding is not the audit key's signature for this topic, sender and body.
        WrongBinding,
        /// The measured fellow attestors do not ascend, or one is not in the roster, or oneself.
        WrongPeers,
        /// The figure that was drawn is not there or zero, the other one is, or the percentiles do
        /// not ascend.
        WrongMetrics,
        /// The demanded chunk was not drawn.
        DemandNotDrawn,
        /// The receipt is too long, of another length than its entries ask for, or has too many.
        ReceiptMalformed,
        /// The receipt has an unknown version.
        ReceiptVersion,
        /// The receipt names a chunk twice.
        ReceiptRepeatsChunk,
        /// The receipt is not signed by the hoster.
        ReceiptSignature,
        /// The receipt is for another feed.
        ReceiptFeed,
        /// The receipt is for another client than the audit key.
        ReceiptClient,
        /// The receipt is for another fork than the vouched one.
        ReceiptFork,
        /// The receipt's head is shorter than what was vouched for.
        ReceiptLength,
        /// The receipt is not the first one of its session.
        ReceiptSequence,
        /// The session was not opened at the audit moment.
        ReceiptOpened,
        /// The receipt was issued before its session was opened.
        ReceiptIssued,
        /// The receipt has fewer chunks than were drawn.
        ReceiptTooFewChunks,
        /// The receipt lacks a chunk that has to be proved.
        ReceiptLacksChunk,
        /// The feed's signer did not sign the receipt's head.
        HeadSignature,
        /// The number of sizes is not that of the chunks to prove.
        ProofSizes,
        /// The multiproof has too few or too many nodes.
        ProofNodes,
        /// The multiproof's indices or sums are out of range.
        ProofRange,
        /// The multiproof gives another tree hash than the receipt's.
        ProofTreeHash,
        /// The challenge has no audit moment for the sender.
        NoMoment,

        /// The sender is not the challenge's hoster.
        NotTheHoster,
        /// This attestor demanded nothing in this challenge.
        UnknownDemand,
        /// The demand is answered.
        AlreadyAnswered,
        /// The time for answering the demand is over.
        AnswerTooLate,
        /// The answer's head is shorter than what was vouched for.
        AnswerLength,
        /// The answer's fork is not above the vouched one.
        AnswerFork,

        /// Reports or answers are still awaited.
        NotClosable,
        /// The challenge is closed.
        AlreadyClosed,
    }

    #[pallet::hooks]
    impl<T: Config> Hooks<BlockNumberFor<T>> for Pallet<T> {
        fn on_initialize(_: BlockNumberFor<T>) -> Weight {
            let started = Self::store_start_hashes();
            T::WeightInfo::on_initialize(started).saturating_add(T::WeightInfo::on_finalize())
        }

        fn on_poll(_: BlockNumberFor<T>, meter: &mut WeightMeter) {
            if meter.try_consume(T::WeightInfo::on_poll()).is_err() {
                return;
            }
            Self::work_off_agenda(meter);
            Self::start_waiting(meter);
        }

        fn on_finalize(_: BlockNumberFor<T>) {
            Self::count_room();
        }

        fn integrity_test() {
            assert!(T::MaxStarts::get() > 0, "no challenge would ever start");
            assert!(
                T::DemandDeposit::get() >= T::DemandFee::get(),
                "a deposit would not cover the fee"
            );
            assert!(
                T::MaxDue::get() >= 8 * T::MaxStarts::get(),
                "a started challenge is due up to eight times: flip, commits by time, by number, \
                 their randomness, window, closing, pruning in two steps"
            );
        }

        #[cfg(feature = "try-runtime")]
        fn try_state(_: BlockNumberFor<T>) -> Result<(), frame::deps::sp_runtime::TryRuntimeError> {
            Self::do_try_state()
        }
    }

    #[pallet::call]
    impl<T: Config> Pallet<T> {
        /// Sets the durations and counts of challenges to come; by root. Refuses values that cannot
        /// work, and another block time.
        #[pallet::call_index(0)]
        #[pallet::weight(T::WeightInfo::set_timing())]
        pub fn set_timing(origin: OriginFor<T>, timing: Timing) -> DispatchResult {
            ensure_root(origin)?;
            timing.check().map_err(Error::<T>::from)?;
            let block_ms = CurrentTiming::<T>::get().block_ms;
            ensure!(timing.block_ms == block_ms, Error::<T>::TimingBlockTime);
            CurrentTiming::<T>::put(timing);
            Self::deposit_event(Event::TimingSet { timing });
            Ok(())
        }

        /// Anchors the coinflip: every opening and every echo, in roster order; by a member of the
        /// roster (challenge.md §2.2). Free of charge; so is a late one, once per member, though
        /// nothing in it is looked at.
        #[pallet::call_index(1)]
        #[pallet::weight(
            T::WeightInfo::anchor_flip(openings.len() as u32).max(T::WeightInfo::anchor_flip_late())
        )]
        pub fn anchor_flip(
            origin: OriginFor<T>,
            id: ChallengeId,
            attempt: u32,
            openings: BoundedVec<Opening, ConstU32<MAX_ATTESTORS>>,
            echoes: BoundedVec<Signature, ConstU32<MAX_ATTESTORS>>,
        ) -> DispatchResultWithPostInfo {
            let who = ensure_signed(origin)?;
            Self::do_anchor_flip(who, id, attempt, &openings, &echoes)
        }

        /// Commits to the fallback of a challenge that nobody anchored; by a member of its roster,
        /// once, after `on_poll` of F and before C (coinflip.md §5). Free of charge.
        #[pallet::call_index(2)]
        #[pallet::weight(T::WeightInfo::commit_flip())]
        pub fn commit_flip(
            origin: OriginFor<T>,
            id: ChallengeId,
            z: Hash,
        ) -> DispatchResultWithPostInfo {
            let who = ensure_signed(origin)?;
            Self::do_commit_flip(who, id, z)
        }

        /// Reports on an audit; by an active attestor, once, from END until D (challenge.md §4).
        /// Free of charge. The last report settles the challenge.
        #[pallet::call_index(3)]
        #[pallet::weight(
            Pallet::<T>::report_weight(report)
                .saturating_add(Pallet::<T>::settlement_weight(MAX_ATTESTORS))
        )]
        pub fn submit_report(
            origin: OriginFor<T>,
            id: ChallengeId,
            report: Box<Report>,
        ) -> DispatchResultWithPostInfo {
            let who = ensure_signed(origin)?;
            Self::do_submit_report(who, id, &report)
        }

        /// Answers a demand; by the hoster, once, before it is due (challenge.md §5): with the chunk
        /// under a head of the vouched fork, or with the author's signature on a higher fork. Free
        /// of charge. The last answer settles the challenge if all have reported.
        #[pallet::call_index(4)]
        #[pallet::weight(
            T::WeightInfo::answer_demand(answer.encoded_size() as u32)
                .saturating_add(Pallet::<T>::settlement_weight(MAX_ATTESTORS))
        )]
        pub fn answer_demand(
            origin: OriginFor<T>,
            id: ChallengeId,
            attestor: T::AccountId,
            answer: Box<Answer>,
        ) -> DispatchResultWithPostInfo {
            let who = ensure_signed(origin)?;
            Self::do_answer_demand(who, id, attestor, &answer)
        }

        /// Proves that an attestor signed a contradiction in an attempt of a challenge, or a hoster a
        /// receipt that its own tree contradicts; by anybody, who gets half of what it costs the
        /// offender (challenge.md §5). Free of charge.
        #[pallet::call_index(5)]
        #[pallet::weight(Pallet::<T>::proof_weight(proof))]
        pub fn report_fraud(origin: OriginFor<T>, proof: Box<Proof>) -> DispatchResultWithPostInfo {
            let who = ensure_signed(origin)?;
            Self::do_report_fraud(who, &proof)
        }

        /// Settles a challenge after D, once no demand can be answered any more; by anybody, who gets
        /// a tenth of the absence fees. It costs what a settlement with 32 attestors does, and what is
        /// too much of that is given back.
        #[pallet::call_index(6)]
        #[pallet::weight(Pallet::<T>::settlement_weight(MAX_ATTESTORS))]
        pub fn close_challenge(
            origin: OriginFor<T>,
            id: ChallengeId,
        ) -> DispatchResultWithPostInfo {
            let who = ensure_signed(origin)?;
            Self::do_close_challenge(who, id)
        }
    }
}

impl<T> From<TimingFault> for Error<T> {
    fn from(fault: TimingFault) -> Self {
        match fault {
            TimingFault::OutOfRange => Self::TimingOutOfRange,
            TimingFault::FlipTooShort => Self::TimingFlip,
            TimingFault::TailTooShort => Self::TimingTail,
            TimingFault::WindowTooShort => Self::TimingWindow,
            TimingFault::Roster => Self::TimingRoster,
            TimingFault::Chunks => Self::TimingChunks,
            TimingFault::Schedule => Self::TimingSchedule,
        }
    }
}
