//! A target for each reader and check of `datdot-primitives`: none may panic, whatever the bytes,
//! what is read back is what was written, and of something good with a change in it only that is
//! taken which says the same.
//!
//! The bytes are used twice: as they are, and as a list of changes to the encoding of something good
//! (a whole challenge on the runtime of the tests), so that the later checks are reached too.

use codec::{Decode, DecodeAll, Encode};
use datdot_primitives::{
    answer::{self, Answer, Demanded},
    coinflip::{self, Opening},
    evidence::{self, Envelope, Offence, Proof},
    false_receipt::{self, FalseReceipt},
    hash::hash,
    head::{self, Feed, FeedKind, Head},
    multiproof,
    receipt::Receipt,
    report::{self, Checked, Expected, Report},
    tree::{self, Node, Root},
    Hash, PublicKey, Signature,
};
use pallet_performance::{mock::*, Challenges, Flips, Timing};
use std::sync::OnceLock;

/// Something good of each kind, and what the chain knows about it.
struct Good {
    report: Report,
    expected: Expected,
    checked: Checked,
    receipt: Vec<u8>,
    hoster: PublicKey,
    topic: Hash,
    roster: Vec<PublicKey>,
    openings: Vec<Opening>,
    echoes: Vec<Signature>,
    equivocation: Proof,
    offence: Offence,
    bad_reveal: Proof,
    false_receipt: Proof,
    convicted: FalseReceipt,
    answer: Answer,
    rewritten: Answer,
    demanded: Demanded,
    head: Head,
    head_signature: Signature,
}

/// Made once: the chain of the tests as far as reports.
fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| new_test_ext(Timing::development()).execute_with(make_good))
}

fn make_good() -> Good {
    let id = reporting();
    let challenge = Challenges::<Test>::get(id).expect("it is there");
    let flip = Flips::<Test>::get(id).expect("it is anchored");
    let draft = draft(id, 0);
    let receipt = signed_receipt(draft.receipt.body(), &noise_key());
    let mut lie = draft.receipt.clone();
    let index = lie.entries[3].index;
    lie.entries[3].leaf[0] ^= 1;
    let (sizes, nodes) = pallet_performance::mock::multiproof(LENGTH, &[index]);
    let false_receipt = Proof::FalseReceipt {
        hoster: public(&noise_key()),
        receipt: signed_receipt(lie.body(), &noise_key())
            .try_into()
            .expect("it fits"),
        index,
        leaf: leaf(index).hash,
        sizes: sizes.try_into().expect("it fits"),
        nodes: nodes.try_into().expect("it fits"),
    };
    let report = draft.seal(id, 0);
    let checked = report::check(&report, &expected(id, 0), |_| false).expect("it is good");
    let chunk = drawn(id, 0);
    let members = challenge.roster.iter();
    let roster: Vec<PublicKey> = members.map(|member| member.session_key).collect();
    let (openings, echoes) = anchor(id);
    let equivocation = equivocation(id, 0, 2);
    let offence = evidence::verify(&flip.topic, &roster, &equivocation).expect("it is one");
    let convicted = false_receipt::verify(&false_receipt).expect("it is one");
    let head = mock_head();
    Good {
        report,
        expected: expected(id, 0),
        checked,
        receipt,
        hoster: public(&noise_key()),
        topic: flip.topic,
        roster,
        openings: openings.into_inner(),
        echoes: echoes.into_inner(),
        bad_reveal: bad_reveal(id, 1),
        equivocation,
        offence,
        false_receipt,
        convicted,
        answer: chunk_answer(chunk),
        rewritten: rewritten_answer(2),
        demanded: Demanded {
            feed: challenge.feed,
            fork: challenge.fork,
            length: challenge.length,
            chunk,
        },
        head,
        head_signature: sign(&author(), &feed().signable(&head)),
    }
}

