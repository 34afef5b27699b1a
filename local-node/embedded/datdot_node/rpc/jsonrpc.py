"""JSON-RPC 2.0 messages."""

from dataclasses import dataclass
from typing import Any

import msgspec

MAX_BATCH = 128
MAX_VALUES = 250_000
"""Most values in one message: each takes many times the memory of the bytes that ask for it."""
MAX_ANSWER = 16 * 1024 * 1024
"""Largest answer, and largest batch of answers, in bytes."""

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND = -32700, -32600, -32601
INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603
TOO_MANY_SUBSCRIPTIONS, ANSWER_TOO_LARGE = -32006, -32008
BATCH_TOO_LARGE, ANSWERS_TOO_LARGE = -32010, -32011


class RpcError(Exception):
    """An answer that is an error object."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


@dataclass(frozen=True, slots=True)
class Request:
    """A request; without an id (`notification`) it gets no answer."""

    id: str | int | float | None
    method: str
    params: list[Any]
    notification: bool


def parse(message: bytes | str) -> tuple[list[Request | RpcError], bool]:
    """The requests in a message, or what is wrong with each, and whether it is a batch.

    Raises `RpcError` when the message as a whole is not one.
    """
    encoded = message.encode() if isinstance(message, str) else message
    if sum(map(encoded.count, (b",", b"[", b"{"))) > MAX_VALUES:
        raise RpcError(INVALID_REQUEST, f"Invalid request: more than {MAX_VALUES} values")
    try:
        decoded = msgspec.json.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, "Parse error") from error
    if not isinstance(decoded, list):
        return [_request(decoded)], False
    if not decoded:
        raise RpcError(INVALID_REQUEST, "Invalid request: an empty batch")
    if len(decoded) > MAX_BATCH:
        raise RpcError(BATCH_TOO_LARGE, "The batch request was too large", _limit(MAX_BATCH))
    return [_request(each) for each in decoded], True


def _request(message: Any) -> Request | RpcError:
    if not isinstance(message, dict):
        return RpcError(INVALID_REQUEST, "Invalid request: not an object")
    request_id = message.get("id")
    if isinstance(request_id, bool) or not isinstance(request_id, str | int | float | None):
        return RpcError(INVALID_REQUEST, "Invalid request: the id is no string or number")
    if message.get("jsonrpc") != "2.0":
        return RpcError(INVALID_REQUEST, 'Invalid request: "jsonrpc" is not "2.0"')
    method = message.get("method")
    if not isinstance(method, str):
        return RpcError(INVALID_REQUEST, "Invalid request: the method is no string")
    params = message.get("params")
    if params is None:
        params = []
    if not isinstance(params, list):
        return RpcError(INVALID_REQUEST, "Invalid request: the params are no array")
    return Request(request_id, method, params, "id" not in message)


def result(request_id: Any, value: Any) -> dict[str, Any]:
    """The answer to a request that went well."""
    return {"jsonrpc": "2.0", "id": request_id, "result": value}


def failure(request_id: Any, error: RpcError) -> dict[str, Any]:
    """The answer to a request that did not."""
    described: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.data is not None:
        described["data"] = error.data
    return {"jsonrpc": "2.0", "id": request_id, "error": described}


def notification(method: str, subscription: str, value: Any) -> dict[str, Any]:
    """A message of a subscription."""
    return {
        "jsonrpc": "2.0",
        "method": method,
        "params": {"subscription": subscription, "result": value},
    }


def encode(message: Any) -> bytes:
    """The bytes of an answer or a notification."""
    return msgspec.json.encode(message)


def encode_answer(answer: dict[str, Any]) -> bytes:
    """The bytes of an answer; those of an error if they are too many."""
    encoded = encode(answer)
    if len(encoded) <= MAX_ANSWER:
        return encoded
    error = RpcError(ANSWER_TOO_LARGE, "Response is too big", _limit(MAX_ANSWER))
    return encode(failure(answer["id"], error))


def answers_too_large() -> bytes:
    """The answer to a batch whose answers are too large together."""
    error = RpcError(ANSWERS_TOO_LARGE, "The batch response was too large", _limit(MAX_ANSWER))
    return encode(failure(None, error))


def _limit(most: int) -> str:
    return f"Exceeded max limit of {most}"
