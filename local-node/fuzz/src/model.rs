//! What the chain should be, by a few rules: who has how much money in all, what of it is held for
//! what, who provides, which challenges are in which phase with which roster, and what a settlement
//! may pay. It learns from events what happened, applies the rules, and is compared with the state.

use datdot_primitives::attempts::bit;
use frame::{
    deps::sp_core::U256,
    testing_prelude::*,
    token::fungible::{Inspect, InspectHold},
};
use pallet_hosting::{HostingId, HostingsById, Terms};
use pallet_performance::{
    mock::*, types::Settlement, AnswerKind, Balance, BlockNumber, ChallengeId, Challenges,
    PaymentKind, ReportedOutcome, Settlements, Stage, Verdict,
};
use pallet_providers::Role;
use std::collections::{BTreeMap, BTreeSet};

type Total = BTreeMap<AccountId, Balance>;

/// What an attestor and a hoster put up, and the hoster for a hosting.
const BOND: Balance = 1_000;

/// How often each thing happened, so that a run shows what it reached.
pub type Seen = BTreeMap<&'static str, u32>;

/// All that is counted.
pub const COUNTED: [&str; 19] = [
    "taken",
    "refused",
    "started",
    "anchored",
    "fell_back",
    "passed",
    "failed",
    "inconclusive",
    "void",
    "expelled",
    "absent",
    "shown",
    "rewritten",
    "unanswered",
    "convicted",
    "pruned",
    "registered",
    "withdrawn",
    "hostings_closed",
];

#[derive(Debug)]
struct Hosting {
    sponsor: AccountId,
    hoster: AccountId,
    terms: Terms<Balance>,
    escrow: Balance,
    forfeited: Balance,
    bond: Balance,
}

#[derive(Debug)]
struct Audit {
    hosting: HostingId,
    roster: Vec<AccountId>,
    served: BTreeSet<AccountId>,
    failed: BTreeSet<AccountId>,
    expelled: BTreeSet<AccountId>,
    demands: BTreeSet<AccountId>,
    shown: BTreeSet<AccountId>,
    rewritten: bool,
    unanswered: bool,
    rank: u8,
    closed: Option<(BlockNumber, Verdict)>,
}

/// The model.
pub struct Model {
    /// What was seen so far.
    pub seen: Seen,
    block: BlockNumber,
    handled: usize,
    totals: Total,
    bonds: BTreeMap<(Role, AccountId), Balance>,
    unbonding: BTreeMap<(Role, AccountId), Balance>,
    hostings: BTreeMap<HostingId, Hosting>,
    audits: BTreeMap<ChallengeId, Audit>,
}

/// The accounts that have money.
fn accounts() -> Vec<AccountId> {
    let numbers = (1..=ATTESTORS).chain([SPONSOR, HOSTER, STRANGER]);
    numbers.map(account).collect()
}

/// Takes money that must be there.
#[track_caller]
fn less(from: &mut Balance, amount: Balance) {
    *from = from.checked_sub(amount).expect("there is as much");
}

