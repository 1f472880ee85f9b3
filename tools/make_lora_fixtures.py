#!/usr/bin/env python3
"""Writes tests/pictures/lora: small random LoRA files in the forms that are around, and the latents that diffusers ends in
with each merged into a pipeline of tests/pictures.

  make_lora_fixtures.py tests/pictures

Needs torch, transformers, diffusers and peft. Changes are about as large as the weights: with larger ones torch in fp32 is
farther from torch in fp64 than the test allows. All layers of a file in kohya's form have the same alpha, as those of its
scripts have: where they differ diffusers 0.42 takes the commonest for all attention layers.
"""
import json
import pathlib
import sys

import diffusers
import numpy
import peft
import safetensors.torch
import torch

CASE = dict(prompt="a red circle left of a small blue star on white", steps=2, guidance=4.0, seed=5, width=32, height=32)
RANK = 2


def pair(weight, rank=RANK, scale=0.2):
    """down and up of a random change to a weight: convolutions keep their window below."""
    outputs, *inputs = weight.shape
    down = torch.randn(rank, *inputs) * scale
    up = torch.randn(outputs, rank, *[1] * (len(inputs) - 1)) * scale
    return down.half(), up.half()


def weights_of(model, wanted):
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)) and wanted(name):
            yield name, module.weight


def text_name(name):
    return name if name.startswith("text_model.") else f"text_model.{name}"


def kohya(pipe, rename=lambda name: name, text=("lora_te_",)):
    layers = {}
    for name, weight in weights_of(pipe.unet, lambda n: "attn" in n or "ff.net" in n or "proj_in" in n or "resnets.0.conv1" in n
                                   or "downsamplers" in n or "upsamplers" in n or "conv_shortcut" in n):
        layers["lora_unet_" + rename(name).replace(".", "_")] = weight
    encoders = [pipe.text_encoder, getattr(pipe, "text_encoder_2", None)]
    for prefix, encoder in zip(text, encoders):
        for name, weight in weights_of(encoder, lambda n: "self_attn" in n or "mlp" in n):
            layers[prefix + text_name(name).replace(".", "_")] = weight
    state = {}
    for name, weight in sorted(layers.items()):
        state[name + ".lora_down.weight"], state[name + ".lora_up.weight"] = pair(weight)
        state[name + ".alpha"] = torch.tensor(3.0)
    return state, {}


def original_name(name):
    """The original code's names for the tiny XL UNet: one layer a level, attention in the second level only."""
    table = {"down_blocks.0.resnets.0.": "input_blocks.1.0.", "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
             "down_blocks.1.resnets.0.": "input_blocks.3.0.", "down_blocks.1.attentions.0.": "input_blocks.3.1.",
             "mid_block.resnets.0.": "middle_block.0.", "mid_block.attentions.0.": "middle_block.1.",
             "mid_block.resnets.1.": "middle_block.2.",
             "up_blocks.0.resnets.0.": "output_blocks.0.0.", "up_blocks.0.attentions.0.": "output_blocks.0.1.",
             "up_blocks.0.resnets.1.": "output_blocks.1.0.", "up_blocks.0.attentions.1.": "output_blocks.1.1.",
             "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv",
             "up_blocks.1.resnets.0.": "output_blocks.2.0.", "up_blocks.1.resnets.1.": "output_blocks.3.0."}
    inner = {"conv1": "in_layers.2", "conv2": "out_layers.3", "conv_shortcut": "skip_connection", "time_emb_proj": "emb_layers.1"}
    for key, value in table.items():
        if name.startswith(key):
            rest = name[len(key):]
            return value + (inner[rest] if ".resnets." in key else rest)
    raise KeyError(name)


