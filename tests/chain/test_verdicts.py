"""The rules of a transaction's life, and the journal that keeps it (no I/O but SQLite)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.chain import verdicts
from offchain_worker.chain.journal import KEPT, Journal, Place, State, Transaction

GENESIS = b"g" * 32
BASE = Transaction("pay", b"a" * 32, 5, b"call", b"extrinsic", birth=100, death=164)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite", GENESIS)
    yield opened
    opened.close()


def test_a_block_that_holds_it_ends_it() -> None:
    block = verdicts.Block(101, b"b" * 32, (b"other", BASE.hash))
    found = verdicts.after_block(BASE, block)
    assert (found.state, found.place) == (State.FINALIZED, Place(b"b" * 32, 101, 1))
    assert verdicts.after_block(BASE, replace(block, extrinsics=(b"other",))) == BASE


@pytest.mark.parametrize(
    ("number", "nonce", "state"),
    [
        (101, 5, State.PENDING),
        (162, 5, State.PENDING),
        (163, 5, State.EXPIRED),
        (163, 4, State.EXPIRED),
        (101, 6, State.NONCE_TAKEN),
        (163, 6, State.NONCE_TAKEN),
    ],
)
def test_nonce_and_era_decide(number: int, nonce: int, state: State) -> None:
    assert verdicts.after_nonce(BASE, number, nonce).state is state


@pytest.mark.parametrize(
    ("attempts", "code", "words", "state"),
    [
        (1, verdicts.INVALID, "Invalid Transaction: bad signature", State.REFUSED),
        (1, -32602, "invalid params", State.REFUSED),
        (1, verdicts.INVALID, "Transaction is outdated", State.PENDING),
        (1, verdicts.ALREADY_IMPORTED, "already imported", State.PENDING),
        (1, verdicts.PRIORITY_TOO_LOW, "priority too low", State.PENDING),
        (1, verdicts.IMMEDIATELY_DROPPED, "pool is full", State.PENDING),
        (2, verdicts.INVALID, "Invalid Transaction: bad signature", State.PENDING),
    ],
)
def test_only_a_first_refusal_is_believed(
    attempts: int, code: int, words: str, state: State
) -> None:
    transaction = replace(BASE, attempts=attempts)
    assert verdicts.after_refusal(transaction, code, words).state is state


def test_only_what_expired_is_signed_again_and_for_its_nonce() -> None:
    for state in set(State) - {State.EXPIRED}:
        with pytest.raises(ValueError, match="must not be signed again"):
            verdicts.signed_again(replace(BASE, state=state), b"new", 200, 264)
    again = verdicts.signed_again(replace(BASE, state=State.EXPIRED), b"new", 200, 264)
    assert (again.nonce, again.attempts, again.signings) == (5, 0, 2)
    spent = replace(BASE, state=State.EXPIRED, signings=verdicts.MAX_SIGNINGS)
    assert not verdicts.may_sign_again(spent)


@pytest.mark.parametrize(
    ("number", "nonce", "possible"),
    [(101, 5, True), (162, 5, True), (163, 5, False), (101, 6, False)],
)
def test_a_refused_one_is_gone_with_its_era_or_nonce(
    number: int, nonce: int, possible: bool
) -> None:
    refused = replace(BASE, state=State.REFUSED)
    assert verdicts.may_be_applied(refused, number, nonce) is possible


@given(st.integers(0, 20), st.sets(st.integers(0, 20)))
def test_a_free_nonce_is_the_lowest_that_nobody_holds(next_index: int, held: set[int]) -> None:
    pending = [replace(BASE, nonce=nonce) for nonce in held]
    nonce = verdicts.free_nonce(next_index, pending)
    assert nonce not in held
    assert all(other in held for other in range(next_index, nonce))


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    steps = st.tuples(
        st.sampled_from(["head", "refuse", "send", "again"]),
        st.integers(0, 3),
        st.sampled_from([1010, 1013, 1014]),
    )
    return draw(st.lists(steps, max_size=200))


@given(histories())
def test_whatever_happens_one_intent_has_one_nonce_and_one_live_signature(
    history: list[tuple[str, int, int]],
) -> None:
    """A signature is replaced only when the era of the one before is over."""
    transaction, number = BASE, BASE.birth
    for kind, step, code in history:
        before = transaction
        match kind:
            case "head":
                number += step * 20
                transaction = verdicts.after_nonce(transaction, number, 5)
            case "refuse":
                transaction = verdicts.after_refusal(transaction, code, "bad")
            case "send" if transaction.state is State.PENDING:
                transaction = verdicts.sent(transaction)
            case "again" if verdicts.may_sign_again(transaction):
                new = b"extrinsic %d" % number
                transaction = verdicts.signed_again(transaction, new, number, number + 64)
        assert transaction.nonce == BASE.nonce
        if transaction.extrinsic != before.extrinsic:
            assert number >= before.death - 1


def test_the_journal_keeps_everything(journal: Journal) -> None:
    found = replace(
        BASE, state=State.FINALIZED, place=Place(b"b" * 32, 7, 0), attempts=3, signings=2
    )
    other = replace(BASE, intent="other", nonce=6)
    journal.write(found)
    journal.write(other)
    assert journal.find("pay") == found
    assert journal.find("unknown") is None
    assert journal.pending() == [other]


@pytest.mark.parametrize("change", [{"nonce": 6}, {"call": b"other"}, {"account": b"b" * 32}])
def test_the_journal_refuses_a_second_nonce_for_what_is_pending(
    journal: Journal, change: dict[str, int | bytes]
) -> None:
    journal.write(BASE)
    with pytest.raises(ValueError, match="pending under another nonce"):
        journal.write(replace(BASE, **change))
    assert journal.find("pay") == BASE


def test_other_chains_are_other_journals(journal: Journal, tmp_path: Path) -> None:
    journal.write(BASE)
    other = Journal(tmp_path / "journal.sqlite", b"h" * 32)
    assert other.find("pay") is None
    assert other.pending() == []
    other.close()


def test_old_ends_are_forgotten_and_pending_ones_never(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    journal = Journal(path, GENESIS)
    journal.write(replace(BASE, intent="old pending"))
    journal.write(replace(BASE, intent="old end", state=State.EXPIRED))
    journal._database.execute(
        "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'transactions'", (KEPT,)
    )
    journal.write(replace(BASE, intent="new end", state=State.EXPIRED))
    journal.close()
    reopened = Journal(path, GENESIS)
    assert reopened.find("old pending") is not None
    assert reopened.find("old end") is None
    assert reopened.find("new end") is not None
    reopened.close()
