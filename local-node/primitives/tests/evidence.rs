//! Fraud proofs: every kind that proves, and nothing that an honest attestor could be blamed with.

use codec::{Decode, Encode, MaxEncodedLen};
use curve25519_dalek::{
    constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION},
    Scalar,
};
use datdot_primitives::{
    coinflip::{self, commitment_y},
    evidence::{
        evidence_id, verify, Body, Envelope, EnvelopeBytes, FraudKind, Offence, Proof, ProofError,
        MAX_ENVELOPE_BYTES,
    },
    hash::hash,
    keys, Hash, PublicKey,
};
use proptest::{collection, prelude::*, sample};
use sha2::{Digest, Sha512};
use sp_core::{ed25519, Pair};

const TOPIC: Hash = [42; 32];

fn pair(seed: u8) -> ed25519::Pair {
    ed25519::Pair::from_seed(&[seed; 32])
}

/// Four members, in the order of their keys.
fn members() -> Vec<ed25519::Pair> {
    let mut pairs: Vec<_> = (1..=4).map(pair).collect();
    pairs.sort_by_key(|pair| pair.public().0);
    pairs
}

fn roster() -> Vec<PublicKey> {
    members().iter().map(|pair| pair.public().0).collect()
}

fn payload(topic: &Hash, key: &PublicKey, body: &Body) -> Vec<u8> {
    match body {
        Body::Commit { y, z } => coinflip::commit_payload(topic, key, y, z),
        Body::Echo(root) => coinflip::echo_payload(topic, key, root),
        Body::Reveal { salt, x } => coinflip::reveal_payload(topic, key, salt, x),
    }
}

/// An envelope's bytes with this signature.
fn with_signature(topic: &Hash, index: u16, body: &Body, signature: [u8; 64]) -> EnvelopeBytes {
    let (kind, body) = match body {
        Body::Commit { y, z } => (1, [*y, *z].concat()),
        Body::Echo(root) => (2, root.to_vec()),
        Body::Reveal { salt, x } => (3, [*salt, *x].concat()),
    };
    let parts = [
        &[kind][..],
        topic,
        &index.to_le_bytes(),
        &body,
        &signature[..],
    ];
    parts.concat().try_into().unwrap()
}

fn sealed(topic: &Hash, index: u16, body: &Body, by: &ed25519::Pair) -> EnvelopeBytes {
    let signature = by.sign(&payload(topic, &by.public().0, body)).0;
    with_signature(topic, index, body, signature)
}

/// An envelope of a member in the topic.
fn of(index: u16, body: &Body) -> EnvelopeBytes {
    sealed(&TOPIC, index, body, &members()[usize::from(index)])
}

fn two(a: EnvelopeBytes, b: EnvelopeBytes) -> Proof {
    Proof::Equivocation {
        id: 0,
        attempt: 0,
        a,
        b,
    }
}

fn bad_reveal(commit: EnvelopeBytes, reveal: EnvelopeBytes) -> Proof {
    Proof::BadReveal {
        id: 0,
        attempt: 0,
        commit,
        reveal,
    }
}

fn check(proof: &Proof) -> Result<Offence, ProofError> {
    verify(&TOPIC, &roster(), proof)
}

fn echo(fill: u8) -> Body {
    Body::Echo([fill; 32])
}

fn bodies() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any::<Hash>(), any::<Hash>()).prop_map(|(y, z)| Body::Commit { y, z }),
        any::<Hash>().prop_map(Body::Echo),
        Just(Body::Echo([0; 32])),
        (any::<Hash>(), any::<Hash>()).prop_map(|(salt, x)| Body::Reveal { salt, x }),
    ]
}

fn same_kind(a: &Body, b: &Body) -> bool {
    core::mem::discriminant(a) == core::mem::discriminant(b)
}

/// A commit of the member that these open.
fn honest(index: u16, salt: Hash, x: Hash) -> (Body, Body) {
    let y = commitment_y(&TOPIC, &roster()[usize::from(index)], &salt, &x);
    (Body::Commit { y, z: [3; 32] }, Body::Reveal { salt, x })
}

