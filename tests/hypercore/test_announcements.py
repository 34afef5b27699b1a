"""What a hoster says of its blocks, as a client that takes it understands it."""

from collections.abc import Iterable

import pytest
from hypercore_feeds import MemoryFeed
from hypothesis import given, settings
from hypothesis import strategies as st

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.announcements import Announcement, Announcements
from offchain_worker.hypercore.client import RemoteBlocks
from offchain_worker.hypercore.errors import InvalidRequest

EVERYTHING = m.Want(0, 2097152)


class Listener:
    """A client's idea of what the hoster has."""

    def __init__(self, feed: MemoryFeed) -> None:
        self.feed = feed
        self.announcements = Announcements(feed)
        self.remote = RemoteBlocks()

    def take(self, messages: Iterable[Announcement]) -> list[Announcement]:
        taken = list(messages)
        for message in taken:
            if isinstance(message, m.Range):
                self.remote.set_range(message.start, message.length, has=not message.drop)
            else:
                self.remote.set_bitfield(m.Bitfield.decode(message.encode()))
        return taken

    def news(self) -> list[Announcement]:
        return self.take(self.announcements.news())

    def want(self, want: m.Want) -> list[Announcement]:
        return self.take(self.announcements.want(want))

    def knows(self, start: int, stop: int) -> set[int]:
        return {index for index in range(start, stop) if self.remote.has(index)}


def with_holes(length: int, *missing: int) -> MemoryFeed:
    feed = MemoryFeed(length)
    for index in missing:
        del feed.blocks[index]
    return feed


def test_a_whole_feed() -> None:
    listener = Listener(MemoryFeed(100))
    assert listener.news() == [m.Range(0, 100)]
    assert listener.news() == []
    assert listener.want(EVERYTHING) == [m.Range(0, 100)]
    assert listener.want(m.Want(64, 32)) == [m.Range(0, 100)]
    listener.feed.append([b"x"])
    assert listener.news() == [m.Range(0, 101)]


def test_an_empty_feed_says_nothing() -> None:
    listener = Listener(MemoryFeed(0))
    assert listener.news() == []
    assert listener.want(EVERYTHING) == []
    listener.feed.append([b"x", b"y"])
    assert listener.news() == [m.Range(0, 2)]


@pytest.mark.parametrize("length", [10, 64, 100])
def test_a_want_is_answered_by_what_is_there(length: int) -> None:
    listener = Listener(with_holes(length, 0, 7))
    assert listener.news() == []
    listener.want(EVERYTHING)
    assert listener.knows(0, length + 100) == set(listener.feed.blocks)
    assert listener.remote.denied(0)
    assert not listener.remote.denied(length + 100)


def test_nothing_held_is_said_once() -> None:
    """A stock client that finds nothing wants again at once, for ever."""
    feed = with_holes(40, *range(40))
    listener = Listener(feed)
    assert listener.want(EVERYTHING) == [m.Bitfield(0, (0, 0))]
    for _ in range(3):
        listener.announcements.unwant(EVERYTHING)
        assert listener.want(EVERYTHING) == []
    feed.blocks[5] = b"x"
    assert listener.news() == [m.Range(5, 1)]


def test_only_what_is_wanted_is_followed() -> None:
    feed = with_holes(200, *range(200))
    listener = Listener(feed)
    listener.want(m.Want(64, 64))
    feed.blocks[3] = feed.blocks[70] = b"x"
    assert listener.news() == [m.Range(70, 1)]
    del feed.blocks[70]
    assert listener.news() == [m.Range(70, 1, drop=True)]
    listener.announcements.unwant(m.Want(64, 64))
    feed.blocks[71] = b"x"
    assert listener.news() == []
    assert listener.want(m.Want(64, 64)) == [m.Bitfield(64, (1 << 7, 0))]


def test_many_changes_are_one_bitfield() -> None:
    feed = with_holes(64, *range(64))
    listener = Listener(feed)
    listener.want(m.Want(0, 64))
    for index in range(1, 64, 2):
        feed.blocks[index] = b"x"
    assert listener.news() == [m.Bitfield(0, (0xAAAAAAAA, 0xAAAAAAAA))]


def test_a_hole_in_what_was_whole() -> None:
    feed = MemoryFeed(100)
    listener = Listener(feed)
    listener.news()
    del feed.blocks[40]
    listener.news()
    assert listener.knows(0, 100) == set(feed.blocks)
    feed.blocks[40] = b"x"
    assert listener.news() == [m.Range(0, 100)]


def test_any_block_will_do() -> None:
    listener = Listener(with_holes(100, *range(10), *range(20, 90)))
    assert listener.want(m.Want(3, 40, any=True)) == [m.Range(10, 1)]
    assert listener.want(m.Want(25, 12, any=True)) == []
    listener.feed.blocks |= MemoryFeed(10).blocks
    assert listener.want(m.Want(3, 40, any=True)) == [m.Range(0, 20)]


@pytest.mark.parametrize(("start", "length"), [(0, 31), (0, 33), (16, 32), (0, 0)])
def test_wants_that_are_none(start: int, length: int) -> None:
    with pytest.raises(InvalidRequest):
        list(Announcements(MemoryFeed(10)).want(m.Want(start, length)))


def test_wants_that_nobody_answers() -> None:
    assert list(Announcements(with_holes(10, 3)).want(m.Want(0, 2**22))) == []


def test_followed_parts_are_bounded() -> None:
    announcements = Announcements(with_holes(10, 0))
    for number in range(100):
        list(announcements.want(m.Want(number * 2097152, 2097152)))
    assert len(announcements._told) <= 256


SMALL = st.sampled_from([m.Want(0, 32), m.Want(32, 32), m.Want(64, 64), m.Want(0, 128), EVERYTHING])
STEPS = st.one_of(
    st.tuples(st.just("add"), st.sets(st.integers(0, 99), max_size=30)),
    st.tuples(st.just("drop"), st.sets(st.integers(0, 99), max_size=30)),
    st.tuples(st.just("want"), SMALL),
    st.tuples(st.just("unwant"), SMALL),
    st.tuples(st.just("grow"), st.integers(1, 20)),
)


@given(st.sets(st.integers(0, 99)), st.lists(STEPS, max_size=12))
@settings(max_examples=200)
def test_whatever_happens_a_client_that_wants_everything_knows_everything(
    missing: set[int], steps: list[tuple[str, object]]
) -> None:
    feed = with_holes(100, *missing)
    listener = Listener(feed)
    listener.news()
    for name, argument in steps:
        if name == "add" and isinstance(argument, set):
            feed.blocks |= dict.fromkeys(argument, b"x")
        elif name == "drop" and isinstance(argument, set):
            for index in argument:
                feed.blocks.pop(index, None)
        elif name == "want" and isinstance(argument, m.Want):
            listener.want(argument)
        elif name == "unwant" and isinstance(argument, m.Want):
            listener.announcements.unwant(argument)
        elif name == "grow" and isinstance(argument, int):
            feed.append([b"x"] * argument)
        listener.news()
    listener.want(EVERYTHING)
    listener.news()
    length = feed.builder.length
    assert listener.knows(0, length + 50) == set(feed.blocks)
    feed.blocks |= {1: b"x", 50: b"x"}
    feed.blocks.pop(2, None)
    feed.blocks.pop(51, None)
    listener.news()
    assert listener.knows(0, length) == set(feed.blocks)
