//! E6: which receipts their own tree contradicts, and which it does not (challenge.md §5).

use datdot_primitives::{
    evidence::{evidence_id, FraudKind, Proof},
    false_receipt::{verify, FalseReceipt, FalseReceiptError},
    head::Head,
    multiproof::MultiproofError,
    receipt::{signable, Entry, Receipt, ReceiptError},
    tree::{self, Node, Root},
    Hash,
};
use sp_core::{ed25519, Pair};

fn hoster() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[2; 32])
}

fn leaf(index: u8) -> Node {
    Node {
        hash: tree::leaf_hash(&[index]),
        size: 1,
    }
}

/// A receipt over a feed of three chunks with these entries.
fn receipt(entries: &[(u64, Hash)]) -> Receipt {
    let roots = [
        Root {
            index: 1,
            node: tree::parent(&leaf(0), &leaf(1)).unwrap(),
        },
        Root {
            index: 4,
            node: leaf(2),
        },
    ];
    Receipt {
        feed: [3; 32],
        head: Head {
            fork: 0,
            length: 3,
            tree_hash: tree::tree_hash(&roots),
        },
        client: [4; 32],
        session: [5; 32],
        sequence: 6,
        opened: 7,
        issued: 8,
        bytes: 9,
        entries: entries
            .iter()
            .map(|&(index, leaf)| Entry { index, leaf })
            .collect(),
    }
}

/// What the tree has at chunk 1, against a receipt with these entries; spoilt by `change`.
fn against(
    entries: &[(u64, Hash)],
    change: fn(&mut Vec<u8>, &mut Hash, &mut Vec<Node>),
) -> Result<FalseReceipt, FalseReceiptError> {
    let body = receipt(entries).body();
    let signature = hoster().sign(&signable(&body)).0;
    let mut bytes = [body, signature.to_vec()].concat();
    let mut right = leaf(1).hash;
    let mut nodes = vec![leaf(0), leaf(2)];
    change(&mut bytes, &mut right, &mut nodes);
    verify(&Proof::FalseReceipt {
        hoster: hoster().public().0,
        receipt: bytes.try_into().unwrap(),
        index: 1,
        leaf: right,
        sizes: vec![1].try_into().unwrap(),
        nodes: nodes.try_into().unwrap(),
    })
}

fn honest(entries: &[(u64, Hash)]) -> Result<FalseReceipt, FalseReceiptError> {
    against(entries, |_, _, _| {})
}

const WRONG: Hash = [9; 32];

#[test]
fn a_leaf_that_the_receipt_s_own_tree_has_not_is_proven() {
    let proven = FalseReceipt {
        hoster: hoster().public().0,
        feed: [3; 32],
        session: [5; 32],
        issued: 8,
        id: evidence_id(&hoster().public().0, &[5; 32], FraudKind::FalseReceipt),
    };
    let others = [(0, leaf(0).hash), (2, leaf(2).hash)];
    let with = |entry| [others[0], entry, others[1]];
    assert_eq!(honest(&with((1, WRONG))), Ok(proven));
    // Named twice, once rightly.
    assert_eq!(honest(&[(1, leaf(1).hash), (1, WRONG)]), Ok(proven));
}

#[test]
fn what_the_tree_has_or_the_receipt_does_not_name_proves_nothing() {
    use FalseReceiptError as E;
    let right = (1, leaf(1).hash);
    assert_eq!(honest(&[right]), Err(E::NotContradictory));
    assert_eq!(honest(&[right, right]), Err(E::NotContradictory));
    // A false leaf elsewhere needs a proof of that.
    assert_eq!(honest(&[right, (2, WRONG)]), Err(E::NotContradictory));
    assert_eq!(honest(&[(0, WRONG), (2, WRONG)]), Err(E::NotNamed));
    assert_eq!(honest(&[]), Err(E::NotNamed));
}

#[test]
fn each_part_of_a_proof_counts() {
    use FalseReceiptError as E;
    let entries = [(1, WRONG)];
    assert_eq!(
        against(&entries, |_, leaf, _| leaf[0] ^= 1),
        Err(E::WrongTreeHash)
    );
    assert_eq!(
        against(&entries, |_, _, nodes| nodes[0].size += 1),
        Err(E::WrongTreeHash)
    );
    assert_eq!(
        against(&entries, |_, _, nodes| nodes.truncate(1)),
        Err(E::Multiproof(MultiproofError::TooFewNodes))
    );
    assert_eq!(
        against(&entries, |receipt, _, _| receipt[40] ^= 1),
        Err(E::Receipt(ReceiptError::WrongSignature))
    );
    assert_eq!(
        against(&entries, |receipt, _, _| receipt[0] ^= 1),
        Err(E::Receipt(ReceiptError::UnknownVersion))
    );
    let envelopes = Proof::Equivocation {
        id: 0,
        attempt: 0,
        a: Default::default(),
        b: Default::default(),
    };
    assert_eq!(verify(&envelopes), Err(E::NoReceipt));
}
