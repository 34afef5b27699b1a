"""Recomputing challenges: real histories hold; whatever is altered in one does not."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from alterations import Path, altered, another, at, leaves

from chain_types.records import Open, PaymentKind, Verdict
from chain_types.report import Equivocation, FalseReceipt
from chain_types.ss58 import ss58_encode
from offchain_worker.explorer.claims import DoesNotHold
from offchain_worker.explorer.history import History
from offchain_worker.explorer.verify import verify_history

WHERE_IT_WAS_READ = (
    # What names a place in the chain cannot be altered without another place being read.
    ("snapshot", "challenge", "hosting"),
    ("snapshot", "challenge", "block"),
    ("snapshot", "challenge", "stage", "at"),
    ("snapshot", "flip", "block"),
    ("anchoring", "block_ms"),
    ("falling_back", "opened_ms"),
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


def test_what_happened_holds(passed: History, failed: History) -> None:
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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "retried",
            [
                r"\w+ is guilty of EQUIVOCATION in attempt 0: \d+ slashed, \d+ of it to \w+",
                r"\w+ is guilty of BAD_REVEAL in attempt 0: 0 slashed, 0 of it to \w+",
                r"\w+ is guilty of BAD_REVEAL in attempt 0: \d+ slashed, \d+ of it to \w+",
                r"\w+ is guilty of EQUIVOCATION in attempt 1: \d+ slashed, \d+ of it to \w+",
                "attempt 1 is among 4 of 5 attestors",
                r"the topic is \w{64}",
                r"all 4 members echoed the root \w{64}",
                "Passed: 3 served, 0 failed, of 4",
                # The hoster, two of the three who reported, and the closer.
                r"4 payments, \d+ in all, and 1 absence fees follow",
            ],
        ),
        (
            "fell_back",
            [
                r"\w+ is guilty of EQUIVOCATION in attempt 0: .*",
                r"\w+ is guilty of EQUIVOCATION in attempt 0: .*",
                r"3 of 4 committed to the fallback, topic \w{64}",
                r"R is \w{64}, of 3 commitments and the chain's randomness",
                "Failed: 0 served, 2 failed, of 3",
                r"1 payments, \d+ in all, and 2 absence fees follow",
            ],
        ),
        (
            "abandoned",
            [
                r"2 of 5 committed to the fallback, topic \w{64}",
                "there is no shared randomness, so there is nothing to report",
                "Void, as 2 committed to the fallback: nobody is paid, 3 pay for absence",
            ],
        ),
        ("dissolved", ["Void, as 2 members were left: nobody is paid, 0 pay for absence"]),
        (
            "stalled",
            [
                r"3 of 5 committed to the fallback, topic \w{64}",
                "Void, as no time was left for audits: nobody is paid, 0 pay for absence",
            ],
        ),
        (
            "slotted",
            [
                "attempt 1 is among 4 of 5 attestors",
                r"the topic is \w{64}",
                "Passed: 4 served, 0 failed, of 4",
                r"5 payments, \d+ in all, and 0 absence fees follow",
            ],
        ),
        (
            "too_slow",
            [
                "Passed: 5 served, 0 failed, of 5",
                r"5 payments, \d+ in all, and 0 absence fees follow, the SLA is broken",
            ],
        ),
        (
            "withheld",
            [
                r"report of \w+: failed, NO_DATA, chunk \d+ is demanded",
                r"report of \w+: failed, NO_DATA, chunk \d+ is demanded",
                r"demand of \w+: chunk \d+ was shown, for 10{12}",
                r"demand of \w+: nobody showed chunk \d+: 50{13} slashed",
                "Failed: 3 served, 2 failed, of 5",
                # What withholding brings, the three who were served, half for the one who was not.
                r"5 payments, \d+ in all, and 0 absence fees follow",
            ],
        ),
        (
            "emptied",
            [
                r"demand of \w+: nobody showed chunk \d+: 50{13} slashed",
                r"demand of \w+: nobody showed chunk \d+: 50{13} slashed",
                r"demand of \w+: nobody showed chunk \d+: 0 slashed",
                "Failed: 1 served, 3 failed, of 5",
                # Two for what was withheld, four for reports, the closer.
                r"7 payments, \d+ in all, and 1 absence fees follow",
            ],
        ),
        (
            "rewritten",
            [
                r"demand of \w+: the author has rewritten the feed, fork 3",
                "Inconclusive: 4 served, 1 failed, of 5",
                r"4 payments, \d+ in all, and 0 absence fees follow",
            ],
        ),
        (
            "came_back",
            [
                r"\w+ is guilty of EQUIVOCATION in attempt 0: 10{15} slashed, 50{14} of it to \w+",
                r"\w+ is guilty of BAD_REVEAL in attempt 0: 10{15} slashed, 50{14} of it to \w+",
                r"\w+ is guilty of EQUIVOCATION in attempt 0: 990{13} slashed, 4950{12} of it .*",
                r"\w+ is guilty of EQUIVOCATION in attempt 0: 990{13} slashed, 4950{12} of it .*",
                r"0 of 4 committed to the fallback, topic \w{64}",
                "Void, as 0 committed to the fallback: nobody is paid, 4 pay for absence",
            ],
        ),
    ],
)
def test_what_went_wrong_holds(told: dict[str, Any], name: str, said: list[str]) -> None:
    sentences = iter(verify_history(told[name].history))
    for pattern in said:
        assert any(re.fullmatch(pattern, sentence) for sentence in sentences), pattern
    assert next(sentences, None) is None


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
    assert "the stored reason or demand is not that of the extrinsic" in refusal(history)


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


@pytest.mark.parametrize("name", ["abandoned", "dissolved", "stalled"])
def test_a_void_challenge_pays_no_rewards(told: dict[str, Any], name: str, passed: History) -> None:
    void: History = told[name].history
    settlement = passed.snapshot.settlement
    assert settlement is not None
    rewards = tuple(one for one in settlement.paid if one.kind is not PaymentKind.CLOSING)
    paid = altered(void, (*SETTLEMENT, "paid"), rewards)
    paid = altered(paid, ("closing", "event", "paid"), rewards)
    assert refusal(paid) == "without randomness a challenge is Void and pays no rewards"
    early = altered(void, ("closing", "block_ms"), void.snapshot.challenge.flip_end_ms - 1)
    assert refusal(early) == "it was given up before its time"
    reported = replace(void, reports=passed.reports)
    assert refusal(reported) == "there are reports, but no randomness to audit by"


def test_who_let_a_fallback_down_pays_and_nobody_else(told: dict[str, Any]) -> None:
    abandoned: History = told["abandoned"].history
    settlement = abandoned.snapshot.settlement
    assert settlement is not None
    sentence = "those who paid for absence are not those who neither reported nor committed"
    for absent in ((), settlement.absent[1:], (*settlement.absent, *settlement.absent[:1])):
        history = altered(abandoned, (*SETTLEMENT, "absent"), absent)
        assert refusal(altered(history, ("closing", "event", "absent"), absent)) == sentence
    for name in ("dissolved", "stalled"):
        history = altered(told[name].history, (*SETTLEMENT, "absent"), settlement.absent)
        history = altered(history, ("closing", "event", "absent"), settlement.absent)
        assert refusal(history) == sentence


def test_a_challenge_is_not_given_up_while_members_enough_are_left(told: dict[str, Any]) -> None:
    dissolved: History = told["dissolved"].history
    none = altered(
        altered(replace(dissolved, accusations=()), ("snapshot", "frauds"), {}),
        ("snapshot", "expulsions"),
        (),
    )
    assert refusal(none) == "it fell back to nothing, though members enough are left"
    abandoned: History = told["abandoned"].history
    falling_back = abandoned.falling_back
    assert falling_back is not None
    early = altered(abandoned, ("closing", "block_ms"), falling_back.opened_ms + 1_999)
    assert refusal(early) == "the fallback ended before its time"
    early = altered(abandoned, ("closing", "block"), falling_back.opened_block + 3)
    assert refusal(early) == "the fallback ended before its time"


ACCUSED = ("accusations", 0)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (("parents", 7), "the randomness of the draw does not follow"),
        ((*ACCUSED, "proof", "id"), "proves nothing: topic"),
        ((*ACCUSED, "proof", "attempt"), "of attempt 1 came before its roster was settled"),
        (("accusations", 2, "proof", "attempt"), "proves nothing: envelope"),
        ((*ACCUSED, "proof", "a"), "proves nothing: envelope"),
        ((*ACCUSED, "event", "attestor"), "against another member, or of another kind or attempt"),
        ((*ACCUSED, "event", "id"), "against another member, or of another kind or attempt"),
        ((*ACCUSED, "event", "kind"), "against another member, or of another kind or attempt"),
        ((*ACCUSED, "event", "attempt"), "against another member, or of another kind or attempt"),
        ((*ACCUSED, "event", "timestamp_ms"), "is not the one that its block tells of"),
        ((*ACCUSED, "signer"), "is not the one that its block tells of"),
        ((*ACCUSED, "event", "slashed"), "the slash is not the fine, nor what was left"),
        (("accusations", 1, "bond"), "the slash is not the fine, nor what was left"),
        (("fraud_slash",), "the slash is not the fine, nor what was left"),
        ((*ACCUSED, "event", "reward"), "the reward is not half of the slash"),
        ((*ACCUSED, "block"), "is not the one that the chain keeps"),
        (("snapshot", "expulsions", 0, "place"), "the expulsions do not follow from the proofs"),
        (("snapshot", "expulsions", 1, "timestamp_ms"), "the expulsions do not follow"),
        ((*FLIP, "attempt"), "attempt 2 does not exist"),
        ((*FLIP, "active"), "the active members are not those of the attempt's roster"),
        ((*FLIP, "by"), "the anchor is not the one that the chain names"),
        ((*FLIP, "moments_from"), "the moments do not begin when they should after an anchor"),
    ],
)
def test_one_altered_value_of_a_retry_is_named(
    told: dict[str, Any], path: Path, sentence: str
) -> None:
    history: History = told["retried"].history
    value = at(history, path)
    less = path in ((*FLIP, "by"), ("fraud_slash",))
    assert re.search(
        sentence, refusal(altered(history, path, value - 1 if less else another(value)))
    )


def test_false_proofs_do_not_hold(told: dict[str, Any]) -> None:
    history: History = told["retried"].history
    first, second, *rest = history.accusations
    proof = first.proof
    assert isinstance(proof, Equivocation)
    unsigned = replace(proof, b=proof.b[:-64] + bytes(64))
    changed = altered(history, (*ACCUSED, "proof"), unsigned)
    assert refusal(changed).endswith("proves nothing: signature")
    changed = altered(history, (*ACCUSED, "proof"), replace(proof, b=proof.a))
    assert refusal(changed).endswith("proves nothing: no contradiction")
    changed = altered(history, (*ACCUSED, "proof"), replace(proof, attempt=8))
    assert refusal(changed).endswith("is for attempt 8, which does not exist")
    receipt = FalseReceipt(bytes(32), b"", 0, bytes(32), (), ())
    assert refusal(altered(history, (*ACCUSED, "proof"), receipt)).endswith("of the coinflip")
    twice = replace(history, accusations=(first, first, second, *rest))
    assert refusal(twice).endswith("was known already")
    dropped = replace(history, accusations=(first, second))
    assert refusal(dropped) == "the chain keeps frauds of which there is no proof"
    unpunished = altered(history, (*ACCUSED, "events"), ())
    assert refusal(unpunished).endswith("the bond was not slashed")
    for name in ("Deposit", "BurnedDebt"):
        kept = [one for one in first.events if getattr(one.event, "name", "") != name]
        unpaid = altered(history, (*ACCUSED, "events"), tuple(kept))
        assert refusal(unpaid).endswith("the reward was not paid, or the rest not burnt")


def test_an_expulsion_in_time_takes_a_member_out_of_the_next_attempt(
    told: dict[str, Any],
) -> None:
    """The rule of the roster, against the chain's word: the proof came a moment too late."""
    history: History = told["slotted"].history
    later = history.snapshot.challenge.t0 + 13_000
    for path in (
        (*ACCUSED, "block_ms"),
        (*ACCUSED, "event", "timestamp_ms"),
        ("snapshot", "expulsions", 0, "timestamp_ms"),
    ):
        history = altered(history, path, later)
    assert "the topic does not follow from challenge, block and roster" in refusal(history)


