#!/usr/bin/env python3
"""A step of Stable Diffusion's UNet with guidance and the decoding of a picture, against diffusers and OpenVINO.

  bench_pictures.py LATHE FOLDER --onnx ONNX_FOLDER --torch PYTHON --openvino PYTHON [--rounds 3] [--threads 2] [--parts unet]
                    [--engine LABEL=FILE[,ISA] ...]

FOLDER is a diffusers folder (tools/make_random_pictures.py --base writes one of the full size), ONNX_FOLDER what
`lathe export FOLDER ONNX_FOLDER --opset 18` writes; the interpreters have diffusers and openvino. 512 x 512, both halves of
the guidance in one batch; the peers in fp32, lathe too, or each of the engines given, on kernels up to ISA. Each round starts each program anew, in turns. Of the UNet the second call
counts; of the decoder the peers' second, lathe's only one. Peak RSS of lathe is that of a whole picture, of the peers that of
the model alone. Ratios are medians of those of the rounds, with the lowest and the highest: the programs of a round run
one after the other, and what else the host does changes more slowly.
"""
import argparse
import json
import statistics
import subprocess
import sys
import tempfile

PEER = r'''
import resource, sys, time
import numpy as np
which, part, folder, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
rng = np.random.default_rng(0)
feeds = (dict(sample=rng.standard_normal((2, 4, 64, 64), dtype=np.float32), timestep=np.array(501, np.float32),
              encoder_hidden_states=rng.standard_normal((2, 77, 1024), dtype=np.float32)) if part == "unet" else
         dict(latent_sample=rng.standard_normal((1, 4, 64, 64), dtype=np.float32)))
start = time.perf_counter()
if which == "diffusers":
    import diffusers, torch
    torch.set_num_threads(threads); torch.set_grad_enabled(False)
    tensors = {k: torch.from_numpy(v) for k, v in feeds.items()}
    if part == "unet":
        model = diffusers.UNet2DConditionModel.from_pretrained(folder, subfolder="unet").float().eval()
        call = lambda: model(**tensors)
    else:
        model = diffusers.AutoencoderKL.from_pretrained(folder, subfolder="vae").float().eval()
        call = lambda: model.decode(tensors["latent_sample"])
else:
    import openvino
    model = openvino.Core().compile_model(f"{folder}/{part}/model.onnx", "CPU", {
        "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})
    call = lambda: model(feeds)
load = time.perf_counter() - start
times = []
for _ in range(2):
    start = time.perf_counter(); call(); times.append(time.perf_counter() - start)
print("RESULT", load, times[1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
'''


def run_peer(python, which, part, folder, threads):
    done = subprocess.run([python, "-c", PEER, which, part, folder, str(threads)], capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not lines:
        sys.exit(f"{which} {part}: {done.stderr[-2000:]}")
    load, seconds, rss = map(float, lines[0].split()[1:])
    return {"load": load, "seconds": seconds, "rss": rss}


def run_lathe(lathe, model, isa, threads):
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([lathe, "run", model, "-p", "a cat", "--steps", "2", "--seed", "1", "--width", "512", "--height", "512",
                               "-o", f"{folder}/x.png", "--threads", str(threads), "--json"] + (["--isa", isa] if isa else []), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"lathe: {done.stderr}")
    result = json.loads(done.stdout)
    timings, rss = result["timings"], result["memory"]["peak_rss_bytes"] / 2**20
    return ({"load": timings["load_ms"] / 1e3, "seconds": timings["steps_ms"][1] / 1e3, "rss": rss},
            {"load": timings["load_ms"] / 1e3, "seconds": timings["decode_ms"] / 1e3, "rss": rss})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lathe")
    parser.add_argument("folder")
    parser.add_argument("--engine", nargs="+", default=[], metavar="LABEL=FILE[,ISA]", help="lathe runs these, not the folder")
    parser.add_argument("--onnx", required=True)
    parser.add_argument("--torch", required=True)
    parser.add_argument("--openvino", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", choices=("unet", "vae"), nargs="+", default=("unet", "vae"))
    options = parser.parse_args()
    parts = [row for row in (("unet", "unet", "UNet step"), ("vae_decoder", "vae", "VAE decode")) if row[1] in options.parts]
    engines = {}
    for text in options.engine or ["lathe=" + options.folder]:
        label, _, rest = text.partition("=")
        engines[label] = (rest.split(",") + [""])[:2]
    samples = {}
    for _ in range(options.rounds):
        for label, (model, isa) in engines.items():
            unet, vae = run_lathe(options.lathe, model, isa, options.threads)
            samples.setdefault(("UNet step", label), []).append(unet)
            samples.setdefault(("VAE decode", label), []).append(vae)
        for part, folder, name in parts:
            samples.setdefault((name, "diffusers"), []).append(
                run_peer(options.torch, "diffusers", folder, options.folder, options.threads))
            samples.setdefault((name, "OpenVINO"), []).append(
                run_peer(options.openvino, "openvino", part, options.onnx, options.threads))
    print("| | program | seconds | load s | peak RSS MB |\n|---|---|---|---|---|")
    for (name, program), runs in samples.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        print(f"| {name} | {program} | {median['seconds']:.2f} | {median['load']:.2f} | {median['rss']:.0f} |")
    for _, _, name in parts:
        for label in engines:
            for peer in ("diffusers", "OpenVINO"):
                ratios = sorted(theirs["seconds"] / own["seconds"]
                                for own, theirs in zip(samples[name, label], samples[name, peer]))
                print(f"{name}: {label} {statistics.median(ratios):.2f} x {peer} [{ratios[0]:.2f}, {ratios[-1]:.2f}]")


main()
