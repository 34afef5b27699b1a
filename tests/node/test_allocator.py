"""The heap: blocks never overlap, the runtime's two bytes harm nothing, both ways agree."""

import pytest
import wasmtime
from hypothesis import given
from hypothesis import strategies as st

from datdot_node import blob
from datdot_node.allocator import MAX_ALLOCATION, Allocator, compile_allocator
from datdot_node.memory import LinearMemory

ENGINE = blob.engine()
MODULE = compile_allocator(ENGINE)
BASE = 1001


class Heap:
    def __init__(self, pages: int = 1, most: int = 64) -> None:
        self.store = wasmtime.Store(ENGINE)
        memory = wasmtime.Memory(self.store, wasmtime.MemoryType(wasmtime.Limits(pages, most)))
        self.memory = LinearMemory(self.store, memory)
        self.allocator = Allocator(self.store, MODULE, self.memory)
        self.allocator.reset(BASE)

    def malloc(self, size: int) -> int:
        pointer: int = self.allocator.malloc(self.store, size)
        return pointer

    def free(self, pointer: int) -> None:
        self.allocator.free(self.store, pointer)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["guest", "host"]), st.integers(0, 5000)),
        st.tuples(st.just("free"), st.integers(0, 50)),
    ),
    max_size=60,
)


@given(STEPS)
def test_blocks_hold_what_was_written(steps: list[tuple[str, int]]) -> None:
    heap = Heap()
    blocks: list[tuple[int, bytes]] = []
    for index, (kind, number) in enumerate(steps):
        if kind == "free":
            if blocks:
                pointer, _ = blocks.pop(number % len(blocks))
                heap.free(pointer)
            continue
        pointer = heap.malloc(number) if kind == "guest" else heap.allocator.allocate(number)
        assert pointer % 8 == 0
        assert pointer >= BASE
        # As the runtime's allocator does: an offset of zero, in front of the block.
        heap.memory.write(pointer - 2, b"\0\0")
        content = bytes([index % 255 + 1]) * number
        heap.memory.write(pointer, content)
        blocks.append((pointer, content))
        assert all(heap.memory.read(at, len(held)) == held for at, held in blocks)
        assert max(at + len(held) for at, held in blocks) <= heap.allocator.top


@given(STEPS)
def test_guest_and_host_allocate_the_same(steps: list[tuple[str, int]]) -> None:
    guest, host = Heap(pages=64), Heap(pages=64)
    pointers: list[int] = []
    for kind, number in steps:
        if kind != "free":
            pointers.append(guest.malloc(number))
            assert host.allocator.allocate(number) == pointers[-1]
        elif pointers:
            pointer = pointers.pop(number % len(pointers))
            guest.free(pointer)
            host.free(pointer)
    assert guest.allocator.top == host.allocator.top


def test_freed_blocks_are_used_again() -> None:
    heap = Heap()
    first, second = heap.malloc(100), heap.allocator.allocate(120)
    heap.free(first)
    heap.free(second)
    assert [heap.allocator.allocate(128), heap.malloc(65)] == [second, first]


def test_memory_grows() -> None:
    heap = Heap()
    pointer = heap.allocator.allocate(1_000_000)
    heap.memory.write(pointer, b"x" * 1_000_000)
    assert heap.memory.size >= 1_000_000


@pytest.mark.parametrize("size", [MAX_ALLOCATION + 1, 2**32 - 1, 64 * 65536])
def test_what_cannot_be_had_traps(size: int) -> None:
    heap = Heap()
    with pytest.raises(wasmtime.Trap):
        heap.allocator.allocate(size)
    with pytest.raises(wasmtime.Trap):
        heap.malloc(size)


def test_freeing_twice_traps() -> None:
    heap = Heap()
    pointer = heap.malloc(10)
    heap.free(pointer)
    with pytest.raises(wasmtime.Trap):
        heap.free(pointer)
