#!/usr/bin/env python3
"""Writes tests/diffuse/random.json: normals of torch's CPU generator and of numpy's RandomState for seeds and sizes.

Each case draws its sizes one after the other from one stream. The first of them are written as bits, all of them as a
sum: bits[i] * (2 i + 1) modulo 2^64. Run it where torch says it uses AVX2 or AVX512. The numbers of the CUDA generator
are those that Stable Diffusion web UI's rng_philox.py documents (written down from a GPU)."""
import json
import pathlib

import numpy as np
import torch

SHOWN = 24


def row(kind, seed, sizes, arrays):
    bits = np.concatenate([a.view(np.uint32) for a in arrays]).astype(np.uint64)
    with np.errstate(over="ignore"):
        total = int((bits * (2 * np.arange(len(bits), dtype=np.uint64) + 1)).sum())
    return {"kind": kind, "seed": seed, "sizes": sizes, "first": [int(b) for b in bits[:SHOWN]], "sum": str(total)}


def torch_case(seed, sizes):
    generator = torch.Generator("cpu").manual_seed(seed)
    return row("torch", seed, sizes, [torch.randn(n, generator=generator).numpy() for n in sizes])


def numpy_case(seed, sizes):
    state = np.random.RandomState(seed)
    return row("numpy", seed, sizes, [state.randn(n).astype(np.float32) for n in sizes])


def main():
    assert torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    cases = [torch_case(seed, [n]) for seed in (0, 42)
             for n in (1, 2, 5, 15, 16, 17, 31, 32, 33, 35, 47, 100, 140, 768, 16384)]
    cases += [torch_case(7, [5, 3, 16, 1, 7, 17, 2, 15, 40, 1]), torch_case(8, [1] * 40 + [64, 1, 1, 31])]
    cases += [torch_case(seed, [65536, 35]) for seed in range(1000, 1040)]
    cases += [torch_case(seed, [4096]) for seed in (2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 5, 2**53 - 1)]
    cases += [numpy_case(seed, [3, 4, 100, 1]) for seed in (0, 33, 2**32 - 1)] + [numpy_case(5, [16384])]
    target = pathlib.Path(__file__).resolve().parent.parent / "tests" / "diffuse" / "random.json"
    target.write_text("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
    print(len(cases), "cases,", sum(sum(c["sizes"]) for c in cases), "normals,", target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
