"""Restricted DataNets of a dataset: what their keeper states before an adapter may be trained on them.

Rule decided here: a JSON file maps DataNets of the dataset to kind, licence, consent and salt; what is missing or wrong
is refused with all mistakes, and so is a DataNet that the dataset does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models.errors import InputError, Problem
from reference_node.manifest import DataNetShare
from reference_node.manifest_reader import Reader
from reference_node.restriction import read_restriction
from reference_node.strict_json import parse_json

BYTES_MAX = 1 << 16


def with_restrictions(shares: Sequence[DataNetShare], path: Path) -> tuple[DataNetShare, ...]:
    """Return the DataNets, those restricted that a file names.

    Parameters
    ----------
    shares
        Of the dataset.
    path
        The file.

    Raises
    ------
    InputError
        With everything that is missing or wrong.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            [Problem(f"cannot read the restrictions: {error.strerror}", where=str(path))]
        ) from error
    raw = parse_json(data, where=str(path), bytes_max=BYTES_MAX, depth_max=3)
    reader = Reader(str(path))
    names = [net.id for net in shares]
    stated = reader.mapping(raw, "", required=(), optional=tuple(names))
    found = {name: read_restriction(reader, stated.get(name), name, name) for name in names if name in stated}
    reader.finish()
    return tuple(replace(net, restricted=found.get(net.id)) for net in shares)
