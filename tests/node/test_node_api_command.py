"""`olsim node serve` as an operator runs it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("fastapi", reason="needs the node extra (fastapi)")

from models.errors import InputError
from reference_node.commands.serve import serve
from reference_node.serve.server import listen
from tests.node.api_world import make_base

pytestmark = pytest.mark.node

COMMAND = "import typer; from reference_node.commands.serve import serve; typer.run(serve)"


def test_a_node_starts_says_what_it_is_and_leaves_in_order(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base")
    flags = ["--base", str(base), "--data", str(tmp_path / "data"), "--port", "0", "--length-max", "64"]
    node = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert node.stdout is not None
    try:
        url, key = node.stdout.readline().strip(), node.stdout.readline().strip()
        headers = {"authorization": f"Bearer {key}"}
        body = {"model": "base", "prompt": "x", "max_tokens": 2}
        answer = httpx2.post(f"{url}/v1/completions", json=body, headers=headers, timeout=20)
        assert answer.status_code == 200, answer.text
    finally:
        node.send_signal(signal.SIGINT)
        _, errors = node.communicate(timeout=20)
    assert node.returncode == 0, errors
    for said in (answer.headers["x-olsim-base"], "keys.json", f"curl {url}/v1/chat/completions", "0 records"):
        assert said in errors
    assert "Traceback" not in errors
    assert key not in errors
    assert key.split("_")[2] not in (tmp_path / "data" / "keys.json").read_text()


def test_a_port_in_use_is_an_input_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(InputError, match="cannot listen on"):
            listen("127.0.0.1", taken.getsockname()[1])


BAD_FLAGS = [
    ({"no_auth": True, "host": "0.0.0.0"}, "without keys"),
    ({"port": -1}, "--port -1"),
    ({"queue": 0, "wall_s": 0.0}, "limits.queue"),
    ({"dtype": "int4"}, "--dtype int4"),
    ({"base": "/nowhere/at/all"}, "no such folder"),
    ({"tariff": Path("/nowhere.yaml")}, "/nowhere.yaml"),
]


@pytest.mark.parametrize(("flags", "message"), BAD_FLAGS, ids=[one[1] for one in BAD_FLAGS])
def test_bad_flags_are_input_errors(tmp_path: Path, flags: dict[str, object], message: str) -> None:
    settings = {"data": tmp_path, "port": 0, **flags}
    with pytest.raises(InputError, match=message):
        serve(**settings)  # type: ignore[arg-type]
