"""Runs of honest members: over good and bad networks, with crashes, in and out of time.

The letters name the invariants of coinflip.md §9.
"""

from __future__ import annotations

from typing import Any

import pytest

from offchain_worker.coinflip import effects as fx
from offchain_worker.coinflip.commitments import hash_concat
from offchain_worker.coinflip.envelope import (
    Bundle,
    Kind,
    Need,
    Ping,
    Pong,
    SignedEnvelope,
    decode,
    encode,
)


def check_success(network: Any) -> bytes:
    """A, V: everybody has the same R, made of everybody's x."""
    outcomes = network.outcomes()
    assert all(isinstance(outcome, fx.Success) for outcome in outcomes), outcomes
    assert len({(outcome.result, outcome.root) for outcome in outcomes}) == 1
    numbers = [member.secrets.x for member in network.members]
    assert outcomes[0].result == hash_concat(network.flip.topic, outcomes[0].root, numbers)
    result: bytes = outcomes[0].result
    return result


@pytest.mark.parametrize("size", range(2, 8))
def test_everybody_honest_agrees_after_three_delays(tools: Any, size: int) -> None:
    network = tools.Network(size, seed=size)
    network.run(until=tools.T0 + 1 + 3 * 10)
    check_success(network)


def test_a_roster_of_one_decides_alone(tools: Any) -> None:
    network = tools.Network(1)
    network.run(until=tools.T0)
    check_success(network)


@pytest.mark.parametrize("size", [2, 4, 7])
def test_the_happy_path_costs_three_signed_messages_a_pair(tools: Any, size: int) -> None:
    network = tools.Network(size)
    sent: list[int] = []

    def fate(_sender: int, _to: int, data: bytes) -> list[int]:
        sent.append(data[0])
        return [10]

    network.fate = fate
    network.run()
    check_success(network)
    for kind in (Kind.COMMIT, Kind.ECHO, Kind.REVEAL):
        assert sent.count(kind) == size * (size - 1)
    assert sent.count(Kind.NEED) == sent.count(Kind.BUNDLE) == 0


@pytest.mark.parametrize("seed", range(30))
def test_loss_duplication_and_reordering_are_repaired_by_pulls(tools: Any, seed: int) -> None:
    network = tools.Network(2 + seed % 6, seed=seed)
    dice = network.random

    def fate(_sender: int, _to: int, _data: bytes) -> list[int]:
        copies = dice.choices([0, 1, 2], [3, 6, 1])[0]
        return [dice.randrange(1, 60) for _ in range(copies)]

    network.fate = fate
    network.run()
    outcomes = network.outcomes()
    successes = {o.result for o in outcomes if isinstance(o, fx.Success)}
    assert len(successes) <= 1
    assert all(outcome is not None for outcome in outcomes)
    assert not any(isinstance(outcome, fx.Malicious) for outcome in outcomes)
    assert not any(member.machine.evidence for member in network.honest)


def test_losing_a_quarter_still_ends_in_success_mostly(tools: Any) -> None:
    good = 0
    for seed in range(40):
        network = tools.Network(5, seed=seed)
        dice = network.random
        network.fate = lambda *_, dice=dice: [] if dice.random() < 0.25 else [20]
        network.run()
        good += all(isinstance(outcome, fx.Success) for outcome in network.outcomes())
    assert good >= 38


def test_two_members_that_never_meet_learn_from_the_others(tools: Any) -> None:
    network = tools.Network(4)
    network.fate = lambda sender, to, _data: [] if {sender, to} == {0, 1} else [10]
    network.run()
    check_success(network)


def test_a_bridge_is_enough(tools: Any) -> None:
    network = tools.Network(5)
    network.fate = lambda sender, to, _data: [5] if 2 in (sender, to) else []
    network.run()
    check_success(network)


def test_an_absent_member_leads_to_offline_in_commit(tools: Any) -> None:
    network = tools.Network(4, seats={3: tools.Scripted})
    network.run()
    assert network.outcomes() == [fx.Offline((3,), fx.Phase.COMMIT)] * 3
    for member in network.honest:
        assert member.machine.gave_up
        assert member.machine.may_retry
        assert Kind.REVEAL not in member.disk


def test_a_partition_gives_no_half_a_result(tools: Any) -> None:
    network = tools.Network(6)
    network.fate = lambda sender, to, _data: [10] if (sender < 3) == (to < 3) else []
    network.run()
    assert all(isinstance(outcome, fx.Offline) for outcome in network.outcomes())


def test_a_late_starter_signs_nothing_and_is_offline_itself(tools: Any) -> None:
    network = tools.Network(3)
    machine = network.members[0].machine
    late = network.schedule.commit_end_ms
    assert not any(isinstance(e, fx.Journal) for e in machine.start(late))
    effects = machine.tick(network.schedule.reveal_end_ms)
    assert fx.Exit(fx.Offline((0,), fx.Phase.COMMIT)) in effects


