//! How the pallet that runs challenges uses this one.

use crate::types::{HostingId, HostingInfo};
use frame::prelude::*;

/// The hostings, and what a challenge does to them.
pub trait Hostings {
    /// An account.
    type AccountId;
    /// An amount of money.
    type Balance;
    /// Money on its way: dropped, it is burnt.
    type Credit;

    /// An accepted hosting that nobody has asked to close and that does not rest: what a challenge
    /// copies at its start. `None` for any other id, also for an offer that the hoster has not
    /// accepted.
    fn get(id: HostingId) -> Option<HostingInfo<Self::AccountId, Self::Balance>>;

    /// Whether the escrow covers a whole challenge with so many attestors, and the hosting does not
    /// rest.
    fn is_ready(id: HostingId, attestors: u32) -> bool;

    /// A challenge of this hosting starts. Until [`Self::end_challenge`] the hosting cannot end and
    /// its escrow goes nowhere but through [`Self::pay`] and [`Self::forfeit`]. Fails, without
    /// effect, for what [`Self::get`] does not know and while another challenge runs.
    fn start_challenge(id: HostingId) -> DispatchResult;

    /// Pay out of the escrow. Fails, without effect, when it holds less.
    fn pay(id: HostingId, to: &Self::AccountId, amount: Self::Balance) -> DispatchResult;

    /// Set a part of the escrow aside, up to what it holds: it is burnt when the hosting ends.
    fn forfeit(id: HostingId, amount: Self::Balance);

    /// The hoster withheld what a challenge demanded: take up to `amount` out of the hosting's bond.
    /// If what is left would not cover that again, the hosting ends with the running challenge.
    fn slash_bond(id: HostingId, amount: Self::Balance) -> Self::Credit;

    /// The author has rewritten the feed: no challenge starts until the hoster has vouched for this
    /// fork or a higher one, if it has not yet.
    fn rest(id: HostingId, fork: u64);

    /// Add money to the escrow; it is burnt if the hosting has none.
    fn deposit(id: HostingId, credit: Self::Credit);

    /// The running challenge has settled. A hosting that was asked to close, or whose hoster failed
    /// once too often in a row, ends now; true if it goes on.
    fn end_challenge(id: HostingId, ended: Ended) -> bool;
}

/// What a settled challenge says about the hoster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It served: a streak of failures ends.
    Passed,
    /// It did not: the streak grows.
    Failed,
    /// Nothing: the streak stays what it is.
    Undecided,
}

/// What the pallet that runs challenges wants to hear.
pub trait OnHosting {
    /// The hosting was accepted or vouched for anew: what its next challenge depends on changed in
    /// this block. It may be one whose challenge runs.
    fn on_ready(id: HostingId);

    /// The accepted hosting was topped up, by anybody: it may have become ready by it. It may be one
    /// that was ready before, or whose challenge runs.
    fn on_funded(id: HostingId);

    /// The hosting ended; it runs no challenge.
    fn on_closed(id: HostingId);
}

impl OnHosting for () {
    fn on_ready(_: HostingId) {}
    fn on_funded(_: HostingId) {}
    fn on_closed(_: HostingId) {}
}
