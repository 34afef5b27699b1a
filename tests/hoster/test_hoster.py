"""The hoster as peers see it, on loopback: serving, receipts, cloning, following, limits."""

import socket
import subprocess
import sys
from functools import partial

import pytest
import trio
import trio.testing

from offchain_worker.audit.fetch import fetch
from offchain_worker.audit.receipt import EXTENSION, verify_receipt
from offchain_worker.errors import UsageError
from offchain_worker.hoster.feeds import append, import_path
from offchain_worker.hoster.hoster import Hoster, Limits
from offchain_worker.hoster.replicate import Replication
from offchain_worker.hoster.store import FeedStore, Library, StoreError
from offchain_worker.hypercore.errors import HandshakeFailed, NoData, NotHosted, Unreachable
from offchain_worker.hypercore.manifest import signable
from offchain_worker.hypercore.reader import open_reader
from offchain_worker.hypercore.tree import TreeBuilder
from offchain_worker.keys import KeyPair

AUTHOR = KeyPair.from_seed(bytes([1]) * 32)
HOSTER = KeyPair.from_seed(bytes([2]) * 32)
CHUNKS = [bytes([n % 256]) * (1 + n % 90) for n in range(230)]


@pytest.fixture
def author(tmp_path):
    """A library in which the author's feed is."""
    with Library(tmp_path / "author") as library:
        (tmp_path / "file").write_bytes(b"".join(CHUNKS))
        import_path(library, tmp_path / "file", AUTHOR, chunk_size=40)
        yield library


@pytest.fixture
def elsewhere(tmp_path):
    with Library(tmp_path / "elsewhere") as library:
        yield library


HOSTERS = []


@pytest.fixture(autouse=True)
def _no_crashes():
    HOSTERS.clear()
    yield
    assert [hoster.counters["crashes"] for hoster in HOSTERS] == [0] * len(HOSTERS)


async def serving(nursery, library, **options):
    """Serve the library on a free port; returns the hoster and how to dial it."""
    hoster = Hoster(library, options.pop("keypair", HOSTER), **options)
    HOSTERS.append(hoster)
    host, port = await nursery.start(hoster.serve, "127.0.0.1", 0)
    return hoster, partial(trio.open_tcp_stream, host, port)


def only(library):
    (store,) = library
    return store


async def test_fetch_is_an_ordinary_reader(nursery, author):
    _hoster, dial = await serving(nursery, author)
    store = only(author)
    got = []
    head = await fetch(
        dial,
        store.key,
        lambda index, data: got.append((index, data)),
        expected_remote=HOSTER.public,
    )
    assert head.tree_hash == store.head().tree_hash
    assert got == [(index, store.block(index)) for index in range(head.length)]
    got.clear()
    await fetch(dial, store.key, lambda index, _data: got.append(index), chunks=range(7, 12))
    assert got == [7, 8, 9, 10, 11]
    with pytest.raises(UsageError, match="not all among them"):
        await fetch(dial, store.key, print, chunks=range(7, head.length + 1))
    with pytest.raises(NotHosted):
        await fetch(dial, bytes(32), print)
    nursery.cancel_scope.cancel()


async def test_nobody_listens(nursery, author):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Unreachable):
        await fetch(partial(trio.open_tcp_stream, "127.0.0.1", port), bytes(32), print)


