"""A hoster with one feed, and all that an audit of it needs; importable by name."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import trio
import trio.testing

from chain_types.records import Feed, FeedKind
from offchain_worker.audit.report import ReportContext, check_report, sign_report
from offchain_worker.audit.session import AuditPlan, audit
from offchain_worker.coinflip.commitments import audit_commitment
from offchain_worker.hoster.adversary import Fault, faulty_hoster
from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.store import FeedStore, Library
from offchain_worker.hypercore.manifest import Manifest, feed_key, single_signer_manifest
from offchain_worker.keys import KeyPair

AUTHOR = KeyPair.from_seed(bytes([1]) * 32)
HOSTER = KeyPair.from_seed(bytes([2]) * 32)
AUDITOR = KeyPair.from_seed(bytes([3]) * 32)
START_MS = 1_800_000_000_000


@dataclass
class World:
    """A hoster with one feed, and a network that the tests can cut."""

    library: Library
    store: FeedStore
    nursery: trio.Nursery
    context: ReportContext
    w: bytes
    origin: float
    dialled: int = 0
    hosters: list[Hoster] = field(default_factory=list)

    def clock_ms(self) -> int:
        """The wall clock that goes with Trio's."""
        return START_MS + round((trio.current_time() - self.origin) * 1_000)

    def hoster(self, fault: Fault | None = None, **options) -> Hoster:
        options = {"clock_ms": self.clock_ms, **options}
        self.hosters.append(faulty_hoster(self.library, HOSTER, fault, **options))
        return self.hosters[-1]

    def dial(self, hoster: Hoster) -> Callable:
        async def dial() -> trio.abc.Stream:
            self.dialled += 1
            ours, theirs = trio.testing.memory_stream_pair()
            self.nursery.start_soon(hoster.serve_stream, theirs)
            return ours

        return dial

    def plan(self, **changes) -> AuditPlan:
        context = self.context
        plan = AuditPlan(
            feed_key=context.feed.key,
            hoster=HOSTER.public,
            audit_key=AUDITOR,
            fork=context.fork,
            length=context.length,
            drawn=context.drawn(self.w),
            habit=context.habit(self.w),
            chunks=context.chunks,
            proved=context.proved,
            moment=context.moment(self.w),
            end_ms=START_MS + 60_000,
            chunk_timeout_ms=1_000,
            clock_tolerance_ms=context.clock_tolerance_ms,
        )
        return replace(plan, **changes)

    async def audit(self, serving: Hoster, **changes):
        return await audit(
            self.plan(**changes),
            self.dial(serving),
            clock_ms=self.clock_ms,
            choices=random.Random(1),
        )


def context_for(length: int, *, windowed: bool, compat: bool = False):
    """What the chain knows, and a w that draws the wished habit."""
    manifest = None if compat else single_signer_manifest(AUTHOR.public)
    context = ReportContext(
        topic=b"t" * 32,
        result=b"R" * 32,
        account=b"a" * 32,
        session_key=b"k" * 32,
        commitment=b"",
        roster_size=5,
        roster_index=0,
        feed=Feed(
            key=AUTHOR.public if manifest is None else feed_key(manifest),
            signer=AUTHOR.public,
            kind=FeedKind.COMPAT if compat else FeedKind.MANIFEST,
        ),
        hoster=HOSTER.public,
        fork=0,
        length=length,
        chunks=100,
        proved=32,
        window_start_ms=START_MS + 1_000,
        window_ms=10_000,
        clock_tolerance_ms=2_000,
    )
    w = next(
        w
        for w in (bytes([n]) * 32 for n in range(256))
        if context.habit(w).windowed == windowed and context.habit(w).multiple > 1
    )
    commitment = audit_commitment(context.topic, context.session_key, w, AUDITOR.public)
    return replace(context, commitment=commitment), w


def manifest_of(feed: Feed) -> Manifest | None:
    return None if feed.kind is FeedKind.COMPAT else single_signer_manifest(feed.signer)


def chunk(index: int) -> bytes:
    return random.Random(index).randbytes(index % 700)


def before_each_write(stream: trio.StapledStream, action: Callable) -> None:
    """Await `action` between a write and its delivery to the other side."""
    deliver = stream.send_stream.send_all_hook

    async def hook() -> None:
        await action()
        await deliver()

    stream.send_stream.send_all_hook = hook


@contextmanager
def open_world(
    folder: Path, nursery: trio.Nursery, *, vouched: int = 140, unvouched: int = 10
) -> Iterator[World]:
    """A hoster of a feed that is longer than what it vouched for; its old head is in the store."""
    with Library(folder / "library") as library:
        context, w = context_for(vouched, windowed=False)
        store = library.create(context.feed.key, manifest_of(context.feed))
        earlier = max(1, vouched - 10)
        append(store, [chunk(index) for index in range(earlier)], AUTHOR)
        rest = range(earlier, vouched + unvouched)
        if rest:
            append(store, [chunk(index) for index in rest], AUTHOR)
        yield World(library, store, nursery, context, w, trio.current_time())


def accepted(world: World, result) -> bool:
    """Whether the chain's rules accept the report of this audit."""
    report = sign_report(
        w=world.w,
        audit_key=AUDITOR,
        topic=world.context.topic,
        account=world.context.account,
        outcome=result.outcome,
    )
    return check_report(report, world.context) == result.receipt
