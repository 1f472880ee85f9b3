#!/usr/bin/env python3
"""Makes tests/graph/quantized: small networks as ONNX Runtime's quantisers write them, with what it computes.

    make_quantized_goldens.py OUT        (needs numpy, onnx, onnxruntime 1.31)

One folder a case, as ONNX backend tests have them. Each network is quantised by onnxruntime.quantization with random
calibration data; the outputs are those of ONNX Runtime with all optimisations, which computes with integers. Bytes and
floats made of bytes are to be equal, or where a case says so, within one step of their scale: ONNX Runtime adds two
quantised values, averages and multiplies after other roundings than the operators say.
"""
import json
import pathlib
import shutil
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

OUT = pathlib.Path(sys.argv[1])


class Net:
    """Nodes one after another; weights are random."""

    def __init__(self, seed, dims):
        self.rng, self.dims = np.random.default_rng(seed), dims
        self.nodes, self.weights, self.last = [], [], "x"

    def constant(self, array):
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def add(self, op, *inputs, **attributes):
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def conv(self, x, features, channels, kernel, group=1, **attributes):
        w = self.rng.standard_normal((features, channels // group, *kernel))
        w /= np.sqrt(channels / group * np.prod(kernel))
        b = self.constant((self.rng.standard_normal(features) * 0.2).astype(np.float32))
        return self.add("Conv", x, self.constant(w.astype(np.float32)), b, group=group,
                        kernel_shape=list(kernel), **attributes)

    def linear(self, x, columns, features, bias=True):
        w = self.rng.standard_normal((columns, features)) / np.sqrt(columns)
        y = self.add("MatMul", x, self.constant(w.astype(np.float32)))
        return self.add("Add", y, self.constant(self.rng.standard_normal(features).astype(np.float32))) if bias else y

    def model(self, y):
        self.nodes[-1].output[0] = "y" if self.nodes[-1].output[0] == y else self.nodes[-1].output[0]
        graph = helper.make_graph(self.nodes, "net", [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.dims)],
                                  [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        return onnx.shape_inference.infer_shapes(model, strict_mode=True)


def residual_net(seed):
    """Everything that a classifier has: a stem of three channels, a residual, a depthwise block, a pool."""
    n = Net(seed, [2, 3, 18, 15])
    a = n.add("Relu", n.conv("x", 16, 3, (5, 3), strides=[2, 1], pads=[2, 1, 2, 1]))
    a = n.add("MaxPool", a, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    b = n.add("Relu", n.conv(a, 20, 16, (1, 1)))
    b = n.add("Relu", n.conv(b, 20, 20, (3, 3), pads=[1, 1, 1, 1]))
    b = n.conv(b, 16, 20, (1, 1))
    a = n.add("Relu", n.add("Add", a, b))
    b = n.add("Clip", n.conv(a, 16, 16, (3, 3), group=16, pads=[1, 1, 1, 1]), n.constant(np.float32(0)),
              n.constant(np.float32(6)))
    a = n.conv(b, 24, 16, (2, 2), group=2, dilations=[2, 1])
    a = n.add("Flatten", n.add("GlobalAveragePool", a))
    w = n.rng.standard_normal((10, 24)).astype(np.float32) / 5
    return n.model(n.add("Gemm", a, n.constant(w), n.constant(n.rng.standard_normal(10).astype(np.float32)), transB=1))


def chain(seed):
    """Convolutions alone: no operator whose rounding is a matter of taste."""
    n = Net(seed, [1, 6, 9, 11])
    a = n.add("Relu", n.conv("x", 40, 6, (3, 3), pads=[1, 1, 1, 1]))
    a = n.conv(a, 40, 40, (3, 3), group=40, strides=[2, 1], pads=[1, 1, 1, 1])
    a = n.add("Relu", n.conv(a, 70, 40, (1, 1)))
    return n.model(n.conv(a, 33, 70, (2, 3), strides=[1, 2], pads=[0, 1, 1, 0]))


def perceptron(seed):
    n = Net(seed, [5, 7, 40])
    a = n.add("Relu", n.linear("x", 40, 66))
    return n.model(n.linear(a, 66, 21, bias=False))


def functions(seed):
    """Functions of one byte, Concat, Transpose and Reshape between products."""
    n = Net(seed, [3, 8, 20])
    a = n.linear("x", 20, 12, bias=False)
    a = n.add("Concat", n.add("Sigmoid", a), n.add("LeakyRelu", a, alpha=0.1), axis=2)
    a = n.add("Reshape", n.add("Transpose", a, perm=[0, 2, 1]), n.constant(np.array([6, -1], np.int64)))
    return n.model(n.linear(a, 96, 9, bias=False))


class Samples(CalibrationDataReader):
    def __init__(self, dims):
        self.rows = iter([{"x": np.random.default_rng(i).standard_normal(dims).astype(np.float32)} for i in range(4)])

    def get_next(self):
        return next(self.rows, None)


U8, I8 = QuantType.QUInt8, QuantType.QInt8
# name, network, seed, how; one_step: see above.
CASES = [
    ("chain_qdq", chain, 1, dict(quant_format=QuantFormat.QDQ, activation_type=U8, weight_type=I8, per_channel=True),
     False),
    ("chain_qdq_signed", chain, 2, dict(quant_format=QuantFormat.QDQ, activation_type=I8, weight_type=I8), False),
    ("chain_qdq_unsigned", chain, 3, dict(quant_format=QuantFormat.QDQ, activation_type=U8, weight_type=U8), False),
    ("chain_qoperator", chain, 4, dict(quant_format=QuantFormat.QOperator, activation_type=U8, weight_type=I8,
                                       per_channel=True), False),
    ("residual_qdq", residual_net, 5, dict(quant_format=QuantFormat.QDQ, activation_type=U8, weight_type=I8,
                                           per_channel=True), True),
    ("residual_qoperator", residual_net, 6, dict(quant_format=QuantFormat.QOperator, activation_type=U8, weight_type=I8,
                                                 per_channel=True), True),
    ("perceptron_qdq", perceptron, 7, dict(quant_format=QuantFormat.QDQ, activation_type=U8, weight_type=I8,
                                           per_channel=True), False),
    ("perceptron_qoperator", perceptron, 8,
     dict(quant_format=QuantFormat.QOperator, activation_type=I8, weight_type=I8), False),
    ("functions_qdq", functions, 9, dict(quant_format=QuantFormat.QDQ, activation_type=U8, weight_type=I8), True),
    ("perceptron_dynamic", perceptron, 10, None, False),
    ("chain_dynamic", chain, 11, None, False),
]


def quantise(model, how, path):
    with tempfile.TemporaryDirectory() as folder:
        plain = pathlib.Path(folder) / "plain.onnx"
        onnx.save(model, plain)
        if how is None:
            quantize_dynamic(plain, path, weight_type=QuantType.QUInt8)
        else:
            dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
            quantize_static(plain, path, Samples(dims), **how)


def last_scale(model):
    """The scale of the DequantizeLinear that gives the output."""
    for node in model.graph.node:
        if "y" in node.output and node.op_type == "DequantizeLinear":
            return float(next(numpy_helper.to_array(w) for w in model.graph.initializer if w.name == node.input[1]))
    return 0.0


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    for name, net, seed, how, one_step in CASES:
        folder = OUT / name
        data = folder / "test_data_set_0"
        data.mkdir(parents=True)
        plain = net(seed)
        quantise(plain, how, folder / "model.onnx")
        model = onnx.load(folder / "model.onnx")
        model.graph.doc_string = ""
        onnx.save(model, folder / "model.onnx")
        dims = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        x = np.random.default_rng(100 + seed).standard_normal(dims).astype(np.float32)
        session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        y = session.run(None, {"x": x})[0]
        (data / "input_0.pb").write_bytes(numpy_helper.from_array(x, "x").SerializeToString())
        (data / "output_0.pb").write_bytes(numpy_helper.from_array(y, "y").SerializeToString())
        scale = last_scale(model)
        atol = 1.01 * scale if one_step else 1e-6
        (folder / "data.json").write_text(json.dumps({"atol": atol, "rtol": 1e-6}) + "\n")
        print(name, y.shape, "range", y.min(), y.max(), "step", scale)


if __name__ == "__main__":
    main()
