"""Calls into a runtime's code."""

import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path

import wasmtime

from datdot_node import blob
from datdot_node.allocator import Allocator, compile_allocator
from datdot_node.errors import BadRuntime, RuntimeTrapped, UnknownImport, UnknownMethod
from datdot_node.gate import Gate
from datdot_node.host import HOST_FUNCTIONS, Call
from datdot_node.memory import LinearMemory
from datdot_node.overlay import EmptyState, Overlay
from datdot_node.state import root_of

MAX_MEMORY_PAGES = 4096
"""Most memory a runtime gets: 256 MiB, in pages of 64 KiB."""
KEPT_MEMORY = 32 * 1024 * 1024
"""An instance whose memory grew larger than this, in bytes, is given up to free it."""

logger = logging.getLogger(__name__)


@cache
def _engine() -> wasmtime.Engine:
    return blob.engine()


@cache
def _allocator_module() -> wasmtime.Module:
    return compile_allocator(_engine())


_ALLOCATOR_IMPORTS = {"ext_allocator_malloc_version_1", "ext_allocator_free_version_1"}


class Runtime:
    """A runtime's code, ready to be called. Calls share nothing but the overlay.

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
        self._sandbox: _Sandbox | None = None

    def call(self, method: str, arguments: bytes, overlay: Overlay) -> bytes:
        """Calls `method` with SCALE-encoded arguments; its encoded result.

        Its changes are in `overlay` afterwards, unless it trapped: then transactions that it
        left open are taken back, what it changed outside them stays for the caller to take back.
        Raises `UnknownMethod` and `RuntimeTrapped`.
        """
        if method not in self._exports:
            raise UnknownMethod(method)
        sandbox = self._sandbox or _Sandbox(self._module, self._read_version)
        # Used again only when the call ends well.
        self._sandbox = None
        depth = overlay.depth
        try:
            result = sandbox.call(method, arguments, overlay)
        except RuntimeTrapped:
            overlay.rollback_to(depth)
            raise
        if sandbox.memory_size <= KEPT_MEMORY:
            self._sandbox = sandbox
        return result

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
    """An instance of a runtime with its memory, the allocator and the host functions.

    Making an instance takes longer than most calls, so one serves many. Before each call its
    memory is put back to what it was when it was new; apart from its memory it has a stack
    pointer, which is back in its place after a call that ends well. After a trap it must not be
    used again.
    """

    def __init__(
        self, module: wasmtime.Module, read_version: Callable[[bytes], bytes | None]
    ) -> None:
        self._read_version = read_version
        self._store = wasmtime.Store(_engine())
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
        self._allocator = Allocator(self._store, _allocator_module(), self._memory)
        self._gate = Gate(self._store, _engine())
        imports: list[wasmtime.Func | wasmtime.Memory] = []
        for each in module.imports:
            if isinstance(each.type, wasmtime.MemoryType):
                imports.append(memory)
            elif each.name == "ext_allocator_malloc_version_1":
                imports.append(self._allocator.malloc)
            elif each.name == "ext_allocator_free_version_1":
                imports.append(self._allocator.free)
            else:
                imports.append(self._gate.functions[str(each.name)])
        exports = wasmtime.Instance(self._store, module, imports).exports(self._store)
        self._functions = {
            name: each for name, each in exports.items() if isinstance(each, wasmtime.Func)
        }
        base = exports.get("__heap_base")
        if not isinstance(base, wasmtime.Global):
            raise BadRuntime("the runtime exports no __heap_base")
        self._heap_base: int = base.value(self._store)
        self._pristine = self._memory.read(0, self._heap_base)
        self._heap_end = self._heap_base

    @property
    def memory_size(self) -> int:
        """Size of the memory in bytes."""
        self._memory.refresh()
        return self._memory.size

    def call(self, method: str, arguments: bytes, overlay: Overlay) -> bytes:
        """The result of a call. Raises `RuntimeTrapped`, and then is of no more use."""
        self._memory.write(0, self._pristine)
        self._memory.clear(self._heap_base, self._heap_end)
        self._allocator.reset(self._heap_base)
        call = Call(self._memory, self._allocator, overlay, root_of, self._read_version)
        self._gate.call = call
        try:
            pointer = call.give(arguments)
            result = call.read(self._functions[method](self._store, pointer, len(arguments)))
        except Exception as error:
            # Whatever a host function raises unwinds through the runtime: to the caller all of
            # these are the same trap.
            raise RuntimeTrapped(method, call.last_error or _first_line(error)) from error
        finally:
            self._gate.call = None
        self._heap_end = self._allocator.top
        return result


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0]
