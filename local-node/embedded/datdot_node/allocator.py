"""The runtime's heap, kept by a small WebAssembly module beside it (`allocator.wat`)."""

from importlib.resources import files

import wasmtime

_SOURCE = "allocator.wat"


def compile_allocator(engine: wasmtime.Engine) -> wasmtime.Module:
    """The allocator's module; one serves any number of stores of its engine."""
    text = files("datdot_node").joinpath(_SOURCE).read_text()
    return wasmtime.Module(engine, text)


class Allocator:
    """A heap in `memory`, which also the runtime allocates from.

    `malloc` and `free` are the functions to link the runtime with. Memory from the base given to
    `reset` on must be zero at that moment.
    """

    def __init__(
        self, store: wasmtime.Store, module: wasmtime.Module, memory: wasmtime.Memory
    ) -> None:
        exports = wasmtime.Instance(store, module, [memory]).exports(store)
        self._store = store
        self.malloc = _function(exports["malloc"])
        self.free = _function(exports["free"])
        self._reset = _function(exports["reset"])
        self._top = _function(exports["top"])

    def reset(self, base: int) -> None:
        """Forgets all blocks and begins a new heap at `base`."""
        self._reset(self._store, base)

    def allocate(self, size: int) -> int:
        """Address of a new block of `size` bytes, aligned to 8. Traps when there is no memory."""
        address: int = self.malloc(self._store, size)
        return address & 0xFFFFFFFF

    @property
    def top(self) -> int:
        """The end of what was ever allocated since the last reset."""
        address: int = self._top(self._store)
        return address & 0xFFFFFFFF


def _function(extern: object) -> wasmtime.Func:
    if not isinstance(extern, wasmtime.Func):
        raise TypeError("the allocator exports functions only")
    return extern
