"""Methods that ask the chain something or change it, without a subscription.

Each gets the chain and the parameters, runs in the chain's thread, and gives what goes into
`result`. It may raise `RpcError`, and the errors that `translated` knows.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from scalecodec.utils.ss58 import ss58_decode

from datdot_node.chain import Chain, check_format
from datdot_node.errors import (
    BadBlock,
    NodeError,
    RuntimeTrapped,
    StateDiscarded,
    UnknownBlock,
    UnknownMethod,
)
from datdot_node.filler import MAX_REMARK_BYTES, REMARK_BYTES
from datdot_node.hashing import blake2_256
from datdot_node.pool import BadFormat, PoolError
from datdot_node.rpc import views
from datdot_node.rpc.jsonrpc import INTERNAL_ERROR, INVALID_PARAMS, RpcError
from datdot_node.rpc.params import Params, from_hex, to_hex
from datdot_node.scale import Reader

MAX_KEYS = 1000
"""Most keys in one answer or question."""
MAX_QUERIED_BLOCKS = 1000
MAX_NEW_BLOCKS = 1000
MAX_FULL_BLOCKS = 100
CHAIN_NAME, NODE_NAME = "DatDot Development", "datdot-embedded"
TOKEN = {"ss58Format": 42, "tokenDecimals": 12, "tokenSymbol": "DAT"}

_CLIENT_ERROR = 4003
_SUBMISSION_ERROR = 1040
# Of `payment_*` and `system_dryRun`.
_RUNTIME_ERROR, _DECODE_ERROR = 1, 2

Method = Callable[[Chain, Params], Any]
METHODS: dict[str, Method] = {}
"""All of them by name."""


def method(*names: str) -> Callable[[Method], Method]:
    """Registers a method under its names."""

    def register(function: Method) -> Method:
        for name in names:
            METHODS[name] = function
        return function

    return register


def translated(error: NodeError) -> RpcError:
    """What an error of the chain is in JSON-RPC."""
    if isinstance(error, PoolError):
        return RpcError(error.code, error.message, error.data)
    if isinstance(error, StateDiscarded):
        return RpcError(
            _CLIENT_ERROR, f"Client error: UnknownBlock: State already discarded: {error}"
        )
    if isinstance(error, UnknownBlock):
        return RpcError(_CLIENT_ERROR, f"Client error: UnknownBlock: {error}")
    if isinstance(error, RuntimeTrapped | UnknownMethod):
        return RpcError(_CLIENT_ERROR, f"Client error: Execution failed: {error}")
    return RpcError(INTERNAL_ERROR, str(error))


def node_version() -> str:
    """The version of the installed distribution."""
    try:
        return version("datdot")
    except PackageNotFoundError:
        return "0.0.0"


# chain


@method("chain_getHeader")
def _get_header(chain: Chain, params: Params) -> Any:
    try:
        return views.header(chain.header(params.block(0)))
    except UnknownBlock:
        return None


@method("chain_getBlock")
def _get_block(chain: Chain, params: Params) -> Any:
    try:
        return views.signed_block(chain.block(params.block(0)))
    except UnknownBlock:
        return None


@method("chain_getBlockHash", "chain_getHead")
def _get_block_hash(chain: Chain, params: Params) -> Any:
    asked = params.any(0)
    if asked is None:
        return to_hex(chain.head_hash)
    if isinstance(asked, list):
        if len(asked) > MAX_KEYS:
            raise RpcError(INVALID_PARAMS, f"Invalid params: more than {MAX_KEYS} numbers")
        inner = Params(asked)
        return [_hash_or_none(chain, inner.number(i, "a number")) for i in range(len(asked))]
    return _hash_or_none(chain, params.number(0, "the number"))


def _hash_or_none(chain: Chain, number: int) -> str | None:
    try:
        return to_hex(chain.hash(number))
    except UnknownBlock:
        return None


@method("chain_getFinalizedHead", "chain_getFinalisedHead")
def _get_finalized_head(chain: Chain, params: Params) -> Any:
    return to_hex(chain.finalized.hash)


# state


@method("state_getMetadata")
def _get_metadata(chain: Chain, params: Params) -> Any:
    return to_hex(Reader(chain.call("Metadata_metadata", at=params.block(0))).sized())


@method("state_getRuntimeVersion", "chain_getRuntimeVersion")
def _get_runtime_version(chain: Chain, params: Params) -> Any:
    return views.runtime_version(chain.call("Core_version", at=params.block(0)))


@method("state_call", "state_callAt")
def _state_call(chain: Chain, params: Params) -> Any:
    name, arguments = params.text(0, "the method"), params.hex(1, "the arguments")
    return to_hex(chain.call(name, arguments, params.block(2)))


@method("state_getStorage", "state_getStorageAt")
def _get_storage(chain: Chain, params: Params) -> Any:
    value = chain.storage(params.hex(0, "the key"), params.block(1))
    return None if value is None else to_hex(value)


@method("state_getStorageHash", "state_getStorageHashAt")
def _get_storage_hash(chain: Chain, params: Params) -> Any:
    value = chain.storage(params.hex(0, "the key"), params.block(1))
    return None if value is None else to_hex(blake2_256(value))


@method("state_getStorageSize", "state_getStorageSizeAt")
def _get_storage_size(chain: Chain, params: Params) -> Any:
    value = chain.storage(params.hex(0, "the key"), params.block(1))
    return None if value is None else len(value)


def _keys(chain: Chain, prefix: bytes, start: bytes, most: int, at: bytes | None) -> list[bytes]:
    """Keys that begin with `prefix` and come after `start`, at most so many."""
    state = chain.state(at)
    found: list[bytes] = []
    key = state.next_key(max(start, prefix))
    if start < prefix and state.get(prefix) is not None:
        key = prefix
    while key is not None and key.startswith(prefix) and len(found) < most:
        found.append(key)
        key = state.next_key(key)
    return found


@method("state_getKeysPaged", "state_getKeysPagedAt")
def _get_keys_paged(chain: Chain, params: Params) -> Any:
    prefix = params.optional_hex(0, "the prefix") or b""
    count = params.number(1, "the count")
    if count > MAX_KEYS:
        raise RpcError(4002, f"count exceeds maximum value. value: {count}, max: {MAX_KEYS}")
    start = params.optional_hex(2, "the start key") or b""
    return [to_hex(key) for key in _keys(chain, prefix, start, count, params.block(3))]


@method("state_getKeys")
def _get_keys(chain: Chain, params: Params) -> Any:
    keys = _keys(chain, params.hex(0, "the prefix"), b"", MAX_KEYS + 1, params.block(1))
    _refuse_too_many(keys)
    return [to_hex(key) for key in keys]


@method("state_getPairs")
def _get_pairs(chain: Chain, params: Params) -> Any:
    at = params.block(1)
    keys = _keys(chain, params.hex(0, "the prefix"), b"", MAX_KEYS + 1, at)
    _refuse_too_many(keys)
    return [[to_hex(key), to_hex(chain.storage(key, at) or b"")] for key in keys]


def _refuse_too_many(keys: list[bytes]) -> None:
    if len(keys) > MAX_KEYS:
        raise RpcError(4002, f"more than {MAX_KEYS} keys; use state_getKeysPaged")


def storage_changes(values: dict[bytes, bytes | None]) -> list[list[str | None]]:
    """Keys with their values as `state_*` shows them."""
    return [
        [to_hex(key), None if value is None else to_hex(value)] for key, value in values.items()
    ]


@method("state_queryStorageAt")
def _query_storage_at(chain: Chain, params: Params) -> Any:
    keys, at = params.hexes(0, "keys", MAX_KEYS), params.block(1)
    block_hash = chain.hash(chain.number(at))
    values = {key: chain.storage(key, at) for key in keys}
    return [{"block": to_hex(block_hash), "changes": storage_changes(values)}]


@method("state_queryStorage")
def _query_storage(chain: Chain, params: Params) -> Any:
    keys = params.hexes(0, "keys", MAX_KEYS)
    first, last = chain.number(params.block(1)), chain.number(params.block(2))
    if not 0 <= last - first < MAX_QUERIED_BLOCKS:
        raise RpcError(4001, f"Cannot resolve a block range of {last - first + 1} blocks")
    answer = []
    before: dict[bytes, bytes | None] = {}
    for number in range(first, last + 1):
        values = {key: chain.storage(key, number) for key in keys}
        changed = {
            key: value for key, value in values.items() if key not in before or before[key] != value
        }
        if changed:
            answer.append(
                {"block": to_hex(chain.hash(number)), "changes": storage_changes(changed)}
            )
        before = values
    return answer


# chainSpec


@method("chainSpec_v1_chainName")
def _spec_chain_name(chain: Chain, params: Params) -> Any:
    return CHAIN_NAME


@method("chainSpec_v1_genesisHash")
def _spec_genesis_hash(chain: Chain, params: Params) -> Any:
    return to_hex(chain.genesis_hash)


@method("chainSpec_v1_properties")
def _spec_properties(chain: Chain, params: Params) -> Any:
    return TOKEN


# author


@method("author_submitExtrinsic")
def _submit_extrinsic(chain: Chain, params: Params) -> Any:
    try:
        return to_hex(chain.submit(params.hex(0, "the extrinsic")))
    except BadFormat as error:
        # Not 1001: that is what native nodes answer to `author_submitAndWatchExtrinsic` only.
        raise RpcError(_SUBMISSION_ERROR, f"Client error: {error.reason}") from error


@method("author_pendingExtrinsics")
def _pending_extrinsics(chain: Chain, params: Params) -> Any:
    return [to_hex(extrinsic) for extrinsic in chain.pool.pending()]


# payment


@method("payment_queryInfo")
def _query_info(chain: Chain, params: Params) -> Any:
    return views.dispatch_info(
        _payment(chain, "query_info", params, "Unable to query dispatch info.")
    )


@method("payment_queryFeeDetails")
def _query_fee_details(chain: Chain, params: Params) -> Any:
    return views.fee_details(
        _payment(chain, "query_fee_details", params, "Unable to query fee details.")
    )


def _payment(chain: Chain, name: str, params: Params, complaint: str) -> bytes:
    extrinsic = params.hex(0, "the extrinsic")
    arguments = extrinsic + len(extrinsic).to_bytes(4, "little")
    with _about_extrinsic(complaint):
        check_format(extrinsic)
        return chain.call(f"TransactionPaymentApi_{name}", arguments, params.block(1))


@contextmanager
def _about_extrinsic(complaint: str) -> Iterator[None]:
    """Errors of the chain as native nodes give them where they only ask about an extrinsic."""
    try:
        yield
    except BadFormat as error:
        raise RpcError(_DECODE_ERROR, complaint, error.reason) from error
    except NodeError as error:
        raise RpcError(_RUNTIME_ERROR, complaint, str(error)) from error


# system


@method("system_accountNextIndex", "account_nextIndex")
def _account_next_index(chain: Chain, params: Params) -> Any:
    """The next nonce of an account, those of transactions in the pool counted."""
    account = _account(params.text(0, "the account"))
    return chain.next_nonce(account)


def _account(address: str) -> bytes:
    if address.startswith("0x"):
        account = from_hex(address, "the account")
    else:
        try:
            account = bytes.fromhex(ss58_decode(address))
        except ValueError as error:
            raise RpcError(INVALID_PARAMS, f"Invalid params: no account: {error}") from error
    if len(account) != 32:
        raise RpcError(INVALID_PARAMS, "Invalid params: an account has 32 bytes")
    return account


@method("system_dryRun", "system_dryRunAt")
def _dry_run(chain: Chain, params: Params) -> Any:
    extrinsic = params.hex(0, "the extrinsic")
    with _about_extrinsic("Unable to dry run extrinsic."):
        return to_hex(chain.dry_run(extrinsic, params.block(1)))


@method("system_chain")
def _system_chain(chain: Chain, params: Params) -> Any:
    return CHAIN_NAME


@method("system_name")
def _system_name(chain: Chain, params: Params) -> Any:
    return NODE_NAME


@method("system_version")
def _system_version(chain: Chain, params: Params) -> Any:
    return node_version()


@method("system_chainType")
def _system_chain_type(chain: Chain, params: Params) -> Any:
    return "Development"


@method("system_properties")
def _system_properties(chain: Chain, params: Params) -> Any:
    return TOKEN


@method("system_health")
def _system_health(chain: Chain, params: Params) -> Any:
    return {"peers": 0, "isSyncing": False, "shouldHavePeers": False}


@method("system_nodeRoles")
def _system_node_roles(chain: Chain, params: Params) -> Any:
    return ["Authority"]


@method("system_localPeerId")
def _system_local_peer_id(chain: Chain, params: Params) -> Any:
    """There is no network; clients only want a string."""
    return ""


@method("system_localListenAddresses", "system_peers", "system_reservedPeers")
def _system_nobody(chain: Chain, params: Params) -> Any:
    return []


@method("system_syncState")
def _system_sync_state(chain: Chain, params: Params) -> Any:
    number = chain.head.number
    return {"startingBlock": 0, "currentBlock": number, "highestBlock": number}


# dev


@method("dev_newBlock")
def _new_block(chain: Chain, params: Params) -> Any:
    """Makes `count` blocks (default 1), the first at `timestamp` if given; the last one's hash."""
    asked = params.any(0)
    count, timestamp = 1, None
    if isinstance(asked, dict):
        options = Params([asked.get("count"), asked.get("timestamp")])
        count = options.optional_number(0, "the count") or 1
        timestamp = options.optional_number(1, "the timestamp")
    elif asked is not None:
        count = params.number(0, "the count")
    if not 1 <= count <= MAX_NEW_BLOCKS:
        raise RpcError(INVALID_PARAMS, f"Invalid params: 1 to {MAX_NEW_BLOCKS} blocks at once")
    try:
        for index in range(count):
            chain.new_block(timestamp if index == 0 else None)
    except BadBlock as error:
        raise RpcError(INTERNAL_ERROR, str(error)) from error
    return to_hex(chain.head_hash)


