"""The attestor's store: what survives a restart."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from chain_types.report import Failure, FalseReceipt, Node, PeerMetrics, Reason
from offchain_worker.attestor.store import Work, WorkStore
from offchain_worker.errors import OperationError

TOPIC = bytes(range(32))


def test_nothing_is_known_of_a_new_topic(tmp_path: Path) -> None:
    with WorkStore.open(tmp_path / "work.sqlite") as store:
        assert store.load(TOPIC) == Work()


def test_everything_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    peers = (PeerMetrics(index=1, rtt_p50_us=250, throughput=0),)
    outcome = Failure(reason=Reason.NO_RECEIPT, demand=None)
    with WorkStore.open(tmp_path / "work.sqlite") as store:
        store.save_peers(TOPIC, peers)
        store.save_outcome(TOPIC, outcome)
        store.save_missed(bytes(32), "the moment has passed")
    with WorkStore.open(tmp_path / "work.sqlite") as store:
        assert store.load(TOPIC) == Work(peers, outcome, None)
        assert store.load(bytes(32)) == Work((), None, "the moment has passed")


def test_a_false_receipt_is_kept_with_the_outcome(tmp_path: Path) -> None:
    proof = FalseReceipt(bytes(32), b"receipt", 7, b"l" * 32, (9,), (Node(b"n" * 32, 3),))
    outcome = Failure(reason=Reason.BAD_RECEIPT, demand=None)
    with WorkStore.open(tmp_path / "work.sqlite") as store:
        store.save_false_receipt(TOPIC, proof)
        assert store.load(TOPIC) == Work(false_receipt=proof)
        store.save_outcome(TOPIC, outcome)
    with WorkStore.open(tmp_path / "work.sqlite") as store:
        assert store.load(TOPIC) == Work((), outcome, None, false_receipt=proof)


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    with WorkStore.open(tmp_path / "work.sqlite"):
        mode = (tmp_path / "work.sqlite").stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_another_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "work.sqlite").write_bytes(b"no database at all" * 100)
    with (
        pytest.raises(OperationError, match="is not an attestor's store"),
        WorkStore.open(tmp_path / "work.sqlite"),
    ):
        raise AssertionError("it opened")
