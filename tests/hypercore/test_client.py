"""The reader's state without any I/O."""

from dataclasses import replace

import pytest
from hypercore_feeds import KEY, MemoryFeed, block
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.answers import answer
from offchain_worker.hypercore.client import (
    PRIORITY_DOWNLOAD,
    AnsweredLate,
    BlockVerified,
    ClientSession,
    ExtensionReceived,
    HeadVerified,
    SessionFailed,
)
from offchain_worker.hypercore.errors import BadProof, DecodeError

FEED = MemoryFeed(20)


def sent(session: ClientSession) -> list[tuple[int, bytes]]:
    return [message for frame in session.outgoing() for message in frame.messages]


def with_head(feed: MemoryFeed = FEED) -> ClientSession:
    """A session that has verified the head, as the hoster announces and proves it."""
    session = ClientSession(feed.key)
    session.opened()
    length = feed.builder.length
    session.receive(m.Type.SYNC, m.Sync(0, length, 0, has_manifest=True).encode())
    session.receive(m.Type.RANGE, m.Range(0, length).encode())
    request = m.Request.decode(sent(session)[-1][1])
    [event] = session.receive(m.Type.DATA, answer(feed, request).encode())
    assert isinstance(event, HeadVerified)
    sent(session)
    return session


def reply(session: ClientSession, feed: MemoryFeed = FEED) -> bytes:
    """The right answer to the last thing the session sent."""
    kind, body = sent(session)[-1]
    assert kind == m.Type.REQUEST
    return answer(feed, m.Request.decode(body)).encode()


def test_a_whole_feed_is_announced_once_it_is_there() -> None:
    session = with_head()
    for i in range(20):
        session.request_block(i, PRIORITY_DOWNLOAD)
        session.receive(m.Type.DATA, reply(session))
        news = sent(session)
        assert news == ([(m.Type.RANGE, m.Range(0, 20).encode())] if i == 19 else [])


def test_an_upgrade_that_is_outdated_when_it_comes() -> None:
    """The hoster announced more while its answer was on the way."""
    feed = MemoryFeed(5)
    session = ClientSession(KEY)
    session.receive(m.Type.SYNC, m.Sync(0, 5, 0, has_manifest=True).encode())
    first = reply(session, feed)
    feed.append([block(5)])
    session.receive(m.Type.SYNC, m.Sync(0, 6, 0, has_manifest=True).encode())
    session.receive(m.Type.DATA, first)
    assert session.head is not None
    assert session.head.length == 5
    kinds = sent(session)
    assert m.Request.decode(kinds[-1][1]) == m.Request(1, 0, upgrade=m.RequestUpgrade(5, 1))
    session.receive(
        m.Type.DATA, answer(feed, m.Request(1, 0, upgrade=m.RequestUpgrade(5, 1))).encode()
    )
    assert session.head.length == 6


def test_a_head_that_is_proved_in_two_steps() -> None:
    """Of a feed with a prologue, the reference first proves the prologue, then the rest."""
    feed = MemoryFeed(20)
    for steps in (12, 19):
        session = ClientSession(KEY)
        session.receive(m.Type.SYNC, m.Sync(0, 20, 0, has_manifest=True).encode())
        request = m.Request.decode(sent(session)[-1][1])
        assert request.upgrade == m.RequestUpgrade(0, 20)
        asked = replace(request, upgrade=m.RequestUpgrade(0, steps))
        [event] = session.receive(m.Type.DATA, answer(feed, asked).encode())
        assert isinstance(event, HeadVerified)
        assert event.head == feed.head()


def test_a_shorter_head_than_asked_for() -> None:
    session = ClientSession(KEY)
    session.receive(m.Type.SYNC, m.Sync(0, 20, 0, has_manifest=True).encode())
    request = m.Request.decode(sent(session)[-1][1])
    shorter = replace(request, upgrade=m.RequestUpgrade(0, 12))
    [event] = session.receive(m.Type.DATA, answer(MemoryFeed(12), shorter).encode())
    assert isinstance(event, SessionFailed)
    assert isinstance(event.error, BadProof)


def test_a_longer_head_than_asked_for() -> None:
    """The hoster grew before it answered: additional nodes lead to what is signed."""
    feed = MemoryFeed(5)
    session = ClientSession(KEY)
    session.receive(m.Type.SYNC, m.Sync(0, 5, 0, has_manifest=True).encode())
    feed.append([block(i) for i in range(5, 12)])
    session.receive(m.Type.DATA, reply(session, feed))
    assert session.head == feed.head()


def test_want_is_sent_once() -> None:
    session = with_head()
    session.receive(m.Type.RANGE, m.Range(3, 1, drop=True).encode())
    assert not session.want(3)
    assert not session.want(3)
    assert sent(session) == [(m.Type.WANT, m.Want(0, 2097152).encode())]
    session.receive(m.Type.BITFIELD, m.Bitfield(0, (0xFFFFF,)).encode())
    assert session.want(3)


