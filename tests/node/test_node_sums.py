"""Tokens and fees of answers, log, usage, metrics, bills and settlement agree, adapter by adapter, tenant by tenant."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from reference_node.billing.audit import audit
from reference_node.billing.reading import LogReader
from tests.node.api_world import PROMPT, Live, adapter, events, live, make_base, settled, small, wait_until

pytestmark = pytest.mark.node

LONG = "The river Aar flows through Bern and past many a castle on its long way to the Rhine, as rivers do."
TENANTS = ("acme", "globex")
FIGURES = {"tokens_in": "prompt_tokens", "cached_tokens": "cached_tokens", "tokens_out": "completion_tokens"}
Sums = dict[str, Counter[str]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    base = make_base(tmp_path_factory.mktemp("base"))
    with live(small(base, tmp_path_factory.mktemp("data"))) as one:
        one.upload("law", adapter(2))
        one.upload("verse", adapter(3))
        yield one


class Asked:
    """Requests of every kind, and what their usage blocks add up to by adapter and by tenant."""

    def __init__(self, node: Live) -> None:
        self.node = node
        self.by_adapter: Sums = {}
        self.by_tenant: Sums = {}
        self.answered: dict[str, dict[str, int]] = {}
        self.left: set[str] = set()
        for tenant in TENANTS:
            key = node.key_of(tenant, ("inference", "usage:read"))
            self.headers = {"authorization": f"Bearer {key}"}
            self.tenant = tenant
            self.ask_everything()
        wait_until(lambda: settled(node))

    def ask_everything(self) -> None:
        mixed = [{"model": "law", "weight": 0.5}, {"model": "verse", "weight": -0.25}]
        for stream in (False, True):
            for model in ("base", "law", "verse", "law"):
                self.ask(model, prompt=LONG, max_tokens=9, stream=stream)
            self.ask("base", prompt=PROMPT, max_tokens=5, adapters=mixed, stream=stream)
            self.ask("law", messages=[{"role": "user", "content": "Hello"}], max_tokens=7, stream=stream)
            said = self.ask("verse", prompt=PROMPT, max_tokens=20, stream=stream)
            self.ask("verse", prompt=PROMPT, max_tokens=20, stop=said[len(said) // 2 :][:2], stream=stream)
        self.leave("law")
        for change, status in (({"model": "nobody"}, 404), ({"n": 2}, 400), ({"prompt": [5] * 300}, 400)):
            answer = self.post({"model": "law", "prompt": PROMPT, **change})
            assert answer.status_code == status

    def post(self, body: dict[str, Any]) -> Any:
        path = "/v1/chat/completions" if "messages" in body else "/v1/completions"
        return self.node.http.post(path, json={"temperature": 0, **body}, headers=self.headers)

    def ask(self, model: str, *, stream: bool, **body: Any) -> str:
        """Ask once, count what the answer says that it used, and return its text."""
        options = {"stream_options": {"include_usage": True}} if stream else {}
        answer = self.post({"model": model, "stream": stream, **options, **body})
        assert answer.status_code == 200, answer.text
        parts = events(answer) if stream else [answer.json()]
        block = parts[-1]["usage"]
        used = {
            "requests": 1,
            "tokens_in": block["prompt_tokens"],
            "cached_tokens": block["prompt_tokens_details"]["cached_tokens"],
            "tokens_out": block["completion_tokens"],
            "fee_gwei": parts[-1]["bill"]["fee_gwei"],
        }
        served = answer.headers["x-olsim-adapter"].split(", ")
        self.by_adapter.setdefault("+".join(one.split("@")[0] for one in served), Counter()).update(used)
        self.by_tenant.setdefault(self.tenant, Counter()).update(used)
        self.answered[answer.headers["x-request-id"]] = used
        return "".join(one["choices"][0].get("text") or "" for one in parts if one["choices"])

    def leave(self, model: str) -> None:
        """Begin an answer and hang up."""
        body = {"model": model, "prompt": LONG, "max_tokens": 150, "ignore_eos": True, "stream": True}
        with self.node.http.stream("POST", "/v1/completions", json=body, headers=self.headers) as answer:
            next(answer.iter_lines())
            self.left.add(answer.headers["x-request-id"])


@pytest.fixture(scope="module")
def asked(node: Live) -> Asked:
    return Asked(node)


def logged(node: Live) -> dict[str, tuple[str, dict[str, int]]]:
    """Return label and figures of every record, by request."""
    node.node.log.sync()
    found = {}
    for one in LogReader(node.node.log.folder).entries():
        record = one.record
        label = "+".join(entry.sha256.hex() for entry in record.adapters) or "base"
        names = ("tokens_in", "cached_tokens", "tokens_out", "fee_gwei")
        figures = {"requests": 1, **{name: getattr(record, name) for name in names}}
        found[record.request_id.hex()] = (label, figures)
    return found


def test_every_answer_is_in_the_log_as_its_usage_block_says(node: Live, asked: Asked) -> None:
    found = logged(node)
    assert set(found) == set(asked.answered) | asked.left
    assert {name: found[name][1] for name in asked.answered} == asked.answered
    assert all(0 < found[name][1]["tokens_out"] < 150 for name in asked.left)
    assert sum(used["cached_tokens"] for used in asked.answered.values()) > 0


def test_log_usage_and_metrics_agree_for_each_adapter(node: Live, asked: Asked) -> None:
    sums: Sums = {}
    for label, figures in logged(node).values():
        sums.setdefault(label, Counter()).update(figures)
    used = node.http.get("/v1/usage?scope=all").json()["by_adapter"]
    assert {label: Counter(figures) for label, figures in used.items()} == sums
    assert len(sums) == 4
    for label, figures in asked.by_adapter.items():
        if label != node.uploaded["law"].sha256:  # which served those who left, too
            assert figures == sums[label]
    counted = counters(node)
    for label, figures in sums.items():
        kind = "ensemble" if "+" in label else label
        assert counted["olsim_requests_total", kind] == figures["requests"]
        assert counted["olsim_fees_gwei_total", kind] == figures["fee_gwei"]
        for name, metric in FIGURES.items():
            assert counted[f"olsim_{metric}_total", kind] == figures[name]


def counters(node: Live) -> dict[tuple[str, str], float]:
    """Return each counter by name and adapter."""
    found: Counter[tuple[str, str]] = Counter()
    for family in text_string_to_metric_families(node.http.get("/metrics").text):
        for sample in family.samples:
            if "adapter" in sample.labels:
                found[sample.name, sample.labels["adapter"]] += sample.value  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("tenant", TENANTS)
def test_a_tenants_bills_are_its_answers_and_those_it_left(node: Live, asked: Asked, tenant: str) -> None:
    key = node.key_of(tenant, ("usage:read",))
    headers = {"authorization": f"Bearer {key}"}
    bills = node.http.get("/v1/billing?limit=1000", headers=headers).json()["data"]
    mine = [bill for bill in bills if bill["request_id"] in asked.answered]
    sums = Counter(requests=len(mine))
    for bill in mine:
        sums.update({name: bill[name] for name in ("tokens_in", "cached_tokens", "tokens_out", "fee_gwei")})
        assert sum(bill["parts_gwei"].values()) == bill["fee_gwei"]
    assert sums == asked.by_tenant[tenant]
    assert len(bills) == len(mine) + 1
    used = node.http.get("/v1/usage", headers=headers).json()
    assert used["fee_gwei"] == sum(bill["fee_gwei"] for bill in bills)


def test_the_settlement_pays_what_was_billed_and_the_audit_finds_the_same(node: Live, asked: Asked) -> None:
    found = logged(node)
    totals = Counter[str]()
    for _, figures in found.values():
        totals.update(figures)
    answer = node.http.post("/v1/settlements").json()
    bills = answer["settlement"]["bills"]
    assert (int(bills["count"]), int(bills["fee_gwei"])) == (len(found), totals["fee_gwei"])
    file: Path = node.node.epochs / answer["file"]
    lines = file.with_suffix(".bills.jsonl").read_text(encoding="utf-8").splitlines()
    assert {json.loads(line)["request_id"] for line in lines} == set(found)
    report = audit(node.node.log.folder, file)
    for name in FIGURES:
        assert getattr(report, name) == totals[name]
    assert (report.records, report.fee_gwei, report.epoch) == (len(found), totals["fee_gwei"], 1)
