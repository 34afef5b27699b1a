//! The work behind the calls, and what other pallets use.

use crate::*;
use alloc::collections::BTreeMap;
use datdot_primitives::registration::{self, RegistrationError};
use frame::{
    deps::sp_runtime::TryRuntimeError,
    token::fungible::{BalancedHold, InspectHold},
    traits::Imbalance,
};

impl<T: Config> Pallet<T> {
    fn now() -> BlockNumberFor<T> {
        frame_system::Pallet::<T>::block_number()
    }

    pub(crate) fn bond(role: Role) -> BalanceOf<T> {
        match role {
            Role::Attestor => T::AttestorBond::get(),
            Role::Hoster => T::HosterBond::get(),
        }
    }

    pub(crate) fn hold_reason(role: Role) -> HoldReason {
        match role {
            Role::Attestor => HoldReason::AttestorBond,
            Role::Hoster => HoldReason::HosterBond,
        }
    }

    pub(crate) fn check_capacity(capacity: u32) -> DispatchResult {
        ensure!(
            (1..=T::MaxCapacity::get()).contains(&capacity),
            Error::<T>::InvalidCapacity
        );
        Ok(())
    }

    pub(crate) fn check_endpoint(endpoint: &Endpoint) -> DispatchResult {
        ensure!(endpoint.is_reachable(), Error::<T>::InvalidEndpoint);
        ensure!(
            endpoint.is_public() || AllowPrivateEndpoints::<T>::get(),
            Error::<T>::PrivateEndpoint
        );
        Ok(())
    }

    pub(crate) fn register(
        account: T::AccountId,
        role: Role,
        key: PublicKey,
        endpoint: Endpoint,
        capacity: u32,
        proof: Signature,
    ) -> DispatchResult {
        ensure!(
            !Providers::<T>::contains_key(role, &account),
            Error::<T>::AlreadyRegistered
        );
        ensure!(
            !Unbondings::<T>::contains_key(role, &account),
            Error::<T>::BondNotWithdrawn
        );
        Self::check_endpoint(&endpoint)?;
        Self::claim_key(&account, role, key, &proof)?;
        let bond = Self::bond(role);
        T::Currency::hold(&Self::hold_reason(role).into(), &account, bond)?;
        let mut provider = Provider {
            key,
            endpoint,
            bond,
            capacity,
            engagements: 0,
            absences: 0,
            last_closed: Self::now(),
            active: false,
            change: None,
        };
        let effective = Self::schedule_change(&account, role, &mut provider, true)?;
        Providers::<T>::insert(role, &account, provider);
        Self::deposit_event(Event::Registered {
            account,
            role,
            key,
            endpoint,
            effective,
        });
        Ok(())
    }

    /// Change a provider, and its place in the pool with it.
    pub(crate) fn mutate<R>(
        role: Role,
        account: &T::AccountId,
        change: impl FnOnce(&mut ProviderOf<T>) -> Result<R, DispatchError>,
    ) -> Result<R, DispatchError> {
        Providers::<T>::try_mutate(role, account, |provider| {
            let provider = provider.as_mut().ok_or(Error::<T>::NotRegistered)?;
            let result = change(provider)?;
            if Self::is_eligible(role, provider) {
                Self::enter_pool(account);
            } else {
                Self::leave_pool(account, role);
            }
            Ok(result)
        })
    }

    /// Make the key the account's, if it is a good one, free, and the account holds it.
    pub(crate) fn claim_key(
        account: &T::AccountId,
        role: Role,
        key: PublicKey,
        proof: &Signature,
    ) -> DispatchResult {
        ensure!(!Keys::<T>::contains_key(key), Error::<T>::KeyTaken);
        let genesis = frame_system::Pallet::<T>::block_hash(BlockNumberFor::<T>::zero());
        registration::check(&genesis.into(), role, &account.clone().into(), &key, proof).map_err(
            |error| match error {
                RegistrationError::Key(_) => Error::<T>::InvalidKey,
                RegistrationError::WrongProof => Error::<T>::InvalidProof,
            },
        )?;
        Keys::<T>::insert(
            key,
            KeyUse::Held {
                account: account.clone(),
                role,
            },
        );
        Ok(())
    }

    /// Keep the key from everybody until `UnbondingBlocks` have passed.
    pub(crate) fn reserve_key(account: &T::AccountId, key: PublicKey) -> DispatchResult {
        let due = Self::now().saturating_add(T::UnbondingBlocks::get());
        Self::schedule(Task::FreeKey(key), due)?;
        Keys::<T>::insert(
            key,
            KeyUse::Reserved {
                account: account.clone(),
            },
        );
        Ok(())
    }

