#!/usr/bin/env python3
"""A Hugging Face folder of random weights, for memory and time figures: nothing sensible comes out of it.

Usage: make_random_checkpoint.py DESTINATION [--gigabytes 4] [--dtype F32|BF16]   (needs numpy only)
"""
import argparse
import json
import pathlib
import struct

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("destination")
parser.add_argument("--gigabytes", type=float, default=4)
parser.add_argument("--dtype", choices=("F32", "BF16"), default="F32")
options = parser.parse_args()

width = {"F32": 4, "BF16": 2}[options.dtype]
hidden, inner, heads, kv_heads, vocab = 2048, 5632, 32, 4, 32000
layer = {"input_layernorm.weight": [hidden], "self_attn.q_proj.weight": [hidden, hidden],
         "self_attn.k_proj.weight": [hidden // heads * kv_heads, hidden],
         "self_attn.v_proj.weight": [hidden // heads * kv_heads, hidden], "self_attn.o_proj.weight": [hidden, hidden],
         "post_attention_layernorm.weight": [hidden], "mlp.gate_proj.weight": [inner, hidden],
         "mlp.up_proj.weight": [inner, hidden], "mlp.down_proj.weight": [hidden, inner]}
shared = {"model.embed_tokens.weight": [vocab, hidden], "model.norm.weight": [hidden], "lm_head.weight": [vocab, hidden]}
size = lambda shapes: sum(int(np.prod(shape)) for shape in shapes.values()) * width
layers = max(1, round((options.gigabytes * 1e9 - size(shared)) / size(layer)))
tensors = {**shared, **{f"model.layers.{i}.{name}": shape for i in range(layers) for name, shape in layer.items()}}

folder = pathlib.Path(options.destination)
folder.mkdir(parents=True, exist_ok=True)
(folder / "config.json").write_text(json.dumps({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": inner,
    "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv_heads, "vocab_size": vocab,
    "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
    "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2}, indent=2) + "\n")
header, offset = {}, 0
for name, shape in tensors.items():
    count = int(np.prod(shape)) * width
    header[name] = {"dtype": options.dtype, "shape": shape, "data_offsets": [offset, offset + count]}
    offset += count
text = json.dumps(header).encode()
text += b" " * (-len(text) % 8)
rng = np.random.default_rng(1)
with open(folder / "model.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(text)) + text)
    for name, shape in tensors.items():
        is_norm = len(shape) == 1
        rows = shape[0] if not is_norm else 1
        columns = shape[-1]
        for begin in range(0, rows, 1024):
            part = rng.standard_normal((min(1024, rows - begin), columns), dtype=np.float32)
            values = 1 + 0.05 * part if is_norm else part * (1 / columns ** 0.5)
            raw = values.astype(np.float32)
            if options.dtype == "BF16":
                raw = (raw.view(np.uint32) >> 16).astype(np.uint16)
            file.write(raw.tobytes())
print(f"{folder}: {layers} layers, {offset / 1e9:.2f} GB")
