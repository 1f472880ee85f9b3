#!/usr/bin/env python3
"""Tiny GGUF checkpoints in several block formats, with the logits and greedy tokens that transformers gives on the
dequantised weights. Rows are put into GGUF's order here, as llama.cpp's converter documents it, so that reading them
back right is what is tested. Run once (gguf 0.19, torch 2.15, transformers 5.23); results live in tests/arch.

Usage: make_gguf_goldens.py [NAME ...]

Names are those of CASES; without one, all are written. All draw from one stream of random numbers, so the cases before
a named one are made too, in a temporary folder, and a new case goes to the end of CASES: the others stay as they are.
"""
import json
import pathlib
import shutil
import sys
import tempfile

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from transformers import (GPT2Config, GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig,
                          LlamaForCausalLM)

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "arch"
rng = np.random.default_rng(11)


def random_k_blocks(rows, columns, kind):
    """Random codes with small scales: any bits are a valid block as long as the fp16 fields are sane."""
    block, size = gguf.GGML_QUANT_SIZES[kind]
    data = rng.integers(0, 256, (rows, columns // block, size), dtype=np.uint8)
    scale = lambda low, high: rng.uniform(low, high, (rows, columns // block, 1)).astype(np.float16).view(np.uint8)
    if kind in (Q.Q4_K, Q.Q5_K):
        top = 4e-4 if kind == Q.Q4_K else 2e-4
        data[..., 0:2], data[..., 2:4] = scale(0.5 * top, top), scale(3e-3, 6e-3)
    elif kind == Q.Q3_K:
        data[..., 108:110] = scale(1e-3, 3e-3)
    else:
        data[..., 208:210] = scale(1e-5, 4e-5)
    return data.reshape(rows, -1)


def encode(weight, kind):
    if kind in (Q.F32, Q.F16):
        return weight.astype(np.float32 if kind == Q.F32 else np.float16), weight.astype(
            np.float32 if kind == Q.F32 else np.float16).astype(np.float32)
    if kind in (Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K):
        blocks = random_k_blocks(*weight.shape, kind)
    else:
        blocks = gguf.quants.quantize(weight, kind)
    return blocks, gguf.quants.dequantize(blocks, kind).astype(np.float32)


def from_meta_order(rows, heads):
    """Interleaved pairs, as GGUF's llama has them, to halves, along axis 0."""
    return rows.reshape(heads, rows.shape[0] // heads // 2, 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def llama(folder, kinds, hidden=64, heads=4, kv_heads=2, inner=96, layers=2, vocab=70):
    config = LlamaConfig(vocab_size=vocab, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
                         num_attention_heads=heads, num_key_value_heads=kv_heads, max_position_embeddings=128,
                         rms_norm_eps=1e-5, tie_word_embeddings="head" not in kinds, bos_token_id=1, eos_token_id=2)
    model = LlamaForCausalLM(config).eval()
    writer = start(folder, "llama", config)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(hidden // heads)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
             "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
             "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    for key, parameter in model.named_parameters():
        part = key.removeprefix("model.").removesuffix(".weight")
        turn = None
        if part.startswith("layers."):
            _, layer, rest = part.split(".", 2)
            stored = f"blk.{layer}.{names[rest]}.weight"
            turn = {"attn_q": heads, "attn_k": kv_heads}.get(names[rest])
            kind = kinds.get(names[rest], kinds["default"])
        else:
            stored = {"embed_tokens": "token_embd.weight", "norm": "output_norm.weight",
                      "lm_head": "output.weight"}[part]
            kind = kinds.get({"lm_head": "head", "embed_tokens": "embed"}.get(part, ""), kinds["default"])
        put(writer, stored, parameter, kind, turn)
    finish(folder, writer, model, vocab)


def neox(folder, kinds, hidden=64, heads=4, inner=96, layers=2, vocab=70):
    config = GPTNeoXConfig(vocab_size=vocab, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
                           num_attention_heads=heads, max_position_embeddings=128, rotary_pct=0.5,
                           use_parallel_residual=True, bos_token_id=0, eos_token_id=0)
    model = GPTNeoXForCausalLM(config).eval()
    writer = start(folder, "gptneox", config)
    writer.add_layer_norm_eps(1e-5)
    writer.add_parallel_residual(True)
    writer.add_rope_dimension_count(hidden // heads // 2)
    names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
             "attention.query_key_value": "attn_qkv", "attention.dense": "attn_output",
             "mlp.dense_h_to_4h": "ffn_up", "mlp.dense_4h_to_h": "ffn_down"}
    for key, parameter in model.named_parameters():
        part, kind_of = key.removeprefix("gpt_neox.").rsplit(".", 1)
        if part.startswith("layers."):
            _, layer, rest = part.split(".", 2)
            stored = f"blk.{layer}.{names[rest]}.{kind_of}"
        else:
            stored = {"embed_in": "token_embd", "final_layer_norm": "output_norm", "embed_out": "output",
                      "lm_head": "output"}[part] + f".{kind_of}"
        if "query_key_value" in key:  # per head [q, k, v] -> all q, all k, all v
            with torch.no_grad():
                put(writer, stored, parameter, kinds["default"], None, split_heads=heads)
        else:
            put(writer, stored, parameter, kinds["default"], None)
    finish(folder, writer, model, vocab)


def gpt2(folder, kinds, hidden=64, heads=4, inner=96, layers=2, vocab=70):
    config = GPT2Config(vocab_size=vocab, n_embd=hidden, n_inner=inner, n_layer=layers, n_head=heads, n_positions=128,
                        tie_word_embeddings="head" not in kinds, bos_token_id=0, eos_token_id=0)
    config.intermediate_size = inner
    model = GPT2LMHeadModel(config).eval()
    writer = start(folder, "gpt2", config, rotary=False)
    writer.add_layer_norm_eps(1e-5)
    names = {"ln_1": "attn_norm", "ln_2": "ffn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
             "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
    for key, parameter in model.named_parameters():
        part, kind_of = key.removeprefix("transformer.").rsplit(".", 1)
        if part.startswith("h."):
            _, layer, rest = part.split(".", 2)
            stored = f"blk.{layer}.{names[rest]}.{kind_of}"
            matrix = kind_of == "weight" and parameter.dim() == 2
            value = parameter.data.T if matrix else parameter  # stored by output
        else:
            stored = {"wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "lm_head": "output"}[part]
            stored, value = f"{stored}.{kind_of}", parameter
        kind = kinds.get({"lm_head": "head", "wte": "embed", "wpe": "positions"}.get(part, ""), kinds["default"])
        put(writer, stored, value, kind, None)
    finish(folder, writer, model, vocab)


def put(writer, stored, parameter, kind, turn, split_heads=None):
    """Writes one tensor and sets the parameter to what the file says."""
    shape = tuple(parameter.shape)
    value = rng.standard_normal(shape).astype(np.float32)
    if len(shape) == 1:
        is_scale = stored.endswith("norm.weight")
        value = (1 + 0.2 * value) if is_scale else 0.2 * value
        writer.add_tensor(stored, value.astype(np.float32))
        final = value
        if split_heads:
            final = value.reshape(3, split_heads, -1).swapaxes(0, 1).reshape(shape)
    else:
        value *= 1.5 / shape[1] ** 0.5
        raw, exact = encode(value, kind)
        if kind in (Q.F32, Q.F16):
            writer.add_tensor(stored, raw)
        else:
            writer.add_tensor(stored, raw, raw_dtype=kind)
        final = exact
        if turn:
            final = from_meta_order(exact, turn)
        if split_heads:
            final = exact.reshape(3, split_heads, -1, shape[1]).swapaxes(0, 1).reshape(shape)
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(final, dtype=np.float32)))


def start(folder, architecture, config, rotary=True):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    writer = gguf.GGUFWriter(folder / "model.gguf", architecture)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    if rotary:
        writer.add_rope_freq_base(10000.0)
    return writer


def finish(folder, writer, model, vocab):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    prompt = torch.randint(3, vocab, (1, 21), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        logits = model(prompt).logits[0]
        tokens = model.generate(prompt, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0)[0, 21:]
    np.save(folder / "logits.npy", logits.numpy().astype(np.float32))
    (folder / "golden.json").write_text(json.dumps({"prompt": prompt[0].tolist(), "greedy": tokens.tolist()}) + "\n")
    print(folder, sum(p.stat().st_size for p in folder.iterdir()), "bytes")


# How it is made, in which types, and sizes other than the usual.
CASES = {
    "gguf_llama_q4_0": (llama, {"default": Q.Q4_0, "head": Q.Q8_0}),
    "gguf_llama_q4_1_tied": (llama, {"default": Q.Q4_1, "embed": Q.Q8_0}),
    "gguf_llama_q5_mix": (llama, {"default": Q.Q5_0, "ffn_down": Q.Q5_1, "attn_v": Q.Q8_0, "head": Q.F16,
                                  "embed": Q.F32}),
    "gguf_llama_f16": (llama, {"default": Q.F16}),
    "gguf_llama_q4_k_m": (llama, {"default": Q.Q4_K, "attn_v": Q.Q6_K, "ffn_down": Q.Q6_K, "ffn_up": Q.Q5_K,
                                  "head": Q.Q6_K}, dict(hidden=256, heads=4, kv_heads=2, inner=256, layers=1)),
    "gguf_neox_q8_0": (neox, {"default": Q.Q8_0}),
    # A format without packed layout of its own: the engine holds its matrices in f32.
    "gguf_llama_q3_k": (llama, {"default": Q.Q3_K, "attn_v": Q.Q4_K, "head": Q.Q6_K},
                        dict(hidden=256, heads=4, kv_heads=2, inner=256, layers=1)),
    "gguf_gpt2_q4_1": (gpt2, {"default": Q.Q4_1, "embed": Q.Q8_0, "positions": Q.F32}),
}


def main(wanted):
    unknown = wanted - CASES.keys()
    if unknown:
        sys.exit(f"no case {', '.join(sorted(unknown))}; known: {', '.join(CASES)}")
    left = set(wanted)
    with tempfile.TemporaryDirectory() as scratch:
        for name, (make, kinds, *sizes) in CASES.items():
            make((ROOT if name in wanted else pathlib.Path(scratch)) / name, kinds, **dict(*sizes))
            left.discard(name)
            if not left:
                break


main(set(sys.argv[1:]) or set(CASES))
