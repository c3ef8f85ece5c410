"""Settings of a LoRA run: which values are allowed, and what a step's learning rate is.

Rule decided here: the plan of a run is fixed before its first step (steps, batches, rates and checkpoint steps are
functions of the settings and the number of rows), so that a resumed run and a repeated run take the same path.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from models.errors import InputError, Problem
from reference_node.adapter_checks import RANK_MAX, SCALE_MAX, TARGETS

WARMUP_SHARE = 0.05  # of the steps
LIMITS: dict[str, tuple[int, int]] = {
    "rank": (1, RANK_MAX),
    "epochs": (1, 10_000),
    "batch": (1, 4_096),
    "checkpoints": (0, 1_000),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a LoRA run does with its rows.

    Parameters
    ----------
    rank, alpha
        Of the adapter; the update is alpha / rank * B @ A.
    targets
        Projections that get an update.
    epochs, batch
        Passes over the rows, and rows per step.
    learning_rate
        Peak; warmed up over 5 % of the steps, then linear to 0.
    seed
        Of the initial A and of the order of rows.
    checkpoints
        How many states on the way are kept for attribution, beside the initial one; 0 keeps none.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = TARGETS
    epochs: int = 4
    batch: int = 8
    learning_rate: float = 3e-3
    seed: int = 0
    checkpoints: int = 5

    def __post_init__(self) -> None:
        wrong = [
            Problem(f"{getattr(self, name)} is out of range; allowed {low} to {high}", name)
            for name, (low, high) in LIMITS.items()
            if not low <= getattr(self, name) <= high
        ]
        if not 0 < self.learning_rate <= 1:
            wrong.append(Problem(f"{self.learning_rate} is out of range; allowed above 0 to 1", "lr"))
        if not (math.isfinite(self.alpha) and 0 < self.alpha <= SCALE_MAX * max(1, self.rank)):
            wrong.append(
                Problem(f"{self.alpha} is out of range; allowed above 0 to {SCALE_MAX:g} x rank", "alpha")
            )
        unknown = [target for target in self.targets if target not in TARGETS]
        if unknown or not self.targets or len(set(self.targets)) != len(self.targets):
            shown = ",".join(self.targets)
            wrong.append(Problem(f"{shown!r}: allowed each at most once of {', '.join(TARGETS)}", "targets"))
        if wrong:
            raise InputError(wrong)

    def steps(self, rows: int) -> int:
        """Return the number of optimizer steps for so many rows."""
        return self.epochs * math.ceil(rows / self.batch)

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step."""
        warmup = max(1, round(WARMUP_SHARE * steps))
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        return self.learning_rate * (steps - step) / max(1, steps - warmup)

    def order(self, rows: int) -> list[list[int]]:
        """Return the row indices of every step: each epoch shuffled by (seed, epoch), its last batch may be short."""
        batches = []
        for epoch in range(self.epochs):
            indices = list(range(rows))
            random.Random(f"{self.seed}/{epoch}").shuffle(indices)
            batches += [indices[i : i + self.batch] for i in range(0, rows, self.batch)]
        return batches

    def checkpoint_steps(self, rows: int) -> tuple[int, ...]:
        """Return after how many steps a state is kept: 0, then evenly to the last step."""
        if not self.checkpoints:
            return ()
        steps = self.steps(rows)
        return tuple(
            sorted({0, *(round(i * steps / self.checkpoints) for i in range(1, self.checkpoints + 1))})
        )
