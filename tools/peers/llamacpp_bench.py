#!/usr/bin/env python3
"""llama.cpp (xllamacpp) on a GGUF file, 2 threads; prints one JSON line.

llamacpp_bench.py MODEL decode COUNT DEPTH | prefill COUNT DEPTH | first
Rates are the server's own timings (prompt_per_second, predicted_per_second); `first` is the time from the start of
this process, interpreter included less its own start, to the first token of "Hello".
"""
import json
import sys
import time

START = time.perf_counter()
import xllamacpp

model, what = sys.argv[1], sys.argv[2]
count, depth = (int(sys.argv[3]), int(sys.argv[4])) if what != "first" else (1, 0)
params = xllamacpp.CommonParams()
params.model.path = model
params.n_ctx = max(1024, count + depth + 128)
params.n_parallel = 1
params.n_batch = params.n_ubatch = 512
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
params.warmup = what != "first"
params.cache_prompt = False
params.endpoint_metrics = False
server = xllamacpp.Server(params)


def complete(tokens, generate):
    result = {}

    def collect(answer):
        result.update(json.loads(answer) if isinstance(answer, (str, bytes)) else answer)
        return False

    prompt = [1 + (i * 7919) % 40000 for i in range(tokens)]
    server.handle_completions({"prompt": prompt, "n_predict": generate, "temperature": 0, "ignore_eos": True,
                               "cache_prompt": False, "stream": False}, collect)
    return result["timings"]


if what == "first":
    complete(1, 1)
    print(json.dumps({"ms": (time.perf_counter() - START) * 1e3}))
else:
    complete(8, 4)
    timings = complete(count if what == "prefill" else max(depth, 1), 1 if what == "prefill" else count)
    print(json.dumps({"rate": timings["prompt_per_second" if what == "prefill" else "predicted_per_second"]}))
