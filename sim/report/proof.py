"""Proof: the section that says which contract calls stand behind the witness run.

Rule decided here: what the chains executed is told from the counts of calls in the manifest and the reconciled
accounts, beside what rests on formulas alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.report.blocks import Block, Heading, Paragraph, Table
from sim.report.text import DASH
from sim.results.manifest import IN_PROCESS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sim.results.manifest import CallFacts, ChainFacts
    from sim.results.reader import Run

PROVES = {
    "Released": "unlocks: the contract computes what is vested",
    "Settled": "fees: parts of the bills, checked against the formula of the day",
    "EpochPosted": "payout root and funds of a settlement epoch",
    "Claimed": "payouts to contributors and builders, by Merkle proof",
    "ProposalCreated": "proposals, with the proposer's votes checked",
    "VoteCast": "votes, with the weight at the snapshot",
    "ProposalQueued": "passed: the contract counts quorum and majority",
    "ProposalExecuted": "executed after the timelock",
    "CallExecuted": "actions of executed proposals",
    "CallScheduled": "actions waiting in the timelock",
    "ParameterSet": "parameters that a vote set",
    "Deposit": "OPEN wrapped into GOPEN",
    "Withdrawal": "GOPEN unwrapped",
    "DelegateChanged": "delegations",
    "Transfer (deposit at the bridge)": "deposits locked in escrow on L1",
    "Transfer (bridge pays a withdrawal)": "withdrawals paid out of escrow on L1",
    "TransactionDeposited": "deposits at the OP Stack's portal on L1",
    "deposit derived from L1": "deposits minted on L2",
    "MessagePassed": "withdrawals begun on L2",
    "OutputProposed": "output roots of L2 proposed on L1",
    "WithdrawalProven": "withdrawals proved by a storage proof against an output root",
    "WithdrawalFinalized": "withdrawals paid after the challenge window",
    "Transfer (burn)": "supply destroyed",
    "transfer": "pay, emission, stakes and grants on L2, at the ledger's amounts",
}
"""What a call is evidence of, for readers."""
_TOKEN = {"OPEN": "sales, purchases and other transfers on L1, at the ledger's amounts",
          "GOPEN": "votes lent to groups of voters and given back"}  # fmt: skip
_COINS = {"FeeSplitter": "fees out of prepaid credit", "Timelock": "payments into the treasury"}
_SET_UP = ("contract created", "Role")
TOTALS = {
    "escrow": "escrow", "open.supply": "OPEN supply", "gopen.supply": "GOPEN supply",
    "distributor.claimed": "claims paid",
}  # fmt: skip


def proof_blocks(run: Run) -> list[Block]:
    """Return what was executed on chain."""
    blocks: list[Block] = [Heading("Proved on chain")]
    chain = run.manifest.chain
    if not chain.executed:
        text = "The chain was off: no contract was executed, and every number rests on formulas alone."
        return [*blocks, Paragraph(f"{text} Run the same command with --chain on to execute run "
                                   f"{chain.witness_run}.")]  # fmt: skip
    blocks.append(Paragraph(_lead(run)))
    if chain.calls:
        blocks += _call_tables(chain.calls)
    else:
        blocks.append(
            Paragraph("The run directory holds no counts of calls: run the scenario again to have them.")
        )
    return [*blocks, Table(("what", "how it was checked"), _scope(run), "Executed, and formula only")]


def _places(chain: ChainFacts) -> str:
    """Return where the chains were."""
    if chain.l1 == chain.l2 == IN_PROCESS:
        return "in-process chains, L1 and L2"
    return f"chains, L1 ({chain.l1}) and L2 ({chain.l2})"


def _lead(run: Run) -> str:
    chain = run.manifest.chain
    sizes = run.chain.group_by("epoch").len()["len"].sort().to_list()
    accounts = "no accounts"
    if sizes:
        accounts = f"{sizes[0]} to {sizes[-1]} accounts" if sizes[0] != sizes[-1] else f"{sizes[0]} accounts"
    text = (
        f"Run {chain.witness_run} was executed on two {_places(chain)}: {chain.transactions:,} "
        f"transactions. In each of {chain.reconciled_epochs} epochs {accounts} and totals were compared between "
        f"ledger and chains; the largest difference is {chain.max_abs_diff_wei} wei."
    )
    if chain.calls:
        text += f" Together they took {sum(call.gas for call in chain.calls):,} gas."
    return text


def _call_tables(calls: Iterable[CallFacts]) -> list[Block]:
    main = [call for call in calls if not _side(call)]
    side = [call for call in calls if _side(call)]
    columns = ("contract", "call or event", "count", "gas", "what it shows")
    return [
        Table(columns, tuple(map(_row, main)), "Calls counted from receipts and decoded events"),
        Table(columns, tuple(map(_row, side)), "Set-up and events that accompany others", folded=True),
    ]


def _side(call: CallFacts) -> bool:
    """Return whether a row is set-up, or an event that another row's transaction explains."""
    set_up = call.call.startswith(_SET_UP) or call.call.endswith("at creation")
    return set_up or (call.gas == 0 and call.call not in PROVES) or (
        call.contract.startswith("GOPEN") and call.call in ("Transfer (mint)", "Transfer (burn)")
    )  # fmt: skip


def _row(call: CallFacts) -> tuple[str, ...]:
    shown = PROVES.get(call.call, "")
    if call.call == "Transfer":
        shown = _TOKEN.get(call.contract.partition(" ")[0], "")
    if call.call == "coins received":
        shown = _COINS.get(call.contract.partition(" ")[0], "")
    return call.contract, call.call, f"{call.count:,}", f"{call.gas:,}" if call.gas else DASH, shown


def _scope(run: Run) -> tuple[tuple[str, str], ...]:
    labels = set(run.chain["account"].unique().to_list())
    agents = {label.partition("/")[2] for label in labels if "/" in label}
    own = {agent for agent in agents if not agent.endswith("/*")}
    classes = sorted({agent.partition("/")[0] for agent in agents if agent.endswith("/*")})
    payees = sum(agent.startswith(("contributors/", "builders/")) for agent in own)
    totals = ", ".join(words for name, words in TOTALS.items() if name in labels)
    others = run.manifest.runs - 1
    return (
        ("computed by contracts", "vesting releases and claims, whose amounts have to equal the ledger's; GOPEN's "
         "votes, quorum, majority, timelock and governed parameters, whose results the run takes over"),
        ("checked by a contract", "parts of the fees: the splitter holds their sums to the formula of the day, by the "
         "number of bills that were rounded, and pays the operators first"),
        ("moved at the ledger's amount", "operators' pay, staking, emission, grants, market: plain transfers, so that "
         "balances are proved and the formula is not"),
        ("addresses of their own", f"{len(own)} agents (the largest holders and the first of other classes), pools, "
         f"contracts; of them {payees} sampled payees whose claims follow their lifetime earnings"),
        ("addresses by class", f"all other agents of {', '.join(classes) or 'no class'}: one address per class and "
         "chain, whose claims are made as one"),
        ("totals compared as well", totals or "none"),
        ("bridge", "the OP Stack's own contracts with OPEN as L2's coin: deposits are derived from L1's events, "
         "withdrawals proved against proposed outputs and paid after the window; its delays are the scenario's"),
        ("formula only", f"the other {others} runs, and all behaviour: prices, demand, how people vote"),
    )  # fmt: skip
