"""Report: a comparison of serving policies as HTML, Markdown, a table for a terminal and one JSON object.

Rule decided here: every figure stands with its interval over runs and the class of its weakest input; what the profile
measured, and for which model the fees are, is said before any number is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sim.experiment.describe import parameter_rows, read_profile
from sim.experiment.statistics import Spread, spread
from sim.fleet import stated_errors
from sim.policies import figures
from sim.policies.compare import WINDOW_DAYS, WORDS, Comparison, with_policy
from sim.policies.measures import FIGURES
from sim.report.accuracy import Errors, error_of
from sim.report.blocks import Block, Code, Heading, Paragraph, Picture, Table
from sim.report.evidence import evidence_of
from sim.report.style import Note
from sim.report.text import ABOUT_ZERO, DASH, interval, number
from sim.report.verdict import profile_warnings
from sim.results.manifest import PricedFor

if TYPE_CHECKING:
    from rich.table import Table as ScreenTable

    from sim.results.manifest import ProfileFacts
    from sim.results.reader import ParameterRow

CLAIM = (
    "Published for OpenLoRA, without GPU, model or load: more than 1,000 models per GPU, 90 % cheaper than a GPU "
    "per model."
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a comparison rests on: the machines' profiles, the scenario's parameters, each policy's surface error."""

    profiles: tuple[ProfileFacts, ...]
    parameters: tuple[ParameterRow, ...]
    errors: Mapping[str, Errors]

    @classmethod
    def of(cls, found: Comparison) -> Facts:
        """Read the profiles of a comparison's fleet and measure its response surfaces."""
        scenario = found.scenario
        return cls(
            tuple(read_profile(part.profile) for part in scenario.serving.fleet),
            tuple(parameter_rows(scenario)),
            {policy: stated_errors(with_policy(scenario, policy)) for policy in found.policies},
        )

    def evidence(self, columns: Sequence[str]) -> str:
        """Return the class of the weakest input of some observables."""
        return evidence_of(self.parameters, columns)

    def off(self, columns: Sequence[str]) -> str:
        """Return by how much the policies' response surfaces are off in some observables, the worst policy's."""
        told = [error_of(errors, columns) for errors in self.errors.values()]
        known = [error for error in told if error is not None]
        if not known:
            return DASH
        return " / ".join(number(max(part), "share") for part in zip(*known, strict=True))


def title(found: Comparison) -> str:
    """Return the report's title."""
    return f"Serving policies: {found.scenario.name}"


def verdict(found: Comparison) -> str:
    """Return the first paragraph: what sharing saves, what each policy costs, what operators earn."""
    parts = [_saving_text(found)] if found.saving.size else []
    fee = found.outcome(found.reference, "fee").at
    paid = f"; users pay {number(fee.p50)}" if fee.known else ""
    parts.append(f"USD per 1M tokens on the fewest machines: {_list(found, 'cost_needed')}{paid}.")
    parts.append(f"Operators' profit in USD a day: {_list(found, 'profit')}.")
    days = min(WINDOW_DAYS, found.size.days + 1)
    return " ".join(
        [*parts, f"Last {days} days of {found.size.days}, {found.size.runs} paired runs, 5 to 95 %."]
    )


def _list(found: Comparison, key: str) -> str:
    """Return a figure of every policy with its interval."""
    return ", ".join(f"{policy} {cell(found.outcome(policy, key).at)}" for policy in found.policies)


def _saving_text(found: Comparison) -> str:
    saved, shared = spread(found.saving), spread(found.sharing)
    if not saved.known:
        return "Nothing was asked for in these days, so that nothing can be said of what sharing saves."
    return (
        f"To serve all demand, sharing machines among adapters ({found.reference}) costs {number(saved.p50, 'share')} "
        f"less than a machine per model ({interval(saved.p05, saved.p95, 'share')}): one shared machine stands for "
        f"{number(shared.p50)} of their own ({interval(shared.p05, shared.p95)})."
    )


def warnings(found: Comparison, facts: Facts) -> list[str]:
    """Return what makes the numbers mean less than they seem to."""
    priced = found.scenario.fees.priced_for
    about = PricedFor(model=priced.model, params=priced.parameters)
    told = [text for profile in facts.profiles for text in profile_warnings(profile, about)]
    return list(dict.fromkeys([*found.scenario.notes, *told]))


