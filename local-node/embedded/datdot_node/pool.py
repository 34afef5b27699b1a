"""Transactions that wait for a block.

A transaction *requires* tags and *provides* tags (an account's nonces, usually). It is ready when
each tag that it requires is provided by a ready transaction or was provided by one in a block;
until then it is kept as a future one. Sans-IO: validation and time are arguments.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

from datdot_node.errors import NodeError
from datdot_node.hashing import blake2_256
from datdot_node.validity import Valid

MAX_READY, MAX_READY_BYTES = 8192, 20 * 1024 * 1024
MAX_FUTURE, MAX_FUTURE_BYTES = 512, 2 * 1024 * 1024
BAN_MS = 30 * 60 * 1000
MAX_BANNED = 2048


class PoolError(NodeError):
    """A transaction is not taken; code, message and data are those of native nodes."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message if data is None else f"{message}: {data}")
        self.code = code
        self.message = message
        self.data = data

    @property
    def passing(self) -> bool:
        """Whether the same transaction may be taken later: it was banned, or the pool is full."""
        return self.code in (1012, 1016)


class BadFormat(PoolError):
    """Bytes that are no extrinsic; `reason` is what is wrong with them."""

    def __init__(self, reason: str) -> None:
        super().__init__(1001, f"Extrinsic has invalid format: {reason}")
        self.reason = reason


def verification_failed(reason: str) -> PoolError:
    """The runtime trapped over it."""
    return PoolError(1002, f"Verification Error: {reason}", reason)


def invalid(reason: str) -> PoolError:
    """The runtime holds it for invalid."""
    return PoolError(1010, "Invalid Transaction", reason)


def unknown(reason: str) -> PoolError:
    """The runtime cannot tell."""
    return PoolError(1011, "Unknown Transaction Validity", reason)


@dataclass(slots=True)
class Broadcast:
    """A transaction that is submitted again and again.

    Attributes:
        extrinsic: whole, with its length.
        hash: its hash.
        included: the number of the block that it is in, if it is.
        done: it is final, or refused for good.
        stopped: nobody wants it any more; may be set from any thread.
    """

    extrinsic: bytes
    hash: bytes
    included: int | None = None
    done: bool = False
    stopped: bool = False


class Status(Enum):
    """What became of a transaction, in the words of `author_extrinsicUpdate`."""

    FUTURE = "future"
    READY = "ready"
    USURPED = "usurped"
    DROPPED = "dropped"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class PoolEvent:
    """A change of a transaction's status; `by` is the hash of what usurped it."""

    hash: bytes
    status: Status
    by: bytes | None = None


@dataclass(slots=True, eq=False)
class Transaction:
    """A transaction in the pool; `requires` are the tags that no block has provided yet."""

    extrinsic: bytes
    hash: bytes
    priority: int
    provides: tuple[bytes, ...]
    requires: set[bytes]
    valid_till: int
    checked: int
    sequence: int
    ready: bool = field(default=False)

    @property
    def rank(self) -> tuple[int, int]:
        """Sorts the best first: higher priority, then earlier arrival."""
        return -self.priority, self.sequence


