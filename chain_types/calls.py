"""The calls of our pallets, and the one that moves money."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from chain_types.records import (
    MAX_ROSTER,
    AccountId,
    Balance,
    ChallengeId,
    Endpoint,
    HostingId,
    Manifest,
    Opening,
    PublicKey,
    Role,
    Terms,
    Timing,
)
from chain_types.report import Answer, Proof, Report
from chain_types.scale import U32, U64, Compact, Hash, Limit, Signature, Variants, struct
from chain_types.words import Call

PROVIDERS = "Providers"
HOSTING = "Hosting"
PERFORMANCE = "Performance"


@dataclass(frozen=True)
class RegisterAttestor(Call, pallet=PROVIDERS):
    """Become an attestor, in at most `capacity` challenges at a time.

    `proof` is the session key's signature over `TAG(register) ‖ genesis ‖ 0 ‖ account`.
    """

    session_key: PublicKey
    endpoint: Endpoint
    capacity: U32
    proof: Signature


@dataclass(frozen=True)
class RegisterHoster(Call, pallet=PROVIDERS):
    """Become a hoster.

    `proof` is the Noise key's signature over `TAG(register) ‖ genesis ‖ 1 ‖ account`.
    """

    noise_key: PublicKey
    endpoint: Endpoint
    proof: Signature


@dataclass(frozen=True)
class SetEndpoint(Call, pallet=PROVIDERS):
    """Listen elsewhere."""

    role: Role
    endpoint: Endpoint


@dataclass(frozen=True)
class SetCapacity(Call, pallet=PROVIDERS):
    """Take part in at most `capacity` challenges at a time."""

    capacity: U32


@dataclass(frozen=True)
class SetSessionKey(Call, pallet=PROVIDERS):
    """Use another session key in challenges to come; `proof` as for `RegisterAttestor`."""

    key: PublicKey
    proof: Signature


@dataclass(frozen=True)
class Drain(Call, pallet=PROVIDERS):
    """Take no more work."""

    role: Role


@dataclass(frozen=True)
class Undrain(Call, pallet=PROVIDERS):
    """Take work again."""

    role: Role


@dataclass(frozen=True)
class Deregister(Call, pallet=PROVIDERS):
    """Leave."""

    role: Role


@dataclass(frozen=True)
class WithdrawBond(Call, pallet=PROVIDERS):
    """Take the bond of a given up role back, once it is free."""

    role: Role


@dataclass(frozen=True)
class PublishFeed(Call, pallet=HOSTING):
    """Make a feed known; without a manifest its key is its own signer's (compat)."""

    key: Hash
    manifest: Manifest | None


@dataclass(frozen=True)
class OpenHosting(Call, pallet=HOSTING):
    """Offer a hoster to pay for a feed; holds the escrow."""

    feed: Hash
    hoster: AccountId
    escrow: Balance
    terms: Terms


@dataclass(frozen=True)
class AcceptHosting(Call, pallet=HOSTING):
    """Vouch for all chunks below `length` of a fork, and be paid for serving them."""

    id: HostingId
    fork: U64
    length: U64


@dataclass(frozen=True)
class Vouch(Call, pallet=HOSTING):
    """Vouch for more chunks, or for another fork, from the next challenge on."""

    id: HostingId
    fork: U64
    length: U64


@dataclass(frozen=True)
class CloseHosting(Call, pallet=HOSTING):
    """End a hosting with its running challenge."""

    id: HostingId


@dataclass(frozen=True)
class TopUp(Call, pallet=HOSTING):
    """Add to a hosting's escrow."""

    id: HostingId
    amount: Balance


@dataclass(frozen=True)
class SetTiming(Call, pallet=PERFORMANCE):
    """Set the durations and counts of challenges to come; root only."""

    timing: Timing


@dataclass(frozen=True)
class AnchorFlip(Call, pallet=PERFORMANCE):
    """Anchor an attempt: every opening and every echo signature, in its roster's order."""

    id: ChallengeId
    attempt: U32
    openings: Annotated[tuple[Opening, ...], Limit(MAX_ROSTER)]
    echoes: Annotated[tuple[Signature, ...], Limit(MAX_ROSTER)]


@dataclass(frozen=True)
class CommitFlip(Call, pallet=PERFORMANCE):
    """Commit to w and audit key for the fallback; `z` as in the coinflip, with its topic."""

    id: ChallengeId
    z: Hash


@dataclass(frozen=True)
class SubmitReport(Call, pallet=PERFORMANCE):
    """Report on an audit."""

    id: ChallengeId
    report: Report


@dataclass(frozen=True)
class AnswerDemand(Call, pallet=PERFORMANCE):
    """Answer an attestor's demand, as the hoster: the chunk, or the author's higher fork."""

    id: ChallengeId
    attestor: AccountId
    answer: Answer


@dataclass(frozen=True)
class CloseChallenge(Call, pallet=PERFORMANCE):
    """Settle a challenge after the deadline for reports."""

    id: ChallengeId


@dataclass(frozen=True)
class ReportFraud(Call, pallet=PERFORMANCE):
    """Prove a fraud of an attestor or a hoster: half of the slash is the sender's."""

    proof: Proof


@dataclass(frozen=True)
class Id:
    """A `MultiAddress` that is an account id."""

    account: AccountId


ADDRESS: Variants[Id] = Variants({0: ("Id", struct(Id))}, partial=True)


@dataclass(frozen=True)
class TransferKeepAlive(Call, pallet="Balances"):
    """Move money to another account, keeping one's own alive."""

    dest: Annotated[Id, ADDRESS]
    value: Annotated[int, Compact()]


CALLS: Mapping[tuple[str, str], type[Call]] = {
    (call.pallet, call.name): call for call in Call.__subclasses__()
}
