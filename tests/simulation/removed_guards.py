"""Machines and seats that lack one guard each: what the simulator must catch (coinflip.md §9).

Each class is the real machine, or the real honest seat, with one rule taken out and nothing else
changed; its docstring says which. `test_negative_controls` tells what breaks without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from chain_types.report import BadReveal, Equivocation, Proof, decode_proof
from chain_types.scale import ScaleError
from offchain_worker.coinflip import effects as fx
from offchain_worker.coinflip.commitments import commitment_root
from offchain_worker.coinflip.envelope import (
    Hello,
    Kind,
    Message,
    SignedEnvelope,
    decode_signed,
)
from offchain_worker.coinflip.evidence import EvidenceError, _evidence
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.hashing import ZEROS
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.simulation import disk as disks
from offchain_worker.simulation.seat import Seat

# The certificate


class NoEcho(CoinflipMachine):
    """Without echo: x leaves as soon as all commits are there, as if their vector were certain."""

    def _may_reveal(self) -> bool:
        return (
            self._may_sign(Kind.REVEAL)
            and all(member.commits for member in self._members)
            and self._now < self.schedule.reveal_end_ms
        )

    def _advance(self) -> None:
        # The real `_advance` shows the certificate behind the reveal, which is not there.
        if self._may_commit():
            body = self._secrets.commit_body(self.flip.topic, self._keypair.public)
            self._act(Kind.COMMIT, body)
        if self._may_reveal():
            self._act(Kind.REVEAL, self._secrets.reveal_body())
        super()._advance()


class Naive(NoEcho):
    """The naive protocol: x follows the hash at once, whoever has not committed yet."""

    def _may_reveal(self) -> bool:
        return self._may_sign(Kind.REVEAL) and Kind.COMMIT in self._own


class _OtherCertificate(CoinflipMachine, ABC):
    """Reveals under something less than n echoes of its root; everything else stays."""

    @abstractmethod
    def _enough(self, root: bytes) -> bool:
        """Whether the echoes are enough for it."""

    def _advance(self) -> None:
        super()._advance()
        root = self.root
        timely = self._now < self.schedule.reveal_end_ms
        if root is not None and timely and self._may_sign(Kind.REVEAL) and self._enough(root):
            self._act(Kind.REVEAL, self._secrets.reveal_body())


class NoCertificate(_OtherCertificate):
    """`_may_reveal` without `has_certificate`: reveals once it has echoed."""

    def _enough(self, root: bytes) -> bool:
        return True


class OneEchoLess(_OtherCertificate):
    """n − 1 echoes make a certificate."""

    def _enough(self, root: bytes) -> bool:
        return sum(root in member.echoes for member in self._members) >= self.flip.size - 1


class AnyRoot(_OtherCertificate):
    """Everybody's echo of any root makes a certificate."""

    def _enough(self, root: bytes) -> bool:
        return all(set(member.echoes) - {ZEROS} for member in self._members)


class ZeroCounts(_OtherCertificate):
    """echo(0) counts as an echo of every root."""

    def _enough(self, root: bytes) -> bool:
        return all(root in one.echoes or ZEROS in one.echoes for one in self._members)


class EchoesWithHoles(CoinflipMachine):
    """Echoes at Tc what it has: who has not committed is not waited for (`_may_echo`)."""

    def _may_echo(self) -> bool:
        return (
            self._may_sign(Kind.ECHO)
            and Kind.COMMIT in self._own
            and self.schedule.commit_end_ms <= self._now < self.schedule.echo_end_ms
            and not self.evidence
        )

    def _echo(self) -> None:
        present = [member.commits[0] for member in self._members if member.commits]
        pairs = [(commit.body[:32], commit.body[32:]) for commit in present]
        self.root = commitment_root(self.flip.topic, pairs)
        self._act(Kind.ECHO, self.root, tuple(commit.raw for commit in present))

    def _combine(self) -> None:
        if all(member.commits for member in self._members):
            super()._combine()


