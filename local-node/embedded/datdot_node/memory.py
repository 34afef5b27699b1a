"""The runtime's linear memory, with checked access."""

import ctypes

import wasmtime

from datdot_node.errors import NodeError

PAGE = 65536


class OutOfBounds(NodeError):
    """The runtime named bytes outside its memory."""


class LinearMemory:
    """Reads and writes a WebAssembly memory; every access is checked against its size.

    Memory may grow, and then move, at any call into WebAssembly, so where it lies is asked again
    whenever an access seems to be out of bounds, and by `refresh`.
    """

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._store = store
        self._memory = memory
        self._base = 0
        self._size = 0
        self.refresh()

    def refresh(self) -> None:
        """Learns where the memory lies and how large it is."""
        self._base = ctypes.addressof(self._memory.data_ptr(self._store).contents)
        self._size = self._memory.data_len(self._store)

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._size

    def _address(self, pointer: int, length: int) -> int:
        pointer &= 0xFFFFFFFF
        if pointer + length > self._size:
            self.refresh()
            if pointer + length > self._size:
                raise OutOfBounds(f"{length} bytes at {pointer}, memory has {self._size}")
        return self._base + pointer

    def read(self, pointer: int, length: int) -> bytes:
        """A copy of `length` bytes at `pointer`."""
        return ctypes.string_at(self._address(pointer, length), length)

    def write(self, pointer: int, data: bytes) -> None:
        """Copies `data` to `pointer`."""
        ctypes.memmove(self._address(pointer, len(data)), data, len(data))

    def clear(self, end: int) -> None:
        """Sets all bytes below `end` to zero."""
        ctypes.memset(self._address(0, end), 0, end)
