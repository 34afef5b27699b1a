"""Polkadot-API, in Node, against `datdot node`: reads, signs and watches by `chainHead_v1_*` alone.

`make clients` installs the package and runs this folder; ordinary tests do not need Node.
"""

import json
import subprocess
from pathlib import Path

CLIENT = Path(__file__).parent / "polkadot_api"


def test_polkadot_api_reads_signs_and_watches(node_url: str) -> None:
    ended = subprocess.run(
        ["node", "--experimental-websocket", "client.mjs", node_url],
        cwd=CLIENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    steps = {line["step"]: line for line in map(json.loads, ended.stdout.splitlines())}

    assert steps["connected"]["symbol"] == "DAT"
    assert steps["read"]["timing"]["block_ms"] == 500
    assert steps["read"]["accounts"] >= 10
    assert steps["read"]["open"] == []
    assert steps["transfer"]["statuses"][0] == "signed"
    assert steps["transfer"]["statuses"][-1] == "finalized"
    assert steps["transfer"]["ok"] is True
    assert "Balances.Transfer" in steps["transfer"]["events"]
    assert steps["transfer"]["events"][-1] == "System.ExtrinsicSuccess"
    assert "Payment" in steps["refused"]["message"]
    numbers = steps["watched"]["numbers"]
    assert numbers == list(range(numbers[0], numbers[0] + 4))
