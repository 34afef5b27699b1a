"""Signed extrinsics: as substrate-interface makes them, and taken by the runtime."""

from __future__ import annotations

import dataclasses

import pytest
import sr25519
from hypothesis import given
from hypothesis import strategies as st
from local_socket import LocalSocket
from substrateinterface import Keypair, SubstrateInterface

from chain_types import metadata as md
from chain_types.calls import Id, TransferKeepAlive
from chain_types.errors import WrongRuntimeError
from chain_types.extrinsic import (
    SIGNATURE_ED25519,
    Era,
    Terms,
    UnknownExtensionError,
    check_extensions,
    extrinsic_hash,
    read_extrinsic,
    sign_extrinsic,
)
from chain_types.metadata import Metadata
from chain_types.runtime import Runtime, RuntimeVersion
from chain_types.scale import DecodeError, EncodeError
from chain_types.ss58 import ss58_encode
from chain_types.storage_keys import blake2_256
from datdot_node import Chain
from datdot_node.pool import PoolError
from offchain_worker.keys import KeyPair

SIGNATURE = bytes(range(64))


@pytest.fixture(scope="session")
def substrate(chain: Chain) -> SubstrateInterface:
    return SubstrateInterface(websocket=LocalSocket(chain))


def terms(chain: Chain, nonce: int = 0, tip: int = 0, period: int = 64) -> Terms:
    return Terms(chain.genesis_hash, Era.starting(0, period), chain.genesis_hash, nonce, tip)


@pytest.mark.parametrize(("nonce", "tip"), [(0, 0), (63, 1), (64, 2**40), (2**31, 2**100)])
def test_bytes_and_payload_are_those_of_substrate_interface(
    chain: Chain, runtime: Runtime, substrate: SubstrateInterface, nonce: int, tip: int
) -> None:
    alice, bob = Keypair.create_from_uri("//Alice"), Keypair.create_from_uri("//Bob")
    call = substrate.compose_call(
        "Balances", "transfer_keep_alive", {"dest": bob.ss58_address, "value": 10**15}
    )
    ours = runtime.encode_call(TransferKeepAlive(Id(bob.public_key), 10**15))
    assert ours == bytes(call.data.data)
    payloads = []

    def sign(payload: bytes) -> bytes:
        payloads.append(payload)
        return SIGNATURE

    extrinsic = sign_extrinsic(runtime, ours, alice.public_key, sign, terms(chain, nonce, tip))
    era = {"period": 64, "current": 0}
    payload = substrate.generate_signature_payload(call, era=dict(era), nonce=nonce, tip=tip)
    assert payloads == [bytes(payload.data)]
    theirs = substrate.create_signed_extrinsic(
        call,
        alice,
        era=dict(era),
        nonce=nonce,
        tip=tip,
        signature="0x01" + SIGNATURE.hex(),
    )
    assert extrinsic == bytes(theirs.data.data)
    read = read_extrinsic(runtime, extrinsic)
    assert read is not None
    assert (read.account, read.nonce, read.call) == (alice.public_key, nonce, ours)


def test_a_long_payload_is_hashed(chain: Chain, runtime: Runtime) -> None:
    payloads = []
    call = bytes(400)
    sign_extrinsic(
        runtime,
        call,
        bytes(32),
        lambda payload: payloads.append(payload) or SIGNATURE,
        terms(chain),
    )
    assert len(payloads[0]) == 32


def test_the_runtime_takes_it(runtime: Runtime) -> None:
    public, secret = sr25519.pair_from_seed(
        bytes.fromhex("e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a")
    )
    with Chain.open() as chain:
        call = runtime.encode_call(TransferKeepAlive(Id(bytes(range(32))), 10**13))
        extrinsic = sign_extrinsic(
            runtime,
            call,
            public,
            lambda payload: bytes(sr25519.sign((public, secret), payload)),
            terms(chain),
        )
        assert chain.submit(extrinsic) == extrinsic_hash(extrinsic) == blake2_256(extrinsic)
        block = chain.new_block()
        assert extrinsic in block.extrinsics
        unsigned = [item for item in block.extrinsics if item != extrinsic]
        assert [read_extrinsic(runtime, item) for item in unsigned] == [None]


def test_the_runtime_takes_a_key_of_ed25519_too(runtime: Runtime) -> None:
    key = KeyPair.from_seed(bytes(32))
    patch = {"balances": {"balances": [[ss58_encode(key.public), 10**15]]}}
    with Chain.open(genesis_patch=patch) as chain:
        call = runtime.encode_call(TransferKeepAlive(Id(bytes(range(32))), 10**13))
        wrong = sign_extrinsic(runtime, call, key.public, key.sign, terms(chain))
        with pytest.raises(PoolError, match="bad signature"):
            chain.submit(wrong)
        right = (runtime, call, key.public, key.sign, terms(chain), SIGNATURE_ED25519)
        # The same each time: what a simulation needs.
        assert sign_extrinsic(*right) == sign_extrinsic(*right)
        chain.submit(sign_extrinsic(*right))
        read = [read_extrinsic(runtime, item) for item in chain.new_block().extrinsics]
        (signed,) = [extrinsic for extrinsic in read if extrinsic is not None]
        assert (signed.account, signed.call) == (key.public, call)


