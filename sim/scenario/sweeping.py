"""The ``sweep:`` section: which values of a scenario are varied, how, and what is looked at.

Rule decided here: a sweep is always said in so many words; a list anywhere else never means one. An axis is a list of
values, a span ``{from, to, steps, scale}``, or the word ``prior`` for a parameter that is uncertain anyhow. The
section changes no run: it is not part of what a world's hash is made of.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import model_validator
from pydantic_core import core_schema

from models.parameters import Place
from sim.observables import BY_NAME
from sim.scenario.fields import Durations, Section, Texts, choice, whole
from sim.scenario.forms import Mistake, MistakesError
from sim.scenario.leaves import Context, leaf_schema, refuse
from sim.scenario.tree import Map, Scalar, Sequence
from sim.scenario.words import did_you_mean

MODES = ("grid", "zip", "tornado", "latin", "sobol", "morris")
"""Designs: every combination, rank by rank, one at a time, and three samples of the whole space."""

SAMPLED = ("latin", "sobol", "morris")
"""Designs that need a span or a prior for every axis."""

SCALES = ("linear", "log")
STEPS = 5
"""Values of a span in a grid unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One varied value.

    Parameters
    ----------
    path
        Dotted path in the scenario.
    values
        Texts of a list, or ().
    ends
        Texts of the two ends of a span, or ().
    steps, scale
        How many values a grid takes of the span, and whether they are evenly apart or evenly by factor.
    place
        Where it was written.
    """

    path: str
    values: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    steps: int = STEPS
    scale: str = "linear"
    place: Place = field(default=Place(), compare=False)

    @property
    def by_prior(self) -> bool:
        """Whether the parameter's own prior says what is tried."""
        return not self.values and not self.ends


