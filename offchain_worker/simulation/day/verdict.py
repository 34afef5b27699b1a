"""Whether a day was fair: every challenge holds, every balance is explained, nobody honest paid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from chain_types import storage
from chain_types.extrinsic import read_extrinsic
from chain_types.records import Balance, PaymentKind, Role, Verdict
from chain_types.runtime import EventRecord, OtherEvent
from chain_types.scale import codec_of
from chain_types.storage_keys import Item
from offchain_worker.chain.client import ChainClient
from offchain_worker.explorer.claims import DoesNotHold
from offchain_worker.explorer.history import read_history
from offchain_worker.explorer.verify import verify_history
from offchain_worker.simulation.day.cases import Case
from offchain_worker.simulation.day.cheats import AttestorCheat, HosterCheat
from offchain_worker.simulation.day.day import START_MS, UNIT, Day
from offchain_worker.simulation.day.ledger import Ledger, Transaction, Unexplained, Verified
from offchain_worker.simulation.day.people import Attestor, Hoster

TOTAL_ISSUANCE: Item[int] = Item("Balances", "TotalIssuance", codec_of(Balance))

HONEST = "honest"
UNPAID = "unpaid"
"""Passed, but the medians break the SLA."""
MAY_BE_PAID = (None, HosterCheat.PART_TIME)
"""Who serves in more than half of the time passes (docs/threat-model.md)."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Account:
    """An account whose balance is not what it should be, in the smallest unit.

    Attributes:
        name: whose.
        free, held: on chain.
        expected_free, expected_held: by the ledger.
    """

    name: str
    free: int
    held: int
    expected_free: int
    expected_held: int


@dataclass
class Fairness:
    """What came out of a day.

    Attributes:
        outcomes: of the challenges, how many each.
        verified: how many hold, recomputed from chain data.
        broken: a sentence for each that does not.
        accounts: how many were compared.
        unexplained: whose balance is not explained.
        issuance: what is missing of the whole issuance, by the ledger's account of what was burnt.
        slashed: a sentence for each loss of somebody honest.
        surprises: what the chain did that it should not have.
        cheats: how often each was done.
        missing: those that never were.
        hosters: how the challenges of hosters ended, by what these did wrong; `unpaid`: passed, but
            the medians broke the SLA.
        costs: what the dishonest lost, by reason, in the smallest unit.
        demand_fees: what honest attestors paid for chunks that were shown on chain after all.
        blocks, hours: how long the day was.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    verified: int = 0
    broken: list[str] = field(default_factory=list)
    accounts: int = 0
    unexplained: list[Account] = field(default_factory=list)
    issuance: int = 0
    slashed: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)
    cheats: dict[str, int] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    hosters: dict[str, Counter[str]] = field(default_factory=dict)
    costs: Counter[str] = field(default_factory=Counter)
    demand_fees: int = 0
    blocks: int = 0
    hours: float = 0.0

    @property
    def fair(self) -> bool:
        """Whether all is as it should be."""
        return not (
            self.broken
            or self.unexplained
            or self.issuance
            or self.slashed
            or self.surprises
            or self.missing
        )


def judge(day: Day, progress: Progress | None = None) -> Fairness:
    """Verify every challenge of a day that is over, and explain every balance."""
    return trio.run(_judge, day, progress)


async def _judge(day: Day, progress: Progress | None) -> Fairness:
    found = Fairness(surprises=list(day.story.surprises))
    client = day.chain.client()
    verified = await verify_all(day, client, found, progress)
    ledger = await keep_ledger(day, client, verified, found)
    if ledger is not None:
        await compare(day, client, ledger, found)
        blame(day, ledger, found)
    names = [*AttestorCheat, *HosterCheat]
    found.cheats = {str(name): day.story.cheats[name] for name in names}
    found.missing = [name for name, count in found.cheats.items() if not count]
    found.blocks = day.chain.chain.head.number
    found.hours = (day.scheduler.now - START_MS) / 3_600_000
    return found


async def verify_all(
    day: Day, client: ChainClient, found: Fairness, progress: Progress | None = None
) -> dict[int, Verified]:
    """Recompute every challenge, as `challenge verify` does."""
    verified: dict[int, Verified] = {}
    count: int = await client.read(storage.NEXT_CHALLENGE)
    for identifier in range(count):
        history = await read_history(client, identifier)
        try:
            for _sentence in verify_history(history):
                pass
        except DoesNotHold as error:
            found.broken.append(f"challenge {identifier} does not hold: {error}")
            continue
        verified[identifier] = one = Verified.of(history)
        note_outcome(day.cases[identifier], one, found)
        found.verified += 1
        if progress is not None:
            progress(found.verified, len(day.cases))
    return verified


def note_outcome(case: Case, one: Verified, found: Fairness) -> None:
    """Count how a challenge ended; a hoster that cheated is not paid for it."""
    paid = any(item.kind is PaymentKind.HOSTING for item in one.settlement.paid)
    outcome = Verdict(one.settlement.outcome).name.lower()
    found.outcomes[outcome] += 1
    if outcome == "passed" and not paid:
        outcome = UNPAID
    found.hosters.setdefault(str(case.cheat or HONEST), Counter())[outcome] += 1
    for member in case.members:
        if member.attestor.honest:
            found.demand_fees += one.fees.get(member.attestor.account, 0)
    if paid and case.cheat not in MAY_BE_PAID:
        found.surprises.append(f"a hoster is paid for challenge {case.id}: {case.cheat}")


async def keep_ledger(
    day: Day, client: ChainClient, verified: dict[int, Verified], found: Fairness
) -> Ledger | None:
    """Go through all blocks with a ledger of our own; None when something has no reason."""
    first = await client.block_hash(0)
    endowments = {
        keys[0]: account.data.free
        for keys, account in await client.entries(storage.ACCOUNTS, at=first)
    }
    slash = client.runtime.constant("Performance", "ReceiptSlash", codec_of(Balance))
    ledger = Ledger.opening(client.constants, slash, verified, endowments)
    for number in range(1, day.chain.chain.head.number + 1):
        block = await client.block_hash(number)
        if block is None:
            raise RuntimeError(f"block {number} is gone")
        events = await client.events(block)
        transactions = await _transactions(client, block, events)
        try:
            ledger.take_block(transactions, events)
        except (Unexplained, KeyError) as error:
            found.broken.append(f"block {number}: {error}")
            return None
    return ledger


async def _transactions(
    client: ChainClient, block: bytes, events: tuple[EventRecord, ...]
) -> dict[int, Transaction]:
    accepted = {
        record.extrinsic
        for record in events
        if isinstance(record.event, OtherEvent)
        and (record.event.pallet, record.event.name) == ("System", "ExtrinsicSuccess")
    }
    found = {}
    for place, raw in enumerate(await client.extrinsics(block)):
        signed = read_extrinsic(client.runtime, raw)
        if signed is not None:
            call = client.runtime.decode_call(signed.call)
            found[place] = Transaction(signed.account, call, place in accepted)
    return found


async def compare(day: Day, client: ChainClient, ledger: Ledger, found: Fairness) -> None:
    """Compare all accounts of the chain with the ledger's, and the whole issuance."""
    on_chain = {keys[0]: account.data for keys, account in await client.entries(storage.ACCOUNTS)}
    genesis = await client.block_hash(0)
    for account in sorted({*on_chain, *ledger.money}):
        data, own = on_chain.get(account), ledger.money[account]
        free, held = (0, 0) if data is None else (data.free, data.reserved)
        found.accounts += 1
        if (free, held) != (own.free, own.held):
            person = day.person(account)
            name = account.hex() if person is None else person.name
            found.unexplained.append(Account(name, free, held, own.free, own.held))
    before = await client.read(TOTAL_ISSUANCE, at=genesis)
    after = await client.read(TOTAL_ISSUANCE)
    found.issuance = before - ledger.burnt - after