def test_anchor_carries_everything_in_roster_order_and_waits_by_index(tools: Any) -> None:
    network = tools.Network(4)
    network.run()
    result = check_success(network)
    first = network.members[0].of_type(fx.Anchor)[0].not_before_ms
    for index, member in enumerate(network.members):
        (anchor,) = member.of_type(fx.Anchor)
        assert anchor.result == result
        assert anchor.attempt == 0
        assert anchor.not_before_ms == first + index * tools.TIMING.block_ms
        assert [opening.x for opening in anchor.openings] == [
            other.secrets.x for other in network.members
        ]
        for key, signature in zip(network.flip.roster, anchor.echoes, strict=True):
            echo = SignedEnvelope(
                Kind.ECHO, network.flip.topic, 0, anchor.root, anchor.root + signature
            )
            assert echo.is_signed_by(key)


def test_an_anchor_is_never_planned_after_its_limit(tools: Any) -> None:
    schedule = tools.Network(2).schedule
    limit = tools.T0 + tools.TIMING.flip_ms - 3 * tools.TIMING.block_ms
    assert schedule.anchor_ms(tools.T0 + 100, 31) == limit
    assert schedule.anchor_ms(limit + 7, 31) == limit + 7


def test_instants_of_the_first_and_the_second_attempt(tools: Any) -> None:
    first = tools.Network(2).schedule
    ends = (first.commit_end_ms, first.echo_end_ms, first.reveal_end_ms, first.end_ms)
    assert [end - tools.T0 for end in ends] == [1_900, 2_700, 3_500, 3_900]
    assert first.fits is (3_900 + 1_000 <= 5_000)
    second = first.following(bytes(32))
    assert second.delta_ms == 400
    assert second.commit_end_ms - second.start_ms == 500 + 800
    assert first.end_ms + 2_000 <= second.start_ms < first.end_ms + 2_000 + first.delta_ms
    assert not second.fits


@pytest.mark.parametrize("crash_after", range(1, 40))
def test_a_crash_at_any_moment_and_a_restart_from_disk(tools: Any, crash_after: int) -> None:
    """F: the same bytes again. With the echo on record the run still succeeds; without it the
    member echoes nothing, since an earlier state of its journal might not know what it signed."""
    network = tools.Network(4, seed=crash_after)
    member = network.members[1]
    signed: dict[int, set[bytes]] = {}
    handled = 0
    had_echoed = True
    plain = member.received

    def received(peer: int, data: bytes) -> None:
        nonlocal handled
        handled += 1
        plain(peer, data)
        if handled == crash_after:
            member.up = False
            network.at(network.now + 100, restart)

    def restart() -> None:
        nonlocal had_echoed
        had_echoed = Kind.ECHO in member.disk
        member.up = True
        member.boot(cautious=True)
        member.do(member.machine.start(network.now))
        for peer in (0, 2, 3):
            for who, other in ((network.members[peer], 1), (member, peer)):
                who.do(who.machine.disconnected(network.now, other))
                who.connected(other)

    def fate(sender: int, _to: int, data: bytes) -> list[int]:
        if sender == 1 and data[0] in (Kind.COMMIT, Kind.ECHO, Kind.REVEAL):
            signed.setdefault(data[0], set()).add(data)
        return [10]

    member.received = received
    network.fate = fate
    network.run()
    if had_echoed:
        check_success(network)
    else:
        assert set(signed) == {Kind.COMMIT}
        assert not any(isinstance(outcome, fx.Success) for outcome in network.outcomes())
    assert all(len(bodies) == 1 for bodies in signed.values())


def test_a_journalled_echo_stands_after_a_restart_even_if_peers_show_other_commits(
    tools: Any,
) -> None:
    network = tools.Network(3)
    network.run(until=tools.T0 + 15)
    member = network.members[0]
    assert Kind.ECHO in member.disk
    root = member.machine.root
    member.boot()
    member.machine.start(network.now)
    assert member.machine.root == root
    assert [len(m.commits) for m in member.machine._members] == [1, 1, 1]


def test_whoever_misses_a_reveal_learns_r_from_the_anchor(tools: Any) -> None:
    network = tools.Network(3)
    network.fate = lambda _s, to, data: [] if to == 2 and data[0] in (3, 17) else [10]
    network.run(until=network.schedule.reveal_end_ms - 1)
    result = network.members[0].machine.result
    lost = network.members[2].machine
    assert lost.outcome is None
    effects = lost.anchored(network.now, network.members[0].machine.root, result)
    assert effects == [fx.Exit(fx.Success(result, network.members[0].machine.root))]
    assert lost.wake_ms is not None
    assert lost.tick(network.schedule.end_ms) == []
    assert lost.wake_ms is None


