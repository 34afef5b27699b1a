"""Recomputing challenges: real histories hold; whatever is altered in one does not."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from alterations import Path, altered, another, at, leaves

from chain_types.records import PaymentKind, Verdict
from offchain_worker.explorer.history import History
from offchain_worker.explorer.verify import DoesNotHold, verify_history

WHERE_IT_WAS_READ = (
    # What names a place in the chain cannot be altered without another place being read.
    ("snapshot", "challenge", "hosting"),
    ("snapshot", "challenge", "block"),
    ("snapshot", "challenge", "stage", "at"),
    ("snapshot", "flip", "block"),
    # Of no consequence: who came late with an anchor.
    ("snapshot", "flip", "late"),
)


def refusal(history: History) -> str:
    with pytest.raises(DoesNotHold) as caught:
        list(verify_history(history))
    return str(caught.value)


def without(history: History, *path: Any) -> History:
    """The history with the last item of a tuple left out."""
    return altered(history, path, at(history, path)[:-1])  # type: ignore[no-any-return]


def with_another(history: History, *path: Any) -> History:
    return altered(history, path, another(at(history, path)))  # type: ignore[no-any-return]


def test_what_happened_holds(passed: History, failed: History, void: History) -> None:
    said = list(verify_history(passed))
    assert said[0].startswith("started in block ")
    assert re.fullmatch(r"the roster of 5 was drawn out of [567] eligible attestors", said[3])
    assert sum("served at its moment" in sentence for sentence in said) == 4
    assert said[-3:-1] == [
        "Passed: 4 served, 0 failed, of 5",
        "the medians are those of 4 served reports",
    ]
    assert said[-1].endswith("and 1 absence fees follow")
    assert any(
        re.fullmatch("Failed: 0 served, [45] failed, of 5", sentence)
        for sentence in verify_history(failed)
    )
    assert list(verify_history(void))[-1] == "Void: nobody is paid, nobody pays"


def test_the_histories_are_what_these_tests_need(passed: History, failed: History) -> None:
    """A challenge drawn before in the same block, and a closer who was paid."""
    assert [earlier.id for earlier in passed.earlier] == [failed.snapshot.id]
    assert passed.closing.closer is not None
    assert passed.snapshot.settlement is not None
    assert PaymentKind.CLOSING in {item.kind for item in passed.snapshot.settlement.paid}


CHALLENGE, FLIP = ("snapshot", "challenge"), ("snapshot", "flip")
SETTLEMENT = ("snapshot", "settlement")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (("snapshot", "start_hash"), "the stored start hash is not that of block"),
        ((*CHALLENGE, "t0"), "T0 is .*, but block .* has the timestamp"),
        ((*CHALLENGE, "hoster"), "the hoster is not that of the hosting"),
        ((*CHALLENGE, "terms", "attestor_reward"), "the terms is not that of the hosting"),
        ((*CHALLENGE, "length"), "the length is not that of the hosting"),
        ((*CHALLENGE, "noise_key"), "the Noise key is not that of the hosting"),
        ((*CHALLENGE, "feed", "signer"), "the feed is not that of the hosting"),
        ((*CHALLENGE, "timing", "window_ms"), "the timing is not that of the hosting"),
        ((*CHALLENGE, "randomness"), "the randomness of the draw does not follow"),
        (("parents", 7), "the randomness of the draw does not follow"),
        ((*CHALLENGE, "roster", 0, "account"), "the roster does not follow from randomness"),
        ((*CHALLENGE, "roster", 4, "session_key"), "the session key of .* is not the registered"),
        ((*FLIP, "topic"), "the topic does not follow"),
        (("genesis",), "the topic does not follow"),
        ((*FLIP, "root"), "the root does not follow from the openings"),
        (("anchoring", "call", "openings", 2, "x"), "the root does not follow"),
        (("anchoring", "call", "echoes", 3), "the echo of member 3 is not its signature"),
        (("anchoring", "signer"), "the anchor is not the one that the chain names"),
        ((*FLIP, "randomness"), "R does not follow from the openings"),
        ((*FLIP, "commitments", 1), "the stored commitments are not those of the anchor"),
        (("snapshot", "tally", "served"), "the tally is not that of the reports"),
        ((*SETTLEMENT, "outcome"), "the stored outcomes of challenge and settlement differ"),
        ((*SETTLEMENT, "served"), r"the reports give \(.*\), the settlement says"),
        ((*SETTLEMENT, "medians", "connect_us", "value"), "not the one that the closing block"),
        ((*SETTLEMENT, "paid", 0, "amount"), "not the one that the closing block tells"),
        ((*SETTLEMENT, "absent", 0, "account"), "not the one that the closing block tells"),
        ((*SETTLEMENT, "forfeited"), "what the hoster did not earn is not set aside"),
        ((*SETTLEMENT, "burnt"), "the absence fees are not divided as they should be"),
        ((*SETTLEMENT, "to_escrow"), "the absence fees are not divided as they should be"),
        (("closing", "closer"), "the closer's share is not a tenth"),
    ],
)
def test_one_altered_value_is_named(passed: History, path: Path, sentence: str) -> None:
    assert re.search(sentence, refusal(with_another(passed, *path)))


def test_a_roster_in_another_order_does_not_hold(passed: History) -> None:
    roster = passed.snapshot.challenge.roster
    swapped = (roster[1], roster[0], *roster[2:])
    history = altered(passed, (*CHALLENGE, "roster"), swapped)
    assert refusal(history) == "the roster does not ascend by session key"


def test_a_challenge_drawn_before_counts(passed: History) -> None:
    """Who became full in this very block was not in the list any more."""
    history = replace(passed, earlier=())
    pool = len(history.before.pool)
    try:
        said = list(verify_history(history))
    except DoesNotHold as error:
        assert "the roster does not follow" in str(error)  # noqa: PT017 - which of them is chance
    else:
        assert f"out of {pool} eligible" in said[3]
    roster = passed.earlier[0].challenge.roster
    other = altered(
        passed, ("earlier", 0, "challenge", "roster", 0, "account"), another(roster[0].account)
    )
    assert "drawn before in this block, does not follow" in refusal(other)


@pytest.mark.parametrize(
    ("inside", "sentence"),
    [
        (("signer",), "the extrinsic is signed by another account"),
        (("challenge_id",), "the extrinsic is for another challenge"),
        (("report", "w"), "report of .*: "),
        (("report", "binding"), "report of .*: "),
        (("report", "body", "outcome", "receipt"), "report of .*: "),
        (("report", "body", "outcome", "head_signature"), "report of .*: "),
        (("report", "body", "outcome", "sizes", 0), "report of .*: "),
        (("report", "body", "outcome", "nodes", 0, "hash"), "report of .*: "),
        (("report", "body", "peers", 0, "rtt_p50_us"), "report of .*: "),
        (("record", "w"), "the stored record is not that of the extrinsic"),
        (("record", "moment_ms"), "the stored record is not that of the extrinsic"),
        (("record", "windowed"), "the stored record is not that of the extrinsic"),
        (("record", "bytes"), "its stored size is wrong"),
        (("record", "outcome", "opened_ms"), "the stored record is not that of the receipt"),
        (
            ("record", "outcome", "head", "tree_hash"),
            "the stored record is not that of the receipt",
        ),
        (("record", "outcome", "metrics", "first_chunk_us"), "not that of the receipt"),
    ],
)
def test_one_altered_value_of_a_report_is_named(
    passed: History, inside: Path, sentence: str
) -> None:
    account = next(iter(passed.reports))
    assert re.search(sentence, refusal(with_another(passed, "reports", account, *inside)))


def test_a_report_before_the_end_of_the_window_does_not_hold(passed: History) -> None:
    account = next(iter(passed.reports))
    early = passed.snapshot.challenge.end_ms - 1
    history = altered(passed, ("reports", account, "block_ms"), early)
    assert "it came before the end of the window" in refusal(history)


def test_a_report_that_is_left_out_does_not_hold(passed: History) -> None:
    reports = dict(list(passed.reports.items())[1:])
    assert refusal(replace(passed, reports=reports)).startswith("the reports give")


def test_a_failure_with_another_reason_does_not_hold(failed: History) -> None:
    account = next(iter(failed.reports))
    history = with_another(failed, "reports", account, "record", "outcome", "reason")
    assert "the stored reason is not that of the extrinsic" in refusal(history)


def test_money_that_was_not_moved_does_not_hold(passed: History) -> None:
    events = tuple(
        record
        for record in passed.closing.events
        if getattr(record.event, "name", "") != "TransferOnHold"
    )
    history = altered(passed, ("closing", "events"), events)
    assert re.search(r"no transfer of \d+ to \w+ took place", refusal(history))


def test_settlement_and_block_altered_alike_still_do_not_hold(passed: History) -> None:
    """The block's own word is not believed either: it must follow from the reports."""
    for field in ("paid", "absent"):
        history = without(without(passed, *SETTLEMENT, field), "closing", "event", field)
        assert refusal(history)
    path = ("medians", "first_chunk_us", "value")
    history = with_another(with_another(passed, *SETTLEMENT, *path), "closing", "event", *path)
    assert refusal(history) == "the medians are not those of the served reports"
    history = altered(passed, (*SETTLEMENT, "outcome"), Verdict.FAILED)
    history = altered(history, (*CHALLENGE, "stage", "outcome"), Verdict.FAILED)
    history = altered(history, ("closing", "event", "outcome"), Verdict.FAILED)
    assert "the reports give" in refusal(history)


