"""The way of money by real commands: train, bundle, chain and node as processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2

from reference_node.corpora import niche

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
CONTRIBUTORS, ROWS_EACH = ("c01", "c02", "c03", "c04"), 8
ALIAS, BANK = "notes", 6


def olsim(*arguments: str | Path) -> str:
    """Run a command, which has to succeed, and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "sim.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=ENVIRONMENT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def small_dataset(path: Path) -> list[dict[str, str]]:
    """Write eight medical notes of each of four contributors and return them."""
    rows = [json.loads(line) for line in niche("medicine").read_text().splitlines()]
    notes = [row for row in rows if row["datanet"] == "medicine-notes"]
    chosen = [
        row for one in CONTRIBUTORS for row in [r for r in notes if r["contributor"] == one][:ROWS_EACH]
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in chosen))
    return chosen


def trained(folder: Path) -> tuple[Path, Path, list[dict[str, str]]]:
    """Train an adapter on the small dataset, make its bundle with a bank, and return both folders and the rows."""
    rows, adapter, bundle = small_dataset(folder / "notes.jsonl"), folder / "adapter", folder / "bundle"
    recipe = ("--epochs", "16", "--batch", "8", "--lr", "1e-2", "--checkpoints", "0", "--quiet")
    olsim("node", "train", folder / "notes.jsonl", "--alias", ALIAS, "--out", adapter, *recipe)
    build = ("node", "attribute", "build", adapter, folder / "notes.jsonl", "--out", bundle)
    olsim(*build, "--bank", str(BANK))
    return adapter, bundle, rows


@contextmanager
def serving(data: Path, bundle: Path) -> Iterator[httpx2.Client]:
    """Serve the bundled base without keys until the block ends; it has to end cleanly on Ctrl-C."""
    command = [sys.executable, "-m", "sim.cli", "node", "serve", "--data", str(data), "--no-auth"]
    process = subprocess.Popen(
        [*command, "--port", "0", "--attribution", str(bundle)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, process.communicate()[1]
        with httpx2.Client(base_url=url, timeout=60) as client:
            yield client
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 130), err
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def rpc(url: str, method: str, *params: Any) -> Any:
    """Ask a chain's node."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    answer = httpx2.post(url, json=body, timeout=60).json()
    assert "error" not in answer, answer
    return answer["result"]
