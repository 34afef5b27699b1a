"""The runtime's linear memory, with checked access."""

import ctypes

import wasmtime

from datdot_node.errors import NodeError


class OutOfBounds(NodeError):
    """The runtime named bytes outside its memory."""


class LinearMemory:
    """Reads and writes a WebAssembly memory; every access is checked against its size.

    Memory may grow at any call into WebAssembly, so its size is asked again whenever an access
    seems to be out of bounds, and by `refresh`. It never moves: the engine is told so.
    """

    def __init__(self, store: wasmtime.Store, memory: wasmtime.Memory) -> None:
        self._store = store
        self.imported = memory
        self._base = 0
        self._size = 0
        self.refresh()

    def refresh(self) -> None:
        """Learns how large the memory is now."""
        self._base = ctypes.addressof(self.imported.data_ptr(self._store).contents)
        self._size = self.imported.data_len(self._store)

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

    def read_word(self, pointer: int) -> int:
        """The unsigned 32-bit integer at `pointer`."""
        return ctypes.c_uint32.from_address(self._address(pointer, 4)).value

    def write_word(self, pointer: int, value: int) -> None:
        """Writes an unsigned 32-bit integer to `pointer`."""
        ctypes.c_uint32.from_address(self._address(pointer, 4)).value = value

    def clear(self, start: int, end: int) -> None:
        """Sets the bytes from `start` up to `end` to zero."""
        ctypes.memset(self._address(start, end - start), 0, end - start)
