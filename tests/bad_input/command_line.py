#!/usr/bin/env python3
"""Flags, values, prompts and destinations that cannot be."""
import json
import os

from case import ARCH, Case, main


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

    def test_text_to_verify_with(self):
        engine = self.engine().path
        empty = self.temp / "empty.txt"
        empty.write_text("")
        self.refused(3, ("verify", engine, "-t", 1, "--text", empty), empty, "empty")
        self.refused(3, ("verify", engine, "-t", 1, "--text", self.temp / "nowhere"), "nowhere")

    def test_levels(self):
        source = ARCH.parent / "io/onnx"
        model = next(path for path in sorted(source.rglob("*.onnx")))
        for flags in (("-O4", "--precision", "fp8"), ("-O2", "--keep", "x"), ("-O1", "--calibration", self.temp)):
            self.refused(2, ("optimize", model, self.out / "m.onnx", *flags), *flags[-2:-1])
        for level in ("-1", "5", "fast"):
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


if __name__ == "__main__":
    main()
