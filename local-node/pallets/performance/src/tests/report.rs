//! Reports: the good ones, and each way in which one can be wrong.

use datdot_primitives::{
    receipt::Entry,
    report::{Outcome, Percentiles, Report},
    tree::Node,
};
use frame::testing_prelude::*;

use crate::{
    mock::*,
    types::{ReportedOutcome, Stage, Tally},
    Challenges, Deadline, Error, Event, Pallet, Reports, Rooms, Tallies, Timing, VerifiedHeads,
};

/// Submits a report of the member at place 0 and expects this refusal.
fn refused(id: u64, report: Report, error: Error<Test>, what: &str) {
    let storage = frame::deps::sp_io::storage::root(StateVersion::V1);
    let answer = submit(id, 0, report).expect_err(what);
    assert_eq!(answer.error, error.into(), "{what}");
    assert_eq!(answer.post_info.pays_fee, Pays::Yes, "{what}");
    assert_eq!(
        storage,
        frame::deps::sp_io::storage::root(StateVersion::V1),
        "{what}"
    );
}

#[test]
fn reports_of_both_kinds_are_recorded() {
    with_chain(|| {
        let id = reporting();
        let report = draft(id, 0).seal(id, 0);
        let info = submit(id, 0, report.clone()).unwrap();
        assert_eq!(info.pays_fee, Pays::No);

        let record = Reports::<Test>::get(id, member(id, 0)).unwrap();
        let opened = opened(id, 0);
        let challenge = Challenges::<Test>::get(id).unwrap();
        let from = challenge.timing.moments_from(challenge.t0);
        let window = challenge.timing.window(challenge.t0, from);
        let moment = opened
            .moment(challenge.timing.schedule, window, 0, 5)
            .unwrap();
        assert_eq!(record.block, System::block_number());
        assert_eq!(record.bytes as usize, report.encoded_size());
        assert_eq!((record.w, record.audit_key), (report.w, report.audit_key));
        assert_eq!(record.moment_ms, moment);
        assert_eq!(record.windowed, opened.habit().windowed);
        assert_eq!(record.peers, report.body.peers);
        let ReportedOutcome::Served(served) = record.outcome.clone() else {
            panic!("it was served")
        };
        assert_eq!(served.head, head(LENGTH));
        assert_eq!(
            (served.sequence, served.chunks, served.proved),
            (0, 100, 32)
        );
        assert_eq!(
            (served.opened_ms, served.issued_ms),
            (moment + 100, moment + 1_000)
        );
        let Outcome::Served(reported) = report.body.outcome else {
            panic!("it was served")
        };
        assert_eq!(served.metrics, reported.metrics);
        assert!(events().contains(&Event::Reported {
            id,
            attestor: member(id, 0),
            outcome: record.outcome,
        }));

        submit_failed(id, 1);
        let record = Reports::<Test>::get(id, member(id, 1)).unwrap();
        assert!(matches!(record.outcome, ReportedOutcome::Failed { .. }));
        assert_eq!(
            Tallies::<Test>::get(id),
            Tally {
                reported: 0b11,
                served: 1,
                failed: 1
            }
        );
    });
}

