"""What calls and events have in common: a pallet, a name, and fields in SCALE.

A subclass is a frozen dataclass that names its pallet when it is defined; its own name is the
event's name, and in snake case the call's.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar


def snake(name: str) -> str:
    """Return a name in camel case as snake case."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class Call:
    """A call of a pallet; the fields are its arguments."""

    pallet: ClassVar[str]
    name: ClassVar[str]

    def __init_subclass__(cls, *, pallet: str, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.pallet = pallet
        cls.name = snake(cls.__name__)


class Event:
    """An event of a pallet; the fields are what it tells."""

    pallet: ClassVar[str]
    name: ClassVar[str]

    def __init_subclass__(cls, *, pallet: str, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        cls.pallet = pallet
        cls.name = cls.__name__
