#!/usr/bin/env python3
"""Writes tests/pipeline/generation.json: tokens that transformers' generate() gives for models of tests/arch, with
beams, end tokens and repetition penalty. Needs torch and transformers."""
import json
import pathlib

import torch
from transformers import AutoModelForCausalLM

tests = pathlib.Path(__file__).resolve().parent.parent / "tests"
cases = []
for name in ["llama_mha_tied", "llama_gqa", "neox_parallel"]:
    model = AutoModelForCausalLM.from_pretrained(tests / "arch" / name, dtype=torch.float32)
    prompt = json.loads((tests / "arch" / name / "golden.json").read_text())["prompt"]

    def generate(eos, **options):
        model.generation_config.eos_token_id = eos
        model.generation_config.pad_token_id = 0
        with torch.no_grad():
            ids = torch.tensor([prompt])
            out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, **options)
        return out[0, len(prompt):].tolist()

    plain = generate(None, max_new_tokens=16)
    beamed = generate(None, max_new_tokens=16, num_beams=4)
    for beams in [1, 2, 4, 7]:
        # End tokens that the searches meet early and late, and one (None) that never comes.
        for eos in [None, beamed[3], plain[6], beamed[-1]]:
            for penalty in [1.0, 1.3]:
                tokens = generate(eos, max_new_tokens=16, num_beams=beams, repetition_penalty=penalty)
                ended = eos is not None and eos in tokens
                cases.append(dict(model=name, prompt=prompt, beams=beams, eos=eos, repetition_penalty=penalty,
                                  tokens=tokens[:tokens.index(eos)] if ended else tokens,
                                  finish_reason="stop" if ended else "length"))
out = tests / "pipeline" / "generation.json"
out.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
print(len(cases), "cases,", sum(c["finish_reason"] == "stop" for c in cases), "stop,", out.stat().st_size, "bytes")
