"""What the testnet tells people of a challenge, from the chain's records and the logs."""

from __future__ import annotations

from chain_types.records import Auditing, Closed, Committing, Flip, Fraud, FraudKind, Verdict
from offchain_worker.testnet.genesis import UNIT
from offchain_worker.testnet.model import ChallengeState, Network

NAMES = {bytes([n]) * 32: f"attestor-{n}" for n in range(1, 6)}
ACCOUNTS = {name: account for account, name in NAMES.items()}
HASH = bytes(32)


def flip(active: int, *, chain_randomness: bytes | None) -> Flip:
    return Flip(
        attempt=0,
        topic=HASH,
        root=HASH,
        randomness=HASH,
        active=active,
        commitments=(HASH,) * active.bit_count(),
        moments_from=0,
        block=9,
        by=None if chain_randomness else 0,
        chain_randomness=chain_randomness,
        late=0,
    )


def fraud(kind: FraudKind, block: int, slashed: int) -> Fraud:
    return Fraud(
        offender=ACCOUNTS["attestor-5"],
        proof=kind,
        reporter=ACCOUNTS["attestor-2"],
        block=block,
        slashed=slashed,
        reward=slashed // 2,
    )


def drawn() -> ChallengeState:
    return ChallengeState.drawn(0, 1, "hoster-1", sorted(ACCOUNTS))


def test_each_fraud_is_told_once_with_its_money() -> None:
    state = drawn()
    frauds = {
        b"b" * 32: fraud(FraudKind.BAD_REVEAL, 8, 0),
        b"c" * 32: fraud(FraudKind.EQUIVOCATION, 7, 1_000 * UNIT),
    }
    assert list(state.prove(frauds, NAMES)) == [
        "challenge 0: attestor-5 was expelled: equivocation; 1000 slashed, 500 to attestor-2",
        "challenge 0: attestor-5 was expelled: bad reveal; 0 slashed, 0 to attestor-2",
    ]
    assert list(state.prove(frauds, NAMES)) == []


def test_a_reporter_that_the_testnet_does_not_know_is_told_by_its_account() -> None:
    frauds = {HASH: fraud(FraudKind.EQUIVOCATION, 7, 3 * UNIT)}
    names = {ACCOUNTS["attestor-5"]: "attestor-5"}
    (line,) = drawn().prove(frauds, names)
    assert line.endswith(f"; 3 slashed, 1.5 to {'02' * 32}")


def test_a_fallback_is_told_once_and_counts_the_active() -> None:
    state = drawn()
    assert state.fix(None) is None
    assert state.update(Committing(7, 1), 0) == "challenge 0: Commit (0 of 5 reported)"
    fell_back = flip(0b01111, chain_randomness=b"r" * 32)
    line = "challenge 0: nobody anchored; the fallback drew R among 4 of 5"
    assert state.fix(fell_back) == line
    assert state.fix(fell_back) is None
    assert state.update(Auditing(), 0) == "challenge 0: Audit (0 of 4 reported)"
    assert state.update(Closed(20, Verdict.PASSED), 4) == "challenge 0: Passed (4 of 4 reported)"


def test_an_anchor_is_no_news_of_its_own() -> None:
    state = drawn()
    assert state.fix(flip(0b11101, chain_randomness=None)) is None
    assert state.expected == 4


def test_progress_is_that_of_the_newest_attempt() -> None:
    state = drawn()
    network = Network(challenges={0: state})

    def progress(attempt: int, committed: list[bool]) -> list[bool]:
        entry = {"event": "coinflip.progress", "challenge": 0, "attempt": attempt}
        assert network.hear("attestor-1", {**entry, "committed": committed}) is None
        return [audit.committed for audit in state.attestors.values()]

    assert progress(0, [True, True, False, False, True]) == [True, True, False, False, True]
    assert progress(0, [False, False, True, False, False]) == [True, True, True, False, True]
    assert progress(1, [True, False, False, False, False]) == [True, False, False, False, False]
    assert progress(0, [True] * 5) == [True, False, False, False, False]


def test_evidence_is_told_by_names() -> None:
    network = Network(challenges={0: drawn()})
    entry = {"event": "coinflip.evidence", "level": "warning", "challenge": 0, "offender": 4}
    told = network.hear("attestor-1", entry)
    assert told == "challenge 0: attestor-1 holds evidence against attestor-5"
    expelled = {"event": "attestor.expelled", "level": "error", "challenge": 0}
    assert network.hear("attestor-5", expelled) is None
