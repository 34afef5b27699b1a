"""Host functions called from WebAssembly, on known values."""

import hashlib
from collections.abc import Sequence

import pytest
import sr25519
from eth_keys import keys as secp256k1
from nacl.signing import SigningKey

from datdot_node.errors import BadRuntime, RuntimeTrapped, UnknownImport, UnknownMethod
from datdot_node.executor import Runtime
from datdot_node.host import HOST_FUNCTIONS
from datdot_node.overlay import EmptyState, Overlay
from datdot_node.trie import ordered_root

HEAP_BASE = 4096


class Pointer(bytes):
    """Bytes that a function takes by address alone."""


Argument = bytes | int


def guest(body: str, imports: str = "") -> bytes:
    """A module that looks like a runtime."""
    return _wasm(
        f"""(module (import "env" "memory" (memory 2)) {imports}
        (global (export "__heap_base") i32 (i32.const {HEAP_BASE})) {body})"""
    )


def _wasm(text: str) -> bytes:
    import wasmtime

    return bytes(wasmtime.wat2wasm(text))


def call(name: str, arguments: Sequence[Argument], overlay: Overlay | None = None) -> bytes:
    """Calls one host function; what it gives back: the bytes of a span, or the raw result.

    Spans and pointers are put behind each other into the argument of the guest's call.
    """
    signature = HOST_FUNCTIONS[name]
    types = {"i": "i32", "I": "i64"}
    data, pushed = b"", ""
    for kind, argument in zip(signature.parameters, arguments, strict=True):
        if isinstance(argument, int):
            pushed += f"({types[kind]}.const {argument})"
            continue
        offset = len(data)
        data += argument
        address = f"(i32.add (local.get 0) (i32.const {offset}))"
        if isinstance(argument, Pointer):
            pushed += address
        else:
            pushed += f"(i64.or (i64.extend_i32_u {address}) (i64.const {len(argument) << 32}))"
    result = f"(result {types[signature.result]})" if signature.result else ""
    parameters = " ".join(types[each] for each in signature.parameters)
    invoked = f"(call $f {pushed})"
    if signature.result == "i":
        # The result word itself, put into memory: 4 bytes at address 0.
        body = f"(i32.store (i32.const 0) {invoked}) (i64.const {4 << 32})"
    elif signature.result == "I":
        body = invoked
    else:
        body = f"{invoked} (i64.const 0)"
    code = guest(
        f'(func (export "run") (param i32 i32) (result i64) {body})',
        f'(import "env" "{name}" (func $f (param {parameters}) {result}))',
    )
    return Runtime(code).call("run", data, overlay or Overlay(EmptyState()))


