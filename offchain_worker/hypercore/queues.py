"""A queue that is bounded by the weight of what waits in it, and that can end with an error."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class WeightedQueue(Generic[T]):
    """First in, first out; a single item may weigh more than the limit, but then waits alone.

    After `close` what is queued can still be taken; then `get` raises the error, as `put` does
    at once.
    """

    def __init__(self, limit: int) -> None:
        """Make an empty queue whose items together weigh at most `limit`."""
        self.weight = 0
        self._limit = limit
        self._items: deque[tuple[T, int]] = deque()
        self._error: Exception | None = None
        self._room = trio.lowlevel.ParkingLot()
        self._filled = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        return len(self._items)

    async def put(self, item: T, weight: int) -> None:
        """Wait for room, then append. Cancelled while waiting, nothing has been appended.

        It is a checkpoint only if it has to wait, as `get`: both are called for each message.

        Raises:
            Exception: the one given to `close`.
        """
        while self._error is None and self._items and self.weight + weight > self._limit:
            await self._room.park()
        self.put_nowait(item, weight)

    def put_nowait(self, item: T, weight: int) -> None:
        """Append without regard to the limit; the caller bounds how often that happens.

        Raises:
            Exception: the one given to `close`.
        """
        if self._error is not None:
            raise self._error
        self._items.append((item, weight))
        self.weight += weight
        if self._filled:
            self._filled.unpark_all()

    async def get(self) -> T:
        """Wait for an item and take it. Cancelled while waiting, nothing has been taken.

        Raises:
            Exception: the one given to `close`, when the queue is empty.
        """
        while not self._items:
            if self._error is not None:
                raise self._error
            await self._filled.park()
        return self.get_nowait()

    def get_nowait(self) -> T:
        """Take the first item of a queue that is not empty."""
        item, weight = self._items.popleft()
        self.weight -= weight
        if self._room:
            self._room.unpark_all()
        return item

    def close(self, error: Exception) -> None:
        """End the queue; the first error counts."""
        if self._error is None:
            self._error = error
            self._room.unpark_all()
            self._filled.unpark_all()
