"""What the fuzzer starts from: the vectors of the npm packages, and sessions with a feed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from hypercore_feeds import CLIENT, HOSTER, KEY, MemoryFeed, load

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.announcements import Announcements
from offchain_worker.hypercore.answers import answer, sync_of
from offchain_worker.hypercore.client import PRIORITY_GET, ClientSession
from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.secret_stream import SecretStream
from offchain_worker.keys import KeyPair

LENGTHS = (1, 3, 33, 100)
"""Of the feeds that are served and read; 33 has two roots, the last above one block."""
TYPES = {
    "sync": m.Type.SYNC,
    "request": m.Type.REQUEST,
    "cancel": m.Type.CANCEL,
    "data": m.Type.DATA,
    "noData": m.Type.NO_DATA,
    "want": m.Type.WANT,
    "unwant": m.Type.UNWANT,
    "bitfield": m.Type.BITFIELD,
    "range": m.Type.RANGE,
    "extension": m.Type.EXTENSION,
}


@dataclass(frozen=True)
class Corpus:
    """Everything there is to start from.

    Attributes:
        handshakes: bodies of the channel's handshake.
        bodies: bodies of messages by type.
        manifests, multisignatures: encoded.
        heads: (feed key, encoded manifest, head) with good signatures.
        peers: messages of the peer exchange.
        receipts, reports, proofs: encoded; a proof is that of several chunks, by its parts.
        frames: what npm peers gave to the secret stream.
        feeds: to serve from, one damaged.
    """

    handshakes: list[bytes]
    bodies: dict[m.Type, list[bytes]]
    manifests: list[bytes]
    multisignatures: list[bytes]
    heads: list[tuple[bytes, bytes, Head]]
    peers: list[bytes]
    receipts: list[bytes]
    reports: list[bytes]
    proofs: list[dict[str, Any]]
    frames: list[bytes]
    feeds: list[MemoryFeed]


@lru_cache(maxsize=1)
def corpus() -> Corpus:
    """The corpus; the same in every process."""
    handshakes, bodies = _messages()
    challenge, session = load("challenge.json"), load("session.json")
    cases = load("multisig.json")["cases"]
    return Corpus(
        handshakes=handshakes,
        bodies=bodies,
        manifests=[bytes.fromhex(entry["raw"]) for entry in load("manifests.json")["manifests"]],
        multisignatures=[bytes.fromhex(case["signature"]) for case in cases],
        heads=[*_own_heads(), *(_case_head(case) for case in cases if case["valid"])],
        peers=[bytes.fromhex(entry["message"]) for entry in load("peers.json")["valid"]],
        receipts=[bytes.fromhex(receipt["message"]) for receipt in challenge["receipts"]],
        reports=[bytes.fromhex(report["report"]) for report in challenge["reports"]],
        proofs=challenge["multiproofs"],
        frames=[bytes.fromhex(x) for x in session["plain_client"] + session["plain_hoster"]],
        feeds=_feeds(),
    )


def _messages() -> tuple[list[bytes], dict[m.Type, list[bytes]]]:
    handshakes: list[bytes] = []
    bodies: dict[m.Type, list[bytes]] = {kind: [] for kind in TYPES.values()}
    for vector in load("messages.json")["messages"]:
        encoded = bytes.fromhex(vector["encoded"])
        if vector["type"] == "handshake":
            handshakes.append(encoded)
        else:
            bodies[TYPES[vector["type"]]].append(encoded)
    for pair in load("proofs.json")["proofs"]:
        bodies[m.Type.REQUEST].append(bytes.fromhex(pair["request_encoded"]))
        bodies[m.Type.DATA].append(bytes.fromhex(pair["data_encoded"]))
    missing = [kind for kind, found in bodies.items() if not found]
    if missing or not handshakes:
        raise RuntimeError(f"nothing to start from for {missing}")
    return handshakes, bodies


def _own_heads() -> list[tuple[bytes, bytes, Head]]:
    heads = []
    for feed in (MemoryFeed(33), MemoryFeed(1)):
        head = feed.head()
        if head is not None:
            heads.append((KEY, bytes.fromhex(load("trees.json")["manifest"]), head))
    return heads


def _case_head(case: dict[str, Any]) -> tuple[bytes, bytes, Head]:
    head = Head(
        case["fork"],
        case["length"],
        bytes.fromhex(case["tree_hash"]),
        (),
        bytes.fromhex(case["signature"]),
        None,
    )
    return bytes.fromhex(case["key"]), bytes.fromhex(case["manifest"]), head


def _feeds() -> list[MemoryFeed]:
    feeds = [MemoryFeed(length) for length in LENGTHS]
    feeds.append(MemoryFeed(33, compat=True))
    damaged = MemoryFeed(100)
    for index in range(20, 40):
        damaged.blocks.pop(index)
        damaged.nodes.pop(2 * index)
    feeds.append(damaged)
    return feeds


@dataclass
class Conversation:
    """A client in the middle of a session, and what an honest hoster would answer it next.

    Attributes:
        client: with a head or without, some blocks asked for.
        answers: messages (type, body) that the hoster would send.
    """

    client: ClientSession
    answers: list[tuple[m.Type, bytes]]


def converse(source: random.Random, feed: MemoryFeed) -> Conversation:
    """Bring a client to a random place of a session with an honest hoster of `feed`."""
    client = ClientSession(feed.key)
    client.opened()
    head = feed.head()
    if head is None:
        raise ValueError("a feed that a client reads has a head")
    sync = sync_of(feed, head, None).encode()
    held = m.Range(0, feed.contiguous_length()).encode()
    made = Conversation(client, [(m.Type.SYNC, sync), (m.Type.RANGE, held)])
    for _ in range(source.randrange(4)):
        _go_on(made, feed, source)
    return made


def _go_on(made: Conversation, feed: MemoryFeed, source: random.Random) -> None:
    """The client takes the answers and asks for more; the hoster answers."""
    client = made.client
    for kind, body in made.answers:
        client.receive(kind, body)
    made.answers.clear()
    if client.head is not None:
        for _ in range(source.randrange(1, 6)):
            index = source.randrange(client.head.length)
            if client.want(index):
                client.request_block(index, PRIORITY_GET)
    for frame in client.outgoing():
        for kind, body in frame.messages:
            if kind == m.Type.REQUEST:
                made.answers.append(_answer(feed, m.Request.decode(body)))
            elif kind == m.Type.WANT:
                parts = Announcements(feed).want(m.Want.decode(body))
                made.answers += [
                    (m.Type.RANGE if isinstance(part, m.Range) else m.Type.BITFIELD, part.encode())
                    for part in parts
                ]


def _answer(feed: MemoryFeed, request: m.Request) -> tuple[m.Type, bytes]:
    reply = answer(feed, request)
    kind = m.Type.NO_DATA if isinstance(reply, m.NoData) else m.Type.DATA
    return kind, reply.encode()


def shake_hands(source: random.Random) -> tuple[SecretStream, SecretStream]:
    """Two ends of a stream, opened, the initiator's first."""
    client = SecretStream(initiator=True, keypair=CLIENT, ephemeral=_pair(source))
    hoster = SecretStream(initiator=False, keypair=HOSTER, ephemeral=_pair(source))
    for _ in range(2):
        hoster.receive(client.data_to_send())
        client.receive(hoster.data_to_send())
    hoster.receive(client.data_to_send())
    client.receive(hoster.data_to_send())
    if not (client.opened and hoster.opened):
        raise RuntimeError("the handshake did not come to its end")
    return client, hoster


def _pair(source: random.Random) -> KeyPair:
    return KeyPair.from_seed(source.randbytes(32))
