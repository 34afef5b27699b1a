"""A chain in this process with a hosting whose challenge is ready for its reports.

Every key is ours, time is travelled, nothing is sent: what remains is what the chain does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from chain_types import storage
from chain_types.calls import (
    AcceptHosting,
    AnchorFlip,
    OpenHosting,
    PublishFeed,
    SubmitReport,
)
from chain_types.extrinsic import Era, sign_extrinsic
from chain_types.extrinsic import Terms as Signed
from chain_types.metadata import decode_metadata
from chain_types.records import Challenge, Endpoint, Opening, Terms
from chain_types.report import Metrics, PeerMetrics, Percentiles
from chain_types.runtime import Runtime, RuntimeVersion
from chain_types.scale import Bytes
from chain_types.storage_keys import Item, Map
from chain_types.words import Call
from datdot_node import Chain
from datdot_node.rpc import views
from offchain_worker.attestor.context import report_context
from offchain_worker.audit.receipt import Entry, Receipt
from offchain_worker.audit.report import check_report, served_outcome, sign_report
from offchain_worker.chain.accounts import Account
from offchain_worker.coinflip.commitments import commitment_root
from offchain_worker.coinflip.envelope import Kind, signing_payload
from offchain_worker.coinflip.flip_secrets import FlipSecrets
from offchain_worker.coinflip.topic import Flip
from offchain_worker.hypercore.manifest import (
    encode_manifest,
    feed_key,
    signable,
    single_signer_manifest,
)
from offchain_worker.hypercore.tree import Node, TreeBuilder
from offchain_worker.keys import KeyPair
from offchain_worker.service.registration import attestor_registration, hoster_registration
from offchain_worker.testnet.genesis import UNIT, genesis_patch, timing

T = TypeVar("T")

BLOCK_MS = 500
LENGTH = 4_096
ATTESTORS = 10
MIN_ACTIVE = 7
SPONSOR, HOSTER = (Account.from_seed(bytes([seed]) * 32) for seed in (1, 2))
NOISE_KEY, AUTHOR = (KeyPair.from_seed(bytes([seed]) * 32) for seed in (3, 4))
MANIFEST = single_signer_manifest(AUTHOR.public)
FEED = feed_key(MANIFEST)


@dataclass
class World:
    """A chain in memory whose blocks are made by hand, and who signs for its accounts.

    Attributes:
        chain: the chain.
        runtime: its words.
        nonces: of the accounts, by their ids.
    """

    chain: Chain
    runtime: Runtime
    nonces: dict[bytes, int] = field(default_factory=dict)

    @classmethod
    def begin(cls, chain: Chain) -> World:
        """Read the runtime of a chain."""
        version = views.runtime_version(chain.call("Core_version"))
        metadata = Bytes(2**24).decode(chain.call("Metadata_metadata"))
        words = RuntimeVersion(
            version["specName"], version["specVersion"], version["transactionVersion"]
        )
        return cls(chain, Runtime(decode_metadata(metadata), words))

    def sign(self, call: Call, account: Account) -> bytes:
        """The account's next extrinsic."""
        nonce = self.nonces.get(account.public, 0)
        self.nonces[account.public] = nonce + 1
        era = Era.starting(self.chain.head.number, 64)
        terms = Signed(
            genesis=self.chain.genesis_hash,
            era=era,
            checkpoint=self.chain.hash(era.birth),
            nonce=nonce,
        )
        encoded = self.runtime.encode_call(call)
        return sign_extrinsic(self.runtime, encoded, account.public, account.sign, terms)

    def submit(self, *calls: tuple[Call, Account]) -> None:
        """Put the calls into one block; every one must succeed."""
        for call, account in calls:
            self.chain.submit(self.sign(call, account))
        block = self.new_block()
        events = self.runtime.decode_events(self.chain.storage(storage.EVENTS_KEY) or b"\0")
        first = len(block) - len(calls)
        for place in range(first, len(block)):
            error = self.runtime.outcome(events, place)
            if error is not None:
                raise RuntimeError(f"the chain refused {calls[place - first][0].name}: {error}")

    def new_block(self) -> tuple[bytes, ...]:
        """Make the next block, one slot later; its extrinsics."""
        self.chain.travel(BLOCK_MS)
        return self.chain.new_block().extrinsics

    def read(self, entry: Item[T] | Map[T], *keys: Any) -> T:
        """A value of storage that must be there."""
        raw = self.chain.storage(entry.key() if isinstance(entry, Item) else entry.key(*keys))
        if raw is None:
            raise RuntimeError(f"{entry.pallet}.{entry.name} is empty")
        value: T = entry.value.decode(raw)
        return value


@dataclass(frozen=True)
class Attestor:
    """An attestor's keys, and its secrets for the one challenge."""

    account: Account
    session_key: KeyPair
    secrets: FlipSecrets

    @classmethod
    def number(cls, number: int) -> Attestor:
        """The keys of the attestor with that number."""
        seed = bytes([10 + number]) * 32
        return cls(Account.from_seed(seed), KeyPair.from_seed(seed), FlipSecrets.generate())


