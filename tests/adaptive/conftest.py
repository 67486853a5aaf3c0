from __future__ import annotations

import sys
from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "fixtures"
sys.path.append(str(FIXTURES / "studies"))
