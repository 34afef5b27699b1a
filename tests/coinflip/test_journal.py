"""The sign journal: on disk before sending, one body for a kind, silent when it was lost."""

from __future__ import annotations

import stat
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.journal import Journal, JournalConflict, JournalError, JournalLost
from offchain_worker.keys import KeyPair

TOPIC = b"t" * 32
PAIR = KeyPair.from_seed(b"k" * 32)


def commit(body: bytes = bytes(64), topic: bytes = TOPIC) -> SignedEnvelope:
    return SignedEnvelope.sign(Kind.COMMIT, topic, 0, body, PAIR)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def test_secrets_are_made_once_and_kept(path: Path) -> None:
    with Journal.open(path, now_ms=1_000) as journal:
        assert journal.secrets(TOPIC) is None
        made = journal.begin(TOPIC, started_ms=2_000).secrets
        assert journal.begin(TOPIC, started_ms=2_000).secrets == made
        assert journal.begin(b"u" * 32, started_ms=2_000).secrets != made
    with Journal.open(path, now_ms=9_000) as journal:
        assert journal.begin(TOPIC, started_ms=2_000).secrets == made
        assert journal.secrets(TOPIC) == made


def test_caution_is_for_topics_that_began_before_this_process(path: Path) -> None:
    with Journal.open(path, now_ms=1_000) as journal:
        begun = journal.begin(TOPIC, started_ms=2_000)
        assert not begun.cautious
        assert (begun.records, begun.proofs) == ({}, ())
        assert not journal.begin(TOPIC, started_ms=2_000).cautious
    with Journal.open(path, now_ms=3_000) as journal:
        assert journal.begin(TOPIC, started_ms=2_000).cautious
        assert not journal.begin(b"v" * 32, started_ms=3_000).cautious


def test_the_chains_time_outdoes_a_clock_that_was_set_back(path: Path) -> None:
    with Journal.open(path, now_ms=1_000) as journal:
        journal.distrust_before(5_000)
        journal.distrust_before(4_000)
        with pytest.raises(JournalLost):
            journal.begin(TOPIC, started_ms=4_999)
        assert not journal.begin(TOPIC, started_ms=5_000).cautious


def test_in_a_fallbacks_topic_nothing_can_be_contradicted(path: Path) -> None:
    with Journal.open(path, now_ms=1_000) as journal:
        made = journal.begin(TOPIC, started_ms=None)
    with Journal.open(path, now_ms=2_000) as journal:
        again = journal.begin(TOPIC, started_ms=None)
        assert not made.cautious
        assert again == made


def test_only_a_run_that_came_to_its_end_may_be_followed(path: Path) -> None:
    with Journal.open(path, now_ms=0) as journal:
        assert not journal.may_retry(TOPIC)
        journal.conclude(TOPIC, may_retry=True)
        journal.conclude(b"u" * 32, may_retry=False)
    with Journal.open(path, now_ms=0) as journal:
        assert journal.may_retry(TOPIC)
        assert not journal.may_retry(b"u" * 32)


def test_the_file_is_its_owners_alone(path: Path) -> None:
    path.touch(0o644)
    with Journal.open(path, now_ms=0) as journal:
        journal.begin(TOPIC, started_ms=0)
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


def test_every_write_is_synced(path: Path) -> None:
    with Journal.open(path, now_ms=0) as journal:
        synchronous = journal._connection.execute("PRAGMA synchronous").fetchone()
        mode = journal._connection.execute("PRAGMA journal_mode").fetchone()
    assert (synchronous, mode) == ((2,), ("wal",))


def test_a_second_body_is_refused_and_the_first_stays(path: Path) -> None:
    with Journal.open(path, now_ms=0) as journal:
        journal.begin(TOPIC, started_ms=0)
        first = commit()
        journal.record(first, [b"\0" * 163])
        journal.record(first)
        with pytest.raises(JournalConflict):
            journal.record(commit(b"\1" * 64))
        assert journal.records(TOPIC)[Kind.COMMIT].envelope == first.raw


def test_nothing_is_recorded_for_a_topic_without_secrets(path: Path) -> None:
    with Journal.open(path, now_ms=0) as journal:
        with pytest.raises(JournalError, match="not begun"):
            journal.record(commit())
        assert journal.records(TOPIC) == {}


def test_an_unknown_topic_that_began_before_the_process_stays_shut(path: Path) -> None:
    """A journal that was lost, or restored from a backup: what was signed before is unknown, so
    nothing is signed any more."""
    with Journal.open(path, now_ms=1_000) as journal:
        journal.begin(TOPIC, started_ms=1_500)
        journal.record(commit())
    for file in path.parent.iterdir():
        file.unlink()
    with Journal.open(path, now_ms=1_600) as journal:
        with pytest.raises(JournalLost):
            journal.begin(TOPIC, started_ms=1_500)
        assert journal.secrets(TOPIC) is None
        journal.begin(b"n" * 32, started_ms=1_700)


