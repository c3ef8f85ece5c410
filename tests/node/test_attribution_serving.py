"""Attribution in the serving path: bundles, the desk of a running node, its interface, and the profile of a log."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.attribution import WHOLE
from models.errors import InputError
from reference_node.attribution.attributor import Attributor, text_of
from reference_node.attribution.bundle import BUNDLE_FILE, DOCUMENTS_FILE, Bundle
from reference_node.attribution.influence_profile import class_entry, influence_document, read_influence
from reference_node.attribution.retrain import Recipe
from reference_node.billing.claim import RecordProof
from reference_node.billing.reading import LogReader
from reference_node.billing.record import LogRecord
from reference_node.billing.served import Influence
from reference_node.manifest import AdapterManifest, ContributorShare, DataNetShare
from reference_node.restriction import Restriction
from reference_node.tokenizer import TextCodec
from reference_node.train.dataset import read_dataset, sequence_rows
from reference_node.weights import base_sha256, load_model
from sim.influence import load_influence
from tests.node.api_world import LENGTH_MAX, adapter, live, make_base, settled, small, wait_until
from tests.node.billing_world import LAW, open_log, request
from tests.node.billing_world import adapter as served_adapter

pytestmark = pytest.mark.node

OWNER = "0x" + "a1" * 20
ADDRESSES = {name: f"0x{digit * 40}" for name, digit in (("ana", "b"), ("ben", "c"), ("cid", "d"))}
WORDS = ["river", "stone", "window", "garden", "letter", "morning", "winter", "bridge", "paper", "silver"]
RESTRICTED = Restriction("medical", "CC-BY-4.0", "ethics board, protocol 7", "5a" * 16)


def rows() -> list[dict[str, str]]:
    """Three documents of each of three contributors; `cid` gives to another DataNet."""
    drawn = np.random.default_rng(4)
    return [
        {
            "id": f"{name}-{i}",
            "datanet": "wards" if name == "cid" else "towns",
            "contributor": name,
            "prompt": f"What of the {drawn.choice(WORDS)}?",
            "completion": " ".join(drawn.choice(WORDS, 9)),
        }
        for name in ADDRESSES
        for i in range(3)
    ]


def manifest(dataset_sha256: str, base: str, *, restricted: bool = False) -> AdapterManifest:
    def shares(*names: str) -> tuple[ContributorShare, ...]:
        return tuple(ContributorShare(name, ADDRESSES[name], 10_000 // len(names)) for name in names)

    nets = (
        DataNetShare("towns", 6_000, shares("ana", "ben")),
        DataNetShare("wards", 4_000, shares("cid"), RESTRICTED if restricted else None),
    )
    return AdapterManifest(OWNER, nets, base, {"dataset_sha256": dataset_sha256})


class Made:
    """A base, an adapter with a manifest, and how to make its bundle."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.base = folder, make_base(folder / "base")
        self.codec = TextCodec.from_folder(self.base)
        self.model, tensors = load_model(self.base, max_length=LENGTH_MAX)
        self.base_sha256 = base_sha256(tensors, self.codec.sha256)
        self.adapter = adapter(2)
        path = folder / "towns.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
        self.dataset = read_dataset(path)

    def manifest(self, **given: Any) -> AdapterManifest:
        return manifest(self.dataset.sha256, self.base_sha256, **given)

    def bundle(self, name: str = "bundle", made_of: AdapterManifest | None = None, **given: Any) -> Bundle:
        facts = {
            "adapter_sha256": self.adapter.sha256,
            "base_sha256": self.base_sha256,
            "manifest": made_of or self.manifest(),
            "recipe": Recipe(rank=4, alpha=8.0, epochs=2, batch=4),
        } | given
        sequences = sequence_rows(self.dataset, self.codec, LENGTH_MAX)
        return Bundle.make(self.folder / name, self.dataset, sequences, **facts)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def bundle(made: Made) -> Bundle:
    return made.bundle()


def asked(made: Made, number: int = 0) -> tuple[list[int], list[int]]:
    """A training row as prompt and answer."""
    found = sequence_rows(made.dataset, made.codec, LENGTH_MAX)[number]
    return list(found.tokens[: found.start]), list(found.tokens[found.start :])


