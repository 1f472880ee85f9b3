#!/usr/bin/env python3
"""Writes tests/image/resize.json: what Pillow's Image.resize makes of a picture that the test repeats,
pixel (x, y, c) = (x x 31 + y y 17 + x y 7 + 53 c) mod 256, in other sizes, and what diffusers' VaeImageProcessor makes
of one. Bytes are hexadecimal."""
import json
import pathlib

import numpy as np
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC, "lanczos": Image.Resampling.LANCZOS}


def picture(width, height, channels):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    pixels = ((x * x * 31 + y * y * 17 + x * y * 7 + 53 * c) % 256).astype(np.uint8)
    return Image.fromarray(pixels if channels == 3 else pixels[:, :, 0])


def main():
    cases = []
    for name, resample in FILTERS.items():
        for channels in (1, 3):
            for size, to in (((13, 9), (20, 30)), ((40, 30), (16, 8)), ((40, 30), (7, 30)), ((9, 64), (24, 5)),
                             ((5, 5), (5, 11)), ((1, 1), (3, 2)), ((33, 17), (1, 1)), ((100, 3), (99, 4))):
                made = picture(*size, channels).resize(to, resample=resample)
                cases.append({"filter": name, "channels": channels, "from": size, "to": to,
                              "pixels": made.tobytes().hex()})
    processor = VaeImageProcessor()
    planes = processor.preprocess(picture(19, 11, 3)).numpy()
    floats = np.linspace(-1.3, 1.3, 3 * 8 * 16).astype(np.float32).reshape(1, 3, 8, 16)
    import torch
    back = processor.postprocess(torch.from_numpy(floats), output_type="pil")[0]
    vae = {"size": planes.shape[:1:-1], "planes": planes.flatten().tolist(), "from": floats.flatten().tolist(),
           "pixels": back.tobytes().hex()}
    target = pathlib.Path(__file__).resolve().parent.parent / "tests" / "image" / "resize.json"
    rows = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    target.write_text('{"resize": [\n' + rows + '\n],\n"vae": ' + json.dumps(vae) + "}\n")
    print(len(cases), "cases,", target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
