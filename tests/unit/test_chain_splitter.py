"""The fee splitter: the formula to the unit, the rule of the day, and sums that no bills can have."""

from __future__ import annotations

import random
from dataclasses import astuple, replace

import pytest

pytest.importorskip("eth")

from models.fees import pay_operators, split_reference
from sim.chain.abi import Reverted
from sim.chain.addresses import DEAD_ADDRESS, address_of
from sim.chain.clients.fee_splitter import BillParts, FeeSplitter, Payees, PlatformPayment, Rule, Settlement
from sim.chain.clients.parameters import Parameters
from sim.chain.demo import day0_timestamp
from sim.chain.evm import Chain

DAY_S, UNIT = 86_400, 10**9
T0 = day0_timestamp()
DAY = T0 // DAY_S
NOON = T0 + DAY_S // 2
ADMIN, SETTLER, PAYER = (address_of(name) for name in ("admin", "settler", "payer"))
PAYEES = Payees(*(address_of(name) for name in ("operators", "treasury", "distributor", "stakers")))
RULES = {"fees.platform": (1_000, 0), "fees.burn": (0,), "fees.split": (2, 2, 5)}
WEIGHTS = {"model": 2, "stakers": 2, "contributors": 5}
ADAPTER, BILL = b"a" * 32, b"b" * 32


def deploy(rules=RULES, unit=UNIT):
    chain = Chain(chain_id=1_000, genesis_time=NOON, balances=dict.fromkeys((PAYER, SETTLER), 10**30))
    store = Parameters.deploy(chain, ADMIN, governance=ADMIN, initial=rules)
    return FeeSplitter.deploy(
        chain, ADMIN, admin=ADMIN, settler=SETTLER, parameters=store.address, unit_wei=unit, payees=PAYEES
    )


@pytest.fixture
def splitter():
    return deploy()


def set_rule(splitter, name, *values):
    store = Parameters(splitter.chain, bytes(splitter.read("parameters")))
    store.transact(ADMIN, "set", name, list(values))


def balances(splitter):
    accounts = (PAYEES.operators, PAYEES.treasury, PAYEES.distributor, PAYEES.stakers, DEAD_ADDRESS)
    return [splitter.chain.balance(account) for account in (*accounts, splitter.address)]


def booked(bills, weights=WEIGHTS, **rule):
    """Return the parts of bills that are split one by one, wei."""
    parts = [split_reference(bill, weights, **rule) for bill in bills]
    names = ("platform", "burn", "model", "stakers", "contributors")
    return BillParts(*(sum(part[name] for part in parts) * UNIT for name in names))


