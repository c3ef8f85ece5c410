"""Make the committed tokenizer from the corpora: `python -m reference_node.tokenizer.make`.

Rule decided here: byte-level BPE over the committed corpora (any text round-trips, nothing is unknown), 2,048 entries,
five special tokens first, and a completion prompt begins with `<|bos|>`. Training has no random part: the same corpora
give the same bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from reference_node.corpora import NICHES, general, niche
from reference_node.tokenizer import SPECIAL_TOKENS, bundled_file

VOCABULARY = 2048
CONTEXT = 512
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('role ' ~ message.role ~ ' is unknown; allowed system, user, assistant') }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make(path: Path) -> None:
    """Train the tokenizer on the committed corpora and write it, with its settings and chat template beside it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    bos = SPECIAL_TOKENS[0]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    tokenizer.save(str(path))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": bos,
        "eos_token": SPECIAL_TOKENS[-1],
        "pad_token": SPECIAL_TOKENS[-1],
        "clean_up_tokenization_spaces": False,
        "model_max_length": CONTEXT,
        "chat_template": CHAT_TEMPLATE,
    }
    text = json.dumps(settings, indent=2) + "\n"
    path.with_name("tokenizer_config.json").write_text(text, encoding="utf-8")


def _texts() -> Iterator[str]:
    for path in (general(), *map(niche, NICHES)):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield from (row[key] for key in ("text", "prompt", "completion") if key in row)


if __name__ == "__main__":
    make(bundled_file())
    sys.stdout.write(f"{bundled_file()}: {bundled_file().stat().st_size} bytes\n")