/// The encodings of everything good, and bytes that change one bit or cut it off.
pub fn seeds() -> Vec<Vec<u8>> {
    let good = good();
    let proofs = [&good.equivocation, &good.bad_reveal, &good.false_receipt];
    let answers = [&good.answer, &good.rewritten];
    let mut seeds = vec![
        vec![1, 0, 1],
        vec![1, 0, 0],
        good.report.encode(),
        good.receipt.clone(),
        manifest().to_vec(),
        (good.head, good.head_signature).encode(),
        (&good.openings, &good.echoes).encode(),
    ];
    seeds.extend(proofs.map(Encode::encode));
    seeds.extend(answers.map(Encode::encode));
    seeds
}

fn mock_head() -> Head {
    pallet_performance::mock::head(LENGTH)
}

/// The encoding of something with the changes that the bytes say: place (two bytes) and bits to
/// flip, up to eight times; a change of 0 cuts it off there instead, or lengthens it.
fn changed(encoded: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = encoded.to_vec();
    for change in data.chunks_exact(3).take(8) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        match bytes.len() {
            0 => bytes.push(change[2]),
            length => match change[2] {
                0 if at < length => bytes.truncate(at),
                0 => bytes.extend([0; 9]),
                bits => bytes[at % length] ^= bits,
            },
        }
    }
    bytes
}

/// What is decoded of something good with changes in it, unless the changes are none or it cannot
/// be decoded.
fn variant<Thing: Encode + Decode + PartialEq>(good: &Thing, data: &[u8]) -> Option<Thing> {
    let bytes = changed(&good.encode(), data);
    let thing = Thing::decode_all(&mut &bytes[..]).ok()?;
    // Each thing has one encoding.
    assert_eq!(thing.encode(), bytes);
    (thing != *good).then_some(thing)
}

/// Reports: reading is strict, and no other report than the attestor's own passes.
pub fn report(data: &[u8]) {
    if let Some(bytes) = report::reencode(data) {
        assert_eq!(bytes, data, "a report with two encodings");
    }
    let good = good();
    if let Ok(report) = Report::decode(&mut &data[..]) {
        let passed = report::check(&report, &good.expected, |_| true);
        assert!(passed.is_err() || report == good.report);
    }
    // The signature over the head is not bound by the audit key alone: with it as it was, too.
    if let Some(other) = variant(&good.report, data) {
        let passed = report::check(&other, &good.expected, |_| false);
        assert!(passed.is_err(), "another report passed: {other:?}");
    }
    // The right report before a chain that knows other things.
    if let Some(other) = variant(&good.expected, data) {
        if let Ok(checked) = report::check(&good.report, &other, |_| false) {
            assert_eq!(checked.head, good.checked.head);
        }
    }
}

/// Receipts: reading and writing agree, and no other bytes than the hoster's are opened.
pub fn receipt(data: &[u8]) {
    let good = good();
    for bytes in [data.to_vec(), changed(&good.receipt, data)] {
        if let Ok((receipt, signature)) = Receipt::parse(&bytes) {
            assert_eq!([receipt.body(), signature.to_vec()].concat(), bytes);
            for entry in &receipt.entries {
                assert!(receipt.leaf(entry.index).is_some());
            }
        }
        if Receipt::open(&bytes, &good.hoster).is_ok() {
            assert_eq!(bytes, good.receipt, "a forged receipt");
        }
    }
}

/// Evidence: whatever is proven, the offender signed both of its sides.
pub fn evidence(data: &[u8]) {
    let good = good();
    let _ = Envelope::parse(data);
    if let Ok(proof) = Proof::decode(&mut &data[..]) {
        let proven = evidence::verify(&good.topic, &good.roster, &proof);
        let known = [&good.equivocation, &good.bad_reveal].map(sides);
        assert!(proven.is_err() || known.contains(&sides(&proof)));
    }
    for proof in [&good.equivocation, &good.bad_reveal] {
        let whole = evidence::verify(&good.topic, &good.roster, proof);
        let offence = whole.expect("it is one");
        if let Some(other) = variant(proof, data) {
            // Challenge and attempt are the caller's; the signed bytes are not.
            if let Ok(proven) = evidence::verify(&good.topic, &good.roster, &other) {
                assert_eq!(proven, offence, "somebody else was blamed");
                assert_eq!(sides(&other), sides(proof), "what nobody signed");
            }
        }
    }
    assert_eq!(good.offence.offender, good.roster[2]);
}

