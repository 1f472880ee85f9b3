"""`lathe verify` on ONNX graphs, and `lathe optimize --extract-*`, `--static` and `--report`: what is the same is found
to be the same, what is not is found where it begins, what cannot be compared is said. Standard library only.

Usage: check_verify_graphs.py LATHE
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

LATHE = sys.argv[1]
TESTS = pathlib.Path(__file__).resolve().parent.parent
CASE = TESTS / "arch/optimum_llama_gqa"
MODEL = CASE / "model.onnx"
SHAPES = ["--shape", "batch_size=2,sequence_length=5,past_sequence_length=3"]


def write_npy(path, dtype, dims, values):
    header = repr({"descr": dtype, "fortran_order": False, "shape": tuple(dims)})
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    data = struct.pack(f"<{len(values)}" + ("q" if dtype == "<i8" else "f"), *values)
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data)


def run(*arguments, expect=0):
    result = subprocess.run([LATHE, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == expect, f"{arguments}: exit {result.returncode}, expected {expect}: {result.stderr}"
    return result


def report(*arguments, expect=0):
    return json.loads(run(*arguments, "--json", expect=expect).stdout)


def damaged(path, weight):
    """The model with the first number of a weight changed."""
    data = bytearray(MODEL.read_bytes())
    at = data.rindex(weight.encode()) + len(weight)  # nodes come first in the file, then initialisers: name, raw data
    assert data[at] == 0x4A, "raw_data behind the name"
    at += 1
    while data[at] & 0x80:  # its length
        at += 1
    struct.pack_into("<f", data, at + 1, 8.0)
    path.write_bytes(data)
    return path


def check_one(folder):
    found = report("verify", MODEL, *SHAPES)
    assert found["pass"] and found["gates"] and found["first_difference"] is None, found
    assert all(gate["bound"] == 1e-4 and gate["value"] <= 1e-4 for gate in found["gates"]), found["gates"]
    assert {"logits", "present.0.key"} <= {o["name"] for o in found["outputs"]}, found["outputs"]
    one = report("verify", MODEL, *SHAPES, "--isa", "avx2", "--threads", "1")
    assert len(one["gates"]) == 1 and "avx2" in one["gates"][0]["name"], one["gates"]
    text = run("verify", MODEL, *SHAPES).stdout
    assert "PASS" in text and "logits" in text, text


def check_two(folder):
    smaller = folder / "smaller.onnx"
    run("optimize", MODEL, smaller, "-O2")
    for flags in ([], ["--reference", "--seeds", "1"]):
        found = report("verify", MODEL, smaller, *SHAPES, *flags)
        assert found["pass"] and found["runs"] == (1 if flags else 3), found
    broken = damaged(folder / "damaged.onnx", "onnx::MatMul_766")  # layer 0, down projection
    found = report("verify", MODEL, broken, *SHAPES, expect=1)
    first = found["first_difference"]
    assert not found["pass"] and first["max_abs"] > 0, found
    assert first["node"] == "/model/layers.0/mlp/down_proj/MatMul", first
    assert first["tensor"] == "/model/layers.0/mlp/down_proj/MatMul_output_0", first
    assert not next(o for o in found["outputs"] if o["name"] == "logits")["pass"], found["outputs"]
    assert next(o for o in found["outputs"] if o["name"] == "present.0.key")["pass"], "it comes before"
    text = run("verify", MODEL, broken, *SHAPES, expect=1).stdout
    assert "FAIL" in text and first["tensor"] in text, text
    assert report("verify", MODEL, broken, *SHAPES, "--tolerance", "1e9")["pass"]


def check_part(folder):
    whole, part, tail = folder / "whole", folder / "part.onnx", folder / "tail.onnx"
    wrong = run("optimize", MODEL, part, "--extract-outputs", "logitss", expect=2)
    assert "near are logits" in wrong.stderr, wrong.stderr
    wrong = run("optimize", MODEL, part, "--extract-inputs", "input_idz", expect=2)
    assert "near are input_ids" in wrong.stderr, wrong.stderr
    run("optimize", MODEL, part, "-O0", "--extract-outputs", "present.0.key")
    wrong = run("verify", MODEL, part, *SHAPES, expect=3)
    assert 'A has output "logits"' in wrong.stderr, wrong.stderr
    assert report("inspect", part)["nodes"] < report("inspect", MODEL)["nodes"] / 2
    assert report("verify", part, *SHAPES)["pass"]

    # What comes behind the last layer's projection, given what the whole computes there, gives what the whole gives.
    inputs = {"input_ids": ("<i8", [1, 4], [5, 6, 7, 8]), "attention_mask": ("<i8", [1, 4], [1] * 4),
              "position_ids": ("<i8", [1, 4], range(4))}
    inputs |= {f"past_key_values.{i}.{p}": ("<f4", [1, 2, 0, 12], []) for i in (0, 1) for p in ("key", "value")}
    flags = []
    for name, (dtype, dims, values) in inputs.items():
        write_npy(folder / f"{name}.npy", dtype, dims, values)
        flags.append(f"--input={name}={folder / name}.npy")
    run("run", MODEL, *flags, "--reference", "--dump-tensors", "--output-dir", whole)
    middle = ["/model/layers.1/Add_output_0", "/model/layers.1/mlp/down_proj/MatMul_output_0"]
    run("optimize", MODEL, tail, "-O0", "--extract-inputs", ",".join(middle), "--extract-outputs", "logits")
    given = [f"--input={name}={whole / name.replace('/', '_')}.npy" for name in middle]
    run("run", tail, *given, "--reference", "--output-dir", folder / "behind")
    assert (folder / "behind/logits.npy").read_bytes() == (whole / "logits.npy").read_bytes()
    wrong = run("optimize", MODEL, tail, "--extract-inputs", middle[0], "--extract-outputs", "present.0.key", expect=2)
    assert "none of the outputs" in wrong.stderr, wrong.stderr


def check_static(folder):
    fixed = folder / "fixed.onnx"
    run("optimize", MODEL, fixed, "-O1", "--static", "batch_size=1,sequence_length=4", "--static",
        "past_sequence_length=2")
    found = report("verify", MODEL, fixed)
    assert found["pass"] and any("i64[1, 4]" in text for text in found["inputs"]), found["inputs"]
    before, after = report("inspect", MODEL)["nodes"], report("inspect", fixed)["nodes"]
    assert after < before, (before, after)
    wrong = run("optimize", MODEL, folder / "x.onnx", "--static", "batchsize=1", expect=2)
    assert "near are batch_size" in wrong.stderr, wrong.stderr
    run("optimize", MODEL, folder / "x.onnx", "--static", "batch_size=one", expect=2)
    run("verify", fixed, "--shape", "batch_size=3", expect=2)  # there is no such symbol any more


def check_report(folder):
    done = report("optimize", MODEL, folder / "o2.onnx", "-O2")
    fired = {rule: count for step in done["passes"] for rule, count in step["rewrites"].items()}
    assert fired["attention"] == 2 and fired["rms_normalization"] == 5, fired
    for step in done["passes"]:
        assert {rule: len(places) for rule, places in step["places"].items()} == step["rewrites"], step
    places = next(step["places"]["rms_normalization"] for step in done["passes"] if step["rewrites"])
    assert any("/model/layers.0/input_layernorm" in place for place in places), places
    text = run("optimize", MODEL, folder / "o2.onnx", "-O2", "--report").stdout
    assert "constant_folding" in text and "rms_normalization" in text and "5 x" in text, text


def check_usage(folder):
    run("verify", MODEL, "--reference", expect=2)
    run("verify", MODEL, folder, expect=2)
    run("verify", MODEL, "--full", expect=2)
    run("verify", MODEL, "--shape", "nothing=3", expect=2)
    wrong = run("verify", MODEL, "--input", f"ids={CASE / 'logits.npy'}", expect=3)
    assert "ids" in wrong.stderr, wrong.stderr


def main():
    with tempfile.TemporaryDirectory(prefix="lathe-verify-graphs-") as name:
        folder = pathlib.Path(name)
        for check in (check_one, check_two, check_part, check_static, check_report, check_usage):
            check(folder)
    print("graphs are verified, cut and fixed")


main()