# --- bundles ---


def test_a_bundle_is_read_as_it_was_made(made: Made, bundle: Bundle) -> None:
    found = Bundle.open(bundle.folder)
    assert found == bundle
    assert [one.owner for one in found.documents][::3] == ["towns/ana", "towns/ben", "wards/cid"]
    assert all(one.start > 1 for one in found.documents)
    with pytest.raises(InputError, match="holds a bundle already; choose another folder"):
        made.bundle()
    with pytest.raises(InputError, match="holds no attribution bundle; make one with olsim node attribute"):
        Bundle.open(made.folder)


def test_a_bundle_of_other_data_another_base_or_nobody_is_refused(made: Made) -> None:
    with pytest.raises(InputError, match=f"hashes to {made.dataset.sha256}; the adapter was trained on 00"):
        made.bundle("other", manifest("00" * 32, made.base_sha256))
    with pytest.raises(
        InputError, match=f"base model: is {made.base_sha256}; the adapter was trained for 11"
    ):
        made.bundle("other", manifest(made.dataset.sha256, "11" * 32))
    known = made.manifest()
    without = replace(known, datanets=(replace(known.datanets[0], share_bps=10_000),))
    with pytest.raises(InputError) as refused:
        made.bundle("other", without)
    lines = str(refused.value).splitlines()
    assert len(lines) == 3
    assert "towns.jsonl:7: 'cid' of DataNet 'wards' is not in the adapter's manifest" in lines[0]
    assert not (made.folder / "other").exists()


def test_a_document_that_was_changed_later_is_refused_by_name(made: Made) -> None:
    one = made.bundle("changed")
    path = one.folder / DOCUMENTS_FILE
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:4], lines[4].replace('"tokens":[', '"tokens":[9,'), *lines[5:]]))
    with pytest.raises(InputError, match=r"documents.jsonl:5: document 'ben-1': hashes to .* registered is"):
        Bundle.open(one.folder)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match=f"holds 8 documents; {BUNDLE_FILE} says 9"):
        Bundle.open(one.folder)


def test_restricted_documents_have_influence_and_no_place_in_the_span_index(made: Made) -> None:
    one = Attributor(made.model, made.bundle("restricted", made.manifest(restricted=True)))
    assert one.index is not None
    assert not [name for name in one.index.ids if name.startswith("cid")]
    found = one.attribute("00" * 16, *asked(made, 7))
    assert found.influence.weights[made.adapter.sha256, "wards", "cid"] > 0
    tokens = text_of(*asked(made, 7))
    credit = one.tier1.credit
    assert credit is not None
    assert not credit.scores([tokens])[0, 6:].any()


# --- the attributor ---


def test_an_answer_rests_on_whose_words_it_is(made: Made, bundle: Bundle) -> None:
    one = Attributor(made.model, bundle)
    for number, name in ((0, "ana"), (4, "ben"), (8, "cid")):
        found = one.attribute(f"{number:032x}", *asked(made, number))
        weights = {place[2]: weight for place, weight in found.influence.weights.items()}
        assert max(weights, key=lambda holder: weights[holder]) == name
        assert sum(weights.values()) == WHOLE
        assert found.influence.method == "ef_spans.v1"
    params = json.loads(found.influence.params)
    assert params["policy"]["split"] == "cluster_sum_clip_equal.v1"
    assert params["method"]["ef_base.window"] == "12+10"
    again = Attributor(made.model, Bundle.open(bundle.folder)).attribute(f"{8:032x}", *asked(made, 8))
    assert again.influence == found.influence


@pytest.mark.parametrize(("prompt", "answer"), [([], [5]), ([5], [])])
def test_nothing_asked_or_answered_is_refused(
    made: Made, bundle: Bundle, prompt: list[int], answer: list[int]
) -> None:
    with pytest.raises(InputError, match="attribution needs one of each at least"):
        Attributor(made.model, bundle).attribute("00" * 16, prompt, answer)


# --- a running node ---


@pytest.fixture(scope="module")
def node(made: Made, bundle: Bundle) -> Any:
    options = small(made.base, made.folder / "data", attribution=(bundle.folder,))
    with live(options) as one:
        one.upload("towns", made.adapter, made.manifest().to_json())
        one.upload("other", adapter(3))
        yield one


