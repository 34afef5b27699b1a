//! What clients and other nodes rely on: indices, presets, extensions, explanations.

mod documentation;

use crate::*;
use frame::deps::{
    frame_support::{genesis_builder_helper, traits::PalletInfoAccess},
    sp_io::TestExternalities,
    sp_runtime::traits::TransactionExtension,
};
use serde_json::{json, Value};

/// RFC 7396.
fn merge(target: &mut Value, patch: Value) {
    match patch {
        Value::Object(patch) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (key, value) in patch {
                merge(&mut target[key], value);
            }
        }
        other => *target = other,
    }
}

/// The state that genesis makes of the default preset with these patches.
fn chain(patches: &[Value]) -> TestExternalities {
    let default = genesis_builder_helper::get_preset::<RuntimeGenesisConfig>(&None, |_| None);
    let mut config: Value = serde_json::from_slice(&default.unwrap()).unwrap();
    for patch in patches {
        merge(&mut config, patch.clone());
    }
    let mut state = TestExternalities::default();
    state.execute_with(|| {
        let config = serde_json::to_vec(&config).unwrap();
        genesis_builder_helper::build_state::<RuntimeGenesisConfig>(config).unwrap();
    });
    state
}

fn preset(name: &str) -> Value {
    serde_json::from_slice(&genesis::get_preset(&name.into()).unwrap()).unwrap()
}

#[test]
fn pallets_keep_their_indices() {
    let indices = [
        System::index(),
        Timestamp::index(),
        Aura::index(),
        Grandpa::index(),
        Balances::index(),
        TransactionPayment::index(),
        Sudo::index(),
        Providers::index(),
        Hosting::index(),
        Performance::index(),
    ];
    assert_eq!(indices, core::array::from_fn(|index| index));
}

#[test]
fn transactions_carry_no_data_that_a_client_could_not_know() {
    let names: Vec<_> = TxExtension::metadata()
        .iter()
        .map(|extension| extension.identifier)
        .collect();
    assert_eq!(
        names,
        [
            "AuthorizeCall",
            "CheckNonZeroSender",
            "CheckSpecVersion",
            "CheckTxVersion",
            "CheckGenesis",
            "CheckMortality",
            "CheckNonce",
            "CheckWeight",
            "ChargeTransactionPayment",
            "WeightReclaim",
        ]
    );
}

#[test]
fn the_default_preset_has_production_values_and_no_money() {
    chain(&[]).execute_with(|| {
        assert_eq!(Aura::slot_duration(), 6_000);
        assert_eq!(MinAge::get(), 50);
        assert_eq!(Balances::total_issuance(), 0);
        assert_eq!(pallet_sudo::Key::<Runtime>::get(), None);
        assert!(!pallet_providers::AllowPrivateEndpoints::<Runtime>::get());
    });
}

#[test]
fn the_development_preset_has_money_root_and_one_authority() {
    chain(&[preset("development")]).execute_with(|| {
        let alice = Sr25519Keyring::Alice.to_account_id();
        assert_eq!(Aura::slot_duration(), 500);
        assert_eq!(Aura::authorities_len(), 1);
        assert_eq!(Grandpa::grandpa_authorities().len(), 1);
        assert_eq!(pallet_sudo::Key::<Runtime>::get(), Some(alice.clone()));
        assert_eq!(
            Balances::free_balance(alice),
            genesis::DEVELOPMENT_ENDOWMENT
        );
        let stash = Sr25519Keyring::FerdieStash.to_account_id();
        assert_eq!(
            Balances::free_balance(stash),
            genesis::DEVELOPMENT_ENDOWMENT
        );
        assert_eq!(
            Balances::total_issuance(),
            12 * genesis::DEVELOPMENT_ENDOWMENT
        );
        assert!(pallet_providers::AllowPrivateEndpoints::<Runtime>::get());
    });
}

