"""From a prompt on the running node to a claimed payout on chain, by the commands alone, to the wei."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("eth", reason="needs the chain extra (py-evm)")

from models.apportion import apportion_reference
from models.attribution import WHOLE
from models.units import WEI_PER_GWEI
from reference_node import tiny_base
from reference_node.attribution.attributor import Attributor
from reference_node.attribution.bundle import Bundle
from reference_node.billing.claim import claim_call
from reference_node.billing.reading import LogReader, statement_path
from reference_node.billing.settlement_file import Settlement
from reference_node.billing.terms import Terms, contributors_by_data
from reference_node.manifest import read_manifest
from reference_node.tokenizer import TextCodec
from reference_node.weights import load_model
from tests.differential.served_network import served
from tests.node.attribution_story import ALIAS, CONTRIBUTORS, olsim, rpc, serving, trained

pytestmark = [pytest.mark.node, pytest.mark.slow]
ANSWER_TOKENS = 48


def test_from_a_prompt_to_a_claimed_payout(tmp_path: Path) -> None:
    adapter, bundle, rows = trained(tmp_path)
    data = tmp_path / "data"
    asked = [next(row for row in rows if row["contributor"] == one) for one in CONTRIBUTORS]
    with serving(data, bundle) as node:
        olsim("node", "adapters", "upload", ALIAS, adapter, "--url", str(node.base_url).rstrip("/"))
        answers = [_answered(node, row["prompt"]) for row in asked]
        found = [node.get(f"/v1/attributions/{answer['bill']['request_id']}").json() for answer in answers]
        bills = node.get("/v1/billing", params={"limit": 10}).json()["data"]
    _says_who(found, asked, rows)
    _pays_by_what_it_says(bundle, adapter, data / "log", answers, asked, bills)
    settlement = _settled(data)
    with served(tmp_path, "--accounts", "3") as network:
        olsim("node", "post", settlement.path, "--deployment", network.path, "--rpc", network.l2)
        _claimed(settlement, network.l2, network.deployment, bills)


def _answered(node, prompt: str) -> dict:
    body = {
        "model": ALIAS,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": ANSWER_TOKENS,
        "temperature": 0,
        "return_token_ids": True,
    }
    answer = node.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _says_who(found: list[dict], asked: list[dict], rows: list[dict]) -> None:
    """Each prompt is a training row's: nearly always its contributor has the largest weight, and words are found."""
    documents = {row["id"] for row in rows}
    for one in found:
        assert one["method"] in ("ef_spans.v1", "coalition_bank.v1")
        assert sum(entry["weight"] for entry in one["weights"]) + one["residual"] == WHOLE
        assert {"manifest", "poa_llm", "ef_base", "ef_spans", "coalition_bank"} == set(one["methods"])
        assert one["spans"]
        assert {source["document"] for span in one["spans"] for source in span["sources"]} <= documents
    first = [one["weights"][0]["contributor"] for one in found]
    assert sum(name == row["contributor"] for name, row in zip(first, asked, strict=True)) >= 3


def _pays_by_what_it_says(
    bundle: Path, adapter: Path, log: Path, answers: list, asked: list, bills: list
) -> None:
    """What the log holds is what a recomputation finds, and the bill divides the contributors' part by it."""
    codec = TextCodec.from_folder(tiny_base.folder())
    attributor = Attributor(load_model(tiny_base.folder())[0], Bundle.open(bundle))
    address_of = {
        one.id: one.address
        for net in read_manifest(adapter / "manifest.json").datanets
        for one in net.contributors
    }
    by_request = {bill["request_id"]: bill for bill in bills}
    records = {found.entry.record.request_id.hex(): found for found in LogReader(log).bills()}
    for answer, row in zip(answers, asked, strict=True):
        request_id = answer["bill"]["request_id"]
        prompt = codec.chat([{"role": "user", "content": row["prompt"]}])
        made = attributor.attribute(request_id, prompt, answer["choices"][0]["token_ids"])
        weights = {place[2]: weight for place, weight in made.influence.weights.items()}
        found = records[request_id]
        assert found.rules.method == made.influence.method
        assert found.rules.params == made.influence.params
        statement = json.loads(statement_path(log, found.entry.record.datanet_root).read_text())
        named = contributors_by_data([Terms.from_document(one) for one in statement["adapters"]])
        assert {named[data_id]: weight for data_id, weight in found.entry.record.top_k} == weights
        bill = by_request[request_id]
        parts = apportion_reference(bill["parts_gwei"]["contributors"], [*weights.values(), 0])
        expected = {address_of[name]: part for name, part in zip(weights, parts, strict=False) if part}
        owner = read_manifest(adapter / "manifest.json").owner
        assert {a: x for a, x in bill["payees_gwei"].items() if a != owner} == expected


def _settled(data: Path) -> Settlement:
    olsim("node", "settle", data / "log", "--out", data / "settlements")
    olsim("node", "audit", data / "log")
    (path,) = (data / "settlements").glob("*.json")
    return Settlement.read(path)


def _claimed(settlement: Settlement, url: str, deployment: dict, bills: list[dict]) -> None:
    """Every payee claims through the contract and has exactly what the bills said, in wei."""
    contract = deployment["contracts"]["AttributionDistributor"]["address"]
    sender = rpc(url, "eth_accounts")[0]
    owed: dict[str, int] = {}
    for bill in bills:
        for payee, gwei in bill["payees_gwei"].items():
            owed[payee] = owed.get(payee, 0) + gwei * WEI_PER_GWEI
    assert set(owed) == {payee["address"] for payee in settlement.payees}
    for payee in settlement.payees:
        before = int(rpc(url, "eth_getBalance", payee["address"], "latest"), 16)
        call = {"from": sender, "to": contract, "data": "0x" + claim_call(payee).hex()}
        receipt = rpc(url, "eth_getTransactionReceipt", rpc(url, "eth_sendTransaction", call))
        assert receipt["status"] == "0x1"
        after = int(rpc(url, "eth_getBalance", payee["address"], "latest"), 16)
        assert after - before == owed[payee["address"]] == int(payee["cumulative_wei"])
    assert int(rpc(url, "eth_getBalance", contract, "latest"), 16) == 0
