#!/usr/bin/env python3
"""Damaged safetensors and GGUF files."""
import struct

from case import ARCH, Case, main
from checkpoints import Safetensors


class SafetensorsFiles(Case):
    def damaged(self, code, edit, *said, model_name="llama_gqa"):
        model = self.folder(model_name)
        file = Safetensors(model / "model.safetensors")
        edit(file)
        file.write()
        self.refused_by_two(code, model, *said)

    def raw(self, edit, *said):
        model = self.folder()
        path = model / "model.safetensors"
        path.write_bytes(edit(path.read_bytes()))
        self.refused_by_two(3, model, "model.safetensors", *said)

    def test_truncated(self):
        model = self.folder()
        path = model / "model.safetensors"
        whole = path.read_bytes()
        (header,) = struct.unpack_from("<Q", whole)
        verbs = self.verbs(model)
        for i, place in enumerate(self.places(len(whole), [4, 7, 8, 9, header, header + 7, header + 8, header + 9])):
            path.write_bytes(whole[:place])
            self.refused(3, verbs[i % len(verbs)], "model.safetensors")

    def test_header(self):
        for size in (2**20, 2**32, 2**63, 2**64 - 1, 2**64 - 8):
            self.raw(lambda raw: struct.pack("<Q", size) + raw[8:], size)
        self.raw(lambda raw: struct.pack("<Q", 0) + raw[8:])
        for text in (b"[]", b"{", b'{"a":' * 50_000, b"{" + b"[" * 100_000, b'{"a":1}', b'{"a":{}}', b"{}", b"\xff" * 9,
                     b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}',
                     b'{"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}'):
            self.raw(lambda raw: struct.pack("<Q", len(text)) + text + raw[-4:])
        self.raw(lambda raw: raw + b"\0")

    def test_twice(self):
        entry = b'"lm_head.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
        text = b"{" + entry + b"," + entry + b"}"
        self.raw(lambda raw: struct.pack("<Q", len(text)) + text + raw[-4:], "lm_head.weight")

    def test_offsets(self):
        name = "model.norm.weight"

        def offsets(edit):
            def change(file):
                begin, end = file.header[name]["data_offsets"]
                file.header[name]["data_offsets"] = edit(begin, end)
            return change

        self.damaged(3, offsets(lambda begin, end: [begin - 4, end]), name)
        self.damaged(3, offsets(lambda begin, end: [begin - 4, end - 4]), "model.safetensors")  # overlaps
        self.damaged(3, offsets(lambda begin, end: [0, end - begin]), "model.safetensors")
        self.damaged(3, offsets(lambda begin, end: [begin, end + 4]), "model.safetensors")
        self.damaged(3, offsets(lambda begin, end: [end, begin]), "model.safetensors")
        self.damaged(3, offsets(lambda begin, end: [begin, 2**64 - 1]), "model.safetensors")
        self.damaged(3, offsets(lambda begin, end: [2**64 - 4, 2**64 - 1]), name)
        self.damaged(3, offsets(lambda begin, end: [begin, 2**64]), name)
        self.damaged(3, offsets(lambda begin, end: [begin]), name)
        self.damaged(3, offsets(lambda begin, end: [begin, end, end]), name)
        self.damaged(3, offsets(lambda begin, end: []), name)

    def test_shapes_and_types(self):
        name = "model.layers.1.mlp.down_proj.weight"  # f32[42,56]

        def entry(**change):
            return lambda file: file.header[name].update(change)

        self.damaged(3, entry(shape=[56, 42]), name, "[42, 56]", "[56, 42]")
        self.damaged(3, entry(shape=[42 * 56]), name)
        self.damaged(3, entry(shape=[42, 57]), name)
        self.damaged(3, entry(shape=[2**32, 2**32, 2**32]), name)
        self.damaged(3, entry(shape=[2**63, 2]), name)
        self.damaged(3, entry(shape=[0, 2**62]), name)
        self.damaged((3, 4), entry(dtype="Q9"), name, "Q9")
        self.damaged((3, 4), entry(dtype="I32"), name, "i32")
        self.damaged(3, entry(dtype="F64"), name)
        self.damaged(3, entry(dtype="F16", shape=[42, 112]), name, "[42, 56]", "[42, 112]")

    def test_names(self):
        names = list(Safetensors(ARCH / "llama_gqa/model.safetensors").header)
        lost = "model.layers.1.self_attn.k_proj.weight"
        rest = [name for name in names if name not in ("__metadata__", lost)]
        self.damaged(3, lambda file: file.keep_only(rest), lost, "[24, 42]")
        extra = "model.layers.1.self_attn.q_norm.weight"
        self.damaged(3, lambda file: file.append(extra, "F32", [12], bytes(48)), extra)
        self.damaged(3, lambda file: file.append("model.layers.2.mlp.up_proj.weight", "F32", [1], bytes(4)),
                     "model.layers.2.mlp.up_proj.weight")

        def longer_head(file):
            part = file.tensor("lm_head.weight")
            file.keep_only([name for name in names if name not in ("__metadata__", "lm_head.weight")])
            file.append("lm_head.weight", "F32", [68, 42], part + bytes(4 * 42))

        self.damaged(3, longer_head, "lm_head.weight", "[67, 42]", "[68, 42]")

    def test_not_a_number(self):
        """A weight that is NaN: build's verification fails and says where; run says so too."""
        for name in ("model.layers.1.mlp.down_proj.weight", "lm_head.weight"):
            model = self.folder()
            file = Safetensors(model / "model.safetensors")
            begin = file.header[name]["data_offsets"][0]
            file.data[begin + 40 : begin + 44] = struct.pack("<f", float("nan"))
            file.write()
            self.refused(1, ("build", model, "-o", self.out / "e.lathe", "-t", 1), "nan", name)
            # The engine it made for the cache is not left there.
            self.refused(1, ("run", model, "--tokens", "1,2,3", "-n", 1, "-t", 1), name)
            self.assertEqual(self.lathe("verify", model, "-t", 1).returncode, 1)
            self.assertEqual(list(self.cache.rglob("*.lathe")), [])


