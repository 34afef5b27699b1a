import pytest
from hypercore_feeds import CLIENT, HOSTER
from hypothesis import given
from hypothesis import strategies as st

from offchain_worker.hypercore.errors import HandshakeFailed, HypercoreError, ProtocolViolation
from offchain_worker.hypercore.noise import Handshake
from offchain_worker.hypercore.secret_stream import MAX_FRAME_BYTES, SecretStream, frame
from offchain_worker.keys import KeyPair

# Points of small order and encodings that are none (RFC 8032 curve).
BAD_POINTS = [
    bytes(32),
    bytes([1]) + bytes(31),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    b"\xff" * 32,
]


def two(max_frame: int = MAX_FRAME_BYTES) -> tuple[SecretStream, SecretStream]:
    return (
        SecretStream(
            initiator=True, keypair=CLIENT, ephemeral=KeyPair.generate(), max_frame=max_frame
        ),
        SecretStream(
            initiator=False, keypair=HOSTER, ephemeral=KeyPair.generate(), max_frame=max_frame
        ),
    )


def opened(max_frame: int = MAX_FRAME_BYTES) -> tuple[SecretStream, SecretStream]:
    near, far = two(max_frame)
    for _ in range(2):
        far.receive(near.data_to_send())
        near.receive(far.data_to_send())
    assert near.opened
    assert far.opened
    return near, far


def test_both_sides_agree() -> None:
    near, far = opened()
    assert near.session is not None
    assert far.session is not None
    assert near.session.handshake_hash == far.session.handshake_hash
    assert near.session.remote_public_key == HOSTER.public
    assert far.session.remote_public_key == CLIENT.public
    assert far.receive(near.encrypt(b"hello") + near.encrypt(b"") + near.encrypt(b"you")) == [
        b"hello",
        b"you",
    ]
    assert near.receive(far.encrypt(b"back")) == [b"back"]


def test_secrets_stay_out_of_the_representation() -> None:
    near, _ = opened()
    assert near.session is not None
    assert near.session.tx_key.hex() not in repr(near.session)
    assert repr(near.session.tx_key)[2:-1] not in repr(near.session)


@given(st.lists(st.binary(max_size=200), max_size=8), st.data())
def test_however_the_bytes_are_cut(plaintexts: list[bytes], data: st.DataObject) -> None:
    near, far = opened()
    wire = b"".join(near.encrypt(plaintext) for plaintext in plaintexts)
    received = []
    while wire:
        cut = data.draw(st.integers(1, len(wire)))
        received += far.receive(wire[:cut])
        wire = wire[cut:]
    assert received == [plaintext for plaintext in plaintexts if plaintext]


@pytest.mark.parametrize("point", BAD_POINTS, ids=lambda point: point.hex()[:8])
def test_keys_of_small_order_fail_the_handshake(point: bytes) -> None:
    far = SecretStream(initiator=False, keypair=HOSTER, ephemeral=KeyPair.generate())
    with pytest.raises(HandshakeFailed):
        far.receive(frame(point))


@pytest.mark.parametrize("point", BAD_POINTS, ids=lambda point: point.hex()[:8])
def test_a_static_key_of_small_order_fails_the_handshake(point: bytes) -> None:
    """The peer completes the handshake with a static key that it needs no secret for."""
    liar = KeyPair(public=point, seed=bytes(32))
    near = Handshake(initiator=True, static=liar, ephemeral=KeyPair.generate())
    far = Handshake(initiator=False, static=HOSTER, ephemeral=KeyPair.generate())
    far.read(near.write())
    near.read(far.write())
    with pytest.raises(HandshakeFailed):
        far.read(near.write())


def test_the_steps_have_an_order() -> None:
    near = Handshake(initiator=True, static=CLIENT, ephemeral=KeyPair.generate())
    far = Handshake(initiator=False, static=HOSTER, ephemeral=KeyPair.generate())
    with pytest.raises(RuntimeError):
        far.write()
    near.write()
    with pytest.raises(RuntimeError):
        near.write()


@pytest.mark.parametrize("length", [0, 31, 33, 64, 2**24 - 1])
def test_the_first_frame_has_one_length_only(length: int) -> None:
    far = SecretStream(initiator=False, keypair=HOSTER, ephemeral=KeyPair.generate())
    with pytest.raises(HandshakeFailed):
        far.receive(length.to_bytes(3, "little"))


@pytest.mark.parametrize("message", [0, 1, 2, 3, 4])
def test_any_flipped_bit_fails_the_handshake(message: int) -> None:
    """Messages in order: noise 1, noise 2, noise 3 and header, header."""
    for position in range(3, 3 + 32, 7):
        near, far = two()
        failed = False
        for number, (source, target) in enumerate([(near, far), (far, near)] * 2):
            data = bytearray(source.data_to_send())
            if number == message and position < len(data):
                data[position] ^= 0x10
            try:
                target.receive(bytes(data))
            except HandshakeFailed:
                failed = True
                break
        assert failed == (message < 4)


def test_frames_are_capped_before_anything_is_kept() -> None:
    near, far = opened(max_frame=1000)
    assert far.receive(near.encrypt(bytes(1000 - 17))) == [bytes(983)]
    with pytest.raises(ProtocolViolation):
        far.receive((1001).to_bytes(3, "little"))
    _, far = opened()
    with pytest.raises(ProtocolViolation):
        far.receive((16).to_bytes(3, "little") + bytes(16))
    near, _ = opened()
    with pytest.raises(ValueError, match="fit a frame"):
        near.encrypt(bytes(MAX_FRAME_BYTES))


def test_frames_out_of_order_or_changed_are_refused() -> None:
    near, far = opened()
    first, second = near.encrypt(b"first"), near.encrypt(b"second")
    with pytest.raises(ProtocolViolation):
        far.receive(second + first)
    near, far = opened()
    changed = bytearray(near.encrypt(b"first"))
    changed[-1] ^= 1
    with pytest.raises(ProtocolViolation):
        far.receive(bytes(changed))


@given(st.booleans(), st.booleans(), st.lists(st.binary(max_size=120), max_size=6))
def test_only_own_errors_leave(ready: bool, initiator: bool, chunks: list[bytes]) -> None:
    near, far = opened() if ready else two()
    stream = near if initiator else far
    try:
        for chunk in chunks:
            stream.receive(chunk)
    except HypercoreError:
        return


@given(st.binary(max_size=300), st.booleans())
def test_only_own_errors_leave_for_framed_garbage(garbage: bytes, ready: bool) -> None:
    _, far = opened() if ready else two()
    with pytest.raises(HypercoreError):
        far.receive(frame(garbage))
