"""The base model that an adapter is trained on: opened once for training and once for its identity.

Rule decided here: an adapter is trained only on a base that the node can serve, and its manifest names that base by the
hash that the node computes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from models.errors import InputError, Problem
from reference_node.config import ModelConfig
from reference_node.tokenizer import TextCodec
from reference_node.weights import base_sha256, load_model, read_config

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Base:
    """A base model for training.

    Parameters
    ----------
    model
        The transformers model, frozen by peft later.
    config
        Its shape as the node reads it.
    codec
        Its tokenizer.
    sha256
        Its identity.
    length_max
        Longest sequence it reads, in tokens.
    """

    model: Any
    config: ModelConfig
    codec: TextCodec
    sha256: str
    length_max: int


def open_base(folder: Path, device: str = "cpu") -> Base:
    """Open a transformers folder: fp32 on a CPU, bf16 on an accelerator.

    Raises
    ------
    InputError
        When the node can not serve the model, its tokenizer is missing, or there is no such device.
    """
    if device not in DEVICES or (device == "cuda" and not torch.cuda.is_available()):
        here = ", ".join(DEVICES if torch.cuda.is_available() else DEVICES[:1])
        raise InputError([Problem(f"{device!r} is not at hand; this machine has {here}", "device")])
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # the command has a bar of its own
    config, codec = read_config(folder), TextCodec.from_folder(folder)
    _, tensors = load_model(folder)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).to(device)
    length = int(getattr(model.config, "max_position_embeddings", 2048))
    return Base(model, config, codec, base_sha256(tensors, codec.sha256), length)
