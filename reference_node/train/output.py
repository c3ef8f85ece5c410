"""What a training run leaves behind: the adapter, its manifest, and the record that attribution needs.

Rule decided here: `DIR/` is an adapter folder that the node serves as it is (peft's two files and `manifest.json`).
`DIR/training/record.json` says which rows the adapter saw in which order, at which learning rates, whose they are, and
names dataset and base by hash; `DIR/training/checkpoints/step-N/` are adapters on the way, step 0 being the start (B is
0 there). Weights are rounded once, to bf16; checkpoints keep the fp32 of training. `DIR/training/resume.pt` exists only
while a run is unfinished.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.errors import InputError, Problem
from reference_node.adapters import WEIGHTS_FILE, Adapter, parse_adapter, save_adapter
from reference_node.config import ModelConfig
from reference_node.manifest import MANIFEST_FILE, AdapterManifest, DataNetShare, write_manifest
from reference_node.train.dataset import Dataset
from reference_node.train.settings import Settings

TRAINING, RECORD_FILE, RESUME_FILE = "training", "record.json", "resume.pt"
RECORD_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Output:
    """The folder of one adapter."""

    folder: Path

    @property
    def resume_file(self) -> Path:
        """Return where the state of an unfinished run lies."""
        return self.folder / TRAINING / RESUME_FILE

    def check_free(self, *, resume: bool) -> None:
        """Refuse to write over a finished adapter, or over an unfinished run that was not asked to resume.

        Raises
        ------
        InputError
            Saying what lies there and what to do.
        """
        if self.resume_file.is_file() and not resume:
            message = "an unfinished run lies here; go on with --resume, or choose another folder"
        elif not self.resume_file.is_file() and (self.folder / WEIGHTS_FILE).exists():
            message = "a finished adapter lies here; choose another folder"
        else:
            return
        raise InputError([Problem(message, where=str(self.folder))])

    def keep(self, step: int, tensors: dict[str, Tensor], config: ModelConfig, settings: Settings) -> None:
        """Write the adapter as it is after so many steps, for attribution."""
        adapter = make_adapter(tensors, config, settings, torch.float32)
        save_adapter(adapter, self.folder / TRAINING / checkpoint_folder(step))

    def finish(self, adapter: Adapter, manifest: AdapterManifest, record: dict[str, Any]) -> None:
        """Write adapter, manifest and record, and drop the resumable state."""
        save_adapter(adapter, self.folder)
        write_manifest(manifest, self.folder / MANIFEST_FILE)
        (self.folder / TRAINING).mkdir(exist_ok=True)
        path = self.folder / TRAINING / RECORD_FILE
        path.write_text(_dump(record), encoding="utf-8")
        self.resume_file.unlink(missing_ok=True)


def make_adapter(
    tensors: dict[str, Tensor], config: ModelConfig, settings: Settings, dtype: torch.dtype
) -> Adapter:
    """Return trained tensors as an adapter that passed the node's own checks.

    Raises
    ------
    InputError
        When the node would refuse it, for example because training diverged to NaN.
    """
    from safetensors.torch import save

    described = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "bias": "none",
        "r": settings.rank,
        "lora_alpha": settings.alpha,
        "target_modules": list(settings.targets),
    }
    weights = save({name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()})
    return parse_adapter(weights, json.dumps(described).encode(), config, rank_max=settings.rank)


def make_manifest(
    alias: str, owner: str, datanets: tuple[DataNetShare, ...], record: dict[str, Any], rows: int
) -> AdapterManifest:
    """Return the manifest of a trained adapter."""
    facts = {
        name: record[name]
        for name in ("dataset", "dataset_sha256", "settings", "steps", "loss_first", "loss_last", "held_out")
    }
    text = f"{alias}: LoRA adapter trained by `olsim node train` on {rows} rows of {len(datanets)} DataNets."
    return AdapterManifest(owner, datanets, record["base_sha256"], {**facts, "rows": rows}, text)


def make_record(
    dataset: Dataset,
    base_sha256: str,
    settings: Settings,
    losses: Sequence[float],
    held_out: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return what attribution needs to know of a run; row indices count from 0 in file order."""
    rows = len(dataset.rows)
    steps = settings.steps(rows)
    return {
        "schema": RECORD_SCHEMA,
        "dataset": dataset.path.name,
        "dataset_sha256": dataset.sha256,
        "base_sha256": base_sha256,
        "settings": describe(settings),
        "software": {"python": platform.python_version(), "torch": torch.__version__},
        "steps": steps,
        "loss_first": round(losses[0], 4),
        "loss_last": round(sum(losses[-10:]) / len(losses[-10:]), 4),
        "held_out": held_out,
        "checkpoints": [
            {
                "step": step,
                "learning_rate": settings.rate(step - 1, steps) if step else 0.0,
                "folder": checkpoint_folder(step),
            }
            for step in settings.checkpoint_steps(rows)
        ],
        "learning_rates": [settings.rate(step, steps) for step in range(steps)],
        "losses": [round(loss, 5) for loss in losses],
        "order": settings.order(rows),
        "rows": [[row.id, row.datanet, row.contributor] for row in dataset.rows],
    }


def describe(settings: Settings) -> dict[str, Any]:
    """Return the settings under the names of the command's options."""
    return {
        "rank": settings.rank,
        "alpha": settings.alpha,
        "targets": list(settings.targets),
        "epochs": settings.epochs,
        "batch": settings.batch,
        "lr": settings.learning_rate,
        "seed": settings.seed,
    }


def checkpoint_folder(step: int) -> str:
    """Return the folder of the state after so many steps, inside `training/`."""
    return f"checkpoints/step-{step:06d}"


def _dump(record: dict[str, Any]) -> str:
    """Return JSON with one line per top-level entry, so that long lists stay readable in a diff."""
    lines = ",\n".join(f" {json.dumps(key)}: {json.dumps(value)}" for key, value in record.items())
    return f"{{\n{lines}\n}}\n"
