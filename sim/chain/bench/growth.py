"""Growth: what a chain of 10,000 blocks costs beside a young one, and what its events cost to find.

Rule decided here: both chains hold the same accounts, so that nothing but their length differs, and are measured in
turn. A chain that keeps every block's state, as a development network does, is measured too.
"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING

from sim.bench import Figure
from sim.chain.addresses import address_of
from sim.chain.bench.timing import interleaved, milliseconds, ratio
from sim.chain.clients.open_token import OpenToken
from sim.chain.evm import L1_CHAIN_ID, Chain

if TYPE_CHECKING:
    from sim.bench import Progress

BLOCKS = 10_000
YOUNG = 100
RECEIVERS = tuple(address_of(f"receiver {i}") for i in range(100))
HOLDER = address_of("holder")
ROUNDS, CALLS, QUERIES = 15, 40, 9
LOGS_BAR_MS, GROWTH_BAR = 50.0, 1.3


class Grown:
    """A chain with one token transfer in every block.

    Parameters
    ----------
    blocks
        How many.
    sealed
        Whether every block keeps its state.
    """

    def __init__(self, blocks: int, *, sealed: bool) -> None:
        self.chain = Chain(chain_id=L1_CHAIN_ID, genesis_time=1_750_000_000, sealed=sealed)
        self.token = OpenToken.deploy(
            self.chain, HOLDER, name="OpenLedger", symbol="OPEN", cap_wei=10**27, holder=HOLDER
        )
        self.transfers(max(blocks, len(RECEIVERS)))

    def transfers(self, count: int) -> float:
        """Make transfers, each in a block of its own, and return the seconds that one takes."""
        began = time.perf_counter()
        for i in range(count):
            self.token.transfer(HOLDER, RECEIVERS[i % len(RECEIVERS)], 10**9)
            self.chain.set_time(self.chain.time + 1)
        return (time.perf_counter() - began) / count

    def queries(self) -> dict[str, list[float]]:
        """Return the seconds that it takes to find all events, of everybody and of the token."""
        transfer = next(item.digest for item in self.token.abi.events.values() if item.name == "Transfer")
        kinds = {"everything": (None, ()), "transfers of the token": (self.token.address, (transfer,))}
        samples: dict[str, list[float]] = {}
        for name, (address, topics) in kinds.items():
            samples[name] = []
            for _ in range(QUERIES):
                began = time.perf_counter()
                found = self.chain.logs(address=address, topics=topics)
                samples[name].append(time.perf_counter() - began)
                assert len(found) >= BLOCKS
        return samples


def growth_figures(tell: Progress) -> list[Figure]:
    """Measure and return the figures of growth."""
    tell(f"growth to {BLOCKS:,} blocks")
    old = Grown(BLOCKS, sealed=False)
    queries = old.queries()
    worst = max(median(values) for values in queries.values())
    figures = [
        Figure(
            "logs_10k_blocks_ms", round(1e3 * worst, 3), "ms", "lower", LOGS_BAR_MS,
            {"samples_ms": milliseconds(queries), "events": BLOCKS},
        ),
        _cost(old, "tx_cost_growth.10k_blocks", sealed=False),
    ]  # fmt: skip
    del old
    tell(f"growth to {BLOCKS:,} blocks that keep their state")
    figures.append(_cost(Grown(BLOCKS, sealed=True), "tx_cost_growth.10k_sealed_blocks", sealed=True))
    return figures


def _cost(old: Grown, name: str, *, sealed: bool) -> Figure:
    young = Grown(YOUNG, sealed=sealed)
    steps = {"old": lambda _: old.transfers(CALLS), "young": lambda _: young.transfers(CALLS)}
    samples = interleaved(steps, ROUNDS)
    detail = {
        "samples_ms": milliseconds(samples),
        "blocks": [old.chain.block_number, young.chain.block_number],
    }
    return Figure(name, round(ratio(samples, "old", "young"), 3), "ratio", "lower", GROWTH_BAR, detail)