    /// Let the provider become active or inactive `MinAge` blocks from now; the block in which it
    /// does.
    pub(crate) fn schedule_change(
        account: &T::AccountId,
        role: Role,
        provider: &mut ProviderOf<T>,
        active: bool,
    ) -> Result<BlockNumberFor<T>, DispatchError> {
        let due = Self::now().saturating_add(T::MinAge::get().max(One::one()));
        let due = Self::schedule(
            Task::Change {
                account: account.clone(),
                role,
            },
            due,
        )?;
        provider.change = Some(Change { active, due });
        Ok(due)
    }

    /// Put the task into the list of the first block from `due` on that has room; that block.
    fn schedule(
        task: TaskOf<T>,
        mut due: BlockNumberFor<T>,
    ) -> Result<BlockNumberFor<T>, DispatchError> {
        for _ in 0..=MAX_POSTPONEMENT {
            if Tasks::<T>::decode_len(due).unwrap_or(0) < T::MaxTasksPerBlock::get() as usize {
                Tasks::<T>::mutate(due, |tasks| tasks.try_push(task))
                    .map_err(|_| Error::<T>::TooManyTasks)?;
                return Ok(due);
            }
            due.saturating_inc();
        }
        Err(Error::<T>::TooManyTasks.into())
    }

    pub(crate) fn run(task: TaskOf<T>, now: BlockNumberFor<T>) {
        match task {
            Task::FreeKey(key) => Keys::<T>::remove(key),
            Task::Change { account, role } => Self::make_change(account, role, now),
        }
    }

    /// Make the waiting change. There is none any more, or another one for a later block, when the
    /// provider has left or changed its mind.
    fn make_change(account: T::AccountId, role: Role, now: BlockNumberFor<T>) {
        let made = Self::mutate(role, &account, |provider| match provider.change {
            Some(Change { active, due }) if due == now => {
                provider.change = None;
                provider.active = active;
                Ok(Some(active))
            }
            _ => Ok(None),
        });
        if let Ok(Some(active)) = made {
            Self::deposit_event(Event::ActivityChanged {
                account,
                role,
                active,
            });
        }
    }

    fn is_eligible(role: Role, provider: &ProviderOf<T>) -> bool {
        role == Role::Attestor && provider.active && provider.engagements < provider.capacity
    }

    /// Append the attestor to the list of eligible ones, unless it is there.
    fn enter_pool(account: &T::AccountId) {
        if EligiblePosition::<T>::contains_key(account) {
            return;
        }
        let position = EligibleCount::<T>::get();
        Eligible::<T>::insert(position, account);
        EligiblePosition::<T>::insert(account, position);
        EligibleCount::<T>::put(position.saturating_add(1));
        EligibleChangedAt::<T>::put(Self::now());
    }

    /// Remove the attestor from the list of eligible ones, if it is there; the last one takes its
    /// position.
    pub(crate) fn leave_pool(account: &T::AccountId, role: Role) {
        if role != Role::Attestor {
            return;
        }
        let Some(position) = EligiblePosition::<T>::take(account) else {
            return;
        };
        let last = EligibleCount::<T>::get().saturating_sub(1);
        if let Some(moved) = Eligible::<T>::take(last) {
            if last != position {
                EligiblePosition::<T>::insert(&moved, position);
                Eligible::<T>::insert(position, moved);
            }
        }
        EligibleCount::<T>::put(last);
        EligibleChangedAt::<T>::put(Self::now());
    }

    /// One engagement of the provider ended.
    fn disengage_from(role: Role, account: &T::AccountId, absent: bool) {
        let done = Self::mutate(role, account, |provider| {
            provider.engagements.saturating_dec();
            provider.last_closed = Self::now();
            provider.absences = if absent {
                provider.absences.saturating_add(1)
            } else {
                0
            };
            let drained = provider.absences >= 2 && provider.wants_work();
            if drained && Self::schedule_change(account, role, provider, false).is_err() {
                // No room to wait in: it must not be drawn in the meantime.
                provider.active = false;
                provider.change = None;
            }
            Ok(drained.then(|| provider.change.map_or(Self::now(), |change| change.due)))
        });
        if let Ok(Some(effective)) = done {
            Self::deposit_event(Event::Draining {
                account: account.clone(),
                role,
                effective,
            });
        }
    }

    /// Let the provider take no work from now on; a change that waits is dropped.
    fn deactivate(account: &T::AccountId, role: Role) {
        let done = Self::mutate(role, account, |provider| {
            let dropped = provider.active || provider.change.is_some();
            provider.active = false;
            provider.change = None;
            Ok(dropped)
        });
        if let Ok(true) = done {
            Self::deposit_event(Event::Deactivated {
                account: account.clone(),
                role,
            });
        }
    }

