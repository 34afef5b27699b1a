"""What links do to bytes."""

from __future__ import annotations

import random

from offchain_worker.simulation.network import (
    QUEUE_MESSAGES,
    Line,
    LinkPlan,
    Network,
    constant,
    corrupted,
    heavy_tailed,
    uniform,
)
from offchain_worker.simulation.scheduler import Scheduler

TOPIC = bytes(32)


class End:
    """Records what happens to it."""

    honest = True
    scripted = False

    def __init__(self, place: int) -> None:
        self.place = self.ident = place
        self.line: Line | None = None
        self.heard: list[bytes] = []
        self.times: list[int] = []
        self.losses = 0
        self.scheduler: Scheduler

    def line_opened(self, line: Line) -> None:
        self.line = line

    def line_lost(self, line: Line) -> None:
        self.losses += 1
        self.line = None

    def deliver(self, line: Line, data: bytes) -> None:
        if line.alive:
            self.heard.append(data)
            self.times.append(self.scheduler.now)


def pair(plan: LinkPlan) -> tuple[Scheduler, Network, End, End]:
    scheduler = Scheduler(0)
    network = Network(scheduler, plan, random.Random(1))
    ends = End(1), End(2)
    for end in ends:
        end.scheduler = scheduler
        network.join(end, TOPIC)
    scheduler.run(100)
    return scheduler, network, *ends


def say(network: Network, end: End, *messages: bytes) -> None:
    for message in messages:
        assert end.line is not None
        network.transmit(end.line, end, message)


MANY = [bytes([n]) for n in range(100)]


def test_a_stream_keeps_order_and_loses_nothing() -> None:
    scheduler, network, one, two = pair(LinkPlan(heavy_tailed(10, 1_000)))
    say(network, one, *MANY)
    scheduler.run(1_000)
    assert two.heard == MANY
    assert one.heard == []


def test_the_delay_is_as_planned() -> None:
    scheduler, network, one, two = pair(LinkPlan(constant(30)))
    began = scheduler.now
    say(network, one, b"x")
    scheduler.run(10)
    assert two.times == [began + 30]
    dice = random.Random(1)
    assert {uniform(2, 4)(dice) for _ in range(100)} == {2, 3, 4}
    assert all(1 <= heavy_tailed(5, 40)(dice) <= 40 for _ in range(1_000))


def test_reordering_loss_duplication_corruption() -> None:
    scheduler, network, one, two = pair(LinkPlan(uniform(1, 90), reorder=True))
    say(network, one, *MANY)
    scheduler.run(1_000)
    assert two.heard != MANY
    assert sorted(two.heard) == MANY
    for plan, check in [
        (LinkPlan(constant(1), loss=0.5), lambda heard: 20 < len(heard) < 80),
        (LinkPlan(constant(1), duplication=0.5), lambda heard: 120 < len(heard) < 180),
        (LinkPlan(constant(1), corruption=0.5), lambda heard: heard != MANY),
    ]:
        scheduler, network, one, two = pair(plan)
        say(network, one, *MANY)
        scheduler.run(1_000)
        assert check(two.heard)


def test_corrupted_bytes_differ() -> None:
    dice = random.Random(1)
    changed = [corrupted(bytes(50), dice) for _ in range(200)]
    assert sum(data != bytes(50) for data in changed) > 190
    assert {len(data) < 50 for data in changed} == {True, False}


def test_what_waits_for_a_healed_partition_arrives_and_is_bounded() -> None:
    scheduler, network, one, two = pair(LinkPlan(constant(1), waits=True))
    network.block(frozenset({(1, 2)}))
    say(network, one, *MANY)
    say(network, two, b"the other way")
    scheduler.run(1_000)
    assert (two.heard, one.heard) == ([], [b"the other way"])
    network.block(frozenset())
    scheduler.run(1_000)
    assert two.heard == MANY
    network.block(frozenset({(1, 2)}))
    for _ in range(QUEUE_MESSAGES + 1):
        if one.line is not None:
            say(network, one, b"too much")
    assert one.losses == 1


def test_bytes_can_be_lost_in_a_partition_and_a_connection_can_break() -> None:
    scheduler, network, one, two = pair(LinkPlan(constant(1), waits=False))
    network.block(frozenset({(1, 2)}))
    say(network, one, *MANY)
    network.block(frozenset())
    scheduler.run(1_000)
    assert two.heard == []
    scheduler, network, one, two = pair(LinkPlan(constant(1), breaks=True, reconnect_ms=50))
    network.block(frozenset({(2, 1)}))
    assert (one.losses, two.losses, one.line) == (1, 1, None)
    network.block(frozenset())
    scheduler.run(1_000)
    assert one.line is not None
    assert one.line is two.line


def test_what_a_dead_process_sent_arrives_only_when_flushed() -> None:
    for flush in (True, False):
        scheduler, network, one, two = pair(LinkPlan(constant(40)))
        say(network, one, b"last words")
        network.leave(one, TOPIC, flush=flush)
        assert two.losses == (0 if flush else 1)
        scheduler.run(1_000)
        assert two.losses == 1
        assert two.heard == ([b"last words"] if flush else [])
