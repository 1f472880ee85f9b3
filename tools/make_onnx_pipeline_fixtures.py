#!/usr/bin/env python3
"""Writes tests/pictures/onnx_sd15: tests/pictures/sd15 as diffusers' OnnxStableDiffusionPipeline lays it out.

  make_onnx_pipeline_fixtures.py tests/pictures

Needs torch, transformers, diffusers, onnx. torch exports the models with the inputs, outputs and free axes of diffusers'
conversion script (scripts/convert_stable_diffusion_checkpoint_to_onnx.py); no configs. Weights are stored in fp16, which
holds them, with a Cast behind each.
"""
import json
import pathlib
import shutil
import sys

import diffusers
import numpy
import onnx
import torch

OPSET = 14


class Text(torch.nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids):
        out = self.encoder(input_ids=input_ids)
        return out.last_hidden_state, out.pooler_output


class UNet(torch.nn.Module):
    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, sample, timestep, encoder_hidden_states):
        return self.unet(sample, timestep, encoder_hidden_states, return_dict=False)[0]


class Decoder(torch.nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, latent_sample):
        return self.vae.decode(latent_sample, return_dict=False)[0]


class Encoder(torch.nn.Module):
    def __init__(self, vae):
        super().__init__()
        self.vae = vae

    def forward(self, sample):
        return self.vae.encode(sample, return_dict=False)[0].sample()


def narrow(path):
    """Stores f32 weights that fp16 holds in fp16."""
    model = onnx.load(path)
    for tensor in list(model.graph.initializer):
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype != numpy.float32 or values.size < 64 or not numpy.array_equal(values.astype(numpy.float16).astype(numpy.float32), values):
            continue
        name = tensor.name
        half = onnx.numpy_helper.from_array(values.astype(numpy.float16), name + ".half")
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(half)
        model.graph.node.insert(0, onnx.helper.make_node("Cast", [half.name], [name], to=onnx.TensorProto.FLOAT))
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.value_info[:]
    onnx.checker.check_model(model)
    onnx.save(model, path)


def export(module, arguments, path, inputs, outputs, free):
    path.parent.mkdir(parents=True)
    torch.onnx.export(module, arguments, str(path), input_names=inputs, output_names=outputs, dynamic_axes=free,
                      opset_version=OPSET, do_constant_folding=True, dynamo=False)
    narrow(path)
    print(path, path.stat().st_size, "bytes")


def main():
    root = pathlib.Path(sys.argv[1])
    target = root / "onnx_sd15"
    shutil.rmtree(target, ignore_errors=True)
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(root / "sd15", torch_dtype=torch.float32)
    width, channels = pipe.text_encoder.config.hidden_size, pipe.unet.config.in_channels
    pipe.unet.set_attn_processor(diffusers.models.attention_processor.AttnProcessor())
    pipe.vae.set_attn_processor(diffusers.models.attention_processor.AttnProcessor())
    pipe.text_encoder.set_attn_implementation("eager")
    with torch.no_grad():
        ids = pipe.tokenizer("A sample prompt", padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        export(Text(pipe.text_encoder), (ids.to(torch.int32),), target / "text_encoder/model.onnx", ["input_ids"],
               ["last_hidden_state", "pooler_output"], {"input_ids": {0: "batch", 1: "sequence"}})
        export(UNet(pipe.unet), (torch.randn(2, channels, 16, 16), torch.randn(2), torch.randn(2, 77, width)),
               target / "unet/model.onnx", ["sample", "timestep", "encoder_hidden_states"], ["out_sample"],
               {"sample": {0: "batch", 1: "channels", 2: "height", 3: "width"}, "timestep": {0: "batch"},
                "encoder_hidden_states": {0: "batch", 1: "sequence"}})
        export(Encoder(pipe.vae), (torch.randn(1, 3, 32, 32),), target / "vae_encoder/model.onnx", ["sample"], ["latent_sample"],
               {"sample": {0: "batch", 1: "channels", 2: "height", 3: "width"}})
        export(Decoder(pipe.vae), (torch.randn(1, 4, 16, 16),), target / "vae_decoder/model.onnx", ["latent_sample"], ["sample"],
               {"latent_sample": {0: "batch", 1: "channels", 2: "height", 3: "width"}})
    for part in ("scheduler", "tokenizer"):
        shutil.copytree(root / "sd15" / part, target / part)
    onnx_model = ["diffusers", "OnnxRuntimeModel"]
    index = {"_class_name": "OnnxStableDiffusionPipeline", "_diffusers_version": diffusers.__version__,
             "feature_extractor": [None, None], "safety_checker": [None, None], "scheduler": ["diffusers", "PNDMScheduler"],
             "text_encoder": onnx_model, "tokenizer": ["transformers", "CLIPTokenizer"], "unet": onnx_model,
             "vae_decoder": onnx_model, "vae_encoder": onnx_model}
    (target / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


main()
