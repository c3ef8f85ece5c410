"""The engine: what it builds out of a scenario, and that a run depends on nothing but scenario, seed and run number."""

from __future__ import annotations

import ast
import copy
import os
import pickle
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from models.errors import InputError
from sim import clock, draws
from sim.accounts import AGENT_CLASSES
from sim.begin import begin_world
from sim.clock import PHASES, Hooks, advance_day, run_days
from sim.engine import FAR, build_economy, population, result_of, run_batch
from sim.ledger import at, move
from sim.observables import OBSERVABLES
from sim.scenario import load

sys.path.insert(0, str(Path(__file__).parent))
import small_world as small

BUSY = small.busy(days=62)


def same(a, b, rows_a=slice(None), rows_b=slice(None)):
    """Assert that every observable is the same number, null where the other is null."""
    for observable in OBSERVABLES:
        name = observable.name
        nan = not name.endswith("_gwei")
        assert np.array_equal(a.metrics[name][rows_a], b.metrics[name][rows_b], equal_nan=nan), name


def by_run(table, run):
    """Return the rows of one run of a table."""
    keep = [i for i, number in enumerate(table["run"]) if number == run]
    return {name: [values[i] for i in keep] for name, values in table.items()}


class TestBatches:
    @pytest.fixture(scope="class")
    @staticmethod
    def together():
        return run_batch(BUSY, np.arange(5), witness=2)

    def test_runs_alone_are_the_runs_of_a_batch(self, together):
        for run in range(5):
            alone = run_batch(BUSY, np.array([run]), witness=2 if run == 2 else None)
            same(alone, together, 0, run)
            for table in ("groups", "usd", "events", "accounts", "flows"):
                assert by_run(alone.table(table), run) == by_run(together.table(table), run), table

    def test_two_batches_are_one(self, together):
        first, second = run_batch(BUSY, np.array([0, 3])), run_batch(BUSY, np.array([4, 2, 1]), witness=2)
        same(first, together, [0, 1], [0, 3])
        same(second, together, [0, 1, 2], [4, 2, 1])
        assert by_run(second.flows, 2) == together.flows
        assert by_run(second.accounts, 2) == together.accounts

    def test_tables_number_the_months_from_0_and_date_them_by_their_last_day(self, together):
        assert sorted(set(together.usd["month"])) == [0, 1]
        assert sorted(set(together.flows["day"])) == sorted(set(together.groups["day"])) == [30, 61]
        assert min(together.flows["amount_gwei"]) > 0

    def test_runs_differ(self, together):
        price = together.metrics["price_usd"][:, -1]
        assert len(set(price.tolist())) == 5

    def test_no_gwei_is_missing(self, together):
        assert together.residual_gwei == 0
        assert not together.metrics["conservation_residual_gwei"].any()
        total, burned = together.metrics["total_supply_gwei"], together.metrics["burned_gwei"]
        assert (total + burned == 10**18).all()
        assert burned[:, -1].min() > 0


