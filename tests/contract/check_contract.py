#!/usr/bin/env python3
"""Holds every verb to contracts.md on a tiny model: the keys of --json, one object on stdout and nothing else, the
exit codes, the streams, defaults of generation_config.json.

    check_contract.py PROGRAM [unittest's arguments]

Python's standard library only.
"""
import hashlib
import json
import os
import pathlib
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import tiny_model

PROGRAM = ""
LIMIT = 60  # seconds; everything here takes a fraction of one
TESTS = pathlib.Path(__file__).resolve().parent.parent
MEMORY = {"peak_rss_bytes": int, "peak_anon_bytes": int}
NUMBER = (int, float)


def keys_of(value, wanted, where="the result"):
    """Compares a JSON value with its description: types, {key: description} and [description of each]."""
    if isinstance(wanted, dict):
        assert isinstance(value, dict), f"{where}: expected an object, found {value!r}"
        assert set(wanted) <= set(value), f"{where}: lacks {sorted(set(wanted) - set(value))}, has {sorted(value)}"
        for key, inner in wanted.items():
            keys_of(value[key], inner, f"{where}.{key}")
    elif isinstance(wanted, list):
        assert isinstance(value, list), f"{where}: expected a list, found {value!r}"
        for i, item in enumerate(value):
            keys_of(item, wanted[0], f"{where}[{i}]")
    else:
        ok = isinstance(value, wanted) and not (isinstance(value, bool) and wanted is not bool)
        assert ok, f"{where}: expected {wanted}, found {value!r}"


