"""Nested transactions against a list of dictionaries; prefixes, appends, order of keys."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from datdot_node.overlay import EmptyState, Overlay
from datdot_node.state import State, read_all, root_of

KEYS = st.binary(max_size=3) | st.sampled_from([b"\1", b"\1\2", b"\1\2\3", b"\2"])
VALUES = st.binary(min_size=1, max_size=3)


class Transactions(RuleBasedStateMachine):
    """Every operation on an overlay and on copies of plain dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        below = {b"\1": b"a", b"\1\2": b"b", b"\2\1": b"c", b"\xff": b"d", b"": b"e"}
        self.overlay = Overlay(State(below, 1))
        self.expected = [dict(below)]

    @rule(key=KEYS, value=st.none() | VALUES)
    def set(self, key: bytes, value: bytes | None) -> None:
        self.overlay.set(key, value)
        if value is None:
            self.expected[-1].pop(key, None)
        else:
            self.expected[-1][key] = value

    @rule(prefix=st.binary(max_size=2))
    def clear_prefix(self, prefix: bytes) -> None:
        done, _ = self.overlay.clear_prefix(prefix)
        assert done
        self.expected[-1] = {
            key: value for key, value in self.expected[-1].items() if not key.startswith(prefix)
        }

    @rule()
    def begin(self) -> None:
        self.overlay.begin()
        self.expected.append(dict(self.expected[-1]))

    @precondition(lambda self: len(self.expected) > 1)
    @rule()
    def commit(self) -> None:
        self.overlay.commit()
        top = self.expected.pop()
        self.expected[-1] = top

    @precondition(lambda self: len(self.expected) > 1)
    @rule()
    def rollback(self) -> None:
        self.overlay.rollback()
        self.expected.pop()

    @rule()
    def rollback_all(self) -> None:
        self.overlay.rollback_to(0)
        del self.expected[1:]

    @invariant()
    def same(self) -> None:
        assert self.overlay.depth == len(self.expected) - 1
        assert dict(read_all(self.overlay)) == self.expected[-1]
        assert list(dict(read_all(self.overlay))) == sorted(self.expected[-1])
        assert all(self.overlay.get(key) == value for key, value in self.expected[-1].items())
        assert root_of(self.overlay, 1) == State(self.expected[-1], 1).trie.root


TestTransactions = Transactions.TestCase


@given(st.lists(VALUES, max_size=70))
def test_append_builds_an_encoded_vector(items: list[bytes]) -> None:
    overlay = Overlay(EmptyState())
    for item in items:
        overlay.append(b"k", item)
    count = len(items)
    if not items:
        assert overlay.get(b"k") is None
        return
    prefix = bytes([count << 2]) if count < 64 else (count << 2 | 1).to_bytes(2, "little")
    assert overlay.get(b"k") == prefix + b"".join(items)


def test_append_to_what_is_no_vector_begins_one() -> None:
    overlay = Overlay(EmptyState())
    overlay.set(b"k", b"\x01")
    overlay.append(b"k", b"\7")
    assert overlay.get(b"k") == b"\4\7"


def test_clear_prefix_counts_what_lies_below_only() -> None:
    overlay = Overlay(State({bytes([1, each]): b"v" for each in range(6)}, 1))
    overlay.set(b"\1\xff", b"new")
    overlay.set(b"\1\0", b"changed")
    assert overlay.clear_prefix(b"\1", 2) == (False, 2)
    assert overlay.get(b"\1\xff") is None
    assert [key for key, _ in read_all(overlay)] == [bytes([1, each]) for each in range(2, 6)]
    assert overlay.clear_prefix(b"\1") == (True, 6)
    assert list(read_all(overlay)) == []


def test_the_root_over_a_state_of_another_kind_is_the_same() -> None:
    items = {bytes([each]): bytes([each]) * each for each in range(1, 60)}
    whole = Overlay(EmptyState())
    for key, value in items.items():
        whole.set(key, value)
    assert root_of(whole, 1) == State(items, 1).trie.root
    assert root_of(whole, 0) == State(items, 0).trie.root != State(items, 1).trie.root
    assert root_of(Overlay(State(items, 1)), 0) == State(items, 0).trie.root
