"""Opening: brings the chains to the balances of a run that starts after the token generation event.

Rule decided here: vesting contracts release what their schedules say up to the day before; what they paid is
then distributed as the opening table says, through the bridge for L2, so that escrow equals the coins on L2
from the first moment. Money between the chains cannot be opened, because no day of sending is known for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import InputError, Problem
from sim.chain.abi import Reverted
from sim.chain.addresses import address_of
from sim.chain.journal import Kind, ReconciliationError, kind_of, owner_wallet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sim.chain.accounts import AccountBook
    from sim.chain.clock import SandboxClock
    from sim.chain.deployment import Deployment

OPENING = "opening"
"""Label of the account through which the opening balances pass."""


def open_accounts(
    deployment: Deployment, book: AccountBook, clock: SandboxClock, balances: Mapping[str, int]
) -> None:
    """Bring both chains to opening balances.

    Parameters
    ----------
    deployment, book, clock
        Freshly deployed, before day 0.
    balances
        By account label, ledger units; they add up to the cap.

    Raises
    ------
    InputError
        If they do not add up, or an account between the chains is not empty.
    ReconciliationError
        If a bucket's schedule has released another amount than the table says.
    """
    unit = deployment.spec.unit_wei
    wei = {label: amount * unit for label, amount in balances.items() if amount}
    _check(wei, deployment.spec.cap_wei)
    clock.go(clock.day0_timestamp - 2)
    _release(deployment, book, wei)
    on_l2 = sum(amount for label, amount in wei.items() if kind_of(label) in _ON_L2)
    if on_l2:
        clock.bridge.deposit(address_of(OPENING), on_l2)
        clock.move_to(0, clock.now + clock.bridge.times.deposit_s)
    for label, amount in wei.items():
        _pay(deployment, book, label, amount)


_ON_L2 = frozenset({Kind.L2, Kind.BURNED_L2, Kind.DISTRIBUTOR, Kind.WRAPPED})


def _check(wei: Mapping[str, int], cap_wei: int) -> None:
    problems = [
        Problem(f"{amount} wei is between the chains; an opening table has none there", label)
        for label, amount in wei.items()
        if kind_of(label) in (Kind.DEPOSIT, Kind.WITHDRAWAL)
    ]
    if sum(wei.values()) != cap_wei:
        problems.append(
            Problem(f"opening balances are {sum(wei.values())} wei; expected the cap, {cap_wei} wei")
        )
    if problems:
        raise InputError(problems)


def _release(deployment: Deployment, book: AccountBook, wei: Mapping[str, int]) -> None:
    """Collect at the opening account everything that is not locked any more."""
    opening = address_of(OPENING)
    for bucket in deployment.spec.buckets:
        account = f"vesting.{bucket.name}"
        freed = bucket.allocation_wei - wei.get(account, 0)
        holder = book.address(account)
        if bucket.has_schedule:
            due = deployment.vesting[bucket.name].releasable()
            if due != freed:
                raise ReconciliationError(
                    account,
                    0,
                    f"the schedule has freed {due} wei before the start; the opening table says {freed} wei",
                )
            if due:
                deployment.vesting[bucket.name].release(opening)
            holder = book.address(bucket.beneficiary)
        if freed:
            deployment.token.transfer(holder, opening, freed)


def _pay(deployment: Deployment, book: AccountBook, label: str, amount: int) -> None:
    opening, kind = address_of(OPENING), kind_of(label)
    if kind is Kind.BURNED_L1:
        deployment.token.burn(opening, amount)
    elif kind is Kind.L1:
        deployment.token.transfer(opening, book.address(label), amount)
    elif kind in _ON_L2:
        receipt = deployment.l2.send(opening, book.address(label), value=amount)
        if receipt.status == 0:
            raise Reverted("", {}, receipt.output, f"opening payment to {label}")
        if kind is Kind.WRAPPED:
            deployment.gopen.deposit(book.address(owner_wallet(label)), amount)
