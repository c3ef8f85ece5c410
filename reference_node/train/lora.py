"""LoRA fine-tuning with peft: the loop, its checkpoints, and how a killed run goes on.

Rule decided here: an adapter is a function of (dataset, base, settings). On a CPU one thread computes, dropout is off,
and the state that a resumed run starts from holds everything that the next step reads (adapter, optimizer, random
state, position), so that it ends with the same bits as a run that was never stopped.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reference_node.train.base import Base
from reference_node.train.checkpoint import load_checkpoint, save_checkpoint
from reference_node.train.dataset import Sequenced, collate
from reference_node.train.progress import Tell
from reference_node.train.settings import Settings

SAVE_EVERY = 25  # steps
EVALUATION_BATCH = 16
Keep = Callable[[int, dict[str, Tensor]], None]


@dataclass(frozen=True, slots=True)
class Work:
    """Where a run keeps its state, and what the run is: a state of another run is refused."""

    path: Path
    identity: dict[str, Any]


class Run:
    """One training run.

    Parameters
    ----------
    base
        Opened base model; its transformers model is wrapped by peft.
    rows
        Tokens of the dataset's rows, in file order.
    settings
        What to do with them.
    device
        Where the model lives.
    """

    def __init__(
        self, base: Base, rows: Sequence[Sequenced], settings: Settings, device: str = "cpu"
    ) -> None:
        from peft import LoraConfig, get_peft_model

        if device == "cpu":
            torch.set_num_threads(1)
        self.rows, self.settings, self.device = rows, settings, device
        self.pad = base.codec.eos_ids[0]
        torch.manual_seed(settings.seed)
        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            target_modules=list(settings.targets),
            lora_dropout=0.0,
            task_type="CAUSAL_LM",
        )
        with warnings.catch_warnings():
            # peft 0.21 reads an attribute that transformers 5 renamed
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            self.model = get_peft_model(base.model, config)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate, weight_decay=0.0)
        self.order = settings.order(len(rows))
        self.losses: list[float] = []

    def tensors(self) -> dict[str, Tensor]:
        """Return a copy of the adapter's tensors, named as peft saves them."""
        from peft import get_peft_model_state_dict

        state = get_peft_model_state_dict(self.model)
        return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def train(self, work: Work, tell: Tell, keep: Keep) -> None:
        """Take the steps that are left.

        Parameters
        ----------
        work
            The resumable state, read first if it is there.
        tell
            Takes the steps done and the loss.
        keep
            Takes the steps done and the adapter's tensors, at the steps that attribution asks for.
        """
        self._resume(work)
        kept = set(self.settings.checkpoint_steps(len(self.rows)))
        if not self.losses and 0 in kept:
            keep(0, self.tensors())
        for step in range(len(self.losses), len(self.order)):
            self.losses.append(self._step(step))
            done = step + 1
            tell(done, self.losses[-1])
            if done in kept:
                keep(done, self.tensors())
            if done % SAVE_EVERY == 0 or done == len(self.order):
                save_checkpoint(self._state(work.identity), work.path)

    def loss(self, rows: Sequence[Sequenced], *, adapter: bool = True) -> float:
        """Return the mean loss per answer token of rows, with the adapter or of the base alone."""
        if not adapter:
            with self.model.disable_adapter():
                return mean_loss(self.model, rows, self.pad, self.device)
        return mean_loss(self.model, rows, self.pad, self.device)

    def _step(self, step: int) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(step, len(self.order))
        batch = collate([self.rows[i] for i in self.order[step]], self.pad, self.device)
        loss = self.model(**batch).loss
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _state(self, identity: dict[str, Any]) -> dict[str, Any]:
        return {
            "identity": identity,
            "adapter": self.tensors(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            "losses": self.losses,
        }

    def _resume(self, work: Work) -> None:
        from peft import set_peft_model_state_dict

        state = load_checkpoint(work.path, work.identity)
        if state is not None:
            set_peft_model_state_dict(self.model, state["adapter"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"])
            self.losses = state["losses"]


def mean_loss(model: Any, rows: Sequence[Sequenced], pad: int, device: str = "cpu") -> float:
    """Return the mean loss per answer token of rows under a transformers model."""
    total = tokens = 0.0
    with torch.no_grad():
        for i in range(0, len(rows), EVALUATION_BATCH):
            part = rows[i : i + EVALUATION_BATCH]
            count = sum(len(row.tokens) - row.start for row in part)
            total += float(model(**collate(part, pad, device)).loss) * count
            tokens += count
    return total / tokens


def identity_of(dataset_sha256: str, base_sha256: str, settings: Settings, device: str) -> dict[str, Any]:
    """Return what makes a run this run and no other."""
    described = asdict(settings) | {"targets": list(settings.targets), "device": device}
    return {"dataset_sha256": dataset_sha256, "base_sha256": base_sha256, **described}
