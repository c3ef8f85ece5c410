"""Money flows: the witness run's moves of one month, grouped for people, and the proof that they balance.

Rule decided here: which accounts stand together in the picture, and what balancing means: for each account,
held at the month's beginning + received - paid = held at its end, to the gwei.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

MARKET = ("M1", "M2", "M3")
MINT = "mint"
_PREFIXES = {
    "vesting.": "vesting (locked)",
    "pool.community": "community pool",
    "pool.ecosystem": "ecosystem pool",
    "treasury": "treasury",
    "transit_deposit.pool.community": "community pool",
    "transit_deposit.pool.ecosystem": "ecosystem pool",
    "transit_withdraw.treasury": "treasury",
    "transit_withdraw.fastbridge": "fast bridge",
    "fastbridge": "fast bridge",
    "market_maker": "market maker",
    "venue": "venue",
    "clearing": "fees in split",
    "distributor": "distributor (unclaimed)",
    "operators_pot": "operators' pot",
    "gas_vault": "gas vault",
    "staking_rewards": "staking pot",
    "burned": "burned",
    MINT: "mint",
}
_KINDS = {
    "wallet": "wallets",
    "prepaid": "prepaid credit",
    "stake": "staked",
    "unbonding": "staked",
    "bond": "bonds",
    "wrapped": "wrapped (GOPEN)",
    "transit_deposit": "wallets",
    "transit_withdraw": "wallets",
}


def group_of(label: str) -> str:
    """Return the words under which a journal label is shown.

    Examples
    --------
    >>> group_of("wallet.l2/users"), group_of("pool.community.l1"), group_of("stake/holders")
    ('wallets: users', 'community pool', 'staked')
    """
    account, _, owner = label.partition("/")
    if not owner:
        return next((words for prefix, words in _PREFIXES.items() if account.startswith(prefix)), account)
    kind = _KINDS.get(account.partition(".")[0], account)
    return f"wallets: {owner.replace('_', ' ')}" if kind == "wallets" else kind


@dataclass(frozen=True, slots=True)
class Month:
    """One month of the witness run.

    Parameters
    ----------
    end
        Its last day.
    links
        flow, source, target (journal labels), amount_gwei.
    balance
        account, opening_gwei, received_gwei, paid_gwei, closing_gwei, imbalance_gwei; one row per account
        that holds or moves anything.
    """

    end: int
    links: pl.DataFrame
    balance: pl.DataFrame

    @property
    def imbalance_gwei(self) -> int:
        """Sum of absolute imbalances over all accounts; 0 where every gwei is accounted for."""
        return int(self.balance["imbalance_gwei"].abs().sum())


def month_ends(flows: pl.DataFrame) -> list[int]:
    """Return the last days of the months that have flows, rising."""
    return sorted(flows["day"].unique().to_list())


def month(flows: pl.DataFrame, accounts: pl.DataFrame, end: int) -> Month:
    """Return the witness run's month that ends on a day.

    Parameters
    ----------
    flows
        day, flow, source, target, amount_gwei: totals of months, dated by their last day.
    accounts
        day, account, amount_gwei at month ends; before the first everything was 0.
    end
        One of `month_ends`.
    """
    import polars as pl

    own = flows.filter(pl.col("day") == end)
    earlier = [day for day in accounts["day"].unique().to_list() if day < end]
    sides = {
        "received_gwei": _sums(own, "target"),
        "paid_gwei": _sums(own, "source").filter(pl.col("account") != MINT),
        "closing_gwei": _held(accounts, end),
        "opening_gwei": _held(accounts, max(earlier, default=-1)),
    }
    balance = pl.concat([rows.select("account") for rows in sides.values()]).unique().sort("account")
    for name, rows in sides.items():
        balance = balance.join(rows.rename({"amount_gwei": name}), on="account", how="left")
    balance = balance.fill_null(0).with_columns(
        (
            pl.col("opening_gwei") + pl.col("received_gwei") - pl.col("paid_gwei") - pl.col("closing_gwei")
        ).alias("imbalance_gwei")
    )
    amounts = ("opening_gwei", "received_gwei", "paid_gwei", "closing_gwei", "imbalance_gwei")
    moved = balance.filter(pl.any_horizontal(pl.col(name) != 0 for name in amounts))
    links = own.select("flow", "source", "target", "amount_gwei").sort("flow", "source", "target")
    return Month(end, links, moved.select("account", *amounts))


def _sums(flows: pl.DataFrame, side: str) -> pl.DataFrame:
    import polars as pl

    return flows.group_by(pl.col(side).alias("account")).agg(pl.col("amount_gwei").sum())


def _held(accounts: pl.DataFrame, day: int) -> pl.DataFrame:
    import polars as pl

    return accounts.filter(pl.col("day") == day).select("account", "amount_gwei")


def grouped(links: pl.DataFrame, smallest: float = 0.005) -> pl.DataFrame:
    """Return moves between groups, without those inside a group; small groups of a side become "others".

    Parameters
    ----------
    links
        source, target, amount_gwei.
    smallest
        Share of all that moves below which a payer or payee joins the others of its side.

    Returns
    -------
    polars.DataFrame
        source, target, amount_gwei; the sum is that of the moves between groups.
    """
    import polars as pl

    named = links.with_columns(
        pl.col(side).map_elements(group_of, return_dtype=pl.String) for side in ("source", "target")
    ).filter((pl.col("source") != pl.col("target")) & (pl.col("amount_gwei") > 0))
    total = int(named["amount_gwei"].sum())
    for side in ("source", "target"):
        sums = named.group_by(side).agg(pl.col("amount_gwei").sum().alias("sum"))
        small = sums.filter(pl.col("sum") < smallest * total)[side].to_list()
        if len(small) > 1:
            words = pl.lit(f"others ({len(small)})")
            named = named.with_columns(
                pl.when(pl.col(side).is_in(small)).then(words).otherwise(pl.col(side)).alias(side)
            )
    return named.group_by("source", "target").agg(pl.col("amount_gwei").sum()).sort("source", "target")
