"""How far the serving model may be off: told by the fleet, kept in the manifest, shown beside the numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sim.fleet import fleet_of, stated_errors
from sim.policies.compare import with_policy
from sim.report.accuracy import error_text
from sim.report.headline import headline
from sim.report.sections import serving_blocks
from sim.results import load_run
from sim.results.manifest import Manifest
from sim.scenario import load

sys.path.insert(0, str(Path(__file__).parent))
import synthetic_runs as toy

BASELINE = Path(__file__).resolve().parents[2] / "scenarios" / "baseline.yaml"
TOLD = "surface off by 0.9 % (median), 12 % (worst)"


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["lru", "dedicated"])
def test_a_scenarios_surface_states_its_error(policy):
    errors = stated_errors(with_policy(load(BASELINE), policy))
    assert set(errors) >= {"latency_p95_s", "ttft_p50_s", "cache_hit_rate", "utilisation", "replicas_needed"}
    assert "price_usd" not in errors
    assert all(0.0 <= median <= largest for median, largest in errors.values())
    assert errors["latency_p50_s"][0] < 0.03


@pytest.mark.slow
def test_the_same_machines_and_seed_are_built_once():
    scenario = load(BASELINE)
    assert fleet_of(scenario) is fleet_of(load(BASELINE, ["days=30"]))
    assert fleet_of(scenario) is not fleet_of(load(BASELINE, ["demand.popularity.zipf=0.9"]))


def test_numbers_off_no_surface_have_no_error():
    assert error_text({"latency_p95_s": (0.01, 0.2)}, ("price_usd", "float_gwei")) == ""
    assert error_text({}, ("latency_p95_s",)) == ""


def test_the_report_tells_the_error_beside_what_is_read_from_the_surface(tmp_path):
    directory = toy.run_directory(tmp_path / "run", runs=3)
    plain = load_run(directory)
    plain.manifest.model_copy(update={"surface_error": {"latency_p95_s": (0.009, 0.12)}}).write(directory)
    run = load_run(directory)
    assert headline(run).line("latency_p95_s").label == f"request latency, 95th percentile ({TOLD})"
    assert "surface" not in headline(run).line("price_usd").label
    picture = serving_blocks(run)[1]
    assert picture.caption.endswith(f"latency from the throughput profile; {TOLD}.")
    assert serving_blocks(plain)[1].caption.endswith("latency from the throughput profile.")


def test_the_error_survives_the_manifest(tmp_path):
    manifest = toy.manifest(2, surface_error={"latency_p95_s": (0.009, 0.12)})
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path).surface_error == {"latency_p95_s": (0.009, 0.12)}