class Contract(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temp = pathlib.Path(tempfile.mkdtemp(prefix="lathe-contract-"))
        cls.addClassCleanup(shutil.rmtree, cls.temp)
        cls.environment = {**os.environ, "XDG_CACHE_HOME": str(cls.temp / "cache")}
        cls.model = tiny_model.make(cls.temp / "tiny")
        cls.engine = cls.temp / "tiny.lathe"

    def lathe(self, *args, code=0, stdin=None):
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=LIMIT, input=stdin,
                              env=self.environment)
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *args, code=0, stdin=None):
        """The one value on stdout. Without -q nothing but it may be there either; with -q stderr is silent."""
        loud = self.lathe(*args, "--json", code=code, stdin=stdin)
        value = json.loads(loud.stdout)
        self.assertEqual(loud.stdout.count("\n"), 1, loud.stdout)
        self.assertNotIn("\x1b", loud.stdout + loud.stderr)
        self.assertNotIn("\r", loud.stderr, "progress although this is no terminal")
        return value

    def built(self):
        if not self.engine.exists():
            self.lathe("build", self.model, "-o", self.engine, "-t", 1, "--no-verify")
        return self.engine

    def test_run(self):
        wanted = {"text": str, "tokens": [int], "prompt_tokens": int, "finish_reason": str,
                  "timings": {"load_ms": NUMBER, "prefill_ms": NUMBER, "prefill_tps": NUMBER, "decode_tps": NUMBER},
                  "memory": MEMORY}
        for how in (("-p", "hello"), ("--tokens", "5,6,7"), ("-p", "hello", "--chat", "--system", "Be brief."),
                    ("-p", "hello", "--beams", 2), ("-p", "hello", "--temp", 0.7, "-s", 3)):
            found = self.json("run", self.built(), *how, "-n", 4, "-t", 1)
            keys_of(found, wanted)
            self.assertEqual(set(found), set(wanted))
            self.assertEqual(set(found["timings"]), set(wanted["timings"]))
            self.assertIn(found["finish_reason"], ("stop", "length"))
            self.assertLessEqual(len(found["tokens"]), 4)
            self.assertGreater(found["timings"]["load_ms"], 0)
        found = self.json("run", self.built(), "-p", "hello", "-n", 0, "-t", 1)
        self.assertEqual((found["tokens"], found["text"], found["prompt_tokens"]), ([], "", 5))
        spoken = self.lathe("run", self.built(), "-p", "hello", "-n", 4, "-t", 1, "-q")
        self.assertEqual(spoken.stderr, "")
        text = self.json("run", self.built(), "-p", "hello", "-n", 4, "-t", 1)["text"]
        self.assertEqual(spoken.stdout.rstrip("\n"), text.rstrip("\n"))

    def test_prompt_from_standard_input(self):
        said = self.json("run", self.built(), "-p", "hello", "-n", 4, "-t", 1)["tokens"]
        piped = self.json("run", self.built(), "-f", "-", "-n", 4, "-t", 1, stdin="hello")["tokens"]
        self.assertEqual(piped, said)

    def test_penalties_and_bias(self):
        def tokens(*how):
            return self.json("run", self.built(), "-p", "hello", "-n", 6, "-t", 1, "--ignore-eos", *how)["tokens"]

        plain = tokens()
        self.assertEqual(tokens("--presence-penalty", 0, "--frequency-penalty", 0), plain)
        self.assertEqual(tokens("--logit-bias", "9=1e5"), [9] * 6)
        self.assertNotIn(plain[0], tokens("--logit-bias", f"{plain[0]}=-inf"))
        self.assertEqual(len(set(tokens("--presence-penalty", 1e4))), 6)  # nothing twice
        # Both tokens are far ahead of all others; the penalty makes them alternate.
        twice = tokens("--logit-bias", "9=5000", "--logit-bias", "8=5000", "--frequency-penalty", 500)
        self.assertEqual(sorted(twice), [8, 8, 8, 9, 9, 9])

    def test_generation_config(self):
        """What the model wishes for holds until the user says otherwise."""
        def generated(name, generation, *how):
            model = tiny_model.make(self.temp / name, generation)
            return len(self.json("run", model, "-p", "hello", "-t", 1, "--ignore-eos", *how)["tokens"])

        self.assertEqual(generated("new", {"max_new_tokens": 7}), 7)
        self.assertEqual(generated("both", {"max_new_tokens": 7, "max_length": 30}), 7)
        self.assertEqual(generated("length", {"max_length": 30}), 25)  # the prompt has five
        self.assertEqual(generated("short", {"max_length": 3}), 0)
        self.assertEqual(generated("said", {"max_new_tokens": 7}, "-n", 9), 9)
        for wrong in (0, -1, "many"):
            model = tiny_model.make(self.temp / f"wrong{wrong}", {"max_new_tokens": wrong})
            error = self.json("run", model, "-p", "hello", "-t", 1, code=3)["error"]
            self.assertIn("max_new_tokens", error["message"] + " ".join(error["context"]))

    def test_build_and_verify(self):
        gate = {"name": str, "value": NUMBER, "bound": NUMBER, "pass": bool}
        receipt = {"pass": bool, "gates": [gate], "first_difference": (dict, type(None))}
        path = self.temp / "built.lathe"
        found = self.json("build", self.model, "-o", path, "-t", 1)
        keys_of(found, {"engine": str, "bytes": int, "seconds": NUMBER, "verified": bool, "receipt": receipt,
                        "memory": MEMORY})
        self.assertEqual((found["bytes"], found["verified"]), (path.stat().st_size, True))
        # Built again from the engine, it still says which files the model came from.
        again = self.json("build", path, "-o", self.temp / "again.lathe", "-t", 1)
        self.assertEqual(again["receipt"]["sources"], found["receipt"]["sources"])
        self.assertEqual([source["file"] for source in again["receipt"]["sources"]], ["model.safetensors"])
        for what in ((path,), (path, path), (self.model,), (path, "--precision", "fp32")):
            found = self.json("verify", *what, "-t", 1)
            keys_of(found, receipt)
            self.assertTrue(found["pass"])
            self.assertTrue(found["gates"])
        self.receipts_are_not_weakened(path)
        other = tiny_model.make(self.temp / "other", config={"rope_parameters": {"rope_type": "default",
                                                                                "rope_theta": 7.0}})
        found = self.json("verify", path, other, "-t", 1, code=1)
        keys_of(found, receipt)
        self.assertFalse(found["pass"])
        keys_of(found["first_difference"], {"node": str, "tensor": str, "index": [int], "max_abs": NUMBER,
                                            "expected": NUMBER, "found": NUMBER})

    def receipts_are_not_weakened(self, path):
        """A receipt says how it was made, and none of reduced input replaces one of --full."""
        flags = {"full": bool, "precision": str, "isa": str, "threads": int, "text": str, "text_sha256": str,
                 "text_tokens": int, "tokens": int}
        text = self.temp / "text.txt"
        text.write_text("once upon a time there was " * 40)
        made = self.json("verify", path, "-t", 1, "--full", "--text", text, "--write")["flags"]
        keys_of(made, flags)
        self.assertEqual((made["full"], made["threads"], made["text"]), (True, 1, "text.txt"))
        self.assertEqual(made["text_sha256"], hashlib.sha256(text.read_bytes()).hexdigest())
        self.assertGreater(made["text_tokens"], 64)
        before = path.read_bytes()
        for weaker in ((), ("--full", "--text", "short.txt")):
            (self.temp / "short.txt").write_text("once")
            error = self.json("verify", path, "-t", 1, "--write", *(self.temp / w if w == "short.txt" else w
                                                                    for w in weaker), code=2)["error"]
            self.assertIn("lathe build", error["message"])
            self.assertEqual(path.read_bytes(), before)
        self.assertEqual(self.json("inspect", path)["receipt"]["flags"], made)
        self.assertIn("made with --full, --threads 1", self.lathe("inspect", path).stdout)

    def test_bench(self):
        found = self.json("bench", self.built(), "--prompt", "4,8", "--generate", 2, "--depth", "0,16", "--sequences",
                          "1,2", "--threads", 1, "--repeat", 2)
        result = {"test": str, "prompt": int, "generate": int, "depth": int, "sequences": int, "samples": [NUMBER],
                  "median": NUMBER, "unit": str}
        keys_of(found, {"conditions": dict, "results": [result], "peers": [result]})
        self.assertTrue(found["results"])
        self.assertTrue(all(len(r["samples"]) == 2 for r in found["results"]))

    def test_tokenize(self):
        texts = ["hello", "", "a</s>b"]
        ids = self.json("tokenize", self.model, "--stdin-json", stdin=json.dumps(texts))
        keys_of(ids, [[int]])
        self.assertEqual([len(i) for i in ids], [5, 0, 3])
        self.assertEqual(ids[2][1], 2)  # special tokens in the text are recognised
        back = self.json("detokenize", self.model, "--stdin-json", stdin=json.dumps(ids))
        self.assertEqual(back, texts)
        one = self.json("tokenize", self.built(), "hello")
        self.assertEqual(one, ids[0])
        self.assertEqual(self.json("detokenize", self.model, *one), "hello")

    def test_inspect(self):
        kernel = {"op": str, "weights": [str], "kernel": str, "compute": str, "instructions": int, "weight_bytes": int,
                  "example": str, "refusals": [{"kernel": str, "reason": str}]}
        contract = {"architecture": str, "vocab_size": int, "context_length": int, "licence": str}
        found = self.json("inspect", self.model, "--hash", "--tensors")
        keys_of(found, {"path": str, "kind": str, "contract": contract, "parameters": int, "tensor_bytes": int,
                        "tensor_kinds": dict, "build": {"disk_bytes": int, "memory_bytes": int, "seconds": NUMBER},
                        "sha256": dict, "tensors": dict, "licence": str, "tokenizer": str, "kernels": [kernel]})
        self.assertEqual((found["kind"], found["tokenizer"]), ("huggingface", "BPE"))
        self.assertEqual(self.json("inspect", TESTS / "arch/gguf_llama_f16/model.gguf")["kind"], "gguf")
        found = self.json("inspect", self.built(), "--plan", "--graph", "--hash")
        keys_of(found, {"kind": str, "hash": str, "contract": contract, "instructions": int, "compute": str, "kv": str,
                        "plan": str, "graph": str, "sha256": dict, "device": str, "isa": dict, "kernels": [kernel]})
        self.assertEqual((found["kind"], found["device"]), ("engine", "cpu"))
        products = [use for use in found["kernels"] if use["op"] == "lathe.Linear"]
        self.assertEqual([(use["kernel"], use["weights"]) for use in products], [("cpu.linear", ["f32 in f32_panel"])])

    def test_inspect_names_refused_kernels(self):
        """No packed layout holds Q3_K: its weights are widened, and what integers need is not there."""
        model = TESTS / "arch/gguf_llama_q3_k/model.gguf"
        products = [use for use in self.json("inspect", model)["kernels"] if use["op"] == "lathe.Linear"]
        refusals = [refusal for use in products for refusal in use["refusals"]]
        self.assertIn("cpu.linear in i16", [refusal["kernel"] for refusal in refusals])
        text = self.lathe("inspect", model).stdout
        self.assertIn(f"not cpu.linear in i16: {refusals[0]['reason']}", text)

    def test_inspect_onnx_by_content(self):
        onnx = self.temp / "m.onnx"
        self.lathe("export", self.model, onnx)
        shutil.copy(onnx, self.temp / "renamed.bin")
        for path in (onnx, self.temp / "renamed.bin"):
            found = self.json("inspect", path)
            keys_of(found, {"kind": str, "opsets": [str], "nodes": int, "operators": dict, "inputs": int,
                            "outputs": int, "initializers": int})
            self.assertEqual(found["kind"], "onnx")
        self.assertIn("m.onnx", self.json("inspect", onnx, "--hash")["sha256"])

    def test_licence(self):
        def licence(name, card):
            return self.json("inspect", tiny_model.make(self.temp / name, card=card))["licence"]

        self.assertEqual(licence("plain", "---\nlanguage: en\nlicense: apache-2.0\n---\n# Tiny\n"), "apache-2.0")
        self.assertEqual(licence("quoted", "---\nlicense: \"mit\"\n---\n"), "mit")
        self.assertEqual(licence("list", "---\nlicense:\n- mit\n- apache-2.0\n---\n"), "mit")
        self.assertEqual(licence("named", "---\nlicense: other\nlicense_name: my-licence\n---\n"), "my-licence")
        self.assertEqual(licence("none", "# Tiny\nlicense: mit\n"), "")
        self.assertEqual(licence("below", "---\nlanguage: en\n---\nlicense: mit\n"), "")
        self.assertEqual(licence("control", "---\nlicense: m\x1b[31mit\n---\n"), "")

    def test_export_and_optimize(self):
        onnx = self.temp / "model.onnx"
        found = self.json("export", self.model, onnx)
        keys_of(found, {"destination": str, "opset": int, "nodes": int, "bytes": int, "seconds": NUMBER,
                        "memory": MEMORY})
        for level in ((), ("-O1",), ("-O", "1"), ("-O2",)):
            found = self.json("optimize", onnx, self.temp / "smaller.onnx", *level)
            keys_of(found, {"nodes_before": int, "nodes_after": int,
                            "passes": [{"name": str, "ms": NUMBER, "nodes_before": int, "nodes_after": int}]})
            self.assertLessEqual(found["nodes_after"], found["nodes_before"])

    def test_doctor(self):
        found = self.json("doctor")
        keys_of(found, {"version": str, "engine_format": int, "threads": int, "isa": [str],
                        "available_memory_bytes": int, "memory_bandwidth_bytes_per_s": NUMBER,
                        "checks": [{"name": str, "found": bool, "detail": str, "needed_for": str, "remedy": str}],
                        "cuda": {"abi_hash": str, "library": str, "library_abi_hash": str, "architectures": str,
                                 "runtime_version": str, "driver_version": str,
                                 "devices": [{"index": int, "name": str, "compute_capability": str,
                                              "multiprocessors": int, "memory_total_bytes": int,
                                              "memory_free_bytes": int, "usable": bool, "problem": str,
                                              "remedy": str}]}})
        self.assertEqual([c["name"] for c in found["checks"] if "kernels" in c["name"] and c["found"]],
                         [f"{isa} kernels" for isa in found["isa"]])
        for check in found["checks"]:
            self.assertTrue(check["needed_for"], check)
        closed = subprocess.run([PROGRAM, "doctor", "--json"], capture_output=True, text=True, timeout=LIMIT,
                                env={**self.environment, "XDG_CACHE_HOME": "/dev/null/below"})
        cache = next(c for c in json.loads(closed.stdout)["checks"] if c["name"] == "engine cache")
        self.assertFalse(cache["found"])
        self.assertTrue(cache["remedy"])

    def test_chat(self):
        engine = self.built()
        self.assertEqual(self.json("chat", engine, code=2)["error"]["code"], "usage")
        talk = self.lathe("chat", engine, "-n", 4, "-t", 1, "-q", stdin="hello\n/reset\nhello\n/nonsense\n\n/exit\nno\n")
        first, second = talk.stdout.split("\n")[:2]
        self.assertEqual(first, second)  # a fresh conversation after /reset
        self.assertEqual(talk.stdout.count("\n"), 2, talk.stdout)
        noted = self.lathe("chat", engine, "-n", 4, "-t", 1, stdin="/nonsense\n")
        self.assertIn("/nonsense", noted.stderr)

    def test_context_that_does_not_fit(self):
        """A model whose cache would take 800 GB: chat takes what fits and says so; who asks for a number gets it or
        a refusal that names the flag."""
        huge = 1 << 31
        model = tiny_model.make(self.temp / "huge", config={"max_position_embeddings": huge})
        engine = self.temp / "huge.lathe"
        self.lathe("build", model, "-o", engine, "-t", 1, "--no-verify")
        talk = self.lathe("chat", engine, "-n", 4, "-t", 1, stdin="hello\n/exit\n")
        self.assertIn(str(huge), talk.stderr)
        self.assertIn("--ctx", talk.stderr)
        self.assertTrue(talk.stdout)
        for verb, how in (("run", ("-p", "hello", "-n", huge - 100)), ("chat", ("--ctx", huge))):
            failed = self.lathe(verb, engine, *how, "-t", 1, code=5, stdin="hello\n")
            self.assertIn("--ctx", failed.stderr)
        self.lathe("run", engine, "-p", "hello", "-n", 2, "--ctx", 64, "-t", 1)

    def test_failures(self):
        """One example of each exit code; tests/bad_input has the rest."""
        for code, name, args in [(2, "usage", ("run", self.built())), (3, "not_found", ("inspect", self.temp / "no")),
                                 (4, "unsupported", ("run", self.built(), "--tokens", 1, "--precision", "fp16"))]:
            found = self.json(*args, code=code)
            self.assertEqual(set(found), {"error"})
            keys_of(found["error"], {"code": str, "message": str, "context": [str]})
            self.assertEqual(found["error"]["code"], name)

    def test_interrupted(self):
        """Chat waits for a line that never comes; the note says that it is ready."""
        process = subprocess.Popen([PROGRAM, "chat", str(self.built()), "-t", "1"], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
        while "Ctrl-C" not in process.stderr.readline():
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(LIMIT), 130)
        for stream in (process.stdin, process.stdout, process.stderr):
            stream.close()

    def test_progress_on_a_terminal(self):
        """The line of progress has units, and whatever comes next begins on a line of its own."""
        main, side = pty.openpty()
        process = subprocess.Popen([PROGRAM, "build", str(self.model), "-o", str(self.temp / "p.lathe"), "-t", "1"],
                                   stdout=side, stderr=side, env=self.environment)
        os.close(side)
        seen = b""
        try:
            while part := os.read(main, 1 << 16):
                seen += part
        except OSError:  # the other end is closed
            pass
        os.close(main)
        self.assertEqual(process.wait(LIMIT), 0)
        lines = seen.decode().replace("\r\n", "\n").split("\n")
        progress = [line for line in lines if "\r" in line]
        self.assertTrue(progress, "no progress was shown")
        shown = [text for line in progress for text in line.split("\r")[1:]]
        weights = [text for text in shown if "weights" in text]
        gates = [text for text in shown if text.startswith("verify")]
        self.assertEqual(len(weights) + len(gates), len(shown), shown)
        self.assertTrue(weights and gates, shown)
        for text in weights:
            self.assertRegex(text, r"^[a-z ]+: \d+\.\d of \d+\.\d MB(, \d+ s left)?\x1b\[K$")
        for text in gates:
            self.assertRegex(text, r" \[#*-*\] \d+ of \d+(, [\d.]+ m?s each)?(, \d+ s left)?\x1b\[K$")
        self.assertTrue(any(line.startswith("verification: PASS") for line in lines), lines)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
