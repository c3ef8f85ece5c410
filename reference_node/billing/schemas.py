"""JSON Schemas of the files that billing exchanges with others.

Rule decided here: a document is checked against the committed schema before anything reads it, and every
mistake is said with its place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from models.errors import Problem


def schema_problems(document: Any, schema: Path, where: Path) -> list[Problem]:
    """Return what in a document is not as its schema says.

    Parameters
    ----------
    document
        JSON values.
    schema
        Schema file (draft 2020-12).
    where
        File that the document came from.
    """
    from jsonschema import Draft202012Validator  # lazily: only settlement and posting need it

    validator = Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    mistakes = sorted(validator.iter_errors(document), key=lambda error: [str(key) for key in error.path])
    return [Problem(e.message[:300], ".".join(str(key) for key in e.path), str(where)) for e in mistakes]