impl Model {
    /// Of the genesis of the runtime of the tests.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self {
            seen: Seen::default(),
            block: 0,
            handled: 0,
            totals: accounts().into_iter().map(|who| (who, ENDOWMENT)).collect(),
            bonds: BTreeMap::new(),
            unbonding: BTreeMap::new(),
            hostings: BTreeMap::new(),
            audits: BTreeMap::new(),
        }
    }

    /// Counts one of [`COUNTED`].
    pub fn count(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    fn gain(&mut self, who: &AccountId, amount: Balance) {
        *self.totals.get_mut(who).expect("it has an account") += amount;
    }

    #[track_caller]
    fn lose(&mut self, who: &AccountId, amount: Balance) {
        less(self.totals.get_mut(who).expect("it has an account"), amount);
    }

    /// Takes the events of this block in that are new, and compares the state.
    pub fn follow(&mut self) {
        let now = System::block_number();
        if now != self.block {
            (self.block, self.handled) = (now, 0);
        }
        let events = System::events();
        for record in events.iter().skip(self.handled) {
            match record.event.clone() {
                RuntimeEvent::Providers(event) => self.providers(event),
                RuntimeEvent::Hosting(event) => self.hosting(event),
                RuntimeEvent::Performance(event) => self.performance(event),
                RuntimeEvent::System(_) | RuntimeEvent::Balances(_) => {}
            }
        }
        self.handled = events.len();
        self.compare_money();
        self.compare_challenges();
    }

    fn providers(&mut self, event: pallet_providers::Event<Test>) {
        use pallet_providers::Event;
        match event {
            Event::Registered { account, role, .. } => {
                self.count("registered");
                let whose = (role, account);
                assert!(!self.unbonding.contains_key(&whose), "registered too early");
                assert_eq!(self.bonds.insert(whose, BOND), None, "registered twice");
            }
            Event::Undraining { account, role, .. } => {
                *self.bonds.get_mut(&(role, account)).expect("it provides") = BOND;
            }
            Event::BondSlashed {
                account,
                role,
                amount,
            } => {
                let whose = (role, account.clone());
                let bond = self.bonds.get_mut(&whose);
                let bond = bond.or_else(|| self.unbonding.get_mut(&whose));
                less(bond.expect("it has a bond"), amount);
                self.lose(&account, amount);
            }
            Event::Deregistered { account, role, .. } => {
                let whose = (role, account.clone());
                let bond = self.bonds.remove(&whose).expect("it provides");
                self.unbonding.insert(whose, bond);
                let engaged = self.audits.values().any(|audit| {
                    role == Role::Attestor
                        && audit.closed.is_none()
                        && audit.roster.contains(&account)
                });
                assert!(!engaged, "an attestor left an open challenge");
            }
            Event::BondWithdrawn {
                account,
                role,
                amount,
            } => {
                self.count("withdrawn");
                let bond = self.unbonding.remove(&(role, account));
                assert_eq!(bond, Some(amount), "another bond was given back");
            }
            _ => {}
        }
    }

    fn hosting(&mut self, event: pallet_hosting::Event<Test>) {
        use pallet_hosting::Event;
        match event {
            Event::HostingOpened {
                id,
                sponsor,
                hoster,
                escrow,
                ..
            } => {
                // One that ended in the same block had no challenge.
                let terms = HostingsById::<Test>::get(id).map_or_else(terms, |of| of.terms);
                let hosting = Hosting {
                    sponsor,
                    hoster,
                    terms,
                    escrow,
                    forfeited: 0,
                    bond: 0,
                };
                assert!(self.hostings.insert(id, hosting).is_none());
            }
            Event::HostingAccepted { id, .. } => self.hosting_of(id).bond = BOND,
            Event::ToppedUp { id, by, amount } => {
                let hosting = self.hosting_of(id);
                hosting.escrow += amount;
                let sponsor = hosting.sponsor.clone();
                self.lose(&by, amount);
                self.gain(&sponsor, amount);
            }
            Event::HostingBondSlashed { id, amount } => {
                let hosting = self.hosting_of(id);
                less(&mut hosting.bond, amount);
                let hoster = hosting.hoster.clone();
                self.lose(&hoster, amount);
            }
            Event::HostingClosed {
                id,
                returned,
                burnt,
            } => {
                self.count("hostings_closed");
                let hosting = self.hostings.remove(&id).expect("it was open");
                let kept = (hosting.escrow, hosting.forfeited);
                assert_eq!((returned, burnt), kept, "of hosting {id}");
                self.lose(&hosting.sponsor, burnt);
            }
            _ => {}
        }
    }

    fn hosting_of(&mut self, id: HostingId) -> &mut Hosting {
        self.hostings.get_mut(&id).expect("it is open")
    }

    fn audit(&mut self, id: ChallengeId) -> &mut Audit {
        self.audits.get_mut(&id).expect("it started")
    }

    fn performance(&mut self, event: pallet_performance::Event<Test>) {
        use pallet_performance::Event;
        match event {
            Event::ChallengeStarted {
                id,
                hosting,
                hoster,
                roster,
                ..
            } => self.start(id, hosting, &hoster, roster.into_iter()),
            Event::FlipAnchored { .. } => self.count("anchored"),
            Event::FlipFellBack { .. } => self.count("fell_back"),
            Event::Expelled {
                id,
                attestor,
                reporter,
                slashed,
                reward,
                ..
            } => {
                self.count("expelled");
                assert_eq!(reward, slashed / 2);
                self.audit(id).expelled.insert(attestor);
                self.gain(&reporter, reward);
            }
            Event::ReceiptProvenFalse {
                reporter,
                slashed,
                reward,
                ..
            } => {
                self.count("convicted");
                assert_eq!(reward, slashed / 2);
                self.gain(&reporter, reward);
            }
            Event::Reported {
                id,
                attestor,
                outcome,
            } => {
                let audit = self.audit(id);
                assert!(audit.roster.contains(&attestor), "a stranger reported");
                let twice = audit.served.contains(&attestor) || audit.failed.contains(&attestor);
                assert!(!twice, "an attestor reported twice");
                match outcome {
                    ReportedOutcome::Served(_) => audit.served.insert(attestor),
                    ReportedOutcome::Failed { .. } => audit.failed.insert(attestor),
                };
            }
            Event::Demanded { id, attestor, .. } => {
                assert!(self.audit(id).demands.insert(attestor), "demanded twice");
            }
            Event::DemandAnswered {
                id,
                attestor,
                answer,
                fee,
            } => {
                let audit = self.audit(id);
                assert!(audit.demands.remove(&attestor), "nothing was demanded");
                match answer {
                    AnswerKind::Chunk => {
                        audit.shown.insert(attestor.clone());
                        assert_eq!(fee, DEMAND_FEE);
                        self.count("shown");
                    }
                    AnswerKind::Rewritten { .. } => {
                        audit.rewritten = true;
                        assert_eq!(fee, 0);
                        self.count("rewritten");
                    }
                }
                self.lose(&attestor, fee);
                self.gain(&account(HOSTER), fee);
            }
            Event::DemandUnanswered {
                id,
                attestor,
                slashed,
                reward,
            } => {
                self.count("unanswered");
                assert_eq!(reward, slashed / 2);
                let audit = self.audit(id);
                assert!(audit.demands.remove(&attestor), "nothing was demanded");
                audit.unanswered = true;
                self.gain(&attestor, reward);
            }
            Event::ChallengeClosed { id, outcome, .. } => {
                let settlement = Settlements::<Test>::get(id).expect("it has just closed");
                assert_eq!(settlement.outcome, outcome);
                self.settle(id, &settlement);
            }
            Event::PaymentFailed {
                hosting, amount, ..
            } => panic!("the escrow of {hosting} does not pay {amount}"),
            Event::ChallengePruned { id } => {
                self.count("pruned");
                let (at, _) = self.audit(id).closed.expect("it closed");
                assert!(self.block >= at + UNBONDING, "pruned too early");
                self.audits.remove(&id);
            }
            _ => {}
        }
    }

    fn start(
        &mut self,
        id: ChallengeId,
        hosting: HostingId,
        hoster: &AccountId,
        roster: impl Iterator<Item = pallet_performance::Member<AccountId>>,
    ) {
        self.count("started");
        let roster: Vec<AccountId> = roster.map(|member| member.account).collect();
        let distinct: BTreeSet<&AccountId> = roster.iter().collect();
        assert_eq!(distinct.len(), roster.len(), "an attestor was drawn twice");
        let of = &self.hostings[&hosting];
        assert_eq!(&of.hoster, hoster);
        for member in &roster {
            let registered = self.bonds.contains_key(&(Role::Attestor, member.clone()));
            assert!(registered, "a stranger was drawn");
            assert!(
                *member != of.sponsor && *member != of.hoster,
                "a party was drawn"
            );
        }
        let runs = |audit: &Audit| audit.hosting == hosting && audit.closed.is_none();
        assert!(
            !self.audits.values().any(runs),
            "two challenges of a hosting"
        );
        let most = of.terms.whole_challenge(roster.len() as u32);
        let covered = most.is_some_and(|most| of.escrow >= most);
        assert!(covered, "the escrow does not cover it");
        let audit = Audit {
            hosting,
            roster,
            served: BTreeSet::new(),
            failed: BTreeSet::new(),
            expelled: BTreeSet::new(),
            demands: BTreeSet::new(),
            shown: BTreeSet::new(),
            rewritten: false,
            unanswered: false,
            rank: 0,
            closed: None,
        };
        assert!(self.audits.insert(id, audit).is_none());
    }

    /// The rules of challenge.md §6.
    fn settle(&mut self, id: ChallengeId, settlement: &Settlement<AccountId>) {
        let block = self.block;
        let audit = self.audits.get_mut(&id).expect("it started");
        assert_eq!(audit.closed, None, "settled twice");
        assert!(audit.demands.is_empty(), "a demand is open for ever");
        audit.closed = Some((block, settlement.outcome));
        let (served, failed) = (audit.served.len() as u32, audit.failed.len() as u32);
        assert_eq!((settlement.served, settlement.failed), (served, failed));
        let active = settlement.active;
        assert!(served + failed <= active);
        let outcome = match settlement.outcome {
            Verdict::Void => {
                assert_eq!(active, 0);
                Verdict::Void
            }
            _ if audit.unanswered => Verdict::Failed,
            _ if 2 * served > active && audit.rewritten => Verdict::Inconclusive,
            _ if 2 * served > active => Verdict::Passed,
            _ if 2 * failed > active => Verdict::Failed,
            _ => Verdict::Inconclusive,
        };
        assert_eq!(settlement.outcome, outcome);
        // Who is to be paid for reporting, and how much.
        let hosting = audit.hosting;
        let terms = self.hostings[&hosting].terms;
        let mut due: BTreeMap<AccountId, Balance> = BTreeMap::new();
        for member in audit.roster.iter() {
            let share = match outcome {
                _ if audit.expelled.contains(member) || audit.shown.contains(member) => 0,
                _ if audit.served.contains(member) => terms.attestor_reward,
                Verdict::Failed if audit.failed.contains(member) => terms.attestor_reward / 2,
                _ => 0,
            };
            if share > 0 {
                due.insert(member.clone(), share);
            }
        }
        let mut earned = 0;
        let mut to_closer = 0;
        for payment in &settlement.paid {
            let (to, amount) = (&payment.account, payment.amount);
            match payment.kind {
                PaymentKind::Withholding => continue,
                PaymentKind::Closing => to_closer += amount,
                PaymentKind::Report => assert_eq!(due.remove(to), Some(amount)),
                PaymentKind::Hosting => {
                    assert_eq!(outcome, Verdict::Passed);
                    assert_eq!(*to, self.hostings[&hosting].hoster);
                    let (part, whole) = (U256::from(served), U256::from(active));
                    let reward = U256::from(terms.hoster_reward) * part / whole;
                    assert_eq!(U256::from(amount), reward);
                    earned += amount;
                }
            }
            if payment.kind != PaymentKind::Closing {
                let of = self.hosting_of(hosting);
                less(&mut of.escrow, amount);
                let sponsor = of.sponsor.clone();
                self.lose(&sponsor, amount);
            }
            self.gain(to, amount);
        }
        assert!(due.is_empty(), "not paid: {due:?}");
        self.count(match outcome {
            Verdict::Passed => "passed",
            Verdict::Failed => "failed",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Void => "void",
        });
        let unpaid =
            outcome == Verdict::Passed && earned == 0 && terms.hoster_reward > active.into();
        assert!(!unpaid || terms.sla.is_some(), "the hoster got nothing");
        let forfeited = match outcome {
            Verdict::Passed => terms.hoster_reward - earned,
            _ => 0,
        };
        assert_eq!(settlement.forfeited, forfeited);
        let fees: Balance = settlement.absent.iter().map(|absence| absence.fee).sum();
        *self.seen.entry("absent").or_default() += settlement.absent.len() as u32;
        assert_eq!(fees, settlement.burnt + settlement.to_escrow + to_closer);
        let of = self.hosting_of(hosting);
        less(&mut of.escrow, forfeited);
        of.forfeited += forfeited;
        of.escrow += settlement.to_escrow;
        let sponsor = of.sponsor.clone();
        self.gain(&sponsor, settlement.to_escrow);
    }

    fn compare_money(&self) {
        let mut held: Vec<(RuntimeHoldReason, &AccountId, Balance)> = Vec::new();
        let mut hold = |reason, who, amount| held.push((reason, who, amount));
        for ((role, who), amount) in self.bonds.iter().chain(&self.unbonding) {
            use pallet_providers::HoldReason;
            let reason = match role {
                Role::Attestor => HoldReason::AttestorBond,
                Role::Hoster => HoldReason::HosterBond,
            };
            hold(reason.into(), who, *amount);
        }
        for hosting in self.hostings.values() {
            use pallet_hosting::HoldReason;
            let escrow = hosting.escrow + hosting.forfeited;
            hold(HoldReason::Escrow.into(), &hosting.sponsor, escrow);
            hold(
                HoldReason::HostingBond.into(),
                &hosting.hoster,
                hosting.bond,
            );
        }
        for audit in self.audits.values() {
            for who in &audit.demands {
                let reason = pallet_performance::HoldReason::Demand;
                hold(reason.into(), who, DEMAND_DEPOSIT);
            }
        }
        let reasons: [RuntimeHoldReason; 5] = [
            pallet_providers::HoldReason::AttestorBond.into(),
            pallet_providers::HoldReason::HosterBond.into(),
            pallet_hosting::HoldReason::Escrow.into(),
            pallet_hosting::HoldReason::HostingBond.into(),
            pallet_performance::HoldReason::Demand.into(),
        ];
        for (who, total) in &self.totals {
            assert_eq!(Balances::total_balance(who), *total, "of {who:?}");
            let mut all = 0;
            for reason in reasons {
                let own = held
                    .iter()
                    .filter(|(of, whose, _)| *of == reason && *whose == who);
                let sum: Balance = own.map(|(_, _, amount)| amount).sum();
                assert_eq!(Balances::balance_on_hold(&reason, who), sum, "{reason:?}");
                all += sum;
            }
            assert_eq!(Balances::total_balance_on_hold(who), all, "held of {who:?}");
        }
        let all: Balance = self.totals.values().sum();
        assert_eq!(Balances::total_issuance(), all, "money was lost or made");
        let providers = pallet_providers::Providers::<Test>::iter_keys();
        let providers: BTreeSet<(Role, AccountId)> = providers.collect();
        assert!(self.bonds.keys().eq(&providers), "other providers");
        let hostings = pallet_hosting::HostingsById::<Test>::iter_keys();
        let hostings: BTreeSet<HostingId> = hostings.collect();
        assert!(self.hostings.keys().eq(&hostings), "other hostings");
    }

    fn compare_challenges(&mut self) {
        let mut count = 0;
        for (id, challenge) in Challenges::<Test>::iter() {
            count += 1;
            let audit = self.audits.get_mut(&id).expect("it started");
            let roster = challenge.roster.iter().map(|member| &member.account);
            assert!(roster.eq(&audit.roster), "the roster changed");
            let (rank, closed) = match challenge.stage {
                Stage::Flip => (0, None),
                Stage::Commit { .. } => (1, None),
                Stage::Audit => (2, None),
                Stage::Report { .. } => (3, None),
                Stage::Closed { at, outcome } => (4, Some((at, outcome))),
            };
            assert!(rank >= audit.rank, "a challenge went back");
            audit.rank = rank;
            assert_eq!(closed, audit.closed, "of challenge {id}");
            if let Some(flip) = pallet_performance::Flips::<Test>::get(id) {
                let reported = audit.served.iter().chain(&audit.failed);
                for who in reported {
                    let place = audit.roster.iter().position(|member| member == who);
                    let place = place.expect("it is in the roster");
                    assert!(flip.active & bit(place) != 0, "who is not active reported");
                }
            }
        }
        assert_eq!(count, self.audits.len(), "a challenge was lost");
    }
}
