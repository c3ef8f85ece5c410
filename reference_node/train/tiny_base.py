"""Train the tiny base from scratch: `python -m reference_node.train.tiny_base [--out FOLDER] [--work FOLDER]`.

Rule decided here: shape and schedule of the committed base weights. AdamW over packed rows of 512 tokens, warm-up and
cosine learning rate, one thread, fp32; the result is rounded to bf16 once, so that the node computes with the same
numbers in fp32 and in bf16. A killed run resumes from `WORK/checkpoint.pt` and ends with the same weights.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from reference_node import tiny_base
from reference_node.corpora import general
from reference_node.tokenizer import TextCodec, bundled_file
from reference_node.train.checkpoint import load_checkpoint, save_checkpoint
from reference_node.train.packing import Feed
from reference_node.train.progress import progress_bar

CHECKPOINT = "checkpoint.pt"
SAVE_EVERY = 50
FLOOR = 0.05  # of the learning rate, where the cosine ends


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast the base learns; the default made the committed weights.

    After `steps` on the corpus as it is, `talk_steps` more see its small talk `talk` times in every epoch, at a rate
    that falls from `talk_rate` to 0: a user's first word is a greeting, and the corpus holds few of them.
    """

    seed: int = 1
    steps: int = 850
    rows: int = 8
    length: int = 512
    learning_rate: float = 3e-3
    warmup: int = 60
    weight_decay: float = 0.05
    talk_steps: int = 90
    talk_rate: float = 6e-4
    talk: int = 20
    hidden: int = 192
    layers: int = 4

    def rate(self, step: int) -> float:
        """Return the learning rate of a step: linear warm-up, a cosine, and the line of the small talk."""
        if step >= self.steps:
            return self.talk_rate * (self.steps + self.talk_steps - step) / self.talk_steps
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        part = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * part)) / 2)


def build_model(plan: Plan, codec: TextCodec) -> Any:
    """Return the untrained transformers model; by default 2,016,960 parameters, embeddings tied."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(plan.seed)
    config = LlamaConfig(
        vocab_size=codec.vocab_size,
        hidden_size=plan.hidden,
        intermediate_size=plan.hidden * 8 // 3,
        num_hidden_layers=plan.layers,
        num_attention_heads=plan.hidden // 32,
        num_key_value_heads=plan.hidden // 64,
        head_dim=32,
        max_position_embeddings=plan.length,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=codec.prompt("")[0],
        eos_token_id=codec.eos_ids[0],
        pad_token_id=codec.eos_ids[0],
    )
    return LlamaForCausalLM(config)


def train(plan: Plan, work: Path, *, quiet: bool = False) -> tuple[Any, list[float]]:
    """Train, or go on training, and return the model and the loss of every step.

    Parameters
    ----------
    work
        Folder of the checkpoint.
    """
    torch.set_num_threads(1)
    codec = TextCodec.bundled()
    identity = {**asdict(plan), "tokenizer_sha256": codec.sha256, "corpus_sha256": _sha256(general())}
    model = build_model(plan, codec)
    optimizer = _optimizer(model, plan)
    losses: list[float] = []
    if (state := load_checkpoint(work / CHECKPOINT, identity)) is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        losses = state["losses"]
    feeds = [
        Feed(general(), codec, seed=plan.seed + i, rows=plan.rows, length=plan.length, talk=talk)
        for i, talk in enumerate((1, plan.talk))
    ]
    total = plan.steps + plan.talk_steps
    with progress_bar("tiny base", total, quiet=quiet) as tell:
        for step in range(len(losses), total):
            late = step >= plan.steps
            batch = feeds[late].batch(step - plan.steps * late)
            losses.append(_step(model, optimizer, batch, plan.rate(step)))
            tell(len(losses), losses[-1])
            if len(losses) % SAVE_EVERY == 0 or len(losses) == total:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
                save_checkpoint({"identity": identity, **state}, work / CHECKPOINT)
    return model, losses


def save(model: Any, plan: Plan, losses: list[float], folder: Path) -> None:
    """Write a transformers folder: bf16 weights, configuration, tokenizer, and how it was trained."""
    folder.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # safetensors writes it for its owner alone
    for name in (bundled_file().name, "tokenizer_config.json"):
        shutil.copyfile(bundled_file().with_name(name), folder / name)
    record = {
        "command": "python -m reference_node.train.tiny_base",
        "plan": asdict(plan),
        "corpus_sha256": _sha256(general()),
        "parameters": sum(p.numel() for p in model.parameters()),
        "torch": torch.__version__,
        "loss_mean_of_50_steps": [
            round(sum(part) / len(part), 4)
            for part in (losses[i : i + SAVE_EVERY] for i in range(0, len(losses), SAVE_EVERY))
        ],
    }
    (folder / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _optimizer(model: Any, plan: Plan) -> torch.optim.AdamW:
    """Return AdamW that decays matrices and leaves norms alone."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": plan.weight_decay},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.learning_rate, betas=(0.9, 0.95))


def _step(model: Any, optimizer: torch.optim.AdamW, batch: torch.Tensor, rate: float) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss = model(input_ids=batch, labels=batch).loss
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Train by the default plan and write the folder."""
    parser = argparse.ArgumentParser(prog="python -m reference_node.train.tiny_base", description=__doc__)
    parser.add_argument("--out", type=Path, default=tiny_base.folder(), help="folder to write")
    parser.add_argument("--work", type=Path, default=Path("runs/tiny_base"), help="folder of the checkpoint")
    options = parser.parse_args()
    plan = Plan()
    model, losses = train(plan, options.work)
    save(model, plan, losses, options.out)
    tail = losses[-SAVE_EVERY:]
    sys.stdout.write(f"{options.out}: loss {sum(tail) / len(tail):.3f} after {len(losses)} steps\n")


if __name__ == "__main__":
    main()
