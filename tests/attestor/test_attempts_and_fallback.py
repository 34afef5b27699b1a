"""Challenges whose coinflip does not go well: retries, expulsions, the fallback on the chain.

Everybody runs as in production, on a mock clock; see `challenge_world`. Adversaries are those of
`attestor.adversary`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from challenge_world import AttestorWorker, World, open_world
from trio.testing import MockClock

from chain_types import storage
from chain_types.records import FraudKind, Provider, Role, Settlement, Verdict
from offchain_worker.attestor.adversary import Fault
from offchain_worker.chain.client import Snapshot
from offchain_worker.chain.heads import Head
from offchain_worker.explorer.history import read_history
from offchain_worker.explorer.verify import verify_history

TWO_ATTEMPTS = {"flipMs": 13_000, "windowMs": 23_000}
"""Room for attempt 1: it ends at most 12 s after the start."""
TC_MS = 1_900
"""From the start until who lacks a commitment gives up."""


def settlement_of(snapshot: Snapshot) -> Settlement:
    assert snapshot.settlement is not None
    return snapshot.settlement


async def holds(world: World, challenge: int = 0) -> list[str]:
    """What `challenge verify` says; it raises what does not hold."""
    return list(verify_history(await read_history(world.client, challenge)))


async def provider_of(world: World, worker: AttestorWorker) -> Provider:
    found = await world.client.read(storage.PROVIDERS, Role.ATTESTOR, worker.account.public)
    assert found is not None
    return found


def place_of(snapshot: Snapshot, worker: AttestorWorker) -> int:
    place = snapshot.challenge.index_of(worker.account.public)
    assert place is not None
    return place


def honest(world: World) -> list[AttestorWorker]:
    return [attestor for attestor in world.attestors if attestor.fault is None]


async def check_expelled(world: World, snapshot: Snapshot, kind: FraudKind) -> None:
    """The adversary lost its bond, one fellow attestor has half of it."""
    (adversary,) = (one for one in world.attestors if one.fault is not None)
    (fraud,) = snapshot.frauds.values()
    assert (fraud.offender, fraud.proof) == (adversary.account.public, kind)
    assert fraud.slashed == world.client.constants.attestor_bond
    assert fraud.reward == fraud.slashed // 2
    (expulsion,) = snapshot.expulsions
    assert expulsion.place == place_of(snapshot, adversary)
    provider = await provider_of(world, adversary)
    assert (provider.bond, provider.active) == (0, False)
    # One of the others proved it; turns and the look at the newest block spare them the fee.
    (reported,) = world.events("fraud.reported")
    assert not world.events("fraud.reported.not")
    (rewarded,) = world.events("fraud.rewarded", reward=str(fraud.reward))
    assert reported.worker == rewarded.worker == world.by_account(fraud.reporter).name
    assert (reported.values["offender"], reported.values["fraud"]) == (expulsion.place, kind.name)
    assert {line.worker for line in world.events("attestor.expelled")} == {adversary.name}
    (settled,) = (
        line for line in world.events("challenge.settled") if line.worker == reported.worker
    )
    assert settled.values["frauds_proven"] == 1
    assert settled.values["fraud_rewards"] == str(fraud.reward)


# Another attempt.


async def test_after_an_expulsion_the_others_flip_again_among_themselves(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, timing=TWO_ATTEMPTS) as world:
        adversary = world.attestors[4]
        adversary.fault = Fault.EQUIVOCATE
        before = await world.money()
        await world.hire()
        settled = await world.settled()
        settlement, flip = settlement_of(settled), settled.flip
        assert flip is not None
        assert (settlement.outcome, settlement.active, settlement.served) == (Verdict.PASSED, 4, 4)
        assert (flip.attempt, flip.fell_back) == (1, False)
        place = place_of(settled, adversary)
        others = tuple(other for other in range(5) if other != place)
        assert flip.places == others
        for attestor in honest(world):
            lines = [line for line in world.log if line.worker == attestor.name]
            begun = [line.values for line in lines if line.event == "coinflip.begun"]
            assert [(run["attempt"], run["members"]) for run in begun] == [
                (0, (0, 1, 2, 3, 4)),
                (1, others),
            ]
            exits = [line.values for line in lines if line.event == "coinflip.exit"]
            assert [(one["outcome"], one["members"]) for one in exits] == [
                ("Malicious", [place]),
                ("Success", []),
            ]
            assert len([line for line in lines if line.event == "coinflip.statistics"]) == 2
        for account, record in (await world.client.reports(0)).items():
            own = settled.challenge.index_of(account)
            # Places of the start roster; who was measured in the first attempt is kept.
            assert {peer.index for peer in record.peers} >= set(others) - {own}
        await check_expelled(world, settled, FraudKind.EQUIVOCATION)
        assert settlement.absent == ()
        await holds(world)
        gained = {name: amount - before[name] for name, amount in (await world.money()).items()}
        assert gained[adversary.name] <= -world.client.constants.attestor_bond
        assert max(gained.values()) > world.client.constants.attestor_bond // 2


async def test_a_member_that_comes_too_late_for_an_attempt_is_in_the_next(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """It hears the others give up, which lets it take part again; nobody is to blame."""
    async with open_world(tmp_path, timing=TWO_ATTEMPTS) as world:
        await world.hire()
        late = world.attestors[2]
        late.isolated = True
        started = await world.started()
        gives_up_at = started.challenge.t0 + TC_MS
        await trio.sleep((gives_up_at + 500 - world.clock_ms()) / 1_000)
        late.isolated = False
        settled = await world.settled()
        settlement, flip = settlement_of(settled), settled.flip
        assert flip is not None
        assert (flip.attempt, flip.fell_back) == (1, False)
        assert (settlement.outcome, settlement.active, settlement.served) == (Verdict.PASSED, 5, 5)
        assert (settled.frauds, settled.expulsions, settlement.absent) == ({}, (), ())
        exits = [
            (line.values["attempt"], line.values["outcome"])
            for line in world.events("coinflip.exit")
        ]
        assert sorted(exits) == [(0, "Offline")] * 5 + [(1, "Success")] * 5
        await holds(world)


async def test_after_a_certificate_nobody_flips_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """There is time for another attempt, but it would be a free re-roll for who withholds."""
    async with open_world(tmp_path, timing=TWO_ATTEMPTS) as world:
        world.attestors[2].fault = Fault.WITHHOLD
        await world.hire()
        settled = await world.settled()
        settlement, flip = settlement_of(settled), settled.flip
        assert (settlement.outcome, settlement.active, settlement.served) == (Verdict.PASSED, 5, 5)
        assert flip is not None
        assert flip.fell_back
        assert {line.values["attempt"] for line in world.events("coinflip.begun")} == {0}
        assert {line.values["outcome"] for line in world.events("coinflip.exit")} == {"Offline"}
        assert (settled.frauds, settled.expulsions, settlement.absent) == ({}, (), ())
        await holds(world)


async def test_restarts_between_two_attempts_change_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path, timing=TWO_ATTEMPTS) as world:
        world.attestors[0].fault = Fault.EQUIVOCATE
        await world.hire()
        await world.started()
        *others, last = honest(world)
        # It is the line after the first attempt's end is noted down.
        world.crashes |= {(attestor.name, "coinflip.statistics") for attestor in others}

        async def between(_head: Head) -> bool:
            return len(world.events("coinflip.statistics")) >= 5

        await world.until(between)
        assert not world.crashes
        last.stop()
        await last.start()
        settled = await world.settled()
        settlement, flip = settlement_of(settled), settled.flip
        assert flip is not None
        assert (settlement.outcome, settlement.served, flip.attempt) == (Verdict.PASSED, 4, 1)
        assert not world.events("coinflip.key_used_elsewhere")
        await holds(world)


async def test_after_restarts_in_the_midst_of_an_attempt_the_fallback_takes_over(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Who is started again cannot know whether it held a certificate, and flips no more; what it
    found out about others is on disk, and proven all the same."""
    async with open_world(tmp_path, timing=TWO_ATTEMPTS) as world:
        world.attestors[0].fault = Fault.EQUIVOCATE
        await world.hire()
        started = await world.started()
        first, second, *_ = sorted(honest(world), key=lambda one: place_of(started, one))
        # The first of them has the first turn to prove it.
        world.crashes |= {(first.name, "coinflip.evidence"), (second.name, "coinflip.evidence")}
        settled = await world.settled()
        settlement, flip = settlement_of(settled), settled.flip
        assert flip is not None
        assert not world.crashes
        assert (settlement.outcome, settlement.served) == (Verdict.PASSED, 4)
        assert flip.fell_back
        (reported,) = world.events("fraud.reported")
        assert reported.worker == first.name
        assert not world.events("coinflip.key_used_elsewhere")
        await holds(world)


