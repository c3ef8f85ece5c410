"""`olsim node train`: a LoRA adapter from a dataset whose rows name their contributors.

Rule decided here: the result goes to standard output, progress to standard error; bad input (dataset, options, folder,
base) is refused with all mistakes before the first step.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import InputError

PACKAGES = ("torch", "transformers", "peft", "tokenizers", "safetensors", "rich")


def train(
    dataset: Annotated[
        Path, typer.Argument(help="JSONL rows: id, datanet, contributor, prompt, completion.")
    ],
    alias: Annotated[str, typer.Option(help="Name of the adapter.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    base: Annotated[
        Path | None, typer.Option(help="transformers folder of the base model; the tiny base when left out.")
    ] = None,
    rank: Annotated[int, typer.Option(help="LoRA rank.")] = 8,
    alpha: Annotated[float | None, typer.Option(help="LoRA alpha; 2 x rank when left out.")] = None,
    targets: Annotated[
        str, typer.Option(help="Projections, parted by commas; all seven when left out.")
    ] = "",
    epochs: Annotated[int, typer.Option(help="Passes over the rows.")] = 4,
    batch: Annotated[int, typer.Option(help="Rows per step.")] = 8,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 3e-3,
    seed: Annotated[int, typer.Option(help="Of the start and of the order of rows.")] = 0,
    checkpoints: Annotated[
        int, typer.Option(help="States kept on the way for attribution, beside the first; 0 keeps none.")
    ] = 5,
    held_out: Annotated[
        Path | None, typer.Option(help="Rows to measure only, with the base and with the adapter.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Address that earns the model's part; illustrative when left out.")
    ] = None,
    restricted: Annotated[
        Path | None,
        typer.Option(help="JSON file: restricted DataNet -> kind, licence, consent, salt (32 hex digits)."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the unfinished run in --out.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a LoRA adapter on a dataset; writes adapter, manifest and what attribution needs."""
    _import_packages()
    from reference_node import tiny_base
    from reference_node.adapter_checks import TARGETS
    from reference_node.train.run import Order, train_adapter
    from reference_node.train.settings import Settings

    settings = Settings(
        rank=rank,
        alpha=2.0 * max(rank, 1) if alpha is None else alpha,
        targets=tuple(part.strip() for part in targets.split(",")) if targets else TARGETS,
        epochs=epochs,
        batch=batch,
        learning_rate=lr,
        seed=seed,
        checkpoints=checkpoints,
    )
    order = Order(
        dataset,
        alias,
        out,
        base or tiny_base.folder(),
        settings,
        owner,
        held_out,
        resume=resume,
        device=device,
        restricted=restricted,
    )
    trained = train_adapter(order, quiet=quiet)
    facts = {"alias": alias, "sha256": trained.sha256, "folder": str(out), **trained.figures}
    sys.stdout.write(json.dumps(facts) + "\n" if as_json else _table(facts))


def _table(facts: dict[str, Any]) -> str:
    measured = facts.pop("held_out")
    if measured:
        facts["held-out loss per answer token"] = (
            f"{measured['loss_base']:.3f} of the base, {measured['loss_adapter']:.3f} with the adapter "
            f"({measured['rows']} rows of {measured['file']})"
        )
    return "".join(f"{key}: {value}\n" for key, value in facts.items())


def _import_packages() -> None:
    """Say what is missing before anything is read."""
    import importlib.util

    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"training needs {', '.join(missing)}: pip install 'olsim[node]'")
