"""Rates of the day and the influence profile: from scenario and governed columns to numbers."""

from __future__ import annotations

import json
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest

from models.errors import InputError
from sim.governed_columns import OFF, GovernedColumns
from sim.influence import load_influence, month_shares
from sim.rates import rates_of, split_rule
from sim.world import Layout

USD, OPEN = "USD/1M tokens", "OPEN/1M tokens"
COLUMNS = {
    "fees.input": 100_000,
    "fees.output": 400_000,
    "fees.access.paid_models": 1_000,
    "fees.access.price": 3_000_000,
    "fees.platform": 0,
    "fees.platform_flat": 7,
    "fees.split.model": 2,
    "fees.split.stakers": 2,
    "fees.split.contributors": 5,
    "fees.burn": 0,
}


def setting(unit=USD, simulated=25):
    def leaf(value, unit=""):
        return SimpleNamespace(value=value, unit=unit)

    economy = SimpleNamespace(
        scenario=SimpleNamespace(
            start=date(2026, 2, 1),
            fees=SimpleNamespace(input=leaf(0, unit), output=leaf(0, unit)),
            demand=SimpleNamespace(tokens=SimpleNamespace(input=leaf(40_000), output=leaf(8_000))),
            agents=SimpleNamespace(users=SimpleNamespace(stands_for=leaf(40), count=25)),
        ),
        layout=Layout.of({"users": simulated}),
        date_of=lambda day: date(2026, 2, 1 + day),
    )
    governed = GovernedColumns.begin(2)
    for name, value in COLUMNS.items():
        governed.read(name)[:] = value
    return SimpleNamespace(governed=governed, price_usd=np.array([0.5, 0.25]), day=3), economy


def test_rates_in_usd_follow_the_close():
    world, economy = setting()
    rates = rates_of(world, economy)
    assert rates.input.tolist() == [200_000_000, 400_000_000]
    assert rates.output.tolist() == [800_000_000, 1_600_000_000]
    assert np.allclose(rates.usd_per_1m, 0.15)
    # 3 USD a month over 28 days of February for 40 users
    assert rates.access.tolist() == [6_000_000_000 * 40 // 28, 12_000_000_000 * 40 // 28]


def test_rates_in_the_token_stand_as_written():
    world, economy = setting(OPEN)
    rates = rates_of(world, economy)
    assert rates.input.tolist() == [100_000, 100_000]
    assert np.allclose(rates.usd_per_1m[0], 2 * rates.usd_per_1m[1])


def test_a_rate_before_its_first_date_sells_nothing():
    world, economy = setting()
    world.governed.read("fees.output")[1] = OFF
    assert rates_of(world, economy).sold.tolist() == [True, False]


def test_fewer_simulated_users_stand_for_more_and_a_flat_part_counts_for_each():
    world, economy = setting(simulated=5)
    assert split_rule(world, economy).platform_flat.tolist() == [7 * 200] * 2
    world, economy = setting()
    assert split_rule(world, economy).platform_flat.tolist() == [7 * 40] * 2


def profile(tmp_path, **changed):
    data = {
        "schema": "influence.v1",
        "id": "t",
        "provenance": {"measured": True},
        "policy": "cluster_sum_clip.v1",
        "ranks": 2,
        "query_classes": {"legal": {"mean_shares": [0.7, 0.3], "concentration": 9.0, "no_influence": 0.25}},
    }
    path = tmp_path / "influence.json"
    path.write_text(json.dumps({**data, **changed}))
    return path


def test_a_profile_is_read_in_the_order_of_the_query_classes(tmp_path):
    read = load_influence(profile(tmp_path), ("legal",))
    assert read.measured
    assert read.no_influence_bps.tolist() == [2_500]
    assert read.mean_shares.tolist() == [[0.7, 0.3]]


@pytest.mark.parametrize(
    ("classes", "changed"), [(("poetry",), {}), (("legal",), {"schema": "influence.v0"})]
)
def test_a_profile_that_does_not_fit_is_refused(tmp_path, classes, changed):
    with pytest.raises(InputError, match=r"influence\.json"):
        load_influence(profile(tmp_path, **changed), classes)


def test_month_shares_sum_to_one_keep_their_mean_and_scatter_as_told(tmp_path):
    read = load_influence(profile(tmp_path), ("legal",))
    normal = np.random.Generator(np.random.Philox(1)).standard_normal((40_000, 1, 2))
    shares = month_shares(read, normal)[:, 0]
    assert np.allclose(shares.sum(axis=1), 1.0)
    assert abs(shares[:, 0].mean() - 0.7) < 0.02
    dirichlet = np.sqrt(0.7 * 0.3 / 10.0)
    assert 0.8 < shares[:, 0].std() / dirichlet < 1.2
