"""Host functions: what a runtime imports from `env`.

Signatures are written as wasm types, `i` for i32 and `I` for i64, with the result after a colon.
A *span* is an i64 that names bytes in the runtime's memory: address in the low, length in the high
32 bits. Their meanings: `sp-io` of the release named in local-node.md.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import ed25519_zebra
import sr25519

from datdot_node import hashing, trie
from datdot_node.allocator import Allocator
from datdot_node.memory import LinearMemory
from datdot_node.overlay import Overlay
from datdot_node.scale import Reader, option, sized

logger = logging.getLogger("datdot_node.runtime")

_LEVELS = {0: logging.ERROR, 1: logging.WARNING, 2: logging.INFO, 3: logging.DEBUG, 4: 5}
"""Levels of runtime messages, from error to trace."""


class RuntimeAborted(Exception):
    """The runtime asked to be stopped, with its message."""


Roots = Callable[[Overlay, int], bytes]
"""Computes the root of a state with changes, for a state version."""


@dataclass(slots=True)
class Call:
    """One call into the runtime, as host functions see it."""

    memory: LinearMemory
    allocator: Allocator
    overlay: Overlay
    roots: Roots
    read_version: Callable[[bytes], bytes | None]
    last_error: str = ""

    def read(self, span: int) -> bytes:
        """The bytes that a span names."""
        return self.memory.read(span & 0xFFFFFFFF, span >> 32 & 0xFFFFFFFF)

    def give(self, data: bytes) -> int:
        """Copies `data` to a new block of the runtime's heap; its address."""
        pointer = self.allocator.allocate(len(data))
        self.memory.write(pointer, data)
        return pointer

    def give_span(self, data: bytes) -> int:
        """Copies `data` to a new block of the runtime's heap; its span."""
        return len(data) << 32 | self.give(data)


Function = Callable[..., int | None]


@dataclass(frozen=True, slots=True)
class HostFunction:
    """A function that a runtime may import."""

    parameters: str
    result: str
    function: Function


HOST_FUNCTIONS: dict[str, HostFunction] = {}
"""All functions of this host by their full names."""


def _host(name: str, signature: str) -> Callable[[Function], Function]:
    parameters, _, result = signature.partition(":")

    def register(function: Function) -> Function:
        HOST_FUNCTIONS[f"ext_{name}"] = HostFunction(parameters, result, function)
        return function

    return register


# Storage


@_host("storage_get_version_1", "I:I")
def _storage_get(call: Call, key: int) -> int:
    value = call.overlay.get(call.read(key))
    return call.give_span(option(None if value is None else sized(value)))


@_host("storage_read_version_1", "IIi:I")
def _storage_read(call: Call, key: int, out: int, offset: int) -> int:
    value = call.overlay.get(call.read(key))
    if value is None:
        return call.give_span(option(None))
    rest = value[offset & 0xFFFFFFFF :]
    call.memory.write(out & 0xFFFFFFFF, rest[: out >> 32 & 0xFFFFFFFF])
    return call.give_span(option(len(rest).to_bytes(4, "little")))


@_host("storage_set_version_1", "II")
def _storage_set(call: Call, key: int, value: int) -> None:
    call.overlay.set(call.read(key), call.read(value))


@_host("storage_clear_version_1", "I")
def _storage_clear(call: Call, key: int) -> None:
    call.overlay.set(call.read(key), None)


@_host("storage_exists_version_1", "I:i")
def _storage_exists(call: Call, key: int) -> int:
    return int(call.overlay.get(call.read(key)) is not None)


@_host("storage_clear_prefix_version_1", "I")
def _storage_clear_prefix(call: Call, prefix: int) -> None:
    call.overlay.clear_prefix(call.read(prefix))


@_host("storage_clear_prefix_version_2", "II:I")
def _storage_clear_prefix_limited(call: Call, prefix: int, limit: int) -> int:
    reader = Reader(call.read(limit))
    bound = reader.u32() if reader.u8() else None
    done, removed = call.overlay.clear_prefix(call.read(prefix), bound)
    return call.give_span(bytes((0 if done else 1,)) + removed.to_bytes(4, "little"))


@_host("storage_append_version_1", "II")
def _storage_append(call: Call, key: int, item: int) -> None:
    call.overlay.append(call.read(key), call.read(item))


@_host("storage_root_version_2", "i:I")
def _storage_root(call: Call, version: int) -> int:
    return call.give_span(call.roots(call.overlay, version))


@_host("storage_changes_root_version_1", "I:I")
def _storage_changes_root(call: Call, parent: int) -> int:
    return call.give_span(option(None))


@_host("storage_next_key_version_1", "I:I")
def _storage_next_key(call: Call, key: int) -> int:
    following = call.overlay.next_key(call.read(key))
    return call.give_span(option(None if following is None else sized(following)))


@_host("storage_start_transaction_version_1", "")
def _storage_start_transaction(call: Call) -> None:
    call.overlay.begin()


