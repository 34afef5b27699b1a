"""What our pallets store, and what their calls and events carry.

Accounts, keys and hashes are 32 bytes; money is in the smallest unit; times are ms since 1970.
Source: the pallets' `types.rs` and `timing.rs`; challenge.md §2.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, TypeAlias

from chain_types.report import MAX_PEERS, Metrics, PeerMetrics, Reason
from chain_types.scale import (
    U8,
    U16,
    U32,
    U64,
    U128,
    FixedBytes,
    Hash,
    Limit,
    Variants,
    variants,
)

MAX_ROSTER = 32
MIN_AUDIT_MS = 500
"""Room for audit moments that a fallback must leave; with less the challenge is Void."""
MAX_PAYMENTS = 2 * MAX_ROSTER + 2
MAX_HISTORY = 32
MAX_HEADS = 8
MAX_PAGE = 256
"""Hosters that one question looks at."""
MAX_TASKS = 2**12
MANIFEST_BYTES = 70

AccountId: TypeAlias = Hash
Balance: TypeAlias = U128
BlockNumber: TypeAlias = U32
ChallengeId: TypeAlias = U64
HostingId: TypeAlias = U64
PublicKey: TypeAlias = Hash
Manifest: TypeAlias = Annotated[bytes, FixedBytes(MANIFEST_BYTES)]


class Role(enum.IntEnum):
    """What an account does for the network; one account may do both."""

    ATTESTOR = 0
    HOSTER = 1


@dataclass(frozen=True)
class V4:
    """An IPv4 address: 4 bytes."""

    octets: Annotated[bytes, FixedBytes(4)]


@dataclass(frozen=True)
class V6:
    """An IPv6 address: 16 bytes."""

    octets: Annotated[bytes, FixedBytes(16)]


IP: Variants[V4 | V6] = variants(V4=V4, V6=V6)


@dataclass(frozen=True)
class Endpoint:
    """Where a provider listens."""

    ip: Annotated[V4 | V6, IP]
    port: U16

    @classmethod
    def of(cls, host: str, port: int) -> Endpoint:
        """Return the endpoint of an address in text form.

        Raises:
            ValueError: it is no IP address. Host names are not allowed.
        """
        try:
            return cls(V4(IPv4Address(host).packed), port)
        except ValueError:
            return cls(V6(IPv6Address(host).packed), port)

    @property
    def host(self) -> str:
        """The address in text form."""
        kind = IPv4Address if isinstance(self.ip, V4) else IPv6Address
        return str(kind(self.ip.octets))

    def __str__(self) -> str:
        return (
            f"[{self.host}]:{self.port}" if isinstance(self.ip, V6) else f"{self.host}:{self.port}"
        )


@dataclass(frozen=True)
class Change:
    """A change of activity that waits for its block."""

    active: bool
    due: BlockNumber


@dataclass(frozen=True)
class Provider:
    """A registered attestor or hoster.

    Attributes:
        key: session key of an attestor, Noise key of a hoster.
        endpoint: where it listens.
        bond: what is held for this role.
        capacity: of an attestor, the most open challenges that it wants to be in.
        engagements: open challenges of an attestor, hostings of a hoster.
        absences: of an attestor, in a row.
        last_closed: block in which its last challenge or hosting ended.
        active: whether it takes work.
        change: of `active`, that waits.
    """

    key: PublicKey
    endpoint: Endpoint
    bond: Balance
    capacity: U32
    engagements: U32
    absences: U32
    last_closed: BlockNumber
    active: bool
    change: Change | None

    @property
    def wants_work(self) -> bool:
        """Whether it takes work, or will as soon as its change is due."""
        return self.active if self.change is None else self.change.active


@dataclass(frozen=True)
class Unbonding:
    """The bond of a provider that deregistered, free from a block on."""

    amount: Balance
    free_at: BlockNumber


@dataclass(frozen=True)
class Held:
    """A key that is a provider's."""

    account: AccountId
    role: Role


