"""One feed read from one hoster, as the stock npm client does it (hypercore.md §4.3); no I/O.

A `ClientSession` takes the channel's messages and gives the messages to send, byte for byte and
frame for frame those of an ordinary reader, and the verified results. Nothing of a peer's is
believed before it leads to a head that the feed's signer signed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from types import MappingProxyType

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.errors import BadProof, HypercoreError, NoData, NotHosted
from offchain_worker.hypercore.feed import Head
from offchain_worker.hypercore.manifest import Manifest, is_compat, verify_head
from offchain_worker.hypercore.tree import (
    Node,
    apply_upgrade,
    leaf_node,
    node_index,
    tree_hash,
    verify_path,
)

WANT_BLOCKS = 2097152
_PAGE_BITS = 32768
_MAX_PAGES = 1024
_FULL_PAGE = (1 << _PAGE_BITS) - 1
PRIORITY_GET = 1
PRIORITY_DOWNLOAD = 0


@dataclass(slots=True)
class Frame:
    """Messages (type, body) to send in one frame.

    Attributes:
        messages: of one, or of several in a batch.
        batch: whether to send it in the form of a batch.
        request: the id of the request for a block that it is, else 0.
        nodes: how many tree nodes the stock client looks up in vain before it sends it.
    """

    messages: tuple[tuple[int, bytes], ...]
    batch: bool
    request: int = 0
    nodes: int = 0


@dataclass(frozen=True, slots=True)
class HeadVerified:
    """A first or a longer head was verified; it is the session's `head` now."""

    head: Head


@dataclass(slots=True)
class BlockVerified:
    """The block of request `request` was verified; `learnt` are the tree nodes that came new."""

    request: int
    index: int
    data: bytes
    leaf: Node
    learnt: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """A request for a block ended without it."""

    request: int
    error: HypercoreError


@dataclass(frozen=True, slots=True)
class AnsweredLate:
    """An answer came to a request that had been taken back."""


@dataclass(frozen=True, slots=True)
class SessionFailed:
    """There is no head to read from, or the one shown does not verify."""

    error: HypercoreError


@dataclass(frozen=True, slots=True)
class ExtensionReceived:
    """An extension message, its name filled in."""

    name: str
    message: bytes


@dataclass(frozen=True, slots=True)
class AvailabilityChanged:
    """The hoster said more about which blocks it has; that cost as much as so many pages."""

    pages: int = 1


Event = (
    HeadVerified
    | BlockVerified
    | RequestFailed
    | AnsweredLate
    | SessionFailed
    | ExtensionReceived
    | AvailabilityChanged
)


class RemoteBlocks:
    """Which blocks the hoster says it has; at most 8 MiB, whatever it says."""

    def __init__(self) -> None:
        self._contiguous = 0
        self._pages: dict[int, int] = {}
        self._spoken: dict[int, int] = {}

    def has(self, index: int) -> bool:
        """Whether the hoster announced the block."""
        return index < self._contiguous or _bit(self._pages, index)

    def denied(self, index: int) -> bool:
        """Whether the hoster said of this block that it does not have it."""
        return _bit(self._spoken, index) and not self.has(index)

    def set_range(self, start: int, length: int, *, has: bool) -> int:
        """Take a `range` message; returns how many pages that changed, at least 1."""
        if has and start == 0:
            self._contiguous = max(self._contiguous, length)
            return 1
        if not has and start < self._contiguous:
            # What lies behind the hole is not known any more; the hoster repeats it when asked.
            self._contiguous = start
        pages = 0
        for page, mask in _pages(start, length):
            bits = self._pages.get(page, 0)
            self._set(page, mask, _joined(bits, mask) if has else bits & ~mask)
            pages += 1
        return max(1, pages)

    def set_bitfield(self, bitfield: m.Bitfield) -> None:
        """Take a `bitfield` message; it is the truth about the blocks that it covers."""
        if bitfield.start < self._contiguous:
            self._contiguous = bitfield.start
        value = int.from_bytes(
            b"".join(word.to_bytes(4, "little") for word in bitfield.words), "little"
        )
        # As if it began with a page.
        value <<= bitfield.start % _PAGE_BITS
        for page, mask in _pages(bitfield.start, 32 * len(bitfield.words)):
            self._set(page, mask, self._pages.get(page, 0) & ~mask | value & mask)
            value >>= _PAGE_BITS

    def _set(self, page: int, mask: int, bits: int) -> None:
        self._pages[page] = bits
        self._spoken[page] = _joined(self._spoken.get(page, 0), mask)


