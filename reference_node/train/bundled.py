"""Train the adapters that ship with the node: `python -m reference_node.train.bundled [ALIAS ...]`.

Rule decided here: each niche's adapter is made by `olsim node train` with the same settings, on the committed corpus
and base. States on the way are not committed (the same command without `--checkpoints 0` makes them again).
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from reference_node import tiny_base
from reference_node.corpora import NICHES, held_out, niche
from reference_node.train.run import Order, train_adapter
from reference_node.train.settings import Settings

SETTINGS = Settings(rank=8, alpha=16.0, epochs=6, batch=16, learning_rate=1e-2, seed=0, checkpoints=0)


def command(alias: str) -> str:
    """Return the command line that makes an adapter, run from the repository's root."""
    corpora = "reference_node/corpora"
    return (
        f"olsim node train {corpora}/{alias}.jsonl --alias {alias} --out adapters/{alias} "
        f"--held-out {corpora}/heldout/{alias}.jsonl --epochs {SETTINGS.epochs} --batch {SETTINGS.batch} "
        f"--lr {SETTINGS.learning_rate:g} --checkpoints 0"
    )


def make(alias: str, folder: Path, *, quiet: bool = False) -> None:
    """Train one bundled adapter into a folder, in place of what lies there."""
    if folder.exists():
        shutil.rmtree(folder)
    order = Order(niche(alias), alias, folder, tiny_base.folder(), SETTINGS, held_out=held_out(alias))
    trained = train_adapter(order, quiet=quiet)
    sys.stdout.write(f"{alias} {trained.sha256} {trained.figures['held_out']}\n")


if __name__ == "__main__":
    for name in sys.argv[1:] or NICHES:
        make(name, tiny_base.folder() / "adapters" / name)
