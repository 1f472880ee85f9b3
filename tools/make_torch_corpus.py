#!/usr/bin/env python3
"""Writes tests/io/corpus/torch: small files for the tests and as seeds of the fuzzer, and tests/io/torch: checkpoints of
the other fixtures as torch.save writes them, which must hold the same tensors.

ok_* come from torch.save and must parse; bad_* break one rule each and must be refused.

usage: make_torch_corpus.py tests     (with an interpreter that has torch and safetensors)
"""
import collections
import io
import os
import pickle
import pickletools
import struct
import sys
import zipfile
from pathlib import Path

import safetensors.torch
import torch


def saved(value, **options):
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def counting(*shape, dtype=torch.float32):
    count = 1
    for n in shape:
        count *= n
    return torch.arange(count).reshape(shape).to(dtype)


def types():
    names = ("float32 float16 bfloat16 float64 int64 int32 int16 int8 uint8 bool complex64 float8_e4m3fn float8_e5m2 "
             "uint16 uint32 uint64").split()
    return {name: counting(2, 3, dtype=getattr(torch, name)) for name in names}


def views():
    base = counting(4, 6)
    return {"whole": base, "transposed": base.t(), "rows": base[1:3], "columns": base[:, 2:5], "steps": base[::2, ::3],
            "permuted": counting(2, 3, 4).permute(2, 0, 1), "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3),
            "one": base[3, 5], "channels_last": counting(1, 2, 2, 2).to(memory_format=torch.channels_last)}


def state_dict():
    layer = torch.nn.Linear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(counting(2, 3))
        layer.bias.copy_(counting(2))
    return layer.state_dict()  # an OrderedDict with an attribute (_metadata)


# What a training checkpoint holds besides weights.
def lightning():
    return {"epoch": 3, "global_step": 1 << 40, "state_dict": state_dict(), "lr": 1e-4, "done": True, "none": None,
            "optimizer_states": [{"state": {0: {"step": 7, "exp_avg": torch.ones(3)}}, "param_groups": [{"betas": (0.9, 0.999)}]}],
            "name": "trained", "seen": {1, 2}, "size": torch.Size([2, 3]), "device": torch.device("cpu"), "type": torch.float16,
            "parameter": torch.nn.Parameter(torch.ones(2))}


# --- by hand: a pickle as a list of pieces
def text(value):
    value = value.encode()
    return b"X" + struct.pack("<I", len(value)) + value


def number(value):
    return b"J" + struct.pack("<i", value)


def name(module, what):
    return b"c" + f"{module}\n{what}\n".encode()


def storage(key="0", elements=4, kind="FloatStorage", module="torch"):
    return b"(" + text("storage") + name(module, kind) + text(key) + text("cpu") + number(elements) + b"tQ"


def ints(*values):
    return b"(" + b"".join(number(v) for v in values) + b"t"


def tensor(of=None, offset=0, size=(2, 2), stride=(2, 1), function=("torch._utils", "_rebuild_tensor_v2")):
    rest = b"\x89" + name("collections", "OrderedDict") + b")R"
    return name(*function) + b"(" + (of or storage()) + number(offset) + ints(*size) + ints(*stride) + rest + b"tR"


def program(*entries, start=b"\x80\x02", end=b"."):
    return start + b"}(" + b"".join(text(k) + v for k, v in entries) + b"u" + end


