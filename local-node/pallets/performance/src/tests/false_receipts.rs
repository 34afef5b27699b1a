//! E6: what proves a false receipt, who pays for it, until when, and what proves nothing.

use datdot_primitives::{
    evidence::{evidence_id, FraudKind, Proof},
    receipt::{Entry, Receipt},
    Hash,
};
use frame::testing_prelude::*;
use pallet_providers::Role;

use crate::{
    mock::*,
    types::{Balance, Forgetting, Fraud},
    Error, Event, FalseReceipts, ReceiptsToForget,
};

/// What is forgotten in the receipts of these tests, milliseconds after they were issued.
const MAX_AGE_MS: u64 = UNBONDING as u64 * 500;

/// A receipt over the chunks 3, 4 and 5, the leaf of chunk 4 being this.
pub(super) fn receipt(leaf: Hash, issued: u64) -> Receipt {
    let entry = |index| Entry {
        index,
        leaf: crate::mock::leaf(index).hash,
    };
    Receipt {
        feed: feed().key,
        head: head(LENGTH),
        client: [1; 32],
        session: [2; 32],
        sequence: 7,
        opened: 0,
        issued,
        bytes: 0,
        entries: [entry(3), Entry { index: 4, leaf }, entry(5)].into(),
    }
}

/// The proof that the hoster's tree has the right leaf at this index.
pub(super) fn against(receipt: &Receipt, index: u64) -> Proof {
    let (sizes, nodes) = multiproof(LENGTH, &[index]);
    Proof::FalseReceipt {
        hoster: public(&noise_key()),
        receipt: signed_receipt(receipt.body(), &noise_key())
            .try_into()
            .expect("it fits"),
        index,
        leaf: crate::mock::leaf(index).hash,
        sizes: sizes.try_into().expect("it fits"),
        nodes: nodes.try_into().expect("it fits"),
    }
}

/// The proof against a receipt with a false leaf of chunk 4, issued now.
fn proof() -> Proof {
    against(&receipt([9; 32], Timestamp::get()), 4)
}

fn evidence() -> Hash {
    evidence_id(&public(&noise_key()), &[2; 32], FraudKind::FalseReceipt)
}

fn hoster() -> pallet_providers::Provider<Balance, u32> {
    pallet_providers::Providers::<Test>::get(Role::Hoster, account(HOSTER)).expect("it is there")
}

fn refused(proof: Proof, error: Error<Test>) {
    assert_noop!(report_fraud(STRANGER, proof.clone()), error);
    let refusal = report_fraud(STRANGER, proof).expect_err("it is refused");
    assert_eq!(refusal.post_info.pays_fee, Pays::Yes);
}

#[test]
pub(super) fn a_false_receipt_costs_the_hoster_its_bond() {
    with_chain(|| {
        prepare(5);
        let hosting = open_hosting(10 * COST);
        let before = (balance(STRANGER), Balances::total_issuance());
        let info = report_fraud(STRANGER, proof()).expect("it is proven");
        assert_eq!(info.pays_fee, Pays::No);
        assert_eq!(balance(STRANGER), before.0 + 500);
        assert_eq!(Balances::total_issuance(), before.1 - 500);
        assert_eq!((hoster().bond, hoster().active), (0, false));
        let fraud = Fraud {
            offender: account(HOSTER),
            proof: FraudKind::FalseReceipt,
            reporter: account(STRANGER),
            block: System::block_number(),
            slashed: 1_000,
            reward: 500,
        };
        assert_eq!(FalseReceipts::<Test>::get(evidence()), Some(fraud));
        let told = Event::ReceiptProvenFalse {
            hoster: account(HOSTER),
            feed: feed().key,
            session: [2; 32],
            evidence: evidence(),
            reporter: account(STRANGER),
            slashed: 1_000,
            reward: 500,
        };
        assert_eq!(events(), [told]);
        // What it hosts goes on; it accepts nothing new until its bond is whole again.
        assert!(pallet_hosting::HostingsById::<Test>::contains_key(hosting));
        let offer = Hosting::open_hosting(origin(SPONSOR), feed().key, account(HOSTER), 1, terms());
        assert_noop!(offer, pallet_hosting::Error::<Test>::NotAHoster);
        assert_ok!(Providers::undrain(origin(HOSTER), Role::Hoster));
        assert_eq!(hoster().bond, 1_000);
    });
}

#[test]
fn one_counts_for_each_session() {
    with_chain(|| {
        prepare(5);
        assert_ok!(report_fraud(STRANGER, proof()));
        assert_ok!(Providers::undrain(origin(HOSTER), Role::Hoster));
        // Another chunk, another receipt: the same session.
        let mut other = receipt([9; 32], Timestamp::get());
        other.sequence = 8;
        other.entries[0].leaf = [8; 32];
        refused(proof(), Error::FraudKnown);
        refused(against(&other, 3), Error::FraudKnown);
        other.session = [3; 32];
        assert_ok!(report_fraud(STRANGER, against(&other, 3)));
        assert_eq!(FalseReceipts::<Test>::iter_keys().count(), 2);
        // Its bond is gone: there is nothing to be had, nor to be kept.
        other.session = [4; 32];
        refused(against(&other, 3), Error::NothingToSlash);
    });
}

