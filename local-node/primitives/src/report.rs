//! The report of an audit: its types, and every check of it that needs no storage (challenge.md §4).

use crate::{
    coinflip::commitment_z,
    draws::{MomentError, Opened, Schedule, Window},
    hash::{concat, hash, performance},
    head::{Feed, Head},
    keys,
    multiproof::{self, MultiproofError},
    receipt::{self, Receipt, ReceiptError},
    tree::Node,
    AccountBytes, Hash, PublicKey, Signature,
};
use alloc::{collections::BTreeSet, vec::Vec};
use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, DecodeAll, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Most nodes of a multiproof (challenge.md §4).
pub const MAX_NODES: u32 = 4_096;
/// Most peers that a report has figures of (challenge.md §4).
pub const MAX_PEERS: u32 = 31;

/// What an attestor saw, bound to its audited session.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Report {
    /// Opens the moment and the drawn chunks.
    pub w: Hash,
    /// The one-time Noise key of the audited session, committed together with w.
    pub audit_key: PublicKey,
    /// Signature by the audit key over [`binding_message`].
    pub binding: Signature,
    /// What is reported.
    pub body: Body,
}

/// What is reported.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Body {
    /// How the audit ended.
    pub outcome: Outcome,
    /// Figures of fellow attestors, ascending by their place in the start roster.
    pub peers: BoundedVec<PeerMetrics, ConstU32<MAX_PEERS>>,
}

/// How an audit ended.
// Reports are decoded one at a time and never kept, so a box would save nothing.
#[allow(clippy::large_enum_variant)]
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Outcome {
    /// The hoster served what was drawn.
    #[codec(index = 0)]
    Served(Served),
    /// It did not.
    #[codec(index = 1)]
    Failed(Failure),
}

/// Evidence and figures of a session that was served.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Served {
    /// The session's first receipt, body and signature (challenge.md §3.4).
    pub receipt: BoundedVec<u8, ConstU32<{ receipt::MAX_BYTES }>>,
    /// The author's bare signature over the receipt's head.
    pub head_signature: Signature,
    /// Sizes of the proved chunks, ascending by index.
    pub sizes: BoundedVec<u32, ConstU32<{ receipt::MAX_ENTRIES }>>,
    /// The rest of the multiproof.
    pub nodes: BoundedVec<Node, ConstU32<MAX_NODES>>,
    /// Figures of the session.
    pub metrics: Metrics,
}

/// A failure, and the chunk that the hoster shall show on chain.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Failure {
    /// What was wrong.
    pub reason: Reason,
    /// A drawn chunk to demand (challenge.md §5).
    pub demand: Option<u64>,
}

/// What was wrong.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub enum Reason {
    /// No TCP connection.
    #[codec(index = 0)]
    Unreachable,
    /// The handshake failed, or ended with another static key.
    #[codec(index = 1)]
    WrongIdentity,
    /// The channel was rejected; or no head, another fork, a length below the vouched one.
    #[codec(index = 2)]
    NotHosted,
    /// Answered with noData, or closed after a request.
    #[codec(index = 3)]
    NoData,
    /// A chunk or head that does not verify.
    #[codec(index = 4)]
    BadProof,
    /// No receipt in time.
    #[codec(index = 5)]
    NoReceipt,
    /// A receipt that fails the checks.
    #[codec(index = 6)]
    BadReceipt,
    /// A chunk came too late, or the session went on past the end of the window.
    #[codec(index = 7)]
    Timeout,
}

/// Figures of the audited session; times in microseconds, throughput in bytes per second.
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub struct Metrics {
    /// Until the TCP connection stood.
    pub connect_us: u32,
    /// Of the Noise handshake.
    pub handshake_us: u32,
    /// Until the first chunk.
    pub first_chunk_us: u32,
    /// Of single chunks; only if they were asked for one after the other.
    pub latency_us: Option<Percentiles>,
    /// Only if they were asked for with a full window.
    pub throughput: Option<u64>,
    /// Requests that ran out of time.
    pub timeouts: u32,
    /// Of the observed session (challenge.md §3.3).
    pub observed: Option<Observed>,
}

/// Nearest-rank percentiles.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Percentiles {
    /// Median.
    pub p50: u32,
    /// 90th percentile.
    pub p90: u32,
    /// 99th percentile.
    pub p99: u32,
    /// Largest.
    pub max: u32,
}

impl Percentiles {
    /// Whether they ascend and none is zero.
    pub fn is_plausible(&self) -> bool {
        0 < self.p50 && self.p50 <= self.p90 && self.p90 <= self.p99 && self.p99 <= self.max
    }
}

/// Figures of the observed session (challenge.md §3.3).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct Observed {
    /// Chunks read.
    pub chunks: u32,
    /// Median latency, microseconds.
    pub latency_p50_us: u32,
    /// Bytes per second.
    pub throughput: u64,
}

