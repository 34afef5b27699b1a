"""Making a block by the runtime's calls in their order, and checking one by replaying it."""

from datdot_node.block import Block, Header, aura_slot
from datdot_node.errors import BadBlock, NodeError, RuntimeTrapped
from datdot_node.executor import Runtime
from datdot_node.overlay import Overlay, StateView
from datdot_node.scale import Reader, ScaleError, sized, vector
from datdot_node.validity import check_applied

_TIMESTAMP, _AURA_SLOT = b"timstap0", b"auraslot"
"""Identifiers of the inherents."""
_ONLY_INHERENTS = b"\1"
"""The runtime's answer to the header of a block in which it migrates its state."""


class BlockBuilder:
    """A block in the making, on the state of its parent.

    The header carries Aura's pre-runtime digest with the slot of the timestamp, and no seal.
    `takes_transactions` is false while the runtime migrates its state.
    """

    def __init__(
        self, runtime: Runtime, state: StateView, parent: Header, timestamp_ms: int, slot: int
    ) -> None:
        """Initializes the block and applies the inherents. Raises `BadBlock`."""
        self._runtime = runtime
        self._overlay = Overlay(state)
        self._extrinsics: list[bytes] = []
        header = Header(parent.hash, parent.number + 1, bytes(32), bytes(32), (aura_slot(slot),))
        inherents = vector(
            name + sized(value.to_bytes(8, "little"))
            for name, value in ((_AURA_SLOT, slot), (_TIMESTAMP, timestamp_ms))
        )
        try:
            mode = runtime.call("Core_initialize_block", header.encode(), self._overlay)
            reader = Reader(
                runtime.call("BlockBuilder_inherent_extrinsics", inherents, self._overlay)
            )
            for _ in range(reader.length()):
                self.apply(sized(reader.sized()))
        except (NodeError, ScaleError) as error:
            raise BadBlock(f"the runtime does not begin a block: {error}") from error
        self.takes_transactions = mode != _ONLY_INHERENTS

    def apply(self, extrinsic: bytes) -> None:
        """Applies an extrinsic and adds it to the block.

        Leaves nothing behind when it raises: `TransactionInvalid`, `TransactionUnknown`,
        `RuntimeTrapped` or `ScaleError`.
        """
        self._overlay.begin()
        try:
            answer = self._runtime.call("BlockBuilder_apply_extrinsic", extrinsic, self._overlay)
            check_applied(answer)
        except BaseException:
            self._overlay.rollback()
            raise
        self._overlay.commit()
        self._extrinsics.append(extrinsic)

    def call(self, method: str, arguments: bytes) -> bytes:
        """The runtime's answer to a call on the state that the block has made so far."""
        return self._runtime.call(method, arguments, self._overlay)

    def try_apply(self, extrinsic: bytes) -> bytes:
        """The runtime's encoded answer to an extrinsic, for a block that is then thrown away.

        Raises `RuntimeTrapped`.
        """
        return self._runtime.call("BlockBuilder_apply_extrinsic", extrinsic, self._overlay)

    def seal(self) -> tuple[Block, dict[bytes, bytes | None]]:
        """Finishes the block; it and the changes that it makes. Raises `BadBlock`."""
        try:
            encoded = self._runtime.call("BlockBuilder_finalize_block", b"", self._overlay)
            header = Header.decode(encoded)
        except (RuntimeTrapped, ScaleError) as error:
            raise BadBlock(f"the runtime does not finish the block: {error}") from error
        return Block(header, tuple(self._extrinsics)), self._overlay.changes


def replay(runtime: Runtime, state: StateView, block: Block) -> dict[bytes, bytes | None]:
    """Executes a whole block on its parent's state, as an importing node does; its changes.

    The runtime checks digests, extrinsics root and state root. Raises `BadBlock`.
    """
    overlay = Overlay(state)
    try:
        runtime.call("Core_execute_block", block.encode(), overlay)
    except RuntimeTrapped as error:
        raise BadBlock(f"block {block.number} does not replay: {error.reason}") from error
    return overlay.changes
