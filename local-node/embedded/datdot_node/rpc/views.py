"""How blocks, versions and fees look in JSON."""

from typing import Any

from datdot_node.block import Block, Header
from datdot_node.rpc.params import to_hex
from datdot_node.scale import Reader

_CLASSES = ("normal", "operational", "mandatory")


def header(value: Header) -> dict[str, Any]:
    """A header."""
    return {
        "parentHash": to_hex(value.parent_hash),
        "number": hex(value.number),
        "stateRoot": to_hex(value.state_root),
        "extrinsicsRoot": to_hex(value.extrinsics_root),
        "digest": {"logs": [to_hex(item) for item in value.digest]},
    }


def signed_block(value: Block) -> dict[str, Any]:
    """A block with its extrinsics; there are no justifications."""
    return {
        "block": {
            "header": header(value.header),
            "extrinsics": [to_hex(extrinsic) for extrinsic in value.extrinsics],
        },
        "justifications": None,
    }


def runtime_version(encoded: bytes) -> dict[str, Any]:
    """The answer of `Core_version`."""
    reader = Reader(encoded)
    shown: dict[str, Any] = {"specName": reader.text(), "implName": reader.text()}
    for name in ("authoringVersion", "specVersion", "implVersion"):
        shown[name] = reader.u32()
    shown["apis"] = [[to_hex(reader.take(8)), reader.u32()] for _ in range(reader.length())]
    shown["transactionVersion"] = reader.u32()
    shown["systemVersion"] = shown["stateVersion"] = reader.u8()
    return shown


def runtime_specification(encoded: bytes) -> dict[str, Any]:
    """The answer of `Core_version` as `chainHead_v1_follow` shows a runtime."""
    shown = runtime_version(encoded)
    names = ("specName", "implName", "specVersion", "implVersion", "transactionVersion")
    specification = {name: shown[name] for name in names}
    return {"type": "valid", "spec": {**specification, "apis": dict(shown["apis"])}}


def dispatch_info(encoded: bytes) -> dict[str, Any]:
    """The answer of `TransactionPaymentApi_query_info`."""
    reader = Reader(encoded)
    weight = {"ref_time": reader.compact(), "proof_size": reader.compact()}
    return {"weight": weight, "class": _CLASSES[reader.u8()], "partialFee": str(reader.u128())}


def fee_details(encoded: bytes) -> dict[str, Any]:
    """The answer of `TransactionPaymentApi_query_fee_details`."""
    reader = Reader(encoded)
    if not reader.u8():
        return {"inclusionFee": None}
    names = ("baseFee", "lenFee", "adjustedWeightFee")
    return {"inclusionFee": {name: hex(reader.u128()) for name in names}}
