"""The node's public ratios: mixed adapters against peft, base against transformers, 256 adapters against 8.

Every figure is a ratio of two things timed in turn in one run on the same weights; where peft or
transformers is not installed the value is null and the detail says how to install it. One thread on a CPU.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

import reference_node
from models.serving import zipf_popularity
from reference_node.adapters import save_adapter
from reference_node.bench.describe import cpu_name, revision
from reference_node.bench.figure import bench_figure
from reference_node.bench.measure import PLANS, Progress, Rig, prompt_of, timed_ms
from reference_node.bench.run import build_rig
from reference_node.rehearsal import rehearsal
from reference_node.request import AdapterUse, Request
from reference_node.weights import save_model

Step = Callable[[], object]
BARS = {
    "mixed.x_peft.b8": 4.0,
    "mixed.x_peft.b32": 4.0,
    "base.x_transformers.b1": 1.0,
    "base.x_transformers.b8": 1.0,
    "base.x_transformers.b32": 1.0,
    "adapters256.over_8": 0.8,
}
RANK = 16
CONTEXT = 32
ROUNDS = 7
STEPS = 4
REQUESTS = 96  # of one burst of the comparison of 256 adapters with 8
HOW_TO_INSTALL = "needs transformers and peft: pip install 'olsim[node]'"


def node_figures(progress: Progress) -> dict[str, Any]:
    """Measure all figures and return the document of `olsim bench node --json`."""
    progress("building the model and 256 adapters")
    plan = replace(PLANS["tiny"], slots=256, adapters=256, ranks=(RANK,))
    rig = build_rig(plan, "cpu", progress)
    details = {"adapters256.over_8": _many_adapters(rig, progress)}
    with tempfile.TemporaryDirectory() as scratch:
        details |= _against_peers(rig, Path(scratch), progress)
    return {
        "bench": "node",
        "machine": {
            "processor": cpu_name(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        },
        "code_version": f"{reference_node.__version__}+{revision()}",
        "figures": [
            bench_figure(name, details[name].pop("value"), "ratio", "higher", bar, details[name])
            for name, bar in BARS.items()
        ],
    }


def _ratio(
    numerator: str, denominator: str, steps: dict[str, Step], device: torch.device, repeats: int = STEPS
) -> dict[str, Any]:
    """Time the steps in turn and return the speed of `numerator` over that of `denominator`."""
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for rep in range(ROUNDS + 1):
        for name, step in steps.items():
            times = [timed_ms(step, device) for _ in range(repeats)]
            if rep:
                samples[name].append(float(np.median(times)))
    rounds = [low / high for high, low in zip(samples[numerator], samples[denominator], strict=True)]
    kept = {name: [round(sample, 5) for sample in values] for name, values in samples.items()}
    return {"value": round(float(np.median(rounds)), 4), "samples_ms": kept}


def _our_step(rig: Rig, batch: int, names: list[str], stack: ExitStack) -> Step:
    """Return one decode forward of the engine for `batch` rows at a fixed context, without sampling, as peers'."""
    spare = batch  # more steps than it takes to read all prompts, so that no row comes to its end meanwhile
    engine = rig.engine(batch, CONTEXT + spare + 4)
    uses = [(AdapterUse(name),) for name in names] or [()] * batch
    for row in range(batch):
        engine.submit(Request(f"row{row}", prompt_of(rig, row, CONTEXT), spare + 4, uses[row]))
    while any(entry.remaining > 1 for entry in engine.scheduler.running) or engine.waiting:
        engine.step()
    return stack.enter_context(rehearsal(engine, sample=False))


def _many_adapters(rig: Rig, progress: Progress) -> dict[str, Any]:
    """Serve a burst of requests over 256 registered adapters and one over 8, both with Zipf popularity."""
    progress("256 adapters against 8")
    names = [rig.pool.add(adapter) for adapter in rig.adapters[RANK]]
    engine = rig.engine(32, 64)
    draws = np.random.default_rng(7)

    def burst(count: int) -> None:
        picks = draws.choice(count, REQUESTS, p=zipf_popularity(count, 1.0))
        prompts = draws.integers(0, rig.plan.config.vocab_size, (REQUESTS, CONTEXT)).tolist()
        engine.run(
            Request(f"r{i}", tuple(prompts[i]), 32, (AdapterUse(names[pick]),))
            for i, pick in enumerate(picks)
        )

    steps: dict[str, Step] = {"256": lambda: burst(256), "8": lambda: burst(8)}
    return _ratio("256", "8", steps, rig.model.device, repeats=1)


def _against_peers(rig: Rig, scratch: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    names = [name for name in BARS if ".x_" in name]
    if find_spec("peft") is None or find_spec("transformers") is None:
        return {name: {"value": None, "install": HOW_TO_INSTALL} for name in names}
    with _quiet_peers():
        return _against_installed(rig, scratch, progress)


@contextmanager
def _quiet_peers() -> Iterator[None]:
    """Keep peers' warnings about their own future, and their progress bars, off the screen."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _against_installed(rig: Rig, scratch: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    progress("loading the same weights into transformers and peft")
    save_model(rig.model, scratch / "base")
    base = AutoModelForCausalLM.from_pretrained(scratch / "base").eval()
    details = {}
    for batch in (1, 8, 32):
        progress(f"base against transformers, batch {batch}")
        with ExitStack() as stack:
            steps = {"ours": _our_step(rig, batch, [], stack), "transformers": _peer_step(base, batch)}
            details[f"base.x_transformers.b{batch}"] = _ratio("ours", "transformers", steps, rig.model.device)
    for i, adapter in enumerate(rig.adapters[RANK][:32]):
        save_adapter(adapter, scratch / f"a{i}")
    mixed = PeftModel.from_pretrained(base, scratch / "a0", adapter_name="a0").eval()
    for i in range(1, 32):
        mixed.load_adapter(scratch / f"a{i}", adapter_name=f"a{i}")
    for batch in (8, 32):
        progress(f"{batch} distinct adapters against peft")
        names = [rig.pool.add(adapter) for adapter in rig.adapters[RANK][:batch]]
        with ExitStack() as stack:
            steps = {
                "ours": _our_step(rig, batch, names, stack),
                "ours_base": _our_step(rig, batch, [], stack),
                "peft": _peer_step(mixed, batch, adapter_names=[f"a{i}" for i in range(batch)]),
            }
            details[f"mixed.x_peft.b{batch}"] = _ratio("ours", "peft", steps, rig.model.device)
    return details


def _peer_step(model: Any, batch: int, **extra: Any) -> Step:
    """Return one decode step of a transformers model over a cache of the same length."""
    prompt = torch.arange(batch)[:, None].repeat(1, CONTEXT)
    with torch.inference_mode():
        cache = model(input_ids=prompt, use_cache=True, **extra).past_key_values
    newest = torch.arange(batch)[:, None]

    def step() -> None:
        with torch.inference_mode():
            model(input_ids=newest, past_key_values=cache, use_cache=True, **extra)
            cache.crop(-1)

    return step
