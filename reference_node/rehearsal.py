"""The decode step of the running rows, again and again at one context: what benches time.

Nothing is taken from a rehearsed step. The requests go on afterwards as if it had not run, because the next real step
computes the same position again and writes over what was stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor

from models.errors import InputError
from reference_node import sampler
from reference_node.engine import Engine
from reference_node.request import AdapterUse
from reference_node.sequence import Sequence as Entry
from reference_node.sequence import StepPlan


@contextmanager
def rehearsal(
    engine: Engine, adapters: Sequence[tuple[AdapterUse, ...]] | None = None, *, sample: bool = True
) -> Iterator[Callable[[], Tensor | list[int]]]:
    """Give a function that runs the next decode step of all running rows without advancing them.

    Parameters
    ----------
    engine
        Not to be stepped meanwhile.
    adapters
        Adapters of the running rows while it lasts, in their order, held from the pool; None for each row's own.
    sample
        Whether the function also chooses tokens and returns them; else it returns the logits. Both come in the
        order of the batch's rows, which may differ from that of the running requests.

    Raises
    ------
    InputError
        When no row runs, one is still in its prompt, the entries are not one per row, or blocks are short.
    """
    rows = list(engine.scheduler.running)
    if not rows or any(entry.remaining > 1 for entry in rows) or len(adapters or rows) != len(rows):
        raise InputError(f"rehearsal: every running row must decode; adapters for each of {len(rows)} rows")
    plan = StepPlan(decode=rows)
    if not all(engine.scheduler.grow(entry, plan) for entry in rows):
        raise InputError("rehearsal: too few blocks for one more token of each row")
    if plan.cleared:
        engine.runner.kv.clear(plan.cleared)
    with lent_adapters(engine, adapters):
        order = engine.runner.arrange(rows)
        samplings = [entry.completion.request.sampling for entry in order]
        indices = [len(entry.completion.tokens) for entry in order]

        def once() -> Tensor | list[int]:
            logits = engine.runner.run(order, [])
            return sampler.next_tokens(logits, samplings, indices) if sample else logits

        yield once


@contextmanager
def lent_adapters(engine: Engine, adapters: Sequence[tuple[AdapterUse, ...]] | None) -> Iterator[None]:
    """Give the running rows, in their order, other adapters for a while; None leaves each its own."""
    rows = list(engine.scheduler.running)
    with ExitStack() as stack:
        for entry, wanted in zip(rows, adapters or (), strict=adapters is not None):
            stack.enter_context(_lent(engine, entry, wanted))
        yield


@contextmanager
def _lent(engine: Engine, entry: Entry, wanted: tuple[AdapterUse, ...]) -> Iterator[None]:
    """Give a row other adapters for a while."""
    own = entry.adapters, entry.hashes, entry.uses
    with ExitStack() as stack:
        uses = []
        for use in wanted:
            uses.append((engine.pool.acquire(use.sha256), use.weight))
            stack.callback(engine.pool.release, use.sha256)
        entry.adapters, entry.hashes = wanted, frozenset(use.sha256 for use in wanted)
        entry.uses = tuple(uses)
        try:
            yield
        finally:
            entry.adapters, entry.hashes, entry.uses = own
