//! What must hold between the pallet's storage items after every block.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use frame::{deps::sp_runtime::TryRuntimeError, prelude::*};

use crate::{
    types::{Balance, Challenge, ChallengeId, PaymentKind, ReportedOutcome, Stage, Tally, Verdict},
    Agenda, Challenges, Config, CurrentTiming, Flips, NextId, Pallet, Queue, Reports, Running,
    Settlements, Tallies, Waiting,
};

impl<T: Config> Pallet<T> {
    /// Checks that the items agree with each other, and that each settlement divides no more and no
    /// less than there was.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        ensure!(
            CurrentTiming::<T>::get().check().is_ok(),
            "the timing cannot work"
        );
        let next = NextId::<T>::get();
        let mut open = BTreeMap::new();
        let mut places = BTreeSet::new();
        for (id, challenge) in Challenges::<T>::iter() {
            ensure!(id < next, "a challenge has an id that was not given yet");
            if challenge.is_open() {
                ensure!(
                    open.insert(challenge.hosting, id).is_none(),
                    "a hosting has two open challenges"
                );
            }
            for (clock, place) in Self::places(id, &challenge) {
                places.insert((clock, place).encode());
            }
            Self::check_challenge(id, &challenge)?;
        }
        ensure!(
            open == Running::<T>::iter().collect(),
            "Running is not the open challenges"
        );
        let agenda: BTreeSet<Vec<u8>> = Agenda::<T>::iter_keys()
            .map(|(clock, place)| (clock, place).encode())
            .collect();
        ensure!(
            agenda == places,
            "the agenda is not what the stages ask for"
        );
        let waiting: BTreeSet<_> = Waiting::<T>::iter()
            .map(|(hosting, since)| (u64::from(since), hosting))
            .collect();
        let queue: BTreeSet<_> = Queue::<T>::iter_keys()
            .map(|place| (place.order(), place.id()))
            .collect();
        ensure!(waiting == queue, "the queue is not what waits");
        ensure!(
            waiting
                .iter()
                .all(|(_, hosting)| !open.contains_key(hosting)),
            "a hosting with an open challenge waits"
        );
        Ok(())
    }

    fn check_challenge(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
    ) -> Result<(), TryRuntimeError> {
        let roster = &challenge.roster;
        ensure!(
            roster.len() as u32 == challenge.timing.attestors,
            "a roster is not full"
        );
        ensure!(
            roster
                .windows(2)
                .all(|pair| pair[0].session_key < pair[1].session_key),
            "a roster does not ascend"
        );
        ensure!(
            roster.iter().all(|member| {
                member.account != challenge.hoster && member.account != challenge.sponsor
            }),
            "hoster or sponsor is in the roster"
        );
        let flip = Flips::<T>::get(id);
        let is_void = matches!(
            challenge.stage,
            Stage::Closed {
                outcome: Verdict::Void,
                ..
            }
        );
        ensure!(
            flip.is_some() != (challenge.stage == Stage::Flip || is_void),
            "a challenge is past the flip without one, or has one too early"
        );
        ensure!(
            flip.is_none_or(|flip| flip.commitments.len() == roster.len()),
            "a flip has not one commitment per member"
        );
        ensure!(
            Self::count(id, challenge) == Tallies::<T>::get(id),
            "a tally is wrong"
        );
        match challenge.stage {
            Stage::Closed { outcome, .. } => Self::check_settlement(id, challenge, outcome),
            _ => {
                ensure!(
                    !Settlements::<T>::contains_key(id),
                    "an open challenge is settled"
                );
                Ok(())
            }
        }
    }

    /// The tally that follows from the stored reports.
    fn count(id: ChallengeId, challenge: &Challenge<T::AccountId>) -> Tally {
        let mut tally = Tally::default();
        for (account, record) in Reports::<T>::iter_prefix(id) {
            // Somebody else's report counts without a bit, which makes the tally differ.
            if let Some(index) = challenge.index_of(&account) {
                tally.reported |= 1 << index;
            }
            match record.outcome {
                ReportedOutcome::Served(_) => tally.served += 1,
                ReportedOutcome::Failed { .. } => tally.failed += 1,
            }
        }
        tally
    }

    fn check_settlement(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
        outcome: Verdict,
    ) -> Result<(), TryRuntimeError> {
        let settlement = Settlements::<T>::get(id).ok_or("a closed challenge is not settled")?;
        ensure!(
            settlement.outcome == outcome,
            "a settlement has another outcome"
        );
        let paid = |kind| -> Balance {
            let of_kind = settlement
                .paid
                .iter()
                .filter(|payment| payment.kind == kind);
            of_kind.map(|payment| payment.amount).sum()
        };
        let fees: Balance = settlement.absent.iter().map(|absence| absence.fee).sum();
        ensure!(
            fees == settlement.burnt + settlement.to_escrow + paid(PaymentKind::Closing),
            "absence fees were lost or made"
        );
        let hosters = paid(PaymentKind::Hosting) + settlement.forfeited;
        let reward = if outcome == Verdict::Passed {
            challenge.terms.hoster_reward
        } else {
            0
        };
        ensure!(hosters <= reward, "the hoster got more than its reward");
        let most = challenge.terms.attestor_reward * Balance::from(settlement.active);
        ensure!(
            paid(PaymentKind::Report) <= most,
            "the attestors got more than their rewards"
        );
        ensure!(
            settlement.absent.len() as u32 + settlement.served + settlement.failed
                == settlement.active,
            "somebody was neither absent nor reported, or both"
        );
        Ok(())
    }
}
