//! What a client asks of the runtime about challenges.

use alloc::vec::Vec;
use codec::Codec;

use crate::{
    types::{ChallengeId, OpenChallenge},
    Challenges, Config, Pallet, Running, Tallies,
};

frame::deps::sp_api::decl_runtime_apis! {
    /// Questions about challenges that storage answers only by searching.
    pub trait PerformanceApi<AccountId>
    where
        AccountId: Codec,
    {
        /// The challenges that are not settled and in which the account is an attestor or the
        /// hoster, by id.
        fn open_challenges(account: AccountId) -> Vec<OpenChallenge>;
        /// Whether `close_challenge` would succeed in the next transaction of this block.
        fn is_closable(id: ChallengeId) -> bool;
    }
}

impl<T: Config> Pallet<T> {
    /// The answer to [`PerformanceApi::open_challenges`].
    pub fn open_challenges(account: &T::AccountId) -> Vec<OpenChallenge> {
        let mut ids: Vec<ChallengeId> = Running::<T>::iter_values().collect();
        ids.sort_unstable();
        ids.into_iter()
            .filter_map(|id| {
                let challenge = Challenges::<T>::get(id)?;
                let index = challenge.index_of(account);
                if index.is_none() && challenge.hoster != *account {
                    return None;
                }
                Some(OpenChallenge {
                    id,
                    index: index.map(|index| index as u8),
                    stage: challenge.stage,
                    reported: index.is_some_and(|index| Tallies::<T>::get(id).has(index)),
                })
            })
            .collect()
    }

    /// The answer to [`PerformanceApi::is_closable`].
    pub fn is_closable(id: ChallengeId) -> bool {
        Challenges::<T>::get(id).is_some_and(|challenge| Self::may_close(id, &challenge))
    }
}