async def test_two_readers_get_their_own_receipts(nursery, author):
    hoster, dial = await serving(nursery, author)
    store = only(author)
    received = {}

    async def read(name, order):
        keypair = KeyPair.generate()
        stream = await dial()
        async with open_reader(
            stream, feed_key=store.key, keypair=keypair, expected_remote=HOSTER.public
        ) as reader:
            async for _block in reader.download(order):
                pass
            messages = [await reader.extensions.receive() for _ in range(len(order) // 100)]
            received[name] = (keypair.public, reader.connection.session_id, messages)

    async with trio.open_nursery() as readers:
        readers.start_soon(read, "up", range(120))
        readers.start_soon(read, "down", range(219, 19, -1))
    for name, count, first in (("up", 1, 0), ("down", 2, 219)):
        client, session, messages = received[name]
        assert len(messages) == count
        for sequence, message in enumerate(messages):
            assert message.name == EXTENSION
            receipt = verify_receipt(message.payload, HOSTER.public)
            assert (receipt.client, receipt.session) == (client, session)
            assert receipt.sequence == sequence
            assert len(receipt.entries) == 100
        assert verify_receipt(messages[0].payload, HOSTER.public).entries[0].index == first
    assert hoster.counters["receipts"] == 3
    nursery.cancel_scope.cancel()


async def test_a_clone_is_equal_and_serves_the_same(nursery, author, elsewhere):
    _hoster, dial = await serving(nursery, author)
    original = only(author)
    steps = []
    replication = Replication(
        elsewhere, original.key, [dial], progress=lambda s: steps.append(s.contiguous_length())
    )
    clone = await replication.clone()
    assert clone.head() == original.head()
    assert clone.manifest == original.manifest
    assert clone.is_sound()
    assert steps == sorted(steps)
    assert steps[-1] == clone.head().length
    _second, dial_clone = await serving(nursery, elsewhere, keypair=KeyPair.generate())
    got = []
    await fetch(dial_clone, original.key, lambda _index, data: got.append(data))
    assert b"".join(got) == b"".join(CHUNKS)
    assert await replication.clone() is clone
    nursery.cancel_scope.cancel()


async def test_a_clone_goes_on_after_a_restart(nursery, author, tmp_path):
    hoster, dial = await serving(nursery, author)
    original = only(author)
    length = original.head().length
    with Library(tmp_path / "clone") as library:

        class Interrupted(Exception):
            pass

        def interrupt(store):
            if store.contiguous_length() >= 64:
                raise Interrupted

        with pytest.raises(Interrupted):
            await Replication(library, original.key, [dial], progress=interrupt).clone()
    served = hoster.counters["chunks"]
    assert served < length
    with Library(tmp_path / "clone") as library:
        assert only(library).contiguous_length() >= 64
        clone = await Replication(library, original.key, [dial]).clone()
        assert clone.is_sound()
        assert clone.is_complete()
    assert hoster.counters["chunks"] - served <= length - 64
    nursery.cancel_scope.cancel()


async def complete(store, length):
    while not (store.is_complete() and store.head().length == length):
        await store.next_change().wait()


async def test_a_replica_follows_growth_and_tells_its_own_readers(nursery, author, elsewhere):
    _hoster, dial = await serving(nursery, author)
    second, dial_second = await serving(nursery, elsewhere)
    original = only(author)
    first = original.head().length
    nursery.start_soon(second.replicate, original.key, [dial])
    with trio.fail_after(30):
        replica = elsewhere.create(original.key, original.manifest)
        await complete(replica, first)
        async with open_reader(
            await dial_second(),
            feed_key=original.key,
            keypair=KeyPair.generate(),
            expected_remote=None,
        ) as reader:
            append(original, [b"more", b"and more"], AUTHOR)
            original.notify()
            await complete(replica, first + 2)
            await reader.wait_longer(first)
            assert (await reader.get(first + 1)).data == b"and more"
    assert replica.is_sound()
    nursery.cancel_scope.cancel()


async def test_a_replica_follows_a_rewritten_feed(nursery, author, elsewhere, monkeypatch):
    monkeypatch.setattr("offchain_worker.hoster.replicate.MIN_PAUSE_S", 0.05)
    _hoster, dial = await serving(nursery, author)
    second, _dial = await serving(nursery, elsewhere)
    original = only(author)
    nursery.start_soon(second.replicate, original.key, [dial])
    with trio.fail_after(30):
        replica = elsewhere.create(original.key, original.manifest)
        await complete(replica, original.head().length)
        builder = TreeBuilder()
        chunks = [b"all", b"new"]
        nodes = [node for chunk in chunks for node in builder.append(chunk)]
        rewritten = type(original.head())(
            fork=1,
            length=2,
            tree_hash=builder.tree_hash(),
            roots=tuple(builder.roots),
            signature=b"\x01\x00"
            + AUTHOR.sign(signable(original.key, original.manifest, 1, 2, builder.tree_hash()))
            + b"\x00\x00",
            manifest=original.manifest,
        )
        original.put_head(rewritten, nodes)
        original.add(list(enumerate(chunks)), [])
        original.notify()
        await complete(replica, 2)
    assert replica.head() == rewritten
    assert replica.is_sound()
    nursery.cancel_scope.cancel()


async def test_a_peer_with_less_than_is_here_cannot_be_cloned(nursery, author, elsewhere):
    _hoster, dial = await serving(nursery, author)
    original = only(author)
    clone = await Replication(elsewhere, original.key, [dial]).clone()
    append(clone, [b"more"], AUTHOR)
    clone._forget(clone.head().length - 1)
    with pytest.raises(NoData, match="shorter"):
        await Replication(elsewhere, original.key, [dial]).clone()
    nursery.cancel_scope.cancel()


async def test_damage_on_disk_is_repaired_from_a_peer(nursery, author, elsewhere):
    _hoster, dial = await serving(nursery, author)
    original = only(author)
    clone = await Replication(elsewhere, original.key, [dial]).clone()
    clone._forget(17)
    assert not clone.is_complete()
    await Replication(elsewhere, original.key, [dial]).clone()
    assert clone.is_sound()
    nursery.cancel_scope.cancel()


async def test_too_many_connections_are_closed_before_the_handshake(nursery, author):
    hoster, dial = await serving(nursery, author, limits=Limits(connections=2))
    key = only(author).key

    def opened(stream):
        return open_reader(stream, feed_key=key, keypair=KeyPair.generate(), expected_remote=None)

    async with opened(await dial()), opened(await dial()):
        with pytest.raises(HandshakeFailed):
            async with opened(await dial()):
                pass
        assert hoster.counters["refused_full"] == 1
    while hoster._open:
        await trio.lowlevel.checkpoint()
    async with opened(await dial()) as reader:
        assert (await reader.get(0)).index == 0
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "garbage", [b"", b"\x00\x00\x00", b"\xff" * 100, b"GET / HTTP/1.1\r\n\r\n"]
)
async def test_garbage_ends_only_its_own_connection(nursery, author, garbage):
    hoster, dial = await serving(nursery, author)
    async with await dial() as stranger:
        if garbage:
            await stranger.send_all(garbage)
        await stranger.send_eof()
        assert await stranger.receive_some() == b""
    await trio.testing.wait_all_tasks_blocked()
    assert hoster.counters["handshakes_failed"] == 1
    got = []
    await fetch(dial, only(author).key, lambda index, _data: got.append(index), chunks=range(3))
    assert got == [0, 1, 2]
    nursery.cancel_scope.cancel()


async def test_a_defect_or_a_failing_disk_ends_only_the_session(nursery, author, monkeypatch):
    hoster, dial = await serving(nursery, author)
    store = only(author)

    def fail(kind):
        def block(_self, index):
            raise kind("on purpose")

        return block

    for kind, counter in ((RuntimeError, "crashes"), (StoreError, "store_errors")):
        with monkeypatch.context() as patch:
            patch.setattr(FeedStore, "block", fail(kind))
            with pytest.raises(NoData):
                await fetch(dial, store.key, print, chunks=range(1))
        await trio.testing.wait_all_tasks_blocked()
        assert hoster.counters.pop(counter) == 1
    got = []
    await fetch(dial, store.key, lambda index, _data: got.append(index), chunks=range(3))
    assert got == [0, 1, 2]
    nursery.cancel_scope.cancel()


async def test_a_silent_stranger_is_timed_out(author, autojump_clock, nursery):
    hoster = Hoster(author, HOSTER, limits=Limits(handshake_s=3))
    ours, theirs = trio.testing.memory_stream_pair()
    started = trio.current_time()
    await hoster.serve_stream(theirs)
    assert trio.current_time() - started == pytest.approx(3)
    await trio.testing.wait_all_tasks_blocked()
    assert hoster.counters["handshakes_failed"] == 1
    assert await ours.receive_some() == b""


async def test_the_end_closes_all_connections(author, nursery):
    async with trio.open_nursery() as hosting:
        _hoster, dial = await serving(hosting, author)
        async with open_reader(
            await dial(),
            feed_key=only(author).key,
            keypair=KeyPair.generate(),
            expected_remote=None,
        ) as reader:
            hosting.cancel_scope.cancel()
            with trio.fail_after(5):
                await reader.connection.wait_closed()


async def test_a_port_in_use_is_one_sentence(author):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"Port {port} .*in use"):
            await Hoster(author, HOSTER).serve("127.0.0.1", port)


