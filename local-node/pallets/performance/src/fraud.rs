//! Fraud proofs against attestors and hosters (challenge.md §5, coinflip.md §4).

use datdot_primitives::{
    attempts::{bit, place_of, select},
    evidence::{self, FraudKind, Proof, ProofError},
    false_receipt::{self, FalseReceiptError},
    Hash,
};
use frame::{
    prelude::*,
    traits::{fungible::Balanced, Imbalance},
};
use pallet_providers::{AttestorPool, HosterRegistry};

use crate::{
    types::{Balance, Challenge, ChallengeId, Expulsion, Forgetting, Fraud, Stage},
    Challenges, Config, CreditOf, CurrentTiming, Error, Event, Expulsions, FalseReceipts, Frauds,
    Pallet, ReceiptsToForget, WeightInfo,
};

/// Of what is slashed, one part in so many is the reporter's; the rest is burnt.
const REPORTERS: Balance = 2;
/// So many false receipts that are too old to be brought again are forgotten with each new one.
const FORGOTTEN: usize = 2;

impl<T: Config> Pallet<T> {
    /// What a proof costs.
    pub(crate) fn proof_weight(proof: &Proof) -> Weight {
        match proof {
            Proof::Equivocation { .. } | Proof::BadReveal { .. } => T::WeightInfo::report_fraud(),
            Proof::FalseReceipt { .. } => T::WeightInfo::report_false_receipt(),
        }
    }

    pub(crate) fn do_report_fraud(
        reporter: T::AccountId,
        proof: &Proof,
    ) -> DispatchResultWithPostInfo {
        let (id, number) = match proof {
            Proof::Equivocation { id, attempt, .. } | Proof::BadReveal { id, attempt, .. } => {
                (*id, *attempt)
            }
            Proof::FalseReceipt { .. } => return Self::do_report_false_receipt(reporter, proof),
        };
        let challenge = Challenges::<T>::get(id).ok_or(Error::<T>::UnknownChallenge)?;
        ensure!(Self::takes_proofs(&challenge), Error::<T>::ProofTooOld);
        let attempt = Self::attempt(id, &challenge, number)?;
        let keys = select(&challenge.session_keys(), attempt.members);
        let offence = evidence::verify(&attempt.topic, &keys, proof).map_err(Error::<T>::from)?;
        ensure!(
            !Frauds::<T>::contains_key(id, offence.id),
            Error::<T>::FraudKnown
        );
        let place =
            place_of(attempt.members, offence.index.into()).ok_or(Error::<T>::ProofMember)?;
        let offender = challenge
            .roster
            .get(place)
            .map(|member| member.account.clone())
            .ok_or(Error::<T>::ProofMember)?;
        Self::expel_member(id, place);
        Self::punish(id, number, offender, offence.kind, offence.id, reporter);
        Ok((Some(Self::proof_weight(proof)), Pays::No).into())
    }

    /// E6 needs no challenge: a hoster signs receipts for all readers.
    fn do_report_false_receipt(
        reporter: T::AccountId,
        proof: &Proof,
    ) -> DispatchResultWithPostInfo {
        let receipt = false_receipt::verify(proof).map_err(Error::<T>::from)?;
        let now = Self::now();
        let block_ms = CurrentTiming::<T>::get().block_ms;
        let until = receipt
            .issued
            .saturating_add(block_ms.saturating_mul(T::UnbondingBlocks::get().into()));
        ensure!(now < until, Error::<T>::ProofTooOld);
        ensure!(
            !FalseReceipts::<T>::contains_key(receipt.id),
            Error::<T>::FraudKnown
        );
        let hoster = T::Hosters::owner(&receipt.hoster).ok_or(Error::<T>::UnknownHoster)?;
        // Else a hoster without a bond could fill the storage with receipts of its own.
        ensure!(T::Hosters::bond(&hoster) > 0, Error::<T>::NothingToSlash);
        let credit = T::Hosters::convict(&hoster, T::ReceiptSlash::get());
        let slashed = credit.peek();
        let reward = Self::reward(&reporter, credit);
        Self::forget_old_receipts(now);
        FalseReceipts::<T>::insert(
            receipt.id,
            Fraud {
                offender: hoster.clone(),
                proof: FraudKind::FalseReceipt,
                reporter: reporter.clone(),
                block: Self::block(),
                slashed,
                reward,
            },
        );
        ReceiptsToForget::<T>::insert(Forgetting::new(until, receipt.id), ());
        Self::deposit_event(Event::ReceiptProvenFalse {
            hoster,
            feed: receipt.feed,
            session: receipt.session,
            evidence: receipt.id,
            reporter,
            slashed,
            reward,
        });
        Ok((Some(Self::proof_weight(proof)), Pays::No).into())
    }

