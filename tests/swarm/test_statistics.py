"""What a run tells operators: complete, plain and bounded."""

from __future__ import annotations

import json

import pytest
import trio
import trio.testing
from swarm_world import World, run_all

from offchain_worker.coinflip import effects as fx
from offchain_worker.coinflip.envelope import Kind
from offchain_worker.swarm.statistics import (
    MAX_REASON_LENGTH,
    MAX_REASONS,
    OTHER_REASON,
    PHASES,
    RunLedger,
    exit_reason,
)


class Clock:
    """Milliseconds since 1970, set by the test."""

    def __init__(self) -> None:
        self.now = 1_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> RunLedger:
    return RunLedger(size=3, index=1, start_ms=1_000, clock_ms=clock)


async def test_a_good_run(autojump_clock: trio.testing.MockClock) -> None:
    world = World(4)
    results = await run_all(world, range(4))
    for index, attended in results.items():
        statistics = attended.statistics
        assert (statistics.exit, statistics.reason) == (
            "Success",
            "every reveal, or the anchor, is there",
        )
        assert 0 <= statistics.exit_ms < 50
        assert tuple(phase.name for phase in statistics.phases) == PHASES
        began = [phase.began_ms for phase in statistics.phases]
        assert began == sorted(began)
        assert began[-1] == statistics.exit_ms
        assert [peer.index for peer in statistics.peers] == [i for i in range(4) if i != index]
        for peer in statistics.peers:
            assert (peer.connects, peer.refusals, peer.gave_up_ms) == (1, {}, None)
            assert peer.commit_ms is not None
            assert peer.echo_ms is not None
            assert peer.reveal_ms is not None
            assert peer.commit_ms <= peer.echo_ms <= peer.reveal_ms <= statistics.exit_ms
            assert peer.traffic.bytes_in > 4 * 65_536
        for direction in ("messages_in", "bytes_in", "messages_out", "bytes_out"):
            by_phase = sum(getattr(phase.traffic, direction) for phase in statistics.phases)
            by_peer = sum(getattr(peer.traffic, direction) for peer in statistics.peers)
            assert by_phase == by_peer > 0


async def test_what_one_sent_the_other_received(autojump_clock: trio.testing.MockClock) -> None:
    world = World(2)
    results = await run_all(world, range(2), bulk_bytes=0, ping_s=100.0)
    first, second = (results[index].statistics.peers[0].traffic for index in range(2))
    assert (first.messages_out, first.bytes_out) == (second.messages_in, second.bytes_in)
    assert (second.messages_out, second.bytes_out) == (first.messages_in, first.bytes_in)
    # hello, commit, echo, reveal, a ping or a pong, perhaps a pull.
    assert 4 <= first.messages_out <= 8


async def test_an_absent_member(autojump_clock: trio.testing.MockClock) -> None:
    world = World(3)
    results = await run_all(world, range(2))
    statistics = results[0].statistics
    assert (statistics.exit, statistics.reason) == ("Offline", "no commit of member 2")
    absent = statistics.peers[1]
    assert (absent.connects, absent.commit_ms, absent.echo_ms, absent.reveal_ms) == (
        0,
        None,
        None,
        None,
    )
    assert absent.losses["nobody listens there"] >= 6
    assert statistics.peers[0].gave_up_ms == results[1].statistics.peers[0].gave_up_ms == 1_900
    assert [phase.name for phase in statistics.phases] == ["commit", "serve"]


async def test_fields_are_json(autojump_clock: trio.testing.MockClock) -> None:
    results = await run_all(World(2), range(2))
    fields = results[0].statistics.fields()
    assert json.loads(json.dumps(fields)) == fields
    assert fields["peers"][0]["traffic"]["messages_in"] > 0


def test_phases_follow_the_own_acts(ledger: RunLedger, clock: Clock) -> None:
    ledger.received(0, 10)
    clock.now = 1_005
    ledger.happened(fx.Seen(Kind.COMMIT, 1))
    ledger.happened(fx.Seen(Kind.ECHO, 0))
    ledger.received(0, 20)
    ledger.happened(fx.Seen(Kind.ECHO, 1))
    ledger.sent(2, 30)
    clock.now = 1_010
    ledger.happened(fx.Seen(Kind.REVEAL, 1))
    clock.now = 1_020
    ledger.happened(fx.Exit(fx.Success(b"R", b"r")))
    clock.now = 1_030
    ledger.happened(fx.Exit(fx.Offline((0,), fx.Phase.ECHO)))
    ledger.received(2, 40)
    statistics = ledger.close({})
    assert statistics.exit == "Success"
    assert statistics.exit_ms == 20
    assert [(phase.name, phase.began_ms) for phase in statistics.phases] == [
        ("commit", 0),
        ("echo", 5),
        ("reveal", 10),
        ("serve", 20),
    ]
    traffic = [phase.traffic for phase in statistics.phases]
    assert [(t.messages_in, t.bytes_in, t.messages_out, t.bytes_out) for t in traffic] == [
        (2, 30, 0, 0),
        (0, 0, 1, 30),
        (0, 0, 0, 0),
        (1, 40, 0, 0),
    ]


def test_the_first_act_of_a_kind_counts(ledger: RunLedger, clock: Clock) -> None:
    for now in (1_100, 1_200):
        clock.now = now
        ledger.happened(fx.Seen(Kind.COMMIT, 0))
        ledger.happened(fx.GaveUp(2))
        ledger.happened(fx.GaveUp(1))
    ledger.happened(fx.Exit(fx.Offline((2,), fx.Phase.ECHO)))
    first, last = ledger.close({}).peers
    assert (first.commit_ms, first.gave_up_ms) == (100, None)
    assert (last.commit_ms, last.gave_up_ms) == (None, 100)


def test_reasons_are_bounded(ledger: RunLedger) -> None:
    for number in range(1_000):
        ledger.lost(0, f"{number} {'x' * 1_000}")
    ledger.lost(0, OTHER_REASON)
    ledger.lost(2, "it left")
    ledger.connected(2)
    ledger.happened(fx.Exit(fx.Offline((0, 2), fx.Phase.REVEAL)))
    statistics = ledger.close({(0, "topic"): 7, (2, "length"): 1, (0, "flood"): 2})
    losses = statistics.peers[0].losses
    assert len(losses) == MAX_REASONS + 1
    assert losses[OTHER_REASON] == 1_000 - MAX_REASONS + 1
    assert all(len(reason) <= MAX_REASON_LENGTH for reason in losses)
    assert statistics.peers[0].refusals == {"flood": 2, "topic": 7}
    assert statistics.peers[1].refusals == {"length": 1}
    assert statistics.peers[1].losses == {"it left": 1}
    assert statistics.reason == "no reveal of members 0, 2"


def test_reasons_of_exits() -> None:
    assert exit_reason(fx.Malicious((2,), ())) == "proof against member 2"


def test_a_run_without_exit_has_no_statistics(ledger: RunLedger) -> None:
    with pytest.raises(RuntimeError, match="exit"):
        ledger.close({})
