"""Formula twins: contracts against `models/` over at least 10,000 drawn inputs each, boundaries among them.

The contracts are the deployed ones: a twin inherits from one, or calls the library that one is built on, and
answers for many inputs in one call.
"""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("eth")

from models.fees import SplitRule, pay_operators, split_bounds, split_reference
from models.governance import quorum, quorum_reached, succeeded
from models.merkle import payout_leaf, payout_tree, verify_payout
from models.vesting import Schedule, vested_on
from sim.chain.addresses import address_of, keccak
from sim.chain.artifacts import load
from sim.chain.demo import day0_timestamp
from sim.chain.evm import Chain

pytestmark = pytest.mark.slow

DRAWN = 10_000
CAP_WEI, CAP_GWEI, UNIT = 10**27, 10**18, 10**9
DAY_S = 86_400
BATCH = 500
ME = address_of("twins")
FOLDER = Path(__file__).parent / "contracts" / "artifacts"
NAMES = ("platform", "burn", "model", "stakers", "contributors")


class Twin:
    """One twin on a chain of its own."""

    def __init__(self, name, *arguments, chain=None):
        artifact = load(name, FOLDER)
        self.abi = artifact.abi
        self.chain = chain or new_chain()
        code = artifact.creation_code + self.abi.encode_constructor(*arguments)
        receipt = self.chain.deploy(ME, code)
        assert receipt.status == 1
        self.address = receipt.contract_address

    def ask(self, function, *columns):
        """Return the answers for lists of inputs, asked in batches."""
        answers = []
        for start in range(0, len(columns[0]), BATCH):
            batch = [column[start : start + BATCH] for column in columns]
            result = self.chain.call(self.address, self.abi.encode_call(function, *batch))
            assert result.status == 1, result.output.hex()
            answers.append(self.abi.decode_output(function, result.output))
        return answers


def new_chain():
    return Chain(chain_id=1_000, genesis_time=day0_timestamp(), balances={ME: 10**40}, block_gas_limit=10**12)


def flat(answers):
    return [answer for batch in answers for answer in batch]


def midnight(day):
    return int(datetime.combine(day, time.min, UTC).timestamp())


