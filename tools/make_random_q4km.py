#!/usr/bin/env python3
"""A 1.1B Llama GGUF in the mix of types that Q4_K_M has, with random weights: for speed figures only.

Usage: make_random_q4km.py TOKENIZER.gguf DESTINATION.gguf [--layers 22]   (needs numpy and gguf)
The vocabulary is TOKENIZER's. Q4_K everywhere, Q6_K for the output and, in every other layer, for the value and down
projections. Scales are such that weights have about the spread of trained ones.
"""
import argparse

import gguf
import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("tokenizer")
parser.add_argument("destination")
parser.add_argument("--layers", type=int, default=22)
options = parser.parse_args()

HIDDEN, INNER, HEADS, KV_HEADS = 2048, 5632, 32, 4
rng = np.random.default_rng(1)
source = gguf.GGUFReader(options.tokenizer)
writer = gguf.GGUFWriter(options.destination, "llama")
for field in source.fields.values():
    if not field.name.startswith("tokenizer."):
        continue
    kind = field.types[0]
    value = field.contents()
    if kind == gguf.GGUFValueType.ARRAY:
        writer.add_array(field.name, value)
    else:
        writer.add_key_value(field.name, value, kind)
vocab = len(source.fields["tokenizer.ggml.tokens"].contents())
writer.add_context_length(8192)
writer.add_embedding_length(HIDDEN)
writer.add_block_count(options.layers)
writer.add_feed_forward_length(INNER)
writer.add_head_count(HEADS)
writer.add_head_count_kv(KV_HEADS)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_rope_freq_base(10000.0)
writer.add_rope_dimension_count(HIDDEN // HEADS)
writer.add_vocab_size(vocab)
writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_K_M)


def halves(values):
    return np.float16(values).view(np.uint8).reshape(-1, 2)


def q4_k(rows, columns):
    blocks = rows * columns // 256
    data = rng.integers(0, 256, (blocks, 144), dtype=np.uint8)
    step = 1 / columns**0.5 / (32 * 4.6)  # codes 0..15 have a spread of 4.6, 6-bit scales a mean of 32
    data[:, 0:2] = halves(np.full(blocks, step))
    data[:, 2:4] = halves(np.full(blocks, step * 7.5))
    return data.reshape(rows, -1), gguf.GGMLQuantizationType.Q4_K


def q6_k(rows, columns):
    blocks = rows * columns // 256
    data = rng.integers(0, 256, (blocks, 210), dtype=np.uint8)
    data[:, 192:208] = rng.integers(20, 45, (blocks, 16), dtype=np.uint8)
    data[:, 208:210] = halves(np.full(blocks, 1 / columns**0.5 / (32 * 18.5)))
    return data.reshape(rows, -1), gguf.GGMLQuantizationType.Q6_K


def add(name, make, rows, columns):
    data, kind = make(rows, columns)
    writer.add_tensor(name, data, raw_dtype=kind)


def norm(name):
    writer.add_tensor(name, np.float32(1 + 0.05 * rng.standard_normal(HIDDEN)))


add("token_embd.weight", q4_k, vocab, HIDDEN)
for i in range(options.layers):
    more = q6_k if i % 2 == 0 else q4_k
    prefix = f"blk.{i}."
    norm(prefix + "attn_norm.weight")
    add(prefix + "attn_q.weight", q4_k, HIDDEN, HIDDEN)
    add(prefix + "attn_k.weight", q4_k, HIDDEN // HEADS * KV_HEADS, HIDDEN)
    add(prefix + "attn_v.weight", more, HIDDEN // HEADS * KV_HEADS, HIDDEN)
    add(prefix + "attn_output.weight", q4_k, HIDDEN, HIDDEN)
    norm(prefix + "ffn_norm.weight")
    add(prefix + "ffn_gate.weight", q4_k, INNER, HIDDEN)
    add(prefix + "ffn_up.weight", q4_k, INNER, HIDDEN)
    add(prefix + "ffn_down.weight", more, HIDDEN, INNER)
norm("output_norm.weight")
add("output.weight", q6_k, vocab, HIDDEN)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
