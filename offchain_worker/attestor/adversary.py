"""Attestors with one fault, to show what becomes of them (tests, `datdot testnet`).

Each fault is a machine that departs from the honest one in one point; the honest path knows
nothing of it. Once a fault is done, its machine goes on as if nothing had happened: it does not
fall silent when its own contradictions come back. Everything outside of the coinflip's machine is
honest: the fallback, audits, reports.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from offchain_worker.attestor.machines import MakeMachine, machines_of
from offchain_worker.coinflip.effects import Effect, Send
from offchain_worker.coinflip.envelope import Bundle, Kind, SignedEnvelope, decode, encode
from offchain_worker.coinflip.machine import CoinflipMachine


class Fault(StrEnum):
    """What an attestor does wrong."""

    EQUIVOCATE = "equivocate"
    """Shows each half of its peers another commit: two signatures that contradict each other (E1).

    It gives up instead of echoing a root: when connections are slow, all may by chance follow the
    same commit, and R would come about in spite of it. It loses its bond and is expelled; the
    others go on without it."""
    BAD_REVEAL = "bad-reveal"
    """Reveals another number than it committed to, with its signature (E2): it loses its bond."""
    WITHHOLD = "withhold"
    """Never reveals: no evidence, and a certificate, so that the fallback takes over.

    There it commits like everybody else, so that a challenge passes with all members."""


def faulty_machine(fault: Fault) -> MakeMachine:
    """What an attestor with this fault runs instead of the honest machine."""
    kinds: dict[Fault, type[CoinflipMachine]] = {
        Fault.EQUIVOCATE: _Equivocates,
        Fault.BAD_REVEAL: _RevealsAnother,
        Fault.WITHHOLD: _Withholds,
    }
    return machines_of(kinds[fault])


class _Unashamed(CoinflipMachine):
    def _silence(self, kind: Kind) -> None:
        """It knows of its own contradictions."""


class _Equivocates(_Unashamed):
    """The second commit never sees the journal, which would refuse it: it is put in the place of
    the first on the way to half of the peers, after a restart the same one again."""

    def _effects(self) -> list[Effect]:
        return [self._turned(effect) for effect in super()._effects()]

    def _turned(self, effect: Effect) -> Effect:
        if not isinstance(effect, Send) or not self._sees_the_other(effect.peer):
            return effect
        match decode(effect.data, self.flip, self.index):
            case SignedEnvelope() as envelope:
                return Send(effect.peer, self._other(envelope).raw)
            case Bundle(envelopes):
                turned = Bundle(tuple(self._other(envelope) for envelope in envelopes))
                return Send(effect.peer, encode(turned, self.flip, self.index))
            case _:
                return effect

    def _may_echo(self) -> bool:
        return False

    def _sees_the_other(self, peer: int) -> bool:
        peers = [index for index in range(self.flip.size) if index != self.index]
        return peer in peers[len(peers) // 2 :]

    def _other(self, envelope: SignedEnvelope) -> SignedEnvelope:
        if envelope.kind is not Kind.COMMIT or envelope.index != self.index:
            return envelope
        number = _another(self._secrets.x)
        body = replace(self._secrets, x=number).commit_body(self.flip.topic, self._keypair.public)
        return SignedEnvelope.sign(Kind.COMMIT, self.flip.topic, self.index, body, self._keypair)


class _RevealsAnother(_Unashamed):
    def _act(self, kind: Kind, body: bytes, support: tuple[bytes, ...] = ()) -> None:
        if kind is Kind.REVEAL:
            body = body[:32] + _another(body[32:])
        super()._act(kind, body, support)

    def _combine(self) -> None:
        """It knows that its number opens nothing: there is no R to anchor."""


class _Withholds(_Unashamed):
    def _may_reveal(self) -> bool:
        return False


def _another(number: bytes) -> bytes:
    return bytes([number[0] ^ 1]) + number[1:]