def by_peft(pipe):
    """As diffusers' training scripts save: alpha in the metadata."""
    config = peft.LoraConfig(r=RANK, lora_alpha=3, target_modules=["to_q", "to_v", "to_out.0", "proj_in", "conv2"],
                             alpha_pattern={"attn1.to_q": 5})
    text = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules=["q_proj", "fc1"])
    pipe.unet.add_adapter(config)
    pipe.text_encoder.add_adapter(text)
    for model in (pipe.unet, pipe.text_encoder):
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = torch.randn_like(parameter) * 0.2
    state = {f"unet.{k}": v for k, v in peft.get_peft_model_state_dict(pipe.unet).items()}
    state |= {f"text_encoder.{k}": v for k, v in peft.get_peft_model_state_dict(pipe.text_encoder).items()}
    metadata = {f"unet.{k}": v for k, v in pipe.unet.peft_config["default"].to_dict().items()}
    metadata |= {f"text_encoder.{k}": v for k, v in pipe.text_encoder.peft_config["default"].to_dict().items()}
    metadata = {k: sorted(v) if isinstance(v, set) else v for k, v in metadata.items()}
    metadata = {k: v for k, v in metadata.items() if v is None or isinstance(v, (str, int, float, bool, dict, list))}
    return {k: v.half() for k, v in state.items()}, {"lora_adapter_metadata": json.dumps(metadata)}


def by_processors(pipe):
    """diffusers before peft."""
    state = {}
    for name, weight in weights_of(pipe.unet, lambda n: n.endswith(("to_q", "to_k", "to_v", "to_out.0"))):
        place, layer = name.removesuffix(".0").rsplit(".", 1)
        down, up = pair(weight)
        state[f"unet.{place}.processor.{layer}_lora.down.weight"] = down
        state[f"unet.{place}.processor.{layer}_lora.up.weight"] = up
    return state, {}


def main():
    root = pathlib.Path(sys.argv[1])
    target = root / "lora"
    target.mkdir(exist_ok=True)
    xl = dict(text=("lora_te1_", "lora_te2_"), rename=original_name)
    files = {"kohya": ("sd15", kohya, {}, 0.7), "kohya_xl": ("sdxl", kohya, xl, 1.0), "peft": ("sd15", by_peft, {}, 0.5),
             "processors": ("sd21", by_processors, {}, 1.0)}
    cases = []
    for seed, (name, (pipeline, make, options, scale)) in enumerate(files.items()):
        torch.manual_seed(seed)
        load = lambda: diffusers.DiffusionPipeline.from_pretrained(root / pipeline, torch_dtype=torch.float32)
        state, metadata = make(load(), **options)
        safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, target / f"{name}.safetensors",
                                    metadata={"format": "pt", **metadata})
        def latents(pipe):
            pipe.set_progress_bar_config(disable=True)
            return pipe(CASE["prompt"], num_inference_steps=CASE["steps"], guidance_scale=CASE["guidance"], width=CASE["width"],
                        height=CASE["height"], generator=torch.Generator("cpu").manual_seed(CASE["seed"]), output_type="latent")[0]
        pipe = load()
        with torch.no_grad():
            before = latents(pipe)
            pipe.load_lora_weights(target, weight_name=f"{name}.safetensors")
            adapted = [n for m in (pipe.unet, pipe.text_encoder, getattr(pipe, "text_encoder_2", None)) if m is not None
                       for n, _ in m.named_parameters() if "lora_A" in n]
            pairs = sum(k.endswith((".lora_down.weight", ".lora_A.weight", "_lora.down.weight")) for k in state)
            assert len(adapted) == pairs, (name, len(adapted), pairs)
            pipe.fuse_lora(lora_scale=scale)
            after = latents(pipe)
        print(name, len(state), "tensors", (target / f"{name}.safetensors").stat().st_size, "bytes; changes the latents by",
              float((after - before).abs().max()), "of", float(after.abs().max()))
        numpy.save(target / f"{name}.latents.npy", after.numpy())
        cases.append(dict(file=f"{name}.safetensors", pipeline=pipeline, scale=scale, latents=f"{name}.latents.npy", layers=pairs))
    (target / "cases.json").write_text(json.dumps(dict(**CASE, cases=cases), indent=1) + "\n")


main()
