"""`olsim node chat` and `olsim node adapters`: a person and a script talk to a live node from the terminal."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from models.errors import InputError
from reference_node.cli import app
from reference_node.client import NodeClient
from tests.node.api_world import adapter
from tests.node.live_node import Live, node_with_adapters, write_folder

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with node_with_adapters(tmp_path_factory.mktemp("node")) as one:
        yield one


@pytest.fixture
def client(node: Live) -> Iterator[NodeClient]:
    with NodeClient(node.url, node.key) as one:
        yield one


def run(node: Live, *arguments: object, typed: str | None = None, key: str | None = None) -> Result:
    line = [*map(str, arguments), "--url", node.url]
    key = node.key if key is None else key
    result = CliRunner().invoke(app, line, input=typed, env={"OLSIM_NODE_KEY": key or None})
    if isinstance(result.exception, InputError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def chat(node: Live, *arguments: object, **how: Any) -> Result:
    return run(node, "chat", *arguments, "--max-tokens", 8, **how)


def message(*texts: str, system: str | None = None) -> list[dict[str, str]]:
    head = [] if system is None else [{"role": "system", "content": system}]
    return head + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


def test_once(node, client):
    said = chat(node, "What flows through Bern?", "--model", "law", "--system", "Be short.")
    told = client.chat(
        "law", message("What flows through Bern?", system="Be short."), max_tokens=8, temperature=0
    )
    assert said.stdout == f"{told.text}\n"
    served = f"{node.uploaded['law'].sha256[:12]}; {told.prompt_tokens} + 8 tokens, {told.fee_gwei:,} gwei"
    assert said.stderr == f"[{served}]\n"
    assert chat(node, "hi").stderr.startswith("[the base model; ")


def test_json(node, client):
    told = json.loads(chat(node, "What flows?", "--model", "verse", "--json").stdout)
    assert told["text"] == client.chat("verse", message("What flows?"), max_tokens=8, temperature=0).text
    assert told["adapters"] == [node.uploaded["verse"].sha256]
    assert told["fee_gwei"] == next(
        b["fee_gwei"] for b in client.bills() if b["request_id"] == told["request_id"]
    )
    with pytest.raises(InputError, match="--json needs a prompt"):
        chat(node, "--json")


def test_temperature_and_seed(node, client):
    said = chat(node, "What flows?", "--temperature", 1.5, "--seed", 7).stdout
    told = client.chat("base", message("What flows?"), max_tokens=8, temperature=1.5, seed=7)
    assert said == f"{told.text}\n"


def test_a_conversation_remembers_what_was_said(node, client):
    said = chat(node, typed="I am Ann.\n \nWho am I?\n")
    first = client.chat("base", message("I am Ann."), max_tokens=8, temperature=0).text
    second = client.chat("base", message("I am Ann.", first, "Who am I?"), max_tokens=8, temperature=0).text
    assert said.stdout == f"{first}\n{second}\n"
    assert said.stderr.count("\n") == 2
    assert "> " not in said.stderr


def test_a_terminal_shows_a_prompt(node):
    keyboard, screen = pty.openpty()
    with os.fdopen(keyboard, "wb", buffering=0) as typing, os.fdopen(screen, "rb") as stdin:
        typing.write(b"\x04")  # end of input
        line = [sys.executable, "-m", "sim.cli", "node", "chat", "--url", node.url, "--key", node.key]
        said = subprocess.run(line, stdin=stdin, capture_output=True, text=True, check=False, timeout=60)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "> ")


@pytest.mark.parametrize(
    ("arguments", "key", "line"),
    [
        (("hi", "--model", "nobody"), None, "404: model 'nobody' is unknown"),
        (("hi",), "olk_nobody", "401: the key is unknown or revoked; say --key or set OLSIM_NODE_KEY"),
        (("a " * 300,), None, "400: the prompt has"),
    ],
    ids=["model", "key", "length"],
)
def test_a_refusal_is_one_line(node, arguments, key, line):
    with pytest.raises(InputError) as caught:
        chat(node, *arguments, key=key)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_no_node_is_one_line_and_exit_code_2(tmp_path):
    write_folder(adapter(5), tmp_path / "a")
    for command in (["chat", "hi"], ["adapters", "upload", "a", str(tmp_path / "a")]):
        line = [sys.executable, "-m", "sim.cli", "node", *command, "--url", "http://127.0.0.1:9"]
        said = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
        assert (said.returncode, said.stdout) == (2, "")
        assert said.stderr.startswith("cannot reach the node at http://127.0.0.1:9: ")
        assert said.stderr.endswith("; start one with `olsim node serve`, or say --url\n")
        assert said.stderr.count("\n") == 1


def test_upload_then_talk_to_it(node, client, tmp_path):
    made = adapter(6)
    folder = write_folder(made, tmp_path / "made")
    said = run(node, "adapters", "upload", "fresh", folder)
    assert said.stdout == f"{node.url} serves fresh version 1, {made.sha256}\n"
    again = json.loads(run(node, "adapters", "upload", "fresh", folder, "--json").stdout)
    assert (again["sha256"], again["manifest"]["owner"]) == (made.sha256, "0x" + "a1" * 20)
    assert made.sha256[:12] in chat(node, "hi", "--model", "fresh").stderr
    with pytest.raises(InputError, match="400: alias"):
        run(node, "adapters", "upload", "Not An Alias", folder)
    with pytest.raises(InputError, match="cannot be read"):
        run(node, "adapters", "upload", "fresh", tmp_path)


def test_the_life_of_an_alias_on_a_running_node(node, client, tmp_path):
    def said(*words: object) -> str:
        return run(node, "adapters", *words).stdout

    first, second = adapter(7), adapter(8)
    run(node, "adapters", "upload", "life", write_folder(first, tmp_path / "1"))
    run(node, "adapters", "upload", "life", write_folder(second, tmp_path / "2", owner=None))
    lines = [line.split() for line in said("list").splitlines()]
    assert [line[:3] for line in lines if line[0] == "life"] == [["life", "2", second.sha256[:12]]]
    assert "life serves version 2; paid for it:\n  nobody: no manifest" in said("show", "life")
    assert said("rollback", "life", first.sha256[:8]) == f"life serves version 1, {first.sha256}\n"
    assert client.complete("life", "a", max_tokens=1).adapters == (first.sha256,)
    shown = json.loads(said("show", "life", "--json"))
    assert (shown["serves"], [one["sha256"] for one in shown["versions"]]) == (
        1,
        [first.sha256, second.sha256],
    )
    assert shown["versions"][0]["payees"][0]["address"] == "0x" + "a1" * 20
    assert said("delete", "life", first.sha256[:8]) == "deleted 1 of life; life serves version 2\n"
    gone = json.loads(said("delete", "life", "--json"))
    assert ([one["sha256"] for one in gone["deleted"]], gone["serves"]) == ([second.sha256], None)
    with pytest.raises(InputError, match="404: alias 'life' is unknown"):
        said("show", "life")
    with pytest.raises(InputError, match=r"401: .*; say --key or set OLSIM_NODE_KEY"):
        run(node, "adapters", "list", key="olk_nobody")


def test_a_node_and_its_registry_folder_are_described_alike(node, tmp_path, monkeypatch):
    run(node, "adapters", "upload", "alike", write_folder(adapter(9), tmp_path / "made"))
    root = str(node.options.registry_folder)
    shown = json.loads(run(node, "adapters", "show", "alike", "--json").stdout)
    read = CliRunner().invoke(app, ["adapters", "show", "alike", "--registry", root, "--json"])
    assert json.loads(read.stdout) == shown
    monkeypatch.setenv("OLSIM_REGISTRY", root)
    locked = CliRunner().invoke(app, ["adapters", "delete", "alike"])
    assert "ask that node, or stop it first" in str(locked.exception)
    assert run(node, "adapters", "delete", "alike").stdout.startswith("deleted 1 of alike")
