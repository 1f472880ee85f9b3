#!/usr/bin/env python3
"""Writes tests/text/clip_folders.json: what transformers' CLIPTokenizer (version 5) makes of folders with vocab.json
and merges.txt, for the ways in which such folders name their special tokens, on the texts of the tokenizer goldens.

The vocabulary and merges are small (tests/text/clip/) and those of tests/text/tokenizers/clip_like.json with CLIP's
two special tokens at the end, as CLIP has them. With a path of bpe_simple_vocab_16e6.txt.gz (of open-clip-torch) as
argument the real vocabulary is used instead, and nothing is written but the ids of folder "sd2" to stdout, for
comparison with `lathe tokenize`."""
import gzip
import json
import pathlib
import sys
import tempfile

from transformers import CLIPTokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "text"
TELLING = 9  # texts at the front that all folders are asked for
START, END = "<|startoftext|>", "<|endoftext|>"


def token(content, normalized):
    return {"content": content, "lstrip": False, "normalized": normalized, "rstrip": False, "single_word": False}


def saved(content):
    return {"__type": "AddedToken", **token(content, True)}


def folders(size):
    """name: special_tokens_map.json, tokenizer_config.json, added_tokens.json"""
    start, end = size - 2, size - 1
    listed = {"0": {**token("!", False), "special": True}, str(start): {**token(START, True), "special": True},
              str(end): {**token(END, True), "special": True}}
    return {
        "bare": (None, None, None),
        "sd2": ({"bos_token": token(START, True), "eos_token": token(END, True), "pad_token": "!",
                 "unk_token": token(END, True)},
                {"add_prefix_space": False, "bos_token": saved(START), "do_lower_case": True, "eos_token": saved(END),
                 "errors": "replace", "model_max_length": 77, "pad_token": END, "tokenizer_class": "CLIPTokenizer",
                 "unk_token": saved(END)}, None),
        "sd1": ({"bos_token": token(START, True), "eos_token": token(END, True), "pad_token": END,
                 "unk_token": token(END, True)},
                {"model_max_length": 77, "pad_token": END, "tokenizer_class": "CLIPTokenizer"}, None),
        "config": (None, {"pad_token": "!", "model_max_length": 77}, None),
        "listed": ({"pad_token": END, "bos_token": START, "eos_token": END},
                   {"pad_token": "!", "model_max_length": 77, "added_tokens_decoder": listed, "bos_token": START,
                    "eos_token": END, "unk_token": END}, None),
        "added": ({"pad_token": "[PAD]", "additional_special_tokens": ["circle"]}, {"model_max_length": 40},
                  {"<new>": size + 7}),
    }


def write(folder, vocab, merges, files):
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    for name, content in zip(("special_tokens_map", "tokenizer_config", "added_tokens"), files):
        if content is not None:
            (folder / f"{name}.json").write_text(json.dumps(content))


def small():
    model = json.loads((ROOT / "tokenizers" / "clip_like.json").read_text())["model"]
    order = [t for t in sorted(model["vocab"], key=model["vocab"].get) if t not in (START, END)] + [START, END]
    return {t: i for i, t in enumerate(order)}, [" ".join(m) for m in model["merges"]]


def real(path):
    lines = gzip.open(path, "rt", encoding="utf-8").read().split("\n")
    merges = lines[1:49152 - 256 - 2 + 1]
    chars = [c for r in (range(33, 127), range(161, 173), range(174, 256)) for c in r]
    alphabet = [chr(c) for c in chars] + [chr(256 + i) for i in range(256 - len(chars))]
    order = alphabet + [c + "</w>" for c in alphabet] + [m.replace(" ", "") for m in merges] + [START, END]
    return {t: i for i, t in enumerate(order)}, merges


def main():
    corpus = [row["text"] for row in json.loads((ROOT / "goldens" / "clip_like.json").read_text())["rows"]
              if "text" in row]
    texts = ["a photo!", "wow !!! ok", "!", "<|ENDOFTEXT|> <|endoftext|>", "A Red CIRCLE<new> [PAD] circle",
              "it's 1234, isn't it", "  spaces\t and\nlines  ", "日本語 テスト", "naïve café ﬁne"]
    assert len(texts) == TELLING
    texts += corpus
    if len(sys.argv) > 1:
        vocab, merges = real(sys.argv[1])
        out = pathlib.Path(sys.argv[2])
        out.mkdir(exist_ok=True)
        write(out, vocab, merges, folders(len(vocab))["sd2"])
        tokenizer = CLIPTokenizer.from_pretrained(out)
        json.dump({"texts": texts, "ids": [tokenizer(t)["input_ids"] for t in texts]}, sys.stdout)
        return
    vocab, merges = small()
    target = ROOT / "clip"
    target.mkdir(exist_ok=True)
    (target / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False, separators=(",", ":")))
    (target / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    cases = []
    for name, files in folders(len(vocab)).items():
        with tempfile.TemporaryDirectory() as folder:
            write(pathlib.Path(folder), vocab, merges, files)
            t = CLIPTokenizer.from_pretrained(folder)
            cases.append({"name": name, "files": files, "bos": t.bos_token_id, "eos": t.eos_token_id,
                          "pad": t.pad_token_id, "max_length": t.model_max_length if t.model_max_length < 1e6 else None,
                          "vocab_size": len(t), "ids": [t(text)["input_ids"] for text in
                                                       (texts if name == "sd2" else texts[:TELLING])]})
    rows = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    (ROOT / "clip_folders.json").write_text('{"texts": ' + json.dumps(texts) + ',\n"cases": [\n' + rows + "\n]}\n")
    print(len(cases), "folders,", len(texts), "texts,", (ROOT / "clip_folders.json").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
