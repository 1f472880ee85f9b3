#!/usr/bin/env python3
"""transformers on a Hugging Face folder, 2 threads; prints one JSON line.

transformers_bench.py FOLDER fp32|bf16 decode|prefill
"""
import json
import sys
import time

import torch
from transformers import AutoModelForCausalLM

folder, precision, what = sys.argv[1:4]
torch.set_num_threads(2)
model = AutoModelForCausalLM.from_pretrained(folder, dtype={"fp32": torch.float32, "bf16": torch.bfloat16}[precision])
model.eval()
ids = torch.tensor([[1 + (i * 7919) % 40000 for i in range(512)]])
with torch.no_grad():
    if what == "prefill":
        model(ids[:, :32], logits_to_keep=1)
        start = time.perf_counter()
        model(ids, logits_to_keep=1)
        rate = 512 / (time.perf_counter() - start)
    else:
        model.generate(ids[:, :1], max_new_tokens=4, min_new_tokens=4, do_sample=False)
        start = time.perf_counter()
        model.generate(ids[:, :1], max_new_tokens=64, min_new_tokens=64, do_sample=False)
        rate = 64 / (time.perf_counter() - start)
print(json.dumps({"rate": rate}))