#[test]
fn an_equivocation_names_its_member() {
    for index in 0..4 {
        let offender = roster()[usize::from(index)];
        let offence = check(&two(of(index, &echo(1)), of(index, &echo(0)))).unwrap();
        let kind = FraudKind::Equivocation;
        let id = hash(&[&offender, &TOPIC, &[0]]);
        assert_eq!(
            offence,
            Offence {
                index,
                offender,
                kind,
                id
            }
        );
        assert_eq!(evidence_id(&offender, &TOPIC, kind), id);
    }
}

#[test]
fn a_bad_reveal_names_its_member() {
    let (commit, _) = honest(2, [1; 32], [2; 32]);
    let (_, other) = honest(2, [1; 32], [3; 32]);
    let offence = check(&bad_reveal(of(2, &commit), of(2, &other))).unwrap();
    assert_eq!((offence.index, offence.kind), (2, FraudKind::BadReveal));
    let id = hash(&[&roster()[2], &TOPIC, &[1]]);
    assert_eq!(offence.id, id);
}

#[test]
fn a_false_receipt_is_not_about_envelopes() {
    let proof = Proof::FalseReceipt {
        hoster: [0; 32],
        receipt: Default::default(),
        index: 0,
        leaf: [0; 32],
        sizes: Default::default(),
        nodes: Default::default(),
    };
    assert_eq!(check(&proof), Err(ProofError::NoEnvelopes));
}

#[test]
fn the_numbers_of_what_is_encoded_are_fixed() {
    let proof = two(of(0, &echo(1)), of(0, &echo(2)));
    let bytes = proof.encode();
    assert_eq!((bytes[0], FraudKind::BadReveal.encode()), (0, vec![1]));
    assert_eq!(bad_reveal(of(0, &echo(1)), of(0, &echo(2))).encode()[0], 1);
    // Variant, id, attempt, then each envelope after its length.
    assert_eq!(bytes.len(), 1 + 8 + 4 + 2 * (2 + 131));
    assert_eq!(Proof::decode(&mut &bytes[..]), Ok(proof));
    // An envelope beyond the bound is not even decoded.
    let envelope = vec![0u8; MAX_ENVELOPE_BYTES as usize + 1];
    assert!(EnvelopeBytes::decode(&mut &envelope.encode()[..]).is_err());
    let errors = [
        ProofError::Malformed,
        ProofError::Kinds,
        ProofError::Topic,
        ProofError::Members,
        ProofError::NotMember,
        ProofError::NotContradictory,
        ProofError::Signature,
        ProofError::NoEnvelopes,
    ];
    for (number, error) in errors.iter().enumerate() {
        assert_eq!(error.encode(), [number as u8]);
    }
    assert!(Proof::max_encoded_len() > bytes.len());
}

/// A signature of `message` whose R has a part of small order: ZIP-215 takes it, libsodium does
/// not. Only who has the secret key can make one for another message.
fn torsion_signature(seed: u8, message: &[u8], torsion: usize) -> [u8; 64] {
    let expanded = Sha512::digest([seed; 32]);
    let mut clamped = [0; 32];
    clamped.copy_from_slice(&expanded[..32]);
    clamped[0] &= 248;
    clamped[31] = (clamped[31] & 127) | 64;
    let secret = Scalar::from_bytes_mod_order(clamped);
    let nonce = Scalar::from_bytes_mod_order([77; 32]);
    let r = (ED25519_BASEPOINT_POINT * nonce + EIGHT_TORSION[torsion])
        .compress()
        .0;
    let key = pair(seed).public().0;
    let mut wide = [0; 64];
    wide.copy_from_slice(&Sha512::digest([&r[..], &key, message].concat()));
    let s = nonce + Scalar::from_bytes_mod_order_wide(&wide) * secret;
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&r);
    signature[32..].copy_from_slice(s.as_bytes());
    signature
}