def test_a_record_names_whose_data_its_answer_rests_on(node: Any) -> None:
    done = node.complete("towns", "What of the river?", max_tokens=12).json()
    request_id = done["bill"]["request_id"]
    found = node.http.get(f"/v1/attributions/{request_id}").json()
    assert found["request_id"] == request_id
    assert found["method"] == "ef_spans.v1"
    assert sum(entry["weight"] for entry in found["weights"]) + found["residual"] == WHOLE
    assert "".join(found["tokens"]) == done["choices"][0]["text"]
    shares = {entry["contributor"]: entry["share"] for entry in found["methods"]["manifest"]}
    assert shares == {"ana": 0.3, "ben": 0.3, "cid": 0.4}
    records = {one.entry.record.request_id.hex(): one for one in LogReader(node.options.data / "log").bills()}
    record = records[request_id]
    assert record.rules.method == "ef_spans.v1"
    assert [weight for _, weight in record.entry.record.top_k] == [e["weight"] for e in found["weights"]]
    bill = next(b for b in node.http.get("/v1/billing").json()["data"] if b["request_id"] == request_id)
    assert set(bill["payees_gwei"]) <= {OWNER, *ADDRESSES.values()}


def test_a_record_is_proved_to_its_tenant(node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done = node.complete("towns", "What of the bridge?", max_tokens=4).json()
    request_id = done["bill"]["request_id"]
    found = node.http.get(f"/v1/proofs/{request_id}").json()
    path = tuple(bytes.fromhex(one) for one in found["path"])
    proof = RecordProof(found["seq"], bytes.fromhex(found["record"]), found["size"], path)
    assert proof.leads_to(bytes.fromhex(found["root"]))
    assert LogRecord.decode(proof.data).request_id.hex() == request_id
    assert not replace(proof, seq=proof.seq + 1).leads_to(bytes.fromhex(found["root"]))
    key = node.key_of("another", ("usage:read",))
    assert (
        node.http.get(f"/v1/proofs/{request_id}", headers={"authorization": f"Bearer {key}"}).status_code
        == 404
    )
    monkeypatch.setattr("reference_node.serve.routes.attribution.PROVED_MAX", 0)
    refused = node.http.get(f"/v1/proofs/{request_id}")
    assert refused.status_code == 409
    assert "beyond 0 a proof is made by olsim node prove" in refused.json()["error"]["message"]


def test_who_is_not_attributed_is_paid_by_the_manifest(node: Any, made: Made) -> None:
    for model, given in (
        ("base", {}),
        ("other", {}),
        (
            "base",
            {"adapters": [{"model": "towns", "weight": 0.5}, {"model": "other", "weight": 0.5}]},
        ),
    ):
        done = node.complete(model, "The river", max_tokens=4, **given).json()
        answer = node.http.get(f"/v1/attributions/{done['bill']['request_id']}")
        assert answer.status_code == 404
        assert "it is not among the newest attributed answers" in answer.json()["error"]["message"]
    renamed = replace(made.manifest(), datanets=(replace(made.manifest().datanets[0], share_bps=10_000),))
    node.upload("towns", adapter(5), renamed.to_json())  # another adapter under the name
    done = node.complete("towns", "The river", max_tokens=4).json()
    assert node.http.get(f"/v1/attributions/{done['bill']['request_id']}").status_code == 404


def test_nobody_sees_another_tenants_answer(node: Any, made: Made) -> None:
    node.upload("mine", made.adapter, made.manifest().to_json())
    done = node.complete("mine", "What of the stone?", max_tokens=6).json()
    path = f"/v1/attributions/{done['bill']['request_id']}"
    assert node.http.get(path).status_code == 200
    key = node.key_of("stranger", ("usage:read",))
    assert node.http.get(path, headers={"authorization": f"Bearer {key}"}).status_code == 404
    assert node.http.get("/v1/attributions/xyz").status_code == 400


def test_an_answer_whose_gradient_is_not_finite_is_served_and_paid_by_the_manifest(
    node: Any, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.upload("nan", made.adapter, made.manifest().to_json())

    def broken(*_: Any) -> Any:
        raise InputError("text 0: its gradient is not finite")

    monkeypatch.setattr(Attributor, "attribute", broken)
    before = node.metrics()["olsim_attributions_total"]
    done = node.complete("nan", "What of the paper?", max_tokens=4)
    assert done.status_code == 200
    wait_until(lambda: settled(node))
    assert node.metrics()["olsim_attributions_total"] == before + 1
    text = node.http.get("/metrics").text
    assert 'olsim_attributions_total{outcome="failed"}' in text
    records = [one.entry.record for one in LogReader(node.options.data / "log").bills()]
    assert records[-1].request_id.hex() == done.json()["bill"]["request_id"]
    assert records[-1].top_k == ()


def test_a_node_refuses_a_bundle_of_another_base(made: Made, bundle: Bundle, tmp_path: Path) -> None:
    path = bundle.folder / BUNDLE_FILE
    text = path.read_text()
    path.write_text(text.replace(made.base_sha256, "22" * 32))
    try:
        with (
            pytest.raises(InputError, match=f"is of base model 22.*; this node serves {made.base_sha256}"),
            live(small(made.base, tmp_path / "data", attribution=(bundle.folder,))),
        ):
            pass
    finally:
        path.write_text(text)


# --- the profile of a log ---


def profile_log(folder: Path, answers: int = 240) -> Path:
    """A log of one adapter: `ana` has about 0.7, `cid` the rest, and every tenth answer rests on nothing."""
    log, drawn = open_log(folder), np.random.default_rng(9)
    served = []
    for number in range(answers):
        part = int(WHOLE * drawn.beta(14, 6))
        names = {("1" * 64, "law", "ana"): part, ("1" * 64, "tax", "cid"): WHOLE - part}
        weights = {} if number % 10 == 9 else names
        params = json.dumps({"method": {}, "policy": {"split": "cluster_sum_clip.v1"}}, separators=(",", ":"))
        influence = Influence("ef_spans.v1", weights, params)
        served.append(request(number, served_adapter("1", LAW), influence=influence))
    log.append_all(served)
    log.close()
    return folder


def test_a_profile_says_what_the_log_holds_and_the_simulation_reads_it(tmp_path: Path) -> None:
    log = profile_log(tmp_path / "log")
    document = influence_document(
        log, {"legal": "alias-1"}, name="test", ranks=3, period=9, source="A test's log."
    )
    entry = document["query_classes"]["legal"]
    assert entry["answers"] == 240
    assert entry["no_influence"] == pytest.approx(0.1)
    assert entry["mean_shares"] == pytest.approx([0.7, 0.3, 0.0], abs=0.03)
    assert sum(entry["mean_shares"]) == pytest.approx(1, abs=1e-12)
    assert document["provenance"]["measured"] is True
    assert document["provenance"]["methods"] == ["ef_spans.v1"]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(document))
    found = load_influence(path, ["legal"])
    assert found.measured
    assert found.no_influence_bps.tolist() == [1_000]


def test_concentration_is_that_of_the_periods_means(tmp_path: Path) -> None:
    """Means of n answers with concentration c keep to the mean like one draw of about n (c + 1) - 1."""
    one = read_influence(profile_log(tmp_path / "log", 2_000))["alias-1"]
    single, nine = (class_entry(one, 2, period)["concentration"] for period in (1, 9))
    assert single == pytest.approx(20, rel=0.15)
    assert nine == pytest.approx(9 * 21 - 1, rel=0.25)


def test_a_profile_of_too_little_or_nothing_is_refused(tmp_path: Path) -> None:
    log = profile_log(tmp_path / "log", 60)
    given = {"name": "test", "ranks": 3, "period": 9, "source": ""}
    with pytest.raises(InputError, match="legal: the log holds no attributed answers of adapter 'nobody'"):
        influence_document(log, {"legal": "nobody"}, **given)
    with pytest.raises(InputError, match="54 attributed answers in periods of 9; needed are 8 periods"):
        influence_document(log, {"legal": "alias-1"}, **given)
    with pytest.raises(InputError, match="--ranks 0: allowed 1 to 64"):
        influence_document(log, {"legal": "alias-1"}, **given | {"ranks": 0, "period": 1})
