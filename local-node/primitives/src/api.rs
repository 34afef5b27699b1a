//! The rules as a runtime API: what a client or a differential test asks the compiled runtime.

use crate::{
    answer::{Answer, AnswerError, Demanded},
    attempts::{Attempt, Flipping},
    coinflip::{AnchorError, Anchored, Opening},
    draws::{Habit, MomentError, Opened, Schedule, Window},
    evidence::{FraudKind, Offence, Proof, ProofError},
    false_receipt::{FalseReceipt, FalseReceiptError},
    head::{Feed, FeedError, Head},
    keys::KeyError,
    multiproof::MultiproofError,
    receipt::{Receipt, ReceiptError},
    registration::{RegistrationError, Role},
    report::{Checked, Expected, Report, ReportError},
    tree::{Node, Root, TreeError},
    AccountBytes, Hash, PublicKey, Signature,
};
use alloc::vec::Vec;

sp_api::decl_runtime_apis! {
    /// The rules of a challenge that need no storage, exactly as the pallets apply them. Each call
    /// is the function of the same module of this crate; nothing reads or changes the state.
    pub trait PerformanceRules {
        /// [`crate::keys::check_public_key`].
        fn check_public_key(key: PublicKey) -> Result<(), KeyError>;

        /// [`crate::registration::check`].
        fn check_registration(
            genesis: Hash,
            role: Role,
            account: AccountBytes,
            key: PublicKey,
            proof: Signature,
        ) -> Result<(), RegistrationError>;

        /// [`crate::tree::full_roots`].
        fn full_roots(length: u64) -> Result<Vec<u64>, TreeError>;

        /// [`crate::tree::leaf_hash`].
        fn leaf_hash(data: Vec<u8>) -> Hash;

        /// [`crate::tree::parent`].
        fn parent(left: Node, right: Node) -> Result<Node, TreeError>;

        /// [`crate::tree::tree_hash`].
        fn tree_hash(roots: Vec<Root>) -> Hash;

        /// [`crate::multiproof::tree_hash_of`].
        fn multiproof_tree_hash(
            length: u64,
            leaves: Vec<(u64, Hash)>,
            sizes: Vec<u32>,
            nodes: Vec<Node>,
        ) -> Result<Hash, MultiproofError>;

        /// [`Feed::new`].
        fn feed(key: Hash, manifest: Option<Vec<u8>>) -> Result<Feed, FeedError>;

        /// [`Feed::verify_head`].
        fn verify_head(feed: Feed, head: Head, signature: Signature) -> bool;

        /// [`Receipt::open`].
        fn open_receipt(bytes: Vec<u8>, hoster: PublicKey) -> Result<Receipt, ReceiptError>;

        /// [`crate::coinflip::topic`].
        fn topic(
            genesis: Hash,
            challenge: u64,
            start_block: Hash,
            attempt: u32,
            roster: Vec<PublicKey>,
        ) -> Hash;

        /// [`crate::coinflip::root`].
        fn coinflip_root(topic: Hash, commitments: Vec<(Hash, Hash)>) -> Hash;

        /// [`crate::coinflip::result`].
        fn coinflip_result(topic: Hash, root: Hash, numbers: Vec<Hash>) -> Hash;

        /// [`crate::coinflip::verify_anchor`].
        fn verify_anchor(
            topic: Hash,
            roster: Vec<PublicKey>,
            openings: Vec<Opening>,
            echoes: Vec<Signature>,
        ) -> Result<Anchored, AnchorError>;

        /// [`crate::coinflip::fallback`].
        fn coinflip_fallback(topic: Hash, commitments: Vec<Hash>, randomness: Hash) -> Anchored;

        /// [`Flipping::attempt`].
        fn attempt(flipping: Flipping, number: u32) -> Option<Attempt>;

        /// [`crate::evidence::verify`].
        fn verify_proof(
            topic: Hash,
            roster: Vec<PublicKey>,
            proof: Proof,
        ) -> Result<Offence, ProofError>;

        /// [`crate::false_receipt::verify`].
        fn verify_false_receipt(proof: Proof) -> Result<FalseReceipt, FalseReceiptError>;

        /// [`crate::evidence::evidence_id`].
        fn evidence_id(offender: PublicKey, topic: Hash, kind: FraudKind) -> Hash;

        /// [`crate::draws::draw_roster`] with the seed of [`crate::draws::roster_seed`].
        fn draw_roster(
            randomness: Hash,
            challenge: u64,
            eligible: u32,
            count: u32,
            skip: Vec<u32>,
        ) -> Option<Vec<u32>>;

        /// [`Opened::moment`].
        fn moment(
            opened: Opened,
            schedule: Schedule,
            window: Window,
            place: u32,
            active: u32,
        ) -> Result<u64, MomentError>;

        /// [`Opened::drawn_chunks`].
        fn drawn_chunks(opened: Opened, length: u64, count: u32) -> Vec<u64>;

        /// [`Opened::habit`].
        fn session_habit(opened: Opened) -> Habit;

        /// [`crate::answer::check`] of an answer whose head was not verified before.
        fn check_answer(answer: Answer, demanded: Demanded) -> Result<Head, AnswerError>;

        /// [`crate::report::reencode`].
        fn reencode_report(bytes: Vec<u8>) -> Option<Vec<u8>>;

        /// [`crate::report::check`] of a report whose head was not verified before.
        fn check_report(report: Report, expected: Expected) -> Result<Checked, ReportError>;
    }
}
