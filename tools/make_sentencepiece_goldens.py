#!/usr/bin/env python3
"""Writes tests/text/sentencepiece: a small tokenizer.model trained on generated words with Llama's settings, and what
SentencePiece gives for texts; and tests/text/corpus/sentencepiece: parts of these models, from which fuzzing begins.
Needs sentencepiece.

  make_sentencepiece_goldens.py tests/text/sentencepiece
"""
import io
import json
import pathlib
import random
import sys

import sentencepiece as spm

TEXTS = ["", " ", "a", " a", "a ", "  two  spaces ", "The quick brown fox.", "tab\tand\nline\r\n", "1234567890 12,345.67",
         "naïve café Ünïcödé", "日本語と中文 한국어", "עברית العربية ไทย", "😀🏳️‍🌈👩‍👩‍👧", "\u0000\u0001\u007f", "▁ is the space's own sign",
         "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "x" * 300, "def f(x):\n    return x + 1\n", "<0x41> is no byte",
         "e\u0301 and é", "\u200b\ufeff", "don't won't can't", "ALL CAPS and lower", "http://a.b/c?d=e&f=g"]

SYMBOL_TEXTS = ["a [X] b[X]", "a[X]b", "[X]", " [X]", "[X] a", "[X]b[X][X]", "[XY]Z", "[X Y]Z", "a   b", "    a", "   ", "ba<|turn|>ba",
                "<|turn|>\n<|turn", "[X]<0x41>", "ban[X]ban ban"]


def words(rng):
    syllables = [a + b + c for a in ("b", "d", "k", "l", "m", "n", "r", "s", "t", "th", "tr", "") for b in "aeiou" for c in ("", "n", "r", "s")]
    list_ = ["".join(rng.choice(syllables) for _ in range(rng.randint(1, 4))) for _ in range(400)]
    for _ in range(4000):
        yield " ".join(rng.choice(list_) + rng.choice(("", "", ",", ".", "!")) for _ in range(rng.randint(3, 12)))


def train(**options):
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=words(random.Random(5)), model_writer=model, vocab_size=600, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, unk_surface=" \u2047 ",
        allow_whitespace_only_pieces=True, minloglevel=2, **options)
    return model.getvalue()


def fields(message):
    """The top-level fields of a message whose fields are all length-delimited, with their keys and lengths."""
    at = 0
    while at < len(message):
        begin, number, shift = at, message[at] >> 3, 0
        at, size = at + 1, 0
        while True:
            size |= (message[at] & 127) << shift
            at, shift = at + 1, shift + 7
            if message[at - 1] < 128:
                break
        at += size
        yield number, message[begin:at]


def seed(model):
    """The model with one in twenty of its pieces."""
    pieces = [field for number, field in fields(model) if number == 1]
    return b"".join(pieces[:8] + pieces[8::20] + [field for number, field in fields(model) if number != 1])


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder.parent / "corpus" / folder.name
    corpus.mkdir(parents=True, exist_ok=True)
    rng = random.Random(6)
    texts = TEXTS + list(words(rng))[:60]
    symbols = ["[X]", "[XY]", "Y]Z", "<|turn|>", "\u2581\u2581\u2581"]
    for name, options in (("llama", {}), ("no_prefix", {"add_dummy_prefix": False, "user_defined_symbols": ["[X]"]}),
                          ("prefix_symbols", {"user_defined_symbols": symbols})):
        model = train(**options)
        (folder / f"{name}.model").write_bytes(model)
        (corpus / name).write_bytes(seed(model))
        processor = spm.SentencePieceProcessor(model_proto=model)
        rows = [{"text": t, "ids": processor.encode(t), "decoded": processor.decode(processor.encode(t))} for t in texts]
        for t in SYMBOL_TEXTS if options else []:
            rows.append({"text": t, "ids": processor.encode(t), "decoded": processor.decode(processor.encode(t))})
        golden = {"bos": processor.bos_id(), "eos": processor.eos_id(), "vocab_size": processor.vocab_size(), "rows": rows}
        (folder / f"{name}.json").write_text(json.dumps(golden, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
