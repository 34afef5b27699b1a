//! What waits: hostings for their next challenge, challenges for their time.

use datdot_primitives::Hash;
use frame::{
    deps::frame_support::weights::WeightMeter,
    prelude::*,
    traits::{Randomness, Time},
};
use pallet_hosting::{HostingId, Hostings, OnHosting};
use pallet_providers::AttestorPool;

use crate::{
    types::{
        BlockNumber, Challenge, ChallengeId, Clock, NextLooks, Place, QueuePlace, SponsorTurns,
        Stage, Wait,
    },
    Agenda, Challenges, CommitEnds, Config, CurrentTiming, Demands, Event, Expulsions, Fallbacks,
    Flips, Frauds, History, NextLook, Pallet, Queue, Reports, Rooms, Running, Settlements,
    StartHashes, Started, Tallies, Turn, Turns, VerifiedHeads, Waiting, WeightInfo,
};

/// A block counts as one with room when less than this part of it was used.
const ROOM: Perbill = Perbill::from_percent(90);

/// A closing that nobody asks for comes after D by this part of the time for reports.
const CLOSING_DELAY: u32 = 10;

/// At most so many times `grace_blocks` blocks are waited for, with room or not.
pub(crate) const PATIENCE: u32 = 4;

/// So many turns are passed over in a block. Randomness is renewed within 10 blocks, in each of which
/// those that are made ready anew get one and the same turn.
const MAX_PASSES: u32 = 16;

/// So many frauds of a challenge are removed at once.
pub(crate) const MAX_PRUNED_FRAUDS: usize = 64;

impl<T: Config> Pallet<T> {
    /// The number of this block.
    pub(crate) fn block() -> BlockNumber {
        frame_system::Pallet::<T>::block_number().saturated_into()
    }

    /// This block's timestamp.
    pub(crate) fn now() -> u64 {
        T::Time::now()
    }

    /// Puts a hosting into the queue, as something that its next challenge depends on happened in
    /// this block. One that waits already keeps its turn, or gets the next one if that is over, but
    /// waits for randomness that could be known only after this block. One with an open challenge is
    /// queued when that closes; one that is not ready, as its escrow does not cover a challenge or it
    /// rests, leaves the queue until it is topped up or vouched for.
    pub fn enqueue(hosting: HostingId) {
        let waited = Self::dequeue(hosting);
        let attestors = CurrentTiming::<T>::get().attestors;
        if Running::<T>::contains_key(hosting) || !T::Hostings::is_ready(hosting, attestors) {
            return;
        }
        if let Some(info) = T::Hostings::get(hosting) {
            let turn = waited.map(|wait| wait.turn);
            Self::wait(hosting, info.sponsor, Self::block(), turn);
        }
    }

    /// Enters a hosting for this turn, or, without one, for the next that its sponsor has not had:
    /// the one after the turn that is drawn now, or the one after the last that another hosting of
    /// the sponsor waits for. So a hosting that becomes ready waits for at most two challenges of
    /// each other sponsor, however many hostings that has, besides those that were passed over.
    pub(crate) fn wait(
        hosting: HostingId,
        sponsor: T::AccountId,
        since: BlockNumber,
        turn: Option<u64>,
    ) {
        let next = Turn::<T>::get().saturating_add(1);
        let turn = Turns::<T>::mutate(&sponsor, |turns| {
            let (last, waiting) = turns.map_or((0, 0), |turns| (turns.last, turns.waiting));
            let turn = turn.unwrap_or(last.saturating_add(1)).max(next);
            *turns = Some(SponsorTurns {
                last: last.max(turn),
                waiting: waiting.saturating_add(1),
            });
            turn
        });
        Queue::<T>::insert(QueuePlace::new(turn, since, hosting), ());
        Self::need_looks(|next| next.queue_is_empty = false);
        Waiting::<T>::insert(
            hosting,
            Wait {
                sponsor,
                turn,
                since,
            },
        );
    }

    /// Removes all that is kept of a hosting that ended.
    pub(crate) fn forget_hosting(hosting: HostingId) {
        Self::dequeue(hosting);
        History::<T>::remove(hosting);
        VerifiedHeads::<T>::remove(hosting);
    }

