"""Reading tariff files: every mistake at once, with its line and column.

Rules decided here. A figure carries its unit in the text (`gwei/1M tokens`, `gwei`, `%`, `bps`) and its class
and source, its own or those of the nearest map above it; one without both is refused, because nobody should
mistake an assumption for a measurement. Shares are whole basis points, weights whole numbers, addresses 20
bytes in quotes (without them YAML reads a number).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from models.errors import InputError, Problem
from models.fees import BPS, LARGEST_RATE
from models.units import parse_quantity, parse_share
from reference_node.billing.hashes import ZERO_ADDRESS, address
from reference_node.billing.tariff import ACCOUNTS, PAYEES, SCHEMA, Origin, Rates, Tariff

CLASSES = ("measured", "documented", "estimated", "illustrative")
LARGEST_WEIGHT = 10**6

_T = TypeVar("_T")
_RATES = ("input", "output", "cached")
_INHERITED = ("class", "source")
_FIGURE = ("value", *_INHERITED)
_ADAPTER = re.compile(r"[0-9a-f]{64}|[a-z0-9][a-z0-9._-]{0,63}")


def read_tariff(path: Path) -> Tariff:
    """Read a tariff file; see `Tariff.read`."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = YAML().load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError([Problem(f"cannot be read: {error}", where=str(path))]) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise InputError([Problem(f"not YAML: {error.problem}", where=where)]) from error
    except YAMLError as error:
        raise InputError([Problem(f"not YAML: {error}", where=str(path))]) from error
    if not isinstance(tree, CommentedMap):
        raise InputError([Problem("holds no map; see the bundled tariff.yaml", where=str(path))])
    problems: list[Problem] = []
    origins: dict[str, Origin] = {}
    tariff = _tariff(_Section(tree, "", str(path), Origin("", "", ""), problems, origins))
    if problems:
        raise InputError(problems)
    return replace(tariff, origins=origins)


@dataclass(frozen=True, slots=True)
class _Section:
    """A map of the file with its path, and the class and source that hold in it; `absent` if it is none."""

    node: Mapping[str, Any]
    path: str
    file: str
    origin: Origin
    problems: list[Problem]
    origins: dict[str, Origin] = field(repr=False)
    absent: bool = False

    def where(self, key: str) -> str:
        marks = getattr(self.node, "lc", None)
        data = getattr(marks, "data", None) or {}
        if key in data:
            line, column = data[key][:2]
        else:
            line, column = (marks.line, marks.col) if marks is not None and marks.line is not None else (0, 0)
        return f"{self.file}:{line + 1}:{column + 1}"

    def refuse(self, key: str, message: str) -> None:
        path = f"{self.path}.{key}" if self.path else key
        self.problems.append(Problem(message, path, self.where(key)))

    def known(self, keys: Iterable[str]) -> None:
        """Refuse keys that are not among `keys`."""
        allowed = (*keys, *_INHERITED)
        for key in self.node:
            if key not in allowed:
                self.refuse(key, f"is unknown; allowed {', '.join(allowed)}")

    def section(self, key: str) -> _Section:
        """Return the map under `key`, empty where it is missing or none."""
        found = self.node.get(key)
        node: Mapping[str, Any] = found if isinstance(found, Mapping) else CommentedMap()
        absent = node is not found
        if absent and not self.absent:
            given = "is missing" if key not in self.node else f"is {found!r}"
            self.refuse(key, f"{given}; expected a map")
        path = f"{self.path}.{key}".strip(".")
        inner = replace(self, node=node, path=path, absent=absent)
        return replace(inner, origin=inner.inherit())

    def inherit(self) -> Origin:
        """Return class and source that hold below this map."""
        kind = self.node.get("class", self.origin.kind)
        if "class" in self.node and kind not in CLASSES:
            self.refuse("class", f"{kind!r} is no class; allowed {', '.join(CLASSES)}")
        return Origin(str(kind), str(self.node.get("source", self.origin.source)), "")

    def figure(self, key: str, read: Callable[[Any], _T], default: _T) -> _T:
        """Return a figure read by `read`, or `default` after saying what is wrong with it."""
        if key not in self.node:
            if not self.absent:
                self.refuse(key, "is missing")
            return default
        holder, name = self, key
        if isinstance(self.node[key], Mapping):
            holder, name = self.section(key), "value"
            holder.known(_FIGURE)
        origin = replace(holder.origin, where=self.where(key))
        self.origins[f"{self.path}.{key}"] = origin
        if not origin.kind or not origin.source:
            self.refuse(key, "has no class and source, of its own or above it")
        try:
            return read(holder.node[name])
        except KeyError:
            holder.refuse(name, "is missing")
        except (ValueError, ZeroDivisionError) as error:
            holder.refuse(name, str(error))
        return default


