//! Anchoring the coinflip (challenge.md §2.2, coinflip.md §2, §3).

use alloc::vec::Vec;
use datdot_primitives::{
    attempts::{select, Attempt, Expelled, Flipping},
    coinflip::{verify_anchor, AnchorError, Opening},
    Hash, PublicKey, Signature,
};
use frame::prelude::*;

use crate::{
    types::{Challenge, ChallengeId, Flip, Stage},
    Challenges, Config, Error, Event, Expulsions, Flips, Pallet, StartHashes, WeightInfo,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn do_anchor_flip(
        who: T::AccountId,
        id: ChallengeId,
        attempt: u32,
        openings: &[Opening],
        echoes: &[Signature],
    ) -> DispatchResultWithPostInfo {
        let challenge = Challenges::<T>::get(id).ok_or(Error::<T>::UnknownChallenge)?;
        let index = challenge.index_of(&who).ok_or(Error::<T>::NotInRoster)?;
        match Flips::<T>::get(id) {
            Some(flip) if flip.by.is_some() => return Self::anchor_late(who, id, index, flip),
            _ => {}
        }
        let in_time = challenge.stage == Stage::Flip && Self::now() < challenge.flip_end_ms();
        ensure!(in_time, Error::<T>::FlipOver);

        let attempt = Self::attempt(id, &challenge, attempt)?;
        let keys = select(&challenge.session_keys(), attempt.members);
        let anchored =
            verify_anchor(&attempt.topic, &keys, openings, echoes).map_err(Error::<T>::from)?;
        let commitments: Vec<Hash> = openings.iter().map(|opening| opening.z).collect();
        let flip = Flip {
            attempt: attempt.number,
            topic: attempt.topic,
            root: anchored.root,
            randomness: anchored.result,
            active: attempt.members,
            commitments: commitments
                .try_into()
                .map_err(|_| Error::<T>::OpeningCount)?,
            moments_from: challenge.timing.moments_from(challenge.t0),
            block: Self::block(),
            by: Some(index as u8),
            chain_randomness: None,
            late: 0,
        };
        Self::deposit_event(Event::FlipAnchored {
            id,
            attempt: attempt.number,
            topic: attempt.topic,
            root: flip.root,
            randomness: flip.randomness,
            by: who,
        });
        Self::begin_audits(id, challenge, flip);
        Ok(Pays::No.into())
    }

    /// R is fixed: the phase Audit begins.
    pub(crate) fn begin_audits(
        id: ChallengeId,
        mut challenge: Challenge<T::AccountId>,
        flip: Flip,
    ) {
        Flips::<T>::insert(id, flip);
        Self::take_off_agenda(id, &challenge);
        challenge.stage = Stage::Audit;
        Self::put_on_agenda(id, &challenge);
        Challenges::<T>::insert(id, challenge);
    }

    /// Several members anchor at once now and then, and only one can be first. Each of the others
    /// may be late once without paying for it.
    fn anchor_late(
        who: T::AccountId,
        id: ChallengeId,
        index: usize,
        mut flip: Flip,
    ) -> DispatchResultWithPostInfo {
        let bit = 1 << index;
        ensure!(
            flip.by.map(usize::from) != Some(index) && flip.late & bit == 0,
            Error::<T>::AlreadyAnchored
        );
        flip.late |= bit;
        Flips::<T>::insert(id, flip);
        Self::deposit_event(Event::FlipAnchoredLate { id, by: who });
        Ok((Some(T::WeightInfo::anchor_flip_late()), Pays::No).into())
    }

    /// What the attempts of a challenge follow from (coinflip.md §1, §3).
    pub(crate) fn flipping(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
    ) -> Result<Flipping, Error<T>> {
        let start_block = StartHashes::<T>::get(id).ok_or(Error::<T>::StartHashUnknown)?;
        let mut genesis = Hash::default();
        genesis.copy_from_slice(
            frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero()).as_ref(),
        );
        let expulsions = Expulsions::<T>::get(id);
        Ok(Flipping {
            genesis,
            challenge: id,
            start_block,
            t0: challenge.t0,
            durations: challenge.timing.durations(),
            min_active: challenge.timing.min_active,
            roster: challenge.session_keys(),
            expulsions: expulsions
                .into_iter()
                .map(|expulsion| Expelled {
                    place: expulsion.place,
                    timestamp_ms: expulsion.timestamp_ms,
                })
                .collect(),
        })
    }

    /// The attempt with this number, if it exists. As long as an expulsion may still change its
    /// roster, it does not: nobody shall anchor a topic, or be blamed in one, that is
    /// another one in the end.
    pub(crate) fn attempt(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
        number: u32,
    ) -> Result<Attempt, Error<T>> {
        let flipping = Self::flipping(id, challenge)?;
        flipping
            .attempt(number)
            .filter(|attempt| flipping.is_settled(attempt, Self::now()))
            .ok_or(Error::<T>::AttemptUnavailable)
    }
}

impl<AccountId> Challenge<AccountId> {
    /// The session keys of the start roster, ascending.
    pub fn session_keys(&self) -> Vec<PublicKey> {
        self.roster
            .iter()
            .map(|member| member.session_key)
            .collect()
    }
}

impl<T> From<AnchorError> for Error<T> {
    fn from(error: AnchorError) -> Self {
        match error {
            AnchorError::OpeningCount => Self::OpeningCount,
            AnchorError::EchoCount => Self::EchoCount,
            AnchorError::WrongEcho(_) => Self::WrongEcho,
        }
    }
}
