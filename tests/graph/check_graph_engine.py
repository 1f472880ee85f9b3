"""Engines of graphs from the command line: build, run, bench, verify, inspect, rebuild, and what is refused. Standard
library only; expected numbers are the logits that transformers gave for the same checkpoint.

Usage: check_graph_engine.py LATHE
"""
import ast
import json
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile
import time

LATHE = sys.argv[1]
CASE = pathlib.Path(__file__).resolve().parent.parent / "arch/optimum_llama_gqa"
MODEL = CASE / "model.onnx"
FORMATS = {"<f4": "f", "<i8": "q"}


def write_npy(path, dtype, dims, values):
    header = repr({"descr": dtype, "fortran_order": False, "shape": tuple(dims)})
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    data = struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


def read_npy(path):
    data = path.read_bytes()
    length = struct.unpack("<H", data[8:10])[0]
    header = ast.literal_eval(data[10:10 + length].decode())
    body = data[10 + length:]
    return header["shape"], struct.unpack(f"<{len(body) // 4}f", body)


def run(*arguments, expect=0):
    result = subprocess.run([LATHE, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == expect, f"{arguments}: exit {result.returncode}, expected {expect}: {result.stderr}"
    return result


def varint(value):
    out = b""
    while True:
        out += bytes([value & 127 | (128 if value > 127 else 0)])
        value >>= 7
        if not value:
            return out


def field(number, value):
    """A field of a protobuf message: a number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def log_model(path):
    """y = Log(x), x: float[n]."""
    shape = field(1, field(2, "n"))
    tensor = field(1, field(1, 1) + field(2, shape))
    node = field(1, "x") + field(2, "y") + field(4, "Log")
    x, y = (field(1, name) + field(2, tensor) for name in "xy")
    graph = field(1, node) + field(2, "g") + field(11, x) + field(12, y)
    path.write_bytes(field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 17)))


class Decoder:
    """The inputs of the small decoder, and what transformers gives for them."""

    def __init__(self, folder):
        tokens = json.loads((CASE / "golden.json").read_text())["prompt"]
        self.count = len(tokens)
        write_npy(folder / "ids.npy", "<i8", [1, self.count], tokens)
        write_npy(folder / "mask.npy", "<i8", [1, self.count], [1] * self.count)
        write_npy(folder / "positions.npy", "<i8", [1, self.count], range(self.count))
        write_npy(folder / "past.npy", "<f4", [1, 2, 0, 12], [])
        self.inputs = [f"--input=input_ids={folder}/ids.npy", f"--input=attention_mask={folder}/mask.npy",
                       f"--input=position_ids={folder}/positions.npy"]
        self.inputs += [f"--input=past_key_values.{layer}.{part}={folder}/past.npy"
                        for layer in (0, 1) for part in ("key", "value")]
        self.dims, self.logits = read_npy(CASE / "logits.npy")

    def check(self, folder):
        dims, found = read_npy(folder / "logits.npy")
        assert dims[-len(self.dims):] == self.dims, (dims, self.dims)
        bound = 1e-4 * max(map(abs, self.logits))
        worst = max(abs(a - b) for a, b in zip(found, self.logits, strict=True))
        assert worst <= bound, f"logits differ by {worst}, bound {bound}"


def check_decoder(folder, decoder):
    engine = folder / "m.lathe"
    report = json.loads(run("build", MODEL, "-o", engine, *decoder.inputs, "--json").stdout)
    assert report["verified"] and report["receipt"]["pass"], report
    names = [gate["name"] for gate in report["receipt"]["gates"]]
    assert names[0].startswith("0 ") and names[1].startswith("1 ") and names[2].startswith("2 compiled"), names
    assert report["receipt"]["sources"][0]["file"] == "model.onnx", report["receipt"]["sources"]
    for name, flags in (("engine", ["--check"]), ("avx2", ["--isa", "avx2", "--threads", "1"]),
                        ("reference", ["--reference"]), ("dump", ["--dump-tensors"])):
        run("run", engine, *decoder.inputs, *flags, "--output-dir", folder / name, "--json")
        decoder.check(folder / name)
    assert len(list((folder / "dump").iterdir())) > 20

    bench = json.loads(run("bench", engine, *decoder.inputs, "--repeat", "2", "--profile", "--json").stdout)
    assert bench["median_ms"] > 0 and any(line["kernel"] == "cpu.product" for line in bench["profile"]), bench
    receipt = json.loads(run("verify", engine, *decoder.inputs, "--json").stdout)
    assert receipt["pass"] and len(receipt["gates"]) == len(names), receipt
    run("verify", engine, MODEL, *decoder.inputs)
    shown = json.loads(run("inspect", engine, "--plan", "--graph", "--json").stdout)
    assert shown["kind"] == "engine" and shown["graphs"][0]["name"] == "main", shown
    assert "lathe.Linear" in shown["graphs"][0]["plan"] and "MatMul" in shown["graphs"][0]["graph"]
    assert shown["receipt"]["pass"], shown

    # The same bytes again, from the file and from itself.
    plain, again, other = folder / "plain.lathe", folder / "again.lathe", folder / "other.lathe"
    run("build", MODEL, "-o", plain, "--no-verify")
    run("build", MODEL, "-o", again, "--no-verify", "--threads", "1")
    assert plain.read_bytes() == again.read_bytes()
    run("build", plain, "-o", other, "--no-verify")
    assert plain.read_bytes() == other.read_bytes()
    assert "not verified" in run("inspect", plain).stdout
    run("verify", plain, *decoder.inputs, "--write")
    assert "not verified" not in run("inspect", plain).stdout


def check_precision(folder, decoder):
    """Engines in 16 bits say so, say what it costs, keep it, and are refused for another precision."""
    for precision, least in (("bf16", 35), ("fp16", 50)):
        engine, again = folder / f"{precision}.lathe", folder / f"{precision}-again.lathe"
        report = json.loads(run("build", MODEL, "-o", engine, *decoder.inputs, "--precision", precision, "--json").stdout)
        gates = {gate["name"]: gate for gate in report["receipt"]["gates"]}
        assert report["receipt"]["pass"] and gates[f"3 {precision} against fp32"]["value"] >= least, gates
        assert "3 products that stay in fp32" in gates, gates
        shown = json.loads(run("inspect", engine, "--json").stdout)["graphs"][0]
        assert shown["precision"] == precision, shown
        assert any(c["layout"] == {"bf16": "linear_bf16", "fp16": "linear_f16"}[precision] for c in shown["constants"]), shown
        bench = json.loads(run("bench", engine, *decoder.inputs, "--repeat", "1", "--profile", "--json").stdout)
        assert any(line["kernel"] == "cpu.half_linear" for line in bench["profile"]), bench
        assert bench["conditions"]["precision"] == precision, bench
        run("run", engine, *decoder.inputs, "--precision", precision)
        refused = run("run", engine, *decoder.inputs, "--precision", "fp32", expect=4).stderr
        assert "lathe build" in refused and precision in refused, refused
        run("build", engine, "-o", again, "--precision", "fp32", "--no-verify", expect=4)
        plain = folder / f"{precision}-plain.lathe"
        run("build", MODEL, "-o", plain, *decoder.inputs, "--precision", precision, "--no-verify")
        run("build", plain, "-o", again, "--no-verify")
        assert plain.read_bytes() == again.read_bytes()
        run("verify", MODEL, *decoder.inputs, "--precision", precision)
    assert "int8" in run("run", MODEL, *decoder.inputs, "--precision", "int8", expect=2).stderr


def check_profile(folder, decoder):
    engine = folder / "profile.lathe"
    lengths = "batch_size={},sequence_length={},past_sequence_length={}"
    symbols = {dim for i in json.loads(run("inspect", MODEL, "--json").stdout)["input_types"] for dim in
               i["type"][i["type"].index("[") + 1:-1].split(", ") if not dim.isdigit()}
    plain = sorted(s for s in symbols if "+" not in s and s.isidentifier())
    ends = {end: ",".join(f"{s}={value[i]}" for i, s in enumerate(plain))
            for end, value in {"min": [1, 0, 1, 1], "max": [2, 3, 7, 7], "opt": [1, 2, 5, 5]}.items()}
    report = json.loads(run("build", MODEL, "-o", engine, "--min-shapes", ends["min"], "--opt-shapes", ends["opt"],
                            "--max-shapes", ends["max"], "--json").stdout)
    gates = {gate["name"][:1]: gate for gate in report["receipt"]["gates"]}
    assert gates["6"]["pass"] and "places" in gates["6"]["note"], report["receipt"]
    shown = json.loads(run("inspect", engine, "--json").stdout)["graphs"][0]
    assert shown["bound"]["arena_bytes"] > 0 and shown["inputs"][0]["max"], shown
    run("bench", engine, "--repeat", "1")
    if decoder.count > 7:
        refused = run("run", engine, *decoder.inputs, expect=3)
        assert "was built for" in refused.stderr and "found" in refused.stderr, refused.stderr
    run("build", MODEL, "-o", folder / "no.lathe", "--min-shapes", ends["max"], "--max-shapes", ends["min"], expect=2)
    run("build", MODEL, "-o", folder / "no.lathe", "--max-shapes", "nothing=3", expect=2)


def check_infinity(folder):
    model, engine = folder / "log.onnx", folder / "log.lathe"
    log_model(model)
    write_npy(folder / "one.npy", "<f4", [2], [1.0, 2.0])
    write_npy(folder / "zero.npy", "<f4", [2], [1.0, 0.0])
    refused = run("build", model, "-o", engine, "--shape", "n=4", expect=1)  # made-up inputs are negative, too
    assert "allow-nonfinite" in refused.stderr and not engine.exists(), refused.stderr
    run("build", model, "-o", engine, f"--input=x={folder}/one.npy")
    for source in (model, engine):
        run("run", source, f"--input=x={folder}/one.npy")
        assert "\"y\"" in run("run", source, f"--input=x={folder}/zero.npy", expect=1).stderr
        run("run", source, f"--input=x={folder}/zero.npy", "--allow-nonfinite")
    run("build", model, "-o", engine, f"--input=x={folder}/zero.npy", "--allow-nonfinite")
    run("run", engine, f"--input=x={folder}/zero.npy")  # the engine knows


def check_refusals(folder, decoder):
    engine = folder / "m.lathe"
    run("run", engine, "-p", "hello", expect=4)
    run("chat", engine, expect=4)
    run("run", engine, *decoder.inputs, "--graph", "unet", expect=3)
    run("build", MODEL, "-o", folder / "no.lathe", "--kv", "fp16", expect=2)
    run("build", CASE.parent / "llama_gqa", "-o", folder / "no.lathe", "--max-shapes", "n=3", expect=2)
    run("inspect", engine, "--svg", folder / "no.svg", expect=2)
    data = bytearray(engine.read_bytes())
    data[5000] ^= 1  # in the weights
    (folder / "damaged.lathe").write_bytes(data)
    assert run("verify", folder / "damaged.lathe", expect=1).stdout
    run("run", folder / "damaged.lathe", *decoder.inputs, "--check", expect=1)
    run("build", folder / "damaged.lathe", "-o", folder / "no.lathe", expect=1)
    (folder / "short.lathe").write_bytes(engine.read_bytes()[:-2000])
    run("run", folder / "short.lathe", *decoder.inputs, expect=3)
    assert not (folder / "no.lathe").exists()


def check_killed(folder, decoder):
    """A build that is killed leaves the old engine, and the next one clears up."""
    engine = folder / "m.lathe"
    before = engine.read_bytes()
    for delay in (0.0, 0.02, 0.05, 0.1):
        process = subprocess.Popen([LATHE, "build", MODEL, "-o", engine, *decoder.inputs], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert engine.read_bytes() == before
    run("build", MODEL, "-o", engine, *decoder.inputs)
    assert engine.read_bytes() == before
    assert not [p for p in folder.iterdir() if p.name.startswith(".") or "tmp" in p.name], list(folder.iterdir())


def check_no_room(folder, decoder):
    """A file system that is full is exit code 5, and leaves nothing."""
    limit = "ulimit -f 60; exec \"$0\" \"$@\""  # 60 blocks of 1024 bytes: less than the weights
    target = folder / "full.lathe"
    command = [LATHE, "build", MODEL, "-o", target, *decoder.inputs]
    result = subprocess.run(["bash", "-c", "trap '' XFSZ; " + limit, *command], capture_output=True, text=True)
    assert result.returncode == 5, (result.returncode, result.stderr)
    assert not target.exists()


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lathe-graph-engine-"))
    decoder = Decoder(folder)
    check_decoder(folder, decoder)
    check_precision(folder, decoder)
    check_profile(folder, decoder)
    check_infinity(folder)
    check_refusals(folder, decoder)
    check_killed(folder, decoder)
    check_no_room(folder, decoder)
    print("passed")


main()
