"""The probe against links whose times are known: exact on a mock clock, close on sockets."""

import random
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from audit_world import AUTHOR, HOSTER

from offchain_worker.audit.probe import ProbePlan, probe
from offchain_worker.hoster.feeds import append
from offchain_worker.hoster.hoster import Hoster
from offchain_worker.hoster.store import Library
from offchain_worker.hypercore.errors import NotHosted, Unreachable, WrongIdentity
from offchain_worker.hypercore.manifest import feed_key, single_signer_manifest
from offchain_worker.hypercore.reader import WINDOW, Timeouts
from offchain_worker.measurement.percentiles import percentiles, to_microseconds
from offchain_worker.simulation.link import LinkShape, Schedule, Way, carry, open_link
from offchain_worker.simulation.recording import Recording

MANIFEST = single_signer_manifest(AUTHOR.public)
KEY = feed_key(MANIFEST)
CHUNK_BYTES = 16 * 1024
CHUNKS = 128
SAMPLES = 150
PATIENT = Timeouts(handshake=60, head=60, block=60)


@dataclass
class Served:
    """A hoster behind links."""

    hoster: Hoster
    nursery: trio.Nursery
    dialled: int = 0

    def through(self, up: LinkShape, down: LinkShape, recording: Recording) -> Callable:
        """Dials over a link on memory streams."""
        ways = {
            Way.UP: Schedule(up, random.Random(1)),
            Way.DOWN: Schedule(down, random.Random(2)),
        }

        async def dial() -> trio.abc.Stream:
            ours, near = trio.testing.memory_stream_pair()
            far, theirs = trio.testing.memory_stream_pair()
            link = partial(
                carry,
                near,
                far,
                ways,
                precise=False,
                number=self.dialled,
                observe=recording.take,
            )
            self.dialled += 1
            self.nursery.start_soon(link)
            self.nursery.start_soon(self.hoster.serve_stream, theirs)
            return ours

        return dial


@pytest.fixture
def served(tmp_path: Path, nursery: trio.Nursery) -> Iterator[Served]:
    with Library(tmp_path / "library") as library:
        store = library.create(KEY, MANIFEST)
        noise = random.Random(7)
        append(store, [noise.randbytes(CHUNK_BYTES) for _ in range(CHUNKS)], AUTHOR)
        yield Served(Hoster(library, HOSTER), nursery)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("delay_ms", "bandwidth"), [(1, 40e6), (10, 10e6), (50, 1e6), (150, 40e6)])
async def test_figures_are_those_of_the_link(autojump_clock, served, delay_ms, bandwidth) -> None:
    shape = LinkShape(delay_ms / 1_000, bandwidth)
    recording = Recording()
    found = await probe(
        served.through(shape, shape, recording),
        ProbePlan(KEY, samples=SAMPLES, expected_remote=HOSTER.public),
        random.Random(3),
        PATIENT,
    )
    assert (found.peer_key, found.feed_key) == (HOSTER.public.hex(), KEY.hex())
    assert (found.fork, found.length) == (0, CHUNKS)
    assert found.latency is not None
    assert len(found.latency.samples_us) == SAMPLES
    # Nothing takes time but the link: each sample is the truth, to the microsecond.
    truth = [to_microseconds(seconds) for seconds in recording.latencies(0, CHUNK_BYTES)]
    assert found.latency.samples_us == pytest.approx(truth, abs=1.0)
    assert found.latency.latency_us.p50 == pytest.approx(percentiles(truth).p50, abs=1.0)
    on_paper = 2 * delay_ms * 1_000 + 1e6 * CHUNK_BYTES / bandwidth
    assert on_paper < found.latency.latency_us.p50 < on_paper + 1e6 * 1_000 / bandwidth
    # Proofs and framing are all that the chunks' own bytes lack of the link's bandwidth.
    assert found.throughput is not None
    assert found.throughput.chunks >= SAMPLES
    assert found.throughput.chunk_bytes == found.throughput.chunks * CHUNK_BYTES
    allowed = WINDOW * CHUNK_BYTES * 1e6 / found.latency.latency_us.p50
    assert found.throughput.throughput == pytest.approx(min(bandwidth, allowed), rel=0.05)
    assert found.throughput.throughput == pytest.approx(recording.rate(1, CHUNK_BYTES), rel=0.01)
    overhead = found.throughput.wire_bytes / found.throughput.chunk_bytes
    assert 1 < overhead < 1.03


