"""Roads between validators that a test can cut, and no other way from one to another.

Each validator connects to another one at a port of a relay, one for each direction. It is given
these addresses alone: a program in front of the node takes the boot nodes out of the chain's
specification, and names the relays as reserved nodes. The specification is no longer that of a
`Local` chain either, as nodes of such chains tell each other under which private addresses they
listen. They do tell each other of the relays; so, as long as a road is cut, none takes anybody new.
And each makes blocks even if it sees no other one (`--force-authoring`), so that the chain forks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from offchain_worker.testnet.layout import HOST, VALIDATORS, Layout

NAMES = [f"validator-{n}" for n in range(1, VALIDATORS + 1)]

PROGRAM = """#!{python}
import json, os, pathlib, sys

arguments = sys.argv[1:]
if "--name" in arguments:
    place = arguments.index("--chain") + 1
    path = pathlib.Path(arguments[place])
    ports = json.loads({ports!r})[arguments[arguments.index("--name") + 1]]
    spec = json.loads(path.read_text())
    for node, port in zip(spec["bootNodes"], ports, strict=True):
        if port is not None:
            peer = node.rpartition("/")[2]
            arguments += ["--reserved-nodes", f"/ip4/{host}/tcp/{{port}}/p2p/{{peer}}"]
    spec["bootNodes"], spec["chainType"] = [], "Live"
    path = path.with_name(f"spec-{{os.getpid()}}.json")
    path.write_text(json.dumps(spec))
    arguments[place] = str(path)
    arguments += ["--reserved-only", "--allow-private-ip", "--force-authoring"]
os.execv({node!r}, [{node!r}, *arguments])
"""


@dataclass
class Road:
    """One direction between two validators.

    Attributes:
        listener: who connects to it gets to `target`, a port, unless the road is closed.
    """

    listener: trio.SocketListener
    target: int = 0
    is_closed: bool = False
    _used: set[trio.CancelScope] = field(default_factory=set)

    @property
    def port(self) -> int:
        """Where the road begins."""
        port: int = self.listener.socket.getsockname()[1]
        return port

    def end_connections(self) -> None:
        """End all that are there."""
        for scope in self._used:
            scope.cancel()

    async def connect(self, stream: trio.SocketStream) -> None:
        """Serve one connection until a side ends it or this road is cut."""
        async with stream:
            if self.is_closed:
                return
            with trio.CancelScope() as scope:
                self._used.add(scope)
                try:
                    await self._carry(stream)
                finally:
                    self._used.discard(scope)

    async def _carry(self, stream: trio.SocketStream) -> None:
        try:
            other = await trio.open_tcp_stream(HOST, self.target)
        except OSError:
            return  # the validator is not there
        async with other, trio.open_nursery() as nursery:
            nursery.start_soon(_copy, stream, other, nursery.cancel_scope)
            nursery.start_soon(_copy, other, stream, nursery.cancel_scope)


async def _copy(source: trio.SocketStream, sink: trio.SocketStream, end: trio.CancelScope) -> None:
    """Until a side is done; then the other direction ends too."""
    with suppress(trio.BrokenResourceError):
        async for data in source:
            await sink.send_all(data)
    end.cancel()


@dataclass
class Roads:
    """All of them, by who connects and to whom."""

    ways: dict[tuple[str, str], Road]

    def lead(self, layout: Layout) -> None:
        """Let them lead to the validators of this testnet."""
        for (_, to), road in self.ways.items():
            road.target = layout.validators[to].p2p

    def cut_off(self, *names: str) -> None:
        """Leave these validators no road to any other."""
        for ends, road in self.ways.items():
            road.is_closed = True
            if not set(names).isdisjoint(ends):
                road.end_connections()

    def heal(self) -> None:
        """Open all roads again."""
        for road in self.ways.values():
            road.is_closed = False

    def program(self, node: Path, folder: Path) -> Path:
        """Makes a program that runs `node` so that it takes these roads."""
        ports = {
            name: [self.ways[name, to].port if to != name else None for to in NAMES]
            for name in NAMES
        }
        path = folder / "node-on-roads"
        path.write_text(
            PROGRAM.format(
                python=sys.executable, ports=json.dumps(ports), host=HOST, node=str(node)
            )
        )
        path.chmod(0o700)
        return path


@asynccontextmanager
async def open_roads() -> AsyncIterator[Roads]:
    """Open a road for each direction; they lead nowhere before `Roads.lead`."""
    async with trio.open_nursery() as nursery:
        ways = {}
        for name in NAMES:
            for to in NAMES:
                if to != name:
                    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
                    road = ways[name, to] = Road(listener)
                    nursery.start_soon(trio.serve_listeners, road.connect, [listener])
        yield Roads(ways)
        nursery.cancel_scope.cancel()
