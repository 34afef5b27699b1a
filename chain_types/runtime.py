"""One runtime of the chain: encodes calls, decodes events and errors.

A `Runtime` is made of metadata and version once and does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from chain_types import metadata as md
from chain_types.calls import CALLS
from chain_types.errors import WrongRuntimeError
from chain_types.events import EVENTS
from chain_types.registry import Choice, Registry
from chain_types.scale import (
    U32,
    Codec,
    Compact,
    DecodeError,
    Hash,
    Limit,
    Reader,
    codec_of,
    struct,
    variants,
)
from chain_types.storage_keys import Item, Map
from chain_types.words import Call, Event

T = TypeVar("T")

MAX_EVENTS = 2**16


@dataclass(frozen=True)
class RuntimeVersion:
    """What of the runtime's version transactions sign."""

    spec_name: str
    spec_version: int
    transaction_version: int


@dataclass(frozen=True)
class OtherEvent:
    """An event that has no dataclass here.

    Attributes:
        pallet, name: which.
        fields: as `registry` reads them: a dict by name, a tuple, or a single value.
    """

    pallet: str
    name: str
    fields: Any


@dataclass(frozen=True)
class EventRecord:
    """An event of a block.

    Attributes:
        extrinsic: place of the extrinsic that it belongs to, None outside of extrinsics.
        event: one of `chain_types.events`, or OtherEvent.
    """

    extrinsic: int | None
    event: Event | OtherEvent


@dataclass(frozen=True)
class DispatchError:
    """Why a call was undone.

    Attributes:
        pallet: whose error it is, "" for those of the runtime itself.
        name: the error, such as `NotActive`, or `Token.FundsUnavailable`.
        docs: the runtime's explanation.
    """

    pallet: str
    name: str
    docs: str = ""

    def __str__(self) -> str:
        name = f"{self.pallet}.{self.name}" if self.pallet else self.name
        return f"{name}: {self.docs.rstrip('.')}" if self.docs else name


@dataclass(frozen=True)
class ApplyExtrinsic:
    """Phase: while the extrinsic at this place was applied."""

    index: U32


@dataclass(frozen=True)
class Finalization:
    """Phase: at the end of the block."""


@dataclass(frozen=True)
class Initialization:
    """Phase: at the beginning of the block."""


_PHASE = variants(
    ApplyExtrinsic=ApplyExtrinsic, Finalization=Finalization, Initialization=Initialization
)
_TOPICS: Codec[tuple[bytes, ...]] = codec_of(Annotated[tuple[Hash, ...], Limit(64)])


