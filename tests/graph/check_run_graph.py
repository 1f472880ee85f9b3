"""`lathe run M.onnx` and `lathe bench M.onnx`: inputs from .npy, outputs as .npy, compiled and on the reference executor,
against the logits that transformers gave for the same checkpoint. Standard library only.

Usage: check_run_graph.py LATHE
"""
import ast
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

LATHE = sys.argv[1]
CASE = pathlib.Path(__file__).resolve().parent.parent / "arch/optimum_llama_gqa"
MODEL = CASE / "model.onnx"
FORMATS = {"<f4": "f", "<i8": "q", "<i4": "i"}


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


def main():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lathe-run-graph-"))
    golden = json.loads((CASE / "golden.json").read_text())
    tokens = golden["prompt"]
    count = len(tokens)
    write_npy(folder / "ids.npy", "<i8", [1, count], tokens)
    write_npy(folder / "mask.npy", "<i8", [1, count], [1] * count)
    write_npy(folder / "positions.npy", "<i8", [1, count], range(count))
    write_npy(folder / "narrow.npy", "<i4", [1, count], tokens)
    write_npy(folder / "past.npy", "<f4", [1, 2, 0, 12], [])
    inputs = [f"--input=input_ids={folder}/ids.npy", f"--input=attention_mask={folder}/mask.npy",
              f"--input=position_ids={folder}/positions.npy"]
    inputs += [f"--input=past_key_values.{layer}.{part}={folder}/past.npy" for layer in (0, 1) for part in ("key", "value")]

    dims, expected = read_npy(CASE / "logits.npy")
    bound = 1e-4 * max(map(abs, expected))
    for name, flags in (("compiled", []), ("avx2", ["--isa", "avx2", "--threads", "1"]), ("reference", ["--reference"])):
        out = folder / name
        report = json.loads(run("run", MODEL, *inputs, *flags, "--output-dir", out, "--json").stdout)
        assert {o["name"] for o in report["outputs"]} >= {"logits", "present.0.key"}, report
        found_dims, found = read_npy(out / "logits.npy")
        assert found_dims[-len(dims):] == dims, (found_dims, dims)
        worst = max(abs(a - b) for a, b in zip(found, expected, strict=True))
        assert worst <= bound, f"{name}: logits differ by {worst}, bound {bound}"
        assert read_npy(out / "present.0.key.npy")[0] == (1, 2, count, 12)

    # Every result, compiled: what both know by name is the same.
    for name, flags in (("all", []), ("all_reference", ["--reference"])):
        run("run", MODEL, *inputs, *flags, "--output-dir", folder / name, "--dump-tensors")
    shared = {p.name for p in (folder / "all").glob("*.npy")} & {p.name for p in (folder / "all_reference").glob("*.npy")}
    assert len(shared) > 20, len(shared)

    report = json.loads(run("bench", MODEL, *inputs, "--repeat", "2", "--profile", "--json").stdout)
    assert report["median_ms"] > 0 and len(report["samples_ms"]) >= 2, report
    assert any(line["kernel"] == "cpu.product" for line in report["profile"]), report["profile"]

    wrong = run("run", MODEL, *inputs[1:], f"--input=ids={folder}/ids.npy", expect=3)
    assert "ids" in wrong.stderr and "no input" in wrong.stderr, wrong.stderr
    wrong = run("run", MODEL, *inputs[1:], expect=3)
    assert "input_ids" in wrong.stderr and "missing" in wrong.stderr, wrong.stderr
    wrong = run("run", MODEL, *inputs[1:], f"--input=input_ids={folder}/narrow.npy", expect=3)
    assert "expected i64" in wrong.stderr and "i32" in wrong.stderr, wrong.stderr
    run("run", MODEL, "-p", "hello", expect=4)
    wrong = run("bench", MODEL, "--repeat", "1", expect=4)  # lengths that nobody gave
    assert "--shape" in wrong.stderr, wrong.stderr
    run("bench", MODEL, "--shape", "nothing=1x2", expect=2)
    print("passed")


main()
