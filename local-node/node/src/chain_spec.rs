//! Chain specifications: one validator, three validators, and a template for a real network.

use polkadot_sdk::*;

use sc_chain_spec::Properties;
use sc_service::{ChainType, GenericChainSpec};
use serde_json::{json, Value};
use sp_core::{crypto::Ss58Codec, sr25519, Pair};
use sp_genesis_builder::DEV_RUNTIME_PRESET;
use sp_keyring::{Ed25519Keyring, Sr25519Keyring};

/// The runtime of a new chain, the file that `make wasm` writes.
pub const RUNTIME: &[u8] =
    include_bytes!("../../embedded/datdot_node/runtime/datdot_runtime.compact.compressed.wasm");

/// The `id` of the template, under which no node runs.
pub const TEMPLATE_ID: &str = "datdot-template";

const HOSTERS: u32 = 3;
const ATTESTORS: u32 = 8;
/// What each account of a development network gets: a million tokens.
const ENDOWMENT: u128 = 1_000_000_000_000_000_000;

/// //Hoster//1 … //Hoster//3, //Attestor//1 … //Attestor//8.
fn providers() -> impl Iterator<Item = String> {
    let hosters = (1..=HOSTERS).map(|number| format!("//Hoster//{number}"));
    hosters.chain((1..=ATTESTORS).map(|number| format!("//Attestor//{number}")))
}

fn address(uri: &str) -> String {
    let pair = sr25519::Pair::from_string(uri, None).expect("a path of ours derives a key; qed");
    pair.public().to_ss58check()
}

fn properties() -> Properties {
    let properties = [("ss58Format", json!(42)), ("tokenDecimals", json!(12))];
    properties
        .map(|(name, value)| (name.to_string(), value))
        .into_iter()
        .collect()
}

/// One validator, //Alice, and the runtime's preset for development.
pub fn development() -> GenericChainSpec {
    GenericChainSpec::builder(RUNTIME, None)
        .with_name("DatDot development")
        .with_id("datdot-dev")
        .with_chain_type(ChainType::Development)
        .with_protocol_id("datdot")
        .with_properties(properties())
        .with_genesis_config_preset_name(DEV_RUNTIME_PRESET)
        .build()
}

/// Three validators, //Alice, //Bob and //Charlie, and eleven accounts of providers beside the
/// well-known ones; blocks every second.
pub fn local() -> GenericChainSpec {
    let validators = [
        (Sr25519Keyring::Alice, Ed25519Keyring::Alice),
        (Sr25519Keyring::Bob, Ed25519Keyring::Bob),
        (Sr25519Keyring::Charlie, Ed25519Keyring::Charlie),
    ];
    let authors: Vec<String> = validators
        .iter()
        .map(|(author, _)| author.public().to_ss58check())
        .collect();
    let voters: Vec<(String, u64)> = validators
        .iter()
        .map(|(_, voter)| (voter.public().to_ss58check(), 1))
        .collect();
    let well_known =
        Sr25519Keyring::well_known().map(|account| account.to_account_id().to_ss58check());
    let balances: Vec<Value> = well_known
        .chain(providers().map(|uri| address(&uri)))
        .map(|account| json!([account, ENDOWMENT]))
        .collect();
    GenericChainSpec::builder(RUNTIME, None)
        .with_name("DatDot local testnet")
        .with_id("datdot-local")
        .with_chain_type(ChainType::Local)
        .with_protocol_id("datdot")
        .with_properties(properties())
        .with_genesis_config_preset_name(DEV_RUNTIME_PRESET)
        .with_genesis_config_patch(json!({
            "balances": { "balances": balances },
            "aura": { "authorities": authors },
            "grandpa": { "authorities": voters },
            "performance": { "timing": local_timing() },
        }))
        .build()
}

/// What differs from the timing of development when a block is made every second and is final
/// three to five seconds later: the coinflip begins, and a fallback's commits end, that much later.
fn local_timing() -> Value {
    json!({
        "blockMs": 1_000,
        "joinMs": 7_000,
        "finalityMs": 5_000,
        "flipMs": 16_500,
        "commitMs": 9_000,
        "commitBlocks": 9,
        "windowMs": 40_000,
    })
}

