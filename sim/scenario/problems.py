"""From pydantic's errors to ``file:line:column: path: what is wrong``.

Rule decided here: a problem stands at the deepest node of the tree that exists; an unknown key stands at
the key and gets a suggestion from the keys that its section knows.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError

from models.errors import Problem
from models.parameters import Place
from sim.scenario.targets import fields_by_key, submodel
from sim.scenario.tree import Map, Scalar, Sequence
from sim.scenario.words import did_you_mean

_ALSO = ("class", "source")


def translate(error: ValidationError, tree: Map, model: type[BaseModel]) -> list[Problem]:
    """Return every problem of a failed validation.

    Parameters
    ----------
    error
        What pydantic raised.
    tree
        The tree that was validated.
    model
        The model it was validated against.
    """
    problems: list[Problem] = []
    for item in error.errors(include_url=False):
        loc = item["loc"]
        if item["type"] == "scenario":
            for mistake in item["ctx"]["mistakes"]:
                keys = _keys(mistake.below)
                place = mistake.place or place_of(tree, (*loc, *keys))
                problems.append(Problem(mistake.message, ".".join(map(str, (*loc, *keys))), str(place)))
        elif item["type"] == "too_short" and item["input"]:
            continue  # the entries are wrong, not absent
        else:
            place = place_of(tree, loc, item["type"])
            problems.append(Problem(_message(item, model), ".".join(map(str, loc)), str(place)))
    return problems


def _keys(below: str) -> tuple[int | str, ...]:
    return tuple(int(key) if key.isdigit() else key for key in below.split(".") if key)


def place_of(tree: Map, loc: tuple[int | str, ...], kind: str = "") -> Place:
    """Return the place of the deepest node along `loc` that exists; of the key itself for an unknown key."""
    node: Any = tree
    place = tree.place
    for key in loc:
        if isinstance(node, Map) and str(key) in node:
            place = node.key_places[str(key)]
            node = node[str(key)]
        elif isinstance(node, Sequence) and isinstance(key, int) and key < len(node):
            node = node[key]
            place = node.place
        else:
            return place
    return place if kind == "extra_forbidden" or isinstance(node, Map) else node.place


def _message(item: Any, model: type[BaseModel]) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        known = [*_known(model, item["loc"][:-1]), *_ALSO]
        return f"unknown key{did_you_mean(str(item['loc'][-1]), known)}"
    if kind == "missing":
        return "is missing"
    if kind in ("model_type", "dict_type", "model_attributes_type"):
        return f"is {_shape(item['input'])}; expected a map of keys"
    if kind in ("tuple_type", "list_type"):
        return f"is {_shape(item['input'])}; expected a list"
    if kind == "too_short":
        return "is empty; expected at least one entry"
    return str(item["msg"])


def _shape(value: Any) -> str:
    if isinstance(value, Scalar):
        return f"'{value.text}'" if value.text else "empty"
    return "a map" if isinstance(value, Map) else "a list"


def _known(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Keys that the section at `loc` knows."""
    current: type[BaseModel] | None = model
    fields = fields_by_key(model)
    for key in loc:
        if isinstance(key, str) and key in fields:
            current = submodel(fields[key].annotation)
            fields = fields_by_key(current) if current is not None else {}
    return list(fields)
