"""On chain: the proposal through the real governor and timelock, and what its execution changes.

Rule decided here: the parameters begin as they are on the day of the proposal, and one voter with all
the votes supports it. The rehearsal therefore shows what an execution does, never whether it passes:
that is the economic part's answer. Old and new values are read from the contract's event, not from what
was asked for.
"""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

from models.governance import ProposalState
from sim.scenario.governed import GOVERNED

if TYPE_CHECKING:
    from datetime import date

    from sim.chain.backend import Receipt
    from sim.chain.deployment import Deployment
    from sim.scenario.schema import Scenario

PASSED, WARNING, FAILED = "passed", "warning", "failed"
PROPOSER = "wallet.l2/preview/proposer"


def rehearse(scenario: Scenario) -> dict[str, Any]:
    """Execute the scenario's proposal on a fresh chain.

    Parameters
    ----------
    scenario
        A scenario with a proposal.

    Returns
    -------
    dict
        ``transactions``, ``state_changes``, ``events`` and ``checks``; without py-evm the lists are empty
        and the one check says so.
    """
    try:
        return _Rehearsal(scenario).run()
    except ModuleNotFoundError as error:
        text = f"not executed: {error.name} is not installed (the chain extra brings it)"
        check = {"check": "executed on the chain", "status": WARNING, "detail": text}
        return {"transactions": [], "state_changes": [], "events": [], "checks": [check]}


def values_in_force(scenario: Scenario, day: date) -> dict[str, tuple[int, ...]]:
    """Return the integers of every governed parameter that has begun by a day."""
    found = {}
    for path, governed in GOVERNED.items():
        try:
            value = scenario.parameter(path).on(day)
        except KeyError:
            continue
        if value is not None:
            found[path] = governed.encode(value)
    return found


