//! A runtime with the real pallets around this one, and the off-chain side of a challenge: keys,
//! secrets, a feed, receipts and reports, made in the test.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec,
    vec::Vec,
};
use codec::Encode;
use datdot_primitives::{
    answer::Answer,
    attempts::{index_of, Attempt},
    coinflip::{commitment_z, topic as coinflip_topic, Opening},
    draws::Opened,
    evidence::{self, Proof},
    head::{manifest_key, single_signer_manifest, Feed, FeedKind, Head},
    receipt::{Entry, Receipt},
    report::{
        binding_message, Body, Expected, Failure, Metrics, Outcome, PeerMetrics, Percentiles,
        Reason, Report, Served,
    },
    tree::{leaf_hash, parent, tree_hash, Node, Root},
    Hash, PublicKey, Signature,
};
use ed25519_zebra::SigningKey;
use frame::{
    deps::{
        frame_support::weights::{constants::RocksDbWeight, WeightMeter},
        sp_core::{ConstU128, ConstU32, ConstU64},
        sp_io,
        sp_runtime::{traits::IdentityLookup, AccountId32, BuildStorage},
    },
    testing_prelude::*,
    traits::{OnFinalize, OnInitialize, OnPoll},
};
use pallet_hosting::{HostingId, Terms};
use pallet_providers::{Endpoint, Ip, Role};

pub use crate::fixtures::{
    anchor_of, envelope, key, public, secret, sign, signed_receipt, Echoes, Openings,
};
use crate::{
    self as pallet_performance,
    types::{Balance, BlockNumber, ChallengeId},
    Challenges, Fallbacks, Flips, StartHashes, Timing,
};

type Block = frame::deps::frame_system::mocking::MockBlockU32<Test>;
pub type AccountId = AccountId32;

pub const ENDOWMENT: Balance = 1_000_000;
pub const ABSENCE_FEE: Balance = 100;
/// The whole bond of an attestor.
pub const FRAUD_SLASH: Balance = 1_000;
pub const DEMAND_DEPOSIT: Balance = 70;
pub const DEMAND_FEE: Balance = 30;
/// Of a hosting's bond of 1,000.
pub const WITHHOLDING_SLASH: Balance = 401;
pub const HOSTER_REWARD: Balance = 1_003;
pub const ATTESTOR_REWARD: Balance = 101;
pub const UNBONDING: BlockNumber = 50;
/// The timestamp of block 0.
pub const GENESIS_MS: u64 = 1_700_000_000_000;
/// Chunks that the hoster vouched for, and chunks of the feed.
pub const VOUCHED: u64 = 120;
pub const LENGTH: u64 = 130;

construct_runtime!(
    pub enum Test {
        System: frame_system,
        Timestamp: pallet_timestamp,
        Balances: pallet_balances,
        Providers: pallet_providers,
        Hosting: pallet_hosting,
        Performance: pallet_performance,
    }
);

#[derive_impl(frame_system::config_preludes::TestDefaultConfig)]
impl frame_system::Config for Test {
    type Block = Block;
    type AccountId = AccountId;
    type Lookup = IdentityLookup<AccountId>;
    type AccountData = pallet_balances::AccountData<Balance>;
    type DbWeight = RocksDbWeight;
}

impl pallet_timestamp::Config for Test {
    type Moment = u64;
    type OnTimestampSet = ();
    type MinimumPeriod = ConstU64<1>;
    type WeightInfo = ();
}

#[derive_impl(pallet_balances::config_preludes::TestDefaultConfig)]
impl pallet_balances::Config for Test {
    type AccountStore = System;
    type Balance = Balance;
    type ExistentialDeposit = ConstU128<10>;
}

impl pallet_providers::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type AttestorBond = ConstU128<FRAUD_SLASH>;
    type HosterBond = ConstU128<1_000>;
    type MaxCapacity = ConstU32<8>;
    type UnbondingBlocks = ConstU32<UNBONDING>;
    type MinAge = ConstU32<1>;
    type MaxTasksPerBlock = ConstU32<64>;
    type WeightInfo = ();
}

