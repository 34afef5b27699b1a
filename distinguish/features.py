"""What a hoster sees of one session, as numbers.

Pure: a session is a list of plaintexts with times. Nothing here knows who was behind it.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from offchain_worker.audit.receipt import EXTENSION
from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.encoding import Decoder
from offchain_worker.hypercore.protomux import BATCH, CLOSE, CONTROL, OPEN
from offchain_worker.hypercore.tree import full_roots, parent

PERIOD = 100
"""Chunks to a receipt."""
SAME_S = 0.000_2
"""Frames of one burst are no further apart."""

Features = dict[str, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """A plaintext at the hoster.

    Attributes:
        sent: by the hoster; else by the client.
        at: when it was handed to the kernel, or had arrived there; seconds.
        data: of what was sent only the beginning.
        size: bytes in whole.
    """

    sent: bool
    at: float
    data: bytes
    size: int


@dataclass
class Session:
    """One connection, from the end of the handshake on.

    Attributes:
        length: of the feed, in chunks.
        opened, ended: seconds; the end of the handshake and of the connection.
        handshake: seconds from the first byte to the end of the handshake.
        broken: whether the connection was reset instead of closed.
        keep_alives: of the client.
        frames: in order.
    """

    length: int
    opened: float
    handshake: float = 0.0
    ended: float = 0.0
    broken: bool = False
    keep_alives: int = 0
    frames: list[Frame] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Request:
    at: float
    index: int
    nodes: int
    id: int
    priority: int


def messages(data: bytes) -> list[tuple[int, bytes]]:
    """The messages of the feed's channel in one plaintext; opening and closing are (-1, -2)."""
    decoder = Decoder(data)
    if decoder.uint() != CONTROL:
        return [(decoder.uint(), decoder.raw())]
    kind = decoder.uint()
    if kind != BATCH:
        return [({OPEN: -1, CLOSE: -2}.get(kind, -3), b"")]
    decoder.uint()
    found = []
    while decoder.remaining:
        message = Decoder(decoder.buffer())
        found.append((message.uint(), message.raw()))
    return found


def answers_of(session: Session) -> int:
    """How many chunks the hoster served."""
    return len(_Seen(session).answers)


def features(session: Session) -> tuple[Features, Features]:
    """The numbers of a session: those of its messages, and those of its spacing."""
    seen = _Seen(session)
    return {**seen.kinds(), **seen.pattern(), **seen.receipts()}, seen.spacing()


