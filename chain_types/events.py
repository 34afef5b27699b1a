"""The events of our pallets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from chain_types.records import (
    Absences,
    AccountId,
    AnswerKind,
    Balance,
    BlockNumber,
    ChallengeId,
    Deadline,
    Endpoint,
    FraudKind,
    HostingId,
    Medians,
    Payments,
    PublicKey,
    ReportedOutcome,
    Role,
    Roster,
    Timing,
    Verdict,
)
from chain_types.scale import U32, U64, Hash
from chain_types.words import Event

PROVIDERS = "Providers"
HOSTING = "Hosting"
PERFORMANCE = "Performance"


@dataclass(frozen=True)
class Registered(Event, pallet=PROVIDERS):
    """An account registered; it takes work from the block `effective` on."""

    account: AccountId
    role: Role
    key: PublicKey
    endpoint: Endpoint
    effective: BlockNumber


@dataclass(frozen=True)
class EndpointSet(Event, pallet=PROVIDERS):
    """A provider listens elsewhere."""

    account: AccountId
    role: Role
    endpoint: Endpoint


@dataclass(frozen=True)
class CapacitySet(Event, pallet=PROVIDERS):
    """An attestor takes another number of challenges at a time."""

    account: AccountId
    capacity: U32


@dataclass(frozen=True)
class SessionKeySet(Event, pallet=PROVIDERS):
    """An attestor has another session key."""

    account: AccountId
    key: PublicKey


@dataclass(frozen=True)
class Draining(Event, pallet=PROVIDERS):
    """A provider takes no more work from the block `effective` on."""

    account: AccountId
    role: Role
    effective: BlockNumber


@dataclass(frozen=True)
class Undraining(Event, pallet=PROVIDERS):
    """A drained provider takes work again from the block `effective` on."""

    account: AccountId
    role: Role
    effective: BlockNumber


@dataclass(frozen=True)
class ActivityChanged(Event, pallet=PROVIDERS):
    """A registration, a drain or its end took effect."""

    account: AccountId
    role: Role
    active: bool


@dataclass(frozen=True)
class Deregistered(Event, pallet=PROVIDERS):
    """A provider left; its bond is free from the block `free_at` on."""

    account: AccountId
    role: Role
    free_at: BlockNumber


@dataclass(frozen=True)
class BondWithdrawn(Event, pallet=PROVIDERS):
    """A former provider took its bond back."""

    account: AccountId
    role: Role
    amount: Balance


@dataclass(frozen=True)
class BondSlashed(Event, pallet=PROVIDERS):
    """Money was taken out of a bond."""

    account: AccountId
    role: Role
    amount: Balance


@dataclass(frozen=True)
class Deactivated(Event, pallet=PROVIDERS):
    """A provider's fraud was proven: it takes no work from now on."""

    account: AccountId
    role: Role


@dataclass(frozen=True)
class FeedPublished(Event, pallet=HOSTING):
    """A feed can be hosted."""

    feed: Hash
    signer: PublicKey


@dataclass(frozen=True)
class HostingOpened(Event, pallet=HOSTING):
    """A sponsor offers a hoster to pay for a feed."""

    id: HostingId
    feed: Hash
    sponsor: AccountId
    hoster: AccountId
    escrow: Balance


@dataclass(frozen=True)
class HostingAccepted(Event, pallet=HOSTING):
    """The hoster accepted."""

    id: HostingId
    fork: U64
    length: U64


@dataclass(frozen=True)
class Vouched(Event, pallet=HOSTING):
    """The hoster vouches for more, from the next challenge on."""

    id: HostingId
    fork: U64
    length: U64


@dataclass(frozen=True)
class ToppedUp(Event, pallet=HOSTING):
    """Somebody added to the escrow."""

    id: HostingId
    by: AccountId
    amount: Balance


@dataclass(frozen=True)
class HostingBondSlashed(Event, pallet=HOSTING):
    """The hoster withheld what a challenge demanded, and lost a part of the hosting's bond."""

    id: HostingId
    amount: Balance


@dataclass(frozen=True)
class HostingResting(Event, pallet=HOSTING):
    """The feed was rewritten: no challenge until the hoster vouches for this fork or a higher."""

    id: HostingId
    fork: U64


@dataclass(frozen=True)
class HostingClosing(Event, pallet=HOSTING):
    """The hosting ends with the running challenge."""

    id: HostingId


@dataclass(frozen=True)
class HostingFailed(Event, pallet=HOSTING):
    """The hoster failed so many challenges, with none passed between them, that it ends."""

    id: HostingId
    streak: U32


