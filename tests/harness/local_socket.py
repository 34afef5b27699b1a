"""substrate-interface on a chain in this process, without a network."""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from datdot_node import Chain
from datdot_node.rpc.methods import METHODS
from datdot_node.rpc.params import Params


class LocalSocket:
    """What substrate-interface takes for a WebSocket: answers from a chain in this process."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._answers: deque[str] = deque()

    def send(self, text: str) -> None:
        request = json.loads(text)
        if request["method"] == "rpc_methods":
            result: Any = {"methods": sorted(METHODS)}
        else:
            result = METHODS[request["method"]](self._chain, Params(request["params"]))
        self._answers.append(json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}))

    def recv(self) -> str:
        return self._answers.popleft()

    def close(self) -> None:
        pass
