"""The embedded development chain: executes the compiled runtime and answers JSON-RPC."""

from datdot_node.block import Block, Header
from datdot_node.chain import Chain
from datdot_node.errors import NodeError
from datdot_node.pool import PoolError

__all__ = ["Block", "Chain", "Header", "NodeError", "PoolError"]
