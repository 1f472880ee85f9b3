#!/usr/bin/env python3
"""Writes tests/pictures: tiny random pipelines as diffusers saves them, and what diffusers computes with them.

  make_picture_fixtures.py --tokenizer models/shapes/tokenizer tests/pictures

Needs torch, transformers and diffusers. Each pipeline has two levels, weights in fp16 (computed with in fp32) and norms
that do something. Goldens: NAME/golden/GRAPH.VALUE.npy for inputs and outputs of each model, and
NAME/golden/latents.CASE.npy (and image.0.npy) for whole runs, listed in NAME/golden/cases.json.
"""
import argparse
import json
import pathlib
import shutil

import diffusers
import numpy
import torch
import transformers

PROMPT = "a red circle left of a small blue star on white"
NEGATIVE = "black ring"


def text_encoder(width, layers, act, cls=transformers.CLIPTextModel, projection=24, eos=595):
    return cls(transformers.CLIPTextConfig(
        vocab_size=596, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=4,
        max_position_embeddings=77, hidden_act=act, projection_dim=projection, bos_token_id=594, eos_token_id=eos,
        pad_token_id=0))


def unet(**changes):
    config = dict(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(16, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32, attention_head_dim=(2, 4), norm_num_groups=8)
    return diffusers.UNet2DConditionModel(**{**config, **changes})


def vae(**changes):
    return diffusers.AutoencoderKL(**{**dict(
        block_out_channels=(16, 24), down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4, norm_num_groups=8, layers_per_block=1, sample_size=32), **changes})


SD21_SCHEDULER = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
                      set_alpha_to_one=False, steps_offset=1)


def sd_pipeline(tokenizer, encoder, unet, vae, scheduler, cls=diffusers.StableDiffusionPipeline):
    return cls(vae=vae, text_encoder=encoder, tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
               feature_extractor=None, requires_safety_checker=False)


def make_pipelines(tokenizer):
    """Name -> function; seeds are set before each."""
    def sd15():  # convolutions around the attention, one number of heads, PNDM, quick_gelu
        return sd_pipeline(tokenizer, text_encoder(32, 2, "quick_gelu", eos=2), unet(attention_head_dim=4), vae(),
                           diffusers.PNDMScheduler(skip_prk_steps=True, **{k: v for k, v in SD21_SCHEDULER.items() if k != "clip_sample"}))

    def sd21():  # linear projections, v-prediction, gelu
        return sd_pipeline(tokenizer, text_encoder(32, 3, "gelu"), unet(use_linear_projection=True, upcast_attention=True), vae(),
                           diffusers.DDIMScheduler(prediction_type="v_prediction", **SD21_SCHEDULER))

    def inpaint():  # nine channels
        return sd_pipeline(tokenizer, text_encoder(32, 2, "gelu"), unet(in_channels=9, use_linear_projection=True), vae(),
                           diffusers.DDIMScheduler(**SD21_SCHEDULER), diffusers.StableDiffusionInpaintPipeline)

    def sdxl():  # two encoders, sizes, no attention in the first level, deeper transformers
        return diffusers.StableDiffusionXLPipeline(
            vae=vae(scaling_factor=0.13025), text_encoder=text_encoder(16, 2, "quick_gelu"),
            text_encoder_2=text_encoder(16, 3, "gelu", transformers.CLIPTextModelWithProjection),
            tokenizer=tokenizer, tokenizer_2=tokenizer,
            unet=unet(down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
                      use_linear_projection=True, transformer_layers_per_block=(1, 2), addition_embed_type="text_time",
                      addition_time_embed_dim=8, projection_class_embeddings_input_dim=24 + 6 * 8),
            scheduler=diffusers.EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                                                       timestep_spacing="leading", steps_offset=1))

    def lcm():  # guidance is an input of the UNet; the tiny autoencoder
        tiny = diffusers.AutoencoderTiny(
            encoder_block_out_channels=(16, 16), decoder_block_out_channels=(16, 16), num_encoder_blocks=(1, 2),
            num_decoder_blocks=(2, 1))
        return diffusers.LatentConsistencyModelPipeline(
            vae=tiny, text_encoder=text_encoder(32, 2, "quick_gelu"), tokenizer=tokenizer, unet=unet(time_cond_proj_dim=8),
            scheduler=diffusers.LCMScheduler(**SD21_SCHEDULER), safety_checker=None, feature_extractor=None,
            requires_safety_checker=False)

    return {f.__name__: f for f in (sd15, sd21, inpaint, sdxl, lcm)}