def test_one_bill_is_split_and_paid(splitter):
    parts, receipt = splitter.pay(PAYER, ADAPTER, BILL, 1_000 * UNIT)
    assert parts == BillParts(*(x * UNIT for x in (100, 0, 200, 200, 500)))
    assert parts == splitter.quote(DAY, 1_000 * UNIT)
    # operators and treasury wait for a settlement: one bill knows no claim
    assert balances(splitter) == [x * UNIT for x in (0, 0, 700, 200, 0, 100)]
    paid = splitter.event(receipt, "Paid").arguments
    assert (paid["payer"], paid["adapterId"], paid["billHash"], paid["fee"]) == (
        PAYER, ADAPTER, BILL, 1_000 * UNIT,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("unit", [1, UNIT])
def test_bills_are_split_as_the_formula_says(unit):
    """Drawn rules and bills up to the cap, with everything that the floors leave over."""
    draw = random.Random(7)
    for _ in range(60):
        weights = {name: draw.choice([0, 1, 2, 5, 997]) for name in WEIGHTS}
        weights["contributors"] += not any(weights.values())
        flat = draw.choice([0, 1, 100, 10**18])
        bps, burn = draw.choice([0, 1, 1_000, 3_333, 10_000]), draw.choice([0, 1, 250, 10_000])
        rules = {"fees.platform": (bps, flat), "fees.burn": (burn,), "fees.split": tuple(weights.values())}
        splitter = deploy(rules, unit)
        for _ in range(5):
            fee = draw.choice([0, 1, 9, draw.randint(0, 10**6), 10**27 // unit, draw.randint(0, 10**18)])
            expected = split_reference(fee, weights, bps, flat, burn)
            names = ("platform", "burn", "model", "stakers", "contributors")
            assert splitter.quote(DAY, fee * unit) == BillParts(*(expected[n] * unit for n in names))


def test_a_settlement_pays_the_operators_first(splitter):
    bills = [1, 7, 99, 1_003, 55_555]
    sums = booked(bills, platform_bps=1_000)
    splitter.chain.send(PAYER, splitter.address, value=sums.total_wei)
    claim = sums.platform // 2 // UNIT * UNIT
    paid, receipt = splitter.settle(SETTLER, Settlement(DAY, len(bills), sums, claim))
    operators, treasury, _ = (int(x) for x in pay_operators(sums.platform, claim))
    assert paid == PlatformPayment(operators, treasury)
    assert balances(splitter) == [operators, treasury, sums.model + sums.contributors, sums.stakers, 0, 0]
    told = splitter.event(receipt, "Settled").arguments
    assert (told["day"], told["bills"], told["gross"]) == (DAY, 5, sums.total_wei)


def test_a_claim_above_the_platform_part_gets_the_platform_part(splitter):
    sums = booked([1_000], platform_bps=1_000)
    paid, _ = splitter.settle(SETTLER, Settlement(DAY, 1, sums, 10**9 * UNIT), sums.total_wei)
    assert paid == PlatformPayment(100 * UNIT, 0)


def test_platform_parts_of_single_bills_go_out_with_the_next_settlement(splitter):
    splitter.pay(PAYER, ADAPTER, BILL, 1_000 * UNIT)
    splitter.pay(PAYER, ADAPTER, BILL, 2_000 * UNIT)
    assert splitter.held_wei() == 300 * UNIT
    nothing = BillParts(0, 0, 0, 0, 0)
    paid, _ = splitter.settle(SETTLER, Settlement(DAY, 0, nothing, 120 * UNIT))
    assert paid == PlatformPayment(120 * UNIT, 180 * UNIT)
    assert (splitter.held_wei(), splitter.chain.balance(splitter.address)) == (0, 0)


def test_held_parts_are_not_fees_for_a_settlement(splitter):
    splitter.pay(PAYER, ADAPTER, BILL, 10_000 * UNIT)
    sums = booked([1_000], platform_bps=1_000)
    with pytest.raises(Reverted) as refused:
        splitter.settle(SETTLER, Settlement(DAY, 1, sums), 999 * UNIT)
    assert refused.value.error == "InsufficientFees"
    assert refused.value.arguments == {"available": 999 * UNIT, "gross": 1_000 * UNIT}


@pytest.mark.parametrize(
    ("payee", "shift", "rule"),
    [
        ("platform", 4, {}),
        ("platform", -4, {}),
        ("burn", 4, {"burn_bps": 500}),
        ("burn", -4, {"burn_bps": 500}),
        ("model", 10, {}),
        ("stakers", 10, {}),
        ("stakers", -10, {"burn_bps": 500}),
    ],
)
def test_a_part_beyond_the_bounds_is_named(payee, shift, rule):
    """Three bills: floors explain three units and no more (the contributors' floors are everybody's)."""
    rule = {"platform_bps": 1_000, "platform_flat": 0, "burn_bps": 0} | rule
    splitter = deploy(
        RULES | {"fees.platform": (1_000, rule["platform_flat"]), "fees.burn": (rule["burn_bps"],)}
    )
    sums = booked([10_000, 20_000, 30_000], **rule)
    wrong = replace(
        sums, **{payee: getattr(sums, payee) + shift * UNIT, "contributors": sums.contributors - shift * UNIT}
    )
    with pytest.raises(Reverted) as refused:
        splitter.settle(SETTLER, Settlement(DAY, 3, wrong), wrong.total_wei)
    told = refused.value
    assert (told.error, told.arguments["payee"]) == ("OutOfBounds", payee)
    assert told.arguments["booked"] == getattr(wrong, payee)
    splitter.settle(SETTLER, Settlement(DAY, 3, sums), sums.total_wei)


def test_a_bill_explains_one_unit_and_no_bill_none():
    splitter = deploy(RULES | {"fees.split": (1, 1, 1)})
    off_by_one = BillParts(*(x * UNIT for x in (3_000, 0, 9_001, 9_001, 8_998)))
    splitter.settle(SETTLER, Settlement(DAY, 1, off_by_one), off_by_one.total_wei)
    with pytest.raises(Reverted) as refused:
        splitter.settle(SETTLER, Settlement(DAY, 0, off_by_one), off_by_one.total_wei)
    assert refused.value.arguments == {
        "payee": "model", "booked": 9_001 * UNIT, "expected": 9_000 * UNIT, "tolerance": 0,
    }  # fmt: skip


def test_a_flat_part_is_bounded_by_the_bills():
    splitter = deploy(RULES | {"fees.platform": (1_000, 50)})
    bills = [10, 60, 1_000]  # the flat part is cut to the first bill
    sums = booked(bills, platform_bps=1_000, platform_flat=50)
    splitter.settle(SETTLER, Settlement(DAY, 3, sums), sums.total_wei)
    too_much = replace(sums, platform=258 * UNIT, contributors=sums.contributors + sums.platform - 258 * UNIT)
    with pytest.raises(Reverted) as refused:
        splitter.settle(SETTLER, Settlement(DAY, 3, too_much), sums.total_wei)
    told = refused.value.arguments
    assert (told["payee"], told["expected"]) == ("platform", 257 * UNIT)  # 107 and 3 flat parts


def test_parts_have_to_sum_and_to_be_whole_units(splitter):
    sums = booked([1_000], platform_bps=1_000)
    with pytest.raises(Reverted, match="NotWholeUnits"):
        splitter.settle(SETTLER, Settlement(DAY, 1, replace(sums, model=sums.model + 1)), 2_000 * UNIT)
    with pytest.raises(Reverted, match="NotWholeUnits"):
        splitter.settle(SETTLER, Settlement(DAY, 1, sums, 1), sums.total_wei)
    row = (DAY, 1, sums.total_wei + UNIT, (sums.platform, 0, sums.model, sums.stakers, sums.contributors), 0)
    with pytest.raises(Reverted, match="PartsDoNotSum"):
        splitter.transact(SETTLER, "settle", row, value=2_000 * UNIT)
    with pytest.raises(Reverted, match="NotWholeUnits"):
        splitter.pay(PAYER, ADAPTER, BILL, UNIT + 1)


def test_a_vote_binds_from_the_next_day_and_leaves_earlier_bills_alone(splitter):
    """Billed on day 0, settled on day 9 by the split of day 0, though two votes changed it in between."""
    old = booked([9_000], platform_bps=1_000)
    set_rule(splitter, "fees.split", 2, 1, 6)
    assert splitter.pay(PAYER, ADAPTER, BILL, 1_000 * UNIT)[0].stakers == 200 * UNIT  # the same day
    splitter.chain.set_time((DAY + 1) * DAY_S)
    assert splitter.pay(PAYER, ADAPTER, BILL, 1_000 * UNIT)[0].stakers == 100 * UNIT  # the next midnight
    splitter.chain.set_time((DAY + 5) * DAY_S + 7)
    set_rule(splitter, "fees.platform", 2_000, 3)
    splitter.chain.set_time((DAY + 9) * DAY_S)
    assert splitter.rule_on(DAY) == Rule(1_000, 0, 0, 2, 2, 5)
    assert splitter.rule_on(DAY + 1) == splitter.rule_on(DAY + 5) == Rule(1_000, 0, 0, 2, 1, 6)
    assert splitter.rule_on(DAY + 6) == Rule(2_000, 3, 0, 2, 1, 6)
    splitter.settle(SETTLER, Settlement(DAY, 1, old), old.total_wei)
    with pytest.raises(Reverted, match="payee=stakers"):
        splitter.settle(SETTLER, Settlement(DAY + 1, 1, old), old.total_wei)


def test_days_that_have_not_begun_cannot_be_settled(splitter):
    sums = booked([1_000], platform_bps=1_000)
    with pytest.raises(Reverted, match=rf"DayInFuture\(day={DAY + 1}, today={DAY}\)"):
        splitter.settle(SETTLER, Settlement(DAY + 1, 1, sums), sums.total_wei)


def test_a_rule_that_was_never_set_or_makes_no_sense_stops_bills():
    with pytest.raises(Reverted, match="ParameterMissing"):
        deploy({}).pay(PAYER, ADAPTER, BILL, UNIT)
    assert deploy({"fees.split": (2, 2, 5)}).rule_on(DAY) == Rule(0, 0, 0, 2, 2, 5)
    for change, error in (
        ({"fees.split": (0, 0, 0)}, "NoWeight"),
        ({"fees.split": (2, 2, -1)}, "ParameterNegative"),
        ({"fees.split": (2, 2)}, "ParameterMissing"),
        ({"fees.burn": (10_001,)}, "ShareAboveWhole"),
        ({"fees.platform": (10_001, 0)}, "ShareAboveWhole"),
    ):
        with pytest.raises(Reverted, match=error):
            deploy(RULES | change).pay(PAYER, ADAPTER, BILL, UNIT)


def test_a_bad_vote_leaves_earlier_days_payable(splitter):
    sums = booked([1_000], platform_bps=1_000)
    set_rule(splitter, "fees.split", 0, 0, 0)
    splitter.chain.set_time((DAY + 1) * DAY_S)
    with pytest.raises(Reverted, match="NoWeight"):
        splitter.pay(PAYER, ADAPTER, BILL, UNIT)
    splitter.settle(SETTLER, Settlement(DAY, 1, sums), sums.total_wei)


def test_who_may_do_what(splitter):
    sums = booked([1_000], platform_bps=1_000)
    for sender in (PAYER, ADMIN):
        with pytest.raises(Reverted, match="AccessControlUnauthorizedAccount"):
            splitter.settle(sender, Settlement(DAY, 1, sums))
    others = replace(PAYEES, stakers=PAYER)
    with pytest.raises(Reverted, match="AccessControlUnauthorizedAccount"):
        splitter.transact(SETTLER, "setPayees", astuple(others))
    splitter.chain.send(ADMIN, splitter.address, splitter.set_payees_calldata(others))
    assert splitter.payees() == others
    with pytest.raises(Reverted, match="ZeroPayee"):
        splitter.transact(ADMIN, "setPayees", astuple(replace(PAYEES, treasury=bytes(20))))


def test_burned_shares_go_to_the_dead_address():
    splitter = deploy(RULES | {"fees.burn": (10_000,)})
    splitter.pay(PAYER, ADAPTER, BILL, 1_000 * UNIT)
    assert balances(splitter) == [x * UNIT for x in (0, 0, 0, 0, 900, 100)]


def test_a_unit_of_nothing_is_refused():
    with pytest.raises(Reverted, match="InvalidUnit"):
        deploy(unit=0)
