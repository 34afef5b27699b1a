//! A whole report that passes, and one change for each rule that refuses it.

use codec::Encode;
use datdot_primitives::{
    coinflip,
    draws::{Opened, Schedule, Window},
    head::{self, Feed, Head},
    keys,
    multiproof::MultiproofError,
    receipt::{self, Entry, Receipt, ReceiptError},
    report::{
        binding_message, check, Body, Expected, Failure, Metrics, Outcome, PeerMetrics,
        Percentiles, Reason, Report, ReportError, Served,
    },
    tree::{self, Node, Root},
};
use sp_core::{ed25519, Pair};

const LENGTH: u64 = 48;
const MOMENT: u64 = 1_800_000_000_000;

/// All that an honest audit has: keys, the tree, the receipt before it is signed, the report.
struct Audit {
    author: ed25519::Pair,
    hoster: ed25519::Pair,
    audit_key: ed25519::Pair,
    receipt: Receipt,
    expected: Expected,
    report: Report,
}

fn leaves() -> Vec<Node> {
    (0..LENGTH)
        .map(|i| {
            let data = vec![i as u8; i as usize + 1];
            Node {
                hash: tree::leaf_hash(&data),
                size: data.len() as u64,
            }
        })
        .collect()
}

fn node_over(leaves: &[Node]) -> Node {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = leaves.split_at(leaves.len() / 2);
    tree::parent(&node_over(left), &node_over(right)).unwrap()
}

fn collect_nodes(leaves: &[Node], start: u64, proved: &[u64], nodes: &mut Vec<Node>) {
    let end = start + leaves.len() as u64;
    if !proved.iter().any(|chunk| (start..end).contains(chunk)) {
        nodes.push(node_over(leaves));
    } else if leaves.len() > 1 {
        let (left, right) = leaves.split_at(leaves.len() / 2);
        collect_nodes(left, start, proved, nodes);
        collect_nodes(right, start + left.len() as u64, proved, nodes);
    }
}

impl Audit {
    /// An audit of a feed of 48 chunks, of which the first 40 are vouched, 10 are drawn, and 4
    /// proved. `windowed`: which figure was drawn.
    fn honest(windowed: bool) -> Self {
        Self::of_vouched(40, windowed)
    }

    /// The same with another number of vouched chunks.
    fn of_vouched(vouched: u64, windowed: bool) -> Self {
        let [author, hoster, audit_key] =
            [1, 2, 3].map(|seed| ed25519::Pair::from_seed(&[seed; 32]));
        let manifest = head::single_signer_manifest(&[7; 32], &author.public().0);
        let feed = Feed::new(head::manifest_key(&manifest), Some(&manifest)).unwrap();
        let opened = (0..)
            .map(|w| Opened {
                topic: [4; 32],
                result: [5; 32],
                session_key: [6; 32],
                w: [w; 32],
            })
            .find(|opened| opened.habit().windowed == windowed)
            .unwrap();
        let drawn = opened.drawn_chunks(vouched, 10);
        let mut proved = drawn[..4].to_vec();
        proved.sort_unstable();

        let leaves = leaves();
        let roots: Vec<Root> = tree::runs(LENGTH)
            .unwrap()
            .into_iter()
            .map(|run| Root {
                index: run.root_index(),
                node: node_over(&leaves[run.start as usize..run.end() as usize]),
            })
            .collect();
        let mut nodes = Vec::new();
        for run in tree::runs(LENGTH).unwrap() {
            let range = run.start as usize..run.end() as usize;
            collect_nodes(&leaves[range], run.start, &proved, &mut nodes);
        }
        let head = Head {
            fork: 1,
            length: LENGTH,
            tree_hash: tree::tree_hash(&roots),
        };
        let receipt = Receipt {
            feed: feed.key,
            head,
            client: audit_key.public().0,
            session: [8; 32],
            sequence: 0,
            opened: MOMENT,
            issued: MOMENT + 5,
            bytes: 1_000,
            entries: drawn
                .iter()
                .map(|&index| Entry {
                    index,
                    leaf: leaves[index as usize].hash,
                })
                .collect(),
        };
        let latency = Percentiles {
            p50: 1,
            p90: 2,
            p99: 2,
            max: 3,
        };
        let served = Served {
            receipt: Default::default(),
            head_signature: author.sign(&feed.signable(&head)).0,
            sizes: proved
                .iter()
                .map(|&chunk| leaves[chunk as usize].size as u32)
                .collect::<Vec<_>>()
                .try_into()
                .unwrap(),
            nodes: nodes.try_into().unwrap(),
            metrics: Metrics {
                connect_us: 0,
                handshake_us: 0,
                first_chunk_us: 0,
                latency_us: (!windowed).then_some(latency),
                throughput: windowed.then_some(1),
                timeouts: 0,
                observed: None,
            },
        };
        let peer = |index| PeerMetrics {
            index,
            rtt_p50_us: 1,
            throughput: 1,
        };
        let body = Body {
            outcome: Outcome::Served(served),
            peers: vec![peer(0), peer(1), peer(4)].try_into().unwrap(),
        };
        let z = coinflip::commitment_z(
            &opened.topic,
            &opened.session_key,
            &opened.w,
            &audit_key.public().0,
        );
        let report = Report {
            w: opened.w,
            audit_key: audit_key.public().0,
            binding: [0; 64],
            body,
        };
        let expected = Expected {
            topic: opened.topic,
            result: opened.result,
            account: [9; 32],
            session_key: opened.session_key,
            z,
            members: 5,
            member: 2,
            active: 5,
            place: 2,
            hoster: hoster.public().0,
            feed,
            fork: 1,
            length: vouched,
            chunks: 10,
            proved: 4,
            schedule: Schedule::Uniform,
            window: Window {
                start: MOMENT,
                width: 0,
            },
            clock_tolerance_ms: 10,
        };
        let mut audit = Self {
            author,
            hoster,
            audit_key,
            receipt,
            expected,
            report,
        };
        audit.sign_receipt();
        audit.bind();
        audit
    }

