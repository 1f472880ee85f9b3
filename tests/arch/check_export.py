#!/usr/bin/env python3
"""Exports every architecture of tests/arch at several opsets and holds what ONNX Runtime computes against the
logits and greedy tokens of transformers; and what `optimize` makes of Optimum's exports likewise. Usage: check_export.py LATHE"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

LATHE = sys.argv[1]
FOLDERS = sorted(p.parent for p in pathlib.Path(__file__).parent.glob("*/golden.json"))
CASES = [f for f in FOLDERS if not (f / "model.onnx").exists()]
EXPORTED = [f for f in FOLDERS if (f / "model.onnx").exists()]  # by Optimum
# Every opset is exported and checked once; the two ends and the defaults for every architecture.
EVERY_OPSET, SOME_OPSETS = range(13, 25), (13, 18, 23)
NUMPY = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


def export(case, destination, *arguments):
    source = case / "model.gguf" if (case / "model.gguf").exists() else case
    subprocess.run([LATHE, "export", str(source), str(destination), "-q", *arguments], check=True,
                   stdout=subprocess.DEVNULL)
    onnx.checker.check_model(str(destination), full_check=True)


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class Runner:
    """One sequence in a batch, left-padded if asked, with the cache fed back; without a cache all tokens each time."""

    def __init__(self, model, padding=0):
        self.model, self.padding = model, padding
        self.inputs = {i.name for i in model.get_inputs()}
        self.outputs = [o.name for o in model.get_outputs()]
        self.tokens = []
        self.past = {i.name: np.zeros((1, i.shape[1], 0, i.shape[3]), NUMPY[i.type])
                     for i in model.get_inputs() if i.name.startswith("past_key_values")}

    def step(self, tokens):
        held = len(self.tokens)
        self.tokens += ([0] * self.padding if held == 0 else []) + list(tokens)
        self.length = held if self.past else 0
        ids = np.array([self.tokens[self.length:]], np.int64)
        mask = np.ones((1, self.length + ids.shape[1]), np.int64)
        mask[0, :self.padding] = 0
        positions = np.arange(self.length, self.length + ids.shape[1])[None] - self.padding
        feeds = {"input_ids": ids, "attention_mask": mask, "position_ids": np.maximum(positions, 0).astype(np.int64)}
        feeds = {name: value for name, value in feeds.items() if name in self.inputs}
        results = dict(zip(self.outputs, self.model.run(None, {**feeds, **self.past})))
        self.past = {n.replace("present", "past_key_values"): v for n, v in results.items() if n.startswith("present")}
        return results["logits"][0, -len(tokens):].astype(np.float32)


def check(name, path, golden, expected, tolerance):
    model = session(path)
    told = any(i.name == "position_ids" for i in model.get_inputs())
    for padding in (0, 3) if told else (0,):  # a graph that counts by itself counts padding, too
        runner = Runner(model, padding)
        logits = runner.step(golden["prompt"])
        error = np.abs(logits - expected).max() / np.abs(expected).max()
        if not error <= tolerance:
            sys.exit(f"{name}: logits differ by {error:.2e} of their largest, bound {tolerance:.0e}, padding {padding}")
    if tolerance > 1e-4:
        return
    runner, tokens = Runner(model), []
    logits = runner.step(golden["prompt"])
    while len(tokens) < len(golden["greedy"]):
        tokens.append(int(logits[-1].argmax()))
        logits = runner.step(tokens[-1:])
    if tokens != golden["greedy"]:
        sys.exit(f"{name}: greedy tokens {tokens}, expected {golden['greedy']}")


count = 0
with tempfile.TemporaryDirectory() as scratch:
    for case in CASES:
        golden = json.loads((case / "golden.json").read_text())
        expected = np.load(case / "logits.npy")
        opsets = EVERY_OPSET if case.name in ("llama_gqa", "neox_parallel") else SOME_OPSETS
        for opset in opsets:
            path = pathlib.Path(scratch) / f"{case.name}-{opset}.onnx"
            export(case, path, "--opset", str(opset), "--precision", "fp32")
            check(f"{case.name} opset {opset}", path, golden, expected, 2e-5)
            count += 1
    for case in ("llama_gqa", "neox_parallel"):
        golden = json.loads((CASES[0].parent / case / "golden.json").read_text())
        expected = np.load(CASES[0].parent / case / "logits.npy")
        for opset in (13, 18, 23):
            path = pathlib.Path(scratch) / f"{case}-fp16-{opset}.onnx"
            export(CASES[0].parent / case, path, "--opset", str(opset), "--precision", "fp16")
            check(f"{case} fp16 opset {opset}", path, golden, expected, 2e-2)
            count += 1
    # Block formats kept as they are: the same numbers, so the same bound as fp32.
    for case in CASES:
        if not case.name.startswith("gguf_"):
            continue
        golden = json.loads((case / "golden.json").read_text())
        path = pathlib.Path(scratch) / f"{case.name}-kept.onnx"
        export(case, path, "--opset", "21", "--keep-quantized")
        check(f"{case.name} kept quantised", path, golden, np.load(case / "logits.npy"), 2e-5)
        count += 1
    # Older and newer opsets spell the fused operators differently.
    for case in EXPORTED:
        golden = json.loads((case / "golden.json").read_text())
        bound = 2e-2 if case.name.endswith("f16") else 2e-5
        for flags in (["-O1"], ["-O2"], ["-O2", "--opset", "24"]):
            path = pathlib.Path(scratch) / f"{case.name}{''.join(flags)}.onnx"
            subprocess.run([LATHE, "optimize", str(case / "model.onnx"), str(path), "-q", *flags], check=True,
                           stdout=subprocess.DEVNULL)
            onnx.checker.check_model(str(path), full_check=True)
            check(f"{case.name} {' '.join(flags)}", path, golden, np.load(case / "logits.npy"), bound)
            count += 1
    # bf16 has no products in ONNX Runtime's CPU provider: the checker is all that can be asked here.
    export(CASES[0].parent / "llama_bf16", pathlib.Path(scratch) / "bf16.onnx")
    # Fixed sizes.
    path = pathlib.Path(scratch) / "static.onnx"
    export(CASES[0].parent / "llama_gqa", path, "--static", "batch=1,sequence=21,past=0")
    shapes = {i.name: i.shape for i in session(path).get_inputs()}
    assert shapes["input_ids"] == [1, 21] and shapes["attention_mask"] == [1, 21], shapes
print(f"{count} exports agree with transformers")