    /// Takes a hosting out of the queue, if it is there; how it waited.
    pub(crate) fn dequeue(hosting: HostingId) -> Option<Wait<T::AccountId>> {
        let wait = Waiting::<T>::take(hosting)?;
        Queue::<T>::remove(QueuePlace::new(wait.turn, wait.since, hosting));
        Turns::<T>::mutate_exists(&wait.sponsor, |turns| {
            *turns = turns.and_then(|turns| {
                let waiting = turns.waiting.saturating_sub(1);
                (waiting > 0).then_some(SponsorTurns { waiting, ..turns })
            });
        });
        Some(wait)
    }

    /// Starts challenges in the order of the queue, as far as the randomness could not be known when
    /// the last event that made them ready happened. A turn in which none is that far is passed
    /// over, so that nobody holds the others up by making its hosting ready again and again.
    pub(crate) fn start_waiting(meter: &mut WeightMeter) {
        if NextLook::<T>::get().queue_is_empty || !Self::pool_suffices() {
            return;
        }
        let (randomness, since) = T::Randomness::random(b"datdot/roster");
        if T::Attestors::changed_at() >= since {
            return;
        }
        let since: BlockNumber = since.saturated_into();
        let mut left = T::MaxStarts::get();
        let mut passes = MAX_PASSES;
        let mut passed: Option<QueuePlace> = None;
        while left > 0 && Self::pool_suffices() {
            if meter.try_consume(Self::look_weight()).is_err() {
                return;
            }
            let next = match &passed {
                None => Queue::<T>::iter_keys().next(),
                Some(place) => Queue::<T>::iter_keys_from(Queue::<T>::hashed_key_for(place)).next(),
            };
            let Some(place) = next else {
                if passed.is_none() {
                    Self::need_looks(|next| next.queue_is_empty = true);
                }
                return;
            };
            // Within a turn the earliest comes first: if that is too late, all of them are.
            if place.since() >= since {
                let Some(fewer) = passes.checked_sub(1) else {
                    return;
                };
                passes = fewer;
                passed = Some(place.end_of_turn());
                continue;
            }
            let attestors = CurrentTiming::<T>::get().attestors;
            if meter.try_consume(T::WeightInfo::start(attestors)).is_err() {
                return;
            }
            left = left.saturating_sub(1);
            Self::start_next(&place, randomness);
        }
    }

    /// Whether enough attestors are eligible for a challenge.
    fn pool_suffices() -> bool {
        let timing = CurrentTiming::<T>::get();
        let needed = u64::from(timing.attestors) * u64::from(timing.pool_factor);
        u64::from(T::Attestors::eligible_count()) >= needed
    }

    /// Starts the challenge of a hosting in the queue, if it can be.
    fn start_next(place: &QueuePlace, randomness: Hash) {
        let hosting = place.hosting();
        Self::dequeue(hosting);
        match Self::start(hosting, randomness) {
            // What was passed over may be drawn after a later turn.
            Ok(()) => Turn::<T>::mutate(|turn| *turn = place.turn().max(*turn)),
            // Its hoster or sponsor is among too few attestors: it waits for a larger pool.
            Err(crate::start::NotStarted::TooFewAttestors) => Self::enqueue(hosting),
            // It comes back when it is accepted, vouched for or topped up.
            Err(crate::start::NotStarted::NotReady) => {}
        }
    }

    /// Works off what is due, in order, up to the block's share.
    pub(crate) fn work_off_agenda(meter: &mut WeightMeter) {
        let mut left = T::MaxDue::get();
        for clock in [Clock::Time, Clock::Rooms, Clock::Blocks] {
            let now = match clock {
                Clock::Time => Self::now(),
                Clock::Rooms => Rooms::<T>::get(),
                Clock::Blocks => Self::block().into(),
            };
            while NextLook::<T>::get().order(clock) <= now {
                if meter.try_consume(Self::look_weight()).is_err() {
                    return;
                }
                let Some((place, challenge)) = Self::look(clock, now) else {
                    break;
                };
                let Some(after) = left.checked_sub(1) else {
                    return;
                };
                left = after;
                let work = Self::work_weight(challenge.members());
                if meter.try_consume(work).is_err() {
                    return;
                }
                Self::work_off(place.id(), challenge);
            }
        }
    }

