#!/usr/bin/env python3
"""Since which opset operators, their attributes and their inputs are as they are: tests/op/since.txt.

Usage: make_op_since.py src/op tests/op/since.txt   (needs the onnx package; its schemas are the source)
Lines: `Op N`, `Op.attribute N`, `Op#input N`, for the operators that have a file in src/op; what is 13 or older is 1.
An operator of another domain than ONNX's own is `domain.Op`, and N counts the opsets of that domain, all of them.
Attributes that ONNX dropped (an axis list that became an input) are left out.
"""
import pathlib
import re
import sys

import onnx

sources, destination = map(pathlib.Path, sys.argv[1:])
ours = {name for file in sources.glob("*.cpp")
        for name in re.findall(r'(?:\.name = |reduce_def\(\s*)"((?:[a-z]+\.)*[A-Z]\w*)"', file.read_text())}
history = {}
for schema in onnx.defs.get_all_schemas_with_history():
    name = f"{schema.domain}.{schema.name}" if schema.domain else schema.name
    if name in ours:
        history.setdefault(name, []).append(schema)
lines = []
for name in sorted(history):
    schemas = sorted(history[name], key=lambda schema: schema.since_version)
    oldest = 1 if schemas[0].domain else 13
    first = lambda versions: 1 if min(versions) <= oldest else min(versions)
    lines.append(f"{name} {first([s.since_version for s in schemas])}")
    for attribute in sorted(schemas[-1].attributes):
        lines.append(f"{name}.{attribute} {first([s.since_version for s in schemas if attribute in s.attributes])}")
    newest = [spec.name for spec in schemas[-1].inputs]
    for i, input_name in enumerate(newest):
        # An input may have been called otherwise: then its place was held by a name that is gone.
        has = lambda names: input_name in names or (i < len(names) and names[i] not in newest)
        lines.append(f"{name}#{i} {first([s.since_version for s in schemas if has([p.name for p in s.inputs])])}")
destination.write_text(f"# onnx {onnx.__version__}, tools/make_op_since.py\n" + "\n".join(lines) + "\n")
