"""Recomputing the demands of a settled challenge: who demanded what, what it was answered, and what
that cost whom (challenge.md §5, §6)."""

from __future__ import annotations

from collections.abc import Iterator

from chain_types.events import DemandAnswered, DemandUnanswered
from chain_types.records import (
    Answered,
    Deadline,
    Demand,
    Payment,
    PaymentKind,
    RewrittenFeed,
    ShownChunk,
    Unanswered,
    Verdict,
)
from chain_types.report import Chunk, Failure
from chain_types.runtime import OtherEvent
from chain_types.ss58 import ss58_encode
from offchain_worker.audit.answer import AnswerError, check_answer
from offchain_worker.audit.answer import Demanded as Wanted
from offchain_worker.explorer.claims import DoesNotHold, balance_moved
from offchain_worker.explorer.claims import require as _require
from offchain_worker.explorer.history import Answering, History

DEMANDERS = 2
PATIENCE = 4


def verify_demands(history: History) -> Iterator[str]:
    """Check that demands are those of the reports, and each answer; a sentence for each demand.

    Raises:
        DoesNotHold: at the first that does not follow.
    """
    demands = history.snapshot.demands
    wanted = {
        account: outcome.demand
        for account, reporting in history.reports.items()
        if isinstance(outcome := reporting.report.body.outcome, Failure)
        and outcome.demand is not None
    }
    _require(
        {account: demand.chunk for account, demand in demands.items()} == wanted,
        "the demands are not those of the reports",
    )
    _require(
        set(history.answers)
        == {account for account, demand in demands.items() if isinstance(demand.state, Answered)},
        "the answers are not those of the demands",
    )
    bond = history.hosting_bond
    for account in _in_roster_order(history):
        demand = demands[account]
        name = f"demand of {ss58_encode(account)}"
        _made(history, account, demand, name)
        match demand.state:
            case Answered() as state:
                yield _answered(history, account, demand, state, name)
            case Unanswered() as state:
                yield _unanswered(history, account, demand, state, bond, name)
                bond -= state.slashed
            case _:
                raise DoesNotHold(f"{name}: it is open, but the challenge is settled")


def _in_roster_order(history: History) -> list[bytes]:
    roster = history.snapshot.challenge.roster
    return [m.account for m in roster if m.account in history.snapshot.demands]


def _made(history: History, account: bytes, demand: Demand, name: str) -> None:
    reporting = history.reports[account]
    blocks = history.snapshot.challenge.timing.demand_blocks
    block = reporting.record.block
    due = Deadline(rooms=reporting.rooms + blocks, block=block + PATIENCE * blocks)
    _require(
        (demand.block, demand.due) == (block, due),
        f"{name}: it is not due so many blocks after its report",
    )
    _require(
        demand.deposit == history.demand_deposit, f"{name}: the deposit is not what is asked for"
    )


def _answered(history: History, account: bytes, demand: Demand, state: Answered, name: str) -> str:
    challenge, answering = history.snapshot.challenge, history.answers[account]
    call = answering.call
    _require(
        (answering.signer, call.id, call.attestor)
        == (challenge.hoster, history.snapshot.id, account),
        f"{name}: the answer is not the hoster's, or to another demand",
    )
    _require(
        answering.rooms < demand.due.rooms and answering.block < demand.due.block,
        f"{name}: the answer came too late",
    )
    wanted = Wanted(challenge.feed, challenge.fork, challenge.length, demand.chunk)
    try:
        check_answer(call.answer, wanted)
    except AnswerError as error:
        raise DoesNotHold(f"{name}: the answer does not hold: {error}") from error
    kind: ShownChunk | RewrittenFeed
    if isinstance(call.answer, Chunk):
        kind, fee = ShownChunk(), min(history.demand_fee, demand.deposit)
        said = f"chunk {demand.chunk} was shown, for {fee}"
    else:
        kind, fee = RewrittenFeed(call.answer.fork), 0
        said = f"the author has rewritten the feed, fork {call.answer.fork}"
    _require((state.answer, state.fee) == (kind, fee), f"{name}: it is kept as another answer")
    _told(answering, DemandAnswered(history.snapshot.id, account, kind, fee), name)
    back = demand.deposit - fee
    _require(
        (not fee or _fee_paid(answering, account, challenge.hoster, fee))
        and (not back or balance_moved(answering.events, "Released", back, account)),
        f"{name}: the deposit did not go where it should",
    )
    return f"{name}: {said}"


def _told(answering: Answering, event: DemandAnswered, name: str) -> None:
    _require(
        event in [record.event for record in answering.events],
        f"{name}: the answer is not the one that its block tells of",
    )


def _fee_paid(answering: Answering, demander: bytes, hoster: bytes, fee: int) -> bool:
    return any(
        isinstance(event := record.event, OtherEvent)
        and (event.pallet, event.name) == ("Balances", "TransferOnHold")
        and event.fields["amount"] == fee
        and bytes(event.fields["source"]) == demander
        and bytes(event.fields["dest"]) == hoster
        for record in answering.events
    )


def _unanswered(
    history: History, account: bytes, demand: Demand, state: Unanswered, bond: int, name: str
) -> str:
    closing = history.closing
    _require(
        state.slashed == min(history.withholding_slash, bond),
        f"{name}: the slash is not the fine, nor what was left of the bond",
    )
    _require(
        state.reward == state.slashed // DEMANDERS, f"{name}: the reward is not half of the slash"
    )
    told = DemandUnanswered(history.snapshot.id, account, state.slashed, state.reward)
    burnt = state.slashed - state.reward
    _require(
        told in [record.event for record in closing.events],
        f"{name}: it is not the one that the closing block tells of",
    )
    _require(
        balance_moved(closing.events, "Released", demand.deposit, account)
        and (not burnt or balance_moved(closing.events, "BurnedDebt", burnt)),
        f"{name}: the deposit did not come back, or the rest of the slash was not burnt",
    )
    return f"{name}: nobody showed chunk {demand.chunk}: {state.slashed} slashed"


def unanswered(history: History) -> list[Unanswered]:
    """What became of the demands that were not answered, in roster order."""
    states = (history.snapshot.demands[one].state for one in _in_roster_order(history))
    return [state for state in states if isinstance(state, Unanswered)]


def was_shown(history: History, account: bytes) -> bool:
    """Whether an attestor demanded a chunk that the hoster showed: its report is not paid."""
    demand = history.snapshot.demands.get(account)
    return (
        demand is not None
        and isinstance(demand.state, Answered)
        and isinstance(demand.state.answer, ShownChunk)
    )


def withheld_payments(history: History) -> list[Payment]:
    """What those got whose demands were not answered, in roster order."""
    found = []
    for account in _in_roster_order(history):
        state = history.snapshot.demands[account].state
        if isinstance(state, Unanswered) and state.reward:
            found.append(Payment(account, PaymentKind.WITHHOLDING, state.reward))
    return found


def outcome_with_demands(history: History, said: Verdict) -> Verdict:
    """The outcome, by what the reports say alone and by what became of the demands."""
    states = [demand.state for demand in history.snapshot.demands.values()]
    if any(isinstance(state, Unanswered) for state in states):
        return Verdict.FAILED
    rewritten = any(
        isinstance(state, Answered) and isinstance(state.answer, RewrittenFeed) for state in states
    )
    return Verdict.INCONCLUSIVE if rewritten and said is Verdict.PASSED else said
