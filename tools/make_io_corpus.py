#!/usr/bin/env python3
"""Writes tests/io/corpus/{safetensors,gguf,npy}: small files for the tests and as seeds of the fuzzers.

ok_* come from the reference packages (safetensors, gguf, numpy) and must parse; bad_* break one rule each and must
be refused.

usage: make_io_corpus.py tests/io/corpus     (with an interpreter that has gguf, numpy, safetensors)
"""

import io
import json
import struct
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import save


def st(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def f32(begin=0, end=8, shape=(2,)):
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}


def safetensors_files():
    arrays = {
        str(np.dtype(t)): np.arange(6).astype(t).reshape(2, 3)
        for t in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")
    }
    arrays["scalar"] = np.array(2.5, np.float32)
    arrays["empty"] = np.zeros((0, 3), np.float32)
    yield "ok_types", save(arrays, {"format": "pt", "note": "é\n"})
    yield "ok_nothing", st({})
    yield "ok_padded", st(b'{"a":{"shape":[2],"data_offsets":[0,8],"dtype":"F32","more":[{"x":[1.5]},null]}}   ', bytes(8))
    yield "ok_unaligned", st({"a": f32(1, 9), "b": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, bytes(9))
    yield "bad_short", b"\x05\0\0"
    yield "bad_length", st({"a": f32()}, bytes(8), length=1 << 40)
    yield "bad_length_limit", st({}, length=100_000_001)
    yield "bad_start", st(b' {"a":1}')
    yield "bad_array", st(b"[]")
    yield "bad_json", st(b'{"a":')
    yield "bad_utf8", st(b'{"\xff\xff":{}}')
    yield "bad_trailing", st({"a": f32()}, bytes(9))
    yield "bad_missing_data", st({"a": f32()}, bytes(7))
    yield "bad_hole", st({"a": f32(), "b": f32(9, 17)}, bytes(17))
    yield "bad_overlap", st({"a": f32(), "b": f32(4, 12)}, bytes(12))
    yield "bad_same_place", st({"a": f32(), "b": f32()}, bytes(8))
    yield "bad_backwards", st({"a": f32(8, 0)}, bytes(8))
    yield "bad_size", st({"a": f32(shape=(3,))}, bytes(8))
    yield "bad_overflow", st({"a": f32(shape=(1 << 40, 1 << 40))}, bytes(8))
    yield "bad_overflow_bytes", st({"a": f32(shape=((1 << 62) + 2,))}, bytes(8))
    yield "bad_negative", st({"a": f32(shape=(-2, -1))}, bytes(8))
    yield "bad_fraction", st(b'{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}', bytes(8))
    yield "bad_dtype", st({"a": {**f32(), "dtype": "F33"}}, bytes(8))
    yield "bad_no_shape", st({"a": {"dtype": "F32", "data_offsets": [0, 8]}}, bytes(8))
    yield "bad_three_offsets", st({"a": {**f32(), "data_offsets": [0, 8, 8]}}, bytes(8))
    yield "bad_nested_shape", st({"a": {**f32(), "shape": [[2]]}}, bytes(8))
    yield "bad_object_in_shape", st({"a": {**f32(), "shape": [{}]}}, bytes(8))
    yield "bad_duplicate", st(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}')
    yield "bad_duplicate_member", st(b'{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}')
    yield "bad_metadata", st({"__metadata__": {"a": 1}})
    yield "bad_metadata_list", st({"__metadata__": ["a"]})
    yield "bad_tensor_is_number", st({"a": 1})
    yield "bad_half_byte", st({"a": {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}}, bytes(2))
    yield "bad_six_bits", st({"a": {"dtype": "F6_E2M3", "shape": [4], "data_offsets": [0, 3]}}, bytes(3))


def gguf_reference(path):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_uint32("llama.block_count", 2)
    for name in ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"):
        getattr(writer, f"add_{name}")(f"test.{name}", 7 if name.startswith("u") else -7)
    writer.add_float32("test.float32", 0.5)
    writer.add_float64("test.float64", 0.1)
    writer.add_bool("test.bool", True)
    writer.add_array("test.strings", ["a", "", "Ġb", "ccc"])
    writer.add_array("test.ints", [1, -2, 3])
    writer.add_array("test.floats", [0.5, -1.5])
    writer.add_array("test.bools", [True, False])
    writer.add_array("test.nested", [[1, 2], [3]])
    writer.add_tensor("f32", np.arange(6, dtype=np.float32).reshape(2, 3))
    writer.add_tensor("f16", np.arange(4, dtype=np.float16))
    q8 = gguf.quants.quantize(np.arange(-64, 64, dtype=np.float32).reshape(2, 64), gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("q8_0", q8, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return Path(path).read_bytes()


def text(value):
    return struct.pack("<Q", len(value)) + value


def kv(key, kind, value):
    return text(key) + struct.pack("<I", kind) + value


def info(name, dims, kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gg(kvs=(), infos=(), data=b"", version=3, counts=None, magic=b"GGUF", pad=32):
    tensors, keys = counts or (len(infos), len(kvs))
    head = magic + struct.pack("<IQQ", version, tensors, keys) + b"".join(kvs) + b"".join(infos)
    return head + (bytes(-len(head) % pad) + data if data else b"")


def gguf_files():
    yield "ok_reference", gguf_reference("/tmp/lathe_corpus.gguf")
    yield "ok_nothing", gg()
    yield "ok_version_2", gg([kv(b"k", 4, b"\1\0\0\0")], [info(b"a", [3, 2])], bytes(24), version=2)
    yield "ok_alignment", gg([kv(b"general.alignment", 4, struct.pack("<I", 64))], [info(b"a", [2]), info(b"b", [2], 0, 64)], bytes(72), pad=64)
    yield "ok_empty_tensor", gg((), [info(b"a", [0, 3])], b"")
    deep = b"".join(struct.pack("<IQ", 9, 1) for _ in range(6)) + struct.pack("<IQ", 0, 1) + b"\5"
    yield "ok_nested", gg([kv(b"k", 9, deep)])
    yield "bad_empty", b""
    yield "bad_magic", gg(magic=b"GGUX")
    yield "bad_version_1", gg(version=1)
    yield "bad_version_0", gg(version=0)
    yield "bad_big_endian", gg(version=3 << 24)
    yield "bad_counts", gg(counts=(1 << 62, 1 << 62))
    yield "bad_key_length", gg([struct.pack("<Q", 1 << 63)])
    yield "bad_long_key", gg([kv(b"k" * 65536, 0, b"\1")])
    yield "bad_type", gg([kv(b"k", 13, bytes(8))])
    yield "bad_bool", gg([kv(b"k", 7, b"\2")])
    yield "bad_string", gg([kv(b"k", 8, struct.pack("<Q", 1 << 40))])
    yield "bad_array_length", gg([kv(b"k", 9, struct.pack("<IQ", 6, 1 << 62))])
    yield "bad_array_wrap", gg([kv(b"k", 9, struct.pack("<IQ", 12, (1 << 61) + 1) + bytes(8))])
    yield "bad_string_array", gg([kv(b"k", 9, struct.pack("<IQ", 8, 1 << 29) + bytes(64))])
    yield "bad_array_type", gg([kv(b"k", 9, struct.pack("<IQ", 99, 1) + bytes(8))])
    yield "bad_deep", gg([kv(b"k", 9, struct.pack("<IQ", 9, 1) * 100)])
    yield "bad_duplicate_key", gg([kv(b"k", 0, b"\1")] * 2)
    yield "bad_duplicate_tensor", gg((), [info(b"a", [2]), info(b"a", [2], 0, 32)], bytes(64))
    yield "bad_alignment", gg([kv(b"general.alignment", 4, struct.pack("<I", 33))])
    yield "bad_alignment_0", gg([kv(b"general.alignment", 4, bytes(4))])
    yield "bad_alignment_type", gg([kv(b"general.alignment", 8, text(b"32"))])
    yield "bad_offset", gg((), [info(b"a", [2], 0, 4)], bytes(64))
    yield "bad_beyond", gg((), [info(b"a", [9])], bytes(32))
    yield "bad_beyond_far", gg((), [info(b"a", [2], 0, 1 << 62)], bytes(32))
    yield "bad_overlap", gg((), [info(b"a", [16]), info(b"b", [2], 0, 32)], bytes(64))
    yield "bad_rank", gg((), [info(b"a", [1] * 5)], bytes(32))
    yield "bad_rank_huge", gg((), [text(b"a") + struct.pack("<I", 0xFFFFFFFF) + bytes(64)], bytes(32))
    yield "bad_dims_overflow", gg((), [info(b"a", [1 << 40, 1 << 40])], bytes(32))
    yield "bad_dims_negative", gg((), [info(b"a", [1 << 63])], bytes(32))
    yield "bad_removed_type", gg((), [info(b"a", [32], 4)], bytes(32))
    yield "bad_block", gg((), [info(b"a", [31], 2)], bytes(32))
    yield "bad_name", gg((), [info(b"n" * 64, [2])], bytes(32))


def npy(header, data=b"", version=1, length=None):
    size = len(header) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", size) + header + data


def npy_files():
    for t in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16"):
        buffer = io.BytesIO()
        np.save(buffer, np.arange(6).astype(t).reshape(2, 3))
        yield f"ok_{np.dtype(t).name}", buffer.getvalue()
    for name, array in (("scalar", np.float32(2.5)), ("empty", np.zeros((0, 3), "f4")), ("vector", np.arange(3.0))):
        buffer = io.BytesIO()
        np.save(buffer, array)
        yield f"ok_{name}", buffer.getvalue()
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.arange(6, dtype="f4"), version=(2, 0))
    yield "ok_version_2", buffer.getvalue()
    good = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"
    yield "ok_double_quotes", npy(good.replace(b"'", b'"'), bytes(8))
    yield "ok_python_2", npy(good.replace(b"(2,)", b"(2L,)"), bytes(8))
    yield "ok_fortran_vector", npy(good.replace(b"False", b"True"), bytes(8))
    buffer = io.BytesIO()
    np.save(buffer, np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    yield "bad_fortran", buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3, dtype=">f4"))
    yield "bad_big_endian", buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.array(["a", "b"]))
    yield "bad_string", buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.array([{}], object), allow_pickle=True)
    yield "bad_object", buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(2, [("a", "f4"), ("b", "i4")]))
    yield "bad_structure", buffer.getvalue()
    yield "bad_magic", b"\x93NUMPX" + npy(good)[6:]
    yield "bad_version", npy(good, bytes(8), version=4)
    yield "bad_length", npy(good, bytes(8), length=60000)
    yield "bad_length_2", npy(good, bytes(8), version=2, length=0xFFFFFFFF)
    yield "bad_short", npy(good, bytes(7))
    yield "bad_trailing", npy(good, bytes(9))
    yield "bad_overflow", npy(good.replace(b"(2,)", b"(4611686018427387904,4)"))
    yield "bad_number", npy(good.replace(b"(2,)", b"(99999999999999999999,)"))
    yield "bad_negative", npy(good.replace(b"(2,)", b"(-2,)"), bytes(8))
    yield "bad_key", npy(good.replace(b"descr", b"descx"), bytes(8))
    yield "bad_twice", npy(good.replace(b"'descr'", b"'descr': '<f4', 'descr'"), bytes(8))
    yield "bad_no_shape", npy(b"{'descr': '<f4', 'fortran_order': False}", bytes(8))
    yield "bad_after", npy(good + b"x", bytes(8))
    yield "bad_quote", npy(b"{'descr", bytes(8))


def main():
    root = Path(sys.argv[1])
    for kind, files in (("safetensors", safetensors_files), ("gguf", gguf_files), ("npy", npy_files)):
        folder = root / kind
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