@pytest.mark.parametrize("jitter_ms", [1, 20])
async def test_percentiles_are_those_of_the_delays_that_were_drawn(
    autojump_clock, served, jitter_ms
) -> None:
    shape = LinkShape(0.01, 10e6, jitter_ms / 1_000)
    recording = Recording()
    dial = served.through(shape, shape, recording)
    plan = ProbePlan(KEY, samples=SAMPLES, windowed=False)
    found = await probe(dial, plan, random.Random(3), PATIENT)
    truth = [to_microseconds(seconds) for seconds in recording.latencies(0, CHUNK_BYTES)]
    assert found.latency is not None
    assert found.throughput is None
    assert found.latency.samples_us == pytest.approx(truth, abs=1.0)
    assert astuple(found.latency.latency_us) == pytest.approx(astuple(percentiles(truth)), abs=1.0)
    least = 20_000 + 1e6 * CHUNK_BYTES / 10e6
    assert least < min(truth) < least + 1_000 * jitter_ms < max(truth)


async def test_a_distant_peer_is_read_for_twenty_round_trips(autojump_clock, served) -> None:
    shape = LinkShape(0.15, 40e6)
    dial = served.through(shape, shape, Recording())
    found = await probe(dial, ProbePlan(KEY, samples=50), random.Random(3), PATIENT)
    assert found.throughput is not None
    assert found.throughput.seconds > 20 * 0.3
    assert found.throughput.chunks > 50


async def test_a_slow_peer_is_not_read_for_ever(autojump_clock, served) -> None:
    shape = LinkShape(1.5, 40e6)
    dial = served.through(shape, shape, Recording())
    found = await probe(dial, ProbePlan(KEY, samples=2, longest_s=15.0), random.Random(3), PATIENT)
    assert found.throughput is not None
    assert found.throughput.seconds < 40


async def test_without_a_feed_it_only_greets(autojump_clock, served) -> None:
    shape = LinkShape(0.05)
    dial = served.through(shape, shape, Recording())
    found = await probe(dial, ProbePlan(None), random.Random(3))
    assert (found.feed_key, found.length, found.latency, found.throughput) == (None,) * 4
    assert found.opening.head_us is None
    # Noise takes two round trips for who dials, and the link's connect none.
    assert found.opening.handshake_us == pytest.approx(200_000, rel=0.01)
    assert found.peer_key == HOSTER.public.hex()


async def test_what_is_wrong_is_said(autojump_clock, served) -> None:
    dial = served.through(LinkShape(), LinkShape(), Recording())
    with pytest.raises(NotHosted):
        await probe(dial, ProbePlan(b"n" * 32), random.Random(3))
    for feed in (KEY, None):
        plan = ProbePlan(feed, expected_remote=AUTHOR.public)
        with pytest.raises(WrongIdentity):
            await probe(dial, plan, random.Random(3))

    async def refused() -> trio.abc.Stream:
        raise ConnectionRefusedError(111, "Connection refused")

    with pytest.raises(Unreachable):
        await probe(refused, ProbePlan(KEY), random.Random(3))


@pytest.mark.parametrize("samples", [0, 1, 100_001])
def test_a_number_of_samples_that_says_nothing_is_refused(samples) -> None:
    with pytest.raises(ValueError, match="samples"):
        ProbePlan(KEY, samples=samples)


async def test_over_sockets_it_is_close_to_the_truth(served) -> None:
    """What `make bench PARTS=accuracy` holds to its aims, here only roughly."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    served.nursery.start_soon(partial(trio.serve_listeners, served.hoster.serve_stream, [listener]))
    recording = Recording()
    shape = LinkShape(0.01, 10e6, 0.002)
    at = listener.socket.getsockname()
    async with open_link(*at, up=shape, observe=recording.take) as link:
        dial = partial(trio.open_tcp_stream, link.host, link.port)
        found = await probe(dial, ProbePlan(KEY, samples=60), random.Random(3))
    assert found.latency is not None
    assert found.throughput is not None
    truth = [to_microseconds(seconds) for seconds in recording.latencies(0, CHUNK_BYTES)]
    assert min(found.latency.samples_us) >= 20_000
    late = [got - true for got, true in zip(found.latency.samples_us, truth, strict=True)]
    # Never early; on a busy machine the link hands over late, so only the best is compared.
    assert -100 <= min(late) < 1_000
    assert found.throughput.throughput <= 10e6 * 1.02
