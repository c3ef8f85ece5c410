"""Cost figures of the attribution bench, at small sizes: their names, bars, and what they are made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("cbor2", reason="needs the node extra (cbor2)")

from reference_node.attribution.bench.copies import Scores
from reference_node.attribution.bench.costs import RATE_BAR, Sizes, log_figures
from reference_node.attribution.bench.run import measure_costs, open_rig
from reference_node.attribution.clusters_attack import exact_copies
from reference_node.commands.bench_attribution import text_of

pytestmark = pytest.mark.node

FIGURES = {
    "copy_gain.exact": ("ratio", "lower", 1.0),
    "copy_gain.near": ("ratio", "lower", 1.05),
    "log.append_per_s": ("records/s", "higher", 20_000),
    "log.audit_per_s": ("records/s", "higher", 20_000),
    "record_bytes.k8": ("bytes", "lower", 400),
    "span_lookup_ms.10m": ("ms", "lower", 1.0),
}


def test_costs_are_figures_of_the_bench(tmp_path: Path) -> None:
    told: list[str] = []
    found = measure_costs(tmp_path, told.append, Sizes(records=300, corpus_tokens=20_000))
    assert {one["id"]: (one["unit"], one["better"], one["bar"]) for one in found} == FIGURES
    by_id = {one["id"]: one for one in found}
    for name in ("copy_gain.exact", "copy_gain.near", "record_bytes.k8"):
        assert by_id[name]["ok"] is True
    assert by_id["copy_gain.exact"]["detail"]["by_owner"].keys() >= {"c0", "c2", "c3", "c5"}
    assert len(told) == 3
    json.dumps(found)
    assert f"{RATE_BAR:,}" in text_of({"figures": found})


def test_rates_say_what_they_are_rates_of(tmp_path: Path) -> None:
    append, checked, size = log_figures(tmp_path / "work", 600)
    assert append["detail"]["records"] == 600 == checked["detail"]["records"]
    assert append["detail"].keys() >= {"append_processor_s", "sync", "group"}
    assert set(checked["detail"]["audit_per_s_by_processes"]) == {1, 2}
    assert size["value"] <= 400
    assert list((tmp_path / "work").iterdir()) == []


def test_a_found_copy_does_not_change_the_scores(tmp_path: Path) -> None:
    with open_rig("f1", tmp_path) as rig:
        documents = rig.corpus.documents
        score = Scores(rig)
        first = score(documents)
        assert first.shape == (len(rig.queries), len(documents))
        assert score(documents) is first
        assert len(exact_copies(documents, "c2", 1)) == len(documents) + 20
