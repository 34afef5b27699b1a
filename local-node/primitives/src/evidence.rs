//! Evidence of fraud: envelopes that an honest attestor never signs (coinflip.md §1, §4).
//!
//! An envelope is `kind u8 ‖ topic ‖ i u16 ‖ body ‖ signature[64]`. Two of one member with one kind
//! and topic and different bodies are an equivocation; a reveal that does not open the member's
//! commit is a bad reveal. Bodies are compared, never signatures: who knows a signature can make
//! others of the same body, and an honest member may have signed a body twice.

use crate::{
    coinflip::{commit_payload, commitment_y, echo_payload, reveal_payload},
    hash::hash,
    keys, receipt,
    report::MAX_NODES,
    tree::Node,
    Hash, PublicKey, Signature,
};
use bounded_collections::{BoundedVec, ConstU32};
use codec::{Decode, DecodeWithMemTracking, Encode, MaxEncodedLen};
use scale_info::TypeInfo;

/// Most bytes of an envelope in a proof; the longest one has 163.
pub const MAX_ENVELOPE_BYTES: u32 = 256;

/// The bytes of an envelope, as it came over the wire.
pub type EnvelopeBytes = BoundedVec<u8, ConstU32<MAX_ENVELOPE_BYTES>>;

/// What `report_fraud` takes (challenge.md §4, §5).
#[derive(
    Clone, Debug, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, MaxEncodedLen, TypeInfo,
)]
pub enum Proof {
    /// E1: two envelopes of one kind, topic and member with different bodies.
    #[codec(index = 0)]
    Equivocation {
        /// Of which challenge.
        id: u64,
        /// Of which attempt.
        attempt: u32,
        /// One of them.
        a: EnvelopeBytes,
        /// The other.
        b: EnvelopeBytes,
    },
    /// E2: a commit, and a reveal of the same member that does not open it.
    #[codec(index = 1)]
    BadReveal {
        /// Of which challenge.
        id: u64,
        /// Of which attempt.
        attempt: u32,
        /// The commit.
        commit: EnvelopeBytes,
        /// The reveal.
        reveal: EnvelopeBytes,
    },
    /// E6: a receipt, and a multiproof of another leaf under the receipt's own tree hash.
    #[codec(index = 2)]
    FalseReceipt {
        /// The Noise key of the hoster that signed it, which the receipt does not name.
        hoster: PublicKey,
        /// The receipt, body and signature.
        receipt: BoundedVec<u8, ConstU32<{ receipt::MAX_BYTES }>>,
        /// The chunk of which it has a wrong leaf.
        index: u64,
        /// The leaf that its tree has there.
        leaf: Hash,
        /// Sizes of the multiproof.
        sizes: BoundedVec<u32, ConstU32<{ receipt::MAX_ENTRIES }>>,
        /// The rest of the multiproof.
        nodes: BoundedVec<Node, ConstU32<MAX_NODES>>,
    },
}

/// What was proven, of an attestor or a hoster. The number is part of the evidence's id.
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
pub enum FraudKind {
    /// E1.
    #[codec(index = 0)]
    Equivocation = 0,
    /// E2.
    #[codec(index = 1)]
    BadReveal = 1,
    /// E6.
    #[codec(index = 2)]
    FalseReceipt = 2,
}

/// What a proof proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct Offence {
    /// Whose it is: the index in the attempt's roster.
    pub index: u16,
    /// Its session key.
    pub offender: PublicKey,
    /// What it did.
    pub kind: FraudKind,
    /// The evidence's id.
    pub id: Hash,
}

/// Why a proof is refused; in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum ProofError {
    /// An envelope is not of a signed kind, or not as long as its kind asks for.
    Malformed,
    /// The envelopes are not of one kind, or not a commit and a reveal.
    Kinds,
    /// An envelope is of another topic.
    Topic,
    /// The envelopes are of two members.
    Members,
    /// The envelopes' member is not in the roster.
    NotMember,
    /// The bodies are equal, or the reveal opens the commit.
    NotContradictory,
    /// A signature is not the member's.
    Signature,
    /// The proof is not about envelopes.
    NoEnvelopes,
}

