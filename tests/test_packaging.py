"""What is shipped: the wheel holds what it needs, and asks for what it imports and nothing else."""

import ast
import re
import sys
import zipfile
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "chain_types": ROOT / "chain_types",
    "offchain_worker": ROOT / "offchain_worker",
    "datdot_node": ROOT / "local-node" / "embedded" / "datdot_node",
}
PIN = re.compile(r"^([a-z0-9.-]+)==([^ ]+)", re.MULTILINE)


def normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported() -> set[str]:
    """The top-level modules that the shipped packages import, at any depth."""
    found = set()
    for package in PACKAGES.values():
        for file in package.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found.update(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found - PACKAGES.keys() - set(sys.stdlib_module_names)


def test_the_dependencies_are_what_is_imported() -> None:
    declared = {
        normalized(re.split(r"[<>=!~\[; ]", requirement, maxsplit=1)[0])
        for requirement in requires("datdot") or []
        if "extra ==" not in requirement
    }
    owners = packages_distributions()
    assert {normalized(owners[module][0]) for module in imported()} == declared


def test_both_locks_pin_the_same_with_hashes() -> None:
    texts = [(ROOT / name).read_text() for name in ("requirements.txt", "requirements-dev.txt")]
    runtime, everything = (dict(PIN.findall(text)) for text in texts)
    assert runtime.items() < everything.items()
    for text in texts:
        assert "index" not in text
        assert "://" not in text
        requirements = re.split(r"\n(?! )", text.strip())
        assert all("--hash=sha256:" in requirement for requirement in requirements)


def test_the_wheel_is_whole(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for name, package in PACKAGES.items():
        modules = {f"{name}/{file.relative_to(package)}" for file in package.rglob("*.py")}
        assert modules <= names
        assert f"{name}/py.typed" in names
    runtime = "datdot_node/runtime/datdot_runtime"
    assert {f"{runtime}.compact.compressed.wasm", f"{runtime}.json"} <= names
    assert "datdot_node/allocator.wat" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {*PACKAGES, "datdot"}
