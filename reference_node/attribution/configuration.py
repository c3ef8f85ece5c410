"""The one configuration of attribution: quality and overhead are measured with it, and the node runs it.

Rule decided here: every choice that changes a weight, under its default. A figure of one configuration says nothing
about another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from reference_node.attribution.coalition_bank import BankPlan
from reference_node.attribution.likelihood import Window
from reference_node.attribution.policy import MoneyPolicy
from reference_node.attribution.retrain import Recipe


@dataclass(frozen=True, slots=True)
class Configuration:
    """What attribution does.

    Parameters
    ----------
    recipe
        How adapters are trained.
    bank
        States of tier 2.
    tier1_window, window
        How much of an answer tier 1 and the bank of tier 2 read.
    policy
        From scores to money.
    planted, planted_seed
        Planted documents and the seed of their tokens.
    sampled_per_million
        Part of the answers that tier 2 looks at, in millionths; tier 1 looks at all.
    """

    recipe: Recipe = field(default_factory=Recipe)
    bank: BankPlan = field(default_factory=BankPlan)
    tier1_window: Window = field(default_factory=lambda: Window(answer=12, context=10))
    window: Window = field(default_factory=Window)
    policy: MoneyPolicy = field(default_factory=lambda: MoneyPolicy("cluster_sum_clip_equal.v1"))
    planted: int = 16
    planted_seed: int = 77
    sampled_per_million: int = 50_000
