#!/usr/bin/env python3
"""Tiny checkpoints of tests/arch as Optimum exports them: tests/arch/optimum_NAME, with the goldens of NAME.

Usage: make_optimum_exports.py tests/arch [NAME ...]   (needs optimum-onnx 0.1.0, torch, transformers 4.57)
Only checkpoints whose config transformers 4.57 reads as 5.23 does, from which the goldens come: rope_theta 10000,
a quarter of a head turned in GPT-NeoX.
"""
import pathlib
import shutil
import sys

from optimum.exporters.onnx import main_export

folder = pathlib.Path(sys.argv[1])
for name in sys.argv[2:] or ("llama_gqa", "llama_mha_tied", "neox_parallel", "neox_sequential", "gpt2",
                             "gpt2_untied"):
    destination = folder / f"optimum_{name}"
    main_export(str(folder / name), str(destination), task="text-generation-with-past", do_validation=False)
    (destination / "generation_config.json").unlink(missing_ok=True)
    for golden in ("golden.json", "logits.npy"):
        shutil.copy(folder / name / golden, destination / golden)