@given(st.integers(0, 2**32 - 1), st.integers(2, 16))
def test_an_era_is_encoded_as_the_runtime_decodes_it(birth: int, exponent: int) -> None:
    """Decoding as sp-runtime's `Era` does: low four bits the period, the others the phase."""
    period = 2**exponent
    era = Era.starting(birth, period)
    encoded = int.from_bytes(era.encode(), "little")
    quantum = max(period >> 12, 1)
    assert 2 << (encoded % 16) == period
    phase = (encoded >> 4) * quantum
    assert phase < period
    decoded_birth = (max(birth, phase) - phase) // period * period + phase
    assert era.birth == decoded_birth <= birth < era.death
    assert birth - era.birth < quantum


@pytest.mark.parametrize("period", [0, 2, 3, 65, 2**17])
def test_other_periods_are_refused(period: int) -> None:
    with pytest.raises(ValueError, match="no power of two"):
        Era.starting(0, period)


def test_terms_out_of_range_are_refused(chain: Chain, runtime: Runtime) -> None:
    for wrong in (
        terms(chain, nonce=2**32),
        terms(chain, tip=2**128),
        dataclasses.replace(terms(chain), genesis=b"short"),
    ):
        with pytest.raises(EncodeError):
            sign_extrinsic(runtime, b"", bytes(32), lambda _: SIGNATURE, wrong)


def with_extension(runtime: Runtime, name: str, carried: int, additional: int) -> Runtime:
    metadata = runtime.metadata
    extension = md.Extension(name, carried, additional)
    others = metadata.extrinsic.extensions
    others = tuple(item for item in others if item.identifier != name)
    extrinsic = dataclasses.replace(metadata.extrinsic, extensions=(*others, extension))
    changed = dataclasses.replace(metadata, extrinsic=extrinsic)
    return Runtime(changed, runtime.version)


def primitive(metadata: Metadata, kind: md.Primitive) -> int:
    return next(
        portable.id
        for portable in metadata.types
        if portable.type.definition == md.PrimitiveType(kind)
    )


def empty(metadata: Metadata) -> int:
    return next(
        portable.id for portable in metadata.types if portable.type.definition == md.TupleType(())
    )


def test_an_unknown_extension_without_data_changes_nothing(
    chain: Chain, metadata: Metadata, runtime: Runtime
) -> None:
    other = with_extension(runtime, "CheckWeather", empty(metadata), empty(metadata))
    check_extensions(other)
    arguments = (b"call", bytes(32), lambda payload: payload.ljust(64)[:64], terms(chain))
    assert sign_extrinsic(other, *arguments) == sign_extrinsic(runtime, *arguments)


def test_an_unknown_extension_with_data_is_refused_by_name(
    metadata: Metadata, runtime: Runtime
) -> None:
    data, nothing = primitive(metadata, md.Primitive.U8), empty(metadata)
    carries = with_extension(runtime, "CheckWeather", data, nothing)
    with pytest.raises(UnknownExtensionError, match="extension CheckWeather carries data"):
        check_extensions(carries)
    signs = with_extension(runtime, "CheckWeather", nothing, data)
    with pytest.raises(UnknownExtensionError, match="extension CheckWeather signs data"):
        check_extensions(signs)


def test_a_known_extension_of_another_shape_is_refused_by_name(
    metadata: Metadata, runtime: Runtime
) -> None:
    other = with_extension(
        runtime, "CheckNonce", primitive(metadata, md.Primitive.U64), empty(metadata)
    )
    with pytest.raises(WrongRuntimeError, match="extension CheckNonce: Compact expected"):
        check_extensions(other)


def test_another_version_is_refused(metadata: Metadata) -> None:
    extrinsic = dataclasses.replace(metadata.extrinsic, version=5)
    other = Runtime(
        dataclasses.replace(metadata, extrinsic=extrinsic), RuntimeVersion("datdot", 1, 1)
    )
    with pytest.raises(WrongRuntimeError, match="version 5"):
        check_extensions(other)


@pytest.mark.parametrize("data", ["", "00", "0484", "0883", "0c840200", "048400", "0c850000"])
def test_malformed_extrinsics_are_refused(runtime: Runtime, data: str) -> None:
    with pytest.raises(DecodeError):
        read_extrinsic(runtime, bytes.fromhex(data))
