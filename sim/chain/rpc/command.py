"""`olsim chain serve`: the two chains as a development network.

Rule decided here: the flags and their defaults, and what a person sees once the network is up. The addresses go to
standard output, warnings to standard error; with ``--json`` standard output is one JSON object.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError

if TYPE_CHECKING:
    import socket

    from sim.chain.deployment import DeploymentSpec
    from sim.chain.rpc.devnet import Devnet
    from sim.chain.rpc.worker import Worker

NOTE = """\
Clients: both chains are instant, so ethers must not reuse answers:
  new JsonRpcProvider(url, undefined, {cacheTimeout: -1})
Addresses and ABIs are in the deployment file. Gas costs nothing unless --base-fee is given."""


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback can be reached.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of L2; 0 takes a free one.")] = 8545,
    l1_port: Annotated[
        int | None, typer.Option(help="Port of L1; the next one after L2's when not given.")
    ] = None,
    block_time: Annotated[
        int, typer.Option(help="Seconds between blocks; 0: a block for each transaction.")
    ] = 0,
    accounts: Annotated[int, typer.Option(help="Development accounts.")] = 10,
    base_fee: Annotated[int, typer.Option(help="Base fee at genesis, wei per gas; 0: gas is free.")] = 0,
    scenario: Annotated[
        Path | None, typer.Option(help="Scenario whose token, governance and parameters are deployed.")
    ] = None,
    deployment: Annotated[Path, typer.Option(help="File for addresses and ABIs.")] = Path("deployment.json"),
    state: Annotated[
        Path | None, typer.Option(help="File that keeps what was asked, to go on from there another time.")
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="Web page that may ask, such as http://localhost:3000; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Serve both chains with the contracts deployed: JSON-RPC for wallets and scripts.

    The development accounts' keys are public. ethers caches answers for 250 ms, which an instant chain outruns: give
    its provider `cacheTimeout: -1`.
    """
    _check(accounts, base_fee, block_time)
    _require_packages()
    from sim.chain.rpc.server import listen
    from sim.chain.rpc.worker import Worker

    second = l1_port if l1_port is not None else port + 1 if port else 0
    with ExitStack() as stack:
        sockets = {
            name: stack.enter_context(closing(listen(host, number)))
            for name, number in (("l2", port), ("l1", second))
        }
        worker = stack.enter_context(closing(Worker()))
        try:
            network = worker.run_now(lambda: _build(scenario, accounts, base_fee, block_time))
            _serve(network, sockets, worker, deployment, state, tuple(allow_origin or ()), as_json=as_json)
        except KeyboardInterrupt:
            sys.stderr.write("the network has ended\n")


def _serve(
    network: Devnet,
    sockets: dict[str, socket.socket],
    worker: Worker,
    deployment: Path,
    state: Path | None,
    origins: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Bring a network to where its state file was, write its deployment file and answer requests."""
    from sim.chain.rpc import server
    from sim.chain.rpc.deployment_file import write
    from sim.chain.rpc.dispatcher import Dispatcher
    from sim.chain.rpc.state_file import StateFile

    network.urls = {name: server.url_of(taken) for name, taken in sockets.items()}
    file = StateFile(state, network) if state else None
    observe = file.observe if file else None
    dispatchers = {name: Dispatcher(node, observe=observe) for name, node in network.nodes.items()}
    done = worker.run_now(lambda: file.replay(dispatchers)) if file else 0
    write(deployment, network.document())
    server.serve(
        network,
        sockets,
        worker,
        dispatchers=dispatchers,
        tick=file.tick if file else network.tick,
        ready=lambda: _tell(network, deployment, done, sockets, as_json=as_json),
        origins=origins,
    )


def _require_packages() -> None:
    try:
        import eth  # noqa: F401
        import eth_account  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(f"the network needs {error.name}: pip install 'olsim[chain]'") from error


def _check(accounts: int, base_fee: int, block_time: int) -> None:
    from sim.chain.rpc.keys import ACCOUNTS_MAX

    for name, value, most in (
        ("accounts", accounts, ACCOUNTS_MAX),
        ("base-fee", base_fee, 10**15),
        ("block-time", block_time, 86_400),
    ):
        least = 1 if name == "accounts" else 0
        if not least <= value <= most:
            raise InputError(f"--{name} {value}: expected {least} to {most}")


def _build(scenario: Path | None, accounts: int, base_fee: int, block_time: int) -> Devnet:
    from sim.chain.rpc.devnet import Devnet, DevnetOptions

    return Devnet(_spec(scenario), DevnetOptions(accounts, base_fee, block_time))


def _spec(scenario: Path | None) -> DeploymentSpec:
    from sim.chain.demo import open_spec

    if scenario is None:
        return open_spec()
    from sim.engine import build_economy
    from sim.scenario import load
    from sim.witness_deployment import deployment_spec

    return deployment_spec(build_economy(load(scenario)))


def _tell(
    network: Devnet, deployment: Path, replayed: int, sockets: dict[str, socket.socket], *, as_json: bool
) -> None:
    if not ipaddress.ip_address(sockets["l2"].getsockname()[0]).is_loopback:
        sys.stderr.write("warning: others can reach this network, and its keys are public\n")
    if as_json:
        summary: dict[str, Any] = {
            **network.urls,
            "deployment": str(deployment),
            "requests_replayed": replayed,
        }
        sys.stdout.write(json.dumps(summary) + "\n")
    else:
        sys.stdout.write("\n".join(_lines(network, deployment, replayed)) + "\n")
    sys.stdout.flush()


def _lines(network: Devnet, deployment: Path, replayed: int) -> list[str]:
    from sim.chain.addresses import hex_address

    document = network.document()
    lines = ["olsim development network", ""]
    lines += [
        f"  {name.upper()}  {network.urls[name]}  chain id {network.nodes[name].chain.chain_id}"
        for name in ("l2", "l1")
    ]
    lines += ["", "Development accounts. Their keys are PUBLIC: never use them on another network."]
    for number, key in enumerate(network.l2.keys.values()):
        held = network.l2.chain.balance(key.address) // 10**18
        lines.append(f"  ({number}) {hex_address(key.address)}  {key.private_key}  {held:,} OPEN on L2")
    lines += ["", "Roles that the node acts for (no key; send from them with eth_sendTransaction)"]
    lines += [f"  {label:<22} {address}" for label, address in document["accounts"].items()]
    for name, contracts in (("L2", document["contracts"]), ("L1", document["l1"]["contracts"])):
        lines += ["", f"Contracts on {name}"]
        lines += [f"  {contract:<22} {entry['address']}" for contract, entry in contracts.items()]
    if replayed:
        lines += ["", f"{replayed} requests of the state file were done again"]
    return [*lines, "", f"{deployment} holds addresses and ABIs", "", NOTE, "", "Ctrl-C ends."]
