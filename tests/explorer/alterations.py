"""Altering one value deep inside a tree of frozen dataclasses, tuples and dicts."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

Path = tuple[Any, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """The paths of all values that are not made of others; empty and absent ones have none."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from leaves(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, int | bytes):
        yield path


def at(value: Any, path: Path) -> Any:
    """The value at a path."""
    for step in path:
        value = getattr(value, step) if is_dataclass(value) else value[step]
    return value


def altered(value: Any, path: Path, new: Any) -> Any:
    """A copy with another value at a path."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if is_dataclass(value):
        return replace(value, **{step: altered(getattr(value, step), rest, new)})
    if isinstance(value, tuple):
        return (*value[:step], altered(value[step], rest, new), *value[step + 1 :])
    return {**value, step: altered(value[step], rest, new)}


def another(value: Any) -> Any:
    """Some other value of the same kind."""
    match value:
        case bool():
            return not value
        case enum.Enum():
            members = list(type(value))
            return members[(members.index(value) + 1) % len(members)]
        case int():
            return value + 1
        case bytes():
            return bytes([value[0] ^ 1]) + value[1:] if value else b"\0"
    raise TypeError(f"no other value for {value!r}")
