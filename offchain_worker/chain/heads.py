"""Finalized blocks, one after the other and without gaps.

A node tells of finalized heads by notifications that may skip blocks, come twice, or end with the
connection. Here each block comes exactly once, in order, each the child of the one before; what
was missed is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog
import trio

from chain_types.scale import Compact, Int
from chain_types.storage_keys import blake2_256, entry_prefix
from offchain_worker.chain.errors import (
    ChainReverted,
    ConnectionLost,
    MalformedAnswer,
    SubscriptionLagged,
)
from offchain_worker.chain.rpc import Rpc, Subscription

_log = structlog.get_logger(__name__)

SUBSCRIBE = "chain_subscribeFinalizedHeads"
UNSUBSCRIBE = "chain_unsubscribeFinalizedHeads"

_TIMESTAMP_KEY = "0x" + entry_prefix("Timestamp", "Now").hex()
_NUMBER = Compact(limit=2**32 - 1)
_LENGTH = Compact(limit=2**32 - 1)
_MOMENT = Int(8)
# The digest item of a block that changed the runtime's code (sp-runtime, `DigestItem`).
_RUNTIME_ENVIRONMENT_UPDATED = b"\x08"


@dataclass(frozen=True)
class Header:
    """A block's header.

    Attributes:
        number: of the block.
        hash: 32 bytes, computed from the header itself.
        parent: 32 bytes, hash of the block before.
        upgraded: whether the block after it has another runtime.
    """

    number: int
    hash: bytes
    parent: bytes
    upgraded: bool = False


@dataclass(frozen=True)
class Head:
    """A finalized block.

    Attributes:
        number, hash, parent: as in its header.
        timestamp_ms: of the block, in ms since 1970; 0 for the first block of a chain.
        upgraded: whether the block after it has another runtime.
    """

    number: int
    hash: bytes
    parent: bytes
    timestamp_ms: int
    upgraded: bool = False


def to_bytes(value: Any, what: str) -> bytes:
    """Return the bytes of a hexadecimal string with `0x`.

    Raises:
        MalformedAnswer: it is none.
    """
    if not isinstance(value, str) or not value.startswith("0x"):
        raise MalformedAnswer(f"{what} is no hexadecimal string")
    try:
        return bytes.fromhex(value[2:])
    except ValueError as error:
        raise MalformedAnswer(f"{what} is no hexadecimal string") from error


def from_bytes(value: bytes) -> str:
    """Return bytes as a hexadecimal string with `0x`."""
    return "0x" + value.hex()


def read_header(value: Any) -> Header:
    """Return a header from its JSON, with its hash.

    Raises:
        MalformedAnswer: it is no header.
    """
    try:
        number = int(value["number"], 16)
        roots = [
            to_bytes(value[name], name) for name in ("parentHash", "stateRoot", "extrinsicsRoot")
        ]
        logs = [to_bytes(log, "a digest item") for log in value["digest"]["logs"]]
        encoded_number = _NUMBER.encode(number)
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedAnswer(f"no header: {error!r}") from error
    if any(len(root) != 32 for root in roots):
        raise MalformedAnswer("no header: a hash has another length than 32 bytes")
    parent, state, extrinsics = roots
    digest = _LENGTH.encode(len(logs)) + b"".join(logs)
    header_hash = blake2_256(parent + encoded_number + state + extrinsics + digest)
    upgraded = any(log[:1] == _RUNTIME_ENVIRONMENT_UPDATED for log in logs)
    return Header(number, header_hash, parent, upgraded)


class Heads:
    """The finalized blocks of a chain; an asynchronous iterator that never ends by itself.

    Args:
        rpc: the node.
        after: the last block that was seen; its child comes first. None: the newest comes first.
        poll: seconds without a notification after which the node is asked.
    """

    def __init__(self, rpc: Rpc, after: Head | None = None, poll: float = 10.0) -> None:
        self._rpc = rpc
        self._last = after
        self._poll = poll
        self._target: Header | None = None
        self._subscription: Subscription | None = None

    def __aiter__(self) -> Heads:
        return self

    async def __anext__(self) -> Head:
        """Return the next finalized block.

        Raises:
            ChainReverted: it does not follow the one before.
            RpcError, RpcTimeout: the node refused, or did not answer in time; the next call goes
                on where this one failed.

        Cancelling loses no block.
        """
        while not self._is_behind():
            await self._wait()
        target = self._target
        if target is None:
            raise AssertionError("a target is set whenever there is something behind it")
        if self._last is None or target.number == self._last.number + 1:
            header = target
        else:
            header = await self._fetch(self._last.number + 1)
        if self._last is not None and header.parent != self._last.hash:
            raise ChainReverted(f"block {header.number} does not follow the finalized one before")
        timestamp_ms = await self._timestamp(header.hash)
        self._last = Head(header.number, header.hash, header.parent, timestamp_ms, header.upgraded)
        return self._last

    def _is_behind(self) -> bool:
        if self._target is None:
            return False
        if self._last is None or self._target.number > self._last.number:
            return True
        if self._target.number == self._last.number and self._target.hash != self._last.hash:
            raise ChainReverted(f"finalized block {self._last.number} was replaced")
        return False

    async def _wait(self) -> None:
        """Wait for news, subscribing first if there is no subscription."""
        if self._subscription is None:
            try:
                self._subscription = await self._rpc.subscribe(SUBSCRIBE)
            except ConnectionLost as error:
                _log.info("chain.heads_interrupted", reason=str(error))
                return
            # What was finalized before the subscription stood is not notified.
            await self._ask()
            return
        try:
            with trio.move_on_after(self._poll) as waited:
                self._target = read_header(await anext(self._subscription))
        except (ConnectionLost, SubscriptionLagged) as error:
            _log.info("chain.heads_interrupted", reason=str(error))
            self.close()
            return
        if waited.cancelled_caught:
            await self._ask()

    async def _ask(self) -> None:
        newest = await self._rpc.request("chain_getFinalizedHead")
        self._target = read_header(await self._rpc.request("chain_getHeader", newest))

    async def _fetch(self, number: int) -> Header:
        block_hash = await self._rpc.request("chain_getBlockHash", number)
        header = read_header(await self._rpc.request("chain_getHeader", block_hash))
        if header.number != number:
            raise MalformedAnswer(f"block {header.number} came instead of {number}")
        return header

    async def _timestamp(self, block: bytes) -> int:
        value = await self._rpc.request("state_getStorage", _TIMESTAMP_KEY, "0x" + block.hex())
        return 0 if value is None else _MOMENT.decode(to_bytes(value, "the timestamp"))

    def close(self) -> None:
        """End the subscription; iterating makes a new one."""
        if self._subscription is not None:
            self._subscription.close(UNSUBSCRIBE)
            self._subscription = None