def archive(pkl=None, storages=None, extra=(), method=zipfile.ZIP_STORED, order=b"little", root="archive/"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        entries = [("data.pkl", pkl if pkl is not None else program(("a", tensor())))]
        entries += [("byteorder", order)] if order else []
        entries += [(f"data/{k}", v) for k, v in (storages if storages is not None else {"0": bytes(16)}).items()]
        for entry, data in [*entries, *extra]:
            file.writestr(zipfile.ZipInfo(root + entry), data, method)
    return buffer.getvalue()


def patched(data, find, replace, count=1, last=False):
    at = data.rfind(find) if last else data.find(find)
    assert at >= 0, find
    return data[:at] + replace + data[at + len(replace):]


LEGACY_HEAD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
LEGACY_SYSTEM = b"\x80\x02}(X\x0d\x00\x00\x00little_endian\x88u."


def legacy(pkl=None, keys=b"\x80\x02]" + text("0") + b"a.", data=struct.pack("<q", 4) + bytes(16), head=LEGACY_HEAD,
           system=LEGACY_SYSTEM):
    return head + system + (pkl or program(("a", tensor()))) + keys + data


class Malicious:
    def __init__(self, call, arguments):
        self.call, self.arguments = call, arguments

    def __reduce__(self):
        return self.call, self.arguments


def corpus():
    yield "ok_types", saved(types())
    yield "ok_views", saved(views())
    yield "ok_state_dict", saved(state_dict())
    yield "ok_training", saved(lightning())
    yield "ok_nothing", saved({})
    yield "ok_legacy", saved({k: v for k, v in views().items()}, _use_new_zipfile_serialization=False)
    yield "ok_legacy_training", saved(lightning(), _use_new_zipfile_serialization=False)
    yield "ok_by_hand", archive()
    yield "ok_legacy_by_hand", legacy()
    yield "ok_original_training", archive(program(
        ("callbacks", b"}(" + name("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint") + b"}" + text("best")
         + name("numpy.core.multiarray", "scalar") + b"(" + name("numpy", "dtype") + b"(" + text("f8") + b"K\x00K\x01tR"
         + name("_codecs", "encode") + text("abc") + text("latin1") + b"\x86RtRsu"),
        ("state_dict", b"}" + text("a") + tensor() + b"s")))

    # names and opcodes that a checkpoint has no use for
    yield "bad_os_system", saved({"a": Malicious(os.system, ("true",))})
    yield "bad_eval", saved({"a": Malicious(eval, ("1",))})
    yield "bad_getattr", saved({"a": Malicious(getattr, (dict, "pop"))})
    yield "bad_legacy_os_system", saved({"a": Malicious(os.system, ("true",))}, _use_new_zipfile_serialization=False)
    yield "bad_plain_pickle", pickle.dumps({"a": 1}, 2)
    yield "bad_protocol_4", saved({"a": torch.ones(2)}, pickle_protocol=4)
    yield "bad_inst", archive(b"\x80\x02(i" + b"os\nsystem\n.")
    yield "bad_extension", archive(b"\x80\x02\x82\x01.")
    yield "bad_opcode", archive(b"\x80\x02\xff.")
    yield "bad_protocol", archive(b"\x80\x63}.")
    yield "bad_script", archive(extra=[("constants.pkl", b"\x80\x02).")])

    # the stack machine
    yield "bad_empty_stack", archive(b"\x80\x02.")
    yield "bad_empty_pickle", archive(b"")
    yield "bad_no_stop", archive(program(("a", tensor()), end=b""))
    yield "bad_no_mark", archive(b"\x80\x02}t.")
    yield "bad_under_mark", archive(b"\x80\x02}(a.")
    yield "bad_odd_items", archive(b"\x80\x02}(" + text("a") + b"u.")
    yield "bad_append_to_dict", archive(b"\x80\x02}" + text("a") + b"a.")
    yield "bad_item_of_list", archive(b"\x80\x02]" + text("a") + b"Ns.")
    yield "bad_recall", archive(b"\x80\x02h\x07.")
    yield "bad_text_length", archive(b"\x80\x02X\xff\xff\xff\xff.")
    yield "bad_global_line", archive(b"\x80\x02ctorch\nFloatSto")
    yield "bad_call_of_text", archive(b"\x80\x02" + text("a") + b")R.")
    yield "bad_call_with_list", archive(b"\x80\x02" + name("collections", "OrderedDict") + b"]R.")
    yield "bad_not_a_dict", archive(b"\x80\x02].")
    yield "bad_own_item", archive(b"\x80\x02}q\x00" + text("a") + b"h\x00s.")
    yield "bad_many_items", archive(b"\x80\x02}" + b"".join(
        b"q%c}(" % i + text("a") + b"h%c" % i + text("b") + b"h%cu" % i for i in range(40)) + b".")
    yield "bad_from_type_of_itself", archive(program(("a", name("torch._tensor", "_rebuild_from_type_v2") + b"("
                                                      + name("torch._tensor", "_rebuild_from_type_v2") + b"N)tR")))

    # tensors and storages
    yield "bad_few_arguments", archive(program(("a", name("torch._utils", "_rebuild_tensor_v2") + b"(" + storage() + b"tR")))
    yield "bad_negative_size", archive(program(("a", tensor(size=(-2, -2)))))
    yield "bad_negative_stride", archive(program(("a", tensor(stride=(-2, 1)))))
    yield "bad_negative_offset", archive(program(("a", tensor(offset=-1))))
    yield "bad_strides", archive(program(("a", tensor(stride=(1,)))))
    yield "bad_beyond", archive(program(("a", tensor(offset=1))))
    yield "bad_beyond_far", archive(program(("a", tensor(size=(2, 2), stride=(2**31 - 1, 2**31 - 1)))))
    yield "bad_overflow", archive(program(("a", tensor(size=(2**31 - 1,) * 3, stride=(2**31 - 1,) * 3))))
    yield "bad_expanded", archive(program(("a", tensor(size=(2**30, 2**30), stride=(0, 0)))))
    yield "bad_storage_size", archive(program(("a", tensor(storage(elements=5)))))
    yield "bad_storage_missing", archive(program(("a", tensor(storage(key="1")))))
    yield "bad_storage_type", archive(program(("a", tensor(storage(kind="float32")))))
    yield "bad_storage_negative", archive(program(("a", tensor(storage(elements=-4)))))
    yield "bad_persistent_id", archive(program(("a", text("storage") + b"Q")))
    yield "bad_tensor_of_text", archive(program(("a", tensor(text("0")))))
    yield "bad_sparse", saved({"a": torch.eye(3).to_sparse()})
    yield "bad_quantized", saved({"a": torch.quantize_per_tensor(torch.ones(4), 0.1, 0, torch.qint8)})
    yield "bad_big_endian", archive(order=b"big")
    yield "bad_twice", archive(program(("a", tensor()), ("a", tensor())))

    # the archive
    good = archive()
    yield "bad_compressed", archive(method=zipfile.ZIP_DEFLATED)
    yield "bad_no_pickle", archive(root="a/b/")
    yield "bad_two_pickles", two_roots()
    yield "bad_directory_place", patched(good, b"PK\5\6", good[good.rfind(b"PK\5\6"):][:16] + b"\xf0\xff\xff\x7f", last=True)
    yield "bad_directory_size", patched(good, b"PK\5\6", good[good.rfind(b"PK\5\6"):][:12] + b"\xf0\xff\xff\x7f", last=True)
    yield "bad_entry_count", patched(good, b"PK\5\6", good[good.rfind(b"PK\5\6"):][:8] + b"\xff\x7f\xff\x7f", last=True)
    central = good.find(b"PK\1\2")
    yield "bad_entry_size", good[:central + 20] + b"\xff\xff\xff\x7f" * 2 + good[central + 28:]
    yield "bad_entry_sizes_differ", good[:central + 20] + b"\1\0\0\0" + good[central + 24:]
    yield "bad_entry_place", good[:central + 42] + b"\xff\xff\xff\x7f" + good[central + 46:]
    yield "bad_zip64_missing", good[:central + 42] + b"\xff\xff\xff\xff" + good[central + 46:]
    yield "bad_encrypted", good[:central + 8] + b"\1\0" + good[central + 10:]
    yield "bad_overlap", overlapping(good)
    yield "bad_other_local_name", good.replace(b"archive/data.pkl", b"archive/data.pkk", 1)
    yield "bad_no_local_header", b"PK\3\4" + good[4:].replace(b"PK\3\4", b"PK\0\0", 1)

    # the old form
    yield "bad_legacy_magic", legacy(head=LEGACY_HEAD.replace(b"\x19.", b"\x18."))
    yield "bad_legacy_protocol", legacy(head=LEGACY_HEAD.replace(b"\xe9", b"\xe8"))
    yield "bad_legacy_big_endian", legacy(system=LEGACY_SYSTEM.replace(b"\x88", b"\x89"))
    yield "bad_legacy_key", legacy(keys=b"\x80\x02]" + text("1") + b"a.")
    yield "bad_legacy_keys", legacy(keys=b"\x80\x02}.")
    yield "bad_legacy_key_number", legacy(keys=b"\x80\x02]K\x00a.")
    yield "bad_legacy_twice", legacy(keys=b"\x80\x02](" + text("0") + text("0") + b"e.",
                                     data=(struct.pack("<q", 4) + bytes(16)) * 2)
    yield "bad_legacy_size", legacy(data=struct.pack("<q", 1 << 62) + bytes(16))
    yield "bad_legacy_small", legacy(data=struct.pack("<q", 3) + bytes(12))
    yield "bad_legacy_widths", legacy(program(("a", tensor()), ("b", tensor(storage(kind="HalfStorage")))))


def two_roots():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for root in "xy":
            file.writestr(zipfile.ZipInfo(root + "/data.pkl"), program(("a", b"N")))
    return buffer.getvalue()


def overlapping(good):
    """The second entry's place in the directory is the first one's."""
    first = good.find(b"PK\1\2")
    second = good.find(b"PK\1\2", first + 4)
    third = good.find(b"PK\1\2", second + 4)
    # Both named alike would be refused for that: the first gets as long as to reach into the second.
    size = struct.unpack("<I", good[third + 42:third + 46])[0] - 20
    return good[:first + 20] + struct.pack("<II", size, size) + good[first + 28:]


def write_checkpoints(tests, target):
    target.mkdir(exist_ok=True)
    load = safetensors.torch.load_file
    # As the original training code saved it: weights below state_dict, moving averages, a callback's state.
    state = collections.OrderedDict(load(tests / "pictures/single/sd15.safetensors"))
    state["model_ema.diffusion_modelout2bias"] = torch.zeros(4)
    torch.save({"epoch": 1, "global_step": 2, "pytorch-lightning_version": "1.4.2", "state_dict": state,
                "lr_schedulers": [{"last_epoch": 3}], "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}]},
               target / "sd15.ckpt")
    torch.save(load(tests / "pictures/lcm/vae/diffusion_pytorch_model.safetensors"), target / "lcm_vae.bin")
    # Tied weights share a storage, as a transformers model that is saved so.
    llama = load(tests / "arch/llama_mha_tied/model.safetensors")
    llama["lm_head.weight"] = llama["model.embed_tokens.weight"]
    torch.save(llama, target / "llama_mha_tied.bin", _use_new_zipfile_serialization=False)


def main():
    tests = Path(sys.argv[1])
    write_checkpoints(tests, tests / "io/torch")
    folder = tests / "io/corpus/torch"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, data in corpus():
        (folder / name).write_bytes(data)
    print(len(list(folder.iterdir())), "files")


main()
