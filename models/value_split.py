"""Value split: from scores of data to whole weights of clusters and of those who gave them.

Rules decided here, each under a name that never changes its meaning (`POLICIES`). Items (documents, or contributors
where only they were measured) lie in clusters of what is evidence of one origin; an item flagged as a duplicate counts
nothing. The null level, what data that says nothing seems to be worth, is subtracted from every item that counts. Then
either each cluster is summed and clipped at 0 (``sum_clip``) or each item is clipped and the cluster summed
(``clip_sum``): never is an identity clipped that somebody chose for himself, because splitting would pay. Values become
integer weights of 10^9, the one step from float to integer. A cluster's weight goes to its first registration, or in
equal parts to all families that hold data of it: a fixed amount either way, so that copies share and never add.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.attribution import Bools, Floats, Ints, cluster_values, integer_weights

CLIPS = ("sum_clip", "clip_sum")
INSIDES = ("first", "equal")


@dataclass(frozen=True, slots=True)
class SplitPolicy:
    """How scores become weights.

    Parameters
    ----------
    name
        Name and version.
    clip
        ``sum_clip`` or ``clip_sum``.
    inside
        Who gets a cluster's weight: the ``first`` registration, or all families of holders in ``equal`` parts.
    clustered
        Whether likeness joins items at all; False only for formulas that are kept as they were published.
    """

    name: str
    clip: str
    inside: str
    clustered: bool = True


POLICIES = {
    policy.name: policy
    for policy in (
        SplitPolicy("cluster_sum_clip.v1", "sum_clip", "first"),
        SplitPolicy("cluster_clip_sum.v1", "clip_sum", "first"),
        SplitPolicy("cluster_sum_clip_equal.v1", "sum_clip", "equal"),
        SplitPolicy("cluster_clip_sum_equal.v1", "clip_sum", "equal"),
        SplitPolicy("published_clip_sum.v1", "clip_sum", "first", clustered=False),
    )
}
"""Known policies by name."""


def split_policy(name: str) -> SplitPolicy:
    """Return the policy of a name.

    Raises
    ------
    ValueError
        If there is none.
    """
    if name not in POLICIES:
        raise ValueError(f"policy {name!r} is unknown; allowed {', '.join(POLICIES)}")
    return POLICIES[name]


def null_level(scores: Floats, planted: Bools, quantile: float = 1.0) -> Floats:
    """Return what random data seems to be worth to each query: a quantile of the scores of planted random items.

    Parameters
    ----------
    scores
        `(queries, items)`.
    planted
        Which items are random data that whoever runs the attribution put there, `(items,)`.
    quantile
        0 to 1; the largest score by default, so that noise of the same kind seldom exceeds it.

    Returns
    -------
    numpy.ndarray
        Float64 `(queries,)`, 0 or more: a level below 0 would pay what harms.

    Examples
    --------
    >>> null_level(np.array([[3.0, 0.2, -0.1]]), np.array([False, True, True])).tolist()
    [0.2]
    """
    if not planted.any() or not 0 <= quantile <= 1:
        raise ValueError(
            f"{int(planted.sum())} planted items and quantile {quantile}: at least one, and 0 to 1"
        )
    return np.maximum(np.quantile(np.asarray(scores, np.float64)[:, planted], quantile, axis=1), 0.0)


def split_values(
    policy: SplitPolicy, scores: Floats, leaders: Ints, duplicates: Bools, null_level: Floats | float = 0.0
) -> Floats:
    """Value every cluster, at its first registration.

    Parameters
    ----------
    policy
        How.
    scores
        Influence of each item, `(queries, items)`; negative where it harms.
    leaders
        Index of the first registration of the item's cluster, `(items,)`; itself where it is alone.
    duplicates
        Whether the item counts nothing, `(items,)`.
    null_level
        Score of data that says nothing, per item: one number, or `(queries,)`.

    Returns
    -------
    numpy.ndarray
        Values `(queries, items)`, 0 or more, and 0 for all but first registrations.

    Raises
    ------
    ValueError
        If a score or a level is not finite; the first place is named.

    Examples
    --------
    >>> leaders, duplicates = np.array([0, 0, 2]), np.array([False, True, False])
    >>> split_values(POLICIES["cluster_sum_clip.v1"], np.array([[3.0, 3.0, -1.0]]), leaders, duplicates).tolist()
    [[3.0, 0.0, 0.0]]
    """
    scores = np.asarray(scores, np.float64)
    level = np.broadcast_to(np.asarray(null_level, np.float64), scores.shape[:1])[:, None]
    _check_finite("score", scores)
    _check_finite("null level of query", level)
    if not policy.clustered:
        leaders, duplicates = np.arange(scores.shape[1]), np.zeros(scores.shape[1], np.bool_)
    net = scores - level
    if policy.clip == "clip_sum":
        net = np.maximum(net, 0.0)
    return cluster_values(net, np.broadcast_to(leaders, net.shape), np.broadcast_to(duplicates, net.shape))


class HolderSplit:
    """Gives each cluster's weight to those who hold it; who they are is found once for all queries.

    Parameters
    ----------
    policy
        To whom.
    leaders
        As in `split_values`.
    holders
        Who gave the item, `(items,)`, numbers into `families`.
    families
        Family of each holder, `(holders,)`: names of whom one duplicates the other are one family and take one part.

    Examples
    --------
    >>> equal = POLICIES["cluster_sum_clip_equal.v1"]
    >>> split = HolderSplit(equal, np.zeros(3, np.int64), np.array([0, 1, 2]), np.array([0, 1, 1]))
    >>> split.weights(np.array([[9, 0, 0]])).tolist()
    [[5, 4, 0]]
    """

    def __init__(self, policy: SplitPolicy, leaders: Ints, holders: Ints, families: Ints) -> None:
        self.count = len(families)
        if policy.inside == "first" or not policy.clustered:
            item = source = np.arange(len(leaders))
            rank, parts = np.zeros_like(item), np.ones_like(item)
        else:
            # of each cluster and family the item that registered first, by cluster, then by registration
            _, item = np.unique(leaders * self.count + families[holders], return_index=True)
            item = item[np.lexsort((item, leaders[item]))]
            source = leaders[item]
            _, first, cluster, size = np.unique(
                source, return_index=True, return_inverse=True, return_counts=True
            )
            rank, parts = np.arange(len(item)) - first[cluster], size[cluster]
        self._source, self._to, self._rank, self._parts = source, holders[item], rank, parts

    def weights(self, weights: Ints) -> Ints:
        """Divide the weights of clusters among their holders.

        Parameters
        ----------
        weights
            Weights by `integer_weights`, at first registrations, `(queries, items)`.

        Returns
        -------
        numpy.ndarray
            int64 `(queries, holders)`; the sum of each row is that of the weights. Equal parts differ by at most one,
            the larger ones to earlier registrations; of a family the one that registered in the cluster first is paid.
        """
        weights = np.asarray(weights, np.int64)
        paid = np.zeros((weights.shape[0], self.count), np.int64)
        whole, rest = np.divmod(weights[:, self._source], self._parts)
        np.add.at(paid.T, self._to, (whole + (self._rank < rest)).T)
        return paid


def split_weights(
    policy: SplitPolicy, scores: Floats, leaders: Ints, duplicates: Bools, null_level: Floats | float = 0.0
) -> Ints:
    """Return the integer weights of the clusters, at their first registrations: `split_values`, then whole numbers.

    Returns
    -------
    numpy.ndarray
        int64 `(queries, items)`; rows sum to 10^9, or to 0 where nothing has a positive value.
    """
    return integer_weights(split_values(policy, scores, leaders, duplicates, null_level))


def _check_finite(what: str, values: Floats) -> None:
    if not np.isfinite(values).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise ValueError(f"{what} at {place} is {values[place]}; expected finite numbers")
