//! The runtime APIs: what a node, a wallet or an off-chain worker asks the runtime.

use crate::{
    genesis, AccountId, Aura, Balance, Block, Executive, Grandpa, Header, InherentDataExt, Nonce,
    Performance, Runtime, RuntimeCall, RuntimeGenesisConfig, SessionKeys, System,
    TransactionPayment, VERSION,
};
#[cfg(feature = "runtime-benchmarks")]
use crate::{AllPalletsWithSystem, Hosting, Providers};
use alloc::vec::Vec;
use datdot_primitives::{
    answer::{self, Answer, AnswerError, Demanded},
    attempts::{Attempt, Flipping},
    coinflip::{self, AnchorError, Anchored, Opening},
    draws::{self, Habit, MomentError, Opened, Schedule, Window},
    evidence::{self, FraudKind, Offence, Proof, ProofError},
    false_receipt::{self, FalseReceipt, FalseReceiptError},
    head::{Feed, FeedError, Head},
    keys::{self, KeyError},
    multiproof::{self, MultiproofError},
    receipt::{Receipt, ReceiptError},
    registration::{self, RegistrationError, Role},
    report::{self, Checked, Expected, Report, ReportError},
    tree::{self, Node, Root, TreeError},
    AccountBytes, Hash as Digest, PublicKey, Signature as Ed25519Signature,
};
#[cfg(feature = "runtime-benchmarks")]
use frame::deps::{
    frame_benchmarking,
    frame_support::traits::{StorageInfo, StorageInfoTrait, WhitelistedStorageKeys},
};
use frame::{
    deps::{
        sp_consensus_aura::{self, sr25519::AuthorityId as AuraId},
        sp_consensus_grandpa::{self, AuthorityId as GrandpaId},
        sp_core::crypto::KeyTypeId,
        sp_runtime::{
            traits::{Block as BlockT, NumberFor},
            transaction_validity::{TransactionSource, TransactionValidity},
        },
    },
    runtime::{apis, prelude::*},
};
use pallet_hosting::Sla;
use pallet_performance::{ChallengeId, Duty, HosterPage, HosterSummary, OpenChallenge, Rank};
use pallet_transaction_payment::{FeeDetails, RuntimeDispatchInfo};

#[cfg(feature = "runtime-benchmarks")]
frame_benchmarking::define_benchmarks!(
    [pallet_providers, Providers]
    [pallet_hosting, Hosting]
    [pallet_performance, Performance]
);

