"""Profiles: the throughput measurements behind a run, as the node page shows them.

Rule decided here: a run's profiles are the files that its resolved scenario names; a file that has changed
since the run is said to have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import InputError
from sim.report.text import number
from sim.results.code import file_sha256
from sim.results.reader import Run
from sim.serving.profile import ServingProfile, read_profile

FOLDER = Path("reference_node/profiles")
"""Where committed measurements are, in a checkout."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A throughput profile.

    Parameters
    ----------
    path
        Its file.
    facts
        What the simulator takes from it.
    document
        The whole file.
    """

    path: Path
    facts: ServingProfile
    document: Mapping[str, Any]

    @property
    def contexts(self) -> list[int]:
        """Contexts of the decode rows, rising."""
        return sorted({row["context"] for row in self.document["decode"]})

    @property
    def ranks(self) -> list[int]:
        """LoRA ranks of the decode rows, rising, without the rows that have no adapter."""
        return sorted({row["rank"] for row in self.document["decode"]} - {0})


def read(path: Path) -> Measured:
    """Read and check a profile.

    Raises
    ------
    InputError
        With everything that is wrong with it.
    """
    facts = read_profile(path)
    return Measured(path, facts, json.loads(path.read_text(encoding="utf-8")))


def files_of(run: Run) -> list[Path]:
    """Return the profiles that a run's resolved scenario names, without repetition."""
    from ruamel.yaml import YAML

    plain = YAML(typ="safe").load(run.resolved) or {}
    fleet = plain.get("serving", {}).get("fleet", [])
    found = []
    for machine in fleet:
        named = machine["profile"]
        text = named["value"] if isinstance(named, Mapping) else named
        found.append((run.directory / text).resolve())
    return list(dict.fromkeys(found))


def committed(folder: Path = FOLDER) -> list[Path]:
    """Return the measurements that come with the checkout."""
    return sorted(path for path in folder.glob("*.json") if not path.name.endswith(".schema.json"))


def changed(run: Run, path: Path) -> bool:
    """Return whether a profile's file is not the one that the run used, byte for byte.

    Raises
    ------
    InputError
        If the file is not there.
    """
    manifest = run.manifest
    used = [manifest.profile, *manifest.other_profiles]
    if not path.is_file():
        raise InputError(f"{path.name}: the profile of this run is no longer there")
    return file_sha256(path) not in {facts.sha256 for facts in used if facts is not None}


def provenance(measured: Measured) -> list[tuple[str, str]]:
    """Return who measured what, with which software, as pairs of words and text."""
    document = measured.document
    device, software, model = document["device"], document["software"], document["model"]
    lora, proof, price = document["lora"], document["provenance"], document["price"]
    parameters = number(float(model["params"]))
    weights = "random weights" if model["random_weights"] else "trained weights"
    return [
        ("profile", f"{document['id']}, schema {document['schema']}"),
        ("measured", f"{'yes' if proof['measured'] else 'no'}, {document['created']}"),
        ("device", f"{device['count']} x {device['name']} ({device['kind']})"),
        ("memory bandwidth", f"{number(device['measured_bw_Bps'] / 1e9)} GB/s, measured"),
        ("arithmetic", f"{number(device['measured_flops'] / 1e9)} GFLOP/s, measured"),
        ("model", f"{model['arch']}, {parameters} parameters, {model['dtype']}, {weights}"),
        ("LoRA", f"rank {lora['rank']}, {lora['resident_slots']} adapters on the device, {lora['host_slots']} off"),
        ("software", f"torch {software['torch']}, Python {software['python']}, threads {software['threads']}"),
        ("repeats", str(proof["n_repeats"])),
        ("energy", _energy(document["energy"])),
        ("machine's price", f"{number(price['usd_per_hour'])} USD/hour ({price['source']})"),
        ("command", proof["command"]),
        ("content hash", proof["sha256"]),
    ]  # fmt: skip


def _energy(energy: Mapping[str, Any]) -> str:
    joules = energy["joules_per_token"]
    return "not measured" if joules is None else f"{number(joules)} J per token ({energy['method']})"


def serving_rows(measured: Measured) -> list[dict[str, str]]:
    """Return the measured serving runs as rows of texts with people's column names and units."""
    return [
        {
            "arrivals, requests/s": number(row["arrival_rate"]),
            "adapters": str(row["adapters"]),
            "cache": row["cache_policy"],
            "output, tokens/s": number(row["output_tok_s"]),
            "cache hits": number(row["hit_rate"], "share"),
            "first token p50, ms": number(row["ttft_ms"]["p50"]),
            "p99, ms": number(row["ttft_ms"]["p99"]),
            "request p50, ms": number(row["e2e_ms"]["p50"]),
            "p99 of it, ms": number(row["e2e_ms"]["p99"]),
            "used to": "check the fit" if row["holdout"] else "fit",
        }
        for row in measured.document["serving"]
    ]
