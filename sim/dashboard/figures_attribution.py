"""Interactive figure of attribution: who would get how much of one answer's money by which method.

Rule decided here: a pure function from a node's answer to a plotly figure. The recorded method, which pays, has full
colour and an outline; the others stand beside it, pale. Contributors stand in their DataNets, the largest first; beyond
the largest few they are one bar.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from sim.dashboard.node_answers import Attribution
from sim.dashboard.plot import LINE, NEUTRAL, blank, from_zero, per_cent, transparent, unknown
from sim.report.style import SERIES

if TYPE_CHECKING:
    import plotly.graph_objects as go

METHODS = {
    "manifest": ("fixed shares of the manifest", NEUTRAL),
    "poa_llm": ("published span formula", SERIES[4]),
    "ef_base": ("influence (tier 1 without spans)", SERIES[2]),
    "ef_spans": ("influence and spans (tier 1)", SERIES[0]),
    "coalition_bank": ("coalition bank (tier 2)", SERIES[3]),
}
"""Key in the node's answer -> its words and its colour; others are shown by their key."""
Place = tuple[str, str]
Shares = Mapping[Place, float]
OTHERS: Place = ("others", "all others")
SHOWN = 16
"""Contributors with bars of their own."""
_NAME_MAX = 22


def words(method: str) -> str:
    """Return a method in words, its key where it has none."""
    return METHODS.get(method, (method, ""))[0]


def shares(found: Attribution, note: str) -> go.Figure:
    """Return grouped bars of the contributors' shares by every method at hand.

    Parameters
    ----------
    found
        The node's answer.
    note
        What the figure rests on; stands below the title.
    """
    import plotly.graph_objects as go

    title = "Contributors' shares by method"
    figure = blank(title, escape(note), x="DataNet and contributor", y="share of the contributors' part")
    by_method = {
        name: {one.place: one.share for one in parts} for name, parts in found.methods.items() if parts
    }
    if not by_method:
        return unknown(figure, "the node names no shares")
    places = _places(by_method, found.recorded)
    for number, (name, parts) in enumerate(by_method.items()):
        colour = METHODS.get(name, ("", SERIES[number % len(SERIES)]))[1]
        recorded = name == found.recorded
        figure.add_trace(
            go.Bar(
                x=[[_label(place[side]) for place in places] for side in (0, 1)],
                y=_heights(parts, places),
                name=_label(words(name), 60) + (": recorded, pays" if recorded else ""),
                marker={
                    "color": colour if recorded else transparent(colour, 0.5),
                    "line": {"color": LINE, "width": 1.5 if recorded else 0},
                },
                hovertemplate="%{y:.2%}",
            )
        )
    figure.update_layout(barmode="group", bargap=0.25, bargroupgap=0.05)
    return from_zero(per_cent(figure))


def _places(by_method: Mapping[str, Shares], recorded: str | None) -> list[Place]:
    """Return whose bars are drawn: DataNets and in them contributors, the largest first, and the rest as `OTHERS`."""
    most: dict[Place, float] = defaultdict(float)
    for parts in by_method.values():
        for place, share in parts.items():
            most[place] = max(most[place], share)
    paid = most if recorded is None else by_method.get(recorded, {})
    rank = {place: (-paid.get(place, 0.0), -most[place], place) for place in most}
    chosen = sorted(most, key=rank.__getitem__)[:SHOWN]
    of_net: dict[str, float] = defaultdict(float)
    for place in chosen:
        of_net[place[0]] -= paid.get(place, 0.0)
    drawn = sorted(chosen, key=lambda place: (of_net[place[0]], place[0], rank[place]))
    return drawn if len(most) <= SHOWN else [*drawn, OTHERS]


def _heights(parts: Shares, places: Sequence[Place]) -> list[float]:
    """Return the shares at some places; what stands nowhere else is the height of `OTHERS`."""
    rest = sum(share for place, share in parts.items() if place not in set(places))
    return [rest if place is OTHERS else parts.get(place, 0.0) for place in places]


def _label(text: str, most: int = _NAME_MAX) -> str:
    """Return a name as plotly shows it: shortened, and without a meaning as HTML."""
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return escape(short, quote=False)