class TestSameNumbers:
    @pytest.mark.slow
    def test_again(self):
        same(run_batch(BUSY, small.RUNS), run_batch(BUSY, small.RUNS))

    @pytest.mark.slow
    def test_another_seed_is_another_world(self):
        other = small.economy(*small.BUSY, "runs.seed=8", days=62)
        a, b = run_batch(BUSY, small.RUNS), run_batch(other, small.RUNS)
        assert not np.isclose(a.metrics["price_usd"][:, -1], b.metrics["price_usd"][:, -1], rtol=1e-3).any()
        # the calendar is no luck
        assert (a.metrics["unlocked_gwei"] == b.metrics["unlocked_gwei"]).all()

    def test_a_copied_or_pickled_world_goes_on_alike(self):
        world = small.world_after(BUSY, 40)
        twins = [copy.deepcopy(world), pickle.loads(pickle.dumps(world))]
        for each in (world, *twins):
            small.live(each, BUSY, 20)
        for twin in twins:
            assert (twin.balances == world.balances).all()
            assert (twin.holdings == world.holdings).all()
            assert (twin.price_usd == world.price_usd).all()

    @pytest.mark.slow
    def test_the_clock_is_the_days_one_after_the_other(self):
        world = begin_world(BUSY, small.RUNS, small.WITNESS)
        ended = []
        run_days(world, BUSY, None, Hooks(ended.append))
        assert ended == list(range(63))
        by_hand = small.world_after(BUSY, 62)
        same(result_of(world), result_of(by_hand))

    def test_common_random_numbers(self):
        """Two scenarios that differ in one parameter draw the same numbers for the same decisions."""
        a, b = small.busy(days=30), small.economy(*small.BUSY, "agents.team.sell.monthly=90 %", days=30)
        worlds = [begin_world(economy, small.RUNS) for economy in (a, b)]
        for name in ("taste", "haste", "hedged", "baseline_holding", "airdrop_weights", "trader_weights"):
            assert np.array_equal(getattr(worlds[0].holding, name), getattr(worlds[1].holding, name)), name
        assert np.array_equal(worlds[0].usage.users.threshold, worlds[1].usage.users.threshold)
        asked = [self.drawn(economy) for economy in (a, b)]
        assert asked[0].keys() == asked[1].keys()
        assert len(asked[0]) > 200
        for key, words in asked[0].items():
            assert np.array_equal(words, asked[1][key]), key

    def drawn(self, economy):
        """Return every word that a run draws: (decision, day, class) -> words."""
        seen = {}
        words = draws.words

        def noted(seed, decision, runs, day, agent_class, count, first=0):
            out = words(seed, decision, runs, day, agent_class, count, first)
            seen[decision, day, agent_class, count, tuple(runs.tolist())] = out
            return out

        patch = pytest.MonkeyPatch()
        patch.setattr(draws, "words", noted)
        try:
            run_batch(economy, small.RUNS)
        finally:
            patch.undo()
        return seen

    def test_shared_luck_shows_in_what_the_parameter_cannot_touch(self):
        a = run_batch(small.busy(days=30), small.RUNS)
        b = run_batch(small.economy(*small.BUSY, "agents.team.sell.monthly=90 %", days=30), small.RUNS)
        same(a, b)  # the team has nothing before its cliff, so that not one number differs

    @pytest.mark.slow
    @pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles"])
    def test_neither_time_zone_nor_hash_seed_nor_locale_matters(self, zone, tmp_path):
        out = tmp_path / "price.npy"
        code = (
            "import numpy as np; from sim.scenario import load; from sim.engine import build_economy, run_batch; "
            f"e = build_economy(load(r'{small.BASELINE}', ['days=20']), agents=60); "
            f"np.save(r'{out}', np.stack([run_batch(e, np.arange(2)).metrics[n] for n in ('price_usd', 'float_gwei')]))"
        )
        environment = os.environ | {"TZ": zone, "PYTHONHASHSEED": "5", "LC_ALL": "C"}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=small.ROOT)
        here = run_batch(small.economy(agents=60, days=20), np.arange(2)).metrics
        assert np.array_equal(np.load(out), np.stack([here["price_usd"], here["float_gwei"]]))

    def test_nothing_reads_the_date_or_unkeyed_luck(self):
        """No module of the engine asks what day it is today, or draws from a stream without a seed."""
        engine = [*small.ROOT.glob("models/*.py"), *small.ROOT.glob("sim/*.py")]
        for folder in ("phases", "governance", "states", "serving", "scenario", "chain"):
            engine += small.ROOT.glob(f"sim/{folder}/*.py")
        assert len(engine) > 80
        for file in engine:
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    text = ast.unparse(node)
                    assert not text.startswith(FORBIDDEN), f"{file}:{node.lineno}: {text}"


FORBIDDEN = (
    "date.today(", "datetime.now(", "datetime.utcnow(", "datetime.date.today(", "time.time(", "time.localtime(",
    "np.random.default_rng()", "np.random.seed(", "np.random.rand", "np.random.normal(", "random.random(",
    "os.urandom(", "uuid.",
)  # fmt: skip


