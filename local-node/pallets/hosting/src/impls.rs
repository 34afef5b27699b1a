//! The work behind the calls, and what the pallet that runs challenges uses.

use crate::*;
use alloc::collections::BTreeMap;
use frame::{
    deps::sp_runtime::TryRuntimeError,
    token::{
        fungible::{Balanced, BalancedHold, InspectHold},
        tokens::Restriction,
    },
    traits::Imbalance,
};

impl<T: Config> Pallet<T> {
    pub(crate) fn mutate<R>(
        id: HostingId,
        change: impl FnOnce(&mut HostingOf<T>) -> Result<R, DispatchError>,
    ) -> Result<R, DispatchError> {
        HostingsById::<T>::try_mutate(id, |hosting| {
            change(hosting.as_mut().ok_or(Error::<T>::UnknownHosting)?)
        })
    }

    pub(crate) fn check_length(hosting: &HostingOf<T>, length: u64) -> DispatchResult {
        let lengths = hosting.terms.length..=MAX_LENGTH;
        ensure!(lengths.contains(&length), Error::<T>::InvalidLength);
        Ok(())
    }

    /// Give back and burn what is held, and forget the hosting.
    pub(crate) fn end(id: HostingId, hosting: HostingOf<T>) -> DispatchResult {
        let escrow = HoldReason::Escrow.into();
        let sponsor = &hosting.sponsor;
        T::Currency::release(&escrow, sponsor, hosting.escrow, Precision::Exact)?;
        T::Currency::burn_held(
            &escrow,
            sponsor,
            hosting.forfeited,
            Precision::Exact,
            Fortitude::Force,
        )?;
        if hosting.vouched.is_some() {
            let bond = HoldReason::HostingBond.into();
            T::Currency::release(&bond, &hosting.hoster, hosting.bond, Precision::Exact)?;
            T::Hosters::disengage(&hosting.hoster);
        }
        HostingsById::<T>::remove(id);
        Self::deposit_event(Event::HostingClosed {
            id,
            returned: hosting.escrow,
            burnt: hosting.forfeited,
        });
        Ok(())
    }

    /// What must hold between blocks: for each account and reason, the hostings' entries are what
    /// is held, and each hosting's feed is published.
    pub fn do_try_state() -> Result<(), TryRuntimeError> {
        let mut escrows = BTreeMap::<T::AccountId, BalanceOf<T>>::new();
        let mut bonds = BTreeMap::<T::AccountId, BalanceOf<T>>::new();
        for (id, hosting) in HostingsById::<T>::iter() {
            ensure!(
                id < NextHostingId::<T>::get(),
                "a hosting with a number not given yet"
            );
            ensure!(
                Feeds::<T>::contains_key(hosting.feed),
                "a hosting of an unknown feed"
            );
            ensure!(
                hosting.vouched.is_some() || !(hosting.challenged || hosting.closing),
                "an offer that is challenged or closing"
            );
            ensure!(
                hosting.challenged || !hosting.closing,
                "nothing to wait for with closing"
            );
            ensure!(
                hosting
                    .resting
                    .is_none_or(|fork| hosting.vouched.is_some_and(|vouched| vouched.fork < fork)),
                "a hosting rests for a fork that its hoster vouched for"
            );
            ensure!(
                hosting.streak < T::MaxStreak::get(),
                "a hosting outlived its streak of failures"
            );
            ensure!(
                hosting.terms.sla.is_none_or(|sla| sla.is_valid()),
                "terms with an SLA that bounds nothing"
            );
            let escrow = escrows.entry(hosting.sponsor).or_default();
            escrow.saturating_accrue(hosting.escrow.saturating_add(hosting.forfeited));
            bonds
                .entry(hosting.hoster)
                .or_default()
                .saturating_accrue(hosting.bond);
        }
        for account in frame_system::Account::<T>::iter_keys() {
            for (reason, ledger) in [
                (HoldReason::Escrow, &mut escrows),
                (HoldReason::HostingBond, &mut bonds),
            ] {
                ensure!(
                    T::Currency::balance_on_hold(&reason.into(), &account)
                        == ledger.remove(&account).unwrap_or_default(),
                    "held for hostings is not what the ledger says"
                );
            }
        }
        ensure!(
            escrows.values().all(Zero::is_zero),
            "an escrow of no account"
        );
        ensure!(bonds.values().all(Zero::is_zero), "a bond of no account");
        Ok(())
    }
}

impl<T: Config> Hostings for Pallet<T> {
    type AccountId = T::AccountId;
    type Balance = BalanceOf<T>;
    type Credit = CreditOf<T>;

