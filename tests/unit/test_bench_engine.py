"""The bench of the engine: its figures, what a missing peer says, how memory is told, exit codes."""

from __future__ import annotations

import json

import pytest
import typer

from sim import cli
from sim.bench import Figure
from sim.engine_bench import bandwidth, economy, economy_memory, memory, rates
from sim.engine_bench.contestants import PEERS, Peer, our_step, peer_step
from sim.engine_bench.setup import population

BARS = {"cadcad_dict": 8_000, "mesa": 350, "numpy": 2.5}
IDS = [
    "ote1.x_cadcad_dict.n1e4", "ote1.x_cadcad_numpy.n1e4", "ote1.x_mesa.n1e4", "ote1.x_agentpy.n1e4",
    "ote1.x_numpy.n1e4", "ote1.x_polars.n1e4",
]  # fmt: skip


def quiet(_text: str) -> None:
    """Progress that nobody reads."""


def figures_by_id(figures):
    return {figure.id: figure for figure in figures}


class TestRates:
    @pytest.fixture
    def small(self, monkeypatch):
        """A hundred agents, numpy alone."""
        monkeypatch.setattr(rates, "AGENTS", 100)
        monkeypatch.setattr(rates, "OUR_DAYS", {"olsim": 60, "olsim_batch": 30})
        monkeypatch.setattr(Peer, "installed", property(lambda peer: peer.module == "numpy_inplace"))

    def test_every_id_with_its_bar(self, small):
        found = figures_by_id(rates.rate_figures(quiet, {}, rounds=1))
        assert set(found) == {*IDS, "ote1.x_cadcad_merged.n1e4"}
        for name in PEERS:
            assert found[f"ote1.x_{name}.n1e4"].bar == BARS.get(name)

    def test_a_missing_peer_has_no_value_and_says_how_to_install_it(self, small):
        found = figures_by_id(rates.rate_figures(quiet, {}, rounds=1))
        for name in ("mesa", "agentpy", "cadcad_dict", "cadcad_numpy"):
            figure = found[f"ote1.x_{name}.n1e4"]
            assert (figure.value, figure.ok) == (None, None)
            assert figure.detail == {"install": "pip install 'olsim[peers]'"}

    def test_raw_samples_and_memory_stand_under_detail(self, small):
        figure = figures_by_id(rates.rate_figures(quiet, {"olsim": 0.0, "numpy": 1.5}, rounds=3))[
            "ote1.x_numpy.n1e4"
        ]
        assert figure.value > 0
        assert {name: len(values) for name, values in figure.detail["samples_ns_per_step"].items()} == {
            "olsim": 3, "olsim_batch": 3, "numpy": 3,
        }  # fmt: skip
        assert figure.detail["peak_memory_growth_mb"] == {"olsim": 0.0, "numpy": 1.5}

    def test_a_step_makes_its_run_anew(self):
        ours, peer = our_step(population(10), 2, 30), peer_step(PEERS["numpy"], population(10))
        assert all(step(number) > 0 for number in (0, 1) for step in (ours, peer))


def test_bandwidth_share_says_which_bytes_it_counts():
    figure = bandwidth.bandwidth_figure(quiet, rounds=2, agents=2_000)
    assert (figure.id, figure.bar, figure.better) == ("ote1.bandwidth_share.n1e6", 0.55, "higher")
    assert (figure.detail["bytes_per_step"], figure.detail["bytes_moved_per_step"]) == (72, 64)
    assert figure.detail["share_by_bytes_moved"] == pytest.approx(figure.value * 64 / 72, rel=1e-2)
    assert len(figure.detail["update_gb_per_s"]) == len(figure.detail["steps_per_s"]) == 2


@pytest.mark.slow
def test_economy_figures(monkeypatch):
    sizes = {"AGENTS": 60, "RUNS": 2, "BATCH": 2, "OTE1_DAYS": 60, "DAYS": 1, "WARM_UP": 3}
    for name, value in sizes.items():
        monkeypatch.setattr(economy, name, value)
    rate, growth = economy.economy_figures(quiet, rounds=1, many=120)
    assert (rate.id, rate.bar, rate.better) == ("economy.rate_over_ote1.n1e4", 0.15, "higher")
    assert (growth.id, growth.bar, growth.better) == ("economy.cost_growth.n1e4_n1e6", 1.25, "lower")
    assert rate.value > 0
    assert growth.value > 0


class TestMemory:
    def test_growth_with_days_counts_to_the_horizon(self, monkeypatch):
        peaks = {"days": [1, 2, 4, 8], "resident_mib": [900.0, 950.0, 1000.0, 1004.0], "peak_mib": 1010.0}
        monkeypatch.setattr(memory, "in_child", lambda *words: peaks)
        figure = economy_memory.peak_figure(quiet, full=False)
        assert figure.value == pytest.approx((1004 + 1453) / 1024, abs=1e-3)
        assert figure.ok is False
        assert figure.detail["growth_mib_per_day"] == 1
        assert figure.detail["horizon_days"] == 1461

    @pytest.mark.slow
    def test_peaks_of_an_economy(self):
        peaks = economy_memory.economy_peaks(5, agents=60)
        assert peaks["days"] == [1, 2, 4, 5]
        assert all(0 < resident <= peaks["peak_mib"] for resident in peaks["resident_mib"])

    @pytest.mark.slow
    def test_a_process_of_its_own(self):
        assert memory.in_child("numpy", "3") >= 0

    @pytest.mark.slow
    def test_a_process_that_fails_says_why(self):
        with pytest.raises(RuntimeError, match=r"(?s)memory of nobody 3 failed:.*KeyError: 'nobody'"):
            memory.in_child("nobody", "3")


class TestCommand:
    def run(self, *words):
        with pytest.raises(SystemExit) as left:
            raise SystemExit(
                cli.run(lambda: typer.main.get_command(cli.app).main(["bench", "engine", *words], "olsim"))
            )
        return left.value.code

    @pytest.mark.parametrize(("value", "code"), [(9_000.0, 0), (7_000.0, 1)])
    def test_one_json_object_and_an_exit_code(self, monkeypatch, capsys, value, code):
        for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
            monkeypatch.setenv(name, "1")
        figure = Figure("ote1.x_cadcad_dict.n1e4", value, "ratio", "higher", 8_000)
        monkeypatch.setattr(memory, "growth_mb", lambda days: {})
        monkeypatch.setattr(rates, "rate_figures", lambda tell, grown: [figure])
        monkeypatch.setattr(bandwidth, "bandwidth_figure", lambda tell: figure)
        monkeypatch.setattr(economy, "economy_figures", lambda tell: [])
        monkeypatch.setattr(economy_memory, "peak_figure", lambda tell, full: figure)
        assert self.run("--json") == code
        told = json.loads(capsys.readouterr().out)
        assert told["bench"] == "engine"
        assert [one["ok"] for one in told["figures"]] == [code == 0] * 3


@pytest.mark.bench
def test_every_figure_holds_its_bar(root, monkeypatch, capsys):
    monkeypatch.chdir(root)
    with pytest.raises(SystemExit) as left:
        raise SystemExit(
            cli.run(lambda: typer.main.get_command(cli.app).main(["bench", "engine", "--json"], "olsim"))
        )
    told = json.loads(capsys.readouterr().out)
    assert left.value.code == 0, [figure for figure in told["figures"] if figure["ok"] is False]
