"""The JavaScript client: a script against a live node, amounts that JSON numbers cannot hold, and its types."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

import reference_node
from reference_node.access import Quota
from tests.node.api_world import adapter, wait_until
from tests.node.live_node import Reply, events, is_served, node_with_adapters, pretend, write_folder

JS = Path(reference_node.__file__).parent / "js"
NODE = shutil.which("node")
pytestmark = [pytest.mark.node, pytest.mark.skipif(NODE is None, reason="Node.js is not installed")]

ASK = """
const { NodeClient } = await import(process.argv[1]);
const node = new NodeClient(process.argv[2], process.argv[3]);
const got = {};
try { %s } catch (error) { got.error = { ...error, message: error.message }; }
const shown = (name, value) => (typeof value === "bigint" ? { bigint: String(value) } : value);
console.log(JSON.stringify(got, shown));
"""
STREAM = """
const stream = node.streamCompletion("base", "a"); got.answer = stream.answer;
for await (const piece of stream) got.piece = piece;
"""


def javascript(*arguments: object) -> Any:
    done = subprocess.run(
        [str(NODE), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(
        done.stdout, object_hook=lambda found: int(found["bigint"]) if "bigint" in found else found
    )


def ask(url: str, lines: str, key: str = "") -> Any:
    return javascript("--input-type=module", "--eval", ASK % lines, (JS / "client.js").as_uri(), url, key)


def ask_pretended(reply: Reply, lines: str) -> Any:
    with pretend(lambda path, body: reply) as url:
        return ask(url, lines)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("story")
    made = [adapter(21), adapter(22)]
    for number, one in enumerate(made, 1):
        write_folder(one, folder / str(number))
    script = Path(__file__).with_name("client_story.mjs")
    with node_with_adapters(folder / "node", step_s=0.004) as node:
        told = javascript(script, JS / "client.js", node.url, node.key, folder)
        wait_until(lambda: not is_served(node))
        poor = node.key_of("poor", quota=Quota(requests_per_minute=1, tokens_per_day=None, concurrent=None))
        told["limited"] = ask(
            node.url, "await node.complete('base', 'a'); await node.complete('base', 'a');", poor
        )
        told["law"]["hash"], told["made"] = node.uploaded["law"].sha256, [one.sha256 for one in made]
        told["settled"] = [(kept.bill.request_id, kept.bill) for kept in node.node.bills.newest_of("house")]
    return told


def test_models_and_adapters(story):
    assert story["models"] == ["base", "law", "verse"]
    assert [entry["alias"] for entry in story["adapters"]] == ["law", "verse"]


def test_a_stream_says_what_the_whole_answer_says(story):
    for name in ("base", "law", "completion"):
        whole, streamed = story[name], story[f"{name} streamed"]
        answer = streamed["answer"]
        assert "".join(streamed["pieces"]) == answer["text"] == whole["text"] != ""
        assert len(streamed["pieces"]) > 1
        for field in ("model", "fingerprint", "adapters", "finish", "promptTokens", "completionTokens"):
            assert answer[field] == whole[field]
        assert whole["adapters"] == ([] if name == "base" else [story["law"]["hash"]])
        assert whole["fingerprint"].split("+")[1:] == whole["adapters"]


def test_an_ensemble_is_named_by_hashes_and_its_fingerprint_says_the_weights(story):
    mixed, served = story["mixed"], [entry["sha256"] for entry in story["adapters"]]
    assert mixed["adapters"] == served
    assert mixed["fingerprint"].split("+")[1:] == [f"{served[0]}@0.5", f"{served[1]}@-1"]


def test_fees_are_the_bills_of_the_log(story):
    kept = dict(story["settled"])
    for name in ("base", "law", "completion"):
        for answer in (story[name], story[f"{name} streamed"]["answer"]):
            bill = kept[answer["requestId"]]
            assert answer["feeGwei"] == bill.fee_gwei > 0
            assert (answer["promptTokens"], answer["completionTokens"]) == (bill.tokens_in, bill.tokens_out)
            assert answer["cachedTokens"] == bill.cached_tokens
    for shown in story["bills"]:
        bill = kept[shown["request_id"]]
        assert shown["fee_gwei"] == bill.fee_gwei == sum(shown["parts_gwei"].values())
        assert (shown["parts_gwei"], shown["payees_gwei"]) == (bill.parts, bill.payees)
    assert story["usage"]["fee_gwei"] == sum(bill["fee_gwei"] for bill in story["bills"])
    assert story["settlement"]["settlement"]["bills"]["fee_gwei"] == str(story["usage"]["fee_gwei"])


def test_leaving_or_aborting_a_stream_cancels_it_on_the_node(story):
    kept = dict(story["settled"])
    assert story["aborted"]["name"] == "AbortError"
    assert "a stream is read once" in story["read again"]["message"]
    for answer in (story["left"], story["aborted answer"]):
        assert 1 <= kept[answer["requestId"]].tokens_out < 200
        assert (answer["adapters"], answer["feeGwei"]) == ([story["law"]["hash"]], None)


def test_the_life_of_an_alias(story):
    first, second = story["made"]
    assert [(one["version"], one["sha256"]) for one in story["uploads"]] == [(1, first), (2, second)]
    assert story["uploads"][0]["manifest"]["owner"].startswith("0x")
    assert story["rollback"]["sha256"] == first
    assert {one["sha256"]: one["served"] for one in story["versions"]} == {first: True, second: False}
    assert story["deleted"] == [[second], [first]]


@pytest.mark.parametrize(
    ("name", "status", "param", "code"),
    [
        ("nobody", 404, "model", "model_not_found"),
        ("stream", 404, "model", "model_not_found"),
        ("field", 400, "n", "unsupported_parameter"),
        ("large", 413, None, "body_too_large"),
        ("key", 401, None, "invalid_api_key"),
        ("unkeyed", 401, None, "missing_api_key"),
        ("gone", 0, None, None),
    ],
)
def test_refusals(story, name, status, param, code):
    error = story["refused"][name]
    assert (error["name"], error["status"], error["param"], error["code"]) == (
        "NodeError",
        status,
        param,
        code,
    )
    assert error["retryAfterS"] is None
    said = "cannot reach the node at http://127.0.0.1:9: " if name == "gone" else f"{status}: "
    assert re.match(said + ".", error["message"])


def test_a_used_up_quota_says_when_to_come_back(story):
    error = story["limited"]["error"]
    assert (error["status"], error["kind"]) == (429, "rate_limit_error")
    assert 1 <= error["retryAfterS"] <= 60


HUGE = 2**53 + 1
TRICKY = 'a "fee_gwei": 7, \\ {[ é \n' * 3


def test_amounts_above_two_to_the_53_keep_their_digits():
    head = {"id": "x", "model": "base", "system_fingerprint": "b", "created": HUGE, "text_gwei": TRICKY}
    choice = {"index": 0, "text": TRICKY, "finish_reason": "stop"}
    bill = {"bill": {"fee_gwei": 10**18 + 7, "request_id": "r"}}
    got = ask_pretended(
        (200, {}, json.dumps({**head, "choices": [choice], **bill}, indent=1).encode()),
        'got.answer = await node.complete("base", "a");',
    )["answer"]
    assert (got["feeGwei"], got["text"], got["requestId"]) == (10**18 + 7, TRICKY, "r")
    streamed = ask_pretended(events({**head, "choices": [choice], **bill}, "[DONE]"), STREAM)["answer"]
    assert (streamed["feeGwei"], streamed["text"]) == (10**18 + 7, TRICKY)
    document = {
        "data": [
            {
                "fee_gwei": HUGE,
                "parts_gwei": {"model": HUGE, "burn": 0},
                "payees_gwei": {},
                "ts": 5,
                "share_gwei": [HUGE, 1.5, None, "5"],
                "tokens_in": 3,
            }
        ]
    }
    (listed,) = ask_pretended((200, {}, json.dumps(document).encode()), "got.bills = await node.bills();")[
        "bills"
    ]
    assert listed["fee_gwei"] == listed["parts_gwei"]["model"] == HUGE
    assert listed["parts_gwei"]["burn"] == 0
    assert (listed["ts"], listed["tokens_in"], listed["payees_gwei"]) == (5, 3, {})


HALF = {"choices": [{"index": 0, "text": "half", "finish_reason": None}]}


@pytest.mark.parametrize(
    ("reply", "status", "message"),
    [
        (events(HALF), 0, "broke the answer off"),
        (events(HALF, {"error": {"message": "died", "type": "server_error"}}), 500, "500: died"),
        ((200, {"content-length": "900"}, events(HALF)[2]), 0, "lost the node at"),
        ((502, {"retry-after": "Mon, 01 Jan 2035 00:00:00 GMT"}, b"bad gateway"), 502, "502: bad gateway"),
    ],
    ids=["cut", "failed", "lost", "proxy"],
)
def test_streams_that_end_badly(reply, status, message):
    got = ask_pretended(reply, STREAM)
    assert (got["error"]["status"], got["error"]["retryAfterS"]) == (status, None)
    assert message in got["error"]["message"]
    assert got["answer"]["text"] == ("half" if status in (0, 500) else "")


def test_events_are_found_however_the_stream_is_cut():
    half = json.dumps(HALF)
    lines = [": ping", f"data: {half}", "", "event: x", f"data:{half}", "", "data: [DONE]", "", ""]
    for end in ("\n", "\r", "\r\n"):
        reply = 200, {"content-type": "text/event-stream"}, end.join(lines).encode()
        assert ask_pretended(reply, STREAM)["answer"]["text"] == "halfhalf"


def test_every_typed_method_exists_and_the_other_way_round():
    declared = (JS / "client.d.ts").read_text(encoding="utf-8").split("export class NodeClient")[1]
    methods = set(re.findall(r"^  (\w+)\(", declared, re.MULTILINE))
    have = ask("http://x", "got.names = Object.getOwnPropertyNames(NodeClient.prototype);")["names"]
    assert methods == set(have)


@pytest.mark.compile
def test_the_types_hold_and_the_lock_file_names_no_host(tmp_path):
    lock = (JS / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert "://" not in lock
    for path in JS.iterdir():
        if path.is_file():
            shutil.copy(path, tmp_path)
    npm = str(shutil.which("npm"))
    installed = subprocess.run([npm, "ci"], cwd=tmp_path, capture_output=True, text=True, check=False)
    if installed.returncode != 0:
        pytest.skip(f"npm ci failed: {installed.stderr.strip().splitlines()[-1:]}")
    checked = subprocess.run([npm, "run", "check"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout
