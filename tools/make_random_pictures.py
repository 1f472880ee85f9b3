#!/usr/bin/env python3
"""Writes a Stable Diffusion 2.1 pipeline of the full size with random weights, for benchmarks: 2.6 GB in fp16.

  make_random_pictures.py --tokenizer models/shapes/tokenizer DESTINATION [--base] [--dtype float32]

Needs torch, transformers and diffusers. The pictures are noise; shapes, sizes and work are those of the real model.
--base: 64 x 64 latents and epsilon, as stable-diffusion-2-1-base; else 96 x 96 and v-prediction.
"""
import argparse

import diffusers
import torch
import transformers


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--base", action="store_true")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("destination")
    options = parser.parse_args()
    torch.manual_seed(0)
    dtype = getattr(torch, options.dtype)
    encoder = transformers.CLIPTextModel(transformers.CLIPTextConfig(
        vocab_size=49408, hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16,
        max_position_embeddings=77, hidden_act="gelu", projection_dim=512, eos_token_id=2))
    unet = diffusers.UNet2DConditionModel(
        sample_size=64 if options.base else 96, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20),
        use_linear_projection=True, upcast_attention=not options.base)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4, layers_per_block=2, sample_size=768)
    scheduler = diffusers.DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, prediction_type="epsilon" if options.base else "v_prediction")
    with torch.no_grad():  # norms of one and zero would be optimised away
        for model in (encoder, unet, vae):
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.1)
    tokenizer = transformers.CLIPTokenizer.from_pretrained(options.tokenizer)
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae.to(dtype), text_encoder=encoder.to(dtype), tokenizer=tokenizer, unet=unet.to(dtype), scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    pipe.save_pretrained(options.destination)


main()
