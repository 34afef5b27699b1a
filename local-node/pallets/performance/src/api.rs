//! What a client asks of the runtime about challenges and hosters.

use alloc::vec::Vec;
use codec::Codec;
use datdot_primitives::attempts::bit;
use pallet_hosting::Sla;

use crate::{
    types::{
        Challenge, ChallengeId, DemandState, Duty, HosterPage, HosterSummary, OpenChallenge, Rank,
        Stage, Task, Until,
    },
    Challenges, Config, Demands, Fallbacks, Flips, Pallet, Rooms, Running, Tallies,
};

frame::deps::sp_api::decl_runtime_apis! {
    /// Questions about challenges and hosters that storage answers only by searching.
    #[api_version(2)]
    pub trait PerformanceApi<AccountId>
    where
        AccountId: Codec,
    {
        /// The challenges that are not settled and in which the account is an attestor or the
        /// hoster, by id.
        fn open_challenges(account: AccountId) -> Vec<OpenChallenge>;
        /// Whether `close_challenge` would succeed in the next transaction of this block.
        fn is_closable(id: ChallengeId) -> bool;
        /// What the account has to do next for each of its open challenges, and until when; nothing
        /// for those in which it has done all. By id.
        fn duties(account: AccountId) -> Vec<Duty<AccountId>>;
        /// How a hoster did in its challenges; `None` before the first one was settled.
        fn hoster_summary(hoster: AccountId) -> Option<HosterSummary>;
        /// The hosters that take hostings and meet an SLA, by latency, those whose latency nobody
        /// measured last; at most `limit` of them, behind the place at which the page before ended.
        /// A page may have fewer, even none, and not be the last.
        fn find_hosters(
            sla: Sla,
            after: Option<Rank<AccountId>>,
            limit: u32,
        ) -> HosterPage<AccountId>;
    }
}

impl<T: Config> Pallet<T> {
    /// The open challenges in which the account is an attestor, at this place of the roster, or the
    /// hoster.
    fn challenges_of(
        account: &T::AccountId,
    ) -> impl Iterator<Item = (ChallengeId, Challenge<T::AccountId>, Option<usize>)> + '_ {
        let mut ids: Vec<ChallengeId> = Running::<T>::iter_values().collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| {
            let challenge = Challenges::<T>::get(id)?;
            let index = challenge.index_of(account);
            (index.is_some() || challenge.hoster == *account).then_some((id, challenge, index))
        })
    }

    /// The answer to [`PerformanceApi::open_challenges`].
    pub fn open_challenges(account: &T::AccountId) -> Vec<OpenChallenge> {
        Self::challenges_of(account)
            .map(|(id, challenge, index)| OpenChallenge {
                id,
                index: index.map(|index| index as u8),
                stage: challenge.stage,
                reported: index.is_some_and(|index| Tallies::<T>::get(id).has(index)),
            })
            .collect()
    }

    /// The answer to [`PerformanceApi::is_closable`].
    pub fn is_closable(id: ChallengeId) -> bool {
        Challenges::<T>::get(id).is_some_and(|challenge| Self::may_close(id, &challenge))
    }

    /// The answer to [`PerformanceApi::duties`].
    pub fn duties(account: &T::AccountId) -> Vec<Duty<T::AccountId>> {
        Self::challenges_of(account)
            .flat_map(|(id, challenge, index)| match index {
                Some(index) => Self::duty_of_attestor(id, &challenge, index)
                    .into_iter()
                    .collect(),
                None => Self::duties_of_hoster(id, &challenge),
            })
            .collect()
    }

    fn duty_of_attestor(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
        index: usize,
    ) -> Option<Duty<T::AccountId>> {
        let is_active = || Flips::<T>::get(id).is_some_and(|flip| flip.active & bit(index) != 0);
        let timing = &challenge.timing;
        let (task, until) = match challenge.stage {
            Stage::Flip if Self::expelled(id) & bit(index) == 0 => {
                (Task::Flip, Until::Timestamp(challenge.flip_end_ms()))
            }
            Stage::Commit { since, opened_ms } => {
                let fallback = Fallbacks::<T>::get(id)?;
                let until = Until::Both {
                    timestamp_ms: opened_ms.saturating_add(timing.commit_ms),
                    block: since.saturating_add(timing.commit_blocks),
                };
                let open = fallback.roster & !fallback.committed();
                if open & bit(index) == 0 || Self::commits_have_ended(challenge, since, opened_ms) {
                    return None;
                }
                (Task::Commit, until)
            }
            Stage::Audit if is_active() => (
                Task::Audit,
                Until::Timestamp(challenge.end_ms().saturating_sub(timing.tail_ms)),
            ),
            Stage::Report { deadline, .. }
                if is_active()
                    && !Tallies::<T>::get(id).has(index)
                    && !deadline.has_passed(Rooms::<T>::get(), Self::block()) =>
            {
                (Task::Report, Until::Deadline(deadline))
            }
            Stage::Flip | Stage::Audit | Stage::Report { .. } | Stage::Closed { .. } => {
                return None
            }
        };
        Some(Duty {
            challenge: id,
            task,
            until,
        })
    }

    /// The hoster serves until END, and answers what is demanded, in roster order.
    fn duties_of_hoster(
        id: ChallengeId,
        challenge: &Challenge<T::AccountId>,
    ) -> Vec<Duty<T::AccountId>> {
        let duty = |task, until| Duty {
            challenge: id,
            task,
            until,
        };
        match challenge.stage {
            Stage::Flip | Stage::Commit { .. } | Stage::Audit => {
                alloc::vec![duty(Task::Serve, Until::Timestamp(challenge.end_ms()))]
            }
            Stage::Report { .. } => challenge
                .roster
                .iter()
                .filter_map(|member| {
                    let demand = Demands::<T>::get(id, &member.account)?;
                    let is_open = demand.state == DemandState::Open
                        && !demand.due.has_passed(Rooms::<T>::get(), Self::block());
                    let task = Task::Answer {
                        attestor: member.account.clone(),
                        chunk: demand.chunk,
                    };
                    is_open.then(|| duty(task, Until::Deadline(demand.due)))
                })
                .collect(),
            Stage::Closed { .. } => Vec::new(),
        }
    }
}
