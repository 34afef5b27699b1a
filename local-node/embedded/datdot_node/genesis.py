"""The state of block 0, as the runtime itself builds it."""

import json
from collections.abc import Mapping
from typing import Any

from datdot_node.block import Header
from datdot_node.errors import BadGenesis, RuntimeTrapped
from datdot_node.executor import Runtime
from datdot_node.overlay import EmptyState, Overlay
from datdot_node.scale import Reader, option, sized
from datdot_node.trie import EMPTY_ROOT

CODE = b":code"


def merge_patch(target: Any, patch: Any) -> Any:
    """`target` with a JSON merge patch applied (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def configuration(runtime: Runtime, preset: str, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The runtime's default configuration with the named preset and then `patch` merged in.

    Raises `BadGenesis` for a preset that the runtime does not have.
    """
    merged = merge_patch(_preset(runtime, None), _preset(runtime, preset))
    result: dict[str, Any] = merge_patch(merged, patch)
    return result


def _preset(runtime: Runtime, name: str | None) -> Any:
    argument = option(None if name is None else sized(name.encode()))
    reader = Reader(runtime.call("GenesisBuilder_get_preset", argument, Overlay(EmptyState())))
    if not reader.u8():
        raise BadGenesis(f"the runtime has no genesis preset {name!r}")
    return json.loads(reader.sized())


def build(
    runtime: Runtime, code: bytes, preset: str, patch: Mapping[str, Any]
) -> dict[bytes, bytes]:
    """All keys and values of the genesis state, the code included. Raises `BadGenesis`."""
    encoded = json.dumps(configuration(runtime, preset, patch)).encode()
    overlay = Overlay(EmptyState())
    try:
        answer = Reader(runtime.call("GenesisBuilder_build_state", sized(encoded), overlay))
    except RuntimeTrapped as error:
        raise BadGenesis(f"the runtime gave up over the genesis: {error.reason}") from error
    if answer.u8():
        raise BadGenesis(f"the runtime refuses the genesis: {answer.text()}")
    overlay.set(CODE, code)
    return {key: value for key, value in overlay.changes.items() if value is not None}


def header(state_root: bytes) -> Header:
    """The header of block 0 over that state."""
    return Header(bytes(32), 0, state_root, EMPTY_ROOT, ())