    /// Take up to `amount` out of the bond of a provider; nothing from who is none.
    fn slash_bond(account: &T::AccountId, role: Role, amount: BalanceOf<T>) -> CreditOf<T> {
        let slashed = Self::mutate(role, account, |provider| {
            let credit = Self::take_held(account, role, amount.min(provider.bond));
            provider.bond.saturating_reduce(credit.peek());
            Ok(credit)
        });
        slashed.unwrap_or_default()
    }

    /// Take up to `amount` out of what is still held of the bond of a former provider.
    fn slash_unbonding(account: &T::AccountId, role: Role, amount: BalanceOf<T>) -> CreditOf<T> {
        Unbondings::<T>::mutate(role, account, |unbonding| match unbonding {
            Some(unbonding) => {
                let credit = Self::take_held(account, role, amount.min(unbonding.amount));
                unbonding.amount.saturating_reduce(credit.peek());
                credit
            }
            None => CreditOf::<T>::zero(),
        })
    }

    /// Let a provider whose fraud was proven take no work, and take up to `amount` out of its bond.
    fn punish(account: &T::AccountId, role: Role, amount: BalanceOf<T>) -> CreditOf<T> {
        Self::deactivate(account, role);
        let credit = Self::slash_bond(account, role, amount);
        let left = amount.saturating_sub(credit.peek());
        let credit = credit.merge(Self::slash_unbonding(account, role, left));
        Self::note_slash(account, role, &credit);
        credit
    }

    fn take_held(account: &T::AccountId, role: Role, amount: BalanceOf<T>) -> CreditOf<T> {
        let (credit, _) = T::Currency::slash(&Self::hold_reason(role).into(), account, amount);
        credit
    }

    fn note_slash(account: &T::AccountId, role: Role, credit: &CreditOf<T>) {
        if !credit.peek().is_zero() {
            Self::deposit_event(Event::BondSlashed {
                account: account.clone(),
                role,
                amount: credit.peek(),
            });
        }
    }

    /// What must hold between blocks: the ledger is what is held, keys and their owners agree, the
    /// list of eligible attestors is dense and holds exactly those, each waiting change and each
    /// reserved key has its task.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        Self::check_ledger()?;
        Self::check_keys()?;
        Self::check_pool()?;
        Self::check_tasks()
    }

    fn check_ledger() -> Result<(), TryRuntimeError> {
        let mut held = BTreeMap::<(Role, T::AccountId), BalanceOf<T>>::new();
        for (role, account, provider) in Providers::<T>::iter() {
            ensure!(
                provider.bond <= Self::bond(role),
                "a bond is above its role's"
            );
            held.entry((role, account))
                .or_default()
                .saturating_accrue(provider.bond);
        }
        for (role, account, unbonding) in Unbondings::<T>::iter() {
            ensure!(
                unbonding.amount <= Self::bond(role),
                "more is unbonding than a role's bond"
            );
            ensure!(
                !Providers::<T>::contains_key(role, &account),
                "a provider's bond is unbonding"
            );
            held.entry((role, account))
                .or_default()
                .saturating_accrue(unbonding.amount);
        }
        for account in frame_system::Account::<T>::iter_keys() {
            for role in [Role::Attestor, Role::Hoster] {
                let reason = Self::hold_reason(role).into();
                let ledger = held.remove(&(role, account.clone())).unwrap_or_default();
                ensure!(
                    T::Currency::balance_on_hold(&reason, &account) == ledger,
                    "held for a bond is not what the ledger says"
                );
            }
        }
        ensure!(held.values().all(Zero::is_zero), "a bond of no account");
        Ok(())
    }

    fn check_keys() -> Result<(), TryRuntimeError> {
        for (role, account, provider) in Providers::<T>::iter() {
            ensure!(
                Keys::<T>::get(provider.key) == Some(KeyUse::Held { account, role }),
                "a provider's key is not its own"
            );
        }
        for (key, used) in Keys::<T>::iter() {
            if let KeyUse::Held { account, role } = used {
                ensure!(
                    Providers::<T>::get(role, account).is_some_and(|owner| owner.key == key),
                    "a key's owner has another key"
                );
            }
        }
        Ok(())
    }

    fn check_pool() -> Result<(), TryRuntimeError> {
        let count = EligibleCount::<T>::get();
        for position in 0..count {
            let account = Eligible::<T>::get(position).ok_or("a hole in the list")?;
            ensure!(
                EligiblePosition::<T>::get(account) == Some(position),
                "an attestor's position is not its place in the list"
            );
        }
        ensure!(
            Eligible::<T>::iter().count() == count as usize,
            "an entry beyond the list"
        );
        ensure!(
            EligiblePosition::<T>::iter().count() == count as usize,
            "a position of nobody in the list"
        );
        let mut eligible = 0;
        for (role, account, provider) in Providers::<T>::iter() {
            let listed = role == Role::Attestor && EligiblePosition::<T>::contains_key(&account);
            ensure!(
                listed == Self::is_eligible(role, &provider),
                "the list is not that of the eligible attestors"
            );
            eligible += u32::from(listed);
        }
        ensure!(eligible == count, "the list has more than the attestors");
        Ok(())
    }

    fn check_tasks() -> Result<(), TryRuntimeError> {
        for (role, account, provider) in Providers::<T>::iter() {
            if let Some(change) = provider.change {
                ensure!(
                    Tasks::<T>::get(change.due).contains(&Task::Change { account, role }),
                    "a waiting change has no task"
                );
            }
        }
        for (key, used) in Keys::<T>::iter() {
            if matches!(used, KeyUse::Reserved { .. }) {
                ensure!(
                    Tasks::<T>::iter_values().any(|tasks| tasks.contains(&Task::FreeKey(key))),
                    "a reserved key has no task"
                );
            }
        }
        Ok(())
    }
}

