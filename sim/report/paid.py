"""Paid: the section that says who is paid, and why.

Rule decided here: for each payee what came from fees and what from programmes, and for each flow the rule in
words with the values in force and the place where they are set. Amounts are the witness run's, whose flows are
kept, beside median and 5 to 95 % over all runs where the tables say them.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from sim.experiment.statistics import Spread, spread
from sim.report.blocks import Block, Heading, Paragraph, Table
from sim.report.payees import FEES, NAMES, OTHER, PROGRAMMES, Month, paid_month
from sim.report.text import DASH, GWEI_PER_TOKEN, grouped, interval, number
from sim.report.trace import executed_votes, in_force

if TYPE_CHECKING:
    from sim.results.reader import Run

_LINES = (
    ("users", "fees paid", FEES, "B1", "users"),
    ("operators", "fees: platform part", FEES, "B2", ""),
    ("treasury", "fees: platform part", FEES, "B2", ""),
    ("builders", "fees: model part", FEES, "B3", "builders"),
    ("stakers", "fees: stakers' part", FEES, "B4", "stakers"),
    ("contributors", "fees: contributors' part", FEES, "B5", "contributors"),
    ("burned", "fees: burn", FEES, "B6", ""),
    ("treasury", "from the contributors' part", FEES, "A1", ""),
    ("contributors", "programme", PROGRAMMES, "E2", ""),
    ("builders", "programme", PROGRAMMES, "E2", ""),
    ("stakers", "programme", PROGRAMMES, "E3", "programme.stakers"),
    ("operators", "programme", PROGRAMMES, "E4", ""),
    ("holders", "airdrop", PROGRAMMES, "E1", ""),
    ("contributors", "grants", OTHER, "R1", ""),
    ("builders", "grants", OTHER, "R1", ""),
    ("public_goods", "grants", OTHER, "R1", ""),
    ("sequencer", "gas: data cost", OTHER, "C2", ""),
    ("treasury", "gas: the rest", OTHER, "C2", ""),
    ("treasury", "slashed stake", OTHER, "A2", ""),
    ("burned", "slashed stake", OTHER, "A2", ""),
)
"""Payee, reason in words, reason, flow and the name of the sum over all runs."""
_ALWAYS = {"B1", "B2", "B3", "B4", "B5", "B6", "E2", "E3", "E4"}


class Rules:
    """The rule behind each payment in words, with the values in force on a date.

    Parameters
    ----------
    run
        A complete run.
    month
        What was paid.
    """

    def __init__(self, run: Run, month: Month) -> None:
        self._rows = {row.path: in_force(row, month.until) for row in run.parameters}
        self._weights = _weights(run, month.until)

    def text(self, payee: str, flow: str) -> str:
        """Return the rule of a payment."""
        weighted = {"B3": "model", "B4": "stakers", "B5": "contributors"}
        if flow in weighted:
            return self._part(weighted[flow])
        words = {
            ("users", "B1"): "{fees.input} in, {fees.output} out; {fees.access.price} for paid models",
            ("operators", "B2"): "out of {fees.platform} of the fee, what they claim first: {operator_pay.rate} served",
            ("treasury", "B2"): "what the operators' claim leaves of the platform part",
            ("burned", "B6"): "{fees.burn} of the net fee",
            ("treasury", "A1"): "what no contribution had positive influence on; taken off their part",
            ("contributors", "E2"): "{emission.monthly.contributors} a month, in proportion to what each earned",
            ("builders", "E2"): "{emission.monthly.builders} a month, in proportion to what each earned",
            ("stakers", "E3"): "{emission.monthly.stakers} a month into the staking pot, paid over "
            "{staking.payout_over}",
            ("operators", "E4"): "only what the platform part leaves unpaid, up to {emission.monthly.operators} "
            "a month",
            ("holders", "E1"): "{emission.airdrops}",
            ("sequencer", "C2"): "{gas.data_cost_share} of the gas that everybody pays",
            ("treasury", "C2"): "what the sequencer's part leaves of the gas",
        }.get((payee, flow), {"R1": "up to {grants.monthly} a month, in {grants.tranches} tranches",
                              "A2": "{attribution.slash.duplicate} of a copier's stake"}.get(flow, ""))  # fmt: skip
        return self._filled(words)

    def _filled(self, words: str) -> str:
        """Put values for the paths in braces, and the places behind the sentence."""
        paths = [part.partition("}")[0] for part in words.split("{")[1:]]
        for path in paths:
            row = self._rows.get(path)
            words = words.replace("{" + path + "}", grouped(row.value) if row else "an amount not given")
        places = "; ".join(self._place(path) for path in paths if path in self._rows)
        return f"{words} ({places})" if places else words

    def _place(self, path: str) -> str:
        place = self._rows[path].place
        return f"{path}, {place.rpartition(':')[0]}" if place else path

    def _part(self, name: str) -> str:
        whole = sum(self._weights.values())
        share = f"{self._weights[name]:g} of {whole:g} parts" if whole else "a part"
        row = self._rows.get("fees.split")
        where = f" ({self._place('fees.split')})" if row else ""
        how = ", divided by influence on the answers" if name == "contributors" else ""
        if row and f"{name} {self._weights[name]:g}" not in row.value:
            how += "; the weights were changed by a vote"
        return f"{share} of the net fee, the fee less the platform part{how}{where}"


def _weights(run: Run, when: date) -> dict[str, float]:
    """Return the weights in force in the witness run on a date."""
    import polars as pl

    names = ("model", "stakers", "contributors")
    row = run.metrics.filter((pl.col("date") == when) & (pl.col("run") == run.manifest.chain.witness_run))
    return {name: float(row[f"split_{name}_weight"].fill_null(0).sum()) for name in names}


def paid_blocks(run: Run, as_of: date) -> list[Block]:
    """Return who is paid, and why, in the last month that ended by a date."""
    blocks: list[Block] = [Heading("Who is paid, and why")]
    month = paid_month(run, as_of)
    if month is None:
        return [
            *blocks,
            Paragraph("No settlement month had ended by the reference date: nothing was paid out."),
        ]
    return [
        *blocks,
        Paragraph(_lead(run, month)),
        _payee_table(run, month),
        _rule_table(run, month),
        Paragraph(_notes(run, month)),
    ]


def _tokens(gwei: int) -> str:
    return number(gwei / GWEI_PER_TOKEN)


def _lead(run: Run, month: Month) -> str:
    users, usd = spread(month.over_runs["users"]), spread(month.users_usd)
    programmes = spread(month.over_runs["programmes"])
    text = (
        f"In the month to {month.until} users pay {number(users.p50)} OPEN in fees "
        f"({interval(users.p05, users.p95)}), worth {number(usd.p50)} USD ({interval(usd.p05, usd.p95)}); "
        f"programmes of the community pool add {number(programmes.p50)} OPEN "
        f"({interval(programmes.p05, programmes.p95)})."
    )
    if users.p50 > 0:
        text += f" For each token that users pay, {number(programmes.p50 / users.p50)} come from programmes."
    return text + f" Medians and 5 to 95 % of {run.manifest.runs} runs."


def _payee_table(run: Run, month: Month) -> Table:
    rows = []
    for payee, name in NAMES.items():
        parts = [month.gwei(payee, reason) for reason in (FEES, PROGRAMMES, OTHER)]
        if not any(parts) and payee in ("holders", "public_goods"):
            continue
        whole = sum(parts)
        share = number(parts[0] / whole, "share") if whole else DASH
        rows.append((name, *map(_tokens, parts), _tokens(whole), number(month.usd(payee)), share))
    sums = [month.gwei(reason=reason) for reason in (FEES, PROGRAMMES, OTHER)]
    share = number(sums[0] / sum(sums), "share") if sum(sums) else DASH
    rows.append(("together", *map(_tokens, sums), _tokens(sum(sums)), number(month.usd()), share))
    columns = (
        "payee", "from fees, OPEN", "from programmes, OPEN", "grants, gas, slashes, OPEN", "together, OPEN",
        "together, USD", "share from fees",
    )  # fmt: skip
    witness = run.manifest.chain.witness_run
    return Table(columns, tuple(rows), f"By payee: the month to {month.until}, run {witness}")


def _rule_table(run: Run, month: Month) -> Table:
    rules = Rules(run, month)
    rows: list[tuple[str, ...]] = []
    for payee, reason, kind, flow, over in _LINES:
        gwei = month.users_gwei if flow == "B1" else month.gwei(payee, kind, flow)
        if not gwei and flow not in _ALWAYS:
            continue
        usd = gwei * month.fee_price / GWEI_PER_TOKEN if flow == "B1" else month.usd(payee, kind, flow)
        name = "users pay" if flow == "B1" else NAMES[payee]
        rows.append(
            (
                name,
                f"{reason} ({flow})",
                _tokens(gwei),
                number(usd),
                _all_runs(month, over),
                rules.text(payee, flow),
            )
        )
        if flow == "B6":
            rows.append(_sum_row(month))
    columns = ("payee", "for (flow)", f"run {run.manifest.chain.witness_run}, OPEN", "USD",
               "all runs, OPEN (5 to 95 %)", "rule, with the values in force and their place")  # fmt: skip
    return Table(columns, tuple(rows), "By reason: what is paid, by which rule")


def _sum_row(month: Month) -> tuple[str, ...]:
    parts = month.gwei(reason=FEES)
    apart = month.users_gwei - parts
    equal = "equal to what users paid" if apart == 0 else "not what users paid"
    said = f"{equal}: difference {apart:,} gwei"
    users = spread(month.over_runs["users"])
    usd = number(month.usd(reason=FEES))
    return ("together", "parts of the fee", _tokens(parts), usd, _median_range(users), said)


def _all_runs(month: Month, name: str) -> str:
    return _median_range(spread(month.over_runs[name])) if name else DASH


def _median_range(over: Spread) -> str:
    return f"{number(over.p50)} ({interval(over.p05, over.p95)})" if over.known else DASH


def _notes(run: Run, month: Month) -> str:
    platform = spread(month.over_runs["platform"])
    witness = run.manifest.chain.witness_run
    votes = executed_votes(run, witness, (month.until - run.start).days)
    text = (
        f"Flows by payee are kept for run {witness} alone; a dash means that the tables of the other runs do not "
        f"divide further. Over all runs the platform part, operators' and treasury's together, is "
        f"{number(platform.p50)} OPEN ({interval(platform.p05, platform.p95)}). Fees are valued at the price of "
        f"their bills, all else at the month's mean close of {number(month.mean_price)} USD. Paid means booked: "
        "contributors and builders claim later, stakers are paid out of the pot. Contributors' and builders' "
        "programmes are one flow (E2), divided here by their budgets."
    )
    if votes:
        text += f" Votes of run {witness} had changed parameters by then: " + "; ".join(
            f"{vote.subject} (day {vote.day})" for vote in votes
        )
        text += ". Values above are the scenario's, the weights those in force."
    return text
