"""What a hoster answers to a request, without any I/O (hypercore.md §4.2, §5)."""

from __future__ import annotations

from offchain_worker.hypercore import messages as m
from offchain_worker.hypercore.errors import InvalidRequest
from offchain_worker.hypercore.feed import Feed, Head
from offchain_worker.hypercore.manifest import is_compat
from offchain_worker.hypercore.tree import Node, prove


class _MissingNodeError(Exception):
    """A tree node that a sparse store does not hold."""


def sync_of(feed: Feed, head: Head | None, remote: m.Sync | None) -> m.Sync:
    """The `sync` that tells a peer, whose own is `remote`, about the feed."""
    same_fork = head is not None and remote is not None and remote.fork == head.fork
    remote_length = remote.length if remote is not None and same_fork else 0
    return m.Sync(
        fork=head.fork if head is not None else 0,
        length=head.length if head is not None else 0,
        remote_length=remote_length,
        can_upgrade=head is not None and remote_length < head.length,
        uploading=True,
        downloading=True,
        has_manifest=head is not None and head.manifest is not None and not _compat(feed, head),
    )


def _compat(feed: Feed, head: Head) -> bool:
    return is_compat(feed.key, head.manifest)


def _pair(part: m.RequestBlock | None) -> tuple[int, int] | None:
    return None if part is None else (part.index, part.nodes)


def answer(feed: Feed, request: m.Request) -> m.Data | m.NoData:
    """The answer to a request.

    Raises:
        InvalidRequest: no feed of this length could answer it; the peer should know better.
    """
    head = feed.head()
    not_available = m.NoData(request.id, m.Reason.NOT_AVAILABLE)
    if head is None or request.fork != head.fork:
        return not_available
    if request.block is not None and not (
        request.block.index < head.length and feed.has(request.block.index)
    ):
        return not_available
    if request.seek is not None:
        raise InvalidRequest("seeks are not served")
    if request.block is not None and request.hash is not None:
        raise InvalidRequest("a block and a hash in one request")

    def get(index: int) -> Node:
        node = feed.node(index)
        if node is None:
            raise _MissingNodeError(index)
        return node

    manifest = None
    if request.manifest and not _compat(feed, head):
        manifest = head.manifest
    if request.block is None and request.hash is None and request.upgrade is None:
        if manifest is None:
            return not_available
        return m.Data(request.id, request.fork, manifest=manifest)
    try:
        proof = prove(
            get,
            head.length,
            block=_pair(request.block),
            hash_of=_pair(request.hash),
            upgrade=(request.upgrade.start, request.upgrade.length) if request.upgrade else None,
        )
    except _MissingNodeError:
        return not_available
    block = data_hash = upgrade = None
    if request.block is not None:
        value = feed.block(request.block.index)
        if value is None:
            return not_available
        block = m.DataBlock(request.block.index, value, tuple(proof.nodes))
    if request.hash is not None:
        data_hash = m.DataHash(request.hash.index, tuple(proof.nodes))
    if request.upgrade is not None:
        upgrade = m.DataUpgrade(
            request.upgrade.start,
            request.upgrade.length,
            tuple(proof.upgrade),
            tuple(proof.additional),
            head.signature or None,
        )
    return m.Data(
        request.id, request.fork, block=block, hash=data_hash, upgrade=upgrade, manifest=manifest
    )
