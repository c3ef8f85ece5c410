"""Annotations of the scenario models: how pydantic reads and writes a leaf.

Rule decided here: a field is either a `Parameter` of one kind (`Leaf`) or a plain value without class or
dates (`Plain`). Both are written as plain data that reads back to the same value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import PydanticCustomError, core_schema

from models.parameters import Parameter
from models.priors import KINDS, PLAIN
from sim.scenario.forms import Long, Mistake, MistakesError
from sim.scenario.kinds import Kind, Token, text_of
from sim.scenario.priors import as_value
from sim.scenario.tree import PRIOR_KEYS


@dataclass(frozen=True, slots=True)
class Context:
    """What a leaf must know about the whole file.

    Parameters
    ----------
    token
        Symbol and ledger decimals.
    relative_to
        When writing: directory that paths are written relative to, or None for absolute paths.
    digest
        When writing: whether a file is named by the SHA-256 of its content instead of its path.
    """

    token: Token = field(default_factory=Token)
    relative_to: Path | None = None
    digest: bool = False


def refuse(mistakes: list[Mistake]) -> PydanticCustomError:
    """Return the pydantic error that carries `mistakes` with their places."""
    return PydanticCustomError(
        "scenario", "{text}", {"text": mistakes[0].message, "mistakes": tuple(mistakes)}
    )


class Leaf:
    """Annotation that reads a `Parameter` of one kind.

    Parameters
    ----------
    kind
        How a single value is read.
    """

    extras: tuple[str, ...] = ()

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def read(self, node: Any, context: Context) -> Any:
        """Return the parameter that `node` says.

        Raises
        ------
        MistakesError
            With everything that is wrong.
        """
        return Long(self.kind, context.token, self.extras, []).parameter(node)

    def write(self, parameter: Parameter[Any], context: Context) -> dict[str, Any]:
        """Return the long form of `parameter` as plain data."""
        write = self.kind.write
        unit, token = parameter.unit, context.token
        result: dict[str, Any] = {}
        if parameter.prior is not None:
            result |= self._written_prior(parameter, token)
        elif parameter.is_dated:
            result["at"] = {day.isoformat(): write(value, unit, token) for day, value in parameter.values}
        else:
            result["value"] = write(parameter.value, unit, token)
        if parameter.range is not None:
            result["range"] = [write(bound, unit, token) for bound in parameter.range]
        result["class"] = parameter.evidence
        if parameter.source:
            result["source"] = parameter.source
        return result

    def _written_prior(self, parameter: Parameter[Any], token: Token) -> dict[str, Any]:
        assert parameter.prior is not None
        prior, plain = parameter.prior, PLAIN.get(parameter.prior.kind, ())
        numbers = [
            number if index in plain
            else self.kind.write(as_value(number, parameter.value), parameter.unit, token)
            for index, number in enumerate(prior.arguments)
        ]  # fmt: skip
        written: dict[str, Any] = {"prior": {prior.kind: numbers}}
        if parameter.is_dated:
            written["from"] = parameter.values[0][0].isoformat()
        return written | ({"rationale": prior.rationale} if prior.rationale else {})

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of all four forms."""
        value = self.kind.schema()
        number = {"type": ["number", "string"]}
        priors = {name: {"type": "array", "items": number} for name in KINDS}
        long: dict[str, Any] = {
            "value": value,
            "at": {"type": "object", "additionalProperties": value},
            "range": {"type": "array", "items": number, "minItems": 2, "maxItems": 2},
            "unit": {"type": "string"},
        }
        if self.kind.uncertain:
            long["prior"] = {"type": "object", "properties": priors, "additionalProperties": False}
            long |= {name: {"type": "string"} for name in PRIOR_KEYS}
        long |= EVIDENCE_SCHEMA | {name: {} for name in self.extras}
        form = {"type": "object", "properties": long, "additionalProperties": False}
        return {"description": self.kind.expects, "anyOf": [value, form]}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe all forms of the value."""
        return self.schema()


EVIDENCE_SCHEMA: dict[str, Any] = {
    "class": {"enum": ["measured", "documented", "estimated", "illustrative"]},
    "source": {"type": "string"},
}
"""JSON Schema of the keys that every section and every long form may carry."""


def leaf_schema(
    read: Callable[[Any, Context], Any], write: Callable[[Any, Context], Any]
) -> core_schema.CoreSchema:
    """Return the pydantic schema of a leaf that is read from a node and written as plain data.

    Parameters
    ----------
    read
        From node and context to the value; raises ValueError or `MistakesError`.
    write
        From value and context to plain data.
    """

    def validate(node: Any, info: core_schema.ValidationInfo) -> Any:
        try:
            return read(node, info.context or Context())
        except MistakesError as error:
            raise refuse(error.mistakes) from None
        except ValueError as error:
            raise refuse([Mistake(str(error))]) from None

    def serialise(value: Any, info: core_schema.SerializationInfo) -> Any:
        return None if value is None else write(value, info.context or Context())

    return core_schema.with_info_plain_validator_function(
        validate,
        serialization=core_schema.plain_serializer_function_ser_schema(serialise, info_arg=True),
    )


class Plain:
    """Annotation that reads a value without class or dates: names, counts, switches, lists of choices.

    Parameters
    ----------
    read
        From the text of the scalar to the value; raises ValueError.
    schema
        JSON Schema of the value.
    expects
        What is expected, for messages.
    """

    def __init__(self, read: Callable[[str], Any], schema: dict[str, Any], expects: str) -> None:
        self.read_text = read
        self.json = schema
        self.expects = expects

    def read(self, node: Any, context: Context) -> Any:
        """Return the value of a scalar node."""
        return self.read_text(text_of(node, self.expects))

    def write(self, value: Any, context: Context) -> Any:
        """Return the value as plain data."""
        return value if isinstance(value, str | int | float | bool) else str(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """Validate by `read`, serialise by `write`."""
        return leaf_schema(self.read, self.write)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        """Describe the value."""
        return self.json