class TestEconomy:
    def test_agents_set_the_resolution_and_not_the_size(self):
        few, more = small.economy(agents=60, days=10), small.economy(agents=600, days=10)
        a, b = run_batch(few, np.arange(2)), run_batch(more, np.arange(2))
        for name in ("unlocked_gwei", "total_supply_gwei", "locked_gwei"):
            assert (a.metrics[name] == b.metrics[name]).all()
        circulating = a.metrics["circulating_gwei"][:, 0], b.metrics["circulating_gwei"][:, 0]
        assert np.allclose(*circulating, rtol=1e-6)

    def test_population_keeps_the_proportions_and_everybody(self):
        scenario = load(small.BASELINE)
        assert sum(population(scenario, None).values()) == 10_000
        for agents in (9, 100, 1_000, 20_000):
            counts = population(scenario, agents)
            assert sum(counts.values()) == agents
            assert set(counts) == set(AGENT_CLASSES)
            assert min(counts.values()) >= 1
        assert population(scenario, 20_000)["holders"] == pytest.approx(12_000, rel=0.01)

    def test_fewer_agents_than_classes_are_refused(self):
        with pytest.raises(InputError, match="--agents 8 is less than one agent for each of the 9 classes"):
            population(load(small.BASELINE), 8)

    def test_a_proposer_whom_nobody_simulates_is_refused(self):
        with pytest.raises(
            InputError, match=r"proposal\.proposer\.rank: 3 is over the 2 delegates that are simulated"
        ):
            small.economy("proposal.submit=2025-10-15", agents=60, file=small.DATA_FIRST)

    def test_the_calendar(self):
        economy = small.economy(days=1461)
        ends = np.flatnonzero(economy.epoch_end)
        assert len(ends) == 48
        assert [economy.date_of(int(day)) for day in ends[[0, 11, 47]]] == [
            date(2025, 10, 8), date(2026, 9, 8), date(2029, 9, 8),
        ]  # fmt: skip
        assert economy.month_of_day[ends].tolist() == list(range(1, 49))
        assert economy.day_of_month[ends].tolist() == [0] * 48
        assert economy.day_of_month[ends[1:] - 1].tolist() == (np.diff(ends) - 1).tolist()

    def test_days_to_the_cliff(self):
        economy = small.economy(days=1461)
        first = (date(2026, 10, 8) - economy.scenario.start).days
        assert economy.days_to_cliff[[0, first - 1, first]].tolist() == [first, 1, 0]
        # instalments after the first are equal: none of them raises the flow
        assert (economy.days_to_cliff[first + 1 :] == FAR).all()

    def test_the_cap_is_minted_before_anything_moves(self):
        world = begin_world(BUSY, small.RUNS)
        vesting = [world.world_balance(f"vesting.{role}") for role in BUSY.vested]
        assert (sum(vesting) == 10**18).all()
        assert world.balances.sum() == 3 * 10**18
        assert not world.holdings.any()


class TestClock:
    def test_phases_come_in_the_order_of_the_day(self):
        assert [name for name, _ in PHASES] == [
            "unlock", "emission", "demand", "serving", "billing", "attribution", "operators", "staking", "holders",
            "market", "bridge", "governance", "grants", "settle", "record",
        ]  # fmt: skip

    def test_decisions_see_yesterdays_close(self, monkeypatch):
        """The price does not move before the market, and nobody sees today's close but record and governance."""
        world = small.world_after(BUSY, 20)
        before, seen = world.price_usd.copy(), {}
        run_phase = clock.run_phase

        def watched(world, economy, name, module, services):
            seen[name] = world.price_usd.copy()
            run_phase(world, economy, name, module, services)

        monkeypatch.setattr(clock, "run_phase", watched)
        advance_day(world, BUSY, 21)
        for name in ("unlock", "demand", "billing", "operators", "holders", "market"):
            assert (seen[name] == before).all(), name
        assert (seen["bridge"] != before).all()

    def test_a_dated_parameter_begins_on_its_date(self):
        economy = small.economy(days=70)
        world = begin_world(economy, np.array([0]))
        first = (date(2025, 11, 15) - economy.scenario.start).days
        sold = []
        for day in range(first + 2):
            advance_day(world, economy, day)
            sold.append(int(world.governed.read("fees.input")[0]))
        assert sold[first - 1] < 0 < sold[first] == sold[first + 1]

    def test_any_error_comes_through_as_it_is(self, monkeypatch):
        """SimPy makes errors anew from their arguments; one that needs others must not turn into a TypeError."""

        class OddError(RuntimeError):
            def __init__(self, *, what):
                super().__init__(f"odd: {what}")

        def fault(world):
            raise OddError(what="seven")

        small.plant(monkeypatch, 2, fault)
        with pytest.raises(OddError, match="odd: seven"):
            run_batch(BUSY, small.RUNS)

    def test_yesterdays_books_are_closed(self):
        world = small.world_after(BUSY, 3)
        assert "G1" not in {flow for flow, _, _ in world.journal.today}
        clock.begin_day(world, BUSY, 4)
        assert not world.journal.today
        assert not world.usd.today

    def test_income_counts_what_people_are_paid_until_the_epoch_ends(self):
        world = small.world_after(BUSY, 29)
        world.phase = "unlock"
        before = world.income.copy()
        one = np.zeros((3, world.layout.count("team")), np.int64)
        one[1, 0] = 17
        move(world, "U2", at("vesting.team"), at("wallet.l1", "team"), one)
        gained = (world.income - before)[:, world.layout.slice("team")]
        assert gained.tolist() == one.tolist()
        assert world.income.sum() == before.sum() + 17


def test_a_run_of_another_unit_is_refused_and_not_priced_wrongly():
    scenario = load(small.BASELINE, ["token.ledger_decimals=8"])
    with pytest.raises(InputError, match=r"token\.ledger_decimals: is 8, but a run keeps its ledger in gwei"):
        build_economy(scenario, agents=30)
