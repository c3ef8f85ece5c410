"""DataInf by dattri 0.3.0 on fixture one: `python -m tests.node.dattri_oracle` writes the recording that tests compare.

dattri computes the same closed form with one damping for all parameters. The published formula has one for each weight
tensor, so dattri runs once per tensor, with that tensor's, and the scores are summed. Model and gradients are its own:
transformers with peft, torch.func over the LoRA parameters. It is installed in an environment of its own.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import torch

from models.influence import DATAINF_DAMPING
from reference_node.adapters import Adapter, save_adapter
from reference_node.attribution.fixtures.answers import document_texts
from reference_node.attribution.fixtures.world import World, load_world
from reference_node.attribution.likelihood import Padded, Text, padded
from reference_node.attribution.retrain import Recipe
from reference_node.weights import save_model

RECORDING = Path(__file__).parent / "dattri_recording.json"
QUERIES = (0, 9, 16, 20, 27, 36)
"""One query of six groups."""


def dattri_scores(world: World) -> np.ndarray:
    """Return the scores of all documents for `QUERIES`, positive where a document helps."""
    from dattri.algorithm.influence_function import IFAttributorDataInf
    from dattri.task import AttributionTask
    from torch.utils.data import DataLoader, TensorDataset

    model = peft_model(world)

    def loss(parameters, data):
        tokens, counted = data  # of one text, (1, T) and (1, T - 1)
        logits = torch.func.functional_call(model, parameters, (tokens,)).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="none")
        return (losses * counted[0]).sum()

    def rows(batch: Padded) -> DataLoader:
        return DataLoader(TensorDataset(batch.tokens, batch.counted.float()), batch_size=16)

    texts = document_texts(world.fixture)
    whole = padded([*texts, *(world.queries[i] for i in QUERIES)])
    train = rows(whole.take(torch.arange(len(texts))))
    asked = rows(whole.take(torch.arange(len(texts), len(texts) + len(QUERIES))))
    found = np.zeros((len(QUERIES), len(texts)))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for one in trained:
        for parameter in trained:  # dattri takes what requires a gradient
            parameter.requires_grad_(parameter is one)
        gradients = tensor_gradients(model, one, texts)
        damping = DATAINF_DAMPING * float((gradients**2).sum(1).mean()) / gradients.shape[1]
        task = AttributionTask(loss_func=loss, model=model, checkpoints=model.state_dict())
        attributor = IFAttributorDataInf(task, regularization=damping)
        with torch.no_grad():
            attributor.cache(train)
            found += attributor.attribute(train, asked).T.double().numpy()
    return found


def peft_model(world: World):
    """Return the adapter that answered on the fixture's base, as peft runs it."""
    import peft
    import transformers

    recipe, lora = Recipe(), world.states[max(world.states)][1]
    with tempfile.TemporaryDirectory() as scratch:
        save_model(world.model, Path(scratch) / "base")
        sides = [{place: t[0] for place, t in store.items()} for store in (lora.a, lora.b)]
        save_adapter(
            Adapter("", recipe.rank, recipe.alpha, recipe.targets, *sides), Path(scratch) / "adapter"
        )
        base = transformers.AutoModelForCausalLM.from_pretrained(
            Path(scratch) / "base", attn_implementation="eager"
        )
        wrapped = peft.PeftModel.from_pretrained(base, Path(scratch) / "adapter", is_trainable=True)
    return wrapped.eval()


def tensor_gradients(model, parameter: torch.nn.Parameter, texts: list[Text]) -> torch.Tensor:
    """Return each document's gradient of one tensor, by plain autograd."""
    rows = []
    for text in texts:
        tokens = torch.tensor(text.tokens)[None]
        logits = model(tokens).logits[0, :-1]
        value = torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="sum")
        rows.append(torch.autograd.grad(value, parameter)[0].flatten())
    return torch.stack(rows)


def main() -> None:
    """Write the recording."""
    from importlib.metadata import version

    world = load_world("f1")
    scores = dattri_scores(world)
    document = {
        "made_by": {name: version(name) for name in ("dattri", "torch", "transformers", "peft")},
        "base_sha256": world.truth.facts["base_sha256"],
        "queries": QUERIES,
        "scores": [[float(f"{score:.7g}") for score in row] for row in scores],
    }
    RECORDING.write_text(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
