"""Journal and accounts of the witness run, as the chain sees them.

Rule decided here: what a ledger label means on the chains. Every account name lives on one chain; an agent
account's label carries the class and either ``*`` (all agents of the class that have no address of their own)
or an index. Coins inside GOPEN and money between the chains belong to the wallet with the same owner.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

L1_PLAIN = frozenset({"market_maker", "venue"})
TIMELOCK_LABEL = "treasury.l2"


class Kind(Enum):
    """What an account is on the chains."""

    L1 = "tokens of an address on L1"
    L2 = "native coins of an address on L2"
    VESTING = "a bucket on L1"
    BURNED_L1 = "supply destroyed on L1"
    BURNED_L2 = "coins sent to the dead address on L2"
    DISTRIBUTOR = "the distributor and what is on its way into it, L2"
    WRAPPED = "GOPEN of a wallet, L2"
    DEPOSIT = "escrowed on L1 and not yet credited on L2"
    WITHDRAWAL = "destroyed on L2 and not yet paid on L1"


_CHAIN = {
    Kind.L1: "l1", Kind.L2: "l2", Kind.VESTING: "l1", Kind.BURNED_L1: "l1", Kind.BURNED_L2: "l2",
    Kind.DISTRIBUTOR: "l2", Kind.WRAPPED: "l2", Kind.DEPOSIT: "escrow", Kind.WITHDRAWAL: "escrow",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One move of the ledger's journal.

    Parameters
    ----------
    day
        Day of the move, 0 at the start.
    flow
        Id of the permitted flow.
    source, target
        Account labels such as ``vesting.team``, ``wallet.l1/holders/*``, ``wallet.l2/users/17``,
        ``distributor``, ``transit_deposit/users/*``, ``transit_deposit.pool.community``,
        ``wrapped/delegates/3``, ``burned.l2``.
    amount_gwei
        Amount in ledger units, > 0.
    """

    day: int
    flow: str
    source: str
    target: str
    amount_gwei: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One line of the comparison after an epoch.

    Parameters
    ----------
    epoch, day
        Settlement epoch, and the day after which it was compared.
    account
        Account label, or one of the totals ``escrow``, ``open.supply``, ``gopen.supply``,
        ``distributor.claimed``.
    chain
        ``l1``, ``l2`` or ``escrow``.
    ledger_gwei, chain_wei, diff_wei
        What the ledger says, what the chain says, and chain minus ledger.
    gas_used, transactions
        What the account spent in the epoch as a sender.
    """

    epoch: int
    day: int
    account: str
    chain: str
    ledger_gwei: int
    chain_wei: int
    diff_wei: int
    gas_used: int
    transactions: int


class ReconciliationError(RuntimeError):
    """Ledger and chain disagree.

    Parameters
    ----------
    account
        Account label.
    day
        Day of the move or of the comparison.
    message
        What disagrees, with both values.
    """

    def __init__(self, account: str, day: int, message: str) -> None:
        self.account, self.day, self.message = account, day, message
        # the arguments as given: SimPy and pickle make the error anew from them
        super().__init__(account, day, message)

    def __str__(self) -> str:
        """Return day, account and what disagrees."""
        return f"day {self.day}, account {self.account}: {self.message}"


@lru_cache(maxsize=65_536)
def kind_of(label: str) -> Kind:
    """Return what an account label means on the chains."""
    name = label.partition("/")[0]
    special = {
        "burned.l1": Kind.BURNED_L1, "burned.l2": Kind.BURNED_L2, "distributor": Kind.DISTRIBUTOR,
        "wrapped": Kind.WRAPPED,
    }  # fmt: skip
    if name in special:
        return special[name]
    for prefix, kind in (
        ("vesting.", Kind.VESTING), ("transit_deposit", Kind.DEPOSIT), ("transit_withdraw", Kind.WITHDRAWAL)
    ):  # fmt: skip
        if name.startswith(prefix):
            return kind
    return Kind.L1 if name in L1_PLAIN or name.endswith(".l1") else Kind.L2


def chain_of(label: str) -> str:
    """Return ``l1``, ``l2`` or ``escrow``.

    Examples -------- >>> chain_of("wallet.l1/holders/*"), chain_of("prepaid/users/17"),
    chain_of("transit_deposit.pool.community") ('l1', 'l2', 'escrow')
    """
    return _CHAIN[kind_of(label)]


def owner_wallet(label: str) -> str:
    """Return the L2 wallet that holds the GOPEN of a ``wrapped`` label.

    Examples
    --------
    >>> owner_wallet("wrapped/delegates/3")
    'wallet.l2/delegates/3'
    """
    return f"wallet.l2/{label.partition('/')[2]}"


@lru_cache(maxsize=65_536)
def home(label: str, chain: str) -> str:
    """Return the account on `chain` (``l1`` or ``l2``) of the owner of money between the chains.

    Examples
    --------
    >>> home("transit_withdraw/users/17", "l1"), home("transit_withdraw.treasury", "l1")
    ('wallet.l1/users/17', 'treasury.l1')
    """
    name, _, agent = label.partition("/")
    if agent:
        return f"wallet.{chain}/{agent}"
    return f"{name.partition('.')[2]}.{chain}"
