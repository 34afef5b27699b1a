//! What must hold between the pallet's storage items after every block.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use datdot_primitives::{
    attempts::{bit, mask},
    coinflip::{fallback as fallback_of, FALLBACK_ATTEMPT},
};
use frame::{deps::sp_runtime::TryRuntimeError, prelude::*, token::fungible::InspectHold};

use crate::{
    types::{
        AnswerKind, Balance, Challenge, ChallengeId, DemandState, Fallback, Flip, PaymentKind,
        QueuePlace, Rank, ReportedOutcome, Stage, Tally, Verdict, MAX_HISTORY,
    },
    Agenda, Challenges, CommitEnds, Config, CurrentTiming, Demands, Expulsions, Fallbacks,
    FalseReceipts, Flips, Frauds, HoldReason, HosterRecords, NextId, NextLook, Pallet, Queue,
    Ranking, ReceiptsToForget, Reports, Running, Settlements, StartHashes, Tallies, Turns, Waiting,
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
        Self::check_no_orphans()?;
        Self::check_false_receipts()?;
        Self::check_deposits()?;
        let agenda: BTreeSet<Vec<u8>> = Agenda::<T>::iter_keys()
            .map(|(clock, place)| (clock, place).encode())
            .collect();
        ensure!(
            agenda == places,
            "the agenda is not what the stages ask for"
        );
        let next = NextLook::<T>::get();
        ensure!(
            Agenda::<T>::iter_keys().all(|(clock, place)| next.order(clock) <= place.order()),
            "nobody looks when something is due"
        );
        ensure!(
            !next.queue_is_empty || Queue::<T>::iter_keys().next().is_none(),
            "nobody looks at the queue"
        );
        Self::check_queue()?;
        ensure!(
            Waiting::<T>::iter_keys().all(|hosting| !open.contains_key(&hosting)),
            "a hosting with an open challenge waits"
        );
        Self::check_hosters()
    }

    /// The queue is those who wait, and each sponsor's number of them and their last turn are kept.
    fn check_queue() -> Result<(), TryRuntimeError> {
        let mut places = BTreeSet::new();
        let mut turns = BTreeMap::<T::AccountId, Vec<u64>>::new();
        for (hosting, wait) in Waiting::<T>::iter() {
            places.insert(QueuePlace::new(wait.turn, wait.since, hosting).encode());
            turns.entry(wait.sponsor).or_default().push(wait.turn);
        }
        ensure!(
            places
                == Queue::<T>::iter_keys()
                    .map(|place| place.encode())
                    .collect(),
            "the queue is not what waits"
        );
        ensure!(
            Turns::<T>::iter_keys().count() == turns.len(),
            "turns of a sponsor without hostings that wait"
        );
        for (sponsor, given) in turns {
            let kept = Turns::<T>::get(sponsor).ok_or("a sponsor waits without turns")?;
            ensure!(
                kept.waiting as usize == given.len() && given.iter().all(|turn| *turn <= kept.last),
                "a sponsor's turns are not those of its hostings"
            );
        }
        Ok(())
    }

    /// The summaries follow from the records, and the ranking from the summaries.
    fn check_hosters() -> Result<(), TryRuntimeError> {
        let mut ranks = BTreeSet::new();
        for (hoster, record) in HosterRecords::<T>::iter() {
            ensure!(
                record.summary == crate::summary::of_record(&record),
                "a summary is not that of its record"
            );
            let summary = &record.summary;
            let all = summary.passed + summary.failed + summary.inconclusive;
            ensure!(
                record.recent.len() as u64 == all.min(MAX_HISTORY.into()),
                "a record has more or fewer challenges than were settled"
            );
            ensure!(
                record
                    .recent
                    .iter()
                    .all(|entry| entry.outcome != Verdict::Void),
                "a Void challenge is in a hoster's record"
            );
            ranks.insert(Rank::new(summary.latency_p50_us, hoster).encode());
        }
        ensure!(
            ranks
                == Ranking::<T>::iter_keys()
                    .map(|rank| rank.encode())
                    .collect(),
            "the ranking is not that of the summaries"
        );
        Ok(())
    }

    /// For each account, the deposits of its open demands are what is held.
    fn check_deposits() -> Result<(), TryRuntimeError> {
        let mut deposits = BTreeMap::<T::AccountId, Balance>::new();
        for (_, account, demand) in Demands::<T>::iter() {
            if demand.state == DemandState::Open {
                let sum = deposits.entry(account).or_default();
                *sum = sum.saturating_add(demand.deposit);
            }
        }
        for account in frame_system::Account::<T>::iter_keys() {
            ensure!(
                T::Currency::balance_on_hold(&HoldReason::Demand.into(), &account)
                    == deposits.remove(&account).unwrap_or_default(),
                "held for demands is not what the ledger says"
            );
        }
        ensure!(
            deposits.values().all(|deposit| *deposit == 0),
            "a deposit of no account"
        );
        Ok(())
    }

    /// Demands are those of the reports, and are open as long as the challenge is.
    fn check_demands(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
    ) -> Result<(), TryRuntimeError> {
        let mut reported = BTreeMap::new();
        for (account, record) in Reports::<T>::iter_prefix(id) {
            if let ReportedOutcome::Failed {
                demand: Some(chunk),
                ..
            } = record.outcome
            {
                reported.insert(account, chunk);
            }
        }
        let demanded: BTreeMap<_, _> = Demands::<T>::iter_prefix(id)
            .map(|(account, demand)| (account, demand.chunk))
            .collect();
        ensure!(
            reported == demanded,
            "the demands are not those of the reports"
        );
        let answers = match challenge.stage {
            Stage::Report { answers, .. } => answers,
            _ => None,
        };
        ensure!(
            answers == Self::answers_due(id),
            "answers are awaited of no open demand, or not of one"
        );
        ensure!(
            Demands::<T>::iter_prefix_values(id).all(|demand| match demand.state {
                DemandState::Answered { answer, fee, .. } =>
                    fee <= demand.deposit && (answer == AnswerKind::Chunk || fee == 0),
                DemandState::Unanswered { slashed, reward } =>
                    reward <= slashed / 2 && !challenge.is_open(),
                DemandState::Open => true,
            }),
            "a demand cost or brought more than it may"
        );
        Ok(())
    }

    /// Each false receipt is forgotten in its time, and half of a slash at most is a reward.
    fn check_false_receipts() -> Result<(), TryRuntimeError> {
        let known: BTreeSet<_> = FalseReceipts::<T>::iter_keys().collect();
        let to_forget: BTreeSet<_> = ReceiptsToForget::<T>::iter_keys()
            .map(|one| one.id)
            .collect();
        ensure!(
            known == to_forget && known.len() == ReceiptsToForget::<T>::iter_keys().count(),
            "a false receipt is never forgotten, or twice"
        );
        ensure!(
            FalseReceipts::<T>::iter_values()
                .all(|fraud| fraud.slashed > 0 && fraud.reward <= fraud.slashed / 2),
            "a reporter got more than half of a slash"
        );
        Ok(())
    }

    /// Nothing is kept of a challenge that was removed.
    fn check_no_orphans() -> Result<(), TryRuntimeError> {
        let kept = [
            Flips::<T>::iter_keys().collect::<Vec<_>>(),
            Fallbacks::<T>::iter_keys().collect(),
            CommitEnds::<T>::iter_keys().collect(),
            Expulsions::<T>::iter_keys().collect(),
            Frauds::<T>::iter_keys().map(|(id, _)| id).collect(),
            Tallies::<T>::iter_keys().collect(),
            Reports::<T>::iter_keys().map(|(id, _)| id).collect(),
            Demands::<T>::iter_keys().map(|(id, _)| id).collect(),
            Settlements::<T>::iter_keys().collect(),
            StartHashes::<T>::iter_keys().collect(),
        ];
        ensure!(
            kept.into_iter()
                .flatten()
                .all(Challenges::<T>::contains_key),
            "something is left of a challenge that was removed"
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
        Self::check_flip(id, challenge)?;
        Self::check_frauds(id, challenge)?;
        Self::check_demands(id, challenge)?;
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

    /// The flip and the fallback agree with the stage, with each other, and with the rules.
    fn check_flip(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
    ) -> Result<(), TryRuntimeError> {
        let flip = Flips::<T>::get(id);
        let fallback = Fallbacks::<T>::get(id);
        let in_commit = matches!(challenge.stage, Stage::Commit { .. });
        let is_void = matches!(
            challenge.stage,
            Stage::Closed {
                outcome: Verdict::Void,
                ..
            }
        );
        ensure!(
            flip.is_some() != (challenge.stage == Stage::Flip || in_commit || is_void),
            "a challenge is past the flip without one, or has one too early"
        );
        ensure!(
            !in_commit || fallback.is_some(),
            "commits are taken to no fallback"
        );
        ensure!(
            in_commit || !CommitEnds::<T>::contains_key(id),
            "the end of commits is awaited in another phase"
        );
        if let Some(fallback) = &fallback {
            ensure!(
                in_commit || is_void || flip.as_ref().is_some_and(|flip| flip.by.is_none()),
                "a fallback of what was anchored"
            );
            Self::check_fallback(id, challenge, fallback)?;
        }
        let Some(flip) = flip else {
            return Ok(());
        };
        let everybody = mask(challenge.roster.len());
        ensure!(
            flip.active & !everybody == 0 && flip.late & !everybody == 0,
            "somebody in a flip is not in the roster"
        );
        ensure!(
            flip.active.count_ones() >= challenge.timing.min_active,
            "too few are active"
        );
        ensure!(
            flip.commitments.len() as u32 == flip.active.count_ones(),
            "a flip has not one commitment per active member"
        );
        match flip.by {
            Some(place) => {
                let attempt = Self::attempt(id, challenge, flip.attempt)
                    .map_err(|_| "an attempt was anchored that does not exist")?;
                ensure!(
                    (attempt.topic, attempt.members) == (flip.topic, flip.active),
                    "an anchored flip is not that of its attempt"
                );
                ensure!(
                    usize::from(place) < challenge.roster.len() && flip.chain_randomness.is_none(),
                    "a flip was not anchored by a member"
                );
                ensure!(
                    flip.moments_from == challenge.timing.moments_from(challenge.t0),
                    "the moments after an anchor begin at another time"
                );
            }
            None => Self::check_fallen_back(&flip, fallback)?,
        }
        Ok(())
    }

    /// A fallback's roster and topic are the rule's, and its commits are of members of it.
    fn check_fallback(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
        fallback: &Fallback,
    ) -> Result<(), TryRuntimeError> {
        let outside = !mask(challenge.roster.len());
        ensure!(
            fallback.roster & outside == 0,
            "somebody in a fallback is not in the roster"
        );
        let topic = Self::flipping(id, challenge)
            .map_err(|_| "a fallback of a challenge without start hash")?
            .topic(FALLBACK_ATTEMPT, fallback.roster);
        ensure!(
            fallback.topic == topic,
            "a fallback's topic is not its roster's"
        );
        ensure!(
            fallback.committed() & !fallback.roster == 0,
            "somebody committed who is not in the fallback"
        );
        ensure!(
            fallback
                .commits
                .windows(2)
                .all(|pair| pair[0].place < pair[1].place),
            "commits do not ascend"
        );
        Ok(())
    }

    /// A flip that was not anchored follows from the fallback and the chain's randomness.
    fn check_fallen_back(flip: &Flip, fallback: Option<Fallback>) -> Result<(), TryRuntimeError> {
        let of = fallback.ok_or("a flip that nobody anchored has no fallback")?;
        let commitments: Vec<_> = of.commits.iter().map(|commit| commit.z).collect();
        let randomness = flip
            .chain_randomness
            .ok_or("a fallback without the chain's randomness")?;
        let fixed = fallback_of(&of.topic, &commitments, &randomness);
        ensure!(
            (flip.attempt, flip.topic, flip.active) == (FALLBACK_ATTEMPT, of.topic, of.committed())
                && flip.commitments.to_vec() == commitments,
            "a flip is not that of its fallback"
        );
        ensure!(
            (flip.root, flip.randomness) == (fixed.root, fixed.result),
            "R of a fallback does not follow from it"
        );
        ensure!(
            flip.late == 0,
            "somebody was late with an anchor for a fallback"
        );
        Ok(())
    }

    /// Who is expelled has a fraud, and the other way round; half of a slash at most is a reward.
    fn check_frauds(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
    ) -> Result<(), TryRuntimeError> {
        let expulsions = Expulsions::<T>::get(id);
        ensure!(
            Self::expelled(id).count_ones() as usize == expulsions.len(),
            "a member was expelled twice"
        );
        ensure!(
            expulsions
                .windows(2)
                .all(|pair| pair[0].timestamp_ms <= pair[1].timestamp_ms
                    && pair[0].block <= pair[1].block),
            "expulsions are not in order of time"
        );
        let mut offenders = 0;
        for fraud in Frauds::<T>::iter_prefix_values(id) {
            let place = challenge
                .index_of(&fraud.offender)
                .ok_or("an offender is not in the roster")?;
            offenders |= bit(place);
            ensure!(
                fraud.reward <= fraud.slashed / 2,
                "a reporter got more than half of a slash"
            );
        }
        // Frauds are pruned before the rest.
        let pruning = matches!(
            challenge.stage,
            Stage::Closed { at, .. }
                if Self::block() >= at.saturating_add(T::UnbondingBlocks::get())
        );
        let expelled = Self::expelled(id);
        ensure!(
            offenders == expelled || (pruning && offenders & !expelled == 0),
            "the expelled are not the offenders"
        );
        Ok(())
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
        let (mut slashed, mut withheld) = (0, 0);
        for demand in Demands::<T>::iter_prefix_values(id) {
            if let DemandState::Unanswered {
                slashed: lost,
                reward,
            } = demand.state
            {
                slashed += lost;
                withheld += reward;
            }
        }
        ensure!(
            (settlement.slashed, paid(PaymentKind::Withholding)) == (slashed, withheld),
            "withholding cost or brought something else than the demands say"
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
        let flip = Flips::<T>::get(id).map_or(0, |flip| flip.active);
        ensure!(
            settlement.active == flip.count_ones(),
            "the active of a settlement are not those of its flip"
        );
        ensure!(
            settlement.served + settlement.failed == Tallies::<T>::get(id).reports(),
            "a settlement has other reports than the tally"
        );
        let absent = settlement
            .absent
            .iter()
            .map(|absence| challenge.index_of(&absence.account).map_or(0, bit))
            .fold(0, |places, place| places | place);
        let fallback = Fallbacks::<T>::get(id).map(|fallback| fallback.roster);
        let expected = fallback.unwrap_or(flip) & !Tallies::<T>::get(id).reported;
        let missing = match (outcome, Fallbacks::<T>::get(id)) {
            // Nobody is to blame but who did not commit, and not even they for a slow chain.
            (Verdict::Void, Some(fallback)) if absent != 0 => {
                fallback.roster & !fallback.committed()
            }
            (Verdict::Void, _) => 0,
            _ => expected,
        };
        ensure!(
            absent == missing && absent.count_ones() as usize == settlement.absent.len(),
            "somebody was neither absent nor reported, or both"
        );
        Ok(())
    }
}