#[test]
fn row_13_torsion_signatures_of_one_body_prove_nothing() {
    let seed = (1..=4)
        .find(|seed| pair(*seed).public().0 == roster()[0])
        .unwrap();
    let key = roster()[0];
    let body = echo(1);
    let message = payload(&TOPIC, &key, &body);
    let honest = of(0, &body);
    for torsion in 0..8 {
        let signature = torsion_signature(seed, &message, torsion);
        // The chain's verifier takes it: as another signature of what was signed anyway.
        assert!(keys::verify(&key, &message, &signature));
        let again = with_signature(&TOPIC, 0, &body, signature);
        assert_ne!(again, honest);
        for proof in [
            two(honest.clone(), again.clone()),
            two(again, honest.clone()),
        ] {
            assert_eq!(check(&proof), Err(ProofError::NotContradictory));
        }
        // Under another body it is no signature.
        let forged = with_signature(&TOPIC, 0, &echo(2), signature);
        assert_eq!(
            check(&two(honest.clone(), forged)),
            Err(ProofError::Signature)
        );
    }
    // R moved by a point of small order, without the secret key: not even of the same body.
    let envelope = Envelope::parse(&honest).unwrap();
    let mut r = [0; 32];
    r.copy_from_slice(&envelope.signature[..32]);
    let point = curve25519_dalek::edwards::CompressedEdwardsY(r)
        .decompress()
        .unwrap();
    for torsion in &EIGHT_TORSION[1..] {
        let mut signature = envelope.signature;
        signature[..32].copy_from_slice(&(point + torsion).compress().0);
        let moved = with_signature(&TOPIC, 0, &echo(2), signature);
        assert_eq!(
            check(&two(honest.clone(), moved)),
            Err(ProofError::Signature)
        );
    }
}

#[test]
fn row_13_what_was_signed_in_two_topics_proves_nothing() {
    let member = members().swap_remove(1);
    let (commit, _) = honest(1, [1; 32], [2; 32]);
    let reveal = Body::Reveal {
        salt: [1; 32],
        x: [3; 32],
    };
    for (first, second) in [(TOPIC, [7; 32]), ([7; 32], TOPIC)] {
        let envelope = |topic: &Hash, body: &Body| sealed(topic, 1, body, &member);
        let echoes = two(envelope(&first, &echo(1)), envelope(&second, &echo(2)));
        assert_eq!(check(&echoes), Err(ProofError::Topic));
        let opened = bad_reveal(envelope(&first, &commit), envelope(&second, &reveal));
        assert_eq!(check(&opened), Err(ProofError::Topic));
    }
}

