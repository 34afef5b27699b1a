"""What can go wrong between this process and the chain."""

from __future__ import annotations

from typing import Any


class ChainError(Exception):
    """Base of the errors of this package."""


class ConnectionLost(ChainError):
    """The connection to the node ended before the answer came."""


class RpcTimeout(ChainError):
    """The node did not answer in time.

    Attributes:
        method: what was asked.
    """

    def __init__(self, method: str, seconds: float, reason: str = "") -> None:
        suffix = f" ({reason})" if reason else ""
        super().__init__(f"no answer to {method} within {seconds:g} s{suffix}")
        self.method = method


class RpcError(ChainError):
    """The node refused a request.

    Attributes:
        method: what was asked.
        code: the node's number for the reason.
        message, data: its words.
    """

    def __init__(self, method: str, code: int, message: str, data: Any = None) -> None:
        detail = f": {data}" if data is not None else ""
        super().__init__(f"{method} was refused ({code}): {message}{detail}")
        self.method = method
        self.code = code
        self.message = message
        self.data = data


class MalformedAnswer(ChainError):
    """The node's answer is not what the method promises."""


class TooMuch(ChainError):
    """A map has more entries than are taken."""


class SubscriptionLagged(ChainError):
    """Notifications came faster than they were taken, so the subscription was ended."""


class ChainReverted(ChainError):
    """A finalized block is no longer in the chain: another chain, or a database that was reset."""


class RuntimeUpgraded(ChainError):
    """The chain has another runtime now; a new start checks whether its words are still ours."""


class TransactionError(ChainError):
    """A transaction that is certain never to be applied.

    Attributes:
        intent: which.
    """

    def __init__(self, intent: str, message: str) -> None:
        super().__init__(f"transaction {intent}: {message}")
        self.intent = intent


class TransactionRefused(TransactionError):
    """The node refused it at its first submission; the message has the node's reason."""


class NonceTaken(TransactionError):
    """Another transaction of the same account used its nonce."""


class TransactionExpired(TransactionError):
    """Its era ended without it being applied, as often as it may be signed."""


class IntentReused(TransactionError):
    """The journal has this intent with another call or account."""