    /// Removes the first of the false receipts that nobody can bring any more.
    fn forget_old_receipts(now: u64) {
        let old: alloc::vec::Vec<Forgetting> = ReceiptsToForget::<T>::iter_keys()
            .take(FORGOTTEN)
            .take_while(|one| one.until() <= now)
            .collect();
        for one in old {
            ReceiptsToForget::<T>::remove(one);
            FalseReceipts::<T>::remove(one.id);
        }
    }

    /// Gives the reporter its part of a slash; how much that is. The rest is burnt.
    fn reward(reporter: &T::AccountId, credit: CreditOf<T>) -> Balance {
        let part = credit.peek() / REPORTERS;
        // What is left of the credit is burnt where it is dropped.
        let (share, _) = credit.split(part);
        let amount = share.peek();
        // Below the existential deposit of an account that is gone: burnt too.
        T::Currency::resolve(reporter, share).map_or(0, |()| amount)
    }

    /// Evidence is taken until `UnbondingBlocks` after the challenge closed: as long as the bonds
    /// of who was in it are held.
    fn takes_proofs(challenge: &Challenge<T::AccountId>) -> bool {
        match challenge.stage {
            Stage::Closed { at, .. } => {
                Self::block() < at.saturating_add(T::UnbondingBlocks::get())
            }
            Stage::Flip | Stage::Commit { .. } | Stage::Audit | Stage::Report { .. } => true,
        }
    }

    /// Notes that the member at this place is expelled from now on, if it is not already.
    fn expel_member(id: ChallengeId, place: usize) {
        if Self::expelled(id) & bit(place) != 0 {
            return;
        }
        let expulsion = Expulsion {
            place: place as u8,
            timestamp_ms: Self::now(),
            block: Self::block(),
        };
        Expulsions::<T>::mutate(id, |expulsions| expulsions.try_push(expulsion))
            .map_err(|_| ())
            .defensive_proof("a roster's members are expelled once each")
            .unwrap_or_default();
    }

    /// Slashes and deactivates an offender, rewards the reporter, and keeps a record.
    fn punish(
        id: ChallengeId,
        attempt: u32,
        offender: T::AccountId,
        kind: FraudKind,
        evidence: Hash,
        reporter: T::AccountId,
    ) {
        let credit = T::Attestors::expel(&offender, T::FraudSlash::get());
        let slashed = credit.peek();
        let reward = Self::reward(&reporter, credit);
        Frauds::<T>::insert(
            id,
            evidence,
            Fraud {
                offender: offender.clone(),
                proof: kind,
                reporter: reporter.clone(),
                block: Self::block(),
                slashed,
                reward,
            },
        );
        Self::deposit_event(Event::Expelled {
            id,
            attestor: offender,
            kind,
            attempt,
            reporter,
            slashed,
            reward,
            timestamp_ms: Self::now(),
        });
    }
}

impl<T> From<ProofError> for Error<T> {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::Malformed => Self::ProofMalformed,
            ProofError::Kinds => Self::ProofKinds,
            ProofError::Topic => Self::ProofTopic,
            ProofError::Members => Self::ProofMembers,
            ProofError::NotMember => Self::ProofMember,
            ProofError::NotContradictory => Self::ProofNotContradictory,
            ProofError::Signature => Self::ProofSignature,
            // A false receipt is taken another way.
            ProofError::NoEnvelopes => Self::ProofKinds,
        }
    }
}

impl<T> From<FalseReceiptError> for Error<T> {
    fn from(error: FalseReceiptError) -> Self {
        match error {
            FalseReceiptError::NoReceipt => Self::ProofKinds,
            FalseReceiptError::Receipt(error) => error.into(),
            FalseReceiptError::NotNamed => Self::ReceiptLacksChunk,
            FalseReceiptError::NotContradictory => Self::ProofNotContradictory,
            FalseReceiptError::Multiproof(error) => error.into(),
            FalseReceiptError::WrongTreeHash => Self::ProofTreeHash,
        }
    }
}
