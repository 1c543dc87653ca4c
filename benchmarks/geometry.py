"""Geometry against rsatoolbox, all rows: the bootstrap, then distances, noise and RDM movies.

    python benchmarks/geometry.py

Both parts check that the numbers are the same before they say how long each took; the exit status
is 1 where a goal is missed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PARTS = ("geometry_bootstrap.py", "geometry_distances.py")


def main() -> int:
    """Run the parts one after the other."""
    folder = Path(__file__).parent
    return max(subprocess.call([sys.executable, str(folder / part)]) for part in PARTS)


if __name__ == "__main__":
    sys.exit(main())
