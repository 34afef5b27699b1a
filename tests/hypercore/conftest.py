"""Makes the helper modules of this folder importable by name; no deadlines on a busy machine."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))
settings.register_profile("without deadlines", deadline=None)
settings.load_profile("without deadlines")
