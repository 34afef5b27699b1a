"""Connections on memory streams: handshake, channels, limits, ends and cancellation."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from hypercore_feeds import CLIENT, HOSTER

from offchain_worker.hypercore.connection import (
    MAX_MESSAGE_BYTES,
    QUEUE_BYTES,
    Channel,
    Connection,
    Offer,
    open_connection,
)
from offchain_worker.hypercore.encoding import blake2b_256
from offchain_worker.hypercore.errors import (
    ChannelClosed,
    ChannelRejected,
    Disconnected,
    HandshakeFailed,
    HypercoreError,
    ProtocolViolation,
    ReadTimeout,
    WrongIdentity,
)
from offchain_worker.hypercore.secret_stream import SecretStream, frame
from offchain_worker.keys import KeyPair


class Echo:
    """Accepts channels of one protocol and keeps them."""

    def __init__(self, connection: Connection, protocol: str = "echo") -> None:
        self.channels: list[Channel] = []
        self.accepted = trio.Event()
        connection.pair(protocol, None, self.on_offer)

    def on_offer(self, offer: Offer) -> None:
        self.channels.append(offer.accept(b"welcome " + offer.handshake))
        self.accepted.set()


@asynccontextmanager
async def connected(
    *, max_frame: int = 2**24 - 1
) -> AsyncIterator[tuple[Connection, Connection, Echo]]:
    """Two ends of a connection in one task; errors leave as they are."""
    near_stream, far_stream = trio.testing.memory_stream_pair()
    ends: list[Connection] = []
    echoes: list[Echo] = []
    ready, done = trio.Event(), trio.Event()
    failure: BaseException | None = None

    async def far() -> None:
        async with open_connection(
            far_stream, HOSTER, initiator=False, timeout=5, max_frame=max_frame
        ) as connection:
            ends.append(connection)
            echoes.append(Echo(connection))
            ready.set()
            await done.wait()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(far)
        try:
            async with open_connection(
                near_stream, CLIENT, initiator=True, timeout=5
            ) as connection:
                await ready.wait()
                yield connection, ends[0], echoes[0]
        except BaseException as error:
            failure = error
        done.set()
    if failure is not None:
        raise failure


async def send_until_broken(
    stream: trio.abc.Stream, data: Callable[[], bytes], pause: float = 0
) -> None:
    """Send again and again until the other side has closed."""
    while True:
        try:
            await stream.send_all(data())
        except trio.BrokenResourceError:
            return
        await trio.sleep(pause)


async def open_echo(connection: Connection, channel_id: bytes = b"") -> Channel:
    return await connection.open_channel("echo", channel_id, b"me", timeout=5)


async def test_what_both_sides_know() -> None:
    async with connected() as (near, far, _):
        assert near.remote_public_key == HOSTER.public
        assert far.remote_public_key == CLIENT.public
        assert near.handshake_hash == far.handshake_hash
        assert near.session_id == blake2b_256(near.handshake_hash) == far.session_id
        assert near.initiator
        assert not far.initiator
        assert near.opened_ms > 1_600_000_000_000
        assert near.bytes_out == far.bytes_in == 3 * 3 + 32 + 64 + 56
        assert near.bytes_in == far.bytes_out == 2 * 3 + 96 + 56


async def test_channels_carry_messages_both_ways() -> None:
    async with connected() as (near, _, echo):
        channel = await open_echo(near)
        assert channel.remote_handshake == b"welcome me"
        await channel.send(7, b"question")
        got = await echo.channels[0].receive()
        assert (got.type, got.body, got.batched) == (7, b"question", False)
        assert got.arrived <= trio.current_time()
        await echo.channels[0].send_batch([(1, b"a"), (2, b"b")])
        assert [(await channel.receive()).type for _ in range(2)] == [1, 2]


async def test_two_channels_and_their_end() -> None:
    async with connected() as (near, _, echo):
        one = await open_echo(near, b"1")
        two = await open_echo(near, b"2")
        await one.send(0, b"x")
        one.close()
        with pytest.raises(ChannelClosed):
            await one.send(0, b"y")
        far_one, far_two = echo.channels
        assert [incoming.body async for incoming in far_one] == [b"x"]
        assert isinstance(far_one.error, ChannelClosed)
        await far_two.send(0, b"still up")
        assert (await two.receive()).body == b"still up"
        again = await open_echo(near, b"1")
        assert again.error is None


async def test_unknown_channels_are_rejected() -> None:
    async with connected() as (near, far, _):
        with pytest.raises(ChannelRejected):
            await near.open_channel("nothing", b"", b"", timeout=5)
        far.unpair("echo", None)
        with pytest.raises(ChannelRejected):
            await open_echo(near)


async def test_a_handler_for_one_id() -> None:
    async with connected() as (near, far, echo):
        far.pair("echo", b"no", lambda _offer: None)
        with pytest.raises(ChannelRejected):
            await open_echo(near, b"no")
        await open_echo(near, b"yes")
        assert [channel.id for channel in echo.channels] == [b"yes"]


async def test_an_open_without_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    near_stream, far_stream = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def far() -> None:
            stream = SecretStream(initiator=False, keypair=HOSTER, ephemeral=KeyPair.generate())
            while data := await far_stream.receive_some():
                if not stream.opened:
                    stream.receive(data)
                    await far_stream.send_all(stream.data_to_send())

        nursery.start_soon(far)
        async with open_connection(near_stream, CLIENT, initiator=True, timeout=5) as near:
            with pytest.raises(ReadTimeout):
                await open_echo(near)
            with trio.move_on_after(1) as scope:
                await open_echo(near)
            assert scope.cancelled_caught


async def test_errors_and_results_of_the_body_leave_as_they_are() -> None:
    with pytest.raises(KeyError):
        async with connected():
            raise KeyError


# --- ends --------------------------------------------------------------------------------------


async def test_what_was_queued_is_written_before_a_normal_end() -> None:
    near_stream, far_stream = trio.testing.memory_stream_pair()
    got = []

    async def far() -> None:
        async with open_connection(far_stream, HOSTER, initiator=False, timeout=5) as connection:
            echo = Echo(connection)
            await echo.accepted.wait()
            got.extend([incoming.body async for incoming in echo.channels[0]])
            await connection.wait_closed()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(far)
        async with open_connection(near_stream, CLIENT, initiator=True, timeout=5) as near:
            channel = await open_echo(near)
            for i in range(50):
                await channel.send(0, bytes([i]) * 10_000)
    assert got == [bytes([i]) * 10_000 for i in range(50)]


async def test_the_end_reaches_everybody_who_waits() -> None:
    errors: list[Exception] = []
    async with connected() as (near, far, _):
        channel = await open_echo(near)

        async def wait() -> None:
            with pytest.raises(Disconnected) as caught:
                await channel.receive()
            errors.append(caught.value)

        async def wait_open() -> None:
            near_error = await near.wait_closed()
            errors.append(near_error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            nursery.start_soon(wait_open)
            await trio.testing.wait_all_tasks_blocked()
            far.close()
        with pytest.raises(Disconnected):
            await channel.send(0, b"")
        with pytest.raises(Disconnected):
            await open_echo(near, b"2")
    assert len(errors) == 2


async def test_a_reset_inside_a_frame() -> None:
    near_stream, far_stream = trio.testing.memory_stream_pair()

    async def far() -> None:
        stream = SecretStream(initiator=False, keypair=HOSTER, ephemeral=KeyPair.generate())
        while not stream.opened:
            stream.receive(await far_stream.receive_some())
            await far_stream.send_all(stream.data_to_send())
        await far_stream.send_all(stream.encrypt(b"\x05\x00body")[:-3])
        await far_stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(far)
        async with open_connection(near_stream, CLIENT, initiator=True, timeout=5) as near:
            error = await near.wait_closed()
            assert not isinstance(error, ProtocolViolation)


@pytest.mark.parametrize("wire", [b"\xff\xff\xff", b"\x11\x00\x00" + bytes(17)])
async def test_garbage_after_the_handshake(wire: bytes) -> None:
    near_stream, far_stream = trio.testing.memory_stream_pair()

    async def far() -> None:
        stream = SecretStream(initiator=False, keypair=HOSTER, ephemeral=KeyPair.generate())
        while not stream.opened:
            stream.receive(await far_stream.receive_some())
            await far_stream.send_all(stream.data_to_send())
        await far_stream.send_all(wire)
        assert await far_stream.receive_some() == b""

    async with trio.open_nursery() as nursery:
        nursery.start_soon(far)
        async with open_connection(
            near_stream, CLIENT, initiator=True, timeout=5, max_frame=70_000
        ) as near:
            assert isinstance(await near.wait_closed(), ProtocolViolation)


async def test_a_message_that_breaks_the_rules_ends_the_connection() -> None:
    async with connected() as (near, far, _):
        near._send_control(bytes([0, 2, 9]))
        assert isinstance(await far.wait_closed(), ProtocolViolation)


async def test_frames_above_the_own_limit() -> None:
    async with connected(max_frame=1000) as (near, far, _):
        channel = await open_echo(near)
        await channel.send(0, bytes(2000))
        assert isinstance(await far.wait_closed(), ProtocolViolation)


async def test_messages_that_fit_no_frame_are_not_begun() -> None:
    async with connected() as (near, _, echo):
        channel = await open_echo(near)
        with pytest.raises(ValueError, match="fit a frame"):
            await channel.send(0, bytes(2**24))
        await channel.send(0, bytes(MAX_MESSAGE_BYTES))
        assert len((await echo.channels[0].receive()).body) == MAX_MESSAGE_BYTES


async def test_what_was_read_while_the_connection_ended_is_not_taken() -> None:
    """To write may fail in the event loop's turn in which the peer's last words are read."""
    async with connected() as (near, far, echo):
        await open_echo(near)
        closing = far._mux.close(echo.channels[0]._channel)
        near.close()
        with pytest.raises(Disconnected):
            await near._take([closing], trio.current_time())


# --- limits ------------------------------------------------------------------------------------


async def test_sending_waits_for_a_peer_that_does_not_read() -> None:
    async with connected() as (near, _, echo):
        channel = await open_echo(near)
        sent = 0
        with trio.move_on_after(0.2) as scope:
            while True:
                await channel.send(0, bytes(50_000))
                sent += 50_000
        assert scope.cancelled_caught
        assert near._outgoing.weight <= QUEUE_BYTES
        assert echo.channels[0]._incoming.weight <= QUEUE_BYTES
        received = 0
        while received < sent:
            received += len((await echo.channels[0].receive()).body)
        assert received == sent


async def test_a_peer_that_never_reads_our_answers_is_cut_off() -> None:
    """It opens unknown channels for ever; the rejections may not pile up."""
    near_stream, far_stream = trio.testing.lockstep_stream_pair()

    async def far() -> None:
        stream = SecretStream(initiator=False, keypair=HOSTER, ephemeral=KeyPair.generate())
        while not stream.opened:
            stream.receive(await far_stream.receive_some())
            await far_stream.send_all(stream.data_to_send())
        opening = b"".join(stream.encrypt(bytes([0, 1, 1, 1, 65, 0])) for _ in range(1000))
        await send_until_broken(far_stream, lambda: opening)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(far)
        async with open_connection(near_stream, CLIENT, initiator=True, timeout=5) as near:
            error = await near.wait_closed()
            assert isinstance(error, ProtocolViolation)
            assert near._outgoing.weight <= 3 * QUEUE_BYTES


async def test_keep_alives_hold_a_quiet_connection(autojump_clock: trio.testing.MockClock) -> None:
    async with connected() as (near, far, _):
        before = far.bytes_in
        await trio.sleep(601)
        assert near.error is None
        assert far.error is None
        assert far.bytes_in - before == 120 * 20


async def test_a_peer_that_falls_silent(autojump_clock: trio.testing.MockClock) -> None:
    near_stream, far_stream = trio.testing.memory_stream_pair()

    async def far() -> None:
        stream = SecretStream(initiator=False, keypair=HOSTER, ephemeral=KeyPair.generate())
        while data := await far_stream.receive_some():
            if not stream.opened:
                stream.receive(data)
                await far_stream.send_all(stream.data_to_send())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(far)
        async with open_connection(
            near_stream, CLIENT, initiator=True, timeout=5, idle_timeout=30
        ) as near:
            began = trio.current_time()
            assert "nothing came" in str(await near.wait_closed())
            assert trio.current_time() - began == pytest.approx(30, abs=0.2)


async def test_a_peer_that_takes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    near_stream, far_stream = trio.testing.lockstep_stream_pair()

    async def far() -> None:
        stream = SecretStream(initiator=False, keypair=HOSTER, ephemeral=KeyPair.generate())
        while not stream.opened:
            stream.receive(await far_stream.receive_some())
            await far_stream.send_all(stream.data_to_send())
        await send_until_broken(far_stream, lambda: stream.encrypt(b""), pause=1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(far)
        async with open_connection(
            near_stream, CLIENT, initiator=True, timeout=5, idle_timeout=30
        ) as near:
            assert "took nothing" in str(await near.wait_closed())


# --- handshake ---------------------------------------------------------------------------------


@pytest.mark.parametrize("initiator", [True, False])
async def test_a_peer_that_closes_during_the_handshake(initiator: bool) -> None:
    near, far = trio.testing.memory_stream_pair()
    await far.aclose()
    with pytest.raises(HandshakeFailed):
        async with open_connection(near, CLIENT, initiator=initiator, timeout=5):
            pass


@pytest.mark.parametrize("initiator", [True, False])
async def test_a_peer_that_says_nothing(
    initiator: bool, autojump_clock: trio.testing.MockClock
) -> None:
    near, far = trio.testing.memory_stream_pair()
    began = trio.current_time()
    with pytest.raises(HandshakeFailed):
        async with open_connection(near, CLIENT, initiator=initiator, timeout=5):
            pass
    assert trio.current_time() - began == pytest.approx(5, abs=0.01)
    assert far is not None


async def test_a_peer_that_drips_bytes(autojump_clock: trio.testing.MockClock) -> None:
    near, far = trio.testing.memory_stream_pair()

    hello = iter(frame(KeyPair.generate().public))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_until_broken, far, lambda: bytes([next(hello)]), 0.3)
        with pytest.raises(HandshakeFailed):
            async with open_connection(near, CLIENT, initiator=False, timeout=5):
                pass


async def test_a_stranger_is_refused() -> None:
    near, far = trio.testing.memory_stream_pair()
    results = []

    async def dialler() -> None:
        # The dialling side is through before the other one has judged it.
        async with open_connection(far, CLIENT, initiator=True, timeout=5) as connection:
            results.append(await connection.wait_closed())

    async def guarded() -> None:
        with pytest.raises(HandshakeFailed):
            await dialler()
        results.append(None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(guarded)
        with pytest.raises(WrongIdentity):
            async with open_connection(
                near, HOSTER, initiator=False, timeout=5, accept=lambda key: key == HOSTER.public
            ):
                pass
    assert results == [None]


# --- cancellation ------------------------------------------------------------------------------


class CountingStream(trio.abc.Stream):
    """A stream that knows how many operations were begun, and whether it was closed."""

    def __init__(self, inner: trio.abc.Stream) -> None:
        self.inner = inner
        self.closed = False
        self.operations = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.operations += 1
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.operations += 1
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


@pytest.mark.parametrize("step", range(40))
async def test_cancellation_at_every_step_closes_the_stream(step: int) -> None:
    """Cancelled after any number of scheduler steps, nothing is left: the nursery ends."""
    near_stream, far_stream = trio.testing.memory_stream_pair()
    counting = CountingStream(near_stream)

    async def far() -> None:
        try:
            async with open_connection(far_stream, HOSTER, initiator=False, timeout=5) as it:
                echo = Echo(it)
                await echo.accepted.wait()
                async for incoming in echo.channels[0]:
                    await echo.channels[0].send(incoming.type, incoming.body)
        except HypercoreError:
            return

    async def near(scope: trio.CancelScope, nursery: trio.Nursery) -> None:
        with scope:
            async with open_connection(counting, CLIENT, initiator=True, timeout=5) as it:
                channel = await open_echo(it)
                while True:
                    await channel.send(0, bytes(1000))
                    await channel.receive()
        nursery.cancel_scope.cancel()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()
            nursery.start_soon(far)
            nursery.start_soon(near, scope, nursery)
            for _ in range(step):
                await trio.lowlevel.checkpoint()
            scope.cancel()
    assert counting.closed
    assert scope.cancelled_caught


async def test_a_cancelled_send_is_not_sent() -> None:
    async with connected() as (near, _, echo):
        channel = await open_echo(near)
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.lowlevel.checkpoint()
            await channel.send(0, b"never")
        await channel.send(0, b"now")
        assert (await echo.channels[0].receive()).body == b"now"
