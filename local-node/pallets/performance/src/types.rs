//! What the pallet stores, and what its calls and events carry.

use alloc::vec::Vec;
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use datdot_primitives::{
    attempts::bit,
    draws::MAX_ATTESTORS,
    evidence::FraudKind,
    head::{Feed, Head},
    report::{Metrics, PeerMetrics, Reason, MAX_PEERS},
    Hash, PublicKey,
};
use frame::{
    deps::sp_core::ConstU32,
    prelude::{BoundedVec, Debug, TypeInfo},
};
use pallet_hosting::{HostingId, Terms};

use crate::timing::Timing;

/// Numbers a challenge, from 0 on.
pub type ChallengeId = u64;
/// Money, in the smallest unit.
pub type Balance = u128;
/// Number of a block of the chain.
pub type BlockNumber = u32;

/// The most attestors in one challenge.
pub const MAX_ROSTER: u32 = MAX_ATTESTORS;
/// Payments of one settlement: each attestor twice, the hoster, the closer.
pub const MAX_PAYMENTS: u32 = 2 * MAX_ROSTER + 2;
/// Settled challenges whose medians are kept for each hosting.
pub const MAX_HISTORY: u32 = 32;
/// Verified heads that are remembered for each feed.
pub const MAX_HEADS: u32 = 8;

/// One entry per member of the roster, in its order.
pub type PerMember<Item> = BoundedVec<Item, ConstU32<MAX_ROSTER>>;

/// A drawn attestor, as it was at the start of the challenge.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Member<AccountId> {
    /// Its account.
    pub account: AccountId,
    /// Its session key; rosters ascend by it.
    pub session_key: PublicKey,
}

/// When reports end: D. Whichever comes first.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Deadline {
    /// Reports end when so many blocks with room have been counted since genesis.
    pub rooms: u64,
    /// Reports end with this block, congested or not.
    pub block: BlockNumber,
}

impl Deadline {
    /// Whether it has passed in `block`, before which `rooms` blocks with room were counted.
    pub const fn has_passed(&self, rooms: u64, block: BlockNumber) -> bool {
        rooms >= self.rooms || block >= self.block
    }
}

/// How a challenge ended (challenge.md §6).
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum Verdict {
    /// More than half of the active attestors were served.
    Passed,
    /// More than half of the active attestors were not served.
    Failed,
    /// Neither.
    Inconclusive,
    /// There was no shared randomness.
    Void,
}

/// Where a challenge is in its life.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum Stage {
    /// The coinflip runs, from the start until an anchor or T0 + flip_ms.
    Flip,
    /// Nothing was anchored: commits to the fallback's flip are taken, then its randomness is
    /// awaited.
    Commit {
        /// F: the block that fixed roster and topic.
        since: BlockNumber,
        /// The timestamp of F.
        opened_ms: u64,
    },
    /// Attestors audit at their moments, until T0 + window_ms.
    Audit,
    /// Reports are taken.
    Report {
        /// The first block with a timestamp at or after T0 + window_ms.
        since: BlockNumber,
        /// D: until when.
        deadline: Deadline,
        /// Until when the open demands are to be answered, all of them; `None`: there are none.
        answers: Option<Deadline>,
    },
    /// Settled.
    Closed {
        /// In this block.
        at: BlockNumber,
        /// With this outcome.
        outcome: Verdict,
    },
}

/// A challenge: what was so at its start, and its stage.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
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
    /// What sponsor and hoster agreed on.
    pub terms: Terms<Balance>,
    /// The fork that the hoster vouched for.
    pub fork: u64,
    /// L*: the length that the hoster vouched for.
    pub length: u64,
    /// S: the block in which it started.
    pub block: BlockNumber,
    /// T0: the timestamp of S.
    pub t0: u64,
    /// The durations and counts that hold for it.
    pub timing: Timing,
    /// The chain's randomness with which the roster was drawn.
    pub randomness: Hash,
    /// Who audits, ascending by session key.
    pub roster: PerMember<Member<AccountId>>,
    /// Where it is in its life.
    pub stage: Stage,
}

impl<AccountId: PartialEq> Challenge<AccountId> {
    /// END: from this timestamp on, reports are taken.
    pub const fn end_ms(&self) -> u64 {
        self.t0 + self.timing.window_ms
    }

    /// From this timestamp on, nothing is anchored.
    pub const fn flip_end_ms(&self) -> u64 {
        self.t0 + self.timing.flip_ms
    }

    /// The place of an account in the start roster.
    pub fn index_of(&self, account: &AccountId) -> Option<usize> {
        self.roster
            .iter()
            .position(|member| member.account == *account)
    }