class Runtime:
    """The words of one runtime.

    Attributes:
        metadata, version: what it was made of.
        registry: its types.
    """

    def __init__(self, metadata: md.Metadata, version: RuntimeVersion) -> None:
        self.metadata = metadata
        self.version = version
        self.registry = Registry(metadata.types)
        self._pallets = {pallet.name: pallet for pallet in metadata.pallets}
        self._calls = self._by_index(lambda pallet: pallet.calls)
        self._events = self._by_index(lambda pallet: pallet.events)
        self._errors = self._by_index(lambda pallet: pallet.errors)

    def _by_index(
        self, kind: Callable[[md.Pallet], int | None]
    ) -> Mapping[tuple[int, int], tuple[str, md.Variant]]:
        return {
            (pallet.index, variant.index): (pallet.name, variant)
            for pallet in self.metadata.pallets
            for variant in self._variants(kind(pallet)).values()
        }

    def pallet(self, name: str) -> md.Pallet:
        """Return a pallet.

        Raises:
            WrongRuntimeError: there is none of this name.
        """
        try:
            return self._pallets[name]
        except KeyError:
            raise WrongRuntimeError(f"the runtime has no pallet {name}") from None

    def calls(self, pallet: str) -> Mapping[str, md.Variant]:
        """Return the calls of a pallet by name."""
        return self._variants(self.pallet(pallet).calls)

    def events(self, pallet: str) -> Mapping[str, md.Variant]:
        """Return the events of a pallet by name."""
        return self._variants(self.pallet(pallet).events)

    def errors(self, pallet: str) -> Mapping[str, md.Variant]:
        """Return the errors of a pallet by name."""
        return self._variants(self.pallet(pallet).errors)

    def storage(self, pallet: str) -> Mapping[str, md.StorageEntry]:
        """Return the storage entries of a pallet by name."""
        storage = self.pallet(pallet).storage
        return {entry.name: entry for entry in storage.entries} if storage else {}

    def _variants(self, identifier: int | None) -> Mapping[str, md.Variant]:
        if identifier is None:
            return {}
        return {variant.name: variant for variant in self.registry.variants(identifier)}

    def constant(self, pallet: str, name: str, codec: Codec[T]) -> T:
        """Return a constant of a pallet.

        Raises:
            WrongRuntimeError: it does not exist or is of another type.
        """
        for constant in self.pallet(pallet).constants:
            if constant.name == name:
                difference = self.registry.difference(codec, constant.type)
                if difference is not None:
                    raise WrongRuntimeError(f"constant {pallet}.{name}: {difference}")
                return codec.decode(constant.value)
        raise WrongRuntimeError(f"the runtime has no constant {pallet}.{name}")

    def default(self, entry: Item[Any] | Map[Any]) -> Any:
        """Return what an absent value of a storage entry means."""
        if entry.optional:
            return None
        return entry.value.decode(self.storage(entry.pallet)[entry.name].default)

    def encode_call(self, call: Call) -> bytes:
        """Return the bytes of a call: pallet, call, arguments.

        Raises:
            EncodeError: an argument is out of bounds.
            WrongRuntimeError: the runtime has no such call.
        """
        pallet = self.pallet(call.pallet)
        try:
            variant = self.calls(call.pallet)[call.name]
        except KeyError:
            raise WrongRuntimeError(f"the runtime has no call {call.pallet}.{call.name}") from None
        arguments = struct(type(call)).encode(call)
        return bytes([pallet.index, variant.index]) + arguments

    def decode_call(self, data: bytes) -> Call:
        """Return the call of which `data` are the bytes.

        Raises:
            DecodeError: it is none of `chain_types.calls`, or malformed.
        """
        source = Reader(data)
        pallet_index, call_index = source.take(2)
        if (pallet_index, call_index) not in self._calls:
            raise DecodeError(f"the runtime has no call {pallet_index}.{call_index}")
        pallet, variant = self._calls[pallet_index, call_index]
        kind = CALLS.get((pallet, variant.name))
        if kind is None:
            raise DecodeError(f"call {pallet}.{variant.name} is not known here")
        try:
            return struct(kind).decode(data[source.offset :])
        except DecodeError as error:
            raise error.within(f"{pallet}.{variant.name}") from None

    def decode_events(self, data: bytes) -> tuple[EventRecord, ...]:
        """Return the events of a block from the value of `System.Events`.

        Raises:
            DecodeError: it is malformed.
        """
        source = Reader(data)
        count = Compact(limit=MAX_EVENTS).read(source)
        records = []
        for index in range(count):
            try:
                phase = _PHASE.read(source)
                event = self._read_event(source)
                _TOPICS.read(source)
            except DecodeError as error:
                raise error.within(f"events[{index}]") from None
            place = phase.index if isinstance(phase, ApplyExtrinsic) else None
            records.append(EventRecord(place, event))
        if source.left:
            raise DecodeError(f"{source.left} bytes follow the events")
        return tuple(records)

    def _read_event(self, source: Reader) -> Event | OtherEvent:
        pallet_index, event_index = source.take(2)
        if (pallet_index, event_index) not in self._events:
            raise DecodeError(f"the runtime has no event {pallet_index}.{event_index}")
        pallet, variant = self._events[pallet_index, event_index]
        kind = EVENTS.get((pallet, variant.name))
        try:
            if kind is not None:
                return struct(kind).read(source)
            fields = self.registry.read_fields(variant.fields, source)
        except DecodeError as error:
            raise error.within(f"{pallet}.{variant.name}") from None
        return OtherEvent(pallet, variant.name, fields)

    def dispatch_error(self, value: Any) -> DispatchError:
        """Return a plain value of the runtime's `DispatchError` with pallet and name.

        Raises:
            DecodeError: it is none.
        """
        if not isinstance(value, Choice):
            raise DecodeError("no dispatch error")
        if value.name == "Module" and isinstance(value.value, dict):
            place = (value.value["index"], value.value["error"][0])
            if place not in self._errors:
                raise DecodeError(f"the runtime has no error {place[0]}.{place[1]}")
            pallet, variant = self._errors[place]
            docs = " ".join(part.strip() for part in variant.docs)
            return DispatchError(pallet, variant.name, docs)
        if isinstance(value.value, Choice):
            return DispatchError("", f"{value.name}.{value.value.name}")
        return DispatchError("", value.name)

    def outcome(self, records: Iterable[EventRecord], extrinsic: int) -> DispatchError | None:
        """Return why the extrinsic at a place of a block was undone; None if it was not.

        Raises:
            DecodeError: the block's events do not say how it ended.
        """
        for record in records:
            event = record.event
            if (
                record.extrinsic == extrinsic
                and isinstance(event, OtherEvent)
                and event.pallet == "System"
            ):
                if event.name == "ExtrinsicSuccess":
                    return None
                if event.name == "ExtrinsicFailed":
                    return self.dispatch_error(event.fields["dispatch_error"])
        raise DecodeError(f"the events do not say how extrinsic {extrinsic} ended")
