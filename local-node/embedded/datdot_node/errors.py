"""What can go wrong with an embedded chain: one type per reason."""


class NodeError(Exception):
    """Base of everything that the embedded chain raises on purpose."""


class BadRuntime(NodeError):
    """The runtime's code cannot be used: damaged, or made for another kind of host."""


class UnknownImport(BadRuntime):
    """The runtime imports a host function that this host does not have."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"the runtime imports unknown host functions: {', '.join(names)}")
        self.names = names


class RuntimeTrapped(NodeError):
    """A call into the runtime ended in a trap; `reason` is the runtime's last word about it."""

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(f"{method} trapped: {reason}")
        self.method = method
        self.reason = reason


class UnknownMethod(NodeError):
    """The runtime exports no such call."""

    def __init__(self, method: str) -> None:
        super().__init__(f"the runtime has no call {method}")
        self.method = method


class BadGenesis(NodeError):
    """The genesis configuration is not accepted by the runtime."""


class UnknownBlock(NodeError):
    """No block with this hash or number in the chain."""


class StateDiscarded(UnknownBlock):
    """The block is there, but its state was pruned."""


class ChainLocked(NodeError):
    """Another process works on this folder."""


class BadStore(NodeError):
    """The folder holds something else than a chain of this kind, or a damaged one."""


class BadBlock(NodeError):
    """The runtime refused to make or to replay a block."""


class PortInUse(NodeError):
    """The address to listen on is taken."""