    /// How many attestors its roster has.
    pub fn members(&self) -> u32 {
        self.roster.len() as u32
    }

    /// Whether it is not yet settled.
    pub const fn is_open(&self) -> bool {
        !matches!(self.stage, Stage::Closed { .. })
    }
}

/// The coinflip that gave R, anchored or fallen back.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Flip {
    /// Which attempt; 2^31 for the fallback.
    pub attempt: u32,
    /// The run's topic.
    pub topic: Hash,
    /// What all echoes signed; of a fallback, the root over the z of the active.
    pub root: Hash,
    /// R: the shared randomness.
    pub randomness: Hash,
    /// Who audits. Bit i: the member at place i of the start roster.
    pub active: u32,
    /// Each active member's z, in roster order.
    pub commitments: PerMember<Hash>,
    /// Tlo: no audit begins before this timestamp.
    pub moments_from: u64,
    /// The block in which R was fixed.
    pub block: BlockNumber,
    /// The place in the start roster of the member who anchored it; nobody did for a fallback.
    pub by: Option<u8>,
    /// The chain's randomness that is part of R; of a fallback only.
    pub chain_randomness: Option<Hash>,
    /// Members who came late with an anchor of their own, free of charge: bit i for place i.
    pub late: u32,
}

/// A member that was expelled, once per member however many frauds are proven.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Expulsion {
    /// Its place in the start roster.
    pub place: u8,
    /// The timestamp of the block that took the proof: attempts that begin long enough after it
    /// are without the member.
    pub timestamp_ms: u64,
    /// That block.
    pub block: BlockNumber,
}

/// A commit to the fallback.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct FallbackCommit {
    /// Whose: the place in the start roster.
    pub place: u8,
    /// The commitment to w and the audit key.
    pub z: Hash,
}

/// The flip on the chain, for what nobody anchored (coinflip.md §5).
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Fallback {
    /// Its topic.
    pub topic: Hash,
    /// Who may commit: the members not expelled before F. Bit i for place i of the start roster.
    pub roster: u32,
    /// Who did, ascending by place.
    pub commits: PerMember<FallbackCommit>,
}

impl Fallback {
    /// Who has committed: bit i for place i.
    pub fn committed(&self) -> u32 {
        self.commits
            .iter()
            .fold(0, |members, commit| members | bit(commit.place.into()))
    }
}

/// How far the end of a fallback's commits is seen.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct CommitEnd {
    /// The block in which to look again.
    pub due: BlockNumber,
    /// C: commits have ended in this block, and R waits for the chain's randomness.
    pub reached: Option<BlockNumber>,
}

/// A proven fraud.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Fraud<AccountId> {
    /// Whose.
    pub offender: AccountId,
    /// Which.
    pub proof: FraudKind,
    /// Who reported it.
    pub reporter: AccountId,
    /// In which block.
    pub block: BlockNumber,
    /// What it cost the offender.
    pub slashed: Balance,
    /// What of that the reporter got; the rest was burnt.
    pub reward: Balance,
}

/// A false receipt in the order in which they are forgotten.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Forgetting {
    /// From this timestamp on nobody can bring it again, big-endian.
    pub order: [u8; 8],
    /// The id of the evidence.
    pub id: Hash,
}

impl Forgetting {
    /// The place of a false receipt that can be brought before this timestamp.
    pub const fn new(until: u64, id: Hash) -> Self {
        Self {
            order: until.to_be_bytes(),
            id,
        }
    }

    /// Until when it can be brought.
    pub const fn until(&self) -> u64 {
        u64::from_be_bytes(self.order)
    }
}

/// Who has reported, and what.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Tally {
    /// Bit i: the member at place i has reported.
    pub reported: u32,
    /// How many reported that they were served.
    pub served: u32,
    /// How many reported that they were not.
    pub failed: u32,
}

/// A chunk that an attestor which was not served wants to see on chain.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Demand {
    /// Index of the chunk.
    pub chunk: u64,
    /// The block that took it, with the report.
    pub block: BlockNumber,
    /// Until when the hoster may answer.
    pub due: Deadline,
    /// What is held from the attestor while it is open.
    pub deposit: Balance,
    /// What became of it.
    pub state: DemandState,
}

/// What became of a demand.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum DemandState {
    /// The hoster has not answered yet.
    Open,
    /// It has; the whole answer is in the extrinsic.
    Answered {
        /// With what.
        answer: AnswerKind,
        /// The block that took it.
        block: BlockNumber,
        /// Its extrinsic's place in that block.
        extrinsic: u32,
        /// What the attestor paid for it.
        fee: Balance,
    },
    /// It did not in time.
    Unanswered {
        /// What that cost the hoster.
        slashed: Balance,
        /// What of that the attestor got; the rest was burnt.
        reward: Balance,
    },
}

