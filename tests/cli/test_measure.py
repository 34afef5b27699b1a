"""`datdot measure` against a hoster in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from ended import Datdot

from offchain_worker.hoster.feeds import import_path
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.store import Library
from offchain_worker.keys import KeyPair

HOSTER = KeyPair.from_seed(bytes([2]) * 32)


@dataclass(frozen=True)
class Serving:
    """Where a hoster is, and its feed."""

    peer: str
    feed: str


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """A hoster of 20 chunks in a thread."""
    source = tmp_path / "source"
    source.write_bytes(bytes(20 * 4_096))
    started = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        (tmp_path / "store").mkdir()
        with Library(tmp_path / "store") as library:
            store = import_path(library, source, KeyPair.generate(), chunk_size=4_096)
            hoster = Hoster(library, HOSTER)
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            found["port"], found["key"] = listener.socket.getsockname()[1], store.key.hex()
            found["token"] = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as nursery:
                found["scope"] = nursery.cancel_scope
                nursery.start_soon(partial(trio.serve_listeners, hoster.serve_stream, [listener]))
                started.set()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    try:
        assert started.wait(30)
        yield Serving(f"127.0.0.1:{found['port']}", found["key"])
    finally:
        found["token"].run_sync_soon(found["scope"].cancel)
        thread.join()


def test_it_prints_figures_and_a_histogram(datdot: Datdot, serving: Serving) -> None:
    ended = datdot("measure", serving.peer, "--key", serving.feed, "--samples", 40)
    assert (ended.status, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == f"{serving.peer}, Noise key {HOSTER.public.hex()}"
    assert lines[1] == f"feed {serving.feed}: 20 chunks, fork 0"
    names = ["connect", "handshake", "head", "first chunk", "latency", "throughput"]
    assert [line[:12].strip() for line in lines[3:9]] == names
    assert "40 chunks, one by one" in ended.out
    assert "█" in ended.out


def test_json_has_every_sample(datdot: Datdot, serving: Serving) -> None:
    arguments = ("--key", serving.feed, "--samples", 30, "--peer-key", HOSTER.public.hex())
    ended = datdot("measure", serving.peer, *arguments, "--json")
    assert (ended.status, ended.err) == (0, "")
    found = json.loads(ended.out)
    assert (found["feed_key"], found["length"]) == (serving.feed, 20)
    samples = found["latency"]["samples_us"]
    assert len(samples) == 30
    assert found["latency"]["latency_us"]["p50"] == sorted(samples)[14]
    assert found["latency"]["latency_us"]["max"] == max(samples)
    assert found["throughput"]["chunks"] >= 30


def test_one_habit_alone_and_no_feed(datdot: Datdot, serving: Serving) -> None:
    for habit, other in (("latency", "throughput"), ("throughput", "latency")):
        arguments = ("--key", serving.feed, "--samples", 10, "--habit", habit, "--json")
        found = json.loads(datdot("measure", serving.peer, *arguments).out)
        assert found[other] is None
        assert found[habit] is not None
    greeted = datdot("measure", serving.peer)
    assert (greeted.status, greeted.err) == (0, "")
    assert "handshake" in greeted.out
    assert "latency" not in greeted.out


def test_what_is_wrong_is_said_in_one_sentence(
    datdot: Datdot, serving: Serving, unused_port: int
) -> None:
    key = ("--key", serving.feed)
    for status, sentence, arguments in (
        (1, "cannot be measured", (f"127.0.0.1:{unused_port}", *key)),
        (1, "does not serve the feed", (serving.peer, "--key", "11" * 32)),
        (1, "another static key", (serving.peer, *key, "--peer-key", "11" * 32)),
        (2, "is not an address", ("nowhere", *key)),
        (2, "is not a feed's key", (serving.peer, "--key", "11")),
        (2, "is not a Noise key", (serving.peer, *key, "--peer-key", "zz")),
        (2, "samples", (serving.peer, *key, "--samples", 1)),
    ):
        ended = datdot("measure", *arguments)
        assert (ended.status, ended.out) == (status, "")
        assert sentence in ended.err
        assert ended.err.count("\n") == 1
        assert ended.err.endswith(".\n")
