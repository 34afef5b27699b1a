"""A listener without sockets."""

from __future__ import annotations

import math

import trio


class MemoryListener(trio.abc.Listener[trio.abc.Stream]):
    """Takes the connections that are pushed to it.

    Closed, it closes those too that nobody has accepted, as the system does.
    """

    def __init__(self) -> None:
        self.push, self._incoming = trio.open_memory_channel[trio.abc.Stream](math.inf)

    async def accept(self) -> trio.abc.Stream:
        return await self._incoming.receive()

    async def aclose(self) -> None:
        self.push.close()
        waiting = []
        try:
            while True:
                waiting.append(self._incoming.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
            pass
        self._incoming.close()
        for stream in waiting:
            await trio.aclose_forcefully(stream)
        await trio.lowlevel.checkpoint()
