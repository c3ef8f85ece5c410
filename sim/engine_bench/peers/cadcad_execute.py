"""How a cadCAD model is executed: in one process, without its banner and progress bar, history kept as always."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

INSTALL = "pip install 'olsim[peers]'"


def experiment(state: dict[str, Any], blocks: Sequence[dict[str, Any]], days: int) -> Any:
    """Return an executor of one run of a model."""
    from cadCAD.configuration import Experiment
    from cadCAD.engine import ExecutionContext, ExecutionMode, Executor

    made = Experiment()
    made.append_model(
        sim_configs={"N": 1, "T": range(days), "M": {}},
        initial_state=state,
        partial_state_update_blocks=list(blocks),
    )
    context = ExecutionContext(ExecutionMode.single_mode)
    return Executor(context, made.configs, supress_print=True)


def take(name: str) -> Any:
    """Return the state update that takes a policy's signal as the new value."""
    return lambda _params, _substep, _history, _state, _input: (name, _input[name])
