"""The node on a port: listening, draining, leaving.

Rule: the port is taken before anything is loaded onto it, so that a port in use is an error of the command and not of a
half-started node. The first signal lets open requests finish; the second ends them, settled with what they had.
"""

from __future__ import annotations

import socket
from types import FrameType

import uvicorn

from models.errors import InputError
from reference_node.serve.app import create_app
from reference_node.serve.node import Node

BACKLOG = 1024


class NodeServer(uvicorn.Server):
    """A server that tells its node when it is asked to leave.

    Parameters
    ----------
    node
        What is served.
    drain_s
        How long open requests may take after the first signal.
    """

    def __init__(self, node: Node, drain_s: float) -> None:
        config = uvicorn.Config(
            create_app(node),
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=max(1, round(drain_s)),
        )
        super().__init__(config)
        self.node = node

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new requests from the first signal on."""
        self.node.draining = True
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    InputError
        When the address cannot be taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    taken = socket.socket(family, socket.SOCK_STREAM)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
        taken.listen(BACKLOG)
    except OSError as error:
        taken.close()
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return taken