def blame(day: Day, ledger: Ledger, found: Fairness) -> None:
    """Nobody honest has lost anything of a bond."""
    for person in day.people:
        losses = ledger.slashed.get(person.account)
        if losses and not person.honest:
            found.costs += losses
        elif losses:
            reasons = ", ".join(f"{amount} for {reason}" for reason, amount in losses.items())
            found.slashed.append(f"{person.name} is honest and lost {reasons}")
        if person.honest and isinstance(person, Attestor | Hoster):
            attests = isinstance(person, Attestor)
            role = Role.ATTESTOR if attests else Role.HOSTER
            constants = ledger.constants
            whole = constants.attestor_bond if attests else constants.hoster_bond
            if ledger.bond(role, person.account) != whole:
                found.slashed.append(f"{person.name} is honest, and its bond is not whole")


def fairness_lines(day: Day, found: Fairness) -> list[str]:
    """Lines to print; the last one says what it came to."""
    bad = [sum(not one.honest for one in people) for people in (day.hosters, day.attestors)]
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(found.outcomes.items()))
    costs = ", ".join(
        f"{amount / UNIT:,.3f} for {reason}" for reason, amount in sorted(found.costs.items())
    )
    settled = sum(found.outcomes.values())
    return [
        f"{len(day.hosters)} hosters, {bad[0]} of them cheat, "
        f"{len(day.attestors)} attestors, {bad[1]} of them cheat; seed {day.plan.seed}",
        f"{len(day.cases)} challenges in {found.blocks} blocks, {found.hours:.1f} h: {outcomes}",
        *(f"  {name:<18}{count:>6} times" for name, count in found.cheats.items()),
        "challenges by what their hosters did:",
        *(
            f"  {name:<18}" + "".join(f"{counts[str(one)]:>6} {one}" for one in sorted(counts))
            for name, counts in sorted(found.hosters.items())
        ),
        f"who cheated lost {costs or 'nothing'}",
        f"honest attestors paid {found.demand_fees / UNIT:,.3f} for chunks shown on chain",
        *found.broken,
        *found.surprises,
        *found.slashed,
        *(
            f"{one.name} has {one.free} free and {one.held} held, "
            f"explained are {one.expected_free} and {one.expected_held}"
            for one in found.unexplained
        ),
        *([f"{found.issuance} of the issuance are not explained"] if found.issuance else []),
        *([f"never happened: {', '.join(found.missing)}"] if found.missing else []),
        f"{settled} of {len(day.cases)} challenges hold, "
        f"{found.accounts - len(found.unexplained)} of {len(day.people)} balances are explained, "
        f"{len(found.slashed)} honest providers lost something",
    ]