/// The chain's randomness; tests may make it stale.
pub struct TestRandomness;
parameter_types! {
    /// Since when the randomness could be known; `None`: since this block.
    pub static KnownSince: Option<BlockNumber> = None;
    /// What the test burns otherwise than by settlements.
    pub static BurntBeside: Balance = 0;
    /// Of a runtime that is as it must be; tests of what is refused change one.
    pub static MaxStarts: u32 = 2;
    pub static MaxDue: u32 = 16;
    pub static Deposit: Balance = DEMAND_DEPOSIT;
    /// The events that this thread has seen, by the first two bytes of their encoding: pallet and
    /// variant.
    pub static Happened: BTreeSet<[u8; 2]> = BTreeSet::new();
}

impl frame::traits::Randomness<Hash, BlockNumber> for TestRandomness {
    fn random(subject: &[u8]) -> (Hash, BlockNumber) {
        let (value, since) = pallet_performance::randomness::ParentHashes::<Test>::random(subject);
        (value, KnownSince::get().unwrap_or(since))
    }
}

impl pallet_hosting::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Hosters = Providers;
    type ProviderKeys = Providers;
    type HostingBond = ConstU128<1_000>;
    type MinEscrow = ConstU128<100>;
    type MinAttestorReward = ConstU128<10>;
    type MaxStreak = ConstU32<3>;
    type OnHosting = Performance;
    type WeightInfo = ();
}

impl pallet_performance::Config for Test {
    type Currency = Balances;
    type RuntimeHoldReason = RuntimeHoldReason;
    type Time = Timestamp;
    type Randomness = TestRandomness;
    type Attestors = Providers;
    type Hosters = Providers;
    type Hostings = Hosting;
    type AbsenceFee = ConstU128<ABSENCE_FEE>;
    type FraudSlash = ConstU128<FRAUD_SLASH>;
    type ReceiptSlash = ConstU128<1_000>;
    type DemandDeposit = Deposit;
    type DemandFee = ConstU128<DEMAND_FEE>;
    type WithholdingSlash = ConstU128<WITHHOLDING_SLASH>;
    type UnbondingBlocks = ConstU32<UNBONDING>;
    type MaxStarts = MaxStarts;
    type MaxDue = MaxDue;
    type WeightInfo = ();
}

// Accounts and keys.

pub fn account(number: u8) -> AccountId {
    AccountId::new([number; 32])
}

pub const SPONSOR: u8 = 100;
pub const HOSTER: u8 = 101;
pub const STRANGER: u8 = 102;
/// Attestors have the accounts 1 … 12.
pub const ATTESTORS: u8 = 12;

pub fn origin(number: u8) -> RuntimeOrigin {
    RuntimeOrigin::signed(account(number))
}

pub fn balance(number: u8) -> Balance {
    Balances::free_balance(account(number))
}

pub fn session_key(attestor: u8) -> SigningKey {
    key(("session", attestor))
}

pub fn noise_key() -> SigningKey {
    key("noise")
}

// The chain.

/// The state with all accounts endowed, in block 1.
pub fn new_test_ext(timing: Timing) -> sp_io::TestExternalities {
    let mut accounts: Vec<u8> = (1..=ATTESTORS).collect();
    accounts.extend([SPONSOR, HOSTER, STRANGER]);
    let storage = RuntimeGenesisConfig {
        balances: pallet_balances::GenesisConfig {
            balances: accounts
                .iter()
                .map(|who| (account(*who), ENDOWMENT))
                .collect(),
            ..Default::default()
        },
        performance: pallet_performance::GenesisConfig {
            timing,
            ..Default::default()
        },
        providers: pallet_providers::GenesisConfig {
            allow_private_endpoints: true,
            ..Default::default()
        },
        ..Default::default()
    }
    .build_storage()
    .expect("the genesis is valid");
    let mut ext = sp_io::TestExternalities::new(storage);
    ext.execute_with(|| begin_block(1, GENESIS_MS));
    ext
}

