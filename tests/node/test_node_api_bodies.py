"""Bodies that are not what a route reads: no JSON, too deep, too large, sent as something else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from tests.node.api_world import Live, live, make_base, small

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    base = make_base(tmp_path_factory.mktemp("base"))
    with live(small(base, tmp_path_factory.mktemp("data"))) as one:
        yield one


def test_bodies_that_are_no_json_and_paths_that_are_none(node: Live) -> None:
    headers = {"content-type": "application/json"}
    for content in (b"{", b"[" * 100_000, b'"x"', b"", b'{"model": "\\ud800", "prompt": "\\ud800"}'):
        answer = node.http.post("/v1/completions", content=content, headers=headers)
        assert answer.status_code == 400, content[:20]
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert node.http.get("/v1/nothing").json()["error"]["code"] == "not_found"
    assert node.http.get("/v1/completions").status_code == 405
    assert node.http.get("/v1/completions").json()["error"]["code"] == "method_not_allowed"


def test_a_deep_body_is_refused_whatever_the_recursion_limit(node: Live) -> None:
    """Some libraries raise the limit; a parser would then run out of stack and end the process."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        for content in (b"[" * 100_000, b'{"model":' * 100_000):
            answer = node.http.post(
                "/v1/completions", content=content, headers={"content-type": "application/json"}
            )
            assert answer.status_code == 400
            assert answer.json()["error"]["message"] == "the body is nested deeper than 64 levels"
    finally:
        sys.setrecursionlimit(before)


def test_a_body_that_is_not_json_names_no_field(node: Live) -> None:
    answer = node.http.post("/v1/completions", content=b"{", headers={"content-type": "application/json"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, None, "invalid_value")
    assert error["message"].startswith("the body is not JSON: ")


def test_a_body_without_its_type_is_told_which_one(node: Live) -> None:
    """What curl sends with -d alone."""
    body = json.dumps({"model": "base", "prompt": "x"}).encode()
    for kind, message in (
        ("application/x-www-form-urlencoded", "send it with 'content-type: application/json'"),
        ("application/json", "the body is not a JSON object"),
    ):
        content = body if "form" in kind else b"[1]"
        answer = node.http.post("/v1/completions", content=content, headers={"content-type": kind})
        error = answer.json()["error"]
        assert (answer.status_code, error["param"], error["code"]) == (400, None, "invalid_value")
        assert message in error["message"]


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(node: Live, announced: bool) -> None:
    content = b'{"model": "' + b"x" * (1 << 20) + b'"}'
    pieces = (content[i : i + 65536] for i in range(0, len(content), 65536))
    headers = {"content-type": "application/json"}
    answer = node.http.post("/v1/completions", content=content if announced else pieces, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