#[test]
fn who_may_report_and_when() {
    with_chain(|| {
        let id = start();
        let anything = || {
            let failure = datdot_primitives::report::Failure {
                reason: datdot_primitives::report::Reason::Timeout,
                demand: None,
            };
            alloc::boxed::Box::new(Report {
                w: [0; 32],
                audit_key: [0; 32],
                binding: [0; 64],
                body: datdot_primitives::report::Body {
                    outcome: Outcome::Failed(failure),
                    peers: Default::default(),
                },
            })
        };
        assert_noop!(
            Performance::submit_report(RuntimeOrigin::root(), id, anything()),
            BadOrigin
        );
        assert_noop!(
            Performance::submit_report(origin(1), id + 1, anything()),
            Error::<Test>::UnknownChallenge
        );
        assert_noop!(
            Performance::submit_report(origin(STRANGER), id, anything()),
            Error::<Test>::NotInRoster
        );
        assert_noop!(submit(id, 0, *anything()), Error::<Test>::ReportsNotOpen);
        next_block();
        let (openings, echoes) = anchor(id);
        let who = RuntimeOrigin::signed(member(id, 0));
        assert_ok!(Performance::anchor_flip(who, id, 0, openings, echoes));

        let end = Challenges::<Test>::get(id).unwrap().end_ms();
        next_block_at(end - 1);
        refused(
            id,
            failed(id, 0, None),
            Error::ReportsNotOpen,
            "1 ms before END",
        );
        next_block_at(end);
        submit_failed(id, 0);
        refused(
            id,
            failed(id, 0, None),
            Error::AlreadyReported,
            "a second report",
        );
        submit_failed(id, 1);
    });
}

#[test]
fn reports_are_taken_though_the_agenda_lags() {
    with_chain(|| {
        let id = anchored();
        let end = Challenges::<Test>::get(id).unwrap().end_ms();
        Timestamp::set_timestamp(end);
        submit_served(id, 0);
        let stage = Challenges::<Test>::get(id).unwrap().stage;
        assert!(matches!(stage, Stage::Report { since, .. } if since == System::block_number()));
    });
}

#[test]
fn the_deadline_counts_blocks_with_room() {
    with_chain(|| {
        let id = reporting();
        let since = System::block_number();
        let deadline = Deadline {
            rooms: Rooms::<Test>::get() + 12,
            block: since + 48,
        };
        assert_eq!(
            Challenges::<Test>::get(id).unwrap().stage,
            Stage::Report {
                since,
                deadline,
                answers: None
            }
        );
        assert!(events().contains(&Event::ReportsOpened { id, deadline }));
        // Without room nothing is counted.
        for _ in 0..5 {
            System::set_block_consumed_resources(Weight::MAX, 0);
            next_block();
        }
        blocks(11);
        submit_failed(id, 0);
        next_block();
        assert_eq!(Rooms::<Test>::get(), deadline.rooms);
        refused(id, failed(id, 1, None), Error::ReportsOver, "after D");
        assert!(Pallet::<Test>::is_closable(id));
    });
}

#[test]
fn a_congested_chain_waits_four_times_as_long() {
    with_chain(|| {
        let id = reporting();
        let congested = |count| {
            for _ in 0..count {
                System::set_block_consumed_resources(Weight::MAX, 0);
                next_block();
            }
        };
        congested(47);
        submit_failed(id, 0);
        congested(1);
        refused(
            id,
            failed(id, 1, None),
            Error::ReportsOver,
            "after 48 blocks",
        );
    });
}

#[test]
fn every_byte_of_a_report_is_bound() {
    with_chain(|| {
        let id = reporting();
        let report = draft(id, 0).seal(id, 0);
        // w, audit key, binding, body: the sealed report with one bit flipped.
        let mut spoiled = report.clone();
        spoiled.w[3] ^= 4;
        refused(id, spoiled, Error::WrongSecrets, "w");
        let mut spoiled = report.clone();
        spoiled.audit_key[0] ^= 1;
        refused(id, spoiled, Error::WrongSecrets, "audit_key");
        let mut spoiled = report.clone();
        spoiled.binding[40] ^= 1;
        refused(id, spoiled, Error::WrongBinding, "binding");
        let encoded = report.body.encode();
        for at in (0..encoded.len()).step_by(97) {
            let mut bytes = encoded.clone();
            bytes[at] ^= 1;
            let Ok(body) = codec::DecodeAll::decode_all(&mut &bytes[..]) else {
                continue;
            };
            let spoiled = Report {
                body,
                ..report.clone()
            };
            refused(id, spoiled, Error::WrongBinding, "a byte of the body");
        }
        // A fellow attestor's report.
        let other = draft(id, 1).seal(id, 1);
        refused(id, other, Error::WrongSecrets, "another attestor's report");
        assert_ok!(submit(id, 0, report));
    });
}

