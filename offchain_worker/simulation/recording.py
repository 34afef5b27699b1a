"""What passed over a link, frame by frame, with the link's own times: the truth of a measurement.

A secret stream announces the length of each frame in the clear (hypercore.md §2), so that a link
sees where the messages end, as a network does, without their content.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from offchain_worker.simulation.link import Delivery, Passage, Way

LENGTH_BYTES = 3


@dataclass(slots=True)
class Frame:
    """One frame of a secret stream that passed over a link.

    Attributes:
        connection: its number.
        way: the direction.
        size: bytes, the announced length not counted.
        entered: when its last byte entered the link, seconds of `trio.current_time`.
        due: when its last byte shall leave it.
        left: when it did; None as long as it is under way.
    """

    connection: int
    way: Way
    size: int
    entered: float
    due: float
    left: float | None = None


class Recording:
    """Takes what happens on a link (`open_link(observe=recording.take)`).

    Attributes:
        frames: in the order in which they had entered.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._streams: defaultdict[tuple[int, Way], _Stream] = defaultdict(_Stream)

    def take(self, event: Passage | Delivery) -> None:
        """Note the frames that a passage completes, or a delivery."""
        stream = self._streams[event.connection, event.way]
        if isinstance(event, Delivery):
            stream.deliver(event)
        else:
            self.frames += stream.enter(event)

    def latencies(self, connection: int, at_least: int) -> list[float]:
        """Seconds from each request to its chunk, for chunks read one after the other.

        An answer is a frame from the target of `at_least` bytes; its request is the last frame
        to the target that entered before it. Times are at the end of the link where the reader
        is: a request's when it entered, an answer's when it left. The hoster's own time is in it,
        since the reader waits for that too.
        """
        found = []
        asked: float | None = None
        for frame in self._of(connection):
            if frame.way is Way.UP:
                asked = frame.entered
            elif frame.size >= at_least and asked is not None and frame.left is not None:
                found.append(frame.left - asked)
                asked = None
        return found

    def rate(self, connection: int, at_least: int) -> float:
        """Bytes per second of such frames, from when the first left to when the last did.

        Raises:
            ValueError: there are not two.
        """
        answers = [
            (frame.left, frame.size)
            for frame in self._of(connection)
            if frame.way is Way.DOWN and frame.size >= at_least and frame.left is not None
        ]
        if len(answers) < 2:
            raise ValueError("a rate needs two frames")
        seconds = answers[-1][0] - answers[0][0]
        return sum(size for _left, size in answers[1:]) / seconds

    def lateness(self) -> list[float]:
        """Seconds by which each frame left later than it was due: the link's own inexactness."""
        return [frame.left - frame.due for frame in self.frames if frame.left is not None]

    def _of(self, connection: int) -> Sequence[Frame]:
        return [frame for frame in self.frames if frame.connection == connection]


class _Stream:
    """One direction of one connection."""

    def __init__(self) -> None:
        self._length = bytearray()
        self._size = 0
        self._missing = 0
        self._entered = 0
        self._left = 0
        self._under_way: deque[tuple[int, Frame]] = deque()

    def enter(self, passage: Passage) -> list[Frame]:
        """The frames whose last bytes are in it."""
        frames = []
        for size, end in self._ends(passage.data):
            frame = Frame(
                passage.connection, passage.way, size, passage.entered, _due(passage, end)
            )
            self._under_way.append((self._entered + end, frame))
            frames.append(frame)
        self._entered += len(passage.data)
        return frames

    def deliver(self, delivery: Delivery) -> None:
        """Note when frames left."""
        self._left += delivery.size
        while self._under_way and self._under_way[0][0] <= self._left:
            self._under_way.popleft()[1].left = delivery.left

    def _ends(self, data: bytes | bytearray) -> list[tuple[int, int]]:
        """Sizes of the frames that end in `data`, each with the offset of its end."""
        ends = []
        offset = 0
        while offset < len(data):
            if self._missing == 0:
                taken = data[offset : offset + LENGTH_BYTES - len(self._length)]
                self._length += taken
                offset += len(taken)
                if len(self._length) < LENGTH_BYTES:
                    break
                self._size = self._missing = int.from_bytes(self._length, "little")
                self._length.clear()
            step = min(self._missing, len(data) - offset)
            offset += step
            self._missing -= step
            if self._missing == 0:
                ends.append((self._size, offset))
        return ends


def _due(passage: Passage, end: int) -> float:
    """When the byte before `end` leaves the link."""
    reached = 0
    for due, size in passage.dues:
        reached += size
        if reached >= end:
            return due
    raise ValueError("a frame ends within what passed")
