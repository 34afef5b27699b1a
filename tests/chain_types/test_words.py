"""Our words are the runtime's: every call, event, storage entry and constant, both ways."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from chain_types import constants, scale, storage
from chain_types import metadata as md
from chain_types.calls import CALLS, CommitFlip, ReportFraud
from chain_types.check import check_runtime, check_words
from chain_types.errors import WrongRuntimeError
from chain_types.events import EVENTS
from chain_types.metadata import Hasher, Metadata
from chain_types.records import (
    Deadline,
    Duty,
    Endpoint,
    HosterPage,
    OpenChallenge,
    Rank,
    ToAnswer,
    ToAudit,
    ToCommit,
    ToFlip,
    ToReport,
    ToServe,
    UntilBoth,
    UntilDeadline,
    UntilTimestamp,
)
from chain_types.report import BadReveal, Equivocation, encode_proof
from chain_types.runtime import Runtime, RuntimeVersion
from chain_types.scale import struct
from chain_types.storage_keys import Item, Map
from chain_types.words import Call, Event

OURS = ("Providers", "Hosting", "Performance")

# Carries the runtime's own DispatchError, which has no dataclass here.
UNTYPED_EVENTS = {("Performance", "PaymentFailed")}

# The pallets' own bookkeeping: nobody outside reads it.
UNREAD_ENTRIES = {
    ("Providers", "EligiblePosition"),
    ("Providers", "Tasks"),
    ("Providers", "AllowPrivateEndpoints"),
    ("Performance", "Started"),
    ("Performance", "CommitEnds"),
    ("Performance", "Queue"),
    ("Performance", "Turn"),
    ("Performance", "Turns"),
    ("Performance", "Ranking"),
    ("Performance", "Agenda"),
    ("Performance", "NextLook"),
    ("Performance", "ReceiptsToForget"),
}


def check(runtime: Runtime, **words: Any) -> None:
    check_runtime(
        runtime,
        **{"calls": (), "events": (), "storage_entries": (), "constant_types": (), **words},
    )


def test_the_runtime_speaks_all_of_our_words(runtime: Runtime) -> None:
    check_words(runtime)


@pytest.mark.parametrize("pallet", OURS)
def test_we_know_every_call(runtime: Runtime, pallet: str) -> None:
    ours = {name for known, name in CALLS if known == pallet}
    assert set(runtime.calls(pallet)) == ours


@pytest.mark.parametrize("pallet", OURS)
def test_we_know_every_event(runtime: Runtime, pallet: str) -> None:
    ours = {name for known, name in EVENTS if known == pallet}
    untyped = {name for known, name in UNTYPED_EVENTS if known == pallet}
    assert set(runtime.events(pallet)) == ours | untyped


@pytest.mark.parametrize("pallet", OURS)
def test_we_know_every_storage_entry(runtime: Runtime, pallet: str) -> None:
    ours = {entry.name for entry in storage.ENTRIES if entry.pallet == pallet}
    unread = {name for known, name in UNREAD_ENTRIES if known == pallet}
    assert set(runtime.storage(pallet)) - {":__STORAGE_VERSION__:"} == ours | unread


def test_pallets_have_their_indices(runtime: Runtime) -> None:
    assert [runtime.pallet(name).index for name in OURS] == [7, 8, 9]


def test_constants_can_be_read(runtime: Runtime) -> None:
    found = constants.read_constants(runtime)
    assert all(value > 0 for value in dataclasses.astuple(found))


def test_defaults_are_decoded(runtime: Runtime) -> None:
    assert runtime.default(storage.HISTORY) == ()
    assert runtime.default(storage.EXPULSIONS) == ()
    assert runtime.default(storage.CHALLENGES) is None
    assert runtime.default(storage.NEXT_CHALLENGE) == 0


def test_another_name_is_refused(metadata: Metadata) -> None:
    other = Runtime(metadata, RuntimeVersion("polkadot", 1, 1))
    with pytest.raises(WrongRuntimeError, match="the chain runs 'polkadot', not 'datdot'"):
        check_words(other)


def test_a_missing_pallet_is_named(metadata: Metadata) -> None:
    pallets = tuple(pallet for pallet in metadata.pallets if pallet.name != "Performance")
    other = Runtime(dataclasses.replace(metadata, pallets=pallets), RuntimeVersion("datdot", 9, 1))
    with pytest.raises(
        WrongRuntimeError, match="runtime datdot 9 does not fit: the runtime has no pallet Perf"
    ):
        check_words(other)


def test_other_arguments_are_named(runtime: Runtime) -> None:
    class Drain(Call, pallet="Providers"):
        role: scale.U8

    class Undrain(Call, pallet="Providers"):
        who: scale.U8

    class Vanish(Call, pallet="Providers"):
        pass

    for call, words in (
        (dataclass(frozen=True)(Drain), "call Providers.drain: role: u8 expected"),
        (dataclass(frozen=True)(Undrain), "call Providers.undrain: fields who expected"),
        (dataclass(frozen=True)(Vanish), "it has no call Providers.vanish"),
    ):
        with pytest.raises(WrongRuntimeError, match=words):
            check(runtime, calls=[call])


def test_other_events_are_named(runtime: Runtime) -> None:
    class EndpointSet(Event, pallet="Providers"):
        account: scale.Hash
        role: scale.U8
        endpoint: Endpoint

    with pytest.raises(WrongRuntimeError, match=r"event Providers.EndpointSet: role: u8 expected"):
        check(runtime, events=[dataclass(frozen=True)(EndpointSet)])


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (dataclasses.replace(storage.TIMING, value=scale.Int(4)), "u32 expected"),
        (dataclasses.replace(storage.TIMING, optional=True), "it is default there"),
        (dataclasses.replace(storage.TIMING, name="Timings"), "it has no storage"),
        (dataclasses.replace(storage.FLIPS, optional=False), "it is optional there"),
        (
            dataclasses.replace(storage.FLIPS, keys=((Hasher.TWOX_64_CONCAT, scale.Int(4)),)),
            "key: u32 expected",
        ),
        (
            dataclasses.replace(storage.FLIPS, keys=((Hasher.IDENTITY, scale.Int(8)),)),
            "its hashers are",
        ),
        (Item("Performance", "Flips", scale.Int(8), optional=True), "it is a MapEntry there"),
    ],
)
def test_other_storage_is_named(runtime: Runtime, entry: Item[Any] | Map[Any], words: str) -> None:
    with pytest.raises(WrongRuntimeError, match=words):
        check(runtime, storage_entries=[entry])


def test_other_constants_are_named(runtime: Runtime) -> None:
    with pytest.raises(WrongRuntimeError, match=r"constant Providers.AttestorBond: u32 expected"):
        check(runtime, constant_types=[("Providers", "AttestorBond", scale.Int(4))])
    with pytest.raises(WrongRuntimeError, match=r"has no constant Providers.Bond"):
        check(runtime, constant_types=[("Providers", "Bond", scale.Int(4))])


def test_calls_round_trip_through_the_runtimes_indices(runtime: Runtime) -> None:
    call = CALLS["Performance", "close_challenge"](17)  # type: ignore[call-arg]
    data = runtime.encode_call(call)
    assert data[0] == 9
    assert runtime.decode_call(data) == call
    with pytest.raises(scale.DecodeError, match=r"Performance.close_challenge: 1 bytes follow"):
        runtime.decode_call(data + b"\0")
    with pytest.raises(scale.DecodeError, match=r"no call 99.0"):
        runtime.decode_call(bytes([99, 0]))
    with pytest.raises(scale.DecodeError, match=r"call System.remark is not known here"):
        runtime.decode_call(bytes([0, 0]))


@pytest.mark.parametrize(
    ("proof", "data"),
    [
        (Equivocation(7, 1, b"\x01", b"\x02"), "00" + "0700000000000000" + "01000000" + "04010402"),
        (BadReveal(7, 1, b"\x01", b"\x02"), "01" + "0700000000000000" + "01000000" + "04010402"),
    ],
)
def test_proofs_are_sent_as_they_travel(runtime: Runtime, proof: Any, data: str) -> None:
    """The argument of `report_fraud` has the bytes of evidence between attestors."""
    assert encode_proof(proof).hex() == data
    encoded = runtime.encode_call(ReportFraud(proof))
    assert encoded == bytes([9, 5]) + encode_proof(proof)
    assert runtime.decode_call(encoded) == ReportFraud(proof)
    commit = runtime.encode_call(CommitFlip(7, b"z" * 32))
    assert commit == bytes([9, 2]) + (7).to_bytes(8, "little") + b"z" * 32


def test_open_challenges_have_the_shape_of_the_runtime_api() -> None:
    """Runtime APIs are not in metadata of this version: the pallet's type is copied here."""
    names = [field.name for field in dataclasses.fields(OpenChallenge)]
    assert names == ["id", "index", "stage", "reported"]