/// The envelopes of a proof.
fn sides(proof: &Proof) -> Option<(Vec<u8>, Vec<u8>)> {
    match proof {
        Proof::Equivocation { a, b, .. } => Some((a.to_vec(), b.to_vec())),
        Proof::BadReveal { commit, reveal, .. } => Some((commit.to_vec(), reveal.to_vec())),
        Proof::FalseReceipt { .. } => None,
    }
}

/// Feeds and heads: a feed's key follows from its manifest, and a head is its signer's or none.
pub fn head(data: &[u8]) {
    let good = good();
    for manifest in [data.to_vec(), changed(&manifest(), data)] {
        let key = head::manifest_key(&manifest);
        if let Ok(feed) = Feed::new(key, Some(&manifest[..])) {
            assert_eq!(feed.kind, FeedKind::Manifest);
            let mut namespace = Hash::default();
            namespace.copy_from_slice(&manifest[6..38]);
            let written = head::single_signer_manifest(&namespace, &feed.signer);
            assert_eq!(written.to_vec(), manifest);
            let mut other = key;
            other[0] ^= 1;
            assert!(Feed::new(other, Some(&manifest[..])).is_err());
        }
    }
    let mut key = Hash::default();
    for (byte, from) in key.iter_mut().zip(data) {
        *byte = *from;
    }
    if let Ok(feed) = Feed::new(key, None) {
        assert_eq!((feed.signer, feed.kind), (key, FeedKind::Compat));
        assert!(!feed.verify_head(&good.head, &good.head_signature));
    }
    if let Some((other, signature)) = variant(&(good.head, good.head_signature), data) {
        assert!(!feed().verify_head(&other, &signature), "a forged head");
    }
    assert!(feed().verify_head(&good.head, &good.head_signature));
}

/// The leaves of a feed that the bytes describe, at most 64.
fn leaves(data: &[u8]) -> Vec<Node> {
    let leaf = |(at, byte): (usize, &u8)| Node {
        hash: hash(&[&[*byte], &(at as u64).to_le_bytes()]),
        size: u64::from(*byte),
    };
    data.iter().take(64).enumerate().map(leaf).collect()
}

/// The node over all of these leaves, a power of two of them.
fn over(leaves: &[Node]) -> Node {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len() / 2);
            tree::parent(&over(left), &over(right)).expect("the sizes are small")
        }
    }
}

/// Multiproofs: what is taken has its form; an honest one gives the feed's hash, and with another
/// leaf, node or length another one.
pub fn multiproof(data: &[u8]) {
    type Parts = (u64, Vec<(u64, Hash)>, Vec<u32>, Vec<Node>);
    if let Ok((length, leaves, sizes, nodes)) = Parts::decode(&mut &data[..]) {
        if multiproof::tree_hash_of(length, &leaves, &sizes, &nodes).is_ok() {
            assert_eq!(leaves.len(), sizes.len());
            assert!(leaves.windows(2).all(|pair| pair[0].0 < pair[1].0));
            assert!(leaves.last().is_none_or(|leaf| leaf.0 < length));
            assert!(nodes.len() <= 64 * (leaves.len() + 1));
        }
    }
    let Some((choice, rest)) = data.split_first_chunk::<8>() else {
        return;
    };
    let all = leaves(rest);
    let chosen = u64::from_le_bytes(*choice);
    let proved = |index: usize| chosen & (1 << index) != 0;
    let length = all.len() as u64;
    let Ok(runs) = tree::runs(length) else {
        panic!("it is short");
    };
    let mut nodes = Vec::new();
    let mut roots = Vec::new();
    let mut pending: Vec<tree::Run> = runs.iter().rev().copied().collect();
    while let Some(run) = pending.pop() {
        let range = run.start as usize..run.end() as usize;
        if !range.clone().any(proved) {
            nodes.push(over(&all[range]));
        } else if let Some((left, right)) = run.halves() {
            pending.extend([right, left]);
        }
    }
    for run in runs {
        roots.push(Root {
            index: run.root_index(),
            node: over(&all[run.start as usize..run.end() as usize]),
        });
    }
    let tree_hash = tree::tree_hash(&roots);
    let picked = (0..all.len()).filter(|index| proved(*index));
    let picked: Vec<(u64, Hash)> = picked
        .map(|index| (index as u64, all[index].hash))
        .collect();
    let sizes: Vec<u32> = picked
        .iter()
        .map(|(index, _)| all[*index as usize].size as u32)
        .collect();
    let given = multiproof::tree_hash_of(length, &picked, &sizes, &nodes);
    assert_eq!(given, Ok(tree_hash));
    let proof: Parts = (length, picked, sizes, nodes);
    if let Some((length, other, sizes, nodes)) = variant(&proof, rest) {
        if multiproof::tree_hash_of(length, &other, &sizes, &nodes) == Ok(tree_hash) {
            // Sizes of siblings may be traded, nothing else.
            assert_eq!((length, other), (proof.0, proof.1), "another proof");
            let hashes = |nodes: &[Node]| nodes.iter().map(|node| node.hash).collect::<Vec<_>>();
            assert_eq!(hashes(&nodes), hashes(&proof.3), "another proof");
        }
    }
}