    /// The same audit, failed, with a demand.
    fn failed(demand: Option<u64>) -> Self {
        let mut audit = Self::honest(false);
        audit.report.body.outcome = Outcome::Failed(Failure {
            reason: Reason::NoData,
            demand,
        });
        audit.bind();
        audit
    }

    fn served(&mut self) -> &mut Served {
        let Outcome::Served(served) = &mut self.report.body.outcome else {
            panic!("a served report")
        };
        served
    }

    fn sign_receipt(&mut self) {
        let body = self.receipt.body();
        let signature = self.hoster.sign(&receipt::signable(&body));
        self.served().receipt = [body, signature.0.to_vec()].concat().try_into().unwrap();
    }

    fn sign_head(&mut self) {
        let signable = self.expected.feed.signable(&self.receipt.head);
        self.served().head_signature = self.author.sign(&signable).0;
    }

    fn bind(&mut self) {
        let Expected { topic, account, .. } = &self.expected;
        let message = binding_message(topic, account, &self.report.body);
        self.report.binding = self.audit_key.sign(&message).0;
    }

    fn drawn(&self) -> Vec<u64> {
        self.receipt
            .entries
            .iter()
            .map(|entry| entry.index)
            .collect()
    }

    fn error(&self) -> ReportError {
        check(&self.report, &self.expected, |_| false).unwrap_err()
    }

    /// The error after `change` of the receipt, signed and bound by those who may.
    fn error_of_receipt(change: impl FnOnce(&mut Receipt)) -> ReportError {
        let mut audit = Self::honest(false);
        change(&mut audit.receipt);
        audit.sign_receipt();
        audit.bind();
        audit.error()
    }

    /// The error after `change` of what was served, bound by the audit key.
    fn error_of_served(windowed: bool, change: impl FnOnce(&mut Served)) -> ReportError {
        let mut audit = Self::honest(windowed);
        change(audit.served());
        audit.bind();
        audit.error()
    }
}

#[test]
fn honest_reports_pass() {
    for windowed in [false, true] {
        let audit = Audit::honest(windowed);
        let checked = check(&audit.report, &audit.expected, |_| false).unwrap();
        assert_eq!(
            (checked.moment_ms, checked.head),
            (MOMENT, Some(audit.receipt.head))
        );
    }
    let drawn = Audit::honest(false).drawn()[9];
    for demand in [None, Some(drawn)] {
        let audit = Audit::failed(demand);
        let checked = check(&audit.report, &audit.expected, |_| false).unwrap();
        assert_eq!((checked.moment_ms, checked.head), (MOMENT, None));
    }
}

