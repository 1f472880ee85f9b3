#!/usr/bin/env python3
"""Language models on --device cuda by every verb, on the emulated GPU: the program opens a library that stands for
liblathe_cuda.so (cmake/cuda.cmake, lathe_emulated_library) as it opens the real one.

    check_models.py PROGRAM LIBRARY [unittest's arguments]

With LIBRARY "" the real one beside the program is used, on the machine's GPU (tools/gpu). Standard library only.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(sys.argv.pop(1)).resolve()
LIBRARY = sys.argv.pop(1)
LIMIT = 240  # seconds
ARCH = pathlib.Path(__file__).resolve().parent.parent / "arch"
PROMPT = ["--tokens", "5,9,2,31", "-n", "6", "--temperature", "0"]


class Models(unittest.TestCase):
    def setUp(self):
        self.temp = pathlib.Path(tempfile.mkdtemp(prefix="lathe-cuda-models-"))
        self.addCleanup(shutil.rmtree, self.temp)

    def lathe(self, *args, code=0, library=LIBRARY, **more):
        environment = {**os.environ, "XDG_CACHE_HOME": str(self.temp / "cache"), **more}
        environment.pop("LATHE_CUDA_LIBRARY", None)
        if library:
            environment["LATHE_CUDA_LIBRARY"] = str(library)
        done = subprocess.run([PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=LIMIT,
                              env=environment)
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}{done.stderr}")
        return done

    def json(self, *args, **more):
        return json.loads(self.lathe(*args, "--json", **more).stdout)

    def test_run_gives_the_tokens_of_the_cpu(self):
        for name in ("llama_gqa", "llama_f16", "neox_parallel", "gpt2", "gguf_gpt2_q4_1/model.gguf"):
            with self.subTest(name):
                tokens = [self.json("run", ARCH / name, *PROMPT, "--device", device)["tokens"]
                          for device in ("cpu", "cuda")]
                self.assertEqual(*tokens)

    def test_engines_by_every_verb(self):
        engine = self.temp / "m.lathe"
        built = self.json("build", ARCH / "llama_f16", "-o", engine, "--device", "cuda")
        self.assertTrue(built["verified"])
        names = [gate["name"] for gate in built["receipt"]["gates"]]
        self.assertTrue(any(name.startswith("7 ") for name in names), names)
        found = self.json("inspect", engine)
        self.assertEqual((found["device"], found["arch"][:3]), ("cuda", "sm_"))
        self.assertEqual(found["receipt"]["device"], "cuda")
        for member in ("weights_bytes", "cache_bytes", "arena_bytes", "scratch_bytes", "inputs_bytes"):
            self.assertGreater(found["session_memory"][member], 0, member)
        kernels = {use["kernel"] for use in found["kernels"]}
        self.assertTrue(all(kernel.startswith("cuda.") for kernel in kernels), kernels)
        note = self.lathe("run", engine, *PROMPT).stderr  # the engine's own device
        self.assertIn("cuda:0: weights", note)
        self.assertIn("measured", note)
        # An engine of one device is built again for the other.
        tokens = [self.json("run", engine, *PROMPT, "--device", device)["tokens"] for device in ("cuda", "cpu")]
        self.assertEqual(*tokens)
        cpu = self.temp / "cpu.lathe"
        self.lathe("build", ARCH / "llama_f16", "-o", cpu, "--no-verify")
        self.assertIn("built again for cuda", self.lathe("run", cpu, *PROMPT, "--device", "cuda").stderr)
        bench = self.json("bench", engine, "--prompt", "8", "--generate", "2", "--repeat", "1")
        self.assertEqual(bench["conditions"]["device"], "cuda:0")
        self.assertGreater(bench["results"][0]["median"], 0)
        self.assertGreater(bench["session_memory"]["taken_bytes"], 0)
        # Two engines, each on its own device.
        self.assertTrue(self.json("verify", engine, cpu)["pass"])

    def test_an_engine_for_a_gpu_that_is_not_here(self):
        engine = self.temp / "m.lathe"
        done = self.lathe("build", ARCH / "gpt2", "-o", engine, "--device", "cuda", "--arch", "sm_86",
                          library=self.temp / "nothing.so")
        self.assertIn("not verified", done.stderr)
        self.assertEqual(self.json("inspect", engine)["arch"], "sm_86")
        done = self.lathe("build", ARCH / "gpt2", "-o", engine, "--device", "cuda", library=self.temp / "nothing.so",
                          code=4)
        self.assertIn("--arch", done.stderr)
        self.lathe("build", ARCH / "gpt2", "-o", engine, "--arch", "sm_86", code=2)
        self.lathe("build", ARCH / "gpt2", "-o", engine, "--device", "cuda", "--arch", "sm_70", code=2)

    @unittest.skipUnless(LIBRARY, "the emulated library alone has as little memory as one likes")
    def test_too_little_memory(self):
        done = self.lathe("run", ARCH / "llama_gqa", *PROMPT, "--device", "cuda", code=5,
                          LATHE_EMULATED_MEMORY="100000")
        for word in ("cuda:0", "of 100000 bytes", "--ctx", "--kv fp16", "--device cpu"):
            self.assertIn(word, done.stderr)

    @unittest.skipUnless(LIBRARY, "the emulated library alone can be lost")
    def test_a_gpu_that_is_lost(self):
        done = self.lathe("run", ARCH / "llama_gqa", *PROMPT, "--device", "cuda", code=5, LATHE_EMULATED_KERNELS="20")
        self.assertIn("lost", done.stderr)

    def test_what_no_kernel_takes_is_an_error_of_the_build(self):
        graph = ARCH.parent / "io/onnx/attributes.onnx"
        done = self.lathe("build", graph, "-o", self.temp / "g.lathe", "--device", "cuda", code=4)
        self.assertIn("CPU only", done.stderr)


if __name__ == "__main__":
    unittest.main()
