//! Anchoring the coinflip (challenge.md §2.2, coinflip.md).

use alloc::vec::Vec;
use datdot_primitives::{
    coinflip::{topic, verify_anchor, AnchorError, Opening},
    Hash, PublicKey, Signature,
};
use frame::prelude::*;

use crate::{
    types::{Challenge, ChallengeId, Flip, Stage},
    Challenges, Config, Error, Event, Flips, Pallet, StartHashes, WeightInfo,
};

/// The only attempt that can be anchored.
const ATTEMPT: u32 = 0;

impl<T: Config> Pallet<T> {
    pub(crate) fn do_anchor_flip(
        who: T::AccountId,
        id: ChallengeId,
        attempt: u32,
        openings: &[Opening],
        echoes: &[Signature],
    ) -> DispatchResultWithPostInfo {
        let mut challenge = Challenges::<T>::get(id).ok_or(Error::<T>::UnknownChallenge)?;
        let index = challenge.index_of(&who).ok_or(Error::<T>::NotInRoster)?;
        ensure!(attempt == ATTEMPT, Error::<T>::AttemptUnavailable);
        if let Some(flip) = Flips::<T>::get(id) {
            return Self::anchor_late(who, id, index, flip);
        }
        let in_time = challenge.stage == Stage::Flip && Self::now() < challenge.flip_end_ms();
        ensure!(in_time, Error::<T>::FlipOver);

        let topic = Self::topic(id, attempt, &challenge)?;
        let keys: Vec<PublicKey> = challenge
            .roster
            .iter()
            .map(|member| member.session_key)
            .collect();
        let anchored = verify_anchor(&topic, &keys, openings, echoes).map_err(Error::<T>::from)?;
        let commitments: Vec<Hash> = openings.iter().map(|opening| opening.z).collect();
        let flip = Flip {
            attempt,
            topic,
            root: anchored.root,
            randomness: anchored.result,
            commitments: commitments
                .try_into()
                .map_err(|_| Error::<T>::OpeningCount)?,
            block: Self::block(),
            by: index as u8,
            late: 0,
        };
        Self::deposit_event(Event::FlipAnchored {
            id,
            attempt,
            topic,
            root: flip.root,
            randomness: flip.randomness,
            by: who,
        });
        Flips::<T>::insert(id, flip);
        Self::take_off_agenda(id, &challenge);
        challenge.stage = Stage::Audit;
        Self::put_on_agenda(id, &challenge);
        Challenges::<T>::insert(id, challenge);
        Ok(Pays::No.into())
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
            index != usize::from(flip.by) && flip.late & bit == 0,
            Error::<T>::AlreadyAnchored
        );
        flip.late |= bit;
        Flips::<T>::insert(id, flip);
        Self::deposit_event(Event::FlipAnchoredLate { id, by: who });
        Ok((Some(T::WeightInfo::anchor_flip_late()), Pays::No).into())
    }

    /// The topic of an attempt (coinflip.md §1).
    fn topic(
        id: ChallengeId,
        attempt: u32,
        challenge: &Challenge<T::AccountId>,
    ) -> Result<Hash, Error<T>> {
        let start_hash = StartHashes::<T>::get(id).ok_or(Error::<T>::StartHashUnknown)?;
        let mut genesis = Hash::default();
        genesis.copy_from_slice(
            frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero()).as_ref(),
        );
        let keys: Vec<PublicKey> = challenge
            .roster
            .iter()
            .map(|member| member.session_key)
            .collect();
        Ok(topic(&genesis, id, &start_hash, attempt, &keys))
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
