#!/usr/bin/env python3
"""Writes tests/pictures/embeddings: trained concepts (textual inversion) of random numbers in the forms that are around, the
token ids that prompts with them become, and the latents that diffusers ends in.

  make_embedding_fixtures.py tests/pictures

Needs torch, transformers and diffusers, which takes only the first vector of a concept of several whose word has capitals:
the words of those have none.
"""
import json
import pathlib
import sys

import diffusers
import numpy
import safetensors.torch
import torch

RUN = dict(steps=2, guidance=4.0, seed=5, width=32, height=32)
PROMPTS = ["a {} on white", "{}", "a red{}blue star, {} {}", "left of a {}. A RING"]


def vectors(count, width=32):
    return torch.randn(count, width) * 0.5


def main():
    root = pathlib.Path(sys.argv[1])
    target = root / "embeddings"
    target.mkdir(exist_ok=True)
    torch.manual_seed(11)
    a1111 = {"string_to_token": {"*": 265}, "string_to_param": {"*": torch.nn.Parameter(vectors(2))}, "name": "mystyle", "step": 9,
             "sd_checkpoint": None, "sd_checkpoint_name": None}
    torch.save({"<Ring-Toy>": vectors(1)[0]}, target / "diffusers.bin")
    torch.save(a1111, target / "web_ui.pt")
    safetensors.torch.save_file({"<many>": vectors(4)}, target / "diffusers.safetensors")
    safetensors.torch.save_file({"emb_params": vectors(2)}, target / "web_ui.safetensors")
    safetensors.torch.save_file({"clip_l": vectors(2, 16), "clip_g": vectors(2, 16)}, target / "xl.safetensors")
    # file, pipeline, the word asked for (None: the file's own)
    files = [("diffusers.bin", "sd15", None), ("web_ui.pt", "sd21", None), ("diffusers.safetensors", "sd21", None),
             ("web_ui.safetensors", "sd15", "flat"), ("xl.safetensors", "sdxl", "<xl>")]
    cases = []
    for name, pipeline, word in files:
        pipe = diffusers.DiffusionPipeline.from_pretrained(root / pipeline, torch_dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        if name.startswith("xl"):
            state = safetensors.torch.load_file(target / name)
            pipe.load_textual_inversion(state["clip_l"], token=word, text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer)
            pipe.load_textual_inversion(state["clip_g"], token=word, text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2)
        else:
            pipe.load_textual_inversion(target, weight_name=name, token=word)
        found = word or {"diffusers.bin": "<Ring-Toy>", "web_ui.pt": "mystyle", "diffusers.safetensors": "<many>"}[name]
        prompts = []
        for prompt in PROMPTS:
            prompt = prompt.replace("{}", found)
            ids = pipe.tokenizer(pipe.maybe_convert_prompt(prompt, pipe.tokenizer)).input_ids
            prompts.append(dict(prompt=prompt, ids=ids))
        with torch.no_grad():
            latents = pipe(prompts[0]["prompt"], num_inference_steps=RUN["steps"], guidance_scale=RUN["guidance"], width=RUN["width"],
                           height=RUN["height"], generator=torch.Generator("cpu").manual_seed(RUN["seed"]), output_type="latent")[0]
        numpy.save(target / f"{name}.latents.npy", latents.numpy())
        cases.append(dict(file=name, pipeline=pipeline, word=word, prompts=prompts, latents=f"{name}.latents.npy"))
        print(name, found, [len(p["ids"]) for p in prompts])
    (target / "cases.json").write_text(json.dumps(dict(**RUN, cases=cases), indent=1) + "\n")


main()
