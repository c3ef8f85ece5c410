"""`olsim schema`: the JSON Schema of scenario files, for editors and other tools.

Rule decided here: the schema is generated from the models; the committed copy beside the scenarios is that
text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def schema(
    out: Annotated[
        Path | None, typer.Option("--out", help="Write to this file instead of standard output.")
    ] = None,
) -> None:
    """Print the JSON Schema of scenario files."""
    from sim.scenario.jsonschema import schema_text

    text = schema_text()
    if out is None:
        typer.echo(text, nl=False)
        return
    out.write_text(text, encoding="utf-8")
    typer.echo(f"wrote {out}", err=True)
