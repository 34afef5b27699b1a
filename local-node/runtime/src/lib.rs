//! The runtime of the DatDot chain.
//!
//! One runtime serves the embedded development chain and a real network: Aura and GRANDPA are in
//! it from the start, and what differs between the two (slot duration, timing, whether private
//! endpoints are allowed) is storage that the genesis fixes. Each block must lie in a later slot
//! than its parent, and its timestamp must lie in its slot.
#![cfg_attr(not(feature = "std"), no_std)]
// The runtime macro expands to undocumented items.
#![allow(missing_docs)]

extern crate alloc;

pub mod apis;
pub mod genesis;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;
use frame::{
    deps::{
        frame_executive,
        frame_support::weights::{constants::WEIGHT_REF_TIME_PER_SECOND, ConstantMultiplier},
        sp_core, sp_runtime,
    },
    prelude::*,
    runtime::prelude::*,
    weights_prelude::ParityDbWeight,
};
use pallet_transaction_payment::{ConstFeeMultiplier, FungibleAdapter, Multiplier};

pub use frame::runtime::types_common::{AccountId, BlockNumber, Signature};

/// Amounts of money, in the smallest unit.
pub type Balance = u128;
/// Number of transactions that an account has sent.
pub type Nonce = u32;
/// A block whose extrinsics are decoded.
pub type Block = frame::runtime::types_common::BlockOf<Runtime, TxExtension>;
/// A block's header.
pub type Header = HeaderFor<Runtime>;

/// One token.
pub const UNIT: Balance = 1_000_000_000_000;
/// A thousandth of a token.
pub const MILLI_UNIT: Balance = UNIT / 1_000;

/// What a signed transaction carries besides the call. None of them carries data that a client
/// must know but the era, the nonce and the tip; `CheckMetadataHash` is left out on purpose.
pub type TxExtension = (
    frame_system::AuthorizeCall<Runtime>,
    frame_system::CheckNonZeroSender<Runtime>,
    frame_system::CheckSpecVersion<Runtime>,
    frame_system::CheckTxVersion<Runtime>,
    frame_system::CheckGenesis<Runtime>,
    frame_system::CheckEra<Runtime>,
    frame_system::CheckNonce<Runtime>,
    frame_system::CheckWeight<Runtime>,
    pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
    frame_system::WeightReclaim<Runtime>,
);

/// Executes blocks.
pub type Executive = frame_executive::Executive<
    Runtime,
    Block,
    frame_system::ChainContext<Runtime>,
    Runtime,
    AllPalletsWithSystem,
>;

sp_runtime::impl_opaque_keys! {
    /// The keys of a validator.
    pub struct SessionKeys {
        pub aura: Aura,
        pub grandpa: Grandpa,
    }
}

/// The version of this runtime; `spec_version` grows with each change of its logic,
/// `transaction_version` with each change of a call's encoding.
#[runtime_version]
pub const VERSION: RuntimeVersion = RuntimeVersion {
    spec_name: alloc::borrow::Cow::Borrowed("datdot"),
    impl_name: alloc::borrow::Cow::Borrowed("datdot-runtime"),
    authoring_version: 1,
    spec_version: 4,
    impl_version: 1,
    apis: apis::RUNTIME_API_VERSIONS,
    transaction_version: 2,
    system_version: 1,
};

#[frame_construct_runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeFreezeReason,
        RuntimeHoldReason,
        RuntimeSlashReason,
        RuntimeLockId,
        RuntimeTask,
        RuntimeViewFunction
    )]
    pub struct Runtime;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;

    #[runtime::pallet_index(1)]
    pub type Timestamp = pallet_timestamp;

    #[runtime::pallet_index(2)]
    pub type Aura = pallet_aura;

    #[runtime::pallet_index(3)]
    pub type Grandpa = pallet_grandpa;

    #[runtime::pallet_index(4)]
    pub type Balances = pallet_balances;

    #[runtime::pallet_index(5)]
    pub type TransactionPayment = pallet_transaction_payment;

    #[runtime::pallet_index(6)]
    pub type Sudo = pallet_sudo;

    #[runtime::pallet_index(7)]
    pub type Providers = pallet_providers;

    #[runtime::pallet_index(8)]
    pub type Hosting = pallet_hosting;

    #[runtime::pallet_index(9)]
    pub type Performance = pallet_performance;
}

parameter_types! {
    pub const Version: RuntimeVersion = VERSION;
    /// One second of computing in a block, three quarters of it for ordinary transactions. A chain
    /// without relay chain has no limit of proof size.
    pub BlockWeights: frame_system::limits::BlockWeights =
        frame_system::limits::BlockWeights::with_sensible_defaults(
            Weight::from_parts(WEIGHT_REF_TIME_PER_SECOND, u64::MAX),
            Perbill::from_percent(75),
        );
    pub FeeMultiplier: Multiplier = Multiplier::from_u32(1);
}

/// What an upgrade changes in storage, in this order; a migration that was made before does nothing.
pub type Migrations = (
    pallet_hosting::migrations::ToV1<Runtime>,
    pallet_performance::migrations::ToV1<Runtime>,
);

/// The length of a slot: the block time of the timing, which genesis fixes for ever.
pub struct SlotDuration;
impl Get<u64> for SlotDuration {
    fn get() -> u64 {
        pallet_performance::CurrentTiming::<Runtime>::get().block_ms
    }
}