@dataclass(frozen=True)
class Reserved:
    """A key that was a provider's, and is nobody's until UnbondingBlocks have passed."""

    account: AccountId


KEY_USE: Variants[Held | Reserved] = variants(Held=Held, Reserved=Reserved)


class FeedKind(enum.IntEnum):
    """How the key of a feed names its signer (hypercore.md §6)."""

    MANIFEST = 0
    COMPAT = 1


@dataclass(frozen=True)
class Feed:
    """A published feed: its key, who signs its heads, and how the key names the signer."""

    key: Hash
    signer: PublicKey
    kind: FeedKind


@dataclass(frozen=True)
class Sla:
    """Bounds for the medians: latency at most, throughput (bytes per second) at least.

    The chain takes none without a bound, and no bound of 0.
    """

    latency_p50_us: U32 | None
    throughput: U64 | None

    def is_broken_by(self, medians: Medians) -> bool:
        """Whether a challenge with these medians pays the hoster nothing (challenge.md §6)."""
        latency, throughput = medians.latency_p50_us, medians.throughput
        return (
            self.latency_p50_us is not None
            and latency is not None
            and latency.value > self.latency_p50_us
        ) or (
            self.throughput is not None
            and throughput is not None
            and throughput.value < self.throughput
        )


@dataclass(frozen=True)
class Terms:
    """What sponsor and hoster agree on.

    Attributes:
        hoster_reward: for a passed challenge, at most.
        attestor_reward: to each attestor for a report, at most.
        length: chunks that the hoster must vouch for, at least.
        sla: bounds for the hoster's performance.
    """

    hoster_reward: Balance
    attestor_reward: Balance
    length: U64
    sla: Sla | None


@dataclass(frozen=True)
class Vouched:
    """The fork and number of chunks that a hoster has and will keep."""

    fork: U64
    length: U64


@dataclass(frozen=True)
class Hosting:
    """A sponsor's offer, or what became of it.

    Attributes:
        feed: key of the feed.
        sponsor, hoster: who pays, who serves.
        terms: the agreement.
        escrow: held for challenges.
        forfeited: held beside the escrow, burnt when the hosting ends.
        bond: held from the hoster; zero before it accepted.
        vouched: None as long as the hoster has not accepted.
        challenged: whether a challenge runs.
        closing: whether it ends with the running challenge.
        streak: failed challenges since the last one that passed.
        resting: the fork that the hoster has to vouch for before the next challenge, as the author
            has rewritten the feed.
    """

    feed: Hash
    sponsor: AccountId
    hoster: AccountId
    terms: Terms
    escrow: Balance
    forfeited: Balance
    bond: Balance
    vouched: Vouched | None
    challenged: bool
    closing: bool
    streak: U32
    resting: U64 | None


@dataclass(frozen=True)
class Uniform:
    """Audit moments anywhere in the window."""


@dataclass(frozen=True)
class Slots:
    """One slot for each attestor, jittered by at most num/den of it to either side."""

    num: U32
    den: U32


SCHEDULE: Variants[Uniform | Slots] = variants(Uniform=Uniform, Slots=Slots)


@dataclass(frozen=True)
class Timing:
    """The durations (ms), numbers of blocks and counts of a challenge (challenge.md §2.2)."""

    block_ms: U64
    join_ms: U64
    delta_ms: U64
    finality_ms: U64
    flip_ms: U64
    commit_ms: U64
    commit_blocks: U32
    window_ms: U64
    tail_ms: U64
    chunk_timeout_ms: U64
    grace_blocks: U32
    demand_blocks: U32
    attestors: U32
    min_active: U32
    chunks: U32
    proved: U32
    clock_tolerance_ms: U64
    pool_factor: U32
    min_age: U32
    schedule: Annotated[Uniform | Slots, SCHEDULE]

    def moments_from(self, t0: int) -> int:
        """Tlo of a challenge that started at `t0` and was anchored (challenge.md §3.1)."""
        return t0 + self.flip_ms + 2 * self.block_ms

    def moments_after(self, fixed_ms: int) -> int:
        """Tlo after a fallback whose R was fixed in a block of this timestamp."""
        return fixed_ms + 2 * self.block_ms