def test_a_reveal_after_tf_changes_no_exit_but_is_anchored(tools: Any) -> None:
    network = tools.Network(3)
    late = {"held": []}

    def fate(sender: int, to: int, data: bytes) -> list[int]:
        if data[0] == Kind.REVEAL and sender == 0:
            late["held"].append((to, data))
            return []
        return [] if data[0] == Kind.BUNDLE else [10]

    network.fate = fate
    network.run(until=network.schedule.reveal_end_ms + 1)
    lost = network.members[1]
    assert lost.machine.outcome == fx.Offline((0,), fx.Phase.REVEAL)
    assert not lost.machine.may_retry
    data = next(data for to, data in late["held"] if to == 1)
    lost.received(0, data)
    assert lost.machine.outcome == fx.Offline((0,), fx.Phase.REVEAL)
    assert len(lost.of_type(fx.Anchor)) == 1


def test_no_reveal_leaves_at_or_after_tf(tools: Any) -> None:
    network = tools.Network(2)
    network.fate = lambda _s, _t, data: [] if data[0] in (Kind.ECHO, Kind.BUNDLE) else [10]
    network.run(until=network.schedule.reveal_end_ms)
    echo = network.members[1].disk[Kind.ECHO].envelope
    network.members[0].received(1, echo)
    assert network.members[0].machine.has_certificate
    assert Kind.REVEAL not in network.members[0].disk


def test_a_clock_set_back_changes_nothing(tools: Any) -> None:
    network = tools.Network(2)
    machine = network.members[0].machine
    machine.start(tools.T0)
    machine.tick(network.schedule.commit_end_ms)
    assert machine.gave_up
    assert machine.tick(tools.T0 - 10_000) == []
    wake = machine.wake_ms
    assert wake is not None
    assert wake > network.schedule.commit_end_ms


def test_pings_confirm_r_and_a_lie_makes_both_show_what_they_hold(tools: Any) -> None:
    network = tools.Network(2)
    network.run(until=tools.T0 + 50)
    check_success(network)
    a, b = network.members
    (ping,) = a.machine.ping(network.now, 1, b"n" * 16)
    answer = b.machine.received(network.now, 0, ping.data)
    assert fx.Confirmed(0) in answer
    pong = next(e for e in answer if isinstance(e, fx.Send))
    heard = a.machine.received(network.now, 1, pong.data)
    assert heard == [fx.PongHeard(1, b"n" * 16), fx.Confirmed(1)]

    lie = encode(Ping(b"m" * 16, b"\7" * 32), network.flip, 0)
    shown = [
        decode(e.data, network.flip, 1)
        for e in b.machine.received(network.now, 0, lie)
        if isinstance(e, fx.Send)
    ]
    assert isinstance(shown[0], Pong)
    assert [{e.kind for e in m.envelopes} for m in shown[1:] if isinstance(m, Bundle)] == [
        {Kind.COMMIT},
        {Kind.ECHO},
    ]
    again = b.machine.received(network.now, 0, lie)
    assert len(again) == 1, "only once"
    assert not b.machine.evidence


def test_pings_before_r_confirm_nothing(tools: Any) -> None:
    network = tools.Network(2)
    network.run(until=tools.T0 + 5)
    (ping,) = network.members[0].machine.ping(network.now, 1, b"n" * 16)
    message = decode(ping.data, network.flip, 0)
    assert isinstance(message, Ping)
    assert message.confirmation == bytes(32)


def test_bulk_is_served_once_and_taken_only_when_asked_for(tools: Any) -> None:
    network = tools.Network(2)
    network.run(until=tools.T0 + 50)
    a, b = (member.machine for member in network.members)
    (ask,) = a.ask_bulk(network.now, 1, 1_000)
    assert b.received(network.now, 0, ask.data) == [fx.BulkAsked(0, 1_000)]
    assert b.received(network.now, 0, ask.data) == [fx.Refused(0, "second bulk request")]
    frame = ask.data[:0] + bytes([35]) + network.flip.topic + b"\1\0" + bytes(600)
    assert a.received(network.now, 1, frame) == [fx.BulkHeard(1, 600)]
    assert a.received(network.now, 1, frame) == [fx.Refused(1, "bulk data not asked for")]


def test_a_need_is_answered_with_what_is_held(tools: Any) -> None:
    network = tools.Network(3)
    network.run(until=tools.T0 + 50)
    machine = network.members[0].machine
    need = encode(Need(Kind.REVEAL, frozenset({0, 1, 2})), network.flip, 2)
    (sent,) = machine.received(network.now, 2, need)
    bundle = decode(sent.data, network.flip, 0)
    assert isinstance(bundle, Bundle)
    assert [(e.kind, e.index) for e in bundle.envelopes] == [(Kind.REVEAL, i) for i in range(3)]


def test_secrets_are_in_no_representation(tools: Any) -> None:
    network = tools.Network(2)
    member = network.members[0]
    network.run(until=tools.T0 + 3)
    text = repr(member.machine) + repr(member.secrets) + repr(member.seen)
    for secret in (member.secrets.x, member.secrets.w, member.secrets.audit_seed):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text
