"""Streams that a server decodes together, and prompts that it reads together: the closed-loop rows of a profile.

Rule: a step is the median over streams of their mean time between tokens; all settings are measured in every round, so
that a slow minute of the server falls on all of them. Prompt lengths are the server's own counts.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from models.errors import InputError
from reference_node.bench.streams import Served, Streams
from reference_node.profile import DecodeRow, PrefillRow

if TYPE_CHECKING:
    from reference_node.bench.endpoint import EndpointPlan

PREFILL_TOGETHER = 4


class ClosedLoop:
    """Rounds over every setting.

    Parameters
    ----------
    plan
        Settings.
    streams
        The server.
    """

    def __init__(self, plan: EndpointPlan, streams: Streams) -> None:
        self._plan, self._streams = plan, streams
        self._decode: dict[tuple[int, int, int], list[list[Served]]] = defaultdict(list)
        self._prefill: dict[tuple[int, int], list[list[Served]]] = defaultdict(list)

    async def round(self, *, keep: bool) -> None:
        """Measure every setting once."""
        plan, have = self._plan, len(self._plan.adapters)
        together = sorted({1, min(PREFILL_TOGETHER, max(plan.batches))})
        for context in plan.contexts:
            for batch in plan.batches:
                for distinct in sorted({0, min(1, have), min(batch, have)}):
                    asked = plan.adapters[:distinct] or (plan.model,)
                    names = [asked[i % len(asked)] for i in range(batch)]
                    done = await self._streams.together(names, context, plan.output_tokens)
                    if keep:
                        self._decode[batch, distinct, context].append(done)
            for batch in together:
                done = await self._streams.together([plan.model] * batch, context, 1)
                if keep:
                    self._prefill[context, batch].append(done)

    def decode_rows(self) -> list[DecodeRow]:
        """Return one row per setting.

        Raises
        ------
        InputError
            When the server sends whole answers in one chunk, so that no time between tokens can be seen.
        """
        steps = {key: _steps_ms(runs) for key, runs in self._decode.items()}
        if not all(steps.values()):
            message = "sends whole answers in one chunk; the time between tokens cannot be seen"
            raise InputError(f"{self._streams.url}: {message}")
        rows = []
        for key, runs in self._decode.items():
            batch, distinct, context = key
            p50, base = float(np.median(steps[key])), float(np.median(steps[batch, 0, context]))
            output = np.mean([one.output_tokens for done in runs for one in done])
            rows.append(
                DecodeRow(
                    batch=batch,
                    distinct_adapters=distinct,
                    rank=self._plan.rank if distinct else 0,
                    context=_prompt_tokens(runs) + round(float(output) / 2),
                    tok_s=round(1e3 * batch / p50, 2),
                    step_ms_p50=round(p50, 5),
                    step_ms_p99=round(float(np.percentile(steps[key], 99)), 5),
                    ratio_to_base=round(base / p50, 4),
                    fraction_of_roofline=None,
                    samples_ms=[round(sample, 5) for sample in steps[key]],
                )
            )
        return rows

    def requests_s(self) -> float:
        """Return the most requests per second that were served together, of the shortest prompts."""
        context = min(self._plan.contexts)
        return max(
            batch / float(np.median([max(one.times_s[-1] for one in done) for done in runs]))
            for (batch, _, length), runs in self._decode.items()
            if length == context
        )

    def prefill_rows(self) -> list[PrefillRow]:
        """Return one row per length and number of prompts; its rate counts to the last first token."""
        rows = []
        for (_, batch), runs in self._prefill.items():
            samples = [one.ttft_ms for done in runs for one in done]
            whole = float(np.median([max(one.ttft_ms for one in done) for done in runs]))
            tokens = _prompt_tokens(runs)
            rows.append(
                PrefillRow(
                    tokens=tokens,
                    batch=batch,
                    tok_s=round(1e3 * tokens * batch / whole, 2),
                    ttft_ms_p50=round(float(np.median(samples)), 5),
                    ttft_ms_p99=round(float(np.percentile(samples, 99)), 5),
                    samples_ms=[round(sample, 5) for sample in samples],
                )
            )
        return rows


def _prompt_tokens(runs: list[list[Served]]) -> int:
    return round(float(np.mean([one.prompt_tokens for done in runs for one in done])))


def _steps_ms(runs: list[list[Served]]) -> list[float]:
    """Return the time of a step in each run; streams that came in one chunk say nothing about it."""
    between = [[one.itl_ms for one in done if one.itl_ms > 0] for done in runs]
    return [float(np.median(found)) for found in between if found]
