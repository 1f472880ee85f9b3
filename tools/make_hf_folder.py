#!/usr/bin/env python3
"""A Hugging Face folder in fp32 and one in bf16 out of a GGUF file, by transformers.

Usage: make_hf_folder.py MODEL.gguf DESTINATION   -> DESTINATION/fp32, DESTINATION/bf16
"""
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

source, destination = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
config = loaded.config
if hasattr(config, "quantization_config"):
    del config.quantization_config
fresh = LlamaForCausalLM(config)
fresh.load_state_dict(loaded.state_dict())
for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
    fresh.to(dtype).save_pretrained(destination / name)
    AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(destination / name)