class LastCommitCounts(CoinflipMachine):
    """A second commit of a member takes the place of the first, which is echoed already."""

    def _accept_commit(self, member: Any, envelope: SignedEnvelope) -> None:
        super()._accept_commit(member, envelope)
        member.commits.reverse()


# What is signed


class SignsAgain(CoinflipMachine):
    """`_may_sign` without `kind not in self._own`: who has echoed may still say echo(0)."""

    def _may_sign(self, kind: Kind) -> bool:
        again = kind is Kind.ECHO and not self.gave_up
        return super()._may_sign(kind) or (again and not self.silenced and not self._cautious)

    def _act(self, kind: Kind, body: bytes, support: tuple[bytes, ...] = ()) -> None:
        known = self._own.get(kind)
        if known is None or known.body != body:
            super()._act(kind, body, support)


class OverwritesJournal(disks.Disk):
    """A journal that takes a second body for a kind (`JournalConflict`)."""

    def record(self, envelope: SignedEnvelope, support: tuple[bytes, ...]) -> None:
        self._signed.setdefault(envelope.topic, {}).pop(envelope.kind, None)
        super().record(envelope, support)


class Careless(CoinflipMachine):
    """Without caution: a journal that may have been set back is believed (`_cautious`)."""

    def __init__(self, *arguments: Any, cautious: bool = False, **options: Any) -> None:
        del cautious
        super().__init__(*arguments, **options)


class SendsFirst(CoinflipMachine):
    """Sends an envelope before it is in the journal (`_act`)."""

    def _act(self, kind: Kind, body: bytes, support: tuple[bytes, ...] = ()) -> None:
        before = len(self._out)
        super()._act(kind, body, support)
        added = self._out[before:]
        self._out[before:] = sorted(added, key=lambda effect: not isinstance(effect, fx.Send))


class NeverWrites(CoinflipMachine):
    """Sends without writing anything down."""

    def _effects(self) -> list[fx.Effect]:
        return [one for one in super()._effects() if not isinstance(one, fx.Journal)]


# What is believed


class BelievesReveals(CoinflipMachine):
    """Takes any reveal for the one that opens the commit (`fits`)."""

    def _match(self, member: Any, reveal: SignedEnvelope) -> None:
        member.reveal = reveal
        self._progress(reveal)


class BelievesRelays(CoinflipMachine):
    """Does not check the signatures of envelopes that another than their maker brings."""

    def _verified(self, peer: int, envelope: SignedEnvelope) -> bool:
        return peer != envelope.index or super()._verified(peer, envelope)


class _BelievesEvidence(CoinflipMachine, ABC):
    """Takes some pairs of envelopes for a proof without comparing their contents."""

    @abstractmethod
    def _pair(self, proof: Proof) -> tuple[bytes, bytes] | None:
        """The envelopes that it takes for a proof; None: it looks at this as it should."""

    def _accept_evidence(self, peer: int, proof: bytes) -> None:
        try:
            decoded = decode_proof(proof)
        except ScaleError:
            raise EvidenceError("encoding") from None
        raws = self._pair(decoded)
        if raws is not None:
            a, b = (decode_signed(raw, self.flip) for raw in raws)
            if a.index == b.index != self.index and self._fitting(a, b):
                if self._verified(peer, a) and self._verified(peer, b):
                    kind = int(isinstance(decoded, BadReveal))
                    self._found(_evidence(self.flip, a.index, kind, proof), peer)
                return
        super()._accept_evidence(peer, proof)

    @abstractmethod
    def _fitting(self, a: SignedEnvelope, b: SignedEnvelope) -> bool:
        """Whether these two do for it."""


class BelievesTwiceTheSame(_BelievesEvidence):
    """Takes two envelopes with equal bodies for an equivocation (`evidence.equivocation`)."""

    def _pair(self, proof: Proof) -> tuple[bytes, bytes] | None:
        return (proof.a, proof.b) if isinstance(proof, Equivocation) else None

    def _fitting(self, a: SignedEnvelope, b: SignedEnvelope) -> bool:
        return a.kind == b.kind