@method("dev_fullBlocks")
def _full_blocks(chain: Chain, params: Params) -> Any:
    """Makes `count` blocks (default 1) that are full of remarks of `size` bytes; the last hash."""
    asked = params.any(0)
    values = [asked.get("count"), asked.get("size")] if isinstance(asked, dict) else [asked]
    options = Params(values)
    count = _or(options.optional_number(0, "the count"), 1)
    size = _or(options.optional_number(1, "the size"), REMARK_BYTES)
    if not 1 <= count <= MAX_FULL_BLOCKS:
        raise RpcError(INVALID_PARAMS, f"Invalid params: 1 to {MAX_FULL_BLOCKS} blocks at once")
    if not 1 <= size <= MAX_REMARK_BYTES:
        raise RpcError(
            INVALID_PARAMS, f"Invalid params: a remark has 1 to {MAX_REMARK_BYTES} bytes"
        )
    for _ in range(count):
        chain.new_block(fill_bytes=size)
    return to_hex(chain.head_hash)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


@method("dev_timeTravel")
def _time_travel(chain: Chain, params: Params) -> Any:
    """Puts the clock forward by so many milliseconds; the clock then."""
    try:
        chain.travel(params.number(0, "the milliseconds"))
    except ValueError as error:
        raise RpcError(INVALID_PARAMS, f"Invalid params: {error}") from error
    return chain.now_ms()


