"""The JSON Schema of scenario files, generated from the models.

Rule decided here: the schema serves editors, so it describes one file of a chain: nothing is required,
because a parent may say it; every key may be null, which deletes; every section may carry ``class`` and
``source``. Units, ranges and what joins several values are checked by `sim.scenario.load`, not here.
"""

from __future__ import annotations

import json
import re
from typing import Any

from sim.scenario.leaves import EVIDENCE_SCHEMA
from sim.scenario.schema import Scenario

_PLAIN_SECTIONS = ("Proposal", "Proposer", "Votes", "Direction", "Source")
"""Sections in which ``class`` and ``source`` are no words of evidence."""


def schema_text() -> str:
    """Return the schema as JSON text with a final newline."""
    return json.dumps(build(), indent=1, ensure_ascii=False) + "\n"


def build() -> dict[str, Any]:
    """Return the schema of a scenario, proposal or token file.

    Returns
    -------
    dict
        JSON Schema, draft 2020-12.
    """
    generated = Scenario.model_json_schema(by_alias=True)
    values: dict[str, Any] = {}
    sections = sorted(generated.pop("$defs").items())
    definitions = {name: _section(name, body, values) for name, body in sections}
    root = _section("Scenario", generated, values)
    root["properties"] = {
        "extends": {"type": "string", "description": "path of one parent file, relative to this one"},
        **root["properties"],
    }
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "olsim scenario"}
    root.pop("title", None)
    return {**head, **root, "$defs": {**definitions, **dict(sorted(values.items()))}}


def _section(name: str, body: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Make one model's schema fit a file of a chain; collect the schemas that many fields share."""
    if body.get("type") != "object" or "properties" not in body:
        return body
    properties = {
        key: _nullable(_shared(_without_titles(value), values)) for key, value in body["properties"].items()
    }
    if name not in _PLAIN_SECTIONS:
        properties |= {key: value for key, value in EVIDENCE_SCHEMA.items() if key not in properties}
    description = body.get("description", "").partition("\n")[0]
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "additionalProperties": False,
    }


def _shared(value: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return a reference in place of the four forms of a value."""
    expects = value.get("description", "")
    if "anyOf" not in value or not expects:
        return value
    name = re.sub(r"[^a-z0-9]+", "_", expects.lower().replace("%", "percent")).strip("_")
    assert values.setdefault(name, value) == value, name
    return {"$ref": f"#/$defs/{name}"}


def _without_titles(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key not in ("title", "default")}


def _nullable(value: dict[str, Any]) -> dict[str, Any]:
    options = value["anyOf"] if set(value) == {"anyOf"} else [value]
    if {"type": "null"} in options:
        return value
    return {"anyOf": [*options, {"type": "null"}]}
