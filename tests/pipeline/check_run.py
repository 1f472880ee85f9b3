#!/usr/bin/env python3
"""Holds `lathe run` against the tokens of transformers' generate() (generation.json), and against its contract:
JSON fields, exit codes, logits. Standard library only. Usage: check_run.py LATHE"""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

LATHE = sys.argv[1]
TESTS = pathlib.Path(__file__).resolve().parent.parent


def lathe(*arguments, code=0):
    done = subprocess.run([LATHE, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}, expected {code}: {done.stderr}"
    return done.stdout


def run(*arguments, code=0):
    return json.loads(lathe("run", *arguments, "--json", "-q", code=code))


def engine_of(folder, case):
    """An engine of the model with another end token (-1: none)."""
    path = folder / f"{case['model']}-{case['eos']}.lathe"
    if not path.exists():
        source = folder / "source"
        shutil.copytree(TESTS / "arch" / case["model"], source)
        config = json.loads((source / "config.json").read_text())
        config["eos_token_id"] = case["eos"]
        (source / "config.json").write_text(json.dumps(config))
        lathe("build", source, "-o", path, "--precision", "fp32", "--no-verify", "-q")
        shutil.rmtree(source)
    return path


def check_goldens(folder):
    cases = json.loads((TESTS / "pipeline" / "generation.json").read_text())
    for case in cases:
        found = run(engine_of(folder, case), "--tokens", ",".join(map(str, case["prompt"])), "--max-tokens", 16,
                    "--beams", case["beams"], "--repeat-penalty", case["repetition_penalty"], "-t", 1)
        for key in ["tokens", "finish_reason"]:
            assert found[key] == case[key], f"{case}: found {found}"
    return cases


def check_contract(folder, case):
    engine, tokens = engine_of(folder, case), ",".join(map(str, case["prompt"]))
    found = run(engine, "--tokens", tokens, "-n", 3)
    assert list(found) == ["text", "tokens", "prompt_tokens", "finish_reason", "timings", "memory"], found
    assert list(found["timings"]) == ["load_ms", "prefill_ms", "prefill_tps", "decode_tps"], found
    assert list(found["memory"]) == ["peak_rss_bytes", "peak_anon_bytes"], found
    assert found["prompt_tokens"] == len(case["prompt"]) and found["tokens"] == case["tokens"][:3], found

    dump = folder / "logits.npy"
    found = run(engine, "--tokens", tokens, "-n", 0, "--dump-logits", dump)
    assert found["tokens"] == [] and found["finish_reason"] == "length", found
    mine, theirs = read_npy(dump), read_npy(TESTS / "arch" / case["model"] / "logits.npy")
    assert mine[0][0] == len(case["prompt"]) and mine[0][1] == theirs[0][-1], (mine[0], theirs[0])
    # The golden's rows: those of the prompt come first.
    worst = max(abs(a - b) for a, b in zip(mine[1], theirs[1]))
    assert worst < 1e-4, worst

    # The same seed twice, another once; a temperature near 0 is greedy.
    sampled = [run(engine, "--tokens", tokens, "-n", 12, "--temp", 1.5, "--seed", seed)["tokens"] for seed in [1, 1, 2]]
    assert sampled[0] == sampled[1] != sampled[2], sampled
    assert run(engine, "--tokens", tokens, "-n", 5, "--temp", 1e-6)["tokens"] == case["tokens"][:5]

    # Prompt and answer never exceed the context.
    found = run(engine, "--tokens", tokens, "-n", 50, "--ctx", len(case["prompt"]) + 2, "--ignore-eos")
    assert len(found["tokens"]) == 2 and found["finish_reason"] == "length", found
    error = run(engine, "--tokens", tokens, "--ctx", 5, code=3)["error"]
    assert error["code"] == "invalid_input" and "5" in error["message"], error
    assert str(len(case["prompt"])) in error["message"], error

    for bad, code in [(["-n", "-1"], 2), (["--top-p", "0"], 2), (["--temp", "-1"], 2), (["--beams", "0"], 2),
                      (["--beams", "2", "--temp", "1"], 2), (["--kv", "int3"], 2), (["--kv", "int8"], 4), (["--chat"], 2),
                      (["--stop", "x"], 2), (["--device", "tpu"], 4), (["-p", "text"], 2)]:
        run(engine, "--tokens", tokens, *bad, code=code)
    run(engine, "--tokens", "1,100000", code=2)
    run(engine, "-p", "text", code=4)  # no tokenizer
    run(folder / "absent.lathe", "-p", "text", code=3)


def read_npy(path):
    data = path.read_bytes()
    length = struct.unpack("<H", data[8:10])[0]
    header = eval(data[10:10 + length], {})
    assert header["descr"] == "<f4" and not header["fortran_order"], header
    return header["shape"], struct.unpack(f"<{(len(data) - 10 - length) // 4}f", data[10 + length:])


with tempfile.TemporaryDirectory() as name:
    os.environ["XDG_CACHE_HOME"] = name
    goldens = check_goldens(pathlib.Path(name))
    check_contract(pathlib.Path(name), goldens[0])
print(f"{len(goldens)} generations as transformers, contract kept")