#[test]
fn rule_1_the_committed_secrets() {
    let mut audit = Audit::honest(false);
    audit.report.w[0] ^= 1;
    assert_eq!(audit.error(), ReportError::WrongSecrets);
    let mut audit = Audit::honest(false);
    audit.report.audit_key[0] ^= 1;
    assert_eq!(audit.error(), ReportError::WrongSecrets);
}

#[test]
fn rule_2_a_key_of_small_order_binds_nothing() {
    let identity = {
        let mut point = [0; 32];
        point[0] = 1;
        point
    };
    let mut audit = Audit::honest(false);
    audit.report.audit_key = identity;
    audit.report.binding = [0; 64];
    audit.report.binding[0] = 1;
    audit.expected.z = coinflip::commitment_z(
        &audit.expected.topic,
        &audit.expected.session_key,
        &audit.report.w,
        &identity,
    );
    // The chain's verifier takes this signature for any message.
    assert!(keys::verify(&identity, b"anything", &audit.report.binding));
    assert_eq!(audit.error(), ReportError::WrongBinding);
}

#[test]
fn rule_2_the_binding() {
    let mut audit = Audit::honest(false);
    audit.expected.account[0] ^= 1;
    assert_eq!(audit.error(), ReportError::WrongBinding);
    let mut audit = Audit::honest(false);
    audit.served().metrics.connect_us += 1;
    assert_eq!(audit.error(), ReportError::WrongBinding);
    let mut audit = Audit::honest(false);
    audit.report.binding[0] ^= 1;
    assert_eq!(audit.error(), ReportError::WrongBinding);
}

#[test]
fn peers_ascend_without_oneself() {
    for places in [vec![1, 0], vec![0, 0], vec![2], vec![5]] {
        let mut audit = Audit::honest(false);
        audit.report.body.peers = places
            .into_iter()
            .map(|index| PeerMetrics {
                index,
                rtt_p50_us: 1,
                throughput: 1,
            })
            .collect::<Vec<_>>()
            .try_into()
            .unwrap();
        audit.bind();
        assert_eq!(audit.error(), ReportError::WrongPeers);
    }
}

#[test]
fn rule_3_only_drawn_chunks_are_demanded() {
    let drawn = Audit::honest(false).drawn();
    let other = (0..40).find(|chunk| !drawn.contains(chunk)).unwrap();
    assert_eq!(
        Audit::failed(Some(other)).error(),
        ReportError::DemandNotDrawn
    );
    assert_eq!(
        Audit::failed(Some(u64::MAX)).error(),
        ReportError::DemandNotDrawn
    );
}

#[test]
fn rule_4_the_receipt() {
    use ReportError as E;
    assert_eq!(Audit::error_of_receipt(|r| r.feed[0] ^= 1), E::OtherFeed);
    assert_eq!(
        Audit::error_of_receipt(|r| r.client[0] ^= 1),
        E::OtherClient
    );
    assert_eq!(Audit::error_of_receipt(|r| r.head.fork += 1), E::OtherFork);
    assert_eq!(Audit::error_of_receipt(|r| r.head.length = 39), E::TooShort);
    assert_eq!(Audit::error_of_receipt(|r| r.sequence = 1), E::NotFirst);
    assert_eq!(
        Audit::error_of_receipt(|r| r.opened = MOMENT - 11),
        E::WrongMoment
    );
    assert_eq!(
        Audit::error_of_receipt(|r| (r.opened, r.issued) = (MOMENT + 11, MOMENT + 12)),
        E::WrongMoment,
    );
    assert_eq!(
        Audit::error_of_receipt(|r| r.issued = MOMENT - 1),
        E::IssuedTooEarly
    );
    assert_eq!(
        Audit::error_of_receipt(|r| r.entries[9] = r.entries[0]),
        E::RepeatedEntry
    );
    assert_eq!(
        Audit::error_of_receipt(|r| {
            r.entries.pop();
        }),
        E::TooFewEntries
    );
    assert_eq!(
        Audit::error_of_receipt(|r| r.entries[3].index = 47),
        E::ChunkMissing
    );
    assert_eq!(
        Audit::error_of_served(false, |s| s.receipt[0] = 2),
        E::Receipt(ReceiptError::UnknownVersion),
    );
    assert_eq!(
        Audit::error_of_served(false, |s| s.receipt[100] ^= 1),
        E::Receipt(ReceiptError::WrongSignature),
    );
}

