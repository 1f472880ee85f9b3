#!/usr/bin/env python3
"""The operators that occur in the ONNX tests: tests/op/conformance_operators.txt.

Usage: make_conformance_operators.py ONNX_TESTS tests/op/conformance_operators.txt   (needs the onnx package)
ONNX_TESTS is onnx/backend/test/data of the wheel onnx 1.22.0. An operator in this list is tested by `lathe conformance`;
test_op wants goldens for every other one.
"""
import pathlib
import sys

import onnx

tests, destination = map(pathlib.Path, sys.argv[1:])
names = set()
for path in sorted([*tests.glob("node/*/model.onnx"), *tests.glob("simple/*/model.onnx")]):
    if path.parent.name.endswith("_expanded"):
        continue  # what an operator is made of is no test of the parts
    if "gradient" in path.parent.name:
        continue  # operators of training
    for node in onnx.load(path).graph.node:
        names.add(f"{node.domain}.{node.op_type}" if node.domain else node.op_type)
destination.write_text("# onnx 1.22.0, tools/make_conformance_operators.py\n" + "".join(f"{n}\n" for n in sorted(names)))
