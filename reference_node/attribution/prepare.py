"""Make a bundle from an adapter's folder and its dataset: what `olsim node attribute build` does.

Rule decided here: everything that can be refused is refused before the first gradient; a bank is trained by the
adapter's own recipe, one state after the other, and what is trained is kept, so that a stopped build goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from models.errors import InputError, Problem
from reference_node.adapters import read_adapter
from reference_node.attribution.attributor import Attributor
from reference_node.attribution.bundle import BUNDLE_FILE, Bundle
from reference_node.attribution.coalition_bank import BankPlan
from reference_node.attribution.retrain import Recipe
from reference_node.manifest import MANIFEST_FILE, read_manifest
from reference_node.model import Llama
from reference_node.tokenizer import TextCodec
from reference_node.train.dataset import read_dataset, sequence_rows
from reference_node.train.output import RECORD_FILE, TRAINING
from reference_node.weights import base_sha256, load_model

Progress = Callable[[int, int], None]
"""Takes the states of the bank that are done and all."""


def prepare_bundle(
    adapter: Path, dataset: Path, out: Path, base: Path, *, bank: int = 0, progress: Progress | None = None
) -> Bundle:
    """Make a bundle, its gradients and, where asked for, its bank.

    Parameters
    ----------
    adapter
        Folder that `olsim node train` wrote.
    dataset
        What it was trained on.
    out
        Folder of the bundle; one that lies there and belongs to the same adapter is continued.
    base
        Transformers folder of the base model.
    bank
        States of the bank, even and at least 4; 0 for none.
    progress
        Told after every state.

    Raises
    ------
    InputError
        With what is wrong with adapter, dataset, base, folder or number of states.
    """
    codec = TextCodec.from_folder(base)
    model, tensors = load_model(base, dtype=torch.float32)
    bundle = _opened(adapter, dataset, out, model, codec, base_sha256(tensors, codec.sha256))
    if bank:
        bundle = _with_bank(bundle, model, bank, progress)
    Attributor(model, bundle).warm()
    return bundle


def _opened(folder: Path, dataset: Path, out: Path, model: Llama, codec: TextCodec, base: str) -> Bundle:
    """Return the bundle that lies in a folder, or a new one."""
    adapter = read_adapter(folder, model.config)
    if (out / BUNDLE_FILE).is_file():
        found = Bundle.open(out)
        if (found.adapter_sha256, found.base_sha256) != (adapter.sha256, base):
            message = (
                f"is of adapter {found.adapter_sha256[:12]}; choose another folder for {adapter.sha256[:12]}"
            )
            raise InputError([Problem(message, where=str(out))])
        return found
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise InputError([Problem("has no manifest; nobody would be paid", where=str(folder))])
    rows = read_dataset(dataset)
    sequences = sequence_rows(rows, codec, model.cos.shape[0])
    manifest = read_manifest(path)
    return Bundle.make(out, rows, sequences, adapter.sha256, base, manifest, recipe_of(folder))


def recipe_of(folder: Path) -> Recipe:
    """Return how an adapter was trained, by its training record.

    Raises
    ------
    InputError
        If there is no record.
    """
    path = folder / TRAINING / RECORD_FILE
    try:
        said = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except OSError as error:
        message = "there is no training record; bundles are made of adapters that olsim node train made"
        raise InputError([Problem(message, where=str(path))]) from error
    return Recipe(
        said["rank"], said["alpha"], tuple(said["targets"]), said["epochs"], said["batch"], said["lr"]
    )


def _with_bank(bundle: Bundle, model: Llama, states: int, progress: Progress | None) -> Bundle:
    try:
        BankPlan(states=states)
    except ValueError as error:
        raise InputError(str(error)) from error
    made = replace(bundle, bank=states)
    bank = Attributor(model, made).bank
    assert bank is not None, "a bundle with states has a bank"
    for state in range(1, states):
        bank.adapter(state)
        if progress is not None:
            progress(state, states - 1)
    made.write()
    return made