/// Runs a test on a fresh state and checks the invariants of all pallets after it.
pub fn with_timing(timing: Timing, test: impl FnOnce()) {
    new_test_ext(timing).execute_with(|| {
        let issued = Balances::total_issuance();
        test();
        note_events();
        check_invariants();
        assert_eq!(
            issued - Balances::total_issuance(),
            burnt(),
            "money was lost or made"
        );
    });
}

/// Runs a test with the development timing.
pub fn with_chain(test: impl FnOnce()) {
    with_timing(Timing::development(), test);
}

/// What was burnt, as the settlements and frauds tell it and as the test expects it beside them.
fn burnt() -> Balance {
    let settled = crate::Settlements::<Test>::iter_values().map(|settlement| burnt_by(&settlement));
    let frauds = crate::Frauds::<Test>::iter_values();
    let slashed = frauds
        .chain(crate::FalseReceipts::<Test>::iter_values())
        .map(|fraud| fraud.slashed - fraud.reward);
    settled.chain(slashed).sum::<Balance>() + BurntBeside::get()
}

/// What a settlement burnt: of absence fees, and of what withholding cost.
pub fn burnt_by(settlement: &crate::types::Settlement<AccountId>) -> Balance {
    let to_demanders = settlement
        .paid
        .iter()
        .filter(|payment| payment.kind == crate::types::PaymentKind::Withholding)
        .map(|payment| payment.amount)
        .sum::<Balance>();
    settlement.burnt + settlement.slashed - to_demanders
}

pub fn check_invariants() {
    Performance::do_try_state().expect("the invariants of this pallet hold");
    Providers::do_try_state().expect("the invariants of the providers hold");
    Hosting::do_try_state().expect("the invariants of the hostings hold");
    let mut engagements = BTreeMap::<AccountId, u32>::new();
    for challenge in Challenges::<Test>::iter_values().filter(|challenge| challenge.is_open()) {
        for member in challenge.roster {
            *engagements.entry(member.account).or_default() += 1;
        }
    }
    for (who, provider) in pallet_providers::Providers::<Test>::iter_prefix(Role::Attestor) {
        assert_eq!(
            provider.engagements,
            engagements.remove(&who).unwrap_or_default(),
            "an attestor is engaged in other challenges than it is in"
        );
    }
    assert!(engagements.is_empty(), "a stranger is in an open challenge");
}

fn begin_block(number: BlockNumber, now: u64) {
    let parent = if number == 1 {
        H256([7; 32])
    } else {
        System::finalize().hash()
    };
    note_events();
    System::reset_events();
    System::initialize(&number, &parent, &Default::default());
    AllPalletsWithSystem::on_initialize(number);
    Timestamp::set_timestamp(now);
    AllPalletsWithSystem::on_poll(number, &mut WeightMeter::new());
}

/// Adds the kinds of this block's events to [`Happened`].
pub fn note_events() {
    let kinds = System::events().into_iter().map(|record| {
        let encoded = record.event.encode();
        [encoded[0], encoded[1]]
    });
    Happened::mutate(|happened| happened.extend(kinds));
}

/// Ends this block and begins the next, at its normal time.
pub fn next_block() {
    next_block_at(Timestamp::get() + crate::CurrentTiming::<Test>::get().block_ms);
}

/// Ends this block, checks the invariants of all pallets, and begins the next with this timestamp.
/// Of blocks without events, in which little but clocks changes, each fourth is checked: the checks
/// take most of the tests' time.
pub fn next_block_at(now: u64) {
    let number = System::block_number();
    AllPalletsWithSystem::on_finalize(number);
    if System::event_count() > 0 || number.is_multiple_of(4) {
        check_invariants();
    }
    begin_block(number + 1, now);
}

pub fn blocks(count: u32) {
    for _ in 0..count {
        next_block();
    }
}

/// Goes to the first block with this timestamp or a later one, at the normal pace.
pub fn until(ms: u64) {
    while Timestamp::get() < ms {
        next_block();
    }
}

/// The events of this pallet in this block.
pub fn events() -> Vec<pallet_performance::Event<Test>> {
    System::events()
        .into_iter()
        .filter_map(|record| match record.event {
            RuntimeEvent::Performance(event) => Some(event),
            _ => None,
        })
        .collect()
}

