"""Command line of the chain: `olsim chain`."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sim.chain.rpc.command import serve

if TYPE_CHECKING:
    from sim.chain.demo import DemoStep

app = typer.Typer(help="The contracts on their two in-process chains.", no_args_is_help=True)
app.command()(serve)


@app.callback()
def chain() -> None:
    """Run the contracts on two in-process chains."""


@app.command()
def demo(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Play the life of OPEN: deploy, vest, bridge, wrap, propose, vote, execute, pay, claim, bridge home."""
    from sim.chain.demo import Demo

    began = time.perf_counter()
    steps = Demo(None if as_json else _print_step).run()
    seconds = time.perf_counter() - began
    gas = sum(step.gas_used for step in steps)
    if as_json:
        result = {"steps": [asdict(step) for step in steps], "gas_used": gas, "seconds": round(seconds, 2)}
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        sys.stdout.write(f"\n{len(steps)} steps, {gas:,} gas, {seconds:.1f} s\n")


def _print_step(step: DemoStep) -> None:
    sys.stdout.write(f"day {step.day:>3}  {step.chain}  {step.gas_used:>10,} gas  {step.title}\n")
    for event in step.events:
        sys.stdout.write(f"{'':>25}{event}\n")