class _Seen:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.counts: dict[str, int] = {}
        self.requests: list[_Request] = []
        self.answers: list[float] = []
        self.answers_before: list[int] = []
        self.receipt_times: list[float] = []
        self.hello = self.upgrade = self.opening = self.closing = 0.0
        self.levels_off = 0
        self.batched = 0
        self.syncs: list[float] = []
        known = set(full_roots(session.length))
        open_requests: dict[int, int] = {}
        self.free: list[int] = []
        self.ids_off = 0
        highest = 0
        for frame in session.frames:
            if frame.sent:
                self._on_sent(frame, known, open_requests)
                continue
            self.batched += frame.data[:2] == bytes([CONTROL, BATCH])
            for kind, body in messages(frame.data):
                self._count(kind, body)
                if kind == m.Type.SYNC:
                    self.hello = self.hello or frame.at
                    self.syncs.append(frame.at)
                elif kind == -2:
                    self.closing = frame.at
                elif kind == m.Type.REQUEST:
                    request = m.Request.decode(body)
                    if request.block is None:
                        self.upgrade = self.upgrade or frame.at
                        continue
                    index = request.block.index
                    self.levels_off += request.block.nodes - _missing(2 * index, known)
                    if self.free and request.id == self.free[-1]:
                        self.free.pop()
                    elif request.id in self.free:
                        self.free.remove(request.id)
                        self.ids_off += 1
                    highest = max(highest, request.id)
                    open_requests[request.id] = index
                    self.answers_before.append(len(self.answers))
                    self.requests.append(
                        _Request(
                            frame.at, index, request.block.nodes, request.id, request.priority or 0
                        )
                    )
        self.highest_id = highest
        self.left_open = len(open_requests)

    def _count(self, kind: int, body: bytes) -> None:
        name = {-1: "open", -2: "close", -3: "reject"}.get(kind) or m.Type(kind).name.lower()
        if kind == m.Type.SYNC:
            name = f"sync_{body[0]}"
        self.counts[name] = self.counts.get(name, 0) + 1

    def _on_sent(self, frame: Frame, known: set[int], open_requests: dict[int, int]) -> None:
        data = frame.data
        if data[:2] == bytes([CONTROL, OPEN]):
            self.opening = frame.at
        if not data or data[0] == CONTROL or len(data) < 4:
            return
        decoder = Decoder(data)
        decoder.uint()
        kind = decoder.uint()
        if kind == m.Type.EXTENSION and EXTENSION.encode() in data:
            self.receipt_times.append(frame.at)
        if kind != m.Type.DATA:
            return
        decoder.uint()
        request_id = decoder.uint()
        index = open_requests.pop(request_id, None)
        if index is None:
            return
        self.free.append(request_id)
        self.answers.append(frame.at)
        node = 2 * index
        while node not in known:
            known |= {node, _sibling(node)}
            node = parent(node)

    def kinds(self) -> Features:
        """How many messages of which kind; requests are in the pattern."""
        named = ("open", "close", "reject", "cancel", "want", "unwant", "range", "extension")
        found = {f"messages.{name}": float(self.counts.get(name, 0)) for name in named}
        syncs = {name: count for name, count in self.counts.items() if name.startswith("sync_")}
        found["messages.sync"] = float(sum(syncs.values()))
        found["messages.sync_kinds"] = float(len(syncs))
        found["messages.sync_hello"] = float(syncs.get("sync_7", 0))
        found["messages.batched"] = float(self.batched)
        found["messages.keep_alives"] = float(self.session.keep_alives)
        found["messages.broken"] = float(self.session.broken)
        return found

    def pattern(self) -> Features:
        """Which chunks, in which order, under which ids, asking for how many nodes."""
        length, requests = self.session.length, self.requests
        indices = [request.index for request in requests]
        steps = [b - a for a, b in itertools.pairwise(indices)]
        asked: set[int] = set()
        follows = 0
        for index in indices:
            follows += (index - 1) % length in asked
            asked.add(index)
        count = max(1, len(requests))
        start = self._after_first()
        burst = [r.nodes for r in requests[1:48]]
        unsorted = sum(b < a for a, b in itertools.pairwise(burst))
        return {
            "pattern.requests": float(len(requests)),
            "pattern.share": len(self.answers) / length,
            "pattern.answers": float(len(self.answers)),
            "pattern.left_open": float(self.left_open),
            "pattern.whole": float(len(asked) == length),
            "pattern.beyond_hundreds": float(len(self.answers) % PERIOD),
            "pattern.requests_beyond_hundreds": float(len(requests) % PERIOD),
            "pattern.repeated": float(len(requests) - len(asked)),
            "pattern.follows": follows / count,
            "pattern.follows_expected": follows / count - len(asked) / (2 * length),
            "pattern.ascending": sum(step > 0 for step in steps) / count,
            "pattern.step": statistics.fmean(map(abs, steps)) / length if steps else 0.0,
            "pattern.first": indices[0] / length if indices else -1.0,
            "pattern.mean": statistics.fmean(indices) / length if indices else -1.0,
            "pattern.first_alone": float(start),
            "pattern.highest_id": float(self.highest_id),
            "pattern.ids_off": self.ids_off / count,
            "pattern.priority": sum(r.priority for r in requests) / count,
            "pattern.nodes": sum(r.nodes for r in requests) / count,
            "pattern.levels_off": self.levels_off / count,
            "pattern.unsorted": unsorted / max(1, len(burst)),
        }

    def _after_first(self) -> int:
        """How many requests came before anything was answered."""
        return sum(answers == 0 for answers in self.answers_before)

    def receipts(self) -> Features:
        """How many receipts the hoster sent, and what came after."""
        times = self.receipt_times
        after = sum(answer > times[-1] for answer in self.answers) if times else -1
        return {
            "receipts.count": float(len(times)),
            "receipts.answers_after_last": float(after),
        }

    def spacing(self) -> Features:
        """Times between messages, beside the round trip that opening the channel took."""
        session = self.session
        round_trip = self.hello - self.opening
        gaps = [b.at - a.at for a, b in zip(self.requests, self.requests[1:], strict=False)]
        bursts = [1]
        for gap in gaps:
            if gap <= SAME_S:
                bursts[-1] += 1
            else:
                bursts.append(1)
        # Each request beyond a full window was made by an answer: the one so many before it.
        waits = []
        window = max(1, self.highest_id)
        for number, request in enumerate(self.requests):
            caused_by = number - window
            if 0 <= caused_by < len(self.answers):
                waits.append(request.at - self.answers[caused_by] - round_trip)
        quick = sorted(waits)[: max(1, len(waits) // 2)]
        last = self.answers[-1] if self.answers else session.opened
        first_at = self.requests[0].at if self.requests else session.ended
        second_at = self.requests[1].at if len(self.requests) > 1 else first_at
        end = self.closing or session.ended
        found = {
            "spacing.handshake": session.handshake,
            "spacing.round_trip": round_trip,
            "spacing.handshake_less_trip": session.handshake - 2 * round_trip,
            "spacing.open": self.opening - session.opened,
            "spacing.sync_to_upgrade": self.upgrade - self.hello,
            "spacing.upgrade_to_sync": (self.syncs[1] if len(self.syncs) > 1 else 0.0)
            - self.upgrade
            - round_trip,
            "spacing.between_syncs": self.syncs[2] - self.syncs[1] if len(self.syncs) > 2 else -1.0,
            "spacing.sync_to_first": first_at - self.syncs[-1] if self.syncs else -1.0,
            "spacing.first_to_second": second_at - first_at - round_trip,
            "spacing.last_to_close": end - last - round_trip,
            "spacing.close_to_end": session.ended - end,
            "spacing.receipt_to_end": end - self.receipt_times[-1] if self.receipt_times else -1.0,
            "spacing.duration": session.ended - session.opened,
            "spacing.rate": len(self.answers) / max(1e-6, last - first_at),
            "spacing.burst_mean": statistics.fmean(bursts),
            "spacing.burst_most": float(max(bursts)),
            "spacing.quick_mean": statistics.fmean(quick) if quick else -1.0,
        }
        found |= _spread("spacing.wait", waits)
        found |= _spread("spacing.gap", gaps)
        found |= _spread("spacing.start_gap", gaps[1:46])
        return found


def _spread(name: str, values: Sequence[float]) -> Features:
    ordered = sorted(values) or [-1.0]
    return {
        f"{name}_p10": ordered[len(ordered) // 10],
        f"{name}_p50": ordered[len(ordered) // 2],
        f"{name}_p90": ordered[len(ordered) * 9 // 10],
        f"{name}_spread": statistics.pstdev(ordered),
    }


def _missing(index: int, known: set[int]) -> int:
    levels = 0
    while index not in known:
        index = parent(index)
        levels += 1
    return levels


def _sibling(index: int) -> int:
    above = parent(index)
    return 2 * above - index
