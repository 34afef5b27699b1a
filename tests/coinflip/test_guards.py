"""The guards of the machine one by one, on a machine that is fed by hand."""

from __future__ import annotations

from typing import Any

import pytest

from offchain_worker.coinflip import effects as fx
from offchain_worker.coinflip.commitments import commitment_root, hash_concat, xor, xor_hash
from offchain_worker.coinflip.envelope import (
    Bundle,
    Kind,
    Need,
    SignedEnvelope,
    decode,
    encode,
)
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.journal import Record


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


class TestCaution:
    """A journal that may have been set back: another echo than on record may be out there (§1)."""

    @pytest.fixture
    def member(self, tools: Any) -> Any:
        """Member 0 of three, started again without records, connected to both peers."""
        member = tools.Network(3).members[0]
        member.boot(cautious=True)
        return member

    @staticmethod
    def start(member: Any) -> list[fx.Effect]:
        effects: list[fx.Effect] = member.machine.start(member.network.now)
        for peer in (1, 2):
            effects += member.machine.connected(member.network.now, peer)
        return effects

    def test_peers_are_asked_for_what_is_not_on_record(self, member: Any) -> None:
        sent = [e.data for e in self.start(member) if isinstance(e, fx.Send) and e.peer == 1]
        messages = [decode(data, member.network.flip, 0) for data in sent]
        mine = frozenset({0})
        assert [m for m in messages if isinstance(m, Need) and m.indices == mine] == [
            Need(Kind.ECHO, mine),
            Need(Kind.REVEAL, mine),
        ]

    def test_the_commit_follows_from_the_secrets_but_no_echo_is_signed(
        self, member: Any, tools: Any
    ) -> None:
        network = member.network
        (commit,) = Fed.signed(self.start(member))
        assert commit.body == member.secrets.commit_body(
            network.flip.topic, network.pairs[0].public
        )
        fed = Fed(tools)
        vector = encode(Bundle((fed.commit(1), fed.commit(2))), network.flip, 1)
        assert Fed.signed(member.machine.received(network.now, 1, vector)) == []
        schedule = network.schedule
        for instant in (schedule.commit_end_ms, schedule.echo_end_ms, schedule.end_ms):
            assert Fed.signed(member.machine.tick(instant)) == []
        assert member.machine.outcome == fx.Offline((0,), fx.Phase.ECHO)
        assert not member.machine.may_retry

    @pytest.mark.parametrize("kind", [Kind.COMMIT, Kind.ECHO, Kind.REVEAL])
    def test_an_envelope_that_the_journal_does_not_know_silences(
        self, member: Any, kind: Kind
    ) -> None:
        network = member.network
        self.start(member)
        body = bytes(32) if kind is Kind.ECHO else b"o" * 64
        known = SignedEnvelope.sign(kind, network.flip.topic, 0, body, network.pairs[0])
        bundle = encode(Bundle((known,)), network.flip, 1)
        effects = member.machine.received(network.now, 1, bundle)
        assert fx.Silenced(kind) in effects
        assert not member.machine.may_retry

    def test_with_its_echo_on_record_it_goes_on(self, tools: Any) -> None:
        network = tools.Network(3)
        network.run(until=tools.T0 + 15)
        member = network.members[0]
        assert Kind.ECHO in member.disk
        member.boot(cautious=True)
        effects = self.start(member)
        own = member.disk[Kind.ECHO].envelope
        assert own in [e.data for e in effects if isinstance(e, fx.Send)]
        echoes = [network.members[peer].disk[Kind.ECHO].envelope for peer in (1, 2)]
        signed = []
        for peer, echo in enumerate(echoes, 1):
            signed += Fed.signed(member.machine.received(network.now, peer, echo))
        assert [envelope.kind for envelope in signed] == [Kind.REVEAL]

    def test_who_gave_up_may_retry(self, member: Any) -> None:
        network = member.network
        zero = SignedEnvelope.sign(Kind.ECHO, network.flip.topic, 0, bytes(32), network.pairs[0])
        member.boot(cautious=True, records={Kind.ECHO: Record(zero.raw, ())})
        self.start(member)
        assert member.machine.may_retry


def test_the_vector_behind_another_root_is_asked_for_until_something_explains_it(
    fed: Fed,
) -> None:
    fed.feed(fed.commit(1), fed.commit(2))
    network = fed.network

    def asked(effects: list[fx.Effect]) -> int:
        wanted = Need(Kind.COMMIT, frozenset({1, 2}))
        data = encode(wanted, network.flip, 0)
        return sum(isinstance(e, fx.Send) and e.data == data for e in effects)

    stranger = encode(Bundle((fed.sign(Kind.ECHO, 1, b"\7" * 32),)), network.flip, 2)
    assert asked(fed.machine.received(fed.now, 2, stranger)) == 1
    later = fed.now + fed.schedule.delta_ms
    assert asked(fed.machine.tick(later)) == 1
    second = fed.commit(1, FlipSecrets(*[b"o" * 32] * 4))
    assert asked(fed.machine.received(later, 2, encode(Bundle((second,)), network.flip, 2))) == 0
    assert asked(fed.machine.tick(later + fed.schedule.delta_ms)) == 0


@pytest.mark.parametrize("magic", [hash_concat, xor_hash, xor])
def test_each_magic_gives_all_members_its_own_result(tools: Any, magic: Any) -> None:
    network = tools.Network(3)
    for member in network.members:
        member.boot(magic=magic)
    network.run()
    numbers = [member.secrets.x for member in network.members]
    root = network.members[0].machine.root
    expected = magic(network.flip.topic, root, numbers)
    assert network.outcomes() == [fx.Success(expected, root)] * 3