/// Answers: only the demanded chunk under the author's head, or what the author signed.
pub fn answer(data: &[u8]) {
    let good = good();
    if let Ok(answer) = Answer::decode(&mut &data[..]) {
        let taken = answer::check(&answer, &good.demanded, |_| false);
        assert!(taken.is_err() || [&good.answer, &good.rewritten].contains(&&answer));
    }
    for answer in [&good.answer, &good.rewritten] {
        let head = answer::check(answer, &good.demanded, |_| false).expect("it is good");
        if let Some(other) = variant(answer, data) {
            if let Ok(taken) = answer::check(&other, &good.demanded, |_| false) {
                assert_eq!(taken, head, "another head");
                let bytes = |answer: &Answer| match answer {
                    Answer::Chunk { bytes, .. } => bytes.to_vec(),
                    Answer::Rewritten { .. } => Vec::new(),
                };
                assert_eq!(bytes(&other), bytes(answer), "another chunk");
            }
        }
    }
}

/// False receipts: only who signed one is convicted, and only by its own tree.
pub fn false_receipt(data: &[u8]) {
    let good = good();
    if let Ok(proof) = Proof::decode(&mut &data[..]) {
        let proven = false_receipt::verify(&proof);
        assert!(proven.is_err() || proven == Ok(good.convicted));
    }
    if let Some(other) = variant(&good.false_receipt, data) {
        if let Ok(proven) = false_receipt::verify(&other) {
            // Nothing but the size of the leaf and those of its siblings can be another.
            assert_eq!(proven, good.convicted);
        }
    }
    // Of an honest receipt nothing is false.
    if let Proof::FalseReceipt {
        hoster,
        index,
        leaf,
        sizes,
        nodes,
        ..
    } = &good.false_receipt
    {
        let honest = Proof::FalseReceipt {
            hoster: *hoster,
            receipt: good.receipt.clone().try_into().expect("it fits"),
            index: *index,
            leaf: *leaf,
            sizes: sizes.clone(),
            nodes: nodes.clone(),
        };
        assert!(false_receipt::verify(&honest).is_err());
        if let Some(other) = variant(&honest, data) {
            assert!(false_receipt::verify(&other).is_err(), "blamed: {other:?}");
        }
    }
}

/// Anchors: all openings and all echoes of one run, or none.
pub fn coinflip(data: &[u8]) {
    let good = good();
    type Anchor = (Vec<Opening>, Vec<Signature>);
    let check = |(openings, echoes): &Anchor| {
        coinflip::verify_anchor(&good.topic, &good.roster, openings, echoes)
    };
    let anchor: Anchor = (good.openings.clone(), good.echoes.clone());
    assert!(check(&anchor).is_ok());
    if let Ok(any) = Anchor::decode(&mut &data[..]) {
        assert!(check(&any).is_err() || any == anchor);
    }
    if let Some(other) = variant(&anchor, data) {
        assert!(check(&other).is_err(), "another anchor: {other:?}");
    }
}