# The fallback.


@pytest.mark.parametrize(
    ("fault", "kind"),
    [(Fault.EQUIVOCATE, FraudKind.EQUIVOCATION), (Fault.BAD_REVEAL, FraudKind.BAD_REVEAL)],
)
async def test_who_is_caught_is_not_in_the_fallback_of_the_others(
    tmp_path: Path, autojump_clock: MockClock, fault: Fault, kind: FraudKind
) -> None:
    async with open_world(tmp_path) as world:
        adversary = world.attestors[1]
        adversary.fault = fault
        await world.hire()
        opened = await world.fallen_back()
        assert opened.fallback is not None
        place = place_of(opened, adversary)
        assert opened.fallback.places == tuple(other for other in range(5) if other != place)
        settled = await world.settled()
        settlement, flip = settlement_of(settled), settled.flip
        assert flip is not None
        assert flip.fell_back
        assert flip.places == opened.fallback.places
        assert (settlement.outcome, settlement.active, settlement.served) == (Verdict.PASSED, 4, 4)
        assert settlement.absent == ()
        assert len(world.events("coinflip.committed")) == 4
        assert not world.events("coinflip.committed.not")
        await check_expelled(world, settled, kind)
        await holds(world)


async def test_restarts_in_each_stage_of_the_fallback_change_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        world.attestors[0].fault = Fault.WITHHOLD
        await world.hire()
        _adversary, boris, clara, dora, emil = world.attestors
        world.crashes |= {
            (boris.name, "coinflip.exit"),
            (boris.name, "audit.finished"),
            (clara.name, "coinflip.committed"),
            (clara.name, "audit.opened"),
        }
        opened = await world.fallen_back()
        # Away when the others commit; the chain still takes a commitment.
        dora.stop()
        await dora.start()

        async def has_committed(head: Head) -> bool:
            fallback = await world.client.read(storage.FALLBACKS, 0, at=head.hash)
            return fallback is not None and place_of(opened, emil) not in fallback.missing

        await world.until(has_committed)
        emil.stop()
        await world.anchored()
        await emil.start()
        settled = await world.settled()
        settlement = settlement_of(settled)
        assert not world.crashes
        assert (settlement.outcome, settlement.active, settlement.served) == (Verdict.PASSED, 5, 5)
        assert not world.events("coinflip.committed.not")
        await holds(world)


