//! Genesis presets: the default one has no accounts and production values; a network's operator
//! merges a JSON patch into one of them.

use crate::{
    AccountId, AuraConfig, Balance, BalancesConfig, GrandpaConfig, PerformanceConfig,
    ProvidersConfig, RuntimeGenesisConfig, SudoConfig, UNIT,
};
use alloc::{vec, vec::Vec};
use frame::deps::{
    frame_support::build_struct_json_patch,
    sp_genesis_builder::{PresetId, DEV_RUNTIME_PRESET},
    sp_keyring::{Ed25519Keyring, Sr25519Keyring},
};
use pallet_performance::Timing;
use serde_json::Value;

/// What each well-known account gets in development.
pub const DEVELOPMENT_ENDOWMENT: Balance = 1_000_000 * UNIT;

/// //Alice … //Ferdie and their //stash accounts: the first twelve of the keyring.
fn well_known_accounts() -> Vec<AccountId> {
    Sr25519Keyring::well_known()
        .map(|account| account.to_account_id())
        .collect()
}

/// One authority and root //Alice, money for the well-known accounts, endpoints on this machine,
/// development timing.
fn development() -> Value {
    let balances = well_known_accounts()
        .into_iter()
        .map(|who| (who, DEVELOPMENT_ENDOWMENT))
        .collect();
    build_struct_json_patch!(RuntimeGenesisConfig {
        balances: BalancesConfig { balances },
        aura: AuraConfig {
            authorities: vec![Sr25519Keyring::Alice.public().into()]
        },
        grandpa: GrandpaConfig {
            authorities: vec![(Ed25519Keyring::Alice.public().into(), 1)]
        },
        sudo: SudoConfig {
            key: Some(Sr25519Keyring::Alice.to_account_id())
        },
        providers: ProvidersConfig {
            allow_private_endpoints: true
        },
        performance: PerformanceConfig {
            timing: Timing::development()
        },
    })
}

/// The JSON of a named preset.
pub fn get_preset(id: &PresetId) -> Option<Vec<u8>> {
    let patch = match id.as_ref() {
        DEV_RUNTIME_PRESET => development(),
        _ => return None,
    };
    Some(serde_json::to_vec(&patch).expect("a JSON value of ours can be written; qed"))
}

/// The names of all presets but the default.
pub fn preset_names() -> Vec<PresetId> {
    vec![PresetId::from(DEV_RUNTIME_PRESET)]
}
