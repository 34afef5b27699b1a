"""Makes the helper modules of this folder and of the audit's tests importable; says at the end how
many cases there were."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "audit"))


def pytest_unconfigure(config: pytest.Config) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or config.option.collectonly:
        return
    failed = {report.nodeid for kind in ("failed", "error") for report in reporter.getreports(kind)}
    passed = {report.nodeid for report in reporter.getreports("passed")} - failed
    reporter.write_line(f"{len(passed) + len(failed)} cases, {len(failed)} failed")