/// With what a hoster answered a demand.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum AnswerKind {
    /// The chunk.
    Chunk,
    /// The author's signature on a higher fork.
    Rewritten {
        /// The fork.
        fork: u64,
    },
}

/// What is kept of an accepted report; the whole of it is in the extrinsic.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct ReportRecord {
    /// The block that took it.
    pub block: BlockNumber,
    /// Its extrinsic's place in that block.
    pub extrinsic: u32,
    /// Bytes of the report's encoding.
    pub bytes: u32,
    /// The opened secret.
    pub w: Hash,
    /// The client's key in the audited session.
    pub audit_key: PublicKey,
    /// The audit moment that follows from R and w, in milliseconds since 1970.
    pub moment_ms: u64,
    /// Whether the session was drawn to be windowed (throughput) and not sequential (latency).
    pub windowed: bool,
    /// What was reported.
    pub outcome: ReportedOutcome,
    /// What was measured of fellow attestors.
    pub peers: BoundedVec<PeerMetrics, ConstU32<MAX_PEERS>>,
}

/// What is kept of a report's outcome.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum ReportedOutcome {
    /// The hoster served.
    Served(ServedRecord),
    /// It did not.
    Failed {
        /// Why.
        reason: Reason,
        /// The chunk that it demands.
        demand: Option<u64>,
    },
}

/// What is kept of a receipt and its metrics.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct ServedRecord {
    /// The head that the receipt names.
    pub head: Head,
    /// The session's id.
    pub session: Hash,
    /// Which receipt of the session it was.
    pub sequence: u32,
    /// When the session began, by the hoster's clock.
    pub opened_ms: u64,
    /// When the receipt was signed, by the hoster's clock.
    pub issued_ms: u64,
    /// Chunks in the receipt.
    pub chunks: u32,
    /// Chunks that the report proved.
    pub proved: u32,
    /// How fast it was.
    pub metrics: Metrics,
}

/// The nearest-rank median of one figure, and how far its samples lie apart.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Median {
    /// The median; microseconds, bytes per second, or a number, as the figure is.
    pub value: u64,
    /// Of how many reports.
    pub reports: u32,
    /// The lower quartile, nearest rank: a quarter of the figures is not above it.
    pub low: u64,
    /// The upper quartile, nearest rank: a quarter of the figures is not below it.
    pub high: u64,
}

/// The medians over the Served reports of a challenge; `None` where no report has the figure.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Medians {
    /// Until TCP stood.
    pub connect_us: Option<Median>,
    /// Noise handshake.
    pub handshake_us: Option<Median>,
    /// From the first request to the first chunk.
    pub first_chunk_us: Option<Median>,
    /// Median latency of a chunk, of sequential sessions.
    pub latency_p50_us: Option<Median>,
    /// 90th percentile of the latency.
    pub latency_p90_us: Option<Median>,
    /// 99th percentile of the latency.
    pub latency_p99_us: Option<Median>,
    /// Greatest latency.
    pub latency_max_us: Option<Median>,
    /// Bytes per second, of windowed sessions that the attestor's own link did not hold up.
    pub throughput: Option<Median>,
    /// Bytes per second, of the other windowed sessions: the hoster is at least as fast.
    pub throughput_at_least: Option<Median>,
    /// Chunks that came too late.
    pub timeouts: Option<Median>,
    /// Median latency of the observed session.
    pub observed_latency_p50_us: Option<Median>,
    /// Bytes per second of the observed session.
    pub observed_throughput: Option<Median>,
}

/// A settled challenge in the history of its hosting.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct HistoryEntry {
    /// Which challenge.
    pub challenge: ChallengeId,
    /// How it ended.
    pub outcome: Verdict,
    /// Its medians.
    pub medians: Medians,
}

/// For what somebody is paid.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum PaymentKind {
    /// The hoster, for serving.
    Hosting,
    /// An attestor, for its report.
    Report,
    /// Who closed the challenge, out of the absence fees.
    Closing,
    /// An attestor whose demand was not answered, out of the hosting's bond.
    Withholding,
}

/// One payment of a settlement.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Payment<AccountId> {
    /// To whom.
    pub account: AccountId,
    /// For what.
    pub kind: PaymentKind,
    /// How much.
    pub amount: Balance,
}

