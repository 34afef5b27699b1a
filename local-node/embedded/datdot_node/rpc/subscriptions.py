"""What a client may subscribe to, and what it is then told."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from datdot_node.block import Block
from datdot_node.hashing import blake2_256
from datdot_node.node import Update
from datdot_node.pool import Broadcast, PoolEvent, Status
from datdot_node.rpc import views
from datdot_node.rpc.methods import storage_changes
from datdot_node.rpc.params import to_hex

Send = Callable[[str, str, Any], None]
"""Sends a notification: its method, the subscription's id, the value. Never waits."""


class Subscription(ABC):
    """One subscription of one client.

    Attributes:
        unsubscribed: what ending it answers; None for whatever is ended, also for nothing.
        finished: nothing more is to be told.
    """

    notification = ""
    unsubscribe: tuple[str, ...] = ()
    unsubscribed: bool | None = True

    def __init__(self, send: Send) -> None:
        self.id = secrets.token_urlsafe(12)
        self.finished = False
        self._send = send

    def notify(self, value: Any) -> None:
        """Tells the client."""
        self._send(self.notification, self.id, value)

    @abstractmethod
    def update(self, update: Update) -> None:
        """Tells the client what of an update concerns it."""

    def close(self) -> None:  # noqa: B027 - most have nothing to let go
        """The subscription is ended, by either side: lets go what it holds."""


class NewHeads(Subscription):
    """Every new block's header."""

    notification = "chain_newHead"
    unsubscribe: tuple[str, ...] = (
        "chain_unsubscribeNewHeads",
        "chain_unsubscribeNewHead",
        "unsubscribe_newHead",
    )

    def update(self, update: Update) -> None:
        if update.retracted and not update.blocks:
            self.notify(views.header(update.retracted[-1].head))
        for block in update.blocks:
            self.notify(views.header(block.header))


class AllHeads(NewHeads):
    """The same here, where a fork is never seen before it is the best."""

    notification = "chain_allHead"
    unsubscribe: tuple[str, ...] = ("chain_unsubscribeAllHeads",)


class FinalizedHeads(Subscription):
    """Every finalized block's header."""

    notification = "chain_finalizedHead"
    unsubscribe = ("chain_unsubscribeFinalizedHeads", "chain_unsubscribeFinalisedHeads")

    def update(self, update: Update) -> None:
        for block in update.finalized:
            self.notify(views.header(block.header))


class RuntimeVersion(Subscription):
    """The runtime's version whenever the runtime changes."""

    notification = "state_runtimeVersion"
    unsubscribe = ("state_unsubscribeRuntimeVersion", "chain_unsubscribeRuntimeVersion")

    def update(self, update: Update) -> None:
        if update.runtime_version is not None:
            self.notify(views.runtime_version(update.runtime_version))


class Storage(Subscription):
    """The values of some keys whenever they change."""

    notification = "state_storage"
    unsubscribe = ("state_unsubscribeStorage",)

    def __init__(self, send: Send, block_hash: bytes, values: dict[bytes, bytes | None]) -> None:
        super().__init__(send)
        self._values = values
        self._tell(block_hash, values)

    def _tell(self, block_hash: bytes, changes: dict[bytes, bytes | None]) -> None:
        self.notify({"block": to_hex(block_hash), "changes": storage_changes(changes)})

    def update(self, update: Update) -> None:
        for retracted in update.retracted:
            self._changed(retracted.head.hash, retracted.changes)
        for block, changes in zip(update.blocks, update.changes, strict=True):
            self._changed(block.hash, changes)

    def _changed(self, block_hash: bytes, changes: dict[bytes, bytes | None]) -> None:
        mine = {
            key: changes[key]
            for key in self._values.keys() & changes.keys()
            if changes[key] != self._values[key]
        }
        if mine:
            self._values.update(mine)
            self._tell(block_hash, mine)


class Watch(Subscription):
    """What becomes of one transaction, until it is final or out of the pool."""

    def __init__(self, send: Send, transaction_hash: bytes) -> None:
        super().__init__(send)
        self._hash = transaction_hash

    def update(self, update: Update) -> None:
        for block in (block for each in update.retracted for block in each.blocks):
            if not self.finished and self._place_in(block) is not None:
                self.taken_back(block)
        for event in update.pool:
            if event.hash == self._hash and not self.finished:
                self.pooled(event)
                self.finished = event.status not in (Status.READY, Status.FUTURE)
        for blocks, tell in ((update.blocks, self.included), (update.finalized, self.final)):
            for block in blocks:
                if not self.finished and (place := self._place_in(block)) is not None:
                    tell(block, place)
                    self.finished = tell == self.final

    def _place_in(self, block: Block) -> int | None:
        for place, extrinsic in enumerate(block.extrinsics):
            if blake2_256(extrinsic) == self._hash:
                return place
        return None

    @abstractmethod
    def pooled(self, event: PoolEvent) -> None:
        """Its status in the pool changed."""

    @abstractmethod
    def included(self, block: Block, place: int) -> None:
        """A new block has it as the extrinsic at this place."""

    @abstractmethod
    def taken_back(self, block: Block) -> None:
        """The block that had it is no more of the chain."""

    @abstractmethod
    def final(self, block: Block, place: int) -> None:
        """The block that has it is final."""


class ExtrinsicStatus(Watch):
    """A watched transaction in the words of `author_extrinsicUpdate`."""

    notification = "author_extrinsicUpdate"
    unsubscribe = ("author_unwatchExtrinsic",)

    def pooled(self, event: PoolEvent) -> None:
        if event.status is Status.USURPED:
            self.notify({"usurped": to_hex(event.by or b"")})
        else:
            self.notify(event.status.value)

    def included(self, block: Block, place: int) -> None:
        self.notify({"inBlock": to_hex(block.hash)})

    def taken_back(self, block: Block) -> None:
        self.notify({"retracted": to_hex(block.hash)})

    def final(self, block: Block, place: int) -> None:
        self.notify({"finalized": to_hex(block.hash)})


class Client(Protocol):
    """What a method whose effects end with the connection sees of it."""

    broadcasts: dict[str, Broadcast]

    def subscription(self, subscription_id: str) -> Subscription | None:
        """One of its subscriptions, or None."""

    def hold_back(self) -> None:
        """Keeps notifications back until the answer is on its way."""
