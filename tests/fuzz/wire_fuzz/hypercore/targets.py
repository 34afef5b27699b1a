"""What reads bytes of a hoster or of a reader."""

from __future__ import annotations

import random

from chain_types.report import decode_body, decode_report, encode_report
from chain_types.scale import ScaleError
from offchain_worker.audit.multiproof import MultiproofError, tree_hash_of
from offchain_worker.audit.receipt import MAX_ENTRIES, ReceiptError, decode_receipt, verify_receipt
from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.announcements import BITFIELD_WORDS, Announcements
from offchain_worker.hypercore.answers import answer
from offchain_worker.hypercore.client import Event, RequestFailed, SessionFailed
from offchain_worker.hypercore.errors import (
    BadProof,
    DecodeError,
    HandshakeFailed,
    InvalidRequest,
    ProtocolViolation,
)
from offchain_worker.hypercore.manifest import (
    decode_manifest,
    decode_multisignature,
    encode_manifest,
    encode_multisignature,
    verify_head,
)
from offchain_worker.hypercore.noise import Handshake
from offchain_worker.hypercore.secret_stream import SecretStream, frame
from offchain_worker.hypercore.tree import Node
from offchain_worker.keys import KeyPair
from offchain_worker.swarm.peer_exchange import (
    DIALS,
    AddressBook,
    Peers,
    PeersError,
    reach_of,
)
from wire_fuzz import mutation
from wire_fuzz.hypercore.corpus import (
    Conversation,
    converse,
    corpus,
    shake_hands,
)
from wire_fuzz.target import ACCEPTED, Target, expect

MESSAGES = {
    m.Type.SYNC: m.Sync,
    m.Type.REQUEST: m.Request,
    m.Type.CANCEL: m.Cancel,
    m.Type.DATA: m.Data,
    m.Type.NO_DATA: m.NoData,
    m.Type.WANT: m.Want,
    m.Type.UNWANT: m.Unwant,
    m.Type.BITFIELD: m.Bitfield,
    m.Type.RANGE: m.Range,
    m.Type.EXTENSION: m.Extension,
}
DATA_HEADER_BYTES = 3
"""Flags, request id, fork: most of the time they stay, so that the parts are looked at."""


class HypercoreTarget(Target):
    """A target that starts from the vectors."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.corpus = corpus()

    def vary(self, found: list[bytes], keep: int = 0) -> bytes:
        """One of those found, as it is, mutated, spliced with another, or noise."""
        source = self.source
        data = source.choice(found)
        fate = source.random()
        if fate < 0.03:
            return data
        if fate < 0.07:
            return mutation.noise(source)
        if fate < 0.15:
            return mutation.splice(source, data, source.choice(found))
        return mutation.mutate(source, data, keep)


class MessageTarget(HypercoreTarget):
    """`decode` of every message and of the channel's handshake."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.kind: m.Type | None = None

    def make(self) -> bytes:
        self.kind = self.source.choice([None, *MESSAGES])
        if self.kind is None:
            return self.vary(self.corpus.handshakes)
        keep = DATA_HEADER_BYTES if self.kind in (m.Type.DATA, m.Type.REQUEST) else 0
        return self.vary(self.corpus.bodies[self.kind], keep)

    def feed(self, data: bytes) -> str:
        decoder = m.Handshake if self.kind is None else MESSAGES[self.kind]
        try:
            message = decoder.decode(data)
        except DecodeError:
            return "encoding"
        expect(decoder.decode(message.encode()) == message, "what is encoded again is the same")
        shifted = decoder.decode(b"\xff\xff" + data, 2)
        expect(shifted == message, "where a message begins makes no difference")
        return ACCEPTED


class ManifestTarget(HypercoreTarget):
    """`decode_manifest`: one encoding each, since its hash is the feed's key."""

    def make(self) -> bytes:
        return self.vary(self.corpus.manifests)

    def feed(self, data: bytes) -> str:
        try:
            manifest = decode_manifest(data)
        except DecodeError:
            return "encoding"
        expect(encode_manifest(manifest) == data, "a manifest has one encoding")
        return ACCEPTED