/// Something wrong in a report.
type Spoil = fn(&mut Draft);
/// Why it is refused.
type Refusal = fn() -> Error<Test>;

/// What is spoiled here is signed anew by hoster and audit key: only the rule refuses it.
pub(super) const SPOILT: &[(&str, Spoil, Refusal)] = &[
    (
        "feed",
        |draft| draft.receipt.feed[0] ^= 1,
        || Error::ReceiptFeed,
    ),
    (
        "client",
        |draft| draft.receipt.client[9] ^= 1,
        || Error::ReceiptClient,
    ),
    (
        "fork",
        |draft| draft.receipt.head.fork = 1,
        || Error::ReceiptFork,
    ),
    (
        "length below",
        |draft| draft.receipt.head.length = VOUCHED - 1,
        || Error::ReceiptLength,
    ),
    (
        "another length",
        |draft| draft.receipt.head.length += 1,
        || Error::HeadSignature,
    ),
    (
        "tree hash",
        |draft| draft.receipt.head.tree_hash[0] ^= 1,
        || Error::HeadSignature,
    ),
    (
        "sequence",
        |draft| draft.receipt.sequence = 1,
        || Error::ReceiptSequence,
    ),
    (
        "opened too late",
        |draft| draft.receipt.opened += 1_901,
        || Error::ReceiptOpened,
    ),
    (
        "opened too early",
        |draft| draft.receipt.opened -= 2_101,
        || Error::ReceiptOpened,
    ),
    (
        "issued",
        |draft| draft.receipt.issued = draft.receipt.opened - 1,
        || Error::ReceiptIssued,
    ),
    (
        "a chunk twice",
        |draft| {
            let first = draft.receipt.entries[0];
            draft.receipt.entries.push(first);
        },
        || Error::ReceiptRepeatsChunk,
    ),
    (
        "a chunk less",
        |draft| {
            draft.receipt.entries.pop();
        },
        || Error::ReceiptTooFewChunks,
    ),
    (
        "a proved chunk missing",
        |draft| draft.receipt.entries[31].index = 5_000,
        || Error::ReceiptLacksChunk,
    ),
    (
        "a leaf",
        |draft| draft.receipt.entries[0].leaf[0] ^= 1,
        || Error::ProofTreeHash,
    ),
    (
        "head signature",
        |draft| draft.head_signature[0] ^= 1,
        || Error::HeadSignature,
    ),
    (
        "a size",
        |draft| draft.sizes[0] += 1,
        || Error::ProofTreeHash,
    ),
    (
        "a size less",
        |draft| {
            draft.sizes.pop();
        },
        || Error::ProofSizes,
    ),
    (
        "a size more",
        |draft| draft.sizes.push(1),
        || Error::ProofSizes,
    ),
    (
        "a node's hash",
        |draft| draft.nodes[0].hash[0] ^= 1,
        || Error::ProofTreeHash,
    ),
    (
        "a node's size",
        |draft| draft.nodes[0].size += 1,
        || Error::ProofTreeHash,
    ),
    (
        "an overflow",
        |draft| draft.nodes[0].size = u64::MAX,
        || Error::ProofRange,
    ),
    (
        "a node less",
        |draft| {
            draft.nodes.pop();
        },
        || Error::ProofNodes,
    ),
    (
        "a node more",
        |draft| {
            draft.nodes.push(Node {
                hash: [0; 32],
                size: 0,
            })
        },
        || Error::ProofNodes,
    ),
    (
        "no figure",
        |draft| {
            draft.metrics.latency_us = None;
            draft.metrics.throughput = None;
        },
        || Error::WrongMetrics,
    ),
    (
        "both figures",
        |draft| {
            draft.metrics.latency_us = Some(Percentiles {
                p50: 1,
                p90: 2,
                p99: 3,
                max: 4,
            });
            draft.metrics.throughput = Some(1);
        },
        || Error::WrongMetrics,
    ),
    (
        "the other figure",
        |draft| {
            let windowed = draft.metrics.throughput.is_some();
            draft.metrics = metrics(!windowed, 10);
        },
        || Error::WrongMetrics,
    ),
    (
        "a figure of zero",
        |draft| match &mut draft.metrics.latency_us {
            Some(latency) => latency.p50 = 0,
            None => draft.metrics.throughput = Some(0),
        },
        || Error::WrongMetrics,
    ),
    (
        "oneself",
        |draft| draft.peers[0].index = 0,
        || Error::WrongPeers,
    ),
    (
        "a peer twice",
        |draft| draft.peers[1].index = 1,
        || Error::WrongPeers,
    ),
    (
        "peers out of order",
        |draft| draft.peers.swap(0, 1),
        || Error::WrongPeers,
    ),
    (
        "a peer that is not there",
        |draft| draft.peers[3].index = 5,
        || Error::WrongPeers,
    ),
];

