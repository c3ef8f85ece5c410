"""Run directory: its names, and who may write into which.

Rule decided here: a run directory belongs to one simulated world, seed and set of twins. An incomplete one is
continued and a complete one extended, both only when asked to; nothing is overwritten.
"""

from __future__ import annotations

from pathlib import Path

from models.errors import InputError
from sim.results.lock import LOCK_FILE
from sim.results.manifest import MANIFEST, Manifest
from sim.results.origin import code_difference
from sim.results.tables import RUN_TABLES

PARTS = "parts"
ASIDE = "aside"
PROGRESS = "progress.jsonl"
RESOLVED = "scenario.resolved.yaml"
PARAMETERS = "parameters.json"
PRIORS = "priors.parquet"
UNLOCKS = "unlocks.parquet"
TWINS = "twins.parquet"
REPORT_HTML = "report.html"
REPORT_MD = "report.md"
_NOTHING_YET = (LOCK_FILE, f".{MANIFEST}.part")
"""What a run leaves that is killed before its manifest is there."""

FINAL_TABLES = (*(f"{name}.parquet" for name in RUN_TABLES), UNLOCKS, TWINS)
"""File names of the tables of a complete directory."""


def directory_name(name: str, world_sha256: str) -> str:
    """Return the default name of a run directory: scenario and the first digits of the world's hash.

    Examples
    --------
    >>> directory_name("baseline", "0123456789abcdef" * 4)
    'baseline-0123456789ab'
    """
    return f"{name}-{world_sha256[:12]}"


def open_directory(directory: Path, wanted: Manifest, resume: bool) -> Manifest | None:
    """Check whether a run may be written to `directory`.

    Parameters
    ----------
    directory
        The run directory, which need not exist.
    wanted
        The manifest of the run that is asked for.
    resume
        Whether an existing directory may be continued or extended.

    Returns
    -------
    Manifest or None
        The manifest that is there, or None where the directory is to be made.

    Raises
    ------
    InputError
        If the directory holds something else, belongs to another world, or would need `resume`.
    """
    if not directory.exists() or all(path.name in _NOTHING_YET for path in directory.iterdir()):
        return None
    there = Manifest.read(directory)
    _same_world(directory, there, wanted)
    if there.status == "complete" and there.runs == wanted.runs:
        return there
    if not resume:
        does = "extend it to" if there.status == "complete" else "continue it with"
        raise InputError(
            f"{directory}: holds a {there.status} run of {there.runs} runs; add --resume to {does} "
            f"{wanted.runs} runs, or choose another --out (nothing is overwritten)"
        )
    mixed = code_difference(wanted.code_version, wanted.packages, there.code_version, there.packages)
    if mixed:
        raise InputError(
            f"{directory}: was computed with other packages (now {'; '.join(mixed)}), which may change last digits; "
            "use those, or choose another --out"
        )
    if wanted.runs < there.runs:
        raise InputError(f"{directory}: holds {there.runs} runs, more than the {wanted.runs} asked for")
    return there


def _same_world(directory: Path, there: Manifest, wanted: Manifest) -> None:
    checks = {
        "code version": (there.code_version[:12], wanted.code_version[:12]),
        "scenario": (there.world_sha256[:12], wanted.world_sha256[:12]),
        "seed": (there.seed, wanted.seed),
        "chain": (there.chain.executed, wanted.chain.executed),
        "witness run": (there.chain.witness_run, wanted.chain.witness_run),
        "twins": (there.twins.names, wanted.twins.names),
    }
    different = [f"{name} {old} there, {new} now" for name, (old, new) in checks.items() if old != new]
    if different:
        raise InputError(
            f"{directory}: holds another run ({'; '.join(different)}); "
            "choose another --out, nothing is overwritten"
        )
