"""The runtime's heap, kept by a small WebAssembly module beside it (`allocator.wat`)."""

from importlib.resources import files

import wasmtime

from datdot_node.memory import LinearMemory

MAX_ALLOCATION = 32 * 1024 * 1024
"""Largest block, in bytes."""
_SOURCE = "allocator.wat"
_HEADS_SIZE, _TOP_OFFSET, _HEADER_SIZE = 96, 92, 8


def compile_allocator(engine: wasmtime.Engine) -> wasmtime.Module:
    """The allocator's module; one serves any number of stores of its engine."""
    return wasmtime.Module(engine, files("datdot_node").joinpath(_SOURCE).read_text())


class Allocator:
    """A heap in `memory`, from which the runtime and the host allocate.

    `malloc` and `free` are the functions to link the runtime with. The host's own `allocate`
    works on the same lists in memory, because a call into WebAssembly takes much longer than it.
    """

    def __init__(
        self, store: wasmtime.Store, module: wasmtime.Module, memory: LinearMemory
    ) -> None:
        exports = wasmtime.Instance(store, module, [memory.imported]).exports(store)
        malloc, free, heads = exports["malloc"], exports["free"], exports["heads"]
        if (
            not isinstance(malloc, wasmtime.Func)
            or not isinstance(free, wasmtime.Func)
            or not isinstance(heads, wasmtime.Global)
        ):
            raise TypeError("the allocator's exports are of other kinds")
        self.malloc = malloc
        self.free = free
        self._heads_global = heads
        self._store = store
        self._memory = memory
        self._heads = 0

    def reset(self, base: int) -> None:
        """Begins a new heap at `base`; memory from there on must be zero."""
        heads = (base + 7) & ~7
        if heads != self._heads:
            self._heads_global.set_value(self._store, wasmtime.Val.i32(heads))
            self._heads = heads
        self._memory.write_word(heads + _TOP_OFFSET, heads + _HEADS_SIZE)

    def allocate(self, size: int) -> int:
        """Address of a new block of `size` bytes, aligned to 8. Traps when there is no memory."""
        order = max(0, (size - 1).bit_length() - 3)
        head, memory = self._heads + 4 * order, self._memory
        if size <= MAX_ALLOCATION:
            block = memory.read_word(head)
            if block:
                memory.write_word(head, memory.read_word(block))
                return self._occupy(block, order)
            block = self.top
            end = block + _HEADER_SIZE + (8 << order)
            if end <= memory.size:
                memory.write_word(self._heads + _TOP_OFFSET, end)
                return self._occupy(block, order)
        # What needs more memory, or is refused, is left to the one place that knows how.
        address: int = self.malloc(self._store, size)
        memory.refresh()
        return address & 0xFFFFFFFF

    def _occupy(self, block: int, order: int) -> int:
        self._memory.write_word(block, order)
        self._memory.write_word(block + 4, 1)
        return block + _HEADER_SIZE

    @property
    def top(self) -> int:
        """The end of what was ever allocated since the last reset."""
        return self._memory.read_word(self._heads + _TOP_OFFSET)
