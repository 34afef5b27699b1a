"""What providers do wrong, and what becomes of it (challenge.md §5, §7; coinflip.md §4)."""

from __future__ import annotations

from enum import StrEnum

from offchain_worker.attestor.adversary import Fault


class AttestorCheat(StrEnum):
    """What an attestor does wrong in one challenge; in everything else it is honest."""

    ABSENT = "absent"
    """Takes no part at all: the flip falls back, it pays for its absence."""
    EQUIVOCATE = "equivocate"
    """Signs two commits (E1): it loses its bond, another attempt goes on without it."""
    BAD_REVEAL = "bad-reveal"
    """Reveals what it did not commit to (E2): it loses its bond, the flip falls back."""
    WITHHOLD = "withhold"
    """Does not reveal: the flip falls back."""
    SILENT_AFTER_FLIP = "silent-after-flip"
    """Neither audits nor reports: absent."""
    LATE_REPORT = "late-report"
    """Reports after D: refused, and absent."""
    EARLY_REPORT = "early-report"
    """Reports before END, which is refused, and again in time."""
    FALSE_FIGURES = "false-figures"
    """Invents its measurements of hoster and fellows: accepted, a median moves by a place."""
    FALSE_FAILURE = "false-failure"
    """Says that it was not served: unpaid unless the majority says so too."""
    NEEDLESS_DEMAND = "needless-demand"
    """Demands a chunk that it was given: it pays for the answer."""
    WRONG_PROOF = "wrong-proof"
    """Proves another chunk than it was served: refused, and absent."""
    FORGED_RECEIPT = "forged-receipt"
    """Signs the hoster's receipt itself, without any session: refused, and absent."""
    COPIED_REPORT = "copied-report"
    """Sends a fellow's report as its own: refused, and absent."""
    WRONG_MOMENT = "wrong-moment"
    """Audits at a moment of its choice: refused, and absent."""
    INVENTED_ANCHOR = "invented-anchor"
    """Anchors numbers that nobody committed to: refused."""
    FRAMES_ATTESTOR = "frames-attestor"
    """Brings two envelopes of a fellow that the fellow never signed: refused."""
    FRAMES_HOSTER = "frames-hoster"
    """Brings a false receipt that the hoster never signed: refused."""


MACHINES = {
    AttestorCheat.EQUIVOCATE: Fault.EQUIVOCATE,
    AttestorCheat.BAD_REVEAL: Fault.BAD_REVEAL,
    AttestorCheat.WITHHOLD: Fault.WITHHOLD,
}
"""Which of them are machines of the coinflip."""


class HosterCheat(StrEnum):
    """What a hoster does wrong in one challenge."""

    LOST_CHUNKS = "lost-chunks"
    """A twentieth of the chunks is gone, in one piece: NoData, and demands that it cannot
    answer."""
    PREFIX = "prefix"
    """Only the first half is left: NoData, and demands that it cannot answer."""
    WITHHOLDS = "withholds"
    """Gives out a part of the chunks, and answers no demand for the others."""
    STALLS = "stalls"
    """Lets readers wait, and shows on chain what is demanded: it gets the fees, and fails."""
    SLOW = "slow"
    """Slower than the SLA: Passed without pay."""
    FLIPS_BIT = "flips-bit"
    """Every chunk is wrong: BadProof."""
    FORGED_HEAD = "forged-head"
    """A head that the author did not sign: BadProof."""
    OLD_HEAD = "old-head"
    """A head below what it vouched for: NotHosted."""
    OTHER_KEY = "other-key"
    """Another Noise key than the registered one: WrongIdentity."""
    SILENT = "silent"
    """Accepts connections and says nothing: WrongIdentity."""
    PART_TIME = "part-time"
    """There every second minute only: WrongIdentity for the others."""
    NO_RECEIPT = "no-receipt"
    """Signs nothing: NoReceipt."""
    OTHER_CLIENT = "other-client"
    """Signs its receipts for somebody else: BadReceipt."""
    OTHER_TIME = "other-time"
    """Signs for sessions of an hour ago: BadReceipt."""
    FALSE_RECEIPT = "false-receipt"
    """Signs other leaves than its tree has (E6): BadReceipt, and it loses its bond."""
    LEAVES = "leaves"
    """Ends the hosting in the middle of the challenge, and is gone: Unreachable."""
