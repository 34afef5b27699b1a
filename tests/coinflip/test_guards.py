"""The guards of the machine one by one, on a machine that is fed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from offchain_worker.coinflip import effects as fx
from offchain_worker.coinflip.commitments import commitment_root
from offchain_worker.coinflip.envelope import Bundle, Kind, SignedEnvelope, encode
from offchain_worker.coinflip.flip_secrets import FlipSecrets


class Fed:
    """Member 0 of three; the test holds the keys of the others."""

    def __init__(self, tools: Any) -> None:
        self.network = tools.Network(3)
        self.schedule = self.network.schedule
        self.machine = self.network.members[0].machine
        self.secrets = [member.secrets for member in self.network.members]
        self.machine.start(tools.T0)
        for peer in (1, 2):
            self.machine.connected(tools.T0, peer)
        self.now = tools.T0 + 5

    def sign(self, kind: Kind, index: int, body: bytes) -> SignedEnvelope:
        pair = self.network.pairs[index]
        return SignedEnvelope.sign(kind, self.network.flip.topic, index, body, pair)

    def commit(self, index: int, secrets: FlipSecrets | None = None) -> SignedEnvelope:
        key = self.network.pairs[index].public
        body = (secrets or self.secrets[index]).commit_body(self.network.flip.topic, key)
        return self.sign(Kind.COMMIT, index, body)

    @property
    def root(self) -> bytes:
        bodies = [self.commit(i).body for i in range(3)]
        pairs = [(body[:32], body[32:]) for body in bodies]
        return commitment_root(self.network.flip.topic, pairs)

    def feed(self, *envelopes: SignedEnvelope, at: int | None = None) -> list[SignedEnvelope]:
        """Give it all in one bundle; returns what it signed."""
        data = encode(Bundle(envelopes), self.network.flip, 1)
        return self.signed(self.machine.received(at or self.now, 1, data))

    @staticmethod
    def signed(effects: list[fx.Effect]) -> list[SignedEnvelope]:
        return [effect.envelope for effect in effects if isinstance(effect, fx.Journal)]


@pytest.fixture
def fed(tools: Any) -> Fed:
    return Fed(tools)


def test_the_full_vector_is_echoed_once(fed: Fed) -> None:
    assert fed.feed(fed.commit(1)) == []
    (echo,) = fed.feed(fed.commit(2))
    assert echo.body == fed.root
    assert fed.feed(fed.commit(1), fed.commit(2)) == []


def test_a_vector_completed_together_with_a_proof_is_not_echoed(fed: Fed) -> None:
    other = FlipSecrets(*[b"o" * 32] * 4)
    (echo,) = fed.feed(fed.commit(1), fed.commit(1, other), fed.commit(2))
    assert echo.gives_up


def test_a_silenced_member_echoes_nothing(fed: Fed) -> None:
    stray = fed.commit(0, FlipSecrets(*[b"o" * 32] * 4))
    assert fed.feed(stray, fed.commit(1), fed.commit(2)) == []
    assert fed.machine.silenced
    assert fed.signed(fed.machine.tick(fed.schedule.echo_end_ms)) == []


def test_nobody_gives_up_at_tc_when_somebody_has_echoed_but_everybody_at_te(fed: Fed) -> None:
    fed.feed(fed.sign(Kind.ECHO, 1, fed.root), fed.commit(1))
    assert fed.signed(fed.machine.tick(fed.schedule.commit_end_ms)) == []
    assert fed.signed(fed.machine.tick(fed.schedule.echo_end_ms - 1)) == []
    (echo,) = fed.signed(fed.machine.tick(fed.schedule.echo_end_ms))
    assert echo.gives_up


def test_the_vector_of_who_echoed_is_pulled_after_tc_and_echoed_before_te(fed: Fed) -> None:
    fed.feed(fed.sign(Kind.ECHO, 1, fed.root), fed.commit(1))
    (echo,) = fed.feed(fed.commit(2), at=fed.schedule.echo_end_ms - 1)
    assert echo.body == fed.root


def test_a_commit_that_comes_at_te_makes_no_echo(fed: Fed) -> None:
    fed.feed(fed.sign(Kind.ECHO, 1, fed.root), fed.commit(1))
    (echo,) = fed.feed(fed.commit(2), at=fed.schedule.echo_end_ms)
    assert echo.gives_up


def test_at_tc_a_member_gives_up_when_only_zeros_were_echoed(fed: Fed) -> None:
    fed.feed(fed.sign(Kind.ECHO, 1, bytes(32)))
    (echo,) = fed.signed(fed.machine.tick(fed.schedule.commit_end_ms))
    assert echo.gives_up


@pytest.mark.parametrize("missing", [1, 2])
def test_every_echo_of_my_root_is_needed_before_x_leaves(fed: Fed, missing: int) -> None:
    fed.feed(fed.commit(1), fed.commit(2))
    other = 3 - missing
    assert fed.feed(fed.sign(Kind.ECHO, other, fed.root)) == []
    assert fed.feed(fed.sign(Kind.ECHO, missing, b"\7" * 32)) == []
    assert fed.feed(fed.sign(Kind.ECHO, missing, bytes(32))) == []
    (reveal,) = fed.feed(fed.sign(Kind.ECHO, missing, fed.root))
    assert reveal.kind is Kind.REVEAL


def test_who_held_a_certificate_may_not_retry_whatever_it_sees_later(fed: Fed) -> None:
    fed.feed(fed.commit(1), fed.commit(2))
    assert not fed.machine.may_retry
    fed.feed(fed.sign(Kind.ECHO, 1, bytes(32)))
    assert fed.machine.may_retry
    fed.feed(fed.sign(Kind.ECHO, 1, fed.root), fed.sign(Kind.ECHO, 2, fed.root))
    assert fed.machine.has_certificate
    assert not fed.machine.may_retry


def test_a_schedule_of_another_attempt_is_refused(fed: Fed, tools: Any) -> None:
    later = fed.schedule.following(fed.network.flip.topic)
    with pytest.raises(ValueError, match="another attempt"):
        type(fed.machine)(fed.network.flip, fed.network.pairs[0], fed.secrets[0], later)
    with pytest.raises(ValueError, match="not in tuple"):
        type(fed.machine)(fed.network.flip, tools.keypairs(1, 9)[0], fed.secrets[0], fed.schedule)