// Providers and hostings.

pub fn endpoint(number: u8) -> Endpoint {
    Endpoint {
        ip: Ip::V4([127, 0, 0, number]),
        port: 7_000,
    }
}

fn genesis_hash() -> Hash {
    System::block_hash(0).0
}

fn proof(key: &SigningKey, role: datdot_primitives::registration::Role, who: u8) -> Signature {
    let message =
        datdot_primitives::registration::message(&genesis_hash(), role, account(who).as_ref());
    sign(key, &message)
}

pub fn register_attestor(number: u8, capacity: u32) {
    let key = session_key(number);
    assert_ok!(Providers::register_attestor(
        origin(number),
        public(&key),
        endpoint(number),
        capacity,
        proof(
            &key,
            datdot_primitives::registration::Role::Attestor,
            number
        ),
    ));
}

pub fn register_hoster() {
    register_hoster_as(HOSTER, &noise_key());
}

/// Registers another hoster.
pub fn register_hoster_as(number: u8, key: &SigningKey) {
    assert_ok!(Providers::register_hoster(
        origin(number),
        public(key),
        endpoint(number),
        proof(key, datdot_primitives::registration::Role::Hoster, number),
    ));
}

pub fn terms() -> Terms<Balance> {
    Terms {
        hoster_reward: HOSTER_REWARD,
        attestor_reward: ATTESTOR_REWARD,
        length: VOUCHED,
        sla: None,
    }
}

/// What a challenge with five attestors may cost.
pub const COST: Balance = HOSTER_REWARD + 5 * ATTESTOR_REWARD;

/// Opens and accepts a hosting with this escrow.
pub fn open_hosting(escrow: Balance) -> HostingId {
    open_hosting_for(SPONSOR, escrow)
}

/// The same, paid for by this account.
pub fn open_hosting_for(sponsor: u8, escrow: Balance) -> HostingId {
    let feed = feed();
    let id = pallet_hosting::NextHostingId::<Test>::get();
    assert_ok!(Hosting::open_hosting(
        origin(sponsor),
        feed.key,
        account(HOSTER),
        escrow,
        terms()
    ));
    assert_ok!(Hosting::accept_hosting(origin(HOSTER), id, 0, VOUCHED));
    id
}

/// Since which block a hosting waits for a challenge; `None`: it does not.
pub fn waits_since(hosting: HostingId) -> Option<BlockNumber> {
    crate::Waiting::<Test>::get(hosting).map(|wait| wait.since)
}

/// Registers the hoster and the attestors 1 … `attestors`, and publishes the feed.
pub fn prepare(attestors: u8) {
    register_hoster();
    for number in 1..=attestors {
        register_attestor(number, 4);
    }
    assert_ok!(Hosting::publish_feed(
        origin(SPONSOR),
        feed().key,
        Some(manifest())
    ));
    blocks(1);
}

/// A hosting with a large escrow whose first challenge has just started, in this block.
pub fn start() -> ChallengeId {
    prepare(5);
    let hosting = open_hosting(10 * COST);
    blocks(1);
    crate::Running::<Test>::get(hosting).expect("the challenge started")
}

/// The same, one block later, with the coinflip anchored by the first member.
pub fn anchored() -> ChallengeId {
    let id = start();
    blocks(1);
    let (openings, echoes) = anchor(id);
    assert_ok!(Performance::anchor_flip(
        RuntimeOrigin::signed(member(id, 0)),
        id,
        0,
        openings,
        echoes
    ));
    id
}

/// The same, in the first block of phase Report.
pub fn reporting() -> ChallengeId {
    let id = anchored();
    until(Challenges::<Test>::get(id).expect("it is there").end_ms());
    id
}

// The coinflip.

pub fn member(id: ChallengeId, index: usize) -> AccountId {
    Challenges::<Test>::get(id).expect("it is there").roster[index]
        .account
        .clone()
}

/// The attestor's number at this place of the roster.
pub fn number(id: ChallengeId, index: usize) -> u8 {
    AsRef::<[u8; 32]>::as_ref(&member(id, index))[0]
}

