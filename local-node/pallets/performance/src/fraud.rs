//! Fraud proofs against attestors (challenge.md §5, coinflip.md §4).

use datdot_primitives::{
    attempts::{bit, place_of, select},
    evidence::{self, FraudKind, Proof, ProofError},
    Hash,
};
use frame::{
    prelude::*,
    traits::{fungible::Balanced, Imbalance},
};
use pallet_providers::AttestorPool;

use crate::{
    types::{Balance, Challenge, ChallengeId, Expulsion, Fraud, Stage},
    Challenges, Config, Error, Event, Expulsions, Frauds, Pallet, WeightInfo,
};

/// Of what is slashed, one part in so many is the reporter's; the rest is burnt.
const REPORTERS: Balance = 2;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_report_fraud(
        reporter: T::AccountId,
        proof: &Proof,
    ) -> DispatchResultWithPostInfo {
        let (id, number) = match proof {
            Proof::Equivocation { id, attempt, .. } | Proof::BadReveal { id, attempt, .. } => {
                (*id, *attempt)
            }
            Proof::FalseReceipt { .. } => {
                return Err(Error::<T>::FalseReceiptUnavailable.into());
            }
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
        Ok((Some(T::WeightInfo::report_fraud()), Pays::No).into())
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
        // What is left of the credit is burnt where it is dropped.
        let (share, _) = credit.split(slashed / REPORTERS);
        let amount = share.peek();
        // Below the existential deposit of an account that is gone: burnt too.
        let reward = T::Currency::resolve(&reporter, share).map_or(0, |()| amount);
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
            ProofError::NoEnvelopes => Self::FalseReceiptUnavailable,
        }
    }
}