def test_support_and_evidence_come_back(path: Path) -> None:
    commits = [commit(bytes([n]) * 64).raw for n in range(3)]
    echo = SignedEnvelope.sign(Kind.ECHO, TOPIC, 0, b"r" * 32, PAIR)
    reveal = SignedEnvelope.sign(Kind.REVEAL, TOPIC, 0, b"x" * 64, PAIR)
    with Journal.open(path, now_ms=0) as journal:
        journal.begin(TOPIC, started_ms=0)
        journal.record(echo, commits)
        journal.record(reveal, [echo.raw, echo.raw])
        journal.keep_evidence(b"2" * 32, TOPIC, b"proof two")
        journal.keep_evidence(b"1" * 32, TOPIC, b"proof one")
        journal.keep_evidence(b"1" * 32, TOPIC, b"another proof of the same")
    with Journal.open(path, now_ms=5) as journal:
        records = journal.records(TOPIC)
        assert list(records[Kind.ECHO].support) == commits
        assert records[Kind.REVEAL].support == (echo.raw, echo.raw)
        assert journal.begin(TOPIC, started_ms=0).proofs == (b"proof one", b"proof two")


def test_what_was_recorded_survives_a_kill(path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
        from offchain_worker.coinflip.journal import Journal
        from offchain_worker.keys import KeyPair

        with Journal.open(Path(sys.argv[1]), now_ms=0) as journal:
            journal.begin(b"t" * 32, started_ms=0)
            pair = KeyPair.from_seed(b"k" * 32)
            journal.record(SignedEnvelope.sign(Kind.COMMIT, b"t" * 32, 0, bytes(64), pair))
            os.kill(os.getpid(), 9)
        """
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
    assert done.returncode == -9
    with Journal.open(path, now_ms=5) as journal:
        assert journal.records(TOPIC)[Kind.COMMIT].envelope == commit().raw
        with pytest.raises(JournalConflict):
            journal.record(commit(b"\1" * 64))


def test_a_failed_write_leaves_nothing_half_done(path: Path) -> None:
    def fail() -> FlipSecrets:
        raise RuntimeError("no randomness today")

    with Journal.open(path, now_ms=0) as journal:
        with pytest.raises(RuntimeError):
            journal.begin(TOPIC, started_ms=0, generate=fail)
        assert journal.secrets(TOPIC) is None
        journal.begin(TOPIC, started_ms=0)


def test_a_disk_that_refuses_is_a_journal_error(path: Path) -> None:
    with Journal.open(path, now_ms=0) as journal:
        journal.begin(TOPIC, started_ms=0)
        journal._connection.execute("PRAGMA query_only=ON")
        with pytest.raises(JournalError, match="cannot be used"):
            journal.record(commit())


def test_files_that_are_no_journal(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be mistaken for one " * 40)
    with pytest.raises(JournalError, match="no usable"), Journal.open(text, now_ms=0):
        pass
    with (
        pytest.raises(JournalError, match="cannot be opened"),
        Journal.open(tmp_path / "missing" / "journal", now_ms=0),
    ):
        pass


def test_two_processes_on_one_journal_share_the_secrets(path: Path) -> None:
    with Journal.open(path, now_ms=0) as one, Journal.open(path, now_ms=0) as two:
        assert one.begin(TOPIC, started_ms=0) == two.begin(TOPIC, started_ms=0)
        one.record(commit())
        with pytest.raises(JournalConflict):
            two.record(commit(b"\1" * 64))


def test_a_machine_goes_on_with_the_same_bytes_from_the_file(path: Path, tools: Any) -> None:
    """The journal behind a whole run, closed and opened again in the middle."""
    network = tools.Network(3)
    network.run(until=tools.T0 + 15)
    member = network.members[0]
    topic = network.flip.topic
    with Journal.open(path, now_ms=tools.T0 - 1) as journal:
        journal.begin(topic, started_ms=tools.T0, generate=lambda: member.secrets)
        for record in member.disk.values():
            envelope = SignedEnvelope(
                Kind(record.envelope[0]), topic, 0, record.envelope[35:-64], record.envelope
            )
            journal.record(envelope, record.support)
    with Journal.open(path, now_ms=tools.T0 + 99) as journal:
        begun = journal.begin(topic, started_ms=tools.T0)
    assert begun.cautious
    assert begun.records == member.disk
    member.secrets, member.disk = begun.secrets, begun.records
    member.boot(cautious=True)
    member.start()
    for peer in (1, 2):
        member.connected(peer)
    network.run(start=False)
    member.do(member.machine.tick(network.now))
    assert len(set(network.outcomes())) == 1
    assert network.outcomes()[0] is not None


def test_the_journal_is_closed_after_the_block(path: Path) -> None:
    with Journal.open(path, now_ms=0) as journal:
        pass
    with pytest.raises(JournalError, match="closed"):
        journal.secrets(TOPIC)
