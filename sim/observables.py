"""Observables: the columns of ``metrics.parquet``, their units and what they mean.

Rule decided here: the 28 standard outputs of professional token models, each as one column or more, beside the
accounts that the supply identities need. A column of a mechanism that is not built yet is null and listed as such
in the report. Columns ending in ``_gwei`` are int64, all others float64.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Observable:
    """One column.

    Parameters
    ----------
    name
        Column name; the unit is its ending.
    output
        Number among the 28 standard outputs, 0 for a column beside them.
    unit
        Unit for axes and tables.
    label
        Friendly name for people.
    monthly
        Whether it is computed on the last day of a settlement epoch only (null on other days).
    mechanism
        Empty, or why the column is null for now.
    """

    name: str
    output: int
    unit: str
    label: str
    monthly: bool = False
    mechanism: str = ""


_O = Observable

OBSERVABLES = (
    _O("total_supply_gwei", 1, "OPEN", "total supply (cap less burns)"),
    _O("unlocked_gwei", 2, "OPEN", "unlocked supply"),
    _O("locked_gwei", 2, "OPEN", "locked supply"),
    _O("circulating_gwei", 3, "OPEN", "circulating supply"),
    _O("circulating_tracker_gwei", 3, "OPEN", "circulating as trackers print it (unlocked less burned)"),
    _O("reserve_gwei", 3, "OPEN", "treasury, reward pools and inventories"),
    _O("burned_gwei", 1, "OPEN", "burned"),
    _O("float_gwei", 4, "OPEN", "float (free wallets)"),
    _O("unlock_flow_gwei", 5, "OPEN/day", "unlocked"),
    _O("unlock_share_of_float", 5, "share", "unlocked over the last 30 days, share of float"),
    _O("inflation_annualised", 6, "1/year", "growth of float over 30 days, annualised"),
    _O("price_usd", 7, "USD", "market price (volume-weighted, one clearing price a day)"),
    _O("market_cap_usd", 8, "USD", "market capitalisation"),
    _O("fdv_usd", 9, "USD", "fully diluted value"),
    _O("mc_over_fdv", 10, "share", "market cap over FDV"),
    _O("unlock_sell_over_volume", 11, "ratio", "sales of unlocked tokens over volume, 30 days"),
    _O("days_to_absorb", 11, "days", "days of volume that the month's unlock equals"),
    _O("sold_gwei", 11, "OPEN/day", "sold on the market"),
    _O("bought_gwei", 11, "OPEN/day", "bought on the market"),
    _O("volume_usd", 11, "USD/day", "traded volume"),
    _O("net_flow_usd", 12, "USD/day", "fees and buyback less sales"),
    _O("depth_2pct_usd", 13, "USD", "depth to -2 %"),
    _O("slippage_100k", 13, "share", "slippage of a 100,000 USD sale"),
    _O("drawdown", 14, "share", "drawdown from the peak"),
    _O("volatility_30d", 14, "1/year", "realised volatility, 30 days, annualised"),
    _O("velocity", 15, "1/year", "USD volume of utility use over average float value, annualised"),
    _O("utility_price_usd", 15, "USD", "price by the equation of exchange (PQ)"),
    _O("fee_gross_gwei", 16, "OPEN/day", "inference and access fees, gross"),
    _O("fee_net_gwei", 16, "OPEN/day", "fees net of the platform part"),
    _O("fee_gross_usd", 16, "USD/day", "inference and access fees, gross"),
    _O("real_yield", 17, "ratio", "fee revenue over emissions, 30 days"),
    _O("price_to_sales", 18, "ratio", "FDV over annual fees"),
    _O("staking_ratio", 19, "share", "staked over circulating"),
    _O("stakers_fee_gwei", 20, "OPEN/day", "stakers' part of fees"),
    _O("stakers_emission_gwei", 20, "OPEN/day", "stakers' programme"),
    _O("staking_apr_fee", 20, "1/year", "staking APR paid by fees, 30 days"),
    _O("staking_apr_emission", 20, "1/year", "staking APR paid by emission, 30 days"),
    _O("staking_apy", 20, "1/year", "staking APY, continuous compounding"),
    _O("contributor_income_median_usd", 21, "USD/month", "contributor income, median", monthly=True),
    _O("contributor_income_p90_usd", 21, "USD/month", "contributor income, 90th percentile", monthly=True),
    _O("contributor_income_zero_share", 21, "share", "contributors without income", monthly=True),
    _O("contributor_above_break_even", 21, "share", "contributors above break-even", monthly=True),
    _O("payout_gini", 22, "index", "Gini of contributors' payouts", monthly=True),
    _O("payout_hhi", 22, "index", "HHI of contributors' payouts", monthly=True),
    _O("payout_top1_share", 22, "share", "share of payouts to the top 1 %", monthly=True),
    _O("holder_gini", 23, "index", "Gini of holdings", monthly=True),
    _O("holder_hhi", 24, "index", "HHI of holdings", monthly=True),
    _O("nakamoto_holdings", 25, "holders", "Nakamoto coefficient of holdings", monthly=True),
    _O("nakamoto_votes", 25, "delegates", "Nakamoto coefficient of votes cast", monthly=True),
    _O("turnout_gopen", 26, "share", "turnout of GOPEN supply, last vote"),
    _O("turnout_delegated", 26, "share", "turnout of delegated GOPEN, last vote"),
    _O("turnout_circulating", 26, "share", "turnout of circulating supply, last vote"),
    _O("quorum_margin", 26, "ratio", "counted votes over quorum less 1, last vote"),
    _O("quorum_rate", 26, "share", "votes that reached quorum so far"),
    _O("pass_rate", 26, "share", "votes that passed so far"),
    _O("small_votes_share", 26, "share", "votes cast by small holders and contributors, last vote"),
    _O("cost_to_capture_usd", 26, "USD", "cost of the votes that reach quorum and win alone"),
    _O("gopen_supply_gwei", 26, "GOPEN", "GOPEN supply"),
    _O("gopen_delegated_gwei", 26, "GOPEN", "delegated GOPEN"),
    _O("treasury_gwei", 27, "OPEN", "treasury"),
    _O("pool_community_gwei", 27, "OPEN", "community pool"),
    _O("pool_ecosystem_gwei", 27, "OPEN", "ecosystem pool"),
    _O("staking_pot_gwei", 27, "OPEN", "staking rewards pot"),
    _O("treasury_runway_months", 27, "months", "treasury runway", monthly=True),
    _O("first_empty_months", 27, "months", "months until the first pot is empty", monthly=True),
    _O("node_tokens_per_s", 28, "tokens/s", "tokens served per second"),
    _O("latency_p50_s", 28, "s", "request latency, median"),
    _O("latency_p95_s", 28, "s", "request latency, 95th percentile"),
    _O("latency_p99_s", 28, "s", "request latency, 99th percentile"),
    _O("ttft_p50_s", 28, "s", "time to first token, median"),
    _O("ttft_p95_s", 28, "s", "time to first token, 95th percentile"),
    _O("ttft_p99_s", 28, "s", "time to first token, 99th percentile"),
    _O("cache_hit_rate", 28, "share", "adapter cache hits"),
    _O("utilisation", 28, "share", "fleet utilisation"),
    _O("refused_share", 28, "share", "demand refused for lack of capacity"),
    _O("serving_cost_usd_per_1m", 28, "USD/1M tokens", "serving cost"),
    _O("fee_usd_per_1m", 28, "USD/1M tokens", "fee paid for tokens"),
    _O("operator_margin", 28, "share", "operator margin over cost, 30 days"),
    _O("operator_profit_usd", 28, "USD/day", "operators' pay less the cost of their replicas"),
    _O("replicas", 28, "replicas", "serving replicas"),
    _O("replicas_needed", 28, "replicas", "fewest replicas that serve the day's demand within the latency bound"),
    _O(
        "attribution_overhead", 28, "share", "attribution overhead",
        mechanism="attribution in the serving path is not measured yet",
    ),
    _O("escrow_gwei", 28, "OPEN", "bridge escrow on L1"),
    _O("bridge_in_flight_gwei", 28, "OPEN", "between the chains"),
    _O("exit_days_mean", 28, "days", "mean time of the exits that arrived today"),
    _O("users_active", 0, "users", "active users"),
    _O("tokens_demanded", 0, "tokens/day", "tokens demanded"),
    _O("tokens_served", 0, "tokens/day", "tokens served"),
    _O("usage_topup_usd", 0, "USD/day", "users' purchases for prepaid credit"),
    _O("outside_inflow_usd", 0, "USD/day", "outside net inflow (traders)"),
    _O("holding_inflow_usd", 0, "USD/month", "outside inflow that would have held the price, 30 days"),
    _O("buyback_usd", 0, "USD/day", "buyback"),
    _O("unlock_sold_usd", 0, "USD/day", "sales of unlocked and emitted tokens"),
    _O("usage_cover", 0, "ratio", "fees and buyback over unlocks sold, 30 days"),
    _O("emission_gwei", 0, "OPEN/day", "paid by programmes"),
    _O("distributor_gwei", 0, "OPEN", "earned and not yet claimed"),
    _O("claimed_gwei", 0, "OPEN/day", "claimed"),
    _O("staked_gwei", 0, "OPEN", "staked"),
    _O("fees_platform_bps", 0, "bp", "platform part in force"),
    _O("split_model_weight", 0, "weight", "model's weight in force"),
    _O("split_stakers_weight", 0, "weight", "stakers' weight in force"),
    _O("split_contributors_weight", 0, "weight", "contributors' weight in force"),
    _O("quorum_bps", 0, "bp", "quorum in force"),
    _O("conservation_residual_gwei", 0, "gwei", "conservation residual"),
)  # fmt: skip

BY_NAME = {observable.name: observable for observable in OBSERVABLES}
"""Observables by column name."""
