"""The witness run: a replayed journal agrees to the wei, and every planted fault is found and named."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("eth")

from models.errors import InputError
from sim.chain.bridge import BridgeTimes
from sim.chain.clients.governor import Support
from sim.chain.journal import JournalEntry, ReconciliationError
from sim.chain.lifecycle import SetParameter, Spend
from sim.chain.witness import ChainWitness

sys.path.insert(0, str(Path(__file__).parent))
from witness_ledger import SPEC, T0, Ledger, play, reconciled, settled, witness

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def untouched():
    return witness()


def test_epochs_agree_to_the_wei_in_every_account():
    chain, ledger = witness(), Ledger()
    for epoch in range(2):
        entries = play(ledger, 30)
        before = chain.transactions
        chain.replay(entries, through_day=ledger.day - 1)
        rows = reconciled(chain, ledger, epoch)
        pairs = len({(e.flow, e.source, e.target) for e in entries})
        assert chain.transactions - before < 4 * pairs < len(entries)
        assert {row.diff_wei for row in rows} == {0}
        listed = {row.account: row for row in rows}
        assert set(listed) >= {label for label, held in ledger.balances.items() if held}
        assert listed["escrow"].chain_wei == chain.bridge.escrow() > 0
        assert listed["gopen.supply"].chain_wei > 0
        assert listed["vesting.community"].transactions == 1
        assert listed["clearing"].ledger_gwei == 0
        assert sum(row.transactions for row in rows) > 100
    assert (chain.reconciled_epochs, chain.max_abs_diff_wei) == (2, 0)
    assert listed["burned.l1"].chain_wei == 10**27 - chain.deployment.token.total_supply() > 0


@pytest.mark.parametrize("lengths", [(1, 2, 9, 4), pytest.param((1,) * 30, marks=pytest.mark.slow)])
def test_the_length_of_a_batch_does_not_matter(lengths):
    chain, ledger = witness(), Ledger(seed=5)
    for i, days in enumerate(lengths):
        chain.replay(play(ledger, days, settle_on_last=i % 2 == 0), through_day=ledger.day - 1)
        reconciled(chain, ledger, i)


def test_two_batches_of_one_day():
    chain, ledger = witness(), Ledger()
    entries = play(ledger, 12)
    cut = len(entries) - 5
    chain.replay(entries[:cut], through_day=11)
    chain.replay(entries[cut:], through_day=11)
    reconciled(chain, ledger)


def test_entries_of_a_day_that_is_past_are_refused():
    chain, ledger = witness(), Ledger()
    chain.replay(play(ledger, 5), through_day=4)
    entry = JournalEntry(2, "M1", "venue", "wallet.l1/users/*", 1)
    with pytest.raises(
        ReconciliationError, match=r"day 2, account venue: M1 .* outside the batch, days 4 to 6"
    ):
        chain.replay([entry], through_day=6)


FAULTS = {
    "vesting": ("U1", "vesting.community"),
    "unlock to insiders": ("E1", "pool.community.l1"),
    "wallet on L1": ("M1", "wallet.l1/holders/*"),
    "venue": ("M1", "venue"),
    "market maker": ("M2", "market_maker"),
    "treasury on L1": ("M3", "treasury.l1"),
    "burn": ("M3", "burned.l1"),
    "pool to L2": ("U4", "transit_deposit.pool.community"),
    "deposit": ("X1", "transit_deposit/holders/*"),
    "withdrawal": ("X2", "transit_withdraw/holders/*"),
    "treasury's withdrawal": ("X2", "treasury.l2"),
    "prepaid": ("D1", "prepaid/users/*"),
    "individual": ("B1", "prepaid/users/17"),
    "clearing": ("B5", "distributor"),
    "stake": ("S1", "stake/team/*"),
    "slash": ("A2", "burned.l2"),
    "unbonding": ("S1", "unbonding/team/*"),
    "staking rewards": ("B4", "staking_rewards"),
    "operators": ("O1", "operators_pot"),
    "GOPEN": ("H1", "wrapped/users/17"),
    "claim": ("C1", "wallet.l2/contributors/17"),
    "gas": ("C2", "gas_vault"),
}


def _touched(entries, flow, account):
    return [i for i, e in enumerate(entries) if e.flow == flow and account in (e.source, e.target)]


QUICK = {
    ("vesting", "one gwei"), ("deposit", "dropped"), ("individual", "dropped"), ("clearing", "one gwei"),
    ("GOPEN", "dropped"), ("claim", "one gwei"),
}  # fmt: skip
CASES = [
    pytest.param(name, fault, marks=() if (name, fault) in QUICK else pytest.mark.slow)
    for name in FAULTS
    for fault in ("one gwei", "dropped")
]


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_a_planted_fault_is_found_with_account_and_day(name, fault):
    """One entry of the journal is a gwei off, or missing: replay or comparison stops."""
    flow, account = FAULTS[name]
    chain, ledger = witness(), Ledger()
    entries = play(ledger, 13)
    where = _touched(entries, flow, account)[-1]
    entry = entries[where]
    off_by_one = replace(entry, amount_gwei=entry.amount_gwei + 1)
    entries[where : where + 1] = [off_by_one] if fault == "one gwei" else []
    with pytest.raises(ReconciliationError) as found:
        settled(chain, ledger, entries)
    ends = {entry.source, entry.target}
    totals = {"escrow", "open.supply", "gopen.supply", "distributor.claimed"}
    assert found.value.account in ends | totals | _downstream(entries[where:], ends)
    assert 0 <= found.value.day <= 12
    assert f"account {found.value.account}" in str(found.value)


def _downstream(entries, ends):
    """Accounts that the money of a faulty entry could have gone to on later entries of the journal."""
    reached = set(ends)
    for entry in entries:
        if entry.source in reached:
            reached.add(entry.target)
    return reached


def test_the_first_account_named_is_the_one_that_is_wrong():
    chain, ledger = witness(), Ledger()
    chain.replay(play(ledger, 10), through_day=9)
    ledger.balances["stake/users/17"] += 1
    ledger.balances["stake/users/*"] -= 1
    with pytest.raises(ReconciliationError) as found:
        reconciled(chain, ledger)
    assert (found.value.account, found.value.day) == ("stake/users/*", 9)
    assert "difference 1000000000 wei" in str(found.value)
    assert chain.max_abs_diff_wei == 10**9


@pytest.mark.parametrize(
    ("swap", "account"),
    [
        ({"B4": "B5", "B5": "B4"}, "staking_rewards"),
        ({"B3": "B5", "B5": "B3"}, "distributor"),  # both are paid to one account: no balance shows it
    ],
)
def test_swapped_parts_of_the_bills_are_refused_by_the_splitter(swap, account):
    chain, ledger = witness(), Ledger()
    entries = play(ledger, 10)
    amounts = {e.flow: e.amount_gwei for e in entries if e.flow in swap and e.day == 8}
    swapped = [
        replace(e, amount_gwei=amounts[swap[e.flow]]) if e.flow in swap and e.day == 8 else e for e in entries
    ]
    assert swapped != entries
    with pytest.raises(ReconciliationError, match="OutOfBounds") as found:
        settled(chain, ledger, swapped)
    assert found.value.account == account


def test_a_part_that_goes_to_somebody_else_is_refused():
    chain, ledger = witness(), Ledger()
    entries = play(ledger, 10)
    wrong = [replace(e, target="distributor") if (e.flow, e.day) == ("B4", 8) else e for e in entries]
    with pytest.raises(
        ReconciliationError, match=r"day 8, account clearing: .* the splitter pays staking_rewards"
    ):
        settled(chain, ledger, wrong)


def test_bills_are_settled_by_the_number_that_there_were():
    """Every bill may have rounded a gwei away; more than that is out of bounds."""
    chain, ledger = witness(), Ledger()
    entries = play(ledger, 10)
    (moved,) = [e for e in entries if (e.flow, e.day) == ("B4", 9)]
    (model,) = [e for e in entries if (e.flow, e.day) == ("B3", 9)]
    shift = {moved: 30, model: -30}
    shifted = [replace(e, amount_gwei=e.amount_gwei + shift.get(e, 0)) for e in entries]
    with pytest.raises(ReconciliationError, match="OutOfBounds"):
        chain.replay(shifted, through_day=9)
    chain = witness()
    chain.replay(shifted, through_day=9, bills=dict.fromkeys(range(10), 100))


def test_money_in_an_account_that_the_ledger_does_not_list_is_found():
    chain, ledger = witness(), Ledger()
    chain.replay(play(ledger, 10), through_day=9)
    del ledger.balances["unbonding/team/*"]
    with pytest.raises(ReconciliationError, match=r"account unbonding/team/\*"):
        reconciled(chain, ledger)


def test_a_claim_pays_what_was_earned_not_what_the_journal_says():
    chain, ledger = witness(), Ledger()
    entries = play(ledger, 10)
    claimed = sum(e.amount_gwei for e in entries if (e.flow, e.target) == ("C1", "wallet.l2/contributors/17"))
    with pytest.raises(ReconciliationError, match=r"account wallet.l2/contributors/17: the distributor pays"):
        chain.replay(entries, through_day=9, earned={"wallet.l2/contributors/17": claimed + 1})


def test_who_has_not_claimed_stays_in_the_root():
    chain, ledger = witness(), Ledger()
    chain.replay(play(ledger, 10, settle_on_last=False), through_day=9)
    earned = ledger.balances["distributor"] // 2
    chain.post_epoch({"wallet.l2/contributors/17": earned}, log_root=b"\x01" * 32, log_size=5)
    latest = chain.deployment.distributor.latest()
    assert (latest.number, latest.log_size, latest.log_root) == (1, 5, b"\x01" * 32)
    assert latest.total_wei == ledger.balances["distributor"] * 10**9
    reconciled(chain, ledger)
    paid, _ = chain.claims.claim("wallet.l2/contributors/17")
    assert paid == earned * 10**9


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (JournalEntry(0, "Q1", "vesting.team", "wallet.l2/team/*", 5), "no move on the chains goes that way"),
        (JournalEntry(0, "Q1", "wallet.l1/users/*", "wallet.l2/users/*", 5), "no move on the chains"),
        (JournalEntry(0, "H1", "wallet.l2/users/1", "wrapped/users/2", 5), "wrapped by its owner"),
        (JournalEntry(0, "H1", "wrapped/users/2", "wallet.l2/users/1", 5), "unwrapped to its owner"),
        (JournalEntry(0, "X1", "transit_deposit/users/1", "wallet.l2/users/2", 5), "the bridge pays wallet"),
        (JournalEntry(0, "X2", "transit_withdraw/users/1", "wallet.l1/users/1", 5), "match no sending"),
        (JournalEntry(0, "D1", "wallet.l2/users/*", "prepaid/users/*", 5), "short by 5 gwei"),
        (JournalEntry(0, "G1", "mint", "vesting.team", 5), "the ledger mints 5 gwei"),
        (JournalEntry(0, "V1", "treasury.l2", "wallet.l2/users/*", 5), "no executed proposal paid this"),
    ],
)  # fmt: skip
def test_moves_that_no_chain_makes_are_refused(untouched, entry, message):
    with pytest.raises(ReconciliationError, match=message) as found:
        untouched.replay([entry], through_day=0)
    assert found.value.account in (entry.source, entry.target)
    assert untouched.clock.today == -1


def test_money_for_the_bridge_leaves_on_its_day_whatever_was_bundled():
    """Stakes of days 5 and 9 are one move, which would take all of the claim that has to cross the bridge on day 5."""
    chain, ledger = witness(), Ledger()
    wallet, stake = "wallet.l2/contributors/17", "stake/contributors/17"
    out, home = "transit_withdraw/contributors/17", "wallet.l1/contributors/17"
    days = {
        0: [("U1", "vesting.community", "pool.community.l1", 145_500_000 * 10**9),
            ("U4", "pool.community.l1", "transit_deposit.pool.community", 1_000)],
        1: [("U4", "transit_deposit.pool.community", "pool.community.l2", 1_000),
            ("E2", "pool.community.l2", "distributor", 25)],
        5: [("C1", "distributor", wallet, 15), ("S1", wallet, stake, 5), ("X2", wallet, out, 10)],
        9: [("C1", "distributor", wallet, 10), ("S1", wallet, stake, 10)],
        14: [("X2", out, home, 10)],
    }  # fmt: skip
    for day, moves in days.items():
        ledger.day = day
        for move in moves:
            ledger.move(*move)
        if day >= 9:
            chain.replay(ledger.take(), through_day=day)
    ledger.day += 1
    rows = {row.account: row for row in reconciled(chain, ledger)}
    assert (rows[stake].chain_wei, rows[home].chain_wei) == (15 * 10**9, 10 * 10**9)


def test_an_exit_that_arrives_too_early_is_refused():
    chain, ledger = witness(), Ledger(exit_days=7)
    with pytest.raises(ReconciliationError, match=r"sent on day .*, the bridge takes 8 days"):
        chain.replay(play(ledger, 20), through_day=19)


def test_delays_of_the_bridge_follow_the_scenario():
    chain = ChainWitness(SPEC, day0_timestamp=T0, times=BridgeTimes(window_s=2 * 86_400))
    ledger = Ledger(exit_days=3)
    chain.replay(play(ledger, 20), through_day=19)
    reconciled(chain, ledger)


def test_a_proposal_changes_a_parameter_and_pays_from_the_treasury():
    chain, ledger = witness(), Ledger()
    chain.replay(play(ledger, 20), through_day=19)
    owner = max((a for a in ledger.balances if a.startswith("wrapped/")), key=ledger.balances.get)
    wallet = owner.replace("wrapped", "wallet.l2")
    chain.governance.delegate(19, wallet, wallet)
    amount = ledger.balances["treasury.l2"] // 3
    actions = [SetParameter("fees.split", (2, 1, 6)), Spend("wallet.l2/contributors/*", amount)]
    proposal = chain.governance.propose(19, wallet, actions, "Data first")
    for day in range(20, 36):
        ledger.run_day(settle=False)
        if day == 20:
            chain.replay(ledger.take(), through_day=20)
            assert chain.governance.cast_vote(20, wallet, proposal, Support.FOR) > 0
        if day == 27:
            chain.replay(ledger.take(), through_day=27)
            chain.governance.queue(27, proposal)
        if day == 34:
            chain.replay(ledger.take(), through_day=34)
            execution = chain.execute(34, proposal)
            ledger.day -= 1
            ledger.move("V1", "treasury.l2", "wallet.l2/contributors/*", amount)
            ledger.day += 1
            ledger.weights = (2, 1, 6)  # binds from the next day
    (change,) = execution.changes
    assert (change.name, change.old, change.new) == ("fees.split", (2, 2, 5), (2, 1, 6))
    assert 15 * 86_400 < execution.executed_at - proposal.proposed_at < 15 * 86_400 + 60
    assert chain.deployment.parameters.get("fees.split") == (2, 1, 6)
    chain.replay(ledger.take(), through_day=35)
    reconciled(chain, ledger)


def test_a_run_can_start_from_an_opening_table():
    """Released by schedule, distributed by the table, escrow equal to the coins on L2 from the start."""
    ledger = Ledger()
    play(ledger, 100)
    opening = {a: held for a, held in ledger.balances.items() if held}
    for account in [a for a in opening if a.startswith("transit")]:
        opening["venue"] += opening.pop(account)
    later = ChainWitness(SPEC, day0_timestamp=T0 + 100 * 86_400)
    later.open(opening)
    rows = later.reconcile(opening, epoch=0, day=0)
    assert {row.diff_wei for row in rows} == {0}
    entry = JournalEntry(0, "M1", "venue", "wallet.l1/users/*", 5)
    later.replay([entry], through_day=0)
    with pytest.raises(InputError, match="between the chains"):
        witness().open(opening | {"transit_deposit/users/*": 1})
    with pytest.raises(InputError, match="expected the cap"):
        witness().open({"venue": 1})
    wrong = opening | {"vesting.team": opening["vesting.team"] - 1, "venue": opening["venue"] + 1}
    with pytest.raises(ReconciliationError, match=r"account vesting.team: the schedule has freed 0 wei"):
        ChainWitness(SPEC, day0_timestamp=T0 + 100 * 86_400).open(wrong)


@pytest.mark.slow
def test_forty_eight_epochs():
    chain, ledger = witness(), Ledger(seed=3)
    for epoch in range(48):
        chain.replay(play(ledger, 30), through_day=ledger.day - 1)
        reconciled(chain, ledger, epoch)
    assert (chain.reconciled_epochs, chain.max_abs_diff_wei) == (48, 0)
    assert chain.deployment.vesting["team"].released() > 0
