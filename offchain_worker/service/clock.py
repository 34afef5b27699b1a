"""A clock that is off misses audits: said in the log before money is lost."""

from __future__ import annotations

import structlog
import trio

from chain_types import storage
from offchain_worker.chain.client import ChainClient
from offchain_worker.chain.errors import ChainError

_log = structlog.get_logger()

INTERVAL_SECONDS = 600.0


async def warn_about_clock(client: ChainClient) -> None:
    """Compare the clock with the chain's timestamps now and every ten minutes, until cancelled.

    A difference of more than half the challenges' tolerance is one warning with the figure.
    """
    while True:
        try:
            offset = await client.clock_offset()
            timing = await client.read(storage.TIMING)
            tolerated_s = timing.clock_tolerance_ms / 2_000
            if offset is not None and not -tolerated_s <= offset <= tolerated_s:
                _log.warning(
                    "clock.off",
                    seconds_ahead_of_chain=round(offset, 3),
                    advice="set this machine's clock, or audits will be missed",
                )
        except ChainError as error:
            _log.warning("clock.unchecked", reason=str(error))
        await trio.sleep(INTERVAL_SECONDS)
