"""What an attestor does next in one challenge. Sans-IO: the chain's word and its own memory in,
one decision out (challenge.md §2.2, §3).

The shell asks anew at every finalized head and whenever new evidence is there; the answer depends
on nothing else, so a restarted worker goes on where the crashed one stopped. Which attempt of the
coinflip is due is `coinflip.participation`'s to say; here all of them are one step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


class Stage(Enum):
    """Where the chain says the challenge is."""

    FLIP = auto()
    COMMIT = auto()
    AUDIT = auto()
    REPORT = auto()
    CLOSED = auto()


class Progress(Enum):
    """How far a step of this worker is."""

    NOT_STARTED = auto()
    RUNNING = auto()
    DONE = auto()
    IMPOSSIBLE = auto()


class Decision(Enum):
    """The next thing to do."""

    WAIT = auto()
    """Nothing before the next finalized head."""
    JOIN_FLIP = auto()
    """Meet the roster and flip the coin, attempt after attempt."""
    COMMIT = auto()
    """Commit to the fallback on the chain."""
    AUDIT = auto()
    """Wait for the moment, then audit."""
    OBSERVE = auto()
    """Observe the hoster's readers at another moment, once it is clear that there is an audit."""
    GIVE_UP_AUDIT = auto()
    """The moment has passed, or the secrets are not ours: never claim what was not seen."""
    REPORT = auto()
    """Submit the report."""
    REPORT_FRAUD = auto()
    """Send the chain the evidence that `next_fraud` names."""
    PROVE_RECEIPT = auto()
    """Send the chain the proof that the hoster's receipt was false."""
    CLOSE = auto()
    """Close the challenge for the closer's share."""
    FINISH = auto()
    """Nothing is left to do."""


@dataclass(frozen=True)
class View:
    """A challenge at a finalized head.

    Attributes:
        stage: of the challenge.
        flip_end_ms: from this timestamp on nothing is anchored; no attempt goes on so long.
        may_commit: whether the fallback waits for our commitment: we are in its frozen roster, the
            chain has none of ours, and the next block would still take it.
        active: whether we are among the active members; False as long as R is unknown.
        moment_ms: the audit moment, once R is fixed and the journal has our secrets of its topic;
            None before.
        secrets_match: whether the z that the chain holds for us is the one in the journal.
        clock_tolerance_ms: how late an audit may still start.
        reported: whether the chain has our report.
        closable: whether `close_challenge` would be accepted in the next block.
        proven: ids of the evidence that the chain has, whoever brought it.
        false_receipt: whether our audit found a false receipt.
    """

    stage: Stage
    flip_end_ms: int
    may_commit: bool
    active: bool
    moment_ms: int | None
    secrets_match: bool
    clock_tolerance_ms: int
    reported: bool
    closable: bool
    proven: frozenset[bytes] = frozenset()
    false_receipt: bool = False


@dataclass
class Memory:
    """How far this worker is; `audit` survives a restart, and so do the keys of `frauds`, the ids
    of the evidence in the journal. The rest begins anew, from what the chain says."""

    flip: Progress = Progress.NOT_STARTED
    commit: Progress = Progress.NOT_STARTED
    audit: Progress = Progress.NOT_STARTED
    report: Progress = Progress.NOT_STARTED
    receipt: Progress = Progress.NOT_STARTED
    close: Progress = Progress.NOT_STARTED
    frauds: dict[bytes, Progress] = field(default_factory=dict)
    observation: Progress = Progress.NOT_STARTED


def decide(view: View, memory: Memory, now_ms: int) -> Decision:
    """The next step of one challenge; `now_ms` is the worker's wall clock."""
    # Before END it would tell when our audit was.
    if view.stage in (Stage.REPORT, Stage.CLOSED) and (
        view.false_receipt and memory.receipt is Progress.NOT_STARTED
    ):
        return Decision.PROVE_RECEIPT
    if view.stage is Stage.CLOSED:
        # Evidence that is on its way is not given up: half of the slash is ours.
        on_its_way = Progress.RUNNING in (memory.receipt, *memory.frauds.values())
        return Decision.WAIT if on_its_way else Decision.FINISH
    if next_fraud(view, memory) is not None:
        return Decision.REPORT_FRAUD
    match view.stage:
        case Stage.FLIP:
            joins = memory.flip is Progress.NOT_STARTED and now_ms < view.flip_end_ms
            return Decision.JOIN_FLIP if joins else Decision.WAIT
        case Stage.COMMIT:
            commits = view.may_commit and memory.commit is Progress.NOT_STARTED
            return Decision.COMMIT if commits else Decision.WAIT
        case Stage.AUDIT:
            return _before_the_report(view, memory, now_ms)
        case Stage.REPORT:
            return _in_the_report(view, memory)


def next_fraud(view: View, memory: Memory) -> bytes | None:
    """The id of evidence that the chain should have and does not; None: there is none."""
    for identifier, progress in memory.frauds.items():
        if progress is Progress.NOT_STARTED and identifier not in view.proven:
            return identifier
    return None


def _before_the_report(view: View, memory: Memory, now_ms: int) -> Decision:
    if not view.active:
        return Decision.WAIT
    if memory.audit is not Progress.NOT_STARTED:
        # Without a report, its figures would go nowhere.
        reports = memory.audit in (Progress.RUNNING, Progress.DONE)
        observes = reports and memory.observation is Progress.NOT_STARTED
        return Decision.OBSERVE if observes else Decision.WAIT
    missed = view.moment_ms is None or now_ms > view.moment_ms + view.clock_tolerance_ms
    return Decision.GIVE_UP_AUDIT if missed or not view.secrets_match else Decision.AUDIT


def _in_the_report(view: View, memory: Memory) -> Decision:
    if view.active:
        if memory.audit is Progress.NOT_STARTED:
            return Decision.GIVE_UP_AUDIT
        if (
            memory.audit is Progress.DONE
            and not view.reported
            and memory.report is Progress.NOT_STARTED
        ):
            return Decision.REPORT
    if view.closable and memory.close is Progress.NOT_STARTED:
        return Decision.CLOSE
    return Decision.WAIT
