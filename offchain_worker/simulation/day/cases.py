"""What is known of one open challenge while it runs: the chain's word, and each member's part."""

from __future__ import annotations

from dataclasses import dataclass, field

from chain_types.records import Challenge, Flip, Reporting
from chain_types.report import Report
from offchain_worker.audit.report import ReportContext
from offchain_worker.audit.session import Audit
from offchain_worker.coinflip.attempts import Attempts, Expulsion
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.simulation.day.cheats import AttestorCheat, HosterCheat
from offchain_worker.simulation.day.people import Attestor, Hoster


@dataclass
class Member:
    """An attestor in one challenge.

    Attributes:
        attestor: who.
        place: in the start roster.
        cheat: what it does wrong in this challenge.
        secrets: its secrets, by topic.
        context: what the chain knows of its part, once R is there and it is active.
        audit: what its audited session found.
        report: that it sent.
        cheated: whether it did what it does wrong.
    """

    attestor: Attestor
    place: int
    cheat: AttestorCheat | None
    secrets: dict[bytes, FlipSecrets] = field(default_factory=dict)
    context: ReportContext | None = None
    audit: Audit | None = None
    report: Report | None = None
    cheated: bool = False

    def secrets_of(self, topic: bytes) -> FlipSecrets:
        """Its secrets of a topic; made when they are first asked for."""
        if topic not in self.secrets:
            self.secrets[topic] = FlipSecrets.generate(self.attestor.dice.randbytes)
        return self.secrets[topic]

    @property
    def reports(self) -> bool:
        """Whether it brings a report of its own in time."""
        return self.cheat not in (
            AttestorCheat.ABSENT,
            AttestorCheat.SILENT_AFTER_FLIP,
            AttestorCheat.LATE_REPORT,
        )


@dataclass
class Case:
    """One challenge.

    Attributes:
        id, challenge: the chain's record at its start.
        hoster: who is audited.
        cheat: what the hoster does wrong in it.
        members: in roster order.
        attempts: of its coinflip, once the start hash is known.
        flip: its randomness.
        expulsions: that the chain has.
        reporting: its stage once reports are taken.
        reported: places whose reports the chain has.
        closing: whether somebody closes it.
    """

    id: int
    challenge: Challenge
    hoster: Hoster
    cheat: HosterCheat | None
    members: list[Member]
    attempts: Attempts | None = None
    flip: Flip | None = None
    expulsions: list[Expulsion] = field(default_factory=list)
    reporting: Reporting | None = None
    reported: set[int] = field(default_factory=set)
    closing: bool = False

    def member(self, account: bytes) -> Member:
        """The member with that account.

        Raises:
            KeyError: there is none.
        """
        for member in self.members:
            if member.attestor.account == account:
                return member
        raise KeyError(account.hex())
