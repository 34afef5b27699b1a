//! Properties that hold for all inputs, and inputs that are refused.

use datdot_primitives::{
    coinflip::{self, AnchorError, Opening},
    draws::{self, MomentError, Opened, Schedule, Window},
    hash::hash,
    head::Head,
    keys::{check_public_key, KeyError},
    multiproof::{tree_hash_of, MultiproofError},
    prng::Prng,
    receipt::{self, Entry, Receipt, ReceiptError},
    tree::{self, Node, Root, TreeError},
    Hash,
};
use proptest::{collection, prelude::*, sample};
use sp_core::{ed25519, Pair};
use std::{collections::BTreeSet, num::NonZeroU64};

/// The node over `count` leaves from `start` on, computed without the code under test's recursion.
fn node_over(leaves: &[Node]) -> Node {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| tree::parent(&pair[0], &pair[1]).unwrap())
            .collect();
    }
    level[0]
}

fn full_tree_hash(leaves: &[Node]) -> Hash {
    let roots: Vec<Root> = tree::runs(leaves.len() as u64)
        .unwrap()
        .into_iter()
        .map(|run| Root {
            index: run.root_index(),
            node: node_over(&leaves[run.start as usize..run.end() as usize]),
        })
        .collect();
    tree::tree_hash(&roots)
}

/// The nodes that a proof of `chosen` needs, in order.
fn proof_nodes(leaves: &[Node], chosen: &BTreeSet<u64>) -> Vec<Node> {
    let mut nodes = Vec::new();
    let mut pending = tree::runs(leaves.len() as u64).unwrap();
    pending.reverse();
    while let Some(run) = pending.pop() {
        if chosen.range(run.start..run.end()).next().is_none() {
            nodes.push(node_over(&leaves[run.start as usize..run.end() as usize]));
        } else if let Some((left, right)) = run.halves() {
            pending.extend([right, left]);
        }
    }
    nodes
}

#[derive(Clone, Debug)]
struct Proof {
    length: u64,
    leaves: Vec<(u64, Hash)>,
    sizes: Vec<u32>,
    nodes: Vec<Node>,
    tree_hash: Hash,
}

impl Proof {
    fn check(&self) -> Result<Hash, MultiproofError> {
        tree_hash_of(self.length, &self.leaves, &self.sizes, &self.nodes)
    }
}

