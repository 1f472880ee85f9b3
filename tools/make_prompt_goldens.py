#!/usr/bin/env python3
"""Writes tests/diffuse/prompts.json: the ids that StableDiffusionPipeline feeds its text encoder for prompts (padded to
77 and cut off), and the words it reports as cut off. Small vocabulary: tests/text/clip."""
import json
import pathlib
import tempfile

from transformers import CLIPTokenizer

from make_clip_tokenizer_goldens import ROOT, folders, small, write

LONG = "a photo of the quick brown fox, who jumps over a lazy dog! "
PROMPTS = ["", "a photo", "wow!", "A  RED circle, on white.", "(not) [weighted:1.2]", LONG, LONG * 3, "fox " * 75,
           "the " * 80, "日本語 " * 30, "a" * 300]


def main():
    vocab, merges = small()
    cases = []
    for name in ("sd1", "sd2"):
        files = folders(len(vocab))[name]
        with tempfile.TemporaryDirectory() as folder:
            write(pathlib.Path(folder), vocab, merges, files)
            tokenizer = CLIPTokenizer.from_pretrained(folder)
        for prompt in PROMPTS:
            # The two lines of encode_prompt.
            ids = tokenizer(prompt, padding="max_length", max_length=77, truncation=True)["input_ids"]
            whole = tokenizer(prompt, padding="longest")["input_ids"]
            cut = tokenizer.decode(whole[76:-1]) if len(whole) > 77 else ""
            cases.append({"folder": name, "prompt": prompt, "ids": ids, "cut": cut})
    target = ROOT.parent / "diffuse" / "prompts.json"
    files = {name: folders(len(vocab))[name] for name in ("sd1", "sd2")}
    rows = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    target.write_text('{"folders": ' + json.dumps(files) + ',\n"cases": [\n' + rows + "\n]}\n")
    print(len(cases), "prompts,", target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
