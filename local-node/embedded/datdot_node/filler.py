"""Remarks that fill a block up: load for whoever reads, replays or follows the chain.

They are signed by the development account //Alice, whose secret everybody knows, and are laid out
for the packaged runtime: era, nonce and tip are all that its extensions carry.
"""

import sr25519

from datdot_node.authoring import BlockBuilder
from datdot_node.errors import BadBlock, NodeError
from datdot_node.hashing import blake2_256
from datdot_node.scale import Reader, ScaleError, compact, sized
from datdot_node.validity import TransactionInvalid

REMARK_BYTES = 65_536
"""Size of a remark, when not said otherwise."""
MAX_REMARK_BYTES = 1_048_576
_LEAST_BYTES = 32
_ALICE = bytes.fromhex("e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a")
_REMARK = bytes((0, 0))
"""Indices of the pallet `System` and of its call `remark`."""
_SIGNED, _ADDRESS_ID, _SIGNATURE_SR25519, _IMMORTAL, _NO_TIP = 0x84, 0, 1, 0, 0


def fill(builder: BlockBuilder, genesis_hash: bytes, size: int) -> int:
    """Adds remarks of `size` bytes, then smaller ones, until the runtime takes no more; how many.

    Whether its limit of weight or that of length ends it depends on the size. Raises `BadBlock`
    when the runtime refuses a remark for another reason.
    """
    pair = sr25519.pair_from_seed(_ALICE)
    try:
        nonce = Reader(builder.call("AccountNonceApi_account_nonce", pair[0])).u32()
        version = Reader(builder.call("Core_version", b""))
        implicit = _versions(version) + genesis_hash + genesis_hash
        count = 0
        least = min(size, _LEAST_BYTES)
        while size >= least:
            try:
                builder.apply(_remark(pair, nonce + count, size, implicit))
            except TransactionInvalid as error:
                if not error.exhausts:
                    raise
                size //= 2
            else:
                count += 1
    except (NodeError, ScaleError) as error:
        raise BadBlock(f"the runtime does not take what fills blocks: {error}") from error
    return count


def _versions(version: Reader) -> bytes:
    """The versions of specification and transactions, as extrinsics sign them."""
    version.text()
    version.text()
    version.u32()
    specification = version.take(4)
    version.u32()
    for _ in range(version.length()):
        version.take(8 + 4)
    return specification + version.take(4)


def _remark(pair: tuple[bytes, bytes], nonce: int, size: int, implicit: bytes) -> bytes:
    call = _REMARK + sized(bytes(size))
    explicit = bytes((_IMMORTAL,)) + compact(nonce) + bytes((_NO_TIP,))
    payload = call + explicit + implicit
    signature = sr25519.sign(pair, payload if len(payload) <= 256 else blake2_256(payload))
    return sized(
        bytes((_SIGNED, _ADDRESS_ID))
        + pair[0]
        + bytes((_SIGNATURE_SR25519,))
        + signature
        + explicit
        + call
    )
