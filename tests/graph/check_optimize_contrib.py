#!/usr/bin/env python3
"""lathe optimize --contrib, held to ONNX Runtime: an encoder as exporters write it, decoders that Optimum exported and a
small convolutional network, with operators of com.microsoft and without, at opsets that have operators of their own and
that have none. ONNX Runtime gives what it gives for the source, with its own rewrites and without, and so does lathe,
which reads the operators back. Usage: check_optimize_contrib.py LATHE"""
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh

LATHE = sys.argv[1]
ARCH = pathlib.Path(__file__).resolve().parents[1] / "arch"
BOUND = 1e-4  # of the largest number of an output
WIDTH, HEADS = 32, 4


# Of Optimum's exports: what any opset has, and what those before 23 have besides.
SKIP, RMS, ATTENTION = "SkipLayerNormalization", "SkipSimplifiedLayerNormalization", "MultiHeadAttention"
DECODERS = (
    ("gpt2", {SKIP: 5, "FastGelu": 2}, {ATTENTION: 2}),
    ("gpt2_no_cache", {SKIP: 5, "BiasGelu": 2}, {ATTENTION: 2}),
    ("neox_sequential", {SKIP: 4, "BiasGelu": 2}, {ATTENTION: 2, "RotaryEmbedding": 4}),
    ("neox_parallel", {SKIP: 2, "BiasGelu": 2}, {ATTENTION: 2, "RotaryEmbedding": 4}),
    ("llama_mha_tied", {RMS: 4}, {ATTENTION: 2, "RotaryEmbedding": 4, "QuickGelu": 2}),
    ("llama_gqa", {RMS: 4}, {"FusedMatMul": 2, "RotaryEmbedding": 4, "QuickGelu": 2}),  # heads share keys
)


