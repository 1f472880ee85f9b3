"""check_onnx_write.py ONNX_REWRITE: what our writer writes, as the onnx package and ONNX Runtime see it.

Each model is rewritten by the program and must then be accepted by the onnx checker (full_check), hold the same
graph and the same values, and compute the same. The program is given on the command line."""

import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FIXTURES = pathlib.Path(__file__).resolve().parent / "onnx"


def tensors_of(message):
    """Every TensorProto below a message, in order."""
    if isinstance(message, TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for item in value if hasattr(value, "append") or hasattr(value, "add") else [value]:
                yield from tensors_of(item)


def normal(path):
    """The model with all tensor values as raw_data, so that messages can be compared."""
    model = onnx.load(path, load_external_data=False)  # its own loader leaves subgraphs two levels down alone
    for tensor in tensors_of(model):
        if tensor.data_type == TensorProto.STRING:
            continue
        data = numpy_helper.to_array(tensor, base_dir=str(path.parent)).tobytes()
        for field in ("float_data", "int32_data", "int64_data", "uint64_data", "double_data"):
            tensor.ClearField(field)
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = data
    return model


def rewrite(program, source, target, threshold):
    done = subprocess.run([program, source, target, str(threshold)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["predicted_model_bytes"] == report["model_bytes"] == target.stat().st_size
    data = target.with_name(target.name + "_data")
    assert report["predicted_data_bytes"] == report["data_bytes"] == (data.stat().st_size if data.exists() else 0)
    return report


def check_layout(path, threshold):
    """External tensors: one file, page aligned, only initializers of at least the threshold, and all of those."""
    model = onnx.load(path, load_external_data=False)
    for tensor in tensors_of(model):
        external = {e.key: e.value for e in tensor.external_data}
        if tensor.data_location == TensorProto.EXTERNAL:
            assert external["location"] == path.name + "_data" and int(external["offset"]) % 4096 == 0
            assert int(external["length"]) >= threshold and not tensor.HasField("raw_data")
    for graph in graphs_of(model):
        for tensor in graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL and tensor.data_type != TensorProto.STRING:
                assert len(tensor.raw_data) < threshold, tensor.name


def graphs_of(model):
    pending = [model.graph] + [t.algorithm for t in model.training_info]
    while pending:
        graph = pending.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                pending.extend(([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs))


def all_dtypes_model(folder):
    """Initializers of every type, each an output, so that the checker's shape inference sees them all."""
    rng = np.random.default_rng(1)
    tensors = []
    for name, dtype in TensorProto.DataType.items():
        if name in ("UNDEFINED", "STRING", "FLOAT6E2M3", "FLOAT6E3M2"):
            continue
        array = rng.integers(0, 2, (37, 45)).astype(helper.tensor_dtype_to_np_dtype(dtype))
        tensors.append(numpy_helper.from_array(array, name))
    tensors.append(numpy_helper.from_array(np.array(["a", "", "bc"], dtype=object), "STRING"))
    nodes = [helper.make_node("Identity", [t.name], [t.name + "_out"]) for t in tensors]
    outputs = [helper.make_tensor_value_info(t.name + "_out", t.data_type, list(t.dims)) for t in tensors]
    model = helper.make_model(helper.make_graph(nodes, "dtypes", [], outputs, initializer=tensors), ir_version=13,
                              opset_imports=[helper.make_opsetid("", 25)])
    path = folder / "dtypes.onnx"
    onnx.save(model, path)
    return path


def run(path, feed):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, feed)


def main():
    program = sys.argv[1]
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        sources = [FIXTURES / f"{name}.onnx" for name in ("attributes", "typed", "raw", "runnable", "external")]
        sources.append(all_dtypes_model(folder))
        for source in sources:
            for threshold in (1, 1024, 1 << 40):
                target = folder / f"{source.stem}_{threshold}" / "model.onnx"
                target.parent.mkdir()
                rewrite(program, source, target, threshold)
                check_layout(target, threshold)
                assert normal(source) == normal(target), f"{source.name}: the model has changed"
                if source.stem in ("runnable", "external", "dtypes"):
                    onnx.checker.check_model(str(target), full_check=True)
                if source.stem == "runnable":
                    for sign in (1, -1):
                        feed = {"x": sign * np.arange(6, dtype=np.float32).reshape(2, 3)}
                        for a, b in zip(run(source, feed), run(target, feed)):
                            np.testing.assert_array_equal(a, b)
                print(f"{source.name} threshold {threshold}: the same")


main()
