"""Negative controls: without a guard, or without the echo, the simulator finds what breaks.

Each control is the real machine with one rule taken out (`removed_guards`). The test names the
invariant of coinflip.md §9 that must break, in the ordinary campaign (`scenario(seed)`, from seed
0 on) or in one scenario made for it, and shows that the same run is unbroken with the rule in
place: what broke, broke for want of that rule. `X` means that another guard behind the missing
one raised; there the test takes both out as well.

Guards whose absence breaks no letter, and why:

- The topic in an envelope's header (`envelope.decode`). A signature covers this topic's bytes, so
  a replay fails there; evidence compares topics once more.
- `may_retry` without a sent reveal: who sent one holds the certificate, in its journal too.
- `may_retry` without a sign (an echo(0), or two roots). Who holds no certificate has not revealed,
  so nobody can compute R of that attempt without it. The sign keeps members from beginning an
  attempt that others, who hold a certificate, will not join: it saves time.
- `_may_echo` without a look at `evidence`. A certificate over vectors with an equivocator's first
  commit is as good as any other; giving up only ends the attempt sooner.
- The ends Tc, Te and Tf in `_may_commit`, `_may_echo` and `_may_reveal`. All that is signed late
  still needs the certificate. They make sure that members come to the same exit in time.
- `_may_sign` without `silenced`. A member's own journal cannot bring it there: after a restart it
  signs no other echo, silent or not, and commit and reveal follow from its secrets. What is left is
  a live copy of its key, and for such a key F and B are not promised (row 15).
- `anchored` ignored: who missed a reveal ends offline instead of with R. It can join no later
  attempt, since R needed its own echo and reveal. Row 8 asserts the exit that the chain gives.
- `_pull`, and the greeting with what was signed: each makes up for the absence of the other. Rows
  7, 8 and 19 assert that a message withheld or lost is made good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import removed_guards as without

from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.effects import Anchor, Effect
from offchain_worker.coinflip.envelope import Kind
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.simulation import strategies as bad
from offchain_worker.simulation.adversary import Deviant, Dishonest, Heard, commit_of, own_of, sign
from offchain_worker.simulation.adversary import without as without_envelopes
from offchain_worker.simulation.chain import AnchorCall, ChainPlan
from offchain_worker.simulation.draw import only, scenario
from offchain_worker.simulation.invariants import Broken, Watch
from offchain_worker.simulation.network import LinkPlan, constant
from offchain_worker.simulation.scenario import QUICK, Scenario
from offchain_worker.simulation.seat import LOST, STALE, Crash, Run
from offchain_worker.simulation.world import World, run_scenario

MOST_SEEDS = 1_000
"""Runs of the campaign that a control may take; a campaign has hundreds of thousands."""


def first_broken(draw: Callable[[int], Scenario], seeds: int) -> Broken:
    """The first broken run."""
    for seed in range(seeds):
        try:
            run_scenario(draw(seed))
        except Broken as broken:
            return broken
    pytest.fail(f"nothing broke in {seeds} runs")


CAMPAIGN: list[tuple[type[CoinflipMachine], set[str]]] = [
    (without.NoEcho, {"U"}),
    (without.Naive, {"U"}),
    (without.NoCertificate, {"U"}),
    # C: whoever said something else to one member is not proved guilty by what it said.
    (without.OneEchoLess, {"U", "C"}),
    (without.ZeroCounts, {"U", "C"}),
    # Its R has no openings, or its late committer knows numbers: which comes first is chance.
    (without.EchoesWithHoles, {"U", "V"}),
    (without.LastCommitCounts, {"V"}),
    (without.SendsFirst, {"F"}),
    (without.NeverWrites, {"F"}),
    # A number that was never committed to: R differs from others', and its openings give no root.
    (without.BelievesReveals, {"A", "V"}),
    (without.BelievesRelays, {"B"}),
    (without.BelievesTwiceTheSame, {"B"}),
    (without.BelievesAccusations, {"B"}),
    (without.KeepsAllEchoes, {"R"}),
    (without.RetriesAlways, {"A"}),
    (without.WaitsForEver, {"T"}),
    (without.Impatient, {"L"}),
    (without.TellsW, {"S"}),
]


@pytest.mark.parametrize(
    ("machine", "letters"), CAMPAIGN, ids=lambda one: getattr(one, "__name__", "")
)
def test_the_campaign_finds_a_machine_without(
    machine: type[CoinflipMachine], letters: set[str]
) -> None:
    broken = first_broken(lambda seed: replace(scenario(seed), machine=machine), MOST_SEEDS)
    assert broken.letter in letters, str(broken)
    run_scenario(scenario(broken.seed))


@pytest.mark.parametrize(("journal_refuses", "letter"), [(True, "X"), (False, "F")])
def test_a_second_body_is_refused_by_the_journal_and_found_without_it(
    monkeypatch: pytest.MonkeyPatch, journal_refuses: bool, letter: str
) -> None:
    if not journal_refuses:
        monkeypatch.setattr("offchain_worker.simulation.seat.Disk", without.OverwritesJournal)
    broken = first_broken(
        lambda seed: replace(scenario(seed), machine=without.SignsAgain), MOST_SEEDS
    )
    assert broken.letter == letter, str(broken)
    assert journal_refuses is ("BodyConflict" in broken.sentence)
    run_scenario(scenario(broken.seed))


def test_the_campaign_finds_a_seat_that_uses_its_secrets_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("offchain_worker.simulation.world.Seat", without.SameSecrets)
        broken = first_broken(scenario, MOST_SEEDS)
    assert broken.letter == "F", str(broken)
    run_scenario(scenario(broken.seed))


# Made for one guard


def set_back(machine: type[CoinflipMachine], at_ms: int) -> Scenario:
    """A member crashes about when it echoes one of two vectors; its journal comes back from before.
    When it is up again, its peers know of the two commits behind the vectors."""
    crash = Crash(at_ms=at_ms, down_ms=60, journal=STALE, image_write=2)
    return replace(split_commit(machine), crashes={1: [crash]}, calm=False)


def test_a_journal_that_was_set_back_makes_a_member_contradict_itself() -> None:
    broken = first_broken(lambda step: set_back(without.Careless, 40 + 2 * step), 30)
    assert broken.letter == "F", str(broken)
    silenced = 0
    for step in range(30):
        report = run_scenario(set_back(CoinflipMachine, 40 + 2 * step))
        assert report.counts["restart with a stale journal"]
        silenced += "silenced" in report.counts
    assert silenced > 0


def lost(machine: type[CoinflipMachine]) -> Scenario:
    crash = Crash(at_ms=45, down_ms=60, journal=LOST)
    return replace(split_commit(machine), dishonest={}, crashes={1: [crash]}, calm=False)


def test_a_member_that_goes_on_without_its_journal_contradicts_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run_scenario(lost(CoinflipMachine)).counts["silent without journal"]
    monkeypatch.setattr("offchain_worker.simulation.seat.Disk", without.NewJournalForOldTopics)
    with pytest.raises(Broken) as caught:
        run_scenario(lost(CoinflipMachine))
    assert caught.value.letter == "F"


def split_commit(machine: type[CoinflipMachine]) -> Scenario:
    """Two honest members sign for different vectors, before either hears of the other's."""
    return Scenario(
        seed=1,
        size=4,
        dishonest={0: only(lambda world, place: bad.SplitCommit(world, place, [1, 2]))},
        links=LinkPlan(constant(30)),
        start_within_ms=0,
        calm=True,
        machine=machine,
    )


