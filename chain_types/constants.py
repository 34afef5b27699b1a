"""The constants of our pallets that workers and commands use.

`ALL` lists name and encoding; the values belong to the runtime: `Runtime.constant`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chain_types.records import Balance, BlockNumber
from chain_types.runtime import Runtime
from chain_types.scale import U32, Codec, codec_of

_BALANCE: Codec[int] = codec_of(Balance)
_BLOCKS: Codec[int] = codec_of(BlockNumber)
_U32: Codec[int] = codec_of(U32)

ALL: tuple[tuple[str, str, Codec[Any]], ...] = (
    ("Balances", "ExistentialDeposit", _BALANCE),
    ("Providers", "AttestorBond", _BALANCE),
    ("Providers", "HosterBond", _BALANCE),
    ("Providers", "MaxCapacity", _U32),
    ("Providers", "UnbondingBlocks", _BLOCKS),
    ("Hosting", "HostingBond", _BALANCE),
    ("Hosting", "MinEscrow", _BALANCE),
    ("Hosting", "MinAttestorReward", _BALANCE),
    ("Performance", "AbsenceFee", _BALANCE),
    ("Performance", "FraudSlash", _BALANCE),
    ("Performance", "DemandDeposit", _BALANCE),
    ("Performance", "DemandFee", _BALANCE),
    ("Performance", "WithholdingSlash", _BALANCE),
)


@dataclass(frozen=True)
class Constants:
    """What is fixed by the runtime: money in the smallest unit, times in blocks."""

    existential_deposit: int
    attestor_bond: int
    hoster_bond: int
    max_capacity: int
    unbonding_blocks: int
    hosting_bond: int
    min_escrow: int
    min_attestor_reward: int
    absence_fee: int
    fraud_slash: int
    demand_deposit: int
    demand_fee: int
    withholding_slash: int


def read_constants(runtime: Runtime) -> Constants:
    """Return the constants of a runtime.

    Raises:
        WrongRuntimeError: one does not exist or is of another type.
    """
    return Constants(*(runtime.constant(*entry) for entry in ALL))