class BelievesThatItDoesNotFit(_BelievesEvidence):
    """Takes a commit and the reveal that opens it for a bad reveal (`evidence.bad_reveal`)."""

    def _pair(self, proof: Proof) -> tuple[bytes, bytes] | None:
        return (proof.commit, proof.reveal) if isinstance(proof, BadReveal) else None

    def _fitting(self, a: SignedEnvelope, b: SignedEnvelope) -> bool:
        return (a.kind, b.kind) == (Kind.COMMIT, Kind.REVEAL)


class BelievesAccusations(CoinflipMachine):
    """Does not check the signatures in evidence that a peer brings."""

    def _accept_evidence(self, peer: int, proof: bytes) -> None:
        verify, self._verify = self._verify, lambda _key, _message, _signature: True
        try:
            super()._accept_evidence(peer, proof)
        finally:
            self._verify = verify


# What is looked into


class AsksNoVector(CoinflipMachine):
    """Does not ask for the commits behind another root than its own (`_differs`)."""

    def _differs(self, index: int) -> bool:
        return False


class KeepsOneCommit(CoinflipMachine):
    """Keeps a member's first commit only: no second one is ever looked at (`_is_news`)."""

    def _is_news(self, member: Any, envelope: SignedEnvelope) -> bool:
        if envelope.kind is Kind.COMMIT and member.commits:
            return False
        return super()._is_news(member, envelope)


class KeepsAllEchoes(CoinflipMachine):
    """Keeps every root that a member ever echoed (`KEPT_VARIANTS`)."""

    def _is_news(self, member: Any, envelope: SignedEnvelope) -> bool:
        if envelope.kind is Kind.ECHO:
            return envelope.body not in member.echoes
        return super()._is_news(member, envelope)


class GivesCredit(CoinflipMachine):
    """Answers and reads without end, whatever a peer costs (`_pay`)."""

    def _pay(self, peer: int, cost: int) -> bool:
        return True


# Ends


class RetriesAfterCertificate(CoinflipMachine):
    """`may_retry` without `has_certificate` and the sent reveal: a free re-roll."""

    @property
    def may_retry(self) -> bool:
        if self.silenced:
            return False
        roots = {root for member in self._members for root in member.echoes}
        return ZEROS in roots or len(roots) > 1


class RetriesAfterRestart(CoinflipMachine):
    """`may_retry` without `_cautious`: a journal that was set back knows of no certificate."""

    @property
    def may_retry(self) -> bool:
        cautious, self._cautious = self._cautious, False
        try:
            return super().may_retry
        finally:
            self._cautious = cautious


class RetriesAlways(CoinflipMachine):
    """`may_retry` without any condition: also after a certificate, without a sign."""

    @property
    def may_retry(self) -> bool:
        return True


class WaitsForEver(CoinflipMachine):
    """Without the exit at Tf (`_judge`)."""

    def _judge(self) -> None:
        if self._now < self.schedule.reveal_end_ms:
            super()._judge()


class Impatient(CoinflipMachine):
    """Gives up as soon as Δ has passed and somebody's commit is missing (`_must_give_up`)."""

    def _must_give_up(self) -> bool:
        early = self._now >= self.schedule.start_ms + self.schedule.delta_ms
        unsaid = Kind.COMMIT in self._own and self._may_sign(Kind.ECHO)
        return (early and unsaid) or super()._must_give_up()


# Secrets


class TellsW(CoinflipMachine):
    """Greets with its w where the digest of its evidence belongs."""

    def _send(self, peer: int, message: Message) -> None:
        if isinstance(message, Hello):
            message = Hello(message.capabilities, self._secrets.w)
        super()._send(peer, message)


class SameSecrets(Seat):
    """Brings one number into every topic."""

    def make_secrets(self) -> FlipSecrets:
        if not hasattr(self, "_once"):
            self._once = super().make_secrets()
        return self._once


class NewJournalForOldTopics(disks.Disk):
    """A journal takes up an unknown topic that began before the process (`JournalLost`)."""

    def begin(
        self, topic: bytes, *, started_ms: int | None, generate: Callable[[], FlipSecrets]
    ) -> FlipSecrets:
        del started_ms
        return super().begin(topic, started_ms=None, generate=generate)
