#!/usr/bin/env python3
"""Lathe against its peers on the same file, in the same run, alternating; writes docs/benchmarks.md.

Usage: bench_peers.py LATHE MODEL.gguf [--pairs 9] [--llama PYTHON] [--torch PYTHON] [--folder HF_FOLDER]
LATHE is the program; --llama and --torch name interpreters that have xllamacpp, and torch with transformers. The HF
folder (fp32 and bf16 are measured from it) is made by tools/make_hf_folder.py. Every figure is a median; ratios come
with a 95 % interval of the median of the pairs' ratios (bootstrap, fixed seed).
"""
import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
parser = argparse.ArgumentParser()
parser.add_argument("lathe")
parser.add_argument("model")
parser.add_argument("--pairs", type=int, default=9)
parser.add_argument("--llama")
parser.add_argument("--torch")
parser.add_argument("--folder")
parser.add_argument("--output", default=str(HERE.parent / "docs" / "benchmarks.md"))
options = parser.parse_args()
scratch = tempfile.mkdtemp()


def run(*command, **more):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **more).stdout


def lathe_bench(engine, *arguments):
    result = json.loads(run(options.lathe, "bench", engine, "--json", "-q", "--repeat", 1, "--threads", 2, *arguments))
    return [entry["median"] for entry in result["results"]]


def peer(interpreter, script, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    return json.loads(run(interpreter, HERE / "peers" / script, *arguments, env=environment).splitlines()[-1])


def interval(ratios):
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    return medians[50], medians[1949]


rows = []


def pairs(name, unit, ours, theirs, peer_name, target, smaller_is_better=False):
    """Alternates the two measurements and notes medians and the ratio in our favour."""
    a, b = [], []
    for index in range(options.pairs):
        for mine in ((True, False) if index % 2 == 0 else (False, True)):
            (a if mine else b).append(ours() if mine else theirs())
    ratios = [y / x if smaller_is_better else x / y for x, y in zip(a, b)]
    low, high = interval(ratios)
    rows.append((name, unit, statistics.median(a), peer_name, statistics.median(b), statistics.median(ratios), low, high, target))
    print(f"{name}: {statistics.median(a):.1f} against {statistics.median(b):.1f} {unit} of {peer_name}: "
          f"{statistics.median(ratios):.2f} x [{low:.2f}, {high:.2f}], target {target}", flush=True)


def build(source, name, *arguments):
    engine = pathlib.Path(scratch) / f"{name}.lathe"
    run(options.lathe, "build", source, "-o", engine, "--no-verify", "-q", *arguments)
    return engine


if options.llama:
    engine = build(options.model, "q4")
    llama = lambda *what: lambda: peer(options.llama, "llamacpp_bench.py", options.model, *what)["rate"]
    ours = lambda *what: lambda: lathe_bench(engine, *what)[0]
    pairs("decode, 128 tokens", "tokens/s", ours("--prompt", 0, "--generate", 128), llama("decode", 128, 0), "llama.cpp", 1.3)
    pairs("prefill, 512 tokens", "tokens/s", ours("--prompt", 512, "--generate", 0), llama("prefill", 512, 0), "llama.cpp", 1.3)
    pairs("decode at depth 4096, 32 tokens", "tokens/s", ours("--prompt", 0, "--generate", 32, "--depth", 4096),
          llama("decode", 32, 4096), "llama.cpp", 2)

    def first_token(command):
        start = time.perf_counter()
        run(*command)
        return (time.perf_counter() - start) * 1e3

    pairs("process start to first token", "ms",
          lambda: first_token([options.lathe, "run", engine, "-p", "Hello", "--max-tokens", 1, "-q", "--threads", 2]),
          lambda: peer(options.llama, "llamacpp_bench.py", options.model, "first")["ms"], "llama.cpp", 3,
          smaller_is_better=True)

if options.torch and options.folder:
    for precision in ("fp32", "bf16"):
        folder = pathlib.Path(options.folder) / precision
        engine = build(folder, precision)
        torch = lambda what: lambda: peer(options.torch, "transformers_bench.py", folder, precision, what)["rate"]
        ours = lambda *what: lambda: lathe_bench(engine, *what)[0]
        pairs(f"decode {precision}, 64 tokens", "tokens/s", ours("--prompt", 0, "--generate", 64), torch("decode"),
              "transformers", 1.5)
        pairs(f"prefill {precision}, 512 tokens", "tokens/s", ours("--prompt", 512, "--generate", 0), torch("prefill"),
              "transformers", 1.0)

cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
doctor = json.loads(run(options.lathe, "doctor", "--json"))
text = [
    "# Benchmarks", "",
    "Made by `tools/bench_peers.py`. Each row: alternating runs of both programs as fresh processes on the same file, "
    f"{options.pairs} pairs, 2 threads each; medians, the median of the pairs' ratios, and its 95 % interval. A target "
    "holds when the interval's lower end does.", "",
    f"Machine: {cpu}, {doctor['threads']} CPUs, kernels {doctor['isa'][-1]}, "
    f"{doctor['memory_bandwidth_bytes_per_s'] / 1e9:.1f} GB/s read; lathe {doctor['version']}; model "
    f"{pathlib.Path(options.model).name}; {time.strftime('%Y-%m-%d')}.", "",
    "| | lathe | peer | | ratio | 95 % interval | target | |", "|---|---|---|---|---|---|---|---|",
]
for name, unit, mine, peer_name, other, ratio, low, high, target in rows:
    text.append(f"| {name} | {mine:.1f} {unit} | {peer_name} | {other:.1f} | **{ratio:.2f} x** | {low:.2f} to {high:.2f} | "
                f"{target} x | {'holds' if low >= target else 'missed'} |")
pathlib.Path(options.output).write_text("\n".join(text) + "\n")
