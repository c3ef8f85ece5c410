"""Profiles on disk: their JSON Schema, and files that are sealed when written and checked when read.

Rule: a profile is refused as a whole, with every fault at once, when a key is unknown or missing, a value is out of
range, or the content no longer matches its hash.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from pathlib import Path
from typing import Any, Literal

from models.errors import InputError, Problem
from models.serving import profile_sha256
from reference_node.profile import Profile


def json_schema(kind: type = Profile) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a profile; numbers are not negative unless said otherwise."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "olsim throughput profile v1",
        **_schema_of(kind, {}),
    }


def write_profile(profile: Profile, path: Path) -> Profile:
    """Seal a profile with its content hash, check it, write it, and return the sealed profile."""
    document = dataclasses.asdict(profile)
    digest = profile_sha256(document)
    document["provenance"]["sha256"] = digest
    problems = _problems(document, json_schema(), "")
    if problems:
        raise InputError([Problem(message, where=str(path)) for message in problems])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_compact_rows(document), encoding="utf-8")
    return dataclasses.replace(profile, provenance=dataclasses.replace(profile.provenance, sha256=digest))


def read_profile(path: Path) -> Profile:
    """Read a profile.

    Raises
    ------
    InputError
        When the file is missing, no JSON, against the schema, or changed since it was sealed.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError([Problem(f"cannot read the profile: {error}", where=str(path))]) from error
    problems = _problems(document, json_schema(), "")
    if not problems and profile_sha256(document) != document["provenance"]["sha256"]:
        problems = ["provenance.sha256: the content was changed after it was measured"]
    if problems:
        raise InputError([Problem(message, where=str(path)) for message in problems])
    built: Profile = _build(Profile, document)
    return built


def _compact_rows(document: dict[str, Any]) -> str:
    """Format JSON with one line per row of a table, so that a change of a measurement is a readable diff."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value:
            body = "[\n    " + ",\n    ".join(json.dumps(row) for row in value) + "\n  ]"
        else:
            body = json.dumps(value)
        lines.append(f"  {json.dumps(key)}: {body}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _schema_of(kind: Any, extra: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        members = dataclasses.fields(kind)
        return {
            "type": "object",
            "description": (kind.__doc__ or "").split("\n")[0],
            "properties": {f.name: _schema_of(hints[f.name], dict(f.metadata)) for f in members},
            "required": [f.name for f in members],
            "additionalProperties": False,
        }
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is list:
        return {"type": "array", "items": _schema_of(arguments[0], {})}
    if origin in (typing.Union, types.UnionType):
        inner = _schema_of(arguments[0], extra)
        return {**inner, "type": [inner["type"], "null"]}
    if kind in (int, float):
        bounds = {"minimum": 0, **extra}
        return {
            "type": "integer" if kind is int else "number",
            **{k: v for k, v in bounds.items() if v is not None},
        }
    return {"type": {str: "string", bool: "boolean"}[kind]}


def _problems(value: Any, schema: dict[str, Any], path: str) -> list[str]:
    """Check a value against the subset of JSON Schema that `json_schema` emits; one message per fault."""
    if "enum" in schema:
        return (
            []
            if value in schema["enum"] and type(value) is not bool
            else [f"{path}: {value!r} is not one of {schema['enum']}"]
        )
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is_a(value, kind) for kind in kinds):
        return [f"{path or 'profile'}: {str(value)[:60]!r} is not {' or '.join(kinds)}"]
    if isinstance(value, dict):
        known = schema["properties"]
        found = [f"{_join(path, key)}: unknown key" for key in value if key not in known]
        found += [f"{_join(path, key)}: missing" for key in known if key not in value]
        return found + [
            m
            for key, item in value.items()
            if key in known
            for m in _problems(item, known[key], _join(path, key))
        ]
    if isinstance(value, list):
        return [
            m
            for index, item in enumerate(value)
            for m in _problems(item, schema["items"], f"{path}[{index}]")
        ]
    return _range_problems(value, schema, path) if isinstance(value, int | float) else []


def _range_problems(value: float, schema: dict[str, Any], path: str) -> list[str]:
    low, above, high = schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum")
    if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
        top = "any finite number" if high is None else high
        return [f"{path}: {value!r} is out of range; allowed {low} to {top}"]
    return (
        [f"{path}: {value!r} is out of range; allowed above {above}"]
        if above is not None and value <= above
        else []
    )


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    accepted = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "null": type(None),
    }
    return isinstance(value, accepted.get(kind, ()))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else str(key)


def _build(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: _build(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    if typing.get_origin(kind) is list:
        return [_build(typing.get_args(kind)[0], item) for item in value]
    return value
