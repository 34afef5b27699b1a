"""`transactionWatch_v1_*` and `transaction_v1_*` of the JSON-RPC interface specification."""

import secrets
from collections.abc import Callable
from typing import Any

from datdot_node.block import Block
from datdot_node.chain import Chain
from datdot_node.hashing import blake2_256
from datdot_node.pool import PoolError, PoolEvent, Status
from datdot_node.rpc.jsonrpc import INVALID_PARAMS, RpcError
from datdot_node.rpc.params import Params, to_hex
from datdot_node.rpc.subscriptions import Client, Send, Watch

MAX_BROADCASTS = 16
"""Most transactions that one client has broadcast at a time."""

_ENDS = {
    Status.USURPED: ("invalid", "Extrinsic was rendered invalid by another extrinsic"),
    Status.DROPPED: ("dropped", "Extrinsic dropped from the pool due to exceeding limits"),
    Status.INVALID: ("invalid", "Extrinsic marked as invalid"),
}


class TransactionWatch(Watch):
    """A watched transaction in the words of `transactionWatch_v1_watchEvent`."""

    notification = "transactionWatch_v1_watchEvent"
    unsubscribe = ("transactionWatch_v1_unwatch",)
    unsubscribed = None

    def __init__(self, send: Send, extrinsic: bytes, chain: Chain) -> None:
        """Submits it; a refusal is an event too."""
        super().__init__(send, blake2_256(extrinsic))
        self._validated = False
        try:
            chain.submit(extrinsic)
        except PoolError as error:
            self.notify({"event": "invalid", "error": str(error)})
            self.finished = True

    def pooled(self, event: PoolEvent) -> None:
        if event.status in _ENDS:
            name, error = _ENDS[event.status]
            self.notify({"event": name, "error": error})
        elif not self._validated:
            self._validated = True
            self.notify({"event": "validated"})

    def included(self, block: Block, place: int) -> None:
        self._tell("bestChainBlockIncluded", {"hash": to_hex(block.hash), "index": place})

    def taken_back(self, block: Block) -> None:
        self._tell("bestChainBlockIncluded", None)

    def final(self, block: Block, place: int) -> None:
        self._tell("finalized", {"hash": to_hex(block.hash), "index": place})

    def _tell(self, name: str, block: dict[str, Any] | None) -> None:
        self.notify({"event": name, "block": block})


def submit_and_watch(send: Send, params: Params, chain: Chain) -> TransactionWatch:
    """Submits a transaction; the client's answer is the subscription's id."""
    return TransactionWatch(send, params.hex(0, "the transaction"), chain)


def _broadcast(client: Client, chain: Chain, params: Params) -> Any:
    """The id of the operation; None when the client has too many."""
    extrinsic = params.hex(0, "the transaction")
    for done in [name for name, each in client.broadcasts.items() if each.done]:
        del client.broadcasts[done]
    if len(client.broadcasts) >= MAX_BROADCASTS:
        return None
    operation_id = secrets.token_urlsafe(12)
    client.broadcasts[operation_id] = chain.broadcast(extrinsic)
    return operation_id


def _stop(client: Client, chain: Chain, params: Params) -> Any:
    broadcast = client.broadcasts.pop(params.text(0, "the operation"), None)
    if broadcast is None:
        raise RpcError(INVALID_PARAMS, "Invalid operation id")
    chain.stop_broadcast(broadcast)


BOUND: dict[str, Callable[[Client, Chain, Params], Any]] = {
    "transaction_v1_broadcast": _broadcast,
    "transaction_v1_stop": _stop,
}
"""Methods whose effect ends with the connection."""