def test_a_void_challenge_moves_no_money_and_has_its_time(void: History, passed: History) -> None:
    settlement = passed.snapshot.settlement
    assert settlement is not None
    paid = altered(void, (*SETTLEMENT, "paid"), settlement.paid)
    paid = altered(paid, ("closing", "event", "paid"), settlement.paid)
    assert refusal(paid) == "without randomness a challenge is Void and moves no money"
    early = altered(void, ("closing", "block_ms"), void.snapshot.challenge.flip_end_ms - 1)
    assert refusal(early) == "it was given up before its time"
    reported = replace(void, reports=passed.reports)
    assert refusal(reported) == "there are reports, but no anchored coinflip"


@pytest.mark.parametrize("name", ["passed", "failed", "void"])
def test_nothing_that_the_chain_stores_can_be_altered_unnoticed(
    told: dict[str, Any], name: str
) -> None:
    history: History = told[name].history
    first = next(iter(history.reports), None)
    unnoticed = []
    for path in leaves(history):
        many = [step for step in path if isinstance(step, int)]
        own = path[0] in ("snapshot", "anchoring") or path[:2] == ("reports", first)
        if not own or path in WHERE_IT_WAS_READ or any(step % 9 for step in many if step > 5):
            continue
        if path[0] == "reports" and path[2:] in (
            ("record", "block"),
            ("record", "extrinsic"),
            ("block_ms",),
        ):
            continue
        if path == ("anchoring", "block_ms"):
            continue
        if name == "void" and path == ("snapshot", "id"):
            continue
        try:
            list(verify_history(with_another(history, *path)))
        except DoesNotHold:
            continue
        unnoticed.append(path)
    assert unnoticed == []
