//! The draw of a roster and the start of a challenge (coinflip.md §6, challenge.md §2.2).

use alloc::vec::Vec;
use datdot_primitives::{
    draws::{draw_roster, roster_seed},
    Hash,
};
use frame::prelude::*;
use pallet_hosting::{HostingId, HostingInfo, Hostings};
use pallet_providers::AttestorPool;

use crate::{
    types::{Balance, Challenge, ChallengeId, Member, PerMember, Stage},
    Challenges, Config, CurrentTiming, Event, NextId, Pallet, Running, Started,
};

/// Why a challenge did not start.
pub(crate) enum NotStarted {
    /// Too few attestors are eligible that are neither the hoster nor the sponsor.
    TooFewAttestors,
    /// The hosting ended, rests, or its escrow does not cover a challenge.
    NotReady,
}

impl<T: Config> Pallet<T> {
    /// Draws a roster for the hosting and starts its challenge; changes nothing if it cannot.
    pub(crate) fn start(hosting: HostingId, randomness: Hash) -> Result<(), NotStarted> {
        let timing = CurrentTiming::<T>::get();
        let info = T::Hostings::get(hosting).ok_or(NotStarted::NotReady)?;
        if !T::Hostings::is_ready(hosting, timing.attestors) {
            return Err(NotStarted::NotReady);
        }
        let id = NextId::<T>::get();
        let roster = Self::draw(id, randomness, timing.attestors, &info)
            .ok_or(NotStarted::TooFewAttestors)?;
        T::Hostings::start_challenge(hosting).map_err(|_| NotStarted::NotReady)?;

        NextId::<T>::put(id.saturating_add(1));
        for member in &roster {
            T::Attestors::enter(&member.account)
                .defensive_proof("who is eligible is an attestor")
                .unwrap_or_default();
        }
        Started::<T>::mutate(|started| {
            started
                .try_push(id)
                .defensive_proof("at most MaxStarts start in a block")
        })
        .unwrap_or_default();
        Running::<T>::insert(hosting, id);
        let challenge = Challenge {
            hosting,
            hoster: info.hoster,
            sponsor: info.sponsor,
            noise_key: info.noise_key,
            feed: info.feed,
            terms: info.terms,
            fork: info.fork,
            length: info.length,
            block: Self::block(),
            t0: Self::now(),
            timing,
            randomness,
            roster,
            stage: Stage::Flip,
        };
        Self::put_on_agenda(id, &challenge);
        Challenges::<T>::insert(id, &challenge);
        Self::deposit_event(Event::ChallengeStarted {
            id,
            hosting,
            hoster: challenge.hoster.clone(),
            block: challenge.block,
            end_ms: challenge.end_ms(),
            roster: challenge.roster,
            randomness,
        });
        Ok(())
    }

    /// The roster of challenge `id`, by session key.
    fn draw(
        id: ChallengeId,
        randomness: Hash,
        attestors: u32,
        info: &HostingInfo<T::AccountId, Balance>,
    ) -> Option<PerMember<Member<T::AccountId>>> {
        let skip = |place| {
            T::Attestors::eligible_at(place)
                .is_none_or(|account| account == info.hoster || account == info.sponsor)
        };
        let eligible = T::Attestors::eligible_count();
        let drawn = draw_roster(roster_seed(&randomness, id), eligible, attestors, skip)?;
        let mut roster: Vec<_> = drawn
            .into_iter()
            .map(|place| {
                let account = T::Attestors::eligible_at(place)?;
                let session_key = T::Attestors::session_key(&account)?;
                Some(Member {
                    account,
                    session_key,
                })
            })
            .collect::<Option<_>>()?;
        roster.sort_unstable_by_key(|member| member.session_key);
        roster.try_into().ok()
    }
}
