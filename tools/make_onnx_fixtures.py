"""Writes tests/io/onnx/*.onnx and expected.json: small models with every kind of field, and what the onnx package
reads in them; and tests/io/corpus/onnx, small files with every kind of fault. Run with a Python that has onnx: python tools/make_onnx_fixtures.py"""

import json
import pathlib
import struct

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "io" / "onnx"
T = TensorProto
A = onnx.AttributeProto

# Element types by how TensorProto stores them when there is no raw_data.
INT32_DATA = [T.UINT8, T.INT8, T.UINT16, T.INT16, T.INT32, T.BOOL, T.FLOAT16, T.BFLOAT16, T.FLOAT8E4M3FN,
              T.FLOAT8E4M3FNUZ, T.FLOAT8E5M2, T.FLOAT8E5M2FNUZ, T.UINT4, T.INT4, T.FLOAT4E2M1, T.FLOAT8E8M0,
              T.UINT2, T.INT2]
NUMERIC = INT32_DATA + [T.FLOAT, T.COMPLEX64, T.DOUBLE, T.COMPLEX128, T.INT64, T.UINT32, T.UINT64]
BITS = {T.UINT4: 4, T.INT4: 4, T.FLOAT4E2M1: 4, T.UINT2: 2, T.INT2: 2}
BASE = None  # folder of external data


# ---- What onnx says, as JSON ----------------------------------------------------------------------------------