@pytest.mark.parametrize("machine", [without.AsksNoVector, without.KeepsOneCommit])
def test_who_split_the_vectors_is_not_found_without(machine: type[CoinflipMachine]) -> None:
    with pytest.raises(Broken) as caught:
        run_scenario(split_commit(machine))
    assert caught.value.letter == "C"
    assert run_scenario(split_commit(CoinflipMachine)).world.chain.expelled


def test_echoes_of_different_roots_are_no_certificate() -> None:
    with pytest.raises(Broken) as caught:
        run_scenario(split_commit(without.AnyRoot))
    assert caught.value.letter == "U"


class Accuser(Dishonest):
    """Shows everybody the commits and reveals of everybody as bad reveals."""

    def on_message(self, attempt: Attempt, place: int, data: bytes, new: list[Heard]) -> None:
        if any(one.kind == Kind.COMMIT for one in new):
            commit = commit_of(self, attempt, self.secrets_of(attempt))
            self.tell(attempt, self.others(attempt), commit.raw)
        for one in new:
            if one.kind == Kind.ECHO:
                echo = sign(self, attempt, Kind.ECHO, one.body)
                self.tell(attempt, self.others(attempt), echo.raw)
            elif one.kind == Kind.REVEAL:
                heard = self.coalition.heard[attempt.flip.topic]
                commit = next(c for c in heard if (c.kind, c.member) == (Kind.COMMIT, one.member))
                flip = attempt.flip
                pair = commit.raw, one.raw
                proof = bad.proof_of(flip.challenge_id, flip.attempt, *pair, bad_reveal=True)
                self.accuse(attempt, self.others(attempt), proof)


