"""Whole challenges in one process, from registration to settlement and the start of the next.

Everybody runs as in production, on a mock clock; see `challenge_world`.
"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import trio
from challenge_world import (
    ATTESTOR_REWARD,
    BLOCK_MS,
    HOSTER_REWARD,
    WORKER,
    AttestorWorker,
    World,
    open_world,
)
from trio.testing import MockClock

from chain_types import storage
from chain_types.records import (
    Answered,
    FailedRecord,
    Flipping,
    Payment,
    PaymentKind,
    ReportRecord,
    Role,
    ServedRecord,
    Settlement,
    Verdict,
)
from chain_types.report import Reason
from offchain_worker.attestor.attestor import PAUSE_S, UPDATES
from offchain_worker.attestor.store import WorkStore
from offchain_worker.chain.client import Snapshot
from offchain_worker.chain.errors import ChainReverted
from offchain_worker.chain.heads import Head, Heads
from offchain_worker.errors import OperationError
from offchain_worker.explorer.history import read_history
from offchain_worker.explorer.verify import verify_history
from offchain_worker.hoster.adversary import Fault
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.swarm.proxy import Proxy


def settlement_of(snapshot: Snapshot) -> Settlement:
    assert snapshot.settlement is not None
    return snapshot.settlement


async def holds(world: World, challenge: int = 0) -> list[str]:
    """What `challenge verify` says; it raises what does not hold."""
    return list(verify_history(await read_history(world.client, challenge)))


async def reports_of(world: World, challenge: int = 0) -> dict[str, ReportRecord]:
    found = await world.client.reports(challenge)
    return {world.by_account(account).name: record for account, record in found.items()}


def reward(attestor: AttestorWorker, amount: int = ATTESTOR_REWARD) -> Payment:
    return Payment(attestor.account.public, PaymentKind.REPORT, amount)


async def test_a_challenge_from_registration_to_the_next_one(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        before = await world.money()
        await world.hire()
        started = await world.started()
        settled = await world.settled()
        settlement = settlement_of(settled)
        assert settlement.outcome is Verdict.PASSED
        assert (settlement.active, settlement.served, settlement.failed) == (5, 5, 0)
        roster = [world.by_account(member.account) for member in started.challenge.roster]
        assert settlement.paid == (
            Payment(world.hosters[0].account.public, PaymentKind.HOSTING, HOSTER_REWARD),
            *(reward(attestor) for attestor in roster),
        )
        assert (settlement.absent, settlement.burnt, settlement.forfeited) == ((), 0, 0)
        gained = {name: amount - before[name] for name, amount in (await world.money()).items()}
        for attestor in world.attestors:
            # Fees of a registration alone are paid: anchor and report cost nothing.
            assert 0 < ATTESTOR_REWARD - gained[attestor.name] < ATTESTOR_REWARD // 10
        assert 0 < HOSTER_REWARD - gained["Frida"] < HOSTER_REWARD // 10

        for name, record in (await reports_of(world)).items():
            assert isinstance(record.outcome, ServedRecord)
            assert record.outcome.proved == 32
            assert abs(record.outcome.opened_ms - record.moment_ms) < 100
            assert {peer.index for peer in record.peers} == {
                index for index, member in enumerate(roster) if member.name != name
            }
        assert (await holds(world))[-1].endswith(
            "6 payments, 15000000000008 in all, and 0 absence fees follow"
        )

        refuse_early_secrets(world, settled, await reports_of(world))

        following = await world.started(1)
        assert isinstance(following.challenge.stage, Flipping)
        assert following.challenge.hosting == settled.challenge.hosting
        assert settlement_of(await world.settled(1)).outcome is Verdict.PASSED
        await holds(world, 1)


def refuse_early_secrets(
    world: World, snapshot: Snapshot, reports: dict[str, ReportRecord]
) -> None:
    """A moment and its key are in nobody's log before it has come, w in none before reports."""
    for name, record in reports.items():
        for line in world.log:
            text = repr(line.values)
            if line.at_ms < record.moment_ms:
                assert str(record.moment_ms) not in text, (name, line)
                assert repr(record.audit_key) not in text, (name, line)
            if line.at_ms < snapshot.challenge.end_ms:
                assert repr(record.w) not in text, (name, line)