def test_before_an_attempt_is_settled_nothing_of_it_counts(told: dict[str, Any]) -> None:
    """As long as an expulsion could still change its roster, it is neither anchored nor accused."""
    history: History = told["retried"].history
    sentence = "of attempt 1 came before its roster was settled"
    early = history.snapshot.challenge.t0 + 4_000
    changed = altered(history, ("anchoring", "block_ms"), early)
    assert refusal(changed) == f"the anchor {sentence}"
    changed = altered(history, ("accusations", 3, "block_ms"), early)
    changed = altered(changed, ("accusations", 3, "event", "timestamp_ms"), early)
    assert refusal(changed).endswith(sentence)


def test_who_is_expelled_is_not_paid(told: dict[str, Any]) -> None:
    """Before the settlement; had the proof come after it, the reward would have been due."""
    history: History = told["retried"].history
    late = history.accusations[2]
    unpaid = "the payments do not follow from outcome and terms"
    position = altered(history, ("accusations", 2, "position"), history.closing.position + 1)
    assert late.block < history.closing.block
    assert list(verify_history(position))
    same = altered(history, ("closing", "block"), late.block)
    same = altered(same, ("closing", "position"), late.position)
    assert refusal(same) == unpaid
    assert refusal(altered(history, ("closing", "block"), 2**32)) == unpaid