#[test]
fn a_patch_changes_the_block_time_of_everything() {
    let patch = json!({
        "performance": { "timing": { "blockMs": 250 } },
        "providers": { "allowPrivateEndpoints": false },
    });
    chain(&[preset("development"), patch]).execute_with(|| {
        assert_eq!(Aura::slot_duration(), 250);
        assert_eq!(MinimumPeriod::get(), 125);
        assert!(!pallet_providers::AllowPrivateEndpoints::<Runtime>::get());
    });
}

#[test]
fn presets_are_known_by_name() {
    for name in genesis::preset_names() {
        assert!(genesis::get_preset(&name).is_some());
    }
    assert_eq!(genesis::get_preset(&"another".into()), None);
}

#[test]
fn what_must_hold_holds_at_genesis() {
    chain(&[preset("development")]).execute_with(|| {
        Providers::do_try_state().unwrap();
        Hosting::do_try_state().unwrap();
        Performance::do_try_state().unwrap();
    });
}

#[test]
fn metadata_is_offered_for_old_and_new_clients() {
    chain(&[]).execute_with(|| {
        assert_eq!(Runtime::metadata_versions(), [14, 15, 16]);
        let metadata: Vec<u8> = Runtime::metadata().into();
        assert_eq!(metadata[4], 14);
    });
}

#[test]
fn calls_about_challenges_keep_their_indices() {
    use alloc::boxed::Box;
    use datdot_primitives::evidence::Proof;
    use frame::deps::codec::Encode;
    let proof = Proof::Equivocation {
        id: 0,
        attempt: 0,
        a: Default::default(),
        b: Default::default(),
    };
    type Calls = pallet_performance::Call<Runtime>;
    let calls = [
        (
            1,
            Calls::anchor_flip {
                id: 0,
                attempt: 0,
                openings: Default::default(),
                echoes: Default::default(),
            },
        ),
        (2, Calls::commit_flip { id: 0, z: [0; 32] }),
        (
            5,
            Calls::report_fraud {
                proof: Box::new(proof),
            },
        ),
        (6, Calls::close_challenge { id: 0 }),
    ];
    for (index, call) in calls {
        assert_eq!(RuntimeCall::Performance(call).encode()[..2], [9, index]);
    }
}

#[test]
fn a_fraud_costs_the_whole_bond() {
    use frame::prelude::Get;
    type Slash = <Runtime as pallet_performance::Config>::FraudSlash;
    type Bond = <Runtime as pallet_providers::Config>::AttestorBond;
    assert_eq!(
        <Slash as Get<Balance>>::get(),
        <Bond as Get<Balance>>::get()
    );
}

#[test]
fn a_demand_pays_for_the_largest_answer() {
    use alloc::boxed::Box;
    use datdot_primitives::{answer::Answer, tree::Node};
    use frame::deps::{
        codec::Encode, frame_support::dispatch::GetDispatchInfo, frame_support::BoundedVec,
    };
    let node = Node {
        hash: [0; 32],
        size: 0,
    };
    let answer = Answer::Chunk {
        bytes: BoundedVec::truncate_from(alloc::vec![0; 1 << 20]),
        length: 0,
        head_signature: [0; 64],
        sizes: BoundedVec::truncate_from(alloc::vec![0; 1 << 20]),
        nodes: BoundedVec::truncate_from(alloc::vec![node; 1 << 20]),
    };
    let call = RuntimeCall::Performance(pallet_performance::Call::answer_demand {
        id: u64::MAX,
        attestor: Sr25519Keyring::Alice.to_account_id(),
        answer: Box::new(answer),
    });
    type Fee = <Runtime as pallet_performance::Config>::DemandFee;
    type Deposit = <Runtime as pallet_performance::Config>::DemandDeposit;
    chain(&[]).execute_with(|| {
        // Address, signature and extensions have less than 200 bytes.
        let length = call.encoded_size() as u32 + 200;
        let fee = TransactionPayment::compute_fee(length, &call.get_dispatch_info(), 0);
        assert!(
            length > 290_000 && fee < <Fee as Get<Balance>>::get(),
            "{fee}"
        );
    });
    assert!(<Deposit as Get<Balance>>::get() >= <Fee as Get<Balance>>::get());
}
