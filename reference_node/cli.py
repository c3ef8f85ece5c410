"""Commands of the node, mounted as `olsim node`; `bench` is also `olsim bench node`."""

from __future__ import annotations

import typer

from reference_node.commands.adapters import adapters_app
from reference_node.commands.attribute import attribute_app
from reference_node.commands.bench import bench, measure
from reference_node.commands.chat import chat
from reference_node.commands.keys import keys_app
from reference_node.commands.prove import prove
from reference_node.commands.serve import serve
from reference_node.commands.settle import audit, post, settle
from reference_node.commands.train import train

__all__ = ["app", "bench"]

app = typer.Typer(
    help="The reference LoRA serving node: serve, talk to it, train adapters, measure, bill and settle.",
    no_args_is_help=True,
    add_completion=False,
)
app.command("serve")(serve)
app.command("chat")(chat)
app.command("train")(train)
app.command("bench")(measure)
app.add_typer(adapters_app, name="adapters")
app.add_typer(keys_app, name="keys")
app.add_typer(attribute_app, name="attribute")
app.command("settle")(settle)
app.command("post")(post)
app.command("audit")(audit)
app.command("prove")(prove)