def _bit(pages: dict[int, int], index: int) -> bool:
    return bool(pages.get(index // _PAGE_BITS, 0) >> (index % _PAGE_BITS) & 1)


def _joined(bits: int, mask: int) -> int:
    """Both together. Full pages are all one object: a short message can make very many."""
    return _FULL_PAGE if mask == _FULL_PAGE else bits | mask


def _pages(start: int, length: int) -> Iterator[tuple[int, int]]:
    """The pages that the blocks lie in, each with the mask of those; no more than are kept."""
    stop = min(start + length, _MAX_PAGES * _PAGE_BITS)
    while start < stop:
        page, first = divmod(start, _PAGE_BITS)
        last = min(stop - page * _PAGE_BITS, _PAGE_BITS)
        if last - first == _PAGE_BITS:
            yield page, _FULL_PAGE
        else:
            yield page, ((1 << (last - first)) - 1) << first
        start = (page + 1) * _PAGE_BITS


class ClientSession:
    """The state of a reader on one channel.

    Attributes:
        feed_key: the feed's 32-byte key.
        head: the newest verified head, or None.
        remote: the hoster's last sync, or None.
        remote_blocks: what it says it has.
        nodes: all verified tree nodes by index: those of the heads and of what was read.
        unwritten: those of them that the stock client would not find in its storage yet; whoever
            reads sets and takes them.
    """

    def __init__(
        self,
        feed_key: bytes,
        *,
        head: Head | None = None,
        nodes: dict[int, Node] | None = None,
        announces: bool = True,
    ) -> None:
        """Begin with what is known of the feed; a plain reader knows nothing.

        Args:
            feed_key: 32 bytes.
            head: verified before.
            nodes: verified before, those of `head` among them; more are added to it, so that the
                sessions of one feed with several peers can share it.
            announces: whether to say so when all blocks were read in this session; whoever
                announces what it holds by itself sets it off.
        """
        self.feed_key = feed_key
        self.head = head
        self.remote: m.Sync | None = None
        self.remote_blocks = RemoteBlocks()
        self._nodes: dict[int, Node] = {} if nodes is None else nodes
        self.nodes: Mapping[int, Node] = MappingProxyType(self._nodes)
        self.unwritten: set[int] = set()
        self._manifest: Manifest | None = None if head is None else head.manifest
        self._announces = announces
        self._outbox: list[Frame] = []
        self._free: list[int] = []
        self._highest_id = 0
        self._blocks: dict[int, int] = {}
        self._cancelled: dict[int, int] = {}
        self._cancels = 0
        self._cancels_before: dict[int, int] = {}
        self._upgrade: m.Request | None = None
        self._wanted: set[int] = set()
        self._have: set[int] = set()
        self._last_extension = ""

    # --- what this side does --------------------------------------------------------------------

    def opened(self) -> None:
        """The channel is up: greet."""
        head = self.head
        hello = m.Sync(
            0 if head is None else head.fork,
            0 if head is None else head.length,
            0,
            can_upgrade=True,
            uploading=True,
            downloading=True,
            has_manifest=self._has_manifest,
        )
        self._push((m.Type.SYNC, hello.encode()), batch=True)

    def advance(self, head: Head) -> None:
        """Take a longer head of the same fork that was verified elsewhere; tells the hoster.

        While an own upgrade is on its way, nothing happens: it builds on the head of now.
        """
        if self.head is None or self._upgrade is not None:
            return
        if head.fork != self.head.fork or head.length <= self.head.length:
            return
        self.head = head
        self._push_sync(head.fork, head.length)

    def outgoing(self) -> list[Frame]:
        """What has to be sent now, in this order; each frame is returned once."""
        frames, self._outbox = self._outbox, []
        return frames

    def want(self, index: int) -> bool:
        """Ask for the availability of block `index`, once; returns whether it is announced."""
        if self.remote_blocks.has(index):
            return True
        region = index // WANT_BLOCKS
        if region not in self._wanted:
            self._wanted.add(region)
            self._push((m.Type.WANT, m.Want(region * WANT_BLOCKS, WANT_BLOCKS).encode()))
        return False

    def request_block(self, index: int, priority: int) -> int:
        """Ask for one block; otherwise as `request_blocks`."""
        return self.request_blocks([index], priority)[0]

    def request_blocks(self, indices: Sequence[int], priority: int) -> list[int]:
        """Ask for blocks at once; returns the requests' ids, in the order of `indices`.

        They are sent by how many nodes they ask for, fewest first: the stock client looks a tree
        node up in its storage for each, and a request leaves when its own look-ups are done.

        Raises:
            ValueError: there is no verified head, or a block is not below its length.
        """
        head = self.head
        if head is None or not all(0 <= index < head.length for index in indices):
            raise ValueError(f"blocks {list(indices)} are not all below the verified length")
        wanted = [(self._missing_levels(index), self._new_id(), index) for index in indices]
        for levels, request_id, index in sorted(wanted, key=itemgetter(0)):
            self._blocks[request_id] = index
            self._cancels_before[request_id] = self._cancels
            block = m.RequestBlock(index, levels)
            request = m.Request(request_id, head.fork, block=block, priority=priority)
            message = (m.Type.REQUEST, request.encode())
            self._outbox.append(Frame((message,), False, request_id, levels))
        return [request_id for _levels, request_id, _index in wanted]

    def cancel(self, request_id: int) -> None:
        """Take back a request for a block; its answer is ignored if it comes all the same.

        The id stays in use until a request made later was answered: the hoster has read the
        cancel by then, so that a late answer is not taken for another's.
        """
        if self._blocks.pop(request_id, None) is not None:
            self._cancels += 1
            self._cancelled[request_id] = self._cancels
            self._push((m.Type.CANCEL, m.Cancel(request_id).encode()))

    @property
    def awaits_head(self) -> bool:
        """Whether a head was asked for and has not come yet."""
        return self._upgrade is not None

    # --- what the hoster does -------------------------------------------------------------------

    def receive(
        self, message_type: int, body: bytes, offset: int = 0, *, batched: bool = False
    ) -> list[Event]:
        """Take a message of the channel; returns what follows from it.

        Args:
            message_type: unknown ones are ignored.
            body, offset: the message is `body` from `offset` on.
            batched: whether the message shared its frame with others; then what it causes is
                sent as a batch too, as the stock client does.

        Raises:
            DecodeError: the body is not of that type.
        """
        match message_type:
            case m.Type.SYNC:
                return self._on_sync(m.Sync.decode(body, offset), batched=batched)
            case m.Type.DATA:
                return self._on_data(m.Data.decode(body, offset))
            case m.Type.NO_DATA:
                return self._on_no_data(m.NoData.decode(body, offset))
            case m.Type.RANGE:
                announced = m.Range.decode(body, offset)
                pages = self.remote_blocks.set_range(
                    announced.start, announced.length, has=not announced.drop
                )
                return [AvailabilityChanged(pages)]
            case m.Type.BITFIELD:
                bitfield = m.Bitfield.decode(body, offset)
                self.remote_blocks.set_bitfield(bitfield)
                # Each word is taken out, and put together with the others again.
                return [AvailabilityChanged(1 + len(bitfield.words) // 8)]
            case m.Type.EXTENSION:
                extension = m.Extension.decode(body, offset)
                self._last_extension = extension.name or self._last_extension
                return [ExtensionReceived(self._last_extension, extension.message)]
            case _:
                return []

    def _on_sync(self, sync: m.Sync, *, batched: bool) -> list[Event]:
        self.remote = sync
        own_length = 0 if self.head is None else self.head.length
        if self.head is None and sync.length == 0:
            return [SessionFailed(NotHosted("the peer has no block of the feed"))]
        same_fork = self.head is None or self.head.fork == sync.fork
        if self._upgrade is None and same_fork and sync.length > own_length:
            self._request_upgrade(sync, own_length, batched=batched)
        return []

    def _request_upgrade(self, sync: m.Sync, own_length: int, *, batched: bool) -> None:
        self._upgrade = m.Request(
            self._new_id(),
            sync.fork,
            upgrade=m.RequestUpgrade(own_length, sync.length - own_length),
            manifest=self._manifest is None and sync.has_manifest,
        )
        self._push((m.Type.REQUEST, self._upgrade.encode()), batch=batched)

    def _on_data(self, data: m.Data) -> list[Event]:
        if self._upgrade is not None and data.request == self._upgrade.id:
            return self._on_upgrade(self._upgrade, data)
        index = self._blocks.pop(data.request, None)
        if index is None:
            return self._late(data.request)
        self._release(data.request)
        try:
            return [self._verify_block(data, index)]
        except BadProof as error:
            return [RequestFailed(data.request, error)]

    def _verify_block(self, data: m.Data, index: int) -> Event:
        head, block = self.head, data.block
        if head is None or block is None or block.index != index:
            raise BadProof(f"the answer to a request for block {index} is not that block")
        if data.fork != head.fork:
            raise BadProof(f"block {index} comes from fork {data.fork} instead of {head.fork}")
        if data.upgrade is not None or data.hash is not None or data.seek is not None:
            raise BadProof(f"block {index} comes with what was not asked for")
        leaf = leaf_node(index, block.value)
        path = verify_path(self._nodes, leaf, block.nodes)
        learnt = [node.index for node in path if node.index not in self._nodes]
        for node in path:
            self._nodes[node.index] = node
        self._have.add(index)
        if self._announces and len(self._have) == head.length:
            self._push((m.Type.RANGE, m.Range(0, head.length).encode()))
        return BlockVerified(data.request, index, block.value, leaf, learnt)

    def _on_upgrade(self, request: m.Request, data: m.Data) -> list[Event]:
        self._upgrade = None
        self._release(request.id)
        try:
            head = self._verify_upgrade(request, data)
        except BadProof as error:
            return [SessionFailed(error)]
        is_first = self.head is None
        self.head = head
        self._manifest = head.manifest
        if is_first:
            # The stock client tells when it knows who signs, and again when it has the head.
            self._push_sync(head.fork, 0)
        self._push_sync(head.fork, head.length)
        remote = self.remote
        if remote is not None and remote.fork == head.fork and remote.length > head.length:
            self._request_upgrade(remote, head.length, batched=False)
        return [HeadVerified(head)]

    def _verify_upgrade(self, request: m.Request, data: m.Data) -> Head:
        asked, part = request.upgrade, data.upgrade
        if asked is None or part is None or data.fork != request.fork:
            raise BadProof("the answer to a request for the head is not a head of that fork")
        if part.start != asked.start:
            raise BadProof("the head is proved from another length than asked for")
        roots = () if self.head is None else self.head.roots
        if data.block is not None or data.hash is not None or data.seek is not None:
            raise BadProof("the head comes with what was not asked for")
        # With a prologue the proof first leads to the prologue's end, whatever was asked for.
        upgrade = apply_upgrade(roots, part.start + part.length, part.nodes, part.additional)
        if upgrade.length < asked.start + asked.length:
            raise BadProof(f"the head proved has length {upgrade.length}, less than asked for")
        manifest = data.manifest if self._manifest is None else self._manifest
        head_hash = tree_hash(upgrade.roots)
        verify_head(
            self.feed_key,
            manifest,
            data.fork,
            upgrade.length,
            head_hash,
            part.signature,
            upgrade.roots,
        )
        for node in upgrade.nodes:
            self._nodes[node.index] = node
        return Head(
            data.fork,
            upgrade.length,
            head_hash,
            tuple(upgrade.roots),
            part.signature or b"",
            manifest,
        )

    def _on_no_data(self, refusal: m.NoData) -> list[Event]:
        error = NoData(f"the peer has not what was asked for (reason {refusal.reason})")
        if self._upgrade is not None and refusal.request == self._upgrade.id:
            self._upgrade = None
            self._release(refusal.request)
            return [SessionFailed(error)] if self.head is None else []
        if self._blocks.pop(refusal.request, None) is None:
            return self._late(refusal.request)
        self._release(refusal.request)
        return [RequestFailed(refusal.request, error)]

    # --- inside ---------------------------------------------------------------------------------

    def _push(self, message: tuple[int, bytes], *, batch: bool = False) -> None:
        self._outbox.append(Frame((message,), batch))

    def _push_sync(self, fork: int, length: int) -> None:
        remote = self.remote
        sync = m.Sync(
            fork,
            length,
            remote.length if remote is not None and remote.fork == fork else 0,
            uploading=True,
            downloading=True,
            has_manifest=self._has_manifest,
        )
        self._push((m.Type.SYNC, sync.encode()))

    @property
    def _has_manifest(self) -> bool:
        return self._manifest is not None and not is_compat(self.feed_key, self._manifest)

    def _new_id(self) -> int:
        if self._free:
            return self._free.pop()
        self._highest_id += 1
        return self._highest_id

    def _release(self, request_id: int) -> None:
        """The request was answered: its id is free, and those of cancels that came before it."""
        self._free.append(request_id)
        cancels = self._cancels_before.pop(request_id, 0)
        if self._cancelled:
            for cancelled in [i for i, at in self._cancelled.items() if at <= cancels]:
                del self._cancelled[cancelled]
                self._cancels_before.pop(cancelled, None)
                self._free.append(cancelled)

    def _late(self, request_id: int) -> list[Event]:
        return [AnsweredLate()] if request_id in self._cancelled else []

    def _missing_levels(self, block: int) -> int:
        """How many levels lie between a block's leaf and the first written node above it."""
        nodes, unwritten = self._nodes, self.unwritten
        level = 0
        while (index := node_index(level, block >> level)) not in nodes or index in unwritten:
            level += 1
        return level
