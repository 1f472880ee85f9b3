#!/usr/bin/env python3
"""What lathe does with input it cannot use: exit codes of contracts.md, messages with names and numbers, a JSON
error with --json, nothing left behind, and never a signal.

    bad_input.py PROGRAM [unittest's arguments]

The checkpoints are those of tests/arch, damaged in a temporary folder. Python's standard library only.
"""
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

from checkpoints import Engine, Gguf, Safetensors, shard

ARCH = pathlib.Path(__file__).resolve().parent.parent / "arch"
PROGRAM = ""
EXIT = {"verification": 1, "usage": 2, "invalid_input": 3, "not_found": 3, "io": 3, "unsupported": 4, "resource": 5}
TRUNCATIONS = 24
NOBODY = 65534
HANG = 30  # seconds; everything here takes a fraction of one


class Case(unittest.TestCase):
    """A fresh folder for each test: self.out is where results go, self.cache where `run` keeps its engines."""

    def setUp(self):
        self.temp = pathlib.Path(tempfile.mkdtemp(prefix="lathe-bad-input-"))
        self.addCleanup(shutil.rmtree, self.temp)
        self.out, self.cache = self.temp / "out", self.temp / "cache"
        self.out.mkdir()
        self.verb = 0
        self.program = PROGRAM

    def folder(self, name="llama_gqa"):
        """A copy of a Hugging Face folder."""
        path = self.temp / f"model-{len(os.listdir(self.temp))}"
        shutil.copytree(ARCH / name, path)
        return path

    def gguf(self, name="gguf_llama_f16"):
        path = self.temp / f"model-{len(os.listdir(self.temp))}.gguf"
        shutil.copy(ARCH / name / "model.gguf", path)
        return Gguf(path)

    def lathe(self, *args, file_limit=None, nobody=False, processes=None, cache=None, stdin=subprocess.DEVNULL):
        """`nobody`: without root's rights, whom permissions and limits do not stop."""
        def restrict():
            if file_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
            if processes is not None:
                resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
            if nobody and os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)

        environment = {**os.environ, "XDG_CACHE_HOME": str(cache or self.cache)}
        done = subprocess.run([self.program, *map(str, args)], capture_output=True, timeout=HANG, env=environment,
                              preexec_fn=restrict, stdin=stdin)
        done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode(errors="replace")
        return done

    def let_nobody_in(self):
        """Makes the folder of this test one that nobody may use, with a program in it: the tree may lie below a
        folder that is closed."""
        self.program = self.temp / "lathe"
        shutil.copy(PROGRAM, self.program)
        self.cache.mkdir(exist_ok=True)
        for path in (self.temp, *self.temp.rglob("*")):
            path.chmod(0o755)
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)

    def good(self, *args):
        done = self.lathe(*args)
        self.assertEqual(done.returncode, 0, f"{args}: {done.stderr}")
        return done

    def files(self):
        """All that is in the places where results go."""
        return {path: path.stat().st_mtime_ns for place in (self.out, self.cache) for path in place.rglob("*")
                if path.name != "lathe" or not path.is_dir()}

    def refused(self, code, args, *said, **how):
        """Runs with --json; `code` is one exit code, or several that are right; returns the message."""
        before = self.files()
        done = self.lathe(*args, "--json", **how)
        about = f"{' '.join(map(str, args))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        codes = code if isinstance(code, tuple) else (code,)
        self.assertIn(done.returncode, codes, about)
        error = json.loads(done.stdout)["error"]
        self.assertEqual(EXIT[error["code"]], done.returncode, about)
        self.assertTrue(error["message"], about)
        self.assertTrue(all(isinstance(where, str) for where in error["context"]), about)
        for text in said:
            self.assertIn(str(text), done.stderr, about)
        self.assertEqual(self.files(), before, f"left behind by {about}")
        return done.stderr

    def verbs(self, model):
        """Every verb that reads a checkpoint, as arguments."""
        return [("inspect", model), ("build", model, "-o", self.out / "e.lathe", "-t", 1),
                ("export", model, self.out / "onnx"), ("run", model, "--tokens", "1,2", "-n", 1, "-t", 1),
                ("verify", model, "-t", 1)]

    def refused_by_all(self, code, model, *said):
        for args in self.verbs(model):
            self.refused(code, args, *said)

    def refused_by_two(self, code, model, *said):
        """By inspect and by one other verb, another one each time."""
        verbs = self.verbs(model)
        self.verb = self.verb % (len(verbs) - 1) + 1
        for args in (verbs[0], verbs[self.verb]):
            self.refused(code, args, *said)

    def engine(self, name="e.lathe", source=None):
        path = self.temp / name
        self.good("build", source or ARCH / "llama_gqa", "-o", path, "-t", 1, "--no-verify")
        return Engine(path)

    def places(self, size, interesting):
        """Where to cut a file of `size` bytes: ends of parts and random places, the same each time."""
        places = {0, 1, size - 1} | {place for place in interesting if place < size}
        chance = random.Random(size)
        while len(places) < min(size, TRUNCATIONS):
            places.add(chance.randrange(size))
        return sorted(places)


