#!/usr/bin/env python3
"""Graphs inside nodes, written: every control-flow model of ONNX's own tests is optimised at three levels, accepted by
onnx.checker, gives the test's own outputs in ONNX Runtime or in ONNX's reference, and in lathe; written once more it is
the same file. So is Silero's voice detector, whose two halves are branches of an If, where the package is installed.
Usage: [LATHE_ONNX_TESTS=FOLDER] [LATHE_SILERO=FILE.onnx] check_optimize_bodies.py LATHE"""
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

LATHE = sys.argv[1]
TESTS = os.environ.get("LATHE_ONNX_TESTS", "")
LEVELS = ("-O0", "-O1", "-O2")
LEAST = 60  # models with control flow or optionals in the tests of onnx 1.22
# Their Range has a list of one number where the operator wants a scalar. ONNX Runtime says so as soon as it can tell
# which branch of an If is taken, which is a constant from -O1 on.
WRONG_RANGE = {"test_affine_grid_2d_align_corners_expanded", "test_affine_grid_2d_expanded"}
# Operators with a body or an optional; the attribute kinds of an ONNX file say the same.
OPTIONALS = {"Optional", "OptionalGetElement", "OptionalHasElement"}


def graphs(graph):
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for body in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                yield from graphs(body)


def has_control_flow(model):
    nodes = [node for graph in graphs(model.graph) for node in graph.node]
    return sum(1 for _ in graphs(model.graph)) > 1 or any(node.op_type in OPTIONALS for node in nodes)


def check_names(model):
    """No name is defined twice among a graph and those around it, and no body returns what is not its own."""
    def check(graph, around):
        own = [value.name for value in graph.input] + [tensor.name for tensor in graph.initializer]
        own += [output for node in graph.node for output in node.output if output]
        assert len(own) == len(set(own)), f"{graph.name}: a name is defined twice"
        assert not set(own) & around, f"{graph.name}: {sorted(set(own) & around)} hide names around"
        assert all(value.name in own for value in graph.output), f"{graph.name}: an output is not its own"
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    check(attribute.g, around | set(own))
    check(model.graph, set())


def bare(model):
    """Without names of nodes, which grow by their operator's, and shapes, which are known better the second time."""
    for graph in graphs(model.graph):
        for node in graph.node:
            node.name = ""
        for value in (*graph.input, *graph.output):
            value.type.tensor_type.ClearField("shape")
    return model.SerializeToString(deterministic=True)


def lathe(*arguments, code=0):
    done = subprocess.run([LATHE, *map(str, arguments), "--json"], capture_output=True, text=True)
    assert done.returncode == code, f"lathe {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def load(path, type_proto):
    data, kind = path.read_bytes(), type_proto.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def load_set(folder, kind, values):
    found = {}
    for i, value in enumerate(values):
        path = folder / f"{kind}_{i}.pb"
        if path.exists():
            found[value.name] = load(path, value.type)
    return found


def expect_same(name, expected, found):
    if expected is None or found is None:
        assert expected is None and found is None, f"{name}: expected {expected}, found {found}"
    elif isinstance(expected, list):
        assert len(expected) == len(found), f"{name}: expected {len(expected)} items, found {len(found)}"
        for i, (a, b) in enumerate(zip(expected, found)):
            expect_same(f"{name}[{i}]", a, b)
    else:
        expected, found = np.asarray(expected), np.asarray(found)
        assert expected.dtype == found.dtype, f"{name}: expected {expected.dtype}, found {found.dtype}"
        bound = 1e-3 if expected.dtype.itemsize == 2 else 1e-5
        wide = [x.astype(np.float64) if x.dtype.kind in "fV" else x for x in (expected, found)]
        np.testing.assert_allclose(wide[1], wide[0], rtol=bound, atol=bound, err_msg=name)


def runners(model):
    """Who can run a model: (name, function of inputs), best first."""
    session = ort.SessionOptions()
    session.log_severity_level = 4
    session.intra_op_num_threads = 1

    def by_ort(inputs):
        made = ort.InferenceSession(model.SerializeToString(), session, providers=["CPUExecutionProvider"])
        return made.run(None, inputs)

    return (("ONNX Runtime", by_ort), ("onnx.reference", lambda inputs: ReferenceEvaluator(model).run(None, inputs)))


def gives(model, outputs, inputs, expected):
    """The names of those that run the model and give what is expected; what they say otherwise."""
    good, complaints = [], []
    for name, run in runners(model):
        try:
            for key, value in zip(outputs, run(inputs)):
                expect_same(key, expected[key], value)
            good.append(name)
        except Exception as error:  # whatever the other program throws
            complaints.append(f"{name}: {str(error).strip().splitlines()[0] if str(error).strip() else repr(error)}")
    return good, complaints


def check_test(folder, work):
    source = onnx.load(folder / "model.onnx")
    data = folder / "test_data_set_0"
    inputs, expected = (load_set(data, kind, values)
                        for kind, values in (("input", source.graph.input), ("output", source.graph.output)))
    outputs = [value.name for value in source.graph.output]
    able, _ = gives(source, outputs, inputs, expected)
    ran = set()
    for level in LEVELS:
        case = work / f"{folder.name}{level}"
        shutil.copytree(data, case / "test_data_set_0")
        lathe("optimize", folder / "model.onnx", case / "model.onnx", level)
        model = onnx.load(case / "model.onnx")
        onnx.checker.check_model(model, full_check=True)
        check_names(model)
        good, complaints = gives(model, outputs, inputs, expected)
        missing = set(able) - set(good)
        if folder.name in WRONG_RANGE and level != "-O0":
            missing.discard("ONNX Runtime")
        assert not missing, f"{folder.name} {level}: {complaints}"
        ran |= set(good)
        lathe("optimize", case / "model.onnx", case / "again.onnx", "-O0")
        again = onnx.load(case / "again.onnx")
        assert bare(again) == bare(model), f"{folder.name} {level}: not the same again"
        (case / "again.onnx").unlink()
    return ran