    /// What is due first by a clock; if nothing is, no block looks until something can be.
    pub(crate) fn look(clock: Clock, now: u64) -> Option<(Place, Challenge<T::AccountId>)> {
        let first = Agenda::<T>::iter_key_prefix(clock).next();
        match first {
            Some(place) if place.order() <= now => {
                let challenge = Challenges::<T>::get(place.id());
                if challenge.is_none() {
                    frame::prelude::defensive!("the agenda names open or closed challenges");
                    Agenda::<T>::remove(clock, place);
                }
                Some((place, challenge?))
            }
            later => {
                let order = later.map_or(u64::MAX, |place| place.order());
                Self::need_looks(|next| next.set_order(clock, order));
                None
            }
        }
    }

    /// Says anew which looks are needed.
    fn need_looks(change: impl FnOnce(&mut NextLooks)) {
        let before = NextLook::<T>::get();
        let mut next = before;
        change(&mut next);
        if next != before {
            NextLook::<T>::put(next);
        }
    }

    /// One look for the first of an agenda or of the queue; benchmarks do not count what is found so.
    pub(crate) fn look_weight() -> Weight {
        T::WeightInfo::look().saturating_add(T::DbWeight::get().reads(1))
    }

    /// The most that [`Self::work_off`] costs for a challenge with so many attestors.
    pub(crate) fn work_weight(attestors: u32) -> Weight {
        T::WeightInfo::open_commits()
            .max(T::WeightInfo::end_commits())
            .max(T::WeightInfo::open_reports())
            .max(T::WeightInfo::prune(attestors))
            .max(Self::settlement_weight(attestors))
    }

    /// Does what is due for one challenge.
    fn work_off(id: ChallengeId, challenge: Challenge<T::AccountId>) {
        match challenge.stage {
            Stage::Flip => Self::open_commits(id, challenge),
            Stage::Commit { since, opened_ms } => {
                Self::end_commits(id, challenge, since, opened_ms)
            }
            Stage::Audit => {
                Self::open_reports(id, challenge);
            }
            // Its place is after D and after all answers.
            Stage::Report { .. } => Self::settle(id, challenge, None),
            Stage::Closed { .. } => Self::prune(id, &challenge),
        }
    }

    /// The phase Report begins: D is fixed.
    pub(crate) fn open_reports(
        id: ChallengeId,
        mut challenge: Challenge<T::AccountId>,
    ) -> Challenge<T::AccountId> {
        Self::take_off_agenda(id, &challenge);
        let deadline = Self::deadline(challenge.timing.grace_blocks);
        challenge.stage = Stage::Report {
            since: Self::block(),
            deadline,
            answers: None,
        };
        Self::put_on_agenda(id, &challenge);
        Challenges::<T>::insert(id, &challenge);
        Self::deposit_event(Event::ReportsOpened { id, deadline });
        challenge
    }

    /// The places of a challenge in the agenda, which follow from its stage; in phase Commit also
    /// from what is seen of the end of commits.
    pub(crate) fn places(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
    ) -> alloc::vec::Vec<(Clock, Place)> {
        match challenge.stage {
            Stage::Flip => alloc::vec![(Clock::Time, Place::new(challenge.flip_end_ms(), id))],
            Stage::Commit { opened_ms, .. } => match CommitEnds::<T>::get(id) {
                Some(end) => alloc::vec![(Clock::Blocks, Place::new(end.due.into(), id))],
                None => {
                    let end = opened_ms.saturating_add(challenge.timing.commit_ms);
                    alloc::vec![(Clock::Time, Place::new(end, id))]
                }
            },
            Stage::Audit => alloc::vec![(Clock::Time, Place::new(challenge.end_ms(), id))],
            Stage::Report {
                deadline, answers, ..
            } => {
                let deadline = answers.map_or(deadline, |answers| deadline.later(answers));
                let delay = challenge.timing.grace_blocks / CLOSING_DELAY;
                let rooms = deadline.rooms.saturating_add(delay.into());
                let block = deadline.block.saturating_add(delay);
                alloc::vec![
                    (Clock::Rooms, Place::new(rooms, id)),
                    (Clock::Blocks, Place::new(block.into(), id)),
                ]
            }
            Stage::Closed { at, .. } => {
                let due = at.saturating_add(T::UnbondingBlocks::get());
                alloc::vec![(Clock::Blocks, Place::new(due.into(), id))]
            }
        }
    }

