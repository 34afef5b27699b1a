"""The recorded session of two Node peers, replayed with the recorded keys."""

import pytest
from hypercore_feeds import KEY, MemoryFeed, load
from nacl import bindings

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore import protomux, secret_stream
from offchain_worker.hypercore.answers import answer, sync_of
from offchain_worker.hypercore.client import (
    PRIORITY_GET,
    BlockVerified,
    ClientSession,
    HeadVerified,
)
from offchain_worker.hypercore.manifest import discovery_key
from offchain_worker.hypercore.noise import Handshake
from offchain_worker.hypercore.secret_stream import SecretStream
from offchain_worker.keys import KeyPair

VECTOR = load("session.json")
RAW = {side: b"".join(map(bytes.fromhex, VECTOR[f"raw_{side}"])) for side in ("client", "hoster")}
PLAIN = {side: list(map(bytes.fromhex, VECTOR[f"plain_{side}"])) for side in ("client", "hoster")}
HASH = bytes.fromhex(VECTOR["handshake_hash"])
READS = (0, 7, 20, 32)


def pair(side: str, kind: str) -> KeyPair:
    keys = KeyPair.from_seed(bytes.fromhex(VECTOR[side][f"{kind}_seed"]))
    assert keys.public.hex() == VECTOR[side][f"{kind}_public"]
    return keys


def frames(raw: bytes) -> list[bytes]:
    found = []
    while raw:
        length = int.from_bytes(raw[:3], "little")
        found.append(raw[3 : 3 + length])
        raw = raw[3 + length :]
    return found


def test_noise_messages_and_keys_reproduce() -> None:
    client = Handshake(
        initiator=True, static=pair("client", "static"), ephemeral=pair("client", "ephemeral")
    )
    hoster = Handshake(
        initiator=False, static=pair("hoster", "static"), ephemeral=pair("hoster", "ephemeral")
    )
    from_client, from_hoster = frames(RAW["client"]), frames(RAW["hoster"])
    first = client.write()
    hoster.read(first)
    second = hoster.write()
    client.read(second)
    third = client.write()
    hoster.read(third)
    assert [first, third] == from_client[:1] + from_client[1:2]
    assert second == from_hoster[0]
    assert client.session is not None
    assert hoster.session is not None
    assert client.session.tx_key.hex() == hoster.session.rx_key.hex() == VECTOR["client_tx_key"]
    assert client.session.rx_key.hex() == hoster.session.tx_key.hex() == VECTOR["client_rx_key"]
    assert client.session.handshake_hash == hoster.session.handshake_hash == HASH
    assert client.session.remote_public_key == pair("hoster", "static").public
    assert hoster.session.remote_public_key == pair("client", "static").public


@pytest.mark.parametrize("step", [1, 3, 57, 4096])
@pytest.mark.parametrize("side", ["client", "hoster"])
def test_recorded_ciphertext_decrypts(side: str, step: int) -> None:
    """However the bytes are cut, the other end gives the recorded plaintexts."""
    other = "hoster" if side == "client" else "client"
    stream = SecretStream(
        initiator=other == "client",
        keypair=pair(other, "static"),
        ephemeral=pair(other, "ephemeral"),
    )
    plaintexts = []
    for start in range(0, len(RAW[side]), step):
        plaintexts += stream.receive(RAW[side][start : start + step])
    assert stream.opened
    assert plaintexts == PLAIN[side]


def test_recorded_ciphertext_is_what_the_keys_give() -> None:
    """The sending half: with the recorded header, our push makes the recorded bytes."""
    recorded = frames(RAW["client"])
    header = recorded[2][secret_stream.STREAM_ID_BYTES :]
    assert recorded[2][: secret_stream.STREAM_ID_BYTES] == secret_stream.stream_id(
        HASH, initiator=True
    )
    state = bindings.crypto_secretstream_xchacha20poly1305_state()
    key = bytes.fromhex(VECTOR["client_tx_key"])
    bindings.crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
    for plaintext, ciphertext in zip(PLAIN["client"], recorded[3:], strict=True):
        opened, tag = bindings.crypto_secretstream_xchacha20poly1305_pull(state, ciphertext)
        assert (opened, tag) == (plaintext, 0)


