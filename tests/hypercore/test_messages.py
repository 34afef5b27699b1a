from typing import Any

import pytest
from hypercore_feeds import load, node
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.hypercore import manifest as manifests
from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore import secret_stream
from offchain_worker.hypercore.errors import DecodeError

MESSAGES = load("messages.json")["messages"]
PROOFS = load("proofs.json")["proofs"]
CLASSES: list[Any] = [
    m.Handshake,
    m.Sync,
    m.Request,
    m.Cancel,
    m.Data,
    m.NoData,
    m.Want,
    m.Unwant,
    m.Bitfield,
    m.Range,
    m.Extension,
]


def nodes(values: list[Any]) -> tuple[Any, ...]:
    return tuple(node(value) for value in values)


def to_manifest(value: Any) -> manifests.Manifest | None:
    if value is None:
        return None
    if isinstance(value, str):
        return manifests.decode_manifest(bytes.fromhex(value))
    signers = tuple(
        manifests.Signer(bytes.fromhex(one["namespace"]), bytes.fromhex(one["publicKey"]))
        for one in value["signers"]
    )
    return manifests.Manifest(value["version"], value["allowPatch"], value["quorum"], signers)


def to_request(v: dict[str, Any]) -> m.Request:
    return m.Request(
        v["id"],
        v["fork"],
        block=v["block"] and m.RequestBlock(**v["block"]),
        hash=v["hash"] and m.RequestBlock(**v["hash"]),
        seek=v["seek"] and m.RequestSeek(**v["seek"]),
        upgrade=v["upgrade"] and m.RequestUpgrade(**v["upgrade"]),
        manifest=v["manifest"],
        priority=v["priority"],
    )


def to_data(v: dict[str, Any], request: int) -> m.Data:
    block, data_hash, seek, upgrade = v["block"], v["hash"], v["seek"], v["upgrade"]
    return m.Data(
        request,
        v["fork"],
        block=block
        and m.DataBlock(block["index"], bytes.fromhex(block["value"]), nodes(block["nodes"])),
        hash=data_hash and m.DataHash(data_hash["index"], nodes(data_hash["nodes"])),
        seek=seek and m.DataSeek(seek["bytes"], nodes(seek["nodes"])),
        upgrade=upgrade
        and m.DataUpgrade(
            upgrade["start"],
            upgrade["length"],
            nodes(upgrade["nodes"]),
            nodes(upgrade["additionalNodes"]),
            None if upgrade["signature"] is None else bytes.fromhex(upgrade["signature"]),
        ),
        manifest=to_manifest(v["manifest"]),
    )


def to_message(kind: str, v: dict[str, Any]) -> Any:
    match kind:
        case "handshake":
            return m.Handshake(v["seeks"], bytes.fromhex(v["capability"]))
        case "sync":
            return m.Sync(
                v["fork"],
                v["length"],
                v["remoteLength"],
                can_upgrade=v["canUpgrade"],
                uploading=v["uploading"],
                downloading=v["downloading"],
                has_manifest=v["hasManifest"],
                allow_push=v["allowPush"],
            )
        case "request":
            return to_request(v)
        case "cancel":
            return m.Cancel(v["request"])
        case "data":
            return to_data(v, v["request"])
        case "noData":
            return m.NoData(v["request"], v["reason"])
        case "want":
            return m.Want(v["start"], v["length"], v["any"])
        case "unwant":
            return m.Unwant(v["start"], v["length"], v["any"])
        case "bitfield":
            return m.Bitfield(v["start"], tuple(v["bitfield"]))
        case "range":
            return m.Range(v["start"], v["length"], v["drop"])
        case _:
            return m.Extension(v["name"], bytes.fromhex(v["message"]))


@pytest.mark.parametrize("case", MESSAGES, ids=lambda case: case["encoded"][:24])
def test_message_vectors(case: dict[str, Any]) -> None:
    encoded = bytes.fromhex(case["encoded"])
    message = to_message(case["type"], case["decoded"])
    assert message.encode() == encoded
    assert type(message).decode(encoded) == message
    assert type(message).decode(b"\xff\xff" + encoded, 2) == message
    if case["id"] is not None:
        assert m.Type(case["id"]).name.replace("_", "").lower() == case["type"].lower()


@pytest.mark.parametrize("case", PROOFS, ids=lambda case: str(case["request"]["id"]))
def test_proof_vectors(case: dict[str, Any]) -> None:
    request = to_request(case["request"])
    assert request.encode().hex() == case["request_encoded"]
    assert m.Request.decode(request.encode()) == request
    data = to_data(case["data"], request.id)
    assert data.encode().hex() == case["data_encoded"]
    assert m.Data.decode(data.encode()) == data


def test_a_refusal_of_an_older_peer() -> None:
    assert m.NoData.decode(b"\x07") == m.NoData(7, m.Reason.UNKNOWN)


def test_capability_vectors() -> None:
    for case in load("capabilities.json")["cases"]:
        key = bytes.fromhex(case["key"])
        handshake_hash = bytes.fromhex(case["handshake_hash"])
        for role in ("initiator", "responder"):
            initiator = role == "initiator"
            assert m.capability(handshake_hash, key, initiator=initiator).hex() == case[role]
            own_id = secret_stream.stream_id(handshake_hash, initiator=initiator)
            assert own_id.hex() == case[f"stream_id_{role}"]


@pytest.mark.parametrize("case", MESSAGES, ids=lambda case: case["encoded"][:24])
def test_a_message_that_is_cut_off_is_refused_or_another(case: dict[str, Any]) -> None:
    encoded = bytes.fromhex(case["encoded"])
    message = to_message(case["type"], case["decoded"])
    if isinstance(message, m.NoData):
        return  # its flags may be missing
    for cut in range(len(encoded)):
        try:
            assert type(message).decode(encoded[:cut]) != message
        except DecodeError:
            continue


def test_bounds() -> None:
    with pytest.raises(DecodeError):
        m.Data.decode(bytes.fromhex("01070000" + "ff" + "ffffffffffff1f00"))
    too_many = m.encode_nodes((node([0, 0, "00" * 32]),) * (m.MAX_PROOF_NODES + 1))
    with pytest.raises(DecodeError):
        m.Data.decode(bytes.fromhex("02070000") + too_many)
    with pytest.raises(DecodeError):
        m.Data.decode(bytes.fromhex("0107000000") + b"\x00" + b"\x00")
    huge = b"\xff" + b"\xff" * 8
    with pytest.raises(DecodeError):
        m.Data.decode(bytes.fromhex("020700000001") + b"\x00" + huge + bytes(32))


@given(st.sampled_from(CLASSES), st.binary(max_size=300))
def test_only_decode_errors_leave_the_decoders(kind: Any, data: bytes) -> None:
    try:
        message = kind.decode(data)
    except DecodeError:
        return
    assert kind.decode(message.encode()) == message


@given(st.sampled_from(MESSAGES), st.data())
def test_damaged_messages_are_refused_or_decode(case: dict[str, Any], data: st.DataObject) -> None:
    raw = bytearray.fromhex(case["encoded"])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    kind = type(to_message(case["type"], case["decoded"]))
    try:
        message = kind.decode(bytes(raw))
    except DecodeError:
        return
    assert kind.decode(message.encode()) == message