@method("dev_fastForward")
def _fast_forward(chain: Chain, params: Params) -> Any:
    """Makes a block in every slot for so many milliseconds to come; how many."""
    until = max(chain.now_ms(), chain.timestamp()) + params.number(0, "the milliseconds")
    try:
        return chain.fast_forward(until)
    except ValueError as error:
        raise RpcError(INVALID_PARAMS, f"Invalid params: {error}") from error


@method("dev_setHead")
def _set_head(chain: Chain, params: Params) -> Any:
    """Takes the blocks after one back; its hash. An error if one of them is final."""
    at = params.block(0)
    if at is None:
        raise RpcError(INVALID_PARAMS, "Invalid params: the block is missing")
    chain.rewind(at)
    return to_hex(chain.head_hash)


@method("dev_reorg")
def _reorg(chain: Chain, params: Params) -> Any:
    """Replaces the newest `depth` blocks by one more of others; the hash of the newest."""
    depth = params.number(0, "the depth")
    if not 1 <= depth < MAX_NEW_BLOCKS:
        raise RpcError(INVALID_PARAMS, f"Invalid params: 1 to {MAX_NEW_BLOCKS - 1} blocks at once")
    return to_hex(chain.reorganise(depth).hash)


@method("dev_replay")
def _replay(chain: Chain, params: Params) -> Any:
    """Executes a block again on its parent's state; an error if it does not hold."""
    chain.replay(params.block(0))
    return True
