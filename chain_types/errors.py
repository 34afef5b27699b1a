"""What can be wrong with a chain as a whole."""

from __future__ import annotations


class WrongRuntimeError(Exception):
    """The chain's runtime is not the one that this software speaks to; the message says why."""