CLONE = """
import sys
from functools import partial
from pathlib import Path

import structlog, trio

from offchain_worker.hoster.feeds import import_path
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.replicate import Replication
from offchain_worker.hoster.store import Library
from offchain_worker.keys import KeyPair

structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
folder = Path(sys.argv[1])


def peak():
    # Not `ru_maxrss`: that one survives `exec`, so it would be the test runner's.
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


async def grown(name):
    before = peak()
    with Library(folder / name) as source, Library(folder / (name + "-clone")) as target:
        store = import_path(source, folder / (name + ".bin"), KeyPair.generate())
        async with trio.open_nursery() as nursery:
            hoster = Hoster(source, KeyPair.generate())
            host, port = await nursery.start(hoster.serve, "127.0.0.1", 0)
            dial = partial(trio.open_tcp_stream, host, port)
            clone = await Replication(target, store.key, [dial]).clone()
            assert clone.head() == store.head()
            nursery.cancel_scope.cancel()
    return peak() - before


async def main():
    await grown("small")
    print(await grown("large"))


trio.run(main)
"""


def test_memory_of_serving_and_cloning_does_not_grow_with_the_feed(tmp_path):
    for name, size in (("small", 16 << 20), ("large", 96 << 20)):
        with (tmp_path / f"{name}.bin").open("wb") as file:
            file.truncate(size)
    result = subprocess.run(
        [sys.executable, "-c", CLONE, str(tmp_path)], capture_output=True, check=True, text=True
    )
    assert int(result.stdout) < 16 << 20
