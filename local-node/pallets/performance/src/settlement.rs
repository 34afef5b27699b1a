//! Who gets what for a challenge (challenge.md §6).

use alloc::vec::Vec;
use datdot_primitives::attempts::bit;
use frame::{
    prelude::*,
    traits::{fungible::Balanced, Imbalance},
};
use pallet_hosting::{Ended, HostingId, Hostings as _};
use pallet_providers::AttestorPool;

use crate::{
    medians::{medians, Sample},
    types::{
        Absence, Balance, Challenge, ChallengeId, HistoryEntry, HosterEntry, Medians, Payment,
        PaymentKind, Payments, PerMember, ReportRecord, ReportedOutcome, Settlement, Stage, Tally,
        Verdict,
    },
    Challenges, Config, CreditOf, Error, Event, Fallbacks, Flips, History, Pallet, Reports, Rooms,
    Running, Settlements, Tallies, WeightInfo,
};

/// Of an absence fee, one part in so many is burnt.
const BURNT: Balance = 2;
/// Of an absence fee, one part in so many is the closer's.
const CLOSERS: Balance = 10;
/// For a report of a failure, one part in so many of the reward is paid.
const FOR_FAILURE: Balance = 2;

/// What a settlement pays out of the absence fees.
#[derive(Default)]
struct Fees {
    burnt: Balance,
    to_escrow: Balance,
    to_closer: Balance,
}

impl<T: Config> Pallet<T> {
    /// The most that a settlement with so many attestors costs, by `close_challenge` or by anything
    /// else: whether all were served, all demand what is withheld, or all are absent.
    pub(crate) fn settlement_weight(attestors: u32) -> Weight {
        T::WeightInfo::settle_served(attestors)
            .max(T::WeightInfo::settle_unanswered(attestors))
            .max(T::WeightInfo::settle_absent(attestors))
    }

    pub(crate) fn do_close_challenge(
        who: T::AccountId,
        id: ChallengeId,
    ) -> DispatchResultWithPostInfo {
        let challenge = Challenges::<T>::get(id).ok_or(Error::<T>::UnknownChallenge)?;
        match challenge.stage {
            Stage::Report { .. } if Self::may_close(id, &challenge) => {
                let weight = Self::settlement_weight(challenge.members());
                Self::settle(id, challenge, Some(who));
                Ok(Some(weight).into())
            }
            Stage::Closed { .. } => Err(Error::<T>::AlreadyClosed.into()),
            Stage::Flip | Stage::Commit { .. } | Stage::Audit | Stage::Report { .. } => {
                Err(Error::<T>::NotClosable.into())
            }
        }
    }

    /// Whether all active members of a challenge in phase Report have reported and no demand is
    /// open.
    pub(crate) fn is_complete(id: ChallengeId, challenge: &Challenge<T::AccountId>) -> bool {
        matches!(challenge.stage, Stage::Report { answers: None, .. }) && Self::all_reported(id)
    }

    /// Whether a challenge is in phase Report, all have reported or D has passed, and each demand is
    /// answered or was to be.
    pub(crate) fn may_close(id: ChallengeId, challenge: &Challenge<T::AccountId>) -> bool {
        let Stage::Report {
            deadline, answers, ..
        } = challenge.stage
        else {
            return false;
        };
        let (rooms, block) = (Rooms::<T>::get(), Self::block());
        answers.is_none_or(|answers| answers.has_passed(rooms, block))
            && (deadline.has_passed(rooms, block) || Self::all_reported(id))
    }

    fn all_reported(id: ChallengeId) -> bool {
        let active = Flips::<T>::get(id).map_or(0, |flip| flip.active);
        Tallies::<T>::get(id).reports() == active.count_ones()
    }

