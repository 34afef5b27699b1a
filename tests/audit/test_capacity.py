"""Many sessions of one worker: its sockets, its link, and the figures that must not suffer."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from audit_world import (
    HOSTER,
    START_MS,
    World,
    accepted,
    before_each_write,
    context_for,
    open_world,
)

from chain_types.report import Failure, Reason, Served
from offchain_worker.audit.capacity import ROOM, Capacity, Kind
from offchain_worker.audit.session import MomentMissed, Way, audit
from offchain_worker.coinflip.draws import SessionHabit
from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.arrival import StampedReader
from offchain_worker.hypercore.errors import WayOutFailed
from offchain_worker.hypercore.manifest import feed_key, single_signer_manifest
from offchain_worker.keys import KeyPair
from offchain_worker.measurement.session import Transfer, throughput
from offchain_worker.simulation.link import LinkShape, Schedule, carry
from offchain_worker.simulation.link import Way as Direction

LINK = 10e6


class Downlink:
    """One worker's link: whatever its sessions read goes over it."""

    def __init__(self, nursery: trio.Nursery, delay_s: float = 0.01) -> None:
        self.nursery = nursery
        self.ways = {
            Direction.UP: Schedule(LinkShape(delay_s), random.Random(1)),
            Direction.DOWN: Schedule(LinkShape(delay_s, LINK), random.Random(2)),
        }

    def dial(self, hoster: Hoster):
        async def dial() -> trio.abc.Stream:
            ours, near = trio.testing.memory_stream_pair()
            far, theirs = trio.testing.memory_stream_pair()
            self.nursery.start_soon(partial(carry, near, far, self.ways, precise=False))
            self.nursery.start_soon(hoster.serve_stream, theirs)
            return ours

        return dial


@pytest.fixture
def world(tmp_path: Path, nursery: trio.Nursery) -> Iterator[World]:
    with open_world(tmp_path, nursery) as world:
        yield world
        nursery.cancel_scope.cancel()


@pytest.fixture
def hoster(tmp_path: Path, nursery: trio.Nursery) -> Iterator[tuple[Hoster, World]]:
    """A hoster of 150 chunks of 16 KiB, and the world whose plans fit it."""
    with Library(tmp_path / "large") as library:
        author = KeyPair.from_seed(bytes([1]) * 32)
        manifest = single_signer_manifest(author.public)
        store = library.create(feed_key(manifest), manifest)
        append(store, [random.Random(n).randbytes(16_384) for n in range(150)], author)
        context, w = context_for(140, windowed=True)
        world = World(library, store, nursery, context, w, trio.current_time())
        yield Hoster(library, HOSTER, clock_ms=world.clock_ms), world
        nursery.cancel_scope.cancel()


async def flood(stream: trio.abc.SendStream) -> None:
    async with stream:
        while True:
            await stream.send_all(bytes(64 * 1024))


async def read_for(capacity: Capacity, kind: Kind, seconds: float) -> int:
    """What one session reads of a peer without end."""
    got = 0
    async with trio.open_nursery() as nursery:
        with capacity.seat(kind) as seat:
            ours, theirs = trio.testing.lockstep_stream_pair()

            async def dial() -> trio.abc.Stream:
                return ours

            stream = await seat.connect(dial)
            nursery.start_soon(flood, theirs)
            async with stream:
                until = trio.current_time() + seconds
                while (now := trio.current_time()) < until:
                    got += len(await stream.receive_some(64 * 1024))
                    if trio.current_time() == now:
                        # An endless peer takes no time by itself.
                        await trio.sleep(0.000_1)
            nursery.cancel_scope.cancel()
    return got


async def test_all_sessions_together_keep_the_limit(autojump_clock) -> None:
    capacity = Capacity(max_download=1e6)
    got = []

    async def one(kind: Kind) -> None:
        got.append(await read_for(capacity, kind, 10.0))

    async with trio.open_nursery() as nursery:
        for kind in (Kind.THROUGHPUT, Kind.THROUGHPUT, Kind.OBSERVED, Kind.OBSERVED):
            nursery.start_soon(one, kind)
    assert sum(got) == pytest.approx(10e6, rel=0.05)
    assert min(got) > 0.5 * max(got)
    assert capacity.counters["paused"] > 0


async def test_without_a_limit_nobody_pauses(autojump_clock) -> None:
    capacity = Capacity()
    assert await read_for(capacity, Kind.THROUGHPUT, 1.0) > 100e6
    assert capacity.counters["paused"] == 0


async def test_a_latency_never_pauses_and_gets_room(autojump_clock) -> None:
    capacity = Capacity(max_download=1e6)
    assert capacity.rate() == 1e6
    with capacity.seat(Kind.LATENCY) as seat:
        stream = await seat.connect(_memory)
        assert capacity.rate() == ROOM * 1e6
        assert await read_for(capacity, Kind.THROUGHPUT, 10.0) == pytest.approx(5e6, rel=0.1)
        await stream.aclose()
        assert seat.pauses == []
    assert capacity.rate() == 1e6


