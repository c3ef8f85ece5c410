"""Mix: a witness run beside the bare execution of the very same transactions.

Rule decided here: a short witness run of a scenario and its replay are made in turn, in one process. The witness run's
rate counts all of its work on the chains (deriving transactions from the journal, reading, comparing), but not the
simulation beside it. Both are measured in seconds of the processor: each takes seconds in one thread, in which a busy
machine gives now more and now less.
"""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from sim.bench import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sim.bench import Progress
    from sim.economy import Economy

AGENTS, ROUNDS = 1_000, 3
SHARE_BAR = 0.6
KINDS_SHOWN = 30


@dataclass(slots=True)
class Round:
    """One witness run and its replay: transactions, and processor seconds of the whole, its chains and the replay."""

    transactions: int
    unit_s: float
    chain_s: float
    replay_s: float

    @property
    def share(self) -> float:
        """Rate of the witness run over the replay's."""
        return self.replay_s / self.chain_s


def mix_figures(scenario: Path, days: int, tell: Progress) -> list[Figure]:
    """Measure and return the rate of the mix, and what part of it a witness run keeps up.

    Parameters
    ----------
    scenario
        Whose witness run is made.
    days
        How long it is.
    tell
        Told what runs now.

    Raises
    ------
    InputError
        If there is no such scenario.
    """
    from sim.engine import build_economy
    from sim.scenario import load

    economy = build_economy(load(scenario, [f"days={days}", "runs.count=1"]), agents=AGENTS)
    rounds: list[Round] = []
    calls: list[dict[str, Any]] = []
    for number in range(ROUNDS + 1):
        tell(f"witness run of {days} days and its transactions alone, {number + 1} of {ROUNDS + 1}")
        measured, calls = _round(economy)
        rounds += [measured] if number else []  # the first one warms up
    rate = median(r.transactions / r.replay_s for r in rounds)
    kinds = sorted(calls, key=lambda call: -call["count"])[:KINDS_SHOWN]
    detail = {
        "days": days, "agents": AGENTS, "transactions": rounds[0].transactions,
        "rounds": [{name: round(value, 3) for name, value in asdict(r).items()} for r in rounds],
        "kinds": {f"{call['contract']}: {call['call']}": call["count"] for call in kinds},
    }  # fmt: skip
    run_rate = median(r.transactions / r.chain_s for r in rounds)
    share = Figure(
        "witness_run.over_mix", round(median(r.share for r in rounds), 3), "share", "higher", SHARE_BAR,
        {"witness_run_per_s": round(run_rate, 1), "rounds": detail["rounds"]},
    )  # fmt: skip
    return [Figure("witness_mix_per_s", round(rate, 1), "tx/s", "higher", None, detail), share]


@contextmanager
def _forgotten() -> Iterator[None]:
    """Keep the garbage collector from what lives already: a replay must not pay for the run's own heap."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _round(economy: Economy) -> tuple[Round, list[dict[str, Any]]]:
    import numpy as np

    from sim.chain.bench.replay import Replay
    from sim.engine import run_batch
    from sim.witness import Witness

    began = time.thread_time()
    witness = Witness(economy)
    result = run_batch(economy, np.array([0]), witness=0, chain=witness)
    unit_s = time.thread_time() - began
    summary = result.chain_summary
    assert summary is not None
    replay = Replay(witness.chain)
    with _forgotten():
        replay_s = replay.run()
    return Round(summary["transactions"], unit_s, witness.watch.processor_s, replay_s), summary["calls"]