class Over:
    """Annotation of the map from path to axis."""

    def read(self, node: Any, context: Context) -> tuple[Axis, ...]:
        """Read every axis; report each wrong one."""
        if not isinstance(node, Map) or not node:
            raise MistakesError([Mistake("expected {path: [values] or {from, to} or prior}", node.place)])
        axes, mistakes = [], []
        for path, item in node.items():
            try:
                axes.append(_axis(path, item))
            except MistakesError as error:
                mistakes += [Mistake(m.message, m.place or item.place) for m in error.mistakes]
        if mistakes:
            raise MistakesError(mistakes)
        return tuple(axes)

    def write(self, axes: tuple[Axis, ...], context: Context) -> dict[str, Any]:
        """Return the axes as plain data."""
        return {axis.path: _written(axis) for axis in axes}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the three forms of an axis."""
        value = {"type": ["number", "string"]}
        span = {
            "type": "object",
            "properties": {
                "from": value, "to": value, "steps": {"type": "integer", "minimum": 2}, "scale": {"enum": list(SCALES)}
            },
            "required": ["from", "to"],
            "additionalProperties": False,
        }  # fmt: skip
        forms = [{"type": "array", "items": value, "minItems": 1}, span, {"const": "prior"}]
        return {"type": "object", "additionalProperties": {"anyOf": forms}}


def _axis(path: str, node: Any) -> Axis:
    if isinstance(node, Sequence) and node and all(isinstance(item, Scalar) for item in node):
        texts = tuple(item.text for item in node)
        twice = [text for text in texts if texts.count(text) > 1]
        if twice:
            raise MistakesError([Mistake(f"{path}: '{twice[0]}' is named twice")])
        return Axis(path, values=texts, place=node.place)
    if isinstance(node, Map):
        return _span(path, node)
    if isinstance(node, Scalar) and node.text == "prior":
        return Axis(path, place=node.place)
    raise MistakesError([Mistake(f"{path}: expected [value, ...], {{from, to}} or prior")])


_SPAN = {"from", "to", "steps", "scale"}


def _span(path: str, node: Map) -> Axis:
    for key, item in node.items():
        if key not in _SPAN:
            message = f"{path}: unknown key '{key}'{did_you_mean(key, _SPAN)}"
            raise MistakesError([Mistake(message, node.key_places[key])])
        if not isinstance(item, Scalar):
            raise MistakesError([Mistake(f"{path}: '{key}' is not a single value", item.place)])
    missing = [key for key in ("from", "to") if key not in node]
    if missing:
        raise MistakesError([Mistake(f"{path}: has no {' and no '.join(missing)}", node.place)])
    steps, scale = node.get("steps"), node.get("scale")
    try:
        count = whole(2, 10_000).read_text(steps.text) if steps is not None else STEPS
        form = choice(*SCALES).read_text(scale.text) if scale is not None else "linear"
    except ValueError as error:
        raise MistakesError([Mistake(f"{path}: {error}", node.place)]) from None
    return Axis(path, ends=(node["from"].text, node["to"].text), steps=count, scale=form, place=node.place)


def _written(axis: Axis) -> Any:
    if axis.by_prior:
        return "prior"
    if axis.values:
        return list(axis.values)
    return {"from": axis.ends[0], "to": axis.ends[1], "steps": axis.steps, "scale": axis.scale}


class Sweep(Section):
    """A sweep.

    Parameters
    ----------
    mode
        The design, one of `MODES`.
    over
        What is varied.
    points
        ``latin``: points; ``sobol``: size of the base sample, a power of 2, of which points + 2 per axis are tried;
        ``morris``: trajectories of axes + 1 points each.
    metrics
        Observables that are kept.
    at
        Time after the start at which they are kept; the last day without any.
    """

    mode: Annotated[str, choice(*MODES)] = "grid"
    over: Annotated[tuple[Axis, ...], Over()]
    points: Annotated[int, whole(2, 1_000_000)] = 64
    metrics: Texts = ("price_usd", "circulating_gwei", "treasury_gwei", "staking_ratio", "fee_gross_usd")
    at: Durations = ()

    @model_validator(mode="after")
    def _fits(self) -> Sweep:
        mistakes = [
            Mistake(f"'{name}' is no observable{did_you_mean(name, BY_NAME)}", below="metrics")
            for name in self.metrics
            if name not in BY_NAME
        ]
        mistakes += [
            Mistake(f"{axis.path}: {self.mode} needs {{from, to}} or prior, not a list", axis.place, "over")
            for axis in self.over
            if self.mode in SAMPLED and axis.values
        ]
        lengths = {len(axis.values) or axis.steps for axis in self.over if not axis.by_prior}
        if self.mode == "zip" and len(lengths) > 1:
            counts = ", ".join(f"{axis.path} {len(axis.values) or axis.steps}" for axis in self.over)
            mistakes.append(Mistake(f"zip needs as many values of each: {counts}", below="over"))
        if self.mode in ("grid", "zip"):
            mistakes += [
                Mistake(
                    f"{axis.path}: {self.mode} needs values or {{from, to}}, not prior", axis.place, "over"
                )
                for axis in self.over
                if axis.by_prior
            ]
        if self.mode == "sobol" and self.points & (self.points - 1):
            mistakes.append(Mistake(f"{self.points} is no power of 2, which sobol needs", below="points"))
        if mistakes:
            raise refuse(mistakes)
        return self


def plain(sweep: Sweep) -> dict[str, Any]:
    """Return a sweep as plain data, as a file would hold it."""
    data: dict[str, Any] = sweep.model_dump(by_alias=True)
    return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}


def read_sweep(data: dict[str, Any]) -> Sweep:
    """Return the sweep that plain data say, by the rules of a file.

    Raises
    ------
    InputError
        With everything that is wrong.
    """
    from pydantic import TypeAdapter, ValidationError

    from models.errors import InputError
    from sim.scenario.problems import translate
    from sim.scenario.tree import Reader, parse_value

    reader = Reader("--over", Path.cwd(), fixed_place=True)
    tree = Map(Place("command line"))
    tree.put("sweep", parse_value(json.dumps(data), reader), tree.place)
    try:
        found = TypeAdapter(dict[str, Sweep]).validate_python(tree)
    except ValidationError as error:
        raise InputError(translate(error, tree, Sweep)) from None
    return found["sweep"]
