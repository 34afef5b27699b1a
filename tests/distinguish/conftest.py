"""Sessions as a hoster records them, made by hand."""

import pytest

from distinguish.features import Frame, Session
from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.encoding import encode_string
from offchain_worker.hypercore.protomux import encode_batch, encode_message


class Script:
    """Writes a session down, a millisecond a step."""

    def __init__(self, length: int) -> None:
        self.session = Session(length, opened=0.0, handshake=0.02)
        self.now = 0.0

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def client(self, data: bytes) -> None:
        self.session.frames.append(Frame(False, self.now, data, len(data)))

    def hoster(self, data: bytes, size: int = 0) -> None:
        self.session.frames.append(Frame(True, self.now, data, size or len(data)))

    def open(self, round_trip: float) -> None:
        """The channel opens, and the client has verified the head."""
        self.client(bytes([0, 1, 1]) + encode_string(m.PROTOCOL))
        self.hoster(bytes([0, 1, 1]) + encode_string(m.PROTOCOL))
        self.wait(round_trip)
        hello = m.Sync(0, 0, 0, can_upgrade=True, uploading=True, downloading=True)
        self.client(encode_batch(1, [(m.Type.SYNC, hello.encode())]))
        upgrade = m.Request(1, 0, upgrade=m.RequestUpgrade(0, self.session.length))
        self.client(encode_batch(1, [(m.Type.REQUEST, upgrade.encode())]))
        self.hoster(encode_message(1, m.Type.DATA, bytes([8, 1, 0])))
        self.wait(round_trip)
        for length in (0, self.session.length):
            sync = m.Sync(0, length, self.session.length, uploading=True, downloading=True)
            self.client(encode_message(1, m.Type.SYNC, sync.encode()))

    def ask(self, request: int, index: int, nodes: int, priority: int = 1) -> None:
        block = m.RequestBlock(index, nodes)
        body = m.Request(request, 0, block=block, priority=priority).encode()
        self.client(encode_message(1, m.Type.REQUEST, body))

    def answer(self, request: int) -> None:
        self.hoster(encode_message(1, m.Type.DATA, bytes([1, request, 0])), 1_000)

    def receipt(self) -> None:
        body = m.Extension("datdot/receipt/1", bytes(30)).encode()
        self.hoster(encode_message(1, m.Type.EXTENSION, body))

    def close(self) -> None:
        self.client(bytes([0, 3, 1]))
        self.session.ended = self.now


@pytest.fixture
def script() -> type[Script]:
    return Script
