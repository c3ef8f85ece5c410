"""Money policy: every choice between scores and weights, under names that never change their meaning.

Rule decided here: a record's rules hold the whole policy as canonical JSON, whole numbers and texts alone, so that one
hash says how weights were made: clip order and split (`models.value_split`), what is alike (`clusters`), the null
level, noise (`models.share_noise`). A new meaning gets a new name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from models.value_split import SplitPolicy, split_policy
from reference_node.attribution.clusters import Likeness
from reference_node.billing.hashes import canonical_json

NULL_LEVELS = ("none.v1", "planted_max.v1")
"""No level, or the largest score of planted random documents."""
_PER_MILLION = 10**6


@dataclass(frozen=True, slots=True)
class Noise:
    """Noise on weights that are published (``discrete_laplace.v1``).

    Parameters
    ----------
    epsilon_per_million
        Privacy loss of one request, in millionths.
    keep_nulls
        Whether who had nothing stays at 0.
    """

    epsilon_per_million: int
    keep_nulls: bool = True

    @property
    def epsilon(self) -> float:
        """Privacy loss."""
        return self.epsilon_per_million / _PER_MILLION


@dataclass(frozen=True, slots=True)
class MoneyPolicy:
    """From scores to money.

    Parameters
    ----------
    split
        Name of a policy of `models.value_split`.
    likeness
        What makes one cluster of two documents.
    null_level
        One of `NULL_LEVELS`.
    noise
        On published weights, None for none.
    """

    split: str = "cluster_sum_clip.v1"
    likeness: Likeness = field(default_factory=Likeness)
    null_level: str = "planted_max.v1"
    noise: Noise | None = None

    def __post_init__(self) -> None:
        split_policy(self.split)
        if self.null_level not in NULL_LEVELS:
            raise ValueError(f"null level {self.null_level!r} is unknown; allowed {', '.join(NULL_LEVELS)}")

    @property
    def splits(self) -> SplitPolicy:
        """The split that is named."""
        return split_policy(self.split)

    def params(self, **method: int | str) -> str:
        """Return the policy and a method's own parameters as a record's rules hold them."""
        noise = None
        if self.noise is not None:
            noise = {
                "name": "discrete_laplace.v1",
                "epsilon_per_million": self.noise.epsilon_per_million,
                "keep_nulls": self.noise.keep_nulls,
            }
        likeness = {
            "name": "likeness.v1",
            "tokens_per_edit": self.likeness.tokens_per_edit,
            "cosine_per_million": round(self.likeness.cosine * _PER_MILLION),
        }
        policy = {"split": self.split, "null_level": self.null_level, "likeness": likeness, "noise": noise}
        return canonical_json({"method": method, "policy": policy}).decode()