def test_an_empty_name_repeats_the_last_one() -> None:
    session = with_head()
    for name in ("a", "", ""):
        events = session.receive(m.Type.EXTENSION, m.Extension(name, b"x").encode())
        assert events == [ExtensionReceived("a", b"x")]


def test_ids_of_cancelled_requests_wait_for_a_later_answer() -> None:
    session = with_head()
    first = session.request_block(0, PRIORITY_DOWNLOAD)
    late = reply(session)
    session.cancel(first)
    assert sent(session) == [(m.Type.CANCEL, m.Cancel(1).encode())]
    assert session.request_block(1, PRIORITY_DOWNLOAD) == 2
    second = reply(session)
    assert session.receive(m.Type.DATA, late) == [AnsweredLate()]
    assert session.request_block(2, PRIORITY_DOWNLOAD) == 3
    session.receive(m.Type.DATA, second)
    assert session.request_block(3, PRIORITY_DOWNLOAD) == 1
    assert session.request_block(4, PRIORITY_DOWNLOAD) == 2


def test_blocks_asked_for_at_once_leave_by_how_many_nodes_they_need() -> None:
    """Of 20 blocks: 0 is below a root of height 4, 16 below one of height 2."""
    session = with_head()
    assert session.request_blocks([0, 16, 3, 17], PRIORITY_DOWNLOAD) == [1, 2, 3, 4]
    requests = [m.Request.decode(body) for _type, body in sent(session)]
    assert [r.id for r in requests] == [2, 4, 1, 3]
    assert [r.block.nodes for r in requests if r.block] == [2, 2, 4, 4]


@pytest.mark.parametrize("compat", [False, True])
def test_a_first_head_is_told_twice_a_longer_one_once(compat: bool) -> None:
    feed = MemoryFeed(5, compat=compat)
    session = ClientSession(feed.key)
    flags = {"uploading": True, "downloading": True, "has_manifest": not compat}

    def grow(length: int) -> list[tuple[int, bytes]]:
        sync = m.Sync(0, length, 0, can_upgrade=True, has_manifest=not compat)
        session.receive(m.Type.SYNC, sync.encode())
        session.receive(m.Type.DATA, reply(session, feed))
        return sent(session)

    assert grow(5) == [
        (m.Type.SYNC, m.Sync(0, 0, 5, **flags).encode()),
        (m.Type.SYNC, m.Sync(0, 5, 5, **flags).encode()),
    ]
    feed.append([block(5)])
    assert grow(6) == [(m.Type.SYNC, m.Sync(0, 6, 6, **flags).encode())]


def test_only_below_the_head() -> None:
    with pytest.raises(ValueError, match="below"):
        ClientSession(KEY).request_block(0, PRIORITY_DOWNLOAD)
    with pytest.raises(ValueError, match="below"):
        with_head().request_block(20, PRIORITY_DOWNLOAD)


NUMBERS = st.sampled_from([0, 1, 2, 3, 7, 19, 20, 21, 39, 255, 65536, 2**32, 2**53 - 1])
STEPS = st.one_of(
    st.tuples(
        st.just(m.Type.SYNC),
        st.builds(m.Sync, st.integers(0, 1), NUMBERS, NUMBERS, has_manifest=st.booleans()).map(
            m.Sync.encode
        ),
    ),
    st.tuples(st.just(m.Type.NO_DATA), st.builds(m.NoData, NUMBERS).map(m.NoData.encode)),
    st.tuples(
        st.just(m.Type.RANGE),
        st.builds(m.Range, NUMBERS, NUMBERS, st.booleans()).map(m.Range.encode),
    ),
    st.tuples(
        st.just(m.Type.BITFIELD),
        st.builds(
            m.Bitfield, NUMBERS, st.lists(st.integers(0, 2**32 - 1), max_size=4).map(tuple)
        ).map(m.Bitfield.encode),
    ),
    st.tuples(
        st.just(m.Type.DATA),
        st.builds(
            lambda number, index, nodes: answer(
                FEED, m.Request(number, 0, block=m.RequestBlock(index, nodes))
            ).encode(),
            st.integers(0, 3),
            st.integers(0, 19),
            st.integers(0, 2),
        ),
    ),
    st.tuples(st.integers(0, 11), st.binary(max_size=60)),
)


@given(st.lists(st.tuples(STEPS, st.integers(0, 19), st.booleans()), max_size=12))
def test_whatever_comes_only_verified_blocks_leave(
    steps: list[tuple[tuple[int, bytes], int, bool]],
) -> None:
    session = with_head()
    try:
        for (kind, body), index, cancel in steps:
            request = session.request_block(index, PRIORITY_DOWNLOAD)
            if cancel:
                session.cancel(request)
            for event in session.receive(kind, body):
                if isinstance(event, BlockVerified):
                    assert event.data == block(event.index)
            assert all(FEED.nodes[i] == node for i, node in session.nodes.items())
    except DecodeError:
        return
