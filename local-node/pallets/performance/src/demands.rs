//! Chunks that attestors demand on chain, and what hosters answer (challenge.md §5).

use datdot_primitives::{
    answer::{self, Answer, AnswerError, Demanded},
    attempts::bit,
};
use frame::{
    prelude::*,
    token::{
        fungible::{Balanced, MutateHold},
        tokens::{Fortitude, Precision, Restriction},
    },
    traits::Imbalance,
};
use pallet_hosting::Hostings as _;

use crate::{
    types::{
        AnswerKind, Balance, Challenge, ChallengeId, Deadline, Demand, DemandState, PaymentKind,
        Payments, Stage,
    },
    Challenges, Config, Demands, Error, Event, HoldReason, Pallet, Rooms, VerifiedHeads,
    WeightInfo,
};

/// Of what withholding costs, one part in so many is the demander's; the rest is burnt.
const DEMANDERS: Balance = 2;

/// What the demands of a challenge came to.
#[derive(Default)]
pub(crate) struct Demanding {
    /// Whether one was not answered.
    pub unanswered: bool,
    /// Whether one was answered with a higher fork.
    pub rewritten: bool,
    /// Whose demand was answered with the chunk: bit i for place i of the roster.
    pub shown: u32,
    /// What withholding cost the hoster.
    pub slashed: Balance,
}

impl<T: Config> Pallet<T> {
    /// Holds the deposit for a demand.
    pub(crate) fn hold_deposit(who: &T::AccountId) -> DispatchResult {
        T::Currency::hold(&HoldReason::Demand.into(), who, T::DemandDeposit::get())
    }

    /// Enters the demand of a report that was accepted, the deposit for which is held; fixes until
    /// when the hoster has to answer.
    pub(crate) fn demand(
        id: ChallengeId,
        challenge: &mut Challenge<T::AccountId>,
        who: &T::AccountId,
        chunk: u64,
    ) {
        let deposit = T::DemandDeposit::get();
        let block = Self::block();
        let due = Self::deadline(challenge.timing.demand_blocks);
        Demands::<T>::insert(
            id,
            who,
            Demand {
                chunk,
                block,
                due,
                deposit,
                state: DemandState::Open,
            },
        );
        Self::await_answers(id, challenge);
        Self::deposit_event(Event::Demanded {
            id,
            attestor: who.clone(),
            chunk,
            due,
        });
    }

    pub(crate) fn do_answer_demand(
        who: T::AccountId,
        id: ChallengeId,
        attestor: T::AccountId,
        answer: &Answer,
    ) -> DispatchResultWithPostInfo {
        let mut challenge = Challenges::<T>::get(id).ok_or(Error::<T>::UnknownChallenge)?;
        ensure!(challenge.hoster == who, Error::<T>::NotTheHoster);
        let mut demand = Demands::<T>::get(id, &attestor).ok_or(Error::<T>::UnknownDemand)?;
        match demand.state {
            DemandState::Open => {}
            DemandState::Answered { .. } => return Err(Error::<T>::AlreadyAnswered.into()),
            DemandState::Unanswered { .. } => return Err(Error::<T>::AnswerTooLate.into()),
        }
        let over = demand.due.has_passed(Rooms::<T>::get(), Self::block());
        ensure!(!over, Error::<T>::AnswerTooLate);

        let hosting = challenge.hosting;
        let demanded = Demanded {
            feed: challenge.feed,
            fork: challenge.fork,
            length: challenge.length,
            chunk: demand.chunk,
        };
        let heads = VerifiedHeads::<T>::get(hosting);
        let head = answer::check(answer, &demanded, |head| heads.contains(head))
            .map_err(Error::<T>::from)?;
        Self::remember_head(hosting, head);
        let (kind, fee) = match answer {
            Answer::Chunk { .. } => {
                let fee = T::DemandFee::get().min(demand.deposit);
                (
                    AnswerKind::Chunk,
                    Self::pay_for_answer(&attestor, &who, fee),
                )
            }
            Answer::Rewritten { fork, .. } => {
                T::Hostings::rest(hosting, *fork);
                (AnswerKind::Rewritten { fork: *fork }, 0)
            }
        };
        Self::give_back(&attestor, demand.deposit.saturating_sub(fee));
        demand.state = DemandState::Answered {
            answer: kind,
            block: Self::block(),
            extrinsic: frame_system::Pallet::<T>::extrinsic_index().unwrap_or_default(),
            fee,
        };
        Demands::<T>::insert(id, &attestor, demand);
        Self::deposit_event(Event::DemandAnswered {
            id,
            attestor,
            answer: kind,
            fee,
        });
        Self::await_answers(id, &mut challenge);
        let mut weight = T::WeightInfo::answer_demand(answer.encoded_size() as u32);
        if Self::is_complete(id, &challenge) {
            weight.saturating_accrue(Self::settlement_weight(challenge.members()));
            Self::settle(id, challenge, None);
        }
        Ok((Some(weight), Pays::No).into())
    }

