"""Adapters and accounts over a live node: uploads, versions, deletions, usage, bills, settlements."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from reference_node.manifest import AdapterManifest, ContributorShare, DataNetShare
from tests.node.api_world import (
    OWNERS,
    PROMPT,
    Live,
    Reference,
    adapter,
    events,
    ids,
    live,
    make_base,
    settled,
    small,
    upload_parts,
    wait_until,
)

pytestmark = pytest.mark.node

MANIFEST = AdapterManifest(
    OWNERS[0], (DataNetShare("law", 10_000, (ContributorShare("ana", OWNERS[1], 10_000),)),)
).to_json()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def reference(base: Path) -> Reference:
    return Reference(base)


@pytest.fixture(scope="module")
def node(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(small(base, tmp_path_factory.mktemp("data"))) as one:
        one.upload("medicine", adapter(1), MANIFEST)
        one.upload("law", adapter(2))
        yield one


def test_models_and_adapters_are_listed_with_who_is_paid(node: Live) -> None:
    models = node.http.get("/v1/models").json()
    assert [entry["id"] for entry in models["data"]][:3] == ["base", "law", "medicine"]
    assert node.http.get("/v1/models/law").json()["sha256"] == node.uploaded["law"].sha256
    assert node.http.get("/v1/models/nobody").status_code == 404
    listed = {entry["alias"]: entry for entry in node.http.get("/v1/adapters").json()["data"]}
    assert listed["medicine"]["manifest"]["owner"] == OWNERS[0]
    assert listed["medicine"]["manifest"]["datanets"][0]["contributors"][0]["address"] == OWNERS[1]
    assert listed["law"]["manifest"] is None
    assert listed["law"]["versions"] == [node.uploaded["law"].sha256]


def test_bad_uploads_are_refused_with_reasons(node: Live) -> None:
    parts = upload_parts(adapter(5))
    cases = [
        ("Not An Alias", parts, 400),
        ("base", parts, 400),
        ("x", {**parts, "weights": ("w", b"\x80\x02cpickle")}, 400),
        ("x", {**parts, "config": ("c", b"{}")}, 400),
        ("x", {"config": parts["config"]}, 400),
        ("x", {**parts, "manifest": ("m", b"{}")}, 400),
    ]
    for alias, files, status in cases:
        answer = node.http.post("/v1/adapters", data={"alias": alias}, files=files)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["message"]
    assert "x" not in [entry["alias"] for entry in node.http.get("/v1/adapters").json()["data"]]


def test_an_alias_belongs_to_its_tenant(node: Live) -> None:
    key = node.key_of("stranger", ("adapters:write", "adapters:read"))
    headers = {"authorization": f"Bearer {key}"}
    answer = node.http.post(
        "/v1/adapters", data={"alias": "law"}, files=upload_parts(adapter(6)), headers=headers
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_owner")
    assert node.http.delete("/v1/adapters/law", headers=headers).status_code == 403
    body = {"sha256": node.uploaded["law"].sha256}
    assert node.http.post("/v1/adapters/law/rollback", json=body, headers=headers).status_code == 403


def test_versions_rollback_and_deletion(node: Live, reference: Reference) -> None:
    first, second = adapter(11), adapter(12)
    node.upload("trade", first)
    node.upload("trade", second)

    def said(model: str = "trade") -> tuple[str, str]:
        answer = node.complete(model, PROMPT, max_tokens=8)
        return answer.headers["x-olsim-adapter"], answer.json()["choices"][0]["text"]

    expected = {made.sha256: reference.text(ids(node), made, 8) for made in (first, second)}
    assert said() == (second.sha256, expected[second.sha256])
    assert said(f"trade@sha256:{first.sha256[:8]}") == (first.sha256, expected[first.sha256])
    rolled = node.http.post("/v1/adapters/trade/rollback", json={"sha256": first.sha256[:12]})
    assert rolled.json()["version"] == 1
    assert said() == (first.sha256, expected[first.sha256])
    found = node.http.get("/v1/adapters/trade").json()["data"]
    assert [(v["version"], v["served"]) for v in found] == [(1, True), (2, False)]
    assert node.http.delete(f"/v1/adapters/trade?sha256={first.sha256}").json()["deleted"] == [first.sha256]
    assert said() == (second.sha256, expected[second.sha256])
    assert node.http.delete("/v1/adapters/trade").json()["deleted"] == [second.sha256]
    assert node.complete("trade", PROMPT).status_code == 404
    assert node.http.delete("/v1/adapters/trade").status_code == 404


def slow(node: Live, model: str, count: int = 200) -> Any:
    """Return an open stream that has begun."""
    body = {"model": model, "prompt": PROMPT, "max_tokens": count, "stream": True, "temperature": 0}
    return node.http.stream("POST", "/v1/completions", json={**body, "ignore_eos": True})


def test_an_alias_that_changes_during_a_stream_changes_nothing_in_it(
    node: Live, reference: Reference
) -> None:
    first, second = adapter(21), adapter(22)
    node.upload("moving", first)
    reference.codec.eos_ids, eos = (), reference.codec.eos_ids
    expected = reference.text(ids(node), first, 200)
    reference.codec.eos_ids = eos
    with slow(node, "moving") as response:
        lines = response.iter_lines()
        seen = [next(lines)]
        node.upload("moving", second)
        node.http.delete(f"/v1/adapters/moving?sha256={first.sha256}")
        newer = node.complete("moving", PROMPT, max_tokens=4)
        seen += list(lines)
        assert response.headers["x-olsim-adapter"] == first.sha256
    assert newer.headers["x-olsim-adapter"] == second.sha256
    chunks = [json.loads(line[6:]) for line in seen if line.startswith("data: {")]
    assert "".join(c["choices"][0]["text"] for c in chunks) == expected
    wait_until(lambda: not node.node.registry.folder(first.sha256).exists())
    pool = node.node.backend._engine.pool  # type: ignore[attr-defined]
    wait_until(lambda: not pool.knows(first.sha256))


def test_many_adapters_at_once_each_say_their_own(node: Live, reference: Reference) -> None:
    made = {f"many{i}": adapter(100 + i) for i in range(6)}  # more than slots
    for alias, one in made.items():
        node.upload(alias, one)
    expected = {alias: reference.text(ids(node), one, 16) for alias, one in made.items()}

    def ask(alias: str) -> tuple[str, str]:
        if hash(alias) % 2:
            return alias, node.complete(alias, PROMPT, max_tokens=16).json()["choices"][0]["text"]
        chunks = events(node.complete(alias, PROMPT, max_tokens=16, stream=True))
        return alias, "".join(c["choices"][0]["text"] for c in chunks)

    with ThreadPoolExecutor(12) as threads:
        for alias, text in threads.map(ask, list(made) * 5):
            assert text == expected[alias]


def test_log_usage_metrics_and_bills_say_the_same(node: Live) -> None:
    answers = [node.complete("medicine", PROMPT, max_tokens=n).json() for n in (1, 2, 3)]
    wait_until(lambda: settled(node))
    figures, used = node.metrics(), node.http.get("/v1/usage?scope=all").json()
    assert figures["olsim_requests_total"] == used["requests"] == node.node.log.size
    assert figures["olsim_prompt_tokens_total"] == used["tokens_in"]
    assert figures["olsim_completion_tokens_total"] == used["tokens_out"]
    assert figures["olsim_cached_tokens_total"] == used["cached_tokens"]
    assert figures["olsim_fees_gwei_total"] == used["fee_gwei"]
    assert sum(one["tokens_out"] for one in used["by_adapter"].values()) == used["tokens_out"]
    bills = node.http.get("/v1/billing?limit=1000").json()
    newest = {bill["request_id"]: bill for bill in bills["data"]}
    for answer in answers:
        bill = newest[answer["bill"]["request_id"]]
        assert bill["fee_gwei"] == answer["bill"]["fee_gwei"] == sum(bill["parts_gwei"].values())
        assert bill["tokens_out"] == answer["usage"]["completion_tokens"]
        assert bill["tokens_in"] == answer["usage"]["prompt_tokens"]
        assert bill["cached_tokens"] == answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert node.http.get("/v1/billing?limit=1").json()["has_more"] is True


def test_a_tenant_sees_its_own_use_alone(node: Live) -> None:
    key = node.key_of("tenant-b", ("inference", "usage:read"))
    headers = {"authorization": f"Bearer {key}"}
    body = {"model": "law", "prompt": PROMPT, "max_tokens": 2}
    answer = node.http.post("/v1/completions", json=body, headers=headers).json()
    wait_until(lambda: settled(node))
    used = node.http.get("/v1/usage", headers=headers).json()
    assert (used["requests"], used["tenant"]) == (1, "tenant-b")
    assert list(used["by_adapter"]) == [node.uploaded["law"].sha256]
    bills = node.http.get("/v1/billing", headers=headers).json()["data"]
    assert [bill["request_id"] for bill in bills] == [answer["bill"]["request_id"]]
    assert node.http.get("/v1/usage?scope=all", headers=headers).status_code == 403


def test_an_epoch_settles_what_was_billed(node: Live) -> None:
    node.complete("medicine", PROMPT, max_tokens=2)
    wait_until(lambda: settled(node))
    answer = node.http.post("/v1/settlements")
    assert answer.status_code == 200, answer.text
    document = answer.json()["settlement"]
    assert int(document["bills"]["fee_gwei"]) > 0
    assert (node.node.epochs / answer.json()["file"]).is_file()
    assert OWNERS[0] in [payee["address"] for payee in document["payees"]]
    again = node.http.post("/v1/settlements")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "nothing_to_settle")
    assert len(list(node.node.epochs.glob("epoch-*.json"))) == document["epoch"]
    node.complete("medicine", PROMPT, max_tokens=2)
    wait_until(lambda: settled(node))
    assert node.http.post("/v1/settlements").json()["settlement"]["epoch"] == document["epoch"] + 1


def test_an_upload_is_parsed_only_for_a_key_that_may(node: Live) -> None:
    reader, kind = (
        node.key_of("curious", ("adapters:read",)),
        {"content-type": "multipart/form-data; boundary=b"},
    )
    for key, status in ((None, 401), ("olk_wrong", 401), (reader, 403), (node.key, 400)):
        headers = {**kind, "authorization": f"Bearer {key}" if key else ""}
        answer = node.http.post("/v1/adapters", content=b"no multipart at all", headers=headers)
        assert answer.status_code == status, answer.text