def accused(machine: type[CoinflipMachine]) -> Scenario:
    return Scenario(
        seed=5,
        size=4,
        dishonest={0: only(Accuser)},
        links=LinkPlan(constant(20)),
        machine=machine,
    )


def test_a_reveal_that_opens_its_commit_is_no_proof() -> None:
    with pytest.raises(Broken) as caught:
        run_scenario(accused(without.BelievesThatItDoesNotFit))
    assert caught.value.letter == "B"
    seats = run_scenario(accused(CoinflipMachine)).world.honest_seats
    assert all(seat.refusals["no contradiction"] for seat in seats)


class Asks(Dishonest):
    """Asks everybody for everybody's commits, ten thousand times."""

    def on_attempt(self, attempt: Attempt) -> None:
        self.budget = 10_000
        self.after(1_000, self.flood, attempt)

    def flood(self, attempt: Attempt) -> None:
        for _ in range(self.budget):
            self.ask(attempt, self.others(attempt)[:1], Kind.COMMIT)


def flood(machine: type[CoinflipMachine]) -> Scenario:
    return Scenario(
        seed=4,
        size=3,
        timing=QUICK,
        dishonest={0: only(Asks)},
        links=LinkPlan(constant(5)),
        start_within_ms=0,
        machine=machine,
    )


def test_a_flood_is_answered_without_end_without_credit() -> None:
    with pytest.raises(Broken) as caught:
        run_scenario(flood(without.GivesCredit))
    assert caught.value.letter == "R"
    assert run_scenario(flood(CoinflipMachine)).counts["cut off for flooding"]


class KeepsItsResult(Deviant):
    """Lets the certificate stand, gives a reason to retry, keeps R to itself: and anchors it when
    it sees the numbers of the next attempt."""

    def __init__(self, world: World, place: int) -> None:
        super().__init__(world, place)
        self.kept: AnchorCall | None = None

    def alter(self, run: Run, index: int, data: bytes) -> tuple[bytes, ...]:
        if run.attempt.flip.attempt > 0:
            return (data,)
        kept = without_envelopes(data, run.machine.index, Kind.REVEAL)
        if own_of(data, run.machine.index) is Kind.ECHO:
            zero = sign(self, run.attempt, Kind.ECHO, bytes(32)).raw
            return *kept, zero
        return kept

    def notice(self, run: Run, effect: Effect) -> None:
        if isinstance(effect, Anchor):
            openings = tuple((one.z, one.salt, one.x) for one in effect.openings)
            self.kept = AnchorCall(effect.attempt, openings, effect.echoes)
        else:
            super().notice(run, effect)