async def test_without_a_limit_room_is_of_the_most_that_was_seen(autojump_clock) -> None:
    capacity = Capacity()
    assert capacity.rate() is None
    for _ in range(31):
        await trio.sleep(0.1)
        capacity.took(200_000, trio.current_time())
    assert capacity.rate() is None
    with capacity.seat(Kind.LATENCY) as seat:
        async with await seat.connect(_memory):
            assert capacity.rate() == pytest.approx(ROOM * 2e6, rel=0.15)


async def _memory() -> trio.abc.Stream:
    return trio.testing.memory_stream_pair()[0]


async def test_sockets_are_counted_and_half_are_for_audits() -> None:
    capacity = Capacity(max_sockets=5)
    streams = []
    with capacity.seat(Kind.OBSERVED) as observed, capacity.seat(Kind.THROUGHPUT) as audited:
        streams += [await observed.connect(_memory) for _ in range(3)]
        with pytest.raises(WayOutFailed, match="3 sockets"):
            await observed.connect(_memory)
        streams += [await audited.connect(_memory) for _ in range(2)]
        with pytest.raises(WayOutFailed, match="5 sockets"):
            await audited.connect(_memory)
        assert capacity.counters["refused"] == 2
        for stream in streams:
            await stream.aclose()
            await stream.aclose()
        streams = [await observed.connect(_memory) for _ in range(3)]

        async def refused() -> trio.abc.Stream:
            raise ConnectionRefusedError(111, "Connection refused")

        for _ in range(10):
            with pytest.raises(ConnectionRefusedError):
                await audited.connect(refused)
        for stream in streams:
            await stream.aclose()


async def test_an_audit_without_a_socket_claims_nothing(autojump_clock, world) -> None:
    capacity = Capacity(max_sockets=2)
    with ExitStack() as seats:
        others = [seats.enter_context(capacity.seat(Kind.THROUGHPUT)) for _ in range(2)]
        held = [await other.connect(_memory) for other in others]
        with capacity.seat(Kind.THROUGHPUT) as seat:
            dial = partial(seat.connect, world.dial(world.hoster()))
            with pytest.raises(MomentMissed, match="sockets"):
                await audit(
                    world.plan(),
                    dial,
                    clock_ms=world.clock_ms,
                    choices=random.Random(1),
                    way=seat,
                )
        assert world.dialled == 0
        # It is tried again as long as the clock's tolerance allows.
        assert world.clock_ms() > world.plan().moment + 1_000
        for stream in held:
            await stream.aclose()


async def test_a_session_that_own_pauses_made_late_claims_nothing(autojump_clock, hoster) -> None:
    serving, world = hoster
    capacity = Capacity(max_download=20_000)
    with capacity.seat(Kind.THROUGHPUT, timeout_s=1.0) as seat:
        dial = partial(seat.connect, world.dial(serving))
        with pytest.raises(MomentMissed, match="own limits"):
            await audit(
                world.plan(), dial, clock_ms=world.clock_ms, choices=random.Random(1), way=seat
            )


@pytest.mark.parametrize(
    ("writes", "seconds"), [(1, 2.1), (2, 1.5), (3, 1.5)], ids=["handshake", "opening", "head"]
)
async def test_neither_does_one_that_they_made_late_at_its_start(
    autojump_clock, hoster, writes: int, seconds: float
) -> None:
    """Others have read so many seconds' worth before a write of the hoster's arrives."""
    serving, world = hoster
    capacity = Capacity(max_download=LINK)
    left = writes

    async def dial() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        world.nursery.start_soon(serving.serve_stream, theirs)

        async def others_read() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                capacity.took(int(seconds * LINK), trio.current_time())

        before_each_write(theirs, others_read)
        return ours

    seat = capacity.seat(Kind.THROUGHPUT, timeout_s=1.0)
    with seat, pytest.raises(MomentMissed, match="own limits"):
        await audit(
            world.plan(),
            partial(seat.connect, dial),
            clock_ms=world.clock_ms,
            choices=random.Random(1),
            way=seat,
        )


async def test_a_hosters_own_silence_is_still_its_failure(autojump_clock, world) -> None:
    async def silent() -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        world.nursery.start_soon(_swallow, theirs)
        return ours

    capacity = Capacity(max_download=1e6)
    with capacity.seat(Kind.THROUGHPUT, timeout_s=1.0) as seat:
        result = await audit(
            world.plan(),
            partial(seat.connect, silent),
            clock_ms=world.clock_ms,
            choices=random.Random(1),
            way=seat,
        )
    assert result.outcome == Failure(reason=Reason.WRONG_IDENTITY, demand=None)


