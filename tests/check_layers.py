#!/usr/bin/env python3
"""Holds the includes of src/ to the layers declared in CMakeLists.txt: arrows point one way only."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
declared = {}
for name, below in re.findall(r"^lathe_layer\((\w+)([^)]*)\)", (root / "CMakeLists.txt").read_text(), re.M):
    direct = below.split()
    unknown = [layer for layer in direct if layer not in declared]
    if unknown:
        sys.exit(f"CMakeLists.txt: {name} names {unknown} before they are declared")
    # What a layer may include is what it names and all that those may include.
    declared[name] = {name, *direct, *(deep for layer in direct for deep in declared[layer])}

CUDA = re.compile(r'#include [<"](cu(da|blas|dnn|fft|rand|solver|sparse|tensor)|nccl|nvrtc|nvml)[\w./]*\.h')
# Devices are reached through backend/device.h: only backend/ names the folder or the namespace of one.
DEVICE = re.compile(r'backend::(cpu|cuda)\b|#include "backend/(cpu|cuda|reference)/')
COLUMNS = 120  # as .clang-format has it
problems, includes = [], 0
for path in sorted((root / "src").rglob("*")):
    if path.suffix not in {".h", ".cpp", ".cu", ".cuh"}:
        continue
    layer = path.relative_to(root / "src").parts[0]
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if len(line) > COLUMNS:
            problems.append(f"{path.relative_to(root)}:{number}: {len(line)} columns, more than {COLUMNS}")
        if CUDA.match(line) and "backend/cuda" not in path.as_posix():
            problems.append(f"{path.relative_to(root)}:{number}: CUDA headers stay in backend/cuda")
        if DEVICE.search(line) and layer != "backend":
            problems.append(f"{path.relative_to(root)}:{number}: {layer} names a device's own code")
        match = re.match(r'#include "([a-z_]+)/', line)
        if not match:
            continue
        includes += 1
        if match[1] not in declared.get(layer, set()):
            problems.append(f"{path.relative_to(root)}:{number}: {layer} may not include {match[1]}")
if includes < 100:
    problems.append(f"only {includes} includes were read: is src/ where it should be?")
lines = {p: len(p.read_text().splitlines()) for p in (root / "src").rglob("*") if p.suffix in {".h", ".cpp"}}
problems += [f"{p.relative_to(root)}: {count} lines, more than 1,000" for p, count in lines.items() if count > 1000]
print("\n".join(problems) or f"{includes} includes follow the layers")
sys.exit(1 if problems else 0)