    /// Enters a challenge's places in the agenda.
    pub(crate) fn put_on_agenda(id: ChallengeId, challenge: &Challenge<T::AccountId>) {
        for (clock, place) in Self::places(id, challenge) {
            Agenda::<T>::insert(clock, place, ());
            Self::need_looks(|next| {
                next.set_order(clock, next.order(clock).min(place.order()));
            });
        }
    }

    /// Removes a challenge's places from the agenda, and what only they follow from; before its
    /// stage changes.
    pub(crate) fn take_off_agenda(id: ChallengeId, challenge: &Challenge<T::AccountId>) {
        for (clock, place) in Self::places(id, challenge) {
            Agenda::<T>::remove(clock, place);
        }
        if let Stage::Commit { .. } = challenge.stage {
            CommitEnds::<T>::remove(id);
        }
    }

    /// Removes all that is kept of a closed challenge. Its frauds go first, a bounded number at a
    /// time; while some are left, it stays the next that is due.
    fn prune(id: ChallengeId, challenge: &Challenge<T::AccountId>) {
        let evidence: alloc::vec::Vec<Hash> = Frauds::<T>::iter_key_prefix(id)
            .take(MAX_PRUNED_FRAUDS)
            .collect();
        for one in &evidence {
            Frauds::<T>::remove(id, one);
        }
        if evidence.len() == MAX_PRUNED_FRAUDS {
            return;
        }
        Self::take_off_agenda(id, challenge);
        for member in &challenge.roster {
            Reports::<T>::remove(id, &member.account);
            Demands::<T>::remove(id, &member.account);
        }
        Challenges::<T>::remove(id);
        StartHashes::<T>::remove(id);
        Flips::<T>::remove(id);
        Fallbacks::<T>::remove(id);
        Expulsions::<T>::remove(id);
        Tallies::<T>::remove(id);
        Settlements::<T>::remove(id);
        Self::deposit_event(Event::ChallengePruned { id });
    }

    /// Stores the start hash of the challenges that started in the block before; how many.
    pub(crate) fn store_start_hashes() -> u32 {
        let started = Started::<T>::take();
        let parent = frame_system::Pallet::<T>::parent_hash();
        let mut hash = Hash::default();
        hash.copy_from_slice(parent.as_ref());
        for id in &started {
            StartHashes::<T>::insert(id, hash);
        }
        started.len() as u32
    }

    /// Counts this block if it had room for reports.
    pub(crate) fn count_room() {
        let class = DispatchClass::Normal;
        let weights = T::BlockWeights::get();
        let most = weights.get(class).max_total.unwrap_or(weights.max_block);
        let used = frame_system::BlockWeight::<T>::get();
        let used = used.get(class);
        let length = frame_system::Pallet::<T>::block_size();
        let has_room = used.ref_time() < ROOM * most.ref_time()
            && used.proof_size() < ROOM * most.proof_size()
            && length < ROOM * *T::BlockLength::get().max.get(class);
        if has_room {
            Rooms::<T>::mutate(|rooms| *rooms = rooms.saturating_add(1));
        }
    }
}

impl<T: Config> OnHosting for Pallet<T> {
    fn on_ready(id: HostingId) {
        Self::enqueue(id);
    }

    fn on_funded(id: HostingId) {
        // Anybody may top up: who waits already must not be held up by it.
        if !Waiting::<T>::contains_key(id) {
            Self::enqueue(id);
        }
    }

    fn on_closed(id: HostingId) {
        Self::forget_hosting(id);
    }
}
