"""Put schemathesis to a live node: `make test-api`.

Rule: the node runs in the project's environment with the tiny base and keys, schemathesis in an environment of its own;
both end with this command, and nothing but 127.0.0.1 is spoken to.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).absolute().parent
EXAMPLES = os.environ.get("API_EXAMPLES", "60")
PROBE = "probe"  # an adapter that is there, for the operations that ask for one


def serve(data: Path) -> None:
    """Serve the tiny base with one adapter until a signal comes."""
    from reference_node.adapters import random_adapter, save_adapter
    from reference_node.commands.serve import run_server
    from reference_node.config_file import read_config
    from reference_node.registry import Registry
    from reference_node.serve.opening import NodeOptions
    from reference_node.tiny_base import folder

    options = NodeOptions(data=data, port=0, length_max=128, batch_max=4)
    shape = read_config(folder())
    save_adapter(random_adapter(shape, 4, 1), data / PROBE)
    with Registry(options.registry_folder, shape) as registry:
        registry.adopt(data / PROBE)
    run_server(options, 5)


def main(schemathesis: str) -> int:
    """Return the exit status of schemathesis."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, str(Path(__file__).absolute()), "--serve", data]
        node = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert node.stdout is not None
            url, key = node.stdout.readline().strip(), node.stdout.readline().strip()
            if not key:
                raise SystemExit("the node did not start")
            environment = {**os.environ, "PYTHONPATH": str(HERE), "SCHEMATHESIS_HOOKS": "hooks"}
            command = attack(schemathesis, url, key)
            return subprocess.run(command, check=False, cwd=data, env=environment).returncode
        finally:
            node.send_signal(signal.SIGINT)
            node.wait(30)


def attack(schemathesis: str, url: str, key: str) -> list[str]:
    """Return the command that tests every operation of the node's own description."""
    settings = {
        "--header": f"Authorization: Bearer {key}",
        "--max-examples": EXAMPLES,
        "--seed": "1",
        "--request-timeout": "30",
        "--generation-database": "none",
        "--suppress-health-check": "all",
    }
    flags = [part for pair in settings.items() for part in pair]
    config = ["--config-file", str(HERE / "schemathesis.toml")]
    return [schemathesis, *config, "run", f"{url}/openapi.json", *flags, "--continue-on-failure"]


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(Path(sys.argv[2]))
    else:
        sys.exit(main(str(Path(sys.argv[1]).absolute())))
