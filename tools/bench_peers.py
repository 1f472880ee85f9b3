#!/usr/bin/env python3
"""Lathe against its peers on the same files, in the same run, alternating; writes docs/benchmarks.md.

Usage: bench_peers.py LATHE MODEL.gguf [--pairs 9] [--llama PYTHON] [--k-quant FILE.gguf] [--torch PYTHON]
       [--folder HF_FOLDERS] [--onnxruntime PYTHON --optimum-export FOLDER] [--optimum-cli PROGRAM] [--big FOLDER]
LATHE is the program. --llama, --torch, --onnxruntime name interpreters that have xllamacpp, torch with transformers,
onnxruntime. HF_FOLDERS/fp32 and /bf16 are made by tools/make_hf_folder.py, FILE.gguf by tools/make_random_q4km.py,
FOLDER of --big by tools/make_random_checkpoint.py, the ONNX folder by `optimum-cli export onnx --task
text-generation-with-past`. Every figure is a median; ratios come with a 95 % interval of the median of the pairs'
ratios (bootstrap, fixed seed). What is not named is left out, and the page says so by not having the row.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
parser = argparse.ArgumentParser()
parser.add_argument("lathe")
parser.add_argument("model")
parser.add_argument("--pairs", type=int, default=9)
parser.add_argument("--only", default="", help="rows whose name contains this; the page is not written")
for name in ("llama", "k-quant", "torch", "folder", "onnxruntime", "optimum-export", "optimum-cli", "big"):
    parser.add_argument(f"--{name}")
parser.add_argument("--output", default=str(HERE.parent / "docs" / "benchmarks.md"))
options = parser.parse_args()
scratch = pathlib.Path(tempfile.mkdtemp(prefix="lathe-bench-"))


def run(*command, **more):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **more).stdout


def lathe_rate(engine, *arguments):
    result = json.loads(run(options.lathe, "bench", engine, "--json", "-q", "--repeat", 1, "--threads", 2, *arguments))
    return result["results"][0]["median"]


def peer(interpreter, script, *arguments):
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    return json.loads(run(interpreter, HERE / "peers" / script, *arguments, env=environment).splitlines()[-1])


def seconds(*command):
    start = time.perf_counter()
    run(*command)
    return time.perf_counter() - start


def memory(*command):
    """Peak resident MB of a command, and the peak of what is neither a file's nor shared, seen every 5 ms."""
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    own = [0]

    def watch():
        try:
            while True:
                text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
                own[0] = max(own[0], int(text.split("RssAnon:")[1].split()[0]) / 1e3)
                time.sleep(0.005)
        except (OSError, IndexError):
            pass

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    watcher.join()
    if status != 0:
        raise SystemExit(f"{command}: status {status}")
    return usage.ru_maxrss / 1e3, own[0]


rows, limits = [], []


def wanted(name):
    return options.only in name


def pairs(name, unit, ours, theirs, peer_name, target, count=None, smaller_is_better=False):
    """Alternates the two measurements and notes medians and the ratio in our favour."""
    if not wanted(name):
        return
    a, b = [], []
    for index in range(count or options.pairs):
        for mine in ((True, False) if index % 2 == 0 else (False, True)):
            (a if mine else b).append(ours() if mine else theirs())
    ratios = [y / x if smaller_is_better else x / y for x, y in zip(a, b)]
    rng = random.Random(1)
    medians = sorted(statistics.median(rng.choices(ratios, k=len(ratios))) for _ in range(2000))
    row = (name, unit, statistics.median(a), peer_name, statistics.median(b), statistics.median(ratios), medians[50],
           medians[1949], target)
    rows.append(row)
    print("{0}: {2:.1f} against {4:.1f} {1} of {3}: {5:.2f} x [{6:.2f}, {7:.2f}], target {8}".format(*row), flush=True)


def limit(name, value, unit, bound):
    limits.append((name, value, unit, bound))
    print(f"{name}: {value:.1f} {unit}, at most {bound}", flush=True)


def build(source, name):
    engine = scratch / f"{name}.lathe"
    if not engine.exists():
        run(options.lathe, "build", source, "-o", engine, "--no-verify", "-q")
    return engine


def generating(engine, count, depth=0):
    return lambda: lathe_rate(engine, "--prompt", 0, "--generate", count, "--depth", depth)


def prefilling(engine):
    return lambda: lathe_rate(engine, "--prompt", 512, "--generate", 0)


def against_llama():
    engine = build(options.model, "q4")
    llama = lambda *what, model=options.model: lambda: peer(options.llama, "llamacpp_bench.py", model, *what)["rate"]
    pairs("decode, 128 tokens", "tokens/s", generating(engine, 128), llama("decode", 128, 0), "llama.cpp", 1.3)
    pairs("prefill, 512 tokens", "tokens/s", prefilling(engine), llama("prefill", 512, 0), "llama.cpp", 1.3)
    pairs("decode at depth 4096, 32 tokens", "tokens/s", generating(engine, 32, 4096), llama("decode", 32, 4096),
          "llama.cpp", 2)
    pairs("process start to first token", "ms",
          lambda: 1e3 * seconds(options.lathe, "run", engine, "-p", "Hello", "--max-tokens", 1, "-q", "--threads", 2),
          lambda: peer(options.llama, "llamacpp_bench.py", options.model, "first")["ms"], "llama.cpp", 3,
          smaller_is_better=True)
    if options.k_quant:
        pairs("decode of 1.1B Q4_K_M (random), 64 tokens", "tokens/s", generating(build(options.k_quant, "k"), 64),
              llama("decode", 64, 0, model=options.k_quant), "llama.cpp", 1.2)