pub fn audit_key(id: ChallengeId, index: usize) -> SigningKey {
    key(("audit", id, number(id, index)))
}

pub fn w(id: ChallengeId, index: usize) -> Hash {
    secret(("w", id, number(id, index)))
}

/// An attempt by the rule of the primitives, as it is foreseen now; the challenge is there.
pub fn attempt(id: ChallengeId, number: u32) -> Attempt {
    foreseen(id, number).expect("there is such an attempt")
}

/// The same, if there is such an attempt and the start hash is known.
pub fn foreseen(id: ChallengeId, number: u32) -> Option<Attempt> {
    let challenge = Challenges::<Test>::get(id).expect("it is there");
    let flipping = Performance::flipping(id, &challenge).ok()?;
    flipping.attempt(number)
}

/// The topic of the first attempt.
pub fn topic(id: ChallengeId) -> Hash {
    topic_of(id, 0, u32::MAX)
}

/// The topic among these members of the start roster, by the formula of the design.
pub fn topic_of(id: ChallengeId, attempt: u32, members: u32) -> Hash {
    let challenge = Challenges::<Test>::get(id).expect("it is there");
    let keys: Vec<PublicKey> = (0..challenge.roster.len())
        .filter(|place| members & (1 << place) != 0)
        .map(|place| challenge.roster[place].session_key)
        .collect();
    let start = StartHashes::<Test>::get(id).expect("the start hash is known");
    coinflip_topic(&genesis_hash(), id, &start, attempt, &keys)
}

/// The commitment z of the member at this place of the start roster, in a topic.
pub fn z(id: ChallengeId, place: usize, topic: &Hash) -> Hash {
    commitment_z(
        topic,
        &public(&session_key(number(id, place))),
        &w(id, place),
        &public(&audit_key(id, place)),
    )
}

/// The openings and echoes of an honest first attempt.
pub fn anchor(id: ChallengeId) -> (Openings, Echoes) {
    anchor_among(id, &topic(id), u32::MAX)
}

/// The openings and echoes of an honest run among these members of the start roster.
pub fn anchor_among(id: ChallengeId, topic: &Hash, members: u32) -> (Openings, Echoes) {
    let count = Challenges::<Test>::get(id)
        .expect("it is there")
        .roster
        .len();
    let members: Vec<(SigningKey, Opening)> = (0..count)
        .filter(|place| members & (1 << place) != 0)
        .map(|place| {
            let number = number(id, place);
            let opening = Opening {
                z: z(id, place, topic),
                salt: secret(("salt", id, number)),
                x: secret(("x", id, number)),
            };
            (session_key(number), opening)
        })
        .collect();
    anchor_of(topic, &members)
}

/// Anchors an honest run of an attempt, as the member at this place of the start roster.
pub fn anchor_attempt(id: ChallengeId, number: u32, by: usize) -> DispatchResultWithPostInfo {
    let attempt = attempt(id, number);
    let (openings, echoes) = anchor_among(id, &attempt.topic, attempt.members);
    Performance::anchor_flip(
        RuntimeOrigin::signed(member(id, by)),
        id,
        number,
        openings,
        echoes,
    )
}

// The fallback.

/// Timing with room for three attempts, and blocks that take a while to be final.
pub fn retrying() -> Timing {
    Timing {
        finality_ms: 1_000,
        flip_ms: 30_000,
        window_ms: 60_000,
        ..Timing::development()
    }
}

/// A challenge that nobody anchored, in block F.
pub fn committing() -> ChallengeId {
    let id = start();
    until_commits(id);
    id
}

/// Goes to block F of a challenge that nobody anchors.
pub fn until_commits(id: ChallengeId) {
    let challenge = Challenges::<Test>::get(id).expect("it is there");
    until(challenge.flip_end_ms());
}

/// Commits to the fallback, as the member at this place of the start roster.
pub fn commit(id: ChallengeId, place: usize) -> DispatchResultWithPostInfo {
    let topic = Fallbacks::<Test>::get(id).map_or([0; 32], |fallback| fallback.topic);
    Performance::commit_flip(
        RuntimeOrigin::signed(member(id, place)),
        id,
        z(id, place, &topic),
    )
}

