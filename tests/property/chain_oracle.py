"""What wrapping, delegation, votes and claims come to, in plain Python integers."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field

from models.governance import ProposalState, Timetable, quorum, state
from models.merkle import payout_leaf, payout_tree
from sim.chain.addresses import keccak

PPM = 1_000_000


class Votes:
    """GOPEN by owner, whom each owner delegates to, and what was true at every second."""

    def __init__(self):
        self.held = defaultdict(int)
        self.delegate = {}
        self._times, self._states = [-1], [(0, {})]

    @property
    def supply(self):
        return sum(self.held.values())

    def note(self, now):
        """Write down what holds from this second on; the last note of a second counts."""
        votes = defaultdict(int)
        for owner, amount in self.held.items():
            if owner in self.delegate:
                votes[self.delegate[owner]] += amount
        if self._times[-1] == now:
            self._states[-1] = (self.supply, votes)
        else:
            self._times.append(now)
            self._states.append((self.supply, votes))

    def at(self, second, voter):
        """Return the votes of somebody at the end of a second."""
        return self._states[bisect_right(self._times, second) - 1][1].get(voter, 0)

    def supply_at(self, second):
        return self._states[bisect_right(self._times, second) - 1][0]


@dataclass
class Vote:
    """A proposal with the ballots cast."""

    number: int
    calls: tuple
    text: str
    values: tuple
    timetable: Timetable
    ballots: dict = field(default_factory=dict)
    eta: int = 0
    executed: bool = False

    def tally(self, votes):
        """Return the votes against, for and abstaining, by what was held at the snapshot."""
        counted = [0, 0, 0]
        for voter, support in self.ballots.items():
            counted[support] += votes.at(self.timetable.snapshot, voter)
        return tuple(counted)

    def state(self, now, votes, quorum_ppm):
        against, for_, abstain = self.tally(votes)
        needed = quorum(votes.supply_at(self.timetable.snapshot), quorum_ppm, PPM)
        passed = for_ > against and for_ + abstain >= needed
        return ProposalState(state(now, self.timetable, passed=passed, eta=self.eta, executed=self.executed))


class Payouts:
    """Roots that were posted, funds, and what was paid."""

    def __init__(self):
        self.owed, self.paid = defaultdict(int), defaultdict(int)
        self.trees = []
        self.funded = 0

    @property
    def number(self):
        return len(self.trees)

    def post(self, funds):
        """Post what is owed now with some funds, and return the root."""
        rows = sorted(self.owed.items())
        self.trees.append((payout_tree(rows, keccak), dict(rows)))
        self.funded += funds
        return self.trees[-1][0].root

    def proof(self, tree, account, owed):
        leaf = payout_leaf(account, owed, keccak)
        return tree.proof(leaf)

    def due(self, account, owed, genuine):
        """Return what a claim pays; 0 where it is refused."""
        due = owed - self.paid[account]
        return due if genuine and due > 0 and sum(self.paid.values()) + due <= self.funded else 0