impl_runtime_apis! {
    impl apis::Core<Block> for Runtime {
        fn version() -> RuntimeVersion {
            VERSION
        }

        fn execute_block(block: <Block as BlockT>::LazyBlock) {
            Executive::execute_block(block)
        }

        fn initialize_block(header: &Header) -> ExtrinsicInclusionMode {
            Executive::initialize_block(header)
        }
    }

    impl apis::Metadata<Block> for Runtime {
        fn metadata() -> OpaqueMetadata {
            OpaqueMetadata::new(Runtime::metadata().into())
        }

        fn metadata_at_version(version: u32) -> Option<OpaqueMetadata> {
            Runtime::metadata_at_version(version)
        }

        fn metadata_versions() -> Vec<u32> {
            Runtime::metadata_versions()
        }
    }

    impl apis::BlockBuilder<Block> for Runtime {
        fn apply_extrinsic(extrinsic: <Block as BlockT>::Extrinsic) -> ApplyExtrinsicResult {
            Executive::apply_extrinsic(extrinsic)
        }

        fn finalize_block() -> Header {
            Executive::finalize_block()
        }

        fn inherent_extrinsics(data: InherentData) -> Vec<<Block as BlockT>::Extrinsic> {
            data.create_extrinsics()
        }

        fn check_inherents(
            block: <Block as BlockT>::LazyBlock,
            data: InherentData,
        ) -> CheckInherentsResult {
            data.check_extrinsics(&block)
        }
    }

    impl apis::TaggedTransactionQueue<Block> for Runtime {
        fn validate_transaction(
            source: TransactionSource,
            transaction: <Block as BlockT>::Extrinsic,
            block_hash: <Block as BlockT>::Hash,
        ) -> TransactionValidity {
            Executive::validate_transaction(source, transaction, block_hash)
        }
    }

    impl apis::OffchainWorkerApi<Block> for Runtime {
        fn offchain_worker(header: &Header) {
            Executive::offchain_worker(header)
        }
    }

    impl apis::AuraApi<Block, AuraId> for Runtime {
        fn slot_duration() -> sp_consensus_aura::SlotDuration {
            sp_consensus_aura::SlotDuration::from_millis(Aura::slot_duration())
        }

        fn authorities() -> Vec<AuraId> {
            pallet_aura::Authorities::<Runtime>::get().into_inner()
        }
    }

    impl apis::GrandpaApi<Block> for Runtime {
        fn grandpa_authorities() -> sp_consensus_grandpa::AuthorityList {
            Grandpa::grandpa_authorities()
        }

        fn current_set_id() -> sp_consensus_grandpa::SetId {
            pallet_grandpa::CurrentSetId::<Runtime>::get()
        }

        /// Equivocations of validators are not punished: there is no staking.
        fn submit_report_equivocation_unsigned_extrinsic(
            _equivocation_proof: sp_consensus_grandpa::EquivocationProof<
                <Block as BlockT>::Hash,
                NumberFor<Block>,
            >,
            _key_owner_proof: sp_consensus_grandpa::OpaqueKeyOwnershipProof,
        ) -> Option<()> {
            None
        }

        fn generate_key_ownership_proof(
            _set_id: sp_consensus_grandpa::SetId,
            _authority_id: GrandpaId,
        ) -> Option<sp_consensus_grandpa::OpaqueKeyOwnershipProof> {
            None
        }
    }

    impl apis::SessionKeys<Block> for Runtime {
        fn generate_session_keys(
            owner: Vec<u8>,
            seed: Option<Vec<u8>>,
        ) -> apis::OpaqueGeneratedSessionKeys {
            SessionKeys::generate(&owner, seed).into()
        }

        fn decode_session_keys(encoded: Vec<u8>) -> Option<Vec<(Vec<u8>, KeyTypeId)>> {
            SessionKeys::decode_into_raw_public_keys(&encoded)
        }
    }

    impl apis::AccountNonceApi<Block, AccountId, Nonce> for Runtime {
        fn account_nonce(account: AccountId) -> Nonce {
            System::account_nonce(account)
        }
    }

    impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentApi<Block, Balance>
        for Runtime
    {
        fn query_info(
            extrinsic: <Block as BlockT>::Extrinsic,
            length: u32,
        ) -> RuntimeDispatchInfo<Balance> {
            TransactionPayment::query_info(extrinsic, length)
        }

        fn query_fee_details(
            extrinsic: <Block as BlockT>::Extrinsic,
            length: u32,
        ) -> FeeDetails<Balance> {
            TransactionPayment::query_fee_details(extrinsic, length)
        }

        fn query_weight_to_fee(weight: Weight) -> Balance {
            TransactionPayment::weight_to_fee(weight)
        }

        fn query_length_to_fee(length: u32) -> Balance {
            TransactionPayment::length_to_fee(length)
        }
    }

    impl pallet_transaction_payment_rpc_runtime_api::TransactionPaymentCallApi<
        Block,
        Balance,
        RuntimeCall,
    > for Runtime {
        fn query_call_info(call: RuntimeCall, length: u32) -> RuntimeDispatchInfo<Balance> {
            TransactionPayment::query_call_info(call, length)
        }

        fn query_call_fee_details(call: RuntimeCall, length: u32) -> FeeDetails<Balance> {
            TransactionPayment::query_call_fee_details(call, length)
        }

        fn query_weight_to_fee(weight: Weight) -> Balance {
            TransactionPayment::weight_to_fee(weight)
        }

        fn query_length_to_fee(length: u32) -> Balance {
            TransactionPayment::length_to_fee(length)
        }
    }

    impl pallet_performance::api::PerformanceApi<Block, AccountId> for Runtime {
        fn open_challenges(account: AccountId) -> Vec<OpenChallenge> {
            Performance::open_challenges(&account)
        }

        fn is_closable(id: ChallengeId) -> bool {
            Performance::is_closable(id)
        }

        fn duties(account: AccountId) -> Vec<Duty<AccountId>> {
            Performance::duties(&account)
        }

        fn hoster_summary(hoster: AccountId) -> Option<HosterSummary> {
            Performance::hoster_summary(&hoster)
        }

        fn find_hosters(
            sla: Sla,
            after: Option<Rank<AccountId>>,
            limit: u32,
        ) -> HosterPage<AccountId> {
            Performance::find_hosters(&sla, after, limit)
        }
    }

    impl datdot_primitives::api::PerformanceRules<Block> for Runtime {
        fn check_public_key(key: PublicKey) -> Result<(), KeyError> {
            keys::check_public_key(&key)
        }

        fn check_registration(
            genesis: Digest,
            role: Role,
            account: AccountBytes,
            key: PublicKey,
            proof: Ed25519Signature,
        ) -> Result<(), RegistrationError> {
            registration::check(&genesis, role, &account, &key, &proof)
        }

        fn full_roots(length: u64) -> Result<Vec<u64>, TreeError> {
            tree::full_roots(length)
        }

        fn leaf_hash(data: Vec<u8>) -> Digest {
            tree::leaf_hash(&data)
        }

        fn parent(left: Node, right: Node) -> Result<Node, TreeError> {
            tree::parent(&left, &right)
        }

        fn tree_hash(roots: Vec<Root>) -> Digest {
            tree::tree_hash(&roots)
        }

        fn multiproof_tree_hash(
            length: u64,
            leaves: Vec<(u64, Digest)>,
            sizes: Vec<u32>,
            nodes: Vec<Node>,
        ) -> Result<Digest, MultiproofError> {
            multiproof::tree_hash_of(length, &leaves, &sizes, &nodes)
        }

        fn feed(key: Digest, manifest: Option<Vec<u8>>) -> Result<Feed, FeedError> {
            Feed::new(key, manifest.as_deref())
        }

        fn verify_head(feed: Feed, head: Head, signature: Ed25519Signature) -> bool {
            feed.verify_head(&head, &signature)
        }

        fn open_receipt(bytes: Vec<u8>, hoster: PublicKey) -> Result<Receipt, ReceiptError> {
            Receipt::open(&bytes, &hoster)
        }

        fn topic(
            genesis: Digest,
            challenge: u64,
            start_block: Digest,
            attempt: u32,
            roster: Vec<PublicKey>,
        ) -> Digest {
            coinflip::topic(&genesis, challenge, &start_block, attempt, &roster)
        }

        fn coinflip_root(topic: Digest, commitments: Vec<(Digest, Digest)>) -> Digest {
            coinflip::root(&topic, &commitments)
        }

        fn coinflip_result(topic: Digest, root: Digest, numbers: Vec<Digest>) -> Digest {
            coinflip::result(&topic, &root, &numbers)
        }

        fn verify_anchor(
            topic: Digest,
            roster: Vec<PublicKey>,
            openings: Vec<Opening>,
            echoes: Vec<Ed25519Signature>,
        ) -> Result<Anchored, AnchorError> {
            coinflip::verify_anchor(&topic, &roster, &openings, &echoes)
        }

        fn coinflip_fallback(
            topic: Digest,
            commitments: Vec<Digest>,
            randomness: Digest,
        ) -> Anchored {
            coinflip::fallback(&topic, &commitments, &randomness)
        }

        fn attempt(flipping: Flipping, number: u32) -> Option<Attempt> {
            flipping.attempt(number)
        }

        fn verify_proof(
            topic: Digest,
            roster: Vec<PublicKey>,
            proof: Proof,
        ) -> Result<Offence, ProofError> {
            evidence::verify(&topic, &roster, &proof)
        }

        fn verify_false_receipt(proof: Proof) -> Result<FalseReceipt, FalseReceiptError> {
            false_receipt::verify(&proof)
        }

        fn evidence_id(offender: PublicKey, topic: Digest, kind: FraudKind) -> Digest {
            evidence::evidence_id(&offender, &topic, kind)
        }

        fn draw_roster(
            randomness: Digest,
            challenge: u64,
            eligible: u32,
            count: u32,
            skip: Vec<u32>,
        ) -> Option<Vec<u32>> {
            let seed = draws::roster_seed(&randomness, challenge);
            draws::draw_roster(seed, eligible, count, |place| skip.contains(&place))
        }

        fn moment(
            opened: Opened,
            schedule: Schedule,
            window: Window,
            place: u32,
            active: u32,
        ) -> Result<u64, MomentError> {
            opened.moment(schedule, window, place, active)
        }

        fn drawn_chunks(opened: Opened, length: u64, count: u32) -> Vec<u64> {
            opened.drawn_chunks(length, count)
        }

        fn session_habit(opened: Opened) -> Habit {
            opened.habit()
        }

        fn check_answer(answer: Answer, demanded: Demanded) -> Result<Head, AnswerError> {
            answer::check(&answer, &demanded, |_| false)
        }

        fn reencode_report(bytes: Vec<u8>) -> Option<Vec<u8>> {
            report::reencode(&bytes)
        }

        fn check_report(report: Report, expected: Expected) -> Result<Checked, ReportError> {
            report::check(&report, &expected, |_| false)
        }
    }

    #[cfg(feature = "runtime-benchmarks")]
    impl frame_benchmarking::Benchmark<Block> for Runtime {
        fn benchmark_metadata(
            extra: bool,
        ) -> (Vec<frame_benchmarking::BenchmarkList>, Vec<StorageInfo>) {
            let mut list = Vec::new();
            list_benchmarks!(list, extra);
            (list, AllPalletsWithSystem::storage_info())
        }

        fn dispatch_benchmark(
            config: frame_benchmarking::BenchmarkConfig,
        ) -> Result<Vec<frame_benchmarking::BenchmarkBatch>, alloc::string::String> {
            let whitelist = AllPalletsWithSystem::whitelisted_storage_keys();
            let params = (&config, &whitelist);
            let mut batches = Vec::new();
            add_benchmarks!(params, batches);
            Ok(batches)
        }
    }

    impl apis::GenesisBuilder<Block> for Runtime {
        fn build_state(config: Vec<u8>) -> GenesisBuilderResult {
            build_state::<RuntimeGenesisConfig>(config)
        }

        fn get_preset(id: &Option<PresetId>) -> Option<Vec<u8>> {
            get_preset::<RuntimeGenesisConfig>(id, genesis::get_preset)
        }

        fn preset_names() -> Vec<PresetId> {
            genesis::preset_names()
        }
    }
}