#[test]
fn row_13_a_signature_of_another_kind_or_purpose_is_none() {
    // The tags keep a commit's signature from being a reveal's, though the bodies are as long.
    let (first, second) = ([1; 32], [2; 32]);
    let commit = of(
        0,
        &Body::Commit {
            y: first,
            z: second,
        },
    );
    let signature = Envelope::parse(&commit).unwrap().signature;
    let as_reveal = with_signature(
        &TOPIC,
        0,
        &Body::Reveal {
            salt: first,
            x: second,
        },
        signature,
    );
    assert_eq!(
        check(&bad_reveal(commit, as_reveal)),
        Err(ProofError::Signature)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn two_bodies_of_one_kind_are_an_equivocation(a in bodies(), b in bodies(), index in 0u16..4) {
        let found = check(&two(of(index, &a), of(index, &b)));
        if !same_kind(&a, &b) {
            prop_assert_eq!(found, Err(ProofError::Kinds));
        } else if a == b {
            prop_assert_eq!(found, Err(ProofError::NotContradictory));
        } else {
            prop_assert_eq!(found.map(|offence| offence.index), Ok(index));
        }
    }

    #[test]
    fn an_honest_run_proves_nothing(salt: Hash, x: Hash, root: Hash, index in 0u16..4) {
        let (commit, reveal) = honest(index, salt, x);
        let run = [of(index, &commit), of(index, &Body::Echo(root)), of(index, &reveal)];
        for a in &run {
            for b in &run {
                prop_assert!(check(&two(a.clone(), b.clone())).is_err());
                prop_assert!(check(&bad_reveal(a.clone(), b.clone())).is_err());
            }
        }
    }

    #[test]
    fn a_reveal_that_does_not_open_is_bad(salt: Hash, x: Hash, other: Hash, index in 0u16..4) {
        let (commit, _) = honest(index, salt, x);
        let reveal = Body::Reveal { salt, x: other };
        let found = check(&bad_reveal(of(index, &commit), of(index, &reveal)));
        if other == x {
            prop_assert_eq!(found, Err(ProofError::NotContradictory));
        } else {
            prop_assert_eq!(found.map(|offence| offence.kind), Ok(FraudKind::BadReveal));
        }
    }

    #[test]
    fn a_changed_bit_is_noticed(
        body in bodies(), byte: sample::Index, bit in 0u8..8, which: bool,
    ) {
        let other = match body {
            Body::Commit { .. } => Body::Commit { y: [9; 32], z: [9; 32] },
            Body::Echo(_) => Body::Echo([9; 32]),
            Body::Reveal { .. } => Body::Reveal { salt: [9; 32], x: [9; 32] },
        };
        prop_assume!(body != other);
        let mut bytes = of(1, &body).into_inner();
        let byte = byte.index(bytes.len());
        bytes[byte] ^= 1 << bit;
        let changed: EnvelopeBytes = bytes.try_into().unwrap();
        let proof = match which {
            true => two(changed, of(1, &other)),
            false => two(of(1, &other), changed),
        };
        prop_assert!(check(&proof).is_err());
    }

    #[test]
    fn nobody_is_blamed_for_another_topic_or_member(
        topic: Hash, index in 0u16..4, by in 0usize..4, a in bodies(), b in bodies(),
    ) {
        let signer = &members()[by];
        let proof = two(sealed(&topic, index, &a, signer), sealed(&topic, index, &b, signer));
        prop_assert!(check(&proof).is_err());
        if by != usize::from(index) {
            let proof = two(sealed(&TOPIC, index, &a, signer), sealed(&TOPIC, index, &b, signer));
            prop_assert!(check(&proof).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_evidence(
        a in collection::vec(any::<u8>(), 0..=256), b in collection::vec(any::<u8>(), 0..=256),
        topic: Hash, count in 0usize..40,
    ) {
        let (a, b): (EnvelopeBytes, EnvelopeBytes) = (a.try_into().unwrap(), b.try_into().unwrap());
        let roster = vec![roster()[0]; count];
        prop_assert!(verify(&topic, &roster, &two(a.clone(), b.clone())).is_err());
        prop_assert!(verify(&topic, &roster, &bad_reveal(a, b)).is_err());
    }

    #[test]
    fn an_envelope_is_parsed_exactly(body in bodies(), index: u16, extra in 1usize..20) {
        let bytes = sealed(&TOPIC, index, &body, &pair(1));
        let envelope = Envelope::parse(&bytes).unwrap();
        prop_assert_eq!((envelope.topic, envelope.index, envelope.body), (TOPIC, index, body));
        prop_assert!(envelope.is_signed_by(&pair(1).public().0));
        let longer = [&bytes[..], &vec![0; extra]].concat();
        prop_assert_eq!(Envelope::parse(&longer), Err(ProofError::Malformed));
        for length in 0..bytes.len() {
            prop_assert_eq!(Envelope::parse(&bytes[..length]), Err(ProofError::Malformed));
        }
    }

    #[test]
    fn an_index_beyond_the_roster_is_nobodys(index in 4u16..=u16::MAX) {
        let signer = pair(1);
        let proof = two(
            sealed(&TOPIC, index, &echo(1), &signer),
            sealed(&TOPIC, index, &echo(2), &signer),
        );
        prop_assert_eq!(check(&proof), Err(ProofError::NotMember));
    }
}
