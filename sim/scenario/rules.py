"""What the protocol does: emission, fees, attribution, staking, governance, bridge, gas, grants.

Rule decided here: the shape and units of every rule that a vote or the chain fixes. The bridge window and
gas are rules that no vote changes.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from sim.scenario.fields import (
    AmountP,
    CountP,
    DurationP,
    FileValue,
    GasP,
    GasPriceP,
    ListOf,
    MaybeAmount,
    MonthlyShareP,
    PlatformP,
    PositiveP,
    RateP,
    Section,
    ShareP,
    SplitP,
    Text,
    UsdMonthP,
    UsdP,
    choice,
    whole,
)
from sim.scenario.forms import Mistake
from sim.scenario.leaves import Plain, refuse


class MonthlyBudgets(Section):
    """Tokens per calendar month that each programme may spend from the community pool."""

    contributors: AmountP
    builders: AmountP
    stakers: AmountP
    operators: AmountP


class Emission(Section):
    """How the community pool is spent; what is not spent stays in it.

    Parameters
    ----------
    initial_holders
        Tokens in the hands of holders on the start day.
    airdrops
        Amounts by date; each date is one payment, not a rate from then on.
    monthly
        Budgets of the programmes.
    """

    initial_holders: AmountP
    airdrops: MaybeAmount = None
    monthly: MonthlyBudgets


class Access(Section):
    """Monthly access to paid models: share of models that charge, and the price."""

    paid_models: ShareP
    price: UsdMonthP


class PricedFor(Section):
    """The model that the rates are meant for; a report warns where the measured profile serves another.

    Parameters
    ----------
    model
        Class of model, such as ``8B dense``.
    parameters
        Its weights.
    """

    model: Text
    parameters: Annotated[int, whole(1, 10**14)]


class Fees(Section):
    """What a request pays and who gets it.

    Parameters
    ----------
    quoted_in
        USD: ledger rates follow yesterday's close; OPEN: rates are fixed.
    input, output
        Rates per million tokens.
    access
        Paid models.
    platform
        The platform's part of a fee, a share or a flat amount.
    split
        Exact weights of the net fee.
    burn
        Share of the net fee that is burned.
    priced_for
        The model that the rates are meant for.
    """

    quoted_in: Annotated[str, choice("USD", "OPEN")] = "USD"
    input: RateP
    output: RateP
    access: Access
    platform: PlatformP
    split: SplitP
    burn: ShareP
    priced_for: PricedFor

    @model_validator(mode="after")
    def _one_currency(self) -> Fees:
        mistakes = []
        for name in ("input", "output"):
            rate = getattr(self, name)
            in_usd = rate.unit.startswith("USD")
            if in_usd != (self.quoted_in == "USD"):
                message = f"unit '{rate.unit}' does not go with quoted_in: {self.quoted_in}"
                mistakes.append(Mistake(message, below=name))
        if mistakes:
            raise refuse(mistakes)
        return self


class OperatorPay(Section):
    """Pay per served token and the pots that it comes from, in their order."""

    rate: RateP
    from_: Annotated[tuple[str, ...], ListOf(choice("platform", "emission.operators"))] = Field(alias="from")


class MinClaim(Section):
    """A payout is claimed when it is worth this many times the gas of the claim."""

    times_gas: PositiveP


class Slash(Section):
    """Part of a stake lost for a proven duplicate, and who gets it; nobody challenged what an audit found."""

    duplicate: ShareP
    to: Annotated[str, choice("treasury", "burn", "challenger")]


class Dispute(Section):
    """Disputes about copies that no audit found: owners who open one in a month, bond, days to decide."""

    rate: MonthlyShareP
    bond: AmountP
    window: DurationP


class Attribution(Section):
    """How the contributors' part is divided.

    Parameters
    ----------
    policy
        Versioned order of summing and clipping.
    influence
        File of influence shares by adapter and class of query.
    detection
        Chance that a monthly audit finds a copied contribution.
    noise_floor
        Part of the mean honest score that is subtracted from every score.
    min_claim, slash, dispute
        Rules of payout, penalty and appeal.
    """

    policy: Annotated[str, choice("cluster_sum_clip.v1")]
    influence: FileValue
    detection: ShareP
    noise_floor: ShareP
    min_claim: MinClaim
    slash: Slash
    dispute: Dispute


def _never(text: str) -> bool:
    if text != "false":
        raise ValueError(f"'{text}' is not possible: staked tokens cannot be wrapped; allowed false")
    return False


class Locks(Section):
    """Unbonding delay of each lock class."""

    flexible: DurationP
    long: DurationP


class Staking(Section):
    """Lock classes and rewards. Staked tokens cannot be wrapped: the flow table has no such move.

    Parameters
    ----------
    locks
        Unbonding delay of each lock class.
    long_share
        Part of new stake that goes into the long lock.
    payout_over
        Days over which what is in the reward pot is paid out.
    """

    locks: Locks
    long_share: ShareP
    payout_over: DurationP
    wrap_while_staked: Annotated[bool, Plain(_never, {"const": False}, "false")] = False


class FastExit(Section):
    """A liquidity provider's quick exit: share of exits, its fee, its first L1 inventory."""

    share: ShareP
    fee: ShareP
    inventory: AmountP


class Bridge(Section):
    """Delays of the bridge and the quick exit."""

    window: DurationP
    output_every: DurationP
    user_delay: DurationP
    fast_exit: FastExit


class GasActions(Section):
    """L2 gas of each action that an agent pays for."""

    transfer: GasP
    top_up: GasP
    claim: GasP
    stake: GasP
    unstake: GasP
    wrap: GasP
    unwrap: GasP
    delegate: GasP
    propose: GasP
    vote: GasP
    queue: GasP
    execute: GasP
    withdraw: GasP


class L1Costs(Section):
    """USD costs of the L1 legs of the bridge."""

    deposit: UsdP
    exit: UsdP


class Gas(Section):
    """Gas table and prices.

    Parameters
    ----------
    price
        Ledger units (gwei of OPEN) per unit of L2 gas; a fee is floored once.
    data_cost_share
        Part of the fee that is the sequencer's data cost; the rest goes to the treasury.
    actions
        Gas of each action.
    l1
        USD costs on L1.
    """

    price: GasPriceP
    data_cost_share: ShareP
    actions: GasActions
    l1: L1Costs


class Brings(Section):
    """New agents that a full month's grants attract."""

    contributors: PositiveP
    builders: PositiveP


class Grants(Section):
    """Grants from the ecosystem pool.

    Parameters
    ----------
    monthly
        Budget per month.
    public_goods
        Part for public goods.
    tranches
        Payments of a grant, the first on award.
    milestone
        Chance that a grantee reaches the milestone of its next tranche in a month; else the grant ends.
    brings
        Agents that a full month's grants attract.
    """

    monthly: AmountP
    public_goods: ShareP
    tranches: CountP
    milestone: ShareP
    brings: Brings