@dataclass(frozen=True)
class Member:
    """A drawn attestor, as it was at the start of the challenge."""

    account: AccountId
    session_key: PublicKey


Roster: TypeAlias = Annotated[tuple[Member, ...], Limit(MAX_ROSTER)]


def places_of(bits: int) -> tuple[int, ...]:
    """Return the places of a roster that a set of bits names (bit i: place i), ascending."""
    return tuple(place for place in range(MAX_ROSTER) if bits >> place & 1)


@dataclass(frozen=True)
class Deadline:
    """What is due ends with a count of blocks with room, or with a block."""

    rooms: U64
    block: BlockNumber


class Verdict(enum.IntEnum):
    """How a challenge ended (challenge.md §6)."""

    PASSED = 0
    FAILED = 1
    INCONCLUSIVE = 2
    VOID = 3


@dataclass(frozen=True)
class Flipping:
    """Stage `Flip`: the coinflip runs."""


@dataclass(frozen=True)
class Committing:
    """Stage `Commit`: nothing was anchored, commitments for the fallback are taken.

    Attributes:
        since, opened_ms: F, the block in which it began, and its timestamp.
    """

    since: BlockNumber
    opened_ms: U64


@dataclass(frozen=True)
class Auditing:
    """Stage `Audit`: attestors audit at their moments."""


@dataclass(frozen=True)
class Reporting:
    """Stage `Report`: reports are taken.

    Attributes:
        since: the block from which on.
        deadline: D.
        answers: until when the open demands are to be answered, all of them; None: there are none.
    """

    since: BlockNumber
    deadline: Deadline
    answers: Deadline | None


@dataclass(frozen=True)
class Closed:
    """Stage `Closed`: settled in a block."""

    at: BlockNumber
    outcome: Verdict


STAGE: Variants[Flipping | Committing | Auditing | Reporting | Closed] = variants(
    Flip=Flipping, Commit=Committing, Audit=Auditing, Report=Reporting, Closed=Closed
)
Stage: TypeAlias = Annotated[Flipping | Committing | Auditing | Reporting | Closed, STAGE]


@dataclass(frozen=True)
class Challenge:
    """A challenge: what was so at its start, and its stage.

    Attributes:
        hosting, hoster, sponsor: what is audited, who serves, who pays.
        noise_key: the hoster's.
        feed, terms: of the hosting.
        fork, length: what the hoster vouched for; length is L*.
        block, t0: S and its timestamp T0.
        timing: what holds for it.
        randomness: with which the roster was drawn.
        roster: who audits, ascending by session key.
        stage: where it is in its life.
    """

    hosting: HostingId
    hoster: AccountId
    sponsor: AccountId
    noise_key: PublicKey
    feed: Feed
    terms: Terms
    fork: U64
    length: U64
    block: BlockNumber
    t0: U64
    timing: Timing
    randomness: Hash
    roster: Roster
    stage: Stage

    @property
    def end_ms(self) -> int:
        """END: from this timestamp on, reports are taken."""
        return self.t0 + self.timing.window_ms

    @property
    def flip_end_ms(self) -> int:
        """From this timestamp on, nothing is anchored."""
        return self.t0 + self.timing.flip_ms

    @property
    def moments_end_ms(self) -> int:
        """Tlo + W: no audit moment is at or after this timestamp (challenge.md §3.1)."""
        return self.t0 + self.timing.window_ms - self.timing.tail_ms

    def moments_ms(self, flip: Flip) -> int:
        """W: how long the audit moments extend from `flip.moments_from`."""
        return self.moments_end_ms - flip.moments_from

    def commits_are_over(self, stage: Committing, block: int, timestamp_ms: int) -> bool:
        """Whether a block is C or later: the fallback takes no more commitments.

        Args:
            stage: the challenge's, from block F on.
            block, timestamp_ms: the block's number and timestamp.
        """
        return (
            timestamp_ms >= stage.opened_ms + self.timing.commit_ms
            and block >= stage.since + self.timing.commit_blocks
        )

    def index_of(self, account: bytes) -> int | None:
        """Return the place of an account in the start roster."""
        for index, member in enumerate(self.roster):
            if member.account == account:
                return index
        return None