class Maker:
    def __init__(self, seed):
        self.rng, self.nodes, self.tensors, self.count = np.random.default_rng(seed), [], [], 0

    def constant(self, value, dtype=np.float32):
        self.count += 1
        self.tensors.append(nh.from_array(np.asarray(value, dtype), f"c{self.count}"))
        return f"c{self.count}"

    def weights(self, *dims):
        return self.constant(self.rng.standard_normal(dims) * dims[0] ** -0.5)

    def node(self, op, *inputs, **attributes):
        self.count += 1
        self.nodes.append(h.make_node(op, list(inputs), [f"v{self.count}"], **attributes))
        return f"v{self.count}"

    def linear(self, x, rows, columns):
        return self.node("Add", self.constant(self.rng.standard_normal(columns) * 0.1),
                         self.node("MatMul", x, self.weights(rows, columns)))

    def layer_norm(self, x):
        """As opset 13 spells it."""
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        variance = self.node("ReduceMean", self.node("Pow", centred, self.constant(2)), axes=[-1])
        scaled = self.node("Div", centred, self.node("Sqrt", self.node("Add", variance, self.constant(1e-12))))
        weighted = self.node("Mul", scaled, self.constant(np.abs(self.rng.standard_normal(WIDTH)) + 0.5))
        return self.node("Add", weighted, self.constant(self.rng.standard_normal(WIDTH) * 0.1))

    def gelu(self, x):
        inner = self.node("Erf", self.node("Div", x, self.constant(2 ** 0.5)))
        doubled = self.node("Mul", x, self.node("Add", inner, self.constant(1)))
        return self.node("Mul", doubled, self.constant(0.5))

    def heads(self, x, *order):
        split = self.node("Reshape", x, self.constant([0, 0, HEADS, WIDTH // HEADS], np.int64))
        return self.node("Transpose", split, perm=order)

    def save(self, path, inputs, outputs, opset):
        infos = [[h.make_tensor_value_info(*one) for one in side] for side in (inputs, outputs)]
        graph = h.make_graph(self.nodes, "g", infos[0], infos[1], self.tensors)
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", opset)])
        model.ir_version = 8
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def encoder(path):
    """Two layers like MiniLM's: attention with a mask of keys, norms behind sums, GELU."""
    m = Maker(1)
    x = m.layer_norm(m.node("Gather", m.weights(50, WIDTH), "input_ids"))
    seen = m.node("Cast", m.node("Unsqueeze", "attention_mask", m.constant([1, 2], np.int64)), to=T.FLOAT)
    mask = m.node("Mul", m.node("Sub", m.constant(1), seen), m.constant(np.finfo(np.float32).min))
    for _ in range(2):
        q, k, v = (m.linear(x, WIDTH, WIDTH) for _ in range(3))
        scores = m.node("MatMul", m.heads(q, 0, 2, 1, 3), m.heads(k, 0, 2, 3, 1))
        scores = m.node("Add", m.node("Div", scores, m.constant((WIDTH // HEADS) ** 0.5)), mask)
        mixed = m.node("MatMul", m.node("Softmax", scores, axis=-1), m.heads(v, 0, 2, 1, 3))
        rows = m.node("Reshape", m.node("Transpose", mixed, perm=[0, 2, 1, 3]), m.constant([0, 0, WIDTH], np.int64))
        x = m.layer_norm(m.node("Add", m.linear(rows, WIDTH, WIDTH), x))
        x = m.layer_norm(m.node("Add", m.linear(m.gelu(m.linear(x, WIDTH, 64)), 64, WIDTH), x))
    m.nodes.append(h.make_node("Identity", [x], ["y"]))
    m.save(path, [("input_ids", T.INT64, ["batch", "seq"]), ("attention_mask", T.INT64, ["batch", "seq"])],
           [("y", T.FLOAT, ["batch", "seq", WIDTH])], 13)

    def sample(rng):
        mask = np.ones((3, 7), np.int64)
        mask[1, 5:] = 0
        return {"input_ids": rng.integers(0, 50, (3, 7)), "attention_mask": mask}
    return sample


def network(path):
    """Convolutions with activations and a residual sum; products of computed matrices, one of them turned; Swish."""
    m = Maker(2)
    x = m.node("Relu", m.node("Conv", "x", m.weights(8, 3, 3, 3), m.weights(8), pads=[1] * 4))
    y = m.node("Clip", m.node("Conv", x, m.weights(8, 8, 3, 3), pads=[1] * 4), m.constant(0), m.constant(6))
    z = m.node("Relu", m.node("Add", x, m.node("Conv", y, m.weights(8, 8, 1, 1), m.weights(8))))
    z = m.node("LeakyRelu", m.node("Conv", z, m.weights(4, 8, 1, 1)), alpha=0.1)
    p = m.node("Mul", m.node("MatMul", m.node("Transpose", z, perm=[0, 1, 3, 2]), z), m.constant(0.25))
    m.nodes.append(h.make_node("Mul", [p, m.node("Sigmoid", p)], ["y"]))
    m.save(path, [("x", T.FLOAT, ["n", 3, 6, 6])], [("y", T.FLOAT, ["n", 4, 6, 6])], 13)
    return lambda rng: {"x": rng.standard_normal((2, 3, 6, 6)).astype(np.float32)}


def branches(path):
    """Rules reach into graphs inside nodes."""
    m = Maker(3)
    inside = [h.make_node("Add", ["x", "b"], ["s"]), h.make_node("Gelu", ["s"], ["g"], approximate="tanh")]
    some = h.make_graph(inside, "some", [], [h.make_tensor_value_info("g", T.FLOAT, ["n", 4])])
    none = h.make_graph([h.make_node("Swish", ["x"], ["z"])], "none", [], [h.make_tensor_value_info("z", T.FLOAT, ["n", 4])])
    m.tensors.append(nh.from_array(np.array([1, -2, 3, 0.5], np.float32), "b"))
    m.nodes.append(h.make_node("If", ["which"], ["y"], then_branch=some, else_branch=none))
    m.save(path, [("x", T.FLOAT, ["n", 4]), ("which", T.BOOL, [])], [("y", T.FLOAT, ["n", 4])], 24)
    return lambda rng: {"x": rng.standard_normal((3, 4)).astype(np.float32), "which": np.array(True)}


def decoder(path):
    """A step of two rows behind a past, the first padded, for a decoder that Optimum exported. Without a past the first
    tokens of that row see nothing."""
    inputs = {i.name: i for i in session(path, False).get_inputs()}

    def sample(rng, past=5, new=3):
        past = past if any(name.startswith("past_key_values") for name in inputs) else 0
        feeds = {"input_ids": rng.integers(3, 60, (2, new)), "attention_mask": np.ones((2, past + new), np.int64),
                 "position_ids": np.tile(np.arange(past, past + new), (2, 1))}
        feeds["attention_mask"][0, :2] = 0
        feeds["position_ids"][0] -= 2
        feeds = {name: value for name, value in feeds.items() if name in inputs}
        for name, value in inputs.items():
            if name.startswith("past_key_values"):
                feeds[name] = rng.standard_normal((2, value.shape[1], past, value.shape[3])).astype(np.float32)
        return feeds
    return sample


def session(path, rewrites):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if rewrites else levels.ORT_DISABLE_ALL
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def lathe(*arguments, code=0):
    done = subprocess.run([LATHE, *map(str, arguments), "--json"], capture_output=True, text=True)
    assert done.returncode == code, f"lathe {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def each_node(graph):
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from each_node(attribute.g)


def used(path):
    """Operators of com.microsoft, and the domains that the file imports."""
    model = onnx.load(path, load_external_data=False)
    operators = collections.Counter(node.op_type for node in each_node(model.graph) if node.domain == "com.microsoft")
    domains = {opset.domain for opset in model.opset_import}
    assert {node.domain for node in each_node(model.graph)} <= domains
    return operators, domains


def worst(right, found):
    return max(float(np.abs(a - b).max()) / max(float(np.abs(a).max()), 1e-30) for a, b in zip(right, found))


def run_lathe(path, inputs, names, work):
    given = []
    for name, value in inputs.items():
        np.save(work / f"{name}.npy", value)
        given += ["--input", f"{name}={work / name}.npy"]
    lathe("run", path, *given, "--output-dir", work / "out")
    return [np.load(work / "out" / f"{name}.npy") for name in names]


def check(name, source, sample, expected, work):
    rng = np.random.default_rng(7)
    inputs = sample(rng)
    reference = session(source, False)
    right, names = reference.run(None, inputs), [o.name for o in reference.get_outputs()]
    for opset, operators in expected.items():
        ours, plain = work / f"{name}.{opset}.onnx", work / f"{name}.{opset}.plain.onnx"
        lathe("optimize", source, plain, "-O2", "--opset", opset)
        assert used(plain) == (collections.Counter(), {""}), f"{name} {opset}: {used(plain)} without --contrib"
        lathe("optimize", source, ours, "-O2", "--opset", opset, "--contrib", "--checked")
        onnx.checker.check_model(str(ours))
        found, domains = used(ours)
        assert found == operators, f"{name} {opset}: {dict(found)}"
        assert domains == ({"", "com.microsoft"} if operators else {""}), domains
        errors = [worst(right, session(ours, rewrites).run(None, inputs)) for rewrites in (False, True)]
        errors.append(worst(right, run_lathe(ours, inputs, names, work)))
        assert max(errors) <= BOUND, f"{name} {opset}: {errors}"
        print(f"{name:12} opset {opset}: {dict(found)}; ONNX Runtime {errors[0]:.1e}, with its rewrites {errors[1]:.1e}, "
              f"lathe {errors[2]:.1e}")


def main():
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        norms = {SKIP: 4, "BiasGelu": 2}
        check("encoder", work / "encoder.onnx", encoder(work / "encoder.onnx"),
              {13: {**norms, ATTENTION: 2}, 17: {**norms, ATTENTION: 2}, 23: norms}, work)
        check("network", work / "network.onnx", network(work / "network.onnx"),
              {13: {"FusedConv": 4, "FusedMatMul": 1, "QuickGelu": 1}, 24: {"FusedConv": 4, "FusedMatMul": 1}}, work)
        check("branches", work / "branches.onnx", branches(work / "branches.onnx"),
              {18: {"FastGelu": 1, "QuickGelu": 1}, 24: {"FastGelu": 1}}, work)
        for name, always, before_23 in DECODERS:
            path = ARCH / f"optimum_{name}/model.onnx"
            check(name, path, decoder(path), {18: {**always, **before_23}, 24: always}, work)
        error = lathe("optimize", work / "encoder.onnx", work / "no.onnx", "-O4", "--contrib", code=2)["error"]
        assert "--contrib" in error["message"], error


main()
