"""The testnet on a screen: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from offchain_worker.testnet.genesis import UNIT
from offchain_worker.testnet.model import AuditState, ChallengeState, Network

LINES = 12
CHALLENGES = 6


class View:
    """Where a testnet's news go."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._lines: deque[str] = deque(maxlen=LINES)
        self._live: Live | None = None
        self._network: Network | None = None

    def tell(self, line: str) -> None:
        """Show one line."""
        if self._live is None:
            self._console.print(line, markup=False, soft_wrap=True)
        else:
            self._lines.append(line)
            self.refresh()

    def refresh(self) -> None:
        """Draw anew, on a terminal."""
        if self._live is not None and self._network is not None:
            self._live.update(self._draw(self._network))

    @contextmanager
    def watching(self, network: Network) -> Iterator[None]:
        """Show the network live as long as the block runs, if this is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        self._network = network
        with Live(console=self._console, refresh_per_second=8) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def _draw(self, network: Network) -> Group:
        title = Text(f"DatDot testnet, block {network.block}", style="bold")
        return Group(
            title,
            self._challenges(network),
            self._balances(network),
            *(
                f"{name} has read {reader.chunks} chunks, {reader.peers} peers"
                for name, reader in network.readers.items()
            ),
            *self._lines,
        )

    def _challenges(self, network: Network) -> Table:
        table = Table(
            *("challenge", "hoster", "stage", "attestor", "coinflip", "audit", "readers", "paid")
        )
        for challenge in list(network.challenges.values())[-CHALLENGES:]:
            for place, (name, audit) in enumerate(challenge.attestors.items()):
                first = (str(challenge.id), challenge.hoster, _stage(challenge))
                left = first if place == 0 else ("", "", "")
                paid = challenge.paid.get(name, 0)
                observed = audit.observed or ""
                table.add_row(*left, name, _flip(audit), _audit(audit), observed, _money(paid))
            table.add_section()
        return table

    def _balances(self, network: Network) -> Table:
        table = Table("account", "balance", "change")
        for name, amount in network.balances.items():
            change = amount - network.before.get(name, amount)
            table.add_row(name, f"{amount / UNIT:.4f}", f"{change / UNIT:+.4f}")
        return table


def _stage(challenge: ChallengeState) -> str:
    return f"{challenge.stage} {challenge.reported}/{challenge.expected}"


def _flip(audit: AuditState) -> str:
    return "".join(
        letter if done else "·"
        for letter, done in (
            ("C", audit.committed),
            ("E", audit.echoed),
            ("R", audit.revealed),
        )
    )


def _audit(audit: AuditState) -> str:
    if audit.outcome is not None:
        return audit.outcome
    if audit.moment_ms is None:
        return ""
    return "throughput …" if audit.windowed else "latency …"


def _money(amount: int) -> str:
    return f"{amount / UNIT:.4f}" if amount else ""
