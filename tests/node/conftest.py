"""Chains in memory, and a wallet that signs with substrate-interface without a network."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from substrateinterface import Keypair, SubstrateInterface

# Makes the modules that only tests use importable by name.
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

from local_socket import LocalSocket

from datdot_node import Chain

START_MS = 1_800_000_000_000


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms


class Wallet:
    """Makes signed extrinsics for one chain, and for all with the same genesis."""

    def __init__(self, chain: Chain) -> None:
        self.substrate = SubstrateInterface(websocket=LocalSocket(chain))
        self.substrate.init_runtime()
        self.alice, self.bob, self.charlie = (
            Keypair.create_from_uri(uri) for uri in ("//Alice", "//Bob", "//Charlie")
        )

    def sign(
        self,
        call: tuple[str, str, dict[str, Any]],
        signer: Keypair,
        nonce: int,
        *,
        era: dict[str, int] | None = None,
        tip: int = 0,
    ) -> bytes:
        composed = self.substrate.compose_call(call[0], call[1], call[2])
        extrinsic = self.substrate.create_signed_extrinsic(
            composed, signer, era=era, nonce=nonce, tip=tip
        )
        return bytes(extrinsic.data.data)

    def transfer(
        self, nonce: int, *, amount: int = 10**12, signer: Keypair | None = None, **options: Any
    ) -> bytes:
        call = (
            "Balances",
            "transfer_keep_alive",
            {"dest": self.bob.ss58_address, "value": amount},
        )
        return self.sign(call, signer or self.alice, nonce, **options)

    def set_code(self, code: bytes) -> bytes:
        """The first transaction of //Alice, who may replace the runtime."""
        call = self.substrate.compose_call(
            "System", "set_code_without_checks", {"code": "0x" + code.hex()}
        )
        weight = {"ref_time": 0, "proof_size": 0}
        sudo = ("Sudo", "sudo_unchecked_weight", {"call": call, "weight": weight})
        return self.sign(sudo, self.alice, 0)

    def free(self, chain: Chain, keypair: Keypair, at: bytes | int | None = None) -> int:
        key = self.substrate.create_storage_key("System", "Account", [keypair.ss58_address])
        value = chain.storage(bytes(key.data), at)
        return 0 if value is None else int.from_bytes(value[16:32], "little")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def chain(clock: Clock) -> Iterator[Chain]:
    with Chain.open(clock=clock) as opened:
        yield opened


@pytest.fixture(scope="session")
def wallet() -> Wallet:
    """Signs for the development genesis, which is the same in every chain here."""
    return Wallet(Chain.open())


@pytest.fixture
def wallet_of() -> Callable[[Chain], Wallet]:
    """A wallet that asks this very chain for block hashes: for mortal transactions."""
    return Wallet
