"""Reads, edits and writes checkpoint files by hand, so that the tests can damage any field of them.

Only what the tests need, and no check at all: what is written may be wrong on purpose.
"""
import json
import pathlib
import struct


class Safetensors:
    """`header`: what the JSON says, in file order; `data`: the bytes behind it."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        raw = self.path.read_bytes()
        (size,) = struct.unpack_from("<Q", raw)
        self.header = json.loads(raw[8 : 8 + size])
        self.data = bytearray(raw[8 + size :])

    def tensor(self, name):
        begin, end = self.header[name]["data_offsets"]
        return bytes(self.data[begin:end])

    def write(self, path=None):
        text = json.dumps(self.header).encode()
        pathlib.Path(path or self.path).write_bytes(struct.pack("<Q", len(text)) + text + self.data)

    def keep_only(self, names):
        """Drops the other tensors and closes the gaps."""
        data, header = bytearray(), {}
        for name in sorted(names, key=lambda n: self.header[n]["data_offsets"]):
            part = self.tensor(name)
            header[name] = {**self.header[name], "data_offsets": [len(data), len(data) + len(part)]}
            data += part
        self.header, self.data = header, data

    def append(self, name, dtype, shape, part):
        self.header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(self.data), len(self.data) + len(part)]}
        self.data += part


def shard(folder, count=2):
    """Cuts model.safetensors of `folder` into shards with an index, as save_pretrained does; their names."""
    whole = folder / "model.safetensors"
    names = [name for name in Safetensors(whole).header if name != "__metadata__"]
    files = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    weight_map = {name: files[i * count // len(names)] for i, name in enumerate(names)}
    for file in files:
        part = Safetensors(whole)
        part.keep_only([name for name in names if weight_map[name] == file])
        part.write(folder / file)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    whole.unlink()
    return files


class Gguf:
    """A GGUF file as bytes, with the places of its fields.

    `values`: metadata key -> (type, place of the value); `infos`: tensor name -> places of its number of
    dimensions, first dimension, type and offset. put() overwrites in place.
    """

    SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    STRING, ARRAY = 8, 9

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.raw = bytearray(self.path.read_bytes())
        self.values, self.infos = {}, {}
        tensors, pairs = self.get("<QQ", 8)
        at = 24
        for _ in range(pairs):
            key, at = self._string(at)
            (kind,) = self.get("<I", at)
            self.values[key] = (kind, at + 4)
            at = self._after_value(kind, at + 4)
        for _ in range(tensors):
            name, at = self._string(at)
            (dims,) = self.get("<I", at)
            type_at = at + 4 + 8 * dims
            self.infos[name] = {"dims": at, "dim0": at + 4, "type": type_at, "offset": type_at + 4}
            at = type_at + 12
        self.header_end = at

    def get(self, form, at):
        return struct.unpack_from(form, self.raw, at)

    def put(self, form, at, *values):
        struct.pack_into(form, self.raw, at, *values)

    def put_value(self, key, value):
        kind, at = self.values[key]
        self.put({4: "<I", 5: "<i", 6: "<f", 10: "<Q", 11: "<q", 12: "<d"}[kind], at, value)

    def put_string(self, key, text):
        """Of the same length as the one that is there."""
        _, at = self.values[key]
        (size,) = self.get("<Q", at)
        assert size == len(text), (key, size)
        self.raw[at + 8 : at + 8 + size] = text.encode()

    def write(self):
        self.path.write_bytes(self.raw)

    def _string(self, at):
        (size,) = self.get("<Q", at)
        return self.raw[at + 8 : at + 8 + size].decode(), at + 8 + size

    def _after_value(self, kind, at):
        if kind == self.STRING:
            return self._string(at)[1]
        if kind != self.ARRAY:
            return at + self.SIZES[kind]
        element, count = self.get("<IQ", at)
        at += 12
        for _ in range(count):
            at = self._after_value(element, at)
        return at


class Engine:
    """A .lathe file as bytes, with the fields of docs/engine-format.md that the tests change."""

    VERSION, WEIGHT_BYTES, MANIFEST, RECEIPT, WEIGHTS = 8, 24, 32, 80, 4096

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.raw = bytearray(self.path.read_bytes())

    def section(self, at):
        """(offset, bytes) of the section whose entry is at `at` in the header."""
        return struct.unpack_from("<QQ", self.raw, at)

    def flip(self, at, bit=0):
        self.raw[at] ^= 1 << bit

    def write(self, path=None):
        pathlib.Path(path or self.path).write_bytes(self.raw)
