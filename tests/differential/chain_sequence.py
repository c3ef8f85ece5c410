"""Random transactions over every contract: what people do with them, what they get wrong, and what they break."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from models.governance import ProposalState
from models.merkle import payout_leaf, payout_tree
from sim.chain.addresses import ZERO_ADDRESS, keccak
from sim.chain.artifacts import load
from tests.differential.chain_programs import BAD_CREATIONS, DIES_AT_BIRTH, ENDLESS, LOOSE
from tests.differential.chain_recording import COIN, PASSER, PEOPLE
from tests.differential.chain_scene import AMOUNTS, DELAY, PERIOD, TIMELOCK
from tests.differential.chain_services import Services

TOO_MUCH = 10**30
BLOCK_ENDS = 0.3
"""Chance that a block ends after a transaction."""


@dataclass
class Proposed:
    """A proposal as the governor's functions take it."""

    number: int
    calls: tuple
    text: str

    @property
    def hashed(self):
        return (*self.calls, keccak(self.text.encode()))


class Sequence(Services):
    """Draws transactions and records them."""

    def __init__(self, seed, base_fee=0):
        super().__init__(seed, base_fee)
        self.proposals = []
        self.payouts = [(person, COIN * (i + 1)) for i, person in enumerate(PEOPLE)]
        self.trees, self.epoch, self.total = [], 0, 0

    def run(self, count):
        """Draw until there are `count` transactions."""
        actions = [(getattr(self, name), weight) for name, weight in WEIGHTS.items()]
        while self.recorder.count < count:
            action = self.draw.choices([a for a, _ in actions], [w for _, w in actions])[0]
            action()
            if self.draw.random() < BLOCK_ENDS or len(self.recorder.blocks[-1].sent) > 6:
                self.jump(self.draw.choice((1, 1, 1, 1, 2, 12)))
        return self.recorder.end()

    # coins, tokens and votes

    def wrap(self):
        self.call(self.who, "GOPEN", "deposit", value=self.amount, **self.options)

    def unwrap(self):
        self.call(self.who, "GOPEN", "withdraw", self.draw.choice((*AMOUNTS, TOO_MUCH)), **self.options)

    def delegate(self):
        other = self.draw.choice((*PEOPLE, ZERO_ADDRESS))
        self.call(self.who, "GOPEN", "delegate", other, **self.options)

    def transfer_votes(self):
        self.call(self.who, "GOPEN", "transfer", PEOPLE[self.who], self.amount, **self.options)

    def transfer_tokens(self):
        amount = self.draw.choice((*AMOUNTS, TOO_MUCH))
        self.call(self.who, "OPEN", "transfer", PEOPLE[self.who], amount, **self.options)

    def approve(self):
        self.call(self.who, "OPEN", "approve", PEOPLE[self.who], self.amount, **self.options)

    def transfer_from(self):
        self.call(self.who, "OPEN", "transferFrom", PEOPLE[self.who], PEOPLE[self.who], self.amount)

    def burn(self):
        self.call(self.who, "OPEN", "burn", self.amount, **self.options)

    def release(self):
        self.call(self.who, "TrancheVesting", "release", **self.options)

    def pay(self):
        """Send coins to a person, to somebody new, to a contract or to a precompile."""
        fresh = self.draw.randbytes(20)
        precompile = bytes(19) + bytes([self.draw.randrange(1, 18)])
        to = self.draw.choice((*PEOPLE, fresh, *self.contracts.values(), precompile))
        data = self.draw.choice((b"", b"", self.draw.randbytes(self.draw.randrange(1, 200))))
        self.recorder.send("pay", self.who, to, data, self.amount, **self.options)

    def withdraw_to_l1(self):
        data = load_passer().encode_call(
            "initiateWithdrawal", PEOPLE[self.who], 100_000, self.draw.randbytes(9)
        )
        self.recorder.send("withdraw", self.who, PASSER, data, self.amount, **self.options)

    # payouts

    def post(self):
        """Post an epoch, by whoever: the first person alone may."""
        tree = payout_tree(self.payouts, keccak)
        funds = self.draw.choice((0, COIN, 50 * COIN))
        sender = self.draw.choice((0, 0, 0, 0, self.who))
        number, total = self.epoch + 1, self.total + funds + self.draw.choice((0, 0, 0, 0, 1))
        arguments = (number, self.draw.randbytes(32), number, tree.root, total, bytes(32))
        if self.call(sender, "AttributionDistributor", "postEpoch", *arguments, value=funds).status:
            self.epoch, self.total = number, total
            self.trees.append((tree, list(self.payouts)))
            self.payouts = [(person, old + self.draw.randrange(COIN)) for person, old in self.payouts]

    def claim(self):
        """Claim by the latest root or an old one, once more, for too much, or with half a proof."""
        if not self.trees:
            return self.post()
        tree, payouts = self.draw.choice((self.trees[-1], self.trees[-1], self.draw.choice(self.trees)))
        person, owed = self.draw.choice(payouts)
        proof = tree.proof(payout_leaf(person, owed, keccak))
        owed += self.draw.choice((0, 0, 0, 0, 1))
        proof = self.draw.choice((proof, proof, proof, proof[:-1]))
        return self.call(self.who, "AttributionDistributor", "claim", person, owed, proof, **self.options)

    # governance

    def propose(self):
        split = [self.draw.randrange(1, 9) for _ in range(3)]
        data = [self.abis["Parameters"].encode_call("set", "fees.split", split)]
        if self.draw.random() < 0.2:  # a call that nobody may make: the execution fails as a whole
            data.append(self.abis["GOPEN"].encode_call("withdraw", TOO_MUCH))
        targets = [self.contracts["Parameters"], self.contracts["GOPEN"]][: len(data)]
        calls = (targets, [0] * len(data), data)
        text = f"proposal {self.draw.randrange(10**9)} " + "why " * self.draw.randrange(60)
        receipt = self.call(self.who, "OpenGovernor", "propose", *calls, text, gas=1_500_000)
        if receipt.status:
            number = int.from_bytes(receipt.logs[0].data[:32], "big")
            self.proposals.append(Proposed(number, calls, text))

    def govern(self):
        """Take a proposal one step on, sometimes too early, twice or by the wrong function."""
        if not self.proposals:
            return self.propose()
        proposal = self.draw.choice(self.proposals)
        state = ProposalState(self.read("OpenGovernor", "state", proposal.number))
        step = {ProposalState.PENDING: self._wait, ProposalState.ACTIVE: self._vote}
        step |= {ProposalState.SUCCEEDED: self._queue, ProposalState.QUEUED: self._execute}
        if state not in step:
            self.proposals.remove(proposal)
        chosen = step.get(state, self._vote)
        if self.draw.random() < 0.1:
            chosen = self.draw.choice((self._wait, self._vote, self._queue, self._execute))
        return chosen(proposal)

    def _wait(self, proposal):
        self.jump(DELAY + 1)

    def _vote(self, proposal):
        support = self.draw.choice((0, 1, 1, 1, 1, 2, 3))
        self.call(self.who, "OpenGovernor", "castVote", proposal.number, support, **self.options)
        if self.draw.random() < 0.15:
            self.jump(PERIOD)

    def _queue(self, proposal):
        self.call(self.who, "OpenGovernor", "queue(address[],uint256[],bytes[],bytes32)", *proposal.hashed)
        self.jump(self.draw.choice((1, TIMELOCK - 1, TIMELOCK)))

    def _execute(self, proposal):
        receipt = self.call(
            self.who, "OpenGovernor", "execute(address[],uint256[],bytes[],bytes32)", *proposal.hashed
        )
        if receipt.status == 0 and proposal in self.proposals and self.draw.random() < 0.5:
            self.proposals.remove(proposal)  # one that can never be executed would be tried for ever

    # everything else

    def leap(self):
        self.jump(self.draw.randrange(2, 20_000))

    def create(self):
        """Deploy contracts, good and bad."""
        arguments = self.draw.choice(([["x"], [[1, 2]], [5]], [["x", "y"], [[1]], [5]]))
        artifact = load("Parameters")
        code = artifact.creation_code + artifact.abi.encode_constructor(PEOPLE[0], *arguments)
        choices = (*LOOSE.values(), *BAD_CREATIONS, DIES_AT_BIRTH, code, code[:-40])
        chosen, value = self.draw.choice(choices), self.draw.choice((0, 0, 7))
        gas = 70_000 if chosen == ENDLESS else 900_000
        self.recorder.send("create", self.who, None, chosen, value, gas=gas, **self.envelope)

    def program(self):
        """Call one of the programs with data that means something to it."""
        name = self.draw.choice(sorted(LOOSE))
        written = word(self.draw.randrange(4)) + word(self.draw.randrange(3))
        data = {
            "toggle": written + self.draw.choice((b"", bytes([1]) * 900)),  # what is long has a floor (EIP-7623)
            "bequest": bytes(12) + self.draw.choice((*PEOPLE, self.draw.randbytes(20), self.contracts["bequest"])),
            "nested": bytes(12) + self.contracts[self.draw.choice(("toggle", "GOPEN", "nested", "factory"))]
            + self.draw.choice((word(1) + word(2), self.abis["GOPEN"].encode_call("withdraw", 1))),
            "factory": self.draw.choice((*LOOSE.values(), *BAD_CREATIONS[:3])),
        }.get(name, self.draw.randbytes(self.draw.randrange(90)))  # fmt: skip
        value = self.draw.choice((0, 0, 0, 5))
        self.recorder.send("program", self.who, self.contracts[name], data, value, **self.options)

    def blunder(self):
        """Call a contract with nonsense, or with too little gas to finish."""
        name = self.draw.choice(sorted(self.abis))
        if self.draw.random() < 0.5:
            known = self.draw.choice([f.selector for f in self.abis[name].functions.values()])
            data = self.draw.choice((known, self.draw.randbytes(4))) + self.draw.randbytes(
                self.draw.randrange(100)
            )
            self.recorder.send("nonsense", self.who, self.contracts[name], data, self.draw.choice((0, 1)))
            return
        gas = self.draw.randrange(24_000, 60_000)
        self.call(self.who, "GOPEN", "delegate", PEOPLE[self.who], gas=gas)


def word(number):
    return number.to_bytes(32, "big")


@cache
def recording(base_fee):
    """Return 2,000 drawn transactions; everybody who is compared with our chain shares them."""
    return Sequence(11 + base_fee, base_fee).run(2_000)


def load_passer():
    from sim.chain.artifacts import OP_STACK

    return load("L2ToL1MessagePasser", OP_STACK).abi


WEIGHTS = {
    "wrap": 8, "unwrap": 6, "delegate": 6, "transfer_votes": 8, "transfer_tokens": 8, "approve": 3, "transfer_from": 3,
    "burn": 3, "release": 4, "pay": 12, "withdraw_to_l1": 4, "post": 3, "claim": 8, "propose": 3, "govern": 16,
    "leap": 1, "sign": 4, "permit": 3, "stake": 5, "unbond": 3, "take_stake": 3, "reward": 2, "accuse": 3,
    "pay_bill": 5, "settle_bills": 3, "register": 4, "change_entry": 4, "anchor": 3, "create": 4, "program": 10,
    "blunder": 4,
}  # fmt: skip
