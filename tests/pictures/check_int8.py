#!/usr/bin/env python3
"""Pictures in int8: a layer that does not bear 8 bits is found and named, more stays in fp32 until the bound holds, and
where that cannot be the build fails and says so.

Usage: check_int8.py LATHE
"""
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

LATHE = sys.argv[1]
ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SHAPES = ROOT / "models/shapes"
work = pathlib.Path(tempfile.mkdtemp(prefix="lathe-int8-"))
problems = []


def lathe(*command):
    done = subprocess.run([LATHE, *command], capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def expect(what, good, found):
    if not good:
        problems.append(f"{what}: {found}")


def gates_of(text):
    return {gate["name"]: gate for gate in json.loads(text)["receipt"]["gates"]}


def plant(folder, blocks, features, factor):
    """Values of some features `factor` times as large and their weights behind as much smaller: the same function in
    floats, and next to nothing left of the other features in 8 bits with one scale for all."""
    shutil.copytree(SHAPES, folder)
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    data = bytearray(path.read_bytes())
    start = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:start])

    def scale(name, axis, by):
        entry = header[name]
        assert entry["dtype"] == "F16", entry
        rows, columns = entry["shape"]
        begin = start + entry["data_offsets"][0]
        values = list(struct.unpack_from(f"<{rows * columns}e", data, begin))
        for i in range(rows * columns):
            if (i // columns if axis == 0 else i % columns) in features:
                values[i] *= by
        struct.pack_into(f"<{rows * columns}e", data, begin, *values)

    for block in blocks:
        scale(f"{block}.to_v.weight", 0, factor)
        scale(f"{block}.to_out.0.weight", 1, 1 / factor)
    path.write_bytes(data)


# The product behind the planted features stays in fp32, by name and with the reason, and the picture is what it was.
PLANTED = "up_blocks.1.attentions.0.transformer_blocks.0.attn1"
bad = work / "bad"
plant(bad, [PLANTED], {3, 40}, 1024.0)
code, out, err = lathe("build", str(bad), "-o", str(work / "bad.lathe"), "--precision", "int8", "--json")
expect("planted: build", code == 0, err)
named = [line for line in err.splitlines() if PLANTED + ".to_out.0" in line]
expect("planted: named", len(named) == 1 and "dB, below 12" in named[0], err)
if code == 0:
    gates = gates_of(out)
    kept = gates["3 products that stay in fp32 (unet)"]
    expect("planted: in the receipt", PLANTED + ".to_out.0" in kept["note"] and "dB, below 12" in kept["note"], kept)
    expect("planted: steps", gates["9 steps in int8 against fp32, from the same latents"]["value"] >= 25, gates)

# Without that threshold the bound alone finds it.
code, out, err = lathe("build", str(bad), "-o", str(work / "bound.lathe"), "--precision", "int8", "--json", "--keep-below", "-99")
expect("bound: build", code == 0, err)
steps = gates_of(out)["9 steps in int8 against fp32, from the same latents"]["value"] if code == 0 else 0
expect("bound: steps", steps >= 25, steps)
worse = work / "worse"
plant(worse, [f"{level}.attentions.0.transformer_blocks.0.attn{i}" for level in
              ("down_blocks.0", "down_blocks.1", "up_blocks.1", "up_blocks.2") for i in (1, 2)], set(range(0, 64, 2)), 512.0)
code, out, err = lathe("build", str(worse), "-o", str(work / "worse.lathe"), "--precision", "int8", "--json", "--keep-below", "-99")
expect("worse: build", code == 0, err)
expect("worse: more stays until it holds", "more stay in fp32" in err and "among the least" in err, err)
if code == 0:
    gates = gates_of(out)
    expect("worse: unet", gates["9 unet in int8 against fp32"]["value"] >= 25, gates)
    expect("worse: steps", gates["9 steps in int8 against fp32, from the same latents"]["value"] >= 25, gates)

# Nothing left in 8 bits is no int8.
code, out, err = lathe("build", str(SHAPES), "-o", str(work / "none.lathe"), "--precision", "int8", "--keep-below", "500")
expect("none: exit code", code == 1, code)
expect("none: message", "nothing of it is left in 8 bits" in err and "unet" in err, err)
expect("none: no file", not (work / "none.lathe").exists(), "none.lathe")

# What rounds follows the instruction set; an engine for another one is as right.
code, out, err = lathe("build", str(SHAPES), "-o", str(work / "avx2.lathe"), "--precision", "int8", "--isa", "avx2", "--json")
expect("avx2: build", code == 0 and "Winograd" in err, err)

# From the folder: calibrated on the spot.
code, out, err = lathe("bench", str(SHAPES), "--precision", "int8", "--repeat", "1", "--no-picture", "--json")
expect("bench", code == 0 and json.loads(out)["conditions"]["precision"] == "int8", err)
code, out, err = lathe("run", str(ROOT / "tests/pictures/onnx_sd15"), "-p", "x", "--steps", "2", "--precision", "int8", "-o",
                       str(work / "onnx.png"))
expect("a folder of ONNX graphs", code == 0 and "in 8 bits" in err, err)

# What cannot be is refused with what helps.
for command, code, part in [
        (["build", str(SHAPES), "-o", str(work / "x.lathe"), "--keep-below", "20"], 2, "--precision int8"),
        (["build", str(SHAPES), "-o", str(work / "x.lathe"), "--precision", "int8", "--keep", "conv_inn"], 2, "conv_in"),
        (["build", str(ROOT / "tests/pictures/onnx_sd15/unet/model.onnx"), "-o", str(work / "x.lathe"), "--precision",
          "int8"], 2, "lathe quantize"),
        (["verify", str(ROOT / "tests/pictures/onnx_sd15/unet/model.onnx"), "--precision", "int8"], 2, "lathe quantize"),
        (["run", str(work / "bad.lathe"), "-p", "x", "--precision", "fp32", "-o", str(work / "x.png")], 4, "--precision fp32")]:
    found, out, err = lathe(*command)
    expect(f"{command}: exit code", found == code, found)
    expect(f"{command}: message", part in err, err)

shutil.rmtree(work)
print("\n".join(problems) or "int8: planted layers found, bounds held")
sys.exit(1 if problems else 0)
