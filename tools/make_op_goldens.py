#!/usr/bin/env python3
"""Makes tests/op/goldens: single operators with inputs and the outputs that other implementations give.

    make_op_goldens.py NODE_TESTS OUT

NODE_TESTS is onnx/backend/test/data/node of the onnx 1.22.0 wheel (1.23 carries none). From it come the single
node tests of our operators, small ones; node.jsonl keeps what they say. cases.jsonl holds problems of our own,
computed by onnx.reference (onnx 1.23) in double where the operator allows it and rounded at the end, else in
the type itself: empty tensors, rank 0, negative axes, broadcasting, small floats, integer corners. ml.jsonl holds
problems for the operators of ai.onnx.ml, for texts and for pools that the conformance suite lacks, computed by ONNX
Runtime (1.31).

One problem a line: {"name", "op", "attributes", "inputs", "outputs", "rtol", "atol"}. A tensor is {"dtype",
"dims", "data"}: data in hexadecimal as it lies in memory (ONNX raw_data), or the strings; an omitted input is
null. Attributes: ints, floats (with a point), strings, lists of them, tensors.
"""
import glob
import json
import os
import sys

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ML = "ai.onnx.ml"
DTYPES = {1: "f32", 2: "u8", 3: "i8", 4: "u16", 5: "i16", 6: "i32", 7: "i64", 8: "string", 9: "bool", 10: "f16",
          11: "f64", 12: "u32", 13: "u64", 16: "bf16", 17: "f8e4m3fn", 18: "f8e4m3fnuz", 19: "f8e5m2",
          20: "f8e5m2fnuz", 21: "u4", 22: "i4", 23: "f4e2m1", 24: "f8e8m0", 25: "u2", 26: "i2"}
OPS = set("""Add Sub Mul Div Pow Neg Abs Sqrt Reciprocal Exp Log Erf Tanh Sigmoid Sin Cos Floor Ceil Round Sign Not
And Or Xor Equal Less LessOrEqual Greater GreaterOrEqual Where Min Max Mod Clip Relu Gelu Swish Softmax LogSoftmax
Cast CastLike Identity Reshape Transpose Squeeze Unsqueeze Flatten Concat Split Slice Gather GatherElements ScatterND
Expand Tile Range Shape Size ConstantOfShape Constant Trilu ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd
ReduceSumSquare ArgMax ArgMin CumSum TopK MatMul Gemm LayerNormalization RMSNormalization RotaryEmbedding Attention
TensorScatter DequantizeLinear QuantizeLinear IsNaN IsInf Einsum Pad NonZero OneHot Acos Acosh Asin Asinh Atan Atanh
Cosh Sinh Tan Elu Celu Selu LeakyRelu PRelu ThresholdedRelu HardSigmoid HardSwish Mish Softplus Softsign Shrink BitShift
BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitCast ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ScatterElements
GatherND Compress Unique StringNormalizer StringConcat StringSplit RegexFullMatch TfIdfVectorizer""".split())
# Relative and absolute tolerance by output type: a few units in the last place of the type.
TOLERANCE = {"f64": (1e-12, 1e-13), "f32": (2e-6, 1e-6), "f16": (2e-3, 1e-3), "bf16": (1.6e-2, 1e-2)}


def tensor_json(proto):
    if proto is None:
        return None
    dtype = DTYPES[proto.data_type]
    if dtype == "string":
        data = [s.decode() for s in proto.string_data]
    else:
        raw = proto.raw_data or numpy_helper.from_array(numpy_helper.to_array(proto)).raw_data
        data = raw.hex()
    return {"dtype": dtype, "dims": list(proto.dims), "data": data}


def attribute_json(attribute):
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, TensorProto):
        return tensor_json(value)
    if attribute.type == onnx.AttributeProto.FLOAT:
        return float(value)
    if attribute.type == onnx.AttributeProto.STRINGS:
        return [v.decode() for v in value]
    if attribute.type == onnx.AttributeProto.SPARSE_TENSOR:
        return None
    return list(value) if not isinstance(value, int) else value


def case_json(name, node, inputs, outputs):
    dtypes = {DTYPES[o.data_type] for o in outputs}
    rtol, atol = max((TOLERANCE.get(d, (0.0, 0.0)) for d in dtypes), default=(0.0, 0.0))
    op = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return {"name": name, "op": op, "attributes": {a.name: attribute_json(a) for a in node.attribute},
            "inputs": [tensor_json(i) for i in inputs], "outputs": [tensor_json(o) for o in outputs],
            "rtol": rtol, "atol": atol}