/// The payments of one settlement: the attestors whose demands were not answered in roster order,
/// the hoster, the attestors for their reports in roster order, the closer; only those who get
/// something.
pub type Payments<AccountId> = BoundedVec<Payment<AccountId>, ConstU32<MAX_PAYMENTS>>;

/// An attestor who did not report.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Absence<AccountId> {
    /// Who.
    pub account: AccountId,
    /// What it paid out of its bond.
    pub fee: Balance,
}

/// How a challenge was settled, and why so.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Settlement<AccountId> {
    /// The outcome.
    pub outcome: Verdict,
    /// X': how many attestors were active; none in a Void challenge.
    pub active: u32,
    /// How many of them were served.
    pub served: u32,
    /// How many were not.
    pub failed: u32,
    /// The medians of their figures.
    pub medians: Medians,
    /// Who was paid.
    pub paid: Payments<AccountId>,
    /// Who was absent: active and without report, or in the fallback's roster and without commit.
    pub absent: PerMember<Absence<AccountId>>,
    /// What of the absence fees was burnt.
    pub burnt: Balance,
    /// What of the absence fees went to the hosting's escrow.
    pub to_escrow: Balance,
    /// What of the hoster's reward was not earned, and is burnt when the hosting ends.
    pub forfeited: Balance,
    /// What withholding cost the hoster out of the hosting's bond; what the demanders did not get of
    /// it was burnt.
    pub slashed: Balance,
}

/// By what the entries of an agenda are ordered.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum Clock {
    /// Milliseconds since 1970: ends of the flip, of commits and of the window.
    Time,
    /// Blocks with room since genesis: closing.
    Rooms,
    /// Blocks: the end of commits and their randomness, closing at the latest, and pruning.
    Blocks,
}

/// Which looks at the agendas and the queue a block may leave out, so that one in which nothing is due
/// costs the same however much waits. What is entered makes them necessary again.
#[derive(
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct NextLooks {
    /// Nothing is due before this timestamp.
    pub time: u64,
    /// Nothing is due before so many blocks with room.
    pub rooms: u64,
    /// Nothing is due before this block.
    pub block: u64,
    /// Nothing waits in the queue.
    pub queue_is_empty: bool,
}

impl NextLooks {
    /// Nothing on a clock's agenda is due before this.
    pub const fn order(&self, clock: Clock) -> u64 {
        match clock {
            Clock::Time => self.time,
            Clock::Rooms => self.rooms,
            Clock::Blocks => self.block,
        }
    }

    /// Sets what is due first on a clock's agenda.
    pub const fn set_order(&mut self, clock: Clock, order: u64) {
        match clock {
            Clock::Time => self.time = order,
            Clock::Rooms => self.rooms = order,
            Clock::Blocks => self.block = order,
        }
    }
}

/// A place in an ordered queue: what it is ordered by, then an id, both big-endian, so that the
/// order of the storage keys is the order of the numbers.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Place {
    /// What comes first: a time, a count, or a block, big-endian.
    pub order: [u8; 8],
    /// Of a challenge or hosting, big-endian.
    pub id: [u8; 8],
}

impl Place {
    /// The place of `id` among those ordered by `order`.
    pub const fn new(order: u64, id: u64) -> Self {
        Self {
            order: order.to_be_bytes(),
            id: id.to_be_bytes(),
        }
    }

    /// What it is ordered by.
    pub const fn order(&self) -> u64 {
        u64::from_be_bytes(self.order)
    }

    /// Of what it is the place.
    pub const fn id(&self) -> u64 {
        u64::from_be_bytes(self.id)
    }
}

/// A hosting that waits for its next challenge.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Wait<AccountId> {
    /// Who pays for it: sponsors take turns.
    pub sponsor: AccountId,
    /// In which turn it is drawn.
    pub turn: u64,
    /// The block of the last event that made it ready.
    pub since: BlockNumber,
}

/// A place in the queue of hostings: by turn, then by the block of the last event that made the
/// hosting ready, then by its id; all big-endian, so that the order of the storage keys is theirs.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct QueuePlace {
    /// The turn, big-endian.
    pub turn: [u8; 8],
    /// The block, big-endian.
    pub since: [u8; 4],
    /// The hosting, big-endian.
    pub hosting: [u8; 8],
}

impl QueuePlace {
    /// The place of a hosting that waits.
    pub const fn new(turn: u64, since: BlockNumber, hosting: HostingId) -> Self {
        Self {
            turn: turn.to_be_bytes(),
            since: since.to_be_bytes(),
            hosting: hosting.to_be_bytes(),
        }
    }

    /// In which turn it is drawn.
    pub const fn turn(&self) -> u64 {
        u64::from_be_bytes(self.turn)
    }