async def _swallow(stream: trio.abc.ReceiveStream) -> None:
    async with stream:
        async for _ in stream:
            pass


async def test_the_ways_own_word_counts_too() -> None:
    class Broken(Way):
        async def prepare(self) -> None:
            raise WayOutFailed("no way")

        async def confirm(self) -> None:
            raise WayOutFailed("no way any more")

    with Capacity().seat(Kind.LATENCY, Broken()) as seat:
        with pytest.raises(WayOutFailed, match="no way"):
            await seat.prepare()
        with pytest.raises(WayOutFailed, match="any more"):
            await seat.confirm()


@pytest.mark.parametrize(
    "capacity", [Capacity(max_download=LINK), Capacity(), None], ids=["named", "learnt", "none"]
)
async def test_twenty_audits_at_once_over_one_link(autojump_clock, hoster, capacity) -> None:
    """19 with a full window, and one that measures a latency beside them.

    With the link's rate named, or learnt in the first second, the latency is that of an empty
    link. With nothing of the kind it begins with the queue that the others make. All are served.
    """
    serving, world = hoster
    downlink = Downlink(world.nursery)
    results = {}

    async def one(number: int) -> None:
        windowed = number > 0
        dial = downlink.dial(serving)
        plan = world.plan(
            audit_key=KeyPair.from_seed(bytes([100 + number]) * 32),
            habit=SessionHabit(windowed=windowed, multiple=1),
            chunk_timeout_ms=20_000,
            moment=START_MS + 1_000,
        )
        hold = partial(audit, plan, clock_ms=world.clock_ms, choices=random.Random(number))
        if capacity is None:
            results[number] = await hold(dial)
            return
        with capacity.seat(Kind.THROUGHPUT if windowed else Kind.LATENCY) as seat:
            results[number] = await hold(partial(seat.connect, dial), way=seat)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    for result in results.values():
        assert isinstance(result.outcome, Served), result.detail
    latency = results[0].outcome.metrics.latency_us
    empty_us = 2 * 10_000 + 1e6 * 16_384 / LINK
    if capacity is None:
        # A few samples take as long as all the others' sessions, and the rest finds nobody there.
        assert latency.max > 5 * empty_us
    else:
        assert latency.p50 < 1.1 * empty_us
        assert capacity.counters["paused"] > 0


async def test_figures_of_audits_that_paused_are_accepted(autojump_clock, hoster) -> None:
    serving, world = hoster
    with Capacity(max_download=1e6).seat(Kind.THROUGHPUT) as seat:
        result = await audit(
            world.plan(chunk_timeout_ms=20_000),
            partial(seat.connect, world.dial(serving)),
            clock_ms=world.clock_ms,
            choices=random.Random(1),
            way=seat,
        )
        assert seat.pauses
    assert accepted(world, result)


def test_a_pause_does_not_slow_a_hoster_down() -> None:
    before = [Transfer(0.0, 0.1 * n, 100) for n in range(1, 11)]
    after = [Transfer(0.0, 6.0 + 0.1 * n, 100) for n in range(11)]
    assert throughput(before + after) == 2_100 // 7
    assert throughput(before + after, [(1.0, 5.9)]) == 1_000
    # Short ones take a chunk and its time away, and change nothing.
    assert throughput(before, [(0.42, 0.43), (0.77, 0.78)]) == 1_000
    # Where there was always a pause, the figure is that of the own limits.
    assert throughput(before, [(0.1 * n, 0.1 * n + 0.05) for n in range(10)]) == 1_000


def test_pauses_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr("offchain_worker.audit.capacity.MAX_PAUSES", 3)
    seat = Capacity().seat(Kind.THROUGHPUT)
    for n in range(10):
        seat._note(float(n), n + 0.5)
    assert seat.pauses == [(0.0, 0.5), (1.0, 1.5), (2.0, 9.5)]


async def test_a_paced_stream_keeps_the_kernels_stamps() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        with Capacity().seat(Kind.THROUGHPUT) as seat:
            dial = partial(trio.open_tcp_stream, *listener.socket.getsockname())
            near = await seat.connect(dial)
            far = await listener.accept()
            async with near, far:
                reader = StampedReader(near)
                for _ in range(3):
                    await far.send_all(b"x")
                    await reader.read(100)
                    assert reader.arrived == near.arrived <= trio.current_time()
                await near.send_all(b"y")
                assert await far.receive_some() == b"y"
                await near.send_eof()
                assert await far.receive_some() == b""


@pytest.mark.parametrize("limits", [(1, None), (0, None), (64, 0.0), (64, -1.0)])
def test_limits_with_which_nothing_runs_are_refused(limits) -> None:
    with pytest.raises(ValueError, match=r"socket|bytes"):
        Capacity(*limits)