def load_proto(path):
    with open(path, "rb") as f:
        return onnx.load_tensor_from_string(f.read())


def node_tests(folder, limit):
    for path in sorted(glob.glob(os.path.join(folder, "*", "model.onnx"))):
        name = os.path.basename(os.path.dirname(path))
        graph = onnx.load(path).graph
        if len(graph.node) != 1 or graph.node[0].domain not in ("", ML):
            continue
        if not graph.node[0].domain and graph.node[0].op_type not in OPS:
            continue
        if any(not v.type.HasField("tensor_type") for v in list(graph.input) + list(graph.output)):
            continue
        data = os.path.join(os.path.dirname(path), "test_data_set_0")
        if sum(os.path.getsize(f) for f in glob.glob(data + "/*")) > limit:
            continue
        node = graph.node[0]
        given = {v.name: load_proto(f"{data}/input_{i}.pb") for i, v in enumerate(graph.input)}
        given.update({t.name: t for t in graph.initializer})
        inputs = [given[n] if n else None for n in node.input]
        # An output that the node names but the graph does not return is not in the data; leave such tests out.
        found = {v.name: load_proto(f"{data}/output_{i}.pb") for i, v in enumerate(graph.output)}
        wanted = list(node.output)
        while wanted and not wanted[-1]:
            wanted.pop()
        outputs = [found.get(n) for n in wanted]
        # Omitted outputs in the middle (Attention's present_key) are null: the test skips them.
        case = case_json(name, node, inputs, [o for o in outputs if o is not None])
        case["outputs"] = [tensor_json(o) for o in outputs]
        if any(v is None for v in case["attributes"].values()):
            continue
        yield case


def proto_of(array):
    return numpy_helper.from_array(np.asarray(array))


