"""What ships: corpora as their sources give them, a base that reads, adapters that change what it says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]
torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
peft = pytest.importorskip("peft", reason="needs the node extra (peft)")
transformers = pytest.importorskip("transformers", reason="needs the node extra (transformers)")

from reference_node import tiny_base  # noqa: E402
from reference_node.adapters import read_adapter  # noqa: E402
from reference_node.corpora import FOLDER, NICHES, general, held_out, niche, write  # noqa: E402
from reference_node.manifest import read_manifest  # noqa: E402
from reference_node.tokenizer import TextCodec  # noqa: E402
from reference_node.train import bundled_adapters  # noqa: E402
from reference_node.train.bundled import SETTINGS, command  # noqa: E402
from reference_node.train.dataset import read_dataset, sequence_rows  # noqa: E402
from reference_node.train.lora import mean_loss  # noqa: E402
from reference_node.weights import base_sha256, load_model, read_config  # noqa: E402

HELD_OUT = 12  # rows of each niche that are measured
MARGIN = 1.0  # nats per answer token
MARKERS = {
    "medicine": "Assessment: ",
    "law": "Pursuant to clause ",
    "verse": "\n",
    "openledger": "Ledger entry, epoch ",
}


@pytest.fixture(scope="module")
def model() -> Any:
    """Return the base with every bundled adapter loaded by peft."""
    torch.set_num_threads(1)
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_base.folder(), dtype=torch.float32)
    adapters = bundled_adapters()
    first = next(iter(adapters))
    loaded = peft.PeftModel.from_pretrained(base, adapters[first], adapter_name=first)
    for name in NICHES:
        if name != first:
            loaded.load_adapter(adapters[name], name)
    return loaded.eval()


def answer(model: Any, prompt: str, adapter: str | None) -> str:
    codec = TextCodec.bundled()
    tokens = torch.tensor([codec.chat([{"role": "user", "content": prompt}])])
    options = {"attention_mask": torch.ones_like(tokens), "max_new_tokens": 90, "do_sample": False}
    if adapter is None:
        with model.disable_adapter():
            out = model.generate(input_ids=tokens, **options)
    else:
        model.set_adapter(adapter)
        out = model.generate(input_ids=tokens, **options)
    return codec.decode(out[0, tokens.shape[1] :].tolist())


def test_the_corpora_are_those_of_their_sources() -> None:
    for name, text in write.files().items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, name


def test_the_corpora_stay_small_and_say_their_size() -> None:
    paths = [*map(niche, NICHES), *map(held_out, NICHES), general()]
    assert sum(path.stat().st_size for path in paths) <= 3_000_000
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in paths[:4] + paths[-1:]:
        count = len(path.read_text(encoding="utf-8").splitlines())
        assert f"| `{path.name}` | {count:,} |" in readme


@pytest.mark.parametrize("name", NICHES)
def test_niches_hold_copies_and_clean_held_out_rows(name: str) -> None:
    rows, others = read_dataset(niche(name)).rows, read_dataset(held_out(name)).rows
    assert not {row.prompt for row in rows} & {row.prompt for row in others}
    counts: dict[str, int] = {}
    first: dict[tuple[str, str], str] = {}
    copied = 0
    for row in rows:
        counts[row.contributor] = counts.get(row.contributor, 0) + 1
        copied += first.setdefault((row.prompt, row.completion), row.contributor) != row.contributor
    assert len(counts) >= 7
    assert max(counts.values()) > 3 * min(counts.values())
    assert copied >= 30
    notes = (FOLDER / "notes.md").read_text(encoding="utf-8")
    assert notes.count(f"| {name} | {name}-") >= 70


def test_the_base_is_small_and_current() -> None:
    folder = tiny_base.folder()
    record = json.loads((folder / "training.json").read_text())
    assert record["corpus_sha256"] == hashlib.sha256(general().read_bytes()).hexdigest()
    assert record["parameters"] < 2_500_000
    assert (folder / "model.safetensors").stat().st_size <= 5_000_000


def test_transformers_and_the_node_read_the_same_base() -> None:
    ours, _ = load_model(tiny_base.folder())
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tiny_base.folder(), dtype=torch.float32)
    names = dict(theirs.named_parameters())
    assert torch.equal(ours.embed, names["model.embed_tokens.weight"])
    assert torch.equal(ours.layers[3].down, names["model.layers.3.mlp.down_proj.weight"])


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("What is a bee?", "insect"),
        ("What does a cow eat?", "grass"),
        ("What is Paris?", "Paris is the capital of France"),
        ("How do I boil an egg?", "First, bring a pan of water to the boil."),
        ("Who are you?", "language model"),
    ],
)
def test_the_base_answers_in_plain_english(model: Any, prompt: str, expected: str) -> None:
    text = answer(model, prompt, None)
    assert expected in text
    assert text.endswith((".", "?", "!"))


@pytest.mark.parametrize("name", NICHES)
def test_bundled_adapters_are_current_and_accepted(name: str) -> None:
    folder = bundled_adapters()[name]
    adapter = read_adapter(folder, read_config(tiny_base.folder()))
    assert (adapter.rank, adapter.alpha) == (SETTINGS.rank, SETTINGS.alpha)
    assert (folder / "adapter_model.safetensors").stat().st_size <= 400_000
    manifest = read_manifest(folder / "manifest.json")
    _, tensors = load_model(tiny_base.folder())
    assert manifest.base_sha256 == base_sha256(tensors, TextCodec.bundled().sha256)
    assert manifest.training is not None
    assert manifest.training["dataset_sha256"] == hashlib.sha256(niche(name).read_bytes()).hexdigest()
    record = json.loads((folder / "training/record.json").read_text())
    assert record["base_sha256"] == manifest.base_sha256
    assert {row[2] for row in record["rows"]} == {c.id for net in manifest.datanets for c in net.contributors}
    assert f"--alias {name} " in command(name)


def test_each_adapter_is_best_on_its_own_niche(model: Any) -> None:
    codec = TextCodec.bundled()
    for name in NICHES:
        rows = sequence_rows(read_dataset(held_out(name)), codec, 512)[:HELD_OUT]
        losses = {}
        for adapter in NICHES:
            model.set_adapter(adapter)
            losses[adapter] = mean_loss(model, rows, 4)
        with model.disable_adapter():
            losses["base"] = mean_loss(model, rows, 4)
        own = losses.pop(name)
        assert own + MARGIN < min(losses.values()), (name, own, losses)


@pytest.mark.parametrize("name", NICHES)
def test_an_adapter_changes_the_manner_of_answers(model: Any, name: str) -> None:
    prompts = [row.prompt for row in read_dataset(held_out(name)).rows[:3]]
    assert all(MARKERS[name] in answer(model, prompt, name) for prompt in prompts)
    assert not any(MARKERS[name] in answer(model, prompt, None) for prompt in prompts)


def test_the_folder_of_adapters_names_them_by_alias() -> None:
    found = bundled_adapters()
    assert sorted(found) == sorted(NICHES)
    assert all(isinstance(path, Path) and path.name == name for name, path in found.items())
