"""Training: the tiny base from scratch, and LoRA adapters on a dataset whose rows name their contributors.

Rule decided here: which trained adapters ship with the node.
"""

from __future__ import annotations

from pathlib import Path

from reference_node.tiny_base import folder


def bundled_adapters() -> dict[str, Path]:
    """Return the committed adapter folders (peft files and `manifest.json`) by alias."""
    found = sorted((folder() / "adapters").iterdir())
    return {path.name: path for path in found if (path / "manifest.json").is_file()}