/// What an envelope says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Commitments y and z.
    Commit {
        /// To salt and x.
        y: Hash,
        /// To w and the audit key.
        z: Hash,
    },
    /// The root of all commitments; all zero: it gives up.
    Echo(Hash),
    /// What y commits to.
    Reveal {
        /// The salt.
        salt: Hash,
        /// The number.
        x: Hash,
    },
}

/// A signed envelope (coinflip.md §1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The topic that it names.
    pub topic: Hash,
    /// The index in the attempt's roster that it names.
    pub index: u16,
    /// What it says.
    pub body: Body,
    /// The signature, not verified.
    pub signature: Signature,
}

impl Envelope {
    /// The envelope of which `bytes` are exactly the encoding.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let mut rest = bytes;
        let [kind] = take(&mut rest)?;
        let topic = take(&mut rest)?;
        let index = u16::from_le_bytes(take(&mut rest)?);
        let body = match kind {
            1 => Body::Commit {
                y: take(&mut rest)?,
                z: take(&mut rest)?,
            },
            2 => Body::Echo(take(&mut rest)?),
            3 => Body::Reveal {
                salt: take(&mut rest)?,
                x: take(&mut rest)?,
            },
            _ => return Err(ProofError::Malformed),
        };
        let signature = take(&mut rest)?;
        if !rest.is_empty() {
            return Err(ProofError::Malformed);
        }
        Ok(Self {
            topic,
            index,
            body,
            signature,
        })
    }

    /// Whether `key` signed it.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        let payload = match &self.body {
            Body::Commit { y, z } => commit_payload(&self.topic, key, y, z),
            Body::Echo(root) => echo_payload(&self.topic, key, root),
            Body::Reveal { salt, x } => reveal_payload(&self.topic, key, salt, x),
        };
        keys::verify(key, &payload, &self.signature)
    }
}

/// The first bytes of `rest`, which it loses.
fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ProofError> {
    let (first, others) = rest.split_first_chunk::<N>().ok_or(ProofError::Malformed)?;
    *rest = others;
    Ok(*first)
}

/// The id of a piece of evidence, `H(offender ‖ topic ‖ kind u8)`: one counts (coinflip.md §1). For
/// a false receipt the session's id is in the place of the topic (challenge.md §5).
pub fn evidence_id(offender: &PublicKey, topic: &Hash, kind: FraudKind) -> Hash {
    hash(&[offender, topic, &[kind as u8]])
}

/// Verifies a proof against the topic and the roster of the attempt that it names; its own id and
/// attempt are left to the caller. Costs two signatures and two hashes.
pub fn verify(topic: &Hash, roster: &[PublicKey], proof: &Proof) -> Result<Offence, ProofError> {
    let (kind, first, second) = match proof {
        Proof::Equivocation { a, b, .. } => (FraudKind::Equivocation, a, b),
        Proof::BadReveal { commit, reveal, .. } => (FraudKind::BadReveal, commit, reveal),
        Proof::FalseReceipt { .. } => return Err(ProofError::NoEnvelopes),
    };
    let (first, second) = (Envelope::parse(first)?, Envelope::parse(second)?);
    let right_kinds = if kind == FraudKind::BadReveal {
        matches!(
            (&first.body, &second.body),
            (Body::Commit { .. }, Body::Reveal { .. })
        )
    } else {
        core::mem::discriminant(&first.body) == core::mem::discriminant(&second.body)
    };
    if !right_kinds {
        return Err(ProofError::Kinds);
    }
    if first.topic != *topic || second.topic != *topic {
        return Err(ProofError::Topic);
    }
    if first.index != second.index {
        return Err(ProofError::Members);
    }
    let offender = roster
        .get(usize::from(first.index))
        .ok_or(ProofError::NotMember)?;
    let contradictory = match (&first.body, &second.body) {
        (Body::Commit { y, .. }, Body::Reveal { salt, x }) => {
            commitment_y(topic, offender, salt, x) != *y
        }
        (first, second) => first != second,
    };
    if !contradictory {
        return Err(ProofError::NotContradictory);
    }
    if !first.is_signed_by(offender) || !second.is_signed_by(offender) {
        return Err(ProofError::Signature);
    }
    Ok(Offence {
        index: first.index,
        offender: *offender,
        kind,
        id: evidence_id(offender, topic, kind),
    })
}
