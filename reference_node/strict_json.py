"""JSON from strangers: which bytes the node is willing to read as JSON at all.

Refused: more bytes or deeper nesting than the caller allows (both seen before parsing), text that is not UTF-8, a key
twice in one object (readers disagree on which one counts), NaN, Infinity and numbers that no float holds, and half of a
surrogate pair, which nobody could write again.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from models.errors import InputError, Problem

SHOWN = 120  # characters of a stranger's text that an error repeats
# A string (an unclosed one runs to the end, so that no byte is looked at twice) or one bracket.
TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)


def parse_json(data: bytes, *, where: str, bytes_max: int, depth_max: int) -> Any:
    """Return the value that strict JSON holds.

    Parameters
    ----------
    data
        The text, UTF-8.
    where
        File or field that an error names.
    bytes_max, depth_max
        Largest size and deepest nesting of arrays and objects that are parsed.

    Raises
    ------
    InputError
        When the bytes are refused; the reason and the limit are named.

    Examples
    --------
    >>> parse_json(b'{"r": 8}', where="adapter_config.json", bytes_max=100, depth_max=2)
    {'r': 8}
    """
    if len(data) > bytes_max:
        raise InputError([Problem(f"{len(data)} bytes of JSON; allowed {bytes_max}", where=where)])
    depth = nesting(data, depth_max)
    if depth > depth_max:
        raise InputError([Problem(f"nested deeper than {depth_max} levels", where=where)])
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite
        )
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise InputError([Problem(f"not valid JSON: {short(error)}", where=where)]) from error
    return value


def short(text: object) -> str:
    """Return a stranger's text, cut to what an error may repeat and without control characters."""
    shown = str(text)
    shown = shown if len(shown) <= SHOWN else shown[: SHOWN - 3] + "..."
    return "".join(c if c.isprintable() else "?" for c in shown)


def nesting(data: bytes, limit: int) -> int:
    """Return the nesting depth, counted no further than one above the limit."""
    depth = deepest = 0
    for token in TOKENS.finditer(data):
        kind = token.group()[:1]
        if kind in b"[{":
            depth += 1
            deepest = max(deepest, depth)
            if deepest > limit:
                break
        elif kind in b"]}":
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"key {short(repr(name))} appears twice")
        found[name] = value
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{short(text)} is out of range")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")
