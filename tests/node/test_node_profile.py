"""The profile's schema, and a bench of a minute model that writes a profile both sides accept."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from models.errors import InputError
from models.serving import profile_sha256
from reference_node.profile_file import json_schema, read_profile, write_profile

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "reference_node" / "profiles"
CPU = FOLDER / "cpu.json"
MINUTE = {
    "vocab_size": 64, "hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1, "head_dim": 16,
    "intermediate_size": 48,
}  # fmt: skip
MINUTE_PLAN = {
    "batches": (1, 4), "ranks": (2, 4), "contexts": (8, 16), "prefill_tokens": (4, 8), "prefill_batches": (1, 2),
    "slots": 4, "adapters": 6, "requests": 24, "input_tokens": 8, "output_tokens": 4, "repeats": 2, "steps": 2,
}  # fmt: skip


def test_committed_schema_is_current():
    assert json.loads((FOLDER / "profile.schema.json").read_text()) == json_schema()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*[!a].json")), ids=lambda path: path.stem)
def test_every_committed_profile_is_read_and_written_back_identically(path, tmp_path):
    profile = read_profile(path)
    assert write_profile(profile, tmp_path / "again.json") == profile
    assert (tmp_path / "again.json").read_bytes() == path.read_bytes()


def test_committed_profile_satisfies_the_json_schema():
    jsonschema = pytest.importorskip("jsonschema", reason="needs the dev extra (jsonschema)")
    validator = jsonschema.Draft202012Validator(json_schema())
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert list(validator.iter_errors(json.loads(CPU.read_text()))) == []


def test_committed_cpu_profile_is_medians_of_five_repeats_on_one_thread_with_loads_held_out():
    profile = read_profile(CPU)
    assert (profile.provenance.n_repeats, profile.software.threads) == (5, 1)
    assert (profile.software.clock, profile.provenance.processor_share > 0.9) == ("processor", True)
    assert sum(row.holdout for row in profile.serving) >= 2


def test_committed_fit_follows_from_the_decode_rows_alone():
    pytest.importorskip("torch", reason="needs the node extra (torch)")
    from reference_node.bench.run import fit_decode

    profile = read_profile(CPU)
    again = fit_decode(profile.decode, profile.fit.regroup_ms)
    assert dataclasses.astuple(again) == pytest.approx(dataclasses.astuple(profile.fit), rel=1e-9)


def _spoiled(kind: str) -> dict:
    found = json.loads(CPU.read_text())
    if kind == "unknown key":
        found["fit"]["e"] = 1.0
    elif kind == "missing":
        del found["provenance"]["measured"]
    elif kind == "not number":
        found["fit"]["a"] = "fast"
    elif kind == "out of range":
        found["serving"][0]["hit_rate"] = 1.01
    elif kind == "not one of":
        found["device"]["kind"] = "tpu"
    elif kind == "boolean":
        found["decode"][0]["batch"] = True
    elif kind == "allowed above 0":
        found["decode"][0]["step_ms_p50"] = 0.0
    return found


MESSAGES = {
    "unknown key": "fit.e: unknown key",
    "missing": "provenance.measured: missing",
    "not number": "fit.a: 'fast' is not number",
    "out of range": r"serving\[0\].hit_rate: 1.01 is out of range; allowed 0 to 1",
    "not one of": "device.kind: 'tpu' is not one of",
    "boolean": r"decode\[0\].batch: 'True' is not integer",
    "allowed above 0": r"step_ms_p50: 0.0 is out of range; allowed above 0",
}


@pytest.mark.parametrize("kind", MESSAGES)
def test_writer_reader_and_simulator_refuse_the_same_faults(kind, tmp_path):
    jsonschema = pytest.importorskip("jsonschema", reason="needs the dev extra (jsonschema)")
    from sim.serving import read_profile as read_for_simulation

    spoiled = _spoiled(kind)
    spoiled["provenance"]["sha256"] = profile_sha256(spoiled)
    path = tmp_path / "spoiled.json"
    path.write_text(json.dumps(spoiled))
    with pytest.raises(InputError, match=MESSAGES[kind]):
        read_profile(path)
    with pytest.raises(InputError):
        read_for_simulation(path)
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(spoiled)


def test_an_edited_profile_is_refused(tmp_path):
    edited = json.loads(CPU.read_text())
    edited["decode"][0]["tok_s"] *= 2
    (tmp_path / "edited.json").write_text(json.dumps(edited))
    with pytest.raises(InputError, match="changed after it was measured"):
        read_profile(tmp_path / "edited.json")


def test_bench_of_a_minute_model_writes_a_profile_that_both_sides_read(tmp_path):
    pytest.importorskip("torch", reason="needs the node extra (torch)")
    from reference_node.bench.measure import BenchPlan
    from reference_node.bench.run import measure_profile
    from reference_node.config import ModelConfig
    from sim.serving import read_profile as read_for_simulation

    shape = ModelConfig(**MINUTE)
    plan = BenchPlan(config=shape, **MINUTE_PLAN)
    said: list[str] = []
    profile = write_profile(
        measure_profile(plan, "minute", "cpu", "test", said.append), tmp_path / "minute.json"
    )
    assert profile.provenance.measured
    assert profile.model.params == shape.parameters()
    assert {(row.batch, row.distinct_adapters, row.rank) for row in profile.decode} == {
        (1, 0, 0), (1, 1, 4), (1, 1, 2), (4, 0, 0), (4, 1, 4), (4, 4, 4), (4, 4, 2),
    }  # fmt: skip
    assert {(row.batch, row.tokens) for row in profile.mixed} == {(3, 4), (3, 8)}
    rows = [*profile.decode, *profile.mixed]
    assert all(len(row.samples_ms) == plan.repeats * plan.steps for row in rows)
    assert [row.holdout for row in profile.serving] == [False, True, True]
    assert all(row.completed == 24 and row.failed == 0 for row in profile.serving)
    assert all(0 < row.fraction_of_roofline < 1 for row in profile.decode)
    assert read_for_simulation(tmp_path / "minute.json").sha256 == profile.provenance.sha256
    assert any("round 3 of 3" in text for text in said)


BARE = """
import sys
BLOCKED = {
    "typer", "rich", "pydantic", "transformers", "peft", "polars", "simpy", "ruamel", "sim", "fastapi", "httpx2",
    "tokenizers", "cbor2", "jsonschema", "triton",
}
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocker())
import reference_node.bench.accelerator
from reference_node.bench.measure import BenchPlan
from reference_node.bench.run import measure_profile
from reference_node.config import ModelConfig
shape = ModelConfig(**MINUTE)
plan = BenchPlan(**(MINUTE_PLAN | {"config": shape, "requests": 8, "repeats": 1}))
print(measure_profile(plan, "minute", "cpu", "test", lambda text: None).id)
"""


def test_bench_runs_with_torch_numpy_and_safetensors_alone():
    pytest.importorskip("torch", reason="needs the node extra (torch)")
    done = subprocess.run(
        [sys.executable, "-c", f"{MINUTE = }\n{MINUTE_PLAN = }\n{BARE}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "cpu-minute", done.stderr


def test_figures_compare_with_peers_on_equal_weights(oracle, tmp_path):
    from reference_node.config import ModelConfig
    from reference_node.model import random_model
    from reference_node.weights import load_model, save_model

    torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
    transformers = pytest.importorskip("transformers", reason="needs the node extra (transformers)")
    shape = ModelConfig(**MINUTE)
    model = random_model(shape, 3, max_length=32)
    save_model(model, tmp_path)
    tokens = torch.arange(12).reshape(2, 6)
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        expected = peer(tokens).logits
    assert torch.allclose(model.all_logits(tokens), expected, atol=1e-4)
    again, _ = load_model(tmp_path, max_length=32)
    assert torch.equal(again.layers[1].qkv, model.layers[1].qkv)


@pytest.mark.filterwarnings("error::FutureWarning")
def test_peers_are_loaded_without_bars_and_forecasts():
    pytest.importorskip("transformers", reason="needs the train extra (transformers)")
    from transformers.utils import logging

    from reference_node.bench.figures import _quiet_peers

    before = logging.is_progress_bar_enabled()
    with _quiet_peers():
        assert not logging.is_progress_bar_enabled()
        warnings.warn("gone in version 6", FutureWarning, stacklevel=1)
    assert logging.is_progress_bar_enabled() == before


def test_commands_make_and_check_adapters(tmp_path):
    pytest.importorskip("torch", reason="needs the node extra (torch)")
    from typer.testing import CliRunner

    from reference_node.cli import app

    runner = CliRunner()
    made = runner.invoke(app, ["adapters", "make", str(tmp_path / "a"), "--rank", "4", "--seed", "5"])
    facts = json.loads(runner.invoke(app, ["adapters", "check", str(tmp_path / "a"), "--json"]).stdout)
    assert facts["sha256"] == made.stdout.strip()
    assert facts["rank"] == 4
    (tmp_path / "a" / "adapter_model.safetensors").unlink()
    refused = runner.invoke(app, ["adapters", "check", str(tmp_path / "a")])
    assert isinstance(refused.exception, InputError)
    assert isinstance(runner.invoke(app, ["bench"]).exception, InputError)
    assert isinstance(runner.invoke(app, ["bench", "--out", str(tmp_path)]).exception, InputError)
    assert isinstance(runner.invoke(app, ["bench", "--out", "x", "--preset", "9b"]).exception, InputError)
