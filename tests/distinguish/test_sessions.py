"""In what the sessions run that a hoster is to tell apart."""

import random
from collections import Counter

from distinguish.sessions import evenly_spread


def test_each_kind_has_all_habits_and_links_alike() -> None:
    dice = random.Random(1)
    kinds = ["audit"] * 80 + ["npm"] * 40
    dice.shuffle(kinds)
    conditions = evenly_spread(kinds, 4, dice)
    counts = Counter(zip(kinds, conditions, strict=True))
    assert {count for (kind, _), count in counts.items() if kind == "audit"} == {10}
    assert {count for (kind, _), count in counts.items() if kind == "npm"} == {5}
    assert len(counts) == 16
    # In no order that could be learnt.
    assert len({tuple(conditions[place : place + 8]) for place in range(0, 120, 8)}) > 10
