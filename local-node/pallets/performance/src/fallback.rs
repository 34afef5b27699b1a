//! The flip on the chain, for what nobody anchored (challenge.md §2.2, coinflip.md §5).

use alloc::vec::Vec;
use datdot_primitives::{
    attempts::{bit, mask},
    coinflip::{fallback, FALLBACK_ATTEMPT},
    Hash,
};
use frame::{prelude::*, traits::Randomness};

use crate::{
    timing::MIN_AUDIT_MS,
    types::{
        BlockNumber, Challenge, ChallengeId, CommitEnd, Fallback, FallbackCommit, Flip, PerMember,
        Stage,
    },
    Challenges, CommitEnds, Config, Error, Event, Expulsions, Fallbacks, Pallet, WeightInfo,
};

impl<T: Config> Pallet<T> {
    /// F: nothing was anchored in time. Roster and topic of the fallback are fixed; without enough
    /// members that are not expelled, the challenge is Void, and none of them is to blame.
    pub(crate) fn open_commits(id: ChallengeId, mut challenge: Challenge<T::AccountId>) {
        let roster = mask(challenge.roster.len()) & !Self::expelled(id);
        let flipping = Self::flipping(id, &challenge)
            .map_err(|_| ())
            .defensive_proof("the start hash is known one block after the start");
        let flipping = match flipping {
            Ok(flipping) if roster.count_ones() >= challenge.timing.min_active => flipping,
            _ => return Self::settle_void(id, challenge, 0),
        };
        let topic = flipping.topic(FALLBACK_ATTEMPT, roster);
        let since = Self::block();
        Self::take_off_agenda(id, &challenge);
        challenge.stage = Stage::Commit {
            since,
            opened_ms: Self::now(),
        };
        Self::put_on_agenda(id, &challenge);
        Challenges::<T>::insert(id, challenge);
        Fallbacks::<T>::insert(
            id,
            Fallback {
                topic,
                roster,
                commits: PerMember::default(),
            },
        );
        Self::deposit_event(Event::CommitOpened {
            id,
            topic,
            roster,
            since,
        });
    }

    pub(crate) fn do_commit_flip(
        who: T::AccountId,
        id: ChallengeId,
        z: Hash,
    ) -> DispatchResultWithPostInfo {
        let challenge = Challenges::<T>::get(id).ok_or(Error::<T>::UnknownChallenge)?;
        let index = challenge.index_of(&who).ok_or(Error::<T>::NotInRoster)?;
        match challenge.stage {
            Stage::Flip => return Err(Error::<T>::CommitsNotOpen.into()),
            // `on_poll` may not have got to the end of commits yet.
            Stage::Commit { since, opened_ms }
                if !Self::commits_have_ended(&challenge, since, opened_ms) => {}
            _ => return Err(Error::<T>::CommitsOver.into()),
        }
        let mut fallback = Fallbacks::<T>::get(id)
            .defensive_proof("commits are taken to a fallback")
            .ok_or(Error::<T>::CommitsNotOpen)?;
        ensure!(fallback.roster & bit(index) != 0, Error::<T>::NotInFallback);
        let at = match fallback
            .commits
            .binary_search_by_key(&index, |commit| commit.place.into())
        {
            Ok(_) => return Err(Error::<T>::AlreadyCommitted.into()),
            Err(at) => at,
        };
        let commit = FallbackCommit {
            place: index as u8,
            z,
        };
        fallback
            .commits
            .try_insert(at, commit)
            .map_err(|_| Error::<T>::AlreadyCommitted)?;
        Fallbacks::<T>::insert(id, fallback);
        Self::deposit_event(Event::FlipCommitted { id, by: who, z });
        Ok((Some(T::WeightInfo::commit_flip()), Pays::No).into())
    }

    /// Whether this block is C or a later one. Neither numbers nor timestamps go back, so it is
    /// exact whatever `on_poll` got to.
    pub(crate) fn commits_have_ended(
        challenge: &Challenge<T::AccountId>,
        since: BlockNumber,
        opened_ms: u64,
    ) -> bool {
        let timing = &challenge.timing;
        Self::now() >= opened_ms.saturating_add(timing.commit_ms)
            && Self::block() >= since.saturating_add(timing.commit_blocks)
    }

    /// Looks after a fallback at or after its `commit_ms`: at C, who committed decides whether it
    /// goes on; from then on R is fixed as soon as there is randomness that nobody could know
    /// before C.
    pub(crate) fn end_commits(
        id: ChallengeId,
        challenge: Challenge<T::AccountId>,
        since: BlockNumber,
        opened_ms: u64,
    ) {
        if !Self::commits_have_ended(&challenge, since, opened_ms) {
            let due = since.saturating_add(challenge.timing.commit_blocks);
            return Self::look_again(id, &challenge, CommitEnd { due, reached: None });
        }
        let moments_from = challenge.timing.moments_from_fallback(Self::now());
        let window = challenge.timing.window(challenge.t0, moments_from);
        if window.width < MIN_AUDIT_MS {
            // The chain was too slow, for which nobody pays.
            return Self::settle_void(id, challenge, 0);
        }
        let Some(fallback) = Fallbacks::<T>::get(id) else {
            frame::prelude::defensive!("commits are taken to a fallback");
            return Self::settle_void(id, challenge, 0);
        };
        let active = fallback.committed();
        if active.count_ones() < challenge.timing.min_active {
            return Self::settle_void(id, challenge, fallback.roster & !active);
        }
        let block = Self::block();
        let reached = CommitEnds::<T>::get(id)
            .and_then(|end| end.reached)
            .unwrap_or(block);
        let (randomness, known_since) = T::Randomness::random(b"datdot/fallback");
        if known_since.saturated_into::<BlockNumber>() < reached {
            let end = CommitEnd {
                due: block.saturating_add(1),
                reached: Some(reached),
            };
            return Self::look_again(id, &challenge, end);
        }
        Self::fall_back(id, challenge, fallback, moments_from, randomness);
    }

    /// Moves a challenge in phase Commit to another place in the agenda.
    fn look_again(id: ChallengeId, challenge: &Challenge<T::AccountId>, end: CommitEnd) {
        Self::take_off_agenda(id, challenge);
        CommitEnds::<T>::insert(id, end);
        Self::put_on_agenda(id, challenge);
    }

    /// Fixes R of a fallback: the audits begin.
    fn fall_back(
        id: ChallengeId,
        challenge: Challenge<T::AccountId>,
        of: Fallback,
        moments_from: u64,
        chain_randomness: Hash,
    ) {
        let active = of.committed();
        let commitments: Vec<Hash> = of.commits.iter().map(|commit| commit.z).collect();
        let fixed = fallback(&of.topic, &commitments, &chain_randomness);
        let flip = Flip {
            attempt: FALLBACK_ATTEMPT,
            topic: of.topic,
            root: fixed.root,
            randomness: fixed.result,
            active,
            commitments: PerMember::truncate_from(commitments),
            moments_from,
            block: Self::block(),
            by: None,
            chain_randomness: Some(chain_randomness),
            late: 0,
        };
        Self::deposit_event(Event::FlipFellBack {
            id,
            active,
            topic: flip.topic,
            root: flip.root,
            chain_randomness,
            randomness: flip.randomness,
        });
        Self::begin_audits(id, challenge, flip);
    }

    /// Who was expelled from a challenge: bit i for place i of its roster.
    pub(crate) fn expelled(id: ChallengeId) -> u32 {
        Expulsions::<T>::get(id)
            .iter()
            .fold(0, |places, expulsion| places | bit(expulsion.place.into()))
    }
}
