#!/usr/bin/env python3
"""Makes 8-bit versions of models that make_bench_models.py wrote, for tools/bench_graphs.py.

    make_quantized_bench_models.py FOLDER        (needs numpy, onnx, onnxruntime)

FOLDER/resnet50.onnx becomes resnet50_int8.onnx: static QDQ, weights i8 for each channel, activations u8, calibrated on
random pictures. FOLDER/minilm.onnx becomes minilm_int8.onnx: dynamically quantised, weights i8. Inputs are copied.
"""
import argparse
import pathlib
import shutil
import tempfile

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process


class Pictures(CalibrationDataReader):
    def __init__(self, count):
        self.rest = iter([{"x": np.random.default_rng(i).standard_normal((1, 3, 224, 224)).astype(np.float32)}
                          for i in range(count)])

    def get_next(self):
        return next(self.rest, None)


def copy_inputs(folder, name, quantised):
    for path in folder.glob(f"{name}.*.npy"):
        shutil.copy(path, folder / (quantised + path.name[len(name):]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        prepared = pathlib.Path(temporary) / "prepared.onnx"
        quant_pre_process(folder / "resnet50.onnx", prepared, skip_symbolic_shape=True)
        quantize_static(prepared, folder / "resnet50_int8.onnx", Pictures(4), quant_format=QuantFormat.QDQ,
                        per_channel=True, weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8)
    quantize_dynamic(folder / "minilm.onnx", folder / "minilm_int8.onnx", weight_type=QuantType.QInt8)
    for name in ("resnet50", "minilm"):
        copy_inputs(folder, name, name + "_int8")
        print(folder / f"{name}_int8.onnx")


if __name__ == "__main__":
    main()