#[test]
pub(super) fn who_has_left_is_slashed_as_long_as_its_bond_is_held() {
    with_chain(|| {
        prepare(5);
        assert_ok!(Providers::deregister(origin(HOSTER), Role::Hoster));
        assert_ok!(report_fraud(STRANGER, proof()));
        let left = pallet_providers::Unbondings::<Test>::get(Role::Hoster, account(HOSTER));
        assert_eq!(left.expect("it is unbonding").amount, 0);
    });
    with_chain(|| {
        prepare(5);
        assert_ok!(Providers::deregister(origin(HOSTER), Role::Hoster));
        blocks(UNBONDING);
        assert_ok!(Providers::withdraw_bond(origin(HOSTER), Role::Hoster));
        // The key is nobody's any more.
        refused(proof(), Error::UnknownHoster);
    });
}

#[test]
fn a_receipt_is_taken_while_it_is_young_and_then_forgotten() {
    with_chain(|| {
        prepare(5);
        let issued = Timestamp::get();
        let young = receipt([9; 32], issued);
        until(issued + MAX_AGE_MS - 500);
        assert_ok!(report_fraud(STRANGER, against(&young, 4)));
        let place = Forgetting::new(issued + MAX_AGE_MS, evidence());
        assert!(ReceiptsToForget::<Test>::contains_key(place));
        next_block();
        let mut old = young.clone();
        old.session = [3; 32];
        assert_ok!(Providers::undrain(origin(HOSTER), Role::Hoster));
        refused(against(&young, 4), Error::ProofTooOld);
        refused(against(&old, 4), Error::ProofTooOld);
        // Another one makes room; what it burnt is told by the events alone.
        old.issued = Timestamp::get();
        assert_ok!(report_fraud(STRANGER, against(&old, 4)));
        assert_eq!(FalseReceipts::<Test>::iter_keys().count(), 1);
        BurntBeside::set(500);
    });
    BurntBeside::set(0);
}

#[test]
fn a_receipt_from_the_future_is_young() {
    with_chain(|| {
        prepare(5);
        assert_ok!(report_fraud(
            STRANGER,
            against(&receipt([9; 32], u64::MAX), 4)
        ));
    });
}

#[test]
fn an_honest_hoster_cannot_be_blamed() {
    with_chain(|| {
        prepare(5);
        let honest = receipt(crate::mock::leaf(4).hash, Timestamp::get());
        for index in 3..=5 {
            refused(against(&honest, index), Error::ProofNotContradictory);
        }
        // A chunk that the receipt does not name.
        refused(against(&honest, 6), Error::ReceiptLacksChunk);
        // Another leaf than the tree's.
        let mut forged = against(&honest, 4);
        if let Proof::FalseReceipt { leaf, .. } = &mut forged {
            *leaf = [9; 32];
        }
        refused(forged, Error::ProofTreeHash);
        // The receipt of somebody else, in the hoster's name.
        let mut forged = against(&honest, 4);
        if let Proof::FalseReceipt { receipt, .. } = &mut forged {
            let signed = signed_receipt(honest.body(), &key("somebody"));
            *receipt = signed.try_into().expect("it fits");
        }
        refused(forged, Error::ReceiptSignature);
    });
}

#[test]
fn what_proves_nothing_is_refused() {
    with_chain(|| {
        prepare(5);
        let good = proof();
        let with = |change: &dyn Fn(&mut Proof)| {
            let mut proof = good.clone();
            change(&mut proof);
            proof
        };
        let no_sizes = with(&|proof| {
            if let Proof::FalseReceipt { sizes, .. } = proof {
                *sizes = BoundedVec::default();
            }
        });
        refused(no_sizes, Error::ProofSizes);
        let no_nodes = with(&|proof| {
            if let Proof::FalseReceipt { nodes, .. } = proof {
                *nodes = BoundedVec::default();
            }
        });
        refused(no_nodes, Error::ProofNodes);
        let cut = with(&|proof| {
            if let Proof::FalseReceipt { receipt, .. } = proof {
                receipt.pop();
            }
        });
        refused(cut, Error::ReceiptMalformed);
        let version = with(&|proof| {
            if let Proof::FalseReceipt { receipt, .. } = proof {
                receipt[0] = 2;
            }
        });
        refused(version, Error::ReceiptVersion);
        // A key that an attestor has, who signs no receipts.
        let session_key = session_key(1);
        let by_attestor = with(&|proof| {
            if let Proof::FalseReceipt {
                hoster, receipt, ..
            } = proof
            {
                *hoster = public(&session_key);
                let body = crate::tests::false_receipts::receipt([9; 32], Timestamp::get()).body();
                *receipt = signed_receipt(body, &session_key)
                    .try_into()
                    .expect("it fits");
            }
        });
        refused(by_attestor, Error::UnknownHoster);
        assert_noop!(
            Performance::report_fraud(RuntimeOrigin::none(), alloc::boxed::Box::new(good)),
            BadOrigin
        );
    });
}

#[test]
fn what_must_hold_is_noticed_when_it_does_not() {
    new_test_ext(crate::Timing::development()).execute_with(|| {
        prepare(5);
        assert_ok!(report_fraud(STRANGER, proof()));
        let place = ReceiptsToForget::<Test>::iter_keys()
            .next()
            .expect("it is there");
        ReceiptsToForget::<Test>::remove(place);
        let never = "a false receipt is never forgotten, or twice";
        assert_eq!(Performance::do_try_state(), Err(never.into()));
        ReceiptsToForget::<Test>::insert(place, ());
        assert_ok!(Performance::do_try_state());
        FalseReceipts::<Test>::mutate_extant(evidence(), |fraud| fraud.reward = 501);
        let more = "a reporter got more than half of a slash";
        assert_eq!(Performance::do_try_state(), Err(more.into()));
    });
}