FALLBACK, RUN = ("snapshot", "fallback"), ("falling_back",)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ((*FALLBACK, "topic"), "the fallback's roster is not that of the members not expelled"),
        ((*FALLBACK, "roster"), "the fallback's roster is not that of the members not expelled"),
        ((*RUN, "opened", "roster"), "the fallback's roster is not that of the members"),
        ((*RUN, "opened", "topic"), "the fallback's roster is not that of the members"),
        ((*RUN, "opened", "since"), "the fallback began before its time, or in another block"),
        ((*FALLBACK, "commits", 1, "z"), "the stored commitments are not those that were sent"),
        ((*FALLBACK, "commits", 1, "place"), "the stored commitments are not those that were sent"),
        ((*RUN, "commitments", 0, "call", "z"), "the stored commitments are not those"),
        ((*RUN, "commitments", 0, "call", "id"), "it is for another challenge"),
        ((*RUN, "commitments", 0, "signer"), "it is not in the fallback's roster"),
        ((*RUN, "fell_back", "active"), "R is not the one that its block tells of"),
        ((*RUN, "fell_back", "randomness"), "R is not the one that its block tells of"),
        ((*RUN, "parents", 0), "randomness does not follow from the blocks before"),
        ((*RUN, "settled_ms"), "the moments do not begin when they should after a fallback"),
        ((*FLIP, "attempt"), "attempt or topic is not that of the fallback"),
        ((*FLIP, "topic"), "attempt or topic is not that of the fallback"),
        ((*FLIP, "active"), "the active members are not those that committed"),
        ((*FLIP, "commitments", 2), "the active members are not those that committed"),
        ((*FLIP, "root"), "the root does not follow from the commitments"),
        ((*FLIP, "chain_randomness"), "randomness does not follow from the blocks before"),
        ((*FLIP, "randomness"), "R does not follow from commitments and randomness"),
        ((*FLIP, "moments_from"), "the moments do not begin when they should after a fallback"),
        (("snapshot", "tally", "reported"), "the tally is not that of the reports"),
    ],
)
def test_one_altered_value_of_a_fallback_is_named(
    told: dict[str, Any], path: Path, sentence: str
) -> None:
    assert re.search(sentence, refusal(with_another(told["fell_back"].history, *path)))


