//! E6: a receipt that its own tree contradicts (challenge.md §5).
//!
//! A hoster looks each entry of a receipt up in the tree of the tree hash that it signs, so an
//! honest one never signs another leaf than that tree has. The author's heads play no part: an
//! author may rewrite a feed, and sign what it likes.

use crate::{
    evidence::{evidence_id, FraudKind, Proof},
    multiproof::{self, MultiproofError},
    receipt::{Receipt, ReceiptError},
    Hash, PublicKey,
};
use codec::{Decode, Encode};
use scale_info::TypeInfo;

/// What a proof of a false receipt proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct FalseReceipt {
    /// The Noise key that signed it.
    pub hoster: PublicKey,
    /// The feed that it is for.
    pub feed: Hash,
    /// The session that it is from.
    pub session: Hash,
    /// When it was signed, milliseconds since 1970 by the hoster's clock.
    pub issued: u64,
    /// The evidence's id: one counts for each hoster and session.
    pub id: Hash,
}

/// Why a proof is refused; in the order of the checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub enum FalseReceiptError {
    /// The proof is about envelopes.
    NoReceipt,
    /// The receipt cannot be read, or the hoster did not sign it.
    Receipt(ReceiptError),
    /// The receipt does not name the chunk.
    NotNamed,
    /// The receipt has the proven leaf.
    NotContradictory,
    /// The multiproof cannot be computed.
    Multiproof(MultiproofError),
    /// The multiproof gives another tree hash than the receipt's.
    WrongTreeHash,
}

/// Verifies a proof by itself; how old it may be and whether it is known is left to the caller.
/// Costs one signature, 64 hashes for the leaf, and one for each root of the tree.
pub fn verify(proof: &Proof) -> Result<FalseReceipt, FalseReceiptError> {
    let Proof::FalseReceipt {
        hoster,
        receipt,
        index,
        leaf,
        sizes,
        nodes,
    } = proof
    else {
        return Err(FalseReceiptError::NoReceipt);
    };
    let receipt = Receipt::open(receipt, hoster).map_err(FalseReceiptError::Receipt)?;
    let mut named = receipt
        .entries
        .iter()
        .filter(|entry| entry.index == *index)
        .peekable();
    if named.peek().is_none() {
        return Err(FalseReceiptError::NotNamed);
    }
    if named.all(|entry| entry.leaf == *leaf) {
        return Err(FalseReceiptError::NotContradictory);
    }
    let leaves = [(*index, *leaf)];
    let tree_hash = multiproof::tree_hash_of(receipt.head.length, &leaves, sizes, nodes)
        .map_err(FalseReceiptError::Multiproof)?;
    if tree_hash != receipt.head.tree_hash {
        return Err(FalseReceiptError::WrongTreeHash);
    }
    Ok(FalseReceipt {
        hoster: *hoster,
        feed: receipt.feed,
        session: receipt.session,
        issued: receipt.issued,
        id: evidence_id(hoster, &receipt.session, FraudKind::FalseReceipt),
    })
}