    /// Settles a challenge with shared randomness, once all have reported or D has passed, and no
    /// demand can be answered any more. Without a closer, the closer's part of the absence fees is
    /// burnt.
    pub(crate) fn settle(
        id: ChallengeId,
        challenge: Challenge<T::AccountId>,
        closer: Option<T::AccountId>,
    ) {
        let tally = Tallies::<T>::get(id);
        let members = Flips::<T>::get(id)
            .defensive_proof("only what was flipped is reported on")
            .map_or(0, |flip| flip.active);
        let active = members.count_ones();
        let expelled = Self::expelled(id);
        let mut paid = Payments::default();
        let demanding = Self::settle_demands(id, &challenge, &mut paid);
        let outcome = match outcome(&tally, active) {
            _ if demanding.unanswered => Verdict::Failed,
            Verdict::Passed if demanding.rewritten => Verdict::Inconclusive,
            outcome => outcome,
        };
        let reports: Vec<(usize, ReportRecord)> = (0..)
            .zip(&challenge.roster)
            .filter_map(|(place, member)| Some((place, Reports::<T>::get(id, &member.account)?)))
            .collect();
        let samples: Vec<Sample> = reports
            .iter()
            .map(|(place, record)| Sample {
                place: *place as u8,
                metrics: match &record.outcome {
                    ReportedOutcome::Served(served) => Some(&served.metrics),
                    ReportedOutcome::Failed { .. } => None,
                },
                peers: &record.peers,
            })
            .collect();
        let medians = medians(&samples);
        let earned = match outcome {
            Verdict::Passed if !breaks_sla(&challenge, &medians) => share(
                challenge.terms.hoster_reward,
                tally.served.into(),
                active.into(),
            ),
            _ => 0,
        };
        let forfeited = Self::reward_hoster(&challenge, outcome, earned, &mut paid);
        for (place, record) in &reports {
            let Some(member) = challenge.roster.get(*place) else {
                continue;
            };
            // Who demanded what was there all the time is not paid, whatever the others say.
            if (expelled | demanding.shown) & bit(*place) != 0 {
                continue;
            }
            let amount = match (&record.outcome, outcome) {
                (ReportedOutcome::Served(_), _) => challenge.terms.attestor_reward,
                (ReportedOutcome::Failed { .. }, Verdict::Failed) => {
                    challenge.terms.attestor_reward / FOR_FAILURE
                }
                (ReportedOutcome::Failed { .. }, _) => 0,
            };
            Self::pay(
                challenge.hosting,
                &member.account,
                PaymentKind::Report,
                amount,
                &mut paid,
            );
        }
        // A fallback's roster includes who did not commit, and all that are active in it.
        let expected = Fallbacks::<T>::get(id).map_or(members, |fallback| fallback.roster);
        let missing = expected & !tally.reported;
        let (absent, fees) = Self::charge_absent(&challenge, missing, closer, &mut paid);
        let settlement = Settlement {
            outcome,
            active,
            served: tally.served,
            failed: tally.failed,
            medians,
            paid,
            absent,
            burnt: fees.burnt,
            to_escrow: fees.to_escrow,
            forfeited,
            slashed: demanding.slashed,
        };
        Self::close(id, challenge, settlement, missing);
    }

    /// Settles a challenge without shared randomness. Nobody is paid; who is in `missing`, bit i
    /// for place i of the roster, was to commit and did not, and pays for that.
    pub(crate) fn settle_void(id: ChallengeId, challenge: Challenge<T::AccountId>, missing: u32) {
        let mut paid = Payments::default();
        let (absent, fees) = Self::charge_absent(&challenge, missing, None, &mut paid);
        let settlement = Settlement {
            outcome: Verdict::Void,
            active: 0,
            served: 0,
            failed: 0,
            medians: Medians::default(),
            paid,
            absent,
            burnt: fees.burnt,
            to_escrow: fees.to_escrow,
            forfeited: 0,
            slashed: 0,
        };
        Self::close(id, challenge, settlement, missing);
    }

    /// Pays the hoster of a challenge that passed what it earned; the rest of its reward, which is
    /// set aside.
    fn reward_hoster(
        challenge: &Challenge<T::AccountId>,
        outcome: Verdict,
        earned: Balance,
        paid: &mut Payments<T::AccountId>,
    ) -> Balance {
        if outcome != Verdict::Passed {
            return 0;
        }
        Self::pay(
            challenge.hosting,
            &challenge.hoster,
            PaymentKind::Hosting,
            earned,
            paid,
        );
        let forfeited = challenge.terms.hoster_reward.saturating_sub(earned);
        T::Hostings::forfeit(challenge.hosting, forfeited);
        forfeited
    }

    /// Pays out of the escrow, which covered the whole challenge at its start and was locked since.
    fn pay(
        hosting: HostingId,
        to: &T::AccountId,
        kind: PaymentKind,
        amount: Balance,
        paid: &mut Payments<T::AccountId>,
    ) {
        if amount == 0 {
            return;
        }
        if let Err(error) = T::Hostings::pay(hosting, to, amount) {
            Self::deposit_event(Event::PaymentFailed {
                hosting,
                to: to.clone(),
                amount,
                error,
            });
            return;
        }
        note(paid, to, kind, amount);
    }

