"""The polkadot.js API, in Node, against `datdot node`: reads, signs and watches.

`make clients` installs the package and runs this folder; ordinary tests do not need Node.
"""

import json
import subprocess
from pathlib import Path

CLIENT = Path(__file__).parent / "polkadot_js"


def test_polkadot_js_reads_signs_and_watches(node_url: str) -> None:
    ended = subprocess.run(
        ["node", "client.mjs", node_url],
        cwd=CLIENT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    steps = {line["step"]: line for line in map(json.loads, ended.stdout.splitlines())}

    assert steps["connected"]["spec"] == "datdot"
    assert steps["connected"]["pallets"] == ["hosting", "performance", "providers"]
    assert {"anchorFlip", "submitReport", "reportFraud"} <= set(steps["connected"]["calls"])
    assert steps["read"]["timing"]["blockMs"] == 500
    assert steps["read"]["open"] == []
    for name, event in (
        ("transfer", "balances.Transfer"),
        ("publish", "hosting.FeedPublished"),
    ):
        # In a block and final come at once, and the API may show only the second.
        assert steps[name]["statuses"][0] == "Ready"
        assert steps[name]["statuses"][-1] == "Finalized"
        assert event in steps[name]["events"]
        assert steps[name]["events"][-1] == "system.ExtrinsicSuccess"
    assert steps["stored"]["signer"] == steps["stored"]["expected"]
    assert steps["future"]["pending"] == 0
    assert "1010: Invalid Transaction" in steps["refused"]["message"]
    assert steps["watched"]["heads"] >= 2
    assert steps["watched"]["ascending"]
