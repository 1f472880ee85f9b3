"""What every test of input that lathe cannot use starts from: exit codes of contracts.md, messages with names and
numbers, a JSON error with --json, nothing left behind, and never a signal.

The checkpoints are those of tests/arch, damaged in a temporary folder. Python's standard library only.
"""
import json
import os
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import unittest

from checkpoints import Engine, Gguf

ARCH = pathlib.Path(__file__).resolve().parent.parent / "arch"
EXIT = {"verification": 1, "usage": 2, "invalid_input": 3, "not_found": 3, "io": 3, "unsupported": 4, "resource": 5}
TRUNCATIONS = 24
NOBODY = 65534
HANG = 30  # seconds; everything here takes a fraction of one


class Case(unittest.TestCase):
    """A fresh folder for each test: self.out is where results go, self.cache where `run` keeps its engines."""

    built = ""  # the program

    def setUp(self):
        self.temp = pathlib.Path(tempfile.mkdtemp(prefix="lathe-bad-input-"))
        self.addCleanup(shutil.rmtree, self.temp)
        self.out, self.cache = self.temp / "out", self.temp / "cache"
        self.out.mkdir()
        self.verb = 0
        self.program = self.built

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
        shutil.copy(self.built, self.program)
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


def main():
    """Of a file of tests: FILE PROGRAM [unittest's arguments]."""
    Case.built = os.path.abspath(sys.argv[1])
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
