"""What everybody must have at the end of a day, recomputed without asking the chain for a balance.

The accounts begin as genesis says. Then every block is gone through: what an accepted call holds or
gives back, what its signer paid for it, and, when a challenge is settled or a fraud proven, what
follows from the challenge as `challenge verify` recomputed it. Free and held money, and each bond
and escrow, are kept apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chain_types.calls import (
    AcceptHosting,
    AnchorFlip,
    AnswerDemand,
    CommitFlip,
    OpenHosting,
    RegisterAttestor,
    RegisterHoster,
    ReportFraud,
    SubmitReport,
    TopUp,
    Undrain,
)
from chain_types.constants import Constants
from chain_types.events import (
    ChallengeClosed,
    DemandAnswered,
    Demanded,
    Expelled,
    HostingClosed,
    HostingOpened,
    ReceiptProvenFalse,
)
from chain_types.records import Answered, PaymentKind, Role, Settlement, Unanswered
from chain_types.report import FalseReceipt
from chain_types.runtime import EventRecord, OtherEvent
from chain_types.words import Call
from offchain_worker.audit.false_receipt import check_false
from offchain_worker.explorer.history import History

FREE_OF_CHARGE = (AnchorFlip, CommitFlip, SubmitReport, AnswerDemand, ReportFraud)
"""Calls that give their fee back when they are accepted (challenge.md §2.2)."""
REPORTERS = 2
"""One part in so many of a slash is the reporter's."""


class Unexplained(Exception):
    """Something was paid that nothing explains; the message says what."""


@dataclass(frozen=True)
class Transaction:
    """An extrinsic that somebody signed: who, what, and whether it was accepted."""

    account: bytes
    call: Call
    accepted: bool


@dataclass(frozen=True)
class Verified:
    """What money moved in a challenge, once all of it was recomputed.

    Attributes:
        settlement: how it was settled.
        hosting, sponsor, hoster: whose it is.
        deposits: what each demand held, by account.
        fees: what each answered demand cost, by account.
        unanswered: what became of each demand that was not answered, by account.
        frauds: what each accepted proof cost, by (offender, reporter, kind, attempt): what was
            slashed, and the reporter's part.
    """

    settlement: Settlement
    hosting: int
    sponsor: bytes
    hoster: bytes
    deposits: Mapping[bytes, int]
    fees: Mapping[bytes, int]
    unanswered: Mapping[bytes, Unanswered]
    frauds: Mapping[tuple[bytes, bytes, int, int], tuple[int, int]]

    @classmethod
    def of(cls, history: History) -> Verified:
        """Take it out of a history that was verified.

        Raises:
            Unexplained: it is not settled.
        """
        snapshot, challenge = history.snapshot, history.snapshot.challenge
        if snapshot.settlement is None:
            raise Unexplained(f"challenge {snapshot.id} is not settled")
        demands = snapshot.demands
        return cls(
            settlement=snapshot.settlement,
            hosting=challenge.hosting,
            sponsor=challenge.sponsor,
            hoster=challenge.hoster,
            deposits={account: demand.deposit for account, demand in demands.items()},
            fees={
                account: demand.state.fee
                for account, demand in demands.items()
                if isinstance(demand.state, Answered)
            },
            unanswered={
                account: demand.state
                for account, demand in demands.items()
                if isinstance(demand.state, Unanswered)
            },
            frauds={
                (one.event.attestor, one.event.reporter, one.event.kind, one.event.attempt): (
                    one.event.slashed,
                    one.event.reward,
                )
                for one in history.accusations
            },
        )


@dataclass
class Money:
    """What an account has: free, and held for whatever reason."""

    free: int = 0
    held: int = 0


@dataclass
class _Purse:
    """What is held for one hosting."""

    sponsor: bytes
    hoster: bytes
    escrow: int
    forfeited: int = 0
    bond: int = 0


