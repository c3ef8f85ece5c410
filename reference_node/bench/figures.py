"""The node's public ratios: mixed adapters against peft, base against transformers, 256 adapters against 8.

Every figure is a ratio of two things timed in turn in one run on the same weights; where peft or
transformers is not installed the value is null and the detail says how to install it. One thread on a CPU.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

import reference_node
from reference_node.adapters import save_adapter
from reference_node.bench.measure import PLANS, Progress, Rig, timed_ms
from reference_node.bench.run import build_rig, cpu_name, revision
from reference_node.lora import LoraPlan
from reference_node.model import KVCache
from reference_node.weights import save_model

Step = Callable[[], object]
BARS = {
    "mixed.x_peft.b8": 3.0,
    "mixed.x_peft.b32": 3.0,
    "base.x_transformers.b1": None,
    "base.x_transformers.b8": None,
    "base.x_transformers.b32": None,
    "adapters256.over_8": None,
}
CONTEXT = 32
ROUNDS = 7
STEPS = 4
HOW_TO_INSTALL = "needs transformers and peft: pip install 'olsim[node]'"


def node_figures(progress: Progress) -> dict[str, Any]:
    """Measure all figures and return the document of `olsim bench node --json`."""
    progress("building the model and 256 adapters")
    plan = replace(PLANS["tiny"], slots=256, adapters=256, ranks=(16,))
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
        "figures": [_figure(name, details[name]) for name in BARS],
    }


def _figure(name: str, detail: dict[str, Any]) -> dict[str, Any]:
    value, bar = detail.pop("value"), BARS[name]
    met = None if value is None or bar is None else value >= bar
    return {
        "id": name,
        "value": value,
        "unit": "ratio",
        "better": "higher",
        "bar": bar,
        "ok": met,
        "detail": detail,
    }


def _ratio(numerator: str, denominator: str, steps: dict[str, Step], device: torch.device) -> dict[str, Any]:
    """Time the steps in turn and return the speed of `numerator` over that of `denominator`."""
    samples: dict[str, list[float]] = {name: [] for name in steps}
    for rep in range(ROUNDS + 1):
        for name, step in steps.items():
            times = [timed_ms(step, device) for _ in range(STEPS)]
            if rep:
                samples[name].append(float(np.median(times)))
    rounds = [low / high for high, low in zip(samples[numerator], samples[denominator], strict=True)]
    kept = {name: [round(sample, 5) for sample in values] for name, values in samples.items()}
    return {"value": round(float(np.median(rounds)), 4), "samples_ms": kept}


def _our_step(rig: Rig, batch: int, slots: list[int] | None, *, gather: bool | None = None) -> Step:
    """Return one decode step of our decoder for `batch` rows at a fixed context."""
    model, cache = rig.model, KVCache(rig.plan.config, batch, CONTEXT + 1, rig.model.embed)
    tokens, positions = torch.arange(batch), torch.full((batch,), CONTEXT)
    plan = None if slots is None else LoraPlan(rig.pool, slots, gather=gather)
    return lambda: model.decode(tokens, positions, cache, CONTEXT + 1, plan)


def _slots(rig: Rig, count: int) -> list[int]:
    return [rig.pool.acquire(rig.pool.add(adapter)) for adapter in rig.adapters[16][:count]]


def _many_adapters(rig: Rig, progress: Progress) -> dict[str, Any]:
    """Compare a batch of 32 drawing on 256 resident adapters (32 distinct) with one drawing on 8."""
    progress("256 adapters against 8")
    slots = _slots(rig, 256)
    many = _our_step(rig, 32, [slots[8 * row + 7] for row in range(32)])
    few = _our_step(rig, 32, [slots[row % 8] for row in range(32)])
    return _ratio("256", "8", {"256": many, "8": few}, rig.model.device)


def _against_peers(rig: Rig, scratch: Path, progress: Progress) -> dict[str, dict[str, Any]]:
    names = [name for name in BARS if ".x_" in name]
    try:
        from peft import PeftModel
        from transformers import AutoModelForCausalLM
    except ImportError:
        return {name: {"value": None, "install": HOW_TO_INSTALL} for name in names}
    progress("loading the same weights into transformers and peft")
    save_model(rig.model, scratch / "base")
    base = AutoModelForCausalLM.from_pretrained(scratch / "base").eval()
    details = {}
    for batch in (1, 8, 32):
        progress(f"base against transformers, batch {batch}")
        steps = {"ours": _our_step(rig, batch, None), "transformers": _peer_step(base, batch)}
        details[f"base.x_transformers.b{batch}"] = _ratio("ours", "transformers", steps, rig.model.device)
    for i, adapter in enumerate(rig.adapters[16][:32]):
        save_adapter(adapter, scratch / f"a{i}")
    mixed = PeftModel.from_pretrained(base, scratch / "a0", adapter_name="a0").eval()
    for i in range(1, 32):
        mixed.load_adapter(scratch / f"a{i}", adapter_name=f"a{i}")
    for batch in (8, 32):
        progress(f"{batch} distinct adapters against peft")
        slots = _slots(rig, batch)
        steps = {
            "ours": _our_step(rig, batch, slots),
            "ours_gather": _our_step(rig, batch, slots, gather=True),
            "ours_base": _our_step(rig, batch, None),
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