/// Commits to the fallback, as the members at these places.
pub fn commit_all(id: ChallengeId, places: impl IntoIterator<Item = usize>) {
    for place in places {
        assert_ok!(commit(id, place));
    }
}

/// Goes from F to C at the normal pace of the development timing.
pub fn until_commits_end() {
    blocks(4);
}

/// A challenge whose fallback has given R, in block C; these members of five have committed.
pub fn fallen_back(committed: &[usize]) -> ChallengeId {
    let id = committing();
    commit_all(id, committed.iter().copied());
    until_commits_end();
    id
}

// Evidence.

/// Two roots signed in one attempt, by the member at this place of the start roster.
pub fn equivocation(id: ChallengeId, number: u32, place: usize) -> Proof {
    let attempt = attempt(id, number);
    let index = index_of(attempt.members, place).expect("it takes part") as u16;
    let key = session_key(crate::mock::number(id, place));
    let echo = |root| envelope(&attempt.topic, index, &evidence::Body::Echo(root), &key);
    Proof::Equivocation {
        id,
        attempt: number,
        a: echo([1; 32]),
        b: echo([0; 32]),
    }
}

/// A reveal in the first attempt that does not open the commit, by the member at this place.
pub fn bad_reveal(id: ChallengeId, place: usize) -> Proof {
    let topic = topic(id);
    let key = session_key(number(id, place));
    let sealed = |body| envelope(&topic, place as u16, &body, &key);
    Proof::BadReveal {
        id,
        attempt: 0,
        commit: sealed(evidence::Body::Commit {
            y: [5; 32],
            z: [6; 32],
        }),
        reveal: sealed(evidence::Body::Reveal {
            salt: [7; 32],
            x: [8; 32],
        }),
    }
}

/// Reports a fraud as this account.
pub fn report_fraud(by: u8, proof: Proof) -> DispatchResultWithPostInfo {
    Performance::report_fraud(origin(by), alloc::boxed::Box::new(proof))
}

/// Expels the member at this place for an equivocation in the first attempt.
pub fn expel(id: ChallengeId, place: usize) {
    assert_ok!(report_fraud(STRANGER, equivocation(id, 0, place)));
}

/// What is held of the bond of the attestor at this place.
pub fn bond(id: ChallengeId, place: usize) -> Balance {
    pallet_providers::Providers::<Test>::get(Role::Attestor, member(id, place))
        .expect("it is registered")
        .bond
}

// The feed.

pub fn author() -> SigningKey {
    key("author")
}

pub fn manifest() -> [u8; 70] {
    single_signer_manifest(&[9; 32], &public(&author()))
}

pub fn feed() -> Feed {
    Feed {
        key: manifest_key(&manifest()),
        signer: public(&author()),
        kind: FeedKind::Manifest,
    }
}

pub fn chunk(index: u64) -> Vec<u8> {
    vec![index as u8; 10 + (index % 7) as usize]
}

pub fn leaf(index: u64) -> Node {
    let data = chunk(index);
    Node {
        hash: leaf_hash(&data),
        size: data.len() as u64,
    }
}

/// The node over `count` chunks from `start` on; `count` is a power of two.
fn node(start: u64, count: u64) -> Node {
    if count == 1 {
        return leaf(start);
    }
    let half = count / 2;
    parent(&node(start, half), &node(start + half, half)).expect("the sizes fit")
}

/// The runs of chunks under each root of a feed: start and count.
fn runs(length: u64) -> Vec<(u64, u64)> {
    let mut start = 0;
    (0..64)
        .rev()
        .filter_map(|bit| {
            let count = length & (1 << bit);
            (count > 0).then(|| {
                start += count;
                (start - count, count)
            })
        })
        .collect()
}

pub fn head(length: u64) -> Head {
    let roots: Vec<Root> = runs(length)
        .into_iter()
        .map(|(start, count)| Root {
            index: 2 * start + count - 1,
            node: node(start, count),
        })
        .collect();
    Head {
        fork: 0,
        length,
        tree_hash: tree_hash(&roots),
    }
}