class CommandLine(Case):
    def test_usage(self):
        model = ARCH / "llama_gqa"
        for args in [("inspect", model, "--colour"), ("inspect",), ("paint", model), ("build", model),
                     ("export", model), ("run", model, "-n", "many"), ("inspect", model, model)]:
            self.refused(2, args)
        self.assertEqual(self.lathe().returncode, 2)
        self.refused(2, ("inspect", model, "--colour"), "--colour")
        self.refused(2, ("run", model), "--prompt", "--tokens")
        self.refused(2, ("run", model, "--tokens", "1", "-p", "x"), "2")
        self.refused(2, ("run", model, "--tokens", "1", "--threads", "-3", ), "-3")
        self.refused(2, ("run", model, "--tokens", "1", "--isa", "mmx"), "mmx")
        self.refused(2, ("build", model, "-o", self.out / "e.lathe", "--precision", "fp7"), "fp7")
        self.refused(4, ("run", model, "--tokens", "1", "--device", "abacus"), "abacus")
        self.refused(2, ("run", model, "--tokens", "1", "--kv", "fp7"), "fp7", "fp32, fp16")
        self.refused(4, ("run", model, "--tokens", "1", "--kv", "int8"), "int8")
        model = self.engine().path
        for bias in ("5", "5=", "=1", "five=1", "5=much", "5=nan"):
            self.refused(2, ("run", model, "--tokens", "1", "--logit-bias", bias))
        self.refused(2, ("run", model, "--tokens", "1", "--logit-bias", "67=1"), 67)
        self.refused(2, ("run", model, "--tokens", "1", "--presence-penalty", 1e9), "presence_penalty")

    def test_either_text_or_list(self):
        tokenizer = ARCH.parent / "text/tokenizers/gpt2.json"
        self.refused(2, ("tokenize", tokenizer), "--stdin-json")
        self.refused(2, ("tokenize", tokenizer, "text", "--stdin-json"), "--stdin-json")
        self.refused(2, ("detokenize", tokenizer), "--stdin-json")
        self.refused(2, ("detokenize", tokenizer, 1, "--stdin-json"), "--stdin-json")
        self.assertEqual(self.good("tokenize", tokenizer, "", "--json").stdout, "[]\n")

    def test_levels(self):
        source = ARCH.parent / "io/onnx"
        model = next(path for path in sorted(source.rglob("*.onnx")))
        for level in ("2", "3", "4"):
            self.refused(4, ("optimize", model, self.out / "m.onnx", f"-O{level}"), f"-O{level}", "-O1")
        for level in ("0", "5", "fast"):
            self.refused(2, ("optimize", model, self.out / "m.onnx", f"-O{level}"))

    def test_inspect_flags(self):
        model = ARCH / "llama_gqa"
        engine = self.engine().path
        for flag in ("--plan", "--graph"):
            self.refused(2, ("inspect", model, flag), flag)
            self.assertIn(flag[2:], json.loads(self.good("inspect", engine, flag, "--json").stdout))
        self.refused(2, ("inspect", engine, "--tensors"), "--tensors")

    def test_threads(self):
        """A limit on processes binds nobody, not root."""
        model = self.folder()
        engine = self.engine().path
        self.let_nobody_in()
        self.refused(5, ("run", engine, "--tokens", "1,2", "-n", 1, "-t", 64), "threads", nobody=True, processes=8)

    def test_export_options(self):
        model = ARCH / "llama_gqa"
        for opset in (12, 25, -1, 1 << 30):
            self.refused(4, ("export", model, self.out / "x", "--opset", opset), opset, 13, 24)
        self.refused(2, ("export", model, self.out / "x", "--opset", 1 << 40), 1 << 40)
        self.refused(4, ("export", ARCH / "gguf_llama_q4_0/model.gguf", self.out / "x", "--keep-quantized", "--opset", 18),
                     18, 21)
        for static in ("nonsense", "batch=x", "batch=", "colour=3", "batch=0", "batch=-1", "past=-1", "batch=1e3",
                       "=3"):
            self.refused(2, ("export", model, self.out / "x", "--static", static), static.split("=")[0])
        # Sizes whose products do not fit.
        for huge in ("batch=" + "9" * 20, f"batch={2**31},sequence={2**31},past={2**31}"):
            self.refused((2, 3), ("export", model, self.out / "x", "--static", huge))

    def test_destinations(self):
        model = ARCH / "llama_gqa"
        full = self.out / "full"
        full.mkdir()
        (full / "mine.txt").write_text("keep")
        self.refused(2, ("export", model, full), full)
        self.assertEqual((full / "mine.txt").read_text(), "keep")
        self.refused((2, 3), ("export", model, full / "mine.txt"), full / "mine.txt")
        self.refused((2, 3), ("export", model, full / "mine.txt", "--overwrite"), full / "mine.txt")
        self.refused(3, ("export", model, full / "mine.txt" / "x"), full / "mine.txt")
        self.refused((2, 3), ("build", model, "-o", full, "-t", 1), full)
        self.refused(3, ("build", model, "-o", self.out / "no" / "e.lathe", "-t", 1), self.out / "no")
        self.refused(3, ("export", model, self.out / "no" / "m.onnx"), self.out / "no")
        self.assertEqual((full / "mine.txt").read_text(), "keep")
        self.good("export", model, full, "--overwrite")
        self.assertEqual(sorted(os.listdir(self.out)), ["full"])

    def test_prompt(self):
        model = self.engine().path
        self.refused(3, ("run", model, "--tokens", ",".join("1" * 10), "--ctx", 4), 10, 4)
        self.refused(3, ("run", model, "--tokens", ",".join("1" * 129)), 129, 128)
        self.refused(2, ("run", model, "--tokens", "1", "--ctx", 129), 129, 128)
        self.refused(2, ("run", model, "--tokens", "1", "--ctx", -1), -1)
        for token in (67, -1, 2**31 - 1):
            self.refused((2, 3), ("run", model, f"--tokens=1,{token}", "-t", 1), token, 67)
        for tokens in ("1,two", str(2**40), "1.5"):
            self.refused(2, ("run", model, f"--tokens={tokens}"))
        self.refused((3, 4), ("run", model, "-p", "text without a tokenizer"), "tokenizer")


