"""A small campaign, and that the fuzzer finds what it is there for."""

from __future__ import annotations

import random
from typing import Any

import pytest
from wire_fuzz import campaign
from wire_fuzz.__main__ import main
from wire_fuzz.campaign import Batch, batches, run_batch
from wire_fuzz.coinflip import targets
from wire_fuzz.coinflip.corpus import RUNS, corpus
from wire_fuzz.hypercore import targets as hypercore_targets
from wire_fuzz.registry import TARGETS
from wire_fuzz.target import ACCEPTED, Broken

from offchain_worker.coinflip.effects import Found, Silenced
from offchain_worker.coinflip.envelope import Bundle, EnvelopeError, Kind
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.client import RemoteBlocks

INPUTS = 12_000


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_escapes(name: str) -> None:
    tally = run_batch(Batch(seed=7, target=name, number=0, inputs=INPUTS // len(TARGETS)))
    assert [list(escape.lines()) for escape in tally.escapes] == []
    assert tally.fates[ACCEPTED] > 0, "some get through to what lies behind the parser"
    assert len(tally.fates) > 1, "some are refused"


def test_the_corpus_reaches_every_kind_and_phase() -> None:
    made = corpus()
    assert set(made.by_kind) == set(Kind)
    for recording in made.recordings:
        machines = [
            recording.machine(member, len(inputs)) for member, inputs in enumerate(recording.inputs)
        ]
        assert any(machine.evidence for machine in machines)
        assert all(machine.outcome is not None for machine in machines)
    successes = [
        recording.machine(0, len(recording.inputs[0])).result is not None
        for recording in made.recordings
    ]
    assert set(successes) == {True, False}
    assert len(made.recordings) == len(RUNS)


def test_a_batch_is_decided_by_its_seed() -> None:
    batch = Batch(seed=3, target="machine", number=1, inputs=300)
    other = Batch(seed=4, target="machine", number=1, inputs=300)
    assert run_batch(batch).fates == run_batch(batch).fates
    assert run_batch(batch).fates != run_batch(other).fates


def test_batches_make_up_the_number_that_was_asked_for() -> None:
    for inputs in (1, 999, 50_000, 1_000_000):
        made = list(batches(1, inputs))
        assert sum(batch.inputs for batch in made) >= inputs
        assert {batch.target for batch in made} == set(TARGETS)
        assert len(set(made)) == len(made)


def test_the_summary_is_the_last_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--inputs", "900", "--processes", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:18].strip() for line in lines[:-1]] == ["target", *TARGETS]
    assert lines[-1].endswith(" inputs, 0 escapes")


def test_an_escape_is_shown_with_what_reproduces_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A parser that reads beyond the end."""

    def careless(data: bytes, flip: Any, sender: int) -> Any:
        if data[5] == flip.topic[5]:
            raise EnvelopeError("topic")
        return Bundle(())

    monkeypatch.setattr(targets, "decode", careless)
    assert main(["--seed", "5", "--target", "need", "--batch", "2"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("escape: need, seed 5, batch 2, input ")
    assert lines[1].startswith("input: ")
    assert lines[2] == "again: python -m wire_fuzz --seed 5 --target 'need' --batch 2"
    assert not lines[-1].endswith(" 0 escapes")
    data = bytes.fromhex(lines[1].removeprefix("input: "))
    assert len(data) < 6 or data[5] != corpus().recordings[0].flip.topic[5]
    assert main(["--seed", "5", "--target", "need", "--batch", "2"]) == 1
    assert capsys.readouterr().out.splitlines()[:2] == lines[:2]


def test_a_machine_that_keeps_everything_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound on kept envelopes removed."""
    monkeypatch.setattr(CoinflipMachine, "_is_news", lambda *_: True)
    tally = run_batch(Batch(seed=7, target="machine", number=0, inputs=2_000))
    assert tally.escaped > 0


def test_a_parser_that_allocates_what_it_is_told_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def greedy(data: bytes) -> Any:
        bytearray(4_000_000)
        raise targets.ScaleError(f"{len(data)}")

    monkeypatch.setattr(targets, "decode_proof", greedy)
    tally = run_batch(Batch(seed=7, target="proof", number=0, inputs=campaign.WEIGHED))
    assert [escape.error.split(":")[0] for escape in tally.escapes] == ["Broken"]


def test_machines_are_fuzzed_into_what_matters() -> None:
    """Signed acts of dishonest members lead to proofs, and to finding the own key abused."""
    found: set[type] = set()
    target = targets.MachineTarget(random.Random(1))
    apply = target._apply

    def note(effects: list[Any]) -> None:
        found.update(map(type, effects))
        apply(effects)

    target._apply = note  # type: ignore[method-assign]
    for _ in range(1_500):
        target.feed(target.make())
    assert Found in found
    assert Silenced in found


def test_a_decoder_that_reads_beyond_the_end_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(body: bytes, offset: int = 0) -> m.Cancel:
        return m.Cancel(body[offset] + 256 * body[offset + 1])

    monkeypatch.setattr(m.Cancel, "decode", careless)
    tally = run_batch(Batch(seed=7, target="messages", number=0, inputs=600))
    assert {escape.error.split(":")[0] for escape in tally.escapes} <= {"IndexError", "Broken"}
    assert tally.escaped > 0


def test_a_client_that_pays_memory_for_every_page_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A `range` over all blocks, taken by a client that keeps bits for each page."""

    def costly(remote: RemoteBlocks, start: int, length: int, *, has: bool) -> None:
        for page in range(min(1_024, length // 32_768)):
            remote._pages[page] = (1 << 32_768) - 1 - page

    monkeypatch.setattr(RemoteBlocks, "set_range", costly)
    target = hypercore_targets.ClientTarget(random.Random(1))
    target.make()
    target.kind = m.Type.RANGE
    with pytest.raises(Broken, match="are allocated for an input of"):
        campaign._weigh(target, m.Range(1, 2**50).encode())


def test_long_ranges_cost_next_to_nothing() -> None:
    target = hypercore_targets.ClientTarget(random.Random(1))
    target.make()
    target.kind = m.Type.RANGE
    assert campaign._weigh(target, m.Range(1, 2**50).encode()) == ACCEPTED
