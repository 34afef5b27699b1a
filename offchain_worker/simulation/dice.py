"""Streams of reproducible randomness: the only ones in a simulation."""

from __future__ import annotations

import random


def stream(seed: int | str) -> random.Random:
    """A stream of its own, the same for the same seed; never for keys that guard anything."""
    return random.Random(seed)  # noqa: S311
