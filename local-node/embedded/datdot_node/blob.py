"""The runtime's code: from the bytes under `:code` to a compiled module.

Source: local-node.md, «The embedded chain», Blob.
"""

import logging
import os
import platform
import stat
import tempfile
from importlib.metadata import version
from pathlib import Path

import wasmtime
import zstandard

from datdot_node.errors import BadRuntime
from datdot_node.hashing import blake2_256

COMPRESSED_MAGIC = bytes.fromhex("52bc537646db8e05")
WASM_MAGIC = b"\0asm"
MAX_CODE = 50 * 1024 * 1024
"""Largest code after decompression, in bytes; the bound of native nodes."""

logger = logging.getLogger(__name__)


def decompress(code: bytes) -> bytes:
    """The plain wasm of `code`, which may be compressed. Raises `BadRuntime`."""
    if code.startswith(COMPRESSED_MAGIC):
        try:
            with zstandard.ZstdDecompressor().stream_reader(code[len(COMPRESSED_MAGIC) :]) as plain:
                code = plain.read(MAX_CODE + 1)
        except zstandard.ZstdError as error:
            raise BadRuntime(f"the runtime's code cannot be decompressed: {error}") from error
    if len(code) > MAX_CODE:
        raise BadRuntime(f"the runtime's code is larger than {MAX_CODE} bytes")
    if not code.startswith(WASM_MAGIC):
        raise BadRuntime("the runtime's code is no WebAssembly module")
    return code


def engine() -> wasmtime.Engine:
    """An engine for runtimes: what they may use of WebAssembly is the 1.0 language and sign ops."""
    configuration = wasmtime.Config()
    configuration.max_wasm_stack = 1024 * 1024
    configuration.wasm_threads = False
    configuration.memory_may_move = False
    return wasmtime.Engine(configuration)


def default_cache() -> Path:
    """The user's folder for compiled runtimes."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "datdot" / "runtimes"


def load(engine: wasmtime.Engine, code: bytes, cache: Path | None) -> wasmtime.Module:
    """Compiles `code`, or takes the compiled module from `cache`.

    A cached module is native code, so it is taken only from a file that nobody but this user can
    write; what cannot be read or written is compiled instead, and said in the log.
    Raises `BadRuntime`.
    """
    if cache is not None:
        name = f"{blake2_256(code).hex()}-{version('wasmtime')}-{platform.machine()}.cwasm"
        path = cache / name
        cached = _cached(engine, path)
        if cached is not None:
            return cached
    try:
        module = wasmtime.Module(engine, decompress(code))
    except wasmtime.WasmtimeError as error:
        raise BadRuntime(f"the runtime's code does not compile: {error}") from error
    if cache is not None:
        _keep(module, path)
    return module


def _cached(engine: wasmtime.Engine, path: Path) -> wasmtime.Module | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        logger.warning("cannot read the cached runtime %s: %s", path, error)
        return None
    if status.st_uid != os.getuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        logger.warning("not using %s: others may have written it", path)
        return None
    try:
        return wasmtime.Module.deserialize_file(engine, str(path))
    except wasmtime.WasmtimeError as error:
        logger.warning("not using the cached runtime %s: %s", path, error)
        return None


def _keep(module: wasmtime.Module, path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(module.serialize())
        Path(file.name).replace(path)
    except OSError as error:
        logger.warning("cannot keep the compiled runtime in %s: %s", path.parent, error)