def drawn_schedule(draw, unit):
    """Return a schedule in units: whole, empty or common parts at TGE, up to the cap, dates a day or years apart."""
    most = CAP_WEI // unit
    allocation = draw.choice([0, 1, 2, 997, draw.randint(0, most), most])
    tge = draw.choice([0, allocation, allocation // 3, max(allocation - 1, 0), draw.randint(0, allocation)])
    count = draw.choice([1, 1, 2, 12, 36, 60]) if tge < allocation else draw.choice([0, 3])
    step = draw.choice([1, 30, 365])
    first = date(2025, 9, 8) + timedelta(days=draw.choice([0, 1, 365]))
    dates = tuple(first + timedelta(days=step * i + draw.randint(0, step - 1)) for i in range(count))
    kind = draw.choice(["equal", "steps", "wide"])
    rises = [1 if kind == "equal" else draw.randint(1, 9 if kind == "steps" else 10**17) for _ in dates]
    numerators = tuple(accumulate(rises))
    denominator = numerators[-1] if count else 1
    return Schedule(
        allocation,
        tge,
        date(2025, 9, 8) + timedelta(days=draw.choice([0, 400])),
        dates,
        numerators,
        denominator,
    )


def test_vesting():
    draw, chain, asked = random.Random(1), new_chain(), 0
    while asked < DRAWN:
        unit = draw.choice([1, UNIT])
        schedule = drawn_schedule(draw, unit)
        marks = [midnight(day) for day in (schedule.tge_date, *schedule.dates)]
        seconds = {
            0,
            *(mark + shift for mark in draw.sample(marks, min(14, len(marks))) for shift in (-1, 0, 1)),
        }
        seconds |= {max(marks) - 1, max(marks), 2**64 - 1 if not draw.randint(0, 9) else max(marks) + 10**9}
        seconds |= {draw.randint(min(marks), max(marks) + 1) for _ in range(12)}
        twin = Twin(
            "VestingTwin", schedule.allocation * unit, schedule.tge * unit, unit, midnight(schedule.tge_date),
            list(map(midnight, schedule.dates)), list(schedule.numerators), schedule.denominator, chain=chain,
        )  # fmt: skip
        ordered = sorted(seconds)
        vested = flat(twin.ask("vestedMany", ordered))
        last = (date.max - date(1970, 1, 1)).days
        days = [date(1970, 1, 1) + timedelta(days=min(second // DAY_S, last)) for second in ordered]
        assert vested == [vested_on(schedule, day) * unit for day in days]
        asked += len(ordered)


def drawn_votes(draw, unit, most):
    """Return supply, numerator and For, Against, Abstain in units of the ledger, around the quorum and at ties."""
    supply = draw.choice([0, 1, 19, draw.randint(0, 10**6), draw.randint(0, most), most])
    numerator = draw.choice([0, 1, 40_000, 50_000, 250_000, 333_333, 1_000_000, draw.randint(0, 10**6)])
    exact, rest = divmod(quorum(supply * unit, numerator, 10**6), unit)
    counted = draw.choice(
        [exact - 1, exact, exact, exact + bool(rest), exact + 1, draw.randint(0, supply), supply]
    )
    counted = min(max(counted, 0), supply)
    for_ = draw.choice([0, counted, draw.randint(0, counted), counted // 2])
    left = supply - counted
    against = draw.choice([0, left, min(left, for_), min(left, max(for_ - 1, 0)), min(left, for_ + 1)])
    return supply, numerator, for_, against, counted - for_


@pytest.mark.parametrize(("unit", "most"), [(UNIT, CAP_GWEI), (1, 9 * 10**18)])
def test_quorum(unit, most):
    """In whole gwei up to the cap, as the ledger counts, and to the single wei."""
    draw = random.Random(2)
    votes = [drawn_votes(draw, unit, most) for _ in range(DRAWN)]
    scaled = [(s * unit, n, f * unit, a * unit, b * unit) for s, n, f, a, b in votes]
    outcomes = flat(Twin("GovernorTwin").ask("countMany", scaled))
    supply, numerator, for_, against, abstain = np.array(votes, dtype=np.int64).T
    assert [o[0] for o in outcomes] == [quorum(s, n, 10**6) for s, n, *_ in scaled]
    reached = quorum_reached(for_ + abstain, supply, numerator, 10**6, unit)
    assert [o[1] for o in outcomes] == reached.tolist()
    assert [o[2] for o in outcomes] == succeeded(for_, against).tolist()
    assert 0.2 < reached.mean() < 0.9


def test_quorum_at_the_cap_to_a_wei():
    """One wei below the quorum of 10^27 wei is not enough, which no count in gwei can say."""
    draw, votes = random.Random(3), []
    for _ in range(1_000):
        supply, numerator = CAP_WEI - draw.choice([0, 1, 7, draw.randint(0, CAP_WEI)]), draw.randint(1, 10**6)
        needed = quorum(supply, numerator, 10**6)
        votes += [(supply, numerator, needed - below, 0, 0) for below in (0, 1) if needed > below]
    outcomes = flat(Twin("GovernorTwin").ask("countMany", votes))
    assert [o[1] for o in outcomes] == [for_ >= quorum(s, n, 10**6) for s, n, for_, *_ in votes]


def drawn_rule(draw, most_flat):
    """Return platform share, flat part, burned share and weights of model, stakers, contributors."""
    weights = [draw.choice([0, 1, 2, 5, 997, 10**6]) for _ in range(3)]
    weights[draw.randint(0, 2)] += not any(weights)
    shares = [draw.choice([0, 0, 1, 1_000, 3_333, 9_999, 10_000]) for _ in range(2)]
    return shares[0], draw.choice([0, 0, 1, 77, most_flat]), shares[1], *weights


def split_of(fee, rule):
    bps, flat_part, burn, *weights = rule
    parts = split_reference(fee, dict(zip(NAMES[2:], weights, strict=True)), bps, flat_part, burn)
    return tuple(parts[name] for name in NAMES)


def test_splitter_pays_every_bill_as_the_formula():
    draw = random.Random(4)
    bills = []
    for _ in range(DRAWN):
        rule = drawn_rule(draw, 10**18)
        small, large = draw.randint(0, 10**4), draw.randint(0, CAP_WEI)
        bills.append((draw.choice([0, 1, 9, rule[1], rule[1] + 1, small, large, CAP_WEI]), rule))
    assert flat(Twin("FeeTwin").ask("splitMany", bills)) == [split_of(*bill) for bill in bills]


def drawn_day(draw):
    """Return gross, bills, rule and booked parts: those of real bills, some of them shifted to or past a bound."""
    rule = drawn_rule(draw, 10**11)
    most = draw.choice([10, 10**4, 10**12, CAP_GWEI // 8])
    fees = [draw.randint(0, most) for _ in range(draw.randint(1, 8))]
    if not draw.randint(0, 19):
        fees = [CAP_GWEI]
    booked = [sum(column) for column in zip(*(split_of(fee, rule) for fee in fees), strict=True)]
    bills = draw.choice([len(fees), len(fees), 0, 10**6])
    if draw.randint(0, 2):
        giver, taker = draw.sample(range(5), 2)
        size = draw.choice([1, bills, bills + 1, 2 * bills, 3 * bills, 3 * bills + 1, draw.randint(0, most)])
        moved = min(size, booked[giver])
        booked[giver] -= moved
        booked[taker] += moved
    return sum(fees), bills, rule, tuple(booked)


def test_splitter_bounds_a_day_as_the_formula():
    """The first payee out of bounds, what it was booked, what was expected, and the tolerance; or nobody."""
    draw = random.Random(5)
    days = [drawn_day(draw) for _ in range(DRAWN)]
    found = flat(Twin("FeeTwin").ask("checkMany", days))
    rules = np.array([day[2] for day in days], dtype=np.int64)
    rule = SplitRule(rules[:, 0], rules[:, 1], rules[:, 2], NAMES[2:], rules[:, 3:])
    gross, bills = (np.array([day[i] for day in days], dtype=np.int64) for i in (0, 1))
    columns = np.array([day[3] for day in days], dtype=np.int64).T
    expected = {}
    for wrong in split_bounds(gross, bills, rule, dict(zip(NAMES, columns, strict=True))):
        expected.setdefault(wrong.row, (wrong.payee, wrong.booked, wrong.expected, wrong.tolerance))
    assert found == [expected.get(row, ("", 0, 0, 0)) for row in range(DRAWN)]
    named = {payee for payee, *_ in expected.values()}
    assert named == set(NAMES)
    assert 0.2 < len(expected) / DRAWN < 0.8


def test_splitter_pays_operators_first():
    draw = random.Random(6)
    rows = [(draw.choice([0, 1, draw.randint(0, CAP_GWEI)]), draw.randint(0, CAP_GWEI)) for _ in range(DRAWN)]
    rows += [(n, n + shift) for n in range(1, 100) for shift in (-1, 0, 1)]
    platform, claim = np.array(rows, dtype=np.int64).T
    answers = Twin("FeeTwin").ask("payOperatorsMany", platform.tolist(), claim.tolist())
    paid, treasury, _ = pay_operators(platform, claim)
    assert [x for operators, _ in answers for x in operators] == paid.tolist()
    assert [x for _, rest in answers for x in rest] == treasury.tolist()


class Ledger:
    """What the distributor owes, in Python: claims against the tree of `models/merkle.py`."""

    def __init__(self, errors):
        self.claimed, self.claimed_total, self.total, self.root = {}, 0, 0, bytes(32)
        self.errors = errors

    def claim(self, account, cumulative, proof):
        """Return what a claim pays and the error's first four bytes, one of them nothing."""
        leaf, already = payout_leaf(account, cumulative, keccak), self.claimed.get(account, 0)
        if not verify_payout(self.root, leaf, proof, keccak):
            return 0, self.errors["InvalidProof"]
        if cumulative <= already:
            return 0, self.errors["NothingToClaim"]
        if self.claimed_total + cumulative - already > self.total:
            return 0, self.errors["ExceedsFunding"]
        self.claimed[account] = cumulative
        self.claimed_total += cumulative - already
        return cumulative - already, bytes(4)


def drawn_claims(draw, tree, leaves, accounts):
    """Return claims of an epoch: everybody's, twice at times, and proofs that belong to something else."""
    claims = []
    for account, amount in leaves.items():
        proof = tree.proof(payout_leaf(account, amount, keccak))
        claims.append((account, amount, proof))
        other, last = draw.choice(accounts), proof[:-1]
        wrong = [
            (account, amount + 1, proof), (other, amount, proof), (account, amount, last), (account, amount, []),
            (account, amount, [*proof, bytes(32)]), (account, 0, proof), (account, amount, proof),
        ]  # fmt: skip
        claims += draw.sample(wrong, 2)
    draw.shuffle(claims)
    return claims


def test_distributor():
    """Roots of cumulative payouts over many epochs: amounts that rise, stay or fall, funds short at times."""
    draw, asked = random.Random(7), 0
    outcomes = set()
    while asked < DRAWN:
        twin = Twin("DistributorTwin", ME)
        ledger = Ledger({item.name: item.selector for item in twin.abi.errors.values()})
        accounts = [address_of(f"payee {i}") for i in range(draw.choice([1, 2, 3, 17, 64]))]
        leaves = {}
        for epoch in range(1, 7):
            for account in draw.sample(accounts, draw.randint(1, len(accounts))):
                rise = draw.choice([0, 1, UNIT, draw.randint(0, 10**18), CAP_WEI // 100, -1])
                leaves[account] = max(leaves.get(account, 0) + rise, 0)
            tree = payout_tree(leaves.items(), keccak)
            owed = max(sum(leaves.values()) - draw.choice([0, 0, 1, UNIT]), ledger.total)
            words = (epoch, bytes(32), 0, tree.root, owed, bytes(32))
            data = twin.abi.encode_call("postEpoch", *words)
            assert twin.chain.send(ME, twin.address, data, owed - ledger.total).status == 1
            ledger.total, ledger.root = owed, tree.root
            claims = drawn_claims(draw, tree, leaves, accounts)
            receipt = twin.chain.send(ME, twin.address, twin.abi.encode_call("claimMany", claims))
            answers = twin.abi.decode_event(receipt.logs[-1]).arguments
            expected = [ledger.claim(*claim) for claim in claims]
            assert list(zip(answers["paid"], answers["refusals"], strict=True)) == expected
            assert twin.chain.balance(twin.address) == ledger.total - ledger.claimed_total
            outcomes |= {refusal for _, refusal in expected}
            asked += len(claims)
    assert outcomes == {
        bytes(4),
        *(ledger.errors[n] for n in ("InvalidProof", "NothingToClaim", "ExceedsFunding")),
    }