/// A network of others, to be completed: no accounts, no validators, nobody who is root.
pub fn template() -> GenericChainSpec {
    GenericChainSpec::builder(RUNTIME, None)
        .with_name("DatDot template")
        .with_id(TEMPLATE_ID)
        .with_chain_type(ChainType::Live)
        .with_protocol_id("datdot")
        .with_properties(properties())
        .with_genesis_config_patch(json!({
            "balances": { "balances": [] },
            "aura": { "authorities": [] },
            "grandpa": { "authorities": [] },
            "sudo": { "key": null },
            "providers": { "allowPrivateEndpoints": false },
        }))
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use codec::Decode;
    use sp_core::storage::Storage;
    use sp_io::hashing::twox_128;
    use sp_runtime::{AccountId32, BuildStorage};

    fn value<T: Decode>(storage: &Storage, pallet: &str, item: &str) -> Option<T> {
        let key = [twox_128(pallet.as_bytes()), twox_128(item.as_bytes())].concat();
        let bytes = storage.top.get(&key)?;
        Some(T::decode(&mut &bytes[..]).unwrap())
    }

    fn count(storage: &Storage, pallet: &str, item: &str) -> usize {
        let prefix = [twox_128(pallet.as_bytes()), twox_128(item.as_bytes())].concat();
        storage
            .top
            .keys()
            .filter(|key| key.starts_with(&prefix) && **key != prefix)
            .count()
    }

    fn block_ms(storage: &Storage) -> u64 {
        value(storage, "Performance", "Timing").unwrap()
    }

    fn aura(storage: &Storage) -> Vec<[u8; 32]> {
        value(storage, "Aura", "Authorities").unwrap_or_default()
    }

    fn grandpa(storage: &Storage) -> Vec<([u8; 32], u64)> {
        value(storage, "Grandpa", "Authorities").unwrap_or_default()
    }

    fn sudo(storage: &Storage) -> Option<AccountId32> {
        value(storage, "Sudo", "Key")
    }

    #[test]
    fn a_development_chain_has_one_validator() {
        let storage = development().build_storage().unwrap();
        assert_eq!(block_ms(&storage), 500);
        assert_eq!(aura(&storage), [Sr25519Keyring::Alice.to_raw_public()]);
        assert_eq!(
            grandpa(&storage),
            [(Ed25519Keyring::Alice.to_raw_public(), 1)]
        );
    }

    #[test]
    fn a_local_testnet_has_three_validators_and_eleven_providers() {
        let storage = local().build_storage().unwrap();
        assert_eq!(block_ms(&storage), 1_000);
        let authors = [
            Sr25519Keyring::Alice,
            Sr25519Keyring::Bob,
            Sr25519Keyring::Charlie,
        ];
        assert_eq!(aura(&storage), authors.map(Sr25519Keyring::to_raw_public));
        let voters = [
            Ed25519Keyring::Alice,
            Ed25519Keyring::Bob,
            Ed25519Keyring::Charlie,
        ];
        assert_eq!(
            grandpa(&storage),
            voters.map(|voter| (voter.to_raw_public(), 1))
        );
        assert_eq!(providers().count(), 11);
        assert_eq!(count(&storage, "System", "Account"), 12 + 11);
    }

    #[test]
    fn nobody_is_root_of_the_production_template() {
        let storage = template().build_storage().unwrap();
        assert_eq!(sudo(&storage), None);
        assert_eq!(
            sudo(&local().build_storage().unwrap()),
            Some(Sr25519Keyring::Alice.to_account_id())
        );
    }

    #[test]
    fn the_production_template_has_production_values_and_nobody_of_ours() {
        let storage = template().build_storage().unwrap();
        assert_eq!(block_ms(&storage), 6_000);
        let private = value::<bool>(&storage, "Providers", "AllowPrivateEndpoints");
        assert!(!private.unwrap_or_default());
        assert!(aura(&storage).is_empty());
        assert!(grandpa(&storage).is_empty());
        assert_eq!(count(&storage, "System", "Account"), 0);
        let issued = value::<u128>(&storage, "Balances", "TotalIssuance");
        assert_eq!(issued.unwrap_or_default(), 0);
    }
}