class GgufFiles(Case):
    def damaged(self, code, edit, *said):
        file = self.gguf()
        edit(file)
        file.write()
        self.refused_by_two(code, file.path, *said)

    def test_truncated(self):
        file = self.gguf()
        whole = bytes(file.raw)
        verbs = self.verbs(file.path)
        info = file.infos["blk.0.attn_q.weight"]
        ends = [4, 8, 16, 23, 24, file.values["llama.block_count"][1], info["dims"], info["offset"], file.header_end]
        for i, place in enumerate(self.places(len(whole), ends)):
            file.path.write_bytes(whole[:place])
            self.refused(3, verbs[i % len(verbs)], file.path)

    def test_counts(self):
        for place in (8, 16):  # tensors, metadata pairs
            for count in (2**20, 2**32, 2**63, 2**64 - 1):
                self.damaged(3, lambda file: file.put("<Q", place, count))
        for size in (2**20, 2**40, 2**63, 2**64 - 1):  # the length of the first key
            self.damaged(3, lambda file: file.put("<Q", 24, size))
        self.damaged((3, 4), lambda file: file.put("<I", 4, 99), 99)
        self.damaged(3, lambda file: file.put("<I", file.values["llama.block_count"][1] - 4, 99))

    def test_tensors(self):
        name = "blk.1.ffn_down.weight"

        def info(field, form, value):
            return lambda file: file.put(form, file.infos[name][field], value)

        for count in (0, 5, 200, 2**32 - 1):
            self.damaged((3, 4), info("dims", "<I", count), name)
        for dim in (0, 2**20, 2**62, 2**64 - 1):
            self.damaged(3, info("dim0", "<Q", dim), name)
        self.damaged((3, 4), info("type", "<I", 200), name, 200)
        for offset in (1, 2**40, 2**64 - 32, 2**63):
            self.damaged(3, info("offset", "<Q", offset), name)

        def rename(file):
            at = file.raw.index(name.encode())
            file.raw[at : at + len(name)] = b"blk.1.ffn_lost.weight"

        self.damaged(3, rename, "blk.1.ffn_")

        def twice(file):
            at = file.raw.index(name.encode())
            file.raw[at : at + len(name)] = b"blk.0.ffn_down.weight"

        self.damaged(3, twice, "blk.0.ffn_down.weight")

    def test_metadata(self):
        self.damaged(4, lambda file: file.put_string("general.architecture", "mambo"), "mambo", "llama", "gptneox")
        for key, value in [("block_count", 0), ("block_count", 2**32 - 1), ("block_count", 3),
                           ("attention.head_count", 0), ("attention.head_count", 7), ("attention.head_count_kv", 0),
                           ("embedding_length", 2**32 - 1), ("feed_forward_length", 0), ("context_length", 0)]:
            self.damaged(3, lambda file: file.put_value(f"llama.{key}", value), ".gguf")
        for value in (float("nan"), float("inf"), 0, -1):
            self.damaged(3, lambda file: file.put_value("llama.attention.layer_norm_rms_epsilon", value))
            self.damaged(3, lambda file: file.put_value("llama.rope.freq_base", value))


if __name__ == "__main__":
    main()