class Paths(Case):
    def test_nothing_there(self):
        self.refused_by_all(3, self.temp / "nowhere", "nowhere")
        empty = self.temp / "empty"
        empty.mkdir()
        self.refused_by_all(3, empty, empty, "config.json")
        text = self.temp / "notes.txt"
        for content in ("", "hello"):
            text.write_text(content)
            self.refused_by_all(3, text, text)

    def test_not_a_file(self):
        """Works as root too, whom permissions do not stop."""
        for name in ("config.json", "model.safetensors"):
            model = self.folder()
            (model / name).unlink()
            (model / name).mkdir()
            self.refused_by_two(3, model, name)
        pipe = self.temp / "pipe.gguf"
        os.mkfifo(pipe)
        self.refused_by_all(3, pipe, "pipe.gguf")
        pipe = self.folder() / "model.safetensors"
        pipe.unlink()
        os.mkfifo(pipe)
        # A pipe whose other end nobody opens would wait for ever.
        with open(os.open(pipe, os.O_RDWR), "rb"):
            self.refused_by_all(3, pipe.parent, "model.safetensors")

    def test_pipes_and_devices(self):
        """Nobody writes to these pipes: whoever opens one the ordinary way waits for ever."""
        for name in ("config.json", "tokenizer.json", "model.safetensors"):
            pipe = self.folder() / name
            pipe.unlink(missing_ok=True)
            os.mkfifo(pipe)
            self.refused_by_all(3, pipe.parent, name, "pipe")
        self.refused_by_two(3, "/dev/zero", "character device")
        device = self.folder() / "config.json"
        device.unlink()
        device.symlink_to("/dev/zero")
        self.refused_by_two(3, device.parent, "config.json", "character device")

    def test_other_kinds_of_files(self):
        """Well formed, but not something that this verb takes."""
        model = ARCH / "llama_gqa"
        self.refused(4, ("run", model / "model.safetensors", "--tokens", 1), "safetensors", "config.json")
        self.refused(4, ("export", self.engine().path, self.out / "x"), "engine")

    def test_permission(self):
        for name in ("config.json", "model.safetensors"):
            model = self.folder()
            self.let_nobody_in()
            (model / name).chmod(0)
            for args in self.verbs(model):
                self.refused(3, args, name, nobody=True)
        # A folder that may not be searched hides what is in it.
        model = self.folder()
        self.let_nobody_in()
        model.chmod(0)
        for args in self.verbs(model):
            self.refused(3, args, model, nobody=True)
        model.chmod(0o755)
        self.out.chmod(0o555)
        self.refused(3, ("build", model, "-o", self.out / "e.lathe"), self.out, nobody=True)
        self.refused(3, ("build", model, "-o", self.temp / "e", "--dump", self.out / "dump"), self.out, nobody=True)
        self.out.chmod(0o755)
        self.cache.chmod(0o555)
        self.refused(3, ("run", model, "--tokens", "1,2", "-n", 1), self.cache, nobody=True)

    def test_no_place_for_the_cache(self):
        """Works as root too: a file where a folder should be."""
        file = self.temp / "file"
        file.write_text("")
        self.refused(3, ("run", ARCH / "llama_gqa", "--tokens", "1,2", "-n", 1), file, cache=file / "below")
        self.refused(3, ("verify", ARCH / "llama_gqa"), file, cache=file)
        self.refused(3, ("build", ARCH / "llama_gqa", "-o", self.out / "e", "--dump", file / "dump"), file)

    def test_missing_parts(self):
        model = self.folder()
        (model / "model.safetensors").unlink()
        self.refused_by_all(3, model, "model.safetensors")
        model = self.folder()
        lost = shard(model)[1]
        self.good("inspect", model)
        (model / lost).rename(model / "elsewhere")
        self.refused_by_all(3, model, lost)

    def test_shard_index(self):
        def change(edit, *said):
            model = self.folder()
            files = shard(model)
            path = model / "model.safetensors.index.json"
            index = json.loads(path.read_text())
            changed = edit(index, files)  # None where it changed the index itself
            path.write_text(json.dumps(index if changed is None else changed))
            self.refused_by_two(3, model, "model.safetensors.index.json", *said)

        lm_head = "lm_head.weight"
        change(lambda index, files: index["weight_map"].update({lm_head: files[1]}), lm_head, "00002-of")
        change(lambda index, files: index["weight_map"].update({"ghost.weight": files[0]}), "ghost.weight")
        change(lambda index, files: index["weight_map"].update({lm_head: "../" + files[0]}), "../")
        change(lambda index, files: index["weight_map"].update({lm_head: 7}), lm_head)
        change(lambda index, files: {"weight_map": []}, "weight_map")
        change(lambda index, files: [1, 2])
        change(lambda index, files: {}, "weight_map")