@dataclass(frozen=True)
class Opening:
    """A member's commitment z and the opening of its y, for `anchor_flip`."""

    z: Hash
    salt: Hash
    x: Hash


@dataclass(frozen=True)
class Flip:
    """The shared randomness of a challenge: anchored, or of the fallback.

    A place is a position in the start roster; the active members are a part of it.

    Attributes:
        attempt, topic, root: which run, and what all echoes signed.
        randomness: R.
        active: bit i: the member at place i is active.
        commitments: each active member's z, in the order of their places.
        moments_from: Tlo, ms since 1970.
        block, by: where it was fixed, and the place of who anchored it; None: the fallback did.
        chain_randomness: what a fallback mixed in; None when it was anchored.
        late: bit i: the member at place i came with an anchor of its own later.
    """

    attempt: U32
    topic: Hash
    root: Hash
    randomness: Hash
    active: U32
    commitments: Annotated[tuple[Hash, ...], Limit(MAX_ROSTER)]
    moments_from: U64
    block: BlockNumber
    by: U8 | None
    chain_randomness: Hash | None
    late: U32

    @property
    def fell_back(self) -> bool:
        """Whether it is the chain's fallback."""
        return self.chain_randomness is not None

    @property
    def places(self) -> tuple[int, ...]:
        """The places of the active members, ascending."""
        return places_of(self.active)

    def rank(self, place: int) -> int | None:
        """Return Y, how many active members come before the one at a place; None: not active."""
        if not self.active >> place & 1:
            return None
        return (self.active & ((1 << place) - 1)).bit_count()

    def commitment_of(self, place: int) -> bytes | None:
        """Return z of the member at a place; None if it is not active."""
        rank = self.rank(place)
        return None if rank is None else self.commitments[rank]


@dataclass(frozen=True)
class Expulsion:
    """A member that is in no later attempt: a fraud was proven.

    Attributes:
        place: in the start roster.
        timestamp_ms, block: of the block that took the first proof.
    """

    place: U8
    timestamp_ms: U64
    block: BlockNumber


@dataclass(frozen=True)
class FallbackCommit:
    """A commitment for the fallback: by whom (place in the start roster), and z."""

    place: U8
    z: Hash


@dataclass(frozen=True)
class Fallback:
    """The flip on the chain (coinflip.md §5).

    Attributes:
        topic: of attempt 2^31 among its roster.
        roster: bit i: place i is in it; frozen in block F.
        commits: by place, ascending.
    """

    topic: Hash
    roster: U32
    commits: Annotated[tuple[FallbackCommit, ...], Limit(MAX_ROSTER)]

    @property
    def places(self) -> tuple[int, ...]:
        """The places of its roster, ascending."""
        return places_of(self.roster)

    @property
    def missing(self) -> tuple[int, ...]:
        """The places of its roster that have not committed, ascending."""
        committed = {commit.place for commit in self.commits}
        return tuple(place for place in self.places if place not in committed)


class FraudKind(enum.IntEnum):
    """What was proven; the numbers are those in the evidence's id (coinflip.md §4)."""

    EQUIVOCATION = 0
    """E1: two signed envelopes that contradict each other."""
    BAD_REVEAL = 1
    """E2: a signed reveal that does not open the signed commitment."""
    FALSE_RECEIPT = 2
    """E6: a hoster's receipt that its own tree contradicts (challenge.md §5)."""


