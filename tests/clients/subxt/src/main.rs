//! `datdot-subxt-client URL legacy|chainHead`: read, sign and watch as an application does, by one
//! of subxt's backends; one line of JSON for each step.

use std::{env, error::Error, str::FromStr, sync::Arc};

use serde_json::{Value as Json, json};
use subxt::{
    OnlineClient, PolkadotConfig,
    backend::{ChainHeadBackend, LegacyBackend},
    dynamic::{self, At, Value},
    rpcs::RpcClient,
    tx::TransactionStatus,
};
use subxt_signer::{
    SecretUri,
    sr25519::{Keypair, dev},
};

type Api = OnlineClient<PolkadotConfig>;

const UNIT: u128 = 1_000_000_000_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [url, backend] = arguments.as_slice() else {
        return Err("usage: datdot-subxt-client URL legacy|chainHead".into());
    };
    let rpc = RpcClient::from_insecure_url(url).await?;
    let api = match backend.as_str() {
        "legacy" => Api::from_backend(Arc::new(LegacyBackend::builder().build(rpc))).await?,
        "chainHead" => {
            let backend = ChainHeadBackend::builder().build_with_background_driver(rpc);
            Api::from_backend(Arc::new(backend)).await?
        }
        other => return Err(format!("unknown backend {other}").into()),
    };
    say(
        "connected",
        json!({ "genesis": format!("{:?}", api.genesis_hash()) }),
    );
    read(&api).await?;
    transfer(&api).await?;
    refused(&api).await?;
    watch(&api).await
}

fn say(step: &str, mut fields: Json) {
    fields["step"] = step.into();
    println!("{fields}");
}

async fn read(api: &Api) -> Result<(), Box<dyn Error>> {
    let at = api.at_current_block().await?;
    let timing = at
        .storage()
        .fetch(dynamic::storage::<(), Value>("Performance", "Timing"), ())
        .await?
        .decode()?;
    let constant = dynamic::constant::<u128>("Balances", "ExistentialDeposit");
    let deposit = at.constants().entry(constant)?;
    let mut accounts = at
        .storage()
        .iter(
            dynamic::storage::<([u8; 32],), Value>("System", "Account"),
            (),
        )
        .await?;
    let mut count = 0;
    while let Some(entry) = accounts.next().await {
        entry?.value().decode()?;
        count += 1;
    }
    let block_ms = timing
        .at("block_ms")
        .and_then(Value::as_u128)
        .map(|ms| ms as u64);
    say(
        "read",
        json!({ "block_ms": block_ms, "deposit": deposit.to_string(), "accounts": count }),
    );
    Ok(())
}

async fn free(api: &Api, owner: &Keypair) -> Result<u128, Box<dyn Error>> {
    let address = dynamic::storage::<([u8; 32],), Value>("System", "Account");
    let at = api.at_current_block().await?;
    let account = at
        .storage()
        .fetch(address, (owner.public_key().0,))
        .await?
        .decode()?;
    let free = account.at("data").at("free").and_then(Value::as_u128);
    free.ok_or_else(|| "the account has no free balance".into())
}

async fn nonce(api: &Api, owner: &Keypair) -> Result<u32, Box<dyn Error>> {
    let account = (owner.public_key().0,);
    let call = dynamic::runtime_api_call::<_, u32>("AccountNonceApi", "account_nonce", account);
    let at = api.at_current_block().await?;
    Ok(at.runtime_apis().call(call).await?)
}

async fn transfer(api: &Api) -> Result<(), Box<dyn Error>> {
    let before = free(api, &dev::bob()).await?;
    let nonce_before = nonce(api, &dev::alice()).await?;
    let call = dynamic::tx(
        "Balances",
        "transfer_keep_alive",
        (dev::bob().public_key().to_address::<()>(), 3 * UNIT),
    );
    let at = api.at_current_block().await?;
    let mut progress = at
        .transactions()
        .sign_and_submit_then_watch_default(&call, &dev::alice())
        .await?;
    let mut statuses = Vec::new();
    let mut events = Vec::new();
    while let Some(status) = progress.next().await {
        match status? {
            TransactionStatus::InFinalizedBlock(block) => {
                statuses.push("finalized");
                for event in block.wait_for_success().await?.iter() {
                    let event = event?;
                    events.push(format!("{}.{}", event.pallet_name(), event.event_name()));
                }
            }
            TransactionStatus::InBestBlock(_) => statuses.push("in a block"),
            TransactionStatus::Validated => statuses.push("validated"),
            _ => statuses.push("something else"),
        }
    }
    let received = free(api, &dev::bob()).await? - before;
    let sent = nonce(api, &dev::alice()).await? - nonce_before;
    say(
        "transfer",
        json!({ "statuses": statuses, "events": events, "units": (received / UNIT) as u64, "sent": sent }),
    );
    Ok(())
}

async fn refused(api: &Api) -> Result<(), Box<dyn Error>> {
    let nobody = Keypair::from_uri(&SecretUri::from_str("//Nobody")?)?;
    let call = dynamic::tx("System", "remark", (Value::from_bytes([1, 2, 3]),));
    let at = api.at_current_block().await?;
    let sent = at
        .transactions()
        .sign_and_submit_then_watch_default(&call, &nobody)
        .await;
    let message = match sent {
        Err(error) => format!("{error:?}"),
        Ok(progress) => match progress.wait_for_finalized_success().await {
            Err(error) => format!("{error:?}"),
            Ok(_) => return Err("an account without money has sent a transaction".into()),
        },
    };
    say("refused", json!({ "message": message }));
    Ok(())
}

async fn watch(api: &Api) -> Result<(), Box<dyn Error>> {
    let mut blocks = api.stream_blocks().await?;
    let mut numbers = Vec::new();
    while numbers.len() < 3 {
        let block = blocks.next().await.ok_or("the blocks have ended")??;
        let at = block.at().await?;
        let extrinsics = at.extrinsics().fetch().await?;
        numbers.push(block.number());
        if extrinsics.is_empty() {
            return Err("a block without its timestamp".into());
        }
    }
    say("watched", json!({ "numbers": numbers }));
    Ok(())
}