class SignatureTarget(HypercoreTarget):
    """`decode_multisignature`, and `verify_head` with what it gives."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.head = self.corpus.heads[0]

    def make(self) -> bytes:
        self.head = self.source.choice(self.corpus.heads)
        good = self.head[2].signature
        return self.vary([good, good, *self.corpus.multisignatures])

    def feed(self, data: bytes) -> str:
        key, manifest, head = self.head
        try:
            decoded = decode_multisignature(data)
            expect(encode_multisignature(decoded) == data, "a signature blob has one encoding")
        except DecodeError:
            decoded = None
        try:
            verify_head(
                key,
                decode_manifest(manifest),
                head.fork,
                head.length,
                head.tree_hash,
                data,
                head.roots,
            )
        except BadProof:
            return "proof" if decoded else "encoding"
        expect(decoded is not None, "what verifies can be read")
        return ACCEPTED


class HandshakeTarget(HypercoreTarget):
    """`Handshake.read`: each message, where it is expected."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.reader: Handshake
        self._static = KeyPair.from_seed(source.randbytes(32))
        self._ephemeral = KeyPair.from_seed(source.randbytes(32))

    def _side(self, *, initiator: bool) -> Handshake:
        # The keys of a batch are the same, as making them costs more than what is tested.
        return Handshake(initiator=initiator, static=self._static, ephemeral=self._ephemeral)

    def make(self) -> bytes:
        initiator, responder = self._side(initiator=True), self._side(initiator=False)
        first = initiator.write()
        if self.source.random() < 0.4:
            self.reader = responder
            return self.vary([first])
        responder.read(first)
        second = responder.write()
        if self.source.random() < 0.6:
            self.reader = initiator
            return self.vary([second])
        initiator.read(second)
        self.reader = responder
        return self.vary([initiator.write()])

    def feed(self, data: bytes) -> str:
        expected = self.reader.next_read_bytes
        try:
            self.reader.read(data)
        except HandshakeFailed:
            return "handshake"
        expect(len(data) == expected, "only the right length is read")
        return ACCEPTED


class StreamTarget(HypercoreTarget):
    """`SecretStream.receive`: bytes of a stream, in any pieces, before and after its opening."""

    LIMIT = 4_096

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.stream: SecretStream
        self.pieces: list[int] = []

    def make(self) -> bytes:
        source = self.source
        peer, self.stream = shake_hands(source)
        self.stream._max_frame = self.LIMIT
        if source.random() < 0.1:
            # One that has not begun.
            self.stream = SecretStream(
                initiator=source.random() < 0.5,
                keypair=KeyPair.from_seed(source.randbytes(32)),
                ephemeral=KeyPair.from_seed(source.randbytes(32)),
            )
        frames = [peer.encrypt(source.choice(self.corpus.frames)) for _ in range(3)]
        if source.random() < 0.2:
            frames.insert(source.randrange(4), frame(source.randbytes(source.randrange(40))))
        data = b"".join(frames)
        if source.random() < 0.7:
            data = mutation.mutate(source, data)
        self.pieces = sorted(source.randrange(len(data) + 1) for _ in range(source.randrange(6)))
        return data

    def feed(self, data: bytes) -> str:
        took = 0
        try:
            for start, stop in zip([0, *self.pieces], [*self.pieces, len(data)], strict=True):
                took += sum(map(len, self.stream.receive(data[start:stop])))
                kept = len(self.stream._partial)
                expect(kept <= min(self.LIMIT + 3, len(data)), "one frame is kept unfinished")
        except (HandshakeFailed, ProtocolViolation) as error:
            return type(error).__name__
        expect(took <= len(data), "nothing is made up")
        return ACCEPTED


class ClientTarget(HypercoreTarget):
    """`ClientSession.receive` in the middle of sessions, with what a hoster might send."""

    messages_per_session = 40

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.left = 0
        self.made: Conversation
        self.kind = m.Type.SYNC

    def make(self) -> bytes:
        source = self.source
        if self.left == 0:
            self.left = self.messages_per_session
            self.made = converse(source, source.choice(self.corpus.feeds[:-1]))
        self.left -= 1
        if self.made.answers and source.random() < 0.5:
            self.kind, body = source.choice(self.made.answers)
            return body if source.random() < 0.3 else mutation.mutate(source, body, 1)
        self.kind = source.choice(tuple(MESSAGES))
        return self.vary(self.corpus.bodies[self.kind], 1)

    def feed(self, data: bytes) -> str:
        client = self.made.client
        asked = len(client._blocks)
        try:
            events = client.receive(self.kind, data)
        except DecodeError:
            self.left = 0
            return "encoding"
        expect(len(events) <= 2, "few things follow from one message")
        expect(len(client._blocks) <= asked, "a hoster does not make the client ask for blocks")
        expect(len(client.outgoing()) <= 4, "few messages answer one")
        if client.head is not None:
            expect(client.head.length >= 1, "a head has blocks")
        if any(isinstance(event, SessionFailed) for event in events):
            self.left = 0
        return _fate(events)


def _fate(events: list[Event]) -> str:
    for event in events:
        if isinstance(event, SessionFailed | RequestFailed):
            return type(event.error).__name__
    return ACCEPTED