def test_commitments_out_of_time_or_twice_do_not_hold(told: dict[str, Any]) -> None:
    history: History = told["fell_back"].history
    falling_back = history.falling_back
    assert falling_back is not None
    first, flip = falling_back.commitments[0], history.snapshot.flip
    assert flip is not None
    for changed in (
        replace(first, block=falling_back.opened_block - 1),
        replace(first, block=flip.block, block_ms=falling_back.settled_ms),
    ):
        sentence = "it came too early or too late"
        assert sentence in refusal(altered(history, (*RUN, "commitments", 0), changed))
    twice = altered(history, (*RUN, "commitments"), (first, *falling_back.commitments))
    assert "it is the second one" in refusal(twice)
    early = altered(history, (*RUN, "opened_ms"), history.snapshot.challenge.flip_end_ms - 1)
    assert "the fallback began before its time" in refusal(early)
    early = altered(history, (*RUN, "settled_ms"), falling_back.opened_ms + 1_999)
    assert refusal(early) == "the fallback ended before its time"


def test_an_anchor_and_a_fallback_exclude_each_other(told: dict[str, Any]) -> None:
    retried, fell_back = told["retried"].history, told["fell_back"].history
    both = altered(fell_back, ("anchoring",), retried.anchoring)
    assert refusal(both) == "a coinflip that fell back was anchored"
    assert refusal(replace(retried, anchoring=None)) == "the coinflip has no anchor"
    gone = "the stored fallback is not that of the blocks"
    assert refusal(replace(fell_back, falling_back=None)) == gone
    assert refusal(altered(fell_back, ("snapshot", "fallback"), None)) == (
        "the chain keeps no fallback"
    )


