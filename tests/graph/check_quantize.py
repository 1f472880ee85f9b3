#!/usr/bin/env python3
"""lathe quantize, held to ONNX Runtime: it loads what is written, gives the results that lathe gives, and its own
quantiser on the same samples is not better. Usage: check_quantize.py LATHE"""
import json
import logging
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T, helper as h, numpy_helper as nh

LATHE = sys.argv[1]
SAMPLES = 12


def convolutions(rng):
    """A small residual network: Conv, BatchNormalization, Relu, MaxPool, a sum, a mean over the picture, Gemm."""
    tensors, nodes = [], []

    def constant(name, *dims, scale=1.0, positive=False):
        x = rng.standard_normal(dims).astype(np.float32) * scale
        tensors.append(nh.from_array(np.abs(x) + 0.5 if positive else x, name))
        return name

    def conv(x, name, out, into, size=3):
        nodes.append(h.make_node("Conv", [x, constant(f"{name}.w", out, into, size, size, scale=(into * size * size) ** -0.5)],
                                 [f"{name}.c"], pads=[size // 2] * 4))
        norm = [constant(f"{name}.{p}", out, scale=0.3, positive=p in "sv") for p in "sbmv"]
        nodes.append(h.make_node("BatchNormalization", [f"{name}.c", *norm], [name]))
        return name

    def relu(x):
        nodes.append(h.make_node("Relu", [x], [x + ".relu"]))
        return x + ".relu"

    x = relu(conv("x", "stem", 16, 3))
    nodes.append(h.make_node("MaxPool", [x], ["pool"], kernel_shape=[2, 2], strides=[2, 2]))
    y = conv(relu(conv("pool", "first", 16, 16)), "second", 16, 16)
    nodes.append(h.make_node("Add", [y, "pool"], ["sum"]))
    x = relu(conv(relu("sum"), "last", 24, 16, 1))
    nodes.append(h.make_node("GlobalAveragePool", [x], ["mean"]))
    nodes.append(h.make_node("Flatten", ["mean"], ["flat"]))
    nodes.append(h.make_node("Gemm", ["flat", constant("head.w", 10, 24), constant("head.b", 10)], ["y"], transB=1))
    dims = ["batch", 3, 16, 16]
    sample = lambda i: {"x": rng.standard_normal((2, 3, 16, 16)).astype(np.float32)}
    return nodes, tensors, [("x", dims)], [("y", ["batch", 10])], sample


def perceptrons(rng):
    """Products with a layer normalisation and a GELU between them, and a residual stream."""
    tensors, nodes = [], []

    def constant(name, value):
        tensors.append(nh.from_array(np.asarray(value, np.float32), name))
        return name

    def product(x, name, rows, columns):
        nodes.append(h.make_node("MatMul", [x, constant(f"{name}.w", rng.standard_normal((rows, columns)) * rows ** -0.5)],
                                 [f"{name}.m"], name=f"{name}.product"))
        nodes.append(h.make_node("Add", [f"{name}.m", constant(f"{name}.b", rng.standard_normal(columns) * 0.1)], [name]))
        return name

    nodes.append(h.make_node("LayerNormalization", ["x", constant("norm.s", np.abs(rng.standard_normal(32)) + 0.5),
                                                    constant("norm.b", rng.standard_normal(32) * 0.1)], ["normed"]))
    product("normed", "up", 32, 96)
    nodes.append(h.make_node("Gelu", ["up"], ["active"]))
    product("active", "down", 96, 32)
    nodes.append(h.make_node("Add", ["x", "down"], ["y"]))
    sample = lambda i: {"x": rng.standard_normal((1, 5 + i, 32)).astype(np.float32)}
    return nodes, tensors, [("x", [1, "n", 32])], [("y", [1, "n", 32])], sample


def save(path, parts, opset):
    nodes, tensors, inputs, outputs, _ = parts
    infos = [[h.make_tensor_value_info(name, T.FLOAT, dims) for name, dims in side] for side in (inputs, outputs)]
    model = h.make_model(h.make_graph(nodes, "g", infos[0], infos[1], tensors), opset_imports=[h.make_opsetid("", opset)])
    model.ir_version = 10
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def run_ort(path, samples):
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return [session.run(None, sample)[0] for sample in samples]


def lathe(*arguments, code=0):
    done = subprocess.run([LATHE, *map(str, arguments), "--json"], capture_output=True, text=True)
    assert done.returncode == code, f"lathe {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def run_lathe(path, samples, folder):
    results = []
    for i, sample in enumerate(samples):
        given = []
        for name, value in sample.items():
            np.save(folder / f"given.{name}.npy", value)
            given += ["--input", f"{name}={folder}/given.{name}.npy"]
        lathe("run", path, *given, "--output-dir", folder / "out")
        results.append(np.load(folder / "out" / "y.npy"))
    return results


def db(right, found):
    signal = sum(float((a.astype(np.float64) ** 2).sum()) for a in right)
    noise = sum(float(((a.astype(np.float64) - b) ** 2).sum()) for a, b in zip(right, found))
    return 10 * np.log10(signal / noise) if noise > 0 else 200.0


def quantise_by_ort(source, destination, samples):
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter(samples)

        def get_next(self):
            return next(self.rest, None)

    logging.disable(logging.WARNING)
    quantize_static(str(source), str(destination), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    calibrate_method=CalibrationMethod.MinMax, op_types_to_quantize=["Conv", "MatMul", "Gemm"])


def check(name, parts, opset, folder):
    folder.mkdir()
    source, ours, theirs = folder / "floats.onnx", folder / "ours.onnx", folder / "theirs.onnx"
    save(source, parts, opset)
    samples = [parts[4](i) for i in range(SAMPLES)]
    for i, sample in enumerate(samples):
        (folder / "samples" / f"{i:02}").mkdir(parents=True)
        for key, value in sample.items():
            np.save(folder / "samples" / f"{i:02}" / f"{key}.npy", value)
    right = run_ort(source, samples)
    quantise_by_ort(source, theirs, samples)
    other = db(right, run_ort(theirs, samples))
    for method in ("mse", "minmax", "percentile"):
        report = lathe("quantize", source, ours, "--calibration", folder / "samples", "--method", method)
        assert report["kept"] == 0 and report["samples"] == SAMPLES, report
        onnx.checker.check_model(str(ours), full_check=True)
        by_ort = run_ort(ours, samples)
        found = db(right, by_ort)
        said = report["outputs"][0]["db"]
        # ONNX Runtime and lathe round halves of a step apart in places; the noise is the same.
        assert abs(found - said) < 0.5, f"{name} {method}: {said:.2f} dB said, ONNX Runtime has {found:.2f}"
        between = db(by_ort, run_lathe(ours, samples, folder))
        assert between > found, f"{name} {method}: lathe and ONNX Runtime are {between:.1f} dB apart, rounding {found:.1f}"
        print(f"{name:14} {method:10} {found:6.2f} dB; ONNX Runtime's own quantiser {other:6.2f}; apart {between:6.2f}")
        if method == "mse":
            assert found > other - 1, f"{name}: {found:.2f} dB, ONNX Runtime's quantiser has {other:.2f}"
    receipt = lathe("verify", ours)
    assert receipt["pass"], receipt
    return source, folder / "samples"


def check_choices(source, samples, folder):
    """--keep, --keep-below, and what is refused."""
    ours = folder / "kept.onnx"
    kept = lambda report: {node["value"]: node["kept"] for node in report["nodes"] if "kept" in node}
    report = lathe("quantize", source, ours, "--calibration", samples, "--keep", "up.product")
    assert kept(report) == {"up.m": "asked for"}, report
    ops = [node.op_type for node in onnx.load(str(ours)).graph.node]
    assert ops.count("QuantizeLinear") == 1, ops
    report = lathe("quantize", source, ours, "--calibration", samples)
    decibels = {node["value"]: node["db"] for node in report["nodes"]}
    poor = min(decibels, key=decibels.get)
    between = sum(decibels.values()) / 2
    report = lathe("quantize", source, ours, "--calibration", samples, "--keep-below", between)
    assert set(kept(report)) == {poor} and "dB, below" in kept(report)[poor], report
    ours.unlink()
    for arguments, code, words in (
            (["--calibration", samples, "--keep", "nothing"], 2, "nothing"),
            (["--calibration", samples, "--method", "guess"], 2, "guess"),
            (["--calibration", samples, "--keep-below", "300"], 4, "nothing is left"),
            (["--calibration", folder / "absent"], 3, "absent"),
            (["--calibration", source.parent / "out"], 3, "no x.npy")):
        error = lathe("quantize", source, ours, *arguments, code=code)["error"]
        assert words in json.dumps(error), error
        assert not ours.exists()


def main():
    rng = np.random.default_rng(5)
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        check("convolutions", convolutions(rng), 17, work / "convolutions")
        source, samples = check("perceptrons", perceptrons(rng), 20, work / "perceptrons")
        check_choices(source, samples, work)


main()