@dataclass(frozen=True)
class Fraud:
    """A fraud that was proven.

    Attributes:
        offender: who lost its bond.
        proof: which kind.
        reporter, block: who proved it, and in which block.
        slashed: what the offender lost.
        reward: the reporter's part of it; the rest was burnt.
    """

    offender: AccountId
    proof: FraudKind
    reporter: AccountId
    block: BlockNumber
    slashed: Balance
    reward: Balance


@dataclass(frozen=True)
class Tally:
    """Who has reported (bit i: place i of the start roster), and how many of each kind."""

    reported: U32
    served: U32
    failed: U32

    def has(self, index: int) -> bool:
        """Whether the member at a place of the start roster has reported."""
        return bool(self.reported >> index & 1)


@dataclass(frozen=True)
class FeedHead:
    """A head of a feed."""

    fork: U64
    length: U64
    tree_hash: Hash


@dataclass(frozen=True)
class ServedRecord:
    """What is kept of a receipt and its metrics.

    Attributes:
        head: of the receipt.
        session, sequence: which receipt of which session.
        opened_ms, issued_ms: by the hoster's clock.
        chunks, proved: in the receipt, and by the multiproof.
        metrics: how fast it was.
    """

    head: FeedHead
    session: Hash
    sequence: U32
    opened_ms: U64
    issued_ms: U64
    chunks: U32
    proved: U32
    metrics: Metrics


@dataclass(frozen=True)
class FailedRecord:
    """What is kept of a failure: why, and the chunk that it demands."""

    reason: Reason
    demand: U64 | None


REPORTED: Variants[ServedRecord | FailedRecord] = variants(Served=ServedRecord, Failed=FailedRecord)
ReportedOutcome: TypeAlias = Annotated[ServedRecord | FailedRecord, REPORTED]


@dataclass(frozen=True)
class ReportRecord:
    """What is kept of an accepted report; the whole of it is in the extrinsic.

    Attributes:
        block, extrinsic: where it is.
        bytes: of its encoding.
        w, audit_key: the opened secret, and the client's key.
        moment_ms: the audit moment that follows from R and w.
        windowed: whether the session was drawn to be windowed.
        outcome: what was reported.
        peers: what was measured of fellow attestors.
    """

    block: BlockNumber
    extrinsic: U32
    bytes: U32
    w: Hash
    audit_key: PublicKey
    moment_ms: U64
    windowed: bool
    outcome: ReportedOutcome
    peers: Annotated[tuple[PeerMetrics, ...], Limit(MAX_PEERS)]


@dataclass(frozen=True)
class ShownChunk:
    """Answer `Chunk`: the hoster showed the chunk."""


@dataclass(frozen=True)
class RewrittenFeed:
    """Answer `Rewritten`: the hoster showed the author's signature on a higher fork."""

    fork: U64


ANSWER_KIND: Variants[ShownChunk | RewrittenFeed] = variants(
    Chunk=ShownChunk, Rewritten=RewrittenFeed
)
AnswerKind: TypeAlias = Annotated[ShownChunk | RewrittenFeed, ANSWER_KIND]


@dataclass(frozen=True)
class Open:
    """A demand that the hoster has not answered yet."""


@dataclass(frozen=True)
class Answered:
    """A demand that the hoster answered.

    Attributes:
        answer: with what.
        block, extrinsic: where the whole answer is.
        fee: what the attestor paid for it.
    """

    answer: AnswerKind
    block: BlockNumber
    extrinsic: U32
    fee: Balance


@dataclass(frozen=True)
class Unanswered:
    """A demand that was not answered in time: what it cost the hoster, and what of that the
    attestor got; the rest was burnt."""

    slashed: Balance
    reward: Balance


DEMAND_STATE: Variants[Open | Answered | Unanswered] = variants(
    Open=Open, Answered=Answered, Unanswered=Unanswered
)


@dataclass(frozen=True)
class Demand:
    """A chunk that an attestor which was not served wants to see on chain.

    Attributes:
        chunk: its index.
        block: that took it, with the report.
        due: until when the hoster may answer.
        deposit: held from the attestor while it is open.
        state: what became of it.
    """

    chunk: U64
    block: BlockNumber
    due: Deadline
    deposit: Balance
    state: Annotated[Open | Answered | Unanswered, DEMAND_STATE]