impl<T: Config> AttestorPool for Pallet<T> {
    type AccountId = T::AccountId;
    type BlockNumber = BlockNumberFor<T>;
    type Balance = BalanceOf<T>;
    type Credit = CreditOf<T>;

    fn eligible_count() -> u32 {
        EligibleCount::<T>::get()
    }

    fn eligible_at(position: u32) -> Option<T::AccountId> {
        Eligible::<T>::get(position)
    }

    fn changed_at() -> BlockNumberFor<T> {
        EligibleChangedAt::<T>::get()
    }

    fn session_key(attestor: &T::AccountId) -> Option<PublicKey> {
        Providers::<T>::get(Role::Attestor, attestor).map(|provider| provider.key)
    }

    fn enter(attestor: &T::AccountId) -> DispatchResult {
        Self::mutate(Role::Attestor, attestor, |provider| {
            provider.engagements.saturating_inc();
            Ok(())
        })
    }

    fn leave(attestor: &T::AccountId, absent: bool) {
        Self::disengage_from(Role::Attestor, attestor, absent);
    }

    fn slash(attestor: &T::AccountId, amount: BalanceOf<T>) -> CreditOf<T> {
        let credit = Self::slash_bond(attestor, Role::Attestor, amount);
        Self::note_slash(attestor, Role::Attestor, &credit);
        credit
    }

    fn expel(attestor: &T::AccountId, amount: BalanceOf<T>) -> CreditOf<T> {
        Self::punish(attestor, Role::Attestor, amount)
    }
}

impl<T: Config> HosterRegistry for Pallet<T> {
    type AccountId = T::AccountId;
    type Balance = BalanceOf<T>;
    type Credit = CreditOf<T>;

    fn noise_key(hoster: &T::AccountId) -> Option<PublicKey> {
        Providers::<T>::get(Role::Hoster, hoster).map(|provider| provider.key)
    }

    fn is_active(hoster: &T::AccountId) -> bool {
        Providers::<T>::get(Role::Hoster, hoster).is_some_and(|provider| provider.active)
    }

    fn engage(hoster: &T::AccountId) -> DispatchResult {
        Self::mutate(Role::Hoster, hoster, |provider| {
            provider.engagements.saturating_inc();
            Ok(())
        })
    }

    fn disengage(hoster: &T::AccountId) {
        Self::disengage_from(Role::Hoster, hoster, false);
    }

    fn owner(noise_key: &PublicKey) -> Option<T::AccountId> {
        match Keys::<T>::get(noise_key)? {
            KeyUse::Held {
                account,
                role: Role::Hoster,
            } => Some(account),
            KeyUse::Held { .. } => None,
            KeyUse::Reserved { account } => Some(account),
        }
    }

    fn bond(hoster: &T::AccountId) -> BalanceOf<T> {
        let role = Role::Hoster;
        Providers::<T>::get(role, hoster)
            .map(|provider| provider.bond)
            .or_else(|| Unbondings::<T>::get(role, hoster).map(|unbonding| unbonding.amount))
            .unwrap_or_default()
    }

    fn convict(hoster: &T::AccountId, amount: BalanceOf<T>) -> CreditOf<T> {
        Self::punish(hoster, Role::Hoster, amount)
    }
}

impl<T: Config> KeyRegistry for Pallet<T> {
    fn is_taken(key: &PublicKey) -> bool {
        Keys::<T>::contains_key(key)
    }
}
