"""Receipts: both sides read the same fields and refuse the same bytes."""

from compiled_rules import CompiledRules, Entry, Head, Receipt, Refused
from hypothesis import given, settings
from hypothesis import strategies as st

from offchain_worker.audit import receipt as core
from offchain_worker.keys import KeyPair

HASHES = st.binary(min_size=32, max_size=32)
U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
HOSTER = KeyPair.from_seed(bytes(32))

RECEIPTS = st.builds(
    core.Receipt,
    feed_key=HASHES,
    fork=U64,
    length=U64,
    tree_hash=HASHES,
    client=HASHES,
    session=HASHES,
    sequence=U32,
    opened=U64,
    issued=U64,
    byte_length=U64,
    entries=st.lists(st.builds(core.Entry, U64, HASHES), max_size=core.MAX_ENTRIES).map(tuple),
)


def ours(message: bytes) -> Receipt | None:
    """What the Python core reads, as the chain's type; None if it refuses."""
    try:
        receipt = core.verify_receipt(message, HOSTER.public)
    except core.ReceiptError:
        return None
    return Receipt(
        feed=receipt.feed_key,
        head=Head(receipt.fork, receipt.length, receipt.tree_hash),
        client=receipt.client,
        session=receipt.session,
        sequence=receipt.sequence,
        opened=receipt.opened,
        issued=receipt.issued,
        byte_length=receipt.byte_length,
        entries=tuple(Entry(entry.index, entry.leaf) for entry in receipt.entries),
    )


def theirs(chain_rules: CompiledRules, message: bytes) -> Receipt | None:
    """What the runtime reads, None if it refuses."""
    answer = chain_rules.open_receipt(message, HOSTER.public)
    return None if isinstance(answer, Refused) else answer


@given(receipt=RECEIPTS)
@settings(deadline=None)
def test_signed_receipts(chain_rules: CompiledRules, receipt: core.Receipt) -> None:
    message = receipt.sign(HOSTER)
    read = theirs(chain_rules, message)
    assert read is not None
    assert read == ours(message)


@given(receipt=RECEIPTS, data=st.data())
@settings(deadline=None, max_examples=200)
def test_changed_receipts(
    chain_rules: CompiledRules, receipt: core.Receipt, data: st.DataObject
) -> None:
    message = bytearray(receipt.sign(HOSTER))
    at = data.draw(st.integers(0, len(message) - 1))
    match data.draw(st.sampled_from(["flip", "cut", "insert", "append"])):
        case "flip":
            message[at] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del message[at:]
        case "insert":
            message.insert(at, data.draw(st.integers(0, 255)))
        case "append":
            message += data.draw(st.binary(min_size=1, max_size=100))
    assert theirs(chain_rules, bytes(message)) is None
    assert ours(bytes(message)) is None


@given(header=st.binary(max_size=400), sign=st.booleans())
@settings(deadline=None, max_examples=200)
def test_arbitrary_bytes(chain_rules: CompiledRules, header: bytes, sign: bool) -> None:
    tag = core.performance_tag("receipt")
    message = header + HOSTER.sign(tag + header) if sign else header
    assert theirs(chain_rules, message) == ours(message)


def test_the_bound_of_entries(chain_rules: CompiledRules) -> None:
    tag = core.performance_tag("receipt")
    for count in (core.MAX_ENTRIES, core.MAX_ENTRIES + 1):
        body = bytes([core.VERSION]) + bytes(172) + count.to_bytes(2, "little") + bytes(40 * count)
        message = body + HOSTER.sign(tag + body)
        assert theirs(chain_rules, message) == ours(message)
        assert (ours(message) is None) == (count > core.MAX_ENTRIES)