    /// What is due after so many blocks with room, or four times as many in any case.
    pub(crate) fn deadline(blocks: u32) -> Deadline {
        Deadline {
            rooms: Rooms::<T>::get().saturating_add(blocks.into()),
            block: Self::block().saturating_add(blocks.saturating_mul(crate::queue::PATIENCE)),
        }
    }

    /// Notes until when the open demands of a challenge in phase Report are to be answered, all of
    /// them.
    fn await_answers(id: ChallengeId, challenge: &mut Challenge<T::AccountId>) {
        let Stage::Report {
            since, deadline, ..
        } = challenge.stage
        else {
            frame::prelude::defensive!("demands are made and answered in phase Report");
            return;
        };
        Self::take_off_agenda(id, challenge);
        challenge.stage = Stage::Report {
            since,
            deadline,
            answers: Self::answers_due(id),
        };
        Self::put_on_agenda(id, challenge);
        Challenges::<T>::insert(id, &*challenge);
    }

    /// Until when the open demands of a challenge are to be answered, the last one of them.
    pub(crate) fn answers_due(id: ChallengeId) -> Option<Deadline> {
        Demands::<T>::iter_prefix_values(id)
            .filter(|demand| demand.state == DemandState::Open)
            .map(|demand| demand.due)
            .reduce(Deadline::later)
    }

    /// Closes the demands of a challenge that is settled: who did not get an answer gets its deposit
    /// back, and a part of what withholding costs the hoster.
    pub(crate) fn settle_demands(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
        paid: &mut Payments<T::AccountId>,
    ) -> Demanding {
        let mut demanding = Demanding::default();
        for (place, member) in challenge.roster.iter().enumerate() {
            let Some(mut demand) = Demands::<T>::get(id, &member.account) else {
                continue;
            };
            match demand.state {
                DemandState::Answered {
                    answer: AnswerKind::Chunk,
                    ..
                } => demanding.shown |= bit(place),
                DemandState::Answered {
                    answer: AnswerKind::Rewritten { .. },
                    ..
                } => demanding.rewritten = true,
                DemandState::Unanswered { .. } => {
                    frame::prelude::defensive!("demands are settled once");
                }
                DemandState::Open => {
                    demanding.unanswered = true;
                    Self::give_back(&member.account, demand.deposit);
                    let credit =
                        T::Hostings::slash_bond(challenge.hosting, T::WithholdingSlash::get());
                    let slashed = credit.peek();
                    // The rest of the credit is burnt where it is dropped.
                    let (share, _) = credit.split(slashed / DEMANDERS);
                    let part = share.peek();
                    // Below the existential deposit of an account that is gone: burnt too.
                    let reward = T::Currency::resolve(&member.account, share).map_or(0, |()| part);
                    if reward > 0 {
                        crate::settlement::note(
                            paid,
                            &member.account,
                            PaymentKind::Withholding,
                            reward,
                        );
                    }
                    demanding.slashed = demanding.slashed.saturating_add(slashed);
                    demand.state = DemandState::Unanswered { slashed, reward };
                    Demands::<T>::insert(id, &member.account, demand);
                    Self::deposit_event(Event::DemandUnanswered {
                        id,
                        attestor: member.account.clone(),
                        slashed,
                        reward,
                    });
                }
            }
        }
        demanding
    }

    /// Pays the hoster for its answer out of the deposit; how much that was.
    fn pay_for_answer(from: &T::AccountId, to: &T::AccountId, fee: Balance) -> Balance {
        let reason = HoldReason::Demand.into();
        T::Currency::transfer_on_hold(
            &reason,
            from,
            to,
            fee,
            Precision::Exact,
            Restriction::Free,
            Fortitude::Polite,
        )
        .defensive_proof("the deposit is held, and the hoster has an account")
        .unwrap_or_default()
    }

    /// Releases what is left of a deposit.
    fn give_back(to: &T::AccountId, amount: Balance) {
        T::Currency::release(&HoldReason::Demand.into(), to, amount, Precision::Exact)
            .map(|_| ())
            .defensive_proof("the deposit is held")
            .unwrap_or_default()
    }
}

impl Deadline {
    /// The later of two, by either clock.
    pub(crate) fn later(self, other: Self) -> Self {
        Self {
            rooms: self.rooms.max(other.rooms),
            block: self.block.max(other.block),
        }
    }
}

impl<T> From<AnswerError> for Error<T> {
    fn from(error: AnswerError) -> Self {
        match error {
            AnswerError::TooShort => Self::AnswerLength,
            AnswerError::WrongSize => Self::ProofSizes,
            AnswerError::Multiproof(error) => error.into(),
            AnswerError::ForkNotHigher => Self::AnswerFork,
            AnswerError::WrongHeadSignature => Self::HeadSignature,
        }
    }
}