class Configs(Case):
    def config(self, code, text, *said):
        model = self.folder()
        (model / "config.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        self.refused_by_two(code, model, *said)

    def changed(self, code, key, value, *said):
        config = json.loads((ARCH / "llama_gqa/config.json").read_text())
        if value is None:
            del config[key]
        else:
            config[key] = value
        self.config(code, json.dumps(config), *said)

    def test_not_json(self):
        for text in ("", "{", "model_type: llama", "\xff\xfe", b"\xff\xfe\x00", '{"model_type": "llama"} trailing'):
            self.config(3, text, "config.json")
        self.config(3, "[]")
        self.config(3, "{}", "model_type")
        self.config(3, "[" * 1_000_000, "config.json")
        self.config(3, '{"a":' * 100_000 + "1" + "}" * 100_000, "config.json")

    def test_architecture(self):
        self.changed(4, "model_type", "mambo", "mambo", "llama", "gpt_neox")
        self.changed(3, "model_type", 7, "model_type")
        self.changed(3, "model_type", None, "model_type")

    def test_absurd_values(self):
        for key, value in [("num_hidden_layers", 0), ("num_hidden_layers", -1), ("num_hidden_layers", 10**12),
                           ("hidden_size", 10**12), ("hidden_size", 0), ("intermediate_size", -5),
                           ("vocab_size", 0), ("vocab_size", 2**62), ("num_attention_heads", -1),
                           ("num_attention_heads", 0), ("num_key_value_heads", 0), ("num_key_value_heads", -2),
                           ("max_position_embeddings", 0), ("max_position_embeddings", 2**63), ("head_dim", -12),
                           ("head_dim", 2**40), ("hidden_size", 2**64)]:
            self.changed(3, key, value, *([key] if value not in (2**64,) and key != "head_dim" else []))
        for key, value in [("hidden_size", 42.5), ("num_hidden_layers", "two"), ("vocab_size", [67]),
                           ("tie_word_embeddings", "no"), ("rope_parameters", 3), ("rms_norm_eps", "small")]:
            self.changed(3, key, value, *([key] if key != "rope_parameters" else []))
        for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"):
            self.changed(3, key, None, key)

    def test_do_not_fit_together(self):
        self.changed(3, "num_key_value_heads", 4, 6, 4)
        self.changed(3, "num_hidden_layers", 3, "model.layers.2.", 42)
        self.changed(3, "num_hidden_layers", 10000, "model.layers.2.")
        self.changed(3, "num_hidden_layers", 1, "model.layers.1.")
        self.changed(3, "vocab_size", 68, "model.embed_tokens.weight", 68, 67)
        self.changed(3, "hidden_size", 48, "model.embed_tokens.weight", 48, 42)
        self.changed(3, "intermediate_size", 57, "mlp.", 57, 56)
        self.changed(3, "head_dim", 10, "self_attn.q_proj.weight", 60, 72)
        self.changed(3, "tie_word_embeddings", "yes", "tie_word_embeddings")
        self.changed(3, "attention_bias", True, "attention_bias")
        self.changed(4, "hidden_act", "snake", "snake")
        self.changed(3, "eos_token_id", 67, 67)
        self.changed(3, "eos_token_id", ["</s>"], "eos_token_id")

    def test_numbers(self):
        for value in (float("nan"), float("inf"), -1e-5, 0, 1e400):  # json.dumps writes NaN and Infinity
            self.changed(3, "rms_norm_eps", value)
        for value in (0, -1, 1e-300, float("nan")):
            self.changed(3, "rope_parameters", {"rope_type": "default", "rope_theta": value})
        for scaling in ({"rope_type": "linear"}, {"rope_type": "linear", "factor": 0},
                        {"rope_type": "dynamic", "factor": 1e300},
                        {"rope_type": "yarn", "factor": 2, "original_max_position_embeddings": -4},
                        {"rope_type": "yarn", "factor": 2, "beta_fast": 0},
                        {"rope_type": "llama3", "factor": 2, "low_freq_factor": 4, "high_freq_factor": 1}):
            self.changed(3, "rope_parameters", {"rope_theta": 10000, **scaling})
        self.changed(4, "rope_parameters", {"rope_type": "spiral", "factor": 2}, "spiral", "yarn")


class SafetensorsFiles(Case):
    def damaged(self, code, edit, *said, model_name="llama_gqa"):
        model = self.folder(model_name)
        file = Safetensors(model / "model.safetensors")
        edit(file)
        file.write()
        self.refused_by_two(code, model, *said)

    def raw(self, edit, *said):
        model = self.folder()
        path = model / "model.safetensors"
        path.write_bytes(edit(path.read_bytes()))
        self.refused_by_two(3, model, "model.safetensors", *said)

    def test_truncated(self):
        model = self.folder()
        path = model / "model.safetensors"
        whole = path.read_bytes()
        (header,) = struct.unpack_from("<Q", whole)
        verbs = self.verbs(model)
        for i, place in enumerate(self.places(len(whole), [4, 7, 8, 9, header, header + 7, header + 8, header + 9])):
            path.write_bytes(whole[:place])
            self.refused(3, verbs[i % len(verbs)], "model.safetensors")

    def test_header(self):
        for size in (2**20, 2**32, 2**63, 2**64 - 1, 2**64 - 8):
            self.raw(lambda raw: struct.pack("<Q", size) + raw[8:], size)
        self.raw(lambda raw: struct.pack("<Q", 0) + raw[8:])
        for text in (b"[]", b"{", b'{"a":' * 50_000, b"{" + b"[" * 100_000, b'{"a":1}', b'{"a":{}}', b"{}", b"\xff" * 9,
                     b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
                     b'{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}'):
            self.raw(lambda raw: struct.pack("<Q", len(text)) + text + raw[-4:])
        self.raw(lambda raw: raw + b"\0")

    def test_twice(self):
        entry = b'"lm_head.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
        text = b"{" + entry + b"," + entry + b"}"
        self.raw(lambda raw: struct.pack("<Q", len(text)) + text + raw[-4:], "lm_head.weight")

    def test_offsets(self):
        name = "model.norm.weight"

        def offsets(edit):
            def change(file):
                begin, end = file.header[name]["data_offsets"]
                file.header[name]["data_offsets"] = edit(begin, end)
            return change

        self.damaged(3, offsets(lambda begin, end: [begin - 4, end]), name)
        self.damaged(3, offsets(lambda begin, end: [begin - 4, end - 4]), "model.safetensors")  # overlaps
        self.damaged(3, offsets(lambda begin, end: [0, end - begin]), "model.safetensors")
        self.damaged(3, offsets(lambda begin, end: [begin, end + 4]), "model.safetensors")
        self.damaged(3, offsets(lambda begin, end: [end, begin]), "model.safetensors")
        self.damaged(3, offsets(lambda begin, end: [begin, 2**64 - 1]), "model.safetensors")
        self.damaged(3, offsets(lambda begin, end: [2**64 - 4, 2**64 - 1]), name)
        self.damaged(3, offsets(lambda begin, end: [begin, 2**64]), name)
        self.damaged(3, offsets(lambda begin, end: [begin]), name)
        self.damaged(3, offsets(lambda begin, end: [begin, end, end]), name)
        self.damaged(3, offsets(lambda begin, end: []), name)

    def test_shapes_and_types(self):
        name = "model.layers.1.mlp.down_proj.weight"  # f32[42,56]

        def entry(**change):
            return lambda file: file.header[name].update(change)

        self.damaged(3, entry(shape=[56, 42]), name, "[42, 56]", "[56, 42]")
        self.damaged(3, entry(shape=[42 * 56]), name)
        self.damaged(3, entry(shape=[42, 57]), name)
        self.damaged(3, entry(shape=[2**32, 2**32, 2**32]), name)
        self.damaged(3, entry(shape=[2**63, 2]), name)
        self.damaged(3, entry(shape=[0, 2**62]), name)
        self.damaged((3, 4), entry(dtype="Q9"), name, "Q9")
        self.damaged((3, 4), entry(dtype="I32"), name, "i32")
        self.damaged(3, entry(dtype="F64"), name)
        self.damaged(3, entry(dtype="F16", shape=[42, 112]), name, "[42, 56]", "[42, 112]")

    def test_names(self):
        names = list(Safetensors(ARCH / "llama_gqa/model.safetensors").header)
        lost = "model.layers.1.self_attn.k_proj.weight"
        rest = [name for name in names if name not in ("__metadata__", lost)]
        self.damaged(3, lambda file: file.keep_only(rest), lost, "[24, 42]")
        extra = "model.layers.1.self_attn.q_norm.weight"
        self.damaged(3, lambda file: file.append(extra, "F32", [12], bytes(48)), extra)
        self.damaged(3, lambda file: file.append("model.layers.2.mlp.up_proj.weight", "F32", [1], bytes(4)),
                     "model.layers.2.mlp.up_proj.weight")

        def longer_head(file):
            part = file.tensor("lm_head.weight")
            file.keep_only([name for name in names if name not in ("__metadata__", "lm_head.weight")])
            file.append("lm_head.weight", "F32", [68, 42], part + bytes(4 * 42))

        self.damaged(3, longer_head, "lm_head.weight", "[67, 42]", "[68, 42]")

    def test_not_a_number(self):
        """A weight that is NaN: build's verification fails and says where; run says so too."""
        for name in ("model.layers.1.mlp.down_proj.weight", "lm_head.weight"):
            model = self.folder()
            file = Safetensors(model / "model.safetensors")
            begin = file.header[name]["data_offsets"][0]
            file.data[begin + 40 : begin + 44] = struct.pack("<f", float("nan"))
            file.write()
            self.refused(1, ("build", model, "-o", self.out / "e.lathe", "-t", 1), "nan", name)
            # The engine it made for the cache is not left there.
            self.refused(1, ("run", model, "--tokens", "1,2,3", "-n", 1, "-t", 1), name)
            self.assertEqual(self.lathe("verify", model, "-t", 1).returncode, 1)
            self.assertEqual(list(self.cache.rglob("*.lathe")), [])


class GgufFiles(Case):
    def damaged(self, code, edit, *said):
        file = self.gguf()
        edit(file)
        file.write()
        self.refused_by_two(code, file.path, *said)

    def test_truncated(self):
        file = self.gguf()
        whole = bytes(file.raw)
        verbs = self.verbs(file.path)
        info = file.infos["blk.0.attn_q.weight"]
        ends = [4, 8, 16, 23, 24, file.values["llama.block_count"][1], info["dims"], info["offset"], file.header_end]
        for i, place in enumerate(self.places(len(whole), ends)):
            file.path.write_bytes(whole[:place])
            self.refused(3, verbs[i % len(verbs)], file.path)

    def test_counts(self):
        for place in (8, 16):  # tensors, metadata pairs
            for count in (2**20, 2**32, 2**63, 2**64 - 1):
                self.damaged(3, lambda file: file.put("<Q", place, count))
        for size in (2**20, 2**40, 2**63, 2**64 - 1):  # the length of the first key
            self.damaged(3, lambda file: file.put("<Q", 24, size))
        self.damaged((3, 4), lambda file: file.put("<I", 4, 99), 99)
        self.damaged(3, lambda file: file.put("<I", file.values["llama.block_count"][1] - 4, 99))

    def test_tensors(self):
        name = "blk.1.ffn_down.weight"

        def info(field, form, value):
            return lambda file: file.put(form, file.infos[name][field], value)

        for count in (0, 5, 200, 2**32 - 1):
            self.damaged((3, 4), info("dims", "<I", count), name)
        for dim in (0, 2**20, 2**62, 2**64 - 1):
            self.damaged(3, info("dim0", "<Q", dim), name)
        self.damaged((3, 4), info("type", "<I", 200), name, 200)
        for offset in (1, 2**40, 2**64 - 32, 2**63):
            self.damaged(3, info("offset", "<Q", offset), name)

        def rename(file):
            at = file.raw.index(name.encode())
            file.raw[at : at + len(name)] = b"blk.1.ffn_lost.weight"

        self.damaged(3, rename, "blk.1.ffn_")

        def twice(file):
            at = file.raw.index(name.encode())
            file.raw[at : at + len(name)] = b"blk.0.ffn_down.weight"

        self.damaged(3, twice, "blk.0.ffn_down.weight")

    def test_metadata(self):
        self.damaged(4, lambda file: file.put_string("general.architecture", "mambo"), "mambo", "llama", "gptneox")
        for key, value in [("block_count", 0), ("block_count", 2**32 - 1), ("block_count", 3),
                           ("attention.head_count", 0), ("attention.head_count", 7), ("attention.head_count_kv", 0),
                           ("embedding_length", 2**32 - 1), ("feed_forward_length", 0), ("context_length", 0)]:
            self.damaged(3, lambda file: file.put_value(f"llama.{key}", value), ".gguf")
        for value in (float("nan"), float("inf"), 0, -1):
            self.damaged(3, lambda file: file.put_value("llama.attention.layer_norm_rms_epsilon", value))
            self.damaged(3, lambda file: file.put_value("llama.rope.freq_base", value))


class Engines(Case):
    def read_by(self, engine):
        path = engine.path
        return [("inspect", path), ("run", path, "--tokens", "1", "-n", 1, "-t", 1), ("verify", path, "-t", 1),
                ("build", path, "-o", self.out / "e.lathe", "-t", 1)]

    def test_truncated(self):
        engine = self.engine()
        whole = bytes(engine.raw)
        offset, size = engine.section(Engine.MANIFEST)
        verbs = self.read_by(engine)
        ends = [7, 8, 9, 31, 159, 160, 4095, 4096, 4097, offset - 1, offset, offset + 1, offset + size - 1]
        for i, place in enumerate(self.places(len(whole), ends)):
            engine.path.write_bytes(whole[:place])
            self.refused(3, verbs[i % len(verbs)], engine.path)

    def test_other_version(self):
        """Of a format that this program cannot read it says which program wrote it, and what can be done."""
        engine = self.engine()
        for version in (0, 2, 2**32 - 1):
            struct.pack_into("<I", engine.raw, Engine.VERSION, version)
            engine.write()
            for args in self.read_by(engine):
                message = self.refused(4, args, engine.path, version, "written by lathe", "checkpoint")
                self.assertNotIn("lathe build", message)  # it could not read the engine either

    def test_flipped_header_and_manifest(self):
        engine = self.engine()
        offset, size = engine.section(Engine.MANIFEST)
        verbs = self.read_by(engine)
        chance = random.Random(1)
        places = [12, 16, 24, 33, 40, 50, 81, 90, 130] + [offset + chance.randrange(size) for _ in range(8)]
        for i, place in enumerate(places):
            bit = chance.randrange(8)
            engine.flip(place, bit)
            engine.write()
            self.refused(3, verbs[i % len(verbs)], engine.path, "damaged")
            engine.flip(place, bit)

    def test_flipped_receipt(self):
        path = self.temp / "verified.lathe"
        self.good("build", ARCH / "llama_gqa", "-o", path, "-t", 1)
        engine = Engine(path)
        offset, size = engine.section(Engine.RECEIPT)
        self.assertGreater(size, 0)
        engine.flip(offset + size // 2)
        engine.write()
        self.refused(3, ("inspect", path), path, "receipt")

    def test_flipped_weight(self):
        engine = self.engine()
        name = "model.norm.weight"
        values = Safetensors(ARCH / "llama_gqa/model.safetensors").tensor(name)
        place = engine.raw.find(values, Engine.WEIGHTS)
        self.assertGreaterEqual(place, Engine.WEIGHTS, "the norm is not stored as it was")
        engine.flip(place + len(values) // 2, 3)
        engine.write()
        self.refused(1, ("run", engine.path, "--tokens", "1", "--check", "-n", 1), engine.path, name)
        self.refused(1, ("build", engine.path, "-o", self.out / "e.lathe"), engine.path, name)
        done = self.lathe("verify", engine.path, "-t", 1, "--json")
        self.assertEqual(done.returncode, 1, done.stderr)
        receipt = json.loads(done.stdout)
        self.assertFalse(receipt["pass"])
        self.assertIn(name, receipt["gates"][0]["note"])
        self.assertFalse(receipt["gates"][0]["pass"])

    def test_precision(self):
        """An engine has the precision it was built for; what is wished for is not silently something else."""
        engine = self.engine().path  # computes in fp32
        quantised = self.engine("q.lathe", ARCH / "gguf_llama_q4_0/model.gguf").path  # in int16
        for args in (("run", "--tokens", "1,2", "-n", 1), ("bench", "--prompt", 4, "--generate", 2, "--repeat", 1),
                     ("verify",)):
            verb, *rest = args
            self.refused(2, (verb, engine, *rest, "-t", 1, "--precision", "banana"), "banana", "bf16")
            self.refused(4, (verb, engine, *rest, "-t", 1, "--precision", "bf16"), "fp32", "bf16",
                         f"lathe build {engine}", "--precision bf16")
            self.refused(4, (verb, quantised, *rest, "-t", 1, "--precision", "int8"), "int16", "int8", "lathe build")
            self.good(verb, quantised, *rest, "-t", 1, "--precision", "fp32")
        self.good("run", quantised, "--tokens", "1,2", "-n", 1, "-t", 1, "--precision", "int16")
        # The command that the message gives works.
        command = self.refused(4, ("run", quantised, "--tokens", "1", "--precision", "int8"), "lathe build")
        words = command[command.index("lathe build"):].split("\n")[0].split()
        self.good(*words[1:])
        self.good("run", words[words.index("-o") + 1], "--tokens", "1,2", "-n", 1, "-t", 1, "--precision", "int8")

    def cached(self):
        return sorted(self.cache.rglob("*.lathe"))

    def test_damaged_engine_in_the_cache(self):
        """The user did not make it and cannot be asked to mend it."""
        run = ("run", ARCH / "llama_gqa", "--tokens", "1,2", "-n", 2, "-t", 1, "--json")
        tokens = json.loads(self.good(*run).stdout)["tokens"]
        (path,) = self.cached()
        whole = path.read_bytes()
        for damaged in (b"", whole[:-10], whole[:100], b"x" * len(whole), whole[:40] + b"\xff" + whole[41:]):
            path.write_bytes(damaged)
            done = self.good(*run)
            self.assertEqual(json.loads(done.stdout)["tokens"], tokens)
            self.assertIn("built again", done.stderr)
            self.assertEqual([p.read_bytes() == whole for p in self.cached()], [True])
        self.assertNotIn("built again", self.good(*run).stderr)

    def test_cache_follows_the_checkpoint(self):
        model = self.folder()
        run = ("run", model, "--tokens", "1,2", "-n", 1, "-t", 1)
        self.good(*run)
        (first,) = self.cached()
        self.good(*run)
        self.assertEqual(self.cached(), [first])
        os.utime(model / "model.safetensors", ns=(1, 1))
        self.good(*run)
        (second,) = self.cached()  # the one of before is gone
        self.assertNotEqual(first, second)
        self.good(*run, "--kv", "fp16")
        self.assertEqual(len(self.cached()), 2)  # other options are another engine

    def test_cache_follows_the_program(self):
        """Another build of this program makes another engine; here one whose build id is changed by hand."""
        run = ("run", ARCH / "llama_gqa", "--tokens", "1,2", "-n", 1, "-t", 1)
        self.good(*run)
        (first,) = self.cached()
        program = bytearray(pathlib.Path(PROGRAM).read_bytes())
        note = program.find(struct.pack("<III", 4, 20, 3) + b"GNU\0")
        if note < 0:
            self.skipTest("linked without a build id")
        program[note + 16] ^= 0xFF
        self.program = self.temp / "other-lathe"
        self.program.write_bytes(program)
        self.program.chmod(0o755)
        self.assertIn("building", self.good(*run).stderr)
        (second,) = self.cached()
        self.assertNotEqual(first, second)

    def test_two_different_models(self):
        other = self.engine("other.lathe", ARCH / "neox_parallel")
        done = self.lathe("verify", self.engine().path, other.path, "-t", 1, "--json")
        self.assertEqual(done.returncode, 1, done.stderr)
        failed = [gate["note"] for gate in json.loads(done.stdout)["gates"] if not gate["pass"]]
        self.assertTrue(any("67" in note and "71" in note for note in failed), failed)


class NoRoom(Case):
    def test_file_size_limit(self):
        """The disk fills in the middle of writing: as good as ENOSPC, and needs no rights."""
        for limit in (0, 4096, 50_000):
            self.refused(5, ("build", ARCH / "llama_gqa", "-o", self.out / "e.lathe", "-t", 1), "e.lathe",
                         file_limit=limit)
            self.refused(5, ("export", ARCH / "llama_gqa", self.out / "onnx"), "model.onnx", file_limit=limit)
            self.refused(5, ("export", ARCH / "llama_gqa", self.out / "m.onnx"), "m.onnx", file_limit=limit)
        # The old one stays.
        engine = self.out / "e.lathe"
        self.good("build", ARCH / "llama_gqa", "-o", engine, "-t", 1, "--no-verify")
        before = engine.read_bytes()
        self.refused(5, ("build", ARCH / "llama_gqa", "-o", engine, "-t", 1), engine, file_limit=50_000)
        self.assertEqual(engine.read_bytes(), before)

    @unittest.skipUnless(os.geteuid() == 0, "only root may mount a small disk")
    def test_small_disk(self):
        for options, code_says in (("size=64k", "bytes"), ("size=8m,nr_inodes=1", "create")):
            disk = self.temp / "disk"
            disk.mkdir(exist_ok=True)
            if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "lathe", disk], capture_output=True).returncode:
                self.skipTest("mount is not allowed here")
            try:
                for args in (("build", ARCH / "llama_gqa", "-o", disk / "e.lathe", "-t", 1),
                             ("export", ARCH / "llama_gqa", disk / "onnx"),
                             ("export", ARCH / "llama_gqa", disk / "m.onnx")):
                    self.refused(5, args, disk, code_says)
                    self.assertEqual(os.listdir(disk), [])
            finally:
                subprocess.run(["umount", disk], check=True)


class Killed(Case):
    def test_killed_while_building(self):
        """Death at any time leaves the old engine or the new one, whole; the next build does not mind. The time is
        that of the processor, so that a busy machine kills at the same places."""
        engine = self.out / "e.lathe"
        new = ("build", ARCH / "llama_one_kv_head", "-o", engine, "-t", 1)
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.good(*new)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        complete = engine.read_bytes()
        self.good("build", ARCH / "llama_gqa", "-o", engine, "-t", 1)
        old = engine.read_bytes()
        chance = random.Random(20)
        shares = [share / 10 for share in range(1, 10)] + [chance.random() for _ in range(4)]
        killed = 0
        for share in shares:
            # The timer outlives exec, and nobody handles its signal.
            process = subprocess.Popen([PROGRAM, *map(str, new)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       preexec_fn=lambda: signal.setitimer(signal.ITIMER_PROF, share * used))
            killed += process.wait(HANG) == -signal.SIGPROF
            self.assertIn(engine.read_bytes(), (old, complete), f"killed after {share:.2f} of {used:.3f} s")
            others = {name for name in os.listdir(self.out) if name != engine.name}
            self.assertTrue(all(name.endswith(".part") for name in others), others)
        self.assertGreater(killed, 0, "nothing was killed")
        self.good("verify", engine, "-t", 1)
        self.good(*new)
        self.assertEqual(engine.read_bytes(), complete)
        self.assertEqual(os.listdir(self.out), [engine.name], "the dead processes' temporary files are still there")
        self.good("verify", engine, "-t", 1)


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