def ready_for_reports(attestors: list[Attestor]) -> World:
    """A challenge of a 4,096-chunk feed with `attestors` as its roster, in stage Report."""
    accounts = [SPONSOR, HOSTER, *(attestor.account for attestor in attestors)]
    patch = genesis_patch(
        [account.public for account in accounts], attestors=len(attestors), block_ms=BLOCK_MS
    )
    patch["performance"]["timing"] = {
        **timing(attestors=len(attestors), block_ms=BLOCK_MS),
        "attestors": len(attestors),
        "minActive": MIN_ACTIVE,
    }
    world = World.begin(Chain.open(genesis_patch=patch))
    world.new_block()
    genesis = world.chain.genesis_hash
    endpoint = Endpoint.of("127.0.0.1", 1)
    world.submit(
        (PublishFeed(FEED, encode_manifest(MANIFEST)), SPONSOR),
        (hoster_registration(genesis, HOSTER, NOISE_KEY, endpoint), HOSTER),
        *(
            (attestor_registration(genesis, a.account, a.session_key, endpoint, 1), a.account)
            for a in attestors
        ),
    )
    world.new_block()
    world.new_block()
    terms = Terms(hoster_reward=UNIT, attestor_reward=UNIT, length=LENGTH, sla=None)
    world.submit((OpenHosting(FEED, HOSTER.public, 1_000 * UNIT, terms), SPONSOR))
    world.submit((AcceptHosting(0, 0, LENGTH), HOSTER))
    while not world.chain.storage(storage.START_HASHES.key(0)):
        world.new_block()
    _anchor(world, attestors)
    challenge = _challenge(world)
    world.chain.travel(max(0, challenge.end_ms - world.chain.now_ms()))
    # The block that finds the window over lets reports in; the one after it takes them.
    world.new_block()
    world.new_block()
    return world


def _challenge(world: World) -> Challenge:
    challenge = world.read(storage.CHALLENGES, 0)
    if challenge is None:
        raise RuntimeError("there is no challenge")
    return challenge


def _anchor(world: World, attestors: list[Attestor]) -> None:
    """Flip the coin as all members would, and anchor it."""
    keys = {attestor.session_key.public: attestor for attestor in attestors}
    roster = tuple(member.session_key for member in _challenge(world).roster)
    members = [keys[key] for key in roster]
    flip = Flip(
        genesis=world.chain.genesis_hash,
        challenge_id=0,
        start_block_hash=world.read(storage.START_HASHES, 0) or b"",
        attempt=0,
        roster=roster,
    )
    topic = flip.topic
    bodies = [m.secrets.commit_body(topic, m.session_key.public) for m in members]
    root = commitment_root(topic, [(body[:32], body[32:]) for body in bodies])
    openings = tuple(
        Opening(z=body[32:], salt=m.secrets.salt, x=m.secrets.x)
        for m, body in zip(members, bodies, strict=True)
    )
    echoes = tuple(
        m.session_key.sign(signing_payload(Kind.ECHO, topic, m.session_key.public, root))
        for m in members
    )
    world.submit((AnchorFlip(0, 0, openings, echoes), members[0].account))


@dataclass(frozen=True)
class FeedTree:
    """The whole tree of the feed. Its shape is what a proof's length depends on, not its bytes."""

    nodes: Mapping[int, Node]
    tree_hash: bytes

    @classmethod
    def build(cls) -> FeedTree:
        """Make the tree of 4,096 small chunks."""
        builder = TreeBuilder()
        nodes = {
            node.index: node
            for chunk in range(LENGTH)
            for node in builder.append(chunk.to_bytes(4, "little"))
        }
        return cls(nodes, builder.tree_hash())


def submit_report(world: World, tree: FeedTree, attestor: Attestor) -> SubmitReport:
    """What an attestor submits that was served at its moment."""
    challenge, flip = _challenge(world), world.read(storage.FLIPS, 0)
    index = challenge.index_of(attestor.account.public)
    if index is None or flip is None:
        raise RuntimeError("the challenge has no anchor, or another roster")
    secrets = attestor.secrets
    context = report_context(challenge, flip, attestor.account.public, index)
    drawn, opened = context.drawn(secrets.w), context.moment(secrets.w)
    receipt = Receipt(
        feed_key=FEED,
        fork=0,
        length=LENGTH,
        tree_hash=tree.tree_hash,
        client=secrets.audit_keypair.public,
        session=bytes(32),
        sequence=0,
        opened=opened,
        issued=opened + 100,
        byte_length=4 * len(drawn),
        entries=tuple(Entry(chunk, tree.nodes[2 * chunk].hash) for chunk in drawn),
    )
    windowed = context.habit(secrets.w).windowed
    # No two have the same figures, and the links of the last ones are too slow for theirs.
    metrics = Metrics(
        connect_us=100 - index,
        handshake_us=1_000 + index,
        first_chunk_us=1_000 + 7 * index % 5,
        latency_us=None if windowed else Percentiles(1_000 + index, 2_000, 3_000, 4_000 - index),
        throughput=10**8 + index if windowed else None,
        timeouts=0,
        observed=None,
    )
    report = sign_report(
        w=secrets.w,
        audit_key=secrets.audit_keypair,
        topic=flip.topic,
        account=attestor.account.public,
        outcome=served_outcome(
            receipt_message=receipt.sign(NOISE_KEY),
            receipt=receipt,
            head_signature=AUTHOR.sign(signable(FEED, MANIFEST, 0, LENGTH, tree.tree_hash)),
            tree_nodes=tree.nodes,
            drawn=drawn,
            proved=context.proved,
            metrics=metrics,
        ),
        peers=[
            PeerMetrics(peer, 500, 10**8 + 2)
            for peer in range(len(challenge.roster))
            if peer != index
        ],
    )
    check_report(report, context)
    return SubmitReport(0, report)