fn proofs() -> impl Strategy<Value = Proof> {
    (1usize..200)
        .prop_flat_map(|length| {
            let sizes = collection::vec(0u32..100_000, length);
            let indices: Vec<u64> = (0..length as u64).collect();
            (sizes, sample::subsequence(indices, 1..=length.min(40)))
        })
        .prop_map(|(sizes, chosen)| {
            let leaves: Vec<Node> = sizes
                .iter()
                .enumerate()
                .map(|(i, size)| Node {
                    hash: tree::leaf_hash(&i.to_le_bytes()),
                    size: u64::from(*size),
                })
                .collect();
            let chosen: BTreeSet<u64> = chosen.into_iter().collect();
            Proof {
                length: leaves.len() as u64,
                leaves: chosen
                    .iter()
                    .map(|&i| (i, leaves[i as usize].hash))
                    .collect(),
                sizes: chosen.iter().map(|&i| sizes[i as usize]).collect(),
                nodes: proof_nodes(&leaves, &chosen),
                tree_hash: full_tree_hash(&leaves),
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_multiproof_gives_the_full_trees_hash(proof in proofs()) {
        prop_assert_eq!(proof.check(), Ok(proof.tree_hash));
    }

    #[test]
    fn a_flipped_bit_gives_another_hash(
        mut proof in proofs(),
        place in any::<sample::Index>(),
        bit in 0usize..256,
    ) {
        let at = place.index(proof.leaves.len() + proof.nodes.len());
        let hash = if at < proof.leaves.len() {
            &mut proof.leaves[at].1
        } else {
            let at = at - proof.leaves.len();
            &mut proof.nodes[at].hash
        };
        hash[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(proof.check(), Ok(proof.tree_hash));
    }

    #[test]
    fn everything_of_a_multiproof_is_used_up(proof in proofs(), at in any::<sample::Index>()) {
        let spare = Node { hash: [7; 32], size: 1 };
        let mut longer = proof.clone();
        longer.nodes.insert(at.index(proof.nodes.len() + 1), spare);
        prop_assert_eq!(longer.check(), Err(MultiproofError::TooManyNodes));
        if !proof.nodes.is_empty() {
            let mut shorter = proof.clone();
            shorter.nodes.remove(at.index(proof.nodes.len()));
            prop_assert_eq!(shorter.check(), Err(MultiproofError::TooFewNodes));
        }
        let mut sizes = proof.clone();
        sizes.sizes.push(0);
        prop_assert_eq!(sizes.check(), Err(MultiproofError::SizeCount));
        let mut repeated = proof.clone();
        let again = at.index(proof.leaves.len());
        repeated.leaves.insert(again, proof.leaves[again]);
        repeated.sizes.insert(again, proof.sizes[again]);
        prop_assert_eq!(repeated.check(), Err(MultiproofError::NotAscending));
        let mut beyond = proof.clone();
        beyond.leaves.push((proof.length, [0; 32]));
        beyond.sizes.push(0);
        prop_assert_eq!(beyond.check(), Err(MultiproofError::OutOfRange));
    }

    #[test]
    fn full_roots_cover_the_feed(length in 0u64..=tree::MAX_LENGTH) {
        let runs = tree::runs(length).unwrap();
        let mut start = 0;
        let mut before = u64::MAX;
        for run in &runs {
            prop_assert_eq!(run.start, start);
            prop_assert!(run.count.is_power_of_two() && run.count < before);
            (start, before) = (run.end(), run.count);
        }
        prop_assert_eq!(start, length);
    }

    #[test]
    fn a_roster_is_drawn_without_repetition(
        seed: Hash,
        eligible in 0u32..300,
        count in 0u32..=draws::MAX_ATTESTORS,
        skip in collection::btree_set(0u32..300, 0..=2),
    ) {
        let drawn = draws::draw_roster(seed, eligible, count, |place| skip.contains(&place));
        let free = eligible - skip.range(..eligible).count() as u32;
        match drawn {
            Some(drawn) => {
                prop_assert_eq!(drawn.len(), count as usize);
                let distinct: BTreeSet<u32> = drawn.iter().copied().collect();
                prop_assert_eq!(distinct.len(), drawn.len());
                prop_assert!(distinct.iter().all(|p| *p < eligible && !skip.contains(p)));
            }
            None => prop_assert!(free < count),
        }
    }

    /// The sparse draw takes the same places as a whole Fisher–Yates, read from the top.
    #[test]
    fn a_roster_is_the_top_of_a_permutation(seed: Hash, eligible in 1u32..100, count in 1u32..32) {
        let permutation = Prng::new(seed, "roster").permutation(eligible);
        let count = count.min(eligible);
        let top: Vec<u32> = permutation.into_iter().rev().take(count as usize).collect();
        prop_assert_eq!(draws::draw_roster(seed, eligible, count, |_| false), Some(top));
    }

    #[test]
    fn chunks_are_drawn_without_repetition(w: Hash, length: u64, count in 0u32..=100) {
        let opened = Opened { topic: [1; 32], result: [2; 32], session_key: [3; 32], w };
        for length in [length, length % 150] {
            let drawn = opened.drawn_chunks(length, count);
            prop_assert_eq!(drawn.len() as u64, u64::from(count).min(length));
            prop_assert!(drawn.iter().all(|chunk| *chunk < length));
            let distinct: BTreeSet<u64> = drawn.iter().copied().collect();
            prop_assert_eq!(distinct.len(), drawn.len());
        }
    }

    #[test]
    fn moments_stay_in_window_and_slot(
        u: u64,
        start in 0u64..1 << 60,
        width in 1u64..draws::MAX_WIDTH_MS,
        active in 1u32..=draws::MAX_ATTESTORS,
        slot: sample::Index,
        (num, den) in (1u32..=u32::MAX).prop_flat_map(|den| (0..=den / 2, Just(den))),
    ) {
        let window = Window { start, width };
        let uniform = draws::moment_uniform(u, window).unwrap();
        prop_assert!((start..start + width).contains(&uniform));
        let slot = slot.index(active as usize) as u32;
        let moment = draws::moment_slots(u, window, num, den, slot, active).unwrap();
        let from = u128::from(width) * u128::from(slot) / u128::from(active);
        let to = u128::from(width) * u128::from(slot + 1) / u128::from(active);
        prop_assert!((from..=to).contains(&u128::from(moment - start)));
        prop_assert!(moment < start + width);
    }

    #[test]
    fn a_receipt_reads_back(receipt in receipts()) {
        let bytes = [receipt.body(), vec![9; 64]].concat();
        prop_assert!(bytes.len() <= receipt::MAX_BYTES as usize);
        prop_assert_eq!(Receipt::parse(&bytes), Ok((receipt, [9; 64])));
    }

    #[test]
    fn a_receipt_of_another_length_is_refused(receipt in receipts(), cut in any::<sample::Index>()) {
        let mut bytes = [receipt.body(), vec![9; 64]].concat();
        prop_assert!(Receipt::parse(&bytes[..cut.index(bytes.len())]).is_err());
        bytes.push(0);
        prop_assert_eq!(Receipt::parse(&bytes), Err(ReceiptError::WrongLength));
    }

    #[test]
    fn a_flipped_bit_of_a_receipt_is_refused(receipt in receipts(), place: sample::Index) {
        let hoster = ed25519::Pair::from_seed(&[5; 32]);
        let signature = hoster.sign(&receipt::signable(&receipt.body()));
        let mut bytes = [receipt.body(), signature.0.to_vec()].concat();
        let key = hoster.public().0;
        prop_assert_eq!(Receipt::open(&bytes, &key), Ok(receipt));
        let bit = place.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Receipt::open(&bytes, &key).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_no_receipt(bytes in collection::vec(any::<u8>(), 0..7_000)) {
        prop_assert!(Receipt::open(&bytes, &[1; 32]).is_err());
    }
}

fn receipts() -> impl Strategy<Value = Receipt> {
    let entry = (any::<u64>(), any::<Hash>()).prop_map(|(index, leaf)| Entry { index, leaf });
    let head =
        (any::<u64>(), any::<u64>(), any::<Hash>()).prop_map(|(fork, length, tree_hash)| Head {
            fork,
            length,
            tree_hash,
        });
    (
        (any::<Hash>(), any::<Hash>(), any::<Hash>(), head),
        (any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>()),
        collection::vec(entry, 0..=receipt::MAX_ENTRIES as usize),
    )
        .prop_map(
            |((feed, client, session, head), numbers, entries)| Receipt {
                feed,
                head,
                client,
                session,
                sequence: numbers.0,
                opened: numbers.1,
                issued: numbers.2,
                bytes: numbers.3,
                entries,
            },
        )
}

#[test]
fn too_many_entries_are_refused() {
    let entry = Entry {
        index: 0,
        leaf: [0; 32],
    };
    let receipt = Receipt {
        feed: [0; 32],
        head: Head {
            fork: 0,
            length: 0,
            tree_hash: [0; 32],
        },
        client: [0; 32],
        session: [0; 32],
        sequence: 0,
        opened: 0,
        issued: 0,
        bytes: 0,
        entries: vec![entry; receipt::MAX_ENTRIES as usize + 1],
    };
    let mut bytes = [receipt.body(), vec![0; 64]].concat();
    assert_eq!(Receipt::parse(&bytes), Err(ReceiptError::TooManyEntries));
    bytes[0] = 2;
    assert_eq!(Receipt::parse(&bytes), Err(ReceiptError::UnknownVersion));
    // One fewer is the most.
    let mut receipt = receipt;
    receipt.entries.pop();
    let bytes = [receipt.body(), vec![0; 64]].concat();
    assert_eq!(Receipt::parse(&bytes), Ok((receipt, [0; 64])));
}

#[test]
fn sizes_and_lengths_do_not_overflow() {
    let node = Node {
        hash: [0; 32],
        size: u64::MAX,
    };
    let one = Node {
        hash: [0; 32],
        size: 1,
    };
    assert_eq!(tree::parent(&node, &one), Err(TreeError::SizeOverflow));
    assert_eq!(tree::parent(&one, &node), Err(TreeError::SizeOverflow));
    assert_eq!(
        tree_hash_of(2, &[(0, [0; 32])], &[1], &[node]),
        Err(MultiproofError::Tree(TreeError::SizeOverflow)),
    );
    assert_eq!(
        tree::full_roots(tree::MAX_LENGTH + 1),
        Err(TreeError::TooLong)
    );
    assert_eq!(tree::full_roots(tree::MAX_LENGTH).unwrap().len(), 63);
    let leaf = (tree::MAX_LENGTH - 1, [0; 32]);
    let nodes = [one; 62];
    assert!(tree_hash_of(tree::MAX_LENGTH, &[leaf], &[1], &nodes).is_ok());
}

#[test]
fn no_number_is_too_large_below_a_power_of_two() {
    for bound in [1, 2, 1 << 32, 1 << 63] {
        let mut raw = Prng::new([7; 32], "chunks");
        let mut bounded = Prng::new([7; 32], "chunks");
        for _ in 0..64 {
            let below = bounded.below(NonZeroU64::new(bound).unwrap());
            assert_eq!(below, raw.next_u64() % bound);
        }
    }
}

#[test]
fn moments_that_cannot_be_are_refused() {
    let window = Window {
        start: 0,
        width: draws::MAX_WIDTH_MS,
    };
    assert_eq!(draws::moment_uniform(0, window), Err(MomentError::Window));
    let late = Window {
        start: u64::MAX,
        width: 1 << 40,
    };
    assert_eq!(
        draws::moment_uniform(u64::MAX, late),
        Err(MomentError::Window)
    );
    let window = Window { start: 0, width: 1 };
    assert_eq!(
        draws::moment_slots(0, window, 1, 1, 0, 1),
        Err(MomentError::Schedule)
    );
    assert_eq!(
        draws::moment_slots(0, window, 0, 0, 0, 1),
        Err(MomentError::Schedule)
    );
    // Not even if this moment, in the middle of its slot, has no jitter.
    assert_eq!(
        draws::moment_slots(1 << 63, window, 1, 1, 0, 1),
        Err(MomentError::Schedule)
    );
    assert_eq!(
        draws::moment_slots(0, window, 1, 2, 1, 1),
        Err(MomentError::Place)
    );
    assert_eq!(
        draws::moment_slots(0, window, 1, 2, 0, 33),
        Err(MomentError::Place)
    );
    let opened = Opened {
        topic: [0; 32],
        result: [0; 32],
        session_key: [0; 32],
        w: [0; 32],
    };
    let slots = Schedule::Slots { num: 1, den: 2 };
    assert_eq!(opened.moment(slots, window, 0, 0), Err(MomentError::Place));
    assert_eq!(opened.moment(slots, window, 3, 3), Err(MomentError::Place));
}

/// Canonical encodings of all points of small order (RFC 8032's curve has eight).
const SMALL_ORDER: [&str; 8] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
];

fn key(text: &str) -> Hash {
    hex::decode(text).unwrap().try_into().unwrap()
}

#[test]
fn keys_of_small_or_mixed_order_are_refused() {
    use curve25519_dalek::{constants::EIGHT_TORSION, edwards::CompressedEdwardsY};

    for text in SMALL_ORDER {
        assert_eq!(
            check_public_key(&key(text)),
            Err(KeyError::SmallOrder),
            "{text}"
        );
    }
    let honest = ed25519::Pair::from_seed(&[1; 32]).public().0;
    assert_eq!(check_public_key(&honest), Ok(()));
    let point = CompressedEdwardsY(honest).decompress().unwrap();
    for torsion in &EIGHT_TORSION[1..] {
        let mixed = (point + torsion).compress().0;
        assert_eq!(check_public_key(&mixed), Err(KeyError::MixedOrder));
    }
}

#[test]
fn keys_that_are_no_canonical_point_are_refused() {
    // y = p, p + 1 and 2^255 − 1, and x = 0 with its sign set.
    for text in [
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ] {
        assert_eq!(
            check_public_key(&key(text)),
            Err(KeyError::NotCanonical),
            "{text}"
        );
    }
    assert_eq!(
        check_public_key(&key(&format!("02{}", "00".repeat(31)))),
        Err(KeyError::NotOnCurve)
    );
}

struct Anchor {
    topic: Hash,
    roster: Vec<Hash>,
    openings: Vec<Opening>,
    echoes: Vec<[u8; 64]>,
}

impl Anchor {
    fn honest() -> Self {
        let mut pairs: Vec<_> = (1..=4)
            .map(|i| ed25519::Pair::from_seed(&[i; 32]))
            .collect();
        pairs.sort_by_key(|pair| pair.public().0);
        let roster: Vec<Hash> = pairs.iter().map(|pair| pair.public().0).collect();
        let topic = coinflip::topic(&[1; 32], 2, &[3; 32], 0, &roster);
        let openings: Vec<Opening> = roster
            .iter()
            .map(|key| Opening {
                z: hash(&[key, b"z"]),
                salt: hash(&[key, b"s"]),
                x: hash(&[key]),
            })
            .collect();
        let root = Self::root(&topic, &roster, &openings);
        let echoes = pairs
            .iter()
            .zip(&roster)
            .map(|(pair, key)| pair.sign(&coinflip::echo_payload(&topic, key, &root)).0)
            .collect();
        Self {
            topic,
            roster,
            openings,
            echoes,
        }
    }

    fn root(topic: &Hash, roster: &[Hash], openings: &[Opening]) -> Hash {
        let commitments: Vec<_> = roster
            .iter()
            .zip(openings)
            .map(|(key, o)| (coinflip::commitment_y(topic, key, &o.salt, &o.x), o.z))
            .collect();
        coinflip::root(topic, &commitments)
    }

    fn check(&self) -> Result<coinflip::Anchored, AnchorError> {
        coinflip::verify_anchor(&self.topic, &self.roster, &self.openings, &self.echoes)
    }
}

#[test]
fn an_anchor_with_any_part_changed_is_refused() {
    let root = Anchor::honest().check().unwrap().root;
    assert_eq!(
        root,
        Anchor::root(
            &Anchor::honest().topic,
            &Anchor::honest().roster,
            &Anchor::honest().openings
        )
    );
    type Change = fn(&mut Anchor);
    let changes: [(Change, AnchorError); 8] = [
        (|a| a.openings[2].x[0] ^= 1, AnchorError::WrongEcho(0)),
        (|a| a.openings[2].salt[0] ^= 1, AnchorError::WrongEcho(0)),
        (|a| a.openings[2].z[0] ^= 1, AnchorError::WrongEcho(0)),
        (|a| a.topic[0] ^= 1, AnchorError::WrongEcho(0)),
        (|a| a.echoes[3][0] ^= 1, AnchorError::WrongEcho(3)),
        (|a| a.echoes.swap(1, 2), AnchorError::WrongEcho(1)),
        (
            |a| {
                a.echoes.pop();
            },
            AnchorError::EchoCount,
        ),
        (
            |a| {
                a.openings.pop();
            },
            AnchorError::OpeningCount,
        ),
    ];
    for (change, error) in changes {
        let mut anchor = Anchor::honest();
        change(&mut anchor);
        assert_eq!(anchor.check(), Err(error));
    }
}

#[test]
fn giving_up_is_no_echo() {
    let mut anchor = Anchor::honest();
    let pair = (1..=4)
        .map(|i| ed25519::Pair::from_seed(&[i; 32]))
        .find(|pair| pair.public().0 == anchor.roster[0])
        .unwrap();
    let payload = coinflip::echo_payload(&anchor.topic, &anchor.roster[0], &[0; 32]);
    anchor.echoes[0] = pair.sign(&payload).0;
    assert_eq!(anchor.check(), Err(AnchorError::WrongEcho(0)));
}
