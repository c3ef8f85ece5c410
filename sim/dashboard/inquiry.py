"""Inquiry: one question to a node and everything that it says about its answer.

Rules decided here. A question is asked once and its answer kept with what was found; the same question is asked again
only when something was missing. What the node does not give leaves the rest as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from sim.dashboard.node_answers import Attribution, Bill, Completion, Proof
from sim.dashboard.node_client import NodeClient, NodeError

Part = TypeVar("Part")
PAYEES = ("who", "DataNets", "address", "weight of 10^9", "gwei of this bill")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: one of the node's models, the prompt, and the most tokens of the answer."""

    model: str
    prompt: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question that was asked; each part is what the node said, or why it did not.

    Parameters
    ----------
    node
        Who was asked.
    question
        What was asked.
    answer
        The words, and the note of the bill.
    attribution, bill, proof
        Whose data it rests on, who is paid, and the record with its path; None where there is no answer.
    """

    node: NodeClient
    question: Question
    answer: Completion | NodeError
    attribution: Attribution | NodeError | None = None
    bill: Bill | NodeError | None = None
    proof: Proof | NodeError | None = None

    @property
    def whole(self) -> bool:
        """Return whether nothing is missing."""
        parts = (self.answer, self.attribution, self.bill, self.proof)
        return not any(part is None or isinstance(part, NodeError) for part in parts)


def inquire(node: NodeClient, question: Question) -> Inquiry:
    """Ask a question, then for all that the node says about its answer."""
    answer = _or_why(lambda: node.chat(question.model, question.prompt, question.tokens))
    if isinstance(answer, NodeError):
        return Inquiry(node, question, answer)
    name = answer.bill.request_id
    return Inquiry(
        node,
        question,
        answer,
        _or_why(lambda: node.attribution(name)),
        _or_why(lambda: node.bill(name)),
        _or_why(lambda: node.proof(name)),
    )


def _or_why(ask: Callable[[], Part]) -> Part | NodeError:
    try:
        return ask()
    except NodeError as error:
        return error


def payees(bill: Bill, found: Attribution | None) -> list[list[object]]:
    """Return a row for every payee of a bill, under `PAYEES`, the best paid first.

    Parameters
    ----------
    bill
        The bill; it pays addresses, so that a contributor of two DataNets is one payee.
    found
        Names and weights; None for an answer that is not attributed.
    """
    names: dict[str, dict[str, None]] = {}
    nets: dict[str, dict[str, None]] = {}
    weights: dict[str, int] = {}
    for one in [] if found is None else found.holders():
        names.setdefault(one.address, {})[one.contributor] = None
        nets.setdefault(one.address, {})[one.datanet] = None
    for weight in [] if found is None else found.weights:
        weights[weight.address] = weights.get(weight.address, 0) + weight.weight
    owner = _owner(bill, names)
    addresses = sorted({*bill.payees_gwei, *weights}, key=lambda one: (-bill.payees_gwei.get(one, 0), one))
    return [
        [
            "model owner" if address == owner else ", ".join(names.get(address, ())),
            ", ".join(nets.get(address, ())),
            address,
            weights.get(address, 0),
            bill.payees_gwei.get(address, 0),
        ]
        for address in addresses
    ]


def _owner(bill: Bill, names: dict[str, dict[str, None]]) -> str | None:
    """Return the model's owner: the one payee who is no contributor, if it gets just the model's part."""
    strangers = [address for address in bill.payees_gwei if address not in names]
    if not names or len(strangers) != 1 or bill.payees_gwei[strangers[0]] != bill.parts_gwei.get("model"):
        return None
    return strangers[0]