class Watcher(Deviant):
    """The friend in the next attempt."""

    def deliver(self, line: object, data: bytes) -> None:
        super().deliver(line, data)
        run = self.run
        if data[0] == Kind.REVEAL and run is not None and run.attempt.flip.attempt == 1:
            for seat in self.world.seats:
                if isinstance(seat, KeepsItsResult) and seat.kept is not None:
                    self.world.chain.submit(seat.place, seat.kept)
                    seat.kept = None


def second_chance(machine: type[CoinflipMachine]) -> Scenario:
    return Scenario(
        seed=2,
        size=4,
        timing=QUICK,
        dishonest={0: only(KeepsItsResult), 1: only(Watcher)},
        links=LinkPlan(constant(10)),
        chain=ChainPlan(),
        machine=machine,
    )


def test_a_retry_after_a_certificate_gives_who_withheld_the_choice_of_two_results() -> None:
    with pytest.raises(Broken) as caught:
        run_scenario(second_chance(without.RetriesAfterCertificate))
    assert caught.value.letter == "A"
    report = run_scenario(second_chance(CoinflipMachine))
    assert report.counts["retry refused after a certificate"]
    assert "retry begun" not in report.counts


def hidden(run: Run, data: bytes) -> tuple[bytes, ...]:
    """A message without what others echoed and revealed."""
    for index in range(run.attempt.flip.size):
        for kind in (Kind.ECHO, Kind.REVEAL):
            if index != run.machine.index:
                left = without_envelopes(data, index, kind)
                if not left:
                    return ()
                (data,) = left
    return (data,)


class HidesAndKeeps(KeepsItsResult):
    """Besides, does not show restarted members what they signed before."""

    def alter(self, run: Run, index: int, data: bytes) -> tuple[bytes, ...]:
        return tuple(
            one
            for kept in hidden(run, data)
            for one in super(HidesAndKeeps, self).alter(run, index, kept)
        )


class HidesAndWatches(Watcher):
    """Nor does its friend, who goes on to the next attempt whatever it holds."""

    def alter(self, run: Run, index: int, data: bytes) -> tuple[bytes, ...]:
        return hidden(run, data)

    def make_machine(self, *arguments: Any) -> CoinflipMachine:
        machine = super().make_machine(*arguments)
        machine.__class__ = without.RetriesAlways
        return machine


def second_chance_after_restarts(machine: type[CoinflipMachine]) -> Scenario:
    """Both honest members revealed, and come back with journals from before they echoed."""
    crash = Crash(at_ms=150, down_ms=50, journal=STALE, image_write=2)
    return replace(
        second_chance(machine),
        dishonest={0: only(HidesAndKeeps), 1: only(HidesAndWatches)},
        crashes={2: [crash], 3: [crash]},
        start_within_ms=0,
    )


def test_a_retry_after_a_restart_may_come_after_a_certificate() -> None:
    with pytest.raises(Broken) as caught:
        run_scenario(second_chance_after_restarts(without.RetriesAfterRestart))
    assert caught.value.letter == "A"
    report = run_scenario(second_chance_after_restarts(CoinflipMachine))
    assert report.counts["restart with a stale journal"] == 2
    assert all(set(seat.outcomes) == {0} for seat in report.world.honest_seats)


class Listener(Deviant):
    """Plays along; its friends learn what it hears."""


def late_commit(machine: type[CoinflipMachine]) -> Scenario:
    return Scenario(
        seed=3,
        size=4,
        dishonest={
            0: only(Listener),
            1: only(lambda world, place: bad.LateCommitter(world, place, at_part=0.5)),
        },
        links=LinkPlan(constant(20)),
        machine=machine,
    )


def test_without_echo_a_late_committer_knows_the_numbers_of_all_before_it_commits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The attack itself: the check at the first reveal looks away, so that it goes on."""
    monkeypatch.setattr(Watch, "_reveals", lambda _watch, _seat, _run: None)
    with pytest.raises(Broken, match="knew the number") as caught:
        run_scenario(late_commit(without.Naive))
    assert caught.value.letter == "U"
    run_scenario(late_commit(CoinflipMachine))
