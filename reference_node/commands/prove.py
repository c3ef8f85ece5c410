"""`olsim node prove`: show that a request's record is in the log, and have the chain say so too.

Rules decided here. The proof is checked here before it is shown. With `--rpc` it is made for the latest head that the
contract has, and the contract is asked; a root that is not the log's, or an answer of no, leaves with exit code 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from models.errors import InputError

if TYPE_CHECKING:
    from reference_node.billing.anchor import Head
    from reference_node.billing.claim import RecordProof


def prove(
    log: Annotated[Path, typer.Argument(help="Folder of the billing log.")],
    request_id: Annotated[str, typer.Argument(help="Request, 32 hexadecimal digits.")],
    size: Annotated[
        int | None, typer.Option(min=1, help="Records under the root, such as a settlement's log.size.")
    ] = None,
    rpc: Annotated[
        str, typer.Option(help="Ask the contract as well: the chain's node, http://HOST:PORT.")
    ] = "",
    deployment: Annotated[
        Path | None, typer.Option(help="deployment.json of the chain; needed with --rpc.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Prove that a request's record is in the log: its number, and the path to the log's root."""
    from reference_node.billing.claim import number_of, prove_record

    if bool(rpc) != (deployment is not None):
        raise InputError("--rpc and --deployment are given together or not at all")
    if rpc and size is not None:
        raise InputError("--size and --rpc are both given; the contract's latest head says the size")
    seq = number_of(log, request_id)
    if deployment is None:
        proof, root = prove_record(log, seq, size)
        result = _document(request_id, proof, root)
    else:
        result = _anchored(log, request_id, seq, rpc, deployment)
    sys.stdout.write(json.dumps(result) + "\n" if as_json else _text(result))
    if not result["verified"] or result.get("anchor", {}).get("includes") is False:
        raise typer.Exit(1)


def _anchored(log: Path, request_id: str, seq: int, url: str, deployment: Path) -> dict[str, Any]:
    """Return the proof under the contract's latest head, and what the contract says of it."""
    from reference_node.billing.anchor import Anchor
    from reference_node.billing.claim import prove_record
    from reference_node.billing.distributor import Deployment
    from reference_node.billing.rpc import Rpc, Unreachable

    target = Deployment.read(deployment)
    with Rpc(url) as rpc:
        try:
            anchor = Anchor.of(rpc, target)
            head = _head_over(anchor.latest(), seq)
            proof, root = prove_record(log, seq, head.size)
            is_included = anchor.includes(head, proof)
        except Unreachable as error:
            sys.stderr.write(f"{error}\n")
            raise typer.Exit(1) from error
    said = {"address": anchor.address, "head": head.index, "root": head.root.hex(), "includes": is_included}
    return {**_document(request_id, proof, root), "anchor": said}


def _head_over(head: Head | None, seq: int) -> Head:
    if head is None or head.size <= seq:
        covered = 0 if head is None else head.size
        sys.stderr.write(f"record {seq} is not anchored yet: the latest head is over {covered} records\n")
        raise typer.Exit(1)
    return head


def _document(request_id: str, proof: RecordProof, root: bytes) -> dict[str, Any]:
    return {
        "request_id": request_id.lower(),
        "index": proof.seq,
        "size": proof.size,
        "root": root.hex(),
        "path": [node.hex() for node in proof.path],
        "record": proof.data.hex(),
        "verified": proof.leads_to(root),
    }


def _text(result: dict[str, Any]) -> str:
    lines = [
        f"record {result['index']} of {result['size']}, root {result['root']}",
        *(f"  {node}" for node in result["path"]),
        f"path of {len(result['path'])}: {'leads' if result['verified'] else 'DOES NOT LEAD'} to the root",
    ]
    anchor = result.get("anchor")
    if anchor is not None:
        verdict = (
            "includes it" if anchor["includes"] else f"DOES NOT INCLUDE IT: its root is {anchor['root']}"
        )
        lines.append(f"contract {anchor['address']}, head {anchor['head']}: {verdict}")
    return "\n".join(lines) + "\n"
