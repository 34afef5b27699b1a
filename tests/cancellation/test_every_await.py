"""The tool itself: it comes to every await, and sees what is left."""

import pytest
import trio
from every_await import at_every_await, cancelled_after


async def test_it_comes_to_every_await_of_every_task() -> None:
    cancelled_in: set[str] = set()

    async def wait_in(place: str) -> None:
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            cancelled_in.add(place)
            raise

    async def scenario() -> None:
        await wait_in("before")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_in, "first child")
            nursery.start_soon(wait_in, "second child")
        await wait_in("after")

    await at_every_await(lambda steps: cancelled_after(steps, scenario))
    assert cancelled_in == {"before", "first child", "second child", "after"}


async def test_a_task_that_is_left_is_seen(nursery: trio.Nursery) -> None:
    async def scenario() -> None:
        nursery.start_soon(trio.sleep_forever)
        await trio.lowlevel.checkpoint()

    with pytest.raises(AssertionError, match="1 tasks left when cancelled after step 1"):
        await at_every_await(lambda steps: cancelled_after(steps, scenario))
    nursery.cancel_scope.cancel()
