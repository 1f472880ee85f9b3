#!/usr/bin/env python3
"""Makes tests/frontend/contrib: single nodes of the domain com.microsoft with inputs and expected outputs.

    make_contrib_goldens.py OUT        (needs numpy, onnx, onnxruntime 1.31)

One folder a case, as ONNX backend tests have them (model.onnx, test_data_set_0/*.pb), with tolerances in data.json.
The outputs are what ONNX Runtime's CPU provider computes, unoptimised. Where it has no kernel for the operator or the
variant, a case brings a formula in numpy, written from the operator's published schema; the model's doc_string says
which of the two it was. The cases are in contrib_cases.py, contrib_quantized_cases.py and contrib_attention_cases.py.
"""
import json
import pathlib
import shutil
import sys
import zlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

OUT = pathlib.Path(sys.argv[1] if __name__ == "__main__" else "")
# By type of the output: of floats a few units in the last place of sums of some dozen terms, of integers nothing.
TOLERANCE = {np.dtype(np.float32): (1e-5, 2e-6), np.dtype(np.float16): (2e-3, 1e-3), np.dtype(np.float64): (1e-9, 1e-9)}


class Constant:
    """An input that is stored in the model."""

    def __init__(self, values, data_type=None):
        self.values, self.data_type = values, data_type

    def tensor(self, name):
        if self.data_type is None:
            return numpy_helper.from_array(self.values, name)
        return helper.make_tensor(name, self.data_type, self.values.shape, self.values.flatten())  # packs 4-bit values


def rng_of(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def run_onnxruntime(model, feeds):
    """The outputs, or why there are none."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, feeds), ""
    except Exception as error:  # no common type: NotImplemented, Fail, InvalidGraph, RuntimeException
        return None, str(error).splitlines()[0]


def build(op, inputs, types, attributes, *, domain, opset, dims, doc=""):
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    while names and not names[-1]:
        names.pop()
    outputs = [f"y{i}" if t else "" for i, t in enumerate(types)]
    node = helper.make_node(op, names, outputs, name=op.lower(), domain=domain, **attributes)
    infos, initializers = [], []
    for i, x in enumerate(inputs):
        if isinstance(x, Constant):
            initializers.append(x.tensor(names[i]))
        elif x is not None:
            shape = (dims or {}).get(i, x.shape)
            infos.append(helper.make_tensor_value_info(names[i], helper.np_dtype_to_tensor_dtype(x.dtype), shape))
    results = [helper.make_tensor_value_info(f"y{i}", t, None) for i, t in enumerate(types) if t]
    graph = helper.make_graph([node], "contrib", infos, results, initializers, doc_string=doc)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def write(folder, model, feeds, outputs, tolerance):
    shutil.rmtree(folder, ignore_errors=True)
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    for kind, values in (("input", feeds.values()), ("output", outputs)):
        for i, value in enumerate(values):
            (data / f"{kind}_{i}.pb").write_bytes(numpy_helper.from_array(np.asarray(value)).SerializeToString())
    (folder / "data.json").write_text(json.dumps({"rtol": tolerance[0], "atol": tolerance[1]}) + "\n")


def case(name, op, inputs, outputs=(np.float32,), formula=None, *, domain="com.microsoft", opset=21, dims=None,
         tolerance=None, **attributes):
    """One folder. `outputs` are types, None for an output that is not wanted; `dims` names dimensions of inputs."""
    if "opset_" in attributes:  # an attribute of this name
        attributes["opset"] = attributes.pop("opset_")
    types = [t and helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in outputs]
    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None and not isinstance(x, Constant)}
    settings = {"domain": domain, "opset": opset, "dims": dims}
    found, reason = run_onnxruntime(build(op, inputs, types, attributes, **settings), feeds)
    if found is not None and formula is not None:
        raise SystemExit(f"{name}: ONNX Runtime computes this, no formula is needed")
    if found is None and formula is None:
        raise SystemExit(f"{name}: {reason}")
    by = f"outputs of ONNX Runtime {ort.__version__}"
    if found is None:
        arrays = [x.values if isinstance(x, Constant) else x for x in inputs]
        found = formula(*arrays)
        by = f"outputs by the formula in tools ({reason[:90]})"
    found = [np.asarray(x) for x in found]
    for value, wanted in zip(found, [t for t in outputs if t], strict=True):
        assert value.dtype == wanted, f"{name}: {value.dtype}, not {wanted}"
    model = build(op, inputs, types, attributes, **settings, doc=by)
    tolerances = [tolerance or TOLERANCE.get(x.dtype, (0, 0)) for x in found]
    write(OUT / name, model, feeds, found, max(tolerances))
    print(f"{name}: {by}")


if __name__ == "__main__":
    sys.modules["make_contrib_goldens"] = sys.modules["__main__"]
    import contrib_attention_cases
    import contrib_cases
    import contrib_quantized_cases

    for module in (contrib_cases, contrib_quantized_cases, contrib_attention_cases):
        module.write_cases()
