from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.hypercore.encoding import encode_uint
from offchain_worker.hypercore.errors import HypercoreError, ProtocolViolation
from offchain_worker.hypercore.protomux import (
    MAX_CHANNELS,
    Closed,
    Event,
    Message,
    Mux,
    Opened,
    Opening,
    Rejected,
    State,
    encode_batch,
    encode_message,
)


def first(events: Iterable[Event]) -> Event:
    return next(iter(events))


def take(mux: Mux, plaintext: bytes, *, accept: bool = True) -> tuple[list[Event], bytes]:
    """All events of a plaintext, with openings answered; and the answers."""
    events, answers = [], b""
    for event in mux.receive(plaintext):
        if isinstance(event, Opening):
            answers += mux.accept(event, b"hi")[1] if accept else mux.reject(event)
        events.append(event)
    return events, answers


def connected() -> tuple[Mux, Mux]:
    near, far = Mux(), Mux()
    _, opening = near.open("p", b"id", b"hello")
    _, answer = take(far, opening)
    take(near, answer)
    return near, far


def body(event: Event) -> bytes:
    assert isinstance(event, Message)
    return event.frame[event.offset :]


def test_open_accept_and_talk() -> None:
    near, far = Mux(), Mux()
    channel, opening = near.open("p", b"id", b"hello")
    assert channel.state is State.OPENING
    [event], answer = take(far, opening)
    assert event == Opening(1, "p", b"id", b"hello")
    [up], _ = take(near, answer)
    assert isinstance(up, Opened)
    assert channel.state is State.OPEN
    assert channel.remote_handshake == b"hi"
    [message], _ = take(far, encode_message(1, 300, b"body"))
    assert isinstance(message, Message)
    assert (message.type, body(message), message.batched) == (300, b"body", False)


def test_both_open_at_once() -> None:
    near, far = Mux(), Mux()
    _, a = near.open("p", b"", b"a")
    _, b = far.open("p", b"", b"b")
    assert isinstance(first(near.receive(b)), Opened)
    assert isinstance(first(far.receive(a)), Opened)


def test_batches() -> None:
    _, far = connected()
    events, _ = take(far, encode_batch(1, [(0, b"x"), (5, b""), (1, b"z")]))
    assert [(e.type, body(e), e.batched) for e in events if isinstance(e, Message)] == [
        (0, b"x", True),
        (5, b"", True),
        (1, b"z", True),
    ]
    [alone], _ = take(far, encode_batch(1, [(0, b"x")]))
    assert isinstance(alone, Message)
    assert not alone.batched


def test_a_batch_changes_channels_and_opens_them() -> None:
    near, far = connected()
    _, opening = near.open("q", b"", b"")
    control = opening[1:]
    batch = bytes([0, 0, 0, len(control)]) + control + bytes([0, 2, 2, 7, 8, 0, 1, 2, 9, 9])
    events, _ = take(far, batch)
    assert isinstance(events[0], Opening)
    assert [(e.channel.protocol, e.type) for e in events[1:] if isinstance(e, Message)] == [
        ("q", 7),
        ("p", 9),
    ]


def test_a_batch_in_a_batch_is_refused() -> None:
    _, far = connected()
    with pytest.raises(ProtocolViolation):
        take(far, bytes([0, 0, 0, 2, 0, 1]))


def test_reject() -> None:
    near, far = Mux(), Mux()
    channel, opening = near.open("p", b"id", b"")
    _, answer = take(far, opening, accept=False)
    assert answer == bytes([0, 2, 1])
    [event], _ = take(near, answer)
    assert event == Rejected(channel)
    again, _ = near.open("p", b"id", b"")
    assert again.local_id == 1


def test_close_and_reuse_of_ids() -> None:
    near, far = connected()
    channel = next(iter(near._local.values()))
    closing = near.close(channel)
    assert closing == bytes([0, 3, 1])
    assert near.close(channel) == b""
    [event], _ = take(far, closing)
    assert isinstance(event, Closed)
    assert take(far, encode_message(1, 0, b"late"))[0] == []
    reopened, opening = near.open("p", b"id", b"")
    assert reopened.local_id == 1
    [event], _ = take(far, opening)
    assert isinstance(event, Opening)


def test_closed_before_the_answer() -> None:
    """The open and the close cross with the peer's open; both ends finish without a channel."""
    near, far = Mux(), Mux()
    channel, opening = near.open("p", b"id", b"")
    closing = near.close(channel)
    events, answer = take(far, opening)
    assert isinstance(events[0], Opening)
    assert take(near, answer)[0] == []
    assert isinstance(take(far, closing)[0][0], Closed)
    assert near.open("p", b"id", b"")[0].local_id == 1


def test_rejected_after_it_was_closed() -> None:
    near, far = Mux(), Mux()
    channel, opening = near.open("p", b"id", b"")
    near.close(channel)
    _, answer = take(far, opening, accept=False)
    assert take(near, answer)[0] == []
    assert near._free == [1]


def test_one_channel_of_a_name_at_a_time() -> None:
    near, _ = connected()
    with pytest.raises(ValueError, match="open already"):
        near.open("p", b"id", b"")


@pytest.mark.parametrize(
    "plaintext",
    [
        bytes([0, 1, 0]) + b"\x01q\x00",
        bytes([0, 1, 1]) + b"\x01q\x00",
        bytes([0, 1, 3]) + b"\x01q\x00",
        bytes([0, 2, 1]),
        bytes([0, 2, 9]),
        bytes([0, 1, 2]) + b"\x05q",
        b"",
        bytes([0]),
        bytes([0, 0]),
        bytes([0, 0, 1, 9, 0]),
    ],
)
def test_what_breaks_the_rules_is_refused(plaintext: bytes) -> None:
    _, far = connected()
    with pytest.raises(HypercoreError):
        take(far, plaintext)


def test_unknown_channels_control_types_and_closes_are_ignored() -> None:
    _, far = connected()
    for plaintext in (encode_message(7, 0, b""), bytes([0, 9]), bytes([0, 3, 7]), bytes([0, 3, 0])):
        assert take(far, plaintext)[0] == []


def test_the_number_of_channels_is_bounded() -> None:
    mux = Mux()
    for i in range(1, MAX_CHANNELS + 1):
        take(mux, bytes([0, 1]) + encode_uint(i) + b"\x01p\x04" + i.to_bytes(4, "little"))
    with pytest.raises(ProtocolViolation):
        take(mux, b"\x00\x01\xfd" + (MAX_CHANNELS + 1).to_bytes(2, "little") + b"\x01q\x00")


def test_an_opening_must_be_answered() -> None:
    _, opening = Mux().open("p", b"", b"")
    with pytest.raises(RuntimeError):
        list(Mux().receive(opening))


@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans())
def test_only_own_errors_leave(plaintexts: list[bytes], accept: bool) -> None:
    _, far = connected()
    try:
        for plaintext in plaintexts:
            take(far, plaintext, accept=accept)
    except HypercoreError:
        return
