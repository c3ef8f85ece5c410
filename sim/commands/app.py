"""`olsim app`: the dashboard in a browser of this machine.

Rule decided here: the server listens on 127.0.0.1 alone and Streamlit's usage statistics are off, so that
nothing that is looked at leaves the machine.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from models.errors import InputError

APP = Path(__file__).resolve().parents[2] / "app.py"
"""The dashboard's entry, at the top of the checkout."""
OFFLINE = (
    "--server.address=127.0.0.1",
    "--server.headless=true",
    "--server.fileWatcherType=none",
    "--browser.gatherUsageStats=false",
    "--client.toolbarMode=minimal",
)


def app_command(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Port on 127.0.0.1.")] = 8501,
) -> None:
    """Open the dashboard: runs, unlocks, fees, governance and the node, at http://127.0.0.1:8501."""
    if not APP.is_file():
        raise InputError(f"{APP}: no such file; `olsim app` works from a checkout")
    if importlib.util.find_spec("streamlit") is None:
        raise ModuleNotFoundError("No module named 'streamlit'", name="streamlit")
    typer.echo(f"dashboard: http://127.0.0.1:{port} (stop with Ctrl-C)", err=True)
    command = [sys.executable, "-m", "streamlit", "run", str(APP), f"--server.port={port}", *OFFLINE]
    try:
        code = subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        code = 0
    raise typer.Exit(code)
