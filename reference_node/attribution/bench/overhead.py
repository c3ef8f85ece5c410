"""What attribution costs beside generation, on the CPU node with its own adapter and corpus.

Rules decided here. One thread; rounds of generating 256 tokens for one request and attributing that answer, in turn,
so that both see the same machine; the first round is dropped, a figure is the ratio of medians. Tier 2's figure is that
of the node, which samples: every answer costs tier 1 or, at the configured rate, tier 2. Its adapters are drawn, for
looking at them costs what looking at trained ones does; `unsampled` in the detail is tier 2 on every answer. What a
window leaves out of an answer of 256 tokens is in the detail as the total variation of shares.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from reference_node import tiny_base
from reference_node.attribution.attributor import Attributor, text_of
from reference_node.attribution.bundle import Bundle
from reference_node.attribution.coalition_bank import CoalitionBank
from reference_node.attribution.configuration import Configuration
from reference_node.attribution.decoder import GroupedLora
from reference_node.attribution.ef_base import EfBase
from reference_node.attribution.evaluation import total_variation
from reference_node.attribution.likelihood import Text
from reference_node.attribution.prepare import prepare_bundle
from reference_node.attribution.retrain import fresh_adapter
from reference_node.bench.figure import bench_figure
from reference_node.corpora import held_out, niche
from reference_node.engine import Engine, EngineConfig
from reference_node.model import Llama
from reference_node.pool import AdapterPool
from reference_node.request import AdapterUse, Request
from reference_node.tokenizer import TextCodec
from reference_node.train.dataset import read_dataset, sequence_rows
from reference_node.weights import load_model

NICHE = "medicine"
TOKENS, ROUNDS, TIER2_EVERY = 256, 21, 5
LENGTH_MAX = 512
TIER1_BAR, TIER2_BAR = 0.03, 0.10


class DrawnBank(CoalitionBank):
    """A bank whose adapters are drawn instead of trained."""

    def adapter(self, state: int) -> GroupedLora:
        """Draw one state's adapter."""
        drawn = fresh_adapter(self.model, self.recipe, self.plan.seed + state)
        for place, b in drawn.b.items():
            drawn.b[place] = torch.randn(b.shape, generator=torch.Generator().manual_seed(state)) / 100
        return drawn


class Overhead:
    """The node's engine and an attributor on the same base.

    Parameters
    ----------
    model, codec
        The base.
    bundle
        Of the bundled adapter.
    rounds
        How often everything is measured.
    """

    def __init__(self, model: Llama, codec: TextCodec, bundle: Bundle, rounds: int) -> None:
        self.rounds, self.model = rounds, model
        adapter = tiny_base.folder() / "adapters" / NICHE
        pool = AdapterPool(model.config, slots=1, rank_max=8, host_bytes=1 << 28, dtype=torch.float32)
        self.adapter = pool.register(adapter)
        self.engine = Engine(
            model, pool, EngineConfig(batch_max=1, length_max=LENGTH_MAX), base_sha256=bundle.base_sha256
        )
        self.attributor = Attributor(model, bundle)
        rows = sequence_rows(read_dataset(held_out(NICHE)), codec, LENGTH_MAX)
        self.prompts = [row.tokens[: row.start] for row in rows]

    def bank(self) -> DrawnBank:
        """Return the bank of the configuration with drawn adapters."""
        one, used = self.attributor, Configuration()
        recipe = one.configuration.recipe
        return DrawnBank(
            self.model, one.corpus, recipe, used.bank, one.tier1, one.bundle.cache, window=used.window
        )

    def generated(self, number: int) -> Text:
        """Generate one answer and return it with its prompt."""
        prompt = self.prompts[number % len(self.prompts)]
        request = Request(f"{number:032x}", prompt, TOKENS, (AdapterUse(self.adapter),))
        completion = self.engine.submit(request)
        while not completion.finish:
            self.engine.step()
        return text_of(prompt, completion.tokens)

    def window_error(self, answers: list[Text]) -> dict[str, float]:
        """Return tier 1's total variation of shares by windows and by whole answers, by answer and of their sum."""
        whole, tier1 = copy(self.attributor.tier1), self.attributor.tier1
        whole.influence = EfBase(tier1.influence.point, self._firsts(), self.attributor.bundle.cache)
        shown = [
            np.concatenate([self.attributor.by(method, one).weights.shares for one in answers])
            for method in (tier1, whole)
        ]
        found = total_variation(*shown), total_variation(*(one.mean(axis=0)[None] for one in shown))
        return dict(zip(("tv_answer", "tv_sum"), (round(float(tv.mean()), 4) for tv in found), strict=True))

    def _firsts(self) -> list[Text]:
        corpus = self.attributor.corpus
        return [corpus.texts[i] for i in corpus.clusters.firsts]

    def samples(self) -> tuple[dict[str, list[float]], list[Text]][str, list[float]]:
        """Return the milliseconds of every round but the first, and the answers."""
        self.attributor.warm()
        tier1, bank = self.attributor.tier1, self.bank()
        _ = bank.adapters
        found: dict[str, list[float]] = {"generation": [], "tier1": [], "tier2": []}
        answer: list[Text] = []
        for number in range(self.rounds + 1):
            took = {"generation": _timed(lambda n=number: answer.append(self.generated(n)))}
            took["tier1"] = _timed(lambda: self.attributor.by(tier1, answer[-1]))
            if number % TIER2_EVERY == 0 or number == 1:
                took["tier2"] = _timed(lambda: self.attributor.by(bank, answer[-1]))
            for name, ms in took.items() if number else ():
                found[name].append(ms)
        return found, answer


def overhead_figures(work: Path, *, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Return the figures `overhead.tier1` and `overhead.tier2`.

    Parameters
    ----------
    work
        Folder of caches.
    rounds
        Answers that are generated.
    """
    torch.set_num_threads(1)
    with _overhead(work, rounds) as rig:
        samples, answers = rig.samples()
        window = rig.window_error(answers)
    generation, first, second = (median(samples[name]) for name in ("generation", "tier1", "tier2"))
    used = Configuration()
    rate = used.sampled_per_million / 10**6
    sampled = ((1 - rate) * first + rate * second) / generation
    common = {
        "k": used.bank.states,
        "tokens": TOKENS,
        "window": {"tier1": str(used.tier1_window), "tier2": str(used.window), **window},
        "documents": len(rig.attributor.bundle.documents),
    }
    rounded = {name: [round(ms, 3) for ms in values] for name, values in samples.items()}
    one = common | {"generation_ms": rounded["generation"], "tier1_ms": rounded["tier1"]}
    two = common | {
        "sampling_rate": rate,
        "unsampled": round(second / generation, 4),
        "tier2_ms": rounded["tier2"],
    }
    return [
        bench_figure("overhead.tier1", first / generation, "share", "lower", TIER1_BAR, one),
        bench_figure("overhead.tier2", sampled, "share", "lower", TIER2_BAR, two),
    ]


@contextmanager
def _overhead(work: Path, rounds: int) -> Iterator[Overhead]:
    folder = tiny_base.folder()
    model, _ = load_model(folder, device="cpu", dtype=torch.float32, max_length=LENGTH_MAX)
    with TemporaryDirectory(dir=work) as scratch:
        bundle = prepare_bundle(folder / "adapters" / NICHE, niche(NICHE), Path(scratch) / "bundle", folder)
        yield Overhead(model, TextCodec.from_folder(folder), bundle, rounds)


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1e3