def test_only_active_members_report(told: dict[str, Any]) -> None:
    """Somebody of the start roster who is not in the anchored attempt."""
    history: History = told["retried"].history
    outcast = history.snapshot.challenge.roster[0].account
    some = next(iter(history.reports.values()))
    reports = {**history.reports, outcast: replace(some, signer=outcast)}
    assert refusal(replace(history, reports=reports)) == "somebody reported who is not active"


NAMES = (
    "passed",
    "failed",
    "retried",
    "fell_back",
    "abandoned",
    "dissolved",
    "stalled",
    "slotted",
    "too_slow",
    "withheld",
    "emptied",
    "rewritten",
    "came_back",
)
READ = ("snapshot", "anchoring", "accusations", "falling_back", "answers")


def only_says_where_or_bounds(path: Path) -> bool:
    """Where or when something was read, and what is only compared with bounds."""
    match path:
        case ("accusations", int(), "events" | "position" | "bond", *_):
            return True
        case ("falling_back", "commitments", int(), "block" | "block_ms"):
            return True
        case ("reports", bytes(), *rest):
            where = (["record", "block"], ["record", "extrinsic"], ["block_ms"], ["rooms"])
            return rest in where
        case ("answers", bytes(), "block" | "block_ms" | "rooms" | "events", *_):
            return True
        case ("snapshot", "demands", bytes(), "state", "block" | "extrinsic"):
            return True
        case _:
            return path in WHERE_IT_WAS_READ


@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_the_chain_stores_can_be_altered_unnoticed(
    told: dict[str, Any], name: str
) -> None:
    history: History = told[name].history
    first = next(iter(history.reports), None)
    unnoticed = []
    for path in leaves(history):
        many = [step for step in path if isinstance(step, int)]
        own = path[0] in READ or path[:2] == ("reports", first)
        if not own or only_says_where_or_bounds(path):
            continue
        if any(step % 9 for step in many if step > 5):
            continue
        # Without R the end of the fallback is told by the settlement's block alone.
        if history.snapshot.flip is None and path[:2] in (
            ("falling_back", "settled_ms"),
            ("falling_back", "parents"),
        ):
            continue
        try:
            list(verify_history(with_another(history, *path)))
        except DoesNotHold:
            continue
        unnoticed.append(path)
    assert unnoticed == []