def against_transformers_and_onnxruntime():
    for precision in ("fp32", "bf16"):
        folder = pathlib.Path(options.folder) / precision
        engine = build(folder, precision)
        for what, ours, target in (("decode", generating(engine, 64), 1.5), ("prefill", prefilling(engine), 1.0)):
            name = f"{what} {precision}, {64 if what == 'decode' else 512} tokens"
            pairs(name, "tokens/s", ours,
                  lambda: peer(options.torch, "transformers_bench.py", folder, precision, what)["rate"], "transformers",
                  target)
            if precision == "fp32" and options.onnxruntime:
                pairs(name, "tokens/s", ours,
                      lambda: peer(options.onnxruntime, "onnxruntime_bench.py", options.optimum_export, what)["rate"],
                      "ONNX Runtime", target)


def export_and_memory():
    if options.folder:
        folder = pathlib.Path(options.folder) / "fp32"
        destination = scratch / "export"

        def export(*command):
            shutil.rmtree(destination, ignore_errors=True)
            return seconds(*command)

        ours = [options.lathe, "export", folder, destination, "-q"]
        if options.optimum_cli:
            pairs("export of the fp32 folder (538 MB)", "s", lambda: export(*ours),
                  lambda: export(options.optimum_cli, "export", "onnx", "--model", folder, "--task",
                                 "text-generation-with-past", destination), "optimum-cli", 10, count=3,
                  smaller_is_better=True)
        if wanted("export"):
            limit("export of the fp32 folder: time", statistics.median(export(*ours) for _ in range(3)), "s", 3)
            shutil.rmtree(destination, ignore_errors=True)
            limit("export of the fp32 folder: peak RSS", memory(*ours)[0], "MB", 400)
    if options.big and wanted("4 GB"):
        limit("export of a 4 GB checkpoint: peak RSS",
              memory(options.lathe, "export", options.big, scratch / "big.onnx", "-q")[0], "MB", 1000)
        for file in scratch.glob("big.onnx*"):
            file.unlink()
        limit("build of a 4 GB checkpoint, verified: peak RSS",
              memory(options.lathe, "build", options.big, "-o", scratch / "big.lathe", "-q")[0], "MB", 1000)
        (scratch / "big.lathe").unlink()
    if wanted("2048"):
        text = scratch / "long.txt"
        text.write_text("word " * 1950)
        limit("run at 2048 tokens of context: RSS beyond the mapped engine",
              memory(options.lathe, "run", build(options.model, "q4"), "-f", text, "--max-tokens", 32, "--ctx", 2048,
                     "--ignore-eos", "-q")[1], "MB", 200)


def write_page():
    cpu = next(line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name"))
    doctor = json.loads(run(options.lathe, "doctor", "--json"))
    text = [
        "# Benchmarks", "",
        "Made by `tools/bench_peers.py`. Each row: alternating runs of both programs as fresh processes on the same file, "
        f"{options.pairs} pairs (3 for export), 2 threads each; medians, the median of the pairs' ratios, and its 95 % "
        "interval. A target holds when the interval's lower end does. Without another model named it is "
        f"{pathlib.Path(options.model).name}; each program computes in the precision it takes by itself for that file.",
        "",
        f"Machine: {cpu}, {doctor['threads']} CPUs of a shared host, kernels {doctor['isa'][-1]}; lathe "
        f"{doctor['version']}; {time.strftime('%Y-%m-%d')}.", "",
        "| | lathe | peer | | ratio | 95 % interval | target | |", "|---|---|---|---|---|---|---|---|",
    ]
    for name, unit, mine, peer_name, other, ratio, low, high, target in rows:
        text.append(f"| {name} | {mine:.1f} {unit} | {peer_name} | {other:.1f} | **{ratio:.2f} x** | {low:.2f} to "
                    f"{high:.2f} | {target} x | {'holds' if low >= target else 'missed'} |")
    text += ["", "| | measured | at most | |", "|---|---|---|---|"]
    for name, value, unit, bound in limits:
        text.append(f"| {name} | {value:.1f} {unit} | {bound} | {'holds' if value <= bound else 'missed'} |")
    pathlib.Path(options.output).write_text("\n".join(text) + "\n")


try:
    if options.llama:
        against_llama()
    if options.torch and options.folder:
        against_transformers_and_onnxruntime()
    export_and_memory()
    if not options.only:
        write_page()
finally:
    shutil.rmtree(scratch)