def test_every_plaintext_is_understood() -> None:
    client, hoster = protomux.Mux(), protomux.Mux()
    _channel, opening = client.open(m.PROTOCOL, discovery_key(KEY), b"")
    seen = []
    for event in hoster.receive(PLAIN["client"][0]):
        assert isinstance(event, protomux.Opening)
        assert (event.protocol, event.id) == (m.PROTOCOL, discovery_key(KEY))
        own = m.Handshake.decode(event.handshake)
        assert own == m.Handshake(True, m.capability(HASH, KEY, initiator=True))
        assert opening + event.handshake == PLAIN["client"][0]
        theirs = m.Handshake(True, m.capability(HASH, KEY, initiator=False)).encode()
        _, reply = hoster.accept(event, theirs)
        assert reply == PLAIN["hoster"][0]
    for mux, plaintexts in ((client, PLAIN["hoster"]), (hoster, PLAIN["client"][1:])):
        for plaintext in plaintexts:
            for event in mux.receive(plaintext):
                if isinstance(event, protomux.Opened):
                    continue
                assert isinstance(event, protomux.Message)
                kind = {
                    m.Type.SYNC: m.Sync,
                    m.Type.REQUEST: m.Request,
                    m.Type.DATA: m.Data,
                    m.Type.RANGE: m.Range,
                    m.Type.EXTENSION: m.Extension,
                }[m.Type(event.type)]
                message = kind.decode(event.frame, event.offset)
                assert message.encode() == event.frame[event.offset :]
                seen.append(message)
    assert seen[-1] == m.Extension("attest/receipt", b"nonce-1")
    assert m.Extension("attest/receipt", bytes.fromhex(VECTOR["ext_reply"])) in seen


def test_our_reader_sends_what_the_recorded_one_sent() -> None:
    """The same reads on the recorded answers give the recorded plaintexts, frame for frame."""
    mux = protomux.Mux()
    session = ClientSession(KEY)
    handshake = m.Handshake(True, m.capability(HASH, KEY, initiator=True)).encode()
    channel, plaintext = mux.open(m.PROTOCOL, discovery_key(KEY), handshake)
    sent = [plaintext]
    events = []
    reads = list(READS)

    def flush() -> None:
        for frame in session.outgoing():
            if frame.batch:
                sent.append(protomux.encode_batch(channel.local_id, frame.messages))
            else:
                sent.append(protomux.encode_message(channel.local_id, *frame.messages[0]))

    for plaintext in PLAIN["hoster"]:
        for event in mux.receive(plaintext):
            if isinstance(event, protomux.Opened):
                session.opened()
            elif isinstance(event, protomux.Message):
                result = session.receive(
                    event.type, event.frame, event.offset, batched=event.batched
                )
                events += result
                flush()
                if reads and any(isinstance(e, HeadVerified | BlockVerified) for e in result):
                    session.request_block(reads.pop(0), PRIORITY_GET)
            flush()
    assert sent == PLAIN["client"][:-1]
    assert [e.index for e in events if isinstance(e, BlockVerified)] == list(READS)


def test_our_hoster_answers_as_the_recorded_one() -> None:
    feed = MemoryFeed(33)
    head = feed.head()
    assert head is not None
    assert sync_of(feed, head, None).encode() == bytes.fromhex("0f002100")
    answers = iter([PLAIN["hoster"][3], *PLAIN["hoster"][5:9]])
    for plaintext in PLAIN["client"][2:3] + PLAIN["client"][5:9]:
        batch = plaintext[:2] == b"\x00\x00"
        request = m.Request.decode(plaintext, 5 if batch else 2)
        assert b"\x01\x03" + answer(feed, request).encode() == next(answers)
