"""Hosters with one fault, to show that an audit names it (tests, `datdot testnet`).

Each fault replaces one thing that the honest hoster is made of: a feed, the signing of receipts,
its key, or what it does at a certain point. The honest path knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence

from offchain_worker.hoster.adversary import floods, pace, receipts
from offchain_worker.hoster.adversary.faults import Fault
from offchain_worker.hoster.adversary.feeds import (
    FaultySource,
    FlipsBit,
    ForgesHead,
    KeepsHalf,
    KeepsPrefix,
    Loses,
    ServesAnother,
    ShowsOldHead,
    give_old_head,
)
from offchain_worker.hoster.adversary.proxy import Proxy
from offchain_worker.hoster.hoster import Hoster, Limits
from offchain_worker.hoster.receipts import SignReceipt
from offchain_worker.hoster.replicate import DialPeer
from offchain_worker.hoster.store import FeedStore, Library
from offchain_worker.hypercore.connection import wall_clock_ms
from offchain_worker.hypercore.feed import Feed
from offchain_worker.keys import KeyPair

__all__ = ["Fault", "faulty_hoster", "give_old_head", "losing_hoster"]

_FEEDS: Mapping[Fault, Callable[[FeedStore], Feed]] = {
    Fault.FLIP_BIT: FlipsBit,
    Fault.WRONG_CHUNK: ServesAnother,
    Fault.PREFIX: KeepsPrefix,
    Fault.HALF: KeepsHalf,
    Fault.OLD_HEAD: ShowsOldHead,
    Fault.FORGED_HEAD: ForgesHead,
}
_SIGNERS: Mapping[Fault, Callable[[SignReceipt], SignReceipt]] = {
    Fault.NO_RECEIPT: receipts.no_receipt,
    Fault.RECEIPT_OTHER_TIME: receipts.other_time,
    Fault.RECEIPT_OTHER_CHUNKS: receipts.other_chunks,
    Fault.RECEIPT_OTHER_CLIENT: receipts.other_client,
}
_HOSTERS: Mapping[Fault, type[Hoster]] = {
    Fault.RECEIPT_LATE: receipts.LateReceipts,
    Fault.RECEIPT_EARLY: receipts.EarlyReceipts,
    Fault.SILENT: pace.Silent,
    Fault.BYTE_BY_BYTE: pace.ByteByByte,
    Fault.CLOSE_99: pace.ClosesAt99,
    Fault.PART_OF_WINDOW: pace.PartOfWindow,
    Fault.SLOW: pace.Slow,
    Fault.THROTTLE: pace.Throttles,
    Fault.PROXY: Proxy,
    Fault.FLOOD_MESSAGES: floods.FloodsMessages,
    Fault.FLOOD_NO_DATA: floods.FloodsNoData,
    Fault.FLOOD_RANGES: floods.FloodsRanges,
    Fault.FLOOD_FRAMES: floods.FloodsFrames,
}


def faulty_hoster(
    library: Library,
    keypair: KeyPair,
    fault: Fault | None,
    *,
    limits: Limits | None = None,
    clock_ms: Callable[[], int] = wall_clock_ms,
    upstream: Sequence[DialPeer] = (),
) -> Hoster:
    """A hoster that does one thing wrong, or none.

    Args:
        library, keypair, limits, clock_ms: as for `Hoster`.
        fault: what; None makes an honest one.
        upstream: where a proxy fetches; at least one for it.
    """
    if fault is None:
        return Hoster(library, keypair, limits=limits, clock_ms=clock_ms)
    if fault is Fault.OTHER_KEY:
        keypair = KeyPair.generate()
    hoster = _HOSTERS.get(fault, Hoster)(library, keypair, limits=limits, clock_ms=clock_ms)
    if fault in _FEEDS:
        hoster.source = FaultySource(library, _FEEDS[fault])
    if fault in _SIGNERS:
        hoster.sign = _SIGNERS[fault](hoster.sign)
    if isinstance(hoster, Proxy):
        hoster.upstream = tuple(upstream)
    return hoster


def losing_hoster(library: Library, keypair: KeyPair, missing: Container[int]) -> Hoster:
    """A hoster that has lost the chunks in `missing` of each feed, and announces them still."""
    hoster = Hoster(library, keypair)
    hoster.source = FaultySource(library, lambda store: Loses(store, missing))
    return hoster
