"""An exchange with a hoster that breaks off after each of its bytes.

Recorded once; then the connection is reset, closed, or goes silent (half open) after 0, 1, 2 …
bytes of what the hoster sent. Each time the audit must name the reason that belongs to the step
it was in, within that step's time-out, and leave no task and no stream. The clock is a mock one,
so that a time-out can be compared exactly.
"""

import math
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest
import trio
import trio.testing
from audit_world import World, context_for, open_world

from chain_types.report import Failure, Reason, Served
from offchain_worker.audit.session import Audit
from offchain_worker.coinflip.draws import SessionHabit

VOUCHED = 4
STEP_S = 1.0
"""Of each step that waits for the hoster, as in the world's plan."""
START_S = 0.1
"""More than the pauses that a reader makes at a new head."""


class Break(Enum):
    """How a connection ends."""

    RESET = "reset"
    CLOSE = "close"
    SILENCE = "silence"


class Stage(Enum):
    """What the session waits for when the next byte does not come."""

    HANDSHAKE = "handshake"
    OPENING = "opening"
    HEAD = "head"
    CHUNK = "chunk"
    RECEIPT = "receipt"


@dataclass
class Cut(trio.abc.Stream):
    """The client's end of a stream that gives only so many bytes.

    Attributes:
        frames: lengths of the frames that came, headers included.
    """

    inner: trio.abc.Stream
    limit: float
    how: Break
    closed: bool = False
    frames: list[int] = field(default_factory=list)
    taken: int = 0
    _buffer: bytearray = field(default_factory=bytearray)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.taken >= self.limit:
            return await self._break()
        data = await self.inner.receive_some(min(max_bytes or math.inf, self.limit - self.taken))
        self.taken += len(data)
        self._buffer += data
        while len(self._buffer) >= 3:
            length = 3 + int.from_bytes(self._buffer[:3], "little")
            if len(self._buffer) < length:
                break
            self.frames.append(length)
            del self._buffer[:length]
        return data

    async def _break(self) -> bytes:
        if self.how is Break.RESET:
            raise trio.BrokenResourceError
        if self.how is Break.SILENCE:
            await trio.sleep_forever()
        return b""

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


@dataclass
class Run:
    """One audit over a connection that breaks."""

    stream: Cut
    result: Audit
    seconds: float


async def run(world: World, limit: float, how: Break) -> Run:
    streams: list[Cut] = []
    honest = world.dial(world.hoster())

    async def dial() -> trio.abc.Stream:
        streams.append(Cut(await honest(), limit, how))
        return streams[-1]

    tasks = trio.lowlevel.current_statistics().tasks_living
    world.dial = lambda _hoster: dial  # type: ignore[method-assign]
    moment = world.clock_ms() + 1_000
    try:
        # Not made again: the first connection's reason is what is looked for.
        result = await world.audit(
            world.hosters[-1],
            clock_tolerance_ms=0,
            habit=SessionHabit(windowed=False, multiple=1),
            moment=moment,
            end_ms=moment + 60_000,
        )
    finally:
        del world.dial
    seconds = (world.clock_ms() - moment) / 1_000
    [stream] = streams
    assert stream.closed
    # The hoster's tasks end as soon as they see the end of the connection.
    await trio.testing.wait_all_tasks_blocked()
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    return Run(stream, result, seconds)


REASONS = {
    Stage.HANDSHAKE: (Reason.WRONG_IDENTITY, Reason.WRONG_IDENTITY),
    Stage.OPENING: (Reason.NO_DATA, Reason.NOT_HOSTED),
    Stage.HEAD: (Reason.NO_DATA, Reason.NOT_HOSTED),
    Stage.CHUNK: (Reason.NO_DATA, Reason.TIMEOUT),
    Stage.RECEIPT: (Reason.NO_RECEIPT, Reason.NO_RECEIPT),
}
"""When the connection ends, and when it goes silent."""


def stage_of(limit: int, frames: list[int], result: Audit) -> Stage:
    """What a session that got `limit` bytes waits for.

    The first three frames, Noise, header and opening, always come in this order; what follows
    depends on which task runs first, so the session tells how far it came.
    """
    if limit < frames[0] + frames[1]:
        return Stage.HANDSHAKE
    if limit < sum(frames[:3]):
        return Stage.OPENING
    if result.opened_ms is None:
        return Stage.HEAD
    return Stage.CHUNK if result.chunks < VOUCHED else Stage.RECEIPT


@pytest.fixture
def small_world(tmp_path: Path, nursery):
    with open_world(tmp_path, nursery, vouched=VOUCHED, unvouched=0) as world:
        world.context, world.w = context_for(VOUCHED, windowed=False)
        yield world
        assert not any(hoster.counters["crashes"] for hoster in world.hosters)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("how", Break)
async def test_each_byte_that_is_the_last(autojump_clock, small_world: World, how: Break) -> None:
    whole = await run(small_world, math.inf, how)
    assert isinstance(whole.result.outcome, Served), whole.result.detail
    frames = whole.stream.frames
    seen = set()
    for limit in range(whole.stream.taken):
        broken = await run(small_world, limit, how)
        stage = stage_of(limit, frames, broken.result)
        seen.add(stage)
        ended, silent = REASONS[stage]
        expected = silent if how is Break.SILENCE else ended
        where = f"{how.value} after {limit} bytes, {stage.value}: {broken.result.detail}"
        assert broken.result.outcome == Failure(reason=expected, demand=None), where
        if how is Break.SILENCE:
            assert broken.seconds == pytest.approx(STEP_S, abs=START_S), where
        else:
            assert broken.seconds < START_S, where
    assert seen == set(Stage)