/// Figures of a fellow attestor (challenge.md §3.5).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Encode,
    Decode,
    DecodeWithMemTracking,
    MaxEncodedLen,
    TypeInfo,
)]
pub struct PeerMetrics {
    /// Its place in the start roster.
    pub index: u8,
    /// Median round-trip time, microseconds.
    pub rtt_p50_us: u32,
    /// Bytes per second.
    pub throughput: u64,
}

/// What the chain knows when a report arrives: everything that the pure checks need.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Expected {
    /// Topic of the attempt that gave R.
    pub topic: Hash,
    /// R.
    pub result: Hash,
    /// The reporter's account.
    pub account: AccountBytes,
    /// The reporter's session key, as at the start of the challenge.
    pub session_key: PublicKey,
    /// The reporter's committed z.
    pub z: Hash,
    /// Members of the start roster.
    pub members: u32,
    /// The reporter's place in the start roster.
    pub member: u32,
    /// Active attestors, X'.
    pub active: u32,
    /// The reporter's place among the active, Y.
    pub place: u32,
    /// The hoster's Noise key, as at the start of the challenge.
    pub hoster: PublicKey,
    /// The feed.
    pub feed: Feed,
    /// The vouched fork.
    pub fork: u64,
    /// The vouched length, L*.
    pub length: u64,
    /// Chunks to draw, N.
    pub chunks: u32,
    /// Chunks to prove, K.
    pub proved: u32,
    /// How moments are spread.
    pub schedule: Schedule,
    /// When attestors audit.
    pub window: Window,
    /// How far the session may have been opened from the moment.
    pub clock_tolerance_ms: u64,
}

/// What a report that passed says beside its own fields.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Checked {
    /// The audit moment that w opened, milliseconds since 1970.
    pub moment_ms: u64,
    /// The head that the receipt names; none for a failure.
    pub head: Option<Head>,
}

/// Why a report is refused: one for each rule of challenge.md §4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum ReportError {
    /// w and audit key are not those of the committed z (rule 1).
    WrongSecrets,
    /// The binding is not the audit key's for this topic, account and body, or the audit key is no
    /// canonical key of prime order (rule 2).
    WrongBinding,
    /// The peers do not ascend, or one is oneself or not in the roster.
    WrongPeers,
    /// The demanded chunk was not drawn (rule 3).
    DemandNotDrawn,
    /// The receipt cannot be read, or the hoster did not sign it (rule 4).
    Receipt(ReceiptError),
    /// The receipt is for another feed (rule 4).
    OtherFeed,
    /// The receipt is for another client (rule 4).
    OtherClient,
    /// The receipt is for another fork (rule 4).
    OtherFork,
    /// The receipt's head is shorter than vouched (rule 4).
    TooShort,
    /// The receipt is not the first of its session (rule 4).
    NotFirst,
    /// The session was not opened at the moment (rule 4).
    WrongMoment,
    /// The receipt was issued before its session was opened (rule 4).
    IssuedTooEarly,
    /// Two entries of the receipt have one index (rule 4).
    RepeatedEntry,
    /// The receipt has fewer entries than chunks were drawn (rule 4).
    TooFewEntries,
    /// The receipt lacks a chunk that has to be proved (rule 4).
    ChunkMissing,
    /// The author did not sign the receipt's head (rule 4).
    WrongHeadSignature,
    /// The multiproof cannot be computed (rule 5).
    Multiproof(MultiproofError),
    /// The multiproof gives another tree hash than the receipt's (rule 5).
    WrongTreeHash,
    /// Not exactly the figure that was drawn is there, or it is zero, or its percentiles do not
    /// ascend (rule 6).
    WrongMetrics,
    /// The challenge has no moment for the reporter.
    Moment(MomentError),
}

/// The report that `bytes` encode, encoded again: what the chain makes of them. `None` if they are
/// not exactly one report.
pub fn reencode(bytes: &[u8]) -> Option<Vec<u8>> {
    Report::decode_all(&mut &bytes[..])
        .ok()
        .map(|report| report.encode())
}

/// What the audit key signs: `TAG(report) ‖ topic ‖ account ‖ H(SCALE(body))` (challenge.md §4).
pub fn binding_message(topic: &Hash, account: &AccountBytes, body: &Body) -> Vec<u8> {
    concat(&[
        &performance::REPORT,
        topic,
        account,
        &hash(&[&body.encode()]),
    ])
}

