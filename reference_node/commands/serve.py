"""`olsim node serve`: the node as a server.

Decided here: the flags and their defaults, and what a person sees when the node is up. The address and the first key
go to standard output, everything else to standard error.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from models.errors import InputError

if TYPE_CHECKING:
    from reference_node.serve.node import Node
    from reference_node.serve.opening import NodeOptions

ENGINE, BOUNDS = "Engine", "Limits"


def serve(
    base: Annotated[
        str | None,
        typer.Option(help="Transformers folder or hub name; the bundled tiny base when not given."),
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder of registry, log, settlements and keys.")] = Path(
        "node-data"
    ),
    adapters: Annotated[Path | None, typer.Option(help="Registry folder, instead of DATA/adapters.")] = None,
    keys: Annotated[Path | None, typer.Option(help="Key file, instead of DATA/keys.json.")] = None,
    tariff: Annotated[
        Path | None, typer.Option(help="Tariff file; illustrative prices when not given.")
    ] = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Ask for no keys; 127.0.0.1 alone.")] = False,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.")] = 8000,
    upstream: Annotated[
        str, typer.Option(help="URL of a vLLM-like server that generates instead of the engine.")
    ] = "",
    upstream_key: Annotated[str, typer.Option(envvar="OLSIM_UPSTREAM_KEY", help="Its key.")] = "",
    attribution: Annotated[
        list[Path] | None,
        typer.Option(help="Bundle of an adapter whose answers are attributed; may be given more than once."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.", rich_help_panel=ENGINE)] = "cpu",
    dtype: Annotated[
        str,
        typer.Option(help="float32, bfloat16 or float16; by device when not given.", rich_help_panel=ENGINE),
    ] = "",
    slots: Annotated[int, typer.Option(help="Adapters on the device at once.", rich_help_panel=ENGINE)] = 32,
    rank_max: Annotated[int, typer.Option(help="Largest adapter rank.", rich_help_panel=ENGINE)] = 64,
    policy: Annotated[
        str, typer.Option(help="lru, unload_always or resident.", rich_help_panel=ENGINE)
    ] = "lru",
    host_bytes: Annotated[
        int, typer.Option(help="Adapter bytes kept in host memory.", rich_help_panel=ENGINE)
    ] = 4 << 30,
    batch_max: Annotated[
        int, typer.Option(help="Requests that decode together.", rich_help_panel=ENGINE)
    ] = 32,
    length_max: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a request, prompt and answer; what the base takes, up to 2048, when not given.",
            rich_help_panel=ENGINE,
        ),
    ] = None,
    kv_bytes: Annotated[
        int,
        typer.Option(help="Bytes for keys and values; 0: enough for a full batch.", rich_help_panel=ENGINE),
    ] = 0,
    step_tokens: Annotated[int, typer.Option(help="Tokens of one step.", rich_help_panel=ENGINE)] = 512,
    merge_bytes: Annotated[
        int,
        typer.Option(
            help="Bytes of weights merged while all use one adapter; 0: none.", rich_help_panel=ENGINE
        ),
    ] = 0,
    distinct_adapters_max: Annotated[
        int, typer.Option(help="Distinct adapters of one step; 0: no limit.", rich_help_panel=ENGINE)
    ] = 0,
    body_bytes: Annotated[int, typer.Option(help="Largest JSON body.", rich_help_panel=BOUNDS)] = 1 << 20,
    upload_bytes: Annotated[int, typer.Option(help="Largest upload.", rich_help_panel=BOUNDS)] = 512 << 20,
    prompt_tokens: Annotated[int, typer.Option(help="Longest prompt.", rich_help_panel=BOUNDS)] = 32_768,
    max_tokens: Annotated[int, typer.Option(help="Longest answer.", rich_help_panel=BOUNDS)] = 8_192,
    queue: Annotated[
        int, typer.Option(help="Requests that wait; one more gets 429.", rich_help_panel=BOUNDS)
    ] = 256,
    queue_wait_s: Annotated[
        float, typer.Option(help="Longest wait; then 503.", rich_help_panel=BOUNDS)
    ] = 30.0,
    wall_s: Annotated[float, typer.Option(help="Longest time of a request.", rich_help_panel=BOUNDS)] = 600.0,
    streams: Annotated[
        int, typer.Option(help="Requests open at once; one more gets 429.", rich_help_panel=BOUNDS)
    ] = 512,
    drain_s: Annotated[
        float, typer.Option(help="Time to finish after Ctrl-C.", rich_help_panel=BOUNDS)
    ] = 30.0,
) -> None:
    """Serve a base model and its adapters over an OpenAI-compatible interface."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise InputError("the node needs torch: pip install 'olsim[node]'") from error
    from reference_node.serve.limits import Limits
    from reference_node.serve.opening import NodeOptions

    limits = Limits(
        body_bytes=body_bytes,
        upload_bytes=upload_bytes,
        prompt_tokens=prompt_tokens,
        max_tokens=max_tokens,
        queue=queue,
        queue_wait_s=queue_wait_s,
        wall_s=wall_s,
        streams=streams,
    )
    options = NodeOptions(
        base=base,
        data=data,
        adapters=adapters,
        keys=keys,
        tariff=tariff,
        auth=not no_auth,
        host=host,
        port=port,
        device=device,
        dtype=dtype,
        slots=slots,
        rank_max=rank_max,
        policy=policy,
        host_bytes=host_bytes,
        batch_max=batch_max,
        length_max=length_max,
        kv_bytes=kv_bytes,
        step_tokens=step_tokens,
        merge_bytes=merge_bytes,
        distinct_adapters_max=distinct_adapters_max,
        attribution=tuple(attribution or ()),
        upstream=upstream,
        upstream_key=upstream_key,
        limits=limits,
    )
    run_server(options, drain_s)


