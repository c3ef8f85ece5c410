"""A proposal: who proposes what, when, and which way the classes of agents vote.

Rule decided here: an action sets one governed parameter to a value of that parameter's own kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field
from pydantic_core import core_schema

from models.parameters import Place
from sim.scenario.fields import (
    AnyNumber,
    DateValue,
    NotNegative,
    PlainDuration,
    Section,
    Text,
    UnitInterval,
    choice,
    whole,
)
from sim.scenario.forms import Long, Mistake, MistakesError
from sim.scenario.governed import GOVERNED
from sim.scenario.leaves import Context, leaf_schema
from sim.scenario.population import AgentsSection
from sim.scenario.targets import leaf_of
from sim.scenario.tree import Map, Scalar
from sim.scenario.words import close, did_you_mean

AGENT_CLASSES = tuple(AgentsSection.model_fields)
"""Names of the agent classes."""


@dataclass(frozen=True, slots=True)
class Action:
    """One change of a governed parameter.

    Parameters
    ----------
    path
        Its dotted path.
    value
        The new value, of the parameter's own type.
    unit
        Unit of the new value.
    place
        Where it was written.
    old
        Value in force when the proposal is submitted; set once the whole file is read.
    """

    path: str
    value: Any
    unit: str
    place: Place
    old: Any = None

    @property
    def encoded(self) -> tuple[int, ...]:
        """The integers that the vote writes, one per column of the parameter."""
        return GOVERNED[self.path].encode(self.value)


class ActionLeaf:
    """Annotation of ``{set: path, to: value}``."""

    def read(self, node: Any, context: Context) -> Action:
        """Read the value by the kind of the parameter that `set` names."""
        if not isinstance(node, Map):
            raise ValueError("expected {set: path, to: value}")
        mistakes = [
            Mistake(f"unknown key{did_you_mean(key, ('set', 'to'))}", node.key_places[key], key)
            for key in node
            if key not in ("set", "to")
        ]
        mistakes += [Mistake("is missing", node.place, key) for key in ("set", "to") if key not in node]
        if mistakes:
            raise MistakesError(mistakes)
        target = node["set"]
        if not isinstance(target, Scalar) or target.text not in GOVERNED:
            text = target.text if isinstance(target, Scalar) else "this"
            sections = ", ".join(sorted({path.partition(".")[0] for path in GOVERNED}))
            hint = did_you_mean(text, GOVERNED) if close(text, GOVERNED) else f"; those lie in {sections}"
            message = f"'{text}' is no parameter that a vote may change{hint}"
            raise MistakesError([Mistake(message, target.place, "set")])
        return self._typed(target.text, node["to"], context)

    def _typed(self, path: str, to: Any, context: Context) -> Action:
        mistakes: list[Mistake] = []
        pair = Long(leaf_of(path).kind, context.token, (), mistakes).value(to, "", "")
        if pair is not None and not mistakes:
            action = Action(path, pair[0], pair[1], to.place)
            try:
                GOVERNED[path].encode(action.value)
            except ValueError as error:
                mistakes.append(Mistake(str(error), to.place))
            else:
                return action
        raise MistakesError([Mistake(m.message, m.place, f"to.{m.below}".rstrip(".")) for m in mistakes])

    def write(self, value: Action, context: Context) -> dict[str, Any]:
        """Return ``{set, to}`` as plain data."""
        kind = leaf_of(value.path).kind
        return {"set": value.path, "to": kind.write(value.value, value.unit, context.token)}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe a governed path and any value of its kind."""
        kinds = [leaf_of(path).kind.schema() for path in GOVERNED]
        unique = [kind for index, kind in enumerate(kinds) if kind not in kinds[:index]]
        properties = {"set": {"enum": list(GOVERNED)}, "to": {"anyOf": unique}}
        return {"type": "object", "properties": properties, "additionalProperties": False}


class Proposer(Section):
    """Who proposes: the agent of this rank (1 = most votes) in its class."""

    class_: Annotated[str, choice(*AGENT_CLASSES)] = Field(alias="class")
    rank: Annotated[int, whole(1, 2**24 - 1)] = 1


class Direction(Section):
    """Which way agents vote.

    Parameters
    ----------
    rule
        ``own_payoff``: for, if the agent gains in the paired runs in which the proposal executes.
    horizon
        Time over which the gain is counted.
    noise
        Spread of the gain that an agent perceives, relative to the gains' own.
    """

    rule: Annotated[str, choice("own_payoff")] = "own_payoff"
    horizon: PlainDuration
    noise: NotNegative


class Votes(Section):
    """Which way the votes go.

    Parameters
    ----------
    direction
        Rule of those who state nothing.
    stated
        Classes that said how they will vote.
    payoffs
        What the proposal brings each class, in percent of its tokens; a preview measures it in paired runs.
    force
        An outcome whatever the votes, for tests and for the difference if it executes.
    """

    direction: Direction
    stated: dict[str, Annotated[str, choice("for", "against", "abstain")]] = Field(default_factory=dict)
    payoffs: dict[str, AnyNumber] = Field(default_factory=dict)
    force: Annotated[str, choice("none", "pass", "fail")] = "none"


class Proposal(Section):
    """A proposal to change governed parameters.

    Parameters
    ----------
    title
        One line.
    proposer
        Who proposes.
    submit
        Day of submission.
    actions
        What changes.
    votes
        Which way the votes go.
    salience
        0 to 1: how much it moves people to vote.
    """

    title: Text
    proposer: Proposer
    submit: DateValue
    actions: tuple[Annotated[Action, ActionLeaf()], ...] = Field(min_length=1)
    votes: Votes
    salience: UnitInterval
