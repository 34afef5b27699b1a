//! The shared vectors, as far as the chain has the same rule.

use codec::{DecodeAll, Encode};
use datdot_primitives::{
    coinflip::{self, Anchored, Opening},
    draws::{self, Habit, Opened, Schedule, Window},
    hash::hash,
    head::{self, Feed, FeedError, FeedKind, Head},
    keys, multiproof,
    prng::Prng,
    receipt::{Entry, Receipt},
    registration::{self, Role},
    report::{self, Expected, Outcome, Report},
    tree::{self, Node, Root},
    Hash,
};
use serde_json::Value;
use sp_core::{ed25519, Pair};
use std::{fs, num::NonZeroU64, path::Path};

fn vectors(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/vectors")
        .join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().unwrap()).unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    bytes(value).try_into().unwrap()
}

/// A number, or a decimal string where it may pass 2^53.
fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| value.as_str().unwrap().parse().unwrap())
}

fn numbers(value: &Value) -> Vec<u64> {
    list(value).iter().map(number).collect()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn node(value: &Value) -> Node {
    Node {
        hash: array(&value["hash"]),
        size: number(&value["size"]),
    }
}

/// `[index, size, hash]`, as the vectors of the wire protocol write nodes.
fn root(value: &Value) -> Root {
    Root {
        index: number(&value[0]),
        node: Node {
            size: number(&value[1]),
            hash: array(&value[2]),
        },
    }
}

fn pair(seed: &Value) -> ed25519::Pair {
    ed25519::Pair::from_seed(&array(seed))
}

/// The signature at the end of an envelope.
fn envelope_signature(value: &Value) -> [u8; 64] {
    let envelope = bytes(value);
    envelope[envelope.len() - 64..].try_into().unwrap()
}

#[test]
fn namespaces_and_leaf_hashes() {
    let constants = vectors("constants.json");
    assert_eq!(head::NS_TREE, array::<32>(&constants["hypercore"]["tree"]));
    assert_eq!(
        head::NS_MANIFEST,
        array::<32>(&constants["hypercore"]["manifest"])
    );
    for leaf in list(&constants["leaf_hashes"]) {
        let data = match leaf["data"].as_str().unwrap().split_once(" x ") {
            Some((times, byte)) => hex::decode(byte).unwrap().repeat(times.parse().unwrap()),
            None => bytes(&leaf["data"]),
        };
        assert_eq!(tree::leaf_hash(&data), array::<32>(&leaf["hash"]));
    }
}

#[test]
fn trees_and_their_signatures() {
    let file = vectors("trees.json");
    let key = array(&file["key"]);
    let feed = Feed::new(key, Some(&bytes(&file["manifest"]))).unwrap();
    assert_eq!(feed.kind, FeedKind::Manifest);
    assert_eq!(feed.signer, array::<32>(&file["signer_public_key"]));
    let compat = Feed::new(array(&file["compat_key"]), None).unwrap();
    assert_eq!(compat.kind, FeedKind::Compat);
    for vector in list(&file["trees"]) {
        let length = number(&vector["length"]);
        assert_eq!(
            tree::full_roots(length).unwrap(),
            numbers(&vector["full_roots"])
        );
        let nodes: Vec<Root> = list(&vector["nodes"]).iter().map(root).collect();
        let at = |index| nodes.iter().find(|node| node.index == index).unwrap().node;
        for parent in nodes.iter().filter(|node| node.index % 2 == 1) {
            let reach = 1 << (parent.index.trailing_ones() - 1);
            let (left, right) = (at(parent.index - reach), at(parent.index + reach));
            assert_eq!(tree::parent(&left, &right).unwrap(), parent.node);
        }
        let roots: Vec<Root> = list(&vector["roots"]).iter().map(root).collect();
        let head = Head {
            fork: number(&vector["fork"]),
            length,
            tree_hash: tree::tree_hash(&roots),
        };
        assert_eq!(head.tree_hash, array::<32>(&vector["tree_hash"]));
        assert_eq!(feed.signable(&head), bytes(&vector["signable"]));
        let signature = bytes(&vector["signature"])[2..66].try_into().unwrap();
        assert!(feed.verify_head(&head, &signature));
        assert!(!compat.verify_head(&head, &signature));
        assert_eq!(compat.signable(&head), bytes(&vector["compat"]["signable"]));
        let signature = array(&vector["compat"]["signature"]);
        assert!(compat.verify_head(&head, &signature));
        assert!(!feed.verify_head(&head, &signature));
    }
}

#[test]
fn forks() {
    let file = vectors("forks.json");
    let feed = Feed::new(array(&file["key"]), Some(&bytes(&file["manifest"]))).unwrap();
    for vector in list(&file["forks"]) {
        let head = Head {
            fork: number(&vector["fork"]),
            length: number(&vector["length"]),
            tree_hash: array(&vector["tree_hash"]),
        };
        assert_eq!(feed.signable(&head), bytes(&vector["signable"]));
        let signature = bytes(&vector["signature"])[2..66].try_into().unwrap();
        assert!(feed.verify_head(&head, &signature));
        assert!(!feed.verify_head(
            &Head {
                fork: head.fork - 1,
                ..head
            },
            &signature
        ));
    }
}

#[test]
fn only_manifests_of_one_signer_are_taken() {
    let file = vectors("manifests.json");
    let mut taken = Vec::new();
    for vector in list(&file["manifests"]) {
        let label = vector["label"].as_str().unwrap();
        let (raw, key) = (bytes(&vector["raw"]), array::<32>(&vector["key"]));
        assert_eq!(head::manifest_key(&raw), key, "{label}");
        match Feed::new(key, Some(&raw)) {
            Ok(feed) => {
                let signer = &vector["decoded"]["signers"][0];
                assert_eq!(feed.signer, array::<32>(&signer["publicKey"]));
                let namespace = array(&signer["namespace"]);
                assert_eq!(
                    head::single_signer_manifest(&namespace, &feed.signer)[..],
                    raw
                );
                assert_eq!(Feed::new([1; 32], Some(&raw)), Err(FeedError::WrongKey));
                taken.push(label.to_owned());
            }
            Err(error) => assert_eq!(error, FeedError::UnsupportedManifest, "{label}"),
        }
    }
    assert_eq!(taken, ["v1 single", "v1 single own namespace"]);
}

#[test]
fn flips() {
    for flip in list(&vectors("challenge.json")["flips"]) {
        let members = list(&flip["members"]);
        let roster: Vec<Hash> = members.iter().map(|m| array(&m["public_key"])).collect();
        let genesis = array(&flip["genesis"]);
        let (id, start) = (
            number(&flip["challenge_id"]),
            array(&flip["start_block_hash"]),
        );
        let topic = coinflip::topic(
            &genesis,
            id,
            &start,
            number(&flip["attempt"]) as u32,
            &roster,
        );
        assert_eq!(topic, array::<32>(&flip["topic"]));

        let root = array(&flip["root"]);
        for (key, member) in roster.iter().zip(members) {
            keys::check_public_key(key).unwrap();
            let (salt, x) = (array(&member["salt"]), array(&member["x"]));
            let y = coinflip::commitment_y(&topic, key, &salt, &x);
            assert_eq!(y, array::<32>(&member["y"]));
            let (w, audit_key) = (array(&member["w"]), array(&member["audit_key"]));
            let z = coinflip::commitment_z(&topic, key, &w, &audit_key);
            assert_eq!(z, array::<32>(&member["z"]));
            for (payload, envelope) in [
                (
                    coinflip::commit_payload(&topic, key, &y, &z),
                    &member["commit"],
                ),
                (coinflip::echo_payload(&topic, key, &root), &member["echo"]),
                (
                    coinflip::echo_payload(&topic, key, &[0; 32]),
                    &member["give_up"],
                ),
                (
                    coinflip::reveal_payload(&topic, key, &salt, &x),
                    &member["reveal"],
                ),
            ] {
                assert!(keys::verify(key, &payload, &envelope_signature(envelope)));
            }
        }

        let openings: Vec<Opening> = members
            .iter()
            .map(|m| Opening {
                z: array(&m["z"]),
                salt: array(&m["salt"]),
                x: array(&m["x"]),
            })
            .collect();
        let echoes: Vec<_> = members
            .iter()
            .map(|m| envelope_signature(&m["echo"]))
            .collect();
        let anchored = coinflip::verify_anchor(&topic, &roster, &openings, &echoes).unwrap();
        assert_eq!(anchored.root, root);
        assert_eq!(anchored.result, array::<32>(&flip["result"]));

        let slots: Vec<u64> = draws::slots(anchored.result, roster.len() as u32)
            .into_iter()
            .map(u64::from)
            .collect();
        assert_eq!(slots, numbers(&flip["slots"]));
        let (length, count) = (
            number(&flip["draws"]["L"]),
            number(&flip["draws"]["N"]) as u32,
        );
        for (place, (key, member)) in roster.iter().zip(members).enumerate() {
            let opened = Opened {
                topic,
                result: anchored.result,
                session_key: *key,
                w: array(&member["w"]),
            };
            let (place, active) = (place as u32, roster.len() as u32);
            let window = window(&flip["window"]);
            let slotted = slotted(&flip["window"]);
            let Schedule::Slots { num, den } = slotted else {
                unreachable!()
            };
            assert_eq!(opened.u(), number(&member["u"]));
            assert_eq!(opened.chunks_seed(), array::<32>(&member["seed_chunks"]));
            assert_eq!(
                opened.drawn_chunks(length, count),
                numbers(&member["chunks"])
            );
            assert_eq!(
                opened.moment(Schedule::Uniform, window, place, active),
                Ok(number(&member["moment_uniform"])),
            );
            assert_eq!(
                draws::slot_offset(opened.u(), num, den),
                Ok(number(&member["off"]))
            );
            assert_eq!(
                opened.moment(slotted, window, place, active),
                Ok(number(&member["moment_slots"])),
            );
            assert_eq!(slots[place as usize], number(&member["slot"]));
            let habit = Habit {
                windowed: number(&member["windowed"]) == 1,
                multiple: number(&member["multiple"]) as u8,
            };
            assert_eq!(opened.habit(), habit);
        }
    }
}

fn window(value: &Value) -> Window {
    Window {
        start: number(&value["tlo"]),
        width: number(&value["W"]),
    }
}

fn slotted(value: &Value) -> Schedule {
    Schedule::Slots {
        num: number(&value["jitter_num"]) as u32,
        den: number(&value["jitter_den"]) as u32,
    }
}

#[test]
fn fallbacks() {
    for flip in list(&vectors("challenge.json")["flips"]) {
        let fallback = &flip["fallback"];
        let roster: Vec<Hash> = list(&flip["members"])
            .iter()
            .map(|m| array(&m["public_key"]))
            .collect();
        let topic = coinflip::topic(
            &array(&flip["genesis"]),
            number(&flip["challenge_id"]),
            &array(&flip["start_block_hash"]),
            coinflip::FALLBACK_ATTEMPT,
            &roster,
        );
        assert_eq!(topic, array::<32>(&fallback["topic"]));
        let members = list(&fallback["members"]);
        let z: Vec<Hash> = members.iter().map(|m| array(&m["z"])).collect();
        let Anchored { root, result } =
            coinflip::fallback(&topic, &z, &array(&fallback["chain_randomness"]));
        assert_eq!(root, array::<32>(&fallback["root"]));
        assert_eq!(result, array::<32>(&fallback["result"]));
        for (place, member) in members.iter().enumerate() {
            let key = roster[number(&member["index"]) as usize];
            let w = array(&member["w"]);
            assert_eq!(
                coinflip::commitment_z(&topic, &key, &w, &array(&member["audit_key"])),
                array::<32>(&member["z"]),
            );
            let opened = Opened {
                topic,
                result,
                session_key: key,
                w,
            };
            let moment = opened.moment(
                Schedule::Uniform,
                window(&flip["window"]),
                place as u32,
                members.len() as u32,
            );
            assert_eq!(moment, Ok(number(&member["moment_uniform"])));
            let chunks = opened.drawn_chunks(
                number(&flip["draws"]["L"]),
                number(&flip["draws"]["N"]) as u32,
            );
            assert_eq!(chunks, numbers(&member["chunks"]));
        }
    }
}

#[test]
fn generator() {
    for vector in list(&vectors("challenge.json")["prng"]) {
        let label: &'static str = vector["label"].as_str().unwrap().to_owned().leak();
        let prng = || Prng::new(array(&vector["seed"]), label);
        let mut raw = prng();
        for expected in numbers(&vector["u64"]) {
            assert_eq!(raw.next_u64(), expected);
        }
        let mut bounded = prng();
        for (modulus, expected) in numbers(&vector["moduli"])
            .into_iter()
            .zip(numbers(&vector["below"]))
        {
            assert_eq!(bounded.below(NonZeroU64::new(modulus).unwrap()), expected);
        }
        let permutation = prng().permutation(number(&vector["permutation_of"]) as u32);
        let permutation: Vec<u64> = permutation.into_iter().map(u64::from).collect();
        assert_eq!(permutation, numbers(&vector["permutation"]));
    }
}

#[test]
fn rosters() {
    for vector in list(&vectors("challenge.json")["draws"]) {
        let seed = draws::roster_seed(
            &array(&vector["chain_randomness"]),
            number(&vector["challenge_id"]),
        );
        let skip = numbers(&vector["skip"]);
        let drawn = draws::draw_roster(
            seed,
            number(&vector["eligible"]) as u32,
            number(&vector["k"]) as u32,
            |place| skip.contains(&u64::from(place)),
        )
        .unwrap();
        let drawn: Vec<u64> = drawn.into_iter().map(u64::from).collect();
        assert_eq!(drawn, numbers(&vector["drawn"]));
    }
}

#[test]
fn multiproofs() {
    for vector in list(&vectors("challenge.json")["multiproofs"]) {
        let entries = list(&vector["entries"]);
        let leaves: Vec<_> = entries
            .iter()
            .map(|e| (number(&e["index"]), array(&e["hash"])))
            .collect();
        let sizes: Vec<_> = entries.iter().map(|e| number(&e["size"]) as u32).collect();
        let nodes: Vec<_> = list(&vector["nodes"]).iter().map(node).collect();
        let tree_hash =
            multiproof::tree_hash_of(number(&vector["length"]), &leaves, &sizes, &nodes);
        assert_eq!(tree_hash, Ok(array(&vector["tree_hash"])));
    }
}

#[test]
fn receipts() {
    for vector in list(&vectors("challenge.json")["receipts"]) {
        let entries = list(&vector["entries"])
            .iter()
            .map(|e| Entry {
                index: number(&e["index"]),
                leaf: array(&e["hash"]),
            })
            .collect();
        let receipt = Receipt {
            feed: array(&vector["feed_key"]),
            head: Head {
                fork: number(&vector["fork"]),
                length: number(&vector["length"]),
                tree_hash: array(&vector["tree_hash"]),
            },
            client: array(&vector["client"]),
            session: hash(&[&bytes(&vector["handshake_hash"])]),
            sequence: number(&vector["sequence"]) as u32,
            opened: number(&vector["opened"]),
            issued: number(&vector["issued"]),
            bytes: number(&vector["bytes"]),
            entries,
        };
        let message = bytes(&vector["message"]);
        assert_eq!(
            Receipt::open(&message, &array(&vector["hoster"])),
            Ok(receipt.clone())
        );
        let signature = pair(&vector["hoster_seed"])
            .sign(&datdot_primitives::receipt::signable(&receipt.body()));
        assert_eq!([receipt.body(), signature.0.to_vec()].concat(), message);
    }
}

#[test]
fn registrations() {
    for vector in list(&vectors("challenge.json")["registrations"]) {
        let role = if number(&vector["role"]) == 0 {
            Role::Attestor
        } else {
            Role::Hoster
        };
        let (genesis, account) = (array(&vector["genesis"]), array(&vector["account"]));
        let (key, proof) = (array(&vector["public_key"]), array(&vector["proof"]));
        assert_eq!(
            registration::check(&genesis, role, &account, &key, &proof),
            Ok(())
        );
        let other = if role == Role::Attestor {
            Role::Hoster
        } else {
            Role::Attestor
        };
        assert_eq!(
            registration::check(&genesis, other, &account, &key, &proof),
            Err(registration::RegistrationError::WrongProof),
        );
    }
}

#[test]
fn reports() {
    for vector in list(&vectors("challenge.json")["reports"]) {
        let encoded = bytes(&vector["report"]);
        let report = Report::decode_all(&mut &encoded[..]).unwrap();
        assert_eq!(report.encode(), encoded);
        assert_eq!(report::reencode(&encoded), Some(encoded.clone()));
        let longer = [encoded, vec![0]].concat();
        assert_eq!(report::reencode(&longer), None);
        let Outcome::Served(served) = &report.body.outcome else {
            panic!("a served report")
        };
        let receipt = Receipt::open(&served.receipt, &array(&vector["hoster"])).unwrap();

        let opened = Opened {
            topic: array(&vector["topic"]),
            result: array(&vector["result"]),
            session_key: array(&vector["session_key"]),
            w: array(&vector["w"]),
        };
        let (length, chunks) = (number(&vector["L"]), number(&vector["N"]) as u32);
        let drawn = opened.drawn_chunks(length, chunks);
        assert_eq!(drawn, numbers(&vector["drawn"]));
        let proved = number(&vector["K"]) as u32;
        let mut first = drawn[..drawn.len().min(proved as usize)].to_vec();
        first.sort_unstable();
        assert_eq!(first, numbers(&vector["proved"]));

        // The vectors do not fix a window, so one of a single moment is put where the session was.
        let expected = Expected {
            topic: opened.topic,
            result: opened.result,
            account: array(&vector["account"]),
            session_key: opened.session_key,
            z: array(&vector["z"]),
            members: 32,
            member: (0..32)
                .find(|i| report.body.peers.iter().all(|p| p.index != *i))
                .unwrap()
                .into(),
            active: 32,
            place: 0,
            hoster: array(&vector["hoster"]),
            feed: Feed::new(array(&vector["feed"]), Some(&bytes(&vector["manifest"]))).unwrap(),
            fork: number(&vector["fork"]),
            length,
            chunks,
            proved,
            schedule: Schedule::Uniform,
            window: Window {
                start: receipt.opened,
                width: 0,
            },
            clock_tolerance_ms: 0,
        };
        assert_eq!(expected.feed.signer, array::<32>(&vector["author"]));
        let checked = report::check(&report, &expected, |_| false).unwrap();
        let head = checked.head.unwrap();
        assert_eq!(head.tree_hash, array::<32>(&vector["tree_hash"]));
        assert_eq!(head.length, number(&vector["length"]));
    }
}