    /// The block of the last event that made it ready.
    pub const fn since(&self) -> BlockNumber {
        BlockNumber::from_be_bytes(self.since)
    }

    /// Which hosting.
    pub const fn hosting(&self) -> HostingId {
        HostingId::from_be_bytes(self.hosting)
    }

    /// The last place that its turn can have.
    pub const fn end_of_turn(&self) -> Self {
        Self::new(self.turn(), BlockNumber::MAX, HostingId::MAX)
    }
}

/// The hostings of one sponsor in the queue.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct SponsorTurns {
    /// The last turn that was given to one of them.
    pub last: u64,
    /// How many wait.
    pub waiting: u32,
}

/// A settled challenge in the record of its hoster.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct HosterEntry {
    /// Which challenge.
    pub challenge: ChallengeId,
    /// How it ended; never Void.
    pub outcome: Verdict,
    /// The median of its attestors' median latencies, in microseconds.
    pub latency_p50_us: Option<u32>,
    /// The median of their throughputs, in bytes per second.
    pub throughput: Option<u64>,
}

/// How a hoster did in its last challenges, the later ones counting more; see
/// [`crate::summary`] for the weights.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct HosterSummary {
    /// Challenges that passed, ever.
    pub passed: u64,
    /// Challenges that failed, ever.
    pub failed: u64,
    /// Challenges that were inconclusive, ever.
    pub inconclusive: u64,
    /// Of the last 32: what part passed, by weight, in thousandths, rounded down.
    pub passed_permille: u16,
    /// Of the last 32: the weighted median of their median latencies, in microseconds.
    pub latency_p50_us: Option<u32>,
    /// Of the last 32: the weighted median of their throughputs, in bytes per second.
    pub throughput: Option<u64>,
    /// In how many of the last 32 the latency was measured.
    pub latency_challenges: u32,
    /// In how many of the last 32 the throughput was measured.
    pub throughput_challenges: u32,
    /// The block of the last settlement.
    pub updated: BlockNumber,
}

/// What is kept of a hoster's performance.
#[derive(
    Clone, PartialEq, Eq, Debug, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct HosterRecord {
    /// What follows from it.
    pub summary: HosterSummary,
    /// Its last challenges that were not Void, oldest first.
    pub recent: BoundedVec<HosterEntry, ConstU32<MAX_HISTORY>>,
}

/// A place in the ranking of hosters: by latency, then by account.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Debug,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Rank<AccountId> {
    /// The weighted median latency in microseconds, big-endian.
    pub latency_p50_us: [u8; 4],
    /// Whose.
    pub hoster: AccountId,
}

/// A hoster that meets an SLA.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct FoundHoster<AccountId> {
    /// Who.
    pub hoster: AccountId,
    /// How it did.
    pub summary: HosterSummary,
}

/// A part of the hosters that meet an SLA.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct HosterPage<AccountId> {
    /// They, the fastest first.
    pub hosters: Vec<FoundHoster<AccountId>>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<Rank<AccountId>>,
}

/// Until when something is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub enum Until {
    /// In blocks with an earlier timestamp than this.
    Timestamp(u64),
    /// In blocks with an earlier timestamp or a lower number than these.
    Both {
        /// The timestamp.
        timestamp_ms: u64,
        /// The number.
        block: BlockNumber,
    },
    /// Until a deadline has passed.
    Deadline(Deadline),
}

/// What an account has to do for a challenge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub enum Task<AccountId> {
    /// An attestor: flip the coin with the others, and see it anchored.
    Flip,
    /// An attestor: `commit_flip`.
    Commit,
    /// An attestor: audit, at the moment that follows from its secret.
    Audit,
    /// An attestor: `submit_report`.
    Report,
    /// The hoster: serve the feed.
    Serve,
    /// The hoster: `answer_demand`.
    Answer {
        /// Whose demand.
        attestor: AccountId,
        /// For which chunk.
        chunk: u64,
    },
}

/// What an account has to do next for one challenge.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct Duty<AccountId> {
    /// Which challenge.
    pub challenge: ChallengeId,
    /// What.
    pub task: Task<AccountId>,
    /// Until when.
    pub until: Until,
}

/// An open challenge of an account, as the runtime API tells it.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, TypeInfo)]
pub struct OpenChallenge {
    /// Which.
    pub id: ChallengeId,
    /// The account's place in its roster; `None` for its hoster.
    pub index: Option<u8>,
    /// Where the challenge is in its life.
    pub stage: Stage,
    /// Whether the account has reported.
    pub reported: bool,
}
