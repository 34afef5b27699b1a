"""Token buckets of incoming connections: who gets a handshake, and that memory is bounded."""

from __future__ import annotations

import pytest

from offchain_worker.swarm.admission import (
    FELLOW,
    MAX_SOURCES,
    OVERALL,
    RETURNED,
    STRANGER,
    Admission,
    source_of,
)

TOPIC = b"t" * 32


def admitted(admission: Admission, source: str, now: float, tries: int) -> int:
    return sum(admission.admit(source, now) for _ in range(tries))


def test_a_stranger_has_a_burst_and_then_a_rate() -> None:
    admission = Admission()
    assert admitted(admission, "192.0.2.1", 100.0, 50) == STRANGER.burst
    assert admitted(admission, "192.0.2.1", 103.0, 50) == 3 * STRANGER.per_second
    assert admitted(admission, "192.0.2.1", 103.0 + 10**6, 50) == STRANGER.burst


def test_all_strangers_share_one_more_bucket() -> None:
    admission = Admission()
    crowd = [f"192.0.{i // 250}.{i % 250}" for i in range(5_000)]
    assert sum(admission.admit(source, 100.0) for source in crowd) == OVERALL.burst
    assert sum(admission.admit(source, 101.0) for source in crowd) == OVERALL.per_second


def test_who_was_refused_for_the_crowd_keeps_its_own_token() -> None:
    admission = Admission()
    for i in range(OVERALL.burst):
        assert admission.admit(f"192.0.2.{i}", 100.0)
    assert admitted(admission, "198.51.100.1", 100.0, 50) == 0
    assert admitted(admission, "198.51.100.1", 101.0, 50) == STRANGER.burst


def test_memory_is_bounded_whatever_calls() -> None:
    admission = Admission()
    admission.begin(["203.0.113.1"])
    for i in range(20_000):
        admission.admit(f"2001:db8:{i:x}::/64", 100.0 + i / 1_000)
        admission.recognise(f"198.51.{i % 250}.1", TOPIC, i % 3, 100.0)
    assert len(admission) <= MAX_SOURCES + 1 + 2 * 3
    admission.end(TOPIC, ["203.0.113.1"])
    assert len(admission) <= MAX_SOURCES


def test_a_fellow_gets_in_while_strangers_flood() -> None:
    admission = Admission()
    admission.begin(["203.0.113.1"])
    for second in range(60):
        for i in range(1_000):
            admission.admit(f"192.0.{i // 250}.{i % 250}", 100.0 + second)
        assert admission.is_fellow("203.0.113.1")
        assert admission.admit("203.0.113.1", 100.0 + second)
    admission.end(TOPIC, ["203.0.113.1"])
    assert not admission.is_fellow("203.0.113.1")


def test_fellows_behind_one_address_get_their_tokens_back() -> None:
    """Many runs at once in a local testnet: 31 fellows, each of them in ten."""
    admission = Admission()
    for topic in range(10):
        for peer in range(31):
            assert admission.admit("127.0.0.1", 100.0)
            admission.recognise("127.0.0.1", bytes([topic]) * 32, peer, 100.0)


def test_a_hostile_fellow_gets_back_only_so_many() -> None:
    admission = Admission()
    admission.begin(["203.0.113.1"])
    let_in = 0
    for _ in range(1_000):
        if admission.admit("203.0.113.1", 100.0):
            let_in += 1
            admission.recognise("203.0.113.1", TOPIC, 3, 100.0)
    assert let_in == FELLOW.burst + RETURNED.burst


def test_a_hostile_fellow_gains_nothing_by_moving() -> None:
    """From any number of addresses: its own bucket, and what strangers have."""
    admission = Admission()
    let_in = 0
    for round_ in range(1_000):
        for address in range(4):
            source = f"198.51.100.{address}"
            if admission.admit(source, 100.0 + round_ / 1_000):
                let_in += 1
                admission.recognise(source, TOPIC, 3, 100.0 + round_ / 1_000)
    assert let_in <= FELLOW.burst + RETURNED.burst + 4 * STRANGER.burst + 20


def test_one_address_of_two_fellows_stays_until_both_runs_are_over() -> None:
    admission = Admission()
    admission.begin(["203.0.113.1"])
    admission.begin(["203.0.113.1"])
    admission.end(TOPIC, ["203.0.113.1"])
    assert admission.is_fellow("203.0.113.1")
    admission.end(b"u" * 32, ["203.0.113.1"])
    assert not admission.is_fellow("203.0.113.1")


def test_a_clock_that_stands_still_gives_nothing() -> None:
    admission = Admission()
    assert admitted(admission, "192.0.2.1", 100.0, 50) == STRANGER.burst
    assert admitted(admission, "192.0.2.1", 90.0, 50) == 0
    assert admitted(admission, "192.0.2.1", 100.0, 50) == 0


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("memory", "memory"),
    ],
)
def test_what_counts_as_one_source(host: str, source: str) -> None:
    assert source_of(host) == source
