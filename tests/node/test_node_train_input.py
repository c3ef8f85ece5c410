"""What training refuses: datasets, options and folders, each with its exact message, all at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]
pytest.importorskip("torch", reason="needs the node extra (torch)")
pytest.importorskip("tokenizers", reason="needs the node extra (tokenizers)")

from models.errors import InputError  # noqa: E402
from reference_node import tiny_base  # noqa: E402
from reference_node.manifest import AdapterManifest, parse_manifest  # noqa: E402
from reference_node.restriction import Restriction  # noqa: E402
from reference_node.tokenizer import TextCodec  # noqa: E402
from reference_node.train.dataset import Example, read_dataset, sequence_rows  # noqa: E402
from reference_node.train.restricted import with_restrictions  # noqa: E402
from reference_node.train.run import Order, train_adapter  # noqa: E402
from reference_node.train.settings import Settings  # noqa: E402
from reference_node.train.shares import datanet_shares, illustrative_address  # noqa: E402

GOOD = {"id": "a", "datanet": "law", "contributor": "c1", "prompt": "p", "completion": "c"}
NAME_RULE = "must be 1 to 64 letters, digits, '.', '_', ':' or '-', a letter or digit first"


def line(**changes: object) -> str:
    return json.dumps({key: value for key, value in (GOOD | changes).items() if value is not None})


BROKEN = {
    "empty file": ("", [" the file holds no rows; every line holds one"]),
    "empty lines": ("\n \n", [" the file holds no rows; every line holds one"]),
    "blank line": (f"{line()}\n\n{line(id='b')}\n", ["2: blank line; every line holds one row"]),
    "not JSON": (
        "{\n",
        ["1: not valid JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"],
    ),
    "not a mapping": ("[1]\n", ["1: a row is a mapping with id, datanet, contributor, prompt, completion"]),
    "two keys": ('{"id": "a", "id": "b"}\n', ["1: not valid JSON: key 'id' appears twice"]),
    "missing fields": (line(prompt=None, id=None), ["1: id: is missing", "1: prompt: is missing"]),
    "unknown field": (
        line(owner="me"),
        ["1: owner: unknown field; allowed id, datanet, contributor, prompt, completion"],
    ),
    "number": (line(prompt=3), ["1: prompt: 3 is not text"]),
    "null": (line().replace('"p"', "null"), ["1: prompt: None is not text"]),
    "empty answer": (line(completion=" \n"), ["1: completion: is empty"]),
    "bad name": (line(contributor="c 1"), [f"1: contributor: 'c 1' {NAME_RULE}"]),
    "empty name": (line(datanet=""), [f"1: datanet: '' {NAME_RULE}"]),
    "same id": (f"{line()}\n{line()}\n", ["2: id: 'a' is used on line 1 already"]),
    "several": (
        f"{line(id='?')}\n{line()}\nx\n{line(prompt=[])}\n",
        [
            f"1: id: '?' {NAME_RULE}",
            "3: not valid JSON: Expecting value: line 1 column 1 (char 0)",
            "4: prompt: [] is not text",
        ],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_datasets_are_refused_with_every_line(name: str, tmp_path: Path) -> None:
    text, messages = BROKEN[name]
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_dataset(path)
    assert str(caught.value).splitlines() == [f"{path}:{message}" for message in messages]


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(line().encode() + b"\n\xff\n")
    with pytest.raises(
        InputError, match=r"rows.jsonl:2: not valid JSON: 'utf-8' codec can't decode byte 0xff"
    ):
        read_dataset(path)


def test_many_mistakes_are_cut_at_fifty(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("x\n" * 60)
    with pytest.raises(InputError) as caught:
        read_dataset(path)
    assert len(caught.value.problems) == 51
    assert str(caught.value.problems[-1]) == "and 10 more"


def test_a_missing_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.jsonl: cannot read the dataset: No such file or directory"):
        read_dataset(tmp_path / "none.jsonl")


def test_rows_longer_than_the_base_reads_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{line()}\n{line(id='b', completion='so ' * 30)}\n")
    with pytest.raises(InputError) as caught:
        sequence_rows(read_dataset(path), TextCodec.bundled(), 20)
    assert str(caught.value) == f"{path}:2: 38 tokens with the chat form; allowed 20"


BAD_SETTINGS = {
    "all at once": (
        {"rank": 0, "epochs": 0, "batch": 0, "seed": -1, "checkpoints": -1, "learning_rate": 0.0},
        [
            "rank: 0 is out of range; allowed 1 to 256",
            "epochs: 0 is out of range; allowed 1 to 10000",
            "batch: 0 is out of range; allowed 1 to 4096",
            "checkpoints: -1 is out of range; allowed 0 to 1000",
            "seed: -1 is out of range; allowed 0 to 2147483647",
            "lr: 0.0 is out of range; allowed above 0 to 1",
        ],
    ),
    "alpha": ({"rank": 2, "alpha": 1e308}, ["alpha: 1e+308 is out of range; allowed above 0 to 64 x rank"]),
    "nan": ({"alpha": float("nan")}, ["alpha: nan is out of range; allowed above 0 to 64 x rank"]),
    "targets": (
        {"targets": ("q_proj", "lm_head")},
        [
            "targets: 'q_proj,lm_head': allowed each at most once of q_proj, k_proj, v_proj, o_proj, gate_proj, "
            "up_proj, down_proj"
        ],
    ),
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_are_refused_together(name: str) -> None:
    options, messages = BAD_SETTINGS[name]
    with pytest.raises(InputError) as caught:
        Settings(**options)
    assert str(caught.value).splitlines() == messages


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alias": "Law!"}, "alias: 'Law!' is no alias"),
        ({"alias": "base"}, "alias: 'base' is the base model; choose another alias"),
        ({"owner": "0x12"}, "owner: '0x12'; must be an address: 0x and 40 hexadecimal digits"),
        (
            {"owner": "0x" + "0" * 40},
            "owner: '0x0000000000000000000000000000000000000000'; is the zero address",
        ),
        ({"base": Path("nowhere")}, "nowhere"),
        ({"device": "tpu"}, "device: 'tpu' is not at hand; this machine has cpu"),
    ],
)
def test_bad_orders_are_refused_before_training(changes: dict, message: str, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs the node extra (peft)")
    (tmp_path / "rows.jsonl").write_text(line())
    order = {
        "dataset": tmp_path / "rows.jsonl",
        "alias": "law",
        "out": tmp_path / "out",
        "base": tiny_base.folder(),
        "settings": Settings(),
    }
    with pytest.raises(InputError) as caught:
        train_adapter(Order(**(order | changes)), quiet=True)
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


ROWS = st.lists(
    st.tuples(st.sampled_from(["law", "tax", "art"]), st.sampled_from(["c1", "c2", "c3", "c4"])),
    min_size=1,
    max_size=60,
)


@given(ROWS)
def test_shares_sum_to_the_whole_and_do_not_depend_on_order(pairs: list[tuple[str, str]]) -> None:
    rows = [Example(str(i), net, who, "p", "c", i) for i, (net, who) in enumerate(pairs)]
    shares = datanet_shares(rows)
    assert sum(net.share_bps for net in shares) == 10_000
    assert all(sum(c.share_bps for c in net.contributors) == 10_000 for net in shares)
    assert datanet_shares(rows[::-1]) == shares
    for net in shares:
        exact = 10_000 * sum(row.datanet == net.id for row in rows) / len(rows)
        assert abs(net.share_bps - exact) < 1
    manifest = AdapterManifest(illustrative_address("owner", "x"), shares)
    assert parse_manifest(manifest.to_json()) == manifest


def test_the_command_prints_its_result_alone(tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs the node extra (peft)")
    import typer
    from typer.testing import CliRunner

    from reference_node.commands.train import train

    app = typer.Typer()
    app.command()(train)
    (tmp_path / "rows.jsonl").write_text("".join(line(id=f"r{i}") + "\n" for i in range(3)))
    arguments = [
        str(tmp_path / "rows.jsonl"),
        "--alias",
        "law",
        "--out",
        str(tmp_path / "out"),
        "--json",
        "--quiet",
    ]
    options = ["--rank", "2", "--targets", "q_proj, v_proj", "--epochs", "1", "--checkpoints", "0"]
    result = CliRunner().invoke(app, arguments + options, catch_exceptions=False)
    facts = json.loads(result.stdout)
    assert facts["alias"] == "law"
    assert facts["steps"] == 1
    assert len(facts["sha256"]) == 64
    assert not (tmp_path / "out/training/checkpoints").exists()
    config = json.loads((tmp_path / "out/adapter_config.json").read_text())
    assert (config["lora_alpha"], config["target_modules"]) == (4.0, ["q_proj", "v_proj"])


STATED = {"kind": "medical", "licence": "CC-BY-4.0", "consent": "ethics board, protocol 7", "salt": "5a" * 16}


def test_restricted_datanets_are_stated_in_the_manifest(tmp_path: Path) -> None:
    path = tmp_path / "restricted.json"
    path.write_text(json.dumps({"wards": STATED}))
    rows = [Example(str(i), name, "c1", "p", "c", i) for i, name in enumerate(("wards", "towns"))]
    found = {net.id: net.restricted for net in with_restrictions(datanet_shares(rows), path)}
    assert found == {"towns": None, "wards": Restriction(**STATED)}


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"kind": "medical", "salt": "5a" * 16}, "DataNet 'wards' is restricted and states no consent"),
        (STATED | {"kind": "secret"}, "wards.kind: 'secret'; allowed medical, legal, personal"),
        (STATED | {"salt": "5a"}, "wards.salt: '.'; must be 32 to 64 lower-case hexadecimal digits"),
        (STATED | {"owner": "me"}, "wards.owner: 'me'; unknown key"),
    ],
)
def test_restrictions_that_say_too_little_are_refused(stated: dict, message: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(line(datanet="wards") + "\n")
    path = tmp_path / "restricted.json"
    path.write_text(json.dumps({"wards": stated}))
    order = Order(
        tmp_path / "rows.jsonl", "a", tmp_path / "out", tiny_base.folder(), Settings(), restricted=path
    )
    with pytest.raises(InputError, match=message):
        train_adapter(order, quiet=True)
    path.write_text(json.dumps({"towns": STATED}))
    with pytest.raises(InputError, match=r"towns: .*unknown key; allowed wards"):
        train_adapter(order, quiet=True)
    path.unlink()
    with pytest.raises(InputError, match="cannot read the restrictions"):
        train_adapter(order, quiet=True)
    assert not (tmp_path / "out").exists()
