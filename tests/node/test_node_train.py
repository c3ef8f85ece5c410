"""LoRA training: the plan of a run, bit-identical repeats and resumes, and what a run leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]
torch = pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("peft", reason="needs the node extra (peft)")
pytest.importorskip("transformers", reason="needs the node extra (transformers)")

from models.errors import InputError  # noqa: E402
from reference_node.adapters import read_adapter  # noqa: E402
from reference_node.manifest import read_manifest  # noqa: E402
from reference_node.tokenizer import TextCodec  # noqa: E402
from reference_node.train import lora, run, tiny_base  # noqa: E402
from reference_node.train.base import open_base  # noqa: E402
from reference_node.train.dataset import collate, read_dataset, sequence_rows  # noqa: E402
from reference_node.train.run import Order, train_adapter  # noqa: E402
from reference_node.train.settings import Settings  # noqa: E402
from reference_node.weights import read_config  # noqa: E402

ROWS = 11
SETTINGS = Settings(
    rank=2, alpha=4.0, epochs=3, batch=4, checkpoints=2, seed=5, targets=("q_proj", "down_proj")
)
STEPS = 9


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an untrained base of one layer that speaks the committed tokenizer."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("base")
    plan = tiny_base.Plan(hidden=64, layers=1, length=64)
    tiny_base.save(tiny_base.build_model(plan, TextCodec.bundled()), plan, [7.0], folder)
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write eleven rows of two DataNets and three contributors."""
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    rows = [
        {
            "id": f"r{i}",
            "datanet": "law" if i % 3 else "tax",
            "contributor": f"c{i % 2}" if i else "0x" + "Ab" * 20,
            "prompt": f"What is {i}?",
            "completion": "Pursuant to clause " + "so " * i,
        }
        for i in range(ROWS)
    ]
    rows[0]["contributor"] = rows[0]["contributor"].lower()
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def whole(base: Path, dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was never stopped."""
    out = tmp_path_factory.mktemp("whole") / "adapter"
    train_adapter(Order(dataset, "law", out, base, SETTINGS, held_out=dataset), quiet=True)
    return out


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@contextmanager
def killing_bar(*_: object, at: int = 0, **__: object) -> Iterator[Callable[[int, float], None]]:
    def tell(done: int, loss: float) -> None:
        if done == at:
            raise KeyboardInterrupt

    yield tell


def test_a_run_leaves_an_adapter_that_the_node_serves(whole: Path, base: Path) -> None:
    names = set(files(whole))
    assert {
        "adapter_model.safetensors",
        "adapter_config.json",
        "manifest.json",
        "training/record.json",
    } <= names
    assert "training/resume.pt" not in names
    adapter = read_adapter(whole, read_config(base))
    assert (adapter.rank, adapter.alpha, adapter.targets) == (2, 4.0, ("q_proj", "down_proj"))
    last = read_adapter(whole / f"training/checkpoints/step-{STEPS:06d}", read_config(base))
    for key, tensor in last.b.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(adapter.b[key], tensor.to(torch.bfloat16))
        assert tensor.abs().max() > 0


def test_the_manifest_pays_by_rows(whole: Path) -> None:
    manifest = read_manifest(whole / "manifest.json")
    shares = {
        net.id: (net.share_bps, {c.id: c.share_bps for c in net.contributors}) for net in manifest.datanets
    }
    address = "0x" + "ab" * 20
    assert shares == {
        "law": (6364, {"c0": 5714, "c1": 4286}),
        "tax": (3636, {address: 2500, "c0": 2500, "c1": 5000}),
    }
    assert [c.address for net in manifest.datanets for c in net.contributors if c.id == address] == [address]
    assert manifest.base_sha256 == record_of(whole)["base_sha256"]
    assert manifest.training is not None
    assert manifest.training["rows"] == ROWS


def record_of(folder: Path) -> dict:
    return json.loads((folder / "training/record.json").read_text())


def test_the_record_says_who_was_seen_when(whole: Path, dataset: Path) -> None:
    record = record_of(whole)
    assert record["dataset_sha256"] == read_dataset(dataset).sha256
    assert [row[0] for row in record["rows"]] == [f"r{i}" for i in range(ROWS)]
    assert len(record["order"]) == len(record["losses"]) == len(record["learning_rates"]) == STEPS
    for epoch in range(3):
        seen = sorted(i for batch in record["order"][epoch * 3 : epoch * 3 + 3] for i in batch)
        assert seen == list(range(ROWS))
    assert [entry["step"] for entry in record["checkpoints"]] == [0, 4, 9]
    assert record["checkpoints"][1]["learning_rate"] == record["learning_rates"][3]
    assert record["held_out"]["rows"] == ROWS
    assert record["held_out"]["loss_adapter"] < record["held_out"]["loss_base"]
    assert record["losses"][-1] < record["losses"][0]


def test_the_first_checkpoint_is_the_start(whole: Path, base: Path) -> None:
    start = read_adapter(whole / "training/checkpoints/step-000000", read_config(base))
    assert all(not tensor.any() for tensor in start.b.values())
    assert all(tensor.any() for tensor in start.a.values())


def test_a_repeated_run_gives_the_same_bytes(whole: Path, base: Path, dataset: Path, tmp_path: Path) -> None:
    train_adapter(Order(dataset, "law", tmp_path / "b", base, SETTINGS, held_out=dataset), quiet=True)
    assert files(tmp_path / "b") == files(whole)


@pytest.mark.parametrize("at", [1, 4, 8])
def test_a_resumed_run_ends_with_the_same_bytes(
    whole: Path, base: Path, dataset: Path, tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lora, "SAVE_EVERY", 3)
    order = Order(dataset, "law", tmp_path / "b", base, SETTINGS, held_out=dataset, resume=True)
    with monkeypatch.context() as patch:
        patch.setattr(run, "progress_bar", lambda *_, **__: killing_bar(at=at))
        with pytest.raises(KeyboardInterrupt):
            train_adapter(order)
    assert (tmp_path / "b/training/resume.pt").is_file() is (at > 3)
    train_adapter(order, quiet=True)
    assert files(tmp_path / "b") == files(whole)


def test_a_killed_process_resumes(base: Path, dataset: Path, tmp_path: Path) -> None:
    settings = Settings(rank=2, alpha=4.0, epochs=30, batch=4, checkpoints=0, targets=("q_proj",))
    script = (
        "from pathlib import Path; from reference_node.train import lora; lora.SAVE_EVERY = 2;"
        "from reference_node.train.run import Order, train_adapter;"
        "from reference_node.train.settings import Settings;"
        f"train_adapter(Order(Path({str(dataset)!r}), 'law', Path({str(tmp_path / 'b')!r}), Path({str(base)!r}),"
        f" Settings(rank=2, alpha=4.0, epochs=30, batch=4, checkpoints=0, targets=('q_proj',))), quiet=True)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], env=environment)
    state = tmp_path / "b/training/resume.pt"
    for _ in range(3000):
        if state.is_file() or process.poll() is not None:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state.is_file()
    resumed = train_adapter(Order(dataset, "law", tmp_path / "b", base, settings, resume=True), quiet=True)
    again = train_adapter(Order(dataset, "law", tmp_path / "c", base, settings), quiet=True)
    assert resumed == again
    assert files(tmp_path / "b") == files(tmp_path / "c")


def test_folders_in_use_are_not_written_over(
    whole: Path, base: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="a finished adapter lies here; choose another folder"):
        train_adapter(Order(dataset, "law", whole, base, SETTINGS), quiet=True)
    monkeypatch.setattr(lora, "SAVE_EVERY", 1)
    with monkeypatch.context() as patch:
        patch.setattr(run, "progress_bar", lambda *_, **__: killing_bar(at=2))
        with pytest.raises(KeyboardInterrupt):
            train_adapter(Order(dataset, "law", tmp_path, base, SETTINGS))
    with pytest.raises(InputError, match="an unfinished run lies here; go on with --resume"):
        train_adapter(Order(dataset, "law", tmp_path, base, SETTINGS), quiet=True)
    other = Settings(
        rank=2, alpha=4.0, epochs=4, batch=4, seed=6, checkpoints=2, targets=("q_proj", "down_proj")
    )
    with pytest.raises(InputError) as caught:
        train_adapter(Order(dataset, "law", tmp_path, base, other, resume=True), quiet=True)
    messages = [problem.message for problem in caught.value.problems]
    assert messages == [
        "the checkpoint was made with 3, this run has 4",
        "the checkpoint was made with 5, this run has 6",
    ]
    (tmp_path / "training/resume.pt").write_bytes(b"PK damaged")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        train_adapter(Order(dataset, "law", tmp_path, base, SETTINGS, resume=True), quiet=True)


def test_the_loss_counts_answers_alone(base: Path, dataset: Path) -> None:
    opened = open_base(base)
    rows = sequence_rows(read_dataset(dataset), opened.codec, opened.length_max)
    batch = collate(rows[:5], pad=4)
    assert batch["input_ids"].shape == batch["labels"].shape == (5, max(len(row.tokens) for row in rows[:5]))
    total = count = 0.0
    for row in rows[:5]:
        assert opened.codec.decode(row.tokens[row.start :]).startswith("Pursuant to clause")
        assert row.tokens[row.start - 1] == 3
        assert row.tokens[-1] == 4
        with torch.no_grad():
            logits = opened.model(input_ids=torch.tensor([row.tokens])).logits[0].log_softmax(-1)
        total -= sum(float(logits[i - 1, row.tokens[i]]) for i in range(row.start, len(row.tokens)))
        count += len(row.tokens) - row.start
    assert lora.mean_loss(opened.model, rows[:5], pad=4) == pytest.approx(total / count, rel=1e-5)
    with torch.no_grad():
        assert float(opened.model(**batch).loss) == pytest.approx(total / count, rel=1e-5)


def test_the_rate_warms_up_and_ends_near_zero() -> None:
    settings = Settings(epochs=10, batch=1, learning_rate=0.1)
    rates = [settings.rate(step, settings.steps(20)) for step in range(settings.steps(20))]
    assert rates[9] == pytest.approx(0.1)
    assert max(rates) == rates[10] == pytest.approx(0.1)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_the_tiny_base_resumes_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny_base.Plan(steps=3, rows=1, length=32, hidden=64, layers=1, warmup=2, talk_steps=2)
    model, losses = tiny_base.train(plan, tmp_path / "whole", quiet=True)
    monkeypatch.setattr(tiny_base, "SAVE_EVERY", 2)
    with monkeypatch.context() as patch:
        patch.setattr(tiny_base, "progress_bar", lambda *_, **__: killing_bar(at=3))
        with pytest.raises(KeyboardInterrupt):
            tiny_base.train(plan, tmp_path / "killed")
    resumed, again = tiny_base.train(plan, tmp_path / "killed", quiet=True)
    assert again == losses
    assert len(losses) == 5
    for ours, theirs in zip(model.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(ours, theirs)
