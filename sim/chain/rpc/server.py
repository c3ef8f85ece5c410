"""Server: a network on its two ports.

Rule decided here: both ports are taken before anything is built, so that a port in use is an error of the command and
not of a half-started network. Ctrl-C lets the request in hand finish and ends.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import uvicorn

from models.errors import InputError
from sim.chain.rpc.app import RpcApp
from sim.chain.rpc.dispatcher import REQUEST_BYTES_MAX, Dispatcher

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sim.chain.rpc.devnet import Devnet
    from sim.chain.rpc.worker import Worker

BACKLOG = 512
GRACE_S = 2


class _Server(uvicorn.Server):
    """A server that says when it is up; from then on a signal ends it in order."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, then say so."""
        await super().startup(sockets)
        self._ready()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises
    ------
    InputError
        If the address cannot be taken.
    """
    if not 0 <= port <= 65_535:
        raise InputError(f"port {port}: expected 0 to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        taken = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"cannot listen on {host}: {error.strerror or error}") from error
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address)
        taken.listen(BACKLOG)
    except OSError as error:
        taken.close()
        message = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise InputError(f"{message}; another --port and --l1-port are free to choose") from error
    return taken


def url_of(taken: socket.socket) -> str:
    """Return the address at which a client reaches a listening socket."""
    host, port = taken.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104, RUF100 - compared, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    network: Devnet,
    sockets: dict[str, socket.socket],
    worker: Worker,
    *,
    dispatchers: dict[str, Dispatcher],
    tick: Callable[[], None],
    ready: Callable[[], None],
    origins: Sequence[str] = (),
) -> None:
    """Answer requests until the process is asked to end.

    Parameters
    ----------
    network
        The chains.
    sockets, dispatchers
        By the node's name.
    worker
        Executes requests.
    tick
        What each interval does.
    ready
        Called once requests are answered.
    origins
        Web pages that may ask.
    """
    by_port = {taken.getsockname()[1]: dispatchers[name] for name, taken in sockets.items()}
    app = RpcApp(by_port, worker, origins, (tick, network.options.block_time))
    config = uvicorn.Config(
        app.asgi,
        log_level="error",
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="websockets-sansio",
        ws_max_size=REQUEST_BYTES_MAX,
        timeout_graceful_shutdown=GRACE_S,
    )
    _Server(config, ready).run(list(sockets.values()))
