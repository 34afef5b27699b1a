"""Reading a feed, or a part of it, as any reader does: what `datdot get` is made of."""

from __future__ import annotations

from collections.abc import Callable

from offchain_worker.audit.session import Dial, connect
from offchain_worker.errors import UsageError
from offchain_worker.hypercore.errors import ReadTimeout
from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.reader import Timeouts, open_reader
from offchain_worker.keys import KeyPair

MAX_EARLY = 256
"""Chunks that wait in memory for an earlier one. A peer answers in the order of the requests, or
nearly: the window of the stock client is 48."""


async def fetch(
    dial: Dial,
    feed_key: bytes,
    sink: Callable[[int, bytes], None],
    *,
    chunks: range | None = None,
    expected_remote: bytes | None = None,
    keypair: KeyPair | None = None,
    timeouts: Timeouts | None = None,
) -> Head:
    """Read verified chunks in ascending order.

    Cancelled, or after an error, `sink` has got the chunks up to some point, in order.

    Args:
        dial: connects to a peer that serves the feed.
        feed_key: the feed's 32-byte key.
        sink: called with the index and the bytes of each chunk.
        chunks: which ones, ascending by one; None reads the whole feed as it is at the start.
        expected_remote: the peer's Noise key; None accepts any.
        keypair: this side's Noise key pair; a fresh one when None.
        timeouts: of each step.

    Returns:
        The feed's verified head.

    Raises:
        UsageError: the range is not inside the feed.
        HypercoreError: the peer cannot be reached, or does not serve what is asked for.
    """
    limits = timeouts or Timeouts()
    opened = open_reader(
        await connect(dial, limits.handshake),
        feed_key=feed_key,
        keypair=keypair or KeyPair.generate(),
        expected_remote=expected_remote,
        timeouts=limits,
    )
    async with opened as reader:
        head = reader.head
        wanted = range(head.length) if chunks is None else chunks
        if wanted.step != 1 or wanted.start < 0 or wanted.stop > head.length:
            raise UsageError(
                f"The feed has the chunks 0 to {head.length - 1}; "
                f"{wanted.start} to {wanted.stop - 1} are not all among them."
            )
        early: dict[int, bytes] = {}
        following = wanted.start
        async for block in reader.download(wanted):
            early[block.index] = block.data
            while following in early:
                sink(following, early.pop(following))
                following += 1
            if len(early) > MAX_EARLY:
                raise ReadTimeout(f"chunk {following} did not come, but {MAX_EARLY} later ones did")
    return head
