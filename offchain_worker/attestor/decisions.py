"""What an attestor does next in one challenge. Sans-IO: the chain's word and its own memory in,
one decision out (challenge.md §2.2, §3).

The shell asks anew at every finalized head and whenever a step of its own ends; the answer depends
on nothing else, so a restarted worker goes on where the crashed one stopped.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Stage(Enum):
    """Where the chain says the challenge is."""

    FLIP = auto()
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
    """Meet the roster and flip the coin."""
    AUDIT = auto()
    """Wait for the moment, then audit."""
    GIVE_UP_AUDIT = auto()
    """The moment has passed, or the secrets are not ours: never claim what was not seen."""
    REPORT = auto()
    """Submit the report."""
    CLOSE = auto()
    """Close the challenge for the closer's share."""
    FINISH = auto()
    """Nothing is left to do."""


@dataclass(frozen=True)
class View:
    """A challenge at a finalized head.

    Attributes:
        stage: of the challenge.
        flip_end_ms: Tx of the attempt; until then a member still serves and relays.
        moment_ms: the audit moment, once R is anchored and our committed z is the journal's;
            None as long as R is unknown.
        secrets_match: whether the z that the chain holds for us is the one in the journal.
        clock_tolerance_ms: how late an audit may still start.
        reported: whether the chain has our report.
        closable: whether `close_challenge` would be accepted in the next block.
    """

    stage: Stage
    flip_end_ms: int
    moment_ms: int | None
    secrets_match: bool
    clock_tolerance_ms: int
    reported: bool
    closable: bool


@dataclass
class Memory:
    """How far this worker is; `audit` and `report` survive a restart, the rest begins anew."""

    flip: Progress = Progress.NOT_STARTED
    audit: Progress = Progress.NOT_STARTED
    report: Progress = Progress.NOT_STARTED
    close: Progress = Progress.NOT_STARTED


def decide(view: View, memory: Memory, now_ms: int) -> Decision:
    """The next step of one challenge; `now_ms` is the worker's wall clock."""
    match view.stage:
        case Stage.CLOSED:
            return Decision.FINISH
        case Stage.FLIP:
            joins = memory.flip is Progress.NOT_STARTED and now_ms < view.flip_end_ms
            return Decision.JOIN_FLIP if joins else Decision.WAIT
        case Stage.AUDIT:
            return _before_the_report(view, memory, now_ms)
        case Stage.REPORT:
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


def _before_the_report(view: View, memory: Memory, now_ms: int) -> Decision:
    if memory.audit is not Progress.NOT_STARTED:
        return Decision.WAIT
    missed = view.moment_ms is None or now_ms > view.moment_ms + view.clock_tolerance_ms
    return Decision.GIVE_UP_AUDIT if missed or not view.secrets_match else Decision.AUDIT
