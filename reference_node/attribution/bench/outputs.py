"""Make the committed outputs of the banks anew: `python -m reference_node.attribution.bench.outputs`.

Rule decided here: the committed folder holds what the configuration's banks make of the fixtures' queries, and nothing
older.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reference_node.attribution.bench.run import GAMES, open_rig, outputs_folder
from reference_node.attribution.cache import Cache


def main(arguments: Sequence[str] | None = None) -> int:
    """Train all banks and write their outputs."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument(
        "--work", type=Path, default=Path("runs/attribution"), help="folder of trained adapters"
    )
    options = parser.parse_args(arguments)
    for old in outputs_folder().glob("*.npy"):
        old.unlink()
    for name, clustered in GAMES:
        sys.stderr.write(f"{name}, {'quotient game' if clustered else 'by identity'}\n")
        with open_rig(name, options.work, clustered=clustered, retrain=True) as rig:
            rig.recorded = Cache(outputs_folder())
            rig.bank.outputs(rig.queries)
    return 0


if __name__ == "__main__":
    sys.exit(main())
