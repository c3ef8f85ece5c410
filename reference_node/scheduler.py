"""Which requests run at each step, and how many tokens of each.

Decode rows come first, one token each, then prompt chunks in order of admission, within the token budget; then waiting
requests join, fairest first, while there are rows, blocks and adapter slots. A request whose adapter cannot have a slot
yet is passed by requests of other adapters, at most `BYPASS_MAX` times; one whose adapter is still being read is passed
freely. When blocks run out the youngest request is set back to the queue and later computed again. It keeps its
adapter, so that deleting the adapter meanwhile changes nothing for it.
"""

from __future__ import annotations

from itertools import islice

from models.errors import InputError
from reference_node.kv import BlockPool
from reference_node.pool import AdapterLoadingError, AdapterPool, PoolFullError
from reference_node.queues import TenantQueues
from reference_node.sequence import NO_ROW, EngineConfig, Sequence, StepPlan

BYPASS_MAX = 64
LOOK_MAX = 256  # waiting requests looked at in one step


class Scheduler:
    """The waiting and the running requests, and the blocks and adapters that they hold.

    Parameters
    ----------
    config
        Limits.
    pool
        Where adapters are acquired at admission and released at the end.
    """

    def __init__(self, config: EngineConfig, pool: AdapterPool) -> None:
        self.config, self.pool = config, pool
        self.blocks = BlockPool(config.blocks, caching=config.prefix_cache)
        self.queues = TenantQueues()
        self.running: list[Sequence] = []
        self.prefix_hit_tokens = self.prefix_query_tokens = self.preemptions = self.steps = 0

    def add(self, entry: Sequence) -> None:
        """Queue a request."""
        self.queues.add(entry, self.running)

    def remove(self, entry: Sequence) -> None:
        """Take a request out, wherever it is; its blocks and adapters are free when this returns."""
        if entry.blocks:
            self.running.remove(entry)
            self._give_back_blocks(entry)
        else:
            self.queues.remove(entry)
        if entry.uses is not None:
            for use in entry.adapters:
                self.pool.release(use.sha256)
            entry.uses = None

    def advance(self, entry: Sequence, tokens: int) -> None:
        """Count tokens of a request as stored, and make the blocks that they filled findable."""
        size, before = self.config.block_size, entry.computed
        entry.computed += tokens
        self.queues.charge(entry.tenant, tokens)
        full = entry.computed // size
        if full > before // size and self.config.prefix_cache:
            hashes = entry.chain.extend(entry.tokens, full)
            for index in range(before // size, full):
                self.blocks.publish(entry.blocks[index], hashes[index])

    def plan(self) -> StepPlan:
        """Decide the next step."""
        plan, self.steps = StepPlan(), self.steps + 1
        before, adapters = self.preemptions, set[str]()
        order = [entry for entry in self._in_turn() if self._within_cap(entry, adapters)]
        for entry in order:
            if entry.blocks and entry.remaining == 1 and self.grow(entry, plan):
                plan.decode.append(entry)
        plan.decode = [entry for entry in plan.decode if entry.blocks]  # less those set back meanwhile
        budget = self.config.step_tokens - len(plan.decode)
        for entry in order:
            if budget and entry.blocks and entry.remaining > 1:
                budget -= self._schedule(entry, budget, plan)
        if self.preemptions == before:
            self._admit(plan, budget, adapters)
        for entry in (*plan.decode, *(entry for entry, _ in plan.chunks)):
            entry.last_step = self.steps
        return plan

    def _in_turn(self) -> list[Sequence]:
        """Return the running requests; where adapters take turns, those that waited longest come first."""
        if self.config.distinct_adapters_max is None:
            return list(self.running)
        return sorted(self.running, key=lambda entry: (entry.last_step, entry.order))

    def _within_cap(self, entry: Sequence, adapters: set[str]) -> bool:
        """Return whether a step may hold this request too; if so its adapters count."""
        cap = self.config.distinct_adapters_max
        if cap is not None and len(adapters | entry.hashes) > cap:
            return False
        adapters |= entry.hashes
        return True

    def _schedule(self, entry: Sequence, budget: int, plan: StepPlan) -> int:
        """Give a request its tokens of the budget and return how many."""
        if entry.remaining == 1:
            plan.decode.append(entry)
            return 1
        tokens = min(entry.remaining, budget)
        plan.chunks.append((entry, tokens))
        return tokens

    def grow(self, entry: Sequence, plan: StepPlan) -> bool:
        """Own the block of the next position, at the cost of the youngest; False if that was this one."""
        if entry.computed < len(entry.blocks) * self.config.block_size:
            return True
        while not self.blocks.available:
            victim = max(self.running, key=lambda other: other.order)
            self._set_back(victim)
            if victim is entry:
                return False
        self._take(entry, 1, plan)
        return True

    def _take(self, entry: Sequence, count: int, plan: StepPlan) -> None:
        taken = self.blocks.take(count)
        entry.blocks += taken
        plan.cleared += taken

    def _set_back(self, entry: Sequence) -> None:
        self.running.remove(entry)
        self._give_back_blocks(entry)
        self.preemptions += 1
        entry.completion.preemptions += 1
        self.queues.add(entry, self.running)

    def _give_back_blocks(self, entry: Sequence) -> None:
        self.blocks.release(entry.blocks)
        entry.blocks, entry.computed, entry.row = [], 0, NO_ROW

    def _admit(self, plan: StepPlan, budget: int, adapters: set[str]) -> None:
        """Let waiting requests join; those without an adapter slot are passed."""
        passed: list[Sequence] = []
        refused: set[str] = set()
        for entry in islice(self.queues.candidates(), LOOK_MAX):
            if not budget or len(self.running) >= self.config.batch_max:
                return
            wants_slot = bool(entry.hashes) and entry.uses is None
            if wants_slot and (entry.hashes & refused or any(e.bypassed >= BYPASS_MAX for e in passed)):
                continue
            shared = self._shared_blocks(entry)
            if shared is None:
                return
            if not self._acquire(entry, plan, refused, passed):
                continue
            self._start(entry, shared, plan)
            if wants_slot:
                for other in passed:
                    other.bypassed += 1
            if self._within_cap(entry, adapters):
                budget -= self._schedule(entry, budget, plan)

    def _shared_blocks(self, entry: Sequence) -> list[int] | None:
        """Return the blocks that a request would share, None where the rest does not fit now."""
        size, length = self.config.block_size, len(entry.tokens)
        # The last token is always computed, since its logits are wanted.
        full = (length - 1) // size if self.config.prefix_cache else 0
        shared = self.blocks.find(entry.chain.extend(entry.tokens, full)[:full])
        idle = sum(1 for block in shared if not self.blocks.references(block))
        need = -(-length // size) - len(shared)
        # A block to grow for each running request, lest the next steps set back what joins now.
        growing = sum(1 for other in self.running if len(other.blocks) < other.blocks_max)
        return shared if need + idle + growing <= self.blocks.available else None

    def _acquire(self, entry: Sequence, plan: StepPlan, refused: set[str], passed: list[Sequence]) -> bool:
        """Hold a request's adapters, all or none; note which one was refused."""
        if entry.uses is not None:
            return True
        held: list[tuple[int, float]] = []
        asked = entry.adapters
        try:
            for use in asked:
                slot = self.pool.acquire(use.sha256)
                held.append((slot, use.weight))
        except (InputError, PoolFullError, AdapterLoadingError) as error:
            for use in asked[: len(held)]:
                self.pool.release(use.sha256)
            refused.add(asked[len(held)].sha256)
            if isinstance(error, PoolFullError):
                passed.append(entry)
            elif isinstance(error, InputError):
                entry.completion.error = str(error)
                plan.failed.append(entry)
            return False
        entry.uses = tuple(held)
        return True

    def _start(self, entry: Sequence, shared: list[int], plan: StepPlan) -> None:
        self.queues.remove(entry)
        self.running.append(entry)
        self.blocks.share(shared)
        entry.blocks, entry.computed = list(shared), len(shared) * self.config.block_size
        self._take(entry, -(-len(entry.tokens) // self.config.block_size) - len(shared), plan)
        if not entry.completion.preemptions:
            entry.completion.cached_tokens = entry.computed
            self.prefix_hit_tokens += entry.computed
            self.prefix_query_tokens += len(entry.tokens)
