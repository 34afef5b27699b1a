"""The testnet's chain on validators: `datdot-node` processes, Aura and GRANDPA.

The validators have the well-known session keys of //Alice, //Bob and //Charlie, which are no
secrets; each has a node key of its own in a file. They find each other through the chain's
specification, which is the node's own `local` one with this testnet's genesis merged into it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import msgspec
import trio

from offchain_worker.chain.heads import Heads
from offchain_worker.chain.rpc import Limits, open_rpc
from offchain_worker.errors import OperationError, UsageError
from offchain_worker.testnet.layout import HOST, Layout
from offchain_worker.testnet.processes import Child, Processes

SESSION_KEYS = ("--alice", "--bob", "--charlie")
VOTING_LAG_BLOCKS = 3
"""GRANDPA votes for the block two before the best one, and a round begins with a block."""
ROUNDS_MS = 2_000
"""Two rounds of votes, on a busy machine."""
START_SECONDS = 60.0
COMMAND_SECONDS = 30.0
MAX_SPEC_BYTES = 64 * 1024 * 1024


def finality_ms(block_ms: int) -> int:
    """How long a block takes to be final, at most, as long as all validators take part."""
    return VOTING_LAG_BLOCKS * block_ms + ROUNDS_MS


class NativeChain:
    """The validators of one testnet.

    Args:
        node: the program `datdot-node`.
        layout: the testnet's folder, made for validators.
    """

    def __init__(self, node: Path, layout: Layout) -> None:
        self._node = node
        self._layout = layout

    def make(self, genesis: dict[str, Any]) -> None:
        """Make node keys and the chain's specification; a second start finds them made.

        Args:
            genesis: merged into that of the node's `local` chain.

        Raises:
            OperationError: the node refused, or printed no specification.
        """
        peers = [self._peer(name) for name in self._layout.validators]
        file = self._layout.chain_spec
        if file.exists():
            return
        try:
            spec = msgspec.json.decode(self._ask("export-chain-spec", "--chain", "local"))
            spec["bootNodes"] = [
                f"/ip4/{HOST}/tcp/{ports.p2p}/p2p/{peer}"
                for ports, peer in zip(self._layout.validators.values(), peers, strict=True)
            ]
            # A patch of JSON values: an object is merged, anything else is replaced.
            target = spec["genesis"]["runtimeGenesis"]["patch"]
            for section, values in genesis.items():
                target[section] = {**target.get(section, {}), **values}
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise OperationError(f"{self._node} printed no chain specification.") from error
        made = file.with_suffix(".new")
        made.write_bytes(msgspec.json.encode(spec))
        made.rename(file)

    def _peer(self, name: str) -> str:
        """The peer id of a validator, whose node key is made if it is missing."""
        file = self._layout.root / name / "node.key"
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            self._ask("key", "generate-node-key", "--file", str(file))
            file.chmod(0o600)
        return self._ask("key", "inspect-node-key", "--file", str(file)).decode().strip()

    def _ask(self, *arguments: str) -> bytes:
        """What the node prints."""
        try:
            done = subprocess.run(  # noqa: S603 - the program that the user named
                [self._node, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=True,
                timeout=COMMAND_SECONDS,
            )
        except OSError as error:
            raise UsageError(
                f"The node {self._node} cannot be run ({error.strerror}); "
                "`make native-node` builds it."
            ) from error
        except subprocess.SubprocessError as error:
            raise OperationError(f"The node cannot {' '.join(arguments[:2])}: {error}.") from error
        if len(done.stdout) > MAX_SPEC_BYTES:
            raise OperationError(f"{self._node} printed more than {MAX_SPEC_BYTES} bytes.")
        return done.stdout

    async def start(self, processes: Processes, name: str) -> Child:
        """Start a validator's process, again if need be.

        Raises:
            OSError: the process cannot be started.
        """
        number = list(self._layout.validators).index(name)
        ports, folder = self._layout.validators[name], self._layout.root / name
        arguments = [
            *("--chain", str(self._layout.chain_spec), "--base-path", str(folder)),
            *("--name", name, SESSION_KEYS[number]),
            *("--node-key-file", str(folder / "node.key")),
            *("--listen-addr", f"/ip4/{HOST}/tcp/{ports.p2p}", "--no-mdns"),
            *("--rpc-port", str(ports.rpc), "--no-prometheus", "--no-telemetry"),
            # Histories are read back to their challenge's first block.
            *("--state-pruning", "archive", "--blocks-pruning", "archive"),
        ]
        return await processes.start(name, arguments, (str(self._node),))

    async def started(self) -> None:
        """Wait until each validator tells of a finalized block.

        Raises:
            OperationError: that takes too long.
        """
        with trio.move_on_after(START_SECONDS) as waiting:
            async with trio.open_nursery() as nursery:
                for ports in self._layout.validators.values():
                    nursery.start_soon(_await_finality, f"ws://{HOST}:{ports.rpc}")
        if waiting.cancelled_caught:
            raise OperationError(f"The chain did not start; see {self._layout.logs}.")


async def _await_finality(url: str) -> None:
    async with open_rpc(url, Limits(timeout=2 * START_SECONDS, retry_most=0.5)) as rpc:
        heads = Heads(rpc)
        async for head in heads:
            if head.number > 0:
                break
        heads.close()
