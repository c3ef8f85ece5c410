"""The committed profile is a sealed measurement, and every way to spoil one is refused with its path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InputError
from models.serving import joining_alone, profile_sha256, step_time_ms
from sim.serving import read_profile

PROFILE = Path(__file__).parents[2] / "reference_node" / "profiles" / "cpu.json"


def document() -> dict[str, Any]:
    return json.loads(PROFILE.read_text())


def reseal(changed: dict[str, Any], path: Path) -> Path:
    changed["provenance"]["sha256"] = profile_sha256(changed)
    path.write_text(json.dumps(changed))
    return path


def test_committed_profile_is_a_sealed_measurement():
    found = read_profile(PROFILE)
    assert found.measured
    assert found.sha256 == profile_sha256(document())
    assert (found.id, found.model_arch, found.device_kind) == ("cpu-tiny", "llama-tiny", "cpu")
    assert found.batch_max == 32
    assert found.fit.r2 > 0.9
    assert {window.holdout for window in found.windows} == {True, False}


def test_prompts_are_fitted_to_forwards_that_fit_into_a_step():
    rows = [row for row in document()["prefill"] if row["tokens"] * row["batch"] <= 512]
    assert len(rows) < len(document()["prefill"])
    prompts = read_profile(PROFILE).prompts
    for row in rows:
        total = row["tokens"] * row["batch"]
        predicted = prompts.base + prompts.chunk * row["batch"] + prompts.token * total
        assert predicted == pytest.approx(1e3 * total / row["tok_s"], rel=0.2)


def test_mixed_rows_say_what_a_prompt_adds_and_without_them_the_fixed_cost_is_paid_once(tmp_path):
    mixed = document()
    cpu = read_profile(PROFILE)
    mixed["mixed"] = [
        {
            "batch": batch, "tokens": tokens, "distinct_adapters": 4, "rank": 16, "context": 32,
            "step_ms_p50": cpu.decode_ms(batch, 4, 32) + 2.0 + 0.0625 * min(tokens, 512 - batch),
            "step_ms_p99": 9.0, "samples_ms": [],
        }
        for batch in (3, 31) for tokens in (16, 256, 2048)
    ]  # fmt: skip
    found = read_profile(reseal(mixed, tmp_path / "mixed.json"))
    assert found.joining.base + found.joining.chunk == pytest.approx(2.0)
    assert found.joining.token == pytest.approx(0.0625)
    mixed["mixed"] = []  # what an endpoint's profile holds
    plain = read_profile(reseal(mixed, tmp_path / "plain.json"))
    assert plain.joining == joining_alone(plain.fit, plain.prompts)


def test_factors_take_out_what_the_line_misses_by_batch():
    cpu = read_profile(PROFILE)
    for batch in {row["batch"] for row in document()["decode"]}:
        rows = [row for row in document()["decode"] if row["batch"] == batch]
        line = [
            float(step_time_ms(cpu.fit, batch, row["distinct_adapters"], row["rank"], row["context"]))
            for row in rows
        ]
        missed = [row["step_ms_p50"] / ms for row, ms in zip(rows, line, strict=True)]
        assert cpu.factors[batch] == pytest.approx(float(np.exp(np.mean(np.log(missed)))))


def test_raw_samples_back_every_median_of_the_committed_profile():
    for row in document()["decode"]:
        low, high = min(row["samples_ms"]), max(row["samples_ms"])
        assert low <= row["step_ms_p50"] <= high
        assert len(row["samples_ms"]) >= 5 * 5
        assert row["tok_s"] == pytest.approx(1e3 * row["batch"] / row["step_ms_p50"], rel=1e-3)


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for part in parents:
            found = found[int(part)] if part.isdigit() else found[part]
        found[last] = value

    return change


def _drop(path: str) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        parent, last = path.split(".")
        del found[parent][last]

    return change


FAULTS = [
    (_set("surprise", 1), "surprise: unknown key"),
    (_set("fit.e", 1.0), "fit.e: unknown key"),
    (_set("decode.0.speed", 1.0), "decode.0.speed: unknown key"),
    (_set("schema", 2), "schema: Input should be 1, got 2"),
    (_drop("provenance.measured"), "provenance.measured: Field required"),
    (_set("provenance.measured", "yes"), "provenance.measured: Input should be a valid boolean"),
    (_set("fit.b", -0.1), "fit.b: Input should be greater than or equal to 0, got -0.1"),
    (_set("fit.b", "fast"), "fit.b: Input should be a valid number"),
    (_set("decode.0.step_ms_p50", 0), "decode.0.step_ms_p50: Input should be greater than 0"),
    (_set("serving.0.hit_rate", 1.5), "serving.0.hit_rate: Input should be less than or equal to 1"),
    (_set("device.kind", "tpu"), "device.kind: Input should be 'cpu', 'cuda' or 'endpoint'"),
    (_set("prefill", []), "needs decode rows, prefill rows of at least two lengths and at most 512 tokens"),
    (_set("prefill.0.tok_s", 0), "prefill.0.tok_s: Input should be greater than 0"),
    (_set("lora.resident_slots", 0), "lora.resident_slots of 1 or more"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS, ids=[message[:40] for _, message in FAULTS])
def test_each_fault_is_named_with_the_file(tmp_path, change, message):
    spoiled = document()
    change(spoiled)
    path = (
        reseal(spoiled, tmp_path / "spoiled.json")
        if "measured" in spoiled["provenance"]
        else tmp_path / "x.json"
    )
    path.write_text(json.dumps(spoiled))
    with pytest.raises(InputError) as caught:
        read_profile(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_an_edited_number_breaks_the_seal(tmp_path):
    edited = document()
    edited["fit"]["a"] = 0.001
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(edited))
    with pytest.raises(InputError, match="changed after it was measured"):
        read_profile(path)


def test_all_faults_of_a_file_are_said_at_once(tmp_path):
    spoiled = document()
    spoiled["fit"]["a"], spoiled["surprise"] = -1.0, 1
    with pytest.raises(InputError) as caught:
        read_profile(reseal(spoiled, tmp_path / "two.json"))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(("text", "message"), [("{", "not JSON"), ("[]", "valid dictionary")])
def test_other_files_are_refused(tmp_path, text, message):
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_profile(tmp_path / "other.json")
    with pytest.raises(InputError, match=r"nowhere\.json.*cannot read"):
        read_profile(tmp_path / "nowhere.json")
