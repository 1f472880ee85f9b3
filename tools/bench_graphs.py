#!/usr/bin/env python3
"""Compares `lathe bench M.onnx` with ONNX Runtime and OpenVINO on the same files, and writes a table.

    bench_graphs.py LATHE FOLDER [--rounds N] [--threads N] [--out PAGE.md] [--engines FOLDER] [NAME...]

FOLDER holds NAME.onnx and its inputs NAME.INPUT.npy, as make_bench_models.py writes them (and any others beside). Run it
with a Python that has numpy, onnxruntime and openvino. Each round runs every program once as a fresh process, in turns;
a process loads the model, calls it once (first), twice more, then for half a second or 15 times. Figures are medians
over the rounds; the ratio is that of the medians, peer by lathe: above 1 lathe is faster. OpenVINO's precision is f32.
Before anything is measured, lathe's outputs are compared with ONNX Runtime's: within 1e-3 of the largest, and those of
quantised models within a tenth of it, because a number at the middle of two steps may be rounded either way, and what is
quantised again behind it spreads that.

With --engines nothing but starting is compared: load and first call of lathe from NAME.onnx and from FOLDER/NAME.lathe
(built first, not verified), and of ONNX Runtime; with peak RSS, and the time and the peak RSS of the build.
"""
import argparse
import json
import math
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile

import numpy as np


def inputs_of(model):
    return {p.name[len(model.stem) + 1:-4]: p for p in sorted(model.parent.glob(f"{model.stem}.*.npy"))}


def measure(call, calls=18):
    """ms of the first call, and of the median of the others."""
    import time
    times = []
    while len(times) < calls or (calls > 2 and sum(times[3:]) < 0.5):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        if len(times) > 3 and sum(times) > 20:
            break
    return times[0] * 1e3, statistics.median(times[3:] or times) * 1e3


