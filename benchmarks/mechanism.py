"""Mechanism against its peers, all tables: sparse dictionaries, grids of patching, recording.

    python benchmarks/mechanism.py [--peer-python PATH]

The peers (sae-lens, transformer-lens, nnsight) may live in an environment of their own: PATH says
which Python runs the first of them; patching needs all in one. The exit status is 1 where a goal is
missed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Run the parts one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", default=sys.executable, help="runs sae-lens")
    asked, folder = parser.parse_args(), Path(__file__).parent
    parts = (
        ["mechanism_dictionaries.py", "--peer-python", asked.peer_python],
        ["mechanism_patching.py"],
        ["mechanism_recording.py"],
    )
    return max(
        subprocess.call([sys.executable, str(folder / script), *options])
        for script, *options in parts
    )


if __name__ == "__main__":
    sys.exit(main())
