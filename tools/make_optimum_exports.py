#!/usr/bin/env python3
"""Tiny checkpoints of tests/arch as Optimum exports them: tests/arch/optimum_NAME, with their checkpoint's goldens.

Usage: make_optimum_exports.py tests/arch [NAME ...]   (needs optimum-onnx 0.1.0, torch, transformers 4.57)
Only checkpoints whose config transformers 4.57 reads as 5.23 does, from which the goldens come: rope_theta 10000, a
quarter of a head turned in GPT-NeoX. This exporter writes no valid file of GPT-NeoX and GPT-2 in half precision (ONNX
Runtime refuses its LayerNormalization), and none at all in bf16.
"""
import contextlib
import pathlib
import shutil
import sys

from optimum.exporters.onnx import main_export
from optimum.exporters.onnx.config import TextDecoderOnnxConfig, TextDecoderWithPositionIdsOnnxConfig

WITH_PAST = "text-generation-with-past"


@contextlib.contextmanager
def without_positions():
    """As exporters before position_ids was an input: the graph counts positions itself."""
    keep = TextDecoderWithPositionIdsOnnxConfig.inputs
    TextDecoderWithPositionIdsOnnxConfig.inputs = TextDecoderOnnxConfig.inputs
    try:
        yield
    finally:
        TextDecoderWithPositionIdsOnnxConfig.inputs = keep


# name: checkpoint, task, further arguments, whether the graph is told the positions
EXPORTS = {
    "llama_gqa": ("llama_gqa", WITH_PAST, {}, True),
    "llama_mha_tied": ("llama_mha_tied", WITH_PAST, {}, True),
    "llama_f16": ("llama_f16", WITH_PAST, {"dtype": "fp16"}, True),
    "llama_no_positions": ("llama_gqa", WITH_PAST, {}, False),
    "neox_parallel": ("neox_parallel", WITH_PAST, {}, True),
    "neox_sequential": ("neox_sequential", WITH_PAST, {}, True),
    "neox_no_cache": ("neox_sequential", "text-generation", {}, True),
    "gpt2": ("gpt2", WITH_PAST, {}, True),
    "gpt2_untied": ("gpt2_untied", WITH_PAST, {}, True),
    "gpt2_no_positions": ("gpt2_untied", WITH_PAST, {}, False),
    "gpt2_no_cache": ("gpt2_untied", "text-generation", {}, True),
}

folder = pathlib.Path(sys.argv[1])
for name in sys.argv[2:] or EXPORTS:
    checkpoint, task, arguments, positions = EXPORTS[name]
    destination = folder / f"optimum_{name}"
    with contextlib.nullcontext() if positions else without_positions():
        main_export(str(folder / checkpoint), str(destination), task=task, do_validation=False, **arguments)
    (destination / "generation_config.json").unlink(missing_ok=True)
    for golden in ("golden.json", "logits.npy"):
        shutil.copy(folder / checkpoint / golden, destination / golden)