def _tariff(top: _Section) -> Tariff:
    top = replace(top, origin=top.inherit())
    top.known(("schema", "name", "rates", "split", "addresses"))
    if top.node.get("schema") != SCHEMA:
        top.refuse("schema", f"is {top.node.get('schema')!r}; this version reads {SCHEMA}")
    rates, split, places = (top.section(key) for key in ("rates", "split", "addresses"))
    rates.known(("base", "adapters"))
    split.known(("platform", "platform_flat", "burn", "weights"))
    places.known(ACCOUNTS)
    return Tariff(
        name=str(top.node.get("name", "")),
        base=_rates(rates.section("base")),
        adapters=_adapters(rates.section("adapters")),
        platform_bps=split.figure("platform", _bps, 0),
        platform_flat=split.figure("platform_flat", _gwei, 0),
        burn_bps=split.figure("burn", _bps, 0),
        weights=_weights(split.section("weights")),
        addresses={name: places.figure(name, _address, "") for name in ACCOUNTS},
    )


def _rates(section: _Section) -> Rates:
    section.known(_RATES)
    return Rates(**{name: section.figure(name, _rate, 0) for name in _RATES})


def _adapters(section: _Section) -> dict[str, Rates]:
    found = {}
    for name in section.node:
        if name in _INHERITED:
            continue
        if not _ADAPTER.fullmatch(str(name)):
            section.refuse(name, f"is no alias and no content hash; allowed {_ADAPTER.pattern}")
        found[str(name)] = _rates(section.section(name))
    return found


def _weights(section: _Section) -> dict[str, int]:
    section.known(PAYEES)
    weights = {name: section.figure(name, _weight, 1) for name in PAYEES}
    if not any(weights.values()) and not section.absent:
        section.refuse(PAYEES[0], "all weights are 0; at least one must be positive")
    return weights


def _rate(value: Any) -> int:
    return _amount(value, "gwei/1M tokens", LARGEST_RATE)


def _gwei(value: Any) -> int:
    return _amount(value, "gwei", LARGEST_RATE)


def _amount(value: Any, unit: str, most: int) -> int:
    quantity = parse_quantity(value)
    if quantity.unit != unit:
        raise ValueError(f"{value!r} has the unit {quantity.unit!r}; expected {unit}")
    number = Fraction(quantity.number)
    if number.denominator != 1 or not 0 <= number <= most:
        raise ValueError(f"{value!r} is not allowed; a whole number from 0 to {most}")
    return int(number)


def _bps(value: Any) -> int:
    if not str(value).rstrip().endswith(("%", "bps")):
        raise ValueError(f"{value!r} has no unit; expected % or bps")
    share = parse_share(value) * BPS
    if share.denominator != 1 or not 0 <= share <= BPS:
        raise ValueError(f"{value!r} is not allowed; whole basis points from 0 to 100 %")
    return int(share)


def _weight(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= LARGEST_WEIGHT:
        raise ValueError(f"{value!r} is no weight; a whole number from 0 to {LARGEST_WEIGHT}")
    return int(value)


def _address(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text; write the address in quotes")
    found = address(value)
    if found == ZERO_ADDRESS:
        raise ValueError("is the zero address; money sent there is lost")
    return found