@_host("storage_rollback_transaction_version_1", "")
def _storage_rollback_transaction(call: Call) -> None:
    call.overlay.rollback()


@_host("storage_commit_transaction_version_1", "")
def _storage_commit_transaction(call: Call) -> None:
    call.overlay.commit()


# Tries


@_host("trie_blake2_256_ordered_root_version_2", "Ii:i")
def _trie_ordered_root(call: Call, values: int, version: int) -> int:
    reader = Reader(call.read(values))
    items = [reader.sized() for _ in range(reader.length())]
    return call.give(trie.ordered_root(items, version))


@_host("trie_blake2_256_root_version_2", "Ii:i")
def _trie_root(call: Call, pairs: int, version: int) -> int:
    reader = Reader(call.read(pairs))
    items = [(reader.sized(), reader.sized()) for _ in range(reader.length())]
    return call.give(trie.root(items, version))


# Hashing


def _register_hash(name: str, function: Callable[[bytes], bytes]) -> None:
    @_host(f"hashing_{name}_version_1", "I:i")
    def _hash(call: Call, data: int) -> int:
        return call.give(function(call.read(data)))


_register_hash("blake2_128", hashing.blake2_128)
_register_hash("blake2_256", hashing.blake2_256)
_register_hash("sha2_256", hashing.sha2_256)
_register_hash("keccak_256", hashing.keccak_256)
_register_hash("twox_64", hashing.twox_64)
_register_hash("twox_128", hashing.twox_128)
_register_hash("twox_256", hashing.twox_256)


# Signatures


@_host("crypto_ed25519_verify_version_1", "iIi:i")
def _ed25519_verify(call: Call, signature: int, message: int, public: int) -> int:
    try:
        valid = ed25519_zebra.ed_verify(
            call.memory.read(signature, 64), call.read(message), call.memory.read(public, 32)
        )
    except ValueError:
        return 0
    return int(valid)


@_host("crypto_sr25519_verify_version_2", "iIi:i")
def _sr25519_verify(call: Call, signature: int, message: int, public: int) -> int:
    try:
        valid = sr25519.verify(
            call.memory.read(signature, 64), call.read(message), call.memory.read(public, 32)
        )
    except ValueError:
        return 0
    return int(valid)


def _recover(call: Call, signature: int, digest: int, *, compressed: bool) -> int:
    from datdot_node import secp256k1

    return call.give_span(
        secp256k1.recover(
            call.memory.read(signature, 65), call.memory.read(digest, 32), compressed=compressed
        )
    )


@_host("crypto_secp256k1_ecdsa_recover_version_2", "ii:I")
def _ecdsa_recover(call: Call, signature: int, message: int) -> int:
    return _recover(call, signature, message, compressed=False)


@_host("crypto_secp256k1_ecdsa_recover_compressed_version_2", "ii:I")
def _ecdsa_recover_compressed(call: Call, signature: int, message: int) -> int:
    return _recover(call, signature, message, compressed=True)


# Keystore: the embedded chain has none, as it signs nothing. A runtime imports these for
# `SessionKeys_generate_session_keys`; calling that here traps.


def _register_keystore(name: str, signature: str) -> None:
    @_host(f"crypto_{name}_version_1", signature)
    def _no_keystore(call: Call, *arguments: int) -> None:
        raise RuntimeAborted("the embedded chain has no keystore")


for _scheme in ("ed25519", "sr25519"):
    _register_keystore(f"{_scheme}_generate", "iI:i")
    _register_keystore(f"{_scheme}_sign", "iiI:I")


# Logs and the rest


@_host("logging_log_version_1", "iII")
def _log(call: Call, level: int, target: int, message: int) -> None:
    text = call.read(message).decode(errors="replace")
    if level == 0:
        call.last_error = text
    logger.log(
        _LEVELS.get(level, logging.DEBUG),
        "%s: %s",
        call.read(target).decode(errors="replace"),
        text,
    )


@_host("logging_max_level_version_1", ":i")
def _max_level(call: Call) -> int:
    effective = logger.getEffectiveLevel()
    return 1 + max((number for number, level in _LEVELS.items() if level >= effective), default=-1)


@_host("panic_handler_abort_on_panic_version_1", "I")
def _abort_on_panic(call: Call, message: int) -> None:
    raise RuntimeAborted(call.read(message).decode(errors="replace"))


@_host("misc_print_num_version_1", "I")
def _print_num(call: Call, value: int) -> None:
    logger.debug("%d", value & 0xFFFFFFFFFFFFFFFF)


@_host("misc_print_utf8_version_1", "I")
def _print_utf8(call: Call, text: int) -> None:
    logger.debug("%s", call.read(text).decode(errors="replace"))


@_host("misc_print_hex_version_1", "I")
def _print_hex(call: Call, data: int) -> None:
    logger.debug("%s", call.read(data).hex())


@_host("misc_runtime_version_version_1", "I:I")
def _runtime_version(call: Call, code: int) -> int:
    version = call.read_version(call.read(code))
    return call.give_span(option(None if version is None else sized(version)))
