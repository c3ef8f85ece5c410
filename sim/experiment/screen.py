"""Screen: the progress bar of a running experiment.

Rule decided here: progress goes to standard error, as a bar with the time left where that is a terminal and
as a line every ten seconds where it is not. What a person must hear about is said once, at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sim.experiment.progress import Progress

LINE_EVERY_S = 10.0


@contextmanager
def bar(*, quiet: bool = False) -> Iterator[Callable[[Progress], None]]:
    """Show progress on standard error while the block runs.

    Parameters
    ----------
    quiet
        Show lines only, even on a terminal: for programs that read the other stream.

    Yields
    ------
    callable
        Takes the newest `Progress`.
    """
    if quiet or not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:<11}"), BarColumn(), TextColumn("{task.percentage:>5.1f} %"),
        TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("simulating", total=1.0, left="")

        said: set[str] = set()

        def tell(progress: Progress) -> None:
            for note in _new(progress, said):
                shown.console.print(note, highlight=False, soft_wrap=True)
            left = time_left(progress)
            shown.update(task, completed=progress.fraction, description=progress.stage, left=left)

        yield tell


def time_left(progress: Progress) -> str:
    """Return the estimated time left as text, "" before anything is known.

    Examples
    --------
    >>> time_left(Progress(0.5, "simulating", 90.0)), time_left(Progress())
    ('1:30 left', '')
    """
    left = progress.remaining_s
    if left is None or progress.stage == "complete":
        return ""
    minutes, seconds = divmod(round(left), 60)
    return f"{minutes}:{seconds:02d} left"


def _new(progress: Progress, said: set[str]) -> list[str]:
    """Return the notes that were not said yet, and remember them."""
    new = [note for note in progress.notes if note not in said]
    said.update(new)
    return new


def _lines() -> Callable[[Progress], None]:
    last = -LINE_EVERY_S
    said: set[str] = set()

    def tell(progress: Progress) -> None:
        nonlocal last
        for note in _new(progress, said):
            sys.stderr.write(f"{note}\n")
        if progress.elapsed_s - last >= LINE_EVERY_S or progress.stage == "complete":
            last = progress.elapsed_s
            text = f"{progress.stage} {100 * progress.fraction:.0f} %, {progress.elapsed_s:.0f} s"
            sys.stderr.write(f"{text} {time_left(progress)}".rstrip() + "\n")
            sys.stderr.flush()

    return tell
