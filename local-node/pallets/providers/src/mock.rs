//! A chain with balances and this pallet.

use crate as pallet_providers;
use crate::*;
use datdot_primitives::registration;
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use frame::{
    deps::sp_runtime::{AccountId32, BuildStorage},
    testing_prelude::*,
};

pub type AccountId = AccountId32;
pub type Balance = u128;
type Block = MockBlockU32<Test>;

pub const ENDOWMENT: Balance = 1_000;
pub const ATTESTOR_BOND: Balance = 100;
pub const HOSTER_BOND: Balance = 50;
pub const UNBONDING: u32 = 20;
pub const MIN_AGE: u32 = 3;
pub const MAX_TASKS: u32 = 4;
pub const MAX_CAPACITY: u32 = 8;

pub const ALICE: AccountId = AccountId::new([1; 32]);
pub const BOB: AccountId = AccountId::new([2; 32]);
pub const CAROL: AccountId = AccountId::new([3; 32]);
pub const POOR: AccountId = AccountId::new([4; 32]);

#[frame_construct_runtime]
mod runtime {
    #[runtime::runtime]
    #[runtime::derive(
        RuntimeCall,
        RuntimeEvent,
        RuntimeError,
        RuntimeOrigin,
        RuntimeHoldReason,
        RuntimeFreezeReason,
        RuntimeTask
    )]
    pub struct Test;

    #[runtime::pallet_index(0)]
    pub type System = frame_system;
    #[runtime::pallet_index(1)]
    pub type Balances = pallet_balances;
    #[runtime::pallet_index(2)]
    pub type Providers = pallet_providers;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type Block = Block;
    type AccountData = pallet_balances::AccountData<Balance>;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type AccountStore = System;
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<1>;
}

parameter_types! {
    pub static LargestCapacity: u32 = MAX_CAPACITY;
    pub static TasksPerBlock: u32 = MAX_TASKS;
}

impl Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type AttestorBond = ConstU128<ATTESTOR_BOND>;
    type HosterBond = ConstU128<HOSTER_BOND>;
    type MaxCapacity = LargestCapacity;
    type UnbondingBlocks = ConstU32<UNBONDING>;
    type MinAge = ConstU32<MIN_AGE>;
    type MaxTasksPerBlock = TasksPerBlock;
    type WeightInfo = ();
}

/// A new chain at block 1.
pub fn new_test_ext(allow_private_endpoints: bool) -> TestState {
    let mut storage = frame_system::GenesisConfig::<Test>::default()
        .build_storage()
        .unwrap();
    let mut balances = vec![(POOR, 20)];
    balances.extend([ALICE, BOB, CAROL].map(|who| (who, ENDOWMENT)));
    pallet_balances::GenesisConfig::<Test> {
        balances,
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .unwrap();
    GenesisConfig::<Test> {
        allow_private_endpoints,
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .unwrap();
    let mut state = TestState::new(storage);
    state.execute_with(|| System::set_block_number(1));
    state
}

/// Run the test on a new chain at block 1, then check what must always hold.
pub fn on_chain(allow_private_endpoints: bool, test: impl FnOnce()) {
    new_test_ext(allow_private_endpoints).execute_with(|| {
        test();
        Pallet::<Test>::do_try_state().unwrap();
    });
}

/// Go on to this block, checking what must hold after each.
pub fn run_to(block: u32) {
    while System::block_number() < block {
        let next = System::block_number() + 1;
        System::set_block_number(next);
        Providers::on_initialize(next);
        Pallet::<Test>::do_try_state().unwrap();
    }
}

/// A key pair from a small number.
pub fn secret(number: u8) -> SigningKey {
    SigningKey::from([number; 32])
}

pub fn public(number: u8) -> PublicKey {
    VerificationKeyBytes::from(&secret(number)).into()
}

/// The right proof of that key for the account and role.
pub fn proof(number: u8, role: Role, account: &AccountId) -> Signature {
    let genesis = System::block_hash(0).into();
    let message = registration::message(&genesis, role, account.as_ref());
    secret(number).sign(&message).into()
}

pub fn endpoint(port: u16) -> Endpoint {
    Endpoint {
        ip: Ip::V4([9, 9, 9, 9]),
        port,
    }
}

pub fn register_attestor(account: AccountId, number: u8, capacity: u32) -> DispatchResult {
    let proof = proof(number, Role::Attestor, &account);
    let origin = RuntimeOrigin::signed(account);
    Providers::register_attestor(origin, public(number), endpoint(1), capacity, proof)
}

pub fn register_hoster(account: AccountId, number: u8) -> DispatchResult {
    let proof = proof(number, Role::Hoster, &account);
    let origin = RuntimeOrigin::signed(account);
    Providers::register_hoster(origin, public(number), endpoint(1), proof)
}

/// The eligible attestors, in the order of the list.
pub fn pool() -> Vec<AccountId> {
    (0..Providers::eligible_count())
        .map(|at| Providers::eligible_at(at).unwrap())
        .collect()
}

pub fn provider(role: Role, account: &AccountId) -> Provider<Balance, u32> {
    crate::pallet::Providers::<Test>::get(role, account).unwrap()
}
