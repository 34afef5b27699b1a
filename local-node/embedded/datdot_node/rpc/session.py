"""One client's requests, answers and subscriptions, whatever carries them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from datdot_node.chain import Chain
from datdot_node.errors import NodeError
from datdot_node.node import Node, Update
from datdot_node.rpc import jsonrpc, subscriptions, views
from datdot_node.rpc.jsonrpc import Request, RpcError
from datdot_node.rpc.methods import MAX_KEYS, METHODS, translated
from datdot_node.rpc.params import Params
from datdot_node.rpc.subscriptions import Send, Subscription

MAX_SUBSCRIPTIONS = 256
"""Most subscriptions of one client at a time."""

logger = structlog.get_logger(__name__)

Open = Callable[[Send, Params, Chain], Subscription]


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
}
_UNSUBSCRIBE: dict[str, type[Subscription]] = {
    name: kind
    for kind in (
        subscriptions.NewHeads,
        subscriptions.AllHeads,
        subscriptions.FinalizedHeads,
        subscriptions.RuntimeVersion,
        subscriptions.Storage,
        subscriptions.ExtrinsicStatus,
    )
    for name in kind.unsubscribe
}


class Session:
    """Answers one client. Without `send` it has no subscriptions (plain HTTP).

    `send` gets encoded notifications and must not wait. The owner passes every update of the node
    to `update` as long as the session lives.
    """

    def __init__(self, node: Node, send: Callable[[bytes], None] | None) -> None:
        self._node = node
        self._send = send
        self._subscriptions: dict[str, Subscription] = {}
        self._started: list[Subscription] = []

    async def answer(self, message: bytes | str) -> bytes | None:
        """The answer to a message; None if there is none.

        Call `answered` once it is on its way. Cancelled, a request may have had its effect.
        """
        try:
            requests, batch = jsonrpc.parse(message)
        except RpcError as error:
            return jsonrpc.encode(jsonrpc.failure(None, error))
        answers = [await self._answer(request) for request in requests]
        answers = [each for each in answers if each is not None]
        if not answers:
            return None
        return jsonrpc.encode(answers if batch else answers[0])

    def answered(self) -> None:
        """The last answer is on its way: the subscriptions that it named may begin."""
        started, self._started = self._started, []
        for subscription in started:
            subscription.start()
            self._forget_finished(subscription)

    def update(self, update: Update) -> None:
        """Tells the client what it subscribed to."""
        for subscription in list(self._subscriptions.values()):
            subscription.update(update)
            self._forget_finished(subscription)

    def _forget_finished(self, subscription: Subscription) -> None:
        if subscription.finished and subscription not in self._started:
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
        if name == "rpc_methods":
            return {"methods": sorted([*METHODS, *_SUBSCRIBE, *_UNSUBSCRIBE, "rpc_methods"])}
        raise RpcError(jsonrpc.METHOD_NOT_FOUND, f"Method not found: {name}"[:200])

    async def _subscribe(self, open_: Open, params: Params) -> str:
        if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
            raise RpcError(
                jsonrpc.TOO_MANY_SUBSCRIPTIONS,
                "Too many subscriptions on the connection",
                f"Exceeded max limit of {MAX_SUBSCRIPTIONS}",
            )

        def begin(chain: Chain) -> Subscription:
            subscription = open_(self._notify, params, chain)
            # Here, not after: the updates that this very work causes are for it too.
            self._subscriptions[subscription.id] = subscription
            self._started.append(subscription)
            return subscription

        return (await self._node.run(begin)).id

    def _unsubscribe(self, kind: type[Subscription], params: Params) -> bool:
        subscription = self._subscriptions.get(params.text(0, "the subscription"))
        if subscription is None or not isinstance(subscription, kind):
            return False
        del self._subscriptions[subscription.id]
        return True

    def _notify(self, method: str, subscription: str, value: Any) -> None:
        if self._send is not None:
            self._send(jsonrpc.encode(jsonrpc.notification(method, subscription, value)))


def _run(name: str, params: Params, chain: Chain) -> Any:
    return METHODS[name](chain, params)
