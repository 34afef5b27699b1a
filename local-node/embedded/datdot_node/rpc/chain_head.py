"""`chainHead_v1_*`: following the head of the chain, and asking about the blocks that it told of.

After the JSON-RPC interface specification of Substrate: a block that was told of stays readable,
pinned, until the client unpins it, even when it is taken back; a client that keeps too many is
told `stop`. Answers to longer questions come as events of the subscription.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from datdot_node.block import Block
from datdot_node.chain import Chain
from datdot_node.errors import NodeError, UnknownBlock
from datdot_node.forks import Pins
from datdot_node.hashing import blake2_256
from datdot_node.node import Update
from datdot_node.overlay import Overlay, StateView
from datdot_node.rpc import views
from datdot_node.rpc.jsonrpc import INVALID_PARAMS, RpcError
from datdot_node.rpc.params import Params, from_hex, to_hex
from datdot_node.rpc.subscriptions import Client, Send, Subscription
from datdot_node.trie import Trie

MAX_PINNED = 512
"""Most blocks that one subscription pins; with one more it is stopped."""
MAX_OPERATIONS = 16
"""Most operations of one subscription that wait for the client to go on."""
MAX_ITEMS = 256
"""Most questions of one `chainHead_v1_storage`; it says how many it leaves out."""
PAGE_ITEMS, PAGE_BYTES = 256, 1024 * 1024
"""An operation waits for `chainHead_v1_continue` after so many items, or bytes of values."""
FINALIZED_AT_START = 16

TOO_MANY_FOLLOWED, _NOT_PINNED, _NO_RUNTIME, _DUPLICATES = -32800, -32801, -32802, -32804
_LIMIT_REACHED = {"result": "limitReached"}


@dataclass(slots=True)
class _StorageOperation:
    """A question about storage that is answered page by page.

    `after` is the last key of the descendants that the question at `index` asks for; `trie` is
    there from the first question for a Merkle value on.
    """

    block_hash: bytes
    questions: list[tuple[str, bytes]]
    pins: Pins
    index: int = 0
    after: bytes | None = None
    trie: Trie | None = None

    def page(self, chain: Chain) -> Iterator[dict[str, str]]:
        """The next items, one page of them. Raises `UnknownBlock`."""
        state = chain.held_state(self.block_hash)
        size = count = 0
        while self.index < len(self.questions) and count < PAGE_ITEMS and size < PAGE_BYTES:
            item = self._next(chain, state)
            if item is not None:
                count += 1
                size += sum(map(len, item.values()))
                yield item

    def _next(self, chain: Chain, state: StateView) -> dict[str, str] | None:
        kind, key = self.questions[self.index]
        if kind in _DESCENDANTS:
            if self.after is None and state.get(key) is not None:
                found: bytes | None = key
            else:
                found = state.next_key(key if self.after is None else self.after)
            if found is None or not found.startswith(key):
                self.index, self.after = self.index + 1, None
                return None
            self.after = key = found
            kind = _DESCENDANTS[kind]
        else:
            self.index += 1
        if kind == _MERKLE_VALUE:
            self.trie = self.trie or chain.held_trie(self.block_hash)
            value = self.trie.closest_descendant(key)
        else:
            value = state.get(key)
        if value is None:
            return None
        return {"key": to_hex(key), kind: to_hex(blake2_256(value) if kind == "hash" else value)}


_MERKLE_VALUE = "closestDescendantMerkleValue"
_DESCENDANTS = {"descendantsValues": "value", "descendantsHashes": "hash"}
_KINDS = {"value", "hash", _MERKLE_VALUE, *_DESCENDANTS}


class ChainHead(Subscription):
    """New, best and final blocks, in the order of the chain, and the answers to operations."""

    notification = "chainHead_v1_followEvent"
    unsubscribe = ("chainHead_v1_unfollow",)
    unsubscribed = None

    def __init__(self, send: Send, chain: Chain, *, with_runtime: bool) -> None:
        super().__init__(send)
        self.with_runtime = with_runtime
        self.pins = chain.hold()
        self.operations: dict[str, _StorageOperation] = {}
        # The numbers of the blocks told of that are neither below the newest final one nor pruned.
        self._announced: dict[bytes, int] = {}
        # Of these the ones that were taken back, with their parents.
        self._taken_back: dict[bytes, bytes] = {}
        self._begin(chain)

    def _begin(self, chain: Chain) -> None:
        final = chain.finalized.number
        first = max(final - FINALIZED_AT_START + 1, chain.oldest_state, 0)
        if chain.head.number - first >= MAX_PINNED:
            self._stop()
            return
        hashes = [chain.hash(number) for number in range(first, final + 1)]
        event: dict[str, Any] = {
            "event": "initialized",
            "finalizedBlockHashes": [to_hex(each) for each in hashes],
        }
        if self.with_runtime:
            event["finalizedBlockRuntime"] = views.runtime_specification(
                chain.call("Core_version", at=final)
            )
        self.notify(event)
        self.pins.hashes.update(hashes)
        self._announced[hashes[-1]] = final
        changed = chain.code_changes(final)
        for number in range(final + 1, chain.head.number + 1):
            version = chain.call("Core_version", at=number) if number in changed else None
            self._announce(chain.block(number), version)
        self.notify({"event": "bestBlockChanged", "bestBlockHash": to_hex(chain.head_hash)})

    def _announce(self, block: Block, version: bytes | None) -> None:
        event: dict[str, Any] = {
            "event": "newBlock",
            "blockHash": to_hex(block.hash),
            "parentBlockHash": to_hex(block.header.parent_hash),
        }
        if self.with_runtime:
            event["newRuntime"] = None if version is None else views.runtime_specification(version)
        self.notify(event)
        self.pins.hashes.add(block.hash)
        self._announced[block.hash] = block.number

    def update(self, update: Update) -> None:
        if self.finished:
            return
        for block in (block for each in update.retracted for block in each.blocks):
            if block.hash in self._announced:
                self._taken_back[block.hash] = block.header.parent_hash
        most = max(len(self.pins.hashes) + len(update.blocks), len(self._taken_back))
        if self.pins.lost or most > MAX_PINNED:
            self._stop()
            return
        for block in update.blocks:
            if block.header.parent_hash not in self._announced:
                self._stop()
                return
            # The very same block can come again.
            if self._taken_back.pop(block.hash, None) is None:
                self._announce(block, update.versions.get(block.hash))
        best = update.blocks[-1].hash if update.blocks else None
        if best is None and update.retracted:
            best = update.retracted[-1].head.hash
        if best is not None:
            self.notify({"event": "bestBlockChanged", "bestBlockHash": to_hex(best)})
        if update.finalized:
            self._finalize(update.finalized)

    def _finalize(self, blocks: list[Block]) -> None:
        hashes = [block.hash for block in blocks]
        if not self._announced.keys() >= {*hashes}:
            self._stop()
            return
        pruned = [each for each in self._taken_back if self._fork(each) < blocks[-1].number]
        self.notify(
            {
                "event": "finalized",
                "finalizedBlockHashes": [to_hex(each) for each in hashes],
                "prunedBlockHashes": [to_hex(each) for each in pruned],
            }
        )
        for each in pruned:
            del self._taken_back[each]
        for each in (blocks[0].header.parent_hash, *hashes[:-1], *pruned):
            del self._announced[each]

    def _fork(self, block_hash: bytes) -> int:
        """The number of the block of the chain where the fork of one taken back begins."""
        while block_hash in self._taken_back:
            block_hash = self._taken_back[block_hash]
        return self._announced[block_hash]

    def _stop(self) -> None:
        self.notify({"event": "stop"})
        self.finished = True

    def close(self) -> None:
        self.pins.release()
        for operation in self.operations.values():
            operation.pins.release()
        self.operations.clear()

    def check_pinned(self, block_hash: bytes) -> None:
        """Raises `RpcError` for a block that is not pinned."""
        if block_hash not in self.pins.hashes:
            raise RpcError(_NOT_PINNED, "Invalid block hash")

    def step(self, chain: Chain, operation_id: str) -> None:
        """Answers the next page of an operation that is among `operations`."""
        operation = self.operations.pop(operation_id)
        named = {"operationId": operation_id}
        try:
            items = list(operation.page(chain))
        except UnknownBlock:
            operation.pins.release()
            self.notify({"event": "operationInaccessible", **named})
            return
        if items:
            self.notify({"event": "operationStorageItems", **named, "items": items})
        if operation.index < len(operation.questions):
            self.operations[operation_id] = operation
            self.notify({"event": "operationWaitingForContinue", **named})
        else:
            operation.pins.release()
            self.notify({"event": "operationStorageDone", **named})


def follow(send: Send, params: Params, chain: Chain) -> ChainHead:
    """Begins to follow; the client's answer is the subscription's id."""
    return ChainHead(send, chain, with_runtime=params.flag(0, "withRuntime"))


def _followed(client: Client, params: Params) -> ChainHead | None:
    """The subscription that a call names; None when it was stopped, or there never was one."""
    found = client.subscription(params.text(0, "the subscription"))
    return found if isinstance(found, ChainHead) else None


def _header(client: Client, chain: Chain, params: Params) -> Any:
    head, block_hash = _followed(client, params), params.hash(1)
    if head is None:
        return None
    head.check_pinned(block_hash)
    return to_hex(chain.held_block(block_hash).header.encode())


def _body(client: Client, chain: Chain, params: Params) -> Any:
    def run(block_hash: bytes) -> dict[str, Any]:
        extrinsics = chain.held_block(block_hash).extrinsics
        return {"event": "operationBodyDone", "value": [to_hex(each) for each in extrinsics]}

    return _at_once(client, params, run)


def _call(client: Client, chain: Chain, params: Params) -> Any:
    function = params.text(2, "the function")
    arguments = _bytes(params.any(3), "the parameters")
    head = _followed(client, params)
    if head is not None and not head.with_runtime:
        raise RpcError(_NO_RUNTIME, "The subscription was started with withRuntime false")

    def run(block_hash: bytes) -> dict[str, Any]:
        state = chain.held_state(block_hash)
        output = chain.runtime(state).call(function, arguments, Overlay(state))
        return {"event": "operationCallDone", "output": to_hex(output)}

    return _at_once(client, params, run)


def _at_once(client: Client, params: Params, run: Callable[[bytes], dict[str, Any]]) -> Any:
    """An operation whose event follows its answer."""
    head, block_hash = _followed(client, params), params.hash(1)
    if head is None:
        return _LIMIT_REACHED
    head.check_pinned(block_hash)
    client.hold_back()
    operation_id = secrets.token_urlsafe(12)
    try:
        event = run(block_hash)
    except UnknownBlock:
        event = {"event": "operationInaccessible"}
    except NodeError as error:
        event = {"event": "operationError", "error": str(error)}
    head.notify({**event, "operationId": operation_id})
    return {"result": "started", "operationId": operation_id}


def _storage(client: Client, chain: Chain, params: Params) -> Any:
    head, block_hash = _followed(client, params), params.hash(1)
    asked = params.any(2)
    if not isinstance(asked, list):
        raise RpcError(INVALID_PARAMS, "Invalid params: the items are no array")
    questions = [_question(each) for each in asked[:MAX_ITEMS]]
    child_trie = None if params.any(3) is None else _bytes(params.any(3), "the child trie")
    if head is None or len(head.operations) >= MAX_OPERATIONS:
        return _LIMIT_REACHED
    head.check_pinned(block_hash)
    client.hold_back()
    operation_id = secrets.token_urlsafe(12)
    pins = chain.hold()
    pins.hashes.add(block_hash)
    # This runtime has no child tries: whatever is asked of one is not there.
    head.operations[operation_id] = _StorageOperation(
        block_hash, questions if child_trie is None else [], pins
    )
    head.step(chain, operation_id)
    left_out = max(0, len(asked) - MAX_ITEMS)
    return {"result": "started", "operationId": operation_id, "discardedItems": left_out}


def _question(item: Any) -> tuple[str, bytes]:
    if not isinstance(item, dict):
        raise RpcError(INVALID_PARAMS, "Invalid params: an item is no object")
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise RpcError(INVALID_PARAMS, "Invalid params: the type of an item is unknown")
    return kind, _bytes(item.get("key"), "the key of an item")


def _bytes(text: Any, name: str) -> bytes:
    """Hexadecimal that may lack its 0x, as native nodes read it here: some clients send ""."""
    if isinstance(text, str) and not text.startswith("0x"):
        text = "0x" + text
    return from_hex(text, name)


def _unpin(client: Client, chain: Chain, params: Params) -> Any:
    head = _followed(client, params)
    if isinstance(asked := params.any(1), list):
        hashes = [Params(asked).hash(index) for index in range(len(asked))]
    else:
        hashes = [params.hash(1)]
    if head is None:
        return None
    if len({*hashes}) < len(hashes):
        raise RpcError(_DUPLICATES, "Received duplicate hashes")
    for each in hashes:
        head.check_pinned(each)
    head.pins.hashes.difference_update(hashes)
    return None


def _continue(client: Client, chain: Chain, params: Params) -> Any:
    head, operation_id = _followed(client, params), params.text(1, "the operation")
    if head is not None and operation_id in head.operations:
        client.hold_back()
        head.step(chain, operation_id)


def _stop_operation(client: Client, chain: Chain, params: Params) -> Any:
    head, operation_id = _followed(client, params), params.text(1, "the operation")
    operation = None if head is None else head.operations.pop(operation_id, None)
    if operation is not None:
        operation.pins.release()


BOUND: dict[str, Callable[[Client, Chain, Params], Any]] = {
    "chainHead_v1_header": _header,
    "chainHead_v1_body": _body,
    "chainHead_v1_call": _call,
    "chainHead_v1_storage": _storage,
    "chainHead_v1_continue": _continue,
    "chainHead_v1_stopOperation": _stop_operation,
    "chainHead_v1_unpin": _unpin,
}
"""Methods about a subscription of the same connection."""