def blocks(found: Comparison, facts: Facts, command: str) -> list[Block]:
    """Return the report.

    Parameters
    ----------
    found, facts
        The comparison and what it rests on.
    command
        The command that gives it again.
    """
    return [
        Paragraph(verdict(found), "verdict"),
        *(Paragraph(text, "warning") for text in warnings(found, facts)),
        Heading("Policies"),
        Table(("policy", "what it does"), tuple((name, WORDS[name]) for name in found.policies)),
        Paragraph(CLAIM),
        Heading("Figures"),
        _values(found, facts),
        *([_differences(found)] if len(found.policies) > 1 else []),
        Heading("Cost and machines"),
        _picture("policy-costs", figures.costs, found, facts, ("serving_cost_usd_per_1m", "replicas_needed"),
                 "Cost per million tokens and machines by policy: in operation, and the fewest for all demand."),
        Heading("Latency"),
        _picture("policy-times", figures.times, found, facts, ("latency_p99_s", "ttft_p99_s"),
                 "Time to first token and latency of requests by policy, 5 to 95 % of the runs."),
        Heading("Money"),
        _picture("policy-profit", figures.profit, found, facts, ("operator_profit_usd", "fee_gross_usd"),
                 "What operators earn after the cost of their machines, and what the network takes, by policy."),
        *_machines(found, facts),
        Heading("How to read this"),
        *(Paragraph(text) for text in READING),
        Heading("Reproduce"),
        Code(command),
    ]  # fmt: skip


READING = (
    "All policies see the same users, prices and luck; differences are taken run by run. Users respond: where latency "
    "rises or demand is refused, fewer use the service, so that revenue differs too.",
    "Under dedicated every model on offer is hosted, whether or not it pays: each needs a machine of its own and "
    "popular ones several. Under the other policies operators enter and leave by their margin.",
    "Machines needed are the fewest that serve the busiest day within the scenario's bound on time to first token; "
    "resident may split its adapters over them. A machine is what the profile measured, used or idle at full price.",
)


def _picture(
    name: str, make: Any, found: Comparison, facts: Facts, columns: Sequence[str], caption: str
) -> Picture:
    return Picture(name, make(found, Note(found.size.runs, facts.evidence(columns))), caption)


def _values(found: Comparison, facts: Facts) -> Table:
    rows = tuple(
        (
            _label(figure.label, figure.unit),
            *(cell(found.outcome(policy, figure.key).at, figure.unit) for policy in found.policies),
            facts.evidence(figure.columns),
            facts.off(figure.columns),
        )
        for figure in FIGURES
    )
    told = (
        f"{profile.id} ({'measured' if profile.measured else 'not measured'} {profile.created[:10]})"
        for profile in facts.profiles
    )
    profiles = ", ".join(dict.fromkeys(told))
    caption = (
        f"Median over {found.size.runs} runs (5 to 95 %) of the last {WINDOW_DAYS} days; class of the weakest input; "
        f"error of the response surface where one was read, median / worst. Serving rests on {profiles}"
    )
    return Table(("figure", *found.policies, "class", "surface error"), rows, caption)


def _differences(found: Comparison) -> Table:
    others = [policy for policy in found.policies if policy != found.reference]
    rows = tuple(
        (
            _label(figure.label, "percentage points" if figure.unit == "share" else figure.unit),
            *(
                cell(found.outcome(policy, figure.key).difference, figure.unit, difference=True)
                for policy in others
            ),
        )
        for figure in FIGURES
    )
    return Table(
        ("figure", *others), rows, f"Difference to {found.reference}, run by run: median (5 to 95 %)"
    )


def _label(label: str, unit: str) -> str:
    return label if unit == "share" or unit in label.split() else f"{label}, {unit}"