def demanders(history: History) -> list[bytes]:
    """Who demanded something, in roster order."""
    roster = history.snapshot.challenge.roster
    return [one.account for one in roster if one.account in history.snapshot.demands]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (("snapshot", "demands", 0, "chunk"), "the demands are not those of the reports"),
        (("snapshot", "demands", 0, "block"), "it is not due so many blocks after its report"),
        (("snapshot", "demands", 0, "due", "rooms"), "it is not due so many blocks after"),
        (("snapshot", "demands", 1, "due", "block"), "it is not due so many blocks after"),
        (("snapshot", "demands", 0, "deposit"), "the deposit is not what is asked for"),
        (("snapshot", "demands", 0, "state", "fee"), "it is kept as another answer"),
        (("answers", 0, "signer"), "the answer is not the hoster's, or to another demand"),
        (("answers", 0, "call", "id"), "the answer is not the hoster's, or to another demand"),
        (("answers", 0, "call", "attestor"), "the answer is not the hoster's, or to another"),
        (("answers", 0, "call", "answer", "bytes"), "the answer does not hold: "),
        (("answers", 0, "call", "answer", "length"), "the answer does not hold: "),
        (("answers", 0, "call", "answer", "head_signature"), "the answer does not hold: "),
        (("answers", 0, "call", "answer", "nodes", 0, "hash"), "the answer does not hold: "),
        (("snapshot", "demands", 1, "state", "slashed"), "the slash is not the fine, nor what"),
        (("snapshot", "demands", 1, "state", "reward"), "the reward is not half of the slash"),
        (("withholding_slash",), "the slash is not the fine, nor what was left of the bond"),
        ((*SETTLEMENT, "slashed"), "what withholding cost is not what the demands say"),
    ],
)
def test_one_altered_value_of_a_demand_is_named(
    told: dict[str, Any], path: Path, sentence: str
) -> None:
    history: History = told["withheld"].history
    accounts = demanders(history)
    named = ("demands", "answers")
    real = tuple(
        accounts[step] if before in named and isinstance(step, int) else step
        for before, step in zip((None, *path), path, strict=False)
    )
    value = at(history, real)
    less = path == ("withholding_slash",)
    changed = altered(history, real, value - 1 if less else another(value))
    assert re.search(sentence, refusal(changed))


def test_demands_that_were_settled_otherwise_do_not_hold(told: dict[str, Any]) -> None:
    history: History = told["withheld"].history
    shown, lost = demanders(history)
    assert refusal(replace(history, answers={})) == "the answers are not those of the demands"
    none = altered(history, ("snapshot", "demands"), {})
    assert refusal(none) == "the demands are not those of the reports"
    late = altered(history, ("answers", shown, "rooms"), 2**32)
    assert refusal(late).endswith("the answer came too late")
    late = altered(history, ("answers", shown, "block"), 2**31)
    assert refusal(late).endswith("the answer came too late")
    still_open = altered(history, ("snapshot", "demands", lost, "state"), Open())
    assert refusal(still_open).endswith("it is open, but the challenge is settled")
    events = history.answers[shown].events
    for name, sentence in (
        ("DemandAnswered", "the answer is not the one that its block tells of"),
        ("TransferOnHold", "the deposit did not go where it should"),
        ("Released", "the deposit did not go where it should"),
    ):
        kept = tuple(one for one in events if getattr(one.event, "name", "") != name)
        assert refusal(altered(history, ("answers", shown, "events"), kept)).endswith(sentence)
    for name, sentence in (
        ("DemandUnanswered", "it is not the one that the closing block tells of"),
        ("Released", "the deposit did not come back, or the rest of the slash was not burnt"),
        ("BurnedDebt", "the deposit did not come back, or the rest of the slash was not burnt"),
        ("Deposit", f"were not paid to {ss58_encode(lost)}"),
    ):
        kept = tuple(
            one for one in history.closing.events if getattr(one.event, "name", "") != name
        )
        assert refusal(altered(history, ("closing", "events"), kept)).endswith(sentence)


def test_a_demand_decides_the_outcome(told: dict[str, Any]) -> None:
    """Whoever calls it passed: the demands say otherwise."""
    for name in ("withheld", "rewritten"):
        history: History = told[name].history
        for path in (SETTLEMENT, ("closing", "event")):
            history = altered(history, (*path, "outcome"), Verdict.PASSED)
        history = altered(history, (*CHALLENGE, "stage", "outcome"), Verdict.PASSED)
        assert refusal(history).startswith("the reports give")