def run_peer(peer, model, threads, calls):
    """In a process of its own: prints one line of JSON."""
    import time
    data = {name: np.load(path) for name, path in inputs_of(model).items()}
    if peer == "onnxruntime":
        import onnxruntime
        start = time.perf_counter()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        known = {i.name for i in session.get_inputs()}
        feed = {name: value for name, value in data.items() if name in known}
        call = lambda: session.run(None, feed)
    else:
        import openvino
        start = time.perf_counter()
        compiled = openvino.Core().compile_model(str(model), "CPU", {
            "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
        request = compiled.create_infer_request()
        call = lambda: request.infer(data)
    load = (time.perf_counter() - start) * 1e3
    first, median = measure(call, calls)
    # (getrusage would count what the parent had before this program was loaded.)
    status = pathlib.Path("/proc/self/status").read_text()
    rss = int(status.split("VmHWM:")[1].split()[0]) * 1024
    print(json.dumps({"load": load, "first": first, "median": median, "rss": rss}))


def run_lathe(lathe, model, threads, inputs=None, repeats=15):
    arguments = [f"--input={name}={path}" for name, path in (inputs or inputs_of(model)).items()]
    result = subprocess.run([lathe, "bench", model, *arguments, "--threads", str(threads), "--repeat", str(repeats),
                             "--json"],
                            capture_output=True, text=True, check=True)
    report = json.loads(result.stdout)
    return {"load": report["load_ms"], "first": report["first_ms"], "median": report["median_ms"],
            "rss": report["memory"]["peak_rss_bytes"]}


def spawn_peer(peer, model, threads, calls=18):
    result = subprocess.run([sys.executable, __file__, "--peer", peer, str(model), str(threads), str(calls)],
                            capture_output=True, text=True)
    if result.returncode:
        return None  # the peer cannot run this model
    return json.loads(result.stdout.splitlines()[-1])


def is_quantised(model):
    data = model.read_bytes()
    return b"QuantizeLinear" in data or b"MatMulInteger" in data


def check_same(lathe, model):
    """The largest error relative to an output's largest number, against ONNX Runtime."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    known = {i.name for i in session.get_inputs()}
    paths = {name: path for name, path in inputs_of(model).items() if name in known}
    expected = session.run(None, {name: np.load(path) for name, path in paths.items()})
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([lathe, "run", model, *[f"--input={n}={p}" for n, p in paths.items()], "--output-dir", folder],
                       capture_output=True, check=True)
        worst = 0.0
        for output, value in zip(session.get_outputs(), expected):
            found = np.load(pathlib.Path(folder) / (output.name.replace("/", "_").replace(":", "_") + ".npy"))
            assert found.shape == value.shape, (model, output.name, found.shape, value.shape)
            if value.size:
                worst = max(worst, float(np.abs(found.astype(float) - value).max() / max(np.abs(value).max(), 1e-9)))
    bound = 0.1 if is_quantised(model) else 1e-3
    assert worst < bound, f"{model}: outputs differ by {worst} of the largest"
    return worst


def build_engine(lathe, model, folder, threads):
    """The engine's path, and what building it took."""
    engine = folder / f"{model.stem}.lathe"
    result = subprocess.run([lathe, "build", model, "-o", engine, "--no-verify", "--threads", str(threads), "--json"],
                            capture_output=True, text=True, check=True)
    return engine, json.loads(result.stdout)


def compare_starts(args, models):
    """Load and first call, in turns; medians."""
    args.engines.mkdir(parents=True, exist_ok=True)
    lines = ["| model | .onnx: load + first ms | .lathe: load + first ms | ONNX Runtime ms | ratio to ONNX Runtime | "
             "peak RSS MB: .onnx, .lathe, ONNX Runtime | .onnx MB | .lathe MB | build s | build RSS MB |",
             "|---|---|---|---|---|---|---|---|---|---|"]
    for model in models:
        engine, build = build_engine(args.lathe, model, args.engines, args.threads)
        runs = {"onnx": [], "engine": [], "onnxruntime": []}
        for _ in range(args.rounds):
            runs["onnx"].append(run_lathe(args.lathe, model, args.threads, repeats=1))
            runs["engine"].append(run_lathe(args.lathe, engine, args.threads, inputs_of(model), repeats=1))
            runs["onnxruntime"].append(spawn_peer("onnxruntime", model, args.threads, calls=2))
        middle = {p: {k: statistics.median(r[k] for r in found) for k in found[0]} for p, found in runs.items()}
        start = {p: middle[p]["load"] + middle[p]["first"] for p in middle}
        text = lambda p: f"{middle[p]['load']:.1f} + {middle[p]['first']:.1f}"
        rss = ", ".join(f"{middle[p]['rss'] / 1e6:.0f}" for p in middle)
        lines.append(f"| {model.stem} | {text('onnx')} | {text('engine')} | {text('onnxruntime')} | "
                     f"**{start['onnxruntime'] / start['engine']:.1f} x** | {rss} | {model.stat().st_size / 1e6:.1f} | "
                     f"{engine.stat().st_size / 1e6:.1f} | {build['seconds']:.2f} | "
                     f"{build['memory']['peak_rss_bytes'] / 1e6:.0f} |")
        print(lines[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


def main():
    if sys.argv[1:2] == ["--peer"]:
        return run_peer(sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    parser = argparse.ArgumentParser()
    parser.add_argument("lathe")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--engines", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    args = parser.parse_intermixed_args()
    models = [args.folder / f"{n}.onnx" for n in args.names] or sorted(args.folder.glob("*.onnx"))
    if args.engines:
        return compare_starts(args, models)
    programs = ("lathe", "onnxruntime", "openvino")
    lines = ["| model | lathe ms | ONNX Runtime ms | OpenVINO ms | ratio to the better | load + first: ratio to ONNX Runtime | "
             "peak RSS MB: lathe, ONNX Runtime, OpenVINO | largest error |", "|---|---|---|---|---|---|---|---|"]
    ratios = []
    for model in models:
        error = check_same(args.lathe, model)
        runs = {p: [] for p in programs}
        for _ in range(args.rounds):
            runs["lathe"].append(run_lathe(args.lathe, model, args.threads))
            for peer in programs[1:]:
                found = spawn_peer(peer, model, args.threads)
                if found:
                    runs[peer].append(found)
        middle = {p: {k: statistics.median(r[k] for r in found) for k in found[0]} for p, found in runs.items() if found}
        cell = lambda p, k, f: f.format(middle[p][k]) if p in middle else "-"
        best = min(middle[p]["median"] for p in programs[1:] if p in middle)
        ratio = best / middle["lathe"]["median"]
        ratios.append(ratio)
        start = lambda p: middle[p]["load"] + middle[p]["first"]
        rss = ", ".join(f"{middle[p]['rss'] / 1e6:.0f}" if p in middle else "-" for p in programs)
        lines.append(f"| {model.stem} | {cell('lathe', 'median', '{:.2f}')} | {cell('onnxruntime', 'median', '{:.2f}')} | "
                     f"{cell('openvino', 'median', '{:.2f}')} | **{ratio:.2f} x** | "
                     f"{start('onnxruntime') / start('lathe'):.2f} x | {rss} | {error:.1e} |")
        print(lines[-1], flush=True)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    lines.append(f"\nGeometric mean of the ratios to the better peer: **{mean:.2f} x**, lowest {min(ratios):.2f} x. "
                 f"{args.threads} threads, {args.rounds} rounds, {platform.processor() or platform.machine()}.")
    print(lines[-1])
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
