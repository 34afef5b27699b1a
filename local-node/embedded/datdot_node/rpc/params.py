"""Parameters of a request, checked where they are read."""

from typing import Any

from datdot_node.rpc.jsonrpc import INVALID_PARAMS, RpcError


def to_hex(data: bytes) -> str:
    """Bytes as JSON-RPC shows them."""
    return "0x" + data.hex()


def from_hex(text: Any, name: str) -> bytes:
    """The bytes of a hexadecimal string with 0x. Raises `RpcError`."""
    if not isinstance(text, str) or not text.startswith("0x"):
        raise RpcError(INVALID_PARAMS, f"Invalid params: {name} is no string of 0x…")
    digits = text[2:]
    try:
        data = bytes.fromhex(digits)
    except ValueError as error:
        raise RpcError(INVALID_PARAMS, f"Invalid params: {name} is not hexadecimal") from error
    if len(data) * 2 != len(digits):
        raise RpcError(INVALID_PARAMS, f"Invalid params: {name} has spaces")
    return data


class Params:
    """The parameters of one request by position; every reader raises `RpcError` (-32602)."""

    def __init__(self, values: list[Any]) -> None:
        self._values = values

    def any(self, index: int) -> Any:
        """The parameter as it is; None when left out."""
        return self._values[index] if index < len(self._values) else None

    def hex(self, index: int, name: str) -> bytes:
        """Bytes."""
        return from_hex(self.any(index), name)

    def optional_hex(self, index: int, name: str) -> bytes | None:
        """Bytes, or None."""
        return None if self.any(index) is None else self.hex(index, name)

    def hexes(self, index: int, name: str, most: int) -> list[bytes]:
        """A list of at most `most` byte strings."""
        values = self.any(index)
        if not isinstance(values, list):
            raise RpcError(INVALID_PARAMS, f"Invalid params: {name} is no array")
        if len(values) > most:
            raise RpcError(INVALID_PARAMS, f"Invalid params: more than {most} {name}")
        return [from_hex(value, name) for value in values]

    def block(self, index: int) -> bytes | None:
        """A block hash; None, the newest block, when left out."""
        block_hash = self.optional_hex(index, "the block hash")
        if block_hash is not None and len(block_hash) != 32:
            raise RpcError(INVALID_PARAMS, "Invalid params: a block hash has 32 bytes")
        return block_hash

    def hash(self, index: int) -> bytes:
        """A block hash."""
        if self.any(index) is None:
            raise RpcError(INVALID_PARAMS, "Invalid params: the block hash is missing")
        return self.block(index) or b""

    def flag(self, index: int, name: str) -> bool:
        """True or false."""
        value = self.any(index)
        if not isinstance(value, bool):
            raise RpcError(INVALID_PARAMS, f"Invalid params: {name} is neither true nor false")
        return value

    def text(self, index: int, name: str) -> str:
        """A string."""
        value = self.any(index)
        if not isinstance(value, str):
            raise RpcError(INVALID_PARAMS, f"Invalid params: {name} is no string")
        return value

    def number(self, index: int, name: str) -> int:
        """An unsigned integer; block numbers also come as hexadecimal strings."""
        value = self.any(index)
        if isinstance(value, str) and value.isascii():
            try:
                value = int(value, 16 if value.startswith("0x") else 10)
            except ValueError as error:
                raise RpcError(INVALID_PARAMS, f"Invalid params: {name} is no number") from error
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 64:
            raise RpcError(INVALID_PARAMS, f"Invalid params: {name} is no unsigned number")
        return value

    def optional_number(self, index: int, name: str) -> int | None:
        """An unsigned integer, or None."""
        return None if self.any(index) is None else self.number(index, name)
