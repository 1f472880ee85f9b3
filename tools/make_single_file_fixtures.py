#!/usr/bin/env python3
"""Writes tests/pictures/single: tiny pipelines of tests/pictures as one file with the original code's names, and the
names and shapes of the real Stable Diffusion 1.5, 2.1 and XL in that form.

  make_single_file_fixtures.py tests/pictures

Needs torch, transformers, diffusers and accelerate. diffusers' own converters turn the names back: where they do not
give the model's names again, this fails.
"""
import pathlib
import sys

import diffusers
import safetensors.torch
import torch
import transformers
from diffusers.loaders import single_file_utils as utils

RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
          "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}


def original_unet_name(name, config):
    """diffusers' name -> the original's, for a UNet of `config`."""
    layers, levels = config["layers_per_block"], len(config["block_out_channels"])
    parts = name.split(".")
    fixed = {"conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
             "conv_norm_out": "out.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0",
             "add_embedding.linear_2": "label_emb.0.2"}
    for key, value in fixed.items():
        if name.startswith(key + "."):
            return value + name[len(key):]
    def inside(kind, rest):
        return ".".join([RESNET[rest[0]], *rest[1:]]) if kind == "resnets" else ".".join(rest)
    if parts[0] == "mid_block":
        place = {("resnets", "0"): 0, ("attentions", "0"): 1, ("resnets", "1"): 2}[(parts[1], parts[2])]
        return f"middle_block.{place}.{inside(parts[1], parts[3:])}"
    level, kind, index = int(parts[1]), parts[2], int(parts[3])
    if parts[0] == "down_blocks":
        at = 1 + level * (layers + 1)
        if kind == "downsamplers":
            return f"input_blocks.{at + layers}.0.op.{parts[-1]}"
        return f"input_blocks.{at + index}.{0 if kind == 'resnets' else 1}.{inside(kind, parts[4:])}"
    at = level * (layers + 1)
    if kind == "upsamplers":
        attends = config["up_block_types"][level].startswith("CrossAttn")
        return f"output_blocks.{at + layers}.{2 if attends else 1}.conv.{parts[-1]}"
    return f"output_blocks.{at + index}.{0 if kind == 'resnets' else 1}.{inside(kind, parts[4:])}"


def original_vae_name(name, levels):
    if name.startswith(("quant_conv", "post_quant_conv")):
        return name
    half, rest = name.split(".", 1)
    for a, b in (("conv_norm_out", "norm_out"), ("mid_block.resnets.0", "mid.block_1"), ("mid_block.resnets.1", "mid.block_2"),
                 ("mid_block.attentions.0.group_norm", "mid.attn_1.norm"), ("mid_block.attentions.0.to_q", "mid.attn_1.q"),
                 ("mid_block.attentions.0.to_k", "mid.attn_1.k"), ("mid_block.attentions.0.to_v", "mid.attn_1.v"),
                 ("mid_block.attentions.0.to_out.0", "mid.attn_1.proj_out")):
        if rest.startswith(a + "."):
            rest = b + rest[len(a):]
    parts = rest.split(".")
    if parts[0] in ("down_blocks", "up_blocks"):
        level = int(parts[1]) if parts[0] == "down_blocks" else levels - 1 - int(parts[1])
        side = parts[0].split("_")[0]
        rest = ".".join([side, str(level), *({"resnets": ["block", parts[3]]}.get(parts[2]) or [f"{side}sample"]), *parts[4:]])
    return f"{half}.{rest.replace('conv_shortcut', 'nin_shortcut')}"


