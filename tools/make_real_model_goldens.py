#!/usr/bin/env python3
"""Writes tests/e2e/real_model.json: what transformers gives in fp32 on the dequantised weights of a real GGUF file.

Usage: make_real_model_goldens.py SmolLM2-135M-Instruct.Q4_1.gguf
Needs torch, transformers and gguf. For each prompt: its text (for a conversation the rendered template), token ids,
the largest logits at the last position, and greedy tokens with how far the second best was behind each.
"""
import hashlib
import json
import pathlib
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

TOP, GREEDY = 8, 24
PROSE = ("Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my purse, and "
         "nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of "
         "the")
QUESTION = "What is the capital of France?"
CODE = '''def fibonacci(n):
    """The n-th Fibonacci number, by iteration."""
    a, b = 0, 1
    for _ in range(n):
'''

source = pathlib.Path(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
model = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
model.eval()
conversation = tokenizer.apply_chat_template([{"role": "user", "content": QUESTION}], tokenize=False,
                                             add_generation_prompt=True)


def logits_after(ids):
    """In float64 sums would differ from every fp32 program; fp32 is what is promised, and what this gives."""
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0, -1]


def case(name, text, **how):
    ids = tokenizer.encode(text, add_special_tokens=False)
    first = logits_after(ids)
    values, tokens = first.topk(TOP)
    greedy, margins, so_far = [], [], list(ids)
    for _ in range(GREEDY):
        best = logits_after(so_far).topk(2)
        greedy.append(int(best.indices[0]))
        margins.append(round(float(best.values[0] - best.values[1]), 5))
        so_far.append(greedy[-1])
    print(name, len(ids), "tokens, smallest margin", min(margins), repr(tokenizer.decode(greedy)))
    return {"name": name, **how, "text": text, "ids": ids, "largest": float(first.abs().max()),
            "top": [[int(t), round(float(v), 5)] for t, v in zip(tokens, values)], "greedy": greedy, "margins": margins}


cases = [case("prose", PROSE), case("question", conversation, message=QUESTION), case("code", CODE)]
golden = {"model": source.name, "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
          "made_with": f"transformers {transformers.__version__}, torch {torch.__version__}"}
lines = [json.dumps(c) for c in cases]
out = pathlib.Path(__file__).resolve().parent.parent / "tests" / "e2e" / "real_model.json"
out.write_text(json.dumps(golden)[:-1] + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n")
print(out, out.stat().st_size, "bytes")
