#!/usr/bin/env python3
"""Damaged engines, engines of other versions and precisions, and the cache of engines."""
import json
import os
import pathlib
import random
import struct

from case import ARCH, Case, main
from checkpoints import Engine, Safetensors


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
        for version in (0, 3, 2**32 - 1):
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
        program = bytearray(pathlib.Path(self.built).read_bytes())
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


if __name__ == "__main__":
    main()