def cell(at: Spread | None, unit: str = "", *, difference: bool = False) -> str:
    """Return a median with its interval, which is left out where all runs agree to three digits.

    Examples
    --------
    >>> cell(Spread(1.0, 1.5, 2.0, 9)), cell(Spread(0.02, 0.03, 0.04, 9), "share", difference=True)
    ('1.50 (1.00 to 2.00)', '+3.00 (2.00 to 4.00)')
    """
    if at is None or not at.known:
        return DASH
    between = interval(at.p05, at.p95, unit)
    if between == ABOUT_ZERO:
        return between
    middle = number(at.p50, unit)
    if difference:
        middle, between = middle.removesuffix(" %"), between.removesuffix(" %")
        middle = f"+{middle}" if at.p50 > 0 else middle
    return middle if between.startswith("same") else f"{middle} ({between})"


def _machines(found: Comparison, facts: Facts) -> list[Block]:
    rows = tuple(
        (
            profile.id, "yes" if profile.measured else "no", profile.created[:10], profile.device, profile.model,
            number(float(profile.model_params)), str(part.count), number(float(part.price.value)), part.price.evidence,
        )
        for profile, part in zip(facts.profiles, found.scenario.serving.fleet, strict=True)
    )  # fmt: skip
    columns = (
        "profile",
        "measured",
        "on",
        "device",
        "model",
        "parameters",
        "at the start",
        "USD/hour",
        "price's class",
    )
    routed = (
        "to all kinds as their capacity is"
        if found.scenario.serving.routing == "capacity"
        else "to the cheapest first"
    )
    return [Heading("Machines"), Table(columns, rows, f"Requests go {routed}")]


def screen_tables(found: Comparison, facts: Facts) -> list[ScreenTable]:
    """Return figures and differences as tables for a terminal: median and 5 to 95 % of each policy."""
    return [_grid(_values(found, facts)), *([_grid(_differences(found))] if len(found.policies) > 1 else [])]


def _grid(table: Table) -> ScreenTable:
    from rich.table import Table as Grid

    grid = Grid(title=table.caption, title_justify="left")
    for index, name in enumerate(table.columns):
        text = index == 0 or name == "class"
        grid.add_column(name, justify="left" if text else "right", overflow="fold")
    for row in table.rows:
        grid.add_row(*row)
    return grid


def as_json(found: Comparison, facts: Facts, command: str) -> dict[str, Any]:
    """Return the comparison as plain data; a number that does not exist is null."""
    return {
        "schema": 1,
        "scenario": found.scenario.name,
        "command": command,
        "runs": found.size.runs,
        "agents": found.size.agents,
        "days": found.size.days,
        "window_days": min(WINDOW_DAYS, found.size.days + 1),
        "seed": int(found.scenario.runs.seed),
        "reference": found.reference,
        "routing": found.scenario.serving.routing,
        "verdict": verdict(found),
        "warnings": warnings(found, facts),
        "saving_over_dedicated": _spread_json(spread(found.saving)) if found.saving.size else None,
        "machines_per_shared_machine": _spread_json(spread(found.sharing)) if found.sharing.size else None,
        "machines": [
            {
                **profile.model_dump(mode="json"),
                "count": part.count,
                "usd_per_hour": float(part.price.value),
                "price_class": part.price.evidence,
            }
            for profile, part in zip(facts.profiles, found.scenario.serving.fleet, strict=True)
        ],
        "policies": [
            {"policy": policy, "does": WORDS[policy], "figures": _figures_json(found, facts, policy)}
            for policy in found.policies
        ],
    }


def _figures_json(found: Comparison, facts: Facts, policy: str) -> list[dict[str, Any]]:
    rows = []
    for figure in FIGURES:
        outcome = found.outcome(policy, figure.key)
        rows.append(
            {
                "key": figure.key,
                "label": figure.label,
                "unit": figure.unit,
                "class": facts.evidence(figure.columns),
                "surface_error": _error_json(error_of(facts.errors[policy], figure.columns)),
                **_spread_json(outcome.at),
                "difference": None if outcome.difference is None else _spread_json(outcome.difference),
            }
        )
    return rows


def _error_json(error: tuple[float, float] | None) -> dict[str, float] | None:
    return None if error is None else {"median": error[0], "max": error[1]}


def _spread_json(at: Spread) -> dict[str, Any]:
    found = {name: getattr(at, name) for name in ("p05", "p50", "p95")}
    return {**{name: value if math.isfinite(value) else None for name, value in found.items()}, "n": at.n}
