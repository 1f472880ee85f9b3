#!/usr/bin/env python3
"""Writes tests/pipeline/sampling.json: what transformers' logits processors make of random logits.

Needs torch and transformers. Each case holds the options, the logits' seed and size, and the tokens that stay
with their probabilities. The logits come from a generator that the test repeats: x = x * 6364136223846793005 +
1442695040888963407 modulo 2^64 from x = seed, logit = ((x >> 40) / 2^24 - 0.5) * spread as float32.
"""
import json
import pathlib

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper,
    TopKLogitsWarper, TopPLogitsWarper)


def logits_of(seed: int, size: int, spread: float) -> torch.Tensor:
    x, values = seed, []
    for _ in range(size):
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        values.append(((x >> 40) / 2**24 - 0.5) * spread)
    return torch.tensor([values], dtype=torch.float32)


def run(case: dict) -> dict:
    steps = LogitsProcessorList()
    if case.get("repetition_penalty", 1) != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(case["repetition_penalty"]))
    if case.get("temperature", 1) != 1:
        steps.append(TemperatureLogitsWarper(case["temperature"]))
    if case.get("top_k", 0):
        steps.append(TopKLogitsWarper(case["top_k"]))
    if case.get("top_p", 1) < 1:
        steps.append(TopPLogitsWarper(case["top_p"]))
    if case.get("min_p", 0) > 0:
        steps.append(MinPLogitsWarper(case["min_p"]))
    logits = logits_of(case["logits_seed"], case["size"], case["spread"])
    prompt = torch.tensor([case.get("prompt", [0])])
    probabilities = torch.softmax(steps(prompt, logits).double(), dim=-1)[0]
    kept = torch.nonzero(probabilities).flatten().tolist()
    kept.sort(key=lambda token: (-probabilities[token].item(), token))
    return {**case, "tokens": kept, "probabilities": [round(probabilities[t].item(), 9) for t in kept]}


CASES = [
    dict(size=50, spread=8, temperature=0.7),
    dict(size=50, spread=8, temperature=1.7, top_p=0.9),
    dict(size=1000, spread=20, top_k=1),
    dict(size=1000, spread=20, top_k=40),
    dict(size=1000, spread=20, top_k=999, top_p=0.5),
    dict(size=1000, spread=20, top_p=0.1),
    dict(size=1000, spread=20, top_p=0.8),
    dict(size=1000, spread=20, top_p=1e-6),
    dict(size=1000, spread=20, min_p=0.05),
    dict(size=1000, spread=20, min_p=1.0),
    dict(size=1000, spread=20, temperature=0.5, top_k=50, top_p=0.9, min_p=0.02),
    dict(size=1000, spread=20, temperature=0.8, top_k=20, top_p=0.95),
    dict(size=1000, spread=4, temperature=0.9, top_p=0.05, min_p=0.5),
    dict(size=64, spread=10, repetition_penalty=1.3, prompt=[3, 5, 8, 8, 13, 21, 34, 55, 3]),
    dict(size=64, spread=10, repetition_penalty=0.8, prompt=[1, 2, 3, 4, 5, 6, 7, 8], top_k=10),
    dict(size=20000, spread=40, top_k=100, top_p=0.99),
    dict(size=20000, spread=40, top_p=0.3),
    dict(size=33, spread=6, top_k=32),
]
out = pathlib.Path(__file__).resolve().parent.parent / "tests" / "pipeline" / "sampling.json"
cases = [run({**case, "logits_seed": 1000 + i}) for i, case in enumerate(CASES)]
out.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
print(out, len(cases), "cases,", out.stat().st_size, "bytes", [len(c["tokens"]) for c in cases])
