"""The storage entries that workers and commands read."""

from __future__ import annotations

from typing import Annotated, Any

from chain_types import records
from chain_types.metadata import Hasher
from chain_types.records import AccountId, ChallengeId, HostingId
from chain_types.scale import U32, U64, Codec, Hash, Limit, codec_of, struct
from chain_types.storage_keys import Item, Map, entry_prefix

_ACCOUNT: Codec[bytes] = codec_of(AccountId)
_ID: Codec[int] = codec_of(ChallengeId)
_HOSTING: Codec[int] = codec_of(HostingId)
_ROLE: Codec[records.Role] = codec_of(records.Role)
_HASH: Codec[bytes] = codec_of(Hash)
_U32: Codec[int] = codec_of(U32)
_U64: Codec[int] = codec_of(U64)
_BLAKE2 = Hasher.BLAKE2_128_CONCAT
_TWOX = Hasher.TWOX_64_CONCAT

EVENTS_KEY = entry_prefix("System", "Events")

ACCOUNTS: Map[records.AccountInfo] = Map(
    "System", "Account", ((_BLAKE2, _ACCOUNT),), struct(records.AccountInfo), optional=False
)
NOW: Item[int] = Item("Timestamp", "Now", _U64)

PROVIDERS: Map[records.Provider | None] = Map(
    "Providers", "Providers", ((_TWOX, _ROLE), (_BLAKE2, _ACCOUNT)), struct(records.Provider)
)
UNBONDINGS: Map[records.Unbonding | None] = Map(
    "Providers", "Unbondings", ((_TWOX, _ROLE), (_BLAKE2, _ACCOUNT)), struct(records.Unbonding)
)
KEYS: Map[records.Held | records.Reserved | None] = Map(
    "Providers", "Keys", ((_BLAKE2, _HASH),), records.KEY_USE
)
ELIGIBLE: Map[bytes | None] = Map("Providers", "Eligible", ((_TWOX, _U32),), _ACCOUNT)
ELIGIBLE_COUNT: Item[int] = Item("Providers", "EligibleCount", _U32)
ELIGIBLE_CHANGED_AT: Item[int] = Item("Providers", "EligibleChangedAt", _U32)

FEEDS: Map[records.Feed | None] = Map("Hosting", "Feeds", ((_BLAKE2, _HASH),), struct(records.Feed))
HOSTINGS: Map[records.Hosting | None] = Map(
    "Hosting", "Hostings", ((_TWOX, _HOSTING),), struct(records.Hosting)
)
NEXT_HOSTING: Item[int] = Item("Hosting", "NextHostingId", _U64)

TIMING: Item[records.Timing] = Item("Performance", "Timing", struct(records.Timing))
NEXT_CHALLENGE: Item[int] = Item("Performance", "NextId", _U64)
CHALLENGES: Map[records.Challenge | None] = Map(
    "Performance", "Challenges", ((_TWOX, _ID),), struct(records.Challenge)
)
START_HASHES: Map[bytes | None] = Map("Performance", "StartHashes", ((_TWOX, _ID),), _HASH)
FLIPS: Map[records.Flip | None] = Map("Performance", "Flips", ((_TWOX, _ID),), struct(records.Flip))
EXPULSIONS: Map[tuple[records.Expulsion, ...]] = Map(
    "Performance",
    "Expulsions",
    ((_TWOX, _ID),),
    codec_of(Annotated[tuple[records.Expulsion, ...], Limit(records.MAX_ROSTER)]),
    optional=False,
)
FALLBACKS: Map[records.Fallback | None] = Map(
    "Performance", "Fallbacks", ((_TWOX, _ID),), struct(records.Fallback)
)
FRAUDS: Map[records.Fraud | None] = Map(
    "Performance", "Frauds", ((_TWOX, _ID), (Hasher.IDENTITY, _HASH)), struct(records.Fraud)
)
FALSE_RECEIPTS: Map[records.Fraud | None] = Map(
    "Performance", "FalseReceipts", ((Hasher.IDENTITY, _HASH),), struct(records.Fraud)
)
TALLIES: Map[records.Tally] = Map(
    "Performance", "Tallies", ((_TWOX, _ID),), struct(records.Tally), optional=False
)
REPORTS: Map[records.ReportRecord | None] = Map(
    "Performance", "Reports", ((_TWOX, _ID), (_BLAKE2, _ACCOUNT)), struct(records.ReportRecord)
)
DEMANDS: Map[records.Demand | None] = Map(
    "Performance", "Demands", ((_TWOX, _ID), (_BLAKE2, _ACCOUNT)), struct(records.Demand)
)
SETTLEMENTS: Map[records.Settlement | None] = Map(
    "Performance", "Settlements", ((_TWOX, _ID),), struct(records.Settlement)
)
RUNNING: Map[int | None] = Map("Performance", "Running", ((_TWOX, _HOSTING),), _ID)
WAITING: Map[records.Wait | None] = Map(
    "Performance", "Waiting", ((_TWOX, _HOSTING),), struct(records.Wait)
)
ROOMS: Item[int] = Item("Performance", "Rooms", _U64)
HISTORY: Map[tuple[records.HistoryEntry, ...]] = Map(
    "Performance", "History", ((_TWOX, _HOSTING),), codec_of(records.History), optional=False
)
HOSTER_RECORDS: Map[records.HosterRecord | None] = Map(
    "Performance", "HosterRecords", ((_BLAKE2, _ACCOUNT),), struct(records.HosterRecord)
)
VERIFIED_HEADS: Map[tuple[records.FeedHead, ...]] = Map(
    "Performance",
    "VerifiedHeads",
    ((_TWOX, _HOSTING),),
    codec_of(Annotated[tuple[records.FeedHead, ...], Limit(records.MAX_HEADS)]),
    optional=False,
)

ENTRIES: tuple[Item[Any] | Map[Any], ...] = tuple(
    entry for entry in list(globals().values()) if isinstance(entry, Item | Map)
)
