#!/usr/bin/env python3
"""Writes tests/tensor/blocks.json: what each GGUF block type decodes to, by the `gguf` package.

Per type: one block in full, and the SHA-256 of the floats of many blocks, so that every entry of every codebook is
met. Input bytes are SplitMix64 of the seed, little endian; NaNs count as 0x7fc00000. The four types that gguf has
no decoder for are written out below from the published layouts.

usage: make_block_goldens.py > tests/tensor/blocks.json     (with an interpreter that has gguf and numpy)
"""

import hashlib
import json

import numpy as np
from gguf import quants
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

BLOCKS = 3000


def split_mix(seed, count):
    z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def f16(blocks, at):
    return blocks[:, at : at + 2].copy().view(np.float16).astype(np.float32)


def q8_1(b):
    return f16(b, 0) * b[:, 4:].view(np.int8).astype(np.float32)


def q8_k(b):
    return b[:, :4].copy().view(np.float32) * b[:, 4:260].copy().view(np.int8).astype(np.float32)


def q1_0(b):
    return f16(b, 0) * np.where(np.unpackbits(b[:, 2:], axis=1, bitorder="little"), np.float32(1), np.float32(-1))


def q2_0(b):
    bits = np.unpackbits(b[:, 2:], axis=1, bitorder="little").reshape(len(b), 64, 2).astype(np.float32)
    return f16(b, 0) * (bits[..., 0] + 2 * bits[..., 1] - np.float32(1))


OURS = {"q8_1": (36, q8_1), "q8_k": (292, q8_k), "q1_0": (18, q1_0), "q2_0": (18, q2_0)}


def main():
    types = {}
    for qtype, (elements, size) in GGML_QUANT_SIZES.items():
        if elements > 1 and qtype in quants._type_traits:
            types[qtype.name.lower()] = (size, lambda b, t=qtype: quants.dequantize(b, t))
    types.update(OURS)
    result = {}
    for seed, (name, (size, decode)) in enumerate(sorted(types.items()), 1):
        data = split_mix(seed, (BLOCKS * size + 7) // 8).view(np.uint8)[: BLOCKS * size].reshape(BLOCKS, size)
        with np.errstate(all="ignore"):
            out = decode(data).astype(np.float32).reshape(BLOCKS, -1)
        bits = np.where(np.isnan(out), np.uint32(0x7FC00000), out.view(np.uint32)).astype("<u4")
        shown = next(i for i in range(BLOCKS) if np.isfinite(out[i]).all())
        result[name] = {
            "seed": seed,
            "blocks": BLOCKS,
            "elements": out.shape[1],
            "bytes": size,
            "sha256": hashlib.sha256(bits.tobytes()).hexdigest(),
            "block": data[shown].tobytes().hex(),
            "floats": bits[shown].tobytes().hex(),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
