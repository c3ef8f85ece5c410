"""Measure the influence profile of the bundled adapters: `python -m reference_node.attribution.bundled_profile`.

Rule decided here: each bundled adapter is asked the prompts that were held out of its training, several times with
draws of their own; every answer is attributed as the node does it and logged; the profile is what the log says. Which
adapter stands for which query class of the baseline is a choice, named in the file.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from reference_node import tiny_base
from reference_node.access.files import write_atomic
from reference_node.attribution.attributor import Attributor
from reference_node.attribution.influence_profile import influence_document
from reference_node.attribution.prepare import prepare_bundle
from reference_node.billing import BillingLog, ServedAdapter, ServedRequest, Tariff
from reference_node.corpora import held_out, niche
from reference_node.engine import Engine, EngineConfig
from reference_node.manifest import read_manifest
from reference_node.model import Llama
from reference_node.pool import AdapterPool
from reference_node.request import AdapterUse, Request, Sampling
from reference_node.tokenizer import TextCodec
from reference_node.train.dataset import read_dataset, sequence_rows
from reference_node.weights import load_model

CLASSES = {"medicine": "medicine", "legal": "law", "writing": "verse", "general": "openledger"}
REPEATS, TOKENS_MAX, TEMPERATURE, LENGTH_MAX = 4, 96, 0.8, 512
RANKS, PERIOD, BATCH = 8, 20, 16
NAME = "bundled-4x8"
SOURCE = (
    f"Held-out prompts of the bundled corpora asked of the bundled adapters, {REPEATS} times each at temperature "
    f"{TEMPERATURE}, attributed by tier 1; ranks are contributors, and query classes are the adapters "
    + ", ".join(f"{adapter} for {query_class}" for query_class, adapter in CLASSES.items())
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the profile."""
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0])
    parser.add_argument("out", type=Path, help="file to write")
    parser.add_argument("--work", type=Path, default=Path("runs/influence"), help="folder of bundles and log")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    log = options.work / "log"
    for alias in CLASSES.values():
        _measure(alias, options.work / alias, log)
    document = influence_document(log, CLASSES, name=NAME, ranks=RANKS, period=PERIOD, source=SOURCE)
    write_atomic(options.out, f"{json.dumps(document, indent=1)}\n".encode())
    return 0


def _measure(alias: str, folder: Path, log_folder: Path) -> None:
    """Ask one adapter, attribute its answers and log them."""
    base = tiny_base.folder()
    bundle = prepare_bundle(base / "adapters" / alias, niche(alias), folder, base)
    model, codec = load_model(base, max_length=LENGTH_MAX)[0], TextCodec.from_folder(base)
    attributor, manifest = (
        Attributor(model, bundle),
        read_manifest(base / "adapters" / alias / "manifest.json"),
    )
    served = (ServedAdapter(bundle.adapter_sha256, alias, 1, manifest=manifest),)
    log = BillingLog(log_folder, bundle.base_sha256, codec.sha256, Tariff.illustrative())
    for number, (request, tokens) in enumerate(_answers(alias, model, codec), 1):
        influence = attributor.attribute(request.id, request.prompt, tokens).influence
        log.append(
            ServedRequest(
                request_id=request.id,
                ts=time.time_ns() // 10**6,
                key_id="",
                tenant="",
                base_sha256=bundle.base_sha256,
                adapters=served,
                prompt_tokens=request.prompt,
                completion=tokens,
                sampling=request.sampling,
                influence=influence,
            )
        )
        sys.stderr.write(f"\r{alias}: answer {number}")
        sys.stderr.flush()
    log.close()
    sys.stderr.write("\n")


def _answers(alias: str, model: Llama, codec: TextCodec) -> Iterator[tuple[Request, tuple[int, ...]]]:
    """Yield requests with their answers."""
    pool = AdapterPool(model.config, slots=1, rank_max=8, host_bytes=1 << 28)
    adapter = pool.register(tiny_base.folder() / "adapters" / alias)
    engine = Engine(model, pool, EngineConfig(batch_max=BATCH, length_max=LENGTH_MAX))
    prompts = [r.tokens[: r.start] for r in sequence_rows(read_dataset(held_out(alias)), codec, LENGTH_MAX)]
    requests = [
        Request(
            f"{list(CLASSES.values()).index(alias):08x}{number:024x}",
            prompts[number % len(prompts)],
            TOKENS_MAX,
            (AdapterUse(adapter),),
            Sampling(TEMPERATURE, seed=number),
            frozenset(codec.eos_ids),
        )
        for number in range(REPEATS * len(prompts))
    ]
    for first in range(0, len(requests), BATCH):
        some = requests[first : first + BATCH]
        found = engine.run(some)
        for request in some:
            if found[request.id].tokens:
                yield request, tuple(found[request.id].tokens)


if __name__ == "__main__":
    sys.exit(main())