def pointed(name: str, arguments: Sequence[Argument], length: int) -> bytes:
    """Calls a host function that gives a pointer; the bytes there."""
    signature = HOST_FUNCTIONS[name]
    assert signature.parameters[0] == "I"
    (data, *rest) = arguments
    assert isinstance(data, bytes)
    more = "".join(f"(i32.const {each})" for each in rest)
    code = guest(
        f"""(func (export "run") (param i32 i32) (result i64)
        (i64.or (i64.const {length << 32}) (i64.extend_i32_u (call $f
        (i64.or (i64.extend_i32_u (local.get 0)) (i64.const {len(data) << 32})) {more}))))""",
        f'(import "env" "{name}" (func $f (param i64 {"i32 " * len(rest)}) (result i32)))',
    )
    return Runtime(code).call("run", data, Overlay(EmptyState()))


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("blake2_256", b"abc", hashlib.blake2b(b"abc", digest_size=32).hexdigest()),
        ("blake2_128", b"", hashlib.blake2b(b"", digest_size=16).hexdigest()),
        ("sha2_256", b"abc", hashlib.sha256(b"abc").hexdigest()),
        (
            "keccak_256",
            b"",
            "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470",
        ),
        ("twox_64", b"", "99e9d85137db46ef"),
        ("twox_128", b"System", "26aa394eea5630e07c48ae0c9558cef7"),
        ("twox_128", b"Account", "b99d880ec681799c0cf30e8886371da9"),
        ("twox_256", b"", "99e9d85137db46ef4bbea33613baafd56f963c64b1f3685a4eb4abd67ff6203a"),
    ],
)
def test_hashes(name: str, data: bytes, expected: str) -> None:
    digest = pointed(f"ext_hashing_{name}_version_1", [data], len(expected) // 2)
    assert digest.hex() == expected


def test_storage() -> None:
    overlay = Overlay(EmptyState())
    assert call("ext_storage_get_version_1", [b"k"], overlay) == b"\0"
    assert call("ext_storage_exists_version_1", [b"k"], overlay) == bytes(4)
    call("ext_storage_set_version_1", [b"k", b"value"], overlay)
    assert overlay.get(b"k") == b"value"
    assert call("ext_storage_get_version_1", [b"k"], overlay) == b"\1\x14value"
    assert call("ext_storage_exists_version_1", [b"k"], overlay) == b"\1\0\0\0"
    assert call("ext_storage_next_key_version_1", [b"a"], overlay) == b"\1\4k"
    assert call("ext_storage_next_key_version_1", [b"k"], overlay) == b"\0"
    call("ext_storage_append_version_1", [b"list", b"\7"], overlay)
    assert overlay.get(b"list") == b"\4\7"
    root = call("ext_storage_root_version_2", [1], overlay)
    assert len(root) == 32
    call("ext_storage_clear_version_1", [b"k"], overlay)
    assert call("ext_storage_root_version_2", [1], overlay) != root
    assert call("ext_storage_clear_prefix_version_2", [b"li", b"\1\0\0\0\0"], overlay) == bytes(5)
    assert overlay.get(b"list") is None


@pytest.mark.parametrize(
    ("offset", "room", "rest"), [(0, 10, 5), (2, 10, 3), (2, 1, 3), (5, 4, 0), (9, 4, 0)]
)
def test_storage_read(offset: int, room: int, rest: int) -> None:
    overlay = Overlay(EmptyState())
    overlay.set(b"k", b"value")
    assert call("ext_storage_read_version_1", [b"k", bytes(room), offset], overlay) == (
        b"\1" + rest.to_bytes(4, "little")
    )
    assert call("ext_storage_read_version_1", [b"x", bytes(room), offset], overlay) == b"\0"


def test_transactions_of_a_call_that_traps_are_taken_back() -> None:
    overlay = Overlay(EmptyState())
    code = guest(
        """(func (export "run") (param i32 i32) (result i64)
        (call $begin) (call $begin) (call $set (i64.const 0x100000000) (i64.const 0x100000000))
        (call $commit) (unreachable))""",
        """(import "env" "ext_storage_start_transaction_version_1" (func $begin))
        (import "env" "ext_storage_commit_transaction_version_1" (func $commit))
        (import "env" "ext_storage_set_version_1" (func $set (param i64 i64)))""",
    )
    with pytest.raises(RuntimeTrapped):
        Runtime(code).call("run", b"", overlay)
    assert overlay.depth == 0
    assert overlay.changes == {}


@pytest.mark.parametrize("name", ["commit", "rollback"])
def test_ending_a_transaction_that_was_not_begun_traps(name: str) -> None:
    with pytest.raises(RuntimeTrapped):
        call(f"ext_storage_{name}_transaction_version_1", [])


def test_ordered_root() -> None:
    values = [b"", b"a", b"b" * 40]
    encoded = b"\x0c\0\4a\xa0" + b"b" * 40
    for version in (0, 1):
        name = "ext_trie_blake2_256_ordered_root_version_2"
        assert pointed(name, [encoded, version], 32) == ordered_root(values, version)


def test_ed25519() -> None:
    key = SigningKey(bytes(32))
    signature = key.sign(b"message").signature
    public = bytes(key.verify_key)
    name = "ext_crypto_ed25519_verify_version_1"
    assert call(name, [Pointer(signature), b"message", Pointer(public)]) == b"\1\0\0\0"
    assert call(name, [Pointer(signature), b"massage", Pointer(public)]) == bytes(4)
    assert call(name, [Pointer(bytes(64)), b"", Pointer(b"\xff" * 32)]) == bytes(4)


def test_sr25519() -> None:
    pair = sr25519.pair_from_seed(bytes(32))
    signature = sr25519.sign(pair, b"message")
    name = "ext_crypto_sr25519_verify_version_2"
    assert call(name, [Pointer(signature), b"message", Pointer(pair[0])]) == b"\1\0\0\0"
    assert call(name, [Pointer(signature), b"massage", Pointer(pair[0])]) == bytes(4)
    assert call(name, [Pointer(bytes(64)), b"", Pointer(b"\xff" * 32)]) == bytes(4)


@pytest.mark.parametrize("offset", [0, 27])
def test_ecdsa_recovery(offset: int) -> None:
    key = secp256k1.PrivateKey(b"\1" * 32)
    digest = hashlib.blake2b(b"message", digest_size=32).digest()
    signature = key.sign_msg_hash(digest).to_bytes()
    signature = signature[:64] + bytes([signature[64] + offset])
    compressed = call(
        "ext_crypto_secp256k1_ecdsa_recover_compressed_version_2",
        [Pointer(signature), Pointer(digest)],
    )
    assert compressed == b"\0" + key.public_key.to_compressed_bytes()
    whole = call(
        "ext_crypto_secp256k1_ecdsa_recover_version_2", [Pointer(signature), Pointer(digest)]
    )
    assert whole == b"\0" + key.public_key.to_bytes()


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (b"\1" * 64 + b"\4", b"\1\1"),
        (b"\xff" * 64 + b"\0", b"\1\0"),
        (bytes(64) + b"\0", b"\1\2"),
    ],
)
def test_ecdsa_signatures_that_are_none(signature: bytes, expected: bytes) -> None:
    name = "ext_crypto_secp256k1_ecdsa_recover_compressed_version_2"
    assert call(name, [Pointer(signature), Pointer(bytes(32))]) == expected


