"""Every decision of an attestor, from the chain's word and its own memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.attestor.decisions import Decision, Memory, Progress, Stage, View, decide

MOMENT = 1_000_000
NOW = MOMENT - 500
VIEW = View(
    stage=Stage.FLIP,
    flip_end_ms=NOW + 100,
    moment_ms=MOMENT,
    secrets_match=True,
    clock_tolerance_ms=2_000,
    reported=False,
    closable=False,
)
AUDIT = replace(VIEW, stage=Stage.AUDIT)
REPORT = replace(VIEW, stage=Stage.REPORT)


def test_it_joins_the_coinflip_once_and_only_while_it_runs() -> None:
    assert decide(VIEW, Memory(), NOW) is Decision.JOIN_FLIP
    assert decide(VIEW, Memory(flip=Progress.RUNNING), NOW) is Decision.WAIT
    assert decide(VIEW, Memory(), VIEW.flip_end_ms) is Decision.WAIT


def test_it_audits_until_the_moment_is_too_long_ago() -> None:
    latest = MOMENT + AUDIT.clock_tolerance_ms
    assert decide(AUDIT, Memory(), NOW) is Decision.AUDIT
    assert decide(AUDIT, Memory(), latest) is Decision.AUDIT
    assert decide(AUDIT, Memory(), latest + 1) is Decision.GIVE_UP_AUDIT


@pytest.mark.parametrize(
    "view", [replace(AUDIT, moment_ms=None), replace(AUDIT, secrets_match=False)]
)
def test_without_its_own_secrets_it_claims_nothing(view: View) -> None:
    assert decide(view, Memory(), NOW) is Decision.GIVE_UP_AUDIT


def test_it_reports_what_it_audited_and_only_that() -> None:
    assert decide(REPORT, Memory(audit=Progress.DONE), NOW) is Decision.REPORT
    assert decide(REPORT, Memory(audit=Progress.RUNNING), NOW) is Decision.WAIT
    assert decide(REPORT, Memory(audit=Progress.IMPOSSIBLE), NOW) is Decision.WAIT
    assert decide(REPORT, Memory(), NOW) is Decision.GIVE_UP_AUDIT


def test_it_reports_once() -> None:
    done = Memory(audit=Progress.DONE, report=Progress.RUNNING)
    assert decide(REPORT, done, NOW) is Decision.WAIT
    seen = replace(REPORT, reported=True)
    assert decide(seen, Memory(audit=Progress.DONE), NOW) is Decision.WAIT


def test_it_closes_as_soon_as_that_is_possible_and_once() -> None:
    late = replace(REPORT, closable=True, reported=True)
    assert decide(late, Memory(audit=Progress.DONE), NOW) is Decision.CLOSE
    assert decide(late, Memory(audit=Progress.IMPOSSIBLE), NOW) is Decision.CLOSE
    closing = Memory(audit=Progress.DONE, close=Progress.RUNNING)
    assert decide(late, closing, NOW) is Decision.WAIT


@given(
    memory=st.builds(Memory, *[st.sampled_from(Progress)] * 4),
    reported=st.booleans(),
    now=st.integers(0, 2 * MOMENT),
)
def test_a_settled_challenge_is_always_finished(memory: Memory, reported: bool, now: int) -> None:
    view = replace(VIEW, stage=Stage.CLOSED, reported=reported)
    assert decide(view, memory, now) is Decision.FINISH


@given(
    stage=st.sampled_from([Stage.FLIP, Stage.AUDIT, Stage.REPORT]),
    memory=st.builds(Memory, *[st.sampled_from(Progress)] * 4),
    match=st.booleans(),
    now=st.integers(0, 2 * MOMENT),
)
def test_a_started_step_is_never_started_again(
    stage: Stage, memory: Memory, match: bool, now: int
) -> None:
    view = replace(VIEW, stage=stage, secrets_match=match, closable=True)
    decision = decide(view, memory, now)
    step = {
        Decision.JOIN_FLIP: memory.flip,
        Decision.AUDIT: memory.audit,
        Decision.GIVE_UP_AUDIT: memory.audit,
        Decision.REPORT: memory.report,
        Decision.CLOSE: memory.close,
    }.get(decision, Progress.NOT_STARTED)
    assert step is Progress.NOT_STARTED