    /// Takes the absence fee from each member whose bit is set in `missing`, and divides it.
    fn charge_absent(
        challenge: &Challenge<T::AccountId>,
        missing: u32,
        closer: Option<T::AccountId>,
        paid: &mut Payments<T::AccountId>,
    ) -> (PerMember<Absence<T::AccountId>>, Fees) {
        let mut fees = Fees::default();
        let mut absent = PerMember::default();
        let mut reward = CreditOf::<T>::zero();
        for (index, member) in challenge.roster.iter().enumerate() {
            if missing & bit(index) == 0 {
                continue;
            }
            let credit = T::Attestors::slash(&member.account, T::AbsenceFee::get());
            let fee = credit.peek();
            let (burnt, rest) = credit.split(fee / BURNT);
            let (closers, to_escrow) = rest.split(fee / CLOSERS);
            fees.burnt = fees.burnt.saturating_add(burnt.peek());
            fees.to_escrow = fees.to_escrow.saturating_add(to_escrow.peek());
            T::Hostings::deposit(challenge.hosting, to_escrow);
            reward = reward.merge(closers);
            absent
                .try_push(Absence {
                    account: member.account.clone(),
                    fee,
                })
                .defensive_proof("no more are absent than drawn")
                .unwrap_or_default();
        }
        match closer {
            Some(closer) if reward.peek() > 0 => {
                let amount = reward.peek();
                match T::Currency::resolve(&closer, reward) {
                    Ok(()) => {
                        fees.to_closer = amount;
                        note(paid, &closer, PaymentKind::Closing, amount);
                    }
                    // Below the existential deposit of an account that is gone: burnt.
                    Err(credit) => fees.burnt = fees.burnt.saturating_add(credit.peek()),
                }
            }
            _ => fees.burnt = fees.burnt.saturating_add(reward.peek()),
        }
        (absent, fees)
    }

    /// Closes a challenge: it is pruned later, its roster is free, its hosting goes on. `missing`:
    /// who was absent, bit i for place i of the roster.
    fn close(
        id: ChallengeId,
        mut challenge: Challenge<T::AccountId>,
        settlement: Settlement<T::AccountId>,
        missing: u32,
    ) {
        let hosting = challenge.hosting;
        let hoster = challenge.hoster.clone();
        Self::take_off_agenda(id, &challenge);
        challenge.stage = Stage::Closed {
            at: Self::block(),
            outcome: settlement.outcome,
        };
        Self::put_on_agenda(id, &challenge);
        for (index, member) in challenge.roster.iter().enumerate() {
            T::Attestors::leave(&member.account, missing & bit(index) != 0);
        }
        Challenges::<T>::insert(id, challenge);
        Running::<T>::remove(hosting);
        Self::deposit_event(Event::ChallengeClosed {
            id,
            outcome: settlement.outcome,
            medians: settlement.medians,
            paid: settlement.paid.clone(),
            absent: settlement.absent.clone(),
        });
        Self::remember(id, hosting, &settlement);
        Self::note_performance(
            &hoster,
            HosterEntry {
                challenge: id,
                outcome: settlement.outcome,
                // The figure is a u32 in each report.
                latency_p50_us: settlement
                    .medians
                    .latency_p50_us
                    .map(|median| median.value.saturated_into()),
                throughput: settlement.medians.throughput.map(|median| median.value),
            },
        );
        let outcome = settlement.outcome;
        Settlements::<T>::insert(id, settlement);
        let ended = match outcome {
            Verdict::Passed => Ended::Passed,
            Verdict::Failed => Ended::Failed,
            Verdict::Inconclusive | Verdict::Void => Ended::Undecided,
        };
        if T::Hostings::end_challenge(hosting, ended) {
            Self::enqueue(hosting);
        } else {
            Self::forget_hosting(hosting);
        }
    }

    /// Adds a settled challenge to the history of its hosting.
    fn remember(id: ChallengeId, hosting: HostingId, settlement: &Settlement<T::AccountId>) {
        let entry = HistoryEntry {
            challenge: id,
            outcome: settlement.outcome,
            medians: settlement.medians,
        };
        History::<T>::mutate(hosting, |history| {
            if history.is_full() {
                history.remove(0);
            }
            history
                .try_push(entry)
                .defensive_proof("room was made")
                .unwrap_or_default();
        });
    }
}

/// ⌊amount · part / whole⌋ for a part of at most the whole, without overflow.
const fn share(amount: Balance, part: Balance, whole: Balance) -> Balance {
    amount / whole * part + amount % whole * part / whole
}

/// Adds a payment to the list; there is room for everybody who can be paid.
pub(crate) fn note<AccountId: Clone + Debug>(
    paid: &mut Payments<AccountId>,
    to: &AccountId,
    kind: PaymentKind,
    amount: Balance,
) {
    paid.try_push(Payment {
        account: to.clone(),
        kind,
        amount,
    })
    .defensive_proof("hoster, closer and the roster twice fit")
    .unwrap_or_default();
}

/// Passed or Failed by more than half of the active, else Inconclusive; without demands.
fn outcome(tally: &Tally, active: u32) -> Verdict {
    if tally.served * 2 > active {
        Verdict::Passed
    } else if tally.failed * 2 > active {
        Verdict::Failed
    } else {
        Verdict::Inconclusive
    }
}

/// Whether the medians break the SLA that sponsor and hoster agreed on.
fn breaks_sla<AccountId>(challenge: &Challenge<AccountId>, medians: &Medians) -> bool {
    challenge.terms.sla.is_some_and(|sla| {
        sla.is_broken_by(
            medians.latency_p50_us.map(|median| median.value),
            medians.throughput.map(|median| median.value),
        )
    })
}