@dataclass
class Ledger:
    """All accounts.

    Attributes:
        constants: of the runtime.
        receipt_slash: what a false receipt costs.
        verified: the challenges, by number.
        money: by account.
        slashed: what each account lost by slashes and absence fees, by reason.
        fees: what each paid for its transactions.
        burnt: in all, fees too.
    """

    constants: Constants
    receipt_slash: int
    verified: Mapping[int, Verified]
    money: defaultdict[bytes, Money]
    slashed: defaultdict[bytes, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    fees: Counter[bytes] = field(default_factory=Counter)
    burnt: int = 0
    _bonds: Counter[tuple[Role, bytes]] = field(default_factory=Counter)
    _purses: dict[int, _Purse] = field(default_factory=dict)

    @classmethod
    def opening(
        cls,
        constants: Constants,
        receipt_slash: int,
        verified: Mapping[int, Verified],
        endowments: Mapping[bytes, int],
    ) -> Ledger:
        """The accounts of genesis."""
        money: defaultdict[bytes, Money] = defaultdict(Money)
        for account, amount in endowments.items():
            money[account] = Money(amount, 0)
        return cls(constants, receipt_slash, verified, money)

    def bond(self, role: Role, account: bytes) -> int:
        """What is held of a provider's bond."""
        return self._bonds[role, account]

    def take_block(
        self, transactions: Mapping[int, Transaction], events: tuple[EventRecord, ...]
    ) -> None:
        """Go through one block.

        Args:
            transactions: by their places in the block.
            events: of the block, which say in which order things happened.

        Raises:
            Unexplained: something in it has no reason.
        """
        for record in events:
            transaction = None
            if record.extrinsic is not None:
                transaction = transactions.get(record.extrinsic)
            self._take(record.event, transaction)

    def _take(self, event: Any, transaction: Transaction | None) -> None:
        match event:
            case OtherEvent(pallet="TransactionPayment", name="TransactionFeePaid", fields=fields):
                self._pay_fee(transaction, bytes(fields["who"]), int(fields["actual_fee"]))
            case OtherEvent(pallet="System", name="ExtrinsicSuccess") if transaction is not None:
                self._called(transaction)
            case HostingOpened():
                self._hosting_opened(event, transaction)
            case HostingClosed():
                self._hosting_closed(event.id)
            case Demanded():
                deposit = self._challenge(event.id).deposits[event.attestor]
                self._hold(event.attestor, deposit)
            case DemandAnswered():
                self._demand_answered(self._challenge(event.id), event.attestor)
            case ChallengeClosed():
                self._settled(self._challenge(event.id))
            case Expelled():
                key = (event.attestor, event.reporter, event.kind, event.attempt)
                slashed, reward = self._challenge(event.id).frauds[key]
                self._slash(Role.ATTESTOR, event.attestor, slashed, "fraud")
                self._reward(event.reporter, reward, slashed - reward)
            case ReceiptProvenFalse():
                self._receipt_proven_false(event, transaction)
            case _:
                pass

    def _challenge(self, identifier: int) -> Verified:
        if identifier not in self.verified:
            raise Unexplained(f"challenge {identifier} was not verified")
        return self.verified[identifier]

    # Calls

    def _pay_fee(self, transaction: Transaction | None, who: bytes, fee: int) -> None:
        if transaction is None or transaction.account != who:
            raise Unexplained(f"{who.hex()} pays for what it did not sign")
        if isinstance(transaction.call, FREE_OF_CHARGE) and transaction.accepted and fee:
            raise Unexplained(f"{transaction.call.name} was accepted, and cost {fee}")
        self.money[who].free -= fee
        self.fees[who] += fee
        self.burnt += fee

    def _called(self, transaction: Transaction) -> None:
        """What an accepted call holds; what it gives back is told by events of its own."""
        who = transaction.account
        match transaction.call:
            case RegisterAttestor():
                self._fill_bond(Role.ATTESTOR, who)
            case RegisterHoster():
                self._fill_bond(Role.HOSTER, who)
            case Undrain(role=role):
                self._fill_bond(role, who)
            case AcceptHosting(id=hosting):
                self._purses[hosting].bond = self.constants.hosting_bond
                self._hold(who, self.constants.hosting_bond)
            case TopUp(id=hosting, amount=amount):
                purse = self._purses[hosting]
                self.money[who].free -= amount
                self.money[purse.sponsor].held += amount
                purse.escrow += amount
            case _:
                pass

    def _fill_bond(self, role: Role, who: bytes) -> None:
        whole = (
            self.constants.attestor_bond if role is Role.ATTESTOR else self.constants.hoster_bond
        )
        self._hold(who, whole - self._bonds[role, who])
        self._bonds[role, who] = whole

    def _hold(self, who: bytes, amount: int) -> None:
        self.money[who].free -= amount
        self.money[who].held += amount

    # Hostings

    def _hosting_opened(self, event: HostingOpened, transaction: Transaction | None) -> None:
        call = None if transaction is None else transaction.call
        if transaction is None or not isinstance(call, OpenHosting):
            raise Unexplained(f"nobody opened hosting {event.id}")
        self._purses[event.id] = _Purse(transaction.account, call.hoster, call.escrow)
        self._hold(transaction.account, call.escrow)

    def _hosting_closed(self, hosting: int) -> None:
        purse = self._purses.pop(hosting)
        self._hold(purse.sponsor, -purse.escrow)
        self.money[purse.sponsor].held -= purse.forfeited
        self.burnt += purse.forfeited
        self._hold(purse.hoster, -purse.bond)

    # Challenges

    def _demand_answered(self, challenge: Verified, who: bytes) -> None:
        fee = challenge.fees[who]
        self.money[who].held -= challenge.deposits[who]
        self.money[who].free += challenge.deposits[who] - fee
        self.money[challenge.hoster].free += fee

    def _settled(self, challenge: Verified) -> None:
        purse, settlement = self._purses[challenge.hosting], challenge.settlement
        for who in challenge.unanswered:
            self._hold(who, -challenge.deposits[who])
        purse.bond -= settlement.slashed
        self.money[challenge.hoster].held -= settlement.slashed
        if settlement.slashed:
            self.slashed[challenge.hoster]["withholding"] += settlement.slashed
        self.burnt += settlement.slashed
        for payment in settlement.paid:
            self.money[payment.account].free += payment.amount
            if payment.kind in (PaymentKind.HOSTING, PaymentKind.REPORT):
                purse.escrow -= payment.amount
                self.money[purse.sponsor].held -= payment.amount
            elif payment.kind is PaymentKind.WITHHOLDING:
                self.burnt -= payment.amount
        purse.escrow -= settlement.forfeited
        purse.forfeited += settlement.forfeited
        for absence in settlement.absent:
            self._slash(Role.ATTESTOR, absence.account, absence.fee, "absence")
        purse.escrow += settlement.to_escrow
        self.money[purse.sponsor].held += settlement.to_escrow
        self.burnt += settlement.burnt

    # Frauds

    def _slash(self, role: Role, who: bytes, amount: int, reason: str) -> None:
        if amount > self._bonds[role, who]:
            raise Unexplained(f"{who.hex()} lost more than its bond")
        self._bonds[role, who] -= amount
        self.money[who].held -= amount
        self.slashed[who][reason] += amount

    def _reward(self, who: bytes, reward: int, burnt: int) -> None:
        self.money[who].free += reward
        self.burnt += burnt

    def _receipt_proven_false(
        self, event: ReceiptProvenFalse, transaction: Transaction | None
    ) -> None:
        call = None if transaction is None else transaction.call
        if (
            transaction is None
            or not isinstance(call, ReportFraud)
            or not isinstance(call.proof, FalseReceipt)
        ):
            raise Unexplained("a receipt is proven false without a proof")
        check_false(call.proof)
        slashed = min(self.receipt_slash, self._bonds[Role.HOSTER, event.hoster])
        reward = slashed // REPORTERS
        self._slash(Role.HOSTER, event.hoster, slashed, "false receipt")
        self._reward(transaction.account, reward, slashed - reward)