def test_duties_and_pages_have_the_shape_of_the_runtime_api() -> None:
    """As above; what a page has of a hoster is in storage too, and compared there."""
    account = bytes(range(32))
    duties = {
        Duty(7, ToFlip(), UntilTimestamp(258)): "070000000000000000000201000000000000",
        Duty(7, ToCommit(), UntilBoth(1, 2)): ("07000000000000000101010000000000000002000000"),
        Duty(7, ToAudit(), UntilTimestamp(0)): "070000000000000002000000000000000000",
        Duty(7, ToReport(), UntilDeadline(Deadline(3, 4))): (
            "07000000000000000302030000000000000004000000"
        ),
        Duty(7, ToServe(), UntilTimestamp(0)): "070000000000000004000000000000000000",
        Duty(7, ToAnswer(account, 9), UntilTimestamp(0)): (
            "070000000000000005" + account.hex() + "0900000000000000000000000000000000"
        ),
    }
    for duty, data in duties.items():
        assert struct(Duty).encode(duty).hex() == data
        assert struct(Duty).decode(bytes.fromhex(data)) == duty
    page = HosterPage((), Rank(b"\0\0\x01\x02", account))
    assert struct(HosterPage).encode(page).hex() == "000100000102" + account.hex()


def test_every_type_of_the_runtime_can_be_described(runtime: Runtime, metadata: Metadata) -> None:
    for portable in metadata.types:
        if not isinstance(portable.type.definition, md.BitSequenceType):
            assert runtime.registry.describe(portable.id)