def run_server(options: NodeOptions, drain_s: float) -> None:
    """Serve until a signal comes."""
    from reference_node.serve.opening import first_key, open_node
    from reference_node.serve.server import NodeServer, listen

    with listen(options.host, options.port) as taken:
        options = replace(options, port=taken.getsockname()[1])
        node = open_node(options)
        sys.stderr.write(_greeting(node, options))
        sys.stdout.write(f"{_url(options)}\n")
        key = first_key(options)
        if key is not None:
            sys.stderr.write(
                "First key (administrator), shown once; make others with olsim node keys create:\n"
            )
            sys.stdout.write(f"{key}\n")
        sys.stdout.flush()
        server = NodeServer(node, drain_s)
        with suppress(KeyboardInterrupt):  # raised again after the node has left in order
            server.run(sockets=[taken])
    if node.failure or not server.started:
        raise typer.Exit(1)


def _greeting(node: Node, options: NodeOptions) -> str:
    served = node.registry.listing()
    names = ", ".join(version.alias for version in served[:8]) + (", ..." if len(served) > 8 else "")
    rows = [
        ("base", f"{options.base or 'tiny base'}, sha256 {node.base_sha256}"),
        ("behind", node.backend.description),
        ("adapters", f"{len(served)} in {options.registry_folder}" + (f": {names}" if names else "")),
        *_attributed(node),
        ("log", f"{options.data / 'log'}, {node.log.size} records"),
        ("settlements", str(node.epochs)),
        ("keys", str(options.key_file) if options.auth else "none asked for"),
    ]
    if node.log.recovered is not None:
        rows.append(("recovered", str(node.log.recovered)))
    rows += [("damaged", problem) for problem in node.registry.problems]
    auth = " -H 'authorization: Bearer KEY'" if options.auth else ""
    model = served[0].alias if served else "base"
    body = f'{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
    example = (
        f"curl {_url(options)}/v1/chat/completions{auth} -H 'content-type: application/json' -d '{body}'"
    )
    return "".join(f"{name:<12}{value}\n" for name, value in rows) + f"try         {example}\n"


def _attributed(node: Node) -> list[tuple[str, str]]:
    if node.attribution is None:
        return []
    named = {version.sha256: version.alias for version in node.registry.listing()}
    names = ", ".join(named.get(sha256, sha256[:12]) for sha256 in node.attribution.adapters)
    return [("attributes", f"answers of {names}")]


def _url(options: NodeOptions) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{options.port}"