/// The multiproof of some chunks: their sizes and the other nodes.
pub fn multiproof(length: u64, chunks: &[u64]) -> (Vec<u32>, Vec<Node>) {
    fn walk(start: u64, count: u64, chunks: &[u64], sizes: &mut Vec<u32>, nodes: &mut Vec<Node>) {
        if !chunks
            .iter()
            .any(|chunk| (start..start + count).contains(chunk))
        {
            nodes.push(node(start, count));
        } else if count == 1 {
            sizes.push(leaf(start).size as u32);
        } else {
            walk(start, count / 2, chunks, sizes, nodes);
            walk(start + count / 2, count / 2, chunks, sizes, nodes);
        }
    }
    let (mut sizes, mut nodes) = (Vec::new(), Vec::new());
    for (start, count) in runs(length) {
        walk(start, count, chunks, &mut sizes, &mut nodes);
    }
    (sizes, nodes)
}

// Reports.

pub fn opened(id: ChallengeId, index: usize) -> Opened {
    let flip = Flips::<Test>::get(id).expect("it is anchored");
    Opened {
        topic: flip.topic,
        result: flip.randomness,
        session_key: public(&session_key(number(id, index))),
        w: w(id, index),
    }
}

/// A report before it is signed, to be spoiled.
pub struct Draft {
    pub receipt: Receipt,
    pub head_signature: Signature,
    pub sizes: Vec<u32>,
    pub nodes: Vec<Node>,
    pub metrics: Metrics,
    pub peers: Vec<PeerMetrics>,
}

/// The figures of a session of this kind; `base` makes them differ.
pub fn metrics(windowed: bool, base: u32) -> Metrics {
    Metrics {
        connect_us: base,
        handshake_us: base + 1,
        first_chunk_us: base + 2,
        latency_us: (!windowed).then_some(Percentiles {
            p50: base + 3,
            p90: base + 4,
            p99: base + 5,
            max: base + 6,
        }),
        throughput: windowed.then_some(u64::from(base) + 7),
        timeouts: 0,
        observed: None,
    }
}

/// What the checks of this member's report need to know.
pub fn expected(id: ChallengeId, index: usize) -> Expected {
    let challenge = Challenges::<Test>::get(id).expect("it is there");
    let flip = Flips::<Test>::get(id).expect("it is flipped");
    let place = index_of(flip.active, index).expect("it is active");
    crate::report::expected(&challenge, &flip, index, place).expect("it has a commitment")
}

/// What an honest attestor has after a session with an honest hoster.
pub fn draft(id: ChallengeId, index: usize) -> Draft {
    let challenge = Challenges::<Test>::get(id).expect("it is there");
    let flip = Flips::<Test>::get(id).expect("it is flipped");
    let opened = opened(id, index);
    let timing = challenge.timing;
    let moment = opened
        .moment(
            timing.schedule,
            timing.window(challenge.t0, flip.moments_from),
            index_of(flip.active, index).expect("it is active") as u32,
            flip.active.count_ones(),
        )
        .expect("there is a moment");
    let drawn = opened.drawn_chunks(VOUCHED, timing.chunks);
    let mut proved = drawn[..timing.proved as usize].to_vec();
    proved.sort_unstable();
    let head = head(LENGTH);
    let (sizes, nodes) = multiproof(LENGTH, &proved);
    Draft {
        receipt: Receipt {
            feed: feed().key,
            head,
            client: public(&audit_key(id, index)),
            session: secret(("handshake", id, index as u32)),
            sequence: 0,
            opened: moment + 100,
            issued: moment + 1_000,
            bytes: drawn.iter().map(|chunk| leaf(*chunk).size).sum(),
            entries: drawn
                .iter()
                .map(|chunk| Entry {
                    index: *chunk,
                    leaf: leaf(*chunk).hash,
                })
                .collect(),
        },
        head_signature: sign(&author(), &feed().signable(&head)),
        sizes,
        nodes,
        metrics: metrics(opened.habit().windowed, 1_000 * (index as u32 + 1)),
        peers: (0..challenge.roster.len() as u8)
            .filter(|peer| usize::from(*peer) != index)
            .map(|peer| PeerMetrics {
                index: peer,
                rtt_p50_us: 300,
                throughput: 1_000_000,
            })
            .collect(),
    }
}

