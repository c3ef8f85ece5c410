"""Who is paid for a trained adapter: shares by rows given, as basis points that sum to exactly 10,000.

Rule decided here: a DataNet's share is its part of the dataset's rows, a contributor's share its part of the DataNet's
rows, both rounded by largest remainder (ties by id). Influence on single answers is attribution's business; rows are
what is known when the adapter is made. A contributor id that is an address is paid there. Any other id gets an
illustrative address, a hash that nobody holds the key of: replace it before real money is paid.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from models.apportion import apportion_reference
from reference_node.manifest import WHOLE_BPS, ContributorShare, DataNetShare
from reference_node.manifest_reader import ADDRESS
from reference_node.train.dataset import Example


def datanet_shares(rows: Sequence[Example]) -> tuple[DataNetShare, ...]:
    """Return the DataNets of a dataset and their contributors in order of id.

    Examples
    --------
    >>> rows = [Example(str(i), "law", "ab"[i > 0], "p", "c", i) for i in range(3)]
    >>> [(c.id, c.share_bps) for c in datanet_shares(rows)[0].contributors]
    [('a', 3333), ('b', 6667)]
    """
    datanets = Counter(row.datanet for row in rows)
    return tuple(
        DataNetShare(name, share, _contributors([row for row in rows if row.datanet == name]))
        for name, share in _apportioned(datanets)
    )


def illustrative_address(kind: str, name: str) -> str:
    """Return an address derived from a name: stable, and with no known key.

    Examples
    --------
    >>> illustrative_address("owner", "medicine")
    '0x1a91dfcf2732178d6fe5a817a4bc8b4f581c236b'
    """
    return "0x" + hashlib.sha256(f"olsim illustrative {kind} {name}".encode()).hexdigest()[:40]


def _contributors(rows: Sequence[Example]) -> tuple[ContributorShare, ...]:
    return tuple(
        ContributorShare(
            name,
            name.lower() if ADDRESS.fullmatch(name) else illustrative_address("contributor", name),
            share,
        )
        for name, share in _apportioned(Counter(row.contributor for row in rows))
    )


def _apportioned(counts: Counter[str]) -> list[tuple[str, int]]:
    names = sorted(counts)
    shares = apportion_reference(WHOLE_BPS, [counts[name] for name in names])
    return list(zip(names, shares, strict=True))
