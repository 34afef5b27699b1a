"""Whether a chain's runtime is the one that this software speaks to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chain_types import constants, storage
from chain_types import metadata as md
from chain_types.calls import CALLS
from chain_types.errors import WrongRuntimeError
from chain_types.events import EVENTS
from chain_types.extrinsic import check_extensions
from chain_types.runtime import Runtime
from chain_types.scale import Codec, DecodeError, Tuple, struct
from chain_types.storage_keys import Item, Map
from chain_types.words import Call, Event

SPEC_NAME = "datdot"


def check_words(runtime: Runtime) -> None:
    """Make sure that a runtime speaks all of our words and takes our transactions.

    Raises:
        WrongRuntimeError: naming the first difference.
    """
    check_runtime(
        runtime,
        calls=CALLS.values(),
        events=EVENTS.values(),
        storage_entries=storage.ENTRIES,
        constant_types=constants.ALL,
    )
    check_extensions(runtime)


def check_runtime(
    runtime: Runtime,
    *,
    calls: Iterable[type[Call]],
    events: Iterable[type[Event]],
    storage_entries: Iterable[Item[Any] | Map[Any]],
    constant_types: Iterable[tuple[str, str, Codec[Any]]],
) -> None:
    """Compare a runtime with the words that this software speaks.

    Raises:
        WrongRuntimeError: with the first difference.
    """
    version = runtime.version
    if version.spec_name != SPEC_NAME:
        raise WrongRuntimeError(f"the chain runs {version.spec_name!r}, not {SPEC_NAME!r}")
    name = f"{version.spec_name} {version.spec_version}"
    try:
        for call in calls:
            _check_word(runtime, "call", call, runtime.calls(call.pallet))
        for event in events:
            _check_word(runtime, "event", event, runtime.events(event.pallet))
        for entry in storage_entries:
            _check_entry(runtime, entry)
        for pallet, constant, codec in constant_types:
            runtime.constant(pallet, constant, codec)
    except (WrongRuntimeError, DecodeError) as error:
        raise WrongRuntimeError(f"runtime {name} does not fit: {error}") from error


def _check_word(
    runtime: Runtime,
    what: str,
    word: type[Call | Event],
    theirs: Mapping[str, md.Variant],
) -> None:
    variant = theirs.get(word.name)
    if variant is None:
        raise WrongRuntimeError(f"it has no {what} {word.pallet}.{word.name}")
    difference = runtime.registry.fields_difference(struct(word), variant.fields)
    if difference is not None:
        raise WrongRuntimeError(f"{what} {word.pallet}.{word.name}: {difference}")


def _check_entry(runtime: Runtime, entry: Item[Any] | Map[Any]) -> None:
    name = f"storage {entry.pallet}.{entry.name}"
    theirs = runtime.storage(entry.pallet).get(entry.name)
    if theirs is None:
        raise WrongRuntimeError(f"it has no {name}")
    if (theirs.modifier is md.Modifier.OPTIONAL) != entry.optional:
        raise WrongRuntimeError(f"{name}: it is {theirs.modifier.name.lower()} there")
    match entry, theirs.kind:
        case Item(), md.PlainEntry(value):
            pass
        case Map(keys=keys), md.MapEntry(hashers, key, value):
            if tuple(hasher for hasher, _ in keys) != hashers:
                raise WrongRuntimeError(f"{name}: its hashers are {[h.name for h in hashers]}")
            if len(keys) == 1:
                difference = runtime.registry.difference(keys[0][1], key)
            else:
                difference = runtime.registry.difference(Tuple(tuple(k for _, k in keys)), key)
            if difference is not None:
                raise WrongRuntimeError(f"{name}, key: {difference}")
        case _:
            raise WrongRuntimeError(f"{name}: it is a {type(theirs.kind).__name__} there")
    difference = runtime.registry.difference(entry.value, value)
    if difference is not None:
        raise WrongRuntimeError(f"{name}: {difference}")