impl Draft {
    /// The report, signed by hoster and audit key.
    pub fn seal(self, id: ChallengeId, index: usize) -> Report {
        let receipt = signed_receipt(self.receipt.body(), &noise_key());
        self.seal_with(receipt, id, index)
    }

    /// The report with these bytes for a receipt, signed by the audit key.
    pub fn seal_with(self, receipt: Vec<u8>, id: ChallengeId, index: usize) -> Report {
        let outcome = Outcome::Served(Served {
            receipt: receipt.try_into().expect("it fits"),
            head_signature: self.head_signature,
            sizes: self.sizes.try_into().expect("it fits"),
            nodes: self.nodes.try_into().expect("it fits"),
            metrics: self.metrics,
        });
        bind(outcome, self.peers, id, index)
    }
}

/// A report with this outcome, signed by the audit key.
pub fn bind(outcome: Outcome, peers: Vec<PeerMetrics>, id: ChallengeId, index: usize) -> Report {
    let audit_key = audit_key(id, index);
    let body = Body {
        outcome,
        peers: peers.try_into().expect("it fits"),
    };
    let account = member(id, index);
    let topic = Flips::<Test>::get(id).map_or_else(|| topic(id), |flip| flip.topic);
    let message = binding_message(&topic, account.as_ref(), &body);
    Report {
        w: w(id, index),
        audit_key: public(&audit_key),
        binding: sign(&audit_key, &message),
        body,
    }
}

pub fn failed(id: ChallengeId, index: usize, demand: Option<u64>) -> Report {
    let failure = Failure {
        reason: Reason::Unreachable,
        demand,
    };
    bind(Outcome::Failed(failure), Vec::new(), id, index)
}

/// A chunk that was drawn for this member.
pub fn drawn(id: ChallengeId, index: usize) -> u64 {
    opened(id, index).drawn_chunks(VOUCHED, 100)[7]
}

/// Reports a failure, and demands a drawn chunk.
pub fn submit_demand(id: ChallengeId, index: usize) {
    let report = failed(id, index, Some(drawn(id, index)));
    assert_ok!(submit(id, index, report));
}

/// The demanded chunk, under the feed's head.
pub fn chunk_answer(chunk: u64) -> Answer {
    let (sizes, nodes) = multiproof(LENGTH, &[chunk]);
    Answer::Chunk {
        bytes: self::chunk(chunk).try_into().expect("it fits"),
        length: LENGTH,
        head_signature: sign(&author(), &feed().signable(&head(LENGTH))),
        sizes: sizes.try_into().expect("it fits"),
        nodes: nodes.try_into().expect("it fits"),
    }
}

/// The author's signature on another fork.
pub fn rewritten_answer(fork: u64) -> Answer {
    let head = Head {
        fork,
        length: 3,
        tree_hash: [8; 32],
    };
    Answer::Rewritten {
        fork,
        length: head.length,
        tree_hash: head.tree_hash,
        head_signature: sign(&author(), &feed().signable(&head)),
    }
}

/// Answers the demand of the member at this place, as the hoster.
pub fn answer(id: ChallengeId, index: usize, answer: Answer) -> DispatchResultWithPostInfo {
    Performance::answer_demand(
        origin(HOSTER),
        id,
        member(id, index),
        alloc::boxed::Box::new(answer),
    )
}

pub fn submit(id: ChallengeId, index: usize, report: Report) -> DispatchResultWithPostInfo {
    Performance::submit_report(
        RuntimeOrigin::signed(member(id, index)),
        id,
        alloc::boxed::Box::new(report),
    )
}

pub fn submit_served(id: ChallengeId, index: usize) {
    assert_ok!(submit(id, index, draft(id, index).seal(id, index)));
}

pub fn submit_failed(id: ChallengeId, index: usize) {
    assert_ok!(submit(id, index, failed(id, index, None)));
}
