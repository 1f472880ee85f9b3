#!/usr/bin/env python3
"""Holds `lathe run` on a real model to transformers (real_model.json, made by tools/make_real_model_goldens.py): token
ids, logits, greedy tokens, without rounding and in the model's own precision. Standard library only.

Usage: LATHE_TEST_MODEL=SmolLM2-135M-Instruct.Q4_1.gguf real_model.py LATHE
"""
import hashlib
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

LATHE = sys.argv[1]
MODEL = os.environ.get("LATHE_TEST_MODEL", "")
GOLDEN = json.loads((pathlib.Path(__file__).resolve().parent / "real_model.json").read_text())
# Bounds of a logit's error as a share of the largest logit: gate 2's for fp32. A KL divergence grows with the square
# of the error, so a precision whose band is 100 times wider (16-bit activations: 1e-4 against 1e-6) may err 10 times
# as much.
BOUNDS = {"fp32": 1e-4, "": 1e-3}


def lathe(*arguments, text=None):
    done = subprocess.run([LATHE, *map(str, arguments), "--json", "-q"], input=text, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: exit code {done.returncode}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def last_row(path, rows, columns):
    data = path.read_bytes()
    length = struct.unpack("<H", data[8:10])[0]
    header = eval(data[10:10 + length], {})
    assert header["descr"] == "<f4" and not header["fortran_order"], header
    assert header["shape"][0] == rows and header["shape"][1] >= columns, f"expected {rows} rows, found {header}"
    return struct.unpack(f"<{header['shape'][1]}f", data[-4 * header["shape"][1]:])


def check_tokens():
    found = lathe("tokenize", MODEL, "--stdin-json", text=json.dumps([case["text"] for case in GOLDEN["cases"]]))
    for case, ids in zip(GOLDEN["cases"], found, strict=True):
        assert ids == case["ids"], f"{case['name']}: expected {case['ids']}, found {ids}"


def check_case(case, precision, folder):
    """The error of the logits as a share of the largest, and how many greedy tokens are equal."""
    what = f"{case['name']}, precision {precision or 'of the model'}"
    # A conversation goes in as its message: the rendered template is part of what is tested.
    prompt = ["--chat", "-p", case["message"]] if "message" in case else ["-p", case["text"]]
    dump = folder / "logits.npy"
    found = lathe("run", MODEL, *prompt, *(["--precision", precision] if precision else []), "--temp", 0,
                  "--max-tokens", len(case["greedy"]), "--ignore-eos", "--dump-logits", dump)
    assert found["prompt_tokens"] == len(case["ids"]), f"{what}: {found['prompt_tokens']} prompt tokens"

    logits = last_row(dump, len(case["ids"]), 1 + max(token for token, _ in case["top"]))
    bound = BOUNDS[precision] * case["largest"]
    errors = {token: abs(logits[token] - value) for token, value in case["top"]}
    worst = max(errors.values())
    assert worst <= bound, f"{what}: logit {max(errors, key=errors.get)} is off by {worst}, bound {bound}"
    # No other token may have come in among the largest.
    least = case["top"][-1][1]
    over = [i for i, logit in enumerate(logits) if logit > least + bound and i not in errors]
    assert not over, f"{what}: {over} are above the golden's largest {len(errors)}"

    for i, (mine, theirs, margin) in enumerate(zip(found["tokens"], case["greedy"], case["margins"], strict=True)):
        if mine != theirs:
            # From a place on where both errors together may turn the order, texts differ with good reason.
            assert margin <= 2 * bound, f"{what}: token {i} is {mine}, expected {theirs}, which leads by {margin}"
            return worst / case["largest"], i
    return worst / case["largest"], len(case["greedy"])


if not MODEL:
    print("skipped: LATHE_TEST_MODEL names no model (scripts/test fetches one)")
    sys.exit(0)
found_hash = hashlib.sha256(pathlib.Path(MODEL).read_bytes()).hexdigest()
assert found_hash == GOLDEN["sha256"], f"{MODEL}: the goldens are of sha256 {GOLDEN['sha256']}, found {found_hash}"
check_tokens()
with tempfile.TemporaryDirectory() as name:
    os.environ["XDG_CACHE_HOME"] = name  # engines are built anew, by this program
    for kind in BOUNDS:
        for golden in GOLDEN["cases"]:
            error, equal = check_case(golden, kind, pathlib.Path(name))
            print(f"{golden['name']:<9} {kind or 'own':<5} logits within {error:.2e} of the largest, "
                  f"{equal} of {len(golden['greedy'])} greedy tokens equal")