#[test]
fn a_wrong_field_has_its_own_error() {
    with_chain(|| {
        let id = reporting();
        for (what, spoil, error) in SPOILT {
            let mut spoiled = draft(id, 0);
            spoil(&mut spoiled);
            refused(id, spoiled.seal(id, 0), error(), what);
        }
        submit_served(id, 0);
    });
}

/// Finds a member whose session was drawn to be of this kind, over challenges one after the other.
fn with_kind(windowed: bool, test: impl FnOnce(u64, usize)) {
    with_chain(|| {
        let id = reporting();
        let index = (0..5).find(|index| opened(id, *index).habit().windowed == windowed);
        test(id, index.expect("the keys of this test give both kinds"));
    });
}

#[test]
fn percentiles_must_ascend() {
    with_kind(false, |id, index| {
        for (p50, p90, p99, max) in [(5, 4, 6, 7), (1, 3, 2, 7), (1, 2, 9, 8), (0, 0, 0, 0)] {
            let mut spoiled = draft(id, index);
            spoiled.metrics.latency_us = Some(Percentiles { p50, p90, p99, max });
            let refused = submit(id, index, spoiled.seal(id, index)).unwrap_err();
            assert_eq!(refused.error, Error::<Test>::WrongMetrics.into());
        }
        let mut equal = draft(id, index);
        equal.metrics.latency_us = Some(Percentiles {
            p50: 3,
            p90: 3,
            p99: 3,
            max: 3,
        });
        assert_ok!(submit(id, index, equal.seal(id, index)));
    });
}

#[test]
fn a_throughput_of_zero_is_none() {
    with_kind(true, |id, index| {
        let mut spoiled = draft(id, index);
        spoiled.metrics.throughput = Some(0);
        let refused = submit(id, index, spoiled.seal(id, index)).unwrap_err();
        assert_eq!(refused.error, Error::<Test>::WrongMetrics.into());
        submit_served(id, index);
    });
}

#[test]
fn a_receipt_must_be_readable_and_signed() {
    with_chain(|| {
        let id = reporting();
        let body = draft(id, 0).receipt.body();
        let receipt = signed_receipt(body.clone(), &noise_key());
        let seal = |receipt| draft(id, 0).seal_with(receipt, id, 0);

        let mut version = body.clone();
        version[0] = 2;
        let version = signed_receipt(version, &noise_key());
        refused(id, seal(version), Error::ReceiptVersion, "version");
        let by_another = signed_receipt(body, &author());
        refused(id, seal(by_another), Error::ReceiptSignature, "signer");
        let mut signature = receipt.clone();
        *signature.last_mut().unwrap() ^= 1;
        refused(id, seal(signature), Error::ReceiptSignature, "signature");
        // What the rules do not look at is still under the hoster's signature.
        for (at, what) in [(113, "session"), (165, "bytes")] {
            let mut other = receipt.clone();
            other[at] ^= 1;
            refused(id, seal(other), Error::ReceiptSignature, what);
        }
        for length in [0, 10, 174, 238, receipt.len() - 1] {
            let short = receipt[..length].to_vec();
            refused(id, seal(short), Error::ReceiptMalformed, "length");
        }
        let mut longer = receipt.clone();
        longer.push(0);
        refused(id, seal(longer), Error::ReceiptMalformed, "longer");
        let mut many = draft(id, 0);
        many.receipt.entries.extend((0..29).map(|at| Entry {
            index: 900 + at,
            leaf: [0; 32],
        }));
        refused(id, many.seal(id, 0), Error::ReceiptMalformed, "129 entries");
        assert_ok!(submit(id, 0, seal(receipt)));
    });
}

