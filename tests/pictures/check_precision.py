#!/usr/bin/env python3
"""Pipelines of every kind in bf16, fp16 and int8: engines are verified, and their receipts hold the error of each
component, of each step from identical latents (35, 50 and 25 dB or more), and of the whole picture.

Usage: check_precision.py LATHE
"""
import json
import pathlib
import subprocess
import sys
import tempfile

LATHE = sys.argv[1]
FOLDER = pathlib.Path(__file__).resolve().parent
BOUNDS = {"bf16": 35, "fp16": 50, "int8": 25}
# The graphs that drawing a picture asks of each.
GRAPHS = {"sd15": ["text_encoder", "unet", "vae_decoder"], "sd21": ["text_encoder", "unet", "vae_decoder"],
          "sdxl": ["text_encoder", "text_encoder_2", "unet", "vae_decoder"], "lcm": ["text_encoder", "unet", "vae_decoder"],
          "inpaint": ["text_encoder", "vae_encoder", "unet", "vae_decoder"]}
work = pathlib.Path(tempfile.mkdtemp(prefix="lathe-precision-"))
problems = []

for kind, graphs in GRAPHS.items():
    for precision, bound in BOUNDS.items():
        engine = work / f"{kind}-{precision}.lathe"
        done = subprocess.run([LATHE, "build", FOLDER / kind, "-o", engine, "--precision", precision, "--json"],
                              capture_output=True, text=True)
        if done.returncode != 0:
            problems.append(f"{kind} {precision}: exit {done.returncode}: {done.stderr.strip()}")
            continue
        gates = {gate["name"]: gate for gate in json.loads(done.stdout)["receipt"]["gates"]}
        wanted = [f"9 {graph} in {precision} against fp32" for graph in graphs]
        wanted += [f"9 steps in {precision} against fp32, from the same latents",
                   f"9 the picture in {precision} against fp32"]
        for name in wanted:
            value = gates.get(name, {"value": 0})["value"]
            # bf16 does not give fp32's numbers, nor does a UNet of bytes; fp16 may, where the checkpoint is in fp16.
            rounds = precision == "bf16" or (precision == "int8" and "unet" in name)
            if not value >= (bound if "picture" not in name else 20) or (rounds and value > 140):
                problems.append(f"{kind} {precision}: {name}: {value}")
        if "9 not blank where fp32 is not" not in gates:
            problems.append(f"{kind} {precision}: nothing says whether it is blank")
        if precision == "int8":
            # Alone, an engine is held to its own weights; built again it is the same file; another machine's choice.
            checks = [([LATHE, "verify", engine], 0, "fp32 on the weights as the engine keeps them"),
                      ([LATHE, "build", engine, "-o", work / "again.lathe", "--no-verify"], 0, ""),
                      ([LATHE, "build", engine, "-o", work / "b.lathe", "--precision", "bf16"], 4, "--precision bf16"),
                      ([LATHE, "build", FOLDER / kind, "-o", work / "k.lathe", "--precision", "int8", "--keep", "nobody"],
                       2, "nobody")]
            for command, code, part in checks:
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode != code or part not in done.stdout + done.stderr:
                    problems.append(f"{kind}: {command[1:]}: exit {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}")
        engine.unlink()

print("\n".join(problems) or f"{len(GRAPHS)} kinds of pipelines in {len(BOUNDS)} precisions")
sys.exit(1 if problems else 0)
