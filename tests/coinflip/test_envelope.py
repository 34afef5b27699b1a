"""Bytes of peers: what is read comes back the same, all else is refused with one error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.coinflip.envelope import (
    BUNDLE_PER_MEMBER,
    MAX_BULK_BYTES,
    MAX_EVIDENCE_BYTES,
    BulkData,
    BulkRequest,
    Bundle,
    EnvelopeError,
    EvidenceMessage,
    Hello,
    Kind,
    Need,
    Ping,
    Pong,
    SignedEnvelope,
    bundles,
    decode,
    encode,
)
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.coinflip.schedule import Schedule, Timing
from offchain_worker.coinflip.topic import MAX_ROSTER, Flip, RosterError
from offchain_worker.keys import KeyPair

PAIRS = sorted(
    (KeyPair.from_seed(bytes([i]) * 32) for i in range(11)), key=lambda pair: pair.public
)
FLIP = Flip(bytes(32), 7, bytes(32), 0, tuple(pair.public for pair in PAIRS))


def signed(kind: Kind = Kind.COMMIT, index: int = 3) -> SignedEnvelope:
    body = bytes(32 if kind is Kind.ECHO else 64)
    return SignedEnvelope.sign(kind, FLIP.topic, index, body, PAIRS[index])


MESSAGES: list[Any] = [
    signed(Kind.COMMIT),
    signed(Kind.ECHO, 10),
    signed(Kind.REVEAL, 0),
    Hello(5, b"d" * 32),
    Need(Kind.ECHO, frozenset({0, 7, 8, 10})),
    Bundle((signed(Kind.COMMIT), signed(Kind.ECHO), signed(Kind.REVEAL))),
    EvidenceMessage(b"proof"),
    Ping(b"n" * 16, b"c" * 32),
    Pong(b"n" * 16, b"c" * 32),
    BulkRequest(MAX_BULK_BYTES),
    BulkData(b"b" * 65_536),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_messages_come_back(message: Any) -> None:
    data = encode(message, FLIP, 4)
    assert decode(data, FLIP, 4) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_truncated_and_extended_messages_are_refused(message: Any) -> None:
    data = encode(message, FLIP, 4)
    variable = isinstance(message, EvidenceMessage | BulkData)
    for cut in range(0, len(data), 1 + len(data) // 300):
        if not (variable and cut > 35):
            with pytest.raises(EnvelopeError):
                decode(data[:cut], FLIP, 4)
    if not isinstance(message, EvidenceMessage):
        with pytest.raises(EnvelopeError):
            decode(data + b"\0", FLIP, 4)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "length"),
        (bytes([4]) + FLIP.topic + b"\0\0", "kind"),
        (bytes([1]) + bytes(32) + b"\0\0" + bytes(128), "topic"),
        (bytes([1]) + FLIP.topic + b"\x0b\0" + bytes(128), "index"),
        (encode(Ping(bytes(16), bytes(32)), FLIP, 5), "sender"),
        (bytes([16]) + FLIP.topic + b"\4\0" + b"\1\0\0", "bitmap"),
        (bytes([16]) + FLIP.topic + b"\4\0" + b"\1\0\x08", "bitmap"),
        (bytes([16]) + FLIP.topic + b"\4\0" + b"\0\1\0", "kind"),
        (bytes([17]) + FLIP.topic + b"\4\0" + b"\0\0", "count"),
        (bytes([17]) + FLIP.topic + b"\4\0" + b"\xff\xff", "count"),
        (bytes([17]) + FLIP.topic + b"\4\0" + b"\1\0" + b"\x20", "kind"),
        (bytes([18]) + FLIP.topic + b"\4\0" + bytes(MAX_EVIDENCE_BYTES + 1), "length"),
        (bytes([34]) + FLIP.topic + b"\4\0" + bytes(4), "bulk size"),
        (bytes([34]) + FLIP.topic + b"\4\0" + (MAX_BULK_BYTES + 1).to_bytes(4, "little"),
         "bulk size"),
        (bytes([35]) + FLIP.topic + b"\4\0", "length"),
        (bytes([35]) + FLIP.topic + b"\4\0" + bytes(65_537), "length"),
    ],
)  # fmt: skip
def test_each_refusal_has_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(EnvelopeError) as caught:
        decode(data, FLIP, 4)
    assert caught.value.reason == reason


def test_a_bundle_holds_signed_envelopes_of_this_topic_only() -> None:
    other = Flip(bytes(32), 8, bytes(32), 0, FLIP.roster)
    stray = SignedEnvelope.sign(Kind.COMMIT, other.topic, 3, bytes(64), PAIRS[3])
    with pytest.raises(EnvelopeError, match="topic"):
        decode(encode(Bundle((signed(), stray)), FLIP, 4), FLIP, 4)


def test_too_much_for_one_bundle_is_split() -> None:
    many = [signed()] * (BUNDLE_PER_MEMBER * FLIP.size + 1)
    parts = list(bundles(many, FLIP))
    assert [len(part.envelopes) for part in parts] == [BUNDLE_PER_MEMBER * FLIP.size, 1]
    with pytest.raises(ValueError, match="too many"):
        encode(Bundle(tuple(many)), FLIP, 4)


def test_equality_ignores_the_signature_and_representations_are_short() -> None:
    one = signed()
    other = SignedEnvelope(one.kind, one.topic, one.index, one.body, one.raw[:-64] + bytes(64))
    assert one == other
    assert hash(one) == hash(other)
    assert one != signed(index=2)
    assert len(repr(one)) < 60


def test_only_the_makers_key_verifies() -> None:
    envelope = signed(index=3)
    assert [envelope.is_signed_by(pair.public) for pair in PAIRS].index(True) == 3
    with pytest.raises(ValueError, match="no signed"):
        SignedEnvelope.sign(Kind.COMMIT, FLIP.topic, 0, bytes(32), PAIRS[0])
    with pytest.raises(ValueError, match="no signed"):
        SignedEnvelope.sign(Kind.PING, FLIP.topic, 0, bytes(48), PAIRS[0])


def test_row_14_rosters_that_all_refuse_alike() -> None:
    good = FLIP.roster
    for bad in (
        (),
        good[::-1],
        (good[0], good[0]),
        (bytes(32), *good),
        (b"\1" + bytes(31), *good),
        tuple(sorted((b"\xff" * 32, *good))),
        (b"short", *good),
    ):
        with pytest.raises(RosterError):
            Flip(bytes(32), 7, bytes(32), 0, bad)
    many = sorted(KeyPair.from_seed(bytes([9, i]) * 16).public for i in range(MAX_ROSTER + 1))
    assert Flip(bytes(32), 7, bytes(32), 0, tuple(many[1:])).size == MAX_ROSTER
    with pytest.raises(RosterError):
        Flip(bytes(32), 7, bytes(32), 0, tuple(many))
    with pytest.raises(RosterError):
        Flip(bytes(31), 7, bytes(32), 0, good)


@given(st.binary(max_size=400))
def test_garbage_is_refused_or_means_itself(data: bytes) -> None:
    try:
        message = decode(data, FLIP, 4)
    except EnvelopeError:
        return
    assert encode(message, FLIP, 4) == data


HEADERS = st.builds(
    lambda kind, index: bytes([kind]) + FLIP.topic + index.to_bytes(2, "little"),
    st.sampled_from([*Kind, 5, 255]),
    st.integers(0, 12),
)
BODIES = st.one_of(
    st.binary(max_size=300),
    st.integers(1, 40).map(lambda n: n.to_bytes(2, "little") + signed().raw * n),
    st.sampled_from(MESSAGES).map(lambda m: encode(m, FLIP, 4)[35:]),
)


@given(st.builds(lambda header, body: header + body, HEADERS, BODIES))
def test_nearly_right_bytes_are_refused_or_mean_themselves(data: bytes) -> None:
    test_garbage_is_refused_or_means_itself.hypothesis.inner_test(data)  # type: ignore[attr-defined]


@given(
    st.lists(
        st.builds(
            lambda peer, header, body: (peer, header + body), st.integers(0, 10), HEADERS, BODIES
        ),
        max_size=30,
    )
)
def test_a_machine_takes_anything(messages: list[tuple[int, bytes]]) -> None:
    timing = Timing(block_ms=500, join_ms=1_500, delta_ms=200, finality_ms=0, flip_ms=5_000)
    schedule = Schedule.first(timing, 0)
    machine = CoinflipMachine(FLIP, PAIRS[2], FlipSecrets(*[b"s" * 32] * 4), schedule)
    machine.start(0)
    for peer in range(FLIP.size):
        if peer != 2:
            machine.connected(0, peer)
    for now, (peer, data) in enumerate(messages):
        if peer != 2:
            machine.received(now, peer, data)
    machine.tick(schedule.reveal_end_ms)
    assert machine.outcome is not None
    assert all(evidence.offender != 2 for evidence in machine.evidence.values())