#[test]
fn the_edges_of_the_clocks_tolerance_hold() {
    with_chain(|| {
        let id = reporting();
        let mut late = draft(id, 0);
        late.receipt.opened += 1_900;
        late.receipt.issued = late.receipt.opened;
        assert_ok!(submit(id, 0, late.seal(id, 0)));
        let mut early = draft(id, 1);
        early.receipt.opened -= 2_100;
        assert_ok!(submit(id, 1, early.seal(id, 1)));
    });
}

#[test]
fn a_demand_is_for_a_drawn_chunk() {
    with_chain(|| {
        let id = reporting();
        let drawn = opened(id, 0).drawn_chunks(VOUCHED, 100);
        let other = (0..VOUCHED).find(|chunk| !drawn.contains(chunk)).unwrap();
        refused(
            id,
            failed(id, 0, Some(other)),
            Error::DemandNotDrawn,
            "not drawn",
        );
        assert_ok!(submit(id, 0, failed(id, 0, Some(drawn[7]))));
        let outcome = Reports::<Test>::get(id, member(id, 0)).unwrap().outcome;
        let demand = Some(drawn[7]);
        let reason = datdot_primitives::report::Reason::Unreachable;
        assert_eq!(outcome, ReportedOutcome::Failed { reason, demand });
    });
}

#[test]
fn a_verified_head_is_not_verified_again() {
    with_chain(|| {
        let id = reporting();
        submit_served(id, 0);
        let heads = VerifiedHeads::<Test>::get(0);
        assert_eq!(heads.into_inner(), [head(LENGTH)]);
        // Exactly that head needs no signature any more; any other does.
        let mut unsigned = draft(id, 1);
        unsigned.head_signature = [0; 64];
        assert_ok!(submit(id, 1, unsigned.seal(id, 1)));
        let mut other = draft(id, 2);
        let chunks: Vec<u64> = {
            let mut drawn = opened(id, 2).drawn_chunks(VOUCHED, 100)[..32].to_vec();
            drawn.sort_unstable();
            drawn
        };
        other.receipt.head = head(LENGTH - 1);
        (other.sizes, other.nodes) = multiproof(LENGTH - 1, &chunks);
        let refused = submit(id, 2, other.seal(id, 2)).unwrap_err();
        assert_eq!(refused.error, Error::<Test>::HeadSignature.into());
        assert_eq!(VerifiedHeads::<Test>::get(0).len(), 1);
    });
}

#[test]
fn slots_give_moments_too() {
    let schedule = datdot_primitives::draws::Schedule::Slots { num: 1, den: 5 };
    with_timing(
        Timing {
            schedule,
            ..Timing::development()
        },
        || {
            let id = reporting();
            for index in 0..4 {
                submit_served(id, index);
            }
            let mut moments: Vec<u64> = (0..4)
                .map(|index| {
                    Reports::<Test>::get(id, member(id, index))
                        .unwrap()
                        .moment_ms
                })
                .collect();
            moments.sort_unstable();
            // A fifth of a slot around the middle leaves three fifths between the slots' moments.
            let slot = 6_000 / 5;
            assert!(moments
                .windows(2)
                .all(|pair| pair[1] - pair[0] >= slot * 3 / 5 - 1));
        },
    );
}
