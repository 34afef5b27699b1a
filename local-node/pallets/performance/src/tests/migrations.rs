//! From the bytes of older runtimes to the records of this one.

use codec::Encode;
use frame::{
    deps::{
        frame_support::{
            storage::unhashed,
            traits::{GetStorageVersion, OnRuntimeUpgrade, StorageVersion},
            weights::constants::RocksDbWeight,
        },
        frame_system::{LastRuntimeUpgrade, LastRuntimeUpgradeInfo},
    },
    testing_prelude::*,
};

use crate::{
    migrations::ToV1,
    mock::*,
    types::{Median, Medians, QueuePlace, ReportedOutcome, Wait},
    Challenges, History, Queue, Reports, Settlements, Turns, Waiting,
};

/// The chain ran a runtime of this version with storage version 0.
fn ran(spec_version: u32) {
    StorageVersion::new(0).put::<Performance>();
    LastRuntimeUpgrade::<Test>::put(LastRuntimeUpgradeInfo {
        spec_version: spec_version.into(),
        spec_name: "datdot".into(),
    });
}

/// Each median without its quartiles, and without the bound that came later; the same bytes as
/// `spec_version` 2 wrote.
fn old_medians(medians: &Medians) -> Vec<u8> {
    let figures = [
        medians.connect_us,
        medians.handshake_us,
        medians.first_chunk_us,
        medians.latency_p50_us,
        medians.latency_p90_us,
        medians.latency_p99_us,
        medians.latency_max_us,
        medians.throughput,
        medians.timeouts,
        medians.observed_latency_p50_us,
        medians.observed_throughput,
    ];
    figures
        .iter()
        .map(|figure| figure.map(|median| (median.value, median.reports)))
        .flat_map(|figure| figure.encode())
        .collect()
}

/// What is left of medians by the old layout.
fn without_spread(medians: Medians) -> Medians {
    let flat = |figure: Option<Median>| {
        figure.map(|median| Median {
            low: median.value,
            high: median.value,
            ..median
        })
    };
    Medians {
        connect_us: flat(medians.connect_us),
        handshake_us: flat(medians.handshake_us),
        first_chunk_us: flat(medians.first_chunk_us),
        latency_p50_us: flat(medians.latency_p50_us),
        latency_p90_us: flat(medians.latency_p90_us),
        latency_p99_us: flat(medians.latency_p99_us),
        latency_max_us: flat(medians.latency_max_us),
        throughput: flat(medians.throughput),
        throughput_at_least: None,
        timeouts: flat(medians.timeouts),
        observed_latency_p50_us: flat(medians.observed_latency_p50_us),
        observed_throughput: flat(medians.observed_throughput),
    }
}

#[test]
fn records_of_spec_version_2_are_translated() {
    with_chain(|| {
        // A settled challenge with reports of both kinds, and one in phase Report.
        let settled = reporting();
        submit_failed(settled, 0);
        for index in 1..5 {
            submit_served(settled, index);
        }
        blocks(2);
        let open = crate::Running::<Test>::get(0).unwrap();
        assert_ok!(anchor_attempt(open, 0, 0));
        until(Challenges::<Test>::get(open).unwrap().end_ms());
        submit_served(open, 2);

        let challenges: Vec<_> = Challenges::<Test>::iter().collect();
        let reports: Vec<_> = Reports::<Test>::iter().collect();
        let mut settlement = Settlements::<Test>::get(settled).unwrap();
        let mut history = History::<Test>::get(0);
        assert_eq!((challenges.len(), reports.len(), history.len()), (2, 6, 1));

        for (id, challenge) in &challenges {
            let mut bytes = challenge.encode();
            if matches!(challenge.stage, crate::Stage::Report { .. }) {
                // No answers are awaited.
                assert_eq!(bytes.pop(), Some(0));
            }
            unhashed::put_raw(&Challenges::<Test>::hashed_key_for(id), &bytes);
        }
        for (id, who, record) in &reports {
            let mut bytes = record.encode();
            if let ReportedOutcome::Failed { .. } = record.outcome {
                // … reason, no demand, no peers.
                assert_eq!(bytes.split_off(bytes.len() - 2), [0, 0]);
                bytes.push(0);
            }
            unhashed::put_raw(&Reports::<Test>::hashed_key_for(id, who), &bytes);
        }
        let bytes = (
            settlement.outcome,
            settlement.active,
            settlement.served,
            settlement.failed,
        )
            .encode();
        let rest = (
            &settlement.paid,
            &settlement.absent,
            settlement.burnt,
            settlement.to_escrow,
            settlement.forfeited,
        )
            .encode();
        let bytes = [bytes, old_medians(&settlement.medians), rest].concat();
        unhashed::put_raw(&Settlements::<Test>::hashed_key_for(settled), &bytes);
        let entry = history[0];
        let bytes = [
            vec![4],
            (entry.challenge, entry.outcome).encode(),
            old_medians(&entry.medians),
        ]
        .concat();
        unhashed::put_raw(&History::<Test>::hashed_key_for(0), &bytes);

        ran(2);
        // Ten records are read and written; both versions are read, and the new one is written.
        let weight = ToV1::<Test>::on_runtime_upgrade();
        assert_eq!(weight, RocksDbWeight::get().reads_writes(10 + 2, 10 + 1));
        assert_eq!(Performance::on_chain_storage_version(), 1);
        settlement.medians = without_spread(settlement.medians);
        history[0].medians = without_spread(history[0].medians);
        assert_eq!(Challenges::<Test>::iter().collect::<Vec<_>>(), challenges);
        assert_eq!(Reports::<Test>::iter().collect::<Vec<_>>(), reports);
        assert_eq!(Settlements::<Test>::get(settled), Some(settlement));
        assert_eq!(History::<Test>::get(0), history);
        check_invariants();
        // What was translated goes on.
        for index in [0, 1, 3, 4] {
            submit_served(open, index);
        }
        assert!(Settlements::<Test>::contains_key(open));
    });
}