async def test_two_hosters_are_audited_by_the_same_attestors_at_the_same_time(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.hire(hosters=2)
        first, second = await world.settled(0), await world.settled(1)
        assert first.challenge.hoster != second.challenge.hoster
        assert abs(first.challenge.block - second.challenge.block) < 5
        for challenge, snapshot in enumerate((first, second)):
            assert settlement_of(snapshot).served == 5
            await holds(world, challenge)
        moments = [
            record.moment_ms
            for challenge in (0, 1)
            for record in (await reports_of(world, challenge)).values()
        ]
        assert len(set(moments)) == 10


async def test_an_attestor_whose_proxy_is_down_claims_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        unlucky = world.attestors[2]
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            unlucky.proxies = (Proxy("127.0.0.1", unused.getsockname()[1], "me", "secret"),)
            await world.hire()
            settlement = settlement_of(await world.settled())
        assert settlement.outcome is Verdict.PASSED
        assert (settlement.active, settlement.served, settlement.failed) == (5, 4, 0)
        assert [absence.account for absence in settlement.absent] == [unlucky.account.public]
        (missed,) = world.events("audit.missed")
        assert missed.worker == unlucky.name
        assert "proxy" in missed.values["reason"]
        assert world.events("egress.failed")
        assert "secret" not in repr(world.log)
        await holds(world)


async def test_a_hoster_that_is_gone_fails_and_its_successor_passes(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.hire()
        started = await world.anchored()
        world.hosters[0].stop()
        settled = await world.settled()
        settlement = settlement_of(settled)
        assert settlement.outcome is Verdict.FAILED
        assert (settlement.served, settlement.failed) == (0, 5)
        for record in (await reports_of(world)).values():
            assert record.outcome == FailedRecord(Reason.UNREACHABLE, None)
        roster = [world.by_account(member.account) for member in started.challenge.roster]
        assert settlement.paid == tuple(reward(who, ATTESTOR_REWARD // 2) for who in roster)
        await holds(world)
        await world.hosters[0].start()
        assert settlement_of(await world.settled(1)).outcome is Verdict.PASSED


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.FLIP_BIT, Reason.BAD_PROOF),
        (Fault.NO_RECEIPT, Reason.NO_RECEIPT),
        (Fault.RECEIPT_OTHER_CLIENT, Reason.BAD_RECEIPT),
    ],
)
async def test_what_a_hoster_does_wrong_is_named(
    tmp_path: Path, autojump_clock: MockClock, fault: Fault, reason: Reason
) -> None:
    async with open_world(tmp_path) as world:
        world.hosters[0].fault = fault
        await world.hire()
        assert settlement_of(await world.settled()).outcome is Verdict.FAILED
        outcomes = [record.outcome for record in (await reports_of(world)).values()]
        assert {isinstance(one, FailedRecord) and one.reason for one in outcomes} == {reason}
        lines = world.events("audit.finished")
        assert {line.values["outcome"] for line in lines} == {f"Failed({reason.name})"}
        await holds(world)


@pytest.mark.parametrize("fault", [Fault.FLIP_BIT, Fault.PREFIX])
async def test_a_chunk_that_nobody_was_given_is_demanded_and_not_shown(
    tmp_path: Path, autojump_clock: MockClock, fault: Fault
) -> None:
    """The hoster has flipped bits, or a half: it can show nothing, and loses the hosting's bond."""
    async with open_world(tmp_path) as world:
        world.hosters[0].fault = fault
        await world.hire()
        settled = await world.settled()
        settlement = settlement_of(settled)
        assert settlement.outcome is Verdict.FAILED
        assert len(settled.demands) == 5
        slash = world.client.constants.withholding_slash
        bond = world.client.constants.hosting_bond
        assert settlement.slashed == bond == 2 * slash
        withheld = [one for one in settlement.paid if one.kind is PaymentKind.WITHHOLDING]
        assert [one.amount for one in withheld] == [slash // 2] * 2
        assert world.events("hoster.demand_unanswerable")
        # What is left of the bond would not cover another: the hosting has ended.
        assert await world.client.read(storage.HOSTINGS, 0) is None
        await holds(world)


async def test_a_chunk_that_is_shown_costs_who_demanded_it(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hoster gives readers what it should not, and the chain what it should."""
    monkeypatch.setattr(Hoster, "served", lambda self, key: self.library.get(key))
    async with open_world(tmp_path) as world:
        world.hosters[0].fault = Fault.FLIP_BIT
        await world.hire()
        settled = await world.settled()
        settlement = settlement_of(settled)
        assert (settlement.outcome, settlement.paid) == (Verdict.FAILED, ())
        fee = world.client.constants.demand_fee
        states = [demand.state for demand in settled.demands.values()]
        assert [isinstance(one, Answered) and one.fee for one in states] == [fee] * 5
        assert len(world.events("hoster.demand_answered")) == 5
        await holds(world)


async def test_a_hoster_that_was_down_answers_when_it_is_back(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hoster, "served", lambda self, key: self.library.get(key))
    async with open_world(tmp_path) as world:
        hoster = world.hosters[0]
        hoster.fault = Fault.FLIP_BIT
        await world.hire()

        async def audited(_head: Head) -> bool:
            return len(world.events("audit.finished")) == 5

        await world.until(audited)
        hoster.stop()

        async def demanded(head: Head) -> bool:
            return len(await world.client.demands(0, at=head.hash)) == 5

        await world.until(demanded)
        await hoster.start()
        settled = await world.settled()
        states = [demand.state for demand in settled.demands.values()]
        assert all(isinstance(one, Answered) for one in states)
        await holds(world)


async def test_a_false_receipt_is_proven_and_costs_the_bond(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        world.hosters[0].fault = Fault.RECEIPT_OTHER_CHUNKS
        await world.hire()
        assert settlement_of(await world.settled()).outcome is Verdict.FAILED
        found = await world.client.entries(storage.FALSE_RECEIPTS)
        ((_keys, fraud),) = found
        assert fraud is not None
        bond = world.client.constants.hoster_bond
        assert (fraud.slashed, fraud.reward) == (bond, bond // 2)
        assert fraud.offender == world.hosters[0].account.public
        assert fraud.reporter in {attestor.account.public for attestor in world.attestors}
        provider = await world.client.read(
            storage.PROVIDERS, Role.HOSTER, world.hosters[0].account.public
        )
        assert provider is not None
        assert (provider.bond, provider.active) == (0, False)
        # Nobody learnt of it before the window was over.
        proven = await world.client.block_hash(fraud.block)
        snapshot = await world.client.challenge(0)
        assert proven is not None
        assert snapshot is not None
        assert await world.client.timestamp(proven) >= snapshot.challenge.end_ms
        await holds(world)


async def test_attestors_that_crash_at_any_step_report_all_the_same(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Each crashes at three of the steps, as it logs them, and is started again on its folder.

    Who crashed before its echo never echoes in that topic, so R comes from the fallback.
    """
    steps = [
        "attestor.drawn",
        "coinflip.progress",
        "coinflip.exit",
        "audit.opened",
        "audit.finished",
    ]
    async with open_world(tmp_path) as world:
        await world.hire()
        for turn, attestor in enumerate(world.attestors):
            for step in range(turn, turn + 3):
                world.crashes.add((attestor.name, steps[step % len(steps)]))
        settled = await world.settled()
        settlement = settlement_of(settled)
        assert not world.crashes
        assert (settlement.outcome, settlement.served) == (Verdict.PASSED, 5)
        assert not world.events("coinflip.evidence")
        assert not world.events("coinflip.key_used_elsewhere")
        assert settled.flip is not None
        assert settled.flip.fell_back
        await holds(world)


async def test_an_attestor_that_crashes_after_its_audit_reports_what_it_has_seen(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.hire()
        snapshot = await world.anchored()
        await trio.sleep((snapshot.challenge.end_ms - world.clock_ms() - 800) / 1_000)
        assert len(world.events("audit.finished")) == 5
        for attestor in world.attestors:
            attestor.stop()
        # What it would find now must not count: it has its outcome.
        world.hosters[0].stop()
        for attestor in world.attestors:
            await attestor.start()
        assert settlement_of(await world.settled()).served == 5
        assert len(world.events("audit.opened")) == 5


@pytest.mark.parametrize("grace_blocks", [12, 50])
async def test_an_attestor_that_is_gone_pays_and_a_fellow_closes_for_a_share(
    tmp_path: Path, autojump_clock: MockClock, grace_blocks: int
) -> None:
    async with open_world(tmp_path, timing={"graceBlocks": grace_blocks}) as world:
        await world.hire()
        await world.anchored()
        gone = world.attestors[1]
        gone.stop()
        bond = (await world.client.read(storage.PROVIDERS, Role.ATTESTOR, gone.account.public)).bond
        settled = await world.settled()
        settlement = settlement_of(settled)
        fee = world.client.constants.absence_fee
        assert settlement.outcome is Verdict.PASSED
        assert [(item.account, item.fee) for item in settlement.absent] == [
            (gone.account.public, fee)
        ]
        assert settlement.forfeited == HOSTER_REWARD - HOSTER_REWARD * 4 // 5
        closing = [item for item in settlement.paid if item.kind is PaymentKind.CLOSING]
        assert [item.amount for item in closing] == [fee // 10]
        assert world.by_account(closing[0].account) is not gone
        assert settlement.burnt == fee // 2
        assert settlement.to_escrow == fee - fee // 2 - fee // 10
        provider = await world.client.read(storage.PROVIDERS, Role.ATTESTOR, gone.account.public)
        assert provider is not None
        assert (provider.bond, provider.absences) == (bond - fee, 1)
        assert len(world.events("challenge.closed_by_us")) == 1
        # Where there are blocks enough they take turns, and nobody pays for coming too late.
        assert grace_blocks < 50 or not world.events("challenge.closed_by_us.not")
        await holds(world)


async def test_without_a_member_that_never_comes_the_fallback_goes_on(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.hire()
        missing = world.attestors[3]
        started = await world.started()
        missing.stop()
        place = started.challenge.index_of(missing.account.public)
        settled = await world.settled()
        settlement, flip = settlement_of(settled), settled.flip
        assert flip is not None
        assert flip.fell_back
        assert flip.places == tuple(other for other in range(5) if other != place)
        assert (settlement.outcome, settlement.active, settlement.served) == (Verdict.PASSED, 4, 4)
        assert [absence.account for absence in settlement.absent] == [missing.account.public]
        assert {line.values["outcome"] for line in world.events("coinflip.exit")} == {"Offline"}
        await holds(world)
        await missing.start()
        following = await world.settled(1)
        assert settlement_of(following).outcome is Verdict.PASSED


async def test_a_clock_that_jumps_over_the_moment_makes_no_report(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.hire()
        await world.anchored()
        late = world.attestors[4]
        late.offset_ms = 3_600_000
        settlement = settlement_of(await world.settled())
        assert [item.account for item in settlement.absent] == [late.account.public]
        missed = world.events("audit.missed")
        assert len(missed) == 1
        assert len(world.events("audit.opened")) == 4
        with WorkStore.open(late.state / "work.sqlite") as store:
            work = store.load(settled_topic(await world.client.challenge(0)))
        assert work.outcome is None
        assert work.missed == missed[0].values["reason"]


def settled_topic(snapshot: Snapshot | None) -> bytes:
    assert snapshot is not None
    assert snapshot.flip is not None
    return snapshot.flip.topic


# The connection to the chain.


async def test_lost_connections_to_the_chain_change_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Every 70 ms another worker loses its connection, so that each await meets a loss."""

    async def break_connections(world: World) -> None:
        turn = 0
        while True:
            await trio.sleep(0.07)
            turn += 1
            await [*world.attestors, world.hosters[0]][turn % 6].lose_chain()

    async with open_world(tmp_path) as world:
        await world.hire()
        world.nursery.start_soon(break_connections, world)
        settlement = settlement_of(await world.settled())
        assert (settlement.outcome, settlement.served) == (Verdict.PASSED, 5)
        assert settlement_of(await world.settled(1)).served == 5
        assert len(world.events("chain.connection_lost")) > 100
        assert not world.events("attestor.challenge_failed")
        await holds(world)


async def test_a_chain_that_is_away_during_the_audits_is_caught_up_with(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.hire()
        snapshot = await world.anchored()
        await trio.sleep(1)
        cut_off = world.attestors[0]
        cut_off.unreachable = True
        await cut_off.lose_chain()
        # Longer than an answer may take, and more blocks than a follower may lag behind.
        away_s = (snapshot.challenge.end_ms - world.clock_ms()) / 1_000
        assert away_s * 1_000 > UPDATES * BLOCK_MS
        await trio.sleep(away_s)
        cut_off.unreachable = False
        settlement = settlement_of(await world.settled())
        assert settlement.served == 5


# One broken challenge must not end the others.


async def test_a_challenge_that_breaks_here_is_begun_anew_and_the_process_goes_on(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = [2]
    load = WorkStore.load

    def fail_at_first(store: WorkStore, topic: bytes) -> object:
        if failing[0]:
            failing[0] -= 1
            raise OperationError("The attestor's store cannot be used: disk I/O error.")
        return load(store, topic)

    async with open_world(tmp_path) as world:
        await world.hire()
        await world.started()
        monkeypatch.setattr(WorkStore, "load", fail_at_first)
        settlement = settlement_of(await world.settled())
        assert (settlement.outcome, settlement.served) == (Verdict.PASSED, 5)
        failed = world.events("attestor.challenge_failed")
        assert len(failed) == 2
        assert all("disk I/O error" in line.values["exception"] for line in failed)


async def test_one_hoster_with_an_unusable_endpoint_does_not_disturb_the_other(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        first = world.hosters[0]
        dial = world.dial

        async def dial_or_refuse(host: str, port: int) -> trio.abc.Stream:
            if (host, port) == (first.endpoint.host, first.endpoint.port):
                raise ValueError(f"{port} is no port")
            return await dial(host, port)

        world.dial = dial_or_refuse  # type: ignore[method-assign]
        await world.hire(hosters=2)
        settled = {
            snapshot.challenge.hoster: settlement_of(snapshot)
            for snapshot in (await world.settled(0), await world.settled(1))
        }
        assert settled[first.account.public].outcome is Verdict.FAILED
        assert settled[world.hosters[1].account.public].outcome is Verdict.PASSED
        assert not world.events("attestor.challenge_failed")


async def test_another_session_key_than_the_registered_one_signs_nothing(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with open_world(tmp_path) as world:
        await world.hire()
        await world.number()
        stranger = world.attestors[0]
        stranger.stop()
        stranger.seed = b"another key of this attestor".ljust(32)
        await stranger.start()
        await world.started()
        settlement = settlement_of(await world.settled())
        assert (settlement.outcome, settlement.served) == (Verdict.PASSED, 4)
        assert [absence.account for absence in settlement.absent] == [stranger.account.public]
        assert world.events("attestor.other_session_key")
        assert len(world.events("coinflip.other_session_key")) == 2


async def test_an_unreadable_chain_is_asked_again_after_a_pause(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that refuses what it is asked is not asked in a tight loop."""
    async with open_world(tmp_path) as world:
        await world.hire()
        await world.started()
        start = world.clock_ms()
        call = type(world.chain).call

        def refuse(chain: object, method: str, *arguments: object, **options: object) -> object:
            if method == "PerformanceApi_open_challenges":
                raise LookupError("not today")
            return call(chain, method, *arguments, **options)

        monkeypatch.setattr(type(world.chain), "call", refuse)
        await trio.sleep(10 * PAUSE_S)
        monkeypatch.undo()
        lines = [line for line in world.events("attestor.chain_unreadable") if line.at_ms >= start]
        assert 5 <= len(lines) / len(world.attestors) <= 11


async def test_a_chain_that_replaced_finalized_blocks_ends_the_process(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_world(tmp_path) as world:
        is_behind = Heads._is_behind

        def revert(heads: Heads) -> bool:
            if WORKER.get() is None:
                return is_behind(heads)
            raise ChainReverted("finalized block 3 was replaced")

        monkeypatch.setattr(Heads, "_is_behind", revert)
        for worker in (world.attestors[0], world.hosters[0]):
            with pytest.raises((ChainReverted, ExceptionGroup)) as caught:
                await worker.run(trio.CancelScope(), trio.Event())
            if isinstance(caught.value, ExceptionGroup):
                assert caught.value.split(ChainReverted)[1] is None