def models_of(pipe):
    return {name: getattr(pipe, name) for name in ("text_encoder", "text_encoder_2", "unet", "vae")
            if getattr(pipe, name, None) is not None}


def randomise(pipe):
    """Norms and biases that do something, and weights that fp16 holds."""
    with torch.no_grad():
        for model in models_of(pipe).values():
            for name, parameter in model.named_parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.2)
                parameter.copy_(parameter.half().float())


def save(path, tensor):
    numpy.save(path, tensor.detach().numpy() if torch.is_tensor(tensor) else tensor)


def write_model_goldens(pipe, folder):
    tokens = pipe.tokenizer([PROMPT, NEGATIVE], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    for role in ("text_encoder", "text_encoder_2"):
        if getattr(pipe, role, None) is None:
            continue
        out = getattr(pipe, role)(tokens, output_hidden_states=True)
        save(folder / f"{role}.input_ids.npy", tokens.numpy())
        save(folder / f"{role}.last_hidden_state.npy", out.last_hidden_state)
        save(folder / f"{role}.hidden_states.1.npy", out.hidden_states[1])
        pooled = "text_embeds" if "text_embeds" in out else "pooler_output"
        save(folder / f"{role}.{pooled}.npy", out[pooled])
    config = pipe.unet.config
    feeds = {"sample": torch.randn(2, config.in_channels, 11, 14), "timestep": torch.tensor(501.25),
             "encoder_hidden_states": torch.randn(2, 7, 32)}
    keywords = {}
    if config.addition_embed_type:
        feeds |= {"text_embeds": torch.randn(2, 24), "time_ids": torch.rand(2, 6) * 900}
        keywords["added_cond_kwargs"] = {k: feeds[k] for k in ("text_embeds", "time_ids")}
    if config.time_cond_proj_dim:
        feeds["timestep_cond"] = torch.randn(2, config.time_cond_proj_dim)
        keywords["timestep_cond"] = feeds["timestep_cond"]
    out = pipe.unet(feeds["sample"], feeds["timestep"], feeds["encoder_hidden_states"], **keywords).sample
    for name, value in {**feeds, "out_sample": out}.items():
        save(folder / f"unet.{name}.npy", value)
    latents, image = torch.randn(2, 4, 6, 5), torch.rand(2, 3, 12, 10) * 2 - 1
    save(folder / "vae_decoder.latent_sample.npy", latents)
    save(folder / "vae_decoder.sample.npy", pipe.vae.decode(latents).sample)
    save(folder / "vae_encoder.sample.npy", image)
    encoded = pipe.vae.encode(image)
    if hasattr(encoded, "latents"):
        save(folder / "vae_encoder.latents.npy", encoded.latents)
    else:
        save(folder / "vae_encoder.latent_parameters.npy", encoded.latent_dist.parameters)


def example_picture(width, height):
    y, x = numpy.mgrid[0:height, 0:width]
    return numpy.stack([(x * 7) % 256, (y * 9) % 256, (x * y) % 256], -1).astype(numpy.uint8)


def run_cases(name, pipe, folder):
    """Whole runs: settings as the command line names them."""
    import PIL.Image
    kinds = {"text": type(pipe)}
    cases = [dict(steps=3, guidance=5.0, seed=0, width=32, height=32),
             dict(steps=4, guidance=1.0, seed=7, width=40, height=24),
             dict(steps=2, guidance=7.5, seed=2**31 + 5, width=32, height=32, negative=NEGATIVE)]
    if name == "sd21":
        cases += [dict(steps=4, guidance=3.0, seed=1, width=32, height=32, scheduler=s) for s in
                  ("euler", "euler_a", "dpm++2m", "unipc", "heun", "lms", "ddpm", "pndm")]
        cases += [dict(steps=3, guidance=6.0, seed=3, width=32, height=32, rescale=0.7),
                  dict(steps=3, guidance=6.0, seed=3, width=32, height=32, clip_skip=1),
                  dict(steps=3, guidance=4.0, seed=4, width=32, height=32, eta=0.8)]
    if name in ("sd21", "sdxl"):
        cases += [dict(steps=5, guidance=4.0, seed=9, width=32, height=24, image=True, strength=0.6)]
    if name in ("sd21", "inpaint"):
        cases += [dict(steps=5, guidance=4.0, seed=9, width=32, height=24, image=True, mask=True, strength=s) for s in (1.0, 0.7)]
    if name == "inpaint":
        cases = [c for c in cases if c.get("mask")]
    classes = {"ddim": diffusers.DDIMScheduler, "euler": diffusers.EulerDiscreteScheduler,
               "euler_a": diffusers.EulerAncestralDiscreteScheduler, "dpm++2m": diffusers.DPMSolverMultistepScheduler,
               "unipc": diffusers.UniPCMultistepScheduler, "heun": diffusers.HeunDiscreteScheduler,
               "lms": diffusers.LMSDiscreteScheduler, "ddpm": diffusers.DDPMScheduler, "pndm": diffusers.PNDMScheduler}
    # From the saved file, as a user has it: it names every value, defaults included.
    pipe.scheduler.save_pretrained(folder / "scheduler")
    own = type(pipe.scheduler).from_pretrained(folder / "scheduler")
    shutil.rmtree(folder / "scheduler")
    xl = name == "sdxl"
    for i, case in enumerate(cases):
        pipe.scheduler = classes[case["scheduler"]].from_config(own.config) if "scheduler" in case else type(own).from_config(own.config)
        keywords = dict(num_inference_steps=case["steps"], guidance_scale=case["guidance"],
                        generator=torch.Generator("cpu").manual_seed(case["seed"]))
        if "negative" in case and name != "lcm":
            keywords["negative_prompt"] = case["negative"]
        if "rescale" in case:
            keywords["guidance_rescale"] = case["rescale"]
        if "clip_skip" in case:  # diffusers 0.42 looks for the module as transformers 4 named it
            object.__setattr__(pipe.text_encoder, "text_model", pipe.text_encoder)
            keywords["clip_skip"] = case["clip_skip"]
        if "eta" in case:
            keywords["eta"] = case["eta"]
        runner = pipe
        if case.get("image"):
            keywords["image"] = PIL.Image.fromarray(example_picture(case["width"], case["height"]))
            keywords["strength"] = case["strength"]
        if case.get("mask"):
            mask = numpy.zeros((case["height"], case["width"]), numpy.uint8)
            mask[4:14, 8:22] = 255
            keywords["mask_image"] = PIL.Image.fromarray(mask)
            cls = diffusers.StableDiffusionInpaintPipeline
        elif case.get("image"):
            cls = diffusers.StableDiffusionXLImg2ImgPipeline if xl else diffusers.StableDiffusionImg2ImgPipeline
        if case.get("image"):
            parts = {k: v for k, v in pipe.components.items() if k not in ("image_encoder", "feature_extractor", "safety_checker")}
            runner = cls(**parts, **({} if xl else dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)))
        if case.get("mask") or not case.get("image"):
            keywords |= dict(width=case["width"], height=case["height"])
        state = keywords["generator"].get_state()
        latents = runner(PROMPT, output_type="latent", **keywords)[0]
        keywords["generator"].set_state(state)
        save(folder / f"latents.{i}.npy", latents)
        if i == 0:
            save(folder / "image.0.npy", runner(PROMPT, output_type="np", **keywords)[0][0].astype(numpy.float32))
    pipe.scheduler = own
    (folder / "cases.json").write_text(json.dumps(dict(prompt=PROMPT, cases=cases), indent=1) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("destination", type=pathlib.Path)
    options = parser.parse_args()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(options.tokenizer)
    for seed, (name, make) in enumerate(make_pipelines(tokenizer).items()):
        if options.only and name not in options.only:
            continue
        torch.manual_seed(seed)
        pipe = make()
        pipe.set_progress_bar_config(disable=True)
        for model in models_of(pipe).values():
            model.eval()
        randomise(pipe)
        folder = options.destination / name
        shutil.rmtree(folder, ignore_errors=True)
        with torch.no_grad():
            (folder / "golden").mkdir(parents=True)
            write_model_goldens(pipe, folder / "golden")
            run_cases(name, pipe, folder / "golden")
        for model in models_of(pipe).values():
            model.half()
        pipe.save_pretrained(folder)
        print(name, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


main()
