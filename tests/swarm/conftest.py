"""Makes the modules that only tests use importable by name."""

import sys
from pathlib import Path

for folder in ("harness", "hypercore", "swarm"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))