@dataclass(frozen=True)
class Median:
    """The nearest-rank median of one figure, and how far its samples lie apart.

    Attributes:
        value: the median, in the figure's unit.
        reports: of how many reports.
        low, high: the nearest-rank quartiles.
    """

    value: U64
    reports: U32
    low: U64
    high: U64


@dataclass(frozen=True)
class Medians:
    """The medians over the Served reports; None where no report has the figure.

    `throughput` is of the sessions that the attestor's own link did not hold up,
    `throughput_at_least` of the others: the hoster is at least as fast.
    """

    connect_us: Median | None
    handshake_us: Median | None
    first_chunk_us: Median | None
    latency_p50_us: Median | None
    latency_p90_us: Median | None
    latency_p99_us: Median | None
    latency_max_us: Median | None
    throughput: Median | None
    throughput_at_least: Median | None
    timeouts: Median | None
    observed_latency_p50_us: Median | None
    observed_throughput: Median | None


@dataclass(frozen=True)
class HistoryEntry:
    """A settled challenge in the history of its hosting."""

    challenge: ChallengeId
    outcome: Verdict
    medians: Medians


History: TypeAlias = Annotated[tuple[HistoryEntry, ...], Limit(MAX_HISTORY)]


@dataclass(frozen=True)
class HosterEntry:
    """A settled challenge in the record of its hoster: outcome and two of its medians."""

    challenge: ChallengeId
    outcome: Verdict
    latency_p50_us: U32 | None
    throughput: U64 | None


@dataclass(frozen=True)
class HosterSummary:
    """How a hoster did in its last challenges, the later ones counting more.

    The weights are in docs/protocol.md (Records of hosters).

    Attributes:
        passed, failed, inconclusive: challenges that ended so, ever.
        passed_permille: of the last 32, what part passed by weight, in thousandths.
        latency_p50_us: of the last 32, the weighted median of their median latencies.
        throughput: of the last 32, the weighted median of their throughputs, bytes per second.
        latency_challenges, throughput_challenges: in how many of the last 32 it was measured.
        updated: block of the last settlement.
    """

    passed: U64
    failed: U64
    inconclusive: U64
    passed_permille: U16
    latency_p50_us: U32 | None
    throughput: U64 | None
    latency_challenges: U32
    throughput_challenges: U32
    updated: BlockNumber


@dataclass(frozen=True)
class HosterRecord:
    """What is kept of a hoster's performance: the last challenges, oldest first."""

    summary: HosterSummary
    recent: Annotated[tuple[HosterEntry, ...], Limit(MAX_HISTORY)]


@dataclass(frozen=True)
class Rank:
    """A place in the ranking of hosters, by latency (µs, big-endian), then by account."""

    latency_p50_us: Annotated[bytes, FixedBytes(4)]
    hoster: AccountId


@dataclass(frozen=True)
class FoundHoster:
    """A hoster that meets an SLA."""

    hoster: AccountId
    summary: HosterSummary


@dataclass(frozen=True)
class HosterPage:
    """Some of the hosters that meet an SLA, the fastest first.

    Attributes:
        hosters: maybe none, though there are more.
        next: where to go on; None: there are no more.
    """

    hosters: Annotated[tuple[FoundHoster, ...], Limit(MAX_PAGE)]
    next: Rank | None


@dataclass(frozen=True)
class Wait:
    """A hosting that waits for its next challenge.

    Attributes:
        sponsor: who pays for it.
        turn: of the sponsors, in which it is drawn.
        since: block of the last event that made it ready.
    """

    sponsor: AccountId
    turn: U64
    since: BlockNumber


class PaymentKind(enum.IntEnum):
    """For what somebody is paid."""

    HOSTING = 0
    REPORT = 1
    CLOSING = 2
    WITHHOLDING = 3
    """An attestor whose demand was not answered, out of the hosting's bond."""


