"""Train one adapter from a dataset file to a folder that the node serves.

Rule decided here: everything that can be refused is refused before the first step: dataset, options, folder, base, row
lengths and manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reference_node.manifest import AdapterManifest, parse_manifest
from reference_node.manifest_reader import Reader
from reference_node.registry.index import check_alias
from reference_node.train.base import open_base
from reference_node.train.dataset import read_dataset, sequence_rows
from reference_node.train.lora import Run, Work, identity_of
from reference_node.train.output import Output, make_adapter, make_manifest, make_record
from reference_node.train.progress import progress_bar
from reference_node.train.restricted import with_restrictions
from reference_node.train.settings import Settings
from reference_node.train.shares import datanet_shares, illustrative_address


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asks for.

    Parameters
    ----------
    dataset, alias, out
        Rows to train on, name of the adapter, folder to write.
    base
        transformers folder of the base model.
    owner
        Address that earns the model's part; None for an illustrative one.
    held_out
        Rows that are only measured, before and after.
    resume
        Go on with an unfinished run in `out`.
    restricted
        File that states what restricted DataNets are; None where all are open.
    """

    dataset: Path
    alias: str
    out: Path
    base: Path
    settings: Settings
    owner: str | None = None
    held_out: Path | None = None
    resume: bool = False
    device: str = "cpu"
    restricted: Path | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """The outcome of a run: the adapter's hash and the figures that the command prints."""

    sha256: str
    figures: dict[str, Any]


def train_adapter(order: Order, *, quiet: bool = False) -> Trained:
    """Train an adapter, write its folder and say what came out.

    Raises
    ------
    InputError
        With what is wrong with the dataset, the options, the folder or the base.
    """
    check_alias(order.alias)
    output, settings = Output(order.out), order.settings
    output.check_free(resume=order.resume)
    dataset = read_dataset(order.dataset)
    shares = datanet_shares(dataset.rows)
    if order.restricted is not None:
        shares = with_restrictions(shares, order.restricted)
    owner = _owner(order)
    parse_manifest(AdapterManifest(owner, shares).to_json(), where=str(order.dataset))
    held_out = read_dataset(order.held_out) if order.held_out else None
    base = open_base(order.base, order.device)
    rows = sequence_rows(dataset, base.codec, base.length_max)
    measured = sequence_rows(held_out, base.codec, base.length_max) if held_out else []
    run = Run(base, rows, settings, order.device)
    work = Work(output.resume_file, identity_of(dataset.sha256, base.sha256, settings, order.device))
    with progress_bar(f"training {order.alias}", len(run.order), quiet=quiet) as tell:
        run.train(work, tell, lambda step, t: output.keep(step, t, base.config, settings))
    adapter = make_adapter(run.tensors(), base.config, settings, torch.bfloat16)
    figures = None
    if held_out:
        figures = {
            "file": held_out.path.name,
            "sha256": held_out.sha256,
            "rows": len(measured),
            "loss_base": round(run.loss(measured, adapter=False), 4),
            "loss_adapter": round(run.loss(measured), 4),
        }
    record = make_record(dataset, base.sha256, settings, run.losses, figures)
    output.finish(adapter, make_manifest(order.alias, owner, shares, record, len(rows)), record)
    names = ("steps", "loss_first", "loss_last", "held_out")
    return Trained(adapter.sha256, {name: record[name] for name in names})


def _owner(order: Order) -> str:
    if order.owner is None:
        return illustrative_address("owner", order.alias)
    reader = Reader("")
    owner = reader.address(order.owner, "owner")
    reader.finish()
    return owner
