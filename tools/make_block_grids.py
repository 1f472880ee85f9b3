#!/usr/bin/env python3
"""Writes src/tensor/block_grids.h: the codebooks of GGUF's IQ formats, one packed 16-bit word per entry.

The codebooks are constants of the format. They are read from the `gguf` package, where each entry is a run of
indices into a short list of values; the packed words keep that form.

usage: make_block_grids.py > src/tensor/block_grids.h     (with an interpreter that has gguf and numpy)
"""

import numpy as np
from gguf import quants

TABLES = [
    ("kIq2XxsGrid", quants.IQ2_XXS),
    ("kIq2XsGrid", quants.IQ2_XS),
    ("kIq2SGrid", quants.IQ2_S),
    ("kIq3XxsGrid", quants.IQ3_XXS),
    ("kIq3SGrid", quants.IQ3_S),
    ("kIq1Grid", quants.IQ1_S),
]

HEADER = """\
// Codebooks of GGUF's IQ block formats. Written by tools/make_block_grids.py; do not edit.
//
// IQ1 and IQ2: a word holds 8 indices of 2 bits; IQ3: 4 indices of 4 bits; the first element in the lowest bits.
// What an index stands for is in block_codebook.cpp.
#pragma once

#include <array>
#include <cstdint>

namespace lathe::tensor {

// clang-format off
"""


def main():
    print(HEADER, end="")
    for name, cls in TABLES:
        words = np.frombuffer(bytes.fromhex(cls.grid_hex.decode()), dtype="<u2")
        assert len(words) == cls.grid_shape[0]
        print(f"inline constexpr std::array<uint16_t, {len(words)}> {name} = {{")
        for i in range(0, len(words), 16):
            print("  " + ",".join(f"0x{w:x}" for w in words[i : i + 16]) + ",")
        print("};")
    print("// clang-format on\n\n}  // namespace lathe::tensor")


if __name__ == "__main__":
    main()