#[test]
fn who_waited_by_block_waits_by_turn() {
    with_chain(|| {
        prepare(4);
        let hostings: Vec<_> = [SPONSOR, SPONSOR, STRANGER]
            .into_iter()
            .map(|sponsor| open_hosting_for(sponsor, COST))
            .collect();
        for id in &hostings {
            Performance::dequeue(*id);
        }
        // The second one since an earlier block; by block, then by id.
        for (id, since) in hostings.iter().zip([9u32, 8, 9]) {
            unhashed::put_raw(&Waiting::<Test>::hashed_key_for(id), &since.encode());
            let place = [
                frame::deps::frame_support::storage::storage_prefix(b"Performance", b"Queue")
                    .to_vec(),
                u64::from(since).to_be_bytes().to_vec(),
                id.to_be_bytes().to_vec(),
            ]
            .concat();
            unhashed::put_raw(&place, &[]);
        }
        ran(3);
        // Four for each that waits. The old places are not in a block's state yet, so that none of
        // them counts.
        let weight = ToV1::<Test>::on_runtime_upgrade();
        assert_eq!(weight, RocksDbWeight::get().reads_writes(12 + 2, 12 + 1));
        let waits: Vec<_> = hostings
            .iter()
            .map(|id| Waiting::<Test>::get(id).unwrap())
            .collect();
        let wait = |sponsor, turn, since| Wait {
            sponsor: account(sponsor),
            turn,
            since,
        };
        assert_eq!(
            waits,
            [
                wait(SPONSOR, 2, 9),
                wait(SPONSOR, 1, 8),
                wait(STRANGER, 1, 9)
            ]
        );
        assert_eq!(
            Queue::<Test>::iter_keys().collect::<Vec<_>>(),
            [
                QueuePlace::new(1, 8, hostings[1]),
                QueuePlace::new(1, 9, hostings[2]),
                QueuePlace::new(2, 9, hostings[0]),
            ]
        );
        assert_eq!(Turns::<Test>::iter().count(), 2);
        check_invariants();
    });
}

#[test]
fn records_of_spec_version_3_stay() {
    with_chain(|| {
        let settled = reporting();
        submit_failed(settled, 0);
        for index in 1..5 {
            submit_served(settled, index);
        }
        // The next one begins, so that nobody waits.
        blocks(2);
        let records = || {
            (
                Challenges::<Test>::iter().collect::<Vec<_>>(),
                Reports::<Test>::iter().collect::<Vec<_>>(),
                Settlements::<Test>::iter().collect::<Vec<_>>(),
                History::<Test>::get(0),
            )
        };
        let before = records();
        assert_eq!((before.1.len(), before.2.len(), before.3.len()), (5, 1, 1));
        ran(3);
        ToV1::<Test>::on_runtime_upgrade();
        assert_eq!(records(), before);
    });
}

#[test]
fn an_upgrade_is_made_once() {
    with_chain(|| {
        let id = reporting();
        submit_failed(id, 0);
        assert_eq!(Performance::on_chain_storage_version(), 1);
        // Were it made again, it would find no record of spec_version 2.
        LastRuntimeUpgrade::<Test>::put(LastRuntimeUpgradeInfo {
            spec_version: 2u32.into(),
            spec_name: "datdot".into(),
        });
        let records: Vec<_> = Reports::<Test>::iter().collect();
        ToV1::<Test>::on_runtime_upgrade();
        assert_eq!(Reports::<Test>::iter().collect::<Vec<_>>(), records);
        assert_eq!(Challenges::<Test>::iter().count(), 1);
    });
}
