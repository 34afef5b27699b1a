"""What the runtime says of a transaction: valid with its tags, invalid, or unknown."""

from dataclasses import dataclass

from datdot_node.errors import NodeError
from datdot_node.scale import Reader, ScaleError

_INVALID = (
    "Transaction call is not expected",
    "Inability to pay some fees (e.g. account balance too low)",
    "Transaction will be valid in the future",
    "Transaction is outdated",
    "Transaction has a bad signature",
    "Transaction has an ancient birth block",
    "Transaction would exhaust the block limits",
    "Custom error",
    "A call was labelled as mandatory, but resulted in an Error.",
    "Transaction dispatch is mandatory; transactions must not be validated.",
    "Invalid signing address",
    "The implicit data was unable to be calculated",
    "The transaction extension did not authorize any origin",
)
# Native nodes show these by their names.
_UNKNOWN = ("CannotLookup", "NoUnsignedValidator", "Custom")
_INVALID_CUSTOM, _UNKNOWN_CUSTOM = 7, 2
_EXHAUSTS_RESOURCES = 6


@dataclass(frozen=True, slots=True)
class Valid:
    """A valid transaction. `longevity`: for how many blocks it stays so if nothing happens."""

    priority: int
    requires: tuple[bytes, ...]
    provides: tuple[bytes, ...]
    longevity: int
    propagate: bool


class TransactionInvalid(NodeError):
    """The runtime holds the transaction for invalid; `reason` in the words of native nodes."""

    def __init__(self, reason: str, *, exhausts: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.exhausts = exhausts


class TransactionUnknown(NodeError):
    """The runtime cannot tell whether the transaction is valid."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _raise_error(reader: Reader) -> None:
    """Raises what an encoded `TransactionValidityError` says."""
    unknown, variant = reader.u8(), reader.u8()
    reasons = _UNKNOWN if unknown else _INVALID
    if unknown > 1 or variant >= len(reasons):
        raise ScaleError(f"unknown validity error {unknown}, {variant}")
    reason = reasons[variant]
    if unknown:
        raise TransactionUnknown(f"Custom({reader.u8()})" if variant == _UNKNOWN_CUSTOM else reason)
    if variant == _INVALID_CUSTOM:
        reason = f"{reason}: {reader.u8()}"
    raise TransactionInvalid(reason, exhausts=variant == _EXHAUSTS_RESOURCES)


def decode_validity(data: bytes) -> Valid:
    """The answer of `TaggedTransactionQueue_validate_transaction`.

    Raises `TransactionInvalid`, `TransactionUnknown` and `ScaleError`.
    """
    reader = Reader(data)
    if reader.u8():
        _raise_error(reader)
    priority = reader.u64()
    requires = tuple(reader.sized() for _ in range(reader.length()))
    provides = tuple(reader.sized() for _ in range(reader.length()))
    longevity, propagate = reader.u64(), reader.u8() != 0
    reader.end()
    return Valid(priority, requires, provides, longevity, propagate)


def check_applied(data: bytes) -> None:
    """The answer of `BlockBuilder_apply_extrinsic`; a failed dispatch is applied all the same.

    Raises `TransactionInvalid`, `TransactionUnknown` and `ScaleError`.
    """
    reader = Reader(data)
    if reader.u8():
        _raise_error(reader)