class Pool:
    """The transactions of one node."""

    def __init__(
        self,
        *,
        max_ready: int = MAX_READY,
        max_ready_bytes: int = MAX_READY_BYTES,
        max_future: int = MAX_FUTURE,
        max_future_bytes: int = MAX_FUTURE_BYTES,
    ) -> None:
        self._limits = {
            True: (max_ready, max_ready_bytes),
            False: (max_future, max_future_bytes),
        }
        self._used = {True: [0, 0], False: [0, 0]}
        self._transactions: dict[bytes, Transaction] = {}
        self._providers: dict[bytes, Transaction] = {}
        self._dependents: dict[bytes, set[Transaction]] = {}
        self._banned: dict[bytes, int] = {}
        self._events: list[PoolEvent] = []
        self._sequence = count()

    def __len__(self) -> int:
        return len(self._transactions)

    def __contains__(self, transaction_hash: bytes) -> bool:
        return transaction_hash in self._transactions

    def provides(self, tag: bytes) -> bool:
        """Whether a ready transaction provides the tag."""
        return tag in self._providers and self._providers[tag].ready

    def pending(self) -> list[bytes]:
        """The ready extrinsics in the order in which blocks would take them."""
        return [transaction.extrinsic for transaction in self.best()]

    def future(self) -> list[bytes]:
        """The extrinsics that wait for others."""
        return [each.extrinsic for each in self._transactions.values() if not each.ready]

    def take_events(self) -> list[PoolEvent]:
        """What happened since this was last called."""
        events, self._events = self._events, []
        return events

    def check_new(self, extrinsic: bytes, now_ms: int) -> bytes:
        """The hash of an extrinsic that may be submitted. Raises `PoolError` 1012 and 1013."""
        transaction_hash = blake2_256(extrinsic)
        if self._banned.get(transaction_hash, 0) > now_ms:
            raise PoolError(1012, "Transaction is temporarily banned")
        if transaction_hash in self._transactions:
            raise PoolError(1013, "Transaction Already Imported", f'"0x{transaction_hash.hex()}"')
        return transaction_hash

    def add(self, extrinsic: bytes, validity: Valid, number: int) -> bytes:
        """Takes an extrinsic that was valid at block `number`; its hash.

        Raises `PoolError`: 1014 when another one that provides the same has as high a priority,
        1016 when the pool is full of better ones, 1019 without a tag.
        """
        if not validity.provides:
            raise PoolError(
                1019,
                "No tags provided",
                "Transaction does not provide any tags, so the pool can't identify it",
            )
        rivals = {
            self._providers[tag].hash: self._providers[tag]
            for tag in validity.provides
            if tag in self._providers
        }
        old = sum(rival.priority for rival in rivals.values())
        if rivals and validity.priority <= old:
            raise PoolError(
                1014,
                f"Priority is too low: ({old} vs {validity.priority})",
                "The transaction has too low priority to replace another transaction already in "
                "the pool.",
            )
        transaction = Transaction(
            extrinsic,
            blake2_256(extrinsic),
            validity.priority,
            validity.provides,
            set(validity.requires),
            number + validity.longevity,
            number,
            next(self._sequence),
        )
        orphans: set[Transaction] = set()
        for rival in rivals.values():
            orphans |= self._detach(rival)
        self._attach(transaction)
        self._settle([transaction])
        self._settle(orphans - {*rivals.values()})
        self._make_room(transaction)
        self._events.extend(PoolEvent(rival, Status.USURPED, transaction.hash) for rival in rivals)
        if not transaction.ready:
            self._events.append(PoolEvent(transaction.hash, Status.FUTURE))
        return transaction.hash

    def _attach(self, transaction: Transaction) -> None:
        self._transactions[transaction.hash] = transaction
        for tag in transaction.provides:
            self._providers[tag] = transaction
        for tag in transaction.requires:
            self._dependents.setdefault(tag, set()).add(transaction)
        self._count(transaction, 1)

    def _detach(self, transaction: Transaction) -> set[Transaction]:
        """Removes it; the transactions that required what it provided, still to be settled."""
        del self._transactions[transaction.hash]
        self._count(transaction, -1)
        for tag in transaction.requires:
            self._dependents[tag].discard(transaction)
            if not self._dependents[tag]:
                del self._dependents[tag]
        dependents: set[Transaction] = set()
        for tag in transaction.provides:
            if self._providers.get(tag) is transaction:
                del self._providers[tag]
            dependents |= self._dependents.get(tag, set())
        return dependents

    def _count(self, transaction: Transaction, sign: int) -> None:
        used = self._used[transaction.ready]
        used[0] += sign
        used[1] += sign * len(transaction.extrinsic)

    def _settle(self, transactions: Iterable[Transaction]) -> None:
        """Decides anew whether these are ready, and whatever hangs on a change."""
        work = list(transactions)
        while work:
            transaction = work.pop()
            ready = all(
                tag in self._providers and self._providers[tag].ready
                for tag in transaction.requires
            )
            if ready == transaction.ready:
                continue
            self._count(transaction, -1)
            transaction.ready = ready
            self._count(transaction, 1)
            self._events.append(
                PoolEvent(transaction.hash, Status.READY if ready else Status.FUTURE)
            )
            for tag in transaction.provides:
                work.extend(self._dependents.get(tag, ()))

    def _make_room(self, newcomer: Transaction) -> None:
        """Drops the worst until the limits hold. `PoolError` 1016 if that is the newcomer."""
        for ready in (True, False):
            most, most_bytes = self._limits[ready]
            used = self._used[ready]
            while used[0] > most or used[1] > most_bytes:
                worst = max(
                    (each for each in self._transactions.values() if each.ready == ready),
                    key=lambda each: each.rank,
                )
                self._settle(self._detach(worst))
                if worst is newcomer:
                    # For those who listen it never was in the pool.
                    self._events = [each for each in self._events if each.hash != newcomer.hash]
                    raise PoolError(
                        1016,
                        "Immediately Dropped",
                        "The transaction couldn't enter the pool because of the limit",
                    )
                self._events.append(PoolEvent(worst.hash, Status.DROPPED))

    def best(self) -> Iterator[Transaction]:
        """The ready transactions, best first, each after those that it depends on.

        Decided at the start; the pool may change meanwhile.
        """
        open_tags = {
            transaction.hash: len(transaction.requires)
            for transaction in self._transactions.values()
            if transaction.ready
        }
        ready = {key: self._transactions[key] for key in open_tags}
        dependents: dict[bytes, list[Transaction]] = {}
        for transaction in ready.values():
            for tag in transaction.requires:
                dependents.setdefault(tag, []).append(transaction)
        heap = [(each.rank, each) for each in ready.values() if not open_tags[each.hash]]
        heapq.heapify(heap)
        while heap:
            _, transaction = heapq.heappop(heap)
            yield transaction
            for tag in transaction.provides:
                for dependent in dependents.get(tag, ()):
                    open_tags[dependent.hash] -= 1
                    if not open_tags[dependent.hash]:
                        heapq.heappush(heap, (dependent.rank, dependent))

    def included(self, hashes: Iterable[bytes]) -> None:
        """Removes what a block contains; the tags that it provided need no provider any more."""
        for transaction_hash in hashes:
            transaction = self._transactions.get(transaction_hash)
            if transaction is None:
                continue
            dependents = self._detach(transaction)
            for tag in transaction.provides:
                self._dependents.pop(tag, None)
                for dependent in dependents:
                    dependent.requires.discard(tag)
            self._settle(dependents)

    def remove_invalid(self, transaction_hash: bytes, now_ms: int) -> None:
        """Removes and bans a transaction found invalid, and what depends on it, as native nodes."""
        work = [transaction_hash]
        while work:
            transaction = self._transactions.get(work.pop())
            if transaction is not None:
                work.extend(dependent.hash for dependent in self._detach(transaction))
                self._events.append(PoolEvent(transaction.hash, Status.INVALID))
                self._ban(transaction.hash, now_ms)

    def withdraw(self, transaction_hash: bytes) -> None:
        """Removes a transaction that is not wanted any more; it may be submitted again."""
        transaction = self._transactions.get(transaction_hash)
        if transaction is not None:
            dependents = self._detach(transaction)
            self._events.append(PoolEvent(transaction_hash, Status.DROPPED))
            self._settle(dependents)

    def clear(self) -> list[bytes]:
        """Removes everything, without a word to those who listen; in the order of arrival.

        For a chain that goes back: which tags its blocks provide is not true any more.
        """
        waiting = sorted(self._transactions.values(), key=lambda each: each.sequence)
        self._used = {True: [0, 0], False: [0, 0]}
        self._transactions.clear()
        self._providers.clear()
        self._dependents.clear()
        return [each.extrinsic for each in waiting]

    def note_invalid(self, transaction_hash: bytes) -> None:
        """Tells those who listen that a transaction which is not here is not valid any more."""
        self._events.append(PoolEvent(transaction_hash, Status.INVALID))

    def _ban(self, transaction_hash: bytes, now_ms: int) -> None:
        self._banned = {key: until for key, until in self._banned.items() if until > now_ms}
        if len(self._banned) >= MAX_BANNED:
            del self._banned[next(iter(self._banned))]
        self._banned[transaction_hash] = now_ms + BAN_MS

    def to_recheck(self, number: int, most: int) -> list[Transaction]:
        """Transactions to be validated again at block `number`.

        Those whose validity ends, and of the others up to `most` that were checked longest ago.
        """
        ending = [each for each in self._transactions.values() if each.valid_till < number]
        oldest = heapq.nsmallest(
            most, self._transactions.values(), key=lambda each: (each.checked, each.sequence)
        )
        return list({each.hash: each for each in (*ending, *oldest)}.values())

    def rechecked(self, transaction_hash: bytes, validity: Valid, number: int) -> None:
        """Notes that a transaction is still valid at block `number`."""
        transaction = self._transactions.get(transaction_hash)
        if transaction is not None:
            transaction.valid_till = number + validity.longevity
            transaction.checked = number
