"""Progress of a training run on standard error, so that standard output carries the result alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Tell = Callable[[int, float], None]


@contextmanager
def progress_bar(name: str, steps: int, *, quiet: bool = False) -> Iterator[Tell]:
    """Show a bar while the body runs.

    Parameters
    ----------
    name
        What is trained.
    steps
        Number of optimizer steps.
    quiet
        Show nothing.

    Yields
    ------
    Callable
        Takes the steps done and the latest loss.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f} steps, loss {task.fields[loss]:.3f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task(name, total=steps, loss=float("nan"))

        def tell(done: int, loss: float) -> None:
            bar.update(task, completed=done, loss=loss)

        yield tell
