"""Description: what a run directory says about the scenario behind it, before any day is simulated.

Rule decided here: which facts go into the manifest and the side files, so that a report needs the run
directory and nothing else: the resolved scenario, every parameter with its class and place, the unlock
calendar, the profiles.
"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.errors import InputError
from models.vesting import vested_path
from sim.fleet import stated_errors
from sim.priors import drawn_frame
from sim.results.code import artifacts_sha256, code_version, file_sha256, package_versions
from sim.results.directory import PARAMETERS, PRIORS, RESOLVED
from sim.results.manifest import ChainFacts, Manifest, ParameterCounts, PricedFor, ProfileFacts, TwinFacts
from sim.results.reader import ParameterRow
from sim.results.tables import write_parquet

if TYPE_CHECKING:
    import polars as pl

    from models.parameters import Parameter
    from sim.economy import Economy
    from sim.scenario import Scenario

HORIZON_DAYS = 62
"""How far the unlock calendar reaches beyond the last day: next month's unlock is known there too."""


def describe(economy: Economy, *, command: str, chain: bool) -> Manifest:
    """Return the manifest of a run that is about to begin.

    Parameters
    ----------
    economy
        What will be simulated.
    command
        The command that asks for it, for the report's last line.
    chain
        Whether the witness run executes on chain.

    Raises
    ------
    InputError
        If a serving profile is missing or damaged.
    """
    scenario = economy.scenario
    profiles = [read_profile(part.profile) for part in scenario.serving.fleet]
    twin_runs = min(scenario.runs.twin_runs, scenario.runs.count)
    priced_for, as_of = scenario.fees.priced_for, scenario.report.as_of
    return Manifest(
        status="running",
        name=scenario.name,
        scenario=_shown(scenario.files[0]) if scenario.files else "",
        command=command,
        start=scenario.start.isoformat(),
        scenario_sha256=scenario.sha256(exclude_runs=False),
        world_sha256=world_sha256(economy),
        code_version=code_version(),
        packages=package_versions(),
        seed=economy.seed,
        runs=scenario.runs.count,
        agents=economy.layout.population,
        days=economy.days,
        bands=tuple(scenario.runs.bands),
        as_of="" if as_of is None else as_of.isoformat(),
        notes=scenario.notes,
        profile=profiles[0],
        other_profiles=tuple(profiles[1:]),
        surface_error=dict(stated_errors(scenario)),
        priced_for=PricedFor(model=priced_for.model, params=priced_for.parameters),
        artifacts_sha256=artifacts_sha256(),
        chain=ChainFacts(executed=chain, witness_run=scenario.chain.witness_run),
        twins=TwinFacts(names=tuple(scenario.runs.twins), runs=twin_runs if scenario.runs.twins else 0),
        parameters=count_classes(parameter_rows(scenario)),
    )


def world_sha256(economy: Economy) -> str:
    """Return the hash that names a run directory: scenario without ``runs``, resolution, length and code."""
    parts = [economy.scenario.sha256(exclude_runs=True), economy.layout.counts, economy.days, code_version()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def read_profile(path: Path) -> ProfileFacts:
    """Return what a throughput profile says about itself.

    Raises
    ------
    InputError
        If the file is missing or lacks what every profile must say.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return ProfileFacts(
            id=str(data["id"]),
            sha256=file_sha256(path),
            measured=bool(data["provenance"]["measured"]),
            created=str(data.get("created", "")),
            device=str(data["device"]["name"]),
            model=str(data["model"]["arch"]),
            model_params=int(data["model"]["params"]),
        )
    except OSError:
        raise InputError(f"{path}: the serving profile is missing; make one with olsim node bench") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a throughput profile ({type(error).__name__}: {error})") from None


def parameter_rows(scenario: Scenario) -> list[ParameterRow]:
    """Return every parameter of the scenario as text, with its class and the place where it was set."""
    plain = scenario.resolved()
    return [
        ParameterRow(
            path=path,
            value=_value_text(_below(plain, path)),
            evidence=parameter.evidence,
            source=_source_text(scenario, parameter),
            range=_range_text(_below(plain, path)),
            place=_place(parameter),
        )
        for path, parameter in scenario.parameters()
    ]


def count_classes(rows: list[ParameterRow]) -> ParameterCounts:
    """Return how many parameters there are of each class."""
    classes = [row.evidence for row in rows]
    return ParameterCounts(
        total=len(rows),
        measured=classes.count("measured"),
        documented=classes.count("documented"),
        estimated=classes.count("estimated"),
        illustrative=classes.count("illustrative"),
    )


def unlocks_frame(economy: Economy) -> pl.DataFrame:
    """Return the unlock calendar: day, date, bucket, role and vested gwei, until two months after the run."""
    import polars as pl

    days = economy.days + HORIZON_DAYS
    first = economy.date_of(0)
    frames = [
        pl.DataFrame(
            {
                "day": range(days + 1),
                "date": [first + timedelta(days=day) for day in range(days + 1)],
                "bucket": [bucket] * (days + 1),
                "role": [economy.roles[bucket]] * (days + 1),
                "vested_gwei": vested_path(schedule, first, days),
            },
            schema_overrides={"day": pl.Int64},
        )
        for bucket, schedule in economy.schedules.items()
    ]
    return pl.concat(frames)


def write_side_files(directory: Path, scenario: Scenario) -> None:
    """Write the resolved scenario, the list of parameters, and what every run draws of the uncertain ones."""
    from dataclasses import asdict

    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 120
    with (directory / RESOLVED).open("w", encoding="utf-8") as file:
        yaml.dump(scenario.resolved(relative_to=directory.resolve()), file)
    rows = [asdict(row) for row in parameter_rows(scenario)]
    (directory / PARAMETERS).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    drawn = drawn_frame(scenario, range(scenario.runs.count))
    write_parquet(drawn, directory / PRIORS, {})


def _below(plain: Any, path: str) -> Any:
    """Return the node of a resolved scenario at a dotted path; keys may hold dots themselves."""
    if not path:
        return plain
    if isinstance(plain, list):
        index, _, rest = path.partition(".")
        return _below(plain[int(index)], rest)
    fitting = [key for key in plain if path == str(key) or path.startswith(f"{key}.")]
    key = max(fitting, key=lambda name: len(str(name)))
    return _below(plain[key], path[len(str(key)) + 1 :])


def _value_text(node: Any) -> str:
    if not isinstance(node, dict):
        return str(node)
    if "prior" in node:
        kind, numbers = next(iter(node["prior"].items()))
        return f"{kind}({', '.join(str(number) for number in numbers)})"
    if "at" in node:
        return "; ".join(f"{day}: {_compact(value)}" for day, value in node["at"].items())
    return _compact(node.get("value", ""))


def _compact(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {part}" for name, part in value.items())
    return str(value)


def _range_text(node: Any) -> str:
    if not isinstance(node, dict) or "range" not in node:
        return ""
    low, high = node["range"]
    return f"{low} to {high}"


def _source_text(scenario: Scenario, parameter: Parameter[Any]) -> str:
    known = scenario.sources.get(parameter.source)
    return known.text if known else parameter.source


def _place(parameter: Parameter[Any]) -> str:
    place = parameter.place
    return f"{_shown(Path(place.file))}:{place.line}:{place.column}" if place.line else place.file


def _shown(path: Path) -> str:
    """Return a path relative to the working directory where it lies below it, else its name alone."""
    try:
        return path.resolve().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return path.name