@dataclass(frozen=True)
class Payment:
    """One payment of a settlement."""

    account: AccountId
    kind: PaymentKind
    amount: Balance


Payments: TypeAlias = Annotated[tuple[Payment, ...], Limit(MAX_PAYMENTS)]


@dataclass(frozen=True)
class Absence:
    """An attestor who did not report or commit, and what it paid out of its bond."""

    account: AccountId
    fee: Balance


Absences: TypeAlias = Annotated[tuple[Absence, ...], Limit(MAX_ROSTER)]


@dataclass(frozen=True)
class Settlement:
    """How a challenge was settled, and why so.

    Attributes:
        outcome: how.
        active, served, failed: attestors, and what they reported.
        medians: of the served ones.
        paid, absent: who was paid, who was absent.
        burnt, to_escrow: what became of the absence fees.
        forfeited: what of the hoster's reward was not earned.
        slashed: what withholding cost the hoster; what the demanders did not get was burnt.
    """

    outcome: Verdict
    active: U32
    served: U32
    failed: U32
    medians: Medians
    paid: Payments
    absent: Absences
    burnt: Balance
    to_escrow: Balance
    forfeited: Balance
    slashed: Balance


@dataclass(frozen=True)
class OpenChallenge:
    """A challenge of an account that is not settled, as the runtime tells it.

    Attributes:
        id: which.
        index: of the account in the roster; None for the hoster.
        stage: where it is in its life.
        reported: whether the account has reported.
    """

    id: ChallengeId
    index: U8 | None
    stage: Stage
    reported: bool


@dataclass(frozen=True)
class UntilTimestamp:
    """Until the first block with this timestamp or a later one."""

    timestamp_ms: U64


@dataclass(frozen=True)
class UntilBoth:
    """Until the first block that has both this timestamp and this number, or later ones."""

    timestamp_ms: U64
    block: BlockNumber


@dataclass(frozen=True)
class UntilDeadline:
    """Until a deadline has passed."""

    deadline: Deadline


UNTIL: Variants[UntilTimestamp | UntilBoth | UntilDeadline] = variants(
    Timestamp=UntilTimestamp, Both=UntilBoth, Deadline=UntilDeadline
)


@dataclass(frozen=True)
class ToFlip:
    """Task of an attestor: flip the coin with the others, and see it anchored."""


@dataclass(frozen=True)
class ToCommit:
    """Task of an attestor: commit to the fallback."""


@dataclass(frozen=True)
class ToAudit:
    """Task of an attestor: audit at its moment."""


@dataclass(frozen=True)
class ToReport:
    """Task of an attestor: report."""


@dataclass(frozen=True)
class ToServe:
    """Task of the hoster: serve the feed."""


@dataclass(frozen=True)
class ToAnswer:
    """Task of the hoster: answer an attestor's demand for a chunk."""

    attestor: AccountId
    chunk: U64


TASK: Variants[ToFlip | ToCommit | ToAudit | ToReport | ToServe | ToAnswer] = variants(
    Flip=ToFlip,
    Commit=ToCommit,
    Audit=ToAudit,
    Report=ToReport,
    Serve=ToServe,
    Answer=ToAnswer,
)


@dataclass(frozen=True)
class Duty:
    """What an account has to do next for a challenge, and until when, as the runtime tells it."""

    challenge: ChallengeId
    task: Annotated[ToFlip | ToCommit | ToAudit | ToReport | ToServe | ToAnswer, TASK]
    until: Annotated[UntilTimestamp | UntilBoth | UntilDeadline, UNTIL]


@dataclass(frozen=True)
class AccountData:
    """The money of an account: free, held, frozen."""

    free: Balance
    reserved: Balance
    frozen: Balance
    flags: U128


@dataclass(frozen=True)
class AccountInfo:
    """An account: transactions sent, references, money."""

    nonce: U32
    consumers: U32
    providers: U32
    sufficients: U32
    data: AccountData
