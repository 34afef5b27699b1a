"""From a topic that the journal began to the machine that runs it."""

from __future__ import annotations

from collections.abc import Callable

from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.journal import Begun
from offchain_worker.coinflip.machine import CoinflipMachine
from offchain_worker.keys import KeyPair

MakeMachine = Callable[[Attempt, KeyPair, Begun], CoinflipMachine]
"""Makes the machine of one attempt, for a session key and what the journal knows of the topic."""


def machines_of(kind: type[CoinflipMachine]) -> MakeMachine:
    """A `MakeMachine` for one kind of machine."""

    def make(attempt: Attempt, session_key: KeyPair, begun: Begun) -> CoinflipMachine:
        return kind(
            attempt.flip,
            session_key,
            begun.secrets,
            attempt.schedule,
            records=begun.records,
            proofs=begun.proofs,
            cautious=begun.cautious,
        )

    return make


honest_machine: MakeMachine = machines_of(CoinflipMachine)
"""What an attestor runs."""