class AnswerTarget(HypercoreTarget):
    """`answer` and `Announcements`: a reader's requests and wants, to whole and damaged feeds."""

    def __init__(self, source: random.Random) -> None:
        super().__init__(source)
        self.kind = m.Type.REQUEST

    def make(self) -> bytes:
        self.kind = self.source.choice((m.Type.REQUEST, m.Type.REQUEST, m.Type.WANT))
        if self.kind is m.Type.REQUEST and self.source.random() < 0.3:
            return self._plausible().encode()
        return self.vary(self.corpus.bodies[self.kind], 2)

    def _plausible(self) -> m.Request:
        """A request for things that are, or nearly are, in the feeds."""
        source = self.source
        parts = {
            "block": m.RequestBlock(source.randrange(110), source.randrange(9)),
            "hash": m.RequestBlock(source.randrange(220), source.randrange(9)),
            "upgrade": m.RequestUpgrade(source.randrange(40), source.randrange(120)),
        }
        chosen = {name: part for name, part in parts.items() if source.random() < 0.5}
        return m.Request(1, source.choice((0, 0, 0, 1)), manifest=source.random() < 0.5, **chosen)

    def feed(self, data: bytes) -> str:
        feed = self.source.choice(self.corpus.feeds)
        try:
            if self.kind is m.Type.WANT:
                for part in Announcements(feed).want(m.Want.decode(data)):
                    if isinstance(part, m.Bitfield):
                        expect(len(part.words) <= BITFIELD_WORDS, "bitfields come in parts")
                return ACCEPTED
            reply = answer(feed, m.Request.decode(data))
        except DecodeError:
            return "encoding"
        except InvalidRequest:
            return "invalid"
        if isinstance(reply, m.NoData):
            return "noData"
        expect(m.Data.decode(reply.encode()) == reply, "an answer can be read")
        return ACCEPTED


class ReceiptTarget(HypercoreTarget):
    """`decode_receipt` and `verify_receipt`."""

    def make(self) -> bytes:
        return self.vary(self.corpus.receipts)

    def feed(self, data: bytes) -> str:
        try:
            receipt = decode_receipt(data)
        except ReceiptError:
            return "encoding"
        expect(len(receipt.entries) <= MAX_ENTRIES, "entries are bounded")
        expect(data.startswith(receipt.body()), "a receipt has one encoding")
        try:
            verify_receipt(data, self.source.randbytes(32))
        except ReceiptError:
            return ACCEPTED
        raise AssertionError("nobody can sign with a key drawn just now")


class PeersTarget(HypercoreTarget):
    """`Peers.decode`, and what an address book makes of it."""

    def make(self) -> bytes:
        return self.vary(self.corpus.peers, self.source.choice((0, 4)))

    def feed(self, data: bytes) -> str:
        try:
            peers = Peers.decode(data)
        except PeersError:
            return "encoding"
        expect(peers.encode() == data, "a message has one encoding")
        book = AddressBook()
        teller = self.source.choice(("127.0.0.1", "10.0.0.1", "8.8.8.8"))
        book.heard(peers.others, teller)
        now = 0.0
        while (endpoint := book.to_dial(now)) is not None:
            expect(reach_of(endpoint.host) >= reach_of(teller), "no address leads further inside")
            now += 1.0
        expect(now <= DIALS.burst + 2, "connections are rationed")
        return ACCEPTED


class ReportTarget(HypercoreTarget):
    """`decode_report`: SCALE of the argument of `submit_report`, and its body alone."""

    def make(self) -> bytes:
        return self.vary(self.corpus.reports, self.source.choice((0, 128, 129, 6_000)))

    def feed(self, data: bytes) -> str:
        try:
            report = decode_report(data)
        except ScaleError:
            return "encoding"
        finally:
            self._body(data[128:])
        expect(encode_report(report) == data, "a report has one encoding")
        return ACCEPTED

    def _body(self, data: bytes) -> None:
        try:
            decode_body(data)
        except ScaleError:
            return


class MultiproofTarget(HypercoreTarget):
    """`tree_hash_of`, with indices, sizes and nodes that do not fit."""

    def make(self) -> bytes:
        return self.source.randbytes(8)

    def feed(self, data: bytes) -> str:
        source = random.Random(data)
        vector = source.choice(self.corpus.proofs)
        entries = [(e["index"], bytes.fromhex(e["hash"])) for e in vector["entries"]]
        sizes = [int(e["size"]) for e in vector["entries"]]
        nodes = [Node(0, int(n["size"]), bytes.fromhex(n["hash"])) for n in vector["nodes"]]
        length = int(vector["length"])
        good = bytes.fromhex(vector["tree_hash"])
        changes = source.choice((0, 1, 1, 2))
        for _ in range(changes):
            match source.randrange(6):
                case 0:
                    length = source.choice((0, 1, length - 1, length + 1, 2**63 - 1, 2**63, 2**80))
                case 1 if entries:
                    entries.append(source.choice(entries))
                case 2 if entries:
                    index, leaf = entries.pop()
                    entries.append((source.choice((index + 1, 2**62, 0, -1)), leaf))
                case 3:
                    sizes.append(source.choice((0, 2**64 - 1, 2**64)))
                case 4 if nodes:
                    nodes[source.randrange(len(nodes))] = Node(0, 2**64 - 1, bytes(32))
                case _:
                    nodes = nodes[source.randrange(2) :] + nodes[: source.randrange(3)]
        try:
            found = tree_hash_of(length, entries, sizes, nodes)
        except MultiproofError:
            return "proof"
        expect(found == good or changes > 0, "the vectors' proofs hold")
        return ACCEPTED
