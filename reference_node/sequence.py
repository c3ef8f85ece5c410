"""What the engine knows about a request while it holds it, and the limits that it holds requests to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields

from models.errors import InputError
from reference_node.kv import PrefixChain
from reference_node.request import AdapterUse, Completion

NO_ROW = -1


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Limits of an engine, all positive.

    Parameters
    ----------
    batch_max
        Requests that run together.
    length_max
        Prompt plus completion tokens of a request, 2 or more.
    kv_blocks
        Blocks of keys and values; None for enough that every running request may reach `length_max`.
    block_size
        Tokens of a block.
    step_tokens
        Tokens of a step, at least `batch_max`: every decode row first, then prompt chunks.
    queue_max
        Requests that may wait.
    distinct_adapters_max
        Distinct adapters in one step; None for no limit.
    prefix_cache
        Whether full blocks are kept for later requests with the same beginning.
    merge_bytes
        Bytes of merged weights that may be made while every running request uses the same one adapter; 0 for none.
    """

    batch_max: int
    length_max: int
    kv_blocks: int | None = None
    block_size: int = 16
    step_tokens: int = 512
    queue_max: int = 4096
    distinct_adapters_max: int | None = None
    prefix_cache: bool = True
    merge_bytes: int = 0

    def __post_init__(self) -> None:
        wrong = []
        for name in (f.name for f in fields(self) if f.name != "prefix_cache"):
            value, least = getattr(self, name), 0 if name == "merge_bytes" else 1
            optional = value is None and name in ("kv_blocks", "distinct_adapters_max")
            if not optional and (type(value) is not int or value < least):
                wrong.append(f"engine.{name}: {value!r}; allowed integers from {least}")
        if not wrong and self.length_max < 2:
            wrong.append(f"engine.length_max: {self.length_max}; allowed 2 and above")
        if not wrong and self.step_tokens < self.batch_max:
            wrong.append(
                f"engine.step_tokens: {self.step_tokens}; allowed batch_max = {self.batch_max} and above"
            )
        if wrong:
            raise InputError(wrong)

    @property
    def blocks(self) -> int:
        """Return the number of blocks of keys and values."""
        return self.kv_blocks or self.batch_max * math.ceil(self.length_max / self.block_size)


@dataclass(slots=True, eq=False)
class Sequence:
    """A request inside the engine.

    Parameters
    ----------
    completion
        What its client sees.
    order
        Place in the order of arrival.
    tokens
        Prompt and generated tokens.
    adapters
        What serves it: those of its request, except in a rehearsal.
    chain
        Hashes of its full blocks.
    hashes
        Content hashes of its adapters.
    blocks_max
        Blocks that it owns at the end.
    computed
        Tokens whose keys and values are stored.
    blocks
        Owned blocks in order of position; empty while it is queued.
    row
        Dense row that holds its keys and values, `NO_ROW` for none.
    uses
        (slot, weight) of its adapters from admission to the end, also while it is set back to the queue.
    bypassed
        How often a later request was admitted because this one's adapter had no slot.
    last_step
        Step in which it last ran.
    """

    completion: Completion
    order: int
    tokens: list[int]
    adapters: tuple[AdapterUse, ...]
    chain: PrefixChain
    hashes: frozenset[str]
    blocks_max: int
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    row: int = NO_ROW
    uses: tuple[tuple[int, float], ...] | None = None
    bypassed: int = 0
    last_step: int = 0

    @property
    def remaining(self) -> int:
        """Return the tokens that must run before the next one is known."""
        return len(self.tokens) - self.computed

    @property
    def tenant(self) -> str:
        """Return whose request this is."""
        return self.completion.request.tenant


@dataclass(slots=True)
class StepPlan:
    """One step.

    Parameters
    ----------
    decode
        Requests that run their newest token.
    chunks
        Requests that run a piece of their prompt, and its tokens.
    failed
        Requests refused at admission; their completions say why.
    cleared
        Blocks that have a new owner.
    """

    decode: list[Sequence] = field(default_factory=list)
    chunks: list[tuple[Sequence, int]] = field(default_factory=list)
    failed: list[Sequence] = field(default_factory=list)
    cleared: list[int] = field(default_factory=list)
