"""What an attestor works with, whichever challenge it is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from offchain_worker.attestor.egress import WaysOut
from offchain_worker.attestor.machines import MakeMachine, honest_machine
from offchain_worker.attestor.store import WorkStore
from offchain_worker.audit.capacity import Capacity
from offchain_worker.audit.session import SESSION_BYTES
from offchain_worker.chain.accounts import Account
from offchain_worker.chain.client import ChainClient
from offchain_worker.coinflip.journal import Journal
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.roster import SessionSwarm


@dataclass(frozen=True)
class Tools:
    """What an attestor works with, shared by all its challenges.

    Attributes:
        client: the chain.
        account: signs transactions.
        session_key: signs in the coinflip.
        swarm: meets the rosters.
        journal: the sign journal.
        store: peers' figures and audits' outcomes.
        ways: on which sessions with hosters, audited or observed, leave.
        clock_ms: the wall clock, ms since 1970.
        make_machine: what runs the attempts of a coinflip.
        session_bytes: what an audited session may read (`audit.session.session_length`).
        capacity: what all sessions with hosters share.
    """

    client: ChainClient
    account: Account
    session_key: KeyPair
    swarm: SessionSwarm
    journal: Journal
    store: WorkStore
    ways: WaysOut
    clock_ms: Callable[[], int]
    make_machine: MakeMachine = honest_machine
    session_bytes: int = SESSION_BYTES
    capacity: Capacity = field(default_factory=Capacity)
