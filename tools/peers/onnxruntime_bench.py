#!/usr/bin/env python3
"""ONNX Runtime on Optimum's export of a decoder, 2 threads; prints one JSON line.

onnxruntime_bench.py FOLDER decode|prefill
The cache goes from outputs to inputs as OrtValues, without a copy through numpy.
"""
import json
import pathlib
import sys
import time

import numpy as np
import onnxruntime as ort

folder, what = pathlib.Path(sys.argv[1]), sys.argv[2]
options = ort.SessionOptions()
options.intra_op_num_threads = 2
session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
config = json.loads((folder / "config.json").read_text())
heads, width = config["num_key_value_heads"], config["hidden_size"] // config["num_attention_heads"]
past_names = [i.name for i in session.get_inputs() if i.name.startswith("past_key_values.")]
output_names = [o.name for o in session.get_outputs()]
empty = np.zeros((1, heads, 0, width), np.float32)


def value(array):
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def step(ids, past, length):
    total = length + len(ids)
    feeds = {"input_ids": value(np.array([ids], np.int64)),
             "attention_mask": value(np.ones((1, total), np.int64)),
             "position_ids": value(np.arange(length, total, dtype=np.int64)[None]), **past}
    known = {i.name for i in session.get_inputs()}
    outputs = dict(zip(output_names, session.run_with_ort_values(output_names, {k: v for k, v in feeds.items() if k in known})))
    token = int(outputs["logits"].numpy()[0, -1].argmax())
    return token, {name: outputs[name.replace("past_key_values", "present")] for name in past_names}


def fresh():
    return {name: value(empty) for name in past_names}


ids = [1 + (i * 7919) % 40000 for i in range(512)]
if what == "prefill":
    step(ids[:32], fresh(), 0)
    start = time.perf_counter()
    step(ids, fresh(), 0)
    rate = 512 / (time.perf_counter() - start)
else:
    token, past = step(ids[:1], fresh(), 0)
    start = time.perf_counter()
    for i in range(64):
        token, past = step([token], past, 1 + i)
    rate = 64 / (time.perf_counter() - start)
print(json.dumps({"rate": rate}))
