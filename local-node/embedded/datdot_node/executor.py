"""Calls into a runtime's code."""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

import wasmtime

from datdot_node import blob
from datdot_node.allocator import Allocator, compile_allocator
from datdot_node.errors import BadRuntime, RuntimeTrapped, UnknownImport, UnknownMethod
from datdot_node.host import HOST_FUNCTIONS, Call, HostFunction
from datdot_node.memory import PAGE, LinearMemory
from datdot_node.overlay import EmptyState, Overlay
from datdot_node.state import root_of

MAX_MEMORY_PAGES = 4096
"""Most memory a runtime gets: 256 MiB, in pages of 64 KiB."""
CALLS_PER_STORE = 2000
"""A store keeps every instance ever made in it, so it is replaced after so many calls."""

logger = logging.getLogger(__name__)


@cache
def _engine() -> wasmtime.Engine:
    return blob.engine()


@cache
def _allocator_module() -> wasmtime.Module:
    return compile_allocator(_engine())


_ALLOCATOR_IMPORTS = {"ext_allocator_malloc_version_1", "ext_allocator_free_version_1"}
_VALUE_TYPES = {"i": wasmtime.ValType.i32, "I": wasmtime.ValType.i64}


class Runtime:
    """A runtime's code, ready to be called.

    Each call runs in a new instance on cleared memory, so nothing but the overlay carries over.
    For one thread at a time.
    """

    def __init__(self, code: bytes, *, cache: Path | None = None) -> None:
        """Compiles `code`, the value under `:code`; `cache` keeps compiled code between starts.

        Raises `BadRuntime` and `UnknownImport`.
        """
        self._cache = cache
        self._module = blob.load(_engine(), code, cache)
        unknown = sorted(
            f"{each.module}.{each.name}" for each in self._module.imports if not _is_known(each)
        )
        if unknown:
            raise UnknownImport(unknown)
        self._exports = {each.name for each in self._module.exports}
        self._sandbox = _Sandbox(self._module, self._read_version)

    def has(self, method: str) -> bool:
        """Whether the runtime exports this call."""
        return method in self._exports

    def call(self, method: str, arguments: bytes, overlay: Overlay) -> bytes:
        """Calls `method` with SCALE-encoded arguments; its encoded result.

        Its changes are in `overlay` afterwards, unless it trapped: then transactions that it
        left open are taken back, what it changed outside them stays for the caller to take back.
        Raises `UnknownMethod` and `RuntimeTrapped`.
        """
        if method not in self._exports:
            raise UnknownMethod(method)
        if self._sandbox.calls >= CALLS_PER_STORE:
            self._sandbox = _Sandbox(self._module, self._read_version)
        depth = overlay.depth
        try:
            return self._sandbox.call(method, arguments, overlay)
        except RuntimeTrapped:
            overlay.rollback_to(depth)
            raise

    def _read_version(self, code: bytes) -> bytes | None:
        """The encoded version of other code; None if it cannot be had."""
        try:
            other = Runtime(code, cache=self._cache)
            return other.call("Core_version", b"", Overlay(EmptyState()))
        except (BadRuntime, RuntimeTrapped, UnknownMethod) as error:
            logger.warning("no version in the new code: %s", error)
            return None


def _is_known(imported: wasmtime.ImportType) -> bool:
    if imported.module != "env":
        return False
    name = imported.name
    if isinstance(imported.type, wasmtime.MemoryType):
        return name == "memory"
    return name in HOST_FUNCTIONS or name in _ALLOCATOR_IMPORTS


class _Sandbox:
    """A store with one memory, the allocator and the host functions, for many instances."""

    def __init__(
        self, module: wasmtime.Module, read_version: Callable[[bytes], bytes | None]
    ) -> None:
        self._module = module
        self._read_version = read_version
        self._store = wasmtime.Store(_engine())
        self._call: Call | None = None
        self.calls = 0
        minimum = max(
            (
                each.type.limits.min
                for each in module.imports
                if isinstance(each.type, wasmtime.MemoryType)
            ),
            default=1,
        )
        memory = wasmtime.Memory(
            self._store, wasmtime.MemoryType(wasmtime.Limits(minimum, MAX_MEMORY_PAGES))
        )
        self._memory = LinearMemory(self._store, memory)
        self._allocator = Allocator(self._store, _allocator_module(), memory)
        self._imports: list[wasmtime.Func | wasmtime.Memory] = []
        for each in module.imports:
            if isinstance(each.type, wasmtime.MemoryType):
                self._imports.append(memory)
            elif each.name == "ext_allocator_malloc_version_1":
                self._imports.append(self._allocator.malloc)
            elif each.name == "ext_allocator_free_version_1":
                self._imports.append(self._allocator.free)
            else:
                self._imports.append(self._bind(HOST_FUNCTIONS[str(each.name)]))
        self._dirty = minimum * PAGE

    def _bind(self, host: HostFunction) -> wasmtime.Func:
        def run(*arguments: int) -> int | None:
            if self._call is None:
                raise BadRuntime("the runtime calls the host outside of a call")
            return host.function(self._call, *arguments)

        signature = wasmtime.FuncType(
            [_VALUE_TYPES[each]() for each in host.parameters],
            [_VALUE_TYPES[each]() for each in host.result],
        )
        return wasmtime.Func(self._store, signature, run)

    def call(self, method: str, arguments: bytes, overlay: Overlay) -> bytes:
        self.calls += 1
        self._memory.clear(self._dirty)
        call = Call(self._memory, self._allocator, overlay, root_of, self._read_version)
        self._call = call
        try:
            instance = wasmtime.Instance(self._store, self._module, self._imports)
            exports = instance.exports(self._store)
            base, function = exports["__heap_base"], exports[method]
            if not isinstance(base, wasmtime.Global) or not isinstance(function, wasmtime.Func):
                raise BadRuntime(
                    f"the runtime's exports __heap_base or {method} are of other kinds"
                )
            self._allocator.reset(base.value(self._store))
            pointer = call.give(arguments)
            span = function(self._store, pointer, len(arguments))
            return call.read(span)
        except Exception as error:
            # Whatever a host function raises unwinds through the runtime: to its caller, all of
            # these are the same trap.
            if isinstance(error, BadRuntime):
                raise
            raise RuntimeTrapped(method, call.last_error or _first_line(error)) from error
        finally:
            self._call = None
            self._dirty = max(self._allocator.top, self._dirty)


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
