"""What an attestor's log tells about a run of the coinflip while it goes on."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from chain_types.records import FraudKind
from offchain_worker.coinflip.attempts import Attempt
from offchain_worker.coinflip.effects import (
    Exit,
    Found,
    GaveUp,
    Malicious,
    Offline,
    Outcome,
    Seen,
    Silenced,
)
from offchain_worker.coinflip.envelope import Kind
from offchain_worker.swarm.roster import PeerLost, RunEvent


class RunLog:
    """Tells the log who has committed, echoed and revealed, and how a run ended.

    All members are named by their places in the start roster, the same ones in every attempt.
    """

    def __init__(
        self, log: structlog.typing.FilteringBoundLogger, attempt: Attempt, size: int
    ) -> None:
        self._log = log.bind(attempt=attempt.flip.attempt)
        self._places = attempt.places
        self._committed = [False] * size
        self._echoed = [False] * size
        self._revealed = [False] * size

    def hear(self, event: RunEvent) -> None:
        """Take in what a run reports."""
        match event:
            case Seen(kind, member):
                flags = {
                    Kind.COMMIT: self._committed,
                    Kind.ECHO: self._echoed,
                    Kind.REVEAL: self._revealed,
                }[kind]
                flags[self._places[member]] = True
                self._log.info(
                    "coinflip.progress",
                    committed=list(self._committed),
                    echoed=list(self._echoed),
                    revealed=list(self._revealed),
                )
            case Exit(Malicious(peers) as outcome):
                self._exit(outcome, "proof against these members", peers)
            case Exit(Offline(peers, phase) as outcome):
                self._exit(outcome, f"no {phase.value} of these members", peers)
            case Exit(outcome):
                self._exit(outcome, "every reveal, or the anchor, is there", ())
            case Found(evidence):
                self._log.warning(
                    "coinflip.evidence",
                    evidence=evidence.id,
                    offender=self._places[evidence.offender],
                    fraud=FraudKind(evidence.proof_kind).name,
                )
            case GaveUp(member):
                self._log.warning("coinflip.gave_up", member=self._places[member])
            case Silenced(kind):
                self._log.error("coinflip.key_used_elsewhere", kind=kind.name)
            case PeerLost(peer, reason):
                self._log.info("coinflip.peer_lost", member=self._places[peer], reason=reason)
            case _:
                pass

    def _exit(self, outcome: Outcome, reason: str, peers: Iterable[int]) -> None:
        self._log.info(
            "coinflip.exit",
            outcome=type(outcome).__name__,
            reason=reason,
            members=[self._places[peer] for peer in peers],
        )
