"""How servers are told of adapters: vLLM's load and unload, a node's upload, LoRAX's paths.

Rule: whatever the way, the name that the server knows ends in the content hash. vLLM and LoRAX read the registry's
folder from a file system that both machines see.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Protocol

import httpx2

from models.errors import InputError
from reference_node.adapters import CONFIG_FILE, WEIGHTS_FILE
from reference_node.serve.backend import UpstreamError


class AdapterStyle(Protocol):
    """One server's way."""

    def model_name(self, sha256: str, folder: Path) -> str:
        """Return what `model` must say."""

    async def load(self, http: httpx2.AsyncClient, sha256: str, folder: Path) -> None:
        """Make the adapter known.

        Raises
        ------
        InputError
            When the server refuses it.
        UpstreamError
            When the server fails.
        """

    async def unload(self, http: httpx2.AsyncClient, sha256: str) -> None:
        """Let the server forget it."""


class VllmStyle:
    """`/v1/load_lora_adapter` with a path; the server must allow it (`VLLM_ALLOW_RUNTIME_LORA_UPDATING`)."""

    def model_name(self, sha256: str, folder: Path) -> str:
        """Return the hash."""
        return sha256

    async def load(self, http: httpx2.AsyncClient, sha256: str, folder: Path) -> None:
        """Load by path; a name that is taken holds this very content, because names are hashes."""
        body = {"lora_name": sha256, "lora_path": str(folder.absolute())}
        answer = await http.post("/v1/load_lora_adapter", json=body)
        if answer.status_code != 200 and "already" not in answer.text:
            raise _refused(sha256, answer)

    async def unload(self, http: httpx2.AsyncClient, sha256: str) -> None:
        """Unload by name."""
        await http.post("/v1/unload_lora_adapter", json={"lora_name": sha256})


class NodeStyle:
    """Uploads to another node, under an alias that is the hash."""

    def model_name(self, sha256: str, folder: Path) -> str:
        """Return the hash, pinned: an alias could be given another version."""
        return f"{sha256}@sha256:{sha256}"

    async def load(self, http: httpx2.AsyncClient, sha256: str, folder: Path) -> None:
        """Upload the files."""
        files = {
            part: (name, await asyncio.to_thread((folder / name).read_bytes))
            for part, name in (("weights", WEIGHTS_FILE), ("config", CONFIG_FILE))
        }
        answer = await http.post("/v1/adapters", data={"alias": sha256}, files=files)
        if answer.status_code != 201:
            raise _refused(sha256, answer)
        if answer.json()["sha256"] != sha256:
            raise InputError(f"the upstream read adapter {sha256[:12]} as {answer.json()['sha256'][:12]}")

    async def unload(self, http: httpx2.AsyncClient, sha256: str) -> None:
        """Delete the alias."""
        await http.delete(f"/v1/adapters/{sha256}")


class LoraxStyle:
    """LoRAX loads what `model` names (with `--adapter-source local` a path); the path ends in the hash."""

    def model_name(self, sha256: str, folder: Path) -> str:
        """Return the folder."""
        return str(folder.absolute())

    async def load(self, http: httpx2.AsyncClient, sha256: str, folder: Path) -> None:
        """Do nothing: the first request loads."""

    async def unload(self, http: httpx2.AsyncClient, sha256: str) -> None:
        """Do nothing: LoRAX evicts by itself."""


async def detect_style(http: httpx2.AsyncClient) -> AdapterStyle:
    """Return the way of the server that a client speaks to, by what its description lists."""
    answer = await http.get("/openapi.json")
    paths = answer.json().get("paths", {}) if answer.status_code == 200 else {}
    if "/v1/load_lora_adapter" in paths:
        return VllmStyle()
    return NodeStyle() if "/v1/adapters" in paths else LoraxStyle()


def _refused(sha256: str, answer: httpx2.Response) -> Exception:
    message = f"the upstream refuses adapter {sha256[:12]}: {answer.status_code} {answer.text[:200]}"
    return UpstreamError(message) if answer.status_code >= 500 else InputError(message)
