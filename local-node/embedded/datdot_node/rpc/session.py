"""One client's requests, answers and subscriptions, whatever carries them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from datdot_node.chain import Chain
from datdot_node.errors import NodeError
from datdot_node.node import Node, Update
from datdot_node.pool import Broadcast
from datdot_node.rpc import chain_head, jsonrpc, subscriptions, transactions, views
from datdot_node.rpc.jsonrpc import Request, RpcError
from datdot_node.rpc.methods import MAX_KEYS, METHODS, translated
from datdot_node.rpc.params import Params
from datdot_node.rpc.subscriptions import Client, Send, Subscription

MAX_SUBSCRIPTIONS = 256
"""Most subscriptions of one client at a time."""
MAX_FOLLOWED = 4
"""Most of them by `chainHead_v1_follow`."""
MAX_HELD_BACK = 8192
"""Most notifications that wait for one answer; with one more the client is let go."""

logger = structlog.get_logger(__name__)

Open = Callable[[Send, Params, Chain], Subscription]
Bound = Callable[[Client, Chain, Params], Any]


def _new_heads(send: Send, params: Params, chain: Chain) -> Subscription:
    subscription = subscriptions.NewHeads(send)
    subscription.notify(views.header(chain.head))
    return subscription


def _all_heads(send: Send, params: Params, chain: Chain) -> Subscription:
    subscription = subscriptions.AllHeads(send)
    subscription.notify(views.header(chain.head))
    return subscription


def _finalized_heads(send: Send, params: Params, chain: Chain) -> Subscription:
    subscription = subscriptions.FinalizedHeads(send)
    subscription.notify(views.header(chain.finalized))
    return subscription


def _runtime_version(send: Send, params: Params, chain: Chain) -> Subscription:
    subscription = subscriptions.RuntimeVersion(send)
    subscription.notify(views.runtime_version(chain.call("Core_version")))
    return subscription


def _storage(send: Send, params: Params, chain: Chain) -> Subscription:
    keys = params.hexes(0, "keys", MAX_KEYS)
    values = {key: chain.storage(key) for key in keys}
    return subscriptions.Storage(send, chain.head_hash, values)


def _watch_extrinsic(send: Send, params: Params, chain: Chain) -> Subscription:
    return subscriptions.ExtrinsicStatus(send, chain.submit(params.hex(0, "the extrinsic")))


_SUBSCRIBE: dict[str, Open] = {
    "chain_subscribeNewHeads": _new_heads,
    "chain_subscribeNewHead": _new_heads,
    "subscribe_newHead": _new_heads,
    "chain_subscribeAllHeads": _all_heads,
    "chain_subscribeFinalizedHeads": _finalized_heads,
    "chain_subscribeFinalisedHeads": _finalized_heads,
    "state_subscribeRuntimeVersion": _runtime_version,
    "chain_subscribeRuntimeVersion": _runtime_version,
    "state_subscribeStorage": _storage,
    "author_submitAndWatchExtrinsic": _watch_extrinsic,
    "chainHead_v1_follow": chain_head.follow,
    "transactionWatch_v1_submitAndWatch": transactions.submit_and_watch,
}
_BOUND: dict[str, Bound] = {**chain_head.BOUND, **transactions.BOUND}
"""Methods whose effects end with the connection."""
_UNSUBSCRIBE: dict[str, type[Subscription]] = {
    name: kind
    for kind in (
        subscriptions.NewHeads,
        subscriptions.AllHeads,
        subscriptions.FinalizedHeads,
        subscriptions.RuntimeVersion,
        subscriptions.Storage,
        subscriptions.ExtrinsicStatus,
        chain_head.ChainHead,
        transactions.TransactionWatch,
    )
    for name in kind.unsubscribe
}


class Session:
    """Answers one client. Without `send` it has no subscriptions (plain HTTP).

    `send` gets encoded notifications and must not wait; `drop` lets the client go. The owner
    passes every update of the node to `update` as long as the session lives, then closes it.
    """

    def __init__(
        self,
        node: Node,
        send: Callable[[bytes], None] | None = None,
        drop: Callable[[], None] | None = None,
    ) -> None:
        self._node = node
        self._send = send
        self._drop = drop
        self._subscriptions: dict[str, Subscription] = {}
        # Notifications that must not overtake the answer that is in the making.
        self._held_back: list[bytes] | None = None
        self._overrun = False
        self.broadcasts: dict[str, Broadcast] = {}

    async def answer(self, message: bytes | str) -> bytes | None:
        """The answer to a message; None if there is none.

        Call `answered` once it is on its way. Cancelled, a request may have had its effect.
        """
        try:
            requests, batch = jsonrpc.parse(message)
        except RpcError as error:
            return jsonrpc.encode(jsonrpc.failure(None, error))
        answers: list[bytes] = []
        size = 0
        for request in requests:
            answer = await self._answer(request)
            if answer is not None:
                answers.append(jsonrpc.encode_answer(answer))
                size += len(answers[-1])
                if batch and size > jsonrpc.MAX_ANSWER:
                    return jsonrpc.answers_too_large()
        if not answers:
            return None
        return b"[" + b",".join(answers) + b"]" if batch else answers[0]

    def answered(self) -> None:
        """The last answer is on its way: what it has to come before may follow."""
        held_back, self._held_back = self._held_back or [], None
        for message in held_back:
            self._pass_on(message)
        if self._overrun and self._drop is not None:
            self._drop()

    def update(self, update: Update) -> None:
        """Tells the client what it subscribed to."""
        for subscription in list(self._subscriptions.values()):
            subscription.update(update)
            self._forget_finished(subscription)

    def close(self) -> None:
        """The client has gone: ends what it began."""
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()
        for broadcast in self.broadcasts.values():
            broadcast.stopped = True
        self.broadcasts.clear()

    def subscription(self, subscription_id: str) -> Subscription | None:
        """One of the client's subscriptions, or None."""
        return self._subscriptions.get(subscription_id)

    def hold_back(self) -> None:
        """Keeps notifications back until `answered`."""
        if self._held_back is None:
            self._held_back = []

    def _forget_finished(self, subscription: Subscription) -> None:
        if subscription.finished:
            subscription.close()
            self._subscriptions.pop(subscription.id, None)

    async def _answer(self, request: Request | RpcError) -> dict[str, Any] | None:
        if isinstance(request, RpcError):
            return jsonrpc.failure(None, request)
        try:
            value = await self._dispatch(request)
        except RpcError as error:
            answer = jsonrpc.failure(request.id, error)
        except NodeError as error:
            answer = jsonrpc.failure(request.id, translated(error))
        except Exception as error:
            # A client's request must not end the node; what is wrong here is ours, so it is said.
            logger.exception("request_failed", method=request.method)
            internal = RpcError(jsonrpc.INTERNAL_ERROR, f"Internal error: {type(error).__name__}")
            answer = jsonrpc.failure(request.id, internal)
        else:
            answer = jsonrpc.result(request.id, value)
        return None if request.notification else answer

    async def _dispatch(self, request: Request) -> Any:
        name, params = request.method, Params(request.params)
        if name in METHODS:
            return await self._node.run(partial(_run, name, params))
        if self._send is not None:
            if name in _SUBSCRIBE:
                return await self._subscribe(_SUBSCRIBE[name], params)
            if name in _UNSUBSCRIBE:
                return self._unsubscribe(_UNSUBSCRIBE[name], params)
            if name in _BOUND:
                return await self._node.run(partial(_run_bound, name, self, params))
        if name == "rpc_methods":
            return {"methods": list(ALL_METHODS)}
        raise RpcError(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {name}"[:200])

    async def _subscribe(self, open_: Open, params: Params) -> str:
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise RpcError(
                jsonrpc.TOO_MANY_SUBSCRIPTIONS,
                "Too many subscriptions on the connection",
                f"Exceeded max limit of {MAX_SUBSCRIPTIONS}",
            )
        kinds = [type(each) for each in self._subscriptions.values()]
        if open_ is chain_head.follow and kinds.count(chain_head.ChainHead) >= MAX_FOLLOWED:
            raise RpcError(
                chain_head.TOO_MANY_FOLLOWED, "Maximum number of chainHead_follow has been reached"
            )

        def begin(chain: Chain) -> Subscription:
            self.hold_back()
            subscription = open_(self._notify, params, chain)
            # Here, not after: the updates that this very work causes are for it too.
            self._subscriptions[subscription.id] = subscription
            self._forget_finished(subscription)
            return subscription

        return (await self._node.run(begin)).id

    def _unsubscribe(self, kind: type[Subscription], params: Params) -> bool | None:
        subscription = self._subscriptions.get(params.text(0, "the subscription"))
        if subscription is None or not isinstance(subscription, kind):
            return None if kind.unsubscribed is None else False
        subscription.close()
        del self._subscriptions[subscription.id]
        return kind.unsubscribed

    def _notify(self, method: str, subscription: str, value: Any) -> None:
        message = jsonrpc.encode(jsonrpc.notification(method, subscription, value))
        if self._held_back is None:
            self._pass_on(message)
        elif len(self._held_back) < MAX_HELD_BACK:
            self._held_back.append(message)
        else:
            # Perhaps in the chain's thread, from which no client can be let go.
            self._overrun = True

    def _pass_on(self, message: bytes) -> None:
        if self._send is not None:
            self._send(message)


def _run(name: str, params: Params, chain: Chain) -> Any:
    return METHODS[name](chain, params)


def _run_bound(name: str, client: Client, params: Params, chain: Chain) -> Any:
    return _BOUND[name](client, chain, params)


ALL_METHODS = tuple(sorted([*METHODS, *_SUBSCRIBE, *_UNSUBSCRIBE, *_BOUND, "rpc_methods"]))
"""The names of all methods."""
