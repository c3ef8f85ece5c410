"""Fees: what a client should offer for gas, and what was paid before.

Rule decided here: a base fee of 0 means that fees are switched off, and then nothing is suggested; otherwise the
suggested priority fee is one gwei.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sim.chain.rpc.codec import invalid, parse_list, parse_quantity, quantity
from sim.chain.rpc.requests import parse_block

if TYPE_CHECKING:
    from sim.chain.blocks import Block
    from sim.chain.evm import Chain
    from sim.chain.rpc.node import Node
    from sim.chain.rpc.params import Params

PRIORITY_FEE = 10**9
HISTORY_MAX = 1_024
PERCENTILES_MAX = 100


def suggested_tip(node: Node) -> int:
    """Return the suggested priority fee, wei per gas."""
    return PRIORITY_FEE if node.chain.base_fee else 0


def gas_price(node: Node, params: Params) -> str:
    """Return the suggested price for gas, wei."""
    params.end()
    return quantity(node.chain.base_fee + suggested_tip(node))


def max_priority_fee(node: Node, params: Params) -> str:
    """Return the suggested priority fee, wei."""
    params.end()
    return quantity(suggested_tip(node))


def fee_history(node: Node, params: Params) -> dict[str, Any]:
    """Return base fees, use of gas and priority fees of the last blocks."""
    count = min(params.take("blockCount", parse_quantity), HISTORY_MAX)
    newest = min(params.take("newestBlock", parse_block(node.chain)), node.chain.blocks.latest)
    percentiles = _percentiles(params.take("rewardPercentiles", parse_list, []))
    params.end()
    chain = node.chain
    first = max(newest - count + 1, 0)
    blocks = [chain.blocks.block(number) for number in range(first, newest + 1)] if count else []
    following = chain.blocks.extent(newest + 1).env.base_fee
    answer: dict[str, Any] = {
        "oldestBlock": quantity(first),
        "baseFeePerGas": [quantity(b.header.base_fee) for b in blocks] + [quantity(following)],
        "gasUsedRatio": [b.header.gas_used / b.header.gas_limit for b in blocks],
    }
    if percentiles:
        answer["reward"] = [_rewards(chain, block, percentiles) for block in blocks]
    return answer


def _percentiles(values: list[Any]) -> list[float]:
    what = "rewardPercentiles"
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool) and 0 <= v <= 100]
    if len(numbers) != len(values) or sorted(numbers) != numbers or len(numbers) > PERCENTILES_MAX:
        raise invalid(what, values, f"at most {PERCENTILES_MAX} rising numbers from 0 to 100")
    return [float(v) for v in numbers]


def _rewards(chain: Chain, block: Block, percentiles: list[float]) -> list[str]:
    """Return the priority fee at each share of a block's gas, cheapest transactions first."""
    paid = []
    for index in range(block.first_transaction, block.first_transaction + len(block.transactions)):
        transaction, base_fee = chain.blocks.transactions[index], block.header.base_fee
        tip = transaction.price(base_fee) - base_fee if transaction.raw else 0
        paid.append((max(tip, 0), chain.blocks.receipts[index].gas_used))
    paid.sort()
    rewards = []
    for percentile in percentiles:
        wanted, reached, reward = percentile / 100 * block.header.gas_used, 0, 0
        for tip, gas in paid:
            reward = tip
            reached += gas
            if reached >= wanted:
                break
        rewards.append(quantity(reward))
    return rewards


METHODS: dict[str, Any] = {
    "eth_gasPrice": gas_price,
    "eth_maxPriorityFeePerGas": max_priority_fee,
    "eth_feeHistory": fee_history,
}
