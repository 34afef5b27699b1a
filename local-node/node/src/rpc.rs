//! The JSON-RPC methods beside those that every Substrate node has: nonces and fees.

use polkadot_sdk::*;

use crate::service::{Client, Pool};
use jsonrpsee::{core::RegisterMethodError, RpcModule};
use pallet_transaction_payment_rpc::{TransactionPayment, TransactionPaymentApiServer};
use std::sync::Arc;
use substrate_frame_rpc_system::{System, SystemApiServer};

/// `system_accountNextIndex`, `system_dryRun`, `payment_queryInfo`, `payment_queryFeeDetails`.
pub fn methods(
    client: &Arc<Client>,
    pool: &Arc<Pool>,
) -> Result<RpcModule<()>, RegisterMethodError> {
    let mut module = RpcModule::new(());
    module.merge(System::new(client.clone(), pool.clone()).into_rpc())?;
    module.merge(TransactionPayment::new(client.clone()).into_rpc())?;
    Ok(module)
}