/// All checks of challenge.md §4 that need no storage, in its order. That the sender is active and
/// has not reported, and the deposit for a demand, are left to the caller.
///
/// `verified_before`: whether exactly this head of the feed was verified before, which spares its
/// signature.
pub fn check(
    report: &Report,
    expected: &Expected,
    verified_before: impl FnOnce(&Head) -> bool,
) -> Result<Checked, ReportError> {
    let (topic, session_key) = (&expected.topic, &expected.session_key);
    if commitment_z(topic, session_key, &report.w, &report.audit_key) != expected.z {
        return Err(ReportError::WrongSecrets);
    }
    // With a key of small order anybody's signature would do, and libsodium would refuse it.
    let message = binding_message(topic, &expected.account, &report.body);
    if keys::check_public_key(&report.audit_key).is_err()
        || !keys::verify(&report.audit_key, &message, &report.binding)
    {
        return Err(ReportError::WrongBinding);
    }
    check_peers(&report.body.peers, expected)?;
    let opened = Opened {
        topic: *topic,
        result: expected.result,
        session_key: *session_key,
        w: report.w,
    };
    let moment_ms = opened
        .moment(
            expected.schedule,
            expected.window,
            expected.place,
            expected.active,
        )
        .map_err(ReportError::Moment)?;
    let drawn = opened.drawn_chunks(expected.length, expected.chunks);
    let head = match &report.body.outcome {
        Outcome::Failed(failure) => {
            if failure.demand.is_some_and(|chunk| !drawn.contains(&chunk)) {
                return Err(ReportError::DemandNotDrawn);
            }
            None
        }
        Outcome::Served(served) => {
            let receipt = check_receipt(served, expected, &report.audit_key, moment_ms, &drawn)?;
            let proved = drawn.len().min(expected.proved as usize);
            let leaves = leaves_of(&receipt, &drawn[..proved])?;
            if !verified_before(&receipt.head)
                && !expected
                    .feed
                    .verify_head(&receipt.head, &served.head_signature)
            {
                return Err(ReportError::WrongHeadSignature);
            }
            check_proof(served, &receipt.head, &leaves)?;
            check_metrics(&served.metrics, opened.habit().windowed)?;
            Some(receipt.head)
        }
    };
    Ok(Checked { moment_ms, head })
}

/// Peers ascend by their place in the start roster, and oneself is not among them (challenge.md §4).
fn check_peers(peers: &[PeerMetrics], expected: &Expected) -> Result<(), ReportError> {
    let ascending = peers.windows(2).all(|pair| pair[0].index < pair[1].index);
    let others = peers.iter().all(|peer| {
        let index = u32::from(peer.index);
        index < expected.members && index != expected.member
    });
    (ascending && others)
        .then_some(())
        .ok_or(ReportError::WrongPeers)
}

/// Rule 6: exactly the figure that the drawn bit names, not zero, percentiles in order.
fn check_metrics(metrics: &Metrics, windowed: bool) -> Result<(), ReportError> {
    let right = match (windowed, &metrics.latency_us, metrics.throughput) {
        (false, Some(latency), None) => latency.is_plausible(),
        (true, None, Some(throughput)) => throughput > 0,
        _ => false,
    };
    right.then_some(()).ok_or(ReportError::WrongMetrics)
}

/// Rule 4 without the head's signature.
fn check_receipt(
    served: &Served,
    expected: &Expected,
    audit_key: &PublicKey,
    moment_ms: u64,
    drawn: &[u64],
) -> Result<Receipt, ReportError> {
    let receipt = Receipt::open(&served.receipt, &expected.hoster).map_err(ReportError::Receipt)?;
    if receipt.feed != expected.feed.key {
        return Err(ReportError::OtherFeed);
    }
    if receipt.client != *audit_key {
        return Err(ReportError::OtherClient);
    }
    if receipt.head.fork != expected.fork {
        return Err(ReportError::OtherFork);
    }
    if receipt.head.length < expected.length {
        return Err(ReportError::TooShort);
    }
    if receipt.sequence != 0 {
        return Err(ReportError::NotFirst);
    }
    if receipt.opened.abs_diff(moment_ms) > expected.clock_tolerance_ms {
        return Err(ReportError::WrongMoment);
    }
    if receipt.opened > receipt.issued {
        return Err(ReportError::IssuedTooEarly);
    }
    let indices: BTreeSet<u64> = receipt.entries.iter().map(|entry| entry.index).collect();
    if indices.len() != receipt.entries.len() {
        return Err(ReportError::RepeatedEntry);
    }
    if indices.len() < drawn.len() {
        return Err(ReportError::TooFewEntries);
    }
    Ok(receipt)
}

/// Rule 4: the receipt's leaf hashes of the chunks to prove, ascending by index.
fn leaves_of(receipt: &Receipt, proved: &[u64]) -> Result<Vec<(u64, Hash)>, ReportError> {
    let mut leaves = proved
        .iter()
        .map(|&chunk| Some((chunk, receipt.leaf(chunk)?)))
        .collect::<Option<Vec<_>>>()
        .ok_or(ReportError::ChunkMissing)?;
    leaves.sort_unstable();
    Ok(leaves)
}

/// Rule 5: the leaf hashes give the head's tree hash.
fn check_proof(served: &Served, head: &Head, leaves: &[(u64, Hash)]) -> Result<(), ReportError> {
    let tree_hash = multiproof::tree_hash_of(head.length, leaves, &served.sizes, &served.nodes)
        .map_err(ReportError::Multiproof)?;
    if tree_hash != head.tree_hash {
        return Err(ReportError::WrongTreeHash);
    }
    Ok(())
}