def open_clip_text(state, layers):
    """transformers' CLIP text tower -> OpenCLIP's."""
    state = {k.removeprefix("text_model."): v for k, v in state.items()}
    out = {"positional_embedding": state["embeddings.position_embedding.weight"],
           "token_embedding.weight": state["embeddings.token_embedding.weight"],
           "ln_final.weight": state["final_layer_norm.weight"], "ln_final.bias": state["final_layer_norm.bias"]}
    if "text_projection.weight" in state:
        out["text_projection"] = state["text_projection.weight"].T.contiguous()
    for i in range(layers):
        a, b = f"encoder.layers.{i}.", f"transformer.resblocks.{i}."
        for kind in ("weight", "bias"):
            out[f"{b}attn.in_proj_{kind}"] = torch.cat([state[f"{a}self_attn.{x}_proj.{kind}"] for x in "qkv"])
            for x, y in (("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"), ("self_attn.out_proj", "attn.out_proj"),
                         ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj")):
                out[f"{b}{y}.{kind}"] = state[f"{a}{x}.{kind}"]
    return out


def single_file(unet, unet_config, vae, encoders, kind):
    """State dicts with diffusers' names -> one with the original's."""
    levels = sum(1 for k in vae if k.startswith("encoder.down_blocks.") and k.endswith("resnets.0.conv1.weight"))
    out = {f"model.diffusion_model.{original_unet_name(k, unet_config)}": v for k, v in unet.items()}
    for k, v in vae.items():
        matrix = ".attentions.0.to_" in k and k.endswith("weight")
        out[f"first_stage_model.{original_vae_name(k, levels)}"] = v[:, :, None, None] if matrix else v
    layers = [sum(1 for k in e if k.endswith("layer_norm1.bias")) for e in encoders]
    if kind == "sd1":
        out |= {f"cond_stage_model.transformer.text_model.{k.removeprefix('text_model.')}": v for k, v in encoders[0].items()}
    elif kind == "sd2":  # one layer more, which nobody reads
        text = open_clip_text(encoders[0], layers[0])
        last = {k: torch.zeros_like(v) for k, v in text.items() if f"resblocks.{layers[0] - 1}." in k}
        text |= {k.replace(f"resblocks.{layers[0] - 1}.", f"resblocks.{layers[0]}."): v for k, v in last.items()}
        text |= {"text_projection": torch.zeros(4, 4), "logit_scale": torch.zeros(())}
        out |= {f"cond_stage_model.model.{k}": v for k, v in text.items()}
    else:
        out |= {f"conditioner.embedders.0.transformer.text_model.{k.removeprefix('text_model.')}": v for k, v in encoders[0].items()}
        out |= {f"conditioner.embedders.1.model.{k}": v for k, v in open_clip_text(encoders[1], layers[1]).items()}
    out["model_ema.decay"] = torch.zeros(())
    return out


def check(state, unet, unet_config, vae, vae_config):
    """diffusers' converters must give the names back (they know only the real sizes' attention)."""
    back = utils.convert_ldm_unet_checkpoint(dict(state), dict(unet_config))
    assert set(back) == set(unet), sorted(set(back) ^ set(unet))[:5]
    back = utils.convert_ldm_vae_checkpoint(dict(state), dict(vae_config))
    assert set(back) == set(vae), sorted(set(back) ^ set(vae))[:5]


def main():
    root = pathlib.Path(sys.argv[1])
    target = root / "single"
    target.mkdir(exist_ok=True)
    for name, kind in (("sd15", "sd1"), ("sd21", "sd2"), ("sdxl", "xl")):
        load = safetensors.torch.load_file
        unet, vae = (load(root / name / part / "diffusion_pytorch_model.safetensors") for part in ("unet", "vae"))
        encoders = [load(root / name / part / "model.safetensors") for part in ("text_encoder", "text_encoder_2") if (root / name / part).exists()]
        unet_config = diffusers.UNet2DConditionModel.load_config(root / name / "unet")
        vae_config = diffusers.AutoencoderKL.load_config(root / name / "vae")
        state = single_file(unet, unet_config, vae, encoders, kind)
        check(state, unet, unet_config, vae, vae_config)
        safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}, target / f"{name}.safetensors")
    text = transformers.CLIPTextConfig
    vae_config = dict(block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
                      up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, layers_per_block=2)
    clip_l = text(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    real = {
        "sd15": ("sd1", dict(cross_attention_dim=768, attention_head_dim=8), [clip_l]),
        "sd21": ("sd2", dict(cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True),
                 [text(vocab_size=49408, hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16)]),
        "sdxl": ("xl", dict(cross_attention_dim=2048, attention_head_dim=(5, 10, 20), use_linear_projection=True,
                            block_out_channels=(320, 640, 1280), transformer_layers_per_block=(1, 2, 10),
                            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                            addition_embed_type="text_time", addition_time_embed_dim=256,
                            projection_class_embeddings_input_dim=2816),
                 [clip_l, text(vocab_size=49408, hidden_size=1280, intermediate_size=5120, num_hidden_layers=32,
                               num_attention_heads=20, projection_dim=1280)])}
    for name, (kind, changes, texts) in real.items():
        with torch.device("meta"):
            unet = diffusers.UNet2DConditionModel(**changes)
            vae = diffusers.AutoencoderKL(**vae_config)
            encoders = [transformers.CLIPTextModel(texts[0])]
            if len(texts) > 1:
                encoders.append(transformers.CLIPTextModelWithProjection(texts[1]))
            state = single_file(unet.state_dict(), unet.config, vae.state_dict(), [e.state_dict() for e in encoders], kind)
        check(state, unet.state_dict(), unet.config, vae.state_dict(), vae.config)
        lines = [f"{k} {','.join(map(str, v.shape))}\n" for k, v in sorted(state.items())]
        (target / f"{name}.shapes").write_text("".join(lines))


main()