@dataclass(frozen=True)
class HostingClosed(Event, pallet=HOSTING):
    """The hosting ended: what went back to the sponsor, and what was burnt."""

    id: HostingId
    returned: Balance
    burnt: Balance


@dataclass(frozen=True)
class TimingSet(Event, pallet=PERFORMANCE):
    """Root set the durations and counts of challenges to come."""

    timing: Timing


@dataclass(frozen=True)
class ChallengeStarted(Event, pallet=PERFORMANCE):
    """A challenge started: its coinflip begins."""

    id: ChallengeId
    hosting: HostingId
    hoster: AccountId
    roster: Roster
    block: BlockNumber
    end_ms: U64
    randomness: Hash


@dataclass(frozen=True)
class FlipAnchored(Event, pallet=PERFORMANCE):
    """An attempt of the coinflip was anchored: the audits begin."""

    id: ChallengeId
    attempt: U32
    topic: Hash
    root: Hash
    randomness: Hash
    by: AccountId


@dataclass(frozen=True)
class FlipAnchoredLate(Event, pallet=PERFORMANCE):
    """A member came with an anchor after another; nothing changed."""

    id: ChallengeId
    by: AccountId


@dataclass(frozen=True)
class ReportsOpened(Event, pallet=PERFORMANCE):
    """Reports are taken from now on, until a deadline."""

    id: ChallengeId
    deadline: Deadline


@dataclass(frozen=True)
class Reported(Event, pallet=PERFORMANCE):
    """A report was accepted."""

    id: ChallengeId
    attestor: AccountId
    outcome: ReportedOutcome


@dataclass(frozen=True)
class Demanded(Event, pallet=PERFORMANCE):
    """An attestor that was not served demands a chunk on chain."""

    id: ChallengeId
    attestor: AccountId
    chunk: U64
    due: Deadline


@dataclass(frozen=True)
class DemandAnswered(Event, pallet=PERFORMANCE):
    """The hoster answered a demand; the attestor paid a fee for a chunk that was shown."""

    id: ChallengeId
    attestor: AccountId
    answer: AnswerKind
    fee: Balance


@dataclass(frozen=True)
class DemandUnanswered(Event, pallet=PERFORMANCE):
    """The hoster did not answer a demand in time: the challenge failed."""

    id: ChallengeId
    attestor: AccountId
    slashed: Balance
    reward: Balance


@dataclass(frozen=True)
class ChallengeClosed(Event, pallet=PERFORMANCE):
    """A challenge was settled."""

    id: ChallengeId
    outcome: Verdict
    medians: Medians
    paid: Payments
    absent: Absences


@dataclass(frozen=True)
class ChallengePruned(Event, pallet=PERFORMANCE):
    """A closed challenge was removed from storage."""

    id: ChallengeId


@dataclass(frozen=True)
class CommitOpened(Event, pallet=PERFORMANCE):
    """Nothing was anchored: commitments for the fallback are taken since this block, F."""

    id: ChallengeId
    topic: Hash
    roster: U32
    since: BlockNumber


@dataclass(frozen=True)
class FlipCommitted(Event, pallet=PERFORMANCE):
    """A member committed to the fallback."""

    id: ChallengeId
    by: AccountId
    z: Hash


@dataclass(frozen=True)
class FlipFellBack(Event, pallet=PERFORMANCE):
    """The fallback gave R: the audits begin. Bit i of `active`: place i."""

    id: ChallengeId
    active: U32
    topic: Hash
    root: Hash
    chain_randomness: Hash
    randomness: Hash


@dataclass(frozen=True)
class Expelled(Event, pallet=PERFORMANCE):
    """A fraud in an attempt was proven: the bond is slashed, the attestor drawn no more."""

    id: ChallengeId
    attestor: AccountId
    kind: FraudKind
    attempt: U32
    reporter: AccountId
    slashed: Balance
    reward: Balance
    timestamp_ms: U64


@dataclass(frozen=True)
class ReceiptProvenFalse(Event, pallet=PERFORMANCE):
    """A hoster's receipt was proven to be false: its bond is slashed, it takes no new hostings."""

    hoster: AccountId
    feed: Hash
    session: Hash
    evidence: Hash
    reporter: AccountId
    slashed: Balance
    reward: Balance


EVENTS: Mapping[tuple[str, str], type[Event]] = {
    (event.pallet, event.name): event for event in Event.__subclasses__()
}
