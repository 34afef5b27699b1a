"""What a block in the making keeps of an extrinsic that goes wrong, with a runtime made up."""

from typing import cast

import pytest

from datdot_node.authoring import BlockBuilder
from datdot_node.block import Block, Header, decode_body, encode_body
from datdot_node.errors import BadBlock, RuntimeTrapped
from datdot_node.executor import Runtime
from datdot_node.overlay import EmptyState, Overlay
from datdot_node.scale import ScaleError, sized, vector
from datdot_node.validity import TransactionInvalid, TransactionUnknown, check_applied

PARENT = Header(bytes(32), 6, b"\1" * 32, b"\2" * 32, ())
INHERENT = sized(b"inherent")


class MadeUp:
    """A runtime that writes each extrinsic to storage before it gives its answer."""

    def __init__(self, answers: dict[bytes, bytes | None]) -> None:
        self.answers = {INHERENT: b"\0\0", **answers}
        self.mode = b"\0"

    def call(self, method: str, arguments: bytes, overlay: Overlay) -> bytes:
        if method == "Core_initialize_block":
            overlay.set(b"header", arguments)
            return self.mode
        if method == "BlockBuilder_inherent_extrinsics":
            return vector([INHERENT])
        if method == "BlockBuilder_apply_extrinsic":
            overlay.set(arguments, b"done")
            overlay.begin()
            answer = self.answers[arguments]
            if answer is None:
                overlay.rollback()
                raise RuntimeTrapped(method, "as told")
            overlay.commit()
            return answer
        return Header(
            bytes(32), 7, bytes(32), bytes(32), (b"\6aura\4x", b"\5sign\0", b"\x08")
        ).encode()


def builder(answers: dict[bytes, bytes | None], mode: bytes = b"\0") -> BlockBuilder:
    runtime = MadeUp(answers)
    runtime.mode = mode
    return BlockBuilder(cast(Runtime, runtime), EmptyState(), PARENT, 1_000, 2)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, RuntimeTrapped),
        (b"\1\0\3", TransactionInvalid),
        (b"\1\1\0", TransactionUnknown),
        (b"\1\0\x63", ScaleError),
        (b"", ScaleError),
    ],
)
def test_what_goes_wrong_leaves_nothing(answer: bytes | None, error: type[Exception]) -> None:
    good, bad = sized(b"good"), sized(b"bad")
    block = builder({good: b"\0\0", bad: answer})
    with pytest.raises(error):
        block.apply(bad)
    block.apply(good)
    sealed, changes = block.seal()
    assert sealed.extrinsics == (INHERENT, good)
    assert bad not in changes
    assert changes[good] == b"done"


def test_a_failed_dispatch_stays() -> None:
    failing = sized(b"failing")
    block = builder({failing: b"\0\1\0"})
    block.apply(failing)
    assert block.seal()[0].extrinsics == (INHERENT, failing)


def test_an_inherent_that_is_refused_ends_the_block() -> None:
    with pytest.raises(BadBlock, match="outdated"):
        builder({INHERENT: b"\1\0\3"})


def test_a_runtime_that_migrates_takes_no_transactions() -> None:
    assert builder({}).takes_transactions
    assert not builder({}, b"\1").takes_transactions


@pytest.mark.parametrize(
    ("answer", "reason", "exhausts"),
    [
        (b"\1\0\6", "Transaction would exhaust the block limits", True),
        (b"\1\0\7\x2a", "Custom error: 42", False),
    ],
)
def test_reasons(answer: bytes, reason: str, exhausts: bool) -> None:
    with pytest.raises(TransactionInvalid) as caught:
        check_applied(answer)
    assert (caught.value.reason, caught.value.exhausts) == (reason, exhausts)


def test_headers_and_bodies_are_read_as_written() -> None:
    header = builder({}).seal()[0].header
    assert Header.decode(header.encode()) == header
    assert len(header.digest) == 3
    body = (sized(b"one"), sized(b"x" * 100))
    assert decode_body(encode_body(body)) == body
    assert Block(header, body).encode().endswith(encode_body(body))
    for damaged in (header.encode()[:-1], header.encode() + b"\0", b""):
        with pytest.raises(ScaleError):
            Header.decode(damaged)
    with pytest.raises(ScaleError):
        Header.decode(header.encode().replace(b"\x08", b"\x09"))