def test_unknown_imports_are_named_at_load() -> None:
    code = guest("", '(import "env" "ext_new_thing_version_7" (func))')
    with pytest.raises(UnknownImport, match=r"env\.ext_new_thing_version_7"):
        Runtime(code)


def test_no_keystore_no_abort_no_method() -> None:
    with pytest.raises(RuntimeTrapped, match="no keystore"):
        call("ext_crypto_sr25519_generate_version_1", [Pointer(b"aura"), b"\0"])
    with pytest.raises(RuntimeTrapped, match="it went wrong"):
        call("ext_panic_handler_abort_on_panic_version_1", [b"it went wrong"])
    with pytest.raises(UnknownMethod):
        Runtime(guest("")).call("run", b"", Overlay(EmptyState()))


def test_bytes_outside_of_memory_trap() -> None:
    code = guest(
        """(func (export "run") (param i32 i32) (result i64)
        (call $clear (i64.const 0x7fffffff0000ffff)) (i64.const 0))""",
        '(import "env" "ext_storage_clear_version_1" (func $clear (param i64)))',
    )
    with pytest.raises(RuntimeTrapped, match="memory has"):
        Runtime(code).call("run", b"", Overlay(EmptyState()))


def test_calls_share_no_memory() -> None:
    code = guest(
        """(global $low i32 (i32.const 64)) (data (i32.const 64) "\\07")
        (func (export "run") (param i32 i32) (result i64) (local $old i32)
        (local.set $old (i32.add (i32.load8_u (global.get $low))
          (i32.load8_u (i32.const 70000))))
        (i32.store8 (global.get $low) (i32.const 99))
        (drop (call $malloc (i32.const 80000)))
        (i32.store8 (i32.const 70000) (i32.const 99))
        (i32.store8 (i32.const 0) (local.get $old)) (i64.const 0x100000000))""",
        '(import "env" "ext_allocator_malloc_version_1" (func $malloc (param i32) (result i32)))',
    )
    runtime = Runtime(code)
    assert [runtime.call("run", b"", Overlay(EmptyState())) for _ in range(3)] == [b"\7"] * 3


def test_a_module_without_heap_base_is_refused() -> None:
    code = _wasm(
        """(module (import "env" "memory" (memory 1))
        (func (export "run") (param i32 i32) (result i64) (i64.const 0)))"""
    )
    with pytest.raises(BadRuntime, match="__heap_base"):
        Runtime(code).call("run", b"", Overlay(EmptyState()))