class _Rehearsal:
    """One proposal on one fresh pair of chains."""

    def __init__(self, scenario: Scenario) -> None:
        from sim.chain.evm import L1_CHAIN_ID, L2_CHAIN_ID, Chain

        assert scenario.proposal is not None
        self.scenario, self.proposal = scenario, scenario.proposal
        self.noon = int(datetime.combine(self.proposal.submit, time(12), UTC).timestamp())
        self.values = values_in_force(scenario, self.proposal.submit)
        self.transactions: list[dict[str, Any]] = []
        self.checks: list[dict[str, str]] = []
        genesis = self.noon - 86_400
        self.l2 = Chain(chain_id=L2_CHAIN_ID, genesis_time=genesis)
        self.deployment = self._deploy(Chain(chain_id=L1_CHAIN_ID, genesis_time=genesis))

    def _deploy(self, l1: Any) -> Deployment:
        from sim.chain.deployment import BucketSpec, DeploymentSpec, GovernanceSpec, deploy_all

        names = ("delay", "period", "timelock", "quorum", "threshold")
        rules = {name: self.values[f"governance.{name}"][0] for name in names}
        governance = GovernanceSpec(
            threshold_wei=rules["threshold"] * 10**9, delay_s=rules["delay"], period_s=rules["period"],
            quorum_numerator=rules["quorum"], quorum_denominator=10_000, timelock_s=rules["timelock"],
        )  # fmt: skip
        cap = int(self.scenario.token.cap.value) * 10**9
        everything = BucketSpec("all", cap, cap, (), (), 1, "wallet.l1/preview")
        spec = DeploymentSpec(self.noon - 86_400, (everything,), governance, parameters=self.values)
        return deploy_all(l1, self.l2, spec)

    def run(self) -> dict[str, Any]:
        """Propose, vote, queue and execute; return what happened."""
        from sim.chain.actions import proposal_calls
        from sim.chain.addresses import address_of
        from sim.chain.clients.governor import Support

        governor, voter = self.deployment.governor, address_of(PROPOSER)
        calls = proposal_calls(
            self.deployment, [(action.path, action.encoded) for action in self.proposal.actions]
        )
        self._electorate(voter)
        self.l2.set_time(self.noon)
        number, receipt = governor.propose(voter, calls, self.proposal.title)
        self._note("propose", receipt)
        self.l2.set_time(governor.snapshot(number) + 1)
        self._note("vote", governor.cast_vote(voter, number, Support.FOR))
        self.l2.set_time(governor.deadline(number) + 1)
        self._note("queue", governor.queue(voter, calls, self.proposal.title))
        eta = governor.eta(number)
        self._refuses(
            "refused before the timelock has run out",
            eta - 1,
            lambda: governor.execute(voter, calls, self.proposal.title),
        )
        self.l2.set_time(eta)
        receipt = governor.execute(voter, calls, self.proposal.title)
        self._note("execute", receipt)
        state = governor.state(number)
        self._check(
            "executed by governor and timelock", state is ProposalState.EXECUTED, f"state {state.name}"
        )
        self._refuses(
            "executes only once", eta + 1, lambda: governor.execute(voter, calls, self.proposal.title)
        )
        return self._result(calls, receipt, eta)

    def _electorate(self, voter: bytes) -> None:
        """Give one voter all the GOPEN: at least the threshold, and so the whole supply at the snapshot."""
        amount = max(self.deployment.spec.governance.threshold_wei, 10**18)
        self.l2.mint_native(voter, amount)
        self._note("wrap", self.deployment.gopen.deposit(voter, amount))
        self._note("delegate", self.deployment.gopen.delegate(voter, voter))

    def _result(self, calls: tuple[Any, ...], receipt: Receipt, eta: int) -> dict[str, Any]:
        from sim.chain.actions import setting_in_force

        parameters = self.deployment.parameters
        changes = parameters.changes(receipt)
        asked = {action.path: action.encoded for action in self.proposal.actions}
        self._check(
            "sets what was asked for, and nothing else",
            {change.name: change.new for change in changes} == asked and len(changes) == len(asked),
            f"{len(changes)} of {len(asked)} values set",
        )
        for name in asked:
            self._check(
                f"{name} reads back", parameters.get(name) == asked[name], str(list(parameters.get(name)))
            )
        self._check("needs no coins", all(call.value_wei == 0 for call in calls), "value 0 in every call")
        rules = self.deployment.spec.governance
        least = rules.delay_s + rules.period_s + rules.timelock_s
        took = eta - self.noon
        self._check("takes delay, period and timelock", took >= least, f"{took} s; the rules take {least} s")
        for name, values in asked.items():
            setting = setting_in_force(self.deployment, name)
            if setting is not None:
                detail = f"{setting} in the governor or the timelock"
                self._check(f"{name} holds in the contract itself", (setting,) == values, detail)
        return {
            "transactions": self.transactions,
            "state_changes": [_change(change.name, change.old, change.new) for change in changes],
            "events": self._events(receipt),
            "checks": self.checks,
        }

    def _events(self, receipt: Receipt) -> list[dict[str, Any]]:
        clients = (self.deployment.parameters, self.deployment.governor, self.deployment.timelock)
        return [
            {"contract": client.artifact_name, "event": event.name, "arguments": _plain(event.arguments)}
            for client in clients
            for event in client.events(receipt)
        ]

    def _note(self, step: str, receipt: Receipt) -> None:
        told = {
            "step": step,
            "timestamp": receipt.timestamp,
            "status": receipt.status,
            "gas": receipt.gas_used,
        }
        if step == "propose":
            abi = self.deployment.parameters.abi
            data = [self.deployment.parameters.set_calldata(a.path, a.encoded) for a in self.proposal.actions]
            told["calls"] = [
                {
                    "target": "Parameters",
                    "calldata": f"0x{raw.hex()}",
                    "decoded": _decoded(abi.decode_call(raw)),
                }
                for raw in data
            ]
        self.transactions.append(told)

    def _refuses(self, name: str, timestamp: int, attempt: Any) -> None:
        """Check that a transaction at a time is refused; nothing of it stays."""
        from sim.chain.abi import Reverted

        before = self.l2.snapshot()
        if timestamp > self.l2.time:
            self.l2.set_time(timestamp)
        try:
            attempt()
            self._check(name, False, "it was executed")
        except Reverted as refusal:
            self._check(name, True, refusal.error or "reverted: the timelock says the operation is not ready")
        self.l2.revert(before)

    def _check(self, name: str, ok: bool, detail: str) -> None:
        self.checks.append({"check": name, "status": PASSED if ok else FAILED, "detail": detail})


def _change(name: str, old: tuple[int, ...], new: tuple[int, ...]) -> dict[str, Any]:
    """Return one change with its raw integers and a sentence."""
    governed = GOVERNED[name]
    parts = [
        f"{column} {before} -> {after} ({_percent(before, after)})"
        for column, before, after in zip(governed.columns, old or (0,) * len(new), new, strict=True)
        if before != after
    ]
    said = "; ".join(parts) or f"{name} stays as it is"
    return {
        "contract": "Parameters", "variable": name, "unit": governed.unit, "old": list(old), "new": list(new),
        "sentence": f"{said} [{governed.unit}]",
    }  # fmt: skip


def _percent(old: int, new: int) -> str:
    return f"{100 * (new - old) / old:+.1f} %" if old else "from 0"


def _decoded(call: tuple[str, dict[str, Any]]) -> str:
    name, arguments = call
    return f"{name}({', '.join(f'{key}={_plain(value)}' for key, value in arguments.items())})"


def _plain(value: Any) -> Any:
    """Return a decoded argument as JSON can hold it: bytes in hexadecimal, integers beyond 2^53 as text."""
    if isinstance(value, int) and abs(value) > 2**53:
        return str(value)
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
