"""Rows 1 to 10 of coinflip.md §9: equivocation, late commits, echoes and reveals that lie.

The rules of these tests and the letters of each row: `row_tools`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from row_tools import Ran, against, all_malicious, all_offline, all_success

from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.effects import Offline, Phase, Success
from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.topic import Flip
from offchain_worker.simulation import strategies as bad
from offchain_worker.simulation.adversary import (
    Deviant,
    Heard,
    own_of,
    sign,
)
from offchain_worker.simulation.chain import Anchored, FellBack
from offchain_worker.simulation.draw import only
from offchain_worker.simulation.scenario import DEVELOPMENT, LONG, QUICK
from offchain_worker.simulation.seat import Run
from offchain_worker.simulation.world import World

ZEROS = bytes(32)
DELTA = QUICK.delta_ms


def lying(strategy: Callable[..., Any], *lied_to: int, **particulars: Any) -> Any:
    """One seat of that strategy, which lies to those places."""
    return only(lambda world, place: strategy(world, place, lied_to, **particulars))


def sides(size: int) -> list[tuple[int, ...]]:
    """One side of every partition of the places 1 … size − 1 into two."""
    return [
        (1, *side)
        for count in range(size - 2)
        for side in itertools.combinations(range(2, size), count)
    ]


@pytest.mark.parametrize(
    ("size", "side"), [(size, side) for size in range(3, 8) for side in sides(size)]
)
def test_row_01_commit_equivocation_in_every_two_partition(
    size: int, side: tuple[int, ...]
) -> None:
    ran = Ran(against({0: lying(bad.SplitCommit, *side)}, size=size, calm=True))
    direct = {
        place: {
            act.body
            for act in ran.notes.heard.acts
            if (act.seat, act.by, act.member, act.kind) == (place, 0, 0, Kind.COMMIT)
        }
        for place in range(1, size)
    }
    first, second = direct[1], direct[next(p for p in range(1, size) if p not in side)]
    assert len(first) == len(second) == 1
    assert first != second
    assert all(direct[place] == (first if place in side else second) for place in direct)
    # A B C: nobody has R, everybody has proof, the chain expels, and all go on without it.
    assert all_malicious(ran.outcomes(0), 0)
    assert ran.proved(0, Kind.COMMIT) == size - 1
    ran.blames_only(0)
    assert ran.expelled == {0}
    assert ran.numbers_left(0) == {}
    assert all_success(ran.outcomes(1))
    assert isinstance(ran.verdict, Anchored)
    assert ran.verdict.attempt == 1
    assert ran.one_result() is not None
    ran.all_letters(0)


@pytest.mark.parametrize("lied_to", [(1,), (2, 3), (1, 2, 3)])
def test_row_02_equivocating_commit_after_the_certificate(lied_to: tuple[int, ...]) -> None:
    ran = Ran(against({0: lying(bad.CommitAgain, *lied_to)}, calm=True))
    assert len(ran.notes.heard.bodies(0, Kind.COMMIT)) == 1 + len(lied_to)
    certified = min(ran.numbers_left(0).values())
    assert ran.conflict_ms(0, Kind.COMMIT) > certified
    # A, success stands, E1.
    assert all_success(ran.outcomes(0))
    assert isinstance(ran.verdict, Anchored)
    assert ran.verdict.attempt == 0
    assert ran.proved(0, Kind.COMMIT) == 3
    assert ran.expelled == {0}
    ran.all_letters(0)


class Friend(Deviant):
    """Follows the rules and tells its friends whatever it hears."""


class Late(bad.LateCommitter):
    """Notes down what the coalition knew when it committed."""

    def commit(self, attempt: Attempt) -> None:
        topic = attempt.flip.topic
        known = [index for _topic, index in self.coalition.numbers if _topic == topic]
        self.committed = self.world.scheduler.now, known
        super().commit(attempt)

    def on_message(self, attempt: Attempt, place: int, data: bytes, new: list[Heard]) -> None:
        """As its friends do not speak to it, whatever a member says is news."""
        kind = own_of(data, attempt.places.index(place))
        news = Heard(kind, attempt.places.index(place), data[35:-64], data) if kind else None
        super().on_message(attempt, place, data, [news] if news else [])


@pytest.mark.parametrize("part", [0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("colluders", [2, 3])
def test_row_03_two_colluders_and_a_late_adaptive_commit(part: float, colluders: int) -> None:
    size = 5
    late = only(lambda world, place: Late(world, place, at_part=part))
    friends = {place: only(Friend) for place in range(1, colluders)}
    ran = Ran(against({0: late, **friends}, size=size, timing=DEVELOPMENT))
    (seat,) = (seat for seat in ran.world.seats if isinstance(seat, Late))
    committed, known = seat.committed
    assert ran.notes.heard.bodies(0, Kind.COMMIT)
    # U: no honest number was known when the last commit was fixed, nor had one left.
    assert known == []
    assert all(left > committed for left in ran.numbers_left(0).values())
    if part <= 0.5:
        assert len(ran.numbers_left(0)) == size - colluders
        assert all_success(ran.outcomes(0))
    else:
        assert ran.numbers_left(0) == {}
        assert all_offline(ran.outcomes(0), Phase.COMMIT)
    ran.all_letters()


def test_row_04_copied_y_and_x() -> None:
    ran = Ran(against({0: only(lambda world, place: bad.Copier(world, place, victim=1))}))
    copied = ran.notes.heard.bodies(0, Kind.COMMIT)
    assert copied
    assert copied <= ran.notes.heard.bodies(1, Kind.COMMIT)
    assert ran.notes.heard.bodies(0, Kind.REVEAL) <= ran.notes.heard.bodies(1, Kind.REVEAL)
    # V U B: the key is inside y, so what opens the victim's commit does not open the copy.
    assert all_malicious(ran.outcomes(0), 0)
    assert ran.expelled == {0}
    assert [fraud.bad_reveal for fraud in ran.world.chain.frauds.values()] == [True]
    ran.all_letters(0)


class Replayer(Deviant):
    """Follows the rules, and shows what its peers signed elsewhere with the same keys."""

    def __init__(self, world: World, place: int, elsewhere: Callable[[Flip], Flip]) -> None:
        super().__init__(world, place)
        self.elsewhere = elsewhere
        self.replayed = 0

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        kind = own_of(data, run.machine.index)
        if kind is None:
            return (data,)
        here, there = run.attempt.flip, self.elsewhere(run.attempt.flip)
        old = []
        for at, place in enumerate(run.attempt.places):
            if place == self.place:
                continue
            pair = self.world.keypairs[place]
            secrets = FlipSecrets.generate(self.dice.randbytes)
            body = {
                Kind.COMMIT: secrets.commit_body(there.topic, pair.public),
                Kind.ECHO: self.dice.randbytes(32),
                Kind.REVEAL: secrets.reveal_body(),
            }[kind]
            old.append(SignedEnvelope.sign(kind, there.topic, at, body, pair).raw)
        moved = [raw[:1] + here.topic + raw[33:] for raw in old]
        head = bytes([Kind.BUNDLE]) + here.topic + run.machine.index.to_bytes(2, "little")
        bundles = [head + len(raws).to_bytes(2, "little") + b"".join(raws) for raws in (old, moved)]
        self.replayed += len(old)
        return data, *old, *moved, *bundles


@pytest.mark.parametrize(
    "change",
    [
        {"attempt": 1},
        {"challenge_id": 99},
        {"genesis": b"\2" * 32},
        {"start_block_hash": b"\2" * 32},
    ],
    ids=["topic", "challenge", "genesis", "start block"],
)
def test_row_04_replay_from_another(change: dict[str, Any]) -> None:
    def elsewhere(flip: Flip) -> Flip:
        given = {
            name: getattr(flip, name)
            for name in ("genesis", "challenge_id", "start_block_hash", "attempt", "roster")
        }
        return Flip(**{**given, **change})

    ran = Ran(against({0: only(lambda world, place: Replayer(world, place, elsewhere))}))
    (seat,) = (seat for seat in ran.world.seats if isinstance(seat, Replayer))
    assert seat.replayed >= 9
    for honest in ran.honest:
        assert honest.refusals["topic"]
        assert honest.refusals["signature"]
    # V U B: what was signed elsewhere says nothing here.
    assert all_success(ran.outcomes(0))
    assert isinstance(ran.verdict, Anchored)
    ran.numbers_are_in()
    ran.no_early_number()
    ran.blames_only()
    ran.all_letters()


@pytest.mark.parametrize("lied_to", [(1,), (1, 2), (1, 2, 3)])
@pytest.mark.parametrize("other", [ZEROS, b"\7" * 32], ids=["zero", "root"])
@pytest.mark.parametrize("hides", [False, True])
def test_row_05_two_echoes(lied_to: tuple[int, ...], other: bytes, hides: bool) -> None:
    seat = lying(bad.TwoEchoes, *lied_to, other=other, hides=hides)
    ran = Ran(against({0: seat}, calm=True))
    said = ran.notes.heard.bodies(0, Kind.ECHO)
    assert other in said
    assert ran.one_result() is None or len(said) > 1
    if len(said) > 1:
        # A C: two bodies were with honest members, so the proof is, too.
        assert ran.proved(0, Kind.ECHO) == 3
        assert ran.expelled == {0}
        assert any(fraud.kind == Kind.ECHO for fraud in ran.world.chain.frauds.values())
    else:
        # It said one thing to all, in every attempt: no contradiction, no blame, no R.
        assert len(lied_to) == 3
        assert hides
        assert ran.expelled == set()
        assert isinstance(ran.verdict, FellBack)
    ran.all_letters(0)


class Garbage(bad.GarbageRoot):
    """One garbage root for everybody in a topic."""

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        if own_of(data, run.machine.index) is Kind.ECHO:
            return (sign(self, run.attempt, Kind.ECHO, run.topic[::-1]).raw,)
        return super().alter(run, index, data)


def test_row_06_garbage_root() -> None:
    ran = Ran(against({0: only(Garbage)}, timing=LONG))
    garbage, roots = (ran.notes.heard.bodies(place, Kind.ECHO) for place in (0, 1))
    assert len(garbage) == 1
    assert not garbage & roots
    # T B: it ends, nobody is to blame, and no number left. The liar holds a certificate by then
    # and stays away; so do all later attempts fail, and at the end the chain decides.
    assert ran.outcomes(0) == [Offline((0,), Phase.ECHO)] * 3
    ran.all_end()
    ran.blames_only()
    assert ran.numbers_left() == {}
    assert len(ran.world.chain.attempts()) == 8
    assert all(set(seat.outcomes) == set(range(8)) for seat in ran.honest)
    assert isinstance(ran.verdict, FellBack)
    ran.all_letters()


def test_row_06_another_garbage_root_for_each() -> None:
    ran = Ran(against({0: only(bad.GarbageRoot)}))
    garbage, roots = (ran.notes.heard.bodies(place, Kind.ECHO) for place in (0, 1))
    assert len(garbage) == 3
    assert not garbage & roots
    # T B: as its roots differ, they are proof; the others go on without it.
    ran.all_end()
    assert ran.proved(0, Kind.ECHO) == 3
    assert ran.expelled == {0}
    assert all_success(ran.outcomes(1))
    ran.all_letters(0)


@pytest.mark.parametrize("told", [(1,), (1, 2)])
def test_row_07_echo_to_a_subset(told: tuple[int, ...]) -> None:
    kept_from = [place for place in (1, 2, 3) if place not in told]
    ran = Ran(against({0: lying(bad.WithholdFrom, *kept_from, kind=Kind.ECHO, late=False)}))
    for place in kept_from:
        brought = {
            act.by
            for act in ran.notes.heard.acts
            if (act.seat, act.member, act.kind) == (place, 0, Kind.ECHO)
        }
        assert brought
        assert 0 not in brought
    # A T: whoever holds it hands it on.
    assert all_success(ran.outcomes(0))
    assert ran.counts["relayed echo used"]
    ran.all_letters()


@pytest.mark.parametrize("offset", [-DELTA, -11, -10, -9, -1, 0, 1, DELTA])
@pytest.mark.parametrize("late_for", [(1,), (1, 2, 3)])
def test_row_07_echo_around_te(late_for: tuple[int, ...], offset: int) -> None:
    """To all, or to one while the others never get it from its maker."""
    others = [place for place in (1, 2, 3) if place not in late_for]

    class AroundTe(bad.WithholdFrom):
        def lies_to(self, run: Run, index: int) -> bool:
            return run.attempt.flip.attempt == 0

        def say(self, run: Run, index: int, *messages: bytes) -> None:
            if run.attempt.places[index] not in others:
                super().say(run, index, *messages)

    seat = lying(AroundTe, kind=Kind.ECHO, late=True, late_by=offset)
    ran = Ran(against({0: seat}))
    te = ran.world.attempts(ran.world.chain.start_hash).first().schedule.echo_end_ms
    arrived = {
        act.seat: act.at_ms
        for act in reversed(ran.notes.heard.acts)
        if (act.topic, act.by, act.member, act.kind) == (ran.topic(0), 0, 0, Kind.ECHO)
        and not act.relayed
    }
    assert arrived == dict.fromkeys(late_for, te + offset + 10)
    # A T: all honest members echoed long before, so its echo makes a certificate for all.
    assert all_success(ran.outcomes(0))
    assert ran.one_result() is not None
    ran.all_end()
    ran.all_letters()


def for_itself(strategy: type[Deviant]) -> type[Any]:
    """The strategy of a seat that anchors nothing."""

    class ForItself(strategy):
        def anchor(self, effect: Any) -> None:
            """Keeps R."""

    return ForItself


def test_row_08_reveal_withheld_from_all() -> None:
    withhold = for_itself(bad.WithholdFrom)
    ran = Ran(against({0: lying(withhold, 1, 2, 3, kind=Kind.REVEAL, late=False)}))
    assert len(ran.numbers_left(0)) == 3
    assert ran.notes.heard.bodies(0, Kind.REVEAL) == set()
    # T; no retry, since it knew R; the fallback is left.
    assert ran.outcomes(0) == [Offline((0,), Phase.REVEAL)] * 3
    assert ran.counts["retry refused after a certificate"] >= 3
    assert ran.outcomes(1) == []
    assert isinstance(ran.verdict, FellBack)
    assert set(ran.verdict.active) >= {1, 2, 3}
    ran.all_end()
    ran.all_letters()


def test_row_08_reveal_withheld_from_all_but_the_chain() -> None:
    ran = Ran(against({0: lying(bad.WithholdFrom, 1, 2, 3, kind=Kind.REVEAL, late=False)}))
    assert ran.notes.heard.bodies(0, Kind.REVEAL) == set()
    assert ran.counts["exit success by the chain"] == 3
    assert ran.counts["anchor by a dishonest member"]
    assert all_success(ran.outcomes(0))
    ran.all_end()
    ran.all_letters()


@pytest.mark.parametrize("kept_from", [(1,), (2, 3)])
def test_row_08_reveal_withheld_from_a_subset_is_relayed(kept_from: tuple[int, ...]) -> None:
    ran = Ran(against({0: lying(bad.WithholdFrom, *kept_from, kind=Kind.REVEAL, late=False)}))
    direct = {
        act.seat
        for act in ran.notes.heard.acts
        if (act.by, act.kind) == (0, Kind.REVEAL) and act.member == 0
    }
    assert direct == {1, 2, 3} - set(kept_from)
    assert ran.counts["relayed reveal used"]
    assert all_success(ran.outcomes(0))
    ran.all_end()
    ran.all_letters()


class CutsOff(bad.WithholdFrom):
    """Reveals to one member only, just when that one cannot speak to the others any more."""

    def alter(self, run: Run, index: int, data: bytes) -> Iterable[bytes]:
        if own_of(data, run.machine.index) is Kind.REVEAL:
            told = {seat.ident for seat in self.world.honest_seats if seat.place == 1}
            rest = {seat.ident for seat in self.world.honest_seats if seat.place != 1}
            pairs = {(a, b) for a in told for b in rest}
            self.at(self.now + 15, self.world.network.block, frozenset(pairs))
        return super().alter(run, index, data)

    def at(self, when: int, action: Callable[..., None], *arguments: Any) -> None:
        self.world.scheduler.at(when, action, *arguments)


def test_row_08_who_missed_a_reveal_learns_the_result_from_the_anchor() -> None:
    ran = Ran(against({0: lying(CutsOff, 2, 3, kind=Kind.REVEAL, late=False)}, timing=DEVELOPMENT))
    reached = {
        act.seat for act in ran.notes.heard.acts if (act.member, act.kind) == (0, Kind.REVEAL)
    }
    assert reached == {1}
    assert ran.counts["exit success by the chain"] == 2
    assert all_success(ran.outcomes(0))
    ran.all_end()
    ran.all_letters()


@pytest.mark.parametrize("offset", [-DELTA, -11, -10, -9, -1, 0, 1, DELTA])
def test_row_09_reveal_around_tf_to_one_peer(offset: int) -> None:
    class ToOne(bad.WithholdFrom):
        def say(self, run: Run, index: int, *messages: bytes) -> None:
            if run.attempt.places[index] == 1:
                super().say(run, index, *messages)

        def anchor(self, effect: Any) -> None:
            """Leaves the anchor to the honest ones."""

    seat = lying(ToOne, 1, 2, 3, kind=Kind.REVEAL, late=True, late_by=offset)
    ran = Ran(against({0: seat}))
    tf = ran.world.attempts(ran.world.chain.start_hash).first().schedule.reveal_end_ms
    direct = [
        act
        for act in ran.notes.heard.acts
        if (act.by, act.member, act.kind, act.relayed) == (0, 0, Kind.REVEAL, False)
    ]
    assert [(act.seat, act.at_ms) for act in direct] == [(1, tf + offset + 10)]
    # A: whoever has R at whatever time, it is the anchored one: the chain decides.
    one, *rest = (seat.outcomes[0] for seat in ran.honest)
    assert isinstance(one, Success if offset < -10 else Offline)
    if offset > -10:
        assert all(isinstance(outcome, Offline) for outcome in rest)
    assert isinstance(ran.verdict, Anchored)
    assert all(seat.anchored == ran.verdict for seat in ran.honest)
    assert ran.counts.get("retry begun", 0) == 0
    ran.one_result()
    ran.all_letters()


@pytest.mark.parametrize("lied_to", [(1,), (1, 2), (1, 2, 3)])
def test_row_10_signed_bad_reveal(lied_to: tuple[int, ...]) -> None:
    ran = Ran(against({0: lying(for_itself(bad.BadReveal), *lied_to)}, calm=True))
    bad_ones = {
        place: {
            act.body
            for act in ran.notes.heard.acts
            if (act.seat, act.by, act.member, act.kind) == (place, 0, 0, Kind.REVEAL)
        }
        for place in (1, 2, 3)
    }
    assert all(len(bodies) == 1 for bodies in bad_ones.values())
    # A C: E2 with all; no abort when a good one is relayed.
    assert ran.expelled == {0}
    assert any(fraud.bad_reveal for fraud in ran.world.chain.frauds.values())
    holders = {seat for _at, seat, _run, _evidence in ran.notes.proofs}
    assert holders == {1, 2, 3}
    if len(lied_to) < 3:
        assert all_success(ran.outcomes(0))
        assert isinstance(ran.verdict, Anchored)
    else:
        assert all_malicious(ran.outcomes(0), 0)
        assert all(len(outcome.evidence) == 1 for outcome in ran.outcomes(0))
        assert isinstance(ran.verdict, FellBack)
        assert 0 not in ran.verdict.active
    ran.one_result()
    ran.all_letters(0)
