"""Every decision of an attestor, from the chain's word and its own memory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.attestor.decisions import (
    Decision,
    Memory,
    Progress,
    Stage,
    View,
    decide,
    next_fraud,
)

MOMENT = 1_000_000
NOW = MOMENT - 500
VIEW = View(
    stage=Stage.FLIP,
    flip_end_ms=NOW + 100,
    may_commit=True,
    active=True,
    moment_ms=MOMENT,
    secrets_match=True,
    clock_tolerance_ms=2_000,
    reported=False,
    closable=False,
)
COMMIT = replace(VIEW, stage=Stage.COMMIT, active=False, moment_ms=None)
AUDIT = replace(VIEW, stage=Stage.AUDIT)
REPORT = replace(VIEW, stage=Stage.REPORT)
FIRST, SECOND = b"1" * 32, b"2" * 32
FRAUDS = st.dictionaries(st.sampled_from([FIRST, SECOND]), st.sampled_from(Progress))
MEMORIES = st.builds(Memory, *[st.sampled_from(Progress)] * 6, FRAUDS)


def test_it_joins_the_coinflip_once_and_only_while_it_runs() -> None:
    assert decide(VIEW, Memory(), NOW) is Decision.JOIN_FLIP
    assert decide(VIEW, Memory(flip=Progress.RUNNING), NOW) is Decision.WAIT
    assert decide(VIEW, Memory(), VIEW.flip_end_ms) is Decision.WAIT


def test_it_commits_to_the_fallback_once_and_only_if_it_may() -> None:
    assert decide(COMMIT, Memory(flip=Progress.DONE), NOW) is Decision.COMMIT
    assert decide(COMMIT, Memory(flip=Progress.RUNNING), NOW) is Decision.COMMIT
    assert decide(COMMIT, Memory(flip=Progress.IMPOSSIBLE), NOW) is Decision.COMMIT
    assert decide(replace(COMMIT, may_commit=False), Memory(), NOW) is Decision.WAIT
    for progress in (Progress.RUNNING, Progress.DONE, Progress.IMPOSSIBLE):
        assert decide(COMMIT, Memory(commit=progress), NOW) is Decision.WAIT


def test_who_is_not_active_neither_audits_nor_reports_but_may_close() -> None:
    for view in (AUDIT, REPORT):
        assert decide(replace(view, active=False), Memory(), NOW) is Decision.WAIT
    late = replace(REPORT, active=False, closable=True)
    assert decide(late, Memory(), NOW) is Decision.CLOSE
    assert decide(late, Memory(close=Progress.DONE), NOW) is Decision.WAIT


@pytest.mark.parametrize("stage", [Stage.FLIP, Stage.COMMIT, Stage.AUDIT, Stage.REPORT])
def test_evidence_that_the_chain_lacks_comes_first(stage: Stage) -> None:
    view = replace(VIEW, stage=stage, closable=True)
    memory = Memory(frauds={FIRST: Progress.NOT_STARTED, SECOND: Progress.NOT_STARTED})
    for identifier in (FIRST, SECOND):
        assert decide(view, memory, NOW) is Decision.REPORT_FRAUD
        assert next_fraud(view, memory) == identifier
        memory.frauds[identifier] = Progress.RUNNING
    assert decide(view, memory, NOW) is decide(view, Memory(), NOW)
    memory.frauds[FIRST] = Progress.NOT_STARTED
    assert decide(view, memory, NOW) is Decision.REPORT_FRAUD, "it did not get there"
    assert next_fraud(replace(view, proven=frozenset([FIRST])), memory) is None


def test_evidence_on_its_way_is_waited_for_before_all_is_over() -> None:
    view = replace(VIEW, stage=Stage.CLOSED)
    for progress in Progress:
        on_its_way = progress is Progress.RUNNING
        expected = Decision.WAIT if on_its_way else Decision.FINISH
        assert decide(view, Memory(frauds={FIRST: progress}), NOW) is expected


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
    memory=MEMORIES,
    reported=st.booleans(),
    now=st.integers(0, 2 * MOMENT),
)
def test_a_settled_challenge_is_always_finished(memory: Memory, reported: bool, now: int) -> None:
    view = replace(VIEW, stage=Stage.CLOSED, reported=reported)
    memory.frauds = dict.fromkeys(memory.frauds, Progress.DONE)
    memory.receipt = Progress.DONE
    assert decide(view, memory, now) is Decision.FINISH


@given(
    stage=st.sampled_from(Stage),
    memory=MEMORIES,
    match=st.booleans(),
    active=st.booleans(),
    proven=st.frozensets(st.sampled_from([FIRST, SECOND])),
    now=st.integers(0, 2 * MOMENT),
)
def test_a_started_step_is_never_started_again(
    stage: Stage,
    memory: Memory,
    match: bool,
    active: bool,
    proven: frozenset[bytes],
    now: int,
) -> None:
    view = replace(
        VIEW, stage=stage, secrets_match=match, active=active, closable=True, proven=proven
    )
    decision = decide(view, memory, now)
    step = {
        Decision.JOIN_FLIP: memory.flip,
        Decision.COMMIT: memory.commit,
        Decision.REPORT_FRAUD: memory.frauds.get(next_fraud(view, memory) or b""),
        Decision.AUDIT: memory.audit,
        Decision.GIVE_UP_AUDIT: memory.audit,
        Decision.REPORT: memory.report,
        Decision.CLOSE: memory.close,
    }.get(decision, Progress.NOT_STARTED)
    assert step is Progress.NOT_STARTED


def test_a_false_receipt_is_proven_once_and_not_before_the_end_of_the_window() -> None:
    found = {"false_receipt": True}
    for view in (VIEW, COMMIT, AUDIT):
        ours = replace(view, **found)
        assert decide(ours, Memory(), NOW) is decide(view, Memory(), NOW)
    audited = Memory(audit=Progress.DONE)
    report = replace(REPORT, **found)
    assert decide(report, audited, NOW) is Decision.PROVE_RECEIPT
    audited.receipt = Progress.RUNNING
    assert decide(report, audited, NOW) is Decision.REPORT
    closed = replace(VIEW, stage=Stage.CLOSED, **found)
    assert decide(closed, Memory(), NOW) is Decision.PROVE_RECEIPT
    assert decide(closed, Memory(receipt=Progress.RUNNING), NOW) is Decision.WAIT
    for progress in (Progress.DONE, Progress.IMPOSSIBLE):
        assert decide(closed, Memory(receipt=progress), NOW) is Decision.FINISH