/// Half of the slot duration: the least time between the timestamps of two blocks.
pub struct MinimumPeriod;
impl Get<u64> for MinimumPeriod {
    fn get() -> u64 {
        SlotDuration::get() / 2
    }
}

#[derive_impl(frame_system::config_preludes::SolochainDefaultConfig)]
impl frame_system::Config for Runtime {
    type AccountData = pallet_balances::AccountData<Balance>;
    type Block = Block;
    type BlockHashCount = ConstU32<4096>;
    type BlockWeights = BlockWeights;
    type DbWeight = ParityDbWeight;
    type SingleBlockMigrations = Migrations;
    type SS58Prefix = ConstU16<42>;
    type Version = Version;
}

impl pallet_timestamp::Config for Runtime {
    type Moment = u64;
    type OnTimestampSet = Aura;
    type MinimumPeriod = MinimumPeriod;
    type WeightInfo = ();
}

impl pallet_aura::Config for Runtime {
    type AuthorityId = frame::deps::sp_consensus_aura::sr25519::AuthorityId;
    type MaxAuthorities = ConstU32<32>;
    type DisabledValidators = ();
    type AllowMultipleBlocksPerSlot = ConstBool<false>;
    type SlotDuration = SlotDuration;
}

impl pallet_grandpa::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type WeightInfo = ();
    type MaxAuthorities = ConstU32<32>;
    type MaxNominators = ConstU32<0>;
    type MaxSetIdSessionEntries = ConstU64<0>;
    type KeyOwnerProof = sp_core::Void;
    type EquivocationReportSystem = ();
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Runtime {
    type AccountStore = System;
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<MILLI_UNIT>;
    type WeightInfo = pallet_balances::weights::SubstrateWeight<Runtime>;
}

impl pallet_transaction_payment::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type OnChargeTransaction = FungibleAdapter<Balances, ()>;
    /// One token per second of computing.
    type WeightToFee = frame::deps::frame_support::weights::IdentityFee<Balance>;
    /// One token per million bytes.
    type LengthToFee = ConstantMultiplier<Balance, ConstU128<{ UNIT / 1_000_000 }>>;
    type FeeMultiplierUpdate = ConstFeeMultiplier<FeeMultiplier>;
    type OperationalFeeMultiplier = ConstU8<5>;
    type WeightInfo = pallet_transaction_payment::weights::SubstrateWeight<Runtime>;
}

/// After how many blocks a registration or a drain takes effect: the timing says it.
pub struct MinAge;
impl Get<BlockNumber> for MinAge {
    fn get() -> BlockNumber {
        pallet_performance::CurrentTiming::<Runtime>::get().min_age
    }
}

/// How long evidence can be brought and bonds stay held: a week of blocks of 6 s.
pub type UnbondingBlocks = ConstU32<{ 7 * 14_400 }>;

/// What an attestor puts up, and loses by a proven fraud.
pub type AttestorBond = ConstU128<{ 1_000 * UNIT }>;

/// What a hoster puts up, and loses by a receipt that its own tree contradicts.
pub type HosterBond = ConstU128<{ 1_000 * UNIT }>;

impl pallet_providers::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type AttestorBond = AttestorBond;
    type HosterBond = HosterBond;
    type MaxCapacity = ConstU32<64>;
    type UnbondingBlocks = UnbondingBlocks;
    type MinAge = MinAge;
    type MaxTasksPerBlock = ConstU32<64>;
    type WeightInfo = pallet_providers::weights::SubstrateWeight<Runtime>;
}

impl pallet_hosting::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Hosters = Providers;
    type ProviderKeys = Providers;
    type HostingBond = ConstU128<{ 100 * UNIT }>;
    type MinEscrow = ConstU128<UNIT>;
    type MinAttestorReward = ConstU128<{ 10 * MILLI_UNIT }>;
    type MaxStreak = ConstU32<3>;
    type OnHosting = Performance;
    type WeightInfo = pallet_hosting::weights::SubstrateWeight<Runtime>;
}

impl pallet_performance::Config for Runtime {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Time = Timestamp;
    /// Good for development and trusted validators only; see there.
    type Randomness = pallet_performance::randomness::ParentHashes<Runtime>;
    type Attestors = Providers;
    type Hosters = Providers;
    type Hostings = Hosting;
    type AbsenceFee = ConstU128<{ 10 * UNIT }>;
    type FraudSlash = AttestorBond;
    type ReceiptSlash = HosterBond;
    type DemandDeposit = ConstU128<{ 2 * UNIT }>;
    /// The largest answer has some 300,000 bytes: its fee is a third of a token.
    type DemandFee = ConstU128<UNIT>;
    type WithholdingSlash = ConstU128<{ 50 * UNIT }>;
    type UnbondingBlocks = UnbondingBlocks;
    type MaxStarts = ConstU32<4>;
    type MaxDue = ConstU32<32>;
    type WeightInfo = pallet_performance::weights::SubstrateWeight<Runtime>;
}

impl pallet_sudo::Config for Runtime {
    type RuntimeEvent = RuntimeEvent;
    type RuntimeCall = RuntimeCall;
    type WeightInfo = pallet_sudo::weights::SubstrateWeight<Runtime>;
}
