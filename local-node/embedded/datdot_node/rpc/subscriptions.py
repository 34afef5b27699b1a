"""What a client may subscribe to, and what it is then told."""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from datdot_node.block import Block
from datdot_node.hashing import blake2_256
from datdot_node.node import Update
from datdot_node.pool import PoolEvent, Status
from datdot_node.rpc import views
from datdot_node.rpc.methods import storage_changes
from datdot_node.rpc.params import to_hex

Send = Callable[[str, str, Any], None]
"""Sends a notification: its method, the subscription's id, the value. Never waits."""


class Subscription(ABC):
    """One subscription of one client.

    Until `start` notifications are kept back, so that none overtakes the answer that tells the
    client its id.
    """

    notification = ""
    unsubscribe: tuple[str, ...] = ()

    def __init__(self, send: Send) -> None:
        self.id = secrets.token_urlsafe(12)
        self.finished = False
        self._send = send
        self._early: list[Any] | None = []

    def start(self) -> None:
        """The client knows the id: sends what was kept back, and from now on all at once."""
        early, self._early = self._early or [], None
        for value in early:
            self._send(self.notification, self.id, value)

    def notify(self, value: Any) -> None:
        """Tells the client."""
        if self._early is None:
            self._send(self.notification, self.id, value)
        else:
            self._early.append(value)

    @abstractmethod
    def update(self, update: Update) -> None:
        """Tells the client what of an update concerns it."""


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


class ExtrinsicStatus(Subscription):
    """What becomes of one transaction, until it is finalized or out of the pool."""

    notification = "author_extrinsicUpdate"
    unsubscribe = ("author_unwatchExtrinsic",)

    def __init__(self, send: Send, transaction_hash: bytes) -> None:
        super().__init__(send)
        self._hash = transaction_hash

    def update(self, update: Update) -> None:
        for block in (block for each in update.retracted for block in each.blocks):
            if not self.finished and self._is_in(block):
                self.notify({"retracted": to_hex(block.hash)})
        for event in update.pool:
            if event.hash == self._hash and not self.finished:
                self._pool_event(event)
        for name, blocks in (("inBlock", update.blocks), ("finalized", update.finalized)):
            for block in blocks:
                if not self.finished and self._is_in(block):
                    self.notify({name: to_hex(block.hash)})
                    self.finished = name == "finalized"

    def _pool_event(self, event: PoolEvent) -> None:
        if event.status is Status.USURPED:
            self.notify({"usurped": to_hex(event.by or b"")})
        else:
            self.notify(event.status.value)
        self.finished = event.status not in (Status.READY, Status.FUTURE)

    def _is_in(self, block: Block) -> bool:
        return any(blake2_256(extrinsic) == self._hash for extrinsic in block.extrinsics)
