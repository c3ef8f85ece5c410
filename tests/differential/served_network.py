"""A served network in a process of its own, for tests that drive it as clients do."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "sim.cli", "chain", "serve", "--json"]


@dataclass(frozen=True)
class Served:
    """A running network: addresses of its nodes, its deployment file, and its process."""

    l1: str
    l2: str
    deployment: dict[str, Any]
    path: Path
    process: subprocess.Popen[str]


@contextmanager
def served(folder: Path, *options: str) -> Iterator[Served]:
    """Serve a network on free ports until the block ends; it has to end cleanly on Ctrl-C."""
    path = folder / "deployment.json"
    process = subprocess.Popen(
        [*COMMAND, "--port", "0", "--deployment", str(path), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        told = json.loads(line)
        yield Served(told["l1"], told["l2"], json.loads(path.read_text()), path, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "the network has ended\n")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
