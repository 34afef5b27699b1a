"""Signed extrinsics, version 4: built from the runtime's own list of extensions, and read back.

Source: sp-runtime's `UncheckedExtrinsic`, `MultiAddress`, `MultiSignature`, `Era`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from chain_types.errors import WrongRuntimeError
from chain_types.metadata import Extension
from chain_types.runtime import Runtime
from chain_types.scale import Bytes, Codec, Compact, DecodeError, FixedBytes, Int, Reader, Unit
from chain_types.storage_keys import blake2_256

EXTRINSIC_VERSION = 4
SIGNED = 0x80
ADDRESS_ID = 0
SIGNATURE_ED25519 = 0
SIGNATURE_SR25519 = 1
SIGNATURE_BYTES = {0: 64, 1: 64, 2: 65}

MAX_EXTRINSIC_BYTES = 5 * 2**20
MAX_UNHASHED_PAYLOAD_BYTES = 256
MAX_NONCE = 2**32 - 1

_HASH = FixedBytes(32)
_U32 = Int(4)
_NONCE = Compact(limit=MAX_NONCE)
_TIP = Compact()


@dataclass(frozen=True)
class Era:
    """The blocks in which an extrinsic may be applied: `birth` < number < `death`.

    Attributes:
        birth: number of the block whose hash is signed.
        period: how many blocks it is valid, a power of two from 4 to 65,536.
    """

    birth: int
    period: int

    @classmethod
    def starting(cls, birth: int, period: int) -> Era:
        """Return the era that begins with block `birth`, or with the last one that can be named.

        Raises:
            ValueError: the period is no power of two from 4 to 65,536.
        """
        if not (4 <= period <= 2**16 and period.bit_count() == 1):
            raise ValueError(f"{period} is no power of two from 4 to 65536")
        return cls(birth - birth % _quantum(period), period)

    @property
    def death(self) -> int:
        """The first block in which the extrinsic is no longer valid."""
        return self.birth + self.period

    def encode(self) -> bytes:
        """Return the two bytes of the era."""
        phase = self.birth % self.period // _quantum(self.period)
        exponent = self.period.bit_length() - 2
        return (exponent | phase << 4).to_bytes(2, "little")


def _quantum(period: int) -> int:
    return max(period >> 12, 1)


@dataclass(frozen=True)
class Terms:
    """What a transaction signs besides the call.

    Attributes:
        genesis: hash of the chain's first block.
        era: when it is valid.
        checkpoint: hash of the block `era.birth`.
        nonce: how many transactions the account has sent before.
        tip: for the block's author.
    """

    genesis: bytes
    era: Era
    checkpoint: bytes
    nonce: int
    tip: int = 0


class UnknownExtensionError(WrongRuntimeError):
    """The runtime wants data in transactions that this software does not know."""


_SHAPES: dict[str, tuple[Codec[Any] | None, Codec[Any]]] = {
    "CheckSpecVersion": (Unit(), _U32),
    "CheckTxVersion": (Unit(), _U32),
    "CheckGenesis": (Unit(), _HASH),
    # The type of an era is an enum of 256 variants that says no more than its name.
    "CheckMortality": (None, _HASH),
    "CheckNonce": (_NONCE, Unit()),
    "ChargeTransactionPayment": (_TIP, Unit()),
}


def check_extensions(runtime: Runtime) -> None:
    """Make sure that transactions can be built for a runtime.

    Raises:
        UnknownExtensionError: an extension carries data and is not known.
        WrongRuntimeError: a known extension, the version or the kind of signatures differs.
    """
    extrinsic = runtime.metadata.extrinsic
    if extrinsic.version != EXTRINSIC_VERSION:
        raise WrongRuntimeError(f"extrinsics of version {extrinsic.version}, only 4 is known")
    parameters = {
        parameter.name: parameter.type
        for parameter in runtime.registry.type(extrinsic.type).parameters
    }
    _check_variant(runtime, parameters.get("Address"), ADDRESS_ID, "Id")
    _check_variant(runtime, parameters.get("Signature"), SIGNATURE_SR25519, "Sr25519")
    for extension in extrinsic.extensions:
        _check_extension(runtime, extension)


def _check_variant(runtime: Runtime, identifier: int | None, index: int, name: str) -> None:
    if identifier is None:
        raise WrongRuntimeError("the metadata does not say how extrinsics are signed")
    for variant in runtime.registry.variants(identifier):
        if variant.index == index and variant.name == name:
            return
    kind = runtime.registry.describe(identifier)
    raise WrongRuntimeError(f"{kind} has no variant {name} with index {index}")


def _check_extension(runtime: Runtime, extension: Extension) -> None:
    name = extension.identifier
    if name not in _SHAPES:
        if not runtime.registry.is_empty(extension.type):
            raise UnknownExtensionError(
                f"transaction extension {name} carries data and is not known"
            )
        if not runtime.registry.is_empty(extension.additional):
            raise UnknownExtensionError(f"transaction extension {name} signs data and is not known")
        return
    for codec, identifier in zip(
        _SHAPES[name], (extension.type, extension.additional), strict=True
    ):
        if codec is not None:
            difference = runtime.registry.difference(codec, identifier)
            if difference is not None:
                raise WrongRuntimeError(f"transaction extension {name}: {difference}")


def _extension_bytes(runtime: Runtime, name: str, terms: Terms) -> tuple[bytes, bytes]:
    """Return what an extension carries, and what it signs besides."""
    match name:
        case "CheckSpecVersion":
            return b"", _U32.encode(runtime.version.spec_version)
        case "CheckTxVersion":
            return b"", _U32.encode(runtime.version.transaction_version)
        case "CheckGenesis":
            return b"", _HASH.encode(terms.genesis)
        case "CheckMortality":
            return terms.era.encode(), _HASH.encode(terms.checkpoint)
        case "CheckNonce":
            return _NONCE.encode(terms.nonce), b""
        case "ChargeTransactionPayment":
            return _TIP.encode(terms.tip), b""
        case _:
            return b"", b""


def sign_extrinsic(
    runtime: Runtime,
    call: bytes,
    account: bytes,
    sign: Callable[[bytes], bytes],
    terms: Terms,
    kind: int = SIGNATURE_SR25519,
) -> bytes:
    """Return a signed extrinsic with its length prefix, as `author_submitExtrinsic` takes it.

    Args:
        runtime: for which it is.
        call: bytes of the call.
        account: 32 bytes, the public key of the sender.
        sign: makes the 64-byte signature of a message.
        terms: what is signed besides.
        kind: of the key, `SIGNATURE_SR25519` or `SIGNATURE_ED25519`.

    Raises:
        UnknownExtensionError: an extension carries data and is not known.
        WrongRuntimeError: the runtime's extrinsics differ in another way.
        EncodeError: a term is out of range.
    """
    check_extensions(runtime)
    parts = [
        _extension_bytes(runtime, extension.identifier, terms)
        for extension in runtime.metadata.extrinsic.extensions
    ]
    carried = b"".join(data for data, _ in parts)
    payload = call + carried + b"".join(additional for _, additional in parts)
    if len(payload) > MAX_UNHASHED_PAYLOAD_BYTES:
        payload = blake2_256(payload)
    body = b"".join(
        (
            bytes([SIGNED | EXTRINSIC_VERSION, ADDRESS_ID]),
            _HASH.encode(account),
            bytes([kind]),
            sign(payload),
            carried,
            call,
        )
    )
    return Bytes(MAX_EXTRINSIC_BYTES).encode(body)


def extrinsic_hash(extrinsic: bytes) -> bytes:
    """Return the hash by which a chain knows an extrinsic (with its length prefix)."""
    return blake2_256(extrinsic)


@dataclass(frozen=True)
class SignedExtrinsic:
    """An extrinsic of a block.

    Attributes:
        account: 32 bytes, who signed it.
        nonce: of the account.
        call: bytes of the call, for `Runtime.decode_call`.
    """

    account: bytes
    nonce: int
    call: bytes


def read_extrinsic(runtime: Runtime, extrinsic: bytes) -> SignedExtrinsic | None:
    """Read an extrinsic of a block; None for an unsigned one. The signature is not verified.

    Raises:
        DecodeError: it is malformed or of another version.
        UnknownExtensionError, WrongRuntimeError: the runtime's extrinsics are not known.
    """
    check_extensions(runtime)
    source = Reader(Bytes(MAX_EXTRINSIC_BYTES).decode(extrinsic))
    preamble = source.take(1)[0]
    if not preamble & SIGNED:
        return None
    if preamble != SIGNED | EXTRINSIC_VERSION:
        raise DecodeError(f"a signed extrinsic of version {preamble & 0x3F}")
    kind = source.take(1)[0]
    if kind != ADDRESS_ID:
        raise DecodeError(f"an address of kind {kind}")
    account = source.take(32)
    kind = source.take(1)[0]
    if kind not in SIGNATURE_BYTES:
        raise DecodeError(f"a signature of kind {kind}")
    source.take(SIGNATURE_BYTES[kind])
    nonce = 0
    for extension in runtime.metadata.extrinsic.extensions:
        match extension.identifier:
            case "CheckMortality":
                if source.take(1) != b"\0":
                    source.take(1)
            case "CheckNonce":
                nonce = _NONCE.read(source)
            case "ChargeTransactionPayment":
                _TIP.read(source)
            case _:
                pass
    return SignedExtrinsic(account, nonce, source.take(source.left))
