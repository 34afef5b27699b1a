//! A chain with balances, providers and this pallet, and a listener that keeps what it hears.

use crate as pallet_hosting;
use crate::*;
use datdot_primitives::{head, Hash, PublicKey};
use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use frame::{
    deps::{
        frame_support::weights::constants::RocksDbWeight,
        sp_runtime::{AccountId32, BuildStorage},
    },
    testing_prelude::*,
};
use pallet_providers::{Endpoint, Ip, Role};

pub type AccountId = AccountId32;
pub type Balance = u128;
type Block = MockBlockU32<Test>;

pub const ENDOWMENT: Balance = 100_000;
pub const HOSTING_BOND: Balance = 500;
pub const MIN_ESCROW: Balance = 30;
pub const MIN_REWARD: Balance = 5;
pub const MIN_AGE: u32 = 1;

pub const SPONSOR: AccountId = AccountId::new([1; 32]);
pub const HOSTER: AccountId = AccountId::new([2; 32]);
pub const ATTESTOR: AccountId = AccountId::new([3; 32]);
pub const STRANGER: AccountId = AccountId::new([4; 32]);

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
    #[runtime::pallet_index(3)]
    pub type Hosting = pallet_hosting;
}

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type Block = Block;
    type AccountData = pallet_balances::AccountData<Balance>;
    type DbWeight = RocksDbWeight;
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type AccountStore = System;
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<1>;
}

impl pallet_providers::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type AttestorBond = ConstU128<100>;
    type HosterBond = ConstU128<100>;
    type MaxCapacity = ConstU32<8>;
    type UnbondingBlocks = ConstU32<20>;
    type MinAge = ConstU32<MIN_AGE>;
    type MaxTasksPerBlock = ConstU32<8>;
    type WeightInfo = ();
}

/// What the listener heard.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Heard {
    Ready(HostingId),
    Funded(HostingId),
    Closed(HostingId),
}

parameter_types! {
    static Heards: Vec<Heard> = Vec::new();
    pub static MaxStreak: u32 = 3;
}

pub struct Listener;
impl OnHosting for Listener {
    fn on_ready(id: HostingId) {
        Heards::mutate(|heard| heard.push(Heard::Ready(id)));
    }

    fn on_funded(id: HostingId) {
        Heards::mutate(|heard| heard.push(Heard::Funded(id)));
    }

    fn on_closed(id: HostingId) {
        Heards::mutate(|heard| heard.push(Heard::Closed(id)));
    }
}

/// What the listener heard since the last call.
pub fn heard() -> Vec<Heard> {
    Heards::take()
}

impl Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Hosters = Providers;
    type ProviderKeys = Providers;
    type HostingBond = ConstU128<HOSTING_BOND>;
    type MinEscrow = ConstU128<MIN_ESCROW>;
    type MinAttestorReward = ConstU128<MIN_REWARD>;
    type MaxStreak = MaxStreak;
    type OnHosting = Listener;
    type WeightInfo = ();
}

pub fn public(number: u8) -> PublicKey {
    VerificationKeyBytes::from(&SigningKey::from([number; 32])).into()
}

/// The key of the compat feed that the tests host, and its signer's.
pub fn feed() -> Hash {
    public(50)
}

pub fn register(account: AccountId, number: u8, role: Role) {
    let genesis = System::block_hash(0).into();
    let message = datdot_primitives::registration::message(&genesis, role, account.as_ref());
    let proof = SigningKey::from([number; 32]).sign(&message).into();
    let endpoint = Endpoint {
        ip: Ip::V4([9, 9, 9, 9]),
        port: 1,
    };
    let origin = RuntimeOrigin::signed(account);
    let key = public(number);
    assert_ok!(match role {
        Role::Attestor => Providers::register_attestor(origin, key, endpoint, 1, proof),
        Role::Hoster => Providers::register_hoster(origin, key, endpoint, proof),
    });
}

/// A new chain at block 1.
pub fn new_test_ext() -> TestState {
    let mut storage = frame_system::GenesisConfig::<Test>::default()
        .build_storage()
        .unwrap();
    let balances = [SPONSOR, HOSTER, ATTESTOR, STRANGER]
        .map(|who| (who, ENDOWMENT))
        .to_vec();
    pallet_balances::GenesisConfig::<Test> {
        balances,
        ..Default::default()
    }
    .assimilate_storage(&mut storage)
    .unwrap();
    let mut state = TestState::new(storage);
    state.execute_with(|| System::set_block_number(1));
    state
}

/// Run the test on a new chain with a hoster, an attestor and a published feed, then check what
/// must always hold.
pub fn on_chain(test: impl FnOnce()) {
    new_test_ext().execute_with(|| {
        register(HOSTER, 1, Role::Hoster);
        register(ATTESTOR, 2, Role::Attestor);
        System::set_block_number(2);
        Providers::on_initialize(2);
        assert_ok!(Hosting::publish_feed(
            RuntimeOrigin::signed(STRANGER),
            feed(),
            None
        ));
        heard();
        test();
        Hosting::do_try_state().unwrap();
        Providers::do_try_state().unwrap();
    });
}

/// A version 1 manifest and the key of its feed.
pub fn manifest(signer: &PublicKey) -> (Hash, Manifest) {
    let manifest = head::single_signer_manifest(&[9; 32], signer);
    (head::manifest_key(&manifest), manifest)
}

pub fn terms() -> Terms<Balance> {
    Terms {
        hoster_reward: 1_000,
        attestor_reward: 100,
        length: 10,
        sla: None,
    }
}

/// An offer with an escrow of 5,000.
pub fn open() -> HostingId {
    let id = NextHostingId::<Test>::get();
    let sponsor = RuntimeOrigin::signed(SPONSOR);
    assert_ok!(Hosting::open_hosting(
        sponsor,
        feed(),
        HOSTER,
        5_000,
        terms()
    ));
    id
}

/// An accepted hosting.
pub fn accepted() -> HostingId {
    let id = open();
    assert_ok!(Hosting::accept_hosting(
        RuntimeOrigin::signed(HOSTER),
        id,
        0,
        20
    ));
    heard();
    id
}

pub fn hosting(id: HostingId) -> HostingOf<Test> {
    HostingsById::<Test>::get(id).unwrap()
}
