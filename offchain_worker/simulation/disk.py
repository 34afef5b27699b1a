"""A sign journal in memory that outlives crashes, with images of earlier states (§1, row 16).

The same rules as `coinflip.journal`, without SQLite: one body for each topic and kind, secrets
once for each topic, and an unknown topic that began before the process did stays shut.
"""

from __future__ import annotations

from collections.abc import Callable

from offchain_worker.coinflip.envelope import Kind, SignedEnvelope
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.journal import Record

_NOTHING: dict[Kind, Record] = {}


class TopicUnknown(Exception):
    """What was signed in this topic before is not known here: sign nothing in it."""


class BodyConflict(Exception):
    """Another body is on record for the topic and kind."""


class Disk:
    """What one seat has on disk.

    Attributes:
        opened_ms: since when the process runs, by the seat's clock.
        writes: so far, on this seat, over all its images.
    """

    __slots__ = ("_concluded", "_evidence", "_secrets", "_signed", "opened_ms", "writes")

    def __init__(self, opened_ms: int) -> None:
        self.opened_ms = opened_ms
        self.writes = 0
        self._secrets: dict[bytes, FlipSecrets] = {}
        self._signed: dict[bytes, dict[Kind, Record]] = {}
        self._evidence: dict[bytes, dict[bytes, bytes]] = {}
        self._concluded: dict[bytes, bool] = {}

    def image(self) -> Disk:
        """A copy of its present state: a backup."""
        copy = Disk(self.opened_ms)
        copy.writes = self.writes
        copy._secrets = dict(self._secrets)
        copy._signed = {topic: dict(records) for topic, records in self._signed.items()}
        copy._concluded = dict(self._concluded)
        copy._evidence = {topic: dict(kept) for topic, kept in self._evidence.items()}
        return copy

    def secrets(self, topic: bytes) -> FlipSecrets | None:
        """The secrets of a topic that was begun."""
        return self._secrets.get(topic)

    def begin(
        self, topic: bytes, *, started_ms: int | None, generate: Callable[[], FlipSecrets]
    ) -> FlipSecrets:
        """The topic's secrets, made now when it is new.

        Args:
            topic: 32 bytes.
            started_ms: when the topic began; None for the fallback's.
            generate: makes secrets.

        Raises:
            TopicUnknown: it is unknown and began before this process did.
        """
        known = self._secrets.get(topic)
        if known is not None:
            return known
        if self.is_older(started_ms):
            raise TopicUnknown
        made = generate()
        self._secrets[topic] = made
        self.writes += 1
        return made

    def is_older(self, started_ms: int | None) -> bool:
        """Whether a topic that began then began before this process did."""
        return started_ms is not None and started_ms < self.opened_ms

    def conclude(self, topic: bytes, *, may_retry: bool) -> None:
        """Note down how a topic's run ended."""
        self._concluded[topic] = may_retry

    def may_retry(self, topic: bytes) -> bool:
        """Whether another attempt may follow a topic; False when its run was cut short."""
        return self._concluded.get(topic, False)

    def record(self, envelope: SignedEnvelope, support: tuple[bytes, ...]) -> None:
        """Write down an envelope before it is sent.

        Raises:
            BodyConflict: another body is on record.
        """
        records = self._signed.setdefault(envelope.topic, {})
        known = records.get(envelope.kind)
        if known is None:
            records[envelope.kind] = Record(envelope.raw, support)
            self.writes += 1
        elif known.envelope != envelope.raw:
            raise BodyConflict

    def records(self, topic: bytes) -> dict[Kind, Record]:
        """What was signed in a topic, by kind."""
        return self._signed.get(topic, _NOTHING)

    def keep_evidence(self, identifier: bytes, topic: bytes, proof: bytes) -> None:
        """Keep a proof; a second of the same id changes nothing."""
        self._evidence.setdefault(topic, {}).setdefault(identifier, proof)

    def evidence(self, topic: bytes) -> tuple[bytes, ...]:
        """The proofs kept for a topic."""
        return tuple(self._evidence.get(topic, {}).values())
