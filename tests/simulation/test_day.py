"""A small day: it is fair, it is the same each time, and what is not fair is seen."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from random import Random

import pytest
import trio
from typer.testing import CliRunner

from chain_types.calls import AnchorFlip
from chain_types.records import Median, Medians, PaymentKind, Role
from chain_types.report import Failure, Reason, Report, Served
from chain_types.runtime import EventRecord, OtherEvent
from offchain_worker.audit.demand import chunk_to_demand
from offchain_worker.audit.session import AuditPlan
from offchain_worker.chain.client import ChainClient
from offchain_worker.cli.app import app
from offchain_worker.coinflip.draws import SessionHabit, drawn_chunks
from offchain_worker.keys import KeyPair
from offchain_worker.simulation.day import day as day_module
from offchain_worker.simulation.day.cases import Case, Member
from offchain_worker.simulation.day.cheats import AttestorCheat, HosterCheat
from offchain_worker.simulation.day.day import MINUTE_MS, SLA, START_MS, Day, DayPlan
from offchain_worker.simulation.day.feeds import MemoryFeed
from offchain_worker.simulation.day.ledger import Ledger, Transaction, Unexplained, Verified
from offchain_worker.simulation.day.people import (
    Repertoire,
    make_attestors,
    make_hosters,
    misbehaving,
)
from offchain_worker.simulation.day.reports import audit_plan, signed_report
from offchain_worker.simulation.day.sessions import HOUR_MS, hold_session
from offchain_worker.simulation.day.verdict import (
    Fairness,
    blame,
    compare,
    fairness_lines,
    judge,
    keep_ledger,
    verify_all,
)

SMALL = DayPlan(hosters=6, attestors=14, challenges=66, seed=0)
"""So many that each cheat has its turn."""
SHORT = DayPlan(hosters=6, attestors=8, challenges=6, seed=0)


@dataclass(frozen=True)
class Lived:
    """A day that is over, verified and booked."""

    day: Day
    client: ChainClient
    verified: dict[int, Verified]
    ledger: Ledger
    found: Fairness


def lived(plan: DayPlan) -> Day:
    day = Day(plan)
    day.run()
    return day


@pytest.fixture(scope="module")
def small() -> Lived:
    day = lived(SMALL)
    client, found = day.chain.client(), Fairness()

    async def judged() -> tuple[dict[int, Verified], Ledger]:
        verified = await verify_all(day, client, found)
        ledger = await keep_ledger(day, client, verified, found)
        assert ledger is not None, found.broken
        return verified, ledger

    verified, ledger = trio.run(judged)
    return Lived(day, client, verified, ledger, found)


def test_a_fifth_misbehaves() -> None:
    assert [misbehaving(count, 0.2) for count in (1, 5, 6, 14, 50, 100)] == [1, 1, 2, 3, 10, 20]


def test_a_small_day_is_fair_and_has_every_cheat(small: Lived) -> None:
    found = judge(small.day)
    assert found.fair, fairness_lines(small.day, found)
    assert found.missing == []
    assert set(found.cheats) == {*AttestorCheat, *HosterCheat}
    assert all(found.cheats.values())
    assert found.verified == len(small.day.cases) >= SMALL.challenges
    assert found.accounts == len(small.day.people)
    # Each cheat that costs a bond did.
    assert set(found.costs) == {"fraud", "false receipt", "withholding", "absence"}
    assert found.hosters["honest"]["passed"] > 30
    for cheat in set(HosterCheat) - {HosterCheat.PART_TIME}:
        assert "passed" not in found.hosters[cheat]
    lines = fairness_lines(small.day, found)
    count = len(small.day.people)
    assert lines[-1] == (
        f"{found.verified} of {found.verified} challenges hold, "
        f"{count} of {count} balances are explained, 0 honest providers lost something"
    )


ENDS: dict[HosterCheat | None, Reason | None] = {
    None: None,
    HosterCheat.PREFIX: Reason.NO_DATA,
    HosterCheat.LOST_CHUNKS: Reason.NO_DATA,
    HosterCheat.WITHHOLDS: Reason.NO_DATA,
    HosterCheat.STALLS: Reason.TIMEOUT,
    HosterCheat.SLOW: None,
    HosterCheat.FLIPS_BIT: Reason.BAD_PROOF,
    HosterCheat.FORGED_HEAD: Reason.BAD_PROOF,
    HosterCheat.OLD_HEAD: Reason.NOT_HOSTED,
    HosterCheat.OTHER_KEY: Reason.WRONG_IDENTITY,
    HosterCheat.SILENT: Reason.WRONG_IDENTITY,
    HosterCheat.PART_TIME: Reason.WRONG_IDENTITY,
    HosterCheat.NO_RECEIPT: Reason.NO_RECEIPT,
    HosterCheat.OTHER_CLIENT: Reason.BAD_RECEIPT,
    HosterCheat.OTHER_TIME: Reason.BAD_RECEIPT,
    HosterCheat.FALSE_RECEIPT: Reason.BAD_RECEIPT,
    HosterCheat.LEAVES: Reason.UNREACHABLE,
}
"""How a session with each ends; None: served."""


@pytest.mark.parametrize("cheat", [None, *HosterCheat])
@pytest.mark.parametrize("windowed", [False, True])
def test_what_a_session_ends_with(cheat: HosterCheat | None, windowed: bool) -> None:
    dice = Random(5)
    feed = MemoryFeed.invent(dice, 400)
    (attestor,), (hoster,) = make_attestors(0, 1, 0), make_hosters(0, 1, 0, [feed])
    # A minute in which who is there every second minute is not.
    moment = START_MS + MINUTE_MS
    assert moment // MINUTE_MS % 2
    plan = AuditPlan(
        feed_key=feed.key,
        hoster=hoster.noise_key.public,
        audit_key=KeyPair.from_seed(bytes(32)),
        fork=0,
        length=feed.length,
        drawn=drawn_chunks(bytes(32), feed.length, 100),
        habit=SessionHabit(windowed=windowed, multiple=2),
        chunks=100,
        proved=32,
        moment=moment,
        end_ms=moment + HOUR_MS,
        chunk_timeout_ms=20_000,
        clock_tolerance_ms=30_000,
    )
    audit = hold_session(plan, attestor, hoster, cheat, moment, dice)
    outcome, reason = audit.outcome, ENDS[cheat]
    assert (audit.false_receipt is not None) == (cheat is HosterCheat.FALSE_RECEIPT)
    demands = chunk_to_demand(audit, plan.drawn) is not None
    assert demands == (reason in (Reason.NO_DATA, Reason.TIMEOUT) or cheat is HosterCheat.FLIPS_BIT)
    if reason is not None:
        assert outcome == Failure(reason, None), audit.detail
        return
    assert isinstance(outcome, Served), audit.detail
    assert audit.chunks >= 200
    medians = Medians(**dict.fromkeys((item.name for item in fields(Medians)), None))
    latency, rate = outcome.metrics.latency_us, outcome.metrics.throughput
    assert (latency is None, rate is None) == (windowed, not windowed)
    if latency is not None:
        medians = replace(medians, latency_p50_us=Median(latency.p50, 1, latency.p50, latency.p50))
    if rate is not None:
        medians = replace(medians, throughput=Median(rate, 1, rate, rate))
    assert SLA.is_broken_by(medians) == (cheat is HosterCheat.SLOW)


async def test_a_payment_that_is_left_out_is_missed(small: Lived) -> None:
    number, one = next(
        (number, one)
        for number, one in small.verified.items()
        if any(payment.kind is PaymentKind.REPORT for payment in one.settlement.paid)
    )
    left_out = next(item for item in one.settlement.paid if item.kind is PaymentKind.REPORT)
    paid = tuple(item for item in one.settlement.paid if item != left_out)
    tampered = {
        **small.verified,
        number: replace(one, settlement=replace(one.settlement, paid=paid)),
    }
    found = Fairness()
    ledger = await keep_ledger(small.day, small.client, tampered, found)
    assert ledger is not None
    await compare(small.day, small.client, ledger, found)
    names = {one.name for one in found.unexplained}
    payee, sponsor = (small.day.person(who) for who in (left_out.account, one.sponsor))
    assert payee is not None
    assert sponsor is not None
    assert names == {payee.name, sponsor.name}
    for account in found.unexplained:
        difference = account.free - account.expected_free + account.held - account.expected_held
        if account.name == payee.name:
            assert difference == left_out.amount
    assert not found.fair
    assert any(f"{payee.name} has" in line for line in fairness_lines(small.day, found))


async def test_money_that_comes_from_nowhere_is_seen(small: Lived) -> None:
    found = Fairness()
    ledger = await keep_ledger(small.day, small.client, small.verified, found)
    assert ledger is not None
    ledger.burnt += 1
    poorer = small.day.attestors[0]
    ledger.money[poorer.account].held -= 1
    await compare(small.day, small.client, ledger, found)
    assert found.issuance == -1
    assert [one.name for one in found.unexplained] == [poorer.name]
    assert not found.fair


async def test_a_challenge_that_was_not_verified_explains_nothing(small: Lived) -> None:
    without = {number: one for number, one in small.verified.items() if number != 7}
    found = Fairness()
    assert await keep_ledger(small.day, small.client, without, found) is None
    assert len(found.broken) == 1
    assert found.broken[0].endswith("challenge 7 was not verified")
    assert not found.fair


def test_somebody_honest_who_lost_something_is_named(
    small: Lived, monkeypatch: pytest.MonkeyPatch
) -> None:
    victims = [small.day.attestors[-1], small.day.hosters[-1]]
    for victim in victims:
        assert not victim.honest
        monkeypatch.setattr(victim, "honest", True)
    found = Fairness()
    blame(small.day, small.ledger, found)
    for victim in victims:
        assert any(line.startswith(f"{victim.name} is honest and lost") for line in found.slashed)
    assert not found.fair


def test_a_bond_that_is_not_whole_is_named(small: Lived) -> None:
    ledger, attestor = small.ledger, small.day.attestors[0]
    other = replace(ledger, _bonds=ledger._bonds.copy())
    other._bonds[Role.ATTESTOR, attestor.account] -= 1
    found = Fairness()
    blame(small.day, other, found)
    assert found.slashed == [f"{attestor.name} is honest, and its bond is not whole"]


def test_fees_that_nobody_owed_are_refused(small: Lived) -> None:
    who = small.day.attestors[0].account
    call = AnchorFlip(0, 0, (), ())
    fee = OtherEvent(
        "TransactionPayment", "TransactionFeePaid", {"who": who, "actual_fee": 5, "tip": 0}
    )
    ledger = Ledger.opening(small.ledger.constants, 1, {}, {who: 10})
    record = EventRecord(0, fee)
    with pytest.raises(Unexplained, match="was accepted, and cost 5"):
        ledger.take_block({0: Transaction(who, call, accepted=True)}, (record,))
    with pytest.raises(Unexplained, match="pays for what it did not sign"):
        ledger.take_block({0: Transaction(bytes(32), call, accepted=False)}, (record,))
    ledger.take_block({0: Transaction(who, call, accepted=False)}, (record,))
    assert ledger.money[who].free == 5


def test_the_same_seed_gives_the_same_day_and_another_one_another() -> None:
    first, again = lived(SHORT), lived(SHORT)
    assert first.chain.chain.head_hash == again.chain.chain.head_hash
    assert first.story == again.story
    other = Day(replace(SHORT, seed=1))
    assert other.chain.chain.genesis_hash != first.chain.chain.genesis_hash


def test_what_the_chain_should_have_refused_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A "forged" receipt that is not: the hoster signed it at the moment."""

    def true_report(case: Case, member: Member, dice: Random) -> Report:
        plan = audit_plan(case, member)
        audit = hold_session(plan, member.attestor, case.hoster, None, plan.moment, dice)
        return signed_report(case, member, audit.outcome)

    monkeypatch.setattr(day_module, "with_forged_receipt", true_report)
    day = Day(SHORT)
    for attestor in day.attestors:
        if attestor.cheats is not None:
            attestor.cheats = Repertoire([AttestorCheat.FORGED_RECEIPT], 0)
    day.run()
    told = {f"the chain takes submit_report of {day.attestors[place].name}" for place in (-2, -1)}
    assert set(day.story.surprises) == told
    assert not judge(day).fair


def test_the_command_tells_all_and_fails_when_a_cheat_never_happened() -> None:
    size = ["--hosters", "6", "--attestors", "8", "--challenges", "6", "--seed", "0"]
    result = CliRunner().invoke(app, ["simulate", "day", *size, "--json"])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["fair"] is False
    assert told["missing"]
    assert (told["broken"], told["unexplained"], told["slashed"], told["surprises"]) == (
        [],
        [],
        [],
        [],
    )
    assert told["verified"] == sum(told["outcomes"].values()) >= told["challenges"]