#[test]
fn rule_4_up_to_its_bounds() {
    // All chunks vouched for; opened as early and as late as allowed, and issued at once.
    for (vouched, opened) in [(LENGTH, MOMENT), (40, MOMENT - 10), (40, MOMENT + 10)] {
        let mut audit = Audit::of_vouched(vouched, false);
        (audit.receipt.opened, audit.receipt.issued) = (opened, opened);
        audit.sign_receipt();
        audit.bind();
        assert!(check(&audit.report, &audit.expected, |_| false).is_ok());
    }
}

#[test]
fn rule_4_drawn_chunks_behind_the_proved_ones_may_be_overtaken() {
    let mut audit = Audit::honest(false);
    audit.receipt.entries[4].index = 47;
    audit.sign_receipt();
    audit.bind();
    assert!(check(&audit.report, &audit.expected, |_| false).is_ok());
}

#[test]
fn rule_4_the_head() {
    assert_eq!(
        Audit::error_of_served(false, |s| s.head_signature[0] ^= 1),
        ReportError::WrongHeadSignature,
    );
    let mut audit = Audit::honest(false);
    audit.served().head_signature = [0; 64];
    audit.bind();
    let head = audit.receipt.head;
    assert!(check(&audit.report, &audit.expected, |known| *known == head).is_ok());
}

#[test]
fn rule_5_the_multiproof() {
    use ReportError as E;
    let error = Audit::error_of_receipt(|r| r.entries[0].leaf[0] ^= 1);
    assert_eq!(error, E::WrongTreeHash);
    assert_eq!(
        Audit::error_of_served(false, |s| s.nodes[0].hash[0] ^= 1),
        E::WrongTreeHash
    );
    assert_eq!(
        Audit::error_of_served(false, |s| s.nodes[0].size += 1),
        E::WrongTreeHash
    );
    assert_eq!(
        Audit::error_of_served(false, |s| s.sizes[0] += 1),
        E::WrongTreeHash
    );
    assert_eq!(
        Audit::error_of_served(false, |s| {
            s.nodes.pop();
        }),
        E::Multiproof(MultiproofError::TooFewNodes),
    );
    assert_eq!(
        Audit::error_of_served(false, |s| s.nodes.force_push(s.nodes[0])),
        E::Multiproof(MultiproofError::TooManyNodes),
    );
    assert_eq!(
        Audit::error_of_served(false, |s| {
            s.sizes.pop();
        }),
        E::Multiproof(MultiproofError::SizeCount),
    );
    // Another tree of the author's is not the receipt's.
    let mut audit = Audit::honest(false);
    audit.receipt.head.tree_hash = [1; 32];
    audit.sign_receipt();
    audit.sign_head();
    audit.bind();
    assert_eq!(audit.error(), E::WrongTreeHash);
}

#[test]
fn rule_6_the_drawn_figure() {
    let latency = |p50, p90, p99, max| Some(Percentiles { p50, p90, p99, max });
    let sequential = |change: fn(&mut Metrics)| {
        Audit::error_of_served(false, |served| change(&mut served.metrics))
    };
    let windowed = |change: fn(&mut Metrics)| {
        Audit::error_of_served(true, |served| change(&mut served.metrics))
    };
    assert_eq!(
        sequential(|m| m.latency_us = None),
        ReportError::WrongMetrics
    );
    assert_eq!(
        sequential(|m| m.throughput = Some(1)),
        ReportError::WrongMetrics
    );
    assert_eq!(windowed(|m| m.throughput = None), ReportError::WrongMetrics);
    assert_eq!(
        windowed(|m| m.throughput = Some(0)),
        ReportError::WrongMetrics
    );
    for figures in [
        latency(0, 1, 1, 1),
        latency(2, 1, 3, 4),
        latency(1, 3, 2, 4),
        latency(1, 2, 4, 3),
    ] {
        let error = Audit::error_of_served(false, |s| s.metrics.latency_us = figures);
        assert_eq!(error, ReportError::WrongMetrics);
        let error = Audit::error_of_served(true, |s| s.metrics.latency_us = figures);
        assert_eq!(error, ReportError::WrongMetrics);
    }
}

/// The bounds of the vectors bound the whole, so that a call's weight and length are known before
/// it is decoded.
#[test]
fn a_report_is_bounded() {
    use codec::MaxEncodedLen;
    assert!(Report::max_encoded_len() < 180 * 1024);
    assert!(Audit::honest(false).report.encoded_size() < Report::max_encoded_len());
}