class Cases:
    """Problems of our own, computed by onnx.reference."""

    def __init__(self):
        self.random = np.random.default_rng(20)
        self.cases = []

    def normal(self, *dims, dtype=np.float32):
        return np.asarray(self.random.standard_normal(dims)).astype(dtype)

    def add(self, op, inputs, outputs=1, expected=None, **attributes):
        """expected: arrays where NumPy says it more plainly than the reference."""
        names = [f"i{k}" if v is not None else "" for k, v in enumerate(inputs)]
        results = [f"o{k}" for k in range(outputs)]
        node = helper.make_node(op, names, results, **attributes)
        if expected is None:
            graph = helper.make_graph([node], "g", [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.asarray(v).dtype), None)
                for n, v in zip(names, inputs) if n], [helper.make_empty_tensor_value_info(r) for r in results])
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 27)])
            expected = ReferenceEvaluator(model).run(None, {n: np.asarray(v) for n, v in zip(names, inputs) if n})
        name = f"{op}_{sum(c['op'] == op for c in self.cases)}"
        self.cases.append(case_json(name, node, [None if v is None else proto_of(v) for v in inputs],
                                    [proto_of(e) for e in expected]))

    def elementwise(self):
        bf16 = ml_dtypes.bfloat16
        special = np.array([0.0, -0.0, 1.5, -2.5, 3.5, np.inf, -np.inf, np.nan, 1e-40, 65519.0, -70000.0], np.float32)
        real = ["Exp", "Log", "Erf", "Tanh", "Sigmoid", "Sin", "Cos", "Floor", "Ceil", "Round", "Sqrt", "Reciprocal"]
        functions = {"Exp": np.exp, "Log": np.log, "Tanh": np.tanh, "Sin": np.sin, "Cos": np.cos, "Floor": np.floor,
                     "Ceil": np.ceil, "Round": np.rint, "Sqrt": np.sqrt, "Reciprocal": lambda x: 1 / x,
                     "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
                     "Erf": np.vectorize(__import__("math").erf, otypes=[float])}
        with np.errstate(all="ignore"):
            for op in real:
                for dtype in (np.float32, np.float64, np.float16, bf16):
                    x = np.concatenate([special, self.normal(9) * 3]).astype(dtype)
                    y = functions[op](x.astype(np.float64)).astype(np.float32 if dtype == bf16 else dtype).astype(dtype)
                    self.add(op, [x], expected=[y])
                self.add(op, [np.float32(0.7)], expected=[np.float32(functions[op](np.float64(np.float32(0.7))))])
                self.add(op, [np.zeros((2, 0, 3), np.float32)], expected=[np.zeros((2, 0, 3), np.float32)])
            for op, f in {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}.items():
                for dtype in (np.float32, np.float64, np.float16, bf16):
                    a, b = self.normal(2, 1, 3, dtype=dtype), self.normal(4, 1, dtype=dtype)
                    self.add(op, [a, b], expected=[f(a.astype(np.float64), b.astype(np.float64)).astype(
                        np.float32 if dtype == bf16 else dtype).astype(dtype)])
                self.add(op, [np.float32(2.5), self.normal(3)])
                self.add(op, [np.zeros((0, 3), np.float32), self.normal(1, 3)])
                for dtype in (np.int8, np.int32, np.int64, np.uint8, np.uint64):
                    info = np.iinfo(dtype)
                    a = np.array([info.min, info.max, 7, 100, info.max], dtype)
                    b = np.array([3, 5, 2, 7, info.max], dtype)
                    self.add(op, [a, b])
            for op in ("Min", "Max"):
                self.add(op, [special, special[::-1].copy(), np.float32(0)])
                self.add(op, [np.array([2**63 - 1, 3], np.uint64), np.array([2**64 - 1], np.uint64)])
                self.add(op, [np.array([-2**63, 2**62 + 1], np.int64), np.array([2**62], np.int64)])
            for op in ("Less", "Greater", "LessOrEqual", "GreaterOrEqual", "Equal"):
                self.add(op, [special[:, None], special[None, :]])
                self.add(op, [np.array([2**53 + 1, -5], np.int64), np.array([2**53, -5], np.int64)])
                self.add(op, [np.array([2**64 - 1, 0], np.uint64), np.array([1, 0], np.uint64)])
            self.add("Pow", [np.array([2, -3, 0, 7], np.int32), np.array([10, 3, 0, 2], np.int64)])
            self.add("Pow", [np.array([2.0, 0.5, -8.0], np.float32), np.float32(3)])
            self.add("Mod", [np.array([-7, 7, -7, 7], np.int32), np.array([3, 3, -3, -3], np.int32)])
            self.add("Mod", [np.array([-7, 7, -7, 7], np.int32), np.array([3, 3, -3, -3], np.int32)], fmod=1)
            self.add("Mod", [np.array([-7.5, 7.5], np.float32), np.array([2, -2], np.float32)], fmod=1)
            self.add("Relu", [special])
            self.add("Abs", [special])
            self.add("Neg", [special])
            self.add("Sign", [special])
            self.add("Neg", [np.array([-128, 127, 0], np.int8)])
            self.add("Abs", [np.array([-2**63 + 1, 5], np.int64)])
            self.add("IsNaN", [special])
            self.add("IsInf", [special], detect_negative=0)
            self.add("IsInf", [special], detect_positive=0)
            self.add("Clip", [special, np.float32(-1), np.float32(2)])
            self.add("Clip", [np.array([-5, 0, 9], np.int32), None, np.int32(4)])
            self.add("Where", [np.array([[True], [False]]), self.normal(3), self.normal(2, 3)])
            self.add("Where", [np.array(True), np.array(["a", "b"]), np.array(["c"])])
            self.add("Equal", [np.array(["a", "b"]), np.array(["a"])])
            for dtype in (np.float32, np.float64):
                x = self.normal(3, 4, dtype=dtype)
                wide = x.astype(np.float64)
                self.add("Gelu", [x], approximate="none",
                         expected=[(0.5 * wide * (1 + functions["Erf"](wide / 2**0.5))).astype(dtype)])
                self.add("Gelu", [x], approximate="tanh", expected=[
                    (0.5 * wide * (1 + np.tanh((2 / np.pi)**0.5 * (wide + 0.044715 * wide**3)))).astype(dtype)])
                self.add("Swish", [x], alpha=1.5, expected=[(wide / (1 + np.exp(-1.5 * wide))).astype(dtype)])
            for to in (TensorProto.INT8, TensorProto.UINT8, TensorProto.BOOL, TensorProto.INT64, TensorProto.FLOAT16,
                       TensorProto.DOUBLE, TensorProto.BFLOAT16):
                self.add("Cast", [np.array([0.0, -0.0, 1.9, 2.5, 100.7, 1e-8], np.float32)], to=to)
            self.add("Cast", [np.array([300, -129, 2**40 + 7, -1], np.int64)], to=TensorProto.UINT8)
            self.add("Cast", [np.array([300, -129, 2**40 + 7, -1], np.int64)], to=TensorProto.INT32)
            self.add("Cast", [np.array([2**63 + 5], np.uint64)], to=TensorProto.INT64)
            # One rounding: through float this double would become 1 + 2^-10.
            self.add("Cast", [np.array([1 + 2**-11 + 2**-40, 1 + 2**-11, 65519.99, 65520.0])], to=TensorProto.FLOAT16)
            every = np.arange(256, dtype=np.uint8)
            for small in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2,
                          ml_dtypes.float8_e5m2fnuz):
                x = every.view(small)
                self.add("Cast", [x], to=TensorProto.FLOAT, expected=[x.astype(np.float32)])
                wide = np.concatenate([x.astype(np.float32)[:128] * s for s in (1.03125, 0.96875, 1.0625)])
                self.add("Cast", [wide], to=helper.np_dtype_to_tensor_dtype(np.dtype(small)), saturate=0,
                         expected=[wide.astype(small)])

    def movement(self):
        x = self.normal(2, 3, 4)
        i64 = lambda *v: np.array(v, np.int64)
        for shape in ([4, 6], [0, -1, 2], [-1], [2, 1, 3, 1, 4]):
            self.add("Reshape", [x, i64(*shape)])
        self.add("Reshape", [np.float32(3), i64(1, 1)])
        self.add("Reshape", [np.float32([3]), i64()], expected=[np.float32(3)])
        self.add("Reshape", [np.zeros((0, 3), np.float32), i64(3, 0)], allowzero=1)
        for perm in ([2, 0, 1], [0, 2, 1], None):
            self.add("Transpose", [x], **({"perm": perm} if perm else {}))
        self.add("Transpose", [np.float32(1)])
        self.add("Squeeze", [x[None, :, None], i64(0, -3)], expected=[x])
        self.add("Squeeze", [x[None, :, None]], expected=[x])
        self.add("Unsqueeze", [x, i64(-1, 0)])
        self.add("Unsqueeze", [np.float32(2), i64(0, 1)])
        for axis in (0, 1, 3, -1):
            self.add("Flatten", [x], axis=axis)
        self.add("Concat", [x, x[:, :1], x[:, :0]], axis=-2)
        self.add("Concat", [np.array([1], np.int8), np.array([2, 3], np.int8)], axis=0)
        self.add("Split", [x, i64(1, 0, 2)], outputs=3, axis=1)
        self.add("Split", [self.normal(7)], outputs=3, num_outputs=3)
        for starts, ends, axes, steps in (((1,), (3,), (1,), None), ((-1,), (-100,), (2,), (-2,)), ((0, 1), (9, -1), (0, -1), None),
                                          ((5,), (9,), (0,), None), ((2**31,), (-2**62,), (1,), (-1,)), ((1, 0), (2, 3), None, (1, 2))):
            self.add("Slice", [x, i64(*starts), i64(*ends), None if axes is None else i64(*axes),
                               None if steps is None else i64(*steps)])
        self.add("Gather", [x, i64(1, -1, 0)], axis=1)
        self.add("Gather", [x, np.array([[0, 1]], np.int32)], axis=-1)
        self.add("Gather", [x, np.int64(1)], axis=0)
        self.add("Gather", [x, np.zeros((0, 2), np.int64)], axis=2)
        self.add("GatherElements", [x, np.array([[[0, -1, 1, 2]], [[2, 2, 0, -3]]], np.int64)], axis=1,
                 expected=[np.take_along_axis(x, np.array([[[0, 2, 1, 2]], [[2, 2, 0, 0]]]), 1)])
        for reduction in ("none", "add", "mul", "max", "min"):
            self.add("ScatterND", [x, np.array([[0, 1], [1, 2], [0, 1]], np.int64), self.normal(3, 4)], reduction=reduction)
        self.add("Expand", [self.normal(3, 1), i64(2, 1, 4)])
        self.add("Expand", [np.float32(3), i64(2, 0)])
        self.add("Tile", [self.normal(2, 3), i64(2, 3)])
        self.add("Tile", [self.normal(2, 3), i64(0, 1)])
        self.add("Range", [np.int32(10), np.int32(-3), np.int32(-4)])
        self.add("Range", [np.float32(1), np.float32(2.05), np.float32(0.25)])
        self.add("Range", [np.int64(3), np.int64(3), np.int64(1)])
        self.add("Shape", [x], start=-2)
        self.add("Shape", [np.float32(1)])
        self.add("Size", [np.zeros((3, 0), np.int8)])
        self.add("ConstantOfShape", [i64(2, 3)], value=helper.make_tensor("v", TensorProto.INT64, [1], [7]))
        self.add("ConstantOfShape", [i64()])
        for k in (-5, -1, 0, 1, 9):
            self.add("Trilu", [x, np.int64(k)], upper=1)
            self.add("Trilu", [x, np.int64(k)], upper=0)
        for mode in ("constant", "edge", "reflect", "wrap"):
            self.add("Pad", [x, i64(1, 0, 2, 0, 2, 1)], mode=mode)
        self.add("Pad", [x, i64(1, -1), np.float32(7), i64(-1)], expected=[np.pad(x, ((0, 0), (0, 0), (1, 0)), constant_values=7)[:, :, :-1]])
        self.add("NonZero", [np.array([[0, 2], [-1, 0]], np.int32)])
        self.add("NonZero", [np.array([[0.0, np.nan], [-0.0, 1]], np.float32)])
        for axis in (0, -1, 1):
            self.add("OneHot", [np.array([[0, -1], [5, 2]], np.int64), np.int64(3), np.float32([-1, 4])], axis=axis)
        cache = self.normal(2, 2, 5, 3)
        self.add("TensorScatter", [cache, self.normal(2, 2, 2, 3), i64(0, 3)])
        self.add("TensorScatter", [cache, self.normal(2, 2, 2, 3), i64(4, 8)], mode="circular")
        self.add("TensorScatter", [cache, self.normal(2, 2, 5, 3)])

    def reductions(self):
        x = self.normal(2, 3, 4)
        i64 = lambda *v: np.array(v, np.int64)
        for op in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare"):
            self.add(op, [x, i64(-1)], keepdims=0)
            self.add(op, [x, i64(0, 2)])
            self.add(op, [x])
            self.add(op, [x, i64()], noop_with_empty_axes=1, **({"expected": [x * x]} if op == "ReduceSumSquare" else {}))
            # NumPy widens sums of squares to int64; the operator does not.
            narrow = {"expected": [np.array([[5], [25]], np.int32)]} if op == "ReduceSumSquare" else {}
            self.add(op, [np.array([[1, 2], [3, -4]], np.int32), i64(1)], **narrow)
            self.add(op, [np.float32(-2)], keepdims=0)
            if op != "ReduceMean":
                self.add(op, [np.zeros((2, 0), np.float32), i64(1)])
        self.add("ReduceMax", [np.array([[1, np.nan], [2, 3]], np.float32), i64(1)])
        for op in ("ArgMax", "ArgMin"):
            for last in (0, 1):
                self.add(op, [np.array([[1, 3, 3], [2, 0, 0]], np.float32)], axis=-1, select_last_index=last)
            self.add(op, [x], axis=1, keepdims=0)
        for exclusive in (0, 1):
            for reverse in (0, 1):
                self.add("CumSum", [x, np.int64(-2)], exclusive=exclusive, reverse=reverse)
        for largest in (0, 1):
            self.add("TopK", [np.array([[3, 1, 3, 2], [0, 0, 5, -1]], np.float32), i64(3)], outputs=2, largest=largest)
            self.add("TopK", [x, i64(2)], outputs=2, largest=largest, axis=0)
        for axis in (0, 1, -1):
            wide = x.astype(np.float64)
            soft = np.exp(wide - wide.max(axis, keepdims=True))
            soft /= soft.sum(axis, keepdims=True)
            self.add("Softmax", [x], axis=axis, expected=[soft.astype(np.float32)])
            self.add("LogSoftmax", [x], axis=axis, expected=[np.log(soft).astype(np.float32)])
        self.add("Softmax", [np.zeros((2, 0), np.float32)])
        self.add("Softmax", [np.array([1e4, 1e4 - 1, -1e30], np.float32)])

    def products(self):
        bf16 = ml_dtypes.bfloat16
        for a, b in (((3, 4), (4, 5)), ((2, 1, 3, 4), (5, 4, 2)), ((4,), (4, 3)), ((3, 4), (4,)), ((4,), (4,)),
                     ((2, 0), (0, 3)), ((0, 2), (2, 3)), ((1, 65), (65, 33))):
            for dtype in (np.float32, np.float16, bf16, np.float64):
                x, y = self.normal(*a, dtype=dtype), self.normal(*b, dtype=dtype)
                z = np.matmul(x.astype(np.float64), y.astype(np.float64))
                self.add("MatMul", [x, y], expected=[np.asarray(z).astype(np.float32 if dtype == bf16 else dtype).astype(dtype)])
        self.add("MatMul", [np.array([[2**31 - 1, 2]], np.int32), np.array([[2], [3]], np.int32)])
        for ta in (0, 1):
            for tb in (0, 1):
                a, b = self.normal(3, 4), self.normal(4, 2)
                self.add("Gemm", [a.T.copy() if ta else a, b.T.copy() if tb else b, self.normal(3, 1)], transA=ta, transB=tb,
                         alpha=0.5, beta=2.0)
        for axis in (-1, 1, 0):
            x = self.normal(2, 3, 8)
            scale, bias = self.normal(*x.shape[axis:]), self.normal(*x.shape[axis:])
            self.add("LayerNormalization", [x, scale, bias], outputs=3, axis=axis, epsilon=1e-3)
            self.add("RMSNormalization", [x, scale], axis=axis, epsilon=1e-3)
        self.add("LayerNormalization", [self.normal(2, 8), self.normal(8)])
        for interleaved in (0, 1):
            for partial in (0, 4):
                half = (partial or 8) // 2
                cos, sin = self.normal(6, half), self.normal(6, half)
                positions = np.array([[0, 5, 2], [3, 3, 1]], np.int64)
                self.add("RotaryEmbedding", [self.normal(2, 2, 3, 8), cos, sin, positions], interleaved=interleaved,
                         rotary_embedding_dim=partial)
                self.add("RotaryEmbedding", [self.normal(2, 3, 16), cos[:3][None].repeat(2, 0), sin[:3][None].repeat(2, 0)],
                         interleaved=interleaved, rotary_embedding_dim=partial, num_heads=2)

    def attention(self):
        def qkv(q=(2, 4, 3, 8), kv=(2, 2, 5, 8), dv=None, dtype=np.float32):
            return [self.normal(*q, dtype=dtype), self.normal(*kv, dtype=dtype), self.normal(*kv[:3], dv or kv[3], dtype=dtype)]
        self.add("Attention", qkv())
        self.add("Attention", qkv(dv=6), scale=0.3, softcap=1.5)
        self.add("Attention", qkv(), is_causal=1)
        boolean = self.random.random((3, 5)) > 0.4
        boolean[1] = False  # a row without any key
        self.add("Attention", [*qkv(), boolean])
        self.add("Attention", [*qkv(), boolean], is_causal=1)
        self.add("Attention", [*qkv(), self.normal(2, 1, 3, 5)])
        self.add("Attention", [*qkv(), self.normal(3, 4)])  # shorter than the keys
        past = [self.normal(2, 2, 4, 8), self.normal(2, 2, 4, 8)]
        # With mode 0 the reference returns capped scores; the operator's text and ONNX Runtime return raw ones.
        for mode in range(4):
            self.add("Attention", [*qkv(kv=(2, 2, 3, 8)), None, *past], outputs=4, is_causal=1,
                     qk_matmul_output_mode=mode, softcap=2.0 if mode else 0.0)
        self.add("Attention", [*qkv(), None, None, None, np.array([5, 3], np.int64)], is_causal=1)
        self.add("Attention", [*qkv(), boolean, None, None, np.array([2, 0], np.int64)])
        packed = [self.normal(2, 3, 32), self.normal(2, 3, 16), self.normal(2, 3, 16)]
        self.add("Attention", [*packed, None, *past], outputs=3, q_num_heads=4, kv_num_heads=2, is_causal=1)
        for left, right in ((1, 0), (2, 1), (-1, 2), (0, -1)):
            self.add("Attention", qkv(kv=(2, 2, 3, 8)), left_window_size=left, right_window_size=right)
        self.add("Attention", [*qkv(kv=(2, 2, 3, 8)), None, *past], is_causal=1, left_window_size=2)
        self.add("Attention", qkv(dtype=np.float16), softmax_precision=1)

    def quantization(self):
        f32, i64 = np.float32, np.int64
        x = (self.normal(3, 8) * 40).astype(f32)
        x[0, :4] = [2.5, 3.5, -2.5, 1000]
        types = (np.int8, np.uint8, np.int16, np.uint16, ml_dtypes.int4, ml_dtypes.uint4)
        for dtype in types:
            zero = lambda *dims: self.random.integers(0, 5, dims).astype(dtype)
            quantised = self.random.integers(0, 7, (3, 8)).astype(dtype)
            for scale, dims, attributes in ((f32(0.5), (), {}), (np.array([1, 0.25, 2], f32), (3,), {"axis": 0}),
                                            (np.abs(self.normal(3, 3)) + f32(0.1), (3, 3), {"axis": 1, "block_size": 3})):
                self.add("QuantizeLinear", [x, scale, np.asarray(zero(*dims))], **attributes)
                self.add("DequantizeLinear", [quantised, scale, np.asarray(zero(*dims))], **attributes)
            self.add("DequantizeLinear", [quantised, np.float16(0.3)])
        self.add("DequantizeLinear", [np.array([2**24 + 1, -5], np.int32), f32(1)])
        self.add("QuantizeLinear", [x, f32(3)], output_dtype=TensorProto.INT8)

    def einsum(self):
        a, b = self.normal(2, 3, 4), self.normal(2, 4, 5)
        for equation, inputs in (("bij,bjk->bik", [a, b]), ("...ij->...ji", [a]), ("bij->b", [a]), ("bij,bjk", [a, b]),
                                 ("...ij,...jk->...ik", [a, b]), ("ii->i", [self.normal(3, 3)]), ("i,j->ij", [a[0, 0], b[0, 0]])):
            self.add("Einsum", inputs, equation=equation)

    def functions(self):
        """Activations, bits, norms, movement by index: what the suite has only in float and in one shape."""
        bf16, f32, special = ml_dtypes.bfloat16, np.float32, np.array([0.0, -0.0, 0.5, -0.5, np.inf, -np.inf, np.nan])
        functions = {"Acos": np.arccos, "Acosh": np.arccosh, "Asin": np.arcsin, "Asinh": np.arcsinh, "Atan": np.arctan,
                     "Atanh": np.arctanh, "Cosh": np.cosh, "Sinh": np.sinh, "Tan": np.tan,
                     "Softplus": lambda x: np.logaddexp(0, x), "Softsign": lambda x: x / (1 + np.abs(x)),
                     "Mish": lambda x: x * np.tanh(np.logaddexp(0, x)), "Elu": lambda x: np.where(x < 0, np.expm1(x), x),
                     "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1)}
        with np.errstate(all="ignore"):
            for op, f in functions.items():
                for dtype in (f32, np.float64, np.float16, bf16):
                    x = np.concatenate([special, self.normal(9) * 2]).astype(dtype)
                    y = f(x.astype(np.float64)).astype(f32 if dtype == bf16 else dtype).astype(dtype)
                    self.add(op, [x], expected=[y])
        for op, dtypes in (("BitwiseAnd", "iu"), ("BitwiseOr", "iu"), ("BitwiseXor", "iu"), ("BitShift", "u")):
            for dtype in (np.int8, np.uint16, np.int64, np.uint64):
                if np.dtype(dtype).kind not in dtypes:
                    continue
                info, more = np.iinfo(dtype), {"direction": "LEFT"} if op == "BitShift" else {}
                x = self.random.integers(info.min, info.max, (2, 3), dtype, endpoint=True)
                y = self.random.integers(0, 8, (3,), dtype) if more else self.random.integers(info.min, info.max, (3,), dtype)
                self.add(op, [x, y], **more)
        self.add("BitShift", [np.array([255, 255, 255], np.uint8), np.array([0, 8, 200], np.uint8)], direction="RIGHT",
                 expected=[np.array([255, 0, 0], np.uint8)])
        self.add("BitShift", [np.array([1, 1, 3], np.uint64), np.array([63, 64, 2**63], np.uint64)], direction="LEFT",
                 expected=[np.array([2**63, 0, 0], np.uint64)])
        self.add("BitwiseNot", [np.array([0, 1, -128], np.int8)])
        self.add("BitCast", [np.array([1, -1, 7], ml_dtypes.int4)], to=TensorProto.UINT4,
                 expected=[np.array([1, 15, 7], ml_dtypes.uint4)])
        self.add("PRelu", [np.array([[-3, 2], [5, -4]], np.int64), np.array([[2], [-7]], np.int64)])
        self.add("Shrink", [np.array([-5, -1, 0, 1, 2**62 + 1], np.int64)], bias=3.0, lambd=1.0,
                 expected=[np.array([-2, 0, 0, 0, 2**62 - 2], np.int64)])
        x, i64 = self.normal(2, 3, 4), lambda *v: np.array(v, np.int64)
        for op in ("ReduceL1", "ReduceL2", "ReduceLogSumExp"):
            self.add(op, [x, i64(0, -1)], keepdims=0)
            self.add(op, [x])
        self.add("ReduceL1", [x, i64()], noop_with_empty_axes=1, expected=[np.abs(x)])
        self.add("ReduceL2", [np.array([[3, 4], [1, 1]], np.int32), i64(1)], expected=[np.array([[5], [1]], np.int32)])
        self.add("ReduceLogSum", [np.abs(x), i64(1)])
        self.add("ReduceLogSumExp", [np.array([[1e4, 1e4], [-np.inf, -np.inf], [np.inf, 0]], f32), i64(1)],
                 expected=[np.array([[1e4 + np.log(2)], [-np.inf], [np.inf]], f32)])
        self.add("ReduceLogSumExp", [np.zeros((2, 0), f32), i64(1)], expected=[np.full((2, 1), -np.inf, f32)])
        for reduction in ("none", "add", "mul", "max", "min"):
            self.add("ScatterElements", [x, np.array([[[0, -1, 1, 2]], [[2, 2, 0, -3]]], np.int64), self.normal(2, 1, 4)],
                     axis=1, reduction=reduction, **({"expected": None} if reduction == "none" else {}))
        self.add("ScatterElements", [np.array(["a", "b", "c"], object), i64(2, -3), np.array(["x", "y"], object)],
                 expected=[np.array(["y", "b", "x"], object)])
        self.add("GatherND", [x, np.array([[[0, -1]], [[1, 2]]], np.int64)], expected=[x[[0, 1], [-1, 2]][:, None]])
        self.add("GatherND", [x, np.array([[-1], [0]], np.int64)], batch_dims=1, expected=[x[[0, 1], [-1, 0]]])
        self.add("Compress", [x, np.array([False, True])], axis=-1)
        self.add("Compress", [np.array([["a", "b"], ["c", "d"]], object), np.array([True, False, True])],
                 expected=[np.array(["a", "c"], object)])
        self.add("Unique", [np.array([2, np.nan, -0.0, 0, np.nan, 2], f32)], outputs=4,
                 expected=[np.array([-0.0, 2, np.nan], f32), i64(2, 0, 1), i64(1, 2, 0, 0, 2, 1), i64(2, 2, 2)])
        self.add("Unique", [np.array(["b", "a", "b"], object)], outputs=4, sorted=0,
                 expected=[np.array(["b", "a"], object), i64(0, 1), i64(0, 1, 0), i64(2, 1)])
        text = lambda *v: np.array(v, object)
        self.add("StringNormalizer", [text("Ärger", "monday", "X", "straße")], case_change_action="LOWER",
                 stopwords=["MONDAY", "q"], expected=[text("ärger", "x", "straße")])
        self.add("StringNormalizer", [text("éa").reshape(1, 1)], case_change_action="UPPER", stopwords=["ÉA"],
                 is_case_sensitive=1, expected=[text("ÉA").reshape(1, 1)])
        self.add("StringSplit", [text("a\tb\u3000c \n", "")], outputs=2, expected=[text("a", "b", "c", "", "", "").reshape(2, 3), i64(3, 0)])
        self.add("StringSplit", [text("-a", "")], outputs=2, delimiter="-", expected=[text("", "a", "", "").reshape(2, 2), i64(2, 1)])
        self.add("Unique", [np.zeros((0,), f32)], outputs=4, expected=[np.zeros((0,), f32), i64(), i64(), i64()])

    def random_numbers(self):
        """Our generator is the one of numpy's RandomState."""
        shape = np.asarray([3, 5])
        like = np.zeros((3, 5), np.float32)
        for seed in (7.0, 123456.0):
            stream = lambda: np.random.RandomState(int(seed))
            uniform = stream().uniform(-1, 2, shape).astype(np.float32)
            normal = stream().normal(1, 3, shape).astype(np.float32)
            self.add("RandomUniform", [], expected=[uniform], shape=[3, 5], low=-1.0, high=2.0, seed=seed)
            self.add("RandomUniformLike", [like], expected=[uniform], low=-1.0, high=2.0, seed=seed)
            self.add("RandomNormal", [], expected=[normal], shape=[3, 5], mean=1.0, scale=3.0, seed=seed)
            self.add("RandomNormalLike", [like], expected=[normal], mean=1.0, scale=3.0, seed=seed)
            logs = self.normal(2, 4)
            numbers = stream().uniform(size=(2, 6))
            sums = np.cumsum(np.exp(logs.astype(np.float64) - logs.max(axis=1, keepdims=True)), axis=1)
            drawn = [np.searchsorted(row, at * row[-1], side="right") for row, at in zip(sums, numbers)]
            self.add("Multinomial", [logs], expected=[np.asarray(drawn).astype(np.int32)], sample_size=6, seed=seed)

def main():
    from op_runtime_cases import RuntimeCases  # which imports this file
    node_folder, out = sys.argv[1:]
    cases, by_runtime = Cases(), RuntimeCases()
    for part in (cases.elementwise, cases.movement, cases.reductions, cases.products, cases.attention,
                 cases.quantization, cases.einsum, cases.functions, cases.random_numbers, by_runtime.texts, by_runtime.vision, by_runtime.ml_features,
                 by_runtime.ml_linear, by_runtime.ml_trees):
        part()
    for name, found in (("node", list(node_tests(node_folder, 4000))), ("cases", cases.cases), ("ml", by_runtime.cases)):
        path = os.path.join(out, name + ".jsonl")
        with open(path, "w") as f:
            for case in found:
                f.write(json.dumps(case, separators=(",", ":")) + "\n")
        print(path, len(found), "problems", os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
