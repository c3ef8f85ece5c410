"""The tokenizer: round trips, streams that never show half a character, chat forms equal to transformers'."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytestmark = [pytest.mark.node, pytest.mark.filterwarnings("ignore::FutureWarning")]
pytest.importorskip("tokenizers", reason="needs the node extra (tokenizers)")
pytest.importorskip("torch", reason="needs the node extra (torch)")

from models.errors import InputError  # noqa: E402
from reference_node import tiny_base  # noqa: E402
from reference_node.tokenizer import SPECIAL_TOKENS, TextCodec, bundled_file  # noqa: E402
from reference_node.tokenizer.pieces import Detokenizer, Pieces, byte_alphabet  # noqa: E402

CODEC = TextCodec.bundled()
BYTE_TOKEN = {byte: CODEC._pieces.table.index(bytes([byte])) for byte in range(256)}
QUESTION = [{"role": "user", "content": "What is a bee?"}]
TALK = [
    {"role": "system", "content": "Be short."},
    *QUESTION,
    {"role": "assistant", "content": "An insect.\nIt flies."},
    {"role": "user", "content": "  And an é 蜂? "},
]
TEXTS = st.text(max_size=60)


def test_the_committed_tokenizer_is_the_one_of_the_base() -> None:
    assert CODEC.vocab_size == 2048
    assert [CODEC.encode(text) for text in ("", "a")] == [[], [69]]
    assert CODEC.eos_ids == (4,)
    assert (tiny_base.folder() / "tokenizer.json").read_bytes() == bundled_file().read_bytes()
    assert TextCodec.from_folder(tiny_base.folder()).sha256 == CODEC.sha256


def test_making_the_tokenizer_again_gives_the_same_bytes(tmp_path: Path) -> None:
    from reference_node.tokenizer.make import make

    make(tmp_path / "tokenizer.json")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / name).read_bytes() == bundled_file().with_name(name).read_bytes()


@given(TEXTS)
def test_any_text_round_trips(text: str) -> None:
    assert CODEC.decode(CODEC.encode(text)) == text
    assert CODEC.prompt(text) == [0, *CODEC.encode(text)]


@given(st.binary(max_size=24))
def test_any_bytes_stream_as_python_decodes_them(data: bytes) -> None:
    tokens = [BYTE_TOKEN[byte] for byte in data]
    stream = CODEC.stream()
    pieces = [stream.push(token) for token in tokens]
    assert "".join(pieces) + stream.flush() == data.decode("utf-8", errors="replace")
    assert CODEC.decode(tokens) == data.decode("utf-8", errors="replace")


@given(TEXTS)
def test_a_stream_gives_no_replacement_for_half_a_character(text: str) -> None:
    stream = CODEC.stream()
    pieces = [stream.push(BYTE_TOKEN[byte]) for byte in text.encode()]
    assert "".join(pieces) == text
    assert stream.flush() == ""
    done = ""
    for piece in pieces:
        done += piece
        assert text.startswith(done)


def test_an_incomplete_character_becomes_a_replacement_at_flush_alone() -> None:
    stream = CODEC.stream()
    euro = [BYTE_TOKEN[byte] for byte in "€".encode()]
    assert [stream.push(token) for token in euro[:2]] == ["", ""]
    assert stream.flush() == "\ufffd"
    assert [stream.push(token) for token in euro] == ["", "", "€"]


@given(st.lists(st.integers(0, 2047), max_size=20))
def test_decode_equals_the_library(tokens: list[int]) -> None:
    assert CODEC.decode(tokens) == CODEC._markup.decode(tokens, skip_special_tokens=True)


def test_ids_outside_the_vocabulary_have_no_text() -> None:
    assert CODEC.decode([5000, -1, *CODEC.encode("ok")]) == "ok"


@given(TEXTS, st.sampled_from(SPECIAL_TOKENS), TEXTS)
def test_content_never_becomes_a_special_token(before: str, special: str, after: str) -> None:
    content = before + special + after
    tokens = CODEC.chat([{"role": "user", "content": content}])
    assert [token for token in tokens if token < 5] == [0, 2, 4, 3]
    assert CODEC.decode(tokens) == content
    assert min(CODEC.encode(content)) >= 5
    assert CODEC.prompt(content)[1:] == CODEC.encode(content)


def test_chat_equals_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="needs the node extra (transformers)")
    theirs = transformers.AutoTokenizer.from_pretrained(tiny_base.folder())
    for messages in (QUESTION, TALK, TALK[:3]):
        for ask in (True, False):
            expected = theirs.apply_chat_template(
                messages, add_generation_prompt=ask, tokenize=True, return_dict=False
            )
            assert CODEC.chat(messages, generation_prompt=ask) == expected
    assert theirs("hello there")["input_ids"] == CODEC.prompt("hello there")
    assert theirs.decode(CODEC.chat(TALK), skip_special_tokens=True) == CODEC.decode(CODEC.chat(TALK))


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(InputError, match="role tool is unknown; allowed system, user, assistant"):
        CODEC.chat([{"role": "tool", "content": "x"}])


EOS = {"__type": "AddedToken", "content": "</s>", "lstrip": False, "normalized": False, "rstrip": False}
EOS |= {"single_word": False, "special": True}
TEMPLATE = (
    "{% for m in messages %}\n  {%- if m.role == 'user' %}[INST] {{ m.content | trim }} [/INST]\n"
    "  {%- else %} {{ m.content }}{{ eos_token }}{% endif %}\n{%- endfor %}"
)


def foreign(
    folder: Path, *, jinja_file: bool = False, template: object = TEMPLATE, **settings: object
) -> Path:
    """Write a SentencePiece-like folder with byte fallback, as Llama 2 and Mistral ship."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors

    letters = ["▁", *"abcdehilnorst!.[]/INST", "▁h", "he", "▁hello", "ll"]
    names = dict.fromkeys(["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *letters])
    vocabulary = {token: index for index, token in enumerate(names)}
    model = models.BPE(
        vocab=vocabulary, merges=[("▁", "h"), ("l", "l")], unk_token="<unk>", byte_fallback=True
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    if jinja_file:
        (folder / "chat_template.jinja").write_text(TEMPLATE)
    else:
        settings["chat_template"] = template
    common = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": EOS}
    (folder / "tokenizer_config.json").write_text(json.dumps(common | settings))
    return folder


@pytest.mark.parametrize("jinja_file", [True, False])
def test_a_foreign_folder_equals_transformers(tmp_path: Path, jinja_file: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the node extra (transformers)")
    folder = foreign(tmp_path / "other", jinja_file=jinja_file)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 9]}))
    ours, theirs = TextCodec.from_folder(folder), transformers.AutoTokenizer.from_pretrained(folder)
    assert ours.eos_ids == (2, 9)
    talk = [*QUESTION, {"role": "assistant", "content": "It is a bee."}]
    assert ours.chat(talk) == theirs.apply_chat_template(talk, add_generation_prompt=True, return_dict=False)
    assert ours.prompt("hello é") == theirs("hello é")["input_ids"]
    for text in ("hello there", "é 蜂 ok", " two  spaces"):
        assert ours.decode(ours.prompt(text)) == theirs.decode(ours.prompt(text), skip_special_tokens=True)
    stream = ours.stream()
    assert "".join(stream.push(token) for token in ours.encode("hello 蜂")) == "hello 蜂"