async def test_a_lost_journal_keeps_nobody_out_of_the_fallback(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Nobody signs anything in it that could be contradicted."""
    async with open_world(tmp_path) as world:
        world.attestors[0].fault = Fault.WITHHOLD
        await world.hire()
        lost = world.attestors[3]

        world.ends.add((lost.name, "coinflip.statistics"))
        await world.fallen_back()
        assert not world.ends
        for file in lost.state.glob("journal.sqlite*"):
            file.unlink()
        await lost.start()
        settlement = settlement_of(await world.settled())
        assert (settlement.outcome, settlement.active, settlement.served) == (Verdict.PASSED, 5, 5)
        assert not settlement.absent
        await holds(world)


async def test_a_fallback_with_too_few_commitments_is_void_and_the_absent_pay(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.hire()
        await world.started()
        gone = world.attestors[1:3]
        for attestor in gone:
            attestor.stop()
        settled = await world.settled()
        settlement, fee = settlement_of(settled), world.client.constants.absence_fee
        assert settlement.outcome is Verdict.VOID
        assert settled.flip is None
        assert {(absence.account, absence.fee) for absence in settlement.absent} == {
            (attestor.account.public, fee) for attestor in gone
        }
        assert len(world.events("coinflip.committed")) == 3
        assert not world.events("audit.missed")
        await holds(world)
        for attestor in gone:
            await attestor.start()
        assert settlement_of(await world.settled(1)).outcome is Verdict.PASSED


# Evidence.


async def test_evidence_that_was_found_before_a_crash_is_reported_after_the_restart(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        world.attestors[3].fault = Fault.EQUIVOCATE
        await world.hire()
        for attestor in honest(world):
            world.crashes.add((attestor.name, "coinflip.evidence"))
        settled = await world.settled()
        assert not world.crashes
        # Nobody found it anew: the machines were told of it by the journal.
        assert len(world.events("coinflip.evidence")) == 4
        await check_expelled(world, settled, FraudKind.EQUIVOCATION)
        assert settlement_of(settled).served == 4


async def test_evidence_is_reported_by_one_that_comes_back_when_audits_run(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """All honest ones end as they find it, so that the adversary alone is in the fallback."""
    async with open_world(tmp_path, timing={"minActive": 1}) as world:
        world.attestors[3].fault = Fault.EQUIVOCATE
        await world.hire()
        for attestor in honest(world):
            world.ends.add((attestor.name, "coinflip.evidence"))
        witness = honest(world)[0]
        await world.anchored()
        assert not world.ends
        assert not world.events("fraud.reported")
        await witness.start()
        settled = await world.settled()
        (fraud,) = settled.frauds.values()
        assert fraud.reporter == witness.account.public
        assert settled.expulsions
        # Too late for the frozen roster: it stays active, but is paid nothing.
        settlement = settlement_of(settled)
        assert (settlement.active, settlement.served) == (1, 1)
        assert world.attestors[3].account.public not in {item.account for item in settlement.paid}
        await holds(world)


async def test_a_fraud_is_proven_over_connections_that_break(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def break_connections(world: World) -> None:
        turn = 0
        while True:
            await trio.sleep(0.07)
            turn += 1
            await [*world.attestors, world.hosters[0]][turn % 6].lose_chain()

    async with open_world(tmp_path) as world:
        world.attestors[2].fault = Fault.BAD_REVEAL
        await world.hire()
        world.nursery.start_soon(break_connections, world)
        settled = await world.settled()
        (fraud,) = settled.frauds.values()
        assert fraud.proof is FraudKind.BAD_REVEAL
        settlement = settlement_of(settled)
        assert (settlement.outcome, settlement.served) == (Verdict.PASSED, 4)
        assert len(world.events("chain.connection_lost")) > 100
        assert not world.events("attestor.challenge_failed")
        await holds(world)