def check_tests(work):
    folders = sorted(path.parent for path in pathlib.Path(TESTS).glob("*/*/model.onnx"))
    chosen = [folder for folder in folders if has_control_flow(onnx.load(folder / "model.onnx"))]
    assert len(chosen) >= LEAST, f"{len(chosen)} models with control flow below {TESTS}"
    counts, nobody = {}, []
    for folder in chosen:
        ran = check_test(folder, work)
        for name in ran:
            counts[name] = counts.get(name, 0) + 1
        if not ran:
            nobody.append(folder.name)
    report = lathe("conformance", work)
    assert report["passed"] == report["total"], [test for test in report["tests"] if not test["pass"]]
    print(f"{len(chosen)} models: {counts}; lathe passes {report['total']}; only lathe runs {nobody}")


def check_shared(work):
    """Two branches, one of them with a loop, that read weights of the graph around: they stay there, once."""
    from onnx import TensorProto as T, helper as h
    rng = np.random.default_rng(3)
    weights = [numpy_helper.from_array(rng.standard_normal((48, 48)).astype(np.float32) / 7, name) for name in "uv"]
    loop = h.make_graph([h.make_node("MatMul", ["state", "v"], ["turned"]), h.make_node("Gelu", ["turned"], ["next"]),
                         h.make_node("Identity", ["again"], ["go_on"])], "loop",
                        [h.make_tensor_value_info("round", T.INT64, []), h.make_tensor_value_info("again", T.BOOL, []),
                         h.make_tensor_value_info("state", T.FLOAT, ["n", 48])],
                        [h.make_tensor_value_info("go_on", T.BOOL, []), h.make_tensor_value_info("next", T.FLOAT, ["n", 48])])
    some = h.make_graph([h.make_node("MatMul", ["x", "u"], ["first"]),
                         h.make_node("Loop", ["trips", "", "first"], ["many"], body=loop)], "some", [],
                        [h.make_tensor_value_info("many", T.FLOAT, ["n", 48])])
    none = h.make_graph([h.make_node("MatMul", ["x", "u"], ["a"]), h.make_node("MatMul", ["a", "v"], ["b"])], "none", [],
                        [h.make_tensor_value_info("b", T.FLOAT, ["n", 48])])
    graph = h.make_graph([h.make_node("If", ["which"], ["y"], then_branch=some, else_branch=none)], "main",
                         [h.make_tensor_value_info("x", T.FLOAT, ["n", 48]), h.make_tensor_value_info("which", T.BOOL, []),
                          h.make_tensor_value_info("trips", T.INT64, [])],
                         [h.make_tensor_value_info("y", T.FLOAT, ["n", 48])], weights)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 20)])
    model.ir_version = 9
    onnx.save(model, work / "shared.onnx")
    session = lambda path: ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for level in LEVELS:
        for opset in (13, 20):
            ours = work / f"shared{level}.{opset}.onnx"
            lathe("optimize", work / "shared.onnx", ours, level, "--opset", opset)
            onnx.checker.check_model(str(ours), full_check=True)
            written = onnx.load(ours, load_external_data=False)
            check_names(written)
            large = [t.name for g in graphs(written.graph) for t in g.initializer if t.data_location == t.EXTERNAL]
            assert sorted(large) == ["u", "v"] and len(written.graph.initializer) >= 2, large
            for which in (True, False):
                inputs = {"x": rng.standard_normal((5, 48)).astype(np.float32), "which": np.array(which),
                          "trips": np.array(3)}
                right, found = (session(path).run(None, inputs)[0] for path in (work / "shared.onnx", ours))
                assert np.abs(right - found).max() <= 1e-6 * np.abs(right).max(), f"{level} {opset} {which}"
    print("shared weights stay in the main graph")


def silero_path():
    if "LATHE_SILERO" in os.environ:
        return pathlib.Path(os.environ["LATHE_SILERO"])
    package = importlib.util.find_spec("silero_vad")
    return pathlib.Path(package.origin).parent / "data/silero_vad.onnx" if package else None


def check_silero(path, work):
    """Both rates, a few chunks with the state fed back."""
    def run(model, rate):
        session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        rng, state, results = np.random.default_rng(rate), np.zeros((2, 1, 128), np.float32), []
        size = 576 if rate == 16000 else 288
        for _ in range(4):
            chunk = (0.3 * rng.standard_normal((1, size))).astype(np.float32)
            output, state = session.run(None, {"input": chunk, "state": state, "sr": np.array(rate, np.int64)})
            results += [output, state]
        return results

    for level in LEVELS:
        ours = work / f"silero{level}.onnx"
        lathe("optimize", path, ours, level)
        onnx.checker.check_model(str(ours), full_check=True)
        check_names(onnx.load(ours))
        worst = max(float(np.abs(a - b).max()) for rate in (16000, 8000) for a, b in zip(run(path, rate), run(ours, rate)))
        assert worst < 1e-5, f"silero {level}: {worst:.2e}"
        print(f"silero {level}: {ours.stat().st_size} bytes, largest difference {worst:.1e}")


def main():
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "tests").mkdir()
        if TESTS:
            check_tests(work / "tests")
        else:
            print("skipped: LATHE_ONNX_TESTS names no folder (scripts/test fetches one)")
        check_shared(work)
        silero = silero_path()
        if silero:
            check_silero(silero, work)
        else:
            print("skipped: neither LATHE_SILERO nor the package silero_vad is there")


main()