def tensor_bytes(t):
    """Little-endian row-major bytes, sub-byte elements packed from the lowest bits on."""
    array = numpy_helper.to_array(t, base_dir=str(BASE))
    bits = BITS.get(t.data_type)
    if bits is None:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    codes = array.reshape(-1).view(np.uint8) & ((1 << bits) - 1)  # ml_dtypes keeps one element a byte
    packed = bytearray(-(-len(codes) * bits // 8))
    for i, code in enumerate(codes):
        packed[i * bits // 8] |= int(code) << (i * bits % 8)
    return bytes(packed)


def bits_of(value):
    return struct.unpack("<I", struct.pack("<f", value))[0]


def props(entries):
    return [[e.key, e.value] for e in entries]


def tensor_json(t):
    out = {"name": t.name, "data_type": t.data_type, "dims": list(t.dims), "doc": t.doc_string,
           "metadata": props(t.metadata_props)}
    if t.data_type == T.STRING:
        out["strings"] = [s.hex() for s in t.string_data]
    else:
        out["bytes"] = tensor_bytes(t).hex()
    return out


def sparse_json(s):
    return {"values": tensor_json(s.values), "indices": tensor_json(s.indices), "dims": list(s.dims)}


def dims_json(shape):
    out = []
    for d in shape.dim:
        kind = d.WhichOneof("value")
        out.append([None if kind is None else getattr(d, kind), d.denotation])
    return out


def type_json(t):
    kind = t.WhichOneof("value")
    out = {"kind": kind or "none", "denotation": t.denotation}
    if kind in ("tensor_type", "sparse_tensor_type"):
        part = getattr(t, kind)
        out["elem_type"] = part.elem_type
        out["shape"] = dims_json(part.shape) if part.HasField("shape") else None
    elif kind in ("sequence_type", "optional_type"):
        out["element"] = type_json(getattr(t, kind).elem_type)
    elif kind == "map_type":
        out["key_type"] = t.map_type.key_type
        out["element"] = type_json(t.map_type.value_type)
    elif kind == "opaque_type":
        out["opaque"] = [t.opaque_type.domain, t.opaque_type.name]
    return out


def info_json(v):
    return {"name": v.name, "type": type_json(v.type) if v.HasField("type") else None, "doc": v.doc_string,
            "metadata": props(v.metadata_props)}


def attribute_json(a):
    out = {"name": a.name, "type": a.type, "ref": a.ref_attr_name, "doc": a.doc_string}
    if a.ref_attr_name:
        return out
    values = {
        A.FLOAT: lambda: bits_of(a.f), A.INT: lambda: a.i, A.STRING: lambda: a.s.hex(),
        A.TENSOR: lambda: [tensor_json(a.t)], A.GRAPH: lambda: [graph_json(a.g)],
        A.FLOATS: lambda: [bits_of(v) for v in a.floats], A.INTS: lambda: list(a.ints),
        A.STRINGS: lambda: [s.hex() for s in a.strings],
        A.TENSORS: lambda: [tensor_json(t) for t in a.tensors], A.GRAPHS: lambda: [graph_json(g) for g in a.graphs],
        A.SPARSE_TENSOR: lambda: [sparse_json(a.sparse_tensor)],
        A.SPARSE_TENSORS: lambda: [sparse_json(s) for s in a.sparse_tensors],
        A.TYPE_PROTO: lambda: [type_json(a.tp)], A.TYPE_PROTOS: lambda: [type_json(t) for t in a.type_protos],
    }
    out["value"] = values[a.type]()
    return out


def node_json(n):
    return {"op_type": n.op_type, "domain": n.domain, "overload": n.overload, "name": n.name,
            "inputs": list(n.input), "outputs": list(n.output),
            "attributes": [attribute_json(a) for a in n.attribute], "doc": n.doc_string,
            "metadata": props(n.metadata_props),
            "devices": [d.SerializeToString().hex() for d in n.device_configurations]}


def graph_json(g):
    return {"name": g.name, "nodes": [node_json(n) for n in g.node],
            "initializers": [tensor_json(t) for t in g.initializer],
            "sparse_initializers": [sparse_json(s) for s in g.sparse_initializer],
            "inputs": [info_json(v) for v in g.input], "outputs": [info_json(v) for v in g.output],
            "value_infos": [info_json(v) for v in g.value_info],
            "quantizations": [[q.tensor_name, props(q.quant_parameter_tensor_names)]
                              for q in g.quantization_annotation],
            "doc": g.doc_string, "metadata": props(g.metadata_props)}


def opsets_json(opsets):
    return [[o.domain, o.version] for o in opsets]


def function_json(f):
    return {"domain": f.domain, "name": f.name, "overload": f.overload, "inputs": list(f.input),
            "outputs": list(f.output), "attributes": list(f.attribute),
            "defaults": [attribute_json(a) for a in f.attribute_proto], "nodes": [node_json(n) for n in f.node],
            "opsets": opsets_json(f.opset_import), "value_infos": [info_json(v) for v in f.value_info],
            "doc": f.doc_string, "metadata": props(f.metadata_props)}


def training_json(t):
    return {"initialization": graph_json(t.initialization) if t.HasField("initialization") else None,
            "algorithm": graph_json(t.algorithm) if t.HasField("algorithm") else None,
            "initialization_binding": props(t.initialization_binding), "update_binding": props(t.update_binding)}


def model_json(m):
    return {"ir_version": m.ir_version, "opsets": opsets_json(m.opset_import), "producer": m.producer_name,
            "producer_version": m.producer_version, "domain": m.domain, "model_version": m.model_version,
            "doc": m.doc_string, "graph": graph_json(m.graph), "functions": [function_json(f) for f in m.functions],
            "metadata": props(m.metadata_props), "trainings": [training_json(t) for t in m.training_info],
            "configurations": [c.SerializeToString().hex() for c in m.configuration]}


# ---- The models -----------------------------------------------------------------------------------------------

def add_props(entries, **values):
    for key, value in values.items():
        entry = entries.add()
        entry.key, entry.value = key, value


def typed_tensor(name, dtype, codes, shape):
    """A tensor whose typed array holds the given bit patterns (or numbers for 32 and 64 bits)."""
    t = TensorProto(name=name, data_type=dtype, dims=shape)
    bits = BITS.get(dtype)
    if bits:
        per = 8 // bits
        for i in range(0, len(codes), per):
            t.int32_data.append(sum((c & ((1 << bits) - 1)) << (bits * k) for k, c in enumerate(codes[i:i + per])))
    elif dtype in INT32_DATA:
        t.int32_data.extend(codes)
    elif dtype in (T.UINT32, T.UINT64):
        t.uint64_data.extend(codes)
    elif dtype == T.INT64:
        t.int64_data.extend(codes)
    elif dtype in (T.FLOAT, T.COMPLEX64):
        t.float_data.extend(float(c) / 4 for c in codes)
    else:
        t.double_data.extend(float(c) / 4 for c in codes)
    return t


def codes_for(dtype, count, seed):
    low, high = {T.BOOL: (0, 2), T.INT8: (-2**7, 2**7), T.INT16: (-2**15, 2**15), T.INT32: (-2**31, 2**31),
                 T.INT64: (-2**63, 2**63 - 1), T.UINT16: (0, 2**16), T.UINT32: (0, 2**32), T.UINT64: (0, 2**62),
                 # below the NaNs, whose bits numpy need not keep
                 T.FLOAT16: (0, 0x7c00), T.BFLOAT16: (0, 0x7f80)}.get(dtype, (0, 256))
    return [int(c) for c in np.random.default_rng(seed).integers(low, high, count, dtype=np.int64)]


def all_dtypes(raw):
    """One initializer for each element type and shape; sub-byte ones also with rows that end inside a byte."""
    tensors = []
    for dtype in NUMERIC:
        for shape in ([], [7], [2, 3], [4, 8], [0], [3, 0, 2]):
            count = int(np.prod(shape, dtype=np.int64))
            entries = count * (2 if dtype in (T.COMPLEX64, T.COMPLEX128) else 1)
            t = typed_tensor(f"t{dtype}_{'x'.join(map(str, shape))}", dtype, codes_for(dtype, entries, dtype), shape)
            if raw:
                data = tensor_bytes(t)
                for field in ("int32_data", "int64_data", "uint64_data", "float_data", "double_data"):
                    t.ClearField(field)
                t.raw_data = data
            tensors.append(t)
    tensors.append(TensorProto(name="strings", data_type=T.STRING, dims=[2, 2],
                               string_data=[b"", b"plain", "gr\u00fc\u00df".encode(), b"\xff\x00\x80"]))
    return tensors


def identity_graph(name, initializers=(), extra_nodes=()):
    x = helper.make_tensor_value_info("x", T.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", T.FLOAT, [2, 3])
    return helper.make_graph([helper.make_node("Identity", ["x"], ["y"], name="id"), *extra_nodes], name, [x], [y],
                             initializer=list(initializers))


def model_of(graph, **kwargs):
    kwargs.setdefault("opset_imports", [helper.make_opsetid("", 25)])
    return helper.make_model(graph, ir_version=13, producer_name="fixtures", **kwargs)


def sparse(name, count):
    return helper.make_sparse_tensor(
        numpy_helper.from_array(np.arange(1, count + 1, dtype=np.float32), name),
        numpy_helper.from_array(np.arange(0, 2 * count, 2, dtype=np.int64), name + "_indices"), [4, 5])


def every_type():
    tensor = helper.make_tensor_type_proto(T.FLOAT, ["batch", 3, None])
    tensor.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    tensor.denotation = "IMAGE"
    opaque = onnx.TypeProto()
    opaque.opaque_type.domain, opaque.opaque_type.name = "some.where", "Thing"
    return [tensor, helper.make_tensor_type_proto(T.INT64, None), helper.make_tensor_type_proto(T.BOOL, []),
            helper.make_tensor_type_proto(T.UINT8, [-1, 0]),
            helper.make_sparse_tensor_type_proto(T.DOUBLE, [4, "n"]), helper.make_sequence_type_proto(tensor),
            helper.make_optional_type_proto(helper.make_sequence_type_proto(tensor)),
            helper.make_map_type_proto(T.STRING, helper.make_sequence_type_proto(tensor)), opaque, onnx.TypeProto()]


def attributes_model():
    """Every kind of attribute and of type, and every message that is neither. Not a model one could run."""
    tensors = [typed_tensor("small", T.FLOAT16, [0x3c00, 0x8000], [2]),
               TensorProto(name="words", data_type=T.STRING, dims=[1], string_data=[b"w"])]
    inner = identity_graph("inner", [numpy_helper.from_array(np.ones(3, np.float32), "w")])
    outer = identity_graph("outer", extra_nodes=[helper.make_node("Deep", [], ["d"], body=inner)])
    kinds = dict(
        a_float=1.5, b_int=-7, c_string="text", d_tensor=tensors[0], e_graph=outer, f_floats=[0.0, -0.0, 1e-45, 3.5],
        g_ints=[0, -1, 2**62], h_strings=["", "two"], i_tensors=tensors, j_graphs=[inner, outer],
        k_sparse=sparse("s", 3), l_sparses=[sparse("s1", 1), sparse("s2", 2)], m_type=every_type()[0],
        n_types=every_type())
    node = helper.make_node("Everything", ["x", "", "z"], ["", "out"], name="n", domain="test", overload="two",
                            doc_string="a node", **kinds)
    node.attribute[0].doc_string = "an attribute"
    bytes_attribute = node.attribute.add(name="o_bytes", type=A.STRING)
    bytes_attribute.s = b"\x00\xff\xfe"
    for name, kind in (("p_empty_ints", A.INTS), ("q_empty_floats", A.FLOATS), ("r_empty_strings", A.STRINGS)):
        node.attribute.add(name=name, type=kind)
    add_props(node.metadata_props, first="1", second="2")
    node.device_configurations.add(configuration_id="gpus", pipeline_stage=1)
    plain = helper.make_node("Plain", [], [])
    plain.attribute.add(name="zero", type=A.INT).i = 0

    infos = [onnx.ValueInfoProto(name=f"v{i}", type=t) for i, t in enumerate(every_type())]
    infos.append(onnx.ValueInfoProto(name="untyped", doc_string="no type"))
    add_props(infos[0].metadata_props, k="v")
    graph = helper.make_graph([node, plain], "g", infos[:4], infos[4:6], doc_string="a graph", value_info=infos[6:],
                              initializer=tensors, sparse_initializer=[sparse("sp", 4)])
    add_props(graph.metadata_props, g="1")
    add_props(graph.initializer[0].metadata_props, t="1")
    graph.initializer[0].doc_string = "a tensor"
    annotation = graph.quantization_annotation.add(tensor_name="small")
    add_props(annotation.quant_parameter_tensor_names, SCALE_TENSOR="s", ZERO_POINT_TENSOR="z")

    inside = helper.make_node("Add", ["a", "b"], ["c"])
    inside.attribute.add(name="alpha", type=A.FLOAT, ref_attr_name="beta")
    function = helper.make_function("test", "Everything", ["a", "b"], ["c"], [inside], [helper.make_opsetid("", 25)],
                                    ["beta"], [helper.make_attribute("gamma", 2.5)], overload="two",
                                    doc_string="a function", value_info=[infos[0]])
    add_props(function.metadata_props, f="1")

    model = model_of(graph, doc_string="a model", domain="org.test", model_version=-3, functions=[function],
                     opset_imports=[helper.make_opsetid("", 25), helper.make_opsetid("test", 1)],
                     producer_version="0.1")
    add_props(model.metadata_props, author="nobody", note="")
    training = model.training_info.add()
    training.algorithm.CopyFrom(inner)
    add_props(training.update_binding, w="y")
    model.configuration.add(name="gpus", num_devices=2, device=["a", "b"])
    return model


def runnable_model():
    """An If with weights in both branches, a function, a Loop: runs in ONNX Runtime. [2, 3] -> [2, 3]."""
    def branch(name, scale):
        w = numpy_helper.from_array((np.arange(3 * 600, dtype=np.float32) % 7 * scale).reshape(3, 600), name + "_w")
        v = numpy_helper.from_array(np.full((600, 3), 0.001, np.float32), name + "_v")
        nodes = [helper.make_node("MatMul", ["x", name + "_w"], [name + "_h"]),
                 helper.make_node("MatMul", [name + "_h", name + "_v"], [name + "_y"])]
        return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(name + "_y", T.FLOAT, [2, 3])],
                                 initializer=[w, v])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["branched"], then_branch=branch("yes", 1.0),
                         else_branch=branch("no", -2.0)),
        helper.make_node("AddBias", ["branched", "bias"], ["biased"], domain="local"),
        helper.make_node("Constant", [], ["half"], value=numpy_helper.from_array(np.float32(0.5), "c")),
        helper.make_node("Mul", ["biased", "half"], ["y"])]
    function = helper.make_function("local", "AddBias", ["a", "b"], ["c"],
                                    [helper.make_node("Add", ["a", "b"], ["c"])], [helper.make_opsetid("", 21)])
    graph = helper.make_graph(
        nodes, "runnable", [helper.make_tensor_value_info("x", T.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", T.FLOAT, [2, 3])],
        initializer=[numpy_helper.from_array(np.float32(0), "zero"),
                     numpy_helper.from_array(np.array([1, -1, 2], np.float32), "bias")])
    return helper.make_model(graph, ir_version=10, functions=[function], producer_name="fixtures",
                             opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("local", 1)])


def external_model():
    """Tensors in another file: aligned, unaligned, sharing, sub-byte, without offset or length."""
    data = bytearray(np.arange(8, dtype=np.float32).tobytes())
    data += bytes(64 - len(data))
    data += np.arange(6, dtype=np.int64).tobytes() + b"\x21\x43\x05" + np.arange(5, dtype=np.float16).tobytes()
    (OUT / "external.data").write_bytes(data)

    def tensor(name, dtype, dims, **entries):
        t = TensorProto(name=name, data_type=dtype, dims=dims, data_location=T.EXTERNAL)
        add_props(t.external_data, location="external.data", **{k: str(v) for k, v in entries.items()})
        return t

    half = helper.make_node("Constant", [], ["c"], value=tensor("attribute", T.FLOAT, [2], offset=4, length=8))
    return model_of(identity_graph("external", [
        tensor("floats", T.FLOAT, [2, 4], length=32), tensor("same", T.FLOAT, [8], offset=0, length=32),
        tensor("ints", T.INT64, [6], offset=64, length=48), tensor("nibbles", T.INT4, [5], offset=112, length=3),
        tensor("odd", T.INT4, [2, 3], offset=112, length=3), tensor("halves", T.FLOAT16, [5], offset=115, length=10),
        tensor("empty", T.FLOAT, [0], offset=0, length=0)], [half]))


# ---- Hostile files --------------------------------------------------------------------------------------------

def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number, value):
    """A length-delimited field, or a varint."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value % 2**64)
    return varint(number << 3 | 2) + varint(len(value)) + value


def model_bytes(*initializers, nodes=b""):
    return field(1, 10) + field(7, nodes + b"".join(field(5, t) for t in initializers))


def nested(levels):
    graph = b""
    for _ in range(levels):
        graph = field(1, field(5, field(1, b"body") + field(6, graph) + field(20, 5)))
    return graph


def corpus():
    """Seeds of the fuzzer, named by what is wrong with them."""
    def external(**entries):
        parts = [field(13, field(1, k.encode()) + field(2, v)) for k, v in entries.items()]
        return model_bytes(field(1, 2) + field(2, 1) + b"".join(parts) + field(14, 1))

    f32 = field(1, 2) + field(2, 1)
    deep_type = b""
    for _ in range(200):
        deep_type = field(4, field(1, deep_type))
    return {
        "ok_attributes": attributes_model().SerializeToString(deterministic=True),
        "ok_external": external_model().SerializeToString(deterministic=True),
        "ok_int4": model_bytes(field(1, 3) + field(2, 22) + field(5, b"\x21\x03")),
        "ok_split_graph": field(1, 10) + field(7, field(2, b"a")) + field(7, field(10, b"b")),
        "bad_empty": b"",
        "bad_no_graph": field(1, 10),
        "bad_varint": field(1, 10) + b"\x3a" + b"\xff" * 10,
        "bad_length": field(1, 10) + b"\x3a\xff\xff\xff\xff\x0f",
        "bad_group": field(1, 10) + b"\x3b\x3c",
        "bad_deep_graphs": field(1, 10) + field(7, nested(500)),
        "bad_deep_types": field(1, 10) + field(7, field(11, field(2, deep_type))),
        "bad_dims_overflow": model_bytes(field(1, 2**62) + field(1, 2**62) + field(2, 1) + field(9, bytes(8))),
        "bad_dims_negative": model_bytes(field(1, -2) + field(2, 1) + field(9, bytes(8))),
        "bad_dims_huge": model_bytes(field(1, 2**40) + field(2, 7) + field(7, b"\x01\x02")),
        "bad_packed_floats": model_bytes(f32 + field(4, bytes(7))),
        "bad_raw_and_typed": model_bytes(f32 + field(4, bytes(8)) + field(9, bytes(8))),
        "bad_bool": model_bytes(field(1, 1) + field(2, 9) + field(9, b"\x07")),
        "bad_dtype": model_bytes(field(1, 1) + field(2, 99) + field(9, b"\x07")),
        "bad_segment": model_bytes(f32 + field(3, field(1, 0) + field(2, 1)) + field(9, bytes(8))),
        "bad_location_climbs": external(location=b"../onnx/ok_int4"),
        "bad_location_absolute": external(location=b"/etc/passwd"),
        "bad_location_memory": external(location=b"*/_ORT_MEM_ADDR_/*", offset=b"4096", length=b"8"),
        "bad_offset": external(location=b"ok_int4", offset=b"18446744073709551610", length=b"8"),
        "bad_attribute_type": model_bytes(nodes=field(1, field(5, field(1, b"a") + field(20, 77)))),
        "bad_two_tensors": model_bytes(nodes=field(1, field(5, field(5, f32) + field(5, f32) + field(20, 4)))),
    }


def main():
    global BASE
    BASE = OUT
    OUT.mkdir(parents=True, exist_ok=True)
    models = {"attributes": attributes_model(), "typed": model_of(identity_graph("typed", all_dtypes(False))),
              "raw": model_of(identity_graph("raw", all_dtypes(True))), "runnable": runnable_model(),
              "external": external_model()}
    expected = {}
    for name, model in models.items():
        (OUT / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
        expected[name] = model_json(onnx.load(OUT / f"{name}.onnx", load_external_data=False))
    seeds = OUT.parent / "corpus" / "onnx"
    seeds.mkdir(parents=True, exist_ok=True)
    for name, data in corpus().items():
        (seeds / name).write_bytes(data)
    (OUT / "expected.json").write_text(json.dumps(expected, separators=(",", ":")) + "\n")


main()
