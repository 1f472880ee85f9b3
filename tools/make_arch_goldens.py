#!/usr/bin/env python3
"""Tiny random checkpoints of each architecture, with the logits and greedy tokens that transformers gives.

Run once (torch 2.15, transformers 5.23); the results are committed under tests/arch. Sizes are uneven on purpose.
Usage: make_arch_goldens.py [NAME ...]
"""
import json
import pathlib
import shutil
import sys

import numpy as np
import torch
from transformers import (GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig,
                          LlamaForCausalLM)

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "arch"
PROMPT_TOKENS, NEW_TOKENS = 21, 12


def llama(**changes):
    settings = dict(vocab_size=67, hidden_size=42, intermediate_size=56, num_hidden_layers=2, num_attention_heads=6,
                    num_key_value_heads=2, head_dim=12, max_position_embeddings=128, rms_norm_eps=1e-5,
                    tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)
    return LlamaForCausalLM, LlamaConfig(**{**settings, **changes})


def neox(**changes):
    settings = dict(vocab_size=71, hidden_size=48, intermediate_size=88, num_hidden_layers=2, num_attention_heads=3,
                    max_position_embeddings=128, rotary_pct=0.25, use_parallel_residual=True, bos_token_id=0,
                    eos_token_id=0)
    return GPTNeoXForCausalLM, GPTNeoXConfig(**{**settings, **changes})


def gpt2(**changes):
    settings = dict(vocab_size=67, n_positions=128, n_embd=48, n_layer=2, n_head=4, n_inner=88, bos_token_id=0,
                    eos_token_id=0)
    return GPT2LMHeadModel, GPT2Config(**{**settings, **changes})


def rope(kind, **more):
    return {"rope_type": kind, "rope_theta": 10000.0, **more}


CASES = {
    "llama_gqa": (llama(), torch.float32),
    "llama_mha_tied": (llama(num_key_value_heads=6, tie_word_embeddings=True), torch.float32),
    "llama_bias": (llama(attention_bias=True, mlp_bias=True, head_dim=None, hidden_size=48), torch.float32),
    "llama_one_kv_head": (llama(num_key_value_heads=1, head_dim=16), torch.float32),
    "llama_gelu": (llama(hidden_act="gelu"), torch.float32),
    "llama_rope_linear": (llama(rope_parameters=rope("linear", factor=4.0)), torch.float32),
    "llama_rope_dynamic": (llama(max_position_embeddings=16, rope_parameters=rope("dynamic", factor=2.0)),
                           torch.float32),
    "llama_rope_llama3": (llama(rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                     original_max_position_embeddings=32)), torch.float32),
    "llama_rope_yarn": (llama(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=32)),
                        torch.float32),
    "llama_bf16": (llama(), torch.bfloat16),
    "llama_f16": (llama(), torch.float16),
    "neox_parallel": (neox(), torch.float32),
    "neox_sequential": (neox(use_parallel_residual=False), torch.float32),
    "neox_full_rotary": (neox(rotary_pct=1.0), torch.float32),
    "neox_no_bias": (neox(attention_bias=False), torch.float32),
    "gpt2": (gpt2(), torch.float32),
    "gpt2_untied": (gpt2(tie_word_embeddings=False, n_embd=32, n_head=2, n_inner=None, activation_function="gelu"),
                    torch.float32),
    "gpt2_f16": (gpt2(), torch.float16),
    "neox_tied_bf16": (neox(tie_word_embeddings=True), torch.bfloat16),
}


def randomise(model, seed):
    """Weights large enough that every part of the model shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("norm.weight") or "layernorm.weight" in name or "layer_norm.weight" in name \
                    or (".ln_" in name and name.endswith("weight")):
                parameter.copy_(1 + 0.2 * noise)
            elif parameter.dim() == 1:
                parameter.copy_(0.2 * noise)
            else:
                parameter.copy_(noise * (1.5 / parameter.shape[-1] ** 0.5))


def make(name):
    (model_class, config), dtype = CASES[name]
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    model = model_class(config)
    randomise(model, sum(map(ord, name)))
    model = model.to(dtype).eval()
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    generator = torch.Generator().manual_seed(7)
    prompt = torch.randint(3, config.vocab_size, (1, PROMPT_TOKENS), generator=generator)
    # Logits in fp32 on the stored weights: what rounding a lower precision does is measured, not copied.
    exact = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = exact(prompt).logits[0]
        tokens = exact.generate(prompt, max_new_tokens=NEW_TOKENS, do_sample=False, use_cache=True,
                                eos_token_id=None, pad_token_id=0)[0, PROMPT_TOKENS:]
    np.save(folder / "logits.npy", logits.numpy().astype(np.float32))
    golden = {"prompt": prompt[0].tolist(), "greedy": tokens.tolist()}
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    print(name, sum(p.stat().st_size for p in folder.iterdir()), "bytes")


for case in sys.argv[1:] or CASES:
    make(case)
