"""The ways out to hosters: whole audits through proxies and over IPv6, and what the log says."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
from audit_world import HOSTER, World, open_world
from socks_server import socks_server

from chain_types.report import Failure, Reason, Served
from offchain_worker.attestor.egress import CHALLENGES, SessionWay, WaysOut
from offchain_worker.attestor.store import WorkStore
from offchain_worker.audit.session import Audit, MomentMissed, audit
from offchain_worker.hypercore.errors import WayOutFailed
from offchain_worker.swarm.dial import dial, local_address
from offchain_worker.swarm.proxy import Proxy

OTHER = bytes(32)


async def dial_directly(host: str, port: int) -> trio.abc.Stream:
    return await dial(host, port, timeout=10.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[WorkStore]:
    with WorkStore.open(tmp_path / "work.sqlite") as opened:
        yield opened


@asynccontextmanager
async def serving(folder: Path, host: str = "127.0.0.1") -> AsyncIterator[tuple[World, int]]:
    """A hoster on a real socket, and its port."""
    async with trio.open_nursery() as nursery:
        with open_world(folder, nursery) as world:
            _, port = await nursery.start(world.hoster().serve, host, 0)
            yield world, port
            nursery.cancel_scope.cancel()


async def audited(world: World, way: SessionWay, **changes: Any) -> Audit:
    plan = world.plan(
        **{"moment": world.clock_ms() + 20, "chunk_timeout_ms": 10_000, **changes},
    )

    async def connect() -> trio.abc.Stream:
        return await way.connect(timeout=plan.chunk_timeout_ms / 1_000)

    return await audit(plan, connect, clock_ms=world.clock_ms, choices=random.Random(1), way=way)


def unused_proxy() -> Proxy:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return Proxy("127.0.0.1", unused.getsockname()[1])


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    with structlog.testing.capture_logs() as lines:
        yield lines


def events(lines: Sequence[dict[str, Any]]) -> list[str]:
    return [line["event"] for line in lines if line["event"].startswith("egress.")]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("windowed", [False, True])
async def test_an_audit_through_a_proxy_with_a_password(
    tmp_path: Path, store: WorkStore, host: str, windowed: bool
) -> None:
    async with (
        serving(tmp_path, host) as (world, port),
        socks_server(host, ("me", "secret")) as server,
    ):
        ways = WaysOut(store, dial_directly, [server.proxy("me", "secret")])
        way = ways.towards(HOSTER.public, 7, lambda: (host, port))
        habit = replace(world.plan().habit, windowed=windowed)
        with logged() as lines:
            result = await audited(world, way, habit=habit)
        assert isinstance(result.outcome, Served), result.detail
        assert server.seen[f"{host} {port}"] == 1
        assert store.egresses(HOSTER.public, 1) == {host: 7}
        assert events(lines) == []
        assert "secret" not in repr(lines)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_audit_without_a_proxy(tmp_path: Path, store: WorkStore, host: str) -> None:
    async with serving(tmp_path, host) as (world, port):
        ways = WaysOut(store, dial_directly, local_address=local_address)
        ways.registered = host
        way = ways.towards(HOSTER.public, 7, lambda: (host, port))
        with logged() as lines:
            result = await audited(world, way)
        assert isinstance(result.outcome, Served), result.detail
        assert events(lines) == ["egress.registered"]
        assert store.egresses(HOSTER.public, 1) == {host: 7}


async def test_a_proxy_that_is_down_is_no_failure_of_the_hosters(
    tmp_path: Path, store: WorkStore
) -> None:
    async with serving(tmp_path) as (world, port):
        ways = WaysOut(store, dial_directly, [unused_proxy()])
        way = ways.towards(HOSTER.public, 7, lambda: ("127.0.0.1", port))
        with logged() as lines, pytest.raises(MomentMissed, match="the proxy cannot be reached"):
            await audited(world, way, clock_tolerance_ms=600)
        # Tried again as long as the moment allows, but said once.
        assert events(lines) == ["egress.failed"]
        assert ways.counters["egress_failed"] >= 2


async def test_another_proxy_takes_the_place_of_one_that_is_down(
    tmp_path: Path, store: WorkStore
) -> None:
    async with serving(tmp_path) as (world, port), socks_server() as server:
        ways = WaysOut(store, dial_directly, [unused_proxy(), server.proxy()])
        way = ways.towards(HOSTER.public, 7, lambda: ("127.0.0.1", port))
        result = await audited(world, way)
        assert isinstance(result.outcome, Served), result.detail
        assert result.connections == 2
        assert ways.counters["egress_failed"] == 1


@pytest.mark.parametrize("stands", [True, False])
async def test_a_connection_that_breaks_is_the_hosters_failure_only_if_the_proxy_stands(
    tmp_path: Path, store: WorkStore, stands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offchain_worker.attestor.egress.CHECK_S", 0.3)
    async with serving(tmp_path) as (world, port), socks_server() as server:
        way = WaysOut(store, dial_directly, [server.proxy()]).towards(
            HOSTER.public, 7, lambda: ("127.0.0.1", port)
        )
        server.cut_after = 10_000
        server.then_silent = None if stands else "greeting"
        # So little tolerance that a connection that is lost among the chunks is not made again.
        changes = {
            "clock_tolerance_ms": 200,
            "habit": replace(world.plan().habit, windowed=False),
        }
        if stands:
            result = await audited(world, way, **changes)
            assert isinstance(result.outcome, Failure)
            assert result.outcome.reason is Reason.NO_DATA
        else:
            with pytest.raises(MomentMissed, match="was not ready in"):
                await audited(world, way, **changes)


async def test_a_hoster_that_is_down_fails_through_a_proxy_too(
    tmp_path: Path, store: WorkStore
) -> None:
    async with serving(tmp_path) as (world, _), socks_server() as server:
        nobody = unused_proxy()
        way = WaysOut(store, dial_directly, [server.proxy()]).towards(
            HOSTER.public, 7, lambda: (nobody.host, nobody.port)
        )
        result = await audited(world, way, clock_tolerance_ms=300)
        assert isinstance(result.outcome, Failure)
        assert result.outcome.reason is Reason.UNREACHABLE
        assert server.seen[f"{nobody.host} {nobody.port}"] >= 1


async def chosen(ways: WaysOut, hoster: bytes, challenge: int) -> str | None:
    """The address that a session of this challenge takes."""
    way = ways.towards(hoster, challenge, lambda: ("192.0.2.99", 1))
    before = set(ways._store.egresses(hoster, 1_000).items())
    await way.prepare()
    # Prepared anew for another connection of the same session, it stays what it is.
    await way.prepare()
    (noted,) = {*ways._store.egresses(hoster, 1_000).items()} - before
    assert noted[1] == challenge
    return noted[0]


PROXIES = [Proxy(f"192.0.2.{n}", 1080) for n in range(1, 4)]
HOSTS = [proxy.host for proxy in PROXIES]


async def test_proxies_are_used_in_turn_for_each_hoster(tmp_path: Path) -> None:
    with WorkStore.open(tmp_path / "a.sqlite") as store, logged() as lines:
        ways = WaysOut(store, dial_directly, PROXIES)
        assert [await chosen(ways, HOSTER.public, n) for n in (3, 5, 8)] == HOSTS
        assert await chosen(ways, OTHER, 8) == HOSTS[0]
        assert events(lines) == []
        # Two sessions in one challenge do not share one either, as long as there is another.
        assert await chosen(ways, OTHER, 8) == HOSTS[1]
        assert events(lines) == []
        assert await chosen(ways, HOSTER.public, 9) == HOSTS[0]
        assert events(lines) == ["egress.repeated"]
        assert (lines[0]["address"], lines[0]["last"], lines[0]["times"]) == (HOSTS[0], 3, 1)
    # What was used is not forgotten with the process.
    with WorkStore.open(tmp_path / "a.sqlite") as store, logged() as lines:
        ways = WaysOut(store, dial_directly, PROXIES)
        assert await chosen(ways, HOSTER.public, 10) == HOSTS[1]
        assert events(lines) == ["egress.repeated"]


async def test_an_address_repeats_no_more_after_so_many_challenges(store: WorkStore) -> None:
    ways = WaysOut(store, dial_directly, [PROXIES[0]])
    await chosen(ways, HOSTER.public, 0)
    for challenge in range(1, CHALLENGES):
        store.save_egress(HOSTER.public, 10 * challenge, "198.51.100.1")
    with logged() as lines:
        await chosen(ways, HOSTER.public, 10_000)
    assert events(lines) == ["egress.repeated"]
    for challenge in range(CHALLENGES):
        store.save_egress(HOSTER.public, 20_000 + challenge, "198.51.100.1")
    with logged() as lines:
        await chosen(ways, HOSTER.public, 30_000)
    assert events(lines) == []


@pytest.mark.parametrize(
    ("registered", "local", "proxies", "warned"),
    [
        ("198.51.100.7", "198.51.100.7", [], True),
        ("198.51.100.7", "203.0.113.5", [], False),
        # Behind a router that translates addresses, the way out is the registered address.
        ("8.8.8.8", "192.168.1.2", [], True),
        ("2001:4860:4860::8888", "fd00::1", [], True),
        ("2001:4860:4860::8888", "2001:4860:4860::8888", [], True),
        ("192.0.2.1", "10.0.0.1", PROXIES, True),
        ("8.8.8.8", "10.0.0.1", PROXIES, False),
        (None, "10.0.0.1", [], False),
    ],
)
async def test_the_registered_address_is_said_so(
    store: WorkStore, registered: str | None, local: str, proxies: list[Proxy], warned: bool
) -> None:
    ways = WaysOut(store, dial_directly, proxies, local_address=lambda _: local)
    ways.registered = registered
    with logged() as lines:
        await chosen(ways, HOSTER.public, 1)
    assert events(lines) == (["egress.registered"] if warned else [])
    assert ways.counters["egress_registered"] == warned


async def test_without_a_route_there_is_no_way(store: WorkStore) -> None:
    def local(_: str) -> str:
        raise WayOutFailed("no route")

    way = WaysOut(store, dial_directly, local_address=local).towards(
        HOSTER.public, 1, lambda: ("192.0.2.1", 1)
    )
    with pytest.raises(WayOutFailed, match="no route"):
        await way.prepare()


async def test_with_proxies_nothing_goes_directly(store: WorkStore) -> None:
    async def never(_host: str, _port: int) -> trio.abc.Stream:
        raise AssertionError("dialled directly")

    way = WaysOut(store, never, [unused_proxy()]).towards(HOSTER.public, 1, lambda: None)
    with pytest.raises(WayOutFailed):
        await way.dial("127.0.0.1", 1)
    await way.prepare()
    with pytest.raises(WayOutFailed):
        await way.dial("127.0.0.1", 1)
    with pytest.raises(WayOutFailed):
        await way.dial("127.0.0.1", 1)