def test_a_control_token_in_content_is_quoted_for_foreign_templates(tmp_path: Path) -> None:
    codec = TextCodec.from_folder(foreign(tmp_path / "other"))
    talk = [{"role": "user", "content": "a </s> b"}, {"role": "assistant", "content": "ok"}]
    assert codec.chat(talk).count(2) == 1


BAD_FOLDERS = {
    "no tokenizer": ({}, "cannot read the tokenizer (only tokenizer.json is accepted): No such file"),
    "broken tokenizer": ({"tokenizer.json": "{"}, "tokenizer.json: not a readable tokenizer: "),
    "broken settings": ({"tokenizer_config.json": "{"}, "tokenizer_config.json: not valid JSON: "),
    "settings no mapping": ({"tokenizer_config.json": "[]"}, "tokenizer_config.json: not a JSON mapping"),
    "broken template": (
        {"chat_template.jinja": "{% if %}"},
        "chat_template.jinja:1: the chat template is not valid",
    ),
}


@pytest.mark.parametrize("name", BAD_FOLDERS)
def test_bad_folders_are_refused(name: str, tmp_path: Path) -> None:
    files, message = BAD_FOLDERS[name]
    if files and "tokenizer.json" not in files:
        foreign(tmp_path)
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(InputError) as caught:
        TextCodec.from_folder(tmp_path)
    assert message in str(caught.value)


def test_an_unserved_decoder_is_refused(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, decoders, models

    tokenizer = Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1}))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(
        InputError, match="decoder WordPiece is not supported; allowed ByteLevel, ByteFallback"
    ):
        TextCodec.from_folder(tmp_path)


def test_a_folder_without_a_template_encodes_but_does_not_chat(tmp_path: Path) -> None:
    codec = TextCodec.from_folder(foreign(tmp_path, template=None))
    assert not codec.has_chat
    assert codec.encode("hello")
    with pytest.raises(InputError, match="has no chat template"):
        codec.chat(QUESTION)


def test_named_templates_use_the_default_one(tmp_path: Path) -> None:
    named = [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "{{ bos_token }}hello"}]
    assert TextCodec.from_folder(foreign(tmp_path, template=named)).chat(QUESTION)[0] == 1


def test_the_byte_alphabet_is_the_library_s() -> None:
    from tokenizers import pre_tokenizers

    assert set(byte_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert sorted(byte_alphabet().values()) == list(range(256))


def test_a_leading_space_of_sentencepiece_is_dropped_once() -> None:
    stream = Detokenizer(Pieces((b" a", b" b"), strips_space=True))
    assert [stream.push(token) for token in (0, 1, 1)] == ["a", " b", " b"]