    fn get(id: HostingId) -> Option<HostingInfo<T::AccountId, BalanceOf<T>>> {
        let hosting = HostingsById::<T>::get(id)
            .filter(|hosting| !hosting.closing && hosting.resting.is_none())?;
        let Vouched { fork, length } = hosting.vouched?;
        Some(HostingInfo {
            feed: Feeds::<T>::get(hosting.feed)?,
            noise_key: T::Hosters::noise_key(&hosting.hoster)?,
            sponsor: hosting.sponsor,
            hoster: hosting.hoster,
            terms: hosting.terms,
            fork,
            length,
        })
    }

    fn is_ready(id: HostingId, attestors: u32) -> bool {
        HostingsById::<T>::get(id).is_some_and(|hosting| {
            hosting.resting.is_none()
                && hosting
                    .terms
                    .whole_challenge(attestors)
                    .is_some_and(|cost| hosting.escrow >= cost)
        })
    }

    fn start_challenge(id: HostingId) -> DispatchResult {
        Self::mutate(id, |hosting| {
            ensure!(hosting.vouched.is_some(), Error::<T>::NotAccepted);
            ensure!(!hosting.closing, Error::<T>::Closing);
            ensure!(!hosting.challenged, Error::<T>::Challenged);
            hosting.challenged = true;
            Ok(())
        })
    }

    fn pay(id: HostingId, to: &T::AccountId, amount: BalanceOf<T>) -> DispatchResult {
        Self::mutate(id, |hosting| {
            hosting.escrow = hosting
                .escrow
                .checked_sub(&amount)
                .ok_or(Error::<T>::EscrowTooSmall)?;
            let reason = HoldReason::Escrow.into();
            if *to == hosting.sponsor {
                T::Currency::release(&reason, to, amount, Precision::Exact)?;
            } else {
                T::Currency::transfer_on_hold(
                    &reason,
                    &hosting.sponsor,
                    to,
                    amount,
                    Precision::Exact,
                    Restriction::Free,
                    Fortitude::Polite,
                )?;
            }
            Ok(())
        })
    }

    fn forfeit(id: HostingId, amount: BalanceOf<T>) {
        HostingsById::<T>::mutate_extant(id, |hosting| {
            let amount = amount.min(hosting.escrow);
            hosting.escrow.saturating_reduce(amount);
            hosting.forfeited.saturating_accrue(amount);
        });
    }

    fn slash_bond(id: HostingId, amount: BalanceOf<T>) -> CreditOf<T> {
        let mut taken = CreditOf::<T>::zero();
        HostingsById::<T>::mutate_extant(id, |hosting| {
            let reason = HoldReason::HostingBond.into();
            let most = amount.min(hosting.bond);
            let (credit, _) = T::Currency::slash(&reason, &hosting.hoster, most);
            hosting.bond.saturating_reduce(credit.peek());
            Self::deposit_event(Event::HostingBondSlashed {
                id,
                amount: credit.peek(),
            });
            if hosting.bond < amount && hosting.challenged && !hosting.closing {
                hosting.closing = true;
                Self::deposit_event(Event::HostingClosing { id });
            }
            taken = credit;
        });
        taken
    }

    fn rest(id: HostingId, fork: u64) {
        HostingsById::<T>::mutate_extant(id, |hosting| {
            let behind = hosting.vouched.is_some_and(|vouched| vouched.fork < fork);
            if behind && hosting.resting.is_none_or(|resting| resting < fork) {
                hosting.resting = Some(fork);
                Self::deposit_event(Event::HostingResting { id, fork });
            }
        });
    }

    fn deposit(id: HostingId, credit: CreditOf<T>) {
        HostingsById::<T>::mutate_extant(id, |hosting| {
            let amount = credit.peek();
            let held = T::Currency::resolve(&hosting.sponsor, credit).is_ok()
                && T::Currency::hold(&HoldReason::Escrow.into(), &hosting.sponsor, amount).is_ok();
            if held {
                hosting.escrow.saturating_accrue(amount);
            }
        });
    }

    fn end_challenge(id: HostingId, ended: Ended) -> bool {
        let Some(mut hosting) = HostingsById::<T>::get(id) else {
            return false;
        };
        hosting.challenged = false;
        match ended {
            Ended::Passed => hosting.streak = 0,
            Ended::Failed => hosting.streak.saturating_inc(),
            Ended::Undecided => {}
        }
        let given_up = hosting.streak >= T::MaxStreak::get();
        if given_up {
            let streak = hosting.streak;
            Self::deposit_event(Event::HostingFailed { id, streak });
        }
        let goes_on = !hosting.closing && !given_up;
        hosting.closing = false;
        HostingsById::<T>::insert(id, &hosting);
        if !goes_on {
            if let Err(error) = Self::end(id, hosting) {
                defensive!("an ended hosting's money is held", error);
            }
        }
        goes_on
    }
}
