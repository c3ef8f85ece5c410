"""Executor: turns the steps of a replay into transactions on the two chains.

Rule decided here: which contract or transfer carries out each action, and that a contract's own computation
(what a vesting contract releases, what a claim pays) has to equal the ledger's amount at once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sim.chain.abi import Reverted
from sim.chain.addresses import hex_address
from sim.chain.backend import ChainError, Receipt
from sim.chain.bridge import BridgeError
from sim.chain.journal import ReconciliationError, home
from sim.chain.moves import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sim.chain.accounts import AccountBook
    from sim.chain.bridge import Bridge
    from sim.chain.claims import ClaimBook
    from sim.chain.clock import SandboxClock
    from sim.chain.deployment import Deployment
    from sim.chain.plan import Step
    from sim.chain.settlements import Settler


@dataclass(slots=True)
class Spent:
    """Gas and number of transactions that an account sent."""

    gas_used: int = 0
    transactions: int = 0


class Executor:
    """Executes steps and keeps count of gas by sender.

    Parameters
    ----------
    deployment, bridge, book, claims, settler, clock
        The parts of one witness run.
    """

    def __init__(
        self,
        deployment: Deployment,
        bridge: Bridge,
        book: AccountBook,
        claims: ClaimBook,
        settler: Settler,
        clock: SandboxClock,
    ) -> None:
        self._d, self._bridge, self._book, self._claims, self._clock = deployment, bridge, book, claims, clock
        self._settler = settler
        self._unit = deployment.spec.unit_wei
        self._withdrawals: dict[int, int] = {}
        self._unproven: dict[int, str] = {}
        self.spent: defaultdict[str, Spent] = defaultdict(Spent)
        self._run: Mapping[Action, Callable[[Step], Receipt | Sequence[Receipt]]] = {
            Action.TRANSFER_L1: self._transfer_l1,
            Action.TRANSFER_L2: self._transfer_l2,
            Action.FUND: self._transfer_l2,
            Action.BURN: self._burn,
            Action.WRAP: self._wrap,
            Action.UNWRAP: self._unwrap,
            Action.DEPOSIT: self._deposit,
            Action.CREDIT: self._credited,
            Action.WITHDRAW: self._withdraw,
            Action.PAY_OUT: self._pay_out,
            Action.SETTLE: self._split_fees,
        }

    def begin_day(self, day: int) -> None:
        """Go to a day; withdrawals are proved on the way, in the second in which an output covers them."""
        hour = self._clock.journal_hour(day)
        for number in list(self._unproven):
            provable_at = self._bridge.provable_at(number)
            if provable_at <= max(hour, self._clock.now):
                self._clock.go(provable_at)
                self._prove(number, day)
        self._clock.move_to(day, hour)

    def _prove(self, number: int, day: int) -> None:
        account = self._unproven.pop(number)
        try:
            self._count(account, self._bridge.prove(number))
        except (Reverted, BridgeError) as error:
            raise ReconciliationError(account, day, f"proof of withdrawal {number}: {error}") from error

    def execute(self, steps: Sequence[Step], earned: Mapping[str, int]) -> None:
        """Execute the steps of one day in order; all claims are made when the first one is due.

        Raises
        ------
        ReconciliationError
            If the chain refuses a step or a contract computes another amount, with account and day.
        """
        released = self._release(steps)
        claims = [step for step in steps if step.action is Action.CLAIM]
        for step in steps:
            try:
                if step.action is Action.RELEASE:
                    self._pass_on(step, released)
                elif step.action is Action.CLAIM:
                    self._settle(claims, earned)
                    claims = []
                else:
                    self._count(step.source, self._run[step.action](step))
            except (Reverted, ChainError, BridgeError) as error:
                raise ReconciliationError(
                    step.source, step.day, f"{step.flow} to {step.target}: {error}"
                ) from error

    def _settle(self, steps: Sequence[Step], earned: Mapping[str, int]) -> None:
        """Post a root and make the claims of a day."""
        claims: defaultdict[str, int] = defaultdict(int)
        for step in steps:
            claims[step.target] += step.amount
        if claims:
            self._post(claims, earned)
        for account, amount in claims.items():
            try:
                paid, receipt = self._claims.claim(account)
            except (Reverted, LookupError) as error:
                raise ReconciliationError(
                    account, steps[0].day, f"claim of {amount} gwei: {error}"
                ) from error
            self._count(account, receipt)
            if paid != amount * self._unit:
                message = f"the distributor pays {paid} wei; the ledger says {amount * self._unit} wei"
                raise ReconciliationError(account, steps[0].day, message)

    def post_epoch(self, earned: Mapping[str, int], log_root: bytes, log_size: int) -> None:
        """Post what waits at the distributor's poster, with no claims at once."""
        self._post({}, earned, log_root, log_size)

    def _post(
        self,
        claims: Mapping[str, int],
        earned: Mapping[str, int],
        log_root: bytes = bytes(32),
        log_size: int = 0,
    ) -> None:
        receipt = self._claims.post(claims, earned, log_root, log_size)
        self._count("distributor", receipt or ())

    def _count(self, account: str, sent: Receipt | Sequence[Receipt]) -> None:
        spent = self.spent[account]
        for receipt in (sent,) if isinstance(sent, Receipt) else sent:
            spent.gas_used += receipt.gas_used
            spent.transactions += 1

    def _release(self, steps: Sequence[Step]) -> dict[str, str]:
        """Release every bucket of the day, compare with the ledger and return who was paid."""
        expected: defaultdict[str, int] = defaultdict(int)
        for step in steps:
            if step.action is Action.RELEASE:
                expected[step.source] += step.amount * self._unit
        payees = {}
        for account, wei in expected.items():
            bucket = account.removeprefix("vesting.")
            payees[account] = account
            if bucket in self._d.vesting:
                payees[account] = self._release_bucket(account, bucket, wei, steps[0].day)
        return payees

    def _release_bucket(self, account: str, bucket: str, expected_wei: int, day: int) -> str:
        client = self._d.vesting[bucket]
        due = client.releasable()
        if due:
            amount, receipt = client.release(self._book.address("keeper"))
            self._count(account, receipt)
            due = amount
        if due != expected_wei:
            raise ReconciliationError(
                account, day, f"the contract releases {due} wei; the ledger says {expected_wei} wei"
            )
        return next(b.beneficiary for b in self._d.spec.buckets if b.name == bucket)

    def _pass_on(self, step: Step, payees: Mapping[str, str]) -> None:
        """Hand a released amount from the beneficiary to its account."""
        payee = payees[step.source]
        if payee != step.target:
            receipt = self._d.token.transfer(
                self._book.address(payee), self._book.address(step.target), step.amount * self._unit
            )
            self._count(step.source, receipt)

    def _transfer_l1(self, step: Step) -> Receipt:
        return self._d.token.transfer(
            self._book.address(step.source), self._book.address(step.target), step.amount * self._unit
        )

    def _transfer_l2(self, step: Step) -> Receipt:
        target = self._book.address(step.target)
        receipt = self._d.l2.send(self._book.address(step.source), target, value=step.amount * self._unit)
        if receipt.status == 0:
            raise ChainError(f"{hex_address(target)} refuses coins")
        return receipt

    def _burn(self, step: Step) -> Receipt:
        return self._d.token.burn(self._book.address(step.source), step.amount * self._unit)

    def _wrap(self, step: Step) -> Receipt:
        return self._d.gopen.deposit(self._book.address(step.source), step.amount * self._unit)

    def _unwrap(self, step: Step) -> Receipt:
        return self._d.gopen.withdraw(self._book.address(step.source), step.amount * self._unit)

    def _deposit(self, step: Step) -> Sequence[Receipt]:
        payee = self._book.address(home(step.target, "l2"))
        return self._bridge.deposit(self._book.address(step.source), step.amount * self._unit, payee)[1]

    def _credited(self, step: Step) -> Sequence[Receipt]:
        """Send nothing: the bridge derives a deposit when its time has come."""
        return ()

    def _withdraw(self, step: Step) -> Receipt:
        payee = self._book.address(home(step.target, "l1"))
        number, receipt = self._bridge.initiate_withdrawal(
            self._book.address(step.source), step.amount * self._unit, payee
        )
        self._withdrawals[step.transit] = number
        self._unproven[number] = step.target
        return receipt

    def _split_fees(self, step: Step) -> Sequence[Receipt]:
        try:
            return self._settler.settle(step.bills)
        except Reverted as refused:
            account = self._settler.account_of(str(refused.arguments.get("payee", "")))
            raise ReconciliationError(account, step.day, f"the fee splitter refuses: {refused}") from refused

    def _pay_out(self, step: Step) -> Receipt:
        number = self._withdrawals.pop(step.transit)
        self._clock.move_to(step.day, self._bridge.payable_at(number))
        return self._bridge.finalise(number)
