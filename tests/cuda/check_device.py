#!/usr/bin/env python3
"""What doctor and --device say of CUDA on machines of every kind, and that nothing runs elsewhere instead.

    check_device.py PROGRAM FAKES [unittest's arguments]

FAKES holds libraries that stand for those machines (cmake/cuda.cmake). Python's standard library only.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

PROGRAM, FAKES = (pathlib.Path(sys.argv.pop(1)) for _ in range(2))
REAL = PROGRAM.parent / "liblathe_cuda.so"
LIMIT = 60  # seconds; everything here takes a fraction of one
TESTS = pathlib.Path(__file__).resolve().parent.parent
MODEL = TESTS / "arch/llama_gqa"
GRAPH = TESTS / "io/onnx/attributes.onnx"
PICTURES = TESTS.parent / "models/shapes"
CODES = {4: "unsupported", 5: "resource"}
# What --device cuda says for each library: the exit code, and words that name what is wrong and what mends it.
SAID = {
    "nothing": (4, ["liblathe_cuda.so", "not found", "LATHE_CUDA_LIBRARY"]),
    "other_build": (4, ["expected ABI", "0123456789abcdef", "cmake --build"]),
    "no_open": (4, ["lathe_cuda_open", "cmake --build"]),
    "no_driver": (5, ["libcuda.so.1", "apt install cuda-drivers"]),
    "old_driver": (5, ["12.4", "13.0", "apt install cuda-drivers"]),
    "no_device": (5, ["shows no GPU"]),
    "old_gpu": (5, ["Imagined GPU 0", "7.5", "8.0"]),
    "failing_gpu": (5, ["Imagined GPU 0", "expected 1591, found 0", "nvidia-smi"]),
    "two_gpus": (4, ["graphs", "CPU only", "--device cpu"]),
}


class Device(unittest.TestCase):
    def setUp(self):
        self.temp = pathlib.Path(tempfile.mkdtemp(prefix="lathe-cuda-"))
        self.addCleanup(shutil.rmtree, self.temp)

    def lathe(self, *args, library="nothing", program=None, **more):
        environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
        environment["XDG_CACHE_HOME"] = str(self.temp / "cache")
        environment.pop("LATHE_CUDA_LIBRARY", None)
        if library:
            environment["LATHE_CUDA_LIBRARY"] = str(FAKES / library / "liblathe_cuda.so")
        return subprocess.run([program or PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=LIMIT,
                              env={**environment, **more})

    def refused(self, code, words, *args, **more):
        done = self.lathe(*args, "--json", **more)
        self.assertEqual(done.returncode, code, f"{args}\n{done.stdout}{done.stderr}")
        error = json.loads(done.stdout)["error"]
        self.assertEqual(error["code"], CODES.get(code, "usage"))
        for word in words:
            self.assertIn(word, error["message"])
        return error["message"]

    def checks(self, **more):
        done = self.lathe("doctor", "--json", **more)
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        return found["cuda"], {check["name"]: check for check in found["checks"]}

    def test_device_cuda_says_what_is_missing(self):
        for library, (code, words) in SAID.items():
            with self.subTest(library):
                model = ("run", GRAPH) if library == "two_gpus" else ("run", MODEL, "--tokens", "1")
                self.refused(code, [*words, "cuda:0"], *model, "--device", "cuda", library=library)

    def test_every_verb_and_kind_of_model(self):
        out = self.temp / "out"
        for args in (("run", MODEL, "--tokens", "1"), ("bench", MODEL), ("verify", MODEL), ("verify", MODEL, MODEL),
                     ("build", MODEL, "-o", out), ("build", GRAPH, "-o", out), ("verify", GRAPH), ("bench", GRAPH),
                     ("run", GRAPH), ("run", PICTURES, "-p", "x", "-o", out), ("bench", PICTURES),
                     ("build", PICTURES, "-o", out)):
            with self.subTest(args):
                self.refused(5, ["libcuda.so.1", "cuda:1"], *args, "--device", "cuda:1", library="no_driver")
        self.assertEqual(os.listdir(self.temp), [])  # no engine, no cache, no picture
        self.refused(5, ["libcuda.so.1", "--arch sm_80"], "build", MODEL, "-o", out, "--device", "cuda",
                     library="no_driver")
        chat = self.lathe("chat", MODEL, "--device", "cuda", library="no_driver")
        self.assertEqual(chat.returncode, 5, chat.stderr)

    def test_numbers_of_gpus(self):
        run = ("run", MODEL, "--tokens", "1", "--device")
        self.refused(4, ["cuda:1", "CPU only"], "run", GRAPH, "--device", "cuda:1", library="two_gpus")
        self.refused(5, ["cuda:2", "2 GPUs"], *run, "cuda:2", library="two_gpus")
        for name in ("cuda:", "cuda:x", "cuda:-1"):
            self.refused(2, [name], *run, name, library="two_gpus")
        self.refused(4, ["abacus", "cpu"], *run, "abacus")

    def test_hidden_gpus(self):
        for visible in ("", "-1", "7"):
            message = self.refused(5, [f'CUDA_VISIBLE_DEVICES="{visible}"', "unset CUDA_VISIBLE_DEVICES"], "bench",
                                   MODEL, "--device", "cuda", library="no_device", CUDA_VISIBLE_DEVICES=visible)
            self.assertNotIn("apt install", message)

    def test_the_cpu_needs_none_of_it(self):
        for library in ("nothing", "other_build", "no_driver"):
            done = self.lathe("run", MODEL, "--tokens", "1", "-n", "1", "--device", "cpu", library=library)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_doctor(self):
        expected = {"nothing": [False], "other_build": [False], "no_driver": [True, False, False],
                    "old_driver": [True, False, False], "no_device": [True, True, False]}
        for library, found in expected.items():
            with self.subTest(library):
                cuda, checks = self.checks(library=library)
                names = ["CUDA library", "CUDA driver", "GPU"][:len(found)]
                self.assertEqual([checks[name]["found"] for name in names], found)
                for name in ("cuBLASLt", "cuDNN"):
                    self.assertEqual(bool(checks[name]["remedy"]), not checks[name]["found"])
                self.assertEqual(cuda["devices"], [])
                # What is free on the disk is another number in the next run.
                text = re.sub(r"[0-9.]+ GB free", "free", self.lathe("doctor", library=library).stdout)
                for check in checks.values():
                    for part in ("name", "detail", "remedy"):
                        self.assertIn(re.sub(r"[0-9.]+ GB free", "free", check[part]), text)
        cuda, checks = self.checks(library="two_gpus")
        self.assertEqual([device["name"] for device in cuda["devices"]], ["Imagined GPU 0", "Imagined GPU 1"])
        self.assertEqual(cuda["abi_hash"], cuda["library_abi_hash"])
        self.assertEqual((cuda["driver_version"], cuda["runtime_version"]), ("13.1", "13.0"))
        self.assertTrue(checks["GPU cuda:1"]["found"])
        cuda, checks = self.checks(library="other_build")
        self.assertNotEqual(cuda["abi_hash"], cuda["library_abi_hash"])

    def test_optional_libraries(self):
        both = f"{FAKES}/cublaslt_13:{FAKES}/cudnn_cuda12"
        _, checks = self.checks(library="two_gpus", LD_LIBRARY_PATH=both)
        self.assertTrue(checks["cuBLASLt"]["found"], checks["cuBLASLt"])
        self.assertFalse(checks["cuDNN"]["found"])
        self.assertIn("does not go with CUDA 13.0", checks["cuDNN"]["detail"])
        self.assertIn("apt install libcudnn9-cuda-13", checks["cuDNN"]["remedy"])
        _, checks = self.checks(library="old_driver", LD_LIBRARY_PATH=both)
        self.assertIn("driver runs CUDA up to 12.4", checks["cuBLASLt"]["detail"])

    def test_driver_without_the_library(self):
        _, checks = self.checks(LD_LIBRARY_PATH=f"{FAKES}/driver_12")
        self.assertFalse(checks["CUDA driver"]["found"])
        for word in ("12.4", "13.0"):
            self.assertIn(word, checks["CUDA driver"]["detail"])
        cuda, checks = self.checks(LD_LIBRARY_PATH=f"{FAKES}/driver_13")
        self.assertTrue(checks["CUDA driver"]["found"])
        self.assertEqual(cuda["driver_version"], "13.0")

    @unittest.skipUnless(REAL.exists(), "no nvcc of CUDA 13, no liblathe_cuda.so")
    def test_drivers_under_the_real_library(self):
        """CUDA's own runtime, in the library that was built, on drivers that only say how old they are."""
        real = {"library": None, "LATHE_CUDA_LIBRARY": str(REAL)}
        old, none = (f"{FAKES}/driver_{version}" for version in (12, 13))
        self.refused(5, ["12.4", "13.0", "apt install cuda-drivers"], "bench", MODEL, "--device", "cuda", **real,
                     LD_LIBRARY_PATH=old)
        self.refused(5, ["shows no GPU"], "bench", MODEL, "--device", "cuda", **real, LD_LIBRARY_PATH=none)
        self.refused(5, ['CUDA_VISIBLE_DEVICES=""'], "bench", MODEL, "--device", "cuda", **real, LD_LIBRARY_PATH=none,
                     CUDA_VISIBLE_DEVICES="")
        cuda, checks = self.checks(**real, LD_LIBRARY_PATH=old)
        self.assertTrue(checks["CUDA library"]["found"])
        self.assertFalse(checks["CUDA driver"]["found"])
        self.assertEqual((cuda["driver_version"], cuda["devices"]), ("12.4", []))

    def test_where_the_library_is_looked_for(self):
        (self.temp / "bin").mkdir()
        (self.temp / "lib").mkdir()
        program = self.temp / "bin/lathe"
        shutil.copy(PROGRAM, program)
        cuda, checks = self.checks(library=None, program=program)
        self.assertEqual(cuda["library"], "")
        for folder in ("bin", "lib"):
            self.assertIn(f"{self.temp}/{folder}/liblathe_cuda.so", checks["CUDA library"]["detail"])
        self.assertIn("LATHE_CUDA_LIBRARY", checks["CUDA library"]["remedy"])
        for folder, variant in (("lib", "no_device"), ("bin", "no_driver")):
            shutil.copy(FAKES / variant / "liblathe_cuda.so", self.temp / folder)
            self.assertEqual(self.checks(library=None, program=program)[0]["library"],
                             f"{self.temp}/{folder}/liblathe_cuda.so")
        cuda, _ = self.checks(library="two_gpus", program=program)
        self.assertEqual(len(cuda["devices"]), 2)


if __name__ == "__main__":
    unittest.main()
