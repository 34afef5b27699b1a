"""What can go wrong with a Hypercore peer: one type per reason.

The reasons of a failed audit (challenge.md §4, `Reason`) map to these types one to one, so a
caller decides by the type alone and shows the message to a person.
"""

# The names are the report's reasons and the protocol's words, so they carry no suffix.

from __future__ import annotations

from typing import Self


class HypercoreError(Exception):
    """Anything a peer, or the way to it, did that ends what was asked for.

    Attributes:
        block: the block whose request ended with it; None: it was none, or all that were open.
    """

    block: int | None = None

    def of_block(self, index: int) -> Self:
        """The error, with the block that it is about."""
        self.block = index
        return self


class DecodeError(HypercoreError):
    """Bytes that are not an encoding of what was expected."""


class Unreachable(HypercoreError):
    """No TCP connection could be made."""


class WayOutFailed(HypercoreError):
    """The connection could not be tried, by a fault of this side or its proxy.

    Nothing is known of the peer: no reason of a failed audit stands for this.
    """


class HandshakeFailed(HypercoreError):
    """The Noise handshake or the header exchange did not succeed, in time or at all."""


class WrongIdentity(HypercoreError):
    """The handshake succeeded with another static key than the expected one."""


class NotHosted(HypercoreError):
    """The peer rejected the feed's channel, has no head, or an empty one."""


class NoData(HypercoreError):
    """The peer answered that it has not what was asked for, or closed after the request."""


class BadProof(HypercoreError):
    """A head, block, node or answer that does not verify."""


class ReadTimeout(HypercoreError):
    """The peer did not do the next step in time."""


class Disconnected(HypercoreError):
    """The connection ended, by either side; the message says why."""


class ProtocolViolation(Disconnected):
    """The connection was ended because the peer sent what the protocol does not allow."""


class TooManyStrays(ProtocolViolation):
    """The peer went on sending what no channel takes."""


class InvalidRequest(HypercoreError):
    """A request that no answer exists for: levels beyond the tree, an upgrade out of bounds."""


class ChannelRejected(HypercoreError):
    """The peer does not serve the channel that was opened."""


class ChannelClosed(HypercoreError):
    """The peer, or this side, closed the channel; the connection may go on."""
