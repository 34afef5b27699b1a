"""What passed over a link, frame by frame, with the link's own times: the truth of a measurement.

A secret stream announces the length of each frame in the clear (hypercore.md §2), so that a link
sees where the messages end, as a network does, without their content.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from offchain_worker.simulation.link import Passage, Way

LENGTH_BYTES = 3


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a secret stream that passed over a link.

    Attributes:
        connection: its number.
        way: the direction.
        size: bytes, the announced length not counted.
        entered: when its last byte entered the link, seconds of `trio.current_time`.
        due: when its last byte leaves it.
    """

    connection: int
    way: Way
    size: int
    entered: float
    due: float


class Recording:
    """Takes the passages of a link (`open_link(observe=recording.take)`).

    Attributes:
        frames: in the order in which they were complete.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self._streams: defaultdict[tuple[int, Way], _Stream] = defaultdict(_Stream)

    def take(self, passage: Passage) -> None:
        """Note the frames that a passage completes."""
        stream = self._streams[passage.connection, passage.way]
        self.frames += [
            Frame(passage.connection, passage.way, size, passage.entered, _due(passage, end))
            for size, end in stream.take(passage.data)
        ]

    def latencies(self, connection: int, at_least: int) -> list[float]:
        """Seconds from each request to its chunk, for chunks read one after the other.

        An answer is a frame from the target of `at_least` bytes; its request is the last frame
        to the target that entered before it. Times are at the end of the link where the reader
        is: a request's when it entered, an answer's when it leaves. The hoster's own time is in
        it, since the reader waits for that too.
        """
        found = []
        asked: float | None = None
        for frame in self._of(connection):
            if frame.way is Way.UP:
                asked = frame.entered
            elif frame.size >= at_least and asked is not None:
                found.append(frame.due - asked)
                asked = None
        return found

    def rate(self, connection: int, at_least: int) -> float:
        """Bytes per second of such frames, from when the first leaves to when the last does.

        Raises:
            ValueError: there are not two.
        """
        answers = [
            frame
            for frame in self._of(connection)
            if frame.way is Way.DOWN and frame.size >= at_least
        ]
        if len(answers) < 2:
            raise ValueError("a rate needs two frames")
        seconds = answers[-1].due - answers[0].due
        return sum(frame.size for frame in answers[1:]) / seconds

    def _of(self, connection: int) -> Sequence[Frame]:
        return [frame for frame in self.frames if frame.connection == connection]


class _Stream:
    """Finds the ends of frames in one direction of one connection."""

    def __init__(self) -> None:
        self._length = bytearray()
        self._size = 0
        self._missing = 0

    def take(self, data: bytes | bytearray) -> list[tuple[int, int]]:
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
