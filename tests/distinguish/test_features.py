"""What a hoster sees of a session, of sessions made by hand."""

import pytest

from distinguish.features import features


def test_one_after_the_other(script) -> None:
    """Four chunks of eight, a round trip of 50 ms, answered at once."""
    said = script(8)
    said.open(0.05)
    for index, nodes in ((0, 3), (1, 0), (6, 2), (5, 1)):
        said.ask(1, index, nodes)
        said.answer(1)
        said.wait(0.05)
    said.receipt()
    said.close()
    numbers, spacing = features(said.session)
    assert numbers["messages.open"] == numbers["messages.close"] == 1
    assert numbers["messages.sync"] == 3
    assert numbers["messages.sync_kinds"] == 2
    assert numbers["messages.batched"] == 2
    assert numbers["messages.cancel"] == numbers["messages.range"] == 0
    assert numbers["pattern.requests"] == numbers["pattern.answers"] == 4
    assert numbers["pattern.share"] == 0.5
    assert numbers["pattern.whole"] == numbers["pattern.left_open"] == 0
    assert numbers["pattern.follows"] == 0.25
    assert numbers["pattern.first"] == 0
    assert numbers["pattern.priority"] == numbers["pattern.highest_id"] == 1
    assert numbers["pattern.levels_off"] == numbers["pattern.ids_off"] == 0
    assert numbers["pattern.first_alone"] == 1
    assert numbers["receipts.count"] == 1
    assert numbers["receipts.answers_after_last"] == 0
    assert spacing["spacing.round_trip"] == pytest.approx(0.05)
    assert spacing["spacing.wait_p50"] == pytest.approx(0)
    assert spacing["spacing.gap_p50"] == pytest.approx(0.05)
    assert spacing["spacing.last_to_close"] == pytest.approx(0)
    assert spacing["spacing.burst_most"] == 1


def test_a_window(script) -> None:
    said = script(8)
    said.open(0.05)
    for request, index in enumerate((3, 7, 1), start=1):
        said.ask(request, index, 3, priority=0)
    said.wait(0.01)
    said.answer(1)
    said.answer(2)
    said.wait(0.052)
    said.ask(1, 0, 1, priority=0)
    said.close()
    numbers, spacing = features(said.session)
    assert numbers["pattern.first_alone"] == 3
    assert numbers["pattern.left_open"] == 2
    assert numbers["pattern.highest_id"] == 3
    assert numbers["pattern.priority"] == 0
    # The id that was freed last is 2, not 1.
    assert numbers["pattern.ids_off"] == 0.25
    assert spacing["spacing.burst_most"] == 3
    assert spacing["spacing.wait_p50"] == pytest.approx(0.002)


def test_everything_is_read_and_announced(script) -> None:
    said = script(2)
    said.open(0.01)
    for index in (1, 0):
        said.ask(1, index, 1 - (index == 0))
        said.answer(1)
    said.client(bytes([1, 8, 0, 0, 2]))
    said.close()
    numbers, _ = features(said.session)
    assert numbers["pattern.whole"] == numbers["messages.range"] == 1
    assert numbers["pattern.levels_off"] == 0


def test_a_session_that_ends_at_once(script) -> None:
    said = script(5)
    numbers, spacing = features(said.session)
    assert numbers["pattern.requests"] == 0
    other = script(5)
    other.open(0.01)
    other.close()
    more_numbers, more_spacing = features(other.session)
    assert numbers.keys() == more_numbers.keys()
    assert spacing.keys() == more_spacing.keys()
